"""Convert observed talks to rows: the services at both ends, and unknown processes."""

from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any

from assess import frames
from assess.frames import EXTERNAL
from assess.sources.base import Batch, Name, Row
from assess.sources.connections.fleet import Fleet, Tenant, is_public
from assess.sources.connections.flows import Flows
from assess.sources.connections.observed import (
    FLOW,
    SOCKET,
    Observed,
    Sighting,
    Talk,
    View,
    Views,
    is_whole,
)
from assess.sources.connections.pairs import Callee, Callers, Edge, Key, Pairs
from assess.sources.connections.sockets import Process
from assess.sources.csv_records import rows
from assess.sources.edges import Kind, kind_of
from assess.sources.edges.address import Address
from assess.sources.hosts import (
    UNIT,
    UNIT_CONFIDENCE,
    SystemUnit,
    any_of,
    is_of_distribution,
    stores_of,
)
from assess.sources.joining.hosts import service_of
from assess.sources.values import joined, only

EVIDENCE = "connections"
PROCESS = "process"
SURE = 0.9  # a socket of the service itself
LIKELY = 0.6  # the only service of a machine
NOBODY = 0.3  # an address that no source knows
MAX_CANDIDATES = 20  # services of a machine that may be the caller
_ROLES = [
    (any_of([row["pattern"]]), row["role"]) for row in rows("connections/processes")
]
# By which people and agents reach machines, not services each other.
_SYSTEM_PORTS = {int(row["port"]) for row in rows("connections/system_ports")}
_NO_NAME = Name("", PROCESS, 0.0)
_SYSTEM = Tenant(_NO_NAME, "", "system", "")


