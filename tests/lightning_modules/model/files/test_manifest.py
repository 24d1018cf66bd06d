from __future__ import annotations

from pathlib import Path

import pytest

from lightning_modules.machine.file import write_json
from lightning_modules.model.files.fault import Fault
from lightning_modules.model.files.manifest import MANIFEST, SUMS, check_sums, write_sums


@pytest.fixture
def exported(here: Path) -> Path:
    (here / "adapter").mkdir()
    for name in ("config.json", "model.safetensors", "adapter/adapter_config.json", "README.md"):
        (here / name).write_text(name)
    write_json(here / MANIFEST, {SUMS: write_sums(here)})
    return here


def test_an_export_as_it_was_written_passes(exported: Path) -> None:
    check_sums(exported, large=True)
    (exported / "README.md").write_text("a card may be edited")
    (exported / "notes.txt").write_text("and have others beside it")
    check_sums(exported, large=True)


@pytest.mark.parametrize("name", ["config.json", "adapter/adapter_config.json"])
def test_a_changed_file_is_named(exported: Path, name: str) -> None:
    (exported / name).write_text("other")
    with pytest.raises(Fault, match=rf"^{name} must have the sha256 [0-9a-f]{{12}}\.\.\. of fine"):
        check_sums(exported, large=True)


def test_a_missing_file_is_named(exported: Path) -> None:
    (exported / "model.safetensors").unlink()
    with pytest.raises(Fault, match=r"^model\.safetensors must be there, got no such file"):
        check_sums(exported, large=True)


def test_an_export_on_the_hub_is_checked_as_far_as_it_is_here(here: Path) -> None:
    folder = here / "snapshots/0123"
    (folder / "1_Pooling").mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "1_Pooling/config.json"):
        (folder / name).write_text(name)
    write_json(folder / MANIFEST, {SUMS: write_sums(folder)})
    (folder / "model.safetensors").unlink()
    (folder / "1_Pooling/config.json").unlink()
    check_sums(folder, large=True)
    (folder / "config.json").write_text("other")
    with pytest.raises(Fault, match=r"^config\.json must have the sha256 "):
        check_sums(folder, large=True)


def test_a_file_beside_the_exported_ones_is_named(exported: Path) -> None:
    (exported / "added_tokens.json").write_text("{}")
    with pytest.raises(Fault, match=r"^added_tokens\.json must be among the files of finesweep"):
        check_sums(exported, large=True)


def test_an_earlier_export_has_no_sums(exported: Path) -> None:
    write_json(exported / MANIFEST, {})
    (exported / "config.json").write_text("other")
    check_sums(exported, large=True)


@pytest.mark.parametrize("name", ["../other", "/etc/passwd"])
def test_sums_are_of_files_in_the_folder(exported: Path, name: str) -> None:
    write_json(exported / MANIFEST, {SUMS: {name: "0"}})
    with pytest.raises(Fault, match="must have sums of files in the folder"):
        check_sums(exported, large=True)
