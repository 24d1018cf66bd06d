"""Where a study starts: values known to be good, by strategy and by kind and size of the model.

`auto` in a strategy's values stands for a value of `conf/prior.yaml`, from the first of the
strategy's rows that fits the model. It is replaced while the configuration is composed, so runs
and stored studies hold numbers. What the user sets is left as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lightning_modules.error import ConfigError, Problem, UserError, Verbatim
from lightning_modules.model.base import Model
from lightning_modules.model.kind import Kind
from lightning_modules.model.size import Size
from search.config.build import build_model

AUTO = "auto"


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        name: Its name, e.g. `small encoder`.
        fits: Which models: `kind`, `up_to` a number of parameters, with `experts`; and for which
            `task` alone.
        values: Values of the strategy by key, e.g. `lr`.
        also: Further configurations known to be good, by config path.

    """

    name: str
    fits: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    also: Sequence[Mapping[str, Any]] = ()

    def suits(self, kind: Kind | None, size: Size | None, task: str = "") -> bool:
        """Return whether the row fits a model and a task.

        A model of unknown kind or size fits no row that names a kind.
        """
        if self.fits.get("task", task) != task:
            return False
        if "kind" not in self.fits:
            return True
        if kind is None or size is None or self.fits["kind"] != kind.value:
            return False
        if self.fits.get("experts", False) and not size.experts:
            return False
        return size.parameters <= float(self.fits.get("up_to", "inf"))


@dataclass(frozen=True)
class Table:
    """The whole table.

    Attributes:
        rows: The rows of each strategy.
        models: Kind and size of models by name.
        steps: Optimizer steps that a run needs at least, by strategy; `others` has the rest.
        epochs: Epochs of a run with many rows, by task; `others` has the rest.

    """

    rows: Mapping[str, Sequence[Row]]
    models: Mapping[str, tuple[Kind, Size]]
    steps: Mapping[str, int]
    epochs: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Prior:
    """What a configuration took from the table.

    Attributes:
        name: Strategy and row, e.g. `lora, small encoder`.
        values: The values that it took, by key of the strategy.
        also: Further configurations known to be good, by config path.
        note: Why no better row was found; may be empty.

    """

    name: str
    values: Mapping[str, float]
    also: Sequence[Mapping[str, Any]] = ()
    note: str = ""

    @property
    def text(self) -> str:
        """The values in one line; empty if none was taken.

        >>> Prior("full, decoder", {"lr": 2e-5, "lr_min": 5e-6, "lr_max": 1e-4}).text
        'full, decoder: lr 2e-05 (5e-06 to 0.0001)'
        """
        words = [f"{key} {value:g}" for key, value in self.values.items() if key[:3] != "lr_"]
        if "lr_min" in self.values and "lr_max" in self.values:
            ends = f"{self.values['lr_min']:g} to {self.values['lr_max']:g}"
            words = (
                [f"{words[0]} ({ends})", *words[1:]]
                if "lr" in self.values
                else [f"lr {ends}", *words]
            )
        return f"{self.name}: {', '.join(words)}" if words else ""

    def without(self, keys: Collection[str]) -> Prior:
        """Return the same without the values of some keys, which had no effect."""
        return replace(self, values={k: v for k, v in self.values.items() if k not in keys})


def take_prior(config: DictConfig, table: Table) -> Prior | None:
    """Replace `auto` among the strategy's values, in place; return what was taken, if anything.

    An `auto` that no row of the strategy has a value for stays; it may mean something else.

    Raises:
        ConfigError: No row fits the model, or the first one that does lacks a value.

    """
    node = OmegaConf.to_container(config, resolve=False)
    assert isinstance(node, dict)
    values = node.get("strategy") or {}
    open_keys = [str(key) for key, value in values.items() if value == AUTO]
    strategy, task = member_in(config, "strategy"), member_in(config, "task")
    rows = table.rows.get(strategy, ())
    if not open_keys or not rows:
        return None
    # Not looked up if it does not matter.
    model = _model(config) if any("kind" in row.fits for row in rows) else None
    kind, size = (None, None) if model is None else _kind_and_size(model, table)
    fitting = [row for row in rows if row.suits(kind, size, task)]
    row = next(iter(fitting), None)
    if row is None:
        of = "a model of unknown kind" if kind is None else f"this {kind.value}"
        rule = f"must have a row of {strategy} for {of}, because its settings are auto"
        fix = "Add a row with fits: {}, or set the settings."
        raise ConfigError(Problem("prior.yaml", rule, Verbatim("none"), fix))
    if problem := _lacking(strategy, row, open_keys, fitting):
        raise ConfigError(problem)
    taken = {key: row.values[key] for key in open_keys if key in row.values}
    for key, value in taken.items():
        OmegaConf.update(config, f"strategy.{key}", value)
    note = ""
    if "task" not in row.fits and model is not None and (kind is None or size is None):
        note = f"kind and size of {model.name} are unknown before it is loaded"
    return Prior(f"{strategy}, {row.name}", taken, row.also, note)


def member_in(config: DictConfig, group: str) -> str:
    """Return the module of the class that a group's `_target_` names, e.g. `lora`."""
    return str(OmegaConf.select(config, f"{group}._target_")).split(".")[-2:][0]


def _lacking(
    strategy: str, row: Row, open_keys: Sequence[str], others: Sequence[Row]
) -> Problem | None:
    """Return a problem if a row lacks values that other rows of the strategy have."""
    known = {key: value for other in reversed(others) for key, value in other.values.items()}
    missing = [key for key in open_keys if key in known and key not in row.values]
    if not missing:
        return None
    name = next(r.name for r in others if missing[0] in r.values)
    rule = f"must have {', '.join(open_keys)}, which {strategy} takes from it"
    got = Verbatim(", ".join(row.values) or "none")
    example = ", ".join(f"{key}: {known[key]:g}" for key in missing)
    keys = ", ".join(f"strategy.{key}" for key in missing)
    fix = f"Add {example} (as row {name!r} has), or set {keys}."
    return Problem(f"prior.yaml.{strategy}.{row.name}.values", rule, got, fix)


def _model(config: DictConfig) -> Model | None:
    try:
        return build_model(config)
    except UserError:
        return None  # reported when the run is built


def _kind_and_size(model: Model, table: Table) -> tuple[Kind | None, Size | None]:
    known = table.models.get(model.name)
    if known is not None:
        return known
    model.look_up()
    return model.known_kind(), model.known_size()
