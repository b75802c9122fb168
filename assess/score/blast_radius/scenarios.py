"""Failure scenarios as lanes: those in which the same fails are computed once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from assess.score.blast_radius.bitset import Booleans, Integers, Parts, pack


@dataclass(frozen=True, eq=False)
class Scenarios:
    """What fails by itself.

    Attributes
    ----------
    scenario, node : ndarray of int
        In which scenario which node does.
    n : int
        Number of scenarios. [count]
    listed : ndarray of bool, optional
        By scenario, whether to list what can fall in it; all where left out.
    drawn : ndarray of bool, optional
        By scenario, whether to draw its uncertain arcs where they are many; all where left out.
    """

    scenario: Integers
    node: Integers
    n: int
    listed: Booleans | None = None
    drawn: Booleans | None = None

    @property
    def shown(self) -> Booleans:
        """By scenario, whether to list what can fall in it."""
        return np.ones(self.n, bool) if self.listed is None else self.listed

    @property
    def simulated(self) -> Booleans:
        """By scenario, whether to draw its uncertain arcs where they are many."""
        return np.ones(self.n, bool) if self.drawn is None else self.drawn


@dataclass(frozen=True, eq=False)
class Lanes:
    """Scenarios that differ, in the order in which their first nodes fall: near ones share much.

    Attributes
    ----------
    of : ndarray of int
        By scenario, its lane.
    lane, node : ndarray of int
        In which lane which node fails by itself; sorted by lane.
    times : ndarray of int
        By lane, how many scenarios it stands for. [count]
    listed : ndarray of bool
        By lane, whether to list what can fall in it.
    drawn : ndarray of bool
        By lane, whether to draw its uncertain arcs where they are many.
    """

    of: Integers
    lane: Integers
    node: Integers
    times: Integers
    listed: Booleans
    drawn: Booleans

    @classmethod
    def make(cls, parts: Parts, scenarios: Scenarios) -> Lanes:
        """Make one lane of all scenarios in which the same parts fail.

        Parameters
        ----------
        parts : Parts
            The graph.
        scenarios : Scenarios
            What fails by itself.

        Returns
        -------
        Lanes
            At most as many as scenarios.
        """
        n, scenario, node = len(parts.heads), scenarios.scenario, scenarios.node
        listed = scenarios.shown
        pairs, at = np.unique(scenario * n + parts.part[node], return_index=True)
        scenario, part, node = pairs // n, pairs % n, node[at]
        marks = np.random.default_rng(0).integers(0, 1 << 63, n, dtype=np.uint64)
        sums, first = np.zeros(len(listed), np.uint64), np.full(len(listed), n)
        np.add.at(sums, scenario, marks[part])  # wraps around; equal sums are equal sets
        np.minimum.at(first, scenario, part)
        _, example, alike = np.unique(sums, return_index=True, return_inverse=True)
        rank = np.empty(len(example), np.int64)
        rank[np.argsort(first[example], kind="stable")] = np.arange(len(example))
        of = rank[alike]
        kept = np.isin(scenario, example)
        lane, node = of[scenario[kept]], node[kept]
        order = np.argsort(lane, kind="stable")
        times, wanted, drawn = (
            np.bincount(of[chosen], minlength=len(rank))
            for chosen in (slice(None), listed, scenarios.simulated)
        )
        return cls(of, lane[order], node[order], times, wanted > 0, drawn > 0)

    def seeds(self, parts: Parts, start: int, width: int) -> dict[int, int]:
        """Give what fails by itself in a block of lanes.

        Parameters
        ----------
        parts : Parts
            The graph.
        start, width : int
            First lane, and number of lanes. [count]

        Returns
        -------
        dict of int to int
            By part, the lanes, counted from the first.
        """
        first, last = np.searchsorted(self.lane, [start, start + width])
        part = parts.part[self.node[first:last]]
        order = np.argsort(part, kind="stable")
        part = part[order]
        lane = self.lane[first:last][order] - start
        where, starts = np.unique(part, return_index=True)
        ends = np.append(starts[1:], len(part))
        rows = [1 << each for each in lane[starts].tolist()]
        for each in np.flatnonzero(ends - starts > 1).tolist():
            flags = np.zeros(width, bool)
            flags[lane[starts[each] : ends[each]]] = True
            rows[each] = pack(flags)
        return dict(zip(where.tolist(), rows, strict=True))


@dataclass(frozen=True, eq=False)
class Groups:
    """Members by group.

    Attributes
    ----------
    ends : ndarray of int
        Where each group starts in ``order``, and where the last one ends.
    order : ndarray of int
        Members, group by group.
    """

    ends: Integers
    order: Integers

    @classmethod
    def of(cls, group: Integers, groups: int) -> Groups:
        """Sort members into groups.

        Parameters
        ----------
        group : ndarray of int
            By member, its group.
        groups : int
            Number of groups. [count]

        Returns
        -------
        Groups
            Members of a group stay in order.
        """
        order = np.argsort(group, kind="stable")
        return cls(np.searchsorted(group[order], np.arange(groups + 1)), order)

    def members(self, wanted: Integers) -> tuple[Integers, Integers]:
        """List the members of some groups.

        Parameters
        ----------
        wanted : ndarray of int
            Groups, in any order and number.

        Returns
        -------
        wish, member : ndarray of int
            Position in ``wanted``, and the member.
        """
        starts = self.ends[wanted]
        n = self.ends[wanted + 1] - starts
        at = np.repeat(np.arange(len(wanted)), n)
        within = np.arange(len(at)) - np.repeat(np.cumsum(n) - n, n)
        return at, self.order[starts[at] + within]
