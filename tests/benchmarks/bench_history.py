# ruff: noqa: T201
"""Adding up years of snapshots, beside the readers that others use for it.

    python tests/benchmarks/bench_history.py [ROWS]

Writes 25 snapshots of workloads, ROWS rows in all, and counts them by service and state with their
restarts, each reader in a process of its own, in CPU seconds of all its threads. Promised: at most
1.3 times as long as pyarrow with the same three columns; 10,000,000 rows in at most 15 s and
400 MiB. Polars and DuckDB are in the group `bench`; one that is not installed is left out.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import assess  # noqa: E402
from assess import store  # noqa: E402
from assess.inventory import Inventory  # noqa: E402

SNAPSHOTS = 25
ROWS = 548_000
GROUPS = 100  # times the services of the sample
TIMES = 1.3
PROMISED_S = 15
PROMISED_MIB = 400
HEAD = """
import json, sys, time
from pathlib import Path
base = Path(sys.argv[1])
files = sorted(base.glob("*/workloads.parquet"))
columns = ["service_id", "state", "restarts_n"]
"""
TAIL = """
status = Path("/proc/self/status").read_text()  # ru_maxrss would be that of the parent, too
peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
print(json.dumps({"seconds": seconds, "mib": peak, "rows": int(rows)}))
"""
READERS = {
    "assess.history.roll_up": """
from assess.history import roll_up
start = time.process_time()
found = roll_up(base, "workloads", ["service_id", "state"], values=["restarts_n"])
seconds = time.process_time() - start
rows = found["n"].sum()
""",
    "pyarrow": """
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
start = time.process_time()
rows = 0
for file in files:
    table = pq.read_table(file, columns=columns)
    state = table["state"].cast(pa.string())
    table = table.set_column(1, "state", state)
    measures = [([], "count_all"), *[("restarts_n", how) for how in ("count", "sum", "min", "max")]]
    found = table.group_by(["service_id", "state"]).aggregate(measures)
    found = found.sort_by([("service_id", "ascending"), ("state", "ascending")]).to_pandas()
    rows += found["count_all"].sum()
seconds = time.process_time() - start
""",
    "polars": """
import polars as pl
start = time.process_time()
rows = 0
for file in files:
    table = pl.scan_parquet(file).select(columns).group_by(["service_id", "state"])
    restarts = pl.col("restarts_n")
    found = table.agg(
        pl.len().alias("n"), restarts.count().alias("k"), restarts.sum().alias("s"),
        restarts.min().alias("a"), restarts.max().alias("z"),
    ).sort(["service_id", "state"]).collect()
    rows += found["n"].sum()
seconds = time.process_time() - start
""",
    "duckdb": """
import duckdb
start = time.process_time()
rows = 0
for file in files:
    found = duckdb.sql(
        "select service_id, state, count(*) n, count(restarts_n), sum(restarts_n), min(restarts_n), "
        f"max(restarts_n) from '{file}' group by all order by all"
    ).fetchall()
    rows += sum(row[2] for row in found)
seconds = time.process_time() - start
""",
}


def write(base: Path, rows: int) -> None:
    """Write the snapshots: the workloads of the sample again and again, under other names."""
    inventory = assess.load("sample")
    workloads = inventory["workloads"]
    times = max(rows // SNAPSHOTS // len(workloads), 1)
    many = pd.concat([workloads] * times, ignore_index=True)
    number = pd.RangeIndex(len(many)) // len(workloads)
    many["workload_id"] += "-" + number.astype(str)
    many["service_id"] += "-" + (number % GROUPS).astype(str)
    for week in range(SNAPSHOTS):
        when = pd.Timestamp("2026-01-01", tz="UTC") + pd.Timedelta(weeks=week)
        tables = {**inventory.tables, "workloads": many}
        present = frozenset({"workloads"})
        path = base / f"{when:%Y-%m-%d}"
        store.write_snapshot(Inventory(tables, when, "2026Q1", present, {}), path)


def measure(reader: str, base: Path) -> dict[str, float] | None:
    program = HEAD + READERS[reader] + TAIL
    command = [sys.executable, "-W", "ignore", "-c", program, str(base)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        print(f"{reader}: left out: {done.stderr.splitlines()[-1]}")
        return None
    return json.loads(done.stdout)


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        write(base, rows)
        best: dict[str, dict[str, float]] = {}
        for _ in range(3):  # in turns
            for reader in READERS:
                found = measure(reader, base)
                if found and found["seconds"] < best.get(reader, found)["seconds"] + 1e-9:
                    best[reader] = found
    for reader, found in best.items():
        print(
            f"{reader:24} {found['seconds']:7.2f} s {found['mib']:6.0f} MiB {found['rows']:,} rows"
        )
    ours = best["assess.history.roll_up"]
    ratio = ours["seconds"] / best["pyarrow"]["seconds"]
    print(f"{ratio:.2f} times pyarrow, promised {TIMES}")
    if ratio > TIMES or ours["seconds"] > PROMISED_S or ours["mib"] > PROMISED_MIB:
        sys.exit("too slow, or too large")


if __name__ == "__main__":
    main()
