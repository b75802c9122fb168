"""Controllers: root owners of pods, names of their services, and Services that select them."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from assess.image_ref import parse_image
from assess.sources.base import Name, Names, Row, Rows
from assess.sources.csv_records import rows, vocabulary
from assess.sources.kubernetes.kinds import (
    STORES,
    api_version,
    applied_version,
    store_facts,
)
from assess.sources.listing import LABEL, Found, labelled, names_of
from assess.sources.values import (
    Texts,
    Words,
    by_name,
    dicts,
    dig,
    integer,
    picked,
    table,
    text,
    texts,
)

JOBS = ("job", "cronjob")
_KINDS = vocabulary("kubernetes", "controllers")
_MAX_REPLICAS = 1000  # of a controller; more than that is a slip of the pen
_APP = "app.kubernetes.io/"
_RUN = re.compile(r"-\d{8,}$")  # of the jobs of a CronJob
_ROLES = (f"{_APP}component", "component", "tier", "role")
_SHARED = ("kubernetes-app", "kubernetes-name")  # rules of names that labels give
_APP_LABELS = ("k8s-app", "app", "run")

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
    names: Words
    is_public: bool  # customers reach one of them, by a load balancer or an ingress
    addresses: Words = ()  # in the cluster, and of load balancers


@dataclass(eq=False)
class Controller:
    """A controller of pods, or a pod without one."""

    kind: str
    namespace: str
    name: str
    spec: Row  # of the controller itself; empty where only its pods are known
    pod: Row  # spec of its pods
    labels: Texts
    pod_labels: Texts
    annotations: Texts
    api_version: str | None = None  # in which it was declared, with its kind
    status: Row = field(default_factory=dict)
    names: Names = ()
    selected: list[Selected] = field(default_factory=list)
    budgets: Rows = field(default_factory=list)  # specs of disruption budgets
    scaler: Row = field(default_factory=dict)  # spec of its autoscaler
    made_by: Row = field(default_factory=dict)  # custom resource that an operator reads
    parts: Rows = field(default_factory=list)  # specs of further resources for it
    store: str = ""  # repository of the store that it is

    @property
    def is_scaled(self) -> bool:
        """Whether it keeps a number of replicas that it declares."""
        return _KINDS.get(self.kind) == "scaled"

    @property
    def replicas(self) -> int:
        """Number of replicas that it declares; what runs once per node declares one."""
        key = "parallelism" if self.kind in JOBS else "replicas"
        wanted = integer(self.spec.get(key, 1))
        has_count = self.is_scaled or self.store or self.kind in JOBS
        if wanted is None or not has_count:
            return 1
        # An autoscaler keeps its least, unless the controller is at rest.
        least = integer(self.scaler, "minReplicas") or 0
        return min(max(wanted, least) if wanted else 0, _MAX_REPLICAS)

    @property
    def state(self) -> str:
        """State of a replica that was not seen running."""
        conditions = by_name(self.status, "conditions", key="type")
        ends = [text(conditions, end, "status") for end in ("Complete", "Failed")]
        if "True" in ends and self.kind in JOBS:
            return "exited"
        return "declared" if self.replicas else "stopped"

    @property
    def signature(self) -> tuple[str, str, bool]:
        """Role, release, and whether it is a job: distinguishes controllers that share a label."""
        roles = map(self.labels.get, _ROLES)
        role = next(filter(None, roles), "")
        return role, self.labels.get(f"{_APP}instance", ""), self.kind in JOBS

    @property
    def program(self) -> Words:
        """Repository and command of its first container."""
        first = table(self.pod, "containers", 0)
        image = parse_image(text(first, "image")).repository or ""
        return image, *texts(first, "command"), *texts(first, "args")

    @property
    def candidates(self) -> Names:
        """Names for its service, best first; the last is its own."""
        role, release, _ = self.signature
        app = self.labels.get(f"{_APP}name")
        apps = ((self.labels.get(name), "kubernetes-app", 0.8) for name in _APP_LABELS)
        return names_of(
            labelled(self.labels),
            (app, "kubernetes-name", 0.95),
            (f"{app}-{role}" if app and role else None, "kubernetes-name", 0.95),
            (release, "kubernetes-name", 0.95),
            (self.labels.get("tags.datadoghq.com/service"), "datadog-label", 0.8),
            *apps,
            (self.name, "kubernetes-controller", 0.75),
            namespace=self.namespace,
        )


Controllers = list[Controller]
Labelled = dict[Key, Controllers]  # by namespace, and name and value of a label


class Owners:
    """All controllers, and the way from a pod to its own."""

    def __init__(self, lists: Found) -> None:
        self.controllers: dict[Key, Controller] = {}
        self._above: dict[Key, Key] = {}
        for kind in _KINDS:
            for item in lists[f"{kind}s"]:
                key = (kind, *place(item))
                if not key[2]:
                    continue
                if owner := owner_of(item):
                    self._above[key] = owner
                elif key not in self.controllers:
                    self.controllers[key] = _controller(key, item)
        self._add_stores(lists)
        named = (pod for pod in lists["pods"] if place(pod)[1])
        self.pods = [(pod, self._controller_of(pod)) for pod in named]
        self._drop_doubles()
        _name_all(list(self.controllers.values()))

    def _add_stores(self, lists: Found) -> None:
        """Add the stores that operators make, but those whose controller is listed itself."""
        facts = [(store_facts(item), item) for item in lists[STORES]]
        wholes: dict[Words, Controller] = {}
        for fact, item in sorted(facts, key=lambda pair: bool(pair[0]["part_of"])):
            key = (text(item, "kind").lower(), *place(item))
            is_listed = ("statefulset", *key[1:]) in self.controllers
            named = text(item, "metadata", "labels", fact["part_of"])
            whole = wholes.get((fact["store"], key[1], named))
            if owner := owner_of(item):
                self._above[key] = owner
            elif whole:
                self._above[key] = (whole.kind, whole.namespace, whole.name)
                whole.parts.append(table(item, "spec"))
            elif key[2] and not is_listed:
                made: Row = {
                    "metadata": item.get("metadata"),
                    "pod": {"containers": [{}]},
                }
                self.controllers[key] = replace(_controller(key, made), made_by=item)
                if not fact["part_of"]:
                    wholes[fact["store"], *key[1:]] = self.controllers[key]

    def _drop_doubles(self) -> None:
        """Drop manifests without a namespace if the same object was read with one."""
        placed = {(kind, name) for kind, namespace, name in self.controllers if namespace}
        for key in list(self.controllers):
            if not key[1] and (key[0], key[2]) in placed:
                del self.controllers[key]
        kept = set(self.controllers.values())
        self.pods = [(pod, owner) for pod, owner in self.pods if owner in kept]

    def _controller_of(self, pod: Row) -> Controller:
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
            if key[0] == "pod":
                item |= {"apiVersion": "v1", "kind": "Pod"}
            self.controllers[key] = _controller(key, item)
        return self.controllers[key]

    def _root(self, key: Key, labels: Texts) -> Key:
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


def _template(item: Row) -> tuple[Row, Row]:
    """Return the spec that holds the template of a controller's pods, and the template."""
    # A CronJob declares a Job, which declares the pod.
    found = picked(item, "kubernetes template")
    return table(found["spec"]), table(found["template"])


