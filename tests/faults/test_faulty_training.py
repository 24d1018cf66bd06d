"""Training that goes wrong: NaN and infinity, code that raises, a truncated checkpoint."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
import torch
from safetensors.torch import load_file

from lightning_modules.callback.checkpoint_file import read_checkpoint
from tests.conftest import run_here
from tests.faults.conftest import SMALL, Start, ends_of, status
from tests.options import names_of

# Multiplies gradients by `value` from step 5 on, or raises there.
FAULTY = '''
import math
from dataclasses import dataclass

from lightning_modules.strategy.base import Strategy


@dataclass(frozen=True, kw_only=True)
class Faulty(Strategy):
    """Goes wrong at step 5."""

    value: str

    def adapt(self, network):
        num_steps = 0

        def spoil(gradient):
            nonlocal num_steps
            num_steps += 1
            if num_steps < 5 or self.value == "sound":
                return gradient
            if self.value == "error":
                raise ValueError("no such luck")
            return gradient * float(self.value)

        next(network.parameters()).register_hook(spoil)
        return network
'''
YAML = "_target_: faulty_trainings.Faulty\nlr: 1e-3\nlr_min: 1e-4\nlr_max: 1e-2\nvalue: sound\n"


@pytest.fixture
def own(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, ...]]:
    """Write the strategy; return the words that use it, in this and in other processes."""
    (here / "faulty_trainings.py").write_text(FAULTY)
    (here / "conf/strategy").mkdir(parents=True)
    (here / "conf/strategy/faulty.yaml").write_text(YAML)
    monkeypatch.syspath_prepend(here)
    monkeypatch.setenv("PYTHONPATH", f"{here}:{':'.join(filter(None, sys.path))}")
    monkeypatch.setenv("FINESWEEP_PLUGINS", "faulty_trainings")  # for status
    yield ("--config-dir=conf", "search.plugins=[faulty_trainings]", "strategy=faulty")
    sys.modules.pop("faulty_trainings", None)


def trials_of(here: Path) -> list[optuna.trial.FrozenTrial]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    url = f"sqlite:///{here}/studies/s/study.db"
    return optuna.load_study(study_name="s", storage=url).trials


@pytest.mark.parametrize("pruner", names_of("search/pruner"))
def test_nan_and_infinity_end_a_trial_within_one_logging_interval_with_every_pruner(
    here: Path, own: tuple[str, ...], pruner: str
) -> None:
    words = (
        f"search/pruner={pruner}",
        "strategy.value=choice(sound,nan,inf)",
        "search.enqueue=[{strategy.value: nan},{strategy.value: inf}]",
        "search.num_trials=3",
        "search.workers=0",
        "trainer.epochs=1",
        "trainer.log_every_steps=3",
        "optimizer.lr=1e-3",
    )
    output = run_here("sweep", "study=s", *SMALL, *own, *words)
    sound, *spoiled = trials_of(here)
    assert sound.state.name == "COMPLETE"
    assert len(spoiled) == 2
    for trial in spoiled:
        assert trial.state.name == "PRUNED" and trial.values is None
        assert trial.user_attrs["ending"] == "diverged"
        assert trial.system_attrs["constraints:diverged"] == 1.0
        # Step 5 breaks the weights, step 6 shows it, and the loss is checked every 3 steps.
        found = re.search(
            r"became (nan|inf|NaN or infinite) by step (\d+)", trial.user_attrs["reason"]
        )
        assert found is not None and int(found[2]) <= 6 + 3, trial.user_attrs["reason"]
        assert f"diverged: {trial.user_attrs['reason']}" in output
        assert not trial.intermediate_values  # the first validation is after step 19
        assert not list((here / "studies/s" / trial.user_attrs["folder"]).glob("*.safetensors"))
        assert not list((here / "studies/s" / trial.user_attrs["folder"]).glob("*.pt"))


def test_a_trial_that_raises_is_tried_max_attempts_times_and_the_study_continues(
    here: Path, own: tuple[str, ...]
) -> None:
    words = (
        "strategy.value=choice(sound,error,0)",
        "search.enqueue=[{strategy.value: error},{strategy.value: 0}]",
        *("search.num_trials=3", "search.workers=0", "search.max_attempts=3"),
        *("trainer.epochs=1", "trainer.checkpoint_seconds=1000", "optimizer.lr=1e-3"),
    )
    output = run_here("sweep", "study=s", *SMALL, *own, *words)
    assert [t.state.name for t in trials_of(here)] == ["COMPLETE", "FAIL", "COMPLETE"]
    failed = trials_of(here)[1]
    reason = "ValueError: no such luck"
    assert [end["fault"] for end in ends_of(failed)] == ["failed"] * 3
    assert {end["reason"] for end in ends_of(failed)} == {reason}
    verdict = f"3 attempts made no progress; the last: {reason}"
    assert failed.user_attrs["reason"] == verdict
    assert f"trial 1 attempt 1 ended: {reason}; it will be retried" in output
    assert verdict in output


FAILS = (
    *("strategy.value=error", "search.max_attempts=1", "search.num_trials=5"),
    *("trainer.epochs=1", "trainer.checkpoint_seconds=1000"),
)
STOPS = "stopping the sweep: 3 trials in a row failed: 1 attempt made no progress"


def test_three_failures_in_a_row_stop_a_sweep_in_the_calling_process(
    here: Path, own: tuple[str, ...]
) -> None:
    output = run_here("sweep", "study=s", *SMALL, *own, *FAILS, "search.workers=0", code=1)
    assert output.count(STOPS) == 1
    assert [t.state.name for t in trials_of(here)] == ["FAIL"] * 3


@pytest.mark.slow
def test_three_failures_in_a_row_stop_a_sweep(sweep: Start, own: tuple[str, ...]) -> None:
    it = sweep(*own, *FAILS)
    output = it.end()
    assert it.process.returncode == 1, output
    assert STOPS in output
    state = status()
    assert state["states"]["fail"] == 3 and state["remaining"] == 2
    assert not it.workers


@pytest.mark.slow
def test_a_trial_with_a_truncated_checkpoint_resumes_from_the_previous_one(
    sweep: Start, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("trainer.epochs=8", "search.num_trials=1", "optimizer.lr=1e-3")
    varied = ("strategy.dropout=interval(0.1,0.3)", "strategy=lora", "strategy.lr=1e-2")
    it = sweep(*words, *varied)
    it.until(lambda: it.under_way(40))
    (worker,) = it.workers
    worker.suspend()  # with two checkpoints on the disk
    folder = here / "studies/s/trials/0000/attempt-1"
    newest = folder / "checkpoint.pt"
    before = read_checkpoint(folder / "checkpoint.previous.pt").record.step
    assert 0 < before < read_checkpoint(newest).record.step
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 3])
    worker.kill()
    output = it.end()
    assert it.process.returncode == 0, output
    assert f"resuming from checkpoint.previous.pt, step {before}" in output
    (end,) = ends_of(it.trials[0])
    assert end["reason"] == "the worker was killed by signal 9 (SIGKILL)"
    whole = here / "whole"
    whole.mkdir()
    monkeypatch.chdir(whole)
    run_here("sweep", "study=s", *SMALL, *words, *varied, "search.workers=0")
    one = load_file(here / "studies/s/trials/0000/attempt-2/best.safetensors")
    other = load_file(whole / "studies/s/trials/0000/attempt-1/best.safetensors")
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
