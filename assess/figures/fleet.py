"""Figures of the fleet: upgrade work, ends of life, coverage, labels by quarter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pandas import DataFrame

from assess.errors import counted
from assess.figures.rows import (
    count_note,
    intervals,
    message,
    named_rows,
    note,
    per_service,
    stack,
    worst_first,
)
from assess.figures.style import BANDS, MUTED, PAPER, band_of, figure
from assess.inventory import LOOKED, Inventory
from assess.words import ELEMENT_KINDS, UNKNOWN, element_name, share

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from assess.score.result import Result

SOON_DAYS = 180
WRITABLE = 4  # least width of a part that shows its count [percent]
CLOCK_WORDS = {
    "blocked": "past",
    "conditional": "ends soon",
    "ready": "supported",
    "unknown": "no end known",
}
SEEN = {
    "seen": LOOKED,
    "in part": ("partial", "stale", "throttled"),
    "not seen": ("denied", "timeout", "unreachable", "unsupported", "parse_error"),
    "not asked": ("not_configured",),
}


def upgrade_churn_data(result: Result) -> DataFrame:
    """Return the frame behind `upgrade_churn`.

    ``service_id, label, point, lo, hi`` [hours per year] and ``note``: changes up to the
    target that break something in use; most work first.
    """
    table = per_service(result.frame, "hours_per_year")
    table["note"] = [count_note(n, "breaking") for n in result.frame["breaking_n"]]
    return worst_first(table, "service_id")


@figure(result="An upgrade-churn result.")
def upgrade_churn(result: Result, *, ax: Axes | None = None) -> Axes:
    """Draw the hours per year that each service spends on upgrades."""
    table = upgrade_churn_data(result)
    level = share(result.policy.level)
    return intervals(
        table,
        ax=ax,
        title="Upgrade churn per service",
        xlabel=f"Upgrade churn (hours per year, {level} interval)",
        noun="services",
    )


def clocks_data(result: Result) -> DataFrame:
    """Return the frame behind `clocks`.

    ``component, name, version, label, days`` [days to the end of life; below 0: past],
    ``services_n`` [count]; soonest first, after components without an announced end.
    """
    clocks = result.details["clocks"]
    line = ["component", "name", "version"]
    known = clocks[line].astype("str").fillna({"name": UNKNOWN, "version": ""})
    named = clocks.assign(**known)
    grouped = named.groupby(line, sort=True)
    table = grouped.agg(days=("days_to_eol", "min"), services_n=("service_id", "nunique"))
    table = table.reset_index().astype({"days": "Float64"})
    shown = table[line].assign(
        name=table["name"].map(element_name),
        component=table["component"].replace(ELEMENT_KINDS),
    )
    table["label"] = [" ".join(filter(None, row)) for row in shown.to_numpy()]
    return table.sort_values(["days", *line], na_position="first", ignore_index=True)


@figure(result="An upgrade-churn result.")
def clocks(result: Result, *, ax: Axes | None = None) -> Axes:
    """Draw how long each component in use has support."""
    table = clocks_data(result)
    days = table["days"].to_numpy(float)
    band = np.select(
        [np.isnan(days), days < 0, days < SOON_DAYS],
        ["unknown", "blocked", "conditional"],
        "ready",
    )
    notes = [
        f"{CLOCK_WORDS[word]} · {n} service{'' if n == 1 else 's'}"
        for word, n in zip(band, table["services_n"], strict=True)
    ]
    drawn = table[["label"]].assign(
        point=table["days"],
        lo=table["days"].clip(upper=0),
        hi=table["days"].clip(lower=0),
        band=band,
        note=notes,
    )
    return intervals(
        drawn,
        ax=ax,
        title="Days to the end of life",
        xlabel="Days from the snapshot to the end of life (days, left of 0: past)",
        noun="components",
        threshold=0.0,
        empty="This snapshot holds no component with a known version.",
    )


def coverage_data(inventory: Inventory) -> DataFrame:
    """Return the frame behind `coverage`.

    Index ``source``; calls with a complete answer (``seen``), a partial one (``in part``),
    none (``not seen``), and calls never made (``not asked``) [count]; worst first.
    """
    calls = inventory["coverage"]
    of = {status: seen for seen, statuses in SEEN.items() for status in statuses}
    seen = calls["status"].astype("str").map(of).fillna("not seen")
    counts = pd.crosstab(calls["source"].astype("str"), seen)
    table = counts.reindex(columns=list(SEEN)).fillna(0).astype("int64")
    table = table.rename_axis(index="source", columns=None)
    share = table["seen"] / table.sum(axis=1)
    table = table.assign(share=share).sort_values(["share", "source"])
    return table.drop(columns="share")


@figure(inventory="The fleet.")
def coverage(inventory: Inventory, *, ax: Axes | None = None) -> Axes:
    """Draw the outcome of the calls to each source."""
    table = coverage_data(inventory)
    title = "Coverage per source"
    if table.empty:
        return message(ax, title, "No coverage was recorded: it is unknown.")
    shares = 100 * table.div(table.sum(axis=1), axis=0)
    ax = named_rows(ax, table.index, len(table))
    ax.set_xlim(0, 100)
    middles = stack(ax, shares)
    box = {"facecolor": PAPER, "edgecolor": "none", "boxstyle": "round,pad=0.2"}
    # only a part that is wide enough shows its count
    for part, y in np.argwhere(shares.to_numpy().T >= WRITABLE):
        n = str(table.iloc[y, part])
        ax.text(middles[part, y], y, n, ha="center", va="center", fontsize=8.5, bbox=box)
    ax.set_title(title, pad=28)
    calls = counted(table.to_numpy().sum(), "call")
    ax.set_xlabel(f"Calls by outcome (% of the calls of the source); n = {calls}")
    return ax


def history_data(labels: DataFrame) -> DataFrame:
    """Return the frame behind `history`.

    Index quarter; services per band: ready, conditional, blocked, unknown [count].
    """
    bands = labels.map(lambda label: band_of(label).word, na_action="ignore")
    counts = {quarter: bands[quarter].value_counts() for quarter in bands}
    return DataFrame(counts).reindex(list(BANDS)).fillna(0).astype("int64").T


@figure(
    labels="One column per quarter, one row per service; NA where the service is absent."
)
def history(labels: DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how many services had each kind of label, quarter by quarter."""
    table = history_data(labels)
    title = "Labels by quarter"
    if not table.to_numpy().any():
        return message(ax, title, "No quarter holds a service.")
    ax = named_rows(ax, table.index, len(table))
    symbols = [f"{band.symbol} {word}" for word, band in BANDS.items()]
    stack(ax, table.set_axis(symbols, axis=1))
    counts = table.sum(axis=1)
    ax.set_xlim(0, 1.02 * counts.max())
    for y, n in enumerate(counts):
        note(ax, y, f"n = {n}", MUTED)
    ax.set_title(title, pad=28)
    services = counted(len(labels), "service")
    ax.set_xlabel(f"Services (count); n = {services} in {counted(len(table), 'quarter')}")
    return ax
