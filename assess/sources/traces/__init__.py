"""Traces: calls between services, from Jaeger, Zipkin and service graphs in Prometheus."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from assess.frames import EXTERNAL
from assess.sources.base import (
    TRACED,
    Asked,
    Call,
    Name,
    Row,
    Rows,
    Source,
)
from assess.sources.csv_records import vocabulary
from assess.sources.dumps import DumpError, each_dump, read_json
from assess.sources.edges import CALL, kind_of_name
from assess.sources.http import HttpError, Web, open_web
from assess.sources.redact import strip_credentials
from assess.sources.values import (
    Texts,
    as_list,
    cell,
    dicts,
    dig,
    number,
    picked,
    table,
    text,
)

_SPAN_KINDS = vocabulary("traces", "span kinds")  # numbers and words of OpenTelemetry
_PEERS = vocabulary("traces", "peers")  # attributes, best first
_NO_PEER = vocabulary("traces", "nobody")  # peers that are no service
_FAILURES = vocabulary("traces", "failures")  # attributes and what they hold
_SCOPES = ("scopeSpans", "instrumentationLibrarySpans")  # the latter before version 0.15
_SHARED = " shared"
_QUEUE = ("producer", "consumer")
EVIDENCE = "traces"
RULE = TRACED
PEER = "trace-peer"  # named by its callers only
SURE = 0.9
HOURS = 720.0  # window asked for live where nobody names one
TOTAL = "traces_service_graph_request_total"
FAILED = "traces_service_graph_request_failed_total"
# Kinds of dependency by the counters' label ``connection_type``; others are known by name.
_CONNECTIONS = {"messaging_system": "queue", "database": "data"}
# types of connections whose callee had spans of its own; a database has none
_BOTH = ("", "None", "messaging_system")
_OUTSIDE = "virtual_node"  # no span of the other side was ever seen
_NOBODY = vocabulary("traces", "no service")  # ends that are no service
_GRAPHS = vocabulary("traces", "graphs")  # keys of graphs and of their edges
_SEEN = "FORWARDED"  # what became of a flow of Hubble that was a call
Key = tuple[str, str, str, bool]  # caller, callee, kind, whether it is outside
MAX_EDGES = 100_000  # a fleet of 10,000 services has some ten each
_LONGEST = 200  # characters of a name; more is no name
_EMPTY = "no calls: that says nothing of the services (sampling, or no job that adds the calls up)"


@dataclass(frozen=True)
class Span:
    """One piece of work of a service within a trace."""

    key: tuple[str, str]  # ids of the trace and of the span
    parent: tuple[str, str]
    service: str
    kind: str  # client, server, producer, consumer; empty for work inside of a service
    peer: str  # whom a client calls, by its own word
    is_database: bool
    has_failed: bool

    @property
    def link_kind(self) -> str:
        """The kind of dependency that its caller, or itself as a client, has."""
        if self.is_database:
            return "data"
        return "queue" if self.kind in _QUEUE else "call"


def spans_in(values: Iterable[Any]) -> list[Span]:
    """Return the spans of a file; none where it holds other things."""
    found: list[Span] = []
    for value in values:
        for trace in dicts(value, "data") or [table(value)]:
            processes = table(trace, "processes")
            found += (_of_jaeger(span, processes) for span in dicts(trace, "spans"))
        for entry in as_list(value):
            if "localEndpoint" in table(entry):
                found.append(_of_zipkin(entry))
        # answers of Tempo and of Jaeger wrap a trace, or call its parts batches
        inner = table(value, "trace") or table(value, "result") or value
        for batch in dicts(inner, "resourceSpans") or dicts(inner, "batches"):
            found += _of_otlp(batch)
    return [span for span in found if span.service and all(span.key)]


def _of_jaeger(raw: Row, processes: Row) -> Span:
    parents = [text(entry, "spanID") for entry in dicts(raw, "references")]
    process = table(processes, text(raw, "processID")) or table(raw, "process")
    attributes = _attributes(dicts(raw, "tags"))
    parent = text(raw, "parentSpanID") or "".join(parents[:1])
    fields = picked(raw, "jaeger span") | {"parent": parent}
    return _span(fields, text(process, "serviceName"), attributes)


def _of_zipkin(raw: Row) -> Span:
    attributes = {key: str(value) for key, value in table(raw, "tags").items()}
    if "error" in attributes:
        attributes["error"] = "true"  # it holds a message
    fields = picked(raw, "zipkin span")
    # the server's part of a span that its client began
    if fields["id"] and raw.get("shared") is True:
        fields["id"] += _SHARED
    return _span(fields, text(raw, "localEndpoint", "serviceName"), attributes)


def _of_otlp(batch: Row) -> Iterator[Span]:
    service = _attributes(dicts(batch, "resource", "attributes")).get("service.name", "")
    for key in _SCOPES:
        for scope in dicts(batch, key):
            for raw in dicts(scope, "spans"):
                attributes = _attributes(dicts(raw, "attributes"))
                attributes["status.code"] = cell(raw, "status", "code")
                yield _span(picked(raw, "otlp span"), service, attributes)


def _attributes(entries: Rows) -> Texts:
    """Return attributes by key: values of Jaeger are bare, those of OpenTelemetry name a type."""
    found = {}
    for entry in entries:
        value = entry.get("value")
        inner = next(iter(value.values()), "") if isinstance(value, dict) else value
        found[text(entry, "key")] = str(inner)
    return found


def _span(fields: Row, service: str, attributes: Texts) -> Span:
    trace = cell(fields, "trace")
    word = cell(fields, "kind") or attributes.get("span.kind", "")
    peers = [cell(fields, "peer"), *(attributes.get(key, "") for key in _PEERS)]
    return Span(
        key=(trace, cell(fields, "id")),
        parent=(trace, cell(fields, "parent")),
        service=service,
        kind=_SPAN_KINDS.get(word.lower(), ""),
        peer=next((peer for peer in peers if peer and peer not in _NO_PEER), ""),
        is_database=any(key.startswith("db.") for key in attributes),
        has_failed=any(
            attributes.get(key, "").lower() in value.split()
            for key, value in _FAILURES.items()
        ),
    )


def calls_of(spans: Iterable[Span]) -> Iterator[tuple[Span, Span | None]]:
    """Yield the caller's span of each call, and that of the callee if it has one itself."""
    by_key = {span.key: span for span in spans}
    answered = set()
    for span in by_key.values():
        trace, own = span.key
        _, parent = span.parent
        places = (own.removesuffix(_SHARED), f"{parent}{_SHARED}", parent)
        found = (by_key.get((trace, place)) for place in places)
        caller = next((other for other in found if other and other is not span), None)
        if caller and caller.service != span.service:
            answered.add(caller.key)
            yield caller, span
    for span in by_key.values():
        # who sends and who receives need the broker that they name, besides each other
        is_alone = span.kind == "client" and span.key not in answered
        if span.peer and (is_alone or span.kind in _QUEUE):
            yield span, None


