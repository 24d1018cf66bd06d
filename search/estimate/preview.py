"""A study before it runs: what `finesweep plan` shows, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.check import CheckedRows
from lightning_modules.task.own_metric import is_own
from search.config import Composition
from search.estimate.estimate import Estimate, Measured, Past, estimate
from search.estimate.max_length import with_max_length
from search.estimate.pack import PackNeed, pack_need
from search.estimate.past import past_of
from search.estimate.study_need import StudyNeed, study_need
from search.plan import certify as planned_certificate
from search.plan.build import build_plan
from search.plan.confirm import confirms, max_runs
from search.plan.download import downloads_of
from search.plan.example import Example, examples_of
from search.plan.guard import num_guard_rows
from search.plan.length import read_rows, with_length
from search.plan.pin import with_commits
from search.plan.plan import Plan
from search.plan.tokens import as_json
from search.space.key import canonical_key
from search.storage.attribute import START
from search.storage.location import study_folder
from search.study.certify import runs_left
from search.study.confirm import most_runs_left
from search.study.knowledge import Prior
from search.study.open import gives_up_prior, load_study, open_study, stored
from search.study.prepare import NO_ROWS, check_asked_study, check_study, warm_to
from search.study.study import Study
from search.study.suggest import first_suggestions, first_values

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class Preview:
    """A checked study that has not been started or continued yet.

    Attributes:
        plan: What it will do.
        folder: Where its files go.
        rows: Its checked rows; None if a loop of the caller's own trains its trials.
        suggestions: The configurations of its trials from trial 0 on, as far as known, by config
            path. One that waits in the queue may leave some values to the sampler.
        starts: The key of the values that a trial is queued with, by number.
        past: Time and memory of its earlier trials, if any.
        ended: Number and values of the trials that have already ended.
        prior: What it takes over from another study; None if nothing.
        confirm_runs: The most runs that confirming its first few still takes.
        certify_runs: The most runs that certifying its winner still takes.
        need: The disk and the memory that it needs; None if unknown.
        examples: Two training examples of the default arm, as the model will read them.
        pack: The memory of trials that share passes; None if unknown, or if none do.

    """

    plan: Plan
    folder: Path
    rows: CheckedRows | None
    suggestions: Sequence[dict[str, Any]]
    starts: Mapping[int, str]
    past: Past
    ended: Mapping[int, Mapping[str, Any]]
    prior: Prior | None = None
    confirm_runs: int = 0
    certify_runs: int = 0
    need: StudyNeed | None = None
    examples: Sequence[Example] = ()
    pack: PackNeed | None = None

    def estimate(self, measured: Measured | None) -> Estimate | None:
        """Return the study's time and memory; None if nothing was measured."""
        if measured is None or self.rows is None:
            return None
        splits = self.rows.corpus.splits
        num_rows = len(splits["train"]), len(splits["validation"])
        num_guarded = num_guard_rows(self.plan, self.rows.labels)
        num_test = len(splits.get("test", ()))
        return estimate(
            self.plan, num_rows, measured, self.suggestions, self.past, num_guarded, num_test
        )

    @property
    def best_of_other(self) -> str | None:
        """The key of the best configuration of the study that this one learns from, if any."""
        best = None if self.prior is None else self.prior["best"]
        return None if best is None else canonical_key(best)

    def as_dict(self, estimate: Estimate | None) -> dict[str, Any]:
        """Return plain values, for JSON."""
        plan, rows = self.plan, self.rows
        splits = {} if rows is None else rows.corpus.splits
        is_known = bool(splits) and not is_own(plan.default.task.metric)
        baseline = plan.default.task.baseline(splits["validation"]) if is_known else None
        priors = [arm.prior for arm in plan.composition.arms if arm.prior is not None]
        return {
            "study": plan.name,
            "num_trials": plan.num_trials,
            "metric": plan.objectives[0].name,
            "objectives": {objective.name: objective.direction for objective in plan.objectives},
            "rows": {split: len(each) for split, each in splits.items()},
            "labels": [] if rows is None else list(rows.labels),
            "lengths": [] if rows is None else as_json(plan.default, rows.corpus, rows.labels),
            "examples": [each.as_dict() for each in self.examples],
            "baseline": None if baseline is None else asdict(baseline),
            "priors": list(dict.fromkeys(prior.text for prior in priors if prior.text)),
            "space": {name: parameter.text for name, parameter in plan.space.parameters.items()},
            "earlier": list(plan.composition.earlier),
            "kept": list(plan.composition.kept),
            "suggestions": list(self.suggestions),
            "estimate": None if estimate is None else estimate.as_dict(tuple(plan.space.groups)),
            "need": None if self.need is None else self.need.as_dict(),
            "pack": None if self.pack is None else self.pack.as_dict(),
            "ended": sorted(self.ended),
            "downloads": [] if rows is None else [each.as_dict() for each in downloads_of(plan)],
            "confirm_runs": self.confirm_runs,
            "certify_runs": self.certify_runs,
            "folder": str(self.folder),
        }


def preview(composition: Composition) -> Preview:
    """Check the study that a configuration describes; write nothing and load no model.

    Raises:
        UserError: It cannot run, or differs from the existing study of that name.

    """
    composition = with_commits(composition)
    corpus = read_rows(composition)
    plan = build_plan(with_max_length(with_length(composition, corpus), corpus))
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
    first = {canonical_key(values): values for values in first_values(plan, prior)}
    need = None if rows is None else study_need(plan, folder)
    pack = None if rows is None else pack_need(plan)
    examples = [] if rows is None else examples_of(plan.default, rows.corpus, rows.labels)
    follow_ups = (
        max_runs(plan) if confirms(plan) else 0,
        planned_certificate.max_runs(plan) if planned_certificate.certifies(plan) else 0,
    )
    if before is None:
        starts = dict(enumerate(first))
        return Preview(
            plan,
            folder,
            rows,
            suggestions,
            starts,
            Past(),
            {},
            prior,
            *follow_ups,
            need,
            examples,
            pack,
        )
    past = Past()
    if rows is not None:
        import psutil

        free_bytes = psutil.virtual_memory().available
        num_validation = len(rows.corpus.splits["validation"])
        study = open_study(plan, folder)
        past = past_of(plan, study, free_bytes, num_validation)
        follow_ups = most_runs_left(study), runs_left(study)
    study = load_study(folder)
    trials = study.optuna.get_trials(deepcopy=False)
    ended = {t.number: study.params_of(t) for t in study.trials if t.state.is_finished()}
    starts = _starts(study, trials)
    new = {key: dict(values) for key, values in first.items() if key not in starts.values()}
    starts |= dict(enumerate(new, start=len(trials)))
    known = [*(study.params_of(trial) for trial in trials), *new.values()]
    known += suggestions[max(len(known), len(first)) :]
    known = known[: plan.num_trials]
    return Preview(
        plan, folder, rows, known, starts, past, ended, prior, *follow_ups, need, examples, pack
    )


def _starts(study: Study, trials: Sequence[FrozenTrial]) -> dict[int, str]:
    """Return the key of the values that a trial was queued with, by number."""
    starts = {t.number: str(t.system_attrs[START]) for t in trials if START in t.system_attrs}
    # Earlier versions did not store it.
    return starts or {t.number: canonical_key(study.params_of(t)) for t in trials}
