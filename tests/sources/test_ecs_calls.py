"""ECS by answers that are written down: pages, batches, refusals."""

import os
import shutil
import time
from pathlib import Path

import pytest
from aws_server import ACCOUNT, REGION, Script
from test_ecs import CANARY, FIXTURES, HERE, collect, coverage

from assess.sources.ecs import EcsSource


@pytest.fixture
def dumps(tmp_path) -> Path:
    return Path(shutil.copytree(FIXTURES / HERE, tmp_path / HERE))


ARN = f"arn:aws:ecs:{REGION}:{ACCOUNT}:"
SHOP = f"{ARN}cluster/shop"


def services_of(*names: str) -> list[dict]:
    return [
        {
            "serviceArn": f"{ARN}service/shop/{n}",
            "serviceName": n,
            "clusterArn": SHOP,
            "status": "ACTIVE",
            "taskDefinition": f"{ARN}task-definition/one:1",
        }
        for n in names
    ]


def opened(script: Script) -> Script:
    script.give("list_clusters", {"clusterArns": [SHOP]})
    script.give(
        "describe_clusters", {"clusters": [{"clusterArn": SHOP}]}, clusters=[SHOP]
    )
    return script


def without_instances(script: Script) -> None:
    script.give("list_container_instances", {"containerInstanceArns": []}, cluster=SHOP)


def without_tasks(script: Script) -> None:
    for status in ("RUNNING", "STOPPED"):
        script.give("list_tasks", {"taskArns": []}, cluster=SHOP, desiredStatus=status)


def defined(script: Script, name: str = "one:1") -> None:
    definition = {"taskDefinitionArn": f"{ARN}task-definition/{name}", "family": "one"}
    script.give(
        "describe_task_definition",
        {"taskDefinition": definition},
        taskDefinition=definition["taskDefinitionArn"],
    )


@pytest.fixture
def script(monkeypatch) -> Script:
    return Script("ecs")


def test_all_pages_and_ten_services_at_once(script):
    found = services_of(*(f"s{n:02}" for n in range(11)))
    arns = [s["serviceArn"] for s in found]
    opened(script)
    script.give(
        "list_services", {"serviceArns": arns[:6], "nextToken": "t"}, cluster=SHOP
    )
    script.give("list_services", {"serviceArns": arns[6:]}, cluster=SHOP, nextToken="t")
    for part in (slice(10), slice(10, None)):
        script.give(
            "describe_services",
            {"services": found[part], "failures": []},
            cluster=SHOP,
            services=arns[part],
            include=["TAGS"],
        )
    without_tasks(script)
    without_instances(script)
    defined(script)  # once for all eleven
    place = script.read(EcsSource())
    assert len(place.batch.rows["services"]) == 11
    rows = coverage(place.batch)
    assert (rows["list-services"]["rows"], rows["list-services"]["requests"]) == (11, 2)
    assert (rows["describe-services"]["rows"], rows["describe-services"]["requests"]) == (
        11,
        2,
    )
    assert rows["list-tasks"]["status"] == "empty"


def test_a_hundred_tasks_and_instances_at_once(script):
    tasks = [f"{ARN}task/shop/{n}" for n in range(101)]
    machines = [f"{ARN}container-instance/shop/{n}" for n in range(101)]
    opened(script)
    script.give("list_services", {"serviceArns": []}, cluster=SHOP)
    script.give(
        "list_tasks", {"taskArns": tasks[:60]}, cluster=SHOP, desiredStatus="RUNNING"
    )
    script.give(
        "list_tasks", {"taskArns": tasks[60:]}, cluster=SHOP, desiredStatus="STOPPED"
    )
    for part in (slice(100), slice(100, None)):
        rows = [{"taskArn": t, "lastStatus": "RUNNING"} for t in tasks[part]]
        script.give(
            "describe_tasks",
            {"tasks": rows},
            cluster=SHOP,
            tasks=tasks[part],
            include=["TAGS"],
        )
    script.give(
        "list_container_instances", {"containerInstanceArns": machines}, cluster=SHOP
    )
    for part in (slice(100), slice(100, None)):
        script.give(
            "describe_container_instances",
            {"containerInstances": [{"containerInstanceArn": m} for m in machines[part]]},
            cluster=SHOP,
            containerInstances=machines[part],
            include=["TAGS"],
        )
    place = script.read(EcsSource())
    assert len(place.batch.rows["workloads"]) == 101
    assert len(place.batch.rows["hosts"]) == 101


