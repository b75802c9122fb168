"""From the lists of one Nomad cluster to rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from assess.image_ref import last_part
from assess.sources.addresses import Address, addresses
from assess.sources.base import Batch, Name, Row
from assess.sources.listing import Found, host_ids, names_of, share_live
from assess.sources.nomad.nodes import AWS, attribute, to_engines, to_host
from assess.sources.unit import (
    Callee,
    Mount,
    Unit,
    dependency_row,
    distinct,
    environment_rows,
    merge_services,
    mount_rows,
    service_row,
    split_volume,
    workload_row,
)
from assess.sources.values import (
    dicts,
    dig,
    healthy,
    integer,
    moment,
    number,
    percent,
    table,
    text,
    texts,
)

_DRIVERS = {  # what a task is that is no container
    "exec": "process",
    "raw_exec": "process",
    "java": "process",
    "exec2": "process",
    "qemu": "vm",
}
_STATES = {
    "running": "running",
    "pending": "created",
    "complete": "exited",
    "failed": "exited",
    "lost": "dead",
}
# Of a job that its parent starts again and again.
_RUN = re.compile(r"/(periodic|dispatch)-.*$")
_SECOND = 1e9  # [ns]

GroupKey = tuple[str, str, str]  # namespace, job, group


class Group:
    """One task group of a job: what is placed together, and scales together."""

    def __init__(self, job: Row, group: Row, key: GroupKey, *, is_alone: bool) -> None:
        self.job = job
        self.group = group
        self.key = key
        self.task = _main_task(group)
        self.config = table(self.task.get("Config"))
        self.source_kind = _DRIVERS.get(text(self.task.get("Driver")), "allocation")
        self.services = [*dicts(group.get("Services")), *dicts(self.task.get("Services"))]
        self.templates = self.task.get("Templates")
        self.unit = _to_unit(self)
        self.names = self._names(is_alone=is_alone)
        self.unit = replace(self.unit, names=self.names)

    @property
    def is_known(self) -> bool:
        """Whether its declaration was read."""
        return bool(self.task)

    @property
    def is_job(self) -> bool:
        """Whether it ends by itself."""
        return text(self.job.get("Type")) in ("batch", "sysbatch")

    def _names(self, *, is_alone: bool) -> tuple[Name, ...]:
        namespace, job, group = self.key
        metas = [table(part.get("Meta")) for part in (self.task, self.group, self.job)]
        labels = [m["assess.service"] for m in metas if m.get("assess.service")]
        own = (
            (job, "nomad-job", 0.95)
            if is_alone
            else (f"{job}-{group}", "nomad-group", 0.95)
        )
        services = [text(s.get("Name")) for s in self.services]
        naming = self.unit.naming
        return names_of(
            *((label, "label", 1.0) for label in labels[:1]),
            own,
            # A name with a variable is another one in every allocation.
            *((name, "nomad-service", 0.8) for name in services if "$" not in name),
            (naming.get("OTEL_SERVICE_NAME"), "telemetry-env", 0.8),
            (naming.get("DD_SERVICE"), "telemetry-env", 0.8),
            (last_part(self.unit.image_ref.repository), "image-repository", 0.6),
            namespace=namespace,
        )


def _main_task(group: Row) -> Row:
    """Return the task that does the work: the leader, else the first that is no sidecar."""
    tasks = list(dicts(group.get("Tasks")))
    own = [
        task
        for task in tasks
        if not task.get("Lifecycle") and "connect-" not in text(task.get("Kind"))
    ]
    leaders = [task for task in own if task.get("Leader") is True]
    return next(iter(leaders or own or tasks), {})


def to_batch(found: Found, cluster: str) -> Batch:
    """Turn the lists of one cluster into rows of all frames."""
    batch = Batch()
    nodes = _by_id(found.get("nodes", ()), ("ID",))
    jobs = _by_id(found.get("jobs", ()), ("Namespace", "ID"))
    hosts = host_ids(
        ((key[-1], text(n.get("Name"))) for key, n in nodes.items()), cluster
    )
    hosts |= {
        key[-1]: instance
        for key, node in nodes.items()
        if (instance := attribute(node, f"unique.{AWS}instance-id"))
    }
    for key, node in nodes.items():
        batch.add("hosts", to_host(node, hosts[key[-1]]))
        batch.add("engines", *to_engines(node, hosts[key[-1]]))
    groups = _groups(jobs, found)
    allocations = _by_id(found.get("allocations", ()), ("ID",))
    for (identifier,), allocation in allocations.items():
        group = groups[_group_of(allocation, jobs)]
        workload = to_workload(identifier, allocation, group, hosts, cluster)
        batch.add("workloads", workload)
        mounts = group.unit.mounts
        rows = mount_rows(mounts, workload["workload_id"], workload["host_id"])
        batch.add("mounts", *rows)
        batch.add(
            "activities", *to_healing(identifier, allocation, group, allocations, cluster)
        )
    share_live(batch)
    named = [group for group in groups.values() if group.names]
    batch.add("services", *merge_services([to_service(group) for group in named]))
    batch.add("dependencies", *to_dependencies(named))
    batch.add(
        "activities", *(row for group in named for row in to_deployment(group, cluster))
    )
    return batch


def _by_id(items: Any, names: tuple[str, ...]) -> dict[tuple[str, ...], Row]:
    """Index entries by id; their details complete what the list says."""
    found: dict[tuple[str, ...], Row] = {}
    for item in items:
        key = tuple(text(item.get(name)) for name in names)
        if key[-1]:
            found[key] = found.get(key, {}) | {
                k: v for k, v in item.items() if v is not None
            }
    return found


def _groups(jobs: dict[tuple[str, ...], Row], found: Found) -> dict[GroupKey, Group]:
    """Index the task groups of all jobs; runs of a periodic job belong to the job that starts them."""
    groups: dict[GroupKey, Group] = {}
    for (namespace, identifier), job in sorted(
        jobs.items(), key=lambda pair: len(pair[0][1])
    ):
        declared = {text(g.get("Name")): g for g in dicts(job.get("TaskGroups"))}
        declared = declared or {
            name: {} for name in table(dig(job, "JobSummary", "Summary"))
        }
        for name, group in declared.items():
            key = (namespace, text(job.get("ParentID")) or _RUN.sub("", identifier), name)
            if key not in groups or not groups[key].is_known:
                groups[key] = Group(job, group, key, is_alone=len(declared) == 1)
    for allocation in found.get("allocations", ()):  # of jobs that nobody may read
        key = _group_of(allocation, jobs)
        if key not in groups:
            job = {"Type": allocation.get("JobType")}
            groups[key] = Group(job, {}, key, is_alone=key[1] == key[2])
    return groups


def _group_of(allocation: Row, jobs: dict[tuple[str, ...], Row]) -> GroupKey:
    namespace, job = text(allocation.get("Namespace")), text(allocation.get("JobID"))
    parent = text(jobs.get((namespace, job), {}).get("ParentID")) or _RUN.sub("", job)
    return namespace, parent, text(allocation.get("TaskGroup"))


# ---- what runs ----


def to_workload(
    identifier: str, allocation: Row, group: Group, hosts: dict[str, str], cluster: str
) -> Row:
    """Return the row of an allocation."""
    row: Row = {
        "workload_id": f"{cluster}/{identifier}",
        "names": group.names,
        "host_id": hosts.get(text(allocation.get("NodeID"))),
        "cluster": cluster,
        "namespace": group.key[0] or None,
        "name": text(allocation.get("Name")) or None,
        **_life(allocation, group),
    }
    if not group.is_known:
        return row | {"inspect_status": "list"}
    row |= {"source_kind": group.source_kind, "inspect_status": "ok"}
    row |= workload_row(group.unit)
    if not group.unit.image:
        row["docker_sock_mounted"] = None  # a process sees all of its host
    return row


def _life(allocation: Row, group: Group) -> Row:
    """Return state, ends and times of the main task where it is known, else of any."""
    states = table(allocation.get("TaskStates"))
    main = table(
        states.get(text(group.task.get("Name"))) or next(iter(states.values()), None)
    )
    ends = [e for e in dicts(main.get("Events")) if text(e.get("Type")) == "Terminated"]
    last = ends[-1] if ends else {}
    code = integer(table(last.get("Details")).get("exit_code", last.get("ExitCode")))
    killed = [text(table(e.get("Details")).get("oom_killed")) for e in ends]
    state = _STATES.get(text(allocation.get("ClientStatus")))
    return {
        "state": state,
        "exit_code": code if state in ("exited", "dead") else None,
        "oom_killed": True if "true" in killed else None,  # only the last events are kept
        "restarts_n": integer(main.get("Restarts")),
        "created_at": _at(allocation.get("CreateTime")),
        "started_at": moment(main.get("StartedAt")),
        "finished_at": moment(main.get("FinishedAt")),
    }


def _at(nanoseconds: Any) -> Any:
    count = number(nanoseconds)
    return moment(count / _SECOND) if count else None


# ---- what a group declares ----


def _to_unit(group: Group) -> Unit:
    """Read the declaration of a group, without its names."""
    task = group.task
    limits = task.get("Resources")
    memory = integer(dig(limits, "MemoryMaxMB")) or integer(dig(limits, "MemoryMB"))
    grace = number(task.get("KillTimeout"))
    env = table(task.get("Env")).items()
    values = tuple((name, value) for name, value in env if isinstance(value, str))
    ports = tuple(_ports(group))
    is_checked = any(service.get("Checks") for service in group.services)
    is_open = group.is_job or not group.is_known
    kind = "web" if ports else "worker"
    unit = Unit(
        names=(),
        platform="nomad",
        image=text(group.config.get("image")),
        environment=values,
        ports=ports,
        user=text(task.get("User")),
        mounts=tuple(_mounts(group)),
        memory_limit_bytes=memory * 2**20 if memory else None,
        cpu_limit=number(dig(limits, "Cores")) or None,
        pids_limit=integer(group.config.get("pids_limit")) or None,
        restart_policy=_restarts(group),
        log_driver=_log_driver(group),
        stop_timeout_s=None if grace is None else grace / _SECOND,
        kind="job" if group.is_job else kind,
        min_healthy_pct=min_healthy(group),
        health_checked=is_checked or (None if is_open else False),
        config_external=True if group.templates or values else None,
    )
    return _with_container(unit, group.config) if unit.image else unit


def _with_container(unit: Unit, config: Row) -> Unit:
    """Add what only holds of a task in a container."""
    return replace(
        unit,
        memory_unlimited=False if unit.memory_limit_bytes else None,
        privileged=config.get("privileged") is True,
        host_network=config.get("network_mode") == "host",
        host_pid=config.get("pid_mode") == "host",
        readonly_root=config.get("readonly_rootfs") is True,
        caps_added_n=len(texts(config.get("cap_add"))),
    )


def _restarts(group: Group) -> str | None:
    policy = table(group.group.get("RestartPolicy"))
    if not policy:
        return None
    if policy.get("Mode") == "delay":
        return "always"
    return "on-failure" if policy.get("Attempts") else "no"


def _log_driver(group: Group) -> str | None:
    logging = group.config.get("logging")
    block = table(
        next(iter(dicts(logging)), None) if isinstance(logging, list) else logging
    )
    return text(block.get("type")) or text(block.get("driver")) or None


def _ports(group: Group) -> Iterator[str]:
    networks = [*dicts(group.group.get("Networks"))]
    networks += dicts(dig(group.task, "Resources", "Networks"))
    for network in networks:
        reserved = dicts(network.get("ReservedPorts"))
        for port in (*reserved, *dicts(network.get("DynamicPorts"))):
            inner = integer(port.get("To"))
            outer = integer(port.get("Value"))
            if outer:
                yield f"{outer}->{inner or outer}/tcp"
            elif inner:
                yield f"{inner}/tcp"


def _mounts(group: Group) -> Iterator[Mount]:
    for option in texts(group.config.get("volumes")):
        if mount := split_volume(option):
            yield _within_allocation(mount)
    for part in ("mounts", "mount"):
        for entry in dicts(group.config.get(part)):
            kind = text(entry.get("type")) or "volume"
            source = text(entry.get("source"))
            mount = Mount(
                target=text(entry.get("target")),
                type=kind,
                source="" if kind == "volume" else source,
                volume=source or None if kind == "volume" else None,
                is_writable=entry.get("readonly") is not True,
            )
            yield _within_allocation(mount)
    volumes = table(group.group.get("Volumes"))
    for entry in dicts(group.task.get("VolumeMounts")):
        volume = table(volumes.get(text(entry.get("Volume"))))
        is_fixed = entry.get("ReadOnly") is True or volume.get("ReadOnly") is True
        driver = text(volume.get("Type")) or None
        yield Mount(
            target=text(entry.get("Destination")),
            type="volume",
            volume=text(volume.get("Source")) or text(entry.get("Volume")) or None,
            driver=driver,
            is_writable=not is_fixed,
            is_remote=driver == "csi",
        )


def _within_allocation(mount: Mount) -> Mount:
    """Mark a bind with a relative source: it is in the allocation's directory, and goes with it."""
    is_relative = mount.type == "bind" and mount.source[:1] not in ("/", "\\")
    if is_relative and not re.match(r"[A-Za-z]:", mount.source):
        return replace(mount, source_class="alloc-dir")
    return mount


