from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from churn_fleet import (
    AT,
    POLICY,
    THREE,
    WATCHED,
    YEARLY,
    fleet,
    incident,
    only,
    score,
    upgrade,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from assess import from_frames, load, load_policy, score_upgrade_churn
from assess.errors import RequestError
from assess.score.upgrade_churn import _per_place, _per_service, pace

SAMPLE = Path(__file__).parents[3] / "data/sample/2026Q3"


def test_a_line_with_a_known_end_forces_one_upgrade_per_window():
    row = only(fleet())
    assert row["events_per_year"] == pytest.approx(365 / 1097)
    assert row["events_per_year_lo"] == pytest.approx(365 / 1097)
    assert row["basis"] == "measured on hosts"


def test_a_line_without_an_end_spans_what_was_seen_since_2019():
    engines = [{"host_id": "h1", "runtime": "docker", "version": "29.1.0"}]
    row = only(fleet(engines=engines))
    assert row["events_per_year_lo"] == pytest.approx(365 / 1097)
    assert row["events_per_year_hi"] >= 365 / 80
    assert row["events_per_year_lo"] < row["events_per_year"] < row["events_per_year_hi"]


def test_own_history_counts_where_it_is_faster():
    history = [upgrade(i, f"2026-0{i}-10") for i in range(1, 9)]
    row = only(fleet(activities=history))
    days = (pd.Timestamp(AT) - pd.Timestamp("2026-01-10", tz="UTC")).days
    assert row["events_per_year"] == pytest.approx(8 / (days / 365.25))
    assert (
        row["events_per_year_lo"] <= row["events_per_year"] <= row["events_per_year_hi"]
    )


def test_one_upgrade_yesterday_is_no_habit():
    row = only(fleet(activities=[upgrade(1, "2026-09-28")]))
    assert row["events_per_year"] == pytest.approx(365.25 / 90)


def test_a_host_is_watched_from_its_launch_unless_its_history_is_older():
    hosts = [{"host_id": "h1", "launched_at": "2026-01-01T00:00:00Z"}]
    deploys = [{**upgrade(1, "2024-09-30"), "kind": "deploy"}, upgrade(2, "2026-06-01")]
    row = only(fleet(hosts=hosts, activities=deploys))
    assert row["events_per_year"] == pytest.approx(1 / (272 / 365.25))
    older = [*deploys, upgrade(3, "2025-06-01")]
    row = only(fleet(hosts=hosts, activities=older))
    assert row["events_per_year"] == pytest.approx(2 / (730 / 365.25))


def test_failures_hours_and_score_by_hand():
    incidents = [
        incident(1, "2025-03-05", host_id="h1"),
        incident(2, "2026-05-05", host_id="h1"),
    ]
    row = only(fleet(activities=YEARLY, incidents=incidents))
    events, chance = 3 / (730 / 365.25), 1.5 / 4  # 1 of 3 failed
    failures = events * chance
    assert row["events_per_year"] == pytest.approx(events)
    assert row["failures_per_year"] == pytest.approx(failures)
    assert row["hours_per_year"] == pytest.approx(events * 4 + failures * 8)
    assert row["score"] == pytest.approx(100 * (1 - math.exp(-failures)))
    assert row["hours_undivided"] == pytest.approx(row["hours_per_year"])
    for name in THREE:
        assert row[f"{name}_lo"] <= row[name] <= row[f"{name}_hi"]


def test_an_incident_that_nobody_placed_counts_only_above():
    clear, vague = (
        only(fleet(activities=YEARLY, incidents=[incident(1, day)], coverage=WATCHED))
        for day in ("2024-01-01", "2025-03-05")
    )
    assert vague["failures_per_year"] == clear["failures_per_year"]
    assert vague["failures_per_year_hi"] > clear["failures_per_year_hi"]


def test_without_incidents_the_chance_is_unknown():
    row = only(fleet(activities=YEARLY))
    assert row["failures_per_year_lo"] == 0
    assert row["failures_per_year_hi"] == pytest.approx(row["events_per_year_hi"])


def test_failures_are_pooled_by_line_and_else_over_the_fleet():
    hosts = [{"host_id": "h1"}, {"host_id": "h2"}]
    engines = [
        {"host_id": "h1", "runtime": "docker", "version": "20.10.24"},
        {"host_id": "h2", "runtime": "docker", "version": "24.0.7"},
    ]
    workloads = [
        {"workload_id": "w1", "service_id": "shop", "host_id": "h1"},
        {"workload_id": "w2", "service_id": "till", "host_id": "h2"},
    ]
    result = score(
        fleet(
            services=[{"service_id": "shop"}, {"service_id": "till"}],
            hosts=hosts,
            engines=engines,
            workloads=workloads,
            activities=YEARLY,
            incidents=[incident(1, "2025-03-05", host_id="h1")],
        )
    )
    chance = result.frame["failures_per_year"] / result.frame["events_per_year"]
    assert chance["shop"] == pytest.approx(1.5 / 4)
    assert chance["till"] == pytest.approx(1.5 / 4)


def test_a_service_on_two_hosts_has_their_mean_pace_and_pays_for_both():
    table = _per_place(
        [
            pace.Place(service, host, pace.MEASURED, "docker", "24.0.7")
            for service, host in (("shop", "h1"), ("shop", "h2"), ("till", "h2"))
        ],
        events=np.array([[2.0] * 3, [4.0] * 3, [4.0] * 3]),
        chance=np.full((3, 3), 0.5),
        share=np.array([[2.0] * 3, [2.0] * 3, [2.0] * 3]),
        settings={"hours_upgrade": 4.0, "hours_fix": 8.0},
    )
    shop = _per_service(table).loc["shop"]
    assert shop["events_per_year"] == 3.0
    assert shop["failures_per_year"] == 1.5
    assert shop["hours_per_year"] == (2 + 2) * (4 + 4)
    assert shop["hours_undivided"] == (2 + 4) * (4 + 4)


def test_no_rate_looks_better_where_the_host_of_a_replica_is_hidden():
    sample = load(SAMPLE)
    policy = load_policy()
    shown = score_upgrade_churn(sample, policy).frame
    workloads = sample["workloads"]
    rng = np.random.default_rng(5)
    hidden = [rng.choice(len(workloads), n, replace=False) for n in (1, 1, 1, 2, 8, 101)]
    for rows in hidden:
        table = workloads.copy()
        table.iloc[rows, table.columns.get_loc("host_id")] = pd.NA
        less = sample.replace(workloads=table)
        frame = score_upgrade_churn(less, policy).frame
        for rate in ("events_per_year", "failures_per_year", "hours_per_year", "score"):
            assert (frame[f"{rate}_hi"] > shown[f"{rate}_hi"] - 1e-9).all(), (rate, rows)
            assert (frame[f"{rate}_lo"] < shown[f"{rate}_lo"] + 1e-9).all(), (rate, rows)


def holds(wide, narrow):
    """Return whether the intervals of one row hold those of another."""
    return all(
        wide[f"{rate}_lo"] <= narrow[f"{rate}_lo"] + 1e-9
        and wide[f"{rate}_hi"] >= narrow[f"{rate}_hi"] - 1e-9
        for rate in THREE
    )


@pytest.mark.parametrize("runtime", ["docker", "podman", "containerd"])
@pytest.mark.parametrize("target", ["docker", "podman", "fargate"])
@pytest.mark.parametrize("kind", ["unit", "container"])
def test_who_hides_whether_it_is_a_container_hides_its_engine_too(runtime, target, kind):
    policy = load_policy().replace(target={"id": target})
    engine = {"host_id": "h1", "runtime": runtime, "version": "4.3.1"}
    row = {"workload_id": "w1", "service_id": "shop", "host_id": "h1", "state": "running"}
    shown, hidden = (
        score(fleet(engines=[engine], workloads=[row | cells]), policy).frame.loc["shop"]
        for cells in ({"source_kind": kind}, {})
    )
    assert holds(hidden, shown)


@pytest.mark.parametrize("ended", [("a",), ("b",), ("a", "b")])
def test_who_hides_which_replica_ended_narrows_nothing(ended):
    """Two services on one host and one beside: each replica runs, or has ended."""
    names = [("a", "h1"), ("b", "h1"), ("b", "h2"), ("c", "h1")]
    rows = [
        {
            "workload_id": f"{name}{host}",
            "service_id": name,
            "host_id": host,
            "source_kind": "container",
            "state": "exited" if name in ended and host == "h1" else "running",
        }
        for name, host in names
    ]
    hidden = [
        row | {"state": None} if row["service_id"] in ended else row for row in rows
    ]
    engines = [
        {"host_id": "h1", "runtime": "docker", "version": "24.0.7"},
        {"host_id": "h2", "runtime": "podman", "version": "4.3.1"},
    ]
    more = {
        "services": [{"service_id": name} for name in "abc"],
        "hosts": [{"host_id": "h1"}, {"host_id": "h2"}],
        "engines": engines,
    }
    shown = score(fleet(workloads=rows, **more)).frame
    found = score(fleet(workloads=hidden, **more)).frame
    assert all(holds(found.loc[name], shown.loc[name]) for name in "abc")
    # of what may have ended everywhere, nobody knows the engine
    if "a" in ended:
        assert shown.loc["a", ["days_to_eol", "breaking_n"]].isna().all()
        assert found.loc["a", ["days_to_eol", "breaking_n"]].isna().all()


def test_a_replica_of_unknown_host_may_be_where_the_upgrade_breaks_something():
    engine = {"host_id": "h1", "runtime": "docker", "version": "29.0.0"}
    rows = [
        {
            "workload_id": f"w{n}",
            "service_id": "shop",
            "host_id": host,
            "source_kind": "container",
            "state": "running",
        }
        for n, host in enumerate(["h1", None])
    ]
    known = rows[:1]
    assert only(fleet(engines=[engine], workloads=known))["breaking_n"] == 0
    found = score(fleet(engines=[engine], workloads=rows))
    assert pd.isna(found.frame.loc["shop", "breaking_n"])
    assert pd.isna(found.frame.loc["shop", "days_to_eol"])
    assert found.details["blind"]["service_id"].tolist() == ["shop"]


@pytest.mark.parametrize(
    ("runtime", "version"),
    [("podman", "4.3.1"), ("docker", "17.05.0-ce"), ("containerd", "1.6.1")],
)
def test_an_engine_that_nobody_saw_may_be_any(runtime, version):
    engine = {"host_id": "h1", "runtime": runtime, "version": version}
    row = {"workload_id": "w1", "service_id": "shop", "host_id": "h1", "state": "running"}
    tables = {"workloads": [row | {"source_kind": "container"}]}
    shown = only(fleet(engines=[engine], **tables))
    assert holds(only(fleet(engines=None, **tables)), shown)
    assert holds(only(fleet(engines=[engine | {"version": None}], **tables)), shown)


def test_a_host_is_paid_by_its_tenants():
    names = ["shop", "till", "wiki", "mail"]
    workloads = [{"workload_id": n, "service_id": n, "host_id": "h1"} for n in names]
    services = [{"service_id": n} for n in names]
    shared = score(fleet(services=services, workloads=workloads)).frame
    alone = only(fleet())
    assert shared["hours_per_year"].sum() == pytest.approx(alone["hours_per_year"])
    assert shared.loc["shop", "hours_undivided"] == pytest.approx(
        alone["hours_undivided"]
    )
    assert shared.loc["shop", "events_per_year"] == pytest.approx(
        alone["events_per_year"]
    )


def test_contributions_add_up_to_the_hours():
    result = score(fleet(activities=YEARLY))
    sums = result.contributions.groupby("service_id")["hours"].sum()
    assert sums["shop"] == pytest.approx(result.frame.loc["shop", "hours_per_year"])


def test_the_operating_system_and_the_base_image_tick_too():
    hosts = [{"host_id": "h1", "os_name": "ubuntu", "os_version": "23.10"}]
    row = only(fleet(hosts=hosts))
    window = (pd.Timestamp("2024-07-11") - pd.Timestamp("2023-10-12")).days
    assert row["events_per_year"] == pytest.approx(365 / window)
    assert row["events_per_year_hi"] >= 365 / window + 365 / 1097


def test_an_image_without_a_known_base_may_change_as_often_as_any():
    place = {"service_id": "shop", "host_id": "h1", "state": "running"}
    names = [
        {"registry": "r.example", "repository": f"acme/{n}"} for n in ("app", "side")
    ]
    workloads = [
        {**place, **name, "workload_id": f"w{n}", "image_digest": f"sha256:{n}"}
        for n, name in enumerate(names)
    ]
    ends = []
    for base in ("alpine:3.20", None):
        bases = zip(names, ("debian:12", base), strict=True)
        images = [
            {**name, "digest": f"sha256:{n}", "host_id": "h1", "base_name": base_name}
            for n, (name, base_name) in enumerate(bases)
        ]
        row = only(fleet(workloads=workloads, images=images))
        ends.append(row["events_per_year_hi"])
    assert ends[1] > ends[0]


def test_clocks_name_the_nearest_end():
    hosts = [
        {"host_id": "h1", "os_name": "debian", "os_version": "12", "kernel": "6.1.0-21"}
    ]
    result = score(fleet(hosts=hosts))
    row = result.frame.loc["shop"]
    assert (
        row["days_to_eol"]
        == (pd.Timestamp("2023-12-10") - pd.Timestamp("2026-09-30")).days
    )
    assert row["versions_behind"] == 8
    assert set(result.details["clocks"]["component"]) == {"engine", "os", "kernel"}
    assert "engine docker 20.10.24 ended 1025 days ago" in result.explain("shop").text
    today = score(fleet(at="2023-12-10T00:00:00Z"))
    assert "engine docker 20.10.24 ends in 0 days" in today.explain("shop").text


@pytest.mark.parametrize("target", ["", "kubernetes:1.35"])
def test_an_engine_is_as_far_behind_docker_whatever_else_is_upgraded(target):
    policy = POLICY.replace(target={"runtime": "containerd", "engine": "2.1"})
    churn = score(fleet(), policy, target=target)
    assert churn.frame.loc["shop", "versions_behind"] == 8


def test_what_schedules_a_service_ticks_too():
    services = [{"service_id": "shop", "platform": "marathon"}]
    clocks = score(fleet(services=services)).details["clocks"].set_index("component")
    assert clocks.loc["orchestrator", "name"] == "apache-mesos"
    assert "retired" in clocks.loc["orchestrator", "basis"]
    assert pd.isna(clocks.loc["orchestrator", "days_to_eol"])  # nobody read on which day
    engines = [{"host_id": "h1", "runtime": "containerd", "kubelet_version": "v1.29.3"}]
    services = [{"service_id": "shop", "platform": "kubernetes"}]
    clocks = score(fleet(services=services, engines=engines)).details["clocks"]
    told = clocks[clocks["component"].eq("orchestrator")]
    assert told["version"].tolist() == ["v1.29.3"]


def test_a_plain_host_is_prospective():
    engines = [{"host_id": "h1", "runtime": "none"}]
    hosts = [{"host_id": "h1", "os_name": "debian", "os_version": "12"}]
    row = only(fleet(engines=engines, hosts=hosts), target="28")
    assert row["basis"] == "prospective from target"
    assert row["events_per_year"] == pytest.approx(365 / 448)
    assert row["breaking_n"] == 0


@pytest.mark.parametrize(
    "tables",
    [
        {"workloads": None},
        {"engines": None},
        {"engines": [{"host_id": "h1", "runtime": "docker"}]},
        {"engines": [{"host_id": "h1", "runtime": "docker", "version": "master"}]},
        {"engines": [{"host_id": "h1", "runtime": "docker", "version": "99.0.0"}]},
        {"engines": [{"host_id": "h1", "runtime": "other", "version": "1.30.1"}]},
    ],
)
def test_the_unknown_spans_the_range(tables):
    row = only(fleet(**tables))
    assert row["events_per_year_lo"] <= 365 / 1097 + 1e-9
    assert row["events_per_year_hi"] >= 365 / 80
    assert row["failures_per_year_hi"] > 4
    assert pd.isna(row["breaking_n"])
    assert pd.isna(row["versions_behind"])


def test_who_patches_a_host_without_an_engine_is_unknown():
    provided = {"host_id": "h1", "provider_version": "Fargate 1.4.0"}
    known, hidden = (
        only(fleet(hosts=[host], engines=[])) for host in (provided, {"host_id": "h1"})
    )
    assert known["basis"] == "managed by provider"
    for name in ("events_per_year", "failures_per_year", "hours_per_year", "score"):
        assert hidden[f"{name}_lo"] <= known[f"{name}_lo"]
        assert hidden[f"{name}_hi"] >= known[f"{name}_hi"]


def test_upgrades_of_an_unknown_version_fail_like_those_of_any_line():
    hosts = [{"host_id": f"h{i}"} for i in range(1, 9)]
    past = [upgrade(i, "2026-01-01", f"h{i}", "20.10.24") for i in range(2, 9)]
    past.append(upgrade(1, "2026-01-01", "h1", "28.0.4"))
    failed = [incident(1, "2026-01-02", host_id="h1")]
    known, hidden = (
        only(
            fleet(
                hosts=hosts,
                engines=[{"host_id": "h1", "runtime": "docker", "version": version}],
                activities=past,
                incidents=failed,
            )
        )
        for version in ("28.0.4", None)
    )
    assert hidden["failures_per_year_hi"] >= known["failures_per_year_hi"]
    assert hidden["hours_per_year_hi"] >= known["hours_per_year_hi"]
    assert hidden["failures_per_year_lo"] <= known["failures_per_year_lo"]


def test_clocks_of_the_future_do_not_count():
    ahead = [*YEARLY, upgrade(8, "2027-01-01"), upgrade(9, "2030-01-01")]
    told = [
        incident(1, "2027-01-02", host_id="h1"),
        incident(2, "2024-01-01", host_id="h1"),
    ]
    row = only(fleet(activities=ahead, incidents=told))
    clean = only(fleet(activities=YEARLY, incidents=told[1:]))
    pd.testing.assert_series_equal(row, clean)
    hosts = [{"host_id": "h1", "launched_at": "2030-01-01T00:00:00Z"}]
    assert np.isfinite(only(fleet(hosts=hosts, activities=YEARLY))["events_per_year"])


def test_nothing_at_all():
    empty = from_frames({}, snapshot_at=AT)
    result = score(empty, previous=empty)
    assert result.frame.empty
    assert result.to_dict()["rows"] == []
    bare = from_frames(
        {"services": pd.DataFrame({"service_id": ["shop"]})}, snapshot_at=AT
    )
    row = score(bare).frame.loc["shop"]
    assert row["basis"] == "unknown"
    assert pd.isna(row["days_to_eol"])
    assert "unknown" in score(bare).explain("shop").text


def test_rows_hold_the_keys_of_the_interface():
    engines = [
        {
            "host_id": "h1",
            "runtime": "docker",
            "version": "20.10.24",
            "storage_driver": "aufs",
        }
    ]
    row = score(fleet(engines=engines)).to_dict()["rows"][0]
    keys = {f"{name}{end}" for name in THREE[:3] for end in ("", "_lo", "_hi")}
    assert keys | {"service_id", "score", "days_to_eol", "breaking_n"} <= set(row)
    assert [hit["change_id"] for hit in row["breaking"]] == ["EC0282"]


def test_rates_in_words_have_as_many_digits_as_they_can_bear():
    result = score(fleet())
    told = {"events_per_year": 1.26, "failures_per_year": 0.126, "hours_per_year": 3.14}
    frame = result.frame.copy()
    for name, value in told.items():
        for end, factor in {"": 1, "_lo": 0.5, "_hi": 2}.items():
            frame[f"{name}{end}"] = value * factor
    said = replace(result, frame=frame).explain("shop").text
    assert "1.3 (0.6 to 2.5) upgrades a year" in said
    assert "of which 0.13 (0.06 to 0.25) fail; 3.1 (1.6 to 6.3) hours of work" in said


def test_a_target_that_is_no_version():
    with pytest.raises(RequestError):
        score(fleet(), target="newest")


HIDDEN = [
    ("hosts", "os_name"),
    ("hosts", "os_version"),
    ("hosts", "kernel"),
    ("engines", "version"),
    ("engines", "storage_driver"),
    ("workloads", "host_id"),
    ("incidents", "host_id"),
]


def whole_fleet():
    return {
        "services": [{"service_id": "shop"}, {"service_id": "till"}],
        "hosts": [
            {
                "host_id": "h1",
                "os_name": "ubuntu",
                "os_version": "22.04",
                "kernel": "5.15.0",
            },
            {
                "host_id": "h2",
                "os_name": "debian",
                "os_version": "11",
                "kernel": "5.10.0",
            },
        ],
        "engines": [
            {
                "host_id": "h1",
                "runtime": "docker",
                "version": "24.0.7",
                "storage_driver": "aufs",
            },
            {"host_id": "h2", "runtime": "docker", "version": "28.5.2"},
        ],
        "workloads": [
            {"workload_id": "w1", "service_id": "shop", "host_id": "h1"},
            {"workload_id": "w2", "service_id": "till", "host_id": "h2"},
        ],
        "activities": [*YEARLY, upgrade(7, "2026-02-01", host="h2", to="28.5.2")],
        "incidents": [incident(1, "2025-03-05", host_id="h1", service_id="shop")],
    }


@cache
def known():
    """Return what is said where nothing is hidden."""
    return score(fleet(**whole_fleet())).frame


@settings(max_examples=5)
@given(hidden=st.sets(st.sampled_from(HIDDEN), min_size=1, max_size=3))
def test_hiding_evidence_never_makes_the_worst_better(hidden):
    tables = whole_fleet()
    for table, column in hidden:
        tables[table] = [{**row, column: None} for row in tables[table]]
    shown = score(fleet(**tables)).frame
    for name in THREE:
        assert (shown[f"{name}_hi"] >= known()[f"{name}_hi"] - 1e-6).all()


@pytest.mark.parametrize(
    ("row", "column"), [("back", "host_id"), ("back", "kind"), ("a3", "kind")]
)
def test_a_rollback_is_not_forgotten_where_a_cell_is_hidden(row, column):
    versions = {"from_version": "20.10.23", "to_version": "20.10.24"}
    rows = [{**upgrade(i, f"2026-0{i}-10"), **versions} for i in range(1, 6)]
    back = {"from_version": "20.10.24", "to_version": "20.10.23"}
    rows.append({**upgrade(3, "2026-03-12"), **back, "activity_id": "back"})
    hidden = [{**r, column: None} if r["activity_id"] == row else r for r in rows]
    incidents = [incident(1, "2024-01-01", host_id="h1")]
    whole, less = (
        only(fleet(activities=each, incidents=incidents)) for each in (rows, hidden)
    )
    assert less["failures_per_year_hi"] >= whole["failures_per_year_hi"]


def test_row_order_is_irrelevant():
    tables = whole_fleet()
    order = np.random.default_rng(2026)
    mixed = {name: list(order.permutation(rows)) for name, rows in tables.items()}
    left, right = score(fleet(**tables)), score(fleet(**mixed))
    pd.testing.assert_frame_equal(left.frame, right.frame)
    assert left.to_dict() == right.to_dict()


@pytest.mark.parametrize("state", ["restarting", "paused", "pending"])
def test_a_replica_that_has_not_ended_is_upgraded_with_its_host(state):
    engine = {"host_id": "h1", "runtime": "docker", "version": "24.0.7"}
    row = {"workload_id": "w1", "service_id": "shop", "host_id": "h1"}
    runs, fails = (
        score(fleet(engines=[engine], workloads=[row | {"state": word}])).frame
        for word in ("running", state)
    )
    pd.testing.assert_frame_equal(runs, fails)
