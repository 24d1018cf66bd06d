"""Passes of several LoRA networks as one, against each network's own, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_modules.batch.passes import Alone, Pass
from lightning_modules.batch.type import IGNORED, Batch
from lightning_modules.cache import Cache
from lightning_modules.fit.pack.draws import Draws
from lightning_modules.fit.pack.layout import CannotShare
from lightning_modules.fit.pack.network import PackedNetwork
from lightning_modules.model.recompute import recompute
from lightning_modules.network import build_network
from lightning_modules.run import Run
from search.config import build_run, compose

FIXED = ("model=tiny", "logger=none", "strategy=lora", "optimizer.lr=1e-2")
ENCODER, DECODER = ("task=classification",), ("task=generation", "model.kind=decoder")
TAGGING = ("task=token_classification", "data=files", "data.train=rows.jsonl")
TASKS = {"classification": ENCODER, "tagging": TAGGING, "generation": DECODER}
OWN = (
    ("strategy.rank=4",),
    ("strategy.rank=8", "strategy.alpha=32"),
    ("strategy.rank=2", "strategy.rslora=true"),
)
LABELS = ("a", "b", "c")


def runs_of(*words: str) -> list[Run]:
    return [build_run(compose("train", [*FIXED, *words, *own]).tree) for own in OWN]


def networks_of(runs: Sequence[Run]) -> list[nn.Module]:
    networks = []
    for run in runs:
        network = build_network(run, LABELS, Cache()).double().train()
        for name, parameter in network.named_parameters():
            if "lora_B" in name:  # at 0, A would have no gradient
                nn.init.normal_(parameter, std=0.1)
        networks.append(network)
    return networks


def batch_of(task: str, num_rows: int, num_tokens: int, seed: int) -> dict[str, Tensor]:
    drawn = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, 60, (num_rows, num_tokens), generator=drawn)
    mask = torch.ones_like(ids)
    mask[0, num_tokens - 2 :] = 0  # a shorter row
    batch = {"input_ids": ids * mask, "attention_mask": mask}
    if task == "classification":
        labels = torch.randint(len(LABELS), (num_rows,), generator=drawn)
        return {**batch, "labels": labels}
    if task == "generation":
        return {**batch, "labels": ids.masked_fill(mask == 0, IGNORED)}
    starts = torch.arange(3).expand(num_rows, -1).clone()
    labels = torch.randint(len(LABELS), (num_rows, 3), generator=drawn)
    return {**batch, "starts": starts, "labels": labels}


def loss_of(run: Run, batch: Batch, network: Any) -> Tensor:
    output = run.task.forward(network, batch)
    return run.task.loss_sum(output, batch) / run.task.num_targets(batch)


def passes_of(runs: Sequence[Run], networks: Sequence[nn.Module], batches: Any) -> list[Pass]:
    return [
        Pass(
            network, run.task.inputs(batch), partial(loss_of, run, batch), lambda x: x, lambda: None
        )
        for run, network, batch in zip(runs, networks, batches, strict=True)
    ]


def seeded_draws(num: int) -> list[Draws]:
    draws = [Draws() for _ in range(num)]
    for number, each in enumerate(draws):
        each.seed(torch.device("cpu"), number)
    return draws


def gradients(networks: Sequence[nn.Module]) -> list[dict[str, Tensor]]:
    found = []
    for network in networks:
        named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
        assert all(p.grad is not None and p.grad.any() for _, p in named)
        found.append({name: p.grad.clone() for name, p in named if p.grad is not None})
        network.zero_grad()
    return found


def compare(runs: Sequence[Run], batches: Sequence[Batch], num_passes: int = 1) -> None:
    networks = networks_of(runs)
    passes, draws = passes_of(runs, networks, batches), seeded_draws(len(runs))
    alone = []
    for _ in range(num_passes):
        for each, own in zip(passes, draws, strict=True):
            with own.drawing():
                alone.append(Alone().run(each))
    expected, draws = gradients(networks), seeded_draws(len(runs))
    packed, together = PackedNetwork(networks), []
    for _ in range(num_passes):
        together += packed.run(passes, draws)
    torch.testing.assert_close(together, alone, atol=1e-10, rtol=1e-10)
    for one, other in zip(gradients(networks), expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("task", TASKS)
def test_gradients_equal_those_alone(task: str) -> None:
    runs = runs_of(*TASKS[task])
    compare(runs, [batch_of(task, 4, 7, seed) for seed in range(3)], num_passes=2)


@pytest.mark.parametrize("task", TASKS)
def test_rows_of_other_numbers_and_widths_pass_together(task: str) -> None:
    runs = runs_of(*TASKS[task])
    sizes = ((4, 7), (1, 5), (3, 9))
    compare(runs, [batch_of(task, *size, seed) for seed, size in enumerate(sizes)])


def test_each_run_draws_its_own_dropout() -> None:
    runs = runs_of(*ENCODER, "strategy.dropout=0.3")
    sizes = ((4, 7), (4, 5), (3, 9))
    batches = [batch_of("classification", *size, seed) for seed, size in enumerate(sizes)]
    compare(runs, batches, num_passes=2)


def test_nan_stays_in_its_own_run() -> None:
    runs = runs_of(*ENCODER)
    networks = networks_of(runs)
    with torch.no_grad():
        next(p for n, p in networks[1].named_parameters() if "lora_A" in n).fill_(torch.nan)
    batches = [batch_of("classification", 4, 7, seed) for seed in range(3)]
    passes, draws = passes_of(runs, networks, batches), seeded_draws(3)
    losses = PackedNetwork(networks).run(passes, draws)
    assert [bool(loss.isfinite()) for loss in losses] == [True, False, True]
    for number in (0, 2):
        named = networks[number].named_parameters()
        assert all(p.grad.isfinite().all() for _, p in named if p.grad is not None)


def test_networks_that_are_not_alike_are_refused() -> None:
    runs = [
        build_run(compose("train", [*FIXED, *ENCODER, *words]).tree)
        for words in (("strategy.targets=query",), ("strategy.targets=value",))
    ]
    with pytest.raises(CannotShare, match="adapt different layers"):
        PackedNetwork(networks_of(runs))


def test_other_frozen_weights_are_refused() -> None:
    runs = [build_run(compose("train", [*FIXED, *ENCODER, f"seed={seed}"]).tree) for seed in (1, 2)]
    with pytest.raises(CannotShare, match="different frozen weights"):
        PackedNetwork(networks_of(runs))


def test_layers_that_are_computed_again_are_refused() -> None:
    networks = networks_of(runs_of(*ENCODER))
    assert recompute(networks[1])  # one of them is enough: it may be the one that stays
    with pytest.raises(CannotShare, match="gradient checkpointing"):
        PackedNetwork(networks)


def test_what_else_is_trained_is_refused() -> None:
    networks = networks_of(runs_of(*ENCODER))
    for network in networks:
        network.get_parameter(
            "base_model.model.bert.embeddings.word_embeddings.weight"
        ).requires_grad_()
    with pytest.raises(CannotShare, match="something else than LoRA"):
        PackedNetwork(networks)
