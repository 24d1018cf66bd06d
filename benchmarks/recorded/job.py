"""Which runs are recorded, those first that are wanted most.

A family is one learning rate, batch size and seed, trained to several lengths. Under the default
schedule (warm-up, stable, decay) a longer run begins as the shorter ones do, so that a family
costs little more than its longest run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

ALL_TEXTS = ("sst2", "cola", "ag_news_raw", "reviews")
SMALL, LARGER, LARGER_TEXT = 400, 1000, "sst2"
"""Rows of a user's file; the larger file is of one text alone."""


@dataclass(frozen=True)
class Plan:
    """What is recorded of a strategy.

    Attributes:
        lr: Ends of the range of learning rates, which are drawn on a log scale.
        defaults: Learning rates of the first families, at batch size 16.
        lengths: Epochs of a family's runs.
        longest: Epochs of one run more in some families.
        longest_every: One family in so many has it, from the first one on.
        num_families: How many there are of each text.
        num_larger: How many there are with the larger file.
        texts: Which texts.
        validations_per_epoch: As the setting of this name.
        num_true_rows: Rows of the truth that are scored, the first ones of the text's.
        scored_epochs: The validations at which each of these rows' answers is kept, besides the
            last one of each run.
        num_seconds: How many of the first families are trained with a second seed.
        scores_all: Whether the truth's mean scores are taken at all validations.

    """

    lr: tuple[float, float]
    defaults: tuple[float, ...]
    lengths: tuple[int, ...]
    longest: int
    longest_every: int
    num_families: int
    num_larger: int
    texts: tuple[str, ...]
    validations_per_epoch: int
    num_true_rows: int
    scored_epochs: tuple[float, ...]
    num_seconds: int
    scores_all: bool = False

    def points(self) -> list[tuple[float, int]]:
        """Return learning rates and batch sizes; those drawn are a scrambled Sobol sequence."""
        from scipy.stats import qmc

        low, high = self.lr
        drawn = qmc.Sobol(2, seed=0).random_base2(6).tolist()
        points = [(lr, 16) for lr in self.defaults]
        for rate, size in drawn:
            lr = float(f"{low * (high / low) ** rate:.4g}")
            points.append((lr, (8, 16, 32)[int(3 * size)]))
        return points[: self.num_families]


PLANS = {
    "feature_extraction": Plan(
        lr=(3e-4, 1e-1),
        defaults=(1e-2,),
        lengths=(3, 10),
        longest=30,
        longest_every=4,
        num_families=40,
        num_larger=12,
        texts=ALL_TEXTS,
        validations_per_epoch=1,
        num_true_rows=2000,
        scored_epochs=(2, 6, 16),
        num_seconds=3,
        scores_all=True,
    ),
    "lora": Plan(
        lr=(2e-4, 5e-3),
        defaults=(1e-3,),
        lengths=(3, 6),
        longest=10,
        longest_every=1,
        num_families=20,
        num_larger=8,
        texts=ALL_TEXTS[:3],
        validations_per_epoch=2,
        num_true_rows=1000,
        scored_epochs=(2, 4),
        num_seconds=4,
    ),
    "full": Plan(
        lr=(2e-5, 6e-4),
        defaults=(2e-4, 1e-4),
        lengths=(3, 6),
        longest=10,
        longest_every=1,
        num_families=20,
        num_larger=8,
        texts=ALL_TEXTS[:3],
        validations_per_epoch=2,
        num_true_rows=1000,
        scored_epochs=(2, 4),
        num_seconds=4,
    ),
}
FROZEN, TRAINED = ("feature_extraction",), ("lora", "full")


@dataclass(frozen=True)
class Family:
    """Runs that differ in their length alone."""

    strategy: str
    text: str
    num_rows: int
    point: int
    seed: int
    lr: float
    batch_size: int
    lengths: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"{self.strategy}-{self.text}-{self.num_rows}-{self.point:02d}-{self.seed}"

    def run_name(self, epochs: int) -> str:
        return f"{self.name}-{epochs:02d}"


def families() -> Iterator[Family]:
    """Yield all families, in an order of which every prefix is a balanced set."""
    for strategies in (FROZEN, TRAINED):
        yield from _small(
            strategies, seed=0, numbers=[PLANS[each].num_families for each in strategies]
        )
        yield from _small(
            strategies, seed=1, numbers=[PLANS[each].num_seconds for each in strategies]
        )
        yield from _larger(strategies)


def _small(strategies: Sequence[str], seed: int, numbers: Sequence[int]) -> Iterator[Family]:
    for point in range(max(numbers)):
        for text in PLANS[strategies[0]].texts:
            for strategy, number in zip(strategies, numbers, strict=True):
                if point < number:
                    yield _family(strategy, text, SMALL, point, seed)


def _larger(strategies: Sequence[str]) -> Iterator[Family]:
    for point in range(max(PLANS[each].num_larger for each in strategies)):
        for strategy in strategies:
            yield _family(strategy, LARGER_TEXT, LARGER, point, seed=0)


def _family(strategy: str, text: str, num_rows: int, point: int, seed: int) -> Family:
    plan = PLANS[strategy]
    lr, batch_size = plan.points()[point]
    lengths = plan.lengths if point % plan.longest_every else (*plan.lengths, plan.longest)
    return Family(strategy, text, num_rows, point, seed, lr, batch_size, lengths)
