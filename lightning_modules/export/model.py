"""Export a trained network to a folder that plain transformers or PEFT loads, and load it."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.export.unit import with_head_in_unit
from lightning_modules.machine.file import write_json, write_text
from lightning_modules.model.based import Fetch, base_folder
from lightning_modules.model.files.folder import ModelFolder
from lightning_modules.model.files.manifest import MANIFEST, SUMS, write_sums
from lightning_modules.model.plain import read_plainly
from lightning_modules.model.pretrained import Pretrained
from lightning_modules.schema import import_member, member_of
from lightning_modules.strategy.adapter.base import PeftStrategy
from lightning_modules.strategy.base import Strategy
from lightning_modules.task.base import Task
from lightning_modules.task.label import of_export
from lightning_modules.task.own_metric import is_own

if TYPE_CHECKING:
    from lightning_modules.export.predictor import Predictor
    from lightning_modules.run import Run


@dataclass(frozen=True)
class Card:
    """The content of a model card, besides how to load the model.

    Attributes:
        title: The model's name.
        facts: Values by name, one line each.
        scores: Validation metrics by name.

    """

    title: str
    facts: Mapping[str, str]
    scores: Mapping[str, float]


def save_exported(
    predictor: Predictor, run: Run, card: Card, folder: Path, *, merge: bool = True
) -> None:
    """Write weights, tokenizer, labels and model card to a new folder.

    Args:
        predictor: The trained network, with its tokenizer.
        run: The run that trained it.
        card: The content of the model card.
        folder: The new folder.
        merge: Whether adapters are merged into the weights; if not, they are written alone.

    """
    check_merge(run, merge=merge)
    folder.mkdir(parents=True)
    # The loaded tokenizer then truncates where `predict` does.
    predictor.tokenizer.model_max_length = predictor.max_length
    strategy = predictor.strategy or run.strategy
    if not (predictor.task.writes_specials or strategy.writes_specials):
        # Plain transformers then reads special tokens in texts as `predict` does.
        predictor.tokenizer.init_kwargs["split_special_tokens"] = True
    write = strategy.export
    if not merge:
        assert isinstance(strategy, PeftStrategy)
        write = strategy.export_adapter
    network = predictor.network if predictor.is_for_export else copy.deepcopy(predictor.network)
    task = with_head_in_unit(network, predictor.task, strategy.export_dtype(run.model))
    loading = write(network, predictor.tokenizer, run.model, task, folder)
    for file in run.model.other_files():
        shutil.copyfile(file, folder / file.name)
    if any(folder.glob("*.safetensors")):  # not an adapter alone
        _write_others(task.export_files(network, predictor.max_length), folder)
    sums = write_sums(folder)
    write_json(
        folder / MANIFEST,
        {
            "base": run.model.hub_name,
            "base_commit": run.model.commit,
            "labels": list(predictor.labels),
            "max_length": predictor.max_length,
            "task": _task_settings(run) | {f"task.{key}": task.state[key] for key in task.state},
            "columns": columns_of(run),
            "prompt": predictor.task.prompt_of(None),
            "strategy": f"{type(run.strategy).__module__}.{type(run.strategy).__qualname__}",
            SUMS: sums,
        },
    )
    write_text(folder / "README.md", _readme(card, loading))
    _share(folder)


def _write_others(files: Mapping[str, Any], folder: Path) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        write_json(folder / name, content)


def check_merge(run: Run, *, merge: bool) -> None:
    """Raise ConfigError if the run's adapters cannot be exported alone, as `merge=false` asks."""
    fix = "Leave it out."
    if not merge and not isinstance(run.strategy, PeftStrategy):
        rule = "must be true unless the strategy trains adapters"
        raise ConfigError(
            Problem("merge", rule, Verbatim(f"strategy={member_of(run.strategy)}"), fix)
        )
    if not merge and run.model.hub_name is None and not isinstance(run.model, Pretrained):
        rule = "must be true if no file has the base model"
        raise ConfigError(Problem("merge", rule, Verbatim(f"model={run.model.name}"), fix))


def columns_of(run: Run) -> dict[str, str | None]:
    """Return the column of each field; data without column settings use the field names."""
    defaults = {field: None if field in run.task.optional else field for field in run.task.cells}
    own = {field: getattr(run.task, field) for field in run.task.own_fields}
    return {f: getattr(run.data, f, name) for f, name in {**defaults, **own}.items()}


