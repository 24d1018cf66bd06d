"""The commands of docs/results.md reach its figures; they take hours."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import pytest

from tests.conftest import without_certificate
from tests.shared import DATA, ROOT, needs

PAGE = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
FINESWEEP = Path(sys.executable).with_name("finesweep")

pytestmark = [pytest.mark.slow, needs(DATA)]

# For each heading a metric and its bound: a minimum, or for a loss a maximum, of the mean over the
# evaluations, whose splits have the same size.
FIGURES = {
    "SST-2 without training": ("accuracy", 0.65),
    "WNUT-17": ("entity_f1", 0.37),
    "SQuAD, 3,000 questions": ("f1", 0.57),
    "SciTLDR, from two encoders": ("rouge1", 0.24),
    "Multi30k, from scratch": ("bleu", 20.0),
    "tiny_shakespeare, from scratch": ("nats_per_character", 1.90),
}
LOSSES = {"nats_per_character"}
MARGIN = 0.04


def blocks(heading: str, language: str) -> list[str]:
    """Return the code blocks in a language under a heading of the page."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def commands(heading: str) -> Iterator[list[str]]:
    """Yield the words of each command under a heading of the page."""
    for block in blocks(heading, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            yield shlex.split(line)


@pytest.mark.parametrize("heading", FIGURES)
def test_the_commands_reach_the_figure(heading: str, here: Path) -> None:
    for folder in DATA.iterdir():
        (here / folder.name).symlink_to(folder)
    metric, bound = FIGURES[heading]
    scores = []
    for name, *words in commands(heading):
        assert name == "finesweep"
        asked = [*words, "--json"] if words[0] == "evaluate" else [*words, "logger=none"]
        done = subprocess.run(
            [FINESWEEP, *without_certificate(asked)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        if words[0] == "evaluate":
            scores.append(json.loads(done.stdout)[metric])
    found = fmean(scores)
    assert found <= bound if metric in LOSSES else found >= bound, scores
    for code in blocks(heading, "python"):  # prints the scores of what has to be worse
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert found - ast.literal_eval(done.stdout)[metric] >= MARGIN, (found, done.stdout)
