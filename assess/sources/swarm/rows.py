"""From the lists of one Docker Swarm to rows."""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import pairwise
from typing import Any

from assess.image_ref import last_part, parse_image
from assess.sources.addresses import addresses, kind_of
from assess.sources.base import Batch, Row
from assess.sources.docker.mounts import to_mounts
from assess.sources.docker.names import SWARM_SERVICE, SWARM_STACK, container_names
from assess.sources.docker.payload import SHORT_ID, moment, texts
from assess.sources.dumps import dicts, dig
from assess.sources.listing import (
    Found,
    healthy,
    host_ids,
    integer,
    number,
    percent,
    share_live,
    table,
    text,
)
from assess.sources.redact import keep_env, keep_labels
from assess.sources.unit import LOG_SHIPPERS, keeps_data, merge_services

_ENDED = ("complete", "shutdown", "failed", "rejected", "remove")
_FAILED = ("failed", "orphaned")
_CONDITIONS = {"any": "always", "on-failure": "on-failure", "none": "no"}
_SECOND = 1e9  # [ns]


class Service:
    """One service of the swarm, and the names that it has."""

    def __init__(self, item: Row) -> None:
        self.spec = table(item.get("Spec"))
        self.item, self.name = item, text(self.spec.get("Name"))
        self.task = table(self.spec.get("TaskTemplate"))
        self.container = table(self.task.get("ContainerSpec"))
        self.is_listed = not item.get(
            "Version"
        )  # by the command line, which tells little
        values = (entry.partition("=") for entry in texts(self.container.get("Env")))
        self.values = {name: value for name, _, value in values}
        self.env = keep_env(self.values)
        labels = {
            **keep_labels(self.spec.get("Labels"))[0],
            **keep_labels(self.container.get("Labels"))[0],
            SWARM_SERVICE: self.name,
        }
        self.stack = labels.get(SWARM_STACK, "")
        self.image = text(self.container.get("Image"))
        image = parse_image(self.image)
        self.names = container_names(labels, self.env["naming"], image, self.name)[:-1]

    @property
    def replicas(self) -> float | None:
        """How many are wanted; None for one per node."""
        return number(dig(self.spec, "Mode", "Replicated", "Replicas"))


def to_batch(found: Found, cluster: str) -> Batch:
    """Turn the lists of one swarm into rows of all frames that they tell of."""
    batch = Batch()
    nodes, listed, tasks = (
        _whole(found.get(k, ())) for k in ("nodes", "services", "tasks")
    )
    services = {key: s for key, item in listed.items() if (s := Service(item)).name}
    by_name = {service.name: key for key, service in services.items()}
    hosts = host_ids(
        ((key, text(dig(n, "Description", "Hostname"))) for key, n in nodes.items()),
        cluster,
    )
    batch.add(
        "hosts",
        *(to_host(node, hosts[key]) for key, node in nodes.items() if key in hosts),
    )
    batch.add(
        "engines",
        *filter(
            None,
            (to_engine(node, hosts[key]) for key, node in nodes.items() if key in hosts),
        ),
    )
    mounts: dict[str, list[Row]] = defaultdict(list)
    history: dict[tuple[str, Any], list[Row]] = defaultdict(list)
    for key, task in tasks.items():
        own = text(task.get("ServiceID"))[:SHORT_ID] or by_name.get(
            text(task.get("ServiceName"))
        )
        service = services.get(own or "")
        if service is None or own is None:
            continue
        workload = to_workload(key, task, service, hosts, cluster)
        rows = _mounts(service, workload)
        batch.add("workloads", workload)
        batch.add("mounts", *rows)
        mounts[own] += rows
        history[own, integer(task.get("Slot")) or text(task.get("NodeID"))].append(task)
    share_live(batch)
    rows = [to_service(s, mounts[key] or _mounts(s, {})) for key, s in services.items()]
    batch.add("services", *merge_services(rows))
    batch.add("dependencies", *to_dependencies(list(services.values())))
    for key, service in services.items():
        batch.add("activities", *to_deployment(service, cluster, key))
    for (own, _), kept in history.items():
        batch.add("activities", *to_failures(kept, services[own], cluster))
    return batch


