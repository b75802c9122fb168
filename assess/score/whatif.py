"""What if: the label of a service were some checks passed, or some unknown facts found out.

One model answers both questions that a meeting has. What is the smallest set of fixes that changes
the label? And what is it worth to find a fact out? Gates, coverage, readiness and the chance of the
short list are worked out anew for every set; nothing is assumed to stay as it is.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assess.score import rules
from assess.score.gates import HARDNESS, NOT_DECIDABLE
from assess.score.labels import STANDING, labels
from assess.score.rivals import Rival

Floats = NDArray[np.float64]
Sets = NDArray[np.bool_]
MAX_FIXES = 3  # checks in a set
SHOWN = 3  # sets
COVERAGE = {"coverage", "coverage_lowest"}
_COLUMN = re.compile(r"\w+\.\w+")


@dataclass(frozen=True)
class Reason:
    """A reason of an open gate: it holds or is unknown; an item may settle it, or coverage."""

    holds: bool
    item: int
    rule: str = ""


@dataclass(frozen=True)
class Gate:
    """An open gate."""

    label: str
    fails_when: str
    reasons: tuple[Reason, ...]

    def hardness(self, good: Sets, bad: Sets, known: pd.DataFrame) -> NDArray[np.int64]:
        """Give by set how hard the gate stands in the way, 0 where it does not."""
        holds, unknown = [], []
        for reason in self.reasons:
            if reason.rule:
                told = rules.evaluate(reason.rule, known, at=pd.Timestamp(0, tz="UTC"))
                holds.append(told.fillna(value=False).to_numpy(dtype=bool))
                unknown.append(told.isna().to_numpy(dtype=bool))
                continue
            cleared, confirmed = good[:, reason.item], bad[:, reason.item]
            holds.append((confirmed | reason.holds) & ~cleared)
            unknown.append(~cleared & ~confirmed & (not reason.holds))
        any_holds, all_hold = np.any(holds, axis=0), np.all(holds, axis=0)
        if self.fails_when == "any":
            fails, open_ = any_holds, np.any(unknown, axis=0)
        else:
            fails = all_hold
            open_ = np.all([h | u for h, u in zip(holds, unknown, strict=True)], axis=0)
        return np.where(fails, HARDNESS[self.label], np.where(open_, HARDNESS[NOT_DECIDABLE], 0))


@dataclass(frozen=True)
class Case:
    """One service, and what could be different about it.

    Attributes
    ----------
    items : tuple of str
        Ids of the checks that do not pass, then the columns of the facts that gates lack.
    facts : tuple of str
        What to find out, in words; empty for what is known to fail.
    dimension, gain, hidden : ndarray
        By item: its dimension, the weight that passing it earns, and its weight where unknown.
    earned, known, total, share : ndarray
        By dimension: weight that is earned, that is known and that applies; weight of the
        dimension. [share 0-1]
    gates : tuple of Gate
        Those that are open.
    inside : bool
        Whether it runs in containers already.
    rival : Rival or None
        What it competes with.
    """

    items: tuple[str, ...]
    facts: tuple[str, ...]
    dimension: NDArray[np.int64]
    gain: Floats
    hidden: Floats
    earned: Floats
    known: Floats
    total: Floats
    share: Floats
    gates: tuple[Gate, ...]
    inside: bool
    rival: Rival | None

    def outcome(
        self, good: Sets, settings: Mapping[str, Any], bad: Sets | None = None
    ) -> tuple[NDArray[np.object_], Floats]:
        """Give label and pessimistic chance of the short list, by set of items.

        Parameters
        ----------
        good : ndarray of bool, shape (sets, items)
            What passes.
        settings : mapping
            As in `labels.labels`.
        bad : ndarray of bool, optional
            What turns out to fail.

        Returns
        -------
        tuple of ndarray
            Labels, and chances [share 0-1]; 0 behind a gate, and for what runs in containers.
        """
        bad = np.zeros_like(good) if bad is None else bad
        columns = np.eye(len(self.total))[self.dimension]
        lifted = 100 * (self.earned + good @ (columns * self.gain[:, None])) / self.total
        ready = np.exp(np.log(np.maximum(lifted, 1.0)) @ self.share)
        told = self.known + (good | bad) @ (columns * self.hidden[:, None])
        coverage = {
            "coverage": told.sum(axis=1) / self.total.sum(),
            "coverage_lowest": (told / self.total).min(axis=1),
        }
        table = pd.DataFrame(coverage).round(12).astype("Float64")
        hard = np.zeros(len(good), dtype=np.int64)
        for gate in self.gates:
            hard = np.maximum(hard, gate.hardness(good, bad, table))
        given = np.array([_BY_HARDNESS.get(h) for h in hard.tolist()], dtype=object)
        chances = np.zeros(len(good))
        if self.rival is not None and (hard == 0).any():
            chances = np.where(hard == 0, self.rival.chances(ready), 0.0)
        return labels(given, chances, ready, [self.inside] * len(good), settings), chances


_BY_HARDNESS = {rank: label for label, rank in HARDNESS.items()}


@cache
def _names(rule: str) -> frozenset[str]:
    tree = ast.parse(rule.strip(), mode="eval")
    return frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))


def make_case(  # noqa: PLR0913
    atoms: pd.DataFrame,
    reasons: pd.DataFrame,
    weights: Mapping[str, float],
    *,
    inside: bool,
    rival: Rival | None,
    questions: Mapping[str, str],
) -> Case:
    """Lay out what could be different about a service.

    Parameters
    ----------
    atoms : DataFrame
        Of the service, as `checks.decide` gives them.
    reasons : DataFrame
        Of its open gates, as `gates.reasons` gives them.
    weights : mapping of str to float
        Weight of every dimension.
    inside : bool
        Whether it runs in containers already.
    rival : Rival or None
        What it competes with.
    questions : mapping of str to str
        What to find out for each check, in words.

    Returns
    -------
    Case
        See there.
    """
    held = atoms[atoms["state"] != "na"]
    value = held["value"].to_numpy(dtype=float, na_value=np.nan)
    weight = held["weight"].to_numpy(dtype=float)
    codes, names = pd.factorize(held["dimension"])
    hidden = np.isnan(value)
    earned, known, total = (
        np.bincount(codes, part, minlength=len(names)).astype(float)
        for part in (weight * np.nan_to_num(value), weight * ~hidden, weight)
    )
    share = np.array([weights[name] for name in names], dtype=float)
    open_ = np.flatnonzero((np.nan_to_num(value) < 1) & (weight > 0))
    items = held["check"].iloc[open_].tolist()
    facts = [questions.get(c, c) if hidden[i] else "" for c, i in zip(items, open_, strict=True)]
    found = _gates(reasons, items, facts)
    extra = len(items) - len(open_)
    return Case(
        tuple(items),
        tuple(facts),
        np.concatenate([codes[open_], np.zeros(extra, dtype=np.int64)]),
        np.concatenate([(weight * (1 - np.nan_to_num(value)))[open_], np.zeros(extra)]),
        np.concatenate([(weight * hidden)[open_], np.zeros(extra)]),
        earned,
        known,
        total,
        share / (share.sum() or 1.0),
        found,
        inside,
        rival,
    )


def _gates(reasons: pd.DataFrame, items: list[str], facts: list[str]) -> tuple[Gate, ...]:
    """Gather the open gates; a reason that no open check settles adds an item of its own."""
    gates = []
    for _, own in reasons.groupby("gate", sort=False):
        parts = []
        for row in own.itertuples():
            if _names(row.rule) and _names(row.rule) <= COVERAGE:
                parts.append(Reason(row.state == "holds", -1, row.rule))
                continue
            named = row.check if row.check in items else ", ".join(_COLUMN.findall(row.fact))
            named = named or f"{row.gate}: {row.fact}"
            if named not in items:
                items.append(named)
                facts.append("" if row.state == "holds" else row.fact)
            parts.append(Reason(row.state == "holds", items.index(named)))
        gates.append(Gate(own["label"].iloc[0], own["fails_when"].iloc[0], tuple(parts)))
    return tuple(gates)


def smallest_flips(case: Case, settings: Mapping[str, Any]) -> list[tuple[tuple[str, ...], str]]:
    """Find the smallest sets of fixes that lead to another label.

    Parameters
    ----------
    case : Case
        The service.
    settings : mapping
        As in `labels.labels`.

    Returns
    -------
    list of tuple
        Sets of at most `MAX_FIXES` items and the label that they lead to: all of the smallest size
        that works, the best label first, at most `SHOWN` of them. What is known of a gate and no
        check is about cannot be fixed, and a fact may turn out well: both are said by the items.
    """
    n = len(case.items)
    fixable = np.flatnonzero(_is_fixable(case))
    none = np.zeros((1, n), dtype=bool)
    every = none.copy()
    every[:, fixable] = True
    now = case.outcome(none, settings)[0][0]
    if not len(fixable) or case.outcome(every, settings)[0][0] == now:
        return []
    must = _needed(case, fixable)
    if must is None:
        return []
    free = [i for i in fixable if i not in must]
    for size in range(max(1, len(must)), MAX_FIXES + 1):
        chosen = list(combinations(free, size - len(must)))
        sets = np.zeros((len(chosen), n), dtype=bool)
        sets[:, list(must)] = True
        for row, picked in enumerate(chosen):
            sets[row, list(picked)] = True
        found, chances = case.outcome(sets, settings)
        better = np.flatnonzero([_is_better(label, now) for label in found])
        if len(better):
            rank = np.array([STANDING[label] for label in found[better]])
            best = better[np.lexsort((better, -chances[better], rank))][:SHOWN]
            return [
                (tuple(case.items[i] for i in np.flatnonzero(sets[s])), str(found[s])) for s in best
            ]
    return []


def _is_better(label: str, now: str) -> bool:
    """Whether a label is another and no worse; to learn that it is NEVER also decides."""
    return label != now and STANDING[label] <= STANDING[now]


def _is_fixable(case: Case) -> NDArray[np.bool_]:
    """Say which items can change: checks, and facts that are not known yet."""
    is_check = (case.gain > 0) | (case.hidden > 0)
    return is_check | np.array([fact != "" for fact in case.facts], dtype=bool)


def _needed(case: Case, fixable: NDArray[np.int64]) -> tuple[int, ...] | None:
    """Give the items that every set needs; None where they are too many, or cannot change.

    The hardest of the open gates have to give way: where any reason is enough for one, all that
    hold have to go (or, where none holds, all that are unknown).
    """
    ranks = [
        HARDNESS[gate.label] if _fails(gate) else HARDNESS[NOT_DECIDABLE] for gate in case.gates
    ]
    must: set[int] = set()
    for gate, rank in zip(case.gates, ranks, strict=True):
        if rank < max(ranks) or gate.fails_when != "any":
            continue
        holding = [r for r in gate.reasons if r.holds] or list(gate.reasons)
        must |= {reason.item for reason in holding if not reason.rule}
    if len(must) > MAX_FIXES or not must <= set(fixable.tolist()):
        return None
    return tuple(sorted(must))


def _fails(gate: Gate) -> bool:
    held = [reason.holds for reason in gate.reasons]
    return any(held) if gate.fails_when == "any" else all(held)


def value_of_information(
    case: Case, priors: Mapping[str, float], settings: Mapping[str, Any]
) -> pd.DataFrame:
    """Say what finding out each unknown could change.

    Parameters
    ----------
    case : Case
        The service.
    priors : mapping of str to float
        How likely each check passes where it is unknown; one half for other facts. [share 0-1]
    settings : mapping
        As in `labels.labels`.

    Returns
    -------
    DataFrame
        ``unknown, fact``; ``chance`` that it turns out well; ``p_top_if`` and ``label_if`` it does,
        ``label_else`` if it does not; ``gain``, the expected change of the pessimistic chance of
        the short list; ``decides``, whether either changes the label.
    """
    asked = [i for i, fact in enumerate(case.facts) if fact]
    sets = np.zeros((len(asked) + 1, len(case.items)), dtype=bool)
    sets[np.arange(len(asked)), asked] = True
    none = np.zeros_like(sets)
    good, p_good = case.outcome(sets, settings)
    bad, p_bad = case.outcome(none, settings, bad=sets)
    now, p_now = good[-1], p_good[-1]
    chance = np.array([priors.get(case.items[i], 0.5) for i in asked])
    return pd.DataFrame(
        {
            "unknown": [case.items[i] for i in asked],
            "fact": [case.facts[i] for i in asked],
            "chance": chance,
            "p_top_if": p_good[:-1],
            "label_if": good[:-1],
            "label_else": bad[:-1],
            "gain": chance * p_good[:-1] + (1 - chance) * p_bad[:-1] - p_now,
            "decides": (good[:-1] != now) | (bad[:-1] != now),
        }
    )


def unknown_criteria(
    case: Case, options: Sequence[tuple[str, str, float, float]], settings: Mapping[str, Any]
) -> pd.DataFrame:
    """Say what a measurement that is not known could change, as `value_of_information` does.

    Parameters
    ----------
    case : Case
        The service.
    options : sequence of tuple
        Criterion, fact, and the chance with it at its best and in the middle of what is possible.
    settings : mapping
        As in `labels.labels`.

    Returns
    -------
    DataFrame
        The same columns; at its worst nothing changes, since that is what counts now.
    """
    now, p_now = case.outcome(np.zeros((1, len(case.items)), dtype=bool), settings)
    ready = [_ready(case)] * len(options)
    best = [option[2] for option in options]
    found = labels([None] * len(options), best, ready, [False] * len(options), settings)
    return pd.DataFrame(
        {
            "unknown": [option[0] for option in options],
            "fact": [option[1] for option in options],
            "chance": 0.5,
            "p_top_if": best,
            "label_if": found,
            "label_else": now[0],
            "gain": [option[3] - p_now[0] for option in options],
            "decides": found != now[0],
        }
    )


def _ready(case: Case) -> float:
    """Lower end of readiness as it is [points]."""
    return float(np.exp(np.log(np.maximum(100 * case.earned / case.total, 1.0)) @ case.share))