def is_patch(item: Row) -> bool:
    """Return whether a controller leaves out its images, which something else declares."""
    _, template = _template(item)
    containers = dicts(template, "spec", "containers")
    return bool(template) and not any(text(c, "image") for c in containers)


def _controller(key: Key, item: Row) -> Controller:
    spec, template = _template(item)
    meta = table(item, "metadata")
    inner = table(template, "metadata")
    annotations = _strings(meta.get("annotations"))
    annotations |= _strings(inner.get("annotations"))
    labelled = inner if template else meta
    pod_labels = _strings(labelled.get("labels"))
    labels = _strings(meta.get("labels")) | pod_labels
    if named := annotations.get(LABEL):
        labels[LABEL] = named
    pod = table(template.get("spec") or item.get("pod"))
    version = applied_version(item) or api_version(item)
    return Controller(
        *key,
        spec,
        pod,
        labels,
        pod_labels,
        annotations,
        api_version=f"{version}/{text(item, 'kind')}" if version else None,
        status=table(item, "status"),
    )


def _strings(value: Any) -> Texts:
    return {name: v for name, v in table(value).items() if isinstance(v, str)}


def _name_all(controllers: Controllers) -> None:
    """Name controllers; a label that several unlike ones share names none of them."""
    # Two Deployments that differ neither in role nor in release, such as a canary, are
    # one service; a job never takes the name of what it works for.
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


