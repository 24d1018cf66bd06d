"""How long texts and targets are in tokens, and what a run's limits cut of them.

Counted without a model or torch, through `tokenizers` alone, on a sample of the training rows: at
most `NUM_ROWS`, and no more of them than have `NUM_CHARACTERS`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from lightning_modules.error import UserError
from lightning_modules.model.light import NotLight
from lightning_modules.model.plain import spelled_notes
from lightning_modules.rows.corpus import Corpus, Row
from lightning_modules.run import Run
from lightning_modules.schema import member_of
from lightning_modules.strategy.base import Strategy
from lightning_modules.text.length import MAX_LENGTH, Lengths
from lightning_modules.text.template import own_texts

NUM_ROWS = 2_000
NUM_CHARACTERS = 1_000_000
MUCH = 0.01
"""Above this share of what is cut, the line is a note."""


@dataclass(frozen=True)
class Counted:
    """The tokens of a run's rows.

    Attributes:
        parts: What may be cut.
        num_sampled: Rows that were counted.
        num_rows: All training rows.
        unknown: Why nothing is known; empty if it is.

    """

    parts: tuple[Lengths, ...] = ()
    num_sampled: int = 0
    num_rows: int = 0
    unknown: str = ""

    @property
    def sample(self) -> str:
        """What was counted, in words."""
        if self.num_sampled == self.num_rows:
            return ""
        return f" ({self.num_sampled:,} of {self.num_rows:,} training rows sampled)"


def count_tokens(run: Run, corpus: Corpus, labels: Sequence[str], *, load: bool = False) -> Counted:
    """Return the lengths of what the run's settings may cut; each is counted once per process.

    Args:
        run: The run.
        corpus: Its rows.
        labels: Its labels.
        load: Whether transformers loads a tokenizer that `tokenizers` cannot read, or that is not
            on this machine.

    """
    strategy = type(run.strategy)
    reads_alike = (
        strategy.prepare is Strategy.prepare
        and strategy.light_tokenizer is Strategy.light_tokenizer
    )
    key = (
        corpus.fingerprint,
        len(corpus.splits["train"]),
        repr(run.model),
        "" if reads_alike else repr(run.strategy),
        run.task.cache_key,
    )
    known = _counted()
    if key not in known or (known[key].unknown and load):
        known[key] = _count(run, corpus, labels, load=load)
    return known[key]


def token_lines(
    run: Run, corpus: Corpus, labels: Sequence[str], *, is_auto: bool = False
) -> Iterator[tuple[str, str]]:
    """Yield what the run's settings cut, each after `data`, or after `note` if it is much.

    Args:
        run: The run.
        corpus: Its rows.
        labels: Its labels.
        is_auto: Whether the rows decide, or have decided, `data.max_length`.

    """
    counted = count_tokens(run, corpus, labels)
    length = run.data.max_length
    if counted.unknown:
        until = f"; data.max_length=auto stands for {length} until they are" if is_auto else ""
        yield "data", f"{counted.unknown}{until}"
        return
    if not counted.parts:
        yield "data", f"texts are packed into blocks of data.max_length={length}"
        return
    flat = run.flat()
    for part in counted.parts:
        limit = int(flat[part.key])
        is_much = part.longer(limit) > MUCH
        how = _why(run, part) if is_auto and part.key == MAX_LENGTH else ""
        yield "note" if is_much else "data", part.line(limit, how) + counted.sample


def special_lines(run: Run, corpus: Corpus) -> Iterator[str]:
    """Yield what was guessed of the model's tokens, and how many rows spell special ones."""
    if run.strategy.trains_tokenizer:
        return  # `fit` says it
    tokenizer = run.model.light_tokenizer()
    if tokenizer is not None:
        rows = corpus.splits["train"]
        some = sampled(rows, lambda row: sum(map(len, run.task.texts(row))))
        name = "training rows" if len(some) == len(rows) else "sampled training rows"
        yield from tokenizer.guessed
        yield from spelled_notes(own_texts(some), tokenizer, name)


