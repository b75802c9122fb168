"""What a series of snapshots tells of upgrades, worked by hand and in general."""

from __future__ import annotations

import weakref
from functools import reduce
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from churn_fleet import POLICY, fleet, incident, upgrade
from hypothesis import given, settings
from hypothesis import strategies as st

import assess
from assess import store
from assess.errors import AssessError
from assess.score.incidents import days_in, united
from assess.score.upgrade_churn import pace
from assess.score.upgrade_churn.history import (
    NOWHERE,
    History,
    Sight,
    UnsoundSnapshotWarning,
    _incidents,
    known_history,
    upgrade_history,
)
from assess.score.upgrade_churn.pace import fleet_pace, image_rates
from assess.score.upgrade_churn.sights import Image

START = pd.Timestamp("2024-01-01", tz="UTC")


def day(number):
    return START + pd.Timedelta(days=number)


def snapshot(number, engines=(), images=(), **tables):
    """A fleet on a day: engines as host -> (runtime, version), images as service -> references."""
    hosts = [{"host_id": host} for host in dict(engines)]
    rows = [
        {"host_id": h, "runtime": r, "version": v} for h, (r, v) in dict(engines).items()
    ]
    workloads = [
        {
            "workload_id": f"{service}{n}",
            "service_id": service,
            "registry": registry,
            "repository": repository,
            "tag": tag,
            "image_digest": digest,
            "state": "running",
        }
        for service, held in dict(images).items()
        for n, (registry, repository, tag, digest) in enumerate(held)
    ]
    services = [{"service_id": name} for name in dict(images)] or [{"service_id": "shop"}]
    return fleet(
        day(number),
        services=services,
        hosts=hosts,
        engines=rows,
        workloads=workloads,
        **tables,
    )


def docker(**versions):
    return {host: ("docker", version) for host, version in versions.items()}


FOUR = [
    snapshot(
        0,
        {
            **docker(up="20.10.5", back="24.0.7", gone="24.0.7", dark="20.10.5"),
            "swap": ("docker", "24.0.7"),
        },
    ),
    snapshot(
        100,
        {
            **docker(up="20.10.24", back="25.0.0", dark=None),
            "swap": ("containerd", "1.7.2"),
        },
    ),
    snapshot(
        200,
        {
            **docker(up="20.10.24+dfsg1", back="24.0.7", gone="25.0.0", dark="24.0.7"),
            "swap": ("containerd", "1.7.2"),
        },
    ),
    snapshot(
        365,
        {
            **docker(up="24.0.7", back="24.0.7", gone="25.0.0", dark="24.0.7"),
            "swap": ("containerd", "1.7.9"),
        },
    ),
]


def test_four_snapshots_by_hand():
    past = upgrade_history(FOUR, POLICY)
    assert {(m.host_id, (m.after - START).days): m.step.change for m in past.moves} == {
        ("up", 0): "patch",
        ("up", 200): "major",
        ("back", 0): "major",
        ("back", 100): "rollback",
        ("swap", 0): "swap",
        ("swap", 200): "patch",
    }
    watched = {host: days_in(spans) for host, spans in past.hosts.items()}
    assert watched == {"up": 365, "back": 365, "swap": 365, "gone": 165, "dark": 165}
    rates = pace.own_rates(FOUR[-1], POLICY, past)
    year = 365 / 365.25
    assert {host: rate.point for host, rate in rates.items()} == pytest.approx(
        {"up": 2 / year, "back": 1 / year, "swap": 2 / year, "gone": 0, "dark": 0}
    )
    assert all(rate.lo <= rate.point <= rate.hi for rate in rates.values())
    assert rates["gone"].hi > 0
    (engine, *_) = fleet_pace(past, POLICY).to_dict("records")
    assert (engine["changes_n"], engine["rollbacks_n"]) == (5, 1)
    assert engine["watched_years"] == pytest.approx((3 * 365 + 2 * 165) / 365.25)


