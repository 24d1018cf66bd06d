from __future__ import annotations

from pathlib import Path

import pytest

from lightning_modules.error import ConfigError
from lightning_modules.machine.writable import check_writable, refusal


def test_a_folder_that_can_be_written_stays_as_it_is(here: Path) -> None:
    check_writable(here / "a/b/c", "run", "")
    check_writable(Path("relative"), "run", "")
    assert not list(here.iterdir())


def test_a_file_in_the_way_is_named(here: Path) -> None:
    (here / "a").write_text("")
    with pytest.raises(ConfigError) as error:
        check_writable(Path("a/b"), "run", "Remove it.")
    assert str(error.value) == (
        f"run: must be a folder that can be written, got {here}/a/b (Not a directory). Remove it."
    )


def test_what_even_root_cannot_write_is_refused() -> None:
    assert refusal(Path("/proc/self/x")) is not None
