"""Nomad: jobs, nodes and allocations of one cluster, from its API or from dumps of it."""

import re
from collections.abc import Hashable, Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote

from assess import frames
from assess.inventory import BESIDE, ENDED
from assess.linear import Linear
from assess.sources.base import Asked, Batch, Name, Row, Rows
from assess.sources.csv_records import vocabulary
from assess.sources.docker.engine import to_os
from assess.sources.dumps import DumpError
from assess.sources.edges import declared_call, distinct
from assess.sources.edges.address import Callee, Siblings
from assess.sources.http import Web
from assess.sources.listing import (
    Found,
    Listing,
    ListSource,
    Pages,
    Sorted,
    complete,
    host_ids,
    lose,
)
from assess.sources.nomad.groups import Group, GroupKey
from assess.sources.replica import Replicas, declared_rows, replica_rows
from assess.sources.routing import routed_calls
from assess.sources.unit import service_row
from assess.sources.values import (
    Texts,
    Words,
    billionths,
    by_name,
    dicts,
    dig,
    integer,
    moment,
    number,
    picked,
    spoiled,
    table,
    text,
    without_none,
)

_KINDS = vocabulary("nomad", "drivers")
_ENGINES = ("docker", "podman")
_STATES = vocabulary("nomad", "states")
# A lookup in a template: {{ range service "tag.db@dc1" }}, {{ nomadService 1 $id "db" }}.
_LOOKUP = Linear(
    r"""\b(?:service|nomadService|connect)\s+(?:\d+\s+\S+\s+)?["`]([\w.@-]+)"""
)
_RUN = re.compile(r"/(periodic|dispatch)-.*$")  # of a job that starts again and again
_AWS = "platform.aws."

ById = dict[Words, Row]
_DETAILS = {"jobs": ("job", "v1/job/"), "nodes": ("node", "v1/node/")}
_PARAMS = {
    "v1/jobs": {"namespace": "*", "meta": "true"},
    "v1/nodes": {"resources": "true", "os": "true"},
    "v1/allocations": {"namespace": "*", "task_states": "true"},
}


def to_batch(lists: Found, cluster: str) -> Batch:
    """Turn the lists of one cluster into rows of all frames."""
    batch = Batch()
    nodes = {key: node for (key,), node in _by_id(lists, "nodes", "ID").items()}
    names = ((key, text(node, "Name")) for key, node in nodes.items())
    hosts = host_ids(names, cluster)
    for key, node in nodes.items():
        hosts[key] = attribute(node, f"unique.{_AWS}instance-id") or hosts[key]
        batch.add("hosts", to_host(node, hosts[key]))
        batch.add("engines", *to_engines(node, hosts[key]))
    jobs = _by_id(lists, "jobs", "Namespace", "ID")
    groups = _groups(jobs, lists)
    allocations = _by_id(lists, "allocations", "ID")
    placed: set[GroupKey] = set()
    for (identifier,), allocation in allocations.items():
        place = _group_of(allocation, jobs)
        placed.add(place)
        group = groups[place]
        key = f"{cluster}/{identifier}"
        replica = {"workload_id": key, "cluster": cluster}
        workloads, mounts = to_workloads(allocation, group, replica, hosts)
        reserve(workloads, group, clock_of(nodes.get(text(allocation, "NodeID"), {})))
        batch.place(workloads, mounts)
        batch.add("activities", *to_healing(key, allocation, group, allocations))
    for place, group in groups.items():
        is_wanted = group.is_known and group.job.get("Stop") is not True
        if place not in placed and is_wanted:
            batch.place(*to_declared(group, cluster))
    named = [group for group in groups.values() if group.names]
    units = [group.unit for group in named]
    complete(batch, cluster, units, [*map(to_service, named)], to_dependencies(named))
    for group in named:
        batch.add("activities", *to_deployment(group, cluster))
    return batch


def _by_id(lists: Found, kind: str, *names: str) -> ById:
    """Index entries by id; their details complete what the list says."""
    entries: ById = {}
    for item in lists.get(kind, ()):
        key = tuple(text(item, name) for name in names)
        if key[-1]:
            entries[key] = entries.get(key, {}) | without_none(item)
    return entries


