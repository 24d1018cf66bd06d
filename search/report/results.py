"""A study's results as values: status, table and winner."""

from __future__ import annotations

import csv
import io
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.error import UserError
from lightning_modules.machine.file import write_text
from search.plan.confirm import confirms
from search.report.gains import gains
from search.report.guard import broken_words, guard_columns, guards_as_dicts
from search.report.snapshot import Snapshot, StudySummary, TrialRow
from search.report.text import whole
from search.storage import attribute as keys
from search.storage.location import CERTIFY, CONFIRM, FOLLOW_UPS
from search.study.confirmed import means
from search.study.gain import Gain, gain_of_means, gain_over
from search.study.open import load_study, study_folders
from search.study.study import Study

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

TABLE_FILE = "trials.csv"
CHECK_FILE = "check.json"
"""What was found in a study's rows, in its folder."""
STATES = ("complete", "pruned", "fail", "running", "waiting")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
NUM_PACE = 10  # latest trials that predict the pace of the next ones


@dataclass(frozen=True)
class Comparison:
    """The winner against the default configuration, on the validation rows.

    Attributes:
        best: The winner.
        default: The unmodified configuration's trial, the winner if they differ in the seed alone;
            None while it has not finished.
        gain: How much better the winner's metric is, < 0 if it is worse; None without a default.

    """

    best: FrozenTrial
    default: FrozenTrial | None
    gain: Gain | None


def status(study: Study) -> dict[str, Any]:
    """Return the study's state as plain values: what `finesweep status --json` prints."""
    trials = study.trials
    counts = Counter(trial.state.name.lower() for trial in trials)
    comparison = compare_with_default(study)
    objectives = study.plan.objectives
    return {
        "study": study.plan.name,
        "metric": objectives[0].name,
        "direction": objectives[0].direction,
        "chosen_by": list(study.ranking.chosen_by),
        "objectives": {objective.name: objective.direction for objective in objectives},
        "states": {name: counts.get(name, 0) for name in STATES},
        "best": None if comparison is None else _best(study, comparison),
        "front": _front(study),
        "confirmed": _confirmed(study),
        "confirms": _followed(study, CONFIRM),
        "certifies": _followed(study, CERTIFY),
        "certificates": [each.as_dict() for each in study.certificates],
        "test_looks": len(study.looks),
        "guards": guards_as_dicts(study),
        "num_trials": study.plan.num_trials,
        "remaining": study.plan.num_trials - study.num_ended,
        "beyond_budget": study.beyond_budget,
        "stopping": study.is_stopping,
        "seconds": round(sum(float(t.user_attrs.get(keys.SECONDS, 0)) for t in trials), 3),
    }


def compare_with_default(study: Study) -> Comparison | None:
    """Return the winner and the default; None before any trial has finished."""
    ranking = study.ranking
    best, default = ranking.best, ranking.default
    if best is None:
        return None
    if default is None:
        return Comparison(best, None, None)
    by_seed, sign = ranking.by_seed(best), study.plan.objectives[0].sign
    if default.number in {trial.number for trial in by_seed.values()}:
        default = best  # another seed of the same configuration is no gain
    elif by_seed:
        defaults = ranking.by_seed(default)
        return Comparison(best, default, gain_of_means(by_seed.values(), defaults.values(), sign))
    return Comparison(best, default, gain_over(best, default, sign))


def _best(study: Study, comparison: Comparison) -> dict[str, Any]:
    best, gain = comparison.best, comparison.gain
    by_seed = {seed: trial.values[0] for seed, trial in study.ranking.by_seed(best).items()}
    return {
        "number": best.number,
        "value": best.values[0],
        "params": study.params_of(best),
        "metrics": best.user_attrs[keys.METRICS],
        "verdict": best.user_attrs[keys.VERDICT],
        "gain": None if gain is None else gain.as_dict(),
        "value_by_seed": by_seed or None,
    }


def _followed(study: Study, kind: str) -> str | None:
    """Return the study that this one confirms or certifies; None if it does not."""
    follows = study.plan.composition.follows
    return follows.study if follows is not None and follows.kind == kind else None


def _confirmed(study: Study) -> dict[str, Any] | None:
    """Return what the confirmed trials came to; None if there are none."""
    ranking = study.ranking
    confirmed, decision = ranking.confirmed, ranking.decision
    if confirmed is None or decision is None:
        return None
    costs, signs = ranking.confirmed_costs, ranking.signs
    return {
        "by": next(iter(signs)),
        f"{confirmed.what}s": study.plan.search.settings.confirm,
        "means": {number: confirmed_mean(study, costs[number]) for number in costs},
        "best": decision.best,
        "gain": decision.gain,
        "standard_error": decision.error,
    }


