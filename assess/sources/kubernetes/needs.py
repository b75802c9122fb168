"""Needs: calls between services of a cluster, by addresses, mesh names and policies."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice, product

from assess.frames import EXTERNAL
from assess.sources.base import Row, Rows
from assess.sources.edges import Mention, declared_call, distinct, needs
from assess.sources.edges.address import Callee, Siblings
from assess.sources.kubernetes.controllers import (
    JOBS,
    Controller,
    Labelled,
    Owners,
    Selected,
    by_label,
    outer_backends,
    place,
    place_of_host,
    users_of,
    virtual_backends,
)
from assess.sources.listing import Found
from assess.sources.unit import Unit
from assess.sources.values import dicts, table, text, texts

_NAMESPACE = "kubernetes.io/metadata.name"
_MAX_ALLOWED = 20_000  # pairs that policies of a cluster allow, or its ingresses reach
_INGRESS_IMAGES = re.compile(
    r"ingress-nginx/controller|nginx-ingress|ingress-controller"
    r"|(^|/)(apisix|contour|emissary|haproxy-ingress|kong|traefik)$"
)

Units = Mapping[Controller, Unit]


def to_dependencies(lists: Found, owners: Owners, units: Units) -> Rows:
    """Return the dependencies of services, by addresses that they read and by policies."""
    siblings = to_siblings(lists, owners, units)
    spaces = {controller.namespace for controller in units}
    rows = []
    for controller, unit in units.items():
        home = controller.namespace
        found = [_without_space(mention, spaces) for mention in unit.mentions]
        rows += needs(_callee(controller, units), found, siblings, space=home)
    rows += _let_in(lists, units, siblings)
    rows += islice(_allowed(lists, owners, units), _MAX_ALLOWED)
    rows += islice(_imported(lists, owners, siblings), _MAX_ALLOWED)
    return distinct(rows)


def _without_space(mention: Mention, spaces: set[str]) -> Mention:
    """Drop the namespace of a host in manifests that leave out theirs."""
    head, mark, tail = mention.address.host.partition(".svc")
    name, _, space = head.partition(".")
    is_inside = mark and tail in ("", ".cluster.local")
    if not is_inside or space in spaces or "" not in spaces:
        return mention
    return replace(mention, address=replace(mention.address, host=name))


def to_siblings(lists: Found, owners: Owners, units: Units) -> Siblings:
    """Index what the hosts of a cluster lead to."""
    siblings = Siblings()
    first: dict[Selected, Controller] = {}
    for controller in owners.controllers.values():
        for selected in controller.selected:
            first.setdefault(selected, controller)
        # Half a tree may lack the Service, which most often bears the name.
        callee = _callee(controller, units)
        home = controller.namespace
        siblings.add(callee, controller.name, space=home, is_alias=True)
    for service, controller in first.items():
        callee = _callee(controller, units)
        siblings.add(callee, *service.names, space=service.namespace)
    for home, host, target in _renamed(lists):
        space, name = place_of_host(target, home)
        is_inside = "." not in target or ".svc" in target
        found = siblings.find(name, space) if is_inside else None
        callee = found or Callee(f"{EXTERNAL}{target}")
        siblings.add(callee, host, space=home, is_alias=True)
    return siblings


def _callee(controller: Controller, units: Units) -> Callee:
    unit = units.get(controller)
    if controller.store:
        return Callee(controller.names[0], controller.store)
    return unit.callee if unit else Callee(controller.names[0])


def _renamed(lists: Found) -> Iterator[tuple[str, str, str]]:
    """List namespace, host and target of names that lead somewhere else."""
    for service in lists["services"]:
        home, name = place(service)
        if target := text(service, "spec", "externalName"):
            yield home, name, target.rstrip(".").lower()
    selects = {place(s) for s in lists["services"] if table(s, "spec", "selector")}
    for endpoints in lists["endpoints"]:
        home, name = place(endpoints)
        subsets = dicts(endpoints, "subsets")
        addresses = [a for subset in subsets for a in dicts(subset, "addresses")]
        target = text(addresses, 0, "ip")
        if target and (home, name) not in selects:
            yield home, name, target
    for entry in lists["serviceentries"]:
        listed = dicts(entry, "spec", "endpoints")
        target = text(listed, 0, "address")
        for host in texts(entry, "spec", "hosts"):
            yield place(entry)[0], host, target or host
    # Linkerd sends the calls of one Service to another one.
    for profile in lists["serviceprofiles"]:
        home, name = place(profile)
        for lead in dicts(profile, "spec", "dstOverrides")[:1]:
            yield home, name.partition(".")[0], text(lead, "authority").partition(":")[0]
    for service in lists["virtualservices"]:
        home, _ = place(service)
        for host in texts(service, "spec", "hosts"):
            for space, name in islice(virtual_backends(service), 1):
                if place_of_host(host, home) != (space, name):
                    yield home, host, f"{name}.{space}.svc" if space else name


def _let_in(lists: Found, units: Units, siblings: Siblings) -> Iterator[Row]:
    """List the calls of the proxies that let the outside in."""
    # Of several proxies nobody can tell which one serves a route.
    proxies = [c for c, unit in units.items() if _is_ingress_proxy(c, unit)]
    are_many = len({proxy.names[0] for proxy in proxies}) > 1
    reached = sorted(set(outer_backends(lists))) if proxies else []
    for proxy, (space, name) in islice(product(proxies, reached), _MAX_ALLOWED):
        if callee := siblings.find(name, space):
            yield _declared(proxy, callee, "ingress", possible=are_many)


def _is_ingress_proxy(controller: Controller, unit: Unit) -> bool:
    """Return whether a controller runs the proxy of ingresses, routes or gateways."""
    image = _INGRESS_IMAGES.search(unit.image_ref.repository or "")
    is_gateway = controller.name.endswith("ingressgateway")
    return controller.kind not in JOBS and (is_gateway or image is not None)


def _allowed(lists: Found, owners: Owners, units: Units) -> Iterator[Row]:
    """List the calls that network policies allow: possible, not observed."""
    labelled = by_label(owners.controllers.values())
    for policy in lists["networkpolicies"]:
        home, _ = place(policy)
        selected = _selected(table(policy, "spec", "podSelector"), home, labelled)
        called = product(selected, _peers(policy, "egress", "to", labelled))
        calling = product(_peers(policy, "ingress", "from", labelled), selected)
        for src, dst in chain(called, calling):
            yield _declared(src, _callee(dst, units), "network-policy")


def _imported(lists: Found, owners: Owners, siblings: Siblings) -> Iterator[Row]:
    """List the calls that a Sidecar of Istio names: possible, not observed."""
    labelled = by_label(owners.controllers.values())
    for sidecar in lists["sidecars"]:
        home, _ = place(sidecar)
        chosen = table(sidecar, "spec", "workloadSelector", "labels")
        callers = _selected({"matchLabels": chosen}, home, labelled)
        rules = dicts(sidecar, "spec", "egress")
        for host in (host for rule in rules for host in texts(rule, "hosts")):
            _, _, name = host.partition("/")
            # Manifests may leave out their namespace, and the host never does.
            short = name
            if ".svc" in name and not home:
                _, short = place_of_host(name, home)
            if callee := siblings.find(short, home):
                for caller in callers:
                    yield _declared(caller, callee, "istio-sidecar")


def _declared(
    src: Controller, callee: Callee, evidence: str, *, possible: bool = True
) -> Row:
    basis = {"possible": possible, "address_basis": "config"}
    return declared_call(src.names[0], callee, evidence, **basis)


def _peers(
    policy: Row, direction: str, end: str, labelled: Labelled
) -> Iterator[Controller]:
    """List the controllers that one end of a policy names; "all pods" names none."""
    home, _ = place(policy)
    for rule in dicts(policy, "spec", direction):
        for peer in dicts(rule, end):
            space = home
            if "namespaceSelector" in peer:
                space = text(peer, "namespaceSelector", "matchLabels", _NAMESPACE)
            if space or "namespaceSelector" not in peer:
                yield from _selected(table(peer, "podSelector"), space, labelled)


def _selected(asked: Row, space: str, labelled: Labelled) -> list[Controller]:
    labels = table(asked, "matchLabels")
    if not labels or asked.get("matchExpressions"):
        return []
    pairs = frozenset((name, str(value)) for name, value in labels.items())
    return users_of(labelled, (space, pairs))
