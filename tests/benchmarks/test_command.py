"""`make bench` and `make bench-search` name files that exist, and the site's page names all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
FILES = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
QUICK = ("SPEED_QUICK", "SEARCH_QUICK")


def named(variable: str) -> list[str]:
    (words,) = re.findall(rf"^{variable} := (.*)$", MAKEFILE, re.M)
    return str(words).split()


@pytest.mark.parametrize("variable", ["SPEED", "SEARCH", *QUICK])
def test_every_named_file_exists(variable: str) -> None:
    assert named(variable) and set(named(variable)) <= FILES


@pytest.mark.parametrize("name", [name for variable in QUICK for name in named(variable)])
def test_what_is_run_quickly_has_the_word(name: str) -> None:
    text = (ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8")
    assert "parser_of(__doc__, " in text


def test_the_page_names_every_file_and_no_other() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(\w+)\.py(?: --\w+)?`", page)) == FILES
