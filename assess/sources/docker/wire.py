"""GET over connections that are kept open, and no more of HTTP than engines speak.

A fleet is ten thousand small answers. What urllib3 and `http.client` do around each of them costs
three times as much as the answer: most of it is the parsing of headers as those of e-mail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http.client import BadStatusLine, HTTPConnection, IncompleteRead, RemoteDisconnected
from queue import Empty, SimpleQueue
from typing import Any, BinaryIO

LINE_BYTES, HEADERS_N = 65536, 100
Headers = dict[bytes, bytes]


class Wire:
    """Connections to one server, shared by threads: each takes one that is idle, or a new one."""

    def __init__(self, connection: Callable[[float], HTTPConnection]) -> None:
        self._connection = connection
        self._idle: SimpleQueue[Lane] = SimpleQueue()

    def get(self, head: bytes, connect_s: float, call_s: float) -> tuple[int, bytes]:
        """Send the head of a request, and give the status and the body of its answer."""
        try:
            lane = self._idle.get_nowait()
        except Empty:
            return self._over(Lane(self._connection(connect_s)), head, call_s)
        try:
            return self._over(lane, head, call_s)
        except ConnectionError:  # it was closed while idle
            return self.get(head, connect_s, call_s)

    def close(self) -> None:
        """Close what is idle."""
        while not self._idle.empty():
            self._idle.get_nowait().close()

    def _over(self, lane: Lane, head: bytes, call_s: float) -> tuple[int, bytes]:
        try:
            status, body, is_open = lane.get(head, call_s)
        except BaseException:
            lane.close()
            raise
        self._idle.put(lane) if is_open else lane.close()
        return status, body


class Lane:
    """One connection, with one request at a time."""

    def __init__(self, connection: HTTPConnection) -> None:
        self._connection = connection
        try:
            connection.connect()
        except BaseException:
            connection.close()
            raise
        self._socket: Any = connection.sock
        self._file = self._socket.makefile("rb")

    def get(self, head: bytes, call_s: float) -> tuple[int, bytes, bool]:
        """Give the status, the body, and whether there may be another request."""
        self._socket.settimeout(call_s)
        self._socket.sendall(head)
        return read_answer(self._file)

    def close(self) -> None:
        """Close it."""
        self._file.close()
        self._connection.close()


def read_answer(file: BinaryIO) -> tuple[int, bytes, bool]:
    """Read an answer: its status, its body, and whether the connection stays open.

    Raises
    ------
    RemoteDisconnected, IncompleteRead
        Where it ends too early.
    BadStatusLine
        Where it is none of HTTP.
    """
    line = file.readline(LINE_BYTES)
    if not line:
        raise RemoteDisconnected("the connection was closed without an answer")
    version, _, rest = line.partition(b" ")
    if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
        raise BadStatusLine("no answer of HTTP")
    headers = _read_headers(file)
    is_open = (
        version == b"HTTP/1.1" and headers.get(b"connection", b"").lower() != b"close"
    )
    if b"chunked" in headers.get(b"transfer-encoding", b"").lower():
        body = b"".join(_read_chunks(file))
    elif (length := headers.get(b"content-length", b"")).isdigit():
        body = _read(file, int(length))
    else:
        body, is_open = file.read(), False
    return int(rest[:3]), body, is_open


def _read_headers(file: BinaryIO) -> Headers:
    headers: Headers = {}
    for _ in range(HEADERS_N):
        line = file.readline(LINE_BYTES)
        if not line.strip():
            return headers
        name, _, value = line.partition(b":")
        headers[name.strip().lower()] = value.strip()
    raise BadStatusLine(f"more than {HEADERS_N} headers")


def _read_chunks(file: BinaryIO) -> Iterator[bytes]:
    while size := int(file.readline(LINE_BYTES).partition(b";")[0], 16):
        yield _read(file, size)
        file.readline(LINE_BYTES)
    _read_headers(file)  # trailers


def _read(file: BinaryIO, size: int) -> bytes:
    found = file.read(size)
    if len(found) < size:
        raise IncompleteRead(b"", size - len(found))
    return found
