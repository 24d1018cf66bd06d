"""The README's commands do what it says, run as printed, and its links lead somewhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.page import (
    blocks,
    check_predictions,
    check_study,
    quickened,
    run_in_bash,
    run_in_this_process,
    write_reviews,
)

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.thorough
@pytest.mark.parametrize(
    "run", [run_in_this_process, pytest.param(run_in_bash, marks=pytest.mark.slow)]
)
def test_the_shell_block_runs(here: Path, run: Callable[[str], None]) -> None:
    write_reviews(here)
    (script,) = blocks(README, "bash")
    run(quickened(script))
    check_study(here / "studies" / "mine")
    assert (here / "best" / "README.md").is_file()
    check_predictions(here / "out.jsonl")


def test_make_targets_of_the_readme_exist() -> None:
    named = set(re.findall(r"\$ make (\S+)", README))
    assert named == {"sweep", "test"}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in named:
        assert re.search(rf"^{word}:", makefile, re.M), word


def test_the_readme_fits_on_one_page() -> None:
    assert len(README.splitlines()) <= 120


def test_links_lead_to_files() -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_links_to_headings_lead_to_headings() -> None:
    for target, heading in re.findall(r"\]\(([^)#]+)#([^)]*)\)", README):
        text = (ROOT / target).read_text(encoding="utf-8")
        headings = {
            re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-")
            for line in re.findall(r"^#+ (.*)$", text, re.M)
        }
        assert heading in headings, f"{target}#{heading}"
