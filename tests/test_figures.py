import inspect
import io
import re
import subprocess
import sys
import warnings
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib import font_manager

from assess import figures, from_frames, load_policy, score_readiness
from assess.score.result import Provenance, Result

POLICY = load_policy()
K = 7  # of a ranking; the policy says 5
RESULT_FIGURES = {
    "readiness": "readiness",
    "what_next": "what_next",
    "acceptability": "what_next",
    "blast_radius": "blast",
    "blast_services": "blast",
    "exposure": "blast",
    "upgrade_churn": "churn",
    "clocks": "churn",
}


def inventory(quarter="2026-09-30"):
    calls = {
        "run_id": "r",
        "source": ["docker", "docker", "ecr", "kubernetes"],
        "scope": ["h1", "h2", "repo", "cluster"],
        "call": "list",
        "status": ["ok", "denied", "partial", "not_configured"],
    }
    tables = {
        "services": pd.DataFrame({"service_id": ["a"]}),
        "coverage": pd.DataFrame(calls),
    }
    return from_frames(tables, snapshot_at=quarter)


def result(name, frame, details=None, at="2026-09-30"):
    made = type(name, (Result,), {"name": name, "k": K})
    return made(
        frame, pd.DataFrame(), Provenance.of(inventory(at), POLICY), details or {}
    )


def by_service(columns, names):
    frame = pd.DataFrame(columns, index=pd.Index(names, name="service_id"))
    return frame.convert_dtypes()


@pytest.fixture
def readiness():
    names = ["apt", "bare", "core", "dark", "edge"]
    columns = {
        "readiness": [80.0, 55.0, 90.0, None, 70.0],
        "readiness_lo": [70.0, 40.0, 85.0, None, 30.0],
        "readiness_hi": [90.0, 70.0, 95.0, None, 95.0],
        "label_gates": [None, None, "NEVER", "NOT DECIDABLE", None],
    }
    return result("readiness", by_service(columns, names))


@pytest.fixture
def blast():
    index = pd.MultiIndex.from_tuples(
        [
            ("az", "east-1"),
            ("host", "h1"),
            ("image", "web@sha256:" + "ab" * 32),
            ("registry", "r"),
        ],
        names=["element_kind", "element"],
    )
    frame = pd.DataFrame(
        {
            "impact": pd.array([0.3, 0.5, None, 0.0], dtype="Float64"),
            "impact_lo": [0.2, 0.5, 0.1, 0.0],
            "impact_hi": [0.4, 0.5, 0.9, 0.0],
            "services_down_n": [3, 4, 2, 0],
            "frozen_n": [0, 0, 0, 5],
        },
        index=index,
    )
    columns = {
        "impact": [0.1, 0.6, 0.2],
        "impact_lo": [0.1, 0.5, 0.2],
        "impact_hi": [0.1, 0.7, 0.9],
        "exposure_n": [4.0, None, 0.0],
        "exposure_hi": [6.0, 9.0, 0.0],
        "dependencies_observed": [True, True, False],
    }
    return result(
        "blast_radius", frame, {"services": by_service(columns, ["apt", "bare", "core"])}
    )


@pytest.fixture
def churn():
    columns = {
        "hours_per_year": [4.0, 12.0, None],
        "hours_per_year_lo": [2.0, 8.0, None],
        "hours_per_year_hi": [9.0, 20.0, None],
        "breaking_n": [0.0, 2.0, None],
    }
    clocks = pd.DataFrame(
        [
            ("apt", "engine", "docker", "20.10.24", -700),
            ("bare", "engine", "docker", "20.10.24", -700),
            ("bare", "os", "debian", "12", 600),
            ("core", "engine", "docker", "99.1", pd.NA),
            ("core", "os", pd.NA, pd.NA, pd.NA),
        ],
        columns=["service_id", "component", "name", "version", "days_to_eol"],
    ).astype({"days_to_eol": "Int64"})
    return result(
        "upgrade_churn", by_service(columns, ["apt", "bare", "core"]), {"clocks": clocks}
    )


