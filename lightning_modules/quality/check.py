"""Check a data set: read it, and look for every finding in its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lightning_modules.data.tabular import Tabular
from lightning_modules.error import DataError, Problem, UserError
from lightning_modules.quality.balance import find_balance
from lightning_modules.quality.broken import Broken
from lightning_modules.quality.conflict import find_conflicts
from lightning_modules.quality.duplicate import find_duplicates
from lightning_modules.quality.finding import Finding
from lightning_modules.quality.listing import Listing, listing_of
from lightning_modules.quality.report import Report
from lightning_modules.rows.corpus import Corpus, Row

if TYPE_CHECKING:
    from lightning_modules.data.base import Data
    from lightning_modules.run import Run
    from lightning_modules.task.base import Task

Say = Callable[[str, int, int], None]
"""Receives what is being done, how much of it is done, and how much there is; 0 if unknown."""


def quiet(doing: str, done: int = 0, total: int = 0) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Reading:
    """Rows as they were read.

    Attributes:
        corpus: The rows that can be used, by split.
        sources: By split that was read, its name and its rows in the order of the file,
            with None for those that cannot be used.
        refused: What cannot be used.

    """

    corpus: Corpus
    sources: Mapping[str, tuple[str, Sequence[Row | None]]]
    refused: Sequence[Problem]


def check_data(run: Run, say: Say = quiet) -> Report:
    """Check the rows of a run's data.

    Rows of the test split are compared with others and counted, and nothing else.

    Args:
        run: The run.
        say: Receives what is being done.

    Raises:
        UserError: No row can be read.

    """
    say("reading the rows", 0, 0)
    reading = read(run.data, run.task)
    findings: list[Finding] = [Broken(reading.refused)]
    listing = listing_of(run.task, reading.corpus.splits, reading.sources)
    findings += quick_findings(listing, say)
    return Report(findings, {})


def quick_findings(listing: Listing, say: Say = quiet) -> list[Finding]:
    """Return what is found in one pass over the rows."""
    if not listing.rows:
        return []
    say("comparing texts", 0, 0)
    findings: list[Finding] = [find_balance(listing), find_duplicates(listing)]
    if listing.has_labels:
        findings.append(find_conflicts(listing))
    return findings


def read(data: Data, task: Task) -> Reading:
    """Read the rows of a data set; those that are refused are left out and listed.

    Raises:
        UserError: A setting is wrong.

    """
    if isinstance(data, Tabular):
        return _read_tables(replace(data, max_train_rows=None), task)
    corpus = data.load(task)
    return Reading(corpus, {split: (split, rows) for split, rows in corpus.splits.items()}, ())


def _read_tables(data: Tabular, task: Task) -> Reading:
    refused: list[Problem] = []
    sources: dict[str, tuple[str, Sequence[Row | None]]] = {}
    load, places = data.reader(task), dict(data.places())
    for split, place in places.items():
        try:
            sources[split] = place, load(split, place)
        except DataError as error:
            refused += error.every
            if error.rest is not None:
                sources[split] = place, error.rest
    splits = {
        split: [row for row in rows if row is not None] for split, (_, rows) in sources.items()
    }
    splits = {split: rows for split, rows in splits.items() if rows}
    if places.keys() != splits.keys():  # a file that cannot be read at all
        return Reading(Corpus(splits), sources, refused)
    try:
        return Reading(data.corpus_of({**splits}, task), sources, refused)
    except UserError as error:
        return Reading(Corpus(splits), sources, [*refused, *error.problems])
