"""Blast radius of everything at once, against plain peers in the same run.

``python tests/benchmarks/bench_blast_radius.py [SERVICES …]`` prints seconds; the ratios count, as
machines differ. Peers answer less: reach alone, no replicas, no uncertain edges, no criticality.
"""

from __future__ import annotations

import math
import sys
import time
from collections import deque

import numpy as np
import pandas as pd
from scipy.sparse import coo_array, csr_array, eye_array

from assess.inventory import Inventory, from_frames
from assess.policy import load_policy
from assess.score.blast_radius import failure_graph, sampling_of, score_blast_radius
from assess.score.graph import build_fleet
from assess.score.spread import Graph, seeds_of, spread

DOMAIN, ACROSS, BACK, DEGREE = 200, 0.08, 0.02, 4
PAIRS_MOST = 30_000_000  # above, the list of who falls with what takes gigabytes
SCIPY_MOST = 3000  # above, the matrix of a heavy graph takes minutes


def make_fleet(services_n: int, *, heavy: bool, cache: float = 0.0, seed: int = 1) -> Inventory:
    """Make services that call each other, on hosts in three zones.

    Heavy: domains of 200 with calls across and back, so that large cycles form; else layers. A
    share of the calls is to caches, which are uncertain.
    """
    rng = np.random.default_rng(seed)
    names = np.array([f"s{i:06}" for i in range(services_n)])
    src = np.repeat(np.arange(services_n), rng.poisson(DEGREE, services_n))
    domain = src // DOMAIN * DOMAIN
    dst = domain + (rng.random(len(src)) * np.maximum(src - domain, 1)).astype(int)
    if heavy:
        dst = np.where(rng.random(len(src)) < ACROSS, rng.integers(0, services_n, len(src)), dst)
        back = domain + rng.integers(0, DOMAIN, len(src))
        dst = np.where(rng.random(len(src)) < BACK, np.minimum(back, services_n - 1), dst)
    kind = np.where(rng.random(len(src)) < cache, "cache", "call")
    arcs = pd.DataFrame({"src_id": names[src], "dst_id": names[dst], "kind": kind})
    arcs = arcs.drop_duplicates(["src_id", "dst_id"]).assign(evidence="traces")
    owner = np.repeat(np.arange(services_n), rng.choice([1, 2, 3, 5], services_n))
    hosts_n = max(services_n // 20, 3)
    host = rng.integers(0, hosts_n, len(owner))
    image = np.minimum(rng.zipf(1.6, services_n), services_n)
    tables = {
        "services": pd.DataFrame(
            {"service_id": names, "tier": rng.integers(1, 5, services_n), "min_healthy_pct": 50.0}
        ),
        "hosts": pd.DataFrame(
            {"host_id": [f"h{i}" for i in range(hosts_n)],
             "az": [f"z{i % 3}" for i in range(hosts_n)]}
        ),
        "engines": pd.DataFrame(
            {"host_id": [f"h{i}" for i in range(hosts_n)], "runtime": "docker",
             "version": [f"{20 + i % 9}.0.1" for i in range(hosts_n)]}
        ),
        "workloads": pd.DataFrame(
            {"workload_id": [f"w{i}" for i in range(len(owner))], "service_id": names[owner],
             "host_id": [f"h{i}" for i in host], "state": "running", "registry": "docker.io",
             "repository": [f"r{i}" for i in image[owner]], "tag": "1"}
        ),
        "dependencies": arcs,
    }  # fmt: skip
    return from_frames(tables, snapshot_at="2026-09-30")


def reach_bfs(graph: Graph) -> int:
    """Count what each node reaches, one search after the other."""
    heads: list[list[int]] = [[] for _ in range(graph.nodes)]
    for tail, head in zip(graph.tail.tolist(), graph.head.tolist(), strict=True):
        heads[tail].append(head)
    total = 0
    for start in range(graph.nodes):
        seen, queue = {start}, deque([start])
        while queue:
            for head in heads[queue.popleft()]:
                if head not in seen:
                    seen.add(head)
                    queue.append(head)
        total += len(seen)
    return total


def reach_scipy(graph: Graph) -> int:
    """Count what each node reaches, by squaring the matrix until nothing is added."""
    ones = np.ones(len(graph.tail), np.float32)
    shape = (graph.nodes, graph.nodes)
    step = csr_array(coo_array((ones, (graph.tail, graph.head)), shape=shape))
    reach = csr_array(step + eye_array(graph.nodes, dtype=np.float32))
    before = 0
    while reach.nnz != before:
        before = reach.nnz
        reach = csr_array(reach @ reach)
        reach.data[:] = 1
    return int(reach.nnz)


def reach_lanes(graph: Graph) -> int:
    """Weigh what each node reaches, as lanes."""
    every = np.arange(graph.nodes)
    sure, ones = np.ones(len(graph.p)), np.ones(graph.nodes)
    plain = Graph(graph.nodes, graph.tail, graph.head, sure, graph.keys, ones)
    seeds = seeds_of(graph.nodes, every, every, graph.nodes)
    found = spread(plain, seeds, graph.nodes, sampling=sampling_of(load_policy()), pairs=False)
    return round(found.loss.sum())


def timed(function, *args, **options):
    """Run, and give the seconds that it took and what it gave."""
    start = time.perf_counter()
    result = function(*args, **options)
    return time.perf_counter() - start, result


def measure(services_n: int, *, heavy: bool, cache: float) -> dict[str, object]:
    """Time one fleet; the peers must count what the lanes count."""
    inventory, policy = make_fleet(services_n, heavy=heavy, cache=cache), load_policy()
    row = {"services": services_n, "graph": "heavy" if heavy else "light", "uncertain": cache}
    row["fleet"], fleet = timed(build_fleet, inventory, policy)
    graph = failure_graph(fleet, "point")
    row["lanes"], n = timed(reach_lanes, graph)
    for name, peer, most in (("scipy", reach_scipy, SCIPY_MOST), ("bfs", reach_bfs, math.inf)):
        if services_n <= most and not cache:
            row[name], m = timed(peer, graph)
            if n != m:
                raise SystemExit(f"{name} counts {m}, lanes {n}")
    if n > PAIRS_MOST:
        return row
    row["score"], _ = timed(score_blast_radius, inventory, policy, detail=False)
    row["with moves"], _ = timed(score_blast_radius, inventory, policy)
    return row


def main() -> None:
    """Print one row per fleet."""
    sizes = [int(arg) for arg in sys.argv[1:]] or [1000, 10_000]
    score_blast_radius(make_fleet(10, heavy=True), load_policy())  # imports are not measured
    for size in sizes:
        for heavy, cache in ((False, 0.0), (True, 0.0), (False, 0.05), (True, 0.05)):
            row = pd.DataFrame([measure(size, heavy=heavy, cache=cache)])
            print(row.round(3).to_string(index=False), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
