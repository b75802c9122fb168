"""Parts and events of the sample fleet: one function per frame."""

import math
from collections.abc import Iterator
from random import Random

import pandas as pd
from pandas import Timedelta

from assess.frames import Row
from assess.sample.scene import Scene, digest, world

PORTS = {
    "web": "8080/tcp",
    "database": "5432/tcp",
    "cache": "6379/tcp",
    "search": "9200/tcp",
}
HEALTH = {"true": "healthy", "false": "none"}
WEEKS = 12  # of a quarter, so that no event comes after its snapshot
LISTED = ("state", "inspect_status")  # known from a list of workloads, without inspection


def services(scene: Scene) -> Iterator[Row]:
    """Yield the services; a service without replicas has few known facts."""
    for row in scene.services:
        pool = row["pool"]
        n = len(row["hosts"])
        row |= {
            "platform": pool["platform"],
            "identity_rule": pool["way"]["kind"] + "-name",
            "identity_confidence": 0.95 if n else 0.5,
        }
        if n:
            row |= {
                "env": "prod",
                "lifecycle": "production",
                "team_container_months": row["team"].get("team_container_months"),
                "monthly_cost": n * int(pool["cost"]) // 2,
                "asg_min": n if pool["asg_name"] else None,
                "asg_max": 2 * n if pool["asg_name"] else None,
            }
        if row["restore_tested_days"]:
            row["restore_tested_at"] = scene.day(-int(row["restore_tested_days"]))
        yield row


def service_aliases(scene: Scene) -> Iterator[Row]:
    """Yield the names that sources use for the services, one of them doubtful."""
    for row in scene.placed:
        name = row["service_id"]
        way = row["pool"]["way"]
        alias = way["alias"].format(name)
        yield {"service_id": name, "alias": alias, "alias_source": way["source"]}
        title = name.replace("-", " ").title()
        yield {"service_id": name, "alias": title, "alias_source": "incidents"}
        if name.startswith("mongo-"):
            doubt = {"rule": "similar-name", "confidence": 0.4, "ambiguous": True}
            yield doubt | {
                "service_id": name,
                "alias": name[6:],
                "alias_source": "incidents",
            }


def hosts(scene: Scene) -> Iterator[Row]:
    """Yield the hosts."""
    for host, pool, _ in scene.hosts:
        dice = scene.dice("host", host)
        zones = pool["zones"].split()
        age = round(int(pool["facts_age"]) + 20 * dice.random(), 1)
        is_ours = pool["managed_by"] != "provider"
        yield pool | {
            "host_id": host,
            "hostname": f"{host}.shop.example" if is_ours else None,
            "az": zones[pool["hosts"].index(host) % len(zones)],
            "launched_at": scene.day(-(30 + 200 * dice.random())),
            "memory_bytes": int(pool["memory_gib"]) << 30,
            "last_seen_at": scene.at - Timedelta(hours=round(age)),
            "facts_age_hours": age,
        }


def engines(scene: Scene) -> Iterator[Row]:
    """Yield the container engines; ``none`` for a host that was seen and has none."""
    for host, pool, n in scene.hosts:
        engine = pool | {"host_id": host, "source": "ansible"}
        if pool["reachable"] == "true":
            engine |= {"containers_total_n": n, "source": pool["way"]["seen_by"]}
        if pool["runtime"]:  # a provider shows none
            yield engine


def workloads(scene: Scene) -> Iterator[Row]:
    """Yield the replicas: units on plain hosts, containers and tasks."""
    traits = world()["traits"]
    for row in scene.placed:
        pool = row["pool"]
        image = row["image"]
        way = pool["way"]
        about = {
            "health": HEALTH.get(row["health_checked"]),
            "ports": PORTS.get(row["kind"]),
            "log_driver": pool["logging_driver"] or way.get("log_driver"),
            "client_api_version": pool["api_version"],
        }
        named = ["usual", "limited", "harmless", *way["traits"], *row["traits"].split()]
        for trait in named:
            about |= traits.get(trait, {})
        if pool["reachable"] == "false":
            about["inspect_status"] = "list"
        if about["inspect_status"] != "ok":
            about = {name: about[name] for name in LISTED}
        if image:
            pinned = pool["platform"] == "ecs"
            plain = f"{image['registry']}/{image['repository']}"
            about |= image | {
                "image_ref": plain
                + (f"@{image['digest']}" if pinned else f":{image['tag']}"),
                "image_digest": image["digest"],
                "tag_floating": image["tag"] == "latest",
                "pinned": pinned,
            }
        for k, host in enumerate(row["hosts"], start=1):
            name = f"{row['service_id']}.{k}"
            started = scene.day(
                -(1 + 45 * scene.dice("started", name, scene.step).random())
            )
            yield about | {
                "workload_id": name,
                "service_id": row["service_id"],
                "host_id": host,
                "cluster": scene.name(pool["cluster"]) if pool["cluster"] else None,
                "name": name,
                "source_kind": way["kind"],
                "created_at": started,
                "started_at": started + Timedelta(seconds=4),
                "source": way["source"],
            }


