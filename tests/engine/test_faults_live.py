"""Engines, logins and registries that fail in the middle of a collection."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import application
import docker
import engines as real
import pytest
from sshd import SSHD, ssh_server

from assess.sources.deadline import Deadline
from assess.sources.docker.client import Connection
from assess.sources.docker.source import LOCAL_THREADS, DockerSource
from assess.sources.registry import RegistrySource

pytestmark = pytest.mark.engine
CONTAINERS_N = 12
SLACK_S = 10.0  # of a frozen engine, which would never answer


def collect(endpoint, seconds=20.0, **options):
    """Ask one engine; also return how long it took."""
    begun = time.monotonic()
    options |= {"endpoint": endpoint}
    batch = DockerSource().collect(options, Path(), Deadline(seconds))
    assert time.monotonic() - begun < seconds + SLACK_S
    return batch


def statuses(batch):
    return {row["call"]: row["status"] for row in batch.coverage}


# ---- an engine that goes away ----


@pytest.fixture(scope="module")
def victim():
    """An engine of its own, with containers that were never started."""
    base = Path(tempfile.mkdtemp(prefix="assess-"))
    try:
        engine = real.start(real.engine_directories()[0], base / "h")
        real.wait(engine)
    except real.NoEngineError as error:
        if os.environ.get("CI"):
            pytest.fail(f"no real engine: {error}")
        pytest.skip(f"no real engine: {error}")
    api = docker.APIClient(base_url=engine.endpoint)
    application.load_images(api, ["shop/web:1"])
    for number in range(CONTAINERS_N):
        api.create_container("shop/web:1", ["true"], name=f"web-{number}")
    api.close()
    yield engine
    engine.process.send_signal(signal.SIGCONT)
    engine.stop()
    shutil.rmtree(base, ignore_errors=True)


def stop(engine):
    engine.process.terminate()
    engine.process.wait(20)


def kill(engine):
    containerd = int((engine.root / "exec/containerd/containerd.pid").read_text())
    engine.process.kill()
    engine.process.wait(20)
    end = time.monotonic() + 5
    # it dies with the engine, and one that is dying would keep a new engine from starting
    while Path(f"/proc/{containerd}").exists() and time.monotonic() < end:
        time.sleep(0.02)


def restart(engine):
    kill(engine)
    real.start_again(engine)


def freeze(engine):
    engine.process.send_signal(signal.SIGSTOP)
    tasks = Path(f"/proc/{engine.process.pid}/task")
    end = time.monotonic() + 5
    # the signal comes to each thread by itself: until then some of them still answer
    while time.monotonic() < end and not all(map(is_stopped, tasks.iterdir())):
        time.sleep(0.005)


def is_stopped(task):
    try:
        return (task / "stat").read_text().rpartition(") ")[2].startswith("T")
    except OSError:  # the thread has ended
        return True


@contextmanager
def striking(monkeypatch, engine, fault, path, after=0):
    """Do something to the engine before it is asked for a path, some questions later."""
    get = Connection.get
    lock = threading.Lock()
    left = [after]

    def struck(self, asked, **options):
        with lock:
            if path in asked:
                left[0] -= 1
                if left[0] == -1:
                    fault(engine)
        return get(self, asked, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "get", struck)
        yield
    engine.process.send_signal(signal.SIGCONT)
    if engine.process.poll() is not None:
        real.start_again(engine)


PATIENCE_S = {stop: 20, kill: 20, freeze: 1.5}
GONE = [(stop, "unreachable"), (kill, "unreachable"), (freeze, "timeout")]


@pytest.mark.parametrize(("fault", "status"), GONE)
def test_an_engine_that_goes_before_its_images_keeps_its_containers(
    victim, monkeypatch, fault, status
):
    with striking(monkeypatch, victim, fault, "/images/json"):
        batch = collect(victim.endpoint, seconds=PATIENCE_S[fault])
    assert statuses(batch) == {
        "version": "ok",
        "info": "ok",
        "containers": "ok",
        "networks": "ok",
        "images": status,
        "volumes": status,
        "inspect": status,
    }
    workloads = batch.rows["workloads"]
    assert len(workloads) == CONTAINERS_N
    assert {row["inspect_status"] for row in workloads} == {status}
    assert all(row.get("hint") for row in batch.coverage if row["status"] != "ok")


@pytest.mark.parametrize(("fault", "status"), GONE)
def test_an_engine_that_goes_while_containers_are_inspected_keeps_those(
    victim, monkeypatch, fault, status
):
    with striking(monkeypatch, victim, fault, "/containers/", after=6):
        batch = collect(victim.endpoint, seconds=PATIENCE_S[fault])
    found = {row["call"]: row for row in batch.coverage}
    inspected = found.pop("inspect")
    assert {row["status"] for row in found.values()} <= {"ok", "empty"}
    assert inspected["status"] == "partial"
    assert 4 <= inspected["rows"] < CONTAINERS_N == inspected["expected"]
    words = [row["inspect_status"] for row in batch.rows["workloads"]]
    assert words.count("ok") == inspected["rows"]
    assert {*words} == {"ok", status}
    assert len(batch.rows["images"]) == 1


@pytest.mark.parametrize("path", ["/images/json", "/containers/"])
def test_an_engine_that_is_started_anew_goes_on_answering(victim, monkeypatch, path):
    with striking(monkeypatch, victim, restart, path, after=2 * (path == "/containers/")):
        batch = collect(victim.endpoint)
    found = statuses(batch)
    inspected = [row["inspect_status"] for row in batch.rows["workloads"]]
    # what the other threads asked at the moment of the restart may be lost, nothing after it
    lost_n = CONTAINERS_N - inspected.count("ok")
    assert lost_n < LOCAL_THREADS
    assert found.pop("inspect") == ("partial" if lost_n else "ok"), batch.coverage
    assert {*found.values()} <= {"ok", "empty"}, batch.coverage


# ---- certificates and keys of others ----


def test_a_client_certificate_that_the_engine_does_not_trust(engine, tmp_path):
    other = real.certificates(tmp_path) | {"tls_ca": engine.tls["tls_ca"]}
    for _ in range(20):  # it hangs up before, while or after the request is sent
        (row,) = collect(engine.tcp, **other).coverage
        assert row["status"] == "denied", row
        assert "client certificate" in row["hint"]


def test_an_engine_with_the_certificate_of_another(engine, tmp_path):
    other = real.certificates(tmp_path)
    tls = engine.tls | {"tls_ca": other["tls_ca"]}
    (row,) = collect(engine.tcp, **tls).coverage
    assert row["status"] == "denied"
    assert row["hint"].startswith("tls_ca did not sign")
    wrong_name = engine.tcp.replace("127.0.0.1", "localhost")
    (row,) = collect(wrong_name, **engine.tls).coverage
    assert row["status"] == "denied"
    assert "for another address" in row["hint"]


@pytest.mark.parametrize("known", ["", "another key"])
def test_an_unknown_host_key_is_refused_and_never_learnt(
    engine, tmp_path, monkeypatch, known
):
    if not SSHD.exists() or not shutil.which("docker"):
        pytest.skip("no ssh server or docker command here")
    monkeypatch.setenv("HOME", str(tmp_path))
    with ssh_server(engine.endpoint, tmp_path) as endpoint:
        file = tmp_path / ".ssh/known_hosts"
        place = file.read_text().split()[0]
        text = f"{place} {(tmp_path / '.ssh/user.pub').read_text()}" if known else ""
        file.write_text(text)
        for _ in range(2):
            batch = collect(endpoint)
            (row,) = batch.coverage
            assert (row["call"], row["status"]) == ("connect", "denied")
            assert "known_hosts" in row["hint"]
            assert not batch.rows
        assert file.read_text() == text


# ---- a registry that hangs up ----


class Cut:
    """A door to an address that hangs up for good once it has passed some bytes of answers."""

    def __init__(self, address, bytes_n):
        self.passed = 0
        self._address = address
        self._most = bytes_n
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._address)
                for forward in ((client, server, False), (server, client, True)):
                    threading.Thread(
                        target=self._forward, args=forward, daemon=True
                    ).start()

    def _forward(self, source, target, is_answer):
        with source, target, suppress(OSError):
            while piece := source.recv(65536):
                if is_answer:
                    piece = piece[: self._most - self.passed]
                    self.passed += len(piece)
                target.sendall(piece)
                if is_answer and self.passed >= self._most:
                    break
            for end in (source, target):
                end.shutdown(socket.SHUT_RDWR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.close()


def of_registry(registry, bytes_n):
    """Ask it through such a door; also return the bytes that passed."""
    host, _, port = registry.host.partition(":")
    begun = time.monotonic()
    with Cut((host, int(port)), bytes_n) as cut:
        options = {"endpoint": cut.endpoint, "name": registry.host}
        options["repositories"] = ["shop/web"]
        batch = RegistrySource().follow(options, Path(), Deadline(20), {})
    assert time.monotonic() - begun < 20
    rows = {row["digest"]: row for row in batch.rows["images"]}
    return rows, [row["status"] for row in batch.coverage], cut.passed


def test_a_registry_that_hangs_up_halfway_gives_less_and_nothing_wrong(registry):
    whole, sound, total = of_registry(registry, 1 << 40)
    assert whole
    for tenth in range(10):
        rows, statuses, _ = of_registry(registry, total * tenth // 10 + 1)
        assert {*statuses} - {*sound} <= {"unreachable", "partial"}, statuses
        assert {*statuses} & {"unreachable", "partial"}
        assert tenth or not rows
        for digest, row in rows.items():
            told = whole[digest]
            tags = [(each.get("tags") or "").split(";") for each in (row, told)]
            assert {*tags[0]} <= {*tags[1], ""}
            known = {name for name, value in row.items() if value is not None}
            wrong = {name for name in known if told.get(name) != row[name]}
            assert wrong <= {"source_ref", "tags"}, wrong
