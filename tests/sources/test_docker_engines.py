"""The docker source on engines that misbehave, over real HTTP."""

import json
import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from test_docker import CANARY, collect, coverage

from assess.sources.docker import client
from assess.sources.docker.source import DockerSource


@contextmanager
def fake_engine(answers: dict[str, tuple[int, object]], *, is_chunked: bool = False):
    """An HTTP server on the loopback that answers paths by their endings."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path = self.path.partition("?")[0]
            found = next((a for end, a in answers.items() if path.endswith(end)), None)
            code, body = found or (404, {"message": "page not found"})
            if callable(body):
                code, body = body(path)
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(code)
            if not is_chunked:  # else it ends where the connection does
                self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"tcp://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_an_engine_older_than_the_sdk_is_kept_with_its_version(tmp_path):
    answers = {
        "/version": (
            200,
            {"Version": "1.10.3", "ApiVersion": "1.22", "KernelVersion": "3.13.0"},
        ),
        "/info": (200, {"Name": "old-01", "Driver": "aufs", "Containers": 12}),
    }
    with fake_engine(answers) as endpoint:
        batch = collect(tmp_path, endpoint=endpoint)
    assert coverage(batch)["version"]["status"] == "unsupported"
    (engine,) = batch.rows["engines"]
    assert (engine["host_id"], engine["version"], engine["api_version"]) == (
        "old-01",
        "1.10.3",
        "1.22",
    )
    assert engine["storage_driver"] == "aufs" and not batch.rows["workloads"]


def test_versions_are_negotiated_where_the_engine_does_not_tell_its_own(tmp_path):
    def modern(path: str) -> tuple[int, object]:
        if "/v1.44/" not in path:
            said = "client version 1.24 is too old. Minimum supported API version is 1.44"
            return 400, {"message": said}
        return 200, {
            "Name": "new-01",
            "Containers": 0,
            "Images": 0,
        } if "info" in path else []

    answers = {
        "/version": (403, {"message": f"forbidden for password={CANARY}"}),
        "/info": (200, modern),
        "/containers/json": (200, modern),
        "/images/json": (200, modern),
        "/volumes": (403, {"message": "forbidden"}),
        "/networks": (403, {"message": "forbidden"}),
    }
    with fake_engine(answers) as endpoint:
        batch = collect(
            tmp_path, endpoint=endpoint.replace("tcp://", f"tcp://u:{CANARY}@")
        )
    assert {call: row["status"] for call, row in coverage(batch).items()} == {
        "version": "denied",
        "info": "ok",
        "containers": "empty",
        "images": "empty",
        "volumes": "denied",
        "networks": "denied",
    }
    assert batch.rows["hosts"][0]["host_id"] == "new-01"
    assert CANARY not in repr(batch)


def test_the_use_of_the_disk_is_asked_for_only_where_it_is_wanted(tmp_path):
    volume = {
        "Name": "v",
        "Driver": "local",
        "UsageData": {"Size": 9, "RefCount": 0},
        "Options": {"o": f"password={CANARY}"},
    }
    whole = {
        "LayersSize": 70,
        "Volumes": [volume],
        "BuildCache": None,
        "Containers": None,
        "Images": [
            {
                "Id": "sha256:" + "1" * 64,
                "Size": 50,
                "SharedSize": 20,
                "Containers": 0,
                "Labels": {"note": CANARY},
            }
        ],
    }
    answers = {
        "/version": (200, {"Version": "24.0.7", "ApiVersion": "1.43"}),
        "/info": (200, {"Name": "h", "Containers": 0, "Images": 1}),
        "/containers/json": (403, {}),
        "/volumes": (200, {"Volumes": [volume]}),
        "/images/json": (
            200,
            [{"Id": "sha256:" + "1" * 64, "RepoTags": ["a:1"], "Size": 50}],
        ),
        "/system/df": (200, whole),
    }
    with fake_engine(answers) as endpoint:
        batch = collect(tmp_path, endpoint=endpoint, disk=True)
        assert "df" not in coverage(collect(tmp_path, endpoint=endpoint))
        # as API 1.52 has it
        usage = {"Image": whole["Images"], "Volume": [volume]}
        newer = {f"{kind}Usage": {"Items": items} for kind, items in usage.items()}
        answers["/system/df"] = 200, newer
        of_newer = collect(tmp_path, endpoint=endpoint, disk=True)
        assert of_newer.rows["images"] == batch.rows["images"]
        assert coverage(of_newer)["df"]["status"] == "ok"
        answers["/system/df"] = 403, {"message": f"forbidden for {CANARY}"}
        denied = collect(tmp_path, endpoint=endpoint, disk=True)
        answers["/system/df"] = 200, {"LayersSize": "much", "Images": 7, "Volumes": [3]}
        odd = collect(tmp_path, endpoint=endpoint, disk=True)
    (image,) = batch.rows["images"]
    # the list of containers is denied, but the engine counts those of an image
    assert (image["shared_bytes"], image["containers_n"]) == (20, 0)
    assert batch.rows["engines"][0]["layers_bytes"] == 70
    assert batch.rows["engines"][0]["dangling_volumes_n"] is None
    assert [coverage(b)["df"]["status"] for b in (denied, odd)] == ["denied", "empty"]
    for other in (denied, odd):
        assert other.rows["images"][0]["shared_bytes"] is None
        assert other.rows["engines"][0]["layers_bytes"] is None
    assert CANARY not in repr([batch, of_newer, denied, odd])


def test_a_container_shows_what_its_networks_ask_of_the_engine(tmp_path):
    inspected = {
        "Id": "a" * 64,
        "Name": "/web",
        "Config": {"Image": "x:1", "MacAddress": CANARY},
        "HostConfig": {"DnsSearch": [CANARY]},
        "NetworkSettings": {"Networks": {"lan": {}, "bridge": {}}},
    }
    lan = {
        "Name": "lan",
        "Driver": "ipvlan",
        "Internal": True,
        "EnableIPv6": False,
        "Options": {"ipvlan_mode": "l3", "parent": CANARY},
    }
    answers = {
        "/version": (200, {"Version": "24.0.7", "ApiVersion": "1.43"}),
        "/info": (200, {"Name": "h"}),
        f"{'a' * 64}/json": (200, inspected),
        "/containers/json": (200, [{"Id": "a" * 64, "Names": ["/web"], "Image": "x:1"}]),
        "/images/json": (200, []),
        "/volumes": (200, {"Volumes": []}),
        "/networks": (200, [lan, {"Name": "other", "Driver": "overlay"}]),
    }
    with fake_engine(answers) as endpoint:
        batch = collect(tmp_path, endpoint=endpoint)
    assert batch.rows["workloads"][0]["settings"].split(";") == [
        "dns-search",
        "mac-address",
        "network=bridge",
        "network=lan",
        "network-driver=ipvlan",
        "network-internal=true",
        "network-mode=l3",
    ]
    assert CANARY not in repr(batch)


def test_denied_inspections_keep_the_list(tmp_path):
    ids = ["a" * 64, "b" * 64, "c" * 64]
    inspected = {"Id": ids[2], "Name": "/c", "Config": {"Image": "x:1"}, "HostConfig": {}}
    answers = {
        "/version": (200, {"Version": "24.0.7", "ApiVersion": "1.43"}),
        "/info": (500, {"message": "boom"}),
        f"{ids[0]}/json": (403, {"message": "no"}),
        f"{ids[1]}/json": (404, {"message": "gone"}),
        f"{ids[2]}/json": (200, inspected),
        "/containers/json": (
            200,
            [
                {"Id": i, "Names": [f"/{i[0]}"], "Image": "x:1", "State": "running"}
                for i in ids
            ],
        ),
        "/images/json": (200, b"<html>"),
        "/volumes": (200, {"Volumes": None}),
    }
    with fake_engine(answers) as endpoint:
        batch = collect(tmp_path, endpoint=endpoint, host_id="h")
    assert Counter(row["inspect_status"] for row in batch.rows["workloads"]) == {
        "denied": 1,
        "vanished": 1,
        "ok": 1,
    }
    rows = coverage(batch)
    assert (rows["inspect"]["status"], rows["inspect"]["expected"]) == ("partial", 2)
    assert (
        rows["info"]["status"] == "unreachable"
        and rows["images"]["status"] == "parse_error"
    )
    assert rows["volumes"]["status"] == "empty"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"path": "x", "endpoint": "unix:///x"}, "exclude"),
        ({"inspect": "some"}, "inspect is not one of"),
        ({"endpoint": "http://x"}, "starts with"),
        ({"endpoint": "tcp://"}, "names no host"),
        ({"endpoint": "tcp://x", "tls_cert": "c"}, "go together"),
        ({"endpoint": "tcp://x"}, None),
    ],
)
def test_options_are_checked_before_anything_is_asked(options, words):
    problems = DockerSource().check(options)
    assert bool(problems) == bool(words)
    assert not words or words in problems[0]


def test_certificates_that_do_not_exist_are_told(tmp_path):
    batch = collect(tmp_path, endpoint="tcp://127.0.0.1:1", tls_ca="none.pem")
    (row,) = batch.coverage
    assert row["status"] == "not_configured" and "tls_ca" in row["hint"]


def test_an_engine_behind_a_path_of_a_proxy_is_asked_there(tmp_path):
    asked = []

    def note(path: str) -> tuple[int, object]:
        asked.append(path)
        return 200, {"Version": "24.0.7", "ApiVersion": "1.43"}

    with fake_engine({"/version": (200, note)}) as endpoint:
        batch = collect(tmp_path, endpoint=f"{endpoint}/engines/web-1/", inspect="none")
    assert asked == ["/engines/web-1/version"]
    assert coverage(batch)["version"]["status"] == "ok"


HOSTILE_IDS = [
    *("a\r\nX: y", "a b", "\0", "é", "a\n", "٣"),
    *("../../images", "a/../../info", "..", ".", "a?b", "a#b", "%2e%2e", "/etc", "a/b"),
    *("http://127.0.0.1:1/", "a" * 99 + "/"),
]


@pytest.mark.parametrize("identifier", HOSTILE_IDS)
def test_what_an_engine_calls_its_containers_makes_no_other_request(tmp_path, identifier):
    listed = [{"Id": identifier, "Names": ["/x"], "Image": "x:1", "State": "running"}]
    answers = {
        "/version": (200, {"Version": "24.0.7", "ApiVersion": "1.43"}),
        "/info": (200, {"Name": "h"}),
        "/containers/json": (200, listed),
        "/images/json": (200, []),
        "/volumes": (200, {"Volumes": []}),
        "/networks": (200, []),
    }
    asked = []

    def note(path: str) -> tuple[int, object]:
        asked.append(path)
        return 404, {}

    with fake_engine(answers | {"": (200, note)}) as endpoint:
        batch = collect(tmp_path, endpoint=endpoint)
    assert coverage(batch)["inspect"]["status"] == "parse_error"
    assert len(batch.rows["workloads"]) == 1
    assert not asked  # beside the six lists


@pytest.mark.parametrize(
    "version", ["1.43/../x", "1.43\n", "1.٤٣", "1.43?", "-1.9", "", 7]
)
def test_only_a_version_becomes_part_of_a_path(tmp_path, version):
    asked = []

    def note(path: str) -> tuple[int, object]:
        asked.append(path)
        return 200, {"Version": "24.0.7", "ApiVersion": version}

    with fake_engine({"": (200, note)}) as endpoint:
        collect(tmp_path, endpoint=endpoint)
    assert all(path.startswith(("/version", "/v1.24/", "/info")) for path in asked)


@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize("excess", [-1, 0, 1, 1000])
def test_an_answer_above_the_limit_is_refused_while_it_is_read(
    tmp_path, monkeypatch, is_chunked, excess
):
    monkeypatch.setattr(client, "MAX_ANSWER_BYTES", 1000)
    body = json.dumps({"Name": "h", "x": "y" * (1000 + excess - 22)}).encode()
    assert len(body) == 1000 + excess
    answers = {
        "/version": (200, {"Version": "24.0.7", "ApiVersion": "1.43"}),
        "/info": (200, body),
    }
    with fake_engine(answers, is_chunked=is_chunked) as endpoint:
        row = coverage(collect(tmp_path, endpoint=endpoint))["info"]
    assert row["status"] == ("parse_error" if excess > 0 else "ok")
