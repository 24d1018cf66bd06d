"""Texts with special tokens in them are texts: for every tokenizer, task and template."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from lightning_modules.model.attention import Attention
from lightning_modules.model.dtype import Dtype
from lightning_modules.model.hub import Hub
from lightning_modules.model.kind import Kind
from lightning_modules.model.light import read_light
from lightning_modules.model.plain import MARK, Reader, read_plainly, specials_of, spelled_notes
from lightning_modules.model.tiny import Tiny
from lightning_modules.text.answered import Answers, Conversations
from lightning_modules.text.causal import Marks
from lightning_modules.text.tokenizer import Vocabulary, train_light, train_tokenizer
from search.config import build_run, compose

HTML = "<p>one</s> <s>two</s> [SEP] <pad> <|im_end|>"
TEXTS = ["one two three", HTML, "<", "x</s", "The film was good."]
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def unigram() -> Tokenizer:
    """Return T5's kind of tokenizer, whose special tokens are words of the vocabulary."""
    scores = {"<pad>": 0.0, "</s>": 0.0, "<unk>": 0.0, "▁": -2.0, "▁one": -2.5}
    letters = dict.fromkeys("abcdefghijklmnopqrstuvwxyz<>/|_[]SEPT.", -3.0)
    tokenizer = Tokenizer(models.Unigram(list({**letters, **scores}.items()), unk_id=0))
    vocabulary = tokenizer.get_vocab()
    tokenizer = Tokenizer(
        models.Unigram(list({**letters, **scores}.items()), unk_id=vocabulary["<unk>"])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", vocabulary["</s>"])]
    )
    return tokenizer


def write_unigram(folder: Path) -> None:
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=unigram(), **names).save_pretrained(folder)


def hub(folder: Path) -> Hub:
    return Hub(path=str(folder), revision=None, attention=Attention.eager, dtype=Dtype.fp32)


