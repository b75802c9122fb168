"""What is in use: every workload beside its image, its engine and its host, as rules ask for it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, lru_cache
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
NEGOTIATES = 999.0  # the API of a client that takes whatever the engine offers
_GONE = ("exited", "dead", "removing", "terminated", "failed", "stopped")
# columns that rules may ask for, by table
COLUMNS = {
    "workloads": {
        "registry": "text",
        "repository": "text",
        "registry_domain": "text",
        "image_namespace": "text",
        "program": "text",
        "tag": "text",
        "tag_version": "number",
        "schema": "text",
        "base": "text",
        "base_os": "text",
        "base_distro": "text",
        "base_version": "number",
        "restart_policy": "text",
        "log_driver": "text",
        "docker_sock_mounted": "boolean",
        "privileged": "boolean",
        "talks": "boolean",
        "client_api": "number",
        "is_allowed": "boolean",
        "is_confined": "boolean",
        "is_build": "boolean",
        "runtime": "text",
        "engine": "number",
        "kubelet": "number",
        "tolerates_cgroup_v1": "boolean",
        "network_backend": "text",
        "storage_driver": "text",
        "backing_fs": "text",
        "d_type": "boolean",
        "live_restore": "boolean",
        "cgroup_driver": "text",
        "rootless": "boolean",
        "kernel_runs": "boolean",
        "driver_runs": "boolean",
        "os": "text",
        "distro": "text",
        "os_family": "text",
        "kernel": "number",
        "cgroup": "text",
        "libseccomp": "number",
        "arch": "text",
    },
    "objects": {
        "api": "text",
        "kind": "text",
        "is_applied": "boolean",
        "platform": "text",
    },
    "packages": builds.COLUMNS,
    "flags": flags.COLUMNS,
    "mounts": {"volume_type": "text", "volume_driver": "text"},
}
IDS = ["service_id", "workload_id", "host_id"]


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

    ``service_id, workload_id, host_id, version`` (NA: unknown) and the columns of `COLUMNS`. A host
    whose engine no workload is known to use has a row of its own.
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


@lru_cache(maxsize=1)  # the same for every product
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
        base_os=bases,
        base_distro=[base.split(" ")[0] if base else None for base in bases],
        base_version=[
            number_of(base.split(" ")[1]) if base else np.nan for base in bases
        ],
        client_api=client_apis(table),
    )
    return table.assign(talks=_talks(table))


def _versions_of(tags: pd.Series) -> list[float]:
    versions = [reference.tag_version(tag) for tag in _texts(tags)]
    return [number_of(".".join(map(str, v))) if v else np.nan for v in versions]


def _bases(workloads: pd.DataFrame) -> list[str | None]:
    """Return the system that each image is built on, as far as its base names one."""
    image = workloads["repository"].astype("string") + ":" + workloads["tag"]
    # what declares no base but is a system itself is its own base
    return [_base(text) for text in _texts(workloads["base"].fillna(image))]


@lru_cache(maxsize=4096)
def _base(image: str | None) -> str | None:
    """Return the system of an image: of its name, or of a code name in its tag (node:14-buster)."""
    if image is None:
        return None
    name, _, tag = image.split("@")[0].split("/")[-1].replace(" ", ":").partition(":")
    words = tag.lower().removeprefix(name).split("-")
    if words[0].startswith("stream"):  # as CentOS Stream tags its images
        name = f"{name} stream"
        words[0] = words[0].removeprefix("stream")
    distro, line = _system(name, " ".join(words))
    if distro is None:
        distro, line = _named_system(words)
    return f"{distro} {line}" if line else None


def _named_system(words: list[str]) -> tuple[str | None, str | None]:
    for word in words:
        release = word.removeprefix("alpine")
        if release != word and reference.parse_version(release):
            return "alpine-linux", reference.line_of("alpine-linux", release)
    for distro in builds.DISTROS:
        lines = [reference.line_of(distro, w) for w in words if w.isalpha()]
        named = next((line for line in lines if line), None)
        if named:
            return distro, named
    return None, None


def client_apis(workloads: pd.DataFrame) -> pd.Series:
    """Return the minor number of the engine API that each client speaks; NaN where unknown.

    What the engine saw counts first, else the program and its tag in `engine_clients`.
    """
    seen = (
        workloads["client_api_version"].astype("string").str.extract(r"(?:1\.)?(\d+)$")[0]
    )
    seen = pd.to_numeric(seen, errors="coerce").astype(float)
    pairs = list(
        zip(_texts(workloads["repository"]), _texts(workloads["tag"]), strict=True)
    )
    known = {pair: _client_api(*pair) for pair in set(pairs)}
    return seen.fillna(
        pd.Series([known[pair] for pair in pairs], workloads.index, dtype=float)
    )


def _client_api(repository: str | None, tag: str | None) -> float:
    """Return the API of a program at a tag: what all its versions that the tag may mean agree on."""
    version = reference.tag_version(tag)
    found = {row["api"] for row in _client_rows(repository) if _may_be(version, row)}
    api = found.pop() if len(found) == 1 else "unknown"
    named = {"negotiates": NEGOTIATES, "unknown": np.nan}
    return named[api] if api in named else float(api.partition(".")[2])


def _client_rows(repository: str | None) -> list[dict[str, str]]:
    """Return what is known of a program; a fork that is listed with its namespace comes first."""
    parts = repository.split("/") if repository else []
    clients = _clients()
    return clients.get("/".join(parts[-2:])) or clients.get("".join(parts[-1:])) or []


@cache
def _clients() -> dict[str, list[dict[str, str]]]:
    clients: dict[str, list[dict[str, str]]] = {}
    for row in reference.rows("engine_clients"):
        clients.setdefault(row["program"], []).append(row)
    return clients


def _may_be(version: tuple[int, ...] | None, row: dict[str, str]) -> bool:
    """Return whether a tag may name a release of a row; the tag 3.6 names every 3.6.x."""
    if version is None:
        return True
    low = reference.numbers_of(row["from"])
    high = reference.parse_version(row["below"])
    after = (*version[:-1], version[-1] + 1)
    starts_before_end = high is None or _padded(version) < _padded(high)
    return starts_before_end and _padded(low) < _padded(after)


def _padded(version: tuple[int, ...]) -> tuple[int, ...]:
    return (*version, 0, 0, 0, 0)[:4]


def _talks(workloads: pd.DataFrame) -> pd.Series:
    """Return whether a workload talks to the engine.

    One without the socket does not. Where nobody looked at its mounts, it may if it is a program that
    is made for that.
    """
    is_client = pd.Series(
        [bool(_client_rows(path)) for path in _texts(workloads["repository"])],
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
    columns = [
        "host_id",
        "runtime",
        "version",
        "engine_text",
        "kubelet_text",
        "storage_driver",
        "backing_fs",
        "d_type",
        "live_restore",
        "cgroup_driver",
        "rootless",
        "logging_driver",
        "seccomp",
        "daemon_flags",
        "kubelet_flags",
        "network_backend",
    ]
    kept = table[columns].astype({"runtime": "string"})
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
            "arch": table["arch"],
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
    columns = COLUMNS[name]
    missing = [column for column in columns if column not in table]
    table = table.assign(**dict.fromkeys(missing, pd.NA)).reset_index(drop=True)
    if "kernel_text" in table:
        table["kernel_runs"] = _kernel_runs(table)
    return table.astype({column: DTYPES[kind] for column, kind in columns.items()})


def _kernel_runs(table: pd.DataFrame) -> pd.Series:
    pairs = list(zip(_texts(table["kernel_text"]), _texts(table["docker"]), strict=True))
    known = {
        pair: reference.kernel_runs(*pair) if pair[1] else None for pair in set(pairs)
    }
    return pd.Series([known[pair] for pair in pairs], table.index, dtype="boolean")


def _texts(cells: pd.Series) -> Iterable[str | None]:
    return [cell if isinstance(cell, str) else None for cell in cells]
