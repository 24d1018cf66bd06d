"""Values formatted for people."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from search.report.snapshot import StudySummary
from search.study.gain import CAUTION, Gain, half_width

_HALVES = re.compile("[\ud800-\udfff]")


def aligned(scores: Mapping[str, float]) -> list[str]:
    """Return one line per score, with the values aligned.

    >>> aligned({"accuracy": 0.5, "mcc": 0.25})
    ['  accuracy  0.5', '  mcc       0.25']
    """
    width = max(map(len, scores), default=0)
    return [f"  {name:{width}}  {number(value)}" for name, value in scores.items()]


def number(value: object) -> str:
    """Return a value in few digits.

    >>> number(0.00031622776), number(0.885), number(16), number(None)
    ('0.0003162', '0.885', '16', '-')
    """
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def whole(text: str) -> str:
    r"""Return a text with a mark for each half of a surrogate pair, which no file can hold.

    An error message or a model's answer may have one; the data may not.

    >>> whole("half of \ud83d") == "half of \ufffd", whole("\U0001f600") == "\U0001f600"
    (True, True)
    """
    return _HALVES.sub("\ufffd", text)


def setting(values: Mapping[str, Any], path: str) -> str:
    """Return a setting of a trial for a table; `-` if the trial does not have it.

    >>> setting({"trainer.patience": None}, "trainer.patience"), setting({}, "strategy.rank")
    ('null', '-')
    """
    if path not in values:
        return "-"
    return "null" if values[path] is None else number(values[path])


def score(value: float | None) -> str:
    """Return an objective's value, with four decimals for most metrics.

    >>> score(0.76), score(0.76125), score(95.31234), score(0.000012), score(590592.0), score(None)
    ('0.7600', '0.7612', '95.31', '1.2e-05', '590,592', '-')
    """
    if value is None:
        return "-"
    if value == 0 or 0.001 <= abs(value) < 10:
        return f"{value:.4f}"
    return f"{value:,.0f}" if float(value).is_integer() else number(value)


def spoken(metric: str) -> str:
    """Return the name of a score in words.

    >>> spoken("log_loss"), spoken("brier")
    ('log loss', 'Brier score')
    """
    return "Brier score" if metric == "brier" else metric.replace("_", " ")


def gain_lines(gain: Gain | None, metric: str, num_rows: int | None = None) -> list[str]:
    """Return what the gain of a study's winner over the default is worth, as sentences.

    Args:
        gain: The gain; None if the default has not finished.
        metric: The metric's name.
        num_rows: Number of validation rows, if known.

    >>> gain_lines(Gain(0.0245, -0.01, 0.059), "accuracy")[0][:68]
    'It is not distinguishable from the default configuration in accuracy'
    """
    default = "the default configuration"
    if gain is None:
        return ["There is no result of the default configuration to compare with."]
    better = f"{abs(gain.value):.4f} {'better' if gain.value >= 0 else 'worse'}"
    if gain.is_of_means:
        return [
            f"Its mean over the seeds is {better} in {metric} than that of {default}, on "
            "validation rows. The noise of this is unknown: no interval is computed for means over "
            "seeds.",
        ]
    if gain.low is None or gain.high is None:
        return [
            f"It is {better} in {metric} than {default}, on validation rows. The noise of this "
            "is unknown: what each row contributed was not kept.",
        ]
    interval = f"95 % interval {gain.low:.4f} to {gain.high:.4f}"
    found = f"It is {better} in {metric} than {default} ({interval})."
    if not gain.is_clear:
        found = f"It is not distinguishable from {default} in {metric} ({better}, {interval})."
    rows = "validation rows" if num_rows is None else f"{num_rows:,} validation rows"
    return [
        found,
        f"The interval covers the choice of the {rows}, not the seed. The best trial was chosen "
        "on these rows, so its gain looks larger than it is.",
    ]


def default_line(metric: str, *, is_cautious: bool, num_tried: int) -> str:
    """Return that the default configuration is a study's best, as a sentence.

    Args:
        metric: What the best trial was chosen by.
        is_cautious: Whether another one had to be better by more than its noise.
        num_tried: How many trials have finished or were pruned.

    >>> default_line("accuracy", is_cautious=False, num_tried=3)
    'No trial was better in accuracy than the default configuration.'
    """
    if num_tried < 2:
        return "Only the default configuration has a result: there is nothing to compare it with."
    if not is_cautious:
        return f"No trial was better in {spoken(metric)} than the default configuration."
    noise = f"{CAUTION:g} standard errors of its {spoken(metric)}"
    return f"No trial was better than the default configuration by more than {noise}."


def interval_line(
    metric: str, contributed: Sequence[float], scored: str, *, is_maximized: bool
) -> str:
    """Return how exact a score is.

    Args:
        metric: Its name.
        contributed: What groups of rows contribute to it; their mean is the score.
        scored: What was scored, e.g. `90 rows`.
        is_maximized: Whether more is better.

    >>> interval_line("accuracy", [0.0, 1.0, 0.0, 1.0, 0.0], "5 rows", is_maximized=True)
    'accuracy: 95 % interval 0.0000 to 1.0000, for the choice of these 5 rows'
    >>> # The spread of equal ones says nothing.
    >>> interval_line("accuracy", [1.0, 1.0], "2 rows", is_maximized=True)
    'accuracy: no interval, because all these 2 rows score the same'
    """
    middle, half = fmean(contributed), half_width(contributed)
    if half == 0:
        return f"{metric}: no interval, because all these {scored} score the same"
    low, high = middle - half, middle + half
    if min(contributed) >= 0:  # accuracy, F1 of an answer, an error
        low = max(low, 0.0)
        if is_maximized and max(contributed) <= 1:  # a share; an error has no largest value
            high = min(high, 1.0)
    interval = f"95 % interval {low:.4f} to {high:.4f}"
    return f"{metric}: {interval}, for the choice of these {scored}"


def settings(values: Mapping[str, Any]) -> str:
    """Return config values in one line.

    >>> settings({"optimizer.lr": 0.001, "trainer.epochs": 2})
    'optimizer.lr=0.001 trainer.epochs=2'
    """
    return " ".join(f"{path}={setting(values, path)}" for path in values)


def trained(strategy: str, num_trainable: int, num_parameters: int) -> str:
    """Return a line on how many of the parameters a strategy trains.

    >>> trained("lora", 85_000, 22_713_216)
    'strategy lora: 85,000 of 22.7 million parameters are trained (0.37 %)'
    >>> trained("full", 25_000, 25_000)
    'strategy full: 25,000 of 25,000 parameters are trained (100 %)'
    >>> trained("full", 24_999, 25_000)
    'strategy full: 24,999 of 25,000 parameters are trained (over 99 %)'
    """
    percent = 100 * num_trainable / num_parameters
    share = f"{percent:.2g}" if percent < 99 else "over 99"
    share = {0: "0", num_parameters: "100"}.get(num_trainable, share)
    every = f"{num_parameters:,}"
    for size, name in ((1e9, "billion"), (1e6, "million")):
        if num_parameters >= size:
            every = f"{num_parameters / size:.3g} {name}"
            break
    return f"strategy {strategy}: {num_trainable:,} of {every} parameters are trained ({share} %)"


def duration(seconds: float) -> str:
    """Return a time span.

    >>> duration(7.31), duration(75), duration(7320)
    ('7.3 s', '1 min 15 s', '2 h 2 min')
    """
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def rough(seconds: float) -> str:
    """Return a time span in one unit and two digits, to save space.

    >>> rough(7.31), rough(75), rough(95), rough(7320), rough(400_000)
    ('7.3 s', '1.2 min', '1.6 min', '2 h', '111 h')
    """
    value, unit = seconds, "s"
    if seconds >= 60:
        value, unit = seconds / 60, "min"
    if seconds >= 3600:
        value, unit = seconds / 3600, "h"
    return f"{value:.0f} {unit}" if value >= 9.95 else f"{value:.2g} {unit}"


def age(seconds: float) -> str:
    """Return a time span as an age.

    >>> age(12), age(150), age(3 * 3600), age(200_000)
    ('just now', '2 min ago', '3 h ago', '2 d ago')
    """
    if seconds < 60:
        return "just now"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min ago"
    if seconds < 48 * 3600:
        return f"{seconds // 3600:.0f} h ago"
    return f"{seconds // (24 * 3600):.0f} d ago"


def short_names(paths: Sequence[str]) -> list[str]:
    """Return each config path's last part, or as many parts as make it unique.

    >>> short_names(["strategy", "optimizer.lr", "strategy.rank", "head.rank"])
    ['strategy', 'lr', 'strategy.rank', 'head.rank']
    """
    ends = [_ends(path) for path in paths]
    return [
        next((end for end in own if sum(end in other for other in ends) == 1), path)
        for path, own in zip(paths, ends, strict=True)
    ]


def _ends(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[at:]) for at in range(len(parts) - 1, -1, -1)]


def study_list(summaries: Sequence[StudySummary]) -> list[str]:
    """Return one line per study, under a header."""
    if not summaries:
        return ["There is no study here yet; start one with finesweep sweep study=NAME."]
    table = [["study", "trials", "state", "best", "objective", "changed"]]
    for summary in summaries:
        table.append(
            [
                summary.study,
                f"{summary.num_ended}/{summary.num_trials}",
                summary.state,
                score(summary.best),
                ", ".join(summary.objectives),
                age(summary.age_seconds),
            ]
        )
    return columns(table)


def columns(rows: list[list[str]], gap: str = "  ") -> list[str]:
    """Return rows of cells as aligned lines."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return [
        gap.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
