"""What falls in a block of lanes, by Python's own integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from assess.score.blast_radius.bitset import (
    Booleans,
    Bytes,
    Floats,
    Integers,
    Parts,
    Scales,
    Weights,
    pack,
    sweep,
    to_bytes,
    unpack,
)
from assess.score.blast_radius.scenarios import Lanes


@dataclass(frozen=True, eq=False)
class Loads:
    """What the parts of a graph add to the sums.

    Attributes
    ----------
    weight, size : Weights
        By part: the weight of its nodes, and their number.
    """

    weight: Weights
    size: Weights

    @classmethod
    def of(cls, parts: Parts, weight: Floats) -> Loads:
        """Add up by part.

        Parameters
        ----------
        parts : Parts
            The graph.
        weight : ndarray of float
            By node. [>= 0]

        Returns
        -------
        Loads
            See there.
        """
        n = len(parts.heads)
        size = np.bincount(parts.part, minlength=n)
        return cls(Weights.of(np.bincount(parts.part, weight, n)), Weights.of(size))


def fall(parts: Parts, loads: Loads, lanes: Lanes, *, start: int, width: int) -> Fallen:
    """Fail what fails by itself in a block of lanes, and everything that falls with it.

    Parameters
    ----------
    parts : Parts
        The graph.
    loads : Loads
        What its parts weigh.
    lanes : Lanes
        What fails by itself.
    start, width : int
        First lane, and number of lanes. [count]

    Returns
    -------
    Fallen
        The lanes are counted from the first.
    """
    weight, size = Scales(loads.weight), Scales(loads.size)
    rows = {}
    for part, down in sweep(parts, lanes.seeds(parts, start, width)):
        weight.put(part, down)
        size.put(part, down)
        rows[part] = down
    n = size.read(width).astype(np.int64)
    return Fallen(len(parts.heads), rows, weight.read(width), n)


@dataclass(frozen=True, eq=False)
class Fallen:
    """What falls, one integer by part."""

    parts_n: int
    rows: dict[int, int]
    weight: Floats
    n: Integers

    def felled(self, times: Integers) -> Integers:
        """Count digit by digit of the number of times."""
        digits = [
            pack((times >> d & 1).astype(bool))
            for d in range(int(times.max()).bit_length())
        ]
        found = np.zeros(self.parts_n, np.int64)
        for part, lanes in self.rows.items():
            found[part] = sum((lanes & m).bit_count() << d for d, m in enumerate(digits))
        return found

    def members(self, wanted: Booleans) -> tuple[Integers, Integers]:
        """Unpack the rows that have any."""
        mask = pack(wanted)
        part, lane = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for each, lanes in self.rows.items():
            if lanes & mask:
                lane.append(np.flatnonzero(unpack(lanes & mask, len(wanted))))
                part.append(np.full(len(lane[-1]), each))
        return np.concatenate(part), np.concatenate(lane)

    def packed(self) -> Bytes:
        """Lay the rows out."""
        return to_bytes(
            [self.rows.get(part, 0) for part in range(self.parts_n)], len(self.n)
        )
