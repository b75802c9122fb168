"""The page in a real browser: it runs, asks for nothing, sorts, filters, links and prints."""

import os
from pathlib import Path

import pytest
from conftest import ROOT, SCRIPT

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
ARTEFACTS = ROOT / ".artefacts" / "report"
ROWS = "#ranking-table tbody tr"


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM.exists():
        reason = f"there is no {CHROMIUM}: apt-get install -y chromium fonts-dejavu-core"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def address(hostile, tmp_path_factory):
    file = tmp_path_factory.mktemp("report") / "index.html"
    hostile.save_html(file)
    return file.as_uri()


class Watch:
    """What a page asked for, and what it complained of."""

    def __init__(self, page):
        self.requests, self.complaints = [], []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(dialog.message))


@pytest.fixture
def page(browser, address):
    context = browser.new_context(viewport={"width": 1180, "height": 900})
    opened = context.new_page()
    opened.watch = Watch(opened)
    opened.goto(address)
    yield opened
    context.close()


def column(page, number):
    return page.locator(f"{ROWS}:visible td:nth-child({number})").all_inner_texts()


def test_it_opens_without_a_complaint_and_without_a_request(page, address):
    assert page.watch.complaints == []
    assert [url for url in page.watch.requests if not url.startswith("data:")] == [address]
    broken = "[...document.images].filter((i) => !i.complete || !i.naturalWidth).length"
    assert page.evaluate(broken) == 0


def test_no_hostile_name_leaves_its_place(page):
    assert page.evaluate("document.querySelectorAll('script').length") == 1
    assert page.locator("td", has_text=SCRIPT).count() > 0
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) == 0


def test_it_sorts_with_the_unknown_last_both_ways(page):
    heading = page.locator("#ranking-table th").nth(6)
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    rows = f"[...document.querySelectorAll('{ROWS}')]"
    keys = f"{rows}.map((row) => row.cells[6].dataset.sort)"
    down = page.evaluate(keys)
    heading.locator("button").click()
    up = page.evaluate(keys)
    assert heading.get_attribute("aria-sort") == "ascending"
    known = [float(key) for key in down if key]
    assert known == sorted(known, reverse=True)
    assert [float(key) for key in up if key] == sorted(known)
    assert sorted(down) == sorted(up)
    names = page.locator("#ranking-table th").nth(0)
    names.locator("button").click()
    assert names.get_attribute("aria-sort") == "ascending"
    assert heading.get_attribute("aria-sort") is None


def test_it_filters_rows_and_says_how_many(page):
    before = len(column(page, 1))
    box = page.locator("#ranking-table input")
    box.fill("billing")
    assert column(page, 1) == ["billing"]
    assert page.locator("#ranking-table output").inner_text() == f"1 of {before}"
    box.fill("")
    assert len(column(page, 1)) == before


def test_a_name_leads_to_its_open_card(page):
    page.locator("#ranking-table a", has_text="billing").click()
    card = page.locator("#service-billing")
    page.wait_for_function("document.getElementById('service-billing').open")
    assert card.locator("li").first.is_visible()


def test_a_deep_link_opens_the_card(browser, address):
    context = browser.new_context()
    opened = context.new_page()
    opened.goto(f"{address}#service-api")
    assert opened.locator("#service-api[open]").count() == 1
    assert opened.evaluate("scrollY") > 500
    context.close()


def test_it_reads_without_scripts(browser, address):
    context = browser.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto(address)
    assert opened.locator("h1").is_visible()
    assert opened.locator(ROWS).count() > 5
    assert opened.locator("input").count() == 0
    opened.locator("#service-web summary").click()
    assert opened.locator("#service-web li").first.is_visible()
    context.close()


def test_it_fits_a_phone(browser, address):
    context = browser.new_context(viewport={"width": 390, "height": 800})
    opened = context.new_page()
    opened.goto(address)
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert opened.evaluate(overflow) == 0
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_the_page(browser, address, scheme):
    context = browser.new_context(color_scheme=scheme)
    opened = context.new_page()
    opened.goto(address)
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    opened.screenshot(path=ARTEFACTS / f"{scheme}.png", full_page=True)
    colours = """
      [...document.querySelectorAll('p, td, th, caption, h1, h2, a, dd, dt, .badge, summary *')]
        .filter((e) => e.textContent.trim() && e.checkVisibility())
        .map((e) => getComputedStyle(e).color)
    """
    paper = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    weak = {c for c in opened.evaluate(colours) if contrast(c, paper) < 4.5}
    assert weak == set()
    context.close()


def contrast(one, other):
    """Contrast of two colours, by WCAG 2."""
    light, dark = sorted((luminance(c) for c in (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour):
    channels = [int(c) / 255 for c in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_it_prints(page):
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    file = ARTEFACTS / "print.pdf"
    page.pdf(path=file, prefer_css_page_size=True)
    assert file.read_bytes().startswith(b"%PDF-")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator(".find").is_visible()
    assert not page.locator(".filter").first.is_visible()
