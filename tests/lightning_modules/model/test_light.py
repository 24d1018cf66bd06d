"""The light tokenizers give the tokens of transformers' tokenizers from the same files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from lightning_modules.model.attention import Attention
from lightning_modules.model.dtype import Dtype
from lightning_modules.model.kind import Kind
from lightning_modules.model.light import NotLight, read_light
from lightning_modules.model.minilm import Minilm, Source
from lightning_modules.model.tiny import Tiny
from lightning_modules.text.length import NO_LIMIT
from lightning_modules.text.tokenizer import Vocabulary, train_light, train_tokenizer

TEXTS = ["The film was good, was it not?", "", "ÄÖ naïve 東京 <b>[SEP]</b>", "word " * 60]
PAIRS = ["A second text.", "word " * 60, "x", ""]
MINILM = Minilm(attention=Attention.sdpa, dtype=Dtype.auto, source=Source.package)
TINY = Tiny(kind=Kind.encoder, width=8, num_layers=1, num_heads=1)


def pairs_of_tokenizers() -> dict[str, Any]:
    trained = {
        f"{vocabulary.value} {kind.value}": (
            train_light(TEXTS, vocabulary, 300, kind),
            train_tokenizer(TEXTS, vocabulary, 300, kind),
        )
        for vocabulary in (Vocabulary.bpe, Vocabulary.characters)
        for kind in Kind
    }
    tiny = TINY.light_tokenizer(), TINY.load_tokenizer()
    return {"minilm": (MINILM.light_tokenizer(), MINILM.load_tokenizer()), "tiny": tiny, **trained}


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Any]:
    return pairs_of_tokenizers()


NAMES = ["minilm", "tiny", *(f"{v} {k.value}" for v in ("bpe", "characters") for k in Kind)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("max_length", [8, 64, NO_LIMIT])
def test_the_tokens_are_those_of_transformers(
    name: str, max_length: int, tokenizers: dict[str, Any]
) -> None:
    light, whole = tokenizers[name]
    for pair in (None, PAIRS):
        settings = {"truncation": True, "max_length": max_length, "return_offsets_mapping": True}
        found, expected = light(TEXTS, pair, **settings), whole(TEXTS, pair, **settings)
        assert found["input_ids"] == expected["input_ids"]
        assert found["offset_mapping"] == expected["offset_mapping"]
        for number, ids in enumerate(found["input_ids"]):
            assert found.sequence_ids(number) == expected.sequence_ids(number)
            kept = {"skip_special_tokens": True}
            assert light.decode(ids, **kept).split() == whole.decode(ids, **kept).split()
    assert light(TEXTS[0])["input_ids"] == whole(TEXTS[0])["input_ids"]
    assert light(TEXTS, add_special_tokens=False)["input_ids"][1] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_special_tokens_are_those_of_transformers(
    name: str, tokenizers: dict[str, Any]
) -> None:
    light, whole = tokenizers[name]
    for role in ("bos", "eos", "sep", "cls", "pad", "unk", "mask"):
        assert getattr(light, f"{role}_token") == getattr(whole, f"{role}_token"), role
        assert getattr(light, f"{role}_token_id") == getattr(whole, f"{role}_token_id"), role
    for pair in (False, True):
        assert light.num_special_tokens_to_add(pair) == whole.num_special_tokens_to_add(pair)


def test_a_folder_is_read_with_its_chat_templates(tmp_path: Path) -> None:
    tokenizer: PreTrainedTokenizerFast = TINY.load_tokenizer()  # type: ignore[assignment]
    tokenizer.chat_template = {"default": "{{ messages }}", "tool_use": "{{ tools }}"}
    tokenizer.save_pretrained(tmp_path)
    light = read_light(tmp_path)
    assert light is not None
    assert light.get_chat_template(None) == "{{ messages }}"
    assert light.get_chat_template(None, [{}]) == "{{ tools }}"
    assert light.special_tokens_map == tokenizer.special_tokens_map


def test_older_files_leave_names_to_the_class(tmp_path: Path) -> None:
    TINY.load_tokenizer().save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 512}))
    light = read_light(tmp_path)
    assert light is not None
    assert (light.cls_token, light.sep_token, light.eos_token) == ("[CLS]", "[SEP]", None)


@pytest.mark.parametrize("content", [None, "no JSON", "{}"])
def test_without_a_file_that_can_be_read_there_is_none(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    assert read_light(tmp_path) is None


def test_what_only_transformers_has_is_said() -> None:
    light = TINY.light_tokenizer()
    with pytest.raises(NotLight, match="apply_chat_template"):
        light.apply_chat_template([])
    with pytest.raises(NotLight, match="token_type_ids"):
        light("a")["token_type_ids"]
    assert not hasattr(light, "pad") and "token_type_ids" not in light("a")


def test_neither_transformers_nor_torch_is_imported() -> None:
    code = (
        "import sys; from lightning_modules.model.kind import Kind; "
        "from lightning_modules.model.tiny import Tiny; "
        "t = Tiny(kind=Kind.encoder, width=8, num_layers=1, num_heads=1).light_tokenizer(); "
        "t(['a'], ['b']); print({'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
