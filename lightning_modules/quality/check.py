"""Check a data set: read it, and look for every finding in its rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lightning_modules.data.leak import OnLeak, without_leaks
from lightning_modules.data.table import Table
from lightning_modules.data.tabular import Tabular, reading_notes
from lightning_modules.error import DataError, Problem, UserError
from lightning_modules.quality.balance import find_balance
from lightning_modules.quality.baseline import Baselines, find_baselines
from lightning_modules.quality.broken import Broken
from lightning_modules.quality.conflict import find_conflicts
from lightning_modules.quality.duplicate import find_duplicates
from lightning_modules.quality.finding import Finding, Say, quiet
from lightning_modules.quality.fragment import MOST_ROWS, Fragments, find_fragments
from lightning_modules.quality.frozen import frozen_features
from lightning_modules.quality.length import Lengths, find_lengths
from lightning_modules.quality.listing import Listing, listing_of
from lightning_modules.quality.near import find_near
from lightning_modules.quality.number import find_numbers
from lightning_modules.quality.report import Report
from lightning_modules.quality.sample import READ, sample
from lightning_modules.quality.script import Scripts, find_scripts
from lightning_modules.quality.shortcut import Shortcuts, find_shortcuts
from lightning_modules.quality.suspect import Suspects, find_suspects
from lightning_modules.rows.columns import listed
from lightning_modules.rows.corpus import Corpus, Row
from lightning_modules.strategy.feature_extraction import POOLED

if TYPE_CHECKING:
    from lightning_modules.data.base import Data
    from lightning_modules.run import Run
    from lightning_modules.task.base import Task

SAMPLED: Sequence[type[Finding]] = (Lengths, Scripts, Shortcuts, Suspects, Baselines)
"""What is looked for in a sample of the rows, if there are many."""


_NOT_QUICK = "near duplicates within a split, wrong labels, shortcuts, scripts, scores to beat"


@dataclass(frozen=True)
class Reading:
    """Rows as they were read.

    Attributes:
        corpus: The rows that can be used, by split.
        sources: By split that was read, its name and its rows in the order of the file,
            with None for those that cannot be used.
        refused: What cannot be used.
        notes: How files were read, and warnings about them.

    """

    corpus: Corpus
    sources: Mapping[str, tuple[str, Sequence[Row | None]]]
    refused: Sequence[Problem]
    notes: Sequence[str] = ()


def check_data(run: Run, say: Say = quiet) -> Report:
    """Check the rows of a run's data.

    Rows of the test split are compared with others and counted, and nothing else.

    Args:
        run: The run, with `strategy=feature_extraction` for the frozen features.
        say: Receives what is being done.

    Raises:
        UserError: No row can be read.

    """
    say("reading the rows", 0, 0)
    reading = read(run.data, run.task)
    findings: list[Finding] = [Broken(reading.refused)]
    listing = listing_of(run.task, reading.corpus.splits, reading.sources)
    if not listing.rows:
        return Report(findings, {"everything else": "no row can be used"}, reading.notes)
    findings += quick_findings(listing, say)
    findings.append(find_near(listing, say))
    left_out: dict[str, str] = {}
    findings += _read_findings(run, listing, left_out, say)
    left_out["languages"] = "scripts are told apart, languages of one script are not"
    return Report(findings, left_out, reading.notes)


def quick_report(corpus: Corpus, task: Task) -> Report:
    """Return what one pass over rows that have been read finds.

    It costs about 5 microseconds per row of 100 characters.
    """
    splits = {split: list(rows) for split, rows in corpus.splits.items()}
    sources = {split: (split, rows) for split, rows in splits.items()}
    findings = quick_findings(listing_of(task, splits, sources))
    return Report(findings, {_NOT_QUICK: "finesweep check looks for them"}, corpus.notes)


def _read_findings(
    run: Run, listing: Listing, left_out: dict[str, str], say: Say
) -> Iterator[Finding]:
    """Yield what is found by reading the training and validation rows word by word."""
    numbers = sample(listing)
    num_all = len(listing.numbers(*READ))
    if not numbers:
        return
    if len(numbers) < num_all:
        names = ", ".join(each.name for each in SAMPLED)
        left_out[names] = f"looked for in {len(numbers):,} of {num_all:,} rows, drawn at random"
    say("reading texts", 0, 0)
    yield find_lengths(listing, numbers)
    yield find_scripts(listing, numbers)
    yield find_shortcuts(listing, numbers)
    try:
        run.model.check()
        part = sample(listing, MOST_ROWS)
        rows = [listing.rows[number] for number in part]
        tokenizer = run.strategy.load_tokenizer(run.model, run.task, rows)
    except UserError as error:
        left_out[Fragments.name] = str(error.problems[0])
    else:
        fragments = find_fragments(listing, part, tokenizer, run.model.name)
        yield from [] if fragments is None else [fragments]
        if len(part) < len(numbers):
            left_out[Fragments.name] = f"looked for in {len(part):,} rows, drawn at random"
    if listing.has_classes or listing.has_numbers:
        yield from _model_findings(run, listing, numbers, left_out, say)
    else:
        left_out[f"{Suspects.name}, {Baselines.name}"] = (
            "they need one label of a few, or a number, per text"
        )


def _model_findings(
    run: Run, listing: Listing, numbers: Sequence[int], left_out: dict[str, str], say: Say
) -> Iterator[Finding]:
    """Yield what simple models of the rows say."""
    features = None
    if run.task.auto_class == POOLED:
        try:
            rows = [listing.rows[number] for number in numbers]
            labels = {str(listing.labels[n]) for n in numbers} if listing.has_classes else ()
            features = frozen_features(run, rows, sorted(labels), say)
        except UserError as error:
            left_out["frozen features"] = str(error.problems[0])
    else:  # e.g. similarity
        left_out["frozen features"] = "the task embeds each text on its own"
    if listing.has_numbers:
        left_out[Suspects.name] = "they need one label of a few per text"
    elif (suspects := find_suspects(listing, numbers, features, say)) is not None:
        yield suspects
    else:
        left_out[Suspects.name] = (
            "they need two classes of 5 rows, and models that are better than guessing"
        )
    baselines = find_baselines(listing, numbers, features, say)
    yield from [] if baselines is None else [baselines]


def quick_findings(listing: Listing, say: Say = quiet) -> list[Finding]:
    """Return what is found in one pass over the rows."""
    if not listing.rows:
        return []
    say("comparing texts", 0, 0)
    findings: list[Finding] = [find_balance(listing), find_duplicates(listing)]
    if listing.has_labels:
        findings.append(find_conflicts(listing))
    numbers = find_numbers(listing) if listing.has_numbers else None
    return findings if numbers is None else [*findings, numbers]


def read(data: Data, task: Task) -> Reading:
    """Read the rows of a data set; those that are refused are left out and listed.

    Raises:
        UserError: A setting is wrong.

    """
    if isinstance(data, Tabular):
        return _read_tables(data, task)
    corpus = data.load(task)
    # A row is found again by its identity, so it must not be made again.
    splits = {split: listed(rows) for split, rows in corpus.splits.items()}
    sources = {split: (split, rows) for split, rows in splits.items()}
    return Reading(replace(corpus, splits=splits), sources, (), corpus.notes)


def _read_tables(data: Tabular, task: Task) -> Reading:
    refused: list[Problem] = []
    sources: dict[str, tuple[str, Sequence[Row | None]]] = {}
    tables: list[Table] = []
    said: list[str] = []
    opened, places = data.opener(task), dict(data.places())
    for split, place in places.items():
        try:
            found = opened(split, place)
            # The rows as they are in the file need as much memory as the checked ones.
            tables += (replace(table, rows=(), lines=()) for table in found)
            # A row is found again by its identity, so it must not be made again.
            sources[split] = str(place), list(data.rows_of(found, task, said))
        except DataError as error:
            refused += error.every
            if error.rest is not None:
                sources[split] = str(place), error.rest
    splits = {
        split: [row for row in rows if row is not None] for split, (_, rows) in sources.items()
    }
    splits = {split: rows for split, rows in splits.items() if rows}
    notes = [*reading_notes(tables), *said]
    corpus = Corpus(splits)
    if places.keys() == splits.keys():  # else a file cannot be read at all
        try:
            corpus = _whole(data).corpus_of({**splits}, task)
            _refuse(data, splits, task)
            notes += _leak_notes(corpus, data, task)
        except UserError as error:
            refused += error.problems
    return Reading(corpus, sources, refused, notes)


def _whole(data: Tabular) -> Tabular:
    """Return the data with all of its training rows."""
    return replace(data, max_train_rows=None, on_leak=OnLeak.keep)


def _leak_notes(corpus: Corpus, data: Tabular, task: Task) -> Iterator[str]:
    """Yield what `data.on_leak` makes of training rows that are in another split too."""
    if data.on_leak is OnLeak.drop:
        kept = without_leaks(corpus.splits, task, data.on_leak)
        yield from filter(None, (kept.left_out, *kept.notes))


def _refuse(data: Tabular, splits: Mapping[str, Sequence[Row]], task: Task) -> None:
    """Raise what a sweep refuses when it takes a part of the training rows."""
    is_error = data.on_leak is OnLeak.error
    if is_error or data.max_train_rows is not None:
        on_leak = data.on_leak if is_error else OnLeak.keep
        replace(data, on_leak=on_leak).corpus_of({**splits}, task)
