"""What an exported folder needs to be used: its task, and what an exported part was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from lightning_modules.export.model import read_manifest, strategy_class
from lightning_modules.machine.hub import check_reachable
from lightning_modules.model.base import Attention
from lightning_modules.model.minilm import HUB_NAME, PACKAGE, Minilm, Source
from lightning_modules.task.base import Task
from search.config import build_run, compose, literal


def exported_base(folder: Path, plugins: Sequence[str] = ()) -> str | None:
    """Return the pretrained model's folder or hub name; None where the export holds all it needs.

    Raises:
        ConfigError: The model cannot be had.

    """
    manifest = read_manifest(folder)
    needs_base = strategy_class(manifest, plugins).needs_base(folder)
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


def exported_task(
    folder: Path, own: Sequence[str] = (), config_dir: Path | None = None
) -> tuple[Task, Sequence[str]]:
    """Return that task, and the plugins that `own` names; raise ConfigError if it is unknown.

    Args:
        folder: The exported model.
        own: More words, as `search.plugins=[mine]`.
        config_dir: A folder of further group options.

    """
    tree = compose("train", [*task_words(folder), *own], config_dir).tree
    return build_run(tree).task, tree["search"]["plugins"]
