"""Write the report of a study to its folder."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from lightning_modules.machine.file import write_text
from search.report.document.document import document_of
from search.report.document.section.winner import BEST_FILE
from search.report.overview import Overview

PAGE_FILE, BRIEF_FILE = "report.html", "report.md"

log = logging.getLogger(__name__)


def write_files(folder: Path, overview: Overview) -> list[Path]:
    """Write `report.html`, `report.md` and `best.yaml` to a folder; return their paths.

    Without a winner's configuration, there is no `best.yaml`.
    """
    document = document_of(overview)
    files = {PAGE_FILE: document.html(), BRIEF_FILE: document.markdown()}
    if overview.config:
        files[BEST_FILE] = overview.config
    for name, text in files.items():
        write_text(folder / name, text)
    return [folder / name for name in files]


def written(write: Callable[[], list[Path]]) -> tuple[list[Path], str | None]:
    """Write a report; return its files, or why there are none, in one line. Never raise.

    A study must not be lost because of its report.
    """
    try:
        return write(), None
    except Exception as error:
        log.exception("the report could not be written")
        reason = " ".join(str(error).split()) or type(error).__name__
        return [], f"the report could not be written: {reason}"
