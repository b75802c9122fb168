"""Connections, from dumps of sockets and from flow logs."""

import re
from pathlib import Path
from typing import Any

from assess.sources.base import Asked, Batch, Call, Row, Source
from assess.sources.connections.edges import Edges
from assess.sources.connections.fleet import Fleet
from assess.sources.connections.flows import Flows, is_flow_log
from assess.sources.connections.observed import Observed, Ranks
from assess.sources.connections.sockets import Sample, is_listing, read_tables, read_text
from assess.sources.csv_records import vocabulary
from assess.sources.dumps import DumpError, decode_values, decoded, each_dump, read_json
from assess.sources.dumps import read_text as read_dump
from assess.sources.listing import lose
from assess.sources.values import dicts, integer, moment, text

_ENDINGS = tuple(vocabulary("connections", "endings"))
_TOOLS = tuple(vocabulary("connections", "tools"))
_STAMP = re.compile(
    r"[-_.@]?(20\d\d)-?(\d\d)-?(\d\d)(?:[T_-]?(\d\d)[:-]?(\d\d)(?:[:-]?\d\d)?)?Z?$"
)
_NO_SOCKETS = (
    "this is no list of sockets; `assess sources connections` names the commands"
)
_EMPTY = "it lists no connection: that says nothing of the services"
_PROCESSES = "processes"  # of osquery: names by process id


class ConnectionsSource(Source):
    """Reads observed connections; runs after the other sources, which know the services."""

    type = "connections"
    follows = True

    def fill(self, asked: Asked) -> None:
        """Read the files, and join addresses and processes to the services of other sources."""
        fleet = Fleet(asked.others)
        observed = Observed()
        dumps = list(each_dump(asked, (), empty=_EMPTY))
        logs = [dump for dump in dumps if is_flow_log(dump[0])]
        for file, call in dumps:
            if (file, call) not in logs:
                with call:
                    asked.deadline.check()
                    _read(file, asked.options, fleet, observed, call)
        watches = observed.watches.values()
        served = {port for watch in watches for _, port in watch.listening}
        ranks = Ranks(fleet.ports | served)
        flows = Flows(ranks)
        for file, call in logs:  # once it is known who listens
            with call:
                flows.read(file, asked.deadline, call)
        observed.settle(ranks)
        edges = Edges(fleet, observed, flows)
        found = edges.make()
        if observed.watches or any(call.row["rows"] for _, call in logs):
            _cover(edges, observed, found, asked.batch)
        asked.batch.merge(found)


def _read(file: Path, options: Row, fleet: Fleet, observed: Observed, call: Call) -> None:
    text_ = read_dump(file, call.row)
    if text_ is None:
        return
    if file.stem == _PROCESSES:
        call.take(dicts(decode_values(text_)[0]))
        return
    lost: list[str] = []
    if text_.lstrip()[:1] in ("[", "{"):
        samples = _of_json(file, text_, lost, call)
    else:
        samples = list(read_text(text_, lost))
    sockets_n = sum(len(sample.sockets) for sample in samples)
    if not sockets_n and text_.strip() != "[]" and not is_listing(text_):
        raise DumpError(_NO_SOCKETS)
    lose(call, lost)
    call.count(rows=sockets_n)
    host, at = _named(file, options)
    for sample in samples:
        sample.at = sample.at or at or moment(file.stat().st_mtime)
        observed.add_sample(fleet.machine(sample.host or host), sample)
    times = [sample.at for sample in samples if sample.at]
    if times:
        call.note(window_start=min(times), window_end=max(times))


def _of_json(file: Path, text_: str, lost: list[str], call: Call) -> list[Sample]:
    """Read tables of osquery, with the names of processes from the file beside it."""
    values = decoded(text_, call.row)
    beside = file.with_name(f"{_PROCESSES}.json")
    processes = dicts(read_json(beside, {})) if beside.is_file() else []
    names = {integer(row, "pid") or 0: text(row, "name") for row in processes}
    return read_tables(values, names, lost)


def _named(file: Path, options: Row) -> tuple[str, Any]:
    stem = file.name
    for ending in _ENDINGS:
        stem = stem.removesuffix(ending)
    at = None
    if found := _STAMP.search(stem):
        stem = stem[: found.start()]
        at = moment("{}-{}-{}T{}:{}:00Z".format(*found.groups("00")))
    for tool in _TOOLS:
        stem = re.sub(rf"(^|[-_.@]){tool}($|[-_.@])", "", stem)
    return options.get("host") or stem or file.resolve().parent.name, at


def _cover(edges: Edges, observed: Observed, found: Batch, batch: Batch) -> None:
    """Count the edges, and the unknown callers."""
    scope = batch.coverage[0]["scope"]
    unknown_n = len(edges.unknown)
    row = batch.cover(scope, "edges", "ok", rows=len(found.rows["dependencies"]))
    if unknown_n:
        first = next(iter(edges.unknown))
        row |= {"status": "partial", "unmapped_n": unknown_n, "unmapped_example": first}
        row["hint"] = "callers at addresses that no source knows: dump those hosts too"
    if observed.dropped_n:
        hint = "too many pairs of addresses: split the files by host"
        batch.cover(scope, "sockets", "partial", unmapped_n=observed.dropped_n, hint=hint)
