"""Conformance of every YAML of conf/strategy, with the heads of every task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_modules.cache import Cache
from lightning_modules.callback.best import load_best
from lightning_modules.export.model import Card, load_exported, save_exported
from lightning_modules.export.predictor import Predictor
from lightning_modules.fit import fit
from lightning_modules.logger.base import Identity
from lightning_modules.model.kind import Kind
from lightning_modules.model.state import count_parameters, restore_state, trained_state
from lightning_modules.model.tiny import Tiny
from lightning_modules.network import build_network
from lightning_modules.run import Run
from lightning_modules.task.classification import Classification
from search.config import build_run, compose
from tests.conftest import loaded_network
from tests.cut import StopAt
from tests.options import names_of, needed_by

STRATEGIES = names_of("strategy")
LABELS = ("a", "b", "c")
D, INNER, LAYERS, VIRTUAL = 32, 64, 2, 20

# Tested in files of their own.
ELSEWHERE = {"qlora", "prompting"}
# These have their own head, for classes only.
OF_CLASSES = {"feature_extraction"}
BUILT = [name for name in STRATEGIES if name not in ELSEWHERE]
# These read more tokens than the pretrained model, from the first step.
VIRTUAL_TOKENS = {"prompt_tuning", "prefix_tuning"}

SEQUENCE, TOKENS = "AutoModelForSequenceClassification", "AutoModelForTokenClassification"
ANSWERS = "AutoModelForQuestionAnswering"
WRITES, TRANSLATES = "AutoModelForCausalLM", "AutoModelForSeq2SeqLM"
HEADS = {
    SEQUENCE: Kind.encoder,
    TOKENS: Kind.encoder,
    ANSWERS: Kind.encoder,
    WRITES: Kind.decoder,
    TRANSLATES: Kind.encoder_decoder,
}
MEMBERS = [
    (name, head) for name in BUILT for head in HEADS if name not in OF_CLASSES or head == SEQUENCE
]
CLASSIFIERS_FIRST = [
    pytest.param(*each, marks=() if each[1] == SEQUENCE else pytest.mark.thorough)
    for each in MEMBERS
]

# The closed forms, from (inputs, outputs) of every linear layer of the backbone.
_LAYER = [(D, D)] * 4 + [(D, INNER), (INNER, D)]
_LINEAR = {
    SEQUENCE: LAYERS * _LAYER + [(D, D)],  # the pooler
    TOKENS: LAYERS * _LAYER,
    ANSWERS: LAYERS * _LAYER,
    WRITES: LAYERS * [(D, 3 * D), (D, D), (D, INNER), (INNER, D)],
    TRANSLATES: LAYERS * (_LAYER + _LAYER + [(D, D)] * 4),
}
_NORMS = {SEQUENCE: 2 * LAYERS + 1, TOKENS: 2 * LAYERS + 1, WRITES: 2 * LAYERS + 1}
_NORMS[ANSWERS] = _NORMS[TOKENS]
_NORMS[TRANSLATES] = (2 + 3) * LAYERS + 2
_SCALES = {SEQUENCE: LAYERS * (2 * D + INNER), WRITES: LAYERS * (3 * D + INNER)}
_SCALES[TOKENS] = _SCALES[ANSWERS] = _SCALES[SEQUENCE]
_SCALES[TRANSLATES] = LAYERS * ((2 * D + INNER) + (4 * D + INNER))
_HEAD = {SEQUENCE: (D + 1) * len(LABELS), TOKENS: (D + 1) * len(LABELS), ANSWERS: (D + 1) * 2}
_HEAD |= {WRITES: 0, TRANSLATES: 0}


def _sum(head: str, of: Callable[[int, int], int]) -> int:
    return sum(of(inputs, outputs) for inputs, outputs in _LINEAR[head])


def _every(network: torch.nn.Module, head: str) -> int:
    names = ("embed", "wte", "wpe", "shared")
    embeddings = {
        id(p): p.numel()
        for name, p in network.named_parameters()
        if any(part in name for part in names) and "norm" not in name.lower()
    }
    linear = _sum(head, lambda i, o: i * o + o)
    return sum(embeddings.values()) + linear + 2 * D * _NORMS[head] + _HEAD[head]


def _top(head: str) -> int:
    """Return the number of values of the top layer, in both stacks if there are two."""
    pooler = D * D + D if head == SEQUENCE else 0
    linear = (_sum(head, lambda i, o: i * o + o) - pooler) // LAYERS
    norms = {WRITES: 2 + 1, TRANSLATES: 2 + 3}.get(head, 2)  # GPT-2 has one after its layers
    return linear + pooler + 2 * D * norms + _HEAD[head]


COUNTS: dict[str, Callable[[torch.nn.Module, str], int]] = {
    "full": _every,
    "from_scratch": _every,
    "feature_extraction": lambda network, head: _HEAD[head],
    "freeze": lambda network, head: _top(head),
    "bitfit": lambda _, head: _sum(head, lambda i, o: o) + D * _NORMS[head] + _HEAD[head],
    "lora": lambda network, head: _sum(head, lambda i, o: 8 * (i + o)) + _HEAD[head],
    "adalora": lambda network, head: _sum(head, lambda i, o: 12 * (i + o + 1)) + _HEAD[head],
    "ia3": lambda network, head: _SCALES[head] + _HEAD[head],
    "prompt_tuning": lambda network, head: VIRTUAL * D + _HEAD[head],
    "prefix_tuning": lambda network, head: 2 * VIRTUAL * LAYERS * D + _HEAD[head],
    "peft": lambda network, head: _sum(head, lambda i, o: 256 + o) + _HEAD[head],  # VeRA
}


@cache
def make_run(strategy: str, *words: str, head: str = SEQUENCE) -> Run:
    fixed = ("model=tiny", f"strategy={strategy}", "logger=none", "trainer.epochs=1")
    run = build_run(compose("train", [*fixed, *needed_by(strategy), *words]).tree)
    if head == SEQUENCE:
        return run
    changes: dict[str, Any] = {"auto_class": head}
    if head == ANSWERS:  # the two ends of an answer
        changes["config"] = lambda self, labels: {"num_labels": 2}
    task = type("Other", (Classification,), changes)(**vars(run.task))
    return replace(run, task=task, model=Tiny(**{**vars(run.model), "kind": HEADS[head]}))


def build(strategy: str, head: str = SEQUENCE, *words: str) -> Any:
    return build_network(make_run(strategy, *words, head=head), LABELS, Cache())


def inputs(head: str) -> dict[str, torch.Tensor]:
    ids = torch.randint(5, 200, (4, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[0, 5:] = 0
    given = {"input_ids": ids, "attention_mask": mask}
    return {**given, "decoder_input_ids": ids} if head == TRANSLATES else given


def answer(network: Any, head: str) -> torch.Tensor:
    output = network(**inputs(head))
    if head == ANSWERS:
        return torch.stack([output.start_logits, output.end_logits])
    logits: torch.Tensor = output.logits
    return logits


def logits(network: Any, head: str = SEQUENCE) -> torch.Tensor:
    with torch.inference_mode():
        return answer(network.eval(), head)


def shake(network: Any) -> None:
    """Change every trained parameter, as training would."""
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)


def test_every_strategy_has_a_closed_form() -> None:
    assert set(STRATEGIES) == set(COUNTS) | ELSEWHERE


@pytest.mark.thorough
@pytest.mark.parametrize(("strategy", "head"), MEMBERS)
def test_a_strategy_trains_its_closed_form_number_of_parameters(strategy: str, head: str) -> None:
    network = build(strategy, head)
    assert count_parameters(network)[0] == COUNTS[strategy](network, head)


@pytest.mark.thorough
@pytest.mark.parametrize(("strategy", "head"), MEMBERS)
def test_step_zero_equals_the_loaded_network(strategy: str, head: str) -> None:
    run, cache = make_run(strategy, head=head), Cache()
    adapted = build_network(run, LABELS, cache)
    loaded = loaded_network(cache)
    found, expected = logits(adapted, head), logits(loaded, head)
    assert found.shape == expected.shape
    assert torch.equal(found, expected) == (strategy not in VIRTUAL_TOKENS)


@pytest.mark.thorough
@pytest.mark.parametrize(("strategy", "head"), MEMBERS)
def test_a_step_changes_only_trained_parameters(strategy: str, head: str) -> None:
    run, cache = make_run(strategy, "optimizer.weight_decay=0", head=head), Cache()
    network = build_network(run, LABELS, cache)
    at_start = state_of(network)
    shake(network)  # some values have no gradient at their initialization
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    optimizer = run.optimizer.build(network)
    target = torch.randn(logits(network, head).shape)
    loss = ((answer(network.train(), head) - target) ** 2).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    with run.strategy.stepping(network, 1, 100):
        optimizer.step()
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            assert torch.equal(parameter, before[name]), name
        elif parameter.grad is not None and parameter.grad.any():
            assert not torch.equal(parameter, before[name]), name
    reached = [p for p in network.parameters() if p.requires_grad and p.grad is not None]
    assert len(reached) >= 0.9 * sum(p.requires_grad for p in network.parameters())
    again = state_of(build_network(run, LABELS, cache))  # the next run of a worker
    assert all(torch.equal(again[name], at_start[name]) for name in again.keys() | at_start.keys())


def state_of(network: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize(("strategy", "head"), CLASSIFIERS_FIRST)
def test_a_restored_state_predicts_the_same(strategy: str, head: str) -> None:
    one, other = build(strategy, head), build(strategy, head)
    shake(one)
    assert not torch.equal(logits(one, head), logits(other, head))
    restore_state(other, trained_state(one))
    assert torch.equal(logits(one, head), logits(other, head))


@pytest.mark.parametrize(("strategy", "head"), CLASSIFIERS_FIRST)
def test_an_export_predicts_the_same(strategy: str, head: str, here: Path) -> None:
    assert_exports(make_run(strategy, head=head), head, here / "out")


def assert_exports(run: Run, head: str, folder: Path) -> None:
    """Assert that a trained network of the run predicts the same after export and loading."""
    network = build_network(run, LABELS, Cache())
    shake(network)
    expected = logits(network, head)
    predictor = Predictor(network, run.model.load_tokenizer(), run.task, LABELS, 64)
    save_exported(predictor, run, Card("x", {}, {}), folder)
    again = load_exported(folder, run.task).network
    torch.testing.assert_close(logits(again, head), expected, atol=2e-5, rtol=1e-4)
    assert torch.equal(logits(network, head), expected)  # the export leaves it unchanged


@pytest.mark.parametrize(
    "strategy",
    [
        name if name in ("full", "lora") else pytest.param(name, marks=pytest.mark.thorough)
        for name in BUILT
    ],
)
def test_a_resumed_run_equals_an_uninterrupted_one(
    strategy: str, learnable: Path, here: Path
) -> None:
    data = ("data=files", f"data.train={learnable}", "trainer.precision=fp32")
    # Steps of a head share a span up to the next validation, and stop only between spans.
    run, cache = make_run(strategy, *data, "trainer.validations_per_epoch=2"), Cache()
    for folder in ("whole", "cut"):
        (here / folder).mkdir()
    fit(run, here / "whole", Identity("x", None, here), cache=cache)
    fit(run, here / "cut", Identity("x", None, here), StopAt(3), Cache())
    assert (here / "cut/checkpoint.pt").is_file()
    fit(run, here / "cut", Identity("x", None, here), cache=Cache())
    whole, cut = load_best(here / "whole"), load_best(here / "cut")
    assert whole is not None and cut is not None and whole.weights.keys() == cut.weights.keys()
    for name, tensor in whole.weights.items():
        assert torch.equal(tensor, cut.weights[name]), name
    for name, tensor in whole.observed.items():
        assert torch.equal(tensor, cut.observed[name]), name
    # The cached base weights are unchanged after a whole training.
    before = build_network(run, ("negative", "positive"), Cache()).state_dict()
    for name, tensor in build_network(run, ("negative", "positive"), cache).state_dict().items():
        assert torch.equal(tensor, before[name]), name


NO_DROPOUT = ("lora", "adalora", "ia3", "prompt_tuning", "prefix_tuning", "peft")


@pytest.mark.parametrize("strategy", NO_DROPOUT)
@pytest.mark.parametrize("head", [WRITES, TRANSLATES])
def test_frozen_layers_have_no_dropout(strategy: str, head: str) -> None:
    network = build(strategy, head)
    expected = logits(network, head)
    with torch.inference_mode():
        assert torch.equal(answer(network.train(), head), expected)


@pytest.mark.parametrize("strategy", [*NO_DROPOUT, "feature_extraction"])
def test_only_the_head_keeps_its_dropout(strategy: str) -> None:
    network = build(strategy).train()
    live = {
        name.rpartition(".")[2]
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Dropout) and module.p > 0
    }
    assert live == (set() if strategy == "feature_extraction" else {"dropout"})


def test_new_weights_depend_only_on_the_seed_of_the_run() -> None:
    torch.manual_seed(1)
    one = build("lora")
    torch.manual_seed(2)
    other = build("lora")
    for (name, first), second in zip(one.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(first, second), name


def test_restoring_the_state_of_another_network_is_refused() -> None:
    full, frozen = build("full"), build("feature_extraction")
    with pytest.raises(KeyError, match="another network"):
        restore_state(full, trained_state(frozen))
