"""Cloud Run and Container Apps: what their descriptions say, and what the scores make of it."""

import copy
import json
import re
from pathlib import Path

import pandas as pd
import pytest

import assess
from assess.sources import collect
from assess.sources.deadline import Deadline
from assess.sources.managed import CloudRunSource, ContainerAppsSource

FIXTURES = Path(__file__).parents[1] / "fixtures"
SOURCES = {"cloudrun": CloudRunSource, "containerapps": ContainerAppsSource}


def read(kind, base=FIXTURES, path=None):
    return SOURCES[kind]().collect({"path": path or kind}, base, Deadline(20))


@pytest.fixture(scope="module")
def run():
    return read("cloudrun")


@pytest.fixture(scope="module")
def azure():
    return read("containerapps")


def of(batch, frame, name):
    """Rows of a frame that are of the service of a name."""
    return [
        row
        for row in batch.rows[frame]
        if name in {found.name for found in row.get("names", ())}
    ]


def told(row, *columns):
    return [row[column] for column in columns]


def edges(batch, name):
    return {
        (getattr(row["dst"], "name", row["dst"]), row["kind"])
        for row in batch.rows["dependencies"]
        if row["src"].name == name
    }


def test_services_have_the_platform_that_runs_them(run, azure):
    assert {row["platform"] for row in run.rows["services"]} == {"cloud-run"}
    platforms = {row["platform"] for row in azure.rows["services"]}
    assert platforms == {"container-apps", "container-instances"}


def test_what_is_kept_warm_runs_and_the_rest_is_declared(run):
    basket = of(run, "workloads", "basket")
    mains = [row for row in basket if row["container_role"] == "main"]
    assert [row["state"] for row in mains] == ["running", "running"]
    assert len({row["host_id"] for row in mains}) == 2
    (catalog,) = of(run, "workloads", "catalog")
    assert told(catalog, "state", "inspect_status") == ["declared", "ok"]
    search = of(run, "workloads", "search")
    assert len(search) == 3  # the least of a revision, not the least of all revisions
    service = of(run, "services", "search")[0]
    assert told(service, "asg_min", "asg_max") == [3, 12]


def test_a_service_that_is_not_ready_runs_nothing(tmp_path):
    (service,) = json.loads((FIXTURES / "cloudrun/v2.json").read_text())["services"]
    service["terminalCondition"]["state"] = "CONDITION_FAILED"
    (tmp_path / "v2.json").write_text(json.dumps([service]))
    rows = read("cloudrun", tmp_path, "v2.json").rows["workloads"]
    assert {row["state"] for row in rows} == {"declared"}


def test_sizes_in_every_unit(run):
    main, beside = of(run, "workloads", "basket")[:2]
    sizes = ("cpu_limit", "cpu_request", "memory_limit_bytes", "memory_request_bytes")
    assert told(main, *sizes) == [1.5, 1.5, 1 << 30, 1 << 30]
    assert told(beside, *sizes) == [0.5, 0.5, 256 << 20, 256 << 20]
    (catalog,) = of(run, "workloads", "catalog")  # what the platform gives by default
    assert told(catalog, *sizes) == [1.0, 1.0, 512 << 20, 512 << 20]


def test_secrets_by_reference_are_names_and_what_nobody_read_is_told(run):
    main = of(run, "workloads", "basket")[0]
    assert main["env_names_n"] == 5
    assert main["secret_env_names"] == "API_TOKEN"
    assert of(run, "services", "basket")[0]["config_external"] is True
    (row,) = [row for row in run.coverage if row["call"] == "references"]
    assert row["status"] == "partial" and "INDEX_KEY" in row["hint"]


def test_a_probe_of_the_platform_is_no_check_of_health(run):
    checked = {
        row["names"][-2].name: row["health_checked"] for row in run.rows["services"]
    }
    assert checked == {
        "basket": True,
        "catalog": False,  # it only waits for a port
        "search": True,
        "nightly-report": None,
    }


