"""The options of conf/, found by walking it: a new one is tested without being listed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from search.config import CONF_DIR

# What to set for an option that has no default for one of its keys.
NEEDED: Mapping[str, Sequence[str]] = {
    "data/files": ("data.train=my.csv",),
    "data/hub": ("data.path=owner/name",),
    "model/architecture": ("model.type=bert",),
    "model/hub": ("model.path=owner/name",),
    "strategy/peft": ("strategy.method=vera",),
}
# What else to set in a network of two layers.
SMALL: Mapping[str, Sequence[str]] = {"strategy/freeze": ("strategy.num_layers=1",)}


def files_of(group: str) -> Sequence[Path]:
    return sorted((CONF_DIR / group).glob("*.yaml"))


def names_of(group: str) -> list[str]:
    return [path.stem for path in files_of(group)]


def words_for(option: str) -> list[str]:
    """Return the words that choose an option, e.g. `strategy/lora`, and set what it needs."""
    group, _, name = option.rpartition("/")
    return [f"{group}={name}", *NEEDED.get(option, ())]


def needed_by(strategy: str) -> tuple[str, ...]:
    """Return the words that a strategy needs in a network of two layers."""
    option = f"strategy/{strategy}"
    return (*NEEDED.get(option, ()), *SMALL.get(option, ()))
