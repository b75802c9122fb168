"""Events of the sample fleet: one function per frame."""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random

import pandas as pd

from assess.sample.scene import Row, Scene, world
from assess.sample.things import dependencies

WEEKS = 12  # of a quarter, so that no event comes after its snapshot


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
                "acked_at": opened + pd.Timedelta(minutes=4),
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
    ended = started + pd.Timedelta(seconds=seconds)
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
            yield back | _spell(started + pd.Timedelta(seconds=12), seconds)


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
            yield about | change | spell | {"kind": "engine_upgrade", "source": "docker"}


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
                back = _spell(started + pd.Timedelta(minutes=15), 180)
                yield about | {"kind": "rollback"} | back


def _pulls(scene: Scene) -> Iterator[Row]:
    for row in scene.placed:
        dice = scene.dice("pulls", row["service_id"], scene.quarter)
        image = row["image"]
        for k in range(4 if image else 0):
            host = row["hosts"][k % len(row["hosts"])]
            about = {"service_id": row["service_id"], "host_id": host, "source": "docker"}
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
            expires = granted + pd.Timedelta(days=int(row["days"]))
            yield row | {"granted_at": granted, "expires_at": expires}
