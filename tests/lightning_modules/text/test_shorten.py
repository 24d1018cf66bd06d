"""Long prompts keep their first token, their system prompt and the end of their template."""

from __future__ import annotations

import random
from typing import Any

import pytest

from lightning_modules.error import DataError
from lightning_modules.model.kind import Kind
from lightning_modules.model.tiny import Tiny
from lightning_modules.text.answered import Answers, Conversations
from lightning_modules.text.causal import Marks
from lightning_modules.text.pair import continued, pair_of, tokens_of
from lightning_modules.text.shorten import cut_middles
from lightning_modules.text.template import ASKED

TINY = Tiny(kind=Kind.decoder, width=8, num_layers=1, num_heads=1)
WORDS = ["hotel", "novel", "kettle", "museum", "bicycle", "train", "concert", "shoes"]
CHAT = (
    "{% for m in messages %}{{ m.role }} : {{ m.content }} ; {% endfor %}"
    "{% if add_generation_prompt %}assistant :{% endif %}"
)
TEMPLATE = "hotel novel {text} train concert"


def tokenizers() -> dict[str, Any]:
    return {"light": TINY.light_tokenizer(), "transformers": TINY.load_tokenizer()}


def words(num: int, seed: int = 0) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=num))


def answers(tokenizer: Any, max_length: int) -> Answers:
    return Answers(tokenizer, TEMPLATE, CHAT, Conversations.whole, None, max_length)


@pytest.mark.parametrize("name", ["light", "transformers"])
@pytest.mark.parametrize("max_length", [16, 17, 24, 40, 200])
def test_a_question_is_cut_in_its_middle(name: str, max_length: int) -> None:
    tokenizer = tokenizers()[name]
    row = {"text": words(60), "label": words(5, 1)}
    whole = answers(tokenizer, 10_000).prompt(row, is_question=True)
    (example,) = answers(tokenizer, max_length).of(row)
    inputs = list(example.document.inputs)
    assert len(inputs) == min(max_length, len(whole) + 5)
    prompt = inputs[: example.prompt_length]
    # The start token, the two words of the template before the text and the two after it.
    assert prompt[:3] == whole[:3] and prompt[-2:] == whole[-2:]
    kept = len(prompt) - 5
    if kept < 60:
        assert prompt[3 : 3 + (kept + 1) // 2] == whole[3 : 3 + (kept + 1) // 2]
        assert prompt[-2 - kept // 2 :] == whole[-2 - kept // 2 :]
    # `predict` asks in the same form.
    asked = answers(tokenizer, len(prompt)).prompt({"text": row["text"]}, is_question=True)
    assert asked == prompt


@pytest.mark.parametrize("name", ["light", "transformers"])
@pytest.mark.parametrize("max_length", [40, 60, 100])
def test_a_conversation_keeps_its_system_prompt_and_the_start_of_the_answer(
    name: str, max_length: int
) -> None:
    tokenizer = tokenizers()[name]
    ids = Marks(tokenizer).ids
    system, question = words(10, 1), words(90, 2)
    messages = [
        {"role": "system", "content": system},
        {"role": "user", "content": words(4, 3)},
        {"role": "assistant", "content": words(4, 4)},
        {"role": "user", "content": question},
    ]
    prompt = answers(tokenizer, max_length).prompt({"text": messages}, is_question=True)
    assert len(prompt) == max_length
    start, end = ids(f"system : {system} ; user :"), ids("; assistant :")
    assert prompt[: len(start)] == start and prompt[-len(end) :] == end
    # The long message is cut in its middle, the short ones are whole.
    between = ids(f"{words(4, 3)} ; assistant : {words(4, 4)} ; user :")
    assert prompt[len(start) : len(start) + len(between)] == between
    rest = prompt[len(start) + len(between) : -len(end)]
    whole = ids(question)
    half = len(rest) // 2
    assert rest == whole[: len(rest) - half] + whole[len(whole) - half :]


def test_of_many_turns_those_after_the_system_prompt_go() -> None:
    tokenizer = TINY.light_tokenizer()
    system = [{"role": "system", "content": words(5)}]
    turns = [{"role": ("user", "assistant")[n % 2], "content": words(1, n)} for n in range(81)]
    prompt = answers(tokenizer, 50).prompt({"text": [*system, *turns]}, is_question=True)
    start = Marks(tokenizer).ids(f"system : {words(5)}")
    end = Marks(tokenizer).ids("; assistant :")
    assert len(prompt) == 50 and prompt[: len(start)] == start and prompt[-len(end) :] == end


def test_a_system_prompt_that_does_not_fit_is_refused() -> None:
    row = {"text": [{"role": "system", "content": words(50)}, {"role": "user", "content": "hotel"}]}
    with pytest.raises(DataError, match=r"data.max_length: must hold the system prompt"):
        answers(TINY.light_tokenizer(), 30).prompt(row, is_question=True)


def test_pairs_keep_the_frame_of_their_prompt() -> None:
    marks = Marks(TINY.load_tokenizer())
    pair = pair_of({"text": words(60), "chosen": words(3, 1), "rejected": words(6, 2)})
    prompt, both = tokens_of(pair, marks, TEMPLATE, CHAT)
    whole = prompt(1000, 1000)
    chosen, rejected = continued(prompt, both, 30)
    kept = 30 + 1 - 7
    assert list(chosen.inputs[:3]) == whole[:3] and len(rejected.inputs) == 30
    assert list(chosen.inputs[:kept]) == list(rejected.inputs[:kept])
    assert list(chosen.inputs[kept - 2 : kept]) == whole[-2:]


def test_every_length_is_reached_exactly() -> None:
    draw = random.Random(0)
    for _ in range(300):
        ids = list(range(draw.randint(5, 60)))
        begin = draw.randint(0, len(ids) // 2)
        middle = draw.randint(begin, len(ids))
        end = draw.randint(middle, len(ids))
        spans = [(begin, middle), (middle, end)]
        size = draw.randint(1, len(ids))
        cut = cut_middles(ids, spans, size)
        frame = len(ids) - (end - begin)
        assert cut == sorted(set(cut)) and {*ids[:begin], *ids[end:]} <= {*cut}
        # Two texts that are cut alike may leave one token unused.
        assert frame <= len(cut) <= max(size, frame) and len(cut) >= min(size - 1, len(ids))


@pytest.mark.parametrize("max_length", [36, 41, 60])
def test_of_a_prompt_of_columns_the_longer_cell_is_cut(max_length: int) -> None:
    tokenizer = TINY.light_tokenizer()
    cells = {"instruction": words(12), "input": words(90, 1)}
    template = "good {instruction}[[ ; {input}]] clean :"
    row = {"text": "", "label": words(5, 2), ASKED: {"template": template, "cells": cells}}
    (example,) = answers(tokenizer, max_length).of(row)
    prompt = list(example.document.inputs)[: example.prompt_length]
    ids = Marks(tokenizer).ids
    start, whole, end = ids(f"good {words(12)} ;"), ids(words(90, 1)), ids("clean :")
    assert prompt[1 : 1 + len(start)] == start and prompt[-len(end) :] == end
    kept = prompt[1 + len(start) : -len(end)]
    half = len(kept) // 2
    assert len(kept) < 90 and kept == whole[: len(kept) - half] + whole[len(whole) - half :]
    assert len(example.document.inputs) == max_length
