"""Which rule chooses trial and epoch best, replayed on recorded runs.

    python benchmarks/selection.py           # the tables of docs/search.md
    python benchmarks/selection.py --quick

A study is the default and up to 11 other trials at random, of different learning rates and batch
sizes. Its validation rows are drawn from the rows that no run saw; the others are the truth. A rule
chooses an epoch of each trial, and a trial. "True" is the accuracy of the chosen trial on the other
rows, in per cent. "Gain" is the same less that of the default, at the epoch that the rule chooses
for it: a rule that chooses bad epochs has large gains. "Worse" is the share of studies whose chosen
trial is more than a point worse than the default. Learning rates reach somewhat beyond the default
space, lengths do not.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from record import load_records
from recorded.length import default_epochs
from recorded.replay import NUM_SPLITS, Candidates, Replay, candidates, cells, random_trials
from shared_parts.argument import parser_of

from search.plan.confirm import MAX_CANDIDATES
from search.study.confirmed import decide
from search.study.gain import CAUTION, is_beyond_noise

NUM_TRIALS, NUM_TRAIN, NUM_VALIDATION = 12, 280, (50, 100, 200)
RANGES = {"feature_extraction": (1e-3, 1e-1), "lora": (2e-4, 5e-3), "full": (2e-5, 6e-4)}


@dataclass(frozen=True)
class Rule:
    """How trials and epochs are compared.

    Attributes:
        by: The cost that is least at the best.
        errors: Standard errors of the paired difference by which a trial must be better than the
            default to be chosen in its place.
        agrees: Whether its accuracy must not be lower than the default's either.
        smooths: Whether each trial's cost is the mean of a Gaussian process through all of them, so
            that neighbours in the space speak for one another.
        confirms: Whether the first few and the default are compared once more, by the product's
            own rule. Three parts of other rows stand for its fresh splits, and each trial has its
            best epoch there. That leaves out how much training differs from split to split.

    """

    by: str
    errors: float = 0
    agrees: bool = False
    smooths: bool = False
    confirms: bool = False

    def __str__(self) -> str:
        words = [self.by.replace("_", " ")]
        if self.errors:
            words.append(f"{self.errors:g} errors")
        if self.agrees:
            words.append("accuracy agrees")
        if self.smooths:
            words.append("smoothed")
        if self.confirms:
            words.append("confirmed")
        return ", ".join(words)


COSTS = ("accuracy", "brier", "log_loss", "calibrated_loss", "shrunk_loss", "calibrated_brier")
RULES = (
    *(Rule(by) for by in COSTS),
    *(Rule(by, errors=CAUTION) for by in COSTS),
    *(Rule("brier", errors=errors) for errors in (0.5, 1, 1.5, 2.5)),
    Rule("brier", errors=CAUTION, agrees=True),
    Rule("brier", smooths=True),
    *(Rule("brier", errors=errors, confirms=True) for errors in (0, 0.5, 1, 1.5)),
    *(Rule(by, errors=CAUTION, confirms=True) for by in COSTS),
)


@dataclass(frozen=True)
class Score:
    """Means over studies, in points and per cent."""

    true: float
    gain: float
    worse: float

    def __str__(self) -> str:
        return f"{self.true:5.2f} {self.gain:+5.2f} {self.worse:3.0f}%"


def scored(rule: Rule, replay: Replay) -> Score:
    """Return what a rule came to in all studies of a replay."""
    right, true, gains = replay.candidates.right, [], []
    for study in range(len(replay.trials)):
        default, best = chosen(rule, replay, study)
        rows = replay.is_truth[study]
        true.append(100 * right[best][rows].mean())
        gains.append(true[-1] - 100 * right[default][rows].mean())
    worse = 100 * np.less(gains, -1).mean()
    return Score(float(np.mean(true)), float(np.mean(gains)), float(worse))


def chosen(rule: Rule, replay: Replay, study: int) -> tuple[int, int]:
    """Return the candidate of the default, and that of the chosen trial."""
    cost = replay.costs(rule.by)[:, study]
    firsts = [int(trial[cost[trial].argmin()]) for trial in replay.trials[study]]
    default = firsts[0]
    costs = smoothed(rule.by, replay, study, firsts) if rule.smooths else cost[firsts]
    if rule.confirms:
        return default, firsts[confirmed(rule, replay, study, firsts)]
    best, rows = firsts[int(np.argmin(costs))], replay.is_validation[study]
    if is_better(rule, replay, study, best, default, rows):
        return default, best
    return default, default


def confirmed(rule: Rule, replay: Replay, study: int, firsts: list[int]) -> int:
    """Return the trial that the product's rule takes after its first few were trained again."""
    rows = replay.is_validation[study]
    costs_T = [replay.row_costs(rule.by, study, each)[rows] for each in firsts]
    ranked = np.argsort([replay.costs(rule.by)[each, study] for each in firsts], kind="stable")
    best = costs_T[ranked[0]]
    few = [int(t) for t in ranked[:MAX_CANDIDATES] if not is_beyond_noise(list(costs_T[t] - best))]
    parts = [replay.fresh_split[study] == split for split in range(NUM_SPLITS)]
    runs: dict[int, list[np.ndarray]] = {}
    for trial in dict.fromkeys([*few, 0]):
        epochs = [replay.row_costs(rule.by, study, each) for each in replay.trials[study][trial]]
        runs[trial] = [min((e[part] for e in epochs), key=np.mean) for part in parts]
    costs = {trial: [[float(run.mean())] for run in own] for trial, own in runs.items()}
    errors = {
        trial: float(np.hypot.reduce([_error(a - b) for a, b in zip(own, runs[0], strict=True)]))
        / NUM_SPLITS
        for trial, own in runs.items()
    }
    return decide(costs, default=0, row_errors=errors, errors=rule.errors).best


