"""A study before it runs: what `finesweep plan` shows, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lightning_modules.check import CheckedRows
from search.config import Composition
from search.estimate.estimate import Estimate, Measured, Past, estimate, past_of
from search.estimate.study_need import StudyNeed, study_need
from search.plan.build import build_plan
from search.plan.confirm import confirms, max_runs
from search.plan.download import downloads_of
from search.plan.length import read_rows, with_length
from search.plan.pin import with_commits
from search.plan.plan import Plan
from search.storage.location import study_folder
from search.study.knowledge import Prior
from search.study.open import gives_up_prior, load_study, open_study, stored
from search.study.prepare import NO_ROWS, check_asked_study, check_study, warm_to
from search.study.suggest import first_suggestions


@dataclass(frozen=True)
class Preview:
    """A checked study that has not been started or continued yet.

    Attributes:
        plan: What it will do.
        folder: Where its files go.
        rows: Its checked rows; None if a loop of the caller's own trains its trials.
        suggestions: The configurations that it tries first, by config path.
        past: Time and memory of its earlier trials, if any.
        ended: Number and values of the trials that have already ended.
        prior: What it takes over from another study; None if nothing.
        need: The disk and the memory that it needs; None if unknown.

    """

    plan: Plan
    folder: Path
    rows: CheckedRows | None
    suggestions: Sequence[dict[str, Any]]
    past: Past
    ended: Mapping[int, Mapping[str, Any]]
    prior: Prior | None = None
    need: StudyNeed | None = None

    def estimate(self, measured: Measured | None) -> Estimate | None:
        """Return the study's time and memory; None if nothing was measured."""
        if measured is None or self.rows is None:
            return None
        splits = self.rows.corpus.splits
        num_rows = len(splits["train"]), len(splits["validation"])
        return estimate(self.plan, num_rows, measured, self.suggestions, self.past)

    def as_dict(self, estimate: Estimate | None) -> dict[str, Any]:
        """Return plain values, for JSON."""
        plan, rows = self.plan, self.rows
        splits = {} if rows is None else rows.corpus.splits
        baseline = plan.default.task.baseline(splits["validation"]) if splits else None
        priors = [arm.prior for arm in plan.composition.arms if arm.prior is not None]
        return {
            "study": plan.name,
            "num_trials": plan.num_trials,
            "metric": plan.objectives[0].name,
            "objectives": {objective.name: objective.direction for objective in plan.objectives},
            "rows": {split: len(each) for split, each in splits.items()},
            "labels": [] if rows is None else list(rows.labels),
            "baseline": None if baseline is None else asdict(baseline),
            "priors": list(dict.fromkeys(prior.text for prior in priors if prior.text)),
            "space": {name: parameter.text for name, parameter in plan.space.parameters.items()},
            "earlier": list(plan.composition.earlier),
            "kept": list(plan.composition.kept),
            "suggestions": list(self.suggestions),
            "estimate": None if estimate is None else estimate.as_dict(tuple(plan.space.groups)),
            "need": None if self.need is None else self.need.as_dict(),
            "ended": sorted(self.ended),
            "downloads": [] if rows is None else [each.as_dict() for each in downloads_of(plan)],
            "confirm_runs": max_runs(plan) if confirms(plan) else 0,
            "folder": str(self.folder),
        }


def preview(composition: Composition) -> Preview:
    """Check the study that a configuration describes; write nothing and load no model.

    Raises:
        UserError: It cannot run, or differs from the existing study of that name.

    """
    composition = with_commits(composition)
    corpus = read_rows(composition)
    plan = build_plan(with_length(composition, corpus))
    folder = study_folder(Path(), plan.name)
    rows, fingerprint = None, NO_ROWS
    if plan.is_asked:
        check_asked_study(plan, folder)
    else:
        rows = check_study(plan, folder, corpus)
        fingerprint = rows.corpus.fingerprint
    before = stored(folder)
    warm = warm_to(plan, before, folder, fingerprint)
    prior: Prior | None = None if before is None else before.prior
    if before is not None and gives_up_prior(before.composition.tree, plan):
        prior = None
    prior = prior if warm is None else warm.as_dict()
    suggestions = first_suggestions(plan, prior)
    need = None if rows is None else study_need(plan, folder)
    if before is None:
        return Preview(plan, folder, rows, suggestions, Past(), {}, prior, need)
    past = Past()
    if rows is not None:
        import psutil

        free_bytes = psutil.virtual_memory().available
        num_validation = len(rows.corpus.splits["validation"])
        past = past_of(plan, open_study(plan, folder), free_bytes, num_validation)
    study = load_study(folder)
    ended = {t.number: study.params_of(t) for t in study.trials if t.state.is_finished()}
    return Preview(plan, folder, rows, suggestions, past, ended, prior, need)