def _read(asked: Asked) -> Rows:
    """Read the links of files; of service graphs, failures are in a file of their own."""
    links = []
    spans = []
    for file, call in each_dump(asked, name="graph", empty=_EMPTY):
        with call:
            values = read_json(file, call.row)
            if of_traces := spans_in(values):
                spans += call.take(of_traces)
                continue
            more = _checked(values, call, is_failed="failed" in file.stem)
            links += call.take(more)
    made = (_link_of_call(caller, callee) for caller, callee in calls_of(spans))
    return [*links, *filter(None, made)]


def _link_of_call(caller: Span, callee: Span | None) -> Row | None:
    link = _pair(caller.service, callee.service if callee else caller.peer)
    if not link:
        return None
    has_failed = caller.has_failed or (callee is not None and callee.has_failed)
    return link | {
        "kind": caller.link_kind if link["kind"] == CALL else link["kind"],
        "rule": RULE if callee else PEER,
        "calls": 1,
        "failed": int(has_failed),
    }


def _ask(asked: Asked, hours: float) -> Rows:
    """Ask the endpoint in the dialect that is named, else in the first that it speaks."""
    until = datetime.now(UTC)
    named = asked.options.get("format")
    formats = [named] if named else list(FORMATS)
    links = []
    with (
        asked.batch.call(asked.scope, "graph", empty=_EMPTY) as call,
        open_web(asked, call=call) as web,
    ):
        links += call.take(_first_answer(web, formats, until, hours, call))
    call.note(window_start=until - timedelta(hours=hours), window_end=until)
    return links


def _first_answer(
    web: Web, formats: list[str], until: datetime, hours: float, call: Call
) -> Rows:
    """Return the links of the first format that the server answers."""
    for kind in formats[:-1]:
        try:
            return FORMATS[kind](web, until, hours, call)
        except (HttpError, DumpError) as error:
            # Servers of the other formats do not know the path, or answer with a page for people.
            if getattr(error, "status_code", 404) not in (400, 404, 405):
                raise
    return FORMATS[formats[-1]](web, until, hours, call)


