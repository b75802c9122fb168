"""The dump scripts of Docker and Swarm, run on real engines, against what is collected live."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from test_docker_live import batches, statuses, table
from test_swarm_live import batch, swarm

from assess.sources.base import Batch
from assess.sources.catalogue import dump_script
from assess.sources.deadline import Deadline
from assess.sources.docker.source import DockerSource
from assess.sources.swarm import SwarmSource

pytestmark = pytest.mark.engine
__all__ = ["batch", "batches", "swarm"]  # fixtures
# Where from; the clock of an engine, which a dump has not; of what runs, when it was asked;
# `docker service inspect` writes the defaults of an update, which the list leaves out; an older
# engine tells what an image is built for only in its inspection, which no list needs.
UNLIKE = ["source_ref", "clock_skew_s", "used_at", "min_healthy_pct", "arch"]
PRECISE = ["created_at"]  # of an image: to the second in a list, finer in an inspection


def dump(kind: str, endpoint: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-s", directory],
        input=dump_script(kind),
        env={**os.environ, "DOCKER_HOST": endpoint},
        capture_output=True,
        text=True,
        check=False,
    )


def rows(found: Batch, name: str) -> list[str]:
    """Rows of a frame in an order, without what only one way of asking tells."""
    known = table(found, name).drop(columns=UNLIKE, errors="ignore")
    times = {column: known[column].dt.floor("s") for column in PRECISE if column in known}
    return sorted(map(str, known.assign(**times).to_dict("records")))


def test_what_the_script_of_docker_writes_reads_like_the_engine(
    engines, batches, tmp_path
):
    for engine, live in zip(engines, batches, strict=True):
        place = tmp_path / engine.version
        done = dump("docker", engine.endpoint, place)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert {f.stat().st_mode & 0o777 for f in place.iterdir()} == {0o600}
        options = {"path": engine.version, "host_id": engine.version}
        dumped = DockerSource().collect(options, tmp_path, Deadline(60))
        assert set(statuses(dumped).values()) == {"ok"}
        for name in ("workloads", "mounts", "images", "engines"):
            assert rows(dumped, name) == rows(live, name)


def test_an_engine_that_is_gone_ends_in_words_and_not_in_an_empty_dump(tmp_path):
    done = dump("docker", "unix:///nowhere/sock", tmp_path / "gone")
    assert done.returncode == 1
    assert done.stderr.count("not whole") >= 5
    assert not (tmp_path / "gone/ps.json").exists()


def test_what_the_script_of_swarm_writes_reads_like_the_manager(swarm, batch, tmp_path):
    done = dump("swarm", swarm[0][0].endpoint, tmp_path / "swarm")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    options = {"path": "swarm", "cluster": batch.rows["workloads"][0]["cluster"]}
    dumped = SwarmSource().collect(options, tmp_path, Deadline(60))
    assert {row["status"] for row in dumped.coverage} == {"ok"}
    for name in SwarmSource.fills:
        assert rows(dumped, name) == rows(batch, name)


def test_a_worker_of_a_swarm_says_that_it_knows_nothing(swarm, tmp_path):
    done = dump("swarm", swarm[0][1].endpoint, tmp_path / "worker")
    assert done.returncode == 1 and done.stderr.count("not whole") == 3
    assert not list((tmp_path / "worker").iterdir())
