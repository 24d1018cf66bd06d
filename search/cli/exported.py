"""What an exported folder needs to be used: its task, and the backbone of an exported head."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from lightning_modules.exported import read_manifest
from lightning_modules.model.base import Attention
from lightning_modules.model.hub import check_reachable
from lightning_modules.model.minilm import HUB_NAME, PACKAGE, Minilm, Source
from lightning_modules.task.base import Task
from search.config import build_run, compose, literal


def exported_base(folder: Path) -> str | None:
    """Return the backbone's folder or hub name; None where the export holds all it needs.

    Raises:
        ConfigError: The backbone cannot be had.

    """
    manifest = read_manifest(folder)
    needs_base = manifest["pooled_head"] or manifest.get("prompts")
    base: str | None = manifest["base"] if needs_base else None
    if base == HUB_NAME and find_spec(PACKAGE) is not None:
        return Minilm(source=Source.package, attention=Attention.sdpa).location()
    if base is not None:
        check_reachable("model", base)
    return base


def task_words(folder: Path) -> list[str]:
    """Return the words that compose the task that the model was trained for."""
    settings = read_manifest(folder)["task"]
    return [f"{key}={literal(value)}" for key, value in settings.items()]


def exported_task(folder: Path) -> Task:
    """Return that task; raise ConfigError where it is unknown."""
    return build_run(compose("train", task_words(folder)).tree).task
