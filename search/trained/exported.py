"""The task of an exported folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lightning_modules.error import ConfigError, Problem
from lightning_modules.export.model import read_manifest, strategy_class
from lightning_modules.task.base import Task, without_reference
from lightning_modules.text.template import as_literal, broken_rule
from search.config import build_run, compose, escaped, literal, packages_of
from search.config.legacy import LEGACY


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
    return [f"{key}={literal(escaped(value))}" for key, value in {**before, **settings}.items()]


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
