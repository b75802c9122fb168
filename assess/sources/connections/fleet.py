"""Addresses of services and machines, as other sources know them."""

import ipaddress
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from assess.image_ref import parse_image
from assess.linear import Linear
from assess.sources.base import Lists, Name, Row
from assess.sources.connections.sockets import Process
from assess.sources.csv_records import vocabulary
from assess.sources.joining.hosts import ID_LENGTH, spellings
from assess.sources.values import TextLists, Texts, Words, leaf, only, parts_of_cell, text

# 8080->80/tcp, 10.0.0.5:8080->80/tcp; 80/tcp is not published
_PUBLISHED = Linear(r"(?:^|:)(\d+)->")
_INNER = Linear(r"(?:^|->)(\d+)(?:/|$)")
_INSIDE = [*map(ipaddress.ip_network, vocabulary("connections", "inside networks"))]
_LEAST_COMMON = 4  # letters that names of a unit and of its process have in common
_CONTAINED = ("container", "task", "pod", "allocation")


@dataclass(frozen=True)
class Tenant:
    """One workload, and how its sockets are known."""

    name: Name
    workload_id: str
    kind: str  # container, unit, process …
    called: str  # its own name, such as that of its unit
    image: str = ""  # last part of the repository
    is_apart: bool = False  # on a network of its own
    addresses: Words = ()


class Fleet:
    """Workloads by machine, address and port; a machine is the first of a host's ids."""

    def __init__(self, rows: Lists) -> None:
        self.on: dict[str, list[Tenant]] = defaultdict(list)
        self.published: dict[tuple[str, int], Tenant] = {}
        self.ports: set[int] = set()  # that any workload listens on
        self.addresses: dict[str, set[str]] = defaultdict(set)  # of each machine
        self._tenants_at: dict[str, dict[str, Tenant]] = defaultdict(dict)
        self._machines_at: dict[str, dict[str, None]] = defaultdict(dict)
        # Those in a network of their own, by name and by the first characters of their id.
        self._called: dict[str, dict[Tenant, None]] = defaultdict(dict)
        self._machines = _machines(rows.get("hosts", ()))
        for row in rows.get("hosts", ()):
            machine = self.machine(row["host_id"])
            self.add_addresses(machine, parts_of_cell(row.get("addresses")))
        for row in rows.get("workloads", ()):
            if row.get("names") and row.get("state") in (None, "running"):
                self._add_workload(row)
        for row in rows.get("services", ()):
            for address in parts_of_cell(row.get("addresses")):
                tenant = Tenant(row["names"][0], "", "service", "", is_apart=True)
                self._tenants_at[address].setdefault("", tenant)

    def machine(self, name: str) -> str:
        """Return the machine of a name or id of a host; the name itself where none is known."""
        low = name.lower().rstrip(".")
        short = low.partition(".")[0]
        return self._machines.get(low) or self._machines.get(short) or name

    def _add_workload(self, row: Row) -> None:
        machine = self.machine(text(row, "host_id"))
        kind = text(row, "source_kind")
        image = parse_image(text(row, "image_ref"))
        repository = row.get("repository") or image.repository
        tenant = Tenant(
            name=row["names"][0],
            workload_id=row["workload_id"],
            kind=kind,
            called=text(row, "name"),
            image=leaf(str(repository or "")),
            is_apart=kind in _CONTAINED and row.get("host_network") is not True,
            addresses=tuple(parts_of_cell(row.get("addresses"))),
        )
        self.add(machine, tenant)
        ports = parts_of_cell(row.get("ports"))
        self.ports |= {int(n) for port in ports for n in _INNER.findall(port)[:1]}
        for port in ports:
            found = _PUBLISHED.search(port)
            if not found and not tenant.is_apart:
                found = _INNER.search(port)
            if found:
                self.published.setdefault((machine, int(found[1])), tenant)
                self.ports.add(int(found[1]))

    def add(self, machine: str, tenant: Tenant) -> None:
        """Add a workload of a machine."""
        self.on[machine].append(tenant)
        if tenant.is_apart:
            identifier = leaf(tenant.workload_id)
            for name in (tenant.called, identifier, identifier[:ID_LENGTH]):
                self._called[name][tenant] = None
        for address in tenant.addresses:
            self._tenants_at[address].setdefault(machine, tenant)

    def add_addresses(self, machine: str, addresses: Iterable[str]) -> None:
        """Add addresses of a machine."""
        for address in addresses:
            self._machines_at[address][machine] = None
            self.addresses[machine].add(address)

    def tenant_at(self, address: str, near: str) -> Tenant | None:
        """Return the workload at an address; of equal addresses, the one on the same machine."""
        found = self._tenants_at.get(address, {})
        return found.get(near) or only(found.values())

    def machine_at(self, address: str, near: str) -> str | None:
        """Return the machine at an address; of equal addresses, the machine that asks."""
        found = self._machines_at.get(address, {})
        if near and (near in found or is_loopback(address)):
            return near
        return only(found)

    def called(self, host: str) -> Tenant | None:
        """Return the only workload of a name, or with a container id that begins so."""
        found = self._called.get(host) or self._called.get(host[:ID_LENGTH]) or {}
        return only(found)

    def tenant_of(self, machine: str, process: Process, port: int) -> Tenant | None:
        """Return the workload of a process by its control group, else by its port or name."""
        tenants = self.on.get(machine, [])
        container = process.container[:ID_LENGTH]
        for tenant in tenants:
            if container and leaf(tenant.workload_id).startswith(container):
                return tenant
            if process.unit and tenant.workload_id.endswith(f"/{process.unit}"):
                return tenant
        on_host = [tenant for tenant in tenants if not tenant.is_apart]
        named = [tenant for tenant in on_host if is_alike(tenant.called, process.name)]
        if process.name and named:
            return named[0]
        return self.published.get((machine, port))


def _machines(hosts: Iterable[Row]) -> Texts:
    """Return the machine of every name of a host that is the name of one machine only."""
    owners: TextLists = defaultdict(list)
    for row in hosts:
        for name in [row["host_id"].lower(), *spellings(row)]:
            owners[name].append(row["host_id"])
    machine: Texts = {}
    for ids in owners.values():
        domains = {host_id for host_id in ids if "." in host_id}
        first = machine.get(ids[0], ids[0])
        for host_id in ids if len(domains) < 2 else ():
            machine.setdefault(host_id, first)
    return {
        name: machine.get(ids[0], ids[0])
        for name, ids in owners.items()
        if len({machine.get(host_id, host_id) for host_id in ids}) == 1
    }


def is_alike(unit: str, process: str) -> bool:
    """Return whether a unit and a process have one name, such as mysql and mysqld."""
    one = unit.lower()
    other = process.lower()
    is_long = min(len(one), len(other)) >= _LEAST_COMMON
    return one == other or (is_long and (one.startswith(other) or other.startswith(one)))


def is_loopback(address: str) -> bool:
    """Return whether an address is that of the machine itself."""
    return address.startswith("127.") or address == "::1"


@lru_cache(maxsize=1 << 16)
def is_public(address: str) -> bool:
    """Return whether an address is one of the internet."""
    read = ipaddress.ip_address(address)
    return not any(
        read in network for network in _INSIDE if network.version == read.version
    )


@lru_cache(maxsize=1 << 16)
def is_noise(address: str) -> bool:
    """Return whether an address belongs to no service: multicast, link-local, broadcast."""
    read = ipaddress.ip_address(address)
    return read.is_multicast or read.is_link_local or str(read) == "255.255.255.255"
