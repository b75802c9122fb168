"""From the payloads of a Docker engine to rows of the hosts, engines and images frames."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from assess.image_ref import ImageRef, parse_image
from assess.inventory import ENDED
from assess.sources.base import Row, Rows
from assess.sources.csv_records import rows
from assess.sources.docker.payload import (
    Container,
    EngineData,
    Payload,
    containers_of,
    short,
)
from assess.sources.unit import any_of
from assess.sources.values import dicts, dig, joined, moment, picked, table, text, texts

MODULES = ("apparmor", "selinux")

NONE = "<none>"
GRACE = timedelta(hours=1)  # docker-gc's GRACE_PERIOD_SECONDS


def to_host(data: EngineData, host_id: str) -> Row:
    """Return the row of the hosts frame."""
    info = data.info
    os_name, os_version = to_os(info.get("OperatingSystem"), info.get("OSVersion"))
    return {
        "host_id": host_id,
        "os_name": os_name,
        "os_version": os_version,
        **picked(vars(data), "docker host"),
        "security_modules": _modules(_security(info)),
        "state": "running" if data.seen_at else None,
        "last_seen_at": data.now,
    }


def to_os(text: str | None, version: str | None = None) -> tuple[str | None, str | None]:
    """Name an operating system and its version as the reference facts do."""
    # An engine says ``Debian GNU/Linux 12 (bookworm)``; another system keeps its own
    # words.
    if not text:
        return None, None
    if not version:
        number = re.search(r"\d+(\.\d+)*", text)
        version = number[0] if number else ""
    for row in rows("docker/distributions"):
        if re.search(rf"\b{row['words']}", text.lower()):  # TencentOS is no CentOS
            parts_n = int(row["parts_n"])
            parts = version.split(".")[:parts_n]
            return row["name"], ".".join(parts) or None
    return re.split(r"\s(?:\(|v?\d)", text)[0].strip().lower(), version or None


def to_engine(data: EngineData, host_id: str) -> Row:
    """Return the row of the engines frame."""
    info = data.info
    version = data.version
    components = dicts(version, "Components")
    versions = {str(part.get("Name")): part.get("Version") for part in components}
    listed = info.get("DriverStatus", [])
    pairs = [pair for pair in listed if isinstance(pair, list) and len(pair) == 2]
    driver = {str(name): value for name, value in pairs}
    d_type = driver.get("Supports d_type")
    number = version.get("Version") or info.get("ServerVersion")
    is_of_distribution = re.search(r"[+~-](dfsg|0ubuntu)", number or "")
    security = _security(info)
    return {
        "host_id": host_id,
        "runtime": "podman" if "Podman Engine" in versions else "docker",
        "version": number,
        **picked(version, "docker version"),
        "distro_package": "docker.io" if is_of_distribution else None,
        "containerd_version": versions.get("containerd"),
        "runc_version": versions.get("runc"),
        **picked(info, "docker info"),
        "backing_fs": driver.get("Backing Filesystem"),
        "d_type": None if d_type is None else d_type == "true",
        "loopback": is_on_loopback(info.get("Driver"), driver),
        "seccomp": _has(r"name=seccomp(?!\S*unconfined)", security),
        "userns": _has("name=userns", security),
        "rootless": _has("name=rootless", security),
        "layers_bytes": data.disk.get("layers_bytes"),
        **to_waste(data),
        "clock_skew_s": data.clock_skew_s,
        "daemon_flags": data.daemon_flags,
        "reachable": True,
    }


def _security(info: Row) -> str | None:
    """Return the security options of an engine; None where it does not tell."""
    is_told = "SecurityOptions" in info
    return " ".join(texts(info, "SecurityOptions")) if is_told else None


def _modules(security: str | None) -> str | None:
    """Return the security modules that are on."""
    if security is None:
        return None
    return ";".join(name for name in MODULES if f"name={name}" in security) or "none"


def _has(option: str, security: str | None) -> bool | None:
    return None if security is None else re.search(option, security) is not None


def is_on_loopback(driver: str | None, status: Row) -> bool | None:
    """Return whether devicemapper keeps its data in files behind loop devices."""
    if driver != "devicemapper":
        return None if driver is None else False
    if not status:
        return None
    device = text(status, "Data file")
    return "Data loop file" in status or device.startswith("/dev/loop")


def to_waste(data: EngineData) -> Row:
    """Count the objects of a clean-up: stopped containers, and volumes without a mount."""
    row: Row = dict.fromkeys(
        ("stopped_n", "never_started_n", "dangling_volumes_n", "dangling_volumes_bytes")
    )
    # without a list: the engine's own count, which has those that never ran as well
    row["stopped_n"] = data.info.get("ContainersStopped")
    if data.containers is None:
        return row
    containers = containers_of(data)
    states = [container.state for container in containers]
    if None not in states:
        row["stopped_n"] = sum(state in ENDED for state in states)
        row["never_started_n"] = states.count("created")
    # The command line cuts the names of mounts, so its list alone does not have them.
    mounts = [container.mounts for container in containers]
    if data.volumes is not None and None not in mounts:
        mounted = {mount.get("Name") for listed in mounts for mount in listed or []}
        unused = [v for v in data.volumes if v.get("Name") not in mounted]
        sizes = [dig(volume, "UsageData", "Size") for volume in unused]
        row["dangling_volumes_n"] = len(unused)
        # -1: the engine did not count
        if all(size is not None and size >= 0 for size in sizes):
            row["dangling_volumes_bytes"] = sum(sizes)
    return row


class ImageIndex:
    """Images of one host by id and by tag."""

    def __init__(self, images: list[Payload]) -> None:
        self._by_id = {short(image, "Id"): image for image in images}
        self._by_tag = {
            parse_image(ref): short(image, "Id")
            for image in images
            for ref in _refs(image, "RepoTags")
        }

    def find(self, container: Container) -> str | None:
        """Find the short id of the image of a container; None where the payloads do not have it."""
        if container.image_id:
            return short(container.image_id)
        declared = text(container.listing, "Image")
        ref = parse_image(declared)
        if not ref.tag and not ref.digest:
            ref = replace(ref, tag="latest")
        if found := self._by_tag.get(ref):
            return found
        identifier = short(declared)
        return identifier if identifier in self._by_id else None

    def named(self, identifier: str) -> str:
        """Return the first name of an image that a container names by its id; empty without one."""
        image = self._by_id.get(short(identifier), {})
        refs = _refs(image, "RepoTags") or _refs(image, "RepoDigests")
        return refs[0] if refs else ""

    def digest(self, identifier: Any, ref: ImageRef) -> str | None:
        """Return the digest of an image in a repository; None where it never came from there."""
        image = self._by_id.get(short(identifier), {})
        refs = map(parse_image, _refs(image, "RepoDigests"))
        place = (ref.registry, ref.repository)
        here = [other for other in refs if (other.registry, other.repository) == place]
        return min((other.digest for other in here if other.digest), default=None)


def _refs(image: Payload, field: str) -> list[str]:
    return sorted(ref for ref in texts(image, field) if NONE not in ref)


def to_images(data: EngineData, containers: list[Container], host_id: str) -> Rows:
    """Return the rows of the images frame of a host, one per repository and digest."""
    # An image that was never pulled or pushed has its id as digest; one without a name
    # has ``<none>`` as registry and repository.
    images = data.images or []
    parents = {short(image, "ParentId") for image in images if image.get("ParentId")}
    index = ImageIndex(images)
    used = [index.find(container) for container in containers]
    is_known = data.containers is not None and None not in used
    now = data.now
    needed: dict[str | None, list[datetime | None]] = defaultdict(list)
    archs = {}
    for identifier, container in zip(used, containers, strict=True):
        needed[identifier].append(needed_at(container, now))
        platform = table(container.inspected, "ImageManifestDescriptor", "platform")
        archs[identifier] = text(platform, "architecture") or None
    rows = []
    for image in images:
        identifier = short(image, "Id")
        tags = _refs(image, "RepoTags")
        refs = [*map(parse_image, tags + _refs(image, "RepoDigests"))]
        if identifier in parents and not refs:
            continue  # a layer of another image, which nobody can name or run alone
        created = moment(image, "Created")
        sizes = table(data.disk, "images", identifier)
        used_at = _last_use(needed[identifier], now) if is_known else None
        users_n = len(needed[identifier]) if is_known else sizes.get("Containers")
        common = {
            "host_id": host_id,
            "image_id": image.get("Id"),
            "location": "host",
            "arch": image.get("Architecture") or archs.get(identifier),
            "size_bytes": sizes.get("Size", image.get("Size")),
            "shared_bytes": sizes.get("SharedSize"),
            "created_at": created,
            **picked(image.get("Labels"), "image base"),
            "containers_n": users_n,
            "used_at": used_at,
            "dangling": not tags,
            "reclaimable": _is_reclaimable(created, users_n, used_at, now),
        }
        rows += [common | place for place in _places(refs, str(image.get("Id")))]
    return rows


def _places(refs: list[ImageRef], image_id: str) -> Iterator[Row]:
    """Yield each repository that an image is in, with its tags there and each digest."""
    places: dict[tuple[str, str], list[ImageRef]] = defaultdict(list)
    for ref in refs or [ImageRef(NONE, NONE)]:
        places[str(ref.registry), str(ref.repository)].append(ref)
    for (registry, repository), here in sorted(places.items()):
        place: Row = {"registry": registry, "repository": repository}
        tags = {ref.tag for ref in here if ref.tag}
        place["tags"] = joined(sorted(tags))
        digests = {ref.digest for ref in here if ref.digest}
        for digest in sorted(digests) or [image_id]:
            yield place | {"digest": digest}


def _last_use(times: list[datetime | None], now: datetime | None) -> datetime | None:
    """Return when containers last needed an image; None where one of them may be later."""
    known = [time for time in times if time]
    last = max(known, default=None)
    is_certain = len(known) == len(times) or last == now
    return last if is_certain else None


def needed_at(container: Container, now: datetime | None) -> datetime | None:
    """Return when a container last needed its image; now, if it runs or may run."""
    # A container that was created and never started may still run. docker-gc takes it for
    # one that ended in the year 1, and removes it at once.
    if container.state in ENDED:
        return moment(container.inspected, "State", "FinishedAt")
    return now


def _is_reclaimable(
    created: datetime | None,
    users_n: int | None,
    used_at: datetime | None,
    now: datetime | None,
) -> bool | None:
    """Return whether docker-gc, by its defaults, would remove an image; None if unknown."""

    def is_past(time: datetime | None) -> bool | None:
        return now - time > GRACE if now and time else None

    is_idle = True if users_n == 0 else is_past(used_at)
    return any_of([is_past(created), is_idle], decisive=False)
