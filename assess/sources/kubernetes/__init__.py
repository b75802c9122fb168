"""Kubernetes: the lists of one cluster, from its API or from dumps of ``kubectl get -o json``."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

from assess.sources import csv_records
from assess.sources.base import Asked, Call, Row
from assess.sources.dumps import DumpError
from assess.sources.http import HttpError, Web
from assess.sources.kubernetes.controllers import is_patch, place
from assess.sources.kubernetes.kinds import (
    OTHERS,
    generated,
    is_placeholder,
    list_of,
    render_command,
)
from assess.sources.kubernetes.nodes import KUBELETS, configurations_in
from assess.sources.kubernetes.rows import to_batch
from assess.sources.listing import NO_PATH, Found, Listing, ListSource, Pages, Sorted
from assess.sources.values import dicts, dig, listed, text

_KINDS = [row for row in csv_records.rows("kubernetes/kinds") if row["paths"]]
RESOURCES = tuple(
    Listing(row["list"], tuple(row["paths"].split()), row["kind"] in ("Node", "Pod"))
    for row in _KINDS
    if row["list"] != OTHERS
)
VERSIONED = [row["paths"].split() for row in _KINDS if row["list"] == OTHERS]
# kubeadm keeps them, those of kubelets up to 1.23 under a name with the version
SETTINGS = [
    Listing(row["list"], tuple(row["paths"].split()))
    for row in csv_records.rows("kubernetes/settings")
]
_HOOK = ("metadata", "annotations", "helm.sh/hook")
_KUBECONFIG = "a kubeconfig is no dump; `assess sources kubernetes --script` makes one"


class KubernetesSource(ListSource):
    """One Kubernetes cluster per ``[[source]]``."""

    type = "kubernetes"
    lists = RESOURCES
    to_batch = staticmethod(to_batch)

    def sort(self, document: Any) -> Sorted:
        """Sort the objects of a dump by kind: it is a list of one kind, of many, or one object."""
        kind = text(document, "kind")
        items = dig(document, "items")
        yield from ((KUBELETS, [found]) for found in configurations_in(document))
        if not kind.endswith("List") or isinstance(dig(document, "spec"), dict):
            # an object without an image only patches a base of the overlay
            listed = "charts" if is_patch(document) else list_of(document)
            # no release of a chart runs its tests by itself
            is_test = text(document, *_HOOK).startswith("test")
            if listed and not is_test and not is_placeholder(place(document)[1]):
                yield listed, [document]
            if made := generated(document):
                yield "configmaps", made
        elif kind != "List":
            if listed := list_of(_typed(document)):
                yield listed, [_typed(document) | item for item in dicts(items)]
        elif items == []:  # of a cluster that has none of it
            yield from ((row["list"], []) for row in _KINDS)
        else:
            for item in dicts(items):
                yield from self.sort(item)

    def checked(self, documents: list[Any]) -> list[Any]:
        """Return the documents that become rows; other kinds have lists of other forms."""
        if any(isinstance(dig(document, "contexts"), list) for document in documents):
            raise DumpError(_KUBECONFIG)
        return [
            document
            for document in documents
            if text(document, "kind").endswith("List") or list_of(document) != OTHERS
        ]

    def key(self, kind: str, item: Row) -> Hashable:
        """Identify an object by its kind, namespace and name."""
        return kind, text(item, "kind"), *place(item)

    def read(self, asked: Asked) -> Found:
        """Read the lists; what only a tool in the cluster renders has a coverage row."""
        lists = super().read(asked)
        if charts := lists.get("charts"):
            names = sorted({place(chart)[1] for chart in charts})
            hint = f"charts and overlays that are not read, render them: {names[0]}"
            asked.batch.cover(
                asked.scope, "charts", "unsupported", rows=len(charts), hint=hint
            )
        return lists

    def read_one(self, file: Path, call: Call, lists: Found, seen: set[Hashable]) -> None:
        """Read a file; where a tool renders it first, the call names the command."""
        super().read_one(file, call, lists, seen)
        is_whole = call.is_open and not call.row.get("unmapped_n")
        command = render_command(file, call.row["scope"], is_whole=is_whole)
        if command and call.is_open:
            call.status("partial" if call.row["rows"] else "unsupported")
        if command:
            call.hint(f"give what `{command}` prints as a path: it is a template")

    def get_details(self, web: Web, lists: Found, asked: Asked) -> None:
        """Request the settings that kubeadm keeps, and objects of which only the version counts."""
        lists["configmaps"] = []
        for listing in SETTINGS:
            lists["configmaps"] += self._ask_one(web, listing, asked) or []
        others = lists[OTHERS] = []
        call = asked.batch.call(web.scope, "objects", client=web)
        size = 1 if asked.is_probe else self.page
        with call:
            groups = dicts(web.json("apis"), "groups")
            served = {
                f"apis/{text(version, 'groupVersion')}"
                for group in groups
                for version in dicts(group, "versions")
            }
            if not served:
                raise DumpError("the server names no version of its API")
        for paths in () if call.failed else VERSIONED:
            known = [path for path in paths if path.rpartition("/")[0] in served]
            with call:
                for page in self._pages_of_kind(web, known, size):
                    others += call.take(dicts(page))
                    if asked.is_probe:
                        break

    def _pages_of_kind(self, web: Web, paths: list[str], size: int) -> Pages:
        """Ask for a kind in the newest version that has it; without one there are no objects."""
        for path in paths:
            try:
                yield from self.get_pages(web, path, {}, size)
                return
            except HttpError as error:
                # a version of a group is older than some of its kinds
                if error.status_code != NO_PATH:
                    raise

    def get_pages(self, web: Web, path: str, row: Row, size: int) -> Pages:
        """Ask for a list, page by page; the first one has the number of all entries."""
        seen = {""}
        count = 0
        params = {"limit": str(size)}
        while True:
            answer = web.json(path, params=params)
            items = dig(answer, "items")
            if not isinstance(items, list) and dig(answer, "kind") in (None, "Status"):
                raise DumpError("this is no list of Kubernetes: check the endpoint")
            if dig(answer, "kind") == "ConfigMap":  # it was asked for by name
                items = [answer]
            # ``items`` is null in an empty list; only the list as a whole has a version.
            page = [
                _typed(answer) | item if isinstance(item, dict) and item else item
                for item in listed(items)
            ]
            count += len(page)
            rest = dig(answer, "metadata", "remainingItemCount")
            if isinstance(rest, int):
                row["expected"] = count + rest
            yield page
            following = text(answer, "metadata", "continue")
            # A server that repeats its token would be asked for ever.
            if following in seen:
                return
            seen.add(following)
            params["continue"] = following


def _typed(listed: Any) -> Row:
    """Return what the head of a list says of its entries: their kind and its version."""
    head = {"kind": text(listed, "kind").removesuffix("List"), "metadata": {}}
    version = text(listed, "apiVersion")
    return head | {"apiVersion": version} if version else head
