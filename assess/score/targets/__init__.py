"""Targets: where to, compared. Every service on every target of the policy.

A verdict comes from what the target refuses and from the gates as they would be there; only what a
move replaces is computed anew. Beside it stand readiness, upgrades, containment, cost and effort.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from assess.errors import AssessError, did_you_mean
from assess.inventory import Inventory
from assess.policy.policy import Policy
from assess.policy.targets import STAY, as_default, complete
from assess.score.blast_radius.relocation import move_deltas
from assess.score.evidence import Evidence, answer_checks
from assess.score.evidence.tables import gather
from assess.score.incidents.exposure import HOST
from assess.score.readiness import Readiness, judged_readiness, measure
from assess.score.readiness.gates import UnknownGateWarning, judge
from assess.score.result import Explanation, Provenance, Result
from assess.score.targets import cost, hours
from assess.score.targets.place import (
    Place,
    at_place,
    calendars,
    is_provided,
    is_replaced,
    place_of,
)
from assess.score.upgrade_churn import base_images

if TYPE_CHECKING:
    from assess.score.assessment import Assessment

FITS = "fits"
AFTER_FIXES = "after fixes"
NO = "no"
UNKNOWN = "unknown"
POSSIBLE = (FITS, AFTER_FIXES)
VERDICTS = (FITS, AFTER_FIXES, UNKNOWN, NO)
NEVER = "NEVER"
NOT_DECIDABLE = "NOT DECIDABLE"
GIB = 2**30
COLUMNS = (
    "verdict",
    "blockers",
    "readiness_lo",
    "readiness",
    "readiness_hi",
    "hours_per_year",
    "hours_per_year_lo",
    "hours_per_year_hi",
    "delta",
    "delta_lo",
    "delta_hi",
    "cost_per_month",
    "cost_per_month_lo",
    "cost_per_month_hi",
    "effort_hours",
    "dominated",
    "why",
)
# criteria at their worst, and whether high is good
CRITERIA = {
    "readiness_lo": True,
    "hours_per_year_hi": False,
    "delta_hi": False,
    "cost_per_month_hi": False,
    "effort_hours": False,
}
KEY = ["service_id", "target"]
PRICE_WORDS = {
    "vcpu_hour": "vCPU-hour",
    "gib_hour": "GiB-hour",
    "service_month": "service and month",
}
Row = Mapping[str, Any]


@dataclass(frozen=True, eq=False, repr=False)
class Targets(Result):
    """Every service on every target: verdict, blockers, and what it would be like there."""

    name: ClassVar[str] = "targets"
    summary_columns: ClassVar[tuple[str, ...]] = (
        "verdict",
        "blockers",
        "readiness",
        "hours_per_year",
        "delta",
        "cost_per_month",
        "effort_hours",
        "dominated",
    )

    @property
    def headline(self) -> str:
        """How many services fit on how many targets."""
        verdicts = self.frame["verdict"].unstack("target")
        fits = verdicts.drop(columns=STAY, errors="ignore").eq(FITS).any(axis=1).sum()
        return f"{fits} of {len(verdicts)} services fit on a target other than where they are."

    def summary(self) -> pd.DataFrame:
        """Return the few columns that a meeting needs, blockers as text."""
        return self.frame[list(self.summary_columns)].round(2)

    def explain(self, service_id: str) -> Explanation:
        """Explain where a service could run, and why not elsewhere."""
        known = self.frame.index.get_level_values("service_id")
        if service_id not in known:
            near = did_you_mean(service_id, known.unique())
            raise AssessError(
                f"there is no service {service_id!r} in this result",
                hint=near or "see `assess show SNAPSHOT`",
            )
        table = self.frame.loc[service_id]
        text = "\n".join(f"{row.Index}: {row.why}" for row in table.itertuples())
        shown = table[[name for name in COLUMNS if name != "why"]].round(2)
        return Explanation(f"{service_id}: targets", text, shown)

    def options(self, service_id: str | None = None) -> pd.DataFrame:
        """Return the rows to choose from, those that fit first.

        Parameters
        ----------
        service_id : str, optional
            The only service to return rows of.

        Returns
        -------
        DataFrame
            Rows of ``frame`` whose verdict is fits or after fixes and that no target dominates, by
            service.
        """
        rows = self.frame if service_id is None else self.frame.loc[[service_id]]
        found = rows[rows["verdict"].isin(POSSIBLE) & ~rows["dominated"]]
        rank = found["verdict"].map(POSSIBLE.index)
        order = found.assign(rank=rank).sort_values(["service_id", "rank"], kind="stable")
        return order.drop(columns="rank")

    def rows(self) -> list[dict[str, Any]]:
        """Return one dictionary per service and target; ``blockers`` is a list."""
        rows = super().rows()
        for row in rows:
            row["blockers"] = list(filter(None, row["blockers"].split("; ")))
        return rows


def measure_targets(assessment: Assessment) -> Targets:
    """Compare every target of the policy for every service of an assessment."""
    inventory = assessment.inventory.running
    policy = assessment.policy
    targets = wanted(policy)
    evidence = assessment.evidence
    services = evidence.services
    churn = assessment.upgrade_churn.frame
    deltas = _deltas(assessment, targets)
    bases = base_images(inventory)
    past = hours.past_of(inventory, policy, assessment.upgrades)
    size = cost.sizes(inventory)
    effort = inventory["services"].set_index("service_id")["move_effort_hours"]
    effort = effort.reindex(services).astype("Float64")
    running = evidence.views["services"].table.set_index("service_id")["replicas_n"]
    running = running.reindex(services.astype("str")).fillna(1).clip(lower=1)
    parts = []
    known: dict[Place | None, tuple[pd.DataFrame, pd.DataFrame]] = {}
    for target in targets:
        stays = target["id"] == STAY
        place = None if stays else place_of(target, evidence.at, policy)
        if place not in known:
            known[place] = _readiness(assessment, place)
        readiness, gates = known[place]
        blockers = _blockers(assessment, evidence, target, readiness, gates)
        replicas = running if stays else running.clip(lower=target["replicas"])
        priced = cost.cost(target, size, replicas.astype("Float64"))
        upgrades = hours.upgrade_hours(target, policy, bases, services, past)
        names = [f"hours_per_year{end}" for end in hours.ENDS]
        part = readiness.join(churn[names] if stays else upgrades)
        part = part.join(deltas[target["id"]]).join(priced.frame)
        part["effort_hours"] = 0.0 if stays else effort
        part = part.join(_verdicts(blockers, services))
        part["why"] = _why(part, target, priced.missing)
        parts.append(part.assign(target=target["id"]))
    frame = pd.concat(parts).rename_axis("service_id").reset_index()
    frame = frame.sort_values("service_id", kind="stable").set_index(KEY)
    frame["dominated"] = dominated(frame)
    frame = frame[list(COLUMNS)]
    details = {
        "targets": pd.DataFrame(_shown(target) for target in targets),
        "sizes": size.reindex(services).assign(replicas=running),
    }
    empty = pd.DataFrame(columns=["service_id"])
    return Targets(frame, empty, Provenance.of(inventory, policy), details)


def wanted(policy: Policy) -> list[dict[str, Any]]:
    """Return the targets to compare, complete; staying is always one of them, the first."""
    rows = [complete(row) for row in policy["targets"]]
    stay = [row for row in rows if row["id"] == STAY]
    stay = stay or [complete({"id": STAY, "title": "Where it is", "platform": "host"})]
    return stay + [row for row in rows if row["id"] != STAY and row["compared"]]


def _shown(target: Row) -> dict[str, Any]:
    names = ("id", "title", "platform", "patched_by", "self_heal", "replicas", "zones")
    shown = {name: target[name] for name in names}
    lines = [" ".join(filter(None, product)) for product in calendars(target)]
    if target["id"] == STAY:
        lines = ["what it runs on today"]
    prices = target["prices"]
    currency = prices.get("currency", "")
    priced = [
        f"{prices[key]:g} {currency} per {word}".replace("  ", " ")
        for key, word in PRICE_WORDS.items()
        if prices.get(key)
    ]
    return {
        **shown,
        "currency": currency,
        "runs_on": ", ".join(lines),
        "refuses": ", ".join(target["refuses"]),
        "prices": ", ".join(priced),
    }


def _readiness(
    assessment: Assessment, place: Place | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return ``readiness`` with ends, and the gates, as they would be at a place, or today.

    Checks and gates that read nothing of what a move replaces stay as they are.
    """
    inventory = assessment.inventory.running
    policy = assessment.policy
    today = assessment.readiness
    names = ["readiness_lo", "readiness", "readiness_hi"]
    atoms = today.details["atoms"]
    gates = today.details["gates"]
    if place is None:
        return today.frame[names], gates
    evidence = at_place(assessment.evidence, place)
    checks = [check for check in policy["check"] if _is_check_replaced(check)]
    doors = [gate for gate in policy["gate"] if _is_gate_replaced(gate)]
    kept = atoms[~atoms["check"].isin([check["id"] for check in checks])]
    anew = answer_checks(evidence, inventory, policy.with_tables(check=checks))
    whole = pd.concat([kept, anew], ignore_index=True)
    there = measure(evidence, whole, policy)
    with warnings.catch_warnings():
        # waivers of the gates that stay are no mistake
        warnings.simplefilter("ignore", UnknownGateWarning)
        fewer = policy.with_tables(gate=doors)
        judged, _ = judge(there.evidence, inventory, fewer)
    same = gates[~gates["gate"].isin([gate["id"] for gate in doors])]
    return there.frame[names], pd.concat([same, judged])


