"""containerd and CRI-O from dumps of crictl and nerdctl."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from assess.sources.base import Batch, Name
from assess.sources.crictl import CrictlSource
from assess.sources.deadline import Deadline
from assess.sources.joining.hosts import join_replicas
from assess.sources.podman import PodmanSource

FIXTURES = Path(__file__).parents[1] / "fixtures" / "crictl"
NAMES = (Name("checkout", "kubernetes-name", 0.95, "shop"),)


def collect(base=FIXTURES, path="."):
    return CrictlSource().collect({"path": path}, base, Deadline(20))


@pytest.fixture
def batch():
    return collect()


def one(batch, frame, **wanted):
    rows = [
        row
        for row in batch.rows[frame]
        if all(row.get(name) == value for name, value in wanted.items())
    ]
    assert len(rows) == 1, rows
    return rows[0]


@pytest.mark.parametrize(
    ("host", "runtime", "version"),
    [
        ("node-1", "containerd", "1.7.13"),
        ("node-2", "cri-o", "1.29.1"),
        ("edge-1", "containerd", "2.0.1"),
    ],
)
def test_the_engine_is_the_runtime_that_answered(batch, host, runtime, version):
    engine = one(batch, "engines", host_id=host)
    assert (engine["runtime"], engine["version"]) == (runtime, version)
    assert one(batch, "hosts", host_id=host)


@pytest.mark.parametrize(
    ("asked", "known", "wanted"),
    [
        ("sha256:" + "1" * 64, "example.com/till@sha256:" + "2" * 64, "till"),
        ("2" * 64, "example.com/till@sha256:" + "2" * 64, "till"),
        ("example.com/till:1.2", "example.com/other@sha256:" + "2" * 64, "till"),
        ("sha256:" + "1" * 64, "sha256:" + "1" * 64, None),
    ],
)
def test_an_image_that_is_listed_by_its_id_has_the_name_of_its_reference(
    tmp_path, asked, known, wanted
):
    container = {
        "id": "c" * 64,
        "metadata": {"name": "till"},
        "image": {"image": asked, "userSpecifiedImage": ""},
        "imageRef": known,
        "state": "CONTAINER_RUNNING",
    }
    (tmp_path / "ps.json").write_text(json.dumps({"containers": [container]}))
    row = one(collect(tmp_path), "workloads")
    assert row["repository"] == wanted


def test_cgroups_storage_and_rootless_where_they_are_told(batch):
    engine = one(batch, "engines", host_id="node-1")
    assert (engine["cgroup_driver"], engine["storage_driver"]) == ("systemd", "overlayfs")
    assert engine["rootless"] is None  # crictl does not tell
    edge = one(batch, "engines", host_id="edge-1")
    assert (edge["rootless"], edge["runc_version"]) == (True, "1.2.2")
    assert one(batch, "hosts", host_id="edge-1")["cgroup_version"] == "2"


def test_a_container_of_containerd_with_all_that_it_was_asked_for(batch):
    row = one(batch, "workloads", host_id="node-1", name="app")
    expected = {
        "state": "running",
        "restarts_n": 2,
        "memory_limit_bytes": 268435456,
        "memory_unlimited": False,
        "cpu_limit": 0.5,
        "pids_limit": 200,
        "privileged": False,
        "host_network": True,
        "host_pid": False,
        "readonly_root": True,
        "user_root": False,
        "caps_added_n": 1,
        "docker_sock_mounted": True,
        "ports": "8080/tcp",
        "tag": "2.4.1",
        "image_digest": "sha256:" + "b2" * 32,
        "env_names_n": 2,
        "secret_like_env_n": 2,
        "restart_policy": None,
        "health": None,
    }
    assert {name: row[name] for name in expected} == expected


def test_a_root_container_without_limits(batch):
    row = one(batch, "workloads", host_id="node-1", name="db")
    assert (row["user_root"], row["privileged"], row["memory_unlimited"]) == (True,) * 3
    assert row["host_network"] is False
    service = next(
        s for s in batch.rows["services"] if s["names"][0].name.startswith("ledger")
    )
    assert (service["stateful"], service["platform"]) == (True, "kubernetes")


def test_a_container_that_was_only_listed_keeps_its_limits_unknown(batch):
    row = one(batch, "workloads", host_id="node-1", name="migrate")
    assert (row["state"], row["inspect_status"]) == ("exited", "list")
    unknown = ("memory_unlimited", "privileged", "user_root", "caps_added_n", "health")
    assert {row[name] for name in unknown} == {None}


def test_crio_has_no_list_of_added_capabilities(batch):
    row = one(batch, "workloads", host_id="node-2")
    assert (row["privileged"], row["host_network"], row["caps_added_n"]) == (
        False,
        True,
        None,
    )
    image = one(batch, "images", host_id="node-2")
    assert (image["containers_n"], image["digest"]) == (1, "sha256:" + "b8" * 32)


def test_what_an_older_nerdctl_leaves_out_is_unknown(batch):
    row = one(batch, "workloads", host_id="edge-1")
    unknown = (
        "env_names_n",
        "secret_like_env_n",
        "user_root",
        "caps_added_n",
        "privileged",
        "restart_policy",
        "health",
    )
    assert {row[name] for name in unknown} == {None}
    assert row["ports"] == "8080->80/tcp"
    assert row["image_digest"] == "sha256:" + "ab" * 32
    service = next(s for s in batch.rows["services"] if s["names"][0].name == "kiosk")
    assert (service["secrets_in_image"], service["health_checked"]) == (None, None)


def test_volumes_of_the_cluster_and_of_the_pod(batch):
    mounts = {row["destination"]: row for row in batch.rows["mounts"]}
    claim = mounts["/var/lib/postgresql/data"]
    assert (claim["source_class"], claim["data_like"]) == ("named-volume", True)
    assert mounts["/cache"]["data_like"] is False
    assert mounts["/run/containerd/containerd.sock"]["source_class"] == "socket"


def test_an_address_in_the_environment_leads_to_its_service(batch):
    row = one(batch, "dependencies", protocol="postgres")
    assert (row["src"].name, row["dst"].name) == ("checkout", "ledger")


def test_what_a_kubelet_announces_is_no_need_of_a_container(tmp_path):
    shutil.copytree(FIXTURES / "node-1", tmp_path / "node-1")
    file = tmp_path / "node-1" / "inspect.json"
    documents = json.loads(file.read_text())
    documents[0]["info"]["runtimeSpec"]["process"]["env"] += [
        "CART_SERVICE_HOST=10.96.0.12",
        "CART_SERVICE_PORT=8080",
        "CART_PORT=tcp://10.96.0.12:8080",
        "CART_PORT_8080_TCP_ADDR=10.96.0.12",
        "MAIL_SERVICE_HOST=mail.example.com",
        "MAIL_SERVICE_PORT=25",
    ]
    file.write_text(json.dumps(documents))
    batch = collect(tmp_path)
    needed = {
        str(getattr(r["dst"], "name", r["dst"])) for r in batch.rows["dependencies"]
    }
    assert needed == {"ledger", "ext:mail.example.com"}
    assert one(batch, "workloads", name="app")["env_names_n"] == 4


def test_dumps_in_yaml_are_the_same(tmp_path):
    (tmp_path / "node-1").mkdir()
    for file in (FIXTURES / "node-1").iterdir():
        place = tmp_path / "node-1" / file.name
        place.write_text(file.read_text())
    for name in ("inspect", "ps", "info", "images"):
        place = tmp_path / "node-1" / f"{name}.json"
        documents = json.loads(place.read_text())
        place.unlink()
        place.with_suffix(".yaml").write_text(yaml.safe_dump(documents))
    read = [row | {"source_ref": ""} for row in collect(tmp_path).rows["workloads"]]
    whole = [r for r in collect().rows["workloads"] if r["host_id"] == "node-1"]
    assert read == [row | {"source_ref": ""} for row in whole]


def test_pods_carry_the_id_that_joins_them_to_their_cluster(batch):
    assert batch.tasks["10" * 6] == "8c1f7a52-5b1e-4d5e-9a3f-0d8a1f6e2b10"


def test_each_inspection_in_a_file_of_its_own(tmp_path):
    shutil.copytree(FIXTURES / "node-1", tmp_path / "node-1")
    file = tmp_path / "node-1" / "inspect.json"
    for number, document in enumerate(json.loads(file.read_text())):
        place = file.with_name(f"inspect-{number}.json")
        place.write_text(json.dumps(document))
    file.unlink()
    split = collect(tmp_path).rows["workloads"]
    whole = [r for r in collect().rows["workloads"] if r["host_id"] == "node-1"]
    assert [r | {"source_ref": ""} for r in split] == [
        r | {"source_ref": ""} for r in whole
    ]


def test_a_runtime_that_no_table_knows_and_an_absent_dump(tmp_path):
    shutil.copytree(FIXTURES / "node-2", tmp_path / "node-2")
    version = {"runtimeName": "frakti", "runtimeVersion": "1.0"}
    (tmp_path / "node-2" / "version.json").write_text(json.dumps(version))
    (tmp_path / "node-2" / "images.json").unlink()
    batch = collect(tmp_path)
    assert one(batch, "engines")["runtime"] == "other"
    absent = [r for r in batch.coverage if r["status"] == "not_configured"]
    assert [(r["call"], r["hint"]) for r in absent] == [
        ("images", "no dump of it: crictl images -o json > images.json")
    ]


def test_containers_that_were_listed_and_not_inspected_are_told(batch):
    calls = [r for r in batch.coverage if r["scope"] == "node-1"]
    row = next(r for r in calls if r["call"] == "inspect")
    assert (row["status"], row["rows"], row["expected"]) == ("partial", 2, 3)
    assert "crictl inspect" in row["hint"]


def test_a_container_is_the_pod_that_its_cluster_lists(batch):
    pod = {"workload_id": "prod/8c1f7a52-5b1e-4d5e-9a3f-0d8a1f6e2b10", "names": NAMES}
    cluster = Batch()
    cluster.add("workloads", pod)
    joined, notes = join_replicas([("kubernetes", cluster), ("crictl", batch)])
    ids = {row["workload_id"] for row in joined[1][1].rows["workloads"]}
    assert pod["workload_id"] in ids
    assert notes[0]["rows"] == 2


def test_a_file_of_another_name_is_told(tmp_path):
    (tmp_path / "node.json").write_text("{}")
    assert [r["status"] for r in collect(tmp_path).coverage] == ["unsupported"]


@pytest.mark.parametrize(
    "mirrors", [{"docker.io": {"endpoint": ["https://a"]}}, {}, None]
)
def test_mirrors_in_the_configuration_of_containerd_are_a_setting(tmp_path, mirrors):
    shutil.copytree(FIXTURES / "node-1", tmp_path / "node-1")
    file = tmp_path / "node-1" / "info.json"
    info = json.loads(file.read_text())
    info["config"]["registry"] = {"configPath": "", "mirrors": mirrors}
    file.write_text(json.dumps(info))
    engine = one(collect(tmp_path), "engines", host_id="node-1")
    assert engine["daemon_flags"] == ("registry.mirrors" if mirrors else None)


@pytest.mark.parametrize("source", [CrictlSource, PodmanSource])
@pytest.mark.parametrize("name", ["nowhere", "dumps/node.json", "ps.json"])
def test_a_path_that_is_not_there_is_an_error_with_its_path(source, name, tmp_path):
    (row,) = source().collect({"path": name}, tmp_path, Deadline(20)).coverage
    assert (row["scope"], row["status"]) == (name, "unreachable")
    assert row["hint"] == "there is no such file"
