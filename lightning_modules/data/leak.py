"""Training rows that are also in validation or test, exactly or nearly: `data.on_leak`.

A score on rows that were trained on says how well a model remembers. Rows are the same if their
texts differ at most in case and spaces. In tasks that label texts or words they are nearly the same
if these are at least 0.8 alike (`rows.near`) and their numbers are equal: `order 12` and `order
120` are alike and mean two things. A training row is kept if it is the last one of its label.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain, compress
from typing import TYPE_CHECKING

from lightning_modules.error import DataError, Problem, Verbatim
from lightning_modules.rows.columns import part_of
from lightning_modules.rows.corpus import Row
from lightning_modules.rows.near import LEAST, near_pairs

if TYPE_CHECKING:
    from lightning_modules.task.base import Task

MAX_CHARACTERS = 20_000_000
"""Most characters of all rows that are compared nearly whenever rows are read: some 10 s."""
MAX_VERIFIED = 500_000_000
"""Most characters of candidates that are verified then: rows of one template are all candidates."""
LABELLING = ("AutoModelForSequenceClassification", "AutoModelForTokenClassification")
"""The heads of tasks that label texts or words."""
EVALUATED = ("validation", "test")


class OnLeak(Enum):
    """What happens to training rows that are also in validation or test."""

    drop = "drop"
    error = "error"
    keep = "keep"


@dataclass(frozen=True)
class Leaks:
    """Training rows that are also in validation or test.

    Attributes:
        equal: Numbers of the rows whose text is there.
        near: Numbers of the rows of which a near twin is there.
        is_complete: Whether all near twins were looked for.

    """

    equal: Sequence[int]
    near: Sequence[int]
    is_complete: bool

    def __str__(self) -> str:
        number = len(self.equal) + len(self.near)
        rows = "training row is" if number == 1 else "training rows are"
        near = f" ({len(self.near):,} nearly: Jaccard >= {LEAST})" if self.near else ""
        return f"{number:,} {rows} also in validation or test{near}"


def find_leaks(splits: Mapping[str, Sequence[Row]], task: Task) -> Leaks:
    """Return which training rows are also in validation or test."""
    import numpy as np

    train = splits["train"]
    evaluated = [splits[split] for split in EVALUATED if split in splits]
    known = [task.identities(rows) for rows in evaluated]
    is_equal = np.isin(task.identities(train), np.concatenate([*known, np.empty(0, np.uint64)]))
    equal = np.flatnonzero(is_equal).tolist()
    if task.auto_class not in LABELLING:
        return Leaks(equal, (), is_complete=True)
    texts: list[str] = []
    num_characters = 0
    for row in chain(compress(train, (~is_equal).tolist()), *evaluated):
        texts.append(task.near_key(row))
        num_characters += len(texts[-1])
        if num_characters > MAX_CHARACTERS:
            return Leaks(equal, (), is_complete=False)
    others = np.flatnonzero(~is_equal).tolist()
    sides = [0] * len(others) + [1] * sum(map(len, evaluated))
    found = near_pairs(texts, sides, max_characters=MAX_VERIFIED)
    near = {
        others[pair.first]
        for pair in found.pairs
        if _numbers(texts[pair.first]) == _numbers(texts[pair.second])
    }
    return Leaks(equal, sorted(near), found.is_complete)


@dataclass(frozen=True)
class Kept:
    """The training rows to use.

    Attributes:
        rows: The rows.
        left_out: Which are left out, in words; "" if none.
        notes: What else is to be said.

    """

    rows: Sequence[Row]
    left_out: str = ""
    notes: Sequence[str] = ()


def without_leaks(splits: Mapping[str, Sequence[Row]], task: Task, on_leak: OnLeak) -> Kept:
    """Return the training rows to use.

    Raises:
        DataError: There are leaks, and `on_leak` is `error`.

    """
    train = splits["train"]
    if on_leak is OnLeak.keep:
        return Kept(train)
    leaks = find_leaks(splits, task)
    leaked = {*leaks.equal, *leaks.near}
    notes = [] if leaks.is_complete else [_INCOMPLETE]
    if not leaked:
        return Kept(train, notes=notes)
    if on_leak is OnLeak.error:
        raise DataError(_refused(task.text_of(train[min(leaked)]), len(leaked)))
    if len(leaked) == len(train):
        return Kept(train, notes=[*notes, _ALL])
    import numpy as np

    leaked -= set(_needed(train, leaked, task))
    is_kept = np.ones(len(train), bool)
    is_kept[sorted(leaked)] = False
    kept = part_of(train, is_kept)
    number = len(leaks.equal) + len(leaks.near) - len(leaked)
    last = f", but for {number:,} that no other row has the label of" if number else ""
    return Kept(kept, f"{leaks}: left out of training{last} (data.on_leak=drop)", notes)


def _refused(text: str, number: int) -> Problem:
    rule = "no training row may be in validation or test too"
    got = Verbatim(f"{number:,} {'row' if number == 1 else 'rows'}, e.g. {text[:80]!r}")
    fix = "finesweep check lists them; data.on_leak=drop leaves them out."
    return Problem("data.on_leak", rule, got, fix)


def _numbers(text: str) -> list[str]:
    return re.findall(r"\d+", text)


def _needed(train: Sequence[Row], leaked: set[int], task: Task) -> Iterator[int]:
    """Yield the leaked rows without which a label would have no training row."""
    known = {
        kind
        for number, row in enumerate(train)
        if number not in leaked
        for kind in _kinds(row, task)
    }
    for number in sorted(leaked):
        kinds = _kinds(train[number], task)
        if not kinds <= known:
            known |= kinds
            yield number


def _kinds(row: Row, task: Task) -> set[str]:
    return {task.stratum(row), *task.required(row)}


_ALL = (
    "every training row is also in validation or test, so none is left out: scores show what is "
    "remembered"
)
_INCOMPLETE = (
    "near duplicates between splits were not looked for in more than "
    f"{MAX_CHARACTERS:,} characters, or {MAX_VERIFIED:,} of texts that are alike; finesweep check "
    "looks for more"
)
