"""Ends of support: which parts beneath a service have a clock, and what a base image is made of."""

import pandas as pd
import pytest
from churn_fleet import fleet, score

import assess
from assess import reference


@pytest.mark.parametrize(
    ("base", "system"),
    [
        ("debian:12-slim", ("debian", "12")),
        ("debian", ("debian", None)),
        ("docker.io/library/ubuntu:22.04@sha256:ab", ("ubuntu", "22.04")),
        ("localhost:5000/debian:11", ("debian", "11")),
        ("node:20-bookworm", ("debian", "12")),
        ("node:20-bookworm-slim", ("debian", "12")),
        ("node:20-Jammy", ("ubuntu", "22.04")),
        ("python:3.12-alpine3.20", ("alpine-linux", "3.20")),
        ("redis:7-alpine", ("alpine-linux", None)),
        ("node:12-slim", ("debian", "9")),  # 12 is of node, not of Debian
        ("acme/tool:1.0", (None, None)),
        ("acme/tool@sha256:debian", (None, None)),
    ],
)
def test_the_system_of_a_base_image(base, system):
    assert reference.base_system(base) == system


def parts(inventory):
    """Component, name and version of every clock; NA as None."""
    table = score(inventory).details["clocks"]
    cells = table[["component", "name", "version"]].astype(object)
    return set(cells.where(cells.notna(), None).itertuples(index=False, name=None))


HOST = {"host_id": "h1", "os_name": "ubuntu", "os_version": "22.04"}
ENGINE = {
    "host_id": "h1",
    "runtime": "docker",
    "version": "20.10.24",
    "containerd_version": "1.6.20",
    "kubelet_version": "1.29.1",
    "ecs_agent_version": "1.80.0",
}
BENEATH = {
    ("os", "ubuntu", "22.04"),
    ("kernel", "linux", "5.15.0-1"),
    ("engine", "docker", "20.10.24"),
    ("containerd", "containerd", "1.6.20"),
    ("orchestrator", "kubernetes", "1.29.1"),
    ("orchestrator", "ecs-agent", "1.80.0"),
}


def test_every_part_of_a_host_has_its_own_clock():
    hosts = [{**HOST, "kernel": "5.15.0-1"}]
    services = [{"service_id": "shop", "platform": "kubernetes"}]
    # the version of the orchestrator is read on the host: no second clock without one
    found = parts(fleet(hosts=hosts, engines=[ENGINE], services=services))
    assert found == BENEATH
    bare = {"host_id": "h1", "runtime": "docker"}
    found = parts(fleet(hosts=[HOST], engines=[bare], services=services))
    assert found == {
        ("os", "ubuntu", "22.04"),
        ("engine", "docker", None),
        ("orchestrator", "kubernetes", None),
    }


def test_what_nobody_read_ends_at_no_later_day():
    engines = [{"host_id": "h1", "runtime": "docker", "version": "20.10.24"}]
    unread = [{**engines[0], "version": None}]
    unnamed = [{"host_id": "h1", "os_name": "ubuntu"}]
    of_unknown = [{**HOST, "os_name": None, "kernel": "5.15.0-91-generic"}]
    tables = [
        {"hosts": [HOST], "engines": engines},
        {"hosts": [HOST], "engines": []},
        {"hosts": [HOST], "engines": unread},
        {"hosts": unnamed, "engines": engines},
        {"hosts": of_unknown, "engines": engines},
    ]
    found = [score(fleet(**each)).frame.loc["shop", "days_to_eol"] for each in tables]
    assert pd.notna(found.pop(0))
    assert pd.isna(found).all()


@pytest.mark.parametrize(
    ("platform", "product"),
    [("marathon", "apache-mesos"), ("nomad", "nomad"), ("kubernetes", "kubernetes")],
)
def test_what_schedules_has_a_clock_of_its_own(platform, product):
    services = [{"service_id": "shop", "platform": platform}]
    assert ("orchestrator", product, None) in parts(fleet(services=services))


def test_what_runs_beside_an_engine_has_no_clock_of_one():
    engines = [{**ENGINE, "runtime": "none", "version": None}]
    assert parts(fleet(hosts=[HOST], engines=engines)) == {("os", "ubuntu", "22.04")}


def test_a_base_image_without_a_system_is_named_itself():
    image = {"registry": "r.example", "repository": "acme/shop", "digest": "sha256:aa"}
    workload = {
        "workload_id": "w1",
        "service_id": "shop",
        "host_id": "h1",
        "state": "running",
        "registry": "r.example",
        "repository": "acme/shop",
        "image_digest": "sha256:aa",
    }
    bases = {}
    for base in ("acme/base:1", "debian:10"):
        images = [{**image, "host_id": "", "base_name": base}]
        table = score(fleet(workloads=[workload], images=images)).details["clocks"]
        bases[base] = table.set_index("component").loc["base image"]
    assert bases["acme/base:1"]["name"] == "acme/base:1"
    assert pd.isna(bases["acme/base:1"]["days_to_eol"])
    assert bases["debian:10"][["name", "version"]].tolist() == ["debian", "10"]
    assert bases["debian:10"]["days_to_eol"] < 0


@pytest.mark.parametrize(
    ("engine", "host", "clocks"),
    [
        ({"runtime": "cri-o", "version": "1.35.2"}, {}, {"engine": "cri-o 1.35.2"}),
        (
            {
                "runtime": "containerd",
                "version": "1.7.20",
                "kubelet_version": "v1.31.2-eks-a",
            },
            {},
            {"cluster": "amazon-eks 1.31.2", "cluster, extended": "amazon-eks 1.31.2"},
        ),
        (None, {"provider_version": "Fargate 1.3.0"}, {"managed": "aws-fargate 1.3.0"}),
    ],
)
def test_clocks_of_every_runtime(engine, host, clocks):
    tables = {
        "services": pd.DataFrame([{"service_id": "a"}]),
        "hosts": pd.DataFrame([{"host_id": "h", **host}]),
        "workloads": pd.DataFrame(
            [{"workload_id": "w", "service_id": "a", "host_id": "h", "state": "running"}]
        ),
    }
    if engine:
        tables["engines"] = pd.DataFrame([{"host_id": "h", **engine}])
    fleet = assess.from_frames(tables, snapshot_at=pd.Timestamp("2026-09-30", tz="UTC"))
    churn = assess.score_upgrade_churn(fleet, assess.load_policy())
    found = churn.details["clocks"].set_index("component")
    for component, named in clocks.items():
        row = found.loc[component]
        assert f"{row['name']} {row['version']}" == named
        assert pd.notna(row["days_to_eol"])
    if host:
        assert not {"os", "kernel"} & set(found.index)
        assert churn.frame.loc["a", "basis"] == "managed by provider"
