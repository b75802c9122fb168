"""Facts from several frames: runtimes of hosts, lasting storage, architectures, versions that differ."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from itertools import combinations
from typing import Any, NamedTuple

from pandas import DataFrame, Index, Series

from assess import reference
from assess.frames import objects, surely
from assess.inventory import ENDED, LASTING, Inventory
from assess.score.evidence import View

LOOKED = ("ok", "declared")  # the mounts of such a workload are all on record
SAME = ("same", "rebuild", "swap")  # a swap is another product of the same replica
NO_RUNTIME = "none"
BACKEND = "containerd"  # also what docker itself runs containers with
_OF_ENGINE = ["runtime", "version", "kubelet_version"]
_OF_HOST = ["provider", "provider_version", "managed_by", "os_name", "os_version"]
Nodes = dict[str, list[reference.Node]]  # the runtimes of each host


class _Image(NamedTuple):
    repository: str | None
    tag: str | None
    image_digest: str | None

    @property
    def is_named(self) -> bool:
        """Whether its version can be compared with another."""
        has_version = self.tag is not None or self.image_digest is not None
        return has_version and self.repository is not None

    @property
    def is_held(self) -> bool:
        """Whether every pull returns the same image."""
        if self.image_digest is not None:
            return True
        return reference.moves(self.tag, self.repository) is False


def _nullable(answers: Iterable[bool | None], index: Index) -> Series:
    return Series(list(answers), index=index, dtype="boolean")


def any_of(answers: Collection[bool | None]) -> bool | None:
    """Return whether one answer is yes, in Kleene's logic."""
    if True in answers:
        return True
    return None if None in answers else False


def keeps_on_volume(
    workloads: DataFrame,
    mounts: DataFrame,
    settings: frozenset[str],
    *,
    is_listed: bool,
) -> Series:
    """Return by workload whether it writes to what outlives it, ``settings`` aside; NA if not seen."""
    found: dict[str, set[bool | None]] = defaultdict(set)
    columns = ["workload_id", "source_class", "read_only", "destination"]
    for workload, source, read_only, path in objects(mounts[columns]):
        is_settings = not settings.isdisjoint(str(path).strip("/").split("/"))
        found[workload].add(_outlives(source, read_only) and not is_settings)
    answers = []
    for workload, status in objects(workloads[["workload_id", "inspect_status"]]):
        is_seen = workload in found or (is_listed and status in LOOKED)
        answers.append(any_of(found[workload]) if is_seen else None)
    return _nullable(answers, workloads.index)


def _outlives(source: str | None, read_only: bool | None) -> bool | None:
    """Return whether data in a mount outlives the container."""
    if read_only or (source is not None and source not in LASTING):
        return False
    if source is None or read_only is None:
        return None
    return True


def runs_on_arch(
    workloads: DataFrame,
    images: DataFrame,
    hosts: DataFrame,
    target: str,
) -> Series:
    """Return by workload whether its image runs on the processor of the target, else of its host."""
    offered: dict[tuple[str, ...], list[str]] = defaultdict(list)
    columns = ["registry", "repository", "digest", "arch"]
    for *image, arch in images[columns].dropna().to_numpy():
        offered[tuple(image)].append(arch)
    here = dict(hosts[["host_id", "arch"]].dropna().to_numpy())
    columns = ["registry", "repository", "image_digest", "host_id"]
    answers = [
        reference.arch_runs(";".join(offered[tuple(image)]), target or here.get(host))
        for *image, host in objects(workloads[columns])
    ]
    return _nullable(answers, workloads.index)


def has_strong_capability(workloads: DataFrame, harmless: Collection[str]) -> Series:
    """Return by workload whether it adds a capability that is not harmless; NA if unknown."""
    answers: list[bool | None] = []
    for count, names in objects(workloads[["caps_added_n", "caps_added"]]):
        if names is not None:
            added = set(names.split(";")) - {"none"}
            answers.append(not added <= set(harmless))
        else:
            answers.append(False if count == 0 else None)
    return _nullable(answers, workloads.index)