def chat_tokenizer() -> Any:
    tokenizer: Any = train_tokenizer(TEXTS, Vocabulary.bpe, 400, Kind.decoder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = CHATML
    return read_plainly(tokenizer)


@pytest.mark.parametrize("light", [True, False])
@pytest.mark.parametrize("vocabulary", [Vocabulary.bpe, Vocabulary.characters])
@pytest.mark.parametrize("kind", list(Kind))
def test_trained_tokenizers(light: bool, vocabulary: Vocabulary, kind: Kind) -> None:
    train = train_light if light else train_tokenizer
    tokenizer: Any = train(TEXTS, vocabulary, 400, kind)
    added = list(tokenizer("")["input_ids"])
    ids = tokenizer(HTML)["input_ids"]
    assert sum(each in specials_of(tokenizer).values() for each in ids) == len(added)
    assert tokenizer.decode(ids, skip_special_tokens=True) == HTML


def test_a_vocabulary_with_special_tokens_as_words(here: Path) -> None:
    write_unigram(here)
    (here / "config.json").write_text(json.dumps({"model_type": "t5"}))
    tokenizer: Any = hub(here).load_tokenizer()
    light: Any = read_light(here)
    special = {tokenizer.eos_token_id, tokenizer.pad_token_id}
    for text in TEXTS:
        read = tokenizer(text, return_offsets_mapping=True)
        assert not special & set(read["input_ids"][:-1])
        assert light(text)["input_ids"] == read["input_ids"]
        assert all(0 <= start <= end <= len(text) for start, end in read["offset_mapping"])
    # Texts without special tokens are read as ever, and an export keeps the rule.
    fresh = PreTrainedTokenizerFast(tokenizer_object=unigram())
    assert tokenizer("one two")["input_ids"] == fresh("one two")["input_ids"]
    tokenizer.save_pretrained(here / "out")
    again: Any = read_plainly(AutoTokenizer.from_pretrained(here / "out"))
    assert again(HTML)["input_ids"] == tokenizer(HTML)["input_ids"]


def test_a_chat_template_has_special_tokens_and_the_messages_have_none() -> None:
    tokenizer = chat_tokenizer()
    start, end = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    answers = Answers(tokenizer, "{text}", "", Conversations.whole, None, None)

    def row(first: str, second: str) -> dict[str, Any]:
        messages = [{"role": "user", "content": first}, {"role": "assistant", "content": second}]
        return {"text": [{"role": "system", "content": first}, *messages, *messages]}

    (example,) = answers.of(row(HTML, f"{HTML} is bad"))
    inputs = list(example.document.inputs)
    assert inputs.count(start) == 5 and inputs.count(end) == 5
    others = set(specials_of(tokenizer).values()) - {start, end, tokenizer.eos_token_id}
    assert not others & set(inputs)
    text = tokenizer.decode([*inputs, example.document.targets[-1]])
    assert text.count(HTML) == 5 and MARK not in text and example.content == f"{HTML} is bad"
    assert example.question.count(HTML) == 4 and MARK not in example.question
    answered = f"{HTML} is bad<|im_end|>"
    trained = [token for token in example.document.targets if token >= 0]
    assert tokenizer.decode(trained).startswith(answered)
    assert example.document.num_characters == 2 * len(f"{HTML} is bad")
    # An ordinary conversation is read in one piece, as without any of this.
    (plain,) = answers.of(row("Two?", "Three"))
    whole = f"{plain.question}Three<|im_end|>\n"
    expected = tokenizer(whole, add_special_tokens=False, split_special_tokens=False)["input_ids"]
    assert list(plain.document.inputs)[: len(expected) - 1] == expected[:-1]


def test_a_prompt_that_is_cut_keeps_its_frame_and_its_texts_plain() -> None:
    tokenizer = chat_tokenizer()
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    messages = [{"role": "user", "content": "one two " * 50 + HTML}]
    whole = Answers(tokenizer, "", "", Conversations.whole, None, None).prompt(
        {"text": messages}, is_question=True
    )
    cut = Answers(tokenizer, "", "", Conversations.whole, None, 60).prompt(
        {"text": messages}, is_question=True
    )
    assert len(cut) == 60 and cut.count(end) == whole.count(end) == 1
    assert cut[:10] == whole[:10] and cut[-10:] == whole[-10:]


def test_a_mark_in_a_text_does_not_reach_what_follows_it() -> None:
    tokenizer: Any = train_light(TEXTS, Vocabulary.bpe, 400, Kind.decoder)
    reader = Reader(tokenizer)
    word, number = next(iter(specials_of(tokenizer).items()))
    ids, _ = reader.read(reader.mark(f"one{MARK}") + word)
    assert ids[-1] == number
    assert reader.mark(reader.mark(word)) == reader.mark(word)


@pytest.mark.parametrize("light", [True, False])
def test_marked_texts_are_read_where_they_are(light: bool) -> None:
    train = train_light if light else train_tokenizer
    tokenizer: Any = train(TEXTS, Vocabulary.bpe, 400, Kind.decoder)
    reader, draw = Reader(tokenizer), random.Random(0)
    pieces = ["<s>", "</s>", "<pad>", "one", " ", "<", "\n", "ü"]
    for _ in range(200):
        parts = [(draw.choice(pieces), draw.random() < 0.5) for _ in range(draw.randint(1, 8))]
        text = "".join(reader.mark(part) if is_text else part for part, is_text in parts)
        ids, places = reader.read(text)
        assert places is not None
        assert tokenizer.decode(ids) == text.replace(MARK, "")
        special = [places[n] for n, i in enumerate(ids) if i in specials_of(tokenizer).values()]
        assert len(special) == sum(part in pieces[:3] and not is_text for part, is_text in parts)
        assert all(text[start:end] in pieces[:3] for start, end in special)
        assert all(start <= end for start, end in places) and places == sorted(places)


def test_a_document_is_read_as_text() -> None:
    tokenizer = Tiny(kind=Kind.decoder, width=8, num_layers=1, num_heads=1).load_tokenizer()
    document = Marks(tokenizer).document("good [SEP] film")
    assert list(document.targets).count(tokenizer.sep_token_id) == 1  # its end


def test_a_mask_in_a_text_is_not_the_prompt_s() -> None:
    run = build_run(
        compose("train", ["model=tiny", "strategy=prompting", "strategy.how=mask"]).tree
    )
    tokenizer: Any = run.model.load_tokenizer()
    (row,) = run.strategy.prepare([{"text": "good [MASK] film"}], tokenizer)
    ids = tokenizer(row["text"])["input_ids"]
    assert ids.count(tokenizer.mask_token_id) == 1


def test_the_note_counts_rows() -> None:
    tokenizer = Tiny(kind=Kind.encoder, width=8, num_layers=1, num_heads=1).light_tokenizer()
    rows = [{"text": "a", "text_pair": "[SEP] b"}, {"text": "a"}, {"text": [{"content": "[PAD]"}]}]
    (note,) = spelled_notes(rows, tokenizer, "training rows")
    assert note == (
        "2 of 3 training rows spell special tokens of the model, e.g. [SEP]; "
        "texts are read as plain text"
    )
    assert list(spelled_notes(rows[1:2], tokenizer, "rows")) == []