def _groups(jobs: ById, lists: Found) -> dict[GroupKey, Group]:
    """Index the task groups of all jobs; runs of a periodic job belong to the job that starts them."""
    groups: dict[GroupKey, Group] = {}
    shortest_first = sorted(jobs.items(), key=lambda pair: len(pair[0][1]))
    for (namespace, job_id), job in shortest_first:
        declared = by_name(job, "TaskGroups", key="Name")
        if not declared:
            declared = {name: {} for name in table(job, "JobSummary", "Summary")}
        for name, group in declared.items():
            key = (namespace, _parent(job, job_id), name)
            if key not in groups or not groups[key].is_known:
                groups[key] = Group(job, group, key, is_alone=len(declared) == 1)
    for allocation in lists.get("allocations", ()):  # of jobs that nobody may read
        key = _group_of(allocation, jobs)
        if key not in groups:
            job = {"Type": allocation.get("JobType")}
            groups[key] = Group(job, {}, key, is_alone=key[1] == key[2])
    return groups


def _group_of(allocation: Row, jobs: ById) -> GroupKey:
    namespace = text(allocation, "Namespace")
    job_id = text(allocation, "JobID")
    parent = _parent(jobs.get((namespace, job_id), {}), job_id)
    return namespace, parent, text(allocation, "TaskGroup")


def _parent(job: Row, job_id: str) -> str:
    return text(job, "ParentID") or _RUN.sub("", job_id)


def attribute(node: Row, name: str) -> str:
    """Return what a client detected about its node; empty where it did not."""
    return text(node, "Attributes", name)


def to_host(node: Row, host_id: str) -> Row:
    """Return the row of the hosts frame."""
    system = attribute(node, "os.name")
    os_name, os_version = to_os(f"{system} {attribute(node, 'os.version')}")
    zone = attribute(node, f"{_AWS}placement.availability-zone")
    cgroup = text(picked(node, "nomad control groups"), "version")
    return frames.row(
        "hosts",
        host_id=host_id,
        provider="aws" if zone else None,
        region=zone[:-1] or None,
        **picked(node, "nomad node"),
        os_name=os_name if system else None,
        os_version=os_version if system else None,
        cgroup_version=cgroup.removeprefix("v") or None,
    )


def to_engines(node: Row, host_id: str) -> Iterator[Row]:
    """Return the rows of the engines frame, from the drivers of the node."""
    drivers = table(node, "Drivers")
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
            version=text(drivers, name, "Attributes", key) or version or None,
            reachable=is_well if isinstance(is_well, bool) else None,
        )
    if "docker" in drivers and not detected_n:
        yield {"host_id": host_id, "runtime": "none"}


def to_workloads(allocation: Row, group: Group, replica: Row, hosts: Texts) -> Replicas:
    """Return the rows of an allocation and of the mounts of its tasks."""
    life = _life(allocation, group)
    replica |= {
        "names": group.names,
        "host_id": hosts.get(text(allocation, "NodeID")),
        "namespace": group.key[0] or None,
        "state": life.pop("state"),
        "inspect_status": "ok" if group.is_known else "list",
    }
    own = life | {"name": text(allocation, "Name") or None}
    if not group.is_known:
        return [replica | own], []
    workloads, mounts = replica_rows(group.unit, replica, own)
    states = table(allocation, "TaskStates")
    for row, task in _with_tasks(workloads, group):
        is_over = text(states, text(task, "Name"), "State") == "dead"
        if is_over and row["state"] == "running":  # the others of its allocation do
            row["state"] = "exited"
    return _with_kinds(workloads, group), mounts


def clock_of(node: Row) -> float | None:
    """Return how many of the shares that jobs ask for are one core of a node [MHz]."""
    cpu = table(node, "NodeResources", "Cpu")
    pairs = (
        (cpu.get("CpuShares"), cpu.get("TotalCpuCores")),
        (attribute(node, "cpu.totalcompute"), attribute(node, "cpu.numcores")),
        (attribute(node, "cpu.frequency"), 1),
    )
    for shares, cores in pairs:
        whole = number(shares)
        parts = number(cores)
        if whole and parts:
            return whole / parts
    return None


def _with_tasks(workloads: Rows, group: Group) -> Iterator[tuple[Row, Row]]:
    """Yield each row with the task that it is of."""
    tasks = by_name(group.tasks, key="Name")
    for row in workloads:
        is_beside = row.get("container_role") in BESIDE
        yield row, tasks.get(row["name"], {}) if is_beside else group.task


