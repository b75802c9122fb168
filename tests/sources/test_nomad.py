"""The nomad source: on dumps in the documented form, and over HTTP from a server that replays."""

import json
import re
from pathlib import Path

import pytest
from batches import coverage, table
from replay import replaying
from wild import fit, mutated, whatever_comes

import assess
from assess import frames
from assess.sources.base import Batch
from assess.sources.deadline import Deadline
from assess.sources.nomad import NomadSource, to_host
from assess.sources.values import dicts

FIXTURES = Path(__file__).parents[1] / "fixtures/nomad"
CANARY = "hunter2"
DUMPS = {f.stem: json.loads(f.read_text()) for f in FIXTURES.glob("*.json")}
AWS, OTHER = "i-0feedfacecafe0001", "localhost@20000000-aaaa-4bbb-8ccc-000000000001"


def collect(base: Path = FIXTURES.parent, **options) -> Batch:
    return NomadSource().collect(options, base, Deadline(20))


@pytest.fixture(scope="module")
def dumped() -> Batch:
    return collect(path="nomad")


def test_every_frame_fits_and_no_secret_is_in_any(dumped):
    for name in NomadSource.fills:
        assert len(table(dumped, name))
    assert sum(json.dumps(d).count(CANARY) for d in DUMPS.values()) > 20
    assert CANARY not in repr(dumped)
    assert coverage(dumped)["jobs"]["redacted_n"] > 10


def test_each_group_is_a_service(dumped):
    columns = ("kind", "stateful", "min_healthy_pct", "health_checked", "logs_exported")
    found = {
        r["names"][0].name: tuple(r[c] for c in columns) for r in dumped.rows["services"]
    }
    assert found == {
        "shop-web": ("web", False, 66.66, True, True),
        "shop-db": (None, True, 0.0, False, None),
        "billing": (None, None, 0.0, False, None),  # all at once
        "backup": ("job", False, None, None, None),
    }
    (billing,) = [r for r in dumped.rows["services"] if r["names"][0].name == "billing"]
    assert billing["names"][0].rule == "label" and billing["secrets_in_image"] is False


def test_a_task_that_ended_before_the_others_of_its_allocation_does_not_run(tmp_path):
    names = ("wait", "api", "tail")
    hooks = {"wait": {"Hook": "prestart"}, "tail": {"Hook": "poststart", "Sidecar": True}}
    tasks = [
        {"Name": n, "Driver": "docker", "Config": {"image": n}, "Lifecycle": hooks.get(n)}
        for n in names
    ]
    groups = [{"Name": "web", "Tasks": tasks}]
    job = {"ID": "shop", "Name": "shop", "Type": "service", "TaskGroups": groups}
    (tmp_path / "job.json").write_text(json.dumps(job))
    states = {"wait": "dead", "api": "running", "tail": "running"}
    allocation = {
        "ID": "1",
        "JobID": "shop",
        "TaskGroup": "web",
        "ClientStatus": "running",
        "TaskStates": {name: {"State": state} for name, state in states.items()},
    }
    (tmp_path / "allocations.json").write_text(json.dumps([allocation]))
    rows = collect(tmp_path, path=".").rows["workloads"]
    found = {row["image_ref"]: row["state"] for row in rows}
    assert found == {"wait": "exited", "api": "running", "tail": "running"}


def test_allocations_are_workloads(dumped):
    rows = table(dumped, "workloads").set_index("name")
    assert rows.loc["backup/periodic-1795000000.backup[0]", "state"] == "exited"
    web = rows.loc["shop.web[0]"]
    assert (web["host_id"], web["source_kind"], web["tag"]) == (
        AWS,
        "allocation",
        "2.1.0",
    )
    assert (web["memory_limit_bytes"], web["ports"]) == (256 * 2**20, "8080/tcp")
    assert (
        web["docker_sock_mounted"] and not web["user_root"] and web["caps_added_n"] == 1
    )
    assert (web["env_names_n"], web["secret_like_env_n"], web["log_driver"]) == (
        2,
        2,
        "fluentd",
    )
    failed = rows[rows["exit_code"].eq(137)]
    assert failed["oom_killed"].all() and len(failed) == 1
    assert rows.loc["billing.billing[0]", "source_kind"] == "process"  # no container
    assert rows.loc["billing.billing[1]", "state"] == "dead"  # its node is down


