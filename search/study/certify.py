"""Train the winner and the default again over fresh seeds, for a certificate.

When no more trials start and the first few are confirmed, or need not be, a second study follows
the first one (`search.study.follow`): the winner and the default, or the runner-up if the default
is the winner, with every fresh seed, trained on the training rows and chosen by validation as
always. All runs keep their weights until `search.trained.certify` has scored them on the test rows,
once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lightning_modules.rows.corpus import Corpus
from search.plan.certify import certifies, fresh_of, max_runs, refusal
from search.plan.follow import SEED, Fresh
from search.plan.plan import Plan
from search.space.key import canonical_key
from search.storage.location import CERTIFY, follow_up_folder
from search.study import confirm
from search.study.follow import filled, follow_up, queued
from search.study.reserve import to_score
from search.study.seeds import configuration
from search.study.study import Study

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

Pair = tuple["FrozenTrial", "FrozenTrial"]
MIN_SEEDS = 2


def winner_and_other(study: Study) -> Pair | None:
    """Return the winner, and the default; the runner-up if the default is the winner or has none.

    None if no two configurations have finished.
    """
    ranking = study.ranking
    best, default = ranking.best, ranking.default
    if best is None:
        return None
    own = configuration(study.params_of(best))
    if default is not None and configuration(study.params_of(default)) != own:
        return best, default
    others = (
        trial
        for trial in ranking.by_score
        if configuration(study.params_of(trial)) != own and trial.number not in ranking.broken
    )
    other = next(others, None)
    return None if other is None else (best, other)


def is_due(study: Study) -> bool:
    """Return whether no more trials start nor are confirmed, so the winner can be certified."""
    if not certifies(study.plan) or study.is_stopping:
        return False
    return study.is_used_up and not confirm.is_pending(study)


def begin(study: Study, corpus: Corpus | None = None) -> Study | None:
    """Return the study of the winner's certificate, with its queue filled; None if there is none.

    Args:
        study: The study, whose budget may be used up.
        corpus: Its rows, if they have been read.

    Raises:
        UserError: The rows have changed, or another study has the name that is needed.

    """
    pair = winner_and_other(study) if is_due(study) else None
    if pair is None or not has_time(study, pair):
        return None
    return add(study, pair, len(fresh_of(study.plan).values), corpus)


def add(
    study: Study,
    trials: Sequence[FrozenTrial],
    num_seeds: int,
    corpus: Corpus | None = None,
    *,
    limited: bool = True,
) -> Study:
    """Queue trials over the first seeds, as far as they are not there; return the study of runs.

    Args:
        study: The study of the trials.
        trials: What to train.
        num_seeds: The number of seeds.
        corpus: The rows, if they have been read.
        limited: Whether `search.max_hours` limits them; not if a person asks for them.

    """
    left, hours = study.seconds_left if limited else None, None
    if left is not None:
        scoring = to_score(study.seconds_of_certificate(trials, num_seeds), left[0])
        hours = max(0.0, left[0] - scoring + study.used_to(CERTIFY)[0]) / 3600
    fresh = fresh_of(study.plan, num_seeds)
    return filled(study, CERTIFY, fresh, entries_of(study, trials, fresh), hours, corpus)


def entries_of(study: Study, trials: Sequence[FrozenTrial], fresh: Fresh) -> list[dict[str, Any]]:
    """Return the runs of trials by config path: one for every seed, the first seeds first.

    A model that is not trained has one run, because it is the same with every seed.
    """
    first, entries = fresh.values[0], fresh.entries([study.params_of(trial) for trial in trials])
    if fresh.path != SEED:
        return entries
    return [entry for entry in entries if entry[SEED] == first or study.plan.trains(entry)]


def has_time(study: Study, trials: Sequence[FrozenTrial]) -> bool:
    """Return whether `search.max_hours` leaves time for two seeds, or the runs have begun."""
    left = study.seconds_left
    if left is None:
        return True
    known, fresh = queued(follow_up_folder(study.folder, CERTIFY)), fresh_of(study.plan)
    keys = [canonical_key(entry) for entry in entries_of(study, trials, fresh)]
    if any(key in known for key in keys) and left[0] > 0:
        return True
    if all(known.get(key, False) for key in keys):
        return True
    return least_seconds(study, trials) <= left[0]


def least_seconds(study: Study, trials: Sequence[FrozenTrial]) -> float:
    """Return the least seconds that a certificate still takes: two seeds, trained and scored."""
    return sum(map(sum, study.seconds_of_certificate(trials, MIN_SEEDS)))


def runs_left(study: Study) -> int:
    """Return how many runs the certificate still takes, at most while trials are left.

    Any of those may win, so that of the runs that have ended only those of the default are known
    to count.
    """
    if not certifies(study.plan):
        return 0
    fresh, known = fresh_of(study.plan), queued(follow_up_folder(study.folder, CERTIFY))
    default, is_over = study.ranking.default, study.has_all_trials
    pair = winner_and_other(study) if is_over else None
    certain = pair or ([] if is_over or default is None else [default])
    entries = entries_of(study, certain, fresh)
    ended = [known.get(canonical_key(entry), False) for entry in entries]
    return ended.count(False) if is_over else max_runs(study.plan) - ended.count(True)


def certifying_study(study: Study) -> Study | None:
    """Return the study of the runs of certificates; None if none has begun."""
    return follow_up(study, CERTIFY)


def reason_for_none(plan: Plan) -> str | None:
    """Return why the winner will not be certified although it was asked for; None if it will be."""
    return refusal(plan) if plan.search.settings.certify else None
