"""Traces: who called whom, as Jaeger, Zipkin and service-graph counters in Prometheus have it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from assess.frames import EXTERNAL
from assess.sources.base import Batch, Deadline, Name, Row, paths_of
from assess.sources.dumps import (
    DumpError,
    dicts,
    dig,
    each_file,
    read_json,
)
from assess.sources.http import HttpError, Web, ask
from assess.sources.redact import strip_userinfo

EVIDENCE, RULE, SURE = "traces", "trace", 0.9
HOURS = 720.0  # window asked for live where nobody names one
TOTAL, FAILED = (
    "traces_service_graph_request_total",
    "traces_service_graph_request_failed_total",
)
# Kinds of dependency by the counters' label ``connection_type``; others are calls.
_KINDS = {"messaging_system": "queue", "database": "data"}
_OUTSIDE = "virtual_node"  # no span of the other side was ever seen
_NOBODY = frozenset(("", "user", "unknown", "-"))  # clients that are no service
_LONGEST = 200  # characters of a name; more is no name
_EMPTY = "no calls: that says nothing of the services (sampling, or no job that adds the calls up)"


class TracesSource:
    """Reads who called whom; a service without traces stays unknown, not free of dependencies."""

    type = "traces"
    options: tuple[str, ...] = (
        "path",
        "format",
        "endpoint",
        "token_file",
        "ca",
        "window_hours",
    )
    fills: tuple[str, ...] = ("dependencies",)
    needs = (
        "read access to Jaeger's or Zipkin's query service, or to Prometheus' query API"
    )
    dump = (
        "`curl 'JAEGER/api/dependencies?endTs=MS&lookback=2592000000'`, "
        "`curl 'ZIPKIN/api/v2/dependencies?endTs=MS&lookback=2592000000'`, or `curl "
        f"PROMETHEUS/api/v1/query --data-urlencode 'query={{query}}'` with {TOTAL}, and with "
        f"{FAILED} into a file with `failed` in its name"
    ).replace("{query}", "sum by (client,server,connection_type)(increase(COUNTER[30d]))")

    def check(self, options: dict[str, Any]) -> list[str]:
        """List what is wrong with the options."""
        problems = []
        if "endpoint" in options and "path" in options:
            problems.append("give a path or an endpoint, not both")
        elif "endpoint" not in options and not paths_of(options):
            problems.append("path names no file")
        if options.get("format", "jaeger") not in FORMATS:
            problems.append(
                f"format {options['format']!r} is not one of {', '.join(FORMATS)}"
            )
        hours = options.get("window_hours", HOURS)
        if (
            isinstance(hours, bool)
            or not isinstance(hours, int | float)
            or not 0 < hours < 1e5
        ):
            problems.append("window_hours is no number of hours")
        texts = ("endpoint", "token_file", "ca")
        return problems + [
            f"{k} is no text" for k in texts if not isinstance(options.get(k, ""), str)
        ]

    def collect(self, options: dict[str, Any], base: Path, deadline: Deadline) -> Batch:
        """Read files, or ask; what kind of answer it is, its shape tells."""
        batch = Batch()
        batch.add("dependencies")
        if "endpoint" in options:
            _ask(options, base, deadline, batch)
            return batch
        calls: list[Row] = []
        hours = options.get("window_hours")
        for _, file, row in each_file(options, base, deadline, batch, call="graph"):
            values = read_json(file, row)
            found, unmapped = to_calls(values, is_failed="failed" in file.stem)
            calls += found
            _tell(row, found, unmapped)
            if not found and (problem := next(filter(None, map(_problem, values)), None)):
                row |= {"status": "parse_error", "hint": problem}
        batch.add("dependencies", *to_dependencies(calls, hours))
        return batch

    def probe(self, options: dict[str, Any], base: Path, deadline: Deadline) -> Batch:
        """Ask about the last hour only, or read the files."""
        return self.collect({**options, "window_hours": 1.0}, base, deadline)


def _ask(options: Row, base: Path, deadline: Deadline, batch: Batch) -> None:
    """Ask the endpoint in the dialect that is named, else in the first that it speaks."""
    hours, until = float(options.get("window_hours", HOURS)), datetime.now(UTC)
    row = batch.cover(strip_userinfo(str(options["endpoint"])), "graph", "ok")
    calls: list[Row] = []

    def work(web: Web) -> None:
        formats = [options["format"]] if "format" in options else list(FORMATS)
        for kind in formats:
            try:
                found, unmapped = FORMATS[kind](web, until, hours, row)
            except (
                HttpError,
                DumpError,
            ) as error:  # another server, or a page for people
                code = getattr(error, "status_code", 404)
                if kind == formats[-1] or code not in (400, 404, 405):
                    raise
                continue
            calls.extend(found)
            _tell(row, found, unmapped)
            return

    ask(row, options, base, deadline, work=work)
    row |= {"window_start": until - timedelta(hours=hours), "window_end": until}
    batch.add("dependencies", *to_dependencies(calls, hours))


def _tell(row: Row, calls: list[Row], unmapped: int) -> None:
    """Say in the coverage row how many pairs there were."""
    row |= {"rows": len(calls), "unmapped_n": unmapped}
    if row["status"] == "ok" and not calls:
        row |= {"status": "empty", "hint": _EMPTY}


def get_jaeger(
    web: Web, until: datetime, hours: float, row: Row
) -> tuple[list[Row], int]:
    """Ask Jaeger's query service."""
    return _checked([web.json("api/dependencies", params=_window(until, hours))])


