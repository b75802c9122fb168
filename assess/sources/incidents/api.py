"""Asking the tools that people are paged by for their incidents, page by page and in full."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from assess.sources.base import Row
from assess.sources.dumps import DumpError, dicts
from assess.sources.http import Web
from assess.sources.incidents.reader import as_text, read_time

MONTH = timedelta(
    days=30
)  # PagerDuty gives at most six months, and one where nobody says
CEILING = 10_000  # rows by offset that PagerDuty and Opsgenie give for one question
_SHORTEST = timedelta(minutes=10)  # a slice is not halved any further
_ASIDE = timedelta(
    days=1
)  # asked beyond the window, where a tool compares in the zone of a user
_PAGE, _TABLE_PAGE = 100, 1000
_JIRA_FIELDS = (
    "created,resolutiondate,statuscategorychangedate,status,priority,components,labels,summary,"
    "issuelinks"
)
_SERVICENOW_FIELDS = (
    "number,opened_at,resolved_at,closed_at,state,priority,category,cause,business_service,"
    "service_offering,cmdb_ci,caused_by,rfc,parent_incident,short_description"
)


@dataclass(frozen=True)
class Call:
    """A question: to whom, about which window, and the coverage row that it counts in."""

    web: Web
    since: datetime
    until: datetime
    options: Row
    row: Row


def get_pagerduty(call: Call) -> Iterator[list[Row]]:
    """Ask month by month, and in halves where a month has more than the offset reaches."""

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


def get_opsgenie(call: Call) -> Iterator[list[Row]]:
    """Ask month by month, in milliseconds since 1970."""

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


def get_opsgenie_services(call: Call) -> Iterator[list[Row]]:
    """Ask for the names of services, of which incidents only have ids."""
    offset = 0
    while True:
        page = call.web.json("v1/services", params={"limit": _PAGE, "offset": offset})
        yield (found := listed(page, "data"))
        offset += len(found)
        if len(found) < _PAGE or offset >= CEILING:
            return


def get_jira(call: Call) -> Iterator[list[Row]]:
    """Search for issues; JQL compares days in the zone of the user, so a day more is asked for."""
    days = [
        f"{moment:%Y-%m-%d}" for moment in (call.since - _ASIDE, call.until + 2 * _ASIDE)
    ]
    own = str(call.options.get("jql") or "issuetype = Incident")
    jql = f'({own}) AND created >= "{days[0]}" AND created < "{days[1]}" ORDER BY created'
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


def get_servicenow(call: Call) -> Iterator[list[Row]]:
    """Read the table ``incident``, with values beside what people are shown."""
    start, end = (
        f"{m:%Y-%m-%d %H:%M:%S}" for m in (call.since - _ASIDE, call.until + _ASIDE)
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
        found = listed(answer.json(), "result")
        total = answer.headers.get("X-Total-Count") or ""
        if total.isdigit():  # with those that the account may not read
            call.row["expected"] = int(total)
        yield found
        offset += _TABLE_PAGE
        if offset >= int(total) if total.isdigit() else len(found) < _TABLE_PAGE:
            return


def get_statuspage(call: Call) -> Iterator[list[Row]]:
    """Read the incidents of a page, newest first; without its id, what the public page shows."""
    if not (page_id := call.options.get("page")):
        found = listed(call.web.json("api/v2/incidents.json"), "incidents")
        yield found
        if len(found) >= 50 and not _is_past(found, call.since):
            hint = "the public page shows the newest 50: name its `page` and a token_file"
            call.row.update(status="partial", hint=hint)
        return
    number, seen = 1, set[str]()
    while True:
        params = {"page": number, "limit": _PAGE}
        found = listed(call.web.json(f"v1/pages/{page_id}/incidents.json", params=params))
        new = [row for row in found if as_text(row.get("id")) not in seen]
        yield new
        seen |= {as_text(row.get("id")) for row in new}
        if not new or len(found) < _PAGE or _is_past(new, call.since):
            return
        number += 1


def months(since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Cut a window into pieces of at most a month."""
    while since < until:
        end = min(since + MONTH, until)
        yield since, end
        since = end


def _sliced(
    call: Call, ask: Any, key: str, since: datetime, until: datetime
) -> Iterator[list[Row]]:
    """Give the pages of a slice; where it holds more than can be paged through, of its halves."""
    offset = 0
    while True:
        page, total = ask(since, until, offset)
        found = listed(page, key)
        if offset == 0 and isinstance(total, int):
            if total > CEILING and until - since > _SHORTEST:
                middle = since + (until - since) / 2
                yield from _sliced(call, ask, key, since, middle)
                yield from _sliced(call, ask, key, middle, until)
                return
            call.row["expected"] = call.row.get("expected", 0) + total
        yield found
        offset += len(found)
        more = page.get("more", isinstance(total, int) and offset < total)
        if not found or not more:
            return
        if offset + _PAGE > CEILING:
            call.row.update(status="partial", hint=f"more than {CEILING} within minutes")
            return


def listed(page: Any, key: str = "") -> list[Row]:
    """Give the objects of a page; an answer of another shape is an error."""
    rows = page.get(key) if key and isinstance(page, dict) else page
    if not isinstance(rows, list):
        raise DumpError("the answer has another shape: is this the endpoint of the API?")
    return list(dicts(rows))


def _is_past(rows: list[Row], since: datetime) -> bool:
    """Say whether rows, newest first, have reached the start of a window."""
    times = [read_time(as_text(row.get("created_at")), UTC) for row in rows]
    return any(moment is not None and moment < since for moment in times)
