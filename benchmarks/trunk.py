"""Trials that differ in their length alone share a trunk: how often, and would it pay to have more.

    python benchmarks/trunk.py            # 20 studies of each text, 400 with random draws
    python benchmarks/trunk.py --quick    # 4 and 100

Under warm-up, stable, decay a longer run begins as a shorter one does, so both could be trained
from one checkpoint. First it is counted how many trials of a study with the default space and the
default sampler differ from an earlier one in their length alone, which share of the training they
would not do, and how many would be so if rates within 1 % were equal.

Then studies are replayed on recorded runs (`benchmarks/records`), in four ways:

- alone: each trial has the one length that the sampler chose, as in the product;
- shared: the same, but trials that differ in their length alone share their trunk;
- offered: each trial is trained to all lengths of its trunk;
- offered to the best: only a trial that is the best so far is.

A suggestion is answered by the nearest recorded run, and the sampler is told every result. Nothing
is pruned. Prints, for studies that train as much as 4, 8 and 16 default runs, by how much the Brier
score of the best run is above the best of all recorded ones (in hundredths), and its accuracy on
rows that no run saw below the best one (in points), with the difference to alone and its standard
error over the studies.
"""

from __future__ import annotations

import math
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from finetune_parts.landscape import EPOCHS, Landscape, Recorded, landscapes
from finetune_parts.replay import plan_of, store
from record import load_records
from recorded.text import Place
from shared_parts.argument import parser_of
from shared_parts.data import DATA, is_there

from search.config import compose
from search.plan.build import build_plan
from search.plan.length import read_rows, with_length
from search.plan.opening import LEARNING_RATE
from search.plan.plan import Plan
from search.sampler.base import seeded_sampler
from search.space.key import canonical_key
from search.study.suggest import candidates, waiting_trial

COUNTED = (12, 40, 100)
NEAR = 0.01
DECAY = 0.2
"""`schedule.decay_fraction` of the recorded runs, the default."""
BUDGETS = (4, 8, 16)
ALONE, SHARED, OFFERED, BEST = "alone", "shared", "offered", "offered to the best"
WAYS = (ALONE, SHARED, OFFERED, BEST)
NUM_STUDIES = {"bayes": (20, 4), "random": (400, 100)}
LENGTHS: Mapping[str, Sequence[tuple[int, ...]]] = {
    "lora": ((6, 10), (3, 6, 10)),
    "full": ((6, 10), (3, 6, 10)),
    "feature_extraction": ((3, 10),),
}
"""Those recorded lengths that the default space has, and all that every family has."""


@dataclass(frozen=True)
class Trained:
    """A run that a study trained.

    Attributes:
        spent: Epochs that the study has trained when it ends.
        brier: Its best Brier score.
        truth: Its accuracy on rows that no run saw.

    """

    spent: float
    brier: float
    truth: float


def brier(run: Recorded) -> float:
    """Return the best Brier score of a run's validations."""
    return min(-mark.values["brier"] for mark in run.marks)


def stable(epochs: float) -> float:
    """Return the epochs of a run before its learning rate falls."""
    return epochs * (1 - DECAY)


class Trunks:
    """The trunks of a study, with a checkpoint of each where a run of any length would decay.

    Args:
        lengths: The epochs that runs may have.

    """

    def __init__(self, lengths: Sequence[float]) -> None:
        self._lengths = lengths
        self._reached: dict[str, float] = {}

    def saved(self, values: Mapping[str, Any]) -> float:
        """Return the epochs that a run need not train; its trunk is there from now on."""
        key = canonical_key({path: value for path, value in values.items() if path != EPOCHS})
        reached, own = self._reached.get(key, 0.0), stable(values[EPOCHS])
        self._reached[key] = max(reached, own)
        kept = (stable(each) for each in self._lengths)
        return max((each for each in kept if each <= min(reached, own)), default=0.0)


