"""Bayesian optimization: model the score, and try next what promises most improvement.

From the second trial on, a Gaussian process over learning rates, counts, ordered choices,
categories and arms says what each configuration may score and how sure that is; the next trial is
the one with the largest expected improvement, with a weak preference for the neighbourhood of the
default that fades. See `search.sampler.gaussian` for the formulas and papers.

- Losses beyond the median are compressed logarithmically, so that trials that fail do not hide the
  differences between good ones.
- Trials that diverged, do not fit into memory or were pruned are modelled as bad ones, see
  `search.sampler.observation`.
- Running trials count as if their loss were the one expected (Desautels et al. 2014), so parallel
  workers try different places. What is expected is no evidence: it changes no setting of the model.
- If the arm is given, what it may improve is the best of that arm. Trials outside the ranges, from
  before these were narrowed, are in the model, but are not what is to be improved.
- With several objectives, each trial minimizes a random weighting of them (ParEGO; Knowles 2006).

Cost: grows with the cube of the number of trials, so beyond `max_modelled` the best half and the
latest half of that number are used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_modules.error import Problem
from lightning_modules.schema import positive
from search.sampler.base import Sampler, trial_seed
from search.sampler.observation import losses, signs_of

if TYPE_CHECKING:
    import numpy as np
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from search.sampler.gaussian.encoding import Encoding, Rows
    from search.sampler.gaussian.kernel import Matrix
    from search.space.space import Space, Values

NUM_SETTINGS = 24  # of the kernel that are drawn; half of that with more than 100 results


@dataclass(frozen=True, kw_only=True)
class Bayes(Sampler):
    """Bayesian optimization with a Gaussian process.

    Attributes:
        max_modelled: Ended trials in the model at most, > 0.
        prior_strength: How strongly the neighbourhood of the default is preferred, >= 0; beta of
            `search.sampler.gaussian.acquisition`.

    """

    max_modelled: int
    prior_strength: float

    def problems(self) -> Iterator[Problem]:
        yield from positive(self, "max_modelled")
        if not self.prior_strength >= 0:
            yield Problem("prior_strength", "must be >= 0", self.prior_strength)

    @property
    def num_independent(self) -> float:
        return 1  # the default

    def build(
        self, space: Space, seed: int, number: int, defaults: Sequence[Values] = ()
    ) -> BaseSampler:
        from optuna.samplers import BaseSampler, RandomSampler

        names = {name: parameter.distribution for name, parameter in space.parameters.items()}
        at_random = RandomSampler(seed=trial_seed(seed, number))

        class Modelled(BaseSampler):
            def infer_relative_search_space(
                self, study: Study, trial: FrozenTrial
            ) -> dict[str, BaseDistribution]:
                return names

            def sample_relative(
                self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
            ) -> dict[str, Any]:
                return suggestion(bayes, space, study, trial, trial_seed(seed, number), defaults)

            def sample_independent(self, *arguments: Any) -> Any:
                # Only if every combination has been tried.
                return at_random.sample_independent(*arguments)

        bayes = self
        return Modelled()


def suggestion(
    bayes: Bayes,
    space: Space,
    study: Study,
    trial: FrozenTrial,
    seed: int,
    defaults: Sequence[Values] = (),
) -> dict[str, Any]:
    """Return the parameters by name that promise most; empty if all that were drawn are taken."""
    import numpy as np

    from search.sampler.gaussian.acquisition import Acquisition, Prior, maximized
    from search.sampler.gaussian.encoding import Encoding
    from search.sampler.gaussian.kernel import Kernel
    from search.sampler.gaussian.posterior import fitted

    encoding = Encoding(space)
    chance = np.random.default_rng(seed)
    fixed = np.array(encoding.row(trial.system_attrs.get("fixed_params", {})))
    trials = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
    evidence = _evidence(bayes, encoding, trials, signs_of(study), chance)
    if not len(evidence.known):
        row = encoding.drawn(chance.random((1, len(encoding.axes))))
        return encoding.params(encoding.snapped(row, fixed)[0])
    kernel = Kernel(encoding.axes)
    num_drawn = NUM_SETTINGS if len(evidence.known) <= 100 else NUM_SETTINGS // 2
    draws = chance.standard_normal((num_drawn, kernel.num_lengths + 3))
    posterior = fitted(kernel, evidence.known, evidence.losses, draws).expecting(evidence.running)
    starts = [space.by_name(values) for values in defaults if space.holds(values)]
    strength = 0.0 if len(signs_of(study)) > 1 else bayes.prior_strength  # a front has no one place
    prior = Prior(encoding.rows(starts), strength / evidence.num_results)
    everywhere = np.concatenate([evidence.known, evidence.running])
    tried = encoding.inside(encoding.in_arm(everywhere, fixed))
    around = tried[np.argsort(posterior.mean(tried), kind="stable")[:3]]
    acquisition = Acquisition(posterior, kernel, prior, tried if len(tried) else everywhere)
    best = maximized(acquisition, encoding, around, evidence.taken, fixed, chance)
    return {} if best is None else encoding.params(best)


@dataclass(frozen=True)
class _Evidence:
    """What is known of a space.

    Attributes:
        known: Trials with a loss, (trials, parameters).
        losses: Their losses, standardized, (trials,).
        running: Trials without one, (running trials, parameters).
        taken: Rows that must not be tried again.
        num_results: Number of trials with a result in the model, at least 1.

    """

    known: Rows
    losses: Matrix
    running: Rows
    taken: Rows
    num_results: int


def _evidence(
    bayes: Bayes,
    encoding: Encoding,
    trials: Sequence[FrozenTrial],
    signs: Sequence[int],
    chance: np.random.Generator,
) -> _Evidence:
    import numpy as np

    held = {t.number: t for t in trials if encoding.places(t.params)}
    shown = losses(trials, signs)
    numbers = _modelled({n: shown[n] for n in shown if n in held}, bayes.max_modelled)
    running = [n for n, t in sorted(held.items()) if t.state.name == "RUNNING"]
    num_results = max(len(numbers), 1)
    if numbers:
        scores = standardized(scalarized(np.array([shown[n] for n in numbers]), chance))
    else:
        # Only differences of losses matter, so the first running trial may have 0; what ended has
        # failed.
        failed = [n for n, t in sorted(held.items()) if t.state.is_finished()]
        numbers, running = [*failed, *running[:1]], running[1:]
        scores = np.array([float(n in failed) for n in numbers])
    own = [n for n in held if n >= 0]  # what another study tried may be tried here too
    known, pending, taken = (
        encoding.rows([held[n].params for n in ns]) for ns in (numbers, running, own)
    )
    return _Evidence(known, scores, pending, taken, num_results)


def scalarized(values: Matrix, chance: np.random.Generator) -> Matrix:
    """Return one loss per trial: of several, a random augmented Chebyshev norm.

    Args:
        values: Losses, (trials, objectives).
        chance: The random numbers.

    """
    import numpy as np

    if values.shape[1] == 1:
        return values[:, 0]
    low, high = values.min(axis=0), values.max(axis=0)
    weighted = (
        chance.dirichlet(np.ones(values.shape[1])) * (values - low) / np.maximum(high - low, 1e-12)
    )
    loss: Matrix = weighted.max(axis=1) + 0.05 * weighted.sum(axis=1)
    return loss


def standardized(values: Matrix) -> Matrix:
    """Return losses with mean 0 and deviation 1, logarithmic beyond the median.

    With median m and best loss b, a loss y > m becomes m + s log(1 + (y - m) / s), s = m - b.
    """
    import numpy as np

    middle = np.median(values)
    scale = middle - values.min()
    if scale > 0:
        beyond = np.maximum(values - middle, 0.0)
        values = np.where(values > middle, middle + scale * np.log1p(beyond / scale), values)
    deviation = values.std()
    loss: Matrix = (values - values.mean()) / (deviation if deviation > 0 else 1.0)
    return loss


def _modelled(results: dict[int, list[float]], num: int) -> list[int]:
    """Return the numbers of the trials in the model: all, or the best and the latest."""
    if len(results) <= num:
        return sorted(results)
    best = sorted(results, key=lambda number: results[number])[: num // 2]
    latest = [number for number in sorted(results, reverse=True) if number not in set(best)]
    return sorted([*best, *latest[: num - len(best)]])
