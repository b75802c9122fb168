"""The docker source on dumps recorded from real engines, and on engines that misbehave."""

import json
import random
import shutil
import threading
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assess import frames
from assess.collect.base import Batch, Deadline
from assess.collect.docker.dump import cli_labels, decode_values
from assess.collect.docker.engine import to_os
from assess.collect.docker.images import ImageIndex, to_images
from assess.collect.docker.mounts import is_data, source_class
from assess.collect.docker.names import container_names, is_replica, platform_of
from assess.collect.docker.payload import (
    Container,
    Payloads,
    containers_of,
    keep_inspected,
    keep_version,
    moment,
)
from assess.collect.docker.rows import merge_services, to_batch, to_ports
from assess.collect.docker.source import DockerSource
from assess.collect.image_ref import parse_image

FIXTURES = Path(__file__).parents[1] / "fixtures/docker"
CANARY = "hunter2"
STATUSES = frames.columns("coverage")["status"].vocabulary


def collect(base: Path, **options) -> Batch:
    return DockerSource().collect(options, base, Deadline(20))


def table(batch: Batch, name: str) -> pd.DataFrame:
    typed, problems = frames.conform(name, pd.DataFrame(batch.rows[name]))
    assert problems.empty, problems
    return typed


def container(listing: dict, inspected: dict | None = None) -> Container:
    return Container("c", listing, inspected or {}, {}, {})


def coverage(batch: Batch) -> dict[str, dict]:
    return {row["call"]: row for row in batch.coverage}


@pytest.fixture
def dumps(tmp_path) -> Path:
    return Path(shutil.copytree(FIXTURES / "cli", tmp_path / "web-01"))


# -- dumps ---------------------------------------------------------------------------------------


def test_the_fixtures_hold_the_canary_and_no_frame_does():
    assert CANARY in (FIXTURES / "cli/inspect.json").read_text()
    assert CANARY in (FIXTURES / "cli/info.json").read_text()
    batch = collect(FIXTURES.parent, path="docker")
    assert CANARY not in repr(batch)
    assert coverage(batch)["inspect"]["redacted_n"] > 0


def test_dumps_of_the_command_line():
    batch = collect(FIXTURES, path="cli")
    (host,), (engine,) = batch.rows["hosts"], batch.rows["engines"]
    assert (host["host_id"], host["os_name"], host["os_version"]) == ("web-01", "debian", "12")
    assert (engine["version"], engine["api_version"]) == ("26.1.5+dfsg1", "1.45")
    assert {call: row["status"] for call, row in coverage(batch).items()} == dict.fromkeys(
        ["version", "info", "containers", "inspect", "images", "volumes"], "ok"
    )
    assert all(row["scope"] == "cli" for row in batch.coverage)
    names = {row["name"]: row["names"][0].name for row in batch.rows["workloads"]}
    assert names == {
        "shop-web-1": "web", "shop-api-1": "api", "shop-postgres-1": "postgres",
        "shop-backup-1": "backup", "shop-migrate-1": "migrate", "edge-proxy-1": "proxy",
        "shipper": "shipper",
    }  # fmt: skip


def test_dumps_of_the_api_without_inspections():
    batch = collect(FIXTURES, path="api")
    workloads = table(batch, "workloads").set_index("name")
    assert coverage(batch)["inspect"]["status"] == "not_configured"
    assert workloads["inspect_status"].eq("list").all()
    assert workloads.loc["shop-postgres-1", "health"] == "healthy"
    assert workloads["restarts_n"].isna().all()
    services = {row["names"][0].name: row for row in batch.rows["services"]}
    assert services["postgres"]["stateful"] is True
    assert services["postgres"]["secrets_in_image"] is None


def test_one_directory_per_host_and_one_list_of_directories():
    for path in (".", ["cli", "api"]):
        batch = collect(FIXTURES, path=path)
        assert [row["host_id"] for row in batch.rows["hosts"]] == ["web-02", "web-01"][
            :: 1 if path == "." else -1
        ]
        assert len(batch.rows["engines"]) == 2


def test_inspections_alone_are_enough(dumps):
    for file in dumps.iterdir():
        if file.name != "inspect.json":
            file.unlink()
    batch = collect(dumps, path="inspect.json")
    assert len(batch.rows["workloads"]) == 7
    assert batch.rows["workloads"][0]["host_id"] == "web-01"
    assert table(batch, "engines")["version"].isna().all()