def reserve(workloads: Rows, group: Group, clock: float | None) -> None:
    """Add the cores that tasks reserve by shares, where the clock of their node is known."""
    for row, task in _with_tasks(workloads, group):
        shares = number(task, "Resources", "CPU")
        if clock and shares and row.get("cpu_request") is None:
            row["cpu_request"] = round(shares / clock, 4)


def to_declared(group: Group, cluster: str) -> Replicas:
    """Return the rows of a group that a job declares and that has no known allocation."""
    namespace, job, name = group.key
    place = {"cluster": cluster, "namespace": namespace or None, "name": f"{job}.{name}"}
    key = "/".join(filter(None, (cluster, *group.key)))
    count = number(group.group, "Count")
    workloads, mounts = declared_rows(group.unit, key, count, place)
    return _with_kinds(workloads, group), mounts


def _with_kinds(workloads: Rows, group: Group) -> Rows:
    """Add what each task is: a container, a process or a virtual machine."""
    for row, task in _with_tasks(workloads, group):
        row["source_kind"] = _KINDS.get(text(task, "Driver"), "allocation")
    return workloads


def _life(allocation: Row, group: Group) -> Row:
    """Return state, ends and times of the main task where it is known, else of any."""
    states = table(allocation, "TaskStates")
    any_state = table([*states.values()], 0)
    main = table(states, text(group.task, "Name")) or any_state
    ends = [e for e in dicts(main, "Events") if text(e, "Type") == "Terminated"]
    last = ends[-1] if ends else {}
    code = integer(table(last, "Details").get("exit_code", last.get("ExitCode")))
    is_killed = any(text(e, "Details", "oom_killed") == "true" for e in ends)
    state = _STATES.get(text(allocation, "ClientStatus"))
    return {
        "state": state,
        "exit_code": code if state in ENDED else None,
        "oom_killed": True if is_killed else None,  # only the last events are kept
        "created_at": _at(allocation.get("CreateTime")),
        **picked(main, "nomad task state"),
    }


def _at(nanoseconds: Any) -> datetime | None:
    return moment(billionths(nanoseconds))


def to_service(group: Group) -> Row:
    """Return the row of the services frame."""
    row = service_row(group.unit)
    if group.templates or not group.is_known:  # which may hold secrets, or bring them
        row["secrets_in_image"] = row["secrets_in_image"] or None
    row["public"] = True if group.unit.proxies else None
    return row


def to_dependencies(groups: list[Group]) -> Rows:
    """Return upstreams of Connect, and services that templates and the environment name."""
    known = {text(s, "Name"): group for group in groups for s in group.services}
    siblings = Siblings()
    for name, group in known.items():
        siblings.add(group.unit.callee, name)
    for group in groups:
        # names that a network of containers, or a task of its own, gives it
        paths = [("Name",), ("Config", "hostname")]
        hosts = [text(task, *path) for path in paths for task in group.tasks]
        siblings.add(group.unit.callee, group.key[2], *hosts, is_alias=True)
    rows = []
    for group in groups:
        src = group.names[0]
        for name, evidence in (*_upstreams(group), *_templates(group)):
            callee = siblings.find(name) or Callee(Name(name, "nomad-service", 0.8))
            rows.append(declared_call(src, callee, evidence, address_basis="config"))
        rows += group.unit.needs(siblings)
    units = [group.unit for group in groups]
    return distinct([*rows, *routed_calls(units, "nomad-tags")])


def _upstreams(group: Group) -> Iterator[tuple[str, str]]:
    for service in group.services:
        proxy = dig(service, "Connect", "SidecarService", "Proxy")
        for upstream in dicts(proxy, "Upstreams"):
            if name := text(upstream, "DestinationName"):
                yield name, "connect-upstream"


def _templates(group: Group) -> Iterator[tuple[str, str]]:
    for template in group.templates:
        for found in _LOOKUP.findall(text(template, "EmbeddedTmpl")):
            name, _, _ = found.partition("@")  # a data centre follows
            yield name.rpartition(".")[2], "nomad-template"  # a tag precedes


