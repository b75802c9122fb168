"""Which Services and disruption budgets select which pods: found by labels, once per selector.

A cluster has thousands of Services, and thousands may select the same pods.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from assess.sources.base import Name, Row
from assess.sources.kubernetes.nodes import place
from assess.sources.kubernetes.owners import Controller, Selected
from assess.sources.listing import Found
from assess.sources.values import dicts, dig, table, text

_INTERNAL = {  # annotations of load balancers that no customer reaches, and their values
    "service.beta.kubernetes.io/aws-load-balancer-internal": ("true", "0.0.0.0/0"),
    "service.beta.kubernetes.io/aws-load-balancer-scheme": ("internal",),
    "service.beta.kubernetes.io/azure-load-balancer-internal": ("true",),
    "networking.gke.io/load-balancer-type": ("Internal",),
    "cloud.google.com/load-balancer-type": ("Internal",),
    "alb.ingress.kubernetes.io/scheme": ("internal",),
}
Selector = tuple[str, frozenset[tuple[str, str]]]  # namespace, and the labels asked for


def attach(controllers: Iterable[Controller], found: Found) -> None:
    """Note on controllers what selects their pods; a Service of one controller names it."""
    every = list(controllers)
    labelled: dict[tuple[str, str, str], list[Controller]] = defaultdict(list)
    for controller in every:
        for name, value in controller.pod_labels.items():
            labelled[controller.namespace, name, value].append(controller)

    def users(selector: Selector) -> list[Controller]:
        namespace, asked = selector
        lists = [labelled.get((namespace, *label), []) for label in asked]
        # Many controllers may share the other labels.
        rarest: list[Controller] = min(lists, key=len, default=[])
        return [c for c in rarest if asked <= c.pod_labels.items()]

    reached = _backends_of_ingresses(found)
    for selector, services in _by_selector(found.get("services", ())).items():
        names = tuple(dict.fromkeys(place(service)[1] for service in services))
        is_public = any(map(_is_balanced, services)) or any(
            (selector[0], name) in reached for name in names
        )
        _attach(users(selector), Selected(selector[0], names, is_public))
    # Of several budgets the first that says anything counts.
    for budget in found.get("poddisruptionbudgets", ()):
        for selector in _by_selector([budget]):
            for user in users(selector):
                user.budgets.append(table(budget.get("spec")))


def _attach(users: list[Controller], selected: Selected) -> None:
    are_one = len({user.names[0] for user in users}) == 1
    for user in users:
        user.selected.append(selected)
        if are_one:
            known = {name.name for name in user.names}
            more = [name for name in selected.names if name not in known]
            user.names += tuple(
                Name(name, "kubernetes-service", 0.8, selected.namespace) for name in more
            )


def _by_selector(items: Iterable[Row]) -> dict[Selector, list[Row]]:
    """Group objects that select the same pods, without those that select none."""
    grouped: dict[Selector, list[Row]] = defaultdict(list)
    for item in items:
        asked = _asked(item)
        if asked and all(isinstance(value, str) for value in asked.values()):
            grouped[place(item)[0], frozenset(asked.items())].append(item)
    return grouped


def _asked(item: Row) -> Row:
    """Return the labels that a selector asks for; none where it has expressions."""
    selector = table(dig(item, "spec", "selector"))
    if "matchLabels" in selector or "matchExpressions" in selector:
        return (
            {} if selector.get("matchExpressions") else table(selector.get("matchLabels"))
        )
    return selector


def _is_balanced(service: Row) -> bool:
    return dig(service, "spec", "type") == "LoadBalancer" and not _is_internal(service)


def _is_internal(item: Row) -> bool:
    notes = table(dig(item, "metadata", "annotations"))
    return any(notes.get(name) in values for name, values in _INTERNAL.items())


def _backends_of_ingresses(found: Found) -> set[tuple[str, str]]:
    """Return namespaces and names of the Services that customers reach by an ingress."""
    outer = [
        ingress for ingress in found.get("ingresses", ()) if not _is_internal(ingress)
    ]
    return {(place(ingress)[0], name) for ingress in outer for name in _backends(ingress)}


def _backends(ingress: Row) -> Iterator[str]:
    """List the Services that an ingress leads to, in any version of its API."""
    spec = table(ingress.get("spec"))
    rules = [table(dig(rule, "http")) for rule in dicts(spec.get("rules"))]
    backends: list[Any] = [
        path.get("backend") for r in rules for path in dicts(r.get("paths"))
    ]
    for backend in [*backends, spec.get("defaultBackend"), spec.get("backend")]:
        service = table(backend)
        if name := text(dig(service, "service", "name")) or text(
            service.get("serviceName")
        ):
            yield name
