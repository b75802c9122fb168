"""Controllers: what owns a pod in the end, and the names that it has for its service."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from assess.sources.base import Name, Row
from assess.sources.listing import Found
from assess.sources.values import dicts, dig, table, text

JOBS = ("job", "cronjob")
_KINDS = {  # lists of controllers that nothing else owns, by the kind that their entries are of
    "deployments": "deployment",
    "statefulsets": "statefulset",
    "daemonsets": "daemonset",
    "replicasets": "replicaset",
    "cronjobs": "cronjob",
    "jobs": "job",
}
_APP = "app.kubernetes.io/"
_RUN = re.compile(r"-\d{8,}$")  # of the jobs of a CronJob
_ROLES = (_APP + "component", "component", "tier", "role")

Key = tuple[str, str, str]  # kind, namespace, name


@dataclass(frozen=True, eq=False)
class Selected:
    """Services of one selector: they select the same pods."""

    namespace: str
    names: tuple[str, ...]
    # Whether customers reach one of them, by a load balancer or an ingress.
    is_public: bool


@dataclass(eq=False)
class Controller:
    """A controller of pods, or a pod without one."""

    kind: str
    namespace: str
    name: str
    spec: Row  # of the controller itself; empty where only its pods are known
    pod: Row  # spec of its pods
    labels: dict[str, str]
    pod_labels: dict[str, str]
    annotations: dict[str, str]
    names: tuple[Name, ...] = ()
    selected: list[Selected] = field(default_factory=list)  # by these Services
    # Specs of the disruption budgets of its pods.
    budgets: list[Row] = field(default_factory=list)

    @property
    def signature(self) -> tuple[str, str, bool]:
        """Role, release, and whether it is a job: tells apart controllers that share a label."""
        role = next((self.labels[r] for r in _ROLES if self.labels.get(r)), "")
        return role, self.labels.get(_APP + "instance", ""), self.kind in JOBS

    @property
    def candidates(self) -> list[Name]:
        """Names for its service, best first; the last is its own."""
        labels, role = self.labels, self.signature[0]
        app, release = labels.get(_APP + "name"), labels.get(_APP + "instance")
        candidates: list[tuple[Any, str, float]] = [
            (labels.get("assess.service"), "label", 1.0),
            (app, "kubernetes-name", 0.95),
            (f"{app}-{role}" if app and role else None, "kubernetes-name", 0.95),
            (release, "kubernetes-name", 0.95),
            (labels.get("tags.datadoghq.com/service"), "datadog-label", 0.8),
            *(
                (labels.get(name), "kubernetes-app", 0.8)
                for name in ("k8s-app", "app", "run")
            ),
            (self.name, "kubernetes-controller", 0.75),
        ]
        return [
            Name(name, rule, trust, "" if rule == "label" else self.namespace)
            for name, rule, trust in candidates
            if name
        ]


class Owners:
    """All controllers, and the way from a pod to its own."""

    def __init__(self, found: Found) -> None:
        self.controllers: dict[Key, Controller] = {}
        self._above: dict[Key, Key] = {}
        for listed, kind in _KINDS.items():
            for item in found.get(listed, ()):
                key = _key(kind, item)
                if not key[2]:
                    continue
                if owner := owner_of(item):
                    self._above[key] = owner
                else:
                    self.controllers[key] = _controller(key, item)
        named = (pod for pod in found.get("pods", ()) if _key("pod", pod)[2])
        self.pods = [(pod, self._of(pod)) for pod in named]
        _name_all(self.controllers.values())

    def _of(self, pod: Row) -> Controller:
        """Find the controller of a pod; where no list has it, make it from the pod."""
        meta = table(pod.get("metadata"))
        key = self._root(owner_of(pod) or _key("pod", pod), _strings(meta.get("labels")))
        # A mirror pod of a node, which is named after both; or a bare pod.
        if key[0] in ("node", "pod"):
            node = text(dig(pod, "spec", "nodeName"))
            key = ("pod", key[1], text(meta.get("name")).removesuffix(f"-{node}"))
        if key not in self.controllers:
            self.controllers[key] = _controller(
                key, {"metadata": meta, "pod": pod.get("spec")}
            )
        return self.controllers[key]

    def _root(self, key: Key, labels: dict[str, str]) -> Key:
        """Follow owners upwards, by what is listed, else by how names are made."""
        kind, namespace, name = key
        for _ in range(len(_KINDS)):
            if key not in self._above:
                break
            key = self._above[key]
        if key in self.controllers or key != (kind, namespace, name):
            return key
        hashed = f"-{labels.get('pod-template-hash')}"
        if kind == "replicaset" and name.endswith(hashed):
            return "deployment", namespace, name.removesuffix(hashed)
        if kind == "job" and _RUN.search(name):
            return "cronjob", namespace, _RUN.sub("", name)
        return key


def owner_of(item: Row) -> Key | None:
    """Return the key of the controller that owns an object."""
    for owner in dicts(dig(item, "metadata", "ownerReferences")):
        if owner.get("controller") is True and text(owner.get("name")):
            return (
                text(owner.get("kind")).lower(),
                text(dig(item, "metadata", "namespace")),
                text(owner.get("name")),
            )
    return None


def _key(kind: str, item: Row) -> Key:
    meta = table(item.get("metadata"))
    return kind, text(meta.get("namespace")), text(meta.get("name"))


def _controller(key: Key, item: Row) -> Controller:
    spec = table(item.get("spec"))
    within = table(dig(spec, "jobTemplate", "spec")) if key[0] == "cronjob" else spec
    template, meta = table(within.get("template")), table(item.get("metadata"))
    inner = table(template.get("metadata"))
    annotations = {
        **_strings(meta.get("annotations")),
        **_strings(inner.get("annotations")),
    }
    of_pods = _strings((inner if template else meta).get("labels"))
    labels = {**_strings(meta.get("labels")), **of_pods}
    if named := annotations.get("assess.service"):
        labels["assess.service"] = named
    pod = table(template.get("spec") or item.get("pod"))
    return Controller(*key, spec, pod, labels, of_pods, annotations)


def _strings(value: Any) -> dict[str, str]:
    return {name: v for name, v in table(value).items() if isinstance(v, str)}


def _name_all(controllers: Iterable[Controller]) -> None:
    """Name controllers; a label that several unlike ones share names none of them.

    Two Deployments that differ neither in role nor in release, such as a canary, are one service;
    a job never takes the name of what it works for.
    """
    claims: dict[tuple[str, str], set[tuple[str, str, bool]]] = defaultdict(set)
    everyone = list(controllers)
    for controller in everyone:
        for name in controller.candidates:
            claims[name.namespace, name.name].add(controller.signature)
    for controller in everyone:
        *shared, own = controller.candidates
        is_job = controller.signature[2]
        usable = []
        for name in shared:
            others = claims[name.namespace, name.name] - {controller.signature}
            if name.rule == "label" or not any(
                is_job or not other[2] for other in others
            ):
                usable.append(name)
        controller.names = tuple(dict.fromkeys([*usable, own]))
