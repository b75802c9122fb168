"""A clock that is set in the middle of a collection, and an engine with 10,000 containers."""

import json
import resource
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest

import assess
from assess import frames
from assess.sources.catalogue import homes, make

CONTAINERS_N = 10_000
MOST_MIB = 1024


def container(number):
    """A container as an inspection shows it."""
    labels = {
        "com.docker.compose.project": "shop",
        "com.docker.compose.service": f"web{number % 200}",
    }
    state = {"Status": "running", "StartedAt": "2026-09-01T00:00:00Z", "ExitCode": 0}
    mount = {"Type": "volume", "Name": f"v{number}", "Destination": "/data", "RW": True}
    return {
        "Id": f"{number:012x}{0:052}",
        "Name": f"/web-{number}",
        "Image": f"sha256:{'a' * 64}",
        "Created": "2026-09-01T00:00:00Z",
        "RestartCount": 1,
        "State": state,
        "Config": {"Image": "shop/web:1", "Labels": labels, "Env": ["A=b"] * 20},
        "HostConfig": {"Memory": 1 << 20, "RestartPolicy": {"Name": "always"}},
        "Mounts": [mount],
    }


def listed(number):
    """The same container as the list shows it."""
    whole = container(number)
    same = {name: whole[name] for name in ("Id", "Mounts")}
    labels = whole["Config"]["Labels"]
    return same | {
        "Names": [whole["Name"]],
        "Image": "shop/web:1",
        "ImageID": whole["Image"],
        "Created": 1788220800,
        "State": "running",
        "Status": "Up 3 weeks",
        "Labels": labels,
    }


def answer(path, containers_n, clock):
    """Answer as an engine does."""
    if path.endswith("/version"):
        return {"Version": "29.0.0", "ApiVersion": "1.44"}
    if path.endswith("/info"):
        return {"Name": "big", "Containers": containers_n, "SystemTime": clock()}
    if path.endswith("/containers/json?all=1"):
        return [listed(number) for number in range(containers_n)]
    if "/containers/" in path:
        return container(int(path.split("/")[-2][:12], 16))
    return {"Volumes": []} if path.endswith("/volumes") else []


@contextmanager
def engine(containers_n, clock):
    """An engine on a port, which answers request after request on each connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection):
        with connection, suppress(OSError, IndexError):
            while request := connection.recv(65536):
                path = request.split(b" ", 2)[1].decode()
                body = json.dumps(answer(path, containers_n, clock)).encode()
                head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
                connection.sendall(head + body)

    def accept():
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()


def now():
    return datetime.now(UTC).isoformat()


# ---- a clock that is set ----


@pytest.fixture(params=[-86_400, -3_600, 3_600, 86_400], ids="{:+} s".format)
def stepping(request, monkeypatch):
    """Set the clock at every second look at it, and set it back at the next."""
    real_now, real_time, looks = datetime.now, time.time, threading.local()

    def step():
        looks.n = getattr(looks, "n", 0) + 1  # of a source: each has its thread
        return request.param if looks.n % 2 == 0 else 0

    class Stepping(datetime):
        @classmethod
        def now(cls, tz=None):
            return real_now(tz) + timedelta(seconds=step())

    for home in homes().values():
        make(home)  # they are imported where they are asked
    for name, module in list(sys.modules.items()):
        if (
            name.startswith("assess.sources")
            and getattr(module, "datetime", 0) is datetime
        ):
            monkeypatch.setattr(module, "datetime", Stepping)
    monkeypatch.setattr(time, "time", lambda: real_time() + step())


def test_a_clock_that_is_set_moves_no_deadline_and_makes_no_age_negative(
    tmp_path, stepping
):
    (tmp_path / "compose.yaml").write_text("services: {web: {image: nginx}}")
    (tmp_path / "info.json").write_text('{"Name": "dumped", "Containers": 0}')
    with engine(5, now) as endpoint:
        (tmp_path / "assess.toml").write_text(
            f'[[source]]\ntype = "docker"\nendpoint = "{endpoint}"\n'
            '[[source]]\ntype = "docker"\npath = "info.json"\n'
            '[[source]]\ntype = "compose"\npath = "compose.yaml"\n'
        )
        begun = time.monotonic()
        inventory = assess.collect(tmp_path / "assess.toml", deadline=20)
        assert time.monotonic() - begun < 10
    coverage = inventory["coverage"]
    assert coverage["seconds"].dropna().between(0, 10).all()
    assert "timeout" not in {*coverage["status"]}
    for name in inventory.present:
        assert frames.check(name, inventory[name]).empty
    engines = inventory["engines"].set_index("host_id")
    assert engines["clock_skew_s"].isna().loc["big"]  # nobody knows it


def test_the_clock_of_an_engine_is_compared_with_ours(tmp_path):
    def late():
        return (datetime.now(UTC) - timedelta(seconds=90)).isoformat()

    with engine(1, late) as endpoint:
        text = f'[[source]]\ntype = "docker"\nendpoint = "{endpoint}"\n'
        (tmp_path / "assess.toml").write_text(text)
        engines = assess.collect(tmp_path / "assess.toml")["engines"]
    assert engines["clock_skew_s"].iloc[0] == pytest.approx(-90, abs=1)


# ---- 10,000 containers ----

COLLECT = """
import sys, time
from pathlib import Path
import assess
start = time.monotonic()
inventory = assess.collect(sys.argv[1], deadline=120)
failed = inventory["coverage"].query("source == 'docker' and status not in ['ok', 'empty']")
# ru_maxrss would be that of the process that started this one, where that is larger
mib = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) >> 10
print(len(inventory["workloads"]), len(failed), round(time.monotonic() - start, 2), mib)
"""


def collected(directory, table):
    """Collect in a process of its own; also return the seconds and the memory that it took."""
    (directory / "assess.toml").write_text(f'[[source]]\ntype = "docker"\n{table}\n')
    command = [sys.executable, "-c", COLLECT, str(directory / "assess.toml")]
    limit = 4 << 30  # an address space; what is used of it is asserted below
    done = subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    print(done.stdout)  # noqa: T201
    rows, failed, seconds, mib = map(float, done.stdout.split())
    assert failed == 0
    assert mib < MOST_MIB
    return rows, seconds


def test_dumps_of_ten_thousand_containers(tmp_path):
    inspected = [container(number) for number in range(CONTAINERS_N)]
    (tmp_path / "inspect.json").write_text(json.dumps(inspected))
    rows = [listed(number) for number in range(CONTAINERS_N)]
    (tmp_path / "ps.json").write_text(json.dumps(rows))
    for name in ("version", "info", "images", "volumes"):
        body = answer(f"/{name}", CONTAINERS_N, now)
        (tmp_path / f"{name}.json").write_text(json.dumps(body))
    rows, seconds = collected(tmp_path, 'path = "."')
    assert rows == CONTAINERS_N
    assert seconds < 60


def test_an_engine_with_ten_thousand_containers(tmp_path):
    with engine(CONTAINERS_N, now) as endpoint:
        rows, seconds = collected(tmp_path, f'endpoint = "{endpoint}"')
    assert rows == CONTAINERS_N
    assert seconds < 60
