"""A trained network as a folder that plain transformers or PEFT loads, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.error import ConfigError, Problem
from lightning_modules.machine.file import write_json, write_text
from lightning_modules.strategy.adapter.base import ADAPTER, BASE
from lightning_modules.strategy.feature_extraction import BACKBONE, num_outputs
from lightning_modules.strategy.prompting import PROMPTING_FILE, read_prompting
from lightning_modules.task.base import Task

if TYPE_CHECKING:
    from lightning_modules.export.predictor import Predictor
    from lightning_modules.run import Run

MANIFEST = "finesweep.json"


@dataclass(frozen=True)
class Card:
    """What a model card tells besides how to load the model.

    Attributes:
        title: The model's name.
        facts: Lines of name and value.
        scores: Validation metrics by name.

    """

    title: str
    facts: Mapping[str, str]
    scores: Mapping[str, float]


def save_exported(predictor: Predictor, run: Run, card: Card, folder: Path) -> None:
    """Write weights, tokenizer, labels and model card to the new folder."""
    folder.mkdir(parents=True)
    # Whoever loads the tokenizer and truncates cuts where predict cuts.
    predictor.tokenizer.model_max_length = predictor.max_length
    strategy = predictor.strategy or run.strategy
    loading = strategy.export(predictor.network, predictor.tokenizer, run.model, run.task, folder)
    write_json(
        folder / MANIFEST,
        {
            "base": run.model.hub_name,
            "labels": list(predictor.labels),
            "max_length": predictor.max_length,
            "task": _task_settings(run),
            "columns": _columns(run),
            "pooled_head": (folder / "head.safetensors").is_file(),
            "adapter": (folder / ADAPTER).is_dir() and not any(folder.glob("*.safetensors")),
            "prompts": (folder / PROMPTING_FILE).is_file(),
        },
    )
    write_text(folder / "README.md", _readme(card, loading))
    _share(folder)


def _columns(run: Run) -> dict[str, str | None]:
    """Return the column of each field; data without names for them have the needed ones."""
    own = {field: None if field in run.task.optional else field for field in run.task.cells}
    return {field: getattr(run.data, field, name) for field, name in own.items()}


def _task_settings(run: Run) -> dict[str, Any]:
    """Return what composes the task again, without what it was only trained with."""
    apart = {f"task.{name}" for name in run.task.loss_settings}
    found = {key: value for key, value in run.flat().items() if key.split(".")[0] == "task"}
    return {key: value for key, value in found.items() if key not in apart}


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return what `save_exported` noted; raise ConfigError where it did not write there."""
    path = folder / MANIFEST
    if not path.is_file():
        rule = f"must be a folder with {MANIFEST}"
        fix = "finesweep export study=NAME to=DIR makes one."
        raise ConfigError(Problem("model", rule, str(folder), fix))
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return manifest


def load_exported(folder: Path, task: Task, base: str | None = None) -> Predictor:
    """Return the exported model, ready to predict.

    Args:
        folder: What `save_exported` wrote.
        task: Decodes what the network answers.
        base: Where the backbone of an exported head, adapter or of prompts lies; None takes its hub
            name, or the folder's own where it has no such name.

    """
    from transformers import AutoTokenizer

    from lightning_modules.export.predictor import Predictor

    manifest = read_manifest(folder)
    base = base or manifest["base"]
    if manifest.get("prompts"):
        return _prompted(folder, task, base or str(folder / BACKBONE))
    if manifest["pooled_head"]:
        num_labels = num_outputs(task, manifest["labels"])
        network: Any = _pooled(folder, base or str(folder / BACKBONE), num_labels)
    elif manifest.get("adapter"):
        network = _adapted(folder, base or str(folder / BASE), task)
    else:
        network = _auto(folder, task)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return Predictor(network, tokenizer, task, tuple(manifest["labels"]), manifest["max_length"])


def _share(folder: Path) -> None:
    """Let whoever may read one file of the folder read all: safetensors' are its owner's alone."""
    mode = (folder / MANIFEST).stat().st_mode
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(mode)


def _auto(folder: Path, task: Task) -> Any:
    import torch
    import transformers

    auto = getattr(transformers, task.auto_class)
    return auto.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)


def _adapted(folder: Path, base: str, task: Task) -> Any:
    import torch
    import transformers
    from peft import PeftModel

    from lightning_modules.strategy.adapter.virtual import cut_answers

    auto = getattr(transformers, task.auto_class)
    # The config is that of the trained network, with its labels.
    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    network = auto.from_pretrained(base, config=config, dtype=torch.float32, use_safetensors=True)
    task.configure_network(network)
    network = PeftModel.from_pretrained(network, str(folder / ADAPTER))
    cut_answers(network)
    return network


def _pooled(folder: Path, base: str, num_labels: int) -> Any:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModel

    from lightning_modules.model.pooled import PooledClassifier

    backbone = AutoModel.from_pretrained(base, dtype=torch.float32, use_safetensors=True)
    network = PooledClassifier(backbone, num_labels)
    network.head.load_state_dict(load_file(folder / "head.safetensors"))
    return network


def _prompted(folder: Path, task: Task, base: str) -> Predictor:
    from transformers import AutoTokenizer

    from lightning_modules.export.predictor import Predictor
    from lightning_modules.model.base import Attention
    from lightning_modules.model.hub import Hub

    manifest = read_manifest(folder)
    labels = tuple(manifest["labels"])
    strategy = read_prompting(json.loads((folder / PROMPTING_FILE).read_text(encoding="utf-8")))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = Hub(path=base, attention=Attention.sdpa)
    network = strategy.adapt(strategy.load(model, task, labels, tokenizer))
    return Predictor(network, tokenizer, task, labels, manifest["max_length"], strategy=strategy)


def _readme(card: Card, loading: str) -> str:
    lines = ((name, value.replace("|", "\\|")) for name, value in card.facts.items())
    facts = "\n".join(f"| {name} | {value} |" for name, value in lines)
    scores = "\n".join(f"| {name} | {value:.4f} |" for name, value in card.scores.items())
    return f"""\
# {card.title}

| | |
|---|---|
{facts}

Scores on the validation rows, which also chose this model among the study's trials; score it
on rows that it has not been chosen by before you rely on it:

| metric | value |
|---|---|
{scores}

Load it from this folder:

```python
{loading}```
"""
