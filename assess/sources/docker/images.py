"""From the list of images of one Docker engine to rows of the images frame."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from assess.image_ref import ImageRef, parse_image
from assess.sources.base import Row
from assess.sources.docker.payload import Container, EngineData, Payload, short
from assess.sources.values import dig, moment, texts

NONE = "<none>"
GRACE = timedelta(hours=1)  # docker-gc's GRACE_PERIOD_SECONDS


class ImageIndex:
    """Images of one host by id and by tag."""

    def __init__(self, images: list[Payload]) -> None:
        self._by_id = {short(i.get("Id")): i for i in images}
        self._by_tag = {
            ref: short(image.get("Id"))
            for image in images
            for ref in _refs(image, "RepoTags")
        }

    def find(self, container: Container) -> str | None:
        """Find the short id of the image of a container; None where the payloads do not have it."""
        if container.image_id:
            return short(container.image_id)
        declared = str(container.listing.get("Image") or "")
        ref = parse_image(declared)
        tagged = ref if ref.tag or ref.digest else replace(ref, tag="latest")
        identifier = short(declared)
        return self._by_tag.get(tagged) or (
            identifier if identifier in self._by_id else None
        )

    def named(self, identifier: Any) -> ImageRef:
        """Return the first name of an image that a container names by its id."""
        image = self._by_id.get(short(identifier), {})
        refs = _refs(image, "RepoTags") or _refs(image, "RepoDigests")
        return refs[0] if refs else ImageRef()

    def digest(self, identifier: Any, ref: ImageRef) -> str | None:
        """Return the digest of an image in a repository; None where it never came from there."""
        refs = _refs(self._by_id.get(short(identifier), {}), "RepoDigests")
        digests = (r.digest for r in refs if r.digest and _place(r) == _place(ref))
        return min(digests, default=None)


def _refs(image: Payload, field: str) -> list[ImageRef]:
    return [
        parse_image(ref) for ref in sorted(texts(image.get(field))) if NONE not in ref
    ]


def _place(ref: ImageRef) -> tuple[str, str]:
    return str(ref.registry), str(ref.repository)


def to_images(data: EngineData, containers: list[Container], host_id: str) -> list[Row]:
    """Return the rows of the images frame of a host, one per repository and digest.

    An image that was never pulled or pushed has its id as digest; one without a name has
    ``<none>`` as registry and repository.
    """
    images = data.images or []
    parents = {short(i.get("ParentId")) for i in images if i.get("ParentId")}
    index = ImageIndex(images)
    used = [index.find(container) for container in containers]
    is_known = data.containers is not None and None not in used
    now = data.seen_at or moment(data.info.get("SystemTime"))
    needed: dict[str | None, list[datetime | None]] = defaultdict(list)
    for identifier, container in zip(used, containers, strict=True):
        needed[identifier].append(needed_at(container, now))
    rows = []
    for image in images:
        identifier = short(image.get("Id"))
        tags = _refs(image, "RepoTags")
        named = tags + _refs(image, "RepoDigests")
        if identifier in parents and not named:
            continue  # a layer of another image, which nobody can name or run alone
        created = moment(image.get("Created"))
        sizes = dig(data.disk, "images", identifier) or {}
        used_at = _last_use(needed[identifier], now) if is_known else None
        users_n = len(needed[identifier]) if is_known else sizes.get("Containers")
        common = {
            "host_id": host_id,
            "image_id": image.get("Id"),
            "location": "host",
            "size_bytes": sizes.get("Size", image.get("Size")),
            "shared_bytes": sizes.get("SharedSize"),
            "created_at": created,
            "base_name": dig(image, "Labels", "org.opencontainers.image.base.name"),
            "base_digest": dig(image, "Labels", "org.opencontainers.image.base.digest"),
            "containers_n": users_n,
            "used_at": used_at,
            "dangling": not tags,
            "reclaimable": _is_reclaimable(created, users_n, used_at, now),
        }
        rows += [common | place for place in _places(named, str(image.get("Id")))]
    return rows


def _places(named: list[ImageRef], image_id: str) -> Iterator[Row]:
    """List the repositories and digests under which an image is known."""
    for place in sorted({_place(ref) for ref in named}) or [(NONE, NONE)]:
        here = [ref for ref in named if _place(ref) == place]
        tags = ";".join(sorted({ref.tag for ref in here if ref.tag})) or None
        registry, repository = place
        for digest in sorted({ref.digest for ref in here if ref.digest}) or [image_id]:
            yield {
                "registry": registry,
                "repository": repository,
                "digest": digest,
                "tags": tags,
            }


def _last_use(times: list[datetime | None], now: datetime | None) -> datetime | None:
    """Return when containers last needed an image; None where one of them may be later."""
    last = max((time for time in times if time), default=None)
    return last if None not in times or last == now else None


def needed_at(container: Container, now: datetime | None) -> datetime | None:
    """Return when a container last needed its image: now, while it runs or may run.

    One that was created and never started still waits to run. docker-gc takes it for one that
    ended in the year 1, and removes it at once.
    """
    if container.state in ("exited", "dead"):
        return moment(dig(container.inspected, "State", "FinishedAt"))
    return now


def _is_reclaimable(
    created: datetime | None,
    users_n: int | None,
    used_at: datetime | None,
    now: datetime | None,
) -> bool | None:
    """Return whether docker-gc, by its defaults, would remove an image; None if unknown."""
    is_old = None
    is_idle = None
    if created is not None and now is not None:
        is_old = now - created > GRACE
    if users_n == 0:
        is_idle = True
    elif used_at is not None and now is not None:
        is_idle = now - used_at > GRACE
    if is_old is False or is_idle is False:
        return False
    return True if is_old and is_idle else None
