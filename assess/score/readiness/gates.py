"""Gates: hard questions asked before any score; a good average does not open them."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assess.inventory import Inventory
from assess.policy import rules
from assess.policy.policy import Policy
from assess.score.evidence import Evidence

GATE_COLUMNS = ("service_id", "gate", "state", "label", "evidence", "fact")
REASON_COLUMNS = (
    "service_id",
    "gate",
    "label",
    "fails_when",
    "state",
    "rule",
    "fact",
    "check",
)
NOT_DECIDABLE = "NOT DECIDABLE"
# one hard no is enough, so NEVER is harder than what is not decidable
HARDNESS = {"PREPARE": 1, "HOLD": 2, NOT_DECIDABLE: 3, "NEVER": 4}
LABEL_OF = {hardness: label for label, hardness in HARDNESS.items()}
WAIVER_DAYS = 180  # what lasts longer is a change of the policy, not an exception
SHOWN_VALUES = 3  # of a column, in the evidence of a gate
Floats = NDArray[np.float64]
Rows = list[tuple[str, ...]]


class UnknownGateWarning(UserWarning):
    """A waiver names a gate that the policy does not have."""


# ---- the logic ----


def fails(holds: Floats, fails_when: str) -> Floats:
    """Combine the reasons of a gate in Kleene's logic: 1 fails, 0 passes, NaN is unknown.

    Parameters
    ----------
    holds : ndarray, shape (reasons, n)
        1 where a reason holds, 0 where it does not, NaN where that is unknown.
    fails_when : {"any", "all"}
        Whether one reason is enough, or all have to hold.
    """
    decisive = 1.0 if fails_when == "any" else 0.0
    conditions = [(holds == decisive).any(axis=0), np.isnan(holds).any(axis=0)]
    return np.select(conditions, [decisive, np.nan], 1.0 - decisive)


def hardness(failing: Floats, rank: Any) -> NDArray[np.int64]:
    """Return how hard gates stand in the way: `rank` where one fails, 0 where it passes.

    Parameters
    ----------
    failing : ndarray
        As `fails` returns it; unknown ranks as NOT DECIDABLE.
    rank : int or ndarray of int
        `HARDNESS` of the label that the gate gives.
    """
    conditions = [failing == 1, np.isnan(failing)]
    return np.select(conditions, [rank, HARDNESS[NOT_DECIDABLE]], 0)


def labels(gates: pd.DataFrame) -> pd.Series:
    """Return the hardest label that the gates of each service give; NA where all pass.

    A waived gate passes. A gate that is unknown gives NOT DECIDABLE.
    """
    failing = np.select(
        [gates["state"].eq("fail"), gates["state"].eq("unknown")], [1.0, np.nan], 0.0
    )
    rank = gates["label"].map(HARDNESS).to_numpy(dtype=np.int64)
    ranks = pd.Series(hardness(failing, rank), gates.index)
    return ranks.groupby(gates["service_id"]).max().map(LABEL_OF).astype("str")


# ---- the table ----


def judge(
    evidence: Evidence, inventory: Inventory, policy: Policy
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ask every gate about every service.

    Parameters
    ----------
    evidence : Evidence
        What is known, with the coverage of each service among its columns.
    inventory : Inventory
        The fleet, for its waivers.
    policy : Policy
        The gates.

    Returns
    -------
    gates : DataFrame
        By service, then in the order of the policy: ``service_id, gate, state`` (pass, fail,
        unknown or waived), ``label`` where it does not pass, ``evidence`` in words and the
        ``fact`` to find out.
    reasons : DataFrame
        Of the open gates, each reason that is not refuted: ``service_id, gate, label,
        fails_when, state`` (holds or unknown), ``rule, fact`` and the ``check`` that it is
        about, empty where there is none.
    """
    parts = [_judge_gate(gate, evidence) for gate in policy["gate"]]
    by_service = itemgetter(0)
    states, reasons = (
        sorted(chain.from_iterable(rows), key=by_service)
        for rows in zip(*parts, strict=True)
    )
    _warn_of_unknown_gates(inventory["waivers"], [gate["id"] for gate in policy["gate"]])
    table = pd.DataFrame(states, columns=list(GATE_COLUMNS), dtype="str")
    table = _waive(table, inventory)
    is_open = table["state"].isin(["fail", "unknown"])
    pairs = table.loc[is_open, ["service_id", "gate"]]
    open_gates = set(pairs.itertuples(index=False, name=None))
    remaining = [row for row in reasons if row[:2] in open_gates]
    return table, pd.DataFrame(remaining, columns=list(REASON_COLUMNS), dtype="str")


