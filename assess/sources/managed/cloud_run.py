"""Cloud Run: services, jobs and worker pools, as version 1 (Knative's) or 2 of its API has them."""

import re
from collections import defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import replace
from itertools import starmap
from typing import NamedTuple

from assess.sources.base import Row, Rows
from assess.sources.csv_records import vocabulary
from assess.sources.dumps import decode_values
from assess.sources.listing import Found, labelled, names_of
from assess.sources.managed.apps import App, Deploy, to_replica, to_unit
from assess.sources.unit import Unit, ports_of
from assess.sources.values import (
    Texts,
    Words,
    by_name,
    dicts,
    dig,
    integer,
    is_true,
    leaf,
    picked,
    quantity,
    table,
    text,
    texts,
)
from assess.sources.volumes import Mount, export_id, volume_mounts

PLATFORM = "cloud run"
_RUN = "run.googleapis.com/"
_KNATIVE = "autoscaling.knative.dev/"
_LOCATION = "cloud.googleapis.com/location"
_SERVICE = "serving.knative.dev/service"
_PATH = re.compile(
    r"projects/(?P<account>[^/]+)/locations/(?P<region>[^/]+)"
    r"/(?P<kind>services|jobs|workerPools)/(?P<name>[^/]+)(?:/(?P<below>[a-z]+)/(?P<id>[^/]+))?"
)
_KINDS = vocabulary("managed", "cloud run kinds")  # of version 1
_GROUPS = ("serving.knative.dev/", _RUN)
# what the platform gives to a container that asks for nothing
_CPU = 1.0
_MEMORY = 512 << 20
_STOP_S = 10.0  # from SIGTERM to the end
_INSIDE = ("internal", "INGRESS_TRAFFIC_INTERNAL_ONLY")


def list_of(document: Row) -> str:
    """Return the list that a description belongs to; empty for anything else."""
    if document.get("apiVersion"):
        is_ours = text(document, "apiVersion").startswith(_GROUPS)
        return _KINDS.get(text(document, "kind"), "") if is_ours else ""
    path = _PATH.fullmatch(text(document, "name"))
    if not path:
        return ""
    if path["below"]:
        return path["below"] if path["below"] in _KINDS.values() else ""
    return "jobs" if path["kind"] == "jobs" else "services"


class Place(NamedTuple):
    """Project, region and service of a description; ``id`` of a revision."""

    account: str
    region: str
    name: str
    id: str


def identity(item: Row) -> Hashable:
    """Return where a description is from, and its name."""
    return _place(item), text(item, "kind") or text(item, "name")


def _place(item: Row) -> Place:
    """Return where a description is from, in either version."""
    if path := _PATH.fullmatch(text(item, "name")):
        return Place(path["account"], path["region"], path["name"], path["id"] or "")
    meta = table(item, "metadata")
    own = text(meta, "name")
    service = text(meta, "labels", _SERVICE) if item.get("kind") == "Revision" else own
    region = text(meta, "labels", _LOCATION)
    return Place(text(meta, "namespace"), region, service, own if service != own else "")


def to_apps(lists: Found) -> list[App]:
    """Read all services and jobs, with facts from their revisions."""
    revisions: dict[Words, Rows] = defaultdict(list)
    for revision in lists["revisions"]:
        revisions[_place(revision)[:3]].append(revision)
    apps = [
        _to_app(item, revisions[_place(item)[:3]], is_job=kind == "jobs")
        for kind in ("services", "jobs")
        for item in lists[kind]
    ]
    return [app for app in apps if app.name]


def _to_app(item: Row, revisions: Rows, *, is_job: bool) -> App:
    account, region, name, _ = _place(item)
    template = table(item, "spec", "template") or table(item, "template")
    notes = _notes(template)
    pod = table(template, "spec") or template
    if is_job:  # a job has executions, which have tasks
        inner = table(pod, "template")
        pod = table(inner, "spec") or inner
    is_pool = "/workerPools/" in text(item, "name") or item.get("kind") == "WorkerPool"
    # what is no pool takes requests, on port 8080 unless it names another
    unit = _with_pod(pod, notes, is_job=is_job, is_web=not is_pool)
    least, most = _scale(item, notes)
    labels = table(item, "metadata", "labels") or table(item, "labels")
    is_kept = _is_ready(item) and not is_job
    return App(
        name=name,
        platform=PLATFORM,
        provider="gcp",
        account=account,
        region=region,
        unit=replace(unit, names=names_of(labelled(labels))),
        least=least,
        most=most,
        # so many are kept warm once the newest revision is ready
        running_n=least if is_kept else 0,
        is_job=is_job,
        is_public=_is_public(item),
        ships_logs=True,  # of every container, by the platform itself
        hosts=tuple(_hosts(item)),
        stores=tuple(_stores(pod, notes)),
        **picked(item, "cloud run"),
        deploys=tuple(_deploys(revisions)),
        digests=_digests(item, revisions),
        columns={"started_at": None},
    )


def _notes(item: Row) -> Row:
    return table(item, "metadata", "annotations") or table(item, "annotations")


def _scale(item: Row, notes: Row) -> tuple[int, int | None]:
    """Return the least and most replicas; nothing is kept unless it is asked for."""
    set_by = picked(item, "cloud run setting")
    if set_by["manual"] is not None:
        return set_by["manual"], set_by["manual"]
    least = [
        integer(_notes(item), f"{_RUN}minScale"),
        integer(notes, f"{_KNATIVE}minScale"),
        integer(item, "scaling", "minInstanceCount"),
        integer(item, "template", "scaling", "minInstanceCount"),
    ]
    return max(filter(None, least), default=0), set_by["most"]


