"""The marathon source: on dumps in the documented form, and over HTTP from servers that replay."""

import json
from pathlib import Path

import pandas as pd
import pytest
from batches import coverage, table
from replay import replaying
from wild import fit, mutated, whatever_comes

from assess.sources.base import Batch
from assess.sources.deadline import Deadline
from assess.sources.marathon import MarathonSource
from assess.sources.values import as_list, dicts

FIXTURES = Path(__file__).parents[1] / "fixtures/marathon"
CANARY = "hunter2"
DUMPS = {f.stem: json.loads(f.read_text()) for f in FIXTURES.glob("*.json")}


def collect(base: Path = FIXTURES.parent, **options) -> Batch:
    return MarathonSource().collect(options, base, Deadline(20))


@pytest.fixture(scope="module")
def dumped() -> Batch:
    return collect(path="marathon")


def test_every_frame_fits_and_no_secret_is_in_any(dumped):
    for name in MarathonSource.fills:
        assert len(table(dumped, name))
    assert sum(json.dumps(d).count(CANARY) for d in DUMPS.values()) > 15
    assert CANARY not in repr(dumped)
    assert coverage(dumped)["apps"]["redacted_n"] > 10


def test_each_app_is_a_service(dumped):
    columns = (
        "kind",
        "stateful",
        "min_healthy_pct",
        "health_checked",
        "public",
        "logs_exported",
    )
    found = {
        r["names"][0].name: tuple(r[c] for c in columns) for r in dumped.rows["services"]
    }
    assert found == {
        "shop/web": ("web", False, 50.0, True, True, True),
        "shop/data/postgres": (None, True, 100.0, False, None, None),
        "billing/ledger": (None, None, 100.0, False, None, None),
        "shop/paused": ("worker", False, 100.0, False, None, None),  # without any task
    }


def test_tasks_of_agents_of_one_name(dumped):
    workloads = table(dumped, "workloads")
    assert workloads["workload_id"].is_unique and len(workloads) == 6
    hosts = table(dumped, "hosts").set_index("host_id")
    assert set(hosts["hostname"]) == {"localhost"} and len(hosts) == 3
    assert sorted(hosts["az"]) == ["rack-0", "rack-1", "rack-2"]
    assert hosts["state"].tolist() == ["running", "running", "inactive"]
    web = workloads[workloads["repository"].eq("shop/web")]
    assert set(web["host_id"]) == set(hosts.index)
    assert web["health"].tolist() == ["healthy", "unhealthy", "healthy"]
    assert (
        web["log_driver"].eq("gelf").all()
        and web["memory_limit_bytes"].eq(512 * 2**20).all()
    )
    assert (web["env_names_n"].iloc[0], web["secret_like_env_n"].iloc[0]) == (3, 2)
    kinds = {
        n.partition(".")[0]: k
        for n, k in zip(workloads["name"], workloads["source_kind"], strict=True)
    }
    assert kinds["billing_ledger"] == "process"
    other = [r for r in dumped.rows["workloads"] if r["names"][0].name == "nightly"]
    assert other[0]["inspect_status"] == "list"  # of a framework beside Marathon


def test_agents_that_no_list_has_stay_apart_too(tmp_path):
    (tmp_path / "apps.json").write_text(json.dumps(DUMPS["apps"]))
    batch = collect(tmp_path, path="apps.json")
    assert (
        len(table(batch, "hosts")) == 3 and coverage(batch)["slaves"]["status"] == "empty"
    )


def test_a_persistent_volume_is_where_it_is_put(dumped):
    mounts = {m["destination"]: m for m in dumped.rows["mounts"]}
    assert set(mounts) == {"/etc/web", "/var/lib/postgresql/data"}
    data = mounts["/var/lib/postgresql/data"]
    assert (data["type"], data["volume_name"], data["data_like"]) == (
        "volume",
        "pgdata",
        True,
    )


