"""The arguments that benchmarks have in common."""

from __future__ import annotations

import argparse
from pathlib import Path

from shared_parts.data import DATA


def parser_of(doc: str | None, quick: str) -> argparse.ArgumentParser:
    """Return a benchmark's parser; its help is the file's docstring.

    Args:
        doc: The docstring.
        quick: What --quick does less of.

    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help=quick)
    return parser


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add `--data`."""
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the texts")


def add_kept(parser: argparse.ArgumentParser, path: Path) -> None:
    """Add `--kept`, which is None if no file is read or written.

    Args:
        parser: The parser.
        path: The file if none is given.

    """
    help_of = "the file of the results so far, or none"
    parser.add_argument("--kept", type=_path, default=path, help=help_of)


def _path(word: str) -> Path | None:
    return None if word == "none" else Path(word)
