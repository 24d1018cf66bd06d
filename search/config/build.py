"""Build typed, checked objects from a tree of plain values; report every broken rule at once.

A group's `_target_` names its schema. It must be a subclass of the group's base class in an
allowed package, so that a config file cannot run arbitrary code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from enum import Enum
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightning_modules.data.base import Data
from lightning_modules.error import ConfigError, Problem, UserError, Verbatim, did_you_mean
from lightning_modules.logger.base import Logger
from lightning_modules.model.base import Model
from lightning_modules.model.files.trust import KEY, TYPED, is_code_trusted
from lightning_modules.optimizer.base import Optimizer
from lightning_modules.run import Run
from lightning_modules.schedule.base import Schedule
from lightning_modules.schema import Schema, import_member
from lightning_modules.strategy.base import Strategy
from lightning_modules.task.base import Task
from lightning_modules.task.own_metric import check_own, is_own
from lightning_modules.task.sequence import SequenceTask
from lightning_modules.trainer import Trainer
from search.config.plugin import packages_of
from search.config.settings import Search, SearchSettings
from search.pruner.base import Pruner
from search.sampler.base import Sampler

Tree = dict[str, Any]


GROUPS: Mapping[str, type[Schema]] = {
    "model": Model,
    "data": Data,
    "task": Task,
    "strategy": Strategy,
    "optimizer": Optimizer,
    "schedule": Schedule,
    "trainer": Trainer,
    "logger": Logger,
}


def build_run(
    tree: Tree,
    values: Mapping[str, Any] | None = None,
    known: Mapping[str, Schema] | None = None,
) -> Run:
    """Return the typed run of `tree`, after setting `values` by config path.

    Args:
        tree: The tree.
        values: Values by config path.
        known: The objects of groups that are built already, which the tree may lack.

    Raises:
        ConfigError: Lists every unknown key, wrong type and broken rule.

    """
    config = _with_values(tree, values or {})
    plugins = packages_of(tree)  # not of a trial's values, which nobody has checked
    built: dict[str, Any] = dict(known or {})
    problems: list[Problem] = []
    for key, base in GROUPS.items():
        if key in built:
            continue
        try:
            built[key] = _build(config.get(key), base, key, plugins)
        except UserError as error:
            problems.extend(error.problems)
    seed = config.get("seed")
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        problems.append(Problem("seed", "must be a whole number >= 0", seed))
    task = built.get("task")
    if isinstance(task, SequenceTask) and not is_own(task.metric) and task.metric_direction:
        rule = "must be null unless task.metric is a function of your own"
        fix = "Leave it out."
        problems.append(Problem("task.metric_direction", rule, task.metric_direction, fix))
    if isinstance(task, Task) and is_own(task.metric):
        try:
            check_own(task.metric, plugins)
        except UserError as error:
            problems.extend(error.problems)
    if problems:
        raise ConfigError(problems)
    return Run(seed=seed, **built)


def build_search(tree: Tree) -> Search:
    """Return the typed search settings of a sweep's tree; raises like `build_run`."""
    config = OmegaConf.create(tree)
    plugins = packages_of(config)
    problems: list[Problem] = []
    built: dict[str, Any] = {}
    node = {key: value for key, value in tree["search"].items() if key not in _SEARCH_GROUPS}
    makers: Mapping[str, Callable[[], Schema]] = {
        "settings": lambda: _typed(
            SearchSettings, DictConfig(node, parent=config.search), "search"
        ),
        "sampler": lambda: _build(config.search.sampler, Sampler, "search.sampler", plugins),
        "pruner": lambda: _build(config.search.pruner, Pruner, "search.pruner", plugins),
    }
    for name, make in makers.items():
        try:
            built[name] = make()
        except UserError as error:
            problems.extend(error.problems)
    if problems:
        raise ConfigError(problems)
    return Search(**built)


_SEARCH_GROUPS = ("space", "sampler", "pruner")


def resolved(tree: Tree, values: Mapping[str, Any] | None = None) -> Tree:
    """Return the tree with `values` set and every interpolation resolved.

    It is a tree like any other: text that looks like an interpolation is escaped.
    """
    config = _with_values(tree, values or {})
    try:
        container = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(_interpolation_problem("config", error)) from None
    assert isinstance(container, dict)
    return {str(key): escaped(value) for key, value in container.items()}


def build_model(config: DictConfig) -> Model:
    """Return a configuration's typed model; raises like `build_run`."""
    model = _build(config.get("model"), Model, "model", packages_of(config))
    assert isinstance(model, Model)
    return model


def model_of(tree: Tree) -> Model:
    """Return the typed model of `tree`; raises like `build_run`."""
    return build_model(OmegaConf.create(tree))


def build_data(tree: Tree, option: Mapping[str, Any]) -> Data:
    """Return a typed data set besides the configuration's own; raises like `build_run`."""
    config = OmegaConf.create({**tree, "data": dict(option)})
    data = _build(config.get("data"), Data, "data", packages_of(config))
    assert isinstance(data, Data)
    return data


