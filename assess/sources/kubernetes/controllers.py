"""Controllers: what owns a pod in the end, the names of its service, and who selects its pods."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from assess.sources.base import Name, Row
from assess.sources.listing import Found, names_of
from assess.sources.values import dicts, dig, table, text

JOBS = ("job", "cronjob")
_KINDS = ("deployment", "statefulset", "daemonset", "replicaset", *JOBS)
_APP = "app.kubernetes.io/"
_RUN = re.compile(r"-\d{8,}$")  # of the jobs of a CronJob
_ROLES = (f"{_APP}component", "component", "tier", "role")
_APP_LABELS = ("k8s-app", "app", "run")
_INTERNAL = {  # annotations of load balancers that no customer reaches, and their values
    "service.beta.kubernetes.io/aws-load-balancer-internal": ("true", "0.0.0.0/0"),
    "service.beta.kubernetes.io/aws-load-balancer-scheme": ("internal",),
    "service.beta.kubernetes.io/azure-load-balancer-internal": ("true",),
    "networking.gke.io/load-balancer-type": ("Internal",),
    "cloud.google.com/load-balancer-type": ("Internal",),
    "alb.ingress.kubernetes.io/scheme": ("internal",),
}

Place = tuple[str, str]  # namespace, name
Key = tuple[str, str, str]  # kind, namespace, name
Selector = tuple[str, frozenset[tuple[str, str]]]  # namespace, and the labels asked for


def place(item: Row) -> Place:
    """Return the namespace and the name of an object."""
    meta = table(item, "metadata")
    return text(meta, "namespace"), text(meta, "name")


@dataclass(frozen=True, eq=False)
class Selected:
    """Services of one selector: they select the same pods."""

    namespace: str
    names: tuple[str, ...]
    is_public: (
        bool  # whether customers reach one of them, by a load balancer or an ingress
    )


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
    selected: list[Selected] = field(default_factory=list)
    budgets: list[Row] = field(default_factory=list)  # specs of disruption budgets
    scaler: Row = field(default_factory=dict)  # spec of its autoscaler

    @property
    def signature(self) -> tuple[str, str, bool]:
        """Role, release, and whether it is a job: tells apart controllers that share a label."""
        role = next((self.labels[r] for r in _ROLES if self.labels.get(r)), "")
        return role, self.labels.get(f"{_APP}instance", ""), self.kind in JOBS

    @property
    def candidates(self) -> tuple[Name, ...]:
        """Names for its service, best first; the last is its own."""
        role, release, _ = self.signature
        app = self.labels.get(f"{_APP}name")
        apps = ((self.labels.get(name), "kubernetes-app", 0.8) for name in _APP_LABELS)
        return names_of(
            (self.labels.get("assess.service"), "label", 1.0),
            (app, "kubernetes-name", 0.95),
            (f"{app}-{role}" if app and role else None, "kubernetes-name", 0.95),
            (release, "kubernetes-name", 0.95),
            (self.labels.get("tags.datadoghq.com/service"), "datadog-label", 0.8),
            *apps,
            (self.name, "kubernetes-controller", 0.75),
            namespace=self.namespace,
        )


class Owners:
    """All controllers, and the way from a pod to its own."""

    def __init__(self, lists: Found) -> None:
        self.controllers: dict[Key, Controller] = {}
        self._above: dict[Key, Key] = {}
        for kind in _KINDS:
            for item in lists.get(f"{kind}s", ()):
                key = (kind, *place(item))
                if not key[2]:
                    continue
                if owner := owner_of(item):
                    self._above[key] = owner
                else:
                    self.controllers[key] = _controller(key, item)
        named = (pod for pod in lists.get("pods", ()) if place(pod)[1])
        self.pods = [(pod, self._of(pod)) for pod in named]
        _name_all(list(self.controllers.values()))

    def _of(self, pod: Row) -> Controller:
        """Find the controller of a pod; where no list has it, make it from the pod."""
        meta = table(pod, "metadata")
        key = owner_of(pod) or ("pod", *place(pod))
        key = self._root(key, _strings(meta.get("labels")))
        # A mirror pod of a node, which is named after both; or a bare pod.
        if key[0] in ("node", "pod"):
            node = text(pod, "spec", "nodeName")
            key = ("pod", key[1], place(pod)[1].removesuffix(f"-{node}"))
        if key not in self.controllers:
            item = {"metadata": meta, "pod": pod.get("spec")}
            self.controllers[key] = _controller(key, item)
        return self.controllers[key]

    def _root(self, key: Key, labels: dict[str, str]) -> Key:
        """Follow owners upwards, by what is listed, else by how names are made."""
        kind, namespace, name = key
        # No chain of owners has more links than there are kinds; a spoiled dump may have circles.
        for _ in range(len(_KINDS)):
            if key not in self._above:
                break
            key = self._above[key]
        if key in self.controllers or key != (kind, namespace, name):
            return key
        template_hash = f"-{labels.get('pod-template-hash')}"
        if kind == "replicaset" and name.endswith(template_hash):
            return "deployment", namespace, name.removesuffix(template_hash)
        if kind == "job" and _RUN.search(name):
            return "cronjob", namespace, _RUN.sub("", name)
        return key


def owner_of(item: Row) -> Key | None:
    """Return the key of the controller that owns an object."""
    namespace, _ = place(item)
    for owner in dicts(item, "metadata", "ownerReferences"):
        name = text(owner, "name")
        if owner.get("controller") is True and name:
            return text(owner, "kind").lower(), namespace, name
    return None


def _controller(key: Key, item: Row) -> Controller:
    spec = table(item, "spec")
    # A CronJob declares a Job, which declares the pod.
    within = table(spec, "jobTemplate", "spec") if key[0] == "cronjob" else spec
    template = table(within, "template")
    meta = table(item, "metadata")
    inner = table(template, "metadata")
    annotations = _strings(meta.get("annotations"))
    annotations |= _strings(inner.get("annotations"))
    pod_labels = _strings((inner if template else meta).get("labels"))
    labels = _strings(meta.get("labels")) | pod_labels
    if named := annotations.get("assess.service"):
        labels["assess.service"] = named
    pod = table(template.get("spec") or item.get("pod"))
    return Controller(*key, spec, pod, labels, pod_labels, annotations)


def _strings(value: Any) -> dict[str, str]:
    return {name: v for name, v in table(value).items() if isinstance(v, str)}


def _name_all(controllers: list[Controller]) -> None:
    """Name controllers; a label that several unlike ones share names none of them.

    Two Deployments that differ neither in role nor in release, such as a canary, are one service;
    a job never takes the name of what it works for.
    """
    claims: dict[Place, set[tuple[str, str, bool]]] = defaultdict(set)
    for controller in controllers:
        for name in controller.candidates:
            claims[name.namespace, name.name].add(controller.signature)
    for controller in controllers:
        *shared, last = controller.candidates
        is_job = controller.kind in JOBS
        usable = []
        for name in shared:
            others = claims[name.namespace, name.name] - {controller.signature}
            is_taken = any(is_job or not of_job for _, _, of_job in others)
            if name.rule == "label" or not is_taken:
                usable.append(name)
        controller.names = tuple(dict.fromkeys([*usable, last]))


# ---- who selects the pods: lists by labels, once per selector ----


def attach(controllers: Mapping[Key, Controller], lists: Found) -> None:
    """Note on controllers what selects or scales their pods; a Service of one names it.

    A cluster has thousands of Services, and thousands may select the same pods.
    """
    labelled: dict[Key, list[Controller]] = defaultdict(list)
    for controller in controllers.values():
        for label in controller.pod_labels.items():
            labelled[controller.namespace, *label].append(controller)
    outer = [i for i in lists.get("ingresses", ()) if not _is_internal(i)]
    reached = {
        (place(ingress)[0], name) for ingress in outer for name in _backends(ingress)
    }
    for selector, services in _by_selector(lists.get("services", ())).items():
        namespace = selector[0]
        names = tuple(dict.fromkeys(place(service)[1] for service in services))
        is_public = any(map(_is_balanced, services))
        is_public |= any((namespace, name) in reached for name in names)
        _select(_users(labelled, selector), Selected(namespace, names, is_public))
    # Of several budgets the first that says anything counts.
    for budget in lists.get("poddisruptionbudgets", ()):
        for selector in _by_selector([budget]):
            for user in _users(labelled, selector):
                user.budgets.append(table(budget, "spec"))
    for scaler in lists.get("horizontalpodautoscalers", ()):
        kind = text(scaler, "spec", "scaleTargetRef", "kind").lower()
        name = text(scaler, "spec", "scaleTargetRef", "name")
        scaled = controllers.get((kind, place(scaler)[0], name))
        if scaled and not scaled.scaler:
            scaled.scaler = table(scaler, "spec")


def _users(
    labelled: Mapping[Key, list[Controller]], selector: Selector
) -> list[Controller]:
    namespace, asked = selector
    sharers = [labelled.get((namespace, *label), []) for label in asked]
    # Many controllers may share the other labels.
    rarest: list[Controller] = min(sharers, key=len, default=[])
    return [c for c in rarest if asked <= c.pod_labels.items()]


def _select(users: list[Controller], selected: Selected) -> None:
    are_one = len({user.names[0] for user in users}) == 1
    for user in users:
        user.selected.append(selected)
        if are_one:
            known = {name.name for name in user.names}
            more = [
                (n, "kubernetes-service", 0.8) for n in selected.names if n not in known
            ]
            user.names += names_of(*more, namespace=selected.namespace)


def _by_selector(items: Iterable[Row]) -> dict[Selector, list[Row]]:
    """Group objects that select the same pods, without those that select none."""
    grouped: dict[Selector, list[Row]] = defaultdict(list)
    for item in items:
        asked = table(item, "spec", "selector")
        if "matchLabels" in asked or "matchExpressions" in asked:
            # Expressions may exclude pods, and are not evaluated here.
            is_plain = not asked.get("matchExpressions")
            asked = table(asked, "matchLabels") if is_plain else {}
        if asked and all(isinstance(value, str) for value in asked.values()):
            grouped[place(item)[0], frozenset(asked.items())].append(item)
    return grouped


def _is_balanced(service: Row) -> bool:
    return dig(service, "spec", "type") == "LoadBalancer" and not _is_internal(service)


def _is_internal(item: Row) -> bool:
    notes = table(item, "metadata", "annotations")
    return any(notes.get(name) in values for name, values in _INTERNAL.items())


def _backends(ingress: Row) -> Iterator[str]:
    """List the Services that an ingress leads to, in any version of its API."""
    spec = table(ingress, "spec")
    backends: list[Any] = [spec.get("defaultBackend"), spec.get("backend")]
    for rule in dicts(spec, "rules"):
        backends += [path.get("backend") for path in dicts(rule, "http", "paths")]
    for backend in map(table, backends):
        name = text(backend, "service", "name") or text(backend, "serviceName")
        if name:
            yield name
