from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assess import from_frames, load_policy
from assess.errors import PolicyError
from assess.score import upgrade_pace as pace
from assess.score.upgrade_breaks import broken_by
from assess.score.upgrade_churn import score_upgrade_churn

AT = "2026-09-30T00:00:00Z"
POLICY = load_policy()
THREE = ["events_per_year", "failures_per_year", "hours_per_year", "score"]


def fleet(at=AT, **tables):
    base = {
        "services": [{"service_id": "shop"}],
        "hosts": [{"host_id": "h1"}],
        "engines": [{"host_id": "h1", "runtime": "docker", "version": "20.10.24"}],
        "workloads": [
            {"workload_id": "w1", "service_id": "shop", "host_id": "h1", "state": "running"}
        ],
    }
    rows = {name: pd.DataFrame(r) for name, r in {**base, **tables}.items() if r is not None}
    return from_frames(rows, snapshot_at=at)


def upgrade(number, day, host="h1", to="20.10.24", **more):
    row = {"activity_id": f"a{number}", "host_id": host, "kind": "engine_upgrade"}
    return {**row, "started_at": f"{day}T00:00:00Z", "to_version": to, **more}


def incident(number, day, **more):
    return {"incident_id": f"i{number}", "opened_at": f"{day}T12:00:00Z", **more}


def score(inventory, policy=POLICY, **options):
    return score_upgrade_churn(inventory, policy, **options)


def only(inventory, **options):
    return score(inventory, **options).frame.loc["shop"]


def failures(inventory):
    """Upgrades and failures by line; "" is the whole fleet."""
    engines = pace.host_engines(inventory)
    hosts = pace.hosts_of(pace.places(inventory, POLICY, engines, "29"))
    return pace.upgrade_failures(inventory, POLICY, pace.upgrades(inventory, hosts), hosts)


YEARLY = [upgrade(i, day) for i, day in enumerate(["2024-09-30", "2025-03-01", "2026-01-01"])]


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
    assert row["events_per_year_lo"] <= row["events_per_year"] <= row["events_per_year_hi"]


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
    incidents = [incident(1, "2025-03-05", host_id="h1"), incident(2, "2026-05-05", host_id="h1")]
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


