"""Make the README's pictures of the dashboard: `python docs/make_pictures.py studies/first`.

Beside this file, or in a second folder that is named, it writes dashboard.png, the page of the
study, and dashboard-trial.png, that of its best trial. It needs Debian's chromium; the tests of
the dashboard drive it by the same code.
"""

from __future__ import annotations

import io
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

CHROMIUM = shutil.which("chromium")
WIDTH = 1280

_ARGUMENTS = [
    "--no-sandbox",  # containers run it as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def main(study: Path, to: Path) -> None:
    """Write the pictures of the study in folder `study` to folder `to`."""
    from search.opening import load_study

    best = load_study(study).best
    if best is None:
        sys.exit(f"{study}: no trial has finished")
    with serving(study) as address, browsing() as page:
        page.set_viewport_size({"width": WIDTH, "height": 1230})
        open_study(page, address)
        _write(to / "dashboard.png", page.screenshot())
        page.set_viewport_size({"width": WIDTH, "height": 1020})
        open_trial(page, address, best.number)
        _write(to / "dashboard-trial.png", page.screenshot())


@contextmanager
def serving(study: Path) -> Iterator[str]:
    """Serve the dashboard of the study in a folder; yield the address of its page."""
    from search.dashboard import open_dashboard

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
    """Write a screenshot as small as it goes without a loss."""
    from PIL import Image

    Image.open(io.BytesIO(picture)).convert("RGB").save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent)
