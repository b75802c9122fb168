"""Siblings: the services of one platform, by the host names that reach them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from assess.sources.base import Name
from assess.sources.edges.address import ENGINE_HOST, OWN_HOST, Address
from assess.sources.values import only

Pair = tuple[str, str]
# Domains that a platform puts behind the name of a service.
_DOMAIN = re.compile(
    r"\.svc(?:\.[a-z0-9.-]+)?|\.(?:service|connect|virtual|query|ingress)(?:\.[a-z0-9-]+)?\.consul"
)


def _split(host: str) -> Pair:
    """Split the domain of a platform from a host; empty where it has none."""
    tail = _TAIL.search(host)
    if tail and _DOMAIN.fullmatch(host[tail.start() :]):
        return host[: tail.start()], host[tail.start() :]
    return host, ""


def inner_name(host: str) -> Pair | None:
    """Return name and namespace of a host in a platform's domain; None for other hosts."""
    plain, tail = _split(host)
    if not tail:
        return None
    *_, name, space = ["", *plain.split(".")]
    return (name, space) if name and tail.startswith(".svc") else (space, "")


@dataclass(frozen=True)
class Callee:
    """What an address leads to."""

    name: Name | str
    image: str = ""  # repository
    on_host: bool = False  # whether it has the network of its machine

    @property
    def called(self) -> str:
        """Its name alone."""
        return self.name if isinstance(self.name, str) else self.name.name


_TAIL = re.compile(r"\.(?:svc|service|connect|virtual|query|ingress)(?:\.|$)")


@dataclass
class Siblings:
    """Services by space (project, namespace, cluster) and host name."""

    links: dict[str, Callee] = field(default_factory=dict)  # hosts that one caller has
    # Whether db.shop.internal is db, in a domain of the platform.
    has_private_domains: bool = False
    _names: dict[Pair, dict[Callee, None]] = field(default_factory=dict)
    _aliases: dict[Pair, dict[Callee, None]] = field(default_factory=dict)

    def add(
        self, callee: Callee, *hosts: str, space: str = "", is_alias: bool = False
    ) -> None:
        """Add the hosts of a service; an alias counts only where no service is named so."""
        index = self._aliases if is_alias else self._names
        for host in hosts:
            if host:
                index.setdefault((space, host.lower()), {})[callee] = None

    def publish(self, callee: Callee, ports: Iterable[str]) -> None:
        """Add the ports that a service publishes, or opens itself, on the machine of all containers."""
        for port in ports:
            outer, mark, _ = port.partition("->")
            if mark or callee.on_host:
                number = outer.rpartition(":")[2].partition("/")[0]
                self.add(callee, f"{ENGINE_HOST}:{number}")

    def behind(self, address: Address, space: str = "") -> Callee | None:
        """Return the service behind an address."""
        if address.host in (ENGINE_HOST, OWN_HOST):
            return self.find(f"{ENGINE_HOST}:{address.port}")
        return self.find(address.host, space)

    def find(self, host: str, space: str = "") -> Callee | None:
        """Return the only service behind a host, in its own space or in the one that the host names."""
        if own := self.links.get(host.lower()):
            return own
        for where, name in self._readings(host.lower(), space):
            for index in (self._names, self._aliases):
                if found := index.get((where, name)):
                    return only(found)
        return None

    def _readings(self, host: str, space: str) -> list[Pair]:
        """List the spaces and names that a host may mean, the most exact first."""
        plain, tail = _split(host)
        labels = plain.split(".")
        readings = [(space, host), (space, plain), ("", host), ("", plain)]
        if len(labels) > 1 and (tail or len(labels) == 2):
            # service.namespace, pod.service.namespace
            readings.append((labels[-1], labels[-2]))
        is_pod = labels[0].rpartition("-")[2].isdigit()  # kafka-0.kafka-headless
        if is_pod and len(labels) > 1:
            readings.append((space, labels[1]))
        if self.has_private_domains and labels[-1] in ("local", "internal"):
            readings.append((space, labels[0]))
        return [*readings, (space, plain.removeprefix("tasks."))]  # of Swarm
