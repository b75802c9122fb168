"""Incidents from the APIs of paging and ticket tools, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from assess.sources.base import Row
from assess.sources.dumps import DumpError
from assess.sources.http import Web
from assess.sources.incidents.reader import as_text, read_time
from assess.sources.values import dicts

# PagerDuty returns at most six months, and one month by default.
MONTH = timedelta(days=30)
# PagerDuty and Opsgenie return no rows beyond this offset.
CEILING = 10_000
_SHORTEST = timedelta(minutes=10)  # a slice is not halved any further
# Jira and ServiceNow compare in the time zone of the user, so the window needs a margin.
_MARGIN = timedelta(days=1)
_PAGE = 100
_TABLE_PAGE = 1000
_JIRA_FIELDS = (
    "created,resolutiondate,statuscategorychangedate,status,priority,components,labels,summary,"
    "issuelinks"
)
_SERVICENOW_FIELDS = (
    "number,opened_at,resolved_at,closed_at,state,priority,category,cause,business_service,"
    "service_offering,cmdb_ci,caused_by,rfc,parent_incident,short_description"
)


@dataclass(frozen=True)
class Request:
    """A request: the API, the window, and the coverage row that counts its rows."""

    web: Web
    since: datetime
    until: datetime
    options: Row
    row: Row


def get_pagerduty(call: Request) -> Iterator[list[Row]]:
    """Read incidents month by month; halve a month with more rows than the ceiling."""

    def ask(since: datetime, until: datetime, offset: int) -> tuple[Row, Any]:
        page = call.web.json(
            "incidents",
            params={
                "since": since.isoformat(),
                "until": until.isoformat(),
                "time_zone": "UTC",
                "total": "true",
                "limit": _PAGE,
                "offset": offset,
                "sort_by": "created_at:asc",
            },
            headers={"Accept": "application/vnd.pagerduty+json;version=2"},
        )
        return page, page.get("total") if isinstance(page, dict) else None

    for since, until in months(call.since, call.until):
        yield from _sliced(call, ask, "incidents", since, until)


def get_opsgenie(call: Request) -> Iterator[list[Row]]:
    """Read incidents month by month; Opsgenie takes milliseconds since 1970."""

    def ask(since: datetime, until: datetime, offset: int) -> tuple[Row, Any]:
        start, end = (int(moment.timestamp() * 1000) for moment in (since, until))
        query = f"createdAt >= {start} AND createdAt < {end}"
        page = call.web.json(
            "v1/incidents",
            params={
                "query": query,
                "sort": "createdAt",
                "order": "asc",
                "limit": _PAGE,
                "offset": offset,
            },
        )
        return page, page.get("totalCount") if isinstance(page, dict) else None

    for since, until in months(call.since, call.until):
        yield from _sliced(call, ask, "data", since, until)


def get_opsgenie_services(call: Request) -> Iterator[list[Row]]:
    """Read the names of services; incidents hold only their ids."""
    offset = 0
    while True:
        page = call.web.json("v1/services", params={"limit": _PAGE, "offset": offset})
        services = listed(page, "data")
        yield services
        offset += len(services)
        if len(services) < _PAGE or offset >= CEILING:
            return


def get_jira(call: Request) -> Iterator[list[Row]]:
    """Search for issues in a window with a margin of a day."""
    days = [
        f"{moment:%Y-%m-%d}"
        for moment in (call.since - _MARGIN, call.until + 2 * _MARGIN)
    ]
    selection = str(call.options.get("jql") or "issuetype = Incident")
    jql = f'({selection}) AND created >= "{days[0]}" AND created < "{days[1]}" ORDER BY created'
    params = {"jql": jql, "fields": _JIRA_FIELDS, "maxResults": _PAGE}
    seen: set[str] = set()
    while True:
        page = call.web.json("rest/api/3/search/jql", params=params)
        yield listed(page, "issues")
        token = page.get("nextPageToken")
        if (
            not isinstance(token, str)
            or not token
            or page.get("isLast") is True
            or token in seen
        ):
            return
        seen.add(token)
        params["nextPageToken"] = token


def get_servicenow(call: Request) -> Iterator[list[Row]]:
    """Read the table ``incident`` with both raw and displayed values."""
    start, end = (
        f"{m:%Y-%m-%d %H:%M:%S}" for m in (call.since - _MARGIN, call.until + _MARGIN)
    )
    params: Row = {
        "sysparm_query": f"opened_at>={start}^opened_at<{end}^ORDERBYopened_at^ORDERBYnumber",
        "sysparm_fields": _SERVICENOW_FIELDS,
        "sysparm_display_value": "all",
        "sysparm_exclude_reference_link": "true",
        "sysparm_limit": _TABLE_PAGE,
    }
    offset = 0
    while True:
        answer = call.web.get(
            "api/now/table/incident", params={**params, "sysparm_offset": offset}
        )
        incidents = listed(answer.json(), "result")
        total = answer.headers.get("X-Total-Count") or ""
        if total.isdigit():  # includes rows that the account cannot read
            call.row["expected"] = int(total)
        yield incidents
        offset += _TABLE_PAGE
        if offset >= int(total) if total.isdigit() else len(incidents) < _TABLE_PAGE:
            return


def get_statuspage(call: Request) -> Iterator[list[Row]]:
    """Read the incidents of a page, newest first; without its id, those of the public page."""
    if not (page_id := call.options.get("page")):
        public = listed(call.web.json("api/v2/incidents.json"), "incidents")
        yield public
        # The public page holds the newest 50 incidents.
        if len(public) >= 50 and not _is_past(public, call.since):
            hint = "the public page shows the newest 50: name its `page` and a token_file"
            call.row.update(status="partial", hint=hint)
        return
    number = 1
    seen: set[str] = set()
    while True:
        params = {"page": number, "limit": _PAGE}
        rows = listed(call.web.json(f"v1/pages/{page_id}/incidents.json", params=params))
        new = [row for row in rows if as_text(row.get("id")) not in seen]
        yield new
        seen |= {as_text(row.get("id")) for row in new}
        if not new or len(rows) < _PAGE or _is_past(new, call.since):
            return
        number += 1


def months(since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Split a window into pieces of at most a month."""
    while since < until:
        end = min(since + MONTH, until)
        yield since, end
        since = end


