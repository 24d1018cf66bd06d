"""Broken files: no traceback, no silent change, one line a problem, or the right rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lightning_modules.data.file.form import Form
from lightning_modules.data.read import Wanted, read_table
from lightning_modules.error import UserError
from lightning_modules.rows import cell
from search.cli import main
from tests.lightning_modules.data.poison import Poison, poisons
from tests.test_kept import KEPT

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


DATA = ("model=tiny", "data=files")


@pytest.mark.thorough
@each_poison
def test_commands_refuse_it_with_exit_code_2_or_read_it_rightly(
    poison: Poison, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(poison.name).write_bytes(poison.content)
    before = set(here.iterdir())
    for command in (("plan", "study=x"), ("check",)):
        code = main([*command, *DATA, f"data.train={poison.name}"])
        said = capsys.readouterr()
        if poison.rows is None:
            assert code == 2 and poison.says in said.out + said.err
        else:  # a few rows, of which none can be taken for validation
            assert code in (0, 2)
        is_one_line_each(said.err)
    assert set(here.iterdir()) == before  # nothing is left behind


@pytest.mark.thorough
@each_poison
def test_predict_refuses_it_with_exit_code_2_or_keeps_its_rows(
    poison: Poison, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(KEPT / "export", "export")
    Path(poison.name).write_bytes(poison.content)
    code = main(["predict", "model=export", f"input={poison.name}", "output=out.jsonl"])
    is_one_line_each(capsys.readouterr().err)
    if code == 2:  # some can be read but for their labels, which predict does not need
        assert poison.rows is None and not Path("out.jsonl").exists()
        return
    lines = Path("out.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    texts = [json.loads(line)["text"] for line in lines]
    assert code == 0 and all(text.strip() for text in texts)
    if poison.rows is not None:  # the file's own cells, with the spaces that training leaves out
        assert [text.strip() for text in texts] == [text for text, _ in poison.rows]


def is_one_line_each(said: str) -> None:
    """Check that an error is a line per problem, and no traceback."""
    assert "Traceback" not in said
    assert all(len(line) < 1000 for line in said.splitlines())
