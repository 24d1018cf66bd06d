"""What `conf/` offers is read whole, and every file and key of it says what it is."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from search.config import CONF_DIR
from search.config.catalogue import (
    Key,
    Option,
    load_class,
    load_groups,
    load_settings,
    meanings,
    module_text,
)
from search.config.settings import SearchSettings

COMMANDS = ("sweep", "train")
GROUPS = load_groups(CONF_DIR, "sweep")
OPTIONS = [option for group in GROUPS for option in group.options]


def place(option: Option) -> str:
    return f"{option.group}/{option.name}"


each_option = pytest.mark.parametrize("option", OPTIONS, ids=place)


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in (tree or {}).items():
        if isinstance(value, dict) and value:
            found |= flat(value, f"{prefix}{key}.")
        elif key not in ("_target_", "defaults"):
            found[f"{prefix}{key}"] = value
    return found


def test_every_file_is_there_once() -> None:
    files = {path.relative_to(CONF_DIR).with_suffix("").as_posix() for path in yaml_files()}
    assert sorted(map(place, OPTIONS)) == sorted(files - {*COMMANDS, "prior"})


def yaml_files() -> list[Path]:
    return sorted(CONF_DIR.rglob("*.yaml"))


@pytest.mark.parametrize("path", yaml_files(), ids=lambda path: path.stem)
def test_file_begins_with_what_it_is(path: Path) -> None:
    first, *rest = path.read_text(encoding="utf-8").splitlines()
    if path.parent.name == "experiment":
        assert first == "# @package _global_"
        first = rest[0]
        assert first.startswith("# finesweep ")
    assert first.startswith("# ") and len(first) <= 92, first


@each_option
def test_headline_is_in_plain_words(option: Option) -> None:
    assert 5 <= len(option.headline) <= 90
    assert not option.headline.endswith(".")
    for file_word in ("_target_", ".yaml"):
        assert file_word not in option.headline


def test_every_command_describes_a_group_alike() -> None:
    about = {group.name: group.about for group in GROUPS}
    for group in load_groups(CONF_DIR, "train"):
        assert group.about == about[group.name]


def test_headlines_distinguish_the_options() -> None:
    for group in GROUPS:
        headlines = [option.headline for option in group.options]
        assert len(set(headlines)) == len(headlines), group.name


@each_option
def test_keys_are_those_of_the_file(option: Option) -> None:
    tree = yaml.safe_load((CONF_DIR / f"{place(option)}.yaml").read_text(encoding="utf-8"))
    assert {key.path: yaml.safe_load(key.value) for key in option.keys} == flat(tree)
    assert option.target == (tree or {}).get("_target_")


@pytest.mark.parametrize("option", [m for m in OPTIONS if m.target is not None], ids=place)
def test_every_key_has_a_meaning(option: Option) -> None:
    schema: Any = load_class(str(option.target))
    found = meanings(schema)
    for field in fields(schema):
        assert found.get(field.name, "").endswith("."), f"{schema.__name__}.{field.name}"


def test_every_search_setting_has_a_meaning() -> None:
    settings = [key.path for key in load_settings(CONF_DIR, "sweep")]
    found = meanings(SearchSettings)
    assert [path for path in settings if path.startswith("search.")] == [
        f"search.{name}" for name in found
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_settings_have_comments(command: str) -> None:
    for key in load_settings(CONF_DIR, command):
        assert key.comment, key.path


@pytest.mark.parametrize("command", COMMANDS)
def test_groups_are_those_of_the_defaults_list(command: str) -> None:
    path = CONF_DIR / f"{command}.yaml"
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))["defaults"]
    listed = [pair for entry in entries if entry != "_self_" for pair in entry.items()]
    groups = load_groups(CONF_DIR, command)
    assert [(group.name, group.default) for group in groups] == listed
    for group in groups:
        assert group.about and not group.about.endswith("."), group.name
        assert group.default in [None, *(option.name for option in group.options)]


@pytest.mark.parametrize(
    ("place", "key"),
    [
        ("strategy/lora", Key("rank", "auto", "width of the adapters")),
        ("optimizer/adamw", Key("beta2", "0.999", "")),
        ("data/files", Key("train", "null", "path of the training file: .csv .tsv .json .jsonl")),
        ("strategy/adalora", Key("lr", "1e-3", "The paper uses 5e-4 to 2.2e-3 for GLUE")),
        ("experiment/smoke", Key("search.num_trials", "4", "")),
        ("search/space/default", Key("trainer.epochs", "auto", "")),
    ],
)
def test_values_and_comments_are_as_written(place: str, key: Key) -> None:
    group, _, name = place.rpartition("/")
    (option,) = (m for m in OPTIONS if (m.group, m.name) == (group, name))
    (found,) = (found for found in option.keys if found.path == key.path)
    assert found.value == key.value
    assert found.comment.startswith(key.comment)
    assert bool(found.comment) == bool(key.comment)


@pytest.fixture
def own_conf(here: Path) -> Path:
    (here / "sweep.yaml").write_text(
        "# A study.\ndefaults:\n  # for company\n  - pet: cat # one of them\n  - _self_\n"
        "  - extra: null\n\nname: x # its name\n"
    )
    (here / "pet").mkdir()
    (here / "pet" / "cat.yaml").write_text(
        "# A cat\n# (Felis catus)\n_target_: pets.Cat # a class\n"
        "# Both lines\n# are one source.\nlives: 9 # at most\n"
        "sound: '#meow' # not a comment before this\n"
        "meals: [fish,\n  milk] # a day\nbare:\n"
        "home: # where it lives\n  # a place\n  town: Rome\n  rooms: {big: 1}\n"
    )
    (here / "pet" / "dog.yaml").write_text("# A dog")
    (here / "pet" / "fox.yaml").write_text("")
    return here


def test_comments_belong_to_what_they_stand_at(own_conf: Path) -> None:
    pet, extra = load_groups(own_conf, "sweep")
    cat, dog, fox = pet.options
    assert (cat.headline, cat.notes, cat.target) == ("A cat", "(Felis catus)", "pets.Cat")
    assert (pet.name, pet.about, pet.default) == ("pet", "for company one of them", "cat")
    assert cat.keys == (
        Key("lives", "9", "Both lines are one source. at most"),
        Key("sound", "'#meow'", "not a comment before this"),
        Key("meals", "[fish, milk]", "a day"),
        Key("bare", "", ""),
        Key("home.town", "Rome", "where it lives a place"),
        Key("home.rooms", "{big: 1}", ""),
    )
    assert (dog.headline, dog.keys, dog.target) == ("A dog", (), None)
    assert fox.headline == ""
    assert (extra.about, extra.default, extra.options) == ("", None, ())
    assert load_settings(own_conf, "sweep") == (Key("name", "x", "its name"),)


class Base:
    """A base.

    Attributes:
        one: First.
        two: Second,
            over two lines.

    """


class Derived(Base):
    """A derived one.

    Attributes:
        two: Another: `x`.

    Notes:
        three: No attribute.

    """


def test_meanings_are_those_of_the_class_and_its_bases() -> None:
    assert meanings(Base) == {"one": "First.", "two": "Second, over two lines."}
    assert meanings(Derived) == {"one": "First.", "two": "Another: `x`."}
    assert meanings(int) == {}


def test_module_text_is_its_docstring() -> None:
    lora = load_class("lightning_modules.strategy.lora.Lora")
    assert module_text(lora).startswith("Low-rank adapters (LoRA).\n\nEach linear layer")
