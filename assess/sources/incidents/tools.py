"""Tools for paging and tickets: their APIs, and from the JSON of incidents to the cells of a CSV export.

`fields.csv` lists by tool and cell the paths into an incident; the first filled one counts.
``path[]`` is a list of texts, and ``over_at`` the end of an incident that has no other.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from itertools import chain, count
from typing import Any

from assess.reading import refuse_many
from assess.sources.base import Call, Name, Row, Rows
from assess.sources.csv_records import Cells, header_of, rows, vocabulary
from assess.sources.dumps import DumpError
from assess.sources.http import Web
from assess.sources.incidents.reader import HEADERS, NAMED, Record, as_text
from assess.sources.incidents.times import read_time
from assess.sources.redact import strip_credentials
from assess.sources.values import (
    TextLists,
    Texts,
    Words,
    as_list,
    dicts,
    dig,
    int_of,
    listed,
    table,
)

# PagerDuty returns at most six months, and one month by default.
MONTH = timedelta(days=30)
# PagerDuty and Opsgenie return no rows beyond this offset.
CEILING = 10_000
_SHORTEST = timedelta(minutes=10)  # a slice is not halved any further
# Jira and ServiceNow compare in the time zone of the user, so the window needs a margin.
_MARGIN = timedelta(days=1)
_PAGE = 100
_TABLE_PAGE = 1000
_PUBLIC_PAGE = 50  # a public status page holds the newest 50 incidents
Names = Texts  # service names by the ids of the tool
Table = tuple[list[str], list[Cells]]  # headers, and the rows below them
PAGERDUTY = "pagerduty"
_DEEPEST = 8  # of objects within the value of a field


@dataclass(frozen=True)
class Request:
    """A request to an API for the incidents of a window; ``call`` counts them."""

    web: Web
    since: datetime
    until: datetime
    options: Row
    call: Call


def get_pagerduty(request: Request) -> Iterator[Rows]:
    """Read incidents month by month."""

    def window(since: datetime, until: datetime) -> Row:
        return {
            "since": since.isoformat(),
            "until": until.isoformat(),
            "time_zone": "UTC",
            "total": "true",
            "sort_by": "created_at:asc",
        }

    headers = {"Accept": "application/vnd.pagerduty+json;version=2"}
    ask = partial(request.web.json, "incidents", headers=headers)
    yield from _by_month(request, ask, window, rows="incidents", total="total")


def get_opsgenie(request: Request) -> Iterator[Rows]:
    """Read incidents month by month; Opsgenie takes milliseconds since 1970."""

    def window(since: datetime, until: datetime) -> Row:
        start = int(since.timestamp() * 1000)
        end = int(until.timestamp() * 1000)
        query = f"createdAt >= {start} AND createdAt < {end}"
        return {"query": query, "sort": "createdAt", "order": "asc"}

    ask = partial(request.web.json, "v1/incidents")
    yield from _by_month(request, ask, window, rows="data", total="totalCount")


def get_opsgenie_services(request: Request) -> Iterator[Rows]:
    """Read the names of services; incidents hold only their ids."""
    for offset in range(0, CEILING, _PAGE):
        params = {"limit": _PAGE, "offset": offset}
        services = entries_of(request.web.json("v1/services", params=params), "data")
        yield services
        if len(services) < _PAGE:
            return


def get_jira(request: Request) -> Iterator[Rows]:
    """Search for issues in a window with a margin of a day."""
    first = f"{request.since - _MARGIN:%Y-%m-%d}"
    last = f"{request.until + 2 * _MARGIN:%Y-%m-%d}"
    selection = request.options.get("jql") or "issuetype = Incident"
    jql = (
        f'({selection}) AND created >= "{first}" AND created < "{last}" ORDER BY created'
    )
    params = {"jql": jql, "fields": TOOLS["jira"].asked, "maxResults": _PAGE}
    seen: set[str] = set()
    while True:
        page = request.web.json("rest/api/3/search/jql", params=params)
        yield entries_of(page, "issues")
        token = page.get("nextPageToken")
        is_last = page.get("isLast") is True or not isinstance(token, str) or not token
        if is_last or token in seen:
            return
        seen.add(token)
        params["nextPageToken"] = token


def get_servicenow(request: Request) -> Iterator[Rows]:
    """Read the table ``incident`` with both raw and displayed values."""
    first = f"{request.since - _MARGIN:%Y-%m-%d %H:%M:%S}"
    last = f"{request.until + _MARGIN:%Y-%m-%d %H:%M:%S}"
    params: Row = {
        "sysparm_query": f"opened_at>={first}^opened_at<{last}^ORDERBYopened_at^ORDERBYnumber",
        "sysparm_fields": TOOLS["servicenow"].asked,
        "sysparm_display_value": "all",
        "sysparm_exclude_reference_link": "true",
        "sysparm_limit": _TABLE_PAGE,
        "sysparm_offset": 0,
    }
    is_last = False
    while not is_last:
        answer = request.web.get("api/now/table/incident", params=params)
        incidents = entries_of(answer.json(), "result")
        params["sysparm_offset"] += _TABLE_PAGE
        total = answer.headers.get("X-Total-Count") or ""
        if total.isdigit():  # includes rows that the account cannot read
            request.call.note(expected=int(total))
            is_last = params["sysparm_offset"] >= int(total)
        else:
            is_last = len(incidents) < _TABLE_PAGE
        yield incidents


def get_statuspage(request: Request) -> Iterator[Rows]:
    """Read the incidents of a page, newest first; without its id, those of the public page."""
    page_id = request.options.get("page")
    if not page_id:
        public = entries_of(request.web.json("api/v2/incidents.json"), "incidents")
        yield public
        if len(public) >= _PUBLIC_PAGE and not _is_past(public, request.since):
            hint = "the public page shows the newest 50: name its `page` and a token_file"
            request.call.status("partial", hint)
        return
    seen: set[str] = set()
    for number in count(1):
        params = {"page": number, "limit": _PAGE}
        path = f"v1/pages/{page_id}/incidents.json"
        rows = entries_of(request.web.json(path, params=params))
        new = [row for row in rows if as_text(row, "id") not in seen]
        yield new
        seen |= {as_text(row, "id") for row in new}
        if not new or len(rows) < _PAGE or _is_past(new, request.since):
            return


def months(since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Split a window into pieces of at most a month."""
    while since < until:
        end = min(since + MONTH, until)
        yield since, end
        since = end


