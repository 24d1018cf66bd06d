"""The verdict on two configurations: how much better the first one is, and one sentence on it.

Both were trained over fresh seeds, chosen by validation as always, and scored on the same rows,
which nothing was chosen by. `certificate.json` in a study's folder has one verdict or several, the
one on the study's winner first. What is here computes nothing from trials: `search.trained.certify`
makes certificates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from statistics import fmean, median_low, stdev
from typing import Any, Self

from lightning_modules.machine.file import write_json
from search.certificate.difference import LEVEL, Difference

CERTIFICATE_FILE = "certificate.json"
FORMAT = 1
"""The form of that file; a reader that does not know it must not guess."""


class Rows(Enum):
    """The rows on which both configurations were scored.

    Attributes:
        test: The test split, which nothing was chosen by.
        splits: Another validation split for every run, because there is no test split.
        validation: The validation rows, because there is neither a test split nor another
            validation split to draw.

    """

    test = "test"
    splits = "splits"
    validation = "validation"

    @property
    def spoken(self) -> str:
        """Their name for people, in the plural."""
        return "test rows" if self is Rows.test else "validation rows"


class Verdict(Enum):
    """What the interval says of the first configuration."""

    better = "better"
    worse = "worse"
    undecided = "not distinguishable"


@dataclass(frozen=True, kw_only=True)
class Certified:
    """One of the two configurations, and what its runs came to.

    Attributes:
        study: The study that it is from.
        trial: The number of its trial there.
        is_default: Whether it is that study's default configuration.
        params: Its values by config path, as far as the study searches them.
        searched: What its trial scored on the validation rows of the study; None if unknown.
        seeds: What differed between its runs: the seeds of the training, or of the splits.
        scores: What each of these runs scored on the rows of the certificate.
        validation: What each of them scored on its validation rows.
        runs: The number of each of them in the study of the certificate's runs.
        num_failed: Runs without a score, e.g. because they diverged.
        seconds: Training time of all its runs.

    """

    study: str
    trial: int
    is_default: bool
    params: Mapping[str, Any]
    searched: float | None
    seeds: tuple[int, ...]
    scores: tuple[float, ...]
    validation: tuple[float, ...]
    runs: tuple[int, ...]
    num_failed: int = 0
    seconds: float = 0.0

    @property
    def mean(self) -> float:
        """The mean over the runs of the score on the rows of the certificate."""
        return fmean(self.scores)

    @property
    def spread(self) -> float | None:
        """The standard deviation of that score over the runs; None with fewer than two."""
        return stdev(self.scores) if len(self.scores) > 1 else None

    @property
    def from_median(self) -> list[int]:
        """The numbers of the runs, that of median validation score first, then those nearest it.

        Of two in the middle the lower one is the first. That one is exported: the best of several
        would be luck.
        """
        middle = median_low(self.validation)
        scored = zip(self.runs, self.validation, strict=True)
        return [run for run, _ in sorted(scored, key=lambda each: abs(each[1] - middle))]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return it from its values as JSON."""
        names = ("seeds", "scores", "validation", "runs")
        return cls(**{**values, **{name: tuple(values[name]) for name in names}})


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """How much better one configuration is than another.

    Attributes:
        study: The study whose certificate it is.
        metric: What was scored.
        is_minimized: Whether less is better.
        rows: The rows on which both were scored.
        num_rows: How many they are; on splits, of one of them.
        first: The winner of the study, or the default if that is the winner.
        second: What it is compared with: the default, the runner-up, or another one.
        difference: How much better the first one is, > 0 also for a metric that is minimized.
        what: `seed` or `split`, which differs between the runs.
        num_comparisons: Differences that are looked at together, for which the interval is widened.
        num_looks: How often the test rows were scored in this study, these times included.
        searched_seconds: Training time of the search.
        created: When it was made, in ISO 8601 with the time zone.
        version: The version of finesweep.
        problems: What is wrong with it, as sentences, e.g. that a run diverged.

    """

    study: str
    metric: str
    is_minimized: bool
    rows: Rows
    num_rows: int
    first: Certified
    second: Certified
    difference: Difference
    what: str
    num_comparisons: int = 1
    num_looks: int = 0
    searched_seconds: float = 0.0
    created: str = ""
    version: str = ""
    problems: tuple[str, ...] = field(default=())

    @property
    def interval(self) -> tuple[float, float]:
        """Both ends of the 95 % interval of the difference, for all comparisons together."""
        return self.difference.interval(self.num_comparisons)

    @property
    def verdict(self) -> Verdict:
        """What the interval says of the first configuration."""
        low, high = self.interval
        if low > 0:
            return Verdict.better
        return Verdict.worse if high < 0 else Verdict.undecided

    @property
    def probability(self) -> float:
        """The probability that the first one is better, with a flat prior."""
        return self.difference.probability

    @property
    def searched_gain(self) -> float | None:
        """How much better the first one scored in the search, on validation; None if unknown."""
        if self.first.searched is None or self.second.searched is None:
            return None
        return self._sign * (self.first.searched - self.second.searched)

    @property
    def selection(self) -> float | None:
        """How much of the gain in the search was selection: what is not left of it here."""
        gain = self.searched_gain
        return None if gain is None else gain - self.difference.value

    @property
    def gap(self) -> float:
        """How much better the first one's runs score on their validation rows than on these."""
        return self._sign * (fmean(self.first.validation) - self.first.mean)

    @property
    def seconds(self) -> float:
        """Training time of the runs of both."""
        return self.first.seconds + self.second.seconds

    @property
    def rows_to_tell(self) -> int | None:
        """About how many rows would part the two if they differ as measured, in two digits.

        None if they are parted, or if more rows alone would not part them with these seeds.
        """
        factor = self.difference.rows_to_tell(self.num_comparisons)
        if self.verdict is not Verdict.undecided or not math.isfinite(factor):
            return None
        return _rounded_up(factor * self.num_rows)

    @property
    def subject(self) -> str:
        """The name of the first one for people, at the start of a sentence."""
        if self.first.is_default:
            return f"The default (trial {self.first.trial})"
        return _capital(self._name(self.first))

    @property
    def is_over_default(self) -> bool:
        """Whether the second one is the default of this study."""
        return self.second.is_default and self.second.study == self.study

    @property
    def object(self) -> str:
        """The name of the second one for people."""
        if self.is_over_default:
            return "the default"
        name = self._name(self.second)
        return f"the runner-up ({name})" if self._is_runner_up else name

    @property
    def sentence(self) -> str:
        """The verdict in words, to be read after the name of the first one.

        E.g. `better than the default by 1.9 points (95 % interval 0.6 to 3.2)`.
        """
        low, high = self.interval
        value = self.difference.value
        if self.verdict is Verdict.worse:
            value, low, high = -value, -high, -low
        value_, low_, high_ = self.figures(value, low, high)
        unit = " points" if self.is_in_points else ""
        if self.verdict is not Verdict.undecided:
            of = f" for {self.num_comparisons} comparisons" if self.num_comparisons > 1 else ""
            interval = f"95 % interval{of} {low_} to {high_}"
            text = f"{self.verdict.value} than {self.object} by {value_}{unit} ({interval})"
        elif self.difference.error == 0:
            text = f"not distinguishable from {self.object}: both score the same on every row"
        else:
            text = f"not distinguishable from {self.object}: {value_}{unit} ({low_} to {high_})"
            text += f"; {self._what_would_tell}"
        return f"{text}{self._where}"

    @property
    def is_in_points(self) -> bool:
        """Whether scores are shares, and so are shown as points, hundredths."""
        scores = (*self.first.scores, *self.second.scores)
        return not self.is_minimized and all(abs(score) <= 1 for score in scores)

    def figures(self, *values: float) -> list[str]:
        """Return differences in points or in the metric's unit, as exact as the interval is wide.

        Args:
            values: Differences, as the attributes have them.

        """
        scale = 100.0 if self.is_in_points else 1.0
        half = scale * self.difference.half_width(self.num_comparisons)
        digits = 2 if half == 0 else min(8, max(1, -math.floor(math.log10(half))))
        if 0 < half < 1:
            digits += 1  # two digits of the width
        texts = [f"{scale * value:.{digits}f}" for value in values]
        return [text.lstrip("-") if float(text) == 0 else text for text in texts]

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, for JSON: what it is made of, and what follows from that."""
        made_of = {name: value for name, value in vars(self).items() if name != "difference"}
        low, high = self.interval
        return {
            **made_of,
            "rows": self.rows.value,
            "first": asdict(self.first),
            "second": asdict(self.second),
            "problems": list(self.problems),
            "difference": self.difference.as_dict(),
            "verdict": self.verdict.value,
            "gain": self.difference.value,
            "low": low,
            "high": high,
            "level": LEVEL,
            "probability": self.probability,
            "searched_gain": self.searched_gain,
            "selection": self.selection,
            "gap": self.gap,
            "rows_to_tell": self.rows_to_tell,
            "seconds": self.seconds,
            "subject": self.subject,
            "sentence": self.sentence,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return it from the values of `as_dict`."""
        names = set(cls.__dataclass_fields__)
        found = {name: value for name, value in values.items() if name in names}
        return cls(
            **{
                **found,
                "rows": Rows(values["rows"]),
                "first": Certified.from_dict(values["first"]),
                "second": Certified.from_dict(values["second"]),
                "difference": Difference.from_dict(values["difference"]),
                "problems": tuple(values["problems"]),
            }
        )

    @property
    def _sign(self) -> int:
        return -1 if self.is_minimized else 1

    @property
    def _is_runner_up(self) -> bool:
        return self.first.is_default and self.first.study == self.second.study == self.study

    def _name(self, one: Certified) -> str:
        name = f"trial {one.trial}"
        if one.study == self.study:
            return name
        return f"{'the default' if one.is_default else name} of study {one.study}"

    @property
    def _what_would_tell(self) -> str:
        num = self.rows_to_tell
        if num is not None:
            return f"some {num:,} {self.rows.spoken} would tell"
        if self.difference.value == 0:
            return "more rows alone would not tell"
        return f"more {self.what}s would have to tell, because they vary more than the two differ"

    @property
    def _where(self) -> str:
        """Return on which rows this was found, if it is not the test split."""
        if self.rows is Rows.splits:
            num = len(self.first.scores)
            return f", on {num} repeated validation splits, because there is no test split"
        if self.rows is Rows.validation:
            return ", on the validation rows that also chose, because there is no test split"
        return ""