def test_hosts_of_one_name_stay_apart(dumped):
    hosts = table(dumped, "hosts").set_index("host_id")
    assert len(hosts) == 3 and set(hosts["hostname"]) == {"localhost"}
    assert hosts.loc[AWS, ["az", "instance_type", "provider"]].tolist() == [
        "eu-west-1b",
        "t3.medium",
        "aws",
    ]
    assert hosts.loc[OTHER, ["os_name", "os_version", "kernel", "vcpus"]].tolist() == [
        "ubuntu",
        "20.04",
        "5.4.0-150-generic",
        2,
    ]
    engines = table(dumped, "engines").set_index("host_id")
    assert engines.loc[AWS, "version"] == "19.03.15"
    assert engines["runtime"].tolist() == ["docker", "docker", "none"]


def test_the_stub_of_a_node_tells_its_cores():
    resources = {"Cpu": {"TotalCpuCores": 4}, "Memory": {"MemoryMB": 2}}
    host = to_host({"Name": "alpha", "NodeResources": resources}, "alpha")
    assert (host["vcpus"], host["memory_bytes"]) == (4, 2 << 20)


def test_mounts_dependencies_and_what_happened(dumped):
    mounts = {m["destination"]: m for m in dumped.rows["mounts"]}
    assert mounts["/var/lib/postgresql/data"]["data_like"] is True
    assert mounts["/etc/app/app.conf"]["source_class"] == "alloc-dir"
    sockets = [m for m in dumped.rows["mounts"] if m["source_class"] == "socket"]
    assert sorted(m["shared_with_n"] for m in sockets) == [0, 0, 1, 1]  # two on one node
    edges = {
        (e["src"].name, e["dst"].name, e["kind"], e["evidence"])
        for e in dumped.rows["dependencies"]
    }
    assert edges == {
        ("shop-web", "billing", "call", "connect-upstream"),
        ("shop-web", "shop-db", "data", "environment"),
    }
    kinds = [r["kind"] for r in dumped.rows["activities"]]
    assert sorted(kinds) == ["deploy"] * 3 + ["launch", "terminate"]
    down, up = [r for r in dumped.rows["activities"] if r["kind"] != "deploy"]
    assert (up["ended_at"] - down["started_at"]).total_seconds() == 12


def test_allocations_alone_still_tell_their_jobs(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(DUMPS["allocations"]))
    batch = collect(tmp_path, path="a.json")
    names = {r["names"][0].name for r in batch.rows["services"]}
    assert names == {"shop-web", "shop-db", "billing", "backup"}
    assert {w["inspect_status"] for w in batch.rows["workloads"]} == {"list"}
    assert {r["stateful"] for r in batch.rows["services"]} == {None}
    assert coverage(batch)["jobs"]["status"] == "not_configured"


@pytest.mark.parametrize(
    "content", ['{"a": 1}', "<html>", "", "[1, 2]", '{"ClientStatus": 3}']
)
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
    every = [
        d for dump in DUMPS.values() for d in (dump if isinstance(dump, list) else [dump])
    ]
    source, found = NomadSource(), {}
    documents = [mutated(document, seed + n) for n, document in enumerate(every)]
    for document in dicts(documents):
        for kind, items in source.sort(document):
            found.setdefault(kind, []).extend(i for i in items if isinstance(i, dict))
    return source.to_batch(found, "c")


class Api:
    """An API server that answers the dumps, two entries a page."""

    def __init__(self, deny="", broken=""):
        self.deny, self.broken = deny, broken

    def __call__(self, path, query):
        parts = path.strip("/").split("/")
        if self.deny and path.startswith(self.deny):
            return 403, b"Permission denied", {}
        if parts[1] in ("jobs", "nodes", "allocations"):
            assert parts[1] == "nodes" or query["namespace"] == "*"
            items, start = DUMPS[parts[1]], int(query.get("next_token", "0"))
            if start and parts[1] == self.broken:
                return 500, b"rpc error: " + CANARY.encode(), {}
            size = min(2, int(query["per_page"]))
            following = (
                {"X-Nomad-NextToken": str(start + size)}
                if start + size < len(items)
                else {}
            )
            return 200, items[start : start + size], following
        whole = (d for name, d in DUMPS.items() if name.startswith(f"{parts[1]}-"))
        found = [d.get("Job", d) for d in whole]
        wanted = "/".join(parts[2:]).replace("%2F", "/")
        return next((d for d in found if d["ID"] == wanted), (404, b"job not found", {}))


