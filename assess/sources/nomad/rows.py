"""From the lists of one Nomad cluster to rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from assess import frames
from assess.sources.addresses import Address
from assess.sources.base import Batch, Name, Row
from assess.sources.docker.engine import to_os
from assess.sources.listing import Found, host_ids, names_of, share_live
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

_PROCESS_DRIVERS = ("exec", "raw_exec", "java", "exec2")
_ENGINES = ("docker", "podman")
_STATES = {
    "running": "running",
    "pending": "created",
    "complete": "exited",
    "failed": "exited",
    "lost": "dead",
}
_RUN = re.compile(r"/(periodic|dispatch)-.*$")  # of a job that starts again and again
_SECOND = 1e9  # [ns]
_MB = 2**20
_AWS = "platform.aws."

GroupKey = tuple[str, str, str]  # namespace, job, group
ById = dict[tuple[str, ...], Row]


class Group:
    """One task group of a job: what is placed together, and scales together."""

    def __init__(self, job: Row, group: Row, key: GroupKey, *, is_alone: bool) -> None:
        self.job = job
        self.group = group
        self.key = key
        self.task = _main_task(group)
        self.config = table(self.task.get("Config"))
        self.services = dicts(group.get("Services")) + dicts(self.task.get("Services"))
        self.templates = self.task.get("Templates")
        self.is_known = bool(self.task)  # whether its declaration was read
        self.is_job = text(job.get("Type")) in ("batch", "sysbatch")  # ends by itself
        unit = _to_unit(self)
        self.names = self._names(unit, is_alone=is_alone)
        self.unit = replace(unit, names=self.names)

    def _names(self, unit: Unit, *, is_alone: bool) -> tuple[Name, ...]:
        namespace, job, group = self.key
        metas = [table(part.get("Meta")) for part in (self.task, self.group, self.job)]
        labels = [m["assess.service"] for m in metas if m.get("assess.service")]
        name = (job, "nomad-job", 0.95)
        if not is_alone:
            name = (f"{job}-{group}", "nomad-group", 0.95)
        # A name with a variable is another one in every allocation.
        services = [text(s.get("Name")) for s in self.services]
        return names_of(
            *((label, "label", 1.0) for label in labels[:1]),
            name,
            *((name, "nomad-service", 0.8) for name in services if "$" not in name),
            *unit.inner_names,
            namespace=namespace,
        )


def _main_task(group: Row) -> Row:
    """Return the task that does the work: the leader, else the first that is no sidecar."""
    tasks = dicts(group.get("Tasks"))
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
    nodes = {key: node for (key,), node in _by_id(found, "nodes", "ID").items()}
    hosts = host_ids(((key, text(n.get("Name"))) for key, n in nodes.items()), cluster)
    for key, node in nodes.items():
        hosts[key] = attribute(node, f"unique.{_AWS}instance-id") or hosts[key]
        batch.add("hosts", to_host(node, hosts[key]))
        batch.add("engines", *to_engines(node, hosts[key]))
    jobs = _by_id(found, "jobs", "Namespace", "ID")
    groups = _groups(jobs, found)
    allocations = _by_id(found, "allocations", "ID")
    for (identifier,), allocation in allocations.items():
        group = groups[_group_of(allocation, jobs)]
        key = f"{cluster}/{identifier}"
        workload = to_workload(allocation, group, hosts)
        workload |= {"workload_id": key, "cluster": cluster}
        batch.add("workloads", workload)
        batch.add("mounts", *mount_rows(group.unit.mounts, key, workload["host_id"]))
        batch.add("activities", *to_healing(key, allocation, group, allocations))
    share_live(batch)
    named = [group for group in groups.values() if group.names]
    batch.add("services", *merge_services([to_service(group) for group in named]))
    batch.add("dependencies", *to_dependencies(named))
    for group in named:
        batch.add("activities", *to_deployment(group, cluster))
    return batch


def _by_id(found: Found, kind: str, *names: str) -> ById:
    """Index entries by id; their details complete what the list says."""
    entries: ById = {}
    for item in found.get(kind, ()):
        key = tuple(text(item.get(name)) for name in names)
        if key[-1]:
            known = {name: value for name, value in item.items() if value is not None}
            entries[key] = entries.get(key, {}) | known
    return entries


def _groups(jobs: ById, found: Found) -> dict[GroupKey, Group]:
    """Index the task groups of all jobs; runs of a periodic job belong to the job that starts them."""
    groups: dict[GroupKey, Group] = {}
    for (namespace, job_id), job in sorted(
        jobs.items(), key=lambda pair: len(pair[0][1])
    ):
        declared = {text(g.get("Name")): g for g in dicts(job.get("TaskGroups"))}
        if not declared:
            declared = {name: {} for name in table(dig(job, "JobSummary", "Summary"))}
        for name, group in declared.items():
            key = (namespace, _parent(job, job_id), name)
            if key not in groups or not groups[key].is_known:
                groups[key] = Group(job, group, key, is_alone=len(declared) == 1)
    for allocation in found.get("allocations", ()):  # of jobs that nobody may read
        key = _group_of(allocation, jobs)
        if key not in groups:
            job = {"Type": allocation.get("JobType")}
            groups[key] = Group(job, {}, key, is_alone=key[1] == key[2])
    return groups


def _group_of(allocation: Row, jobs: ById) -> GroupKey:
    namespace = text(allocation.get("Namespace"))
    job_id = text(allocation.get("JobID"))
    parent = _parent(jobs.get((namespace, job_id), {}), job_id)
    return namespace, parent, text(allocation.get("TaskGroup"))


def _parent(job: Row, job_id: str) -> str:
    return text(job.get("ParentID")) or _RUN.sub("", job_id)


# ---- nodes ----


def attribute(node: Row, name: str) -> str:
    """Return what a client detected about its node; empty where it did not."""
    return text(table(node.get("Attributes")).get(name))


def to_host(node: Row, host_id: str) -> Row:
    """Return the row of the hosts frame."""
    system = attribute(node, "os.name")
    os_name, os_version = to_os(f"{system} {attribute(node, 'os.version')}")
    status = text(node.get("Status"))
    zone = attribute(node, f"{_AWS}placement.availability-zone")
    memory = integer(attribute(node, "memory.totalbytes"))
    megabytes = integer(dig(node, "NodeResources", "Memory", "MemoryMB")) or 0
    cgroup = attribute(node, "unique.cgroup.version")
    cgroup = cgroup or attribute(node, "os.cgroups.version")  # since Nomad 1.7
    return frames.row(
        "hosts",
        host_id=host_id,
        hostname=attribute(node, "unique.hostname") or text(node.get("Name")) or None,
        provider="aws" if zone else None,
        region=zone[:-1] or None,
        az=zone or text(node.get("Datacenter")) or None,
        instance_type=attribute(node, f"{_AWS}instance-type") or None,
        os_name=os_name if system else None,
        os_version=os_version if system else None,
        kernel=attribute(node, "kernel.version") or None,
        arch=attribute(node, "cpu.arch") or None,
        vcpus=integer(attribute(node, "cpu.numcores")),
        memory_bytes=memory or megabytes * _MB or None,
        cgroup_version=cgroup.removeprefix("v") or None,
        state="running" if status == "ready" else status or None,
    )


def to_engines(node: Row, host_id: str) -> Iterator[Row]:
    """Return the rows of the engines frame, from the drivers of the node."""
    drivers = table(node.get("Drivers"))
    detected_n = 0
    for name in _ENGINES:
        key = f"driver.{name}.version"
        version = attribute(node, key)
        if not version and dig(drivers, name, "Detected") is not True:
            continue
        detected_n += 1
        is_well = dig(drivers, name, "Healthy")
        yield frames.row(
            "engines",
            host_id=host_id,
            runtime=name,
            version=text(dig(drivers, name, "Attributes", key)) or version or None,
            reachable=is_well if isinstance(is_well, bool) else None,
        )
    if "docker" in drivers and not detected_n:
        yield {"host_id": host_id, "runtime": "none"}


# ---- what runs ----


def to_workload(allocation: Row, group: Group, hosts: dict[str, str]) -> Row:
    """Return the row of an allocation, without its key."""
    row: Row = {
        "names": group.names,
        "host_id": hosts.get(text(allocation.get("NodeID"))),
        "namespace": group.key[0] or None,
        "name": text(allocation.get("Name")) or None,
        "inspect_status": "ok" if group.is_known else "list",
        **_life(allocation, group),
    }
    if not group.is_known:
        return row
    driver = text(group.task.get("Driver"))
    row["source_kind"] = "vm" if driver == "qemu" else "allocation"
    if driver in _PROCESS_DRIVERS:
        row["source_kind"] = "process"
    row |= workload_row(group.unit)
    if not group.unit.image:
        row["docker_sock_mounted"] = None  # a process sees all of its host
    return row


def _life(allocation: Row, group: Group) -> Row:
    """Return state, ends and times of the main task where it is known, else of any."""
    states = table(allocation.get("TaskStates"))
    main = states.get(text(group.task.get("Name"))) or next(iter(states.values()), None)
    main = table(main)
    ends = [e for e in dicts(main.get("Events")) if text(e.get("Type")) == "Terminated"]
    last = ends[-1] if ends else {}
    code = integer(table(last.get("Details")).get("exit_code", last.get("ExitCode")))
    is_killed = any(text(dig(e, "Details", "oom_killed")) == "true" for e in ends)
    state = _STATES.get(text(allocation.get("ClientStatus")))
    return {
        "state": state,
        "exit_code": code if state in ("exited", "dead") else None,
        "oom_killed": True if is_killed else None,  # only the last events are kept
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
    config = group.config
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
        image=text(config.get("image")),
        environment=values,
        ports=ports,
        user=text(task.get("User")),
        mounts=tuple(_mounts(group)),
        memory_limit_bytes=memory * _MB if memory else None,
        cpu_limit=number(dig(limits, "Cores")) or None,
        pids_limit=integer(config.get("pids_limit")) or None,
        restart_policy=_restarts(group),
        log_driver=_log_driver(config),
        stop_timeout_s=None if grace is None else grace / _SECOND,
        kind="job" if group.is_job else kind,
        min_healthy_pct=min_healthy(group),
        health_checked=is_checked or (None if is_open else False),
        config_external=True if group.templates or values else None,
    )
    if not unit.image:
        return unit
    return replace(  # by what only holds of a container
        unit,
        memory_unlimited=False if memory else None,
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


def _log_driver(config: Row) -> str | None:
    logging = config.get("logging")
    # HCL makes a list of the block.
    block = (
        next(iter(dicts(logging)), {}) if isinstance(logging, list) else table(logging)
    )
    return text(block.get("type")) or text(block.get("driver")) or None


def _ports(group: Group) -> Iterator[str]:
    networks = dicts(group.group.get("Networks"))
    for network in networks + dicts(dig(group.task, "Resources", "Networks")):
        reserved = dicts(network.get("ReservedPorts"))
        for port in reserved + dicts(network.get("DynamicPorts")):
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
    for entry in dicts(group.config.get("mounts")) + dicts(group.config.get("mount")):
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
        name = text(entry.get("Volume"))
        volume = table(volumes.get(name))
        is_fixed = entry.get("ReadOnly") is True or volume.get("ReadOnly") is True
        driver = text(volume.get("Type"))
        yield Mount(
            target=text(entry.get("Destination")),
            type="volume",
            volume=text(volume.get("Source")) or name or None,
            driver=driver or None,
            is_writable=not is_fixed,
            is_remote=driver == "csi",
        )


def _within_allocation(mount: Mount) -> Mount:
    """Mark a bind with a relative source: it is in the allocation's directory, and goes with it."""
    is_absolute = re.match(r"[/\\]|[A-Za-z]:", mount.source)
    if mount.type == "bind" and not is_absolute:
        return replace(mount, source_class="alloc-dir")
    return mount


