"""Stores that an operator runs: a custom resource stands for the pods that it makes."""

from collections.abc import Iterator
from typing import Any

from assess.sources.base import Row
from assess.sources.csv_records import rows
from assess.sources.kubernetes.controllers import Controller, Selected
from assess.sources.kubernetes.pods import quantity
from assess.sources.unit import Unit
from assess.sources.values import integer, table, text
from assess.sources.volumes import Mount

# Columns that only the pods themselves can fill.
UNSEEN = dict.fromkeys(("env_names_n", "secret_like_env_n", "docker_sock_mounted"))


def store_unit(controller: Controller) -> Unit:
    """Read the declaration of a store in a custom resource of its operator."""
    facts = _facts_of(controller.made_by)
    spec = table(controller.made_by, "spec")
    images = [image for image in _at(spec, facts["image"]) if isinstance(image, str)]
    paths = facts["resources"].split()  # of the versions of its API, the newest first
    found = (r for path in paths for r in _at(spec, path) if isinstance(r, dict) and r)
    resources: Row = next(found, {})
    limits = table(resources, "limits")
    requests = table(resources, "requests")
    return Unit(
        names=controller.names,
        platform="kubernetes",
        image=next(iter(images), ""),
        ports=(f"{facts['port']}/tcp",),
        mounts=(Mount(facts["data"], "volume", source_class="named-volume"),),
        memory_limit_bytes=integer(quantity(limits, "memory")),
        cpu_limit=quantity(limits, "cpu"),
        memory_request_bytes=integer(quantity(requests, "memory")),
        cpu_request=quantity(requests, "cpu"),
        stateful=True,
    )


def complete_store(controller: Controller) -> None:
    """Add to the controller of a store its replicas, and the Services that its operator makes."""
    facts = _facts_of(controller.made_by)
    spec = table(controller.made_by, "spec")
    counts = [integer(count) or 0 for count in _at(spec, facts["replicas"])]
    controller.store = facts["store"]
    controller.spec = {"replicas": sum(counts) or 1}
    cluster = text(spec, "clusterName").lower()
    made = facts["services"].split()
    names = tuple(name.format(controller.name, clusterName=cluster) for name in made)
    controller.selected.append(Selected(controller.namespace, names, is_public=False))


def _facts_of(item: Row) -> dict[str, str]:
    kind = text(item, "kind")
    group = text(item, "apiVersion").partition("/")[0]
    found = (row for row in rows("kubernetes/stores") if row["kind"] == kind)
    return next(row for row in found if group in row["group"].split())


def _at(value: Any, path: str) -> Iterator[Any]:
    """List the values at a path of names; each element of a list on the way counts."""
    name, _, rest = path.partition(".")
    if isinstance(value, list):
        for element in value:
            yield from _at(element, path)
    elif isinstance(value, dict) and name in value:
        yield from _at(value[name], rest)
    elif not path:
        yield value