def ask(api, tmp_path, method="collect", **options):
    (tmp_path / "token").write_text("the-token\n")
    with replaying(api) as server:
        options = {
            "endpoint": server.url,
            "token_file": "token",
            "cluster": "nomad",
            **options,
        }
        return getattr(NomadSource(), method)(options, tmp_path, Deadline(30)), server


def test_the_api_gives_what_the_dumps_give(tmp_path, dumped):
    batch, server = ask(Api(), tmp_path)
    for frame in NomadSource.fills:
        key = frames.key(frame)
        if "service_id" not in key and "src_id" not in key:
            both = [
                table(b, frame)[key].sort_values(key).to_numpy().tolist()
                for b in (dumped, batch)
            ]
            assert both[0] == both[1]
    rows = coverage(batch)
    assert {
        call: (row["status"], row["rows"], row["requests"]) for call, row in rows.items()
    } == {
        "jobs": ("ok", 4, 2),
        "nodes": ("ok", 3, 2),
        "allocations": ("ok", 8, 4),
        "job": ("ok", 4, 4),
        "node": ("ok", 3, 3),
    }
    assert all(headers["X-Nomad-Token"] == "the-token" for _, _, headers in server.asked)
    assert CANARY not in repr(batch) and "the-token" not in repr(batch)


def test_what_is_denied_or_breaks_is_told(tmp_path):
    batch, _ = ask(Api(deny="/v1/node"), tmp_path)
    rows = coverage(batch)
    assert (rows["nodes"]["status"], rows["jobs"]["status"]) == ("denied", "ok")
    roles = [w.get("container_role") for w in batch.rows["workloads"]]
    assert len(roles) - roles.count("init") == 8 and not batch.rows["hosts"]
    batch, _ = ask(Api(deny="/v1/job/"), tmp_path)
    assert coverage(batch)["job"]["status"] == "denied"
    assert {s["names"][0].name for s in batch.rows["services"]} >= {"shop-web", "billing"}
    batch, _ = ask(Api(broken="allocations"), tmp_path)
    row = coverage(batch)["allocations"]
    assert (row["status"], row["rows"]) == ("partial", 2)
    assert CANARY not in repr(batch)


def test_a_probe_asks_little(tmp_path):
    batch, server = ask(Api(), tmp_path, "probe")
    assert not batch.rows and len(server.asked) == 3
    assert {row["status"] for row in batch.coverage} == {"ok"}


def test_the_policy_grants_what_is_asked_and_nothing_else(tmp_path):
    _, server = ask(Api(), tmp_path)
    text = (Path(assess.__file__).parent / "sources/permissions/nomad.hcl").read_text()
    granted = set(re.findall(r'"([a-z-]+)"', re.sub(r"#.*", "", text))) - {"*"}
    needed = {
        "jobs": "list-jobs",
        "job": "read-job",
        "allocations": "read-job",
        "nodes": "read",
        "node": "read",
    }
    assert {needed[path.split("/")[2]] for path, _, _ in server.asked} == granted


# ---- what no cluster runs yet ----


def task(name, image, **more):
    config = {"image": image, **more.pop("Config", {})}
    return {"Name": name, "Driver": "docker", "Config": config, **more}