@pytest.fixture
def what_next():
    columns = {
        "label": ["MOVE NOW", "PILOT", "NOT DECIDABLE", "KEEP"],
        "p_top": [0.83, 0.4, 0.0, None],
        "p_top_neutral": [0.9, 0.6, 0.7, None],
        "p_top_cleared": [0.83, 0.4, 0.3, None],
    }
    names, shares = ["apt", "apt", "zeal", "zeal"], [0.25, 0.75, 0.75, 0.25]
    ranks = pd.DataFrame({"service_id": names, "rank": [1, 2] * 2, "probability": shares})
    frame = by_service(columns, ["zeal", "apt", "core", "edge"])
    return result("what_next", frame, {"acceptability": ranks})


@pytest.fixture(autouse=True)
def closed():
    before = plt.get_fignums()
    yield
    for number in set(plt.get_fignums()) - set(before):
        plt.close(number)


def rows(ax):
    """Read the drawn points back: row label, kind of point, value."""
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    found = []
    for marks in ax.collections:
        kind = str(marks.get_gid() or "")
        if kind.startswith("points"):
            for x, y in np.asarray(marks.get_offsets()):
                if np.isfinite(x):
                    found.append(
                        (names[round(y)], kind.removeprefix("points").strip(), x)
                    )
    return sorted(found)


def notes(ax):
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    return {
        names[round(t.xy[1])]: t.get_text()
        for t in ax.texts
        if getattr(t, "xy", (0, 0))[0] == 1.015
    }


def test_readiness_puts_each_value_in_the_row_of_its_service(readiness):
    ax = figures.readiness(readiness)
    drawn = rows(ax)
    expected = readiness.frame["readiness"].dropna().to_dict()
    assert {name: x for name, _, x in drawn} == expected
    assert {name: kind for name, kind, _ in drawn} == {
        "apt": "ready",
        "bare": "conditional",
        "core": "blocked",
        "edge": "conditional",
    }


def test_readiness_says_bands_in_words_too(readiness):
    assert notes(figures.readiness(readiness)) == {
        "core": "gate: NEVER",
        "apt": "ready",
        "bare": "conditional",
        "edge": "conditional",
        "dark": "gate: NOT DECIDABLE",
    }


def test_readiness_draws_the_interval_and_the_bar_of_the_policy(readiness):
    ax = figures.readiness(readiness)
    segments = [s for c in ax.collections if not c.get_gid() for s in c.get_segments()]
    ends = sorted((round(s[0][0]), round(s[1][0])) for s in segments)
    assert ends == [(30, 95), (40, 70), (70, 90), (85, 95)]
    assert [line.get_xdata()[0] for line in ax.lines] == [
        POLICY["what_next"]["ready_points"]
    ]
    assert "60" in [t.get_text() for t in ax.texts]


def test_an_unknown_service_is_drawn_as_unknown_and_not_at_zero(readiness):
    ax = figures.readiness(readiness)
    assert "dark" not in [name for name, _, _ in rows(ax)]
    assert "unknown" in [t.get_text() for t in ax.texts]
    assert [patch.get_hatch() for patch in ax.patches] == ["////"]


def test_a_wide_interval_never_leads(readiness):
    assert figures.readiness_data(readiness)["service_id"].tolist() == [
        "core",
        "apt",
        "bare",
        "edge",
        "dark",
    ]


def test_readiness_of_some_services_only(readiness):
    ax = figures.readiness(readiness, services=["edge", "apt"])
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["apt", "edge"]


def test_blast_radius_is_in_percent_worst_first_and_unknown_counts_as_its_upper_end(
    blast,
):
    data = figures.blast_radius_data(blast)
    assert data["label"].tolist() == [
        "image web@abababab",
        "host h1",
        "zone east-1",
        "registry r",
    ]
    ax = figures.blast_radius(blast)
    assert rows(ax) == [
        ("host h1", "", 50.0),
        ("registry r", "", 0.0),
        ("zone east-1", "", 30.0),
    ]
    assert notes(ax)["registry r"] == "5 frozen"
    assert "% of fleet criticality" in ax.get_xlabel()


