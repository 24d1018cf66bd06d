"""Read and check the tables of priors: `conf/prior.yaml`, and a user's own before it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.model.kind import Kind
from lightning_modules.model.size import Size
from search.config.prior import Row, Table
from search.config.prior_check import Settings, table_problems

PRIOR_FILE = "prior.yaml"


def load_table(folders: Sequence[Path]) -> Table:
    """Return the table of the folders' `prior.yaml`; rows of earlier folders are asked first.

    Raises:
        ConfigError: Lists every unknown strategy, key and kind, and every value that is not a
            number.

    """
    return _load_table(tuple(folders))


@cache
def _load_table(folders: tuple[Path, ...]) -> Table:
    rows: dict[str, list[Row]] = {}
    same: dict[str, str] = {}
    models: dict[str, tuple[Kind, Size]] = {}
    steps: dict[str, int] = {}
    epochs: dict[str, int] = {}
    settings, tasks = _settings(folders), _tasks(folders)
    for path in (folder / PRIOR_FILE for folder in folders):
        if path.is_file():
            _add_file(path, settings, tasks, rows, same, models, {"steps": steps, "epochs": epochs})
    rows |= {name: [*rows.get(name, ()), *rows.get(other, ())] for name, other in same.items()}
    return Table(rows, models, steps, epochs)


def _add_file(
    path: Path,
    settings: Settings,
    tasks: Collection[str],
    rows: dict[str, list[Row]],
    same: dict[str, str],
    models: dict[str, tuple[Kind, Size]],
    lengths: Mapping[str, dict[str, int]],
) -> None:
    tree = _read(path)
    problems = [problem.under(str(path)) for problem in table_problems(tree, settings, tasks)]
    if problems:
        raise ConfigError(problems)
    assert isinstance(tree, dict)
    for key, value in tree.items():
        if key == "same":
            same |= value
        elif key in lengths:
            for name, number in value.items():
                lengths[key].setdefault(name, number)
        elif key == "models":
            for name, known in value.items():
                size = Size(float(known["parameters"]), bool(known.get("experts", False)))
                models.setdefault(name, (Kind(known["kind"]), size))
        else:
            rows.setdefault(str(key), []).extend(Row(name, **row) for name, row in value.items())


def _settings(folders: Sequence[Path]) -> Settings:
    """Return the settings of each strategy in the folders; None if another file has some of them.

    Like the rows of the table, they are sorted by the module of the strategy's class.
    """
    settings: dict[str, frozenset[str] | None] = {}
    for tree in _trees(folders, "strategy"):
        if isinstance(tree, dict) and "_target_" in tree:
            name, keys = str(tree["_target_"]).split(".")[-2:][0], map(str, tree)
            own = None if "defaults" in tree else frozenset(keys) - {"_target_"}
            before = settings.get(name, frozenset())
            settings[name] = None if own is None or before is None else own | before
    return settings


def _tasks(folders: Sequence[Path]) -> frozenset[str]:
    """Return the modules of the tasks in the folders."""
    targets = (
        str(tree["_target_"])
        for tree in _trees(folders, "task")
        if isinstance(tree, dict) and "_target_" in tree
    )
    return frozenset(target.split(".")[-2:][0] for target in targets)


def _trees(folders: Sequence[Path], group: str) -> Iterator[Any]:
    """Yield the content of each option's file."""
    for folder in folders:
        for path in sorted(folder.glob(f"{group}/*.yaml")):
            if path.is_file():  # else e.g. Emacs's lock of a file that is being edited
                yield _read(path)


def _read(path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_loader())
    except (yaml.YAMLError, OSError, ValueError) as error:
        rule, got = "must be YAML", Verbatim(" ".join(str(error).split()))
        raise ConfigError(Problem(str(path), rule, got)) from None


def _loader() -> type[Any]:
    """Return a YAML loader that reads 1e-3 as a number, like OmegaConf's, but ten times faster."""

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        pass

    number = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+0123456789"))
    return Loader
