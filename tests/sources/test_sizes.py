"""Requests and limits of every platform, each in its own units: the same size is the same row."""

import json

import pytest

from assess.sources.compose import ComposeSource
from assess.sources.deadline import Deadline
from assess.sources.ecs import EcsSource
from assess.sources.ecs.tasks import cpu_of, memory_of
from assess.sources.kubernetes import KubernetesSource
from assess.sources.marathon import MarathonSource
from assess.sources.nomad import NomadSource
from assess.sources.values import quantity

MIB = 1 << 20
SIZES = ("cpu_request", "cpu_limit", "memory_request_bytes", "memory_limit_bytes")
IMAGE = "registry.example.net/shop/web:1.2.3"
NODE = {
    "ID": "n1",
    "Name": "node-1",
    "Status": "ready",
    "NodeResources": {"Cpu": {"CpuShares": 8000, "TotalCpuCores": 4}},
}


def pod(requests, limits):
    container = {"name": "web", "image": IMAGE}
    container["resources"] = {"requests": requests, "limits": limits}
    spec = {"template": {"spec": {"containers": [container]}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": spec,
    }


def definition(container, **task):
    whole = {"name": "web", "image": IMAGE, "essential": True, **container}
    arn = "arn:aws:ecs:eu-west-1:210987654321:task-definition/web:1"
    known = {"family": "web", "revision": 1, "taskDefinitionArn": arn}
    return {"taskDefinition": {**known, "containerDefinitions": [whole], **task}}


def job(resources, *, is_placed=True):
    task = {"Name": "web", "Driver": "docker", "Config": {"image": IMAGE}}
    task["Resources"] = resources
    group = {"Name": "web", "Count": 1, "Tasks": [task]}
    known = {"ID": "web", "Name": "web", "Type": "service", "Namespace": "default"}
    entries = [{**known, "TaskGroups": [group]}]
    if is_placed:
        allocation = {"ID": "a1", "JobID": "web", "TaskGroup": "web", "NodeID": "n1"}
        place = {"Namespace": "default", "ClientStatus": "running", "Name": "web.web[0]"}
        entries += [allocation | place, NODE]
    return entries


def app(**sizes):
    container = {"type": "DOCKER", "docker": {"image": IMAGE}}
    return {"apps": [{"id": "/web", "instances": 1, "container": container, **sizes}]}


def compose(**service):
    return {"services": {"web": {"image": IMAGE, **service}}}


CASES = {
    "kubernetes: m, Mi and Gi": (
        KubernetesSource,
        pod({"cpu": "250m", "memory": "256Mi"}, {"cpu": "1500m", "memory": "1Gi"}),
        (0.25, 1.5, 256 * MIB, 1024 * MIB),
    ),
    "kubernetes: decimal cores, M and G": (
        KubernetesSource,
        pod({"cpu": 0.5, "memory": "512M"}, {"cpu": "2", "memory": "1G"}),
        (0.5, 2, 512 * 10**6, 10**9),
    ),
    "kubernetes: only a limit is reserved as well": (
        KubernetesSource,
        pod({}, {"cpu": "1", "memory": "1073741824"}),
        (1, 1, 1 << 30, 1 << 30),
    ),
    "kubernetes: only a request has no limit": (
        KubernetesSource,
        pod({"cpu": "100m", "memory": "1e8"}, {}),
        (0.1, None, 10**8, None),
    ),
    "ecs: the size of a task in units and MiB": (
        EcsSource,
        definition({}, cpu="512", memory="1024"),
        (0.5, 0.5, 1024 * MIB, 1024 * MIB),
    ),
    "ecs: the size of a task as people register it": (
        EcsSource,
        definition({}, cpu=".25 vCPU", memory="0.5 GB"),
        (0.25, 0.25, 512 * MIB, 512 * MIB),
    ),
    "ecs: shares and a reservation on instances of one's own": (
        EcsSource,
        definition({"cpu": 256, "memory": 512, "memoryReservation": 128}),
        (0.25, None, 128 * MIB, 512 * MIB),
    ),
    "nomad: whole cores and a limit above what is reserved": (
        NomadSource,
        job({"Cores": 2, "MemoryMB": 256, "MemoryMaxMB": 512}),
        (2, 2, 256 * MIB, 512 * MIB),
    ),
    "nomad: MHz by the clock of the node": (
        NomadSource,
        job({"CPU": 500, "MemoryMB": 256}),
        (0.25, None, 256 * MIB, 256 * MIB),
    ),
    "nomad: MHz of no known node are no cores": (
        NomadSource,
        job({"CPU": 500, "MemoryMB": 256}, is_placed=False),
        (None, None, 256 * MIB, 256 * MIB),
    ),
    "marathon: cores and MiB": (
        MarathonSource,
        app(cpus=0.25, mem=256),
        (0.25, None, 256 * MIB, 256 * MIB),
    ),
    "marathon: limits above what is reserved": (
        MarathonSource,
        app(cpus=0.5, mem=128, resourceLimits={"cpus": 1.5, "mem": 512}),
        (0.5, 1.5, 128 * MIB, 512 * MIB),
    ),
    "marathon: no limit": (
        MarathonSource,
        app(cpus=1, mem=64, resourceLimits={"cpus": "unlimited", "mem": "unlimited"}),
        (1, None, 64 * MIB, None),
    ),
    "compose: deploy": (
        ComposeSource,
        compose(
            deploy={
                "resources": {
                    "limits": {"cpus": "0.50", "memory": "512M"},
                    "reservations": {"cpus": "0.25", "memory": "64mb"},
                }
            }
        ),
        (0.25, 0.5, 64 * MIB, 512 * MIB),
    ),
    "compose: keys of old": (
        ComposeSource,
        compose(mem_limit="1g", mem_reservation="256m", cpus=1.5),
        (None, 1.5, 256 * MIB, 1024 * MIB),
    ),
    "compose: a quota of each period": (
        ComposeSource,
        compose(cpu_quota=50000, mem_limit=134217728),
        (None, 0.5, None, 128 * MIB),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_size_in_the_units_of_its_platform(case, tmp_path):
    source, payload, expected = CASES[case]
    (tmp_path / "dump").mkdir()
    entries = payload if isinstance(payload, list) else [payload]
    for number, entry in enumerate(entries):
        (tmp_path / f"dump/describe-task-definition-{number}.json").write_text(
            json.dumps(entry)
        )
    path = "dump/describe-task-definition-0.json" if source is ComposeSource else "dump"
    batch = source().collect({"path": path}, tmp_path, Deadline(20))
    (row,) = batch.rows["workloads"]
    assert tuple(row.get(column) for column in SIZES) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("100n", 1e-7), ("5u", 5e-6), ("1k", 1000), ("1Ti", 1 << 40), ("1Pi", 1 << 50)]
    + [(text, None) for text in ("", "one", "1 Gi B", "-1", "1Zi", None, True)],
)
def test_an_amount_of_kubernetes(text, expected):
    assert quantity(text) == (pytest.approx(expected) if expected else None)


@pytest.mark.parametrize("text", ["", "half", "vCPU", "1 GHz", None, [], "0", "-1 vCPU"])
def test_a_size_of_ecs_that_is_none_is_unknown(text):
    assert cpu_of({"cpu": text}) is None
    assert memory_of({"memory": text}) is None
