"""The dry run of a clean-up against what a real engine says, and against what it then does."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import application
import docker
import engines as real
import pandas as pd
import pytest

from assess import load_policy
from assess.inventory import Inventory, from_frames
from assess.score.cleanup import clean_up
from assess.sources.base import Batch
from assess.sources.deadline import Deadline
from assess.sources.docker.source import DockerSource

pytestmark = pytest.mark.engine
PRUNE_ALL = load_policy().replace(cleanup={"grace_s": 0, "stopped_need": True})


@pytest.fixture(params=[None, real.OTHER_SUITE], ids=["system", real.OTHER_SUITE])
def own_engine(request, engines):
    """An engine of this test alone, of either version, for it is pruned in the end."""
    directory = request.param and real.fetch(request.param)
    base = Path(tempfile.mkdtemp(prefix="assess-"))
    engine = real.start(directory, base / "h")
    try:
        real.wait(engine)
        api = docker.APIClient(base_url=engine.endpoint, timeout=60)
        _fill(api)
        yield engine, api
        api.close()
    finally:
        engine.stop()
        shutil.rmtree(base, ignore_errors=True)


def _fill(api: docker.APIClient) -> None:
    """Images on one base: two in use, two not, one without a name; and a base of its own."""
    application.load_images(api, ["shop/base:1", "shop/alone:1"])
    for name, kilobytes in (("web", 300), ("api", 200), ("job", 100), ("worker", 50)):
        _commit(api, "shop/base:1", f"shop/{name}", kilobytes)
    # the one before lost its name, and is its parent
    _commit(api, "shop/job:1", "shop/job", 10)
    _commit(api, "shop/worker:1", None, 20)
    host = api.create_host_config(network_mode="none", init=True)
    ended = api.create_container("shop/web:1", ["true"], host_config=host)["Id"]
    api.start(ended)
    api.wait(ended)
    api.create_container("shop/api:1", ["true"], host_config=host)  # and never started
    for name in ("used", "left"):
        api.create_volume(name)
    host = api.create_host_config(network_mode="none", binds=["used:/data"])
    api.create_container("shop/api:1", ["true"], host_config=host)


def _commit(api: docker.APIClient, parent: str, name: str | None, kilobytes: int) -> None:
    """Add a layer of that many kilobytes to an image."""
    script = f"i=0; while [ $i -lt {kilobytes} ]; do echo {'x' * 1023}; i=$((i+1)); done > /f{kilobytes}"
    host = api.create_host_config(network_mode="none")
    container = api.create_container(parent, ["sh", "-c", script], host_config=host)["Id"]
    api.start(container)
    assert api.wait(container)["StatusCode"] == 0
    api.commit(container, repository=name, tag="1" if name else None)
    api.remove_container(container)


def _collect(**options) -> Batch:
    return DockerSource().collect({"host_id": "h", **options}, Path("/"), Deadline(60))


def _inventory(batch: Batch) -> Inventory:
    frames = {n: pd.DataFrame(batch.rows[n]) for n in ("hosts", "engines", "images")}
    return from_frames(frames, snapshot_at=pd.Timestamp.now("UTC").isoformat())


def _human(size: float) -> str:
    """Write a size as the command line does: four figures, by thousands."""
    units = iter(("B", "kB", "MB", "GB"))
    unit = next(units)
    while size >= 1000:
        size, unit = size / 1000, next(units)
    return f"{size:.4g}{unit}"


def _docker(engine: real.Engine, *arguments: str) -> str:
    command = ["docker", "--host", engine.endpoint, *arguments]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=60
    ).stdout


def test_it_is_what_docker_system_df_says_and_what_a_prune_frees(own_engine, tmp_path):
    engine, api = own_engine
    if not shutil.which("docker"):
        pytest.skip("no docker command here")
    batch = _collect(endpoint=engine.endpoint, disk=True)
    inventory = _inventory(batch)
    assert {row["call"]: row["status"] for row in batch.coverage}["df"] == "ok"
    found = clean_up(inventory, PRUNE_ALL)
    host = found.hosts.loc["h"]

    # the same rule, told by the command line's own arithmetic
    lines = map(
        json.loads, _docker(engine, "system", "df", "--format", "json").splitlines()
    )
    said = {line["Type"]: line for line in lines}
    assert _human(host["bytes_hi"]) == said["Images"]["Reclaimable"].partition(" ")[0]
    assert host["images_n"] == int(said["Images"]["TotalCount"])
    active_n = int(said["Images"]["Active"])
    assert host["images_n"] - host["reclaimable_n"] == active_n == 2
    assert host["dangling_volumes_n"] == 1 and said["Local Volumes"]["Active"] == "1"
    assert (host["stopped_n"], host["never_started_n"]) == (1, 2)

    # docker-gc would wait: everything here is younger than an hour
    young = clean_up(inventory, load_policy())
    assert young.hosts.loc["h", "reclaimable_n"] == 0
    assert set(young.images["why"]) == {"too young", "a container needs it"}
    # and without a grace period it goes further: what has ended needs nothing
    gone = clean_up(inventory, PRUNE_ALL.replace(cleanup={"stopped_need": False}))
    assert gone.hosts.loc["h", "reclaimable_n"] == host["reclaimable_n"] + 1

    # by dumps of the command line: the same images, and the sizes as far as it rounds them
    _dump(engine, tmp_path)
    dumped = clean_up(_inventory(_collect(path=str(tmp_path))), PRUNE_ALL).hosts.loc["h"]
    assert dumped["reclaimable_n"] == host["reclaimable_n"]
    assert dumped["bytes_lo"] == pytest.approx(host["bytes_lo"], rel=0.01)
    assert dumped["dangling_volumes_n"] == 1

    # and then it is done
    freed = api.prune_images(filters={"dangling": False})["SpaceReclaimed"]
    assert host["bytes_lo"] <= freed <= host["bytes_hi"]
    left = _collect(endpoint=engine.endpoint, disk=True).rows["images"]
    stayed = found.images[~found.images["reclaimable"]]
    assert {row["image_id"] for row in left} == set(stayed["image_id"])


def _dump(engine: real.Engine, directory: Path) -> None:
    for file, command in {
        "version": "version",
        "info": "info",
        "ps": "ps -a --no-trunc",
        "images": "images --no-trunc",
        "volumes": "volume ls",
        "system-df": "system df -v",
    }.items():
        text = _docker(engine, *command.split(), "--format", "json")
        (directory / f"{file}.json").write_text(text)
    ids = _docker(engine, "ps", "-aq").split()
    (directory / "inspect.json").write_text(_docker(engine, "inspect", *ids))
