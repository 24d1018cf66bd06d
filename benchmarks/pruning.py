"""What pruning loses and saves: pruners replayed on recorded runs, in random orders.

    python benchmarks/pruning.py [--quick] [--each]
    python benchmarks/pruning.py --parts [--quick]

A study takes 12 recorded runs of one strategy on one text, drawn at random, as its trials. For
each rule: in how many studies the trial that would have been chosen without pruning is pruned, what
that costs on held-out rows, and how much of the training is done. A trial is chosen by its best
Brier score, as in the product, or by its best accuracy; one or four trials train at once.

The default should lose at most 5 % of the best trials and need at most 70 % of the training, chosen
by the Brier score and one trial at once. It is printed for each strategy whether it does, and if it
misses one of the two, the exit code is 1.

`--parts` shows what the default would do if it compared trials by a fixed part of the validation
rows, with as many of each class; a trial is still chosen by all of them.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from statistics import mean

import optuna
from pruned.curve import Curve, Group, groups
from pruned.rule import BeforeJudge, Rule, ours, stock
from pruned.study import CHOICES, Result, replay
from record import load_records
from shared_parts.argument import parser_of

from search.config import compose
from search.plan.build import build_plan
from search.pruner.base import Pruner
from search.pruner.none import NoPruner

NUM_TRIALS = 12
WORKERS = (1, 4)
NUM_STUDIES = {True: 100, False: 25}
"""Studies of each text, for the product's choice with one trial at once, and for all others."""
NUM_OF_SLOW = 10
"""Studies of each text for Optuna's rules, which take a hundred times as long."""
SHARES = (0.0, 0.2, 0.35, 0.5, 0.7)
PARTS, PARTS_OF_ROWS = (1.0, 0.5, 0.25), 400
NUM_PARTS_STUDIES = ((100, 5), (20, 2))
"""Of each text, and draws of the part: whole and quick."""
MOST_LOST = 0.05
MOST_BUDGET = 0.70
DEFAULT = "forecast"
PRODUCTS_CHOICE = "Brier score"


def product(*words: str) -> Pruner:
    """Return the pruner of the command line."""
    return build_plan(compose("sweep", ["study=replayed", *words])).search.pruner


def compare(names: str) -> str:
    """Return the override by which a pruner compares other values."""
    return f"search.pruner.compare=[{names}]"


def since(share: float) -> str:
    """Return the override by which no trial ends before it has done a share of its run."""
    return f"search.pruner.min_fraction={share}"


