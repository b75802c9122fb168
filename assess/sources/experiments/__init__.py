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

from assess import frames
from assess.linear import Linear
from assess.reading import MAX_RECORDS, MAX_TABLE_BYTES, read_limited, refuse_many
from assess.sources.answers.forms import moment_of
from assess.sources.base import (
    Asked,
    Call,
    Name,
    Names,
    Row,
    Rows,
    Source,
)
from assess.sources.csv_records import (
    Cells,
    fill,
    headers,
    read_records,
    rows,
    vocabulary,
)
from assess.sources.docker.names import POD_HASHES
from assess.sources.dumps import (
    JSON_SUFFIXES,
    YAML_SUFFIXES,
    each_dump,
    read_bytes,
    read_documents,
)
from assess.sources.redact import scrub
from assess.sources.values import as_list, dicts, dig, picked, table, text, texts

Map = dict[str, str]
Target = tuple[str, str]  # kind and name of what was failed
APP_LABELS = vocabulary("experiments", "labels of apps")
_SEPARATORS = re.compile(r"[_:./-]")
_WORD_STARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?=Chaos)")
_LABEL = re.compile(r"(?:^|,)\s*(?:app|app\.kubernetes\.io/name|name)\s*==?\s*([^,\s]+)")
# types of resources of AWS -> what their addresses end with
_RESOURCES = vocabulary("experiments", "resources")
_FAULTS = [
    (Linear(row["pattern"], ignore_case=True), row["fault"])
    for row in rows("experiments/faults")
]
_NEVER_RAN = vocabulary("experiments", "never ran")
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


def row_of(name: str, targets: set[Any], start: Any, end: Any) -> Row | None:
    """Return the row of an experiment; None without a time, or where not one thing was failed."""
    # Several targets at once say nothing of any of them.
    began = moment_of(start)
    if len(targets) != 1 or began is None:
        return None
    ((kind, element),) = targets
    row: Row = {
        "experiment_id": name,
        "element_kind": kind,
        "element": element,
        "started_at": began,
        "ended_at": moment_of(end),
    }
    if kind == "service":
        row["struck"] = Name(element, "experiment", 0.9)
    return row


def _attack(
    targets: set[Target], name: str, start: Any, end: Any, words: str | None
) -> Row | None:
    """Return the row of a failure by a tool that observes nothing, by the words of its action."""
    row = row_of(scrub(name), targets, start, end)
    return row and row | {"fault": fault_of(words or "")}


def fault_of(*words: str) -> str | None:
    """Return the kind of fault that the words of an action mean; None where they mean none."""
    spaced = _WORD_STARTS.sub(" ", " ".join(words)[:200])
    plain = _SEPARATORS.sub(" ", spaced)
    if plain.strip().lower() in frames.columns("experiments")["fault"].vocabulary:
        return plain.strip().lower()
    fits = (fault for pattern, fault in _FAULTS if pattern.search(plain))
    return next(fits, None)


def of_pod(name: str) -> str:
    """Return the name of a pod's service: without the suffixes of its controller."""
    return POD_HASHES.sub("", name)


def of_selector(selector: str) -> str:
    """Return the service that a selector of labels names; empty for any other."""
    match = _LABEL.search(selector)
    return match[1] if match else ""


def _of_labels(labels: Row) -> str:
    """Return the service that labels name; empty if they name none or several."""
    for key in APP_LABELS:
        values = as_list(labels, key)
        if len(values) == 1 and isinstance(values[0], str):
            return values[0]
    return ""


