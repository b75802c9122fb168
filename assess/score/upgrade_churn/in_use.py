"""What is in use: every workload beside its image, its engine and its host, as rules ask for it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from assess import reference
from assess.inventory import BUILD, Inventory
from assess.policy.rules import DTYPES
from assess.score.incidents.exposure import on_docker
from assess.score.upgrade_churn import builds, flags

KUBERNETES = "kubernetes"
WORLD = "world"  # what happens on a day, whatever runs
IDLE = ""  # the workload of a host that runs none that is known
_GONE = ("exited", "dead", "removing", "terminated", "failed", "stopped")
_OF_ENGINE = ["host_id", "version", "engine_text", "kubelet_text", "logging_driver"]
_OF_ENGINE += ["seccomp", "daemon_flags", "kubelet_flags"]
IDS = ["service_id", "workload_id", "host_id"]


@cache
def columns_of(table: str) -> dict[str, str]:
    """Return the columns of a table that rules may ask for, by kind."""
    known = reference.rows("break_columns")
    return {row["column"]: row["kind"] for row in known if row["table"] == table}


def number_of(text: Any) -> float:
    """Return a version as one number that orders like it; NaN where it is none.

    3.10 is 3.010 and 20.10.9 is 20.010009.
    """
    parsed = reference.parse_version(text) if isinstance(text, str) else None
    if parsed is None:
        return np.nan
    whole, minor, patch = (*parsed, 0, 0)[:3]
    return round(whole + minor / 1000 + patch / 1_000_000, 6)


def workloads_on(inventory: Inventory, product: str, target: str) -> pd.DataFrame:
    """Return the workloads that an upgrade of a product concerns, with the columns of rules.

    ``service_id, workload_id, host_id, version`` (NA: unknown) and the columns that rules ask for. A
    host whose engine no workload is known to use has a row of its own.
    """
    engines = _engines(inventory, product, target)
    table = _running(inventory).merge(engines, on="host_id", how="left")
    is_on = table["runtime"].notna()
    if product == KUBERNETES:
        is_on |= table["api_version"].notna()
    elif product == reference.ENGINE:
        is_on |= _without_engine(inventory, table)
    if product != WORLD:
        table = table[is_on]
        idle = engines[~engines["host_id"].isin(table["host_id"])]
        table = pd.concat(
            [table, idle.assign(workload_id=IDLE, talks=False)], ignore_index=True
        )
    table = table.merge(_hosts(inventory), on="host_id", how="left")
    # a container that names no logging driver has that of its engine
    table["log_driver"] = table["log_driver"].fillna(table["logging_driver"])
    floor = pd.to_numeric(
        flags.value_of(table["daemon_flags"], "min-api-version").str[2:]
    )
    table["is_allowed"] = table["client_api"].ge(floor.astype(float)).astype(bool)
    table["is_confined"] = ~(table["privileged"].eq(True) | table["seccomp"].eq(False))
    table["is_confined"] = table["is_confined"].fillna(value=True)
    if product == KUBERNETES:
        table = table.assign(**_gone_apis(table, target))
        table["cluster_product"] = _products(table)
    table["tolerates_cgroup_v1"] = flags.has_setting(
        table["kubelet_flags"], "failCgroupV1=false"
    )
    return _typed(table, "workloads")


def objects_of(inventory: Inventory, workloads: pd.DataFrame) -> pd.DataFrame:
    """Return the API objects in use, those that declare workloads among them.

    ``is_applied`` is whether ``api`` is the version in which it was applied: a live cluster shows an
    object in the version it prefers. An object of a service has a row for each of its workloads.
    """
    declared = workloads[[*IDS, "version", "api_version"]].dropna(subset="api_version")
    # the declared version is the applied one
    own = declared.assign(
        is_applied=True, kind=declared["api_version"].str.split("/").str[-1]
    )
    own["api"] = own["api_version"].str.rsplit("/", n=1).str[0]
    objects = inventory["objects"]
    applied = objects["last_applied_api_version"]
    is_file = (
        objects["source_ref"].str.contains(r"\.ya?ml$", regex=True).fillna(value=False)
    )
    others = pd.DataFrame(
        {
            "service_id": objects["service_id"],
            "kind": objects["kind"],
            "api": applied.fillna(objects["api_version"]),
            "is_applied": (applied.notna() | is_file).astype("boolean"),
        }
    )
    others["is_applied"] = others["is_applied"].mask(~others["is_applied"])
    others = others.merge(workloads[[*IDS, "version"]], on="service_id", how="left")
    return _typed(pd.concat([own, others], ignore_index=True), "objects")


def flags_of(workloads: pd.DataFrame, product: str, target: str) -> pd.DataFrame:
    """Return the settings of the engine, or of the kubelet, with the columns of rules."""
    column = "kubelet_flags" if product == KUBERNETES else "daemon_flags"
    return _typed(flags.flags_of(workloads, column, target), "flags")


def mounts_of(inventory: Inventory, workloads: pd.DataFrame) -> pd.DataFrame:
    """Return the mounts of workloads, with the columns of rules."""
    mounts = inventory["mounts"][["workload_id", "type", "driver"]]
    mounts = mounts.rename(columns={"type": "volume_type", "driver": "volume_driver"})
    found = workloads[[*IDS, "version"]].merge(mounts, on="workload_id")
    found["volume_driver"] = found["volume_driver"].fillna("")
    return _typed(found, "mounts")


def packages_of(workloads: pd.DataFrame) -> pd.DataFrame:
    """Return the package sources of builds, with the columns of rules."""
    return _typed(builds.packages_of(workloads), "packages")


def _running(inventory: Inventory) -> pd.DataFrame:
    table = inventory["workloads"]
    table = table[~table["state"].isin(_GONE)]
    images = inventory["images"].drop_duplicates(["registry", "repository", "digest"])
    kept = images[["registry", "repository", "digest", "schema", "base_name"]]
    kept = kept.rename(columns={"digest": "image_digest", "base_name": "base"})
    table = table.merge(kept, on=["registry", "repository", "image_digest"], how="left")
    path = table["repository"].astype("string")
    domain = table["registry"].astype("string").str.split(".").str[-2:].str.join(".")
    bases = _bases(table)
    program = path.str.rsplit("/", n=1).str[-1]
    namespace = (
        path.str.rsplit("/", n=1).str[0].mask(~path.str.contains("/").fillna(value=False))
    )
    # an image without a tag, or with a digest alone, counts as latest
    tag = table["tag"].mask(table["tag"].isna() & path.notna(), "latest")
    table = table.assign(
        tag=tag,
        program=program,
        image_namespace=namespace,
        registry_domain=domain,
        tag_version=_versions_of(table["tag"]),
        is_build=table["source_kind"].eq(BUILD),
        base_os=[f"{distro} {line}" if line else None for distro, line in bases],
        base_distro=[distro for distro, _ in bases],
        base_version=[number_of(line) for _, line in bases],
        client_api=client_apis(table),
    )
    return table.assign(talks=_talks(table))


def _versions_of(tags: pd.Series) -> list[float]:
    versions = [reference.tag_version(tag) for tag in _texts(tags)]
    return [number_of(".".join(map(str, v))) if v else np.nan for v in versions]


def _bases(workloads: pd.DataFrame) -> list[tuple[str | None, str | None]]:
    """Return the system that each image is built on, as far as its base names one."""
    image = workloads["repository"].astype("string") + ":" + workloads["tag"]
    # what declares no base but is a system itself is its own base
    bases = _texts(workloads["base"].fillna(image))
    return [reference.base_system(text) for text in bases]


def client_apis(workloads: pd.DataFrame) -> pd.Series:
    """Return the minor number of the engine API that each client speaks; NaN where unknown.

    What the engine saw counts first, else the program and its tag in `engine_clients`.
    """
    seen = (
        workloads["client_api_version"].astype("string").str.extract(r"(?:1\.)?(\d+)$")[0]
    )
    seen = pd.to_numeric(seen, errors="coerce").astype(float)
    pairs = zip(_texts(workloads["repository"]), _texts(workloads["tag"]), strict=True)
    known = [reference.engine_api(*pair) for pair in pairs]
    return seen.fillna(pd.Series(known, workloads.index, dtype=float))


def _gone_apis(workloads: pd.DataFrame, target: str) -> dict[str, list[Any]]:
    """Return what each client of the cluster asks for that a target no longer serves."""
    keys = ("repository", "tag", "version")
    images = zip(*(_texts(workloads[key]) for key in keys), strict=True)
    found = [reference.gone_api(*image, target) for image in images]
    return {
        "asks_gone_api": [
            (row["sure"] == "yes" or None) if row else False for row in found
        ],
        "gone_api": [row["api"] if row else None for row in found],
        "gone_in": [row["gone"] if row else None for row in found],
    }


def _products(workloads: pd.DataFrame) -> list[str | None]:
    """Return the provider's cluster that each workload runs in, such as amazon-eks."""
    keys = ("kubelet_text", "provider", "provider_version")
    nodes = zip(*(_texts(workloads[key]) for key in keys), strict=True)
    found = [
        reference.platform_of(
            reference.Node(kubelet=kubelet, provider=provider, provider_version=version)
        )
        for kubelet, provider, version in nodes
    ]
    return [platform.product if platform else None for platform in found]


