"""Experiments: failures made on purpose, from a CSV and from the results of chaos tools.

Chaos tools record what was broken and which probes of theirs failed, not which services: a probe
stands for the service that the ``map`` names, else for the one that is called as it is.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from assess.sources.answers.forms import moment_of
from assess.sources.base import (
    Batch,
    Call,
    Deadline,
    Name,
    Row,
    Source,
    failure,
    paths_of,
)
from assess.sources.csv_records import read_records
from assess.sources.dumps import (
    JSON_SUFFIXES,
    YAML_SUFFIXES,
    each_dump,
    read_bytes,
    read_documents,
)

Map = dict[str, str]
_COLUMNS = {
    "experiment_id": ("experiment_id", "id", "experiment", "name"),
    "element_kind": ("element_kind", "kind", "target_kind", "target_type"),
    "element": ("element", "target", "failed"),
    "started_at": ("started_at", "start", "started", "date"),
    "ended_at": ("ended_at", "end", "ended"),
    "affected": ("affected_services", "affected", "impacted_services"),
    "observed": ("observed_services", "observed"),
    "basis": ("basis",),
}
_BASES = ("outage", "errors", "latency")
# arguments of the actions of Chaos Toolkit's drivers -> what they name
_ARGUMENTS = {
    **dict.fromkeys(("service", "service_name", "deployment_name", "app"), "service"),
    **dict.fromkeys(
        ("label_selector", "container_name", "pod_name", "name_pattern"), "service"
    ),
    **dict.fromkeys(
        ("node_name", "host", "hostname", "instance_id", "instance_ids"), "host"
    ),
    **dict.fromkeys(("az", "availability_zone", "zone"), "az"),
    "cluster": "cluster",
}
_TARGETS = {"node": "host"}  # kinds of a target of Litmus; every other is a service
_POD = re.compile(r"(-[0-9a-f]{6,10})?-[a-z0-9]{5}$|-\d+$")
_LABEL = re.compile(r"(?:^|,)\s*(?:app|app\.kubernetes\.io/name|name)\s*==?\s*([^,\s]+)")


def of_csv(data: bytes, _map: Map) -> Iterator[Row | None]:
    """Read experiments that people keep in a table; None for a row that lacks what it needs."""
    header, records = read_records(data)
    if not set(header) & set(_COLUMNS["element"]):
        raise ValueError(
            "no column says which element was failed: element, target or failed"
        )
    for cells in records:
        row: Row = {
            column: next((cells[name] for name in names if cells.get(name)), None)
            for column, names in _COLUMNS.items()
        }
        began, kind = moment_of(row["started_at"]), row["element_kind"] or "service"
        if not (row["element"] and began):
            yield None
            continue
        basis = str(row["basis"] or "").lower()
        yield {
            **_row(
                row["experiment_id"], kind.lower(), row["element"], began, row["ended_at"]
            ),
            **({"affected": _names(_split(row["affected"]))} if row["affected"] else {}),
            **({"observed": _names(_split(row["observed"]))} if row["observed"] else {}),
            "basis": basis if basis in _BASES else None,
        }


def of_chaostoolkit(journal: Row, names: Map) -> Row | None:
    """Read the journal of one run of Chaos Toolkit; None where nothing known was failed."""
    runs = [r for r in journal.get("run") or () if isinstance(r, dict)]
    done = [
        r
        for r in runs
        if _activity(r).get("type") == "action" and r.get("status") == "succeeded"
    ]
    struck = {s for r in done if (s := _struck(_activity(r), names))}
    began = moment_of(journal.get("start"))
    if len(struck) != 1 or began is None:  # several at once say nothing of any of them
        return None
    ((kind, element),) = struck
    states = journal.get("steady_states") or {}
    groups = [g for key in ("during", "after") for g in _list(states.get(key))]
    probes = [p for g in groups for p in _list(g.get("probes"))]
    probes += [r for r in runs if _activity(r).get("type") == "probe"]
    failed, seen = [], []
    for probe in probes:
        service = _probed(_activity(probe), names)
        seen.append(service)
        if probe.get("tolerance_met") is False or probe.get("status") == "failed":
            failed.append(service)
    title = str((journal.get("experiment") or {}).get("title") or "chaos toolkit")
    row = _row(
        f"{title} {journal.get('start')}", kind, element, began, journal.get("end")
    )
    return row | _seen(kind, element, failed, seen) | {"basis": "outage"}


def of_litmus(result: Row, names: Map) -> Row | None:
    """Read one ChaosResult of LitmusChaos; None where nothing known was failed."""
    meta, status = result.get("metadata") or {}, result.get("status") or {}
    history = status.get("history") or {}
    hit = [
        t for t in _list(history.get("targets")) if t.get("chaosStatus") != "not injected"
    ]
    struck = {
        (kind, names.get(name, name if kind == "host" else _POD.sub("", name)))
        for t in hit
        if (name := str(t.get("name") or ""))
        for kind in [_TARGETS.get(str(t.get("kind")).lower(), "service")]
    }
    began = moment_of(meta.get("creationTimestamp"))
    verdict = str((status.get("experimentStatus") or {}).get("verdict"))
    if len(struck) != 1 or began is None or verdict in ("Awaited", "Stopped", "Error"):
        return None
    ((kind, element),) = struck
    failed, seen = [], []
    for probe in _list(status.get("probeStatuses")) or _list(status.get("probeStatus")):
        service = names.get(str(probe.get("name")), str(probe.get("name")))
        seen.append(service)
        said = probe.get("status") or {}
        words = {
            str(value).lower()
            for value in (said if isinstance(said, dict) else {}).values()
        }
        if any(word.startswith("fail") for word in words):
            failed.append(service)
    row = _row(str(meta.get("uid") or meta.get("name")), kind, element, began, None)
    return row | _seen(kind, element, failed, seen) | {"basis": "outage"}


def _seen(kind: str, element: str, failed: list[str], seen: list[str]) -> Row:
    """Return the services that were observed and those that failed; the target is both."""
    own = [element] if kind == "service" else []
    return {"affected": _names([*own, *failed]), "observed": _names([*own, *seen])}


def _row(name: Any, kind: str, element: str, began: Any, ended: Any) -> Row:
    row: Row = {
        "experiment_id": name,
        "element_kind": kind,
        "element": element,
        "started_at": began,
        "ended_at": moment_of(ended),
    }
    return row | (
        {"struck": Name(element, "experiment", 0.9)} if kind == "service" else {}
    )


def _struck(activity: Row, names: Map) -> tuple[str, str] | None:
    """Return kind and name of the target of an action: as mapped, else from its arguments."""
    if mapped := names.get(str(activity.get("name"))):
        kind, _, element = mapped.rpartition(":")
        return (kind or "service", element)
    provider = activity.get("provider") or {}
    arguments = provider.get("arguments")
    if not isinstance(arguments, dict):
        return None
    for argument, kind in _ARGUMENTS.items():
        value = arguments.get(argument)
        value = value[0] if isinstance(value, list) and len(value) == 1 else value
        if argument == "label_selector" and isinstance(value, str):
            found = _LABEL.search(value)
            value = found[1] if found else None
        if isinstance(value, str) and value:
            return kind, value
    return None


def _probed(activity: Row, names: Map) -> str:
    """Return the service that a probe observes: as mapped, else its address, else its name."""
    name = str(activity.get("name"))
    url = (activity.get("provider") or {}).get("url")
    host = urlsplit(url).hostname if isinstance(url, str) else None
    return names.get(name) or (host or "").partition(".")[0] or name


def _activity(run: Row) -> Row:
    activity = run.get("activity")
    return activity if isinstance(activity, dict) else {}


def _list(value: Any) -> list[Row]:
    values = value if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, dict)]


def _split(text: str) -> list[str]:
    return [part for part in re.split(r"\s*[;,|]\s*", text) if part]


def _names(services: Iterable[str]) -> tuple[Name, ...]:
    return tuple(Name(s, "experiment", 0.9) for s in dict.fromkeys(services) if s)


_TOOLS: dict[str, Callable[[Row, Map], Row | None]] = {
    "chaostoolkit": of_chaostoolkit,
    "litmus": of_litmus,
}
FORMATS = ("csv", *_TOOLS)
_NO_ELEMENT = (
    "some name no one element that was failed, or no time: name the action in the map"
)


class ExperimentsSource(Source):
    """Reads the failures that were made on purpose, and what they took down."""

    type = "experiments"
    options: tuple[str, ...] = ("path", "format", "map")
    fills: tuple[str, ...] = ("experiments",)
    needs = "read access to the files"
    dump = (
        "chaos run --journal-path journal.json experiment.json; kubectl get chaosresults -A -o "
        "json; or a CSV: id,element_kind,element,started_at,ended_at,affected_services"
    )

    def check(self, options: dict[str, Any]) -> list[str]:
        """List what is wrong with the options."""
        kind, problems = options.get("format", "csv"), []
        if kind not in FORMATS:
            problems.append(f"format {kind!r} is not one of {', '.join(FORMATS)}")
        if not paths_of(options):
            problems.append("path names no file and no directory")
        return problems

    def collect(self, options: dict[str, Any], base: Path, deadline: Deadline) -> Batch:
        """Read the experiments of all files."""
        batch = Batch()
        kind = options.get("format", "csv")
        try:
            names = _map(base / options["map"]) if options.get("map") else {}
        except (OSError, ValueError, csv.Error) as error:
            batch.cover(str(options["map"]), "map", **failure(error))
            return batch
        suffixes = (".csv", ".tsv") if kind == "csv" else JSON_SUFFIXES + YAML_SUFFIXES
        dumps = each_dump(options, base, deadline, batch, suffixes, name=kind)
        for file, call in dumps:
            scope = call.row["scope"]
            with call:
                experiments = list(_read(kind, file, call, names))
                known = [each | {"source_ref": scope} for each in experiments if each]
                batch.add("experiments", *_named_apart(call.take(known), scope))
                unmapped_n = len(experiments) - len(known)
                call.note(expected=len(experiments), unmapped_n=unmapped_n)
                if call.is_open and unmapped_n:
                    call.status("partial", _NO_ELEMENT)
                elif call.is_open and not experiments:
                    call.status("empty", "it holds no experiment")
        return batch


def _named_apart(rows: list[Row], scope: str) -> list[Row]:
    """Make the ids of experiments unique: a game day is often named like the one before."""
    counts = Counter(row["experiment_id"] for row in rows)
    return [
        row | {"experiment_id": f"{row['experiment_id'] or scope}#{number}"}
        if counts[row["experiment_id"]] > 1 or not row["experiment_id"]
        else row
        for number, row in enumerate(rows, start=1)
    ]


def _read(kind: str, file: Path, call: Call, names: Map) -> Iterator[Row | None]:
    """Read one file; None stands for an experiment that cannot be used."""
    if kind == "csv":
        yield from of_csv(read_bytes(file, call.row), names)
        return
    for value in read_documents(file, call.row):
        documents = value if isinstance(value, list) else [value]
        for document in documents:
            if isinstance(document, dict):
                items = document.get("items")
                for each in _list(items) if isinstance(items, list) else [document]:
                    yield _TOOLS[kind](each, names)


def _map(file: Path) -> Map:
    """Read which service a probe, an action or a target stands for: ``name,service``."""
    _, records = read_records(file.read_bytes())
    return {cells["name"]: cells["service"] for cells in records if cells.get("service")}
