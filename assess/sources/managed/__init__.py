"""Cloud Run and Container Apps: services whose hosts and runtime a provider runs, from dumps."""

import json
import re
from collections import defaultdict
from collections.abc import Hashable
from types import ModuleType
from typing import Any

from assess.sources.base import Batch, Row
from assess.sources.listing import Found, Listing, ListSource, Sorted
from assess.sources.managed import cloud_run, container_apps
from assess.sources.managed.apps import to_rows
from assess.sources.values import Words, dicts, dig


class ManagedSource(ListSource):
    """Base of the sources of platforms whose hosts are not accessible."""

    wrappers: Words  # keys of an answer that holds a list
    platform: ModuleType  # reads the descriptions of one platform

    def sort(self, document: Any) -> Sorted:
        """Sort the descriptions in a dump: one of them, or the list of an API."""
        for wrapper in self.wrappers:
            if isinstance(dig(document, wrapper), list):
                for item in dicts(document, wrapper):
                    yield from self.sort(item)
                return
        if kind := self.platform.list_of(document):
            yield kind, [document]

    def key(self, kind: str, item: Row) -> Hashable:
        """Identify what is described."""
        return kind, self.platform.identity(item)

    def to_batch(self, lists: Found, cluster: str) -> Batch:
        """Turn descriptions into rows."""
        apps = self.platform.to_apps(defaultdict(list, lists))
        return to_rows(apps, self.type, cluster)


class CloudRunSource(ManagedSource):
    """Services, jobs and worker pools of Cloud Run."""

    type = "cloudrun"
    lists = tuple(
        Listing(kind, (), kind == "services")
        for kind in ("services", "jobs", "revisions")
    )
    wrappers = ("items", "services", "jobs", "workerPools", "revisions")
    platform = cloud_run


class ContainerAppsSource(ManagedSource):
    """Apps and jobs of Azure Container Apps, and groups of Container Instances."""

    type = "containerapps"
    lists = tuple(
        Listing(kind, (), kind == "apps")
        for kind in ("apps", "jobs", "environments", "revisions", "groups")
    )
    wrappers = ("value",)
    platform = container_apps

    def sort(self, document: Any) -> Sorted:
        """Sort descriptions with the keys of the API: Azure's SDK writes ``max_replicas``."""
        written = json.dumps(document, default=str)
        yield from super().sort(json.loads(written, object_hook=_with_api_keys))


def _with_api_keys(values: Row) -> Row:
    return {re.sub(r"_(.)", lambda m: m[1].upper(), k): v for k, v in values.items()}
