"""Flips: the smallest fixes that change a label, and the value of finding out each unknown fact.

Both use counterfactuals: a service of which some checks were fixed, or some unknown facts found
out. Gates, coverage, readiness and the chance of the short list are computed again for every set
of items, with the formulas of the readiness score.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property, lru_cache
from itertools import combinations, groupby
from operator import itemgetter
from typing import NamedTuple, Self

import numpy as np
import pandas as pd
from pandas import DataFrame

from assess import execution
from assess.frames import Row
from assess.policy import Policy, Table, rules
from assess.score import Booleans, Floats, Integers, Objects, frozen, readiness
from assess.score.readiness import gates
from assess.score.result import Result, records_by
from assess.score.what_next.labels import SEVERITY, labels
from assess.score.what_next.ranking import Chances, Option, Ranking

Sets = Booleans  # shape (sets, items)
Flip = tuple[tuple[str, ...], str]  # items, and the label that they lead to
MAX_FIXES = 3  # checks in a set
SHOWN = 3  # sets
ATOM = ("check", "dimension", "state", "value", "weight")
COVERAGE = ("coverage", "coverage_lowest")
BLOCK = 2000  # services whose rows are laid out at the same time
TOLD_EVERY = 100  # services: a terminal shows how many are left
WHAT = "what would change a label"
ANSWERS_KEPT = 4096  # rules and tables of coverage
_COLUMN = re.compile(r"\b\w+\.\w+")
_ANY_TIME = pd.Timestamp(0, tz="UTC")  # rules about coverage look at no clock


class Singles(NamedTuple):
    """Labels and chances [0-1]: now, with all items fixed, then with one ``asked`` item found out.

    First come the outcomes if that item passes, one for each item, then those if it fails.
    """

    asked: list[int]
    labels: list[str]
    chances: list[float]


@frozen
class Reason:
    """A reason of an open gate: it holds or is unknown, and depends on an item or on coverage."""

    holds: bool
    item: int
    rule: str = ""

    @property
    def now(self) -> float:
        """The current answer: 1 if it holds, NaN if it is unknown."""
        return 1.0 if self.holds else np.nan

    def answers(self, good: Sets, bad: Sets, coverage: Floats) -> Floats:
        """Return the answer by set of items: 1, 0, or NaN where unknown."""
        if self.rule:
            return _by_coverage(self.rule, coverage.tobytes())
        # an item that is neither passed nor failed leaves the answer as it is
        confirmed = np.where(bad[:, self.item], 1.0, self.now)
        return np.where(good[:, self.item], 0.0, confirmed)


@frozen
class Gate:
    """An open gate."""

    label: str
    fails_when: str
    reasons: tuple[Reason, ...]

    @cached_property
    def rank(self) -> int:
        """Current hardness of the gate."""
        now = np.array([[reason.now] for reason in self.reasons])
        return int(self._hardness(now)[0])

    def hardness(self, good: Sets, bad: Sets, coverage: Floats) -> Integers:
        """Return the hardness of the gate by set of items."""
        answers = [reason.answers(good, bad, coverage) for reason in self.reasons]
        return self._hardness(np.array(answers))

    def _hardness(self, holds: Floats) -> Integers:
        failing = gates.fails(holds, self.fails_when)
        return gates.hardness(failing, gates.HARDNESS[self.label])


@frozen
class Counterfactual:
    """One service, and the items about it that could change.

    ``items`` are ids of the checks that do not pass, then the columns of the facts that gates lack;
    ``facts`` what to find out, in words, empty for what is known to fail. By item and dimension,
    ``gains`` is the weight that passing an item earns, ``unknowns`` its weight where it is unknown.
    By dimension, ``earned, unknown, total`` are weights and ``shares`` the weight of the dimension
    [0-1]. ``gates`` are those that are open; ``inside`` is whether it runs in containers already;
    ``chances`` the chance of the short list by readiness, None where it never competes; ``settings``
    are those of labels.
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
    settings: Table

    @classmethod
    def of(  # noqa: PLR0913
        cls,
        atoms: Sequence[Row],
        reasons: Sequence[Row],
        policy: Policy,
        *,
        inside: bool,
        chances: Chances | None,
        questions: Mapping[str, str],
    ) -> Self:
        """Build the counterfactual of a service from its atoms and open gates."""
        asked = [atom for atom in atoms if atom["state"] != "na"]
        names = list(dict.fromkeys(atom["dimension"] for atom in asked))
        weight = np.array([atom["weight"] for atom in asked], float)
        known = [atom["value"] for atom in asked]
        values = np.array([None if v is pd.NA else v for v in known], float)
        is_unknown = np.isnan(values)
        value = np.where(is_unknown, 0.0, values)
        dimension = [names.index(atom["dimension"]) for atom in asked]
        # one row a check, 1 in the column of its dimension
        by_dimension = np.eye(len(names))[dimension]
        by_dimension = by_dimension.reshape(len(asked), len(names))
        # a check in part still earns the rest of its weight
        open_checks = np.flatnonzero((value < 1) & (weight > 0))
        items = [asked[i]["check"] for i in open_checks]
        facts = [
            questions.get(check, check) if is_unknown[i] else ""
            for i, check in zip(open_checks, items, strict=True)
        ]
        open_gates = _open_gates(reasons, items, facts)
        # facts that gates ask for and no check is about earn nothing
        rest = np.zeros((len(items) - len(open_checks), len(names)))
        gains = by_dimension * (weight * (1 - value))[:, None]
        unknowns = by_dimension * (weight * is_unknown)[:, None]
        weights = policy["dimensions"]
        shares = np.array([weights[name] for name in names], float)
        return cls(
            items=tuple(items),
            facts=tuple(facts),
            gains=np.concatenate([gains[open_checks], rest]),
            unknowns=np.concatenate([unknowns[open_checks], rest]),
            earned=(weight * value) @ by_dimension,
            unknown=unknowns.sum(axis=0),
            total=weight @ by_dimension,
            shares=shares / (shares.sum() or 1.0),
            gates=open_gates,
            inside=inside,
            chances=chances,
            settings=policy["what_next"],
        )

    @property
    def fixable(self) -> Booleans:
        """Items that can change: checks, and facts that are not known yet."""
        is_check = (self.gains > 0).any(axis=1)
        return is_check | np.array([fact != "" for fact in self.facts], bool)

    def outcome(self, good: Sets, bad: Sets | None = None) -> tuple[Objects, Floats]:
        """Return label and pessimistic chance of the short list [0-1], by set of items.

        Items of `good` pass, items of `bad` turn out to fail. The chance is 0 behind a gate,
        and for what runs in containers.
        """
        bad = np.zeros_like(good) if bad is None else bad
        ready = self.readiness(good)
        coverage = self._coverage(good | bad)
        hardness = np.zeros(len(good), dtype=np.int64)
        # the hardest gate decides the label
        for gate in self.gates:
            hardness = np.maximum(hardness, gate.hardness(good, bad, coverage))
        gate_labels = [gates.LABEL_OF.get(rank) for rank in hardness.tolist()]
        is_clear = hardness == 0
        chances = np.zeros(len(good))
        if self.chances is not None and is_clear.any():
            chances[is_clear] = self.chances(ready[is_clear] / 100)
        inside = [self.inside] * len(good)
        return labels(gate_labels, chances, ready, inside, self.settings), chances

    @cached_property
    def singles(self) -> Singles:
        """The outcome now, with all items fixed, and with each unknown item found out."""
        asked = [i for i, fact in enumerate(self.facts) if fact]
        n = len(asked)
        good = np.zeros((2 + 2 * n, len(self.items)), bool)
        bad = np.zeros_like(good)
        good[1, self.fixable] = True
        good[np.arange(2, 2 + n), asked] = True
        bad[np.arange(2 + n, 2 + 2 * n), asked] = True
        # all at once: there are as many calls as services
        names, chances = self.outcome(good, bad)
        return Singles(asked, names.astype(str).tolist(), chances.tolist())

    def readiness(self, good: Sets) -> Floats:
        """Return the lower bound of readiness by set of items that pass [points]."""
        lower = readiness.points(self.earned + good @ self.gains, self.total)
        return readiness.geometric_mean(lower, self.shares)

    def _coverage(self, known: Sets) -> Floats:
        """Return the columns of `COVERAGE` by set of items that become known."""
        if not any(reason.rule for gate in self.gates for reason in gate.reasons):
            return np.empty((0, len(COVERAGE)))  # no gate asks for it
        unknown = self.unknown - known @ self.unknowns
        whole = readiness.coverage(unknown.sum(axis=1), self.total.sum())
        by_dimension = readiness.coverage(unknown, self.total)
        lowest = by_dimension.min(axis=1)
        # sums in another order may fall just short of a threshold
        return np.stack([whole, lowest], axis=1).round(readiness.DIGITS)


