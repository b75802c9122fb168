"""The explorer in a real browser: the same numbers as the command line, and every view by address."""

import numpy as np
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from browsers import chromium
from fleets import HOSTILE, PLAIN, ROOT, SCRIPT

import assess
from assess.errors import AssessError
from assess.policy import load_policy
from assess.report import explorer
from assess.report.explorer.data import rule_tree
from assess.score.assessment import Assessment
from assess.score.result import Provenance
from assess.score.targets.place import cost
from assess.score.what_next import WhatNext
from assess.score.what_next.flips import counterfactuals
from assess.score.what_next.labels import LABELS
from assess.score.what_next.ranking import Ranking
from assess.words import share

CRITERIA = (
    "readiness",
    "containment",
    "low_blast_radius",
    "low_churn",
    "pain_today",
    "low_effort",
)
ARTEFACTS = ROOT / ".artefacts" / "explorer"
CHANCES = ["p_first", "p_top", "p_top_neutral"]


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


def invented(n, seed, names=None):
    """A ranking of n services whose criteria, gates and ties come from a seed."""
    rng = np.random.default_rng(seed)
    policy = load_policy().replace(simulation={"draws": 1000})
    names = names or [f"s{i:03}" for i in range(n)]
    steps = rng.integers(0, 9, size=(n, 6, 2)) / 8  # coarse, so that totals tie
    steps[n // 2 :] = rng.random((n - n // 2, 6, 2))
    lo = steps.min(axis=2)
    hi = steps.max(axis=2)
    hi[: n // 4] = lo[: n // 4]  # some are known for certain
    rows = pd.MultiIndex.from_product(
        [names, CRITERIA], names=["service_id", "criterion"]
    )
    criteria = pd.DataFrame(
        {"point": (lo + hi).ravel() / 2, "lo": lo.ravel(), "hi": hi.ravel()}, rows
    ).reset_index()
    gates = rng.choice(
        ["", "", "", "PREPARE", "HOLD", "NEVER", "NOT DECIDABLE"], size=n
    ).astype(object)
    frame = pd.DataFrame(
        {
            "label_gates": pd.Series(gates).replace("", None).to_numpy(),
            "readiness_lo": 100 * lo[:, 0],
            "readiness": 50 * (lo + hi)[:, 0],
            "readiness_hi": 100 * hi[:, 0],
            "platform": rng.choice(["host", "host", "docker"], size=n),
            "owner": rng.choice(["blue", "green"], size=n),
            "could_move": "yes",
            "why": "because",
            "wave": pd.NA,
        },
        pd.Index(names, name="service_id"),
    )
    at = pd.Timestamp("2026-09-30", tz="UTC")
    origin = Provenance(at, "2026Q3", policy.hash, "2026-09-01", "1", policy.seed, policy)
    ranking = Ranking.of(frame, criteria, policy)
    chances, _ = ranking.all_weightings()
    frame = frame.join(chances)
    frame["label"] = ranking.labels(frame["p_top"].reindex(ranking.services))
    return WhatNext(frame, pd.DataFrame(), origin, {"criteria": criteria})


def opened(browser, results, tmp_path, view="", **options):
    """Open the explorer as a page of its own."""
    file = tmp_path / "explorer.html"
    html = explorer.Explorer(results).html.replace(" data-framed", "")
    file.write_text(html, encoding="utf-8")
    return opened_at(browser, file.as_uri() + view, **options)


def opened_at(browser, address, **options):
    context = browser.new_context(viewport={"width": 1180, "height": 900}, **options)
    page = context.new_page()
    page.complaints = []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.goto(address)
    page.wait_for_selector("#explore:not([hidden]) .x-body > *")
    return page


def wait_for(page, address):
    """Wait until the address bar shows the end of an address; the CSP forbids to poll in the page."""
    for _ in range(100):
        if page.evaluate("location.hash").endswith(address):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"{page.evaluate('location.hash')} does not end in {address}")


def printed(page):
    """Rank, label and chances of every service, as the page prints them."""
    more = page.locator(".x-more")
    if more.count():
        more.first.click()
    rows = "[...document.querySelectorAll('[data-service]')]"
    texts = "[...row.cells].map((cell) => cell.textContent)"
    cells = page.evaluate(f"{rows}.map((row) => {texts})")
    return [
        [service, label.partition(" was ")[0], *rest]
        for _, service, label, *rest in cells
    ]


def expected(table):
    """The same of a table that `under` returns."""
    return [
        [
            service,
            row["label"],
            *("–" if pd.isna(row[name]) else share(row[name]) for name in CHANCES),
        ]
        for service, row in table.iterrows()
    ]


ORDER = ("pain_today", "low_churn", "readiness", "low_effort", "containment")
ORDER = (*ORDER, "low_blast_radius")
WISHES = {
    "order": (f"order={','.join(ORDER)}", {"order": ORDER}),
    "exact weights": (
        "weights=readiness:30,low_effort:70,pain_today:1&give=0",
        {"weights": {"readiness": 30, "low_effort": 70, "pain_today": 1}},
    ),
    "weights, give or take": (
        "weights=readiness:50,containment:50,low_blast_radius:50,low_churn:50&give=10",
        {
            "intervals": {
                **dict.fromkeys(CRITERIA[:4], (0.15, 0.35)),
                **dict.fromkeys(CRITERIA[4:], (0.0, 0.1)),
            }
        },
    ),
}


@pytest.mark.parametrize(("n", "seed"), [(40, 1), (150, 2)])
def test_it_ranks_with_the_draws_of_the_command_line(browser, tmp_path, n, seed):
    result = invented(n, seed)
    page = opened(browser, [result], tmp_path)
    for query, preferences in WISHES.values():
        page.evaluate("(hash) => { location.hash = hash; }", f"#explore/ranking?{query}")
        wait_for(page, query)
        assert printed(page) == expected(result.under(**preferences))
    assert page.complaints == []


def test_a_board_of_the_policy_has_the_chances_that_the_policy_gives_it(
    browser, tmp_path
):
    result = invented(60, 3)
    policy = result.provenance.policy
    ranking = Ranking.of(result.frame, result.details["criteria"], policy)
    page = opened(browser, [result], tmp_path)
    for board in policy["board"]:
        page.get_by_label(board["title"]).check()
        table = ranking.under(board).join(result.frame["readiness_lo"])
        place = table["label"].map(LABELS.index)
        keys = pd.DataFrame(
            {
                "label": place,
                "chance": -table["p_top"].fillna(0),
                "ready": -table["readiness_lo"],
                "name": table.index,
            },
        )
        order = keys.sort_values(list(keys)).index
        assert printed(page) == expected(table.loc[order])
        assert page.evaluate("location.hash").endswith(f"?board={board['id']}")


def test_a_slider_ranks_anew_and_keeps_its_address(browser, tmp_path):
    result = invented(40, 1)
    page = opened(browser, [result], tmp_path)
    page.get_by_label("My weights").check()
    for criterion, weight in zip(CRITERIA, (0, 0, 0, 0, 0, 90), strict=True):
        page.locator(f"[data-criterion={criterion}]").fill(str(weight))
    page.locator("[data-criterion=give]").fill("0")
    wait_for(page, "low_effort:90&give=0")
    assert printed(page) == expected(result.under(weights={"low_effort": 1}))
    again = opened_at(browser, page.url)
    assert printed(again) == printed(page)


def test_a_long_table_grows_step_by_step(browser, tmp_path, monkeypatch):
    program = explorer.script()
    assert "const STEP = 200;" in program
    small = program.replace("const STEP = 200;", "const STEP = 7;")
    monkeypatch.setattr(explorer, "script", lambda: small)
    page = opened(browser, [invented(30, 5)], tmp_path)
    rows = page.locator("[data-service]")
    seen = [(rows.count(), page.locator(".x-more").inner_text())]
    for _ in range(2):
        page.locator(".x-more").click()
        more = page.locator(".x-more").all_inner_texts()
        seen.append((rows.count(), *more))
    page.locator(".x-more").click()
    assert [*seen, rows.count()] == [
        (12, "Show 7 more of 18"),
        (19, "Show 7 more of 11"),
        (26, "Show 4 more"),
        30,
    ]
    assert not page.complaints


def test_names_are_only_ever_text(browser, tmp_path):
    names = sorted([*HOSTILE, "NaN", "null", "a/b?c=d&e#f%20", "__proto__"])
    page = opened(browser, [invented(len(names), 5, names)], tmp_path)
    assert len(printed(page)) == len(names)
    assert page.evaluate("document.querySelectorAll('script').length") == 1
    assert page.locator("td", has_text=SCRIPT).count() == 1
    assert page.complaints == []
    overflow = "document.documentElement.scrollWidth - innerWidth"
    assert page.evaluate(overflow) <= 0


# ---- every view of a whole report, whose names are as hostile as they can be ----


@pytest.fixture(scope="module")
def scored(policy):
    """A small fleet with volumes, gates that fail and gates that are unknown."""
    names = [*PLAIN, *HOSTILE[:4], HOSTILE[4]]
    n = len(names)
    services = pd.DataFrame(
        {
            "service_id": names,
            "owner": [SCRIPT, *["team"] * (n - 1)],
            "platform": "host",
            "tier": 3,
            "stateful": [False, True, None, *[False] * (n - 3)],
            "secrets_in_image": [True, *[False] * (n - 1)],
            "health_checked": [None, *[True] * (n - 1)],
            "move_effort_hours": [10.5 + 20 * i for i in range(n)],
        }
    )
    workloads = pd.DataFrame(
        {
            "workload_id": [f"w{i}" for i in range(n)],
            "service_id": names,
            "host_id": ["h1"] * (n - 2) + ["h2"] * 2,
            "state": "running",
            "cpu_request": [0.5, None, *[1.0] * (n - 2)],
            "memory_request_bytes": 2.0**30,
        }
    )
    calls = pd.DataFrame(
        {"src_id": names[:-1], "dst_id": names[1:], "kind": "call", "evidence": SCRIPT}
    )
    hosts = pd.DataFrame({"host_id": ["h1", "h2"], "az": "a", "os_name": "debian"})
    tables = {
        "services": services,
        "hosts": hosts,
        "workloads": workloads,
        "dependencies": calls,
    }
    inventory = assess.from_frames(tables, snapshot_at="2026-09-30")
    return Assessment(inventory, policy)


@pytest.fixture(scope="module")
def file(scored, tmp_path_factory):
    results = [
        scored.what_next,
        scored.readiness,
        scored.blast_radius,
        scored.targets,
    ]
    path = tmp_path_factory.mktemp("explorer") / "index.html"
    html = explorer.Explorer(results).html.replace(" data-framed", "")
    path.write_text(html, encoding="utf-8")
    return path.as_uri()


def text_of(page, view):
    page.evaluate("(hash) => { location.hash = hash; }", view)
    wait_for(page, view)
    return page.locator(".x-body").inner_text()


def test_a_what_if_has_the_label_that_the_flips_have(browser, file, scored):
    ranking = Ranking.of(
        scored.what_next.frame, scored.what_next.details["criteria"], scored.policy
    )
    page = opened_at(browser, file)
    cases = {
        ranking.services[at]: case
        for at, case in counterfactuals(ranking, scored.readiness, scored.policy)
    }
    for service in ("web", "api", "cache"):
        case = cases[service]
        for item in np.flatnonzero(case.fixable)[::3]:
            for word in ("good", "bad") if case.facts[item] else ("good",):
                marks = np.zeros((2, 1, len(case.items)), dtype=bool)
                marks[int(word == "bad"), 0, item] = True
                label, _ = case.outcome(marks[0], marks[1])
                points = case.readiness(marks[0])[0]
                view = explorer.address("service", service)
                told = text_of(page, f"{view}?{word}={service}/{case.items[item]}")
                said = told.split("Label\n", 1)[1].split("\n", 1)[0]
                assert said.partition(" was ")[0].strip() == label[0]
                assert f"Readiness {points:.0f} to " in told
    assert page.complaints == []


def test_coverage_rules_are_read_and_others_are_left_open():
    tree = ["or", ["and", ["<", "coverage", 0.6]], ["not", "coverage_lowest"]]
    assert rule_tree("coverage < 0.6 or not coverage_lowest") == tree
    assert rule_tree("coverage + 1 < 2") is None


def test_it_says_who_falls_by_which_way_and_how_likely(browser, file, scored):
    page = opened_at(browser, file)
    told = text_of(page, explorer.address("fails", "service", "cache"))
    affected = scored.blast_radius.details["affected"]
    rows = affected[
        (affected["element_kind"] == "service") & (affected["element"] == "cache")
    ]
    for row in rows.itertuples():
        assert f"{row.service_id}\t{share(row.p_down)}\t{share(row.p_lo)}" in told
    steps = scored.blast_radius.paths("service", "cache", "web")
    assert list(steps["service_id"]) == ["api", "web"]
    assert "cache → api" in told
    assert page.locator("svg .x-node").count() >= 3
    down = text_of(page, explorer.address("service", "web"))
    assert "service api" in down
    assert "host h1" in down
    after = text_of(page, explorer.address("fails", "host", "h1", "after"))
    assert "would no longer go down with it directly" in after


def test_typed_prices_cost_what_the_policy_would_say(browser, file, scored):
    sizes = scored.targets.details["sizes"]
    prices = {"vcpu_hour": 0.05, "gib_hour": 0.01, "service_month": 5.0}
    replicas = sizes.filter(like="replicas").clip(lower=2)
    told = cost({"id": "docker", "prices": prices}, sizes, replicas).frame
    page = opened_at(browser, file)
    assert "Cost a month\nunknown" in text_of(
        page, explorer.address("target", "web", "docker")
    )
    # a half goes to the even number, as in every other text
    assert "Hours of the move\n10\n" in page.locator(".x-body").inner_text()
    for at, price in enumerate(prices.values()):
        page.locator(f'[data-price="1 {at}"]').fill(str(price))
        page.locator(f'[data-price="1 {at}"]').press("Tab")
    wait_for(page, "?price=docker:0.05:0.01:5")
    month = told.loc["web", "cost_per_month"]
    assert f"Cost a month\n{month:.0f}\n" in page.locator(".x-body").inner_text()
    # a replica of which no CPU is known has no cost
    assert pd.isna(told.loc["api", "cost_per_month"])
    view = explorer.address("target", "api", "docker")
    assert "Cost a month\nunknown" in text_of(page, f"{view}?price=docker:0.05:0.01:5")
    # nor has one of which a price is left empty; 0 is free
    view = explorer.address("target", "web", "docker")
    assert "Cost a month\nunknown" in text_of(page, f"{view}?price=docker:0.05::5")
    assert "Cost a month\n5" in text_of(page, f"{view}?price=docker:0:0:5")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault_with_any_view(browser, file, scheme):
    page = opened_at(browser, file, color_scheme=scheme)
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    weights = ",".join(f"{name}:50" for name in CRITERIA)
    views = {
        "ranking": f"{explorer.address('ranking')}?weights={weights}&give=10",
        "order": f"{explorer.address('ranking')}?order=low_effort",
        "find": explorer.address("find"),
        "service": explorer.address("service", "web"),
        "check": explorer.address("check", "state.stateless"),
        "fails": explorer.address("fails", "host", "h1"),
        "targets": explorer.address("targets"),
        "target": explorer.address("target", "web", "docker"),
    }
    # colours are what differs in the dark
    few = ("ranking", "service", "fails")
    for name, view in views.items():
        if scheme == "dark" and name not in few:
            continue
        page.evaluate("(hash) => { location.hash = hash; }", view)
        page.wait_for_timeout(100)
        page.screenshot(path=ARTEFACTS / f"{name}-{scheme}.png", full_page=True)
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
    assert page.complaints == []


def test_every_view_fits_a_phone(browser, file):
    page = opened_at(browser, file)
    page.set_viewport_size({"width": 390, "height": 800})
    for steps in (
        ("ranking",),
        ("find",),
        ("service", HOSTILE[4]),
        ("fails", "host", "h1"),
        ("targets",),
        ("blast",),
        ("label", "NEVER"),
    ):
        text_of(page, explorer.address(*steps))
        overflow = "document.documentElement.scrollWidth - innerWidth"
        assert page.evaluate(overflow) <= 0, steps


@pytest.mark.parametrize("width", [320, 1000])
def test_a_long_name_hides_no_column(browser, file, width):
    page = opened_at(browser, file)
    page.set_viewport_size({"width": width, "height": 800})
    for steps in (("fails", "host", "h2"), ("blast",)):
        text_of(page, explorer.address(*steps))
        while page.locator(".x-more").count():
            page.locator(".x-more").first.click()
        assert page.locator(".x-table a", has_text="n" * 60).count() > 0
        hidden = "(e) => e.scrollWidth - e.clientWidth"
        assert page.locator(".x-scroll").last.evaluate(hidden) <= 0, steps


def test_finding_leads_to_the_rows_behind_a_number(browser, file):
    page = opened_at(browser, file)
    page.get_by_role("link", name="Find").click()
    page.get_by_label("Find", exact=True).fill("Are any secrets baked into it?")
    first = page.locator(".x-table tbody a").first
    assert first.inner_text() == "G6"
    page.get_by_label("Find", exact=True).fill("what breaks if api fails")
    assert first.inner_text() == "api"
    page.get_by_label("Find", exact=True).fill("web")
    page.get_by_role("link", name="web", exact=True).first.click()
    page.get_by_role("link", name="config.no_secrets").first.click()
    check = next(
        check
        for check in assess.load_policy()["check"]
        if check["id"] == "config.no_secrets"
    )
    # the page shows a view after the address has changed
    for name in ("question", "why", "remedy"):
        page.locator(".x-body").get_by_text(check[name]).first.wait_for()
    page.go_back()
    page.locator(".x-body").get_by_text("Facts to find out").first.wait_for()


@pytest.fixture(scope="module")
def named(policy):
    """Elements whose names are longer in a snapshot than on a page."""
    tables = {
        "services": pd.DataFrame(
            {"service_id": ["orders", "orders-db"], "platform": ["docker", "host"]}
        ),
        "hosts": pd.DataFrame({"host_id": ["vm_1"], "az": "zone_a"}),
        "workloads": pd.DataFrame(
            {
                "workload_id": ["w1", "w2"],
                "service_id": ["orders", "orders-db"],
                "host_id": "vm_1",
                "state": "running",
                "image_ref": [f"docker.io/shop/orders@sha256:{'ab' * 32}", None],
            }
        ),
        "dependencies": pd.DataFrame(
            {
                "src_id": ["orders"],
                "dst_id": ["ext:mail.example"],
                "kind": ["call"],
                "evidence": ["a flow"],
            }
        ),
    }
    inventory = assess.from_frames(tables, snapshot_at="2026-09-30")
    return Assessment(inventory, policy)


def test_elements_have_the_names_of_the_report(browser, named, tmp_path):
    page = opened(
        browser, [named.what_next, named.readiness, named.blast_radius], tmp_path
    )
    elements = text_of(page, explorer.address("blast"))
    assert "outside mail.example\t" in elements
    assert "image shop/orders@abababab\t" in elements
    assert page.locator(".x-body").get_by_role("link", name="mail.example").count() == 1
    fails = text_of(page, explorer.address("fails", "ext", "ext:mail.example"))
    assert fails.startswith("When outside mail.example fails")
    move = text_of(page, explorer.address("service", "orders-db"))
    assert "It leaves host vm_1. It joins engine docker 29." in move
    assert page.complaints == []


def test_a_question_finds_a_short_word_within_a_name(browser, named, tmp_path):
    page = opened(
        browser, [named.what_next, named.readiness, named.blast_radius], tmp_path
    )
    text_of(page, explorer.address("find"))
    page.get_by_label("Find", exact=True).fill("what breaks if db is down")
    assert page.locator(".x-table tbody a").first.inner_text() == "orders-db"


@pytest.mark.parametrize(
    "typed", ["ordrs-db", "ordersdb", "oders-db", "odrers-db", "what if ordrs-db fails"]
)
def test_a_name_that_is_not_spelt_right_finds_the_nearest(
    browser, named, tmp_path, typed
):
    page = opened(
        browser, [named.what_next, named.readiness, named.blast_radius], tmp_path
    )
    text_of(page, explorer.address("find"))
    page.get_by_label("Find", exact=True).fill(typed)
    names = page.locator(".x-table tbody tr td:nth-child(2) a").all_inner_texts()
    assert names[0] == "orders-db"
    assert "No such name" in page.get_by_role("status").inner_text()
    page.get_by_label("Find", exact=True).fill("qqqqqq")
    assert page.locator(".x-table tbody a").count() == 0


def test_a_question_about_a_failure_leads_to_what_goes_down(browser, named, tmp_path):
    page = opened(
        browser, [named.what_next, named.readiness, named.blast_radius], tmp_path
    )
    text_of(page, explorer.address("find"))
    page.get_by_label("Find", exact=True).fill("what if orders-db fails")
    page.get_by_role("link", name="When it fails").first.click()
    # the view is drawn after the address has changed
    page.locator(".x-body", has_text="When service orders-db fails").wait_for()


def test_only_what_competes_has_a_rank(browser, named, tmp_path):
    path = tmp_path / "index.html"
    path.write_text(explorer.Explorer([named.what_next]).html, encoding="utf-8")
    page = opened_at(browser, path.as_uri())
    assert "Rank\n1 of 2" in text_of(page, "#explore/service/orders-db")
    assert "Rank\n–" in text_of(page, "#explore/service/orders")


def test_a_view_that_does_not_exist_says_so(browser, file):
    page = opened_at(
        browser, f"{file}#explore/service/no%zz such?weights=a&good=x/y&give=9"
    )
    assert "Nothing of that name" in page.locator(".x-body").inner_text()
    page.get_by_role("link", name="Find similar names").click()
    find = page.get_by_label("Find", exact=True)
    find.wait_for()
    assert find.input_value() == "no%zz%20such"
    for view in ("__proto__", "constructor", "fails/host", "target/web/none"):
        text_of(page, f"#explore/{view}")
    assert page.complaints == []


def test_a_page_of_its_own_is_printed_without_controls(browser, file):
    page = opened_at(browser, file)
    page.emulate_media(media="print")
    assert page.locator(".x-table").first.is_visible()
    assert not page.locator("#explore nav").first.is_visible()
    assert not page.locator("#explore button").first.is_visible()


def test_a_notebook_shows_a_frame_and_beside_it_a_table(scored):
    shown = scored.blast_radius.explore("host:h1", scored.what_next)._repr_html_()
    assert 'sandbox="allow-scripts" srcdoc="&lt;!doctype html&gt;' in shown
    assert "#explore/fails/host/h1" in shown
    # without scripts, and where a notebook is not trusted
    rest = shown.partition("</iframe>")[2]
    assert rest.startswith("<details>")
    assert "impact_<wbr>hi" in rest
    assert SCRIPT not in shown
    assert repr(scored.what_next.explore()).startswith("<Explorer of what next: 2026Q3")


def test_an_element_that_is_not_there_names_the_nearest(scored):
    with pytest.raises(AssessError) as error:
        scored.blast_radius.explore("host:h11")
    assert "host:h1" in error.value.hint
