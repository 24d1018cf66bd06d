from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_modules.machine.file import DiskFull, replacing, share, write_json, write_text
from tests.conftest import SmallDisk


def test_a_new_file_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    write_text(path, "new, größer")
    assert path.read_text(encoding="utf-8") == "new, größer"


def test_missing_folders_are_created(tmp_path: Path) -> None:
    write_text(tmp_path / "one" / "two" / "a.txt", "x")
    assert (tmp_path / "one" / "two" / "a.txt").read_text() == "x"


def test_no_draft_is_left(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "x")
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_the_old_file_remains_until_the_new_one_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as draft:
        draft.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_an_error_keeps_the_old_file_and_leaves_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail_half_way() -> None:
        with replacing(path) as draft:
            draft.write_text("half")
            raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="disk on fire"):
        fail_half_way()
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_a_killed_writer_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    code = (
        "import os, pathlib, signal, sys\n"
        "from lightning_modules.machine.file import replacing\n"
        "with replacing(pathlib.Path(sys.argv[1])) as draft:\n"
        "    draft.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -9
    assert path.read_text() == "old"


def test_json_is_read_back_unchanged(tmp_path: Path) -> None:
    value = {"name": "Zoë", "scores": [0.1, None, True], "deep": {"a": 1}}
    write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert "Zoë" in text
    assert text.endswith("}\n")


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_nan_and_infinity_are_refused_and_the_old_file_is_kept(
    tmp_path: Path, number: float
) -> None:
    write_json(tmp_path / "a.json", {"loss": 1.0})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"loss": number})
    assert json.loads((tmp_path / "a.json").read_text()) == {"loss": 1.0}


def test_a_shared_file_has_two_names_until_one_is_replaced(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    write_text(one, "1")
    write_text(other, "old")
    share(one, other)
    assert one.samefile(other)
    share(one, other)
    write_text(one, "2")
    assert (one.read_text(), other.read_text()) == ("2", "1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "other"]


def test_between_two_disks_a_shared_file_is_copied(small_disk: SmallDisk, here: Path) -> None:
    write_text(here / "one", "1")
    share(here / "one", small_disk.folder / "other")
    assert (small_disk.folder / "other").read_text() == "1"
    write_text(here / "one", "x" * 100_000)
    small_disk.fill()
    with pytest.raises(DiskFull):
        share(here / "one", small_disk.folder / "other")
    assert (small_disk.folder / "other").read_text() == "1"
