"""One replica that two sources see: an orchestrator its task, an engine the container of the task.

Without this, a fleet that is collected from both counts every replica twice, and looks twice as
safe as it is.
"""

from __future__ import annotations

from assess.sources.base import Batch, Name, Row

Batches = list[tuple[str, Batch]]
KNOWN_AS = "_known_as"  # of a task: its id and those of its containers, as labels and engines say
TASK = "_task"  # of a container: id of its task, as its labels say
ID_LENGTH = 12  # as the command line shows ids


def join_replicas(batches: Batches) -> list[Row]:
    """Let containers take on the workload of their task, in place; gives a coverage row.

    A row of an orchestrator lists the ids of its containers, or has an id that ends as the labels
    of its containers say. The container's row keeps what only the engine knows, and is merged into
    that of the task; so are the others of its pod.
    """
    tasks = _tasks(batches)
    if not tasks:
        return []
    joined, named = dict[str, str](), dict[Name, tuple[Name, ...]]()
    for label, batch in batches:
        if label.partition("#")[0] != "docker":
            continue
        for row in batch.rows.get("workloads", ()):
            container = row["workload_id"].rpartition("/")[2]
            task = tasks.get(container) or tasks.get(row.get(TASK) or "")
            if task is None:
                continue
            joined[row["workload_id"]] = task["workload_id"]
            if row.get("names"):
                named[row["names"][0]] = task["names"]
            row |= {"workload_id": task["workload_id"], "names": task["names"]}
        _rename(batch, joined, named)
    hint = f"{len(joined)} containers are replicas that an orchestrator knows, and count once"
    row = {"source": "identity", "scope": "workloads", "call": "join", "status": "ok"}
    return [{**row, "rows": len(joined), "hint": hint}] if joined else []


def _tasks(batches: Batches) -> dict[str, Row]:
    """Give the rows of orchestrators by the ids that a container may be known by."""
    found: dict[str, Row] = {}
    for label, batch in batches:
        if label.partition("#")[0] == "docker":
            continue
        for row in batch.rows.get("workloads", ()):
            if not row.get("names"):
                continue
            found[row["workload_id"].rpartition("/")[2]] = row
            for identifier in row.get(KNOWN_AS, ()):
                found[identifier] = found[identifier[:ID_LENGTH]] = row
    return found


def _rename(
    batch: Batch, joined: dict[str, str], named: dict[Name, tuple[Name, ...]]
) -> None:
    """Carry the change over to the other rows of an engine."""
    for row in batch.rows.get("mounts", ()):
        row["workload_id"] = joined.get(row["workload_id"], row["workload_id"])
    for row in batch.rows.get("services", ()):
        names = row.get("names") or ()
        if names and names[0] in named:
            row["names"] = named[names[0]]
    for row in batch.rows.get("dependencies", ()):
        for end in ("src", "dst"):
            if isinstance(row.get(end), Name) and row[end] in named:
                row[end] = named[row[end]][0]
