"""A service as it could be: some of its checks passed, some of its unknown facts found out.

Gates, coverage, readiness and the chance of the short list are worked out anew for every set of
items; nothing is assumed to stay as it is.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assess.policy import rules
from assess.score.readiness.gates import HARDNESS, NOT_DECIDABLE
from assess.score.what_next.cut_off import Rival
from assess.score.what_next.labels import labels

Floats = NDArray[np.float64]
Sets = NDArray[np.bool_]
Row = Mapping[str, Any]
COVERAGE = {"coverage", "coverage_lowest"}
_BY_HARDNESS = {rank: label for label, rank in HARDNESS.items()}
_COLUMN = re.compile(r"\w+\.\w+")
_ANY_TIME = pd.Timestamp(0, tz="UTC")  # rules about coverage look at no clock


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

    @property
    def fails(self) -> bool:
        """Whether it fails as things are; else it is unknown."""
        held = [reason.holds for reason in self.reasons]
        return any(held) if self.fails_when == "any" else all(held)

    @property
    def rank(self) -> int:
        """How hard it stands in the way as things are."""
        return HARDNESS[self.label if self.fails else NOT_DECIDABLE]

    def hardness(
        self, good: Sets, bad: Sets, known: pd.DataFrame | None
    ) -> NDArray[np.int64]:
        """Give by set how hard the gate stands in the way, 0 where it does not."""
        holds, unknown = [], []
        for reason in self.reasons:
            if reason.rule:
                assert known is not None
                told = rules.evaluate(reason.rule, known, at=_ANY_TIME)
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
        return np.where(
            fails, HARDNESS[self.label], np.where(open_, HARDNESS[NOT_DECIDABLE], 0)
        )


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
        ready = self.readiness(good)
        known = (
            self._known(good | bad)
            if any(r.rule for g in self.gates for r in g.reasons)
            else None
        )
        hard = np.zeros(len(good), dtype=np.int64)
        for gate in self.gates:
            hard = np.maximum(hard, gate.hardness(good, bad, known))
        given = [_BY_HARDNESS.get(h) for h in hard.tolist()]
        chances = np.zeros(len(good))
        if self.rival is not None and (hard == 0).any():
            chances = np.where(hard == 0, self.rival.chances(ready), 0.0)
        return labels(given, chances, ready, [self.inside] * len(good), settings), chances

    def readiness(self, good: Sets) -> Floats:
        """Give the lower end of readiness by set of items that pass [points]."""
        lifted = (
            100 * (self.earned + good @ (self._columns * self.gain[:, None])) / self.total
        )
        ready: Floats = np.exp(np.log(np.maximum(lifted, 1.0)) @ self.share)
        return ready

    def _known(self, found: Sets) -> pd.DataFrame:
        """Give coverage by set of items that are found out."""
        told = self.known + found @ (self._columns * self.hidden[:, None])
        coverage = {
            "coverage": told.sum(axis=1) / self.total.sum(),
            "coverage_lowest": (told / self.total).min(axis=1),
        }
        sure = np.zeros(len(found), dtype=bool)
        return pd.DataFrame(
            {
                name: pd.arrays.FloatingArray(np.round(v, 12), sure)
                for name, v in coverage.items()
            }
        )

    @property
    def _columns(self) -> Floats:
        return np.eye(len(self.total))[self.dimension]


@cache
def _is_coverage(rule: str) -> bool:
    """Whether a rule is about nothing but how much is known."""
    tree = ast.parse(rule.strip(), mode="eval")
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return bool(names) and names <= COVERAGE


def make_case(  # noqa: PLR0913
    atoms: Sequence[Row],
    reasons: Sequence[Row],
    weights: Mapping[str, float],
    *,
    inside: bool,
    rival: Rival | None,
    questions: Mapping[str, str],
) -> Case:
    """Lay out what could be different about a service.

    Parameters
    ----------
    atoms : sequence of mapping
        Of the service, as `checks.decide` gives them: ``check, dimension, state, value, weight``.
    reasons : sequence of mapping
        Of its open gates, gate by gate, as `gates.judge` gives them.
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
    held = [atom for atom in atoms if atom["state"] != "na"]
    names = list(dict.fromkeys(atom["dimension"] for atom in held))
    codes = np.array([names.index(atom["dimension"]) for atom in held], dtype=np.int64)
    weight = np.array([atom["weight"] for atom in held], dtype=float)
    hidden = np.array([pd.isna(atom["value"]) for atom in held], dtype=bool)
    value = np.array(
        [0.0 if pd.isna(a["value"]) else a["value"] for a in held], dtype=float
    )
    earned, known, total = (
        np.bincount(codes, part, minlength=len(names)).astype(float)
        for part in (weight * value, weight * ~hidden, weight)
    )
    share = np.array([weights[name] for name in names], dtype=float)
    open_ = np.flatnonzero((value < 1) & (weight > 0))
    items = [held[i]["check"] for i in open_]
    facts = [
        questions.get(held[i]["check"], held[i]["check"]) if hidden[i] else ""
        for i in open_
    ]
    gates = _gates(reasons, items, facts)
    pad = (0, len(items) - len(open_))  # what gates ask and no check is about
    return Case(
        tuple(items),
        tuple(facts),
        np.pad(codes[open_], pad),
        np.pad((weight * (1 - value))[open_], pad),
        np.pad((weight * hidden)[open_], pad),
        earned,
        known,
        total,
        share / (share.sum() or 1.0),
        gates,
        inside,
        rival,
    )


def _gates(
    reasons: Sequence[Row], items: list[str], facts: list[str]
) -> tuple[Gate, ...]:
    """Gather the open gates; a reason that no open check settles adds an item of its own."""
    gates = []
    for name, own in groupby(reasons, key=itemgetter("gate")):
        rows, parts = list(own), []
        for row in rows:
            holds = row["state"] == "holds"
            if _is_coverage(row["rule"]):
                parts.append(Reason(holds, -1, row["rule"]))
                continue
            named = row["check"] if row["check"] in items else ""
            named = (
                named
                or ", ".join(_COLUMN.findall(row["fact"]))
                or f"{name}: {row['fact']}"
            )
            if named not in items:
                items.append(named)
                facts.append("" if holds else row["fact"])
            parts.append(Reason(holds, items.index(named)))
        gates.append(Gate(rows[0]["label"], rows[0]["fails_when"], tuple(parts)))
    return tuple(gates)