def readiness_at(inventory: Inventory, policy: Policy, target_id: str) -> Readiness:
    """Return the readiness of every service as it would be at a target, gates included."""
    targets = {row["id"]: row for row in wanted(policy)}
    if target_id not in targets:
        near = did_you_mean(target_id, targets)
        named = ", ".join(targets)
        raise AssessError(
            f"there is no target {target_id!r}", hint=near or f"targets: {named}"
        )
    inventory = inventory.running
    evidence = gather(inventory, policy)
    if target_id != STAY:
        place = place_of(targets[target_id], evidence.at, policy)
        evidence = at_place(evidence, place)
    atoms = answer_checks(evidence, inventory, policy)
    return judged_readiness(evidence, atoms, inventory, policy)


def _is_check_replaced(check: Row) -> bool:
    return is_replaced(check["table"], f"{check['rule']} {check.get('applies', '')}")


def _is_gate_replaced(gate: Row) -> bool:
    return any(is_replaced(reason["table"], reason["rule"]) for reason in gate["reasons"])


# ---- verdicts ----


def _blockers(
    assessment: Assessment,
    evidence: Evidence,
    target: Row,
    readiness: pd.DataFrame,
    gates: pd.DataFrame,
) -> list[tuple[str, str, str]]:
    """List service, verdict and words of everything that is in the way at a target."""
    side = assessment.exposure.side
    on_host = set(side.index[side.eq(HOST).fillna(value=False)])
    found = _gate_blockers(gates)
    if target["id"] == STAY:
        # a service on hosts meets no gate of containers where it is, only the end of its system
        found = [row for row in found if row[0] not in on_host]
        return found + [row for row in _old_systems(evidence) if row[0] in on_host]
    found += _refused(assessment.policy, evidence, target)
    found += _too_large(evidence, target)
    found += _unready(assessment.policy, readiness)
    return found