def test_blast_radius_of_some_kinds_only(blast):
    ax = figures.blast_radius(blast, kinds=["host"])
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["host h1"]


def test_a_service_whose_dependencies_were_never_observed_is_hollow(blast):
    assert rows(figures.blast_services(blast)) == [
        ("apt", "", 10.0),
        ("bare", "", 60.0),
        ("core", "unknown", 20.0),
    ]


def test_exposure_puts_the_unknown_first_and_zero_last(blast):
    ax = figures.exposure(blast)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["bare", "apt", "core"]
    assert rows(ax) == [("apt", "", 4.0), ("core", "", 0.0)]
    bars = figures.exposure_data(blast).set_index("service_id")[["lo", "hi"]]
    assert bars.T.to_dict("list") == {"bare": [0, 9], "apt": [4, 6], "core": [0, 0]}


def test_many_unknown_exposures_do_not_hide_what_is_known(blast):
    known = pd.array([*[None] * 40, 3], dtype="Int64")
    both = {"exposure_n": known, "exposure_hi": 9}
    services = pd.DataFrame(both, index=[f"s{n:02}" for n in range(41)])
    ax = figures.exposure(replace(blast, details={**blast.details, "services": services}))
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    assert names[:7] == ["s00", "s01", "s02", "s03", "s04", "s40", "s05"]
    assert "40 unknown" in ax.get_xlabel()


def test_upgrade_churn_shows_hours_with_their_interval(churn):
    ax = figures.upgrade_churn(churn)
    assert rows(ax) == [("apt", "", 4.0), ("bare", "", 12.0)]
    assert "hours per year, 90% interval" in ax.get_xlabel()
    assert notes(ax)["bare"] == "2 breaking"


def test_clocks_gather_equal_components_and_never_call_an_unknown_end_supported(churn):
    ax = figures.clocks(churn)
    assert notes(ax) == {
        "engine docker 99.1": "no end known · 1 service",
        "engine docker 20.10.24": "past · 2 services",
        "os debian 12": "supported · 1 service",
        "os unknown": "no end known · 1 service",
    }
    ax.figure.draw_without_rendering()
    (zero,) = (text for text in ax.texts if text.get_text() == "0")
    title = ax._left_title.get_window_extent()
    assert zero.get_window_extent().y1 <= title.y0
    assert rows(ax) == [
        ("engine docker 20.10.24", "blocked", -700.0),
        ("os debian 12", "ready", 600.0),
    ]


def test_acceptability_shows_each_share_at_its_rank_in_the_order_of_the_ranking(
    what_next,
):
    ax = figures.acceptability(what_next)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["zeal", "apt"]
    cells = {text.get_position(): text.get_text() for text in ax.texts}
    assert cells == {(1, 0): "75", (2, 0): "25", (1, 1): "25", (2, 1): "75"}
    assert np.ravel(ax.collections[0].get_array()).tolist() == [75, 25, 25, 75]
    # of a service with a chance below what is coloured, a row would be blank
    what_next.details["acceptability"].loc[2:, "probability"] = 0.004
    ax = figures.acceptability(what_next)
    labels = [tick.get_text() for tick in ax.get_yticklabels()]
    assert labels == ["apt", "and 1 more"]
    what_next.details["acceptability"] = what_next.details["acceptability"].iloc[:0]
    assert "No service competes" in figures.acceptability(what_next).texts[0].get_text()
    # which a fleet of no service must not deny
    nobody = replace(what_next, frame=what_next.frame.iloc[:0])
    text = figures.what_next(nobody).texts[0].get_text()
    assert text == "No service competes: none is outside of containers."


