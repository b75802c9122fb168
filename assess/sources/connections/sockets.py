"""Sockets, as ``ss``, ``netstat``, ``lsof`` and osquery list them."""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from assess.linear import Linear
from assess.sources.csv_records import vocabulary
from assess.sources.values import dicts, dig, integer, moment, picked, text

ANY = "*"  # every address of the host
Endpoint = tuple[str, int]  # address and port; port 0 is any
MAX_PORT = 65_535
MAX_NAME = 64  # characters of a process name; more is none

# users:(("nginx",pid=3,fd=6),("nginx",pid=2,fd=6)), and without pid= and fd= before 2016
_USERS = Linear(r'\("((?:[^"\\]|\\.)*)",(?:pid=)?(\d+)')
_CGROUP = Linear(r"\bcgroup:(\S+)")
_CONTAINER = Linear(r"\b[0-9a-f]{64}\b")
_UNIT = Linear(r"/([^/]+\.service)(?:/|$)")
_PROGRAM = Linear(r"^(\d+)/([^\s:]+)")  # of netstat, such as 123/nginx:
_ESCAPED = Linear(r"\\x20")  # a space in a name, as lsof writes it
_LISTENING = {"LISTEN", "LISTENING", "UNCONN"}
_HALF_OPEN = vocabulary("connections", "half open")
_CONNECTED = {*vocabulary("connections", "connected")}
_HEADINGS = vocabulary("connections", "headings")
_OTHER_FAMILIES = tuple(vocabulary("connections", "other families"))
MAX_HEADING = 4096  # characters in which a heading is looked for


@dataclass(frozen=True, slots=True)
class Process:
    """Owner of a socket, as far as a dump shows it."""

    name: str = ""  # of the command
    pid: int = 0
    unit: str = ""  # of systemd, such as ``nginx.service``
    container: str = ""  # whole id
    port: int = 0  # lowest port that it listens on, which tells interpreters apart


NOBODY = Process()


@dataclass(frozen=True, slots=True)
class Socket:
    """One socket; without a peer it listens."""

    local: Endpoint
    peer: Endpoint | None
    process: Process = NOBODY
    protocol: str = "tcp"


@dataclass
class Sample:
    """The sockets of a host at one moment."""

    at: datetime | None = None
    host: str = ""  # as the dump itself says it
    sockets: list[Socket] = field(default_factory=list)


def read_text(text: str, lost: list[str]) -> Iterator[Sample]:
    """Read what the command lines print; a line with a time alone begins another sample."""
    sample = Sample()
    for number, line in enumerate(_whole_lines(text), start=1):
        word = line.strip()
        if at := _time_of(word):
            if sample.sockets or sample.at:
                yield sample
            sample = Sample(at)
        elif word.startswith("[") and word.endswith(".exe]"):
            _name_last(sample, word[1:-1])  # netstat -b
        # no heading, no remark, and of no other family of sockets
        elif any(map(str.isdigit, word)) and not word.startswith(_OTHER_FAMILIES):
            socket = _socket_of(line)
            if isinstance(socket, Socket):
                sample.sockets.append(socket)
            elif socket is None:
                lost.append(f"line {number} is no socket with numbers (-n)")
    yield sample


def _whole_lines(text: str) -> Iterator[str]:
    """Join the lines that old versions of ``ss`` break."""
    whole = ""
    for line in text.splitlines():
        is_rest = line.startswith("\t") or line.lstrip().startswith("users:((")
        if whole and is_rest:
            whole = f"{whole} {line.strip()}"
            continue
        if whole:
            yield whole
        whole = line
    yield whole


def _time_of(line: str) -> datetime | None:
    """Read a line such as ``# 2026-03-02T10:00:00Z``."""
    mark = line.lstrip("#= ").rstrip("= ")
    return moment(mark) if mark[:2] == "20" and len(mark) < MAX_NAME else None


def is_listing(text: str) -> bool:
    """Return whether a text has the heading of a list of sockets."""
    low = text[:MAX_HEADING].lower()
    return any(word in low for word in _HEADINGS)


def _name_last(sample: Sample, name: str) -> None:
    if sample.sockets:
        last = sample.sockets[-1]
        process = Process(name.removesuffix(".exe"), last.process.pid)
        sample.sockets[-1] = Socket(last.local, last.peer, process, last.protocol)


