"""Limits: what breaks them is named, and the exit code is 3."""

import json

import pandas as pd
import pytest

import assess
from assess.store import write_snapshot


@pytest.fixture(scope="module")
def readiness(store):
    return assess.score_readiness(assess.load(store / "2026Q3"), assess.load_policy())


def broken(call, *arguments):
    result = call("check", *arguments, "--json", code=3)
    document = json.loads(result.stdout)
    assert document["passed"] is False
    assert result.stderr.startswith("broken: --")
    return document["rows"]


def test_limits_that_hold_exit_with_0(call, sample, readiness):
    lowest = readiness.frame["readiness_lo"].min()
    args = ("check", sample, "--min-readiness", str(lowest), "--max-open-gates", "10000")
    result = call(*args, "--min-coverage", "0")
    assert "all limits hold for 40 services" in result.stderr
    assert json.loads(call(*args, "--json").stdout) == {
        "schema_version": 1,
        "passed": True,
        "services_n": 40,
        "rows": [],
    }


def test_min_readiness_names_every_service_below(call, sample, readiness):
    points = readiness.frame["readiness_lo"]
    limit = float(points.median())
    rows = broken(call, sample, "--min-readiness", str(limit))
    assert {row["service_id"] for row in rows} == set(points.index[points < limit])
    assert all(row["found"] < row["wanted"] == limit for row in rows)


def test_what_is_hidden_meets_no_limit_of_readiness(call, sample, store, tmp_path):
    """A failing check that becomes unknown raises the point, and must not pass a pipeline."""
    inventory = assess.load(store / "2026Q3")
    services = inventory["services"].copy()
    services["stateful"] = pd.NA
    place = write_snapshot(inventory.replace(services=services), tmp_path / "hidden")
    limit = ("--min-readiness", "60")
    known = {row["service_id"] for row in broken(call, sample, *limit)}
    hidden = {row["service_id"] for row in broken(call, str(place), *limit)}
    assert "event-bus" in known
    assert known <= hidden


def test_min_coverage_names_every_service_below(call, sample, readiness):
    shares = readiness.frame["coverage"]
    rows = broken(call, sample, "--min-coverage", "1")
    assert {row["service_id"] for row in rows} == set(shares.index[shares < 1])


def test_an_unknown_gate_is_open_and_a_waived_one_is_not(call, sample, readiness):
    gates = readiness.details["gates"]
    opened = gates[gates["state"].isin(["fail", "unknown"])]
    rows = broken(call, sample, "--max-open-gates", str(len(opened) - 1))
    assert sum(row["found"] for row in rows) == len(opened)
    assert any("unknown" in row["why"] for row in rows)
    call("check", sample, "--max-open-gates", str(len(opened)))


def test_an_unknown_readiness_keeps_no_limit(call, tmp_path):
    (tmp_path / "services.csv").write_text("service_id\na\n")
    (tmp_path / "snapshot.toml").write_text('snapshot_at = "2026-09-30T00:00:00Z"\n')
    frame = assess.score_readiness(assess.load(tmp_path), assess.load_policy()).frame
    rows = broken(call, ".", "--min-coverage", ".6")
    assert rows[0]["found"] in (None, frame.loc["a", "coverage"])
    broken(call, ".", "--max-open-gates", "0")


def test_a_fleet_of_which_nothing_is_known_passes_no_check(call, tmp_path):
    (tmp_path / "services.csv").write_text("service_id\n")
    (tmp_path / "snapshot.toml").write_text('snapshot_at = "2026-09-30T00:00:00Z"\n')
    assert (
        "no services to check"
        in call("check", ".", "--min-readiness", "0", code=1).stderr
    )


def test_several_limits_are_all_reported(call, sample):
    rows = broken(
        call,
        sample,
        "--min-readiness",
        "100",
        "--min-coverage",
        "1",
        "--max-open-gates",
        "0",
    )
    assert {row["limit"] for row in rows} == {
        "min-readiness",
        "min-coverage",
        "max-open-gates",
    }


def test_only_the_chosen_service_counts(call, sample, readiness):
    best = readiness.frame["readiness_lo"].idxmax()
    points = readiness.frame["readiness_lo"].max()
    call("check", sample, "--service", best, "--min-readiness", str(points))
    args = ("check", sample, "--service", "nobody", "--min-readiness", "1")
    assert "no service 'nobody'" in call(*args, code=1).stderr


