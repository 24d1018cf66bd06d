"""An adapter alone: on a base with another head, and with files that are not whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from lightning_modules.error import ConfigError
from lightning_modules.export.model import base_of
from lightning_modules.model.files.folder import ModelFolder
from lightning_modules.model.files.manifest import MANIFEST
from lightning_modules.strategy.lora import Lora
from search.config import build_run, compose
from tests.loopback import Hub as Server

LABELS = ("bad", "good", "odd")


def bert(num_labels: int) -> transformers.BertConfig:
    return transformers.BertConfig(
        vocab_size=40,
        max_position_embeddings=16,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        num_labels=num_labels,
    )


@pytest.fixture
def exported(here: Path) -> Path:
    """Return an export of an adapter for three labels, on a classifier of two."""
    torch.manual_seed(0)
    transformers.BertForSequenceClassification(bert(2)).save_pretrained(here / "base")
    network: Any = transformers.BertForSequenceClassification(bert(3))
    kept = {"target_modules": ["query"], "modules_to_save": ["classifier"]}
    adapted = get_peft_model(network, LoraConfig(task_type="SEQ_CLS", **kept))
    adapted.peft_config["default"].base_model_name_or_path = str(here / "base")
    adapted.save_pretrained(here / "best/adapter", save_embedding_layers=False)
    network.config.save_pretrained(here / "best")
    return here / "best"


def load(folder: Path) -> Any:
    task = build_run(compose("train", ["model=tiny", "logger=none"]).tree).task
    return Lora.load_export(folder, task, LABELS, None)[0]


def test_the_base_may_be_a_classifier_of_other_labels(exported: Path) -> None:
    weights = load_file(exported / "adapter/adapter_model.safetensors")
    head = load(exported).get_base_model().classifier.modules_to_save["default"]
    assert torch.equal(head.weight, weights["base_model.model.classifier.weight"])


def test_an_adapter_without_a_weight_is_refused(exported: Path) -> None:
    path = exported / "adapter/adapter_model.safetensors"
    weights = load_file(path)
    (name,) = (name for name in weights if "lora_A" in name)
    del weights[name]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=rf"adapter_model\.safetensors of .* must have {name}"):
        load(exported)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"revision": 5}, "must have a text as revision, or null, got 5"),
        ({"base_model_name_or_path": None}, "must name its base as base_model_name_or_path"),
    ],
)
def test_an_adapter_names_its_base(exported: Path, changes: dict[str, Any], line: str) -> None:
    path = exported / "adapter/adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(ConfigError, match=line):
        ModelFolder(exported).based_on()


def test_a_base_of_the_hub_that_the_adapter_alone_names_is_loaded(
    exported: Path, hub: Server
) -> None:
    names = ("config.json", "model.safetensors")
    files = {name: (exported.parent / "base" / name).read_bytes() for name in names}
    hub.add("owner/base", {**files, "tokenizer.json": b"{}"})
    path = exported / "adapter/adapter_config.json"
    named = {"base_model_name_or_path": "owner/base"}
    path.write_text(json.dumps({**json.loads(path.read_text()), **named}))
    shutil.rmtree(exported.parent / "base")
    strategy = "lightning_modules.strategy.lora.Lora"
    task: dict[str, Any] = {"task": {"task": "classification"}, "columns": {}}
    manifest = {"labels": list(LABELS), "max_length": 8, "strategy": strategy, **task}
    (exported / MANIFEST).write_text(json.dumps(manifest))
    Lora.check_export(exported, (), None)
    folder = base_of(exported)
    assert folder is not None and (Path(folder) / "model.safetensors").is_file()
    run = build_run(compose("train", ["model=tiny", "logger=none"]).tree)
    network, _ = Lora.load_export(exported, run.task, LABELS, folder)
    assert network is not None


def test_a_base_that_is_nowhere_is_refused(exported: Path) -> None:
    path = exported / "adapter/adapter_config.json"
    named = {"base_model_name_or_path": "./gone"}
    path.write_text(json.dumps({**json.loads(path.read_text()), **named}))
    with pytest.raises(ConfigError, match=r"got no folder \./gone\. Copy it to"):
        Lora.check_export(exported, (), None)


def test_a_base_that_is_not_named_is_not_there(exported: Path) -> None:
    path = exported / "adapter/adapter_config.json"
    values = json.loads(path.read_text())
    del values["base_model_name_or_path"]
    path.write_text(json.dumps(values))
    with pytest.raises(ConfigError, match="must name its base as base_model_name"):
        Lora.check_export(exported, (), None)
