"""Average precision of predictions on simulated systems of several families, in one run.

``python tests/benchmarks/bench_predictions.py [SEEDS]`` prints a row per family: what each rule
finds of who else went down, for failures left out and for elements left out.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).parent.parent / "score"))

from simulated_world import FAMILIES, average_precisions


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
    lines = [["family", *table.columns], ["---", *["---:"] * len(table.columns)]]
    lines += [[name, *(f"{v:.2f}" for v in row)] for name, row in table.iterrows()]
    print("\n".join(f"| {' | '.join(line)} |" for line in lines))  # noqa: T201


if __name__ == "__main__":
    main()
