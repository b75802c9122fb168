"""Workloads in use, joined with image, engine and host, as tables for the rules."""

from collections.abc import Callable, Collection
from functools import cache, lru_cache, partial
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

from assess import reference
from assess.frames import surely
from assess.inventory import BUILD, ENDED, NO_DATA, Inventory, images_by_tag
from assess.policy.rules import DTYPES
from assess.score.incidents import on_docker
from assess.score.upgrade_churn import entries
from assess.score.upgrade_churn.entries import IDS
from assess.score.upgrade_churn.sights import text_of

KUBERNETES = "kubernetes"
KERNEL = "kernel"  # a system of hosts like a distribution, whatever that is
WORLD = "world"  # what happens on a day, whatever runs
_REGISTRY = r"(localhost|[^/]*[.:][^/]*)/"
# the first element of a path, all but the last, the one before the last, and the last
_PATH = (
    r"^(?=(?P<image_owner>[^/]*))"
    r"(?:(?P<image_namespace>(?:.*/)?(?P<image_parent>[^/]*))/)?(?P<program>[^/]*)$"
)
IDLE = ""  # the workload of a host that runs none that is known
_KEPT = (
    "version",
    "engine_text",
    "kubelet_text",
    "logging_driver",
    "seccomp",
    "daemon_flags",
    "kubelet_flags",
)
_DAY = "%Y%m%d"  # as a number, 20250925


@cache
def columns_of(table: str) -> dict[str, str]:
    """Return the columns of a table that rules may ask for, by kind."""
    known = reference.rows("break_columns")
    return {row["column"]: row["kind"] for row in known if row["table"] == table}


def number_of(text: Any) -> float:
    """Return a version as one number with the same order; NaN if it is not a version."""
    # 3.10 is 3.010 and 20.10.9 is 20.010009.
    parsed = reference.parse_version(text) if isinstance(text, str) else None
    if parsed is None:
        return np.nan
    whole, minor, patch = (*parsed, 0, 0)[:3]
    return round(whole + minor / 1000 + patch / 1_000_000, 6)


def workloads_on(
    inventory: Inventory, product: str, target: str, beside: Collection[str] = ()
) -> DataFrame:
    """Return the workloads that an upgrade of a product affects, and hosts without workloads."""
    engines = _engines(inventory, product, target)
    table = _running(inventory).merge(engines, on="host_id", how="left")
    is_on = table["runtime"].notna()
    if product == KUBERNETES:
        is_on |= table["api_version"].notna()
    elif product == reference.ENGINE:
        is_on |= _without_engine(inventory, table)
    if product != WORLD:
        # what runs beside the engine, and does not ask it, goes on without it
        is_on &= ~table["source_kind"].isin(beside) | surely(table["talks"])
        table = table[is_on]
        idle = engines[~engines["host_id"].isin(table["host_id"])]
        idle = idle.assign(workload_id=IDLE, talks=False, has_image=False)
        table = pd.concat([table, idle], ignore_index=True)
    table = table.merge(_hosts(inventory), on="host_id", how="left")
    # a container that names no logging driver has that of its engine
    table["log_driver"] = table["log_driver"].fillna(table["logging_driver"])
    least = entries.value_of(table["daemon_flags"], "min-api-version")
    floor = pd.to_numeric(least.str[2:])
    is_new = table["client_api"].ge(floor.astype(float))
    table["is_allowed"] = is_new.astype(bool)
    is_free = table["privileged"].eq(True) | table["seccomp"].eq(False)
    table["is_confined"] = ~surely(is_free)
    if product in (KUBERNETES, WORLD):
        table = _asking_cluster(table, target)
    table["tolerates_cgroup_v1"] = entries.has_setting(
        table["kubelet_flags"], "failCgroupV1=false"
    )
    return _typed(table, "workloads")


def images_of(inventory: Inventory, product: str, target: str) -> DataFrame:
    """Return the workloads that run an image of a product, each with the version in its tag."""
    table = workloads_on(inventory, WORLD, target)
    named = _each(reference.product_of, table, "repository")
    path = "/" + table["registry"].fillna("") + "/" + table["repository"]
    is_image = named.eq(product) | path.str.endswith("/" + product)
    # what a scheduler runs goes by the version of its host
    version = _each(_version_in, table, "tag").where(is_image, table["provider_version"])
    is_asked = is_image | table["platform"].eq(product)
    return table.assign(version=version)[is_asked].reset_index(drop=True)


