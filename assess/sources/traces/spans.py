"""Spans of Jaeger, Zipkin and OpenTelemetry: from single calls to links between services.

A span whose parent is of another service is a call. A client that no span answers names its peer
in an attribute. Traces are samples: how often services call each other is a share of it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from assess.sources.base import Row, Rows
from assess.sources.csv_records import vocabulary
from assess.sources.values import Texts, as_list, cell, dicts, picked, table, text

_KINDS = vocabulary("traces", "span kinds")  # numbers and words of OpenTelemetry
_PEERS = vocabulary("traces", "peers")  # attributes, best first
_NOBODY = vocabulary("traces", "nobody")  # peers that are no service
_FAILURES = vocabulary("traces", "failures")  # attributes and what they hold
_SCOPES = ("scopeSpans", "instrumentationLibrarySpans")  # the latter before version 0.15
_SHARED = " shared"
_QUEUE = ("producer", "consumer")


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
        # Tempo's answer about one trace wraps it, or calls its parts batches
        inner = table(value, "trace") or value
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
    if raw.get("shared") is True:  # the server's part of a span that its client began
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
        kind=_KINDS.get(word.lower(), ""),
        peer=next((peer for peer in peers if peer and peer not in _NOBODY), ""),
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