def _task_settings(run: Run) -> dict[str, Any]:
    """Return the settings that compose the task again, without those used only in training."""
    only_training = {f"task.{name}" for name in run.task.loss_settings}
    settings = {key: value for key, value in run.flat().items() if key.split(".")[0] == "task"}
    if is_own(run.task.metric):  # an export must need no code of the user's
        only_training |= {"task.metric", "task.metric_direction"}
    return {key: value for key, value in settings.items() if key not in only_training}


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest that `save_exported` wrote; raise ConfigError if there is none."""
    path = folder / MANIFEST
    if not path.is_file():
        rule = f"must be a folder with {MANIFEST}"
        fix = "Run finesweep export study=NAME to=DIR to create one."
        raise ConfigError(Problem("model", rule, str(folder), fix))
    return ModelFolder(folder).manifest()


def check_exported(folder: Path, plugins: Sequence[str] = ()) -> None:
    """Raise ConfigError if the export's files cannot be used; load none of them.

    Args:
        folder: The export.
        plugins: Packages, besides finesweep's, whose strategies may load it.

    """
    manifest = read_manifest(folder)
    ModelFolder(folder).check_sums()
    ModelFolder(folder).check_tokenizer()
    strategy_class(manifest, plugins).check_export(folder, manifest["labels"], manifest.get("base"))


def base_of(folder: Path, plugins: Sequence[str] = (), fetch: Fetch | None = None) -> str | None:
    """Return the folder of the pretrained model that an export needs, after downloading it.

    Args:
        folder: The export.
        plugins: Packages, besides finesweep's, whose strategies may load it.
        fetch: Downloads the model; None does so without a word.

    Returns:
        None if the export needs none, or has it.

    Raises:
        ConfigError: The model is not available.

    """
    manifest = read_manifest(folder)
    if not strategy_class(manifest, plugins).needs_base(folder):
        return None
    # Exports of earlier versions do not say which commit they were trained from.
    named = manifest.get("base"), manifest.get("base_commit")
    base, commit = named if named[0] is not None else ModelFolder(folder).based_on() or named
    return None if base is None else str(base_folder(base, commit, fetch))


def load_exported(
    folder: Path, task: Task, base: str | None = None, plugins: Sequence[str] = ()
) -> Predictor:
    """Return the exported model, ready to predict.

    Args:
        folder: The folder that `save_exported` wrote.
        task: The task that decodes the network's outputs.
        base: Folder or hub name of the pretrained model, for an export that needs one; None takes
            the one that the export names, or the one in it.
        plugins: Packages, besides finesweep's, whose strategies may load it.

    """
    from lightning_modules.export.predictor import Predictor

    check_exported(folder, plugins)
    manifest = read_manifest(folder)
    labels = of_export(manifest["labels"], task.cells.get("label"))
    strategy = strategy_class(manifest, plugins)
    if base is None:
        base = base_of(folder, plugins)
    elif strategy.needs_base(folder):
        base = str(base_folder(base, manifest.get("base_commit")))
    network, prepares = strategy.load_export(folder, task, labels, base)
    tokenizer = read_plainly(ModelFolder(folder).load_tokenizer())
    return Predictor(network, tokenizer, task, labels, manifest["max_length"], strategy=prepares)


def strategy_class(manifest: Mapping[str, Any], plugins: Sequence[str] = ()) -> type[Strategy]:
    """Return the strategy that wrote an export; raise ConfigError if its package is not allowed.

    Args:
        manifest: The export's manifest.
        plugins: Packages, besides finesweep's, that may be imported.

    """
    name = manifest.get("strategy") or next(
        (_EARLIER[flag] for flag in _EARLIER if manifest.get(flag)), _WHOLE
    )
    return import_member(str(name), Strategy, "model", plugins)


# Flags of earlier manifests, which do not name the strategy.
_EARLIER = {
    "prompts": "lightning_modules.strategy.prompting.Prompting",
    "pooled_head": "lightning_modules.strategy.feature_extraction.FeatureExtraction",
    "adapter": "lightning_modules.strategy.lora.Lora",
}
_WHOLE = "lightning_modules.strategy.full.Full"


def _share(folder: Path) -> None:
    """Give every file the manifest's permissions: safetensors writes files for the owner only."""
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

Scores on the validation rows. The study chose this model by them, so they are optimistic; score it
on other rows before you rely on it:

| metric | value |
|---|---|
{scores}

Load it from this folder:

```python
{loading}```
"""
