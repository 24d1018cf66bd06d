"""Write the report of a study to its folder."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from lightning_modules.machine.file import write_bytes
from search.report.document.document import document_of
from search.report.document.section.winner import BEST_FILE
from search.report.overview import Overview

PAGE_FILE, BRIEF_FILE, CARD_FILE = "report.html", "report.md", "card.png"

log = logging.getLogger(__name__)


def write_files(folder: Path, overview: Overview, seconds: int | None = None) -> list[Path]:
    """Write `report.html`, `report.md`, `card.png` and `best.yaml`; return their paths.

    Without a winner's configuration, there is no `best.yaml`.

    Args:
        folder: The study's folder.
        overview: The study.
        seconds: After which a browser loads the page again; None does not.

    """
    document = document_of(overview)
    files = {
        PAGE_FILE: document.html(seconds).encode(),
        BRIEF_FILE: document.markdown().encode(),
        CARD_FILE: document.card(),
    }
    if overview.config:
        files[BEST_FILE] = overview.config.encode()
    else:
        (folder / BEST_FILE).unlink(missing_ok=True)  # of a winner that was dropped since
    for name, content in files.items():
        write_bytes(folder / name, content)
    return [folder / name for name in files]


def written(write: Callable[[], list[Path]]) -> tuple[list[Path], str | None]:
    """Write a report; return its files, or why there are none, in one line. Never raise.

    A study must not be lost because of its report.
    """
    try:
        return write(), None
    except Exception as error:
        if not isinstance(error, OSError):  # a full disk needs no traceback
            log.exception("the report could not be written")
        reason = " ".join(str(error).split()) or type(error).__name__
        return [], f"the report could not be written: {reason}"
