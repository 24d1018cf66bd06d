from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_modules.callback.best import Best, save_best
from lightning_modules.callback.review import review
from lightning_modules.task.base import Examples, Tables, Task
from lightning_modules.task.classification import Classification
from tests.conftest import classification

TASK = classification()
LABELS = ["no", "yes"]
ROWS = [{"text": "Größe?\u2028\nfine", "label": "no"}, {"text": 'a, "b"', "label": "yes"}]


@pytest.fixture
def folder(here: Path) -> Path:
    observed = {"logits_BC": torch.tensor([[0.0, 2], [3, 0]]), "labels_B": torch.tensor([0, 1])}
    save_best(here, Best({"weight": torch.zeros(1)}, observed))
    return here


def test_each_table_becomes_a_file_with_one_record_per_line(folder: Path) -> None:
    tables = review(folder, TASK, Examples(ROWS, LABELS, None))
    assert set(tables) == {"mistakes", "confusion"}
    for name, records in tables.items():
        content = (folder / f"{name}.jsonl").read_text(encoding="utf-8")
        assert [json.loads(line) for line in content.split("\n")[:-1]] == records
    assert [each["text"] for each in tables["mistakes"]] == [ROWS[1]["text"], ROWS[0]["text"]]
    assert "Größe" in (folder / "mistakes.jsonl").read_text(encoding="utf-8")


def test_an_empty_table_is_an_empty_file(folder: Path) -> None:
    rows = [{**row, "label": LABELS[1 - number]} for number, row in enumerate(ROWS)]
    observed = {"logits_BC": torch.tensor([[0.0, 2], [3, 0]]), "labels_B": torch.tensor([1, 0])}
    save_best(folder, Best({"weight": torch.zeros(1)}, observed))
    assert review(folder, TASK, Examples(rows, LABELS, None))["mistakes"] == []
    assert (folder / "mistakes.jsonl").read_bytes() == b""


@dataclass(frozen=True, kw_only=True)
class Silent(Classification):
    """A task without tables, like the base class."""

    def tables(self, *arguments: Any) -> Tables:
        return Task.tables(self, *arguments)


def test_a_task_without_tables_writes_no_file(folder: Path) -> None:
    assert review(folder, Silent(**vars(TASK)), Examples(ROWS, LABELS, None)) == {}
    assert not list(folder.glob("*.jsonl"))


def test_observations_of_another_number_of_rows_are_refused(folder: Path) -> None:
    with pytest.raises(AssertionError, match="2 outputs for 1 rows"):
        review(folder, TASK, Examples(ROWS[:1], LABELS, None))
