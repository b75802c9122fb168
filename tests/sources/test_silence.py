"""Servers that fail, at once or after some answers: every call still has its coverage row."""

from __future__ import annotations

import json
import socket
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
import test_requests
from replay import replaying

from assess import frames
from assess.inventory import ANSWERED
from assess.sources import http
from assess.sources.base import built_in
from assess.sources.catalogue import homes
from assess.sources.deadline import Deadline
from assess.sources.joining import carry

FIXTURES = Path(__file__).parents[1] / "fixtures"
CANARY = "hunter2"
PAGE = b"<html><form action='/login'>Sign in</form></html>"
JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def payload(name):
    return json.loads((FIXTURES / name).read_text(encoding="utf-8"))


# ---- servers that answer soundly ----

IMAGE = {"Id": f"sha256:{64 * 'a'}", "RepoTags": ["shop/web:1"], "Architecture": "amd64"}
CONTAINER = {"Id": 64 * "b", "Names": ["/web"], "ImageID": IMAGE["Id"]}
MANAGER = {"ControlAvailable": True, "Cluster": {"ID": "c1"}}
ENGINE = {
    "version": {"Version": "26.1.5", "ApiVersion": "1.45"},
    "info": {"Name": "web-01", "ServerVersion": "26.1.5", "Swarm": MANAGER},
    "containers/json": [CONTAINER],
    "images/json": [{k: v for k, v in IMAGE.items() if k != "Architecture"}],
    "volumes": {"Volumes": []},
    "networks": [],
    "system/df": {"LayersSize": 1, "Images": [], "Containers": [], "Volumes": []},
    f"containers/{CONTAINER['Id']}/json": {"Id": CONTAINER["Id"], "Config": {}},
    f"images/{64 * 'a'}/json": IMAGE,
    **{k: payload(f"swarm/inspect/{k}.json") for k in ("nodes", "services", "tasks")},
}


def engine(path, query):
    return ENGINE[path.removeprefix("/v1.45").strip("/")]


def beside(path, query):
    """Answer for the services beside orchestrators."""
    files = {
        "dependencies": "traces/jaeger.json",
        "entities": "backstage/entities.json",
        "applications": "answers/konveyor/applications.json",
        "assessments": "answers/konveyor/assessments.json",
    }
    name = path.rpartition("/")[2]
    if name in ("services", "incidents"):
        return payload(f"opsgenie/{name}.json")
    return payload(files[name]) if name in files else []


URL = {"endpoint": "{url}"}
SOURCES = {  # the options of a source, and its server
    "docker": (URL | {"disk": True}, engine),
    "swarm": (URL, engine),
    "kubernetes": (URL, test_requests.ANSWERS["kubernetes"]),
    "nomad": (URL, test_requests.ANSWERS["nomad"]),
    "marathon": (URL | {"mesos_endpoint": "{url}"}, test_requests.marathon),
    "registry": (URL | {"repositories": ["shop/web"]}, test_requests.registry),
    "backstage": (URL, beside),
    "traces": (URL, beside),
    "answers": (URL, beside),
    "incidents": (URL | {"format": "opsgenie"}, beside),
}


# rows that are no calls, and a call that depends on what engines list
DERIVED = {"references", "answers", "image inspect"}
STATUSES = frames.columns("coverage")["status"].vocabulary


# ---- and how servers fail ----


def dead(connection):
    """Hang up without an answer."""
    connection.shutdown(socket.SHUT_RDWR)


def dripping(connection):
    """Send an answer that takes hours."""
    connection.sendall(JSON_HEAD + b"Content-Length: 100000\r\n\r\n")
    with suppress(OSError):
        while True:
            connection.sendall(b"[")
            time.sleep(0.05)


