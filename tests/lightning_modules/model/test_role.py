"""Tokenizers that name neither padding nor end get both, or are refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from lightning_modules.error import ConfigError
from lightning_modules.model.attention import Attention
from lightning_modules.model.dtype import Dtype
from lightning_modules.model.hub import Hub
from lightning_modules.text.causal import Marks

WORDS = {"<|end|>": 0, "[UNK]": 1, "good": 2, "film": 3}


def hub(folder: Path, config: dict[str, Any], **named: str) -> Hub:
    """Return a model whose tokenizer names these roles alone."""
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<|end|>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **named}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2", **config}))
    return Hub(path=str(folder), revision=None, attention=Attention.sdpa, dtype=Dtype.fp32)


@pytest.mark.parametrize("config", [{"eos_token_id": 0}, {"text_config": {"eos_token_id": [0, 3]}}])
def test_the_end_is_that_of_the_configuration(here: Path, config: dict[str, Any]) -> None:
    model = hub(here, config)
    light, whole = model.light_tokenizer(), model.load_tokenizer()
    assert light is not None
    for tokenizer in (light, whole):
        assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (0, 0)
        assert list(Marks(tokenizer).document("good film").targets) == [2, 3, 0]
        assert tokenizer("good <|end|>")["input_ids"][1:] == [1, 1]  # a text, of two words
    assert light.guessed == (
        "the tokenizer names no end token: <|end|> ends texts, as config.json says",
    )


@pytest.mark.parametrize("end", [-1, 4, 2**40])
def test_an_end_that_is_no_token_is_none(here: Path, end: int) -> None:
    model = hub(here, {"eos_token_id": end}, pad_token="good")
    light, whole = model.light_tokenizer(), model.load_tokenizer()
    assert light is not None and light.guessed == ()
    assert light.eos_token is None and whole.eos_token is None


def test_another_special_token_pads(here: Path) -> None:
    model = hub(here, {"eos_token_id": None}, unk_token="[UNK]")
    light, whole = model.light_tokenizer(), model.load_tokenizer()
    assert light is not None
    assert light.pad_token_id == whole.pad_token_id == 1
    assert light.guessed == ("the tokenizer names no padding token: [UNK] pads",)
    batch = whole(["good", "good film"], padding=True)
    assert batch["attention_mask"] == [[1, 0], [1, 1]]


def test_a_tokenizer_without_any_is_refused(here: Path) -> None:
    model = hub(here, {})
    with pytest.raises(ConfigError) as raised:
        model.load_tokenizer()
    (problem,) = raised.value.problems
    assert str(problem) == (
        f"model: the tokenizer of {here} must have a padding token, or an end token, got neither. "
        'Name one: tokenizer.pad_token = "[PAD]", then tokenizer.save_pretrained(folder).'
    )
    # The advice works.
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(here)
    tokenizer.pad_token = "[UNK]"
    tokenizer.save_pretrained(here)
    assert model.load_tokenizer().pad_token_id == 1
