"""Help is correct and fast: its examples compose, and its values are those of conf/."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from search.cli import main
from search.cli.help import split_examples
from search.cli.main import COMMANDS, HELP
from search.config import CONF_DIR, compose
from tests.options import names_of

COMPOSING = ("sweep", "plan", "check", "train")
COMPOSERS = {"yaml", "hydra", "omegaconf"}


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def help_of(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def examples_of(text: str) -> list[list[str]]:
    """Return the words of every line that starts with the command, indented by two spaces."""
    joined = text.replace("\\\n", " ")
    lines = re.findall(r"^  (finesweep [a-z]+ .+|finesweep [a-z]+)$", joined, re.MULTILINE)
    return [shlex.split(line)[1:] for line in lines]


@pytest.fixture
def files(here: Path) -> Path:
    rows = "".join(
        f'"review {n} of a thing, {"fine" if n % 2 else "poor"}",{n % 2},{n % 2}\n'
        for n in range(40)
    )
    (here / "my.csv").write_text("text,label,stars\n" + rows)
    return here


def check(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Run a composing command without its training."""
    command, *rest = words
    if command == "train":
        tree = compose("train", rest).tree
        assert main(["train", *rest, "--cfg", "job"]) == 0
        assert tree["run"] is not None
    else:
        renamed = [word.replace("data.text=review", "data.text=text") for word in rest]
        name = "check" if command == "check" else "plan"
        assert main([name, *renamed]) == 0, capsys.readouterr().err


@pytest.mark.thorough
@pytest.mark.parametrize("command", COMPOSING)
def test_examples_compose(command: str, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    examples = examples_of(help_of(command, capsys))
    assert len(examples) == (4 if command == "train" else 3)
    stored = (["study=mine"], ["study=mine", "trial=3"], ["config=studies/mine/best.yaml"])
    for words in examples:
        assert words[0] == command
        if words[1:] in stored:
            assert_known(words, capsys)
        else:
            check(words, capsys)


def test_ranges_in_the_help_can_be_searched(capsys: pytest.CaptureFixture[str]) -> None:
    lead, _ = split_examples(help_of("sweep", capsys))
    ranges = re.findall(r"'([^' ]+=[^' ]+\))'", lead)
    assert len(ranges) == 5
    space = compose("sweep", ranges)
    searched = {*space.groups, *(path for arm in space.arms for path in arm.space)}
    assert {word.partition("=")[0].partition("[")[0] for word in ranges} <= searched


@pytest.mark.parametrize("command", sorted({*COMMANDS} - {*COMPOSING}))
def test_examples_of_other_commands_use_known_keys(
    command: str, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    examples = examples_of(help_of(command, capsys))
    assert 1 <= len(examples) <= 3
    for words in examples:
        assert words[0] == command
        assert_known(words, capsys)


def assert_known(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Run a command that finds no study, run or model, and reports only that."""
    code = main([*words])
    output = capsys.readouterr().err
    assert code == (0 if list(words) == ["status"] else 2)
    assert len(output.splitlines()) == (code == 2)
    assert "known key" not in output and "must have the form key=value" not in output


def test_examples_of_the_main_help_run(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    examples = [words for words in examples_of(HELP) if words[0] in COMMANDS]
    assert [words[0] for words in examples] == ["sweep", "sweep", "evaluate"]
    for words in examples[:2]:
        check(words, capsys)
    assert_known(examples[2], capsys)


def test_the_main_help_lists_every_command() -> None:
    listed = re.findall(r"^  ([a-z]+)  ", HELP, re.MULTILINE)
    assert listed == list(COMMANDS)


@pytest.mark.parametrize("command", COMPOSING)
def test_every_option_is_listed_and_the_default_marked(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output = help_of(command, capsys)
    tree = "train" if command in ("train", "check") else "sweep"
    defaults = re.findall(r"^  - ([\w/]+): (\w+)", (CONF_DIR / f"{tree}.yaml").read_text(), re.M)
    assert len(defaults) >= 9
    for group, default in defaults:
        block = re.search(rf"^  {group}: .+\n((?: [ *].*\n)+)", output, re.M)
        assert block is not None, group
        listed = re.findall(r"^  ([ *]) (\w+)(?:  |$)", block[1], re.M)
        mine = names_of(group)
        assert [name for _, name in listed][: len(mine)] == mine, group
        assert [name for mark, name in listed if mark == "*"][:1] == [
            name for name in [default] if name != "null"
        ]


def test_keys_are_shown_with_their_values(capsys: pytest.CaptureFixture[str]) -> None:
    output = help_of("sweep", capsys)
    assert re.search(r"^  search\.num_trials=12 +total budget", output, re.M)
    assert re.search(r"^  trainer\.epochs=auto +enough for the steps", output, re.M)
    assert re.search(r"^  optimizer\.lr=\$\{strategy\.lr\} +peak learning rate", output, re.M)
    assert "(data=files)" in output
    assert "run=null" in help_of("train", capsys)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_80_columns(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    output = f"{HELP}{help_of(command, capsys)}"
    assert [line for line in output.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize(("columns", "longest"), [("100", 100), ("300", 100), ("20", 80)])
def test_help_uses_the_terminals_width_within_limits(
    columns: str,
    longest: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    lines = help_of("sweep", capsys).splitlines()
    groups = lines[: lines.index("Examples:")]
    assert longest - 20 < max(map(len, groups)) <= longest


def test_flags_of_each_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--config-dir DIR" in help_of("sweep", capsys)
    assert "--watch" in help_of("status", capsys)
    assert "--json" not in help_of("export", capsys)


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        (["--help"], set()),
        (["sweep", "--help"], COMPOSERS),
    ],
)
def test_help_imports_no_more_than_it_shows(words: list[str], allowed: set[str]) -> None:
    code = f"""
import atexit, sys
atexit.register(lambda: print(*sys.modules))
from search.cli import main
main({words})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert "search" in loaded
    assert loaded & COMPOSERS <= allowed
    assert loaded.isdisjoint(("optuna", "sqlalchemy", "numpy", "pandas", "rich", "torch"))
