"""What every replica stands on, and what a registry freezes."""

from __future__ import annotations

import pandas as pd

from assess.inventory import Inventory
from assess.policy.policy import Policy

LOCATED = ("host", "az", "engine")  # every replica has one, known or not


def standing(inventory: Inventory, policy: Policy) -> pd.DataFrame:
    """List what every replica stands on.

    Parameters
    ----------
    inventory : Inventory
        Frames ``workloads, hosts, engines, images``.
    policy : Policy
        Its ``blast_radius.off_engine`` names the kinds of replica that no engine runs.

    Returns
    -------
    DataFrame
        Columns ``workload_id, service_id, state, element_kind, element``. A replica whose host,
        zone or engine version is unknown has a row of that kind with ``element`` NA: it may stand
        on any. An image, base image or cluster that is not named is taken as none.
    """
    columns = ["workload_id", "service_id", "state"]
    replicas = inventory["workloads"]
    parts = {
        "host": replicas[[*columns, "host_id"]],
        "az": replicas.merge(inventory["hosts"][["host_id", "az"]], how="left")[
            [*columns, "az"]
        ],
        "engine": _on_engines(inventory, policy)[[*columns, "element"]],
        "image": replicas.assign(element=image_names(replicas))[[*columns, "element"]],
        "base_image": on_bases(inventory)[[*columns, "element"]],
        "cluster": replicas[[*columns, "cluster"]],
    }
    rows = [
        table.set_axis([*columns, "element"], axis=1).assign(element_kind=kind)
        for kind, table in parts.items()
    ]
    table = pd.concat(rows, ignore_index=True).drop_duplicates()
    kept = table["element"].notna() | table["element_kind"].isin(LOCATED)
    return table.loc[kept, [*columns, "element_kind", "element"]]


def _on_engines(inventory: Inventory, policy: Policy) -> pd.DataFrame:
    """Replicas by the engines of their host, named by runtime and version."""
    replicas, engines = inventory["workloads"], inventory["engines"]
    off = replicas["source_kind"].isin(policy["blast_radius"]["off_engine"])
    engines = engines[engines["runtime"].astype("str") != "none"]
    engines = engines.assign(element=engine_names(engines))[["host_id", "element"]]
    known = replicas[~off].merge(engines, on="host_id", how="inner")
    return pd.concat(
        [known, replicas[~off & replicas["host_id"].isna()].assign(element=pd.NA)]
    )


def engine_names(engines: pd.DataFrame) -> pd.Series:
    """Name engines as elements.

    Parameters
    ----------
    engines : DataFrame
        The frame ``engines``.

    Returns
    -------
    Series
        Such as ``docker 20.10.24``; NA where the version is unknown.
    """
    return engines["runtime"].astype("str") + " " + engines["version"]


def image_names(replicas: pd.DataFrame) -> pd.Series:
    """Name the images of replicas as elements.

    Parameters
    ----------
    replicas : DataFrame
        The frame ``workloads``.

    Returns
    -------
    Series
        ``repository@digest``, else ``repository:tag``, else the repository; NA where unknown.
    """
    repository = replicas["repository"]
    named = repository + "@" + replicas["image_digest"]
    return named.fillna(repository + ":" + replicas["tag"]).fillna(repository)


def on_bases(inventory: Inventory) -> pd.DataFrame:
    """List replicas by the base images of their image.

    Parameters
    ----------
    inventory : Inventory
        Frames ``workloads, images``.

    Returns
    -------
    DataFrame
        Rows of ``workloads`` with ``element``, the base image that an image of the same digest,
        else of the same tag, was built on.
    """
    replicas, images = inventory["workloads"], inventory["images"]
    images = images.assign(element=images["base_name"].fillna(images["base_digest"]))
    images = images[images["element"].notna()]
    digests = images[["repository", "digest", "element"]].drop_duplicates()
    tags = images.assign(tag=images["tags"].str.split(";")).explode("tag")
    tags = tags.assign(tag=tags["tag"].astype("str").str.extract(r"([^:\s]+)\s*$")[0])
    tags = tags[["repository", "tag", "element"]].dropna().drop_duplicates()
    pinned = replicas["image_digest"].notna()
    by_digest = replicas[pinned].rename(columns={"image_digest": "digest"}).merge(digests)
    return pd.concat([by_digest, replicas[~pinned].merge(tags, on=["repository", "tag"])])


def frozen(inventory: Inventory, policy: Policy) -> pd.DataFrame:
    """List what each registry freezes: services that cannot be deployed or rescheduled without it.

    Parameters
    ----------
    inventory : Inventory
        Frames ``workloads`` (running or not) and ``engines``.
    policy : Policy
        Its ``registries.hub`` names what the mirrors of a Docker engine serve.

    Returns
    -------
    DataFrame
        Columns ``element_kind, element, service_id``, sorted. A service with a mirror on every
        engine that holds its images is left out; a mirror that nobody saw is none.
    """
    replicas = inventory["workloads"].dropna(subset=["registry"])
    engines = inventory["engines"]
    engines = engines[engines["runtime"].astype("str") != "none"][
        ["host_id", "runtime", "mirrors_n"]
    ]
    seen = replicas[["service_id", "registry", "host_id"]].merge(
        engines, on="host_id", how="left"
    )
    serves = seen["registry"].isin(policy["registries"]["hub"])
    serves |= seen["runtime"].astype("str").ne("docker")
    bare = ~((seen["mirrors_n"] > 0).fillna(value=False).astype(bool) & serves)
    rows = seen.loc[bare, ["registry", "service_id"]].drop_duplicates()
    rows = rows.rename(columns={"registry": "element"}).assign(element_kind="registry")
    order = ["element", "service_id"]
    return rows[["element_kind", *order]].sort_values(order).reset_index(drop=True)
