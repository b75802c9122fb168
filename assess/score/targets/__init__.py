"""Targets: a comparison of every service on every target of the policy.

A verdict comes from the target's refusals and from the gates as they would be there; only facts
that a move replaces are computed anew. Criteria stand beside it: readiness, upgrades, cost, effort.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

from assess.errors import no_such
from assess.execution import tell
from assess.frames import Frames, Row
from assess.inventory import Inventory
from assess.policy import Policy, Table
from assess.policy.targets import STAY, as_default, complete, with_own
from assess.score.blast_radius.relocation import move_deltas
from assess.score.evidence import answer_checks
from assess.score.evidence.tables import gather
from assess.score.incidents import exposure, in_containers
from assess.score.readiness import DIGITS, Readiness, measure, readiness_of
from assess.score.readiness.gates import UnknownGateWarning, judge
from assess.score.result import Explanation, Provenance, Result, with_ends
from assess.score.targets.place import (
    Place,
    at_place,
    calendars,
    cost,
    past_of,
    place_of,
    replicas_of,
    sizes,
    upgrade_hours,
)
from assess.score.targets.refusals import (
    AFTER_FIXES,
    FITS,
    NO_COST,
    blockers_at,
    refusal_gates,
    refusals,
    verdicts,
    why,
    with_refusals,
)
from assess.score.upgrade_churn import base_images

if TYPE_CHECKING:
    from assess.score.assessment import Assessment

POSSIBLE = (FITS, AFTER_FIXES)
COLUMNS = (
    "verdict",
    "blockers",
    "readiness_lo",
    "readiness",
    "readiness_hi",
    *with_ends("hours_per_year"),
    *with_ends("delta"),
    *with_ends("cost_per_month"),
    "effort_hours",
    "dominated",
    "why",
)
# columns that the table of an explanation leaves to its text, and those of prices to `frame`
ELSEWHERE = (
    "blockers",
    *with_ends("hours_per_year")[1:],
    *with_ends("cost_per_month")[1:],
    "why",
)
# criteria at their worst, and the sign that makes each a loss
CRITERIA = {
    "readiness_lo": -1,
    "hours_per_year_hi": 1,
    "delta_hi": 1,
    "cost_per_month_hi": 1,
    "effort_hours": 1,
}
KEY = ["service_id", "target"]
PRICE_WORDS = {
    "vcpu_hour": "vCPU-hour",
    "gib_hour": "GiB-hour",
    "service_month": "service and month",
}


class Targets(Result):
    """Every service on every target: verdict, blockers, and the criteria there."""

    name = "targets"
    _joined = ("blockers",)
    summary_columns = (
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
        moves = verdicts.drop(columns=STAY, errors="ignore")
        fits_n = moves.eq(FITS).any(axis=1).sum()
        return f"{fits_n} of {len(verdicts)} services fit on a target other than where they are."

    def explain(self, service_id: str) -> Explanation:
        """Explain where a service could run, and why not elsewhere."""
        table: Any = self.row(service_id)
        parts = table["why"].str.partition(NO_COST)
        blockers = table["blockers"]
        verdicts = [
            f"{target}: {words.replace(f': {blockers[target]}; ', '; ', 1)}"
            for target, words in parts[0].items()
        ]
        missing = _once("Missing for a cost", parts[2])
        text = "\n".join([*verdicts, *_once("Blockers", blockers), *missing])
        shown = table[[name for name in COLUMNS if name not in ELSEWHERE]]
        return Explanation(f"{service_id}: targets", text, shown.round(2))

    def options(self, service_id: str | None = None) -> DataFrame:
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
        order = found.assign(rank=rank).sort_values(["service_id", "rank"])
        return order.drop(columns="rank")


def _once(opening: str, words: Series) -> list[str]:
    """Return lines of words by target, each phrase once with all targets that have it."""
    phrases = words[words.ne("")].str.split("; ").explode()
    each = phrases.rename("words").reset_index()
    targets = each.groupby("words", sort=False)["target"].agg(", ".join)
    return [
        f"{opening} at {where}: {'; '.join(same.index)}"
        for where, same in targets.groupby(targets, sort=False)
    ]


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
    past = past_of(inventory, policy, assessment.upgrades)
    size = sizes(inventory)
    effort = inventory.by_service["move_effort_hours"]
    effort = effort.reindex(services).astype("Float64")
    running = replicas_of(inventory, services)
    # targets of the same place share their readiness
    readiness_in = cache(partial(_readiness, assessment))
    parts = []
    for done, target in enumerate(targets):
        tell("targets", done, len(targets))
        stays = target["id"] == STAY
        place = None if stays else place_of(target, evidence.at, policy)
        readiness, gates = readiness_in(place)
        blockers = blockers_at(assessment, target, readiness, gates)
        replicas = running if stays else running.clip(lower=target["replicas"])
        priced = cost(target, size, replicas)
        upgrades = upgrade_hours(target, policy, bases, services, past)
        part = readiness.join(churn[with_ends("hours_per_year")] if stays else upgrades)
        part = part.join(deltas[target["id"]]).join(priced.frame)
        part["effort_hours"] = 0.0 if stays else effort
        part = part.join(verdicts(blockers, services))
        part["why"] = why(part, target, priced.missing)
        parts.append(part.assign(target=target["id"]))
    tell("targets", len(targets), len(targets))
    frame = pd.concat(parts).rename_axis("service_id").reset_index()
    frame = frame.sort_values("service_id", kind="stable").set_index(KEY)
    frame["dominated"] = dominated(frame)
    frame = frame[list(COLUMNS)]
    details = {
        "targets": DataFrame(_shown(target) for target in targets),
        "sizes": size.reindex(services).join(running),
    }
    empty = DataFrame(columns=["service_id"])
    return Targets(frame, empty, Provenance.of(inventory, policy), details)


def wanted(policy: Policy) -> list[Row]:
    """Return the targets to compare, complete; staying is always one of them, the first."""
    default = policy["target"]
    rows = [complete(row) for row in policy["targets"]]
    # `[target]` may change values of its row
    rows = [with_own(row, default) if row["id"] == default["id"] else row for row in rows]
    stay = [row for row in rows if row["id"] == STAY]
    stay = stay or [complete({"id": STAY, "title": "Where it is", "platform": "host"})]
    return stay + [row for row in rows if row["id"] != STAY and row["compared"]]


def _shown(target: Table) -> Row:
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
        if key in prices
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
) -> tuple[DataFrame, DataFrame]:
    """Return ``readiness`` with ends, and the gates, at a place; None means today."""
    names = ["readiness_lo", "readiness", "readiness_hi"]
    today = assessment.readiness
    if place is None:
        return today.frame[names], today.details["gates"]
    inventory = assessment.inventory.running
    policy = assessment.policy
    evidence = at_place(assessment.evidence, place)
    there = measure(evidence, answer_checks(evidence, inventory, policy), policy)
    with warnings.catch_warnings():
        # of the same waivers, readiness today has warned
        warnings.simplefilter("ignore", UnknownGateWarning)
        gates, _ = judge(there.evidence, inventory, policy)
    return there.frame[names], gates


def readiness_at(inventory: Inventory, policy: Policy, target_id: str) -> Readiness:
    """Return the readiness of every service as it would be at a target, gates included."""
    targets = {row["id"]: row for row in wanted(policy)}
    if target_id not in targets:
        raise no_such("target", target_id, targets)
    inventory = inventory.running
    evidence = gather(inventory, policy)
    if target_id == STAY:
        return readiness_of(evidence, inventory, policy)
    target = targets[target_id]
    refused = refusals(policy, evidence, target)
    there = at_place(evidence, place_of(target, evidence.at, policy))
    inside = in_containers(exposure(inventory, policy).platform)
    whole = policy.with_tables(gate=[*policy["gate"], *refusal_gates(refused)])
    found = readiness_of(with_refusals(there, refused, inside), inventory, whole)
    return replace(found, provenance=Provenance.of(inventory, policy))


def dominated(frame: DataFrame) -> Series:
    """Mark a target if another fitting one is as good on every criterion and better on one."""
    # Each criterion counts at its worst; what is unknown is worse than all that is known. Rounded:
    # sums in another order differ in their last bit, and neither of two equals beats the other.
    signs = list(CRITERIA.values())
    cells = frame[list(CRITERIA)].astype("Float64") * signs
    losses = cells.to_numpy(float, na_value=np.inf).round(DIGITS)
    fits = frame["verdict"].eq(FITS).to_numpy()
    targets_n = frame.index.get_level_values("target").nunique()
    # by service: whether the target of a row beats the target of a column
    one = losses.reshape(-1, max(targets_n, 1), 1, len(CRITERIA))
    other = one.swapaxes(1, 2)
    as_good = (one <= other).all(axis=3)
    better = (one < other).any(axis=3)
    beats = as_good & better & fits.reshape(one.shape[:3])
    return Series(beats.any(axis=1).ravel(), frame.index, dtype="boolean")


def _deltas(assessment: Assessment, targets: list[Row]) -> Frames:
    """Return ``delta`` with ends of a move to every target, by its id; staying changes nothing."""
    services = assessment.blast_radius.services
    still = DataFrame(0.0, services.index, with_ends("delta"), dtype="Float64")
    moved = {row["id"]: as_default(row) for row in targets if row["id"] != STAY}
    topology = assessment.blast_radius.evidence.topology
    running = assessment.inventory.running
    policy = assessment.policy
    return {STAY: still, **move_deltas(running, policy, topology, services, moved)}
