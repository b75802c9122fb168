"""Systems with lists of what they run: read over HTTP page by page, or from dumps."""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from assess.inventory import ENDED
from assess.sources import csv_records
from assess.sources.base import (
    Asked,
    Batch,
    Call,
    Lists,
    Name,
    Names,
    Row,
    Rows,
    Source,
    paths_of,
)
from assess.sources.dumps import JSON_SUFFIXES, YAML_SUFFIXES, each_dump, read_documents
from assess.sources.http import HttpError, Web, open_web
from assess.sources.unit import Unit, merge_services, share, unread_note
from assess.sources.values import Texts, Words, dicts, spoiled, text

Found = Lists  # entries by kind of list; an absent kind is unknown
Sorted = Iterator[tuple[str, list[Any]]]  # kinds of lists, each with entries of it
Pages = Iterator[list[Any]]
LABEL = "assess.service"
_GONE = 410
NO_PATH = 404
_NO_DUMP = "it is in no dump; `assess sources` names the commands"
_NOTHING_KNOWN = "nothing in it is known; `assess sources` names the commands"
# Names that many machines have.
_MANY = csv_records.vocabulary("hosts", "common names")
# Keys whose values no row takes over.
_WITHHELD = frozenset(row["key"] for row in csv_records.rows("withheld"))


@dataclass(frozen=True)
class Listing:
    """One list of an API."""

    kind: str  # name of the call in coverage rows
    paths: Words  # newest first: old servers know only the later ones
    is_essential: bool = True  # whether a dump without it is a gap


class ListSource(Source):
    """Base of the sources that read lists; each source defines only the form of its lists."""

    token = "Bearer {}"
    lists: tuple[Listing, ...] = ()
    page = 500  # entries that are asked for at a time
    # the command that turns a file into a dump, by the ending of the file
    renders: Mapping[str, str] = {}

    def fill(self, asked: Asked) -> None:
        """Add the rows of all readable lists; a probe asks for one entry of each."""
        # a source may learn the name of its cluster
        asked.options = dict(asked.options)
        lists = self.read(asked)
        if any(lists.values()) and not asked.is_probe:
            rows = self.to_batch(lists, cluster_of(asked.options))
            scope = asked.batch.coverage[-1]["scope"]
            asked.batch.merge(rows.at(scope))

    def to_batch(self, lists: Found, cluster: str) -> Batch:
        """Convert the entries of the lists to rows."""
        raise NotImplementedError

    def sort(self, document: Any) -> Sorted:
        """Sort an object of a dump by kind of list; nothing where it is not known."""
        raise NotImplementedError

    def get_pages(self, web: Web, path: str, row: Row, size: int) -> Pages:
        """Ask for a list, page by page."""
        raise NotImplementedError

    def get_details(self, web: Web, lists: Found, asked: Asked) -> None:
        """Request details that the lists leave out."""

    def checked(self, documents: list[Any]) -> list[Any]:
        """Return the documents of a dump whose lists have the forms of the source."""
        return documents

    def key(self, kind: str, item: Row) -> Hashable:
        """Return the key of an entry, so that an entry in two dumps counts once."""
        return kind, item.get("ID") or item.get("id") or id(item)

    def read(self, asked: Asked) -> Found:
        """Read the lists from dumps, or ask for them."""
        if "path" in asked.options:
            return self._read(asked)
        with asked.batch.call(asked.scope, "connect") as call:
            web = open_web(asked, self.token)
        if call.failed:
            return {}
        asked.batch.coverage.remove(call.row)  # nothing was asked yet
        with web:
            return self._ask(web, asked)

    def _ask(self, web: Web, asked: Asked) -> Found:
        """Request every list; each gets a coverage row, even after the server fell silent."""
        lists: Found = {}
        for listing in self.lists:
            entries = self._ask_one(web, listing, asked)
            if entries is not None:
                lists[listing.kind] = entries
        self.get_details(web, lists, asked)
        return lists

    def _ask_one(self, web: Web, listing: Listing, asked: Asked) -> Rows | None:
        """Return the entries of a list that arrived; None without any answer."""
        call = asked.batch.call(web.scope, listing.kind, client=web)
        best: list[Any] | None = None
        entries = None
        # Each path twice: a list whose pages expired while they were read is begun anew, once.
        tries = [path for path in listing.paths for _ in range(2)]
        size = 1 if asked.is_probe else self.page
        row = {} if asked.is_probe else call.row
        with call:
            try:
                while tries:
                    path = tries.pop(0)
                    items = []
                    try:
                        pages = self.get_pages(web, path, row, size)
                        for page in islice(pages, 1 if asked.is_probe else None):
                            items += page
                            # a second try may end earlier than the first
                            best = items if len(items) >= len(best or ()) else best
                        best = items
                        break
                    except HttpError as error:
                        if error.status_code == NO_PATH and best is None:
                            tries = [other for other in tries if other != path]
                            error.add_note(f"this server knows no {path}")
                            if tries:
                                continue
                        elif error.status_code == _GONE and path in tries:
                            continue
                        raise
            finally:
                if best is not None:
                    forms = {listing.kind: "", **self.forms}
                    lose(call, spoiled({listing.kind: best}, forms))
                    entries = take_entries(call, best)
        return entries

    def _read(self, asked: Asked) -> Found:
        """Read dumps; each file and each list gets a coverage row."""
        lists: Found = {}
        seen: set[Hashable] = set()
        blank = []
        suffixes = (*JSON_SUFFIXES, *YAML_SUFFIXES, *self.renders)
        for file, call in each_dump(asked, suffixes):
            with call:
                self.read_one(file, call, lists, seen)
                if call.is_open and not call.row["rows"]:
                    call.status("ok")
                    blank.append(call)
        # One file of a directory may be of something else; it is a problem if all are.
        for call in () if lists else blank:
            call.status("parse_error", _NOTHING_KNOWN)
        for listing in self.lists if lists else ():
            call = asked.batch.call(asked.scope, listing.kind)
            with call:
                if listing.kind in lists:
                    take_entries(call, lists[listing.kind])
                elif listing.is_essential:
                    call.status("not_configured", _NO_DUMP)
                else:
                    call.status("empty", "in no dump: there is none, or nobody asked")
        return lists

    def read_one(self, file: Path, call: Call, lists: Found, seen: set[Hashable]) -> None:
        """Read one dump; entries of an earlier dump are skipped."""
        if command := self.renders.get(file.suffix.lower()):
            call.status("unsupported", f"it is no dump; make one: {command}")
            return
        documents = read_documents(file, call.row)
        read = {"entries": self.checked(documents)}
        lose(call, spoiled(read, {"entries": "", **self.forms}))
        for document in filter(None, dicts(documents)):
            kinds = list(self.sort(document))
            if not kinds:  # it is of something else
                call.count(unmapped_n=1)
            for kind, items in kinds:
                entries = lists.setdefault(kind, [])
                for item in call.take(dicts(items)):
                    key = self.key(kind, item)
                    if key not in seen:
                        seen.add(key)
                        entries.append(item)


