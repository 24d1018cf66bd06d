"""Replays of studies on recorded runs, with validation rows drawn from the truth.

A network's answers to the truth are there, so that any of these rows can stand for validation
rows and the others tell what was right: many draws in place of one split, and any number of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from recorded.length import is_in_space
from recorded.table import Records

LOG_TEMPERATURES = np.linspace(np.log(0.25), np.log(8.0), 21)
"""Temperatures that are tried; above 1 they make a network less confident."""
NUM_SPLITS = 3
"""Fresh splits on which the first few trials of a study are compared once more."""
SPREADS = {"calibrated_loss": np.inf, "shrunk_loss": 0.5, "calibrated_brier": 0.5}
"""Standard deviation of the normal prior of the log temperature, around a temperature of 1. The
temperature has the least log loss, also where the Brier score is taken at it."""


@dataclass(frozen=True)
class Candidates:
    """All validations of a strategy's runs on a text whose answers to the truth are kept.

    Shapes: N candidates, R true rows, C classes.

    Attributes:
        family: Number of each one's family (learning rate and batch size), (N,).
        run: Number of its run, (N,).
        epochs: Length of its run, (N,).
        is_last: Whether it is the last validation of its run, (N,).
        place: Where its run is in the space: logs of learning rate, batch size and epochs, (N, 3).
        log_probabilities: (N, R, C).
        labels: (R,).

    """

    family: np.ndarray
    run: np.ndarray
    epochs: np.ndarray
    is_last: np.ndarray
    place: np.ndarray
    log_probabilities: np.ndarray
    labels: np.ndarray

    @cached_property
    def right(self) -> np.ndarray:
        """Whether each row's prediction is its label, (N, R)."""
        right: np.ndarray = self.log_probabilities.argmax(axis=2) == self.labels
        return right.astype(np.float32)

    @cached_property
    def loss(self) -> np.ndarray:
        """Negative log-probability of each row's label, (N, R)."""
        rows = np.arange(len(self.labels))
        loss: np.ndarray = -self.log_probabilities[:, rows, self.labels]
        return loss.astype(np.float32)

    @cached_property
    def brier(self) -> np.ndarray:
        """Squared distance of each row's probabilities from its label, (N, R)."""
        return self._brier_at(1.0)

    @cached_property
    def tempered_loss(self) -> np.ndarray:
        """The loss at each of the temperatures, (T, N, R)."""
        return np.stack([self._loss_at(np.exp(each)) for each in LOG_TEMPERATURES])

    @cached_property
    def tempered_brier(self) -> np.ndarray:
        """The Brier score at each of the temperatures, (T, N, R)."""
        return np.stack([self._brier_at(np.exp(each)) for each in LOG_TEMPERATURES])

    def _loss_at(self, temperature: float) -> np.ndarray:
        scaled = self.log_probabilities / temperature
        normalizer = np.log(np.exp(scaled).sum(axis=2))
        rows = np.arange(len(self.labels))
        loss: np.ndarray = normalizer - scaled[:, rows, self.labels]
        return loss.astype(np.float32)

    def _brier_at(self, temperature: float) -> np.ndarray:
        powers = np.exp(self.log_probabilities / temperature)
        hot = np.eye(powers.shape[2])[self.labels]
        probabilities = powers / powers.sum(axis=2, keepdims=True)
        brier: np.ndarray = np.square(probabilities - hot).sum(axis=2)
        return brier.astype(np.float32)


def candidates(
    records: Records, strategy: str, text: str, lr: tuple[float, float], num_rows: int = 400
) -> Candidates:
    """Return the candidates with such learning rates and lengths of the default space.

    Runs that diverged have none.
    """
    runs = records.runs
    chosen = (runs["strategy"] == strategy) & (runs["text"] == text) & (runs["seed"] == 0)
    runs = runs[chosen & (runs["num_rows"] == num_rows) & (runs["ending"] == "finished")]
    runs = runs[runs["lr"].between(*lr)]
    sizes = zip(runs["num_train"], runs["epochs"], strict=True)
    runs = runs[[is_in_space(strategy, num_train, epochs) for num_train, epochs in sizes]]
    numbers = records.validations.groupby("run")["number"].max().rename("last")
    kept = records.truth.merge(runs[["run", "point", "lr", "batch_size", "epochs"]], on="run")
    kept = kept.merge(numbers, on="run")
    return Candidates(
        family=kept["point"].to_numpy(),
        run=kept["run"].to_numpy(),
        epochs=kept["epochs"].to_numpy(),
        is_last=(kept["number"] == kept["last"]).to_numpy(),
        place=np.log(kept[["lr", "batch_size", "epochs"]].to_numpy()),
        log_probabilities=np.stack(kept["log_probabilities"].to_list()),
        labels=records.labels(text, num_rows, "truth")[: len(kept["log_probabilities"].iloc[0])],
    )


