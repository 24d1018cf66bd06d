"""The run whose data `finesweep check study=NAME` reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lightning_modules.run import Run
from search.config import build_run, compose, take_typed
from search.study.ask import check_trained
from search.trained.find import check_no_words, find_study

FEATURES = "strategy=feature_extraction"
"""Whose frozen features show which labels are probably wrong."""


def study_to_check(words: Sequence[str]) -> Run | None:
    """Return a run on the data of the study that `study=NAME` names; None if no word does.

    Raises:
        ConfigError: There is no such study, it has no data, or there are other words.

    """
    named = [word for word in words if word.startswith("study=")]
    if not named:
        return None
    name = named[-1].partition("=")[2]
    others = [word for word in words if word not in named]
    check_no_words("study", name, take_typed("open", others))
    study = find_study(name)
    check_trained(study)
    strategy = build_run(compose("train", [FEATURES]).tree).strategy
    return replace(study.plan.default, strategy=strategy)