def _talks(workloads: pd.DataFrame) -> pd.Series:
    """Return whether a workload talks to the engine.

    One without the socket does not. Where nobody looked at its mounts, it may if it is a program that
    is made for that.
    """
    is_client = pd.Series(
        [reference.is_engine_client(path) for path in _texts(workloads["repository"])],
        workloads.index,
        dtype=bool,
    )
    socket = workloads["docker_sock_mounted"].astype("boolean")
    return socket.mask(socket.isna() & ~is_client, other=False)


def _engines(inventory: Inventory, product: str, target: str) -> pd.DataFrame:
    """Return the engine of each host that a product means, with its version."""
    table = inventory["engines"]
    table = table.assign(
        engine_text=table["version"], kubelet_text=table["kubelet_version"]
    )
    if product == KUBERNETES:
        table = table[table["kubelet_version"].notna()].assign(
            version=table["kubelet_version"]
        )
    elif product != WORLD:
        table = table[table["runtime"].eq(product)]
    table = table.drop_duplicates("host_id")
    docker = target if product == reference.ENGINE else None
    runs = [reference.driver_runs(d, docker) for d in _texts(table["storage_driver"])]
    asked = [name for name in columns_of("workloads") if name in table]
    kept = table[[*asked, *_OF_ENGINE]].astype({"runtime": "string"})
    return kept.assign(
        driver_runs=pd.array(runs, dtype="boolean"),
        engine=[number_of(v) for v in kept["engine_text"]],
        kubelet=[number_of(v) for v in kept["kubelet_text"]],
        docker=docker,
    )


