"""The report in a real browser: what is seen, what is asked for, who can read it, and what hostile texts can do."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from altair.vegalite import load_schema
from jsonschema.validators import validator_for
from playwright.sync_api import Browser, Page

from pipeline.report.areas import AREAS
from tests.pipeline.report.conftest import HOSTILE, Pages

VIEWS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1240, "height": 900}, "color_scheme": "light"},
    "narrow": {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"},
}
AXE = "axe-core@4.14.1"
VIOLATIONS = "JSON.stringify(found.violations.map(one => [one.impact, one.id, one.nodes[0].html]))"
CONTRAST = "color-contrast"  # the rule that takes axe the longest
ELSEWHERE = re.compile(r"<(?:link|img|iframe|object|embed|base)\b|src=|url\(|@import")


@contextmanager
def opened(browser: Browser, address: str, **view: Any) -> Iterator[tuple[Page, list[str]]]:
    """Open a page, and note what it says on the console and what it asks for beside itself."""
    context = browser.new_context(**view)
    context.set_default_timeout(180_000)
    page, noted = context.new_page(), list[str]()
    page.on("console", lambda message: noted.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: noted.append(f"error: {error}"))
    page.on("request", lambda request: noted.append(request.url) if request.url != address else None)
    page.goto(address)
    yield page, noted
    context.close()


def draw_everything(page: Page) -> None:
    """Scroll through the page, so that each plot is drawn."""
    for chart in page.query_selector_all(".chart"):
        chart.scroll_into_view_if_needed()
    live = "[...document.querySelectorAll('.chart')].every(one => one.querySelector('.live svg'))"
    give_up = time.monotonic() + 300  # passed only by what is never drawn
    while not page.evaluate(live):  # the page's policy lets nothing else wait in it
        assert time.monotonic() < give_up
        page.wait_for_timeout(50)


@pytest.fixture(scope="module")
def light(browser: Browser, pages: Pages) -> Iterator[tuple[Page, list[str]]]:
    """Return the English page with all plots drawn, which takes the browser ten seconds; tests leave it light."""
    with opened(browser, pages.address("en"), **VIEWS["light"]) as (page, noted):
        draw_everything(page)
        yield page, noted


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the text of axe-core, from the npm registry."""
    if shutil.which("npm") is None and not os.environ.get("CI"):
        pytest.skip("there is no npm, and so no axe-core")
    folder = tmp_path_factory.mktemp("axe")
    command = [
        "npm",
        "install",
        "--prefix",
        str(folder),
        "--silent",
        "--no-audit",
        "--no-fund",
        "--fetch-retries=5",
        AXE,
    ]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return (folder / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")


def assert_accessible(page: Page, axe: str, **rules: Any) -> None:
    """Let axe look at a page on which everything is open that can be."""
    page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
    session = page.context.new_cdp_session(page)  # the page's own policy lets no other script in
    session.send("Runtime.evaluate", {"expression": f"{axe};0"})
    run = f"axe.run({json.dumps({'resultTypes': ['violations'], **rules})}).then(found => {VIOLATIONS})"
    told = session.send("Runtime.evaluate", {"expression": run, "awaitPromise": True, "returnByValue": True})
    serious = [one for one in json.loads(told["result"]["value"]) if one[0] in ("serious", "critical")]
    assert serious == []


def test_all_plots_are_drawn_and_accessible(light: tuple[Page, list[str]], axe: str) -> None:
    page, noted = light
    assert noted == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it is wider than the screen"
    assert_accessible(page, axe)
    assert len(page.screenshot(full_page=True)) > 50_000


def test_colours_are_told_apart_in_the_dark_too(light: tuple[Page, list[str]], axe: str) -> None:
    """They are the style's alone: what is drawn is the same."""
    page, noted = light
    page.emulate_media(color_scheme="dark")
    assert_accessible(page, axe, runOnly=[CONTRAST])
    assert len(page.screenshot()) > 20_000
    page.emulate_media(color_scheme="light")
    assert noted == []


def test_all_of_it_fits_a_phone_in_the_dark(browser: Browser, pages: Pages, axe: str) -> None:
    with opened(browser, pages.address("en"), **VIEWS["narrow"]) as (page, noted):
        draw_everything(page)
        assert noted == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it is wider than the screen"
        assert_accessible(page, axe, rules={CONTRAST: {"enabled": False}})
        assert len(page.screenshot()) > 10_000


def test_hostile_texts_are_texts(light: tuple[Page, list[str]]) -> None:
    page, noted = light
    assert noted == [] and "owned" not in page.title() and page.title() != "1"
    text = page.inner_text("#todo")
    assert HOSTILE[0] in text and "\\u202eevil\\u202c \\x1b[31m" in text and "{{ 7 * 7 }}" in text
    assert page.query_selector("img") is None
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f]", page.content())


def test_a_key_that_no_event_of_the_type_had_is_listed_with_its_event(browser: Browser, pages: Pages) -> None:
    with opened(browser, pages.address("en"), java_script_enabled=False, **VIEWS["light"]) as (page, _):
        rows = [row for row in page.inner_text("#list-new_keys table").splitlines() if "E-new-key" in row]
        assert len(rows) == 1 and rows[0].startswith("login") and HOSTILE[0] in rows[0], rows
        listed = page.inner_text("#list-new_keys")
        assert "key-of-old" not in listed and "E-keys" not in listed
        assert "Left out, for their keys are data: error." in listed


