"""What came of the study, first of all: which trial won, and whether it is really better."""

from __future__ import annotations

from collections.abc import Iterator

from search.certificate.certificate import Certificate
from search.report.document.block import Block, Facts, Figure, Section, Table, Text
from search.report.document.chart import BEST, DEFAULT, PLAIN, Axis, Chart, Series
from search.report.overview import Overview, TrialView
from search.report.text import default_line, duration, gain_lines, number, score


def verdict(overview: Overview) -> Section:
    """Return the verdict."""
    return Section("verdict", "Verdict", list(_blocks(overview)), is_brief=True)


def headline(overview: Overview) -> str:
    """Return the verdict in one sentence."""
    winner = overview.winner
    if winner is None:
        return "No trial has finished." if not overview.finished else "No trial is chosen."
    certificate = overview.certificate
    if certificate is not None:
        return f"{certificate.subject} is {certificate.sentence}."
    if overview.best == overview.default:
        return _default_won(overview)
    if overview.gain is None:
        found = f"Trial {winner.number} is the best, with {overview.metric} "
        return f"{found}{score(overview.score(winner))}; no default has a result to compare with."
    line = gain_lines(overview.gain, overview.metric)[0]
    return f"Trial {winner.number} {line[3:]}" if line.startswith("It ") else line


def _default_won(overview: Overview) -> str:
    chosen_by = next(iter(overview.chosen_by), overview.metric)
    num_tried = len(overview.finished) + len(overview.pruned)
    return default_line(chosen_by, is_cautious=overview.is_cautious, num_tried=num_tried)


def _blocks(overview: Overview) -> Iterator[Block]:
    yield Text(headline(overview))
    yield from _intervals(overview)
    winner = overview.winner
    if winner is not None:
        yield from _about_winner(overview, winner)
    if not overview.is_over:
        left = overview.now.num_trials - overview.now.num_ended
        is_left = "trial is left" if left == 1 else "trials are left"
        yield Text(f"The study is not over: {left} of {overview.now.num_trials} {is_left}.")
    for each in overview.certificates:
        if each is not overview.certificate:
            of = f", study {each.study}" if each.study != overview.name else ""
            yield Text(f"{each.subject}{of} is {each.sentence}.")
    for line in overview.guards:
        yield Text(line)
    yield Facts(list(_facts(overview)))
    if winner is not None:
        yield _scores(overview, winner)


def _about_winner(overview: Overview, winner: TrialView) -> Iterator[Block]:
    assert winner.objectives is not None
    several = len(overview.objectives) > 1
    values = ", ".join(
        f"{objective.short} {score(value)}"
        for objective, value in zip(overview.objectives, winner.objectives, strict=True)
    )
    name = "First on the Pareto front" if several else "The winner"
    arm = f", {winner.arm}," if winner.arm else ""
    yield Text(f"{name} is trial {winner.number}{arm} with validation {values}.")
    if overview.certificate is not None:
        if overview.keeps_default:
            yield Text(_default_won(overview), is_note=True)
        yield from _certified(overview.certificate)
    elif overview.best != overview.default:
        for line in gain_lines(overview.gain, overview.metric)[1:]:
            yield Text(line, is_note=True)
    if winner.verdict:
        yield Text(f"It {winner.verdict}.", is_note=True)


