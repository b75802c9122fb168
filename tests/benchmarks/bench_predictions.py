"""Average precision of predictions on simulated systems of several families, in one run.

``python tests/benchmarks/bench_predictions.py [SEEDS]`` prints a row per family: what each rule
finds of who else went down, for failures left out and for elements left out. Then how often the
interval of one failure holds it, by how many services can be reached.
``bench_predictions.py held-out`` judges the systems at whose seeds nothing was chosen.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent.parent / "score"))

from held_out_systems import UNTOUCHED, judged
from simulated_world import FAMILIES, average_precisions, held_by_intervals, later

RESAMPLES = 2000  # of the systems, for 90 % intervals
REACHES = [0, 1, 2, 4, 8, 16, 32, 1000]


def main() -> None:
    """Print tables in Markdown."""
    if sys.argv[1:] == ["held-out"]:
        show("rule", held_out(), 3)
        return
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    rows = {
        family: pd.DataFrame(
            average_precisions(seed, family, services=services)
            for seed in range(seeds)
            for services in (12, 40)
        ).mean()
        for family in FAMILIES
    }
    table = pd.DataFrame(rows).T
    table.loc["mean"] = table.mean()
    show("family", table, 2)
    show("published, after", published(seeds), 2)
    for noise, taught in ((0.0, 0), (0.01, 150)):
        show(f"can be reached, {noise:.0%} besides", intervals(seeds, noise, taught), 3)


def published(seeds: int) -> pd.DataFrame:
    """Return by number of known failures how `score_blast_radius` predicts the later ones."""
    rows = {
        f"{taught} failures": pd.DataFrame(
            later(seed, family, services=24, taught=taught)
            for seed in range(30, 30 + seeds)
            for family in FAMILIES
        ).mean()
        for taught in (0, 10, 40, 140)
    }
    return pd.DataFrame(rows).T


def held_out() -> pd.DataFrame:
    """Return by rule its average precision, its gain over others, and how often it has none."""
    table = pd.DataFrame(judged(seed) for seed in UNTOUCHED)
    rows = {}
    for scheme in ("event", "element"):
        learned = table[f"learned, {scheme} left out"]
        for name in (f"flat p, {scheme} left out", "all transitive callers", "p_down"):
            gain = learned - table[name]
            rng = np.random.default_rng(1)
            means = rng.choice(gain, (RESAMPLES, len(gain))).mean(axis=1)
            rows[f"{scheme} left out: over {name.split(',')[0]}"] = {
                "learned": learned.mean(),
                "other": table[name].mean(),
                "gain": gain.mean(),
                "gain_lo": np.quantile(means, 0.05),
                "gain_hi": np.quantile(means, 0.95),
                "below by .01 [share]": (gain < -0.01).mean(),
            }
    return pd.DataFrame(rows).T


def intervals(seeds: int, noise: float, taught: int) -> pd.DataFrame:
    """Return by reach the share inside, the width, and that of the narrowest as good interval."""
    table = pd.concat(
        held_by_intervals(seed, family, services=n, noise=noise, taught=taught)
        for seed in range(20, 20 + seeds)
        for family in ("mixed", "callers", "many")
        for n in (12, 40, 100)
    )
    classes = pd.cut(table["reach"].astype(float), REACHES)
    return table.groupby(classes, observed=True)[["inside", "width", "best"]].mean()


def show(name: str, table: pd.DataFrame, digits: int) -> None:
    """Print a table in Markdown."""
    lines = [[name, *table.columns], ["---", *["---:"] * len(table.columns)]]
    for row in table.itertuples():
        lines.append([str(row[0]), *(f"{value:.{digits}f}" for value in row[1:])])
    print("\n".join(f"| {' | '.join(line)} |" for line in lines), end="\n\n")  # noqa: T201


if __name__ == "__main__":
    main()
