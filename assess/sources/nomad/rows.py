"""From the lists of one Nomad cluster to rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from assess.image_ref import last_part, parse_image
from assess.sources.addresses import addresses, kind_of
from assess.sources.base import Batch, Name, Row
from assess.sources.docker.mounts import to_mounts
from assess.sources.docker.payload import moment, texts
from assess.sources.dumps import dicts, dig
from assess.sources.listing import (
    Found,
    healthy,
    host_ids,
    integer,
    names_of,
    number,
    percent,
    share_live,
    table,
    text,
)
from assess.sources.nomad.nodes import AWS, attribute, to_engines, to_host
from assess.sources.redact import keep_env
from assess.sources.unit import LOG_SHIPPERS, keeps_data, merge_services

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
_RUN = re.compile(
    r"/(periodic|dispatch)-.*$"
)  # of a job that its parent starts again and again
_SECOND = 1e9  # [ns]

GroupKey = tuple[str, str, str]  # namespace, job, group


class Group:
    """One task group of a job: what is placed together, and scales together."""

    def __init__(self, job: Row, group: Row, key: GroupKey, *, is_alone: bool) -> None:
        self.job, self.group, self.key = job, group, key
        tasks = list(dicts(group.get("Tasks")))
        own = [
            t
            for t in tasks
            if not t.get("Lifecycle") and "connect-" not in text(t.get("Kind"))
        ]
        leaders = [task for task in own if task.get("Leader") is True]
        self.task: Row = next(iter(leaders or own or tasks), {})
        self.config = table(self.task.get("Config"))
        self.kind = _DRIVERS.get(text(self.task.get("Driver")), "allocation")
        values = table(self.task.get("Env"))
        self.values = {
            name: value for name, value in values.items() if isinstance(value, str)
        }
        self.env = keep_env(self.values)
        self.services = [*dicts(group.get("Services")), *dicts(self.task.get("Services"))]
        self.image = text(self.config.get("image"))
        self.names = self._names(is_alone=is_alone)

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
        told = next((m["assess.service"] for m in metas if m.get("assess.service")), None)
        own = (
            (job, "nomad-job", 0.95)
            if is_alone
            else (f"{job}-{group}", "nomad-group", 0.95)
        )
        served = [text(s.get("Name")) for s in self.services]
        naming = self.env["naming"]
        return names_of(
            (told, "label", 1.0),
            own,
            *((name, "nomad-service", 0.8) for name in served if "$" not in name),
            *(
                (naming.get(n), "telemetry-env", 0.8)
                for n in ("OTEL_SERVICE_NAME", "DD_SERVICE")
            ),
            (last_part(parse_image(self.image).repository), "image-repository", 0.6),
            namespace=namespace,
        )


def to_batch(found: Found, cluster: str) -> Batch:
    """Turn the lists of one cluster into rows of all frames that they tell of."""
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
        batch.add("mounts", *_mounts(group, workload))
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
    """Entries by id; what the details say adds to what the list said."""
    found: dict[tuple[str, ...], Row] = {}
    for item in items:
        key = tuple(text(item.get(name)) for name in names)
        if key[-1]:
            found[key] = found.get(key, {}) | {
                k: v for k, v in item.items() if v is not None
            }
    return found


def _groups(jobs: dict[tuple[str, ...], Row], found: Found) -> dict[GroupKey, Group]:
    """Task groups of all jobs; runs of a periodic job are those of the job that starts them."""
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


# -- what runs -----------------------------------------------------------------------------------


def to_workload(
    identifier: str, allocation: Row, group: Group, hosts: dict[str, str], cluster: str
) -> Row:
    """Give the row of an allocation."""
    limits, config, is_container = (
        group.task.get("Resources"),
        group.config,
        group.image != "",
    )
    memory = integer(dig(limits, "MemoryMaxMB")) or integer(dig(limits, "MemoryMB"))
    user, pids = text(group.task.get("User")), integer(config.get("pids_limit"))
    row: Row = {
        "workload_id": f"{cluster}/{identifier}",
        "names": group.names,
        "host_id": hosts.get(text(allocation.get("NodeID"))),
        "cluster": cluster,
        "namespace": group.key[0] or None,
        "name": text(allocation.get("Name")) or None,
        "source_kind": group.kind if group.is_known else None,
        "image_ref": group.image or None,
        **parse_image(group.image).columns(),
        **_life(allocation, group),
        "inspect_status": "ok" if group.is_known else "list",
    }
    if group.is_known:
        grace = number(group.task.get("KillTimeout"))
        row |= {
            "restart_policy": _restarts(group),
            "user_root": user.partition(":")[0] in ("0", "root") if user else None,
            "memory_limit_bytes": memory * 2**20 if memory else None,
            "memory_unlimited": False if memory and is_container else None,
            "cpu_limit": number(dig(limits, "Cores")) or None,
            "pids_limit": pids or None,
            "log_driver": _log_driver(group),
            "stop_timeout_s": None if grace is None else grace / _SECOND,
            "ports": ";".join(sorted({*_ports(group)})) or None,
            "env_names_n": len(group.env["names"]),
            "secret_like_env_n": group.env["secret_like"],
        }
    if is_container:
        added = config.get("cap_add")
        row |= {
            "privileged": config.get("privileged") is True,
            "host_network": config.get("network_mode") == "host",
            "host_pid": config.get("pid_mode") == "host",
            "readonly_root": config.get("readonly_rootfs") is True,
            "caps_added_n": len(texts(added)),
            "docker_sock_mounted": any(
                str(p["Source"]).endswith(".sock") for p in _sources(group)
            ),
        }
    return row


def _life(allocation: Row, group: Group) -> Row:
    """State, ends and times; of the main task where it is known, else of any."""
    states = table(allocation.get("TaskStates"))
    own = table(
        states.get(text(group.task.get("Name"))) or next(iter(states.values()), None)
    )
    ends = [e for e in dicts(own.get("Events")) if text(e.get("Type")) == "Terminated"]
    last = ends[-1] if ends else {}
    code = integer(table(last.get("Details")).get("exit_code", last.get("ExitCode")))
    killed = [text(table(e.get("Details")).get("oom_killed")) for e in ends]
    state = _STATES.get(text(allocation.get("ClientStatus")))
    return {
        "state": state,
        "exit_code": code if state in ("exited", "dead") else None,
        "oom_killed": True if "true" in killed else None,  # only the last events are kept
        "restarts_n": integer(own.get("Restarts")),
        "created_at": _at(allocation.get("CreateTime")),
        "started_at": moment(own.get("StartedAt")),
        "finished_at": moment(own.get("FinishedAt")),
    }


def _at(nanoseconds: Any) -> Any:
    found = number(nanoseconds)
    return moment(found / _SECOND) if found else None


def _restarts(group: Group) -> str | None:
    policy = table(group.group.get("RestartPolicy"))
    if not policy:
        return None
    return (
        "always"
        if policy.get("Mode") == "delay"
        else "on-failure"
        if policy.get("Attempts")
        else "no"
    )


def _log_driver(group: Group) -> str | None:
    logging = group.config.get("logging")
    own = table(next(dicts(logging), None) if isinstance(logging, list) else logging)
    return text(own.get("type")) or text(own.get("driver")) or None


def _ports(group: Group) -> Iterator[str]:
    networks = [*dicts(group.group.get("Networks"))]
    networks += dicts(dig(group.task, "Resources", "Networks"))
    for network in networks:
        for port in (
            *dicts(network.get("ReservedPorts")),
            *dicts(network.get("DynamicPorts")),
        ):
            inner, outer = integer(port.get("To")), integer(port.get("Value"))
            if inner or outer:
                yield f"{outer}->{inner or outer}/tcp" if outer else f"{inner}/tcp"


def _sources(group: Group) -> Iterator[Row]:
    """Mounts in the words of an engine; those of the allocation's own directory are marked."""
    for entry in texts(group.config.get("volumes")):
        source, _, rest = entry.partition(":")
        target, _, mode = rest.partition(":")
        if target:
            is_path, is_own = "/" in source, not source.startswith("/")
            yield {
                "Type": "bind" if is_path else "volume",
                "Name": None if is_path else source,
                "Source": source,
                "Destination": target,
                "RW": "ro" not in mode.split(","),
                "own": is_path and is_own,
            }
    for part in ("mounts", "mount"):
        for mount in dicts(group.config.get(part)):
            kind, source = text(mount.get("type")) or "volume", text(mount.get("source"))
            yield {
                "Type": kind,
                "Name": source if kind == "volume" else None,
                "Source": source,
                "Destination": text(mount.get("target")),
                "RW": mount.get("readonly") is not True,
                "own": kind == "bind" and not source.startswith("/"),
            }
    volumes = table(group.group.get("Volumes"))
    for mount in dicts(group.task.get("VolumeMounts")):
        volume = table(volumes.get(text(mount.get("Volume"))))
        is_fixed = mount.get("ReadOnly") is True or volume.get("ReadOnly") is True
        yield {
            "Type": "volume",
            "Name": text(volume.get("Source")) or text(mount.get("Volume")),
            "Source": "",
            "Driver": text(volume.get("Type")) or None,
            "Destination": text(mount.get("Destination")),
            "RW": not is_fixed,
        }


