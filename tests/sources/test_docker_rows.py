"""What the payloads of engines mean: names, ports, mounts, images, services."""

import json
from datetime import UTC, datetime

import pytest
from test_docker import CANARY, FIXTURES, container

from assess.image_ref import parse_image
from assess.sources.docker.engine import ImageIndex, to_images, to_os
from assess.sources.docker.names import container_names, is_replica, platform_of
from assess.sources.docker.payload import (
    EngineData,
    containers_of,
    keep_inspected,
    keep_version,
)
from assess.sources.docker.rows import to_batch, to_mount, to_ports
from assess.sources.docker.text import cli_labels
from assess.sources.unit import is_data, merge_services, source_class
from assess.sources.values import moment


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0001-01-01T00:00:00Z", None),
        ("1970-01-01T00:00:00Z", None),
        (
            "2026-11-23T23:33:12.220954357Z",
            datetime(2026, 11, 23, 23, 33, 12, 220954, UTC),
        ),
        (
            "2026-11-23 23:33:14 +0200 CEST",
            datetime(2026, 11, 23, 21, 33, 14, tzinfo=UTC),
        ),
        # zones without letters of their own, as in São Paulo
        (
            "2026-07-08 09:00:00 -0300 -03",
            datetime(2026, 7, 8, 12, tzinfo=UTC),
        ),
        (
            "2026-08-13T05:35:48.000000000+00:00",
            datetime(2026, 8, 13, 5, 35, 48, tzinfo=UTC),
        ),
        (1795476792, datetime(2026, 11, 23, 23, 33, 12, tzinfo=UTC)),
        ("yesterday", None),
        ("", None),
        (None, None),
        (True, None),
        (10**20, None),
    ],
)
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
        ("Raspbian GNU/Linux 11 (bullseye)", ("raspbian", "11")),
        ("TencentOS Server 3.1", ("tencentos server", "3.1")),
        ("openSUSE Leap 15.4", ("opensuse leap", "15.4")),
        ("", (None, None)),
        (None, (None, None)),
    ],
)
def test_operating_systems(text, expected):
    assert to_os(text) == expected


NAMING = [
    (
        {"assess.service": "billing", "com.docker.compose.service": "api"},
        {},
        "billing",
        "label",
    ),
    ({"com.docker.compose.service": "api"}, {}, "api", "compose-service"),
    (
        {
            "com.docker.swarm.service.name": "post_mail",
            "com.docker.stack.namespace": "post",
        },
        {},
        "mail",
        "swarm-service",
    ),
    ({"com.amazonaws.ecs.task-definition-family": "web"}, {}, "web", "ecs-family"),
    ({"com.hashicorp.nomad.job_name": "etl"}, {}, "etl", "nomad-job"),
    ({"io.kubernetes.pod.name": "shop-7d9f8b6c5-x2k4q"}, {}, "shop", "kubernetes-pod"),
    ({"io.kubernetes.pod.name": "kafka-2"}, {}, "kafka", "kubernetes-pod"),
    ({}, {"MARATHON_APP_ID": "/shop/cart"}, "shop/cart", "marathon-app"),
    ({}, {"OTEL_SERVICE_NAME": "checkout"}, "checkout", "telemetry-env"),
    ({"org.opencontainers.image.title": "cart"}, {}, "cart", "image-title"),
    ({}, {}, "app", "image-repository"),
]


@pytest.mark.parametrize(("labels", "env", "name", "rule"), NAMING)
def test_names_best_first(labels, env, name, rule):
    names = container_names(labels, env, parse_image("team/app:1"), "app-1")
    assert (names[0].name, names[0].rule) == (name, rule)
    assert names[-1].rule == "container-name"
    assert [n.confidence for n in names] == sorted(
        (n.confidence for n in names), reverse=True
    )


@pytest.mark.parametrize(
    ("image", "container_name", "expected"),
    [
        ("postgres:16", "orders-db", "orders-db"),
        ("postgres:16", "orders-db-2", "orders-db"),  # a replica of it
        ("bitnami/redis:7", "sessions", "sessions"),
        ("docker.io/library/nginx:1", "edge", "edge"),
        ("postgres:16", "eager_turing", "postgres"),  # as an engine names them
        ("redis:7", "mesos-6f2a1b3c-77d0-4c1e", "redis"),
        ("team/app:1", "blue", "app"),  # an image of one's own is the service
    ],
)
def test_a_container_of_a_product_has_the_name_that_a_person_gave_it(
    image, container_name, expected
):
    names = container_names({}, {}, parse_image(image), container_name)
    assert names[0].name == expected


@pytest.mark.parametrize(
    "unit", ["wiki-db.service", "container-wiki-db.service", "wiki-db@2.service"]
)
def test_a_unit_of_podman_names_its_service(unit):
    labels = {"PODMAN_SYSTEMD_UNIT": unit}
    first = container_names(labels, {}, parse_image("mariadb:11"), "systemd-x")[0]
    assert (first.name, first.rule) == ("wiki-db", "systemd-unit")