def test_declared_dependencies_of_apps_and_groups(dumped):
    edges = {
        (e["src"].name, getattr(e["dst"], "name", e["dst"]), e["kind"])
        for e in dumped.rows["dependencies"]
    }
    assert edges == {
        ("shop/web", "shop/data/postgres", "declared"),  # by its group
        ("shop/web", "billing/ledger", "declared"),  # by a relative path
        ("shop/web", "ext:db.example.com", "data"),
    }


def test_what_happened(dumped):
    rows = [r for r in dumped.rows["activities"] if r["names"][0].name == "shop/web"]
    assert [r["kind"] for r in rows] == ["deploy", "terminate", "launch"]
    assert (rows[2]["started_at"] - rows[1]["started_at"]).total_seconds() == 30
    states = {r["names"][0].name: r.get("status") for r in dumped.rows["activities"]}
    assert states["shop/paused"] == "running"  # a deployment that goes on


@pytest.mark.parametrize("content", ['{"a": 1}', "<html>", "", "[1, 2]"])
def test_what_is_no_dump_is_told(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    batch = collect(tmp_path, path="x.json")
    assert [row["status"] for row in batch.coverage] == [
        "parse_error"
    ] and batch.coverage[0]["hint"]


@whatever_comes
def test_no_payload_breaks_it(seeds):
    fit([changed(seed) for seed in seeds])


def changed(seed):
    source, found = MarathonSource(), {}
    for dump in DUMPS.values():
        for document in dicts([mutated(d, seed + len(found)) for d in as_list(dump)]):
            for kind, items in source.sort(document):
                found.setdefault(kind, []).extend(i for i in items if isinstance(i, dict))
    return source.to_batch(found, "c")


def marathon(path, query):
    name = path.rpartition("/")[2]
    if name == "apps":
        assert "apps.counts" in query["embed"]
    return DUMPS[name]


def ask(tmp_path, first=marathon, second=None, method="collect"):
    (tmp_path / "token").write_text("the-token\n")
    with replaying(first) as one, replaying(second or mesos) as two:
        options = {
            "endpoint": one.url,
            "mesos_endpoint": two.url,
            "token_file": "token",
            "cluster": "marathon",
        }
        batch = getattr(MarathonSource(), method)(options, tmp_path, Deadline(30))
    return batch, one, two


def mesos(path, query):
    if path == "/master/slaves":
        return DUMPS["slaves"]
    start, limit = int(query["offset"]), int(query["limit"])
    return {"tasks": DUMPS["tasks"]["tasks"][start : start + limit]}


def test_the_apis_give_what_the_dumps_give(tmp_path, dumped):
    batch, one, two = ask(tmp_path)
    for frame in MarathonSource.fills:
        rows = [
            [{k: v for k, v in r.items() if k != "source_ref"} for r in b.rows[frame]]
            for b in (dumped, batch)
        ]
        assert rows[0] == rows[1]
    assert {row["status"] for row in batch.coverage} == {"ok"}
    assert len({row["scope"] for row in batch.coverage}) == 2
    asked = [headers["Authorization"] for s in (one, two) for _, _, headers in s.asked]
    assert set(asked) == {"token=the-token"}
    assert CANARY not in repr(batch) and "the-token" not in repr(batch)


def test_many_tasks_come_in_pages(tmp_path):
    many = [
        {"id": f"t.{n}", "name": "batch", "slave_id": "s", "state": "TASK_RUNNING"}
        for n in range(2 * MarathonSource.page + 3)
    ]

    def answer(path, query):
        start = int(query.get("offset", "0"))
        return {"slaves": [], "tasks": many[start : start + int(query.get("limit", "0"))]}

    batch, _, _ = ask(tmp_path, second=answer)
    row = coverage(batch)["tasks"]
    assert (row["rows"], row["requests"], row["status"]) == (
        2 * MarathonSource.page + 3,
        3,
        "ok",
    )
    batch, _, _ = ask(
        tmp_path,
        second=lambda path, query: {"slaves": [], "tasks": many[: MarathonSource.page]},
    )
    row = coverage(batch)["tasks"]  # of a server that knows no offset
    assert (row["rows"], row["requests"]) == (MarathonSource.page, 2)


def test_what_is_denied_is_told(tmp_path):
    batch, _, _ = ask(tmp_path, second=lambda path, query: (403, CANARY.encode(), {}))
    assert {call: row["status"] for call, row in coverage(batch).items()} == {
        "apps": "ok",
        "deployments": "ok",
        "slaves": "denied",
        "tasks": "denied",
    }
    assert len(batch.rows["workloads"]) == 5 and CANARY not in repr(batch)


def test_a_probe_and_options(tmp_path):
    batch, one, _ = ask(tmp_path, method="probe")
    assert not batch.rows and {row["status"] for row in batch.coverage} == {"ok"}
    assert "apps.tasks" not in {p: q for p, q, _ in one.asked}["/v2/apps"]["embed"]
    check = MarathonSource().check
    assert check({"path": "a", "mesos_endpoint": "http://m"}) and check(
        {"endpoint": "m:8080"}
    )
    assert not check({"endpoint": "http://m", "mesos_endpoint": "http://n"})


# ---- what no cluster runs yet ----


def docker(image, **more):
    return {"container": {"type": "DOCKER", "docker": {"image": image, **more}}}


GROUP = {
    "id": "/shop",
    "apps": [{"id": "front", "instances": 2, **docker("shop/front:1", privileged=True)}],
    "groups": [
        {"id": "data", "apps": [{"id": "db", "instances": 1, **docker("postgres:16")}]},
        {
            "id": "api",
            "dependencies": ["../data"],
            "apps": [
                {"id": "orders", "cpus": 0.5, "mem": 256, **docker("shop/orders")},
                {"id": "paused", "instances": 0, "dependencies": ["orders"], "cmd": "x"},
            ],
        },
    ],
}
POD = {
    "id": "/shop/pod",
    "scaling": {"kind": "fixed", "instances": 2},
    "environment": {"REDIS_URL": "redis://cache.marathon.mesos:6379"},
    "networks": [{"mode": "container", "name": "dcos"}],
    "volumes": [{"name": "sock", "host": "/var/run/docker.sock"}, {"name": "tmp"}],
    "containers": [
        {
            "name": "app",
            "image": {"kind": "DOCKER", "id": "shop/app:3"},
            "resources": {"cpus": 0.5, "mem": 128},
            "resourceLimits": {"mem": "unlimited", "cpus": 2},
            "endpoints": [{"name": "web", "containerPort": 80, "protocol": ["tcp"]}],
            "healthCheck": {"http": {"path": "/"}},
            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        },
        {
            "name": "agent",
            "image": {"kind": "DOCKER", "id": "vector"},
            "resources": {"cpus": 0.1, "mem": 32},
            "environment": {"API_TOKEN": CANARY},
            "volumeMounts": [{"name": "sock", "mountPath": "/s"}],
        },
    ],
}
STATUS = {
    "id": "/shop/pod",
    "spec": POD,
    "status": "STABLE",
    "instances": [
        {
            "id": "shop_pod.instance-1",
            "status": "STABLE",
            "statusSince": "2026-03-01T10:00:00Z",
            "agentHostname": "10.0.0.7",
        }
    ],
}
SIZES = ["cpu_request", "cpu_limit", "memory_request_bytes", "memory_limit_bytes"]


def declared(tmp_path, document):
    (tmp_path / "app.json").write_text(json.dumps(document))
    return collect(tmp_path, path="app.json", cluster="c")


def test_the_apps_of_a_group_are_declared_and_share_its_dependencies(tmp_path):
    batch = declared(tmp_path, GROUP)
    rows = table(batch, "workloads").set_index("workload_id")
    assert rows.index.tolist() == [
        "c/shop/api/orders/1",
        "c/shop/data/db/1",
        "c/shop/front/1",
        "c/shop/front/2",
    ]
    assert set(rows["state"]) == set(rows["inspect_status"]) == {"declared"}
    assert rows.loc["c/shop/front/1", "privileged"]
    assert rows.loc["c/shop/api/orders/1", "tag_floating"]
    sizes = rows.loc["c/shop/api/orders/1", SIZES]
    assert sizes["cpu_request"] == 0.5 and pd.isna(sizes["cpu_limit"])
    assert sizes.tolist()[2:] == [256 * 2**20] * 2
    edges = {(e["src"].name, e["dst"].name) for e in batch.rows["dependencies"]}
    assert edges == {
        ("shop/api/orders", "shop/data/db"),
        ("shop/api/paused", "shop/data/db"),
        ("shop/api/paused", "shop/api/orders"),  # from its group
    }


def test_a_dependency_of_an_app_alone_starts_from_itself(tmp_path):
    app = {"id": "/p/service/app", "instances": 1, "dependencies": ["../../db"]}
    apps = [app, {"id": "/p/db", "instances": 1}]
    (edge,) = declared(tmp_path, apps).rows["dependencies"]
    assert edge["dst"].name == "p/db"


def test_every_container_of_a_pod_is_a_row_and_the_pod_one_replica(tmp_path):
    batch = declared(tmp_path, POD)
    rows = table(batch, "workloads").set_index("workload_id")
    assert sorted(rows["container_role"]) == ["main", "main", "sidecar", "sidecar"]
    app, agent = rows.loc["c/shop/pod/1"], rows.loc["c/shop/pod/1/agent"]
    assert (app["ports"], app["memory_unlimited"]) == ("80/tcp", True)
    assert app[SIZES[:3]].tolist() == [0.5, 2.0, 128 * 2**20]
    assert (agent["tag_floating"], agent["secret_like_env_n"]) == (True, 1)
    assert app["docker_sock_mounted"] and agent["docker_sock_mounted"]
    (service,) = batch.rows["services"]
    assert service["health_checked"] is True and service["secrets_in_image"] is True
    assert CANARY not in repr(batch)


def test_instances_of_a_pod_run(tmp_path):
    rows = table(declared(tmp_path, [STATUS]), "workloads")
    assert rows["state"].tolist() == ["running"] * 2
    assert rows["host_id"].tolist() == ["10.0.0.7"] * 2
    assert rows["container_role"].tolist() == ["main", "sidecar"]


@whatever_comes
def test_no_group_or_pod_breaks_it(seeds):
    source = MarathonSource()
    batches = []
    for n, seed in enumerate(seeds):
        found = {}
        for document in dicts([mutated([GROUP, POD, STATUS][n % 3], seed)]):
            for kind, items in source.sort(document):
                found.setdefault(kind, []).extend(dicts(items))
        batches.append(source.to_batch(found, "c"))
    fit(batches)


def test_a_value_that_is_elsewhere_may_be_an_address(tmp_path):
    env = {"DATABASE_URL": {"secret": "a"}, "API_TOKEN": {"secret": "b"}}
    batch = declared(tmp_path, {"id": "a", "instances": 1, "env": env, "cmd": "x"})
    (note,) = [row for row in batch.coverage if row["call"] == "references"]
    assert note["hint"].endswith("variable DATABASE_URL")


def test_labels_tell_a_proxy_to_open_a_service(tmp_path):
    def app(name, image, **labels):
        docker = {"image": image}
        return {"id": f"/{name}", "labels": labels, "container": {"docker": docker}}

    rule = {"traefik.frontend.rule": "Host:a.example"}
    apps = [app("edge", "traefik:1.7"), app("shop", "acme/shop", **rule)]
    apps.append(app("inner", "acme/inner", HAPROXY_GROUP="internal"))
    (tmp_path / "apps.json").write_text(json.dumps({"apps": apps}))
    batch = collect(tmp_path, path=".")
    public = {row["names"][0].name: row["public"] for row in batch.rows["services"]}
    assert public == {"edge": None, "shop": True, "inner": None}
    calls = [(r["src"].name, r["dst"].name) for r in batch.rows["dependencies"]]
    assert calls == [("edge", "shop")]
