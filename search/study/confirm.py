"""Train the first few trials again on fresh splits before one is called the best.

When the budget of trials is used up, or the time that `search.max_hours` leaves to trials
(`search.study.reserve`), a second study follows the first one (`search.study.follow`). Its queue
has the first few that the noise of the validation rows does not part, and the default, each on
every fresh split. Its results are copied to the first study, which then chooses by them
(`search.study.confirmed`). A study that grew trains only what is new among its first few.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lightning_modules.folder import BEST_FILE
from lightning_modules.rows.corpus import Corpus
from search.plan.confirm import MAX_CANDIDATES, confirms, fresh_of, max_runs
from search.space.key import canonical_key
from search.storage.attribute import METRICS, broken_guards
from search.storage.location import CONFIRM, follow_up_folder
from search.study.confirmed import Confirmed
from search.study.follow import filled, follow_up, queued
from search.study.gain import is_apart, paired_error
from search.study.open import load_study
from search.study.reserve import most_important_first, num_fitting, run_seconds
from search.study.study import Study

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def candidates(study: Study) -> list[FrozenTrial]:
    """Return the best trials that are statistically tied, best first, and the default.

    Those that break a guard are left out. An empty list if there is only one. Where the
    contributions of the rows were not kept, the noise is unknown, and does not part two trials.
    """
    ranking = study.ranking
    held = [trial for trial in ranking.by_score if trial.number not in ranking.broken]
    ranked = [trial for trial in held if not _has_lost_weights(study, trial)]
    name, default = ranking.compared_scores, ranking.default
    if default is not None and default.number in ranking.broken:
        default = None
    few = [each for each in ranked[:MAX_CANDIDATES] if not is_apart(ranked[0], each, name)]
    if default is not None and default.number not in {trial.number for trial in few}:
        few.append(default)
    return few if len(few) > 1 else []


@dataclass(frozen=True)
class Chosen:
    """Which of the first few are trained again, and at what cost.

    Attributes:
        trials: Those that `search.max_hours` leaves time for, best first; empty if there is none
            to compare with.
        too_many: Those that it leaves no time for.
        seconds: What all of them take, as far as they have not been trained again.

    """

    trials: Sequence[FrozenTrial]
    too_many: Sequence[FrozenTrial]
    seconds: float


def chosen(study: Study) -> Chosen:
    """Return which of the first few are trained again in the time that is left."""
    few, left = candidates(study), study.seconds_to_confirm
    fresh, known = fresh_of(study.plan), queued(follow_up_folder(study.folder, CONFIRM))

    def cost(trial: FrozenTrial) -> float:
        keys = map(canonical_key, fresh.entries([study.params_of(trial)]))
        return run_seconds(trial) * sum(not known.get(key, False) for key in keys)

    seconds = {trial.number: cost(trial) for trial in few}
    ordered = most_important_first(few, study.ranking.default)
    num = len(few)
    if left is not None:
        num = num_fitting([seconds[trial.number] for trial in ordered], left)
    fitting = {trial.number for trial in ordered[:num]}
    return Chosen(
        [trial for trial in few if trial.number in fitting],
        [trial for trial in few if trial.number not in fitting],
        sum(seconds.values()),
    )


def most_runs_left(study: Study) -> int:
    """Return the most runs that confirming the first few still takes.

    While trials are left, any of them may be among the first few, so the runs of the default alone
    are known to count.
    """
    if not confirms(study.plan):
        return 0
    fresh, known = fresh_of(study.plan), queued(follow_up_folder(study.folder, CONFIRM))
    default, is_over = study.ranking.default, study.has_all_trials
    certain = chosen(study).trials if is_over else [default] if default is not None else []
    keys = map(canonical_key, fresh.entries([study.params_of(trial) for trial in certain]))
    ended = [known.get(key, False) for key in keys]
    return ended.count(False) if is_over else max_runs(study.plan) - ended.count(True)


def is_due(study: Study) -> bool:
    """Return whether no more trials start, so that the first few can be confirmed."""
    if not confirms(study.plan) or study.is_stopping or study.hours_used_up:
        return False
    return study.is_used_up


def is_pending(study: Study) -> bool:
    """Return whether confirming the first few would still change what is the best."""
    if not is_due(study):
        return False
    confirming = confirming_study(study)
    known = queued(follow_up_folder(study.folder, CONFIRM))
    fresh = fresh_of(study.plan)
    keys = map(canonical_key, fresh.entries([study.params_of(t) for t in chosen(study).trials]))
    is_done = all(known.get(key, False) for key in keys)
    return not is_done or (confirming is not None and study.confirmed is None)


def begin(study: Study, corpus: Corpus | None = None) -> Study | None:
    """Return the study that confirms the first few, with its queue filled; None if there is none.

    Args:
        study: The study, whose budget may be used up.
        corpus: Its rows, if they have been read.

    Raises:
        UserError: The rows have changed, or another study has the name that is needed.

    """
    if not is_due(study):
        return None
    few = candidates(study)
    if not few and study.confirmed is not None:  # the later trials were considered, too
        study.confirm(replace(study.confirmed, num_trials=study.num_ended))
    few = list(chosen(study).trials)
    if not few:
        return None
    fresh = fresh_of(study.plan)
    entries = fresh.entries([study.params_of(trial) for trial in few])
    left = study.seconds_to_confirm
    hours = None if left is None else (left + study.used_to(CONFIRM)[0]) / 3600
    return filled(study, CONFIRM, fresh, entries, hours, corpus)


def confirming_study(study: Study) -> Study | None:
    """Return the study that confirms the first few of a study; None if none has begun."""
    return follow_up(study, CONFIRM) if confirms(study.plan) else None


def store_results(study: Study, confirming: Study) -> bool:
    """Copy the results of the confirming study if it has ended; return whether it has."""
    confirming = load_study(confirming.folder)  # another process may have added to its queue
    if confirming.num_ended < confirming.plan.num_trials:
        return False
    fresh, ranking = fresh_of(study.plan), study.ranking
    default, name = ranking.default, ranking.compared_scores
    numbers = {canonical_key(study.params_of(trial)): trial.number for trial in study.trials}
    runs: dict[int, dict[int, FrozenTrial]] = {}
    for trial in confirming.trials:
        values = confirming.params_of(trial)
        value = values.pop(fresh.path)
        runs.setdefault(numbers[canonical_key(values)], {})[value] = trial
    of_default = {} if default is None else runs.get(default.number, {})
    study.confirm(
        Confirmed(
            fresh.what,
            study.num_ended,
            {n: {v: _metrics(run) for v, run in own.items()} for n, own in runs.items()},
            {n: dict(_errors(own, of_default, name)) for n, own in runs.items()},
        )
    )
    return True


def _metrics(run: FrozenTrial) -> dict[str, float] | None:
    has_result = run.state.name == "COMPLETE" and not broken_guards(run.system_attrs)
    return dict(run.user_attrs[METRICS]) if has_result else None


def _errors(
    runs: Mapping[int, FrozenTrial], of_default: Mapping[int, FrozenTrial], name: str
) -> Iterator[tuple[int, float]]:
    """Yield the standard error of the difference to the default's run, by split or seed."""
    for value in runs.keys() & of_default.keys():
        error = paired_error(runs[value], of_default[value], name)
        if error is not None:
            yield value, error


def _has_lost_weights(study: Study, trial: FrozenTrial) -> bool:
    """Return whether a trial's weights were deleted, so that it cannot be used if it is the best.

    The files of another machine's trials are not here, but there.
    """
    folder = study.folder_of(trial)
    return folder.is_dir() and not (folder / BEST_FILE).is_file()