def test_what_next_keeps_the_order_of_the_ranking_and_leaves_out_what_does_not_compete(
    what_next,
):
    ax = figures.what_next(what_next)
    # in a large fleet k is a share of the candidates, not the number of the policy
    assert ax.get_title(loc="left") == f"How often in the top {K}"
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["zeal", "apt", "core"]
    worst = {name: x for name, kind, x in rows(ax) if kind == "worst"}
    neutral = {name: x for name, kind, x in rows(ax) if kind == "neutral"}
    assert worst == pytest.approx({"zeal": 83, "apt": 40, "core": 0})
    assert neutral == pytest.approx({"zeal": 90, "apt": 60, "core": 70})
    # only what its own gates keep out has a place to come to
    assert {name: x for name, kind, x in rows(ax) if kind == "cleared"} == {"core": 30}
    assert notes(ax)["core"] == "◇ NOT DECIDABLE"


def test_what_next_clears_no_service_that_never_moves(what_next):
    what_next.frame["label"] = what_next.frame["label"].replace(
        {"NOT DECIDABLE": "NEVER"}
    )
    kinds = {kind for _, kind, _ in rows(figures.what_next(what_next))}
    assert kinds == {"worst", "neutral"}


def test_coverage_counts_calls_by_outcome_and_an_unasked_source_is_not_seen():
    data = figures.coverage_data(inventory())
    assert data.loc["docker"].to_dict() == {
        "seen": 1,
        "in part": 0,
        "not seen": 1,
        "not asked": 0,
    }
    assert data.loc["kubernetes", "not asked"] == 1
    ax = figures.coverage(inventory())
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    widths = {
        (names[round(bar.get_y() + bar.get_height() / 2)], kind): bar.get_width()
        for kind, bars in zip(data.columns, ax.containers, strict=True)
        for bar in bars
    }
    assert widths["docker", "seen"] == widths["docker", "not seen"] == 50
    assert widths["ecr", "in part"] == 100
    assert "%" in ax.get_xlabel()


def test_one_call_of_one_service_is_singular():
    calls = inventory()["coverage"].head(1)
    known = inventory().replace(coverage=calls)
    assert figures.coverage(known).get_xlabel().endswith("n = 1 call")
    labels = pd.DataFrame({"2026Q3": ["KEEP"]}, index=["a"])
    assert figures.history(labels).get_xlabel().endswith("n = 1 service in 1 quarter")


def test_quarter_change_tells_new_gone_moved_and_same(readiness):
    before = by_service(
        {
            "readiness": [70.0, 55.0, 95.0, 20.0],
            "readiness_lo": 0.0,
            "readiness_hi": 100.0,
            "label_gates": None,
        },
        ["apt", "bare", "core", "old"],
    )
    earlier = result("readiness", before, at="2026-06-30")
    data = figures.quarter_change_data(readiness, earlier).set_index("service_id")
    assert data["state"].to_dict() == {
        "apt": "up",
        "bare": "same",
        "core": "down",
        "dark": "new",
        "edge": "new",
        "old": "gone",
    }
    ax = figures.quarter_change(readiness, earlier)
    assert ("apt", "before", 70.0) in rows(ax)
    assert ("apt", "after", 80.0) in rows(ax)
    assert notes(ax)["core"] == "−5.0"
    assert "2026Q2 to 2026Q3" in ax.get_title(loc="left")
    assert "1 unchanged" in ax.get_xlabel()


def drawers(request):
    for name, fixture in RESULT_FIGURES.items():
        yield name, request.getfixturevalue(fixture)
    yield "coverage", inventory()


def test_figures_draw_where_they_are_told_and_leak_none(request):
    figure, axes = plt.subplots(3, 3)
    before = plt.get_fignums()
    settings = plt.rcParams.copy()
    for (name, shown), ax in zip(drawers(request), axes.flat, strict=True):
        assert getattr(figures, name)(shown, ax=ax) is ax
        assert ax.get_xlabel(), name
    assert plt.get_fignums() == before
    assert plt.rcParams == settings
    plt.close(figure)


