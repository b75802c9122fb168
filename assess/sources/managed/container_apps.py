"""Azure: apps and jobs of Container Apps, and groups of Container Instances, as ``az`` lists them."""

import re
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import replace
from itertools import starmap
from typing import Any

from assess.sources.base import Lists, Row, Rows
from assess.sources.csv_records import vocabulary
from assess.sources.kubernetes.pods import RESTARTS
from assess.sources.listing import Found, labelled, names_of
from assess.sources.managed.apps import App, Deploy, to_replica, to_unit
from assess.sources.unit import Unit, ports_of
from assess.sources.values import (
    dicts,
    integer,
    moment,
    number,
    quantity,
    table,
    text,
    total,
)
from assess.sources.volumes import Mount, volume_mounts

APPS = "container apps"
INSTANCES = "container instances"
_KINDS = vocabulary("managed", "azure kinds")
_ID = re.compile(r"/subscriptions/([^/]+)/resourceGroups/([^/]+)/providers/(.+)", re.I)
_GB = 10**9  # Container Instances take decimal ones
_STOP_S = 30.0  # unless an app says otherwise
_MOST = 10  # replicas of an app that says nothing of it
_FILES = ("azurefile", "nfsazurefile", "smb")
_PROBES = ("livenessProbe", "readinessProbe")
_LOGS = {"log-analytics": True, "azure-monitor": True, "none": False}


def list_of(document: Row) -> str:
    """Return the list that a description belongs to; empty for anything else."""
    return _KINDS.get(text(document, "type").lower(), "")


def identity(item: Row) -> Hashable:
    """Return the id of a resource in lower case: Azure ignores the case of ids."""
    return text(item, "id").lower() or id(item)


def _own(item: Row) -> Row:
    """Return the properties of a resource, which some releases of ``az`` put at the top level."""
    return {**item, **table(item, "properties")}


def to_apps(lists: Found) -> list[App]:
    """Read all apps, jobs and groups."""
    environments = {identity(e): _own(e) for e in lists["environments"]}
    revisions: Lists = defaultdict(list)
    for revision in lists["revisions"]:
        above = text(revision, "id").lower().partition("/revisions/")[0]
        revisions[above].append(_own(revision))
    apps = [
        _to_app(item, environments, revisions[text(item, "id").lower()], is_job=is_job)
        for kind, is_job in (("apps", False), ("jobs", True))
        for item in lists[kind]
    ]
    apps += [_to_group(item) for item in lists["groups"]]
    return [app for app in apps if app.name]


def _place(item: Row) -> Row:
    """Return the columns of an app that say where it is."""
    found = _ID.match(text(item, "id"))
    return {
        "name": text(item, "name"),
        "provider": "azure",
        "account": found[1] if found else "",
        # some commands write the region as people do: West Europe
        "region": text(item, "location").lower().replace(" ", ""),
        "named": names_of(labelled(table(item, "tags"))),
    }


def _to_app(
    item: Row, environments: Mapping[Any, Row], revisions: Rows, *, is_job: bool
) -> App:
    own = _own(item)
    template = table(own, "template")
    settings = table(own, "configuration")
    ingress = table(settings, "ingress")
    home = text(own, "managedEnvironmentId") or text(own, "environmentId")
    environment = environments.get(home.lower(), {})
    place = _place(item)
    unit = _with_template(template, ingress, settings, is_job=is_job)
    scale = table(template, "scale")
    least = integer(scale, "minReplicas") or 0  # nothing is kept unless it is asked for
    is_stopped = text(own, "runningStatus") == "Stopped"
    is_kept = text(own, "runningStatus") == "Running" and not is_job
    running = [integer(r, "replicas") for r in revisions if r.get("active") is True]
    counted = total(running)
    fqdn = text(ingress, "fqdn")
    dated = [(r, moment(r, "createdTime")) for r in revisions if text(r, "name")]
    return App(
        platform=APPS,
        unit=replace(unit, names=place.pop("named")),
        space=home.rpartition("/")[2],
        least=least,
        most=_MOST if scale.get("maxReplicas") is None else integer(scale, "maxReplicas"),
        running_n=counted if counted is not None else least * is_kept,
        is_stopped=is_stopped,
        is_job=is_job,
        is_public=_is_public(ingress, environment),
        ships_logs=_ships_logs(environment),
        hosts=(fqdn,) if fqdn else (),
        stores=tuple(_stores(template)),
        created_at=moment(item, "systemData", "createdAt"),
        deploys=tuple(Deploy(text(r, "name"), at) for r, at in dated if at),
        **place,
    )


def _is_public(ingress: Row, environment: Row) -> bool | None:
    """Return whether customers reach an app; None where its environment may be a private one."""
    if ingress.get("external") is not True:
        return False
    if not environment:
        return None
    return table(environment, "vnetConfiguration").get("internal") is not True


def _ships_logs(environment: Row) -> bool | None:
    logs = table(environment, "appLogsConfiguration")
    if not environment:
        return None
    return _LOGS.get(text(logs, "destination") or "none")


