"""Sections on the claims of the argument, and on the back-test of the score."""

from __future__ import annotations

from typing import Any

import pandas as pd

from assess.errors import AssessError
from assess.figures import BANDS
from assess.report.model import Card, Column, Item, Part, Section, Table
from assess.report.pictures import Pictures
from assess.score.backtest.backtest import Backtest
from assess.score.claims import Claims
from assess.words import UNKNOWN

VERDICTS = {"supported": "ready", "refuted": "blocked"}


def claims(result: Claims, pictures: Pictures) -> Section:
    """List each claim of the argument, and whether this fleet supports it."""
    frame = result.frame.reset_index()
    frame["measured"] = [_measured(row) for row in frame.to_dict("records")]
    frame["needs"] = frame["needs"].replace("", "–")
    counts = frame["verdict"].value_counts()
    tally = ", ".join(
        f"{counts.get(word, 0)} {word}" for word in (*VERDICTS, "undecided")
    )
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
    )
    cards = [_card(result, row) for row in frame.to_dict("records")]
    table = Table("claims-table", "Claims, measured on this fleet", columns, frame)
    return Section(
        "claims", "The argument, tested on this fleet", [text], [picture, table, *cards]
    )


def _measured(row: dict[str, Any]) -> str:
    if pd.isna(row["value"]):
        return UNKNOWN
    hi = "no upper end" if pd.isna(row["hi"]) else f"{row['hi']:.2g}"
    return f"{row['value']:.2g} ({row['lo']:.2g} to {hi}) {row['unit']}"


def _card(result: Claims, row: dict[str, Any]) -> Card:
    """Return the card of a claim: both sides, the measurement, and published facts."""
    claim, verdict = str(row["claim"]), str(row["verdict"])
    lines = result.explain(claim).text.splitlines()
    items = [Item(line) for line in lines if not line.startswith("Verdict:")]
    band = BANDS[VERDICTS.get(verdict, "unknown")]
    return Card(
        f"claim-{claim}", f"{claim} {row['text']}", verdict, band, [], {"": items}
    )


def backtest(result: Backtest | AssessError, pictures: Pictures) -> Section:
    """Compare predictions of the quarter before with what happened, or say why not."""
    title = "Back-test: does the score predict anything here?"
    if isinstance(result, AssessError):
        why = f"There is no back-test: {result}."
        hint = f"To run one: {result.hint}." if result.hint else ""
        return Section("backtest", title, [line for line in (why, hint) if line])
    columns = [
        Column("metric", "Measure"),
        Column("value", "Observed", "interval", 2),
        Column("baseline_history", "By incident history alone", "number", 2, absent="–"),
        Column("baseline_random", "By chance", "number", 2, absent="–"),
        Column("verdict", "Verdict"),
    ]
    frame = result.frame.reset_index().rename(
        columns={"lo": "value_lo", "hi": "value_hi"}
    )
    frame["metric"] = frame["metric"].astype("str").map(METRICS).fillna(frame["metric"])
    parts: list[Part] = [
        pictures(
            "backtest",
            "Point: share of services with incidents. Bar: interval. Dotted: predicted share.",
        ),
        Table("backtest-table", "Predicted and observed", columns, frame),
    ]
    return Section("backtest", title, [result.headline], parts)


METRICS = {
    "auc": "AUC (0.5 is chance, 1 perfect)",
    "auc_gain": "AUC gained over history alone",
    "brier": "Brier score (0 is perfect)",
    "kendall_tau": "Kendall's tau with incident minutes",
    "auc_readiness": "AUC of readiness alone",
}
