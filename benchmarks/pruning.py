"""What pruning loses and saves: pruners replayed on recorded runs, in random orders.

    python benchmarks/pruning.py [--quick]

A study takes 12 recorded runs of one strategy on one text, drawn at random, as its trials. For
each rule: in how many studies the trial that would have been chosen without pruning is pruned, what
that costs on held-out rows, and how much of the training is done. A trial is chosen by its best
accuracy, or by its best Brier score; one or four trials train at once.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from itertools import groupby
from statistics import mean

import optuna
from pruned.curve import Curve, Group, groups
from pruned.rule import BeforeJudge, Rule, ours, stock
from pruned.study import CHOICES, Result, replay
from record import load_records

from search.config import compose
from search.plan.build import build_plan
from search.pruner.base import Pruner
from search.pruner.none import NoPruner

NUM_TRIALS = 12
WORKERS = (1, 4)


def product(*words: str) -> Pruner:
    """Return the pruner of the command line."""
    return build_plan(compose("sweep", ["study=replayed", *words])).search.pruner


def compare(names: str) -> str:
    """Return the override by which a pruner compares other values."""
    return f"search.pruner.compare=[{names}]"


def rules() -> list[Rule]:
    """Return the rules, those of Optuna as it ships them."""
    asha, median = "search/pruner=asha", "search/pruner=median"
    fifth, start = "search.pruner.min_fraction=0.2", "search.pruner.min_fraction=0"
    return [
        ours("none", NoPruner()),
        ours("asha", product(asha)),
        ours("asha, from a fifth", product(asha, fifth)),
        ours("asha, from the start", product(asha, start)),
        ours("asha, loss", product(asha, compare("validation_loss"))),
        ours("asha, metric", product(asha, compare("metric"))),
        ours("asha, loss and metric", product(asha, compare("validation_loss,metric"))),
        ours("the same, from a fifth", product(asha, compare("validation_loss,metric"), fifth)),
        ours("asha, Brier and metric", product(asha, compare("brier,metric"))),
        ours("median", product(median)),
        ours("median, after equal steps", product(median, "search.pruner.at_equal=steps")),
        Rule("asha as it was", BeforeJudge),
        stock("Optuna median", optuna.pruners.MedianPruner),
        stock("Optuna successive halving", optuna.pruners.SuccessiveHalvingPruner),
        stock("Optuna Hyperband", optuna.pruners.HyperbandPruner),
        stock("Optuna Wilcoxon", lambda: optuna.pruners.WilcoxonPruner(p_threshold=0.1)),
    ]


def studies(group: Group, num: int, num_trials: int) -> Iterator[Sequence[Curve]]:
    """Yield studies of recorded runs drawn at random, in random order."""
    draw = random.Random(f"{group.strategy} {group.text} {group.num_rows}")
    for _ in range(num):
        yield draw.sample(list(group.curves), min(num_trials, len(group.curves)))


def line(name: str, results: Sequence[Result]) -> str:
    """Return a rule's line of the table."""
    lost = mean(result.lost_best for result in results)
    points = mean(result.lost_points for result in results)
    budget = mean(result.budget for result in results)
    return f"{name:28s} {lost:8.1%} {points:8.2f} {budget:8.1%}"


def table(chosen: Sequence[Group], choice: str, num_workers: int, num_studies: int) -> None:
    """Print a table."""
    texts = ", ".join(f"{each.text} ({len(each.curves)} runs)" for each in chosen)
    strategy, num_rows = chosen[0].strategy, chosen[0].num_rows
    print(f"\n{strategy}, {num_rows} rows: {texts}")
    print(f"{NUM_TRIALS} trials, {num_workers} at once; chosen by the {choice}")
    print(f"{'':28s} {'the best':>8s} {'points':>8s} {'budget':>8s}")
    print(f"{'rule':28s} {'is lost':>8s} {'lost':>8s} {'used':>8s}")
    for rule in rules():
        results = [
            replay(study, rule, num_workers, choice)
            for group in chosen
            for study in studies(group, num_studies, NUM_TRIALS)
        ]
        print(line(rule.name, results), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer studies, one trial at once")
    parser.add_argument("--each", action="store_true", help="a table for each text")
    asked = parser.parse_args()
    found = list(groups(load_records(), least=NUM_TRIALS + 3))
    if not found:
        print("too few runs are recorded")
    key = (lambda each: each) if asked.each else lambda each: (each.strategy, each.num_rows)
    for _, chosen in groupby(sorted(found, key=lambda each: (each.strategy, each.num_rows)), key):
        members = list(chosen)
        for choice in CHOICES:
            for num_workers in WORKERS[:1] if asked.quick else WORKERS:
                table(members, choice, num_workers, 10 if asked.quick else 25)


if __name__ == "__main__":
    main()
