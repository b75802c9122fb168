"""Dumps of platforms that show what a snapshot of `assess sample` holds, at any size."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

import assess
from assess.sample.scene import digest

CONFIG = """
[[source]]
type = "docker"
path = "docker"

[[source]]
type = "ansible"
path = "ansible"

[[source]]
type = "kubernetes"
path = "kubernetes"
"""


def write_dumps(snapshot: Path, place: Path) -> Path:
    """Write what docker, ansible and kubectl would say of a fleet, and the configuration."""
    fleet = assess.load(snapshot)
    rows = fleet["workloads"].astype(object)
    rows = rows.where(rows.notna(), None)
    hosts = fleet["hosts"].set_index("host_id")
    engines = fleet["engines"].drop_duplicates("host_id").set_index("host_id")
    kinds = {
        host: of_host.to_dict("records")
        for host, of_host in rows.dropna(subset=["host_id"]).groupby("host_id")
    }
    pods = []
    for host, replicas in kinds.items():
        way = replicas[0]["source_kind"]
        if way == "unit":
            _ansible(place / "ansible", host, hosts.loc[host], replicas)
        elif way == "Deployment":
            pods += [_pod(host, replica) for replica in replicas]
            pods.append(_node(host, hosts.loc[host], engines.loc[host]))
        elif host in engines.index:  # a provider's own hosts have no engine to ask
            _docker(place / "docker" / host, host, engines.loc[host], replicas)
    _put(place / "kubernetes" / "all.json", {"kind": "List", "items": pods})
    config = place / "assess.toml"
    config.write_text(CONFIG)
    return config


def _put(file: Path, value: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value))


def _text(value: Any) -> str:
    return "" if pd.isna(value) else str(value)


def _docker(
    place: Path, host: str, engine: pd.Series, replicas: list[dict[str, Any]]
) -> None:
    version = _text(engine["version"])
    about = {"Version": version, "ApiVersion": _text(engine["api_version"]) or "1.41"}
    _put(place / "version.json", {"Server": about})
    driver = _text(engine["storage_driver"]) or "overlay2"
    _put(
        place / "info.json",
        {"Name": host, "ServerVersion": version, "Driver": driver, "OSType": "linux"},
    )
    containers = [_container(replica) for replica in replicas]
    _put(place / "inspect.json", containers)


def _container(replica: dict[str, Any]) -> dict[str, Any]:
    started = f"{replica['started_at']:%Y-%m-%dT%H:%M:%SZ}"
    return {
        "Id": digest(replica["workload_id"]).removeprefix("sha256:"),
        "Name": "/" + replica["name"],
        "Created": started,
        "Image": replica["image_digest"],
        "RestartCount": replica["restarts_n"] or 0,
        "State": {"Status": "running", "Running": True, "StartedAt": started},
        "HostConfig": {
            "Memory": replica["memory_limit_bytes"] or 0,
            "RestartPolicy": {"Name": replica["restart_policy"] or "no"},
            "LogConfig": {"Type": replica["log_driver"] or "json-file"},
            "Privileged": bool(replica["privileged"]),
            "NetworkMode": "host" if replica["host_network"] else "bridge",
        },
        "Mounts": [],
        "Config": {
            "Image": replica["image_ref"],
            "Env": [f"NAME_{one}=value" for one in range(replica["env_names_n"] or 0)],
            "Labels": {"com.docker.compose.service": replica["service_id"]},
        },
        "NetworkSettings": {"Ports": {}},
    }


def _ansible(
    place: Path, host: str, about: pd.Series, replicas: Iterable[dict[str, Any]]
) -> None:
    facts = {
        "ansible_hostname": host,
        "ansible_fqdn": _text(about["hostname"]),
        "ansible_distribution": "Debian",
        "ansible_distribution_version": "12",
        "ansible_kernel": _text(about["kernel"]),
        "ansible_system": "Linux",
        "ansible_memtotal_mb": int(about["memory_bytes"]) >> 20,
    }
    _put(place / "setup" / host, {"ansible_facts": facts, "changed": False})
    units = {}
    for replica in replicas:
        name = f"{replica['service_id']}.service"
        units[name] = {"name": name, "state": "running", "source": "systemd"}
    _put(place / "services" / host, {"ansible_facts": {"services": units}})


def _node(host: str, about: pd.Series, engine: pd.Series) -> dict[str, Any]:
    info = {
        "containerRuntimeVersion": f"{engine['runtime']}://{_text(engine['version'])}",
        "kubeletVersion": f"v{_text(engine['kubelet_version'])}",
        "kernelVersion": _text(about["kernel"]),
        "osImage": "Debian GNU/Linux 12 (bookworm)",
        "operatingSystem": "linux",
        "architecture": "amd64",
    }
    zone = {"topology.kubernetes.io/zone": _text(about["az"])}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": host, "labels": zone},
        "status": {"nodeInfo": info},
    }


def _pod(host: str, replica: dict[str, Any]) -> dict[str, Any]:
    name = replica["service_id"]
    owner = {"kind": "ReplicaSet", "name": f"{name}-6d5f7c9b8f", "controller": True}
    image = replica["image_ref"]
    status = {
        "name": name,
        "image": image,
        "imageID": f"{replica['repository']}@{replica['image_digest']}",
        "ready": True,
        "restartCount": replica["restarts_n"] or 0,
        "state": {
            "running": {"startedAt": f"{replica['started_at']:%Y-%m-%dT%H:%M:%SZ}"}
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{name}-6d5f7c9b8f-{replica['workload_id'].rsplit('.', 1)[-1]}",
            "namespace": "prod",
            "uid": replica["workload_id"],
            "labels": {"app.kubernetes.io/name": name},
            "ownerReferences": [owner],
        },
        "spec": {"nodeName": host, "containers": [{"name": name, "image": image}]},
        "status": {"phase": "Running", "containerStatuses": [status]},
    }
