"""The pages in a real browser: drawn, quiet, usable by mouse and keyboard, on phones and paper, and closed to hostile names."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from squeeze_onnx.report.html import render_analysis, render_optimization, render_validation
from tests.report.conftest import NASTY, Report

TEXT_COLOURS = "[...document.querySelectorAll('svg text')].map((text) => text.getAttribute('fill'))"
TEXT_ON_DARK = "#e6eaf0"
PAGES = ("optimization", "search", "analysis", "validation")


@pytest.fixture(scope="module")
def files(
    tmp_path_factory: pytest.TempPathFactory,
    optimization: Report,
    analysis: Report,
    validation: Report,
    search: Mapping[str, Any],
) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    rendered = {
        "optimization": render_optimization(optimization),
        "search": render_optimization(optimization | {"search": search}),
        "analysis": render_analysis(analysis),
        "validation": render_validation(validation),
    }
    for name, text in rendered.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in rendered}


class Reader:
    """A tab, and all that it said and asked for."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.said: list[str] = []
        self.asked_for: list[str] = []
        self.refused: list[str] = []
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.asked_for.append(request.url))
        page.on("requestfailed", lambda request: self.refused.append(f"{request.failure} {request.url}"))

    def open(self, path: Path) -> Page:
        self.page.goto(path.as_uri())
        return self.page


@pytest.fixture
def reader(browser: Browser) -> Iterator[Reader]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    yield Reader(page)
    page.close()


