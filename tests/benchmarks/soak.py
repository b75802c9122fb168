# ruff: noqa: T201
"""Collect and score again and again, against a real engine whose containers come and go.

    python tests/benchmarks/soak.py [CYCLES] [SECONDS] [SCORED]

Scores each cycle, or each SCOREDth: a score takes several times as long as a collection. Prints
memory (RSS), file descriptors and threads after each tenth of the cycles (by default 1,000, in at
most 480 s), and what they grew by since the first tenth, in which caches fill.
"""

from __future__ import annotations

import gc
import shutil
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import docker

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "engine"), str(ROOT.parent)]

import application  # noqa: E402
import engines as real  # noqa: E402

import assess  # noqa: E402

IMAGE = "shop/web:1"
KEPT = 5  # containers that are there at a time
TENTHS = 10


class Use(NamedTuple):
    """What this process holds."""

    rss_kib: int
    descriptors: int
    threads: int


def use() -> Use:
    """Read it from the kernel, after a collection of garbage."""
    gc.collect()
    status = Path("/proc/self/status").read_text()
    rss = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    return Use(int(rss.split()[1]), descriptors, threading.active_count())


def turn_over(endpoint: str, cycle: int) -> None:
    """Make a container, and remove the oldest."""
    # a new client each time: the SDK keeps a connection open for every answer without a body
    with closing(docker.APIClient(base_url=endpoint)) as api:
        _turn_over(api, cycle)


def _turn_over(api: docker.APIClient, cycle: int) -> None:
    name = f"shop-web-{cycle}"
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}
    host = api.create_host_config(network_mode="none", init=True)
    command = ["sleep", "3600"]
    api.create_container(IMAGE, command, name=name, labels=labels, host_config=host)
    if cycle % 5 == 0:  # most are only created: a start takes a third of a second
        api.start(name)
    if cycle >= KEPT:
        api.remove_container(f"shop-web-{cycle - KEPT}", force=True)


def collect_and_score(config: Path, policy: assess.Policy, *, is_scored: bool) -> int:
    """Make one cycle, and return how many containers were seen."""
    inventory = assess.collect(config)
    coverage = inventory["coverage"]
    calls = coverage[coverage["source"].eq("docker")]
    failed = calls[~calls["status"].isin(["ok", "empty"])]
    assert failed.empty, failed[["call", "status", "hint"]]
    if is_scored:
        assess.what_next(inventory, policy)  # it reads the other scores
    return len(inventory["workloads"])


def soak(
    endpoint: str, directory: Path, cycles: int, seconds: float, scored: int
) -> None:
    """Make the cycles, and print what the process holds after each tenth."""
    config = directory / "assess.toml"
    config.write_text(f'[[source]]\ntype = "docker"\nendpoint = "{endpoint}"\n')
    policy = assess.load_policy()
    with closing(docker.APIClient(base_url=endpoint)) as api:
        application.load_images(api, [IMAGE])
    start = time.monotonic()
    seen: list[Use] = []
    print("cycles  seconds  RSS [MiB]  descriptors  threads")
    for cycle in range(cycles):
        turn_over(endpoint, cycle)
        found = collect_and_score(config, policy, is_scored=cycle % scored == 0)
        assert found == min(cycle + 1, KEPT)
        share = max((cycle + 1) / cycles, (time.monotonic() - start) / seconds)
        if share * TENTHS >= len(seen) + 1:
            seen.append(use())
            now = seen[-1]
            passed = time.monotonic() - start
            print(
                f"{cycle + 1:6}{passed:9.0f}{now.rss_kib / 1024:11.1f}"
                f"{now.descriptors:13}{now.threads:9}",
                flush=True,
            )
        if share >= 1:
            break
    grown = [late - early for early, late in zip(seen[0], seen[-1], strict=True)]
    print(
        f"growth from the first tenth to the last: RSS {grown[0] / 1024:.1f} MiB, "
        f"descriptors {grown[1]}, threads {grown[2]}"
    )


def main(cycles: int = 1_000, seconds: float = 480, scored: int = 1) -> None:
    """Start an engine, and soak."""
    base = Path(tempfile.mkdtemp(prefix="assess-"))
    engine = real.start(real.engine_directories()[0], base / "h")
    try:
        real.wait(engine)
        soak(engine.endpoint, base, cycles, seconds, scored)
    finally:
        engine.stop()
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
