from __future__ import annotations

import builtins
import json
import os
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime
from importlib.metadata import EntryPoint
from math import inf, nan
from pathlib import Path

import pandas as pd
import pytest

import assess
from assess.config import Config, SourceConfig
from assess.errors import CollectError, ConfigError
from assess.execution import tell
from assess.image_ref import parse_image
from assess.inventory import derived
from assess.sources import catalogue as registry
from assess.sources import collect, csv_records, source_types
from assess.sources.base import Batch, Name, Source
from assess.sources.joining.merge import UNASSIGNED, coverage_table, to_tables

FIXTURES = Path(__file__).parent.parent / "fixtures"
NOW = datetime(2026, 9, 30, 12, tzinfo=UTC)


def config(*tables, directory=FIXTURES, **identity):
    sources = tuple(SourceConfig(kind, options) for kind, options in tables)
    return Config(sources, identity, directory, "assess.toml")


SHOP = ("compose", {"path": "compose/shop/compose.yaml"})
INCIDENTS = ("incidents", {"path": "incidents/incidents.csv"})


class Plugin(Source):
    """A source of another package; what it does, its option says."""

    type = "plugin"
    options = ("do",)
    fills = ("hosts",)
    needs = "nothing"
    dump = ""
    released = threading.Event()

    def collect(self, options, base, deadline):
        if options["do"] == "hang":
            self.released.wait(60)
        if options["do"] == "tell":
            tell("MiB of a file", 1, 4)
        if options["do"].endswith("Error"):
            raise getattr(builtins, options["do"])("a bug")
        if options["do"] == "raise":
            raise PermissionError("denied for https://me:hunter2@example.net")
        batch = Batch()
        batch.add("hosts", {"host_id": "h1", "kernel": options["do"]})
        return batch


@pytest.fixture
def plugin(monkeypatch):
    Plugin.released.clear()
    entry = EntryPoint("plugin", f"{__name__}:Plugin", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry])
    monkeypatch.setattr("assess.sources.run.GRACE_S", 0.1)
    yield
    Plugin.released.set()


# ---- the run ----


def test_a_service_that_a_tool_knows_by_its_id_is_shown_and_suggested_by_its_name(
    tmp_path,
):
    incident = {
        "id": "Q1",
        "incident_number": 1,
        "created_at": "2026-09-01T10:00:00Z",
        "service": {"id": "P9K2", "summary": "Storefront APIs"},
    }
    (tmp_path / "pages.json").write_text(json.dumps({"incidents": [incident]}))
    pages = ("incidents", {"path": str(tmp_path / "pages.json")})
    inventory = collect(config(SHOP, pages), now=NOW)
    coverage = inventory["coverage"].set_index(["source", "scope"])
    row = coverage.loc[("identity", "incidents")]
    assert row["unmapped_example"] == "Storefront APIs"
    aliases = inventory["service_aliases"].query("rule == 'similar'")
    assert ("storefront-api", "Storefront APIs") in set(
        zip(aliases["service_id"], aliases["alias"], strict=True)
    )


def test_the_line_that_joins_a_name_of_two_namespaces_is_shown_and_joins_it(tmp_path):
    (tmp_path / "compose.yaml").write_text(
        "{name: shop, services: {web: {image: a}, db: {image: b}}}"
    )
    pod = "spec: {template: {spec: {containers: [{image: a}]}}}"
    (tmp_path / "web.yaml").write_text(
        f"kind: Deployment\nmetadata: {{name: web, namespace: production}}\n{pod}"
    )
    sources = [
        ("compose", {"path": str(tmp_path / "compose.yaml")}),
        ("kubernetes", {"path": str(tmp_path / "web.yaml")}),
    ]
    inventory = collect(config(*sources), now=NOW)
    assert set(inventory["services"]["service_id"]) == {
        "production/web",
        "shop/web",
        "db",
    }
    coverage = inventory["coverage"].set_index(["source", "scope", "call"])
    row = coverage.loc[("identity", "services", "similar")]
    assert (row["status"], row["ambiguous_n"]) == ("partial", 2)
    line = row["hint"].partition(": in the identity map, ")[2].partition(" ")[0]
    assert line == "shop/web,production/web"
    (tmp_path / "map.csv").write_text(f"pattern,service_id\n{line}\n")
    joining = config(*sources, directory=tmp_path, map="map.csv")
    inventory = collect(joining, now=NOW)
    assert set(inventory["services"]["service_id"]) == {"production/web", "db"}
    assert "similar" not in set(inventory["coverage"]["call"])