@pytest.mark.parametrize(
    ("content", "status", "kept"),
    [
        (lambda raw: raw[: len(raw) // 2], "parse_error", True),
        (lambda raw: b"<html><body>502 Bad Gateway</body></html>", "parse_error", False),
        (lambda raw: b"\0" * 100, "parse_error", False),
        (lambda raw: b"\xff\xff\xff", "parse_error", False),
        (lambda raw: b"", "parse_error", False),
        (lambda raw: b"json\njson\n", "parse_error", False),
        (lambda raw: b"[]", "partial", False),
        (lambda raw: raw.decode().encode("utf-16"), "ok", True),
        (lambda raw: b"\xef\xbb\xbf" + raw, "ok", True),
    ],
)
@pytest.mark.parametrize("name", ["ps", "inspect"])
def test_a_damaged_file_is_told_and_the_rest_kept(dumps, name, content, status, kept):
    file = dumps / f"{name}.json"
    file.write_bytes(content(file.read_bytes()))
    batch = collect(dumps.parent, path="web-01")
    row = coverage(batch)["containers" if name == "ps" else name]
    assert row["status"] == status
    assert bool(row.get("rows")) == kept
    assert batch.rows["hosts"] and batch.rows["images"] and len(batch.rows["workloads"]) == 7
    assert not set(table(batch, "workloads")["inspect_status"]) - {"ok", "list"}


def test_a_line_in_the_middle_that_is_cut_costs_only_itself():
    values, rest = decode_values('{"a": 1}\n{"b": \n{"c": 3}\n')
    assert values == [{"a": 1}, {"c": 3}] and rest
    assert decode_values('[{"a": 1}, {"b"')[0] == [{"a": 1}]
    assert decode_values('{"a": 1}\n{"b": 2}\n') == ([{"a": 1}, {"b": 2}], "")


def test_an_old_command_line_is_told():
    hint = coverage_of_text("json\n")["hint"]
    assert "older than 23.0" in hint


def coverage_of_text(text: str) -> dict:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "ps.json").write_text(text)
        return coverage(collect(Path(directory), path="."))["containers"]


def test_a_client_that_reached_no_engine(dumps):
    (dumps / "version.json").write_text('{"Client": {"Version": "28.2.2"}, "Server": null}')
    (dumps / "info.json").write_text('{"ServerErrors": ["cannot connect"], "ClientInfo": {}}')
    rows = coverage(collect(dumps.parent, path="web-01"))
    assert rows["version"]["status"] == rows["info"]["status"] == "unreachable"


def test_nothing_there_is_a_coverage_row(tmp_path):
    batch = collect(tmp_path, path="absent")
    assert [row["status"] for row in batch.coverage] == ["unreachable"]
    assert not batch.rows


JUNK = [None, True, 0, -1, 1e300, "", "\0", [], {}, [1], [[]], [None], {"a": 1}, 10**30, "a:b:c"]


def spoil(value, chance: random.Random):
    if chance.random() < 0.03:
        return chance.choice(JUNK)
    if isinstance(value, dict):
        return {k: spoil(v, chance) for k, v in value.items()}
    return [spoil(v, chance) for v in value] if isinstance(value, list) else value


@given(seed=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_no_payload_stops_the_rest(tmp_path_factory, seed):
    chance, directory = random.Random(seed), tmp_path_factory.mktemp("host")
    for name in ("ps", "images", "volumes", "version", "info", "inspect"):
        file = FIXTURES / ("cli" if name == "inspect" else "api") / f"{name}.json"
        payload = json.loads(file.read_text())
        (directory / file.name).write_text(json.dumps(spoil(payload, chance)))
    batch = collect(directory, path=".")
    assert {row["status"] for row in batch.coverage} <= set(STATUSES)
    if batch.rows:
        frames.conform("workloads", pd.DataFrame(batch.rows["workloads"]))


# -- rows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0001-01-01T00:00:00Z", None),
        ("1970-01-01T00:00:00Z", None),
        ("2026-11-23T23:33:12.220954357Z", datetime(2026, 11, 23, 23, 33, 12, 220954, UTC)),
        ("2026-11-23 23:33:14 +0200 CEST", datetime(2026, 11, 23, 21, 33, 14, tzinfo=UTC)),
        ("2026-08-13T05:35:48.000000000+00:00", datetime(2026, 8, 13, 5, 35, 48, tzinfo=UTC)),
        (1795476792, datetime(2026, 11, 23, 23, 33, 12, tzinfo=UTC)),
        ("yesterday", None), ("", None), (None, None), (True, None), (10**20, None),
    ],
)  # fmt: skip
def test_times(value, expected):
    assert moment(value) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Debian GNU/Linux 12 (bookworm)", ("debian", "12")),
        ("Ubuntu 22.04.3 LTS", ("ubuntu", "22.04")),
        ("Alpine Linux v3.18", ("alpine-linux", "3.18")),
        ("Amazon Linux 2023.4.20240319", ("amazon-linux", "2023.4")),
        ("Red Hat Enterprise Linux 8.6 (Ootpa)", ("rhel", "8")),
        ("CentOS Linux 7 (Core)", ("centos", "7")),
        ("CentOS Stream 9", ("centos-stream", "9")),
        ("Docker Desktop", ("docker desktop", None)),
        ("", (None, None)),
        (None, (None, None)),
    ],
)
def test_operating_systems(text, expected):
    assert to_os(text) == expected


