"""Texts as tokens: what a call of the tokenizer returns, for fast tokenizers and others."""

from __future__ import annotations

from typing import Any

import pytest

from lightning_modules.model.kind import Kind
from lightning_modules.model.tiny import Tiny
from lightning_modules.text.encode import read_texts
from lightning_modules.text.length import NO_LIMIT

TEXTS = ["A good film.", "", "a </s> in [SEP] the middle <pad>", "long " * 50, "Größe 😀"]
TINY = Tiny(kind=Kind.encoder, width=8, num_layers=1, num_heads=1)
PAIRS = ["one", "two words", "three " * 40, "", "five"]


def as_called(tokenizer: Any, pairs: list[str] | None, max_length: int) -> dict[str, Any]:
    return dict(tokenizer(TEXTS, pairs, truncation=True, max_length=max_length))


@pytest.mark.parametrize("pairs", [None, PAIRS], ids=["texts", "pairs"])
@pytest.mark.parametrize("max_length", [8, NO_LIMIT])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"truncation_side": "left"},
        {"split_special_tokens": False},
        {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]},
        {"model_input_names": ["input_ids"]},
    ],
    ids=["usual", "left", "special", "types", "ids"],
)
def test_columns_are_those_of_a_call(
    changes: dict[str, Any], max_length: int, pairs: list[str] | None
) -> None:
    tokenizer = TINY.load_tokenizer()
    for name, value in changes.items():
        setattr(tokenizer, name, value)
    expected = as_called(tokenizer, pairs, max_length)
    tokenizer("another text", truncation=True, max_length=3, padding="max_length")
    assert read_texts(tokenizer, TEXTS, pairs, max_length) == expected


def test_a_tokenizer_with_a_call_of_its_own_is_called() -> None:
    tokenizer = TINY.load_tokenizer()

    class Own(type(tokenizer)):  # type: ignore[misc]
        def _encode_plus(self, *given: Any, **settings: Any) -> Any:
            return super()._encode_plus(*given, **settings) | {"own": [1]}

    tokenizer.__class__ = Own
    assert "own" in read_texts(tokenizer, TEXTS, None, 8)


def test_a_tokenizer_switches_to_the_language_of_its_inputs() -> None:
    tokenizer = TINY.load_tokenizer()

    class Own(type(tokenizer)):  # type: ignore[misc]
        def _switch_to_input_mode(self) -> None:
            self.truncation_side = "left"

    tokenizer.__class__ = Own
    found = read_texts(tokenizer, TEXTS, None, 8)
    assert tokenizer.truncation_side == "left" and found == as_called(tokenizer, None, 8)
