from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lightning_modules.data.table import Table
from lightning_modules.data.templated import notes_of, templated
from lightning_modules.error import ConfigError, DataError
from lightning_modules.rows import cell
from lightning_modules.text.template import ASKED

COLUMNS = {"text": "text", "label": "output"}
CELLS = {"text": cell.conversation, "label": cell.answer}


def table(*rows: dict[str, Any], name: str = "a.csv") -> Table:
    return Table(Path(name), list(rows[0]), rows, range(2, len(rows) + 2))


ROWS = (
    {"instruction": "Add.", "input": 4.0, "output": "x"},
    {"instruction": "Rhyme.", "input": None, "output": "y"},
)
TEMPLATE = "{instruction}[[ ({input})]] A:"


def test_prompts_are_written_from_columns() -> None:
    frame = templated(table(*ROWS), COLUMNS, TEMPLATE)
    rows = frame.marked(frame.table.read(frame.columns, CELLS))
    assert [(row["text"], row["label"]) for row in rows] == [
        ("Add. (4) A:", "x"),
        ("Rhyme. A:", "y"),
    ]
    assert rows[0][ASKED]["cells"] == {"instruction": "Add.", "input": "4"}
    assert list(notes_of([frame, templated(table(*ROWS, name="b.csv"), COLUMNS, TEMPLATE)])) == [
        "a.csv, b.csv: read as prompt '{instruction}[[ ({input})]] A:', answer {output}",
        "a.csv, b.csv: {input} is empty in 2 of 4 rows, which leaves out its part of the template",
    ]


def test_an_empty_column_outside_a_part_is_told() -> None:
    (_, note) = notes_of([templated(table(*ROWS), COLUMNS, "{instruction} {input}")])
    assert note == (
        "a.csv: {input} is empty in 1 of 2 rows; a part of the template in [[...]] would be left "
        "out there"
    )


def test_the_text_of_the_data_has_its_place() -> None:
    columns = {"text": "instruction"}
    frame = templated(table(*ROWS), columns, "{text}: {output}")
    assert frame.table.read(frame.columns, CELLS)[1] == {"text": "Rhyme.: y"}


def test_a_name_that_is_no_column_is_refused() -> None:
    with pytest.raises(ConfigError) as refused:
        templated(table(*ROWS), COLUMNS, "{instrution}")
    assert str(refused.value) == (
        "task.template: must name columns of a.csv, got '{instrution}'. Did you mean instruction? "
        "Its columns: instruction, input, output. Write literal braces twice: {{."
    )


def test_answers_in_a_prompt_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"must not hold the answers, got .* Leave \{output\}"):
        templated(table(*ROWS), COLUMNS, "{instruction} {output}")


def test_an_empty_row_and_the_names_again_are_refused_with_their_place() -> None:
    names = {name: name for name in ROWS[0]}
    empty = {"instruction": " ", "input": "", "output": "x"}
    frame = templated(table(ROWS[0], names, empty), COLUMNS, TEMPLATE)
    with pytest.raises(DataError) as refused:
        frame.table.read(frame.columns, CELLS)
    first, second = str(refused.value).splitlines()
    assert first.startswith("a.csv:3: must be a row, got the names of the columns again")
    assert second.startswith("a.csv:4:instruction: must not be empty")
    assert [row and row["text"] for row in frame.marked_rest(refused.value.rest or ())] == [
        "Add. (4) A:",
        None,
        None,
    ]
