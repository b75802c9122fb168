"""Gates: hard conditions checked before any score; a good average cannot pass them."""

import difflib
import warnings
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

from assess.execution import each
from assess.inventory import Inventory
from assess.policy import Policy, Table
from assess.score import Floats, Integers
from assess.score.evidence import Evidence, word

EXCUSED = "excuses a failed gate, not an unknown one"
GATE_COLUMNS = ["service_id", "gate", "state", "label", "evidence", "fact"]
REASON_COLUMNS = [
    "service_id",
    "gate",
    "label",
    "fails_when",
    "state",
    "rule",
    "fact",
    "check",
]
OPEN = ("fail", "unknown")  # states of a gate that holds a service back
NOT_DECIDABLE = "NOT DECIDABLE"
# one hard no is enough, so NEVER is harder than what is not decidable
HARDNESS = {"PREPARE": 1, "HOLD": 2, NOT_DECIDABLE: 3, "NEVER": 4}
LABEL_OF = {hardness: label for label, hardness in HARDNESS.items()}
WAIVER_DAYS = 180  # what lasts longer is a change of the policy, not an exception
SHOWN_VALUES = 3  # of a column, in the evidence of a gate
Rows = list[tuple[str, ...]]


class UnknownGateWarning(UserWarning):
    """A waiver names a gate that the policy does not have."""


def fails(holds: Floats, fails_when: str) -> Floats:
    """Combine the reasons of a gate in Kleene's logic: 1 fails, 0 passes, NaN is unknown.

    ``holds``, shape (reasons, n), is 1 where a reason holds, 0 where it does not, NaN where that
    is unknown. ``fails_when`` is "any" where one reason is enough, "all" where all have to hold.
    """
    decisive = 1.0 if fails_when == "any" else 0.0
    is_decided = (holds == decisive).any(axis=0)
    # the rest is unknown where one reason is: the largest of them is NaN there
    rest = holds.max(axis=0, initial=1.0 - decisive)
    return np.where(is_decided, decisive, rest)


def hardness(failing: Floats, rank: Any) -> Integers:
    """Return `rank` (the `HARDNESS` of its label) where a gate fails, 0 where it passes."""
    # Unknown ranks as NOT DECIDABLE.
    others = np.where(np.isnan(failing), HARDNESS[NOT_DECIDABLE], 0)
    return np.where(failing == 1, rank, others)


def labels(gates: DataFrame) -> Series:
    """Return the hardest label of the gates of each service; NA if all pass."""
    # A waived gate passes. An unknown gate means NOT DECIDABLE.
    is_failed = gates["state"].eq("fail")
    is_unknown = gates["state"].eq("unknown")
    failing = np.select([is_failed, is_unknown], [1.0, np.nan], 0.0)
    rank = gates["label"].map(HARDNESS).to_numpy(np.int64)
    ranks = Series(hardness(failing, rank), gates.index)
    return ranks.groupby(gates["service_id"]).max().map(LABEL_OF).astype("str")


def judge(
    evidence: Evidence,
    inventory: Inventory,
    policy: Policy,
) -> tuple[DataFrame, DataFrame]:
    """Evaluate every gate for every service; return the gates, and the reasons of open gates.

    Gates have ``service_id, gate, state`` (pass, fail, unknown or waived), ``label`` where it does not
    pass, ``evidence`` in words and the ``fact`` to find out, by service and in the order of the
    policy. Reasons that are not refuted have ``service_id, gate, label, fails_when, state`` (holds or
    unknown), ``rule, fact`` and the ``check`` that it is about, empty where there is none.
    """
    work = policy["gate"]
    tables = zip(*each(_judge, work, evidence.blocks(), what="gates"), strict=True)
    table, reasons = (pd.concat(blocks, ignore_index=True) for blocks in tables)
    table = _waive(table, inventory, [gate["id"] for gate in policy["gate"]])
    open_gates = table.loc[table["state"].isin(OPEN), ["service_id", "gate"]]
    return table, reasons.merge(open_gates)