def _by_month(
    request: Request,
    ask: Callable[..., Any],
    window: Callable[[datetime, datetime], Row],  # its parameters
    *,
    rows: str,
    total: str,
) -> Iterator[Rows]:
    """Yield the pages of months, halved above the ceiling; ``rows, total`` are keys of a page."""
    waiting = [*months(request.since, request.until)][::-1]
    while waiting:
        since, until = waiting.pop()
        offset = 0
        has_more = True
        while has_more:
            params = {**window(since, until), "limit": _PAGE, "offset": offset}
            page = ask(params=params)
            found = entries_of(page, rows)
            known_n = int_of(page, total) or 0
            if offset == 0 and known_n > CEILING and until - since > _SHORTEST:
                middle = since + (until - since) / 2
                waiting += [(middle, until), (since, middle)]
                break
            if offset == 0 and known_n:
                request.call.count(expected=known_n)
            yield found
            offset += len(found)
            more = isinstance(page, dict) and page.get("more", offset < known_n)
            has_more = bool(found and more)
            if has_more and offset + _PAGE > CEILING:
                request.call.status("partial", f"more than {CEILING} within minutes")
                break


def entries_of(page: Any, key: str = "") -> Rows:
    """Return the objects of a page; raise `DumpError` for an answer of another shape."""
    rows = page.get(key) if key and isinstance(page, dict) else page
    if not isinstance(rows, list):
        raise DumpError(
            "the answer has another shape; check that this is the endpoint of the API"
        )
    return list(dicts(rows))


def _is_past(rows: Rows, since: datetime) -> bool:
    """Return whether rows, newest first, reach back to the start of a window."""
    times = [read_time(as_text(row, "created_at"), UTC) for row in rows]
    return any(moment and moment < since for moment in times)


