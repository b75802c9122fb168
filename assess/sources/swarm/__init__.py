"""Docker Swarm: live through the engine of a manager, or from dumps of its lists."""

from collections.abc import Hashable
from contextlib import ExitStack
from functools import partial
from typing import Any

from assess.sources.base import Asked, Row
from assess.sources.docker.client import connect, endpoint_of, failure, problems_of
from assess.sources.listing import Found, Listing, ListSource, Sorted, take_entries
from assess.sources.redact import strip_credentials
from assess.sources.swarm.rows import from_cli, short_id, to_batch
from assess.sources.values import dig, listed, text

_NO_SWARM = "this engine is in no swarm"
_NO_MANAGER = (406, 503)  # answers of an engine that manages no swarm


class SwarmSource(ListSource):
    """One Docker Swarm per ``[[source]]``."""

    type = "swarm"
    lists = tuple(Listing(kind, (kind,)) for kind in ("nodes", "services", "tasks"))
    to_batch = staticmethod(to_batch)
    check = problems_of

    def sort(self, document: Any) -> Sorted:
        """Sort services, nodes and tasks by their keys."""
        if from_line := from_cli(document):
            yield from_line[0], [from_line[1]]
        elif dig(document, "Spec", "TaskTemplate") is not None:
            yield "services", [document]
        elif "Description" in document and "Spec" in document:
            yield "nodes", [document]
        elif "ServiceID" in document and "DesiredState" in document:
            yield "tasks", [document]

    def key(self, kind: str, item: Row) -> Hashable:
        """Identify an entry; a list and an inspection of it are two."""
        return kind, "Version" in item, short_id(item, "ID") or id(item)

    def read(self, asked: Asked) -> Found:
        """Read the lists from dumps, or ask a manager's engine for them."""
        options = asked.options
        if "path" in options:
            return super().read(asked)
        scope = strip_credentials(endpoint_of(options))
        ask = partial(asked.batch.call, scope, classify=_failure, deadline=asked.deadline)
        lists = {}
        with ExitStack() as stack:
            is_manager = False
            with ask("info") as call:
                api = connect(options, asked.base, asked.deadline)
                stack.callback(api.close)
                call.count(requests=2)
                version = api.get("/version", is_versioned=False)
                if newest := text(version, "ApiVersion"):
                    api.negotiate(newest)
                info = api.get("/info")
                is_manager = dig(info, "Swarm", "ControlAvailable") is True
                if is_manager:
                    call.take([info])
                    cluster = short_id(info, "Swarm", "Cluster", "ID")
                    options.setdefault("cluster", cluster)
                elif text(info, "Swarm", "LocalNodeState") == "active":
                    call.status("unsupported", "name the engine of a manager")
                else:
                    call.status("unsupported", _NO_SWARM)
            for listing in self.lists if is_manager else ():
                with ask(listing.kind) as call:
                    call.count(requests=1)
                    items = listed(api.get(f"/{listing.kind}"))
                    lists[listing.kind] = take_entries(call, items)
        return lists


def _failure(error: Exception) -> Row:
    row = failure(error)
    if getattr(error, "status_code", None) in _NO_MANAGER:
        row |= {"status": "unsupported", "hint": _NO_SWARM}
    return row
