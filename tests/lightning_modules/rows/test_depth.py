from __future__ import annotations

import json
from pathlib import Path

import pytest

from lightning_modules.data.read import read_table
from lightning_modules.error import DataError
from lightning_modules.rows import cell
from lightning_modules.rows.depth import MAX_DEPTH, is_too_deep


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 600, 900, 5000])
def test_values_that_are_nested_too_deep_are_refused_with_their_line(
    here: Path, depth: int
) -> None:
    Path("a.jsonl").write_text(f'{{"text": "x"}}\n{{"text": {nested(depth - 1)}}}\n')
    with pytest.raises(DataError, match=r"^a\.jsonl:2: must be "):
        read_table(Path("a.jsonl"), "data.train")


def test_the_deepest_value_is_read(here: Path) -> None:
    Path("a.jsonl").write_text(f'{{"text": {nested(MAX_DEPTH - 1)}}}\n')
    assert len(read_table(Path("a.jsonl"), "data.train").rows) == 1
    wide = json.dumps([[0]] * 1000)
    assert not is_too_deep(wide, json.loads(wide))


def test_a_cell_of_deep_json_is_text() -> None:
    assert cell.from_json(nested(MAX_DEPTH + 1)) == nested(MAX_DEPTH + 1)
    assert isinstance(cell.from_json(nested(MAX_DEPTH)), list)
