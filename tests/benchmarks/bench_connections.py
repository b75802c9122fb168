# ruff: noqa: T201
"""A flow log of ten million lines, streamed: seconds and the most memory at any time.

``python tests/benchmarks/bench_connections.py [LINES] [NEIGHBOURS]``; the aim is 60 s and 1 GiB.
With 40 neighbours calls repeat; with 2,000 nearly every line is a talk of its own.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from assess.sources.base import Name
from assess.sources.connections import ConnectionsSource
from assess.sources.deadline import Deadline

LINES = 10_000_000
NEIGHBOURS = 40
HOSTS = 2_000
BLOCK = 500_000
MOST_S = 60
MOST_MIB = 1024
HEADER = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes "
    "start end action log-status"
)
PORTS = np.array([80, 443, 5432, 6379, 8080, 9092, 50051])


def block(random: np.random.Generator, lines_n: int, neighbours_n: int) -> pa.Table:
    """Return lines of a log: every host calls seven ports of its neighbours."""
    addresses = np.array([f"10.0.{n // 250}.{n % 250}" for n in range(HOSTS)])
    caller = random.integers(0, HOSTS, lines_n)
    callee = (caller + random.integers(1, neighbours_n, lines_n)) % HOSTS
    port = PORTS[random.integers(0, len(PORTS), lines_n)]
    other = random.integers(32_768, 61_000, lines_n)
    is_forward = random.random(lines_n) < 0.5
    start = 1_770_000_000 + random.integers(0, 7 * 86_400, lines_n)
    source = np.where(is_forward, caller, callee)
    columns = {
        "interface-id": np.array([f"eni-{n:08x}" for n in range(HOSTS)])[source],
        "srcaddr": addresses[source],
        "dstaddr": addresses[np.where(is_forward, callee, caller)],
        "srcport": np.where(is_forward, other, port),
        "dstport": np.where(is_forward, port, other),
        "start": start,
        "end": start + 60,
    }
    constant = {"version": 2, "account-id": 123456789012, "protocol": 6, "packets": 9}
    constant |= {"bytes": 840, "action": "ACCEPT", "log-status": "OK"}
    columns |= {name: np.full(lines_n, value) for name, value in constant.items()}
    return pa.table(columns).select(HEADER.split())


def write(file: Path, lines_n: int, neighbours_n: int) -> None:
    random = np.random.default_rng(1)
    schema = block(random, 1, neighbours_n).schema
    options = pacsv.WriteOptions(
        include_header=False, delimiter=" ", quoting_style="none"
    )
    with file.open("wb") as stream:
        stream.write(f"{HEADER}\n".encode())
        writer = pacsv.CSVWriter(stream, schema, write_options=options)
        for done in range(0, lines_n, BLOCK):
            lines = block(random, min(BLOCK, lines_n - done), neighbours_n)
            writer.write(lines)
        writer.close()


def fleet() -> dict[str, list[dict]]:
    """Return what other sources know: one service on every host."""
    hosts = [
        {"host_id": f"h{n}", "addresses": f"10.0.{n // 250}.{n % 250}"}
        for n in range(HOSTS)
    ]
    workloads = [
        {
            "names": (Name(f"service-{n // 4}", "unit", 0.9),),
            "workload_id": f"h{n}/unit",
            "host_id": f"h{n}",
            "source_kind": "unit",
            "state": "running",
        }
        for n in range(HOSTS)
    ]
    return {"hosts": hosts, "workloads": workloads}


def main(lines_n: int = LINES, neighbours_n: int = NEIGHBOURS) -> int:
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "flows.log"
        # In a process of its own, whose memory is not that of the reader.
        of = (file, lines_n, neighbours_n)
        writer = get_context("spawn").Process(target=write, args=of)
        writer.start()
        writer.join()
        size = file.stat().st_size / 2**20
        before = time.perf_counter()
        cpu = time.process_time()
        source = ConnectionsSource()
        batch = source.follow({"path": str(file)}, Path(place), Deadline(600), fleet())
        seconds = time.perf_counter() - before
        cpu = time.process_time() - cpu
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    edges_n = len(batch.rows["dependencies"])
    print(
        f"{lines_n:,} lines ({size:,.0f} MiB): {seconds:.1f} s ({cpu:.1f} s of CPU), "
        f"{mib:,.0f} MiB at most, {edges_n:,} edges"
    )
    return int(seconds > MOST_S or mib > MOST_MIB)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