def objects(scene: Scene) -> Iterator[Row]:
    """Yield the budgets of disruption of services with replicas in a cluster of Kubernetes."""
    for row in scene.placed:
        pool = row["pool"]
        if pool["platform"] == "kubernetes" and row["min_healthy_pct"]:
            cluster = scene.name(pool["cluster"])
            name = row["service_id"]
            yield {
                "object_id": f"{cluster}/prod/PodDisruptionBudget/{name}",
                "service_id": name,
                "cluster": cluster,
                "name": name,
            }


def mounts(scene: Scene) -> Iterator[Row]:
    """Yield the mounts."""
    for row in scene.placed:
        for mount in row["mounts"].split():
            destination, _, kind = mount.partition("=")
            about = world()["mounts"][kind] | {"destination": destination}
            for k in range(1, len(row["hosts"]) + 1):
                volume = f"{row['service_id']}-{k}" if about["type"] == "volume" else None
                yield about | {
                    "workload_id": f"{row['service_id']}.{k}",
                    "volume_name": volume,
                }


def dependencies(scene: Scene) -> Iterator[Row]:
    """Yield the dependencies on services of this cell and outside the fleet."""
    for row in scene.placed:
        for need in row["needs"].split():
            kind, _, dst = need.partition(":")
            outside = dst.startswith("ext:")
            about = world()["evidence"][kind]
            if outside or dst in scene.plain:
                dice = scene.dice("edge", row["service_id"], dst)
                calls = int(1000 + 900000 * dice.random())
                yield about | {
                    "src_id": row["service_id"],
                    "dst_id": dst if outside else scene.name(dst),
                    "kind": kind,
                    "calls": calls if about["evidence"] == "traces" else None,
                    "first_seen_at": scene.day(-400),
                    "last_seen_at": scene.day(-dice.random()),
                }


def images(scene: Scene) -> Iterator[Row]:
    """Yield the images on hosts, leftovers of earlier deploys included, and in the registry."""
    for row in scene.placed:
        image = row["image"]
        if not image:
            continue
        public = image["registry"] == "docker.io"
        old = "schema1" in row["traits"]
        dice = scene.dice("image", image["digest"])
        about = image | {
            "schema": "1" if old else "2" if public else "oci",
            "size_bytes": round((60 + 500 * dice.random()) * 1e6),
            "created_at": scene.day(-1500 if old else -(15 + 60 * dice.random())),
        }
        before = about | {
            "digest": digest("before " + image["digest"]),
            "created_at": about["created_at"] - Timedelta(days=60),
        }
        about |= {"tags": image["tag"], "dangling": False}
        if not public:
            base = row["team"]["base"]
            about |= {"base_name": f"docker.io/{base}", "base_digest": digest(base)}
        for host in sorted(set(row["hosts"])):
            here = {"host_id": host, "location": "host"}
            yield about | here | {"containers_n": row["hosts"].count(host)}
            yield (
                before | here | {"containers_n": 0, "dangling": True, "reclaimable": True}
            )
        if ".ecr." in image["registry"] and not scene.cell:
            yield from (
                _in_registry(scene, one, before is one) for one in (about, before)
            )


def _in_registry(scene: Scene, about: Row, is_old: bool) -> Row:
    dice = scene.dice("registry", about["digest"])
    most = 3 if is_old else 1
    levels = {"critical": 1.2, "high": 2, "medium": 5, "low": 9}
    return about | {
        "tags": "previous" if is_old else about["tag"],
        "location": "registry",
        "pushed_at": about["created_at"] + Timedelta(minutes=20),
        "signed": not is_old,
        "immutable_tags": True,
        "lifecycle_policy": True if scene.step else None,
        "would_expire": is_old if scene.step else None,
        **{f"vuln_{name}_n": int(most * n * dice.random()) for name, n in levels.items()},
        "source": "ecr",
    }