@dataclass(frozen=True)
class Tool:
    """A paging or ticket tool."""

    name: str
    lists: Words  # keys under which a page holds its incidents
    marks: Words  # an incident has at least one of these keys
    signs: Words  # keys that only its pages or its incidents have
    others: Words  # keys of other lists that become rows
    token: str  # form of its header ``Authorization``
    services: str  # path of all services of an incident
    state: str  # path of its state
    over: Words  # states in which it is over
    asked: str  # fields that an answer need only have

    def to_record(self, raw: Row, names: Names) -> Record:
        """Return the cells of an incident, and its services where it has several."""
        fields = _fields(self.name)
        cells = {cell: _first(raw, paths)[0] for cell, paths in fields.items()}
        is_over = _text(raw, self.state) in self.over
        ends = list(fields["resolved_at"])
        if is_over:
            ends += fields.get("over_at", [])
        resolved_at, basis = _first(raw, ends)
        cells |= {"resolved_at": resolved_at, "resolved_basis": basis}
        if more := _MORE.get(self.name):
            cells |= more(raw)
        services = _listed(raw, self.services)
        cells["service_id"] = own = next(iter(services), cells.get("service_id", ""))
        known = names.get(own) or "".join(services[:1])
        cells["service_raw"] = cells.get("service_raw") or known
        affected = [names.get(service, service) for service in services]
        return cells, affected if len(affected) > 1 else []


@cache
def _fields(tool: str) -> TextLists:
    """Return the paths of a tool by cell."""
    paths: TextLists = {}
    for row in rows("incidents/fields"):
        if row["tool"] == tool:
            paths.setdefault(row["cell"], []).append(row["path"])
    return paths


def _first(raw: Row, paths: list[str]) -> tuple[str, str]:
    for path in paths:
        if text := _text(raw, path):
            return text, path.rpartition(".")[2]
    return "", ""


def _text(raw: Row, path: str) -> str:
    if path.endswith("[]"):
        return " ".join(_listed(raw, path.removesuffix("[]")))
    value = dig(raw, *path.split("."))
    if isinstance(value, dict):  # ServiceNow has the raw value beside the displayed one
        value = value.get("value")
    return as_text(value)


def _listed(raw: Row, path: str) -> list[str]:
    entries = listed(raw, *path.split("."))
    texts = [as_text(entry, "name") or as_text(entry) for entry in entries]
    return [text for text in texts if text]


def _more_of_jira(raw: Row) -> Cells:
    links = dicts(raw, "fields", "issuelinks")
    repeated = [
        as_text(link, "outwardIssue", "key")
        for link in links
        if dig(link, "type", "outward") == "duplicates"
    ]
    return {"duplicate_of": next(filter(None, repeated), "")}


def _more_of_servicenow(raw: Row) -> Cells:
    is_change = _text(raw, "caused_by") or _text(raw, "rfc")
    return {"change_related": "true" if is_change else ""}


def _more_of_statuspage(raw: Row) -> Cells:
    is_planned = raw.get("scheduled_for") or raw.get("impact") == "maintenance"
    return {"customer_facing": "true", "state": "planned" if is_planned else ""}


# pages of incidents, live
GET = {
    PAGERDUTY: get_pagerduty,
    "opsgenie": get_opsgenie,
    "jira": get_jira,
    "servicenow": get_servicenow,
    "statuspage": get_statuspage,
}
# where incidents hold only the ids of services
GET_SERVICES = {"opsgenie": get_opsgenie_services}
_MORE = {
    "jira": _more_of_jira,
    "servicenow": _more_of_servicenow,
    "statuspage": _more_of_statuspage,
}
_LISTS = ("lists", "marks", "signs", "others", "over")
_TABLE: Rows = [
    row | {column: tuple(row[column].split()) for column in _LISTS}
    for row in rows("incidents/tools")
]
TOOLS = {row["name"]: Tool(**row) for row in _TABLE}


def incidents_in(tool: Tool, values: Iterable[Any]) -> Rows:
    """Return the incidents of pages, and single ones."""
    incidents = []
    for value in values:
        found = (dig(value, key) for key in tool.lists)
        pages = [page for page in found if isinstance(page, list)]
        for page in pages or [[value]]:
            incidents += dicts(page)
    return [row for row in incidents if not row.keys().isdisjoint(tool.marks)]


def tool_of(values: list[Any]) -> Tool | None:
    """Return the tool that wrote pages; None where nothing in them shows it."""
    for tool in TOOLS.values():
        entries = [*incidents_in(tool, values), *dicts(values)]
        if not {*tool.signs}.isdisjoint(chain.from_iterable(entries)):
            return tool
    return None


def table_of(values: list[Any]) -> Table:
    """Return objects of an unknown tool as a table: those of the first list with times."""
    lists = [inner for value in dicts(values) for inner in value.values()]
    opened = {*HEADERS["opened_at"]}
    cells: list[Cells] = []
    for found in [values, *lists]:
        issues = [entry for entry in dicts(found) if not entry.get("pull_request")]
        cells = list(map(_cells_of, issues))
        if any(opened & set(row) for row in cells):
            break
    refuse_many(len(cells))
    return [*{name: None for row in cells for name in row}], cells


