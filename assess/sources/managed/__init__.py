"""Cloud Run and Container Apps: services whose hosts and runtime a provider runs, from dumps."""

from collections.abc import Hashable, Iterator
from typing import Any

from assess.sources.base import Batch, Row
from assess.sources.listing import Found, Listing, ListSource
from assess.sources.managed import cloud_run, container_apps
from assess.sources.managed.apps import App, to_rows
from assess.sources.unit import FRAMES
from assess.sources.values import dicts, dig


class ManagedSource(ListSource):
    """Base of the sources of platforms whose hosts are not accessible."""

    options = ("path",)
    fills = tuple(frame for frame in FRAMES if frame != "engines")
    wrappers: tuple[str, ...]  # keys of an answer that holds a list

    def sort(self, document: Any) -> Iterator[tuple[str, list[Any]]]:
        """Sort the descriptions in a dump: one of them, or the list of an API."""
        for wrapper in self.wrappers:
            if isinstance(dig(document, wrapper), list):
                for item in dicts(document, wrapper):
                    yield from self.sort(item)
                return
        if kind := self.list_of(document):
            yield kind, [document]

    def key(self, kind: str, item: Row) -> Hashable:
        """Identify what is described."""
        return kind, self.identity(item)

    def to_batch(self, lists: Found, cluster: str) -> Batch:
        """Turn descriptions into rows."""
        return to_rows(self.apps(lists), self.type, cluster)

    def list_of(self, document: Row) -> str:
        """Return the list that a description belongs to; empty for anything else."""
        raise NotImplementedError

    def identity(self, item: Row) -> Hashable:
        """Return the identity of a description."""
        raise NotImplementedError

    def apps(self, lists: Found) -> list[App]:
        """Read descriptions."""
        raise NotImplementedError


class CloudRunSource(ManagedSource):
    """Services, jobs and worker pools of Cloud Run."""

    type = "cloudrun"
    needs = "run.viewer on the projects, to list; the dumps hold environments"
    dump = (
        "`gcloud run services list --format json`, likewise `jobs list` and `revisions list` for "
        "digests and deployments, or the answers of the API in version 1 or 2"
    )
    lists = (
        Listing("services", ()),
        *(Listing(kind, (), is_essential=False) for kind in ("jobs", "revisions")),
    )
    wrappers = ("items", "services", "jobs", "workerPools", "revisions")
    list_of = staticmethod(cloud_run.list_of)
    identity = staticmethod(cloud_run.identity)
    apps = staticmethod(cloud_run.to_apps)


class ContainerAppsSource(ManagedSource):
    """Apps and jobs of Azure Container Apps, and groups of Container Instances."""

    type = "containerapps"
    needs = "Reader on the resource groups, to list; the dumps hold environments"
    dump = (
        "`az containerapp list -o json`, likewise `containerapp job list`, `containerapp env "
        "list` for what is public and where logs go, `containerapp revision list` for replicas, "
        "and `az container list`"
    )
    lists = (
        Listing("apps", ()),
        *(
            Listing(kind, (), is_essential=False)
            for kind in ("jobs", "environments", "revisions", "groups")
        ),
    )
    wrappers = ("value",)
    list_of = staticmethod(container_apps.list_of)
    identity = staticmethod(container_apps.identity)
    apps = staticmethod(container_apps.to_apps)