def to_deployment(group: Group, cluster: str) -> Iterator[Row]:
    """Return the deployment of the current version of a job."""
    started = _at(group.job.get("SubmitTime"))
    if started and not group.is_job:
        version = integer(group.job, "Version")
        yield {
            "activity_id": "/".join([cluster, *group.key, str(version)]),
            "names": group.names,
            "kind": "deploy",
            "started_at": started,
            "to_version": group.unit.image_ref.tag,
        }


def to_healing(key: str, allocation: Row, group: Group, every: ById) -> Iterator[Row]:
    """Return the failure of an allocation, and the start of the one that replaced it."""
    events = dicts(allocation, "RescheduleTracker", "Events")
    before = every.get((text(events, -1, "PrevAllocID"),), {})
    down = _life(before, group)["finished_at"] or _at(before.get("ModifyTime"))
    life = _life(allocation, group)
    if not before or not down or not life["created_at"]:
        return
    shared: Row = {"names": group.names, "cause": "health"}
    yield shared | {
        "activity_id": f"{key}/terminate",
        "kind": "terminate",
        "started_at": down,
        "status": text(before, "ClientStatus"),
    }
    if life["started_at"]:
        yield shared | {
            "activity_id": f"{key}/launch",
            "kind": "launch",
            "started_at": max(life["created_at"], down),
            "ended_at": life["started_at"],
        }


class NomadSource(ListSource):
    """One Nomad cluster per ``[[source]]``."""

    type = "nomad"
    token = "X-Nomad-Token: {}"
    renders = dict.fromkeys((".hcl", ".nomad"), "nomad job run -output FILE > job.json")
    lists = tuple(Listing(path.removeprefix("v1/"), (path,)) for path in _PARAMS)
    page = 200
    to_batch = staticmethod(to_batch)

    def sort(self, document: Any) -> Sorted:
        """Sort jobs, nodes and allocations by their keys."""
        inside = document.get("Job")
        if "ClientStatus" in document and "JobID" in document:
            yield "allocations", [document]
        elif isinstance(inside, dict):  # of `nomad job inspect`
            yield "jobs", [inside]
        elif "SchedulingEligibility" in document or "NodeResources" in document:
            yield "nodes", [document]
        elif "TaskGroups" in document or "JobSummary" in document:
            yield "jobs", [document]

    def key(self, kind: str, item: Row) -> Hashable:
        """Identify an entry; one of a list and its details are two."""
        is_whole = "TaskGroups" in item or "Attributes" in item
        identifier = text(item, "ID") or id(item)
        return kind, is_whole, text(item, "Namespace"), identifier

    def get_pages(self, web: Web, path: str, row: Row, size: int) -> Pages:
        """Ask for a list, page by page."""
        params = {**_PARAMS[path], "per_page": str(size)}
        seen = {""}
        while True:
            answer = web.get(path, params=params)
            items = answer.json()
            if not isinstance(items, list):
                raise DumpError("this is no list of Nomad: check the endpoint")
            yield items
            following = answer.headers.get("X-Nomad-NextToken") or ""
            if following in seen:
                return
            seen.add(following)
            params["next_token"] = following

    def get_details(self, web: Web, lists: Found, asked: Asked) -> None:
        """Request every job and node: the lists lack their groups, attributes and drivers."""
        causes = {row["call"]: row for row in asked.batch.coverage}
        for kind, (call, path) in () if asked.is_probe else _DETAILS.items():
            if kind not in lists:
                asked.batch.call(web.scope, call).skip(causes[kind])
                continue
            # An id of dots alone would lead to another path, however it is quoted.
            stubs = [item for item in lists[kind] if text(item, "ID").strip(".")]
            answers = []
            with asked.batch.call(web.scope, call, client=web) as details:
                details.note(expected=len(stubs))
                for stub in stubs:
                    params = {"namespace": text(stub, "Namespace") or None}
                    place = path + quote(text(stub, "ID"), safe="")
                    try:
                        answers.append(web.json(place, params=params))
                    except Exception as error:
                        if details.fail(error) in ("timeout", "unreachable"):
                            break
                entries = details.take([a for a in dicts(answers) if text(a, "ID")])
                lose(details, spoiled({call: entries}, self.forms))
                if len(entries) < len(answers):
                    details.count(unmapped_n=len(answers) - len(entries))
            lists[kind] = lists[kind] + entries