def test_each_drawing_is_valid_vega_lite(pages: Pages) -> None:
    drawn = re.findall(r'<script type="application/json">(.*?)</script>', pages.file("ru").read_text(encoding="utf-8"))
    assert len(drawn) > 30
    schema = load_schema()
    validator = validator_for(schema)(schema)
    for spec in map(json.loads, drawn):
        validator.validate(spec)


def test_no_address_of_another_place_stands_in_it(pages: Pages) -> None:
    for html in (pages.file(name).read_text(encoding="utf-8") for name in ("en", "ru", "empty")):
        assert re.findall(r"https?://[^\s\"'<]*", html) == []
        assert not ELSEWHERE.search(re.sub(r"<script.*?</script>|&lt;img src=x", "", html, flags=re.DOTALL))
        assert "unsafe-eval" not in html and "default-src 'none'" in html
        assert len(html.encode()) < 4 * 10**6


def test_without_scripts_plots_and_tables_stay(browser: Browser, pages: Pages) -> None:
    with opened(browser, pages.address("en"), java_script_enabled=False, **VIEWS["light"]) as (page, noted):
        assert noted == []
        charts = page.locator(".still svg").count()
        assert charts > 25 and charts == page.locator(".chart").count()
        assert page.locator(".still svg").first.is_visible()
        page.locator("figure summary").first.click()
        assert page.locator("figure table").first.is_visible()
        assert page.locator("figure table").count() == page.locator("figure").count()


def test_it_is_printed_on_a4_with_no_plot_cut(light: tuple[Page, list[str]]) -> None:
    page, noted = light
    printed = page.pdf(prefer_css_page_size=True)
    assert re.search(rb"/MediaBox ?\[0 0 59[45][.\d]* 84[12][.\d]*\]", printed)
    page.emulate_media(media="print")
    styles = page.evaluate("[...document.querySelectorAll('figure')].map(one => getComputedStyle(one).breakInside)")
    assert set(styles) == {"avoid"}
    assert page.evaluate(
        "[...document.querySelectorAll('.still')].every(one => one.scrollWidth <= one.clientWidth + 1)"
    )
    page.emulate_media(media="screen")
    assert noted == []


def test_it_is_read_by_keyboard(browser: Browser, pages: Pages) -> None:
    with opened(browser, pages.address("en"), **VIEWS["light"]) as (page, _):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert page.evaluate("location.hash") == "#main"
        levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(one => +one.tagName[1])")
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))


def test_each_plot_says_what_is_seen_and_where_it_is_from(browser: Browser, pages: Pages) -> None:
    with opened(browser, pages.address("en"), **VIEWS["light"]) as (page, _):
        drawn = {one.get_attribute("aria-labelledby") for one in page.query_selector_all("figure")}
        known = {function.__name__ for functions in AREAS.values() for function in functions}
        assert len(drawn & known) > len(known) * 0.8, (
            known - drawn
        )  # the others have nothing to show in so small a world
        for label in page.eval_on_selector_all(".chart", "all => all.map(one => one.getAttribute('aria-label'))"):
            assert re.search(r"\. .*\d", label) or "No complete period" in label, label
        for caption in page.eval_on_selector_all(
            "section:not(#copy) figcaption", "all => all.map(one => one.innerText)"
        ):
            assert re.match(r"(marts|replica)\.\w+, as of \d+ \w+ \d{4}, \d\d:\d\d\.", caption), caption
        assert "Dashed and lighter" in page.inner_text("main")


def test_both_languages_have_the_same_plots_and_their_own_numbers(browser: Browser, pages: Pages) -> None:
    counts = {}
    for language in ("en", "ru"):
        with opened(browser, pages.address(language), **VIEWS["light"]) as (page, noted):
            if language != "en":  # which others look at
                draw_everything(page)
            assert noted == [] and page.get_attribute("html", "lang") == language
            counts[language] = page.locator("figure").count(), page.locator(".figure").count()
            text = page.inner_text("main")
            assert ("Активность" in text) == (language == "ru")
            assert bool(re.search(r"\d,\d\N{NO-BREAK SPACE}%", text)) == (language == "ru")
    assert counts["en"] == counts["ru"]


def test_with_nothing_replicated_it_is_a_page_of_sentences(browser: Browser, pages: Pages) -> None:
    with opened(browser, pages.address("empty"), **VIEWS["light"]) as (page, noted):
        assert noted == [] and page.locator("figure").count() == 0
        text = page.inner_text("main")
        assert "Not computed: ticket_resolution, search_facts, price_drops, event_types_daily. etl marts" in text
        assert "nothing is copied yet" in text


def test_etl_report_writes_it_whole_or_says_why_not(etl: Any, pages: Pages, tmp_path: Path) -> None:
    written = Path(pages.told["path"])
    assert written.stat().st_size == pages.told["bytes"] and len(pages.told["figures"]) > 8
    assert [file.name for file in written.parent.iterdir()] == ["ru.html"]
    assert (pages.folder / "browser.opened").read_text().split() == [written.as_uri()]
    (tmp_path / "file").write_text("")
    for place in (tmp_path, tmp_path / "file" / "r.html"):
        code, _, said = etl("report", "-o", str(place))
        assert code == 2 and str(place.name) in said and said.count("\n") == 1
    code, _, said = etl("report", "--language", "de")
    assert code == 2 and "en and ru" in said
