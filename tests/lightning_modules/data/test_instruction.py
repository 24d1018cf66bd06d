"""Instruction data of every usual form, read from files as other programs write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lightning_modules.error import ConfigError, DataError
from lightning_modules.rows.corpus import Corpus
from lightning_modules.task.generation import Generation
from search.config import build_run, compose
from tests.conftest import write_jsonl
from tests.shared import DATA, needs

NUM = 12


def load(rows: list[dict[str, Any]], *overrides: str) -> Corpus:
    write_jsonl(Path("a.jsonl"), rows)
    words = ["task=generation", "data=files", "data.train=a.jsonl", "data.validation=a.jsonl"]
    run = build_run(compose("train", [*words, "data.test_fraction=0", *overrides]).tree)
    return run.data.load(run.task)


def generation(*overrides: str) -> Generation:
    words = ["task=generation", "data=files", "data.train=a.jsonl", *overrides]
    task = build_run(compose("train", words).tree).task
    assert isinstance(task, Generation)
    return task


def first(corpus: Corpus) -> dict[str, Any]:
    row = dict(corpus.splits["train"][0])
    row.pop("asked", None)
    return row


def test_alpaca(here: Path) -> None:
    rows = [
        {"instruction": f"Add {n}.", "input": "1" if n % 2 == 0 else "", "output": str(n)}
        for n in range(NUM)
    ]
    corpus = load(rows)
    assert first(corpus) == {"text": "Add 0.\n\n1\n", "label": "0"}
    assert corpus.splits["train"][1]["text"] == "Add 1.\n"
    assert corpus.notes[:2] == (
        r"a.jsonl: read as instructions: prompt '{instruction}[[\n\n{input}]]\n', answer {output}",
        "a.jsonl: {input} is empty in 6 of 12 rows, which leaves out its part of the template",
    )


def test_alpaca_in_a_template(here: Path) -> None:
    rows = [{"instruction": f"Add {n}.", "input": str(n), "output": "x"} for n in range(NUM)]
    words = ["task.label=output", r"task.template={instruction}[[ ({input})]] {{=}} "]
    assert first(load(rows, *words)) == {"text": "Add 0. (0) {=} ", "label": "x"}


def test_nested_instances(here: Path) -> None:
    pairs = [{"input": "a", "output": "b"}, {"input": "c", "output": "d"}]
    rows = [{"instruction": f"Do {n}.", "instances": pairs} for n in range(NUM)]
    corpus = load(rows)
    assert first(corpus) == {"text": "Do 0.\n\na\n", "label": "b"}
    assert len(corpus.splits["train"]) == 2 * NUM


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [("prompt", "completion"), ("question", "answer"), ("input", "output"), ("prompt", "response")],
)
def test_prompts_and_answers(here: Path, prompt: str, answer: str) -> None:
    rows = [{prompt: f"Why {n}?", answer: f"So {n}."} for n in range(NUM)]
    assert first(load(rows)) == {"text": "Why 0?\n", "label": "So 0."}


def test_prompts_that_are_messages(here: Path) -> None:
    asked = [{"role": "user", "content": "Hi."}]
    rows = [{"prompt": asked, "completion": f"So {n}."} for n in range(NUM)]
    assert first(load(rows)) == {"text": asked, "label": "So 0."}


def test_sharegpt(here: Path) -> None:
    talk = [{"from": "human", "value": "Hi."}, {"from": "gpt", "value": "Hello."}]
    corpus = load([{"conversations": talk, "system": "Be kind."}] * NUM)
    assert first(corpus)["text"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi."},
        {"role": "assistant", "content": "Hello."},
    ]
    assert corpus.notes[0] == (
        "a.jsonl: read as ShareGPT's conversations (from, value) in {conversations}, after the "
        "system messages in {system}"
    )


@pytest.mark.parametrize(("role", "content"), [("role", "content"), ("from", "value")])
def test_a_conversation_keeps_its_own_system_message(here: Path, role: str, content: str) -> None:
    turns = [{role: "user", content: "Hi."}, {role: "assistant", content: "Hello."}]
    rows = [
        {"messages": [{role: "system", content: own}, *turns], "system": "Be kind."}
        for own in ["Be brief.", "Be kind."] * (NUM // 2)
    ]
    corpus = load([*rows, {"messages": turns, "system": "Be kind."}])
    rows = [row for split in corpus.splits.values() for row in split]
    led = [[turn["content"] for turn in row["text"] if turn["role"] == "system"] for row in rows]
    assert {tuple(each) for each in led} == {("Be brief.",), ("Be kind.",)}
    assert f"but {NUM // 2} of {NUM + 1} rows keep another one of their own" in corpus.notes[0]


def test_messages(here: Path) -> None:
    talk = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
    corpus = load([{"messages": talk}] * NUM)
    assert first(corpus) == {"text": talk}
    assert corpus.notes[0] == "a.jsonl: read as messages (role, content) in {messages}"


def test_a_text_column_is_read_as_before(here: Path) -> None:
    rows = [{"text": f"One {n}", "instruction": "x", "output": "y"} for n in range(NUM)]
    assert first(load(rows)) == {"text": "One 0"}


@pytest.mark.parametrize("key", ["from", "role"])
def test_an_unknown_speaker_is_refused(here: Path, key: str) -> None:
    talk = [{key: 3, "value": "Hi.", "content": "Hi."}]
    with pytest.raises(DataError, match=r"a\.jsonl:1:conversations: must be text, or messages"):
        load([{"conversations": talk}] * NUM)


def test_an_empty_row_is_refused_with_its_place(here: Path) -> None:
    rows = [{"instruction": f"Add {n}." if n != 3 else "", "output": "x"} for n in range(NUM)]
    with pytest.raises(DataError, match=r"a\.jsonl:4:instruction: must not be empty"):
        load(rows)


def test_the_answer_to_messages_may_be_a_message(here: Path) -> None:
    asked = [{"role": "user", "content": "Hi."}]
    answer = [{"role": "assistant", "content": "Hello."}]
    rows = [{"prompt": asked, "completion": answer} for _ in range(NUM)]
    corpus = load(rows)
    assert first(corpus) == {"text": asked, "label": "Hello."}
    assert corpus.notes[0] == "a.jsonl: read as conversations in {prompt} that {completion} answers"
    assert generation().labels(corpus) == ()


def test_tools_beside_messages_are_read(here: Path) -> None:
    talk = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
    tools = [{"type": "function", "function": {"name": "now"}}]
    corpus = load([{"messages": talk, "tools": tools}, {"messages": talk, "tools": None}] * NUM)
    assert first(corpus) == {"text": talk, "text_pair": tools}
    assert corpus.notes[0].endswith("in {messages}, with the tools in {tools}")


def test_answers_of_a_form_need_no_column_of_the_task(here: Path) -> None:
    rows = [{"instruction": f"Add {n}.", "context": "1", "response": "x"} for n in range(NUM)]
    corpus = load(rows, "task.metric=rougeL")
    assert generation("task.metric=rougeL").labels(corpus) == ()
    assert first(corpus) == {"text": "Add 0.\n\n1\n", "label": "x"}


@pytest.mark.parametrize("word", ["data.text=body", "task.text=body"])
def test_a_named_column_is_looked_for_alone(here: Path, word: str) -> None:
    rows = [{"prompt": "Why?", "completion": "So."}] * NUM
    with pytest.raises(ConfigError, match=r"data\.text: must be a column of a\.jsonl, got 'body'"):
        load(rows, word)


def test_columns_without_a_prompt_or_an_answer_are_no_form(here: Path) -> None:
    for row in ({"prompt": "Why?"}, {"title": "a", "answer": "b"}):
        with pytest.raises(ConfigError, match=r"data\.text: must be a column of a\.jsonl"):
            load([row] * NUM)


def test_a_task_without_instructions_reads_no_form(here: Path) -> None:
    write_jsonl(Path("a.jsonl"), [{"instruction": "a", "output": "b"}] * NUM)
    run = build_run(compose("train", ["data=files", "data.train=a.jsonl"]).tree)
    with pytest.raises(ConfigError, match=r"data\.text: must be a column"):
        run.data.load(run.task)


@needs(DATA / "gsm8k")
def test_gsm8k_needs_no_option(here: Path) -> None:
    words = [
        "task=generation",
        "data=files",
        f"data.train={DATA}/gsm8k/train.jsonl",
        "data.test_fraction=0",
    ]
    run = build_run(compose("train", words).tree)
    corpus = run.data.load(run.task)
    assert sum(map(len, corpus.splits.values())) == 800
    row = corpus.splits["train"][0]
    assert row["text"].endswith("?\n") and "####" in row["label"]
    assert "prompts and answers: prompt '{question}\\n', answer {answer}" in corpus.notes[0]
