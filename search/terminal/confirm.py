"""What people read about the first few trials, which are trained again on fresh splits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from search.plan.confirm import MAX_CANDIDATES, confirms, fresh_of, max_runs, refusal
from search.plan.plan import Plan
from search.report.results import confirmed_mean
from search.report.text import score, spoken
from search.study.confirm import candidates, chosen, confirming_study
from search.study.confirmed import means
from search.study.gain import CAUTION
from search.study.study import Study
from search.terminal.estimate import about


def plan_lines(plan: Plan, num_runs: int | None = None) -> Iterator[str]:
    """Yield what a study will confirm and at what cost, or why not; nothing if it need not.

    Args:
        plan: The study's plan.
        num_runs: The most runs that it still takes, if some have been made.

    """
    if not plan.search.settings.confirm:
        return
    reason = refusal(plan)
    if reason is not None:
        yield f"not done, because {reason}"
        return
    num_runs = max_runs(plan) if num_runs is None else num_runs
    cost = f"at most {_count(num_runs, 'more run')}" if num_runs else "no more runs"
    yield (
        f"at most {MAX_CANDIDATES} of the best trials, statistically tied, and the default, on "
        f"{_splits(plan)}: {cost}"
    )
    if plan.search.settings.max_hours is not None:
        yield "search.max_hours includes them: the search leaves them time, at most half of it"
    if fresh_of(plan).what == "seed":
        yield "the validation rows are given and stay, so the seed of the training varies"


def started_lines(study: Study, confirming: Study) -> Iterator[str]:
    """Yield what is trained again, when it starts, and what there is no time for."""
    which = chosen(study)
    num_left = study.plan.num_trials - study.num_ended
    if num_left and study.out_of_time is not None:
        kept = about(which.seconds)
        yield f"{study.out_of_time}, about {kept} of training; {_count(num_left, 'trial')} left"
    if which.too_many:
        names = _listed([_name(study, trial.number) for trial in which.too_many])
        yield f"search.max_hours leaves no time to confirm {names}"
    names = _listed([_name(study, trial.number) for trial in which.trials])
    runs = _count(confirming.plan.num_trials - confirming.num_ended, "run")
    yield (f"confirming {names} on {_splits(study.plan)}: {runs}, as study {confirming.plan.name}")


def confirm_lines(study: Study) -> list[str]:
    """Return what confirming the first few came to; nothing if it is not done or not yet time."""
    is_over = study.is_used_up
    if not confirms(study.plan) or (not is_over and study.ranking.decision is None):
        return []
    confirming = confirming_study(study) if is_over else None
    if confirming is not None and confirming.num_ended < confirming.plan.num_trials:
        name, num_runs = confirming.plan.name, confirming.plan.num_trials
        done = f"{confirming.num_ended} of {num_runs} runs have ended"
        return [f"Confirming the first few, as study {name}: {done}; {_what_next(confirming)}."]
    if study.ranking.decision is not None:
        return [*_decided(study), *_later(study)]
    return [_not_confirmed(study, has_results=confirming is not None)]


def _not_confirmed(study: Study, *, has_results: bool) -> str:
    """Return why no confirmed trial is the best although no more trials start."""
    if not candidates(study):
        return "Nothing is confirmed: no other trial is within the noise of the best."
    if has_results and study.confirmed is not None:
        return "Nothing is confirmed: no trial has a result on every fresh split."
    which, left = chosen(study), study.seconds_to_confirm
    if left is None or which.trials:
        return f"The first few are not confirmed yet; {_what_next(study)}."
    takes = f"that takes about {about(which.seconds)} of training"
    leaves = f"search.max_hours leaves {about(max(0.0, left))}"
    return f"The first few are not confirmed: {takes}, and {leaves}."


def _decided(study: Study) -> Iterator[str]:
    """Yield the means of the confirmed trials, and why one of them is the best."""
    ranking = study.ranking
    decision, costs, (metric, *_) = ranking.decision, ranking.confirmed_costs, ranking.signs
    assert decision is not None
    ranked = sorted(costs, key=lambda number: means(costs[number]))
    each = [f"{score(confirmed_mean(study, costs[n]))} for {_name(study, n)}" for n in ranked]
    yield f"Mean {spoken(metric)} on {_splits(study.plan)}: {_listed(each)}."
    best, ahead = _name(study, decision.best), _name(study, decision.ahead)
    if decision.gain is None or decision.error is None:
        yield f"So {best} is the best."
    else:
        by = f"by {score(decision.gain)}, with a standard error of {score(decision.error)}"
        few = f", less than {CAUTION:g} of them" if decision.best != decision.ahead else ""
        yield f"There {ahead} is ahead of the default {by}{few}. So {best} is the best."
    first = ranking.by_score[0].number
    if first != decision.best:
        yield f"By the validation scores of the study alone, trial {first} was ahead."


def _later(study: Study) -> Iterator[str]:
    confirmed = study.confirmed
    if confirmed is not None and confirmed.num_trials < study.plan.num_trials:
        considered = f"{confirmed.num_trials} of {study.plan.num_trials} trials"
        yield f"Only {considered} had ended by then and were considered."


def _what_next(study: Study) -> str:
    num_running = sum(trial.state.name == "RUNNING" for trial in study.trials)
    if num_running:
        return f"{num_running} {'is' if num_running == 1 else 'are'} running"
    return (
        "search.max_hours is used up" if study.hours_used_up else "run the same command to continue"
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _splits(plan: Plan) -> str:
    return f"{plan.search.settings.confirm} fresh {fresh_of(plan).what}s"


def _name(study: Study, number: int) -> str:
    default = study.ranking.default
    is_default = default is not None and default.number == number
    return f"trial {number} (default)" if is_default else f"trial {number}"


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
