"""The read-only door to an engine that `assess sources docker --policy` prints, in front of one."""

import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
from test_docker_live import collect, statuses, table

from assess.sources import permissions

pytestmark = pytest.mark.engine
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin")


@pytest.fixture(scope="module", params=["docker", "swarm"])
def door(request, engines, tmp_path_factory):
    """The door of the newer engine, as its socket, and the engine."""
    if not NGINX:
        pytest.skip("no nginx: apt-get install nginx-light")
    root = tmp_path_factory.mktemp("door")
    config = permissions("docker").replace("user www-data docker;", "user root;")
    config = config.replace("/run/assess", str(root))
    config = config.replace("/var/run/docker.sock", f"{engines[-1].root}/sock")
    if request.param == "swarm":
        config = config.replace('# "~', '"~')
    (root / "nginx.conf").write_text(config)
    log = root / "log"
    command = [NGINX, "-c", root / "nginx.conf", "-e", log, "-g", "daemon off;"]
    process = subprocess.Popen(list(map(str, command)))
    end = time.monotonic() + 10
    while not (root / "docker.sock").exists():
        assert process.poll() is None and time.monotonic() < end, log.read_text()
        time.sleep(0.02)
    yield root / "docker.sock", engines[-1], request.param
    process.terminate()
    process.wait(10)


def ask(door: Path, request: str, body: str = "") -> int:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(door))
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        head = f"{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{length}\r\n"
        client.sendall((head + body).encode())
        return int(client.recv(100).split()[1])


def test_all_that_the_source_asks_passes(door):
    socket_, engine, _ = door
    direct = collect(engine.endpoint, host_id="h", disk=True)
    batch = collect(f"unix://{socket_}", host_id="h", disk=True)
    assert statuses(batch) == statuses(direct)
    assert set(statuses(batch).values()) == {"ok"}
    for name in ("workloads", "mounts"):
        through, straight = (
            table(b, name).drop(columns="source_ref", errors="ignore")
            for b in (batch, direct)
        )
        assert through.equals(straight)
    digests = [{row["digest"] for row in b.rows["images"]} for b in (batch, direct)]
    assert digests[0] == digests[1]


REFUSED = [
    "POST /v1.41/containers/create",
    "POST /v1.41/containers/json?all=1",
    "POST /version",
    "DELETE /v1.41/containers/{id}",
    "PUT /v1.41/containers/{id}/archive?path=/",
    "HEAD /version",
    "GET /v1.41/containers/{id}/archive?path=/etc/shadow",
    "GET /v1.41/containers/{id}/logs?stdout=1",
    "GET /v1.41/containers/{id}/attach/ws",
    "GET /v1.41/containers/{id}/json?size=1",
    "GET /v1.41/containers/{id}/json/../export",
    "GET /v1.41/containers/{id}/%6a%73on/../export",
    "GET /v1.41/containers/x/../json",
    "GET //version",
    "GET /v1.41/./version",
    "GET /version/../v1.41/secrets",
    "GET /v1.41/version/",
    "GET /v1.41/version?x=1",
    "GET /v1.41/version%00",
    "GET /v1.41/secrets",
    "GET /v1.41/configs",
    "GET /v1.41/events",
    "GET /v1.41/images/x/get",
    "GET /v1.41/images/{id}/history",
    "GET /v1.41/swarm/unlockkey",
    "GET /swarm",
    "GET /",
    "get /version",
    "GET http://x/v1.41/secrets",
]


@pytest.mark.parametrize("request_", REFUSED)
def test_nothing_else_passes(door, request_):
    identifier = collect(f"unix://{door[0]}", inspect="none").rows["workloads"][0]
    short = identifier["workload_id"].rpartition("/")[2]
    assert ask(door[0], request_.replace("{id}", short)) in (400, 403, 405)


def test_a_body_does_not_pass_and_lists_of_a_swarm_only_where_they_are_wanted(door):
    assert ask(door[0], "GET /version", "POST /v1.41/containers/prune HTTP/1.1") == 200
    is_refused = ask(door[0], "GET /v1.41/nodes") == 403
    assert is_refused == (door[2] == "docker")


def test_every_path_is_written_whole():
    patterns = re.findall(r'"~(.*?)" 1;', permissions("docker"))
    assert len(patterns) == 5
    assert all(p.startswith("^GET ") and p.endswith("$") for p in patterns)
