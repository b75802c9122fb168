"""The data dictionary: what fits it, and what is told about what does not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assess import frames, load
from assess.errors import DataError
from assess.inventory import from_frames
from assess.store import write_snapshot

WHEN = "2026-09-30T00:00:00Z"


def problems(frame, **columns):
    typed, unreadable = frames.conform(frame, pd.DataFrame(columns, dtype=object))
    found = frames.join_problems([unreadable, frames.check(frame, typed)])
    return typed, [(p.row, p.column, p.value) for p in found.itertuples()]


def test_every_frame_has_a_key_and_every_reference_leads_to_one():
    for name in frames.names():
        assert frames.key(name)
        for column in frames.columns(name).values():
            if column.reference:
                frame, key = column.reference
                assert frames.key(frame) == [key]


@pytest.mark.parametrize("name", frames.names())
def test_an_empty_frame_is_typed_and_sound(name):
    table = frames.empty(name)
    assert list(table.columns) == list(frames.columns(name))
    for column in frames.columns(name).values():
        assert table[column.name].dtype == column.pandas_dtype
    assert frames.check(name, table).empty
    assert {"source", "source_ref"} <= set(table.columns)


def test_columns_that_are_left_out_are_unknown():
    typed, found = problems("services", service_id=["a"])
    assert found == []
    assert typed.drop(columns="service_id").isna().all(axis=None)


@pytest.mark.parametrize(
    ("column", "given", "read"),
    [
        ("tier", "2", 2),
        ("tier", 2.0, 2),
        ("criticality", "1e3", 1000.0),
        ("criticality", "0.1", 0.1),
        ("public", "TRUE ", True),
        ("public", False, False),
        ("kind", "web", "web"),
        ("owner", "NA", "NA"),
        ("owner", 7, "7"),
        ("restore_tested_at", WHEN, pd.Timestamp(WHEN)),
        ("restore_tested_at", "2026-09-30T02:00:00+02:00", pd.Timestamp(WHEN)),
        ("restore_tested_at", "2026-09-30", pd.Timestamp(WHEN)),
        ("restore_tested_at", pd.Timestamp("2026-09-30"), pd.Timestamp(WHEN)),
        ("restore_tested_at", pd.Timestamp(WHEN).date(), pd.Timestamp(WHEN)),
    ],
)
def test_cells_that_can_be_read(column, given, read):
    typed, found = problems("services", service_id=["a"], **{column: [given]})
    assert found == []
    assert typed[column][0] == read


@pytest.mark.parametrize(
    ("column", "given"),
    [
        ("tier", "high"),
        ("tier", True),
        ("criticality", False),
        ("tier", "1.5"),
        ("tier", "0"),
        ("tier", "99999999999999999999"),
        ("criticality", "-0.5"),
        ("criticality", "inf"),
        ("criticality", "1e400"),
        ("criticality", float("inf")),
        ("criticality", "nan"),
        ("criticality", "1,5"),
        ("public", "yes"),
        ("public", 1),
        ("kind", "webb"),
        ("kind", "Web"),
        ("identity_confidence", 1.01),
        ("restore_tested_at", "30/09/2026"),
        ("restore_tested_at", 1700000000),
        ("restore_tested_at", 2026),
        ("restore_tested_at", "2026-02-30"),
        ("restore_tested_at", "soon"),
    ],
)
def test_cells_that_cannot_be_read_are_told_and_become_unknown(column, given):
    typed, found = problems("services", service_id=["a", "b"], **{column: [None, given]})
    assert found == [(2, column, str(given))]
    assert pd.isna(typed[column][0])


def test_typed_columns_are_checked_too():
    table = pd.DataFrame(
        {
            "incident_id": ["a", "b", "c"],
            "opened_at": pd.to_datetime(["2026-01-01"] * 3),
            "ttr_s": np.array([np.inf, np.nan, 3.0]),
            "severity": pd.array([1, None, 9], dtype="Int64"),
            "bad_time": np.array([True, False, True]),
            "service_raw": [7, None, 8],  # two whole numbers, which pandas makes floats
        }
    )
    typed, unreadable = frames.conform("incidents", table)
    assert typed["opened_at"].dt.tz is not None
    assert typed["ttr_s"].isna().tolist() == [True, True, False]
    assert typed["bad_time"].tolist() == [True, False, True]
    assert typed["service_raw"].fillna("?").tolist() == ["7", "?", "8"]
    told = frames.join_problems([unreadable, frames.check("incidents", typed)])
    assert [(p.row, p.column) for p in told.itertuples()] == [
        (1, "ttr_s"),
        (3, "severity"),
    ]


@pytest.mark.parametrize("dtype", ["bool", "boolean", "object"])
def test_yes_and_no_are_no_numbers(dtype):
    cells = pd.Series([True, False], dtype=dtype)
    typed, unreadable = frames.conform(
        "services", pd.DataFrame({"service_id": ["a", "b"], "criticality": cells})
    )
    assert typed["criticality"].isna().all()
    assert unreadable["row"].tolist() == [1, 2]


def test_keys_occur_once_and_are_never_empty():
    _, found = problems(
        "engines", host_id=["h", "h", "h", None], runtime=["docker"] * 2 + ["none"] * 2
    )
    assert (1, "host_id, runtime", "h/docker") in found
    assert (2, "host_id, runtime", "h/docker") in found
    assert (4, "host_id", "") in found
    assert len(found) == 3


def test_a_missing_key_column_is_told_for_every_row():
    _, found = problems("services", name=["a", "b"])
    assert found == [(1, "service_id", ""), (2, "service_id", "")]


def test_an_image_of_a_registry_has_no_host():
    typed, found = problems("images", registry=["r"], repository=["x"], digest=["d"])
    assert found == []
    assert typed["host_id"].tolist() == [""]


def test_references_are_checked_between_the_frames_at_hand():
    services = frames.conform("services", pd.DataFrame({"service_id": ["a"]}))[0]
    edges = pd.DataFrame(
        {
            "src_id": ["a", "a", "x"],
            "dst_id": ["ext:bank", "y", "a"],
            "kind": "call",
            "evidence": "traces",
        }
    )
    edges = frames.conform("dependencies", edges)[0]
    found = frames.check_references({"services": services, "dependencies": edges})
    assert [(p.row, p.column, p.value) for p in found.itertuples()] == [
        (3, "src_id", "x"),
        (2, "dst_id", "y"),
    ]
    assert set(found["hint"]) == {"dangling reference"}
    assert frames.check_references({"dependencies": edges}).empty


def test_an_external_node_calls_nobody():
    services = frames.conform("services", pd.DataFrame({"service_id": ["a"]}))[0]
    edge = {"src_id": ["ext:a"], "dst_id": ["a"], "kind": ["call"], "evidence": ["x"]}
    edges = frames.conform("dependencies", pd.DataFrame(edge))[0]
    found = frames.check_references({"services": services, "dependencies": edges})
    assert found["column"].tolist() == ["src_id"]


CELLS = st.none() | st.text(max_size=6) | st.integers() | st.floats() | st.booleans()


@given(st.data())
@settings(max_examples=30)
def test_whatever_comes_in_is_typed_or_told(data):
    name = data.draw(st.sampled_from(frames.names()))
    rows = data.draw(st.integers(1, 3))
    table = {
        column: data.draw(st.lists(CELLS, min_size=rows, max_size=rows))
        for column in data.draw(
            st.lists(st.sampled_from(list(frames.columns(name))), unique=True)
        )
    }
    raw = pd.DataFrame(table, index=range(rows), dtype=object)
    typed, unreadable = frames.conform(name, raw)
    assert [typed[c].dtype for c in typed] == [
        c.pandas_dtype for c in frames.columns(name).values()
    ]
    told = set(zip(unreadable["row"], unreadable["column"], strict=True))
    for column in table:
        for row in range(rows):
            if pd.notna(raw[column][row]) and (row + 1, column) not in told:
                assert pd.notna(typed[column][row])
    frames.check(name, typed)


def test_a_row_refuses_a_misspelt_column_and_names_the_nearest():
    assert frames.row("hosts", host_id="h", vcpus=2) == {"host_id": "h", "vcpus": 2}
    with pytest.raises(DataError) as caught:
        frames.row("workloads", workload_id="w", memory_limits_bytes=1, qqq="red")
    found = caught.value.problems
    assert found["column"].tolist() == ["memory_limits_bytes", "qqq"]
    assert found["hint"].tolist() == ["did you mean 'memory_limit_bytes'?", ""]


def test_a_row_of_an_unknown_frame_is_refused():
    with pytest.raises(DataError, match="did you mean 'workloads'"):
        frames.row("workload", workload_id="w")


@pytest.mark.parametrize(
    ("cell", "hint"), [(None, "unknown"), ("", "an empty text"), (" \t", "an empty text")]
)
def test_an_empty_key_is_told_from_an_unknown_one_by_row_and_column(cell, hint):
    table, _ = frames.conform("services", pd.DataFrame({"service_id": ["a", cell]}))
    (problem,) = frames.check("services", table).itertuples()
    assert (problem.row, problem.column, problem.rule) == (2, "service_id", "required")
    assert problem.hint.startswith(hint)


def test_every_key_that_a_frame_admits_reads_back_from_csv(tmp_path):
    keys = ["a", "NA", "null", "'", '"', "=1", "0", "a\rb", "-", "nan", ",", "\ufeff"]
    found = from_frames(
        {"services": pd.DataFrame({"service_id": keys})}, snapshot_at=WHEN
    )
    path = write_snapshot(found, tmp_path / "s", format="csv")
    assert set(load(path)["services"]["service_id"]) == set(keys)
