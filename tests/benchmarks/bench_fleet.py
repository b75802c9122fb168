# ruff: noqa: T201
"""Collecting a fleet of simulated engines, real HTTP on loopback, against what it cannot be below.

    python tests/benchmarks/bench_fleet.py [ENGINES [CONTAINERS [LATENCY_MS [ROUNDS]]]]

The engines answer recorded payloads after 20 ms a call. Promised: all of them in at most 1.5 times
the time of the slowest host plus the serial parsing time, under 500 MB; and an engine that hangs
costs its own deadline and nothing else.

The engines are in a process of their own, which takes its time from the same processors: that time
is told, and not taken off. Everything is measured in turns, and the best of each is kept, for the
machine is shared.
"""

from __future__ import annotations

import asyncio
import copy
import json
import multiprocessing
import os
import resource
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
PROCESSES = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
CLI, API = (ROOT / "tests" / "fixtures" / "docker" / name for name in ("cli", "api"))
HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"


def payloads(containers: int) -> dict[str, bytes]:
    """Bodies by the last part of the path, of an engine with so many containers."""
    listed = json.loads((API / "ps.json").read_text())[-1]
    inspected = json.loads((CLI / "inspect.json").read_text())[-1]
    names = ("version", "info", "images", "volumes")
    bodies = {name: json.loads((API / f"{name}.json").read_text()) for name in names}
    bodies["info"]["Name"] = "host-00000"
    ids = [f"{n:012x}".ljust(64, "0") for n in range(1, containers + 1)]
    bodies["containers"] = [
        copy.deepcopy(listed) | {"Id": i, "Names": [f"/web-{n}"]}
        for n, i in enumerate(ids)
    ]
    for n, i in enumerate(ids):
        bodies[i] = copy.deepcopy(inspected) | {"Id": i, "Name": f"/web-{n}"}
    return {name: json.dumps(body).encode() for name, body in bodies.items()}


class Engine(asyncio.Protocol):
    """Answers after a while; its host is called by its port."""

    def __init__(self, answers: dict[str, bytes], latency: float) -> None:
        self.answers, self.latency = answers, latency

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.host = b"host-%05d" % transport.get_extra_info("sockname")[1]

    def data_received(self, data: bytes) -> None:
        parts = data.split()[1].decode().partition("?")[0].strip("/").split("/")
        answer = self.answers[parts[-2] if parts[-1] == "json" else parts[-1]]
        answer = (
            answer.replace(b"host-00000", self.host) if parts[-1] == "info" else answer
        )
        asyncio.get_running_loop().call_later(self.latency, self.transport.write, answer)


def serve(*arguments) -> None:
    """Answer for all engines; the last port listens and never answers."""
    asyncio.run(_serve(*arguments))


async def _serve(engines: int, containers: int, latency: float, ports) -> None:
    bodies = payloads(containers)
    answers = {
        name: HEAD.format(len(body)).encode() + body for name, body in bodies.items()
    }
    kinds = [lambda: Engine(answers, latency)] * engines + [asyncio.Protocol]
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(kind, "127.0.0.1", 0) for kind in kinds]
    ports.put([s.sockets[0].getsockname()[1] for s in servers])
    await asyncio.gather(*(s.serve_forever() for s in servers))


