"""Gates: hard questions that come before any score; no average buys an answer off."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from assess.inventory import Inventory
from assess.policy import rules
from assess.policy.policy import Policy
from assess.score.evidence.answers import Evidence

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
HARDNESS = {"PREPARE": 1, "HOLD": 2, NOT_DECIDABLE: 3, "NEVER": 4}
WAIVER_DAYS = 180
SHOWN_VALUES = 3
Rows = list[tuple[str, ...]]


class UnknownGateWarning(UserWarning):
    """A waiver names a gate that the policy does not have."""


def judge(
    evidence: Evidence, inventory: Inventory, policy: Policy
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ask every gate of every service.

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
        unknown or waived), ``label`` that the gate gives where it does not pass, ``evidence`` in
        words and the ``fact`` to find out. A gate fails when any (or all) of its reasons hold.
    reasons : DataFrame
        Of the gates that are open: ``service_id, gate, label, fails_when``, and for each reason
        that is not refuted its ``state`` (holds or unknown), ``rule, fact`` and the ``check`` that
        it is about, empty where there is none.
    """
    parts = [_judge(gate, evidence) for gate in policy["gate"]]
    order = {gate["id"]: number for number, gate in enumerate(policy["gate"])}
    judged, reasons = (
        sorted(chain.from_iterable(rows), key=lambda row: (row[0], order[row[1]]))
        for rows in zip(*parts, strict=True)
    )
    _warn_of_strangers(inventory["waivers"], list(order))
    table = _waive(
        pd.DataFrame(judged, columns=list(GATE_COLUMNS), dtype="str"), inventory
    )
    held = table.loc[table["state"].isin(["fail", "unknown"]), ["service_id", "gate"]]
    open_ = set(held.itertuples(index=False, name=None))
    left = [row for row in reasons if row[:2] in open_]
    return table, pd.DataFrame(left, columns=list(REASON_COLUMNS), dtype="str")


def labels(gates: pd.DataFrame) -> pd.Series:
    """Give the label that the gates of each service add up to.

    Parameters
    ----------
    gates : DataFrame
        As `judge` gives them.

    Returns
    -------
    Series
        Index service. A failed gate of label NEVER wins, one hard no is enough; then NOT DECIDABLE
        where a gate is unknown or finds too little known; then the harder of HOLD and PREPARE; NA
        where every gate passes or is waived.
    """
    unknown = gates["state"].eq("unknown")
    given = gates["label"].mask(unknown, NOT_DECIDABLE)
    open_ = unknown | gates["state"].eq("fail")
    ranks = given.map(HARDNESS).where(open_, 0).groupby(gates["service_id"]).max()
    return ranks.map({rank: label for label, rank in HARDNESS.items()}).astype("str")


def _judge(gate: Mapping[str, Any], evidence: Evidence) -> tuple[Rows, Rows]:
    """Rows of one gate by service, and of its reasons that are not refuted."""
    reasons = gate["reasons"]
    holds = [evidence.exists(reason["table"], reason["rule"]) for reason in reasons]
    shown = [
        _shown(reason, evidence) if True in held else {}
        for reason, held in zip(reasons, holds, strict=True)
    ]
    lifted = np.zeros(len(evidence.services), dtype=bool)
    if "unless" in gate:
        lifted = evidence.ask("workloads", gate["unless"]).value == 1
    missing = evidence.views["services"].table["missing"].fillna("")
    judged, left = Rows(), Rows()
    for service, missed, is_lifted, *own in zip(
        evidence.services, missing, lifted, *holds, strict=True
    ):
        pairs = list(zip(reasons, own, strict=True))
        says = [
            r["says"] + v.get(service, "")
            for r, h, v in zip(reasons, own, shown, strict=True)
            if h
        ]
        lacks = "; ".join(reason["fact"] for reason, held in pairs if held is None)
        fails = _fails(own, gate["fails_when"])
        if is_lifted:
            state = ("pass", "lifted by the policy: " + "; ".join(says), "")
        elif fails is None:
            state = ("unknown", f"not known: {lacks}", lacks)
        elif fails:  # where it fails because facts are missing, they are named
            state = (
                "fail",
                "; ".join(says),
                missed if gate["label"] == NOT_DECIDABLE else "",
            )
        else:
            state = ("pass", gate["clear"], "")
        word, said, fact = state
        judged.append((service, gate["id"], word, gate["label"], said, fact))
        told = (service, gate["id"], gate["label"], gate["fails_when"])
        left += [
            (
                *told,
                "holds" if held else "unknown",
                r["rule"],
                r["fact"],
                r.get("check", ""),
            )
            for r, held in pairs
            if held is not False
        ]
    return judged, left