def rules(strategy: str) -> list[Rule]:
    """Return the rules of studies with this strategy, those of Optuna as it ships them."""
    forecast = (f"strategy={strategy}", "search/pruner=forecast")
    asha = (f"strategy={strategy}", "search/pruner=asha")
    median = (f"strategy={strategy}", "search/pruner=median")
    return [
        ours("none", NoPruner()),
        ours(DEFAULT, product(*forecast)),
        *(
            ours(f"forecast, from {share:.0%}", product(*forecast, since(share)))
            for share in SHARES
        ),
        ours("forecast, after 4", product(*forecast, "search.pruner.min_finished=4")),
        ours("forecast, metric", product(*forecast, compare("metric"))),
        ours("forecast, loss", product(*forecast, compare("validation_loss"))),
        ours("forecast, Brier and metric", product(*forecast, compare("brier,metric"))),
        ours("asha", product(*asha)),
        *(ours(f"asha, from {share:.0%}", product(*asha, since(share))) for share in SHARES),
        ours("asha, rungs of counts", product(*asha, "search.pruner.first_rung=1", since(0.35))),
        ours("asha, loss", product(*asha, compare("validation_loss"))),
        ours("asha, metric", product(*asha, compare("metric"))),
        ours("asha, loss and metric", product(*asha, compare("validation_loss,metric"))),
        ours("asha, Brier and metric", product(*asha, compare("brier,metric"))),
        ours("the same, from 35%", product(*asha, compare("brier,metric"), since(0.35))),
        ours("median", product(*median)),
        ours("median, from 35%", product(*median, since(0.35))),
        ours("median, after equal steps", product(*median, "search.pruner.at_equal=steps")),
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


def lost_and_budget(results: Sequence[Result]) -> tuple[float, float]:
    """Return the shares of the best trials that are lost, and of the training that is done."""
    lost = mean(result.lost_best for result in results)
    return lost, mean(result.budget for result in results)


def line(name: str, results: Sequence[Result]) -> str:
    """Return a rule's line of the table."""
    lost, budget = lost_and_budget(results)
    points = mean(result.lost_points for result in results)
    return f"{name:28s} {lost:8.1%} {points:8.2f} {budget:8.1%}"


def table(
    chosen: Sequence[Group], choice: str, num_workers: int, *, with_slow: bool
) -> Mapping[str, Sequence[Result]]:
    """Print a table; return the results of each rule."""
    texts = ", ".join(f"{each.text} ({len(each.curves)} runs)" for each in chosen)
    strategy, num_rows = chosen[0].strategy, chosen[0].num_rows
    print(f"\n{strategy}, {num_rows} rows: {texts}")
    print(f"{NUM_TRIALS} trials, {num_workers} at once; chosen by the {choice}")
    print(f"{'':28s} {'the best':>8s} {'points':>8s} {'budget':>8s}")
    print(f"{'rule':28s} {'is lost':>8s} {'lost':>8s} {'used':>8s}")
    found: dict[str, list[Result]] = {}
    num_studies = NUM_STUDIES[is_of_product(choice, num_workers)]
    for rule in rules(strategy):
        if rule.is_slow and not with_slow:
            continue
        num = NUM_OF_SLOW if rule.is_slow else num_studies
        found[rule.name] = [
            replay(study, rule, num_workers, choice)
            for group in chosen
            for study in studies(group, num, NUM_TRIALS)
        ]
        print(line(rule.name, found[rule.name]), flush=True)
    return found


def is_of_product(choice: str, num_workers: int) -> bool:
    """Return whether the targets are for studies like these."""
    return choice == PRODUCTS_CHOICE and num_workers == 1


def targets(measured: Mapping[str, Sequence[Result]]) -> int:
    """Print whether the default meets the targets, by strategy; return 1 if it misses one."""
    is_missed = False
    print(f"\ntargets of {DEFAULT}:")
    for name, results in measured.items():
        lost, budget = lost_and_budget(results)
        print(
            f"{name}: the best is lost in {lost:.1%} of the studies, "
            f"at most {MOST_LOST:.0%} wanted: {_word(lost, MOST_LOST)}; "
            f"{budget:.1%} of the training is done, "
            f"at most {MOST_BUDGET:.0%} wanted: {_word(budget, MOST_BUDGET)}"
        )
        is_missed |= lost > MOST_LOST or budget > MOST_BUDGET
    return int(is_missed)


def parts(num_studies: int, num_draws: int) -> None:
    """Print what the default does if it sees a fixed, stratified part of the validation rows."""
    print(f"{DEFAULT} on a part of the validation rows, {num_draws} draws of it")
    print(f"{'':28s} {'the best':>8s} {'points':>8s} {'training':>8s}")
    print(f"{'part':28s} {'is lost':>8s} {'lost':>8s} {'done':>8s}")
    records = load_records()
    for share in PARTS:
        found: dict[str, list[Result]] = {}
        for seed in range(num_draws if share < 1 else 1):
            for group in groups(records, NUM_TRIALS + 3, share if share < 1 else None, seed):
                if group.num_rows == PARTS_OF_ROWS:
                    rule = rules(group.strategy)[1]
                    found.setdefault(group.strategy, []).extend(
                        replay(study, rule, 1, PRODUCTS_CHOICE)
                        for study in studies(group, num_studies, NUM_TRIALS)
                    )
        for strategy, results in sorted(found.items()):
            print(line(f"{strategy}, {share:.0%}", results), flush=True)


def _word(value: float, most: float) -> str:
    return "met" if value <= most else "missed"


def main() -> int:
    parser = parser_of(__doc__, "not Optuna's rules; one trial at once")
    parser.add_argument("--parts", action="store_true", help="on a part of the validation rows")
    parser.add_argument("--each", action="store_true", help="a table for each text")
    asked = parser.parse_args()
    if asked.parts:
        parts(*NUM_PARTS_STUDIES[asked.quick])
        return 0
    found = list(groups(load_records(), least=NUM_TRIALS + 3))
    if not found:
        sys.exit("too few runs are recorded")
    measured: dict[str, list[Result]] = {}
    key = (lambda each: each) if asked.each else lambda each: (each.strategy, each.num_rows)
    for _, chosen in groupby(sorted(found, key=lambda each: (each.strategy, each.num_rows)), key):
        members = list(chosen)
        for choice in [PRODUCTS_CHOICE] if asked.quick else CHOICES:
            for num_workers in WORKERS[:1] if asked.quick else WORKERS:
                results = table(members, choice, num_workers, with_slow=not asked.quick)
                if is_of_product(choice, num_workers):
                    measured.setdefault(members[0].strategy, []).extend(results[DEFAULT])
    return targets(measured)


if __name__ == "__main__":
    sys.exit(main())
