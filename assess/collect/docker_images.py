"""From the list of images of one Docker engine to rows of the images frame."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from assess.collect.base import Row
from assess.collect.docker_payload import Container, Payload, Payloads, dig, moment, short, texts
from assess.collect.image_ref import ImageRef, parse_image

NONE = "<none>"
GRACE = timedelta(hours=1)  # docker-gc's GRACE_PERIOD_SECONDS


class ImageIndex:
    """Images of one host by id and by tag.

    Parameters
    ----------
    images : list of dict
        Entries of the list of images.
    """

    def __init__(self, images: list[Payload]) -> None:
        self._by_id = {short(i.get("Id")): i for i in images}
        self._by_tag = {parse_image(t): short(i.get("Id")) for i in images for t in tags_of(i)}

    def find(self, container: Container) -> str | None:
        """Find the image of a container.

        Parameters
        ----------
        container : Container
            The container.

        Returns
        -------
        str or None
            Short id; None where the payloads do not tell.
        """
        if container.image_id:
            return short(container.image_id)
        declared = str(container.listing.get("Image") or "")
        return self._by_tag.get(_tagged(parse_image(declared))) or (
            short(declared) if short(declared) in self._by_id else None
        )

    def named(self, identifier: Any) -> ImageRef:
        """Give the first tag of an image that a container names by its id.

        Parameters
        ----------
        identifier : Any
            Id of the image.

        Returns
        -------
        ImageRef
            Pinned by that id; empty where the image has no tag.
        """
        image = self._by_id.get(short(identifier), {})
        refs = sorted(tags_of(image)) + sorted(digests_of(image))
        return parse_image(refs[0]) if refs else ImageRef()

    def digest(self, identifier: Any, image: ImageRef) -> str | None:
        """Give the digest under which an image was pulled from a repository.

        Parameters
        ----------
        identifier : Any
            Id of the image.
        image : ImageRef
            Reference whose repository is meant.

        Returns
        -------
        str or None
            None for an image that was never pulled or pushed.
        """
        digests = digests_of(self._by_id.get(short(identifier), {}))
        if not digests:
            return None
        refs = map(parse_image, digests)
        place = (image.registry, image.repository)
        return min((r.digest for r in refs if (r.registry, r.repository) == place and r.digest),
                   default=None)  # fmt: skip


def _tagged(ref: ImageRef) -> ImageRef:
    """Write the tag out that the engine takes where none is given."""
    return ref if ref.tag or ref.digest else ImageRef(ref.registry, ref.repository, "latest")


def tags_of(image: Payload) -> list[str]:
    """Give the tags of an image.

    Parameters
    ----------
    image : dict
        Entry of the list of images.

    Returns
    -------
    list of str
        References; an untagged image has none.
    """
    return [t for t in texts(image.get("RepoTags")) if NONE not in t]


def digests_of(image: Payload) -> list[str]:
    """Give the digests of an image.

    Parameters
    ----------
    image : dict
        Entry of the list of images.

    Returns
    -------
    list of str
        References; an image that was never pulled or pushed has none.
    """
    return [d for d in texts(image.get("RepoDigests")) if NONE not in d]


def to_images(payloads: Payloads, containers: list[Container], host_id: str) -> list[Row]:
    """Describe the images of a host, one row per repository and digest.

    Parameters
    ----------
    payloads : Payloads
        Redacted payloads.
    containers : list of Container
        Containers of the host.
    host_id : str
        Name of the host.

    Returns
    -------
    list of dict
        Rows of the images frame. An image that was never pulled or pushed has its id as digest;
        one without a name has ``<none>`` as registry and repository.
    """
    images = payloads.images or []
    parents = {short(i.get("ParentId")) for i in images if i.get("ParentId")}
    index = ImageIndex(images)
    used = [index.find(container) for container in containers]
    is_known = payloads.containers is not None and None not in used
    users = Counter(used)
    now = payloads.seen_at or moment(payloads.info.get("SystemTime"))
    kept = {i for i, c in zip(used, containers, strict=True) if is_kept(c, now)}
    rows = []
    for image in images:
        identifier = short(image.get("Id"))
        if identifier in parents and not tags_of(image) and not digests_of(image):
            continue  # a layer of another image, which nobody can name or run apart
        created = moment(image.get("Created"))
        is_old = created is not None and now is not None and now - created > GRACE
        common = {
            "host_id": host_id,
            "image_id": image.get("Id"),
            "location": "host",
            "size_bytes": image.get("Size"),
            "created_at": created,
            "base_name": dig(image, "Labels", "org.opencontainers.image.base.name"),
            "base_digest": dig(image, "Labels", "org.opencontainers.image.base.digest"),
            "containers_n": users[identifier] if is_known else None,
            "dangling": not tags_of(image),
            "reclaimable": (is_old and identifier not in kept) if is_known and now else None,
        }
        rows += [common | place for place in _places(image)]
    return rows


def is_kept(container: Container, now: datetime | None) -> bool:
    """Say whether docker-gc would keep a container, and with it its image.

    Parameters
    ----------
    container : Container
        The container.
    now : datetime or None
        Clock of the host.

    Returns
    -------
    bool
        True while it runs and within `GRACE` after it ended, or, if it never ran, was created.
    """
    inspected = container.inspected
    if container.state in ("running", "paused", "restarting") or not inspected or now is None:
        return True
    ended = moment(dig(inspected, "State", "FinishedAt")) or moment(inspected.get("Created"))
    return ended is None or now - ended <= GRACE


def _places(image: Payload) -> list[Row]:
    """Repositories and digests under which an image is known."""
    tags = [parse_image(t) for t in tags_of(image)]
    digests = [parse_image(d) for d in digests_of(image)]
    places = []
    for registry, repository in sorted(
        {(str(r.registry), str(r.repository)) for r in tags + digests}
    ):
        here = [r for r in tags + digests if (r.registry, r.repository) == (registry, repository)]
        names = ";".join(sorted({r.tag for r in here if r.tag})) or None
        places += [
            {"registry": registry, "repository": repository, "digest": digest, "tags": names}
            for digest in sorted({r.digest for r in here if r.digest}) or [str(image.get("Id"))]
        ]
    nameless = {"registry": NONE, "repository": NONE, "digest": str(image.get("Id")), "tags": None}
    return places or [nameless]