def test_no_limit_is_a_usage_error(call, sample):
    assert "no limit given" in call("check", sample, code=2).stderr
    # a limit that no service can keep, or every service keeps
    for odd in (("coverage", "60"), ("coverage", "-.1"), ("readiness", "101")):
        asked = ("check", sample, f"--min-{odd[0]}", odd[1])
        assert "not in the range" in call(*asked, code=2).stderr


def test_a_pipeline_stops_before_an_upgrade_that_breaks_something(call, sample):
    asked = ("check", sample, "--no-breaks", "--target")
    result = call(*asked, "docker:29", "--json", code=3)
    rows = json.loads(result.stdout)["rows"]
    assert {row["limit"] for row in rows} == {"no-breaks"}
    wiki = next(row for row in rows if row["service_id"] == "wiki")
    assert "will break" in wiki["why"]
    assert "aufs" in wiki["why"]
    assert "--no-breaks by" in result.stderr
    # one service alone, which nothing hits
    quiet = call(*asked, "docker:29", "--service", "search-api")
    assert "all limits hold for 1 service" in quiet.stderr
    # a word that nobody can read is a usage error
    assert "kubernets" in call(*asked, "kubernets:1.3", code=2).stderr
    assert "no version" in call(*asked, "docker:new", code=2).stderr
    assert "no day" in call("check", sample, "--no-breaks", "--by", "soon", code=2).stderr


def test_a_pipeline_stops_before_an_upgrade_that_breaks_objects_of_no_service(
    call, tmp_path
):
    objects = (
        "object_id,cluster,kind,name,last_applied_api_version\n"
        "p1,c1,PodSecurityPolicy,open,policy/v1beta1\n"
        "p2,c1,PodSecurityPolicy,tight,policy/v1beta1\n"
    )
    (tmp_path / "objects.csv").write_text(objects)
    (tmp_path / "services.csv").write_text("service_id,platform\nshop,host\n")
    (tmp_path / "snapshot.toml").write_text('snapshot_at = "2026-09-30T00:00:00Z"\n')
    asked = ("check", ".", "--no-breaks", "--target", "kubernetes:1.25", "--json")
    result = call(*asked, code=3)
    row = next(r for r in json.loads(result.stdout)["rows"] if not r["service_id"])
    assert row["found"] == 2
    for name in ("open", "tight"):
        assert f"for PodSecurityPolicy c1/{name}: " in row["why"]
    assert "what is of no service" in result.stderr
    # one service alone
    assert json.loads(call(*asked, "--service", "shop").stdout)["rows"] == []
    # of a cluster whose objects nobody listed, any may break
    node = "host_id,runtime,version,kubelet_version\nn,containerd,1.7.2,1.24.1\n"
    (tmp_path / "engines.csv").write_text(node)
    (tmp_path / "objects.csv").unlink()
    (row,) = json.loads(call(*asked, code=3).stdout)["rows"]
    assert (row["service_id"], row["found"]) == (None, 1)


@pytest.mark.parametrize("limit", ["--min-coverage=0", "--max-open-gates=99"])
def test_a_source_that_answered_nothing_meets_no_limit_of_the_fleet(
    call, tmp_path, limit
):
    """What it lists would be gone from the snapshot, with all that is open or breaks there."""
    (tmp_path / "services.csv").write_text("service_id\na\n")
    (tmp_path / "snapshot.toml").write_text('snapshot_at = "2026-09-30T00:00:00Z"\n')
    calls = "run_id,source,scope,call,status\n1,registry,r,tags,denied\n"
    (tmp_path / "coverage.csv").write_text(calls)
    call("check", ".", limit, code=0)
    calls += "1,ecs,a,list_clusters,denied\n1,ecs,a,list_services,timeout\n"
    (tmp_path / "coverage.csv").write_text(calls)
    (row,) = broken(call, ".", limit)
    assert row["service_id"] is row["found"] is None
    assert "no call was answered by ecs" in row["why"]
    call("check", ".", limit, "--service", "a", code=0)
    # another account answered: one of many is a warning, or no large fleet could be checked
    (tmp_path / "coverage.csv").write_text(f"{calls}1,ecs,b,list_services,ok\n")
    result = call("check", ".", limit, code=0)
    assert (
        "warning: no answer came from ecs a: what runs there is not checked"
        in result.stderr
    )
    for known in ("list_tags,ok", "list_tags,partial", "carried:workloads,stale"):
        (tmp_path / "coverage.csv").write_text(f"{calls}1,ecs,a,{known}\n")
        assert "no answer" not in call("check", ".", limit, code=0).stderr
