"""Rows as columns: each row is what it was, in every way to get it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightning_modules.rows import columns
from lightning_modules.rows.columns import Columns, cells_of, compact, joined, jsons_of, part_of
from lightning_modules.rows.digest import digests

ROWS: list[dict[str, Any]] = [
    {"text": "Größe 😀", "label": "a"},
    {"text": "", "label": None},
    {"text": ["two", "words"], "label": 0.1},
    {"text": 'a "quote" \\ and a line\n', "label": True},
    {"label": 3, "text": "half \ud83d"},
    {"text": "no label"},
    {"text": "more", "label": {"b": [1, None], "a": "x"}, "asked": {"template": "{text}"}},
    *({"text": f"text {number}", "label": "b"} for number in range(20)),
]


@pytest.fixture(params=[3, 10_000])
def kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Columns:
    monkeypatch.setattr(columns, "ROWS_AT_ONCE", request.param)
    return Columns.of(iter(ROWS))


def test_rows_are_what_they_were(kept: Columns) -> None:
    assert list(kept) == ROWS and [kept[number] for number in range(len(ROWS))] == ROWS
    assert kept[-1] == ROWS[-1] and kept[2:9] == ROWS[2:9] and kept[::-1] == ROWS[::-1]
    assert kept == ROWS and kept != ROWS[:-1] and ROWS in [kept]
    assert [type(row.get("label")) for row in kept] == [type(row.get("label")) for row in ROWS]
    with pytest.raises(IndexError):
        kept[len(ROWS)]


def test_cells_of_one_field(kept: Columns) -> None:
    assert list(cells_of(kept, "text")) == [row["text"] for row in ROWS]
    with pytest.raises(KeyError):
        list(cells_of(kept, "label"))


def test_parts_and_joined_rows(kept: Columns) -> None:
    is_kept = np.arange(len(ROWS)) % 3 == 0
    expected = [row for row, keep in zip(ROWS, is_kept, strict=True) if keep]
    assert part_of(kept, is_kept) == expected == part_of(ROWS, is_kept)
    assert joined([kept, part_of(kept, is_kept)]) == ROWS + expected
    assert joined([kept, ROWS[:2]]) == ROWS + ROWS[:2]


def test_values_of_rows_are_made_once_and_stay_with_parts(kept: Columns) -> None:
    keys = kept.values("key", lambda: digests(map(repr, kept)))
    is_kept = np.arange(len(ROWS)) < 5
    part = kept.part(is_kept)
    assert part.values("key", lambda: np.empty(0)).tolist() == keys[:5].tolist()
    assert len(set(keys.tolist())) == len(set(map(repr, ROWS)))


def test_json_of_rows_is_that_of_dicts(kept: Columns) -> None:
    assert list(jsons_of(kept)) == [json.dumps(row, sort_keys=True) for row in ROWS]


def test_texts_are_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [json.dumps(row) for row in [*ROWS, *ROWS[:4]]]
    assert list(columns.sorted_texts(iter(texts))) == sorted(texts)
    monkeypatch.setattr(columns, "FEW_ROWS", 2)
    monkeypatch.setattr(columns, "ROWS_AT_ONCE", 3)
    assert list(columns.sorted_texts(iter(texts))) == sorted(texts)


def test_a_file_of_rows_is_mapped(kept: Columns, tmp_path: Path) -> None:
    kept.write(tmp_path / "rows.arrow")
    assert Columns.read(tmp_path / "rows.arrow") == ROWS


def test_rows_that_are_listed_are_the_same_objects_each_time(kept: Columns) -> None:
    assert columns.listed(kept) == ROWS and columns.listed(kept) is columns.listed(kept)
    assert columns.listed(ROWS) is ROWS


def test_few_rows_stay_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "FEW_ROWS", len(ROWS))
    assert isinstance(compact(iter(ROWS)), list)
    monkeypatch.setattr(columns, "FEW_ROWS", len(ROWS) - 1)
    found = compact(iter(ROWS))
    assert isinstance(found, Columns) and found == ROWS