class Replay:
    """Many studies on the same candidates: their trials, and their validation rows.

    Shapes: S studies, N candidates, R true rows.

    Attributes:
        candidates: The candidates.
        trials: Of each study, the candidates of each trial; the default is the first trial.
        is_validation: Which rows are a study's validation rows, (S, R).
        is_fresh: Which rows confirm its first few, three times as many or half of the others.
        fresh_split: The split that such a row belongs to; -1 of the others, (S, R).
        is_truth: All others.

    """

    def __init__(
        self, candidates: Candidates, trials: Sequence[Sequence[np.ndarray]], num_rows: int
    ) -> None:
        self.candidates = candidates
        self.trials = trials
        size = len(candidates.labels)
        ranks = np.random.default_rng(0).random((len(trials), size)).argsort(axis=1)
        num_fresh = min(3 * num_rows, (size - num_rows) // 2)
        self.is_validation = ranks < num_rows
        self.is_fresh = ~self.is_validation & (ranks < num_rows + num_fresh)
        split = (ranks - num_rows) * NUM_SPLITS // num_fresh
        self.fresh_split = np.where(self.is_fresh, split, -1)
        self.is_truth = ~self.is_validation & ~self.is_fresh
        self._shares = (self.is_validation / num_rows).astype(np.float32).T
        self._num_rows = num_rows

    def costs(self, by: str) -> np.ndarray:
        """Return each candidate's cost on each study's validation rows, (N, S); lower is better."""
        if by not in self._costs:
            self._costs[by] = self._cost(by)
        return self._costs[by]

    def row_costs(self, by: str, study: int, candidate: int) -> np.ndarray:
        """Return the cost of each row, (R,); a temperature is that of the validation rows."""
        if by in SPREADS:
            place = self._temperatures(by)[candidate, study]
            costs: np.ndarray = self._tempered_rows(by)[place, candidate]
            return costs
        rows: np.ndarray = self._rows_of(by)[candidate]
        return rows

    @cached_property
    def _costs(self) -> dict[str, np.ndarray]:
        return {}

    def _cost(self, by: str) -> np.ndarray:
        if by in SPREADS:
            places = self._temperatures(by)[None]
            tempered = self._tempered_rows(by) @ self._shares
            cost: np.ndarray = np.take_along_axis(tempered, places, axis=0)[0]
            return cost
        cost = self._rows_of(by) @ self._shares
        if by == "accuracy":  # on a tie, the lower loss
            cost = cost + 1e-6 * self.costs("log_loss")
        return cost

    def _rows_of(self, by: str) -> np.ndarray:
        found = self.candidates
        return {"accuracy": 1 - found.right, "log_loss": found.loss, "brier": found.brier}[by]

    def _tempered_rows(self, by: str) -> np.ndarray:
        found = self.candidates
        return found.tempered_brier if by == "calibrated_brier" else found.tempered_loss

    @cached_property
    def _tempered_loss(self) -> np.ndarray:
        return self.candidates.tempered_loss @ self._shares

    def _temperatures(self, by: str) -> np.ndarray:
        """Return the number of the temperature with the least loss and prior, (N, S)."""
        prior_T = np.square(LOG_TEMPERATURES / SPREADS[by]) / 2 / self._num_rows
        places: np.ndarray = (self._tempered_loss + prior_T[:, None, None]).argmin(axis=0)
        return places


def random_trials(
    found: Candidates, num_studies: int, num_trials: int, default_epochs: int, last: bool = False
) -> list[list[np.ndarray]]:
    """Return each study's trials: the default, then other families in a random order.

    Args:
        found: The candidates; family 0 is the default's.
        num_studies: How many studies.
        num_trials: Trials of each; fewer where there are fewer families.
        default_epochs: The default's length. Those of the others are drawn.
        last: Whether a trial is its last validation alone.

    """
    rng = np.random.default_rng(1)
    of_run = {
        int(run): np.flatnonzero((found.run == run) & (found.is_last | (not last)))
        for run in np.unique(found.run)
    }
    runs = {int(each): np.unique(found.run[found.family == each]) for each in set(found.family)}
    (default,) = np.unique(found.run[(found.family == 0) & (found.epochs == default_epochs)])
    others = [family for family in runs if family != 0]
    studies = []
    for _ in range(num_studies):
        families = rng.permutation(others)[: num_trials - 1]
        drawn = [default, *(rng.choice(runs[int(family)]) for family in families)]
        studies.append([of_run[int(run)] for run in drawn])
    return studies


def cells(records: Records, strategy: str, num_families: int) -> list[str]:
    """Return the texts of which at least so many of a strategy's families are recorded."""
    runs = records.runs
    runs = runs[(runs["strategy"] == strategy) & (runs["num_rows"] == 400) & (runs["seed"] == 0)]
    numbers = runs.groupby("text")["point"].nunique()
    return sorted(numbers.index[numbers >= num_families])
