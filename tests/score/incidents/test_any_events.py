"""Contradictory incidents, activities and experiments: an `AssessError`, or numbers in their range."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import assess
from assess.errors import AssessError
from assess.inventory import from_frames
from assess.policy import load_policy
from assess.score.incidents.recovery import (
    heal_times,
    incident_minutes,
    replacements,
    self_healing,
    time_to_heal,
)

POLICY = load_policy()
SNAPSHOT = pd.Timestamp("2026-09-30", tz="UTC")
SERVICES = ["a", "b"]
QUICK = settings(max_examples=25, suppress_health_check=list(HealthCheck))

moments = st.one_of(
    st.none(),
    st.sampled_from(
        [
            "1970-01-01T00:00:00Z",
            "2026-09-29T23:59:59.999999Z",
            "2026-09-30T00:00:00Z",
            "2026-09-30T00:00:00.000001Z",
            "2262-04-11T23:47:16Z",
            "9999-12-31T23:59:59Z",
        ]
    ),
    st.datetimes(
        pd.Timestamp("2026-01-01").to_pydatetime(),
        pd.Timestamp("2027-01-01").to_pydatetime(),
    ).map(lambda time: time.isoformat() + "Z"),
)
seconds = st.one_of(
    st.none(), st.sampled_from([0.0, 1e-9, 60.0, 1e9, 1e18, 1e300]), st.floats(0, 1e7)
)
names = st.sampled_from([None, "", "a", "b", "h", "nobody"])
lists = st.sampled_from([None, "", ";", "a", "b;a", "a;a;nobody", " a ; b ", "ext:x"])


def tables(columns, key, most=4):
    """Rows of a table, numbered in its key."""
    rows = st.lists(st.fixed_dictionaries(columns), max_size=most)
    return rows.map(lambda drawn: [{key: f"{n}", **row} for n, row in enumerate(drawn)])


incidents = tables(
    {
        "service_id": st.sampled_from([None, "a", "b"]),
        "opened_at": moments,
        "resolved_at": moments,
        "ttr_s": seconds,
        "cause": st.sampled_from([None, "host", "app"]),
        "host_id": st.sampled_from([None, "h", "gone"]),
        "affected_services": lists,
        "platform_at_time": st.sampled_from([None, "host", "docker", "mixed", "unknown"]),
        "bad_time": st.sampled_from([None, True, False]),
        "duplicate_of": st.sampled_from([None, None, "0"]),
    },
    "incident_id",
)
activities = tables(
    {
        "service_id": names,
        "host_id": names,
        "group": st.sampled_from([None, "a", "asg"]),
        "kind": st.sampled_from([None, "terminate", "launch", "deploy"]),
        "started_at": moments,
        "ended_at": moments,
        "status": st.sampled_from([None, "Failed", "ok"]),
        "cause": st.sampled_from([None, "health", "scale", "unknown"]),
        "duration_s": seconds,
    },
    "activity_id",
    most=6,
)
experiments = tables(
    {
        "element_kind": st.sampled_from(["service", "host", "planet"]),
        "element": st.sampled_from(["a", "b", "h", "nobody"]),
        "started_at": moments,
        "ended_at": moments,
        "affected_services": lists,
        "observed_services": lists,
    },
    "experiment_id",
)
coverage = st.lists(
    st.fixed_dictionaries(
        {
            "run_id": st.just("r"),
            "source": st.sampled_from(["incidents", "traces"]),
            "scope": st.sampled_from(["all", "a"]),
            "call": st.sampled_from(["incidents", "list"]),
            "status": st.sampled_from(["ok", "empty", "failed"]),
            "window_start": moments,
            "window_end": moments,
        }
    ),
    max_size=2,
    unique_by=lambda row: (row["source"], row["scope"], row["call"]),
)


def inventory_of(snapshot_at=SNAPSHOT, services=SERVICES, **events):
    rows = {
        "services": [{"service_id": name, "criticality": 1.0} for name in services],
        "hosts": [{"host_id": "h", "az": "z", "asg_name": "asg"}],
        "workloads": [
            {"workload_id": "w", "service_id": name, "host_id": "h", "state": "running"}
            for name in services[:1]
        ],
        "dependencies": [
            {"src_id": "b", "dst_id": "a", "kind": "call", "evidence": "traces"}
            for _ in services[1:]
        ],
        **events,
    }
    frames = {name: pd.DataFrame(table) for name, table in rows.items() if table}
    return from_frames(frames, snapshot_at=snapshot_at)


def assert_sound(result):
    """Impacts are shares in order; minutes and rates are not negative, and never infinite."""
    ends = result.frame[["impact_lo", "impact", "impact_hi"]].to_numpy()
    assert ((ends >= 0) & (ends <= 1)).all()
    assert (np.diff(ends, axis=1) >= 0).all()
    services = result.services
    healing = services[["minutes", "minutes_p95"]].to_numpy(float)
    longest = (SNAPSHOT - pd.Timestamp(0, tz="UTC")).total_seconds() / 60
    usual = POLICY["blast_radius"]["heal_minutes_p95"]
    assert ((healing >= 0) & (healing <= max(longest, usual))).all()
    rates = services[["rate_per_year_lo", "rate_per_year", "rate_per_year_hi"]].dropna()
    assert np.isfinite(rates.to_numpy(float)).all()
    assert (np.diff(rates.to_numpy(float), axis=1) >= 0).all()
    result.to_dict()


UNPAIRED = {"activity_id": "0", "kind": "terminate", "cause": "health", "group": "asg"}


@QUICK
@given(incidents, activities, experiments, coverage)
@example([], [{**UNPAIRED, "started_at": "2026-09-01T00:00:00Z"}], [], [])
def test_blast_radius_of_any_events(incidents, activities, experiments, coverage):
    try:
        inventory = inventory_of(
            incidents=incidents,
            activities=activities,
            experiments=experiments,
            coverage=coverage,
        )
    except AssessError:
        return
    assert_sound(assess.score_blast_radius(inventory, POLICY, detail=False))
    took = self_healing(inventory, POLICY, seconds=300)
    assert (took[["median_s", "longest_s"]].dropna() >= 0).all(axis=None)
    healed = time_to_heal(inventory, POLICY)
    assert (healed["median"] <= healed["p95"]).all()


@QUICK
@given(incidents, incidents, coverage, st.sampled_from([[], ["a"], SERVICES]))
def test_backtest_of_any_incidents(before, after, coverage, services):
    try:
        earlier = inventory_of("2026-06-30", SERVICES, incidents=before)
        later = inventory_of(SNAPSHOT, SERVICES, incidents=after, coverage=coverage)
    except AssessError:
        return
    try:
        result = assess.backtest(later, POLICY, previous=earlier)
    except AssessError:
        return
    services = result.details["services"]
    assert services["foretold"].between(0, 1).all()
    assert services["foretold_by_history"].between(0, 1).all()
    longest = (SNAPSHOT - pd.Timestamp(0, tz="UTC")).total_seconds() / 60
    assert services["minutes"].between(0, len(after) * longest).all()
    result.to_dict()


@pytest.mark.parametrize("paired", [False, True])
def test_an_instance_without_a_replacement_is_no_error(paired):
    ended = {**UNPAIRED, "started_at": "2026-09-01T00:00:00Z"}
    rows = [ended]
    if paired:
        begun = {"kind": "launch", "started_at": "2026-09-01T00:01:00Z", "duration_s": 60}
        rows.append({"activity_id": "1", "group": "asg", **begun})
    inventory = inventory_of(activities=rows)
    assert len(assess.judge_claims(inventory, POLICY).frame) == 16
    a = heal_times(inventory, POLICY).loc["a"]
    assert a["minutes_basis"] == ("activities" if paired else "policy")
    assert a["minutes"] == (2.0 if paired else POLICY["blast_radius"]["heal_minutes"])


def test_what_ends_after_the_snapshot_has_not_ended():
    late = {"opened_at": "2026-09-29T23:00:00Z", "service_id": "a"}
    rows = [
        {"incident_id": "0", **late, "resolved_at": "2262-04-11T00:00:00Z"},
        {"incident_id": "1", **late, "ttr_s": 1e300},
        {"incident_id": "2", **late, "ttr_s": 1800},
    ]
    found = incident_minutes(inventory_of(incidents=rows), POLICY)
    assert found["minutes"].tolist() == [60, 60, 30]
    assert found["closed"].tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("launch", "healed"),
    [
        ({"ended_at": "2262-01-01T00:00:00Z"}, None),  # it has not ended yet
        ({"duration_s": 1e300}, None),
        ({"ended_at": "1970-01-01T00:00:00Z"}, 60.0),  # before it began: at once
        ({"duration_s": 60.0}, 120.0),
        ({}, 60.0),
    ],
)
def test_a_replacement_takes_no_less_than_nothing_and_no_more_than_the_time_so_far(
    launch, healed
):
    rows = [
        {**UNPAIRED, "started_at": "2026-09-01T00:00:00Z"},
        {
            "activity_id": "1",
            "group": "asg",
            "kind": "launch",
            "started_at": "2026-09-01T00:01:00Z",
            **launch,
        },
    ]
    (pair,) = replacements(inventory_of(activities=rows), POLICY).itertuples()
    took = (pair.healed_at - pair.ended_at).total_seconds()
    assert took == healed or (healed is None and np.isnan(took))


cells = st.sampled_from([None, "", "a", "b", "c", "ext:x", 7, 1.5])
outside = st.one_of(
    st.just({}),
    st.lists(st.tuples(cells, cells), max_size=4).map(
        lambda rows: {
            "src_id": [src for src, _ in rows],
            "dst_id": [dst for _, dst in rows],
        }
    ),
)
faults = st.one_of(
    st.just({}),
    st.lists(st.tuples(cells, lists), max_size=3).map(
        lambda rows: {
            "element": [element for element, _ in rows],
            "affected_services": [affected for _, affected in rows],
        }
    ),
)


@QUICK
@given(outside, faults, st.booleans())
def test_judge_outside_of_any_frames(edges, experiments, repeat):
    edges = pd.DataFrame(edges)
    experiments = pd.DataFrame(experiments)
    if repeat:  # an index of its own, as of a table that was filtered or joined
        experiments.index = pd.Index([3] * len(experiments))
    try:
        tables = assess.judge_outside(edges, experiments, POLICY)
    except AssessError:
        return
    shares = tables["precision"][["precision", "recall"]].to_numpy(float)
    assert ((shares >= 0) & (shares <= 1) | np.isnan(shares)).all()


@QUICK
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "src_id": st.sampled_from(SERVICES),
                "dst_id": st.sampled_from([*SERVICES, "ext:x"]),
                "kind": st.sampled_from([None, "call", "unknown", "cache"]),
                "evidence": st.sampled_from([None, "traces", "compose"]),
                "calls": st.sampled_from([None, 0, 3, 2**53]),
            }
        ),
        max_size=5,
        unique_by=lambda row: tuple(row.values())[:4],
    )
)
def test_edge_evidence_of_any_rows(rows):
    try:
        inventory = inventory_of(dependencies=rows)
    except AssessError:
        return
    table = assess.edge_evidence(inventory)
    pairs = {(r["src_id"], r["dst_id"]) for r in rows if r["src_id"] != r["dst_id"]}
    known = table[table["known_by"] != "nobody"]
    assert {*zip(known["src_id"], known["dst_id"], strict=True)} == pairs
    assert known["conflict"].notna().all()
