"""Quadlets of pods, manifests, volumes, networks and images beside those of containers."""

from __future__ import annotations

import pytest

from assess.sources.deadline import Deadline
from assess.sources.podman import PodmanSource

FILES = {
    "shop.pod": "[Pod]\nPodName=shop\nPublishPort=8080:80\nNetwork=shop.network\n"
    "Volume=/srv/ca:/ca:ro\n",
    "front.container": "[Container]\nImage=front.image\nPod=shop.pod\n"
    "Environment=LEDGER_URL=http://ledger:8000\n",
    "front.image": "[Image]\nImage=registry.example/shop/front:3\n",
    "ledger.container": "[Container]\nImage=registry.example/shop/ledger:1\n"
    "ContainerName=ledger\nNetwork=shop.network\nVolume=books.volume:/books\n"
    "Mount=type=volume,source=cache.volume,destination=/cache\n",
    "shop.network": "[Network]\nNetworkName=shopnet\n",
    "books.volume": "[Volume]\nVolumeName=books\nType=nfs\n"
    "Device=filer.example:/books\nOptions=addr=filer.example\n",
    "cache.volume": "[Volume]\n",
    "built.container": "[Container]\nImage=own.build\nVolume=etc.volume:/etc/own\n"
    "Volume=mem.volume:/run/own\nNetwork=host\n",
    "own.build": "[Build]\nImageTag=localhost/own:2\n",
    "etc.volume": "[Volume]\nType=none\nOptions=bind\nDevice=/etc/own\n",
    "mem.volume": "[Volume]\nType=tmpfs\nDevice=tmpfs\n",
}
MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: mailer}
spec:
  replicas: 3
  selector: {matchLabels: {app: mailer}}
  template:
    metadata: {labels: {app: mailer}}
    spec:
      containers:
      - name: main
        image: registry.example/shop/mailer:5
        resources: {limits: {memory: 128Mi}}
        envFrom: [{configMapRef: {name: mail}}]
---
apiVersion: v1
kind: Pod
metadata: {name: cron}
spec:
  containers: [{name: main, image: registry.example/shop/cron:1}]
