from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from lightning_modules.model.kind import Kind
from lightning_modules.text.tokenizer import BEGIN, END, Vocabulary, train_tokenizer
from tests.shared import DATA, needs

MULTI30K = DATA / "multi30k_en_de"
GERMAN = ["Ein Hund läuft über Gras.", "Zwei Männer, die größer sind, grüßen."]
ODD = [
    "İstanbul'da \u0131ğd\u0131r",
    "e\u0301 is not \u00e9",
    "👩\u200d👩\u200d👧 and 🏳️\u200d🌈",
    "日本語と中文、한국어",
    "مرحبا بالعالم",
    "tab\there, two  spaces,\nnew line",
    " space around ",
    "don 't , do n't",
    "<s> </s> <pad>",
    "\u00a0no\u202fbreak \ufeff\u200b",
    "ﬁ ½ Ⅷ",
    "\U0001d518\U0001d52b",
]


def round_trip(tokenizer, text: str) -> str:  # type: ignore[no-untyped-def]
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    decoded: str = tokenizer.decode(ids)
    return decoded


@pytest.mark.parametrize("text", [*GERMAN, *ODD])
def test_bpe_round_trips_every_text(text: str) -> None:
    tokenizer = train_tokenizer(GERMAN, Vocabulary.bpe, 300, Kind.encoder_decoder)
    assert round_trip(tokenizer, text) == text


@needs(MULTI30K)
def test_bpe_round_trips_german_and_english(here: Path) -> None:
    def texts(split: str) -> list[str]:
        lines = (MULTI30K / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
        return [text for line in lines for text in json.loads(line).values()]

    tokenizer = train_tokenizer(texts("validation"), Vocabulary.bpe, 4000, Kind.encoder_decoder)
    assert len(tokenizer) == 4000
    tokenizer.save_pretrained(here)
    again = AutoTokenizer.from_pretrained(here)
    for text in texts("test"):  # the tokenizer was trained on none of these
        for each in (tokenizer, again):
            ids = each(text)["input_ids"]
            assert each.decode(ids, skip_special_tokens=True) == text


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        (Kind.encoder, f"{BEGIN}Gras{END}"),
        (Kind.encoder_decoder, f"Gras{END}"),
        (Kind.decoder, "Gras"),
        (None, f"{BEGIN}Gras{END}"),
    ],
)
@pytest.mark.parametrize("vocabulary", [Vocabulary.bpe, Vocabulary.characters])
def test_special_tokens_depend_on_the_kind_of_model(
    kind: Kind | None, written: str, vocabulary: Vocabulary
) -> None:
    tokenizer = train_tokenizer(GERMAN, vocabulary, 300, kind)
    assert tokenizer.decode(tokenizer("Gras")["input_ids"]) == written
    assert list(tokenizer("Gras")) == ["input_ids", "attention_mask"]


def test_the_same_texts_give_the_same_tokenizer() -> None:
    one, other = (
        train_tokenizer(GERMAN, Vocabulary.bpe, 350, Kind.encoder_decoder) for _ in range(2)
    )
    assert one.get_vocab() == other.get_vocab()
    assert one.backend_tokenizer.to_str() == other.backend_tokenizer.to_str()


def test_a_character_tokenizer_knows_only_the_characters_of_the_texts() -> None:
    tokenizer = train_tokenizer(GERMAN, Vocabulary.characters, 0, Kind.decoder)
    assert round_trip(tokenizer, "größer läuft") == "größer läuft"
    assert tokenizer("Q")["input_ids"] == [tokenizer.unk_token_id]
