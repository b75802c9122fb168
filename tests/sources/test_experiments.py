"""Experiments from a CSV and from what chaos tools write, in the shape that they document."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from wild import fit, mutated, whatever_comes

import assess
from assess.sources.deadline import Deadline
from assess.sources.experiments import (
    _TOOLS,
    ExperimentsSource,
    _tool_of,
    of_chaostoolkit,
    of_litmus,
)

FIXTURES = Path(__file__).parent.parent / "fixtures" / "experiments"


def read(name, **options):
    options = {"path": name, **options}
    assert ExperimentsSource().check(options) == []
    return ExperimentsSource().collect(options, FIXTURES, Deadline(10))


def rows_of(batch):
    return [
        {
            key: tuple(n.name for n in value) if isinstance(value, tuple) else value
            for key, value in row.items()
        }
        for row in batch.rows["experiments"]
    ]


def test_a_table_of_game_days():
    batch = read("experiments.csv")
    first, second, third = rows_of(batch)
    assert (first["experiment_id"], second["experiment_id"]) == ("gd-1#1", "gd-1#2")
    assert third["experiment_id"] == "experiments.csv#3"
    assert first["affected"] == ("stock", "checkout")
    assert second["observed"] == ("cart", "basket", "checkout")
    assert (second["element_kind"], second["element"], second["basis"]) == (
        "host",
        "worker-2",
        "errors",
    )
    # an empty cell is unknown: nobody says that nothing fell
    assert "affected" not in third
    # the fourth does not say what was failed
    assert batch.coverage[0]["status"] == "partial"
    assert (batch.coverage[0]["rows"], batch.coverage[0]["expected"]) == (3, 4)


def test_a_journal_of_chaos_toolkit():
    row = rows_of(read("journal.json", format="chaostoolkit", map="probes.csv"))[0]
    assert (row["element_kind"], row["element"]) == ("service", "stock")
    # the map says whom the probe asks
    assert row["affected"] == ("stock", "checkout", "cart")
    assert row["observed"] == ("stock", "checkout", "catalog", "cart")
    assert row["started_at"].isoformat() == "2026-09-14T09:30:02.412331+00:00"
    assert row["ended_at"] > row["started_at"]
    assert row["fault"] == "crash"


def test_a_journal_without_one_known_element_is_left_out():
    journal = json.loads((FIXTURES / "journal.json").read_text())
    assert of_chaostoolkit({**journal, "run": []}, {}) is None
    twice = [
        journal["run"][0],
        json.loads(json.dumps(journal["run"][0]).replace("stock", "cart")),
    ]
    assert of_chaostoolkit({**journal, "run": twice}, {}) is None
    failed = [{**journal["run"][0], "status": "failed"}]
    assert of_chaostoolkit({**journal, "run": failed}, {}) is None
    mapped = of_chaostoolkit(journal, {"end-stock": "host:worker-9"})
    assert (mapped["element_kind"], mapped["element"]) == ("host", "worker-9")


def test_results_of_litmus():
    batch = read("chaosresults.json", format="litmus", map="probes.csv")
    stock, cart, node = rows_of(batch)
    assert (stock["element"], stock["affected"]) == ("stock", ("stock", "checkout"))
    assert stock["observed"] == ("stock", "checkout", "catalog")
    assert cart["element"] == "cart"  # the pod's own suffix is gone
    assert (node["element_kind"], node["element"]) == ("host", "worker-2")
    assert node["affected"] == ()
    assert node["observed"] == ("checkout", "cart")
    assert batch.coverage[0]["unmapped_n"] == 1  # what was stopped says nothing


def test_a_result_whose_target_was_never_hit_says_nothing():
    item = json.loads((FIXTURES / "chaosresults.json").read_text())["items"][0]
    item["status"]["history"]["targets"][0]["chaosStatus"] = "not injected"
    assert of_litmus(item, {}) is None


@pytest.mark.parametrize("kind", ["csv", "chaostoolkit", "litmus"])
def test_what_cannot_be_read_is_coverage(tmp_path, kind):
    for name in ("broken.json", "broken.csv"):
        (tmp_path / name).write_bytes(b"{\xff")
    source = ExperimentsSource()
    batch = source.collect({"path": ".", "format": kind}, tmp_path, Deadline(10))
    (row,) = (row for row in batch.coverage if row["call"] != "other files")
    assert row["status"] == "parse_error"
    assert not batch.rows["experiments"]
    missing = source.collect({"path": "none", "format": kind}, tmp_path, Deadline(10))
    assert missing.coverage[0]["status"] != "ok"
    assert source.check({"path": "x", "format": "monkey"})


def test_the_services_of_an_experiment_are_those_of_the_fleet(tmp_path):
    (tmp_path / "declared").mkdir()
    ids = "service_id\nstock\ncheckout\ncart\ncatalog\n"
    (tmp_path / "declared" / "services.csv").write_text(ids)
    text = ""
    for name, kind in (
        ("chaosresults.json", "litmus"),
        ("journal.json", "chaostoolkit"),
        ("experiments.csv", "csv"),
    ):
        text += f'[[source]]\ntype = "experiments"\nformat = "{kind}"\npath = "{FIXTURES / name}"\n'
    text += '[[source]]\ntype = "frames"\npath = "declared"\n'
    (tmp_path / "assess.toml").write_text(text)
    inventory = assess.collect(tmp_path / "assess.toml")
    table = inventory["experiments"]
    assert len(table) == 7
    assert set(table.loc[table["element_kind"] == "service", "element"]) == {
        "stock",
        "cart",
    }
    drained = table[table["observed_services"] == "checkout;basket"]
    assert drained["affected_services"].tolist() == [";"]  # a node that hit nobody
    assert table["affected_services"].isna().sum() == 1  # nobody says
    blast = assess.score_blast_radius(inventory, assess.load_policy())
    assert len(blast.details["calibration"]) >= 4
    assert isinstance(table["started_at"].iloc[0], pd.Timestamp)


@pytest.mark.parametrize("map_file", ["", "a,b\n", "service\nx\n"])
def test_a_map_without_its_columns_says_so(tmp_path, map_file):
    (tmp_path / "map.csv").write_text(map_file)
    (tmp_path / "x.json").write_bytes((FIXTURES / "journal.json").read_bytes())
    options = {"path": "x.json", "format": "chaostoolkit", "map": "map.csv"}
    (row,) = ExperimentsSource().collect(options, tmp_path, Deadline(10)).coverage
    assert (row["call"], row["status"]) == ("map", "parse_error")
    assert "columns" in row["hint"] or "empty" in row["hint"]


@pytest.mark.parametrize(
    ("kind", "name"), [("chaostoolkit", "journal.json"), ("litmus", "chaosresults.json")]
)
@whatever_comes
def test_mutants_of_results_raise_nothing(kind, name, seeds):
    payload = json.loads((FIXTURES / name).read_text())
    with tempfile.TemporaryDirectory() as directory:
        for seed in seeds:
            file = Path(directory) / f"{seed}.json"
            file.write_text(json.dumps(mutated(payload, seed)))
        options = {"path": ".", "format": kind}
        batch = ExperimentsSource().collect(options, Path(directory), Deadline(60))
    assert len(batch.coverage) == len(seeds)
    assert not {row.get("error_class") for row in batch.coverage} - {None}
    fit([batch])


MESH = {
    "apiVersion": "chaos-mesh.org/v1alpha1",
    "kind": "NetworkChaos",
    "metadata": {"name": "delay-stock", "namespace": "shop", "uid": "u-1"},
    "spec": {
        "action": "delay",
        "mode": "one",
        "selector": {"namespaces": ["shop"], "labelSelectors": {"app": "stock"}},
    },
    "status": {
        "experiment": {
            "desiredPhase": "Stop",
            "containerRecords": [
                {
                    "id": "shop/stock-55cc46dc8f-jfbb8/app",
                    "phase": "Not Injected",
                    "injectedCount": 1,
                    "events": [
                        {
                            "type": "Failed",
                            "operation": "Apply",
                            "timestamp": "2026-09-01T09:59:00Z",
                        },
                        {
                            "type": "Succeeded",
                            "operation": "Apply",
                            "timestamp": "2026-09-01T10:00:00Z",
                        },
                        {
                            "type": "Succeeded",
                            "operation": "Recover",
                            "timestamp": "2026-09-01T10:05:00Z",
                        },
                    ],
                }
            ],
        }
    },
}
GREMLIN = {
    "guid": "g-1",
    "stage": "Successful",
    "args": {"type": "blackhole", "cliArgs": ["blackhole", "-l", "60"]},
    "createUser": "ada@acme.example",
    "startTime": "2026-09-01T10:00:00.000Z",
    "endTime": "2026-09-01T10:01:00.000Z",
    "target": {"containers": {"multiSelectLabels": {"app": ["stock"]}}},
}
FIS = {
    "experiment": {
        "id": "EXP1",
        "state": {"status": "completed"},
        "startTime": "2026-09-01T10:00:00+00:00",
        "endTime": "2026-09-01T10:10:00+00:00",
        "targets": {
            "one": {
                "resourceType": "aws:ec2:instance",
                "resourceArns": ["arn:aws:ec2:eu-west-1:123456789012:instance/i-0a1b"],
            },
            "pods": {
                "resourceType": "aws:eks:pod",
                "parameters": {
                    "selectorType": "labelSelector",
                    "selectorValue": "app=stock",
                },
            },
        },
        "actions": {
            "stop": {
                "actionId": "aws:ec2:stop-instances",
                "targets": {"Instances": "one"},
                "state": {"status": "completed"},
            },
            "wait": {"actionId": "aws:fis:wait", "state": {"status": "completed"}},
            "later": {
                "actionId": "aws:eks:pod-cpu-stress",
                "targets": {"Pods": "pods"},
                "state": {"status": "skipped"},
            },
        },
    }
}


def edited(payload, *path, to):
    copy = json.loads(json.dumps(payload))
    part = copy
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = to
    return copy


@pytest.mark.parametrize(
    ("kind", "payload", "element", "fault"),
    [
        ("chaosmesh", MESH, ("service", "stock"), "latency"),
        (
            "chaosmesh",
            edited(MESH, "spec", "selector", to={}),
            ("service", "stock"),
            "latency",
        ),
        (
            "chaosmesh",
            edited(MESH, "spec", "action", to="loss"),
            ("service", "stock"),
            "network",
        ),
        (
            "chaosmesh",
            {
                **MESH,
                "kind": "StressChaos",
                "spec": {"stressors": {"cpu": {"workers": 1}}},
            },
            ("service", "stock"),
            "cpu",
        ),
        (
            "chaosmesh",
            {**MESH, "kind": "PodChaos", "spec": {"action": "pod-kill"}},
            ("service", "stock"),
            "crash",
        ),
        ("gremlin", GREMLIN, ("service", "stock"), "network"),
        (
            "gremlin",
            edited(GREMLIN, "target", to={"hosts": {"ids": ["worker-2"]}}),
            ("host", "worker-2"),
            "network",
        ),
        ("fis", FIS, ("host", "i-0a1b"), "crash"),
        (
            "fis",
            edited(FIS, "experiment", "actions", "stop", "targets", to={"Pods": "pods"}),
            ("service", "stock"),
            "crash",
        ),
    ],
)
def test_tools_that_watch_nothing(tmp_path, kind, payload, element, fault):
    (tmp_path / "x.json").write_text(json.dumps(payload))
    batch = ExperimentsSource().collect(
        {"path": "x.json", "format": kind}, tmp_path, Deadline(10)
    )
    (row,) = rows_of(batch)
    assert (row["element_kind"], row["element"]) == element
    assert row["fault"] == fault
    assert (row["started_at"].hour, row["ended_at"] > row["started_at"]) == (10, True)
    assert "affected" not in row  # nobody looked at the others
    assert "ada" not in repr(batch)


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("chaosmesh", edited(MESH, "status", to={})),
        ("gremlin", edited(GREMLIN, "stage", to="Pending")),
        ("gremlin", edited(GREMLIN, "target", to={"type": "Random"})),
        ("fis", edited(FIS, "experiment", "actions", to={})),
        (
            "fis",
            edited(
                FIS, "experiment", "targets", "one", "resourceArns", to=["a/1", "a/2"]
            ),
        ),
    ],
)
def test_what_failed_nothing_or_not_one_thing_is_left_out(kind, payload):
    assert _TOOLS[kind](payload, {}) is None


def test_the_map_names_what_other_tools_failed():
    assert _TOOLS["chaosmesh"](MESH, {"delay-stock": "host:w-1"})["element"] == "w-1"
    assert _TOOLS["gremlin"](GREMLIN, {"g-1": "cart"})["element"] == "cart"
    assert _TOOLS["fis"](FIS, {"stop": "az:eu-west-1a"})["element_kind"] == "az"


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("pod-delete", "crash"),
        ("pod-cpu-hog", "cpu"),
        ("pod-memory-hog", "memory"),
        ("pod-network-latency", "latency"),
        ("pod-network-loss", "network"),
        ("disk-fill", "data"),
        ("node-drain", "crash"),
        ("container_kill", "crash"),
        ("terminate_pods", "crash"),
        ("create_latency_toxic", "latency"),
        ("aws:ecs:stop-task", "crash"),
        ("aws:network:disrupt-connectivity", "network"),
        ("DNSChaos random", "network"),
        ("IOChaos attrOverride", "data"),
        ("process_killer", "crash"),
        ("crash", "crash"),
        ("unknown", "unknown"),
        ("", None),
        ("time travel", None),
    ],
)
def test_kinds_of_fault(words, fault):
    from assess.sources.experiments import fault_of

    assert fault_of(words) == fault


@whatever_comes
def test_mutants_of_other_tools_raise_nothing(seeds):
    for seed in seeds:
        for kind, payload in (("chaosmesh", MESH), ("gremlin", GREMLIN), ("fis", FIS)):
            value = mutated(payload, seed)
            assert isinstance(
                _TOOLS[kind](value if isinstance(value, dict) else {}, {}), dict | None
            )


@pytest.mark.parametrize(
    ("name", "kind"),
    [("chaosresults.json", "litmus"), ("journal.json", "chaostoolkit")],
)
def test_a_tool_need_not_be_named(name, kind):
    assert rows_of(read(name)) == rows_of(read(name, format=kind))


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ({"guid": "g-1", "stage": "Successful"}, "gremlin"),
        ({"experiment": {"id": "EXP1", "experimentTemplateId": "EXT1"}}, "fis"),
        ({"apiVersion": "chaos-mesh.org/v1alpha1", "kind": "PodChaos"}, "chaosmesh"),
        ({"apiVersion": "apps/v1", "kind": "Deployment"}, ""),
        (["x"], ""),
    ],
)
def test_what_shows_the_tool(entry, kind):
    assert _tool_of(entry) == kind
