"""Pods of Marathon: what they declare, and their instances in the form of tasks."""

from collections.abc import Iterator
from dataclasses import replace

from assess.sources.base import Row
from assess.sources.edges.address import may_be_address
from assess.sources.unit import Unit
from assess.sources.values import (
    Words,
    dicts,
    healthy,
    mebibytes,
    number,
    percent,
    picked,
    table,
    text,
)
from assess.sources.volumes import Mount, volume_mounts


def with_tasks(status: Row) -> Row:
    """Return the specification in the status of a pod, with its instances as tasks."""
    tasks = [_to_task(i, text(status, "id")) for i in dicts(status, "instances")]
    return table(status, "spec") | {"id": status.get("id"), "tasks": tasks}


def _to_task(instance: Row, pod: str) -> Row:
    task = picked(instance, "marathon instance") | {"appId": pod}
    if task["state"] == "TASK_RUNNING":
        task["startedAt"] = instance.get("statusSince")
    return task


def pod_unit(pod: Row, ports: Words) -> Unit:
    """Read the declaration of a pod, without its names: its first container is the main one."""
    parts = [_to_unit(pod, c) for c in dicts(pod, "containers")]
    first, *others = parts or [Unit(platform="marathon")]
    return replace(
        first,
        ports=ports,
        role="main" if others else None,
        beside=tuple(replace(part, role="sidecar") for part in others),
        kind="web" if ports else "worker",
        min_healthy_pct=kept_of(pod, "scheduling", "upgrade"),
        health_checked=any(c.get("healthCheck") for c in dicts(pod, "containers")),
        config_external=True if any(part.environment for part in parts) else None,
    )


def _to_unit(pod: Row, container: Row) -> Unit:
    env = table(pod, "environment") | table(container, "environment")
    image = text(container, "image", "id")
    modes = {text(network, "mode") for network in dicts(pod, "networks")}
    return Unit(
        platform="marathon",
        container=text(container, "name"),
        image=image,
        is_process=not image,
        environment=tuple((name, text(value)) for name, value in env.items()),
        unread=tuple(unread_of(env)),
        user=text(container, "user") or text(pod, "user"),
        mounts=tuple(_mounts(pod, container)),
        **sizes(table(container, "resources"), table(container, "resourceLimits")),
        host_network="host" in modes or not modes,  # the default of a pod
        restart_policy="always",
    )


def kept_of(payload: Row, *path: str) -> float | None:
    """Return the share of replicas that an upgrade keeps healthy [percent]."""
    kept = number(payload, *path, "minimumHealthCapacity")
    return None if kept is None else healthy(percent(max(1 - kept, 0), 1))


def unread_of(env: Row) -> Iterator[str]:
    """List variables whose value is elsewhere, and may lead to another service."""
    for name, value in env.items():
        if isinstance(value, dict) and may_be_address(name):
            yield f"variable {name}"


def sizes(asked: Row, limits: Row) -> Row:
    """Return requests and limits; the engine gets what is asked of memory as a limit, too."""
    memory = mebibytes(asked, "mem")
    is_unlimited = limits.get("mem") == "unlimited"
    limit = None if is_unlimited else mebibytes(limits, "mem") or memory
    return {
        "cpu_request": number(asked, "cpus"),
        "cpu_limit": number(limits, "cpus"),
        "memory_request_bytes": memory,
        "memory_limit_bytes": limit,
        "memory_unlimited": is_unlimited if limit or is_unlimited else None,
    }


def _mounts(pod: Row, container: Row) -> Iterator[Mount]:
    for mount, volume in volume_mounts(pod, container):
        if source := text(volume, "host"):
            yield replace(mount, type="bind", source=source)
        elif volume.get("persistent"):
            yield replace(mount, type="volume", volume=text(volume, "name") or None)
        else:  # goes with its instance
            yield replace(mount, type="empty-dir", source_class="empty-dir")