def _with_template(template: Row, ingress: Row, settings: Row, *, is_job: bool) -> Unit:
    """Read the containers of a replica; the first one is its main one."""
    parts = [(c, "sidecar") for c in dicts(template, "containers")]
    starts = [(c, "init") for c in dicts(template, "initContainers")]
    main, *others = parts or [({}, "main")]
    grace = number(template, "terminationGracePeriodSeconds")
    units = [
        replace(_to_unit(c, template), role=role, stop_timeout_s=grace or _STOP_S)
        for c, role in (main, *others, *starts)
    ]
    first, *beside = units
    is_checked = any(dicts(c, "probes") for c, _ in parts)
    mappings = (ingress, *dicts(ingress, "additionalPortMappings"))
    return to_replica(
        first,
        beside,
        is_job=is_job,
        is_web=bool(ingress),
        retries=integer(settings, "replicaRetryLimit"),
        ports=tuple(ports_of(mappings, "targetPort", "exposedPort")),
        health_checked=None if is_job else is_checked,
    )


def _to_unit(container: Row, pod: Row) -> Unit:
    asked = table(container, "resources")
    return to_unit(
        container,
        "container-apps",
        ("secretRef",),
        cpu=number(asked, "cpu"),
        memory=integer(quantity(asked, "memory")),
        mounts=tuple(starmap(_with_volume, volume_mounts(pod, container))),
    )


def _with_volume(mount: Mount, volume: Row) -> Mount:
    kind = text(volume, "storageType").lower() or "emptydir"
    if kind == "secret":
        return replace(mount, type="config", source_class="config", is_writable=False)
    if kind == "emptydir":
        return replace(mount, type="empty-dir", source_class="empty-dir")
    name = text(volume, "storageName") or text(volume, "name")
    return replace(mount, type="volume", volume=name, driver=kind, is_remote=True)


def _stores(template: Row) -> Iterator[str]:
    for volume in dicts(template, "volumes"):
        name = text(volume, "storageName")
        if name and text(volume, "storageType").lower() in _FILES:
            yield f"azure-files/{name}"


def _to_group(item: Row) -> App:
    """Read a group: containers that run together on a machine of the provider."""
    own = _own(item)
    place = _place(item)
    starts = map(_own, dicts(own, "initContainers"))
    containers = [_own(container) for container in dicts(own, "containers")]
    parts = [_of_group(c, "sidecar", own) for c in containers]
    parts += [_of_group(c, "init", own) for c in starts]
    main, *beside = parts or [Unit(platform="container-instances")]
    address = table(own, "ipAddress")
    ports = [integer(port, "port") for port in dicts(address, "ports")]
    probes = (c.get(key) for key in _PROBES for c in containers)
    unit = replace(
        main,
        names=place.pop("named"),
        role="main" if beside else None,
        beside=tuple(beside),
        ports=tuple(f"{port}->{port}/tcp" for port in ports if port),
        restart_policy=RESTARTS.get(text(own, "restartPolicy")),
        kind="web" if ports else "worker",
        health_checked=any(probes),
    )
    states = [text(c, "instanceView", "currentState", "state") for c in containers]
    state = text(own, "instanceView", "state")
    is_running = "Running" in (*states, state)
    known = [text(address, key) for key in ("fqdn", "ip")]
    shares = dicts(own, "volumes")
    accounts = [text(v, "azureFile", "storageAccountName") for v in shares]
    is_public = text(address, "type") == "Public" if address else False
    return App(
        platform=INSTANCES,
        unit=unit,
        running_n=int(is_running),
        is_stopped=state == "Stopped",
        is_public=is_public,
        hosts=tuple(filter(None, known)),
        stores=tuple(f"{a}.file.core.windows.net" for a in accounts if a),
        **place,
    )


def _of_group(container: Row, role: str, group: Row) -> Unit:
    asked = table(container, "resources", "requests")
    limits = table(container, "resources", "limits") or asked
    unit = to_unit(
        {**container, "env": container.get("environmentVariables")},
        "container-instances",
        (),
        cpu=number(asked, "cpu"),
        memory=_gigabytes(asked),
        mounts=tuple(_group_mounts(container, group)),
        role=role,
    )
    return replace(
        unit,
        memory_limit_bytes=_gigabytes(limits),
        cpu_limit=number(limits, "cpu"),
        privileged=table(container, "securityContext").get("privileged") is True,
        readonly_root=None,
        caps_added=None,
        devices_n=None,
        config_external=None,
    )


def _gigabytes(sizes: Row) -> int | None:
    """Read a size of memory, which two releases of the API spell in two ways."""
    amount = number(sizes, "memoryInGb") or number(sizes, "memoryInGB")
    return round(amount * _GB) if amount else None


def _group_mounts(container: Row, group: Row) -> Iterator[Mount]:
    for mount, volume in volume_mounts(group, container):
        if share := table(volume, "azureFile"):
            remote = replace(mount, type="volume", driver="azurefile", is_remote=True)
            yield replace(remote, volume=text(share, "shareName"))
        elif isinstance(volume.get("emptyDir"), dict):
            yield replace(mount, type="empty-dir", source_class="empty-dir")
        else:
            yield replace(mount, type="config", source_class="config")
