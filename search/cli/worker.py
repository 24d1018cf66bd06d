"""finesweep worker: join a study from this or another machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lightning_modules.error import ConfigError, Problem
from search.cli.argument import keys, needed, parse
from search.engine.local import LocalEngine
from search.plan.plan import plain_name
from search.storage.location import study_folder
from search.study.attempt import where_is
from search.study.open import stored
from search.terminal.progress import shown
from search.trained.find import find_study

ABOUT = """\
Join a study as further workers, equal to those that the sweep started: from
another terminal, or with a PostgreSQL storage from any machine. The study's
configuration comes with the study; data files must lie at the same paths, or
at the same ones below the folder where this runs.

  study=NAME   the study
  storage=URL  postgresql://..., or the path of the study.db of a study that
               began elsewhere on this machine; else FINESWEEP_STORAGE
  workers=1    processes that train

  finesweep worker study=mine
  finesweep worker study=mine workers=2
"""


def main(words: Sequence[str]) -> int:
    """Run the command."""
    parsed = parse("worker", ABOUT, words)
    known = {"study": "its name", "workers": "processes that train"}
    found = keys(parsed.overrides, known)
    name = plain_name("study", needed(found, "study", "NAME"))
    num_workers = _number(found)
    _go_where_it_began(name)
    study = find_study(name)
    if study.is_over:
        print(f"study {name} has ended, or was asked to stop: nothing is left to do")
        return 0
    print(f"joins study {name} with {num_workers} worker{'s' * (num_workers > 1)}", flush=True)
    with shown(study) as tell:
        return LocalEngine(study, num_workers, tell, f"joined-{os.getpid()}").run()


def _number(found: Mapping[str, str]) -> int:
    text = found.get("workers", "1")
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(Problem("workers", "must be a whole number > 0", text))
    return int(text)


def _go_where_it_began(name: str) -> None:
    """Stand where the study began, if that is within reach: its checkpoints and data are there."""
    before = stored(study_folder(Path(), name))
    if before is None or before.root == where_is(Path()):
        return
    host, _, root = before.root.partition(":")
    if host == where_is(Path()).partition(":")[0] and Path(root).is_dir():
        os.chdir(root)
        print(f"works in {root}, where the study began")
    else:
        print(
            f"the study began in {before.root}: unless that folder is this one, what its workers "
            "saved is out of reach, and trials that they began start over here",
            file=sys.stderr,
        )
