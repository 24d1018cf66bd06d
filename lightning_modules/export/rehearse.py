"""Whether a network's export can be written, tried before its training.

A configuration or generation settings that transformers reads but refuses to write would cost a
whole training. So they are written to a temporary folder, with the tokenizer; weights are not.
"""

from __future__ import annotations

import copy
from tempfile import TemporaryDirectory
from typing import Any

from lightning_modules.error import ConfigError, Problem, reason_of


def rehearse_export(network: Any, tokenizer: Any, name: str) -> None:
    """Write all of an export but its weights, and remove it again; costs milliseconds.

    Args:
        network: The adapted network; its parts that are transformers' are written.
        tokenizer: The run's tokenizer.
        name: The model's name.

    Raises:
        ConfigError: The export would fail.

    """
    from transformers import PreTrainedModel

    parts = [each for each in network.modules() if isinstance(each, PreTrainedModel)]
    with TemporaryDirectory() as folder:
        try:
            for part in parts[:1]:
                # An export may complete it, and the training's stays as it is.
                copy.deepcopy(part.config).save_pretrained(folder)
                if part.can_generate():
                    copy.deepcopy(part.generation_config).save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        except OSError:
            return  # no space for now: the export will say it
        except (ValueError, AttributeError, TypeError, KeyError) as error:
            rule = f"{name} must be such that its export can be written"
            fix = "Correct its config.json or generation_config.json: transformers refuses them."
            raise ConfigError(Problem("model", rule, reason_of(error), fix)) from error
