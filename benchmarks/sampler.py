"""How many trials samplers need: mean regret on public tables, functions and made-up landscapes.

    python benchmarks/sampler.py [--quick] [--seeds N]

Every study begins with the default, as a study of finesweep does, without noise. Regret is the gap
between the best loss so far and the best possible one, in percent of the gap between the median
random configuration and the best. With 8 workers, each result arrives after seven later trials have
started: the last of 40 trials knows 32 results, as many as trial 33 of one worker. So what one
worker gains between trials 33 and 40 is printed, too, and 8 workers have 8 more trials.
`benchmarks/sampler_parts/problem.py` describes the problems.

Compared are the default sampler (`bayes`), Optuna's TPE and GP samplers as Optuna ships them
(GPSampler for 12 trials on a part of the studies, since a suggestion takes ten times as long),
`tpe` of finesweep, random search, and `bayes` without its prior. Prints the targets with the
standard errors of what was measured (a bootstrap over studies of each family), and the seconds per
suggestion at 100 trials; returns 1 if a target is missed.
"""

from __future__ import annotations

import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shared_parts.argument import parser_of

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import optuna
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from sampler_parts.problem import Problem, interpolation_error, problems

from lightning_modules.outcome import Ending
from search.sampler.base import Sampler, seeded_sampler
from search.sampler.bayes import Bayes
from search.sampler.tpe import Tpe
from search.storage.attribute import FIXED, constraint

MARKS = (8, 12, 24, 33, 40, 48)
FAMILIES = ("lora", "shapes", "choice", "arms", "functions")
Make = Callable[[Problem, int], BaseSampler]
Key = tuple[str, str, int]
"""A study: family and name of its problem, and seed."""
NEGLIGIBLE = 0.001
"""A regret that nobody would notice."""
Curves = Mapping[Key, Sequence[float]]
"""The regret of each study after each trial."""


def ours(sampler: Sampler) -> Make:
    return lambda problem, seed: seeded_sampler(
        sampler, problem.space, seed, defaults=problem.defaults
    )


BAYES = Bayes(max_modelled=200, prior_strength=0.5)
SAMPLERS: dict[str, Make] = {
    "bayes": ours(BAYES),
    "bayes, no prior": ours(Bayes(max_modelled=200, prior_strength=0.0)),
    "tpe": ours(Tpe(num_startup_trials=4)),
    "Optuna's TPE": lambda problem, seed: TPESampler(seed=seed),
    "Optuna's GP": lambda problem, seed: GPSampler(seed=seed),
    "random": lambda problem, seed: RandomSampler(seed=seed),
}
CASES = (
    ("bayes", 1, 40),
    ("bayes", 2, 40),
    ("bayes", 8, 48),
    ("bayes, no prior", 1, 12),
    ("tpe", 1, 40),
    ("tpe", 8, 40),
    ("Optuna's TPE", 1, 40),
    ("Optuna's TPE", 8, 40),
    ("Optuna's GP", 1, 12),
    ("random", 1, 40),
)


def main(words: Sequence[str]) -> int:
    parser = parser_of(__doc__, "fewer problems")
    parser.add_argument("--seeds", type=int, default=2, help="studies of each problem")
    asked = parser.parse_args(words)
    quick = asked.quick
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    known = list(problems(num_shapes=3 if quick else 12))
    if quick:
        known = [problem for at, problem in enumerate(known) if at % 3 == 0 or at > 20]
    seeds = range(asked.seeds)
    print(f"interpolating a row of lora_sweeps.csv misses by {interpolation_error():.1%}")
    print(
        f"{'regret in %':17s}{'workers':>8s}" + "".join(f"{f:>10s}" for f in FAMILIES) + "      all"
    )
    measured: dict[tuple[str, int], Curves] = {}
    for name, num_workers, num_trials in CASES:
        chosen = known[::3] if name == "Optuna's GP" else known
        curves = {
            (problem.family, problem.name, seed): curve(
                problem, SAMPLERS[name](problem, seed), num_trials, num_workers
            )
            for problem in chosen
            for seed in (range(1) if name == "Optuna's GP" else seeds)
            if not (name == "Optuna's GP" and problem.family == "arms")
        }
        measured[name, num_workers] = curves
        for mark in (mark for mark in MARKS if mark <= num_trials):
            row = [mean_regret(curves, mark, [family]) for family in FAMILIES]
            shown = "".join(f"{value:10.2f}" for value in [*row, mean_regret(curves, mark)])
            print(f"{name:17s}{num_workers:8d}{shown}   after {mark}", flush=True)
        whole = [
            100 * float(np.mean([np.mean(c[:24]) for key, c in curves.items() if key[0] == f]))
            for f in FAMILIES
            if num_trials >= 24
        ]
        if whole:
            print(
                f"{'':25s}" + "".join(f"{v:10.2f}" for v in whole) + "   mean of 1 to 24",
                flush=True,
            )
    return targets(measured)


def mean_regret(curves: Curves, mark: int, families: Sequence[str] = FAMILIES) -> float:
    """Return the mean over families of the mean regret of their studies after a trial, in %."""
    found = [[c[mark - 1] for key, c in curves.items() if key[0] == f] for f in families]
    return 100 * float(np.mean([np.mean(each) for each in found if each] or [math.nan]))


