"""How long runs are: as many epochs as the rows need for enough optimizer steps.

With few rows an epoch has few steps, and below a number of steps that depends on the strategy
(`steps` in `conf/prior.yaml`, here S) a network does not leave the level of guessing. With s(b)
steps an epoch in batches of b, b the default and B the largest batch size,

    shortest = S / s(B)  default = 2 S / s(b), at least E  longest = 1.5 S / s(B), at least E + 1

rounded up, so that no trial of the default space ends below S steps. E is 2, or what `epochs` in
`conf/prior.yaml` has for the task. With many rows and E = 2 this is 1, 2 and 3.

If the number of rows is searched too, `trainer.epochs: auto` follows from the rows of each trial. A
searched `trainer.epochs` has one range for all, which suits the fewest rows.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace

from lightning_modules.error import UserError
from lightning_modules.rows.corpus import Corpus
from lightning_modules.run import Run
from search.config import Arm, Composition, build_run, parse_range
from search.config.length import EPOCHS, RANGE, ROWS, TOKENS, VALUE, epochs_at
from search.space.space import Parameter

BATCH_SIZE = "data.batch_size"


@dataclass(frozen=True)
class Length:
    """What a number of rows means for the length of runs.

    Attributes:
        num_rows: Number of training rows.
        batch_size: The default batch size.
        largest: The largest batch size.
        steps: Optimizer steps that a run needs at least.
        usual: Epochs of the default run with many rows.

    """

    num_rows: int
    batch_size: int
    largest: int
    steps: int
    usual: int = 2

    def steps_per_epoch(self, batch_size: int | None = None) -> int:
        """Return the steps of an epoch, in batches of the default size unless one is given."""
        return max(math.ceil(self.num_rows / (batch_size or self.batch_size)), 1)

    @property
    def shortest(self) -> int:
        """Epochs of the shortest run: enough steps in the largest batches."""
        return max(math.ceil(self.steps / self.steps_per_epoch(self.largest)), 1)

    @property
    def default(self) -> int:
        """Epochs of the default run.

        >>> [Length(rows, 16, 32, 50).default for rows in (280, 600, 2000)]
        [6, 3, 2]
        """
        return max(math.ceil(2 * self.steps / self.steps_per_epoch()), self.shortest, self.usual)

    @property
    def longest(self) -> int:
        """Epochs of the longest run.

        >>> few, many = Length(280, 16, 32, 50), Length(2000, 16, 32, 50)
        >>> few.shortest, few.longest, many.shortest, many.longest
        (6, 9, 1, 3)
        """
        return max(
            math.ceil(1.5 * self.steps / self.steps_per_epoch(self.largest)),
            self.default,
            self.usual + 1,
        )


def read_rows(composition: Composition) -> Corpus | None:
    """Return the rows if they decide a length; None if not, or if they cannot be read.

    `check_study` and `check_run` report what is wrong with them. A loop of the caller's own has
    rows of its own.
    """
    is_asked = composition.tree.get("search", {}).get("ask_tell", False)
    if is_asked or not any(arm.open for arm in composition.arms):
        return None
    try:
        run = build_run(composition.tree)
        return run.data.load(run.task)
    except UserError:
        return None


def with_length(composition: Composition, corpus: Corpus | None) -> Composition:
    """Return the composition with the lengths that its rows decide; None leaves it as it is."""
    if corpus is None:
        return composition
    num_rows = len(corpus.splits["train"])
    return replace(composition, arms=tuple(_settled(arm, num_rows) for arm in composition.arms))


def length_of(arm: Arm, run: Run, num_rows: int) -> Length | None:
    """Return the length of an arm's runs; None if it does not train or its rows are packed."""
    if not run.strategy.trains or run.task.packs_rows or not arm.steps:
        return None
    size = run.data.batch_size
    largest = max(_ends(arm, run, BATCH_SIZE) or [size])
    return Length(num_rows, size, int(largest), arm.steps, arm.epochs)


def length_lines(arm: Arm, run: Run, num_rows: int) -> Iterator[str]:
    """Yield how long the runs of an arm are, e.g. `280 rows in batches of 16: 18 steps ...`."""
    length = length_of(arm, run, num_rows)
    if length is None:
        return
    ends = dict.fromkeys(_ends(arm, run, EPOCHS) or [run.trainer.epochs])
    span, steps, size = (
        " to ".join(f"{end:g}" for end in ends),
        length.steps_per_epoch(),
        length.batch_size,
    )
    line = (
        f"{num_rows:,} rows in batches of {size}: {steps} step{'s' * (steps != 1)} an epoch; "
        f"{span} epoch{'s' * (span != '1')}"
    )
    fewest = _fewest(arm, run, num_rows)
    if RANGE in arm.decided and fewest < num_rows:
        line += f", which suits {ROWS}={fewest}"
    yield line
    if arm.lengths and fewest < num_rows:
        epochs = epochs_at(arm.lengths, fewest)
        yield f"{ROWS}={fewest}: {epochs} epochs; other numbers of rows the epochs that suit them"


