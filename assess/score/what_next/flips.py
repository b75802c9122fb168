"""Flips: the smallest fixes that change a label, and what each unknown fact is worth.

Both questions are answered by one model, `counterfactual`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assess.policy.policy import Policy
from assess.score.result import Result, records_by
from assess.score.what_next.counterfactual import Counterfactual
from assess.score.what_next.labels import SEVERITY, labels
from assess.score.what_next.ranking import Option, Ranking

MAX_FIXES = 3  # checks in a set
SHOWN = 3  # sets
ATOM = ("check", "dimension", "state", "value", "weight")
Flip = tuple[tuple[str, ...], str]  # items, and the label that they lead to


class Information(NamedTuple):
    """What finding out one fact could change.

    Attributes
    ----------
    unknown, fact : str
        The check, column or criterion, and what to find out, in words.
    chance : float
        How likely the answer is good. [share 0-1]
    p_top_if : float
        Pessimistic chance of the short list if it is. [share 0-1]
    label_if, label_else : str
        Labels if it is, and if it is not.
    gain : float
        Expected change of the pessimistic chance of the short list. [share]
    decides : bool
        Whether either answer changes the label.
    """

    unknown: str
    fact: str
    chance: float
    p_top_if: float
    label_if: str
    label_else: str
    gain: float
    decides: bool


def what_ifs(
    ranking: Ranking, readiness: Result, policy: Policy
) -> dict[str, pd.DataFrame]:
    """Return ``flips`` (``service_id, checks, label``) and ``information`` of every service.

    ``information`` holds ``service_id`` and the fields of `Information`, what decides first,
    then by gain.
    """
    details = readiness.details
    settings = policy["what_next"]
    priors = details["priors"].set_index("check")["prior"].to_dict()
    atoms = records_by(details["atoms"][["service_id", *ATOM]], "service_id")
    reasons = records_by(details["reasons"], "service_id")
    unknown = records_by(details["unknown"], "service_id")
    flips = []
    information = []
    for at, service_id in enumerate(ranking.services):
        if service_id not in atoms:
            continue
        service = Counterfactual.of(
            atoms[service_id],
            reasons.get(service_id, []),
            policy["dimensions"],
            inside=bool(ranking.inside.iloc[at]),
            chances=ranking.chances(at),
            questions={row["check"]: row["fact"] for row in unknown.get(service_id, [])},
        )
        flips += [
            (service_id, list(items), label)
            for items, label in smallest_flips(service, settings)
        ]
        facts = value_of_information(service, priors, settings, ranking.options(at))
        facts.sort(
            key=lambda fact: (not fact.decides, -round(fact.gain, 6), fact.unknown)
        )
        information += [(service_id, *fact) for fact in facts]
    columns = ["service_id", *Information._fields]
    types = {"chance": "float64", "gain": "float64", "decides": "bool"}
    return {
        "flips": pd.DataFrame(flips, columns=["service_id", "checks", "label"]),
        "information": pd.DataFrame(information, columns=columns).astype(types),
    }


def smallest_flips(service: Counterfactual, settings: Mapping[str, Any]) -> list[Flip]:
    """Find the smallest sets of at most `MAX_FIXES` items that lead to another label.

    All sets have the smallest size that works; the best label is first, and at most `SHOWN`
    are returned. A known fact that no check is about cannot be fixed.
    """
    fixable = np.flatnonzero(service.fixable)
    none = np.zeros((1, len(service.items)), dtype=bool)
    every = none.copy()
    every[:, fixable] = True
    now = service.outcome(none, settings)[0][0]
    # fixing everything does not help: no smaller set is worth trying
    if not len(fixable) or service.outcome(every, settings)[0][0] == now:
        return []
    needed = _needed(service, fixable)
    if needed is None:
        return []
    # by size: the first size that works is the smallest
    for size in range(max(1, len(needed)), MAX_FIXES + 1):
        sets = _sets_of(size, needed, fixable, len(service.items))
        after, chances = service.outcome(sets, settings)
        # no worse: a label of the same severity is an answer, too
        better = np.flatnonzero(
            [label != now and SEVERITY[label] <= SEVERITY[now] for label in after]
        )
        if len(better):
            severity = np.array([SEVERITY[label] for label in after[better]])
            order = np.lexsort((better, -chances[better], severity))
            return [
                (tuple(service.items[i] for i in np.flatnonzero(sets[s])), str(after[s]))
                for s in better[order][:SHOWN]
            ]
    return []


def _sets_of(
    size: int, needed: tuple[int, ...], fixable: NDArray[np.int64], items_n: int
) -> NDArray[np.bool_]:
    """List every set of a size that holds the needed items, shape (sets, items)."""
    free = [i for i in fixable if i not in needed]
    chosen = list(combinations(free, size - len(needed)))
    sets = np.zeros((len(chosen), items_n), dtype=bool)
    sets[:, list(needed)] = True
    for row, picked in enumerate(chosen):
        sets[row, list(picked)] = True
    return sets


def _needed(
    service: Counterfactual, fixable: NDArray[np.int64]
) -> tuple[int, ...] | None:
    """Return the items that every set needs; None where they are too many, or cannot change.

    The hardest open gates have to pass. Where one reason is enough to fail such a gate, all
    reasons that hold have to go (or, where none holds, all that are unknown). This keeps the
    search small: most services behind a gate have few sets left to try.
    """
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
    settings: Mapping[str, Any],
    options: Iterable[Option] = (),
) -> list[Information]:
    """Return what finding out each unknown could change.

    Parameters
    ----------
    service : Counterfactual
        The service.
    priors : mapping of str to float
        How likely each check passes where it is unknown; 1/2 for other facts. [share 0-1]
    settings : mapping
        As in `labels.labels`.
    options : iterable of Option
        Measurements that are not known.
    """
    asked = [i for i, fact in enumerate(service.facts) if fact]
    # one set per fact, and the empty set last: the service as it is
    sets = np.zeros((len(asked) + 1, len(service.items)), dtype=bool)
    sets[np.arange(len(asked)), asked] = True
    good, p_good = service.outcome(sets, settings)
    bad, p_bad = service.outcome(np.zeros_like(sets), settings, bad=sets)
    now = str(good[-1])
    p_now = float(p_good[-1])
    information = []
    for at, i in enumerate(asked):
        chance = priors.get(service.items[i], 0.5)
        expected = chance * float(p_good[at]) + (1 - chance) * float(p_bad[at])
        information.append(
            Information(
                unknown=service.items[i],
                fact=service.facts[i],
                chance=chance,
                p_top_if=float(p_good[at]),
                label_if=str(good[at]),
                label_else=str(bad[at]),
                gain=expected - p_now,
                decides={str(good[at]), str(bad[at])} != {now},
            )
        )
    ready = service.readiness(sets[-1:])
    for option in options:
        label = str(labels([None], [option.best], ready, [False], settings)[0])
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
