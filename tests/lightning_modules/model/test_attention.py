from __future__ import annotations

from typing import Any

import pytest
import transformers
from transformers.models.auto import modeling_auto as auto

from lightning_modules.cache import Cache
from lightning_modules.machine.hardware import Device, Hardware, Precision
from lightning_modules.model.attention import SHORT_TOKENS, Attention, chosen, has_sdpa
from lightning_modules.network import build_network
from search.config import build_run, compose

MAPPINGS = (
    auto.MODEL_MAPPING_NAMES,
    auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
)


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [("bert", True), ("deberta-v2", False), ("qwen3", True), ("gemma3_text", None), ("no", None)],
)
def test_whether_attention_can_be_sdpa_is_known_without_an_import(
    architecture: str, expected: bool | None
) -> None:
    assert has_sdpa(architecture) is expected


def on(device: Device, precision: Precision) -> Hardware:
    return Hardware(device, precision, 1, "a test")


BF16_CPU = on(Device.cpu, Precision.bf16)


@pytest.mark.parametrize(
    ("hardware", "max_length", "expected"),
    [
        (BF16_CPU, SHORT_TOKENS, Attention.eager),
        (BF16_CPU, SHORT_TOKENS + 1, Attention.sdpa),
        (on(Device.cpu, Precision.fp32), SHORT_TOKENS, Attention.sdpa),
        (on(Device.cuda, Precision.bf16), SHORT_TOKENS, Attention.sdpa),
    ],
)
def test_auto_is_eager_only_for_short_texts_in_bf16_on_a_cpu(
    hardware: Hardware, max_length: int, expected: Attention
) -> None:
    assert chosen(Attention.auto, hardware, max_length) is expected
    for asked in (Attention.eager, Attention.sdpa):
        assert chosen(asked, hardware, max_length) is asked


@pytest.mark.parametrize("strategy", ["lora", "full"])
@pytest.mark.parametrize(
    ("max_length", "hardware", "expected"),
    [(64, BF16_CPU, "eager"), (256, BF16_CPU, "sdpa"), (64, None, "sdpa")],
)
def test_a_network_has_the_attention_that_suits_its_hardware(
    strategy: str, max_length: int, hardware: Hardware | None, expected: str
) -> None:
    words = ["model=minilm", "model.attention=auto", f"strategy={strategy}"]
    words.append(f"data.max_length={max_length}")
    run = build_run(compose("train", words).tree)
    network: Any = build_network(run, ("no", "yes"), Cache(), None, hardware)
    assert network.config._attn_implementation == expected


@pytest.mark.thorough
def test_it_is_what_the_classes_of_transformers_say() -> None:
    texts = {kind for mapping in MAPPINGS[1:] for kind in mapping}
    wrong, num_known = [], 0
    for mapping in MAPPINGS:
        for architecture, names in mapping.items():
            found = has_sdpa(architecture) if architecture in texts else None
            if found is None:
                continue
            for name in [names] if isinstance(names, str) else names:
                num_known += 1
                if getattr(transformers, name)._supports_sdpa is not found:
                    wrong.append(name)
    assert not wrong and num_known > 300
