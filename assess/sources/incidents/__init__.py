"""Incidents from exports of paging and ticket tools, or from the APIs of these tools."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice, takewhile
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from assess.policy import load_policy
from assess.reading import MAX_TABLE_BYTES, refuse_many
from assess.sources.base import Asked, Call, Row, Source
from assess.sources.csv_records import Cells, read_records
from assess.sources.dumps import (
    JSON_SUFFIXES,
    decoded,
    each_dump,
    read_bytes,
    read_json,
)
from assess.sources.http import open_web
from assess.sources.incidents.reader import (
    HEADERS,
    Reader,
    Record,
    Vocabulary,
    default_vocabulary,
    first,
    is_missing,
    join_rows,
    mark_timers,
    only_incidents,
    orders_of,
    phase_of,
    vocabulary_of,
)
from assess.sources.incidents.times import read_time
from assess.sources.incidents.tools import (
    GET,
    GET_SERVICES,
    PAGERDUTY,
    TOOLS,
    Names,
    Request,
    Table,
    Tool,
    incidents_in,
    lost_in,
    names_in,
    table_of,
    to_activities,
    to_dependencies,
    tool_of,
)
from assess.sources.listing import lose
from assess.sources.values import dig, moment, whole

FORMATS = ("csv", *TOOLS)
WINDOW = timedelta(days=180)  # default window of a live request
Moment = Callable[[str, str], datetime | None]  # of a header and its cell
_START = datetime.min.replace(tzinfo=UTC)
_CHANGES = ("changed_at", "change_n", "state")  # what differs between the rows of a log


@dataclass(kw_only=True)
class _Search(Asked):
    """The parsed options of a ``[[source]]`` table, and where its incidents go."""

    vocabulary: Vocabulary
    since: datetime | None
    until: datetime | None

    def contains(self, row: Row) -> bool:
        """Return whether an incident opened in the window."""
        opened = row["opened_at"]
        is_late = self.until is not None and opened >= self.until
        return not is_late and (self.since is None or opened >= self.since)


class IncidentsSource(Source):
    """Reads incidents. Free text of people never leaves this module."""

    type = "incidents"
    formats = FORMATS

    def check(self, options: Row) -> list[str]:
        """List the problems of the options."""
        problems = super().check(options)
        times = {key: _moment(options.get(key)) for key in ("since", "until")}
        since, until = times.values()
        has_zone = "timezone" not in options or _zone(options["timezone"]) is not None
        is_of_no_tool = "endpoint" in options and options.get("format", "csv") == "csv"
        wrong = {
            f"an endpoint needs a format: one of {', '.join(TOOLS)}": is_of_no_tool,
            **{f"{k} is not a date": k in options and not times[k] for k in times},
            "since is not before until": bool(since and until and since >= until),
            "timezone is not the name of a time zone, such as Europe/Berlin": not has_zone,
        }
        return [problem for problem, is_wrong in wrong.items() if is_wrong] + problems

    def fill(self, asked: Asked) -> None:
        """Read incidents from files and directories, or from the API; a probe reads one page."""
        vocabulary = default_vocabulary()
        if path := asked.options.get("policy"):
            with asked.batch.call(path, "read") as call:
                vocabulary = vocabulary_of(load_policy(asked.base / path))
            if call.failed:
                return
            asked.batch.coverage.remove(call.row)  # only one that fails is worth a row
        search = _Search(
            **vars(asked),
            vocabulary=vocabulary,
            since=_moment(asked.options.get("since")),
            until=_moment(asked.options.get("until")),
        )
        read = _ask if "endpoint" in asked.options else _read
        read(search)


def _read(search: _Search) -> None:
    """Read CSV and JSON files; JSON incidents need the service names of all files first."""
    named = search.options.get("format", "")
    suffixes = (".csv",) if named == "csv" else (*JSON_SUFFIXES, ".csv")
    payloads = []
    for file, call in each_dump(search, suffixes):
        with call:
            if named != "csv" and file.suffix.lower() in JSON_SUFFIXES:
                values = read_json(file, call.row)
            else:
                table = read_records(read_bytes(file, call.row, MAX_TABLE_BYTES))
                if not {"params", "data"} <= {*table[0]}:
                    _read_table(search, table, call)
                    continue
                # a raw table of DevLake keeps the answers of a tool
                answers = (cells["data"] for cells in table[1])
                values = decoded("\n".join(answers), call.row)
            payloads.append((call, values))
            if not call.is_open:
                call.status(call.outcome)  # unreadable in part, whatever the rest gives
    every = [value for _, values in payloads for value in values]
    names = names_in(every)
    for call, values in payloads:
        # Files of services and of dependencies do not show whose they are.
        tool = TOOLS.get(named) or tool_of(values) or tool_of(every)
        with call:
            if not tool:
                _read_table(search, table_of(values), call)
                continue
            refuse_many(len(incidents_in(tool, values)))
            _take(search, tool, values, names, call)


def _read_table(search: _Search, table: Table, call: Call) -> None:
    header, cells = table
    # Only exports for people have local times.
    orders = orders_of(cells, search.options.get("date_order"))
    reader = Reader(search.vocabulary, _zone(search.options.get("timezone")), orders)
    folded = fold(cells, reader.moment)
    opened = HEADERS["opened_at"]
    times = {*opened, *HEADERS["changed_at"]} if folded != cells else {*opened}
    if not times & {*header}:
        wanted = f"name it one of {', '.join(opened[:5])}"
        call.status("parse_error", f"no column holds the time of opening; {wanted}")
        return
    _add(search, [(record, []) for record in folded], reader, call)


def _ask(search: _Search) -> None:
    """Read the incidents of a window from a tool; a failure keeps the pages before it."""
    tool = TOOLS[search.options["format"]]
    until = search.until or datetime.now(UTC)
    since = search.since or until - WINDOW
    search = replace(search, since=since, until=until)
    pages = 1 if search.is_probe else None
    services = []
    get_services = GET_SERVICES.get(tool.name)
    if get_services and not search.is_probe:
        with (
            search.batch.call(search.scope, "services") as call,
            open_web(search, tool.token, call=call) as web,
        ):
            request = Request(web, since, until, search.options, call)
            for page in get_services(request):
                services += call.take(page)
    with (
        search.batch.call(search.scope, "incidents") as call,
        open_web(search, tool.token, call=call) as web,
    ):
        incidents = []
        request = Request(web, since, until, search.options, call)
        try:
            for page in islice(GET[tool.name](request), pages):
                incidents += page
        finally:
            total = call.row.get("expected", 0)
            is_short = total > len(incidents) and not search.is_probe
            if is_short and call.is_open:
                call.status("partial", "the account cannot read all of them")
            names = names_in([{"services": services}])
            _take(search, tool, incidents, names, call)
            if is_short:
                call.note(expected=total)


def _take(
    search: _Search, tool: Tool, values: list[Any], names: Names, call: Call
) -> None:
    incidents = incidents_in(tool, values)
    lost = lost_in(tool, values)
    records = [tool.to_record(incident, names) for incident in incidents]
    others_n = 0 if incidents else len(names_in(values))
    if tool.name == PAGERDUTY:
        edges = to_dependencies(values, names, lost)
        changes = to_activities(values, names, lost)
        search.batch.add("dependencies", *edges)
        search.batch.add("activities", *changes)
        others_n += len(edges) + len(changes)
    lose(call, lost)
    is_open = call.is_open
    has_list = any(isinstance(dig(v, key), list) for v in values for key in tool.lists)
    if is_open and values and not (others_n or incidents or has_list):
        hint = f"it holds no incidents as {tool.name} writes them"
        call.status("parse_error", hint)
    _add(search, records, Reader(search.vocabulary), call)
    if others_n and not records:
        call.note(rows=others_n, expected=others_n)
        if is_open:
            call.status("ok")


def _add(search: _Search, records: list[Record], reader: Reader, call: Call) -> None:
    """Add the incidents of records, and describe them in the coverage row."""
    left_out_n = len(records)
    records = only_incidents(records)
    left_out_n -= len(records)
    made = (reader.incident(cells, affected) for cells, affected in records)
    every = join_rows(filter(None, made))
    # one file of several may be lost next time
    place = {"source_ref": call.row["scope"]}
    incidents = [incident | place for incident in every if search.contains(incident)]
    mark_timers(incidents, reader.lags, search.vocabulary.timers)
    search.batch.add("incidents", *call.take(incidents))
    free_text = [cells.get(name) for cells, _ in records for name in HEADERS["free_text"]]
    call.count(
        unmapped_n=reader.unmapped + len(reader.lost),
        redacted_n=sum(map(bool, free_text)),
    )
    times = [i["opened_at"] for i in incidents if not i.get("bad_time")]
    call.note(
        expected=len(records) - (len(every) - len(incidents)),
        window_start=search.since or min(times, default=None),
        window_end=search.until or max(times, default=None),
    )
    bad = reader.bad_times
    if bad:
        hint = bad.hint()
        if reader.lost:
            hint += f" (the first is incident {reader.lost[0]})"
        call.hint(hint)
    if left_out_n:
        left_out = f"left out {left_out_n}: cancelled, a drill, or of another type"
        call.hint("; ".join(filter(None, [call.row.get("hint"), left_out])))
    if not call.is_open:
        return  # the file is cut off, or the tool withholds some
    if not bad:
        call.status("ok" if incidents else "empty")
    else:
        call.status("parse_error" if bad.of("opened_at") == len(records) else "partial")


def _moment(value: Any) -> datetime | None:
    """Parse a date or time of a table, in UTC unless it has an offset; None if it is neither."""
    if isinstance(value, date):
        return moment(value)
    return read_time(value) if isinstance(value, str) else None


def _zone(name: Any) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if isinstance(name, str) and name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def fold(records: list[Cells], moment: Moment) -> list[Cells]:
    """Return one record for each incident of a log; other records as they are."""
    groups: dict[str, list[Cells]] = {}
    for number, cells in enumerate(records):
        key = first(cells, "incident_id")[0] or f"row {number}"
        groups.setdefault(key, []).append(cells)
    folded = []
    for group in groups.values():
        folded += [_folded(group, moment)] if _is_log(group) else group
    return folded


def _is_log(group: list[Cells]) -> bool:
    """Return whether rows of one incident are state changes, not the affected services."""
    headers = [header for column in _CHANGES for header in HEADERS[column]]
    return any(len({cells.get(header) for cells in group}) > 1 for header in headers)


def _folded(group: list[Cells], moment: Moment) -> Cells:
    changes = sorted(group, key=lambda cells: _order(cells, moment))
    record: Cells = {}
    for cells in changes:
        record |= {name: text for name, text in cells.items() if not is_missing(text)}
    for cells in reversed(changes):
        record |= {
            name: cells[name]
            for name in HEADERS["opened_at"]
            if not is_missing(cells.get(name, ""))
        }
    if not first(record, "opened_at")[0]:
        record["opened_at"] = _changed(changes[0], moment)
    return record | _end(record, changes, moment)


def _end(record: Cells, changes: list[Cells], moment: Moment) -> Cells:
    """Return the cells of the end that follow from the states."""
    last = changes[-1]
    if phase_of(last) == "open" and not first(last, "resolved_at")[0]:
        return dict.fromkeys(HEADERS["resolved_at"], "")
    if phase_of(last) != "over" or first(record, "resolved_at")[0]:
        return {}
    over = list(takewhile(lambda cells: phase_of(cells) == "over", reversed(changes)))
    return {"resolved_at": _changed(over[-1], moment), "resolved_basis": "state"}


def _order(cells: Cells, moment: Moment) -> tuple[datetime, int]:
    """Return the place of a change among the others: by its time, then by its number."""
    text, header = first(cells, "changed_at")
    number = whole(first(cells, "change_n")[0])
    return moment(header, text) or _START, number or 0


def _changed(cells: Cells, moment: Moment) -> str:
    """Return the time of a change in ISO-8601; empty where it is unknown."""
    text, header = first(cells, "changed_at")
    when = moment(header, text)
    return "" if when is None else when.isoformat()
