"""The report in a real browser: on a phone, in print, dark, without JavaScript, by keyboard."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from search.trained.report import write_report
from tests.search.report.synthetic import KINDS, study_of

playwright = pytest.importorskip("playwright.sync_api")
ROOT = Path(__file__).parents[4]
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
"""What `npm install axe-core` writes."""


def load_script() -> Any:
    path = ROOT / "docs" / "make_pictures.py"
    spec = importlib.util.spec_from_file_location("make_pictures", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pictures = load_script()
pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(pictures.CHROMIUM is None, reason="chromium is not installed"),
]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Return the page of each kind of study."""
    root = tmp_path_factory.mktemp("pages")
    return {
        name: write_report(study_of(root, name, states, *words, num_trials=len(states) + 2))[0]
        for name, (states, words) in KINDS.items()
    }


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with pictures.browsing() as page:
        yield page.context.browser


@contextmanager
def opened(browser: Any, path: Path, width: int = 1280, **settings: Any) -> Iterator[Any]:
    """Yield the page; fail if it asks for anything, or if its scripts complain."""
    context = browser.new_context(viewport={"width": width, "height": 900}, **settings)
    page, complaints = context.new_page(), list[str]()
    page.on("request", lambda each: complaints.append(each.url))
    page.on("console", lambda each: complaints.append(each.text))
    page.on("pageerror", lambda each: complaints.append(str(each)))
    try:
        page.goto(path.as_uri())
        yield page
        asked = [each for each in complaints if not each.startswith(("data:", path.as_uri()))]
        assert asked == []
    finally:
        context.close()


def draw_all(page: Any) -> None:
    """Scroll through the page, so that every chart is drawn."""
    for figure in page.locator("figure[data-chart]").all():
        figure.scroll_into_view_if_needed()
        figure.locator(".plot .main-svg").first.wait_for()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [360, 1280])
def test_every_chart_is_drawn_and_nothing_is_wider_than_the_window(
    pages: Mapping[str, Path], browser: Any, kind: str, width: int
) -> None:
    with opened(browser, pages[kind], width) as page:
        draw_all(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        num_charts = page.locator("figure[data-chart]").count()
        assert page.locator(".drawn").count() == num_charts
        assert (num_charts > 3) is (kind != "failed")


def test_without_javascript_and_in_print_the_charts_are_pictures(
    pages: Mapping[str, Path], browser: Any
) -> None:
    with opened(browser, pages["twelve"], 360, java_script_enabled=False) as page:
        assert page.locator("figure .static > svg").first.is_visible()
        assert page.locator(".legend button").count() == 0
    with opened(browser, pages["twelve"], color_scheme="dark") as page:
        draw_all(page)
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert dark == "rgb(20, 23, 27)"
        page.emulate_media(media="print")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
        assert page.locator("figure .static > svg").first.is_visible()
        assert not page.locator("figure .plot").first.is_visible()


def test_the_keyboard_shows_pruned_trials_and_sorts(
    pages: Mapping[str, Path], browser: Any
) -> None:
    with opened(browser, pages["twelve"]) as page:
        figure = page.locator("#history figure")
        button = figure.get_by_role("button", name="pruned")
        assert button.get_attribute("aria-pressed") == "false"
        button.focus()
        page.keyboard.press("Enter")
        assert button.get_attribute("aria-pressed") == "true"
        shown = "figure => figure.querySelector('.plot').data[0].visible"
        assert figure.evaluate(shown) is True
        page.locator("#trials summary").press("Enter")
        page.locator("#trials th button").nth(2).press("Enter")
        column = page.locator("#trials tbody tr td:nth-child(3)").all_inner_texts()
        values = [float(text) for text in column if text != "-"]
        assert values == sorted(values) and len(values) == 8


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not there: npm install axe-core")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", KINDS)
def test_axe_finds_no_serious_fault(
    pages: Mapping[str, Path], browser: Any, kind: str, scheme: str
) -> None:
    with opened(browser, pages[kind], color_scheme=scheme) as page:
        draw_all(page)
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        page.evaluate(AXE.read_text(encoding="utf-8"))
        found: Sequence[Mapping[str, Any]] = page.evaluate("axe.run().then(r => r.violations)")
        serious = [
            (each["id"], [node["html"][:200] for node in each["nodes"]][:3])
            for each in found
            if each["impact"] in ("serious", "critical")
        ]
        assert serious == []
