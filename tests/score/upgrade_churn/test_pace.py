"""Which upgrades there were, and which of them failed."""

from __future__ import annotations

import random

import pandas as pd
import pytest
from churn_fleet import (
    AT,
    POLICY,
    THREE,
    WATCHED,
    YEARLY,
    failures,
    fleet,
    incident,
    only,
    score,
    upgrade,
)

from assess import reference
from assess.score.upgrade_churn import pace
from assess.score.upgrade_churn.history import History, known_history


@pytest.mark.parametrize(
    ("found", "failed"),
    [
        # to the second, day 7
        ({"opened_at": "2025-03-08T00:00:00Z", "host_id": "h1"}, 1),
        ({"opened_at": "2025-03-08T00:00:01Z", "host_id": "h1"}, 0),
        ({"opened_at": "2025-02-28T23:59:59Z", "host_id": "h1"}, 0),
        ({"service_id": "shop"}, 1),  # runs on that host
        ({"affected_services": "other;shop"}, 1),
        ({"host_id": "h2", "service_id": "shop"}, 0),  # happened elsewhere
        ({"host_id": "h1", "bad_time": True}, 0),
        ({"host_id": "h1", "resolved_at": "2025-01-01T00:00:00Z"}, 0),  # before it opened
    ],
)
def test_what_counts_as_a_failed_upgrade(found, failed):
    table = [{**incident(1, "2025-03-05"), **found}]
    known = fleet(activities=YEARLY, incidents=table, coverage=WATCHED)
    assert failures(known)[""][:2] == (3, failed)


def test_who_hides_the_host_of_an_incident_makes_no_upgrade_fail_for_sure():
    """A service on three hosts: the incident was on one of them, and nobody says on which."""
    upgrades = [upgrade(n, "2025-03-01", f"h{n}") for n in (1, 2, 3)]
    hosts = [{"host_id": f"h{n}"} for n in (1, 2, 3)]
    replicas = [
        {"workload_id": f"w{n}", "service_id": "shop", "host_id": f"h{n}"}
        for n in (1, 2, 3)
    ]
    told = {}
    for host in ("h1", None):
        row = incident(1, "2025-03-05", service_id="shop", host_id=host)
        frames = {"activities": upgrades, "hosts": hosts, "workloads": replicas}
        frames["coverage"] = WATCHED
        told[host] = failures(fleet(**frames, incidents=[row]))[""]
    assert told == {"h1": (3, 1, 1), None: (3, 0, 3)}


@pytest.mark.parametrize("hidden", ["status", "window_start", "row"])
def test_an_upgrade_may_have_failed_where_no_coverage_says_who_looked(hidden):
    """Whoever hides the incidents, or that somebody looked for them, moves no end inwards."""
    told = [incident(1, "2025-03-05", host_id="h1")]
    lost = [] if hidden == "row" else [{**WATCHED[0], hidden: None}]
    if hidden == "status":
        lost[0]["status"] = "denied"
    known = fleet(activities=YEARLY, incidents=told, coverage=WATCHED)
    assert failures(known)[""] == (3, 1, 1)
    coverage = known.replace(coverage=pd.DataFrame(lost))["coverage"]
    for rows in (known["incidents"], known["incidents"].iloc[:0]):
        vague = known.replace(coverage=coverage, incidents=rows)
        told = {"": (3, 1, 3)} if len(rows) else {}
        assert failures(vague).get("") == told.get("")
        before, after = (only(each) for each in (known, vague))
        for name in THREE:
            assert after[f"{name}_lo"] <= before[f"{name}_lo"], name
            assert after[f"{name}_hi"] >= before[f"{name}_hi"], name


def test_an_upgrade_whose_week_is_not_over_waits():
    late = [*YEARLY, upgrade(9, "2026-09-28")]
    told = [incident(1, "2024-01-01", host_id="h1")]
    assert failures(fleet(activities=late, incidents=told))[""][0] == 3


def test_a_version_changed_between_snapshots_is_an_upgrade():
    before = [{"host_id": "h1", "runtime": "docker", "version": "20.10.5"}]
    earlier = fleet(at="2026-03-31T00:00:00Z", engines=before)
    row = only(fleet(), previous=earlier)
    assert row["events_per_year"] == pytest.approx(1 / (183 / 365.25))
    recorded = fleet(activities=[upgrade(1, "2026-03-31"), upgrade(2, "2026-05-01")])
    assert only(recorded, previous=earlier)["events_per_year"] == pytest.approx(
        2 / (183 / 365.25)
    )
    assert only(fleet(), previous=fleet())["events_per_year"] == pytest.approx(365 / 1097)


