"""The claims of the argument, each measured on the fleet and held against its bound.

An interval decides, or nothing does: without data a claim is undecided and says what to connect.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from assess.errors import AssessError
from assess.inventory import Inventory
from assess.policy.policy import Policy
from assess.score.claims import outcomes, upkeep
from assess.score.claims.fleet import Fleet
from assess.score.claims.measure import UNDECIDED, Finding, rates_by, verdict
from assess.score.claims.world import world
from assess.score.incidents.recovery import time_to_heal
from assess.score.result import Explanation, Provenance, Result
from assess.score.upgrade_churn.history import History

MEASURES = {
    "C1": upkeep.forced_upgrades,
    "C2": upkeep.broken_services,
    "C3": upkeep.failed_upgrades,
    "C4": upkeep.kept_images,
    "C5": upkeep.troubled_hosts,
    "C6": upkeep.package_incidents,
    "C7": upkeep.failed_pulls,
    "C8": outcomes.core_in_containers,
    "C9": outcomes.stores_in_containers,
    "C10": outcomes.contained_incidents,
    "C11": outcomes.replaced_in_time,
    "C12": outcomes.orchestrated,
    "C13": outcomes.many_at_once,
    "C14": outcomes.less_stable,
    "C15": outcomes.depends_on_who_asks,
    "C16": outcomes.held_back,
}
NUMBERS = ["value", "lo", "hi", "threshold"]


@cache
def texts() -> dict[str, dict[str, Any]]:
    """Give what is said about each claim: the words of both sides, the measure, the bound."""
    file = files("assess.score.claims") / "claims.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))


@dataclass(frozen=True, eq=False, repr=False)
class Claims(Result):
    """The claims C1 to C16 and what this fleet says to them.

    ``frame`` (index ``claim``): ``text``, ``value, lo, hi`` [unit of the claim; NA where nothing is
    known, or where there is no upper end], ``n`` [what was counted], ``threshold`` [same unit],
    ``verdict`` (supported, refuted, undecided), ``needs`` (what would decide it; empty where it is
    decided), ``unit``, ``above`` (whether it is supported above its threshold, and not below),
    ``unknown_n``, ``family``.

    ``contributions``: ``claim, group, part, amount``, the numbers that it is computed from.
    ``details``: the same as tables by claim (``C1`` …), and ``platforms`` (incident rates),
    ``healing`` (time to heal), ``around_upgrades`` (incidents before and after).
    """

    name: ClassVar[str] = "claims"
    summary_columns: ClassVar[tuple[str, ...]] = (
        "text",
        "value",
        "lo",
        "hi",
        "n",
        "threshold",
        "verdict",
        "needs",
    )

    def row(self, claim: str) -> pd.Series:
        """Give the row of a claim; any case will do."""
        name = str(claim).strip().upper()
        if name not in self.frame.index:
            raise AssessError(f"there is no claim {claim!r}", hint="C1 to C16")
        return self.frame.loc[name]

    def explain(self, claim: str) -> Explanation:
        """Tell a claim: both sides, the measure, the verdict, what would decide it, the world.

        Parameters
        ----------
        claim : str
            Such as ``C4``.

        Returns
        -------
        Explanation
            The table holds the rows that its numbers are computed from.
        """
        row = self.row(claim)
        said = texts()[row.name]
        policy = self.provenance.policy
        since = str(policy["claims"]["since"]) if policy else "2019-01-01"
        facts = said["world"].format(**world(since))
        tables = f" (tables {said['source']}, of {self.provenance.reference_date})"
        side = "above" if row["above"] else "below"
        lines = [
            f"The article: {said['article']}",
            f"The answer: {said['answer']}",
            f"Measured: {said['measured']}",
            f"Here: {_told(row, policy)}",
            f"Bound: {row['threshold']:g}; {said['bound']}. Supported {side} it.",
            f"Verdict: {row['verdict']}.",
            f"What would decide it: {row['needs']}." if row["needs"] else "",
            f"The world: {facts}{tables if said['source'] else ''}",
        ]
        title = f"{row.name} · {said['text']}: {row['verdict']}"
        return Explanation(title, "\n".join(filter(None, lines)), self.details[row.name])


def _told(row: pd.Series, policy: Policy | None) -> str:
    """Say a measurement in words."""
    level = (
        f"{policy['claims']['level']:.0%} interval ".replace("%", " %") if policy else ""
    )
    value = "unknown" if pd.isna(row["value"]) else f"{row['value']:.3g}"
    hi = "no upper end" if pd.isna(row["hi"]) else f"{row['hi']:.3g}"
    unknown = f", {row['unknown_n']} not known" if row["unknown_n"] else ""
    return f"{value} ({row['unit']}); {level}{row['lo']:.3g} to {hi}; n = {row['n']}{unknown}."


def judge_claims(  # noqa: PLR0913 - what is known already need not be computed again
    inventory: Inventory,
    policy: Policy,
    *,
    previous: Inventory | None = None,
    history: History | None = None,
    readiness: Result | None = None,
    churn: Result | None = None,
) -> Claims:
    """Judge every claim of the argument on this fleet.

    Parameters
    ----------
    inventory : Inventory
        The fleet.
    policy : Policy
        ``[claims]``: the bounds, and the words that the evidence is read with.
    previous : Inventory, optional
        An earlier inventory: it tells what moved, and what was upgraded, since then.
    history : History, optional
        What more snapshots tell of upgrades, as `upgrade_history` gives it.
    readiness, churn : Result, optional
        Scores of the same inventory; computed where they are left out.

    Returns
    -------
    Claims
        One row per claim, C1 to C16.
    """
    given = {"readiness": readiness, "churn": churn}
    fleet = Fleet(inventory, policy, previous, history, given)
    found = {claim: measure(fleet) for claim, measure in MEASURES.items()}
    rows = [_row(claim, finding, policy) for claim, finding in found.items()]
    frame = pd.DataFrame(rows).set_index("claim").rename_axis("claim")
    frame[NUMBERS] = frame[NUMBERS].astype(float).replace([np.inf, -np.inf], np.nan)
    frame = frame.astype(
        {**dict.fromkeys(NUMBERS, "Float64"), "n": "Int64", "unknown_n": "Int64"}
    )
    tables = {claim: finding.table for claim, finding in found.items()}
    details = {
        **tables,
        "platforms": rates_by(fleet.exposure.spells, "platform", level=fleet.level),
        "healing": time_to_heal(inventory, policy),
        "around_upgrades": upkeep.around_upgrades(fleet),
    }
    parts = pd.concat(
        [_tidy(claim, table) for claim, table in tables.items()], ignore_index=True
    )
    return Claims(frame, parts, Provenance.of(inventory, policy), details)


def _tidy(claim: str, table: pd.DataFrame) -> pd.DataFrame:
    """Give the numbers of a table one by one, under the names of their rows."""
    words = [
        name for name in table if name == "tier" or not is_numeric_dtype(table[name])
    ]
    group = (
        table[words].astype("str").agg(" ".join, axis=1)
        if len(table)
        else pd.Series(dtype=str)
    )
    numbers = table.drop(columns=words).astype(float).assign(claim=claim, group=group)
    return numbers.melt(["claim", "group"], var_name="part", value_name="amount")


def _row(claim: str, finding: Finding, policy: Policy) -> dict[str, Any]:
    said = texts()[claim]
    bounds = {**policy["claims"]["bounds"], "C13": policy["what_next"]["appetite"]}
    bound, above = float(bounds[claim]), bool(said["above"])
    judged = (
        UNDECIDED if finding.n == 0 else verdict(finding.interval, bound, above=above)
    )
    return {
        "claim": claim,
        "text": said["text"],
        "value": finding.interval.point,
        "lo": finding.interval.lo,
        "hi": finding.interval.hi,
        "n": finding.n,
        "threshold": bound,
        "verdict": judged,
        "needs": _needs(said, finding, bound, above=above) if judged == UNDECIDED else "",
        "unit": said["unit"],
        "above": above,
        "unknown_n": finding.unknown_n,
        "family": said["family"],
    }


def _needs(said: dict[str, Any], finding: Finding, bound: float, *, above: bool) -> str:
    """Say what would decide a claim: a source, facts to find out, or so many more of the same."""
    find = (
        f"find out about {said['find']} ({finding.unknown_n})"
        if finding.unknown_n
        else ""
    )
    if finding.n == 0:
        return finding.gap or "; ".join(filter(None, [said["connect"], find]))
    if finding.gap:
        return finding.gap
    if verdict(finding.sampled, bound, above=above) != UNDECIDED:
        return find
    number = math.ceil(finding.more(bound)) if math.isfinite(finding.more(bound)) else 0
    if number > 0:
        more = f"about {number:,} more {said['more']}, if they go on as so far"
    else:
        more = f"no number of {said['more']} as so far: the value lies at its bound"
    return "; ".join(filter(None, [more, find]))