NAMING = [
    ({"assess.service": "billing", "com.docker.compose.service": "api"}, {}, "billing", "label"),
    ({"com.docker.compose.service": "api"}, {}, "api", "compose-service"),
    (
        {"com.docker.swarm.service.name": "post_mail", "com.docker.stack.namespace": "post"},
        {}, "mail", "swarm-service",
    ),
    ({"com.amazonaws.ecs.task-definition-family": "web"}, {}, "web", "ecs-family"),
    ({"com.hashicorp.nomad.job_name": "etl"}, {}, "etl", "nomad-job"),
    ({"io.kubernetes.pod.name": "shop-7d9f8b6c5-x2k4q"}, {}, "shop", "kubernetes-pod"),
    ({"io.kubernetes.pod.name": "kafka-2"}, {}, "kafka", "kubernetes-pod"),
    ({}, {"MARATHON_APP_ID": "/shop/cart"}, "shop/cart", "marathon-app"),
    ({}, {"OTEL_SERVICE_NAME": "checkout"}, "checkout", "telemetry-env"),
    ({"org.opencontainers.image.title": "cart"}, {}, "cart", "image-title"),
    ({}, {}, "app", "image-repository"),
]  # fmt: skip


@pytest.mark.parametrize(("labels", "env", "name", "rule"), NAMING)
def test_names_best_first(labels, env, name, rule):
    names = container_names(labels, env, parse_image("team/app:1"), "app-1")
    assert (names[0].name, names[0].rule) == (name, rule)
    assert names[-1].rule == "container-name"
    assert [n.confidence for n in names] == sorted((n.confidence for n in names), reverse=True)


def test_what_is_no_replica():
    assert not is_replica({"io.kubernetes.container.name": "POD"})
    assert not is_replica({"com.docker.compose.oneoff": "True"})
    assert is_replica({"com.docker.compose.oneoff": "False"})
    assert platform_of({"com.amazonaws.ecs.task-definition-family": "x"}, {}) == "ecs"


def test_ports_are_told_once():
    inspected = {
        "Config": {"ExposedPorts": {"80/tcp": {}, "9/udp": {}}},
        "NetworkSettings": {"Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"},
                                                 {"HostIp": "::", "HostPort": "8080"}]}},
    }  # fmt: skip
    assert to_ports(container({}, inspected)) == "8080->80/tcp;9/udp"
    listed = {"Ports": "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp, 9/udp"}
    assert to_ports(container(listed)) == "8080->80/tcp;9/udp"
    local = {"Ports": [{"IP": "127.0.0.1", "PrivatePort": 80, "PublicPort": 81, "Type": "tcp"}]}
    assert to_ports(container(local)) == "127.0.0.1:81->80/tcp"
    assert to_ports(container({})) is None


MOUNTS = [
    ({"Type": "volume", "Name": "pg", "Destination": "/x", "RW": True}, "named-volume", True),
    ({"Type": "volume", "Name": "pg", "Destination": "/x", "RW": False}, "named-volume", False),
    ({"Type": "volume", "Name": "c", "Destination": "/etc/app", "RW": True}, "config", False),
    ({"Type": "volume", "Name": "a" * 64, "Destination": "/x", "RW": True},
     "anonymous-volume", None),
    ({"Type": "volume", "Name": "a" * 64, "Destination": "/var/lib/mysql", "RW": True},
     "anonymous-volume", True),
    ({"Type": "bind", "Source": "/srv/x", "Destination": "/data", "RW": True}, "host-path", True),
    ({"Type": "bind", "Source": "/srv/x", "Destination": "/x", "RW": True}, "host-path", None),
    ({"Type": "bind", "Source": "/srv/app.yml", "Destination": "/x", "RW": True}, "config", False),
    ({"Type": "bind", "Source": "/run/docker.sock", "Destination": "/x", "RW": True},
     "socket", False),
    ({"Type": "tmpfs", "Destination": "/data", "RW": True}, "tmpfs", False),
]  # fmt: skip


