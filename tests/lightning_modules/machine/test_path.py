from __future__ import annotations

from pathlib import Path

import pytest

from lightning_modules.machine.path import is_path, typed_path


@pytest.mark.parametrize("text", ["~/a.csv", "$HOME/a.csv", "${HOME}/a.csv"])
def test_home_is_expanded(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert typed_path(text) == tmp_path / "a.csv"
    assert is_path(text)


def test_what_is_not_known_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    assert typed_path("$NOT_SET/a.csv") == Path("$NOT_SET/a.csv")
    assert typed_path("data/a.csv") == Path("data/a.csv")


def test_a_file_of_that_very_name_wins(here: Path) -> None:
    (here / "$HOME").mkdir()
    (here / "$HOME/a.csv").touch()
    assert typed_path("$HOME/a.csv") == Path("$HOME/a.csv")