def until(page: Page, condition: str, seconds: float = 30) -> None:
    """Wait until ``condition`` holds. Playwright's own waiting calls eval in the page, which the pages forbid."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(50)


def drawn_shapes(page: Page) -> list[int]:
    """How many shapes and texts with an extent each drawing has."""
    counts: list[int] = page.evaluate(
        """[...document.querySelectorAll(".chart")].map((chart) =>
            [...chart.querySelectorAll("svg path, svg text")].filter((one) => one.getBoundingClientRect().width > 0).length)"""
    )
    return counts


def assert_nothing_ran(page: Page) -> None:
    assert page.evaluate("window.owned") is None
    assert page.locator("img").count() == 0


@pytest.mark.parametrize("name", PAGES)
def test_a_page_draws_all_and_asks_for_nothing(reader: Reader, files: Mapping[str, Path], name: str) -> None:
    page = reader.open(files[name])
    shapes = drawn_shapes(page)
    assert len(shapes) >= {"analysis": 2}.get(name, 4)
    assert all(count > 10 for count in shapes), shapes
    assert reader.said == []
    assert reader.asked_for == [files[name].as_uri()]
    assert_nothing_ran(page)


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        *(("optimization", scheme) for scheme in ("light", "dark")),
        *(("validation", scheme) for scheme in ("light", "dark")),
        ("search", "light"),
        ("analysis", "dark"),
    ],
)
def test_a_page_is_accessible_and_fits_a_phone(
    reader: Reader, files: Mapping[str, Path], name: str, scheme: Any
) -> None:
    reader.page.emulate_media(color_scheme=scheme)
    page = reader.open(files[name])
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    page.set_viewport_size({"width": 360, "height": 740})
    until(page, "[...document.querySelectorAll('svg')].every((one) => one.getBoundingClientRect().right <= 360)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert reader.said == []


def test_colours_of_the_drawings_follow_the_scheme(reader: Reader, files: Mapping[str, Path]) -> None:
    page = reader.open(files["optimization"])
    assert TEXT_ON_DARK not in page.evaluate(TEXT_COLOURS)
    page.emulate_media(color_scheme="dark")
    until(page, f"{TEXT_COLOURS}.includes('{TEXT_ON_DARK}')")


def test_a_site_opens_on_click_in_the_map(reader: Reader, files: Mapping[str, Path], optimization: Report) -> None:
    page = reader.open(files["optimization"])
    expect(page.locator("#site h3")).to_have_text(optimization["sites"][0]["name"])
    before = page.locator("[data-part=histogram]").inner_html()
    page.locator("[data-chart=map] svg text", has_text="%").nth(7).click(force=True)
    chosen = int(page.locator("#site-choice").input_value())
    assert chosen != 0
    expect(page.locator("#site h3")).to_have_text(optimization["sites"][chosen]["name"])
    expect(page.locator("#site")).to_be_focused()
    assert page.locator("[data-part=histogram]").inner_html() != before


@pytest.mark.parametrize("name", ["optimization", "analysis"])
def test_sites_open_by_keyboard(
    reader: Reader, files: Mapping[str, Path], name: str, optimization: Report, analysis: Report
) -> None:
    sites = {"optimization": optimization, "analysis": analysis}[name]["sites"]
    page = reader.open(files[name])
    heading = page.locator("#site h3")
    page.locator("button[data-site='3']").focus()
    page.keyboard.press("Enter")
    expect(heading).to_have_text(sites[3]["name"])
    expect(page.locator("#site")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#site-choice")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(heading).to_have_text(sites[4]["name"])
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(heading).to_have_text(sites[3]["name"])
    assert page.locator("button[data-site='3']").get_attribute("aria-pressed") == "true"


def test_the_histogram_shows_law_edge_and_cut(reader: Reader, files: Mapping[str, Path], optimization: Report) -> None:
    factored = next(index for index, site in enumerate(optimization["sites"]) if site["treatment"] == "factored")
    page = reader.open(files["optimization"])
    page.locator("#site-choice").select_option(str(factored))
    histogram = page.locator("[data-part=histogram]")
    for text in ("Marchenko–Pastur", "Tracy–Widom edge", f"rank {optimization['sites'][factored]['rank']} ends here"):
        expect(histogram.locator("text", has_text=text)).to_have_count(1)


def test_names_from_the_model_are_shown_and_do_not_run(
    reader: Reader, files: Mapping[str, Path], optimization: Report
) -> None:
    nasty = next(index for index, site in enumerate(optimization["sites"]) if site["name"].startswith(NASTY))
    page = reader.open(files["optimization"])
    page.locator(f"button[data-site='{nasty}']").click()
    expect(page.locator("#site h3")).to_have_text(optimization["sites"][nasty]["name"])
    page.locator("[data-chart=map] svg text", has_text="%").first.hover(force=True)
    page.wait_for_timeout(100)
    assert NASTY in page.locator("table").filter(has_text="Break-even").inner_text()
    assert_nothing_ran(page)
    assert reader.said == []


def test_a_script_that_got_into_the_page_would_be_refused(reader: Reader, files: Mapping[str, Path]) -> None:
    page = reader.open(files["optimization"])
    element = "Object.assign(document.createElement('script'), {textContent: 'owned = 1'})"
    page.evaluate(f"document.body.append({element})")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=http://localhost:9/x onerror=owned=1>')")
    page.wait_for_timeout(100)
    assert page.evaluate("window.owned") is None
    assert reader.refused == ["csp http://localhost:9/x"]
    assert len(reader.said) >= 3
    assert all("Content Security Policy" in text for text in reader.said)


@pytest.mark.parametrize("name", ["optimization", "validation"])
def test_a_page_prints_in_black_on_white(reader: Reader, files: Mapping[str, Path], name: str) -> None:
    reader.page.emulate_media(color_scheme="dark")
    page = reader.open(files[name])
    page.set_viewport_size({"width": 680, "height": 960})
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    until(page, "[...document.querySelectorAll('svg')].every((one) => one.getBoundingClientRect().width <= 680)")
    until(page, f"{TEXT_COLOURS}.every((fill) => fill !== '{TEXT_ON_DARK}')")
    assert all(count > 10 for count in drawn_shapes(page))
    assert page.locator(".choose:visible").count() == 0
    assert page.pdf(format="A4").startswith(b"%PDF")
    assert reader.said == []
