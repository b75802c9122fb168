"""Incidents from the APIs of paging and ticket tools, page by page."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any

from assess.sources.base import Call, Row, Rows
from assess.sources.csv_records import lookup
from assess.sources.dumps import DumpError
from assess.sources.http import Web
from assess.sources.incidents.reader import as_text
from assess.sources.incidents.times import read_time
from assess.sources.values import dicts, int_of

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
_FIELDS = lookup("incidents/tools", "tool", "asked")  # that an answer need only have


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
        services = listed(request.web.json("v1/services", params=params), "data")
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
    params = {"jql": jql, "fields": _FIELDS["jira"], "maxResults": _PAGE}
    seen: set[str] = set()
    while True:
        page = request.web.json("rest/api/3/search/jql", params=params)
        yield listed(page, "issues")
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
        "sysparm_fields": _FIELDS["servicenow"],
        "sysparm_display_value": "all",
        "sysparm_exclude_reference_link": "true",
        "sysparm_limit": _TABLE_PAGE,
        "sysparm_offset": 0,
    }
    is_last = False
    while not is_last:
        answer = request.web.get("api/now/table/incident", params=params)
        incidents = listed(answer.json(), "result")
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
        public = listed(request.web.json("api/v2/incidents.json"), "incidents")
        yield public
        if len(public) >= _PUBLIC_PAGE and not _is_past(public, request.since):
            hint = "the public page shows the newest 50: name its `page` and a token_file"
            request.call.status("partial", hint)
        return
    seen: set[str] = set()
    for number in count(1):
        params = {"page": number, "limit": _PAGE}
        path = f"v1/pages/{page_id}/incidents.json"
        rows = listed(request.web.json(path, params=params))
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
            found = listed(page, rows)
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


def listed(page: Any, key: str = "") -> Rows:
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
