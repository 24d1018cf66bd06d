"""From the words of a command to a checked plan or run, with `--cfg job` on the way."""

from __future__ import annotations

import argparse

from search.config import Composition, compose, resolved, to_yaml


def composed(name: str, words: argparse.Namespace) -> Composition | None:
    """Return the configuration; None where `--cfg job` asked to print it, which is then done."""
    composition = compose(name, words.overrides, words.config_dir)
    if words.cfg:
        print(to_yaml(resolved(composition.tree)), end="")
        return None
    return composition
