from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from lightning_modules.error import ConfigError
from lightning_modules.machine.hardware import Precision
from search.config import (
    Tree,
    build_run,
    build_search,
    compose,
    escaped,
    leaves,
    literal,
    resolved,
    run_tree,
    to_yaml,
)


def tree_of(*overrides: str) -> Tree:
    return copy.deepcopy(composed(*overrides))


@cache
def composed(*overrides: str) -> Tree:
    return compose("sweep", ["model=tiny", "logger=none", *overrides]).tree


def with_key(path: str, value: Any) -> Tree:
    """Return a default tree with the key set, bypassing the command line's checks."""
    tree = tree_of()
    node = tree
    *groups, key = path.split(".")
    for group in groups:
        node = node[group]
    node[key] = value
    return tree


def places(error: pytest.ExceptionInfo[ConfigError]) -> Sequence[str]:
    return [problem.where for problem in error.value.problems]


def test_values_become_typed_options() -> None:
    run = build_run(tree_of("trainer.precision=fp32", "trainer.checkpoint_seconds=5"))
    assert run.trainer.precision is Precision.fp32
    assert isinstance(run.trainer.checkpoint_seconds, float)
    assert run.seed == 0


def test_values_reach_interpolations_that_refer_to_them() -> None:
    assert build_run(tree_of(), {"strategy.lr": 5e-4}).optimizer.lr == 5e-4


def test_values_do_not_change_the_tree() -> None:
    tree = tree_of()
    before = copy.deepcopy(tree)
    build_run(tree, {"optimizer.lr": 5e-4})
    resolved(tree, {"optimizer.lr": 5e-4})
    assert tree == before


def test_an_unknown_key_names_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"^trainer\.epoch: .*Did you mean epochs\?$"):
        build_run(with_key("trainer.epoch", 3))


def test_a_missing_key_must_be_set() -> None:
    tree = tree_of()
    del tree["data"]["max_length"]
    with pytest.raises(ConfigError, match=r"data\.max_length: must be set"):
        build_run(tree)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("trainer.epochs", "many", "a whole number"),
        ("trainer.epochs", 1.5, "a whole number"),
        ("trainer.epochs", True, "a whole number"),
        ("trainer.epochs", None, "a whole number"),
        ("trainer.patience", "x", "a whole number or null"),
        ("optimizer.lr", "fast", "a number"),
        ("optimizer.lr", [1e-3], "a number"),
        ("trainer.precision", "fp8", "one of auto, fp32, bf16, fp16"),
        ("seed", 1.5, "a whole number >= 0"),
        ("seed", True, "a whole number >= 0"),
        ("seed", -1, "a whole number >= 0"),
    ],
)
def test_a_wrong_type_names_the_right_one(path: str, value: object, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        build_run(with_key(path, value))
    (problem,) = error.value.problems
    assert (problem.where, problem.rule, problem.got) == (path, f"must be {words}", value)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("search.num_trials", "x", "a whole number"),
        ("search.max_hours", "long", "a number or null"),
        ("search.workers", 1.5, "a whole number"),
        ("search.plugins", "os", "a list"),
        ("search.sampler.max_modelled", "x", "a whole number"),
    ],
)
def test_a_wrong_type_in_search_names_the_right_one(path: str, value: object, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        build_search(with_key(path, value))
    (problem,) = error.value.problems
    assert (problem.where, problem.rule) == (path, f"must be {words}")


def test_plugins_must_be_a_list() -> None:
    with pytest.raises(ConfigError, match=r"search\.plugins: must be a list"):
        build_search(with_key("search.plugins", None))


def test_all_problems_of_a_run_are_reported_at_once() -> None:
    tree = tree_of("trainer.epochs=0", "trainer.device=toaster", "data.max_length=1", "seed=-1")
    tree["strategy"]["rnk"] = 4
    tree["task"]["metric"] = "acuracy"
    with pytest.raises(ConfigError) as error:
        build_run(tree)
    assert sorted(places(error)) == [
        "data.max_length",
        "seed",
        "strategy.rnk",
        "task.metric",
        "trainer.device",
    ]


def test_all_problems_of_a_search_are_reported_at_once() -> None:
    wrong = ("num_trials=0", "keep=0", "sampler.max_modelled=0", "pruner.min_finished=0")
    with pytest.raises(ConfigError) as error:
        build_search(tree_of(*(f"search.{word}" for word in wrong)))
    assert sorted(places(error)) == [
        "search.keep",
        "search.num_trials",
        "search.pruner.min_finished",
        "search.sampler.max_modelled",
    ]


def test_a_dangling_interpolation_names_its_key() -> None:
    with pytest.raises(ConfigError, match=r"^optimizer\.lr: must refer to an existing key"):
        build_run(with_key("optimizer.lr", "${strategy.nothing}"))


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "subprocess.Popen",
        "search.worker.worker.subprocess.Popen",
        "lightning_modules.run.fit",
        "lightning_modules.strategy.lora.Nothing",
        "lightning_modules.optimizer.adamw.Adamw",
        "lightning_modules..Lora",
        "Lora",
        "",
        3,
    ],
)
def test_a_target_that_is_not_a_strategy_is_refused(target: object) -> None:
    with pytest.raises(ConfigError) as error:
        build_run(with_key("strategy._target_", target))
    assert places(error) == ["strategy._target_"]


