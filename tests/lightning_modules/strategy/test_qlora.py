"""QLoRA: missing requirements are reported in one line."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest
import torch

from lightning_modules.error import ConfigError
from search.config import build_run, compose


def check(*words: str) -> str:
    run = build_run(compose("train", ["strategy=qlora", *words]).tree)
    with pytest.raises(ConfigError) as raised:
        run.strategy.check(run.model, run.task)
    return str(raised.value)


@pytest.mark.skipif(find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_a_missing_package_is_reported() -> None:
    assert check("model=minilm") == (
        "strategy: strategy=qlora needs bitsandbytes, got no such package. "
        "Run pip install bitsandbytes, or set strategy=lora."
    )


def test_a_model_without_pretrained_weights_is_refused() -> None:
    assert check("model=tiny").startswith("model: strategy=qlora needs a pretrained model, got")


def test_a_pair_of_encoders_is_refused() -> None:
    line = check("model=minilm", "task=summarization")
    assert line.startswith("model: strategy=qlora needs an encoder-decoder for this task, got sen")


def test_initializations_from_the_weights_are_refused() -> None:
    line = check("model=minilm", "strategy.init=pissa")
    assert line.startswith("strategy.init: must be default or gaussian with 4-bit weights, got ")


@pytest.mark.parametrize("storage", [torch.uint8, torch.float32])
def test_packed_weights_are_counted_like_in_peft(storage: torch.dtype) -> None:
    from peft import PeftModel

    from lightning_modules.model.state import count_parameters

    class Params4bit(torch.nn.Parameter):
        """32 4-bit values in 16 bytes, under the name that bitsandbytes uses."""

    network = torch.nn.Linear(2, 3)
    packed = torch.zeros(16 // storage.itemsize, 1, dtype=storage)
    network.frozen = Params4bit(packed, requires_grad=False)
    assert count_parameters(network) == (2 * 3 + 3, 2 * 3 + 3 + 32)
    pefts: Any = PeftModel.get_nb_trainable_parameters
    assert pefts(network) == count_parameters(network)


@pytest.mark.gpu
@pytest.mark.skipif(
    find_spec("bitsandbytes") is None or not torch.cuda.is_available(),
    reason="needs bitsandbytes and a CUDA device",
)
def test_adapters_learn_on_4_bit_weights() -> None:
    from lightning_modules.cache import Cache
    from lightning_modules.model.state import count_parameters
    from lightning_modules.network import build_network

    runs = [
        build_run(compose("train", ["model=minilm", *words]).tree)
        for words in (("strategy=qlora", "strategy.rank=8"), ("strategy=lora",))
    ]
    for run in runs[:1]:
        run.strategy.check(run.model, run.task)
    four: Any
    four, whole = (build_network(run, ("a", "b"), Cache()).cuda() for run in runs)
    assert count_parameters(four) == count_parameters(whole)
    ids = torch.tensor([[101, 2023, 2003, 102]], device="cuda")
    logits, expected = four(input_ids=ids).logits, whole(input_ids=ids).logits
    assert (logits - expected).abs().max() < 0.5
    logits.sum().backward()
    assert any(p.grad is not None and p.grad.any() for p in four.parameters())
