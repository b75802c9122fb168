"""Who falls with an element, as a tree, and what a move changes."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

import assess
from assess import figures
from assess.figures.style import ROWS_SHOWN
from assess.score.result import Result

POLICY = assess.load_policy()
DEPENDENCIES = {
    "src_id": ["shop", "cart", "ads", "search"],
    "dst_id": ["cart", "db", "shop", "db"],
    "kind": ["call", "data", "cache", "cache"],
    "p": [1.0, 1.0, None, None],
    "evidence": "declared",
}


@pytest.fixture(scope="module")
def blast():
    services = ["ads", "cart", "db", "idle", "search", "shop"]
    frames = {
        "services": pd.DataFrame({"service_id": services, "criticality": 1.0}),
        "dependencies": pd.DataFrame(DEPENDENCIES),
    }
    inventory = assess.from_frames(frames, snapshot_at="2026-09-30")
    return assess.score_blast_radius(inventory, POLICY)


def test_each_service_stands_below_the_one_it_falls_with(blast):
    table = figures.fall_data(blast, "service", "db")
    rows = table[["service_id", "because", "step"]].itertuples(index=False, name=None)
    assert list(rows) == [
        ("cart", "db", 1),
        ("shop", "cart", 2),
        ("ads", "shop", 3),
        ("search", "db", 1),
    ]
    assert table.set_index("service_id")["p_down"].to_dict() == pytest.approx(
        {"cart": 1.0, "shop": 1.0, "ads": 0.3, "search": 0.3}
    )


def test_the_drawing_says_the_same(blast):
    table = figures.fall_data(blast, "service", "db")
    ax = figures.fall(blast, "service", "db")
    words = [text.get_text() for text in ax.texts]
    assert [word for word in words if word in set(table["service_id"])] == list(
        table["service_id"]
    )
    steps, rows = ax.collections[0].get_offsets().T
    assert list(steps) == list(table["step"])
    assert list(rows) == [0, 1, 2, 3]
    dotted = [line for line in ax.lines if line.get_linestyle() == ":"]
    # to ads from shop, a corner of two, and to search from the failure
    assert len(dotted) == 3
    assert "n = 4 of 4" in ax.get_xlabel()
    plt.close(ax.figure)


def test_what_fells_nothing_says_so(blast):
    ax = figures.fall(blast, "service", "idle")
    # its callers may be unseen
    told = "No other service is known to go down with it."
    assert [text.get_text() for text in ax.texts] == [told]
    plt.close(ax.figure)


def test_a_zone_has_the_name_of_the_tables_and_a_possible_fall_is_dotted():
    frames = {
        "services": pd.DataFrame({"service_id": ["here", "maybe"]}),
        "hosts": pd.DataFrame({"host_id": ["h"], "az": ["z1"]}),
        "workloads": pd.DataFrame(
            {
                "workload_id": ["w1", "w2"],
                "service_id": ["here", "maybe"],
                "host_id": ["h", None],
                "state": "running",
            }
        ),
    }
    inventory = assess.from_frames(frames, snapshot_at="2026-09-30")
    ax = figures.fall(assess.score_blast_radius(inventory, POLICY), "az", "z1")
    assert ax.get_title(loc="left") == "Services down with zone z1"
    notes = [text.get_text() for text in ax.texts]
    dotted = [line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == ":"]
    rows = [note for note in notes if "%" in note]
    assert rows == ["100%", "0% (0 to 100)"]
    assert dotted == [1]
    plt.close(ax.figure)


def test_a_change_has_the_digits_of_the_tables_and_an_unknown_one_its_word():
    services = pd.DataFrame(
        {
            "delta": pd.array([-0.262, 0.0438, None], "Float64"),
            "delta_lo": pd.array([-0.4, 0.02, -0.5], "Float64"),
            "delta_hi": pd.array([0.1, 0.05, 1.0], "Float64"),
        },
        pd.Index(["a", "b", "c"], name="service_id"),
    )
    result = Result("blast_radius", services, None, details={"services": services})
    ax = figures.moves(result)
    assert [text.get_text() for text in ax.texts if text.get_text() != "0"] == [
        "−26",
        "+4.4",
        "unknown",
    ]
    plt.close(ax.figure)


def test_a_cycle_is_a_tree_once():
    links = {"src_id": ["a", "b", "c"], "dst_id": ["b", "c", "a"], "kind": "call"}
    frames = {
        "services": pd.DataFrame({"service_id": ["a", "b", "c"]}),
        "dependencies": pd.DataFrame({**links, "evidence": "declared"}),
    }
    found = assess.score_blast_radius(
        assess.from_frames(frames, snapshot_at="2026-09-30"), POLICY
    )
    table = figures.fall_data(found, "service", "a")
    assert list(table["service_id"]) == ["c", "b"]


def test_moves_stand_by_the_size_of_their_change():
    inventory = assess.load("data/sample/2026Q3")
    found = assess.score_blast_radius(inventory, POLICY)
    table = figures.moves_data(found)
    assert table["point"].dropna().abs().is_monotonic_decreasing
    delta = found.services["delta"].astype("float64")
    assert table.dropna().set_index("service_id")["point"].to_dict() == pytest.approx(
        (100 * delta).dropna().to_dict(), abs=1e-9
    )


def test_hosts_that_nobody_looked_into_do_not_hide_the_others():
    hosts = [("host", f"h{n:02}") for n in range(60)]
    impact = pd.array([pd.NA] * 40 + [0.5] * 20, "Float64")
    ends = dict.fromkeys(("impact", "impact_lo", "impact_hi"), impact)
    index = pd.MultiIndex.from_tuples(hosts, names=["element_kind", "element"])
    frame = pd.DataFrame({**ends, "services_down_n": 1, "frozen_n": 0}, index)
    shown = figures.blast_radius_data(Result(frame, frame, None)).head(ROWS_SHOWN)
    assert shown["point"].isna().sum() == 5
