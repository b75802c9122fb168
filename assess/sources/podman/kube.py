"""Quadlets of manifests: Kubernetes objects that ``podman kube play`` runs."""

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from assess.sources.base import Batch, Row
from assess.sources.kubernetes.source import KubernetesSource
from assess.sources.listing import Found
from assess.sources.unit import FRAMES
from assess.sources.values import table, text

_FRAMES = [name for name in FRAMES if name not in {"hosts", "engines", "activities"}]


def to_rows(
    documents: Iterable[Any],
    seen: Collection[str],
    host_id: str | None,
    place: str,
    *,
    is_on_host: bool,
) -> Batch:
    """Return the rows of manifests, but for pods of which a container was seen.

    ``is_on_host``: the quadlet gives them the network of the host.
    """
    lists: Found = {}
    source = KubernetesSource()
    for document in documents:
        if _is_seen(document, seen):
            continue
        for kind, items in source.sort(document):
            lists.setdefault(kind, []).extend(map(_with_one_replica, items))

    def settled(frame: str, row: Row) -> Row:
        if frame == "services":
            return row | {"platform": "docker"}
        if frame != "workloads":
            return row
        network = {"host_network": True} if is_on_host else {}
        return row | {"host_id": host_id, "cluster": None} | network

    found = source.to_batch(lists, place).map(settled)
    batch = Batch()
    for frame in _FRAMES:
        batch.add(frame, *found.rows[frame])
    batch.coverage.extend(found.coverage)
    return batch


def _with_one_replica(item: Row) -> Row:
    """Return an object with one replica: Podman makes no more of any."""
    spec = table(item, "spec")
    return item | {"spec": spec | {"replicas": 1}} if "replicas" in spec else item


def _is_seen(document: Any, seen: Collection[str]) -> bool:
    """Return whether a running container has the name of the pod of an object."""
    name = text(document, "metadata", "name")
    pods = (
        (f"{name}-pod-", f"{name}-")
        if text(document, "kind") == "Pod"
        else (f"{name}-pod-",)
    )
    return bool(name) and any(other.startswith(pods) for other in seen)


def manifests_of(options: dict[str, list[str]]) -> Iterator[str]:
    """List the files that a quadlet of manifests names."""
    yield from options.get("Yaml", [])
    yield from options.get("ConfigMap", [])
