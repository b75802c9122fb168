"""One replica that two sources see: an orchestrator its task, an engine the container of the task.

Without this, a fleet that is collected from both counts every replica twice, and looks twice as
safe as it is.
"""

from __future__ import annotations

from typing import Any

from assess.sources.base import Batches, Name, Row, type_of

ID_LENGTH = 12  # as the command line of Docker shows ids


def join_replicas(batches: Batches) -> tuple[Batches, list[Row]]:
    """Return batches in which containers have the workload_id of their task, and a coverage row.

    A container belongs to the task that lists its id (`Batch.container_ids`), whose own id ends in
    it, or that its labels name (`Batch.tasks`). Its row keeps what only the engine knows, and is
    merged into that of the task; so are the rows of the other containers of a pod.
    """
    tasks = _tasks(batches)
    joined: dict[str, Row] = {}  # task by workload_id of its container
    named: dict[
        Name, tuple[Name, ...]
    ] = {}  # names of the task by those of its container
    for label, batch in batches:
        if type_of(label) != "docker":
            continue
        for row in batch.rows.get("workloads", ()):
            container = row["workload_id"].rpartition("/")[2]
            task = tasks.get(container) or tasks.get(batch.tasks.get(container, ""))
            if task is not None:
                joined[row["workload_id"]] = task
                if row.get("names"):
                    named[row["names"][0]] = task["names"]
    if not joined:
        return batches, []

    def rename(frame: str, row: Row) -> Row:
        if frame in ("workloads", "mounts") and row["workload_id"] in joined:
            task = joined[row["workload_id"]]
            names = {"names": task["names"]} if frame == "workloads" else {}
            return row | {"workload_id": task["workload_id"]} | names
        if frame == "services" and row.get("names"):
            return row | {"names": named.get(row["names"][0], row["names"])}
        if frame == "dependencies":
            return row | {end: renamed(row.get(end)) for end in ("src", "dst")}
        return row

    def renamed(end: Any) -> Any:
        return named[end][0] if isinstance(end, Name) and end in named else end

    renamed_batches = [
        (label, batch.map(rename) if type_of(label) == "docker" else batch)
        for label, batch in batches
    ]
    hint = f"{len(joined)} containers are replicas that an orchestrator knows, and count once"
    note = {"source": "identity", "scope": "workloads", "call": "join", "status": "ok"}
    return renamed_batches, [{**note, "rows": len(joined), "hint": hint}]


def _tasks(batches: Batches) -> dict[str, Row]:
    """Index the workloads of orchestrators by the ids that a container may be known by."""
    tasks: dict[str, Row] = {}
    for label, batch in batches:
        if type_of(label) == "docker":
            continue
        for row in batch.rows.get("workloads", ()):
            if not row.get("names"):
                continue
            tasks[row["workload_id"].rpartition("/")[2]] = row
            for identifier in batch.container_ids.get(row["workload_id"], ()):
                tasks[identifier] = row
                tasks[identifier[:ID_LENGTH]] = row
    return tasks