def _judge(policy_gates: list[Table], evidence: Evidence) -> tuple[DataFrame, DataFrame]:
    """Return every gate, and its reasons, for a block of services."""
    gate_rows: Rows = []
    reason_rows: Rows = []
    for gate in policy_gates:
        states, reasons = _judge_gate(gate, evidence)
        gate_rows += states
        reason_rows += reasons
    for rows in (gate_rows, reason_rows):
        rows.sort(key=itemgetter(0))  # stable: gates stay in the order of the policy
    # words as Python objects of all blocks would fill the memory
    return (
        DataFrame(gate_rows, columns=GATE_COLUMNS, dtype="str"),
        DataFrame(reason_rows, columns=REASON_COLUMNS, dtype="str"),
    )


class _Found(NamedTuple):
    """A reason that is not refuted for a service, and the values that are shown of it."""

    reason: Table
    holds: bool  # else it is unknown
    shown: str


def _judge_gate(gate: Table, evidence: Evidence) -> tuple[Rows, Rows]:
    """Return the rows of one gate by service, and of its reasons that hold or are unknown."""
    reasons = gate["reasons"]
    services = evidence.services
    answers = [evidence.exists(reason["table"], reason["rule"]) for reason in reasons]
    holds = np.array(answers).reshape(len(reasons), len(services))
    failing = fails(holds, gate["fails_when"])
    is_lifted = np.zeros(len(services), dtype=bool)
    if "unless" in gate:
        is_lifted = evidence.ask("workloads", gate["unless"]).value == 1
    judged = list(zip(reasons, answers, strict=True))
    values = [_shown_values(*each, evidence) for each in judged]
    vague = [_shown_values(*each, evidence, is_open=True) for each in judged]
    notes = _notes(gate, evidence)
    missing = evidence.views["services"].table["missing"].fillna("").tolist()
    is_quiet = ~(holds != 0).any(axis=0) & (failing == 0) & ~is_lifted
    rows: Rows = []
    open_reasons: Rows = []
    for at, service in enumerate(services.tolist()):
        if is_quiet[at] and service not in notes:
            # most gates: every reason is refuted, so there is none to list
            rows.append((service, gate["id"], "pass", gate["label"], gate["clear"], ""))
            continue
        answers_here = zip(reasons, values, vague, holds[:, at], strict=True)
        found = [
            _Found(reason, answer == 1, (known if answer == 1 else seen).get(service, ""))
            for reason, known, seen, answer in answers_here
            if answer != 0  # a refuted reason says nothing of an open gate
        ]
        open_reasons += [_reason_row(service, gate, each) for each in found]
        state, words, fact = _verdict(gate, failing[at], found)
        if is_lifted[at]:
            state = "pass"
            words = f"lifted by the policy: {_joined(found, 'says', holds=True)}"
            fact = ""
        elif state == "pass":
            words = "; ".join([words, *notes.get(service, [])])
        elif state == "fail" and gate["label"] == NOT_DECIDABLE:
            # a gate of coverage fails because facts are missing: name them
            fact = missing[at]
        rows.append((service, gate["id"], state, gate["label"], words, fact))
    return rows, open_reasons


def _verdict(gate: Table, failing: float, found: list[_Found]) -> tuple[str, str, str]:
    """Return the state of a gate, why it is so, and the fact that would decide it."""
    if np.isnan(failing):
        facts = [each.reason["fact"] for each in found if not each.holds]
        words = _joined(found, "fact", holds=False)
        return "unknown", f"not known: {words}", "; ".join(facts)
    if failing:
        return "fail", _joined(found, "says", holds=True), ""
    return "pass", gate["clear"], ""


def _joined(found: list[_Found], words: str, *, holds: bool) -> str:
    """Join what the reasons that hold, or are unknown, say, each with the values it is about."""
    some = [each for each in found if each.holds == holds]
    return "; ".join(each.reason[words] + each.shown for each in some)