def _error(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) / len(values) ** 0.5


def is_better(
    rule: Rule, replay: Replay, study: int, best: int, default: int, rows: np.ndarray
) -> bool:
    """Return whether a rule takes a trial in place of the default, by these rows."""
    right = replay.candidates.right
    if rule.agrees and right[best][rows].mean() < right[default][rows].mean():
        return False
    cost_of_default, cost_of_best = (
        replay.row_costs(rule.by, study, each)[rows] for each in (default, best)
    )
    gains = cost_of_default - cost_of_best
    return bool(gains.mean() >= rule.errors * gains.std() / len(gains) ** 0.5)


def smoothed(by: str, replay: Replay, study: int, trials: list[int]) -> np.ndarray:
    """Return a Gaussian process's mean cost of each trial, given all of them.

    The noise is that of the validation rows, beyond what all trials share.
    """
    rows = replay.is_validation[study]
    costs_TR = np.stack([replay.row_costs(by, study, trial)[rows] for trial in trials])
    noise = (costs_TR - costs_TR.mean(axis=0)).var(axis=1).mean() / costs_TR.shape[1]
    mean_T = costs_TR.mean(axis=1)
    signal = max(mean_T.var() - noise, noise / 4)
    place_T3 = replay.candidates.place[trials] / np.log([5.0, 4.0, 4.0])
    squared_TT = np.square(place_T3[:, None] - place_T3).sum(axis=2)
    kernel_TT = signal * np.exp(-squared_TT / 2)
    weights_T = np.linalg.solve(kernel_TT + noise * np.eye(len(trials)), mean_T - mean_T.mean())
    found: np.ndarray = mean_T.mean() + kernel_TT @ weights_T
    return found


def epoch_gain(by: str, replay: Replay) -> float:
    """Return what the chosen epoch of a trial is truly better than its last one, in points."""
    right, gains = replay.candidates.right, []
    for study, trials in enumerate(replay.trials):
        cost, rows = replay.costs(by)[:, study], replay.is_truth[study]
        for trial in trials:
            best, last = trial[cost[trial].argmin()], trial[-1]
            gains.append(100 * (right[best][rows] - right[last][rows]).mean())
    return float(np.mean(gains))


