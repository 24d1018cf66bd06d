"""What people read about the certificate of a study's winner."""

from __future__ import annotations

from collections.abc import Iterator

from search.certificate.certificate import Certificate, Certified, Rows
from search.plan.certify import certifies, fresh_of, max_runs, rows_of
from search.plan.plan import Plan
from search.report.text import duration, score, spoken
from search.study.certify import (
    certifying_study,
    has_time,
    least_seconds,
    reason_for_none,
    winner_and_other,
)
from search.study.study import Study
from search.terminal.estimate import about
from search.trained.side import Side


def plan_lines(plan: Plan, num_runs: int | None = None) -> Iterator[str]:
    """Yield what a study will certify and at what cost, or why not; nothing if it need not.

    Args:
        plan: The study's plan.
        num_runs: The runs that it still takes, if some have been made.

    """
    if not plan.search.settings.certify:
        return
    reason = reason_for_none(plan)
    if reason is not None:
        yield f"not done, because {reason}"
        return
    num_runs = max_runs(plan) if num_runs is None else num_runs
    cost = _count(num_runs, "more run") if num_runs else "no more runs"
    where = {
        Rows.test: "then scored once on the test rows",
        Rows.splits: "compared there, because there is no test split",
        Rows.validation: "compared on the validation rows, because there is no test split",
    }[rows_of(plan)]
    yield f"the winner and the default over {_seeds(plan)}, {where}: {cost}"
    if plan.search.settings.max_hours is not None:
        yield "search.max_hours includes them: the search leaves them time, at most half of it"


def started_lines(study: Study, certifying: Study) -> Iterator[str]:
    """Yield what is trained for the certificate, when it starts."""
    pair = winner_and_other(study)
    assert pair is not None, "its runs have been queued"
    names = " and ".join(_name(study, trial.number) for trial in pair)
    runs = _count(certifying.plan.num_trials - certifying.num_ended, "run")
    yield f"certifying {names} over {_seeds(study.plan)}: {runs}, as study {certifying.plan.name}"


def certify_lines(study: Study) -> list[str]:
    """Return the certificates of a study, and how far that of its winner is if it is asked for."""
    lines = [line for each in study.certificates for line in certificate_lines(each)]
    is_due = certifies(study.plan) and study.is_used_up and study.best is not None
    return [*lines, _none_yet(study)] if is_due and study.certificate is None else lines


def _none_yet(study: Study) -> str:
    """Return why a study that has ended has no certificate."""
    pair = winner_and_other(study)
    if pair is None:
        return "There is no certificate: no other configuration has finished."
    if not has_time(study, pair):
        least, left = about(least_seconds(study, pair)), study.seconds_left
        assert left is not None, "there is no time"
        leaves = f"search.max_hours leaves {about(max(0.0, left[0]))}"
        takes = f"it takes about {least} of training and scoring"
        return f"There is no certificate: {takes}, and {leaves}."
    certifying = certifying_study(study)
    if certifying is not None and certifying.has_all_trials:
        for side in (Side.of(study, trial) for trial in pair):
            if side is not None and len(side.with_result) < side.num_needed:
                return _too_few(side)
            if side is not None and len(side.comparable) < side.num_needed:
                of = f"{study.plan.default.task.metric} of trial {side.trial.number}"
                rule = "is not defined without some of the rows, so that it has no interval"
                return f"There is no certificate: {of} {rule}."
    if certifying is None or certifying.has_all_trials:
        return "The winner is not certified yet; run the same command to continue or see why not."
    done = f"{certifying.num_ended} of {certifying.plan.num_trials} runs have ended"
    name = certifying.plan.name
    return f"Certifying the winner, as study {name}: {done}; {_next(certifying)}."


def _too_few(side: Side) -> str:
    """Return that runs of a configuration failed, and what to do, if all of them have ended."""
    num, needed, name = len(side.with_result), side.num_needed, side.study.plan.name
    of = f"{num} of {_count(len(side.runs), 'run')} of trial {side.trial.number}"
    fix = f"finesweep certify study={name} seeds={len(side.runs) + needed} adds seeds"
    return f"There is no certificate: {of} finished, and it takes {needed}; {fix}."


def certificate_lines(found: Certificate) -> Iterator[str]:
    """Yield a certificate in words: the verdict first, then what is behind it."""
    yield f"Certificate: {_lowered(found.subject)} is {found.sentence}."
    first, second = found.first, found.second
    rows = "the validation rows" if found.rows is not Rows.test else f"{found.num_rows:,} test rows"
    yield f"Mean {spoken(found.metric)} on {rows}: {_mean(first)}, against {_mean(second)}."
    sure = f"It is better with a probability of {_percent(found.probability)}"
    lead = _lead(found) if found.rows is Rows.test else ""
    yield f"{sure}. {lead}." if lead else f"{sure}."
    cost = f"{_count(len(first.scores) + len(second.scores), 'run')}, {duration(found.seconds)}"
    looks = _count(found.num_looks, "time") if found.rows is Rows.test else ""
    seen = f"; models of this study were scored on the test rows {looks}" if looks else ""
    yield f"It took {cost} of training{seen}."
    for problem in found.problems:
        yield f"{problem[:1].upper()}{problem[1:]}."


def _lead(found: Certificate) -> str:
    """Return how far the first one led in the search, and how much of that was selection."""
    gain, selection = found.searched_gain, found.selection
    if gain is None or selection is None:
        return ""
    gain_, selection_ = found.figures(abs(gain), selection)
    unit, rows = " points" if found.is_in_points else "", "on the validation rows of the search"
    if gain <= 0:
        behind = f"{gain_}{unit} behind" if gain < 0 else "level"
        return f"It was {behind} {rows}"
    lead = f"Its lead was {gain_}{unit} {rows}"
    if selection <= 0:
        return f"{lead}; none of that was selection"
    return f"{lead}; {'all' if selection >= gain else selection_} of that was selection"


def _mean(one: Certified) -> str:
    name = "the default" if one.is_default else f"trial {one.trial}"
    spread = "" if one.spread is None else f", seeds vary by {score(one.spread)}"
    return f"{score(one.mean)} for {name} ({_count(len(one.scores), 'run')}{spread})"


def _percent(share: float) -> str:
    if 0.001 <= share <= 0.999:
        return f"{100 * share:.1f} %".replace(".0 %", " %")
    return "over 99.9 %" if share > 0.5 else "under 0.1 %"


def _next(certifying: Study) -> str:
    num_running = sum(trial.state.name == "RUNNING" for trial in certifying.trials)
    if num_running:
        return f"{num_running} {'is' if num_running == 1 else 'are'} running"
    if certifying.hours_used_up:
        return "search.max_hours is used up"
    return "run the same command to continue"


def _seeds(plan: Plan) -> str:
    fresh = fresh_of(plan)
    return _count(len(fresh.values), f"fresh {fresh.what}")


def _name(study: Study, number: int) -> str:
    default = study.ranking.default
    is_default = default is not None and default.number == number
    return f"trial {number} (default)" if is_default else f"trial {number}"


def _lowered(text: str) -> str:
    return f"{text[:1].lower()}{text[1:]}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
