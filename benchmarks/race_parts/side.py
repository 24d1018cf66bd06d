"""The sides of the race: each turns the files of a folder into labels of the held-out rows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from race_parts.budget import Budget, Spent, python, run

from search.config import build_run, compose

FINESWEEP = str(Path(sys.executable).with_name("finesweep"))
OURS = "finesweep"
NUM_TRIALS = 1000
"""More than the time allows, so that it is the time that ends a study."""


@dataclass(frozen=True)
class Labels:
    """What a side says of the held-out rows, and what it spent; no labels if nothing is trained."""

    labels: Sequence[str] | None
    spent: Spent


Side = Callable[[Path, int, Budget], Labels]
"""Reads the files of a folder, and works there; gets a seed and its budget."""


def finesweep(folder: Path, seed: int, budget: Budget) -> Labels:
    """Run a sweep with all defaults until it is interrupted; ask its winner."""
    words = [
        *(FINESWEEP, "sweep", "study=race", "data=files", "data.train=rows.jsonl"),
        *(f"seed={seed}", f"search.num_trials={NUM_TRIALS}"),
        *("search.certify=false", "logger=none"),
    ]
    spent = run(words, folder, budget)
    if not (folder / "studies" / "race").is_dir():
        return Labels(None, spent)
    status = json.loads(_said(folder, "status", "study=race", "--json"))
    if status["states"]["complete"] == 0:
        return Labels(None, spent)
    _said(folder, "export", "study=race", "to=model")
    _said(folder, "predict", "model=model", "input=heldout.jsonl", "output=predicted.jsonl")
    lines = (folder / "predicted.jsonl").read_text(encoding="utf-8").splitlines()
    return Labels([json.loads(line)["prediction"] for line in lines], spent)


def _said(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [FINESWEEP, *words], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"finesweep {' '.join(words)}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def peer(module: str, *words: str) -> Side:
    """Return a side that is a module, which writes `labels.json`."""

    def side(folder: Path, seed: int, budget: Budget) -> Labels:
        model = build_run(compose("train", ["model=minilm"]).tree).model.location()
        spent = run(python(module, *words, model, seed), folder, budget)
        path = folder / "labels.json"
        return Labels(json.loads(path.read_text("utf-8")) if path.exists() else None, spent)

    return side


SIDES: Mapping[str, Side] = {
    OURS: finesweep,
    "as documented": peer("peer_parts.raced", "documented"),
    "clever": peer("peer_parts.raced", "clever"),
    "frozen, linear": peer("peer_parts.linear", "frozen"),
    "TF-IDF, linear": peer("peer_parts.linear", "tfidf"),
}


def raced(name: str, folder: Path, seed: int, budget: Budget) -> Labels:
    """Run a side; if it has trained nothing in its time, it says the most frequent label."""
    found = SIDES[name](folder, seed, budget)
    if found.labels is not None:
        return found
    lines = (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    ((label, _),) = Counter(json.loads(line)["label"] for line in lines).most_common(1)
    num = len((folder / "heldout.jsonl").read_text(encoding="utf-8").splitlines())
    return Labels([label] * num, found.spent)