@pytest.mark.parametrize(
    ("before", "after", "upgrades"),
    [
        ("20.10.5", "20.10.24", 1),
        ("20.10.24", "20.10.5", 0),  # a rollback
        ("20.10.24", "20.10.24+dfsg1", 0),  # another package of the same
        ("master", "20.10.24", 1),
        (None, "20.10.24", 0),
    ],
)
def test_versions_of_two_snapshots_are_compared(before, after, upgrades):
    was, now = (
        fleet(at=at, engines=[{"host_id": "h1", "runtime": "docker", "version": version}])
        for at, version in (("2026-03-31T00:00:00Z", before), (AT, after))
    )
    past = known_history(now, POLICY, previous=was)
    assert len(pace.upgrades(past.moves)) == upgrades
    assert (
        pace.upgrades(known_history(was, POLICY, previous=now).moves) == []
    )  # not earlier


def test_an_upgrade_that_was_rolled_back_has_failed():
    back = {**upgrade(4, "2025-03-03", to="20.10.5"), "from_version": "20.10.24"}
    told = [incident(1, "2024-01-01")]
    frames = {"activities": [*YEARLY, back], "incidents": told, "coverage": WATCHED}
    assert failures(fleet(**frames))[""] == (3, 1, 1)


@pytest.mark.parametrize("column", ["host_id", "to_version"])
@pytest.mark.parametrize("hidden", [[2], [0, 1, 2, 3]])
def test_an_upgrade_of_unknown_host_or_version_lowers_no_upper_end(column, hidden):
    """Three on one host, of which one failed, and one on another host, of another line."""
    told = [*YEARLY, upgrade(3, "2026-02-01", "h2", to="24.0.7")]
    hosts = ["h1", "h2"]
    frames = {
        "services": [{"service_id": "shop"}, {"service_id": "wiki"}],
        "hosts": [{"host_id": host} for host in hosts],
        "engines": [
            {"host_id": host, "runtime": "docker", "version": version}
            for host, version in zip(hosts, ["20.10.24", "24.0.7"], strict=True)
        ],
        "workloads": [
            {"workload_id": host, "service_id": name, "host_id": host, "state": "running"}
            for name, host in zip(["shop", "wiki"], hosts, strict=True)
        ],
        "incidents": [incident(1, "2026-01-02", host_id="h1")],
    }
    vague = [row | {column: None} if at in hidden else row for at, row in enumerate(told)]
    known, found = (
        score(fleet(**frames, activities=rows)).frame for rows in (told, vague)
    )
    for name in ("events_per_year_hi", "failures_per_year_hi", "hours_per_year_hi"):
        assert (found[name] >= known[name]).all(), name


def test_an_upgrade_whose_moment_nobody_saw_may_have_failed():
    before = [{"host_id": "h1", "runtime": "docker", "version": "20.10.5"}]
    earlier = fleet(at="2026-03-31T00:00:00Z", engines=before)
    quiet, loud = (
        score(
            fleet(incidents=[incident(1, day, host_id="h1")], coverage=WATCHED),
            previous=earlier,
        ).frame.loc["shop"]
        for day in ("2026-01-01", "2026-06-01")
    )
    chance = {
        name: row["failures_per_year"] / row["events_per_year"]
        for name, row in (("quiet", quiet), ("loud", loud))
    }
    assert chance == pytest.approx({"quiet": 0.5 / 2, "loud": 0.5 / 2})
    assert loud["failures_per_year_hi"] > quiet["failures_per_year_hi"]


def test_watched_years_are_the_same_in_any_order_of_hosts():
    """The order of a set differs from process to process; the bytes of a result may not."""
    draw = random.Random(4)
    end = pd.Timestamp(AT)
    starts = [end - pd.Timedelta(seconds=draw.randint(1, 10**8)) for _ in range(200)]
    spans = [(f"h{at}", ((start, end),)) for at, start in enumerate(starts)]
    years = set()
    for _ in range(20):
        draw.shuffle(spans)
        history = History(hosts=dict(spans))
        table = pace.fleet_pace(history, POLICY)
        years.add(table.set_index("component").loc["engine", "watched_years"])
    assert len(years) == 1


def test_an_engine_of_an_unknown_line_counts_as_the_fastest_of_the_recent_ones():
    lines = reference.engine_lines()
    paces = lines["releases_per_year"].dropna()
    since = "2025-01-01"
    recent = [
        paces[line]
        for line, first in lines["first_release"][paces.index].items()
        if first.year >= 2025
    ]
    assert pace.releases_per_year("docker", "0.1", since) == max(recent)
    assert max(recent) < paces.max()  # an older line was faster
    known = paces[paces > 0].index[0]
    assert pace.releases_per_year("docker", known, since) == paces[known]
