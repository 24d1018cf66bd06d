"""Rows to predict have the fields that are known before an answer is."""

from __future__ import annotations

from typing import Any

import pytest

from lightning_modules.error import ConfigError
from search.config import build_run, compose
from search.trained.ask import columns_asked, first_asked, rows_to_predict, table_of

COLUMNS = {"text": "prompt", "chosen": "better", "rejected": "worse"}


def task_of(name: str) -> Any:
    return build_run(compose("train", [f"task={name}"]).tree).task


def test_a_tuned_model_needs_prompts_alone() -> None:
    task = task_of("preference")
    assert rows_to_predict(table_of(["Why?"], COLUMNS), COLUMNS, task) == [{"text": "Why?"}]


def test_a_reward_model_needs_prompts_with_an_answer() -> None:
    task, row = task_of("reward"), {"prompt": "Why?", "better": "So"}
    found = rows_to_predict(table_of([row], COLUMNS), COLUMNS, task)
    assert found == [{"text": "Why?", "chosen": "So"}]
    with pytest.raises(ConfigError, match="must have the column 'better'"):
        rows_to_predict(table_of(["Why?"], COLUMNS), COLUMNS, task)


def test_columns_of_fields_that_the_task_lacks_are_refused() -> None:
    columns = {"text": "prompt", "odd": "prompt"}
    with pytest.raises(ConfigError, match=r"columns must be those of fields .*, got 'odd'\."):
        rows_to_predict(table_of(["Why?"], columns), columns, task_of("preference"))


def test_a_model_whose_training_rows_had_no_prompts_apart_is_asked_with_texts() -> None:
    task, columns = task_of("preference"), {**COLUMNS, "text": None}
    assert rows_to_predict(table_of(["Why?"], columns), columns, task) == [{"text": "Why?"}]
    named = {"text": "prompt"}
    table = table_of([{"prompt": "Why?"}], columns)
    assert rows_to_predict(table, columns, task, named) == [{"text": "Why?"}]


PROMPT = "{instruction}[[ ({input})]]:"


def test_prompts_are_written_from_columns() -> None:
    task, columns, notes = task_of("generation"), {"text": "text", "label": "out"}, list[str]()
    rows = [{"instruction": "Add.", "input": "1"}, {"instruction": "Rhyme.", "input": ""}]
    found = rows_to_predict(table_of(rows, columns), columns, task, None, PROMPT, notes)
    assert [row["text"] for row in found] == ["Add. (1):", "Rhyme.:"]
    assert (
        notes[1]
        == "rows: {input} is empty in 1 of 2 rows, which leaves out its part of the template"
    )
    alone = [{"question": "Rhyme."}]  # the column of a part that may be left out is not there
    named = {"text": "question"}
    found = rows_to_predict(table_of(alone, columns), columns, task, named, PROMPT)
    assert [row["text"] for row in found] == ["Rhyme.:"]
    with pytest.raises(ConfigError, match="must have the column 'instruction'"):
        rows_to_predict(table_of(alone, columns), columns, task, None, PROMPT)


def test_a_text_alone_is_the_first_column_of_a_prompt() -> None:
    assert first_asked(PROMPT) == "instruction" and first_asked("{a} {text}") == "text"
    assert columns_asked("{a} {text}", {"text": "title"}, {"text": "head"}) == {
        "a": "a",
        "text": "head",
    }
