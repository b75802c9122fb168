"""From the lists of one Docker Swarm to rows."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

from assess import frames
from assess.image_ref import parse_image
from assess.sources.base import Batch, Row, Rows
from assess.sources.csv_records import vocabulary
from assess.sources.docker.names import SWARM_SERVICE, SWARM_STACK, container_names
from assess.sources.docker.payload import SHORT_ID, variables
from assess.sources.edges import command_line, distinct
from assess.sources.edges.address import Siblings
from assess.sources.listing import Found, complete, host_ids
from assess.sources.redact import keep_labels
from assess.sources.replica import Replicas, declared_rows
from assess.sources.routing import routed_calls, routers_of
from assess.sources.unit import Unit, is_checked, mount_rows, service_row, workload_row
from assess.sources.values import (
    Texts,
    billionths,
    dicts,
    dig,
    first_known,
    healthy,
    integer,
    moment,
    number,
    percent,
    picked,
    table,
    text,
    texts,
)
from assess.sources.volumes import Mount, mount_of

_FAILED = ("failed", "orphaned")
_CONDITIONS = vocabulary("swarm", "conditions")
_STATES = vocabulary("swarm", "states")  # others are on their way to run
# Columns of workloads that the lists of the command line leave open.
_UNLISTED = ("docker_sock_mounted", "env_names_n", "secret_like_env_n")


class Service:
    """One service of the swarm."""

    def __init__(self, item: Row) -> None:
        self.item = item
        self.spec = table(item, "Spec")
        self.name = text(self.spec, "Name")
        self.task = table(self.spec, "TaskTemplate")
        # The command line lists services without most of what they declare.
        self.is_listed = not item.get("Version")
        container = table(self.task, "ContainerSpec")
        every = table(self.spec, "Labels") | table(container, "Labels")
        labels, _ = keep_labels(every)
        self.stack = labels.get(SWARM_STACK, "")
        unit = to_unit(self, self.task)
        labels[SWARM_SERVICE] = self.name
        names = container_names(labels, unit.kept, unit.image_ref, self.name)
        self.names = names[:-1]  # the last is that of a container
        proxies = routers_of(every, dict(unit.environment))
        self.unit = replace(unit, names=self.names, proxies=proxies)

    @property
    def replicas(self) -> float | None:
        """Number of replicas that are wanted; None for one per node."""
        return number(self.spec, "Mode", "Replicated", "Replicas")


def to_unit(service: Service, task: Row) -> Unit:
    """Read the declaration of a service, or of a task that still has an earlier one."""
    container = table(task, "ContainerSpec")
    modes = table(service.spec, "Mode")
    is_job = "ReplicatedJob" in modes or "GlobalJob" in modes
    ports = tuple(_ports(service))
    kind = "web" if ports else None
    unit = Unit(
        platform="swarm",
        image=text(container, "Image"),
        ports=ports,
        min_healthy_pct=min_healthy(service),
        kind="job" if is_job else kind,
    )
    if service.is_listed:
        return unit
    # A service that declares no condition is restarted whatever ends it.
    condition = text(task, "RestartPolicy", "Condition") or "any"
    values = variables(container.get("Env"))
    checks = texts(container, "Healthcheck", "Test")
    declared = checks[0] != "NONE" if checks else None
    has_config = container.get("Configs") or container.get("Secrets") or values
    own = picked(task, "swarm task")
    networks = task.get("Networks") or service.spec.get("Networks")  # by their ids
    return replace(
        unit,
        environment=tuple(values.items()),
        texts=command_line(container, "Command", "Args"),
        unread=tuple(
            f"config {text(config, 'ConfigName')}"
            for config in dicts(container, "Configs")
        ),
        **own,
        mounts=tuple(_mounts(container)),
        memory_unlimited=own["memory_limit_bytes"] is None,
        host_network=None if networks else False,
        # A service of Swarm cannot ask for these; a stack's file may, which is ignored.
        privileged=False,
        host_pid=False,
        host_ipc=False,
        devices_n=0,
        restart_policy=_CONDITIONS.get(condition),
        health_checked=is_checked(unit.image, declared),
        config_external=True if has_config else None,
    )


def to_batch(lists: Found, cluster: str) -> Batch:
    """Turn the lists of one swarm into rows of all frames."""
    lists = defaultdict(list, lists)
    batch = Batch()
    nodes = _whole(lists["nodes"])
    items = _whole(lists["services"])
    every = {key: Service(item) for key, item in items.items()}
    services = {key: service for key, service in every.items() if service.name}
    named = list(services.values())
    by_name = {service.name: key for key, service in services.items()}
    names = (text(node, "Description", "Hostname") for node in nodes.values())
    hosts = host_ids(zip(nodes, names, strict=True), cluster)
    for key, host in hosts.items():
        batch.add("hosts", to_host(nodes[key], host))
        batch.add("engines", *to_engine(nodes[key], host))
    slots: dict[tuple[str, Any], Rows] = defaultdict(list)
    for key, task in _whole(lists["tasks"]).items():
        name = text(task, "ServiceName")
        owner = short_id(task, "ServiceID") or by_name.get(name, "")
        if service := services.get(owner):
            workload = to_workload(key, task, service, hosts, cluster)
            place = (workload["workload_id"], workload["host_id"])
            batch.place([workload], mount_rows(service.unit.mounts, *place))
            slot = integer(task, "Slot") or text(task, "NodeID")
            slots[owner, slot].append(task)
    known = {owner for owner, _ in slots}
    for key, service in services.items():
        if key not in known and not service.is_listed:
            batch.place(*to_declared(service, cluster))
        batch.add("activities", *to_deployment(service, cluster, key))
    units = [service.unit for service in named]
    complete(batch, cluster, units, [*map(to_service, named)], to_dependencies(named))
    for (owner, _), tasks in slots.items():
        batch.add("activities", *to_failures(tasks, services[owner], cluster))
    return batch


def _whole(items: Any) -> dict[str, Row]:
    """Index entries by short id; an inspection replaces the entry of a list."""
    ordered = sorted(items, key=lambda item: "Version" in item)
    whole = {short_id(item, "ID"): item for item in ordered}
    whole.pop("", None)
    return whole


def short_id(identifier: Any, *path: str) -> str:
    """Return the first characters of an id, as the command line shows it."""
    return text(identifier, *path)[:SHORT_ID]


def to_host(node: Row, host_id: str) -> Row:
    """Return the row of the hosts frame."""
    cpus = billionths(node, "Description", "Resources", "NanoCPUs")
    return frames.row(
        "hosts",
        host_id=host_id,
        **picked(node, "swarm node"),
        vcpus=None if cpus is None else int(cpus),
    )


def to_engine(node: Row, host_id: str) -> Iterator[Row]:
    """Return the row of the engines frame, if the node lists the version of its engine."""
    status = text(node, "Status", "State")
    if version := text(node, "Description", "Engine", "EngineVersion"):
        yield frames.row(
            "engines",
            host_id=host_id,
            runtime="docker",
            version=version,
            swarm="active",
            reachable={"ready": True, "down": False}.get(status),
        )


def to_workload(key: str, task: Row, service: Service, hosts: Texts, cluster: str) -> Row:
    """Return the row of a task; it has the key of its container as the engine lists it."""
    spec = table(task, "Spec")
    status = table(task, "Status")
    is_current = not spec or spec == service.task
    unit = service.unit if is_current else to_unit(service, spec)
    if not unit.image:
        unit = replace(unit, image=service.unit.image)
    # The command line names the node: that is a host if only one has the name.
    node = text(task, "NodeName")
    named = node if node in hosts.values() else None
    host = hosts.get(short_id(task, "NodeID")) or named
    container = short_id(status, "ContainerStatus", "ContainerID")
    is_ended = _STATES.get(text(status, "State")) == "exited"
    code = integer(status, "ContainerStatus", "ExitCode")
    has_key = host and container
    row = workload_row(unit) | {
        "workload_id": f"{host}/{container}" if has_key else f"{cluster}/{key}",
        "names": service.names,
        "host_id": host,
        "cluster": cluster,
        "namespace": service.stack or None,
        "name": f"{service.name}.{integer(task, 'Slot') or key}",
        "source_kind": "task",
        **_life(task, status),
        "exit_code": code if is_ended else None,
        "host_network": first_known(_is_on_host(task), unit.host_network),
        "inspect_status": "ok",
    }
    if service.is_listed:
        row |= dict.fromkeys(_UNLISTED) | {"inspect_status": "list"}
    return row


def to_declared(service: Service, cluster: str) -> Replicas:
    """Return the rows of the replicas that a service declares and that have no known task."""
    place = {
        "cluster": cluster,
        "namespace": service.stack or None,
        "name": service.name,
        "source_kind": "task",
    }
    return declared_rows(
        service.unit, f"{cluster}/{service.name}", service.replicas, place
    )


def _is_on_host(task: Row) -> bool | None:
    """Return whether a task is on the network of its node; None where its networks are not listed."""
    # The network of the host is attached like any other, under the name `host`.
    networks = [table(n, "Network") for n in dicts(task, "NetworksAttachments")]
    names = {text(network, "Spec", "Name") for network in networks}
    return "host" in names if names else None


def _life(task: Row, status: Row) -> Row:
    """Return state and times; a task that a lost node still reports as running counts as removed."""
    state = text(status, "State")
    at = moment(status, "Timestamp")
    shown = _STATES.get(state, "created") if state else None
    if state == "running" and text(task, "DesiredState") in ("shutdown", "remove"):
        shown = "removing"
    return {
        "state": shown,
        "created_at": moment(task, "CreatedAt"),
        "started_at": at if state == "running" else None,
        "finished_at": at if shown == "exited" else None,
    }


def _ports(service: Service) -> Iterator[str]:
    listed = service.item.get("Ports")
    if isinstance(listed, str):  # by the command line
        yield from filter(None, listed.replace("*:", "").split(", "))
        return
    for port in dicts(service.item, "Endpoint", "Ports"):
        inner = f"{port.get('TargetPort')}/{text(port.get('Protocol')) or 'tcp'}"
        outer = integer(port, "PublishedPort")
        yield f"{outer}->{inner}" if outer else inner


def _mounts(container: Row) -> Iterator[Mount]:
    for mount in dicts(container, "Mounts"):
        driver = text(mount, "VolumeOptions", "DriverConfig", "Name")
        is_writable = mount.get("ReadOnly") is not True
        own = mount_of({"Type": "bind", **mount}, is_writable=is_writable)
        default = "local" if own.type == "volume" else None
        is_remote = driver not in ("", "local")
        yield replace(own, driver=driver or default, is_remote=is_remote)


def to_service(service: Service) -> Row:
    """Return the row of the services frame."""
    row = service_row(service.unit, is_complete=not service.is_listed)
    # Swarm publishes a port on every node, on all of its addresses.
    row["public"] = service.unit.is_opened
    return row | ({"secrets_in_image": None} if service.is_listed else {})


def min_healthy(service: Service) -> float | None:
    """Return the share of replicas that an update leaves running [percent]."""
    update = table(service.spec, "UpdateConfig")
    if not update or not service.replicas:
        return None
    if update.get("Order") == "start-first":  # new tasks run before old ones end
        return 100.0
    parallel = number(update.get("Parallelism", 1)) or service.replicas  # 0: all at once
    return healthy(percent(parallel, service.replicas))


def to_dependencies(services: list[Service]) -> Rows:
    """Return calls of others of the stack that the environment of a service names."""
    siblings = Siblings()
    for service in services:
        callee = service.unit.callee
        siblings.add(callee, service.name)
        siblings.publish(callee, service.unit.ports)
        in_stack = service.name.removeprefix(f"{service.stack}_")
        siblings.add(callee, in_stack, space=service.stack)
    rows = []
    for service in services:
        rows += service.unit.needs(siblings, service.stack)
    units = [service.unit for service in services]
    return distinct([*rows, *routed_calls(units, "swarm-labels")])


def to_deployment(service: Service, cluster: str, key: str) -> Rows:
    """Return the last update of a service: a deployment or a rollback."""
    update = picked(table(service.item, "UpdateStatus"), "swarm update")
    started = update["started_at"]
    if not started:
        return []
    before = dig(service.item, "PreviousSpec", "TaskTemplate", "ContainerSpec", "Image")
    return [
        {
            "activity_id": f"{cluster}/{key}/{started:%Y%m%dT%H%M%S}",
            "names": service.names,
            "kind": "rollback" if "rollback" in (update["status"] or "") else "deploy",
            **update,
            "from_version": parse_image(text(before)).tag,
            "to_version": service.unit.image_ref.tag,
        }
    ]


def to_failures(tasks: Rows, service: Service, cluster: str) -> Rows:
    """Return the failed tasks of one slot, and the tasks that replaced them."""
    ordered = sorted(tasks, key=lambda task: text(task, "CreatedAt"))
    rows: Rows = []
    # In a slot tasks follow each other: the next one replaces the one that failed.
    for lost, heir in pairwise(ordered):
        state = text(lost, "Status", "State")
        down = moment(lost, "Status", "Timestamp")
        up = moment(heir, "CreatedAt")
        if state not in _FAILED or not down or not up:
            continue
        place = f"{cluster}/{short_id(lost.get('ID'))}"
        shared = {"names": service.names, "cause": "health"}
        end = {"activity_id": f"{place}/terminate", "kind": "terminate"}
        rows.append(shared | end | {"started_at": down, "status": state})
        since = moment(heir, "Status", "Timestamp")
        if text(heir, "Status", "State") == "running" and since:
            start = {"activity_id": f"{place}/launch", "kind": "launch"}
            times = {"started_at": max(up, down), "ended_at": max(since, down)}
            rows.append(shared | start | times | {"status": "running"})
    return rows


def from_cli(item: Row) -> tuple[str, Row] | None:
    """Return a line of ``docker service|node ls`` or ``docker service ps`` in the form of the API."""
    if {"Mode", "Replicas", "Name"} <= item.keys():
        wanted = re.match(r"\d+/(\d+)", text(item, "Replicas"))
        modes = {"replicated": "Replicated", "global": "Global"}
        mode = modes.get(text(item, "Mode"), "GlobalJob")
        replicas = {"Replicas": int(wanted[1])} if wanted else {}
        spec = {
            "Name": item.get("Name"),
            "Mode": {mode: replicas if mode == "Replicated" else {}},
            "TaskTemplate": {"ContainerSpec": {"Image": item.get("Image")}},
        }
        shared = {"ID": item.get("ID"), "Ports": item.get("Ports")}
        return "services", shared | {"Spec": spec}
    if {"Hostname", "Availability", "Status"} <= item.keys():
        described = {
            "Hostname": item["Hostname"],
            "Engine": {"EngineVersion": item.get("EngineVersion")},
        }
        state = {"State": text(item, "Status").lower()}
        return "nodes", {"ID": item.get("ID"), "Description": described, "Status": state}
    if {"CurrentState", "DesiredState", "Node"} <= item.keys():
        # Tasks that ended stand below the one that replaced them, behind `\_`.
        name, _, slot = text(item, "Name").strip(" \\_").partition(".")
        word, _, _ = text(item, "CurrentState").lower().partition(" ")
        return "tasks", {
            "ID": item.get("ID"),
            "ServiceName": name,
            "Slot": integer(slot),
            "NodeName": item["Node"],
            "DesiredState": text(item, "DesiredState").lower(),
            "Status": {"State": word},
            "Spec": {"ContainerSpec": {"Image": item.get("Image")}},
        }
    return None
