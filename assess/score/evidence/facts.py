"""Facts that follow from several frames: where a store writes, what an image runs on, what differs."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pandas as pd

from assess import reference
from assess.inventory import Inventory
from assess.score.evidence import View

LASTING = ("named-volume", "host-path")  # classes of sources that outlive a container
LOOKED = ("ok", "declared")  # the mounts of such a workload are all on record
SAME = ("same", "rebuild")

ENDED = ("exited", "stopped", "terminated", "failed", "dead")
IMAGE = ["repository", "tag", "image_digest"]


# ---- workloads ----


def keeps_on_volume(
    workloads: pd.DataFrame, mounts: pd.DataFrame, *, is_listed: bool
) -> pd.Series:
    """Return by workload whether it writes to something that outlives it; NA where nobody looked."""
    lasts = mounts["source_class"].isin(LASTING).astype("boolean")
    lasts = lasts.mask(mounts["source_class"].isna())
    writes = lasts & ~mounts["read_only"]
    by_workload = writes.groupby(mounts["workload_id"])
    is_kept = workloads["workload_id"].map(by_workload.any()).astype("boolean")
    is_open = workloads["workload_id"].map(
        writes.isna().groupby(mounts["workload_id"]).any()
    )
    is_open = is_open.astype("boolean").fillna(value=False)
    looked = workloads["inspect_status"].isin(LOOKED).fillna(value=False) & is_listed
    none_there = is_kept.isna() & looked.astype(bool)
    kept = is_kept.mask(none_there, other=False)
    return kept.mask(is_open & ~kept.fillna(value=False))


def runs_on_arch(
    workloads: pd.DataFrame, images: pd.DataFrame, hosts: pd.DataFrame, target: str
) -> pd.Series:
    """Return by workload whether its image runs on the processor of the target, else of its host."""
    key = ["registry", "repository", "digest"]
    known = images.dropna(subset=["arch"]).groupby(key)["arch"].agg(";".join)
    of_image = workloads[["registry", "repository", "image_digest"]]
    offered = known.reindex(pd.MultiIndex.from_frame(of_image, names=key))
    here = hosts.set_index("host_id")["arch"].reindex(workloads["host_id"])
    places = [target or place for place in here.astype(object).where(here.notna(), None)]
    names = offered.astype(object).where(offered.notna(), None)
    answers = [
        reference.arch_runs(name, place)
        for name, place in zip(names, places, strict=True)
    ]
    return pd.Series(answers, index=workloads.index, dtype="boolean")


def one_version(inventory: Inventory, workloads: pd.DataFrame) -> pd.Series:
    """Return by workload whether its service has one version wherever it is declared or runs.

    Replicas that are declared, and those of every source, count; those that have ended do not.
    """
    table = inventory["workloads"]
    table = table[~table["state"].isin(ENDED)]
    distinct = table[["service_id", *IMAGE]].drop_duplicates()
    cells = distinct.astype(object).where(distinct.notna(), None)
    answers = {
        service: _is_one_version([tuple(image) for image in rows[IMAGE].to_numpy()])
        for service, rows in cells.groupby("service_id")
    }
    return workloads["service_id"].map(answers).astype("boolean")


def _is_one_version(images: list[tuple[Any, ...]]) -> bool | None:
    """Return whether images that are of one product are of one version."""
    known = [image for image in images if image[0] and any(image[1:])]
    answers = {_is_same(one, other) for one, other in combinations(known, 2)}
    if False in answers:
        return False
    is_open = None in answers or len(known) < len(images)
    return None if is_open else True


def _is_same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool | None:
    change = reference.image_change(one, other)
    if change in SAME or change == "swap":  # another product of the same replica
        return True
    if change == "unknown":
        return None
    # a moving tag of another major version is another one, whatever it leads to
    is_far = "major" in (change, reference.image_change(other, one))
    return False if is_far or (_is_held(one) and _is_held(other)) else None


def _is_held(image: tuple[Any, ...]) -> bool:
    repository, tag, digest = image
    return digest is not None or reference.moves(tag, repository) is False


# ---- services ----


def undeclared(calls: pd.DataFrame, live: View, words: dict[str, Any]) -> pd.Series:
    """Count by service what it was seen to call and does not declare.

    NA where nobody watched it, or nothing that declares was read.
    """
    soft = calls["kind"].isin(words["soft_kinds"])
    basis = calls["address_basis"].fillna(calls["evidence"])
    is_seen = basis.isin(words["observing"]) & ~soft
    is_declared = basis.isin(words["declaring"])
    pairs = ["service_id", "dst_id"]
    seen = calls.loc[is_seen, pairs].drop_duplicates()
    declared = calls.loc[is_declared, pairs].drop_duplicates()
    merged = seen.merge(declared, how="left", indicator=True)
    is_missing = merged["_merge"].eq("left_only")
    count = is_missing.groupby(merged["service_id"]).sum()
    manifests = live.table["inspect_status"].eq("declared").fillna(value=False)
    read = live.table.loc[manifests.astype(bool), "service_id"]
    known = set(read) | set(declared["service_id"])
    return count[count.index.isin(list(known))].astype("Float64")
