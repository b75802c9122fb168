"""Failure scenarios computed together: bit i of a node's integer says it is down in scenario i.

One pass over the arcs fails a node in every scenario at once (pattern-parallel fault simulation).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from assess.score import Booleans, Bytes, Floats, Integers, Positions, Words, frozen

if TYPE_CHECKING:
    from scipy.sparse import csr_array


WEIGHT_BITS = 40  # precision of sums of weights that are not whole numbers
SINGLE_BITS = 24  # up to which sums are exact in floats of four bytes, which are quicker
BLOCK_CELLS = 1 << 22  # of a table that is looked at some rows at a time
TILE = 512  # scenarios whose bits become floats together
NARROW = 32  # times as few rows where bits become floats: they stay in the cache
WORD_BITS = 64
Bits = dict[int, int]  # by part or node, the scenarios in which it is down


def sparse(
    shape: tuple[int, ...],
    row: Integers,
    column: Integers,
    value: Floats | None = None,
) -> csr_array:
    """Return a sparse matrix of some cells; every sparse matrix of this room is built here."""
    from scipy.sparse import coo_array

    cells = np.ones(len(row)) if value is None else value
    return coo_array((cells, (row, column)), shape=shape).tocsr()


def blocks(rows: int, columns: int) -> Iterator[slice]:
    """Yield slices over the rows of a large table, of at most `BLOCK_CELLS` cells each."""
    size = max(BLOCK_CELLS // max(columns, 1), 1)
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def pairs_of(members: Sequence[Sequence[int] | Integers]) -> Positions:
    """List row and member of some rows of members."""
    row = np.repeat(np.arange(len(members)), [len(each) for each in members])
    # a row without any member would be of floats
    return row, np.concatenate([[], *members], dtype=np.int64, casting="unsafe")


@frozen
class Csr:
    """Members by row: those of row i are ``indices[indptr[i]:indptr[i + 1]]``."""

    indptr: Integers
    indices: Integers

    @classmethod
    def of(cls, row: Integers, rows: int) -> Csr:
        """Sort members into ``rows`` rows; ``row`` holds the row of each; the sort is stable."""
        indices = np.argsort(row, kind="stable")
        return cls(np.searchsorted(row[indices], np.arange(rows + 1)), indices)

    def row(self, row: int) -> Integers:
        """List the members of one row."""
        return self.indices[self.indptr[row] : self.indptr[row + 1]]

    def members(self, wanted: Integers) -> Positions:
        """List the members of some rows: position in ``wanted``, and member."""
        starts = self.indptr[wanted]
        n = self.indptr[wanted + 1] - starts
        at = np.repeat(np.arange(len(n)), n)
        # 0, 1, 2 … anew in every row: the position within it
        before = np.cumsum(n) - n
        within = np.arange(len(at)) - np.repeat(before, n)
        return at, self.indices[starts[at] + within]


@frozen
class Parts:
    """Strongly connected components, in the order in which failures flow.

    ``part`` holds the component of each node; ``heads``, by component, those that fail with it,
    all of them later ones.
    """

    part: Integers
    heads: list[list[int]]


def condense(nodes: int, tail: Integers, head: Integers) -> Parts:
    """Merge the nodes of each cycle, and sort the parts in reverse postorder."""
    from scipy.sparse.csgraph import connected_components

    matrix = sparse((nodes, nodes), tail, head)
    n, part = connected_components(matrix, directed=True, connection="strong")
    part = part.astype(np.int64)
    first = part[tail]
    second = part[head]
    across = first != second
    # a pair (i, j) as the one number i * n + j, so that one sort finds the distinct pairs
    pairs = np.unique(first[across] * n + second[across])
    place = np.empty(n, np.int64)
    # an order of flow, not of scipy: each part comes before all that fail with it
    place[_reverse_postorder(_lists(n, pairs // n, pairs % n))] = np.arange(n)
    pairs = np.sort(place[pairs // n] * n + place[pairs % n])
    return Parts(place[part], _lists(n, pairs // n, pairs % n))


def _lists(n: int, key: Integers, value: Integers) -> list[list[int]]:
    """List the values by key; keys come sorted."""
    ends = np.searchsorted(key, np.arange(n + 1)).tolist()
    values = value.tolist()
    return [values[ends[each] : ends[each + 1]] for each in range(n)]


def _reverse_postorder(heads: Sequence[Sequence[int]]) -> list[int]:
    """Sort nodes so that arcs point forward wherever no cycle forbids it."""
    seen = bytearray(len(heads))
    finished: list[int] = []
    for root in range(len(heads)):
        if seen[root]:
            continue
        seen[root] = 1
        # a stack of its own: chains of calls are deeper than Python's recursion limit
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


def flow_depth(nodes: int, tail: Integers, head: Integers) -> Integers:
    """Return by node the length of the longest path to it, over arcs that follow the flow."""
    order = np.argsort(tail, kind="stable")
    heads = _lists(nodes, tail[order], head[order])
    flow = _reverse_postorder(heads)
    place = [0] * nodes
    for position, node in enumerate(flow):
        place[node] = position
    depth = [0] * nodes
    for node in flow:
        below = depth[node] + 1
        for other in heads[node]:
            # arcs that close a cycle point backwards, and have no longest path
            if depth[other] < below and place[other] > place[node]:
                depth[other] = below
    return np.array(depth, np.int64)


def sweep(parts: Parts, down: Bits) -> Iterator[tuple[int, int]]:
    """Spread failures along certain arcs: yield each part that fails, in order, and its bits."""
    # ``down`` holds the scenarios in which a part fails by itself, and is emptied: bits
    # are freed once they are yielded, so memory holds only the front of the sweep.
    heads = parts.heads
    dirty = bytearray(len(heads))
    for part in down:
        dirty[part] = 1
    # parts come in the order of flow, so one pass from left to right is enough
    here = dirty.find(1)
    while here >= 0:
        bits = down.pop(here)
        for head in heads[here]:
            if dirty[head]:
                down[head] |= bits
            else:
                down[head] = bits
                dirty[head] = 1
        yield here, bits
        here = dirty.find(1, here + 1)


def swept(parts: Parts, down: Bits, width: int) -> tuple[Integers, Words]:
    """Return the parts that fail, in order, and by part the words of their scenarios."""
    size = -(-width // WORD_BITS)
    failed = []
    octets = bytearray()
    for part, bits in sweep(parts, down):
        failed.append(part)
        octets += bits.to_bytes(size * 8, "little")
    words = np.frombuffer(octets, "<u8").reshape(len(failed), size)
    return np.array(failed, np.int64), words


def spread_to_nodes(parts: Parts, part: Integers, words: Words) -> Words:
    """Return by node the words of its part; zeros for a part that is not listed."""
    # parts that are not listed point to one row of zeros behind the others
    row = np.full(len(parts.heads), len(part))
    row[part] = np.arange(len(part))
    empty = np.zeros((1, words.shape[1]), np.uint64)
    return np.concatenate([words, empty])[row[parts.part]]


def to_words(flags: Booleans) -> Words:
    """Return rows of flags as rows of words: bit i is bit ``i % 64`` of word ``i // 64``."""
    octets = np.packbits(flags, axis=1, bitorder="little")
    pad = -octets.shape[1] % 8
    return np.pad(octets, [(0, 0), (0, pad)]).view("<u8")


