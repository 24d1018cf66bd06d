"""Conformance of every encoder-decoder from the hub: T5, Flan-T5, BART.

The hub is not contacted: each architecture is built small and random, with a tokenizer of its kind,
in the same files as on the hub.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from lightning_modules.cache import Cache
from lightning_modules.export.model import load_exported
from lightning_modules.fit import fit
from lightning_modules.logger.base import Identity
from lightning_modules.model.kind import Kind
from lightning_modules.network import build_network
from lightning_modules.outcome import Ending
from lightning_modules.rows.embedded import REVIEWS
from lightning_modules.run import Run
from search.config import CONF_DIR, build_run, compose
from search.trained.export import Trained, export
from tests.conftest import write_jsonl
from tests.models import models_of

TEXTS = [json.loads(line)["text"] for line in REVIEWS.read_text(encoding="utf-8").splitlines()]
T5_SIZES = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}


def write_t5(folder: Path, **config: Any) -> transformers.PreTrainedConfig:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    tokenizer.train_from_iterator(
        TEXTS,
        trainers.UnigramTrainer(
            vocab_size=400, special_tokens=special, unk_token="<unk>", show_progress=False
        ),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "extra_ids": 0}
    settings = {"tokenizer_class": "T5Tokenizer", "model_max_length": 64, **named}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    size = tokenizer.get_vocab_size() + 8  # more than its tokenizer has, as on the hub
    return transformers.T5Config(
        **T5_SIZES, vocab_size=size, decoder_start_token_id=0, eos_token_id=1, **config
    )


def write_flan_t5(folder: Path) -> transformers.PreTrainedConfig:
    return write_t5(folder, feed_forward_proj="gated-gelu", tie_word_embeddings=False)


def write_bart(folder: Path) -> transformers.PreTrainedConfig:
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    tokenizer.model.save(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "BartTokenizer", "model_max_length": 64}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return transformers.BartConfig(
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        vocab_size=tokenizer.get_vocab_size(),
        max_position_embeddings=64,
    )


ARCHITECTURES: dict[str, Callable[[Path], transformers.PreTrainedConfig]] = {
    "t5": write_t5,
    "flan_t5": write_flan_t5,
    "bart": write_bart,
}
each_model = pytest.mark.parametrize("name", ARCHITECTURES)


@pytest.fixture(scope="module")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    rows = [{"document": text, "summary": text.split(".")[0]} for text in TEXTS[:120]]
    file = write_jsonl(tmp_path_factory.mktemp("rows") / "rows.jsonl", rows)

    @cache
    def make(name: str, *words: str) -> Run:
        folder = tmp_path_factory.mktemp(name)
        config = ARCHITECTURES[name](folder)
        torch.manual_seed(0)
        transformers.AutoModelForSeq2SeqLM.from_config(config).save_pretrained(folder)
        model = (f"model={name}", f"model.path={folder}")
        data = ("data=files", f"data.train={file}", "data.batch_size=16", "data.max_length=24")
        short = ("trainer.epochs=1", "trainer.validations_per_epoch=1", "trainer.precision=fp32")
        task = ("task=summarization", "task.prefix='summarize: '", "task.max_new_tokens=6")
        fixed = (*model, *data, *short, *task, "strategy=full", "logger=none")
        return build_run(compose("train", [*fixed, *words]).tree)

    return make


def test_every_encoder_decoder_has_a_small_architecture() -> None:
    assert set(ARCHITECTURES) == set(models_of(Kind.encoder_decoder))
    assert all((CONF_DIR / "model" / f"{name}.yaml").is_file() for name in ARCHITECTURES)


@pytest.mark.thorough
@each_model
def test_an_export_writes_the_same_texts(run_of: Callable[..., Run], here: Path, name: str) -> None:
    run = run_of(name, "strategy.lr=1e-2")
    assert run.model.known_kind() is Kind.encoder_decoder
    (here / "run").mkdir()
    outcome = fit(run, here / "run", Identity("x", None, here))
    assert outcome.ending is Ending.finished and outcome.best is not None
    trained = Trained(run, here / "run", "run x", outcome.best.metrics, "")
    export(trained, here / "best")
    rows = [{"text": text} for text in TEXTS[:12]]
    ours = trained.load().predict(rows)
    assert load_exported(here / "best", run.task).predict(rows) == ours
    network = transformers.AutoModelForSeq2SeqLM.from_pretrained(here / "best")
    tokenizer = transformers.AutoTokenizer.from_pretrained(here / "best")
    for row, mine in zip(rows, ours, strict=True):
        text = f"summarize: {row['text']}"
        inputs = tokenizer(
            [text], truncation=True, max_length=24, return_tensors="pt", return_token_type_ids=False
        )
        (tokens,) = network.generate(**inputs)
        assert tokenizer.decode(tokens, skip_special_tokens=True).strip() == mine["prediction"]


@pytest.mark.thorough
@each_model
def test_feature_extraction_classifies_with_the_encoder(
    run_of: Callable[..., Run], here: Path, name: str
) -> None:
    words = ("model=tiny", "strategy=feature_extraction", "data.max_length=24", "logger=none")
    short = ("trainer.epochs=1", "trainer.validations_per_epoch=1", "trainer.precision=fp32")
    run = build_run(compose("train", [*words, *short]).tree)
    run = replace(run, model=run_of(name).model)
    (here / "run").mkdir()
    outcome = fit(run, here / "run", Identity("x", None, here))
    assert outcome.ending is Ending.finished and outcome.best is not None
    trained = Trained(run, here / "run", "run x", outcome.best.metrics, "")
    export(trained, here / "best")
    again = load_exported(here / "best", run.task)
    rows = [{"text": text} for text in TEXTS[:12]]
    assert again.predict(rows) == trained.load().predict(rows)
    network: Any = again.network
    inputs = again.tokenizer([TEXTS[0]], return_tensors="pt", return_token_type_ids=False)
    with torch.inference_mode():
        hidden_TD = network.backbone.get_encoder()(**inputs).last_hidden_state[0]
        torch.testing.assert_close(network(**inputs).logits[0], network.head(hidden_TD.mean(dim=0)))


@pytest.mark.thorough
@each_model
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_attention_is_the_configured_one(
    run_of: Callable[..., Run], name: str, attention: str
) -> None:
    run = run_of(name, f"model.attention={attention}")
    for build in (run.model.load_network, run.model.new_network):
        assert build(run.task.auto_class).config._attn_implementation == attention


@each_model
def test_the_generation_settings_are_those_of_the_task(
    run_of: Callable[..., Run], name: str
) -> None:
    run = run_of(name)
    network: Any = build_network(run, (), Cache())
    settings = network.generation_config
    assert (settings.max_new_tokens, settings.num_beams, settings.do_sample) == (6, 1, False)
    assert settings.min_length in (None, 0)
    assert settings.decoder_start_token_id == network.config.decoder_start_token_id


def test_bart_has_a_maximum_length_and_t5_has_none(run_of: Callable[..., Run]) -> None:
    run = run_of("bart")
    assert run.model.max_length == 64
    assert run_of("t5").model.max_length is None
