"""Space that a clean-up of images would free on each host: docker-gc's rules, as a dry run.

Nothing is removed. An image is reclaimable if no container that stays needs it, if it and its last
use are older than the grace period, if its repository has enough newer images, and if no pattern
excludes it. Containers that were created and never started stay, and so do their images.
"""

from typing import Any, NamedTuple

import numpy as np
from pandas import DataFrame, Series, Timedelta

from assess.frames import surely
from assess.inventory import Inventory
from assess.linear import Linear
from assess.policy import Policy, Table

KEY = ["host_id", "image_id"]
NONE = "<none>"
ID_CHARS = 12
HUB = r"^docker\.io/(?:library/)?"  # docker's command line leaves this out
FACTS = [
    "size_bytes",
    "shared_bytes",
    "created_at",
    "containers_n",
    "used_at",
    "dangling",
    "reclaimable",
]
ENGINE_SUMS = [
    "layers_bytes",
    "stopped_n",
    "never_started_n",
    "dangling_volumes_n",
    "dangling_volumes_bytes",
]


class CleanUp(NamedTuple):
    """Images by host that a clean-up could remove, and hosts with the bytes that it would free."""

    images: DataFrame
    hosts: DataFrame


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

    Notes
    -----
    Images share layers, and a list of images does not show which. Removing a set of images frees at
    least the sum of ``size - shared``, the layers that only one image has. It frees at most all layers
    minus the unshared layers of the images that stay; ``docker system df`` calls this RECLAIMABLE.
    This upper bound is too high where images that stay share layers with each other. If the engine did
    not measure its disk, the upper bound is the sum of whole sizes, and the lower bound is unknown.

    Examples
    --------
    >>> images = assess.clean_up(inventory, policy).images
    >>> images["why"].value_counts().to_dict()
    {'unknown': 46, 'no name and no container': 46}
    """
    images = _decided(_on_hosts(inventory), inventory, policy["cleanup"])
    return CleanUp(images, _by_host(images, inventory))


def _on_hosts(inventory: Inventory) -> DataFrame:
    """Return one row per image of a host, with all of its names joined."""
    listed = inventory["images"]
    on_host = listed["host_id"].notna() & listed["host_id"].ne("")
    listed = listed[on_host].copy()
    listed["image_id"] = listed["image_id"].fillna(listed["digest"])
    is_plain = listed["repository"].eq(NONE)
    path = listed["registry"] + "/" + listed["repository"]
    place = path.str.replace(HUB, "", regex=True)
    listed["repositories"] = place.mask(is_plain)
    tags = listed["tags"].fillna(NONE).str.split(";")
    names = place.mask(is_plain, NONE)
    listed["names"] = [
        ";".join(f"{name}:{tag}" for tag in own_tags)
        for name, own_tags in zip(names, tags, strict=True)
    ]
    columns: dict[str, Any] = dict.fromkeys(FACTS, "first")
    columns |= dict.fromkeys(["repositories", "names"], _distinct)
    return listed.groupby(KEY, sort=True).agg(columns).reset_index()


def _distinct(names: Series) -> str:
    return ";".join(names.dropna().unique())


def _decided(images: DataFrame, inventory: Inventory, rules: Table) -> DataFrame:
    """Decide for each image whether it is reclaimable, and why; unknown facts stay unknown."""
    seen = inventory["hosts"].set_index("host_id")["last_seen_at"]
    now = seen.reindex(images["host_id"]).set_axis(images.index)
    now = now.fillna(inventory.snapshot_at)
    grace = Timedelta(seconds=rules["grace_s"])
    is_old = _longer(now - images["created_at"], grace)
    is_unused = images["containers_n"].eq(0)
    is_idle = is_unused.astype("boolean")
    if not rules["stopped_need"]:
        is_idle |= _longer(now - images["used_at"], grace)
    is_kept = _excluded(images, rules["exclude"])
    is_newest = _newest(images, int(rules["keep_n"]))
    own = images["reclaimable"].astype("boolean")
    # where the rules cannot decide, the answer of the source counts
    reclaimable = (is_old & is_idle & ~is_kept & ~is_newest).fillna(own)
    # the first that holds is the reason
    reasons = {
        "excluded": ~reclaimable & is_kept,
        "a container needs it": ~reclaimable & ~is_idle,
        "too young": ~reclaimable & ~is_old,
        "among the newest of its repository": ~reclaimable & is_newest,
        "no name and no container": reclaimable & is_unused & images["dangling"],
        "no container that still runs": reclaimable & ~is_unused & is_idle,
        "no container": reclaimable & is_unused,
    }
    holds = [surely(answers).to_numpy() for answers in reasons.values()]
    why = Series(np.select(holds, list(reasons), "unknown"), images.index, dtype="str")
    return images.drop(columns="repositories").assign(reclaimable=reclaimable, why=why)


def _longer(spans: Series, grace: Timedelta) -> Series:
    return spans.gt(grace).astype("boolean").mask(spans.isna())


def _excluded(images: DataFrame, patterns: list[str]) -> Series:
    excluded = [Linear(pattern) for pattern in patterns]
    short = images["image_id"].str.removeprefix("sha256:").str[:ID_CHARS]
    hits = []
    for names, image in zip(images["names"], short, strict=True):
        texts = [*names.split(";"), image]
        hits.append(any(each.fullmatch(text) for each in excluded for text in texts))
    return Series(hits, index=images.index, dtype="boolean")


def _newest(images: DataFrame, keep_n: int) -> Series:
    """Return which images are among the ``keep_n`` newest of one of their repositories."""
    places = images.assign(place=images["repositories"].str.split(";")).explode("place")
    places = places.query("place.notna() and place != ''")
    newest = places.sort_values("created_at", ascending=False, kind="stable")
    rank = newest.groupby(["host_id", "place"]).cumcount()
    first = rank.lt(keep_n).groupby(level=0).any()
    return first.reindex(images.index, fill_value=False).astype("boolean")


def _by_host(images: DataFrame, inventory: Inventory) -> DataFrame:
    engines = inventory["engines"].groupby("host_id")[ENGINE_SUMS].sum(min_count=1)
    goes = surely(images["reclaimable"])
    is_unknown = images["reclaimable"].isna()
    may_go = goes | is_unknown
    size = images["size_bytes"]
    unshared = size - images["shared_bytes"]
    by = images["host_id"]
    counts = {
        "images_n": images.groupby("host_id").size(),
        "reclaimable_n": goes.groupby(by).sum(),
        "unknown_n": is_unknown.groupby(by).sum(),
    }
    # one unknown size makes the sum unknown
    parts = {
        "bytes_lo": unshared.where(goes, 0),
        "_whole": size.where(may_go, 0),
        "_kept": unshared.where(~may_go, 0),
    }
    sums = DataFrame(parts).groupby(by).sum(skipna=False)
    hosts = DataFrame(counts).join(sums).join(engines, how="outer")
    hosts = hosts.astype(dict.fromkeys(counts, "Int64"))
    # layers are shared: what all kept images hold alone is surely not freed
    at_most = (hosts["layers_bytes"] - hosts["_kept"]).clip(lower=0)
    hosts.insert(4, "bytes_hi", at_most.fillna(hosts["_whole"]).astype("Int64"))
    return hosts.drop(columns=["_whole", "_kept", "layers_bytes"])
