"""Checks: questions with a rule, declared in the policy, answered as atoms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from assess.inventory import Inventory
from assess.policy.policy import Policy
from assess.score.evidence.answers import Answers, Evidence

ATOM_COLUMNS = (
    "service_id",
    "check",
    "dimension",
    "state",
    "value",
    "weight",
    "source",
    "observed_at",
)
RISKS = {"green": 1.0, "yellow": 0.5, "red": 0.0}
DISAGREEMENT = 0.5  # answers further apart than this contradict each other


def decide(evidence: Evidence, inventory: Inventory, policy: Policy) -> pd.DataFrame:
    """Answer every check for every service, in the order of the policy.

    Columns ``service_id, check, dimension, state`` (pass, partial, fail, unknown, conflict, na),
    ``value`` (0-1, NA if unknown), ``weight, source, observed_at``.

    Notes
    -----
    Answers of people are a second opinion. If they contradict a measurement, the state is
    ``conflict``. Without a measurement they count only for a check that is ``asked``: a lost
    measurement is not replaced by somebody's word.
    """
    shares = policy["dimensions"]
    services = evidence.services
    asked = [c for c in policy["check"] if c["weight"] * shares[_dimension(c["id"])]]
    value, na = np.concatenate([_measure(check, evidence) for check in asked], axis=1)
    told = {
        "check": [check["id"] for check in asked],
        "dimension": [_dimension(check["id"]) for check in asked],
        "weight": [float(check["weight"]) for check in asked],
        "source": [check["table"] for check in asked],
        "asked": [check.get("asked", False) for check in asked],
    }
    atoms = pd.DataFrame(
        {name: np.repeat(words, len(services)) for name, words in told.items()}
    )
    atoms["service_id"] = np.tile(services, len(asked))
    atoms["value"] = pd.arrays.FloatingArray(value, np.isnan(value))
    atoms["na"] = na.astype(bool)
    observed = [_observed(check, evidence) for check in asked]
    atoms["observed_at"] = pd.concat(observed, ignore_index=True)
    atoms = atoms.astype({"check": "str", "service_id": "str"})  # of an empty fleet too
    return _with_opinions(
        atoms.join(opinions(inventory, policy), on=["check", "service_id"])
    )


def opinions(inventory: Inventory, policy: Policy) -> pd.DataFrame:
    """Return the answers of people to the checks: ``low, high`` [0-1] and ``said_at``, the oldest.

    Index check and service_id. Answers older than ``evidence.answer_ttl_days``, and those without a
    date, are left out.
    """
    table = inventory["answers"].rename(columns={"question": "check"})
    age = (inventory.snapshot_at - table["answered_at"]).dt.total_seconds() / 86400
    value = table["risk"].astype(object).map(RISKS).astype("Float64")
    counts = age.between(0, policy["evidence"]["answer_ttl_days"]) & value.notna()
    grouped = table.assign(value=value)[counts].groupby(["check", "service_id"])
    return grouped.agg(
        low=("value", "min"), high=("value", "max"), said_at=("answered_at", "min")
    )


def _dimension(check: str) -> str:
    return check.partition(".")[0]


def _measure(check: Mapping[str, Any], evidence: Evidence) -> Answers:
    """Evaluate the rule of one check."""
    dated = check.get("dated_by", "")
    return evidence.ask(
        check["table"],
        check["rule"],
        applies=check.get("applies", ""),
        fresh=f"days_since({dated}) <= {check['ttl_days']}" if dated else "",
        how=check.get("combine", "all"),
    )


def _observed(check: Mapping[str, Any], evidence: Evidence) -> pd.Series:
    """Return by service when a check saw its rows; the oldest, if they have a date of their own."""
    if "dated_by" not in check:
        return pd.Series(evidence.at, index=evidence.services)
    rows = evidence.views[check["table"]].table
    return rows.groupby("service_id")[check["dated_by"]].min().reindex(evidence.services)


def _with_opinions(atoms: pd.DataFrame) -> pd.DataFrame:
    """Compare the answers of people with what was measured; na stays na."""
    stated = atoms[["value", "low", "high"]]
    spread = (stated.max(axis=1) - stated.min(axis=1)).fillna(0.0)
    heard = ~atoms["na"] & (atoms["asked"] | atoms["value"].notna())
    conflict = heard & (spread > DISAGREEMENT)
    stands_in = heard & ~conflict & atoms["value"].isna() & atoms["low"].notna()
    value = atoms["value"].mask(stands_in, atoms["low"]).mask(conflict)
    number = value.to_numpy(dtype=float, na_value=np.nan)
    conditions = [atoms["na"], conflict, np.isnan(number), number == 1, number == 0]
    words = ["na", "conflict", "unknown", "pass", "fail"]
    source = atoms["source"]
    return atoms.assign(
        state=pd.Series(
            np.select(conditions, words, "partial"), atoms.index, dtype="str"
        ),
        value=value,
        source=source.mask(stands_in, "answers").mask(conflict, source + "+answers"),
        observed_at=atoms["observed_at"].mask(stands_in, atoms["said_at"]),
    )[list(ATOM_COLUMNS)]
