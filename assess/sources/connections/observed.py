"""Observed sockets and flows: listeners and calls, with ephemeral ports folded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from itertools import pairwise

import numpy as np

from assess.sources.connections.fleet import is_loopback, is_noise
from assess.sources.connections.sockets import (
    ANY,
    MAX_PORT,
    NOBODY,
    Endpoint,
    Process,
    Sample,
    Socket,
)
from assess.sources.csv_records import rows
from assess.sources.edges import kind_of
from assess.sources.edges.address import Address
from assess.sources.values import Texts

EPHEMERAL = 32_768  # first port that Linux gives to callers; Windows begins at 49,152
MAX_TALKS = 1_000_000  # pairs of addresses with a port and a process
_OFTEN = 20  # times the mean
SOCKET = "socket"
FLOW = "flow"


@dataclass(frozen=True, slots=True)
class Talk:
    """One caller at one port of one callee."""

    client: str  # address
    server: str  # address
    port: int  # of the server
    protocol: str = "tcp"
    near: str = ""  # machine, where the addresses are its own


@dataclass(frozen=True)
class View:
    """The point of observation of a talk: the caller's machine, the callee's, or an interface."""

    side: str  # client, server or flow
    place: str  # machine, or network interface
    process: Process = NOBODY


@dataclass(slots=True)
class Sighting:
    """How often a talk was seen from one place, and when."""

    count: int = 0
    first: datetime | None = None
    last: datetime | None = None

    def add(self, count: int, first: datetime | None, last: datetime | None) -> None:
        """Count more of it."""
        self.count += count
        self.first = min(filter(None, (self.first, first)), default=None)
        self.last = max(filter(None, (self.last, last)), default=None)


@dataclass
class Watch:
    """What the dumps of one machine show beside its calls."""

    listening: dict[Endpoint, Process] = field(default_factory=dict)
    addresses: set[str] = field(default_factory=set)
    times: set[datetime] = field(default_factory=set)
    _ports: dict[str | int, set[int]] = field(default_factory=lambda: defaultdict(set))

    def listen(self, socket: Socket) -> None:
        """Add a socket that listens."""
        self.listening.setdefault(socket.local, socket.process)
        self._ports[socket.process.pid].add(socket.local[1])
        self._ports[socket.process.name].add(socket.local[1])

    def listener(self, at: Endpoint) -> Process | None:
        """Return the process that listens at an endpoint."""
        return self.listening.get(at) or self.listening.get((ANY, at[1]))

    def owner(self, process: Process) -> Process:
        """Return a process with its port in place of its pid, which changes with every start."""
        # A worker that a listener started has the port of that listener, where there is
        # only one.
        ports = self._ports.get(process.pid, set()) if process.pid else set()
        alike = self._ports.get(process.name, set()) if process.name else set()
        if not ports and len(alike) == 1:
            ports = alike
        return replace(process, pid=0, port=min(ports, default=0))

    @property
    def shows_processes(self) -> bool:
        """Whether the dumps were made by a user who may see whose the sockets are."""
        nameless = [at for at, process in self.listening.items() if process == NOBODY]
        return 2 * len(nameless) <= len(self.listening)


Views = dict[View, Sighting]


class Observed:
    """Everything that dumps and flow logs show."""

    def __init__(self) -> None:
        self.talks: dict[Talk, Views] = defaultdict(lambda: defaultdict(Sighting))
        self.watches: dict[str, Watch] = defaultdict(Watch)
        self.dropped_n = 0
        self._waiting: dict[tuple[str, Socket], Sighting] = defaultdict(Sighting)

    def add_sample(self, machine: str, sample: Sample) -> None:
        """Add the sockets of a machine at one moment."""
        watch = self.watches[machine]
        if sample.at:
            watch.times.add(sample.at)
        for socket in sample.sockets:
            if not is_loopback(socket.local[0]) and socket.local[0] != ANY:
                watch.addresses.add(socket.local[0])
            if not socket.peer:
                watch.listen(socket)
        for socket in sample.sockets:
            if socket.peer and not is_noise(socket.peer[0]):
                self._wait(machine, watch, socket, sample.at)

    def _wait(
        self, machine: str, watch: Watch, socket: Socket, at: datetime | None
    ) -> None:
        """Keep a socket until all listeners are known; what is clear before is folded."""
        local = socket.local
        peer = socket.peer or local
        if watch.listener(local) or local[1] < EPHEMERAL <= peer[1]:
            peer = (peer[0], 0)
        elif peer[1] < EPHEMERAL <= local[1]:
            local = (local[0], 0)
        folded = Socket(local, peer, socket.process, socket.protocol)
        if len(self._waiting) >= MAX_TALKS and (machine, folded) not in self._waiting:
            self.dropped_n += 1
            return
        self._waiting[machine, folded].add(1, at, at)

    def settle(self, ranks: Ranks) -> None:
        """Decide for each socket who called whom."""
        owners = {
            address: machine
            for machine, watch in self.watches.items()
            for address in watch.addresses
        }
        for (machine, socket), sighting in self._waiting.items():
            is_server = self._is_server(machine, socket, ranks, owners)
            caller, callee = socket.peer or socket.local, socket.local
            if not is_server:
                caller, callee = callee, caller
            near = machine if is_loopback(callee[0]) else ""
            talk = Talk(caller[0], callee[0], callee[1], socket.protocol, near)
            process = self.watches[machine].owner(socket.process)
            side = "server" if is_server else "client"
            view = View(side, machine, process)
            self.talks[talk][view].add(sighting.count, sighting.first, sighting.last)
        self._waiting.clear()

    def _is_server(
        self, machine: str, socket: Socket, ranks: Ranks, owners: Texts
    ) -> bool:
        local = socket.local
        peer = socket.peer or local
        if local[1] == 0 or peer[1] == 0:
            return peer[1] == 0
        if self.watches[machine].listener(local):
            return True
        there = machine if is_loopback(peer[0]) else owners.get(peer[0], "")
        if there and self.watches[there].listener(peer):
            return False
        return bool(ranks.table[local[1]] < ranks.table[peer[1]])


class Ranks:
    """Ranks of ports: of two ports, the one of lower rank is the callee's."""

    def __init__(self, served: Iterable[int]) -> None:
        self.table = np.arange(MAX_PORT + 1, dtype=np.float64)
        self.table[_known_ports()] -= EPHEMERAL
        served = [port for port in served if 0 < port <= MAX_PORT]
        self.table[served] -= 4 * EPHEMERAL
        self._seen = np.zeros(MAX_PORT + 1, np.int64)  # high ports in flows between such

    def of_flows(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Return the ranks, with ports that callers share by far too often to be ephemeral."""
        # Ports of callers are spread over some 28,000 numbers.
        both = (one >= EPHEMERAL) & (other >= EPHEMERAL)
        for ports in (one[both], other[both]):
            self._seen += np.bincount(ports, minlength=MAX_PORT + 1)
        often = max(_OFTEN, _OFTEN * self._seen.sum() / EPHEMERAL)
        busy = self._seen > often
        return np.where(busy, self.table - EPHEMERAL, self.table)


@cache
def _known_ports() -> list[int]:
    """List the ports that alone tell what listens on them."""
    ports = range(1, EPHEMERAL)
    return [port for port in ports if kind_of(Address("-", port)).is_known]


def is_whole(basis: str, times: Iterable[datetime]) -> bool:
    """Return whether samples at these times make a complete source (`windows.csv`)."""
    ordered = sorted(times)
    rule = next(row for row in rows("connections/windows") if row["basis"] == basis)
    if len(ordered) < max(int(rule["samples_n"]), 2):
        return False
    window = ordered[-1] - ordered[0]
    gaps = (later - earlier for earlier, later in pairwise(ordered))
    is_long = window >= timedelta(hours=float(rule["window_hours"]))
    return is_long and max(gaps) <= timedelta(hours=float(rule["gap_hours"]))
