"""Make the pictures of docs/reports.md: `python docs/make_gallery.py`.

It writes a picture of the report of each kind of study, next to this file or to the folder that is
named: `report-KIND.png`, and `report-phone.png`, the same page on a phone, light and dark. Names
after the folder make only those. The studies are those of the tests, whose scores are made up. It
needs Debian's chromium.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from playwright.sync_api import Browser

sys.path.insert(0, str(Path(__file__).parents[1]))

from make_pictures import browsing

from search.report.document.write import write_files
from search.trained.report import overview
from tests.search.report.synthetic import KINDS, study_of

STUDIES: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    **KINDS,
    "thousand": ((["complete", "pruned", "complete"] * 334)[:1000], ()),
}
SHOWN = {"several": "front", "arms": "arms", "thousand": "history"}
"""The section that a picture shows; the others show the top of the page."""
PHONE = "phone"
WIDTH, HEIGHT, PHONE_WIDTH, PHONE_HEIGHT = 1280, 900, 360, 760
NUM_COLOURS = 64


def main(to: Path, names: Sequence[str]) -> None:
    """Write the named pictures to a folder; all without names."""
    with browsing() as page, tempfile.TemporaryDirectory() as root:
        browser = page.context.browser
        assert browser is not None
        for name in names or (*STUDIES, PHONE):
            kind = "twelve" if name == PHONE else name
            report = page_of(Path(root) / name, kind)
            if name == PHONE:
                schemes = ("light", "dark")
                shots = [shot(browser, report, "", PHONE_WIDTH, PHONE_HEIGHT, s) for s in schemes]
            else:
                shots = [shot(browser, report, SHOWN.get(name, ""), WIDTH, HEIGHT)]
            write(to / f"report-{name}.png", shots)


def page_of(root: Path, kind: str) -> Path:
    """Write the report of a kind of study; return its page."""
    states, words = STUDIES[kind]
    num_trials = 8 if kind == "running" else None
    found = overview(study_of(root, kind, states, *words, num_trials=num_trials))
    last = max(trial.started for trial in found.trials if trial.started is not None)
    soon = replace(found, taken=last + timedelta(seconds=30))  # a trial that runs has just begun
    return write_files(found.folder, soon)[0]


def shot(
    browser: Browser, report: Path, section: str, width: int, height: int, scheme: str = "light"
) -> bytes:
    """Return what a browser shows of a page first, or all of a section."""
    size = {"width": width, "height": height}
    page = browser.new_page(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
    try:
        page.goto(report.as_uri())
        part = page.locator(f"section#{section}" if section else "main")
        for figure in part.locator("figure[data-chart]").all():
            figure.scroll_into_view_if_needed()
            figure.locator(".plot .main-svg").first.wait_for()
        page.evaluate("scrollTo(0, 0)")
        page.wait_for_timeout(500)
        return part.screenshot() if section else page.screenshot()
    finally:
        page.close()


def write(path: Path, shots: Sequence[bytes]) -> None:
    """Write screenshots side by side, in few colours."""
    from PIL import Image

    images = [Image.open(io.BytesIO(each)).convert("RGB") for each in shots]
    size = sum(each.width for each in images), images[0].height
    whole = Image.new("RGB", size)
    left = 0
    for each in images:
        whole.paste(each, (left, 0))
        left += each.width
    whole.quantize(NUM_COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    main(folder, sys.argv[2:])
