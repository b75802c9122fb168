"""Checks: each a question with a rule, declared as data in the policy, and answered as atoms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from assess.inventory import Inventory
from assess.policy import Policy
from assess.score.evidence import Evidence

ATOM_COLUMNS = (
    "service_id", "check", "dimension", "state", "value", "weight", "source", "observed_at",
)  # fmt: skip
RISKS = {"green": 1.0, "yellow": 0.5, "red": 0.0}
DISAGREEMENT = 0.5  # answers further apart than this contradict each other


def decide(evidence: Evidence, inventory: Inventory, policy: Policy) -> pd.DataFrame:
    """Answer every check for every service.

    Parameters
    ----------
    evidence : Evidence
        What is known.
    inventory : Inventory
        The fleet, for the answers that people gave.
    policy : Policy
        The checks.

    Returns
    -------
    DataFrame
        One row per check and service, in the order of the policy: ``service_id, check, dimension,
        state`` (pass, partial, fail, unknown, conflict or na), ``value`` (0 to 1, NA where it is
        not known), ``weight, source, observed_at``.

    Notes
    -----
    What people say of a check is a second opinion. Where it contradicts what was measured the state
    is ``conflict``. Where nothing was measured it stands in only for a check that is ``asked``: a
    measurement that is gone is not replaced by somebody's word.
    """
    said = opinions(inventory, policy)
    asked = [check for check in policy["check"] if _weighs(check, policy["dimensions"])]
    atoms = [_decide(check, evidence, said.get(check["id"])) for check in asked]
    return pd.concat(atoms, ignore_index=True)[list(ATOM_COLUMNS)]


def opinions(inventory: Inventory, policy: Policy) -> dict[str, pd.DataFrame]:
    """Gather what people say of the checks.

    Parameters
    ----------
    inventory : Inventory
        Its ``answers``: the question is the id of a check.
    policy : Policy
        ``evidence.answer_ttl_days``: older answers, and those without a date, are left out.

    Returns
    -------
    dict of str to DataFrame
        By check: index service; ``low, high`` [0-1] and the oldest ``at``.
    """
    table = inventory["answers"]
    age = (inventory.snapshot_at - table["answered_at"]).dt.total_seconds() / 86400
    value = table["risk"].astype(object).map(RISKS).astype("Float64")
    held = table.assign(value=value)[
        age.between(0, policy["evidence"]["answer_ttl_days"]) & value.notna()
    ]
    grouped = held.groupby(["question", "service_id"])
    parts = {"low": ("value", "min"), "high": ("value", "max"), "at": ("answered_at", "min")}
    summed = grouped.agg(**parts).reset_index("question")
    return {str(check): part for check, part in summed.groupby("question")}


def _weighs(check: Mapping[str, Any], dimensions: Mapping[str, float]) -> bool:
    """Whether a check counts: weight 0, its own or its dimension's, switches it off."""
    return bool(check["weight"] * dimensions[check["id"].partition(".")[0]] > 0)


def _decide(
    check: Mapping[str, Any], evidence: Evidence, said: pd.DataFrame | None
) -> pd.DataFrame:
    """Atoms of one check."""
    dated = check.get("dated_by", "")
    atoms = evidence.ask(
        check["table"],
        check["rule"],
        applies=check.get("applies", ""),
        fresh=f"days_since({dated}) <= {check['ttl_days']}" if dated else "",
        how=check.get("combine", "all"),
    )
    atoms = atoms.assign(source=check["table"], observed_at=evidence.at, conflict=False)
    if dated:
        rows = evidence.views[check["table"]].table
        atoms["observed_at"] = rows.groupby("service_id")[dated].min()
    if said is not None:
        atoms = _with_opinions(atoms, said, is_asked=check.get("asked", False))
    atoms["state"] = _states(atoms)
    return (
        atoms.rename_axis("service_id")
        .reset_index()
        .assign(
            check=check["id"], dimension=check["id"].split(".")[0], weight=float(check["weight"])
        )
    )


def _with_opinions(atoms: pd.DataFrame, said: pd.DataFrame, *, is_asked: bool) -> pd.DataFrame:
    """Set what people say against what was measured; na stays na."""
    said = said.reindex(atoms.index)
    stated = pd.concat([atoms["value"], said["low"], said["high"]], axis=1)
    spread = (stated.max(axis=1) - stated.min(axis=1)).fillna(0.0)
    conflict = (spread > DISAGREEMENT) & ~atoms["na"] & (is_asked | atoms["value"].notna())
    stands_in = atoms["value"].isna() & said["low"].notna() & ~atoms["na"] & ~conflict & is_asked
    both = atoms["source"] + "+answers"
    return atoms.assign(
        value=atoms["value"].mask(stands_in, said["low"]).mask(conflict),
        conflict=conflict,
        source=atoms["source"].mask(stands_in, "answers").mask(conflict, both),
        observed_at=atoms["observed_at"].mask(stands_in, said["at"]),
    )


def _states(atoms: pd.DataFrame) -> pd.Series:
    value = atoms["value"].to_numpy(dtype=float, na_value=np.nan)
    conditions = [atoms["na"], atoms["conflict"], np.isnan(value), value == 1, value == 0]
    words = ["na", "conflict", "unknown", "pass", "fail"]
    return pd.Series(np.select(conditions, words, "partial"), index=atoms.index, dtype="str")
