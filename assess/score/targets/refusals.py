"""Refusals of a target as gates and as blockers, and the verdict from the worst blocker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

from assess.frames import surely
from assess.policy import Policy, Table
from assess.policy.targets import STAY
from assess.score import Floats
from assess.score.evidence import Evidence, combine
from assess.score.incidents import HOST
from assess.score.readiness.gates import NOT_DECIDABLE, OPEN
from assess.score.targets.place import (
    CPU,
    FULL_HOURS,
    GIB,
    MEMORY,
    PEAKS,
    is_provided,
    runs_linux,
)

if TYPE_CHECKING:
    from assess.score.assessment import Assessment

# without a mend, a refusal excludes services on hosts; services in containers stay in them
GATES = (
    ("T1", "NEVER", False, " and not inside"),
    ("T2", "HOLD", False, " and inside"),
    ("T3", "PREPARE", True, ""),
)
REFUSED = r"\bT[13]: "  # in the reason of a label
CLEAR = "has nothing that the target refuses"


class Refusal(NamedTuple):
    """A property that a target refuses; ``holds`` by service: 1 has it, 0 has not, NaN unknown."""

    says: str
    fact: str
    is_fixable: bool
    holds: Floats


class Size(NamedTuple):
    """The limit of a resource per replica at a target, and the columns with the need for it."""

    what: str
    most: str
    unit: int
    columns: tuple[str, ...]
    of_host: str
    is_compressible: bool  # a replica that wants more is slowed, not ended


SIZES = (
    Size("memory", "memory_gib_max", GIB, MEMORY, "memory_bytes", is_compressible=False),
    Size("CPU", "cpu_max", 1, CPU, "vcpus", is_compressible=True),
)


def refusals(policy: Policy, evidence: Evidence, target: Table) -> list[Refusal]:
    """Return the refusals of a target, in the order of the policy, sizes last."""
    found = []
    for row in policy["refusal"]:
        if row["id"] in target["refuses"]:
            holds = evidence.exists(row["table"], row["rule"])
            says = f"{row['id']}: {row['says']}"
            found.append(Refusal(says, row["fact"], row["fixable"], holds))
    for size in SIZES:
        if target[size.most]:
            holds = _too_large(evidence, size, target[size.most] * size.unit)
            says = f"{size.what}: it needs more than a replica gets there"
            fact = f"how much {size.what} it needs (workloads.{size.columns[-1]})"
            found.append(Refusal(says, fact, is_fixable=False, holds=holds))
    return found


def _too_large(evidence: Evidence, size: Size, most: float) -> Floats:
    """Return by service 1 where a container needs more, 0 where none can, NaN where unknown."""
    # A limit, the host, or a peak over long enough say what it cannot exceed; a request
    # says so only of what is compressible.
    view = evidence.views["workloads"]
    table = view.table
    usual, request, limit = (_numbers(table[name]) for name in size.columns)
    peak = _numbers(table[PEAKS[size.columns[0]]])
    hours = _numbers(table["usage_window_hours"])
    is_long = hours >= FULL_HOURS
    hosts = evidence.views["hosts"].table.dropna(subset="host_id")
    by_host = hosts.groupby("host_id")[size.of_host].max()
    host = _numbers(table["host_id"].map(by_host))
    # a proof that it fits comes before a sign that it does not
    can_be_no_more = (limit <= most) | (host <= most)
    can_be_no_more |= is_long & (peak <= most)
    can_be_no_more |= (request <= most) & size.is_compressible
    is_more = (request > most) | (limit > most)
    is_more |= is_long & (usual > most)
    holds = np.select([can_be_no_more, is_more], [0.0, 1.0], np.nan)
    certain = view.certain(holds, np.ones(len(table), dtype=bool))
    return combine(view.codes, certain, n=len(evidence.services), how="any")


def _numbers(cells: Series) -> Floats:
    return cells.astype("Float64").to_numpy(float)


def refusal_gates(found: Sequence[Refusal]) -> list[dict[str, Any]]:
    """Return refusals as gates, over the columns of `with_refusals`."""
    gates = []
    for gate, label, is_fixable, where in GATES:
        reasons = [
            {
                "table": "services",
                "rule": f"refused_{at}{where}",
                "says": refusal.says,
                "fact": refusal.fact,
            }
            for at, refusal in enumerate(found)
            if refusal.is_fixable == is_fixable
        ]
        row = {"id": gate, "label": label, "clear": CLEAR, "reasons": reasons}
        gates.append({**row, "fails_when": "any"})
    return [gate for gate in gates if gate["reasons"]]


def with_refusals(
    evidence: Evidence, found: Sequence[Refusal], inside: Series
) -> Evidence:
    """Return evidence with columns of services for refusals, and for running in containers."""
    columns = {f"refused_{at}": refusal.holds for at, refusal in enumerate(found)}
    refused = DataFrame(columns, evidence.services, dtype="Float64")
    return evidence.with_columns(refused.assign(inside=inside))


FITS = "fits"
AFTER_FIXES = "after fixes"
NO = "no"
UNKNOWN = "unknown"
VERDICTS = (FITS, AFTER_FIXES, UNKNOWN, NO)
NEVER = "NEVER"
Blocker = tuple[str, str, str]  # service, verdict, words


def blockers_at(
    assessment: Assessment, target: Table, readiness: DataFrame, gates: DataFrame
) -> list[Blocker]:
    """List service, verdict and words of all blockers at a target."""
    evidence = assessment.evidence
    side = assessment.exposure.side
    on_host = set(side.index[surely(side.eq(HOST))])
    found = _gate_blockers(gates)
    if target["id"] == STAY:
        # a service on hosts meets no gate of containers where it is, only the end of its system
        found = [row for row in found if row[0] not in on_host]
        ended = evidence.exists("hosts", "not os_supported")
        says = "system: its operating system is past its end of life"
        fact = "the operating system (hosts.os_name, hosts.os_version)"
        old = _from_answers(evidence, ended, AFTER_FIXES, says, fact)
        return found + [row for row in old if row[0] in on_host]
    for refusal in refusals(assessment.policy, evidence, target):
        verdict = AFTER_FIXES if refusal.is_fixable else NO
        holds = refusal.holds
        found += _from_answers(evidence, holds, verdict, refusal.says, refusal.fact)
    if not (runs_linux(target) or is_provided(target) or target["platform"] == HOST):
        says = f"system: {target['os']} runs no Linux containers"
        found += [(name, NO, says) for name in evidence.services]
    return found + _unready(assessment.policy, readiness)


def _gate_blockers(gates: DataFrame) -> list[Blocker]:
    """List blockers from gates: NEVER means no, unknown stays unknown, the rest can be fixed."""
    verdicts = {NEVER: NO, NOT_DECIDABLE: UNKNOWN}
    rows = gates[gates["state"].isin(OPEN)]
    found = []
    for row in rows.itertuples():
        is_open = row.state == "unknown"
        verdict = UNKNOWN if is_open else verdicts.get(row.label, AFTER_FIXES)
        found.append((row.service_id, verdict, f"{row.gate} {row.evidence}"))
    return found


def _from_answers(
    evidence: Evidence, holds: Floats, verdict: str, says: str, fact: str
) -> list[Blocker]:
    has_it = evidence.services[holds == 1]
    is_open = evidence.services[np.isnan(holds)]
    found = [(name, verdict, says) for name in has_it]
    return found + [(name, UNKNOWN, f"not known: {fact}") for name in is_open]


def _unready(policy: Policy, readiness: DataFrame) -> list[Blocker]:
    """List services whose readiness there is, or may be, too low."""
    least = policy["what_next"]["pilot_points"]
    found: list[Blocker] = []
    for row in readiness[readiness["readiness_lo"] < least].itertuples():
        verdict = UNKNOWN
        ends = f"({row.readiness_lo:.0f} to {row.readiness_hi:.0f})"
        words = f"not known: whether readiness reaches {least:.0f} {ends}"
        if row.readiness_hi < least:
            verdict = AFTER_FIXES
            words = f"readiness: {row.readiness:.0f} is below {least:.0f}"
        found.append((str(row.Index), verdict, words))
    return found


def verdicts(blockers: list[Blocker], services: pd.Index) -> DataFrame:
    """Return ``verdict`` and ``blockers`` by service; the worst blocker decides and comes first."""
    by_service: dict[str, list[tuple[int, str]]] = {name: [] for name in services}
    for service, verdict, words in blockers:
        by_service[service].append((VERDICTS.index(verdict), words.replace("; ", ", ")))
    rows = []
    for found in by_service.values():
        found.sort(key=lambda pair: -pair[0])
        worst = VERDICTS[found[0][0]] if found else FITS
        listed = dict.fromkeys(words for _, words in found)
        rows.append((worst, "; ".join(listed)))
    return DataFrame(rows, services, ["verdict", "blockers"], dtype="str")


NO_COST = "; no cost without "


def why(part: DataFrame, target: Table, missing: Series) -> Series:
    """Return a sentence on every service at a target."""
    who = "its provider patches" if is_provided(target) else "we patch"
    is_free = part["blockers"].eq("")
    reason = part["blockers"].mask(is_free, "nothing is in the way")
    lo, hi = (
        part[f"hours_per_year{end}"].astype(float).map("{:.0f}".format).astype("str")
        for end in ("_lo", "_hi")
    )
    work = f"; {who}, " + lo + " to " + hi + " hours a year"
    no_cost = missing.reindex(part.index)
    cost_words = (NO_COST + no_cost).where(no_cost.ne(""), "")
    return (part["verdict"] + ": " + reason + work + cost_words).astype("str")
