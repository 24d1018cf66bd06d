"""finesweep try: queue a configuration in a study."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from lightning_modules.error import ConfigError, Problem, Verbatim
from search.cli.argument import parse
from search.config import parse_override, typed_name, typed_words
from search.config.override import Override, range_problem
from search.report.text import setting
from search.study.pick import queue_pick
from search.study.study import Study
from search.trained.find import find_study

ABOUT = """\
Queue a configuration of yours as the next trial of a study. Keys that you do
not name have the values of the default configuration. The study must search
the keys, but a value may lie outside its range.

  study=NAME   the study
  key=value    a searched key, e.g. optimizer.lr=3e-4

  finesweep try study=mine optimizer.lr=3e-4
  finesweep try study=mine optimizer.lr=1e-3 trainer.epochs=5
"""


def main(words: Sequence[str]) -> int:
    """Run the command."""
    parsed = parse("try", ABOUT, words, flags=("json",))
    name, overrides = _named(parsed.overrides)
    study = find_study(name)
    pick = queue_pick(study, _values(study, overrides))
    if parsed.json:
        result = {"study": name, "trial": pick.number, "params": pick.values}
        print(json.dumps({**result, "needs_num_trials": pick.budget}, indent=2))
        return 0
    shown = ", ".join(f"{path}={setting(pick.values, path)}" for path in pick.values)
    print(f"queued as trial {pick.number} of study {name}: {shown}")
    if pick.budget is not None:
        used = f"The budget of {study.plan.num_trials} trials is used; train it with"
        print(f"{used}\n  finesweep sweep study={name} search.num_trials={pick.budget}")
    elif all(trial.state.name != "RUNNING" for trial in study.trials):
        print(f"Train it with\n  finesweep sweep study={name}")
    return 0


def _named(words: Sequence[str]) -> tuple[str, list[Override]]:
    """Return the study's name and the overrides of its keys."""
    overrides = {override.key: override for override in map(parse_override, words)}
    problems = [
        range_problem(override.key, override.value)
        for override in overrides.values()
        if override.is_range
    ]
    names = [typed_name(word) for word in words if word.startswith("study=")]
    overrides.pop("study", None)
    if not names:
        problems.append(Problem("study", "must be set", Verbatim("nothing"), "Set study=NAME."))
    elif not overrides and not problems:
        fix = "Add one, e.g. optimizer.lr=3e-4."
        problems.append(Problem("try", "must name a setting", Verbatim("nothing"), fix))
    if problems:
        raise ConfigError(problems)
    return names[-1], list(overrides.values())


def _values(study: Study, overrides: Sequence[Override]) -> dict[str, Any]:
    """Return the values by config path, with words as they were typed if a key is text."""
    typed = [typed_words(override, study.plan.composition.tree) for override in overrides]
    problems = [override.problem for override in typed if override.problem is not None]
    if problems:
        raise ConfigError(problems)
    return {override.key: override.parsed.value() for override in typed}
