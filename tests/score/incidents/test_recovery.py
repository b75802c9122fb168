"""Time to heal, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from assess.inventory import from_frames
from assess.policy import load_policy
from assess.score.incidents import exposure, sound_incidents
from assess.score.incidents.recovery import (
    closed_by_timer,
    heal_table,
    heal_times,
    incident_minutes,
    replacements,
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
    # an activity there that nobody can name may be the launch
    pairs[1] = {**pairs[1], "kind": None}
    inventory = fleet([service("a", "docker")], activities=pairs)
    table = self_healing(inventory, POLICY, seconds=300)
    assert table[["yes", "no", "unknown"]].iloc[0].tolist() == [0, 0, 4]


LONGEST = pd.Timedelta(minutes=POLICY["blast_radius"]["pair_within_minutes"])
DOWN = pd.Timestamp("2026-05-01T10:00:00Z")


def replaced(*launches, **lost):
    """Return the seconds until the one lost instance was replaced; None if it was not."""
    rows = [activity(0, "terminate", "05-01T10:00", **{"cause": "health", **lost})]
    for n, launch in enumerate(launches, start=1):
        begun = DOWN + launch.pop("after")
        made = {"started_at": begun, "ended_at": begun, "cause": "health", **launch}
        rows.append(activity(n, "launch", "05-01T10:00") | made)
    (pair,) = replacements(fleet([service("a")], activities=rows), POLICY).itertuples()
    assert pair.ended_at == DOWN and pair.place == "asg"
    took = pair.healed_at - pair.ended_at
    return None if pd.isna(took) else took.total_seconds()


MINUTE = pd.Timedelta(minutes=1)
A_MOMENT = pd.Timedelta("1us")


@pytest.mark.parametrize(
    ("launch", "seconds"),
    [
        ({}, 60),
        ({"after": LONGEST}, LONGEST.total_seconds()),
        ({"after": LONGEST + A_MOMENT}, None),  # it replaces something else
        ({"cause": None}, 60),
        ({"cause": "unknown"}, 60),
        ({"cause": "scale"}, None),
        ({"status": "Failed"}, None),
        ({"status": "CANCELLED"}, None),
        ({"status": "Successful"}, 60),
        ({"status": None}, 60),
        ({"ended_at": None, "duration_s": 90.0}, 150),
        ({"ended_at": None}, 60),
        ({"ended_at": DOWN}, 60),  # what ended before it began ended at once
        ({"ended_at": pd.Timestamp(AT)}, (pd.Timestamp(AT) - DOWN).total_seconds()),
        ({"ended_at": pd.Timestamp(AT) + A_MOMENT}, None),
        ({"group": "other"}, None),
        ({"group": None, "service_id": "asg"}, 60),
        ({"kind": "deploy"}, None),
    ],
)
def test_what_replaces_an_instance(launch, seconds):
    assert replaced({"after": MINUTE, **launch}) == seconds


def test_each_launch_replaces_one_and_the_oldest_first():
    rows = [
        activity(0, "terminate", "05-01T10:00", cause="health"),
        activity(1, "terminate", "05-01T10:01", cause="health"),
        activity(2, "launch", "05-01T10:02", cause="health"),
        activity(3, "launch", "05-01T10:05", cause="health"),
        activity(4, "launch", "05-01T10:06", cause="health"),
    ]
    pairs = replacements(fleet([service("a")], activities=rows), POLICY)
    took = (pairs["healed_at"] - pairs["ended_at"]).dt.total_seconds()
    assert took.tolist() == [120, 240]


@pytest.mark.parametrize(
    ("before_snapshot", "seconds", "cause", "counts"),
    [
        (600, 300, "health", [0, 1, 0]),
        (300, 300, "health", [0, 1, 0]),  # all of its time has passed
        (299, 300, "health", [0, 0, 1]),
        (600, 300, None, [0, 0, 1]),  # nobody knows why it ended
    ],
)
def test_who_was_not_replaced_has_its_time(before_snapshot, seconds, cause, counts):
    begun = pd.Timestamp(AT) - pd.Timedelta(seconds=before_snapshot)
    lost = activity(0, "terminate", "05-01", cause=cause) | {"started_at": begun}
    inventory = fleet([service("a")], activities=[lost])
    table = self_healing(inventory, POLICY, seconds=seconds)
    assert table[["yes", "no", "unknown"]].iloc[0].tolist() == counts
    assert pd.isna(table["median_s"].iloc[0])


@pytest.mark.parametrize(("took", "counts"), [(300, [1, 0, 0]), (301, [0, 1, 0])])
def test_in_time_is_up_to_the_last_second(took, counts):
    pair = [
        activity(0, "terminate", "05-01T10:00", cause="health"),
        activity(1, "launch", "05-01T10:00", took, cause="health"),
    ]
    table = self_healing(fleet([service("a")], activities=pair), POLICY, seconds=300)
    assert table[["yes", "no", "unknown"]].iloc[0].tolist() == counts
    assert table[["median_s", "longest_s"]].iloc[0].tolist() == [took, took]


def test_the_last_basis_that_knows_a_service_wins():
    """Its group's replacements, else its incidents, else the policy."""
    pair = [
        activity(0, "terminate", "05-01T10:00", cause="health"),
        activity(1, "launch", "05-01T10:02", 60, cause="health"),
    ]
    told = [incident(n, name, "05-02", ttr_s=600) for n, name in enumerate("abc")]
    inventory = fleet(
        [service(name) for name in "abcd"],
        told,
        activities=pair,
        hosts=[{"host_id": "h", "asg_name": "asg"}],
        workloads=[
            {"workload_id": "1", "service_id": "a", "host_id": "h"},
            {"workload_id": "2", "service_id": "b", "cluster": "asg"},
        ],
    )
    found = heal_times(inventory, POLICY)
    policy = POLICY["blast_radius"]
    assert found["minutes"].tolist() == [3, 3, 10, policy["heal_minutes"]]
    assert found["minutes_p95"].tolist() == [3, 3, 10, policy["heal_minutes_p95"]]
    wanted = ["activities", "activities", "incidents", "policy"]
    assert found["minutes_basis"].tolist() == wanted


