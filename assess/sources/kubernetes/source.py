"""Kubernetes: the lists of one cluster, from its API or from dumps of ``kubectl get -o json``."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

from assess.sources.base import Row
from assess.sources.dumps import DumpError
from assess.sources.http import Web
from assess.sources.kubernetes.controllers import place
from assess.sources.kubernetes.rows import to_batch
from assess.sources.listing import Listing, ListSource
from assess.sources.unit import FRAMES
from assess.sources.values import dicts, dig, text

PAGE = 500


_LISTS = {  # the paths of each list, by the kind of its entries
    "Node": ("api/v1/nodes",),
    "Pod": ("api/v1/pods",),
    "Deployment": ("apis/apps/v1/deployments",),
    "StatefulSet": ("apis/apps/v1/statefulsets",),
    "DaemonSet": ("apis/apps/v1/daemonsets",),
    "ReplicaSet": ("apis/apps/v1/replicasets",),
    "Job": ("apis/batch/v1/jobs",),
    "CronJob": ("apis/batch/v1/cronjobs", "apis/batch/v1beta1/cronjobs"),
    "Service": ("api/v1/services",),
    "Ingress": (
        "apis/networking.k8s.io/v1/ingresses",
        "apis/networking.k8s.io/v1beta1/ingresses",
    ),
    "PersistentVolumeClaim": ("api/v1/persistentvolumeclaims",),
    "PodDisruptionBudget": (
        "apis/policy/v1/poddisruptionbudgets",
        "apis/policy/v1beta1/poddisruptionbudgets",
    ),
    "HorizontalPodAutoscaler": (
        "apis/autoscaling/v2/horizontalpodautoscalers",
        "apis/autoscaling/v2beta2/horizontalpodautoscalers",
        "apis/autoscaling/v1/horizontalpodautoscalers",
    ),
}
_NAMES = {kind: paths[0].rpartition("/")[2] for kind, paths in _LISTS.items()}
RESOURCES = tuple(
    Listing(_NAMES[kind], paths, is_essential=kind in ("Node", "Pod"))
    for kind, paths in _LISTS.items()
)
_OBJECTS = (  # lists of them become rows
    "items",
    "ownerReferences",
    "rules",
    "paths",
    "conditions",
    "containers",
    "env",
    "ports",
    "volumes",
    "volumeMounts",
    "containerStatuses",
)
_FORMS = dict.fromkeys(_OBJECTS, "")


class KubernetesSource(ListSource):
    """One Kubernetes cluster per ``[[source]]``."""

    type = "kubernetes"
    fills = FRAMES
    needs = (
        "list on nodes, pods, workload controllers, services, ingresses, volume claims, disruption "
        "budgets and autoscalers of all namespaces (`assess sources kubernetes --policy`); no "
        "secrets, configmaps, logs or exec"
    )
    dump = "as `assess sources kubernetes --script` writes it"
    lists = RESOURCES
    forms = _FORMS
    to_batch = staticmethod(to_batch)

    def sort(self, document: Any) -> Iterator[tuple[str, list[Any]]]:
        """Sort the objects of a dump by kind: it is a list of one kind, of many, or one object."""
        kind = text(document, "kind")
        items = dig(document, "items")
        if listed := _NAMES.get(kind.removesuffix("List")):
            yield listed, items if isinstance(items, list) else [document]
        elif kind == "List" and items == []:  # of a cluster that has none of it
            yield from ((listed, []) for listed in _NAMES.values())
        elif kind == "List":
            for item in dicts(items):
                if listed := _NAMES.get(text(item, "kind")):
                    yield listed, [item]

    def key(self, kind: str, item: Row) -> Hashable:
        """Identify an object by its kind, namespace and name."""
        return kind, *place(item)

    def get_pages(
        self, web: Web, path: str, row: Row, *, is_probe: bool
    ) -> Iterator[list[Any]]:
        """Ask for a list, page by page; the first one has the number of all entries."""
        seen = {""}
        count = 0
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
            following = text(answer, "metadata", "continue")
            # A server that repeats its token would be asked for ever.
            if is_probe or following in seen:
                return
            seen.add(following)
            params["continue"] = following
