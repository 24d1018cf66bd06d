"""Whether a model has an embedding for every token that its tokenizer makes of the rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.model.light import LightTokenizer
from lightning_modules.model.plain import any_of
from lightning_modules.rows.corpus import Row, texts_in

_ROLES = ("bos", "eos", "sep", "pad", "cls")


def num_embeddings(config: Mapping[str, Any]) -> int | None:
    """Return how many tokens a network with this config.json has embeddings for, if it says it.

    >>> num_embeddings({"text_config": {"vocab_size": 400}})
    400
    """
    text = config.get("text_config")
    for part in (config, text if isinstance(text, Mapping) else {}):
        if isinstance(size := part.get("vocab_size"), int):
            return size
    return None


def check_embeddings(
    tokenizer: LightTokenizer, config: Mapping[str, Any], rows: Sequence[Row], name: str
) -> None:
    """Raise ConfigError if rows, or what a tokenizer adds to them, have tokens beyond the last one.

    Args:
        tokenizer: The tokenizer.
        config: The model's config.json.
        rows: The rows.
        name: The model's name.

    """
    size = num_embeddings(config)
    if size is None or (found := _beyond(tokenizer, rows, size)) is None:
        return
    token, number, where = found
    rule = f"{name} must have an embedding for every token that is used"
    got = Verbatim(f"{size:,} embeddings, and {token!r}{where} is token {number:,}")
    fix = (
        "Save it with more: model.resize_token_embeddings(len(tokenizer)), then save_pretrained "
        "of both."
    )
    raise ConfigError(Problem("model", rule, got, fix))


def _beyond(
    tokenizer: LightTokenizer, rows: Sequence[Row], size: int
) -> tuple[str, int, str] | None:
    """Return a token without an embedding, its number, and where it is."""
    for role in _ROLES:
        token, number = (getattr(tokenizer, f"{role}_{kind}") for kind in ("token", "token_id"))
        if number is not None and number >= size:
            return token, number, f", its {role}_token,"
    if (num_words := tokenizer.num_words) > size:
        return str(tokenizer.convert_ids_to_tokens(num_words - 1)), num_words - 1, ""
    added = [
        token.content
        for number, token in tokenizer.get_added_tokens_decoder().items()
        if number >= size and not token.special
    ]
    return next(_in_rows(tokenizer, rows, size, added), None) if added else None


def _in_rows(
    tokenizer: LightTokenizer, rows: Sequence[Row], size: int, added: Sequence[str]
) -> Iterator[tuple[str, int, str]]:
    spelled = re.compile(any_of(added), re.IGNORECASE)
    for row in rows:
        for text in texts_in(row):
            if spelled.search(text):
                for number in tokenizer(text, add_special_tokens=False)["input_ids"]:
                    if number >= size:
                        yield str(tokenizer.convert_ids_to_tokens(number)), number, ", in the rows,"