@pytest.mark.parametrize(("mount", "kind", "data"), MOUNTS)
def test_mounts(mount, kind, data):
    assert source_class(mount) == kind
    assert is_data(kind, mount["Destination"], mount["RW"]) is data


def test_images_pulled_tagged_dangling_and_layers():
    digest = "sha256:" + "d" * 64
    images = [
        {"Id": "sha256:" + "1" * 64, "RepoTags": ["nginx:1.27", "nginx:latest"],
         "RepoDigests": [f"nginx@{digest}"], "Created": 1, "ParentId": "sha256:" + "2" * 64},
        {"Id": "sha256:" + "2" * 64, "RepoTags": None, "Created": 1767225600},
        {"Id": "sha256:" + "3" * 64, "RepoTags": ["<none>:<none>"], "Created": 1767225600},
        {"Id": "sha256:" + "4" * 64, "RepoTags": ["a:1"], "Created": 1767225600},
    ]  # fmt: skip
    containers = [{"Id": "c", "ImageID": "sha256:" + "4" * 64, "State": "running"}]
    payloads = Payloads(images=images, containers=containers, seen_at=datetime.now(UTC))
    index = ImageIndex(images)
    rows = to_images(payloads, containers_of(payloads), "h")
    by_id = {row["image_id"][7]: row for row in rows}
    assert set(by_id) == {"1", "3", "4"}  # the second is a layer of the first
    assert (by_id["1"]["repository"], by_id["1"]["digest"]) == ("library/nginx", digest)
    assert by_id["1"]["tags"] == "1.27;latest" and by_id["1"]["created_at"] is None
    assert by_id["3"]["dangling"] and by_id["3"]["repository"] == "<none>"
    assert [by_id[i]["reclaimable"] for i in "134"] == [None, True, False]  # how old is the first?
    assert index.digest("sha256:" + "1" * 64, parse_image("nginx")) == digest
    unknown = to_images(Payloads(images=images), [], "h")
    assert {row["containers_n"] for row in unknown} == {None}


def test_health_checks_are_all_or_not():
    raw = json.loads((FIXTURES / "cli/inspect.json").read_text())
    checked = {keep_inspected(c)[0]["Name"]: keep_inspected(c)[0]["health_checked"] for c in raw}
    assert checked["/shop-web-1"] and not checked["/shipper"]


def test_labels_with_commas():
    text = "a=1,com.docker.compose.depends_on=db:service_healthy:true,cache:service_started:false"
    assert cli_labels(text) == {
        "a": "1",
        "com.docker.compose.depends_on": "db:service_healthy:true,cache:service_started:false",
    }


def service(**changes) -> dict:
    """The one service of an inspected container of a web application, changed."""
    raw = {
        "Id": "c" * 64, "Name": "/c", "Image": "sha256:" + "1" * 64, "Mounts": [],
        "Config": {"Image": "team/shop:1", "ExposedPorts": {"8080/tcp": {}}, "Labels": {}},
        "HostConfig": {"NetworkMode": "bridge"}, "State": {"Status": "running"},
    }  # fmt: skip
    for name, value in changes.items():
        part = next((raw[p] for p in ("Config", "HostConfig", "State") if name in PARTS[p]), raw)
        part[name] = value
    payloads = Payloads()
    payloads.take("inspect", [raw], {"status": "ok"})
    (row,) = to_batch(payloads, "h").rows["services"]
    return row


PARTS = {"Config": ("Image", "ExposedPorts", "Labels", "Healthcheck"),
         "HostConfig": ("NetworkMode",), "State": ("Status",)}  # fmt: skip
