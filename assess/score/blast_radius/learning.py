"""Probabilities of edges, learned from failures: how often a caller went down with what it calls.

Needs experiments (or incidents) of which it is known who went down. An edge is tried whenever what
is needed was down and the caller had data; a caller that the failure took down by itself says
nothing. Kinds of edges are pooled: an edge that was never tried has the spread of its kind.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from assess.score.blast_radius.bitset import Booleans, Floats, Integers
from assess.score.blast_radius.edge_posterior import Evidence, ends, points
from assess.score.blast_radius.failures import Trial
from assess.score.blast_radius.topology import Fleet


def tries(fleet: Fleet, trials: list[Trial]) -> pd.DataFrame:
    """List when each edge was tried.

    Parameters
    ----------
    fleet : Fleet
        The graph.
    trials : list of Trial
        What happened.

    Returns
    -------
    DataFrame
        One row per trial and edge of ``fleet.edges``: ``trial, edge, caller`` [position], ``fell``
        (whether the caller went down, with this edge among the possible causes).
    """
    src = fleet.services.get_indexer(pd.Index(fleet.edges["src"]))
    dst = fleet.nodes.get_indexer(pd.Index(fleet.edges["dst"]))
    parts = []
    felled = fleet.struck([trial.element for trial in trials], "hi")
    for trial, struck in zip(trials, felled, strict=True):
        down = struck.copy()
        down[: len(fleet.services)] = trial.hit
        live = np.flatnonzero(down[dst] & trial.seen[src] & ~struck[src])
        fell = trial.hit[src[live]]
        cause = ~fell | _can_cause(src[live], dst[live], struck)
        parts.append((live[cause], fell[cause]))
    edge, fell = (np.concatenate([*column]) for column in zip(*parts, strict=True))
    which = np.repeat(np.arange(len(parts)), [len(edges) for edges, _ in parts])
    return pd.DataFrame({"trial": which, "edge": edge, "caller": src[edge], "fell": fell})


def _can_cause(src: Integers, dst: Integers, struck: Booleans) -> Booleans:
    """Say which live edges can have caused a fall: not those whose end fell because of the caller.

    On a cycle the caller may be the only way from what was struck to what it calls.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(struck)
    _, loop = connected_components(
        coo_array((np.ones(len(src)), (dst, src)), shape=(n, n)), connection="strong"
    )
    can = np.ones(len(src), bool)
    for edge in np.flatnonzero((loop[src] == loop[dst]) & ~struck[dst]):
        fallen, before = struck.copy(), -1
        other = src != src[edge]
        while (now := fallen.sum()) != before:
            before = now
            fallen[src[other & fallen[dst]]] = True
        can[edge] = fallen[dst[edge]]
    return can


def evidence(fleet: Fleet, tries: pd.DataFrame) -> Evidence:
    """Put together what trials say of the edges of a fleet.

    Parameters
    ----------
    fleet : Fleet
        The graph, with the policy's probabilities.
    tries : DataFrame
        What `tries` gives, or some trials of it.

    Returns
    -------
    Evidence
        Kinds in alphabetical order.
    """
    n, fell, edge = len(fleet.edges), tries["fell"].to_numpy(), tries["edge"].to_numpy()
    fall = (tries["trial"].to_numpy() * len(fleet.nodes) + tries["caller"].to_numpy())[
        fell
    ]
    order = np.argsort(fall, kind="stable")
    _, first, row = np.unique(fall[order], return_index=True, return_inverse=True)
    column = np.arange(len(order)) - first[row]
    causes = np.full((len(first), column.max(initial=-1) + 1), n)
    causes[row, column] = edge[fell][order]
    code, names = pd.factorize(fleet.edges["kinds"], sort=True)
    point = fleet.edges["point"].to_numpy("float64")
    kinds = [np.flatnonzero(code == kind) for kind in range(len(names))]
    return Evidence(
        held=np.bincount(edge[~fell], minlength=n).astype(float),
        causes=causes,
        kinds=kinds,
        prior=np.array([point[own].mean() for own in kinds]),
    )


def estimate(fleet: Fleet, tries: pd.DataFrame) -> Floats:
    """Give the probability of every edge, without its interval.

    Parameters
    ----------
    fleet : Fleet
        The graph, with the policy's probabilities.
    tries : DataFrame
        What `tries` gives, or some trials of it.

    Returns
    -------
    ndarray of float
        By edge; of a kind of which none was ever tried, the policy's. [probability, 0-1]
    """
    prior, known = fleet.edges["point"].to_numpy("float64"), evidence(fleet, tries)
    point, _ = points(known, prior)
    return np.where(known.is_known, point, prior)


def learn(fleet: Fleet, tries: pd.DataFrame, *, level: float, seed: int) -> pd.DataFrame:
    """Learn the probability of every edge.

    Parameters
    ----------
    fleet : Fleet
        The graph, with the policy's probabilities.
    tries : DataFrame
        What `tries` gives.
    level : float
        Coverage of the intervals. [share, 0-1]
    seed : int
        Seed of the intervals.

    Returns
    -------
    DataFrame
        Rows of ``fleet.edges``: ``src, dst, kinds``, ``prior``, ``tries_n, falls_n`` [count; of a
        fall that several edges can have caused the expected number], ``lo, point, hi``.
        [probability, 0-1]
    """
    table = fleet.edges[["src", "dst", "kinds"]].assign(prior=fleet.edges["point"])
    known = evidence(fleet, tries)
    point, falls = points(known, table["prior"].to_numpy("float64"))
    lo, hi = ends(known, level, seed)
    lo, hi = np.minimum(lo, point), np.maximum(hi, point)
    return table.assign(tries_n=known.tries, falls_n=falls, lo=lo, point=point, hi=hi)


def with_learned(fleet: Fleet, learned: pd.DataFrame) -> Fleet:
    """Put learned probabilities in place of the policy's.

    Parameters
    ----------
    fleet : Fleet
        The graph.
    learned : DataFrame
        What `learn` gives.

    Returns
    -------
    Fleet
        With the ends of their intervals as ``lo`` and ``hi``; edges of a kind of which none was
        ever tried keep the policy's.
    """
    columns = ["lo", "point", "hi"]
    known = learned["kinds"].isin(learned.loc[learned["tries_n"] > 0, "kinds"])
    mixed = learned[columns].where(known, fleet.edges[columns])
    return replace(fleet, edges=fleet.edges.assign(**{c: mixed[c] for c in columns}))


def says(judged: pd.DataFrame, trials_n: int) -> str:
    """Say in a sentence whether learning helps.

    Parameters
    ----------
    judged : DataFrame
        What `validation.judge` gives: ``rule``, ``brier`` and its difference.
    trials_n : int
        Failures that it was judged by. [count]

    Returns
    -------
    str
        Plain words.
    """
    if trials_n < 2 or judged.empty:
        return "Too few failures are recorded to judge learned probabilities: at least two are needed."
    row = judged.set_index("rule").loc["learned"]
    gain = f"{row['gain']:+.3f} ({row['gain_lo']:+.3f} to {row['gain_hi']:+.3f})"
    if row["gain_lo"] > 0:
        return (
            f"Left out one by one, {trials_n} failures were predicted better with learned "
            f"probabilities than with the policy's: squared error lower by {gain}."
        )
    worse = "worse" if row["gain_hi"] < 0 else "not shown to be better"
    return (
        f"Left out one by one, {trials_n} failures were predicted {worse} with learned "
        f"probabilities than with the policy's: squared error lower by {gain}. "
        "They do not help on this fleet yet."
    )