def seconds(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def cpu(server: multiprocessing.Process) -> tuple[float, float]:
    """CPU time so far of this process and its workers, and of the engines. [s]"""
    used = [resource.getrusage(who) for who in PROCESSES]
    ticks = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    clock = os.sysconf("SC_CLK_TCK")
    return sum(u.ru_utime + u.ru_stime for u in used), sum(map(int, ticks)) / clock


def memory_mb(server: multiprocessing.Process) -> float:
    """Memory of this process and its workers, at present. [MB]"""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    pids = {"self", *children} - {str(server.pid)}
    pages = 0
    for pid in pids:
        with suppress(OSError):  # it has ended
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


@contextmanager
def watched(server: multiprocessing.Process):
    """Look at the memory ten times a second; gives a list of the peak."""
    found, is_over = [0.0], Event()

    def look() -> None:
        while not is_over.wait(0.1):
            found[0] = max(found[0], memory_mb(server))

    watcher = Thread(target=look)
    watcher.start()
    try:
        yield found
    finally:
        is_over.set()
        watcher.join()


class Fleet:
    """The engines, as sources."""

    def __init__(self, ports: list[int]) -> None:
        self.tables = [self.table(port) for port in ports]
        self.run(self.tables[:1])  # imports

    @staticmethod
    def table(port: int, **options):
        from assess.config import SourceConfig

        return SourceConfig("docker", {"endpoint": f"tcp://127.0.0.1:{port}", **options})

    @staticmethod
    def run(tables, progress=None):
        from assess.config import Config
        from assess.sources import collect

        return collect(Config(tuple(tables), {}, Path(), "bench"), progress=progress)

    def slowest_of_five(self) -> float:
        """Seconds of the slowest of five, each alone."""
        from assess.sources.deadline import Deadline
        from assess.sources.docker.source import DockerSource

        asked = [(table.options, Path(), Deadline(60)) for table in self.tables[:5]]
        return max(seconds(lambda one=one: DockerSource().collect(*one)) for one in asked)

    def with_one_that_hangs(self, port: int, deadline: float) -> tuple[float, float]:
        """Seconds after which the one that hangs was given up, and those of the whole run."""
        start, ended = time.perf_counter(), {}
        tables = [*self.tables, self.table(port, deadline=deadline)]
        self.run(
            tables, lambda label, *_: ended.update({label: time.perf_counter() - start})
        )
        return ended[f"docker#{len(tables)}"], time.perf_counter() - start


def main(
    engines: int = 200, containers: int = 50, latency_ms: int = 20, rounds: int = 3
) -> None:
    """Measure the whole fleet, one host, and parsing alone."""
    queue = multiprocessing.Queue()
    asked = (engines, containers, latency_ms / 1000, queue)
    server = multiprocessing.Process(target=serve, args=asked, daemon=True)
    server.start()
    *ports, hanging = queue.get()
    fleet, bodies, found = Fleet(ports), payloads(containers), []
    slowest, parsing, whole, ours, theirs = [], [], [], [], []
    peaks = []
    for _ in range(rounds):
        slowest.append(fleet.slowest_of_five())
        parsing.append(seconds(lambda: parse_all(engines, bodies)))
        before = cpu(server)
        with watched(server) as peak:
            whole.append(
                seconds(lambda: found.append(len(fleet.run(fleet.tables)["workloads"])))
            )
        after = cpu(server)
        ours.append(after[0] - before[0])
        theirs.append(after[1] - before[1])
        peaks += peak
    assert set(found) == {engines * containers}, found
    deadline = min(whole)
    given_up, all_of_it = fleet.with_one_that_hangs(hanging, deadline)
    server.terminate()
    floor = 1.5 * min(slowest) + min(parsing)
    print(
        f"{engines} engines x {containers} containers, {latency_ms} ms a call, best of {rounds}"
    )
    print(f"slowest of five hosts alone      {min(slowest):7.2f} s")
    print(f"parsing and frames, serial       {min(parsing):7.2f} s")
    print(f"the whole fleet                  {min(whole):7.2f} s")
    print(f"  of 1.5 x slowest host + parsing{min(whole) / floor:8.2f} (promised <= 1)")
    print(f"CPU time of the whole fleet      {min(ours):7.2f} s")
    print(f"CPU time of the engines, beside  {min(theirs):7.2f} s")
    print(f"and one that hangs for {deadline:5.1f} s   {all_of_it:7.2f} s")
    print(f"  which was given up after       {given_up:7.2f} s")
    print(f"peak memory                      {max(peaks):7.0f} MB (promised < 500)")


def parse_all(engines: int, bodies: dict[str, bytes]) -> None:
    """Do to the same payloads, one after the other, what a run does without waiting."""
    from assess.sources.docker.payload import EngineData
    from assess.sources.docker.rows import to_batch
    from assess.sources.joining.merge import to_tables

    batches = []
    for number in range(engines):
        values = {name: json.loads(body) for name, body in bodies.items()}
        taken = EngineData()
        for call in ("version", "info", "containers", "images", "volumes"):
            taken.take(call, values.pop(call))
        taken.take("inspect", list(values.values()))
        batches.append((f"docker#{number}", to_batch(taken, f"host-{number}")))
    to_tables(batches, [])


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
