"""Make the pictures of the documentation: `python docs/make_pictures.py studies/first`.

It writes table.png (the table as a terminal shows it now), report.png (the upper part of its
report), dashboard.png (the page of the study) and dashboard-trial.png (the page of its best trial),
next to this file or to a second folder. Names after the folders make only those. It needs Debian's
chromium; the tests of the dashboard use the same code.
"""

from __future__ import annotations

import io
import re
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

CHROMIUM = shutil.which("chromium")
WIDTH = 1280
COLUMNS = 88  # of the terminal

_ARGUMENTS = [
    "--no-sandbox",  # containers run it as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def main(study: Path, to: Path, names: Sequence[str]) -> None:
    """Write the named pictures of the study in folder `study` to folder `to`; all without names."""
    makers = {
        "table": table,
        "report": report,
        "dashboard": dashboard,
        "dashboard-trial": dashboard_trial,
    }
    for name in names or makers:
        with browsing() as page:
            _write(to / f"{name}.png", makers[name](page, study))


def table(page: Page, study: Path) -> bytes:
    """Return the live table as it is now."""
    from rich.console import Console

    from search.report.results import snapshot
    from search.study.open import load_study
    from search.terminal.table import study_table

    terminal = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    terminal.print(study_table(snapshot(load_study(study)), width=COLUMNS, height=40))
    drawn = terminal.export_svg(title=f"finesweep sweep study={study.name}")
    # Rich names a font that a browser would fetch; a local one will do.
    drawn = re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL)
    page.set_content(f"<body style='margin: 0; background: white'>{drawn}</body>")
    picture: bytes = page.locator("svg").screenshot()
    return picture


def report(page: Page, study: Path) -> bytes:
    """Return the upper part of the study's report, as its last sweep wrote it."""
    page.set_viewport_size({"width": WIDTH, "height": 1100})
    page.goto((study / "report.html").resolve().as_uri())
    page.locator("figure .plot .main-svg").first.wait_for()
    _settle(page)
    return page.screenshot()


def dashboard(page: Page, study: Path) -> bytes:
    """Return the dashboard's page of the study."""
    page.set_viewport_size({"width": WIDTH, "height": 1230})
    with serving(study) as address:
        open_study(page, address)
        return page.screenshot()


def dashboard_trial(page: Page, study: Path) -> bytes:
    """Return the dashboard's page of the study's best trial."""
    from search.study.open import load_study

    best = load_study(study).best
    if best is None:
        sys.exit(f"{study}: no trial has finished")
    page.set_viewport_size({"width": WIDTH, "height": 1020})
    with serving(study) as address:
        open_trial(page, address, best.number)
        return page.screenshot()


@contextmanager
def serving(study: Path) -> Iterator[str]:
    """Serve the dashboard of the study in a folder; yield the address of its page."""
    from search.report.dashboard.server import open_dashboard

    with open_dashboard(study, study.name, port=0) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield server.page
        finally:
            server.shutdown()


@contextmanager
def browsing() -> Iterator[Page]:
    """Yield a page of a browser without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        try:
            yield browser.new_page(viewport={"width": WIDTH, "height": 1500})
        finally:
            browser.close()


def open_study(page: Page, address: str) -> None:
    """Go to the study's page; return when its plots are drawn."""
    page.goto(address)
    page.locator(".js-plotly-plot .main-svg").nth(2).wait_for()
    _settle(page)


def open_trial(page: Page, address: str, number: int) -> None:
    """Go to a trial's page; return when its note and pictures are there."""
    page.goto(f"{address}/trials?numbers={number}")
    page.get_by_role("heading", name=f"Trial {number} (").wait_for()
    page.get_by_role("heading", name="Artifacts").wait_for()
    _settle(page)


def _settle(page: Page) -> None:
    page.wait_for_function("[...document.images].every(image => image.complete)")
    page.wait_for_timeout(1000)  # plots and cards slide in


def _write(path: Path, picture: bytes) -> None:
    """Write a screenshot, compressed without loss."""
    from PIL import Image

    Image.open(io.BytesIO(picture)).convert("RGB").save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent
    main(Path(sys.argv[1]), folder, sys.argv[3:])
