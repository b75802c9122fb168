"""A replica that an orchestrator and an engine both see counts once."""

import copy

from assess.sources.base import Batch, Name
from assess.sources.ecs.tasks import known_as
from assess.sources.joining.hosts import join_replicas
from assess.sources.joining.merge import to_tables

FAMILY = (Name("shop-web-family", "ecs-family", 0.9),)
SERVICE = (Name("shop-web", "ecs-service", 0.98),)
CONTAINER = "0123456789ab"


def engine(**tasks):
    batch = Batch(tasks=tasks)
    workload = {"workload_id": f"h1/{CONTAINER}", "names": FAMILY, "restarts_n": 3}
    batch.add("workloads", workload)
    batch.add("mounts", {"workload_id": f"h1/{CONTAINER}", "destination": "/data"})
    batch.add("services", {"names": FAMILY, "platform": "ecs"})
    db = Name("db", "address", 0.8)
    batch.add(
        "dependencies", {"src": FAMILY[0], "dst": db, "kind": "data", "evidence": "env"}
    )
    return "docker", batch


def orchestrator(workload_id="ecs:prod/task-1", containers=()):
    batch = Batch(container_ids={workload_id: containers})
    task = {"workload_id": workload_id, "names": SERVICE, "state": "running"}
    batch.add("workloads", task)
    batch.add("services", {"names": SERVICE, "platform": "ecs"})
    return "ecs", batch


def test_joined_by_the_id_of_a_container_or_by_the_label_of_its_task():
    for pair in (
        [engine(), orchestrator(containers=(CONTAINER + "f" * 52,))],
        [engine(**{CONTAINER: "task-1"}), orchestrator()],
        [orchestrator(workload_id=f"node/{CONTAINER}"), engine()],
    ):
        before = copy.deepcopy(pair)
        joined, notes = join_replicas(pair)
        assert pair == before  # what the sources found stays as it was
        assert notes[0]["rows"] == 1
        tables, _ = to_tables(joined, [])
        workload = tables["workloads"].iloc[0]
        assert len(tables["workloads"]) == 1
        assert (workload["service_id"], workload["restarts_n"]) == ("shop-web", 3)
        assert workload["state"] == "running"
        assert list(tables["services"]["service_id"]) == ["shop-web"]
        assert tables["mounts"]["workload_id"].item() == workload["workload_id"]
        assert tables["dependencies"]["src_id"].item() == "shop-web"


def test_containers_of_no_task_are_left_alone():
    pair = [engine(), orchestrator()]
    assert join_replicas(pair) == (pair, [])
    assert len(to_tables(pair, [])[0]["workloads"]) == 2


def test_a_container_beside_the_main_one_of_a_task_keeps_its_facts_to_itself():
    ids = {name: str(n) * 64 for n, name in enumerate(("app", "log", "pause"))}
    containers = [{"name": name, "runtimeId": ids[name]} for name in ids]
    task = {"taskArn": "arn:aws:ecs:r:1:task/prod/t1", "containers": containers}
    rows = [
        {
            "workload_id": f"t1{end}",
            "names": SERVICE,
            "name": name,
            "container_role": role,
        }
        for end, name, role in (("", "app", "main"), ("/log", "log", "sidecar"))
    ]
    ecs = Batch(container_ids=known_as(task, rows))
    ecs.add("workloads", *rows)
    seen = Batch()
    for name, root in (("log", True), ("app", False)):
        short = ids[name][:12]
        seen.add(
            "workloads",
            {"workload_id": f"h/{short}", "names": FAMILY, "user_root": root},
        )
    joined, _ = join_replicas([("docker", seen), ("ecs", ecs)])
    workloads = to_tables(joined, [])[0]["workloads"].set_index("workload_id")
    assert workloads["user_root"].to_dict() == {"t1": False, "t1/log": True}
    # what the task does not declare belongs to the main one
    assert ecs.container_ids == {
        "t1": ("t1", ids["app"], ids["pause"]),
        "t1/log": (ids["log"],),
    }


def test_the_number_of_a_replica_is_no_id_of_a_container():
    batch = Batch()
    batch.add("workloads", {"workload_id": "forge/board.container/1", "names": FAMILY})
    pair = [
        ("podman", batch),
        orchestrator(workload_id="container-instances:eu/mailer/1"),
    ]
    assert join_replicas(pair) == (pair, [])