def systems_of(inventory: Inventory, product: str, target: str) -> DataFrame:
    """Return the workloads on hosts that may run a system, each with its release and the next."""
    table = workloads_on(inventory, WORLD, target).dropna(subset="host_id")
    release = table["kernel_text"]
    if product != KERNEL:
        table = table[table["distro"].fillna(product).eq(product)]
        release = table["os"].str.split().str[-1]
    # a host that does not tell its kernel and control groups most likely has those of its release
    own = [_shipped(product, line) for line in release]
    table = table.fillna(DataFrame(own, table.index, ["kernel", "cgroup"]))
    moves = {f"to_{name}": fact for name, fact in _shipped(product, target).items()}
    moves["to_system"] = f"{product} {target}"
    table = table.assign(version=release, **moves)
    table.loc[release.isna(), [*moves]] = pd.NA  # it may be another system
    return _typed(table, "workloads")


def bases_of(inventory: Inventory, product: str, target: str) -> DataFrame:
    """Return the settings of each build on a system, and of each container that Compose made."""
    table = workloads_on(inventory, WORLD, target)
    is_on = surely(table["is_build"] & table["base_distro"].eq(product))
    release = table["base_os"].where(is_on).str.split().str[-1]
    version = release.fillna(entries.value_of(table["settings"], product))
    known = table.assign(version=version)[version.notna()]
    return on_bases(flags_of(known, product, target))


def on_bases(table: DataFrame) -> DataFrame:
    """Return the settings of builds, and whether each build reads the lists of its base alone."""
    brings = _each(reference.base_lists, table, "repository", "tag").astype(bool)
    # nobody knows what lists another image has
    brings |= ~table["repository"].str.startswith("library/")
    own = entries.reads_base_alone(table["package_sources"])
    return table.assign(reads_base_alone=own.mask(brings))


def _shipped(product: str, release: str) -> dict[str, Any]:
    """Return the kernel and the control groups that a release of a system brings."""
    if product == KERNEL:  # alone it leaves the control groups as they are
        return {"kernel": number_of(release), "cgroup": ""}
    kernel = reference.shipped(product, release, "default_kernel")
    cgroup = reference.shipped(product, release, "cgroup_default")
    return {"kernel": number_of(kernel), "cgroup": cgroup and cgroup[-1]}


def objects_of(inventory: Inventory, workloads: DataFrame) -> DataFrame:
    """Return the API objects in use, including those that declare workloads."""
    # A live cluster shows an object in the version it prefers, not as it was applied.
    declared = workloads[[*IDS, "version", "api_version"]].dropna(subset="api_version")
    # the declared version is the applied one
    parts = declared["api_version"].str.extract("(?P<api>.*)/(?P<kind>.*)")
    own = declared.assign(is_applied=True, **parts)
    objects = inventory["objects"]
    applied = objects["last_applied_api_version"]
    is_applied = surely(objects["source_ref"].str.contains(r"\.ya?ml$", regex=True))
    is_applied |= applied.notna()
    cluster, namespace = (
        objects[name].add("/").fillna("") for name in ("cluster", "namespace")
    )
    named = objects["name"].fillna(objects["object_id"])
    path = cluster + namespace + named
    others = objects[["service_id", "cluster", "kind"]].assign(
        object=objects["kind"] + " " + path,
        api=applied.fillna(objects["api_version"]),
        is_applied=is_applied.astype("boolean").where(is_applied),
    )
    alone = others.drop_duplicates(["service_id", "kind"], keep=False)
    own = own.merge(alone[["service_id", "kind", "object"]], how="left")
    own["object"] = own["object"].fillna(own["kind"])  # its workload is named
    known = ["version", "cluster_product"]
    served = workloads.dropna(subset="service_id")[[*IDS, *known]]
    others = others.merge(served, on="service_id", how="left")
    # an API server is at least as new as each kubelet of its cluster
    newest = workloads.sort_values("kubelet").groupby("cluster")[known].last()
    for name in known:
        of_cluster = others["cluster"].map(newest[name]).astype("str")
        others[name] = others[name].fillna(of_cluster)
    return _typed(pd.concat([own, others], ignore_index=True), "objects")


def flags_of(workloads: DataFrame, product: str, target: str) -> DataFrame:
    """Return the settings of the engine, or of the kubelet, with the columns of rules."""
    column = "kubelet_flags" if product == KUBERNETES else "daemon_flags"
    found = entries.flags_of(workloads, column, target)
    return _typed(found.assign(number=found["value"].map(number_of)), "flags")


