"""A trained network as a folder that plain transformers or PEFT loads, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.error import ConfigError, Problem
from lightning_modules.machine.file import write_json, write_text
from lightning_modules.schema import import_member
from lightning_modules.strategy.base import Strategy
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
            "columns": columns_of(run),
            "strategy": f"{type(run.strategy).__module__}.{type(run.strategy).__qualname__}",
        },
    )
    write_text(folder / "README.md", _readme(card, loading))
    _share(folder)


def columns_of(run: Run) -> dict[str, str | None]:
    """Return the column of each field; data that do not name them have those that are needed."""
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


def load_exported(
    folder: Path, task: Task, base: str | None = None, plugins: Sequence[str] = ()
) -> Predictor:
    """Return the exported model, ready to predict.

    Args:
        folder: What `save_exported` wrote.
        task: Decodes what the network answers.
        base: Folder or hub name of the pretrained model that an exported part needs; None takes
            the one that the manifest names, or the folder's own.
        plugins: Packages besides ours whose strategies may load it.

    """
    from transformers import AutoTokenizer

    from lightning_modules.export.predictor import Predictor

    manifest = read_manifest(folder)
    labels = tuple(manifest["labels"])
    strategy = strategy_class(manifest, plugins)
    network, prepares = strategy.load_export(folder, task, labels, base or manifest["base"])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return Predictor(network, tokenizer, task, labels, manifest["max_length"], strategy=prepares)


def strategy_class(manifest: Mapping[str, Any], plugins: Sequence[str] = ()) -> type[Strategy]:
    """Return the strategy that wrote an export; raise ConfigError if its package is not allowed.

    Args:
        manifest: The export's.
        plugins: Packages besides ours that may be imported.

    """
    name = manifest.get("strategy") or next(
        (_EARLIER[flag] for flag in _EARLIER if manifest.get(flag)), _WHOLE
    )
    return import_member(str(name), Strategy, "model", plugins)


# What earlier manifests say instead of the strategy's name.
_EARLIER = {
    "prompts": "lightning_modules.strategy.prompting.Prompting",
    "pooled_head": "lightning_modules.strategy.feature_extraction.FeatureExtraction",
    "adapter": "lightning_modules.strategy.lora.Lora",
}
_WHOLE = "lightning_modules.strategy.full.Full"


def _share(folder: Path) -> None:
    """Let whoever may read one file of the folder read all: safetensors' are its owner's alone."""
    mode = (folder / MANIFEST).stat().st_mode
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(mode)


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
