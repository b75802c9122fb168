"""Time to heal, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from assess.inventory import from_frames
from assess.policy.policy import load_policy
from assess.score.incidents.exposure import counted_incidents, exposure
from assess.score.incidents.recovery import (
    heal_table,
    heal_times,
    incident_minutes,
    self_healing,
    time_to_heal,
)

POLICY = load_policy()
AT = "2026-10-01T00:00:00Z"


def healed(minutes, closed):
    """Return median and 95th percentile of one group, another group beside it."""
    rows = pd.DataFrame({"minutes": minutes, "closed": closed}).astype(float)
    rows = pd.concat([rows, rows.assign(minutes=rows["minutes"] * 2)], ignore_index=True)
    key = pd.Series(["one", "two"]).repeat(len(rows) // 2).reset_index(drop=True)
    table = heal_table(rows, key)[["median", "p95"]]
    assert tuple(table.loc["two"] / 2) == tuple(table.loc["one"])
    return tuple(table.loc["one"])


@pytest.mark.parametrize(
    ("minutes", "closed", "want"),
    [
        ([10, 20, 30, 40], [1, 1, 1, 1], (20, 40)),
        ([10, 20, 30, 40], [1, 0, 1, 1], (30, 40)),
        ([10, 20, 30, 40], [0, 1, 0, 1], (40, 40)),  # dropping the open ones would say 20
        # two thirds still open after 20 minutes
        ([40, 10, 20, 30], [0, 0, 1, 0], (40, 40)),
        ([5], [1], (5, 5)),
    ],
)
def test_open_incidents_are_censored(minutes, closed, want):
    assert healed(minutes, closed) == want


def test_what_is_still_open_does_not_shorten_the_median():
    """Exponential times, a third of them cut short: the truth is ln 2 times the mean of 60."""
    rng = np.random.default_rng(4)
    kept, dropped = [], []
    for _ in range(400):
        minutes, cut = rng.exponential(60, 60), rng.exponential(120, 60)
        closed = minutes <= cut
        kept.append(healed(np.minimum(minutes, cut), closed)[0])
        dropped.append(np.median(minutes[closed]))
    truth = 60 * np.log(2)
    assert np.mean(kept) == pytest.approx(truth, rel=0.05)
    assert np.mean(dropped) < 0.8 * truth


def fleet(services, incidents=(), **frames):
    tables = {"services": services, "incidents": incidents, **frames}
    made = {name: pd.DataFrame(list(rows)) for name, rows in tables.items() if len(rows)}
    return from_frames(made, snapshot_at=AT)


def service(name, platform=None):
    return {"service_id": name, "platform": platform}


def incident(number, name, day, **more):
    return {
        "incident_id": f"i{number}",
        "service_id": name,
        "opened_at": f"2026-{day}",
        **more,
    }


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
    found = time_to_heal(inventory, POLICY).set_index("side")
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
        # two minutes before the snapshot
        activity(7, "terminate", "09-30T23:58", cause="health"),
        {
            **activity(8, "terminate", "09-30T10:00", cause="health"),
            "started_at": "2027-05-01",
        },
    ]
    inventory = fleet([service("a", "docker")], activities=pairs)
    table = self_healing(inventory, POLICY, seconds=300)
    assert table[["yes", "no", "unknown"]].iloc[0].tolist() == [1, 2, 1]


def closed(number, days, **more):
    """Return an incident of which only the closing is known."""
    end = pd.Timestamp("2026-05-01T00:00:00Z") + pd.Timedelta(days=days)
    told = {"resolved_at": end, "resolved_basis": "closed_at", "source": "incidents"}
    return incident(number, "a", "05-01", **{**told, **more})


@pytest.mark.parametrize(
    ("closings", "median"),
    [
        ([5.1, 5.2, 5.3, 5.1, 0.2], 10),  # a timer of five days: no closing is a repair
        ([1.5, 2.2, 0.1, 4.7, 0.2], 2160),  # people closed them
        ([5.1, 5.2], 7344),  # too few to tell
    ],
)
def test_a_closing_that_a_timer_set_is_no_repair(closings, median):
    rows = [closed(n, days) for n, days in enumerate(closings)]
    repaired = [incident(n, "b", "05-02", ttr_s=600) for n in (10, 11, 12)]
    inventory = fleet([service("a", "docker"), service("b", "docker")], rows + repaired)
    minutes = incident_minutes(inventory, POLICY)
    known = minutes[minutes["service_id"] == "a"]["minutes"].dropna()
    if median == 10:
        assert known.empty
        assert time_to_heal(inventory, POLICY)["n"].tolist() == [3]
        assert heal_times(inventory, POLICY).loc["a", "minutes_basis"] == "policy"
    else:
        assert heal_times(inventory, POLICY).loc["a", "minutes"] == pytest.approx(median)


def test_a_basis_that_names_a_timer_is_no_repair_and_the_incident_still_counts():
    rows = [closed(1, 5, resolved_basis="closed_at by timer"), closed(2, 0.01)]
    inventory = fleet([service("a", "docker")], rows)
    assert incident_minutes(inventory, POLICY)["minutes"].isna().tolist() == [True, False]
    assert len(counted_incidents(inventory)) == 2


def test_years_that_cannot_be_move_no_mean():
    sound = [incident(n, "a", "05-02", ttr_s=600) for n in range(3)]
    odd = {"incident_id": "odd", "service_id": "a", "opened_at": "1628-01-01T00:00:00Z"}
    late = {**odd, "opened_at": "9998-01-01T00:00:00Z", "incident_id": "late"}
    with_odd = fleet([service("a", "docker")], [*sound, odd, late])
    without = fleet([service("a", "docker")], sound)
    pd.testing.assert_frame_equal(
        heal_times(with_odd, POLICY), heal_times(without, POLICY)
    )
    assert exposure(with_odd, POLICY).window == exposure(without, POLICY).window
