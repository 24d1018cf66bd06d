"""What pruning loses and saves: pruners replayed on recorded runs, in random orders.

    python benchmarks/pruning.py [--quick]

A study takes 12 recorded runs of one strategy on one text, drawn at random, as its trials. For
each rule: in how many studies the trial that would have been chosen without pruning is pruned, what
that costs on held-out rows, and how much of the training is done; one and four parallel workers.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from itertools import groupby
from statistics import mean

import optuna
from pruned.curve import Curve, Group, groups
from pruned.rule import Rule, ours, stock
from pruned.study import Result, replay
from record import load_records

from search.config import build_search, compose
from search.pruner.base import Pruner
from search.pruner.none import NoPruner

NUM_TRIALS = 12
WORKERS = (1, 4)


def product(*words: str) -> Pruner:
    """Return the pruner of the command line."""
    return build_search(compose("sweep", list(words)).tree).pruner


def rules() -> list[Rule]:
    """Return the rules, those of Optuna as it ships them."""
    before = ("search.pruner.compare=metric", "search.pruner.at_equal=examples")
    return [
        ours("none", NoPruner()),
        ours("asha", product("search/pruner=asha")),
        ours("median", product("search/pruner=median")),
        ours("asha by metric at equal examples", product("search/pruner=asha", *before)),
        ours("median by metric at equal examples", product("search/pruner=median", *before)),
        stock("Optuna median", optuna.pruners.MedianPruner),
        stock("Optuna successive halving", optuna.pruners.SuccessiveHalvingPruner),
        stock("Optuna Hyperband", optuna.pruners.HyperbandPruner),
        stock("Optuna Wilcoxon", optuna.pruners.WilcoxonPruner),
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
    return f"{name:36s} {lost:7.1%} {points:8.2f} {budget:8.1%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer studies")
    parser.add_argument("--each", action="store_true", help="a table for each text")
    asked = parser.parse_args()
    num = 10 if asked.quick else 100
    found = list(groups(load_records(), least=2 * NUM_TRIALS))
    tables = [(f"{each.strategy}, {each.text}, {each.num_rows} rows", [each]) for each in found]
    if not asked.each:
        by_strategy = groupby(found, lambda each: each.strategy)
        tables = [(strategy, list(each)) for strategy, each in by_strategy]
    for title, chosen in tables:
        for workers in WORKERS:
            texts = ", ".join(f"{each.text} {each.num_rows}" for each in chosen)
            print(f"\n{title}: {texts}; {NUM_TRIALS} trials, {workers} at once")
            print(f"{'':36s} {'best':>7s} {'points':>8s} {'budget':>8s}")
            print(f"{'rule':36s} {'lost':>7s} {'lost':>8s} {'used':>8s}")
            for rule in rules():
                results = [
                    replay(study, rule, workers)
                    for group in chosen
                    for study in studies(group, num, NUM_TRIALS)
                ]
                print(line(rule.name, results), flush=True)


if __name__ == "__main__":
    main()
