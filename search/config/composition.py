"""What a command line composes: one arm, or one per combination of the options that vary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from search.config.build import Tree
from search.config.prior import Prior
from search.config.template import Template


@dataclass(frozen=True)
class Arm:
    """One combination of group options, composed.

    Attributes:
        choice: Group to option, for the groups that vary; empty if none does.
        tree: All values, interpolations unresolved; its `search.space` maps this arm's config
            paths to ranges.
        words: The overrides that compose the same configuration as one run, without suggested
            values.
        prior: What it took from the table of priors, if anything.
        steps: Optimizer steps that its runs need at least; 0 if unknown.
        open: What of its lengths the rows still have to decide, see `search.config.length`.
        decided: What of its lengths the rows have decided.
        lengths: If the number of rows is searched, the epochs that suit each number, see
            `search.config.length.epochs_at`; empty if all trials train for `trainer.epochs`.
        epochs: Epochs of its runs with many rows.

    """

    choice: Mapping[str, str]
    tree: Tree
    words: tuple[str, ...] = ()
    prior: Prior | None = None
    steps: int = 0
    open: tuple[str, ...] = ()
    decided: tuple[str, ...] = ()
    lengths: tuple[tuple[int, int], ...] = ()
    epochs: int = 2

    @cached_property
    def template(self) -> Template:
        """The tree, for the runs of its trials."""
        return Template(self.tree)

    @property
    def space(self) -> Mapping[str, str]:
        """Config path to range, as text in Hydra's sweep grammar."""
        space: Mapping[str, str] = self.tree.get("search", {}).get("space", {})
        return space


@dataclass(frozen=True)
class Follows:
    """That a study follows another one (`search.study.follow`).

    Attributes:
        kind: What it does: `confirm` or `certify`.
        study: The name of the other study.

    """

    kind: str
    study: str

    @classmethod
    def stored(cls, values: Mapping[str, Any]) -> Follows | None:
        """Return it from the values of a stored composition; None if it follows no study."""
        if "confirms" in values:  # written by earlier versions
            return cls("confirm", values["confirms"])
        return cls(**values["follows"]) if "follows" in values else None


@dataclass(frozen=True)
class Composition:
    """The configuration that a command line composes.

    Attributes:
        groups: The groups that vary, with their options.
        arms: Every combination of their options, the default one first; one arm if no group varies.
        fixed: Overrides of the command line that removed their paths from the default space.
        options: The option of every group, by group, e.g. `search/sampler`; those of the groups
            that vary do not count.
        words: The overrides that compose it, without the study's name; of a continued study those
            of all its commands.
        earlier: Those of them that earlier commands had and this one does not repeat.
        kept: Settings of a continued study that a new one with the same words would not have, as
            text.
        changed: Ranges and a warm start of a continued study that the command changes, as text.
        follows: The study that this one follows, and why; None for any other study.

    """

    groups: Mapping[str, tuple[str, ...]]
    arms: tuple[Arm, ...]
    fixed: tuple[str, ...] = field(default=(), compare=False)
    options: Mapping[str, str] = field(default_factory=dict, compare=False)
    words: tuple[str, ...] = field(default=(), compare=False)
    earlier: tuple[str, ...] = field(default=(), compare=False)
    kept: tuple[str, ...] = field(default=(), compare=False)
    changed: tuple[str, ...] = field(default=(), compare=False)
    follows: Follows | None = None

    @property
    def tree(self) -> Tree:
        """The default arm's values."""
        return self.arms[0].tree

    @property
    def space(self) -> Mapping[str, str]:
        """The default arm's ranges."""
        return self.arms[0].space

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, for the storage."""
        arms = [asdict(arm) for arm in self.arms]
        values = {"groups": dict(self.groups), "arms": arms, "options": dict(self.options)}
        values |= {"words": list(self.words)}
        return values if self.follows is None else {**values, "follows": asdict(self.follows)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Composition:
        """Return the composition from the values of `as_dict`."""
        groups = {group: tuple(options) for group, options in values["groups"].items()}
        arms = tuple(_stored_arm(arm) for arm in values["arms"])
        options = values.get("options", {})
        words = tuple(values.get("words", ()))  # not stored by earlier versions
        return cls(groups, arms, options=options, words=words, follows=Follows.stored(values))


def _stored_arm(values: Mapping[str, Any]) -> Arm:
    prior = values.get("prior")  # studies of earlier versions have none
    known = None if prior is None else Prior(**prior)
    return Arm(
        values["choice"],
        values["tree"],
        tuple(values["words"]),
        known,
        values.get("steps", 0),
        tuple(values.get("open", ())),
        tuple(values.get("decided", ())),
        tuple((rows, epochs) for rows, epochs in values.get("lengths", ())),
        values.get("epochs", 2),
    )
