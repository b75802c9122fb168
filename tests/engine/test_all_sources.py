"""Every source at once: real engines and a registry, AWS over HTTP, files of the others."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from moto.server import ThreadedMotoServer

import assess
from assess.cli import cli
from assess.sources import source_types

FIXTURES = Path(__file__).parents[1] / "fixtures"
SHOWING = ("01", "07")  # notebooks that show rows, and the one that shows all results
CANARY = "hunter2"
TABLES = tomllib.loads((FIXTURES / "every_source.toml").read_text(encoding="utf-8"))[
    "source"
]
AWS = ("ec2", "ecs", "ecr", "ssm")


@pytest.fixture(scope="module")
def aws():
    """AWS's calls, answered by moto, with something of each kind."""
    import boto3

    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
        server.start()
        endpoint = "http://{}:{}".format(*server.get_host_and_port())

        def client(name):
            return boto3.client(name, region_name="eu-west-1", endpoint_url=endpoint)

        image = client("ec2").describe_images()["Images"][0]["ImageId"]
        client("ec2").run_instances(ImageId=image, MinCount=1, MaxCount=1)
        client("ecr").create_repository(repositoryName="shop/live")
        client("ecs").create_cluster(clusterName="live")
        yield endpoint
        server.stop()


@pytest.fixture(scope="module")
def run(engines, registry, aws, tmp_path_factory):
    """One run over everything, on the command line: its result and its snapshot."""
    base = tmp_path_factory.mktemp("everything")
    for place in FIXTURES.iterdir():
        (base / place.name).symlink_to(place)
    repositories = ["shop/web", "shop/old", "shop/epoch"]
    live = [
        *(
            {"type": "docker", "endpoint": e.endpoint, "host_id": e.version}
            for e in engines
        ),
        *({"type": kind, "endpoint_url": aws, "regions": ["eu-west-1"]} for kind in AWS),
        {"type": "registry", "endpoint": registry.endpoint, "repositories": repositories},
        {"type": "kubernetes", "endpoint": f"http://ada:{CANARY}@127.0.0.1:9"},
    ]
    lines = [
        line
        for table in TABLES + live
        for line in (
            "[[source]]",
            *(f"{name} = {json.dumps(v)}" for name, v in table.items()),
        )
    ]
    (base / "assess.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    snapshot = base / "snapshots" / "2026Q4"
    arguments = [
        "collect",
        "--debug",
        "-c",
        str(base / "assess.toml"),
        "-o",
        str(snapshot),
    ]
    return CliRunner().invoke(cli, [*arguments, "--deadline", "120"]), snapshot


@pytest.fixture(scope="module")
def inventory(run):
    result, snapshot = run
    assert result.exit_code in (0, 4), result.output
    return assess.load(snapshot)  # which validates it


def test_every_source_gave_something_and_says_what_it_could_not(inventory):
    statuses = inventory["coverage"].groupby("source")["status"].agg(set)
    assert set(source_types()) <= set(statuses.index)
    for kind in source_types():
        assert statuses[kind] & {"ok", "partial", "empty"}, kind


def test_workloads_come_from_every_kind_of_place(inventory):
    platforms = set(inventory["services"]["platform"].dropna())
    assert {
        "docker",
        "kubernetes",
        "swarm",
        "ecs",
        "nomad",
        "marathon",
        "host",
    } <= platforms
    kinds = inventory["workloads"].groupby("source")["workload_id"].nunique()
    assert (kinds > 0).all()


def test_all_frames_are_filled_but_those_that_only_people_write(inventory):
    filled = {name for name in inventory.present if len(inventory[name])}
    assert set(inventory.present) - filled <= {"waivers"}
    assert filled >= {
        "services",
        "hosts",
        "engines",
        "images",
        "workloads",
        "mounts",
        "dependencies",
        "incidents",
        "activities",
        "answers",
        "experiments",
        "coverage",
        "service_aliases",
    }


def test_the_canary_is_nowhere(run, inventory, tmp_path):
    result, snapshot = run
    assert CANARY not in result.output  # the log of --debug, too
    assert "127.0.0.1:9" in result.output
    for name in inventory.present:
        text = pd.DataFrame(inventory[name]).to_csv()
        assert CANARY not in text, name
    for file in snapshot.iterdir():
        assert CANARY.encode() not in file.read_bytes(), file.name
    report = CliRunner().invoke(
        cli, ["report", str(snapshot), "-o", str(tmp_path / "report")]
    )
    assert report.exit_code == 0, report.output
    runs = [
        "notebooks",
        "run",
        *SHOWING,
        "-p",
        f"snapshot={snapshot}",
        "-o",
        str(tmp_path / "book"),
    ]
    book = CliRunner().invoke(cli, runs)
    assert book.exit_code == 0, book.output
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {file.suffix for file in written} >= {".html", ".md", ".json"}
    assert sum(file.suffix == ".ipynb" for file in written) == len(SHOWING)
    for file in written:
        assert CANARY.encode() not in file.read_bytes(), file.name


def test_what_is_collected_can_be_scored(inventory):
    labels = assess.what_next(inventory, assess.load_policy()).frame["label"]
    assert labels.notna().all()
    assert len(labels) == len(inventory["services"])