def get_zipkin(
    web: Web, until: datetime, hours: float, row: Row
) -> tuple[list[Row], int]:
    """Ask Zipkin."""
    found = web.json("api/v2/dependencies", params=_window(until, hours))
    return _checked(found if isinstance(found, list) else [found])


def get_servicegraph(
    web: Web, until: datetime, hours: float, row: Row
) -> tuple[list[Row], int]:
    """Ask Prometheus, or what speaks like it, for both counters; failures are the lesser loss."""
    found, unmapped = [], 0
    for counter in (TOTAL, FAILED):
        window = f"{max(round(hours * 60), 1)}m"
        query = f"sum by (client,server,connection_type)(increase({counter}[{window}]))"
        try:
            answer = web.json(
                "api/v1/query", params={"query": query, "time": until.timestamp()}
            )
            more, bad = _checked([answer], is_failed=counter == FAILED)
        except (OSError, ValueError) as error:
            if counter == TOTAL:
                raise
            hint = (
                "the counter of failed calls was not to be had: error rates are unknown"
            )
            row |= {
                "status": "partial",
                "error_class": type(error).__name__,
                "hint": hint,
            }
            break
        found += more
        unmapped += bad
    return found, unmapped


Get = Callable[[Web, datetime, float, Row], tuple[list[Row], int]]
FORMATS: dict[str, Get] = {
    "jaeger": get_jaeger,
    "zipkin": get_zipkin,
    "servicegraph": get_servicegraph,
}


def _window(until: datetime, hours: float) -> dict[str, int]:
    return {"endTs": int(until.timestamp() * 1000), "lookback": int(hours * 3_600_000)}


def _checked(values: list[Any], *, is_failed: bool = False) -> tuple[list[Row], int]:
    """Take the calls of an answer; one of another shape is an error."""
    problem = next(filter(None, map(_problem, values)), None)
    if problem:
        raise DumpError(problem)
    return to_calls(values, is_failed=is_failed)


def _problem(value: Any) -> str | None:
    """Say why a value is no trace graph; None where it is one."""
    if not isinstance(value, dict):
        return "this is no graph of calls"
    if value.get("errors") or value.get("status") == "error":
        return "the server says that it failed"
    data = value.get("data", value)
    is_graph = data is None or isinstance(dig(data, "result") or data, list)
    if is_graph or {"parent", "metric"} & set(value) or dig(data, "result") == []:
        return None
    return (
        "this is no graph of calls; `assess sources traces` names the calls that give one"
    )


