"""What an exported folder needs before it can be used: its task and its base model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lightning_modules.error import ConfigError, Problem
from lightning_modules.export.model import read_manifest, strategy_class
from lightning_modules.model.based import Fetch, base_folder
from lightning_modules.task.base import Task, without_reference
from lightning_modules.text.template import as_literal, broken_rule
from search.config import build_run, compose, literal, packages_of
from search.config.legacy import LEGACY


def exported_base(
    folder: Path, plugins: Sequence[str] = (), fetch: Fetch | None = None
) -> str | None:
    """Return the pretrained model's folder, after downloading it; None if the export needs none.

    Args:
        folder: The export.
        plugins: Packages, besides finesweep's, whose strategies may load it.
        fetch: Downloads the model; None does so without a word.

    Raises:
        ConfigError: The model is not available.

    """
    manifest = read_manifest(folder)
    needs_base = strategy_class(manifest, plugins).needs_base(folder)
    base: str | None = manifest.get("base") if needs_base else None
    if base is None:
        return None
    # Exports of earlier versions do not say which commit they were trained from.
    return str(base_folder(base, manifest.get("base_commit"), fetch))


def check_reference(folder: Path, task: Task, plugins: Sequence[str] = ()) -> None:
    """Raise ConfigError if the task compares with the model before training, and it is not there.

    It is there in exports that are loaded on top of their base.
    """
    writer = strategy_class(read_manifest(folder), plugins)
    if task.needs_reference and not writer.needs_base(folder):
        raise ConfigError(without_reference(task))


def task_words(folder: Path, config_dir: Path | None = None) -> list[str]:
    """Return the overrides that compose the task that the model was trained for.

    Keys that finesweep has got since have the value that changes nothing.

    Raises:
        ConfigError: The manifest cannot be used.

    """
    manifest = read_manifest(folder)
    settings, prompt = manifest["task"], manifest.get("prompt")
    if prompt is not None and (rule := broken_rule(prompt)) is not None:
        fix = "Export the model again."
        raise ConfigError(Problem("model", f"the prompt in {folder} {rule}", prompt, fix))
    if "prompt" not in manifest and "task.template" in settings:
        settings = {**settings, "task.template": as_literal(settings["task.template"])}
    known = compose("train", [f"task={settings['task']}"], config_dir).tree["task"]
    before = {
        path: value
        for path, value in LEGACY.items()
        if path.startswith("task.") and path.removeprefix("task.") in known
    }
    return [f"{key}={literal(value)}" for key, value in {**before, **settings}.items()]


def exported_task(folder: Path, config_dir: Path | None = None) -> tuple[Task, Sequence[str]]:
    """Return the exported model's task and the packages that may be imported for it.

    Args:
        folder: The exported model.
        config_dir: A folder with more group options.

    Raises:
        ConfigError: The task is unknown.

    """
    tree = compose("train", task_words(folder, config_dir), config_dir).tree
    return build_run(tree).task, packages_of(tree)