def _intervals(overview: Overview) -> Iterator[Block]:
    """Yield the gain with its interval as a chart: by fresh runs, and in the search."""
    gains: dict[str, tuple[float, float, float]] = {}
    gain, certificate = overview.gain, overview.certificate
    is_default = overview.best == overview.default
    if certificate is not None and not certificate.is_over_default:
        gain = None  # it is over the default
    if not is_default and gain is not None and gain.low is not None and gain.high is not None:
        gains["in the search"] = (gain.value, gain.low, gain.high)
    if certificate is not None:
        gains["by fresh runs"] = (certificate.difference.value, *certificate.interval)
    if not gains:
        return
    names, values = tuple(gains), list(gains.values())
    other = "the default" if certificate is None else certificate.object
    x = [end for _, low, high in values for end in (low, high, None)]
    y = [place for at in range(len(values)) for place in (float(at), float(at), None)]
    chart = Chart(
        title=f"How much better than {other}",
        alt="; ".join(f"{n}: {v:.4f} ({low:.4f} to {high:.4f})" for n, (v, low, high) in
                      gains.items()) + ".",
        x=Axis(f"gain in {overview.metric}", has_margin=True),
        y=Axis("", names=names),
        series=(
            Series("no difference", [0.0, 0.0], [-0.5, len(names) - 0.5], PLAIN, is_line=True,
                   is_dashed=True, width=1.5),
            Series("95 % interval", x, y, DEFAULT, is_line=True, width=8),
            Series("gain", [v for v, _, _ in values], list(map(float, range(len(values)))), BEST,
                   texts=[f"{name}: {v:.4f}" for name, (v, _, _) in gains.items()],
                   symbol="diamond"),
        ),
        height=100 + 36 * len(names),
    )  # fmt: skip
    yield Figure(chart, "To the right of the dashed line is better, for a loss too.")


def _certified(certificate: Certificate) -> Iterator[Block]:
    """Yield what the verdict rests on."""
    first, second = certificate.first, certificate.second
    unit = " points" if certificate.is_in_points else ""
    figures = [certificate.difference.value, *certificate.interval, certificate.gap]
    gain, low, high, gap = certificate.figures(*figures)
    facts = [
        ("Gain", f"{gain}{unit}, 95 % interval {low} to {high}"),
        ("Probability that it is better", f"{certificate.probability:.1%}"),
        ("Rows", f"{certificate.num_rows:,} {certificate.rows.spoken}"),
        (
            "Runs",
            f"{len(first.scores)} and {len(second.scores)}, each with a {certificate.what} "
            "of its own",
        ),
        ("Validation score above that on these rows", f"{gap}{unit}"),
    ]
    if certificate.selection is not None:
        (selection,) = certificate.figures(certificate.selection)
        facts.append(("Selection: gain in the search less this one", f"{selection}{unit}"))
    if certificate.num_looks:
        facts.append(("Looks at the test rows", str(certificate.num_looks)))
    facts.append(("Training time of these runs", duration(certificate.seconds)))
    yield Facts(facts)
    for problem in certificate.problems:
        yield Text(problem)
    rows = [
        [name, str(one.trial), score(one.mean), *(score(s) if s else "-" for s in [one.spread])]
        for name, one in ((certificate.subject, first), (certificate.object, second))
    ]
    head = ["", "trial", f"mean {certificate.metric}", "spread over its runs"]
    yield Table("Certified scores", head, rows)


def _facts(overview: Overview) -> Iterator[tuple[str, str]]:
    now = overview.now
    counts = ", ".join(f"{count} {state}" for state, count in now.counts.items() if count)
    yield "Trials", f"{counts or 'none'} (budget {now.num_trials})"
    goals = ", ".join(f"{each.short} ({each.direction})" for each in overview.objectives)
    yield "Objective" if len(overview.objectives) == 1 else "Objectives", goals
    if overview.chosen_by:
        yield "Chosen by", ", on ties by ".join(overview.chosen_by)
    yield "Training time", duration(overview.seconds)
    yield "As of", f"{overview.taken:%Y-%m-%d %H:%M}"


def _scores(overview: Overview, winner: TrialView) -> Table:
    """Return the winner's scores beside those of the default."""
    default = None if overview.default is None else overview.trials[overview.default]
    others = [] if default is None or default is winner else [default]
    names = ["winner", *("default" for _ in others)]
    head = [
        "validation",
        *(
            f"{name}, trial {each.number}"
            for name, each in zip(names, [winner, *others], strict=True)
        ),
    ]
    rows = [
        [metric, *(number(each.metrics.get(metric)) for each in [winner, *others])]
        for metric in winner.metrics
    ]
    return Table("Validation scores", head, rows)
