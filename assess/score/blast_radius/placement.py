"""Elements under each replica, direct impact of each element, services frozen by a registry."""

from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame, Index, MultiIndex, Series

from assess import reference
from assess.frames import Frames, surely
from assess.inventory import Inventory, images_by_tag
from assess.policy import Policy
from assess.score import Floats
from assess.score.evidence.facts import nodes
from assess.score.incidents import (
    is_replica,
    on_engine,
    replicas_in_containers,
)

INFRASTRUCTURE = ("host", "az", "engine", "image", "base_image", "volume", "cluster")
KINDS = ("service", "ext", *INFRASTRUCTURE[:-1], "registry", "cluster")
RUNNING = "running"
_PLACED = [
    *("workload_id", "service_id", "state", "source_kind", "host_id", "cluster"),
    *("image_ref", "repository", "tag", "image_digest"),
]
PAIR = ["element_kind", "element", "service_id"]


def topology_fields(
    inventory: Inventory, policy: Policy, services: Index, outside: Index
) -> dict[str, Any]:
    """Return ``elements, placement, direct, frozen`` of a fleet; see `topology.Topology`."""
    placed = placement(inventory, policy)
    return {
        "elements": _elements(inventory, services, outside, placed),
        "placement": placed,
        "direct": direct_impact(placed, inventory.by_service["min_healthy_pct"]),
        "frozen": frozen(inventory, policy),
        "unlooked": _unlooked(inventory),
    }


def placement(inventory: Inventory, policy: Policy) -> DataFrame:
    """List what every replica stands on: ``workload_id, service_id, state, element_kind, element``.

    A replica whose host, zone or engine version is unknown has a row of that kind with ``element``
    NA: it may run on any; so has a container whose image or base image is unknown, and a replica that
    an orchestrator placed in an unknown cluster. A row is ``doubtful`` where nobody knows whether the
    replica is a container: it may run beside the engine of its host.
    """
    workloads = inventory["workloads"]
    replicas = workloads.loc[is_replica(workloads), _PLACED]
    zone = replicas["host_id"].map(inventory["hosts"].set_index("host_id")["az"])
    images = replicas.assign(element=image_names(replicas))
    is_bare = surely(~replicas_in_containers(replicas, policy))
    images = images[images["element"].notna() | ~is_bare]
    bases = on_bases(inventory, replicas)
    has_base = images["workload_id"].isin(bases["workload_id"])
    baseless = images[~has_base].assign(element=pd.NA)
    platform = inventory.by_service["platform"]
    clustered = policy["blast_radius"]["clustered"]
    is_clustered = replicas["service_id"].map(platform).isin(clustered)
    clusters = replicas.assign(element=replicas["cluster"])
    parts = {
        "host": replicas.assign(element=replicas["host_id"]),
        "az": replicas.assign(element=zone),
        "engine": _on_engines(inventory, replicas, on_engine(replicas, policy)),
        "image": images,
        "base_image": pd.concat([bases, baseless]),
        "volume": on_volumes(inventory, replicas),
        "cluster": clusters[is_clustered | clusters["element"].notna()],
    }
    columns = [*PAIR, "workload_id", "state", "doubtful"]
    rows = pd.concat(parts, names=["element_kind"]).reset_index("element_kind")
    return rows[columns].drop_duplicates(ignore_index=True)


def _elements(
    inventory: Inventory,
    services: Index,
    outside: Index,
    placed: DataFrame,
) -> MultiIndex:
    """List all elements that can fail, in the order of `KINDS`, used or not."""
    named = {
        "service": services.to_series(),
        "ext": outside.to_series(),
        "host": inventory["hosts"]["host_id"],
        "az": inventory["hosts"]["az"],
        "engine": engine_names(running_engines(inventory)),
        "registry": inventory["workloads"]["registry"],
    }
    tuples = []
    for kind in KINDS:
        used = placed.loc[placed["element_kind"] == kind, "element"]
        listed = pd.concat([named.get(kind, used), used])
        tuples += [(kind, name) for name in sorted(listed.dropna().unique())]
    return MultiIndex.from_tuples(tuples, names=["element_kind", "element"])