"""


def collect(tmp_path, files):
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return PodmanSource().collect({"path": "."}, tmp_path, Deadline(20))


def by_name(batch):
    return {row["name"]: row for row in batch.rows["workloads"]}


@pytest.fixture
def batch(tmp_path):
    return collect(tmp_path, FILES)


def test_a_container_has_the_ports_volumes_and_network_of_its_pod(batch):
    row = by_name(batch)["systemd-front"]
    assert (row["ports"], row["host_network"]) == ("8080->80/tcp", False)
    mounts = {(m["workload_id"], m["destination"]): m for m in batch.rows["mounts"]}
    ca = mounts[row["workload_id"], "/ca"]
    assert (ca["type"], ca["read_only"]) == ("bind", True)


def test_the_ports_of_a_pod_are_nobodys_where_several_containers_share_it(tmp_path):
    files = FILES | {"side.container": "[Container]\nImage=a\nPod=shop.pod\n"}
    rows = by_name(collect(tmp_path, files))
    assert {rows[name]["ports"] for name in ("systemd-front", "systemd-side")} <= {
        None,
        "",
    }


def test_an_image_is_that_of_the_quadlet_that_pulls_or_builds_it(batch):
    rows = by_name(batch)
    assert rows["systemd-front"]["image_ref"] == "registry.example/shop/front:3"
    assert rows["systemd-built"]["image_ref"] == "localhost/own:2"


def test_a_volume_is_what_its_quadlet_says_is_behind_it(batch):
    mounts = {m["destination"]: m for m in batch.rows["mounts"]}
    books = mounts["/books"]
    assert (books["volume_name"], books["driver"]) == ("books", "nfs")
    assert books["volume_id"].startswith("nfs:")
    assert mounts["/cache"]["volume_name"] == "systemd-cache"
    assert mounts["/etc/own"]["type"] == "bind"
    assert mounts["/run/own"]["type"] == "tmpfs"


def test_names_lead_to_containers_of_the_same_network(batch):
    (found,) = batch.rows["dependencies"]
    assert (found["src"].name, found["dst"].name) == ("front", "ledger")
    assert by_name(batch)["systemd-built"]["host_network"] is True


def test_every_quadlet_is_covered_and_one_without_its_section_is_told(tmp_path):
    batch = collect(tmp_path, FILES | {"odd.pod": "[Container]\nImage=a\n"})
    rows = {row["call"]: row for row in batch.coverage}
    told = {row["status"] for row in rows.values() if row["call"] != "odd"}
    assert told == {"ok"}
    assert rows["odd"]["unmapped_n"] == 1


def test_a_manifest_is_played_once_and_on_this_host(tmp_path):
    config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: mail}\ndata: {A: b}\n"
    kube = "[Kube]\nYaml=mail.yaml\nConfigMap=map.yaml\nNetwork=host\n"
    files = {"mail.kube": kube, "mail.yaml": MANIFEST, "map.yaml": config}
    batch = collect(tmp_path, files)
    mailers = [r for r in batch.rows["workloads"] if "mailer" in r["image_ref"]]
    (mailer,) = mailers  # Podman makes one replica
    told = ("state", "memory_limit_bytes", "host_network", "image_ref")
    assert [mailer[name] for name in told] == [
        "declared",
        128 << 20,
        True,
        "registry.example/shop/mailer:5",
    ]
    assert {row["platform"] for row in batch.rows["services"]} == {"docker"}
    assert {row["status"] for row in batch.coverage} == {"ok"}


def test_a_manifest_that_is_not_there_or_that_nothing_names_is_told(tmp_path):
    files = {"mail.kube": "[Kube]\nYaml=mail.yaml\n", "other.yaml": MANIFEST}
    batch = collect(tmp_path, files)
    assert not batch.rows["workloads"]
    rows = {row["call"]: row for row in batch.coverage}
    assert rows["mail"]["status"] == "partial"
    assert "mail.yaml" in rows["mail"]["hint"]
    assert rows["other"]["status"] == "unsupported"


def test_a_pod_that_was_seen_to_run_is_not_declared_beside_it(tmp_path):
    running = '[{"Id": "' + "a" * 64 + '", "Names": ["mailer-pod-main"], "Image": "m"}]'
    files = {
        "mail.kube": "[Kube]\nYaml=mail.yaml\n",
        "mail.yaml": MANIFEST,
        "ps.json": running,
    }
    rows = collect(tmp_path, files).rows["workloads"]
    assert sorted((row["state"] == "declared", row["name"]) for row in rows)[0][1] == (
        "mailer-pod-main"
    )
    assert not any("mailer:5" in str(row["image_ref"]) for row in rows)
    assert any("cron" in str(row["image_ref"]) for row in rows)


def test_drop_ins_add_to_a_quadlet_and_the_most_specific_counts(tmp_path):
    files = {
        "shop-web.container": "[Container]\nImage=registry.example/web:1\n"
        "AddCapability=NET_ADMIN\nVolume=/srv/a:/a\n[Service]\nRestart=always\n",
        "plain.container": "[Container]\nImage=registry.example/plain:1\n",
        "container.d/10-base.conf": "[Container]\nReadOnly=true\nMemory=64m\n",
        "shop-.container.d/10-base.conf": "[Container]\nMemory=128m\n",
        "shop-web.container.d/20-own.conf": "[Container]\nAddCapability=\n"
        "Volume=/srv/b:/b\nImage=registry.example/web:2\n[Service]\nRestart=no\n",
        "pod.d/10.conf": "[Pod]\nPodName=nobody\n",
        "storage.conf": "[storage]\ndriver = overlay\n",
    }
    batch = collect(tmp_path, files)
    rows = by_name(batch)
    web = rows["systemd-shop-web"]
    assert (web["tag"], web["restart_policy"]) == ("2", "no")
    assert web["memory_limit_bytes"] == 128 << 20
    # of files of the same name only the most specific one is read
    assert not web["readonly_root"]
    assert web["caps_added"] == "none"
    mounted = {
        row["destination"]
        for row in batch.rows["mounts"]
        if row["workload_id"] == web["workload_id"]
    }
    assert mounted == {"/a", "/b"}
    plain = rows["systemd-plain"]
    assert (plain["readonly_root"], plain["memory_limit_bytes"]) == (True, 64 << 20)
    status = {row["call"]: row["status"] for row in batch.coverage}
    assert status["20-own"] == "ok"
    assert status["storage"] == "unsupported"


@pytest.mark.parametrize(
    ("image", "check", "expected"),
    [
        ("registry.example/shop/front:3", "HealthCmd=curl -f localhost\n", True),
        ("registry.example/shop/front:3", "HealthCmd=none\n", False),
        ("registry.example/shop/front:3", "", None),
        ("docker.io/library/redis:7", "", False),  # official images define no check
    ],
)
def test_a_health_check_is_what_is_declared_else_that_of_the_image(
    tmp_path, image, check, expected
):
    files = {"front.container": f"[Container]\nImage={image}\n{check}"}
    (service,) = collect(tmp_path, files).rows["services"]
    assert service["health_checked"] is expected


def test_exposed_ports_and_the_time_to_stop(tmp_path):
    text = "[Container]\nImage=a\nExposeHostPort=9000/udp\nStopTimeout=70\n"
    row = by_name(collect(tmp_path, {"web.container": text}))["systemd-web"]
    assert (row["ports"], row["stop_timeout_s"]) == ("9000/udp", 70.0)


def test_two_units_of_one_image_are_two_services(tmp_path):
    text = "[Container]\nImage=docker.io/library/mariadb:11\n"
    files = {"wiki-db.container": text, "shop-db@.container": text}
    names = [row["names"][0].name for row in collect(tmp_path, files).rows["services"]]
    assert sorted(names) == ["shop-db", "wiki-db"]


def test_what_systemd_starts_before_is_a_need(tmp_path):
    unit = (
        "[Unit]\nAfter=network-online.target ledger.service\nRequires=cache.container\n"
    )
    own = "registry.example/shop/"
    files = {
        "front.container": f"{unit}[Container]\nImage={own}front:1\n",
        "ledger.container": f"[Container]\nImage={own}ledger:1\n",
        "cache.container": "[Container]\nImage=docker.io/library/redis:7\n",
        "network.container": f"[Container]\nImage={own}network:1\n",
    }
    found = collect(tmp_path, files).rows["dependencies"]
    assert {(row["src"].name, row["dst"].name, row["kind"]) for row in found} == {
        ("front", "ledger", "start_order"),
        ("front", "cache", "data"),
    }


@pytest.mark.parametrize(
    "line",
    [
        "Network=vpn.container",
        "Network=container:tunnel",
        "PodmanArgs=--net container:tunnel",
    ],
)
def test_who_lives_in_the_network_of_another_needs_it(tmp_path, line):
    own = "[Container]\nImage=registry.example/shop/"
    files = {
        "vpn.container": f"{own}vpn:1\nContainerName=tunnel\n",
        "seeder.container": f"{own}seeder:1\n{line}\n",
        "other.container": f"{own}other:1\nNetwork=tunnel\n",  # is a network of that name
    }
    (found,) = collect(tmp_path, files).rows["dependencies"]
    assert (found["src"].name, found["dst"].name) == ("seeder", "vpn")
    assert found["kind"] == "declared"


@pytest.mark.parametrize(
    "line",
    [
        "Network=shop.network:alias=books,alias=store",
        "Network=shop.network:ip=10.9.0.2,alias=store",
        "Network=shop.network\nNetworkAlias=store",
    ],
)
def test_aliases_of_a_network_lead_to_the_container(tmp_path, line):
    own = "[Container]\nImage=registry.example/shop/"
    files = {
        "shop.network": "[Network]\n",
        "ledger.container": f"{own}ledger:1\n{line}\n",
        "front.container": f"{own}front:1\nNetwork=shop.network\n"
        "Environment=STORE=http://store:8000\n",
    }
    (found,) = collect(tmp_path, files).rows["dependencies"]
    assert (found["src"].name, found["dst"].name) == ("front", "ledger")


def test_secrets_are_variables_and_an_entry_point_names_services(tmp_path):
    text = (
        "[Container]\nImage=registry.example/shop/front:1\nEntrypoint=/bin/front\n"
        "Exec=--ledger http://ledger.example:8000\nEnvironment=LOG_LEVEL=info\n"
        "Secret=db,type=env,target=DB_PASSWORD\nSecret=certificate\n"
    )
    batch = collect(tmp_path, {"front.container": text})
    assert by_name(batch)["systemd-front"]["env_names_n"] == 2
    (found,) = batch.rows["dependencies"]
    assert found["dst"] == "ext:ledger.example"


@pytest.mark.parametrize(
    ("container", "service", "limit", "is_unlimited"),
    [
        ("", "MemoryMax=1G\n", 1 << 30, False),
        ("Memory=64m\n", "MemoryMax=1G\n", 64 << 20, False),
        ("", "MemoryMax=10%\n", None, None),
        ("", "Restart=always\n", None, True),
    ],
)
def test_the_memory_of_the_unit_is_that_of_its_container(
    tmp_path, container, service, limit, is_unlimited
):
    unit = f"[Container]\nImage=web:1\n{container}[Service]\n{service}"
    [row] = collect(tmp_path, {"web.container": unit}).rows["workloads"]
    assert row["memory_limit_bytes"] == limit
    assert row["memory_unlimited"] is is_unlimited
