"""Start-up of the command line beside its floor, and the report of the sample.

`python tests/benchmarks/bench_cli.py` prints a row per case: the median of some runs, and its ratio
to `import click`, the least that any command line on click can take. Not a test: times belong to
the machine.
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
import time

CLICK = [sys.executable, "-c", "import click"]
ASSESS = [sys.executable, "-m", "assess"]
CASES = {
    "import click": (CLICK, 15),
    "assess --help": ([*ASSESS, "--help"], 15),
    "assess score --help": ([*ASSESS, "score", "--help"], 15),
    "assess show (sample)": ([*ASSESS, "show", "{sample}/2026Q3"], 5),
    "assess score what-next (sample)": (
        [*ASSESS, "score", "{sample}/2026Q3", "what-next"],
        3,
    ),
    "assess report (sample)": ([*ASSESS, "report", "{sample}/2026Q3", "-o", "out"], 3),
}


def seconds(command: list[str], directory: str) -> float:
    """Wall-clock time of one run. [s]"""
    start = time.perf_counter()
    subprocess.run(command, cwd=directory, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Measure every case, the cases taking turns so that a busy machine slows all of them."""
    directory = tempfile.mkdtemp()
    try:
        subprocess.run(
            [*ASSESS, "sample", "sample"], cwd=directory, check=True, capture_output=True
        )
        times: dict[str, list[float]] = {name: [] for name in CASES}
        for turn in range(max(runs for _, runs in CASES.values())):
            for name, (command, runs) in CASES.items():
                if turn < runs:
                    words = [word.format(sample="sample") for word in command]
                    times[name].append(seconds(words, directory))
    finally:
        shutil.rmtree(directory)
    floor = statistics.median(times["import click"])
    sys.stdout.write(f"{'case':<34}{'median [s]':>12}{'x click':>10}\n")
    for name, found in times.items():
        middle = statistics.median(found)
        sys.stdout.write(f"{name:<34}{middle:>12.3f}{middle / floor:>10.1f}\n")


if __name__ == "__main__":
    main()
