"""Runs outside any study: one folder each, in runs/."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import yaml

from lightning_modules.check import check_same_rows
from lightning_modules.error import ConfigError, Problem, Verbatim, did_you_mean
from lightning_modules.folder import OUTCOME_FILE
from lightning_modules.machine.writable import check_writable
from search.config import Tree, build_run, completed
from search.machine.lock import InUse, locked
from search.machine.provenance import PROVENANCE_FILE
from search.plan.name import plain_name
from search.study.attempt import CONFIG_FILE
from search.trained.export import Trained

FOLDER = Path("runs")
METRICS_FILE = "metrics.json"


def new_run_folder(name: str | None) -> Path:
    """Return the folder of a new run; None takes the next free number."""
    if name is None:
        taken = [int(path.name) for path in FOLDER.glob("[0-9]*") if path.name.isdigit()]
        name = str(max(taken, default=-1) + 1)
    name = plain_name("run", name)
    folder = FOLDER / name
    if (folder / METRICS_FILE).exists():
        fix = "Nothing is overwritten: choose another run=NAME, or remove this run."
        raise ConfigError(Problem("run", f"must not be in {FOLDER}/ yet", name, fix))
    check_writable(folder, "run", "Change to a folder that can be written, e.g. cd ~.")
    check_idle(folder)
    return folder


def check_idle(folder: Path) -> None:
    """Raise ConfigError if a process trains the run in the folder."""
    if folder.is_dir():
        with alone(folder):
            pass


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes from training or deleting the run in a folder.

    Raises:
        ConfigError: Another process trains it.

    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder))
        except InUse:
            got = Verbatim(f"{folder.name}, which another process trains")
            fix = "Wait until it has ended, or end it with Ctrl-C."
            raise ConfigError(Problem("run", "must not be in training", got, fix)) from None
        yield


def find_run(name: str) -> Trained:
    """Return a trained run; if there is none, raise ConfigError with similar names."""
    name = plain_name("run", name)
    folder = FOLDER / name
    if not (folder / METRICS_FILE).is_file():
        if folder.exists():
            fix = "Continue it with the command that started it."
            raise ConfigError(Problem("run", "must be a run that has ended", name, fix))
        names = sorted(path.parent.name for path in FOLDER.glob(f"*/{METRICS_FILE}"))
        fix = (
            did_you_mean(name, names)
            if names
            else "There is none yet; start one with finesweep train."
        )
        raise ConfigError(Problem("run", f"must be a run in {FOLDER}/", name, fix))
    tree = completed(read_config(folder))
    outcome = json.loads((folder / OUTCOME_FILE).read_text(encoding="utf-8"))
    origin, scores = f"run {name}", outcome["best"]["metrics"]
    return Trained(build_run(tree), folder, origin, scores, _stored_fingerprint(folder))


def read_config(folder: Path) -> Tree:
    """Return the configuration that a run began with; it never says which packages to import."""
    return read_tree(folder / CONFIG_FILE)


def read_tree(path: Path) -> Tree:
    """Return the configuration of a run in a file; it never says which packages to import.

    Raises:
        ConfigError: There is no such file, or it has no mapping as YAML.

    """
    fix = "Name a whole configuration, e.g. config=studies/NAME/best.yaml."
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        problem = Problem("config", "must be a file of YAML", Verbatim(f"{path}: {reason}"), fix)
        raise ConfigError(problem) from None
    if not isinstance(tree, dict):
        raise ConfigError(Problem("config", "must have keys and values", str(path), fix))
    return {str(key): value for key, value in tree.items() if key != "search"}


def check_rows(folder: Path, fingerprint: str) -> None:
    """Raise an error if the data of an interrupted run have changed."""
    check_same_rows(fingerprint, _stored_fingerprint(folder))


def _stored_fingerprint(folder: Path) -> str:
    values = json.loads((folder / PROVENANCE_FILE).read_text(encoding="utf-8"))
    return str(values["data_sha256"])