@lru_cache(maxsize=ANSWERS_KEPT)
def _by_coverage(rule: str, coverage: bytes) -> Floats:
    """Return the answers of a rule about coverage; many services have the same."""
    cells = np.frombuffer(coverage).reshape(-1, len(COVERAGE))
    table = DataFrame(cells, columns=COVERAGE).astype("Float64")
    answers = rules.evaluate(rule, table, at=_ANY_TIME)
    return answers.to_numpy(float, na_value=np.nan)


@cache
def _is_coverage(rule: str) -> bool:
    """Return whether a rule reads only columns of coverage."""
    tree = ast.parse(rule.strip(), mode="eval")
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return bool(names) and names <= set(COVERAGE)


def _open_gates(
    reasons: Sequence[Row], items: list[str], facts: list[str]
) -> tuple[Gate, ...]:
    """Gather the open gates; a reason that no open check decides adds an item of its own."""
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
        first = rows[0]
        open_gates.append(Gate(first["label"], first["fails_when"], tuple(parts)))
    return tuple(open_gates)


class Information(NamedTuple):
    """The possible effect of finding out one fact.

    ``unknown, fact``: the check, column or criterion, and what to find out, in words. ``chance``
    [0-1]: how likely the answer is good. ``p_top_if`` [0-1]: pessimistic chance of the short list if
    it is. ``label_if, label_else``: labels if it is, and if it is not. ``gain``: expected change of
    that chance. ``decides``: whether either answer changes the label.
    """

    unknown: str
    fact: str
    chance: float
    p_top_if: float
    label_if: str
    label_else: str
    gain: float
    decides: bool