def mounts_of(inventory: Inventory, workloads: DataFrame) -> DataFrame:
    """Return the mounts of workloads, with the columns of rules."""
    mounts = inventory["mounts"][["workload_id", "type", "driver", "destination"]]
    mounts = mounts.rename(columns={"type": "volume_type", "driver": "volume_driver"})
    kept = [
        "version",
        "cluster",
        "registry",
        "repository",
        "tag",
        "pinned",
    ]
    found = workloads[[*IDS, *kept]].merge(mounts, on="workload_id")
    driver = found["volume_driver"].fillna("")
    since = reference.lookup("csi_drivers", "volume", "since")
    program = reference.lookup("csi_drivers", "volume", "program")
    plugin = driver.where(driver.isin(since), found["volume_type"])
    found["volume_driver"] = driver
    found["csi_since"] = plugin.map(since).map(number_of)
    # a driver serves its own cluster only
    runs = workloads["cluster"].fillna("") + " " + workloads["program"]
    needed = found["cluster"].fillna("") + " " + plugin.map(program)
    found["has_csi"] = needed.isin(runs)
    return _typed(found, "mounts")


def packages_of(workloads: DataFrame) -> DataFrame:
    """Return the package sources of builds, with the columns of rules."""
    return _typed(entries.packages_of(workloads), "packages")


def is_node(inventory: Inventory) -> Series:
    """Return which engines are those of nodes, of whatever version."""
    running = _running(inventory)
    hosts = running.loc[running["platform"].eq(KUBERNETES), "host_id"]
    engines = inventory["engines"]
    return engines["kubelet_version"].notna() | engines["host_id"].isin(hosts)


@lru_cache(maxsize=2)  # the same for every product; a report has two snapshots
def _running(inventory: Inventory) -> DataFrame:
    table = inventory["workloads"]
    table = table[~table["state"].isin(ENDED)]
    table = _with_images(table, inventory["images"])
    table["settings"] = _with_needs(table, inventory["dependencies"])
    path = table["repository"].astype("string")
    platforms = inventory.by_service["platform"]
    # an image without a tag, or with a digest alone, counts as latest
    table = table.assign(
        platform=table["service_id"].map(platforms).astype("string"),
        tag=table["tag"].fillna("latest").where(path.notna()),
        has_image=path.notna(),
        is_operator=path.str.contains("operator$|controller$"),
        **path.str.extract(_PATH),
        is_short=~table["image_ref"].astype("string").str.match(_REGISTRY),
        registry_domain=table["registry"].str.extract(r"((?:[^.]+\.)?[^.]+)$")[0],
        tag_version=_each(_version_in, table, "tag").map(number_of),
        is_build=table["source_kind"].eq(BUILD),
        client_api=client_apis(table),
        pinned=surely(table["pinned"]),
        inner_ports=table["ports"].str.replace(r"\d+->|/\w+", "", regex=True),
        host_network=surely(table["host_network"]),
        is_schema_seen=table["schema"].notna(),
        **_base_facts(table["base"]),
        **_asked_settings(table["settings"]),
        **_data(inventory, table),
    )
    return table.assign(talks=_talks(table, inventory["dependencies"]))


def _with_images(table: DataFrame, images: DataFrame) -> DataFrame:
    """Add to workloads what the images frame holds of their images, and the base of each."""
    images = images.drop_duplicates(["registry", "repository", "digest"])
    table = table.assign(image_digest=_digests(table, images))
    names = {"digest": "image_digest", "base_name": "base"}
    known = images[["registry", "repository", *names]].rename(columns=names)
    known["schema"] = _schemas(images)
    known["image_from"] = _days(images["created_at"]).fillna(0)
    table = table.merge(known, on=["registry", "repository", "image_digest"], how="left")
    is_plain = table["tag"].isna() & table["image_digest"].isna()
    # a digest alone may be any tag
    named = table["tag"].mask(is_plain, "latest")
    # what declares no base but is a system itself is its own base
    own = table["repository"].astype("string") + ":" + named
    return table.assign(named=named, base=table["base"].fillna(own))


def _base_facts(bases: Series) -> dict[str, Any]:
    """Return the columns of rules about the systems that images are built on."""
    found = _each(reference.base_system, bases.to_frame(), bases.name)
    systems = [distro for distro, _ in found]
    return {
        "base_os": [f"{distro} {line}" if line else None for distro, line in found],
        "base_distro": systems,
        "base_version": [number_of(line) for _, line in found],
        "is_base_seen": [distro is not None for distro in systems],
    }


