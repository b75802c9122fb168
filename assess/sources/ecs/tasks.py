"""Tasks of ECS, their states, and what happened to them; Fargate provides a machine for each."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from assess import frames
from assess.image_ref import as_declared, parse_image
from assess.sources.aws import span_of
from assess.sources.base import Names, Row, Rows
from assess.sources.csv_records import vocabulary
from assess.sources.ecs.definitions import (
    Definition,
    cpu_of,
    environment_of,
    last_of,
    memory_of,
    parts_of,
)
from assess.sources.replica import Replicas, replica_rows
from assess.sources.unit import Unit, ports_of
from assess.sources.values import (
    Words,
    by_name,
    dicts,
    int_of,
    joined,
    moment,
    picked,
    table,
    text,
)

_STATES = vocabulary("ecs", "states")
_CAUSES = vocabulary("ecs", "causes")
_REASONS = vocabulary("ecs", "reasons")  # patterns of words of AWS, before its codes
_OOM = re.compile(r"OutOfMemory|out of memory", re.IGNORECASE)
_KILLED = 137  # by SIGKILL, which the kernel also sends where memory runs out


def to_workloads(
    task: Row, names: Names, definition: Definition | None, host_id: str | None
) -> Replicas:
    """Return the rows of one replica, a task, and those of the mounts of its containers."""
    containers = by_name(task, "containers")
    first = next(iter(containers), "")
    main = definition.main if definition and definition.main in containers else first
    own = _life(task, list(containers.values()), containers.get(main, {}), definition)
    cluster = last_of(task, "clusterArn")
    bindings = [b for c in containers.values() for b in dicts(c, "networkBindings")]
    if bindings:
        own["ports"] = joined(sorted(ports_of(bindings)))
    interfaces = [i for c in containers.values() for i in dicts(c, "networkInterfaces")]
    addresses = {text(interface, "privateIpv4Address") for interface in interfaces}
    own["addresses"] = joined(sorted(addresses))
    key = f"ecs:{cluster}/{last_of(task.get('taskArn'))}"
    replica = {
        "workload_id": key,
        "names": names,
        "host_id": host_id,
        "cluster": cluster or None,
        "source_kind": "task",
        "state": own.pop("state"),
        "inspect_status": "ok" if definition else "list",
    }
    if not definition:
        image = text(containers, main, "image")
        row = {**replica, **own, "name": main or None, "image_ref": as_declared(image)}
        return [row | parse_image(image).columns() | _digest(containers, main)], []
    unit = _as_it_runs(definition.unit, task, containers, main)
    # Fargate shares nothing among tasks but file systems.
    workloads, mounts = replica_rows(unit, replica | {"host_id": host_id or key}, own)
    workloads[0]["name"] = main or None
    for row in workloads:
        row |= {"host_id": host_id, **_of_container(containers, row["name"])}
    return workloads, mounts


def _digest(containers: Row, name: Any) -> Row:
    digest = text(containers, name, "imageDigest")
    return {"image_digest": digest} if digest else {}


def _of_container(containers: Row, name: Any) -> Row:
    """Return the digest of one container, and its end: the others may run on."""
    container = table(containers, name)
    if text(container, "lastStatus") != "STOPPED":
        return _digest(containers, name)
    end = {"state": "stopped", "exit_code": int_of(container, "exitCode")}
    return end | _digest(containers, name)


def _as_it_runs(unit: Unit, task: Row, containers: Row, main: str) -> Unit:
    """Return the declaration with the images and variables of a task."""
    overrides = dicts(task, "overrides", "containerOverrides")
    changed = {text(o, "name"): environment_of(o) for o in overrides}

    def one(part: Unit, name: str) -> Unit:
        return replace(
            part,
            image=text(containers, name, "image") or part.image,
            environment=(*part.environment, *changed.get(name, {}).items()),
        )

    beside = tuple(one(part, part.container) for part in unit.beside)
    return replace(one(unit, main), beside=beside)


def known_as(task: Row, workloads: Rows) -> dict[str, Words]:
    """Return by workload the ids that an engine has for it; the main one has those of no other."""
    ids = {n: text(c, "runtimeId") for n, c in by_name(task, "containers").items()}
    known = {row["workload_id"]: [ids.pop(row["name"], "")] for row in workloads[1:]}
    known[workloads[0]["workload_id"]] = [last_of(task, "taskArn"), *ids.values()]
    return {key: tuple(filter(None, own)) for key, own in known.items()}


def _life(task: Row, containers: Rows, main: Row, definition: Definition | None) -> Row:
    state = _STATES.get(text(task, "lastStatus"))
    code = int_of(main, "exitCode")
    reasons = [task.get("stoppedReason"), *(c.get("reason") for c in containers)]
    oom = True if _OOM.search(" ".join(map(text, reasons))) else None
    if oom is None and (state == "running" or code not in (None, _KILLED)):
        oom = False
    health: str | None = text(task, "healthStatus").lower()
    if health not in ("healthy", "unhealthy"):
        health = None
        if definition:
            health = "starting" if definition.unit.health_checked else "none"
    return {
        "state": state,
        "exit_code": code,
        "oom_killed": oom,
        "health": health,
        **picked(task, "ecs task"),
    }


# ---- Fargate: a machine of the provider for each task ----


def is_fargate(payload: Row) -> bool:
    """Return whether a service or a task runs on Fargate."""
    strategy = dicts(payload, "capacityProviderStrategy")
    providers = [text(part, "capacityProvider") for part in strategy]
    providers += [text(payload, "capacityProviderName"), text(payload, "launchType")]
    return any(provider.startswith("FARGATE") for provider in providers)


def fargate_host(task: Row) -> Row | None:
    """Return the host of a task on Fargate; None for a task that ended, or is elsewhere."""
    if not is_fargate(task) or task.get("lastStatus") == "STOPPED":
        return None
    cluster = last_of(task, "clusterArn")
    attributes = environment_of(task, "attributes")
    cpu = cpu_of(task)
    return _provided(f"fargate:{cluster}/{last_of(task.get('taskArn'))}", task) | {
        "az": text(task, "availabilityZone") or None,
        "arch": attributes.get("ecs.cpu-architecture") or None,
        "vcpus": int(cpu) if cpu and cpu >= 1 else None,
        "memory_bytes": memory_of(task),
        "state": "running" if task.get("lastStatus") == "RUNNING" else None,
    }


def wanted_host(cluster: str, service: Row) -> Row:
    """Return one host that stands for the hosts that Fargate would provide for a service."""
    name = text(service, "serviceName") or last_of(service, "serviceArn")
    return _provided(f"fargate:{cluster}/service/{name}", service)


def _provided(host_id: str, payload: Row) -> Row:
    """Return what is known of any host that the provider runs."""
    arn = parts_of(payload.get("taskArn") or payload.get("serviceArn"))
    version = text(payload, "platformVersion")
    family = text(payload, "platformFamily").lower()
    return frames.row(
        "hosts",
        host_id=host_id,
        provider="aws",
        account=arn["account"] or None,
        region=arn["region"] or None,
        managed_by="provider",
        # without a number Fargate takes its newest platform version
        provider_version=f"fargate {version}".removesuffix("LATEST").strip(),
        os_family="windows" if family.startswith("windows") else "linux",
    )


def to_task_activities(task: Row, workload: Row) -> Iterator[Row]:
    """Return the activities of a task: pull of its images, start, end."""
    # Activities of tasks have no group: a task never replaces one of another service.
    is_up = moment(task, "startedAt") is not None
    pulled = "failed" if workload["state"] == "stopped" else "pending"
    if is_up or moment(task, "pullStoppedAt"):
        pulled = "successful"
    pull = {"status": pulled, "registry": workload["registry"]}
    for kind, begun, ended, more in (
        ("image_pull", "pullStartedAt", "pullStoppedAt", pull),
        ("launch", "createdAt" if is_up else "", "startedAt", {"status": "successful"}),
        ("terminate", _first_sign(task), "stoppedAt", {"cause": _cause(task)}),
    ):
        span = span_of(task, begun, ended)
        if span["started_at"]:
            yield {
                "activity_id": f"{workload['workload_id']}/{kind}",
                "names": workload["names"],
                "host_id": workload["host_id"],
                "to_version": last_of(task, "taskDefinitionArn") or None,
                "kind": kind,
                **span,
                **more,
            }


def _first_sign(task: Row) -> str:
    fields = ("executionStoppedAt", "stoppingAt", "stoppedAt")
    times = {field: at for field in fields if (at := moment(task, field))}
    return min(times, key=lambda field: times[field], default="")


def _cause(task: Row) -> str:
    """Return why a task ended: by words of its reason, else by its code."""
    # A task of no service is mostly a job, which ends in good health; and a task that
    # never started leaves nothing to replace.
    code = text(task, "stopCode")
    is_replica = text(task, "group").startswith("service:")
    has_ended_well = code == "EssentialContainerExited" and not is_replica
    if code == "TaskFailedToStart" or has_ended_well:
        return "unknown"
    reason = text(task, "stoppedReason").lower()
    by_words = (cause for words, cause in _REASONS.items() if re.search(words, reason))
    return next(by_words, _CAUSES.get(code, "unknown"))