def of_chaosmesh(item: Row, names: Map) -> Row | None:
    """Read one object, such as a PodChaos; None where nothing was injected."""
    spec = table(item, "spec")
    records = dicts(item, "status", "experiment", "containerRecords")
    events = [event for record in records for event in dicts(record, "events")]
    applied = _times(events, "Apply")
    if not applied:
        return None
    recovered = _times(events, "Recover")
    mapped = names.get(text(item, "metadata", "name"))
    hit = [record for record in records if _times(dicts(record, "events"), "Apply")]
    pods = [text(record, "id").split("/") for record in hit]
    targets = {("service", of_pod(parts[1])) for parts in pods if len(parts) > 1}
    app = _of_labels(table(spec, "selector", "labelSelectors"))
    if app:
        targets = {("service", app)}
    if mapped:
        targets = {target_of(mapped)}
    name = text(item, "metadata", "uid") or text(item, "metadata", "name")
    stressors = " ".join(table(spec, "stressors"))
    words = " ".join([text(item, "kind"), text(spec, "action"), stressors])
    end = max(recovered) if recovered else None
    return _attack(targets, name, min(applied), end, words)


def _times(events: Iterable[Row], operation: str) -> list[str]:
    return [
        text(event, "timestamp")
        for event in events
        if text(event, "operation") == operation
        and text(event, "type") == "Succeeded"
        and text(event, "timestamp")
    ]


def target_of(element: str) -> Target:
    """Return the kind and the name of an element of the map, such as ``az:eu-1a``."""
    kind, _, name = element.rpartition(":")
    return kind or "service", name


def of_gremlin(attack: Row, names: Map) -> Row | None:
    """Read one attack; None where it did not run."""
    stage = text(attack, "stage") or text(attack, "stageLifecycle")
    if stage in ("Pending", "TargetNotFound", "ClientFailed", "InitializationFailed"):
        return None
    target = table(attack, "target")
    containers = table(target, "containers")
    hosts = table(target, "hosts")
    targets: set[Target] = set()
    if app := _of_labels(table(containers, "multiSelectLabels")):
        targets.add(("service", app))
    targets |= {("service", of_pod(name)) for name in texts(containers, "names")}
    targets |= {("host", host) for host in texts(hosts, "ids")}
    if zones := texts(hosts, "multiSelectTags", "zone"):
        targets |= {("az", zone) for zone in zones}
    for key in ("name", "guid"):
        if mapped := names.get(text(attack, key)):
            targets = {target_of(mapped)}
    return _attack(targets, **picked(attack, "gremlin attack"))


def of_fis(answer: Row, names: Map) -> Row | None:
    """Read one experiment; None where no action of it ran."""
    experiment = table(answer, "experiment") or answer
    actions = table(experiment, "actions")
    ran = {
        name: table(action)
        for name, action in actions.items()
        if text(action, "state", "status") not in _NEVER_RAN
        and text(action, "actionId") != "aws:fis:wait"
    }
    used = [
        table(experiment, "targets", key)
        for action in ran.values()
        for key in table(action, "targets").values()
        if isinstance(key, str)
    ]
    targets = {target for entry in used for target in _fis_targets(entry)}
    mapped = [names[name] for name in ran if name in names]
    if mapped:
        targets = {target_of(element) for element in mapped}
    if not ran:
        return None
    words = " ".join(text(action, "actionId") for action in ran.values())
    return _attack(targets, **picked(experiment, "fis experiment"), words=words)


def _fis_targets(entry: Row) -> set[Target]:
    """Return the element of an experiment's target: a pod's service, a resource, or a zone."""
    kind = text(entry, "resourceType")
    parameters = table(entry, "parameters")
    if kind == "aws:eks:pod":
        selector = text(parameters, "selectorValue")
        app = of_selector(selector) or ("" if "=" in selector else of_pod(selector))
        return {("service", app)} if app else set()
    if kind == "aws:ecs:task" and text(parameters, "service"):
        return {("service", text(parameters, "service"))}
    zone = text(parameters, "availabilityZoneIdentifier")
    if zone and not texts(entry, "resourceArns"):
        return {("az", zone)}
    element = _RESOURCES.get(kind)
    leaves = [re.split(r"[/:]", arn)[-1] for arn in texts(entry, "resourceArns")]
    return {(element, leaf) for leaf in leaves if element and leaf}


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