def _judge_gate(gate: Mapping[str, Any], evidence: Evidence) -> tuple[Rows, Rows]:
    """Return the rows of one gate by service, and of its reasons that are not refuted."""
    reasons = gate["reasons"]
    answers = [evidence.exists(reason["table"], reason["rule"]) for reason in reasons]
    holds = np.array(answers, dtype=float).reshape(len(reasons), len(evidence.services))
    failing = fails(holds, gate["fails_when"])
    lifted = np.zeros(len(evidence.services), dtype=bool)
    if "unless" in gate:
        lifted = evidence.ask("workloads", gate["unless"]).value == 1
    outcomes = np.select(
        [lifted, failing == 1, np.isnan(failing)], ["lifted", "fail", "unknown"], "pass"
    )
    reason_states = np.select([holds == 1, np.isnan(holds)], ["holds", "unknown"], "")
    shown = [_shown(reason, evidence) for reason in reasons]
    missing = evidence.views["services"].table["missing"].fillna("")
    rows = Rows()
    open_reasons = Rows()
    for service, facts, outcome, states in zip(
        evidence.services,
        missing,
        outcomes.tolist(),
        reason_states.T.tolist(),
        strict=True,
    ):
        holding = "; ".join(
            reason["says"] + values.get(service, "")
            for reason, values, state in zip(reasons, shown, states, strict=True)
            if state == "holds"
        )
        unknown = "; ".join(
            reason["fact"]
            for reason, state in zip(reasons, states, strict=True)
            if state == "unknown"
        )
        state, words, fact = _verdict(gate, outcome, holding, unknown, facts)
        rows.append((service, gate["id"], state, gate["label"], words, fact))
        key = (service, gate["id"], gate["label"], gate["fails_when"])
        open_reasons += [
            (*key, state, reason["rule"], reason["fact"], reason.get("check", ""))
            for reason, state in zip(reasons, states, strict=True)
            if state
        ]
    return rows, open_reasons


def _verdict(
    gate: Mapping[str, Any], outcome: str, holding: str, unknown: str, missing: str
) -> tuple[str, str, str]:
    """Return state, evidence in words, and the fact to find out."""
    if outcome == "lifted":
        return "pass", f"lifted by the policy: {holding}", ""
    if outcome == "unknown":
        return "unknown", f"not known: {unknown}", unknown
    if outcome == "pass":
        return "pass", gate["clear"], ""
    # a gate of coverage fails because facts are missing: name them
    return "fail", holding, missing if gate["label"] == NOT_DECIDABLE else ""


def _shown(reason: Mapping[str, Any], evidence: Evidence) -> dict[str, str]:
    """Return by service the values that show that a reason holds, in brackets."""
    columns = reason.get("shows", [])
    if not columns:
        return {}
    table = evidence.views[reason["table"]].table
    holds = rules.evaluate(reason["rule"], table, at=evidence.at).fillna(value=False)
    rows = table.loc[holds.to_numpy(dtype=bool), ["service_id", *columns]]
    words: dict[str, dict[str, set[str]]] = {}
    for column in columns:
        known = rows[["service_id", column]].dropna(subset=column)
        for service, value in known.itertuples(index=False, name=None):
            words.setdefault(service, {}).setdefault(column, set()).add(_word(value))
    return {
        service: f" ({', '.join(f'{c} {_few(seen)}' for c, seen in by_column.items())})"
        for service, by_column in words.items()
    }


def _few(words: set[str]) -> str:
    """List a few words, sorted."""
    more = " …" if len(words) > SHOWN_VALUES else ""
    return ", ".join(sorted(words)[:SHOWN_VALUES]) + more


def _word(value: object) -> str:
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


# ---- waivers ----


def _warn_of_unknown_gates(waivers: pd.DataFrame, gates: Sequence[str]) -> None:
    """Warn of waivers whose gate the policy does not have: a typing error waives nothing."""
    unknown = waivers[~waivers["gate"].isin(gates)].sort_values(["service_id", "gate"])
    if unknown.empty:
        return
    named = []
    for row in unknown.itertuples():
        near = difflib.get_close_matches(row.gate.upper(), gates, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        named.append(f"{row.gate} of {row.service_id}{hint}")
    warnings.warn(
        f"the policy has no such gates, so these waivers have no effect: {', '.join(named)}",
        UnknownGateWarning,
        stacklevel=4,
    )


def _waive(gates: pd.DataFrame, inventory: Inventory) -> pd.DataFrame:
    """Mark failed gates with a valid waiver; an unknown is found out, never waived.

    A waiver that does not count stays visible beside the evidence, with the reason.
    """
    at = inventory.snapshot_at
    waivers = inventory["waivers"]
    days = waivers["expires_at"] - waivers["granted_at"]
    faults = {
        "names no owner": waivers["owner"].str.strip().eq(""),
        f"is for more than {WAIVER_DAYS} days": days > pd.Timedelta(days=WAIVER_DAYS),
        "is not granted yet": waivers["granted_at"] > at,
        "has expired": waivers["expires_at"] <= at,
    }
    conditions = [wrong.to_numpy(dtype=bool) for wrong in faults.values()]
    waivers = waivers[["service_id", "gate", "owner", "expires_at"]].assign(
        fault=np.select(conditions, list(faults), "")
    )
    joined = gates.merge(waivers, how="left")
    failed = gates["state"].eq("fail") & joined["owner"].notna()
    waived = failed & joined["fault"].eq("")
    by = joined["owner"] + " until " + joined["expires_at"].dt.strftime("%Y-%m-%d")
    invalid = (
        "; the waiver by " + by + " does not count: it " + joined["fault"].astype("str")
    )
    note = ("; waived by " + by).where(waived, invalid)
    return gates.assign(
        state=gates["state"].mask(waived, "waived"),
        evidence=gates["evidence"].mask(failed, gates["evidence"] + note),
    )
