"""Labels and readiness over all quarters: what became of every service."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd

from assess import figures
from assess.report.changes import MEASURES
from assess.report.model import Column, Section, Table
from assess.report.pictures import picture
from assess.score.assessment import Assessment

KEPT = ["label", "readiness", "readiness_lo", "readiness_hi"]
SHOWN = 2000
NAME = Column("service_id", "Service")


def of_scores(scores: Assessment) -> pd.DataFrame:
    """Give what the history holds of a quarter: ``label, readiness, _lo, _hi`` by service."""
    return scores.what_next.frame[KEPT].rename_axis("service_id")


def of_report(told: Mapping[str, Any] | None, scores: Assessment) -> pd.DataFrame | None:
    """Give the same of a report as it was written then.

    None where another policy, other facts or another version told it: such scores do not compare.
    """
    now = scores.provenance.to_dict()
    if not told or any(told.get(key) != now[key] for key in (*MEASURES, "seed")):
        return None
    rows = pd.DataFrame(told["scores"]["what-next"])
    return rows.set_index("service_id").reindex(columns=KEPT)


def section(past: Mapping[str, pd.DataFrame]) -> Section:
    """Tell all quarters.

    Parameters
    ----------
    past : mapping of str to DataFrame
        By quarter, oldest first, as `of_scores` gives it.

    Returns
    -------
    Section
        A figure and three tables; a dash stands where a service was not there.
    """
    quarters = list(past)
    labels = pd.DataFrame({q: own["label"].astype("str") for q, own in past.items()})
    counts = (
        labels.apply(lambda column: column.value_counts())
        .reindex(figures.LABELS)
        .fillna(0)
    )
    counts = counts[counts.any(axis=1)].astype("int64").rename_axis("label").reset_index()
    parts = [own[KEPT[1:]].add_prefix(f"{q}_") for q, own in past.items()]
    points = pd.concat(parts, axis=1)
    points.columns = [name.replace("_readiness", "") for name in points]
    order = labels[quarters[-1]].isna().sort_values(kind="stable").index
    tables = [
        Table(
            "labels-by-quarter",
            "Label of every service, by quarter",
            [NAME, *(Column(q, q, "label", absent="–") for q in quarters)],
            _named(labels.loc[order]),
            limit=SHOWN,
        ),
        Table(
            "readiness-by-quarter",
            "Readiness of every service, by quarter (points)",
            [NAME, *(Column(q, q, "interval", absent="–") for q in quarters)],
            _named(points.reindex(order)),
            limit=SHOWN,
        ),
    ]
    return Section(
        "history",
        f"All quarters, {quarters[0]} to {quarters[-1]}",
        [
            "Every quarter is scored by the policy, the facts and the version of the last one."
        ],
        [
            picture(
                "history",
                "Services by what their label asks for.",
                partial(figures.history, labels),
            ),
            Table(
                "labels-counted",
                "Services with each label",
                [
                    Column("label", "Label", "label"),
                    *(Column(q, q, "number") for q in quarters),
                ],
                counts,
            ),
            *tables,
        ],
    )


def _named(table: pd.DataFrame) -> pd.DataFrame:
    return table.rename_axis("service_id").reset_index()