class Edges:
    """Resolves the ends of all talks."""

    def __init__(self, fleet: Fleet, observed: Observed, flows: Flows) -> None:
        self.batch = Batch()
        self.unknown: dict[str, None] = {}  # callers at addresses that no source knows
        self._fleet = fleet
        self._observed = observed
        self._flows = flows
        self._edges: dict[Key, Edge] = {}
        self._pairs = Pairs()  # by flow logs alone
        self._born: dict[tuple[str, str], Tenant] = {}
        # callees that somebody unknown called
        self._callers_unknown: set[Name | str] = set()
        self._covered: set[Name] = set()
        self._windows: dict[str, float] = {}
        self._hours = flows.hours()

    def make(self) -> Batch:
        """Return the rows of hosts, services, workloads and dependencies."""
        for machine, watch in self._observed.watches.items():
            self._fleet.add_addresses(machine, watch.addresses)
        for machine, watch in self._observed.watches.items():
            self._add_host(machine)
            for (_, port), process in watch.listening.items():
                self._tenant_of(machine, watch.owner(process), port)
        talks = self._observed.talks
        for talk, views in self._flows.shared(list(talks)):
            talks[talk] |= views
        for talk, views in talks.items():
            self._add_talk(talk, views)
        self._add_flows()
        # addresses all of whose flows were logged for long enough
        whole = {at for at, times in self._hours.items() if is_whole(FLOW, times)}
        logged = {address for at, address in self._flows.own().items() if at in whole}
        self._covered = covered_names(self._fleet, self._observed, logged)
        self.batch.add("dependencies", *self._rows())
        return self.batch

    def _add_host(self, machine: str) -> None:
        if self._fleet.called(machine):  # the dump is one of a container
            return
        watch = self._observed.watches[machine]
        row = frames.row(
            "hosts",
            host_id=machine,
            hostname=machine,
            state="running",
            addresses=joined(sorted(watch.addresses)),
            last_seen_at=max(watch.times, default=None),
        )
        self.batch.add("hosts", row)

    # -- ends --------------------------------------------------------------------------------

    def _tenant_of(self, machine: str, process: Process, port: int) -> Tenant | None:
        """Return the workload of a process on a machine; an unknown one is added."""
        if apart := self._fleet.called(machine):
            return apart
        role = role_of(process.name)
        if role in ("proxy", "tool") or not process.name:
            process = Process("", 0, process.unit, process.container)
        known = self._fleet.tenant_of(machine, process, port)
        if known or not process.name:
            return known
        unit = SystemUnit(process.unit, "running")
        is_own_unit = bool(process.unit) and not is_of_distribution(unit.stem)
        if role == "system" and not is_own_unit:
            return _SYSTEM
        if not is_own_unit and role == "interpreter":
            # the name of the only unit of a machine that is no store says more than java
            units = [t for t in self._fleet.on.get(machine, ()) if t.kind == UNIT]
            own = [t for t in units if not stores_of(SystemUnit(t.called, "running"))]
            if tenant := only(own):
                return tenant
            label = f"{process.name}-{process.port}" if process.port else process.name
            unit = SystemUnit(label, "running")
        elif not is_own_unit:
            unit = SystemUnit(process.name, "running")
        return self._add_service(machine, unit, is_own_unit=is_own_unit)

    def _add_service(
        self, machine: str, unit: SystemUnit, *, is_own_unit: bool
    ) -> Tenant:
        """Add a service that runs on a machine beside what the other sources know."""
        if (machine, unit.name) in self._born:
            return self._born[machine, unit.name]
        place = service_of(machine) or machine
        name = Name(unit.service, PROCESS, UNIT_CONFIDENCE, place)
        if is_own_unit:
            name = Name(unit.service, UNIT, UNIT_CONFIDENCE)
        tenant = Tenant(name, f"{machine}/{unit.name}", PROCESS, unit.stem)
        self._born[machine, unit.name] = tenant
        self._fleet.add(machine, tenant)
        workload = frames.row(
            "workloads",
            workload_id=tenant.workload_id,
            host_id=machine,
            name=unit.stem,
            source_kind=UNIT if is_own_unit else PROCESS,
            state="running",
            inspect_status="list",
        )
        service = frames.row("services", name=unit.service, platform="host")
        if stores := stores_of(unit):
            service["kind"] = stores[0]["kind"]
            service["stateful"] = stores[0]["stateful"] == "true" or None
        self.batch.add("workloads", workload | {"names": (name,)})
        self.batch.add("services", service | {"names": (name,)})
        return tenant

    def _server(self, talk: Talk, views: Views) -> tuple[Any, float]:
        """Return the callee: a workload, the name of an address, or an outside host."""
        for view in views:
            if view.side == "server":
                tenant = self._tenant_of(view.place, view.process, talk.port)
                if tenant:
                    return tenant, SURE
        near = talk.near or next((v.place for v in views if v.side == "client"), "")
        tenant = self._fleet.tenant_at(talk.server, near)
        machine = self._fleet.machine_at(talk.server, near)
        if tenant is None and machine is not None:
            tenant = self._listener(machine, talk)
        if tenant:
            return tenant, SURE
        if talk.port in _SYSTEM_PORTS:
            return _SYSTEM, SURE
        if machine is None and is_public(talk.server):
            return f"{EXTERNAL}{talk.server}", SURE
        others = {tenant.name: tenant for tenant in self._fleet.on.get(machine or "", ())}
        if alone := only(others.values()):
            return alone, LIKELY
        return Name(talk.server, "address", NOBODY), NOBODY

    def _listener(self, machine: str, talk: Talk) -> Tenant | None:
        watch = self._observed.watches.get(machine)
        process = watch.listener((talk.server, talk.port)) if watch else None
        if watch and process:
            process = watch.owner(process)
        return self._tenant_of(machine, process or Process(), talk.port)

    def _clients(self, talk: Talk, views: Views) -> list[tuple[Tenant, bool]]:
        """List the callers; those of a machine with several services are only possible."""
        own = [v for v in views if v.side == "client"]
        known = [self._tenant_of(view.place, view.process, 0) for view in own]
        if found := {tenant.name: tenant for tenant in known if tenant}:
            return [(tenant, False) for tenant in found.values()]
        near = talk.near or next((v.place for v in views if v.side == "server"), "")
        if tenant := self._fleet.tenant_at(talk.client, near):
            return [(tenant, False)]
        machine = self._fleet.machine_at(talk.client, near)
        if machine is None and is_public(talk.client):
            return []
        is_seen = any(view.place == machine for view in own)
        names = self._candidates(machine or "", is_seen=is_seen)
        if not names:
            self.unknown[talk.client] = None
        return [(tenant, len(names) > 1) for tenant in names]

    def _candidates(self, machine: str, *, is_seen: bool) -> list[Tenant]:
        """List the workloads of a machine that may be the caller: one of each service."""
        # Where the machine's own dump has the socket, it is none in a network of its own;
        # where a dump lacks it, it is one of those first, as the machine's address stands
        # for theirs.
        tenants = self._fleet.on.get(machine, [])
        apart = [tenant for tenant in tenants if tenant.is_apart]
        if is_seen:
            tenants = [tenant for tenant in tenants if not tenant.is_apart]
        elif machine in self._observed.watches and apart:
            tenants = apart
        return list({t.name: t for t in tenants}.values())[:MAX_CANDIDATES]

    # -- edges -------------------------------------------------------------------------------

    def _add_talk(self, talk: Talk, views: Views) -> None:
        callee = self._callee(talk, views)
        if not callee:
            return
        total = Sighting(max(sighting.count for sighting in views.values()))
        for sighting in views.values():
            total.add(0, sighting.first, sighting.last)
        window = max(self._window(view.place) for view in views)
        self._add_edges(self._callers(talk, views), callee, total, window)

    def _callee(self, talk: Talk, views: Views) -> Callee | None:
        """Return the callee of a talk; None where it is the system of a machine."""
        server, sure = self._server(talk, views)
        if server is _SYSTEM:
            return None
        is_known = isinstance(server, Tenant)
        name = server.name if is_known else server
        return Callee(name, sure, _kind(server, talk), is_known)

    def _callers(self, talk: Talk, views: Views) -> Callers | None:
        """Return the callers of a talk; None where it is the system of a machine."""
        clients = self._clients(talk, views)
        named = tuple((t.name, possible) for t, possible in clients if t is not _SYSTEM)
        return None if clients and not named else named

    def _add_flows(self) -> None:
        """Add the talks that only flow logs show: each end is resolved once, not once a talk."""
        names = self._flows.names
        views = {View(FLOW, ""): Sighting()}

        @cache
        def callee(server: int, port: int) -> Callee | None:
            return self._callee(Talk("", names[server], port), views)

        def callers(client: int) -> Callers | None:
            return self._callers(Talk(names[client], "", 0), views)

        for talks in self._flows.alone(self._observed.talks, self._window):
            self._pairs.add(talks, callee, callers)
        self._callers_unknown |= self._pairs.called_by_unknown()

    def _add_edges(
        self,
        callers: Callers | None,
        callee: Callee,
        total: Sighting,
        window_hours: float,
    ) -> None:
        if callee.is_known and callers == ():
            self._callers_unknown.add(callee.name)
        for caller, is_possible in callers or ():
            key = (caller, callee.name, callee.kind.kind)
            protocol = callee.kind.protocol
            edge = Edge(callee.confidence, protocol, is_possible, total, window_hours)
            first = Edge(callee.confidence, protocol)
            self._edges.setdefault(key, first).add(edge)

    def _rows(self) -> Iterator[Row]:
        """Yield the rows of all edges; what flow logs show of an edge of sockets adds to it."""
        for key, edge in self._pairs.edges():
            if key in self._edges:
                self._edges[key].add(edge)
            else:
                yield from self._to_rows(key, edge)
        for key, edge in self._edges.items():
            yield from self._to_rows(key, edge)

    def _window(self, place: str) -> float:
        """Return the watched time of a machine or an interface [hours]."""
        if place not in self._windows:
            watch = self._observed.watches.get(place)
            times = watch.times if watch else self._hours.get(place, [])
            first = min(times, default=None)
            last = max(times, default=None)
            window = (last - first).total_seconds() if first and last else 0.0
            self._windows[place] = window / 3600
        return self._windows[place]

    def _to_rows(self, key: Key, edge: Edge) -> Iterator[Row]:
        """Yield the row of an edge; none where a service calls itself."""
        src, dst, kind = key
        if src != dst:
            row = frames.row(
                "dependencies",
                kind=kind,
                evidence=EVIDENCE,
                protocol=edge.protocol or None,
                calls=edge.seen.count,
                window_hours=edge.window_hours,
                confidence=edge.confidence,
                first_seen_at=edge.seen.first,
                last_seen_at=edge.seen.last,
                address_basis=edge.basis,
                complete=self._complete(src, dst),
                possible=edge.is_possible or None,
            )
            yield row | {"src": src, "dst": dst}

    def _complete(self, src: Name, dst: Name | str) -> str | None:
        """Return the sides of a pair whose calls were all observed."""
        is_src = src in self._covered
        is_dst = dst in self._covered and dst not in self._callers_unknown
        if is_src and is_dst:
            return "both"
        return "src" if is_src else "dst" if is_dst else None


