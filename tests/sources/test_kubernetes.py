"""The kubernetes source: on a recorded dump, and over HTTP from a server that replays it."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from wild import fit, mutated, whatever_comes

import assess
from assess import frames
from assess.sources.base import Batch
from assess.sources.deadline import Deadline
from assess.sources.kubernetes import KubernetesSource
from assess.sources.kubernetes.rows import to_batch
from assess.sources.values import quantity

FIXTURES = Path(__file__).parents[1] / "fixtures/kubernetes"
CANARY = "hunter2"
SHOP = json.loads((FIXTURES / "shop.json").read_text())
PERMISSIONS = Path(assess.__file__).parent / "sources/permissions"


def collect(base: Path = FIXTURES, *, seconds: float = 20, **options) -> Batch:
    return KubernetesSource().collect(options, base, Deadline(seconds))


def table(batch: Batch, name: str) -> pd.DataFrame:
    raw = pd.DataFrame(batch.rows[name])
    typed, problems = frames.conform(name, raw)
    assert problems.empty, problems
    columns = {column for column in raw if not column.startswith("_")}
    assert columns - {"names", "src", "dst"} <= set(frames.columns(name))
    return typed


def coverage(batch: Batch) -> dict[str, dict]:
    rows = {row["call"]: row for row in batch.coverage}
    rows.pop("references", None)  # of what is told apart from the calls
    return rows


def services(batch: Batch) -> dict[str, dict]:
    return {row["names"][0].name: row for row in batch.rows["services"]}


def workloads(batch: Batch) -> dict[str, dict]:
    """The pods that were seen, each by its main container."""
    rows = [r for r in batch.rows["workloads"] if r["container_role"] == "main"]
    return {row["name"]: row for row in rows if row["state"] != "declared"}


@pytest.fixture(scope="module")
def shop() -> Batch:
    return collect(path="shop.json")


# -- rows ----------------------------------------------------------------------------------------


def test_every_frame_fits_the_data_dictionary(shop):
    assert set(shop.rows) == set(KubernetesSource.fills)
    for name in KubernetesSource.fills:
        assert len(table(shop, name))


def test_the_fixture_holds_the_canary_and_no_row_does(shop):
    assert (FIXTURES / "shop.json").read_text().count(CANARY) > 20
    assert CANARY not in repr(shop)
    assert coverage(shop)["pods"]["redacted_n"] > 20


def test_pods_belong_to_the_controller_above_them(shop):
    found = {
        n: (w["names"][0].name, w["source_kind"]) for n, w in workloads(shop).items()
    }
    assert found == {
        "web-6d5f7c9b8f-x7k2p": ("storefront", "deployment"),
        "web-6d5f7c9b8f-q9r4t": ("storefront", "deployment"),
        "postgres-0": ("postgres", "statefulset"),
        "mailer-77fd6-abcde": ("mailer", "deployment"),
        "report-29400240-zz9xk": ("storefront-report", "cronjob"),
        "fluent-bit-0abcd": ("fluent-bit", "daemonset"),
        "fluent-bit-1abcd": ("fluent-bit", "daemonset"),
        "kube-apiserver-shop-node-1": ("kube-apiserver", "pod"),
    }
    assert "ledger" in services(shop)  # without any pod


def test_owners_are_found_by_their_names_where_they_may_not_be_listed():
    kept = [i for i in SHOP["items"] if i["kind"] in ("Pod", "Node")]
    batch = to_batch({"pods": [i for i in kept if i["kind"] == "Pod"]}, "c")
    kinds = {
        w["name"]: (w["names"][-1].name, w["source_kind"])
        for w in batch.rows["workloads"]
    }
    assert kinds["web-6d5f7c9b8f-x7k2p"] == ("web", "deployment")
    assert kinds["report-29400240-zz9xk"] == ("report", "cronjob")
    assert kinds["postgres-0"] == ("postgres", "statefulset")
    # pods name the nodes that nobody listed
    assert {w["host_id"] for w in batch.rows["workloads"]} == {
        "shop-node-1",
        "shop-node-2",
    }
    hosts = {row["host_id"]: row["os_name"] for row in batch.rows["hosts"]}
    assert hosts == {"shop-node-1": None, "shop-node-2": None}
    assert not batch.rows.get("engines")
    unknown = {row["min_healthy_pct"] for row in batch.rows["services"]}
    assert unknown == {None}


def test_a_workload_is_told_by_its_main_container(shop):
    web = workloads(shop)["web-6d5f7c9b8f-x7k2p"]
    # the sidecar is listed first
    assert (web["repository"], web["tag"]) == ("shop/web", "1.4.2")
    assert web["image_digest"] == "sha256:" + "a" * 64
    assert (web["memory_limit_bytes"], web["cpu_limit"]) == (256 * 2**20, 0.5)
    assert (web["user_root"], web["readonly_root"], web["caps_added_n"]) == (
        False,
        True,
        1,
    )
    assert (web["env_names_n"], web["ports"], web["health"]) == (4, "8080/tcp", "healthy")
    assert (web["state"], web["restart_policy"], web["stop_timeout_s"]) == (
        "running",
        "always",
        30,
    )
    database = workloads(shop)["postgres-0"]
    assert (database["memory_unlimited"], database["user_root"]) == (True, None)


def test_sizes_and_devices_of_a_whole_pod_hold_for_its_containers():
    pod = {
        "resources": {"limits": {"memory": "1Gi", "cpu": "2"}},
        "containers": [
            {"name": "web", "image": "w:1", "resources": {"limits": {"memory": "64Mi"}}},
            {"name": "log", "image": "l:1", "resources": {"claims": [{"name": "card"}]}},
        ],
    }
    deployment = {
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"template": {"spec": pod}},
    }
    rows = to_batch({"deployments": [deployment]}, "c").rows["workloads"]
    columns = "memory_limit_bytes", "memory_unlimited", "cpu_limit", "devices_n"
    assert {row["name"]: tuple(map(row.get, columns)) for row in rows} == {
        "web": (64 << 20, False, 2, 0),
        "log": (1 << 30, False, 2, 1),
    }


def test_a_service_of_knative_serves_without_a_port_and_groups_of_pods_are_read():
    pods = {"containers": [{"name": "a", "image": "a:1"}]}
    template = {"spec": pods}
    items = {
        "kservices": ("Service", "knative", {"template": template}),
        "leaderworkersets": (
            "LeaderWorkerSet",
            "group",
            {"replicas": 2, "leaderWorkerTemplate": {"workerTemplate": template}},
        ),
    }
    lists = {
        kind: [{"kind": word, "metadata": {"name": name}, "spec": spec}]
        for kind, (word, name, spec) in items.items()
    }
    batch = to_batch(lists, "c")
    kinds = {row["names"][0].name: row["kind"] for row in batch.rows["services"]}
    assert kinds == {"knative": "web", "group": "worker"}
    found = [row["names"][0].name for row in batch.rows["workloads"]]
    assert sorted(found) == ["group", "group", "knative"]


def test_pods_of_a_kind_that_nobody_knows_are_told_to_be_unread(tmp_path):
    jobs = [{"template": {"spec": {"template": {"spec": {"containers": [{}]}}}}}]
    items = [
        SHOP["items"][0],
        {
            "apiVersion": "jobset.x-k8s.io/v1alpha2",
            "kind": "JobSet",
            "metadata": {"name": "train"},
            "spec": {"replicatedJobs": jobs},
        },
    ]
    (tmp_path / "all.json").write_text(json.dumps(items))
    row = collect(tmp_path, path="all.json").coverage[0]
    assert (row["call"], row["unmapped_n"]) == ("read", 1)


def test_what_failed_says_so(shop):
    mailer = workloads(shop)["mailer-77fd6-abcde"]
    assert (mailer["state"], mailer["oom_killed"], mailer["restarts_n"]) == (
        "restarting",
        True,
        17,
    )
    assert mailer["docker_sock_mounted"] and mailer["host_network"]
    report = workloads(shop)["report-29400240-zz9xk"]
    assert (report["state"], report["exit_code"], report["health"]) == ("exited", 0, None)


def test_a_pod_of_a_docker_node_is_the_container_that_the_engine_lists(shop):
    ids = {w["name"]: w["workload_id"] for w in shop.rows["workloads"]}
    assert ids["web-6d5f7c9b8f-q9r4t"] == "shop-node-2/" + "2" * 12
    assert ids["web-6d5f7c9b8f-x7k2p"] == "shop/shop/web-6d5f7c9b8f-x7k2p"


def test_nodes_are_hosts_and_join_cloud_instances(shop):
    hosts = table(shop, "hosts").set_index("hostname")
    assert hosts.loc["shop-node-1", "host_id"] == "i-0a1b2c3d4e5f60718"
    assert hosts.loc["shop-node-2", "host_id"] == "shop-node-2"
    assert hosts.loc[
        "shop-node-1", ["provider", "az", "os_name", "os_version", "vcpus"]
    ].tolist() == ["aws", "eu-central-1a", "debian", "11", 2]
    assert hosts["state"].tolist() == ["running", "not-ready"]
    engines = table(shop, "engines").set_index("host_id")
    assert engines.loc[
        "shop-node-2", ["runtime", "version", "kubelet_version"]
    ].tolist() == [
        "docker",
        "20.10.24",
        "1.23.17",
    ]
    of_pods = table(shop, "workloads").query("state != 'declared'")
    assert set(of_pods["host_id"]) == set(hosts["host_id"])


def test_services_say_what_they_need(shop):
    found = services(shop)
    columns = ("kind", "stateful", "min_healthy_pct", "public", "health_checked")
    assert {name: tuple(row[c] for c in columns) for name, row in found.items()} == {
        # a budget, a load balancer, a probe
        "storefront": ("web", False, 50.0, True, True),
        "mailer": (None, False, 75.0, None, False),  # a rollout; the network of its node
        "ledger": ("web", False, 66.66, True, True),  # two of three; an ingress
        "postgres": (None, True, None, None, True),
        "storefront-report": ("job", False, None, False, None),
        "fluent-bit": (None, None, None, False, False),
        "kube-apiserver": ("infra", False, None, None, False),
    }
    assert (found["storefront"]["asg_min"], found["storefront"]["asg_max"]) == (2, 6)
    assert (
        found["storefront"]["secrets_in_image"]
        and not found["ledger"]["secrets_in_image"]
    )
    # a shipper on every node
    assert {row["logs_exported"] for row in found.values()} == {True}


def test_mounts_tell_data_from_scratch(shop):
    mounts = {(m["workload_id"], m["destination"]): m for m in shop.rows["mounts"]}
    data = mounts["shop/shop/postgres-0", "/var/lib/postgresql/data"]
    assert (data["data_like"], data["driver"], data["size_bytes"]) == (
        True,
        "gp3",
        20 * 2**30,
    )
    scratch = mounts["shop/shop/web-6d5f7c9b8f-x7k2p", "/tmp"]
    assert (scratch["type"], scratch["data_like"]) == ("empty-dir", False)
    config = mounts["shop/shop/web-6d5f7c9b8f-x7k2p", "/etc/web"]
    assert (config["source_class"], config["read_only"]) == ("config", True)
    logs = [m for m in shop.rows["mounts"] if m["destination"] == "/var/log"]
    assert [m["shared_with_n"] for m in logs] == [0, 0]  # one path, on two nodes
    assert not any("serviceaccount" in m["destination"] for m in shop.rows["mounts"])


def test_volumes_that_a_release_drops_are_told_by_name(tmp_path):
    sources = {"src": {"gitRepo": {"repository": "x"}}, "conf": {"configMap": {}}}
    sources |= {"flex": {"flexVolume": {"driver": "acme.example/disk"}}}
    sources |= {"csi": {"csi": {"driver": "csi.acme.example"}}}
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in sources]
    volumes = [{"name": name, **source} for name, source in sources.items()]
    pod = {"containers": [{"name": "a", "image": "a:1", "volumeMounts": mounts}]}
    pod |= {"nodeName": "n", "volumes": volumes}
    meta = {"name": "a", "namespace": "shop", "uid": "1"}
    one = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": pod}
    (tmp_path / "pods.json").write_text(json.dumps({"kind": "List", "items": [one]}))
    found = collect(tmp_path, path="pods.json").rows["mounts"]
    shown = {m["destination"]: (m["type"], m["driver"], m["read_only"]) for m in found}
    assert shown == {
        "/src": ("gitRepo", None, True),
        "/conf": ("config", None, True),
        "/flex": ("volume", "flexVolume", False),
        "/csi": ("volume", "csi.acme.example", False),
    }


def test_addresses_in_environments_are_calls(shop):
    rows = shop.rows["dependencies"]
    edges = {
        (e["src"].name, getattr(e["dst"], "name", e["dst"]), e["kind"]) for e in rows
    }
    assert edges == {
        ("storefront", "postgres", "data"),
        ("storefront", "ledger", "call"),
        ("mailer", "ext:queue.example.com", "queue"),
    }


def test_deployments_are_told_by_their_replica_sets(shop):
    rows = [r for r in shop.rows["activities"] if r["names"][0].name == "storefront"]
    assert [(r["from_version"], r["to_version"]) for r in rows] == [
        (None, "1.4.1"),
        ("1.4.1", "1.4.2"),
    ]
    assert f"{rows[1]['started_at']:%Y-%m-%d}" == "2026-11-20"


def deployment(name, labels, *, kind="Deployment", namespace="shop"):
    meta = {"name": name, "namespace": namespace, "labels": labels}
    pod = {"containers": [{"name": "c", "image": "team/app:1"}]}
    return {
        "kind": kind,
        "metadata": meta,
        "spec": {
            "replicas": 1,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


@pytest.mark.parametrize(
    ("items", "names"),
    [
        ([("web", {"app": "web"}), ("web-canary", {"app": "web"})], ["web", "web"]),
        (  # one label for unlike things names none of them
            [
                ("front", {"app": "shop", "tier": "web"}),
                ("back", {"app": "shop", "tier": "api"}),
            ],
            ["front", "back"],
        ),
        (
            [
                (
                    "a",
                    {
                        "app.kubernetes.io/name": "shop",
                        "app.kubernetes.io/component": "web",
                    },
                ),
                (
                    "b",
                    {
                        "app.kubernetes.io/name": "shop",
                        "app.kubernetes.io/component": "api",
                    },
                ),
            ],
            ["shop-web", "shop-api"],
        ),
        (  # two releases of one chart
            [
                (
                    "a",
                    {
                        "app.kubernetes.io/name": "redis",
                        "app.kubernetes.io/instance": "cart",
                    },
                ),
                (
                    "b",
                    {
                        "app.kubernetes.io/name": "redis",
                        "app.kubernetes.io/instance": "session",
                    },
                ),
            ],
            ["cart", "session"],
        ),
        (
            [
                ("x", {"assess.service": "till"}),
                ("y", {"assess.service": "till", "tier": "b"}),
            ],
            ["till", "till"],
        ),
        ([("x", {})], ["x"]),
    ],
)
def test_names_of_controllers(items, names):
    found = {"deployments": [deployment(name, labels) for name, labels in items]}
    batch = to_batch(found, "c")
    first = [row["names"][0].name for row in batch.rows["services"]]
    assert first == list(dict.fromkeys(names))


def test_a_job_does_not_take_the_name_of_what_it_works_for():
    labels = {"app.kubernetes.io/name": "shop"}
    job = deployment("shop-migrate", labels, kind="Job")
    batch = to_batch({"deployments": [deployment("shop", labels)], "jobs": [job]}, "c")
    assert [row["names"][0].name for row in batch.rows["services"]] == [
        "shop",
        "shop-migrate",
    ]
    assert [row["names"][0].confidence for row in batch.rows["services"]] == [0.95, 0.75]


def test_nodes_without_a_name_of_their_own_stay_apart():
    nodes = [{"metadata": {"name": "localhost"}}]
    ids = {
        to_batch({"nodes": nodes}, c).rows["hosts"][0]["host_id"] for c in ("one", "two")
    }
    assert ids == {"localhost@one", "localhost@two"}


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        ("500m", 0.5),
        ("128Mi", 128 * 2**20),
        ("1e3", 1000),
        ("2", 2),
        (2, 2),
        ("1.5Gi", 1.5 * 2**30),
        ("", None),
        ("much", None),
        (None, None),
        (True, None),
        ("-1", None),
        ("9" * 400, None),
    ],
)
def test_quantities(value, amount):
    assert quantity(value) == amount


# -- dumps ---------------------------------------------------------------------------------------


def test_one_file_per_list_and_yaml_are_as_good(tmp_path, shop):
    by_kind = {}
    for item in SHOP["items"]:
        by_kind.setdefault(item["kind"], []).append(item)
    for kind, items in by_kind.items():
        bare = [
            {k: v for k, v in i.items() if k not in ("kind", "apiVersion")} for i in items
        ]
        whole = {"kind": f"{kind}List", "apiVersion": "v1", "metadata": {}, "items": bare}
        (tmp_path / f"{kind}.json").write_text(json.dumps(whole))
    (tmp_path / "again.yaml").write_text(yaml.safe_dump_all(SHOP["items"]))
    batch = collect(tmp_path, path=".", cluster="shop")
    for frame in KubernetesSource.fills:
        key = frames.key(frame)
        if "src_id" not in key and "service_id" not in key:
            both = [
                table(b, frame)[key].sort_values(key).to_numpy().tolist()
                for b in (shop, batch)
            ]
            assert both[0] == both[1]
    assert services(batch).keys() == services(shop).keys()


def test_lists_that_are_in_no_dump_are_told(tmp_path):
    pods = {"kind": "PodList", "items": []}
    (tmp_path / "pods.json").write_text(json.dumps(pods))
    rows = coverage(collect(tmp_path, path="pods.json"))
    assert rows["pods"]["status"] == "empty"
    assert rows["nodes"]["status"] == "not_configured"
    (tmp_path / "none.json").write_text(
        '{"kind": "List", "apiVersion": "v1", "items": []}'
    )
    rows = coverage(collect(tmp_path, path="none.json"))
    assert {row["status"] for call, row in rows.items() if call != "read"} == {"empty"}


TEMPLATE = """apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "shop.fullname" . }}
spec:
  {{- if not .Values.autoscaling.enabled }}
  replicas: {{ .Values.replicaCount }}
  {{- end }}
