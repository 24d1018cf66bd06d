"""Any PEFT method: those that are offered restore and export, others are refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

from lightning_modules.cache import Cache
from lightning_modules.error import ConfigError
from lightning_modules.export.model import Card, load_exported, save_exported
from lightning_modules.export.predictor import Predictor
from lightning_modules.model.state import restore_state, trained_state
from lightning_modules.network import build_network
from lightning_modules.run import Run
from lightning_modules.strategy.peft import _REFUSED
from search.config import build_run, compose

LABELS = ("a", "b", "c")
# With options where the tiny network is too small for PEFT's defaults.
METHODS = {
    "beft": "{target_modules: [value]}",
    "boft": "{boft_block_size: 4}",
    "c3a": "{block_size: 16}",
    "delora": "{r: 4}",
    "fourierft": "{n_frequency: 50}",
    "hra": "{r: 4}",
    "ln_tuning": "{target_modules: [LayerNorm]}",
    "loha": "{r: 4}",
    "lokr": "{r: 4}",
    "miss": "{r: 4}",
    "oft": "{oft_block_size: 8}",
    "p_tuning": "{num_virtual_tokens: 4, encoder_hidden_size: 16}",
    "randlora": "{r: 4}",
    "road": "{group_size: 16}",
    "shira": "{r: 2}",
    "unilora": "{}",
    "vblora": "{vector_length: 16, num_vectors: 8}",
    "vera": "{r: 16}",
    "waveft": "{n_frequency: 50}",
}


def make_run(method: str, options: str = "{}", *words: str) -> Run:
    fixed = ("model=tiny", "logger=none", "strategy=peft", f"strategy.method={method}")
    return build_run(compose("train", [*fixed, f"strategy.options={options}", *words]).tree)


def logits(network: Any) -> torch.Tensor:
    ids = torch.randint(5, 200, (4, 9), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        output: torch.Tensor = network.eval()(
            input_ids=ids, attention_mask=torch.ones_like(ids)
        ).logits
    return output


@pytest.mark.thorough
@pytest.mark.parametrize("method", METHODS)
def test_a_method_restores_and_exports_exactly(method: str, here: Path) -> None:
    run = make_run(method, METHODS[method])
    run.strategy.check(run.model, run.task)
    torch.manual_seed(1)
    one = build_network(run, LABELS, Cache())
    torch.manual_seed(2)  # what PEFT draws and freezes depends on the run's seed only
    other = build_network(run, LABELS, Cache())
    for parameter in one.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn(parameter.shape)
    expected = logits(one)
    assert not torch.allclose(expected, logits(other))
    restore_state(other, trained_state(one))
    assert torch.equal(logits(other), expected)
    predictor = Predictor(one, run.model.load_tokenizer(), run.task, LABELS, 64)
    save_exported(predictor, run, Card("x", {}, {}), here / "out")
    again = load_exported(here / "out", run.task).network
    torch.testing.assert_close(logits(again), expected, atol=2e-5, rtol=1e-3)


def refused(method: str, options: str = "{}", *words: str) -> str:
    with pytest.raises(ConfigError) as raised:
        run = make_run(method, options, *words)
        run.strategy.check(run.model, run.task)
    (line,) = str(raised.value).splitlines()
    return line


def test_a_missing_method_is_refused() -> None:
    assert refused("null").startswith("strategy.method: must be a PEFT method, got None. Set")


def test_an_unknown_method_is_refused_with_the_known_ones() -> None:
    line = refused("verra")
    assert line.startswith("strategy.method: must be one of adamss, ")
    assert line.endswith("got 'verra'. Did you mean vera?")
    offered = {each.value.lower() for each in PEFT_TYPE_TO_CONFIG_MAPPING} - _REFUSED.keys()
    assert all(name in line for name in offered)


@pytest.mark.parametrize("method", _REFUSED)
def test_an_unsupported_method_is_refused_with_the_reason(method: str) -> None:
    assert method.upper() in {each.value for each in PEFT_TYPE_TO_CONFIG_MAPPING}
    line = refused(method)
    assert line.startswith(f"strategy.method: must be another PEFT method: {_REFUSED[method]}")


@pytest.mark.parametrize(
    ("method", "options", "line"),
    [
        ("vera", "{rr: 4}", "strategy.options.rr: must be a field of VeraConfig, got 4. Did you"),
        ("vera", "{task_type: x}", "strategy.options.task_type: must be left out, because the mo"),
        ("lora", "{init_lora_weights: loftq}", "strategy: must be a method that can adapt this "),
        ("p_tuning", "{num_virtual_tokens: 4}", "model: strategy=peft needs a model that does no"),
    ],
)
def test_options_are_checked_before_loading_weights(method: str, options: str, line: str) -> None:
    assert refused(method, options, "model.kind=decoder").startswith(line)


@pytest.mark.parametrize(
    ("method", "options", "words", "reason"),
    [
        ("vera", "{target_modules: [nothing]}", (), "vera (No layers types compatible with"),
        ("c3a", "{block_size: 7}", (), "c3a (The block size should be a factor of the input"),
        ("hra", "{}", ("model.kind=decoder",), "hra (Target module Conv1D"),
        ("p_tuning", "{num_virtual_tokens: 2}", ("model.kind=encoder_decoder",), "p_tuning (Pass"),
    ],
)
def test_errors_from_peft_become_one_line(
    method: str, options: str, words: tuple[str, ...], reason: str
) -> None:
    run = make_run(method, options, *words)
    run.strategy.check(run.model, run.task)
    with pytest.raises(ConfigError) as raised:
        build_network(run, LABELS, Cache())
    (line,) = str(raised.value).splitlines()
    assert line.startswith(
        f"strategy: must be a method that can adapt this model for this task, got {reason}"
    )
