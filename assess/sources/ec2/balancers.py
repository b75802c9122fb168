"""Load balancers, classic and v2: their targets, the health of these, and who can reach them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from assess.sources.base import Row
from assess.sources.hosts.rows import text_of
from assess.sources.values import dicts, dig, texts

_HEALTH = {
    "healthy": "healthy",
    "inservice": "healthy",
    "unhealthy": "unhealthy",
    "outofservice": "unhealthy",
    "initial": "starting",
    "unhealthy.draining": "unhealthy",
}
_WORST_FIRST = ("unhealthy", "starting", "healthy")


@dataclass
class Balancers:
    """Objects that the calls of one place list; None where nobody may know."""

    balancers: list[Row] | None = None  # v2
    groups: list[Row] | None = None  # target groups
    targets: list[Row] | None = None  # with ``TargetGroupArn``, unless dumped
    classic: list[Row] | None = None
    states: list[Row] | None = None  # of the instances behind classic ones


@dataclass
class Behind:
    """The load balancers before an instance, or before a group."""

    checked: bool = False  # whether any of them checks its health
    public: list[bool | None] = field(default_factory=list)  # of each; None where unknown
    serves_http: bool = False
    states: list[str] = field(default_factory=list)

    @property
    def health(self) -> str | None:
        """The worst state that any of them sees."""
        return next((state for state in _WORST_FIRST if state in self.states), None)


class Fronts:
    """Index load balancers by the instances, IPs and target groups behind them."""

    def __init__(self, payloads: Balancers) -> None:
        self.is_complete = payloads.balancers is not None and payloads.classic is not None
        self._by_arn: dict[str, Behind] = {}  # of target groups
        self._by_name: dict[str, Behind] = {}  # of classic load balancers
        self._members: dict[str, list[str]] = defaultdict(list)  # their keys, by instance
        self._states: dict[str, list[str]] = defaultdict(list)  # by instance or address
        schemes = {text_of(b.get("LoadBalancerArn")): b for b in payloads.balancers or ()}
        for group in payloads.groups or ():
            before = [schemes.get(arn) for arn in texts(group.get("LoadBalancerArns"))]
            self._by_arn[text_of(group.get("TargetGroupArn"))] = Behind(
                checked=group.get("HealthCheckEnabled") is not False,
                public=[_is_public(b) for b in before],
                serves_http=any(dig(b, "Type") == "application" for b in before),
            )
        for target in payloads.targets or ():
            self._add_target(target)
        for balancer in payloads.classic or ():
            name = text_of(balancer.get("LoadBalancerName"))
            checked = isinstance(balancer.get("HealthCheck"), dict)
            self._by_name[name] = Behind(checked=checked, public=[_is_public(balancer)])
            for instance in dicts(balancer.get("Instances")):
                self._members[text_of(instance.get("InstanceId"))].append(name)
        for state in payloads.states or ():
            self._note(text_of(state.get("InstanceId")), state.get("State"))

    def of(self, instances: Iterable[Row], groups: Iterable[Row]) -> Behind:
        """Join the load balancers before some instances and auto-scaling groups."""
        keys: dict[str, None] = {}
        behind = Behind()
        for instance in instances:
            for address in _addresses(instance):
                keys |= dict.fromkeys(self._members.get(address, ()))
                behind.states += self._states.get(address, ())
        for group in groups:
            sources = [
                text_of(s.get("Identifier")) for s in dicts(group.get("TrafficSources"))
            ]
            names = texts(group.get("TargetGroupARNs")) + texts(
                group.get("LoadBalancerNames")
            )
            keys |= dict.fromkeys(names + sources)
        for key in keys:
            if front := self._by_arn.get(key) or self._by_name.get(key):
                behind.checked |= front.checked
                behind.public += front.public
                behind.serves_http |= front.serves_http
        return behind

    def _add_target(self, target: Row) -> None:
        address = text_of(dig(target, "Target", "Id"))
        self._note(address, dig(target, "TargetHealth", "State"))
        if arn := text_of(target.get("TargetGroupArn")):
            self._members[address].append(arn)

    def _note(self, address: str, state: object) -> None:
        if known := _HEALTH.get(text_of(state).lower()):
            self._states[address].append(known)


def _addresses(instance: Row) -> list[str]:
    """List the names that a target may have for an instance."""
    names = (instance.get("InstanceId"), instance.get("PrivateIpAddress"))
    return [text for name in names if (text := text_of(name))]


def _is_public(balancer: Row | None) -> bool | None:
    scheme = text_of(dig(balancer, "Scheme"))
    return scheme == "internet-facing" if scheme else None