def _whole(items: Any) -> dict[str, Row]:
    """Entries by short id; where one was listed and inspected, the inspection."""
    ordered = sorted(items, key=lambda item: "Version" in item)
    return {key: item for item in ordered if (key := text(item.get("ID"))[:SHORT_ID])}


def to_host(node: Row, host_id: str) -> Row:
    """Give the row of the hosts frame."""
    described, status = table(node.get("Description")), text(dig(node, "Status", "State"))
    cpus = number(dig(described, "Resources", "NanoCPUs"))
    return {
        "host_id": host_id,
        "hostname": text(described.get("Hostname")) or None,
        "arch": text(dig(described, "Platform", "Architecture")) or None,
        "vcpus": None if cpus is None else integer(cpus // 1e9),
        "memory_bytes": integer(dig(described, "Resources", "MemoryBytes")),
        "state": "running" if status == "ready" else status or None,
    }


def to_engine(node: Row, host_id: str) -> Row | None:
    """Give the row of the engines frame; None where the node does not tell its version."""
    version = text(dig(node, "Description", "Engine", "EngineVersion"))
    if not version:
        return None
    status = text(dig(node, "Status", "State"))
    row = {"host_id": host_id, "runtime": "docker", "version": version, "swarm": "active"}
    return row | {"reachable": status == "ready" if status in ("ready", "down") else None}


def to_workload(
    key: str, task: Row, service: Service, hosts: dict[str, str], cluster: str
) -> Row:
    """Give the row of a task; that of a container which its engine lists has the same key."""
    spec = table(task.get("Spec")) or service.task
    container = table(spec.get("ContainerSpec")) or service.container
    status, limits = table(task.get("Status")), table(dig(spec, "Resources", "Limits"))
    image = text(container.get("Image")) or service.image
    host = hosts.get(text(task.get("NodeID"))[:SHORT_ID]) or _named(task, hosts)
    own = text(dig(status, "ContainerStatus", "ContainerID"))[:SHORT_ID]
    memory, cpus = integer(limits.get("MemoryBytes")), number(limits.get("NanoCPUs"))
    grace = number(container.get("StopGracePeriod"))
    code = dig(status, "ContainerStatus", "ExitCode")
    is_known = not service.is_listed
    row: Row = {
        "workload_id": f"{host}/{own}" if host and own else f"{cluster}/{key}",
        "names": service.names,
        "host_id": host,
        "cluster": cluster,
        "namespace": service.stack or None,
        "name": f"{service.name}.{integer(task.get('Slot')) or key}",
        "source_kind": "task",
        "image_ref": image or None,
        **parse_image(image).columns(),
        **_life(task, status),
        "exit_code": code
        if text(status.get("State")) in _ENDED and _is_code(code)
        else None,
        "ports": _ports(service),
        "log_driver": text(dig(spec, "LogDriver", "Name")) or None,
        "stop_timeout_s": None if grace is None else grace / _SECOND,
        "inspect_status": "ok" if is_known else "list",
    }
    if is_known:
        row |= {
            "restart_policy": _CONDITIONS.get(
                text(dig(spec, "RestartPolicy", "Condition")) or "any"
            ),
            "host_network": _is_on_host(task),
            "readonly_root": container.get("ReadOnly") is True,
            "user_root": _is_root(text(container.get("User"))),
            "caps_added_n": len(texts(container.get("CapabilityAdd"))),
            "docker_sock_mounted": any(
                text(m.get("Source")).endswith(".sock")
                for m in dicts(container.get("Mounts"))
            ),
            "memory_limit_bytes": memory or None,
            "memory_unlimited": not memory,
            "cpu_limit": cpus / 1e9 if cpus else None,
            "pids_limit": integer(limits.get("Pids")) or None,
            "env_names_n": len(service.env["names"]),
            "secret_like_env_n": service.env["secret_like"],
        }
    return row


def _named(task: Row, hosts: dict[str, str]) -> str | None:
    """Host of a task by the name that the command line gives; it is one only where it is alone."""
    return next(
        (host for host in hosts.values() if host == text(task.get("NodeName"))), None
    )


def _is_code(code: Any) -> bool:
    return isinstance(code, int) and not isinstance(code, bool)


def _is_root(user: str) -> bool | None:
    return user.partition(":")[0] in ("0", "root") if user else None


def _is_on_host(task: Row) -> bool | None:
    """Say whether a task is on the network of its node, as far as its networks are told."""
    networks = [table(n.get("Network")) for n in dicts(task.get("NetworksAttachments"))]
    names = {text(dig(network, "Spec", "Name")) for network in networks}
    return "host" in names if names else None


def _life(task: Row, status: Row) -> Row:
    """State and times; a task that a lost node still calls running is wanted no more."""
    state, at = text(status.get("State")), moment(status.get("Timestamp"))
    is_wanted = text(task.get("DesiredState")) not in ("shutdown", "remove")
    words = "exited" if state in _ENDED else "dead" if state == "orphaned" else "created"
    if state == "running":
        words = "running" if is_wanted else "removing"
    return {
        "state": words if state else None,
        "created_at": moment(task.get("CreatedAt")),
        "started_at": at if state == "running" else None,
        "finished_at": at if state in _ENDED else None,
    }


def _ports(service: Service) -> str | None:
    listed = service.item.get("Ports")
    if isinstance(listed, str):
        return listed.replace("*:", "").replace(", ", ";") or None
    found = [
        f"{outer}->{inner}" if (outer := integer(port.get("PublishedPort"))) else inner
        for port in dicts(dig(service.item, "Endpoint", "Ports"))
        if (inner := f"{port.get('TargetPort')}/{text(port.get('Protocol')) or 'tcp'}")
    ]
    return ";".join(sorted(found)) or None


def _mounts(service: Service, workload: Row) -> list[Row]:
    """Give rows of the mounts frame, in the words of the engine's own."""
    payloads = []
    for mount in dicts(service.container.get("Mounts")):
        is_volume = mount.get("Type") == "volume"
        driver = text(dig(mount, "VolumeOptions", "DriverConfig", "Name"))
        payloads.append(
            {
                "Type": text(mount.get("Type")),
                "Name": text(mount.get("Source")) if is_volume else None,
                "Source": "" if is_volume else text(mount.get("Source")),
                "Destination": text(mount.get("Target")),
                "Driver": driver or ("local" if is_volume else None),
                "RW": mount.get("ReadOnly") is not True,
            }
        )
    rows = to_mounts(workload.get("workload_id", ""), payloads)
    for row in rows:
        if row["_source"] and row["driver"] in (None, "local"):  # one on every node
            row["_source"] += f"@{workload.get('host_id')}"
    return rows


def to_service(service: Service, mounts: list[Row]) -> Row:
    """Say what a service tells of itself; what it cannot tell is left unknown."""
    container, ports = service.container, _ports(service)
    repository = parse_image(service.image).repository
    is_told = not (mounts or service.is_listed)
    tests = texts(dig(container, "Healthcheck", "Test"))
    is_job = any(
        mode in table(service.spec.get("Mode")) for mode in ("ReplicatedJob", "GlobalJob")
    )
    is_outside = bool(
        container.get("Configs") or container.get("Secrets") or service.values
    )
    driver = text(dig(service.task, "LogDriver", "Name"))
    return {
        "names": service.names,
        "platform": "swarm",
        "kind": "job" if is_job else "web" if ports else None,
        "stateful": keeps_data(mounts, repository, ports, is_told=is_told),
        "min_healthy_pct": min_healthy(service),
        "health_checked": tests[0] != "NONE" if tests else None,  # its image may have one
        "logs_exported": True if driver in LOG_SHIPPERS else None,
        "config_external": is_outside or None,
        "secrets_in_image": None if service.is_listed else service.env["secret_like"] > 0,
    }


def min_healthy(service: Service) -> float | None:
    """Give the share of replicas that an update leaves running; None where none is declared."""
    update = table(service.spec.get("UpdateConfig"))
    if not update or not service.replicas:
        return None
    if update.get("Order") == "start-first":
        return 100.0
    parallel = number(update.get("Parallelism", 1))
    return healthy(
        percent(parallel or service.replicas, service.replicas)
    )  # 0 is all at once


def to_dependencies(services: list[Service]) -> list[Row]:
    """Read whom services call: addresses of others of the stack in their environment."""
    known = {(s.stack, s.name.removeprefix(f"{s.stack}_")): s for s in services}
    known |= {("", s.name): s for s in services}
    rows: dict[tuple[Any, ...], Row] = {}
    for service in services:
        for variable, address in addresses(service.values):
            places = (service.stack, address.host), ("", address.host)
            called = next((known[p] for p in places if p in known), None)
            if called and called is not service:
                image = last_part(parse_image(called.image).repository)
                kind = kind_of(address, image, variable)
                row = {"src": service.names[0], "dst": called.names[0], "kind": kind}
                rows.setdefault(tuple(row.values()), row | {"evidence": "environment"})
    return list(rows.values())


def to_deployment(service: Service, cluster: str, key: str) -> list[Row]:
    """Give the last update of a service: a deployment, or the way back from one."""
    update = table(service.item.get("UpdateStatus"))
    started = moment(update.get("StartedAt"))
    if not started:
        return []
    state = text(update.get("State"))
    before = dig(service.item, "PreviousSpec", "TaskTemplate", "ContainerSpec", "Image")
    return [
        {
            "activity_id": f"{cluster}/{key}/{started:%Y%m%dT%H%M%S}",
            "names": service.names,
            "kind": "rollback" if state.startswith("rollback") else "deploy",
            "started_at": started,
            "ended_at": moment(update.get("CompletedAt")),
            "status": state or None,
            "from_version": parse_image(text(before)).tag,
            "to_version": parse_image(service.image).tag,
        }
    ]


def to_failures(tasks: list[Row], service: Service, cluster: str) -> list[Row]:
    """Give the failed tasks of one slot, and what took their places: how long healing takes."""
    ordered = sorted(tasks, key=lambda task: text(task.get("CreatedAt")))
    rows = []
    for lost, heir in pairwise(ordered):
        status, after = table(lost.get("Status")), table(heir.get("Status"))
        down, up = moment(status.get("Timestamp")), moment(heir.get("CreatedAt"))
        if text(status.get("State")) not in _FAILED or not down or not up:
            continue
        shared = {"names": service.names}
        place = f"{cluster}/{text(lost.get('ID'))[:SHORT_ID]}"
        rows.append(
            shared
            | {
                "activity_id": f"{place}/terminate",
                "kind": "terminate",
                "started_at": down,
                "cause": "health",
                "status": text(status.get("State")),
            }
        )
        if text(after.get("State")) == "running" and (
            since := moment(after.get("Timestamp"))
        ):
            rows.append(
                shared
                | {
                    "activity_id": f"{place}/launch",
                    "kind": "launch",
                    "started_at": max(up, down),
                    "ended_at": max(since, down),
                    "cause": "health",
                    "status": "running",
                }
            )
    return rows


def from_cli(item: Row) -> tuple[str, Row] | None:
    """Give a line of ``docker service|node ls`` or ``docker service ps`` the form of the API."""
    if {"Mode", "Replicas", "Name"} <= item.keys():
        wanted = re.match(r"\d+/(\d+)", text(item.get("Replicas")))
        modes = {"replicated": "Replicated", "global": "Global"}
        mode = modes.get(text(item.get("Mode")), "GlobalJob")
        number_ = {"Replicas": int(wanted[1])} if wanted and mode == "Replicated" else {}
        container = {"Image": item.get("Image")}
        spec = {
            "Name": item.get("Name"),
            "Mode": {mode: number_},
            "TaskTemplate": {"ContainerSpec": container},
        }
        return "services", {
            "ID": item.get("ID"),
            "Ports": item.get("Ports"),
            "Spec": spec,
        }
    if {"Hostname", "Availability", "Status"} <= item.keys():
        described = {
            "Hostname": item["Hostname"],
            "Engine": {"EngineVersion": item.get("EngineVersion")},
        }
        state = {"State": text(item["Status"]).lower()}
        return "nodes", {"ID": item.get("ID"), "Description": described, "Status": state}
    if {"CurrentState", "DesiredState", "Node"} <= item.keys():
        name, _, slot = text(item.get("Name")).strip(" \\_").partition(".")
        return "tasks", {
            "ID": item.get("ID"),
            "ServiceName": name,
            "Slot": integer(slot),
            "NodeName": item["Node"],
            "DesiredState": text(item["DesiredState"]).lower(),
            "Status": {"State": text(item["CurrentState"]).partition(" ")[0].lower()},
            "Spec": {"ContainerSpec": {"Image": item.get("Image")}},
        }
    return None