def covered_names(fleet: Fleet, observed: Observed, logged: set[str]) -> set[Name]:
    """Return the services whose sockets were all watched for long enough."""
    whole = {
        machine
        for machine, watch in observed.watches.items()
        if watch.shows_processes and is_whole(SOCKET, watch.times)
    }
    covered: dict[Name, bool] = {}
    for machine, tenants in fleet.on.items():
        is_alone = len({tenant.name for tenant in tenants}) == 1
        shared = fleet.addresses[machine] if is_alone else set()
        for tenant in tenants:
            places = {machine} if not tenant.is_apart else set()
            places |= {place for place in whole if fleet.called(place) == tenant}
            at = shared.union(tenant.addresses)
            is_covered = bool(places & whole) or bool(logged & at)
            covered[tenant.name] = covered.get(tenant.name, True) and is_covered
    return {name for name, is_covered in covered.items() if is_covered}


@lru_cache(maxsize=1 << 12)
def role_of(process: str) -> str:
    """Return what kind of program a process is: system, proxy, tool, interpreter, or none."""
    for pattern, role in _ROLES:
        if pattern.fullmatch(process):
            return role
    return "system" if is_of_distribution(process) else ""


def _kind(server: Tenant | Name | str, talk: Talk) -> Kind:
    """Return the kind of dependency by port, image and names, as for declared addresses."""
    if isinstance(server, Tenant):
        host = server.name.name
        return kind_of(Address(host, talk.port), server.image or server.called)
    return kind_of(Address(talk.server, talk.port))
