"""A volume that several services mount is one element, and no edge between them."""

from __future__ import annotations

import pytest

from assess.sources.compose import ComposeSource
from assess.sources.deadline import Deadline
from assess.sources.docker.payload import EngineData
from assess.sources.docker.rows import to_batch
from assess.sources.kubernetes.rows import to_batch as kubernetes
from assess.sources.unit import mount_rows
from assess.sources.volumes import Mount, nfs_export, short_path, volume_id


def ids(mounts, host="h", cluster=None):
    return [row["volume_id"] for row in mount_rows(mounts, "w", host, cluster)]


@pytest.mark.parametrize(
    ("mount", "expected"),
    [
        (Mount("/x", "volume", volume="data"), "h:data"),
        (Mount("/x", "volume", volume="fs-1", is_remote=True), "c:fs-1"),
        (
            Mount("/x", "volume", volume="v", is_remote=True, shared_as="shop/data"),
            "c:shop/data",
        ),
        (
            Mount("/x", "volume", volume="v", is_remote=True, shared_as="nfs:n:/a"),
            "nfs:n:/a",
        ),
        (Mount("/x", "volume", volume="data", is_remote=True, shared_as=""), None),
        (Mount("/x", "bind", "/srv/shared"), "h:/srv/shared"),
        (Mount("/x", "bind", "/var/log"), None),
        (Mount("/x", "bind", "/"), None),
        (Mount("/x", "bind", "/var/lib/docker/volumes"), None),
        (Mount("/x.sock", "bind", "/var/run/docker.sock"), None),
        (Mount("/etc/app.yml", "bind", "/srv/app.yml"), None),
        (Mount("/x", "tmpfs"), None),
        (Mount("/x", "volume"), None),
    ],
)
def test_what_others_may_mount(mount, expected):
    assert ids([mount], "h", "c") == [expected]


def test_a_local_volume_of_an_unknown_host_is_shared_with_nobody():
    assert ids([Mount("/x", "volume", volume="data")], None) == [None]


def test_a_long_path_is_told_apart_without_being_shown():
    one, other = short_path("/srv/customers/acme"), short_path("/srv/customers/zenith/")
    assert one != other and one.startswith("/srv/customers/…")
    assert one == short_path("/srv/customers//acme/") and "acme" not in one
    assert "acme" not in volume_id("host-path", name=None, path="/a/b/acme", place="h")


@pytest.mark.parametrize("path", ["/home/alice/data", "/Users/alice", r"\\home\alice\x"])
def test_a_path_below_a_home_directory_names_nobody(path):
    assert "alice" not in short_path(path)
    assert short_path("/home/alice/data") != short_path("/home/bob/data")
    assert "alice" not in volume_id("host-path", name=None, path=path, place="h")


def test_an_nfs_export_is_the_same_on_all_hosts():
    options = {"type": "nfs4", "o": "rw,addr=10.0.0.9,nolock", "device": ":/export"}
    assert nfs_export(options) == "nfs:10.0.0.9:/export"
    assert nfs_export({"type": "nfs", "device": "files:/export"}) == "nfs:files:/export"
    assert nfs_export({"type": "cifs", "device": "//a/b", "o": "password=x"}) == ""
    assert nfs_export(None) == ""


COMPOSE = """
name: shop
services:
  api: {image: acme/api, volumes: ["uploads:/srv", "./pool:/pool"]}
  worker: {image: acme/worker, volumes: ["uploads:/in:ro", "./pool:/pool"], scale: 2}
  files: {image: acme/files, volumes: ["export:/x"]}
volumes:
  uploads:
  export:
    driver_opts: {type: nfs, o: "addr=10.0.0.9", device: ":/export"}
"""


def test_compose_services_that_share_a_volume_have_no_edge(tmp_path):
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    options = {"path": "compose.yaml"}
    batch = ComposeSource().collect(options, tmp_path, Deadline(10))
    assert batch.rows["dependencies"] == []
    found = {}
    for row in batch.rows["mounts"]:
        service = row["workload_id"].split("/")[1]
        found.setdefault(row["volume_id"], set()).add(service)
    assert found == {
        "shop:shop_uploads": {"api", "worker"},
        "shop:pool": {"api", "worker"},
        "nfs:10.0.0.9:/export": {"files"},
    }
    shared = {r["destination"]: r["shared_with_n"] for r in batch.rows["mounts"]}
    assert shared == {"/srv": 2, "/in": 2, "/pool": 2, "/x": 0}


def test_an_engine_names_the_export_behind_a_volume_of_its_own():
    payloads = EngineData()
    mounts = [{"Type": "volume", "Name": "v", "Destination": "/x", "RW": True}]
    raw = {"Id": "a" * 12, "Name": "/a", "HostConfig": {}, "Mounts": mounts}
    payloads.take("inspect", [raw | {"Config": {"Image": "acme/a:1"}}])
    options = {"type": "nfs", "o": "addr=n1,password=hunter2", "device": ":/e"}
    payloads.take("volumes", [{"Name": "v", "Driver": "local", "Options": options}])
    (row,) = to_batch(payloads, "h").rows["mounts"]
    assert row["volume_id"] == "nfs:n1:/e"
    assert "hunter2" not in repr(payloads)


def test_a_claim_and_an_export_of_a_cluster():
    def pod(name, volume):
        meta = {"name": name, "namespace": "shop", "labels": {"app": name}}
        container = {
            "name": "c",
            "image": "acme/x:1",
            "volumeMounts": [{"name": "v", "mountPath": "/data"}],
        }
        spec = {"containers": [container], "volumes": [{"name": "v", **volume}]}
        return {"kind": "Pod", "metadata": meta, "spec": spec}

    claim = {"persistentVolumeClaim": {"claimName": "files"}}
    export = {"nfs": {"server": "n1", "path": "/export"}}
    pods = [pod("a", claim), pod("b", claim), pod("c", export)]
    rows = kubernetes({"pods": pods}, "c1").rows["mounts"]
    assert [row["volume_id"] for row in rows] == [
        "c1:shop/files",
        "c1:shop/files",
        "nfs:n1:/export",
    ]