def _fails(holds: Sequence[bool | None], when: str) -> bool | None:
    """Whether any (or all) of the reasons hold, in Kleene's logic; None where that is unknown."""
    settled = when == "any"
    if settled in holds:
        return settled
    return None if None in holds else not settled


def _shown(reason: Mapping[str, Any], evidence: Evidence) -> dict[str, str]:
    """Values that show that a reason holds, in brackets, by service."""
    columns = reason.get("shows", [])
    if not columns:
        return {}
    table = evidence.views[reason["table"]].table
    holds = rules.evaluate(reason["rule"], table, at=evidence.at).fillna(value=False)
    rows = table.loc[holds.to_numpy(dtype=bool), ["service_id", *columns]]
    found: dict[str, dict[str, set[str]]] = {}
    for column in columns:
        known = rows[column].notna()
        for service, value in zip(
            rows.loc[known, "service_id"], rows.loc[known, column], strict=True
        ):
            found.setdefault(service, {}).setdefault(column, set()).add(_word(value))
    return {
        service: " ("
        + ", ".join(f"{column} {_few(words)}" for column, words in own.items())
        + ")"
        for service, own in found.items()
    }


def _few(words: set[str]) -> str:
    """List a few words, sorted."""
    return ", ".join(sorted(words)[:SHOWN_VALUES]) + (
        " …" if len(words) > SHOWN_VALUES else ""
    )


def _word(value: object) -> str:
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _warn_of_strangers(waivers: pd.DataFrame, gates: Sequence[str]) -> None:
    """Name every waiver of a gate that the policy does not have: it waives nothing."""
    strange = waivers[~waivers["gate"].isin(gates)].sort_values(["service_id", "gate"])
    if strange.empty:
        return
    named = []
    for service, gate in strange[["service_id", "gate"]].itertuples(
        index=False, name=None
    ):
        near = difflib.get_close_matches(gate.upper(), gates, n=1)
        named.append(
            f"{gate} of {service}" + (f" (did you mean {near[0]}?)" if near else "")
        )
    warnings.warn(
        f"waivers of gates that the policy does not have count for nothing: {', '.join(named)}",
        UnknownGateWarning,
        stacklevel=4,
    )


def _waive(gates: pd.DataFrame, inventory: Inventory) -> pd.DataFrame:
    """Mark failed gates that somebody answers for; an unknown is found out, never waived.

    A waiver that does not count is named beside the evidence, with the reason.
    """
    at, waivers = inventory.snapshot_at, inventory["waivers"]
    long = waivers["expires_at"] - waivers["granted_at"] > pd.Timedelta(days=WAIVER_DAYS)
    refused = {
        "names no owner": waivers["owner"].str.strip().eq(""),
        f"is for more than {WAIVER_DAYS} days": long,
        "is not granted yet": waivers["granted_at"] > at,
        "has run out": waivers["expires_at"] <= at,
    }
    why = np.select(
        [bad.to_numpy(dtype=bool) for bad in refused.values()], list(refused), ""
    )
    told = waivers[["service_id", "gate", "owner", "expires_at"]].assign(refused=why)
    joined = gates.merge(told, how="left")
    failed = gates["state"].eq("fail") & joined["owner"].notna()
    waived = failed & joined["refused"].eq("")
    by = joined["owner"] + " until " + joined["expires_at"].dt.strftime("%Y-%m-%d")
    note = ("; waived by " + by).where(
        waived,
        "; the waiver by "
        + by
        + " does not count, it "
        + joined["refused"].astype("str"),
    )
    return gates.assign(
        state=gates["state"].mask(waived, "waived"),
        evidence=gates["evidence"].mask(failed, gates["evidence"] + note),
    )
