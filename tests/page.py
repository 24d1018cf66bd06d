"""The shell blocks of a page, run in order with little to train."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.conftest import run_here

# The same words on a model that takes seconds, and fewer trials: the pages show the command line,
# not MiniLM's score.
QUICK = "model=tiny strategy=full trainer.validations_per_epoch=1"
BUDGET = "search.num_trials=3"


def blocks(page: str, language: str) -> list[str]:
    """Return the content of each fenced block in `language`, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


def quickened(script: str) -> str:
    """Return the script with a small model and a small budget."""
    script = script.replace("\\\n", " ").replace("search.num_trials=20", BUDGET)

    def quick(line: str) -> str:
        words = QUICK.replace("strategy=full ", "") if "'strategy=" in line else QUICK
        if "finesweep sweep" in line:
            words += " search.workers=0 search.certify=false"  # one process instead of two
        if "trial=" in line:
            return line
        return re.sub(r"^finesweep (sweep|plan|train) ", rf"finesweep \1 {words} ", line)

    return "\n".join(map(quick, script.splitlines()))


def python_script(page: str) -> str:
    """Return all Python blocks of a page as one script, on a small random network."""
    script = "\n".join(blocks(page, "python"))
    script = script.replace("    num_trials=", '    "search.certify=false",\n    num_trials=')
    return script.replace('"data=files"', '"experiment=smoke", "logger=none", "data=files"')


def run_in_bash(script: str) -> None:
    words = ["bash", "-c", "set -euo pipefail\n" + script]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def run_in_this_process(script: str) -> None:
    """Run each line's command here, without the seconds of imports that each would need."""
    commands = [shlex.split(line, comments=True) for line in script.splitlines()]
    assert commands[0] == ["source", ".venv/bin/activate"]
    for command, *words in commands[1:]:
        assert command == "finesweep"
        run_here(*words)


def write_reviews(here: Path) -> None:
    """Write the files that the pages take for the reader's own, and a `.venv` with this Python."""
    rows = "".join(
        f'"The {"meal" if n % 3 else "room"} {n} was {"great" if n % 2 else "awful"}",{n % 2 + 1}\n'
        for n in range(60)
    )
    (here / "my.csv").write_text("review,stars\n" + rows)
    (here / "new.csv").write_text("id,review\n7,A great meal\n8,An awful room\n")
    (here / ".venv").symlink_to(Path(sys.executable).parents[1])


def check_study(folder: Path) -> None:
    """Check that every file of a study that the pages name is there."""
    for name in ("study.db", "config.yaml", "provenance.json", "trials.csv", "wandb"):
        assert (folder / name).exists(), name


def check_predictions(path: Path) -> None:
    """Check the answers to the rows of `new.csv`."""
    out = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["id"] for row in out] == ["7", "8"]
    assert all(row["prediction"] in ("1", "2") and set(row["scores"]) == {"1", "2"} for row in out)
