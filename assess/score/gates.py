"""Gates: hard questions that come before any score; no average buys an answer off."""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd

from assess.inventory import Inventory
from assess.policy import Policy
from assess.score import rules
from assess.score.evidence import Evidence

GATE_COLUMNS = ("service_id", "gate", "state", "label", "evidence", "fact")
REASON_COLUMNS = (
    "service_id", "gate", "label", "fails_when", "state", "rule", "fact", "check",
)  # fmt: skip
NOT_DECIDABLE = "NOT DECIDABLE"
HARDNESS = {"PREPARE": 1, "HOLD": 2, NOT_DECIDABLE: 3, "NEVER": 4}
WAIVER_DAYS = 180
SHOWN_VALUES = 3


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
    judged, reasons = zip(*(_judge(gate, evidence) for gate in policy["gate"]), strict=True)
    order = {gate["id"]: number for number, gate in enumerate(policy["gate"])}
    table = _waive(_by_service(judged, order)[list(GATE_COLUMNS)], inventory)
    open_ = table.loc[table["state"].isin(["fail", "unknown"]), ["service_id", "gate"]]
    return table, _by_service(reasons, order)[list(REASON_COLUMNS)].merge(open_)


def _by_service(tables: Sequence[pd.DataFrame], order: Mapping[str, int]) -> pd.DataFrame:
    """Lay tables of gates out by service, then in the order of the policy."""
    table = pd.concat(tables, ignore_index=True)
    table = table.assign(rank=table["gate"].map(order)).astype({"rank": int})
    return table.sort_values(["service_id", "rank"], kind="stable", ignore_index=True)


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


def _judge(gate: Mapping[str, Any], evidence: Evidence) -> tuple[pd.DataFrame, pd.DataFrame]:
    """State, evidence and fact of one gate, and its reasons."""
    reasons = gate["reasons"]
    holds = [evidence.exists(reason["table"], reason["rule"]) for reason in reasons]
    fails = reduce(operator.or_ if gate["fails_when"] == "any" else operator.and_, holds)
    lifted = pd.Series(False, index=fails.index)
    if "unless" in gate:
        lifted = evidence.ask("workloads", gate["unless"])["value"].eq(1).fillna(value=False)
    says, lacks = _says(reasons, holds, evidence), _lacks(reasons, holds)
    missing = evidence.views["services"].table["missing"].fillna("")
    rows = []
    for service, failed, is_lifted, missed in zip(fails.index, fails, lifted, missing, strict=True):
        if is_lifted:
            rows.append(("pass", f"lifted by the policy: {says[service]}", ""))
        elif failed is pd.NA:
            rows.append(("unknown", f"not known: {lacks[service]}", lacks[service]))
        elif failed:  # where it fails because facts are missing, they are named
            fact = missed if gate["label"] == NOT_DECIDABLE else ""
            rows.append(("fail", says[service], fact))
        else:
            rows.append(("pass", gate["clear"], ""))
    table = pd.DataFrame(rows, columns=["state", "evidence", "fact"], dtype="str")
    told = {"gate": gate["id"], "label": gate["label"]}
    return table.assign(service_id=fails.index, **told), _reasons(gate, holds).assign(**told)


def _reasons(gate: Mapping[str, Any], holds: list[pd.Series]) -> pd.DataFrame:
    """List the reasons of a gate that hold or are unknown, by service."""
    parts = []
    for reason, held in zip(gate["reasons"], holds, strict=True):
        left = held[held.fillna(value=True).astype(bool)]
        words = {key: reason.get(key, "") for key in ("rule", "fact", "check")}
        state = left.isna().map({True: "unknown", False: "holds"})
        part = pd.DataFrame({"service_id": left.index, "state": state.to_numpy(dtype=object)})
        parts.append(part.assign(fails_when=gate["fails_when"], **words))
    return pd.concat(parts, ignore_index=True)


def _says(
    reasons: list[Mapping[str, Any]], holds: list[pd.Series], evidence: Evidence
) -> dict[str, str]:
    """Words for the reasons that hold, with the values that show them, by service."""
    found: dict[str, list[str]] = defaultdict(list)
    for reason, held in zip(reasons, holds, strict=True):
        true = held.index[held.fillna(value=False)]
        if not len(true):
            continue
        table, shows = evidence.views[reason["table"]].table, reason.get("shows", [])
        holds_here = rules.evaluate(reason["rule"], table, at=evidence.at).fillna(value=False)
        rows = table.loc[holds_here.to_numpy(dtype=bool), ["service_id", *shows]]
        values = [_values(rows, column) for column in shows]
        for service in true:
            shown = ", ".join(value[service] for value in values if service in value)
            found[service].append(reason["says"] + (f" ({shown})" if shown else ""))
    return defaultdict(str, {service: "; ".join(parts) for service, parts in found.items()})


def _lacks(reasons: list[Mapping[str, Any]], holds: list[pd.Series]) -> dict[str, str]:
    """Facts of the reasons that are unknown, by service."""
    found: dict[str, list[str]] = defaultdict(list)
    for reason, held in zip(reasons, holds, strict=True):
        for service in held.index[held.isna()]:
            found[service].append(reason["fact"])
    return {service: "; ".join(facts) for service, facts in found.items()}


def _values(rows: pd.DataFrame, column: str) -> dict[str, str]:
    """List a few distinct values by service, sorted."""
    pairs = rows[["service_id", column]].drop_duplicates().dropna()
    found: dict[str, set[str]] = defaultdict(set)
    for service, value in pairs.itertuples(index=False, name=None):
        found[service].add(_shown(value))
    return {
        service: f"{column} {', '.join(sorted(texts)[:SHOWN_VALUES])}"
        + (" …" if len(texts) > SHOWN_VALUES else "")
        for service, texts in found.items()
    }


def _shown(value: object) -> str:
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _waive(gates: pd.DataFrame, inventory: Inventory) -> pd.DataFrame:
    """Mark failed gates that somebody answers for; an unknown is found out, never waived.

    A waiver that does not count is named beside the evidence, with the reason.
    """
    at, waivers = inventory.snapshot_at, inventory["waivers"]
    long = waivers["expires_at"] - waivers["granted_at"] > pd.Timedelta(days=WAIVER_DAYS)
    refused = {
        f"is for more than {WAIVER_DAYS} days": long,
        "is not granted yet": waivers["granted_at"] > at,
        "has run out": waivers["expires_at"] <= at,
    }
    why = np.select([bad.to_numpy(dtype=bool) for bad in refused.values()], list(refused), "")
    told = waivers[["service_id", "gate", "owner", "expires_at"]].assign(refused=why)
    joined = gates.merge(told, how="left")
    failed = gates["state"].eq("fail") & joined["owner"].notna()
    waived = failed & joined["refused"].eq("")
    by = joined["owner"] + " until " + joined["expires_at"].dt.strftime("%Y-%m-%d")
    note = ("; waived by " + by).where(
        waived, "; the waiver by " + by + " does not count, it " + joined["refused"].astype("str")
    )
    return gates.assign(
        state=gates["state"].mask(waived, "waived"),
        evidence=gates["evidence"].mask(failed, gates["evidence"] + note),
    )
