"""What happened to the sample fleet: one function per frame, each gives rows for a scene."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import accumulate
from random import Random

from assess.sample.images import image_of
from assess.sample.scene import Row, Scene

STORES = ("database", "queue", "search", "cache")
HARD = ("call", "data")


def incidents(scene: Scene) -> Iterator[Row]:
    """Give the incidents of this quarter and the one before.

    Parameters
    ----------
    scene : Scene
        Cell and quarter.

    Yields
    ------
    dict
        Rows of the frame.
    """
    for then in scene.window:
        for row in [*(_told_incident(then, t) for t in then.told("incidents")), *_drawn(then)]:
            opened = row["opened_at"]
            yield {"incident_id": f"INC-{opened:%y%m%d%H%M}-{row.pop('who')}"} | row


def _told_incident(scene: Scene, row: Row) -> Row:
    opened = scene.day(row["day"] + 0.4)
    minutes = row["minutes"]
    pool = next(pool for t, pool, _ in scene.placed if t["service_id"] == row["service_id"])
    return {
        "who": scene.name(row["service_id"]),
        "service_id": scene.name(row["service_id"]),
        "service_raw": scene.name(row["service_id"]),
        "opened_at": opened,
        "acked_at": opened + timedelta(minutes=4),
        "resolved_at": opened + timedelta(minutes=minutes),
        "resolved_basis": "resolved_at",
        "ttr_s": minutes * 60 if minutes > 0 else None,
        "severity": row["severity"],
        "cause": row["cause"],
        "cause_basis": "field",
        "change_related": row["cause"] == "deploy",
        "customer_facing": row.get("customer_facing", False),
        "platform_at_time": pool["platform"],
        "container_evidence": "label" if pool["platform"] != "host" else "none",
        "affected_services": scene.names(row["affected"]),
        "host_id": scene.name(row["host"]) if "host" in row else None,
        "bad_time": minutes < 0,
        "source": "incidents",
    }


def _drawn(scene: Scene) -> Iterator[Row]:
    for row, pool, where in scene.placed:
        dice = scene.dice("incidents", row["service_id"], scene.quarter.label)
        mean = scene.world["incident_scale"] * float(row["incidents"] or 0)
        for _ in range(_poisson(dice, mean)):
            yield _drawn_incident(scene, row, pool, where, dice)


def _poisson(dice: Random, mean: float) -> int:
    """Draw a count by adding up waiting times."""
    count, waited = 0, -math.log(1 - dice.random())
    while waited < mean:
        count += 1
        waited -= math.log(1 - dice.random())
    return count


def _drawn_incident(scene: Scene, row: Row, pool: Row, where: list[str], dice: Random) -> Row:
    quirks = scene.world["incident_quirks"]
    name = scene.name(row["service_id"])
    opened = scene.day(88 * dice.random())
    container = pool["platform"] != "host"
    story = "store" if row["kind"] in STORES else "container" if container else "host"
    cause = _choose(dice, scene.world["causes"][story])
    spread = math.exp(1.4 * (dice.random() + dice.random() - 1))
    minutes = round(scene.world["minutes"][cause] * spread)
    open_still = dice.random() < quirks["still_open"]
    unassigned = dice.random() < quirks["unassigned"]
    callers = _callers(scene, row["service_id"])
    hit = [row["service_id"], *(c for c in callers if dice.random() < 0.5)]
    return {
        "who": name,
        "service_id": None if unassigned else name,
        "service_raw": "shop-proxy" if unassigned else name,
        "opened_at": opened,
        "acked_at": opened + timedelta(minutes=1 + int(9 * dice.random())),
        "resolved_at": None if open_still else opened + timedelta(minutes=minutes),
        "resolved_basis": None if open_still else "resolved_at",
        "ttr_s": None if open_still else minutes * 60,
        "severity": min(4, max(1, int(row["tier"] or 3) + int(2 * dice.random()))),
        "cause": "unknown" if dice.random() < quirks["no_cause"] else cause,
        "cause_basis": "keyword",
        "change_related": cause in ("deploy", "change"),
        "customer_facing": row["public"] == "true",
        "platform_at_time": pool["platform"],
        "container_evidence": "platform" if container else "none",
        "affected_services": None if unassigned else ";".join(map(scene.name, hit)),
        "host_id": where[int(dice.random() * len(where))] if cause in _ON_HOSTS else None,
        "bad_time": False,
        "source": "incidents",
    }


_ON_HOSTS = ("host", "kernel", "storage", "engine", "disk-full")


def _choose(dice: Random, weights: dict[str, float]) -> str:
    point = dice.random() * sum(weights.values())
    places = zip(weights, accumulate(weights.values()), strict=True)
    return next(name for name, end in places if point < end)


def _callers(scene: Scene, service: str) -> list[str]:
    needs = {f"{kind}:{service}" for kind in HARD}
    return [row["service_id"] for row, _, _ in scene.placed if needs & set(row["needs"].split())]


def experiments(scene: Scene) -> Iterator[Row]:
    """Give the game days of this quarter and the one before.

    Parameters
    ----------
    scene : Scene
        Cell and quarter.

    Yields
    ------
    dict
        Rows of the frame.
    """
    for then in scene.window:
        elements = {one: then.name(one) for one in then.ids}
        elements |= {f"{pool}-1": then.hosts(pool)[0] for pool in then.pools}
        told = [row for row in then.told("experiments") if row["element"] in elements]
        yield from (_experiment(then, row, elements[row["element"]]) for row in told)


def _experiment(scene: Scene, row: Row, element: str) -> Row:
    started = scene.day(row["day"] + 0.45)
    return {
        "experiment_id": f"GD-{started:%y%m%d}-{element}",
        "element_kind": row["element_kind"],
        "element": element,
        "started_at": started,
        "ended_at": started + timedelta(minutes=row["minutes"]),
        "affected_services": scene.names(row["affected"]),
        "observed_services": scene.names(row.get("observed", "")),
        "basis": row["basis"],
        "source": "game-day",
    }


def activities(scene: Scene) -> Iterator[Row]:
    """Give replacements, upgrades, deploys and pulls of this quarter and the one before.

    Parameters
    ----------
    scene : Scene
        Cell and quarter.

    Yields
    ------
    dict
        Rows of the frame.
    """
    for then in scene.window:
        yield from _replacements(then)
        yield from _upgrades(then)
        for row, pool, where in then.placed:
            dice = then.dice("deploys", row["service_id"], then.quarter.label)
            yield from _deploys(then, row, dice)
            if pool["platform"] != "host":
                yield from _pulls(then, row, where, dice)


def _upgrades(scene: Scene) -> Iterator[Row]:
    """Upgrade every host whose engine is not what it was a quarter before."""
    earlier = scene.earlier.pools if scene.earlier else {}
    for name, pool in scene.pools.items():
        was = earlier.get(name, pool).get("engine")
        if was == pool.get("engine"):
            continue
        kept = set(scene.hosts(name)) & set(scene.earlier.hosts(name) if scene.earlier else [])
        for k, host in enumerate(sorted(kept)):
            yield {
                "activity_id": f"{host}-{scene.quarter.label}-upgrade",
                "host_id": host,
                "group": scene.name(pool["asg"]) if "asg" in pool else None,
                "kind": "engine_upgrade",
                "status": "ok",
                "cause": "manual",
                "from_version": was,
                "to_version": pool["engine"],
                "source": "docker",
                **_spell(scene.day(6.3 + 2 * k), 2400),
            }


def _replacements(scene: Scene) -> Iterator[Row]:
    """Pair terminate and launch, as an auto-scaling group heals itself."""
    for name, pool in scene.pools.items():
        hosts = scene.hosts(name)
        for k in range(pool.get("replacements", 0)):
            dice = scene.dice("replace", name, scene.quarter.label, k)
            started = scene.day(dice.random() * 88)
            host = hosts[k % len(hosts)]
            seconds = round(95 + 150 * dice.random() + (260 if dice.random() < 0.12 else 0))
            usual = {"group": scene.name(pool["asg"]), "cause": "health", "status": "Successful"}
            yield usual | {
                "activity_id": f"{host}-{scene.quarter.label}-{k}-terminate",
                "host_id": f"{host}-gone",
                "kind": "terminate",
                **_spell(started, 40),
            }
            yield usual | {
                "activity_id": f"{host}-{scene.quarter.label}-{k}-launch",
                "host_id": host,
                "kind": "launch",
                **_spell(started + timedelta(seconds=12), seconds - 12),
            }


def _spell(started: datetime, seconds: int) -> Row:
    return {
        "started_at": started,
        "ended_at": started + timedelta(seconds=seconds),
        "duration_s": seconds,
    }


def _deploys(scene: Scene, row: Row, dice: Random) -> Iterator[Row]:
    """Tell at most three deploys a quarter: what a source keeps, not all there were."""
    name = scene.name(row["service_id"])
    for k in range(min(3, round(3 * float(row["deploys_per_month"] or 0)))):
        started = scene.day(88 * dice.random())
        bad = dice.random() < 0.08
        about = {"service_id": name, "source": "deploys"}
        yield about | {
            "activity_id": f"{name}-{scene.quarter.label}-{k}-deploy",
            "kind": "deploy",
            "status": "failed" if bad else "ok",
            **_spell(started, round(120 + 500 * dice.random())),
        }
        if bad:
            yield about | {
                "activity_id": f"{name}-{scene.quarter.label}-{k}-rollback",
                "kind": "rollback",
                "status": "ok",
                **_spell(started + timedelta(minutes=15), 180),
            }


def _pulls(scene: Scene, row: Row, where: list[str], dice: Random) -> Iterator[Row]:
    image = image_of(scene, row)
    public = image["registry"] == "docker.io"
    for k in range(4):
        failed = dice.random() < (0.12 if public else 0.01)
        yield {
            "activity_id": f"{scene.name(row['service_id'])}-{scene.quarter.label}-{k}-pull",
            "service_id": scene.name(row["service_id"]),
            "host_id": where[k % len(where)],
            "kind": "image_pull",
            "status": "failed" if failed else "ok",
            "registry": image["registry"],
            "source": "docker",
            **_spell(scene.day(88 * dice.random()), round(4 + 50 * dice.random())),
        }


def _so_far(scene: Scene, frame: str) -> Iterator[tuple[Scene, Row]]:
    """Give what was told up to now, with the quarter that it was told in."""
    if scene.earlier:
        yield from _so_far(scene.earlier, frame)
    yield from ((scene, row) for row in scene.told(frame))


def answers(scene: Scene) -> Iterator[Row]:
    """Give the answers of people so far.

    Parameters
    ----------
    scene : Scene
        Cell and quarter.

    Yields
    ------
    dict
        Rows of the frame.
    """
    for then, row in _so_far(scene, "answers"):
        yield {
            "service_id": scene.name(row["service_id"]),
            "question": row["question"],
            "source": "questionnaire",
            "answer": row["answer"],
            "risk": row["risk"],
            "answered_at": then.day(-14),
            "answered_by_role": row["role"],
        }


def waivers(scene: Scene) -> Iterator[Row]:
    """Give the waivers so far, those that have expired among them.

    Parameters
    ----------
    scene : Scene
        Cell and quarter.

    Yields
    ------
    dict
        Rows of the frame.
    """
    for then, row in _so_far(scene, "waivers"):
        granted = then.day(row["granted"])
        yield {
            "service_id": scene.name(row["service_id"]),
            "gate": row["gate"],
            "owner": row["owner"],
            "reason": row["reason"],
            "granted_at": granted,
            "expires_at": granted + timedelta(days=row["days"]),
        }


def coverage(scene: Scene) -> Iterator[Row]:
    """Give what came of each call of the collection.

    Parameters
    ----------
    scene : Scene
        Cell and quarter.

    Yields
    ------
    dict
        Rows of the frame; the calls that cover the whole fleet come from the first cell.
    """
    run = {"run_id": f"run-{scene.quarter.label}", "requests": 1, "retries": 0}
    for name, pool in scene.pools.items():
        status = pool.get("status", "ok")
        source = "ansible" if pool["platform"] == "host" else "docker"
        for host in scene.hosts(name):
            running = sum(where.count(host) for _, _, where in scene.placed)
            yield run | {
                "source": source,
                "scope": host,
                "call": "setup" if source == "ansible" else "containers",
                "status": status,
                "rows": running if status in ("ok", "stale") else 0,
                "expected": running,
                "ratio": 1.0 if status in ("ok", "stale") else 0.0,
                "seconds": round(30 if status == "timeout" else 1.5, 1),
                "age_hours": 910 if status == "stale" else 0,
                "error_class": _ERRORS.get(status),
                "hint": _HINTS.get(status),
            }
    for row in [] if scene.cell else scene.world["told"]["coverage"]:
        status = row["status"]
        before, _, after = status.partition(">")
        line = run | {name: row[name] for name in ("source", "scope", "call")}
        line["status"] = after if after and scene.step else before
        if line["status"] != "ok":
            line["hint"] = row["hint"]
        if row.get("window"):
            line |= {
                "window_start": scene.quarter.before.start,
                "window_end": scene.quarter.snapshot_at,
            }
        yield line


_ERRORS = {"timeout": "ReadTimeout", "unsupported": "InvalidVersion"}
_HINTS = {
    "timeout": "raise the deadline, or hand over dumps of this source",
    "unsupported": "hand over dumps of this source",
    "stale": "run the playbook again: the facts are 38 days old",
}
