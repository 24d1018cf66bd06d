"""Broken files: no traceback, no silent change, one line a problem, or the right rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightning_modules.data.file.form import Form
from lightning_modules.data.read import Wanted, read_table
from lightning_modules.error import UserError
from lightning_modules.rows import cell
from search.cli import main
from tests.lightning_modules.data.poison import Poison, poisons

COLUMNS = {"text": "text", "label": "label"}
CELLS = {"text": cell.text, "label": cell.label}
ALL = poisons()
each_poison = pytest.mark.parametrize("poison", ALL, ids=[each.name for each in ALL])


def test_there_are_enough() -> None:
    assert len({each.name for each in ALL}) == len(ALL) >= 60


@each_poison
def test_a_broken_file_is_read_rightly_or_refused_in_one_line(poison: Poison) -> None:
    path = Path(poison.name)
    path.write_bytes(poison.content)
    wanted = Wanted(tuple(COLUMNS.values()))
    if poison.rows is None:
        with pytest.raises(UserError) as raised:
            read_table(path, "data.train", Form(), wanted).read(COLUMNS, CELLS)
        problems = [str(each) for each in raised.value.problems]
        assert poison.says in problems[0]
        assert all("\n" not in line and len(line) < 1000 for line in problems)
        return
    table = read_table(path, "data.train", Form(), wanted)
    rows = table.read(COLUMNS, CELLS)
    assert [(row["text"], row["label"]) for row in rows] == poison.rows
    assert poison.says in " ".join([table.reading, *table.notes])


@pytest.mark.slow
@each_poison
def test_plan_refuses_it_with_exit_code_2(
    poison: Poison, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(poison.name).write_bytes(poison.content)
    words = ["plan", "study=x", "model=tiny", "data=files", f"data.train={poison.name}"]
    if poison.rows is None:
        assert main(words) == 2
        assert "Traceback" not in capsys.readouterr().err
