"""Every file under conf/ matches its schema, its location and the comment at its top."""

from __future__ import annotations

import importlib
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from search.config import CONF_DIR, build_run, build_search, compose
from search.plan.build import build_plan
from search.plan.ranges import build_space
from tests.options import files_of, words_for


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def option_name(path: Path) -> str:
    return path.relative_to(CONF_DIR).with_suffix("").as_posix()


OPTIONS = sorted(path for path in CONF_DIR.rglob("*.yaml") if "_target_" in read(path))
SPACES = files_of("search/space")
EXPERIMENTS = files_of("experiment")

each_option = pytest.mark.parametrize("path", OPTIONS, ids=option_name)


def schema_of(path: Path) -> Any:
    module, _, name = read(path)["_target_"].rpartition(".")
    return getattr(importlib.import_module(module), name)


def test_every_file_is_an_option_a_space_or_an_experiment() -> None:
    rest = {*CONF_DIR.rglob("*.yaml")} - {*OPTIONS, *SPACES, *EXPERIMENTS}
    assert {option_name(path) for path in rest} == {"sweep", "train", "prior"}


@each_option
def test_keys_match_the_fields_exactly(path: Path) -> None:
    assert read(path).keys() - {"_target_"} == {field.name for field in fields(schema_of(path))}


@each_option
def test_target_module_mirrors_the_file_path(path: Path) -> None:
    parts = path.relative_to(CONF_DIR).with_suffix("").parts
    place = ".".join(parts if parts[0] == "search" else ("lightning_modules", *parts))
    target = read(path)["_target_"]
    module = target.rpartition(".")[0]
    if parts == ("trainer", "default"):
        assert module == "lightning_modules.trainer"
    elif find_spec(place):
        assert module == place
    else:  # only values, for the class of another option: bert uses the class of hub
        assert read(path.with_stem(module.rpartition(".")[2]))["_target_"] == target


@each_option
def test_option_builds(path: Path) -> None:
    name = option_name(path)
    group = name.rpartition("/")[0]
    tree = compose("sweep", words_for(name)).tree
    built = build_search(tree) if group.startswith("search/") else build_run(tree)
    assert type(getattr(built, group.removeprefix("search/"))) is schema_of(path)


@pytest.mark.parametrize("path", SPACES, ids=option_name)
def test_space_parses(path: Path) -> None:
    words = [f"search/space={path.stem}", "data.max_length=choice(64,128)"]
    words += ["strategy=prompting"] if path.stem == "prompting" else []
    space = build_space(compose("sweep", words))
    assert set(space.paths) == {*read(path), "data.max_length"}


@pytest.mark.parametrize("path", EXPERIMENTS, ids=option_name)
def test_experiment_starts_with_a_command_that_composes(path: Path) -> None:
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