def confirmed_mean(study: Study, costs: Sequence[Sequence[float]]) -> float:
    """Return the mean of the metric that trials are compared by, from a trial's costs by split."""
    return -next(iter(study.ranking.signs.values())) * means(costs)[0]


def rows(study: Study) -> list[dict[str, Any]]:
    """Return one row per trial: number, state, settings, scores, gain, how it ended.

    `gain` is how much better it is than the default configuration, by the first objective, and
    `gain_low` and `gain_high` are the ends of its 95 % interval; see `search.study.gain`.
    """
    metrics, over_default = _metrics(study), gains(study)
    ranking, dropped = study.ranking, study.dropped
    front, costs, compared = ranking.front, ranking.confirmed_costs, next(iter(ranking.signs))
    table = []
    for trial in study.trials:
        attributes = trial.user_attrs
        values, scores = study.params_of(trial), attributes.get(keys.METRICS, {})
        table.append(
            {
                "number": trial.number,
                "state": trial.state.name.lower(),
                "value": trial.values[0] if trial.state.name == "COMPLETE" else None,
                **{path: values.get(path) for path in study.plan.space.paths},
                **{f"validation/{name}": scores.get(name) for name in metrics},
                **guard_columns(study, trial),
                **_gain_columns(over_default.get(trial.number)),
                "trainable_parameters": attributes.get(keys.TRAINABLE),
                "best_epoch": attributes.get(keys.BEST_EPOCH),
                "seconds": attributes.get(keys.SECONDS),
                **({} if study.plan.is_asked else _costs(attributes)),
                "attempts": attributes.get(keys.ATTEMPT, 0),
                "best": trial.number in front,
                "reason": _reason(trial, dropped),
                "verdict": attributes.get(keys.VERDICT),
            }
        )
        if confirms(study.plan):
            own = costs.get(trial.number)
            mean = None if own is None else confirmed_mean(study, own)
            table[-1] |= {f"confirmed/{compared}": mean, "confirmed_runs": len(own or ())}
    return table


def _costs(attributes: Mapping[str, Any]) -> dict[str, float | None]:
    names = (keys.SPEED, keys.MFU, keys.MEMORY, keys.GRADIENT_NORM)
    speed, mfu, num_bytes, norm = (attributes.get(name) for name in names)
    return {
        "tokens_per_second": None if speed is None else round(speed, 1),
        "mfu": None if mfu is None else round(mfu, 4),
        "peak_memory_gib": None if num_bytes is None else round(num_bytes / 2**30, 3),
        "gradient_norm": norm,
    }


def _gain_columns(gain: Gain | None) -> dict[str, float | None]:
    ends = (None, None, None) if gain is None else (gain.value, gain.low, gain.high)
    names = ("gain", "gain_low", "gain_high")
    rounded = (None if each is None else round(each, 6) for each in ends)
    return dict(zip(names, rounded, strict=True))


def _metrics(study: Study) -> list[str]:
    """Return the names of all metrics; a loop of the caller's own may tell any."""
    plan = study.plan
    known = dict.fromkeys([plan.objectives[0].short] if plan.is_free else plan.default.task.goals)
    if plan.is_asked:
        for trial in study.trials:
            known |= dict.fromkeys(trial.user_attrs.get(keys.METRICS, {}))
    return list(known)


def write_table(study: Study) -> None:
    """Write `trials.csv` to the study's folder."""
    table = rows(study)
    if not table:
        return
    trials = {trial.number: trial for trial in study.trials}  # more than before, if others ask
    for row in table:
        params = study.params_of(trials[row["number"]])
        row.update({path: "null" for path, value in params.items() if value is None})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = list(table[0])
    writer.writerow(map(inert, names))
    writer.writerows([inert(row[name]) for name in names] for row in table)
    write_text(study.folder / TABLE_FILE, whole(text.getvalue()))


def inert(cell: object) -> object:
    """Return a cell that no spreadsheet takes for a formula: such a text gets an apostrophe.

    >>> inert("=cmd|'/C calc'!A0"), inert("lora"), inert(-0.5)
    ("'=cmd|'/C calc'!A0", 'lora', -0.5)
    """
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def snapshot(study: Study) -> Snapshot:
    """Return the study's current state."""
    front, dropped, plan = study.ranking.front, study.dropped, study.plan
    rows = tuple(_row(study, trial, front, dropped) for trial in study.trials)
    counts = Counter(row.state for row in rows)
    objectives = plan.objectives
    per_hour, left = _pace(study, rows)
    return Snapshot(
        study=plan.name,
        objectives=tuple(objective.name for objective in objectives),
        directions=tuple(objective.direction for objective in objectives),
        paths=plan.space.paths,
        num_trials=plan.num_trials,
        num_ended=study.num_ended,
        counts={state: counts.get(state, 0) for state in STATES},
        trials_per_hour=per_hour,
        seconds_left=left,
        max_hours=plan.search.settings.max_hours,
        is_stopping=study.is_stopping,
        rows=rows,
    )


