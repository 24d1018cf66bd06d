"""Conformance of every decoder from the hub, on small random networks in the hub's file formats.

The hub is not contacted. Each network is trained for a few steps, exported, and loaded with plain
transformers.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from lightning_modules.cache import Cache
from lightning_modules.check import check_run
from lightning_modules.error import ConfigError
from lightning_modules.export.rehearse import rehearse_export
from lightning_modules.fit import fit
from lightning_modules.logger.base import Identity
from lightning_modules.model.kind import Kind
from lightning_modules.network import build_network
from lightning_modules.rows.embedded import REVIEWS
from lightning_modules.run import Run
from search.config import build_run, compose
from search.trained.export import Trained, export
from tests.models import models_of

POSITIONS = 64
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": POSITIONS,
}

# The special tokens of the tokenizers on the hub: start, end, padding; None if there is none.
SPECIAL: dict[str, tuple[str | None, str, str | None]] = {
    "gpt2": ("<|endoftext|>", "<|endoftext|>", None),
    "smollm2": ("<|endoftext|>", "<|endoftext|>", None),
    "llama": ("<|begin_of_text|>", "<|end_of_text|>", None),
    "qwen3": (None, "<|im_end|>", "<|endoftext|>"),
    "gemma": ("<bos>", "<eos>", "<pad>"),
}
NAMES = models_of(Kind.decoder)


def write_tokenizer(name: str, folder: Path) -> dict[str, int]:
    start, end, padding = SPECIAL[name]
    special = sorted({token for token in SPECIAL[name] if token})
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([REVIEWS.read_text(encoding="utf-8")], trainer)
    if name in ("llama", "gemma"):  # these add the start token themselves
        assert start is not None
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{start} $A", special_tokens=[(start, special.index(start))]
        )
    tokens = {"bos_token": start, "eos_token": end, "pad_token": padding}
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        padding_side="left" if name == "gemma" else "right",
        **{key: token for key, token in tokens.items() if token},
    )
    fast.save_pretrained(folder)
    ids = {"bos": start, "eos": end, "pad": padding}
    numbers = {f"{key}_token_id": special.index(token) for key, token in ids.items() if token}
    return {"vocab_size": len(fast), **numbers}


def config_of(name: str, ids: dict[str, int]) -> transformers.PreTrainedConfig:
    if name == "gpt2":
        return transformers.GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=POSITIONS, **ids)
    makers: dict[str, Any] = {
        "smollm2": transformers.LlamaConfig,
        "llama": transformers.LlamaConfig,
        "qwen3": transformers.Qwen3Config,
        "gemma": transformers.Gemma3TextConfig,
    }
    config: transformers.PreTrainedConfig = makers[name](**SIZES, **ids)
    config.tie_word_embeddings = True
    if name == "gemma":
        config.sliding_window = 16  # type: ignore[attr-defined]
    return config


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    @cache
    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        config = config_of(name, write_tokenizer(name, folder))
        torch.manual_seed(0)
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        return folder

    return make


def run_of(name: str, folder: Path, *words: str) -> Run:
    fixed = ("task=generation", "task.num_generated=2", "task.max_new_tokens=4", "logger=none")
    short = ("data.max_length=64", "trainer.max_steps=3", "trainer.precision=fp32")
    model = (f"model={name}", f"model.path={folder}")
    return build_run(compose("train", [*model, *fixed, *short, *words]).tree)


def test_every_decoder_has_a_small_architecture() -> None:
    assert set(NAMES) == set(SPECIAL)


@pytest.mark.thorough
@pytest.mark.parametrize("strategy", ["full", "lora"])
@pytest.mark.parametrize("name", NAMES)
def test_an_export_equals_the_trained_network_in_plain_transformers(
    name: str, strategy: str, folder_of: Callable[[str], Path], here: Path
) -> None:
    words = (f"strategy={strategy}", "strategy.lr=1e-2", "task.label=label")
    run, folder = run_of(name, folder_of(name), *words), here / "run"
    folder.mkdir()
    check_run(run)
    outcome = fit(run, folder, Identity("x", None, folder))
    assert outcome.best is not None, outcome.reason
    result = Trained(run, folder, "run x", outcome.best.metrics, "")
    export(result, here / "best")
    ours = result.load().network.eval()
    plain = transformers.AutoModelForCausalLM.from_pretrained(here / "best").eval()
    base = transformers.AutoModelForCausalLM.from_pretrained(folder_of(name)).eval()
    ids = torch.randint(5, 400, (2, 20), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        one, other, before = (each(ids).logits for each in (ours, plain, base))
    torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(one, before, atol=1e-3)


@pytest.mark.parametrize("ends", [None, [3, 4]])
def test_classification_does_not_depend_on_padding(
    folder_of: Callable[[str], Path], here: Path, ends: list[int] | None
) -> None:
    """Qwen3's configuration names no padding, and Llama's instruct models have several ends."""
    folder = shutil.copytree(folder_of("qwen3"), here / "qwen3")
    config = json.loads((folder / "config.json").read_text())
    config["pad_token_id"] = None
    config["eos_token_id"] = ends or config["eos_token_id"]
    (folder / "config.json").write_text(json.dumps(config))
    words = ("model=qwen3", f"model.path={folder}", "strategy=full", "logger=none")
    run = build_run(compose("train", [*words, "data.max_length=64"]).tree)
    network: Any = build_network(run, ("a", "b"), Cache()).eval()
    tokenizer = run.model.load_tokenizer()
    texts = ["short", "a text that is a good deal longer than the other one"]
    with torch.inference_mode():
        together = network(**tokenizer(texts, padding=True, return_tensors="pt")).logits
        for text, logits in zip(texts, together, strict=True):
            alone = network(**tokenizer(text, return_tensors="pt")).logits[0]
            torch.testing.assert_close(alone, logits, atol=1e-5, rtol=1e-5)


# As in published files: each has settings that the others leave without an effect.
CONTRADICTIONS: list[dict[str, Any]] = [
    {"do_sample": False, "temperature": 0.6, "top_p": 0.9, "top_k": 20, "min_p": 0.1},
    {"temperature": 0.9, "typical_p": 0.8, "epsilon_cutoff": 0.1, "eta_cutoff": 0.1},
    {"num_beams": 1, "early_stopping": True, "length_penalty": 2.0},
    {"use_cache": False, "cache_implementation": "static", "output_scores": True},
    {"do_sample": True, "temperature": 0.7},
]


def chat_model(folder: Path, target: Path, **generation: Any) -> Path:
    """Return a copy whose files name different end tokens, as those of chat models do."""
    shutil.copytree(folder, target)
    for name, changes in (
        ("config.json", {"eos_token_id": 5}),
        ("generation_config.json", {"eos_token_id": [5, 6], **generation}),
    ):
        settings = json.loads((target / name).read_text())
        (target / name).write_text(json.dumps(settings | changes))
    return target


@pytest.mark.parametrize("strategy", ["full", "lora"])
@pytest.mark.parametrize("generation", CONTRADICTIONS)
def test_generation_settings_that_contradict_each_other_are_kept(
    folder_of: Callable[[str], Path], here: Path, strategy: str, generation: dict[str, Any]
) -> None:
    folder = chat_model(folder_of("qwen3"), here / "chat", **generation)
    run = run_of("qwen3", folder, f"strategy={strategy}")
    network: Any = build_network(run, (), Cache())
    tokenizer = run.model.load_tokenizer()
    rehearse_export(network, tokenizer, "chat")
    network.generation_config.save_pretrained(here / "saved")
    saved = json.loads((here / "saved/generation_config.json").read_text())
    assert saved["eos_token_id"] == sorted([tokenizer.eos_token_id, 5, 6])
    read = transformers.GenerationConfig.from_pretrained(here / "saved")
    for key, value in generation.items():
        assert (getattr(read, key) or False) == value, key  # transformers writes no False


@pytest.mark.parametrize("strategy", ["full", "lora"])
def test_a_text_ends_where_any_of_the_models_files_says_so(
    folder_of: Callable[[str], Path], here: Path, strategy: str
) -> None:
    folder = chat_model(folder_of("qwen3"), here / "chat")
    run = run_of("qwen3", folder, f"strategy={strategy}")
    network: Any = build_network(run, (), Cache())
    own = run.model.load_tokenizer().eos_token_id
    assert own not in (5, 6)
    assert network.generation_config.eos_token_id == sorted([own, 5, 6])


@pytest.mark.thorough
@pytest.mark.parametrize("strategy", ["full", "lora"])
def test_the_export_ends_texts_where_the_run_does(
    folder_of: Callable[[str], Path], here: Path, strategy: str
) -> None:
    folder = chat_model(folder_of("qwen3"), here / "chat")
    run, trained = run_of("qwen3", folder, f"strategy={strategy}"), here / "run"
    trained.mkdir()
    outcome = fit(run, trained, Identity("x", None, trained))
    assert outcome.best is not None, outcome.reason
    export(Trained(run, trained, "run x", outcome.best.metrics, ""), here / "best")
    plain = transformers.AutoModelForCausalLM.from_pretrained(here / "best")
    own = run.model.load_tokenizer().eos_token_id
    assert plain.generation_config.eos_token_id == sorted([own, 5, 6])


@pytest.mark.parametrize("name", NAMES)
def test_lora_adapts_every_linear_layer_but_not_the_embeddings(
    name: str, folder_of: Callable[[str], Path]
) -> None:
    network: Any = build_network(run_of(name, folder_of(name), "strategy=lora"), (), Cache())
    trained = {key for key, parameter in network.named_parameters() if parameter.requires_grad}
    # GPT-2 has one matrix for queries, keys and values, and no gate; the others have 7 per layer.
    num_linear = 2 * (4 if name == "gpt2" else 7)
    assert len(trained) == 2 * num_linear
    assert all(".lora_A." in key or ".lora_B." in key for key in trained)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_reads_up_to_its_maximum_length(
    name: str, folder_of: Callable[[str], Path]
) -> None:
    run = run_of(name, folder_of(name))
    assert run.model.max_length == POSITIONS
    assert run.model.known_kind() is Kind.decoder
    with pytest.raises(
        ConfigError, match=f"^data.max_length: must be <= {POSITIONS}, the most tokens"
    ):
        check_run(run_of(name, folder_of(name), f"data.max_length={POSITIONS + 1}"))
