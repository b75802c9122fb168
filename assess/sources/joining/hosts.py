"""What several sources see is counted once: hosts that are one machine, and replicas.

A name joins hosts of different sources where no source has two hosts of that name, and nothing
else that is known of them contradicts. Services are never joined by the name of a host.

An orchestrator sees its task, an engine the container of the task. Counted twice, a replica would
make its service look twice as safe as it is.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

from assess import reference
from assess.frames import EXTERNAL
from assess.sources.base import Batch, Batches, Name, Names, Row, Rows, rows_of, type_of
from assess.sources.joining.identity import ENV_WORDS
from assess.sources.values import leaf, only, parts_of_cell, text, without_none

_Host = tuple[str, str]  # type of the source, and host_id
ENGINES = ("docker", "crictl", "podman")  # sources that list the containers of a host
ID_LENGTH = 12  # as the command line of Docker shows ids
KNOWN = 0.7  # confidence in the only service of a host [share]
_DECLARED = ("env", "command", "config")  # texts: traffic is joined where it was seen
_Services = dict[str, dict[Name, None]]  # by host or address
_Owners = dict[str, dict[_Host, None]]  # hosts by name
_COMPARED = ("arch", "cloud_id", "vcpus")
_LOCAL = re.compile(
    r"localhost\d?|localhost\.localdomain|ip6?-localhost|127(\.\d+){3}|::1|\(none\)"
)

_REGION = re.compile(
    r"(us|eu|ap|sa|ca|me|af|il)(e|w|n|s|c|ne|nw|se|sw)\d"  # use1
    r"|(us|eu|ap|sa|ca|me|af|il)-(north|south|east|west|central)+-\d[a-z]?"
)
_ADDRESS = re.compile(r"ip(-\d{1,3}){4}|\d{1,3}(\.\d{1,3}){3}")


def settle_hosts(batches: Batches) -> tuple[Batches, Rows]:
    """Return batches in which each machine has one id, and a coverage row if any were joined."""
    batches = tell_hosts_apart(batches)
    facts, owners = _known_hosts(batches)
    same = _same_machines(facts, owners)
    ids = {
        name: {same.get(host, host[1]) for host in hosts}
        for name, hosts in owners.items()
    }

    def settle(label: str, batch: Batch) -> Batch:
        def change(frame: str, row: Row) -> Row:
            host = row.get("host_id")
            if not host:
                return row
            host = same.get((type_of(label), host), host)
            if frame in ("incidents", "activities"):  # people write any name of a host
                known = ids.get(str(host).lower(), set())
                host = only(known) or host
            return row if host == row["host_id"] else row | {"host_id": host}

        return batch.map(change)

    settled = [(label, settle(label, batch)) for label, batch in batches]
    hint = "hosts are known by another name to another source, and were joined"
    return settled, _joined("hosts", len(same), hint)


def _joined(frame: str, count: int, hint: str) -> Rows:
    """Return the coverage row about joined rows; an empty list if none were joined."""
    note = {"source": "identity", "scope": frame, "call": "join", "status": "ok"}
    return [note | {"rows": count, "hint": f"{count} {hint}"}] if count else []


def tell_hosts_apart(batches: Batches) -> Batches:
    """Return batches in which different hosts of the same name get different names."""
    # Cloned machines and engines in one machine's network namespaces have the same name;
    # without this, all but one would be lost. Engines that share containers are one
    # engine, seen twice.
    engines: dict[str, dict[str, set[str]]] = defaultdict(dict)  # containers by source
    listing = [labelled for labelled in batches if type_of(labelled[0]) in ENGINES]
    for row in rows_of(listing, "engines", "workloads"):
        containers = engines[row["host_id"]].setdefault(row["source_ref"], set())
        if "workload_id" in row:
            containers.add(leaf(row, "workload_id"))
    doubled = {
        host
        for host, sources in engines.items()
        if any(not (one & other) for one, other in combinations(sources.values(), 2))
    }

    def rename(_: str, row: Row) -> Row:
        place, _, container = row.get("workload_id", "").rpartition("/")
        host = row.get("host_id") or place
        if host not in doubled:
            return row
        new = f"{host}@{row['source_ref'].partition('://')[2] or row['source_ref']}"
        changed = {"host_id": new} if "host_id" in row else {}
        if container:
            changed["workload_id"] = f"{new}/{container}"
        return row | changed

    return _map_engines(batches, rename) if doubled else batches


def _map_engines(batches: Batches, change: Callable[[str, Row], Row]) -> Batches:
    return [
        (label, batch.map(change) if type_of(label) in ENGINES else batch)
        for label, batch in batches
    ]


def is_local(name: str) -> bool:
    """Return whether a name means the local machine, such as ``localhost``."""
    return not name or _LOCAL.fullmatch(name.lower()) is not None


def service_of(hostname: str) -> str:
    """Return the service in a host name such as ``prod-checkout-api-03.example.com``."""
    # For example checkout-api; empty without one. ``redis6`` becomes ``redis``, which
    # may be another service than ``redis``: a name of a host never joins services.
    name = hostname.strip().lower()
    if is_local(name) or _ADDRESS.match(name):
        return ""
    name = _REGION.sub("", name.partition(".")[0])
    words = [word for word in re.split(r"[-_]+", name) if word and word not in ENV_WORDS]
    return re.sub(r"(?:[-_]|(?<!\d))\d+[a-z]?$", "", "-".join(words))


def spellings(row: Row) -> Iterator[str]:
    """Yield names of a host that may be unique to it: as written, then without the domain."""
    written = [row[column] for column in ("host_id", "hostname") if row.get(column)]
    names = [str(name).lower().rstrip(".") for name in written]
    yield from (name for name in names if not is_local(name))
    for name in names:
        first = name.partition(".")[0]
        is_address = re.fullmatch(r"\d{1,3}(\.\d{1,3}){3}", name) or ":" in name
        if first != name and not is_local(first) and not is_address:
            yield first


def _known_hosts(batches: Batches) -> tuple[dict[_Host, Row], _Owners]:
    facts: dict[_Host, Row] = defaultdict(dict)
    owners: _Owners = defaultdict(dict)
    for label, batch in batches:
        for row in batch.rows.get("hosts", ()):
            host = (type_of(label), row["host_id"])
            facts[host] |= without_none(row)
            if str(row["host_id"]).startswith("i-"):  # of EC2
                facts[host]["cloud_id"] = row["host_id"]
            for name in spellings(row):
                owners[name][host] = None
    return facts, owners


def _same_machines(facts: dict[_Host, Row], owners: _Owners) -> dict[_Host, str]:
    """Return the host_id that each host of another source takes on."""
    head: dict[_Host, _Host] = {}

    def root(host: _Host) -> _Host:
        while host in head:
            host = head[host]
        return host

    for hosts in owners.values():
        if len({kind for kind, _ in hosts}) < len(hosts):
            continue  # a source has two of that name
        for one, other in combinations(hosts, 2):
            here = root(one)
            there = root(other)
            if here == there or _contradict(facts[here], facts[there]):
                continue
            # the id of the cloud is unique, where a name may be reused
            if "cloud_id" in facts[there] and "cloud_id" not in facts[here]:
                here, there = there, here
            # joined facts, so that a third source is compared with both
            facts[here] = facts[there] | facts[here]
            head[there] = here
    ids = {host: root(host)[1] for host in head}
    return {host: host_id for host, host_id in ids.items() if host_id != host[1]}


def _contradict(one: Row, other: Row) -> bool:
    """Return whether two hosts differ in a fact that cannot change for one machine."""
    both = [column for column in _COMPARED if column in one and column in other]
    return any(_plain(one[column]) != _plain(other[column]) for column in both)


def _plain(value: object) -> str:
    text = str(value).lower().removesuffix(".0")
    return reference.arch_of(text) or text


def join_replicas(batches: Batches) -> tuple[Batches, Rows]:
    """Return batches in which containers have the workload_id of their task, and a coverage row."""
    # A container belongs to the task that lists its id (`Batch.container_ids`), whose own
    # id ends in it, or that its labels name (`Batch.tasks`). Its row keeps what only the
    # engine knows, and is merged into that of the task; so are the rows of the other
    # containers of a pod.
    tasks = _tasks(batches)
    joined = {}  # task by workload_id of its container
    named: dict[Name, Names] = {}  # names of tasks by those of their containers
    for label, batch in batches:
        for row in batch.rows.get("workloads", ()) if type_of(label) in ENGINES else ():
            container = leaf(row, "workload_id")
            task = tasks.get(container) or tasks.get(batch.tasks.get(container, ""))
            if task and len(container) >= ID_LENGTH:  # else the number of a replica
                joined[row["workload_id"]] = task
                if row.get("names"):
                    named[row["names"][0]] = task["names"]

    def rename(frame: str, row: Row) -> Row:
        if frame in ("workloads", "mounts") and row["workload_id"] in joined:
            task = joined[row["workload_id"]]
            names = {"names": task["names"]} if frame == "workloads" else {}
            return row | {"workload_id": task["workload_id"]} | names
        if frame == "services" and row.get("names"):
            return row | {"names": named.get(row["names"][0], row["names"])}
        if frame == "dependencies":
            return row | {end: renamed(row.get(end)) for end in ("src", "dst")}
        return row

    def renamed(end: Any) -> Any:
        return named[end][0] if isinstance(end, Name) and end in named else end

    hint = "containers are replicas that an orchestrator knows, and count once"
    changed = _map_engines(batches, rename) if joined else batches
    return changed, _joined("workloads", len(joined), hint)


def _tasks(batches: Batches) -> dict[str, Row]:
    tasks = {}
    for label, batch in batches:
        if type_of(label) in ENGINES:
            continue
        for row in batch.rows.get("workloads", ()):
            if not row.get("names"):
                continue
            tasks[leaf(row, "workload_id")] = row
            for identifier in batch.container_ids.get(row["workload_id"], ()):
                tasks[identifier] = row
                tasks[identifier[:ID_LENGTH]] = row
    return tasks


def follow_addresses(batches: Batches) -> Batches:
    """Return batches in which declared addresses lead to the service that is there."""
    # The address of a host leads to a service only if no other service runs on the host.
    services = _services_at(batches)

    def follow(_: str, row: Row) -> Row:
        if row.get("address_basis") not in _DECLARED:
            return row
        service = only(services.get(_host_of(row["dst"]), ()))
        return row | {"dst": service, "confidence": KNOWN} if service else row

    return [
        (label, batch.map(follow) if batch.rows.get("dependencies") else batch)
        for label, batch in batches
    ]


def _host_of(dst: Name | str) -> str:
    """Return the address of a callee outside its platform; empty for a known service."""
    if isinstance(dst, str):
        return dst.removeprefix(EXTERNAL).lower()
    return dst.name.lower() if dst.rule == "address" else ""


def _services_at(batches: Batches) -> _Services:
    """Index the services by their addresses, and by the names and addresses of their hosts."""
    at: _Services = defaultdict(dict)
    on: _Services = defaultdict(dict)
    for row in rows_of(batches, "workloads", "services"):
        first = dict.fromkeys((row.get("names") or ())[:1])
        for address in _addresses(row):
            at[address] |= first
        if host := row.get("host_id"):
            on[host] |= first
    for row in rows_of(batches, "hosts"):
        for address in {*spellings(row), *_addresses(row)}:
            at[address] |= on.get(row["host_id"], {})
    return at


def _addresses(row: Row) -> list[str]:
    return parts_of_cell(text(row, "addresses").lower())