def running_engines(inventory: Inventory) -> DataFrame:
    """Return the rows of ``engines`` with a real engine, plus provider platforms as engines."""
    # A provider's host runs on the provider's platform: the failure of one platform
    # version takes all its hosts down.
    engines = inventory["engines"]
    engines = engines[engines["runtime"].astype("str") != "none"]
    provided = []
    for host, runtimes in nodes(inventory).items():
        product, version = reference.runtime_line(runtimes[0])
        if runtimes[0].runtime is None and product:
            provided.append((host, product, version or "managed"))
    if not provided:
        return engines
    platforms = DataFrame(provided, columns=["host_id", "runtime", "version"])
    return pd.concat([engines.astype({"runtime": "object"}), platforms])


def _on_engines(inventory: Inventory, replicas: DataFrame, may_run: Series) -> DataFrame:
    """List replicas with the engines of their host as ``element``; NA where these are unknown."""
    engines = running_engines(inventory)
    engines = engines.assign(element=engine_names(engines))[["host_id", "element"]]
    replicas = replicas.assign(doubtful=may_run.isna())[~surely(~may_run)]
    known = replicas.merge(engines, on="host_id")
    # a host that has no engine has a row that says so
    seen = pd.concat([engines["host_id"], inventory["engines"]["host_id"]])
    unknown = replicas[~replicas["host_id"].isin(seen)].assign(element=pd.NA)
    return pd.concat([known, unknown])


def engine_names(engines: DataFrame) -> Series:
    """Name engines as elements, such as ``docker 20.10.24``; NA where the version is unknown."""
    return engines["runtime"].astype("str") + " " + engines["version"]


def _unlooked(inventory: Inventory) -> list[tuple[str, str]]:
    """List hosts and zones on which no source lists an engine or a service."""
    hosts = inventory["hosts"]
    seen = [*inventory["workloads"]["host_id"], *inventory["engines"]["host_id"]]
    is_seen = hosts["host_id"].isin(seen)
    return [
        (kind, name)
        for kind, column in {"host": "host_id", "az": "az"}.items()
        for name, is_any in is_seen.groupby(hosts[column]).any().items()
        if not is_any
    ]


def image_names(replicas: DataFrame) -> Series:
    """Name images as elements: ``repository@digest``, else ``repository:tag``, else repository."""
    repository = replicas["repository"]
    named = repository + "@" + replicas["image_digest"]
    return named.fillna(repository + ":" + replicas["tag"]).fillna(repository)


def on_bases(inventory: Inventory, replicas: DataFrame) -> DataFrame:
    """List replicas by the base images (``element``) of their image."""
    # A digest is matched with the image of that digest; a replica without one by its tag.
    images = inventory["images"]
    images = images.assign(element=images["base_name"].fillna(images["base_digest"]))
    # a tag may move to another image; a digest never does, so it decides where it is known
    digests = images[["repository", "digest", "element"]].dropna().drop_duplicates()
    tags = images_by_tag(images)[["repository", "tag", "element"]]
    tags = tags.dropna().drop_duplicates()
    pinned = replicas["image_digest"].notna()
    by_digest = replicas[pinned].rename(columns={"image_digest": "digest"}).merge(digests)
    by_tag = replicas[~pinned].merge(tags, on=["repository", "tag"])
    return pd.concat([by_digest, by_tag])


def on_volumes(inventory: Inventory, replicas: DataFrame) -> DataFrame:
    """List replicas by the volumes (``element``) that several services mount; NA may be any of them."""
    mounts = inventory["mounts"].rename(columns={"volume_id": "element"})
    is_vague = (
        mounts["source_class"].astype("str").fillna("named-volume").eq("named-volume")
    )
    is_shown = mounts["element"].notna() | is_vague
    mounts = mounts.loc[is_shown, ["workload_id", "element"]].drop_duplicates()
    rows = replicas.merge(mounts)
    services_n = rows.groupby("element")["service_id"].transform("nunique")
    return rows[(services_n > 1) | rows["element"].isna()]


