"""From the payloads of one Docker engine to rows: workloads, services, dependencies."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from assess.image_ref import last_part, parse_image
from assess.sources.addresses import Address
from assess.sources.base import Batch, Name, Row
from assess.sources.docker.engine import to_engine, to_host
from assess.sources.docker.images import ImageIndex, to_images
from assess.sources.docker.names import (
    COMPOSE,
    COMPOSE_CONFIDENCE,
    COMPOSE_RULE,
    compose_dependencies,
    container_names,
    is_replica,
    namespace_of,
    platform_of,
    task_of,
)
from assess.sources.docker.payload import (
    Container,
    Payload,
    Payloads,
    containers_of,
    dicts,
    dig,
    moment,
    texts,
)
from assess.sources.unit import (
    Callee,
    Mount,
    dependency_row,
    distinct,
    environment_rows,
    keeps_data,
    merge_services,
    mount_rows,
    runs_as_root,
    sees_engine_socket,
    share,
    ships_logs,
)

_WILDCARD = re.compile(r"^(0\.0\.0\.0|\[::\]|::):")
_parse_image = lru_cache(4096)(parse_image)  # replicas share their images


def to_batch(payloads: Payloads, host_id: str) -> Batch:
    """Turn the payloads of one engine into rows of all frames that they tell of."""
    batch = Batch()
    batch.add("hosts", to_host(payloads, host_id))
    batch.add("engines", to_engine(payloads, host_id))
    containers = containers_of(payloads)
    batch.add("images", *to_images(payloads, containers, host_id))
    index = ImageIndex(payloads.images or [])
    replicas = [c for c in containers if is_replica(c.labels)]
    services = []
    for container in replicas:
        status = "ok" if container.inspected else "list"
        workload = to_workload(container, index) | {
            "workload_id": f"{host_id}/{container.identifier}",
            "host_id": host_id,
            "inspect_status": payloads.inspect_status.get(container.identifier, status),
        }
        mounts = mount_rows(to_mounts(container.mounts or []), workload["workload_id"])
        batch.add("workloads", workload)
        batch.add("mounts", *mounts)
        if task := task_of(container.labels):
            batch.tasks[container.identifier] = task
        services.append(to_service(container, workload, mounts))
    batch.add("services", *merge_services(services))
    share(batch.rows["mounts"], payloads.volumes)
    batch.add("dependencies", *to_dependencies(replicas, batch.rows["workloads"]))
    return batch


def to_workload(container: Container, index: ImageIndex) -> Row:
    """Give the row of the workloads frame, without what the host adds to it."""
    listing, inspected, labels = container.listing, container.inspected, container.labels
    declared = dig(inspected, "Config", "Image") or listing.get("Image") or ""
    image_id = container.image_id or declared
    image = _parse_image(declared)
    if image.repository is None:
        image = index.named(image_id)
    name = (inspected.get("Name") or next(iter(texts(listing.get("Names"))), "")).lstrip(
        "/"
    )
    network = dig(inspected or listing, "HostConfig", "NetworkMode")
    return {
        "names": container_names(labels, container.naming, image, name or "unnamed"),
        "cluster": labels.get("com.amazonaws.ecs.cluster"),
        "namespace": namespace_of(labels) or None,
        "name": name,
        "source_kind": "container",
        "image_ref": declared or None,
        **image.columns(),
        "image_digest": image.digest or index.digest(image_id, image),
        **_life(container),
        **(_configuration(inspected) if inspected else {}),
        "host_network": _is_host(network),
        "docker_sock_mounted": _sees_socket(container.mounts),
        "ports": to_ports(container),
    }


def _life(container: Container) -> Row:
    """State and times; a list tells them in words, such as ``Exited (137) 2 days ago``."""
    listing, inspected = container.listing, container.inspected
    words = listing.get("Status") or ""
    status = container.state or _state_of(words)
    code = re.match(r"Exited \((-?\d+)\)", words)
    health = re.search(r"\((?:health: )?(healthy|unhealthy|starting)\)", words)
    row: Row = {
        "state": status,
        "exit_code": int(code[1]) if code else None,
        "health": health[1] if health else None,
        "created_at": moment(inspected.get("Created") or listing.get("Created")),
    }
    if inspected:
        state = inspected.get("State", {})
        row |= {
            "exit_code": state.get("ExitCode"),
            "health": dig(state, "Health", "Status") or "none",
            "oom_killed": state.get("OOMKilled"),
            "restarts_n": inspected.get("RestartCount"),
            "started_at": moment(state.get("StartedAt")),
            "finished_at": moment(state.get("FinishedAt")),
        }
    return row if status in ("exited", "dead") else row | {"exit_code": None}


def _state_of(words: str) -> str | None:
    """State of engines that list only words (before API 1.23)."""
    first = words.partition(" ")[0].lower()
    if first == "up":
        return "paused" if "(Paused)" in words else "running"
    return first if first in ("exited", "created", "restarting", "dead") else None


def _configuration(inspected: Payload) -> Row:
    """Read what only an inspection tells."""
    config, host = inspected.get("Config", {}), inspected.get("HostConfig", {})
    memory, pids = host.get("Memory"), host.get("PidsLimit")
    quota, period = host.get("CpuQuota") or 0, host.get("CpuPeriod") or 100_000
    return {
        "restart_policy": dig(host, "RestartPolicy", "Name") or "no",
        "privileged": host.get("Privileged"),
        "host_pid": _is_host(host.get("PidMode")),
        "readonly_root": host.get("ReadonlyRootfs"),
        "user_root": runs_as_root(str(config.get("User") or "0")),
        "caps_added_n": len(texts(host.get("CapAdd"))),
        "memory_limit_bytes": memory or None,
        "memory_unlimited": None if memory is None else memory == 0,
        "cpu_limit": (host.get("NanoCpus") or 0) / 1e9 or max(quota / period, 0) or None,
        "pids_limit": pids if pids and pids > 0 else None,
        "log_driver": dig(host, "LogConfig", "Type"),
        "stop_timeout_s": config.get("StopTimeout"),
        "env_names_n": len(inspected["Env"]["names"]),
        "secret_like_env_n": inspected["Env"]["secret_like"],
    }


def _is_host(mode: Any) -> bool | None:
    return None if mode is None else mode == "host"


def to_mounts(payloads: list[Payload]) -> list[Mount]:
    """Read the mounts that an engine lists."""
    return [
        Mount(
            target=str(payload.get("Destination") or ""),
            type=payload.get("Type") or ("volume" if payload.get("Name") else "bind"),
            source=str(payload.get("Source") or ""),
            volume=payload.get("Name") or None,
            driver=payload.get("Driver") or None,
            is_writable=payload.get("RW"),
        )
        for payload in payloads
    ]


def _sees_socket(mounts: list[Payload] | None) -> bool | None:
    return None if mounts is None else sees_engine_socket(to_mounts(mounts))


def to_ports(container: Container) -> str | None:
    """Give ``8080->80/tcp`` for published ports and ``80/tcp`` for others, joined by semicolons."""
    inspected = container.inspected
    bindings = {
        **(dig(inspected, "Config", "ExposedPorts") or {}),
        **(dig(inspected, "HostConfig", "PortBindings") or {}),
        **(dig(inspected, "NetworkSettings", "Ports") or {}),
    }
    found = [
        (b.get("HostIp"), b.get("HostPort"), port)
        for port, bound in bindings.items()
        for b in dicts(bound) or [{}]
    ]
    listed = container.listing.get("Ports")
    found += [
        (
            p.get("IP"),
            p.get("PublicPort"),
            f"{p.get('PrivatePort')}/{p.get('Type') or 'tcp'}",
        )
        for p in dicts(listed)
    ]
    ports = {
        f"{ip or ''}:{public}->{port}" if public else port for ip, public, port in found
    }
    if isinstance(listed, str):  # by the command line
        ports |= {port for port in listed.split(", ") if port}
    return (
        ";".join(sorted({_WILDCARD.sub("", port).removeprefix(":") for port in ports}))
        or None
    )


def to_service(container: Container, workload: Row, mounts: list[Row]) -> Row:
    """Say what one container tells of its service; what it cannot tell is left unknown."""
    platform = platform_of(container.labels, container.naming)
    secrets = workload.get("secret_like_env_n")
    health_checked = container.inspected.get("health_checked")
    if platform != "docker" or workload["state"] != "running":
        health_checked = health_checked or None  # by the orchestrator, or when it ran
    is_told = bool(container.inspected) and container.mounts is not None
    stateful = keeps_data(
        mounts, workload["repository"], workload["ports"], is_complete=is_told
    )
    kind = "web" if workload["ports"] else None if workload["host_network"] else "worker"
    return {
        "names": workload["names"],
        "platform": platform,
        "kind": kind if stateful is False else None,
        "stateful": stateful,
        "health_checked": health_checked,
        "logs_exported": ships_logs(workload.get("log_driver")),
        "secrets_in_image": None if secrets is None else secrets > 0,
    }


def to_dependencies(replicas: list[Container], workloads: list[Row]) -> list[Row]:
    """Read what services need: start orders of Compose, and addresses in their environment."""
    known: dict[tuple[str, str], Row] = {}  # by namespace and host name
    for container, workload in zip(replicas, workloads, strict=True):
        for name in (container.labels.get(COMPOSE + "service"), workload["name"]):
            if name:
                known.setdefault((namespace_of(container.labels), name.lower()), workload)
    rows: list[Row] = []
    for container, workload in zip(replicas, workloads, strict=True):
        src, space = workload["names"][0], namespace_of(container.labels)
        for name, condition in compose_dependencies(container.labels):
            found = known.get((space, name.lower()))
            missing = Name(name, COMPOSE_RULE, COMPOSE_CONFIDENCE, space)
            dst = found["names"][0] if found else missing
            row = dependency_row(src, dst, "start_order", "compose-label")
            rows.append(row | {"condition": condition})

        def find(address: Address, space: str = space) -> Callee | None:
            called = known.get((space, address.host))
            if called is None:
                return None
            return called["names"][0], last_part(called["repository"])

        addresses = dig(container.inspected, "Env", "addresses") or ()
        rows += environment_rows(src, addresses, find)
    return distinct(rows)
