"""Service dependencies and change events of PagerDuty."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from assess.sources.base import Name, Row
from assess.sources.incidents.reader import NAMED, as_text, read_time
from assess.sources.redact import strip_userinfo
from assess.sources.values import dicts, dig

RULE = "pagerduty"


def to_dependencies(values: Iterable[Any], names: dict[str, str]) -> list[Row]:
    """Return the edges of ``/service_dependencies``, from dependent to supporting service."""
    rows: dict[tuple[Name, Name], Row] = {}
    for relation in _each(values, "relationships"):
        src = _name(dig(relation, "dependent_service"), names)
        dst = _name(dig(relation, "supporting_service"), names)
        if src and dst and src != dst:
            rows[src, dst] = {
                "src": src,
                "dst": dst,
                "kind": "declared",
                "evidence": RULE,
            }
    return list(rows.values())


def to_activities(values: Iterable[Any], names: dict[str, str]) -> list[Row]:
    """Return the deployments of ``/change_events``, one per service, without their texts."""
    rows = []
    for event in _each(values, "change_events"):
        started = read_time(as_text(event.get("timestamp")))
        key = as_text(event.get("id"))
        if started is None or not key:
            continue
        services = [_name(service, names) for service in dicts(event.get("services"))]
        for name in dict.fromkeys(services) or [None]:
            row: Row = {
                "activity_id": f"{RULE}:{key}",
                "kind": "deploy",
                "started_at": started,
            }
            if name is not None:
                row |= {"activity_id": f"{RULE}:{key}/{name.name}", "names": (name,)}
            rows.append(row)
    return rows


def _each(values: Iterable[Any], key: str) -> Iterator[Row]:
    for value in values:
        yield from dicts(dig(value, key))


def _name(service: Any, names: dict[str, str]) -> Name | None:
    key = as_text(dig(service, "id"))
    text = as_text(dig(service, "summary")) or names.get(key, key)
    return Name(strip_userinfo(text), RULE, NAMED) if text else None