JOB = {
    "ID": "shop",
    "Name": "shop",
    "Namespace": "prod",
    "Type": "service",
    "TaskGroups": [
        {
            "Name": "web",
            "Count": 3,
            "RestartPolicy": {"Mode": "delay", "Attempts": 3},
            "Tasks": [
                task("wait", "busybox", Lifecycle={"Hook": "prestart"}),
                task(
                    "app",
                    "registry.example.com/shop/web:2.1.0",
                    Env={"REDIS_URL": "redis://cache.service.consul:6379"},
                    Resources={"CPU": 500, "MemoryMB": 256, "MemoryMaxMB": 512},
                    Templates=[
                        {"EmbeddedTmpl": '{{ range service "primary.db@dc1" }}'},
                        {"EmbeddedTmpl": "{{range nomadService 1 $a `billing`}}"},
                        {"EmbeddedTmpl": "the service is down"},
                    ],
                ),
                task(
                    "logs",
                    "vector",
                    Lifecycle={"Hook": "poststart", "Sidecar": True},
                    Resources={"Cores": 2, "MemoryMB": 64},
                    Env={"SHIP_TOKEN": CANARY},
                    Config={
                        "privileged": True,
                        "volumes": ["/var/run/docker.sock:/var/run/docker.sock"],
                    },
                ),
                task("backup", "backup:1", Lifecycle={"Hook": "poststop"}),
            ],
        },
        {
            "Name": "db",
            "Count": 1,
            "Tasks": [
                task("postgres", "postgres:16", Services=[{"Name": "db"}]),
                task("exporter", "postgres-exporter:0.15"),
            ],
        },
    ],
}


def declared(tmp_path, job, name="job.json") -> Batch:
    (tmp_path / name).write_text(json.dumps(job))
    return collect(tmp_path, path=name, cluster="c")


@pytest.mark.parametrize("wrap", [lambda job: job, lambda job: {"Job": job}])
def test_every_task_of_a_job_file_is_declared_and_a_group_is_one_replica(tmp_path, wrap):
    batch = declared(tmp_path, wrap(JOB))
    rows = table(batch, "workloads")
    web = rows[rows["workload_id"].str.startswith("c/prod/shop/web/")]
    assert set(rows["state"]) == set(rows["inspect_status"]) == {"declared"}
    assert rows["container_role"].eq("main").sum() == 4  # replicas
    assert web["container_role"].value_counts().to_dict() == {
        "main": 3,
        "init": 6,  # before it and after it
        "sidecar": 3,
    }
    one = web[web["workload_id"].str.contains("/web/1")].set_index("workload_id")
    app, logs = one.loc["c/prod/shop/web/1"], one.loc["c/prod/shop/web/1/logs"]
    assert (app["tag"], app["tag_floating"], logs["tag_floating"]) == (
        "2.1.0",
        False,
        True,
    )
    assert (app["privileged"], logs["privileged"]) == (True, True)  # of the replica
    assert (app["docker_sock_mounted"], logs["secret_like_env_n"]) == (True, 1)
    assert app["restart_policy"] == "always"
    names = {r["names"][0].name for r in batch.rows["services"]}
    assert names == {"shop-web", "shop-db"} and CANARY not in repr(batch)


def test_memory_is_reserved_and_megahertz_are_no_cores(tmp_path):
    rows = table(declared(tmp_path, JOB), "workloads").set_index("workload_id")
    columns = ["memory_request_bytes", "memory_limit_bytes", "cpu_request", "cpu_limit"]
    app = rows.loc["c/prod/shop/web/1", columns]
    assert app.tolist()[:2] == [256 * 2**20, 512 * 2**20] and app[2:].isna().all()
    logs = rows.loc["c/prod/shop/web/1/logs", columns].tolist()
    assert logs == [64 * 2**20, 64 * 2**20, 2.0, 2.0]


def test_templates_name_services(tmp_path):
    rows = declared(tmp_path, JOB).rows["dependencies"]
    edges = {
        (e["src"].name, getattr(e["dst"], "name", e["dst"]), e["kind"], e["evidence"])
        for e in rows
    }
    assert ("shop-web", "shop-db", "data", "nomad-template") in edges
    assert ("shop-web", "billing", "call", "nomad-template") in edges
    assert len([e for e in edges if e[3] == "nomad-template"]) == 2


def test_a_stopped_job_declares_nothing_and_what_is_placed_is_not_declared_too(tmp_path):
    assert not declared(tmp_path, JOB | {"Stop": True}).rows["workloads"]
    states = {w["state"] for w in collect(path="nomad").rows["workloads"]}
    assert "declared" not in states


