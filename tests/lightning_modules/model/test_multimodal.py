"""Conformance of decoders inside models that read pictures too, on small random networks.

Each is trained on texts alone, exported, and loaded with plain transformers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from lightning_modules.cache import Cache
from lightning_modules.check import check_run
from lightning_modules.error import ConfigError
from lightning_modules.fit import fit
from lightning_modules.logger.base import Identity
from lightning_modules.model.kind import Kind, kind_of
from lightning_modules.model.multimodal import decoder_of, other_parts
from lightning_modules.network import build_network
from lightning_modules.outcome import Ending
from lightning_modules.run import Run
from search.config import build_run, compose
from search.trained.export import Trained, export
from tests.lightning_modules.model.test_decoder import POSITIONS, SIZES, write_tokenizer
from tests.vllm import check_adapter, check_model

VISION: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}


def gemma3(ids: dict[str, int]) -> transformers.PreTrainedConfig:
    text = {**SIZES, **ids, "sliding_window": 16, "layer_types": None}
    return transformers.Gemma3Config(
        text_config=text, vision_config=VISION, mm_tokens_per_image=4, image_token_id=5
    )


def qwen3_5(ids: dict[str, int]) -> transformers.PreTrainedConfig:
    text = {
        **SIZES,
        **ids,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 2,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "layer_types": ["linear_attention", "full_attention"],
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "partial_rotary_factor": 0.5,
            "mrope_section": [1, 1, 0],
        },
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "depth": 2,
        "num_heads": 2,
        "out_hidden_size": 32,
        "patch_size": 14,
        "num_position_embeddings": 16,
    }
    return transformers.Qwen3_5Config(text_config=text, vision_config=vision, image_token_id=5)


def mistral3(ids: dict[str, int]) -> transformers.PreTrainedConfig:
    text = {**SIZES, **ids, "model_type": "mistral"}
    vision = {**VISION, "model_type": "pixtral", "head_dim": 8}
    return transformers.Mistral3Config(
        text_config=text, vision_config=vision, image_token_index=5, vision_feature_layer=-1
    )


def llama4(ids: dict[str, int]) -> transformers.PreTrainedConfig:
    text = {
        **SIZES,
        **ids,
        "intermediate_size_mlp": 64,
        "num_local_experts": 2,
        "num_experts_per_tok": 1,
        "attention_chunk_size": 32,
    }
    vision = {
        **VISION,
        "vision_output_dim": 16,
        "projector_input_dim": 16,
        "projector_output_dim": 16,
    }
    return transformers.Llama4Config(text_config=text, vision_config=vision, image_token_index=5)


MAKERS: dict[str, Callable[[dict[str, int]], transformers.PreTrainedConfig]] = {
    "gemma3": gemma3,
    "qwen3_5": qwen3_5,
    "mistral3": mistral3,
    "llama4": llama4,
}
SPECIAL = {"gemma3": "gemma", "qwen3_5": "qwen3", "mistral3": "llama", "llama4": "llama"}
each_model = pytest.mark.parametrize("name", MAKERS)


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    @cache
    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        config = MAKERS[name](write_tokenizer(SPECIAL[name], folder))
        torch.manual_seed(0)
        transformers.AutoModelForImageTextToText.from_config(config).save_pretrained(folder)
        (folder / "preprocessor_config.json").write_text("{}")
        return folder

    return make


def run_of(folder: Path, *words: str) -> Run:
    fixed = ("task=generation", "task.num_generated=2", "task.max_new_tokens=4", "logger=none")
    short = (f"data.max_length={POSITIONS}", "trainer.max_steps=2", "trainer.precision=fp32")
    model = ("model=hub", f"model.path={folder}", "task.label=label")
    return build_run(compose("train", [*model, *fixed, *short, *words]).tree)


@each_model
def test_it_is_a_decoder_with_other_parts(name: str, folder_of: Callable[[str], Path]) -> None:
    run = run_of(folder_of(name))
    assert run.model.known_kind() is Kind.decoder
    assert run.model.max_length == POSITIONS
    network: Any = run.model.load_network(run.task.auto_class)
    assert "ForConditionalGeneration" in type(network).__name__
    decoder = decoder_of(network)
    assert decoder is not None
    inside = {id(each) for each in decoder.parameters()}
    others = [network.get_submodule(part) for part in other_parts(network)]
    assert len(others) == (1 if name == "qwen3_5" else 2)  # its projector is in its vision tower
    for parameter in (each for part in others for each in part.parameters()):
        assert id(parameter) not in inside and not parameter.requires_grad
    assert all(parameter.requires_grad for parameter in decoder.parameters())


@pytest.mark.thorough
@each_model
def test_lora_trains_the_text_part_and_exports_the_whole(
    name: str, folder_of: Callable[[str], Path], here: Path
) -> None:
    run, folder = run_of(folder_of(name), "strategy=lora", "strategy.lr=1e-2"), here / "run"
    folder.mkdir()
    check_run(run)
    network: Any = build_network(run, (), Cache())
    base = network.get_base_model()
    inside = {id(each) for each in decoder_of(base).modules()}  # type: ignore[union-attr]
    adapted = [module for module in network.modules() if hasattr(module, "lora_A")]
    assert adapted and all(id(module) in inside for module in adapted)
    outcome = fit(run, folder, Identity("x", None, folder))
    assert outcome.ending is Ending.finished and outcome.best is not None, outcome.reason
    result = Trained(run, folder, "run x", outcome.best.metrics, "")
    export(result, here / "best")
    assert check_model(here / "best")["architectures"] == [type(base).__name__]
    assert (here / "best/preprocessor_config.json").is_file()
    auto = transformers.AutoModelForImageTextToText
    before = auto.from_pretrained(folder_of(name))
    check_adapter(here / "best/adapter", before)
    plain = auto.from_pretrained(here / "best").eval()
    assert "AutoModelForImageTextToText" in (here / "best/README.md").read_text()
    ours = result.load().network.eval()
    ids = torch.randint(6, 300, (2, 20), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        one, other, untrained = (each(ids).logits for each in (ours, plain, before.eval()))
    torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(one, untrained, atol=1e-3)
    state = plain.state_dict()
    for part in other_parts(before):
        for key, tensor in before.get_submodule(part).state_dict().items():
            assert torch.equal(state[f"{part}.{key}"], tensor)


def test_full_fine_tuning_leaves_the_other_parts_frozen(folder_of: Callable[[str], Path]) -> None:
    network: Any = build_network(run_of(folder_of("gemma3"), "strategy=full"), (), Cache())
    trained = {name for name, each in network.named_parameters() if each.requires_grad}
    assert trained and not any("vision" in name or "projector" in name for name in trained)


def test_the_top_layers_are_those_of_the_text(folder_of: Callable[[str], Path]) -> None:
    words = ("strategy=freeze", "strategy.num_layers=1")
    network: Any = build_network(run_of(folder_of("mistral3"), *words), (), Cache())
    trained = {name for name, each in network.named_parameters() if each.requires_grad}
    assert trained and all(".language_model." in name for name in trained)


def test_a_task_without_a_network_is_refused(folder_of: Callable[[str], Path]) -> None:
    run = run_of(folder_of("mistral3"))
    with pytest.raises(ConfigError) as raised:
        run.model.load_network("AutoModelForTokenClassification")
    assert "must have a network for this task in transformers, got none." in str(raised.value)


def test_an_encoder_decoder_inside_is_no_decoder() -> None:
    text = {"model_type": "t5", "is_encoder_decoder": True}
    config = {"model_type": "blip-2", "architectures": ["Blip2Model"], "text_config": text}
    assert kind_of(config) is Kind.encoder