def attach(controllers: Mapping[Key, Controller], lists: Found) -> dict[Key, Controllers]:
    """Record on controllers the objects that select or scale their pods; a sole Service names it.

    Returns the controllers that an object is about, by its list, namespace and name.

    A cluster has thousands of Services, and thousands may select the same pods.
    """
    labelled = by_label(controllers.values())
    about: dict[Key, Controllers] = defaultdict(list)
    called: dict[Place, Controllers] = {}
    reached = set(outer_backends(lists))
    for selector, services in _by_selector(lists["services"]).items():
        namespace = selector[0]
        names = tuple(dict.fromkeys(place(service)[1] for service in services))
        is_public = any(map(_is_balanced, services))
        is_public |= any((namespace, name) in reached for name in names)
        users = users_of(labelled, selector)
        addresses = tuple(dict.fromkeys(chain.from_iterable(map(_addresses, services))))
        _select(users, Selected(namespace, names, is_public, addresses))
        called |= dict.fromkeys(((namespace, name) for name in names), users)
    _drop_shared_names(controllers.values())
    for ingress in lists["ingresses"]:
        for name in backends(ingress):
            users = called.get((place(ingress)[0], name), [])
            about["ingresses", *place(ingress)] += users
    # Of several budgets the first that says anything counts.
    for budget in lists["poddisruptionbudgets"]:
        for selector in _by_selector([budget]):
            for user in users_of(labelled, selector):
                user.budgets.append(table(budget, "spec"))
                about["poddisruptionbudgets", *place(budget)].append(user)
    for scaler in lists["horizontalpodautoscalers"]:
        target = table(scaler, "spec", "scaleTargetRef")
        kind = text(target, "kind").lower()
        key = (kind, place(scaler)[0], text(target, "name"))
        if scaled := controllers.get(key):
            scaled.scaler = scaled.scaler or table(scaler, "spec")
            about["horizontalpodautoscalers", *place(scaler)] = [scaled]
    return about


def _drop_shared_names(controllers: Iterable[Controller]) -> None:
    """Remove a shared name from controllers with other programs that no Service joins."""
    sharing: dict[Name, Controllers] = defaultdict(list)
    for controller in controllers:
        sharing[controller.names[0]].append(controller)
    for name, sharers in sharing.items():
        joined = Counter(chain.from_iterable(sharer.selected for sharer in sharers))
        programs = {sharer.program for sharer in sharers if sharer.program[0]}
        is_apart = len(programs) > 1 and max(joined.values(), default=1) == 1
        if name.rule in _SHARED and is_apart:
            for sharer in sharers:
                sharer.names = sharer.names[1:] or sharer.names


def by_label(controllers: Iterable[Controller]) -> Labelled:
    """Index controllers by namespace, name and value of the labels of their pods."""
    labelled: Labelled = defaultdict(list)
    for controller in controllers:
        for label in controller.pod_labels.items():
            labelled[controller.namespace, *label].append(controller)
    return labelled


def users_of(labelled: Labelled, selector: Selector) -> Controllers:
    """List the controllers whose pods have all labels of a selector."""
    namespace, asked = selector
    sharers = [labelled.get((namespace, *label), []) for label in asked]
    # Many controllers may share the other labels.
    rarest: Controllers = min(sharers, key=len, default=[])
    return [c for c in rarest if asked <= c.pod_labels.items()]


