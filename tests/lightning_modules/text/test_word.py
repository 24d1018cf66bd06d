"""Texts as tokens word by word: what the tokenizer returns for the whole texts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from lightning_modules.model.plain import read_plainly
from lightning_modules.text import word
from lightning_modules.text.encode import read_texts
from lightning_modules.text.word import read_words

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
PIECES = [*SPECIAL, *"abcdé[]!'\u4e2d", "pad", "##a", "##b", "##c", "ab", "##ab", "cls", "[", "]"]
WORDS = st.text(
    "aAbBcCdDéÉe\u0301 \u00a0\t\n\x00\u200b[]!'\u4e2dΣß😀", max_size=6
) | st.sampled_from(["[PAD]", "[SEP]", "a[CLS]b", "<new>", "a<new>", "[P\x00AD]", "b" * 120])


def bert(**settings: Any) -> Any:
    """Return a tokenizer like BERT's, of a few pieces."""
    pieces = {piece: number for number, piece in enumerate(dict.fromkeys(PIECES))}
    backend = Tokenizer(models.WordPiece(pieces, unk_token="[UNK]", max_input_chars_per_word=100))
    backend.normalizer = normalizers.BertNormalizer(**settings)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]"}
    tokens = {f"{role}_token": token for role, token in names.items()}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **tokens)


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word, "NUM_TEXTS", 1)
    monkeypatch.setattr(word, "MAX_SHARE_NEW", 1)


CASES = [
    (is_plain, lowercase, has_new)
    for is_plain in (True, False)
    for lowercase in (True, False)
    for has_new in (True, False)
]
TOKENIZERS = {}
for is_plain, lowercase, has_new in CASES:
    made = bert(lowercase=lowercase)
    if has_new:
        made.add_tokens(["<new>"])
    TOKENIZERS[is_plain, lowercase, has_new] = read_plainly(made) if is_plain else made


@settings(deadline=None, database=None, derandomize=True, max_examples=300)
@given(
    st.sampled_from(CASES),
    st.lists(st.lists(WORDS, max_size=8).map(" ".join), min_size=1, max_size=4),
    st.sampled_from([3, 4, 8, 512]),
)
def test_tokens_are_those_of_a_call(
    case: tuple[bool, bool, bool], texts: list[str], max_length: int
) -> None:
    tokenizer = TOKENIZERS[case]
    expected = dict(tokenizer(texts, truncation=True, max_length=max_length))
    assert read_texts(tokenizer, texts, None, max_length) == expected
    backend = tokenizer.backend_tokenizer  # set as for the call
    assert read_words(backend, texts) == expected["input_ids"]


def test_more_words_than_are_kept_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word, "MAX_WORDS", 2)
    tokenizer = bert(lowercase=True, strip_accents=True)
    for texts in (["a b", "a b"], ["c d ab", "a c"], ["a d"]):
        expected = dict(tokenizer(texts, truncation=True, max_length=9))
        assert read_texts(tokenizer, texts, None, 9) == expected
        assert read_words(tokenizer.backend_tokenizer, texts) == expected["input_ids"]


def test_long_words_are_read_and_not_kept() -> None:
    tokenizer = bert(lowercase=True)
    texts = [f"{'ab' * number} c" for number in range(1, 99)]
    expected = dict(tokenizer(texts, truncation=True, max_length=64))
    assert read_texts(tokenizer, texts, None, 64) == expected
    backend = tokenizer.backend_tokenizer
    kept = word._known(backend.to_str(), backend.encode_special_tokens)
    assert set(kept) == {"c", *("ab" * number for number in range(1, word.MAX_CHARACTERS // 2 + 1))}


@pytest.mark.parametrize("token", ["\n", "\t", "\u3000", "a\u00a0", "a b"])
def test_an_added_token_with_white_space_is_read_as_in_a_call(token: str) -> None:
    tokenizer = bert(lowercase=True)
    tokenizer.add_tokens([token])
    texts = ["a b a", "a\nb  c", "\ta \u3000b\u00a0c"]
    expected = dict(tokenizer(texts, truncation=True, max_length=16))
    assert len(tokenizer) - 1 in expected["input_ids"][0]
    assert read_texts(tokenizer, texts, None, 16) == expected


def test_an_added_token_that_a_rule_writes_a_space_into_is_read_as_in_a_call() -> None:
    tokenizer = bert(lowercase=True)
    backend = tokenizer.backend_tokenizer
    rule = normalizers.Replace(Regex("a(?=b)"), "a ")
    backend.normalizer = normalizers.Sequence([backend.normalizer, rule])
    tokenizer.add_tokens(["abc"])
    texts = ["abc", "a bc"]
    expected = dict(tokenizer(texts, truncation=True, max_length=16))
    assert all(len(tokenizer) - 1 in each for each in expected["input_ids"])
    assert read_texts(tokenizer, texts, None, 16) == expected


@pytest.mark.parametrize("what", ["spaces", "left", "model", "rule", "few", "new"])
def test_what_words_do_not_tell_is_left_to_the_tokenizer(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = bert(lowercase=True)
    backend = tokenizer.backend_tokenizer
    backend.enable_truncation(8, direction="left" if what == "left" else "right")
    if what == "spaces":
        tokenizer.add_tokens(["a b"])
    elif what == "model":
        backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    elif what == "rule":
        rule = normalizers.Replace(" ", "a")
        backend.normalizer = normalizers.Sequence([backend.normalizer, rule])
    elif what == "few":
        monkeypatch.setattr(word, "NUM_TEXTS", 10)
    elif what == "new":
        monkeypatch.setattr(word, "MAX_SHARE_NEW", 0.2)
    assert read_words(backend, ["a b a a b", "b a"]) is None
