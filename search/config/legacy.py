"""Settings that studies and runs of earlier versions lack, with the behaviour of that time.

If you add a key to a schema whose default changes the behaviour, add the key here, too.
Without an entry, a stored study could not be opened, because every key of a schema must be set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from lightning_modules.error import ConfigError
from lightning_modules.schema import Schema, import_member
from lightning_modules.text.template import as_literal
from search.config.build import GROUPS, Tree
from search.config.plugin import packages_of
from search.config.settings import SearchSettings
from search.config.word import as_text
from search.pruner.base import Pruner
from search.sampler.base import Sampler

LEGACY: Mapping[str, Any] = {
    "data.columns": None,
    "data.delimiter": "ending",
    "data.encoding": "utf-8",
    "data.header": "names",
    "data.quoting": "double",
    "data.on_leak": "keep",
    "data.revision": None,
    "data.spelling": "written",
    "data.system": None,
    "data.validation_seed": None,
    "logger.upload_model": False,
    "model.dtype": "fp32",
    "model.revision": None,
    "optimizer.fused": False,
    "model.trust_remote_code": False,
    "search.certify": False,
    "search.certify_seeds": 3,
    "search.confirm": 0,
    "search.arms": "joint",
    "search.ask_tell": False,
    "search.direction": None,
    "search.guards": [],
    "search.ask_hours": 24,
    "search.pack": 1,
    "search.pruner.compare": ["metric"],
    "search.pruner.at_equal": "examples",
    "search.pruner.min_fraction": 0.0,
    "search.select": None,
    "task.at_recall": 0.9,
    "task.conversations": "turns",
    "task.final_answer": None,
    "task.label_columns": None,
    "task.metric_direction": None,
    "task.pack_answers": False,
    "task.positive": None,
    "task.separator": None,
    "task.symmetric": False,
    "task.system": None,
    "trainer.cache_features": False,
    "trainer.checkpoint_share": None,
    "trainer.compile": False,
    "trainer.gradient_checkpointing": False,
    "trainer.micro_batch_tokens": None,
    "trainer.select": "metric",
    "search.portfolio": False,
    "search.seed": "${seed}",  # one seed was for all
    "search.warm_start": None,
    "search.workers_per_device": None,
}
"""Config path to the value that acts like its absence; it may refer to keys, e.g. `${seed}`."""

_BASES: Mapping[str, type[Schema]] = {
    **GROUPS,
    "search.sampler": Sampler,
    "search.pruner": Pruner,
}


def completed(tree: Tree, legacy: Mapping[str, Any] = LEGACY) -> Tree:
    """Return a stored tree with the keys that it lacks, each with the behaviour of before.

    A key is added only if the schema that the tree names has it.
    """
    whole = with_literal_braces(tree)
    for path, value in legacy.items():
        group, _, key = path.rpartition(".")
        node = _node(whole, group)
        if node is not None and key not in node and _has(whole, group, key):
            _set(whole, group, {**node, key: value})
    return as_text(whole)


def with_literal_braces(tree: Tree) -> dict[str, Any]:
    """Return a tree whose prompts mean what they meant when everything but {text} was text.

    Trees of that time lack the system message, in their task or in their data.
    """
    whole = dict(tree)
    task = _node(tree, "task")
    if task is None or not isinstance(task.get("template"), str):
        return whole
    # Tasks of pairs got it later.
    groups = {each: _node(tree, each) for each in ("data", "task")}
    for group, node in groups.items():
        if node is not None and _has(whole, group, "system"):
            if "system" not in node:
                _set(whole, "task", {**task, "template": as_literal(task["template"])})
            break
    return whole


def _node(tree: Tree, group: str) -> Mapping[str, Any] | None:
    node: Any = tree
    for name in group.split(".") if group else ():
        node = node.get(name) if isinstance(node, Mapping) else None
    return node if isinstance(node, Mapping) else None


def _set(tree: Tree, group: str, node: Tree) -> None:
    """Replace a node without changing the mappings that the tree shares with another."""
    first, _, rest = group.partition(".")
    if not group:
        tree.update(node)
    elif not rest:
        tree[first] = node
    else:
        tree[first] = {**tree[first], rest: node}


def _has(tree: Tree, group: str, key: str) -> bool:
    if group not in _BASES:
        return group != "search" or key in {field.name for field in fields(SearchSettings)}
    node, packages = _node(tree, group), packages_of(tree)
    assert node is not None
    try:
        kind = import_member(str(node.get("_target_")), _BASES[group], group, packages)
    except ConfigError:
        return False  # reported when it is built
    return key in {field.name for field in fields(kind)}