def min_healthy(group: Group) -> float | None:
    """Return the share that an update leaves running [percent]."""
    update = table(group.group.get("Update") or group.job.get("Update"))
    count = number(group.group.get("Count"))
    parallel = number(update.get("MaxParallel"))
    if group.is_job or parallel is None:
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
        rows += environment_rows(src, group.unit.addresses, find)
    return distinct(rows)


# ---- what happened ----


def to_deployment(group: Group, cluster: str) -> Iterator[Row]:
    """Return the deployment of the current version of a job."""
    started = _at(group.job.get("SubmitTime"))
    if started and not group.is_job:
        version = integer(group.job.get("Version"))
        yield {
            "activity_id": "/".join([cluster, *group.key, str(version)]),
            "names": group.names,
            "kind": "deploy",
            "started_at": started,
            "to_version": group.unit.image_ref.tag,
        }


def to_healing(key: str, allocation: Row, group: Group, every: ById) -> Iterator[Row]:
    """Return the failure of an allocation, and the start of the one that replaced it."""
    events = dicts(dig(allocation, "RescheduleTracker", "Events"))
    before = every.get((text(events[-1].get("PrevAllocID")),), {}) if events else {}
    down = _life(before, group)["finished_at"] or _at(before.get("ModifyTime"))
    life = _life(allocation, group)
    if not before or not down or not life["created_at"]:
        return
    shared: Row = {"names": group.names, "cause": "health"}
    yield shared | {
        "activity_id": f"{key}/terminate",
        "kind": "terminate",
        "started_at": down,
        "status": text(before.get("ClientStatus")),
    }
    if life["started_at"]:
        yield shared | {
            "activity_id": f"{key}/launch",
            "kind": "launch",
            "started_at": max(life["created_at"], down),
            "ended_at": life["started_at"],
        }