def test_three_snapshots_of_images_by_hand():
    first, second = "sha256:" + "a" * 64, "sha256:" + "b" * 64
    web, job = ("registry.example", "shop/web"), ("registry.example", "shop/job")
    db, nginx = ("docker.io", "library/postgres"), ("docker.io", "library/nginx")
    redis, valkey = ("docker.io", "library/redis"), ("docker.io", "valkey/valkey")
    late = {"late": [(*nginx, "latest", None)]}
    series = [
        snapshot(
            0,
            images={
                **late,
                "web": [(*web, "1.0", first)],
                "db": [(*db, "9.5.25", None)],
                "kv": [(*redis, "7.2", None)],
                "lost": [(*nginx, "1.25", None)],
                "job": [(*job, "3f2a1bc", None)],
            },
        ),
        snapshot(
            50,
            images={
                **late,
                "web": [(*web, "stable", first)],
                "db": [(*db, "9.6.24", None)],
                "kv": [(*valkey, "8.0.1", None)],
                "job": [(*job, "99e0d1f", None)],
            },
        ),
        snapshot(
            200,
            images={
                **late,
                "web": [(*web, "stable", second)],
                "db": [(*db, "9.5.25", None)],
                "kv": [(*valkey, "8.0.1", None)],
                "lost": [(*nginx, "1.27", None)],
                "job": [(*job, "99e0d1f", first)],
            },
        ),
    ]
    past = upgrade_history(series, POLICY)
    found = {(m.service_id, (m.after - START).days): m.change for m in past.moved}
    assert found == {
        ("db", 0): "major",
        ("kv", 0): "swap",
        ("job", 0): "unknown",
        ("late", 0): "unknown",
        ("web", 50): "rebuild",
        ("db", 50): "rollback",
        ("late", 50): "unknown",
    }
    index = pd.Index(["db", "job", "kv", "late", "lost", "web"], name="service_id")
    rates = image_rates(past, index, POLICY)
    third, ours = rates["third_party_changes_n"], rates["first_party_changes_n"]
    assert third[["db", "kv"]].tolist() == [2, 1]
    # a commit that differs is another image
    assert ours[["web", "job"]].tolist() == [1, 1]
    # nobody could see whether they moved
    assert rates.loc[["late", "lost"]].isna().all(axis=None)
    per_year = rates["third_party_changes_per_year"]
    assert per_year["db"] == pytest.approx(2 / (200 / 365.25))
    assert rates["first_party_changes_per_year"]["job"] == pytest.approx(
        1 / (200 / 365.25)
    )
    lo, hi = (rates[f"third_party_changes_per_year{end}"] for end in ("_lo", "_hi"))
    assert ((lo <= per_year) & (per_year <= hi)).dropna().all()
    assert (hi["db"] > 0) & (lo["db"] > 0)


def test_what_is_recorded_is_not_seen_again_and_older_records_count():
    told = [
        upgrade(1, "2024-02-01", host="h"),
        upgrade(2, "2024-05-01", host="h", to="24.0.7"),
    ]
    series = [
        snapshot(0, docker(h="20.10.5")),
        snapshot(90, docker(h="20.10.24"), activities=told[:1]),
        snapshot(180, docker(h="24.0.7"), activities=told[1:]),
        snapshot(365, docker(h="25.0.3"), activities=[{**told[1], "kind": "deploy"}]),
    ]
    past = upgrade_history(series, POLICY)
    assert sorted(m.after for m in past.moves) == [
        *(a for _, a in sorted(past.recorded)),
        day(180),
    ]
    assert len(past.recorded) == 2
    assert days_in(past.hosts["h"]) == 365


@pytest.mark.parametrize(
    ("was", "now", "line"),
    [
        ("20.10.5", "24.0.7", "docker 24.0"),
        ("20.10.5", None, "docker 20.10"),
        (None, "24.0.7", "docker 24.0"),
        (None, None, None),
    ],
)
def test_a_recorded_upgrade_is_of_the_line_that_it_leads_to_else_came_from(
    was, now, line
):
    told = upgrade(1, "2024-02-01", host="h")
    told |= {"from_version": was, "to_version": now}
    past = upgrade_history([snapshot(90, docker(h="25.0.3"), activities=[told])], POLICY)
    (move,) = past.moves
    assert move.step.line == line