FAULTS = {
    "dead": dead,
    "drip": dripping,
    "401": (401, b'{"message": "no"}', {}),
    "403": (403, b'{"message": "no"}', {}),
    "404": (404, b'{"message": "no"}', {}),
    "429": (429, b'{"message": "no"}', {"Retry-After": "60"}),
    "500": (500, b'{"message": "no"}', {}),
    "503": (503, b'{"message": "no"}', {"Retry-After": "60"}),
    "html": (200, PAGE, {"Content-Type": "text/html"}),
    "cut": (200, b'[{"name": "web", "ID": "4', {}),
    "empty body": (200, b"", {}),
    "login": (302, b"", {"Location": "/login"}),
    "elsewhere": (302, b"", {"Location": "https://login.example/"}),
}


def failing_after(n, answer, fault):
    """Answer ``n`` requests soundly, and the others with a fault."""
    asked = []

    def answered(path, query):
        asked.append(path)
        if path == "/login":
            return 200, PAGE, {"Content-Type": "text/html"}
        return answer(path, query) if len(asked) <= n else fault

    return answered


def collected(kind, answer, tmp_path, *, url="{}", seconds=20.0, **more):
    """Collect from a server, at its address or at another form of it."""
    options, _ = SOURCES[kind]
    with replaying(answer) as server:
        address = url.format(server.url.partition("://")[2])
        if "://" not in address:
            is_engine = kind in ("docker", "swarm")
            address = f"{'tcp' if is_engine else 'http'}://{address}"
        filled = {k: address if v == "{url}" else v for k, v in options.items()} | more
        source = homes()[kind].load()()
        assert source.check(filled) == []
        return source.collect(filled, tmp_path, Deadline(seconds))


@cache
def documented(kind):
    """Return the calls that a source makes where all are answered; and the requests."""
    asked = []

    def answered(path, query):
        asked.append(path)
        return SOURCES[kind][1](path, query)

    batch = collected(kind, answered, FIXTURES)
    statuses = {row["status"] for row in batch.coverage}
    assert not statuses & (carry.LOST - {"unsupported"}), batch.coverage
    return {row["call"] for row in batch.coverage} - DERIVED, len(asked)


def checked(kind, batch, answered_n):
    """Check that no call lacks a row, and none without an answer counts as seen."""
    for row in batch.coverage:
        assert row["status"] in STATUSES, row
        assert row["status"] in ("ok", "empty") or row["hint"], row
    statuses = [row["status"] for row in batch.coverage]
    assert statuses.count("ok") <= answered_n
    if not set(statuses) & set(ANSWERED):
        # the failure of a first call may stand for the others: nothing of it was seen
        assert statuses
        return
    assert documented(kind)[0] <= {row["call"] for row in batch.coverage}


every_source = pytest.mark.parametrize("kind", SOURCES)
with_token = pytest.mark.parametrize(
    "kind", [kind for kind in SOURCES if "token_file" in built_in()[kind]["options"]]
)


def test_every_source_that_asks_over_http_is_here():
    asking = {
        kind for kind, found in built_in().items() if "endpoint" in found["options"]
    }
    assert asking == set(SOURCES)