def summarize(study: Study) -> StudySummary:
    """Return the study's line in a list of studies."""
    trials, best = study.trials, study.best
    times = [t.datetime_complete or t.datetime_start for t in trials if t.datetime_start]
    progress = [t.user_attrs[keys.PROGRESS][1] for t in trials if keys.PROGRESS in t.user_attrs]
    changed = max([*(moment.timestamp() for moment in times if moment), *progress], default=None)
    if changed is None:
        changed = study.folder.stat().st_mtime if study.folder.exists() else 0.0
    return StudySummary(
        study=study.plan.name,
        state=_state(study),
        num_trials=study.plan.num_trials,
        num_ended=study.num_ended,
        best=None if best is None else best.values[0],
        objectives=tuple(objective.name for objective in study.plan.objectives),
        age_seconds=max(0.0, time.time() - changed),
    )


def summarize_all(root: Path) -> tuple[list[StudySummary], list[str]]:
    """Return the line of each study under `root`, and of each that cannot be read, why."""
    summaries, unread = [], []
    for folder in study_folders(root):
        try:
            summaries.append(summarize(load_study(folder)))
        except UserError as error:  # a damaged study must not hide the others
            unread.append(f"{folder.name}: {error.problems[0]}")
    return summaries, unread


def _state(study: Study) -> str:
    if any(trial.state.name == "RUNNING" for trial in study.trials):
        return "running"
    for kind in FOLLOW_UPS:
        if study.used_to(kind)[1]:
            return f"{kind}ing"
    return "done" if study.has_all_trials else "stopped"


def _reason(trial: FrozenTrial, dropped: frozenset[int]) -> str | None:
    reason: str | None = trial.user_attrs.get(keys.REASON)
    if broken := broken_words(trial):
        reason = f"{broken}; {reason}"
    if trial.number not in dropped:
        return reason
    return f"dropped ({reason})" if reason else "dropped"


def _row(
    study: Study, trial: FrozenTrial, front: frozenset[int], dropped: frozenset[int]
) -> TrialRow:
    attributes, state = trial.user_attrs, trial.state.name.lower()
    curve = [value for _, value in sorted(trial.intermediate_values.items())]
    progress = attributes.get(keys.PROGRESS)
    seconds = None if progress is None else float(progress[0])
    done = max(trial.intermediate_values, default=0)
    length = attributes.get(keys.LENGTH, (0, 0))[0]  # 0 for a run without training
    fraction = done / length if length else 0.0
    left = None
    if state == "running" and progress is not None and fraction > 0:
        left = max(0.0, progress[0] * (1 - fraction) / fraction - (time.time() - progress[1]))
    return TrialRow(
        number=trial.number,
        state=state,
        values=study.params_of(trial),
        objectives=tuple(trial.values) if state == "complete" else (None,) * _width(study),
        curve=tuple(curve),
        fraction=min(1.0, fraction),
        seconds=attributes.get(keys.SECONDS) if trial.state.is_finished() else seconds,
        seconds_left=left,
        attempts=int(attributes.get(keys.ATTEMPT, 0)),
        is_best=trial.number in front,
        reason=_reason(trial, dropped),
    )


def _width(study: Study) -> int:
    return len(study.plan.objectives)


def _pace(study: Study, rows: Sequence[TrialRow]) -> tuple[float | None, float | None]:
    """Return trials per hour and seconds left, from the durations of the latest trials."""
    spans = [
        (trial.datetime_complete - trial.datetime_start).total_seconds()
        for trial in study.trials
        if trial.state.is_finished() and trial.datetime_start and trial.datetime_complete
    ][-NUM_PACE:]
    num_left = study.plan.num_trials - study.num_ended
    if not spans:
        return None, None
    mean, num_workers = sum(spans) / len(spans), sum(row.state == "running" for row in rows)
    if not num_workers:
        return 3600 / max(mean, 1e-3), None
    under_way = [
        row.seconds_left if row.seconds_left is not None else mean / 2
        for row in rows
        if row.state == "running"
    ]
    waiting = max(0, num_left - num_workers) * mean
    return 3600 * num_workers / max(mean, 1e-3), (sum(under_way) + waiting) / num_workers


def _front(study: Study) -> list[dict[str, Any]] | None:
    """Return the Pareto front, sorted by the first objective; None with only one objective."""
    objectives, ranking = study.plan.objectives, study.ranking
    if len(objectives) == 1:
        return None
    return [
        {
            "number": trial.number,
            **{o.name: value for o, value in zip(objectives, trial.values, strict=True)},
            "params": study.params_of(trial),
        }
        for trial in ranking.trials
        if trial.number in ranking.front
    ]