def test_a_rollback_soon_enough_is_a_failure_and_a_late_one_may_be():
    quiet = [incident(1, "2024-01-01", host_id="other")]
    versions = ("24.0.7", "25.0.0", "24.0.7")
    for days, expected in (((0, 2, 5, 60), (1, 1, 1)), ((0, 30, 60, 90), (1, 0, 1))):
        series = [
            snapshot(n, docker(h=version), incidents=quiet)
            for n, version in zip(days, (*versions, versions[-1]), strict=True)
        ]
        assert (
            pace.upgrade_failures(upgrade_history(series, POLICY), POLICY)[""] == expected
        )


def test_an_upgrade_of_which_nobody_watched_the_week_is_not_judged():
    def now(since):
        asked = {
            "run_id": "r",
            "source": "incidents",
            "scope": "s",
            "call": "read",
            "status": "ok",
            "window_start": day(since),
            "window_end": day(400),
        }
        told = [incident(1, "2024-12-01", host_id="h")]
        return snapshot(365, docker(h="20.10.24"), incidents=told, coverage=[asked])

    was = snapshot(0, docker(h="20.10.5"))  # without incidents
    for since, judged in ((90, {}), (0, {"": (1, 0, 1), "docker 20.10": (1, 0, 1)})):
        past = upgrade_history([was, now(since)], POLICY)
        assert len(pace.upgrades(past.moves)) == 1
        assert pace.upgrade_failures(past, POLICY) == judged
        assert past.looked == ((day(since), day(365)),)  # nobody looks into the future


def test_what_was_carried_forward_was_not_seen():
    engines = [
        {
            "host_id": host,
            "runtime": "docker",
            "version": "24.0.7",
            "source": "docker",
            "source_ref": host,
        }
        for host in ("one", "two")
    ]

    def at(number, *calls):
        coverage = [
            {
                "run_id": "r",
                "source": "docker",
                "scope": scope,
                "call": call,
                "status": status,
            }
            for scope, call, status in calls
        ]
        hosts = [{"host_id": row["host_id"]} for row in engines]
        tables = {"hosts": hosts, "engines": engines, "coverage": coverage}
        return fleet(day(number), workloads=None, **tables)

    lost = ("two", "version", "denied"), ("two", "carried:engines", "stale")
    for answer, watched in (("ok", {"one": 200}), ("timeout", {})):
        series = [at(0), at(100, ("one", "version", answer), *lost), at(200)]
        past = upgrade_history(series, POLICY)
        assert {host: days_in(spans) for host, spans in past.hosts.items()} == watched


@pytest.mark.parametrize(
    ("version", "moves", "days"),
    [
        ("20.10.24+dfsg1", 0, 200),
        ("20.10.24-ce", 0, 200),
        ("99.0.0", 1, 200),
        ("master", 2, 0),
        ("", 0, 0),
        (" ", 0, 0),
        (None, 0, 0),
    ],
)
def test_a_version_in_the_middle_that_nobody_can_read(version, moves, days):
    series = [
        snapshot(n, docker(h=v))
        for n, v in ((0, "20.10.24"), (100, version), (200, "20.10.24"))
    ]
    past = upgrade_history(series, POLICY)
    assert days_in(past.hosts.get("h", ())) == days
    assert len(pace.upgrades(past.moves)) == moves
    rates = pace.own_rates(series[-1], POLICY, past)
    assert ("h" in rates) == (days > 0)  # unknown is not at rest


def test_two_runtimes_on_a_host_are_no_swap():
    both = [
        {"host_id": "h", "runtime": r, "version": v}
        for r, v in (("docker", "25.0.0"), ("containerd", "1.7.2"))
    ]
    was = snapshot(0, docker(h="24.0.7"))
    now = fleet(day(100), hosts=[{"host_id": "h"}], engines=both, workloads=None)
    (move,) = upgrade_history([was, now], POLICY).moves
    assert (move.step.change, move.step.line) == ("major", "docker 25.0")