class Replay:
    """A study whose suggestions are answered by the nearest recorded run.

    Args:
        plan: Its plan.
        landscape: The recorded runs.
        seed: The seed of its sampler.

    """

    def __init__(self, plan: Plan, landscape: Landscape, seed: int) -> None:
        settings = replace(plan.search.settings, seed=seed)
        self._plan = replace(plan, search=replace(plan.search, settings=settings))
        self._landscape = landscape
        self._taken: set[str] = set()
        self._num_chosen = 0
        self._study = optuna.create_study(
            sampler=seeded_sampler(
                plan.search.sampler,
                plan.space,
                self._plan.sampler_seed,
                defaults=plan.defaults_of_arms,
            )
        )

    def choose(self) -> dict[str, Any]:
        """Return the values of the next trial, and tell its result."""
        first, number = self._plan.first, self._num_chosen
        self._num_chosen += 1
        return self.train(first[number] if number < len(first) else {})

    def train(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a trial that has these ones, and tell its result."""
        study, plan, taken = self._study, self._plan, self._taken
        study.add_trial(waiting_trial(plan.space, wanted))
        trial = study.ask()
        drafts = candidates(study, trial._trial_id, plan, taken.__contains__)
        values = next(each for each in drafts if canonical_key(each) not in taken)
        taken.add(canonical_key(values))
        store(study, trial._trial_id, plan, values)
        study.tell(trial, brier(self._landscape.nearest(values)))
        return values

    def is_new(self, values: Mapping[str, Any]) -> bool:
        """Return whether no trial has these values."""
        return canonical_key(values) not in self._taken


def replayed(
    landscape: Landscape, plan: Plan, lengths: Sequence[int], seed: int, way: str, budget: float
) -> list[Trained]:
    """Return the runs of a study that may train so many epochs."""
    replay, trunks = Replay(plan, landscape, seed), Trunks(lengths)
    trained: list[Trained] = []

    def add(values: Mapping[str, Any]) -> bool:
        run = landscape.nearest(values)
        before = trained[-1].spent if trained else 0.0
        saved = 0.0 if way == ALONE else trunks.saved(values)
        is_best = all(brier(run) < each.brier for each in trained)
        trained.append(Trained(before + values[EPOCHS] - saved, brier(run), run.truth))
        return is_best

    while not trained or trained[-1].spent < budget:
        values = replay.choose()
        is_best = add(values)
        if way == OFFERED or (way == BEST and is_best):
            for length in lengths:
                further = {**values, EPOCHS: length}
                if replay.is_new(further):
                    add(replay.train(further))
    return trained


def regret(trained: Sequence[Trained], landscape: Landscape, budget: float) -> tuple[float, float]:
    """Return by how much the best run within the budget is worse than the best recorded ones."""
    inside = [each for each in trained if each.spent <= budget] or trained[:1]
    best = min(inside, key=lambda each: each.brier)
    lost = max(run.truth for run in landscape.runs) - best.truth
    return 100 * (best.brier - min(map(brier, landscape.runs))), 100 * lost


def counted(strategy: str, rows: Path, num_studies: int) -> Iterator[str]:
    """Yield how many trials of default studies have a trunk in common, by number of trials."""
    words = ["study=replayed", "model=minilm", "data=files", f"data.train={rows}", "logger=none"]
    words += [f"strategy={strategy}", f"search.num_trials={COUNTED[-1]}"]
    composition = compose("sweep", words)
    plan = build_plan(with_length(composition, read_rows(composition)))
    epochs: Any = plan.space.arms[()][EPOCHS].distribution
    lengths = range(epochs.low, epochs.high + 1)
    equal, near, saved = ({num: [] for num in COUNTED} for _ in range(3))
    for landscape in landscapes(load_records(), strategy):
        for seed in range(num_studies):
            replay = Replay(plan, landscape, seed)
            asked = [replay.choose() for _ in range(COUNTED[-1])]
            for num in COUNTED:
                trunks = Trunks(lengths)
                equal[num].append(num_sharing(asked[:num], 0))
                near[num].append(num_sharing(asked[:num], NEAR))
                whole = sum(values[EPOCHS] for values in asked[:num])
                saved[num].append(sum(map(trunks.saved, asked[:num])) / whole)
    for num in COUNTED:
        yield (
            f"{strategy}, {num:3d} trials: {statistics.fmean(equal[num]):.1f} share a trunk, which "
            f"saves {statistics.fmean(saved[num]):.1%} of the training; "
            f"{statistics.fmean(near[num]):.1f} if rates within {NEAR:.0%} were equal"
        )


def num_sharing(trials: Sequence[Mapping[str, Any]], tolerance: float) -> int:
    """Return how many trials differ from an earlier one in their length alone."""

    def is_alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        rates = abs(math.log(one[LEARNING_RATE] / other[LEARNING_RATE])) <= math.log1p(tolerance)
        rest = one.keys() - {LEARNING_RATE, EPOCHS}
        same = all(one[path] == other[path] for path in rest)
        return rates and same and one[EPOCHS] != other[EPOCHS]

    return sum(
        any(is_alike(trial, other) for other in trials[:number])
        for number, trial in enumerate(trials)
    )


def table(
    strategy: str, lengths: Sequence[int], sampler: str, num_studies: int, rows: Path
) -> None:
    """Print what each way loses with a sampler."""
    chosen = f"trainer.epochs=choice({','.join(map(str, lengths))})"
    plan = plan_of(strategy, rows, chosen, f"search/sampler={sampler}")
    default = plan.first[0][EPOCHS]
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for whole in landscapes(load_records(), strategy, in_space=False):
        landscape = replace(whole, runs=[r for r in whole.runs if r.values[EPOCHS] in lengths])
        for seed in range(num_studies):
            for way in WAYS:
                trained = replayed(landscape, plan, lengths, seed, way, BUDGETS[-1] * default)
                for budget in BUDGETS:
                    lost = regret(trained, landscape, budget * default)
                    found.setdefault((way, budget), []).append(lost)
    print(f"\n{strategy}, lengths {', '.join(map(str, lengths))}, {sampler}: Brier score, accuracy")
    print(f"{'':20s}" + "".join(f"{f'{budget} default runs':>44s}" for budget in BUDGETS))
    for way in WAYS:
        cells = [cell(found[way, budget], found[ALONE, budget]) for budget in BUDGETS]
        print(f"{way:20s}" + "".join(f"{each:>44s}" for each in cells), flush=True)


def cell(lost: Sequence[tuple[float, float]], alone: Sequence[tuple[float, float]]) -> str:
    """Return the means, and the mean difference to alone with its standard error."""
    texts = []
    for own, other in zip(zip(*lost, strict=True), zip(*alone, strict=True), strict=True):
        less = [a - b for a, b in zip(own, other, strict=True)]
        error = statistics.stdev(less) / math.sqrt(len(less))
        texts.append(f"{statistics.fmean(own):.2f} ({statistics.fmean(less):+.2f} ± {error:.2f})")
    return "  ".join(texts)


def main() -> int:
    parser = parser_of(__doc__, "fewer studies")
    asked = parser.parse_args()
    if not is_there(DATA):
        return 0
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        rows = Place(Path(folder).resolve(), DATA).rows_file("sst2", 400)
        num = NUM_STUDIES["bayes"][asked.quick]
        print(f"default space and sampler, mean of {num} studies of each text")
        for strategy in ("lora", "full"):
            print("\n".join(counted(strategy, rows, num)), flush=True)
        for strategy, choices in LENGTHS.items():
            for lengths in choices:
                for sampler, numbers in NUM_STUDIES.items():
                    table(strategy, lengths, sampler, numbers[asked.quick], rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
