"""From tasks of ECS to rows: replicas, their mounts, and what happened to them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from assess.image_ref import parse_image
from assess.sources.base import Name, Row
from assess.sources.docker.payload import Payload
from assess.sources.ecs.definition import (
    Definition,
    environment_of,
    last_of,
    ports_of,
    text_of,
)
from assess.sources.redact import is_secret
from assess.sources.unit import mount_rows, workload_row
from assess.sources.values import dicts, dig, moment

_STATES = {
    "RUNNING": "running",
    "STOPPED": "stopped",
    "PROVISIONING": "pending",
    "PENDING": "pending",
    "ACTIVATING": "pending",
    "DEACTIVATING": "stopping",
    "STOPPING": "stopping",
    "DEPROVISIONING": "stopping",
    "DELETED": "stopped",
}
_CAUSES = {
    "EssentialContainerExited": "health",
    "InfrastructureHealth": "health",
    "UserInitiated": "manual",
    "SpotInterruption": "spot",
}
_REASONS = (
    (re.compile(r"health check", re.IGNORECASE), "health"),
    (re.compile(r"^scaling activity", re.IGNORECASE), "scale"),
    (re.compile(r"\bspot\b", re.IGNORECASE), "spot"),
)
_OOM = re.compile(r"OutOfMemory|out of memory", re.IGNORECASE)
_KILLED = 137


def span_of(payload: Payload, start: str, end: str) -> Row:
    """Return the columns of an activity that say when it was."""
    begun, ended = moment(payload.get(start)), moment(payload.get(end))
    lasted = (
        (ended - begun).total_seconds() if begun and ended and ended >= begun else None
    )
    return {"started_at": begun, "ended_at": ended, "duration_s": lasted}


def to_workload(
    task: Payload, names: tuple[Name, ...], definition: Definition | None
) -> Row:
    """Return the row of one replica: a task, by its first essential container."""
    containers = list(dicts(task.get("containers")))
    wanted = definition.main if definition else ""
    main = next(
        (c for c in containers if c.get("name") == wanted), (containers or [{}])[0]
    )
    ref = text_of(main.get("image")) or (definition.unit.image if definition else "")
    image = parse_image(ref)
    columns: Row = {}
    if definition:
        columns = workload_row(replace(definition.unit, image=ref))
    bindings = [b for c in containers for b in dicts(c.get("networkBindings"))]
    own_env = _overridden(task, text_of(main.get("name")))
    row = {
        "workload_id": f"ecs:{last_of(task.get('clusterArn'))}/{last_of(task.get('taskArn'))}",
        "names": names,
        "cluster": last_of(task.get("clusterArn")) or None,
        "name": text_of(main.get("name")) or None,
        "source_kind": "task",
        **columns,
        "image_ref": ref or None,
        **image.columns(),
        "image_digest": image.digest or text_of(main.get("imageDigest")) or None,
        **_life(task, containers, main, definition),
        "inspect_status": "ok" if definition else "list",
    }
    if bindings:
        row["ports"] = ";".join(sorted(set(ports_of(bindings)))) or None
    if definition:
        row["env_names_n"] = len(definition.env_names | set(own_env))
        secrets_n = sum(is_secret(name, value) for name, value in own_env.items())
        row["secret_like_env_n"] = max(definition.secret_like_n, secrets_n)
    return row


def known_as(task: Payload) -> tuple[str, ...]:
    """Return the ids by which the engine of an instance knows the task and its containers."""
    containers = (text_of(c.get("runtimeId")) for c in dicts(task.get("containers")))
    return tuple(i for i in (last_of(task.get("taskArn")), *containers) if i)


def _overridden(task: Payload, name: str) -> dict[str, str]:
    """Return the variables that a task overrides for a container, for use inside the source only."""
    overrides = dicts(dig(task, "overrides", "containerOverrides"))
    found = (environment_of(o) for o in overrides if o.get("name") == name)
    return next(found, {})


def _life(
    task: Payload, containers: list[Payload], main: Payload, definition: Definition | None
) -> Row:
    """Return state, exit code, health and times of a task."""
    state = _STATES.get(text_of(task.get("lastStatus")))
    code = main.get("exitCode")
    code = code if isinstance(code, int) and not isinstance(code, bool) else None
    reasons = " ".join(text_of(c.get("reason")) for c in containers)
    oom = True if _OOM.search(f"{reasons} {text_of(task.get('stoppedReason'))}") else None
    if oom is None and (state == "running" or (code is not None and code != _KILLED)):
        oom = False
    reported = text_of(task.get("healthStatus")).lower()
    health = reported if reported in ("healthy", "unhealthy") else None
    if definition and not health:
        health = "starting" if definition.unit.health_checked else "none"
    return {
        "state": state,
        "exit_code": code,
        "oom_killed": oom,
        "health": health,
        "created_at": moment(task.get("createdAt")),
        "started_at": moment(task.get("startedAt")),
        "finished_at": moment(task.get("stoppedAt")),
    }


def to_task_mounts(workload: Row, definition: Definition | None) -> list[Row]:
    """Return the mounts of a task; Fargate shares nothing among tasks but file systems."""
    key = workload["workload_id"]
    mounts = definition.unit.mounts if definition else ()
    return mount_rows(mounts, key, workload["host_id"] or key)


def to_task_activities(task: Payload, workload: Row) -> Iterator[Row]:
    """Return what happened to a task: pull of its images, start, end.

    They have no group: a task does not replace one of another service.
    """
    common: Row = {"names": workload["names"], "host_id": workload["host_id"]}
    common["to_version"] = last_of(task.get("taskDefinitionArn")) or None
    is_up = moment(task.get("startedAt")) is not None
    is_pulled = moment(task.get("pullStoppedAt")) is not None or is_up
    has_ended = workload["state"] == "stopped"
    pulled = "successful" if is_pulled else "failed" if has_ended else "pending"
    for kind, begun, ended, more in (
        ("image_pull", "pullStartedAt", "pullStoppedAt", {"status": pulled}),
        ("launch", "createdAt" if is_up else "", "startedAt", {"status": "successful"}),
        ("terminate", _first_of(task), "stoppedAt", {"cause": _cause(task)}),
    ):
        span = span_of(task, begun, ended)
        if span["started_at"]:
            own = {"activity_id": f"{workload['workload_id']}/{kind}", "kind": kind}
            own |= {"registry": workload["registry"]} if kind == "image_pull" else {}
            yield common | own | span | more


def _first_of(task: Payload) -> str:
    """Return the field with the earliest sign that a task ends."""
    fields = ("executionStoppedAt", "stoppingAt", "stoppedAt")
    times = {field: moment(task.get(field)) for field in fields}
    known = {field: at for field, at in times.items() if at}
    return min(known, key=lambda field: known[field], default="")


def _cause(task: Payload) -> str:
    """Return why a task ended: by words of its reason, else by its code.

    A task of no service is mostly a job, which ends in good health; and a task that never
    started leaves nothing to replace.
    """
    reason, code = text_of(task.get("stoppedReason")), text_of(task.get("stopCode"))
    is_replica = text_of(task.get("group")).startswith("service:")
    if code == "TaskFailedToStart" or (
        code == "EssentialContainerExited" and not is_replica
    ):
        return "unknown"
    by_words = (cause for pattern, cause in _REASONS if pattern.search(reason))
    return next(by_words, _CAUSES.get(code, "unknown"))
