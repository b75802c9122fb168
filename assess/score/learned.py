"""Probabilities of edges, learned from failures: how often a caller went down with what it calls.

Needs experiments (or incidents) of which it is known who went down. An edge is tried whenever what
is needed was down and the caller had data; a caller that the failure took down by itself says
nothing. Kinds of edges are pooled: an edge that was never tried has the spread of its kind.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from assess.score.calibration import Trial
from assess.score.graph import Fleet
from assess.score.lanes import Booleans, Floats, Integers

MEANS = np.linspace(0.02, 0.98, 25)  # grid over the mean of a kind …
STRENGTHS = np.geomspace(0.5, 64.0, 12)  # … and over how alike its edges are
PRIOR_N = 2.0  # weight of the policy's probability of a kind [edges]
ROUNDS = 20  # of sharing a fall out among the edges that can have caused it
ENOUGH = 1e-3  # change of a probability at which the sharing has settled
CHANCES = 0.05, 0.95  # of an edge, where the sharing starts
BISECTIONS = 16  # of a quantile: to 2e-5


@dataclass(frozen=True)
class Tried:
    """How often each edge was tried, by its position.

    Attributes
    ----------
    held : ndarray of float
        Times that the caller stayed up. [count]
    alone : ndarray of float
        Times that it went down, and no other edge can have caused that. [count]
    shared : list of ndarray of int
        Edges of which at least one caused a fall.
    """

    held: Floats
    alone: Floats
    shared: list[Integers]


def tried(fleet: Fleet, trials: list[Trial]) -> list[Tried]:
    """Count how often each edge was tried.

    Parameters
    ----------
    fleet : Fleet
        The graph.
    trials : list of Trial
        What happened.

    Returns
    -------
    list of Tried
        By trial, per edge of ``fleet.edges``.
    """
    src = fleet.services.get_indexer(pd.Index(fleet.edges["src"]))
    dst = fleet.services.get_indexer(pd.Index(fleet.edges["dst"]))
    outside, names = dst < 0, fleet.edges["dst"].to_numpy()
    found = []
    for trial in trials:
        down = trial.hit[dst] & ~outside
        if trial.element[0] == "ext":
            down |= outside & (names == trial.element[1])
        live = down & (src >= 0) & trial.seen[src] & ~_struck(fleet, trial)[src]
        fell = np.flatnonzero(live & trial.hit[src])
        groups = [fell[src[fell] == caller] for caller in np.unique(src[fell])]
        alone = np.zeros(len(src))
        alone[[own[0] for own in groups if len(own) == 1]] = 1
        shared = [own for own in groups if len(own) > 1]
        found.append(Tried((live & ~trial.hit[src]).astype(float), alone, shared))
    return found


def _struck(fleet: Fleet, trial: Trial) -> Booleans:
    """Services that the failed element takes down by itself, whatever they need."""
    down = fleet.down["hi"]
    kind, name = trial.element
    own = down[(down["element_kind"] == kind) & (down["element"] == name)]["service_id"]
    return np.asarray(fleet.services.isin([*own, *([name] if kind == "service" else [])]))


def learn(
    fleet: Fleet, trials: list[Tried], *, level: float | None, start: Floats | None = None
) -> pd.DataFrame:
    """Learn the probability of every edge.

    Parameters
    ----------
    fleet : Fleet
        The graph, with the policy's probabilities.
    trials : list of Tried
        What `tried` gives.
    level : float or None
        Coverage of the intervals [share, 0-1]; None leaves them out: both ends are the point.
    start : ndarray of float, optional
        Probabilities that are near: those learned from nearly the same trials. [probability, 0-1]

    Returns
    -------
    DataFrame
        Rows of ``fleet.edges``: ``src, dst, kinds``, ``prior``, ``tries_n, falls_n`` [count; a fall
        that several edges can have caused is shared out], ``lo, point, hi``. [probability, 0-1]

    Notes
    -----
    Edges of a kind are spread as Beta(mean * strength, (1 - mean) * strength), both integrated over
    a grid; the mean has the policy's probability as its prior, worth two edges. The posterior of an
    edge is the mixture of Beta(a + falls, b + tries - falls). A fall with several possible causes
    counts for each edge by the chance that this edge caused it (expectation maximisation).
    """
    table = fleet.edges[["src", "dst", "kinds"]].assign(prior=fleet.edges["point"])
    prior, none = table["prior"].to_numpy("float64"), np.zeros(len(table))
    held = sum((trial.held for trial in trials), none)
    alone = sum((trial.alone for trial in trials), none)
    shared = [edges for trial in trials for edges in trial.shared]
    kinds = [own for _, own in sorted(table.groupby("kinds").indices.items())]
    p = np.clip(prior if start is None else start, *CHANCES)
    falls, change = alone, 1.0
    for _ in range(ROUNDS if shared else 0):
        if change < ENOUGH:
            break
        falls = alone.copy()
        for edges in shared:
            falls[edges] += p[edges] / (1 - np.prod(1 - p[edges]))
        old = p.copy()
        for own in kinds:
            p[own] = _posterior(falls[own], held[own], prior[own].mean(), None)[0]
        change = float(np.abs(p - old).max())
    ends = np.zeros((3, len(p)))
    for own in kinds:
        ends[:, own] = _posterior(falls[own], held[own], prior[own].mean(), level)
    return table.assign(tries_n=falls + held, falls_n=falls, lo=ends[1], point=ends[0], hi=ends[2])


def _posterior(falls: Floats, held: Floats, prior: float, level: float | None) -> Floats:
    """Mean, and the ends of the interval, of every edge of one kind."""
    from scipy.special import betainc, betaln, xlogy

    mean, strength = (grid.ravel() for grid in np.meshgrid(MEANS, STRENGTHS))
    a, b = mean * strength, (1 - mean) * strength
    pairs = np.stack([falls, held], axis=1)
    alike, which, times = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
    f, h = alike[:, 0][:, None], alike[:, 1][:, None]
    evidence = betaln(a + f, b + h) - betaln(a, b)
    logs = times @ evidence
    centre = min(max(prior, 0.05), 0.95)
    logs = logs + xlogy(PRIOR_N * centre, mean) + xlogy(PRIOR_N * (1 - centre), 1 - mean)
    weight = np.exp(logs - logs.max())
    weight /= weight.sum()
    kept = weight > 1e-6
    a, b, weight = a[kept], b[kept], weight[kept] / weight[kept].sum()
    found = [(weight * (a + f) / (a + b + f + h)).sum(axis=1)]
    for share in [] if level is None else [(1 - level) / 2, (1 + level) / 2]:
        low, high = np.zeros(len(alike)), np.ones(len(alike))
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            below = (weight * betainc(a + f, b + h, middle[:, None])).sum(axis=1) < share
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        found.append((low + high) / 2)
    return np.stack(found)[:, which.ravel()]


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
        What `assess.score.judging.judge` gives: ``rule``, ``brier`` and its difference.
    trials_n : int
        Failures that it was judged by. [count]

    Returns
    -------
    str
        Plain words.
    """
    if trials_n < 2 or judged.empty:
        return (
            "Too few failures are recorded to judge learned probabilities: at least two are needed."
        )
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
