"""Space that a clean-up of images would free on each host: docker-gc's rules, as a dry run.

Nothing is removed. An image is reclaimable if no container that stays needs it, if it and its last
use are older than the grace period, if its repository has enough newer images, and if no pattern
excludes it. Containers that were created and never started stay, and so do their images.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pandas as pd

from assess.errors import PolicyError
from assess.inventory import Inventory
from assess.policy.policy import Policy

KEY = ["host_id", "image_id"]
NONE = "<none>"
ID_CHARS = 12
HUB = ("docker.io/", "library/")  # docker's command line leaves these out
_ENGINE = [
    "layers_bytes",
    "stopped_n",
    "never_started_n",
    "dangling_volumes_n",
    "dangling_volumes_bytes",
]


@dataclass(frozen=True, eq=False)
class CleanUp:
    """Images that a clean-up could remove, and the space that this would free.

    Attributes
    ----------
    images : DataFrame
        One row per image of a host, by ``host_id`` and ``image_id``: ``names``, sizes, last use,
        ``reclaimable`` (NA: unknown) and ``why``.
    hosts : DataFrame
        One row per host: ``images_n``, ``reclaimable_n``, ``unknown_n``, the bytes that a clean-up
        frees (``bytes_lo`` to ``bytes_hi``), ``stopped_n`` and ``never_started_n`` containers,
        ``dangling_volumes_n`` and their bytes.
    """

    images: pd.DataFrame
    hosts: pd.DataFrame


def clean_up(inventory: Inventory, policy: Policy) -> CleanUp:
    """Find the images that a clean-up could remove, and the space that this would free.

    Parameters
    ----------
    inventory : Inventory
        Its ``images``, ``hosts`` and ``engines``.
    policy : Policy
        Its ``[cleanup]``.

    Returns
    -------
    CleanUp
        By image and by host.

    Raises
    ------
    PolicyError
        Where a pattern of ``cleanup.exclude`` is no regular expression.

    Notes
    -----
    Images share layers, and a list of images does not show which. Removing a set of images frees
    at least the sum of ``size - shared``, the layers that only one image has. It frees at most all
    layers minus the unshared layers of the images that stay; ``docker system df`` calls this
    RECLAIMABLE. This upper bound is too high where images that stay share layers with each other.
    If the engine did not measure its disk, the upper bound is the sum of whole sizes, and the lower
    bound is unknown.
    """
    images = _decided(_on_hosts(inventory), inventory, policy["cleanup"])
    return CleanUp(images, _by_host(images, inventory))


def _on_hosts(inventory: Inventory) -> pd.DataFrame:
    """Return one row per image of a host, with all of its names joined."""
    listed = inventory["images"]
    listed = listed[listed["host_id"].notna() & listed["host_id"].ne("")].copy()
    listed["image_id"] = listed["image_id"].fillna(listed["digest"])
    is_plain = listed["repository"].eq(NONE)
    place = (listed["registry"] + "/" + listed["repository"]).str.replace(
        rf"^{HUB[0]}(?:{HUB[1]})?", "", regex=True
    )
    listed["repositories"] = place.mask(is_plain)
    tags = listed["tags"].fillna(NONE).str.split(";")
    pairs = zip(place.mask(is_plain, NONE), tags, strict=True)
    listed["names"] = [";".join(f"{name}:{tag}" for tag in each) for name, each in pairs]
    join = {
        c: lambda v: ";".join(dict.fromkeys(v.dropna()))
        for c in ("repositories", "names")
    }
    facts = [
        "size_bytes",
        "shared_bytes",
        "created_at",
        "containers_n",
        "used_at",
        "dangling",
    ]
    columns = dict.fromkeys(facts, "first") | {"reclaimable": "first"} | join
    return listed.groupby(KEY, sort=True).agg(columns).reset_index()


def _decided(
    images: pd.DataFrame, inventory: Inventory, rules: dict[str, Any]
) -> pd.DataFrame:
    """Decide for each image whether it is reclaimable, and why; unknown facts stay unknown."""
    seen = inventory["hosts"].set_index("host_id")["last_seen_at"]
    now = (
        seen.reindex(images["host_id"])
        .set_axis(images.index)
        .fillna(inventory.snapshot_at)
    )
    grace = pd.Timedelta(seconds=rules["grace_s"])
    is_old = _longer(now - images["created_at"], grace)
    is_unused = images["containers_n"].eq(0)
    is_idle = is_unused.astype("boolean")
    if not rules["stopped_need"]:
        is_idle |= _longer(now - images["used_at"], grace)
    is_kept = _excluded(images, rules["exclude"])
    is_newest = _newest(images, int(rules["keep_n"]))
    own = images["reclaimable"].astype("boolean")
    reclaimable = (is_old & is_idle & ~is_kept & ~is_newest).fillna(own)
    why = pd.Series("unknown", index=images.index, dtype="object")
    for words, holds in (
        ("no container", is_unused),
        ("no container that still runs", ~is_unused & is_idle),
        ("no name and no container", is_unused & images["dangling"].fillna(value=False)),
    ):
        why = why.mask((reclaimable & holds).fillna(value=False), words)
    for words, holds in (
        ("among the newest of its repository", is_newest),
        ("too young", ~is_old),
        ("a container needs it", ~is_idle),
        ("excluded", is_kept),
    ):
        why = why.mask((~reclaimable & holds).fillna(value=False), words)
    return images.assign(reclaimable=reclaimable, why=why.astype("str")).drop(
        columns="repositories"
    )


def _longer(spans: pd.Series, grace: pd.Timedelta) -> pd.Series:
    return spans.gt(grace).astype("boolean").mask(spans.isna())


def _excluded(images: pd.DataFrame, patterns: list[str]) -> pd.Series:
    """Return which images a pattern excludes, by one of their names or by the start of their id."""
    try:
        wanted = [re.compile(pattern) for pattern in patterns]
    except re.error as error:
        raise PolicyError(
            f"cleanup.exclude: {error.pattern!r} is no pattern: {error}"
        ) from error
    short = images["image_id"].str.removeprefix("sha256:").str[:ID_CHARS]
    texts = [
        [*names.split(";"), own]
        for names, own in zip(images["names"], short, strict=True)
    ]
    hits = [any(w.fullmatch(t) for w in wanted for t in each) for each in texts]
    return pd.Series(hits, index=images.index, dtype="boolean")


def _newest(images: pd.DataFrame, keep_n: int) -> pd.Series:
    """Return which images are among the ``keep_n`` newest of one of their repositories."""
    places = images[["host_id", "created_at"]].assign(
        place=images["repositories"].str.split(";")
    )
    places = places.explode("place").query("place.notna() and place != ''")
    newest = places.sort_values("created_at", ascending=False, kind="stable")
    first = (
        newest.groupby(["host_id", "place"]).cumcount().lt(keep_n).groupby(level=0).any()
    )
    return first.reindex(images.index, fill_value=False).astype("boolean")


def _by_host(images: pd.DataFrame, inventory: Inventory) -> pd.DataFrame:
    """Sum the images and the bytes of each host."""
    engines = inventory["engines"].groupby("host_id")[_ENGINE].sum(min_count=1)
    groups = images.groupby("host_id")
    goes = images["reclaimable"].fillna(value=False)
    is_unknown = images["reclaimable"].isna()
    own = images["size_bytes"] - images["shared_bytes"]
    size = images["size_bytes"]
    host = images["host_id"]
    hosts = pd.DataFrame(
        {
            "images_n": groups.size(),
            "reclaimable_n": goes.groupby(host).sum(),
            "unknown_n": is_unknown.groupby(host).sum(),
            "bytes_lo": own.where(goes, 0).groupby(host).sum(skipna=False),
            "_whole": size.where(goes | is_unknown, 0).groupby(host).sum(skipna=False),
            "_kept": own.where(~(goes | is_unknown), 0).groupby(host).sum(skipna=False),
        }
    ).join(engines, how="outer")
    counts = ["images_n", "reclaimable_n", "unknown_n"]
    hosts[counts] = hosts[counts].astype("Int64")
    at_most = (hosts["layers_bytes"] - hosts["_kept"]).clip(lower=0)
    hosts.insert(4, "bytes_hi", at_most.fillna(hosts["_whole"]).astype("Int64"))
    return hosts.drop(columns=["_whole", "_kept", "layers_bytes"])