def counterfactuals(
    ranking: Ranking, readiness: Result, policy: Policy
) -> Iterator[tuple[int, Counterfactual]]:
    """Yield every service with answers: its position in the ranking, and its counterfactual."""
    details = readiness.details
    tables = (
        details["atoms"][["service_id", *ATOM]],
        details["reasons"],
        details["unknown"],
    )
    n = len(ranking.services)
    for start in range(0, n, BLOCK):
        some = ranking.services[start : start + BLOCK]
        atoms, reasons, unknown = (
            records_by(table[table["service_id"].isin(some)], "service_id")
            for table in tables
        )
        for at, service_id in enumerate(some, start=start):
            if at % TOLD_EVERY == 0:
                execution.tell(WHAT, at, n)
            if service_id in atoms:
                facts = {row["check"]: row["fact"] for row in unknown.get(service_id, [])}
                service = Counterfactual.of(
                    atoms[service_id],
                    reasons.get(service_id, []),
                    policy,
                    inside=bool(ranking.inside.iloc[at]),
                    chances=ranking.chances(at),
                    questions=facts,
                )
                yield at, service
    execution.tell(WHAT, n, n)


WHAT_IFS = ("flips", "information")


def what_ifs(ranking: Ranking, readiness: Result, policy: Policy) -> dict[str, DataFrame]:
    """Return ``flips`` (``service_id, checks, label``) and ``information`` of every service.

    ``information`` holds ``service_id`` and the fields of `Information`, what decides first,
    then by gain.
    """
    priors = readiness.details["priors"].set_index("check")["prior"].to_dict()
    flips = []
    information = []
    for at, service in counterfactuals(ranking, readiness, policy):
        service_id = ranking.services[at]
        flips += [
            (service_id, list(items), label) for items, label in smallest_flips(service)
        ]
        facts = value_of_information(service, priors, ranking.options(at))
        facts.sort(
            key=lambda fact: (not fact.decides, -round(fact.gain, 6), fact.unknown)
        )
        information += [(service_id, *fact) for fact in facts]
    columns = ["service_id", *Information._fields]
    types = {"chance": "float64", "gain": "float64", "decides": "bool"}
    return {
        "flips": DataFrame(flips, columns=["service_id", "checks", "label"]),
        "information": DataFrame(information, columns=columns).astype(types),
    }


