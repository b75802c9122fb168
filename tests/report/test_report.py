import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import pandas as pd
import pytest
from fleets import HOSTILE, PLAIN, ROOT, SCRIPT, fleet

import assess
from assess.figures import BANDS
from assess.report import cards, render
from assess.report.explorer.data import payload
from assess.report.model import Column, Picture, Table, anchor, cell, slug
from assess.report.record import decision_record
from assess.score.assessment import Assessment
from assess.store import write_snapshot
from assess.untrusted import markdown_text

SECTIONS = [
    "decision",
    "changes",
    "ranking",
    "blast-radius",
    "upgrade-churn",
    "targets",
    "claims",
    "services",
    "unknowns",
    "coverage",
    "backtest",
    "method",
]


class Page(HTMLParser):
    """Elements of a page, as a browser would find them."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.stack, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.stack.append(tag)

    def handle_endtag(self, tag):
        assert tag in self.stack, f"</{tag}> closes nothing"
        while self.stack.pop() != tag:
            pass

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def test_two_processes_write_the_same_bytes():
    code = (
        "import hashlib, sys; sys.path.insert(0, 'tests/report'); import assess, conftest\n"
        "policy = assess.load_policy().replace(simulation={'draws': 200})\n"
        "names = [*conftest.HOSTILE[:2], *conftest.PLAIN]\n"
        "before = conftest.fleet(names[1:], at='2026-06-30')\n"
        "r = assess.build_report(conftest.fleet(names), policy, previous=before)\n"
        "told = r.to_html() + r.to_markdown() + repr(r.to_dict()) + r.decision_record('web')\n"
        "print(hashlib.sha256(told.encode()).hexdigest())"
    )
    both = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2")
    ]
    (first, _), (second, _) = (process.communicate() for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert first == second != ""


def test_the_page_asks_the_network_for_nothing(page, hostile):
    drawn = r'src="data:image/svg\+xml,[^"]*"'  # what a picture names is looked at below
    assert not re.search(r"https?://|//[a-z]+\.|@import|url\(", re.sub(drawn, "", page))
    parsed = Page(page)
    assert all(
        image["src"].startswith("data:image/svg+xml,") for image in parsed.all("img")
    )
    assert not parsed.all("link")
    assert all("src" not in script for script in parsed.all("script"))
    for picture in hostile.pictures():
        addresses = set(re.findall(r"https?://[^\s\"<]+", picture.drawn.svg))
        assert all(
            a.startswith(
                ("http://www.w3.org/", "http://purl.org/", "http://creativecommons.org/")
            )
            for a in addresses
        )


def test_only_the_pages_own_script_may_run(page):
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page
    assert "default-src 'none'" in page


def test_hostile_names_stay_text(page):
    parsed = Page(page)
    assert len(parsed.all("script")) == 1
    assert len(parsed.all("title")) == 1
    assert not any("onerror" in attributes for _, attributes in parsed.elements)
    assert SCRIPT in "".join(parsed.text)
    assert "\u202e" not in page
    assert "{{ 7 * 7 }}" in "".join(parsed.text)
    assert not any("etc/passwd" in a.get("href", "") for a in parsed.all("a"))


def test_the_page_is_accessible(page):
    parsed = Page(page)
    assert parsed.all("html")[0]["lang"] == "en"
    assert len(parsed.all("h1")) == 1
    assert all(len(image["alt"].split()) > 5 for image in parsed.all("img"))
    assert len(parsed.all("caption")) == len(parsed.all("table"))
    assert all(th["scope"] in ("col", "row") for th in parsed.all("th"))
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {a["href"].removeprefix("#") for a in parsed.all("a")}
    assert targets <= set(ids)
    assert {attributes.get("id") for attributes in parsed.all("section")} == set(SECTIONS)


def test_nothing_in_the_page_is_a_build_time(page):
    dates = set(re.findall(r"\b20\d\d-\d\d-\d\d\b", page))
    assert dates <= {"2026-09-30", "2026-06-30", assess.reference.compiled_on()}


def test_markdown_tables_have_as_many_cells_as_headings(hostile):
    told = hostile.to_markdown()
    width = 0
    for line in told.splitlines():
        bars = len(re.findall(r"(?<!\\)\|", line))
        if line.startswith("|"):
            width = width or bars
            assert bars == width, line
        else:
            assert bars == 0, line
            width = 0
    assert "<script" not in told
    assert told.count("\n# ") == 0
    assert told.startswith("# ")


def test_json_is_strict_and_holds_every_row_of_every_score(hostile):
    told = json.loads(json.dumps(hostile.to_dict(), allow_nan=False))
    assert [section["id"] for section in told["sections"]] == SECTIONS
    assert told["quarter"] == "2026Q3"
    assert told["previous_quarter"] == "2026Q2"
    scores = {"what-next", "readiness", "blast-radius", "upgrade-churn", "claims"}
    assert set(told["scores"]) == scores
    names = {row["service_id"] for row in told["scores"]["readiness"]}
    assert names == {*HOSTILE, *PLAIN}
    assert sum(told["labels"].values()) == len(names)


def test_saving_writes_the_twins_the_figures_and_a_record_of_every_service(
    hostile, tmp_path
):
    hostile.save(tmp_path)
    page = Page((tmp_path / "index.html").read_text("utf-8"))
    assert (tmp_path / "report.md").read_text("utf-8") == hostile.to_markdown()
    assert json.loads((tmp_path / "report.json").read_text("utf-8")) == hostile.to_dict()
    figures = {file.stem for file in (tmp_path / "figures").iterdir()}
    assert figures == {picture.id for picture in hostile.pictures()}
    named = set(re.findall(r"\(figures/([\w-]+)\.svg\)", hostile.to_markdown()))
    assert named == {
        picture.id for picture in hostile.pictures() if not picture.drawn.empty
    }
    records = {file.name for file in (tmp_path / "decisions").iterdir()}
    names = [slug(name) for name in [*HOSTILE, *PLAIN]]
    assert records == {f"{name}{end}" for name in names for end in (".md", ".html")}
    assert not (tmp_path.parent.parent / "etc").exists()
    links = [link["href"] for link in page.all("a") if not link["href"].startswith("#")]
    assert {f"decisions/{name}.html" for name in names} <= set(links)
    assert all((tmp_path / link).is_file() for link in links)
    record = Page((tmp_path / "decisions" / "web.html").read_text("utf-8"))
    back = [link["href"].partition("#") for link in record.all("a")]
    assert all((tmp_path / "decisions" / place).is_file() for place, _, _ in back)
    ids = {attributes.get("id") for _, attributes in page.elements}
    assert {anchor for _, _, anchor in back} <= {"", *ids}


def test_it_says_how_far_it_is(policy, tmp_path):
    told = []
    with assess.working(tell=lambda *part: told.append(part)):
        assess.build_report(fleet(["web", "db"]), policy).save(tmp_path)
    assert [part[1:] for part in told if part[0] == "report"] == [
        (n, 7) for n in range(1, 8)
    ]


def test_saving_again_keeps_what_a_person_wrote(hostile, tmp_path):
    hostile.save(tmp_path)
    file = tmp_path / "decisions" / "web.md"
    hint = "_Write here: accepted, rejected or superseded, by whom, and when._"
    written = file.read_text("utf-8").replace(hint, "Accepted by the board.")
    assert "Accepted" in written
    file.write_text(written, encoding="utf-8")
    hostile.save(tmp_path)
    assert file.read_text("utf-8") == written


def test_a_denied_source_and_absent_frames_are_in_front_of_the_reader(page):
    text = " ".join("".join(Page(page).text).split())
    assert "denied" in text
    assert "Not supplied at all, and so unknown:" in text
    assert "incidents" in text


def test_what_changed_names_the_new_and_the_gone(hostile):
    (changes,) = [s for s in hostile.sections if s.id == "changes"]
    (labels,) = [t for t in changes.of(Table) if t.id == "label-changes"]
    rows = labels.frame.set_index("service_id")
    assert rows.loc[SCRIPT, "before"] == "not there"
    assert rows.loc["gone", "after"] == "gone"


def test_one_quarter_alone_says_so(plain):
    assert "only one snapshot" in plain.to_html()
    assert "only one snapshot" in plain.to_markdown()
    assert plain.to_dict()["previous_quarter"] is None


@pytest.mark.parametrize(
    "tables",
    [
        {"services": pd.DataFrame({"service_id": []})},
        {"hosts": pd.DataFrame({"host_id": ["h1"]})},
        {"services": pd.DataFrame({"service_id": ["alone"]})},
    ],
    ids=["no services", "hosts only", "a service nobody knows"],
)
def test_a_fleet_of_which_little_is_known_gives_a_readable_page(policy, tables):
    inventory = assess.from_frames(tables, snapshot_at="2026-09-30")
    report = assess.build_report(inventory, policy, previous=inventory)
    parsed = Page(report.to_html())
    text = " ".join("".join(parsed.text).split())
    assert not re.search(r"\bnan\b|\bNone\b|<NA>|NaT", text)
    assert {attributes.get("id") for attributes in parsed.all("section")} == set(SECTIONS)
    assert len(report.headline.split()) > 3
    assert len(report.to_markdown()) > 500
    json.dumps(report.to_dict(), allow_nan=False)


def test_a_service_nobody_knows_is_not_decidable_and_never_zero(policy):
    services = pd.DataFrame({"service_id": ["alone"]})
    inventory = assess.from_frames({"services": services}, snapshot_at="2026-09-30")
    report = assess.build_report(inventory, policy)
    assert report.scores.what_next.frame.loc["alone", "label"] == "NOT DECIDABLE"
    assert "Move nothing" in report.headline
    page = report.to_html()
    assert "Not decidable, because a gate is unknown: 1 of 1 candidates" in page
    assert "no source read what services run on" in page


def test_names_that_look_like_nothing_are_names_everywhere(policy, tmp_path):
    names = ["NA", "NaN", "null"]
    write_snapshot(fleet(names), tmp_path / "2026Q3")
    report = assess.build_report(assess.load(tmp_path / "2026Q3"), policy)
    report.save(tmp_path / "out")
    stored = json.loads((tmp_path / "out/report.json").read_text("utf-8"))
    rows = stored["scores"]["what-next"]
    assert sorted(row["service_id"] for row in rows) == names
    listed = (tmp_path / "out/tables/ranking-table.csv").read_text("utf-8")
    shown = Page((tmp_path / "out/index.html").read_text("utf-8"))
    made = {tag["id"] for tag in shown.all("details") if tag.get("class") == "card"}
    explored = payload(report.scores.what_next, report.scores.readiness)
    assert sorted(explored["names"]) == names
    for name in names:
        assert f"\n{name}," in listed
        assert anchor(name) in made
        assert (tmp_path / "out/decisions" / f"{slug(name)}.md").is_file()


def test_a_card_says_which_label_a_fix_would_give_and_a_record_says_it_once(policy):
    scores = Assessment(assess.load("sample"), policy)
    rows = {
        row["service_id"]: row for row in scores.services.reset_index().to_dict("records")
    }
    flips = scores.what_next.details["flips"]
    assert {"NEVER", "FIX", "PREPARE"} <= {rows[s]["label"] for s in flips["service_id"]}
    for flip in flips.itertuples():
        card = cards.card(rows[flip.service_id], scores)
        said = f"With {' and '.join(flip.checks)} fixed, it is {flip.label}."
        assert said in [item.text for item in card.lists[""]]
        told = decision_record(flip.service_id, scores)
        assert told.count(f"({flip.checks[0]}") == 1
        assert f"- Leads to {flip.label}: " in told


def test_a_lone_service_is_no_element_and_no_call_is_not_an_answer(policy):
    services = pd.DataFrame({"service_id": ["alone"]})
    inventory = assess.from_frames({"services": services}, snapshot_at="2026-09-30")
    page = assess.build_report(inventory, policy).to_html()
    assert "names no element beside services" in page
    assert "answered in full" not in page
    assert "Cards of 1 service:" in page


def test_a_page_of_many_services_says_where_the_others_are(hostile, monkeypatch):
    monkeypatch.setattr(cards, "MOST", 3)
    section = cards.cards(hostile.scores)
    assert len(section.cards) == 3
    assert "tables/ranking-table.csv lists them all" in section.text[0]


def test_old_facts_are_said_to_be_old(policy, plain):
    report = assess.build_report(fleet(PLAIN, at="2027-09-30"), policy)
    said = "The reference facts date from"
    forms = (report.to_html(), report.to_markdown(), json.dumps(report.to_dict()))
    assert all(said in form for form in forms)
    service = report.scores.services.index[0]
    assert "more than 180 days before the snapshot" in report.decision_record(service)
    assert said not in plain.to_html()
    assert "180 days before" not in plain.decision_record(service)


def test_repr_has_neither_address_nor_page(hostile):
    assert repr(hostile).startswith("<Report 2026Q3: ")
    assert "0x" not in repr(hostile)
    assert SCRIPT not in hostile._repr_html_()
    assert len(hostile._repr_html_()) < 5000


@pytest.mark.parametrize(
    ("value", "column", "text"),
    [
        (0.425, Column("x", "", "share"), "42%"),
        (0.001, Column("x", "", "share"), "< 1%"),
        (0.0, Column("x", "", "share"), "0%"),
        (pd.NA, Column("x", "", "share"), "unknown"),
        # 100 * 1.225 is a little more than 122.5, which goes to the even number
        (1.225, Column("x", "", "number", scale=100), "122"),
        (float("nan"), Column("x", "", "number", absent="–"), "–"),
        (1234.56, Column("x", "", "number", 1), "1,235"),
        (-0.04, Column("x", "", "number", 1), "0.0"),
        (-3.21, Column("x", "", "number", 1, is_signed=True), "−3.2"),
        (3.21, Column("x", "", "number", 1, is_signed=True), "+3.2"),
        (pd.NaT, Column("x", ""), "unknown"),
    ],
)
def test_a_cell_says_its_value(value, column, text):
    assert cell({"x": value}, column).text == text


def test_an_interval_shows_its_ends_unless_they_are_the_same():
    column = Column("x", "", "interval", top=100)
    wide = cell({"x": 50.0, "x_lo": 20.0, "x_hi": 90.0}, column)
    assert (wide.text, wide.track) == ("50 (20 to 90)", (20, 90, 50))
    assert cell({"x": 50.0, "x_lo": 50.0, "x_hi": 50.0}, column).text == "50"
    open_ = cell({"x": pd.NA, "x_lo": 20.0, "x_hi": 90.0}, column)
    assert (open_.text, open_.sort) == ("20 to 90", "")
    assert cell({"x": pd.NA, "x_lo": pd.NA, "x_hi": pd.NA}, column).text == "unknown"


def test_slugs_are_safe_and_distinct():
    slugs = [slug(name) for name in [*HOSTILE, *PLAIN, "WEB", "we b", "", "..", "a..b"]]
    assert len(set(slugs)) == len(slugs)
    assert all(
        re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,79}", s) and ".." not in s for s in slugs
    )
    assert slug("billing-api") == "billing-api"


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("run `assess sources` first", "run <code>assess sources</code> first"),
        ("`a <b>` and `b`", "<code>a &lt;b&gt;</code> and <code>b</code>"),
        ("one ` alone, ``", "one ` alone, ``"),
        ("<code>`", "&lt;code&gt;`"),
    ],
)
def test_a_command_in_a_sentence_is_code(text, html):
    assert str(render.sentence(text)) == html


def test_markdown_keeps_text_text():
    assert markdown_text("a|b\n<c> *d* [e](f)") == r"a\|b &lt;c&gt; \*d\* \[e\](f)"


def test_pictures_tell_what_they_show(hostile):
    assert all(
        isinstance(p, Picture) and p.drawn.alt and p.caption for p in hostile.pictures()
    )
    assert [p.id for p in hostile.pictures()][:2] == ["quarter-change", "what-next"]


def test_the_style_sheet_draws_the_symbol_of_every_band(page):
    for band in BANDS.values():
        assert f'.badge.{band.word}::before {{ content: "{band.symbol} " / ""; }}' in page