def test_tasks_that_vanish_in_between_are_told(script):
    tasks = [f"{ARN}task/shop/{n}" for n in range(3)]
    opened(script)
    script.give("list_services", {"serviceArns": []}, cluster=SHOP)
    script.give("list_tasks", {"taskArns": tasks}, cluster=SHOP, desiredStatus="RUNNING")
    script.give("list_tasks", {"taskArns": []}, cluster=SHOP, desiredStatus="STOPPED")
    missing = [{"arn": tasks[2], "reason": "MISSING"}]
    answer = {"tasks": [{"taskArn": t} for t in tasks[:2]], "failures": missing}
    script.give("describe_tasks", answer, cluster=SHOP, tasks=tasks, include=["TAGS"])
    without_instances(script)
    row = coverage(script.read(EcsSource()).batch)["describe-tasks"]
    assert (row["status"], row["rows"], row["expected"]) == ("partial", 2, 3)


def test_half_a_list_and_an_error_is_half_a_list(script):
    found = services_of("a")
    opened(script)
    arns = [found[0]["serviceArn"]]
    script.give("list_services", {"serviceArns": arns, "nextToken": "t"}, cluster=SHOP)
    script.refuse("list_services", "ThrottlingException", 400, "Rate exceeded")
    script.give(
        "describe_services",
        {"services": found},
        cluster=SHOP,
        services=arns,
        include=["TAGS"],
    )
    without_tasks(script)
    without_instances(script)
    defined(script)
    place = script.read(EcsSource())
    rows = coverage(place.batch)
    assert rows["list-services"]["status"] == "partial"
    assert rows["list-services"]["error_class"] == "ThrottlingException"
    assert len(place.batch.rows["services"]) == 1


@pytest.mark.parametrize(
    ("code", "http", "status"),
    [
        ("ThrottlingException", 400, "throttled"),
        ("AccessDeniedException", 400, "denied"),
        ("403", 403, "denied"),
        ("ExpiredTokenException", 400, "denied"),
        ("ServerException", 500, "unreachable"),
    ],
)
def test_why_the_first_call_failed(script, code, http, status):
    script.refuse(
        "list_clusters", code, http, f"User: arn:aws:iam::1:user/{CANARY} is not allowed"
    )
    place = script.read(EcsSource())
    (row,) = place.batch.coverage
    assert (row["call"], row["status"], row["error_class"]) == (
        "ecs list-clusters",
        status,
        code,
    )
    assert CANARY not in repr(place.batch)


def test_definitions_that_are_denied_leave_services_and_tasks(script):
    found = services_of("a")
    arns = [found[0]["serviceArn"]]
    task = {
        "taskArn": f"{ARN}task/shop/1",
        "clusterArn": SHOP,
        "group": "service:a",
        "lastStatus": "RUNNING",
        "taskDefinitionArn": f"{ARN}task-definition/one:1",
        "containers": [{"name": "a", "image": "shop/a:1"}],
    }
    opened(script)
    script.give("list_services", {"serviceArns": arns}, cluster=SHOP)
    script.give(
        "describe_services",
        {"services": found},
        cluster=SHOP,
        services=arns,
        include=["TAGS"],
    )
    script.give(
        "list_tasks",
        {"taskArns": [task["taskArn"]]},
        cluster=SHOP,
        desiredStatus="RUNNING",
    )
    script.give("list_tasks", {"taskArns": []}, cluster=SHOP, desiredStatus="STOPPED")
    script.give(
        "describe_tasks",
        {"tasks": [task]},
        cluster=SHOP,
        tasks=[task["taskArn"]],
        include=["TAGS"],
    )
    without_instances(script)
    script.refuse("describe_task_definition")
    place = script.read(EcsSource())
    assert coverage(place.batch)["describe-task-definition"]["status"] == "denied"
    (service,), (workload,) = place.batch.rows["services"], place.batch.rows["workloads"]
    assert service.get("stateful") is None and service.get("health_checked") is None
    assert "privileged" not in workload and workload["repository"] == "shop/a"
    assert workload["health"] is None


def test_the_age_of_dumps_is_told(dumps):
    for file in dumps.iterdir():
        os.utime(file, (time.time() - 7200,) * 2)
    assert coverage(collect(dumps.parent))["describe-tasks"][
        "age_hours"
    ] == pytest.approx(2, abs=0.1)