DATA = {"Type": "bind", "Source": "/srv/x", "Destination": "/data", "RW": True}
SERVICES = [
    ({}, "web", False),
    ({"ExposedPorts": {}}, "worker", False),
    ({"ExposedPorts": {}, "NetworkMode": "host"}, None, False),  # any port may be open
    ({"Mounts": [DATA]}, None, True),
    ({"Mounts": [DATA | {"RW": False}]}, "web", False),
    ({"Mounts": [DATA | {"Destination": "/x"}]}, None, None),  # only a person can tell
    ({"Image": "postgres:16"}, None, None),
    ({"Image": "team/percona-server:8"}, None, None),
    ({"Image": "sha256:" + "1" * 64}, None, None),  # nobody knows what it is
    ({"ExposedPorts": {"5432/tcp": {}}}, None, None),
    ({"ExposedPorts": {"8080/tcp": {}, "6379/tcp": {}}}, None, None),
]


@pytest.mark.parametrize(("changes", "kind", "stateful"), SERVICES)
def test_what_is_no_store_is_said_to_be_none(changes, kind, stateful):
    row = service(**changes)
    assert (row["kind"], row["stateful"]) == (kind, stateful)


def test_one_container_that_was_not_inspected_leaves_its_service_open():
    known, secret = service(), service() | {"secrets_in_image": True}
    unknown = known | dict.fromkeys(("kind", "stateful", "secrets_in_image", "health_checked"))
    (row,) = merge_services([known, known])
    assert (row["kind"], row["stateful"], row["secrets_in_image"]) == ("web", False, False)
    (row,) = merge_services([known, unknown])
    assert (row["kind"], row["stateful"], row["secrets_in_image"]) == (None, None, None)
    (row,) = merge_services([unknown, secret])
    assert (row["secrets_in_image"], row["health_checked"]) == (True, False)


CHECK = {"Test": ["CMD", "true"]}
ECS = {"com.amazonaws.ecs.task-definition-family": "shop"}
KUBERNETES = {"io.kubernetes.pod.name": "shop-1"}
SWARM = {"com.docker.swarm.service.name": "shop"}


@pytest.mark.parametrize(
    ("changes", "checked"),
    [
        ({}, False), ({"Healthcheck": CHECK}, True), ({"Healthcheck": {"Test": ["NONE"]}}, False),
        ({"Status": "exited"}, None), ({"Labels": ECS}, None), ({"Labels": KUBERNETES}, None),
        ({"Labels": SWARM}, None), ({"Labels": ECS, "Healthcheck": CHECK}, True),
    ],
)  # fmt: skip
def test_nobody_checks_only_what_runs_and_no_orchestrator_placed(changes, checked):
    assert service(**changes)["health_checked"] is checked


def test_addresses_of_the_environment_are_needs():
    def inspected(name: str, env: list[str]) -> dict:
        labels = {"com.docker.compose.service": name, "com.docker.compose.project": "shop"}
        return {"Id": name * 12, "Name": f"/shop-{name}-1", "HostConfig": {},
                "Config": {"Image": f"team/{name}:1", "Labels": labels, "Env": env}}  # fmt: skip

    env = ["QUEUE_URL=amqp://u:hunter2@Mail:5672/x", "API_HOST=shop-api-1", "SMTP_HOST=elsewhere"]
    payloads = Payloads()
    raw = [inspected("web", env), inspected("mail", []), inspected("api", [])]
    payloads.take("inspect", raw, {"status": "ok"})
    rows = to_batch(payloads, "h").rows["dependencies"]
    assert [(r["src"].name, r["dst"].name, r["kind"], r["evidence"]) for r in rows] == [
        ("web", "api", "call", "environment"), ("web", "mail", "queue", "environment"),
    ]  # fmt: skip
    assert CANARY not in repr(payloads)


def test_podman_is_podman():
    version = {"Version": "4.3.1", "Components": [{"Name": "Podman Engine", "Version": "4.3.1"}]}
    assert keep_version(version)["Components"][0]["Name"] == "Podman Engine"


# -- engines that misbehave, over real HTTP --------------------------------------------------------


@contextmanager
def fake_engine(answers: dict[str, tuple[int, object]]):
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
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"tcp://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_an_engine_older_than_the_sdk_is_kept_with_its_version(tmp_path):
    answers = {
        "/version": (200, {"Version": "1.10.3", "ApiVersion": "1.22", "KernelVersion": "3.13.0"}),
        "/info": (200, {"Name": "old-01", "Driver": "aufs", "Containers": 12}),
    }
    with fake_engine(answers) as endpoint:
        batch = collect(tmp_path, endpoint=endpoint)
    assert coverage(batch)["version"]["status"] == "unsupported"
    (engine,) = batch.rows["engines"]
    assert (engine["host_id"], engine["version"], engine["api_version"]) == (
        "old-01", "1.10.3", "1.22",
    )  # fmt: skip
    assert engine["storage_driver"] == "aufs" and not batch.rows["workloads"]


