"""Labels and readiness of every service over all quarters."""

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
    """Return ``label, readiness, readiness_lo, readiness_hi`` by service, from scores."""
    return scores.what_next.frame[KEPT].rename_axis("service_id")


def of_report(
    published: Mapping[str, Any] | None, scores: Assessment
) -> pd.DataFrame | None:
    """Return the same from the published report of a quarter.

    None if it used another policy, other facts or another version: such scores do not compare.
    """
    now = scores.provenance.to_dict()
    if not published or any(
        published.get(key) != now[key] for key in (*MEASURES, "seed")
    ):
        return None
    rows = pd.DataFrame(published["scores"]["what-next"])
    return rows.set_index("service_id").reindex(columns=KEPT)


def section(past: Mapping[str, pd.DataFrame]) -> Section:
    """Return the section on all quarters; – means that a service was not there."""
    quarters = list(past)
    labels = pd.DataFrame({q: frame["label"].astype("str") for q, frame in past.items()})
    counts = (
        labels.apply(lambda column: column.value_counts())
        .reindex(figures.LABELS)
        .fillna(0)
    )
    counts = counts[counts.any(axis=1)].astype("int64").rename_axis("label").reset_index()
    parts = [frame[KEPT[1:]].add_prefix(f"{q}_") for q, frame in past.items()]
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
        ["All quarters use the policy, the facts and the version of the last one."],
        [
            picture(
                "history",
                "Services by label.",
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
