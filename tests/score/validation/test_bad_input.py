"""Failures as people write them down: what nobody can use costs itself only, and is counted."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

import assess
from assess.inventory import from_frames
from assess.policy import load_policy
from assess.score.blast_radius.failures import observed_failures
from assess.score.blast_radius.topology import build_topology

POLICY = load_policy()
EDGES = pd.DataFrame({"src_id": ["b", "c"], "dst_id": ["a", "b"]})
RECIPES = Path(__file__).parents[3] / ".github/RECIPES.md"


def failures(experiments=(), incidents=()):
    tables = {
        "services": pd.DataFrame({"service_id": list("abc")}),
        "dependencies": EDGES.assign(kind="call", evidence="e"),
        "experiments": pd.DataFrame(experiments),
        "incidents": pd.DataFrame(incidents),
    }
    made = {name: table for name, table in tables.items() if len(table)}
    inventory = from_frames(made, snapshot_at="2026-09-30")
    found, n = observed_failures(inventory, build_topology(inventory, POLICY), POLICY)
    assert n == len(found)
    return found


def experiment(name, **more):
    row = {"experiment_id": name, "element_kind": "service", "element": "a"}
    return {**row, "started_at": "2026-09-01", "affected_services": "a;b", **more}


def test_an_element_that_nobody_knows_is_left_out_and_counted():
    assert len(failures([experiment("x", element="ghost"), experiment("y")])) == 1
    faults = pd.DataFrame({"element": ["a", "z"], "affected_services": ["a;b", "z"]})
    tables = assess.judge_outside(EDGES, faults, POLICY)
    used = tables["used"].set_index("table").loc["experiments"]
    assert used["given_n"] == 2


def test_services_that_nobody_knows_are_not_observed():
    (found,) = failures([experiment("x", affected_services="b;ghost")])
    assert found.down.tolist() == [True, True, False]


def test_the_same_incident_in_two_tools_counts_once():
    row = {"service_id": "a", "opened_at": "2026-09-01", "affected_services": "b"}
    twice = [
        {**row, "incident_id": "p1"},
        {**row, "incident_id": "j1", "duplicate_of": "p1"},
    ]
    assert len(failures(incidents=twice)) == 1


def incident(name, service, opened, resolved, affected):
    return {
        "incident_id": name,
        "service_id": service,
        "opened_at": f"2026-09-01T{opened}Z",
        "resolved_at": f"2026-09-01T{resolved}Z" if resolved else None,
        "affected_services": affected,
    }


def test_the_same_incident_of_two_tools_that_do_not_know_each_other_counts_once():
    told = [
        incident("pager-1", "a", "10:00", "11:00", "b"),
        incident("desk-7", "a", "10:20", "12:00", "c"),
        incident("desk-8", "a", "12:30", "13:00", "b"),
    ]
    later, first = failures(incidents=told)  # by id
    assert (first.event_id, first.beside) == ("pager-1", ("desk-7",))
    assert first.down.tolist() == [True, True, True]
    assert (later.event_id, later.beside) == ("desk-8", ())


def test_of_overlapping_failures_none_counts_the_fall_of_the_other():
    # c may have gone down with a, by way of b, or with b; both are named
    told = [
        incident("i1", "a", "10:00", "11:00", "c"),
        incident("i2", "b", "10:30", "10:40", "c"),
    ]
    one, two = failures(incidents=told)
    assert (one.beside, two.beside) == (("i2",), ("i1",))
    assert one.down.tolist() == [True, False, False]
    assert one.seen.tolist() == [True, True, False]  # b did not go down before it failed
    assert two.down.tolist() == [False, True, False]
    assert two.seen.tolist() == [True, True, False]


@pytest.mark.parametrize("resolved", ["10:30", None])
def test_failures_one_after_the_other_stay_as_they_are(resolved):
    told = [
        incident("i1", "a", "10:00", resolved, "b"),
        incident("i2", "b", "10:30", "10:40", "c"),
    ]
    one, two = failures(incidents=told)
    assert one.beside == two.beside == ()
    assert one.down.tolist() == [True, True, False]
    assert two.down.tolist() == [False, True, True]


def test_who_was_down_and_out_of_reach_of_the_other_still_counts():
    told = [
        incident("i1", "c", "10:00", "11:00", ""),
        incident("i2", "a", "10:30", "10:40", "b"),
    ]
    one, two = failures(incidents=told)
    # nothing calls c: only a can have taken b down
    assert two.down.tolist() == [True, True, False]
    assert two.seen.all()
    assert one.seen.all()


def test_without_a_list_of_who_had_data_all_count_and_with_one_only_they():
    every, some = failures(
        [experiment("x"), experiment("y", observed_services="a;b")],
    )
    assert every.seen.all()
    assert some.seen.tolist() == [True, True, False]


def test_a_long_experiment_is_one_failure():
    long = experiment("x", started_at="2026-09-01", ended_at="2026-09-04")
    assert len(failures([long])) == 1


def test_during_an_experiment_of_days_falls_of_others_are_not_its_own():
    long = experiment("x", ended_at="2026-09-04", observed_services="a;b;c")
    within = incident("i1", "b", "10:00", "11:00", "c")
    found = {f.event_id: f for f in failures([long], [within])}
    assert found["x"].beside == ("i1",)
    assert found["x"].down.tolist() == [True, False, False]  # b failed by itself as well
    assert found["x"].seen.tolist() == [True, False, True]
    assert found["i1"].seen.tolist() == [True, True, False]


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_what_somebody_is_sure_of_stays(p):
    edges = EDGES.assign(p=[p, 0.5])
    faults = pd.DataFrame(
        {"element": ["a"] * 4, "affected_services": ["a", "a;b", "a", "a;b"]}
    )
    predicted = assess.judge_outside(edges, faults, POLICY)["predicted"]
    of_b = predicted[predicted["service_id"] == "b"]
    assert of_b["p_down"].eq(p).all()


def test_the_five_lines_of_the_recipe_judge_a_table(tmp_path, monkeypatch, capsys):
    code = next(
        block
        for block in re.findall(
            r"```python\n(.*?)```", RECIPES.read_text("utf-8"), re.DOTALL
        )
        if "judge_outside" in block
    )
    assert len(code.strip().splitlines()) <= 6
    EDGES.to_csv(tmp_path / "edges.csv", index=False)
    faults = {"element": ["svc-a", "b"], "affected_services": ["svc-a;b", "b;c"]}
    pd.DataFrame(faults).to_csv(tmp_path / "faults.csv", index=False)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)
    assert "experiments judged" in capsys.readouterr().out
    skill = names["tables"]["skill"].set_index(["rule", "left_out"])
    assert skill.loc[("learned", "element left out"), "average_precision"] > 0
