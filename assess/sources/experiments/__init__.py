"""Experiments: failures made on purpose, from a CSV and from the results of chaos tools.

Chaos tools record what was broken and which probes of theirs failed, not which services: a probe
stands for the service that the ``map`` names, else for the one that is called as it is.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from assess.reading import MAX_RECORDS, MAX_TABLE_BYTES, read_limited, refuse_many
from assess.sources.base import (
    Asked,
    Call,
    Name,
    Names,
    Row,
    Rows,
    Source,
)
from assess.sources.csv_records import Cells, fill, headers, read_records, vocabulary
from assess.sources.dumps import (
    JSON_SUFFIXES,
    YAML_SUFFIXES,
    each_dump,
    read_bytes,
    read_documents,
)
from assess.sources.experiments.tools import (
    Map,
    Target,
    fault_of,
    of_chaosmesh,
    of_fis,
    of_gremlin,
    of_pod,
    of_selector,
    row_of,
    target_of,
)
from assess.sources.redact import scrub
from assess.sources.values import as_list, dicts, dig, table, text

_COLUMNS = headers("experiments")
_BASES = ("outage", "errors", "latency")
# arguments of the actions of Chaos Toolkit's drivers -> what they name
_ARGUMENTS = vocabulary("experiments", "arguments")
_SIGNS = vocabulary("experiments", "signs")
_TABLES = (".csv", ".tsv")
_DOCUMENTS = JSON_SUFFIXES + YAML_SUFFIXES
_UNDECIDED = ("Awaited", "Stopped", "Error")  # verdicts of Litmus that say nothing
_NO_ELEMENT = (
    "some name no one element that was failed, or no time: name the action in the map"
)


def _read_map(file: Path) -> Map:
    """Read the map from probes, actions and targets to services: ``name,service``."""
    header, records = read_records(read_limited(file, MAX_TABLE_BYTES))
    if not {"name", "service"} <= set(header):
        raise ValueError("the map needs the columns name and service")
    return {cells["name"]: cells["service"] for cells in records if cells.get("service")}


def _read(kind: str, file: Path, call: Call, names: Map) -> Iterator[Row | None]:
    """Read one file; None in the list is an experiment that cannot be used."""
    if kind == "csv":
        yield from of_csv(read_bytes(file, call.row, MAX_TABLE_BYTES))
        return
    for value in read_documents(file, call.row):
        for document in as_list(value):
            items = dig(document, "items")
            for entry in items if isinstance(items, list) else [document]:
                read = _TOOLS.get(kind) or _TOOLS.get(_tool_of(entry))
                yield read(entry, names) if read and isinstance(entry, dict) else None


def _tool_of(entry: Any) -> str:
    """Return the tool that wrote an entry, by keys and groups that only it has; else nothing."""
    group = text(entry, "apiVersion").partition("/")[0]
    keys = {group, *table(entry), *table(entry, "experiment")}
    return next((tool for sign, tool in _SIGNS.items() if sign in keys), "")


def _named_apart(rows: Rows, scope: str) -> Rows:
    """Make the ids of experiments unique: a game day is often named like the one before."""
    counts = Counter(row["experiment_id"] for row in rows)
    for number, row in enumerate(rows, start=1):
        name = row["experiment_id"]
        if counts[name] > 1 or not name:
            row["experiment_id"] = f"{name or scope}#{number}"
    return rows


def of_csv(data: bytes) -> Iterator[Row | None]:
    """Read experiments from a table; None for a row without a required value."""
    header, records = read_records(data)
    if not set(header) & set(_COLUMNS["element"]):
        raise ValueError(
            "no column says which element was failed: element, target or failed"
        )
    for cells in records:
        yield _of_cells(cells)


def _of_cells(cells: Cells) -> Row | None:
    filled = fill(cells, _COLUMNS)
    if not filled["element"]:
        return None
    target = ((filled["element_kind"] or "service").lower(), filled["element"])
    times = (filled["started_at"], filled["ended_at"])
    row = row_of(filled["experiment_id"], {target}, *times)
    if not row:
        return None
    for column in ("affected", "observed"):
        if filled[column]:
            row[column] = _names(re.split(r"[;,|]", filled[column]))
    basis = filled["basis"].lower()
    row["basis"] = basis if basis in _BASES else None
    return row | {"fault": fault_of(filled["fault"])}


def of_chaostoolkit(journal: Row, names: Map) -> Row | None:
    """Read the journal of one run of Chaos Toolkit; None where nothing known was failed."""
    runs = dicts(journal, "run")
    sound = [table(run, "activity") for run in runs if run.get("status") == "succeeded"]
    actions = [activity for activity in sound if text(activity, "type") == "action"]
    targets = {_target(action, names) for action in actions}
    failing = [action for action in actions if _target(action, names)]
    words = [text(a, "provider", "func") or text(a, "name") for a in failing]
    title = text(journal, "experiment", "title") or "chaos toolkit"
    start = journal.get("start")
    row = row_of(f"{scrub(title)} {start}", targets - {None}, start, journal.get("end"))
    states = table(journal, "steady_states")
    groups = [*_listed(states.get("during")), *_listed(states.get("after"))]
    probes = [probe for group in groups for probe in _listed(group.get("probes"))]
    probes += [run for run in runs if dig(run, "activity", "type") == "probe"]
    results = [
        (
            _probed(table(probe, "activity"), names),
            probe.get("tolerance_met") is False or probe.get("status") == "failed",
        )
        for probe in probes
    ]
    return row and row | _seen(row, results) | {"fault": fault_of(*words)}


def of_litmus(result: Row, names: Map) -> Row | None:
    """Read one ChaosResult of LitmusChaos; None where nothing known was failed."""
    status = table(result, "status")
    if dig(status, "experimentStatus", "verdict") in _UNDECIDED:
        return None
    targets = {
        _litmus_target(target, names)
        for target in _listed(dig(status, "history", "targets"))
        if target.get("chaosStatus") != "not injected" and target.get("name")
    }
    meta = table(result, "metadata")
    name = text(meta, "uid") or text(meta, "name")
    row = row_of(name, targets, meta.get("creationTimestamp"), None)
    results = []
    for probe in _listed(status.get("probeStatuses") or status.get("probeStatus")):
        words = [str(word).lower() for word in table(probe, "status").values()]
        has_failed = any(word.startswith("fail") for word in words)
        name = str(probe.get("name"))
        results.append((names.get(name, name), has_failed))
    kind = text(result, "spec", "experiment") or text(meta, "name")
    return row and row | _seen(row, results) | {"fault": fault_of(kind)}


_TOOLS: dict[str, Callable[[Row, Map], Row | None]] = {
    "chaostoolkit": of_chaostoolkit,
    "litmus": of_litmus,
    "chaosmesh": of_chaosmesh,
    "gremlin": of_gremlin,
    "fis": of_fis,
}
FORMATS = ("csv", *_TOOLS)


class ExperimentsSource(Source):
    """Reads experiments: failures made on purpose, and the affected services."""

    type = "experiments"
    formats = FORMATS

    def fill(self, asked: Asked) -> None:
        """Read the experiments of all files."""
        batch = asked.batch
        kind = asked.options.get("format", "")
        names = {}
        if file := asked.options.get("map"):
            with batch.call(str(file), "map") as call:
                names = _read_map(asked.base / file)
            if not call.has_answer:
                return
            batch.coverage.remove(call.row)  # only a map that fails is worth a row
        suffixes = {"": _TABLES + _DOCUMENTS, "csv": _TABLES}.get(kind, _DOCUMENTS)
        for file, call in each_dump(asked, suffixes, name=kind or "read"):
            scope = call.row["scope"]
            is_table = file.suffix.lower() not in _DOCUMENTS
            with call:
                if is_table and not kind:
                    call.note(call="csv")
                read = _read(call.row["call"], file, call, names)
                experiments = list(islice(read, MAX_RECORDS + 1))
                refuse_many(len(experiments))
                known = [row | {"source_ref": scope} for row in experiments if row]
                batch.add("experiments", *_named_apart(call.take(known), scope))
                unmapped_n = len(experiments) - len(known)
                call.note(expected=len(experiments), unmapped_n=unmapped_n)
                if call.is_open and unmapped_n:
                    call.status("partial", _NO_ELEMENT)
                elif call.is_open and not experiments:
                    call.status("empty", "it holds no experiment")


def _seen(row: Row, results: list[tuple[str, bool]]) -> Row:
    """Return the services that were observed and those that failed; a target is both."""
    target = [row["element"]] if row["element_kind"] == "service" else []
    failed = [service for service, has_failed in results if has_failed]
    observed = [service for service, _ in results]
    return {
        "affected": _names([*target, *failed]),
        "observed": _names([*target, *observed]),
        "basis": "outage",
    }


def _names(services: Iterable[str]) -> Names:
    names = dict.fromkeys(service.strip() for service in services)
    return tuple(Name(name, "experiment", 0.9) for name in names if name)


def _target(activity: Row, names: Map) -> Target | None:
    """Return the target of an action: as mapped, else from its arguments."""
    if mapped := names.get(str(activity.get("name"))):
        return target_of(mapped)
    arguments = table(activity, "provider", "arguments")
    for argument, kind in _ARGUMENTS.items():
        value = arguments.get(argument)
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        element = text(value)
        if argument == "label_selector":
            element = of_selector(element)
        if element:
            return kind, element
    return None


def _litmus_target(target: Row, names: Map) -> Target:
    name = str(target["name"])
    if str(target.get("kind")).lower() == "node":
        return "host", names.get(name, name)
    return "service", names.get(name, of_pod(name))


def _probed(activity: Row, names: Map) -> str:
    """Return the service that a probe observes: as mapped, else its address, else its name."""
    name = str(activity.get("name"))
    host = None
    with suppress(ValueError):  # "http://[" is no address
        host = urlsplit(text(activity, "provider", "url")).hostname
    return names.get(name) or (host or "").partition(".")[0] or name


def _listed(value: Any) -> Rows:
    return dicts(as_list(value))