def set_bits(rows: Words) -> Positions:
    """List row and number of the set bits; zero words, which are most, are skipped."""
    row, word = np.nonzero(rows)
    at, bit = np.nonzero(bits_of(rows[row, word][:, None], WORD_BITS))
    return row[at], word[at] * WORD_BITS + bit


def bits_of(rows: Words, width: int) -> Bytes:
    """Return the bits of rows of words one by one, lowest first."""
    octets = np.ascontiguousarray(rows).view(np.uint8)
    return np.unpackbits(octets, axis=1, count=width, bitorder="little")


@frozen
class Weights:
    """Weights as whole numbers of a unit, so that sums are exact in any order.

    ``whole`` is by node, or by kind of weight and node; each kind has a ``unit``.
    """

    whole: Floats
    unit: Floats

    @classmethod
    def of(cls, weights: Floats | Integers) -> Weights:
        """Keep whole numbers; round others to `WEIGHT_BITS` bits of the largest weight."""
        top = weights.max(axis=-1, initial=0.0, keepdims=True)
        is_whole = (weights == np.floor(weights)).all(axis=-1, keepdims=True)
        steps = 2.0**WEIGHT_BITS
        unit = np.where(is_whole & (top < steps), 1.0, top / steps)
        whole = np.rint(weights / unit)
        is_small = whole.sum(axis=-1).max(initial=0.0) < 2.0**SINGLE_BITS
        return cls(whole.astype("float32" if is_small else "float64"), unit)

    def totals(self, node: Integers, rows: Words, width: int) -> Floats:
        """Sum by scenario the weights of the nodes that are down in it; each node is there once."""
        whole = self.whole[..., node]
        total = np.zeros((*whole.shape[:-1], width))
        for start in range(0, width, TILE):
            words = rows[:, start // WORD_BITS : (start + TILE) // WORD_BITS]
            some = total[..., start : start + TILE]
            down = np.flatnonzero(words.any(axis=1))
            for part in blocks(len(down), NARROW * TILE):
                at = down[part]
                # products with whole numbers are exact, in whatever order they are added up
                some += whole[..., at] @ bits_of(words[at], some.shape[-1])
        return total * self.unit
