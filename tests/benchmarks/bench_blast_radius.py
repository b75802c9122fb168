"""Blast radius of everything at once, against plain peers and the memory's speed, in one run.

``python tests/benchmarks/bench_blast_radius.py [THINGS …]`` prints CPU seconds; the ratios count,
as machines differ. It needs the dependency group ``bench``. Peers answer less: reach alone, no
replicas, no criticality; ``reach`` is the same question put to assess.
With ``--plot FILE`` it draws how time and memory grow.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_array, csr_array, eye_array

from assess.policy import load_policy
from assess.score.blast_radius.propagation import Scenarios, propagate
from assess.score.blast_radius.topology import Graph
from assess.score.blast_radius.uncertain import Sampling

TOPOLOGIES = ("layered", "power-law", "cycles", "hubs")
DOMAIN, ACROSS, BACK, DEGREE, LAYERS = 200, 0.08, 0.02, 4, 10
PATIENCE = {"assess": 900}  # CPU seconds for one measurement; 60 for peers
TIRED = 0.3  # a peer that took so many is not asked about ten times as many things
PEERS = ("igraph", "networkit", "rustworkx", "networkx", "scipy")
ENOUGH = 0.2  # seconds to measure; what takes less is done again
LARGE = 1_000_000  # here the reach, and the radius without replicas, are left out


def calls(services: int, topology: str, rng: np.random.Generator) -> np.ndarray:
    """Who calls whom: pairs of callee and caller.

    Cycles: domains of 200 with calls across and back. Layered: each layer calls the one below.
    Power-law: the older a service, the more call it. Hubs: a fifth of all calls goes to a few.
    """
    src = np.repeat(np.arange(services), rng.poisson(DEGREE, services))
    any_of, domain = rng.random(len(src)), src // DOMAIN * DOMAIN
    dst = domain + (any_of * np.maximum(src - domain, 1)).astype(int)
    if topology == "layered":
        layer = src * LAYERS // services
        dst = ((layer - 1 + any_of) * services / LAYERS).astype(int)
        dst = np.where(layer == 0, src, dst)
    elif topology == "power-law":
        dst = (any_of**3 * src).astype(int)
    elif topology == "cycles":
        dst = np.where(
            rng.random(len(src)) < ACROSS, rng.integers(0, services, len(src)), dst
        )
        back = np.minimum(domain + rng.integers(0, DOMAIN, len(src)), services - 1)
        dst = np.where(rng.random(len(src)) < BACK, back, dst)
    else:
        hub = rng.integers(0, max(services // 1000, 5), len(src))
        dst = np.where(rng.random(len(src)) < 0.2, hub, dst)
    return np.unique(np.stack([dst, src], axis=1)[dst != src], axis=0)


class Fleet:
    """Zone, host, replica; registry, base image, image, replica; replica, service, caller.

    A quarter of the things are services, with 1, 2, 3 or 5 replicas of which they need half.
    """

    def __init__(self, things: int, topology: str) -> None:
        rng = np.random.default_rng(1)
        n = self.services = things // 4
        self.arcs = calls(n, topology, rng)
        self.replicas = rng.choice([1, 2, 3, 5], n)
        self.owner = np.repeat(np.arange(n), self.replicas)
        host = rng.integers(0, max(things // 20, 3), len(self.owner))
        image = np.unique(np.minimum(rng.zipf(1.6, n), n), return_inverse=True)[1][
            self.owner
        ]
        base = np.minimum(rng.zipf(1.6, n), max(n // 50, 3))[image]
        sizes = [n, len(self.owner), host.max() + 1, 3, image.max() + 1, base.max() + 1]
        replica, hosts, zones, images, bases, registry = np.cumsum(sizes)
        own = np.arange(replica, hosts)
        self.on = [
            own,
            hosts + host,
            zones + host % 3,
            images + image,
            bases + base,
            np.full(len(own), registry),
        ]
        self.things = int(registry) + 1
        self.weight = rng.integers(1, 9, n).astype(float)
        pairs = [
            (own, self.owner),
            (self.on[1], own),
            (self.on[2], self.on[1]),
            (self.on[3], own),
            (self.on[4], self.on[3]),
            (self.on[5], self.on[4]),
        ]
        both = np.concatenate([self.arcs, *(np.stack(pair, axis=1) for pair in pairs)])
        self.plain = np.unique(both, axis=0)

    def direct(self, *, replicas: bool) -> Scenarios:
        """What each thing takes down by itself; without replicas, by taking one of them."""
        n = self.services
        spare = self.replicas - (self.replicas + 1) // 2 if replicas else np.zeros(n, int)
        scenario, node = [np.arange(n)], [np.arange(n)]
        for on in self.on:
            key, lost = np.unique(on * n + self.owner, return_counts=True)
            key = key[lost > spare[key % n]]
            scenario.append(key // n)
            node.append(key % n)
        unlisted = np.zeros(self.things, bool)
        return Scenarios(
            np.concatenate(scenario), np.concatenate(node), self.things, unlisted
        )


def graph_of(nodes: int, arcs: np.ndarray, weight: np.ndarray) -> Graph:
    """A graph of certain arcs."""
    keys = np.zeros(len(arcs), np.uint64)
    return Graph(nodes, arcs[:, 0], arcs[:, 1], np.ones(len(arcs)), keys, weight)


def assess(fleet: Fleet, *, replicas: bool = True) -> Callable[[], float]:
    """Weigh what falls with each thing: the mean share."""
    failing = fleet.direct(replicas=replicas)
    sampling = Sampling.of(load_policy())

    def run() -> float:
        graph = graph_of(fleet.services, fleet.arcs, fleet.weight)
        return float(
            propagate(graph, failing, sampling=sampling).loss.mean() / fleet.weight.sum()
        )

    return run


def reach(fleet: Fleet) -> Callable[[], int]:
    """Count what each thing reaches, as peers do."""
    every, unlisted = np.arange(fleet.things), np.zeros(fleet.things, bool)
    failing = Scenarios(every, every, fleet.things, unlisted)
    sampling = Sampling.of(load_policy())

    def run() -> int:
        graph = graph_of(fleet.things, fleet.plain, np.zeros(fleet.things))
        return int(propagate(graph, failing, sampling=sampling).reached_n.sum())

    return run


def floor(fleet: Fleet) -> float:
    """Seconds to move a bit per scenario along every arc: two rows read, one written."""
    block = np.ones(1 << 25)
    seconds, _ = timed(block.copy)
    return 3 * len(fleet.arcs) * fleet.things / 8 * seconds / (2 * block.nbytes)


def igraph(fleet: Fleet) -> Callable[[], int]:
    """Count by igraph."""
    from igraph import Graph as Peer

    peer = Peer(n=fleet.things, edges=fleet.plain, directed=True)
    return lambda: sum(peer.neighborhood_size(order=fleet.things, mode="out"))


def networkit(fleet: Fleet) -> Callable[[], int]:
    """Count by NetworKit's ReachableNodes, exactly, on one thread."""
    import networkit as nk

    nk.setNumberOfThreads(1)
    rows, columns = np.ascontiguousarray(fleet.plain.T)
    ones = np.ones(len(rows))
    peer = nk.GraphFromCoo(
        (ones, (rows, columns)), n=fleet.things, weighted=False, directed=True
    )

    def run() -> int:
        reachable = nk.reachability.ReachableNodes(peer, exact=True).run()
        return sum(map(reachable.numberOfReachableNodes, range(fleet.things)))

    return run


