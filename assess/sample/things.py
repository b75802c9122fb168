"""What the sample fleet is made of: one function per frame, each gives rows for a scene."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import reduce
from operator import or_

from assess.sample.images import image_of
from assess.sample.scene import Row, Scene, digest

GIB = 1 << 30
SERVICE_COLUMNS = (
    "kind", "tier", "owner", "public", "stateful", "health_checked", "logs_exported",
    "config_external", "secrets_in_image", "runbook", "license_bound", "hardware_bound",
    "min_healthy_pct", "deploys_per_month", "lead_time_days", "move_effort_hours",
)  # fmt: skip
NAMED_BY = {"host": "unit", "docker": "container", "ecs": "task"}
PORTS = {"web": "8080/tcp", "database": "5432/tcp", "cache": "6379/tcp", "search": "9200/tcp"}
HEALTH = {"true": "healthy", "false": "none", "": None}
UNSEEN = ("timeout", "unsupported")


def services(scene: Scene) -> Iterator[Row]:
    """Give the services.

    Parameters
    ----------
    scene : Scene
        Cell and quarter.

    Yields
    ------
    dict
        Rows of the frame.
    """
    for row in scene.templates:
        pool = scene.pools.get(row["pool"], {})
        team = scene.world["teams"].get(row["owner"], {})
        facts: Row = {
            "service_id": scene.name(row["service_id"]),
            "name": row["service_id"].replace("-", " ").capitalize(),
            **{name: row[name] for name in SERVICE_COLUMNS},
            "platform": pool.get("platform", "unknown"),
            "identity_rule": f"{NAMED_BY[pool['platform']]}-name" if pool else "incident-name",
            "identity_confidence": 0.95 if pool else 0.5,
            "source": "sample",
        }
        if pool:
            facts |= {
                "env": "prod",
                "lifecycle": "production",
                "team_container_months": team.get("container_months"),
                "monthly_cost": int(row["replicas"]) * pool["cost"] // 2,
            }
        if "asg" in pool:
            facts |= {"asg_min": row["replicas"], "asg_max": 2 * int(row["replicas"])}
        if row["restore_tested_days"]:
            tested = scene.quarter.snapshot_at - timedelta(days=int(row["restore_tested_days"]))
            facts["restore_tested_at"] = tested
        yield facts


def service_aliases(scene: Scene) -> Iterator[Row]:
    """Give the names that sources have for the services.

    Parameters
    ----------
    scene : Scene
        Cell and quarter.

    Yields
    ------
    dict
        Rows of the frame.
    """
    for row, pool, _ in scene.placed:
        name = scene.name(row["service_id"])
        seen = {f"{name}.service": "ansible"} if pool["platform"] == "host" else {}
        seen |= {f"prod_{name}_1": "docker"} if pool["platform"] == "docker" else {}
        seen |= {f"prod-{name}": "ecs"} if pool["platform"] == "ecs" else {}
        seen |= {name.replace("-", " ").title(): "incidents"}
        for alias, source in seen.items():
            yield {
                "service_id": name,
                "alias": alias,
                "alias_source": source,
                "rule": "normalised-name",
                "confidence": 0.9,
                "ambiguous": False,
            }
    if {"cart-api", "mongo-carts"} <= scene.ids:
        yield {
            "service_id": scene.name("mongo-carts"),
            "alias": scene.name("carts"),
            "alias_source": "incidents",
            "rule": "similar-name",
            "confidence": 0.4,
            "ambiguous": True,
        }


def hosts(scene: Scene) -> Iterator[Row]:
    """Give the hosts.

    Parameters
    ----------
    scene : Scene
        Cell and quarter.

    Yields
    ------
    dict
        Rows of the frame.
    """
    world = scene.world
    for name, pool in scene.pools.items():
        own = pool.get("provider") == "own"
        os_name, os_version = pool["os"].split()
        for k, host in enumerate(scene.hosts(name)):
            zone = world["zones"][k % len(world["zones"])]
            stale = pool.get("status") in ("stale", *UNSEEN)
            age = scene.dice("facts", host).random() * 20 + (900 if stale else 1)
            yield {
                "host_id": host,
                "hostname": f"{host}.shop.example",
                "provider": pool.get("provider", "aws"),
                "account": None if own else world["account"],
                "region": "own" if own else world["region"],
                "az": "own-1" if own else world["region"] + zone,
                "instance_type": pool["instance_type"],
                "image_ref": None if own else f"ami-{digest(pool['os'])[7:19]}",
                "launched_at": scene.day(-(30 + 200 * scene.dice("launched", host).random())),
                "os_name": os_name,
                "os_version": os_version,
                "kernel": pool["kernel"],
                "arch": pool.get("arch", "x86_64"),
                "vcpus": pool["vcpus"],
                "memory_bytes": pool["memory_gib"] * GIB,
                "cgroup_version": pool["cgroup"],
                "asg_name": scene.name(pool["asg"]) if "asg" in pool else None,
                "state": "running",
                "last_seen_at": scene.quarter.snapshot_at - timedelta(hours=round(age)),
                "facts_age_hours": round(age, 1),
                "source": "ansible" if own else "ec2",
            }


def engines(scene: Scene) -> Iterator[Row]:
    """Give the container engines; ``none`` where a host was looked at and has none.

    Parameters
    ----------
    scene : Scene
        Cell and quarter.

    Yields
    ------
    dict
        Rows of the frame.
    """
    for name, pool in scene.pools.items():
        for host in scene.hosts(name):
            if "engine" not in pool:
                yield {"host_id": host, "runtime": "none", "source": "ansible"}
                continue
            row: Row = {
                "host_id": host,
                "runtime": "docker",
                "version": pool["engine"],
                "api_version": pool["api"],
                "min_api_version": pool["min_api"],
                "storage_driver": pool["driver"],
                "backing_fs": pool["backing_fs"],
                "logging_driver": pool["log_driver"],
                "reachable": pool.get("status") not in UNSEEN,
                "ecs_agent_version": "1.94.0" if pool["platform"] == "ecs" else None,
                "source": "ansible" if pool.get("status") in UNSEEN else "docker",
            }
            if row["reachable"]:
                row |= {
                    "d_type": pool.get("d_type", True),
                    "cgroup_driver": "systemd" if pool["cgroup"] == "2" else "cgroupfs",
                    "live_restore": pool["platform"] == "ecs" or name == "dock-blue",
                    "rootless": False,
                    "userns": False,
                    "seccomp": True,
                    "swarm": "inactive",
                    "mirrors_n": pool["mirrors"],
                    "insecure_registries_n": int(pool["driver"] == "devicemapper"),
                    "containers_total_n": sum(w.count(host) for _, _, w in scene.placed),
                    "warnings_n": 2 * int(pool["driver"] == "devicemapper"),
                    "clock_skew_s": round(scene.dice("skew", host).random() - 0.5, 3),
                }
            yield row


def workloads(scene: Scene) -> Iterator[Row]:
    """Give the replicas: units on plain hosts, containers and tasks.

    Parameters
    ----------
    scene : Scene
        Cell and quarter.

    Yields
    ------
    dict
        Rows of the frame.
    """
    usual = scene.world["workload"]
    for row, pool, where in scene.placed:
        traits = [scene.world["traits"].get(trait, {}) for trait in row["traits"].split()]
        seen = _seen(reduce(or_, traits, usual | _runs(row, pool)), pool)
        for k, host in enumerate(where, start=1):
            name = f"{scene.name(row['service_id'])}.{k}"
            started = scene.day(-(1 + 45 * scene.dice("started", name, scene.step).random()))
            yield {
                "workload_id": name,
                "service_id": scene.name(row["service_id"]),
                "host_id": host,
                "cluster": scene.name("shop") if pool["platform"] == "ecs" else None,
                "namespace": "prod",
                "name": name,
                "source_kind": NAMED_BY[pool["platform"]],
                **_image_columns(image_of(scene, row), pinned=pool["platform"] == "ecs"),
                **seen,
                "created_at": started,
                "started_at": started + timedelta(seconds=4),
                "source": "ansible" if pool["platform"] == "host" else pool["platform"],
            }


def _runs(row: Row, pool: Row) -> Row:
    """How a workload runs, by the platform beneath it."""
    columns: Row = {
        "health": HEALTH[row["health_checked"]],
        "ports": PORTS.get(row["kind"]),
        "restart_policy": "always",
        "log_driver": pool.get("log_driver", "journald"),
    }
    if pool["platform"] != "host":
        columns["client_api_version"] = pool["api"]
    return columns


def _seen(columns: Row, pool: Row) -> Row:
    """Leave out what an inspection would have shown, where there was none."""
    if pool.get("status") in UNSEEN:
        columns = columns | {"inspect_status": "list"}
    if columns["inspect_status"] == "ok":
        return columns
    return {name: columns[name] for name in ("state", "inspect_status")}


def _image_columns(image: Row, *, pinned: bool) -> Row:
    if not image:
        return {}
    plain = f"{image['registry']}/{image['repository']}"
    return {
        "image_ref": f"{plain}@{image['digest']}" if pinned else f"{plain}:{image['tag']}",
        "registry": image["registry"],
        "repository": image["repository"],
        "tag": image["tag"],
        "image_digest": image["digest"],
        "tag_floating": image["tag"] == "latest",
        "pinned": pinned,
    }


def mounts(scene: Scene) -> Iterator[Row]:
    """Give the mounts.

    Parameters
    ----------
    scene : Scene
        Cell and quarter.

    Yields
    ------
    dict
        Rows of the frame.
    """
    for row, _, where in scene.placed:
        name = scene.name(row["service_id"])
        for mount in row["mounts"].split():
            destination, _, kind = mount.partition("=")
            about = scene.world["mounts"][kind]
            for k in range(1, len(where) + 1):
                volume = about["type"] == "volume"
                yield about | {
                    "workload_id": f"{name}.{k}",
                    "destination": destination,
                    "volume_name": f"{name}-{k}" if volume else None,
                    "shared_with_n": 0,
                }


def dependencies(scene: Scene) -> Iterator[Row]:
    """Give the dependencies between services, and on what lies outside.

    Parameters
    ----------
    scene : Scene
        Cell and quarter.

    Yields
    ------
    dict
        Rows of the frame; a service that is not in this cell is left out.
    """
    for row, _, _ in scene.placed:
        src = scene.name(row["service_id"])
        for need in row["needs"].split():
            kind, _, rest = need.partition(":")
            dst, _, p = rest.partition("=")
            outside = dst.startswith("ext:")
            if not outside and dst not in scene.ids:
                continue
            about = scene.world["evidence"][kind]
            dice = scene.dice("edge", src, dst)
            edge = about | {
                "src_id": src,
                "dst_id": dst if outside else scene.name(dst),
                "kind": kind,
                "p": p,
                "first_seen_at": scene.day(-400),
                "last_seen_at": scene.day(-dice.random()),
                "unresolved": False,
            }
            if about["evidence"] == "traces":
                edge |= {
                    "calls": int(1000 + 900000 * dice.random()),
                    "error_rate": round(0.01 * dice.random(), 5),
                    "window_hours": 168,
                }
            yield edge
