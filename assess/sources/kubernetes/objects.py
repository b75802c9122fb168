"""Objects of a cluster's API that are no pods: in which version each was applied."""

from collections.abc import Iterator, Mapping

from assess import frames
from assess.sources.base import Row
from assess.sources.kubernetes.controllers import Controller, Owners, owner_of, place
from assess.sources.kubernetes.kinds import api_version, applied_version
from assess.sources.listing import Found
from assess.sources.values import text

About = Mapping[tuple[str, str, str], list[Controller]]  # by list, namespace and name


def to_objects(lists: Found, owners: Owners, about: About, cluster: str) -> Iterator[Row]:
    """List the objects of API groups, but those that a controller made."""
    # The core of the API has had one version from the start.
    for listed, items in sorted(lists.items()):
        for item in items:
            served = api_version(item)
            applied = applied_version(item)
            is_grouped = "/" in f"{served}{applied}"
            if is_grouped and not owner_of(item) and place(item)[1]:
                yield _to_object(item, served, applied, cluster) | _names(
                    item, listed, owners, about
                )


def to_kubeadm_object(config: Row, cluster: str) -> Row:
    """Return the configuration that kubeadm keeps, as applied in the version that it is in."""
    version = api_version(config)
    meta = {"namespace": "kube-system", "name": "kubeadm-config"}
    return _to_object(config | {"metadata": meta}, version, version, cluster)


def _to_object(item: Row, served: str | None, applied: str | None, cluster: str) -> Row:
    namespace, name = place(item)
    kind = text(item, "kind")
    # Two API groups may have kinds of the same name.
    group = (served or applied or "").partition("/")[0]
    return frames.row(
        "objects",
        object_id=f"{cluster}/{namespace}/{group}/{kind}/{name}",
        cluster=cluster,
        namespace=namespace or None,
        kind=kind or None,
        name=name,
        api_version=served,
        last_applied_api_version=applied,
    )


def _names(item: Row, listed: str, owners: Owners, about: About) -> Row:
    """Return the names of the service that an object is about, where it is one."""
    key = (listed.removesuffix("s"), *place(item))
    controller = owners.controllers.get(key)
    found = [controller] if controller else about.get((listed, *place(item)), [])
    if len({controller.names[0] for controller in found}) != 1:
        return {}
    return {"names": found[0].names}
