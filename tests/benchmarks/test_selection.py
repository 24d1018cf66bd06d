"""The replay of choices: disjoint rows, and rules that do what their names say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from recorded.replay import Candidates, Replay, random_trials
from selection import COSTS, Rule, ceiling, chosen, scored

NUM_FAMILIES, NUM_ROWS = 6, 900


@pytest.fixture(scope="module")
def found() -> Candidates:
    """Families as good as the default, but the last one, which is right far more often."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, NUM_ROWS)
    margins = rng.normal(0.5, 1, (NUM_FAMILIES, NUM_ROWS))
    margins[-1] = rng.normal(2, 1, NUM_ROWS)
    signs = np.array([-1, 1])[labels]
    logits = np.stack([-margins * signs, margins * signs], axis=2) / 2
    told = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    numbers = np.arange(NUM_FAMILIES)
    place = np.tile(numbers[:, None], 3).astype(float)
    last, epochs = np.ones(NUM_FAMILIES, bool), np.full(NUM_FAMILIES, 3)
    return Candidates(numbers, numbers, epochs, last, place, told, labels)


def test_validation_fresh_and_true_rows_are_apart(found: Candidates) -> None:
    replay = Replay(found, random_trials(found, 5, 4, 3), num_rows=100)
    parts = [replay.is_validation, replay.is_fresh, replay.is_truth]
    assert (sum(part.astype(int) for part in parts) == 1).all()
    assert (replay.is_validation.sum(axis=1) == 100).all()
    assert (replay.is_fresh.sum(axis=1) == 300).all()


def test_the_default_is_the_first_trial_of_every_study(found: Candidates) -> None:
    for trials in random_trials(found, 20, 4, default_epochs=3):
        families = [int(found.family[trial[0]]) for trial in trials]
        assert families[0] == 0
        assert len(set(families)) == 4


@pytest.mark.parametrize("by", COSTS)
def test_every_rule_finds_what_is_far_better(found: Candidates, by: str) -> None:
    replay = Replay(found, random_trials(found, 10, NUM_FAMILIES, 3), num_rows=100)
    for rule in (Rule(by), Rule(by, errors=2), Rule(by, confirms=True), Rule(by, smooths=True)):
        assert {chosen(rule, replay, study) for study in range(10)} == {(0, NUM_FAMILIES - 1)}
        assert scored(rule, replay).gain > 10


def test_many_errors_keep_the_default(found: Candidates) -> None:
    replay = Replay(found, random_trials(found, 10, NUM_FAMILIES, 3), num_rows=50)
    score = scored(Rule("log_loss", errors=100), replay)
    assert (score.gain, score.worse) == (0, 0)
    assert 0 < score.true < 100


def test_a_temperature_undoes_overconfidence(found: Candidates) -> None:
    logits = 8 * found.log_probabilities
    told = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    trials = random_trials(found, 4, 3, 3)
    plain = Replay(found, trials, num_rows=200)
    sharp = Replay(replace(found, log_probabilities=told), trials, num_rows=200)
    assert sharp.costs("log_loss").mean() > 2 * plain.costs("log_loss").mean()
    assert np.abs(sharp.costs("calibrated_loss") - plain.costs("calibrated_loss")).max() < 0.01


def test_oracles_see_what_a_study_does_not_try(found: Candidates) -> None:
    only_default = [[trials[0]] for trials in random_trials(found, 5, 2, default_epochs=3)]
    replay = Replay(found, only_default, num_rows=100)
    assert scored(Rule("brier"), replay).gain == 0
    most = ceiling(replay)
    assert 10 < most.by_truth <= most.at_most
    assert 10 < most.by_validation <= most.at_most


def test_nothing_is_gained_where_all_are_equal(found: Candidates) -> None:
    told = np.repeat(found.log_probabilities[:1], NUM_FAMILIES, axis=0)
    same = replace(found, log_probabilities=told)
    most = ceiling(Replay(same, random_trials(same, 5, 4, 3), num_rows=100))
    assert (most.by_validation, most.by_truth, most.at_most) == (0, 0, 0)