def test_what_is_no_replica():
    assert not is_replica({"io.kubernetes.container.name": "POD"})
    assert not is_replica({"com.docker.compose.oneoff": "True"})
    assert is_replica({"com.docker.compose.oneoff": "False"})
    assert platform_of({"com.amazonaws.ecs.task-definition-family": "x"}, {}) == "ecs"


def test_ports_are_told_once():
    inspected = {
        "Config": {"ExposedPorts": {"80/tcp": {}, "9/udp": {}}},
        "NetworkSettings": {
            "Ports": {
                "80/tcp": [
                    {"HostIp": "0.0.0.0", "HostPort": "8080"},
                    {"HostIp": "::", "HostPort": "8080"},
                ]
            }
        },
    }
    assert to_ports(container({}, inspected)) == {"8080->80/tcp", "9/udp"}
    listed = {"Ports": "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp, 9/udp"}
    assert to_ports(container(listed)) == {"8080->80/tcp", "9/udp"}
    local = {
        "Ports": [{"IP": "127.0.0.1", "PrivatePort": 80, "PublicPort": 81, "Type": "tcp"}]
    }
    assert to_ports(container(local)) == {"127.0.0.1:81->80/tcp"}
    assert to_ports(container({})) == set()


MOUNTS = [
    (
        {"Type": "volume", "Name": "pg", "Destination": "/x", "RW": True},
        "named-volume",
        True,
    ),
    (
        {"Type": "volume", "Name": "pg", "Destination": "/x", "RW": False},
        "named-volume",
        False,
    ),
    (
        {"Type": "volume", "Name": "c", "Destination": "/etc/app", "RW": True},
        "config",
        False,
    ),
    (
        {"Type": "volume", "Name": "a" * 64, "Destination": "/x", "RW": True},
        "anonymous-volume",
        None,
    ),
    (
        {"Type": "volume", "Name": "a" * 64, "Destination": "/var/lib/mysql", "RW": True},
        "anonymous-volume",
        True,
    ),
    (
        {"Type": "bind", "Source": "/srv/x", "Destination": "/data", "RW": True},
        "host-path",
        True,
    ),
    (
        {"Type": "bind", "Source": "/srv/x", "Destination": "/x", "RW": True},
        "host-path",
        None,
    ),
    (
        {
            "Type": "bind",
            "Source": "/srv/x",
            "Destination": "/app/orders.sqlite3",
            "RW": True,
        },
        "host-path",
        True,
    ),
    (
        {"Type": "bind", "Source": "/srv/app.yml", "Destination": "/x", "RW": True},
        "config",
        False,
    ),
    (
        {"Type": "bind", "Source": "/run/docker.sock", "Destination": "/x", "RW": True},
        "socket",
        False,
    ),
    ({"Type": "tmpfs", "Destination": "/data", "RW": True}, "tmpfs", False),
]


@pytest.mark.parametrize(("mount", "kind", "data"), MOUNTS)
def test_mounts(mount, kind, data):
    assert source_class(to_mount(mount)) == kind
    assert is_data(kind, mount["Destination"], mount["RW"]) is data


def test_images_pulled_tagged_dangling_and_layers():
    digest = "sha256:" + "d" * 64
    images = [
        {
            "Id": "sha256:" + "1" * 64,
            "RepoTags": ["nginx:1.27", "nginx:latest"],
            "RepoDigests": [f"nginx@{digest}"],
            "Created": 1,
            "ParentId": "sha256:" + "2" * 64,
        },
        {"Id": "sha256:" + "2" * 64, "RepoTags": None, "Created": 1767225600},
        {
            "Id": "sha256:" + "3" * 64,
            "RepoTags": ["<none>:<none>"],
            "Created": 1767225600,
        },
        {"Id": "sha256:" + "4" * 64, "RepoTags": ["a:1"], "Created": 1767225600},
    ]
    containers = [{"Id": "c", "ImageID": "sha256:" + "4" * 64, "State": "running"}]
    payloads = EngineData(images=images, containers=containers, seen_at=datetime.now(UTC))
    index = ImageIndex(images)
    rows = to_images(payloads, containers_of(payloads), "h")
    by_id = {row["image_id"][7]: row for row in rows}
    assert set(by_id) == {"1", "3", "4"}  # the second is a layer of the first
    assert (by_id["1"]["repository"], by_id["1"]["digest"]) == ("library/nginx", digest)
    assert by_id["1"]["tags"] == "1.27;latest" and by_id["1"]["created_at"] is None
    assert by_id["3"]["dangling"] and by_id["3"]["repository"] == "<none>"
    # how old is the first?
    assert [by_id[i]["reclaimable"] for i in "134"] == [None, True, False]
    assert index.digest("sha256:" + "1" * 64, parse_image("nginx")) == digest
    unknown = to_images(EngineData(images=images), [], "h")
    assert {row["containers_n"] for row in unknown} == {None}


