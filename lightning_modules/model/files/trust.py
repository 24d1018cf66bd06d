"""Whether code that comes with a model may run: only if the person typed it for this command.

A file, a study, a manifest or the environment may come from a stranger, so none of them can say it,
and it is no setting that is handed around. It is a fact about the process; one that is started by
it gets it on its command line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

KEY = "model.trust_remote_code"
TYPED = f"{KEY}=true"

_typed: list[str] = []


def trust_code() -> None:
    """Let code that comes with models run in this process: a person typed it."""
    _typed[:] = [TYPED]


def is_code_trusted() -> bool:
    """Return whether code that comes with models may run in this process."""
    return bool(_typed)


def forget_trust() -> None:
    """Let no such code run, even if it was typed for an earlier call in this process."""
    _typed.clear()


@contextmanager
def trusting(is_trusted: bool) -> Iterator[None]:
    """Let code run inside if it was trusted when what is used there was opened."""
    before = list(_typed)
    _typed[:] = [TYPED] if is_trusted else []
    try:
        yield
    finally:
        _typed[:] = before


def trust_arguments() -> Sequence[str]:
    """Return the arguments that hand the trust to a process that this one starts."""
    return tuple(_typed)


def take_trust(arguments: Sequence[str]) -> list[str]:
    """Trust code if a process was started with these arguments; return the others."""
    if TYPED in arguments:
        trust_code()
    return [argument for argument in arguments if argument != TYPED]
