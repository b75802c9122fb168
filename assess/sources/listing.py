"""Systems that list what they run: over HTTP, page by page, or from dumps of the same lists."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from assess.sources.base import (
    Batch,
    Deadline,
    Name,
    Row,
    Source,
    failure,
    paths_of,
    timed,
)
from assess.sources.dumps import (
    JSON_SUFFIXES,
    YAML_SUFFIXES,
    dicts,
    each_file,
    read_documents,
)
from assess.sources.http import HttpError, Web, open_web
from assess.sources.unit import share

Found = dict[
    str, list[Row]
]  # what was listed, by kind; a kind that is absent was not told
ENDED = ("exited", "dead")  # states of workloads
_GONE, _NO_PATH = 410, 404
_MUTE = (
    "unreachable",
    "timeout",
)  # failures after which nothing else of a server is asked
_NAMELESS = (
    "localhost",
    "minikube",
    "docker-desktop",
    "kind-control-plane",
    "node",
    "unknown",
)
_WITHHELD = {
    "env",
    "Env",
    "environment",
    "args",
    "Args",
    "command",
    "Command",
    "cmd",
    "annotations",
    "Templates",
    "Options",
    "parameters",
    "Labels",
    "labels",
    "Config",
    "message",
    "Meta",
}


@dataclass(frozen=True)
class Listing:
    """One list of an API."""

    kind: str  # name of the call in coverage rows
    paths: tuple[str, ...]  # newest first: old servers know only the later ones
    is_essential: bool = True  # whether a dump without it is a gap


class ListSource(Source):
    """Base of the sources that read lists: what is left to each is what its lists look like."""

    type = ""
    options: tuple[str, ...] = ("path", "endpoint", "token_file", "ca", "cluster")
    token = "Bearer {}"
    lists: tuple[Listing, ...] = ()

    def check(self, options: dict[str, Any]) -> list[str]:
        """Say what is wrong with options, before anything is asked."""
        is_live, endpoint = (
            "endpoint" in options,
            str(options.get("endpoint", "http://-")),
        )
        wrong = {
            "give either a path or an endpoint": is_live == ("path" in options),
            "path names no file": "path" in options and not paths_of(options),
            "endpoint starts with http:// or https://": not endpoint.startswith(
                ("http://", "https://")
            ),
            "token_file and ca go with an endpoint": not is_live
            and bool({"token_file", "ca"} & set(options)),
        }
        return [problem for problem, is_wrong in wrong.items() if is_wrong]

    def collect(self, options: dict[str, Any], base: Path, deadline: Deadline) -> Batch:
        """Give what the lists hold, as far as they could be read."""
        batch, options = (
            Batch(),
            dict(options),
        )  # a source may learn the name of its cluster
        found = self._found(options, base, deadline, batch)
        if any(found.values()):
            rows = self.to_batch(found, cluster_of(options))
            scope = batch.coverage[-1]["scope"]
            for row in (
                row for rows_of_frame in rows.rows.values() for row in rows_of_frame
            ):
                row.setdefault("source_ref", scope)
            batch.merge(rows)
        return batch

    def probe(self, options: dict[str, Any], base: Path, deadline: Deadline) -> Batch:
        """Say what of it can be read: each list is asked for one entry, each dump is opened."""
        batch = Batch()
        self._found(options, base, deadline, batch, is_probe=True)
        return batch

    def to_batch(self, found: Found, cluster: str) -> Batch:
        """Turn what was listed into rows."""
        raise NotImplementedError

    def sort(self, document: Any) -> Iterator[tuple[str, list[Any]]]:
        """Give the kinds of what a dump holds; nothing for what it is not known."""
        raise NotImplementedError

    def get_pages(
        self, web: Web, path: str, row: Row, *, is_probe: bool
    ) -> Iterator[list[Any]]:
        """Ask for a list, page by page."""
        raise NotImplementedError

    def get_details(self, web: Web, found: Found, batch: Batch) -> None:
        """Ask for what the lists leave out."""

    def key(self, kind: str, item: Row) -> Hashable:
        """Identify an entry, so that two dumps of it are one."""
        return kind, item.get("ID") or item.get("id") or id(item)

    def _found(
        self,
        options: Row,
        base: Path,
        deadline: Deadline,
        batch: Batch,
        *,
        is_probe: bool = False,
    ) -> Found:
        if "path" in options:
            return self._read(options, base, deadline, batch)
        try:
            web = open_web(options, base, deadline, self.token)
        except (OSError, ValueError) as error:
            row = batch.cover(
                str(options.get("token_file") or ""), "connect", "not_configured"
            )
            row |= {
                "error_class": type(error).__name__,
                "hint": "token_file cannot be read",
            }
            return {}
        try:
            return self._ask(web, batch, is_probe=is_probe)
        finally:
            web.close()

    def _ask(self, web: Web, batch: Batch, *, is_probe: bool) -> Found:
        """Ask for every list; each leaves a coverage row, also where nothing answers any more."""
        found: Found = {}
        mute: Row = {}
        for listing in self.lists:
            row = batch.cover(web.scope, listing.kind, "ok")
            if mute:
                row |= mute
                continue
            items = self._ask_one(web, listing, row, is_probe=is_probe)
            if items is not None:
                found[listing.kind] = [item for item in items if isinstance(item, dict)]
                settle(row, items)
            if row["status"] in _MUTE and row.get("error_class") != HttpError.__name__:
                mute = {name: row.get(name) for name in ("status", "error_class", "hint")}
                mute["requests"] = 0
        if not is_probe and not mute:
            self.get_details(web, found, batch)
        return found

    def _ask_one(
        self, web: Web, listing: Listing, row: Row, *, is_probe: bool
    ) -> list[Any] | None:
        """Give the entries of a list, as far as there is an answer; None where there is none."""
        best: list[Any] | None = None
        tries = [
            path for path in listing.paths for _ in range(2)
        ]  # a list that expired is begun
        with timed(row), counted(web, row):  # anew, once
            while tries:
                path, items = tries.pop(0), list[Any]()
                try:
                    for page in self.get_pages(web, path, row, is_probe=is_probe):
                        items += page
                        best = items if len(items) >= len(best or ()) else best
                    return items
                except Exception as error:
                    code = getattr(error, "status_code", None)
                    row |= failure(error)
                    if code == _NO_PATH and best is None:
                        row["hint"] = f"this server knows no {path}"
                        tries = [other for other in tries if other != path]
                    elif code != _GONE or path not in tries:
                        break
                    if tries:
                        row |= {"status": "ok", "error_class": None, "hint": None}
        if best:
            row["status"] = "partial"
        return best

    def _read(self, options: Row, base: Path, deadline: Deadline, batch: Batch) -> Found:
        """Read dumps; each file leaves a coverage row, and so does each list."""
        found: Found = {}
        seen: set[Hashable] = set()
        suffixes = (*JSON_SUFFIXES, *YAML_SUFFIXES)
        for _, file, row in each_file(options, base, deadline, batch, suffixes):
            self._read_one(file, row, found, seen)
        scope = ", ".join(paths_of(options))
        for listing in self.lists if found else ():
            row = batch.cover(scope, listing.kind, "ok", rows=0)
            if listing.kind in found:
                settle(row, found[listing.kind])
            elif listing.is_essential:
                hint = "it is in no dump; `assess sources` names the commands"
                row |= {"status": "not_configured", "hint": hint}
            else:
                row |= {
                    "status": "empty",
                    "hint": "in no dump: there is none, or nobody asked",
                }
        return found

    def _read_one(self, file: Path, row: Row, found: Found, seen: set[Hashable]) -> None:
        """Read one dump; what another one held already is not taken twice."""
        for document in read_documents(file, row):
            sorted_ = list(self.sort(document))
            if not sorted_:
                row["unmapped_n"] = row.get("unmapped_n", 0) + 1
            for kind, items in sorted_:
                kept = found.setdefault(kind, [])
                for item in dicts(items):
                    row["rows"] += 1
                    if (key := self.key(kind, item)) not in seen:
                        seen.add(key)
                        kept.append(item)
        if row["status"] == "ok" and not row["rows"] and not found:
            hint = (
                "nothing in it is known; `assess sources` names the commands that dump it"
            )
            row |= {"status": "parse_error", "hint": hint}


def settle(row: Row, items: list[Any]) -> None:
    """Write into a coverage row how many entries there are, and what is withheld of them."""
    entries = [item for item in items if isinstance(item, dict)]
    row |= {"rows": len(entries), "redacted_n": sum(map(withheld, entries))}
    if len(entries) < len(items):
        row["unmapped_n"] = len(items) - len(entries)
    if expected := row.get("expected"):
        row["ratio"] = round(len(entries) / expected, 4)
        row["status"] = "partial" if len(entries) < expected else row["status"]
    if row["status"] == "ok" and not entries:
        row["status"] = "parse_error" if items else "empty"


@contextmanager
def counted(web: Web, row: Row) -> Iterator[None]:
    """Write the requests and repeats of a block into a coverage row."""
    requests, retries = web.requests_n, web.retries_n
    try:
        yield
    finally:
        row |= {"requests": web.requests_n - requests, "retries": web.retries_n - retries}


def withheld(payload: Any) -> int:
    """Count the values of a payload that no row takes over: environments, arguments, notes."""
    waiting, count = [(payload, False)], 0
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
    """Name the cluster: as the configuration does, else by its address, else by its dump."""
    if named := options.get("cluster"):
        return str(named)
    if "endpoint" in options:
        with suppress(ValueError):
            parts = urlsplit(str(options["endpoint"]))
            return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    paths = [Path(path) for path in paths_of(options)]
    names = [path.stem if len(paths) == 1 else path.parent.name for path in paths[:1]]
    return next(filter(None, names), "cluster")


def host_ids(nodes: Iterable[tuple[str, str]], cluster: str) -> dict[str, str]:
    """Give ids to hosts, from their own ids and names: the name where it tells them apart."""
    pairs = [(own, name or own) for own, name in nodes if own or name]
    uses = Counter(name for _, name in pairs)
    return {
        own: f"{name}@{own if uses[name] > 1 else cluster}"
        if uses[name] > 1 or name.lower().partition(".")[0] in _NAMELESS
        else name
        for own, name in pairs
    }


def share_live(batch: Batch) -> None:
    """Count who shares the source of a mount; what has ended shares nothing with what runs."""
    ended = {w["workload_id"] for w in batch.rows["workloads"] if w["state"] in ENDED}
    mounts = batch.rows["mounts"]
    share([mount for mount in mounts if mount["workload_id"] not in ended])
    share([mount for mount in mounts if mount["workload_id"] in ended])


def text(value: Any) -> str:
    """Give a text, and for anything else none."""
    return value.replace("\0", "") if isinstance(value, str) else ""


def table(value: Any) -> Row:
    """Give an object, and for anything else an empty one."""
    return value if isinstance(value, dict) else {}


def number(value: Any) -> float | None:
    """Give a number that is not below zero, also of a text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) and found >= 0 else None


def integer(value: Any) -> int | None:
    """Give a count that a column of integers can hold."""
    found = number(value)
    return int(found) if found is not None and found < 2**63 else None


def percent(part: float | None, of: float | None) -> float | None:
    """Give a share in percent; None where there is nothing to share."""
    return None if part is None or not of else min(max(100 * part / of, 0.0), 100.0)


def healthy(lost: float | None) -> float | None:
    """Give the share that is needed where this one may be lost [percent].

    It is rounded down: rounded up, two of three replicas would be three.
    """
    return None if lost is None else math.floor((100 - lost) * 100 + 1e-6) / 100


def names_of(
    *candidates: tuple[Any, str, float], namespace: str = ""
) -> tuple[Name, ...]:
    """Make names of those candidates that are texts; what people wrote needs no namespace."""
    return tuple(
        Name(text(name), rule, trust, "" if rule == "label" else namespace)
        for name, rule, trust in candidates
        if text(name)
    )