def min_healthy(group: Group) -> float | None:
    """Return the share that an update leaves running [percent]."""
    update = table(group.group.get("Update") or group.job.get("Update"))
    count = number(group.group.get("Count"))
    parallel = number(update.get("MaxParallel"))
    if group.is_job or not update or parallel is None:
        return None
    return healthy(percent(parallel or count, count))  # 0 is all at once


def to_service(group: Group) -> Row:
    """Return the row of the services frame."""
    row = service_row(group.unit)
    if group.templates or not group.is_known:  # which may hold secrets, or bring them
        row["secrets_in_image"] = row["secrets_in_image"] or None
    return row


def to_dependencies(groups: list[Group]) -> list[Row]:
    """Return upstreams of Connect, and services of Consul that the environment names."""
    known = {text(s.get("Name")): group for group in groups for s in group.services}

    def find(address: Address) -> Callee | None:
        name, _, domain = address.host.partition(".service.")
        called = known.get(name) if domain.endswith("consul") else None
        return (called.names[0], called.unit.image_name) if called else None

    rows: list[Row] = []
    for group in groups:
        src = group.names[0]
        for service in group.services:
            proxy = dig(service, "Connect", "SidecarService", "Proxy")
            for upstream in dicts(dig(proxy, "Upstreams")):
                if name := text(upstream.get("DestinationName")):
                    missing = Name(name, "nomad-service", 0.8)
                    dst = known[name].names[0] if name in known else missing
                    rows.append(dependency_row(src, dst, "call", "connect-upstream"))
        env = addresses(dict(group.unit.environment))
        rows += environment_rows(src, env, find)
    return distinct(rows)


