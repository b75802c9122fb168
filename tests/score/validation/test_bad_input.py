"""Failures as people write them down: what nobody can use costs itself only, and is counted."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

import assess
from assess.inventory import from_frames
from assess.policy.policy import load_policy
from assess.score.blast_radius.failures import observed_failures
from assess.score.blast_radius.topology import build_topology

POLICY = load_policy()
EDGES = pd.DataFrame({"src_id": ["b", "c"], "dst_id": ["a", "b"]})
README = Path(__file__).parents[3] / "README.md"


def failures(experiments=(), incidents=()):
    tables = {
        "services": pd.DataFrame({"service_id": list("abc")}),
        "dependencies": EDGES.assign(kind="call", evidence="e"),
        "experiments": pd.DataFrame(experiments),
        "incidents": pd.DataFrame(incidents),
    }
    made = {name: table for name, table in tables.items() if len(table)}
    inventory = from_frames(made, snapshot_at="2026-09-30")
    found, n = observed_failures(inventory, build_topology(inventory, POLICY))
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


def test_without_a_list_of_who_had_data_all_count_and_with_one_only_they():
    every, some = failures(
        [experiment("x"), experiment("y", observed_services="a;b")],
    )
    assert every.seen.all()
    assert some.seen.tolist() == [True, True, False]


def test_a_long_experiment_is_one_failure():
    long = experiment("x", started_at="2026-09-01", ended_at="2026-09-04")
    assert len(failures([long])) == 1


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_what_somebody_is_sure_of_stays(p):
    edges = EDGES.assign(p=[p, 0.5])
    faults = pd.DataFrame(
        {"element": ["a"] * 4, "affected_services": ["a", "a;b", "a", "a;b"]}
    )
    predicted = assess.judge_outside(edges, faults, POLICY)["predicted"]
    of_b = predicted[predicted["service_id"] == "b"]
    assert of_b["p_down"].eq(p).all()


def test_the_five_lines_of_the_readme_judge_a_table(tmp_path, monkeypatch, capsys):
    code = next(
        block
        for block in re.findall(
            r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL
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
