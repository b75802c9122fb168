"""Sections behind the decision: claims, unknowns, coverage, back-test, method."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import pandas as pd

from assess import reference
from assess.errors import AssessError, counted
from assess.figures import BANDS
from assess.frames import surely
from assess.inventory import LOOKED
from assess.reference import STALE_DAYS
from assess.report.cards import questions
from assess.report.model import (
    Card,
    Column,
    Item,
    Part,
    Pictures,
    Section,
    Table,
    table_of,
)
from assess.score.assessment import Assessment
from assess.score.backtest import Backtest
from assess.score.claims import Claims
from assess.words import UNKNOWN, sentence_list, word

NAMED = 4
VERDICTS = {"supported": "ready", "refuted": "blocked"}
METRICS = {
    "auc": "AUC (0.5 is chance, 1 perfect)",
    "auc_gain": "AUC gained over history alone",
    "brier": "Brier score (0 is perfect)",
    "brier_gain": "Brier score by which history alone is worse",
    "log_loss": "Log-loss (0 is perfect)",
    "log_loss_gain": "Log-loss by which history alone is worse",
    "kendall_tau": "Kendall's tau with incident minutes",
    "auc_readiness": "AUC of readiness alone",
}
LIMITS = (
    "What can be reached is an upper bound: not every caller of a failed service fails with it.",
    "A share of weightings is not a probability of success.",
    "What no source saw is unknown. It widens intervals and never improves a rank.",
    "People set the weights and thresholds in a policy; every result carries its hash.",
)


def claims(result: Claims, pictures: Pictures) -> Section:
    """Return the section on the claims: each claim, and whether this fleet supports it."""
    frame = result.frame.reset_index()
    frame["measured"] = [_measured(row) for row in frame.to_dict("records")]
    frame["needs"] = frame["needs"].replace("", "–")
    counts = frame["verdict"].value_counts()
    verdicts = (*VERDICTS, "undecided")
    tally = sentence_list(f"{counts.get(word, 0)} are {word}" for word in verdicts)
    text = (
        "One article called containers in production a history of failure; another replied point "
        f"by point. Of their {len(frame)} claims, {tally} on this fleet. A claim is decided only "
        "if its whole interval lies on one side of the bound. Without data it stays undecided."
    )
    columns = [
        Column("claim", "Claim"),
        Column("text", "What is claimed"),
        Column("verdict", "Verdict", "label", bands=VERDICTS),
        Column("measured", "Measured here"),
        Column("n", "n", "number"),
        Column("threshold", "Bound", "number", 2),
        Column("needs", "What would decide it"),
    ]
    picture = pictures(
        "claims",
        "Bar: interval. Point: measured value, relative to the bound of the claim.",
        fold="Each claim, beside its bound",
        is_printed=False,
    )
    cards = [_card(result, row) for row in frame.to_dict("records")]
    table = Table(
        "claims-table",
        "Claims, measured on this fleet",
        columns,
        frame,
        is_folded=True,
        paper=16,
    )
    return Section(
        "claims",
        "The argument, tested on this fleet",
        [text],
        [picture, table, *cards],
        deck=f"Both sides of {len(cards)} claims, and what is published",
    )


def _measured(row: dict[str, Any]) -> str:
    if pd.isna(row["value"]):
        return UNKNOWN
    hi = "no upper end" if pd.isna(row["hi"]) else f"{row['hi']:.2g}"
    return f"{row['value']:.2g} ({row['lo']:.2g} to {hi}) {row['unit']}"


def _card(result: Claims, row: dict[str, Any]) -> Card:
    """Return the card of a claim: both sides, the measurement, and published facts."""
    claim = str(row["claim"])
    verdict = str(row["verdict"])
    lines = result.explain(claim).text.splitlines()
    items = [Item(line) for line in lines if not line.startswith("Verdict:")]
    band = BANDS[VERDICTS.get(verdict, "unknown")]
    return Card(
        f"claim-{claim}", f"{claim} {row['text']}", verdict, band, [], {"": items}
    )


@lru_cache(maxsize=1)
def unknown_facts(scores: Assessment) -> pd.DataFrame:
    """List the facts to find out before the meeting, the most decisive first."""
    missing = scores.what_next.details["missing"]
    frame = scores.what_next.frame
    undecidable = set(frame.index[frame["label"] == "NOT DECIDABLE"])
    owners = frame["owner"].dropna().to_dict()
    asked = missing.assign(
        owner=[owners.get(name, "owner unknown") for name in missing["service_id"]],
        decides=missing["service_id"].isin(undecidable),
    )
    gated = scores.readiness.details["gates"].query("state == 'unknown'")
    pairs = pd.MultiIndex.from_frame(gated[["service_id", "fact"]])
    asked["decides"] &= pd.MultiIndex.from_frame(asked[["service_id", "fact"]]).isin(
        pairs
    )
    grouped = asked.groupby("fact", sort=True)
    table = grouped.agg(
        services_n=("service_id", "nunique"),
        decides_n=("decides", "sum"),
        services=("service_id", _cell_list),
        owners=("owner", lambda names: _cell_list(set(names))),
    ).reset_index()
    table["turns_n"] = table["fact"].map(_turning(scores)).fillna(0).astype("Int64")
    return table.sort_values(
        ["decides_n", "turns_n", "services_n", "fact"],
        ascending=[False, False, False, True],
        kind="stable",
    )


def unknowns(scores: Assessment) -> Section:
    """Return the section with the facts to find out."""
    text = (
        "In this order: facts without which a service cannot be decided, facts that can change a "
        "label on their own, facts that most services lack."
    )
    shown = table_of(
        "unknown-facts",
        "Facts to find out",
        unknown_facts(scores),
        empty="Everything is known.",
        limit=20,
        is_folded=True,
        paper=12,
    )
    title = "Unknowns: what to find out before the meeting"
    return Section("unknowns", title, [text], [shown])


def _cell_list(names: Iterable[str]) -> str:
    return sentence_list(sorted(names), most=NAMED, last=", ")


def _turning(scores: Assessment) -> pd.Series:
    """Count by fact the services whose label that fact alone can change."""
    worth = scores.what_next.details["information"]
    turns = worth[surely(worth["decides"].astype("boolean"))]
    return turns.groupby("fact")["service_id"].nunique()


def coverage(scores: Assessment, pictures: Pictures) -> Section:
    """Show the outcome of each call to a source, and the age of the answers."""
    gaps = incomplete(scores)
    gaps = gaps.assign(hint=gaps["hint"].astype(object).fillna("–"))
    warnings = stale(scores)
    missing = unsupplied(scores)
    if missing:
        names = ", ".join(missing)
        warnings.insert(0, f"Not supplied at all, and so unknown: {names}.")
    parts: list[Part] = [
        pictures(
            "coverage",
            "Denied, timed-out and absent calls are shown too.",
            fold="Outcome of every call",
        ),
        table_of(
            "gaps",
            "Incomplete calls",
            gaps,
            limit=40,
            empty="Every recorded call was answered in full.",
            is_folded=True,
            paper=20,
        ),
    ]
    text = "A call that failed does not mean that there is nothing. These calls were incomplete."
    return Section("coverage", "Coverage by source", [text], parts, warnings)


def incomplete(scores: Assessment) -> pd.DataFrame:
    """Return the rows of coverage of calls that were not answered in full."""
    calls = scores.inventory["coverage"]
    gaps = calls[~calls["status"].isin(LOOKED)]
    return gaps.sort_values(["source", "scope", "call"], kind="stable")


def unsupplied(scores: Assessment) -> list[str]:
    """Name the frames that no source supplied."""
    inventory = scores.inventory
    return [name for name in inventory if name not in inventory.present]


def stale(scores: Assessment) -> list[str]:
    """List the facts that are too old to rely on."""
    at = scores.inventory.snapshot_at
    warnings = []
    if aged := reference.outdated(at):
        warnings.append(
            f"The reference facts date from {reference.compiled_on(*aged)}, more than "
            f"{STALE_DAYS} days before the snapshot. Newer facts are missing in "
            f"{'all tables' if len(aged) == len(reference.tables()) else ', '.join(aged)}."
        )
    hosts = scores.inventory["hosts"]
    old = hosts[surely(hosts["facts_age_hours"] > 24 * STALE_DAYS)]
    if len(old):
        what = f"The facts of {len(old)} of {len(hosts)} hosts"
        warnings.append(f"{what} are older than {STALE_DAYS} days.")
    atoms = scores.readiness.details["atoms"]
    aged = atoms[surely((at - atoms["observed_at"]).dt.days > STALE_DAYS)]
    if len(aged):
        what = f"{counted(len(aged), 'answer')} to checks"
        warnings.append(f"More than {STALE_DAYS} days old: {what}.")
    return warnings


def backtest(result: Backtest | AssessError, pictures: Pictures) -> Section:
    """Return the section on the back-test, or the reason why there is none."""
    title = "Back-test: does the score predict anything here?"
    if isinstance(result, AssessError):
        why = f"There is no back-test: {result}."
        hint = f"To run one: {result.hint}." if result.hint else ""
        return Section("backtest", title, [line for line in (why, hint) if line])
    frame = result.frame.reset_index().rename(
        columns={"lo": "value_lo", "hi": "value_hi"}
    )
    frame["metric"] = frame["metric"].astype("str").map(METRICS).fillna(frame["metric"])
    parts: list[Part] = [
        pictures(
            "backtest",
            "Point: share of services with incidents. Bar: interval. Dotted: predicted share.",
            fold="Predicted and observed incidents",
        ),
        table_of(
            "backtest-table",
            "Measures of the back-test",
            frame,
            is_folded=True,
        ),
    ]
    return Section("backtest", title, [result.headline], parts)


def method(scores: Assessment) -> Section:
    """Describe the method, the policy, the data, and their limits."""
    policy = scores.policy
    weights = (
        pd.Series(policy["dimensions"]).rename_axis("name").reset_index(name="value")
    )
    edges = pd.DataFrame(policy["edges"]).T.rename(columns={"lo": "p_lo", "hi": "p_hi"})
    edges = edges.rename_axis("kind").reset_index()
    gates = pd.DataFrame(policy["gate"])
    data = scores.inventory.summary().reset_index()
    data["supplied"] = data["supplied"].map(word)
    text = [
        "Gates are checked before any score. Readiness is the weighted geometric mean of its "
        f"dimensions, from {len(questions(scores))} checks; its bounds count every unknown as "
        "failed and as passed. Blast radius fails one element at a time and follows the "
        "dependencies. Upgrade churn multiplies the upgrades per year by their cost in hours.",
        f"The ranking uses {policy.draws:,} weightings drawn uniformly (seed {policy.seed}).",
        *LIMITS,
    ]
    parts: list[Part] = [
        table_of(name, caption, frame, is_folded=True)
        for name, caption, frame in (
            ("weights", "Weights of readiness", weights),
            ("gates", "Gates, in order", gates),
            ("edges", _EDGES, edges),
            ("data", "Contents of the snapshot", data),
        )
    ]
    return Section("method", "Method, policy, data, limits", text, parts)


_EDGES = "Probability that a caller fails with the service that it calls"