def one_version(inventory: Inventory, workloads: DataFrame) -> Series:
    """Return by workload whether its service has the same version in all places."""
    # Replicas that are declared, and those of every source, count; those that have ended
    # do not. Where each may have ended, nobody knows.
    table = inventory["workloads"]
    live = table[~table["state"].isin(ENDED)]
    distinct = live[["service_id", *_Image._fields]].drop_duplicates()
    images: dict[str, list[_Image]] = defaultdict(list)
    for service, *image in objects(distinct):
        images[service].append(_Image(*image))
    answers = {service: _is_one_version(own) for service, own in images.items()}
    service = workloads["service_id"]
    some_live = service.isin(live.dropna(subset="state")["service_id"])
    return service.map(answers).astype("boolean").where(some_live)


def _is_one_version(images: list[_Image]) -> bool | None:
    known = [image for image in images if image.is_named]
    answers = {_is_same(*pair) for pair in combinations(known, 2)}
    if False in answers:
        return False
    if None in answers or len(known) < len(images):
        return None
    return True


def _is_same(one: _Image, other: _Image) -> bool | None:
    change = reference.image_change(one, other)
    if change in SAME:
        return True
    if change == "unknown":
        return None
    # a moving tag of another major version is another one, whatever it leads to
    back = reference.image_change(other, one)
    if "major" in (change, back):
        return False
    return False if one.is_held and other.is_held else None


def undeclared(calls: DataFrame, live: View, words: dict[str, Any]) -> Series:
    """Count by service the observed calls that it does not declare."""
    # NA if it was not watched, or if none of its declarations was read.
    seen: dict[str, set[str]] = defaultdict(set)
    declared: dict[str, set[str]] = defaultdict(set)
    columns = ["service_id", "dst_id", "kind", "evidence", "address_basis"]
    for service, callee, kind, evidence, address in objects(calls[columns]):
        basis = address or evidence
        if basis in words["declaring"]:
            declared[service].add(callee)
        elif basis in words["observing"] and kind not in words["soft_kinds"]:
            seen[service].add(callee)
    manifests = surely(live.table["inspect_status"].eq("declared"))
    read = {*live.table.loc[manifests, "service_id"], *declared}
    counts = {
        service: float(len(callees - declared[service]))
        for service, callees in seen.items()
        if service in read
    }
    return Series(counts, dtype="Float64")


def nodes(inventory: Inventory) -> Nodes:
    """Return the runtimes of each host as nodes; a host managed by its provider has at least one."""
    engines = inventory["engines"]
    running = _running(engines).sort_values("runtime")
    hosts = inventory["hosts"][["host_id", *_OF_HOST]]
    facts_of = {host: facts for host, *facts in objects(hosts)}
    found: Nodes = {}
    # if a host has several runtimes, any of them may run its containers
    for host, *engine in objects(running[["host_id", *_OF_ENGINE]]):
        # a snapshot may hold engines and no hosts
        node = reference.Node(*engine, *facts_of.get(host, ()))
        found.setdefault(host, []).append(node)
    for host in facts_of.keys() - set(engines["host_id"]):
        node = reference.Node(None, None, None, *facts_of[host])
        if reference.is_managed(node):
            found[host] = [node]
    return dict(sorted(found.items()))


def _running(engines: DataFrame) -> DataFrame:
    """Leave out runtimes without containers of their own: none, idle, the backend of docker."""
    engines = engines[engines["runtime"].ne(NO_RUNTIME)]
    on_docker = engines.loc[engines["runtime"].eq(reference.ENGINE), "host_id"]
    is_backend = engines["runtime"].eq(BACKEND) & engines["host_id"].isin(on_docker)
    # the containerd of a kubelet runs containers beside docker
    engines = engines[~is_backend | engines["kubelet_version"].notna()]
    is_idle = surely(engines["containers_total_n"].eq(0))
    # where all are idle, any of them may run the next container
    has_busy = engines["host_id"].isin(engines.loc[~is_idle, "host_id"])
    return engines[~is_idle | ~has_busy]
