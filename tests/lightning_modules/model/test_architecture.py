"""Conformance of every YAML of conf/model without weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lightning_modules.cache import Cache
from lightning_modules.check import check_run
from lightning_modules.error import ConfigError
from lightning_modules.export.model import load_exported
from lightning_modules.fit import fit
from lightning_modules.logger.base import Identity
from lightning_modules.model.state import count_parameters
from lightning_modules.network import build_network
from lightning_modules.outcome import Ending
from lightning_modules.run import Run
from search.config import CONF_DIR, build_run, compose
from search.trained.export import Trained, export
from tests.conftest import write_jsonl
from tests.cut import assert_cut_is_whole

NOUNS = ("hotel", "novel", "kettle", "museum", "bicycle", "train", "concert", "garden")
BPE = ("strategy=from_scratch", "strategy.tokenizer=bpe")
BERT = "{num_hidden_layers: 2, hidden_size: 32, num_attention_heads: 2, intermediate_size: 64}"

# The task of each, and the settings that it needs.
MEMBERS: dict[str, tuple[str, ...]] = {
    "architecture": (
        "task=classification",
        "model.type=bert",
        f"model.config={BERT}",
        "strategy.tokenizer=bpe",
    ),
    "nanogpt": ("task=generation", "task.packing=stream", "strategy.tokenizer=characters"),
    "transformer": ("task=translation", "strategy.tokenizer=bpe"),
}
each_member = pytest.mark.parametrize("name", MEMBERS)


def linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def bert(vocabulary: int, d: int = 32, inner: int = 64, layers: int = 2, labels: int = 2) -> int:
    embeddings = (vocabulary + 512 + 2) * d + 2 * d
    layer = 4 * linear(d, d) + linear(d, inner) + linear(inner, d) + 4 * d
    return embeddings + layers * layer + linear(d, d) + linear(d, labels)


def nanogpt(vocabulary: int, d: int = 128, layers: int = 4) -> int:
    layer = linear(d, 3 * d) + linear(d, d) + linear(d, 4 * d) + linear(4 * d, d) + 4 * d
    return (vocabulary + 64) * d + layers * layer + 2 * d  # the head is the embedding


def transformer(vocabulary: int, d: int = 256, inner: int = 512, layers: int = 3) -> int:
    attention, feed = 4 * linear(d, d), linear(d, inner) + linear(inner, d)
    positions = 2 * (256 + 2) * d  # BART reserves two positions in each table
    encoder = layers * (attention + feed + 4 * d)
    decoder = layers * (2 * attention + feed + 6 * d)
    return vocabulary * d + positions + encoder + decoder + 4 * d


CLOSED: dict[str, Callable[[int], int]] = {
    "architecture": bert,
    "nanogpt": nanogpt,
    "transformer": transformer,
}


def rows_for(name: str) -> list[dict[str, Any]]:
    rows = []
    for number in range(64):
        noun, verdict = NOUNS[number % 8], "great" if number % 3 else "awful"
        text = f"The {noun} {number} was {verdict}."
        if name == "architecture":
            rows.append({"text": text, "label": verdict})
        else:
            rows.append({"source": text, "target": f"Das {noun} war {verdict}."})
    return rows


@pytest.fixture
def run_of(here: Path) -> Callable[..., Run]:
    def make(name: str, *words: str) -> Run:
        if name == "nanogpt":
            path = here / "text.txt"
            path.write_text("".join(f"{row['source']}\n" for row in rows_for(name)))
            data = (f"data.train={path}", f"data.validation={path}")
        else:
            data = (f"data.train={write_jsonl(here / 'rows.jsonl', rows_for(name))}",)
        fixed = (f"model={name}", "strategy=from_scratch", "data=files", *data, *MEMBERS[name])
        size = ("data.batch_size=8", "data.max_length=32", "data.test_fraction=0")
        brief = ("logger=none", "trainer.epochs=1", "trainer.validations_per_epoch=1")
        short = () if name == "architecture" else ("task.max_new_tokens=4",)
        given = [*fixed, *size, *brief, *short, "trainer.precision=fp32", *words]
        return build_run(compose("train", given).tree)

    return make


def identity(folder: Path) -> Identity:
    folder.mkdir()
    return Identity("test", None, folder)


def test_every_model_without_weights_is_covered() -> None:
    names = {
        path.stem
        for path in (CONF_DIR / "model").glob("*.yaml")
        if yaml.safe_load(path.read_text())["_target_"].endswith(".Architecture")
    }
    assert names == set(MEMBERS) == set(CLOSED)


@pytest.mark.thorough
@each_member
def test_an_export_loads_unchanged_with_plain_transformers(
    run_of: Callable[..., Run], here: Path, name: str
) -> None:
    import transformers

    run, attempt = run_of(name), identity(here / "run")
    outcome = fit(run, attempt.folder, attempt, cache=Cache())
    assert outcome.ending is Ending.finished and outcome.best is not None
    trained = Trained(run, attempt.folder, "run x", outcome.best.metrics, "")
    predictor = trained.load()
    expected = CLOSED[name](len(predictor.tokenizer))
    assert count_parameters(predictor.network) == (expected, expected)
    export(trained, here / "best")
    inputs = check_run(run).corpus.splits["validation"][:5]
    expected_answers = predictor.predict(inputs)
    assert load_exported(here / "best", run.task).predict(inputs) == expected_answers
    network = getattr(transformers, run.task.auto_class).from_pretrained(here / "best")
    for key, tensor in predictor.network.state_dict().items():
        assert torch.equal(network.state_dict()[key], tensor), key
    tokenizer = transformers.AutoTokenizer.from_pretrained(here / "best")
    assert tokenizer.get_vocab() == predictor.tokenizer.get_vocab()


@pytest.mark.thorough
@each_member
def test_a_resumed_run_equals_an_uninterrupted_one(
    run_of: Callable[..., Run], here: Path, name: str
) -> None:
    assert_cut_is_whole(run_of(name), here, 2)


NO_TOKENIZER = "model: must have a tokenizer of its own, got bert without weights. "
REFUSED = [
    (("strategy=full",), NO_TOKENIZER),
    (("strategy=lora",), NO_TOKENIZER),
    (("strategy=from_scratch",), NO_TOKENIZER),
    ((*BPE, "model.type=bret"), "model.type: must be an architecture of transformers, got 'bret'"),
    ((*BPE, "model.config={sise: 8}"), "model.config.sise: must be a key of BertConfig"),
    ((*BPE, "model.config={hidden_size: 9}"), "model.config: must be valid sizes for bert"),
    (
        (*BPE, "data.max_length=600"),
        "data.max_length: must be <= 512, the most tokens that bert with",
    ),
    (
        (*BPE, "model.type=roberta", "model.config={max_position_embeddings: 64}"),
        "data.max_length: must be <= 62, the most tokens that roberta without weights can read",
    ),
    (
        (*BPE, "model.config={max_position_embeddings: 16}"),
        "data.max_length: must be <= 16, the most tokens that bert without weights can read",
    ),
]


@pytest.mark.parametrize(("words", "line"), REFUSED)
def test_invalid_architectures_are_refused(words: tuple[str, ...], line: str) -> None:
    bert = ("model=architecture", "model.type=bert", "data=reviews", "logger=none")
    with pytest.raises(ConfigError) as refusal:
        run = build_run(compose("train", [*bert, *words]).tree)
        check_run(run)
        build_network(run, ("negative", "positive"), Cache())
    assert str(refusal.value.problems[0]).startswith(line), str(refusal.value)


def test_a_decoder_without_weights_can_classify() -> None:
    gpt2 = ("model=architecture", "model.type=gpt2", "model.kind=decoder", "data=reviews")
    check_run(build_run(compose("train", [*gpt2, *BPE, "logger=none"]).tree))
