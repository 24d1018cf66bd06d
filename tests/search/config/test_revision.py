"""A continued run has the commit that it began with, unless the command names another."""

from __future__ import annotations

import pytest

from lightning_modules.error import ConfigError
from search.config import compose, continued, run_tree
from search.config.build import Tree

OLD, NEW = "a" * 40, "b" * 40
WORDS = ("run=r", "model=hub", "model.path=owner/name", "strategy=feature_extraction")


def tree_of(*words: str) -> Tree:
    return run_tree(compose("train", [*WORDS, *words]).tree)


def test_the_stored_commit_stays_without_a_word() -> None:
    tree, kept = continued(tree_of(), WORDS, tree_of(f"model.revision={OLD}"))
    assert tree["model"]["revision"] == OLD
    assert kept == []


def test_another_commit_is_refused() -> None:
    words = (*WORDS, f"model.revision={NEW}")
    with pytest.raises(ConfigError) as caught:
        continued(tree_of(words[-1]), words, tree_of(f"model.revision={OLD}"))
    assert str(caught.value) == (
        f"model.revision: must be as the run began to continue it, got '{NEW}'. "
        f"Set model.revision={OLD}, or choose another run=NAME."
    )


def test_a_run_of_an_earlier_version_goes_on_without_one() -> None:
    before = tree_of()
    before["model"] = {key: v for key, v in before["model"].items() if key != "revision"}
    tree, kept = continued(tree_of(), WORDS, before)
    assert tree["model"]["revision"] is None
    assert kept == []
