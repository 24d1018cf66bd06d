"""AdaLoRA allocates ranks like PEFT, also in a run that was interrupted."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_modules.cache import Cache
from lightning_modules.error import ConfigError
from lightning_modules.export.predictor import load_trained
from lightning_modules.fit import fit
from lightning_modules.hooks import Hooks
from lightning_modules.logger.base import Identity
from lightning_modules.network import build_network
from lightning_modules.run import Run
from lightning_modules.strategy.adalora import Adalora
from search.config import build_run, compose

LABELS = ("negative", "positive")
FIXED = ("model=tiny", "logger=none", "strategy=adalora", "trainer.precision=fp32")


def make_run(*words: str) -> Run:
    return build_run(compose("train", [*FIXED, *words]).tree)


def ranks(network: Any) -> list[int]:
    entries = [m.lora_E["default"] for m in network.modules() if hasattr(m, "lora_E")]
    return [int(values.count_nonzero()) for values in entries]


def draw(network: Any, seed: int) -> None:
    """Set every adapter's values and gradients at random."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        if "lora_" in name:
            parameter.data.add_(torch.randn(parameter.shape, generator=generator))
            parameter.grad = torch.randn(parameter.shape, generator=generator)


def test_a_gradient_that_overflows_leaves_the_importance_as_it_was() -> None:
    run = make_run()
    network: Any = build_network(run, LABELS, Cache())
    draw(network, 1)
    with run.strategy.stepping(network, 1, 20):
        pass
    before = network.allocation.mean_A_0.clone()
    draw(network, 2)
    for parameter in network.parameters():
        if parameter.grad is not None:  # as in fp16, whose step is then skipped
            parameter.grad.view(-1)[:2] = torch.tensor([float("inf"), float("nan")])
    with run.strategy.stepping(network, 2, 20):
        pass
    assert all(each.isfinite().all() for each in network.allocation.buffers())
    is_kept = network.allocation.mean_A_0 == before
    assert is_kept.view(-1)[:2].all() and not is_kept.all()


def test_every_allocation_equals_that_of_peft() -> None:
    words = ("orthogonality=0", "every_steps=3", "warmup=0.1", "final=0.25", "rank=2")
    run = make_run(*(f"strategy.{word}" for word in words))
    ours = build_network(run, LABELS, Cache())
    theirs: Any = copy.deepcopy(ours)
    config = theirs.peft_config["default"]
    config.total_step, config.tinit, config.tfinal, config.deltaT = 20, 2, 5, 3
    config.target_r = 2
    theirs.base_model.rankallocator._set_budget_scheduler(theirs.base_model.model)
    seen = set()
    for step in range(1, 21):
        draw(ours, step)
        draw(theirs, step)
        with run.strategy.stepping(ours, step, 20):
            pass
        theirs.base_model.update_and_allocate(step)
        assert ranks(ours) == ranks(theirs), step
        seen.add(sum(ranks(ours)))
    assert len(seen) > 3  # the budget fell in several steps
    assert sum(ranks(ours)) == 2 * len(ranks(ours))
    for (name, one), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other), name


def test_the_gradient_of_the_penalty_equals_that_of_peft() -> None:
    run = make_run("strategy.orthogonality=0.3")
    ours = build_network(run, LABELS, Cache())
    theirs: Any = copy.deepcopy(ours)
    theirs.peft_config["default"].orth_reg_weight = 0.3
    ids, labels = torch.tensor([[2, 10, 11, 3]]), torch.tensor([1])
    for network in (ours, theirs):
        network.eval()  # no dropout
    torch.nn.functional.cross_entropy(ours(input_ids=ids).logits, labels).backward()  # type: ignore[no-untyped-call]
    theirs(input_ids=ids, labels=labels).loss.backward()
    with run.strategy.stepping(ours, 1, 100):
        pass
    for (name, one), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        if one.requires_grad:
            torch.testing.assert_close(one.grad, other.grad, msg=name)


@pytest.fixture
def learning(learnable: Path) -> Run:
    data = ("data=files", f"data.train={learnable}", "data.batch_size=8", "trainer.epochs=3")
    words = ("strategy.rank=2", "strategy.initial_rank=6", "strategy.every_steps=4")
    return make_run(*data, *words, "strategy.lr=1e-2")


def test_a_trained_adapter_can_be_merged(learning: Run, here: Path) -> None:
    fit(learning, here / "run", Identity("x", None, here))
    network: Any = load_trained(learning, here / "run", LABELS).network.eval()
    merged = copy.deepcopy(network).merge_and_unload()
    ids = torch.tensor([[2, 10, 11, 12, 3]])
    with torch.inference_mode():
        torch.testing.assert_close(merged(ids).logits, network(ids).logits, atol=1e-5, rtol=1e-5)


def test_the_last_step_uses_exactly_the_budget(learning: Run, here: Path) -> None:
    from lightning_modules.callback.checkpoint_file import read_checkpoint

    class Stop(Hooks):
        left = 41  # of 42 steps, after the last allocation

        def interrupted(self) -> bool:
            self.left -= 1
            return self.left < 0

    fit(learning, here / "run", Identity("x", None, here), Stop())
    state = read_checkpoint(here / "run/checkpoint.pt").network
    kept = [int(t.count_nonzero()) for name, t in state.items() if ".lora_E." in name]
    assert len(kept) == 13
    assert sum(kept) == 2 * 13
    assert len(set(kept)) > 1 and max(kept) > 2  # some layers got more, others fewer


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("rank=20", "strategy.rank: must be <= strategy.initial_rank=12, got 20"),
        ("warmup=0.8", "strategy.warmup: must be < 1 - strategy.final=0.3, got 0.8"),
        ("orthogonality=-1", "strategy.orthogonality: must be >= 0, got -1"),
    ],
)
def test_invalid_budgets_are_refused(word: str, line: str) -> None:
    with pytest.raises(ConfigError) as raised:
        make_run(f"strategy.{word}")
    assert line in str(raised.value)


def test_a_run_of_one_step_allocates_ranks() -> None:
    strategy = make_run().strategy
    assert isinstance(strategy, Adalora)
    run = replace(make_run(), strategy=replace(strategy, warmup=0.0, final=0.0))
    network = build_network(run, LABELS, Cache())
    draw(network, 0)
    with run.strategy.stepping(network, 1, 1):
        pass
    assert sum(ranks(network)) == 8 * 13