@pytest.mark.parametrize(
    ("found", "failed"),
    [
        ({"opened_at": "2025-03-08T00:00:00Z", "host_id": "h1"}, 1),  # to the second, day 7
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
    assert failures(fleet(activities=YEARLY, incidents=table))[""][:2] == (3, failed)


def test_an_incident_that_nobody_placed_counts_only_above():
    clear = only(fleet(activities=YEARLY, incidents=[incident(1, "2024-01-01")]))
    vague = only(fleet(activities=YEARLY, incidents=[incident(1, "2025-03-05")]))
    assert vague["failures_per_year"] == clear["failures_per_year"]
    assert vague["failures_per_year_hi"] > clear["failures_per_year_hi"]


def test_an_upgrade_whose_week_is_not_over_waits():
    late = [*YEARLY, upgrade(9, "2026-09-28")]
    told = [incident(1, "2024-01-01", host_id="h1")]
    assert failures(fleet(activities=late, incidents=told))[""][0] == 3


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


def test_a_host_is_paid_by_its_tenants():
    names = ["shop", "till", "wiki", "mail"]
    workloads = [{"workload_id": n, "service_id": n, "host_id": "h1"} for n in names]
    services = [{"service_id": n} for n in names]
    shared = score(fleet(services=services, workloads=workloads)).frame
    alone = only(fleet())
    assert shared["hours_per_year"].sum() == pytest.approx(alone["hours_per_year"])
    assert shared.loc["shop", "hours_undivided"] == pytest.approx(alone["hours_undivided"])
    assert shared.loc["shop", "events_per_year"] == pytest.approx(alone["events_per_year"])


def test_contributions_add_up_to_the_hours():
    result = score(fleet(activities=YEARLY))
    sums = result.contributions.groupby("service_id")["hours"].sum()
    assert sums["shop"] == pytest.approx(result.frame.loc["shop", "hours_per_year"])


def test_the_operating_system_and_the_base_image_tick_too():
    hosts = [{"host_id": "h1", "os_name": "ubuntu", "os_version": "23.10"}]
    row = only(fleet(hosts=hosts))
    window = (pd.Timestamp("2024-07-12") - pd.Timestamp("2023-10-12")).days
    assert row["events_per_year"] == pytest.approx(365 / window)
    assert row["events_per_year_hi"] >= 365 / window + 365 / 1097


def what_breaks(engine, target="", **tables):
    hosts = tables.pop("hosts", [{"host_id": "h1"}])
    engines = [{"host_id": "h1", "runtime": "docker", **engine}]
    result = score(fleet(hosts=hosts, engines=engines, **tables), target=target)
    return result.details["breaking"]["change_id"].tolist(), result.frame.loc["shop"]


@pytest.mark.parametrize(
    ("fact", "value", "engine", "target", "change"),
    [
        ("storage_driver", "aufs", "20.10.24", "29", "EC0282"),
        ("storage_driver", "aufs", "20.10.24", "23.0", "EC0240"),
        ("storage_driver", "overlay", "20.10.24", "24.0", "EC0283"),
        ("storage_driver", "devicemapper", "20.10.24", "24.0", "EC0241"),
        ("storage_driver", "devicemapper", "20.10.24", "25.0", "EC0311"),
        ("storage_driver", "overlay2", "20.10.24", "29", None),
        ("storage_driver", "aufs", "17.09.1", "20.10", None),
        ("live_restore", "true", "17.09.1", "18.09", "EC0112"),
        ("live_restore", "false", "17.09.1", "18.09", None),
        ("d_type", "false", "17.09.1", "18.09", "EC0118"),
        ("client_api_version", "1.20", "24.0.7", "25.0", "EC0299"),
        ("client_api_version", "1.20", "24.0.7", "26.1", "EC0340"),
        ("client_api_version", "1.24", "24.0.7", "28", None),
        ("client_api_version", "1.39", "24.0.7", "29", "EC0423"),
        ("client_api_version", "1.41", "24.0.7", "29.1.0", "EC0423"),
        ("client_api_version", "1.41", "24.0.7", "29.3.0", None),  # the floor was lowered again
        ("client_api_version", "1.44", "24.0.7", "29.0.0", None),
        ("image_schema", "1", "24.0.7", "26.0", "EC0337"),
        ("image_schema", "1", "28.1.1", "28", "EC0406"),  # the line: its newest release
        ("kernel", "3.13.0", "24.0.7", "25.0", "engine_kernel"),
        ("kernel", "6.1.0", "24.0.7", "29", None),
        ("os", "ubuntu 20.04", "24.0.7", "28.2.0", "EC0407"),
    ],
)
def test_which_change_hits(fact, value, engine, target, change):
    hit = broken_by(fact, value, engine, target)
    assert (hit and hit.change_id) == change


def test_only_what_lies_ahead_and_is_in_use_breaks():
    engine = {"version": "20.10.24", "storage_driver": "aufs"}
    found, row = what_breaks(engine)
    assert (found, row["breaking_n"]) == (["EC0282"], 1)
    found, row = what_breaks({**engine, "version": "29.1.0"}, "28")
    assert (found, row["breaking_n"]) == ([], 0)
    aufs = {"version": "17.09.1", "storage_driver": "aufs", "d_type": False}  # needs no d_type
    assert what_breaks(aufs, "18.09")[0] == []


def test_images_logs_cgroups_kernels_and_packages():
    hosts = [
        {
            "host_id": "h1",
            "kernel": "3.13.0-24-generic",
            "cgroup_version": "1",
            "os_name": "ubuntu",
            "os_version": "14.04",
        }
    ]
    image = {"registry": "docker.io", "repository": "library/old"}
    workloads = [
        {
            "workload_id": "w",
            "service_id": "shop",
            "host_id": "h1",
            "log_driver": "logentries",
            "image_digest": "sha256:1",
            **image,
        }
    ]
    images = [{**image, "digest": "sha256:1", "host_id": "h1", "schema": "1"}]
    found, row = what_breaks(
        {"version": "17.12.1"}, "29", hosts=hosts, workloads=workloads, images=images
    )
    assert sorted(found) == ["EC0137", "EC0308", "EC0406", "EC0439", "engine_kernel"]
    assert row["third_party_images_n"] == 1
    assert row["breaking_unknown_n"] >= 2  # storage driver, client API


def test_clocks_name_the_nearest_end():
    hosts = [{"host_id": "h1", "os_name": "debian", "os_version": "12", "kernel": "6.1.0-21"}]
    result = score(fleet(hosts=hosts))
    row = result.frame.loc["shop"]
    assert row["days_to_eol"] == (pd.Timestamp("2023-12-10") - pd.Timestamp("2026-09-30")).days
    assert row["versions_behind"] == 8
    assert set(result.details["clocks"]["component"]) == {"engine", "os", "kernel"}
    assert "engine docker 20.10.24 ended 1025 days ago" in result.explain("shop").text


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
        {"engines": [{"host_id": "h1", "runtime": "cri-o", "version": "1.30.1"}]},
    ],
)
def test_the_unknown_spans_the_range(tables):
    row = only(fleet(**tables))
    assert row["events_per_year_lo"] <= 365 / 1097 + 1e-9
    assert row["events_per_year_hi"] >= 365 / 80
    assert row["failures_per_year_hi"] > 4
    assert pd.isna(row["breaking_n"])
    assert pd.isna(row["versions_behind"])