def test_a_series_of_one_is_the_previous_snapshot():
    one, both = (
        assess.score_upgrade_churn(FOUR[-1], POLICY, **given)
        for given in (
            {"previous": FOUR[-2]},
            {"history": upgrade_history(FOUR[2:3], POLICY)},
        )
    )
    pd.testing.assert_frame_equal(one.frame, both.frame)
    whole = known_history(FOUR[-1], POLICY, history=upgrade_history(FOUR[:-1], POLICY))
    assert whole.moves == upgrade_history(FOUR, POLICY).moves
    assert known_history(FOUR[-1], POLICY, history=whole) is whole
    later = known_history(FOUR[0], POLICY, history=whole, previous=FOUR[-1])
    assert later.moves == []


def test_snapshots_out_of_order_are_refused_or_left_out():
    parts = [History.of(inventory, POLICY) for inventory in FOUR]
    with pytest.raises(AssessError, match="out of order"):
        _ = parts[1] + parts[0]
    with pytest.raises(AssessError, match="out of order"):
        _ = parts[0] + parts[0]  # of one moment
    again = upgrade_history([FOUR[0], FOUR[0], FOUR[1]], POLICY)
    assert again.moves == upgrade_history(FOUR[:2], POLICY).moves
    assert (repr(History()), repr(again)) == (
        "<History of nothing>",
        "<History 2024-01-01 to 2024-04-10: 3 engines, 0 images changed>",
    )


VERSION = st.sampled_from([None, "20.10.5", "20.10.24", "24.0.7", "master"])
SERIES = st.lists(
    st.tuples(
        st.integers(1, 200), st.dictionaries(st.sampled_from("abc"), VERSION, max_size=3)
    ),
    min_size=2,
    max_size=6,
)


def sighted(series):
    """Histories of single snapshots, made without frames."""
    found, at = [], START
    for days, hosts in series:
        at += pd.Timedelta(days=days)
        engines = {
            host: {"docker": version} for host, version in hosts.items() if version
        }
        images = {
            h: {Image("docker.io", h, version)} for h, version in hosts.items() if version
        }
        sight = Sight(at, engines, images)
        found.append(History(first=sight, last=sight))
    return found


def told(past):
    """What every rate is made of."""
    held = {
        **past.hosts,
        **{f"image {name}": spans for name, spans in past.services.items()},
    }
    days = {name: days_in(spans) for name, spans in held.items()}
    images = sorted((m.service_id, str(m.now)) for m in past.moved if m.was != m.now)
    return days, sorted((m.host_id, m.step.change) for m in past.moves), images


def summed(parts):
    return reduce(lambda one, other: one + other, parts)


@settings(max_examples=60)
@given(series=SERIES, at=st.integers(0, 5), share=st.floats(0.1, 0.9))
def test_another_identical_snapshot_changes_no_rate(series, at, share):
    at = min(at, len(series) - 2)
    days, hosts = series[at + 1]
    inside = round(days * share)
    if 0 < inside < days:
        rest = (days - inside, hosts), *series[at + 2 :]
        split = [*series[: at + 1], (inside, series[at][1]), *rest]
        (watched, *moves), (more, *same) = (
            told(summed(sighted(s))) for s in (series, split)
        )
        assert moves == same
        seen = {
            host for host, version in series[at][1].items() if version and hosts.get(host)
        }
        fixed = {host for host in seen if hosts[host] != "master"}
        lost = {
            f"{what}{h}" for h in series[at][1].keys() - fixed for what in ("", "image ")
        }
        assert {k: v for k, v in more.items() if k not in lost} == pytest.approx(
            {k: v for k, v in watched.items() if k not in lost}
        )
        # gone later, and seen once more
        assert all(more[k] >= watched.get(k, 0) for k in more)


@settings(max_examples=60)
@given(series=SERIES, at=st.integers(1, 5))
def test_parts_of_a_series_add_up_to_it_wherever_they_are_cut(series, at):
    parts = sighted(series)
    at = min(at, len(parts) - 1)
    whole = summed(parts)
    both = summed(parts[:at]) + summed(parts[at:])
    assert (both.seen, both.moved, both.hosts) == (whole.seen, whole.moved, whole.hosts)
    pairs = [one + other for one, other in pairwise(parts)]
    assert sum(len(pair.moves) for pair in pairs) == len(whole.moves)
    for host, spans in whole.hosts.items():
        assert united(*(s for pair in pairs for s in pair.hosts.get(host, ()))) == spans