def _mounts(group: Group, workload: Row) -> list[Row]:
    """Give rows of the mounts frame."""
    sources = list(_sources(group))
    own = {source["Destination"] for source in sources if source.get("own")}
    rows = to_mounts(workload.get("workload_id", ""), sources)
    for row in rows:
        if row["destination"] in own:  # goes with the allocation
            row |= {"source_class": "alloc-dir", "data_like": False, "_source": ""}
        elif row["_source"] and row["driver"] != "csi":  # one on every node
            row["_source"] += f"@{workload.get('host_id')}"
    return rows


def to_service(group: Group) -> Row:
    """Say what a group tells of its service; what it cannot tell is left unknown."""
    mounts, ports = _mounts(group, {}), ";".join(sorted({*_ports(group)})) or None
    is_checked = any(service.get("Checks") for service in group.services)
    templates, driver = group.task.get("Templates"), _log_driver(group)
    has_secrets = group.env["secret_like"] > 0
    return {
        "names": group.names,
        "platform": "nomad",
        "kind": "job" if group.is_job else "web" if ports else "worker",
        "stateful": keeps_data(mounts, parse_image(group.image).repository, ports),
        "min_healthy_pct": min_healthy(group),
        "health_checked": is_checked
        or (None if group.is_job or not group.is_known else False),
        "logs_exported": True if driver in LOG_SHIPPERS else None,
        "config_external": True if templates or group.values else None,
        "secrets_in_image": has_secrets
        or (None if templates or not group.is_known else False),
    }


