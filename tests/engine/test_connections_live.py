"""Connections of real processes, over loopback and between network namespaces, by real tools."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from assess.sources.base import Batch
from assess.sources.connections import ConnectionsSource
from assess.sources.deadline import Deadline
from assess.sources.joining.merge import to_tables

TOOLS = ("ip", "ss", "netstat", "lsof")
ONE, OTHER = "10.231.77.1", "10.231.77.2"
PATIENCE_S = 20
# Listens where it is told to, connects where it is told to, and waits.
PROGRAM = """
import socket, sys, time
listen, *calls = sys.argv[1:]
held = []
if listen != "-":
    host, port = listen.split("/")
    server = socket.create_server((host, int(port)))
    held.append(server)
for call in calls:
    host, port = call.split("/")
    for _ in range(100):
        try:
            held.append(socket.create_connection((host, int(port)), 1))
            break
        except OSError:
            time.sleep(0.1)
print("ready", flush=True)
while True:
    if listen != "-":
        held.append(server.accept()[0])
    else:
        time.sleep(1)
"""

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, TOOLS)),
    reason=f"needs root and {', '.join(TOOLS)}",
)


def run(*command: str) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout


@pytest.fixture(scope="module")
def spaces():
    """Make two network namespaces with a cable between them."""
    names = [f"assess-{os.getpid()}-{n}" for n in (1, 2)]
    ends = [f"as{os.getpid() % 100_000}x{n}" for n in (1, 2)]
    with ExitStack() as stack:
        for name in names:
            try:
                run("ip", "netns", "add", name)
            except subprocess.CalledProcessError as error:
                if os.environ.get("CI"):
                    pytest.fail(f"no network namespaces: {error.stderr}")
                pytest.skip(f"no network namespaces here: {error.stderr}")
            stack.callback(run, "ip", "netns", "del", name)
        run("ip", "link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        for name, end, address in zip(names, ends, (ONE, OTHER), strict=True):
            run("ip", "link", "set", end, "netns", name)
            run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", end)
            run("ip", "-n", name, "link", "set", end, "up")
            run("ip", "-n", name, "link", "set", "lo", "up")
        yield names


@pytest.fixture(scope="module")
def fleet(spaces, tmp_path_factory):
    """Start a web, an app and a store, each a process of its own name."""
    place = tmp_path_factory.mktemp("programs")
    web, store = spaces
    plan = [
        (store, "postgres", f"{OTHER}/5432"),
        (store, "billingd", "::/50051"),
        (web, "ordersd", "127.0.0.1/8080", f"{OTHER}/5432", f"{OTHER}/50051"),
        (web, "frontd", "0.0.0.0/443", "127.0.0.1/8080", "127.0.0.1/8080"),
        (store, "workerd", "-", "127.0.0.1/50051"),
    ]
    started: list[subprocess.Popen] = []
    try:
        for space, name, *addresses in plan:
            program = place / name
            program.symlink_to(Path(sys.executable).resolve())
            command = ["ip", "netns", "exec", space, str(program), "-I", "-c", PROGRAM]
            listen, *calls = addresses
            if listen.startswith("::"):
                command[-1] = PROGRAM.replace(
                    "socket.create_server((host, int(port)))",
                    "socket.create_server((host, int(port)), family=socket.AF_INET6, "
                    "dualstack_ipv6=True)",
                )
            process = subprocess.Popen(
                [*command, listen, *calls], stdout=subprocess.PIPE, text=True
            )
            started.append(process)
            assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)  # until the last call is accepted
        yield spaces
    finally:
        for process in started:
            process.kill()
            process.wait(PATIENCE_S)
            process.stdout.close()


def edges(place: Path) -> dict[tuple[str, str], dict]:
    batch: Batch = ConnectionsSource().collect({"path": str(place)}, place, Deadline(60))
    assert {row["status"] for row in batch.coverage} <= {"ok"}, batch.coverage
    tables, _ = to_tables([("connections", batch)], [])
    table = tables["dependencies"].set_index(["src_id", "dst_id"])
    return {key: row.dropna().to_dict() for key, row in table.iterrows()}


TRUTH = {
    ("frontd", "ordersd"): 2,
    ("ordersd", "postgres"): 1,
    ("ordersd", "billingd"): 1,
    ("workerd", "billingd"): 1,
}


@pytest.mark.parametrize(
    "command",
    ["ss -tanp", "ss -tanpe", "ss -Htanp", "ss -tunap", "netstat -tanp", "lsof -i -n -P"],
)
def test_a_real_tool_shows_who_calls_whom(fleet, tmp_path, command):
    for space, host in zip(fleet, ("web-1", "db-1"), strict=True):
        text = run("ip", "netns", "exec", space, *command.split())
        if command.startswith("lsof"):  # it lists the sockets of all namespaces
            pids = run("ip", "netns", "pids", space).split()
            chosen = [line for line in text.splitlines() if line.split()[1] in pids]
            text = "\n".join(
                ["COMMAND PID USER FD TYPE DEVICE SIZE/OFF NODE NAME", *chosen]
            )
        (tmp_path / f"{host}.txt").write_text(text)
    found = edges(tmp_path)
    assert {key: row["calls"] for key, row in found.items()} == TRUTH
    assert found["ordersd", "postgres"]["kind"] == "data"
    assert not any(row["unresolved"] for row in found.values())


def test_one_end_is_enough(fleet, tmp_path):
    web, store = fleet
    (tmp_path / "web-1.txt").write_text(run("ip", "netns", "exec", web, "ss", "-tanp"))
    listen = run("ip", "netns", "exec", store, "ss", "-lntp")
    (tmp_path / "db-1.txt").write_text(listen)
    found = edges(tmp_path)
    # the address of the other machine is known, as its store listens at it
    assert set(found) == {key for key in TRUTH if key[0] != "workerd"}


def test_the_same_sockets_in_samples_of_a_week_are_complete(fleet, tmp_path):
    for space, host in zip(fleet, ("web-1", "db-1"), strict=True):
        text = run("ip", "netns", "exec", space, "ss", "-tanp")
        times = (f"# 2026-03-{2 + h // 24:02}T{h % 24:02}:00:00Z\n" for h in range(169))
        (tmp_path / f"{host}.txt").write_text("".join(f"{at}{text}" for at in times))
    found = edges(tmp_path)
    assert {row["complete"] for row in found.values()} == {"both"}
    assert found["frontd", "ordersd"]["calls"] == 2 * 169
