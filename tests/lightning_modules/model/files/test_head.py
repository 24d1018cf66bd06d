"""Training on a classifier: its head is kept, its rows are matched by name, or it is new."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from lightning_modules.model.attention import Attention
from lightning_modules.model.dtype import Dtype
from lightning_modules.model.hub import Hub

CLASSIFIES, TAGS = "AutoModelForSequenceClassification", "AutoModelForTokenClassification"
SIZES = {"vocab_size": 40, "max_position_embeddings": 16}
CONFIGS: dict[str, Callable[[], Any]] = {
    "bert": lambda: transformers.BertConfig(
        **SIZES, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    ),
    "roberta": lambda: transformers.RobertaConfig(
        **SIZES, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    ),
    "gpt2": lambda: transformers.GPT2Config(
        vocab_size=40, n_positions=16, n_embd=8, n_layer=1, n_head=2, pad_token_id=0
    ),
    "bart": lambda: transformers.BartConfig(
        **SIZES,
        d_model=8,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
    ),
}
LAYERS = {
    "bert": "classifier",
    "roberta": "classifier.out_proj",
    "gpt2": "score",
    "bart": "classification_head.out_proj",
}


def changes(labels: Sequence[str]) -> dict[str, Any]:
    names = dict(enumerate(labels))
    return {
        "num_labels": len(names),
        "id2label": names,
        "label2id": {n: i for i, n in names.items()},
    }


def save(folder: Path, kind: str, labels: Sequence[str], auto: str = CLASSIFIES) -> Hub:
    """Save a classifier with these labels; return it as a model to train on."""
    torch.manual_seed(0)
    config = CONFIGS[kind]()
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: number for number, label in enumerate(labels)}
    network = getattr(transformers, auto).from_config(config)
    network.save_pretrained(folder / "model")
    return Hub(path="./model", revision=None, attention=Attention.eager, dtype=Dtype.fp32)


def weight(network: Any, layer: str) -> torch.Tensor:
    found: torch.Tensor = network.get_submodule(layer).weight
    return found


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_head_follows_the_labels_names(here: Path, kind: str) -> None:
    model, layer = save(here, kind, ["bad", "good", "odd"]), LAYERS[kind]

    def load(*labels: str) -> tuple[torch.Tensor, str, frozenset[str]]:
        network: Any = model.load_network(CLASSIFIES, **changes(labels))
        note = model.head_note(CLASSIFIES, changes(labels))
        return weight(network, layer), note, network.drawn

    same, note, drawn = load("bad", "good", "odd")
    assert (note, drawn) == ("", frozenset())
    other, note, drawn = load("odd", "bad", "good")
    assert torch.equal(other, same[[2, 0, 1]]) and not drawn
    assert note == "trained on from model, its labels matched by name (bad, good, odd)"
    other, note, drawn = load("bad", "good", "strange")
    assert not torch.equal(other, same) and f"{layer}.weight" in drawn
    assert note == "new: model has one for other labels (bad, good, odd)"
    other, note, drawn = load("bad", "good")
    assert other.shape[0] == 2 and f"{layer}.weight" in drawn
    assert note == "new: model has one for 3 labels, this task has 2 labels"


def test_labels_without_names_are_other_labels(here: Path) -> None:
    model = save(here, "bert", ["LABEL_0", "LABEL_1"])
    note = model.head_note(CLASSIFIES, changes(["bad", "good"]))
    assert note == "new: model has one for other labels (LABEL_0, LABEL_1)"
    network: Any = model.load_network(CLASSIFIES, **changes(["bad", "good"]))
    assert "classifier.weight" in network.drawn


def test_a_new_head_is_drawn_from_the_seed(here: Path) -> None:
    model = save(here, "bert", ["bad", "good"])
    found = []
    for _ in range(2):
        torch.manual_seed(1)
        network: Any = model.load_network(CLASSIFIES, **changes(["a", "b"]))
        found.append(weight(network, "classifier").clone())
    assert torch.equal(*found) and 0 < found[0].std() < 0.1
    assert not network.classifier.bias.any()


def test_a_head_for_another_task_does_not_count(here: Path) -> None:
    model = save(here, "bert", ["O", "B-X"], TAGS)
    assert model.head_note(CLASSIFIES, changes(["bad", "good"])) == ""
    assert model.head_note(TAGS, changes(["O", "B-Y"])).startswith("new: model has one for other")


@pytest.mark.parametrize("is_named", [True, False])
def test_a_layer_of_another_head_with_the_same_name_is_drawn_anew(
    here: Path, is_named: bool
) -> None:
    model = save(here, "bert", ["O", "B-X"], TAGS)
    if not is_named:  # as in files of early versions of transformers
        path = here / "model/config.json"
        config = {**json.loads(path.read_text()), "architectures": None}
        path.write_text(json.dumps(config))
    network: Any = model.load_network(CLASSIFIES, **changes(["bad", "good"]))
    assert {"classifier.weight", "classifier.bias"} <= network.drawn
    assert not network.classifier.bias.any()


def test_a_task_without_label_names(here: Path) -> None:
    model = save(here, "bert", ["bad", "good"])
    assert model.head_note(CLASSIFIES, {"num_labels": 2}) == ""
    note = model.head_note(CLASSIFIES, {"num_labels": 1})
    assert note == "new: model has one for 2 labels, this task has 1 output"
    network: Any = model.load_network(CLASSIFIES, num_labels=1)
    assert weight(network, "classifier").shape[0] == 1
