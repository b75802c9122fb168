"""ECS: clusters, services with and without tasks, tasks, task definitions, container instances."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from assess.sources.aws import AwsSource, DumpPlace, Place
from assess.sources.aws.place import UnreadError, expect, written_call
from assess.sources.base import Asked, Row, Rows
from assess.sources.dumps import JSON_SUFFIXES, YAML_SUFFIXES, read_yaml
from assess.sources.ecs.rows import Payloads, redacted_n, to_batch, unique
from assess.sources.ecs.template import TemplateLoader, declared, idle, is_template
from assess.sources.listing import lose
from assess.sources.redact import scrub
from assess.sources.values import (
    TextLists,
    dicts,
    dig,
    integer,
    moment,
    spoiled,
    text,
    texts,
    total,
)

AT_ONCE = {  # what AWS takes in one call
    "describe_clusters": 100,
    "describe_services": 10,
    "describe_tasks": 100,
    "describe_container_instances": 100,
}
_INCOMPLETE = (
    "ECS counts more than it described: some ended in between, or a part is missing"
)
_UNDEFINED = (
    "the containers of {} services are in no template: only a parameter names them"
)
_IDLE = "left out, as their conditions are off: "
_TEMPLATES = "read_templates"  # no call of AWS
STATUSES = ("RUNNING", "STOPPED")
STOPPED_SHOWN = timedelta(hours=1)  # ECS lists a stopped task for at least that long
_COUNTS = {
    "describe_services": ("activeServicesCount",),
    "describe_tasks": ("runningTasksCount", "pendingTasksCount"),
    "describe_container_instances": ("registeredContainerInstancesCount",),
}


class EcsSource(AwsSource):
    """Reads running and declared services and tasks of ECS."""

    type = "ecs"
    suffixes = (*JSON_SUFFIXES, *YAML_SUFFIXES, ".template", ".tfstate")

    def fill(self, asked: Asked) -> None:
        """Read all places; templates alone do not say that nothing runs or happened."""
        super().fill(asked)
        declaring = {written_call("ecs", _TEMPLATES), "references"}
        is_declared = {row["call"] for row in asked.batch.coverage} <= declaring
        for frame in ("hosts", "engines", "activities"):
            if is_declared and not asked.batch.rows[frame]:
                del asked.batch.rows[frame]

    def read(self, place: Place) -> None:
        """Read one region of one account."""
        payloads = dumped(place) if isinstance(place, DumpPlace) else asked(place)
        payloads.since = _since(place, payloads)
        batch = to_batch(payloads)
        for row in batch.coverage:
            row["scope"] = place.scope
        place.add(batch)
        if payloads.definitions:
            name = "describe_task_definition"
            name = name if place.has_asked("ecs", name) else _TEMPLATES
            call = place.call("ecs", name)
            call.note(redacted_n=redacted_n(payloads))


def _since(place: Place, payloads: Payloads) -> datetime | None:
    """Return and note the time from which stopped tasks are known; None without any."""
    is_dump = isinstance(place, DumpPlace)
    name = "describe_tasks" if is_dump else "list_tasks"
    stops = [at for task in payloads.tasks if (at := moment(task, "stoppedAt"))]
    seen_at = max(stops, default=None) if is_dump else datetime.now(UTC)
    if not seen_at or not place.has_asked("ecs", name):
        return None
    call = place.call("ecs", name)
    if not call.has_answer:
        return None
    since = min([*stops, seen_at - STOPPED_SHOWN])
    call.note(window_start=since, window_end=seen_at)
    return since


def dumped(place: DumpPlace) -> Payloads:
    """Read the dumps of a place, with its templates and unregistered definitions."""
    services, definitions = _declared(place)
    is_all = place.used and place.used == set(place.files)
    payloads = Payloads() if is_all else _dumped(place)
    payloads.services += services
    payloads.definitions += definitions
    return payloads


def _declared(place: DumpPlace) -> tuple[Rows, Rows]:
    """Read the services and definitions in files that are not output of AWS tools."""
    services = []
    definitions = []
    for file in place.files:
        documents, reading = _documents(place, file)
        documents = [
            d for d in documents if "containerDefinitions" in d or is_template(d)
        ]
        if not documents and "status" not in reading:
            continue
        if not documents and file.suffix.lower() in JSON_SUFFIXES:
            continue  # a dump, whose own call tells
        place.used.add(file)
        call = place.call("ecs", _TEMPLATES)
        with call:
            if "status" in reading:
                raise UnreadError(reading)
            more = declared(documents)
            lose(call, spoiled([*more], place.forms))
            call.take([*more[0], *more[1]])
            if off := idle(documents):
                call.hint(scrub(_IDLE + ", ".join(off)))
            services += more[0]
            definitions += more[1]
    known = {text(definition, "taskDefinitionArn") for definition in definitions}
    named = [text(service, "taskDefinition") for service in services]
    open_n = sum(name.startswith("${") and name not in known for name in named)
    if open_n:
        call = place.call("ecs", _TEMPLATES)
        call.status("partial", _UNDEFINED.format(open_n))
    return services, definitions


def _documents(place: DumpPlace, file: Path) -> tuple[Rows, Row]:
    if file.suffix.lower() in JSON_SUFFIXES:
        return place.contents(file)
    reading: Row = {}
    return dicts(read_yaml(file, reading, TemplateLoader)), reading


def _dumped(place: Place) -> Payloads:
    """Read the dumps of a place; the counts of its clusters show whether they are complete."""
    clusters = unique(place.ask("ecs", "describe_clusters", "clusters"), "clusterArn")
    instances = ("describe_container_instances", "containerInstances")
    payloads = Payloads(
        services=place.ask("ecs", "describe_services", "services") or [],
        tasks=place.ask("ecs", "describe_tasks", "tasks") or [],
        instances=place.ask("ecs", *instances) or [],
        definitions=_definitions(place.ask("ecs", "describe_task_definition", "")),
    )
    # Clusters do not count the tasks that have stopped.
    stopped_n = sum(task.get("lastStatus") == "STOPPED" for task in payloads.tasks)
    uncounted = {"describe_tasks": stopped_n}
    for name, counts in _COUNTS.items():
        counted_n = total(integer(c, count) for c in clusters for count in counts)
        if counted_n is not None:
            expected = counted_n + uncounted.get(name, 0)
            expect(place.call("ecs", name), expected, _INCOMPLETE)
    return payloads


def asked(place: Place) -> Payloads:
    """Ask for all clusters, for what is in them, and for every definition once."""
    payloads = Payloads()
    pages = place.ask("ecs", "list_clusters", "")
    if pages is None:
        return payloads
    clusters = _listed(place, "list_clusters", "clusterArns", pages)
    arns = [arn for listed in clusters.values() for arn in listed]
    size = AT_ONCE["describe_clusters"]
    place.ask_each("ecs", "describe_clusters", "clusters", "clusters", arns, size=size)
    statuses = [{"desiredStatus": status} for status in STATUSES]
    payloads.services = _all(place, "services", "serviceArns", arns, [{}])
    payloads.tasks = _all(place, "tasks", "taskArns", arns, statuses)
    key = "containerInstanceArns"
    payloads.instances = _all(place, "container_instances", key, arns, [{}])
    wanted = [text(s, "taskDefinition") for s in payloads.services]
    wanted += [text(t, "taskDefinitionArn") for t in payloads.tasks]
    call = ("ecs", "describe_task_definition", "", "taskDefinition")
    payloads.definitions = _definitions(place.ask_each(*call, filter(None, wanted)))
    return payloads


def _all(place: Place, noun: str, key: str, clusters: list[str], filters: Rows) -> Rows:
    """List and describe the entities of one kind in all clusters, as many at once as AWS takes."""
    if not clusters:
        return []
    pages = []
    for params in filters:
        call = ("ecs", f"list_{noun}", "", "cluster")
        pages += place.ask_each(*call, clusters, **params) or []
    listed = _listed(place, f"list_{noun}", key, pages)
    name = f"describe_{noun}"
    entities = "containerInstances" if noun == "container_instances" else noun
    described = []
    for cluster, arns in listed.items():
        call = ("ecs", name, entities, entities)
        params = {"cluster": cluster, "include": ["TAGS"]}
        answer = place.ask_each(*call, arns, size=AT_ONCE[name], **params)
        if answer is None:
            break
        described += answer
    if any(listed.values()) and not place.is_probe:
        expect(place.call("ecs", name), sum(map(len, listed.values())), _INCOMPLETE)
    return described


def _listed(place: Place, name: str, key: str, pages: Rows) -> TextLists:
    """Take the ARNs out of pages, by cluster; the call counts them, not the pages."""
    arns: TextLists = {}
    for page in pages:
        arns.setdefault(text(page, "cluster"), []).extend(texts(page, key))
    call = place.call("ecs", name)
    call.note(rows=sum(map(len, arns.values())))
    if call.outcome == "ok" and not call.row["rows"]:
        call.status("empty")
    return arns


def _definitions(answers: Rows | None) -> Rows:
    return dicts([dig(answer, "taskDefinition") for answer in answers or ()])
