"""Collecting, with the real sources on real dumps, and what comes of what cannot be seen."""

import json
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import assess
from assess.cli.collect import seen_share
from assess.sources import source_types

COMPOSE = Path(__file__).parents[1] / "fixtures" / "compose" / "shop" / "compose.yaml"
DOCKER = Path(__file__).parents[1] / "fixtures" / "docker" / "cli"
GOOD = f'[[source]]\ntype = "compose"\npath = "{COMPOSE}"\n'
DEAD = '[[source]]\ntype = "docker"\nendpoint = "unix:///nowhere/docker.sock"\n'


@pytest.fixture
def config(tmp_path):
    def written(*tables):
        (tmp_path / "assess.toml").write_text("".join(tables))

    return written


def test_a_snapshot_is_written_and_its_path_is_printed(call, config, tmp_path):
    config(GOOD)
    result = call("collect", "-o", "data/snapshots/2026Q4")
    assert result.stdout == "data/snapshots/2026Q4\n"
    inventory = assess.load(tmp_path / "data/snapshots/2026Q4")
    assert len(inventory["services"]) > 1
    assert f"services {len(inventory['services'])}" in result.stderr
    assert (tmp_path / "data/snapshots/2026Q4/services.parquet").is_file()


def test_without_a_directory_it_is_the_day_in_data_snapshots(call, config, tmp_path):
    config(GOOD)
    path = call("collect").stdout.strip()
    inventory = assess.load(tmp_path / path)
    assert path == f"data/snapshots/{inventory.snapshot_at:%Y-%m-%d}"


def test_a_gap_is_named_and_exits_with_4(call, config, tmp_path):
    config(GOOD, DEAD)
    result = call("collect", "-o", "out", code=4)
    assert result.stdout == "out\n"
    assert "unreachable: docker unix:///nowhere/docker.sock" in result.stderr
    assert "the limit is 80%" in result.stderr
    assert len(assess.load(tmp_path / "out")["services"]) > 1
    share = seen_share(assess.load(tmp_path / "out")["coverage"])
    call("collect", "-o", "again", "--min-coverage", str(share))


def test_the_doctor_tells_before_a_run_and_writes_nothing(call, config, tmp_path):
    whole = '[[source]]\ntype = "frames"\npath = "own"\n'
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "hosts.csv").write_text("host_id\nh1\n")
    config(whole)
    assert [r["status"] for r in json.loads(call("doctor", "--json").stdout)["rows"]] == [
        "ok"
    ]
    config(whole, DEAD)
    result = call("doctor", "--json", code=4)
    told = {row["source"]: row["status"] for row in json.loads(result.stdout)["rows"]}
    assert told == {"frames": "ok", "docker": "unreachable"}
    assert "1 of 2 calls are not answered in full" in result.stderr
    assert "next: assess collect" in result.stderr
    config(DEAD)
    told = call("doctor", code=4).stderr
    assert "next: follow the hints, then assess doctor" in told
    assert {p.name for p in tmp_path.iterdir()} == {"assess.toml", "own"}


def test_what_was_seen_before_is_carried_forward_unless_told_otherwise(
    call, config, tmp_path
):
    dumps = tmp_path / "dumps"
    shutil.copytree(DOCKER, dumps)
    config(GOOD, '[[source]]\ntype = "docker"\npath = "dumps"\n')
    call("collect", "-o", "store/a")
    shutil.rmtree(dumps)
    call("collect", "-o", "store/b", code=4)
    call("collect", "-o", "store/c", "--fresh", code=4)
    call("collect", "-o", "other/d", "--previous", "store/a", code=4)
    hosts = {
        n: len(assess.load(tmp_path / n)["hosts"])
        for n in ("store/b", "store/c", "other/d")
    }
    assert hosts == {"store/b": 1, "store/c": 0, "other/d": 1}


def test_nothing_collected_exits_with_1_and_writes_nothing(call, config, tmp_path):
    config(DEAD)
    result = call("collect", "-o", "out", code=1)
    assert result.stdout == ""
    assert "error: nothing was collected" in result.stderr
    assert not (tmp_path / "out").exists()


def test_strict_fails_where_a_source_fails(call, config, tmp_path):
    config(GOOD, DEAD)
    assert "not complete" in call("collect", "--strict", "-o", "out", code=1).stderr
    assert not (tmp_path / "out").exists()


def test_only_the_sources_that_are_named(call, config):
    config(GOOD, DEAD)
    call("collect", "--source", "compose", "-o", "out")
    assert (
        "unknown source type"
        in call("collect", "--source", "dokcer", "-o", "x", code=1).stderr
    )


