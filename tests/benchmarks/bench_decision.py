"""SMAA-2 and the knob of the meeting, with memory, beside peers in the same run.

``python tests/benchmarks/bench_decision.py [SERVICES …]`` prints seconds and MiB. The floor is the
weighted sums alone. The peer pymcdm is asked where it is installed; it ranks a draw at a time.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd

from assess.policy import load_policy
from assess.score.boards import Contest
from assess.score.smaa import BLOCK_BYTES, RANKED, acceptability
from assess.score.weights import simplex_weights

DRAWS, CRITERIA, K = 10_000, 20, 10
PEER_DRAWS = 100  # of the peer; its seconds are scaled up


def clock(run: Callable[[], Any]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def floor(values: np.ndarray, weights: np.ndarray) -> None:
    """Multiply block by block, and count nothing."""
    step = max(1, BLOCK_BYTES // (8 * len(values)))
    for start in range(0, len(weights), step):
        weights[start : start + step] @ values.T


def by_pymcdm(values: np.ndarray, weights: np.ndarray) -> float:
    """Rank with the peer, once per draw; NaN where it is not installed."""
    if not find_spec("pymcdm"):
        return float("nan")
    from pymcdm.methods import TOPSIS

    method, types = TOPSIS(), np.ones(CRITERIA)
    one = clock(lambda: [method(values, w, types).argsort() for w in weights[:PEER_DRAWS]])
    return one * len(weights) / PEER_DRAWS


def knob(services_n: int, rng: np.random.Generator) -> float:
    """Seconds to rank and label a fleet anew after a change of weights."""
    policy = load_policy()
    names = pd.Index([f"s{i:06}" for i in range(services_n)], name="service_id")
    rows = [
        pd.DataFrame({"service_id": names, "criterion": c, "lo": rng.random(services_n)})
        for c in policy["criteria"]
    ]
    table = pd.concat(rows)
    table["hi"] = np.minimum(table["lo"] + 0.1, 1)
    frame = pd.DataFrame({"label_gates": None, "readiness_lo": 80.0, "platform": "host"}, names)
    contest = Contest.of(frame, table, policy)
    return clock(lambda: contest.under({"weights": {"readiness": 2, "low_effort": 1}},
                                       draws=2000))  # fmt: skip


def smaa(n: int, rng: np.random.Generator) -> str:
    """Time one size, and give its line."""
    lo = rng.random((n, CRITERIA))
    weights = simplex_weights(DRAWS, CRITERIA, rng)
    took = clock(lambda: acceptability(lo, lo, weights, k=K, rng=np.random.default_rng(2)))
    least = clock(lambda: floor(lo, weights))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    small = n <= RANKED
    ranks = "all" if small else f"top-{K}"
    peer, turned = (by_pymcdm(lo, weights), knob(n, rng)) if small else (np.nan, np.nan)
    return f"{n:9,} {ranks:>6} {took:8.2f} {least:8.2f} {peer:8.1f} {turned:8.2f} {peak:6}\n"


def main(sizes: list[int]) -> None:
    """Write one line per size."""
    rng = np.random.default_rng(1)
    sys.stdout.write(f"{DRAWS:,} draws, {CRITERIA} criteria; seconds\n")
    sys.stdout.write(" services  ranks   assess    floor   pymcdm     knob    MiB\n")
    for n in sizes:
        sys.stdout.write(smaa(n, rng))


if __name__ == "__main__":
    main([int(n) for n in sys.argv[1:]] or [10, 1_000, 100_000])
