"""The report of the sample with the quarter before it, and the notebooks.

`python tests/benchmarks/bench_report.py` prints a row per case: the median of some runs, and the
target on two cores that do nothing else. Not a test: times belong to the machine.
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))  # the browser of the tests
ASSESS = [sys.executable, "-m", "assess"]
REPORT = ["report", "data/sample/2026Q3", "--previous", "data/sample/2026Q2", "-o", "out"]
CASES = {
    "import of pandas, the floor": ([sys.executable, "-c", "import pandas"], 5, ""),
    "assess report, two quarters": ([*ASSESS, *REPORT], 5, "10"),
    "assess report, 200 services": (
        [*ASSESS, "report", "200/2026Q3", "-o", "out200"],
        3,
        "10",
    ),
    "assess report, 2,000 services": (
        [*ASSESS, "report", "2000/2026Q3", "-o", "out2000"],
        1,
        "25",
    ),
    "assess notebooks refresh": ([*ASSESS, "notebooks", "refresh"], 3, "35"),
}


def seconds(command: list[str], directory: Path) -> float:
    """Wall-clock time of one run. [s]"""
    start = time.perf_counter()
    subprocess.run(command, cwd=directory, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Measure every case on a copy, the cases taking turns so that a busy machine slows all."""
    times: dict[str, list[float]] = {name: [] for name in CASES}
    with tempfile.TemporaryDirectory() as place:
        for folder in ("data", "notebooks"):
            shutil.copytree(ROOT / folder, Path(place) / folder)
        for n in ("200", "2000"):
            seconds([*ASSESS, "sample", n, "--services", n], Path(place))
        for turn in range(max(runs for _, runs, _ in CASES.values())):
            for name, (command, runs, _) in CASES.items():
                if turn < runs:
                    times[name].append(seconds(command, Path(place)))
        opened = {
            n: opening(Path(place, f"out{n}", "index.html")) for n in ("200", "2000")
        }
    sys.stdout.write(f"{'case':<32}{'median [s]':>12}{'target [s]':>12}\n")
    for name, (_, _, target) in CASES.items():
        sys.stdout.write(
            f"{name:<32}{statistics.median(times[name]):>12.2f}{target:>12}\n"
        )
    for n, (ready, size) in opened.items():
        name = f"page of {n} services, interactive"
        sys.stdout.write(f"{name:<32}{ready:>12.2f}{'2':>12}  {size / 1e6:.2f} MB\n")


def opening(page: Path) -> tuple[float, int]:
    """Seconds until Chromium answers on an opened page, and its size in bytes."""
    from browsers import chromium

    with chromium() as browser:
        opened = browser.new_page()
        start = time.perf_counter()
        opened.goto(page.as_uri(), wait_until="domcontentloaded")
        opened.locator("#find input").fill("a")
        return time.perf_counter() - start, page.stat().st_size


if __name__ == "__main__":
    main()
