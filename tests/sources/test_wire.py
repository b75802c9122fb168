"""The little of HTTP that engines speak, against sockets that say what the tests want."""

import io
import socket
import threading
from contextlib import contextmanager
from http.client import BadStatusLine, HTTPConnection, IncompleteRead, RemoteDisconnected

import pytest

from assess.sources.docker.wire import HEADERS_N, Wire, read_answer

OK = b"HTTP/1.1 200 OK\r\n"
HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
BODY = b"Content-Length: 2\r\n\r\n{}"


@pytest.mark.parametrize(
    ("raw", "answer"),
    [
        (OK + BODY, (200, b"{}", True)),
        (OK + b"content-LENGTH :  2 \r\n\r\n{}rest", (200, b"{}", True)),
        (b"HTTP/1.1 404\r\n" + BODY, (404, b"{}", True)),
        (OK + b"Connection: Close\r\n" + BODY, (200, b"{}", False)),
        (b"HTTP/1.0 200 OK\r\n" + BODY, (200, b"{}", False)),
        (OK + b"\r\nuntil the end", (200, b"until the end", False)),
        (
            OK
            + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0a;x=y\r\n"
            + b" " * 10
            + b"\r\n"
            b"1\r\n}\r\n0\r\nTrailer: x\r\n\r\n",
            (200, b"{" + b" " * 10 + b"}", True),
        ),
    ],
)
def test_answers_are_read_to_their_end_and_no_further(raw, answer):
    assert read_answer(io.BytesIO(raw)) == answer


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"", RemoteDisconnected),
        (b"SSH-2.0-OpenSSH_9.2\r\n", BadStatusLine),
        (b"HTTP/1.1 two hundred\r\n\r\n", BadStatusLine),
        (b"\0" * 100, BadStatusLine),
        (OK + b"a: b\r\n" * (HEADERS_N + 1), BadStatusLine),
        (OK + b"Content-Length: 9\r\n\r\n{}", IncompleteRead),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\n{}", IncompleteRead),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n<html>\r\n", ValueError),
    ],
)
def test_what_is_no_whole_answer_is_an_error(raw, error):
    with pytest.raises(error):
        read_answer(io.BytesIO(raw))


@contextmanager
def server(*answers: bytes):
    """Give for each connection one answer to every request, and the number of connections.

    An answer of nothing closes the connection.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    accepted: list[int] = []

    def listen() -> None:
        for answer in answers:
            connection, _ = listener.accept()
            accepted.append(len(accepted))
            with connection:
                while connection.recv(4096):
                    connection.sendall(answer)
                    if b"last" in answer:
                        break

    thread = threading.Thread(target=listen)
    thread.start()
    wire = Wire(lambda s: HTTPConnection(*listener.getsockname(), timeout=s))
    try:
        yield wire, accepted
    finally:
        wire.close()
        thread.join()
        listener.close()


def test_a_connection_serves_one_request_after_the_other():
    with server(OK + BODY) as (wire, accepted):
        assert [wire.get(HEAD, 5, 5) for _ in range(3)] == [(200, b"{}")] * 3
    assert accepted == [0]


def test_one_that_was_closed_while_idle_is_opened_anew():
    last = OK + b"X: last\r\n" + BODY
    with server(last, OK + BODY) as (wire, accepted):
        assert wire.get(HEAD, 5, 5) == wire.get(HEAD, 5, 5) == (200, b"{}")
    assert accepted == [0, 1]


def test_one_that_says_that_it_closes_is_not_used_again():
    closing = OK + b"Connection: close\r\nX: last\r\n" + BODY
    with server(closing, OK + BODY) as (wire, accepted):
        assert wire.get(HEAD, 5, 5) == wire.get(HEAD, 5, 5)
    assert accepted == [0, 1]


def test_a_server_that_says_nothing_is_left_when_the_time_is_over():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        wire = Wire(lambda s: HTTPConnection(*listener.getsockname(), timeout=s))
        with pytest.raises(TimeoutError):
            wire.get(HEAD, 5, 0.05)