def _gate_blockers(gates: pd.DataFrame) -> list[tuple[str, str, str]]:
    """List what the gates say: NEVER is no, an open question unknown, the rest can be mended."""
    verdicts = {NEVER: NO, NOT_DECIDABLE: UNKNOWN}
    rows = gates[gates["state"].isin(["fail", "unknown"])]
    found = []
    for row in rows.itertuples():
        verdict = verdicts.get(row.label, AFTER_FIXES)
        if row.state == "unknown":
            verdict = UNKNOWN
        found.append((row.service_id, verdict, f"{row.gate} {row.evidence}"))
    return found


def _old_systems(evidence: Evidence) -> list[tuple[str, str, str]]:
    held = evidence.exists("hosts", "not os_supported")
    says = "its operating system is past its end of life"
    fact = "the operating system (hosts.os_name, hosts.os_version)"
    return _from_answers(evidence, held, AFTER_FIXES, says, fact)


def _refused(
    policy: Policy, evidence: Evidence, target: Row
) -> list[tuple[str, str, str]]:
    """List what a target refuses that a service has, or may have."""
    found = []
    for refusal in policy["refusal"]:
        if refusal["id"] in target["refuses"]:
            held = evidence.exists(refusal["table"], refusal["rule"])
            verdict = AFTER_FIXES if refusal["fixable"] else NO
            found += _from_answers(
                evidence,
                held,
                verdict,
                f"{refusal['id']}: {refusal['says']}",
                refusal["fact"],
            )
    return found