@pytest.mark.parametrize("name", FAULTS)
@every_source
def test_every_call_has_a_row_however_a_server_fails(kind, name, tmp_path):
    _, total = documented(kind)
    answer = SOURCES[kind][1]
    for n in sorted({0, 1, 2, total // 2, total - 1}):
        if (kind, name, n) == ("registry", "404", 0):
            continue  # it says that there is no such repository, of which nothing is asked
        seconds = 0.4 if name == "drip" else 20.0
        failing = failing_after(n, answer, FAULTS[name])
        checked(kind, collected(kind, failing, tmp_path, seconds=seconds), n)


@every_source
def test_nothing_listens_there(kind, tmp_path):
    batch = collected(kind, SOURCES[kind][1], tmp_path, url="127.0.0.1:1")
    assert {row["status"] for row in batch.coverage} == {"unreachable"}
    checked(kind, batch, 0)


@pytest.mark.parametrize(
    "kind", sorted(set(SOURCES) - {"docker", "swarm"})
)  # test_tls.py
def test_a_server_without_tls_is_asked_over_it(kind, tmp_path):
    batch = collected(kind, SOURCES[kind][1], tmp_path, url="https://{}")
    assert {row["status"] for row in batch.coverage} == {"unreachable"}
    checked(kind, batch, 0)


@every_source
def test_no_time_is_left(kind, tmp_path):
    batch = collected(kind, SOURCES[kind][1], tmp_path, seconds=0)
    assert {row["status"] for row in batch.coverage} == {"timeout"}
    checked(kind, batch, 0)


LISTS = pytest.mark.parametrize("kind", ["kubernetes", "nomad", "marathon"])


@LISTS
def test_a_server_that_fell_silent_is_asked_no_more(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(http, "CALL_SECONDS", 0.8)
    asked = []

    def answered(path, query):
        asked.append(path)
        hangs = len(asked) > 1
        return (lambda _: time.sleep(2)) if hangs else SOURCES[kind][1](path, query)

    batch = collected(kind, answered, tmp_path)
    checked(kind, batch, 1)
    # Mesos is another server than Marathon
    assert len(asked) == (3 if kind == "marathon" else 2)
    assert {row["status"] for row in batch.coverage} <= {"ok", "partial", "timeout"}


@LISTS
def test_a_connection_that_is_reset_costs_one_answer_alone(kind, tmp_path):
    asked = []

    def answered(path, query):
        asked.append(path)
        return dead if len(asked) == 2 else SOURCES[kind][1](path, query)

    batch = collected(kind, answered, tmp_path)
    checked(kind, batch, len(asked) - 1)
    assert [
        row["call"]
        for row in batch.coverage
        if row.get("error_class") == "ConnectionError"
    ] == [{"kubernetes": "pods", "nomad": "jobs", "marathon": "deployments"}[kind]]


@with_token
def test_a_token_that_cannot_be_read_counts_as_not_seen(kind, tmp_path):
    options = {
        k: "http://127.0.0.1:1" if v == "{url}" else v
        for k, v in SOURCES[kind][0].items()
    }
    source = homes()[kind].load()()
    batch = source.collect(options | {"token_file": "none"}, tmp_path, Deadline(5))
    for row in batch.coverage:
        assert row["scope"].startswith("http://127.0.0.1:1")
        assert row["status"] == "unreachable" and "token_file" in repr(row)


@pytest.mark.parametrize("name", ["http_proxy", "endpoint"])
@every_source
def test_a_password_with_a_slash_is_no_port_that_a_hint_may_show(
    kind, name, tmp_path, monkeypatch
):
    # of http://ada:pa/ss@host, "ada:pa" looks like a host and a port
    hostile = f"ada:{CANARY}/x@127.0.0.1:1"
    monkeypatch.setenv("http_proxy", f"http://{hostile}")
    monkeypatch.setenv("no_proxy", "")
    place = hostile if name == "endpoint" else "shop.invalid"
    place = ("tcp://" if kind in ("docker", "swarm") else "http://") + place
    options = {k: place if v == "{url}" else v for k, v in SOURCES[kind][0].items()}
    batch = homes()[kind].load()().collect(options, tmp_path, Deadline(5))
    assert batch.coverage and CANARY not in repr(batch)


@with_token
def test_a_token_file_with_two_lines_is_shown_nowhere(kind, tmp_path):
    (tmp_path / "token").write_text(f"{CANARY} second\nline {CANARY}\n")
    batch = collected(kind, SOURCES[kind][1], tmp_path, token_file="token")
    assert CANARY not in repr(batch)
    assert not {row["status"] for row in batch.coverage} & {"ok", "empty"}


@pytest.mark.parametrize("kind", sorted(built_in()))
def test_an_address_given_as_a_path_loses_its_password(kind, tmp_path):
    source = homes()[kind].load()()
    options = {"path": f"https://ada:{CANARY}@host/x?token={CANARY}"}
    batch = source.collect(options, tmp_path, Deadline(20))
    assert batch.coverage and CANARY not in repr(batch)
