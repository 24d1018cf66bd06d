from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from search.cli.completion import main

COMMANDS = ("sweep", "plan", "status", "train")


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    def completions(line: str, point: int | None = None) -> list[str]:
        monkeypatch.setenv("COMP_LINE", line)
        monkeypatch.setenv("COMP_POINT", str(len(line) if point is None else point))
        assert main(["query=bash"], COMMANDS) == 0
        return capsys.readouterr().out.split()

    return completions


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("finesweep", [*COMMANDS]),
        ("finesweep ", [*COMMANDS]),
        ("finesweep s", ["sweep", "status"]),
        ("finesweep sw", ["sweep"]),
        ("finesweep x", []),
    ],
)
def test_first_word_completes_to_commands(complete, line: str, expected: list[str]) -> None:  # type: ignore[no-untyped-def]
    assert complete(line) == expected


@pytest.mark.parametrize("command", ["sweep", "plan", "train"])
def test_group_completes_to_its_options(complete, command: str) -> None:  # type: ignore[no-untyped-def]
    assert complete(f"finesweep {command} strategy=l") == ["strategy=lora"]


def test_word_completes_to_group_and_keys(complete) -> None:  # type: ignore[no-untyped-def]
    assert complete("finesweep sweep seed=1 optim") == ["optimizer.", "optimizer="]


def test_train_offers_its_own_keys(complete) -> None:  # type: ignore[no-untyped-def]
    assert "run=" in complete("finesweep train ")
    assert "study=" not in complete("finesweep train ")


def test_text_after_the_cursor_is_ignored(complete) -> None:  # type: ignore[no-untyped-def]
    line = "finesweep sweep optim seed=1"
    assert complete(line, line.index(" seed")) == ["optimizer.", "optimizer="]


@pytest.mark.parametrize("words", [[], ["install=fish"], ["remove=bash"], ["query"]])
def test_unknown_words_show_the_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words, COMMANDS) == 2
    assert "finesweep -sc install=bash" in capsys.readouterr().out


def test_the_installed_code_completes_in_bash(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["install=bash"], COMMANDS) == 0
    script = capsys.readouterr().out + (
        'COMP_LINE="finesweep sweep strategy=f" COMP_POINT=26\n'
        'COMP_WORDS=(finesweep sweep "strategy=f") COMP_CWORD=2\n'
        '_finesweep; printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PATH": path},
    )
    names = ("feature_extraction", "freeze", "from_scratch", "full")
    assert done.stdout.split() == [f"strategy={name}" for name in names]
