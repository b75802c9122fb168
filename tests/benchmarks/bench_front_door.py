"""Collection, load, scores and what_next on sample fleets, as users call them: time and memory.

``python tests/benchmarks/bench_front_door.py [SERVICES ...] [--plot FILE]`` prints a table in
Markdown. Every step runs in a process of its own, which loads the snapshot first; ``collect``
reads dumps of docker, ansible and kubectl that show the same fleet. Seconds are of the processor;
``MiB`` is the peak of the process. ``growth`` is the exponent between 2,000 services (the smallest
fleet where all are larger, or one alone is not) and the largest fleet: 1 is linear. Read it with the
load of the machine beside it.

``--kept DIR`` looks there first for fleets, as directories named by the number of their services,
and leaves those there that it has to make: the largest one takes minutes.

``--together`` runs the scores of a fleet in one process, each handed those before it, as the report
does: for the largest fleets, where loading and scoring anew for each step would take hours. ``MiB``
is then the peak so far.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
from dumping import write_dumps

import assess
from assess.sample import write_sample
from assess.score.assessment import Assessment

STEPS = {
    "collect": None,
    "load": None,
    "readiness": "score_readiness",
    "blast radius": "score_blast_radius",
    "upgrade churn": "score_upgrade_churn",
    "targets": "score_targets",
    "claims": "judge_claims",
    "what next": "what_next",
    "report": "build_report",
}
SCORES = ("readiness", "upgrade churn", "blast radius", "what next", "targets", "claims")
QUARTERS = ("2026Q3",)
SIZES = [500, 2000]
GROWTH_FROM = 2000  # services: below, what every fleet costs hides the growth


def one(step: str, snapshot: str) -> dict[str, float]:
    """Time one step in this process; what is loaded before is not counted, but in memory."""
    policy = assess.load_policy()
    start = time.process_time()
    if step == "collect":
        assess.collect(snapshot)
    else:
        inventory = assess.load(snapshot)
    if STEPS[step] is not None:
        start = time.process_time()
        getattr(assess, STEPS[step])(inventory, policy)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "MiB": peak}


def together(steps: list[str], snapshot: str) -> list[dict[str, Any]]:
    """Time the steps in this process, each handed the results of those before it."""
    start = time.process_time()
    scores = Assessment(assess.load(snapshot), assess.load_policy())
    rows = []
    for step in ["load", *(step for step in steps if step in SCORES)]:
        if step != "load":
            start = time.process_time()
            getattr(scores, step.replace(" ", "_"))
        seconds = time.process_time() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        rows.append({"step": step, "seconds": seconds, "MiB": peak})
        sys.stderr.write(f"{rows[-1]}\n")
    return rows


def apart(step: str, snapshot: Path) -> dict[str, float]:
    """Run a step in a process of its own; nothing where it fails."""
    command = [sys.executable, __file__, "--one", step, str(snapshot)]
    run = subprocess.run(command, capture_output=True, check=False)
    return json.loads(run.stdout) if run.returncode == 0 else {}


def in_one(steps: list[str], snapshot: Path) -> list[dict[str, Any]]:
    """Run the steps of a fleet in one process of their own."""
    command = [sys.executable, __file__, "--in-one", str(snapshot), *steps]
    run = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    rows: list[dict[str, Any]] = json.loads(run.stdout)
    return rows


def exponent(table: pd.DataFrame, column: str) -> float:
    """Return how a figure grows to the largest fleet."""
    rows = table.dropna(subset=[column]).sort_values("services")
    large = rows[rows["services"] >= GROWTH_FROM]
    ends = (large if len(large) > 1 else rows).iloc[[0, -1][: len(rows)]]
    sizes = ends["services"]
    if sizes.nunique() < 2:
        return math.nan
    grown = math.log(ends[column].iloc[1] / ends[column].iloc[0])
    return grown / math.log(sizes.iloc[1] / sizes.iloc[0])


def fleet(place: Path) -> tuple[Path, dict[str, float]]:
    """Return the snapshot of a fleet, and what making it took; nothing where it is there."""
    made = [path for path in place.glob("*") if path.name in QUARTERS]
    if made:
        return made[-1], {}
    start = time.process_time()
    snapshot = write_sample(place, services=int(place.name), quarters=QUARTERS)[-1]
    return snapshot, {"seconds": time.process_time() - start}


def measure(
    sizes: list[int], steps: list[str], *, is_together: bool, kept: str = ""
) -> pd.DataFrame:
    """Time every step on a fleet of every size: ``step, services, seconds, MiB``."""
    rows = []
    for services in sizes:
        with tempfile.TemporaryDirectory() as place:
            snapshot, made = fleet(Path(kept or place) / str(services))
            found: list[dict[str, Any]] = [{"step": "sample", **made}]
            if is_together:
                found += in_one(steps, snapshot)
            for step in [] if is_together else steps:
                asked = snapshot
                if step == "collect":
                    asked = write_dumps(snapshot, Path(place) / "dumps")
                found.append({"step": step, **apart(step, asked)})
                sys.stderr.write(f"{services} {found[-1]}\n")
            rows += [{"services": services, **row} for row in found]
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame) -> str:
    """Write a row per step: seconds and MiB by size, and both exponents."""
    sizes = sorted(table["services"].unique())
    names = [f"{size:,} services [s, MiB]" for size in sizes]
    lines = [["step", *names, "growth of time", "growth of memory"]]
    lines.append(["---", *["---:"] * (len(sizes) + 2)])
    for step, rows in table.groupby("step", sort=False):
        cells = rows.set_index("services")[["seconds", "MiB"]].to_dict("index")
        told = [f"{cells[s]['seconds']:.1f}, {cells[s]['MiB']:.0f}" for s in sizes]
        growth = [f"{exponent(rows, name):.2f}" for name in ("seconds",)]
        if rows["MiB"].notna().any():
            growth.append(f"{exponent(rows, 'MiB'):.2f}")
        else:
            growth.append("–")
        lines.append([str(step), *told, *growth])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines).replace("nan", "–")


def plot(table: pd.DataFrame, file: str) -> None:
    """Draw how time and memory grow."""
    from matplotlib import pyplot as plt

    from assess.figures import style

    with style():
        _, axes = plt.subplots(1, 2, figsize=(9, 4.6))
        for column, axis in zip(("seconds", "MiB"), axes, strict=True):
            for number, (step, rows) in enumerate(table.groupby("step", sort=False)):
                axis.plot(
                    rows["services"],
                    rows[column],
                    marker="o",
                    label=f"{step} ({exponent(rows.tail(2), column):.2f})",
                    color=f"C{number}",
                )
            axis.set(xscale="log", yscale="log", xlabel="Services (count)")
            for side in (axis.xaxis, axis.yaxis):
                side.set_major_formatter("{x:,.7g}")
                side.set_minor_formatter("")
            sizes = sorted(table["services"].unique())
            axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes[0].set(ylabel="Time (CPU seconds)", title="Time")
        axes[1].set(ylabel="Peak memory (MiB)", title="Memory")
        for axis in axes:
            axis.legend(frameon=False, title="Growth between the two largest")
        plt.savefig(file, metadata={"Date": None} if file.endswith("svg") else None)


def main() -> None:
    """Print the table, and draw it where asked."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("sizes", nargs="*", type=int, default=SIZES)
    arguments.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    arguments.add_argument("--plot")
    arguments.add_argument("--together", action="store_true")
    arguments.add_argument("--kept", default="")
    if sys.argv[1:2] == ["--in-one"]:
        print(json.dumps(together(sys.argv[3:], sys.argv[2])))  # noqa: T201
        return
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(one(*sys.argv[2:4])))  # noqa: T201
        return
    given = arguments.parse_args()
    how = {"is_together": given.together, "kept": given.kept}
    table = measure(given.sizes, given.steps, **how)
    print(markdown(table))  # noqa: T201
    if given.plot:
        plot(table, given.plot)


if __name__ == "__main__":
    main()
