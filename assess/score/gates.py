"""Gates: hard questions that come before any score; no average buys an answer off."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from functools import reduce
from typing import Any

import pandas as pd

from assess.inventory import Inventory
from assess.policy import Policy
from assess.score import rules
from assess.score.evidence import Evidence

GATE_COLUMNS = ("service_id", "gate", "state", "label", "evidence", "fact")
NOT_DECIDABLE = "NOT DECIDABLE"
HARDNESS = {"PREPARE": 1, "HOLD": 2, NOT_DECIDABLE: 3, "NEVER": 4}
WAIVER_DAYS = 180
SHOWN_VALUES = 3


def judge(evidence: Evidence, inventory: Inventory, policy: Policy) -> pd.DataFrame:
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
    DataFrame
        By service, then in the order of the policy: ``service_id, gate, state`` (pass, fail,
        unknown or waived), ``label`` that the gate gives where it does not pass, ``evidence`` in
        words and the ``fact`` to find out. A gate fails when any (or all) of its reasons hold.
    """
    judged = [_judge(gate, evidence) for gate in policy["gate"]]
    table = pd.concat(judged, ignore_index=True)
    order = {gate["id"]: number for number, gate in enumerate(policy["gate"])}
    table = table.assign(rank=table["gate"].map(order)).sort_values(["service_id", "rank"])
    table = table.reset_index(drop=True)[list(GATE_COLUMNS)]
    return _waive(table, inventory)


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


def _judge(gate: Mapping[str, Any], evidence: Evidence) -> pd.DataFrame:
    """State, evidence and fact of one gate."""
    reasons = gate["reasons"]
    holds = [evidence.exists(reason["table"], reason["rule"]) for reason in reasons]
    fails = reduce(operator.or_ if gate["fails_when"] == "any" else operator.and_, holds)
    lifted = pd.Series(False, index=fails.index)
    if "unless" in gate:
        lifted = evidence.ask("workloads", gate["unless"])["value"].eq(1).fillna(value=False)
    state = fails.mask(lifted, other=False).map({True: "fail", False: "pass"})
    state = state.astype("str").fillna("unknown")
    pairs = list(zip(reasons, holds, strict=True))
    says = _sentence([_says(reason, evidence, held) for reason, held in pairs])
    lacks = _sentence(
        [pd.Series(reason["fact"], held.index).where(held.isna(), "") for reason, held in pairs]
    )
    words = says.where(state.eq("fail"), "not known: " + lacks).mask(
        state.eq("pass"), gate["clear"]
    )
    fact = lacks.where(state.eq("unknown"), "")
    if gate["label"] == NOT_DECIDABLE:  # it fails because facts are missing: name them
        missing = evidence.views["services"].table["missing"].set_axis(fact.index).fillna("")
        fact = fact.mask(state.eq("fail"), missing)
    columns = {
        "gate": gate["id"],
        "state": state,
        "label": gate["label"],
        "evidence": words.mask(lifted, "lifted by the policy: " + says),
        "fact": fact,
    }
    return pd.DataFrame(columns).rename_axis("service_id").reset_index()


def _says(reason: Mapping[str, Any], evidence: Evidence, held: pd.Series) -> pd.Series:
    """Words for a reason that holds, with the values that show it."""
    view, shows = evidence.views[reason["table"]], reason.get("shows", [])
    true = rules.evaluate(reason["rule"], view.table, at=evidence.at).fillna(value=False)
    rows = view.table.loc[true.to_numpy(dtype=bool), ["service_id", *shows]]
    values = [_values(rows, column).reindex(held.index).fillna("") for column in shows]
    shown = _sentence(values, ", ") if values else pd.Series("", index=held.index)
    words = reason["says"] + (" (" + shown + ")").mask(shown.eq(""), "")
    return words.where(held.fillna(value=False), "")


def _values(rows: pd.DataFrame, column: str) -> pd.Series:
    """Give a few distinct values by service, sorted."""
    texts = rows[column].map(_shown, na_action="ignore").astype("string")
    pairs = rows[["service_id"]].assign(text=texts).drop_duplicates().dropna()
    found: dict[str, list[str]] = {}
    for service, text in sorted(pairs.itertuples(index=False, name=None)):
        found.setdefault(service, []).append(text)
    some = {
        service: f"{column} {', '.join(values[:SHOWN_VALUES])}"
        + (" …" if len(values) > SHOWN_VALUES else "")
        for service, values in found.items()
    }
    return pd.Series(some, dtype="str")


def _shown(value: object) -> str:
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _sentence(parts: list[pd.Series], comma: str = "; ") -> pd.Series:
    """Join what is not empty."""
    table = pd.concat(parts, axis=1)
    return pd.Series(
        [comma.join(filter(None, row)) for row in table.itertuples(index=False)],
        index=table.index,
        dtype="str",
    )


def _waive(gates: pd.DataFrame, inventory: Inventory) -> pd.DataFrame:
    """Mark failed gates that somebody answers for; an unknown is found out, never waived."""
    at, waivers = inventory.snapshot_at, inventory["waivers"]
    term = waivers["expires_at"] - waivers["granted_at"]
    valid = waivers[
        (term <= pd.Timedelta(days=WAIVER_DAYS))
        & (waivers["granted_at"] <= at)
        & (waivers["expires_at"] > at)
    ]
    joined = gates.merge(valid[["service_id", "gate", "owner", "expires_at"]], how="left")
    waived = gates["state"].eq("fail") & joined["owner"].notna()
    until = joined["expires_at"].dt.strftime("%Y-%m-%d")
    note = "; waived by " + joined["owner"] + " until " + until
    return gates.assign(
        state=gates["state"].mask(waived, "waived"),
        evidence=gates["evidence"].mask(waived, gates["evidence"] + note),
    )
