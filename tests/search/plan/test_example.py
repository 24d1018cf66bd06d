"""Training examples as the model reads them: what is shown as trained is what is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lightning_modules.batch.type import IGNORED
from search.config import build_run, compose
from search.plan.example import Example, examples_of
from search.terminal.example import BOLD, example_lines
from tests.conftest import run_here, write_jsonl

CHAT = (
    '"{% for m in messages %}{{ m.role }} : {{ m.content }}{{ eos_token }}{% endfor %}'
    '{% if add_generation_prompt %}assistant :{% endif %}"'
)


def examples(rows: list[dict[str, Any]], here: Path, *words: str) -> tuple[Any, list[Example]]:
    """Return the run and the examples of rows that are training and validation rows."""
    write_jsonl(here / "a.jsonl", rows)
    files = ("data=files", "data.train=a.jsonl", "data.validation=a.jsonl", "data.test_fraction=0")
    run = build_run(compose("train", ["run=r", "model=tiny", *files, *words]).tree)
    corpus = run.data.load(run.task)
    return run, examples_of(run, corpus, run.task.labels(corpus))


def lines(found: list[Example]) -> list[str]:
    return [line for line in example_lines(found, in_color=False) if line]


def test_a_class(here: Path) -> None:
    rows = [{"text": "The film was good.", "label": "a"}, {"text": "The film", "label": "b"}] * 3
    _, found = examples(rows, here)
    assert lines(found[:1]) == [
        "Training example 1, 7 tokens:",
        "  input  [CLS]the film was good .[SEP]",
        "  label  a",
    ]


def test_two_texts(here: Path) -> None:
    rows = [{"a": "The film", "b": "was good", "label": n} for n in "xyxyxy"]
    _, found = examples(rows, here, "data.text=a", "data.text_pair=b")
    assert "  input  [CLS]the film[SEP]was good[SEP]" in lines(found)


def test_tags(here: Path) -> None:
    rows = [{"tokens": ["The", "film", "was", "good"], "tags": ["O", "B-x", "O", "O"]}] * 5
    words = ("task=token_classification", "data.text=tokens", "data.label=tags")
    _, found = examples(rows, here, *words, "data.max_length=5")
    assert lines(found[:1])[1:] == [
        "  input     [CLS][[the film was]][SEP]",
        "  tags      The/O film/B-x was/O",
        "  not read  good",
    ]


def test_an_answer_in_a_context(here: Path) -> None:
    answers = {"text": ["was good"], "answer_start": [9]}
    rows = [{"question": "The film?", "context": "The film was good", "answers": answers}] * 5
    _, found = examples(rows, here, "task=question_answering")
    assert (
        lines(found[:1])[1:]
        == [
            "  input    [CLS]the film[UNK][SEP]the film [[was good]][SEP]",
            "  answers  was good",
        ]
        or "[[was good]]" in lines(found)[1]
    )


def test_a_summary(here: Path) -> None:
    rows = [{"document": "The film was good.", "summary": "The film"}] * 5
    words = ("model.kind=encoder_decoder", "task=summarization", "strategy=full")
    _, found = examples(rows, here, *words)
    assert lines(found[:1])[1:] == [
        "  input   [CLS]the film was good .[SEP]",
        "  target  [[[CLS]the film[SEP]]]",
    ]


def test_an_answer_to_a_question(here: Path) -> None:
    rows = [{"text": "The film", "label": "was good"}] * 5
    words = (
        "model.kind=decoder",
        "task=generation",
        "task.label=label",
        "task.template='{text} :'",
    )
    _, found = examples(rows, here, *words)
    assert lines(found[:1])[1:] == ["  input  [CLS]the film :[[was good[SEP]]]"]


def test_a_conversation_is_trained_on_its_answers_alone(here: Path) -> None:
    talk = [
        {"role": "user", "content": "the film"},
        {"role": "assistant", "content": "good"},
        {"role": "user", "content": "was"},
        {"role": "assistant", "content": "the film"},
    ]
    words = ("model.kind=decoder", "task=generation", f"task.chat_template={CHAT}")
    _, found = examples([{"text": talk}] * 5, here, *words)
    (line,) = lines(found[:1])[1:]
    assert line.replace("[UNK]", "?") == (
        "  input  ?: the film[SEP]?:[[good[SEP]]]?: was[SEP]?:[[the film[SEP]]]"
    )


def test_what_is_shown_as_trained_is_what_has_a_loss(here: Path) -> None:
    """Compare with the labels that transformers' tokenizer gives the same rows."""
    rows = [{"text": f"the film was good {n}", "label": "good film"} for n in range(5)]
    words = ("model.kind=decoder", "task=generation", "task.label=label", "data.max_length=7")
    run, found = examples(rows, here, *words)
    whole = run.task.encode_training(rows[:1], run.model.load_tokenizer(), 7, ())
    (part,) = found[0].parts
    targets = [token for token in whole["labels"][0] if token != IGNORED]
    trained = [token for token, flag in zip(part.ids, part.trained, strict=True) if flag]
    assert trained == targets and list(part.ids[:-1]) == whole["input_ids"][0]