def _asked_settings(settings: Series) -> dict[str, Series]:
    """Return the settings that rules ask for by a column: empty where none was seen."""
    columns = reference.lookup("break_columns", "column", "setting")
    return {
        column: entries.value_of(settings, setting).fillna("")
        for column, setting in columns.items()
        if setting
    }


def _with_needs(table: DataFrame, calls: DataFrame) -> Series:
    """Return the settings of workloads, and the images that each needs as settings too."""
    product = _each(reference.product_of, table, "repository")
    version = _each(_version_in, table, "tag").fillna("")
    need = "need." + product + "=" + version
    image = table[["service_id"]].assign(need=need).drop_duplicates()
    certain = calls[~surely(calls["possible"])]
    served = certain.merge(image, left_on="dst_id", right_on="service_id")
    needs = served.groupby("src_id")["need"].agg(";".join)
    needed = table["service_id"].map(needs).astype("str")
    own = table["settings"]
    return own.str.cat(needed, sep=";").fillna(own).fillna(needed)


def _data(inventory: Inventory, table: DataFrame) -> dict[str, Series]:
    """Return whether workloads keep data in a mount, and the first and last day of their creation."""
    mounts = inventory["mounts"]
    is_passing = mounts["source_class"].isin(NO_DATA) | surely(mounts["read_only"])
    found = (~is_passing).groupby(mounts["workload_id"]).any()
    keeps = table["workload_id"].map(found).astype("boolean")
    created = _days(table["created_at"])
    return {
        "keeps_data": surely(keeps),
        "keeps_none": surely(~keeps),
        "created_from": created.fillna(0),
        "created_by": created.fillna(int(inventory.snapshot_at.strftime(_DAY))),
    }


def _days(times: Series) -> Series:
    """Return times as numbers of days, such as 20250925; NaN where a time is unknown."""
    return pd.to_numeric(times.dt.strftime(_DAY))


def _digests(table: DataFrame, images: DataFrame) -> Series:
    """Return the digest of each image; without one, by its tag if one known image has that tag."""
    place = ["registry", "repository", "tag"]
    tagged = images_by_tag(images).drop_duplicates(place, keep=False)
    # without any tag, pandas takes the column for numbers
    named = table[place].astype({"tag": "str"})
    found = named.merge(tagged[[*place, "digest"]], on=place, how="left")
    return table["image_digest"].fillna(found["digest"].set_axis(table.index))


def _schemas(images: DataFrame) -> Series:
    """Return the manifest schema of each image, by its media type if it is not stated."""
    is_first = images["media_type"].str.contains("distribution.manifest.v1+", regex=False)
    schema = images["schema"].astype("string")
    is_unstated = schema.isna() & surely(is_first)
    return schema.mask(is_unstated, "1")


def _version_in(tag: str | None) -> str | None:
    version = reference.tag_version(tag)
    return ".".join(map(str, version)) if version else None


def client_apis(workloads: DataFrame) -> Series:
    """Return the minor version of the engine API that each client requests; NaN if unknown."""
    # What was seen counts first, also that it cannot be told; else program and tag in
    # `engine_clients`.
    seen = workloads["client_api_version"].astype("string")
    digits = seen.str.extract(r"^(?:v?1\.)?(\d{1,3})$")[0]
    minor = pd.to_numeric(digits).astype(float)
    known = _each(reference.engine_api, workloads, "repository", "tag")
    return minor.where(seen.notna(), known.astype(float))


def _asking_cluster(workloads: DataFrame, target: str) -> DataFrame:
    """Add the removed API that each client requests, and the product of each cluster."""
    asked = partial(reference.gone_api, target=target)
    found = _each(asked, workloads, "repository", "tag", "version")
    columns = ["asks_gone_api", "gone_api", "gone_in"]
    gone = DataFrame(found.tolist(), workloads.index, columns)
    place = ["kubelet_text", "provider", "provider_version"]
    product = _each(reference.cluster_product, workloads, *place)
    is_joined = entries.has_setting(workloads["kubelet_flags"], "containerRuntime=remote")
    keeps = product.map(reference.platform_kind).eq("distribution") | is_joined
    return workloads.join(gone).assign(cluster_product=product, keeps_docker=keeps)


