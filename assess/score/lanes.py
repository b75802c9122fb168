"""Failure scenarios computed together: bit i of a node's integer says it is down in scenario i.

One pass over the arcs fails a node for every scenario at once (pattern-parallel fault simulation).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]
Arcs = list[list[tuple[int, int | None]]]

WEIGHT_BITS = 40  # precision to which weights that are no whole numbers are added up


def fixpoint(down: list[int], arcs: Arcs) -> list[int]:
    """Spread failures along arcs until nothing changes.

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
    order = _reverse_postorder(arcs)
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


def _reverse_postorder(arcs: Arcs) -> list[int]:
    seen = bytearray(len(arcs))
    finished: list[int] = []
    for root in range(len(arcs)):
        if seen[root]:
            continue
        seen[root] = 1
        stack = [(root, iter(arcs[root]))]
        while stack:
            node, heads = stack[-1]
            for head, _ in heads:
                if not seen[head]:
                    seen[head] = 1
                    stack.append((head, iter(arcs[head])))
                    break
            else:
                stack.pop()
                finished.append(node)
    return finished[::-1]


def closure(nodes: int, tail: Integers, head: Integers, seeds: list[int]) -> list[int]:
    """Spread failures along certain arcs.

    Parameters
    ----------
    nodes : int
        Number of nodes. [count]
    tail, head : ndarray of int
        The arcs.
    seeds : list of int
        By node, the lanes in which it fails by itself.

    Returns
    -------
    list of int
        By node, the lanes in which it is down. The nodes of a cycle share one integer.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    matrix = coo_array((np.ones(len(tail), bool), (tail, head)), shape=(nodes, nodes))
    parts, part = connected_components(matrix, directed=True, connection="strong")
    across = part[tail] != part[head]
    pairs = np.unique(np.stack([part[tail][across], part[head][across]], axis=1), axis=0)
    arcs: Arcs = [[] for _ in range(parts)]
    for first, second in pairs.tolist():
        arcs[first].append((second, None))
    down = [0] * parts
    where = part.tolist()
    for node, lanes in enumerate(seeds):
        down[where[node]] |= lanes
    fixpoint(down, arcs)
    return [down[p] for p in where]


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


def weigh(rows: Sequence[int], weights: Floats, width: int) -> Floats:
    """Add up the weights of what is down, by lane.

    Parameters
    ----------
    rows : sequence of int
        By node, the lanes in which it is down.
    weights : ndarray of float
        By node. [>= 0]
    width : int
        Number of lanes. [count]

    Returns
    -------
    ndarray of float
        By lane.

    Notes
    -----
    Carry-save addition: three rows of one binary digit become one of it and one of the next, so
    that only the digits of the sums are ever unpacked.
    """
    digits, unit = _whole(weights)
    planes: list[list[int]] = [[]]
    for row, weight in zip(rows, digits, strict=True):
        for digit in range(weight.bit_length()):
            if weight >> digit & 1:
                _add(planes, digit, row)
    total = np.zeros(width)
    for digit, plane in enumerate(planes):  # grows while carries are added
        while len(plane) > 1:
            first, second = plane.pop(), plane.pop()
            plane.append(first ^ second)
            _add(planes, digit + 1, first & second)
        if plane and plane[0]:
            total += math.ldexp(1.0, digit) * unpack(plane[0], width)
    return total * unit


def _add(planes: list[list[int]], digit: int, row: int) -> None:
    while row:
        while len(planes) <= digit:
            planes.append([])
        plane = planes[digit]
        plane.append(row)
        if len(plane) < 3:
            return
        first, second, third = plane
        either = first ^ second
        plane[:] = [either ^ third]
        row = (first & second) | (third & either)
        digit += 1


def _whole(weights: Floats) -> tuple[list[int], float]:
    """Weights as whole numbers of a unit."""
    top = float(weights.max(initial=0.0))
    if top == 0:
        return [0] * len(weights), 1.0
    whole = bool((weights == np.floor(weights)).all()) and top < 2.0**WEIGHT_BITS
    unit = 1.0 if whole else top / 2.0**WEIGHT_BITS
    return [round(w / unit) for w in weights.tolist()], unit