def _sliced(
    call: Request, ask: Any, key: str, since: datetime, until: datetime
) -> Iterator[list[Row]]:
    """Yield the pages of a slice, or of its halves if it holds more rows than the ceiling."""
    offset = 0
    while True:
        page, total = ask(since, until, offset)
        rows = listed(page, key)
        if offset == 0 and isinstance(total, int):
            if total > CEILING and until - since > _SHORTEST:
                middle = since + (until - since) / 2
                yield from _sliced(call, ask, key, since, middle)
                yield from _sliced(call, ask, key, middle, until)
                return
            call.row["expected"] = call.row.get("expected", 0) + total
        yield rows
        offset += len(rows)
        more = page.get("more", isinstance(total, int) and offset < total)
        if not rows or not more:
            return
        if offset + _PAGE > CEILING:
            call.row.update(status="partial", hint=f"more than {CEILING} within minutes")
            return


def listed(page: Any, key: str = "") -> list[Row]:
    """Return the objects of a page; raise `DumpError` for an answer of another shape."""
    rows = page.get(key) if key and isinstance(page, dict) else page
    if not isinstance(rows, list):
        raise DumpError(
            "the answer has another shape; check that this is the endpoint of the API"
        )
    return list(dicts(rows))


def _is_past(rows: list[Row], since: datetime) -> bool:
    """Return whether rows, newest first, reach back to the start of a window."""
    times = [read_time(as_text(row.get("created_at")), UTC) for row in rows]
    return any(moment is not None and moment < since for moment in times)
