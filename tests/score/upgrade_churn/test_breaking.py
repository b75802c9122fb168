"""What the way to a target breaks, change by change and host by host."""

from __future__ import annotations

import pytest
from churn_fleet import fleet, score

from assess.score.upgrade_churn.breaking import broken_by


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
        (
            "client_api_version",
            "1.41",
            "24.0.7",
            "29.3.0",
            None,
        ),  # the floor was lowered again
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


@pytest.mark.parametrize(
    ("fact", "value", "version"),
    [
        ("storage_driver", "aufs", "24.0.0"),
        ("storage_driver", "overlay", "24.0.0"),
        ("storage_driver", "devicemapper", "25.0.0"),
        (
            "kernel",
            "3.13.0",
            "25.0.0",
        ),  # with devicemapper the last driver that it carried goes
        ("client_api_version", "1.20", "26.0.0"),
    ],
)
def test_the_release_from_which_on_it_no_longer_works(fact, value, version):
    assert broken_by(fact, value, "20.10.24", "29").version == version


def test_a_target_is_simulated_host_by_host_and_client_by_client():
    hosts = [
        {"host_id": h, "kernel": "6.1.0", "cgroup_version": "2"}
        for h in ("h1", "h2", "h3")
    ]
    engine = {
        "runtime": "docker",
        "version": "24.0.7",
        "live_restore": False,
        "logging_driver": "json-file",
    }
    engines = [
        {"host_id": "h1", "storage_driver": "overlay2", "d_type": True, **engine},
        {
            "host_id": "h2",
            "storage_driver": "devicemapper",
            **engine,
        },  # runs nothing that is known
        {"host_id": "h3", **engine, "version": "master"},
    ]
    image = {"registry": "hub", "repository": "old/app", "image_digest": "d"}
    workloads = [
        {
            "workload_id": "1",
            "service_id": "shop",
            "host_id": "h1",
            "client_api_version": "1.39",
            "log_driver": "logentries",
            **image,
        },
        {
            "workload_id": "2",
            "service_id": "till",
            "host_id": "h1",
            "client_api_version": "1.39",
            "log_driver": "json-file",
        },
        {"workload_id": "3", "service_id": "till", "host_id": "h3"},
    ]
    images = [
        {
            "registry": "hub",
            "repository": "old/app",
            "digest": "d",
            "host_id": "h1",
            "schema": "1",
        }
    ]
    services = [{"service_id": "shop"}, {"service_id": "till"}]
    found = score(
        fleet(
            hosts=hosts,
            engines=engines,
            workloads=workloads,
            images=images,
            services=services,
        ),
        target="29.0.0",
    ).details["simulation"]
    told = found.dropna(subset="change_id").set_index(["host_id", "fact"])
    assert told.loc[("h1", "client_api_version"), ["value", "services"]].tolist() == [
        "1.39",
        "shop; till",
    ]
    assert told.loc[("h1", "image_schema"), ["value", "services"]].tolist() == [
        "1: old/app",
        "shop",
    ]
    assert told.loc[("h1", "log_driver"), "version"] == "25.0.0"
    assert told.loc[("h2", "storage_driver"), ["version", "services"]].tolist() == [
        "25.0.0",
        "",
    ]
    assert "h3" not in told.index.get_level_values(0)
    vague = found[found["change_id"].isna()].set_index(["host_id", "fact"])
    assert vague.loc[("h3", "version"), "why"] == "the facts do not know docker master"
    assert "nobody knows its image schema" in vague.loc[("h1", "image_schema"), "why"]
    assert vague.loc[("h1", "image_schema"), "services"] == "till"


def test_only_what_lies_ahead_and_is_in_use_breaks():
    engine = {"version": "20.10.24", "storage_driver": "aufs"}
    found, row = what_breaks(engine)
    assert (found, row["breaking_n"]) == (["EC0282"], 1)
    found, row = what_breaks({**engine, "version": "29.1.0"}, "28")
    assert (found, row["breaking_n"]) == ([], 0)
    aufs = {
        "version": "17.09.1",
        "storage_driver": "aufs",
        "d_type": False,
    }  # needs no d_type
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
