"""A service as it could be: some checks passed, some unknown facts found out.

Gates, coverage, readiness and the chance of the short list are worked out anew for every set
of items, with the formulas of the readiness score.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assess.policy import rules
from assess.score import readiness
from assess.score.readiness import gates
from assess.score.what_next.labels import labels
from assess.score.what_next.ranking import Chances

Floats = NDArray[np.float64]
Sets = NDArray[np.bool_]  # shape (sets, items)
Row = Mapping[str, Any]
COVERAGE = {"coverage", "coverage_lowest"}
_COLUMN = re.compile(r"\w+\.\w+")
_ANY_TIME = pd.Timestamp(0, tz="UTC")  # rules about coverage look at no clock


@dataclass(frozen=True)
class Reason:
    """A reason of an open gate: it holds or is unknown; an item may settle it, or coverage."""

    holds: bool
    item: int
    rule: str = ""

    @property
    def now(self) -> float:
        """The answer as things are: 1 where it holds, NaN where it is unknown."""
        return 1.0 if self.holds else np.nan

    def answers(self, good: Sets, bad: Sets, coverage: pd.DataFrame) -> Floats:
        """Return the answer by set of items: 1, 0, or NaN where unknown."""
        if self.rule:
            answers = rules.evaluate(self.rule, coverage, at=_ANY_TIME)
            return answers.to_numpy(dtype=float, na_value=np.nan)
        # an item that is neither passed nor failed leaves the answer as it is
        confirmed = np.where(bad[:, self.item], 1.0, self.now)
        return np.where(good[:, self.item], 0.0, confirmed)


@dataclass(frozen=True)
class Gate:
    """An open gate."""

    label: str
    fails_when: str
    reasons: tuple[Reason, ...]

    @property
    def rank(self) -> int:
        """How hard it stands in the way as things are."""
        now = np.array([[reason.now] for reason in self.reasons])
        return int(self._hardness(now)[0])

    def hardness(
        self, good: Sets, bad: Sets, coverage: pd.DataFrame
    ) -> NDArray[np.int64]:
        """Return by set of items how hard the gate stands in the way."""
        answers = [reason.answers(good, bad, coverage) for reason in self.reasons]
        return self._hardness(np.array(answers))

    def _hardness(self, holds: Floats) -> NDArray[np.int64]:
        failing = gates.fails(holds, self.fails_when)
        return gates.hardness(failing, gates.HARDNESS[self.label])


@dataclass(frozen=True)
class Counterfactual:
    """One service, and what could be different about it.

    Attributes
    ----------
    items : tuple of str
        Ids of the checks that do not pass, then the columns of the facts that gates lack.
    facts : tuple of str
        What to find out, in words; empty for what is known to fail.
    gains, unknowns : ndarray, shape (items, dimensions)
        Weight that passing an item earns, and its weight where it is unknown.
    earned, unknown, total : ndarray, shape (dimensions,)
        Weight that is earned, that is unknown, and that applies.
    shares : ndarray, shape (dimensions,)
        Weight of each dimension. [share 0-1]
    gates : tuple of Gate
        Those that are open.
    inside : bool
        Whether it runs in containers already.
    chances : callable or None
        Chance of the short list by readiness [0-1]; None where it never competes.
    """

    items: tuple[str, ...]
    facts: tuple[str, ...]
    gains: Floats
    unknowns: Floats
    earned: Floats
    unknown: Floats
    total: Floats
    shares: Floats
    gates: tuple[Gate, ...]
    inside: bool
    chances: Chances | None

    @classmethod
    def of(  # noqa: PLR0913
        cls,
        atoms: Sequence[Row],
        reasons: Sequence[Row],
        weights: Mapping[str, float],
        *,
        inside: bool,
        chances: Chances | None,
        questions: Mapping[str, str],
    ) -> Self:
        """Lay out one service from its atoms and the reasons of its open gates."""
        asked = [atom for atom in atoms if atom["state"] != "na"]
        names = list(dict.fromkeys(atom["dimension"] for atom in asked))
        weight = np.array([atom["weight"] for atom in asked], dtype=float)
        values = [atom["value"] for atom in asked]
        is_unknown = np.array([pd.isna(value) for value in values], dtype=bool)
        value = np.array([0.0 if pd.isna(v) else v for v in values], dtype=float)
        dimension = [names.index(atom["dimension"]) for atom in asked]
        by_dimension = np.eye(len(names))[dimension].reshape(len(asked), len(names))
        # a check in part still earns the rest of its weight
        open_checks = np.flatnonzero((value < 1) & (weight > 0))
        items = [asked[i]["check"] for i in open_checks]
        facts = [
            questions.get(asked[i]["check"], asked[i]["check"]) if is_unknown[i] else ""
            for i in open_checks
        ]
        open_gates = _open_gates(reasons, items, facts)
        # facts that gates ask for and no check is about earn nothing
        padding = ((0, len(items) - len(open_checks)), (0, 0))
        gains = by_dimension * (weight * (1 - value))[:, None]
        unknowns = by_dimension * (weight * is_unknown)[:, None]
        shares = np.array([weights[name] for name in names], dtype=float)
        return cls(
            items=tuple(items),
            facts=tuple(facts),
            gains=np.pad(gains[open_checks], padding),
            unknowns=np.pad(unknowns[open_checks], padding),
            earned=(weight * value) @ by_dimension,
            unknown=unknowns.sum(axis=0),
            total=weight @ by_dimension,
            shares=shares / (shares.sum() or 1.0),
            gates=open_gates,
            inside=inside,
            chances=chances,
        )

    @property
    def fixable(self) -> NDArray[np.bool_]:
        """Items that can change: checks, and facts that are not known yet."""
        is_check = (self.gains > 0).any(axis=1)
        return is_check | np.array([fact != "" for fact in self.facts], dtype=bool)

    def outcome(
        self, good: Sets, settings: Mapping[str, Any], bad: Sets | None = None
    ) -> tuple[NDArray[np.object_], Floats]:
        """Return label and pessimistic chance of the short list [0-1], by set of items.

        Items of `good` pass, items of `bad` turn out to fail. The chance is 0 behind a gate,
        and for what runs in containers.
        """
        bad = np.zeros_like(good) if bad is None else bad
        ready = self.readiness(good)
        coverage = self._coverage(good | bad)
        hardness = np.zeros(len(good), dtype=np.int64)
        for gate in self.gates:
            hardness = np.maximum(hardness, gate.hardness(good, bad, coverage))
        gate_labels = [gates.LABEL_OF.get(rank) for rank in hardness.tolist()]
        chances = np.zeros(len(good))
        if self.chances is not None and (hardness == 0).any():
            chances = np.where(hardness == 0, self.chances(ready / 100), 0.0)
        inside = [self.inside] * len(good)
        return labels(gate_labels, chances, ready, inside, settings), chances

    def readiness(self, good: Sets) -> Floats:
        """Return the lower bound of readiness by set of items that pass [points]."""
        lower = readiness.points(self.earned + good @ self.gains, self.total)
        return readiness.geometric_mean(lower, self.shares)

    def _coverage(self, known: Sets) -> pd.DataFrame:
        """Return coverage by set of items that are found out, as rules read it."""
        if not any(reason.rule for gate in self.gates for reason in gate.reasons):
            return pd.DataFrame()  # no gate asks for it
        unknown = self.unknown - known @ self.unknowns
        by_dimension = readiness.coverage(unknown, self.total)
        columns = {
            "coverage": readiness.coverage(unknown.sum(axis=1), self.total.sum()),
            "coverage_lowest": by_dimension.min(axis=1),
        }
        # sums in another order may fall just short of a threshold
        rounded = {name: v.round(readiness.DIGITS) for name, v in columns.items()}
        return pd.DataFrame({name: pd.array(v, "Float64") for name, v in rounded.items()})


@cache
def _is_coverage(rule: str) -> bool:
    """Return whether a rule is about nothing but how much is known."""
    tree = ast.parse(rule.strip(), mode="eval")
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return bool(names) and names <= COVERAGE


def _open_gates(
    reasons: Sequence[Row], items: list[str], facts: list[str]
) -> tuple[Gate, ...]:
    """Gather the open gates; a reason that no open check settles adds an item of its own."""
    open_gates = []
    for name, group in groupby(reasons, key=itemgetter("gate")):
        rows = list(group)
        parts = []
        for row in rows:
            holds = row["state"] == "holds"
            if _is_coverage(row["rule"]):
                parts.append(Reason(holds, -1, row["rule"]))
                continue
            item = row["check"]
            if item not in items:
                columns = ", ".join(_COLUMN.findall(row["fact"]))
                item = columns or f"{name}: {row['fact']}"
            if item not in items:
                items.append(item)
                facts.append("" if holds else row["fact"])
            parts.append(Reason(holds, items.index(item)))
        open_gates.append(Gate(rows[0]["label"], rows[0]["fails_when"], tuple(parts)))
    return tuple(open_gates)
