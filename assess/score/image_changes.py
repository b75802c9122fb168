"""What happened to the images of every service between two snapshots."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import pandas as pd

from assess import reference
from assess.inventory import Inventory

COLUMNS = ["service_id", "before", "after", "change", "third_party"]
_IMAGE = ["registry", "repository", "tag", "image_digest"]

Image = tuple[str | None, str | None, str | None, str | None]


def image_changes(
    inventory: Inventory, previous: Inventory, *, public: Iterable[str], own: Iterable[str]
) -> pd.DataFrame:
    """List the images of every service that changed since an earlier snapshot.

    Parameters
    ----------
    inventory, previous : Inventory
        Frame ``workloads`` of both; a service that either does not know is left out.
    public : iterable of str
        Registries whose images others make, unless in a namespace of ``own``.
    own : iterable of str
        Namespaces of repositories that are one's own even there.

    Returns
    -------
    DataFrame
        ``service_id, before, after`` (references as written), ``change`` as
        `assess.reference.image_change` has it, ``third_party``. Images are paired by repository;
        where exactly one was replaced by exactly one of another repository, those two are a pair.
    """
    was, now = _images(previous), _images(inventory)
    rows = []
    for service in sorted(was.keys() & now.keys()):
        for before, after in _pairs(was[service], now[service]):
            change = reference.image_change(before[1:], after[1:])
            if change != "same":
                is_third = after[0] in set(public) and _space(after[1]) not in set(own)
                rows.append((service, _written(before), _written(after), change, is_third))
    kinds = dict.fromkeys(COLUMNS[:-1], "str") | {"third_party": "boolean"}
    return pd.DataFrame(rows, columns=COLUMNS).astype(kinds)


def _images(inventory: Inventory) -> dict[str, set[Image]]:
    found: dict[str, set[Image]] = defaultdict(set)
    known = inventory["workloads"].dropna(subset="repository")
    table = known[["service_id", *_IMAGE]].astype(object)
    for service, *image in table.where(table.notna(), None).drop_duplicates().to_numpy():
        found[service].add(tuple(image))
    return found


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


def _space(repository: str | None) -> str:
    return (repository or "").partition("/")[0]


def _written(image: Image) -> str:
    registry, repository, tag, digest = image
    end = f":{tag}" if tag else f"@{digest}" if digest else ""
    return f"{registry}/{repository}{end}"