def test_every_axis_names_its_unit_and_how_many(request):
    units = ("points", "%", "hours", "days", "count")
    for name, shown in drawers(request):
        label = getattr(figures, name)(shown).get_xlabel()
        assert any(unit in label for unit in units), name
        assert "n = " in label, name


def test_every_figure_says_readably_that_there_is_nothing(request):
    for name, shown in drawers(request):
        if isinstance(shown, Result):
            details = {key: table.head(0) for key, table in shown.details.items()}
            bare = result(shown.name, shown.frame.head(0), details)
        else:
            bare = from_frames(
                {"services": pd.DataFrame({"service_id": []})}, snapshot_at="2026"
            )
        ax = getattr(figures, name)(bare)
        (text,) = [t.get_text() for t in ax.texts]
        assert len(text.split()) > 4, name
        assert text in figures.describe(ax)


def test_more_than_25_rows_are_counted(readiness):
    names = [f"s{number:02d}" for number in range(40)]
    columns = {
        "readiness": np.arange(40.0),
        "readiness_lo": np.arange(40.0),
        "readiness_hi": np.arange(40.0),
        "label_gates": None,
    }
    ax = figures.readiness(result("readiness", by_service(columns, names)))
    labels = [tick.get_text() for tick in ax.get_yticklabels()]
    assert labels[-1] == "and 15 more"
    assert len(labels) == 26
    assert labels[0] == "s39"
    assert "n = 40 services" in ax.get_xlabel()
    assert ": 25 rows, s39 to s15, and 15 more; " in figures.describe(ax)


def test_svg_is_the_same_twice_and_carries_hostile_names_as_text(readiness):
    names = [
        "<script>alert(1)</script>",
        "a\nb\x00\u202ec",
        "$x^2$",
        "x" * 300,
        "naïve 😀",
    ]
    hostile = result(
        "readiness", readiness.frame.set_axis(pd.Index(names, name="service_id"))
    )
    first, second = (figures.svg(figures.readiness(hostile)) for _ in range(2))
    assert first == second
    assert "<script>" not in first
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in first
    assert "a b c" in first
    assert "$x^2$" in first
    assert "x" * 40 not in first
    assert "😀" in first
    assert "prefers-color-scheme:dark" in first
    assert "dc:date" not in first


def test_a_title_beside_long_names_ends_within_the_figure(readiness):
    names = pd.Index([letter * 40 for letter in "abcde"], name="service_id")
    ax = figures.readiness(result("readiness", readiness.frame.set_axis(names)))
    ax.set_title(" ".join(["word"] * 40), loc="left")
    drawn = figures.svg(ax)
    lines = re.findall(r"<text[^>]*>(word[word ]*)", drawn)
    assert len(lines) > 1
    assert " ".join(lines).split() == ["word"] * 40


def test_svg_closes_its_figure(readiness):
    before = plt.get_fignums()
    figures.svg(figures.readiness(readiness))
    assert plt.get_fignums() == before


def test_describe_is_one_sentence_with_topic_measure_and_range(readiness):
    told = figures.describe(figures.readiness(readiness))
    assert told.startswith(
        "Readiness per service: 5 rows, core to dark; Readiness (0–100 points"
    )
    assert told.endswith("points from 55 to 90.")


def test_a_description_counts_one_row_and_writes_numbers_out():
    _, ax = plt.subplots()
    ax.set_title("Clocks", loc="left")
    ax.set_yticks([0], ["linux"])
    ax.set_xlabel("days")
    ax.scatter([-3542.0, 1000.0], [0, 0], gid="points")
    told = figures.describe(ax)
    assert told == "Clocks: 1 row, linux; days, points from -3,540 to 1,000."
    plt.close(ax.figure)


