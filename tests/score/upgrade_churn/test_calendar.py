"""What is ahead: announced events of the next four quarters, and remedies first."""

from __future__ import annotations

import pytest
from churn_fleet import fleet, score

AT = "2026-04-01T00:00:00Z"


@pytest.fixture(scope="module")
def ahead():
    """Two services on one engine, and a build on a release that leaves the mirrors."""
    one = {"host_id": "h1", "state": "running", "docker_sock_mounted": True}
    workloads = [
        {"workload_id": "w1", "service_id": "edge", "image_ref": "traefik:v2.9", **one},
        {"workload_id": "w2", "service_id": "admin", "image_ref": "traefik:v2.9", **one},
        {
            "workload_id": "b",
            "service_id": "admin",
            "source_kind": "build",
            "image_ref": "ubuntu:25.04",
        },
    ]
    services = [
        {"service_id": "edge", "owner": "platform"},
        {"service_id": "admin", "owner": "catalog"},
    ]
    hosts = [{"host_id": "h1", "os_name": "ubuntu", "os_version": "25.10"}]
    engines = [{"host_id": "h1", "runtime": "docker", "version": "28.5.1"}]
    tables = {"services": services, "hosts": hosts, "workloads": workloads}
    return score(fleet(at=AT, engines=engines, **tables), target="29.0.0")


def test_the_calendar_holds_ends_of_support_and_events_in_order(ahead):
    table = ahead.details["calendar"]
    assert table["day"].is_monotonic_increasing
    assert table["day"].between("2026-04-02", "2027-04-01").all()
    assert set(table["quarter"]) <= {"2026Q2", "2026Q3", "2026Q4", "2027Q1", "2027Q2"}
    event = table[table["kind"] == "announced event"].iloc[0]
    assert (event["day"], event["services"]) == ("2026-07-31", "admin")
    assert event["what"] == "build on ubuntu 25.04"
    end = table[table["what"] == "os ubuntu 25.10"].iloc[0]
    assert (end["kind"], end["services_n"]) == ("support ends", 2)
    assert table[["remedy", "source"]].ne("").all(axis=None)


def test_what_breaks_is_grouped_by_what_to_do_with_its_teams(ahead):
    (row,) = ahead.details["remedies"].to_dict("records")
    update = "update the client to a version that negotiates its API"
    assert row["remedy"] == f"{update}; raise or remove a variable that sets it"
    assert (row["workloads_n"], row["hosts_n"], row["services_n"]) == (2, 1, 2)
    assert (row["services"], row["teams"]) == ("admin; edge", "catalog; platform")
    assert row["source"]


def test_both_are_in_the_json(ahead):
    told = ahead.to_dict()
    assert len(told["calendar"]) == len(ahead.details["calendar"])
    assert told["remedies"][0]["certainty"] == "will"


def test_a_fleet_of_which_nothing_is_known_has_an_empty_calendar():
    found = score(fleet(engines=None, workloads=None, hosts=None))
    assert found.details["calendar"].empty
    assert found.details["remedies"].empty
