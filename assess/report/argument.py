"""What the fleet says to the argument, and whether the score has earned any trust."""

from __future__ import annotations

from typing import Any

import pandas as pd

from assess.errors import AssessError
from assess.figures import BANDS
from assess.report.model import Card, Column, Item, Part, Section, Table
from assess.report.pictures import Pictures
from assess.score.backtest.backtest import Backtest
from assess.score.claims import Claims

VERDICTS = {"supported": "ready", "refuted": "blocked"}


def claims(judged: Claims, drawn: Pictures) -> Section:
    """Say of each claim of the argument whether this fleet supports it."""
    frame = judged.frame.reset_index()
    frame["measured"] = [_measured(row) for row in frame.to_dict("records")]
    frame["needs"] = frame["needs"].replace("", "–")
    counts = frame["verdict"].value_counts()
    told = ", ".join(f"{counts.get(word, 0)} {word}" for word in (*VERDICTS, "undecided"))
    text = (
        f"One article called containers in production a history of failure, another answered it "
        f"point by point. Of its {len(frame)} claims this fleet leaves {told}. Only an interval "
        "that lies wholly on one side of the bound decides; without data, a claim is undecided."
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
    picture = drawn(
        "claims", "Bar: interval. Point: measured. Each claim over its own bound."
    )
    cards = [_card(judged, row) for row in frame.to_dict("records")]
    table = Table(
        "claims-table", "Claims, and what this fleet says to them", columns, frame
    )
    return Section(
        "claims", "The argument, judged on this fleet", [text], [picture, table, *cards]
    )


def _measured(row: dict[str, Any]) -> str:
    if pd.isna(row["value"]):
        return "unknown"
    hi = "no upper end" if pd.isna(row["hi"]) else f"{row['hi']:.2g}"
    return f"{row['value']:.2g} ({row['lo']:.2g} to {hi}) {row['unit']}"


def _card(judged: Claims, row: dict[str, Any]) -> Card:
    """Both sides, the measure, and what the facts of the world add."""
    claim, verdict = str(row["claim"]), str(row["verdict"])
    lines = judged.explain(claim).text.splitlines()
    kept = [Item(line) for line in lines if not line.startswith("Verdict:")]
    band = BANDS[VERDICTS.get(verdict, "unknown")]
    return Card(f"claim-{claim}", f"{claim} {row['text']}", verdict, band, [], {"": kept})


def backtest(judged: Backtest | AssessError, drawn: Pictures) -> Section:
    """Say whether what the quarter before foretold came true, or why nobody can tell."""
    title = "Back-test: does the score predict anything here?"
    if isinstance(judged, AssessError):
        why = f"The score was not held to what happened: {judged}."
        hint = f"To do it: {judged.hint}." if judged.hint else ""
        return Section("backtest", title, [line for line in (why, hint) if line])
    columns = [
        Column("metric", "Measure"),
        Column("value", "Found", "interval", 2),
        Column("baseline_history", "By incident history alone", "number", 2, absent="–"),
        Column("baseline_random", "By chance", "number", 2, absent="–"),
        Column("verdict", "Verdict"),
    ]
    frame = judged.frame.reset_index().rename(
        columns={"lo": "value_lo", "hi": "value_hi"}
    )
    frame["metric"] = frame["metric"].astype("str").map(METRICS).fillna(frame["metric"])
    parts: list[Part] = [
        drawn(
            "backtest",
            "Point: share that broke. Bar: interval. Dotted: what was foretold.",
        ),
        Table(
            "backtest-table", "What was foretold, against what happened", columns, frame
        ),
    ]
    return Section("backtest", title, [judged.headline], parts)


METRICS = {
    "auc": "AUC (0.5 is chance, 1 perfect)",
    "auc_gain": "AUC gained over history alone",
    "brier": "Brier score (0 is perfect)",
    "kendall_tau": "Kendall's tau with incident minutes",
    "auc_readiness": "AUC of readiness alone",
}