def _hosts(inventory: Inventory) -> pd.DataFrame:
    table = inventory["hosts"]
    pairs = zip(_texts(table["os_name"]), _texts(table["os_version"]), strict=True)
    systems = [_system(*pair) for pair in pairs]
    return pd.DataFrame(
        {
            "host_id": table["host_id"],
            "os": [f"{distro} {line}" if line else None for distro, line in systems],
            "distro": [distro for distro, _ in systems],
            "os_family": table["os_family"],
            "kernel_text": table["kernel"],
            "kernel": [number_of(kernel) for kernel in table["kernel"]],
            "cgroup": table["cgroup_version"].astype("string").str.removeprefix("v"),
            "libseccomp": [number_of(text) for text in table["libseccomp_version"]],
            "arch": [reference.arch_of(name) for name in _texts(table["arch"])],
            "provider": table["provider"],
            "provider_version": table["provider_version"],
        }
    )


def _system(name: str | None, version: str | None) -> tuple[str | None, str | None]:
    distro = reference.distro_of(name)
    return distro, reference.line_of(distro, version)


def _without_engine(inventory: Inventory, table: pd.DataFrame) -> pd.Series:
    """Return which workloads run on docker though nothing is known of their engine."""
    services = inventory["services"].set_index("service_id")["platform"]
    platform = table["service_id"].map(services).astype("string")
    has_engine = table["host_id"].isin(inventory["engines"]["host_id"])
    is_docker = on_docker(platform) | table["docker_sock_mounted"].eq(True)
    return (is_docker & ~has_engine).fillna(value=False).astype(bool)


def _typed(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return a table with every column of rules, in the types of the rule language."""
    columns = columns_of(name)
    missing = [column for column in columns if column not in table]
    table = table.assign(**dict.fromkeys(missing, pd.NA)).reset_index(drop=True)
    if "kernel_text" in table:
        table["kernel_runs"] = _kernel_runs(table)
    return table.astype({column: DTYPES[kind] for column, kind in columns.items()})


def _kernel_runs(table: pd.DataFrame) -> pd.Series:
    pairs = zip(_texts(table["kernel_text"]), _texts(table["docker"]), strict=True)
    known = cache(reference.kernel_runs)
    runs = [known(*pair) if pair[1] else None for pair in pairs]
    return pd.Series(runs, table.index, dtype="boolean")


def _texts(cells: pd.Series) -> Iterable[str | None]:
    return [cell if isinstance(cell, str) else None for cell in cells]