def _reason_row(service: str, gate: Table, found: _Found) -> tuple[str, ...]:
    about = (service, gate["id"], gate["label"], gate["fails_when"])
    state = "holds" if found.holds else "unknown"
    reason = found.reason
    return (*about, state, reason["rule"], reason["fact"], reason.get("check", ""))


def _notes(gate: Table, evidence: Evidence) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for note in gate.get("notes", ()):
        holds = evidence.exists(note["table"], note["rule"])
        shown = _shown_values(note, holds, evidence)
        for service in evidence.services[holds == 1]:
            found.setdefault(service, []).append(note["says"] + shown.get(service, ""))
    return found


def _shown_values(
    reason: Table, answers: Floats, evidence: Evidence, *, is_open: bool = False
) -> dict[str, str]:
    """Return by service, in brackets, the values for which a reason holds or is unknown."""
    columns = reason.get("shows", [])
    if not columns:
        return {}
    view = evidence.views[reason["table"]]
    asked = np.isnan(answers) if is_open else answers == 1
    holds = evidence.evaluate(reason["rule"], reason["table"])
    # a gate is also open where a row that holds may not count
    is_shown = holds.to_numpy(bool, na_value=is_open) & asked[view.codes]
    if not is_shown.any():
        return {}
    # of a wide table only what is shown
    wanted = list(dict.fromkeys(["service_id", *columns]))
    rows = view.table.loc[is_shown, wanted]
    cells = rows[columns].to_dict("records")
    seen: dict[str, set[str]] = {}
    for service, row in zip(rows["service_id"], cells, strict=True):
        known = [name for name in columns if pd.notna(row[name])]
        text = " ".join(word(row[name], name) for name in known)
        if text:
            seen.setdefault(service, set()).add(text)
    left, right = "[]" if is_open else "()"
    return {service: f" {left}{_few(found)}{right}" for service, found in seen.items()}


def _few(texts: set[str]) -> str:
    more = " …" if len(texts) > SHOWN_VALUES else ""
    return ", ".join(sorted(texts)[:SHOWN_VALUES]) + more


def _waive(gates: DataFrame, inventory: Inventory, names: Sequence[str]) -> DataFrame:
    """Mark failed gates with a valid waiver; an unknown gate cannot be waived."""
    # An invalid waiver stays visible in the evidence, with the reason.
    at = inventory.snapshot_at
    waivers = inventory["waivers"]
    _warn_of_unknown_gates(waivers, names)
    days = waivers["expires_at"] - waivers["granted_at"]
    faults = {
        "names no owner": waivers["owner"].str.strip().eq(""),
        f"is for more than {WAIVER_DAYS} days": days > pd.Timedelta(days=WAIVER_DAYS),
        "is not granted yet": waivers["granted_at"] > at,
        "has expired": waivers["expires_at"] <= at,
    }
    conditions = [wrong.to_numpy(bool) for wrong in faults.values()]
    waivers = waivers[["service_id", "gate", "owner", "expires_at"]].assign(
        fault=np.select(conditions, list(faults), "")
    )
    joined = gates.merge(waivers, how="left")
    fault = joined["fault"].astype("str").mask(gates["state"].eq("unknown"), EXCUSED)
    stopped = gates["state"].isin(OPEN) & joined["owner"].notna()
    waived = stopped & fault.eq("")
    by = joined["owner"] + " until " + joined["expires_at"].dt.strftime("%Y-%m-%d")
    invalid = "; the waiver by " + by + " does not count: it " + fault
    note = ("; waived by " + by).where(waived, invalid)
    return gates.assign(
        state=gates["state"].mask(waived, "waived"),
        evidence=gates["evidence"].mask(stopped, gates["evidence"] + note),
    )


def _warn_of_unknown_gates(waivers: DataFrame, gates: Sequence[str]) -> None:
    """Warn of waivers for gates that the policy does not have, such as misspelt ones."""
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
        stacklevel=6,
    )