def test_health_checks_are_all_or_not():
    raw = json.loads((FIXTURES / "cli/inspect.json").read_text())
    checked = {
        keep_inspected(c)[0]["Name"]: keep_inspected(c)[0]["health_checked"] for c in raw
    }
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
        "Id": "c" * 64,
        "Name": "/c",
        "Image": "sha256:" + "1" * 64,
        "Mounts": [],
        "Config": {
            "Image": "team/shop:1",
            "ExposedPorts": {"8080/tcp": {}},
            "Labels": {},
        },
        "HostConfig": {"NetworkMode": "bridge"},
        "State": {"Status": "running"},
    }
    for name, value in changes.items():
        part = next(
            (raw[p] for p in ("Config", "HostConfig", "State") if name in PARTS[p]), raw
        )
        part[name] = value
    payloads = EngineData()
    payloads.take("inspect", [raw])
    (row,) = to_batch(payloads, "h").rows["services"]
    return row


PARTS = {
    "Config": ("Image", "ExposedPorts", "Labels", "Healthcheck"),
    "HostConfig": ("NetworkMode",),
    "State": ("Status",),
}
DATA = {"Type": "bind", "Source": "/srv/x", "Destination": "/data", "RW": True}
SERVICES = [
    ({}, "web", False),
    ({"ExposedPorts": {}}, "worker", False),
    ({"ExposedPorts": {}, "NetworkMode": "host"}, None, False),  # any port may be open
    ({"Mounts": [DATA]}, None, True),
    ({"Mounts": [DATA | {"RW": False}]}, "web", False),
    ({"Mounts": [DATA | {"Destination": "/x"}]}, None, None),  # only a person can tell
    ({"Image": "postgres:16"}, None, True),
    ({"Image": "team/percona-server:8"}, None, True),
    ({"Image": "redis:7"}, None, None),  # a cache, or a store
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
    unknown = known | dict.fromkeys(
        ("kind", "stateful", "secrets_in_image", "health_checked")
    )
    (row,) = merge_services([known, known])
    assert (row["kind"], row["stateful"], row["secrets_in_image"]) == (
        "web",
        False,
        False,
    )
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
        ({}, False),
        ({"Healthcheck": CHECK}, True),
        ({"Healthcheck": {"Test": ["NONE"]}}, False),
        ({"Status": "exited"}, None),
        ({"Labels": ECS}, None),
        ({"Labels": KUBERNETES}, None),
        ({"Labels": SWARM}, None),
        ({"Labels": ECS, "Healthcheck": CHECK}, True),
    ],
)
def test_nobody_checks_only_what_runs_and_no_orchestrator_placed(changes, checked):
    assert service(**changes)["health_checked"] is checked


SYSTEMD = {"PODMAN_SYSTEMD_UNIT": "shop.service"}


@pytest.mark.parametrize("labels", [{}, ECS, KUBERNETES, SWARM, SYSTEMD])
def test_the_engine_does_not_decide_what_an_orchestrator_starts_again(labels):
    config = {"Image": "team/shop:1", "Labels": labels}
    for policy, wanted in (({}, "no"), ({"RestartPolicy": {"Name": "always"}}, "always")):
        payloads = EngineData()
        inspected = {"Id": "c" * 64, "HostConfig": policy, "Config": config}
        payloads.take("inspect", [inspected])
        (row,) = to_batch(payloads, "h").rows["workloads"]
        assert row["restart_policy"] == (None if labels else wanted)


def test_addresses_of_the_environment_are_needs():
    def inspected(name: str, env: list[str]) -> dict:
        labels = {
            "com.docker.compose.service": name,
            "com.docker.compose.project": "shop",
        }
        return {
            "Id": name * 12,
            "Name": f"/shop-{name}-1",
            "HostConfig": {},
            "Config": {"Image": f"team/{name}:1", "Labels": labels, "Env": env},
        }

    env = [
        "QUEUE_URL=amqp://u:hunter2@Mail:5672/x",
        "API_HOST=shop-api-1",
        "SMTP_HOST=elsewhere",
    ]
    payloads = EngineData()
    raw = [inspected("web", env), inspected("mail", []), inspected("api", [])]
    payloads.take("inspect", raw)
    rows = to_batch(payloads, "h").rows["dependencies"]
    assert [(r["src"].name, r["dst"].name, r["kind"], r["evidence"]) for r in rows] == [
        ("web", "api", "call", "environment"),
        ("web", "mail", "queue", "environment"),
        ("web", "elsewhere", "call", "environment"),  # the joining may know it
    ]
    assert CANARY not in repr(payloads)


def test_podman_is_podman():
    version = {
        "Version": "4.3.1",
        "Components": [{"Name": "Podman Engine", "Version": "4.3.1"}],
    }
    assert keep_version(version)["Components"][0]["Name"] == "Podman Engine"
