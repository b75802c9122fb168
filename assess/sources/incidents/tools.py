"""One function per tool: from the JSON of its incidents to the cells of its CSV export."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from assess.sources.base import Row
from assess.sources.csv_records import Cells
from assess.sources.incidents import api
from assess.sources.incidents.reader import as_text
from assess.sources.values import dicts, dig

Names = dict[str, str]  # service names by the ids of the tool
Record = tuple[Cells, list[str]]  # an incident, and all services that it lists


@dataclass(frozen=True)
class Tool:
    """A paging or ticket tool."""

    lists: tuple[str, ...]  # keys under which a page holds its incidents
    marks: frozenset[str]  # an incident has at least one of these keys
    to_record: Callable[[Row, Names], Record | None]  # None for other objects
    get: Callable[[api.Request], Iterator[list[Row]]]  # pages of incidents, live
    token: str = "Bearer {}"  # form of its header ``Authorization``
    # needed where incidents hold only the ids of services
    get_services: Callable[[api.Request], Iterator[list[Row]]] | None = None


def incidents_in(tool: Tool, values: Iterable[Any]) -> list[Row]:
    """Return the incidents of pages, and single ones."""
    rows: list[Row] = []
    for value in values:
        pages = [page for key in tool.lists if isinstance(page := dig(value, key), list)]
        rows += [row for page in pages or [[value]] for row in dicts(page)]
    return [row for row in rows if tool.marks & set(row)]


def names_in(values: Iterable[Any]) -> Names:
    """Return the names of services by id, from lists of services and from incidents."""
    names: Names = {}
    for value in values:
        for key in ("services", "data", "incidents"):
            for row in dicts(dig(value, key)):
                service = row["service"] if isinstance(row.get("service"), dict) else row
                name = as_text(service.get("name")) or as_text(service.get("summary"))
                if name and not {"message", "title"} & set(service):
                    names.setdefault(as_text(service.get("id")), name)
    return names


def to_pagerduty(raw: Row, names: Names) -> Record | None:
    """Read an incident of the REST API or of the analytics export."""
    service = as_text(dig(raw, "service", "id")) or as_text(raw.get("service_id"))
    named = as_text(dig(raw, "service", "summary")) or as_text(raw.get("service_name"))
    priority = as_text(dig(raw, "priority", "summary")) or as_text(
        dig(raw, "priority", "name")
    )
    cells = {
        "incident_id": as_text(raw.get("id")) or as_text(raw.get("incident_number")),
        "service_id": service,
        "service_raw": named or names.get(service, ""),
        "priority": priority or as_text(raw.get("priority_name")),
        "urgency": as_text(raw.get("urgency")),
        "title": as_text(raw.get("title")) or as_text(raw.get("description")),
        "duplicate_of": as_text(dig(raw, "resolve_reason", "incident", "id")),
        **_taken(raw, "created_at", "seconds_to_resolve", "seconds_to_first_ack"),
    }
    is_over = raw.get("status") == "resolved"
    return cells | _resolved(
        raw, "resolved_at", "last_status_change_at" if is_over else ""
    ), []


def to_opsgenie(raw: Row, names: Names) -> Record | None:
    """Read an incident of Opsgenie, whose affected services are ids."""
    ids = raw.get("impactedServices")
    hit = [as_text(i) for i in ids if as_text(i)] if isinstance(ids, list) else []
    cells = {
        "incident_id": as_text(raw.get("id")) or as_text(raw.get("tinyId")),
        "service_id": hit[0] if hit else "",
        "service_raw": names.get(hit[0], hit[0]) if hit else "",
        "opened_at": as_text(raw.get("impactStartDate")) or as_text(raw.get("createdAt")),
        "message": as_text(raw.get("message")),
        "tags": _joined(raw.get("tags")),
        **_taken(raw, "priority", "description"),
    }
    is_over = raw.get("status") in ("resolved", "closed")
    cells |= _resolved(raw, "impactEndDate", "updatedAt" if is_over else "")
    return cells, [names.get(i, i) for i in hit] if len(hit) > 1 else []


def to_jira(raw: Row, names: Names) -> Record | None:
    """Read an issue of Jira."""
    fields = raw.get("fields")
    if not isinstance(fields, dict):
        return None
    components = [as_text(c.get("name")) for c in dicts(fields.get("components"))]
    repeated = [
        as_text(dig(link, "outwardIssue", "key"))
        for link in dicts(fields.get("issuelinks"))
        if dig(link, "type", "outward") == "duplicates"
    ]
    cells = {
        "incident_id": as_text(raw.get("key")) or as_text(raw.get("id")),
        "service_raw": components[0] if components else "",
        "priority": as_text(dig(fields, "priority", "name")),
        "labels": _joined(fields.get("labels")),
        "duplicate_of": next(filter(None, repeated), ""),
        **_taken(fields, "created", "summary"),
    }
    is_over = dig(fields, "status", "statusCategory", "key") == "done"
    cells |= _resolved(
        fields, "resolutiondate", "statuscategorychangedate" if is_over else ""
    )
    return cells, components if len(components) > 1 else []


def to_servicenow(raw: Row, names: Names) -> Record | None:
    """Read a row of ``incident``: raw values for codes and times (UTC), displayed ones for names."""
    values = {key: _shown(value, "value") for key, value in raw.items()}
    if values.get("state") == "8":  # cancelled
        return None
    services = [
        _shown(raw.get(key), "display_value", "value")
        for key in ("business_service", "service_offering", "cmdb_ci")
    ]
    is_change = any(values.get(key) for key in ("caused_by", "rfc"))
    cells = {
        "service_raw": next(filter(None, services), ""),
        "change_related": "true" if is_change else "",
        "parent_incident": _shown(raw.get("parent_incident"), "display_value", "value"),
        **_taken(values, "number", "opened_at", "priority", "category", "cause"),
        **_taken(values, "short_description", "description"),
    }
    is_over = values.get("state") in ("6", "7")
    return cells | _resolved(values, "resolved_at", "closed_at" if is_over else ""), []


def to_statuspage(raw: Row, names: Names) -> Record | None:
    """Read an incident of a status page; planned maintenance is not an incident."""
    if raw.get("scheduled_for") or raw.get("impact") == "maintenance":
        return None
    components = [as_text(c.get("name")) for c in dicts(raw.get("components"))]
    cells = {
        "incident_id": as_text(raw.get("id")),
        "service_raw": components[0] if components else "",
        "opened_at": as_text(raw.get("started_at")) or as_text(raw.get("created_at")),
        "customer_facing": "true",
        "title": as_text(raw.get("name")),
        **_taken(raw, "impact"),
    }
    affected = components if len(components) > 1 else []
    return cells | _resolved(raw, "resolved_at"), affected


def _taken(raw: Row, *keys: str) -> Cells:
    return {key: as_text(raw.get(key)) for key in keys}


def _resolved(raw: Row, *keys: str) -> Cells:
    """Return the time of resolution from the first filled field, and the name of that field."""
    key = next((key for key in keys if key and as_text(raw.get(key))), "")
    return {"resolved_at": as_text(raw.get(key)), "resolved_basis": key}


def _joined(values: Any) -> str:
    return " ".join(map(as_text, values)) if isinstance(values, list) else ""


def _shown(value: Any, *keys: str) -> str:
    """Return a field of ServiceNow: a text, or a raw and a displayed one."""
    if not isinstance(value, dict):
        return as_text(value)
    return next((text for key in keys if (text := as_text(value.get(key)))), "")


def _tool(lists: str, marks: str, *more: Any, **options: Any) -> Tool:
    return Tool(tuple(lists.split()), frozenset(marks.split()), *more, **options)


TOOLS = {
    "pagerduty": _tool(
        "incidents data",
        "incident_number created_at",
        to_pagerduty,
        api.get_pagerduty,
        token="Token token={}",
    ),
    "opsgenie": _tool(
        "data incidents",
        "tinyId message",
        to_opsgenie,
        api.get_opsgenie,
        token="GenieKey {}",
        get_services=api.get_opsgenie_services,
    ),
    "jira": _tool("issues", "fields", to_jira, api.get_jira),
    "servicenow": _tool(
        "result records", "number opened_at", to_servicenow, api.get_servicenow
    ),
    "statuspage": _tool(
        "incidents",
        "impact incident_updates",
        to_statuspage,
        api.get_statuspage,
        token="OAuth {}",
    ),
}