def _cells_of(entry: Row) -> Cells:
    """Return the texts of an object by header; of objects in it, their names."""
    flat = dict(entry)
    for wrapper in vocabulary("incidents", "wrappers"):
        flat |= table(flat, wrapper)
    if "startsAt" in flat and "fingerprint" in flat:  # an alert comes again
        flat["id"] = f"{flat['fingerprint']} {flat['startsAt']}"
    for key, path in vocabulary("incidents", "pairs").items():
        listed_at, _, label = key.partition(" ")
        for pair in dicts(flat, listed_at):
            flat[_text(pair, label)] = dig(pair, *path.split("."))
    if any("color" in label for label in dicts(flat, "labels")):  # of an issue tracker
        flat.setdefault("issue_type", flat["labels"])
    return {header_of(key): ";".join(_named(value)) for key, value in flat.items()}


def _named(value: Any, depth: int = 0) -> list[str]:
    """List the texts in a value; of an object, what it is called."""
    if isinstance(value, list) and depth < _DEEPEST:
        return [name for item in value for name in _named(item, depth + 1)]
    if isinstance(value, dict) and depth < _DEEPEST:
        keys = vocabulary("incidents", "names")
        called = (value[key] for key in keys if value.get(key))
        return _named(next(called, None), depth + 1)
    return [*filter(None, [as_text(value)])]


def lost_in(tool: Tool, values: Iterable[Any]) -> list[str]:
    """List the entries of the lists of a tool that are not objects, by their place."""
    lost = []
    for number, value in enumerate(values):
        if not value or not isinstance(value, dict):
            lost.append(f"entry {number} is no object")
        for key in tool.lists + tool.others:
            for n, entry in enumerate(listed(value, key)):
                if not entry or not isinstance(entry, dict):
                    lost.append(f"{key}[{n}] is no object")
    return lost


def names_in(values: Iterable[Any]) -> Names:
    """Return the names of services by id, from lists of services and from incidents."""
    names: Names = {}
    for row in _each(values, "services", "data", "incidents"):
        service = row["service"] if isinstance(row.get("service"), dict) else row
        name = as_text(service, "name") or as_text(service, "summary")
        if name and not {"message", "title"} & set(service):
            names.setdefault(as_text(service, "id"), name)
    return names


def to_dependencies(values: Iterable[Any], names: Names, lost: list[str]) -> Rows:
    """Return the edges of PagerDuty's ``/service_dependencies``, from dependent to supporting."""
    edges: dict[tuple[Name, Name], None] = {}
    for n, relation in enumerate(_each(values, "relationships")):
        src = _service(dig(relation, "dependent_service"), names)
        dst = _service(dig(relation, "supporting_service"), names)
        if not src or not dst:
            lost.append(f"relationship {n} has no two services")
        elif src != dst:
            edges[src, dst] = None
    declared = {"kind": "declared", "evidence": PAGERDUTY}
    return [{"src": src, "dst": dst, **declared} for src, dst in edges]


def to_activities(values: Iterable[Any], names: Names, lost: list[str]) -> Rows:
    """Return the deployments of PagerDuty's ``/change_events``, one per service, without texts."""
    activities = []
    for n, event in enumerate(_each(values, "change_events")):
        started = read_time(as_text(event, "timestamp"))
        key = f"{PAGERDUTY}:{as_text(event, 'id')}"
        if not started or key.endswith(":"):
            lost.append(f"change event {n} has no id or time")
            continue
        deployment = {"activity_id": key, "kind": "deploy", "started_at": started}
        services = [_service(entry, names) for entry in as_list(event, "services")]
        if None in services:
            lost.append(f"change event {n} has a service without a name")
        activities += [
            deployment | {"activity_id": f"{key}/{name.name}", "names": (name,)}
            for name in dict.fromkeys(services)
            if name
        ] or [deployment]
    return activities


def _each(values: Iterable[Any], *keys: str) -> Iterator[Row]:
    for value in values:
        for key in keys:
            yield from dicts(value, key)


def _service(service: Any, names: Names) -> Name | None:
    key = as_text(service, "id")
    text = as_text(service, "summary") or names.get(key, key)
    return Name(strip_credentials(text), PAGERDUTY, NAMED) if text else None
