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
    namespace_of,
    platform_of,
)
from assess.collect.docker_payload import Payload, Payloads, dicts, dig, moment, short, texts
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
    listed = {short(c.get("Id")): c for c in payloads.containers or []}
    pairs = [(listed.get(i), payloads.inspected.get(i), i) for i in listed | payloads.inspected]
    index = ImageIndex(payloads.images or [])
    batch.add("images", *to_images(payloads, pairs, index, host_id))
    names, services = {}, []
    replicas = [p for p in pairs if p[2] and is_replica(_labels(p[0], p[1]))]
    for listing, inspected, identifier in replicas:
        status = payloads.inspect_status.get(identifier, "ok" if inspected else "list")
        workload = to_workload(listing, inspected, index) | {
            "workload_id": f"{host_id}/{identifier}",
            "host_id": host_id,
            "inspect_status": status,
        }
        names[identifier] = workload["names"]
        mounts = to_mounts(workload["workload_id"], _mounts_of(listing, inspected) or [])
        batch.add("workloads", workload)
        batch.add("mounts", *mounts)
        services.append(to_service(workload, mounts, listing, inspected))
    batch.add("services", *merge_services(services))
    share(batch.rows["mounts"], payloads.volumes)
    batch.add("dependencies", *to_dependencies(replicas, names))
    return batch


def to_workload(listing: Payload | None, inspected: Payload | None, index: ImageIndex) -> Row:
    """Describe a container.

    Parameters
    ----------
    listing : dict or None
        Its entry in the list.
    inspected : dict or None
        Its inspection.
    index : ImageIndex
        Images of the host.

    Returns
    -------
    dict
        Row of the workloads frame, with ``names`` in place of ``service_id``.
    """
    labels, env = _labels(listing, inspected), dig(inspected, "Env", "naming") or {}
    declared = dig(inspected, "Config", "Image") or dig(listing, "Image") or ""
    image_id = dig(inspected, "Image") or dig(listing, "ImageID")
    image = _parse_image(declared)
    if image.repository is None:
        image = index.named(image_id or declared)
    columns = image.columns()
    columns["image_digest"] = image.digest or index.digest(image_id or declared, image)
    name = (dig(inspected, "Name") or next(iter(texts(dig(listing, "Names"))), "")).lstrip("/")
    return {
        "names": container_names(labels, env, image, name or "unnamed"),
        "cluster": labels.get("com.amazonaws.ecs.cluster"),
        "namespace": namespace_of(labels) or None,
        "name": name,
        "source_kind": "container",
        "image_ref": declared or None,
        **columns,
        **_life(listing or {}, inspected),
        **(_configuration(inspected) if inspected else {}),
        "host_network": _is_host(_network_mode(listing, inspected)),
        "docker_sock_mounted": _sees_socket(listing, inspected),
        "ports": to_ports(listing, inspected),
    }


def _life(listing: Payload, inspected: Payload | None) -> Row:
    """State and times; a list tells them in words, such as ``Exited (137) 2 days ago``."""
    words = str(listing.get("Status") or "")
    state = dig(inspected, "State") or {}
    status = state.get("Status") or listing.get("State") or _state_of(words)
    code = re.match(r"Exited \((-?\d+)\)", words)
    has_ended = status in ("exited", "dead")
    health = re.search(r"\((healthy|unhealthy|health: starting)\)", words)
    row: Row = {
        "state": status,
        "exit_code": int(code[1]) if code and has_ended else None,
        "health": health[1].removeprefix("health: ") if health else None,
        "created_at": moment(dig(inspected, "Created")) or moment(listing.get("Created")),
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


def _labels(listing: Payload | None, inspected: Payload | None) -> dict[str, str]:
    return dig(inspected, "Labels") or dig(listing, "Labels") or {}


def _network_mode(listing: Payload | None, inspected: Payload | None) -> Any:
    return dig(inspected, "HostConfig", "NetworkMode") or dig(listing, "NetworkMode")


def _is_host(mode: Any) -> bool | None:
    return None if mode is None else mode == "host"


def _mounts_of(listing: Payload | None, inspected: Payload | None) -> list[Payload] | None:
    """Mounts; None where neither payload tells them."""
    found = dig(inspected, "Mounts")
    return found if found is not None else dig(listing, "Mounts")


def _sees_socket(listing: Payload | None, inspected: Payload | None) -> bool | None:
    mounts = _mounts_of(listing, inspected)
    if mounts is None:
        return None
    sources = [str(m.get("Source") or "") for m in mounts]
    return any(
        s.rstrip("/") in ("/", "/run", "/var/run") or s.endswith(("docker.sock", "podman.sock"))
        for s in sources
    )


def to_ports(listing: Payload | None, inspected: Payload | None) -> str | None:
    """Give the ports of a container.

    Parameters
    ----------
    listing : dict or None
        Its entry in the list; the command line gives ports as text.
    inspected : dict or None
        Its inspection.

    Returns
    -------
    str or None
        ``8080->80/tcp`` for published ports and ``80/tcp`` for the others, joined by semicolons.
    """
    bindings = {
        **(dig(inspected, "Config", "ExposedPorts") or {}),
        **(dig(inspected, "HostConfig", "PortBindings") or {}),
        **(dig(inspected, "ports") or {}),
    }
    found = {
        f"{_address(b.get('HostIp'))}{b['HostPort']}->{port}" if b.get("HostPort") else port
        for port, bound in bindings.items()
        for b in dicts(bound) or [{}]
    }
    ports = dig(listing, "Ports")
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


def to_service(
    workload: Row, mounts: list[Row], listing: Payload | None, inspected: Payload | None
) -> Row:
    """Say what one container tells of its service; what it cannot tell is left unknown.

    Parameters
    ----------
    workload : dict
        Its row.
    mounts : list of dict
        Rows of its mounts.
    listing : dict or None
        Its entry in the list.
    inspected : dict or None
        Its inspection.

    Returns
    -------
    dict
        Row of the services frame, with ``names`` in place of ``service_id``.
    """
    labels, env = _labels(listing, inspected), dig(inspected, "Env", "naming") or {}
    secrets = workload.get("secret_like_env_n")
    return {
        "names": workload["names"],
        "platform": platform_of(labels, env),
        "stateful": True if any(m["data_like"] for m in mounts) else None,
        "health_checked": inspected["health_checked"] if inspected else None,
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


def to_dependencies(
    replicas: list[tuple[Payload | None, Payload | None, str]],
    names: dict[str, tuple[Name, ...]],
) -> list[Row]:
    """Read what services need: start orders of Compose, and addresses in their environment.

    Parameters
    ----------
    replicas : list of tuple
        Listing, inspection and short id of each container.
    names : dict of str to tuple of Name
        Names of its service, by short id.

    Returns
    -------
    list of dict
        Rows of the dependencies frame, with ``src`` and ``dst`` in place of ids.
    """
    known: dict[tuple[str, str], Name] = {}
    for listing, inspected, identifier in replicas:
        labels, best = _labels(listing, inspected), names[identifier][0]
        project = namespace_of(labels)
        for name in (labels.get(COMPOSE + "service"), names[identifier][-1].name):
            if name:
                known.setdefault((project, name), best)
    rows: dict[tuple[Any, ...], Row] = {}
    for listing, inspected, identifier in replicas:
        labels, src = _labels(listing, inspected), names[identifier][0]
        project = namespace_of(labels)
        needs: list[tuple[str, str, str, str | None]] = [
            (name, "start_order", "compose-label", condition)
            for name, condition in compose_dependencies(labels)
        ]
        hosts = dig(inspected, "Env", "hosts") or {}
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