def smallest_flips(service: Counterfactual) -> list[Flip]:
    """Return the smallest sets of at most `MAX_FIXES` items that change the label."""
    # All sets have the smallest size that works; the best label is first, and at most
    # `SHOWN` are returned. A known fact that no check is about cannot be fixed.
    fixable = np.flatnonzero(service.fixable)
    now, with_all, *_ = service.singles.labels
    # fixing everything does not help: no smaller set is worth trying
    if not len(fixable) or with_all == now:
        return []
    needed = _needed(service, fixable)
    if needed is None:
        return []
    # by size: the first size that works is the smallest
    for size in range(max(1, len(needed)), MAX_FIXES + 1):
        sets = _sets_of(size, needed, fixable, len(service.items))
        # all sets of a size at once, as rows: one evaluation instead of one a set
        after, chances = service.outcome(sets)
        # no worse: a label of the same severity is an answer, too
        better = np.flatnonzero(
            [label != now and SEVERITY[label] <= SEVERITY[now] for label in after]
        )
        if len(better):
            severity = np.array([SEVERITY[label] for label in after[better]])
            order = np.lexsort((better, -chances[better], severity))
            best = better[order][:SHOWN]
            named = [
                tuple(service.items[i] for i in np.flatnonzero(sets[s])) for s in best
            ]
            return list(zip(named, map(str, after[best]), strict=True))
    return []


def _sets_of(
    size: int, needed: tuple[int, ...], fixable: Integers, items_n: int
) -> Booleans:
    """Return every set of a size with the needed items, shape (sets, items)."""
    free = [i for i in fixable if i not in needed]
    chosen = list(combinations(free, size - len(needed)))
    sets = np.zeros((len(chosen), items_n), bool)
    sets[:, list(needed)] = True
    for row, picked in enumerate(chosen):
        sets[row, list(picked)] = True
    return sets


def _needed(service: Counterfactual, fixable: Integers) -> tuple[int, ...] | None:
    """Return the items that every set needs; None where they are too many, or cannot change."""
    # The hardest open gates have to pass. Where one reason is enough to fail such a gate,
    # all reasons that hold have to go (or, where none holds, all that are unknown). This
    # keeps the search small: most services behind a gate have few sets left to try.
    hardest = max((gate.rank for gate in service.gates), default=0)
    needed: set[int] = set()
    for gate in service.gates:
        if gate.rank < hardest or gate.fails_when != "any":
            continue
        holding = [r for r in gate.reasons if r.holds] or list(gate.reasons)
        needed |= {reason.item for reason in holding if not reason.rule}
    if len(needed) > MAX_FIXES or not needed <= set(fixable.tolist()):
        return None
    return tuple(sorted(needed))


def value_of_information(
    service: Counterfactual,
    priors: Mapping[str, float],
    options: Iterable[Option] = (),
) -> list[Information]:
    """Return the possible effect of finding out each unknown fact.

    ``priors``: how likely each check passes where it is unknown [0-1]; 1/2 for other facts.
    ``options``: measurements that are not known.
    """
    asked, names, chances = service.singles
    now = names[0]
    p_now = chances[0]
    information = []
    for good, i in enumerate(asked, start=2):
        bad = good + len(asked)
        chance = priors.get(service.items[i], 0.5)
        information.append(
            Information(
                unknown=service.items[i],
                fact=service.facts[i],
                chance=chance,
                p_top_if=chances[good],
                label_if=names[good],
                label_else=names[bad],
                # expected value after the answer, minus the value now
                gain=chance * chances[good] + (1 - chance) * chances[bad] - p_now,
                decides={names[good], names[bad]} != {now},
            )
        )
    ready = service.readiness(np.zeros((1, len(service.items)), bool))
    for option in options:
        [found] = labels([None], [option.best], ready, [False], service.settings)
        label = str(found)
        information.append(
            Information(
                unknown=option.criterion,
                fact=option.fact,
                chance=0.5,
                p_top_if=option.best,
                label_if=label,
                label_else=now,
                gain=option.middle - p_now,
                decides=label != now,
            )
        )
    return information