def test_a_job_in_hcl_names_the_command_that_makes_json_of_it(tmp_path):
    (tmp_path / "jobs").mkdir()
    for name in ("shop.nomad.hcl", "billing.nomad"):
        (tmp_path / "jobs" / name).write_text('job "shop" {}')
    (tmp_path / "jobs" / "job.json").write_text(json.dumps(JOB))
    batch = collect(tmp_path, path="jobs")
    rows = [row for row in batch.coverage if row["status"] == "unsupported"]
    assert [row["scope"] for row in rows] == ["jobs/billing.nomad", "jobs/shop.nomad.hcl"]
    assert all("nomad job run -output" in row["hint"] for row in rows)
    assert len(batch.rows["services"]) == 2


def test_what_templates_say_and_what_they_fetch(tmp_path):
    said = 'DB_URL="postgres://u:{{ key "pw" }}@db.service.consul:5432/shop"'
    job = {
        "ID": "api",
        "TaskGroups": [{"Name": "api", "Tasks": [task("api", "api:1.2.3")]}],
    }
    job["TaskGroups"][0]["Tasks"][0]["Templates"] = [{"EmbeddedTmpl": said}]
    store = {
        "Name": "db",
        "Tasks": [task("db", "postgres:16.4", Services=[{"Name": "db"}])],
    }
    (tmp_path / "db.json").write_text(json.dumps({"ID": "db", "TaskGroups": [store]}))
    (tmp_path / "api.json").write_text(json.dumps(job))
    batch = collect(tmp_path, path=["db.json", "api.json"], cluster="c")
    (edge,) = batch.rows["dependencies"]
    assert (edge["dst"].name, edge["kind"], edge["address_basis"]) == (
        "db",
        "data",
        "config",
    )
    (note,) = [row for row in batch.coverage if row["call"] == "references"]
    assert note["status"] == "partial" and "task api" in note["hint"]
    assert {w["restart_policy"] for w in batch.rows["workloads"]} == {"on-failure"}


def test_names_of_tasks_hosts_and_filled_services_lead_to_their_group(tmp_path):
    def named(name, **more):
        one = task(name, f"acme/{name}:1.2.3", **more)
        one["Services"] = [{"Name": "${TASKGROUP}-${TASK}"}]
        return one

    env = {
        "TRACES": "http://zipkin:9411",
        "PAY": "http://pay.mesh.local",
        "UI": "http://front-web:80",
    }
    groups = [
        {"Name": "front", "Tasks": [named("web")]},
        {"Name": "traces", "Tasks": [named("zipkin")]},
        {"Name": "money", "Tasks": [named("till", Env=env)]},
        {"Name": "bank", "Tasks": [named("pay")]},
    ]
    groups[3]["Tasks"][0]["Config"]["hostname"] = "pay.mesh.local"
    (tmp_path / "job.json").write_text(json.dumps({"ID": "shop", "TaskGroups": groups}))
    batch = collect(tmp_path, path="job.json", cluster="c")
    edges = {(e["src"].name, e["dst"].name) for e in batch.rows["dependencies"]}
    assert edges == {("shop-money", f"shop-{g}") for g in ("front", "traces", "bank")}


@pytest.mark.parametrize("labels", [None, {"traefik.enable": "true"}])
def test_tags_and_labels_tell_a_proxy_to_open_a_service(tmp_path, labels):
    tags = [] if labels else ["traefik.enable=true", "traefik.http.routers.a.rule=H"]
    shop = task("shop", "acme/shop:1")
    if labels:
        shop["Config"]["labels"] = [labels]
    groups = [
        {"Name": "edge", "Tasks": [task("edge", "traefik:v3.1")]},
        {"Name": "shop", "Tasks": [shop], "Services": [{"Name": "shop", "Tags": tags}]},
    ]
    batch = declared(tmp_path, {"ID": "web", "Name": "web", "TaskGroups": groups})
    public = {row["names"][0].name: row["public"] for row in batch.rows["services"]}
    assert public == {"web-edge": None, "web-shop": True}
    calls = [(r["src"].name, r["dst"].name) for r in batch.rows["dependencies"]]
    assert calls == [("web-edge", "web-shop")]
