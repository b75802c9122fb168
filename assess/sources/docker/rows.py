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
from assess.sources.docker.payload import Container, EngineData, Payload, containers_of
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
from assess.sources.values import dicts, dig, moment, texts

_EVERY_IP = re.compile(r"^(0\.0\.0\.0|\[::\]|::)?:")
ENDED = ("exited", "dead")
_parse_image = lru_cache(4096)(parse_image)  # replicas share their images


def to_batch(payloads: EngineData, host_id: str) -> Batch:
    """Turn the payloads of one engine into rows of all frames."""
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
    """Return the row of the workloads frame, without the columns that the host adds."""
    listing = container.listing
    inspected = container.inspected
    labels = container.labels
    declared = dig(inspected, "Config", "Image") or listing.get("Image") or ""
    image_id = container.image_id or declared
    image = _parse_image(declared)
    if image.repository is None:  # started by the id of an image
        image = index.named(image_id)
    listed_name = next(iter(texts(listing.get("Names"))), "")
    name = (inspected.get("Name") or listed_name).lstrip("/")
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
    """Read state and times; a list has them in words, such as ``Exited (137) 2 days ago``."""
    inspected = container.inspected
    words = container.listing.get("Status") or ""
    status = container.state or _state_of(words)
    code = re.match(r"Exited \((-?\d+)\)", words)
    health = re.search(r"\((?:health: )?(healthy|unhealthy|starting)\)", words)
    created = inspected.get("Created") or container.listing.get("Created")
    row: Row = {
        "state": status,
        "exit_code": int(code[1]) if code else None,
        "health": health[1] if health else None,
        "created_at": moment(created),
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
    if status not in ENDED:  # an engine writes 0 for a container that runs
        row["exit_code"] = None
    return row


def _state_of(words: str) -> str | None:
    """Read the state of engines that list only words (before API 1.23)."""
    first = words.partition(" ")[0].lower()
    if first == "up":
        return "paused" if "(Paused)" in words else "running"
    return first if first in ("exited", "created", "restarting", "dead") else None


def _configuration(inspected: Payload) -> Row:
    """Read the columns that only an inspection has."""
    config = inspected.get("Config", {})
    host = inspected.get("HostConfig", {})
    memory = host.get("Memory")
    pids = host.get("PidsLimit")
    # --cpus sets NanoCpus, older clients a quota of a period of 100 ms by default [us].
    cpus = (host.get("NanoCpus") or 0) / 1e9
    quota = (host.get("CpuQuota") or 0) / (host.get("CpuPeriod") or 100_000)
    return {
        "restart_policy": dig(host, "RestartPolicy", "Name") or "no",
        "privileged": host.get("Privileged"),
        "host_pid": _is_host(host.get("PidMode")),
        "readonly_root": host.get("ReadonlyRootfs"),
        # The engine copies the user of the image: none means root.
        "user_root": runs_as_root(str(config.get("User") or "0")),
        "caps_added_n": len(texts(host.get("CapAdd"))),
        "memory_limit_bytes": memory or None,  # 0: no limit
        "memory_unlimited": None if memory is None else memory == 0,
        "cpu_limit": cpus or max(quota, 0) or None,
        "pids_limit": pids if pids and pids > 0 else None,  # -1 and 0: no limit
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
    """Join the ports: ``8080->80/tcp`` for published ones, ``80/tcp`` for others."""
    ports = set()
    inspected = container.inspected
    bindings = {
        **(dig(inspected, "Config", "ExposedPorts") or {}),
        **(dig(inspected, "HostConfig", "PortBindings") or {}),
        **(dig(inspected, "NetworkSettings", "Ports") or {}),
    }
    for inner, bound in bindings.items():
        for binding in dicts(bound) or [{}]:
            ports.add(_port(binding.get("HostIp"), binding.get("HostPort"), inner))
    listed = container.listing.get("Ports")
    for port in dicts(listed):
        inner = f"{port.get('PrivatePort')}/{port.get('Type') or 'tcp'}"
        ports.add(_port(port.get("IP"), port.get("PublicPort"), inner))
    if isinstance(listed, str):  # by the command line
        ports.update(filter(None, listed.split(", ")))
    return ";".join(sorted({_EVERY_IP.sub("", port) for port in ports})) or None


def _port(ip: Any, public: Any, inner: str) -> str:
    return f"{ip or ''}:{public}->{inner}" if public else inner


def to_service(container: Container, workload: Row, mounts: list[Row]) -> Row:
    """Return the row of the service of one container; what it does not show is unknown."""
    platform = platform_of(container.labels, container.naming)
    secrets = workload.get("secret_like_env_n")
    health_checked = container.inspected.get("health_checked")
    if platform != "docker" or workload["state"] != "running":
        # No check is certain only for what Docker itself runs now.
        health_checked = health_checked or None
    is_known = bool(container.inspected) and container.mounts is not None
    stateful = keeps_data(
        mounts, workload["repository"], workload["ports"], is_complete=is_known
    )
    kind: str | None = "web" if workload["ports"] else "worker"
    if kind == "worker" and workload["host_network"]:  # any port may be open
        kind = None
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
    """Read the dependencies: start orders of Compose, and addresses in environments."""
    called: dict[tuple[str, str], Row] = {}  # by namespace and host name
    for container, workload in zip(replicas, workloads, strict=True):
        space = namespace_of(container.labels)
        for name in (container.labels.get(COMPOSE + "service"), workload["name"]):
            if name:
                called.setdefault((space, name.lower()), workload)
    rows: list[Row] = []
    for container, workload in zip(replicas, workloads, strict=True):
        space = namespace_of(container.labels)
        src = workload["names"][0]
        for name, condition in compose_dependencies(container.labels):
            callee = called.get((space, name.lower()))
            missing = Name(name, COMPOSE_RULE, COMPOSE_CONFIDENCE, space)
            dst = callee["names"][0] if callee else missing
            row = dependency_row(src, dst, "start_order", "compose-label")
            rows.append(row | {"condition": condition})

        def find(address: Address, space: str = space) -> Callee | None:
            callee = called.get((space, address.host))
            if callee is None:
                return None
            return callee["names"][0], last_part(callee["repository"])

        addresses = dig(container.inspected, "Env", "addresses") or ()
        rows += environment_rows(src, addresses, find)
    return distinct(rows)
