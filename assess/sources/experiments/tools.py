"""Records of Chaos Mesh, Gremlin and AWS FIS: failed element, time and kind of fault.

They observe no services: what else fell is unknown. `faults.csv` has the kinds of fault by the
words of actions; the first pattern that fits counts.
"""

import re
from collections.abc import Iterable
from typing import Any

from assess import frames
from assess.linear import Linear
from assess.sources.answers.forms import moment_of
from assess.sources.base import Name, Row
from assess.sources.csv_records import rows, vocabulary
from assess.sources.docker.names import POD_HASHES
from assess.sources.redact import scrub
from assess.sources.values import as_list, dicts, picked, table, text, texts

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