def frozen(inventory: Inventory, policy: Policy) -> DataFrame:
    """List services that a registry freezes: ``element_kind, element, service_id``."""
    # Frozen services cannot be deployed or rescheduled without it. A service with a
    # mirror on every engine that holds its images is left out; an unknown mirror counts
    # as none.
    replicas = inventory["workloads"].dropna(subset=["registry"])
    engines = running_engines(inventory)[["host_id", "runtime", "mirrors_n"]]
    seen = replicas.merge(engines, on="host_id", how="left")
    # the mirrors of a Docker engine serve Docker Hub alone
    serves = seen["registry"].isin(policy["registries"]["hub"])
    serves |= seen["runtime"].astype("str").ne("docker")
    bare = ~(surely(seen["mirrors_n"] > 0) & serves)
    rows = seen.assign(element_kind="registry", element=seen["registry"])[bare]
    return rows[PAIR].drop_duplicates().sort_values(PAIR, ignore_index=True)


def needed(replicas: Floats, min_healthy_pct: Floats) -> Floats:
    """Return the replicas that a service needs: max(1, ceil(share of those that run))."""
    share = np.where(np.isnan(min_healthy_pct), 0.0, min_healthy_pct)
    # rounded first: 67% of 3 and the like must not gain a replica by a binary fraction
    return np.maximum(1.0, np.ceil(np.round(share * replicas / 100, 9)))


def is_running(replicas: DataFrame) -> Series:
    """Return by row whether a replica runs; False where its state is unknown."""
    return surely(replicas["state"].eq(RUNNING))


def direct_impact(placement: DataFrame, min_healthy_pct: Series) -> Frames:
    """List, by level (lo, point, hi), ``element_kind, element, service_id`` that fail directly, sorted.

    A service fails where fewer replicas live on than it needs. A replica of unknown state is not
    live at the point. At worst exactly those live that stand on the element that fails: they raise
    the need, and are lost. At best exactly the others live, and doubtful rows do not count. A replica
    that may stand on any element of a kind stands on the one that fails only at worst; a service that
    each of them takes down then has one row for all, with ``element`` NA. Services of unknown place
    are left out.
    """
    runs = is_running(placement)
    perhaps = placement["state"].isna()
    live = placement.assign(running=runs, perhaps=perhaps)[runs | perhaps]
    counted = ["running", "perhaps"]
    every = live.drop_duplicates("workload_id").groupby("service_id")[counted].sum()

    def on(rows: DataFrame) -> DataFrame:
        return rows.groupby(PAIR, dropna=False)[counted].sum().reset_index()

    table = on(live)
    known = table.dropna()
    anywhere = table[table["element"].isna()]
    wide = on(pd.concat([known, known[PAIR].merge(anywhere.drop(columns="element"))]))

    def down(table: DataFrame, *, best: bool = False, worst: bool = False) -> DataFrame:
        service = table["service_id"]
        perhaps = table["perhaps"].to_numpy()
        live = service.map(every["running"]).to_numpy()
        runs_any = live > 0
        # at best, replicas of unknown state live, all of them away from the element
        if best:
            live = live + service.map(every["perhaps"]).to_numpy() - perhaps
        share = service.map(min_healthy_pct).to_numpy("float64", na_value=np.nan)
        need = needed(live + perhaps if worst else live, share)
        is_down = runs_any & (live - table["running"].to_numpy() < need)
        return table.loc[is_down, PAIR].sort_values(PAIR, ignore_index=True)

    # a row for every pair would make these as many as services times elements
    always = down(anywhere, worst=True)
    sometimes = wide.merge(always[PAIR[::2]], how="left_anti")
    return {
        "lo": down(on(live[~surely(live["doubtful"])]).dropna(), best=True),
        "point": down(known),
        "hi": pd.concat([down(sometimes, worst=True), always]),
    }