"""


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("deploy.yaml", TEMPLATE, "helm template"),
        (
            "deploy.json",
            '{"kind": "Pod", "spec": {{ toJson .Values.spec }}}',
            "helm template",
        ),
        ("shop.json", "<!doctype html><title>Sign in</title>", "web page"),
        ("shop.json", "No resources found", "it is not JSON: dump it again"),
        ("shop.json", "", "it is empty: the command that writes it failed"),
        ("shop.json", '{"kind": "Config"}', "assess sources"),
        ("shop.json", "\0" * 64, "dump it again"),
        ("shop.yaml", "a: [", "no YAML"),
    ],
)
def test_what_is_no_dump_says_what_to_do(tmp_path, name, content, words):
    (tmp_path / name).write_text(content)
    for source in (KubernetesSource().collect, KubernetesSource().probe):
        batch = source({"path": name}, tmp_path, Deadline(5))
        (row,) = batch.coverage
        assert row["status"] == "parse_error" and words in row["hint"]
        assert not batch.rows


def test_a_dump_that_is_cut_off_keeps_nothing_that_is_half_read(tmp_path):
    text = json.dumps(SHOP)
    (tmp_path / "cut.json").write_text(text[: len(text) // 2])
    (row,) = collect(tmp_path, path="cut.json").coverage
    assert row["status"] == "parse_error"


def test_a_path_that_is_not_there(tmp_path):
    (row,) = collect(tmp_path, path="gone.json").coverage
    assert (row["status"], row["hint"]) == ("unreachable", "there is no such file")


@whatever_comes
def test_no_payload_breaks_it(seeds):
    fit([changed(seed) for seed in seeds])


def changed(seed):
    items = [mutated(item, seed + n) for n, item in enumerate(SHOP["items"])]
    source, found = KubernetesSource(), {}
    for kind, listed in source.sort({"kind": "List", "items": items}):
        found.setdefault(kind, []).extend(i for i in listed if isinstance(i, dict))
    return source.to_batch(found, "c")
