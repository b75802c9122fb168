"""Kubernetes: the lists of one cluster, from its API or from dumps of ``kubectl get -o json``."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

from assess.sources.base import Batch, Row
from assess.sources.dumps import DumpError
from assess.sources.http import Web
from assess.sources.kubernetes.rows import to_batch
from assess.sources.listing import Found, Listing, ListSource
from assess.sources.unit import FRAMES
from assess.sources.values import dicts, dig, text

PAGE = 500
_APPS, _NETWORKING = "apis/apps/v1/", "networking.k8s.io"


def _list(kind: str, *places: str, is_essential: bool = False) -> Listing:
    return Listing(
        kind, tuple(f"{place.rstrip('/')}/{kind}" for place in places), is_essential
    )


RESOURCES = (
    _list("nodes", "api/v1", is_essential=True),
    _list("pods", "api/v1", is_essential=True),
    _list("deployments", _APPS),
    _list("statefulsets", _APPS),
    _list("daemonsets", _APPS),
    _list("replicasets", _APPS),
    _list("jobs", "apis/batch/v1"),
    _list("cronjobs", "apis/batch/v1", "apis/batch/v1beta1"),
    _list("services", "api/v1"),
    _list("ingresses", f"apis/{_NETWORKING}/v1", f"apis/{_NETWORKING}/v1beta1"),
    _list("persistentvolumeclaims", "api/v1"),
    _list("poddisruptionbudgets", "apis/policy/v1", "apis/policy/v1beta1"),
    _list(
        "horizontalpodautoscalers",
        *(f"apis/autoscaling/{version}" for version in ("v2", "v2beta2", "v1")),
    ),
)
_KINDS = {
    "Node": "nodes",
    "Pod": "pods",
    "Deployment": "deployments",
    "StatefulSet": "statefulsets",
    "DaemonSet": "daemonsets",
    "ReplicaSet": "replicasets",
    "Job": "jobs",
    "CronJob": "cronjobs",
    "Service": "services",
    "Ingress": "ingresses",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers",
}


class KubernetesSource(ListSource):
    """One Kubernetes cluster per ``[[source]]``."""

    type = "kubernetes"
    fills = FRAMES
    needs = (
        "list on nodes, pods, workload controllers, services, ingresses, volume claims, disruption "
        "budgets and autoscalers of all namespaces (`assess sources kubernetes --policy`); no "
        "secrets, configmaps, logs or exec"
    )
    dump = (
        "kubectl get deploy,sts,ds,rs,job,cronjob,po,no,svc,ing,pvc,pdb,hpa -A -o json > "
        "kubernetes.json"
    )
    lists = RESOURCES

    def to_batch(self, found: Found, cluster: str) -> Batch:
        """Turn the lists of the cluster into rows."""
        return to_batch(found, cluster)

    def sort(self, document: Any) -> Iterator[tuple[str, list[Any]]]:
        """Sort the objects of a dump by kind: it is a list of one kind, of many, or one object."""
        kind, items = text(dig(document, "kind")), dig(document, "items")
        own = _KINDS.get(kind.removesuffix("List"))
        if own:
            yield own, items if isinstance(items, list) else [document]
        elif kind == "List" and items == []:  # of a cluster that has none of it
            yield from ((listed, []) for listed in _KINDS.values())
        elif kind == "List":
            for item in dicts(items):
                if listed := _KINDS.get(text(item.get("kind"))):
                    yield listed, [item]

    def key(self, kind: str, item: Row) -> Hashable:
        """Identify an object by its kind, namespace and name."""
        names = (text(dig(item, "metadata", part)) for part in ("namespace", "name"))
        return kind, *names

    def get_pages(
        self, web: Web, path: str, row: Row, *, is_probe: bool
    ) -> Iterator[list[Any]]:
        """Ask for a list, page by page; the first one has the number of all entries."""
        seen, count = {""}, 0
        params = {"limit": "1" if is_probe else str(PAGE)}
        while True:
            answer = web.json(path, params=params)
            items = dig(answer, "items")
            if not isinstance(items, list) and dig(answer, "kind") in (None, "Status"):
                raise DumpError("this is no list of Kubernetes: check the endpoint")
            page = items if isinstance(items, list) else []  # null where a list is empty
            count += len(page)
            rest = dig(answer, "metadata", "remainingItemCount")
            if isinstance(rest, int) and not is_probe:
                row["expected"] = count + rest
            yield page
            following = text(dig(answer, "metadata", "continue"))
            if is_probe or following in seen:
                return
            seen.add(following)
            params["continue"] = following
