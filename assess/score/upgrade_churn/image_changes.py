"""Image changes: what happened to the images of a service from one snapshot to the next."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from assess import reference
from assess.inventory import Inventory
from assess.score.upgrade_churn.observed import cells, observed

_IMAGE = ["registry", "repository", "tag", "image_digest"]

Image = tuple[str | None, str | None, str | None, str | None]
Images = Mapping[str, set[Image]]  # by service


def images_of(inventory: Inventory) -> Images:
    """Return the images of every service, where their repository is known."""
    by_service: dict[str, set[Image]] = defaultdict(set)
    for service, *image in cells(observed(inventory, "workloads"), "service_id", *_IMAGE):
        registry, repository, tag, digest = (
            x if isinstance(x, str) else None for x in image
        )
        if repository is not None:
            by_service[service].add((registry, repository, tag, digest))
    return by_service


def changed_images(was: set[Image], now: set[Image]) -> list[tuple[Image, Image, str]]:
    """List which images of a service became which, and the kind of change.

    The kind is that of `assess.reference.image_change`. Images are paired by repository, the most
    advanced of each; where exactly one was replaced by exactly one of another repository, those
    two are a pair.
    """
    changes = [
        (before, after, reference.image_change(before[1:], after[1:]))
        for before, after in _pairs(was, now)
    ]
    return [pair for pair in changes if pair[2] != "same"]


def is_pinned(image: Image) -> bool:
    """Return whether a move of an image would show: by its digest, or by a fixed tag."""
    return image[3] is not None or reference.is_fixed(image[2])


def is_third_party(image: Image, *, public: Iterable[str], own: Iterable[str]) -> bool:
    """Return whether others make an image: public registry, and no namespace of one's own."""
    registry, repository = image[:2]
    return registry in set(public) and (repository or "").partition("/")[0] not in set(
        own
    )


def written(image: Image) -> str:
    """Write an image as a reference."""
    registry, repository, tag, digest = image
    end = f":{tag}" if tag else f"@{digest}" if digest else ""
    return f"{registry}/{repository}{end}"


def _pairs(was: set[Image], now: set[Image]) -> list[tuple[Image, Image]]:
    """Pair the most advanced image of a repository then with that of today."""
    old, new = _by_repository(was), _by_repository(now)
    pairs = [(old[name], new[name]) for name in sorted(old.keys() & new.keys())]
    gone, come = old.keys() - new.keys(), new.keys() - old.keys()
    if len(gone) == len(come) == 1:
        pairs.append((old[min(gone)], new[min(come)]))
    return pairs


def _by_repository(images: set[Image]) -> dict[str, Image]:
    return {str(image[1]): image for image in sorted(images, key=_order)}


def _order(image: Image) -> tuple[tuple[int, ...], str]:
    return reference.tag_version(image[2]) or (), str(image)