def get_dependencies(
    path: str, web: Web, until: datetime, hours: float, call: Call
) -> Rows:
    """Ask Jaeger's query service, or Zipkin."""
    window = {"endTs": int(until.timestamp() * 1000), "lookback": int(hours * 3_600_000)}
    answer = web.json(path, params=window)
    return _checked(answer if isinstance(answer, list) else [answer], call)


def get_servicegraph(web: Web, until: datetime, hours: float, call: Call) -> Rows:
    """Ask Prometheus, or what speaks like it, for all calls and for those that failed."""
    window = f"{max(round(hours * 60), 1)}m"

    def get(counter: str) -> Rows:
        query = f"sum by (client,server,connection_type)(increase({counter}[{window}]))"
        params = {"query": query, "time": until.timestamp()}
        answer = web.json("api/v1/query", params=params)
        return _checked([answer], call, is_failed=counter == FAILED)

    links = get(TOTAL)
    try:
        links += get(FAILED)
    except (OSError, ValueError) as error:  # edges without error rates are worth having
        call.note(error_class=type(error).__name__)
        hint = "the counter of failed calls was not to be had: error rates are unknown"
        call.status("partial", hint)
    return links


FORMATS: dict[str, Callable[[Web, datetime, float, Call], Rows]] = {
    "jaeger": partial(get_dependencies, "api/dependencies"),
    "zipkin": partial(get_dependencies, "api/v2/dependencies"),
    "servicegraph": get_servicegraph,
}


class TracesSource(Source):
    """Reads calls between services; a service without traces has unknown dependencies, not none."""

    type = "traces"
    formats = FORMATS

    def fill(self, asked: Asked) -> None:
        """Read files, or ask the endpoint; the format is recognised by the shape of an answer."""
        batch = asked.batch
        # a probe asks about the last hour only
        hours = 1.0 if asked.is_probe else asked.options.get("window_hours")
        if "endpoint" in asked.options:
            hours = hours or HOURS
            links = _ask(asked, hours)
        else:
            links = _read(asked)
        edges = to_dependencies(links, hours)
        if len(edges) > MAX_EDGES:
            counts = {"rows": MAX_EDGES, "expected": len(edges)}
            hint = f"only the {MAX_EDGES:,} edges with most calls are kept"
            batch.cover(
                batch.coverage[0]["scope"], "edges", "partial", hint=hint, **counts
            )
            edges.sort(key=lambda edge: -(edge["calls"] or 0))
        batch.add("dependencies", *edges[:MAX_EDGES])


def _checked(values: list[Any], call: Call, *, is_failed: bool = False) -> Rows:
    """Return the links of an answer; one of another shape is an error."""
    links, unmapped_n = to_links(values, is_failed=is_failed)
    call.count(unmapped_n=unmapped_n)
    problem = next(filter(None, map(_problem, values)), None)
    if problem and not links:
        raise DumpError(problem)
    return links


def _problem(value: Any) -> str | None:
    """Return why a value is not a trace graph; None where it is one."""
    if not isinstance(value, dict):
        return "this is no graph of calls"
    if value.get("errors") or value.get("status") == "error":
        return "the server says that it failed"
    data = value.get("data", value)
    is_graph = data is None or isinstance(dig(data, "result") or data, list)
    if is_graph or _GRAPHS.keys() & value.keys() or dig(data, "result") == []:
        return None
    return (
        "this is no graph of calls; `assess sources traces` names the calls that give one"
    )


def to_links(values: list[Any], *, is_failed: bool = False) -> tuple[Rows, int]:
    """Read who called whom in answers of any format, and count entries that cannot be read."""
    # A link is ``src, dst, kind, is_outside, rule`` and ``calls`` or ``failed``.
    read = [_link_of(entry, is_failed) for entry in _entries(values)]
    links = [link for link in read if link]
    if any(link.get("failed") is not None for link in links):
        for link in links:  # Zipkin leaves out a count of 0
            link["failed"] = link.get("failed") or 0
    return links, len(read) - len(links)


def _entries(values: list[Any]) -> Iterator[Row]:
    """List the links of Jaeger and Zipkin and the series of Prometheus, wherever they are."""
    for value in values:
        data = dig(value, "data")
        lists = [data, dig(data, "result"), dig(value, "result")]
        whole = next((entries for entries in lists if isinstance(entries, list)), None)
        if whole is not None:
            yield from ({**entry, "is_joined": True} for entry in dicts(whole))
        elif isinstance(value, dict):
            if "parent" in value or "metric" in value:
                yield value
            yield from _drawn(value)
            flow = table(value, "flow") or value
            # an answer, a refused call and one whose direction is open are no calls
            is_call = flow.get("verdict", _SEEN) == _SEEN
            is_call = is_call and flow.get("is_reply", False) is False
            if is_call and ("src" in flow or "verdict" in flow):
                yield {**picked(flow, "graph edge"), "is_joined": True}