def test_a_dump_of_docker_is_a_source(call, config, tmp_path):
    config(f'[[source]]\ntype = "docker"\npath = "{DOCKER}"\n')
    call("collect", "-o", "out")
    assert len(assess.load(tmp_path / "out")["workloads"]) > 0


def test_the_configuration_comes_from_option_and_environment(call, config, tmp_path):
    config(GOOD)
    (tmp_path / "assess.toml").rename(tmp_path / "other.toml")
    assert "there is no assess.toml" in call("collect", "-o", "a", code=1).stderr
    call("collect", "-c", "other.toml", "-o", "a")
    call("collect", "-o", "b", ASSESS_CONFIG="other.toml")
    call("collect", "-o", "c", ASSESS_COLLECT_CONFIG="other.toml")


def test_nothing_is_asked_where_a_snapshot_would_be_written_over(call, config, tmp_path):
    config(DEAD)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "services.csv").write_text("service_id\na\n")
    result = call("collect", "-o", "out", code=1)
    assert "never written over" in result.stderr
    assert "docker" not in result.stderr
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["services.csv"]


def test_nothing_is_asked_where_the_snapshot_of_the_day_is_there(call, config, tmp_path):
    config(GOOD)
    place = tmp_path / call("collect").stdout.strip()
    config(DEAD)
    result = call("collect", code=1)
    assert "never written over" in result.stderr
    assert "docker" not in result.stderr
    assert any(place.iterdir())


def test_nothing_is_asked_where_nothing_can_be_written(call, config, tmp_path):
    config(DEAD)
    result = call("collect", "-o", "assess.toml/out", code=1)
    assert "assess.toml is no directory to write to" in result.stderr
    assert "docker" not in result.stderr


MANY = [("ecs", "x", f"call-{number}", "ok", None) for number in range(9)]


def test_an_interrupt_does_not_wait_for_a_source_that_hangs(config, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:  # accepts, and never answers
        port = server.getsockname()[1]
        config(f'[[source]]\ntype = "docker"\nendpoint = "tcp://127.0.0.1:{port}"\n')
        started = subprocess.Popen(
            [sys.executable, "-m", "assess", "collect", "--deadline", "600", "-o", "out"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        connection, _ = server.accept()
        with connection:
            connection.recv(1)
            started.send_signal(signal.SIGINT)
            out, error = started.communicate(timeout=20)
    assert (started.returncode, out, error.strip()) == (130, "", "error: interrupted")
    assert not (tmp_path / "out").exists()


def coverage(*rows):
    columns = ["source", "scope", "call", "status", "ratio"]
    return pd.DataFrame(rows, columns=columns).astype({"ratio": "Float64"})


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], 0.0),
        ([("docker", "a", "ps", "ok", None), ("docker", "a", "df", "empty", None)], 1.0),
        ([("docker", "a", "ps", "ok", None), ("docker", "a", "df", "denied", None)], 0.5),
        ([*MANY, ("ec2", "x", "c", "denied", None)], 0.5),
        (
            [
                ("docker", "a", "ps", "ok", None),
                ("identity", "w", "resolve", "partial", 0.1),
                ("kubernetes", "shop", "references", "partial", None),
            ],
            1.0,
        ),
        ([("docker", "a", "ps", "partial", 0.25)], 0.25),
        ([("docker", "a", "ps", "partial", None)], 0.0),
        ([("docker", "a", "ps", "partial", 1.5)], 1.0),
        (
            [
                ("docker", "a", "ps", "ok", None),
                ("ecs", "b", "c", "not_configured", None),
            ],
            1.0,
        ),
        ([("docker", "a", "ps", "ok", None), ("docker", "b", "ps", "stale", None)], 0.5),
    ],
)
def test_seen_share_is_worked_by_hand(rows, expected):
    assert seen_share(coverage(*rows)) == expected


def test_sources_tell_what_each_needs(call):
    document = json.loads(call("sources", "--json").stdout)
    known = source_types()
    assert [row["type"] for row in document["rows"]] == list(known)
    for row in document["rows"]:
        assert row["needs"] == known[row["type"]].needs
        assert row["fills"].split(", ") == list(known[row["type"]].fills)
    one = call("sources", "docker").stdout.splitlines()
    assert [line.split()[0] for line in one] == ["type", "docker"]
    assert "sources: docker" in call("sources", "dokcer", code=2).stderr
