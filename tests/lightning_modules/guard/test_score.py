"""Guards of real runs: the best weights and the untouched model, on the same rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lightning_modules.cache import Cache
from lightning_modules.export.predictor import load_trained
from lightning_modules.fit import fit
from lightning_modules.guard.base import Guard
from lightning_modules.hooks import Hooks
from lightning_modules.logger.base import Identity
from lightning_modules.outcome import Ending, Outcome, read_outcome
from lightning_modules.run import Run
from tests.lightning_modules.guard.conftest import DECODER, guard_of, run_of, write_texts
from tests.training import Listener, PruneAt


def guarded(run: Run, folder: Path, guards: Sequence[Guard], hooks: Hooks, cache: Cache) -> Outcome:
    folder.mkdir()
    return fit(run, folder, Identity("test", None, folder), hooks, cache, guards=guards)


@pytest.fixture
def decoder(here: Path) -> Run:
    data = ("data=files", f"data.train={write_texts(here)}", "data.test_fraction=0")
    return run_of(*DECODER, *data, "trainer.epochs=2", "strategy=full", "strategy.lr=3e-3")


def test_the_best_weights_and_the_untouched_model_are_scored(decoder: Run, here: Path) -> None:
    guards = [guard_of("forgetting"), guard_of("{data: texts.jsonl, metric: loss, at_most: 9}")]
    listener, cache = Listener(), Cache()
    outcome = guarded(decoder, here / "run", guards, listener, cache)
    forgetting, texts = outcome.guards
    assert (forgetting.name, texts.name) == ("forgetting", "texts")
    # A random network guesses among all tokens; its bound relative to that says little.
    num_tokens = len(decoder.model.load_tokenizer())
    assert forgetting.untouched == pytest.approx(math.log(num_tokens), rel=0.1)
    assert texts.value < texts.untouched and not texts.is_broken
    (warning,) = listener.warnings
    assert warning.startswith("guard forgetting: the untouched model has new, random weights")
    assert read_outcome(here / "run" / "outcome.json").guards == outcome.guards
    # The same by another way: what was saved, scored on the same rows.
    predictor = load_trained(decoder, here / "run", ())
    scored = replace(predictor, task=guards[1].load(decoder, ()).task)
    rows = guards[1].load(decoder, ()).rows
    assert scored.score(rows)["nats_per_token"] == pytest.approx(texts.value, abs=1e-6)


def test_the_untouched_model_is_scored_once_and_stays_as_it_is(decoder: Run, here: Path) -> None:
    lora = replace(run_of(*DECODER, "strategy=lora"), data=decoder.data, trainer=decoder.trainer)
    guards, cache = [guard_of("forgetting")], Cache()
    phases, untouched = [], []
    for number, rate in enumerate((1e-3, 3e-2)):
        listener = Listener()
        run = replace(lora, optimizer=replace(lora.optimizer, lr=rate))
        outcome = guarded(run, here / f"{number}", guards, listener, cache)
        phases.append([each for each in listener.phases if "untouched" in each])
        untouched.append(outcome.guards[0].untouched)
    assert bool(phases[0]) and not phases[1]
    assert untouched[0] == untouched[1]
    again = guarded(lora, here / "again", guards, Hooks(), Cache())
    assert again.guards[0].untouched == untouched[0]


def test_only_a_run_that_finished_is_scored(decoder: Run, here: Path) -> None:
    outcome = guarded(decoder, here / "run", [guard_of("forgetting")], PruneAt(1), Cache())
    assert outcome.ending is Ending.pruned and outcome.guards == ()


def test_a_run_interrupted_while_it_is_scored_is_scored_later(decoder: Run, here: Path) -> None:
    class StopScoring(Hooks):
        doing = ""

        def heartbeat(self, doing: str) -> None:
            self.doing = doing

        def interrupted(self) -> bool:
            return self.doing.startswith("scoring the trained")

    guards = [guard_of("forgetting")]
    first = guarded(decoder, here / "run", guards, StopScoring(), Cache())
    assert first.ending is Ending.interrupted
    assert first.reason == "interrupted while its guards were scored"
    whole = guarded(decoder, here / "whole", guards, Hooks(), Cache())
    identity = Identity("test", None, here / "run")
    resumed = fit(decoder, here / "run", identity, Hooks(), Cache(), guards=guards)
    assert resumed.ending is Ending.finished and resumed.guards == whole.guards


def test_a_classifier_keeps_what_it_knew_of_other_rows(learnable: Path, here: Path) -> None:
    data = ("data=files", f"data.train={learnable}")
    run = run_of("model=tiny", "strategy=full", "strategy.lr=3e-3", "trainer.epochs=2", *data)
    entry = "{data: reviews, metric: accuracy, at_least: 0.9, rows: 40}"
    outcome = guarded(run, here / "run", [guard_of(entry)], Hooks(), Cache())
    (score,) = outcome.guards
    assert score.is_broken and score.limit == 0.9 and 0 <= score.value < 0.9
    assert score.untouched * 40 == pytest.approx(round(score.untouched * 40))


def test_scoring_leaves_the_random_state_of_the_process(decoder: Run, here: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    guarded(decoder, here / "run", [guard_of("forgetting")], Hooks(), Cache())
    assert torch.equal(before, torch.get_rng_state())
