"""LoRA's variants: what they learn, how they are initialized, and their exports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification

from lightning_modules.cache import Cache
from lightning_modules.error import ConfigError
from lightning_modules.model.kind import Kind
from lightning_modules.model.state import count_parameters
from lightning_modules.model.tiny import Tiny
from lightning_modules.network import build_network
from search.config import build_run, compose
from tests.conftest import loaded_network

LABELS = ("a", "b")
FIXED = ("model=tiny", "logger=none", "strategy=lora")


def build(*words: str) -> Any:
    run = build_run(compose("train", [*FIXED, *words]).tree)
    return build_network(run, LABELS, Cache())


def logits(network: Any) -> torch.Tensor:
    ids = torch.randint(5, 200, (4, 9), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        output: torch.Tensor = network.eval()(input_ids=ids).logits
    return output


# The four rows of an exclusive or: no single word determines the label.
XOR_IDS = torch.tensor([[2, 10, 20, 3], [2, 10, 21, 3], [2, 11, 20, 3], [2, 11, 21, 3]])
XOR = torch.tensor([0, 1, 1, 0])
FAMILY = [
    ("strategy=lora",),
    ("strategy=lora", "strategy.rslora=true"),
    ("strategy=lora", "strategy.dora=true"),
    ("strategy=lora", "strategy.init=pissa"),
    ("strategy=lora", "strategy.init=olora"),
    ("strategy=lora", "strategy.init=gaussian", "strategy.targets='query value dense'"),
    ("strategy=adalora",),
    ("strategy=peft", "strategy.method=loha"),
    ("strategy=peft", "strategy.method=lokr"),
]


@pytest.mark.thorough
@pytest.mark.parametrize("words", FAMILY, ids=" ".join)
def test_adapters_learn_xor_on_a_frozen_random_network(words: tuple[str, ...]) -> None:
    network = build(*words)
    for name, parameter in network.named_parameters():
        if "modules_to_save" in name:
            parameter.requires_grad_(False)  # the head stays random
            parameter.data *= 20  # its initial values are too small to classify with
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=3e-3)
    network.eval()  # without the head's dropout
    for _ in range(150):
        loss = torch.nn.functional.cross_entropy(network(input_ids=XOR_IDS).logits, XOR)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    assert network(input_ids=XOR_IDS).logits.argmax(1).tolist() == XOR.tolist()
    assert loss.item() < 0.3  # guessing gives 0.69


@pytest.mark.parametrize("word", ["dora=true", "init=pissa", "init=olora", "init=gaussian"])
def test_every_initialization_starts_as_the_pretrained_model(word: str) -> None:
    torch.testing.assert_close(
        logits(build(f"strategy.{word}")), logits(build("strategy=full")), atol=1e-5, rtol=1e-5
    )


def trained(*words: str) -> int:
    return count_parameters(build(*words))[0]


def test_each_option_adds_its_closed_form_number_of_parameters() -> None:
    # Per layer four linear layers of 32 outputs, one of 64 and one of 32; the pooler has 32.
    outputs = 2 * (4 * 32 + 64 + 32) + 32
    assert trained("strategy.dora=true") - trained() == outputs
    assert trained("strategy.rslora=true", "strategy.init=pissa") == trained()
    head = 2 * (32 + 1)
    for targets in ("query value", "query,value", "'attention.self.query value'"):
        words = (
            f'strategy.targets="{targets}"' if "'" not in targets else f"strategy.targets={targets}"
        )
        assert trained(words) - head == 2 * 2 * 8 * (32 + 32)


@pytest.mark.parametrize("rank", [4, 64])
def test_rslora_scales_by_the_square_root_of_the_rank(rank: int) -> None:
    for word, scale in (("false", 16 / rank), ("true", 16 / rank**0.5)):
        network = build(f"strategy.rank={rank}", f"strategy.rslora={word}")
        layers = [m for m in network.modules() if hasattr(m, "lora_A")]
        scales = [layer.scaling["default"] for layer in layers]
        assert len(scales) == 2 * 6 + 1 and set(scales) == {scale}


def refused(*words: str) -> str:
    with pytest.raises(ConfigError) as raised:
        build(*words)
    return str(raised.value)


def test_an_unknown_layer_is_refused_with_a_suggestion() -> None:
    assert refused("strategy.targets='query valu'") == (
        "strategy.targets: must be all-linear or names of the network's linear layers, got 'valu'. "
        "Did you mean value?"
    )
    assert "must be all-linear or names" in refused("strategy.targets=' '")


@pytest.mark.parametrize("words", [("init=pissa",), ("init=olora",), ("dora=true", "rslora=true")])
def test_the_merged_export_and_the_adapter_predict_the_same(
    words: tuple[str, ...], here: Path
) -> None:
    run = build_run(compose("train", [*FIXED, *(f"strategy.{word}" for word in words)]).tree)
    cache = Cache()
    network = build_network(run, LABELS, cache)
    base = loaded_network(cache)
    base.save_pretrained(here / "base")
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn(parameter.shape)
    expected = logits(network)
    run.strategy.export(network, run.model.load_tokenizer(), run.model, run.task, here / "out")
    merged = AutoModelForSequenceClassification.from_pretrained(here / "out")
    torch.testing.assert_close(logits(merged), expected, atol=1e-4, rtol=1e-3)
    alone = AutoModelForSequenceClassification.from_pretrained(here / "base")
    alone = PeftModel.from_pretrained(alone, here / "out/adapter")
    torch.testing.assert_close(logits(alone), expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("strategy", ["lora", "adalora", "ia3"])
@pytest.mark.parametrize("kind", [Kind.encoder, Kind.decoder, Kind.encoder_decoder])
def test_a_strategy_supports_every_architecture(strategy: str, kind: Kind) -> None:
    """Adapters are on every linear layer of a backbone, and on none of the new head."""
    run = build_run(compose("train", [*FIXED, f"strategy={strategy}"]).tree)
    network = Tiny(kind=kind, width=32, num_layers=2, num_heads=4).load_network(
        run.task.auto_class, num_labels=2
    )
    adapted: Any = run.strategy.adapt(network)
    heads = [name for name, p in adapted.named_parameters() if "modules_to_save" in name]
    assert heads and not any("lora_" in name or "ia3_" in name for name in heads)
    text = torch.tensor([[10, 11, 12, 3]])  # BART reads its output at the end token
    assert adapted(input_ids=text).logits.shape == (1, 2)