def verdict_on(
    certificates: Sequence[Certificate], study: str, trial: int | None
) -> Certificate | None:
    """Return the verdict on a trial of a study, within that study first; None without one.

    Args:
        certificates: Verdicts of studies, in any order.
        study: The name of the study.
        trial: The number of the trial; None has no verdict.

    """
    found = [
        each for each in certificates if (each.first.study, each.first.trial) == (study, trial)
    ]
    return min(found, key=lambda each: each.second.study != study, default=None)


def write_certificates(folder: Path, certificates: Sequence[Certificate]) -> None:
    """Write the verdicts of a study to its folder, the one on its winner first."""
    write_json(folder / CERTIFICATE_FILE, certificates_as_dict(certificates))


def certificates_as_dict(certificates: Sequence[Certificate]) -> dict[str, Any]:
    """Return verdicts as the values of the file."""
    return {"format": FORMAT, "certificates": [each.as_dict() for each in certificates]}


def certificates_of(values: Mapping[str, Any]) -> tuple[Certificate, ...]:
    """Return the verdicts from the values of the file, the one on the study's winner first.

    None if a later version wrote them in another form.
    """
    if values.get("format") != FORMAT:
        return ()
    return tuple(Certificate.from_dict(each) for each in values["certificates"])


def _rounded_up(number: float) -> int:
    """Return a number rounded up to two digits.

    >>> _rounded_up(2931.4), _rounded_up(87.2), _rounded_up(3)
    (3000, 88, 3)
    """
    digits = math.floor(math.log10(max(number, 1.0)))
    step = int(10 ** max(0, digits - 1))
    return math.ceil(number / step) * step


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
