"""The replay of studies in seconds, on runs whose times are known."""

from __future__ import annotations

import pytest
from finetune_parts.cost import Cost, Spent, TrialSpent, cost
from finetune_parts.landscape import BATCH_SIZE, EPOCHS, Landscape, Recorded
from finetune_parts.replay import CLEVER, NUM_TRIALS, Part, our_study, peer_study, seconds_to

from search.config import compose
from search.plan.build import build_plan
from search.plan.opening import LEARNING_RATE
from search.plan.plan import Plan
from search.pruner.progress import LOSS, METRIC, Mark

COST = Cost(start=100.0, trial=10.0, validation=1.0, steps={8: 0.2, 16: 0.1})


def recorded(*losses: float, lr: float = 1e-3, batch_size: int = 16) -> Recorded:
    """Return a run of 10 steps an epoch that is validated twice in each."""
    marks = tuple(
        Mark(5 * number, 80 * number, number / 2, {LOSS: -loss, METRIC: -loss, "log_loss": -loss})
        for number, loss in enumerate(losses, 1)
    )
    values = {LEARNING_RATE: lr, BATCH_SIZE: batch_size, EPOCHS: len(losses) // 2}
    return Recorded(values, marks, 80 * len(losses), 80 * len(losses), 0.8)


@pytest.fixture(scope="module")
def plan() -> Plan:
    words = ["study=replayed", "model=tiny", "strategy=full", "logger=none", "search.num_trials=4"]
    words += ["search.metric=log_loss", "search.select=log_loss", "optimizer.lr=1e-3"]
    words += ["search/space=none", "optimizer.lr=tag(log,interval(1e-4,1e-2))"]
    words += ["data.batch_size=choice(8,16)", "trainer.epochs=range(2,4)"]
    return build_plan(compose("sweep", words))


def test_the_seconds_to_a_loss_are_those_of_all_that_came_before() -> None:
    first, second = recorded(0.9, 0.8), recorded(0.7, 0.5, 0.6, 0.4, batch_size=8)
    parts = [Part(first, 2, 0.8), Part(second, 4, 0.4)]
    whole = 10 + 10 * 0.1 + 2
    assert seconds_to(0.5, parts, COST) == (pytest.approx(100 + whole + 10 + 10 * 0.2 + 2), 2)
    assert seconds_to(0.85, parts, COST) == (pytest.approx(100 + whole), 1)
    assert seconds_to(0.1, parts, COST) == (pytest.approx(100 + whole + 10 + 20 * 0.2 + 4), 0)


def test_a_peer_validates_once_an_epoch() -> None:
    part = Part(recorded(0.9, 0.8, 0.7, 0.6), 4, 0.6)
    assert part.seconds(COST, validations_per_epoch=1) == pytest.approx(10 + 20 * 0.1 + 2)
    assert part.seconds(COST, validations_per_epoch=2) == pytest.approx(10 + 20 * 0.1 + 4)


def test_the_nearest_run_answers() -> None:
    low, high = recorded(0.9, 0.8, lr=1e-4), recorded(0.9, 0.8, lr=1e-2)
    other = recorded(0.9, 0.8, lr=1e-2, batch_size=8)
    landscape = Landscape("full", "text", [low, high, other])
    assert landscape.nearest({LEARNING_RATE: 2e-4, BATCH_SIZE: 16, EPOCHS: 1}) is low
    assert landscape.nearest({LEARNING_RATE: 2e-3, BATCH_SIZE: 16, EPOCHS: 1}) is high
    assert landscape.nearest({LEARNING_RATE: 2e-3, BATCH_SIZE: 8, EPOCHS: 1}) is other


def test_both_sides_search_and_the_best_loss_of_all_is_reached(plan: Plan) -> None:
    runs = [
        recorded(0.9, 0.8, 0.7, 0.65 - 0.1 * number, lr=10**-power, batch_size=size)
        for number, (power, size) in enumerate([(4, 16), (3.5, 8), (3, 16), (2.5, 8)])
    ]
    landscape = Landscape("full", "text", runs)
    peer = peer_study(CLEVER, landscape, plan, seed=0)
    assert len(peer) == NUM_TRIALS
    assert min(part.loss for part in peer) >= 0.35 - 1e-9
    ours = list(our_study(landscape, plan, seed=0, until=0.35))
    default = plan.first[0]
    assert ours[0].run is landscape.nearest(default)
    assert [part.loss <= 0.35 for part in ours] == [False] * (len(ours) - 1) + [True]


def test_the_costs_of_a_process_add_up_to_it() -> None:
    def trial(batch_size: int, whole: float, steps: float) -> TrialSpent:
        parts = (Spent(whole, 2 * whole), Spent(steps, 2 * steps), Spent(1.0, 2.0))
        return TrialSpent(batch_size, 10, 1, *parts)

    trials = [trial(16, 9.0, 2.0), trial(8, 7.0, 4.0), trial(32, 4.0, 1.0)]
    clock, cores = (cost([(Spent(30.0, 60.0), trials)], kind) for kind in ("clock", "cores"))
    assert (clock.trial, clock.validation) == (2.0, 1.0)
    assert clock.steps == {16: 0.2, 8: 0.4, 32: 0.1}
    assert clock.start == 30 - 10 - 3 * 2.0
    assert cores.start == 2 * clock.start
