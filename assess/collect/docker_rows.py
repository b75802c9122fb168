"""From the payloads of one Docker engine to rows: workloads, services, dependencies."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import Any

from assess.collect.base import Batch, Name, Row
from assess.collect.docker_engine import to_engine, to_host
from assess.collect.docker_images import ImageIndex, to_images
from assess.collect.docker_mounts import share, to_mounts
from assess.collect.docker_names import (
    COMPOSE,
    COMPOSE_CONFIDENCE,
    COMPOSE_RULE,
    compose_dependencies,
    container_names,
    is_replica,
    platform_of,
)
from assess.collect.docker_payload import (
    Container,
    Payload,
    Payloads,
    containers_of,
    dicts,
    dig,
    moment,
    texts,
)
from assess.collect.image_ref import parse_image

_parse_image = lru_cache(4096)(parse_image)  # replicas share their images
LOG_SHIPPERS = ("awslogs", "etwlogs", "fluentd", "gcplogs", "gelf", "logentries", "splunk")


def to_batch(payloads: Payloads, host_id: str) -> Batch:
    """Turn the payloads of one engine into rows.

    Parameters
    ----------
    payloads : Payloads
        Redacted payloads.
    host_id : str
        Name of the host.

    Returns
    -------
    Batch
        hosts, engines, images, workloads, mounts, services and dependencies.
    """
    batch = Batch()
    batch.add("hosts", to_host(payloads, host_id))
    batch.add("engines", to_engine(payloads, host_id))
    containers = containers_of(payloads)
    batch.add("images", *to_images(payloads, containers, host_id))
    index = ImageIndex(payloads.images or [])
    names, services = {}, []
    replicas = [c for c in containers if is_replica(c.labels)]
    for container in replicas:
        status = "ok" if container.inspected else "list"
        workload = to_workload(container, index)
        workload["workload_id"] = f"{host_id}/{container.identifier}"
        workload["host_id"] = host_id
        workload["inspect_status"] = payloads.inspect_status.get(container.identifier, status)
        names[container.identifier] = workload["names"]
        mounts = to_mounts(workload["workload_id"], container.mounts or [])
        batch.rows["workloads"].append(workload)
        batch.rows["mounts"] += mounts
        services.append(to_service(container, workload, mounts))
    batch.add("services", *merge_services(services))
    share(batch.rows["mounts"], payloads.volumes)
    batch.add("dependencies", *to_dependencies(replicas, names))
    return batch


def to_workload(container: Container, index: ImageIndex) -> Row:
    """Describe a container.

    Parameters
    ----------
    container : Container
        The container.
    index : ImageIndex
        Images of the host.

    Returns
    -------
    dict
        Row of the workloads frame, with ``names`` in place of ``service_id``.
    """
    listing, inspected = container.listing, container.inspected
    declared = dig(inspected, "Config", "Image") or listing.get("Image") or ""
    image_id = container.image_id or declared
    image = _parse_image(declared)
    if image.repository is None:
        image = index.named(image_id)
    columns = image.columns()
    columns["image_digest"] = image.digest or index.digest(image_id, image)
    name = (inspected.get("Name") or next(iter(texts(listing.get("Names"))), "")).lstrip("/")
    return {
        "names": container_names(container.labels, container.naming, image, name or "unnamed"),
        "cluster": container.labels.get("com.amazonaws.ecs.cluster"),
        "namespace": container.namespace or None,
        "name": name,
        "source_kind": "container",
        "image_ref": declared or None,
        **columns,
        **_life(container),
        **(_configuration(inspected) if inspected else {}),
        "host_network": _is_host(_network_mode(container)),
        "docker_sock_mounted": _sees_socket(container.mounts),
        "ports": to_ports(container),
    }


def _life(container: Container) -> Row:
    """State and times; a list tells them in words, such as ``Exited (137) 2 days ago``."""
    listing, inspected = container.listing, container.inspected
    words = listing.get("Status") or ""
    state = inspected.get("State", {})
    status = container.state or _state_of(words)
    code = re.match(r"Exited \((-?\d+)\)", words)
    has_ended = status in ("exited", "dead")
    health = re.search(r"\((healthy|unhealthy|health: starting)\)", words)
    row: Row = {
        "state": status,
        "exit_code": int(code[1]) if code and has_ended else None,
        "health": health[1].removeprefix("health: ") if health else None,
        "created_at": moment(inspected.get("Created") or listing.get("Created")),
    }
    if inspected:
        row |= {
            "exit_code": state.get("ExitCode") if has_ended else None,
            "health": inspected.get("health") or "none",
            "oom_killed": state.get("OOMKilled"),
            "restarts_n": inspected.get("RestartCount"),
            "started_at": moment(state.get("StartedAt")),
            "finished_at": moment(state.get("FinishedAt")),
        }
    return row


def _state_of(words: str) -> str | None:
    """State of engines that list only words (before API 1.23)."""
    first = words.partition(" ")[0].lower()
    if first == "up":
        return "paused" if "(Paused)" in words else "running"
    return first if first in ("exited", "created", "restarting", "dead") else None


def _configuration(inspected: Payload) -> Row:
    """Read what only an inspection tells."""
    config, host, env = inspected["Config"], inspected["HostConfig"], inspected["Env"]
    memory, pids = host.get("Memory"), host.get("PidsLimit")
    return {
        "restart_policy": dig(host, "RestartPolicy", "Name") or "no",
        "privileged": host.get("Privileged"),
        "host_pid": _is_host(host.get("PidMode")),
        "readonly_root": host.get("ReadonlyRootfs"),
        "user_root": str(config.get("User") or "").partition(":")[0] in ("", "0", "root"),
        "caps_added_n": len(texts(host.get("CapAdd"))),
        "memory_limit_bytes": memory or None,
        "memory_unlimited": None if memory is None else memory == 0,
        "cpu_limit": _cores(host),
        "pids_limit": pids if pids and pids > 0 else None,
        "log_driver": inspected.get("log_driver"),
        "stop_timeout_s": config.get("StopTimeout"),
        "env_names_n": len(env["names"]),
        "secret_like_env_n": env["secret_like"],
    }


def _cores(host: Payload) -> float | None:
    if host.get("NanoCpus"):
        return float(host["NanoCpus"]) / 1e9
    quota, period = host.get("CpuQuota") or 0, host.get("CpuPeriod") or 100_000
    return float(quota) / float(period) if quota > 0 else None


def _network_mode(container: Container) -> Any:
    inside = dig(container.inspected, "HostConfig", "NetworkMode")
    return inside or container.listing.get("NetworkMode")


def _is_host(mode: Any) -> bool | None:
    return None if mode is None else mode == "host"


def _sees_socket(mounts: list[Payload] | None) -> bool | None:
    if mounts is None:
        return None
    sources = [str(m.get("Source") or "") for m in mounts]
    return any(
        s.rstrip("/") in ("/", "/run", "/var/run") or s.endswith(("docker.sock", "podman.sock"))
        for s in sources
    )


def to_ports(container: Container) -> str | None:
    """Give the ports of a container.

    Parameters
    ----------
    container : Container
        The container.

    Returns
    -------
    str or None
        ``8080->80/tcp`` for published ports and ``80/tcp`` for the others, joined by semicolons.
    """
    inspected = container.inspected
    bindings = {
        **(dig(inspected, "Config", "ExposedPorts") or {}),
        **(dig(inspected, "HostConfig", "PortBindings") or {}),
        **(inspected.get("ports") or {}),
    }
    found = {
        f"{_address(b.get('HostIp'))}{b['HostPort']}->{port}" if b.get("HostPort") else port
        for port, bound in bindings.items()
        for b in dicts(bound) or [{}]
    }
    ports = container.listing.get("Ports")  # the command line gives them as text
    if isinstance(ports, str):
        found |= {_WILDCARD.sub("", p) for p in ports.split(", ") if p}
    for port in dicts(ports):
        inner = f"{port.get('PrivatePort')}/{port.get('Type') or 'tcp'}"
        public = port.get("PublicPort")
        found.add(f"{_address(port.get('IP'))}{public}->{inner}" if public else inner)
    return ";".join(sorted(found)) or None


_WILDCARD = re.compile(r"^(0\.0\.0\.0|\[::\]|::):")


def _address(host: Any) -> str:
    return "" if host in (None, "", "0.0.0.0", "::") else f"{host}:"


def to_service(container: Container, workload: Row, mounts: list[Row]) -> Row:
    """Say what one container tells of its service; what it cannot tell is left unknown.

    Parameters
    ----------
    container : Container
        The container.
    workload : dict
        Its row.
    mounts : list of dict
        Rows of its mounts.

    Returns
    -------
    dict
        Row of the services frame, with ``names`` in place of ``service_id``.
    """
    secrets = workload.get("secret_like_env_n")
    return {
        "names": workload["names"],
        "platform": platform_of(container.labels, container.naming),
        "stateful": True if any(m["data_like"] for m in mounts) else None,
        "health_checked": container.inspected.get("health_checked"),
        "logs_exported": True if workload.get("log_driver") in LOG_SHIPPERS else None,
        "secrets_in_image": None if secrets is None else secrets > 0,
    }


def merge_services(rows: list[Row]) -> list[Row]:
    """Make one row of the containers that name the same service.

    Parameters
    ----------
    rows : list of dict
        Rows of `to_service`.

    Returns
    -------
    list of dict
        A service is stateful, has secrets or exports logs where any container does; it is
        health-checked where all of which that is known are.
    """
    groups: dict[Name, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["names"][0], []).append(row)
    merged = []
    for group in groups.values():
        row = dict(group[0])
        for column, decide in _DECIDE.items():
            known = [r[column] for r in group if r[column] is not None]
            row[column] = decide(known) if known else None
        platforms = {r["platform"] for r in group}
        row["platform"] = platforms.pop() if len(platforms) == 1 else "mixed"
        merged.append(row)
    return merged


_DECIDE = {"stateful": any, "health_checked": all, "logs_exported": any, "secrets_in_image": any}


def to_dependencies(replicas: list[Container], names: dict[str, tuple[Name, ...]]) -> list[Row]:
    """Read what services need: start orders of Compose, and addresses in their environment.

    Parameters
    ----------
    replicas : list of Container
        Containers that are replicas of services.
    names : dict of str to tuple of Name
        Names of its service, by short id.

    Returns
    -------
    list of dict
        Rows of the dependencies frame, with ``src`` and ``dst`` in place of ids.
    """
    known: dict[tuple[str, str], Name] = {}
    for container in replicas:
        best, last = names[container.identifier][0], names[container.identifier][-1]
        for name in (container.labels.get(COMPOSE + "service"), last.name):
            if name:
                known.setdefault((container.namespace, name), best)
    rows: dict[tuple[Any, ...], Row] = {}
    for container in replicas:
        src, project = names[container.identifier][0], container.namespace
        needs: list[tuple[str, str, str, str | None]] = [
            (name, "start_order", "compose-label", condition)
            for name, condition in compose_dependencies(container.labels)
        ]
        hosts = dig(container.inspected, "Env", "hosts") or {}
        needs += [(h.partition(":")[0], "call", "environment", None) for h in hosts.values()]
        for name, kind, evidence, condition in needs:
            dst = known.get((project, name))
            if dst is None and kind == "start_order":
                dst = Name(name, COMPOSE_RULE, COMPOSE_CONFIDENCE, project)
            if dst is not None and replace(dst, rule="") != replace(src, rule=""):
                row = {"src": src, "dst": dst, "kind": kind, "evidence": evidence,
                       "condition": condition}  # fmt: skip
                rows.setdefault((src, dst, kind, evidence), row)
    return list(rows.values())