def lose(call: Call, entries: list[str]) -> None:
    """Count entries that cannot be read; the hint names the place of the first."""
    if entries:
        call.count(unmapped_n=len(entries))
        call.row.setdefault("hint", f"left out what cannot be read: {entries[0]}")


def take_entries(call: Call, items: list[Any]) -> Rows:
    """Return the entries of a list; count them and their withheld values."""
    entries = call.take(dicts(items))
    call.count(redacted_n=sum(map(withheld, entries)))
    return entries


def withheld(payload: Any) -> int:
    """Count the values of a payload that never enter a row: environments, arguments, notes."""
    waiting = [(payload, False)]
    count = 0
    while waiting:
        value, is_inside = waiting.pop()
        if isinstance(value, dict):
            waiting += [(v, is_inside or name in _WITHHELD) for name, v in value.items()]
        elif isinstance(value, list):
            waiting += [(v, is_inside) for v in value]
        else:
            count += is_inside
    return count


def cluster_of(options: Row) -> str:
    """Return the name of the cluster: from the configuration, its address, or its dump."""
    if named := options.get("cluster"):
        return str(named)
    if "endpoint" in options:
        with suppress(ValueError):
            parts = urlsplit(str(options["endpoint"]))
            return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    paths = [Path(path) for path in paths_of(options)]
    name = ""
    if paths:
        name = paths[0].stem if len(paths) == 1 else paths[0].parent.name
    return name or "cluster"


def host_ids(nodes: Iterable[tuple[str, str]], cluster: str) -> Texts:
    """Map ids of hosts to host_id: the name if it is unique, else the name with id or cluster."""
    pairs = [(own, name or own) for own, name in nodes if own or name]
    uses = Counter(name for _, name in pairs)
    return {
        own: f"{name}@{own if uses[name] > 1 else cluster}"
        # "localhost" and "node" are names in every cluster
        if uses[name] > 1 or name.lower().partition(".")[0] in _MANY
        else name
        for own, name in pairs
    }


def complete(
    batch: Batch, cluster: str, units: list[Unit], services: Rows, needs: Rows
) -> None:
    """Add services and dependencies once all replicas are placed, and cover unread texts."""
    ended = {w["workload_id"] for w in batch.rows["workloads"] if w["state"] in ENDED}
    for is_ended in (False, True):  # counted apart
        mounts = batch.rows["mounts"]
        share([m for m in mounts if (m["workload_id"] in ended) is is_ended])
    batch.add("services", *merge_services(services))
    batch.add("dependencies", *needs)
    if note := unread_note(units):
        batch.cover(cluster, "references", **note)


def labelled(labels: Row) -> tuple[Any, str, float]:
    """Return the name that people gave a service by a label, as a candidate for `names_of`."""
    return labels.get(LABEL), "label", 1.0


def names_of(*candidates: tuple[Any, str, float], namespace: str = "") -> Names:
    """Make names of the candidates that are texts; names from labels get no namespace."""
    return tuple(
        Name(text(name), rule, trust, "" if rule == "label" else namespace)
        for name, rule, trust in candidates
        if text(name)
    )