@pytest.mark.parametrize("group", ["sampler", "pruner"])
def test_targets_in_search_are_checked_too(group: str) -> None:
    with pytest.raises(ConfigError) as error:
        build_search(with_key(f"search.{group}._target_", "os.system"))
    assert places(error) == [f"search.{group}._target_"]


def test_a_group_without_a_target_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^logger: must be a group with a _target_"):
        build_run(with_key("logger", None))


def test_an_abstract_class_is_refused() -> None:
    tree = tree_of("search/sampler=random")
    tree["search"]["sampler"]["_target_"] = "search.sampler.base.Sampler"
    with pytest.raises(ConfigError):
        build_search(tree)


@pytest.fixture(params=["traced_package", "lightning_modules_traced"])
def traced(request: pytest.FixtureRequest, here: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of an importable module that creates a file `trace` when imported."""
    name = str(request.param)
    text = f"from pathlib import Path\n\nPath({str(here / 'trace')!r}).touch()\nStrategy = print\n"
    (here / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(here)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def test_target_outside_the_allowed_packages_is_not_imported(traced: str) -> None:
    with pytest.raises(
        ConfigError, match="must be in one of the packages lightning_modules, search"
    ):
        build_run(with_key("strategy._target_", f"{traced}.Strategy"))
    assert traced not in sys.modules
    assert not Path("trace").exists()


def test_a_target_in_a_plugin_is_imported_and_must_have_the_right_base(traced: str) -> None:
    tree = with_key("strategy._target_", f"{traced}.Strategy")
    tree["search"]["plugins"] = [traced]
    with pytest.raises(ConfigError, match="must be a concrete subclass of Strategy"):
        build_run(tree)
    assert Path("trace").exists()


def test_a_plugin_package_may_provide_a_class(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = here / "plugin_of_mine"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "slow.py").write_text(
        "from dataclasses import dataclass\n"
        "from lightning_modules.strategy.full import Full\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Slow(Full):\n"
        "    pause: int\n"
    )
    monkeypatch.syspath_prepend(here)
    tree = tree_of("strategy=full", "search.plugins=[plugin_of_mine]")
    tree["strategy"] |= {"_target_": "plugin_of_mine.slow.Slow", "pause": 3}
    assert build_run(tree).flat()["strategy.pause"] == 3


def test_resolved_has_no_interpolations() -> None:
    tree = tree_of()
    assert "${" in to_yaml(tree)
    assert "${" not in to_yaml(resolved(tree))
    assert resolved(tree, {"strategy.lr": 5e-4})["optimizer"]["lr"] == 5e-4


TEMPLATES = [
    "Costs ${text}",
    r"\${text}",
    r"a\n\\${text} ${{x}}",
    "{text} $ {{",
    "${oc.env:HOME} {text}",
]


@pytest.mark.parametrize("template", TEMPLATES)
def test_text_that_looks_like_an_interpolation_stays_as_it_is(template: str) -> None:
    words = ("task=generation", "model.kind=decoder")
    word = f"task.template={literal(escaped(template))}"
    tree = tree_of(*words, word)
    assert build_run(tree).flat()["task.template"] == template
    stored = OmegaConf.to_container(OmegaConf.create(to_yaml(run_tree(tree))))
    assert isinstance(stored, dict)
    again = {str(key): value for key, value in stored.items()}
    assert build_run({**again, "search": {"plugins": []}}).flat()["task.template"] == template
    tree = tree_of(*words)
    values = {"task.template": escaped(template)}
    assert build_run(tree, values).flat()["task.template"] == template


def test_a_key_that_is_not_there_is_refused_with_how_to_write_the_characters() -> None:
    with pytest.raises(ConfigError, match="must refer to an existing key") as raised:
        build_run(tree_of("task=generation", "model.kind=decoder", "task.template='a ${text}'"))
    (problem,) = raised.value.problems
    assert problem.fix == r"To write the characters ${ themselves, put a backslash before: \${."


def test_resolved_refuses_a_dangling_interpolation() -> None:
    with pytest.raises(ConfigError, match="must refer to an existing key"):
        resolved(with_key("optimizer.lr", "${nothing}"))


def test_empty_groups_have_no_leaves() -> None:
    assert leaves({"a": {}, "b": {"c": {"d": None}}}) == {"b.c.d": None}
