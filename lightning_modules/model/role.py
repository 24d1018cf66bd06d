"""The tokens that pad and end texts, for tokenizers that name none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lightning_modules.error import ConfigError, Problem, Verbatim

_PADDING = ("eos_token", "sep_token", "unk_token", "cls_token", "bos_token", "mask_token")
"""What pads instead, the first that there is: padding is masked, so that any token serves."""


def name_roles(tokenizer: Any, config: Mapping[str, Any]) -> Iterator[str]:
    """Name the missing end and padding tokens of a tokenizer; yield what was guessed, in words.

    Args:
        tokenizer: One of transformers or a `LightTokenizer`; it is changed.
        config: The model's config.json, which may name an end token.

    """
    if tokenizer.eos_token is None and tokenizer.sep_token is None:
        end = _end_of(config)
        is_token = end is not None and 0 <= end < len(tokenizer)
        token = tokenizer.convert_ids_to_tokens(end) if is_token else None
        if token is not None:
            tokenizer.eos_token = token
            yield f"the tokenizer names no end token: {token} ends texts, as config.json says"
    if tokenizer.pad_token is None:
        tokens = (getattr(tokenizer, role) for role in _PADDING)
        tokenizer.pad_token = next((each for each in tokens if each is not None), None)
        if tokenizer.pad_token not in (None, tokenizer.eos_token):  # usual for GPT-like models
            yield f"the tokenizer names no padding token: {tokenizer.pad_token} pads"


def check_roles(tokenizer: Any, name: str) -> None:
    """Raise ConfigError if a tokenizer has no token that could pad; `name` is the model's."""
    if tokenizer.pad_token is None:
        rule = f"the tokenizer of {name} must have a padding token, or an end token"
        fix = 'Name one: tokenizer.pad_token = "[PAD]", then tokenizer.save_pretrained(folder).'
        raise ConfigError(Problem("model", rule, Verbatim("neither"), fix))


def text_config(config: Any, *, decoder: bool = False) -> Any:
    """Return the part of a transformers configuration that is about texts.

    Args:
        config: The configuration.
        decoder: Whether it is that of the decoder, of a model with an encoder and a decoder.

    """
    try:
        return config.get_text_config(decoder=decoder)
    except ValueError:  # one with several parts for texts
        return config


def _end_of(config: Mapping[str, Any]) -> int | None:
    text = config.get("text_config")
    for part in (config, text if isinstance(text, Mapping) else {}):
        end = part.get("eos_token_id")
        first = end[0] if isinstance(end, list) and end else end
        if isinstance(first, int):
            return first
    return None
