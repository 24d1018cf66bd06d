"""Compose a command's configuration, and print it for `--cfg job`."""

from __future__ import annotations

import argparse

from search.config import Composition, as_written, compose, resolved, to_yaml
from search.study.resume import compose_study


def composed(name: str, words: argparse.Namespace) -> Composition | None:
    """Return the configuration; with `--cfg job`, print it and return None."""
    if name == "sweep":
        composition = compose_study(words.overrides, words.config_dir)
    else:
        composition = compose(name, words.overrides, words.config_dir)
    if words.cfg:
        tree = as_written(resolved(composition.tree), composition.arms[0].open)
        print(to_yaml(tree), end="")
        return None
    return composition