def _talks(workloads: DataFrame, calls: DataFrame) -> Series:
    # A workload without the socket does not. If mounts are unknown, it may if it is a
    # program that is made for that: NA.
    is_client = _each(reference.is_engine_client, workloads, "repository").astype(bool)
    socket = workloads["docker_sock_mounted"].astype("boolean")
    # What asks through a program such as docker-socket-proxy is answered by the same engine.
    may_ask = socket.fillna(value=True)
    is_proxy = surely(workloads["program"].str.endswith("socket-proxy")) & may_ask
    served = calls["dst_id"].isin(workloads.loc[is_proxy, "service_id"])
    callers = calls.loc[served & ~surely(calls["possible"]), "src_id"]
    is_behind = is_client & workloads["client_api"].notna()
    is_behind &= workloads["service_id"].isin(callers)
    return socket.mask(socket.isna() & ~is_client, other=False) | is_behind


def _engines(inventory: Inventory, product: str, target: str) -> DataFrame:
    """Return the engine of each host for a product, with its version."""
    table = inventory["engines"]
    table = table.assign(
        engine_text=table["version"],
        kubelet_text=table["kubelet_version"],
        storage_driver=_each(_driver_name, table, "storage_driver"),
    )
    if product == KUBERNETES:
        table = table[is_node(inventory)].assign(version=table["kubelet_version"])
    elif product != WORLD:
        table = table[table["runtime"].eq(product)]
    table = table.drop_duplicates("host_id")
    docker = target if product == reference.ENGINE else None
    driver_runs = partial(reference.driver_runs, engine_version=docker)
    asked = [name for name in columns_of("workloads") if name in table]
    kept = table[["host_id", *asked, *_KEPT]]
    return kept.astype({"runtime": "string"}).assign(
        driver_runs=_each(driver_runs, table, "storage_driver").astype("boolean"),
        engine=_each(number_of, table, "engine_text"),
        kubelet=_each(number_of, table, "kubelet_text"),
        runc=_each(number_of, table, "runc_version"),
        docker=docker,
    )


def _driver_name(text: str | None) -> str | None:
    """Return a storage driver by its name in the facts, without a remark such as (direct-lvm)."""
    words = (text or "").lower().replace("device mapper", "devicemapper").split()
    return words[0] if words else None


@lru_cache(maxsize=2)
def _hosts(inventory: Inventory) -> DataFrame:
    table = inventory["hosts"]
    systems = _each(_system, table, "os_name", "os_version")
    kept = [
        "host_id",
        "os_family",
        "security_modules",
        "instance_type",
        "provider",
        "provider_version",
    ]
    return table[kept].assign(
        os=[f"{distro} {line}" if line else None for distro, line in systems],
        distro=[distro for distro, _ in systems],
        kernel_text=table["kernel"],
        kernel=_each(number_of, table, "kernel"),
        kernel_build=table["kernel"].astype("string").str.extract(r"-([^-]+)$")[0],
        cgroup=table["cgroup_version"].astype("string").str.extract("([12])")[0],
        is_cgroup_seen=table["cgroup_version"].notna(),
        libseccomp=_each(number_of, table, "libseccomp_version"),
        arch=_each(reference.arch_of, table, "arch"),
        is_provided=table["managed_by"].eq("provider"),
    )


def _system(name: str | None, version: str | None) -> tuple[str | None, str | None]:
    """Return distribution and line of a host; a name may hold both, such as CentOS Linux 7."""
    distro, rest = reference.system_of(name)
    return distro, reference.line_of(distro, version or rest or None)


def _without_engine(inventory: Inventory, table: DataFrame) -> Series:
    """Return which workloads run on docker on hosts whose engine is unknown."""
    has_engine = table["host_id"].isin(inventory["engines"]["host_id"])
    is_docker = on_docker(table["platform"]) | table["docker_sock_mounted"].eq(True)
    is_docker |= table["source_kind"].eq("compose-service")  # written for docker
    beside = table.loc[surely(is_docker), "host_id"].dropna()
    return surely((is_docker | table["host_id"].isin(beside)) & ~has_engine)


def _typed(table: DataFrame, name: str) -> DataFrame:
    """Return a table with every column of rules, in the types of the rule language."""
    columns = columns_of(name)
    missing = {column: pd.NA for column in columns if column not in table}
    table = table.assign(**missing).reset_index(drop=True)
    if "kernel_text" in table:
        cells = ["kernel_text", "docker"]
        table["kernel_runs"] = _each(reference.kernel_runs, table, *cells)
    return table.astype({column: DTYPES[kind] for column, kind in columns.items()})


def _each(function: Callable[..., Any], table: DataFrame, *columns: str) -> Series:
    """Return the result of a function for the texts of each row; equal rows are computed once."""
    known = cache(function)
    texts = [map(text_of, table[column].tolist()) for column in columns]
    found = [*map(known, *texts)]
    return Series(found, table.index, dtype=object)