@dataclass(frozen=True)
class Ceiling:
    """Mean gains over the default of what knows more than a study, in points."""

    by_validation: float
    by_truth: float
    at_most: float

    def __str__(self) -> str:
        return f"{self.by_validation:+5.2f} {self.by_truth:+5.2f} {self.at_most:+5.2f} "


def ceiling(replay: Replay) -> Ceiling:
    """Return what the oracles gain over the default, at its epoch by the Brier score."""
    right, costs = 100 * replay.candidates.right, replay.costs("brier")
    chance, gains = np.random.default_rng(0), list[tuple[float, float, float]]()
    for study, (default, *_) in enumerate(replay.trials):
        cost = costs[:, study]
        gain = right - right[default[cost[default].argmin()]]
        rows = chance.permutation(np.flatnonzero(replay.is_truth[study]))
        one, other = (gain[:, half].mean(axis=1) for half in (rows[::2], rows[1::2]))
        by_truth = (other[one.argmax()] + one[other.argmax()]) / 2
        mean = gain[:, rows].mean(axis=1)
        gains.append((mean[cost.argmin()], by_truth, mean.max()))
    return Ceiling(*map(float, np.mean(gains, axis=0)))


def print_rules(
    found: Mapping[str, Candidates], num_rows: int, num_studies: int, length: int
) -> None:
    """Print what each rule comes to on each text: true accuracy, gain, worse."""
    replays = [
        Replay(each, random_trials(each, num_studies, NUM_TRIALS, length), num_rows)
        for each in found.values()
    ]
    for rule in RULES:
        scores = "  ".join(f"{scored(rule, each)!s:18s}" for each in replays)
        print(f"{rule!s:36s}{scores}", flush=True)
    oracles = "  ".join(f"{ceiling(each)!s:18s}" for each in replays)
    print(f"{'oracles: validation, truth, at most':36s}{oracles}", flush=True)


def print_parts(
    found: Mapping[str, Candidates], num_rows: int, num_studies: int, length: int
) -> None:
    """Print the choice of the trial at its last epoch, and that of the epoch."""
    sizes = num_studies, NUM_TRIALS, length
    for by in COSTS:
        words = []
        for each in found.values():
            last = Replay(each, random_trials(each, *sizes, last=True), num_rows)
            every = Replay(each, random_trials(each, *sizes), num_rows)
            words.append(f"{scored(Rule(by), last)}, {epoch_gain(by, every):+5.2f}")
        print(f"{by.replace('_', ' '):24s}{'  '.join(words)}", flush=True)


def main() -> int:
    parser = parser_of(__doc__, "fewer studies, 100 rows alone")
    asked = parser.parse_args()
    records = load_records()
    num_studies, sizes = (40, (100,)) if asked.quick else (150, NUM_VALIDATION)
    for strategy, lr in RANGES.items():
        texts = cells(records, strategy, num_families=6)
        found = {text: candidates(records, strategy, text, lr) for text in texts}
        if not found:
            print(f"\n{strategy}: fewer than 6 points are recorded")
            continue
        lengths = sorted({int(each) for of_text in found.values() for each in of_text.epochs})
        length = default_epochs(strategy, NUM_TRAIN, lengths)
        names = "  ".join(f"{each:18s}" for each in found)
        for num_rows in sizes:
            print(f"\n{strategy}, {num_rows} validation rows: true, gain, worse")
            print(f"{'rule':36s}{names}")
            print_rules(found, num_rows, num_studies, length)
        print(f"\n{strategy}, 100 rows: trials at their last epoch; then the epoch's own gain")
        print_parts(found, 100, num_studies, length)
    return 0


if __name__ == "__main__":
    sys.exit(main())
