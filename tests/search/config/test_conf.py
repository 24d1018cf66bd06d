"""Every file under conf/ holds what its schema, its place and its head promise."""

from __future__ import annotations

import importlib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from search.config import CONF_DIR, build_run, build_search, compose
from search.plan.plan import build_plan
from search.plan.ranges import build_space

NEEDED = {
    "data/files": ["data.train=my.csv"],
    "data/hub": ["data.path=owner/name"],
    "model/architecture": ["model.type=bert"],
    "model/hub": ["model.path=owner/name"],
    "strategy/peft": ["strategy.method=vera"],
}
"""What an option cannot have a default for."""


OF_THE_HUB = {
    *("bert", "deberta", "distilbert", "modernbert", "roberta"),
    *("bart", "flan_t5", "t5"),
    *("gpt2", "smollm2", "llama", "qwen3", "gemma"),
    *("ag_news", "imdb", "sst2"),
}
"""Options that are one YAML and no class of their own."""

ARCHITECTURES = {"nanogpt", "transformer"}
"""The same, of architectures without weights."""


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def option_name(path: Path) -> str:
    return path.relative_to(CONF_DIR).with_suffix("").as_posix()


OPTIONS = sorted(path for path in CONF_DIR.rglob("*.yaml") if "_target_" in read(path))
SPACES = sorted((CONF_DIR / "search/space").glob("*.yaml"))
EXPERIMENTS = sorted((CONF_DIR / "experiment").glob("*.yaml"))

each_option = pytest.mark.parametrize("path", OPTIONS, ids=option_name)


def schema_of(path: Path) -> Any:
    module, _, name = read(path)["_target_"].rpartition(".")
    return getattr(importlib.import_module(module), name)


def test_every_member_is_found() -> None:
    assert len(OPTIONS) == 62


@each_option
def test_keys_are_exactly_the_fields(path: Path) -> None:
    assert read(path).keys() - {"_target_"} == {field.name for field in fields(schema_of(path))}


@each_option
def test_target_lives_at_the_mirrored_place(path: Path) -> None:
    parts = path.relative_to(CONF_DIR).with_suffix("").parts
    if parts[0] == "search":
        mirrored = ".".join(parts)
    elif parts == ("trainer", "default"):
        mirrored = "lightning_modules.trainer"
    elif path.stem in OF_THE_HUB:
        mirrored = f"lightning_modules.{parts[0]}.hub"
    elif path.stem in ARCHITECTURES:
        mirrored = "lightning_modules.model.architecture"
    else:
        mirrored = ".".join(("lightning_modules", *parts))
    assert read(path)["_target_"].rpartition(".")[0] == mirrored


@each_option
def test_member_builds(path: Path) -> None:
    name = option_name(path)
    group, _, option = name.rpartition("/")
    tree = compose("sweep", [f"{group}={option}", *NEEDED.get(name, [])]).tree
    built = build_search(tree) if group.startswith("search/") else build_run(tree)
    assert type(getattr(built, group.removeprefix("search/"))) is schema_of(path)


def test_every_space_is_found() -> None:
    assert [path.stem for path in SPACES] == ["default", "none", "prompting"]


@pytest.mark.parametrize("path", SPACES, ids=option_name)
def test_space_parses(path: Path) -> None:
    words = [f"search/space={path.stem}", "data.max_length=choice(64,128)"]
    words += ["strategy=prompting"] if path.stem == "prompting" else []
    space = build_space(compose("sweep", words))
    assert set(space.paths) == {*read(path), "data.max_length"}


def test_there_are_experiments() -> None:
    assert EXPERIMENTS


@pytest.mark.parametrize("path", EXPERIMENTS, ids=option_name)
def test_experiment_is_headed_by_a_command_that_composes(path: Path) -> None:
    heads = [
        line.removeprefix("# ").partition("  ")[0].split()
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("# finesweep ")
    ]
    assert heads, f"{path} does not name its command"
    for _, command, *words in heads:
        assert f"experiment={path.stem}" in words
        composition = compose(command, words)
        if command == "sweep":
            build_plan(composition)
        else:
            build_run(composition.tree)