def _addresses(service: Row) -> list[str]:
    """List the addresses of a Service: in the cluster, and of its load balancer."""
    spec = table(service, "spec")
    entries = dicts(service, "status", "loadBalancer", "ingress")
    found = [
        *texts(spec, "clusterIPs"),
        text(spec, "clusterIP"),
        *texts(spec, "externalIPs"),
        *(text(entry, "ip") for entry in entries),
    ]
    return [address for address in found if address not in ("", "None")]


def _select(users: Controllers, selected: Selected) -> None:
    are_one = len({user.names[0] for user in users}) == 1
    for user in users:
        user.selected.append(selected)
        known = {name.name for name in user.names}
        more = [n for n in selected.names if n not in known] if are_one else []
        named = ((name, "kubernetes-service", 0.8) for name in more)
        user.names += names_of(*named, namespace=selected.namespace)


def _by_selector(items: Iterable[Row]) -> dict[Selector, Rows]:
    """Group objects that select the same pods, without those that select none."""
    grouped: dict[Selector, Rows] = defaultdict(list)
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
    """Return whether the outside reaches a Service without an ingress."""
    if text(service, "spec", "type") not in ("LoadBalancer", "NodePort"):
        return bool(dig(service, "spec", "externalIPs"))
    return not _is_internal(service)


def _is_internal(item: Row) -> bool:
    """Return whether annotations keep a load balancer from all customers."""
    notes = table(item, "metadata", "annotations")
    known = rows("kubernetes/internal")
    return any(notes.get(row["annotation"]) == row["value"] for row in known)


def outer_backends(lists: Found) -> Iterator[Place]:
    """List the Services that ingresses, routes and gateways open to the outside."""
    for ingress in lists["ingresses"]:
        if not _is_internal(ingress):
            yield from ((place(ingress)[0], name) for name in backends(ingress))
    for route in lists["routes"]:
        targets = [dig(route, "spec", "to"), *dicts(route, "spec", "alternateBackends")]
        yield from ((place(route)[0], text(target, "name")) for target in targets)
    for route in lists["gatewayroutes"]:
        parents = dicts(route, "spec", "parentRefs")
        # A route of a mesh hangs on a Service.
        if any(text(parent, "kind") != "Service" for parent in parents):
            yield from route_backends(route)
    for service in lists["virtualservices"]:
        gateways = texts(service, "spec", "gateways")
        if any(gateway != "mesh" for gateway in gateways):
            yield from virtual_backends(service)


def backends(ingress: Row) -> Iterator[str]:
    """List the Services that an ingress leads to, in any version of its API."""
    spec = table(ingress, "spec")
    leads: list[Any] = [spec.get("defaultBackend"), spec.get("backend")]
    for rule in dicts(spec, "rules"):
        leads += [path.get("backend") for path in dicts(rule, "http", "paths")]
    for backend in map(table, leads):
        name = text(backend, "service", "name") or text(backend, "serviceName")
        if name:
            yield name


def route_backends(route: Row) -> Iterator[Place]:
    """List the Services that a route of the Gateway API leads to."""
    home, _ = place(route)
    for rule in dicts(route, "spec", "rules"):
        for backend in dicts(rule, "backendRefs"):
            if text(backend, "kind") in ("", "Service"):
                yield text(backend, "namespace") or home, text(backend, "name")


def virtual_backends(service: Row) -> Iterator[Place]:
    """List the Services that a VirtualService of a mesh leads to."""
    for protocol in ("http", "tcp", "tls"):
        for rule in dicts(service, "spec", protocol):
            for route in dicts(rule, "route"):
                host = text(route, "destination", "host")
                yield place_of_host(host, place(service)[0])


def place_of_host(host: str, home: str) -> Place:
    """Return the namespace and the name of the Service that a host name of a cluster means."""
    name, _, rest = host.partition(".")
    namespace, _, _ = rest.partition(".")
    return namespace or home, name