def test_sources_join_into_one_inventory():
    inventory = collect(config(SHOP, INCIDENTS), now=NOW)
    assert str(inventory.snapshot_at) == "2026-09-30 12:00:00+00:00"
    assert inventory.quarter == "2026Q3"
    assert set(inventory["services"]["service_id"]) == {
        "web",
        "storefront-api",
        "worker",
        "sidecar",
        "db",
        "bus",
        "cache",
    }
    assert inventory["incidents"]["service_id"].isna().all()
    assert len(inventory["incidents"]) == 6
    assert not inventory.has("hosts")
    coverage = inventory["coverage"].set_index(["source", "scope", "call"])
    assert set(inventory["coverage"]["run_id"]) == {"20260930T120000Z"}
    resolved = coverage.loc[("identity", "workloads", "resolve")]
    assert (resolved["status"], resolved["ratio"], resolved["rows"]) == ("ok", 1.0, 9)
    unnamed = coverage.loc[("identity", "incidents", "resolve")]
    assert unnamed["ratio"] == 0
    assert unnamed["unmapped_example"] in set(inventory["incidents"]["service_raw"])
    assert unnamed["hint"].endswith(f"; of no service: {unnamed['unmapped_example']}")
    assert coverage.loc[("identity", "dependencies", "resolve"), "ratio"] == 1


def test_incidents_find_their_service(tmp_path):
    (tmp_path / "compose.yaml").write_text(
        "services: {checkout-svc: {image: x}, db: {image: y}}"
    )
    (tmp_path / "i.csv").write_text(
        "id,service,opened,affected\n"
        "1,Checkout Service,2026-01-01T00:00:00Z,db;elsewhere\n2,checkout-srvc,2026-01-02T00:00Z,\n"
    )
    run = config(
        ("compose", {"path": "compose.yaml"}),
        ("incidents", {"path": "i.csv"}),
        directory=tmp_path,
    )
    inventory = collect(run, now=NOW)
    first, second = inventory["incidents"].itertuples()
    assert (first.service_id, first.affected_services) == ("checkout-svc", "db;elsewhere")
    assert pd.isna(second.service_id)
    suggested = inventory["service_aliases"].query("ambiguous")
    assert list(suggested["alias"]) == ["checkout-srvc"]


def test_a_dangling_need_is_kept_outside(tmp_path):
    (tmp_path / "compose.yaml").write_text(
        "services: {web: {image: x, depends_on: [gone]}}"
    )
    inventory = collect(
        config(("compose", {"path": "compose.yaml"}), directory=tmp_path), now=NOW
    )
    (edge,) = inventory["dependencies"].itertuples()
    assert (edge.src_id, edge.dst_id, edge.unresolved) == ("web", "ext:gone", True)


def test_every_option_is_checked_before_any_work(plugin, monkeypatch):
    monkeypatch.setattr(Plugin, "collect", lambda *_: pytest.fail("it was asked"))
    bad = config(
        ("plugin", {"do": "x"}),
        ("compose", {"pth": "x"}),
        ("dokcer", {}),
        ("frames", {}),
        *(("plugin", {"do": "x", "deadline": seconds}) for seconds in ("soon", inf, nan)),
        mpa="x",
    )
    with pytest.raises(ConfigError) as caught:
        collect(bad, sources=["plugin", "framse"])
    for part in (
        "'pth', did you mean 'path'?",
        "'dokcer', did you mean 'docker'?",
        "names no directory",
        "deadline 'soon'",
        "deadline inf",
        "deadline nan",
        "[identity] unknown key 'mpa', did you mean 'map'?",
        "'framse', did you mean 'frames'?",
        "number 2 (compose)",
    ):
        assert part in str(caught.value)


