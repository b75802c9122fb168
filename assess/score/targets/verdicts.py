"""Blockers of a service at a target, and the verdict from the worst of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from assess.frames import surely
from assess.policy.policy import Policy
from assess.policy.targets import STAY
from assess.score.evidence import Evidence
from assess.score.incidents.exposure import HOST
from assess.score.readiness.gates import NOT_DECIDABLE
from assess.score.targets.place import is_provided, runs_linux
from assess.score.targets.refusals import refusals

if TYPE_CHECKING:
    from assess.score.assessment import Assessment

FITS = "fits"
AFTER_FIXES = "after fixes"
NO = "no"
UNKNOWN = "unknown"
VERDICTS = (FITS, AFTER_FIXES, UNKNOWN, NO)
NEVER = "NEVER"
Row = Mapping[str, Any]
Blocker = tuple[str, str, str]  # service, verdict, words


def blockers_at(
    assessment: Assessment,
    target: Row,
    readiness: pd.DataFrame,
    gates: pd.DataFrame,
) -> list[Blocker]:
    """List service, verdict and words of all blockers at a target."""
    evidence = assessment.evidence
    side = assessment.exposure.side
    on_host = set(side.index[surely(side.eq(HOST))])
    found = _gate_blockers(gates)
    if target["id"] == STAY:
        # a service on hosts meets no gate of containers where it is, only the end of its system
        found = [row for row in found if row[0] not in on_host]
        return found + [row for row in _old_systems(evidence) if row[0] in on_host]
    for refusal in refusals(assessment.policy, evidence, target):
        verdict = AFTER_FIXES if refusal.is_fixable else NO
        holds = refusal.holds
        found += _from_answers(evidence, holds, verdict, refusal.says, refusal.fact)
    if not (runs_linux(target) or is_provided(target) or target["platform"] == HOST):
        says = f"system: {target['os']} runs no Linux containers"
        found += [(name, NO, says) for name in evidence.services]
    return found + _unready(assessment.policy, readiness)


def _gate_blockers(gates: pd.DataFrame) -> list[Blocker]:
    """List blockers from gates: NEVER means no, unknown stays unknown, the rest can be fixed."""
    verdicts = {NEVER: NO, NOT_DECIDABLE: UNKNOWN}
    rows = gates[gates["state"].isin(["fail", "unknown"])]
    found = []
    for row in rows.itertuples():
        verdict = verdicts.get(row.label, AFTER_FIXES)
        if row.state == "unknown":
            verdict = UNKNOWN
        found.append((row.service_id, verdict, f"{row.gate} {row.evidence}"))
    return found


def _old_systems(evidence: Evidence) -> list[Blocker]:
    holds = evidence.exists("hosts", "not os_supported")
    says = "system: its operating system is past its end of life"
    fact = "the operating system (hosts.os_name, hosts.os_version)"
    return _from_answers(evidence, holds, AFTER_FIXES, says, fact)


def _from_answers(
    evidence: Evidence,
    holds: Any,
    verdict: str,
    says: str,
    fact: str,
) -> list[Blocker]:
    services = evidence.services
    found = [(name, verdict, says) for name in services[holds == 1]]
    return found + [(n, UNKNOWN, f"not known: {fact}") for n in services[np.isnan(holds)]]


def _unready(policy: Policy, readiness: pd.DataFrame) -> list[Blocker]:
    """List services whose readiness there is, or may be, too low."""
    least = float(policy["what_next"]["pilot_points"])
    found: list[Blocker] = []
    for row in readiness[readiness["readiness_lo"] < least].itertuples():
        name = str(row.Index)
        if row.readiness_hi < least:
            words = f"readiness: {row.readiness:.0f} is below {least:.0f}"
            found.append((name, AFTER_FIXES, words))
        else:
            ends = f"({row.readiness_lo:.0f} to {row.readiness_hi:.0f})"
            words = f"not known: whether readiness reaches {least:.0f} {ends}"
            found.append((name, UNKNOWN, words))
    return found


def verdicts(blockers: list[Blocker], services: pd.Index) -> pd.DataFrame:
    """Return ``verdict`` and ``blockers`` by service; the worst blocker decides and comes first."""
    by_service: dict[str, list[tuple[int, str]]] = {name: [] for name in services}
    for service, verdict, words in blockers:
        by_service[service].append((VERDICTS.index(verdict), words.replace("; ", ", ")))
    rows = []
    for found in by_service.values():
        found.sort(key=lambda pair: -pair[0])
        worst = VERDICTS[found[0][0]] if found else FITS
        rows.append((worst, "; ".join(dict.fromkeys(words for _, words in found))))
    return pd.DataFrame(rows, services, ["verdict", "blockers"], dtype="str")


def why(
    part: pd.DataFrame,
    target: Row,
    missing: pd.Series,
) -> pd.Series:
    """Return a sentence on every service at a target."""
    who = "its provider patches" if is_provided(target) else "we patch"
    is_free = part["blockers"].eq("")
    reason = part["blockers"].mask(is_free, "nothing is in the way")
    lo = part["hours_per_year_lo"].astype(float).map("{:.0f}".format).astype("str")
    hi = part["hours_per_year_hi"].astype(float).map("{:.0f}".format).astype("str")
    work = f"; {who}, " + lo + " to " + hi + " hours a year"
    no_cost = missing.reindex(part.index)
    cost_words = ("; no cost without " + no_cost).where(no_cost.ne(""), "")
    return (part["verdict"] + ": " + reason + work + cost_words).astype("str")