def test_a_launch_without_an_end_may_have_taken_longer():
    rows = [
        activity(n, kind, f"05-0{day}T10:0{n}", 120, cause="health")
        for day in (1, 2)
        for n, kind in ((2 * day, "terminate"), (2 * day + 1, "launch"))
    ]

    def found(*untimed):
        ends = {n: {"ended_at": None} if n in untimed else {} for n in range(4)}
        made = fleet(
            [service("asg")],
            activities=[row | ends[n] for n, row in enumerate(rows)],
        )
        healed = heal_times(made, POLICY).loc["asg"]
        (counts,) = self_healing(made, POLICY, seconds=200).to_dict("records")
        return healed["minutes_p95"], counts["yes"], counts["unknown"]

    assert found() == (3, 2, 0)
    assert found(1) == (3, 1, 1)
    assert found(1, 3) == (POLICY["blast_radius"]["heal_minutes_p95"], 0, 2)


@pytest.mark.parametrize(
    ("more", "minutes", "is_closed"),
    [
        ({"ttr_s": 90.0, "resolved_at": "2026-09-30T12:00:00Z"}, 1.5, True),
        ({"resolved_at": "2026-09-30T12:00:00Z"}, 720, True),
        ({"resolved_at": AT}, 1440, True),  # up to the snapshot
        ({"resolved_at": "2026-10-01T00:00:01Z"}, 1440, False),
        ({"ttr_s": 86401.0}, 1440, False),
        ({}, 1440, False),
    ],
)
def test_an_open_incident_has_lasted_up_to_the_snapshot(more, minutes, is_closed):
    inventory = fleet([service("a")], [incident(1, "a", "09-30", **more)])
    found = incident_minutes(inventory, POLICY)
    assert found[["minutes", "closed"]].iloc[0].tolist() == [minutes, is_closed]


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
    assert len(sound_incidents(inventory)) == 2


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


TIMER = POLICY["incidents"]


def closings(*days, source="incidents", basis="closed_at"):
    opened = pd.Timestamp("2026-05-01", tz="UTC")
    rows = {
        "source": source,
        "resolved_basis": basis,
        "opened_at": opened,
        "resolved_at": [opened + pd.Timedelta(days=d) for d in days],
    }
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("days", "is_timer"),
    [
        ([3.1] * TIMER["timer_n"], True),
        ([3.1] * (TIMER["timer_n"] - 1), False),
        ([1.0] * TIMER["timer_n"], True),  # a day is the least that a timer waits
        ([0.9] * TIMER["timer_n"], False),
        ([3.1] * 5 + [9.1, 8.1, 7.1, 6.1, 5.1], True),  # half of them
        ([3.1] * 5 + [9.1, 8.1, 7.1, 6.1, 5.1, 4.1], False),
    ],
)
def test_a_timer_is_what_closes_most_after_the_same_number_of_days(days, is_timer):
    rows = closings(*days)
    assert closed_by_timer(rows, POLICY).tolist() == [is_timer] * len(rows)


def test_only_closings_of_the_source_with_the_timer_are_doubted():
    n = TIMER["timer_n"]
    rows = pd.concat(
        [
            closings(*[3.1] * n),
            closings(*[3.1] * n, basis="resolved_at"),
            closings(*[0.1] * n, source="pagerduty"),
            closings(0.1, source=None, basis="closed_at by timer"),
            closings(0.1, source=None, basis=None),
        ],
        ignore_index=True,
    )
    found = closed_by_timer(rows, POLICY).tolist()
    assert found == [True] * n + [False] * 2 * n + [True, False]
