"""The connection to an engine, against sockets that answer as the tests want."""

import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from assess.sources.deadline import Deadline
from assess.sources.docker.client import StatusError, _SshConnection, connect, failure
from assess.sources.failure import failure as explained

OK = b"HTTP/1.1 200 OK\r\n"
BODY = b"Content-Length: 2\r\n\r\n{}"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0a;x=y\r\n" + b" " * 10
CHUNKED += b"\r\n1\r\n}\r\n0\r\nTrailer: x\r\n\r\n"


@contextmanager
def server(*answers: bytes, pause: float = 0, family: int = socket.AF_INET, at=None):
    """Serve one answer for all requests of each connection; yield endpoint and connections.

    An answer with the word ``last`` closes its connection; with a pause, bytes come one by one.
    """
    listener = socket.socket(family)
    listener.bind(at or ("127.0.0.1", 0))
    listener.listen()
    accepted: list[int] = []

    def send(connection, answer: bytes) -> None:
        parts = [answer[n : n + 1] for n in range(len(answer))] if pause else [answer]
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)

    def serve() -> None:
        for answer in answers:
            connection, _ = listener.accept()
            accepted.append(len(accepted))
            with connection:
                try:
                    while connection.recv(4096):
                        send(connection, answer)
                        if b"last" in answer or not answer:
                            break
                except OSError:  # the client is gone
                    continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    where = f"unix://{at}" if at else f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    try:
        yield where, accepted
    finally:
        thread.join(5)
        listener.close()


@contextmanager
def opened(endpoint: str, seconds: float = 5):
    """Open a connection to an engine."""
    connection = connect({"endpoint": endpoint}, Path(), Deadline(seconds))
    try:
        yield connection
    finally:
        connection.close()


@pytest.mark.parametrize(
    "answer",
    [
        OK + BODY,
        OK + b"content-LENGTH:  2 \r\n\r\n{}",
        OK + b"Connection: Close\r\n" + BODY + b"last",
        OK + b"X: last\r\n\r\n{}",  # it ends where the connection does
        b"HTTP/1.0 200 OK\r\nX: last\r\n" + BODY,
        OK + CHUNKED,
    ],
)
def test_every_form_of_an_answer_is_read(answer):
    with server(answer) as (endpoint, _), opened(endpoint) as engine:
        assert engine.get("/x") == {}


def test_one_connection_serves_one_request_after_the_other():
    with server(OK + BODY) as (endpoint, accepted), opened(endpoint) as engine:
        assert [engine.get("/x") for _ in range(3)] == [{}] * 3
    assert accepted == [0]


def test_a_unix_socket_is_asked_alike(tmp_path):
    at = str(tmp_path / "s")
    unix = server(OK + CHUNKED, family=socket.AF_UNIX, at=at)
    with unix as (endpoint, accepted), opened(endpoint) as engine:
        assert [engine.get("/x") for _ in range(2)] == [{}] * 2
    assert accepted == [0]


@pytest.mark.parametrize("closing", [b"X: last\r\n", b"Connection: close\r\nX: last\r\n"])
def test_a_connection_that_the_engine_closed_is_opened_anew(closing):
    last = OK + closing + BODY
    with server(last, OK + BODY) as (endpoint, accepted), opened(endpoint) as engine:
        assert [engine.get("/x"), engine.get("/x")] == [{}, {}]
    assert accepted == [0, 1]


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"", "unreachable"),
        (b"SSH-2.0-OpenSSH_9.2\r\nlast", "unreachable"),
        (b"HTTP/1.1 two hundred\r\n\r\nlast", "unreachable"),
        (OK + b"a: b\r\n" * 200 + b"\r\nlast", "unreachable"),
        (OK + b"Content-Length: 9\r\n\r\n{}last", "unreachable"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\n{}last", "unreachable"),
        (OK + b"Connection: close\r\n\r\n<html>last", "parse_error"),
        (b"HTTP/1.1 403 Forbidden\r\n" + BODY, "denied"),
    ],
)
def test_an_answer_that_is_not_whole_is_a_failure(answer, status):
    with (
        server(answer) as (endpoint, _),
        opened(endpoint) as engine,
        pytest.raises(Exception) as error,
    ):
        engine.get("/x")
    assert failure(error.value)["status"] == status


def test_an_error_of_the_engine_keeps_its_status():
    answer = b"HTTP/1.1 404 Not Found\r\n" + BODY
    with server(answer) as (endpoint, accepted), opened(endpoint) as engine:
        for _ in range(2):
            with pytest.raises(StatusError, match="status 404"):
                engine.get("/x")
    assert accepted == [0]


@pytest.mark.parametrize("answer", [OK + BODY, OK + CHUNKED, OK + b"X: y\r\n" * 50])
def test_an_engine_that_answers_byte_by_byte_ends_at_the_deadline(answer):
    start = time.monotonic()
    dripping = server(answer, pause=0.2)
    with dripping as (endpoint, _), opened(endpoint, 0.3) as engine:
        with pytest.raises(TimeoutError):
            engine.get("/x")
        assert time.monotonic() - start < 0.2 * len(answer) / 2  # what the bytes take


def test_an_engine_that_answers_nothing_ends_at_the_deadline():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        where = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        with opened(where, 0.2) as engine, pytest.raises(TimeoutError):
            engine.get("/x")


def test_after_the_deadline_nothing_is_asked():
    with server(OK + BODY) as (endpoint, accepted), opened(endpoint, 0.2) as engine:
        assert engine.get("/x") == {}
        time.sleep(0.3)
        with pytest.raises(TimeoutError):
            engine.get("/x")
    assert accepted == [0]


def test_ssh_without_its_extra_says_what_to_install(monkeypatch):
    monkeypatch.delattr("docker.transport.SSHHTTPAdapter")
    with pytest.raises(ImportError) as caught:
        _SshConnection("ssh://reader@host", Deadline(1))
    assert (
        explained(caught.value)["hint"] == "ssh needs an extra: pip install 'assess[ssh]'"
    )