def _drawn(graph: Row) -> Iterator[Row]:
    """List the edges of a graph of Kiali or X-Ray, which name their ends by ids."""
    edges = dicts(graph, "elements", "edges")
    names = {}
    for node in dicts(graph, "elements", "nodes") or dicts(graph, "Services"):
        of = picked(node, "graph node")
        names[of["id"]] = of["name"]
        edges += ({**edge, "parent": of["id"]} for edge in dicts(node, "Edges"))
    for edge in edges:
        link = picked(edge, "graph edge")
        link |= {end: names.get(link[end]) for end in ("parent", "child")}
        yield link | {"is_joined": True}


def _link_of(entry: Row, is_failed: bool) -> Row | None:
    metric = entry.get("metric")
    if metric and isinstance(metric, dict):
        return _from_series(metric, entry.get("value"), is_failed)
    child = entry.get("child")
    link = _pair(entry.get("parent"), child)
    if link:
        # Jaeger joins the spans of two services; Zipkin also takes the caller's word.
        is_name = entry.get("is_joined") and "://" not in str(child)
        link["rule"] = RULE if is_name else PEER
        link["calls"] = _count(entry.get("callCount"))
        link["failed"] = _count(entry.get("errorCount"))
    return link


def _from_series(metric: Row, value: Any, is_failed: bool) -> Row | None:
    """Read a series of a service graph: who called whom by its labels, how often by its value."""
    ends = picked(metric, "service graph series")
    link = _pair(ends["client"], ends["server"])
    # who has no spans, in service graphs; elsewhere a service may be called so
    if not link or link["src"] == "user":
        return None
    connection = str(metric.get("connection_type"))
    link["kind"] = _CONNECTIONS.get(connection, link["kind"])
    link["rule"] = RULE if connection in _BOTH else PEER
    link["is_outside"] = connection == _OUTSIDE or link["dst"].lower() in _NOBODY
    is_failed = is_failed or "failed" in str(metric.get("__name__", ""))
    is_sample = isinstance(value, list) and len(value) == 2  # time and number
    link["failed" if is_failed else "calls"] = _count(value[1]) if is_sample else None
    return link


def _pair(caller: Any, callee: Any) -> Row | None:
    src = _named(caller)
    dst = _named(callee)
    if src.lower() in _NOBODY or not dst:
        return None
    named = kind_of_name(dst)
    # a name such as "user-cache" may be that of a service; one such as "redis" is a product's
    kind = named.kind if named and named.protocol else CALL
    return {"src": src, "dst": dst, "kind": kind, "is_outside": False}


def _named(value: Any) -> str:
    """Read the name of a service; of an address only the host; empty for other values."""
    if not isinstance(value, str) or len(value) > _LONGEST:
        return ""
    text = strip_credentials(value).replace("\0", "").strip()
    return re.split(r"[/?#]", text.partition("://")[2])[0] if "://" in text else text


def _count(value: Any) -> int | None:
    """Read a number of calls; counters of Prometheus are texts, and estimates."""
    count = number(value)
    return round(count) if count is not None and count < 2**62 else None


def to_dependencies(links: Rows, hours: float | None) -> Rows:
    """Add links up to one edge for each pair and kind, with its share of failed calls."""
    # The counter of failed calls begins with the first: where other pairs have one, none
    # is 0.
    total: dict[Key, int | None] = {}
    failed: dict[Key, int] = {}
    reported = {link["src"] for link in links}  # who has spans of its own
    for link in links:
        key = link["src"], link["dst"], link["kind"], link["is_outside"]
        if link["rule"] == RULE:
            reported.add(link["dst"])
        if "calls" in link:
            known = [n for n in (total.get(key), link["calls"]) if n is not None]
            total[key] = sum(known) if known else None
        if link.get("failed") is not None:
            failed[key] = failed.get(key, 0) + link["failed"]
    no_failures = 0 if any("calls" not in link for link in links) else None
    rows = []
    for key, calls in total.items():
        src, dst, kind, is_outside = key
        callee = Name(dst, RULE if dst in reported else PEER, SURE)
        row: Row = {
            "src": Name(src, RULE, SURE),
            "dst": f"{EXTERNAL}{dst}" if is_outside else callee,
            "kind": kind,
            "evidence": EVIDENCE,
            "calls": calls,
            "confidence": SURE,
            "window_hours": hours,
        }
        bad = failed.get(key, no_failures)
        if calls and bad is not None:
            row["error_rate"] = min(bad / calls, 1.0)
        rows.append(row)
    return rows