def model_limit(run: Run) -> int | None:
    """Return the most tokens that the model reads of a text; None if it sets no limit."""
    longest = run.model.max_length
    return None if longest is None else longest - run.strategy.num_virtual_tokens


def _why(run: Run, part: Lengths) -> str:
    limit = run.data.max_length
    if part.holding(0.99) <= limit:
        return "auto"
    if limit == model_limit(run):
        return f"auto: the most that {run.model.name} reads"
    return "auto: the most that the memory holds"


def sampled(rows: Sequence[Row], characters: Any) -> list[Row]:
    """Return rows drawn at random, always the same ones, in their order.

    Args:
        rows: All rows.
        characters: Returns the number of characters of a row.

    """
    order = random.Random(0).sample(range(len(rows)), min(len(rows), NUM_ROWS))
    kept: list[int] = []
    left = NUM_CHARACTERS
    for number in order:
        left -= characters(rows[number])
        if left < 0 and kept:
            break
        kept.append(number)
    return [rows[number] for number in sorted(kept)]


def light_rows(
    run: Run, corpus: Corpus, rows: Sequence[Row], *, load: bool = False
) -> tuple[Any, Sequence[Row]] | None:
    """Return the run's tokenizer, and rows as the model reads them; None if it is not here.

    Raises:
        UserError: The strategy does not fit the rows, or the tokenizer cannot be loaded.

    """
    tokenizer: Any = run.strategy.light_tokenizer(run.model, run.task, rows)
    if tokenizer is None and load:
        tokenizer = _loaded(run, rows)
    if tokenizer is None:
        return None
    strategy = run.strategy.fit_to_rows(run.model, run.task, corpus)
    return tokenizer, strategy.prepare(rows, tokenizer)


def _loaded(run: Run, rows: Sequence[Row]) -> Any:
    """Return the tokenizer after downloading it, if need be by transformers."""
    snapshot = run.model.snapshot()
    if snapshot is not None:
        snapshot.fetch(weights=False)
    light = run.strategy.light_tokenizer(run.model, run.task, rows)
    return run.strategy.load_tokenizer(run.model, run.task, rows) if light is None else light


def _count(run: Run, corpus: Corpus, labels: Sequence[str], *, load: bool) -> Counted:
    rows = corpus.splits["train"]
    if not run.task.may_cut(rows[0]):
        return Counted(num_rows=len(rows))
    some = sampled(rows, lambda row: sum(map(len, run.task.texts(row))))
    try:
        found = light_rows(run, corpus, some, load=load)
        if found is None:
            return Counted(unknown=_unknown(run))
        tokenizer, prepared = found
        parts = tuple(run.task.lengths(prepared, tokenizer, labels))
    except NotLight:
        task = member_of(run.task)
        return Counted(unknown=f"lengths are not known: task={task} needs transformers to count")
    except UserError:  # reported by the checks
        return Counted(unknown="lengths are not known, because the rows do not fit the run")
    return Counted(parts, len(some), len(rows))


def _unknown(run: Run) -> str:
    snapshot = run.model.snapshot()
    if snapshot is not None and snapshot.missing(weights=False):
        return f"lengths are not known: the tokenizer of {run.model.name} is not downloaded yet"
    return f"lengths are not known: {run.model.name} has no tokenizer.json"


@cache
def _counted() -> dict[Any, Counted]:
    """Return what was counted in this process."""
    return {}


def as_json(run: Run, corpus: Corpus, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Return the lengths as plain values, for JSON; nothing if they are not known."""
    counted, flat = count_tokens(run, corpus, labels), run.flat()
    return [
        {
            "what": part.what,
            "limit": part.key,
            "tokens": flat[part.key],
            "share_longer": part.longer(int(flat[part.key])),
            "holds_95": part.holding(0.95),
            "holds_99": part.holding(0.99),
            "sampled": counted.num_sampled,
            "rows": counted.num_rows,
        }
        for part in counted.parts
    ]