def test_a_version_changed_between_snapshots_is_an_upgrade():
    before = [{"host_id": "h1", "runtime": "docker", "version": "20.10.5"}]
    earlier = fleet(at="2026-03-31T00:00:00Z", engines=before)
    row = only(fleet(), previous=earlier)
    assert row["events_per_year"] == pytest.approx(1 / (183 / 365.25))
    recorded = fleet(activities=[upgrade(1, "2026-03-31"), upgrade(2, "2026-05-01")])
    assert only(recorded, previous=earlier)["events_per_year"] == pytest.approx(2 / (183 / 365.25))
    assert only(fleet(), previous=fleet())["events_per_year"] == pytest.approx(365 / 1097)


def test_clocks_of_the_future_do_not_count():
    ahead = [*YEARLY, upgrade(8, "2027-01-01"), upgrade(9, "2030-01-01")]
    told = [incident(1, "2027-01-02", host_id="h1"), incident(2, "2024-01-01", host_id="h1")]
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
    bare = from_frames({"services": pd.DataFrame({"service_id": ["shop"]})}, snapshot_at=AT)
    row = score(bare).frame.loc["shop"]
    assert row["basis"] == "unknown"
    assert pd.isna(row["days_to_eol"])
    assert "unknown" in score(bare).explain("shop").text


def test_rows_hold_the_keys_of_the_interface():
    engines = [
        {"host_id": "h1", "runtime": "docker", "version": "20.10.24", "storage_driver": "aufs"}
    ]
    row = score(fleet(engines=engines)).to_dict()["rows"][0]
    keys = {f"{name}{end}" for name in THREE[:3] for end in ("", "_lo", "_hi")}
    assert keys | {"service_id", "score", "days_to_eol", "breaking_n"} <= set(row)
    assert [hit["change_id"] for hit in row["breaking"]] == ["EC0282"]
    assert set(row["breaking"][0]) == {"change_id", "why"}


def test_a_target_that_is_no_version():
    with pytest.raises(PolicyError):
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
            {"host_id": "h1", "os_name": "ubuntu", "os_version": "22.04", "kernel": "5.15.0"},
            {"host_id": "h2", "os_name": "debian", "os_version": "11", "kernel": "5.10.0"},
        ],
        "engines": [
            {"host_id": "h1", "runtime": "docker", "version": "24.0.7", "storage_driver": "aufs"},
            {"host_id": "h2", "runtime": "docker", "version": "28.5.2"},
        ],
        "workloads": [
            {"workload_id": "w1", "service_id": "shop", "host_id": "h1"},
            {"workload_id": "w2", "service_id": "till", "host_id": "h2"},
        ],
        "activities": [*YEARLY, upgrade(7, "2026-02-01", host="h2", to="28.5.2")],
        "incidents": [incident(1, "2025-03-05", host_id="h1", service_id="shop")],
    }


KNOWN = score(fleet(**whole_fleet())).frame


@settings(max_examples=5, deadline=None)
@given(hidden=st.sets(st.sampled_from(HIDDEN), min_size=1, max_size=3))
def test_hiding_evidence_never_makes_the_worst_better(hidden):
    tables = whole_fleet()
    for table, column in hidden:
        tables[table] = [{**row, column: None} for row in tables[table]]
    shown = score(fleet(**tables)).frame
    for name in THREE:
        assert (shown[f"{name}_hi"] >= KNOWN[f"{name}_hi"] - 1e-6).all()


def test_row_order_is_irrelevant():
    tables = whole_fleet()
    order = np.random.default_rng(2026)
    mixed = {name: list(order.permutation(rows)) for name, rows in tables.items()}
    left, right = score(fleet(**tables)), score(fleet(**mixed))
    pd.testing.assert_frame_equal(left.frame, right.frame)
    assert left.to_dict() == right.to_dict()
