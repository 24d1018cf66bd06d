"""finesweep evaluate: scores, and how exact they are."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import run_here
from tests.test_kept import KEPT

LINE = r"accuracy: 95 % interval (\S+) to (\S+), for the choice of these (\d+) rows"


@pytest.mark.parametrize(
    "words", [("run=small",), ("model=export", "data=files", "data.train=labelled.jsonl")]
)
def test_the_interval_of_the_metric_is_said(words: tuple[str, ...], here: Path) -> None:
    shutil.copytree(KEPT, here, dirs_exist_ok=True)
    rows = [
        {"text": f"It is {word} {n}.", "label": ("negative", "positive")[n % 2]}
        for n in range(40)
        for word in ("so", "bad")
    ]
    Path("labelled.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    scores = json.loads(run_here("evaluate", *words, "--json"))
    *lines, last = run_here("evaluate", *words).splitlines()
    found = re.fullmatch(LINE, last)
    assert found is not None, last
    low, high, num_rows = float(found[1]), float(found[2]), int(found[3])
    assert 0 <= low < high <= 1 and int(num_rows) > 1
    assert (low + high) / 2 == pytest.approx(scores["accuracy"], abs=1e-3)
    assert [line.split()[0] for line in lines[1:]] == list(scores)
