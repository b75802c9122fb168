"""A replica that an orchestrator and an engine both see counts once."""

import copy

from assess.sources.base import Batch, Name
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
