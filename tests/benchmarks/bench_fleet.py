# ruff: noqa: T201
"""Collecting a fleet of simulated engines, real HTTP on loopback, against what it cannot be below.

    python tests/benchmarks/bench_fleet.py [ENGINES [CONTAINERS [LATENCY_MS]]]

The engines answer recorded payloads after 20 ms a call. Promised: all of them in at most 1.5 times
the time of the slowest host plus the serial work, under 500 MB; and an engine that hangs costs its
own deadline and nothing else. Serial work is given twice: parsing alone, and with the CPU time that
this process needs for ten thousand requests.
"""

from __future__ import annotations

import asyncio
import copy
import json
import multiprocessing
import resource
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
CLI, API = (ROOT / "tests" / "fixtures" / "docker" / name for name in ("cli", "api"))


def payloads(containers: int) -> dict[str, bytes]:
    """Bodies by the last part of the path, of an engine with so many containers."""
    listed = json.loads((API / "ps.json").read_text())[-1]
    inspected = json.loads((CLI / "inspect.json").read_text())[-1]
    bodies = {n: json.loads((API / f"{n}.json").read_text()) for n in ("version", "info", "images")}
    bodies["volumes"] = json.loads((API / "volumes.json").read_text())
    ids = [f"{n:012x}".ljust(64, "0") for n in range(1, containers + 1)]
    bodies["containers"] = [
        copy.deepcopy(listed) | {"Id": i, "Names": [f"/web-{n}"]} for n, i in enumerate(ids)
    ]
    for n, i in enumerate(ids):
        bodies[i] = copy.deepcopy(inspected) | {"Id": i, "Name": f"/web-{n}"}
    return {name: json.dumps(body).encode() for name, body in bodies.items()}


def serve(engines: int, containers: int, latency: float, ports) -> None:
    """Answer for all engines from one process; the last port listens and never answers."""
    bodies = payloads(containers)
    info = json.loads(bodies["info"])

    def body_of(path: str, number: int) -> bytes:
        parts = path.partition("?")[0].strip("/").split("/")
        name = parts[-2] if parts[-1] == "json" else parts[-1]
        return (
            json.dumps(info | {"Name": f"host-{number}"}).encode()
            if name == "info"
            else bodies[name]
        )

    async def talk(reader, writer, number: int) -> None:
        while line := await reader.readline():
            while (await reader.readline()).strip():
                pass
            await asyncio.sleep(latency)
            body = body_of(line.split()[1].decode(), number)
            head = (
                f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
            )
            writer.write(head.encode() + b"\r\n\r\n" + body)

    async def hang(reader, _writer) -> None:
        await reader.read(1)
        await asyncio.sleep(3600)

    async def main() -> None:
        servers = [
            await asyncio.start_server(lambda r, w, n=n: talk(r, w, n), "127.0.0.1", 0)
            for n in range(engines)
        ]
        servers.append(await asyncio.start_server(hang, "127.0.0.1", 0))
        ports.put([s.sockets[0].getsockname()[1] for s in servers])
        await asyncio.gather(*(s.serve_forever() for s in servers))

    asyncio.run(main())


def seconds(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main(engines: int = 200, containers: int = 50, latency_ms: int = 20) -> None:
    """Measure the whole fleet, one host, and parsing alone."""
    queue = multiprocessing.Queue()
    server = multiprocessing.Process(
        target=serve, args=(engines, containers, latency_ms / 1000, queue), daemon=True
    )
    server.start()
    *ports, hanging = queue.get()

    from assess.collect import collect
    from assess.collect.base import Deadline
    from assess.collect.docker.source import DockerSource
    from assess.config import Config, SourceConfig

    def source(port: int, **options) -> SourceConfig:
        return SourceConfig("docker", {"endpoint": f"tcp://127.0.0.1:{port}", **options})

    def run(*tables: SourceConfig):
        return collect(Config(tables, {}, Path(), "bench"))

    run(source(ports[0]))  # imports
    hosts = [
        seconds(
            lambda port=port: DockerSource().collect(source(port).options, Path(), Deadline(60))
        )
        for port in ports[:5]
    ]
    slowest = max(hosts)
    parsing = seconds(lambda: parse_all(engines, payloads(containers)))
    fleet = [source(port) for port in ports]
    found = []
    start = time.process_time()
    whole = seconds(lambda: found.append(run(*fleet)))
    serial = time.process_time() - start
    assert len(found[0]["workloads"]) == engines * containers, len(found[0]["workloads"])
    with_hanging = seconds(lambda: run(*fleet, source(hanging, deadline=whole)))
    server.terminate()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{engines} engines x {containers} containers, {latency_ms} ms a call")
    print(f"slowest of five hosts alone  {slowest:7.2f} s")
    print(f"parsing and frames, serial   {parsing:7.2f} s")
    print(f"CPU time of the whole run    {serial:7.2f} s")
    print(f"the whole fleet              {whole:7.2f} s")
    for name, work in (("parsing", parsing), ("all serial work", serial)):
        print(f"  {whole / (1.5 * slowest + work):.2f} of 1.5 x slowest host + {name}")
    print(f"and one that hangs {whole:.1f} s     {with_hanging:7.2f} s")
    print(f"peak memory                  {peak:7.0f} MB (promised < 500)")


def parse_all(engines: int, bodies: dict[str, bytes]) -> None:
    """Do to the same payloads, one after the other, what a run does without waiting."""
    from assess.collect.base import Batch
    from assess.collect.docker.payload import Payloads
    from assess.collect.docker.rows import to_batch
    from assess.collect.merge import to_tables

    batches = []
    for number in range(engines):
        batch = Batch()
        values = {name: json.loads(body) for name, body in bodies.items()}
        taken = Payloads()
        for call in ("version", "info", "containers", "images", "volumes"):
            taken.take(call, values.pop(call), batch.cover("x", call, "ok"))
        taken.take("inspect", list(values.values()), batch.cover("x", "inspect", "ok"))
        batches.append((f"docker#{number}", to_batch(taken, f"host-{number}")))
    to_tables(batches, [])


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