def ratio_and_error(curves: Curves, others: Curves, marks: tuple[int, int]) -> tuple[float, float]:
    """Return the ratio of two mean regrets after so many trials, and its standard error."""

    def ratio(keys: Sequence[Key]) -> float:
        drawn, other = (
            {(key[0], str(at), 0): each[key] for at, key in enumerate(keys)}
            for each in (curves, others)
        )
        return mean_regret(drawn, marks[0]) / mean_regret(other, marks[1])

    return ratio(list(curves)), float(np.std(drawn_again(curves, ratio)))


def typical_ratio(
    curves: Curves, others: Curves, marks: tuple[int, int]
) -> tuple[float, float, float]:
    """Return by what factor a study's regret differs, with a 90 % interval.

    It is the geometric mean over the studies of each family, and then over families, so a single
    study that stays in a second-best optimum does not decide it. `NEGLIGIBLE` is added to each
    regret first: below, nobody would notice a difference.
    """

    def ratio(keys: Sequence[Key]) -> float:
        logs: dict[str, list[float]] = {}
        for key in keys:
            its = (curves[key][marks[0] - 1], others[key][marks[1] - 1])
            one, other = (math.log(regret + NEGLIGIBLE) for regret in its)
            logs.setdefault(key[0], []).append(one - other)
        return math.exp(float(np.mean([np.mean(each) for each in logs.values()])))

    low, high = np.quantile(drawn_again(curves, ratio), [0.05, 0.95])
    return ratio(list(curves)), float(low), float(high)


def drawn_again(
    curves: Curves, figure: Callable[[Sequence[Key]], float], num_draws: int = 1000
) -> list[float]:
    """Return a figure of studies that are drawn again within each family (a bootstrap)."""
    chance = np.random.default_rng(0)
    families = [[key for key in curves if key[0] == family] for family in FAMILIES]
    return [
        figure([keys[at] for keys in families for at in chance.integers(len(keys), size=len(keys))])
        for _ in range(num_draws)
    ]


def targets(measured: Mapping[tuple[str, int], Curves]) -> int:
    """Print whether the targets are met; return 1 if one is not."""
    one, two, eight = (measured["bayes", num_workers] for num_workers in (1, 2, 8))
    ratios = {
        "of Optuna's TPE after 12": (one, measured["Optuna's TPE", 1], (12, 12), 0.5),
        "of random search after 12": (one, measured["random", 1], (12, 12), 0.5),
        "of one worker, 2 workers after 12": (two, one, (12, 12), math.inf),
        "of one worker, 2 workers after 24": (two, one, (24, 24), math.inf),
        "of one worker, 8 workers after 40": (eight, one, (40, 40), 1.3),
        "of one worker after 33, 8 workers after 40": (eight, one, (40, 33), math.inf),
    }
    is_missed = False
    for name, (curves, others, marks, limit) in ratios.items():
        ratio, error = ratio_and_error(curves, others, marks)
        wanted = f"; at most {limit} wanted" if limit < math.inf else ""
        print(f"regret of bayes: {ratio:.2f} ± {error:.2f} {name}{wanted}")
        is_missed |= ratio > limit
    for num_workers, curves, marks in (
        (8, eight, (40, 40)),
        (8, eight, (40, 33)),
        (8, eight, (48, 40)),
        (1, one, (33, 40)),
    ):
        typical, low, high = typical_ratio(curves, one, marks)
        print(
            f"a typical study's regret after {marks[0]}, workers: {num_workers}: {typical:.2f} "
            f"({low:.2f} to {high:.2f}) of that of one worker after {marks[1]}"
        )
    seconds = seconds_of_a_suggestion(100), seconds_of_a_suggestion(1000)
    print(
        f"a suggestion takes {seconds[0]:.3f} s at 100 trials (at most 0.2 wanted), "
        f"{seconds[1]:.3f} s at 1,000"
    )
    return int(is_missed or seconds[0] > 0.2)


def curve(problem: Problem, sampler: BaseSampler, num_trials: int, num_workers: int) -> list[float]:
    """Return the regret after each trial, as a share of the problem's spread."""
    study = optuna.create_study(sampler=sampler)
    for default in problem.defaults:
        fixed = {FIXED: problem.space.by_name(default)}
        waiting = optuna.trial.TrialState.WAITING
        study.add_trial(optuna.trial.create_trial(state=waiting, system_attrs=fixed))
    running: list[tuple[optuna.Trial, dict[str, Any]]] = []
    best, regrets = math.inf, list[float]()
    while len(regrets) < num_trials:
        while len(running) < num_workers and len(regrets) + len(running) < num_trials:
            trial = study.ask()
            running.append((trial, problem.space.suggest(trial)))
        trial, values = running.pop(0)
        loss = problem.loss(values)
        if loss is None:
            name = constraint(Ending.diverged)
            study._storage.set_trial_system_attr(trial._trial_id, name, 1.0)
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, loss)
            best = min(best, loss)
        regrets.append(max(best - problem.best, 0.0) / problem.spread)
    return regrets


def seconds_of_a_suggestion(num_trials: int) -> float:
    """Return the median time of five suggestions after so many trials."""
    problem = next(p for p in problems(1) if p.family == "shapes")
    study = optuna.create_study(sampler=SAMPLERS["bayes"](problem, 0))
    random = optuna.create_study(sampler=RandomSampler(seed=0))
    for _ in range(num_trials):
        trial = random.ask()
        loss = problem.loss(problem.space.suggest(trial))
        random.tell(trial, 10.0 if loss is None else loss)
    study.add_trials(random.trials)
    seconds = []
    for _ in range(6):
        start = time.process_time()
        problem.space.suggest(study.ask())
        seconds.append(time.process_time() - start)
    return float(np.median(seconds[1:]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