def _socket_of(line: str) -> Socket | str | None:
    """Read a line: its socket, why it is left out, or None where it cannot be read."""
    words = line.partition("users:((")[0].replace("->", " ").split()
    found = [(n, read) for n, word in enumerate(words) if (read := endpoint(word))]
    if not found:
        return None
    states = {word.strip("()").upper() for word in words}
    if states & _HALF_OPEN.keys():
        return "half open"
    local = found[0][1]
    peer = found[1][1] if len(found) > 1 else (ANY, 0)
    # a peer that is there by name is not none
    if len(found) == 1 and ("->" in line or states & _CONNECTED):
        return None
    is_listening = states & _LISTENING or peer[1] == 0
    if local[1] == 0:
        return "no port"
    last = found[:2][-1][0]
    process = _process_of(line, words, words[last + 1 :])
    protocol = "udp" if any(state.startswith("UDP") for state in states) else "tcp"
    return Socket(local, None if is_listening else peer, process, protocol)


def _process_of(line: str, words: list[str], after: list[str]) -> Process:
    """Read the owner of a socket, in the way of the command that wrote the line."""
    if "IPv4" in words or "IPv6" in words:  # lsof
        name = _ESCAPED.sub(" ", words[0])
        return Process(name[:MAX_NAME], _number(words[1]))
    users = _USERS.findall(line)
    if users or "cgroup:" in line:
        # systemd holds the sockets of the units that it starts at the first call
        others = [user for user in users if user[0] != "systemd"]
        name, pid = next(iter(others or users), ("", ""))
        return _in_group(name[:MAX_NAME], _number(pid), _CGROUP.search(line))
    for word in after:
        if program := _PROGRAM.search(word):
            return Process(program[2][:MAX_NAME], _number(program[1]))
    is_windows = words[0] in ("TCP", "UDP") and bool(after)
    return Process("", _number(after[-1])) if is_windows else Process()


def _in_group(name: str, pid: int, found: Any) -> Process:
    """Add what the control group of a process says: its unit and its container."""
    if not found:
        return Process(name, pid)
    container = _CONTAINER.search(found[1])
    unit = _UNIT.search(found[1])
    return Process(name, pid, unit[1] if unit else "", container[0] if container else "")


def _number(word: str) -> int:
    return int(word) if word.isascii() and word.isdigit() and len(word) < 11 else 0


@lru_cache(maxsize=1 << 16)
def endpoint(word: str) -> Endpoint | None:
    """Read an address and a port in numbers; None for any other word."""
    host, mark, port = word.rpartition(":")
    if not mark:
        host, mark, port = word.rpartition(".")  # BSD and macOS
    if not mark or not host:
        return None
    number = 0 if port in ("*", "0") else _number(port) or -1
    address = plain(host)
    is_whole = address is not None and 0 <= number <= MAX_PORT
    return (address or ANY, number) if is_whole else None


@lru_cache(maxsize=1 << 16)
def plain(host: str) -> str | None:
    """Return an address in its usual form, an IPv4 address in IPv6 as IPv4; None for a name."""
    bare = host.strip("[]").partition("%")[0]
    if bare == ANY:
        return ANY
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return None
    if address.is_unspecified:
        return ANY
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def read_tables(
    values: list[Any], names: dict[int, str], lost: list[str]
) -> list[Sample]:
    """Read rows of ``process_open_sockets`` and ``listening_ports``, or the log of osqueryd."""
    samples: dict[tuple[str, Any], Sample] = {}
    for number, value in enumerate(dicts(values)):
        host = text(value, "hostIdentifier")
        at = moment(integer(value, "unixTime"))
        rows = [dig(value, "columns") or value]
        if "snapshot" in value:
            rows = dicts(value, "snapshot")
        if value.get("action") == "removed":
            continue
        sample = samples.setdefault((host, at), Sample(at, host))
        for row in rows:
            socket = _of_row(row, names)
            if isinstance(socket, Socket):
                sample.sockets.append(socket)
            elif socket is None:
                lost.append(f"row {number} is no socket")
    return list(samples.values())


def _of_row(row: Any, names: dict[int, str]) -> Socket | str | None:
    """Read a row of osquery, whose values are all text."""
    own = picked(row, "osquery socket")
    address = own["address"] or ""
    port = own["port"]
    if not address and not port:
        return "no socket of the internet" if own["family"] == "1" else None
    local = plain(address)
    if not port or port > MAX_PORT or local is None:
        return "no port" if local and not port else None
    pid = own["pid"] or 0
    name = own["name"] or names.get(pid, "")
    state = own["state"].upper()
    if state in _HALF_OPEN:
        return "half open"
    remote = plain(own["remote_address"]) or ANY
    remote_port = own["remote_port"] or 0
    is_listening = state in _LISTENING or not 0 < remote_port <= MAX_PORT
    peer = None if is_listening else (remote, remote_port)
    protocol = "udp" if own["protocol"] == "17" else "tcp"
    return Socket((local, port), peer, Process(name[:MAX_NAME], pid), protocol)