def test_who_may_reach_a_service(run, azure, tmp_path):
    public = {
        row["names"][0].name: row["public"]
        for batch in (run, azure)
        for row in batch.rows["services"]
    }
    assert public["cart"] is False and public["catalog"] is True
    assert public["checkout"] is True and public["ledger"] is False
    apps = json.loads((FIXTURES / "containerapps/apps.json").read_text())
    (tmp_path / "apps.json").write_text(json.dumps(apps[:1]))
    alone = read("containerapps", tmp_path, "apps.json").rows["services"][0]
    assert alone["public"] is None  # its environment may be a private one
    assert alone["logs_exported"] is None


def test_stores_that_are_mounted_are_needs(run, azure):
    assert edges(run, "basket") | edges(run, "cart") == {
        ("ext:cloudsql/shop-480:europe-west4:orders", "data"),
        ("ext:gcs/shop-uploads", "data"),
        ("catalog", "call"),
        ("ext:10.20.0.3", "cache"),
        ("ext:pay.example.net", "call"),
    }
    assert ("ext:cloudsql/shop-480:us-east1:terms", "data") in edges(run, "search")
    assert ("ext:10.20.0.9", "data") in edges(run, "search")
    assert edges(azure, "checkout") == {
        ("ext:azure-files/receiptshare", "data"),
        ("ledger", "call"),
    }
    assert edges(azure, "mailer") == {("ext:shopfiles.file.core.windows.net", "data")}


def test_mounts_by_what_is_behind_them(run):
    key = of(run, "workloads", "basket")[0]["workload_id"]
    mounts = [m for m in run.rows["mounts"] if m["workload_id"] == key]
    classes = {m["destination"]: m["source_class"] for m in mounts}
    assert classes == {
        "/srv/uploads": "named-volume",
        "/tmp/work": "tmpfs",
        "/secrets": "config",
        "/cloudsql": "socket",
    }
    search = of(run, "workloads", "search")[0]["workload_id"]
    mounts = {
        m["destination"]: m for m in run.rows["mounts"] if m["workload_id"] == search
    }
    index = mounts["/var/lib/index"]
    assert told(index, "read_only", "data_like", "driver") == [True, False, "gcs"]
    assert mounts["/mnt/files"]["volume_id"] == "nfs:10.20.0.9:/vol1"


def test_the_newest_revision_tells_the_digest_and_all_of_them_the_deployments(run):
    main, beside = of(run, "workloads", "basket")[:2]
    assert main["image_digest"] == "sha256:" + "b" * 64
    assert beside["image_digest"] is None
    found = [row["to_version"] for row in of(run, "activities", "basket")]
    assert found == ["basket-00006-aaa", "basket-00007-abc"]


def test_a_service_without_a_port_serves_and_a_pool_of_workers_does_not(tmp_path):
    where = "projects/p/locations/europe-west1/"
    items = [
        {"name": f"{where}services/web", "template": {"containers": [{"image": "w:1"}]}},
        {"name": f"{where}workerPools/q", "template": {"containers": [{"image": "q:1"}]}},
        {
            "apiVersion": "run.googleapis.com/v1",
            "kind": "WorkerPool",
            "metadata": {"name": "r", "namespace": "p"},
            "spec": {"template": {"spec": {"containers": [{"image": "r:1"}]}}},
        },
    ]
    (tmp_path / "all.json").write_text(json.dumps(items))
    services = read("cloudrun", tmp_path, "all.json").rows["services"]
    kinds = {row["names"][0].name: row["kind"] for row in services}
    assert kinds == {"web": "web", "q": "worker", "r": "worker"}


