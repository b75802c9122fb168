"""SMAA-2 and the knob of the meeting, beside plain numpy, the bare products and peers, in one run.

``uv run --group bench python tests/benchmarks/bench_decision.py [SERVICES …]`` prints CPU seconds
and MiB as a Markdown table; the ratios count, as machines differ. Peers rank once per draw and
know neither SMAA nor what is unknown; they are asked for a few draws, and their seconds scaled up.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd

from assess.policy import load_policy
from assess.score.what_next.ranking import Ranking
from assess.score.what_next.smaa import (
    PRODUCTS,
    ROWS,
    acceptability,
    simplex_weights,
)

DRAWS, CRITERIA, K = 10_000, 20, 10
PEER_DRAWS = 20  # of a peer; its seconds are scaled up
PLAIN_BYTES = 64 * 2**20
RANKED = 2000  # alternatives up to which every rank is counted
COLUMNS = (
    "services",
    "ranks",
    "assess",
    "products",
    "plain",
    "pymcdm",
    "scikit-criteria",
    "intervals",
    "knob",
    "MiB",
)


def clock(run: Callable[[], Any]) -> float:
    """CPU seconds that a call takes."""
    start = time.process_time()
    run()
    return time.process_time() - start


def products(values: np.ndarray, weights: np.ndarray) -> None:
    """Add up and count nothing: the floor, in tiles that one core multiplies."""
    width = min(len(values), PRODUCTS // (ROWS * CRITERIA))
    tiles = (
        values[: len(values) // width * width].reshape(-1, width, CRITERIA).swapaxes(1, 2)
    )
    tiles, rows = np.ascontiguousarray(tiles), PRODUCTS // (CRITERIA * width)
    for start in range(0, len(weights), rows):
        for tile in range(0, len(tiles), 10):
            weights[start : start + rows] @ tiles[tile : tile + 10]


def plain(values: np.ndarray, weights: np.ndarray, k: int) -> None:
    """Do it as one would write it down: sums, an order of each draw, and counts."""
    n = len(values)
    step = max(1, PLAIN_BYTES // (8 * n))
    for start in range(0, len(weights), step):
        totals = -(weights[start : start + step] @ values.T)
        if n <= RANKED:
            order = np.argsort(totals, axis=1)
            np.bincount((order * n + np.arange(n)).ravel(), minlength=n * n)
        else:
            np.bincount(np.argpartition(totals, k, axis=1)[:, :k].ravel(), minlength=n)


def by_pymcdm(values: np.ndarray, weights: np.ndarray) -> None:
    """Rank with pymcdm, a draw at a time."""
    from pymcdm.methods import TOPSIS

    method, types = TOPSIS(), np.ones(CRITERIA)
    for row in weights:
        method.rank(method(values, row, types))


def by_skcriteria(values: np.ndarray, weights: np.ndarray) -> None:
    """Rank with scikit-criteria, a draw at a time."""
    from skcriteria import mkdm
    from skcriteria.agg.simple import WeightedSumModel

    method = WeightedSumModel()
    for row in weights:
        np.bincount(method.evaluate(mkdm(values, [1] * CRITERIA, weights=row)).rank_)


def peer(
    module: str, run: Callable[..., None], values: np.ndarray, weights: np.ndarray
) -> float:
    """CPU seconds of a peer for all draws; NaN where it is not installed."""
    if not find_spec(module):
        return np.nan
    run(values, weights[:1])  # imports
    return clock(lambda: run(values, weights[:PEER_DRAWS])) * len(weights) / PEER_DRAWS


def knob(services_n: int, rng: np.random.Generator) -> float:
    """CPU seconds to rank and label a fleet anew after a change of weights."""
    policy = load_policy()
    names = pd.Index([f"s{i:06}" for i in range(services_n)], name="service_id")
    rows = [
        pd.DataFrame({"service_id": names, "criterion": c, "lo": rng.random(services_n)})
        for c in policy["criteria"]
    ]
    table = pd.concat(rows)
    table["hi"] = np.minimum(table["lo"] + 0.1, 1)
    frame = pd.DataFrame(
        {"label_gates": None, "readiness_lo": 80.0, "platform": "host"}, names
    )
    board = {"weights": {"readiness": 2, "low_effort": 1}}
    return clock(lambda: Ranking.of(frame, table, policy).under(board, draws=2000))


def line(n: int, rng: np.random.Generator) -> list[str]:
    """Measure one size."""
    lo = rng.random((n, CRITERIA))
    hi = np.minimum(lo + 0.1, 1)
    weights = simplex_weights(DRAWS, CRITERIA, rng)
    took, wide = (
        clock(
            lambda end=end, ranks=ranks: acceptability(
                lo, end, weights, k=K, rng=np.random.default_rng(2), ranks=ranks
            )
        )
        for end, ranks in ((lo, n if n <= RANKED else 0), (hi, 0))
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    seconds = [
        took,
        clock(lambda: products(lo, weights)),
        clock(lambda: plain(lo, weights, min(K, n - 1))),
        peer("pymcdm", by_pymcdm, lo, weights),
        peer("skcriteria", by_skcriteria, lo, weights),
        wide,
        knob(n, rng),
    ]
    told = [f"{s:.2g}" if s < 10 else "–" if np.isnan(s) else f"{s:.0f}" for s in seconds]
    return [f"{n:,}", "all" if n <= RANKED else f"top {K}", *told, f"{peak}"]


def main(sizes: list[int]) -> None:
    """Write one row per size, each from a process of its own, so that memory is its own."""
    if len(sizes) == 1:
        row = line(sizes[0], np.random.default_rng(1))
        sys.stdout.write("| " + " | ".join(row) + " |\n")
        return
    for row in (COLUMNS, ["---:"] * len(COLUMNS)):
        sys.stdout.write("| " + " | ".join(row) + " |\n")
    sys.stdout.flush()
    for n in sizes:
        subprocess.run([sys.executable, __file__, str(n)], check=True)


if __name__ == "__main__":
    main([int(n) for n in sys.argv[1:]] or [10, 100, 1_000, 10_000, 100_000])
