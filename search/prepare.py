"""From a plan to an open study: every check first, then the files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning_modules.atomic import write_json, write_text
from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.run import Material, inspect
from search.config import Tree, resolved, to_yaml
from search.plan import Plan, build_plan
from search.provenance import provenance
from search.space import leaves
from search.study import CONFIG_FILE, Study, create_or_update, stored

# What may differ when a study goes on; everything else would mix two experiments.
MAY_CHANGE = (
    "search.num_trials",
    "search.max_hours",
    "search.workers",
    "search.enqueue",
    "search.keep",
    "search.metric",  # has become task.metric
    "logger",
    "trainer.device",
    "trainer.num_data_workers",
    "trainer.checkpoint_seconds",
)


def check_study(plan: Plan, folder: Path) -> Material:
    """Check data, model, and that a study in `folder` is the same one.

    Raises:
        UserError: With what cannot be used, or what differs.

    """
    material = inspect(plan.default)
    before = stored(folder)
    if before is not None:
        tree, fingerprint = before
        problems = list(_differences(build_plan(tree), plan))
        if fingerprint != material.corpus.fingerprint:
            rule = f"study {plan.name} began with other rows"
            problems.append(Problem("data", rule, Verbatim("changed files"), _OTHER_NAME))
        if problems:
            raise ConfigError(problems)
    return material


def prepare_study(plan: Plan, folder: Path, material: Material) -> Study:
    """Write the study's configuration and provenance; return it with its queue in order."""
    is_new = stored(folder) is None
    study = create_or_update(plan, folder, material.corpus.fingerprint)
    write_text(folder / CONFIG_FILE, to_yaml(resolved(plan.tree)))
    if is_new:
        values = provenance(plan.default.seed, material.corpus.fingerprint)
        write_json(folder / "provenance.json", values)
    study.requeue_dead()
    study.queue_first()
    return study


_OTHER_NAME = "Choose another study=NAME, or set it back."


def _differences(old: Plan, new: Plan) -> Iterator[Problem]:
    before, now = _settings(old.tree), _settings(new.tree)
    for path in sorted(before.keys() | now.keys()):
        if before.get(path) != now.get(path):
            rule = f"study {new.name} has {before.get(path, 'no such key')!r}"
            yield Problem(path, rule, now.get(path, Verbatim("no such key")), _OTHER_NAME)
    ranges_before = {path: str(d) for path, d in old.space.distributions.items()}
    ranges_now = {path: str(d) for path, d in new.space.distributions.items()}
    for path in sorted(ranges_before.keys() | ranges_now.keys()):
        if ranges_before.get(path) != ranges_now.get(path):
            rule = f"study {new.name} searches {old.space.texts.get(path, 'it not')}"
            got = Verbatim(new.space.texts.get(path, "no range"))
            yield Problem(path, rule, got, _OTHER_NAME)


def _settings(tree: Tree) -> dict[str, Any]:
    whole = resolved(tree)
    search = {key: value for key, value in whole["search"].items() if key != "space"}
    settings = leaves({**whole, "search": search})
    return {
        path: value
        for path, value in settings.items()
        if not any(path == name or path.startswith(f"{name}.") for name in MAY_CHANGE)
    }