def _is_ready(item: Row) -> bool:
    ready = table(by_name(item, "status", "conditions", key="type"), "Ready")
    state = dig(item, "terminalCondition", "state")
    return text(ready, "status") == "True" or state == "CONDITION_SUCCEEDED"


def _is_public(item: Row) -> bool | None:
    """Return whether customers reach it; None where callers may have to identify themselves."""
    own = picked(item, "cloud run setting")
    if own["ingress"] in _INSIDE:
        return False
    is_for_all = own["ingress"] in ("all", "INGRESS_TRAFFIC_ALL")
    return True if is_for_all and is_true(own["open"]) else None


def _hosts(item: Row) -> Iterator[str]:
    listed, _ = decode_values(text(_notes(item), f"{_RUN}urls") or "[]")
    own = [text(item, "status", "url"), text(item, "uri")]
    found = [*own, *texts(item, "urls"), *texts(listed)]
    hosts = (url.partition("://")[2].partition("/")[0] for url in found)
    yield from dict.fromkeys(filter(None, hosts))


def _with_pod(pod: Row, notes: Row, *, is_job: bool, is_web: bool) -> Unit:
    """Read the containers of a replica; the one with a port takes the requests."""
    containers = dicts(pod, "containers")
    with_port = [c for c in containers if dicts(c, "ports")]
    main = table([*with_port, *containers], 0)
    others = [_to_unit(c, pod) for c in containers if c is not main]
    beside = [
        replace(unit, role="sidecar", container=unit.container or f"c{number}")
        for number, unit in enumerate(others, start=2)  # a lone one needs no name
    ]
    unit = _to_unit(main, pod)
    socket = Mount("/cloudsql", "cloudsql", source_class="socket")
    checked = any(map(_is_checked, containers))
    return to_replica(
        unit,
        beside,
        is_job=is_job,
        is_web=is_web,
        retries=integer(pod, "maxRetries"),
        mounts=unit.mounts + (socket,) * bool(_instances(notes)),
        health_checked=None if is_job else checked,
    )


def _is_checked(container: Row) -> bool:
    """Return whether a health check is declared; the platform's own probe only waits for a port."""
    startup = table(container, "startupProbe")
    probes = [container.get("livenessProbe"), container.get("readinessProbe")]
    return any(probes) or bool(startup.get("httpGet") or startup.get("grpc"))


def _to_unit(container: Row, pod: Row) -> Unit:
    limits = table(container, "resources", "limits")
    return to_unit(
        container,
        "cloud-run",
        ("valueFrom", "valueSource"),
        cpu=quantity(limits, "cpu") or _CPU,
        memory=integer(quantity(limits, "memory")) or _MEMORY,
        ports=tuple(ports_of(dicts(container, "ports"))),
        mounts=tuple(starmap(_with_volume, volume_mounts(pod, container))),
        stop_timeout_s=_STOP_S,
    )


def _with_volume(mount: Mount, volume: Row) -> Mount:
    if isinstance(volume.get("secret"), dict):
        return replace(mount, type="config", source_class="config", is_writable=False)
    if isinstance(volume.get("cloudSqlInstance"), dict):
        return replace(mount, type="cloudsql", source_class="socket")
    if isinstance(volume.get("emptyDir"), dict):  # always in memory
        return replace(mount, type="tmpfs")
    own = picked(volume, "cloud run volume")
    driver = None
    export = None
    if volume.get("nfs"):
        driver = "nfs"
        export = export_id(own["server"], own["path"])
    elif bucket := own["bucket"]:
        driver = "gcs"
        export = f"gcs/{bucket}"
    return replace(
        mount,
        type="volume",
        volume=own["bucket"] or own["name"],
        driver=driver,
        shared_as=export,
        is_remote=True,
        is_writable=mount.is_writable and own["read_only"] is not True,
    )


def _instances(notes: Row) -> list[str]:
    listed = text(notes, f"{_RUN}cloudsql-instances").split(",")
    return [name.strip() for name in listed if name.strip()]


def _stores(pod: Row, notes: Row) -> Iterator[str]:
    for instance in _instances(notes):
        yield f"cloudsql/{instance}"
    for volume in dicts(pod, "volumes"):
        for instance in texts(volume, "cloudSqlInstance", "instances"):
            yield f"cloudsql/{instance}"
        own = picked(volume, "cloud run volume")
        if bucket := own["bucket"]:
            yield f"gcs/{bucket}"
        yield from filter(None, [own["server"]])


def _deploys(revisions: Rows) -> Iterator[Deploy]:
    for revision in revisions:
        at = picked(revision, "cloud run")["created_at"]
        version = _place(revision).id
        if at and version:
            yield Deploy(version, at, "completed" if _is_ready(revision) else None)


def _digests(item: Row, revisions: Rows) -> Texts:
    """Return the digests that the newest revision runs, by container; ``""`` is a lone one."""
    latest = text(item, "status", "latestReadyRevisionName")
    latest = latest or leaf(item, "latestReadyRevision")
    refs = {}
    for revision in revisions:
        if _place(revision).id != latest:
            continue
        named = dicts(revision, "status", "containerStatuses")
        named += dicts(revision, "containers")
        for entry in named or [table(revision, "status")]:
            refs[text(entry, "name")] = text(entry, "imageDigest") or text(entry, "image")
    found = {name: ref.rpartition("@")[2] for name, ref in refs.items()}
    return {name: value for name, value in found.items() if value.startswith("sha256:")}