def _too_large(evidence: Evidence, target: Row) -> list[tuple[str, str, str]]:
    """List services that need more memory or CPU than a target gives a replica."""
    limits = {
        "memory_request_bytes": (target["memory_gib_max"] * GIB, "memory"),
        "memory_limit_bytes": (target["memory_gib_max"] * GIB, "memory"),
        "cpu_request": (target["cpu_max"], "CPU"),
    }
    found = []
    for column, (most, what) in limits.items():
        if most:
            held = evidence.exists("workloads", f"{column} > {most}")
            says = f"it needs more {what} than a replica gets there"
            # a size that nobody declared is no reason against a target
            known = np.nan_to_num(held)
            found += _from_answers(evidence, known, NO, says, "")
    return found


def _from_answers(
    evidence: Evidence, held: Any, verdict: str, says: str, fact: str
) -> list[tuple[str, str, str]]:
    services = evidence.services
    found = [(name, verdict, says) for name in services[held == 1]]
    return found + [(n, UNKNOWN, f"not known: {fact}") for n in services[np.isnan(held)]]


def _unready(policy: Policy, readiness: pd.DataFrame) -> list[tuple[str, str, str]]:
    """List services that would not be ready there even if every unknown were good."""
    least = float(policy["what_next"]["pilot_points"])
    low = readiness[readiness["readiness_hi"] < least]
    vague = readiness[
        (readiness["readiness_lo"] < least) & (readiness["readiness_hi"] >= least)
    ]
    found = [
        (
            str(row.Index),
            AFTER_FIXES,
            f"readiness {row.readiness:.0f} is below {least:.0f}",
        )
        for row in low.itertuples()
    ]
    return found + [
        (
            str(row.Index),
            UNKNOWN,
            f"not known: whether readiness reaches {least:.0f} "
            f"({row.readiness_lo:.0f} to {row.readiness_hi:.0f})",
        )
        for row in vague.itertuples()
    ]


def _verdicts(blockers: list[tuple[str, str, str]], services: pd.Index) -> pd.DataFrame:
    """Return ``verdict`` and ``blockers`` by service: the worst one decides, the worst stand first."""
    by_service: dict[str, list[tuple[int, str]]] = {name: [] for name in services}
    for service, verdict, words in blockers:
        by_service[service].append((VERDICTS.index(verdict), words.replace("; ", ", ")))
    rows = []
    for found in by_service.values():
        found.sort(key=lambda pair: -pair[0])
        worst = VERDICTS[found[0][0]] if found else FITS
        rows.append((worst, "; ".join(dict.fromkeys(words for _, words in found))))
    return pd.DataFrame(rows, services, ["verdict", "blockers"], dtype="str")


def _why(part: pd.DataFrame, target: Row, missing: pd.Series) -> pd.Series:
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


# ---- comparison ----


def dominated(frame: pd.DataFrame) -> pd.Series:
    """Mark a target where another that fits is at least as good on every criterion, better on one.

    Each criterion counts at its worst; what is unknown is worse than all that is known.
    """
    worst = []
    for name, is_high_good in CRITERIA.items():
        cells = frame[name].astype("Float64").to_numpy(dtype=float, na_value=np.nan)
        losses = -cells if is_high_good else cells
        worst.append(np.where(np.isnan(losses), np.inf, losses))
    losses = np.stack(worst, axis=1)
    fits = frame["verdict"].eq(FITS).to_numpy()
    answers = np.zeros(len(frame), bool)
    names = frame.index.get_level_values("service_id")
    codes, _ = pd.factorize(names)
    for rows in _groups(codes):
        here = losses[rows]
        as_good = (here[:, None, :] <= here[None, :, :]).all(axis=2)
        better = (here[:, None, :] < here[None, :, :]).any(axis=2)
        beats = as_good & better & fits[rows][:, None]
        answers[rows] = beats.any(axis=0)
    return pd.Series(answers, frame.index, dtype="boolean")


def _groups(codes: Any) -> list[Any]:
    """Return the positions of every code; equal codes stand together."""
    edges = np.flatnonzero(np.diff(codes)) + 1
    return np.split(np.arange(len(codes)), edges)


def _deltas(
    assessment: Assessment, targets: list[dict[str, Any]]
) -> dict[str, pd.DataFrame]:
    """Return ``delta`` with ends of a move to every target, by its id; staying changes nothing."""
    services = assessment.blast_radius.details["services"].index
    still = pd.DataFrame(
        0.0, services, ["delta", "delta_lo", "delta_hi"], dtype="Float64"
    )
    moved = {row["id"]: as_default(row) for row in targets if row["id"] != STAY}
    found = move_deltas(
        assessment.inventory.running,
        assessment.policy,
        assessment.blast_radius.topology,
        moved,
    )
    return {STAY: still, **found}