def strategy_class(tree: Tree | DictConfig) -> type[Strategy]:
    """Return the class of a configuration's strategy; raise ConfigError if it has none."""
    config = tree if isinstance(tree, DictConfig) else OmegaConf.create(tree)
    target = OmegaConf.select(config, "strategy._target_")
    strategy = import_member(str(target), Strategy, "strategy._target_", packages_of(config))
    assert issubclass(strategy, Strategy)
    return strategy


def run_tree(tree: Tree, values: Mapping[str, Any] | None = None) -> Tree:
    """Return the resolved configuration of one run: the tree without its search keys."""
    whole = resolved(tree, values)
    return {key: value for key, value in whole.items() if key not in ("search", "study")}


def leaves(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the tree's values by config path.

    >>> leaves({"a": {"b": 1}, "c": [2]})
    {'a.b': 1, 'c': [2]}
    """
    values: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            values |= leaves(value, f"{prefix}{key}.")
        else:
            values[f"{prefix}{key}"] = value
    return values


def escaped(value: Any) -> Any:
    r"""Return a plain value as a tree has it: with `${` escaped, which would refer to a key.

    >>> print(escaped("Costs ${text}"), escaped([r"\${a}", 1]))
    Costs \${text} ['\\\\\\${a}', 1]
    """
    if isinstance(value, str):
        return _REFERENCE.sub(r"\1\1\\${", value)
    if isinstance(value, Mapping):
        return {key: escaped(each) for key, each in value.items()}
    return [escaped(each) for each in value] if isinstance(value, list | tuple) else value


_REFERENCE = re.compile(r"(\\*)\$\{")


def _plain(value: Any) -> Any:
    is_node = isinstance(value, DictConfig | ListConfig)
    return OmegaConf.to_container(value, resolve=True) if is_node else value


def to_yaml(tree: Tree) -> str:
    """Return the tree as YAML."""
    return OmegaConf.to_yaml(OmegaConf.create(tree))


def _with_values(tree: Tree, values: Mapping[str, Any]) -> DictConfig:
    config = OmegaConf.create(tree)
    for path, value in values.items():
        OmegaConf.update(config, path, value)
    return config


def _build(node: Any, base: type[Schema], key: str, plugins: Sequence[str]) -> Schema:
    """Return the option that `node._target_` names; it must be a subclass of `base`."""
    if not isinstance(node, DictConfig) or "_target_" not in node:
        rule = "must be a group with a _target_"
        raise ConfigError(Problem(key, rule, node, f"Choose one: {key}=NAME."))
    member = import_member(str(node["_target_"]), base, f"{key}._target_", plugins)
    built = _typed(member, node, key)
    if isinstance(built, Model) and built.runs_code and not is_code_trusted():
        rule = "must be typed on the command line to count; no file, study or run can set it"
        fix = f"If you have read its code and trust it, add {TYPED}."
        raise ConfigError(Problem(KEY, rule, True, fix))
    return built


def _typed(schema: type[Schema], node: DictConfig, key: str) -> Schema:
    known_keys = {field.name for field in fields(schema)}
    key_of_cache: Any = schema  # mypy treats a dataclass type as unhashable
    typed = _structured(key_of_cache).copy()
    OmegaConf.set_readonly(typed, False)  # OmegaConf makes frozen dataclasses read-only
    problems = []
    for name in (str(name) for name in node if name != "_target_"):
        if name not in known_keys:
            fix = did_you_mean(name, known_keys)
            problems.append(Problem(f"{key}.{name}", "must be a known key", Verbatim(name), fix))
            continue
        try:
            OmegaConf.update(typed, name, escaped(_plain(node[name])))
        except OmegaConfBaseException:
            problems.append(_value_problem(schema, name, node).under(key))
    for name in sorted(known_keys - {str(name) for name in node}):
        problems.append(Problem(f"{key}.{name}", "must be set", Verbatim("nothing")))
    if problems:
        raise ConfigError(problems)
    try:
        typed_object = OmegaConf.to_object(typed)
    except UserError as error:
        raise ConfigError(problem.under(key) for problem in error.problems) from None
    assert isinstance(typed_object, schema)
    return typed_object


@cache
def _structured(schema: Any) -> DictConfig:
    config = OmegaConf.structured(schema)
    assert isinstance(config, DictConfig)
    return config


def _value_problem(schema: type[Schema], name: str, node: DictConfig) -> Problem:
    plain = OmegaConf.to_container(node, resolve=False)
    assert isinstance(plain, dict)
    value = plain[name]
    if isinstance(value, str) and "${" in value:
        try:
            value = node[name]
        except OmegaConfBaseException as reason:
            return _interpolation_problem(name, reason)
    return Problem(name, f"must be {_type_words(get_type_hints(schema)[name])}", value)


def _interpolation_problem(where: str, error: Exception) -> Problem:
    reason = str(error).splitlines()[0]
    fix = r"To write the characters ${ themselves, put a backslash before: \${."
    return Problem(where, "must refer to an existing key", Verbatim(reason), fix)


def _type_words(hint: Any) -> str:
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_type_words(part) for part in get_args(hint))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return f"one of {', '.join(member.name for member in hint)}"
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    if hint is type(None):
        return "null"
    return words.get(hint) or f"a {getattr(get_origin(hint) or hint, '__name__', hint)}"