def test_packed_texts(here: Path) -> None:
    rows = [{"text": "the film was good " * 20} for _ in range(5)]
    _, found = examples(rows, here, "model.kind=decoder", "task=generation", "data.max_length=32")
    assert len(found) == 2 and [each.num_tokens for each in found] == [32, 32]
    assert lines(found)[1].startswith("  input  [CLS][[the film was good the")


def test_pairs_of_answers(here: Path) -> None:
    rows = [{"prompt": "The film", "chosen": "was good", "rejected": "was"}] * 5
    words = ("model.kind=decoder", "data.text=prompt", "task.template='{text} :'")
    _, found = examples(rows, here, *words, "task=preference")
    assert lines(found[:1])[1:] == [
        "  chosen    [CLS]the film :[[was good[SEP]]]",
        "  rejected  [CLS]the film :[[was[SEP]]]",
    ]
    _, found = examples(rows, here, *words, "task=reward")
    assert lines(found[:1])[1].startswith("  chosen    [CLS]the film : was good[SEP]")


def test_a_long_example_loses_its_middle_on_the_screen(here: Path) -> None:
    rows = [{"text": "the film " + "good " * 400 + "was", "label": n} for n in "ababab"]
    _, found = examples(rows, here, "data.max_length=512")
    line = lines(found)[1]
    assert len(line) < 700 and " characters ... " in line
    assert line.startswith("  input  [CLS]the film good") and line.endswith("was[SEP]")


def test_in_colour_there_are_no_brackets(here: Path) -> None:
    rows = [{"text": "The film", "label": "was good"}] * 5
    words = ("model.kind=decoder", "task=generation", "task.label=label")
    _, found = examples(rows, here, *words)
    text = "\n".join(example_lines(found, in_color=True))
    assert f"{BOLD}was good" in text and "[[" not in text.replace("[CLS]", "")


def test_a_text_cannot_control_the_terminal(here: Path) -> None:
    rows = [{"text": "good\n\x1b[2J film", "label": "a\x1b\nb"}] * 3
    _, found = examples([*rows, {"text": "film", "label": "c"}], here)
    assert not any("\x1b" in line or "\n" in line for line in lines(found))


@pytest.mark.parametrize("words", [("strategy=prompting",), ("model=hub", "model.path=./bert")])
def test_without_training_or_tokenizer_there_is_none(words: tuple[str, ...], here: Path) -> None:
    (here / "bert").mkdir()
    (here / "bert" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    rows = [{"text": "The film", "label": n} for n in "ababab"]
    assert examples(rows, here, *words)[1] == []


def test_plan_prints_them(here: Path) -> None:
    printed = run_here("plan", "study=s", "model=tiny")
    assert "\nTraining example 1, " in printed and "\n  input  [CLS]" in printed
    shown = json.loads(run_here("plan", "study=s", "model=tiny", "--json"))["examples"]
    assert len(shown) == 2 and shown[0]["label"] in ("negative", "positive")
    assert shown[0]["input"][0] == {"text": "[CLS]", "trained": False, "special": True}