@pytest.mark.parametrize("name", [*RESULT_FIGURES, "coverage", "quarter_change"])
def test_signatures_are_plain(name):
    parameters = inspect.signature(getattr(figures, name)).parameters.values()
    assert all(p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in parameters)
    assert (
        inspect.signature(getattr(figures, name)).parameters["ax"].kind.name
        == "KEYWORD_ONLY"
    )
    document = inspect.getdoc(getattr(figures, name))
    assert all(p.name in document for p in parameters)


def test_notebook_style_is_the_only_call_that_sets_anything():
    with (
        plt.rc_context(),
        pd.option_context("display.precision", 6, "display.max_rows", 60),
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        figures.notebook_style()
        # names in any script, and no warnings in a notebook
        plt.figure().text(0.5, 0.5, "\u65e5\u672c")
        plt.gcf().canvas.draw()
        assert caught == []
        assert plt.rcParams["figure.dpi"] == 72
        assert pd.get_option("display.precision") == 2
        assert pd.get_option("display.max_rows") == 20
        assert pd.get_option("display.max_colwidth") == 40
        pd.reset_option("display.max_colwidth")


NOTEBOOK = """
import pandas as pd
from IPython.core.interactiveshell import InteractiveShell
from assess import notebook_style
shown = InteractiveShell.instance().display_formatter.formatters["text/plain"]
plain = pd.DataFrame({"name": ["web", "api"], "n": [1, 2]})
tables = [plain, plain["name"], plain.columns, [plain, plain]]
before = [shown(table) for table in tables]
notebook_style()
html = InteractiveShell.instance().display_formatter.formatters["text/html"]
assert html("a < b\\nand c") == "<p>a &lt; b</p><p>and c</p>"
assert [shown(table) for table in tables] == before
hostile = pd.DataFrame({"name": ["\\x1b[2J\\u202egone"]})
for table in (hostile, hostile["name"], hostile.set_index("name").index, [hostile]):
    assert not {"\\x1b", "\\u202e"} & set(shown(table))
"""


def test_a_notebook_prints_tables_as_pandas_does_but_no_control_characters():
    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("label", "word"),
    [
        ("MOVE NOW", "ready"),
        ("FIX", "conditional"),
        ("HOLD", "blocked"),
        (pd.NA, "unknown"),
        ("?", "unknown"),
    ],
)
def test_a_label_nobody_knows_is_unknown(label, word):
    assert figures.band_of(label).word == word


def test_one_candidate_is_one(what_next):
    one = replace(what_next, frame=what_next.frame.head(1))
    assert "n = 1 candidate\n" in figures.what_next(one).get_xlabel()


def drawn_with(fonts, monkeypatch, name):
    """Draw a service of a name with fonts; return the figure, its warnings and its SVG."""
    styles = sys.modules["assess.figures.style"]
    settings = {**styles._settings(), "font.family": fonts}
    monkeypatch.setattr(styles, "_settings", lambda: settings)
    services = pd.DataFrame({"service_id": [name], "platform": ["host"]})
    inventory = from_frames({"services": services}, snapshot_at="2026-09-30")
    ax = score_readiness(inventory, POLICY).plot()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        ax.figure.savefig(io.BytesIO(), format="png")
    missing = [w for w in told if "Glyph" in str(w.message)]
    return missing, figures.svg(ax)


def test_what_the_first_font_lacks_another_one_draws(monkeypatch):
    name = "\u02ef"  # is in the serifs alone
    missing, plain = drawn_with(["DejaVu Sans"], monkeypatch, name)
    assert missing
    missing, both = drawn_with(["DejaVu Sans", "DejaVu Serif"], monkeypatch, name)
    assert not missing
    assert "DejaVu Serif" not in plain + both


def test_only_fonts_of_this_machine_are_asked_for(monkeypatch):
    here = [*font_manager.get_font_names(), "Noto Sans CJK SC"]
    monkeypatch.setattr(font_manager, "get_font_names", lambda: here)
    fonts = sys.modules["assess.figures.style"]._settings.__wrapped__()["font.family"]
    assert fonts[:2] == ["DejaVu Sans", "Noto Sans CJK SC"]
    assert {*fonts} <= {*here}
