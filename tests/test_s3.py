"""Snapshots and dumps in S3, on moto's server."""

import json
import shutil
from pathlib import Path

import boto3
import pytest
from click.testing import CliRunner
from moto.server import ThreadedMotoServer

import assess
from assess import s3, store
from assess.cli import cli
from assess.config import Config, SourceConfig
from assess.errors import AssessError
from assess.sample import write_sample
from assess.sources import collect

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(scope="module")
def bucket():
    """A client of a server with an empty bucket ``fleet``."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        patch.setenv(
            "AWS_ENDPOINT_URL_S3", "http://{}:{}".format(*server.get_host_and_port())
        )
        client = boto3.client("s3")
        client.create_bucket(Bucket="fleet")
        yield client
        server.stop()


@pytest.fixture(scope="module")
def quarters(tmp_path_factory):
    directory = tmp_path_factory.mktemp("store")
    write_sample(directory, services=12)
    return directory


def names(client, prefix):
    found = client.list_objects_v2(Bucket="fleet", Prefix=prefix).get("Contents", ())
    return {entry["Key"] for entry in found}


@pytest.fixture(scope="module")
def kept(bucket, quarters):
    """The address of a store with two quarters."""
    for quarter in ("2026Q2", "2026Q3"):
        s3.push(quarters / quarter, f"s3://fleet/store/{quarter}")
    return "s3://fleet/store"


def test_what_is_pushed_is_loaded_again(kept, quarters):
    own = assess.load(quarters / "2026Q3")
    far = assess.load(f"{kept}/2026Q3")
    assert far.snapshot_at == own.snapshot_at
    assert far.diff(own).empty
    assert store.resolve(kept).name == "2026Q3"
    assert store.resolve(f"{kept}@2026-07-01").name == "2026Q2"


def test_nothing_is_written_over_and_half_a_snapshot_is_none(bucket, kept, quarters):
    with pytest.raises(AssessError, match="never written over"):
        s3.push(quarters / "2026Q3", f"{kept}/2026Q3")
    half = "s3://fleet/half"
    for file in (quarters / "2026Q3").glob("*.csv"):
        bucket.upload_file(str(file), "fleet", f"half/{file.name}")
    with pytest.raises(AssessError, match="half written"):
        assess.load(half)


def test_a_prefix_that_only_starts_alike_is_another(bucket, kept, quarters):
    s3.push(quarters / "2026Q2", "s3://fleet/store-2/2026Q2")
    assert {path.name for path in s3.fetch(kept).iterdir()} == {"2026Q2", "2026Q3"}


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("s3://fleet/nowhere", "nothing at"),
        ("s3://no-such-bucket/x", "NoSuchBucket"),
        ("s3://", "names no bucket"),
    ],
)
def test_what_cannot_be_read_says_why(bucket, address, reason):
    with pytest.raises(AssessError, match=reason) as caught:
        s3.fetch(address)
    assert caught.value.hint


def test_keys_that_climb_out_of_the_prefix_are_left_out(bucket):
    for key in ("climb/../../evil.csv", "climb/hosts.csv"):
        bucket.put_object(Bucket="fleet", Key=key, Body=b"host_id\nh1\n")
    target = s3.fetch("s3://fleet/climb")
    assert [p.name for p in target.rglob("*")] == ["hosts.csv"]
    assert not list(target.parent.parent.glob("evil.csv"))


def test_dumps_are_read_where_they_are(bucket):
    for file in (FIXTURES / "docker" / "cli").iterdir():
        bucket.upload_file(str(file), "fleet", f"dumps/h1/{file.name}")
    bucket.upload_file(
        str(FIXTURES / "incidents" / "incidents.csv"), "fleet", "exports/i.csv"
    )
    sources = (
        SourceConfig("docker", {"path": "s3://fleet/dumps"}),
        SourceConfig("incidents", {"path": ["s3://fleet/exports/i.csv"]}),
        SourceConfig("incidents", {"path": "s3://fleet/exports/gone.csv"}),
    )
    inventory = collect(Config(sources, {}, Path(), "assess.toml"))
    assert len(inventory["workloads"])
    assert len(inventory["incidents"]) == 6
    coverage = inventory["coverage"]
    assert any(scope.startswith("fleet/dumps") for scope in coverage["scope"])
    lost = coverage[coverage["scope"].str.contains("gone")]
    assert "nothing at" in lost["hint"].item()


def test_the_command_line_writes_and_reads_it(bucket, quarters, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(quarters / "2026Q3", tmp_path / "own")
    (tmp_path / "assess.toml").write_text('[[source]]\ntype = "frames"\npath = "own"\n')
    for code in (0, 1):  # the second time it is taken
        done = CliRunner().invoke(cli, ["collect", "-o", "s3://fleet/run/2026Q3"])
        assert done.exit_code in ((0, 4) if code == 0 else (1,)), done.output
    assert "run/2026Q3/snapshot.toml" in names(bucket, "run/")
    done = CliRunner().invoke(cli, ["validate", "s3://fleet/run"])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(cli, ["show", "s3://fleet/run", "services", "--json"])
    assert len(json.loads(done.stdout)["rows"]) == 12
