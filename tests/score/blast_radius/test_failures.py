"""What failures took down against what was predicted, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from assess.inventory import from_frames
from assess.policy import load_policy
from assess.score import validation
from assess.score.blast_radius import failures as observed
from assess.score.blast_radius.blast_radius import score_blast_radius
from assess.score.blast_radius.failures import Past
from assess.score.blast_radius.learning import Failures
from assess.score.blast_radius.propagation import Impact
from assess.score.blast_radius.topology import build_topology
from assess.score.incidents import exposure
from assess.score.validation import skill
from assess.score.validation.skill import Judged

AT = "2026-09-30"
INCIDENTS = [
    {"incident_id": "i1", "service_id": "b", "affected_services": "c", "cause": "app"},
    {
        "incident_id": "i2",
        "service_id": "a",
        "affected_services": "a;b",
        "cause": "kernel",
        "host_id": "h",
    },
    # nobody says what it touched
    {"incident_id": "i3", "service_id": "a", "cause": "app"},
]
TRIALS = [
    {
        "experiment_id": "e1",
        "element_kind": "service",
        "element": "a",
        "affected_services": "b",
        "observed_services": "b;c",
    },
    {
        "experiment_id": "e2",
        "element_kind": "host",
        "element": "gone",
        "affected_services": "a",
    },
    # planned for the day after: nobody has seen what it spares
    {
        "experiment_id": "e3",
        "element_kind": "service",
        "element": "a",
        "started_at": "2026-10-01",
        "observed_services": "b;c",
    },
]


@pytest.fixture
def inventory():
    frames = {
        "services": [
            {"service_id": s, "criticality": c}
            for s, c in zip("abcd", [1, 2, 5, 2.0], strict=True)
        ],
        "dependencies": [
            {"src_id": s, "dst_id": d, "kind": "call", "evidence": "e", "p": p}
            for s, d, p in [("b", "a", 1.0), ("c", "b", 0.5)]
        ],
        "hosts": [{"host_id": "h"}],
        "workloads": [
            {"workload_id": "w", "service_id": "a", "host_id": "h", "state": "running"}
        ],
        "incidents": [{"opened_at": AT, **row} for row in INCIDENTS],
        "experiments": [{"started_at": AT, **row} for row in TRIALS],
    }
    return from_frames({k: pd.DataFrame(v) for k, v in frames.items()}, snapshot_at=AT)


@pytest.fixture
def fleet(inventory):
    return build_topology(inventory, load_policy())


@pytest.fixture
def failures(inventory, fleet):
    return observed.observed_failures(inventory, fleet, load_policy())[0]


def names(fleet, flags):
    return "".join(fleet.services[flags])


@pytest.mark.parametrize(
    ("cause", "host", "element"),
    [
        ("kernel", "h", ("host", "h")),
        ("kernel", None, ("service", "a")),
        ("app", "h", ("service", "a")),
        (None, "h", ("service", "a")),
    ],
)
def test_an_incident_is_of_a_host_that_is_named_and_at_fault(cause, host, element):
    row = {"incident_id": "i", "service_id": "a", "opened_at": AT, "cause": cause}
    row |= {"host_id": host, "affected_services": "a;b"}
    frames = {
        "services": [{"service_id": name} for name in "ab"],
        "incidents": [row],
        "hosts": [{"host_id": "h"}],
    }
    made = {name: pd.DataFrame(rows) for name, rows in frames.items()}
    (event,) = observed.events(from_frames(made, snapshot_at=AT)).itertuples()
    assert (event.element_kind, event.element) == element
    assert event.affected_services == "a;b;a"


def test_a_failure_is_of_the_host_where_its_cause_is(inventory):
    table = observed.events(inventory).set_index("event_id")
    assert table.loc["i1", ["element_kind", "element"]].tolist() == ["service", "b"]
    assert table.loc["i2", ["element_kind", "element"]].tolist() == ["host", "h"]
    assert "i3" not in table.index


def test_trials_are_failures_of_elements_of_the_fleet(fleet, failures):
    assert [t.event_id for t in failures] == ["e1", "i1", "i2"]  # the host "gone" is none
    first = failures[0]
    # what failed was seen, whoever else had data
    assert names(fleet, first.seen) == "abc"
    assert [names(fleet, t.down) for t in failures] == ["ab", "bc", "ab"]


AFFECTED = pd.DataFrame(
    [
        ("service", "a", "a", 1.0, 1.0, 1.0),
        ("service", "a", "b", 1.0, 0.5, 1.0),
        ("service", "a", "c", 0.5, 0.0, 1.0),
        ("service", "b", "b", 1.0, 1.0, 1.0),
        ("service", "b", "c", 0.5, 0.0, 1.0),
        ("host", "h", "a", 1.0, 1.0, 1.0),
    ],
    columns=["element_kind", "element", "service_id", "p_down", "p_lo", "p_hi"],
)


FRAME = pd.DataFrame(
    {"next_lo": [0.2, 0.5, 0.0], "next_hi": [0.4, 0.6, 1.0]},
    index=pd.MultiIndex.from_tuples([("service", "a"), ("service", "b"), ("host", "h")]),
)


def impacts(fleet):
    """Return by level what AFFECTED and FRAME predict."""
    places = fleet.elements.get_indexer(FRAME.index)
    row, node = fleet.positions(AFFECTED)
    order = np.lexsort([node, row])
    zero = np.zeros(len(fleet.elements))
    ends = {name: zero.copy() for name in FRAME}
    for name, column in FRAME.items():
        ends[name][places] = column * fleet.weight.sum()
    columns = {"lo": "p_lo", "point": "p_down", "hi": "p_hi"}
    rows = {"loss": zero, "se": zero, "exact": zero > 0, "reached_n": zero} | ends
    return {
        level: Impact(
            **rows,
            exposure_n=np.zeros(len(fleet.nodes)),
            scenario=row[order],
            node=node[order],
            p=AFFECTED[name].to_numpy()[order],
        )
        for level, name in columns.items()
    }


def test_observed_and_predicted_are_shares_of_who_had_data(fleet, failures):
    evidence = Failures.of(fleet, failures)
    table = validation.calibrate(evidence, impacts(fleet), load_policy())
    table = table.set_index("event_id")
    e1 = table.loc["e1", ["observed", "predicted", "predicted_lo", "predicted_hi"]]
    assert e1.tolist() == pytest.approx([3 / 8, 5.5 / 8, 2 / 8, 1.0])
    assert table.loc["i1", ["observed", "predicted"]].tolist() == pytest.approx(
        [0.7, 0.45]
    )
    assert table.loc["i2", ["observed", "predicted"]].tolist() == pytest.approx(
        [0.3, 0.1]
    )
    assert table["services_n"].tolist() == [3, 4, 4]
    # the interval of one failure is of the whole fleet, and d had no data in e1
    assert table["inside"].tolist() == [pd.NA, False, True]


def test_a_prediction_counts_as_two_failures_beside_those_of_its_element():
    seen = np.array([[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 0, 1]], bool)
    down = np.array([[1, 1, 1, 0], [1, 0, 0, 1], [1, 0, 0, 0]], bool)
    past = Past(seen, down)
    p = past.update(np.array([1.0, 0.5, 0.25, 0.0]), np.full(4, 0.1), 2.0)
    # certain; (1 + 2 * .5) / (3 + 2); two had data; called by nobody, but it went down once
    assert p == pytest.approx([1.0, 2 / 5, 1.5 / 4, 1.2 / 5])
    assert Past(seen, down & False).update(np.zeros(4), np.ones(4), 2.0).sum() == 0
    # without data, what is expected counts
    weight = np.array([1.0, 2.0, 4.0, 8.0])
    assert past.losses(p, weight) == pytest.approx([7, 9, 1 + 4 * 1.5 / 4])
    ends = (3.0, 12.0)
    assert past.ends(ends, np.array([]), 2.0, 0.9).tolist() == [3, 12]
    assert past.ends(ends, np.array([7.0, 9.0, 2.5]), 2.0, 0.9).tolist() == [2.5, 12]
    # 40 of 42 values between: one more lies outside with a chance of one in ten
    many = past.ends(ends, np.linspace(4, 6, 40), 2.0, 0.9)
    assert many == pytest.approx([4, 6], abs=0.2)


def again(rows):
    """Return incidents of the store, one a day, each with who went down beside it."""
    days = pd.date_range("2026-08-01", periods=len(rows), tz="UTC")
    return pd.DataFrame(
        {
            "incident_id": [f"i{n}" for n in range(len(rows))],
            "service_id": "store",
            "affected_services": rows,
            "cause": "app",
            "opened_at": days,
            "resolved_at": days + pd.Timedelta(hours=1),
        }
    )


def test_what_is_predicted_of_an_element_learns_from_its_own_failures():
    names = ["store", "shop", "front", "apart"]
    frames = {
        "services": pd.DataFrame({"service_id": names, "criticality": [1, 2, 3, 4.0]}),
        "dependencies": pd.DataFrame(
            {
                "src_id": ["shop", "front"],
                "dst_id": ["store", "shop"],
                "kind": "call",
                "evidence": "e",
            }
        ),
        "incidents": again(["shop;apart", "shop", "store", "shop;apart"]),
    }
    inventory = from_frames(frames, snapshot_at=AT)
    quiet = inventory.replace(incidents=frames["incidents"].iloc[:0])
    policy = load_policy()
    off = policy.replace(blast_radius={"learned_edges": "off"})
    blast = score_blast_radius(inventory, policy, detail=False)
    rows = {}
    for name, each in {"used": blast, "none": score_blast_radius(quiet, policy)}.items():
        table = each.details["affected"].query("element == 'store'")
        rows[name] = table.set_index("service_id")["p_down"].astype(float)
        impact = each.frame.loc[("service", "store")]
        weight = inventory["services"].set_index("service_id")["criticality"]
        assert impact["impact"] == pytest.approx((rows[name] * weight).sum() / 10)
        # what can be reached is what nobody saw spared
        assert impact["impact_hi"] == 1
    assert rows["none"]["shop"] == pytest.approx(0.8)
    assert rows["used"]["store"] == 1
    edge = blast.topology.edges.set_index("src")["point"]["shop"]
    assert rows["used"]["shop"] == pytest.approx((3 + 2 * edge) / (4 + 2))
    assert 2 / 6 < rows["used"]["apart"] < 4 / 6  # by no known way, and yet twice of four
    assert rows["used"]["front"] < rows["none"]["front"]
    text = blast.explain_path("service", "store", "apart").text
    assert "by no path that is known: it went down with it before" in text
    told = score_blast_radius(inventory, off, detail=False)
    assert told.details["affected"].query("element == 'store'")["p_down"].tolist() == [
        *rows["none"].reindex(
            told.details["affected"].query("element == 'store'")["service_id"]
        )
    ]


def test_simpler_rules_follow_edges_whatever_their_chance(fleet):
    flags = validation.baselines(fleet, [("host", "h"), ("service", "c")])
    said = {rule: [names(fleet, own) for own in both] for rule, both in flags.items()}
    assert said == {
        "self": ["a", "c"],
        "direct callers": ["ab", "c"],
        "all transitive callers": ["abc", "c"],
    }


def judged_by(fleet, failures, chances):
    elements = [f.element for f in failures]
    rules = {
        (rule, ""): flags.astype(float)
        for rule, flags in validation.baselines(fleet, elements).items()
    }
    shape = (len(failures), len(fleet.services))
    rules["p", ""] = np.reshape(chances, shape)
    return Judged(
        pair=np.reshape([f.seen for f in failures], shape).astype(bool),
        down=np.reshape([f.down for f in failures], shape).astype(bool),
        itself=np.zeros(shape, bool),
        element=np.arange(len(failures)),
        rules=rules,
    )


CHANCES = [[1, 1, 0.5, 0], [0, 1, 0.5, 0], [1, 0.9, 0.4, 0.0]]


def test_precision_and_recall_by_hand(fleet, failures):
    judged = judged_by(fleet, failures, CHANCES)
    table = skill.precision(judged, seed=1, level=0.9).set_index("rule")
    # fell: ab, bc, ab; said by the closure: abc, bc, abc; by p >= .5: abc, bc, ab
    assert table.loc["self", ["precision", "recall"]].tolist() == pytest.approx(
        [1, 3 / 6]
    )
    closure = table.loc["all transitive callers"]
    assert np.isnan(closure["threshold"])
    assert closure[["precision", "recall"]].tolist() == pytest.approx([6 / 8, 1])
    assert table.loc["p", ["precision", "recall"]].tolist() == pytest.approx([6 / 7, 1])
    same = table.loc["p, at the recall of all transitive callers"]
    assert same[["threshold", "precision", "recall"]].tolist() == pytest.approx(
        [0.5, 6 / 7, 1]
    )
    # two elements failed: too few for an interval
    assert table[["precision_lo", "precision_hi"]].isna().all(axis=None)


def test_the_curve_falls_threshold_by_threshold(fleet, failures):
    table = skill.curve(judged_by(fleet, failures, CHANCES)).query("rule == 'p'")
    assert table["threshold"].tolist() == [1.0, 0.9, 0.5, 0.4]
    assert table["recall"].tolist() == pytest.approx([4 / 6, 5 / 6, 1, 1])
    assert table["precision"].tolist() == pytest.approx([1, 1, 6 / 7, 6 / 8])


def test_ratio_and_how_many_incidents_touch_one(inventory):
    both = pd.DataFrame({"observed": [0.1, 0.3], "predicted": [0.2, 0.2]})
    both["inside"] = pd.array([True, pd.NA], "boolean")
    both = both.assign(element_kind=["host", "az"])
    both = pd.concat([both.assign(element=f"e{i}") for i in range(3)], ignore_index=True)
    known = exposure(inventory, load_policy())
    table = validation.measures(known, both, seed=1, level=0.9).set_index("measure")
    ratio = table.loc["observed share over predicted share"]
    assert ratio["value"] == pytest.approx(1)
    assert 0.5 <= ratio["lo"] < 1 < ratio["hi"] <= 1.5
    assert table["n"].tolist()[1:] == [3, 3, 0, 0]  # nobody says on which platform it was
    # failures of one element are no samples of several: how far the ratio is off is unknown
    same = both.assign(element_kind="host", element="h1")
    (alone, *_) = validation.measures(known, same, seed=1, level=0.9).itertuples()
    assert (alone.value, alone.n) == (pytest.approx(1), 6)
    assert np.isnan([alone.lo, alone.hi]).all()


def test_no_failure_is_no_number(inventory, fleet):
    nothing = Failures.of(fleet, [])
    assert validation.calibrate(nothing, impacts(fleet), load_policy()).empty
    none = judged_by(fleet, [], [])
    table = skill.precision(none, seed=1, level=0.9)
    assert table["precision"].isna().all()
    assert skill.curve(none).empty


def test_failures_at_the_same_time_are_those_of_a_comparison_with_all():
    rng = np.random.default_rng(6)
    n = 300
    start = pd.Timestamp(AT) + pd.to_timedelta(rng.integers(0, 500, n), unit="h")
    lasted = pd.to_timedelta(rng.integers(0, 30, n), unit="h")
    ended = pd.Series(start + lasted).mask(rng.random(n) < 0.1)
    started = pd.Series(start).mask(rng.random(n) < 0.1)
    element = rng.integers(0, 20, n)
    table = pd.DataFrame({"started": started, "ended": ended})
    chosen = np.sort(rng.choice(n, 100, replace=False))
    at, other = observed._simultaneous(table, chosen, element)
    want = [
        (row, each)
        for row, place in enumerate(chosen)
        for each in range(n)
        if started[place] < ended[each]
        and started[each] < ended[place]
        and element[each] != element[place]
    ]
    assert want and list(zip(at, other, strict=True)) == want
