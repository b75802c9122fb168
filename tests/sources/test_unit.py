"""The same declaration has the same answer on every platform; and one place decides it."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import assess
from assess.image_ref import parse_image
from assess.sources.base import Batch, Name
from assess.sources.compose import ComposeSource
from assess.sources.deadline import Deadline
from assess.sources.docker.payload import EngineData, keep_inspected
from assess.sources.docker.rows import to_batch as docker
from assess.sources.ecs.rows import Payloads as EcsPayloads
from assess.sources.ecs.rows import to_batch as ecs
from assess.sources.edges import distinct
from assess.sources.kubernetes.rows import to_batch as kubernetes
from assess.sources.marathon.rows import to_batch as marathon
from assess.sources.nomad import to_batch as nomad
from assess.sources.replica import MAX_DECLARED, declared_rows, replica_rows
from assess.sources.swarm.rows import to_batch as swarm
from assess.sources.unit import (
    Unit,
    merge_services,
    mount_rows,
    runs_as_root,
    sees_engine_socket,
    service_row,
    share,
    ships_logs,
    workload_row,
)
from assess.sources.volumes import Mount, is_engine_socket, split_volume

IMAGE = "registry.example.com/shop/api:1"
STORE = "postgres:16"


# ---- one declaration, in the words of each platform: a service `api`, and a service `db` ----


def of_docker(source: str, user: str, env: dict, tmp_path: Path) -> Batch:
    def container(name: str, image: str, **config) -> dict:
        labels = {
            "com.docker.compose.service": name,
            "com.docker.compose.project": "shop",
        }
        mounts = config.pop("Mounts", [])
        return {
            "Id": name * 20,
            "Name": f"/{name}",
            "State": {"Status": "running"},
            "Config": {"Image": image, "Labels": labels, **config},
            "HostConfig": {"LogConfig": {"Type": "gelf"}},
            "Mounts": mounts,
        }

    mount = {"Type": "bind", "Source": source, "Destination": "/x", "RW": False}
    values = [f"{name}={value}" for name, value in env.items()]
    api = container("api", IMAGE, User=user, Env=values, Mounts=[mount] if source else [])
    inspected = {
        i["Id"][:12]: keep_inspected(i)[0] for i in (api, container("db", STORE))
    }
    listed = [{"Id": key, "State": "running"} for key in inspected]
    return docker(EngineData(containers=listed, inspected=inspected), "host")


def of_swarm(source: str, user: str, env: dict, tmp_path: Path) -> Batch:
    def service(name: str, **container) -> dict:
        labels = {"com.docker.stack.namespace": "shop"}
        task = {"ContainerSpec": container, "LogDriver": {"Name": "gelf"}}
        spec = {"Name": f"shop_{name}", "Labels": labels, "TaskTemplate": task}
        return {"ID": name, "Version": {"Index": 1}, "Spec": spec}

    mount = {"Type": "bind", "Source": source, "Target": "/x", "ReadOnly": True}
    values = [f"{name}={value}" for name, value in env.items()]
    mounts = [mount] if source else []
    api = service("api", Image=IMAGE, User=user, Env=values, Mounts=mounts)
    tasks = [{"ID": "t", "ServiceID": "api", "Status": {"State": "running"}}]
    found = {"services": [api, service("db", Image=STORE)], "tasks": tasks}
    return swarm(found, "cluster")


def of_nomad(source: str, user: str, env: dict, tmp_path: Path) -> Batch:
    def job(name: str, **task) -> dict:
        main = {"Name": name, "Driver": "docker", **task}
        services = [{"Name": name}]
        groups = [{"Name": name, "Tasks": [main], "Services": services}]
        return {"ID": name, "Namespace": "shop", "TaskGroups": groups}

    mount = {"type": "bind", "source": source, "target": "/x", "readonly": True}
    config = {"image": IMAGE, "mounts": [mount] if source else []}
    config["logging"] = {"type": "gelf"}
    jobs = [
        job("api", Config=config, User=user, Env=env),
        job("db", Config={"image": STORE}),
    ]
    allocation = {"ID": "1", "JobID": "api", "Namespace": "shop", "TaskGroup": "api"}
    found = {"jobs": jobs, "allocations": [allocation | {"ClientStatus": "running"}]}
    return nomad(found, "cluster")


def of_marathon(source: str, user: str, env: dict, tmp_path: Path) -> Batch:
    volume = {"hostPath": source, "containerPath": "/x", "mode": "RO"}
    parameters = [{"key": "user", "value": user}, {"key": "log-driver", "value": "gelf"}]
    container = {
        "docker": {"image": IMAGE, "parameters": parameters},
        "volumes": [volume] if source else [],
    }
    tasks = [{"id": "api.1", "appId": "/shop/api", "state": "TASK_RUNNING"}]
    api = {"id": "/shop/api", "container": container, "env": env, "tasks": tasks}
    db = {"id": "/shop/db", "container": {"docker": {"image": STORE}}}
    return marathon({"apps": [api, db]}, "cluster")


def of_kubernetes(source: str, user: str, env: dict, tmp_path: Path) -> Batch:
    def deployment(name: str, spec: dict) -> dict:
        labels = {"app": name}
        template = {"metadata": {"labels": labels}, "spec": spec}
        meta = {"namespace": "shop", "name": name}
        return {"metadata": meta, "spec": {"template": template}}

    main: dict = {"name": "api", "image": IMAGE}
    main["env"] = [{"name": name, "value": value} for name, value in env.items()]
    number = user.partition(":")[0]  # Kubernetes takes numbers only
    if number.isdigit():
        main["securityContext"] = {"runAsUser": int(number)}
    elif user:
        main["securityContext"] = {"runAsNonRoot": number != "root"} | (
            {"runAsUser": 0} if number == "root" else {}
        )
    spec: dict = {"containers": [main]}
    if source:
        main["volumeMounts"] = [{"name": "v", "mountPath": "/x", "readOnly": True}]
        spec["volumes"] = [{"name": "v", "hostPath": {"path": source}}]
    store = {"containers": [{"name": "db", "image": STORE}]}
    owner = {"kind": "Deployment", "name": "api", "controller": True}
    meta = {"namespace": "shop", "name": "api-0", "ownerReferences": [owner]}
    pod = {"metadata": meta, "spec": spec}
    db = {"metadata": {"namespace": "shop", "name": "db"}}
    found = {
        "deployments": [deployment("api", spec), deployment("db", store)],
        "services": [db | {"spec": {"selector": {"app": "db"}}}],
        "pods": [pod | {"status": {"phase": "Running"}}],
    }
    return kubernetes(found, "cluster")


def of_compose(source: str, user: str, env: dict, tmp_path: Path) -> Batch:
    mount = {"type": "bind", "source": source, "target": "/x", "read_only": True}
    api = {"image": IMAGE, "environment": env, "logging": {"driver": "gelf"}}
    api |= {"user": user} if user else {}
    api |= {"volumes": [mount]} if source else {}
    project = {"name": "shop", "services": {"api": api, "db": {"image": STORE}}}
    (tmp_path / "compose.yaml").write_text(json.dumps(project))
    return ComposeSource().collect({"path": "compose.yaml"}, tmp_path, Deadline(10))


def of_ecs(source: str, user: str, env: dict, tmp_path: Path) -> Batch:
    place = "arn:aws:ecs:eu-west-1:123456789012"

    def both(name: str, **container) -> tuple[dict, dict]:
        definition = f"{place}:task-definition/{name}:1"
        service = {
            "serviceArn": f"{place}:service/shop/{name}",
            "serviceName": name,
            "clusterArn": f"{place}:cluster/shop",
            "taskDefinition": definition,
        }
        return service, {
            "taskDefinitionArn": definition,
            "family": name,
            "volumes": [{"name": "v", "host": {"sourcePath": source}}],
            "containerDefinitions": [{"name": name, **container}],
        }

    point = {"sourceVolume": "v", "containerPath": "/x", "readOnly": True}
    values = [{"name": name, "value": value} for name, value in env.items()]
    logs = {"logDriver": "gelf"}
    api = {"image": IMAGE, "environment": values, "logConfiguration": logs, "user": user}
    api_service, api_definition = both(
        "api", mountPoints=[point] if source else [], **api
    )
    db_service, db_definition = both("db", image=STORE)
    task = {
        "taskArn": f"{place}:task/shop/1",
        "clusterArn": f"{place}:cluster/shop",
        "taskDefinitionArn": api_definition["taskDefinitionArn"],
        "group": "service:api",
        "lastStatus": "RUNNING",
    }
    services = [api_service, db_service]
    definitions = [api_definition, db_definition]
    return ecs(EcsPayloads(services=services, tasks=[task], definitions=definitions))


DATABASES = {  # as each platform calls the service `db`
    of_docker: "db",
    of_swarm: "db",
    of_nomad: "db.service.consul",
    of_marathon: "db.shop.marathon.mesos",
    of_kubernetes: "db",
    of_compose: "db",
    of_ecs: "db.shop.local",
}
platforms = pytest.mark.parametrize("declare", DATABASES)


def workload(batch: Batch) -> dict:
    (row,) = (r for r in batch.rows["workloads"] if parse_image(IMAGE).tag == r["tag"])
    return row


SOURCES = [
    ("/var/run/docker.sock", True),
    ("/var/run/docker.sock/", True),
    ("/run/docker.sock", True),
    ("/var/run/../run/docker.sock", True),
    ("/run/containerd/containerd.sock", True),
    ("/run/k3s/containerd/containerd.sock", True),
    ("/var/run/crio/crio.sock", True),
    ("/run/podman/podman.sock", True),
    ("/run/user/1000/podman/podman.sock", True),
    ("/home/me/.docker/run/docker.sock", True),
    ("/var/run/cri-dockerd.sock", True),
    ("/", True),
    ("//", True),
    ("/run", True),
    ("/var/run", True),
    ("/var/run/", True),
    ("/var/run/../run", True),
    ("/var/lib/../run", True),
    ("/run/containerd", True),
    ("/var/run/docker", True),
    ("/var/run/crio", True),
    ("/run/user/1000", True),
    ("//./pipe/docker_engine", True),
    (r"\\.\pipe\docker_engine", True),
    ("//./pipe/containerd-containerd", True),
    ("/var/run/mysqld/mysqld.sock", False),
    ("/run/postgresql", False),
    ("/run/secrets", False),
    ("/run/user/1000/bus", False),
    ("/srv/docker.sock.md", False),
    ("/var", False),
    ("/var/runner", False),
    ("/srv/data", False),
    ("//./pipe/mysql", False),
    ("", False),
]


@platforms
@pytest.mark.parametrize(("source", "expected"), SOURCES)
def test_every_platform_sees_the_sockets_of_engines(declare, source, expected, tmp_path):
    row = workload(declare(source, "", {}, tmp_path))
    assert row["docker_sock_mounted"] is expected


USERS = [
    ("0", True),
    ("00", True),
    ("root", True),
    ("0:0", True),
    ("root:root", True),
    ("root:wheel", True),
    ("0:1000", True),
    ("1000", False),
    ("1000:0", False),
    ("app", False),
    ("app:root", False),
]


@platforms
@pytest.mark.parametrize(("user", "expected"), USERS)
def test_every_platform_knows_root(declare, user, expected, tmp_path):
    assert workload(declare("", user, {}, tmp_path))["user_root"] is expected


@platforms
def test_without_a_user_only_an_inspection_knows_what_the_image_says(declare, tmp_path):
    root = workload(declare("", "", {}, tmp_path))["user_root"]
    assert root is (True if declare is of_docker else None)


@platforms
def test_every_platform_reads_addresses_and_counts_secrets(declare, tmp_path):
    env = {"DATABASE_URL": f"postgres://u:hunter2@{DATABASES[declare]}/shop", "MODE": "x"}
    batch = declare("", "", env, tmp_path)
    rows = batch.rows["dependencies"]
    edges = [(r["src"].name, r["dst"], r["kind"], r["evidence"]) for r in rows]
    ((src, dst, *words),) = edges
    assert isinstance(dst, Name)
    assert src.endswith("api") and dst.name.endswith("db")
    assert words == ["data", "environment"]
    row = workload(batch)
    assert (row["env_names_n"], row["secret_like_env_n"]) == (2, 1)
    assert row["log_driver"] == (None if declare is of_kubernetes else "gelf")
    assert "hunter2" not in repr(batch)


APIS = [
    ("1.44", "1.44"),
    ("1.4", "1.4"),  # what YAML makes of 1.40
    ("v1.24", "v1.24"),
    ("", None),
    ("hunter2", "unknown"),
    ("1.44 hunter2", "unknown"),
    ("1.44.1", "unknown"),
]


@platforms
@pytest.mark.parametrize(("value", "expected"), APIS)
def test_every_platform_reads_the_version_that_a_client_is_set_to(
    declare, value, expected, tmp_path, monkeypatch
):
    client = "registry.example.com/containrrr/watchtower:1.7.1"
    monkeypatch.setitem(globals(), "IMAGE", client)
    env = {"DOCKER_API_VERSION": value}
    batch = declare("/var/run/docker.sock", "", env, tmp_path)
    row = workload(batch)
    assert (row["client_api_version"], row["docker_sock_mounted"]) == (expected, True)
    assert "hunter2" not in repr(batch)


# ---- the noun itself ----


@given(st.text())
def test_of_what_a_variable_holds_only_a_version_passes(value):
    unit = Unit((), "docker", "watchtower:1.7.1", (("DOCKER_API_VERSION", value),))
    found = workload_row(unit)["client_api_version"]
    assert found in (None, "unknown") or re.fullmatch(r"v?1\.\d{1,3}", found)


def test_a_named_volume_is_no_socket_whatever_its_name():
    path = "/var/run/docker.sock"
    assert not sees_engine_socket([Mount("/x", "volume", source=path, volume="run")])
    assert not sees_engine_socket([Mount("/x", "bind", "run", source_class="alloc-dir")])
    assert sees_engine_socket([Mount("/x", "bind", "/srv"), Mount("/y", "bind", path)])


@given(st.sampled_from([s for s, _ in SOURCES if s.startswith("/")]), st.integers(0, 3))
def test_slashes_change_no_answer(source, extra):
    assert is_engine_socket(source + "/" * extra) == is_engine_socket(source)


@given(st.text())
def test_any_text_is_a_user_and_a_source(text):
    assert runs_as_root(text) in (True, False, None)
    assert is_engine_socket(text) in (True, False)
    assert runs_as_root(f"root:{text}") is True


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/srv:/x", Mount("/x", "bind", "/srv")),
        ("/srv:/x:ro,z", Mount("/x", "bind", "/srv", is_writable=False)),
        ("./conf:/x", Mount("/x", "bind", "./conf")),
        ("data:/x", Mount("/x", "volume", volume="data")),
        (r"C:\data:C:\x:ro", Mount(r"C:\x", "bind", r"C:\data", is_writable=False)),
        ("//./pipe/docker_engine:/x", Mount("/x", "bind", "//./pipe/docker_engine")),
        ("/x", None),
        ("", None),
    ],
)
def test_volume_options(text, expected):
    assert split_volume(text) == expected


def test_rows_of_a_unit():
    data = Mount("/var/lib/x", "volume", volume="x", driver="local")
    unit = Unit(
        names=(Name("x", "label", 1.0),),
        platform="swarm",
        image="shop/x:2",
        environment=(("A_TOKEN", "hunter2"), ("B", "")),
        ports=("80/tcp", "81->80/tcp", "80/tcp"),
        user="app",
        mounts=(data, Mount("", "bind", "/"), Mount("/var/lib/x", "bind", "/y")),
        log_driver="fluentd",
    )
    row = workload_row(unit)
    assert row["ports"] == "80/tcp;81->80/tcp"
    assert row["tag"] == "2" and row["user_root"] is False
    assert row["docker_sock_mounted"] is True
    assert (row["env_names_n"], row["secret_like_env_n"]) == (2, 1)
    service = service_row(unit)
    assert (service["stateful"], service["logs_exported"]) == (True, True)
    assert service["secrets_in_image"] is True and "hunter2" not in repr((row, service))
    (mount,) = mount_rows(unit.mounts, "w", "h")  # one at a path, none without
    assert mount["volume_name"] == "x" and mount["data_like"] is True


def test_who_shares_a_mount():
    local = Mount("/x", "volume", volume="v")
    remote = Mount("/y", "volume", volume="r", is_remote=True)
    scratch = Mount("/z", "bind", "z", source_class="alloc-dir")
    mounts = [local, remote, scratch]
    rows = [r for host in ("a", "b") for r in mount_rows(mounts, f"w{host}", host)]
    rows += mount_rows([local], "wc", "b")
    share(rows)
    assert [row["shared_with_n"] for row in rows] == [0, 1, 0, 1, 1, 0, 1]


def test_edges_once_each_and_none_to_oneself():
    own = Name("a", "label", 1.0, "n")
    other = Name("b", "label", 1.0, "n")
    alias = Name("a", "nomad-job", 0.95, "n")
    rows = [
        {"src": own, "dst": d, "kind": "call", "evidence": "e"} for d in (other, alias)
    ]
    assert distinct([*rows, *rows]) == rows[:1]


@pytest.mark.parametrize(
    ("driver", "expected"),
    [
        ("gelf", True),
        ("awsfirelens", True),
        ("loki", True),
        ("json-file", None),
        ("syslog", None),
        ("etwlogs", None),  # of Windows itself
    ],
)
def test_log_drivers(driver, expected):
    assert ships_logs(driver) is expected
    assert ships_logs(None) is None


def test_an_unknown_of_one_container_is_one_of_their_service():
    known = {"names": (Name("x", "label", 1.0),), "platform": "docker", "kind": "worker"}
    known |= {"stateful": False, "logs_exported": None, "secrets_in_image": False}
    rows = [
        known | {"health_checked": h, "stateful": s} for h, s in ((1, False), (0, None))
    ]
    (row,) = merge_services(rows)
    assert (row["stateful"], row["health_checked"], row["kind"]) == (None, False, None)


# ---- one home for each rule ----


RULES = {
    "sockets of engines": r"(docker|podman|containerd|crio)\\?\.sock\b",
    "root": r"[\"']root[\"']",
    "users": r"user.*partition\(\":\"\)",
    "log shippers": r"awslogs|logentries",
    "data directories": r"jenkins_home|couchdb/data",
    "stores": r"aerospike|meilisearch",
    "kinds of addresses in rows": r"\bkind_of\(",
    "secrets": r"keep_env\([^)]*\)\[\"secret_like\"\]",
}
OTHERS = {  # who may name them for another reason
    # the class of a path; a part of OCI's config
    "root": ("volumes.py", "crictl/__init__.py"),
    "sockets of engines": (
        "volumes.py",
        "compose/forms.py",  # a key of Compose asks for it
        "docker/client.py",
        "docker/engine.py",
        "docker/source.py",
    ),
    "kinds of addresses in rows": (
        "edges/__init__.py",
        "connections/edges.py",
        "connections/observed.py",
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_only_unit_decides(rule):
    root = Path(assess.__file__).parent / "sources"
    homes = {
        file.relative_to(root).as_posix()
        for file in root.rglob("*.py")
        if re.search(RULES[rule], file.read_text())
    }
    assert homes - {"unit.py", *OTHERS.get(rule, ())} == set()


def test_a_replica_is_one_row_for_each_container_and_the_first_has_the_risks_of_all():
    data = Mount("/var/lib/postgresql/data", "volume", volume="data")
    socket = Mount("/s", "bind", source="/var/run/docker.sock")
    init = Unit((), "nomad", "busybox", container="wait", role="init", mounts=(data,))
    agent = Unit(
        (),
        "nomad",
        "vector:latest",
        environment=(("TOKEN", "x"),),
        mounts=(socket,),
        privileged=True,
        container="agent",
        role="sidecar",
    )
    main = Unit(
        (), "nomad", f"{IMAGE}.4.2", privileged=False, role="main", beside=(init, agent)
    )
    workloads, mounts = replica_rows(main, {"workload_id": "c/a", "host_id": "h"})
    assert [w["workload_id"] for w in workloads] == ["c/a", "c/a/wait", "c/a/agent"]
    assert [w["container_role"] for w in workloads] == ["main", "init", "sidecar"]
    assert [w["tag_floating"] for w in workloads[1:]] == [True, True]
    assert [w["privileged"] for w in workloads] == [True, None, True]
    assert [w["docker_sock_mounted"] for w in workloads] == [True, False, True]
    assert {w["host_id"] for w in workloads} == {"h"}
    assert [m["workload_id"] for m in mounts] == ["c/a/wait", "c/a/agent"]
    row = service_row(main)
    assert row["stateful"] is False  # what an init container mounts is not its own
    assert row["secrets_in_image"] is True


def test_a_store_beside_the_app_makes_it_stateful_and_one_that_only_starts_it_does_not():
    data = Mount("/data", "volume", volume="data")
    beside = Unit((), "ecs", STORE, mounts=(data,), container="db", role="sidecar")
    first = Unit((), "ecs", "busybox", mounts=(data,), container="init", role="init")
    app = Unit((), "ecs", IMAGE)
    assert service_row(app)["stateful"] is False
    assert service_row(replace(app, beside=(beside,)))["stateful"] is True
    assert service_row(replace(app, beside=(first,)))["stateful"] is False


def test_what_is_declared_has_as_many_replicas_as_it_says_within_reason():
    unit = Unit((Name("web", "label", 1.0),), "nomad", IMAGE, role="main")
    workloads, _ = declared_rows(unit, "c/web", 2, {"cluster": "c"})
    assert [w["workload_id"] for w in workloads] == ["c/web/1", "c/web/2"]
    assert {(w["state"], w["inspect_status"], w["cluster"]) for w in workloads} == {
        ("declared", "declared", "c")
    }
    counts = {None: 1, 0: 0, 1e12: MAX_DECLARED}
    for count, expected in counts.items():
        assert len(declared_rows(unit, "c/web", count, {})[0]) == expected


@pytest.mark.parametrize(
    ("images", "stateful"),
    [
        (("acme/shop:1", "acme/metrics-agent:1"), False),
        (("acme/shop:1", "docker.io/bitnami/postgresql:16"), True),
        (("acme/shop:1", "acme/postgres-exporter:1"), False),
        (("acme/shop:1", "redis:7"), None),  # a cache, or a store
        (("acme/shop:1", "acme/postgres-shop:1"), None),
    ],
)
def test_a_store_beside_the_application_makes_the_group_stateful(images, stateful):
    main, *others = (Unit(names=(), platform="nomad", image=image) for image in images)
    assert service_row(replace(main, beside=tuple(others)))["stateful"] is stateful


@pytest.mark.parametrize(
    ("name", "image", "stateful"),
    [
        ("kafka", "acme/demo:2.0-kafka", None),  # one repository for all images
        ("orders-db", "acme/shop-images:1", None),
        ("orders", "acme/shop-images:1", False),
        ("kafka", "provectuslabs/kafka-ui:1", False),  # only speaks to one
    ],
)
def test_the_name_of_a_store_leaves_open_whether_it_keeps_data(name, image, stateful):
    unit = Unit(names=(Name(name, "label", 1.0),), platform="swarm", image=image)
    assert service_row(unit)["stateful"] is stateful


@pytest.mark.parametrize(
    ("target", "is_data"),
    [
        ("/app/api/storage", True),
        ("/usr/src/app/upload/", True),
        ("/opt/acme/data", True),
        ("/app/src", None),
        ("/app/storage-settings", None),
        ("/etc/acme/storage", False),
    ],
)
def test_directories_of_applications_that_keep_data(target, is_data):
    (row,) = mount_rows([Mount(target, "bind", "/srv/x")], "w", "h")
    assert row["data_like"] is is_data


@pytest.mark.parametrize(
    ("target", "is_data"),
    [
        ("/srv/app", True),
        ("/srv/app/logs", None),
        ("/home/app/.cache/", None),
        ("/tmp/app", None),
        ("/srv/catalogs", True),
        ("/var/lib/app/cache", True),
        ("/data/tmp", True),
    ],
)
def test_a_volume_for_logs_or_a_cache_leaves_open_whether_it_is_data(target, is_data):
    (row,) = mount_rows([Mount(target, "volume", volume="x")], "w", "h")
    assert row["data_like"] is is_data


def test_an_image_that_is_mounted_is_no_storage_of_a_host():
    (row,) = mount_rows([Mount("/models", "image", "busybox:1")], "w", "h")
    columns = ("source_class", "data_like", "volume_id", "shared_with_n")
    share([row])
    assert [row[column] for column in columns] == ["config", False, None, 0]