def test_versions_are_negotiated_where_the_engine_does_not_tell_its_own(tmp_path):
    def modern(path: str) -> tuple[int, object]:
        if "/v1.44/" not in path:
            said = "client version 1.24 is too old. Minimum supported API version is 1.44"
            return 400, {"message": said}
        return 200, {"Name": "new-01", "Containers": 0, "Images": 0} if "info" in path else []

    answers = {
        "/version": (403, {"message": f"forbidden for password={CANARY}"}),
        "/info": (200, modern), "/containers/json": (200, modern), "/images/json": (200, modern),
        "/volumes": (403, {"message": "forbidden"}),
    }  # fmt: skip
    with fake_engine(answers) as endpoint:
        batch = collect(tmp_path, endpoint=endpoint.replace("tcp://", f"tcp://u:{CANARY}@"))
    assert {call: row["status"] for call, row in coverage(batch).items()} == {
        "version": "denied", "info": "ok", "containers": "empty", "images": "empty",
        "volumes": "denied",
    }  # fmt: skip
    assert batch.rows["hosts"][0]["host_id"] == "new-01"
    assert CANARY not in repr(batch)


def test_the_use_of_the_disk_is_asked_for_only_where_it_is_wanted(tmp_path):
    volume = {"Name": "v", "Driver": "local", "UsageData": {"Size": 9, "RefCount": 0},
              "Options": {"o": f"password={CANARY}"}}  # fmt: skip
    whole = {"LayersSize": 70, "Volumes": [volume], "BuildCache": None, "Containers": None,
             "Images": [{"Id": "sha256:" + "1" * 64, "Size": 50, "SharedSize": 20,
                         "Containers": 0, "Labels": {"note": CANARY}}]}  # fmt: skip
    answers = {
        "/version": (200, {"Version": "24.0.7", "ApiVersion": "1.43"}),
        "/info": (200, {"Name": "h", "Containers": 0, "Images": 1}),
        "/containers/json": (403, {}), "/volumes": (200, {"Volumes": [volume]}),
        "/images/json": (200, [{"Id": "sha256:" + "1" * 64, "RepoTags": ["a:1"], "Size": 50}]),
        "/system/df": (200, whole),
    }  # fmt: skip
    with fake_engine(answers) as endpoint:
        batch = collect(tmp_path, endpoint=endpoint, disk=True)
        assert "df" not in coverage(collect(tmp_path, endpoint=endpoint))
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
    assert CANARY not in repr([batch, denied, odd])


def test_denied_inspections_keep_the_list(tmp_path):
    ids = ["a" * 64, "b" * 64, "c" * 64]
    inspected = {"Id": ids[2], "Name": "/c", "Config": {"Image": "x:1"}, "HostConfig": {}}
    answers = {
        "/version": (200, {"Version": "24.0.7", "ApiVersion": "1.43"}),
        "/info": (500, {"message": "boom"}),
        f"{ids[0]}/json": (403, {"message": "no"}),
        f"{ids[1]}/json": (404, {"message": "gone"}),
        f"{ids[2]}/json": (200, inspected),
        "/containers/json": (200, [{"Id": i, "Names": [f"/{i[0]}"], "Image": "x:1",
                                    "State": "running"} for i in ids]),
        "/images/json": (200, b"<html>"),
        "/volumes": (200, {"Volumes": None}),
    }  # fmt: skip
    with fake_engine(answers) as endpoint:
        batch = collect(tmp_path, endpoint=endpoint, host_id="h")
    assert Counter(row["inspect_status"] for row in batch.rows["workloads"]) == {
        "denied": 1, "vanished": 1, "ok": 1,
    }  # fmt: skip
    rows = coverage(batch)
    assert (rows["inspect"]["status"], rows["inspect"]["expected"]) == ("partial", 2)
    assert rows["info"]["status"] == "unreachable" and rows["images"]["status"] == "parse_error"
    assert rows["volumes"]["status"] == "empty"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"path": "x", "endpoint": "unix:///x"}, "exclude"),
        ({"inspect": "some"}, "inspect is one of"),
        ({"endpoint": "http://x"}, "starts with"),
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
