"""What if: the smallest fixes that change a label, and what each unknown fact is worth.

Both questions that a meeting has are answered by one model, `counterfactual`.
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
from assess.score.what_next.labels import STANDING, labels
from assess.score.what_next.preferences import Contest

MAX_FIXES = 3  # checks in a set
SHOWN = 3  # sets
ATOM = ("check", "dimension", "state", "value", "weight")


class Finding(NamedTuple):
    """What finding one fact out could change.

    Attributes
    ----------
    unknown, fact : str
        The check, column or criterion, and what to find out, in words.
    chance : float
        How likely it turns out well. [share 0-1]
    p_top_if : float
        Pessimistic chance of the short list if it does. [share 0-1]
    label_if, label_else : str
        Labels if it does, and if it does not.
    gain : float
        Expected change of the pessimistic chance of the short list. [share]
    decides : bool
        Whether either changes the label.
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
    contest: Contest, readiness: Result, policy: Policy
) -> dict[str, pd.DataFrame]:
    """Ask both questions of every service.

    Parameters
    ----------
    contest : Contest
        The ranking that services are in.
    readiness : Result
        Its atoms, reasons of open gates, unknown facts and priors.
    policy : Policy
        Thresholds and weights of the dimensions.

    Returns
    -------
    dict of str to DataFrame
        ``flips`` (``service_id, checks, label``), and ``information``: ``service_id`` and the
        fields of `Finding`, what decides first, then by gain.
    """
    tables, settings = readiness.details, policy["what_next"]
    priors = dict(zip(tables["priors"]["check"], tables["priors"]["prior"], strict=True))
    atoms = records_by(tables["atoms"][["service_id", *ATOM]], "service_id")
    reasons, unknown = (
        records_by(tables[name], "service_id") for name in ("reasons", "unknown")
    )
    flips, information = [], []
    for at, service_id in enumerate(contest.services):
        if service_id not in atoms:
            continue
        case = Counterfactual.of(
            atoms[service_id],
            reasons.get(service_id, []),
            policy["dimensions"],
            inside=bool(contest.inside.iloc[at]),
            rival=contest.rival(at),
            questions={row["check"]: row["fact"] for row in unknown.get(service_id, [])},
        )
        flips += [
            (service_id, list(s), label) for s, label in smallest_flips(case, settings)
        ]
        found = value_of_information(case, priors, settings, contest.options(at))
        found.sort(
            key=lambda fact: (not fact.decides, -round(fact.gain, 6), fact.unknown)
        )
        information += [(service_id, *fact) for fact in found]
    facts = pd.DataFrame(information, columns=["service_id", *Finding._fields])
    return {
        "flips": pd.DataFrame(flips, columns=["service_id", "checks", "label"]),
        "information": facts.astype(
            {"chance": "float64", "gain": "float64", "decides": "bool"}
        ),
    }


def smallest_flips(
    case: Counterfactual, settings: Mapping[str, Any]
) -> list[tuple[tuple[str, ...], str]]:
    """Find the smallest sets of fixes that lead to another label.

    Parameters
    ----------
    case : Counterfactual
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
    fixable = np.flatnonzero(case.fixable)
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
                (tuple(case.items[i] for i in np.flatnonzero(sets[s])), str(found[s]))
                for s in best
            ]
    return []


def _is_better(label: str, now: str) -> bool:
    """Whether a label is another and no worse; to learn that it is NEVER also decides."""
    return label != now and STANDING[label] <= STANDING[now]


def _needed(case: Counterfactual, fixable: NDArray[np.int64]) -> tuple[int, ...] | None:
    """Give the items that every set needs; None where they are too many, or cannot change.

    The hardest of the open gates have to give way: where any reason is enough for one, all that
    hold have to go (or, where none holds, all that are unknown).
    """
    hardest = max((gate.rank for gate in case.gates), default=0)
    must: set[int] = set()
    for gate in case.gates:
        if gate.rank < hardest or gate.fails_when != "any":
            continue
        holding = [r for r in gate.reasons if r.holds] or list(gate.reasons)
        must |= {reason.item for reason in holding if not reason.rule}
    if len(must) > MAX_FIXES or not must <= set(fixable.tolist()):
        return None
    return tuple(sorted(must))


def value_of_information(
    case: Counterfactual,
    priors: Mapping[str, float],
    settings: Mapping[str, Any],
    options: Iterable[tuple[str, str, float, float]] = (),
) -> list[Finding]:
    """Say what finding out each unknown could change.

    Parameters
    ----------
    case : Counterfactual
        The service.
    priors : mapping of str to float
        How likely each check passes where it is unknown; one half for other facts. [share 0-1]
    settings : mapping
        As in `labels.labels`.
    options : iterable of tuple
        Measurements that are not known: criterion, fact, and the chance of the short list with it
        at its best and in the middle of what is possible. At its worst nothing changes, since that
        is what counts now.

    Returns
    -------
    list of Finding
        One per unknown.
    """
    asked = [i for i, fact in enumerate(case.facts) if fact]
    sets = np.zeros((len(asked) + 1, len(case.items)), dtype=bool)
    sets[np.arange(len(asked)), asked] = True
    good, p_good = case.outcome(sets, settings)
    bad, p_bad = case.outcome(np.zeros_like(sets), settings, bad=sets)
    now, p_now = str(good[-1]), float(p_good[-1])
    found = []
    for at, i in enumerate(asked):
        chance = priors.get(case.items[i], 0.5)
        better, worse = float(p_good[at]), float(p_bad[at])
        gain = chance * better + (1 - chance) * worse - p_now
        ends = str(good[at]), str(bad[at])
        decides = set(ends) != {now}
        found.append(
            Finding(case.items[i], case.facts[i], chance, better, *ends, gain, decides)
        )
    ready = float(case.readiness(sets[-1:])[0])
    for name, fact, best, middle in options:
        label = str(labels([None], [best], [ready], [False], settings)[0])
        found.append(
            Finding(name, fact, 0.5, best, label, now, middle - p_now, label != now)
        )
    return found
