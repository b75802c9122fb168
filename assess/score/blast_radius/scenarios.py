"""Failure scenarios; those in which the same parts fail are computed once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from assess.score.blast_radius.bitset import Booleans, Integers, Parts, pack


@dataclass(frozen=True, eq=False)
class Scenarios:
    """What fails by itself: pairs of scenario and node, among ``n`` scenarios.

    ``listed`` marks the scenarios whose failed nodes are listed, ``drawn`` those whose uncertain
    arcs are drawn where they are many; all where left out.
    """

    scenario: Integers
    node: Integers
    n: int
    listed: Booleans | None = None
    drawn: Booleans | None = None

    @property
    def is_listed(self) -> Booleans:
        """By scenario, whether to list what can fail in it."""
        return np.ones(self.n, bool) if self.listed is None else self.listed

    @property
    def is_drawn(self) -> Booleans:
        """By scenario, whether to draw its uncertain arcs where they are many."""
        return np.ones(self.n, bool) if self.drawn is None else self.drawn


@dataclass(frozen=True, eq=False)
class DistinctScenarios:
    """Scenarios that differ, sorted by their first part: near ones share much of what fails.

    ``position`` leads from a given scenario to its distinct one; ``scenario, node`` are the pairs
    of what fails by itself, sorted by scenario; ``times`` counts the scenarios that each stands
    for; ``listed`` and ``drawn`` are as in `Scenarios`.
    """

    position: Integers
    scenario: Integers
    node: Integers
    times: Integers
    listed: Booleans
    drawn: Booleans

    @classmethod
    def of(cls, parts: Parts, given: Scenarios) -> DistinctScenarios:
        """Merge the scenarios in which the same parts fail."""
        n = len(parts.heads)
        pairs, at = np.unique(
            given.scenario * n + parts.part[given.node], return_index=True
        )
        scenario = pairs // n
        part = pairs % n
        node = given.node[at]
        # sums of random marks wrap around; equal sums are equal sets, without comparing sets
        marks = np.random.default_rng(0).integers(0, 1 << 63, n, dtype=np.uint64)
        sums = np.zeros(given.n, np.uint64)
        np.add.at(sums, scenario, marks[part])
        first = np.full(given.n, n)
        np.minimum.at(first, scenario, part)
        _, example, alike = np.unique(sums, return_index=True, return_inverse=True)
        rank = np.empty(len(example), np.int64)
        # neighbours share what fails, so that fewer parts are touched in a block
        rank[np.argsort(first[example], kind="stable")] = np.arange(len(example))
        position = rank[alike]
        # one example of each set is enough: the others differ in nothing
        kept = np.isin(scenario, example)
        distinct = position[scenario[kept]]
        order = np.argsort(distinct, kind="stable")

        def count(chosen: Booleans | slice) -> Integers:
            return np.bincount(position[chosen], minlength=len(rank))

        return cls(
            position,
            distinct[order],
            node[kept][order],
            count(slice(None)),
            count(given.is_listed) > 0,
            count(given.is_drawn) > 0,
        )

    def initial_failures(self, parts: Parts, start: int, width: int) -> dict[int, int]:
        """Return, by part, the scenarios of a block in which it fails by itself, as bits."""
        first, last = np.searchsorted(self.scenario, [start, start + width])
        part = parts.part[self.node[first:last]]
        order = np.argsort(part, kind="stable")
        bit = self.scenario[first:last][order] - start
        where, starts = np.unique(part[order], return_index=True)
        ends = np.append(starts[1:], len(part))
        rows = [1 << each for each in bit[starts].tolist()]
        # most parts fail by themselves in one scenario; only the others are packed
        for each in np.flatnonzero(ends - starts > 1).tolist():
            flags = np.zeros(width, bool)
            flags[bit[starts[each] : ends[each]]] = True
            rows[each] = pack(flags)
        return dict(zip(where.tolist(), rows, strict=True))
