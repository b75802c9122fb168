"""Blast radius: by hand, against brute force, and the properties that must hold."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assess.errors import AssessError
from assess.inventory import from_frames
from assess.policy import load_policy
from assess.score.blast_radius.blast_radius import score_blast_radius

POLICY = load_policy()
ENDS = ["impact_lo", "impact", "impact_hi"]


def fleet_of(*, policy=POLICY, detail=True, **tables):
    frames = {name: pd.DataFrame(rows) for name, rows in tables.items()}
    inventory = from_frames(frames, snapshot_at="2026-09-30")
    return score_blast_radius(inventory, policy, detail=detail)


def calls(*pairs, p=1.0):
    return [
        {"src_id": src, "dst_id": dst, "kind": "call", "evidence": "traces", "p": p}
        for src, dst in pairs
    ]


def replicas(**places):
    kind = {"source_kind": "container", "state": "running"}
    return [
        {"workload_id": f"{s}{i}", "service_id": s, "host_id": h} | kind
        for s, hosts in places.items()
        for i, h in enumerate(hosts)
    ]


def services(names, **columns):
    return [
        {"service_id": s, "criticality": 1.0, **{k: v.get(s) for k, v in columns.items()}}
        for s in names
    ]


LOOKED = [
    {
        "run_id": "r",
        "source": "traces",
        "scope": "all",
        "call": "dependencies",
        "status": "ok",
        "window_start": "2026-09-01",
        "window_end": "2026-09-30",
    }
]


def test_callers_fall_with_what_they_call():
    result = fleet_of(
        services=services("abcd"),
        dependencies=calls(("a", "b"), ("b", "c")),
        coverage=LOOKED,
    )
    impact = result.services["impact"]
    assert impact.to_dict() == {"a": 0.25, "b": 0.5, "c": 0.75, "d": 0.25}
    assert result.services["exposure_n"].isna().all()  # nobody knows where they run
    assert (result.services[ENDS[0]] == result.services[ENDS[2]]).all()


def test_criticality_weighs():
    rows = [{"service_id": "a", "tier": 1}, {"service_id": "b", "tier": 4}]
    result = fleet_of(services=rows, dependencies=calls(("b", "a")))
    assert result.services["impact"].to_dict() == {"a": 1.0, "b": pytest.approx(1 / 9)}


def test_a_diamond_is_enumerated():
    arcs = calls(("b", "a"), ("c", "a"), ("d", "b"), ("d", "c"), p=0.5)
    result = fleet_of(services=services("abcd"), dependencies=arcs)
    row = next(r for r in result.rows() if r["element"] == "a")
    chances = {hit["service_id"]: hit["p_down"] for hit in row["affected"]}
    assert chances == {"a": 1.0, "b": 0.5, "c": 0.5, "d": 0.4375}
    assert row["impact"] == pytest.approx((1 + 0.5 + 0.5 + 0.4375) / 4)
    assert row["exact"] is True


def test_draws_show_their_error():
    drawn = POLICY.replace(blast_radius={"enumerate_up_to": 0}, simulation={"draws": 10})
    arcs = calls(("b", "a"), ("c", "a"), ("d", "b"), ("d", "c"), p=0.5)
    result = fleet_of(policy=drawn, services=services("abcd"), dependencies=arcs)
    row = result.frame.loc[("service", "a")]
    assert not row["exact"]
    assert 0 < row["se"] <= 0.01
    assert abs(row["impact"] - 2.4375 / 4) <= 4 * row["se"]


def test_one_big_cycle_counts_once():
    names = [f"s{i:03}" for i in range(300)]
    ring = calls(*itertools.pairwise([*names, names[0]]))
    result = fleet_of(services=services(names), dependencies=ring, detail=False)
    assert (result.services["impact"] == 1.0).all()


def test_outside_the_fleet_weighs_nothing_and_can_fail():
    arcs = calls(("a", "ext:pay.example"), ("b", "a"))
    result = fleet_of(services=services("abc"), dependencies=arcs)
    assert result.frame.loc[("ext", "ext:pay.example"), "impact"] == pytest.approx(2 / 3)
    assert result.frame["impact"].max() <= 1


HOSTS = [
    {"host_id": "h1", "az": "z1"},
    {"host_id": "h2", "az": "z1"},
    {"host_id": "h3", "az": "z2"},
]


def test_replicas_hold_until_too_few_live():
    placed = replicas(a=["h1", "h2", "h3"], b=["h1"], c=["h2", "h3"])
    result = fleet_of(
        services=services("abc", min_healthy_pct={"a": 60.0, "c": 100.0}),
        hosts=HOSTS,
        workloads=placed,
        coverage=LOOKED,
    )
    impact = result.frame["impact"]
    assert impact["host"].to_dict() == pytest.approx(
        {"h1": 1 / 3, "h2": 1 / 3, "h3": 1 / 3}
    )
    assert impact["az"].to_dict() == pytest.approx({"z1": 1.0, "z2": 1 / 3})
    assert result.services["exposure_n"].to_dict() == {"a": 1, "b": 2, "c": 4}


def test_a_service_without_known_workload_counts_in_hi_only():
    result = fleet_of(
        services=services("ab"),
        hosts=HOSTS,
        workloads=replicas(a=["h1"]),
        dependencies=calls(("a", "b")),
        coverage=LOOKED,
    )
    assert result.frame.loc[("host", "h2"), ENDS].tolist() == [0, 0, 1]  # b, and so a
    assert result.frame.loc[("host", "h1"), ENDS].tolist() == [0.5, 0.5, 1]


def test_a_registry_freezes_and_takes_nothing_down():
    placed = [
        {**row, "registry": "quay.io", "repository": "r"} for row in replicas(a=["h1"])
    ]
    result = fleet_of(services=services("ab"), hosts=HOSTS, workloads=placed)
    row = next(r for r in result.rows() if r["element_kind"] == "registry")
    assert (row["impact"], row["impact_hi"], row["services_down_n"]) == (0, 0, 0)
    assert (row["frozen"], row["frozen_n"]) == (["a"], 1)


def test_never_observed_is_unknown_not_safe():
    arcs = calls(("b", "a"), ("c", "a"), ("e", "d"))
    result = fleet_of(services=services("abcdef"), dependencies=arcs)
    observed = result.services["dependencies_observed"]
    assert observed.to_dict() == {
        **dict.fromkeys("adf", False),
        **dict.fromkeys("bce", True),
    }
    assert (result.services["impact_hi"] == 1).all()
    one = [{**LOOKED[0], "scope": "f"}]
    seen = fleet_of(services=services("abcdef"), dependencies=arcs, coverage=one).services
    assert seen.loc["f", "dependencies_observed"]
    assert seen.loc["f", "impact_hi"] == pytest.approx(1 / 6)
    denied = [{**LOOKED[0], "status": "denied"}]
    still = fleet_of(
        services=services("abcdef"), dependencies=arcs, coverage=denied
    ).services
    assert not still.loc["f", "dependencies_observed"]


def test_no_criticality_anywhere_loses_none():
    rows = [{"service_id": s, "criticality": 0.0} for s in "ab"]
    result = fleet_of(services=rows, dependencies=calls(("a", "b")))
    assert (result.frame[ENDS] == 0).all().all()
    assert result.frame.loc[("service", "b"), "services_down_n"] == 2


def test_an_empty_inventory_has_no_elements():
    result = fleet_of(services={"service_id": []})
    assert len(result.frame) == 0
    assert len(result.services) == 0
    assert result.to_dict()["rows"] == []


# --- rates, minutes, what a move does ---


def test_rates_are_unknown_where_nobody_looked():
    row = fleet_of(services=services("ab")).services.loc["a"]
    assert row[["rate_per_year", "expected_minutes_per_year"]].isna().all()
    assert (row["minutes"], row["minutes_basis"]) == (30, "policy")
    looked = [
        {
            "run_id": "r",
            "source": "incidents",
            "scope": "x",
            "call": "read",
            "status": "ok",
            "window_start": "2025-09-30",
            "window_end": "2026-09-30",
        }
    ]
    seen = fleet_of(services=services("ab"), coverage=looked).services.loc["a"]
    assert 0 < seen["rate_per_year"] < 2
    assert seen["expected_minutes_per_year"] == pytest.approx(30 * seen["rate_per_year"])
    denied = [{**looked[0], "status": "denied"}]
    assert pd.isna(
        fleet_of(services=services("a"), coverage=denied).services["rate_per_year"]["a"]
    )


def test_minutes_come_from_replaced_instances_then_incidents():
    at = pd.Timestamp("2026-05-01T10:00Z")
    first, later = pd.Timedelta(minutes=1), pd.Timedelta(minutes=4)
    acts = [
        {"activity_id": "t", "kind": "terminate", "cause": "health", "started_at": at},
        {
            "activity_id": "l",
            "kind": "launch",
            "cause": "health",
            "started_at": at + first,
            "ended_at": at + later,
        },
        {"activity_id": "s", "kind": "terminate", "cause": "scale", "started_at": at},
    ]
    acts = [{"group": "g", **row} for row in acts]
    incidents = [
        {
            "incident_id": i,
            "service_id": s,
            "opened_at": at,
            "ttr_s": ttr,
            "bad_time": bad,
        }
        for i, s, ttr, bad in [
            ("1", "a", 6000, False),
            ("2", "b", 600, False),
            ("3", "b", 1200, False),
            ("4", "b", 9e9, True),
        ]
    ]
    hosts = [{"host_id": "h1", "asg_name": "g"}]
    rows = fleet_of(
        services=services("abc"),
        hosts=hosts,
        workloads=replicas(a=["h1"]),
        activities=acts,
        incidents=incidents,
    ).services
    assert rows.loc["a", ["minutes", "minutes_basis"]].tolist() == [4, "activities"]
    assert rows.loc["b", ["minutes", "minutes_p95", "minutes_basis"]].tolist() == [
        10,
        20,
        "incidents",
    ]
    assert rows.loc["c", "minutes_basis"] == "policy"


ENGINES = [{"host_id": "h1", "runtime": "docker", "version": "20.10.24"}]


def test_a_move_off_a_crowded_host_contains():
    crowd = {
        "services": services("ab"),
        "hosts": [{"host_id": "h1", "provider": "onprem"}],
        "engines": ENGINES,
        "workloads": replicas(a=["h1"], b=["h1"]),
        "coverage": LOOKED,
    }
    result = fleet_of(**crowd)
    # h1 and its engine no longer take it down, the new engine does: half the fleet less, and
    # half more where h1 is in a zone that nobody named
    assert result.services["delta"].tolist() == pytest.approx([-0.5, -0.5])
    assert (
        "by -50 (-100 to +0) percentage points (negative: containment gained)"
        in result.explain("a").text
    )
    dependent = fleet_of(**crowd, dependencies=calls(("a", "b")))
    # a stays down with b whatever it moves to, and gains an engine; b takes a along
    assert dependent.services["delta"].tolist() == pytest.approx([0.5, 0.0])


def test_what_takes_a_service_down_most_likely_comes_first():
    edges = [*calls(("a", "b"), p=0.25), *calls(("a", "c"), p=0.75)]
    result = fleet_of(services=services("abc"), dependencies=edges)
    causes = result.explain("a").table
    assert causes["element"].to_dict() == {0: "c", 1: "b"}
    assert causes["p_down"].tolist() == pytest.approx([0.75, 0.25])


def test_a_move_of_what_is_spread_already_adds_the_engine():
    hosts = [{"host_id": name, "provider": "onprem"} for name in ("h1", "h2")]
    fleet = {
        "services": services("ab"),
        "hosts": hosts,
        "workloads": replicas(a=["h1", "h2"]),
    }
    result = fleet_of(**fleet, coverage=LOOKED)
    ends = ["delta_lo", "delta", "delta_hi"]
    # at best each replica leaves a zone and an engine that nobody named; at worst all come into one
    expected = [0.5 - 4 * 0.5, 0.5, 1.0]
    assert result.services.loc["a", ends].tolist() == pytest.approx(expected)
    # where nobody looked, b may call a, and the engine takes down both
    blind = fleet_of(**fleet).services
    assert blind.loc["a", ends].tolist() == pytest.approx([*expected[:2], 2.0])
    unknown = result.services.loc["b"]
    assert pd.isna(unknown["delta"])
    assert unknown["delta_lo"] < unknown["delta_hi"]


# --- the oracle ---


def oracle(case):
    """Impact of each host and service, outcome by outcome."""
    names, hosts, placed, _, weight, arcs = case
    need = needs(case)
    total = sum(weight.values())
    elements = {
        ("host", h): {
            s for s in names if placed[s] and sum(x != h for x in placed[s]) < need[s]
        }
        for h in hosts
    }
    elements |= {("service", s): {s} for s in names}
    impact = dict.fromkeys(elements, 0.0)
    for outcome in itertools.product([0, 1], repeat=len(arcs)):
        chance = math.prod(
            q if o else 1 - q for o, q in zip(outcome, arcs.values(), strict=True)
        )
        live = [arc for arc, o in zip(arcs, outcome, strict=True) if o]
        for element, down in elements.items():
            fallen, before = set(down), None
            while fallen != before:
                before = set(fallen)
                fallen |= {src for src, dst in live if dst in fallen}
            impact[element] += chance * sum(weight[s] for s in fallen)
    return {element: value / total for element, value in impact.items()}


@st.composite
def small_fleets(draw):
    names = list("abcde")[: draw(st.integers(1, 5))]
    hosts = ["h1", "h2", "h3"]
    placed = {s: draw(st.lists(st.sampled_from(hosts), max_size=4)) for s in names}
    share = {s: draw(st.sampled_from([None, 0.0, 50.0, 67.0, 100.0])) for s in names}
    weight = {s: draw(st.sampled_from([1.0, 2.5, 8.0])) for s in names}
    pairs = [(s, d) for s in names for d in names if s != d]
    chosen = (
        draw(st.lists(st.sampled_from(pairs), max_size=6, unique=True)) if pairs else []
    )
    arcs = {pair: draw(st.sampled_from([0.0, 0.25, 0.5, 1.0])) for pair in chosen}
    return names, hosts, placed, share, weight, arcs


def tables_of(case):
    names, hosts, placed, share, weight, arcs = case
    rows = services(names, min_healthy_pct=share)
    return {
        "services": [{**r, "criticality": weight[r["service_id"]]} for r in rows],
        "hosts": [{"host_id": h} for h in hosts],
        "workloads": replicas(**placed)
        or pd.DataFrame({"workload_id": [], "service_id": []}),
        "dependencies": [c for (s, d), p in arcs.items() for c in calls((s, d), p=p)]
        or pd.DataFrame({"src_id": []}),
    }


def needs(case):
    _, _, placed, share, _, _ = case
    return {
        s: max(1, math.ceil((share[s] or 0) * len(p) / 100)) for s, p in placed.items()
    }


@settings(max_examples=20)
@given(small_fleets())
def test_impact_is_that_of_brute_force(case):
    result, want = fleet_of(**tables_of(case), detail=False), oracle(case)
    got = result.frame["impact"]
    assert {k: got[k] for k in want} == pytest.approx(want, abs=1e-9)
    assert result.frame["exact"].all()
    parts = result.contributions.groupby(["element_kind", "element"])[
        "contribution"
    ].sum()
    np.testing.assert_allclose(parts.reindex(got.index, fill_value=0), got, atol=1e-9)


@settings(max_examples=5)
@given(small_fleets(), st.randoms(use_true_random=False))
def test_row_order_is_irrelevant_and_ends_are_ordered(case, random):
    tables = {name: pd.DataFrame(rows) for name, rows in tables_of(case).items()}
    shuffled = {
        n: t.iloc[random.sample(range(len(t)), len(t))] for n, t in tables.items()
    }
    one, two = fleet_of(**tables), fleet_of(**shuffled)
    pd.testing.assert_frame_equal(one.frame, two.frame)
    pd.testing.assert_frame_equal(one.services, two.services)
    pd.testing.assert_frame_equal(one.details["affected"], two.details["affected"])
    assert (one.frame["impact_lo"] <= one.frame["impact"]).all()
    assert (one.frame["impact"] <= one.frame["impact_hi"]).all()
    known = one.services.dropna(subset=["delta"])
    assert (known["delta_lo"] <= known["delta"]).all()
    assert (known["delta"] <= known["delta_hi"]).all()


@settings(max_examples=5)
@given(small_fleets(), st.integers(0, 4))
def test_a_replica_more_on_a_new_host_never_raises_a_host(case, which):
    names, hosts, placed, share, weight, arcs = case
    name = names[which % len(names)]
    if not placed[name]:
        return
    kept = {**share, name: None}  # a share of more replicas is more replicas
    more = {**placed, name: [*placed[name], "h9"]}
    before = fleet_of(
        **tables_of((names, hosts, placed, kept, weight, arcs)), detail=False
    )
    after = fleet_of(
        **tables_of((names, [*hosts, "h9"], more, kept, weight, arcs)), detail=False
    )
    drop = before.frame["impact"]["host"] - after.frame["impact"]["host"]
    assert (drop.dropna() >= -1e-12).all()


@settings(max_examples=4)
@given(small_fleets())
def test_duplicates_and_strangers_change_nothing(case):
    tables = tables_of(case)
    lost = fleet_of(**tables, detail=False)
    arcs = pd.DataFrame(tables["dependencies"]).assign(p=None)
    twice = pd.concat([arcs, arcs.assign(evidence="compose")])
    one = fleet_of(**{**tables, "dependencies": arcs}, detail=False)
    two = fleet_of(**{**tables, "dependencies": twice}, detail=False)
    pd.testing.assert_frame_equal(one.frame, two.frame)
    stranger = {"service_id": "zz", "criticality": 1.0}
    wider = fleet_of(
        **{**tables, "services": [*tables["services"], stranger]}, detail=False
    )
    total = sum(case[4].values())
    scaled = wider.frame["impact"].drop(("service", "zz")) * (total + 1) / total
    np.testing.assert_allclose(scaled[lost.frame.index], lost.frame["impact"], atol=1e-9)


# --- words ---


def test_explaining_names_what_takes_a_service_down():
    arcs = calls(("shop", "db"))
    result = fleet_of(
        services=services(["db", "shop", "wiki"]),
        hosts=HOSTS,
        dependencies=arcs,
        workloads=replicas(db=["h1"], shop=["h2", "h3"], wiki=["h3"]),
    )
    said = result.explain("shop")
    assert list(said.table["because"]) == [
        "db -> shop",
        "host h1 -> db -> shop",
        "az z1 -> db -> shop",
    ]
    assert "db, host h1, zone z1" in said.text
    steps = result.paths("host", "h1", "shop")
    assert steps["because"].tolist() == ["host h1", "db"]
    assert result.paths("host", "h3", "db").empty
    assert result.row("db")["impact"] == pytest.approx(2 / 3)
    with pytest.raises(AssessError, match="shp"):
        result.explain("shp")


def test_calibration_sets_what_fell_beside_what_was_said():
    incident = {
        "incident_id": "i",
        "service_id": "a",
        "opened_at": "2026-09-01T00:00:00Z",
        "affected_services": "a",
    }
    trial = {
        "experiment_id": "x",
        "element_kind": "service",
        "element": "a",
        "started_at": "2026-09-01T00:00:00Z",
        "affected_services": "a;b",
        "observed_services": "a;b",
    }
    result = fleet_of(
        services=services("abc"),
        dependencies=calls(("b", "a")),
        incidents=[incident],
        experiments=[trial],
    )
    table = result.details["calibration"].set_index("event")
    assert table.loc["incident", ["observed", "predicted"]].tolist() == pytest.approx(
        [1 / 3, 2 / 3]
    )
    assert table.loc["experiment", ["observed", "predicted"]].tolist() == pytest.approx(
        [1, 1]
    )


def test_a_short_list_changes_no_number():
    tables = {
        "services": services("abcde"),
        "coverage": LOOKED,
        "dependencies": calls(("a", "b"), ("b", "c"), ("c", "ext:d"), ("e", "c"), p=0.5),
        "workloads": replicas(a=["h1", "h2"], b=["h1"], c=["h2"], e=["h2"]),
    }
    full = fleet_of(**tables)
    short = fleet_of(policy=POLICY.replace(blast_radius={"pairs_max": 9}), **tables)
    pd.testing.assert_frame_equal(short.frame, full.frame)
    pd.testing.assert_frame_equal(short.services, full.services)
    rows, every = short.details["affected"], full.details["affected"]
    assert 0 < len(rows) <= 9 < len(every)
    kept = every.merge(rows[["element_kind", "element"]].drop_duplicates())
    pd.testing.assert_frame_equal(
        rows.reset_index(drop=True), kept, check_categorical=False
    )
    assert "not listed" in short.explain("d").text
    assert "not listed" not in full.explain("d").text


@pytest.mark.parametrize("minutes", [1, 5000])
def test_an_incident_of_an_unknown_service_may_have_been_as_long_as_any(minutes):
    window = {"window_start": "2025-09-30", "window_end": "2026-09-30"}
    call = {"run_id": "r", "source": "incidents", "scope": "x", "call": "read"}
    opened = pd.Timestamp("2026-03-01T00:00:00Z")

    def expected(service):
        incident = {"incident_id": "i", "service_id": service, "opened_at": opened}
        ended = {"resolved_at": opened + pd.Timedelta(minutes=minutes)}
        table = fleet_of(
            services=services("ab"),
            incidents=[incident | ended],
            coverage=[call | window | {"status": "ok"}],
        ).services
        return table.filter(like="expected_minutes_per_year").loc["a"]

    known = expected("a")
    hidden = expected(None)
    name = "expected_minutes_per_year"
    assert hidden[f"{name}_lo"] <= known[f"{name}_lo"]
    assert hidden[f"{name}_hi"] >= known[f"{name}_hi"]
