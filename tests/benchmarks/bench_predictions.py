"""Average precision of predictions on simulated systems of several families, in one run.

``python tests/benchmarks/bench_predictions.py [SEEDS]`` prints a row per family: what each rule
finds of who else went down, for failures left out and for elements left out. Then how often the
interval of one failure holds it, by how many services can be reached.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).parent.parent / "score"))

from simulated_world import FAMILIES, average_precisions, held_by_intervals

REACHES = [0, 1, 2, 4, 8, 16, 32, 1000]


def main() -> None:
    """Print a table in Markdown."""
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
    for noise, taught in ((0.0, 0), (0.01, 150)):
        show(f"can be reached, {noise:.0%} besides", intervals(seeds, noise, taught), 3)


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