def test_a_job_is_a_job(run, azure):
    service = of(run, "services", "nightly-report")[0]
    assert told(service, "kind", "health_checked", "logs_exported") == ["job", None, True]
    (task,) = of(run, "workloads", "nightly-report")
    assert told(task, "state", "restart_policy") == ["declared", "on-failure"]
    (cleanup,) = of(azure, "workloads", "cleanup")
    assert cleanup["restart_policy"] == "no"  # its limit of retries is 0


def test_replicas_that_a_revision_counts_run(azure):
    ledger = of(azure, "workloads", "ledger")
    assert [row["state"] for row in ledger] == ["running"] * 3
    checkout = of(azure, "workloads", "checkout")
    roles = [row["container_role"] for row in checkout]
    assert roles == ["main", "init", "main", "init"]
    main = checkout[0]
    sizes = ("cpu_limit", "memory_limit_bytes", "stop_timeout_s", "ports")
    assert told(main, *sizes) == [0.75, 3 << 29, 45, "5000/tcp"]


def test_an_app_that_is_stopped_runs_nothing(tmp_path):
    apps = json.loads((FIXTURES / "containerapps/apps.json").read_text())
    stopped = copy.deepcopy(apps[0])
    stopped["properties"]["runningStatus"] = "Stopped"
    (tmp_path / "apps.json").write_text(json.dumps([stopped]))
    rows = read("containerapps", tmp_path, "apps.json").rows["workloads"]
    assert {row["state"] for row in rows} == {"stopped"}


def test_an_app_as_the_sdk_of_azure_writes_it_says_the_same(tmp_path):
    def snake(value):
        if isinstance(value, list):
            return [snake(item) for item in value]
        if not isinstance(value, dict):
            return value
        return {
            re.sub(r"([A-Z])", lambda m: f"_{m[1].lower()}", key): snake(item)
            for key, item in value.items()
        }

    apps = json.loads((FIXTURES / "containerapps/apps.json").read_text())
    batches = []
    for written in (apps, snake(apps)):
        (tmp_path / "apps.json").write_text(json.dumps(written))
        batches.append(read("containerapps", tmp_path, "apps.json"))
    api, sdk = batches
    assert sdk.rows == api.rows and len(api.rows["workloads"]) > 2


def test_a_group_of_container_instances(azure):
    (row,) = of(azure, "workloads", "mailer")
    sizes = ("state", "cpu_request", "memory_request_bytes", "restart_policy", "ports")
    expected = ["running", 1.0, 1_500_000_000, "on-failure", "587->587/tcp"]
    assert told(row, *sizes) == expected
    assert of(azure, "services", "mailer")[0]["public"] is True


def test_the_same_name_in_two_regions_is_one_service(tmp_path):
    (service,) = json.loads((FIXTURES / "cloudrun/v2.json").read_text())["services"]
    other = copy.deepcopy(service)
    other["name"] = service["name"].replace("us-east1", "europe-west1")
    (tmp_path / "v2.json").write_text(json.dumps({"services": [service, other]}))
    batch = read("cloudrun", tmp_path, "v2.json")
    (row,) = batch.rows["services"]
    assert told(row, "asg_min", "asg_max") == [6, 24]
    assert {host["region"] for host in batch.rows["hosts"]} == {
        "us-east1",
        "europe-west1",
    }
    assert len({w["workload_id"] for w in batch.rows["workloads"]}) == 6