def short_notes(arm: Arm, run: Run, num_rows: int) -> Iterator[str]:
    """Yield a note if the shortest run of an arm has fewer steps than its strategy needs."""
    fewest = num_rows if arm.lengths else _fewest(arm, run, num_rows)
    length = length_of(arm, run, fewest)
    if length is None:
        return
    epochs = int(min(_ends(arm, run, EPOCHS) or [run.trainer.epochs]))
    steps, limit = epochs * length.steps_per_epoch(length.largest), run.trainer.max_steps
    needs = f"{run.flat()['strategy']} needs about {length.steps}"
    if limit is not None and limit < length.steps:
        yield f"trainer.max_steps={limit}, but {needs}"
    elif steps < length.steps:
        rows = f"{ROWS}={fewest} and " if fewest < num_rows else ""
        yield (
            f"{rows}{EPOCHS}={epochs} in batches of {length.largest} are {steps} steps; {needs}, "
            f"i.e. {EPOCHS}={length.shortest}"
        )


def _settled(arm: Arm, num_rows: int) -> Arm:
    asked = tuple(what for what in arm.open if what != TOKENS)
    if not asked:
        return arm
    others = tuple(what for what in arm.open if what == TOKENS)
    try:
        run = build_run(arm.tree)
    except UserError:
        return arm  # reported by `build_plan`
    length, few = (length_of(arm, run, n) for n in (num_rows, _fewest(arm, run, num_rows)))
    if length is None or few is None:
        return replace(arm, open=others)
    tree, words, lengths = arm.tree, arm.words, arm.lengths
    if RANGE in arm.open:
        text = f"range({few.shortest}, {few.longest + 1})"
        search = {**tree["search"], "space": {**arm.space, EPOCHS: text}}
        tree = {**tree, "search": search}
    if VALUE in arm.open:
        epochs = length.default
        if RANGE in arm.open:
            epochs = min(max(epochs, few.shortest), few.longest)
        elif (searched := searched_at(arm, run, EPOCHS)) is not None:
            epochs = nearest(searched, epochs)
        tree = {**tree, "trainer": {**tree["trainer"], "epochs": epochs}}
        if EPOCHS not in arm.space:
            # Composed again as one run, the batch size may be another, and so the length.
            words = (*words, f"{EPOCHS}={epochs}")
            lengths = _lengths(arm, run, length) if ROWS in arm.space else ()
    return replace(arm, tree=tree, words=words, open=others, decided=asked, lengths=lengths)


def _lengths(arm: Arm, run: Run, length: Length) -> tuple[tuple[int, int], ...]:
    """Return from how many rows on a run has how many epochs, for all that a trial may have."""

    def epochs(rows: int) -> int:
        return replace(length, num_rows=rows).default

    # More rows than there are mean all of them, unless the default is a part of them.
    is_part = run.flat().get(ROWS) is not None
    most = int(max([length.num_rows, *(_ends(arm, run, ROWS) if is_part else ())]))
    pairs, rows = [], 1
    while rows <= most:
        now = epochs(rows)
        pairs.append((rows, now))
        rows += bisect_left(range(rows, most + 1), x=True, key=lambda n: epochs(n) < now)
    return tuple(pairs)


def _fewest(arm: Arm, run: Run, num_rows: int) -> int:
    """Return the number of training rows of the trial with the fewest."""
    return int(min([num_rows, *_ends(arm, run, ROWS)]))


def _ends(arm: Arm, run: Run, path: str) -> list[float]:
    """Return the smallest and the largest number that the arm searches at a path; else nothing."""
    searched = searched_at(arm, run, path)
    corners = () if searched is None else searched.corners
    numbers = [each for each in corners if isinstance(each, int | float)]
    return [min(numbers), max(numbers)] if numbers else []


def searched_at(arm: Arm, run: Run, path: str) -> Parameter | None:
    """Return what the arm searches at a path; None if it does not, or if it is not a range."""
    text = arm.space.get(path)
    if text is None:
        return None
    try:
        return Parameter(path, path, text, parse_range(path, text, run.flat().get(path)))
    except UserError:
        return None  # reported by `build_plan`


def nearest(searched: Parameter, wanted: int) -> int:
    """Return the whole number of the range that is nearest; of two, the smaller."""
    numbers = [each for each in searched.values or () if isinstance(each, int)]
    return min(numbers, key=lambda each: abs(each - wanted), default=wanted)
