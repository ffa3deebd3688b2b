"""Reports in a real browser: no errors, no network, tables that sort and search."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pcorr_assets.report.files import write_index, write_report
from pcorr_assets_tests.report import worlds
from pcorr_assets_tests.report.conftest import World

pytestmark = pytest.mark.browser

Open = Callable[..., Any]
CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def browser(require: Callable[[str, bool, str], None]) -> Iterator[Any]:
    require("browser", CHROMIUM.exists(), f"there is no {CHROMIUM}")
    from playwright.sync_api import sync_playwright

    # Only while this module runs: playwright's event loop would be in Dagster's way.
    with sync_playwright() as playwright:
        # The sandbox needs rights that a container does not give.
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """Open a file; the test fails for anything in the console and any request but the file."""
    contexts, complaints, requests, opened = [], [], [], []

    def open_it(path: Path, width: int = 1280, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", lambda request: requests.append(request.url))
        opened.append(path.as_uri())
        page.goto(path.as_uri())
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith("data:image/png")] == opened


def column(page: Any, table: str, number: int) -> list[str]:
    cells = page.locator(f"#{table} tbody tr:not([hidden]) td:nth-child({number})")
    return cells.all_inner_texts()


def test_nothing_of_the_data_runs(text_report: Path, open_page: Open) -> None:
    page = open_page(text_report)
    page.wait_for_load_state("networkidle")
    assert page.title() == "good on texts: Go"
    assert page.locator("img").count() == 0
    assert page.locator(f"text={worlds.HOSTILE_DOMAIN}").first.is_visible()


def test_a_click_sorts_and_a_second_one_turns_round(text_report: Path, open_page: Open) -> None:
    page = open_page(text_report)
    heading = page.locator("#t-units th", has_text="estimate")
    estimates = [float(text.replace("\u2212", "-")) for text in column(page, "t-units", 3)]
    assert estimates == sorted(estimates, reverse=True)
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert page.locator("#t-units th").first.get_attribute("aria-sort") == "none"
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    turned = [float(text.replace("\u2212", "-")) for text in column(page, "t-units", 3)]
    assert turned == sorted(estimates)


def test_the_keyboard_sorts_too(text_report: Path, open_page: Open) -> None:
    page = open_page(text_report)
    heading = page.locator("#t-units th").nth(1)
    heading.locator("button").focus()
    outline = "getComputedStyle(document.activeElement).outlineWidth"
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    assert page.evaluate(outline) == "3px"
    page.keyboard.press("Enter")
    page.keyboard.press("Space")
    assert heading.get_attribute("aria-sort") == "ascending"
    names = column(page, "t-units", 2)
    assert names[0] == worlds.HOSTILE_DOMAIN
    assert names[1:] == [f"site-{number:04}.example" for number in range(1, 24)]


def test_a_column_without_some_values_sorts_them_to_the_end(
    text_report: Path, open_page: Open
) -> None:
    page = open_page(text_report)
    heading = page.locator("#t-llms th", has_text="error")
    for _ in range(2):
        heading.locator("button").click()
        assert column(page, "t-llms", 4)[-1] == "\u2013"


def test_searching_filters_by_all_words(text_report: Path, open_page: Open) -> None:
    page = open_page(text_report)
    box = page.get_by_label("Search domains")
    box.fill("SITE-000 yes")
    names = column(page, "t-units", 2)
    assert names
    assert all(name.startswith("site-000") for name in names)
    assert set(column(page, "t-units", 7)) == {"yes"}
    status = page.locator(".tools[data-table=t-units] [role=status]")
    assert status.inner_text() == f"{len(names)} of 24 rows"
    box.fill("nothing has this")
    assert column(page, "t-units", 2) == []
    box.fill("")
    assert len(column(page, "t-units", 2)) == 24
    assert status.inner_text() == ""


def test_points_say_what_they_are(text_report: Path, open_page: Open) -> None:
    page = open_page(text_report)
    chart = page.locator("#rank-charts svg").first
    point = chart.locator(".point").nth(3)
    point.hover()
    tip = page.locator(".tip")
    assert tip.is_visible()
    assert tip.inner_text() == point.get_attribute("data-tip")
    chart.focus()
    page.keyboard.press("ArrowRight")
    assert tip.inner_text() == chart.locator(".point").first.get_attribute("data-tip")
    page.keyboard.press("ArrowLeft")
    assert tip.inner_text() == chart.locator(".point").last.get_attribute("data-tip")
    page.keyboard.press("Escape")
    assert tip.is_hidden()


def test_a_family_can_be_looked_at_alone(text_report: Path, open_page: Open) -> None:
    page = open_page(text_report)
    button = page.locator("[data-legend=rank-charts] button").first
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert page.locator("#rank-charts .point:not(.dim)").count() == 3 * 2
    button.click()
    assert page.locator("#rank-charts .dim").count() == 0


@pytest.mark.parametrize("width", [320, 390, 768, 1400])
def test_no_page_is_wider_than_its_window(
    text_report: Path, comparison: Path, matrix_world: World, open_page: Open, width: int
) -> None:
    imported = write_report(*matrix_world, "published", "good").path
    index = write_index(matrix_world[0].home)
    for path in (text_report, imported, index, comparison):
        page = open_page(path, width=width)
        page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path.name


# Contrast of every text with what is behind it, by the formula of WCAG 2.
_WORST_CONTRAST = """() => {
  const channel = (v) => (v /= 255, v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) =>
    0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const parse = (css) => css.match(/[0-9.]+/g).map(Number);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  let worst = [99, ""];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.getClientRects().length) continue;
    if (["SCRIPT", "STYLE"].includes(element.tagName)) continue;
    const style = getComputedStyle(element);
    const text = parse(element.closest("svg") ? style.fill : style.color);
    const [a, b] = [luminance(text), luminance(behind(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < worst[0]) worst = [ratio, walker.currentNode.data.trim()];
  }
  return worst;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out(
    text_report: Path, comparison: Path, open_page: Open, scheme: str
) -> None:
    for path in (text_report, comparison):
        page = open_page(path, color_scheme=scheme)
        ratio, text = page.evaluate(_WORST_CONTRAST)
        assert ratio >= 4.5, text


def test_on_paper_there_are_no_tools(text_report: Path, open_page: Open) -> None:
    page = open_page(text_report)
    page.emulate_media(media="print")
    assert page.locator("nav.toc").is_hidden()
    assert all(tools.is_hidden() for tools in page.locator(".tools").all())
    assert page.locator("#t-units tbody tr").last.is_visible()


def test_without_scripts_everything_is_there(text_report: Path, open_page: Open) -> None:
    page = open_page(text_report, java_script_enabled=False)
    assert page.locator("#t-units tbody tr").count() == 24
    assert page.locator("#rank-charts title").count() == 3 * 14
    assert page.locator(".tools").first.is_hidden()


def test_the_index_leads_to_the_report(text_world: World, text_report: Path, browser: Any) -> None:
    page = browser.new_page()
    page.goto(write_index(text_world[0].home).as_uri())
    page.get_by_role("link", name="good").click()
    page.wait_for_url(text_report.as_uri())
    assert page.locator("h1").inner_text() == "Which texts of texts to pretrain on for good"
    page.close()


def test_the_comparison_sorts_searches_and_names_what_is_under_the_mouse(
    comparison: Path, open_page: Open
) -> None:
    page = open_page(comparison)
    page.locator("#t-verdicts th", has_text="gain").first.locator("button").click()
    gains = [float(text.replace("\u2212", "-")) for text in column(page, "t-verdicts", 4)]
    assert gains == sorted(gains, reverse=True)
    page.get_by_label("Search samples and targets").fill("published")
    assert column(page, "t-verdicts", 2) == ["good"]
    page.get_by_label("Search domains").fill("nothing has this")
    assert column(page, "t-wanted-1", 1) == []
    for selector in (".cell >> nth=30", ".point.mix >> nth=5", ".row >> nth=1"):
        mark = page.locator(selector)
        mark.hover(force=True)
        assert page.locator(".tip").inner_text() == mark.get_attribute("data-tip")
    page.get_by_text("All overlaps as a table").click()
    shares = [float(text) for text in column(page, "t-overlap", 5)]
    assert len(shares) > 200
    assert shares == sorted(shares, reverse=True)
    page.emulate_media(media="print")
    assert all(tools.is_hidden() for tools in page.locator(".tools").all())