def rustworkx(fleet: Fleet) -> Callable[[], int]:
    """Count by rustworkx."""
    from rustworkx import PyDiGraph, descendants

    peer = PyDiGraph()
    peer.add_nodes_from(range(fleet.things))
    peer.add_edges_from_no_data([tuple(arc) for arc in fleet.plain.tolist()])
    return lambda: sum(len(descendants(peer, thing)) + 1 for thing in range(fleet.things))


def networkx(fleet: Fleet) -> Callable[[], int]:
    """Count by networkx."""
    from networkx import DiGraph, descendants

    peer = DiGraph(fleet.plain.tolist())
    peer.add_nodes_from(range(fleet.things))
    return lambda: sum(len(descendants(peer, thing)) + 1 for thing in range(fleet.things))


def scipy(fleet: Fleet) -> Callable[[], int]:
    """Count by squaring the matrix until nothing is added."""
    ones, shape = np.ones(len(fleet.plain), np.float32), (fleet.things, fleet.things)
    step = csr_array(coo_array((ones, tuple(fleet.plain.T)), shape=shape))

    def run() -> int:
        found, before = csr_array(step + eye_array(fleet.things, dtype=np.float32)), 0
        while found.nnz != before:
            before = found.nnz
            found = csr_array(found @ found)
            found.data[:] = 1
        return int(found.nnz)

    return run


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Run, again where it is short; give the CPU seconds of a run and what it gave."""
    start, times, seconds = time.process_time(), 0, 0.0
    while seconds < ENOUGH:
        result = function()
        times, seconds = times + 1, time.process_time() - start
    return seconds / times, result


def one(what: str, things: int, topology: str) -> dict[str, float]:
    """Time one thing in a process of its own, whose memory is measured too."""
    make, patience = globals()[what], PATIENCE.get(what, 60)
    resource.setrlimit(resource.RLIMIT_CPU, (patience, patience))
    make(Fleet(100, topology))()  # imports and compiling are not measured
    fleet = Fleet(things, topology)
    seconds, found = timed(make(fleet))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if what != "assess":
        return {what: seconds, "n": found}
    row = {what: seconds, "MiB": peak, "floor": floor(fleet), "mean": found}
    if things < LARGE:
        row["no replicas"] = assess(fleet, replicas=False)() / found
    return row


def apart(what: str, things: int, topology: str) -> dict[str, float]:
    """Run `one` in its own process; nothing where it runs out of time."""
    command = [sys.executable, __file__, "--one", what, topology, str(things)]
    run = subprocess.run(command, capture_output=True, check=False)
    return json.loads(run.stdout) if run.returncode == 0 else {}


def measure(things: int, topology: str, tired: set[tuple[str, str]]) -> dict[str, Any]:
    """Time one fleet; the peers must count what assess counts."""
    row: dict[str, Any] = {"graph": topology, "things": things}
    row |= apart("assess", things, topology)
    row.pop("mean")
    counts = set()
    for what in ("reach", *PEERS) if things < LARGE else ():
        found = {} if (what, topology) in tired else apart(what, things, topology)
        if found.get(what, TIRED) >= TIRED and what in PEERS:
            tired.add((what, topology))
        if found:
            counts.add(found["n"])
            row[what] = found[what]
    if len(counts) > 1:
        raise SystemExit(f"counts differ: {counts}")
    return row


def plot(table: pd.DataFrame, file: str) -> None:
    """Draw how time and memory grow."""
    from matplotlib import pyplot as plt
    from matplotlib.ticker import NullLocator

    from assess.figures import style

    with style():
        _, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
        for (topology, rows), mark in zip(table.groupby("graph"), "osD^", strict=False):
            left.plot(rows["things"], rows["assess"], marker=mark, label=topology)
            right.plot(rows["things"], rows["MiB"], marker=mark, label=topology)
        peer = table[table["graph"] == "cycles"]
        left.plot(
            peer["things"], peer["igraph"], ":", color="#5b6470", label="igraph, cycles"
        )
        left.set(
            xscale="log",
            yscale="log",
            xlabel="Things that can fail (count)",
            ylabel="Time (CPU seconds)",
            title="Time",
        )
        right.set(
            xscale="log",
            ylim=(0, None),
            xlabel="Things that can fail (count)",
            ylabel="Peak memory of the process (MiB)",
            title="Memory",
        )
        for axis in (left.xaxis, left.yaxis, right.xaxis):
            axis.set_major_formatter("{x:,.7g}")
            axis.set_minor_locator(NullLocator())
        # where there is room
        right.legend(*left.get_legend_handles_labels(), frameon=False)
        plt.savefig(file, metadata={"Date": None} if file.endswith("svg") else None)


def main() -> None:
    """Print one row per fleet."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("things", nargs="*", type=int, default=[1000, 10_000])
    arguments.add_argument("--plot")
    arguments.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.one:
        print(json.dumps(one(given.one[0], given.things[0], given.one[1])))  # noqa: T201
        return
    rows, tired = [], set()
    for topology in TOPOLOGIES:
        for things in given.things:
            rows.append(measure(things, topology, tired))
            print(rows[-1], file=sys.stderr, flush=True)  # noqa: T201
    table = pd.DataFrame(rows).reindex(
        columns=[
            "graph",
            "things",
            "assess",
            "MiB",
            "floor",
            "reach",
            *PEERS,
            "no replicas",
        ]
    )
    text = table.map(
        lambda v: (
            v
            if isinstance(v, str)
            else "–"
            if pd.isna(v)
            else f"{v:,.3g}"
            if v < 1000
            else f"{v:,.0f}"
        )
    )
    lines = [text.columns, ["---", *["---:"] * (len(text.columns) - 1)], *text.to_numpy()]
    print("\n".join(f"| {' | '.join(line)} |" for line in lines))  # noqa: T201
    if given.plot:
        plot(table, given.plot)


if __name__ == "__main__":
    main()
