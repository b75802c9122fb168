"""The size of a replica: what was observed for long enough, else what is asked for."""

import pandas as pd
import pytest

from assess.inventory import from_frames
from assess.score.targets.place import GIB, replicas_of, sizes

AT = pd.Timestamp("2026-09-30", tz="UTC")
ASKED = {"cpu_request": 1.0, "memory_request_bytes": 2 * GIB}


def size(**columns):
    row = {"workload_id": "a.1", "service_id": "a", "state": "running", **columns}
    tables = {
        "services": pd.DataFrame([{"service_id": "a"}]),
        "workloads": pd.DataFrame([row]),
    }
    return sizes(from_frames(tables, snapshot_at=AT)).loc["a"]


def test_a_week_of_use_is_the_size_and_its_peak_an_end():
    used = {"cpu_p95": 0.25, "cpu_peak": 3.0, "usage_window_hours": 168}
    found = size(**ASKED, **used)
    assert found[["cpu", "cpu_lo", "cpu_hi"]].tolist() == [0.25, 0.25, 3.0]
    assert found["memory"] == 2  # of which nothing was observed


@pytest.mark.parametrize("hours", [0.0, 23.9])
def test_a_brief_look_is_no_size_where_one_is_asked_for(hours):
    used = {"cpu_p95": 0.01, "cpu_peak": 0.02, "usage_window_hours": hours}
    found = size(**ASKED, **used)
    assert found[["cpu", "cpu_lo", "cpu_hi"]].tolist() == [1.0, 0.01, 1.0]


def test_a_brief_look_is_better_than_nothing():
    found = size(cpu_p95=0.5, cpu_peak=0.75, usage_window_hours=0.0)
    assert found[["cpu", "cpu_hi"]].tolist() == [0.5, 0.75]
    assert pd.isna(found["memory"])


def test_a_limit_is_an_upper_end_alone():
    found = size(cpu_limit=4.0, **ASKED)
    assert found[["cpu", "cpu_lo", "cpu_hi"]].tolist() == [1.0, 1.0, 4.0]
    # hiding the request may not raise the lower end
    assert size(cpu_limit=4.0)[["cpu", "cpu_lo", "cpu_hi"]].tolist() == [4.0, 0.0, 4.0]


def test_a_limit_that_nobody_knows_is_no_upper_end():
    ends = ["memory", "memory_lo", "memory_hi"]
    assert size(**ASKED, memory_unlimited=True)[ends].tolist() == [2, 2, 2]
    limited = size(**ASKED, memory_unlimited=False)
    assert limited[ends].isna().tolist() == [False, False, True]


def test_without_a_size_there_is_none():
    assert size()[["cpu", "memory"]].isna().all()


def test_replicas_of_unknown_state_may_all_run_or_not():
    states = {"a": [None] * 5, "b": ["running", "running", "declared"], "c": ["exited"]}
    rows = [
        {"workload_id": f"{name}{n}", "service_id": name, "state": state}
        for name, cells in states.items()
        for n, state in enumerate(cells)
    ]
    tables = {
        "services": pd.DataFrame({"service_id": ["a", "b", "c", "d"]}),
        "workloads": pd.DataFrame(rows),
    }
    inventory = from_frames(tables, snapshot_at=AT)
    table = replicas_of(inventory, pd.Index(["a", "b", "c", "d"]))
    assert table["replicas_lo"].tolist() == [1, 2, 1, 1]
    assert table["replicas_hi"].tolist() == table["replicas"].tolist() == [5, 3, 1, 1]


def test_a_small_replica_of_unknown_state_makes_the_others_no_smaller():
    rows = [
        {"workload_id": "a.1", "service_id": "a", "state": "running", "cpu_limit": 1.0},
        {"workload_id": "a.2", "service_id": "a", "state": None, "cpu_limit": 0.1},
    ]
    tables = {
        "services": pd.DataFrame({"service_id": ["a"]}),
        "workloads": pd.DataFrame(rows),
    }
    found = sizes(from_frames(tables, snapshot_at=AT)).loc["a"]
    assert found[["cpu", "cpu_hi"]].tolist() == [0.55, 1.0]
