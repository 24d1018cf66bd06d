"""The tokens that end a generated text.

Checkpoints name them in three places, which often differ: a chat model's tokenizer ends an answer
with <|im_end|>, while its config.json still says <|endoftext|>. A network that learnt to write one
of them and is stopped only by another writes on to the limit.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lightning_modules.model.role import text_config


def end_tokens(network: Any, tokenizer: Any | None = None) -> list[int]:
    """Return the end tokens of a network that writes, in ascending order.

    They are those of its configuration, of its generation settings and, if it is given, of the
    tokenizer: the union, as a text ends at whichever comes first.
    """
    named = [getattr(part, "eos_token_id", None) for part in _parts(network, tokenizer)]
    lists = [each if isinstance(each, list | tuple) else [each] for each in named]
    return sorted({int(end) for ends in lists for end in ends if end is not None})


def eos_setting(network: Any, tokenizer: Any | None = None) -> int | list[int] | None:
    """Return the end tokens as generation settings have them: None, a number or a list."""
    ends = end_tokens(network, tokenizer)
    return ends if len(ends) > 1 else next(iter(ends), None)


def keep_ends(network: Any, tokenizer: Any | None) -> None:
    """Store the end tokens in the generation settings, which are exported with the network.

    Published settings often contradict themselves, e.g. have a temperature but do not sample.
    transformers ignores and saves these as they were read, but refuses to save changed ones. So
    the changed settings are read again, from a file of their own.
    """
    from transformers import GenerationConfig

    network.generation_config.eos_token_id = eos_setting(network, tokenizer)
    with TemporaryDirectory() as folder:
        network.generation_config.to_json_file(Path(folder) / "generation_config.json")
        network.generation_config = GenerationConfig.from_pretrained(folder)


def _parts(network: Any, tokenizer: Any | None) -> list[Any]:
    text = text_config(network.config, decoder=True)
    return [network.config, text, getattr(network, "generation_config", None), tokenizer]