def coverage(scene: Scene) -> Iterator[Row]:
    """Yield the outcome of each call; calls for the whole fleet come from the first cell."""
    run = {"run_id": f"run-{scene.quarter}"}
    for host, pool, n in scene.hosts:
        way = pool["way"]
        seen = pool["reachable"] != "false"
        yield run | {
            "source": way["seen_by"],
            "scope": host,
            "call": way["call"],
            "status": pool["status"],
            "rows": n if seen else 0,
            "expected": n,
            "ratio": float(seen),
            "seconds": 30 if pool["status"] == "timeout" else 1.5,
            "age_hours": pool["facts_age"] if seen else 0,
            "error_class": pool["error_class"],
            "hint": pool["hint"],
        }
    for row in [] if scene.cell else scene.table("coverage"):
        window = {"window_start": (scene.quarter - 1).start_time, "window_end": scene.at}
        yield run | row | (window if row["source"] == "incidents" else {})


def incidents(scene: Scene) -> Iterator[Row]:
    """Yield the incidents of this quarter and the one before."""
    for then in scene.history[-2:]:
        services = {row["service_id"]: row for row in then.services}
        for row in [*then.written("incidents"), *_drawn(then)]:
            opened = then.day(float(row["day"]) + 0.4)
            minutes = float(row["minutes"] or "nan")
            hit = [services[one] for one in row["affected_services"].split(";") if one]
            service = services.get(row["service_id"])
            who = row["service_id"] or then.name("shop-proxy")
            yield row | {
                "incident_id": f"INC-{opened:%y%m%d%H%M}-{who}",
                "service_raw": who,
                "opened_at": opened,
                "acked_at": opened + Timedelta(minutes=4),
                "resolved_at": opened + pd.to_timedelta(minutes, unit="min"),
                "resolved_basis": "resolved_at" if row["minutes"] else None,
                "ttr_s": 60 * minutes if minutes > 0 else None,
                "change_related": row["cause"] in ("deploy", "change"),
                "customer_facing": any(one["public"] == "true" for one in hit),
                "platform_at_time": service["pool"]["platform"] if service else None,
                "bad_time": minutes < 0,
            }


def _drawn(scene: Scene) -> Iterator[Row]:
    """Yield at most one incident per service and week, at its rate per quarter."""
    odds = world()["incidents"]
    edges = [*dependencies(scene)]
    for row in scene.placed:
        name = row["service_id"]
        dice = scene.dice("incidents", name, scene.quarter)
        callers = [
            e["src_id"]
            for e in edges
            if e["dst_id"] == name and e["kind"] in ("call", "data")
        ]
        for week in range(WEEKS):
            if dice.random() < float(row["incidents"]) / WEEKS:
                cause = _one(odds.get(row["kind"], odds["causes"]).split(), dice)
                spread = math.exp(1.4 * (dice.random() + dice.random() - 1))
                affected = [name, *(one for one in callers if dice.random() < 0.5)]
                on_host = cause in ("host", "storage", "disk-full")
                yield {
                    "service_id": name,
                    "day": 7 * (week + dice.random()),
                    "cause": cause,
                    "minutes": round(odds["minutes"][cause] * spread),
                    "severity": min(4, int(row["tier"] or 3) + int(2 * dice.random())),
                    "host_id": _one(row["hosts"], dice) if on_host else None,
                    "affected_services": ";".join(affected),
                }


def _one(items: list[str], dice: Random) -> str:
    return items[int(dice.random() * len(items))]


def experiments(scene: Scene) -> Iterator[Row]:
    """Yield the game days of this quarter and the one before."""
    for then in scene.history[-2:]:
        for row in then.written("experiments"):
            started = then.day(int(row["day"]) + 0.45)
            row["experiment_id"] = f"GD-{started:%y%m%d}-{row['element']}"
            yield row | _spell(started, 60 * int(row["minutes"]))


