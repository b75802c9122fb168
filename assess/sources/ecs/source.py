"""ECS: clusters, services with and without tasks, tasks, task definitions, container instances."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from assess.sources.aws.place import ANSWERED
from assess.sources.aws.source import AwsSource, DumpPlace, Place
from assess.sources.base import Row
from assess.sources.docker.payload import Payload
from assess.sources.ecs.definition import count_of, text_of
from assess.sources.ecs.rows import Payloads, redacted_n, to_batch, unique
from assess.sources.unit import FRAMES
from assess.sources.values import dicts, dig, moment, texts

AT_ONCE = {  # what AWS takes in one call
    "describe_clusters": 100,
    "describe_services": 10,
    "describe_tasks": 100,
    "describe_container_instances": 100,
}
STATUSES = ("RUNNING", "STOPPED")
STOPPED_SHOWN = timedelta(hours=1)  # ECS lists a stopped task for at least that long
_COUNTS = {
    "describe_services": ("activeServicesCount",),
    "describe_tasks": ("runningTasksCount", "pendingTasksCount"),
    "describe_container_instances": ("registeredContainerInstancesCount",),
}


class EcsSource(AwsSource):
    """Reads what ECS runs, and what it would run."""

    type = "ecs"
    fills = FRAMES
    dump = (
        "aws ecs describe-clusters|describe-services|describe-tasks|describe-container-instances|"
        "describe-task-definition … > the call's name and a number .json, in a directory for "
        "every account and region; tasks of --desired-status RUNNING and STOPPED"
    )

    def read(self, place: Place) -> None:
        """Read one region of one account."""
        payloads = dumped(place) if isinstance(place, DumpPlace) else asked(place)
        payloads.since = _since(place, payloads)
        batch = to_batch(payloads)
        for frame, rows in batch.rows.items():
            place.add(frame, *rows)
        place.batch.container_ids |= batch.container_ids
        if payloads.definitions:
            place.row("ecs", "describe_task_definition")["redacted_n"] = redacted_n(
                payloads
            )


def _since(place: Place, payloads: Payloads) -> datetime | None:
    """Return since when stopped tasks are known, and note it; None where none could be seen."""
    is_dump = isinstance(place, DumpPlace)
    call = "ecs describe-tasks" if is_dump else "ecs list-tasks"
    row = next((row for row in place.batch.coverage if row["call"] == call), {})
    stops = [at for task in payloads.tasks if (at := moment(task.get("stoppedAt")))]
    seen_at = max(stops, default=None) if is_dump else datetime.now(UTC)
    if row.get("status") not in ANSWERED or not seen_at:
        return None
    since = min([*stops, seen_at - STOPPED_SHOWN])
    row |= {"window_start": since, "window_end": seen_at}
    return since


def dumped(place: Place) -> Payloads:
    """Read the dumps of a place; the counts of its clusters show whether they are complete."""
    clusters = place.ask("ecs", "describe_clusters", "clusters") or []
    payloads = Payloads(
        services=place.ask("ecs", "describe_services", "services") or [],
        tasks=place.ask("ecs", "describe_tasks", "tasks") or [],
        instances=place.ask("ecs", "describe_container_instances", "containerInstances")
        or [],
        definitions=_definitions(place.ask("ecs", "describe_task_definition", "")),
    )
    found = (payloads.services, payloads.tasks, payloads.instances)
    stopped_n = sum(task.get("lastStatus") == "STOPPED" for task in payloads.tasks)
    for (call, counts), entries in zip(_COUNTS.items(), found, strict=True):
        numbers = [
            count_of(c.get(name))
            for c in unique(clusters, "clusterArn")
            for name in counts
        ]
        if numbers and None not in numbers:
            expected = sum(n or 0 for n in numbers) + stopped_n * (
                call == "describe_tasks"
            )
            _expect(place.row("ecs", call), expected, len(entries))
    return payloads


def asked(place: Place) -> Payloads:
    """Ask for all clusters, for what is in them, and for every definition once."""
    payloads = Payloads()
    pages = place.ask("ecs", "list_clusters", "")
    if pages is None:
        return payloads
    clusters = _listed(place, "list_clusters", "clusterArns", pages)
    arns = [arn for found in clusters.values() for arn in found]
    size = AT_ONCE["describe_clusters"]
    place.ask_each("ecs", "describe_clusters", "clusters", "clusters", arns, size=size)
    statuses = [{"desiredStatus": status} for status in STATUSES]
    payloads.services = _all(place, "services", "serviceArns", arns, [{}])
    payloads.tasks = _all(place, "tasks", "taskArns", arns, statuses)
    payloads.instances = _all(
        place, "container_instances", "containerInstanceArns", arns, [{}]
    )
    wanted = [text_of(s.get("taskDefinition")) for s in payloads.services]
    wanted += [text_of(t.get("taskDefinitionArn")) for t in payloads.tasks]
    definitions = place.ask_each(
        "ecs", "describe_task_definition", "", "taskDefinition", filter(None, wanted)
    )
    payloads.definitions = _definitions(definitions)
    return payloads


def _all(
    place: Place, noun: str, key: str, clusters: list[str], filters: list[Row]
) -> list[Payload]:
    """List and describe the entities of one kind in all clusters."""
    if not clusters:
        return []
    pages: list[Row] = []
    for params in filters:
        pages += (
            place.ask_each("ecs", f"list_{noun}", "", "cluster", clusters, **params) or []
        )
    return _described(place, noun, _listed(place, f"list_{noun}", key, pages))


def _listed(
    place: Place, call: str, key: str, pages: list[Row] | None
) -> dict[str, list[str]]:
    """Take the ARNs out of pages, by cluster; the row of the call counts them, not the pages."""
    found: dict[str, list[str]] = {}
    for page in pages or ():
        found.setdefault(text_of(page.get("cluster")), []).extend(texts(page.get(key)))
    row = place.row("ecs", call)
    row["rows"] = sum(map(len, found.values()))
    if row["status"] == "ok" and not row["rows"]:
        row["status"] = "empty"
    return found


def _described(place: Place, noun: str, listed: dict[str, list[str]]) -> list[Payload]:
    """Describe what was listed, as many at once as AWS takes."""
    call, found = f"describe_{noun}", list[Payload]()
    name = "containerInstances" if noun == "container_instances" else noun
    for cluster, arns in listed.items():
        answer = place.ask_each(
            "ecs",
            call,
            name,
            name,
            arns,
            size=AT_ONCE[call],
            cluster=cluster,
            include=["TAGS"],
        )
        if answer is None:
            break
        found += answer
    if any(listed.values()) and not place.is_probe:
        _expect(place.row("ecs", call), sum(map(len, listed.values())), len(found))
    return found


def _expect(row: Row, expected: int, found: int) -> None:
    """Compare what was described with what there is."""
    row |= {
        "expected": expected,
        "ratio": round(found / expected, 4) if expected else 1.0,
    }
    if row["status"] == "ok" and found < expected:
        hint = "ECS counts more than it described: some ended in between, or a part is missing"
        row |= {"status": "partial", "hint": hint}


def _definitions(answers: list[Row] | None) -> list[Payload]:
    """Take the definitions out of answers, one each."""
    return [d for answer in answers or () for d in dicts([dig(answer, "taskDefinition")])]