def test_one_service_as_either_version_of_the_api_says_the_same(tmp_path):
    (new,) = json.loads((FIXTURES / "cloudrun/v2.json").read_text())["services"]
    pod = copy.deepcopy(new["template"])
    for entry in pod["containers"][0]["env"]:
        if source := entry.pop("valueSource", None):
            key = source["secretKeyRef"]
            entry["valueFrom"] = {"secretKeyRef": {"name": key["secret"], "key": "4"}}
    pod["volumes"][0] = {
        "name": "index",
        "csi": {
            "driver": "gcsfuse.run.googleapis.com",
            "readOnly": True,
            "volumeAttributes": {"bucketName": "shop-index"},
        },
    }
    del pod["volumes"][2], pod["containers"][0]["volumeMounts"][2]
    scale = {
        "autoscaling.knative.dev/minScale": "3",
        "autoscaling.knative.dev/maxScale": "12",
        "run.googleapis.com/cloudsql-instances": "shop-480:us-east1:terms",
    }
    urls = json.dumps([new["uri"], *new["urls"]])
    old = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {
            "name": "search",
            "namespace": "shop-480",
            "creationTimestamp": new["createTime"],
            "labels": {"cloud.googleapis.com/location": "us-east1"},
            "annotations": {
                "run.googleapis.com/ingress": "internal",
                "run.googleapis.com/urls": urls,
            },
        },
        "spec": {"template": {"metadata": {"annotations": scale}, "spec": pod}},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
    (tmp_path / "v1.json").write_text(json.dumps([old]))
    (tmp_path / "v2.json").write_text(json.dumps([new]))

    def rows(file):
        batch = read("cloudrun", tmp_path, file)
        keyed = sorted(
            (frame, json.dumps(row | {"source_ref": ""}, default=str, sort_keys=True))
            for frame, rows in batch.rows.items()
            for row in rows
        )
        return keyed

    assert rows("v1.json") == rows("v2.json")


def test_their_hosts_pass_as_managed_without_the_version_of_an_engine(tmp_path):
    (tmp_path / "assess.toml").write_text(
        "\n".join(
            f'[[source]]\ntype = "{kind}"\npath = "{FIXTURES / kind}"' for kind in SOURCES
        )
    )
    inventory = collect(tmp_path / "assess.toml")
    policy = assess.load_policy()
    readiness = assess.score_readiness(inventory, policy)
    rows = readiness.to_dict()["rows"]
    gates = {
        (row["service_id"], gate["gate"]): gate for row in rows for gate in row["gates"]
    }
    assert {key[0] for key in gates} == set(inventory["services"]["service_id"])
    engine = [gate for (_, name), gate in gates.items() if name == "G2"]
    assert {gate["state"] for gate in engine} == {"pass"}
    churn = assess.score_upgrade_churn(inventory, policy)
    assert churn.frame["hours_per_year_lo"].notna().all()
    # it is the provider's
    assert "orchestrator" not in set(churn.details["clocks"]["component"])


@pytest.mark.parametrize("kind", SOURCES)
def test_what_is_described_badly_costs_itself_only(kind, tmp_path):
    file = {"cloudrun": "services.json", "containerapps": "apps.json"}[kind]
    good = json.loads((FIXTURES / kind / file).read_text())[0]
    spoiled = [
        {},
        {"kind": "Service", "apiVersion": "serving.knative.dev/v1", "metadata": []},
        {"type": "Microsoft.App/containerApps", "properties": {"template": 3}},
        {"name": "projects/a/locations/b/services/c", "template": {"containers": [3]}},
        {"name": 7},
        good,
    ]
    (tmp_path / "all.json").write_text(json.dumps(spoiled))
    batch = read(kind, tmp_path, "all.json")
    named = {row["names"][0].name for row in batch.rows["services"]}
    assert named & {"cart", "checkout"}
    row = next(row for row in batch.coverage if row["call"] == "read")
    assert row["unmapped_n"] >= 2


def test_sizes_that_cannot_be_read_are_unknown(tmp_path):
    apps = json.loads((FIXTURES / "containerapps/apps.json").read_text())
    asked = apps[0]["properties"]["template"]["containers"][0]["resources"]
    asked |= {"cpu": "half", "memory": "1.5 gigs"}
    (tmp_path / "apps.json").write_text(json.dumps(apps[:1]))
    main = read("containerapps", tmp_path, "apps.json").rows["workloads"][0]
    assert told(main, "cpu_limit", "memory_limit_bytes") == [None, None]
    assert pd.isna(main["cpu_request"])
