"""Marathon and Mesos: apps, their tasks and agents, from the APIs or from dumps of them."""

from collections.abc import Hashable, Iterator
from dataclasses import replace
from typing import Any

from assess.sources.base import Asked, Row
from assess.sources.csv_records import vocabulary
from assess.sources.dumps import DumpError
from assess.sources.http import Web
from assess.sources.listing import Found, Listing, ListSource, Pages, Sorted
from assess.sources.marathon.pods import with_tasks
from assess.sources.marathon.rows import absolute, to_batch
from assess.sources.values import Words, dicts, dig, listed, text, texts

_EMBEDDED = list(vocabulary("marathon", "embedded"))
_MARATHON = (
    Listing("apps", ("v2/apps",)),
    Listing("deployments", ("v2/deployments",), False),
)
_MESOS = (
    Listing("slaves", ("master/slaves",), False),
    Listing("tasks", ("master/tasks",), False),
)
_GROUPS = ("apps", "groups", "pods")


class MarathonSource(ListSource):
    """One Marathon per ``[[source]]``, and the Mesos that is beneath it."""

    type = "marathon"
    token = "token={}"  # as DC/OS has it
    lists: tuple[Listing, ...] = (*_MARATHON, *_MESOS)
    to_batch = staticmethod(to_batch)

    def check(self, options: Row) -> list[str]:
        """List problems of the options."""
        problems = super().check(options)
        if "mesos_endpoint" in options and "endpoint" not in options:
            problems.append("mesos_endpoint goes with an endpoint")
        return problems

    def sort(self, document: Any) -> Sorted:
        """Sort apps, pods, tasks, agents and deployments by their keys."""
        is_item = "instances" in document or "containers" in document
        for kind in ("slaves", "tasks"):
            if isinstance(document.get(kind), list) and not is_item:
                yield kind, document[kind]
        if "affectedApps" in document:
            yield "deployments", [document]
        elif isinstance(document.get("spec"), dict):  # the status of a pod
            yield "apps", [with_tasks(document)]
        elif is_item and "id" in document:
            yield "apps", [document]
        elif isinstance(document.get("app"), dict):
            yield "apps", [document["app"]]
        elif any(isinstance(document.get(key), list) for key in _GROUPS):
            yield "apps", list(_of_group(document, "", ()))

    def key(self, kind: str, item: Row) -> Hashable:
        """Identify an entry."""
        return kind, text(item, "id") or id(item)

    def get_pages(self, web: Web, path: str, row: Row, size: int) -> Pages:
        """Ask for a list; only that of tasks has pages, and a short page is its last."""
        if path == "v2/apps":
            embedded = _EMBEDDED if size > 1 else ["apps.counts"]
            yield _items(web.json(path, params={"embed": embedded}), "apps")
        elif path != "master/tasks":
            answer = web.json(path)
            yield answer if isinstance(answer, list) else _items(answer, "slaves")
        else:
            offset = 0
            seen: set[str] = set()
            while True:
                params = {"limit": str(size), "offset": str(offset)}
                items = _items(web.json(path, params=params), "tasks")
                fresh = [i for i in items if text(i, "id") not in seen]
                seen |= {text(i, "id") for i in fresh} - {""}
                yield fresh
                offset += len(items)
                if len(items) < size or not fresh:
                    return

    def read(self, asked: Asked) -> Found:
        """Read the lists from dumps, or ask Marathon and Mesos, each at its own endpoint."""
        options = asked.options
        if "path" in options:
            return super().read(asked)
        found: Found = {}
        for option, lists in (("endpoint", _MARATHON), ("mesos_endpoint", _MESOS)):
            if option in options:
                part = MarathonSource()
                part.lists = lists
                there = replace(asked, options=options | {"endpoint": options[option]})
                found |= super(MarathonSource, part).read(there)
        return found


def _of_group(group: Row, base: str, needs: Words) -> Iterator[Any]:
    """List the apps and pods of a group, with whole paths and the group's dependencies."""
    base = absolute(text(group, "id"), base)
    needs = (*needs, *(absolute(path, base) for path in texts(group, "dependencies")))
    for item in (*listed(group, "apps"), *listed(group, "pods")):
        if not isinstance(item, dict) or not text(item, "id").strip("/"):
            yield item
            continue
        own = (absolute(path, base) for path in texts(item, "dependencies"))
        path = absolute(text(item, "id"), base)
        is_alone = not base and not needs  # as the list of all apps has it: whole already
        changed = {"id": f"/{path}", "dependencies": [f"/{p}" for p in (*needs, *own)]}
        yield item if is_alone else item | changed
    for inner in dicts(group, "groups"):
        yield from _of_group(inner, base, needs)


def _items(answer: Any, name: str) -> list[Any]:
    items = dig(answer, name)
    if not isinstance(items, list):
        raise DumpError(f"this is no list of {name}: check the endpoint")
    return items