# ---- what happened ----


def to_deployment(group: Group, cluster: str) -> list[Row]:
    """Return the deployment of the current version of a job."""
    started = _at(group.job.get("SubmitTime"))
    if not started or group.is_job:
        return []
    version = integer(group.job.get("Version"))
    place = "/".join([cluster, *group.key, str(version)])
    return [
        {
            "activity_id": place,
            "names": group.names,
            "kind": "deploy",
            "started_at": started,
            "to_version": group.unit.image_ref.tag,
        }
    ]


def to_healing(
    identifier: str,
    allocation: Row,
    group: Group,
    every: dict[tuple[str, ...], Row],
    cluster: str,
) -> list[Row]:
    """Return the failure of an allocation, and the start of the one that replaced it."""
    events = list(dicts(dig(allocation, "RescheduleTracker", "Events")))
    before = every.get((text(events[-1].get("PrevAllocID")),), {}) if events else {}
    down = _life(before, group)["finished_at"] or _at(before.get("ModifyTime"))
    up, created = (
        _life(allocation, group)["started_at"],
        _at(allocation.get("CreateTime")),
    )
    if not before or not down or not created:
        return []
    shared: Row = {"names": group.names, "cause": "health"}
    lost = shared | {
        "activity_id": f"{cluster}/{identifier}/terminate",
        "kind": "terminate",
        "started_at": down,
        "status": text(before.get("ClientStatus")),
    }
    heir = shared | {
        "activity_id": f"{cluster}/{identifier}/launch",
        "kind": "launch",
        "started_at": max(created, down),
        "ended_at": up,
    }
    return [lost, heir] if up else [lost]
