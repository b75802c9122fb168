"""What the way to a target breaks: workload by workload, will or may, and what to do."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from churn_fleet import fleet, score

from assess import reference
from assess.errors import RequestError
from assess.policy.rules import DTYPES, evaluate
from assess.score.upgrade_churn.breaking import (
    COLUMNS,
    MAY,
    PRODUCTS,
    WILL,
    _blind,
    breaks,
    changes,
    goal_of,
    goals_of,
    products,
)
from assess.score.upgrade_churn.in_use import (
    IDLE,
    WORLD,
    columns_of,
    images_of,
    workloads_on,
)
from assess.sources import csv_records


def one_workload(engine=None, host=None, workload=None, **tables):
    """A fleet of one workload of the service `shop` on one host."""
    hosts = [{"host_id": "h1", "kernel": "6.1.0", "cgroup_version": "2", **(host or {})}]
    known = {
        "runtime": "docker",
        "storage_driver": "overlay2",
        "d_type": True,
        "live_restore": False,
        "logging_driver": "json-file",
    }
    engines = [{"host_id": "h1", **known, **(engine or {})}]
    one = {
        "workload_id": "w",
        "service_id": "shop",
        "host_id": "h1",
        "source_kind": "container",
        "state": "running",
        "docker_sock_mounted": False,
        **(workload or {}),
    }
    return fleet(hosts=hosts, engines=engines, workloads=[one], **tables)


def what_breaks(engine=None, target="", by="", **more):
    """Score the fleet of one workload."""
    return score(one_workload(engine, **more), target=target, by=by)


def certainties(engine=None, target="", by="", **more):
    """Ask only what breaks, by change: the rest of the score takes longer."""
    goals = [goal_of(target)] if target else []
    table = breaks(one_workload(engine, **more), goals, by)
    hits = table[table["certainty"].isin([WILL, MAY])]
    return dict(zip(hits["change"], hits["certainty"], strict=True))


CLIENT = {"docker_sock_mounted": True}


MANIFEST = "application/vnd.docker.distribution.manifest"


@pytest.mark.parametrize(
    ("engine", "workload", "version", "target", "expected"),
    [
        ({"storage_driver": "aufs"}, {}, "20.10.24", "29", {"EC0282": "will"}),
        # picked only where the configuration names it, which nobody sees from outside
        ({"storage_driver": "aufs"}, {}, "20.10.24", "23.0", {"EC0240": "may"}),
        ({"storage_driver": "overlay"}, {}, "20.10.24", "24.0", {"EC0283": "will"}),
        ({"storage_driver": "devicemapper"}, {}, "20.10.24", "24.0", {"EC0241": "may"}),
        ({"storage_driver": "devicemapper"}, {}, "20.10.24", "25.0", {"EC0311": "will"}),
        ({"storage_driver": "overlay2"}, {}, "20.10.24", "29", {}),
        ({"storage_driver": "aufs"}, {}, "17.09.1", "20.10", {}),
        ({"storage_driver": None}, {}, "20.10.24", "25.0", {"EC0311": "may"}),
        ({"live_restore": True}, {}, "17.09.1", "18.09", {"EC0112": "will"}),
        ({"live_restore": False}, {}, "17.09.1", "18.09", {}),
        # a newer engine keeps it, and an unknown one may be newer
        ({"live_restore": True}, {}, None, "29", {}),
        # an existing data root was refused by 23.0 only
        ({"d_type": False}, {}, "17.09.1", "18.09", {"EC0118": "may"}),
        ({"d_type": False}, {}, "20.10.24", "23.0", {"EC0478": "will"}),
        ({"storage_driver": "aufs", "d_type": False}, {}, "17.09.1", "18.09", {}),
        (
            {},
            {**CLIENT, "client_api_version": "1.20"},
            "24.0.7",
            "25.0",
            {"EC0299": "will"},
        ),
        (
            {},
            {**CLIENT, "client_api_version": "1.20"},
            "24.0.7",
            "26.1",
            {"EC0340": "will"},
        ),
        ({}, {**CLIENT, "client_api_version": "1.24"}, "24.0.7", "28", {}),
        (
            {},
            {**CLIENT, "client_api_version": "1.39"},
            "24.0.7",
            "29",
            {"EC0423": "will"},
        ),
        (
            {},
            {**CLIENT, "client_api_version": "1.41"},
            "24.0.7",
            "29.1.0",
            {"EC0423": "will"},
        ),
        # the floor was lowered again
        ({}, {**CLIENT, "client_api_version": "1.41"}, "24.0.7", "29.3.0", {}),
        ({}, {**CLIENT, "client_api_version": "1.44"}, "24.0.7", "29.0.0", {}),
        ({}, CLIENT, "24.0.7", "29.0.0", {"EC0423": "may"}),
        # without the socket nothing is asked
        ({}, {"client_api_version": "1.20"}, "24.0.7", "29.0.0", {}),
        ({}, {"docker_sock_mounted": None}, "24.0.7", "29.0.0", {}),
        # until 28.0 what exists is moved to another driver
        ({}, {"log_driver": "logentries"}, "24.0.7", "25.0", {"EC0308": "may"}),
        ({"logging_driver": "logentries"}, {}, "24.0.7", "25.0", {"EC0308": "may"}),
        ({}, {"log_driver": "logentries"}, "24.0.7", "28.0", {"EC0490": "will"}),
    ],
)
def test_what_hits_and_how_certain_it_is(engine, workload, version, target, expected):
    found = certainties({**engine, "version": version}, target, workload=workload)
    assert found == expected


CLIENTS = {
    "traefik:v2.9": "will",
    "traefik:v2.11.31": None,
    "traefik:v3.6.0": "will",
    "traefik:v3.6.1": None,
    "traefik": "may",
    "traefik@sha256:" + "a" * 64: "may",
    "registry.example.com/edge/traefik:v3.1": "will",
    "containrrr/watchtower": "will",
    "traefik:v2.11": "may",  # a tag that moves: fixed or not
    "traefik:v3": "may",
    "docker:20": "will",
    "docker:24-cli": "will",
    "docker:25": None,
    "nickfedor/watchtower:1.12.0": None,
    "mirror.example.com/containrrr/watchtower:1.7.1": "will",
    "tools/watchtower:1.9": "may",
    "google/cadvisor:v0.49.1": "will",
    "google/cadvisor:v0.54.0": None,
    "telegraf:1.30": "will",
    "elastic/filebeat:6.2.4": None,  # engine 28 refuses it already
    "elastic/filebeat": "may",
    "tecnativa/docker-socket-proxy:0.3.0": None,
    "portainer/portainer-ce:2.21": "will",
    "portainer/portainer:2.33.4": "will",
    "portainer/portainer:2.33.5": None,
    "shop/own-agent:1.0.0": "may",
}


@pytest.fixture(scope="module")
def of_clients():
    """What breaks in one fleet that runs them all, by image."""
    known = one_workload({"version": "28.0.4"}, workload=CLIENT)
    workloads = pd.concat([known["workloads"]] * len(CLIENTS), ignore_index=True)
    workloads = workloads.assign(workload_id=list(CLIENTS), image_ref=list(CLIENTS))
    table = breaks(known.replace(workloads=workloads), [goal_of("29.0.0")])
    hits = table[table["change"].eq("EC0423")]
    return dict(zip(hits["workload_id"], hits["certainty"], strict=True))


@pytest.mark.parametrize(
    ("image", "change", "is_hit"),
    [
        ("gcr.io/tekton-releases/pipeline/controller:v0.50.0", "WORLD-tekton", True),
        ("gcr.io/shop/tekton-releases:v0.50.0", "WORLD-tekton", False),
        ("bitnami/redis:7.4.2", "WORLD-bitnami", True),
        ("shop/bitnami:7.4.2", "WORLD-bitnami", False),
    ],
)
def test_who_owns_an_image_decides_where_a_registry_is_left(image, change, is_hit):
    found = certainties(workload={"image_ref": image}, by="2026-12-31")
    assert (change in found) is is_hit


@pytest.mark.parametrize(
    ("image", "engine", "breaking_n"),
    [
        ("shop/bitnami:7.4.2", {}, 0),
        (None, {}, None),
        (None, {"runtime": "none"}, 0),
    ],
)
def test_an_unknown_image_may_be_of_any_registry_that_moves(image, engine, breaking_n):
    engine = {"version": "29.1.0", **engine}
    churn = what_breaks(engine, by="2026-12-31", workload={"image_ref": image})
    (counted,) = churn.frame["breaking_n"]
    assert counted is pd.NA if breaking_n is None else counted == breaking_n


def test_what_may_break_is_named_by_the_fact_that_decides():
    asks = {**CLIENT, "image_ref": "shop/own-agent:1.0.0"}
    known = one_workload({"version": "28.0.4"}, workload=asks)
    table = breaks(known, [goal_of("29.0.0")]).set_index("change")
    row = table.loc["EC0423"]
    assert row["what"]
    assert row["why"] == f"nobody knows its {row['what']}: it may break"


@pytest.mark.parametrize("image", CLIENTS)
def test_the_api_of_a_client_comes_from_the_program_and_its_tag(image, of_clients):
    assert of_clients.get(image) == CLIENTS[image]


@pytest.mark.parametrize(
    ("declared", "kind", "target", "expected"),
    [
        ("batch/v1beta1", "CronJob", "1.24", None),
        ("batch/v1beta1", "CronJob", "1.25", "will"),
        ("batch/v1", "CronJob", "1.35", None),
        ("extensions/v1beta1", "Deployment", "1.15", None),
        ("extensions/v1beta1", "Deployment", "1.16", "will"),
        ("apps/v1", "Deployment", "1.35", None),
    ],
)
def test_the_api_that_declares_a_workload(declared, kind, target, expected):
    engine = {"runtime": "containerd", "version": "1.7.2", "kubelet_version": "v1.14.3"}
    workload = {"api_version": f"{declared}/{kind}"}
    found = certainties(engine, f"kubernetes:{target}", workload=workload)
    changes_of = {k: v for k, v in found.items() if k.endswith(kind)}
    assert list(changes_of.values()) == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("seen", "applied", "expected"),
    [
        ("policy/v1", "policy/v1beta1", "will"),
        ("policy/v1", "policy/v1", None),
        ("policy/v1", None, None),
        # the server shows what it prefers, not what the manifest says
        ("policy/v1beta1", None, "may"),
    ],
)
def test_the_api_in_which_an_object_was_applied(seen, applied, expected):
    budget = {
        "object_id": "b1",
        "service_id": "shop",
        "kind": "PodDisruptionBudget",
        "api_version": seen,
        "last_applied_api_version": applied,
    }
    engine = {"runtime": "containerd", "version": "1.7.2", "kubelet_version": "v1.24.9"}
    found = certainties(engine, "kubernetes:1.25", objects=[budget])
    assert found.get("K8S-1.25-PodDisruptionBudget") == expected


@pytest.mark.parametrize(
    ("kubelet", "cluster", "expected"),
    [
        ("v1.24.9", "c1", {"K8S-1.25-PodSecurityPolicy": "will"}),
        # its cluster went past the change: it lives on in the version of today
        ("v1.26.1", "c1", {}),
        ("v1.26.1", "c2", {"K8S-1.25-PodSecurityPolicy": "will"}),
    ],
)
def test_an_object_of_no_service_is_asked_at_the_version_of_its_cluster(
    kubelet, cluster, expected
):
    rules = {
        "object_id": "p1",
        "cluster": cluster,
        "kind": "PodSecurityPolicy",
        "last_applied_api_version": "policy/v1beta1",
    }
    engine = {"runtime": "containerd", "version": "1.7.2", "kubelet_version": kubelet}
    hosts = [{"host_id": "h1"}, {"host_id": "idle"}]
    engines = [{"host_id": host["host_id"], **engine} for host in hosts]
    runs = {"workload_id": "w", "service_id": "shop", "host_id": "h1", "cluster": "c1"}
    asked = fleet(hosts=hosts, engines=engines, workloads=[runs], objects=[rules])
    table = breaks(asked, [goal_of("kubernetes:1.27")])
    assert dict(zip(table["change"], table["certainty"], strict=True)) == expected
    assert table["host_id"].isna().all()


@pytest.mark.parametrize(
    ("target", "hosts"),
    [
        ("kubernetes:1.35", {"own", "theirs", "other"}),
        ("eks:1.35", {"own", "theirs"}),  # who runs the cluster of one nobody knows
        ("gke:1.35", {"own", "other"}),
        ("k3s:1.35", {"own", "theirs", "other"}),  # none is there: all may move there
    ],
)
def test_a_target_of_a_provider_asks_no_node_of_another(target, hosts):
    kubelets = {"own": "v1.33.1", "theirs": "v1.33.1-eks-1", "other": "v1.33.1-gke.1"}
    engines = [
        {"host_id": host, "runtime": "containerd", "version": "2.0.1"}
        | {"kubelet_version": kubelet}
        for host, kubelet in kubelets.items()
    ]
    places = [{"host_id": host, "cgroup_version": "1"} for host in kubelets]
    asked = fleet(hosts=places, engines=engines, workloads=[])
    found = breaks(asked, [goal_of(target)])
    assert set(found["host_id"]) == hosts


def test_a_target_of_a_provider_asks_no_object_of_anothers_cluster():
    kubelets = {"c1": "v1.24.1-eks-1", "c2": "v1.24.1-gke.1"}
    engines = [
        {"host_id": name, "runtime": "containerd", "version": "1.6.8"}
        | {"kubelet_version": kubelet}
        for name, kubelet in kubelets.items()
    ]
    runs = [
        {"workload_id": name, "service_id": name, "host_id": name, "cluster": name}
        for name in kubelets
    ]
    rules = {"kind": "PodSecurityPolicy", "last_applied_api_version": "policy/v1beta1"}
    objects = [{"object_id": name, "cluster": name, **rules} for name in kubelets]
    hosts = [{"host_id": name} for name in kubelets]
    services = [{"service_id": name} for name in kubelets]
    tables = {"hosts": hosts, "engines": engines, "workloads": runs}
    asked = fleet(**tables, services=services, objects=objects)
    for target, n in (("kubernetes:1.25", 2), ("eks:1.25", 1)):
        found = breaks(asked, [goal_of(target)])
        gone = found[found["change"].eq("K8S-1.25-PodSecurityPolicy")]
        assert len(gone) == n


@pytest.mark.parametrize(
    ("kubelet", "api", "expected"),
    [
        ("v1.31.5+k3s1", "traefik.containo.us/v1alpha1", {"K8S-k3s-traefik-3": "may"}),
        ("v1.31.5+k3s1", "traefik.io/v1alpha1", {}),
        ("v1.31.5", "traefik.containo.us/v1alpha1", {}),
    ],
)
def test_an_object_that_only_what_a_distribution_brings_along_reads(
    kubelet, api, expected
):
    route = {"object_id": "r1", "cluster": "c1", "kind": "IngressRoute"}
    route["last_applied_api_version"] = api
    engine = {"runtime": "containerd", "version": "2.0.4", "kubelet_version": kubelet}
    found = certainties(
        engine, "kubernetes:1.32", objects=[route], workload={"cluster": "c1"}
    )
    assert found == expected


def test_each_object_of_a_cluster_is_named_with_its_place():
    applied = "policy/v1beta1"
    rules = {"cluster": "c1", "kind": "PodSecurityPolicy"}
    budget = {"cluster": "c1", "namespace": "shop", "kind": "PodDisruptionBudget"}
    objects = [
        {**rules, "object_id": "p1", "name": "open", "last_applied_api_version": applied},
        {**rules, "object_id": "p2", "name": "tight", "api_version": applied},
        {**rules, "object_id": "p3", "api_version": applied},
        {**budget, "object_id": "b1", "name": "web", "last_applied_api_version": applied},
        {**budget, "object_id": "b2", "name": "api", "last_applied_api_version": applied},
    ]
    for row in objects[3:]:
        row["service_id"] = "shop"
    engine = {"runtime": "containerd", "version": "1.7.2", "kubelet_version": "v1.24.9"}
    known = {"workload": {"cluster": "c1"}, "objects": objects}
    result = what_breaks(engine, "kubernetes:1.25", **known)
    for table in ("breaking", "simulation"):
        told = result.details[table]["why"].str.extract(r"(Pod\w+ c1/[\w/]+)")[0]
        assert sorted(told) == [
            "PodDisruptionBudget c1/shop/api",
            "PodDisruptionBudget c1/shop/web",
            "PodSecurityPolicy c1/open",
            "PodSecurityPolicy c1/p3",
            "PodSecurityPolicy c1/tight",
        ]
    # two of its objects, by one change
    assert result.frame.loc["shop", "breaking_n"] == 1


def test_every_change_of_an_object_names_it():
    rows = [row for row in reference.rows("breaks") if row["table"] == "objects"]
    unnamed = [row for row in rows if "{object}" not in row["what"] + row["why"]]
    assert rows and unnamed == []
    assert {row["subject"].rpartition(" ")[2] for row in rows} == {"{object}"}


@pytest.mark.parametrize(
    ("kept", "named"),
    [([], "for CronJob: what"), (["tidy"], "for CronJob c1/tidy: what")],
)
def test_an_object_that_declares_a_workload_breaks_once(kept, named):
    api = "batch/v1beta1"
    tidy = {"service_id": "shop", "cluster": "c1", "kind": "CronJob"}
    objects = [{**tidy, "object_id": name, "name": name} for name in kept]
    declared = {"cluster": "c1", "api_version": f"{api}/CronJob"}
    engine = {"runtime": "containerd", "version": "1.7.2", "kubelet_version": "v1.24.9"}
    asked = one_workload(
        engine,
        workload=declared,
        objects=[{**row, "last_applied_api_version": api} for row in objects],
    )
    table = breaks(asked, [goal_of("kubernetes:1.25")])
    assert table["why"].str.contains(named, regex=False).tolist() == [True]


@pytest.mark.parametrize(
    ("engine", "host", "target", "expected"),
    [
        (("docker", "20.10.24", "v1.23.8"), {}, "kubernetes:1.24", "K8S-dockershim"),
        (("containerd", "1.6.8", "v1.23.8"), {}, "kubernetes:1.24", None),
        (("containerd", "1.5.9", "v1.25.1"), {}, "kubernetes:1.26", "K8S-cri-v1"),
        (("containerd", "1.7.9", "v1.36.1"), {}, "kubernetes:1.37", None),
        (("containerd", "2.0.1", "v1.36.1"), {}, "kubernetes:1.37", None),
        (
            ("containerd", "2.0.1", "v1.34.1"),
            {"cgroup_version": "1"},
            "kubernetes:1.35",
            "K8S-cgroup-v1",
        ),
        (("containerd", "2.0.1", "v1.34.1"), {}, "kubernetes:1.35", None),
        (("containerd", "1.7.9", "v1.19.2"), {}, "containerd:2.0", "CTD-cri-v1alpha2"),
        (("containerd", "1.7.9", "v1.22.9"), {}, "containerd:2.0", "CTD-cri-v1alpha2"),
        (("containerd", "1.7.9", "v1.23.1"), {}, "containerd:2.0", None),
        (("containerd", "1.7.9", "v1.28.2"), {}, "containerd:2.0", None),
        (
            ("podman", "5.6.0", None),
            {"cgroup_version": "1"},
            "podman:6",
            "PODMAN-cgroup-v1",
        ),
        (("podman", "4.9.0", None), {"cgroup_version": "1"}, "podman:5", None),
    ],
)
def test_nodes_and_runtimes(engine, host, target, expected):
    names = ("runtime", "version", "kubelet_version")
    found = certainties(dict(zip(names, engine, strict=True)), target, host=host)
    assert found == ({expected: "will"} if expected else {})


@pytest.mark.parametrize(
    ("engine", "host", "target", "expected"),
    [
        ({}, {"provider_version": "rke 1.23.8"}, "1.24", None),
        ({}, {"provider_version": "minikube 1.23.8"}, "1.25", None),
        ({}, {"provider": "k3s"}, "1.24", None),
        ({"kubelet_version": "v1.23.8+k3s1"}, {}, "1.24.4", None),
        ({"kubelet_version": "v1.23.8+k3s1"}, {}, "1.24.3", "K8S-dockershim-k3s"),
        ({"kubelet_version": "v1.23.8-mirantis-1"}, {}, "1.24", None),
        ({"kubelet_flags": "container-runtime=remote;v"}, {}, "1.24", None),
        ({"kubelet_flags": "container-runtime=docker"}, {}, "1.24", "K8S-dockershim"),
        ({"kubelet_version": "v1.22.9-eks-1"}, {}, "1.24", "K8S-dockershim"),
        ({"kubelet_version": "v1.25.3+k3s1"}, {}, "1.26", None),
    ],
)
def test_a_cluster_with_cri_dockerd_stays_on_docker(engine, host, target, expected):
    node = {"runtime": "docker", "version": "20.10.24", "kubelet_version": "v1.23.8"}
    found = certainties({**node, **engine}, f"kubernetes:{target}", host=host)
    assert found == ({expected: "will"} if expected else {})


@pytest.mark.parametrize(
    ("os_name", "os_version", "cgroup", "expected"),
    [
        ("centos", "7", None, "will"),  # its systemd knows no other
        ("centos", "8", None, "may"),  # it starts in v1 unless told otherwise
        ("ubuntu", "24.04", None, None),
        ("centos", "7", "2", None),
        ("centos", "7", "1", "will"),
    ],
)
def test_a_node_whose_cgroup_nobody_saw_is_as_its_system_starts(
    os_name, os_version, cgroup, expected
):
    engine = {"runtime": "containerd", "version": "2.0.1", "kubelet_version": "v1.34.1"}
    host = {"cgroup_version": cgroup, "os_name": os_name, "os_version": os_version}
    found = certainties(engine, "kubernetes:1.35", host=host)
    assert found == ({"K8S-cgroup-v1": expected} if expected else {})


@pytest.mark.parametrize(
    ("image", "by", "expected"),
    [
        ("bitnami/kafka:3.5", "2025-08-27", {}),
        ("bitnami/kafka:3.5", "2025-12-31", {"WORLD-bitnami": "will"}),
        ("bitnami/kafka:latest", "2025-12-31", {"WORLD-bitnami": "will"}),
        ("bitnami/redis", "2025-12-31", {"WORLD-bitnami": "may"}),
        (None, "2026-12-31", {}),
        ("bitnamilegacy/kafka:3.5", "2026-12-31", {}),
        ("registry.example.com/bitnami/kafka:3.5", "2026-12-31", {}),
        (
            "registry.k8s.io/ingress-nginx/controller:v1.11.0",
            "2026-12-31",
            {"WORLD-ingress-nginx": "will"},
        ),
        ("registry.k8s.io/ingress-nginx/controller:v1.11.0", "2026-01-31", {}),
        # frozen or limited is a note: it still works
        ("k8s.gcr.io/pause:3.2", "2026-12-31", {}),
        ("library/nginx:1.27", "2026-12-31", {}),
    ],
)
def test_what_the_world_announced_is_asked_by_date(image, by, expected):
    found = certainties({"version": "29.1.0"}, by=by, workload={"image_ref": image})
    assert found == expected


@pytest.mark.parametrize(
    ("base", "broken"),
    [
        ("docker.io/library/debian:10", True),
        ("library/node:14-buster-slim", True),
        ("library/python:3.9-bookworm", False),
        ("library/python:3.9", False),
        ("debian 10", True),
    ],
)
def test_the_system_of_a_base_is_read_from_its_name_or_its_tag(base, broken):
    image = {"registry": "docker.io", "repository": "shop/app"}
    rows = [{**image, "digest": "sha256:1", "host_id": "h1", "base_name": base}]
    workload = {**image, "image_digest": "sha256:1", "source_kind": "build"}
    found = certainties({}, by="2026-01-01", workload=workload, images=rows)
    assert ("WORLD-debian-10" in found) == broken


def test_a_build_breaks_when_the_archive_of_its_base_closes():
    image = {"image_ref": "library/debian:buster-slim"}
    build = {**image, "source_kind": "build"}
    found = [
        certainties({"version": "29.1.0"}, by=by, workload=workload)
        for by, workload in (("2026-01-01", build), ("2025-01-01", build))
    ]
    assert found == [{"WORLD-debian-10": "will"}, {}]
    assert certainties({"version": "29.1.0"}, by="2026-01-01", workload=image) == {}


def test_what_the_engine_saw_counts_before_the_table():
    seen = {**CLIENT, "image_ref": "traefik:v2.9", "client_api_version": "1.45"}
    assert certainties({"version": "28.0.4"}, "29", workload=seen) == {}


@pytest.mark.parametrize(
    ("image", "api", "expected"),
    [
        ("containrrr/watchtower:latest", None, {"EC0423": "will"}),
        ("containrrr/watchtower:latest", "1.44", {}),
        ("containrrr/watchtower:latest", "unknown", {"EC0423": "may"}),
        ("amir20/dozzle:v10.1", None, {}),
        ("amir20/dozzle:v10.1", "1.41", {"EC0423": "will"}),
        # what cannot be told is no pass, whatever the program could do
        ("amir20/dozzle:v10.1", "unknown", {"EC0423": "may"}),
    ],
)
def test_a_version_that_is_set_counts_before_what_the_program_could_do(
    image, api, expected
):
    client = {**CLIENT, "image_ref": image, "client_api_version": api}
    assert certainties({"version": "28.5.1"}, "29.0.0", workload=client) == expected


@pytest.mark.parametrize(
    ("image", "call", "door", "expected"),
    [
        ("traefik:v2.9", {}, {}, {"EC0423": "will"}),
        ("traefik:v3.6.1", {}, {}, {}),
        # what passes on requests is made for that, whoever saw its mounts
        ("traefik:v2.9", {}, {"docker_sock_mounted": None}, {"EC0423": "will"}),
        ("traefik:v2.9", {}, {"docker_sock_mounted": False}, {}),
        ("traefik:v2.9", {}, {"image_ref": "portainer/portainer-ce:2.36"}, {}),
        ("traefik:v2.9", {"possible": True}, {}, {}),
        ("traefik:v2.9", {"dst_id": "shop", "src_id": "door"}, {}, {}),
        # of a program without a known version nothing is said that has no socket
        ("telegraf:1.37", {}, {}, {}),
        ("shop/web:1", {}, {}, {}),
    ],
)
def test_a_client_reaches_the_engine_through_a_proxy_that_it_calls(
    image, call, door, expected
):
    host = {"host_id": "h1", "state": "running"}
    client = host | {"workload_id": "w", "service_id": "shop", "image_ref": image}
    proxy = host | {"workload_id": "p", "service_id": "door", "docker_sock_mounted": True}
    proxy |= {"image_ref": "tecnativa/docker-socket-proxy:0.3"} | door
    edge = {"src_id": "shop", "dst_id": "door", "kind": "call", "evidence": "command"}
    inventory = fleet(
        services=[{"service_id": "shop"}, {"service_id": "door"}],
        engines=[{"host_id": "h1", "runtime": "docker", "version": "28.5.1"}],
        workloads=[client | {"docker_sock_mounted": False}, proxy],
        dependencies=[edge | call],
    )
    found = breaks(inventory, [goal_of("docker:29.0.0")])
    found = found[found["workload_id"].eq("w") & found["certainty"].isin([WILL, MAY])]
    assert dict(zip(found["change"], found["certainty"], strict=True)) == expected


def test_a_row_names_workload_host_change_moment_and_remedy():
    workload = {**CLIENT, "image_ref": "traefik:v2.9"}
    result = what_breaks({"version": "28.0.4"}, "29.0.0", workload=workload)
    (row,) = result.rows()[0]["breaking"]
    assert list(row) == [*COLUMNS, "change_id"]
    assert row == {
        "service_id": "shop",
        "workload_id": "w",
        "host_id": "h1",
        "change": "EC0423",
        "certainty": "will",
        "moment": "at upgrade",
        "what": "traefik speaks API 1.24",
        "why": row["why"],
        "remedy": "update the client to a version that negotiates its API; "
        "raise or remove a variable that sets it",
        "source": row["source"],
        "change_id": "EC0423",
    }
    assert "1.24" in row["why"]
    assert row["source"]
    assert result.frame.loc["shop", "breaking_n"] == 1


def test_an_engine_that_runs_nothing_known_and_one_that_nobody_knows():
    engines = [
        {
            "host_id": "h1",
            "runtime": "docker",
            "version": "24.0.7",
            "storage_driver": "devicemapper",
        },
        {"host_id": "h2", "runtime": "docker", "version": "master"},
    ]
    workloads = [{"workload_id": "w", "service_id": "shop", "host_id": "h2"}]
    hosts = [{"host_id": "h1"}, {"host_id": "h2"}]
    found = score(fleet(hosts=hosts, engines=engines, workloads=workloads), target="29")
    table = found.details["simulation"].set_index("host_id")
    assert table.loc["h1", ["change", "services", "workloads_n"]].tolist() == [
        "EC0311",
        "",
        0,
    ]
    assert table.loc["h2", "why"] == "the facts do not know docker master"
    assert pd.isna(found.frame.loc["shop", "breaking_n"])
    assert found.frame.loc["shop", "breaking_unknown_n"] == 1


def test_of_one_subject_only_the_last_change_counts():
    image = {"registry": "docker.io", "repository": "library/old"}
    images = [{**image, "digest": "sha256:1", "host_id": "h1", "schema": "1"}]
    result = what_breaks(
        {"version": "17.12.1", "storage_driver": "aufs"},
        "29",
        host={"os_name": "ubuntu", "os_version": "14.04", "cgroup_version": "1"},
        workload={**image, "image_digest": "sha256:1"},
        images=images,
    )
    hits = result.details["breaking"].set_index("change")["certainty"]
    assert hits.to_dict() == {"EC0282": "will", "EC0406": "will"}
    # neither a package that is no longer made nor what is deprecated breaks what runs
    assert set(result.details["notes"]["change"]) == {"EC0137", "EC0309", "EC0439"}


def test_nothing_breaks_on_the_way_back_or_on_another_product():
    aufs = {"version": "29.1.0", "storage_driver": "aufs"}
    assert certainties(aufs, "28") == {}
    assert certainties({**aufs, "version": "20.10.24"}, "podman:5") == {}


@pytest.mark.parametrize("text", ["banana:1", "docker:", ":", "kubernetes:latest", "x"])
def test_a_target_that_is_none_is_an_error(text):
    with pytest.raises(RequestError):
        goal_of(text)
    assert goal_of("29") == goal_of("docker:29") == goal_of("Docker:29")


def test_a_distribution_is_a_target_and_its_image_another():
    assert goal_of("Rocky Linux:9").product == goal_of("rocky:9").product == "rocky-linux"
    assert goal_of("library/debian:13").product == "library/debian"
    host = {"os_name": "Debian GNU/Linux 10 (buster)", "cgroup_version": "1"}
    old = {"version": "19.03.8"}
    assert certainties(old, "debian:11", host=host) == {"SYSTEM-cgroup-engine": "will"}
    assert certainties(old, "library/debian:11", host=host) == {}
    assert certainties(old, "debian:11", host=host | {"os_name": "Ubuntu 20.04"}) == {}
    for hidden, target in (("os_name", "debian:11"), ("kernel", "kernel:6.12")):
        unknown = breaks(one_workload(old, {hidden: None}), [goal_of(target)])
        assert unknown["certainty"].tolist() == ["version"]


UNTOLD = {"kernel": None, "cgroup_version": None}
KEEPS_V1 = {"os_name": "Debian GNU/Linux 10 (buster)", **UNTOLD}
HAS_V2 = {"os_name": "Debian GNU/Linux 12 (bookworm)", **UNTOLD}
TALOS = {"os_name": "talos", "os_version": "1.8", **UNTOLD}
OF_FEDORA = {"os_name": "fedora", "os_version": "41", **UNTOLD}
OF_BOTTLEROCKET = {"os_name": "bottlerocket", "os_version": "1.40", **UNTOLD}
OF_THE_NODE = {"BOTTLEROCKET-1.57-jdk": "may"}


@pytest.mark.parametrize(
    ("host", "target", "image", "expected"),
    [
        # who does not tell the control groups of a host has those of its release
        (KEEPS_V1, "debian:11", "openjdk:11.0.11", {"SYSTEM-cgroup-jdk": "may"}),
        (KEEPS_V1 | {"cgroup_version": "2"}, "debian:11", "openjdk:11.0.11", {}),
        (HAS_V2, "debian:13", "openjdk:11.0.11", {}),
        ({"os_name": None}, "debian:11", "openjdk:11.0.11", {}),  # its release is unknown
        (
            KEEPS_V1,
            "debian:11",
            "ibm-semeru-runtimes:open-17.0.7_7-jre",
            {"SYSTEM-cgroup-jdk": "may"},
        ),
        (KEEPS_V1, "debian:11", "google/cadvisor", {"SYSTEM-cgroup-cadvisor": "may"}),
        (KEEPS_V1, "debian:11", "gcr.io/cadvisor/cadvisor:v0.47.2", {}),
        # so with its kernel
        (TALOS, "talos:1.10", "amazoncorretto:21.0.5", {"SYSTEM-6.12-jdk": "may"}),
        (TALOS | {"os_version": "1.9"}, "talos:1.10", "amazoncorretto:21.0.5", {}),
        (TALOS, "talos:1.10", "amazoncorretto:25", {}),
        (OF_FEDORA, "fedora:42", "amazoncorretto:21.0.6", {"SYSTEM-6.12-jdk": "may"}),
        (OF_FEDORA, "fedora:42", "amazoncorretto:21.0.7", {}),
        (OF_BOTTLEROCKET, "bottlerocket:1.57", "openjdk:17.0.2", OF_THE_NODE),
        (OF_BOTTLEROCKET, "bottlerocket:1.56", "openjdk:17.0.2", {}),
        # a kernel alone is a target of every system
        (
            {"kernel": "6.18.7"},
            "kernel:6.19",
            "mongo:8.0.12",
            {"SYSTEM-6.19-mongo": "will"},
        ),
        (
            {"kernel": "6.18.7"},
            "kernel:7.0.2",
            "mongo:8.0.12",
            {"SYSTEM-6.19-mongo": "may"},
        ),
        ({"kernel": "6.18.7"}, "kernel:7.0.14", "mongo:8.0.12", {}),
        ({"kernel": "6.18.7"}, "kernel:6.19", "mongo:7.0.12", {}),
        ({"kernel": "6.19.1"}, "kernel:6.19.4", "mongo:8.0.12", {}),
        ({"kernel": None}, "kernel:6.19", "mongo:8.0.12", {}),
    ],
)
def test_a_system_brings_its_kernel_and_its_control_groups(host, target, image, expected):
    known = {"version": "28.5.1"}
    assert (
        certainties(known, target, host=host, workload={"image_ref": image}) == expected
    )


OF_RHEL_9 = {"os_name": "rhel", "os_version": "9.4", **UNTOLD}
OLD_K3S = {"runtime": "containerd", "version": "1.6.8", "kubelet_version": "1.24.7+k3s1"}


@pytest.mark.parametrize(
    ("engine", "host", "target", "expected"),
    [
        ({"network_backend": "cni"}, OF_RHEL_9, "rhel:10", {"SYSTEM-podman-cni": "will"}),
        ({"network_backend": "netavark"}, OF_RHEL_9, "rhel:10", {}),
        # another kernel is not another release
        ({"network_backend": "cni"}, OF_RHEL_9, "kernel:6.12", {}),
        ({"runtime": "docker", "version": "19.03.8"}, OF_RHEL_9, "kernel:6.12", {}),
        # who keeps cgroup v1 against the default of a release was told so
        ({}, OF_RHEL_9 | {"cgroup_version": "1"}, "rhel:10", {"SYSTEM-cgroup-v1": "may"}),
        ({}, KEEPS_V1 | {"cgroup_version": "1"}, "debian:13", {}),
        (
            OLD_K3S | {"kubelet_flags": "no-deploy"},
            {},
            "kubernetes:1.25",
            "K3S-1.25-flag",
        ),
        (
            OLD_K3S | {"kubelet_flags": "flannel-backend=ipsec"},
            {},
            "kubernetes:1.27",
            "K3S-1.27-backend",
        ),
        (OLD_K3S | {"kubelet_flags": "flannel-backend=vxlan"}, {}, "kubernetes:1.27", {}),
    ],
)
def test_what_a_host_is_told_may_be_gone(engine, host, target, expected):
    known = {"runtime": "podman", "version": "4.9.4", **engine}
    hits = certainties(known, target, host=host)
    assert hits == ({expected: "will"} if isinstance(expected, str) else expected)


VOLUME = {"workload_id": "w", "destination": "/data", "source_class": "named-volume"}
SCRATCH = {**VOLUME, "source_class": "tmpfs"}
WILL_MOVE = {"POSTGRES-18-data": "will"}


@pytest.mark.parametrize(
    ("image", "target", "mounts", "expected"),
    [
        ("postgres:17-alpine", "postgres:18", [VOLUME], WILL_MOVE),
        ("mongo:2.4", "mongo:3.6", [VOLUME], {"MONGO-3.6-step": "will"}),
        ("bitnami/postgresql:16.2", "library/postgres:18.1", [VOLUME], WILL_MOVE),
        ("postgres:17", "postgres:18", [], {"POSTGRES-18-data": "may"}),
        ("postgres:17", "postgres:18", [SCRATCH], {}),
        ("postgres:18.1", "postgres:18.4", [VOLUME], {}),
        ("postgres:18.1", "postgres:19", [VOLUME], {"POSTGRES-19-unread": "may"}),
        ("postgres:17", "postgres:16", [VOLUME], {}),
        ("postgres:16.1", "postgres:16.4", [VOLUME], {}),
        ("redis:7", "postgres:18", [VOLUME], {}),
        ("postgres:17", "docker:29", [VOLUME], {}),
        ("acme/shop:1.4", "acme/shop:2", [], {"IMAGE-unread": "may"}),
        ("ghcr.io/acme/shop:1.4", "acme/shop:2", [], {"IMAGE-unread": "may"}),
        ("acme/shop:1.4", "ghcr.io/acme/shop:2", [], {}),
        ("acme/shop:2.1", "acme/shop:2", [], {}),
        ("other/shop:1.4", "acme/shop:2", [], {}),
    ],
)
def test_an_image_is_a_target_of_its_own(image, target, mounts, expected):
    known = {"version": "29.0.0"}
    found = certainties(known, target, workload={"image_ref": image}, mounts=mounts)
    assert found == expected


def test_a_cluster_of_a_provider_goes_by_the_version_of_kubernetes():
    goals = {goal_of(f"{name}:1.33")[:2] for name in ("eks", "gke", "aks", "k3s")}
    assert goals == {goal_of("kubernetes:1.33")[:2]}


def test_what_a_scheduler_runs_goes_by_the_version_of_its_host():
    def found(platform, version):
        inventory = fleet(
            services=[{"service_id": "shop", "platform": platform}],
            hosts=[{"host_id": "h1", "provider_version": version}],
            workloads=[{"workload_id": "w", "service_id": "shop", "host_id": "h1"}],
        )
        table = breaks(inventory, [goal_of("nomad:1.10")])
        return dict(zip(table["change"], table["certainty"], strict=True))

    assert found("nomad", "1.9.2") == {"NOMAD-1.10-tokens": "may"}
    assert found("nomad", "1.10.1") == {}
    assert found("docker", "1.9.2") == {}


def test_the_path_of_an_image_comes_before_the_name_that_many_share():
    old = {"version": "29.0.0"}
    metallb = {"image_ref": "quay.io/metallb/controller:v0.12.1"}
    ingress = {"image_ref": "registry.k8s.io/ingress-nginx/controller:v0.12.1"}
    target = "metallb/controller:0.13"
    assert certainties(old, target, workload=metallb)["METALLB-0.13-configmap"] == "will"
    assert certainties(old, target, workload=ingress) == {}


@pytest.mark.parametrize(
    ("image", "known", "target", "expected"),
    [
        (
            "prom/prometheus:v2.54.1",
            {"settings": "program=prometheus"},
            "prometheus:3",
            None,
        ),
        ("prom/prometheus:v2.54.1", {}, "prometheus:3", "PROMETHEUS-3-flags"),
        ("bitnami/kafka:3.9", {"env_names_n": 3}, "kafka:4", None),
        ("bitnami/kafka:3.9", {}, "kafka:4", "KAFKA-4.0-zookeeper"),
        (
            "elasticsearch:7.17",
            {"settings": "env.xpack.security.enabled=false"},
            "elasticsearch:8",
            None,
        ),
        (
            "elasticsearch:7.17",
            {"env_names_n": 3},
            "elasticsearch:8",
            "ELASTICSEARCH-8.0-security",
        ),
    ],
)
def test_a_setting_that_was_read_decides(image, known, target, expected):
    asked = certainties(
        {"version": "29.0.0"}, target, workload={"image_ref": image} | known
    )
    doubts = ("PROMETHEUS-3-flags", "KAFKA-4.0-zookeeper", "ELASTICSEARCH-8.0-security")
    assert [name for name in doubts if name in asked] == [expected] * bool(expected)


@pytest.mark.parametrize(
    ("image", "call", "expected"),
    [
        ("mongo:4.4", {}, "will"),
        ("bitnami/mongodb:4.4.15", {}, "will"),
        ("mongo:5.0", {}, None),
        # whoever hides the version, or the call, leaves the question open
        ("mongo:latest", {}, "may"),
        ("mongo@sha256:" + "a" * 64, {}, "may"),
        ("acme/db:4.4", {}, "may"),
        ("mongo:4.4", {"possible": True}, "may"),
        ("mongo:4.4", {"src_id": "db", "dst_id": "shop"}, "may"),
        # of several that answer, the oldest stops it
        (("mongo:5.0", "mongo:4.4"), {}, "will"),
    ],
)
def test_the_version_of_a_store_that_a_workload_needs_decides(image, call, expected):
    images = [image] if isinstance(image, str) else image
    chat = {"workload_id": "w", "service_id": "shop", "host_id": "h1"}
    stores = [
        {"workload_id": f"d{n}", "service_id": "db", "host_id": "h1", "image_ref": ref}
        for n, ref in enumerate(images)
    ]
    edge = {"src_id": "shop", "dst_id": "db", "kind": "data", "evidence": "env"}
    inventory = fleet(
        services=[{"service_id": "shop"}, {"service_id": "db"}],
        workloads=[chat | {"image_ref": "rocketchat/rocket.chat:6.10.0"}, *stores],
        dependencies=[edge | call],
    )
    found = breaks(inventory, [goal_of("rocket.chat:7.0")]).set_index("change")
    assert found["certainty"].get("ROCKET.CHAT-7-mongo") == expected


@pytest.mark.parametrize(
    ("settings", "target", "expected"),
    [
        ("network=lan;network-driver=ipvlan", "docker:23.0.0", {"EC0262": "will"}),
        ("network=lan;network-driver=macvlan", "docker:23.0.0", {}),
        ("network=shop", "docker:19.03.9", {"EC0166": "may"}),
        ("network=bridge", "docker:19.03.9", {}),
        (None, "docker:19.03.9", {}),
    ],
)
def test_networks_of_a_container_decide(settings, target, expected):
    old = {"version": "19.03.8"}
    assert certainties(old, target, workload={"settings": settings}) == expected


def test_a_regression_may_have_come_with_any_release_of_its_line():
    # its first release is stated
    internal = {"workload": {"settings": "network-internal"}}
    found = certainties({"version": "24.0.9"}, "docker:25.0.1", **internal)
    assert found["EC0324"] == "will"
    # nobody stated it: the one before the mend is assumed
    restored = {"version": "23.0.6", "live_restore": True}
    assert certainties(restored, "docker:24.0.5")["EC0295"] == "may"


def test_a_volume_on_the_old_place_shows_that_the_tag_has_not_moved():
    volume = VOLUME | {"destination": "/var/lib/postgresql/data"}
    known = {"workload": {"image_ref": "postgres:latest"}, "mounts": [volume]}
    found = certainties({"version": "28.5.1"}, by="2025-10-01", **known)
    assert found["WORLD-tag-moved"] == "will"


@pytest.mark.parametrize(
    ("image", "platform", "expected"),
    [
        ("acme/lamp-operator:v1.4", "kubernetes", "may"),
        ("acme/lamp-controller:v1.4", "kubernetes", "may"),
        ("acme/lamp:v1.4", "kubernetes", None),
        ("acme/lamp-controller:v1.4", "docker", None),
    ],
)
def test_an_operator_may_ask_for_new_definitions(image, platform, expected):
    services = [{"service_id": "shop", "platform": platform}]
    known = one_workload(workload={"image_ref": image}, services=services)
    path, _, _ = image.partition(":")
    found = breaks(known, [goal_of(f"{path}:2")]).set_index("change")["certainty"]
    assert found.get("IMAGE-operator") == expected


def test_an_image_whose_tag_moves_is_no_pass():
    known = {"version": "29.0.0"}
    more = {"workload": {"image_ref": "postgres"}, "mounts": [VOLUME]}
    frame = what_breaks(known, "postgres:18", **more).frame
    assert frame["breaking_n"].isna().all()
    assert frame["breaking_unknown_n"].tolist() == [1]
    unnamed = what_breaks(known, "postgres:18", workload={"image_ref": None}).frame
    assert unnamed["breaking_n"].isna().all()


def test_an_image_says_where_its_rules_end_or_that_they_know_a_part():
    for product in set(products()) - set(PRODUCTS):
        known = changes(product)
        # without a version it is the first, and holds everywhere
        part, end = known[0], known[-1]
        said = part if part["version"] == "" else end
        assert said["change_id"].endswith("-unread"), product
        # what a host runs in containers hangs on its system in few ways
        is_system = reference.distro_of(product) is not None
        assert said["when_true"] == ("note" if is_system else "may"), product
    between = {"workload": {"image_ref": "grafana/grafana:11.5.1"}}
    found = certainties({"version": "29.0.0"}, "grafana:11.6", **between)
    assert found == {"GRAFANA-unread": "may"}


def test_objects_are_asked_of_the_operator_in_their_cluster():
    def gone(version):
        applied = {"last_applied_api_version": f"external-secrets.io/{version}"}
        secret = {"object_id": "s", "cluster": "blue", "kind": "SecretStore", "name": "s"}
        image = {"image_ref": "external-secrets/external-secrets:v0.16.2"}
        known = {"workload": {**image, "cluster": "blue"}, "objects": [secret | applied]}
        return certainties({"version": "29.0.0"}, "external-secrets:0.17", **known)

    assert gone("v1beta1")["ESO-v1beta1"] == "will"
    assert "ESO-v1beta1" not in gone("v1")


def test_a_day_that_is_none_is_an_error():
    with pytest.raises(RequestError, match="no day"):
        what_breaks({"version": "24.0.7"}, by="soon")


@pytest.mark.parametrize(
    ("image", "target", "known", "expected"),
    [
        ("yourls:1.10.1", "yourls:1.10.2", {"ports": "8080->80/tcp"}, "will"),
        ("yourls:1.10.1", "yourls:1.10.2", {"ports": "8080->8080/tcp"}, None),
        ("yourls:1.10.1", "yourls:1.10.2", {}, "may"),
        ("yourls:1.10.2", "yourls:1.10.3", {"ports": "8080->80/tcp"}, None),
    ],
)
def test_a_port_inside_the_container_that_moves(image, target, known, expected):
    found = certainties(target=target, workload={"image_ref": image} | known)
    assert found.get("YOURLS-1.10.2-port") == expected


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"env_names_n": 2}, None),
        ({}, "may"),
        ({"env_names_n": 2, "settings": "env.DATA_SOURCE_NAME"}, "will"),
    ],
)
def test_hidden_variables_may_hold_one_that_an_image_drops(known, expected):
    workload = {"image_ref": "prom/mysqld-exporter:v0.14.0"} | known
    found = certainties(target="mysqld-exporter:0.15", workload=workload)
    assert found.get("MYSQLD-EXPORTER-0.15-variable") == expected


def test_every_variable_that_rules_ask_for_is_read():
    options = csv_records.lookup("settings", "option", "shown")
    read = {name for name in options if name.startswith(("env.", "jvm."))}
    of_images = [row for row in ROWS if row["product"] not in (*PRODUCTS, "world")]
    conditions = [row["condition"] for row in of_images if row["table"] == "flags"]
    named = [text for text in conditions if text.startswith("flag in [")]
    lists = [text.partition("]")[0] for text in named]
    asked = {name for text in lists for name in re.findall("'([^']+)'", text)}
    columns = reference.lookup("break_columns", "setting", "column")
    assert asked | {name for name in columns if name.startswith("env.")} == read


# ---- the table ----

ROWS = reference.rows("breaks")


def test_every_rule_of_the_table_can_be_asked():
    at = pd.Timestamp(0, tz="UTC")
    tables = {}
    for name in {row["table"] for row in ROWS}:
        cells = {
            c: pd.Series([None], dtype=DTYPES[k]) for c, k in columns_of(name).items()
        }
        tables[name] = pd.DataFrame(cells)
    for row in ROWS:
        found = evaluate(row["condition"], tables[row["table"]], at=at)
        assert found.isna().all() or row["when_unknown"] == "no"
        # an image is found by the usual name of its product
        # or, where many share a name, by its path
        is_usual = reference.product_of(row["product"]) == row["product"].split("/")[-1]
        assert row["product"] in (*PRODUCTS, "world") or is_usual, row
        assert row["when_true"] in ("will", "may", "note"), row
        assert row["when_unknown"] in ("may", "no"), row
        assert row["moment"] in MOMENTS, row
        assert row["remedy"], row
        assert bool(row["by"]) == (row["product"] == "world"), row


MOMENTS = ("at upgrade", "next start", "next pull", "next build", "by date")


def test_every_change_has_a_version_or_a_day_and_a_source():
    for product in (*products(), "world"):
        for row in changes(product):
            assert row["source"], row
            is_of_tables = row["change_id"] in TABLES or row["product"] == "system"
            is_of_any = row["change_id"].endswith(("-unread", "-pin", "-pin-of-release"))
            assert row["version"] or row["by"] or is_of_tables or is_of_any, row


# asked as a whole: what the target runs at all
TABLES = ("storage_drivers", "engine_kernel", "K8S-feature-gate", "K8S-client")


def test_every_breaking_or_removed_change_is_asked_or_says_what_hides_it():
    facts = reference.table("engine_changes")
    hard = set(facts["change_id"][facts["kind"].isin(["breaking", "removed"])])
    asked = {row["change_id"] for row in ROWS}
    hidden = {row["change_id"]: row["word"] for row in reference.rows("unasked")}
    assert hard <= asked | set(hidden)
    assert not asked & set(hidden)
    assert {change for change in hidden if change.startswith("EC")} <= hard
    assert all(word.isidentifier() for word in hidden.values())


def test_every_engine_client_is_written_so_that_it_can_be_read():
    for row in reference.rows("engine_clients"):
        is_word = row["api"] in ("negotiates", "unknown")
        assert is_word or re.fullmatch(r"1\.\d+", row["api"]), row
        assert row["source"], row
        ends = [row["from"], row["below"]]
        assert all(not end or reference.parse_version(end) for end in ends), row


def test_the_spans_of_an_engine_client_follow_each_other():
    spans = {}
    for row in reference.rows("engine_clients"):
        spans.setdefault(row["program"], []).append((row["from"], row["below"]))
    for program, ends in spans.items():
        assert ends[0][0] == "", program
        assert ends[-1][1] == "", program
        assert [end for _, end in ends[:-1]] == [start for start, _ in ends[1:]], program


@pytest.mark.parametrize(
    ("digest", "known", "expected"),
    [
        ("sha256:a", {"schema": "1"}, ["EC0406"]),
        ("sha256:a", {"media_type": f"{MANIFEST}.v1+prettyjws"}, ["EC0406"]),
        ("sha256:a", {"media_type": f"{MANIFEST}.v2+json"}, []),
        (None, {"schema": "1", "tags": "1;2"}, ["EC0406"]),
        (None, {"schema": "1", "tags": "docker.io/shop/app:1"}, ["EC0406"]),
        (None, {"schema": "1", "tags": "2"}, []),
        (None, {"schema": "1"}, []),
    ],
)
def test_an_image_is_found_by_its_digest_or_its_tag(digest, known, expected):
    name = "registry.example.com/old/app"
    image = {"registry": "registry.example.com", "repository": "old/app"}
    workload = {"workload_id": "w", "service_id": "shop", "host_id": "h1"}
    workload |= {"image_ref": f"{name}:1", "image_digest": digest, "state": "running"}
    inventory = fleet(
        workloads=[workload],
        images=[image | {"digest": "sha256:a"} | known],
        engines=[{"host_id": "h1", "runtime": "docker", "version": "27.5"}],
    )
    found = breaks(inventory, [goal_of("docker:28.2.0")])
    assert list(found.loc[found["certainty"] == "will", "change"]) == expected


OLD = {"created_at": "2017-03-01T00:00:00Z"}
NEW = {"created_at": "2024-03-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("known", "asked", "expected"),
    [
        ({"schema": "1"} | OLD, "docker:29.1", {"EC0406": "will"}),
        (OLD, "docker:29.1", {"EC0406": "may"}),
        ({}, "containerd:2.1", {"CTD-schema-1-gone": "may"}),
        (NEW, "docker:29.1", {}),
        ({"schema": "2"} | OLD, "docker:29.1", {}),
        ({"base_name": "debian:12"} | NEW, "2026-09-30", {"WORLD-clone3": "will"}),
        (NEW, "2026-09-30", {"WORLD-clone3": "may"}),
        ({}, "2026-09-30", {"WORLD-clone3": "may"}),
        (OLD, "2026-09-30", {}),
        ({"base_name": "debian:11"}, "2026-09-30", {}),
    ],
)
def test_hiding_the_schema_or_the_base_of_an_image_leaves_what_it_may_break(
    known, asked, expected
):
    product, _, line = asked.rpartition(":")
    workload = {"workload_id": "w", "service_id": "shop", "host_id": "h1"}
    workload |= {"image_ref": "registry.example.com/old/app:1"}
    image = {"registry": "registry.example.com", "repository": "old/app"}
    version = "1.7.0" if product == "containerd" else "20.10.5"
    engine = {"runtime": product or "docker", "storage_driver": "overlay2"}
    inventory = fleet(
        workloads=[workload | {"image_digest": "sha256:a", "state": "running"}],
        images=[image | {"digest": "sha256:a"} | known],
        engines=[engine | {"host_id": "h1", "version": version}],
    )
    goals = [goal_of(asked)] if product else []
    found = breaks(inventory, goals, by="" if product else line)
    found = found[found["certainty"].isin(["will", "may"])]
    assert dict(zip(found["change"], found["certainty"], strict=True)) == expected


@pytest.mark.parametrize(
    ("settings", "target", "expected"),
    [
        ("program=kube-apiserver;insecure-port=0", "1.23", {}),
        (
            "program=kube-apiserver;insecure-port=0",
            "1.24",
            {"K8S-1.24-apiserver": "will"},
        ),
        (
            "program=kube-apiserver;insecure-port=80",
            "1.20",
            {"K8S-1.20-apiserver": "will"},
        ),
        ("program=kube-scheduler;logtostderr", "1.26", {"K8S-1.26-klog": "will"}),
        ("program=cart;logtostderr", "1.26", {}),
        (
            "program=kube-apiserver;feature-gates.AppArmor=true",
            "1.33",
            {"K8S-feature-gate": "will"},
        ),
        # kubeadm refuses the gate, whatever its value
        (
            "program=kube-apiserver;kubeadm-feature-gates.IPv6DualStack=false",
            "1.24",
            {"K8S-1.24-kubeadm-gate": "will"},
        ),
        ("program=kube-apiserver;kubeadm-feature-gates.IPv6DualStack=true", "1.23", {}),
        (
            "node-label.node-role.kubernetes.io/master",
            "1.24",
            {"K8S-1.24-master-label": "may"},
        ),
    ],
)
def test_what_runs_a_cluster_and_what_asks_of_it(settings, target, expected):
    node = {"runtime": "containerd", "version": "1.7.2", "kubelet_version": "1.19.1"}
    found = certainties(node, f"kubernetes:{target}", workload={"settings": settings})
    assert found == expected


@pytest.mark.parametrize(
    ("engine", "target", "expected"),
    [
        ({"version": "26.1.4", "daemon_flags": "tls=false"}, "27.0.3", {"EC0483": "may"}),
        ({"version": "26.1.4", "daemon_flags": "tls=true"}, "27.0.3", {}),
        (
            {"version": "20.10.9", "daemon_flags": "cpu-rt-period"},
            "23.0.6",
            {"EC0477": "may"},
        ),
        (
            {"runtime": "cri-o", "version": "1.30.4", "storage_driver": "devicemapper"},
            "cri-o:1.31.0",
            {"CRIO-devicemapper": "will"},
        ),
        (
            {"runtime": "cri-o", "version": "1.30.4", "storage_driver": "overlay"},
            "cri-o:1.31.0",
            {},
        ),
        (
            {"runtime": "podman", "version": "4.6.2"},
            "podman:5.8.0",
            {"PODMAN-5.8.0": "may"},
        ),
        ({"runtime": "podman", "version": "4.6.2"}, "podman:5.8.1", {}),
        ({"runtime": "podman", "version": "5.2.0"}, "podman:5.8.0", {}),
        (
            {"runtime": "podman", "version": "5.2.0", "rootless": True},
            "podman:5.3.0",
            {"PODMAN-5.3.0": "may"},
        ),
        ({"runtime": "podman", "version": "5.2.0", "rootless": True}, "podman:5.3.1", {}),
    ],
)
def test_what_the_release_notes_of_an_engine_say(engine, target, expected):
    assert certainties(engine, target) == expected


@pytest.mark.parametrize(
    ("target", "expected"), [("27.0.1", "may"), ("27.0.2", "may"), ("27.0.3", None)]
)
def test_a_regression_is_there_from_the_first_release_that_somebody_saw_it_in(
    target, expected
):
    engine = {"version": "26.1.4", "rootless": True}
    assert certainties(engine, f"docker:{target}").get("EC0365") == expected


@pytest.mark.parametrize(
    ("kernel", "expected"), [("4.19.0", {"PODMAN-5.2-kernel": "may"}), ("5.4.0", {})]
)
def test_podman_asks_for_newer_calls_of_the_kernel(kernel, expected):
    engine = {"runtime": "podman", "version": "5.1.2"}
    assert certainties(engine, "podman:5.2.0", host={"kernel": kernel}) == expected


def test_only_an_engine_whose_version_nobody_knows_is_blind():
    versions = {"a": "24.0.7", "b": "master", "c": None, "d": "weird"}
    workloads = pd.DataFrame(
        {
            "service_id": list(versions),
            "workload_id": list(versions),
            "host_id": "h",
            "version": pd.Series(versions.values(), dtype="string"),
            "runtime": ["docker", "docker", "docker", None],
        }
    )
    found = _blind(workloads, goal_of("29")).set_index("service_id")
    assert found["why"].to_dict() == {
        "b": "the facts do not know docker master",
        "c": "nobody knows its version",
    }
    assert found["what"].to_dict() == {"b": "docker master", "c": "docker"}


@pytest.mark.parametrize("platform", ["kubernetes", "docker"])
def test_a_node_whose_kubelet_nobody_saw_hides_what_a_cluster_breaks(platform):
    services = [{"service_id": "shop", "platform": platform}]
    engine = {"runtime": "containerd", "version": "1.7.2"}
    hidden = one_workload(engine, services=services)
    is_on_cluster = platform == "kubernetes"
    counted = score(hidden, target="kubernetes:1.35").frame["breaking_n"]
    assert counted.isna().tolist() == [is_on_cluster]
    named = [goal.product for goal in goals_of(hidden, "29")]
    assert ("kubernetes" in named) == is_on_cluster
    # what was seen there breaks whatever the version
    old = one_workload(engine, {"cgroup_version": "1"}, services=services)
    found = breaks(old, [goal_of("kubernetes:1.35")])
    hits = found["change"].eq("K8S-cgroup-v1") & found["certainty"].eq(WILL)
    assert hits.any() == is_on_cluster


@pytest.mark.parametrize(
    ("cells", "is_broken"),
    [
        ({"source_kind": "container"}, True),
        ({"source_kind": "unit"}, False),
        ({"source_kind": "process"}, False),
        ({"source_kind": None}, True),  # it may be a container
        ({"source_kind": "unit", "docker_sock_mounted": True}, True),
    ],
)
def test_what_runs_beside_the_engine_goes_on_without_it(cells, is_broken):
    engine = {"version": "20.10.24", "storage_driver": "devicemapper"}
    result = what_breaks(engine, "docker:29", workload=cells)
    hits = result.details["breaking"].query("certainty == 'will'")
    # the host is named in any case
    assert set(hits["host_id"]) == {"h1"}
    assert hits["service_id"].eq("shop").any() == is_broken
    assert result.frame.loc["shop", "breaking_n"] == hits["service_id"].eq("shop").sum()


@pytest.mark.parametrize("registry", ["registry.example.net", None])
def test_an_image_of_unknown_registry_is_found_by_its_path(registry):
    cells = {"registry": registry, "repository": "acme/app", "tag": "1.0"}
    found = images_of(one_workload(workload=cells), "acme/app", "2")
    assert found["workload_id"].tolist() == ["w"]


def test_a_host_that_nothing_runs_on_talks_to_no_engine():
    hosts = [{"host_id": "h1"}, {"host_id": "h2"}]
    engines = [{"host_id": h["host_id"], "runtime": "docker"} for h in hosts]
    workload = {"workload_id": "w", "service_id": "shop", "host_id": "h2"}
    workloads = [{**workload, "docker_sock_mounted": True}]
    made = fleet(hosts=hosts, engines=engines, workloads=workloads)
    found = workloads_on(made, "docker", "29").set_index("host_id")
    assert found.loc["h1", "workload_id"] == IDLE
    assert found["talks"].to_dict() == {"h1": False, "h2": True}


@pytest.mark.parametrize(
    ("product", "runtimes"),
    [("docker", ["docker"]), (WORLD, ["containerd", "docker"])],
)
def test_an_upgrade_affects_its_product_and_what_happens_in_the_world_all(
    product, runtimes
):
    names = ["containerd", "docker"]
    made = fleet(
        hosts=[{"host_id": name} for name in names],
        engines=[{"host_id": name, "runtime": name} for name in names],
        workloads=[
            {"workload_id": name, "service_id": "shop", "host_id": name} for name in names
        ],
    )
    found = workloads_on(made, product, "29")
    assert sorted(found["runtime"]) == runtimes


ORACLE = {"image_ref": "oraclelinux:8"}


@pytest.mark.parametrize(
    ("kernel", "workload", "expected"),
    [
        ("5.15.0", ORACLE, {"DOCKER-29.7-devices": "will"}),
        (None, ORACLE, {"DOCKER-29.7-devices": "may"}),
        ("6.8.0", ORACLE, {}),
        # neither a process on the host nor another image asks for such a layer
        (None, {}, {}),
        (None, {"image_ref": "ubuntu:22.04"}, {}),
    ],
)
def test_an_unknown_kernel_may_refuse_a_layer_with_device_nodes(
    kernel, workload, expected
):
    engine = {"version": "29.6.2"}
    host = {"kernel": kernel}
    assert certainties(engine, "29.7.1", host=host, workload=workload) == expected


@pytest.mark.parametrize(
    ("kernel", "engine", "expected"),
    [
        ("3.16.0-4-amd64", "20.10.24", {"engine_kernel": "will"}),
        ("3.16.0-4-amd64", None, {"engine_kernel": "will"}),
        ("6.1.0", "20.10.24", {}),
        (None, "20.10.24", {}),
    ],
)
def test_a_kernel_that_is_too_old_breaks_whatever_engine_is_left(
    kernel, engine, expected
):
    found = certainties({"version": engine}, "29", host={"kernel": kernel})
    kept = {name: how for name, how in found.items() if name == "engine_kernel"}
    assert kept == expected


def test_every_column_of_rules_by_hand():
    image = {"registry": "eu.registry.example", "repository": "team/web/shop"}
    seen = one_workload(
        {
            **{"version": "20.10.24", "logging_driver": "journald", "seccomp": True},
            **{"daemon_flags": "min-api-version=1.24", "backing_fs": "xfs"},
            **{"cgroup_driver": "systemd", "rootless": False},
        },
        {
            **{"kernel": "3.16.0", "cgroup_version": "cgroup2fs", "arch": "x86_64"},
            **{"os_name": "debian", "os_version": "12", "os_family": "linux"},
            **{"libseccomp_version": "2.5.4"},
        },
        {
            **{**image, "tag": "v1.2.3-slim", "source_kind": "container"},
            **{"privileged": False, "restart_policy": "always"},
            **{"client_api_version": "1.41", "docker_sock_mounted": True},
            "host_network": True,
        },
        images=[
            {**image, "digest": "sha256:aa", "tags": "v1.2.3-slim;old", "host_id": ""}
            | {"base_name": "debian:10", "media_type": f"{MANIFEST}.v1+json"}
        ],
    )
    row = workloads_on(seen, "docker", "29.1").iloc[0]
    found = {name: row[name] for name in columns_of("workloads")}
    # of a kubelet, a cluster and a network nothing is said
    said = {name: value for name, value in found.items() if pd.notna(value)}
    assert said == {
        **{"registry": "eu.registry.example", "registry_domain": "registry.example"},
        **{"repository": "team/web/shop", "program": "shop", "image_owner": "team"},
        **{"image_namespace": "team/web", "tag": "v1.2.3-slim", "schema": "1"},
        **{"tag_version": 1.002003, "base": "debian:10", "base_os": "debian 10"},
        **{"base_distro": "debian", "base_version": 10, "restart_policy": "always"},
        **{"log_driver": "journald", "docker_sock_mounted": True, "privileged": False},
        **{"talks": True, "client_api": 41, "is_allowed": True, "is_confined": True},
        **{"is_build": False, "runtime": "docker", "engine": 20.010024},
        **{"tolerates_cgroup_v1": False, "storage_driver": "overlay2"},
        **{"backing_fs": "xfs", "d_type": True, "live_restore": False},
        **{"cgroup_driver": "systemd", "rootless": False, "driver_runs": True},
        **{
            "kernel_runs": False,
            "kernel": 3.016,
            "cgroup": "2",
            "is_cgroup_seen": True,
            "arch": "amd64",
        },
        **{"os": "debian 12", "distro": "debian", "os_family": "linux"},
        **{"libseccomp": 2.005004, "image_parent": "web", "is_provided": False},
        **{"has_image": True, "is_base_seen": True, "is_schema_seen": True},
        "image_from": 0,
        # no mount is known, and no day of creation: it is of the snapshot at the latest
        **{"keeps_data": False, "keeps_none": False, "pinned": False},
        **{"created_from": 0, "created_by": 20260930, "host_network": True},
        # no setting is known
        **dict.fromkeys(
            ["cgo", "checks", "compiles", "linking", "runs_on", "starts"], ""
        ),
        **{"is_operator": False, "search_security": ""},
        **{"discovery": "", "needs_elasticsearch": "", "needs_mongo": ""},
        **dict.fromkeys(["needs_mariadb", "needs_mysql", "needs_postgres"], ""),
    }


@pytest.mark.parametrize(
    ("target", "expected"),
    [("1.4.8", {"CTD-runc-1.0.0": "may"}), ("1.4.9", {}), ("1.5.0", {})],
)
def test_a_regression_of_one_release_ends_with_the_next(target, expected):
    engine = {"runtime": "containerd", "version": "1.4.6", "storage_driver": "overlayfs"}
    host = {"os_name": "fedora", "os_version": "34"}
    assert certainties(engine, f"containerd:{target}", host=host) == expected


@pytest.mark.parametrize(
    ("image", "by", "expected"),
    [
        ("ghcr.io the-luap/picpeak/backend beta", "2026-07-01", "WORLD-ghcr-renamed"),
        ("ghcr.io the-luap/picpeak/backend beta", "2026-06-01", None),
        ("ghcr.io picpeak/picpeak/backend beta", "2026-07-01", None),
        ("ghcr.io openfaas/gateway 0.23.0", "2023-09-01", "WORLD-image-gone"),
        ("ghcr.io openfaas/gateway 0.27.0", "2023-09-01", None),
        ("docker.io sath89/oracle-12c latest", "2019-03-01", "WORLD-image-gone"),
        # the owner gave the newer of the tags back
        ("ghcr.io fuzzygrim/yamtrack 0.19.7", "2025-04-01", "WORLD-image-gone"),
        ("ghcr.io fuzzygrim/yamtrack 0.20.1", "2025-04-01", None),
        # restored after six days
        ("docker.io wappalyzer/cli latest", "2020-10-22", "WORLD-image-gone"),
        ("docker.io wappalyzer/cli latest", "2020-11-01", None),
    ],
)
def test_an_image_is_gone_from_its_day_on(image, by, expected):
    registry, repository, tag = image.split()
    named = {"registry": registry, "repository": repository, "tag": tag}
    found = certainties(by=by, workload=named)
    assert set(found) == ({expected} if expected else set())


@pytest.mark.parametrize(
    ("image", "created", "by", "expected"),
    [
        # the maker put the move off more than once: nobody has seen it
        ("influxdb latest", "2026-01-01", "2026-10-01", "may"),
        ("influxdb latest", "2026-01-01", "2026-05-01", None),
        # whether the tag names the second or the third, neither reads what the first wrote
        ("influxdb latest", "2020-01-01", "2026-10-01", "will"),
        # a console of its own, on a port that nobody chose
        ("minio/minio latest", "2021-03-01", "2021-08-01", "may"),
        ("minio/minio latest", "2021-08-01", "2021-08-02", None),
    ],
)
def test_a_move_of_a_tag_is_as_certain_as_somebody_saw_it(image, created, by, expected):
    name, tag = image.split()
    path = name if "/" in name else f"library/{name}"
    named = {
        "registry": "docker.io",
        "repository": path,
        "tag": tag,
        "created_at": created,
    }
    assert certainties(by=by, workload=named).get("WORLD-tag-moved") == expected


@pytest.mark.parametrize(
    ("image", "by", "expected"),
    [
        ("docker.io akyriako/typesense-operator 0.2.1", "2026-04-01", "will"),
        # the next step of its maker's plan, which no record confirms
        ("docker.io akyriako/typesense-operator 0.3.2", "2026-07-01", "may"),
        ("gcr.io istio-release/pilot 1.29.1", "2026-12-01", None),
        # a trial, and the month of the end
        ("gcr.io istio-release/pilot 1.29.1", "2026-12-09", "may"),
        ("gcr.io istio-release/pilot 1.29.1", "2027-01-02", "will"),
    ],
)
def test_an_announced_removal_is_certain_from_its_last_day_on(image, by, expected):
    registry, repository, tag = image.split()
    named = {"registry": registry, "repository": repository, "tag": tag}
    found = certainties(by=by, workload=named)
    assert next(iter(found.values()), None) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("vault:2.0.1", {"VAULT-2.0.1-start", "VAULT-2.0.1-lock"}),
        ("vault:2.0.2", {"VAULT-2.0.1-lock"}),
        ("vault:2.0.3", {"VAULT-2.0.1-lock", "VAULT-2.0.3-setcap"}),
    ],
)
def test_a_start_up_script_that_one_release_broke(target, expected):
    named = {"registry": "docker.io", "repository": "hashicorp/vault", "tag": "1.19.0"}
    found = certainties(target=target, workload=named)
    assert {change for change in found if change.startswith("VAULT-2.0")} == expected


# ---- what a build does, and what made a container ----


def built(image, settings):
    base = {"workload": {"source_kind": "build", "host_id": None, "settings": settings}}
    name, _, tag = image.partition(":")
    base["workload"] |= {"image_ref": image, "registry": "docker.io"}
    path = name if "/" in name else f"library/{name}"
    base["workload"] |= {"repository": path, "tag": tag}
    return base


@pytest.mark.parametrize(
    ("image", "settings", "target", "expected"),
    [
        ("debian:11", "package=netcat", "debian:12", {"DEBIAN-12-packages": "will"}),
        ("debian:12", "package=netcat", "debian:13", {}),
        # of a language the system is that in its tag
        (
            "python:3.12-slim-bookworm",
            "package=libgl1-mesa-glx",
            "debian:13",
            {"DEBIAN-13-packages": "will"},
        ),
        (
            "ubuntu:22.04",
            "command=useradd-1000",
            "ubuntu:24.04",
            {"UBUNTU-23.04-useradd-1000": "will"},
        ),
        ("ubuntu:22.04", None, "ubuntu:24.04", {}),
        # a version of another release than the base's comes from elsewhere
        ("debian:11", "PHP=7.4", "debian:12", {"DEBIAN-12-packages": "will"}),
        ("debian:11", "PHP=8.1", "debian:12", {}),
        ("debian:11", "GCC=10", "debian:12", {"DEBIAN-12-packages": "will"}),
        ("debian:11", "GCC=11", "debian:12", {}),
        ("ubuntu:18.04", "OpenSSL=1.1", "ubuntu:20.04", {}),
        (
            "ubuntu:18.04",
            "OpenSSL=1.1",
            "ubuntu:24.04",
            {"UBUNTU-22.04-packages": "will"},
        ),
        (
            "debian:11",
            "command=pin;command=pin-of-release",
            "debian:12",
            {"DEBIAN-pin-of-release": "will"},
        ),
        ("ubuntu:22.04", "command=pin", "ubuntu:24.04", {"UBUNTU-pin": "may"}),
        (
            "ubuntu:22.04",
            "list=jammy",
            "ubuntu:24.04",
            {"UBUNTU-24.04-list": "may"},
        ),
        ("ubuntu:24.04", "list=jammy", "ubuntu:24.04", {}),
        ("ubuntu:24.04", "command=pin", "ubuntu:24.04", {}),
        ("alpine:3.18", "command=pin", "alpine:3.19", {"ALPINE-LINUX-pin": "may"}),
        # of an official image without a system in its tag the base is known by its version
        ("ruby:2.7.6", "PostgreSQL=13", "debian:12", {"DEBIAN-12-packages": "will"}),
        ("rust:1.75-slim", "OpenJDK=17", "debian:13", {"DEBIAN-13-packages": "will"}),
        # the lists of some images are known, those of others are not
        (
            "postgres:13-bullseye",
            "PostgreSQL=13",
            "debian:12",
            {"DEBIAN-12-packages": "may"},
        ),
        ("acme/app:1-bullseye", "PHP=7.4", "debian:12", {"DEBIAN-12-packages": "may"}),
        ("alpine:3.18", "PHP=81", "alpine:3.20", {"ALPINE-3.20-packages": "will"}),
    ],
)
def test_a_release_drops_what_a_build_installs(image, settings, target, expected):
    assert certainties(target=target, **built(image, settings)) == expected


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (None, "will"),
        ("github.com", "will"),
        ("apt.postgresql.org bookworm-pgdg", "may"),
        ("deb.nodesource.com", "may"),
        ("github.com;ppa.launchpadcontent.net", "may"),
        ("unknown", "may"),
    ],
)
def test_a_build_may_have_a_dropped_package_from_lists_of_its_own(sources, expected):
    asked = built("debian:12", "package=libgl1-mesa-glx")
    asked["workload"]["package_sources"] = sources
    assert certainties(target="debian:13", **asked)["DEBIAN-13-packages"] == expected


@pytest.mark.parametrize(("target", "n"), [("25.0.5", 1), ("26.1.2", 1), ("26.1.3", 0)])
def test_a_regression_ends_with_the_release_that_mends_it(target, n):
    engine = {"version": "24.0.7"}
    workload = {"settings": "network-internal=shop"}
    asked = one_workload(engine, workload=workload)
    table = breaks(asked, [goal_of(f"docker:{target}")])
    assert table["why"].str.startswith("a name server inside").sum() == n


@pytest.mark.parametrize(
    ("image", "setting", "target", "expected"),
    [
        # deprecated in 7, gone in 8
        (
            "elasticsearch:6.8",
            "discovery.zen.no_master_block",
            "elasticsearch:7.17",
            None,
        ),
        (
            "elasticsearch:7.17",
            "discovery.zen.no_master_block",
            "elasticsearch:8.5",
            "will",
        ),
        # what has no dot in its name is no setting
        ("elasticsearch:7.17", "processors", "elasticsearch:8.5", None),
        # the image passes on the variables in its list alone
        ("kibana:6.8", "ELASTICSEARCH_URL", "kibana:7.17", "may"),
        ("kibana:7.17", "XPACK_SECURITY_ENABLED", "kibana:8.5", "may"),
        ("kibana:7.17", "XPACK_MONITORING_ENABLED", "kibana:8.5", None),
    ],
)
def test_an_image_drops_settings_of_its_environment(image, setting, target, expected):
    asked = built(image, f"env.{setting}=1")
    asked["workload"]["source_kind"] = "container"
    table = breaks(one_workload(**asked), [goal_of(target)])
    hits = table[table["what"].eq(f"variable env.{setting}")]
    assert [*hits["certainty"]] == ([expected] if expected else [])


def test_an_image_drops_what_a_build_asks_of_it():
    asked = built("php:8.3-fpm", "extension=imap;extension=gd")
    assert certainties(target="php:8.4", **asked)["PHP-8.4-extensions"] == "will"
    plain = built("php:8.3-fpm", None)
    assert "will" not in certainties(target="php:8.4", **plain).values()


def test_compose_is_a_target():
    made = {"workload": {"settings": "compose=1.29.2"}}
    assert certainties(target="compose:2.0", **made)["COMPOSE-2-names"] == "may"
    assert certainties(target="compose:2.0") == {}
    newer = {"workload": {"settings": "compose=2.24.0"}}
    assert certainties(target="compose:2.30", **newer) == {"COMPOSE-unread": "may"}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [("env.KC_PROXY", "will"), ("env.KC_PROXY_HEADERS", None)],
)
def test_an_image_no_longer_reads_a_variable(settings, expected):
    image = {"image_ref": "quay.io/keycloak/keycloak:25.0", "registry": "quay.io"}
    image |= {"repository": "keycloak/keycloak", "tag": "25.0", "settings": settings}
    found = certainties(target="keycloak:26.0", workload=image)
    assert found.get("KEYCLOAK-26-variables") == expected