@pytest.mark.parametrize("shape", [8.0, 2.0])
def test_intervals_cover_the_true_rate_about_as_often_as_they_say(shape):
    """Of 300 hosts, seen every fortnight for two years, and now and then missed."""
    rng = np.random.default_rng(2026)
    names = [f"h{n}" for n in range(300)]
    rates = rng.gamma(shape, 1.0 / shape, len(names))
    patches, past = np.zeros(len(names), dtype=int), History()
    for fortnight in range(53):
        engines = {
            host: {"docker": f"24.0.{patch}"}
            for host, patch, is_seen in zip(
                names, patches, rng.random(300) > 0.1, strict=True
            )
            if is_seen
        }
        sight = Sight(day(14 * fortnight), engines, {})
        past = past + History(first=sight, last=sight)
        patches = patches + rng.poisson(rates * 14 / 365.25)
    found = pace.own_rates(
        snapshot(728, docker(**dict.fromkeys(names, "24.0.1"))), POLICY, past
    )
    covered = [
        found[h].lo <= rate <= found[h].hi for h, rate in zip(names, rates, strict=True)
    ]
    assert 0.85 <= np.mean(covered) <= 0.96
    (engine, *_) = fleet_pace(past, POLICY).to_dict("records")
    assert engine["per_year_lo"] <= rates.mean() <= engine["per_year_hi"]


def test_a_store_is_walked_one_inventory_at_a_time_or_by_many(tmp_path):
    for number, inventory in enumerate(FOUR):
        store.write_snapshot(inventory, tmp_path / f"{number}")
    (tmp_path / "half").mkdir()
    paths = store.earlier(tmp_path / "3")
    assert [path.name for path in paths] == ["0", "1", "2"]
    whole = upgrade_history(FOUR[:3], POLICY)
    with assess.working(processes=2):
        shared = upgrade_history(paths, POLICY)
    for past in (upgrade_history(paths, POLICY), shared):
        assert told(past) == told(whole)
    alive = weakref.WeakSet()

    def watched():
        for path in paths:
            assert len(alive) <= 1
            inventory = assess.load(path)
            alive.add(inventory)
            yield inventory

    assert told(upgrade_history(watched(), POLICY)) == told(whole)


def test_a_snapshot_that_cannot_be_read_leaves_a_longer_period(tmp_path):
    for number, inventory in enumerate(FOUR):
        store.write_snapshot(inventory, tmp_path / f"{number}", format="csv")
    (tmp_path / "1" / "engines.csv").write_text("host_id,runtime\nup\n")
    newer = (
        tmp_path / "0" / "engines.csv"
    )  # a column of a later version is no matter here
    pd.read_csv(newer, dtype=str).assign(colour="blue").to_csv(newer, index=False)
    with pytest.warns(UnsoundSnapshotWarning, match="no part of the history"):
        past = upgrade_history(store.earlier(tmp_path / "3"), POLICY)
    assert told(past) == told(upgrade_history([FOUR[0], FOUR[2]], POLICY))


def test_an_incident_is_where_it_says_else_perhaps_where_its_services_are():
    rows = [
        incident(1, "2026-01-01", host_id="h1", service_id="till"),
        incident(2, "2026-01-02", service_id="shop", affected_services="till;gone"),
        incident(3, "2026-01-03", affected_services="gone"),
        incident(4, "2026-01-04", service_id="wide"),
    ]
    services = [{"service_id": name} for name in ("shop", "till", "wide")]
    hosts = {"shop": {"h1"}, "till": {"h2"}, "wide": {"h1", "h2"}}
    found = _incidents(fleet(services=services, incidents=rows), hosts)
    places = sorted((moment.day, host, sure) for host, moment, sure in found)
    assert places == [
        *((1, "h1", True), (2, "h1", True), (2, "h2", True)),
        (3, NOWHERE, False),
        *((4, "h1", False), (4, "h2", False)),
    ]
