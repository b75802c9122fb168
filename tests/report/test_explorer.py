"""The explorer in a real browser: the same numbers as the command line, and every view by address."""

import numpy as np
import pandas as pd
import pytest
from browsers import chromium
from fleets import HOSTILE, SCRIPT

from assess.policy.policy import load_policy
from assess.report import explorer
from assess.score.result import Provenance
from assess.score.what_next import WhatNext
from assess.score.what_next.labels import LABELS
from assess.words import share

CRITERIA = (
    "readiness",
    "containment",
    "low_blast_radius",
    "low_churn",
    "pain_today",
    "low_effort",
)
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
    ranking = explorer_ranking(frame, criteria, policy)
    chances, _ = ranking.all_weightings()
    frame = frame.join(chances)
    frame["label"] = ranking.labels(frame["p_top"].reindex(ranking.services))
    return WhatNext(frame, pd.DataFrame(), origin, {"criteria": criteria})


def explorer_ranking(frame, criteria, policy):
    from assess.score.what_next.ranking import Ranking

    return Ranking.of(frame, criteria, policy)


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
    ranking = explorer_ranking(result.frame, result.details["criteria"], policy)
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


def test_names_are_only_ever_text(browser, tmp_path):
    names = sorted([*HOSTILE, "NaN", "null", "a/b?c=d&e#f%20", "__proto__"])
    page = opened(browser, [invented(len(names), 5, names)], tmp_path)
    assert len(printed(page)) == len(names)
    assert page.evaluate("document.querySelectorAll('script').length") == 1
    assert page.locator("td", has_text=SCRIPT).count() == 1
    assert page.complaints == []
    overflow = "document.documentElement.scrollWidth - innerWidth"
    assert page.evaluate(overflow) <= 0
