"""What every strategy keeps, over every YAML of conf/strategy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lightning_modules.logger.base import Identity
from lightning_modules.network import build_network, count_parameters, restore_state, trained_state
from lightning_modules.run import Run, fit
from lightning_modules.warm import Warm
from search.config import CONF_DIR, build_run, compose

STRATEGIES = sorted(path.stem for path in (CONF_DIR / "strategy").glob("*.yaml"))
TRAINED = [name for name in STRATEGIES if name != "prompting"]
LABELS = ("a", "b", "c")
WIDTH, INNER, LAYERS, RANK = 32, 64, 2, 8

# The closed form of each strategy's trainable count on model=tiny, with its head.
_ENCODER = LAYERS * (4 * (WIDTH * WIDTH + WIDTH) + 2 * WIDTH * INNER + INNER + WIDTH + 4 * WIDTH)
_POOLER = WIDTH * WIDTH + WIDTH
_HEAD = (WIDTH + 1) * len(LABELS)
_LORA = LAYERS * RANK * (4 * (WIDTH + WIDTH) + 2 * (WIDTH + INNER)) + RANK * (WIDTH + WIDTH)


def _embeddings(network: torch.nn.Module) -> int:
    return sum(p.numel() for name, p in network.named_parameters() if "embeddings" in name)


def _every(network: torch.nn.Module) -> int:
    return _embeddings(network) + _ENCODER + _POOLER + _HEAD


COUNTS: dict[str, Callable[[torch.nn.Module], int]] = {
    "full": _every,
    "from_scratch": _every,
    "lora": lambda network: _LORA + _HEAD,
    "feature_extraction": lambda network: _HEAD,
    "prompting": lambda network: 0,
}


def make_run(strategy: str, *words: str) -> Run:
    fixed = ("model=tiny", f"strategy={strategy}", "logger=none", "trainer.epochs=1")
    return build_run(compose("train", [*fixed, *words]).tree)


def logits(network: torch.nn.Module) -> torch.Tensor:
    torch.manual_seed(0)
    ids = torch.randint(5, 200, (4, 9))
    mask = torch.ones_like(ids)
    mask[0, 5:] = 0
    with torch.inference_mode():
        output: torch.Tensor = network.eval()(input_ids=ids, attention_mask=mask).logits
    return output


def test_every_strategy_has_its_closed_form() -> None:
    assert set(STRATEGIES) == set(COUNTS)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_trains_exactly_what_it_claims(strategy: str) -> None:
    network = build_network(make_run(strategy), LABELS, Warm())
    assert count_parameters(network)[0] == COUNTS[strategy](network)


@pytest.mark.parametrize("strategy", TRAINED)
def test_step_zero_is_the_loaded_network(strategy: str) -> None:
    run, warm = make_run(strategy), Warm()
    adapted = build_network(run, LABELS, warm)
    (loaded,) = (kept for key, kept in warm._kept.items() if key[0] == "network")  # type: ignore[index]
    torch.testing.assert_close(logits(adapted), logits(loaded), atol=0, rtol=0)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_only_what_it_trains_moves(strategy: str, here: Path) -> None:
    run, warm = make_run(strategy), Warm()
    fit(run, here / "run", Identity("x", None, here), warm=warm)
    before = build_network(run, ("negative", "positive"), Warm())
    after = build_network(run, ("negative", "positive"), warm)
    frozen = {n: p for n, p in before.named_parameters() if not p.requires_grad}
    for name, parameter in after.named_parameters():
        if name in frozen:
            # The warm base weights have been through a whole training.
            assert torch.equal(parameter, frozen[name]), name


@pytest.mark.parametrize("strategy", TRAINED)
def test_state_saved_and_restored_predicts_the_same(strategy: str) -> None:
    run = make_run(strategy)
    one = build_network(run, LABELS, Warm())
    for parameter in one.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    other = build_network(run, LABELS, Warm())
    assert not torch.equal(logits(one), logits(other))
    restore_state(other, trained_state(one))
    assert torch.equal(logits(one), logits(other))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_says_whether_it_trains(strategy: str) -> None:
    assert make_run(strategy).strategy.trains == (strategy in TRAINED)


@pytest.mark.parametrize("strategy", ["lora", "feature_extraction"])
def test_frozen_layers_have_no_dropout(strategy: str) -> None:
    network = build_network(make_run(strategy), LABELS, Warm()).train()
    live = [
        name
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Dropout) and module.p > 0 and "encoder" in name
    ]
    assert live == []


def test_new_weights_are_the_seeds_not_the_processs() -> None:
    torch.manual_seed(1)
    one = build_network(make_run("lora"), LABELS, Warm())
    torch.manual_seed(2)
    other = build_network(make_run("lora"), LABELS, Warm())
    for (name, first), second in zip(one.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(first, second), name


def test_restoring_another_networks_state_is_refused() -> None:
    full = build_network(make_run("full"), LABELS, Warm())
    frozen = build_network(make_run("feature_extraction"), LABELS, Warm())
    with pytest.raises(KeyError, match="another network"):
        restore_state(full, trained_state(frozen))