def min_healthy(group: Group) -> float | None:
    """Give the share that an update leaves running; None where none is declared."""
    update = table(group.group.get("Update") or group.job.get("Update"))
    count, parallel = number(group.group.get("Count")), number(update.get("MaxParallel"))
    if group.is_job or not update or parallel is None:
        return None
    return healthy(percent(parallel or count, count))  # 0 is all at once


def to_dependencies(groups: list[Group]) -> list[Row]:
    """Read whom groups call: upstreams of Connect, and Consul's names in their environment."""
    known = {text(s.get("Name")): group for group in groups for s in group.services}
    rows: dict[tuple[Any, ...], Row] = {}
    for group in groups:
        needs: list[tuple[str, str, str]] = []
        for service in group.services:
            proxy = dig(service, "Connect", "SidecarService", "Proxy")
            needs += [
                (text(u.get("DestinationName")), "call", "connect-upstream")
                for u in dicts(dig(proxy, "Upstreams"))
            ]
        for variable, address in addresses(group.values):
            name, _, rest = address.host.partition(".service.")
            called = known.get(name) if rest.endswith("consul") else None
            image = last_part(parse_image(called.image).repository) if called else ""
            needs.append(
                (name if called else "", kind_of(address, image, variable), "environment")
            )
        for name, kind, evidence in needs:
            called = known.get(name)
            if name and called is not group:
                missing = Name(name, "nomad-service", 0.8)
                dst = called.names[0] if called else missing
                row = {
                    "src": group.names[0],
                    "dst": dst,
                    "kind": kind,
                    "evidence": evidence,
                }
                rows.setdefault(tuple(row.values()), row)
    return list(rows.values())


# -- what happened -------------------------------------------------------------------------------


def to_deployment(group: Group, cluster: str) -> list[Row]:
    """Give when the version of a job that is in force was submitted."""
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
            "to_version": parse_image(group.image).tag,
        }
    ]


def to_healing(
    identifier: str,
    allocation: Row,
    group: Group,
    every: dict[tuple[str, ...], Row],
    cluster: str,
) -> list[Row]:
    """Give the failure that an allocation made good, and when it did."""
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