def activities(scene: Scene) -> Iterator[Row]:
    """Yield replacements, upgrades, deploys and pulls of this quarter and the one before."""
    for then in scene.history[-2:]:
        for make_rows in (_replacements, _upgrades, _deploys, _pulls):
            for k, row in enumerate(make_rows(then), start=1):
                yield row | {
                    "activity_id": f"{then.name(str(then.quarter))}-{row['kind']}-{k:03}"
                }


def _spell(started: pd.Timestamp, seconds: int) -> Row:
    ended = started + Timedelta(seconds=seconds)
    return {"started_at": started, "ended_at": ended, "duration_s": seconds}


def _replacements(scene: Scene) -> Iterator[Row]:
    """Yield pairs of terminate and launch: an auto-scaling group that replaces an instance."""
    for name, pool in scene.pools.items():
        dice = scene.dice("replace", scene.name(name), scene.quarter)
        about = {"group": pool["asg_name"], "cause": "health", "status": "Successful"}
        for k in range(int(pool["replacements"] or 0)):
            host = pool["hosts"][k % len(pool["hosts"])]
            started = scene.day(7 * WEEKS * dice.random())
            seconds = round(
                80 + 150 * dice.random() + (260 if dice.random() < 0.12 else 0)
            )
            gone = about | {"kind": "terminate", "host_id": f"{host}-gone"}
            back = about | {"kind": "launch", "host_id": host}
            yield gone | _spell(started, 40)
            yield back | _spell(started + Timedelta(seconds=12), seconds)


def _upgrades(scene: Scene) -> Iterator[Row]:
    """Yield the upgrade of every host whose engine changed since the last quarter."""
    earlier = scene.earlier.pools if scene.earlier else {}
    for name, pool in scene.pools.items():
        was = earlier.get(name, pool)
        kept = [host for host in pool["hosts"] if host in was["hosts"]]
        for k, host in enumerate(kept if was["version"] != pool["version"] else []):
            about = {
                "host_id": host,
                "group": pool["asg_name"],
                "status": "ok",
                "cause": "manual",
            }
            change = {"from_version": was["version"], "to_version": pool["version"]}
            spell = _spell(scene.day(6.3 + 2 * k), 2400)
            source = pool["way"]["seen_by"]
            yield about | change | spell | {"kind": "engine_upgrade", "source": source}


def _deploys(scene: Scene) -> Iterator[Row]:
    """Yield at most three deploys per service, since a source does not keep all of them."""
    for row in scene.placed:
        dice = scene.dice("deploys", row["service_id"], scene.quarter)
        about = {"service_id": row["service_id"], "source": "deploys", "status": "ok"}
        for _ in range(min(3, round(3 * float(row["deploys_per_month"] or 0)))):
            started = scene.day(7 * WEEKS * dice.random())
            failed = dice.random() < 0.08
            deploy = about | {"kind": "deploy", "status": "failed" if failed else "ok"}
            yield deploy | _spell(started, round(120 + 500 * dice.random()))
            if failed:
                back = _spell(started + Timedelta(minutes=15), 180)
                yield about | {"kind": "rollback"} | back


def _pulls(scene: Scene) -> Iterator[Row]:
    for row in scene.placed:
        dice = scene.dice("pulls", row["service_id"], scene.quarter)
        image = row["image"]
        for k in range(4 if image else 0):
            host = row["hosts"][k % len(row["hosts"])]
            about = {
                "service_id": row["service_id"],
                "host_id": host,
                "source": row["pool"]["way"]["seen_by"],
            }
            odds = 0.12 if image["registry"] == "docker.io" else 0.01
            pull = {
                "kind": "image_pull",
                "status": "failed" if dice.random() < odds else "ok",
            }
            spell = _spell(
                scene.day(7 * WEEKS * dice.random()), round(4 + 50 * dice.random())
            )
            yield about | pull | spell | {"registry": image["registry"]}


def answers(scene: Scene) -> Iterator[Row]:
    """Yield all answers of people up to this quarter."""
    for then in scene.history:
        for row in then.written("answers"):
            yield row | {"answered_at": then.day(-14)}


def waivers(scene: Scene) -> Iterator[Row]:
    """Yield all waivers up to this quarter, expired ones included."""
    for then in scene.history:
        for row in then.written("waivers"):
            granted = then.day(int(row["granted"]))
            expires = granted + Timedelta(days=int(row["days"]))
            yield row | {"granted_at": granted, "expires_at": expires}
