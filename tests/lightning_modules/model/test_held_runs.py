"""Runs on weights held in bf16 equal runs on the same weights in fp32."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from lightning_modules.cache import Cache
from lightning_modules.error import ConfigError
from lightning_modules.export.predictor import load_trained
from lightning_modules.folder import BEST_FILE
from lightning_modules.machine.hardware import choose_hardware
from lightning_modules.model.dtype import Dtype
from lightning_modules.network import build_network
from lightning_modules.run import Run
from search.config import build_run, compose
from tests.lightning_modules.model.test_decoder import config_of, write_tokenizer
from tests.lightning_modules.test_feature import Reader
from tests.training import Listener, train

MIXED = ("trainer.precision=bf16", "trainer.device=cpu")
LABELS = ("negative", "positive")


@pytest.fixture
def decoder(here: Path) -> Path:
    """Write a small random Qwen3 in bf16 with its tokenizer."""
    config = config_of("qwen3", write_tokenizer("qwen3", here / "qwen3"))
    torch.manual_seed(0)
    network = transformers.AutoModelForCausalLM.from_config(config)
    network.to(torch.bfloat16).save_pretrained(here / "qwen3")
    return here / "qwen3"


def run_of(folder: Path, file: Path, *words: str) -> Run:
    fixed = ("model=qwen3", f"model.path={folder}", "data=files", f"data.train={file}")
    short = ("data.max_length=24", "data.batch_size=8", "trainer.max_steps=3", "logger=none")
    return build_run(compose("train", [*fixed, *short, "strategy.lr=1e-2", *words]).tree)


STRATEGIES = [
    "lora",
    "lora strategy.dora=true",
    "ia3",
    "freeze",
    "feature_extraction",
    "lora task=generation task.num_generated=2 task.max_new_tokens=4",
]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_run_equals_the_one_on_weights_in_fp32(
    decoder: Path, learnable: Path, here: Path, strategy: str
) -> None:
    words = (*f"strategy={strategy}".split(), *MIXED)
    found = {}
    for dtype in ("auto", "fp32"):
        run = run_of(decoder, learnable, *words, f"model.dtype={dtype}")
        outcome = train(run, here / dtype)
        assert outcome.best is not None
        found[dtype] = (outcome.best.validation_loss, load_file(here / dtype / BEST_FILE))
    assert found["auto"][0] == found["fp32"][0]
    one, other = found["auto"][1], found["fp32"][1]
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert {tensor.dtype for tensor in one.values()} == {torch.float32}


def test_features_are_kept_under_the_weights_that_made_them(
    decoder: Path, learnable: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FINESWEEP_CACHE", str(here / "cache"))
    words = ("strategy=feature_extraction", "trainer.max_steps=null", "trainer.epochs=1")
    mixed = run_of(decoder, learnable, *words, *MIXED)
    exact = run_of(decoder, learnable, *words, "trainer.precision=fp32", "trainer.device=cpu")
    both, reader = Cache(), Reader()
    train(exact, here / "exact", Listener(), both)
    train(mixed, here / "mixed", Listener(), both)
    train(mixed, here / "alone", reader, Cache())  # of a worker that has not trained in fp32
    assert reader.num_read == 0


def test_frozen_weights_are_held_as_in_the_file(decoder: Path, learnable: Path) -> None:
    run = run_of(decoder, learnable, "strategy=lora", *MIXED)
    mixed = choose_hardware(run.trainer.device, run.trainer.precision)
    exact = replace(mixed, precision=type(mixed.precision).fp32)
    assert dtypes(build_network(run, LABELS, Cache(), hardware=mixed)) == {
        (torch.bfloat16, False),
        (torch.float32, False),  # norms
        (torch.float32, True),
    }
    for hardware in (exact, None):  # no bf16 units
        network = build_network(run, LABELS, Cache(), hardware=hardware)
        assert {dtype for dtype, _ in dtypes(network)} == {torch.float32}
    full = run_of(decoder, learnable, "strategy=full", *MIXED)
    network = build_network(full, LABELS, Cache(), hardware=mixed)
    assert dtypes(network) == {(torch.float32, True)}


def dtypes(network: torch.nn.Module) -> set[tuple[torch.dtype, bool]]:
    """Return the dtypes of the parameters, each with whether it is trained."""
    return {(each.dtype, each.requires_grad) for each in network.parameters()}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("strategy", ["lora", "full"])
def test_weights_of_an_fp32_file_are_held_in_bf16_if_that_is_set(
    learnable: Path, here: Path, strategy: str, precision: str
) -> None:
    words = ("model=hub", f"model.path={_bert(here)}", f"strategy={strategy}", "logger=none")
    short = ("data.max_length=24", "data.batch_size=8", "trainer.max_steps=3")
    data = ("data=files", f"data.train={learnable}", f"trainer.precision={precision}")
    run = build_run(
        compose("train", [*words, *short, *data, "model.dtype=bf16", "trainer.device=cpu"]).tree
    )
    listener = Listener()
    outcome = train(run, here / "run", listener)
    assert outcome.best is not None, outcome.reason
    weights = load_file(here / "run" / BEST_FILE)
    low = {name for name, tensor in weights.items() if tensor.dtype is torch.bfloat16}
    assert bool(low) == (strategy == "full")
    predictor = load_trained(run, here / "run", LABELS)
    rows = [{"text": "a hotel", "label": "negative"}, {"text": "a train", "label": "positive"}]
    assert len(predictor.predict(rows)) == 2


def _bert(here: Path) -> Path:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "hotel", "novel", "train", "the"]
    (here / "vocab.txt").write_text("\n".join(words))
    folder = here / "bert"
    transformers.BertTokenizerFast(str(here / "vocab.txt")).save_pretrained(folder)
    config: Any = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
    )
    transformers.BertModel(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("word", ["strategy=prefix_tuning", "strategy.init=pissa"])
def test_a_strategy_that_writes_to_frozen_weights_refuses_bf16(
    decoder: Path, learnable: Path, word: str
) -> None:
    words = ("strategy=lora", word) if "init" in word else (word,)
    run = run_of(decoder, learnable, *words, "model.dtype=bf16")
    assert run.model == replace(run.model, dtype=Dtype.bf16)  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match=r"model\.dtype: must be auto or fp32 with strategy="):
        run.strategy.check(run.model, run.task)
