"""Failure scenarios computed together: bit i of a node's integer says it is down in scenario i.

One pass over the arcs fails a node for every scenario at once (pattern-parallel fault simulation).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]
Arcs = list[list[tuple[int, int | None]]]

WEIGHT_BITS = 40  # precision to which weights that are no whole numbers are added up
SUM_BITS = 128  # of a total: more than weights and nodes together can need


@dataclass(frozen=True, eq=False)
class Parts:
    """Nodes put together where each falls with the other, in the order in which failures flow.

    Attributes
    ----------
    part : ndarray of int
        By node, the part that holds it.
    heads : list of list of int
        By part, the parts that fail with it: all of them later ones.
    """

    part: Integers
    heads: list[list[int]]


def condense(nodes: int, tail: Integers, head: Integers) -> Parts:
    """Put the nodes of each cycle together, and the rest in order.

    Parameters
    ----------
    nodes : int
        Number of nodes. [count]
    tail, head : ndarray of int
        Arcs: ``head`` fails when ``tail`` fails.

    Returns
    -------
    Parts
        The strongly connected components, in reverse postorder.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    matrix = coo_array((np.ones(len(tail), bool), (tail, head)), shape=(nodes, nodes))
    n, part = connected_components(matrix, directed=True, connection="strong")
    part = part.astype(np.int64)
    first, second = part[tail], part[head]
    across = first != second
    pairs = np.unique(first[across] * n + second[across])
    place = np.empty(n, np.int64)
    place[_reverse_postorder(_lists(n, pairs // n, pairs % n))] = np.arange(n)
    pairs = np.sort(place[pairs // n] * n + place[pairs % n])
    return Parts(place[part], _lists(n, pairs // n, pairs % n))


def _lists(n: int, key: Integers, value: Integers) -> list[list[int]]:
    """By key, its values; keys come sorted."""
    ends, values = np.searchsorted(key, np.arange(n + 1)).tolist(), value.tolist()
    return [values[ends[each] : ends[each + 1]] for each in range(n)]


def _reverse_postorder(heads: Sequence[Sequence[int]]) -> list[int]:
    seen = bytearray(len(heads))
    finished: list[int] = []
    for root in range(len(heads)):
        if seen[root]:
            continue
        seen[root] = 1
        stack = [(root, iter(heads[root]))]
        while stack:
            node, others = stack[-1]
            for head in others:
                if not seen[head]:
                    seen[head] = 1
                    stack.append((head, iter(heads[head])))
                    break
            else:
                stack.pop()
                finished.append(node)
    return finished[::-1]


def sweep(parts: Parts, down: dict[int, int]) -> Iterator[tuple[int, int]]:
    """Spread failures along certain arcs.

    Parameters
    ----------
    parts : Parts
        The graph.
    down : dict of int to int
        By part, the lanes in which it fails by itself; emptied.

    Yields
    ------
    part, lanes : int
        Each part that falls, in order, and the lanes in which it is down. What was yielded is no
        longer held: the memory in use is that of the front of the sweep.
    """
    heads, dirty = parts.heads, bytearray(len(parts.heads))
    for part in down:
        dirty[part] = 1
    here = dirty.find(1)
    while here >= 0:
        lanes = down.pop(here)
        for head in heads[here]:
            if dirty[head]:
                down[head] |= lanes
            else:
                down[head] = lanes
                dirty[head] = 1
        yield here, lanes
        here = dirty.find(1, here + 1)


def fixpoint(down: list[int], arcs: Arcs) -> list[int]:
    """Spread failures along arcs that are open in some lanes, until nothing changes.

    Parameters
    ----------
    down : list of int
        By node, the lanes in which it fails by itself; changed in place.
    arcs : list of list of (int, int or None)
        By node, the nodes that fail with it, each with the lanes in which it does (None: in all).

    Returns
    -------
    list of int
        By node, the lanes in which it is down: the least fixpoint, cycles and all.

    Notes
    -----
    Nodes are swept in reverse postorder, only those that changed: without cycles once.
    """
    order = _reverse_postorder([[head for head, _ in heads] for heads in arcs])
    place = [0] * len(order)
    for position, node in enumerate(order):
        place[node] = position
    dirty = bytearray(bool(down[node]) for node in order)
    here = dirty.find(1)
    while here >= 0:
        dirty[here] = 0
        lanes = down[order[here]]
        for head, mask in arcs[order[here]]:
            old = down[head]
            new = old | (lanes if mask is None else lanes & mask)
            if new != old:
                down[head] = new
                dirty[place[head]] = 1
        after = dirty.find(1, here + 1)
        here = after if after >= 0 else dirty.find(1)
    return down


def unpack(lanes: int, width: int) -> Bytes:
    """Give the lanes of an integer one by one.

    Parameters
    ----------
    lanes : int
        One bit per lane.
    width : int
        Number of lanes. [count]

    Returns
    -------
    ndarray of uint8
        0 or 1 by lane.
    """
    return np.unpackbits(to_bytes([lanes], width)[0], count=width, bitorder="little")


def pack(flags: Booleans) -> int:
    """Make an integer of lanes.

    Parameters
    ----------
    flags : ndarray of bool
        By lane.

    Returns
    -------
    int
        One bit per lane.
    """
    return int.from_bytes(np.packbits(flags, bitorder="little").tobytes(), "little")


def to_bytes(rows: Sequence[int], width: int) -> Bytes:
    """Lay integers of lanes out in memory.

    Parameters
    ----------
    rows : sequence of int
        One bit per lane.
    width : int
        Number of lanes. [count]

    Returns
    -------
    ndarray of uint8
        One row each; lane i is bit ``i % 8`` of column ``i // 8``.
    """
    size = (width + 7) // 8
    joined = b"".join(row.to_bytes(size, "little") for row in rows)
    return np.frombuffer(joined, np.uint8).reshape(len(rows), size)


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights as whole numbers of a unit.

    Attributes
    ----------
    whole : ndarray of int
        By node. [units, >= 0]
    unit : float
        What a unit weighs.
    """

    whole: Integers
    unit: float

    @classmethod
    def of(cls, weights: Floats | Integers) -> Weights:
        """Find a unit, such that sums of weights are exact, or nearly so.

        Parameters
        ----------
        weights : ndarray of float or int
            By node. [>= 0]

        Returns
        -------
        Weights
            As they are where they are whole numbers, else in `WEIGHT_BITS` bits.
        """
        top = float(weights.max(initial=0.0))
        whole = bool((weights == np.floor(weights)).all()) and top < 2.0**WEIGHT_BITS
        unit = 1.0 if whole else top / 2.0**WEIGHT_BITS
        return cls(np.rint(weights / unit).astype(np.int64), unit)

    @cached_property
    def digits(self) -> list[list[int]]:
        """By node, the binary digits of its weight that are one."""
        return [
            [d for d in range(w.bit_length()) if w >> d & 1] for w in self.whole.tolist()
        ]


class Scales:
    """Add up the weights of what is down, by lane.

    Three rows of one binary digit become one of it and one of the next (carry-save addition), so
    that only the digits of the sums are ever unpacked.

    Parameters
    ----------
    weights : Weights
        By node.
    """

    def __init__(self, weights: Weights) -> None:
        self.unit, self.digits = weights.unit, weights.digits
        self.planes: list[list[int]] = [[] for _ in range(SUM_BITS)]

    def put(self, node: int, lanes: int) -> None:
        """Add a node.

        Parameters
        ----------
        node : int
            Which.
        lanes : int
            The lanes in which it is down.
        """
        for digit in self.digits[node]:
            self._add(digit, lanes)

    def _add(self, digit: int, row: int) -> None:
        while row:
            plane = self.planes[digit]
            plane.append(row)
            if len(plane) < 3:
                return
            first, second, third = plane
            either = first ^ second
            plane[:] = [either ^ third]
            row = (first & second) | (third & either)
            digit += 1

    def read(self, width: int) -> Floats:
        """Give the sums, and start again from zero.

        Parameters
        ----------
        width : int
            Number of lanes. [count]

        Returns
        -------
        ndarray of float
            By lane.
        """
        total = np.zeros(width)
        for digit, plane in enumerate(self.planes):
            while len(plane) > 1:
                first, second = plane.pop(), plane.pop()
                plane.append(first ^ second)
                self._add(digit + 1, first & second)
            if plane and plane[0]:
                total += math.ldexp(1.0, digit) * unpack(plane[0], width)
            plane.clear()
        return total * self.unit
