"""finesweep worker: join a study from this or another machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lightning_modules.error import ConfigError, Problem
from search.cli.argument import keys, needed, parse
from search.engine.local import LocalEngine
from search.plan.name import plain_name
from search.plan.pin import models_of
from search.storage.location import study_folder
from search.study import certify, confirm
from search.study.ask import check_trained
from search.study.attempt import where_is
from search.study.open import stored
from search.study.study import Study
from search.sweep.follow_up import confirm_and_certify
from search.terminal.download import fetch_models
from search.terminal.progress import shown
from search.trained.find import find_study

ABOUT = """\
Join a study with more workers, equal to those that the sweep started: from
another terminal, or with PostgreSQL storage from any machine. The study brings
its configuration; data files must have the same absolute paths, or the same
paths relative to the folder where this runs.

  study=NAME   the study
  storage=URL  postgresql://..., or the path of the study.db of a study that
               started elsewhere on this machine; default: FINESWEEP_STORAGE
  workers=1    number of training processes

  finesweep worker study=mine
  finesweep worker study=mine workers=2
"""


def main(words: Sequence[str]) -> int:
    """Run the command."""
    parsed = parse("worker", ABOUT, words)
    known = {"study": "its name", "workers": "number of training processes"}
    found = keys(parsed.overrides, known)
    name = plain_name("study", needed(found, "study", "NAME"))
    num_workers = _number(found)
    _change_to_study_root(name)
    study = find_study(name)
    check_trained(study)
    if study.is_over and not confirm.is_due(study) and not certify.is_due(study):
        print(f"study {name} has ended or was stopped: nothing is left to do")
        return 0

    def work(each: Study) -> tuple[int, str]:
        if each.is_over:
            return 0, ""
        fetch_models(models_of(each.plan), show=True)
        workers = f"{num_workers} worker{'s' * (num_workers > 1)}"
        print(f"joining study {each.plan.name} with {workers}", flush=True)
        with shown(each) as on_event:
            return LocalEngine(each, num_workers, on_event, f"joined-{os.getpid()}").run(), ""

    code, _ = work(study)
    return code or confirm_and_certify(study, work, print)[0]


def _number(found: Mapping[str, str]) -> int:
    text = found.get("workers", "1")
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(Problem("workers", "must be a whole number > 0", text))
    return int(text)


def _change_to_study_root(name: str) -> None:
    """Change to the folder where the study was started, if it is here.

    The study's checkpoints and data are there.
    """
    before = stored(study_folder(Path(), name))
    if before is None or before.root == where_is(Path()):
        return
    host, _, root = before.root.partition(":")
    if host == where_is(Path()).partition(":")[0] and Path(root).is_dir():
        os.chdir(root)
        print(f"working in {root}, where the study was started")
    else:
        print(
            f"the study was started in {before.root}: unless that is this folder, checkpoints of "
            "its workers cannot be read here, and their trials start from scratch",
            file=sys.stderr,
        )
