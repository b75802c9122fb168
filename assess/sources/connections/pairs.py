"""Who calls whom by flow logs alone: arrays of numbers until the edges are rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from assess.sources.base import Name
from assess.sources.connections.flows import summed, time_of
from assess.sources.connections.observed import FLOW, SOCKET, Sighting
from assess.sources.connections.sockets import MAX_PORT
from assess.sources.edges import Kind

T = TypeVar("T")
Key = tuple[Name, Name | str, str]  # caller, callee, kind
Callers = tuple[tuple[Name, bool], ...]  # and whether each is only possible
_NO_END = -1
_AT_A_TIME = 10_000  # edges as Python objects
_PAIR = ["callers", "callee"]
_OF_PAIR = [("calls", "sum"), ("start", "min"), ("end", "max"), ("window_hours", "max")]
_EDGE = ["src", "dst"]
_OF_EDGE = [*_OF_PAIR, ("is_possible", "min"), ("confidence", "max")]


@dataclass(frozen=True)
class Callee:
    """One end of an edge: a service, the name of an address, or an outside host."""

    name: Name | str
    confidence: float
    kind: Kind
    is_known: bool  # it is a service of the fleet


@dataclass
class Edge:
    """One dependency, from all talks between two services."""

    confidence: float
    protocol: str
    is_possible: bool = True
    seen: Sighting = field(default_factory=Sighting)
    window_hours: float = 0.0  # in which its places were watched
    basis: str = SOCKET

    def add(self, more: Edge) -> None:
        """Count more of it; the surest part decides."""
        self.is_possible &= more.is_possible
        self.confidence = max(self.confidence, more.confidence)
        self.seen.add(more.seen.count, more.seen.first, more.seen.last)
        self.window_hours = max(self.window_hours, more.window_hours)


class Pairs:
    """Sums of talks by the services that may be the callers, and by the callee."""

    def __init__(self) -> None:
        self._groups: dict[Callers, int] = {}
        self._callees: dict[Callee, int] = {}
        self._tables: list[pa.Table] = []

    def add(
        self,
        talks: pa.Table,
        callee: Callable[[int, int], Callee | None],
        callers: Callable[[int], Callers | None],
    ) -> None:
        """Add talks between numbered addresses; one with an end that is None is left out."""
        table = _resolved(talks, ["server", "port"], "callee", callee, self._callees)
        table = _resolved(table, ["client"], "callers", callers, self._groups)
        self._tables.append(summed(table, _PAIR, _OF_PAIR))

    def called_by_unknown(self) -> set[Name | str]:
        """Return the services of the fleet that somebody unknown called."""
        nobody = self._groups.get((), _NO_END)
        found: set[int] = set()
        for table in self._tables:
            is_unknown = pc.equal(table["callers"], nobody)
            found.update(table.filter(is_unknown)["callee"].unique().to_pylist())
        callees = list(self._callees)
        return {callees[number].name for number in found if callees[number].is_known}

    def edges(self) -> Iterator[tuple[Key, Edge]]:
        """Yield an edge for each caller, callee and kind: a group of callers becomes several."""
        members = [member for callers in self._groups for member in callers]
        names = [name for name, _ in members]
        table = self._spread([is_possible for _, is_possible in members], names)
        callees = list(self._callees)
        pa.default_memory_pool().release_unused()
        floats: dict[float, float] = {}  # one object of each, not one an edge
        for batch in table.to_batches(_AT_A_TIME):
            for row in batch.to_pylist():
                callee = callees[row["dst"]]
                total = Sighting(row["calls"], time_of(row["start"]), time_of(row["end"]))
                edge = Edge(
                    floats.setdefault(row["confidence"], row["confidence"]),
                    callee.kind.protocol,
                    row["is_possible"],
                    total,
                    floats.setdefault(row["window_hours"], row["window_hours"]),
                    FLOW,
                )
                yield (names[row["src"]], callee.name, callee.kind.kind), edge

    def _spread(self, is_possible: list[bool], names: list[Name]) -> pa.Table:
        """Return one row an edge: numbers of the first member and of the first callee alike."""
        offsets = np.cumsum([0, *map(len, self._groups)])
        groups = pa.ListArray.from_arrays(offsets, np.arange(len(names)))
        pairs = summed(pa.concat_tables(self._tables), _PAIR, _OF_PAIR)
        self._tables.clear()
        spread = groups.take(pairs["callers"].combine_chunks())
        member = spread.flatten().to_numpy()
        pairs = pairs.take(pc.list_parent_indices(spread))
        callee = pairs["callee"].to_numpy()
        ends = [(callee.name, callee.kind.kind) for callee in self._callees]
        sure = np.array([callee.confidence for callee in self._callees])
        columns = {
            "src": _firsts(names)[member],
            "dst": _firsts(ends)[callee],
            "is_possible": np.array(is_possible, bool)[member],
            "confidence": sure[callee],
        }
        for name, values in columns.items():
            pairs = pairs.append_column(name, pa.array(values))
        return summed(pairs, _EDGE, _OF_EDGE)


def _firsts(values: list[T]) -> np.ndarray:
    """Return for each value the place of the first one like it."""
    codes, _ = pd.factorize(pd.Series(values, dtype=object))
    places = np.unique(codes, return_index=True)[1]
    return places[codes].astype(np.int32)


def _resolved(
    table: pa.Table,
    keys: list[str],
    name: str,
    resolve: Callable[..., T | None],
    numbers: dict[T, int],
) -> pa.Table:
    """Return the table with a column of the numbers of what its keys stand for.

    The second key is a port. Rows of a combination without a result are left out.
    """
    code = np.zeros(len(table), np.int64)
    for key in keys:
        code = code * (MAX_PORT + 1) + table[key].to_numpy()
    distinct, inverse = np.unique(code, return_inverse=True)
    found = []
    for value in distinct.tolist():
        parts = divmod(value, MAX_PORT + 1) if len(keys) > 1 else (value,)
        end = resolve(*parts)
        found.append(_NO_END if end is None else numbers.setdefault(end, len(numbers)))
    column = np.array(found, np.int32)[inverse]
    table = table.append_column(name, pa.array(column))
    return table.filter(pa.array(column != _NO_END))
