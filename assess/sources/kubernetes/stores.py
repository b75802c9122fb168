"""Stores that an operator runs: a custom resource stands for the pods that it makes."""

from collections.abc import Iterator
from math import prod
from typing import Any

from assess.sources.base import Row
from assess.sources.kubernetes.controllers import Controller, Selected
from assess.sources.kubernetes.kinds import store_facts
from assess.sources.unit import Unit
from assess.sources.values import Texts, integer, picked, table, text, texts
from assess.sources.volumes import Mount

# Columns that only the pods themselves can fill.
UNSEEN = dict.fromkeys(("env_names_n", "secret_like_env_n", "docker_sock_mounted"))


def store_unit(controller: Controller) -> Unit:
    """Read the declaration of a store in a custom resource of its operator."""
    facts = store_facts(controller.made_by)
    spec = _spec(controller)
    paths = facts["resources"].split()  # of the versions of its API, the newest first
    found = (r for path in paths for r in _at(spec, path) if isinstance(r, dict) and r)
    resources: Row = next(found, {})
    return Unit(
        names=controller.names,
        platform="kubernetes",
        image=_image(spec, facts["image"]),
        ports=(f"{facts['port']}/tcp",),
        mounts=_mounts(spec, facts),
        **picked(resources, "kubernetes store"),
        stateful=True,
    )


def complete_store(controller: Controller) -> None:
    """Add to the controller of a store its replicas, and the Services that its operator makes."""
    facts = store_facts(controller.made_by)
    spec = _spec(controller)
    counts = (_count(spec, path) for path in facts["replicas"].split())
    controller.store = facts["store"]
    controller.spec = {"replicas": next(filter(None, counts), 1)}
    words = {
        "clusterName": text(spec, "clusterName").lower(),
        "datacenter": next(_at(spec, "cassandra.datacenters.metadata.name"), "dc1"),
    }
    made = facts["services"].split()
    names = tuple(name.format(controller.name, **words) for name in made)
    controller.selected.append(Selected(controller.namespace, names, is_public=False))


def _spec(controller: Controller) -> Row:
    """Return the spec of the custom resource, with those of its further parts as `parts`."""
    return table(controller.made_by, "spec") | {"parts": controller.parts}


def _image(spec: Row, path: str) -> str:
    """Return the image at a path; of two paths, the repository and the tag."""
    parts = (list(_at(spec, part)) for part in path.split(":"))
    found = [next(iter(texts(values)), "") for values in parts]
    return ":".join(found) if all(found) else ""


def _count(spec: Row, path: str) -> int:
    """Add up the numbers at a path; factors such as shards and replicas are multiplied."""
    above, _, factors = path.rpartition(".")
    names = [name for name in factors.split("*") if not name.isdigit()]
    times = prod(int(number) for number in factors.split("*") if number.isdigit())
    counts = []
    for owner in _at(spec, above):
        numbers = [integer(owner, name) for name in names if isinstance(owner, dict)]
        known = [number for number in numbers if number is not None]
        counts += [prod(known)] if known else []
    return times * sum(counts)


def _mounts(spec: Row, facts: Texts) -> tuple[Mount, ...]:
    """Return the data volume; none where the resource asks for no storage that outlives a pod."""
    asked = facts["storage"].split()
    is_asked = not asked or any(value for path in asked for value in _at(spec, path))
    paths = facts["ephemeral"].split()
    kinds = (str(kind).lower() for path in paths for kind in _at(spec, path))
    if not is_asked or "ephemeral" in kinds:
        return ()
    return (Mount(facts["data"], "volume", source_class="named-volume"),)


def _at(value: Any, path: str) -> Iterator[Any]:
    """List the values at a path of names; each element of a list on the way counts."""
    name, _, rest = path.partition(".")
    if isinstance(value, list) and value:
        for element in value:
            yield from _at(element, path)
    elif not path:
        yield value
    elif isinstance(value, dict) and name in value:
        yield from _at(value[name], rest)
