from __future__ import annotations

from lightning_modules.check import check_run
from search.terminal.describe import describe
from tests.search.plan.conftest import plan_of


def test_a_plan_has_the_default_and_its_searched_values() -> None:
    plan = plan_of("study=mine", "strategy=full", "data.batch_size=8")
    assert plan.name == "mine"
    assert plan.default.data.batch_size == 8
    assert plan.default_values == {"optimizer.lr": 2e-4, "trainer.epochs": 2}


def test_run_of_a_trial_has_its_values() -> None:
    run = plan_of().run({"optimizer.lr": 3e-4, "trainer.epochs": 1})
    assert (run.optimizer.lr, run.trainer.epochs) == (3e-4, 1)


ARMS = "strategy=choice(feature_extraction,lora,full)"


def test_the_default_of_every_arm_comes_first_starting_with_the_default_arm() -> None:
    plan = plan_of(ARMS)
    assert [values["strategy"] for values in plan.first] == ["lora", "feature_extraction", "full"]
    assert [values["optimizer.lr"] for values in plan.first] == [1e-3, 1e-2, 2e-4]
    runs = [plan.run(values) for values in plan.first]
    assert [run.flat()["strategy"] for run in runs] == ["lora", "feature_extraction", "full"]
    assert plan.default == runs[0]


def test_a_trials_configuration_has_only_keys_of_its_strategy() -> None:
    plan = plan_of(ARMS, "strategy.rank=choice(4,16)")
    full = plan.run({**plan.first[2], "optimizer.lr": 1e-4})
    assert full.optimizer.lr == 1e-4 and not hasattr(full.strategy, "rank")
    assert plan.run({**plan.first[0], "strategy.rank": 16}).flat()["strategy.rank"] == 16


def test_losses_differ_if_the_space_changes_the_loss() -> None:
    assert not plan_of().losses_differ
    searched = "task.label_smoothing=interval(0,0.2)"
    assert plan_of(searched).losses_differ
    note = "the pruner compares no validation loss, because the space changes how it is computed"
    assert note in _notes(searched, "search.select=metric")
    assert note in _notes(searched, "search.pruner.compare=[validation_loss,metric]")
    assert note not in _notes(searched)  # the Brier score chooses, and is compared
    assert note not in _notes(searched, "search.pruner.compare=[mcc]")
    assert note not in _notes()


def test_workers_per_device_without_a_gpu_is_said() -> None:
    note = "search.workers_per_device=2 has no use here: no trial trains on a GPU"
    assert note in _notes("search.workers_per_device=2", "trainer.device=cpu")
    assert note not in _notes("trainer.device=cpu")


def _notes(*overrides: str) -> str:
    plan = plan_of(*overrides)
    return "\n".join(describe(plan, check_run(plan.default)))
