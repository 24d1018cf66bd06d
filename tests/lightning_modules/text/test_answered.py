from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from lightning_modules.batch.type import IGNORED
from lightning_modules.model.kind import Kind
from lightning_modules.text.answered import Answered, Answers, Conversations
from lightning_modules.text.template import ASKED
from lightning_modules.text.tokenizer import Vocabulary, train_tokenizer
from tests.lightning_modules.text.test_conversation import MARKED, PLAIN, TALK, THINKING

TOKENIZER = train_tokenizer(
    ['<>.,;/?!$\nabcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ []{}:"_'],
    Vocabulary.characters,
    0,
    Kind.decoder,
)
END = TOKENIZER.eos_token_id
CALL = {"type": "function", "function": {"name": "now", "arguments": {}}}
TOOLS = [{"type": "function", "function": {"name": "now"}}]
WITH_TOOLS = (
    "{% if tools %}<tools>{{ tools[0].function.name }}{% endif %}"
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}"
    "{% for call in m.tool_calls %}!{{ call.function.name }}{% endfor %}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def answers(
    template: str = PLAIN,
    conversations: Conversations = Conversations.whole,
    max_length: int | None = None,
    system: str | None = None,
) -> Answers:
    return Answers(TOKENIZER, "{text}\n", template, conversations, system, max_length)


def targets(example: Answered) -> str:
    """Return the targets as text, with a bar for each gap between answers."""
    kept = [
        TOKENIZER.decode([each]) if each != IGNORED else "|" for each in example.document.targets
    ]
    return "|".join(part for part in "".join(kept).split("|") if part)


def read(example: Answered) -> str:
    return str(TOKENIZER.decode(example.document.inputs))


@pytest.mark.parametrize("template", [PLAIN, MARKED])
def test_a_conversation_is_one_example_with_all_answers_as_targets(template: str) -> None:
    (example,) = answers(template).of({"text": TALK})
    after = "" if template == MARKED else "\n"
    assert targets(example) == f"Hello!</s>{after}|So long.</s>{after}"
    assert read(example).startswith("<system>Be kind.</s>\n<user>Hi.</s>\n<assistant>Hello!</s>\n")
    assert example.document.num_characters == example.document.num_bytes == len("Hello!So long.")
    asked = TOKENIZER.decode(example.document.inputs[: example.prompt_length])
    assert asked == example.question
    assert asked.endswith("<user>Bye.</s>\n<assistant>")
    assert example.content == "So long."


def test_it_has_the_targets_of_its_answers_one_by_one() -> None:
    turns = list(answers(MARKED, Conversations.turns).of({"text": TALK}))
    (whole,) = answers(MARKED).of({"text": TALK})
    assert targets(whole) == "|".join(map(targets, turns))
    assert sum(len(each.document.inputs) for each in turns) > len(whole.document.inputs)


def test_answers_that_do_not_fit_are_examples_of_their_own() -> None:
    (whole,) = answers().of({"text": TALK})
    length = len(whole.document.inputs)
    assert list(answers(max_length=length).of({"text": TALK})) == [whole]
    first, second = answers(max_length=length - 1).of({"text": TALK})
    assert targets(first).rstrip("\n") == "Hello!</s>"
    assert targets(second) == "So long.</s>"
    assert all(len(each.document.inputs) < length for each in (first, second))


def test_answers_that_a_template_writes_in_another_way_are_examples_of_their_own() -> None:
    found = list(answers(THINKING).of({"text": TALK}))
    assert list(map(targets, found)) == ["<think></think>Hello!</s>", "<think></think>So long.</s>"]
    assert "<assistant>Hello!" in read(found[1])  # as the model will be prompted


def rows_of(*talks: Sequence[Any]) -> list[dict[str, Any]]:
    return [{"text": talk} for talk in talks]


def test_only_such_a_template_is_noted() -> None:
    (note,) = answers(THINKING).notes(rows_of(TALK, TALK[:3]))
    assert note.startswith("the chat template writes earlier answers in another way than the last")
    assert "in 1 of the first 2 conversations, answers are examples of their own" in note
    assert list(answers(PLAIN).notes(rows_of(TALK))) == []
    assert list(answers(THINKING).notes(rows_of(TALK[:3]))) == []
    assert list(answers(THINKING, Conversations.turns).notes(rows_of(TALK))) == []


def test_an_end_token_is_added_to_a_template_without_one() -> None:
    template = PLAIN.replace("{{ eos_token }}", ";")
    (example,) = answers(template).of({"text": TALK})
    assert targets(example) == "Hello!;\n|So long.;\n</s>"


def test_tools_and_calls_are_written_by_the_template() -> None:
    talk = [
        TALK[1],
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "content": "noon"},
        {"role": "assistant", "content": "Noon."},
    ]
    (example,) = answers(WITH_TOOLS).of({"text": talk, "text_pair": TOOLS})
    assert read(example).startswith("<tools>now<user>Hi.</s><assistant>!now</s><tool>noon</s>")
    assert targets(example) == "!now</s>|Noon.</s>"
    called = '[{"type": "function", "function": {"name": "now", "arguments": {}}}]'
    assert example.document.num_characters == len(called) + len("Noon.")


def test_with_a_label_only_the_label_is_a_target() -> None:
    (example,) = answers().of({"text": TALK[:4], "label": "So long."})
    assert targets(example) == "So long.</s>"


def test_a_system_message_comes_before_conversations_that_have_none() -> None:
    told = answers(system="Be brief.")
    hi, hello = {"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello!"}
    start = "<system>Be brief.</s>\n<user>Hi.</s>\n<assistant>"
    for row in ({"text": [hi, hello]}, {"text": [hi], "label": "Hello!"}):
        (example,) = told.of(row)
        assert (
            read(example).startswith(f"{start}Hello!") and targets(example).strip() == "Hello!</s>"
        )
        assert TOKENIZER.decode(told.prompt(row, is_question=True)) == start
    (own,) = told.of({"text": TALK})
    assert read(own).startswith("<system>Be kind.</s>\n<user>Hi.")
    (plain,) = told.of({"text": "Hi.", "label": "Hello!"})
    assert "Be brief" not in read(plain)


def test_special_tokens_of_a_template_are_read_and_those_of_cells_are_text() -> None:
    template, cells = "{a}</s>{b}: ", {"a": "x</s>", "b": "y"}
    row = {"text": "x</s></s>y: ", "label": "z</s>", ASKED: {"template": template, "cells": cells}}
    (example,) = answers().of(row)
    prompt = list(example.document.inputs)[: example.prompt_length]
    assert prompt[1:].count(TOKENIZER.eos_token_id) == 1
    assert example.question == "x</s></s>y: "
    assert answers().prompt(row, is_question=False) == prompt