def to_calls(values: list[Any], *, is_failed: bool = False) -> tuple[list[Row], int]:
    """Find who called whom in answers of any of the three; also count what could not be read.

    A call is ``src, dst, kind, is_outside`` and ``calls`` or ``failed``.
    """
    calls: list[Row] = []
    unmapped = 0
    for link in _links(values):
        metric = link["metric"] if isinstance(link.get("metric"), dict) else {}
        call = _from_metric(metric, link, is_failed) if metric else _from_link(link)
        if call is not None:
            calls.append(call)
        unmapped += call is None
    if any(
        call.get("failed") is not None for call in calls
    ):  # Zipkin leaves out a count of 0
        calls = [{**call, "failed": call.get("failed") or 0} for call in calls]
    return calls, unmapped


def _links(values: list[Any]) -> Iterator[Row]:
    """Give the links of Jaeger and Zipkin and the series of Prometheus, wherever they are."""
    for value in values:
        data = dig(value, "data")
        lists = [data, dig(data, "result"), dig(value, "result")]
        whole = next((found for found in lists if isinstance(found, list)), None)
        if whole is not None:
            yield from dicts(whole)
        elif isinstance(value, dict) and ("parent" in value or "metric" in value):
            yield value


def _from_link(link: Row) -> Row | None:
    src, dst = _named(link.get("parent")), _named(link.get("child"))
    if src.lower() in _NOBODY or not dst:
        return None
    calls, failed = _count(link.get("callCount")), _count(link.get("errorCount"))
    return {"src": src, "dst": dst, "kind": "call", "is_outside": False} | {
        "calls": calls,
        "failed": failed,
    }


def _from_metric(metric: Row, link: Row, is_failed: bool) -> Row | None:
    src, dst = _named(metric.get("client")), _named(metric.get("server"))
    if src.lower() in _NOBODY or not dst:
        return None
    connection = metric.get("connection_type")
    kind = _KINDS.get(connection, "call") if isinstance(connection, str) else "call"
    is_failed = is_failed or "failed" in str(metric.get("__name__", ""))
    value = link.get("value")
    count = _count(value[1]) if isinstance(value, list) and len(value) == 2 else None
    return {
        "src": src,
        "dst": dst,
        "kind": kind,
        "is_outside": connection == _OUTSIDE or dst.lower() in _NOBODY,
        "failed" if is_failed else "calls": count,
    }


def _named(value: Any) -> str:
    """Give the name of a service, of an address only the host; empty where it is none."""
    if not isinstance(value, str) or len(value) > _LONGEST:
        return ""
    text = strip_userinfo(value).replace("\0", "").strip()
    return re.split(r"[/?#]", text.partition("://")[2])[0] if "://" in text else text


def _count(value: Any) -> int | None:
    """Read a number of calls; counters of Prometheus are texts, and estimates."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return round(number) if math.isfinite(number) and 0 <= number < 2**62 else None


def to_dependencies(calls: list[Row], hours: float | None) -> list[Row]:
    """Make edges of calls: a pair and kind once, with its calls and the share that failed.

    The counter of failed calls begins with the first: where other pairs have one, none is 0.
    """
    total: dict[tuple[str, str, str, bool], int | None] = {}
    failed: dict[tuple[str, str, str, bool], int] = {}
    for call in calls:
        key = call["src"], call["dst"], call["kind"], call["is_outside"]
        if "calls" in call:
            total[key] = _plus(total.get(key), call["calls"])
        if call.get("failed") is not None:
            failed[key] = failed.get(key, 0) + call["failed"]
    is_counted = any("calls" not in call for call in calls)
    rows = []
    for (src, dst, kind, is_outside), n in total.items():
        row: Row = {
            "src": Name(src, RULE, SURE),
            "dst": f"{EXTERNAL}{dst}" if is_outside else Name(dst, RULE, SURE),
            "kind": kind,
            "evidence": EVIDENCE,
            "calls": n,
            "confidence": SURE,
        }
        bad = failed.get((src, dst, kind, is_outside), 0 if is_counted else None)
        if n and bad is not None:
            row["error_rate"] = min(bad / n, 1.0)
        rows.append(row | ({"window_hours": float(hours)} if hours else {}))
    return rows


def _plus(one: int | None, other: int | None) -> int | None:
    return other if one is None else one + (other or 0)
