"""The page in a real browser: it runs, asks for nothing, sorts, filters, links and prints."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsers import chromium
from fleets import ROOT, SCRIPT, fleet

import assess

ARTEFACTS = ROOT / ".artefacts" / "report"
ROWS = "#ranking-table tbody tr"


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


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
    opened.locator("#ranking-table summary").click()
    yield opened
    context.close()


def column(page, number):
    return page.locator(f"{ROWS}:visible td:nth-child({number})").all_inner_texts()


def test_it_opens_without_a_complaint_and_without_a_request(page, address):
    assert page.watch.complaints == []
    assert [url for url in page.watch.requests if not url.startswith("data:")] == [
        address
    ]
    broken = "[...document.images].filter((i) => !i.complete || !i.naturalWidth).length"
    assert page.evaluate(broken) == 0


def test_no_hostile_name_leaves_its_place(page):
    assert page.evaluate("document.querySelectorAll('script').length") == 1
    assert page.locator("td", has_text=SCRIPT).count() > 0
    overflow = (
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
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


def test_an_address_with_a_stray_percent_sign_stops_no_script(browser, address):
    context = browser.new_context()
    opened = context.new_page()
    watch = Watch(opened)
    opened.goto(f"{address}#explore/find/100%")
    assert opened.locator("#x-find").input_value() == "100%"
    assert watch.complaints == []
    context.close()


def test_it_reads_without_scripts(browser, address):
    context = browser.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto(address)
    assert opened.locator("h1").is_visible()
    assert opened.locator(ROWS).count() > 5
    assert opened.locator("input").count() == 0
    opened.locator("#services .deck > summary").click()
    opened.locator("#service-web > summary").click()
    assert opened.locator("#service-web li").first.is_visible()
    context.close()


def test_it_fits_a_phone_with_every_column_and_figure_in_sight(browser, address):
    width = 320  # that WCAG asks for, as a window of 1280 at 400 %
    context = browser.new_context(viewport={"width": width, "height": 800})
    opened = context.new_page()
    opened.goto(address)
    unfold(opened)
    wide = (
        "[...document.querySelectorAll('body, table.data td, figure img, .tracks li')]"
        f".filter((e) => e.getBoundingClientRect().right > {width}).length"
    )
    assert opened.evaluate(wide) == 0
    first = opened.locator(f"{ROWS}:first-child td").first
    heading = "(cell) => getComputedStyle(cell, '::before').content"
    assert first.evaluate(heading) == '"Service"'
    context.close()


def test_the_first_screen_answers_a_meeting(page):
    page.evaluate("scrollTo(0, 0)")
    terms = page.locator(".facts dt").all_inner_texts()
    assert terms == [
        "Why",
        "What not to move",
        "What could go wrong",
        "Changed since 2026Q2",
        "What nobody knows",
    ]
    assert page.locator(".facts").bounding_box()["y"] < 900
    for link in page.locator(".facts a").all():
        assert page.locator(link.get_attribute("href")).count() == 1
    count = page.locator(".tally li").first
    n = int(count.locator("strong").inner_text())
    count.locator("a").click()
    assert page.locator("#explore .x-table tbody tr").count() == min(n, 21)


def test_forty_services_take_eight_screens_and_fifteen_pages(browser, tmp_path, policy):
    file = tmp_path / "index.html"
    names = [f"service-{n}" for n in range(40)]
    now = fleet(names)
    assess.build_report(now, policy, previous=fleet(names, "2026-06-30")).save_html(file)
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    opened = context.new_page()
    opened.goto(file.as_uri())
    assert opened.evaluate("document.documentElement.scrollHeight") <= 8 * 800
    printed = opened.pdf(prefer_css_page_size=True)
    assert len(re.findall(rb"/Type /Page\b", printed)) <= 15
    # on further pages Chromium repeats the text of a head, and leaves out its buttons
    opened.emulate_media(media="print")
    head = opened.locator("table.data thead th").first
    assert head.locator("button").evaluate("(e) => getComputedStyle(e).display") == "none"
    said = head.evaluate("(e) => getComputedStyle(e, '::before').content")
    assert said == f'"{head.locator("button").text_content()}"'
    parted = opened.locator(".fold.paper:has(> figure)").evaluate_all(
        "(all) => all.filter((e) => getComputedStyle(e).breakInside !== 'avoid').length"
    )
    assert parted == 0
    alone = opened.locator(".paper > summary").evaluate_all(
        "(all) => all.filter((e) => getComputedStyle(e).breakAfter !== 'avoid').length"
    )
    assert alone == 0
    context.close()


def test_the_longest_records_of_the_sample_take_one_page_of_paper(browser):
    style = (ROOT / "assess/report/templates/style.css").read_text("utf-8")
    records = sorted((ROOT / "reports/2026Q3/decisions").glob("*.html"))
    longest = sorted(records, key=lambda file: file.stat().st_size)[-3:]
    opened = browser.new_page()
    for file in longest:
        head, rest = file.read_text("utf-8").split("<style>")
        opened.set_content(f"{head}<style>{style}{rest[rest.index('</style>') :]}")
        printed = opened.pdf(prefer_css_page_size=True)
        assert len(re.findall(rb"/Type /Page\b", printed)) == 1, file.name
    # on a phone its tables scroll, for a keyboard too
    opened.set_viewport_size({"width": 390, "height": 800})
    assert Axe().run(opened).violations_count == 0
    opened.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault_with_every_card_and_table_open(browser, address, scheme):
    context = browser.new_context(
        color_scheme=scheme, viewport={"width": 1180, "height": 900}
    )
    opened = context.new_page()
    opened.goto(address)
    keep(opened, scheme)
    unfold(opened)
    found = Axe().run(opened)
    assert found.violations_count == 0, found.generate_report()
    context.close()


def unfold(page):
    page.evaluate(
        "document.querySelectorAll('details').forEach((d) => { d.open = true; })"
    )


def keep(page, name):
    """Take a picture of the whole page, for people to look at."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"{name}.png", full_page=True)


def test_it_prints(page):
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    file = ARTEFACTS / "print.pdf"
    page.pdf(path=file, prefer_css_page_size=True)
    assert file.read_bytes().startswith(b"%PDF-")
    page.emulate_media(media="print", color_scheme="dark")
    assert (
        page.evaluate("getComputedStyle(document.body).backgroundColor")
        == "rgb(255, 255, 255)"
    )
    assert not page.locator(".find").is_visible()
    assert not page.locator(".filter").first.is_visible()
    # the explorer is not on paper, so the contents do not name it
    assert not page.locator("#explore").is_visible()
    assert not page.locator("#explore-link").is_visible()
