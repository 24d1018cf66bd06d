"""What is wrong with a file of a model, and the errors of libraries that read it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lightning_modules.error import ConfigError, Problem, UserError, Verbatim, reason_of
from lightning_modules.machine.memory import is_out_of_memory

AGAIN = "Save the model again with save_pretrained, or copy it again."


class Fault(Exception):
    """A file of a model cannot be used.

    Attributes:
        file: Its name in the model's folder.
        rule: What must hold, e.g. `must be a JSON object`.
        got: What was found instead.
        fix: What to do.

    """

    def __init__(self, file: str, rule: str, got: str, fix: str = AGAIN) -> None:
        self.file, self.rule, self.got, self.fix = file, rule, got, fix
        super().__init__(f"{file} {rule}, got {got}")

    def problem(self, where: str, name: str) -> Problem:
        """Return the problem under a config key, for the model that is shown as `name`."""
        return Problem(where, f"{self.file} of {name} {self.rule}", Verbatim(self.got), self.fix)


@contextmanager
def loading(where: str, name: str) -> Iterator[None]:
    """Turn a Fault, and every error of a library that reads the files, into a ConfigError.

    Files that others wrote make transformers, PEFT and tokenizers raise errors of any class.

    Args:
        where: The config key for a problem.
        name: What the model is called in a message.

    """
    try:
        yield
    except UserError:
        raise
    except Fault as fault:
        raise ConfigError(fault.problem(where, name)) from None
    except Exception as error:
        if is_out_of_memory(error):
            raise
        if "Unrecognized configuration class" in str(error):
            rule = f"{name} must have a network for this task in transformers"
            fix = "Choose another model; most decoders have one for task=generation."
            raise ConfigError(Problem(where, rule, Verbatim("none"), fix)) from error
        rule = f"{name} must load from safetensors, without custom code"
        raise ConfigError(Problem(where, rule, reason_of(error))) from error