def test_a_map_that_is_missing_is_an_error_of_the_configuration():
    with pytest.raises(ConfigError, match=r"identity map absent\.csv"):
        collect(config(SHOP, map="absent.csv"))
    with pytest.raises(ConfigError, match="no \\[\\[source\\]\\]"):
        collect(config(SHOP), sources=["frames"])


def test_an_engine_that_never_answers_costs_its_own_deadline():
    ended = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        hanging = ("docker", {"endpoint": address, "deadline": 1})
        tables = (SHOP, hanging, ("docker", {"path": "docker/cli"}), INCIDENTS)
        run = config(*tables)
        inventory = collect(run, progress=lambda *done: ended.append(done), now=NOW)
    coverage = inventory["coverage"].set_index(["source", "scope"])
    assert coverage.loc[("docker", address), "status"] == "timeout"
    assert (len(inventory["incidents"]), len(inventory["engines"])) == (6, 1)
    assert ended[-1] == ("docker", 4, 4)  # the others did not wait for it


def test_a_process_ends_without_waiting_for_a_source_that_hangs(tmp_path):
    (tmp_path / "hanging.py").write_text(
        "import time\nfrom pathlib import Path\n"
        "from assess.sources.base import Batch, Source\n"
        "from assess.sources.run import Task, collecting, side_by_side\n"
        "class Hanging(Source):\n"
        "    type = 'hanging'\n"
        "    def collect(self, options, base, deadline):\n"
        "        time.sleep(600)\n"
        "task = Task('hanging', Hanging(), {}, Path(), 0.2)\n"
        "(_, batch), = side_by_side([task], collecting)\n"
        "print(batch.coverage[0]['status'])\n"
    )
    command = [sys.executable, str(tmp_path / "hanging.py")]
    tested = str(Path(assess.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": tested}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "timeout"


def test_a_hanging_source_costs_only_its_own_deadline(plugin):
    done = []
    inventory = collect(
        config(("plugin", {"do": "hang", "deadline": 0.2}), SHOP),
        progress=lambda *told: done.append(told),
        now=NOW,
    )
    assert not Plugin.released.is_set()  # it still hangs
    row = inventory["coverage"].query("source == 'plugin'").iloc[0]
    assert (row["status"], row["error_class"]) == ("timeout", "TimeoutError")
    assert len(inventory["services"]) == 7
    assert [told[1:] for told in done] == [(1, 2), (2, 2)]
    assert {told[0] for told in done} == {"plugin", "compose"}


def test_who_listens_is_told_how_far_a_source_is(plugin):
    told = []
    with assess.working(tell=lambda *work: told.append(work)):
        collect(config(("plugin", {"do": "tell"}), SHOP), now=NOW)
    assert told == [("MiB of a file", 1, 4)]


@pytest.mark.parametrize("bug", ["RuntimeError", "NameError", "AssertionError"])
def test_a_bug_of_a_plug_in_is_no_address_to_check(plugin, bug):
    coverage = collect(config(("plugin", {"do": bug}), SHOP), now=NOW)["coverage"]
    row = coverage[coverage["error_class"].notna()].iloc[0]
    assert row["status"] == "parse_error"
    assert f"{bug} in the code of this source" in row["hint"]


def test_a_source_that_raises_becomes_a_coverage_row(plugin):
    inventory = collect(config(("plugin", {"do": "raise"}), SHOP), now=NOW)
    row = inventory["coverage"].query("source == 'plugin'").iloc[0]
    assert (row["status"], row["error_class"]) == ("denied", "PermissionError")
    assert "hunter2" not in row["hint"]
    assert "grant the read permissions" in row["hint"]


def test_strict_and_nothing_at_all(plugin):
    with pytest.raises(CollectError, match=r"not complete.*\n.*plugin.*denied"):
        collect(
            config(("plugin", {"do": "raise"}), ("plugin", {"do": "5.4"})), strict=True
        )
    with pytest.raises(CollectError, match="nothing was collected"):
        collect(config(("plugin", {"do": "raise"})))
    with pytest.raises(CollectError, match=r"jobs, nodes, .*: unreachable \(") as told:
        collect(config(("nomad", {"endpoint": "http://127.0.0.1:9"})))
    assert str(told.value).count("check the address") == 1
    assert len(collect(config(("plugin", {"do": "5.4"})), strict=True)["hosts"]) == 1


def test_sources_that_disagree_leave_a_trace(plugin):
    inventory = collect(
        config(("plugin", {"do": "5.4"}), ("plugin", {"do": "5.10"})), now=NOW
    )
    assert inventory["hosts"]["kernel"].isna().tolist() == [True]
    row = inventory["coverage"].query("source == 'merge'").iloc[0]
    assert (row["scope"], row["call"], row["rows"]) == ("hosts", "kernel", 1)
    assert "plugin says 5.4, plugin says 5.10" in row["hint"]


def test_names_of_one_architecture_are_no_contradiction():
    batches = []
    for source, arch in (("docker", "x86_64"), ("podman", "amd64"), ("ssm", None)):
        batch = Batch()
        batch.add("hosts", {"host_id": "h", "arch": arch, "source": source})
        batches.append((source, batch))
    tables, notes = to_tables(batches, [])
    assert notes == [] and tables["hosts"]["arch"].tolist() == ["x86_64"]
    batches[1][1].rows["hosts"][0]["arch"] = "arm64"
    tables, (note,) = to_tables(batches, [])
    assert "docker says x86_64, podman says arm64" in note["hint"]
    assert tables["hosts"]["arch"].isna().all()


def test_versions_that_disagree_are_shown_whole_and_sources_are_named_once():
    batches = []
    for source, version in (("vms", "20.04"), ("ssm;vms", "22.04")):
        batch = Batch()
        batch.add("hosts", {"host_id": "h", "os_version": version, "source": source})
        batches.append((source, batch))
    tables, (note,) = to_tables(batches, [])
    assert "vms says 20.04, ssm;vms says 22.04" in note["hint"]
    assert tables["hosts"]["source"].tolist() == ["vms;ssm"]


def test_a_question_that_one_source_answers_twice_is_one_answer():
    batch = Batch()
    for answer in ("yes", "no"):
        row = {"names": [Name("s", "label", 1.0)], "question": "q", "answer": answer}
        batch.add("answers", row | {"source": "forms"})
    tables, _ = to_tables([("answers", batch)], [])
    columns = ["service_id", "question", "source", "answer"]
    assert tables["answers"][columns].to_numpy().tolist() == [["s", "q", "forms", "yes"]]


@pytest.mark.parametrize("first", [True, False])
def test_what_gates_ask_for_is_unknown_where_sources_contradict_each_other(first):
    batches = []
    for source, says in (("a", first), ("b", not first), ("c", None)):
        batch = Batch()
        row = {
            "names": [Name("s", "label", 1.0)],
            "stateful": says,
            "license_bound": True if says else None,
        }
        batch.add("services", row | {"source": source})
        batches.append((source, batch))
    tables, notes = to_tables(batches, [])
    (row,) = tables["services"].to_dict("records")
    assert pd.isna(row["stateful"]) and row["license_bound"] is True
    (note,) = [note for note in notes if note["call"] == "stateful"]
    assert "none was kept" in note["hint"]


IMAGE = ["image_ref", "registry", "repository", "tag"]


def told(frame, *cells):
    """Tables and notes of sources that each say one row of the same thing."""
    batches = []
    for number, own in enumerate(cells):
        batch = Batch()
        key = {"names": [Name("s", "label", 1.0)]} if frame == "services" else {}
        key |= {"names": [], "workload_id": "w"} if frame == "workloads" else {}
        host = {"host_id": "h"} if frame in ("hosts", "engines") else {}
        host |= {"runtime": "docker"} if frame == "engines" else {}
        host |= {"workload_id": "w", "destination": "/d"} if frame == "mounts" else {}
        if frame == "incidents":
            host = {
                "names": [],
                "incident_id": "i",
                "opened_at": pd.Timestamp("2026-09-01"),
            }
        batch.add(frame, host | key | own | {"source": f"source{number}"})
        batches.append((f"source{number}", batch))
    return batches


@pytest.mark.parametrize(
    ("frame", "column", "one", "other"),
    [
        ("services", "tier", 1, 3),
        ("services", "owner", "shop", "pay"),
        ("services", "kind", "web", "database"),
        ("services", "runbook", True, False),
        ("services", "secrets_in_image", True, False),
        ("hosts", "os_name", "ubuntu", "debian"),
        ("hosts", "os_version", "20.04", "22.04"),
        ("hosts", "kernel", "5.15.0-91-generic", "6.8.0-40-generic"),
        ("engines", "storage_driver", "aufs", "overlay2"),
        ("engines", "version", "20.10.24+dfsg1", "24.0.5"),
        ("engines", "containerd_version", "1.6.20~ds1", "1.7.2"),
        ("engines", "live_restore", True, False),
        ("workloads", "state", "running", "exited"),
        ("workloads", "restart_policy", "no", "on-failure"),
        ("workloads", "user_root", True, False),
        ("workloads", "caps_added", "SYS_ADMIN", "none"),
        ("workloads", "repository", "library/postgres", "shop/cart"),
        ("workloads", "image_digest", "sha256:" + "a" * 64, "sha256:" + "b" * 64),
        ("workloads", "health", "healthy", "none"),
        ("workloads", "client_api_version", "1.24", "1.44"),
        ("workloads", "cpu_limit", 1.0, 2.0),
        ("incidents", "cause", "package-repo", "deploy"),
        ("incidents", "platform_at_time", "host", "docker"),
        ("mounts", "read_only", True, False),
    ],
)
def test_no_order_of_sources_decides_what_they_contradict_each_other_in(
    frame, column, one, other
):
    for first, second in ((one, other), (other, one)):
        cells = {column: first}, {column: second}, {column: None}
        tables, notes = to_tables(told(frame, *cells), [])
        assert tables[frame][column].isna().all()
        (note,) = [note for note in notes if note["call"] == column]
        assert "sources disagree and none was kept" in note["hint"]
        alike, _ = to_tables(told(frame, {column: first}, {column: first}), [])
        assert alike[frame][column].tolist() == [first]


@pytest.mark.parametrize(
    ("other", "differs"),
    [
        ("registry.example.com/pay/store:15", ["registry", "repository"]),
        ("postgres:16", ["tag"]),
        ("docker.io/library/postgres:15", []),
        ("postgres@sha256:" + "a" * 64, []),
    ],
)
def test_an_image_that_sources_contradict_each_other_in_is_filled_in_from_neither(
    other, differs
):
    pair = [
        {"image_ref": text, **parse_image(text).columns()}
        for text in ("postgres:15", other)
    ]
    for rows in (pair, pair[::-1]):
        cells = [{name: row[name] for name in IMAGE} for row in rows]
        tables, _ = to_tables(told("workloads", *cells), [])
        (row,) = derived("workloads", tables["workloads"]).to_dict("records")
        assert [name for name in IMAGE[1:] if pd.isna(row[name])] == differs


def test_a_replica_that_sources_place_on_two_hosts_is_on_an_unknown_one():
    hosts = told("hosts", {"host_id": "h1"}, {"host_id": "h2"})
    replicas = told("workloads", {"host_id": "h1"}, {"host_id": "h2"})
    tables, _ = to_tables([*hosts, *replicas], [])
    assert tables["hosts"]["host_id"].tolist() == ["h1", "h2"]
    assert tables["workloads"]["host_id"].isna().all()


def test_one_thing_told_more_exactly_is_no_contradiction():
    tables, _ = to_tables(told("hosts", {"os_version": "8"}, {"os_version": "8.6"}), [])
    assert tables["hosts"]["os_version"].tolist() == ["8"]
    pair = {"version": "5:20.10.24~3-0~debian"}, {"version": "20.10.24+dfsg1"}
    tables, notes = to_tables(told("engines", *pair), [])
    assert tables["engines"]["version"].tolist() == ["5:20.10.24~3-0~debian"]
    assert [note for note in notes if note["source"] == "merge"] == []
    # two runtimes of one host contradict nobody
    pair = {"storage_driver": "aufs"}, {"storage_driver": "zfs", "runtime": "containerd"}
    tables, _ = to_tables(told("engines", *pair, *pair), [])
    assert sorted(tables["engines"]["storage_driver"]) == ["aufs", "zfs"]


@pytest.mark.parametrize(
    ("frame", "column", "less", "more"),
    [
        ("services", "logs_exported", False, True),
        ("services", "health_checked", False, True),
        ("services", "restore_tested_at", *pd.to_datetime(["2026-01-01", "2026-09-01"])),
        ("workloads", "privileged", False, True),
        ("workloads", "docker_sock_mounted", False, True),
        ("workloads", "env_names_n", 1, 2),
        ("workloads", "secret_like_env_n", 0, 2),
        ("workloads", "oom_killed", False, True),
    ],
)
def test_what_any_source_saw_is_there(frame, column, less, more):
    for first, second in ((less, more), (more, less)):
        cells = {column: first}, {column: None}, {column: second}
        tables, notes = to_tables(told(frame, *cells), [])
        (value,) = tables[frame][column]
        assert str(value).startswith(str(more))
        (note,) = [note for note in notes if note["call"] == column]
        assert "sources disagree and the most was kept" in note["hint"]


def test_only_some_sources(plugin):
    inventory = collect(
        config(("plugin", {"do": "5.4"}), SHOP), sources=["compose"], now=NOW
    )
    assert not inventory.has("hosts")


def test_the_public_name_is_the_function_of_the_run():
    assert assess.collect is collect


def test_asking_for_source_types_loads_no_sdk():
    code = (
        "import sys, assess.sources as c; c.source_types()\n"
        "assert not {'docker', 'boto3', 'pandas'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_source_types(plugin):
    types = source_types()
    assert {"docker", "compose", "incidents", "frames"} < set(types)
    assert list(types)[-1] == "plugin"
    assert types["plugin"].fills == ("hosts",)
    assert types["compose"].origin == "assess"
    assert all(t.options and t.needs for t in types.values())


def test_a_package_that_cannot_be_loaded_says_so(monkeypatch):
    entry = EntryPoint("broken", "no.such.module:Source", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry])
    assert "cannot be loaded" in source_types()["broken"].needs
    # who names it is told so, beside all other problems
    with pytest.raises(ConfigError) as caught:
        collect(config(("broken", {}), ("dokcer", {})))
    assert "(broken): cannot be loaded: ModuleNotFoundError" in str(caught.value)
    assert "did you mean 'docker'" in str(caught.value)


def test_the_example_configuration_is_valid_with_every_table(tmp_path, monkeypatch):
    example = Path(assess.__file__).parent.parent / "data" / "assess.example.toml"
    text = example.read_text(encoding="utf-8")
    lines = text.splitlines()
    tables = [
        line.removeprefix("# ").replace('profile = "shop-audit"', "")
        for line in lines
        if line.startswith(("# [", "[["))
        or " = " in line.partition("#")[0]
        or (
            "# " in line[:2]
            and line[2:].partition(" = ")[0].isidentifier()
            and " = " in line
        )
    ]
    everything = "\n".join(tables).replace('map = "services-map.csv"', "")
    (tmp_path / "assess.toml").write_text(everything)
    asked = []
    monkeypatch.setattr(
        "assess.sources.run._run_task",
        lambda work, task, deadline, ended: (
            asked.append(task.source.type) or ended.put((task.label, Batch()))
        ),
    )
    with pytest.raises(CollectError):
        collect(tmp_path / "assess.toml")
    # every type has an example that its options allow
    assert set(asked) == set(source_types())


def test_a_type_that_is_not_configured_is_named(tmp_path):
    table = '[[source]]\ntype = "compose"\npath = "compose.yaml"\n'
    (tmp_path / "assess.toml").write_text(table)
    with pytest.raises(ConfigError, match=r"no .* of type ecs to ask"):
        collect(tmp_path / "assess.toml", sources=["ecs"])


# ---- rows to frames ----


def web(source="docker", project="shop"):
    return (Name("web", "compose-service", 0.85, project),)


def test_platforms_of_a_service_that_runs_on_two_are_mixed():
    batches = []
    for label, platform in (("docker", "docker"), ("ecs", "ecs")):
        batch = Batch()
        batch.add("services", {"names": web(), "platform": platform, "owner": label})
        batches.append((label, batch))
    tables, notes = to_tables(batches, [])
    (row,) = tables["services"].itertuples()
    assert (row.platform, row.source) == ("mixed", "docker;ecs")
    assert pd.isna(row.owner)  # one that two sources contradict each other about
    assert [note["call"] for note in notes if note["source"] == "merge"] == ["owner"]


def test_a_source_that_does_not_know_the_platform_contradicts_nobody():
    batches = []
    for label, platform in (("traces", "unknown"), ("ecs", "ecs")):
        batch = Batch()
        batch.add("services", {"names": web(), "platform": platform})
        batches.append((label, batch))
    tables, _ = to_tables(batches, [])
    assert tables["services"]["platform"].tolist() == ["ecs"]
    tables, _ = to_tables(batches[:1] * 2, [])
    assert tables["services"]["platform"].tolist() == ["unknown"]


def test_rows_that_do_not_fit_are_left_out_and_counted():
    batch = Batch()
    batch.add(
        "hosts", {"host_id": "h1", "vcpus": -2, "memory_bytes": "lots"}, {"hostname": "x"}
    )
    batch.add("workloads", {"names": web(), "workload_id": "w1", "host_id": "gone"})
    batch.add("mounts", {"workload_id": "w2", "destination": "/x"})
    batch.add("no_such_frame", {"a": 1})
    tables, notes = to_tables([("docker", batch)], [])
    (host,) = tables["hosts"].itertuples()
    assert pd.isna(host.vcpus)
    assert pd.isna(host.memory_bytes)
    assert tables["workloads"]["host_id"].isna().all()
    assert tables["mounts"].empty
    calls = {
        (note["scope"], note["call"]) for note in notes if note["source"] == "docker"
    }
    assert calls == {
        ("hosts", "check:vcpus"),
        ("hosts", "check:memory_bytes"),
        ("hosts", "check:host_id"),
        ("workloads", "check:host_id"),
        ("mounts", "check:workload_id"),
        ("no_such_frame", "check:frame"),
    }


def test_workloads_without_a_service_are_unassigned():
    batch = Batch()
    hosts = [{"host_id": f"h{n}", "hostname": "localhost"} for n in range(7)]
    batch.add("hosts", *hosts)
    for number in range(7):
        names = (Name("localhost", "hostname", 0.3),)
        batch.add(
            "workloads",
            {"names": names, "workload_id": f"w{number}", "host_id": f"h{number}"},
        )
    tables, notes = to_tables([("ansible", batch)], [])
    assert len(tables["hosts"]) == 7
    assert set(tables["workloads"]["service_id"]) == {"__unassigned__"}
    (service,) = tables["services"].itertuples()
    assert (service.service_id, service.identity_confidence) == ("__unassigned__", 0)
    (note,) = [note for note in notes if note["source"] == "identity"]
    assert (note["rows"], note["expected"], note["unmapped_n"]) == (0, 7, 7)


def test_a_caller_that_nobody_knows_is_a_service():
    batch = Batch()
    ghost = Name("ghost", "trace", 0.9)
    batch.add("services", {"names": web()})
    batch.add(
        "dependencies",
        {"src": ghost, "dst": web()[0], "kind": "call", "evidence": "trace"},
        {"src": web()[0], "dst": web()[0], "kind": "call", "evidence": "trace"},
    )
    tables, _ = to_tables([("traces", batch)], [])
    assert set(tables["services"]["service_id"]) == {"ghost", "web"}
    (edge,) = tables["dependencies"].itertuples()
    assert (edge.src_id, edge.dst_id, edge.unresolved) == ("ghost", "web", False)


def test_nul_characters_do_not_reach_a_frame():
    batch = Batch()
    batch.add("hosts", {"host_id": "h1", "kernel": "5.4\0"})
    tables, _ = to_tables([("docker", batch)], [])
    assert tables["hosts"].loc[0, "kernel"] == "5.4"


def test_a_frame_that_was_read_and_is_empty_is_present():
    batch = Batch()
    batch.add("waivers")
    tables, _ = to_tables([("frames", batch)], [])
    assert tables["waivers"].empty
    assert "hosts" not in tables


def test_coverage_rows_of_one_call_are_numbered():
    rows = [{"source": "s", "scope": "a", "call": "c", "status": "ok"}] * 2
    table = coverage_table([*rows, {**rows[0], "run_id": "earlier"}], "now")
    assert list(table["call"]) == ["c", "c", "c#2"]
    assert list(table["run_id"]) == ["earlier", "now", "now"]


def test_a_run_is_repeatable():
    inventory = collect(config(SHOP, INCIDENTS), now=NOW)
    again = collect(config(SHOP, INCIDENTS), now=NOW)
    for name in inventory:
        if name != "coverage":
            pd.testing.assert_frame_equal(inventory[name], again[name])
    assert UNASSIGNED == "__unassigned__"
    assert os.sep not in str(inventory["coverage"]["hint"].dropna().to_list())


def test_a_row_without_a_name_in_its_key_is_left_out_and_counted():
    batch = Batch()
    batch.add("hosts", {"host_id": "h"}, {"host_id": ""}, {"host_id": " "}, {})
    tables, notes = to_tables([("ansible", batch)], [])
    assert tables["hosts"]["host_id"].tolist() == ["h"]
    (note,) = [note for note in notes if note["call"] == "check:host_id"]
    assert (note["unmapped_n"], note["hint"]) == (3, "3 left out; rule: required")


FORMS = {row["option"]: row["form"] for row in csv_records.rows("option_forms")}
OPTIONS = [
    (kind, option)
    for kind, source in source_types().items()
    for option in source.options
    if option in FORMS
]


def test_every_form_is_that_of_an_option():
    assert {option for _, option in OPTIONS} == FORMS.keys()


@pytest.mark.parametrize(("kind", "option"), OPTIONS)
def test_an_option_of_another_form_is_named(kind, option):
    source = registry.make(registry.homes()[kind])
    problems = source.check({"path": "x", option: -3})
    assert f"{option} is not {FORMS[option]}" in problems


@pytest.mark.parametrize(
    "kind", [k for k, s in source_types().items() if "path" in s.options]
)
def test_a_path_is_a_text_or_a_list_of_texts(kind):
    source = registry.make(registry.homes()[kind])
    assert any("path names" in problem for problem in source.check({"path": [3]}))
