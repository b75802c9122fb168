"""Calls that nobody would have seen: by hand, and that hidden evidence only widens."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assess.inventory import from_frames
from assess.policy import load_policy
from assess.score.blast_radius.blast_radius import score_blast_radius
from assess.score.blast_radius.placement import INFRASTRUCTURE

AT = "2026-09-30"
POLICY = load_policy()
ENDS = ["impact_lo", "impact", "impact_hi"]
MONTH = {"window_start": "2026-09-01", "window_end": "2026-09-30"}
READ = {
    "run_id": "r",
    "source": "traces",
    "scope": "all",
    "call": "graph",
    "status": "ok",
}


def edge(src, dst, **columns):
    row = {"src_id": src, "dst_id": dst, "kind": "call", "evidence": "compose"}
    return row | columns


def fleet(names, *dependencies, **tables):
    rows = {
        "services": [{"service_id": s, "criticality": 1.0} for s in names],
        "dependencies": list(dependencies),
        **tables,
    }
    frames = {name: pd.DataFrame(table) for name, table in rows.items() if len(table)}
    return from_frames(frames, snapshot_at=AT)


def scored(names, *dependencies, **tables):
    inventory = fleet(names, *dependencies, **tables)
    return score_blast_radius(inventory, POLICY, detail=False)


def seen(result):
    return [
        None if pd.isna(flag) else bool(flag) for flag in result.services["callers_seen"]
    ]


def test_declared_edges_alone_leave_everything_open():
    result = scored("abcd", edge("a", "b"))
    assert result.services["impact_hi"].tolist() == [1.0] * 4
    assert result.services["impact"].tolist() == pytest.approx([0.25, 0.45, 0.25, 0.25])
    assert seen(result) == [False] * 4
    rows = {row["element"]: row for row in result.rows()}
    assert rows["b"]["callers_seen"] is False
    assert rows["b"]["impact_hi"] == 1.0


def test_without_any_dependency_nobody_looked():
    assert seen(scored("ab")) == [None, None]


def test_a_complete_row_speaks_for_its_side_and_its_window():
    row = edge("a", "b", complete="dst", window_hours=168.0)
    result = scored("abc", row)
    assert seen(result) == [False, True, False]
    # b takes down a; who calls a is unknown
    assert result.services.loc["b", "impact_hi"] == 1.0
    # b and c may call a and c, but nobody else calls b
    alone = scored("abc", edge("a", "b", complete="both", window_hours=168.0))
    assert seen(alone) == [False, True, False]
    short = scored("abc", edge("a", "b", complete="both", window_hours=167.0))
    assert seen(short) == [False] * 3


def test_a_host_outside_of_which_all_callers_were_seen_takes_no_one_else():
    both = {"complete": "both", "window_hours": 200.0, "address_basis": "flow"}
    only = {"complete": "dst", "window_hours": 200.0}
    rows = [edge("a", "b"), edge("a", "ext:x", **only), edge("c", "a", **both)]
    found = scored("abc", *rows).frame.loc[("ext", "ext:x")]
    # a and its caller fall; b, which nobody watched, is known not to call x
    assert found["impact_hi"] == pytest.approx(2 / 3)
    rows[1] = edge("a", "ext:x", evidence="traces", window_hours=200.0)
    open_ = scored("abc", *rows).frame.loc[("ext", "ext:x")]
    assert open_["impact_hi"] == 1.0


def test_who_watches_a_service_sees_its_calls_and_its_callers():
    watched = {"complete": "both", "window_hours": 168.0, "address_basis": "socket"}
    result = scored("abc", edge("a", "b", **watched))
    # of c nobody knows what it calls, but all callers of a and b are known, and a and b call no c
    assert seen(result) == [True, True, True]
    assert result.services["impact_hi"].tolist() == pytest.approx([1 / 3, 2 / 3, 1 / 3])
    one = scored("abc", edge("a", "b", **watched | {"complete": "src"}))
    assert seen(one) == [True, False, False]


def test_who_has_all_its_calls_seen_is_no_unseen_caller():
    rows = [edge(s, "d", complete="src", window_hours=200.0) for s in "ab"]
    result = scored("abcd", *rows)
    # c and d may call anybody, a and b call nobody but d
    assert result.services["impact_hi"].tolist() == pytest.approx([1.0] * 4)
    free = scored("abcd", *rows, edge("d", "c", complete="src", window_hours=200.0))
    # c alone may call anybody: d takes it down with a and b
    assert free.services["impact_hi"].tolist() == pytest.approx([1.0] * 4)
    both = [edge(s, "d", complete="both", window_hours=200.0) for s in "abc"]
    # d alone may call others unseen, and all of them call d
    assert scored("abcd", *both).services["impact_hi"].tolist() == [1.0] * 4
    isolated = scored("ab", edge("b", "ext:x", complete="src", window_hours=200.0))
    # a may call b; b calls nobody inside
    assert isolated.services["impact_hi"].tolist() == pytest.approx([0.5, 1.0])
    assert seen(isolated) == [True, False]


def test_a_person_needs_no_window_to_call_a_list_complete():
    row = edge("a", "b", complete="both", evidence="answers", address_basis="user")
    assert seen(scored("abc", row)) == [False, True, False]
    answer = {
        "service_id": "b",
        "question": "callers_complete",
        "source": "team",
        "answer": "Yes",
        "answered_at": "2026-09-01",
    }
    assert seen(scored("ab", edge("a", "b"), answers=[answer])) == [False, True]
    old = {**answer, "answered_at": "2020-09-01"}
    assert seen(scored("ab", edge("a", "b"), answers=[old])) == [False, False]
    # the list itself was left out
    assert seen(scored("ab", answers=[answer])) == [None, None]


def test_traces_over_a_week_see_the_services_that_they_name():
    row = edge("a", "b", evidence="traces")
    whole = scored("abc", row, coverage=[READ | MONTH])
    assert seen(whole) == [True] * 3
    file = READ | MONTH | {"scope": "graph.json"}
    assert seen(scored("abcd", row, edge("c", "d"), coverage=[file])) == [
        True,
        True,
        False,
        False,
    ]
    named = READ | MONTH | {"scope": "a"}
    assert seen(scored("abc", edge("a", "b"), coverage=[named])) == [True, False, False]
    # it saw calls, and none is left: which ones nobody knows
    lost = scored("abc", coverage=[READ | MONTH | {"rows": 5}])
    assert seen(lost) == [None] * 3
    denied = READ | MONTH | {"status": "denied"}
    assert seen(scored("abc", row, coverage=[denied])) == [False] * 3
    hours = edge("a", "b", evidence="traces", window_hours=720.0)
    assert seen(scored("abcd", hours, edge("c", "d"))) == [True, True, False, False]


def test_a_possible_edge_counts_at_worst_only():
    both = {"complete": "both", "window_hours": 200.0}
    rows = [edge("a", "b", possible=True, **both), edge("c", "a", **both)]
    result = scored("abc", *rows)
    third = 1 / 3
    ends = result.services.loc["b", ENDS].tolist()
    assert ends == pytest.approx([third, third, 1.0])


def test_what_runs_on_a_host_may_have_unseen_callers_too():
    result = scored(
        "abc",
        edge("a", "b"),
        hosts=[{"host_id": "h"}],
        workloads=[
            {"workload_id": s, "service_id": s, "host_id": "h", "state": "running"}
            for s in "b"
        ],
    )
    assert result.frame.loc[("host", "h"), "impact_hi"] == 1.0
    # b and a down with the host, everybody with everybody; and with each place without a name:
    # zone, engine, image and base image of b, and one of each kind of a and of c, whose replicas
    # nobody knows; at most they are in the zone of the host as well
    named_n = 3
    unnamed_n = 4 + 2 * len(INFRASTRUCTURE) + 1
    assert result.services["exposure_hi"].tolist() == [named_n + unnamed_n] * 3


def test_a_large_fleet_needs_no_table_of_pairs():
    names = [f"s{i:04}" for i in range(3000)]
    result = scored(names, edge(names[0], names[1]))
    assert (result.services["impact_hi"] == 1).all()
    assert len(result.details["affected"]) == len(names) + 1


@st.composite
def watched_fleets(draw):
    names = list("abcde")[: draw(st.integers(2, 5))]
    pairs = [(s, d) for s in names for d in names if s != d]
    chosen = draw(st.lists(st.sampled_from(pairs), min_size=1, max_size=7, unique=True))
    kinds = ["call", "data", "cache", "unknown", "telemetry"]
    rows = [
        edge(s, d, kind=draw(st.sampled_from(kinds)), evidence=f"e{i}")
        for i, (s, d) in enumerate(chosen)
    ]
    hidden = draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    return names, rows, hidden


@settings(max_examples=10)
@given(watched_fleets())
def test_hidden_edges_leave_what_was_known_inside_the_interval(case):
    names, rows, hidden = case
    watch = {"complete": "both", "window_hours": 200.0}
    full = scored(names, *[row | watch for row in rows]).services
    lost = {
        end
        for row, gone in zip(rows, hidden, strict=True)
        if gone
        for end in ends_of(row)
    }
    kept = [
        row if lost & set(ends_of(row)) else row | watch
        for row, gone in zip(rows, hidden, strict=True)
        if not gone
    ]
    part = scored(names, *kept).services
    assert (part["impact_lo"] <= full["impact"] + 1e-9).all()
    assert (full["impact"] <= part["impact_hi"] + 1e-9).all()
    assert (full["impact_hi"] <= part["impact_hi"] + 1e-9).all()
    assert (full["exposure_hi"] <= part["exposure_hi"]).all()


def ends_of(row):
    return row["src_id"], row["dst_id"]
