"""What containers and hosts have shown: counted by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from assess.inventory import from_frames
from assess.policy.policy import load_policy
from assess.score.incidents import exposure as track

POLICY = load_policy()
AT = "2026-10-01T00:00:00Z"
WATCHED = {
    "run_id": "r",
    "source": "incidents",
    "scope": "all",
    "call": "read",
    "status": "ok",
    "window_start": "2026-04-01T00:00:00Z",
    "window_end": "2026-10-01T00:00:00Z",
}
MONTHS = 183 / (365.25 / 12)


def fleet(services, incidents=(), at=AT, **frames):
    tables = {
        "services": services,
        "incidents": incidents,
        "coverage": [WATCHED],
        **frames,
    }
    made = {name: pd.DataFrame(list(rows)) for name, rows in tables.items() if len(rows)}
    if not incidents:
        made["incidents"] = pd.DataFrame({"incident_id": [], "opened_at": []})
    return from_frames(made, snapshot_at=at)


def service(name, platform=None, tier=2, **more):
    return {"service_id": name, "platform": platform, "tier": tier, **more}


def incident(number, name, day, **more):
    return {
        "incident_id": f"i{number}",
        "service_id": name,
        "opened_at": f"2026-{day}",
        **more,
    }


def test_incidents_and_months_by_service():
    inventory = fleet(
        [service("a", "docker"), service("b", "host", tier=1), service("c", "ecs")],
        [incident(1, "a", "05-01"), incident(2, "a", "06-01"), incident(3, "b", "06-01")],
    )
    record = track.track_record(inventory, POLICY).set_index("service_id")
    assert record["incidents"].to_dict() == {"a": 2, "b": 1, "c": 0}
    assert record["side"].to_dict() == {"a": "container", "b": "host", "c": "container"}
    assert record["service_months"].tolist() == pytest.approx([MONTHS] * 3)
    rates = track.rates_by(record.reset_index(), "side", level=0.95).set_index("side")
    assert rates.loc["container", "rate"] == pytest.approx(2.5 / (2 * MONTHS / 12))


def test_incidents_that_no_clock_can_have_seen_are_kept_and_left_out():
    inventory = fleet(
        [service("a", "docker")],
        [
            incident(1, "a", "05-01"),
            incident(2, "a", "05-02", resolved_at="2026-05-01"),
            incident(3, "a", "05-03", bad_time=True),
            {**incident(4, "a", "05-04"), "opened_at": "2027-01-01"},
            incident(5, "a", "05-05", duplicate_of="i1"),
            incident(6, "a", "02-05"),
        ],
    )
    assert len(inventory["incidents"]) == 6
    assert track.track_record(inventory, POLICY)["incidents"].tolist() == [1]


def test_who_moved_is_on_neither_side_until_an_earlier_snapshot_says_when():
    events = [
        incident(1, "a", "05-01", platform_at_time="host"),
        incident(2, "b", "05-01"),
    ]
    now = fleet([service("a", "docker"), service("b", "docker")], events)
    alone = track.track_record(now, POLICY).set_index("service_id")
    assert pd.isna(alone.loc["a", "side"])
    assert alone.loc["b", "side"] == "container"
    was = fleet([service("a", "host"), service("b", "docker")], at="2026-07-01T00:00:00Z")
    both = track.track_record(now, POLICY, previous=was).set_index("service_id")
    assert both.loc["a", "side"] == "host"
    assert both.loc["a", "service_months"] == pytest.approx(91 / (365.25 / 12))
    assert both.loc["a", "incidents"] == 1


def test_platform_is_read_off_the_replicas_where_nobody_declared_it():
    replicas = [
        {"workload_id": "1", "service_id": "a", "source_kind": "container"},
        {"workload_id": "2", "service_id": "b", "source_kind": "unit"},
        {"workload_id": "3", "service_id": "c", "source_kind": "unit"},
        {"workload_id": "4", "service_id": "c", "source_kind": "container"},
    ]
    inventory = fleet([service(name) for name in "abcd"], workloads=replicas)
    found = track.platforms(inventory, POLICY)
    assert found.dropna().to_dict() == {"a": "docker", "b": "host"}


def test_nobody_watched_is_no_record():
    inventory = from_frames(
        {"services": pd.DataFrame([service("a", "host")])}, snapshot_at=AT
    )
    assert track.track_record(inventory, POLICY).empty


def test_time_to_heal_by_side():
    inventory = fleet(
        [service("a", "docker"), service("b", "host")],
        [
            incident(1, "a", "05-01", ttr_s=600),
            incident(2, "a", "05-02", ttr_s=1200),
            incident(3, "a", "09-30", resolved_at=None),
            incident(4, "b", "05-02", resolved_at="2026-05-02T01:00:00Z"),
        ],
    )
    found = track.time_to_heal(inventory, POLICY).set_index("side")
    assert found.loc["container", ["n", "open_n"]].tolist() == [3, 1]
    assert found.loc["container", "median"] == 20  # of 10, 20 and at least 1,440 minutes
    assert found.loc["host", ["median", "n", "open_n"]].tolist() == [60, 1, 0]


def activity(number, kind, at, seconds=0, **more):
    begun = pd.Timestamp(f"2026-{at}", tz="UTC")
    return {
        "activity_id": f"x{number}",
        "kind": kind,
        "started_at": begun,
        "group": "asg",
        "ended_at": begun + pd.Timedelta(seconds=seconds),
        **more,
    }


def test_replacements_in_time_too_late_never_and_not_over_yet():
    pairs = [
        activity(1, "terminate", "05-01T10:00", cause="health"),
        activity(2, "launch", "05-01T10:01", 200, cause="health"),  # 260 s
        activity(3, "terminate", "06-01T10:00", cause="health"),
        activity(4, "launch", "06-01T10:01", 300, cause="health"),  # 360 s
        activity(5, "terminate", "07-01T10:00", cause="health"),  # nothing came
        activity(6, "terminate", "08-01T10:00", cause="scale"),  # nobody was ill
        activity(
            7, "terminate", "09-30T23:58", cause="health"
        ),  # two minutes before the snapshot
        {
            **activity(8, "terminate", "09-30T10:00", cause="health"),
            "started_at": "2027-05-01",
        },
    ]
    inventory = fleet([service("a", "docker")], activities=pairs)
    table = track.self_healing(inventory, POLICY, seconds=300)
    assert table[["yes", "no", "unknown"]].iloc[0].tolist() == [1, 2, 1]
    share = track.self_heal_share(table, level=0.95)
    assert share.point == pytest.approx(1.5 / 4)


def test_days_before_an_upgrade_are_compared_with_the_days_after():
    hosts = [{"host_id": "h1"}, {"host_id": "h2"}]
    engines = [
        {"host_id": h["host_id"], "runtime": "docker", "version": "28.5.1"} for h in hosts
    ]
    upgrades = [
        {
            **activity(1, "engine_upgrade", "06-10"),
            "host_id": "h1",
            "to_version": "28.5.1",
        },
        {
            **activity(2, "engine_upgrade", "09-27"),
            "host_id": "h2",
            "to_version": "28.5.1",
        },
    ]
    events = [
        incident(1, "a", "06-12", host_id="h1"),
        incident(2, "a", "06-13", host_id="h1"),
        incident(3, "a", "06-08", host_id="h1"),
        incident(4, "a", "06-12", host_id="h2"),
    ]
    inventory = fleet(
        [service("a", "docker")],
        events,
        hosts=hosts,
        engines=engines,
        activities=upgrades,
    )
    row = track.around_upgrades(inventory, POLICY).iloc[0]
    assert row[["after", "before"]].tolist() == [2, 1]
    assert row["days_after"] == pytest.approx(
        7 + 4
    )  # the second window was cut by the snapshot
    assert row["days_before"] == pytest.approx(14)
    ratio = track.ratio_of(track.around_upgrades(inventory, POLICY), level=0.95)
    assert ratio.point == pytest.approx((2 / 11) / (1 / 14))


def test_no_upgrade_ever():
    row = track.around_upgrades(fleet([service("a", "docker")]), POLICY).iloc[0]
    assert row[["after", "before"]].tolist() == [0, 0]
    assert np.isnan(track.ratio_of(pd.DataFrame([row]), level=0.95).point)
