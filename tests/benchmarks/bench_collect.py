# ruff: noqa: T201
"""Collecting from one real engine against the bare calls, side by side.

    python tests/benchmarks/bench_collect.py [CONTAINERS]

Prints microseconds per container (best of seven) and one ratio that is promised: a full
inspection is at least 1.5 times as fast as the SDK's own loop.
"""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import docker

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "engine"), str(ROOT.parent)]

import application  # noqa: E402
import engines as real  # noqa: E402

from assess.sources.base import Deadline  # noqa: E402
from assess.sources.docker.source import DockerSource  # noqa: E402

LISTS = ("/version", "/info", "/containers/json?all=1", "/images/json?all=1", "/volumes")


class Bare(http.client.HTTPConnection):
    """One keep-alive connection and nothing else."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)

    def get(self, url: str):
        self.request("GET", url)
        return json.loads(self.getresponse().read())


def bare(endpoint: str, *, inspect: bool) -> None:
    connection = Bare(endpoint.removeprefix("unix://"))
    answers = [connection.get(url) for url in LISTS]
    for container in answers[2] if inspect else ():
        connection.get(f"/containers/{container['Id']}/json")
    connection.close()


def sdk(endpoint: str) -> None:
    client = docker.DockerClient(base_url=endpoint)
    client.containers.list(all=True)
    client.close()


def ours(endpoint: str, *, inspect: str) -> None:
    options = {"endpoint": endpoint, "inspect": inspect}
    batch = DockerSource().collect(options, Path(), Deadline(60))
    assert {row["status"] for row in batch.coverage} == {"ok"}, batch.coverage


def best(works: dict[str, Callable[[], None]], rounds: int = 7) -> dict[str, float]:
    """Best time of each, in turns, so that a busy moment of the machine hits all alike."""
    times = dict.fromkeys(works, float("inf"))
    for _ in range(rounds):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            times[name] = min(times[name], time.perf_counter() - start)
    return times


def main(count: int) -> None:
    """Measure on the system's engine."""
    base = Path(tempfile.mkdtemp(prefix="assess-"))
    engine = real.start(None, base / "h")
    try:
        real.wait(engine)
        report = application.Container(
            "report", "report", "example/report:9", state="created"
        )
        copies = [
            application.Container(f"report-{n}", "report", report.image, state="created")
            for n in range(count)
        ]
        application.fill(engine.endpoint, copies)
        at = engine.endpoint
        times = best(
            {
                "bare list calls": lambda: bare(at, inspect=False),
                "assess, inspect none": lambda: ours(at, inspect="none"),
                "bare list and inspect": lambda: bare(at, inspect=True),
                "assess, inspect all": lambda: ours(at, inspect="all"),
                "SDK containers.list": lambda: sdk(at),
            }
        )
    finally:
        engine.stop()
        shutil.rmtree(base, ignore_errors=True)
    print(f"engine {engine.version}, {count} containers, microseconds per container")
    for name, seconds in times.items():
        print(f"{name:24}{seconds / count * 1e6:10.0f}")
    listed = times["assess, inspect none"] / times["bare list calls"]
    faster = times["SDK containers.list"] / times["assess, inspect all"]
    whole = times["assess, inspect all"] / times["bare list and inspect"]
    print(f"by list {listed:.2f}x the bare calls")
    print(f"full inspection {faster:.2f}x as fast as the SDK's loop (promised >= 1.5)")
    print(f"full inspection {whole:.2f}x the bare calls")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
