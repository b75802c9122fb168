"""Figures per service: readiness, what next, ranks, changes since the last quarter, targets."""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pandas import DataFrame

from assess.errors import counted
from assess.figures.rows import (
    change,
    intervals,
    message,
    named_rows,
    note,
    per_service,
    points,
)
from assess.figures.style import (
    ACCENT,
    BANDS,
    INK,
    MUTED,
    ROWS_SHOWN,
    band_of,
    figure,
    short,
)
from assess.frames import surely

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from assess.score.result import Result
    from assess.score.what_next import WhatNext

RANKS_SHOWN = 12
# shares from which a cell is coloured, shows its number, and needs light text [percent]
COLOURED = 1
NUMBERED = 5
DARK = 68
LIGHT = "#fefefe"  # not the white of the paper, which turns dark on a dark page
SYMBOLS = {"fits": "●", "after fixes": "■", "no": "✖", "unknown": "◆"}
LEFT = 0.2  # of a mark from the middle of its cell, so that the code has room
NAME_LENGTH = 28  # of a service, where a count of others stands behind it
NO_ROOM = 10  # letters of a code; a longer one takes two lines
TARGETS_TITLE = "Where each service could run, and the first thing in the way"


def readiness_data(result: Result) -> DataFrame:
    """Return the frame behind `readiness`.

    ``service_id, label, point, lo, hi`` [points 0-100], ``band`` (ready: ``lo`` reaches the
    threshold of the policy and every gate passes; blocked: HOLD or NEVER; unknown: not
    decidable; else conditional) and ``note``; best first by ``lo``.
    """
    table = per_service(result.frame, "readiness")
    gates = result.frame["label_gates"].astype(object).reset_index(drop=True)
    is_gated = gates.notna()
    is_reached = surely(table["lo"] >= _threshold(result))
    ungated = np.select(
        [table["lo"].isna(), is_reached], ["unknown", "ready"], "conditional"
    )
    gated = gates.map(lambda label: band_of(label).word)
    table["band"] = gated.where(is_gated, ungated).astype("str")
    table["note"] = ("gate: " + gates).where(is_gated, table["band"])
    return table.sort_values(
        ["lo", "point", "service_id"], ascending=[False, False, True]
    ).reset_index(drop=True)


def _threshold(result: Result) -> float:
    return float(result.policy["what_next"]["ready_points"])


@figure(result="A readiness result.", services="Only these.")
def readiness(
    result: Result, *, ax: Axes | None = None, services: list[str] | None = None
) -> Axes:
    """Draw the readiness of each service, with its interval and the threshold of the policy."""
    table = readiness_data(result)
    if services is not None:
        table = table[table["service_id"].isin(services)]
    return intervals(
        table,
        ax=ax,
        title="Readiness per service",
        xlabel="Readiness (0–100 points, all unknowns failed to all unknowns passed)",
        noun="services",
        limits=(0, 100),
        threshold=_threshold(result),
    )


def what_next_data(result: Result) -> DataFrame:
    """Return the frame behind `what_next`.

    ``service_id, label, p_top, p_top_neutral, p_top_cleared`` [share 0-1], ``band``; candidates
    only, in the order of the result. Services that run in containers already do not compete.
    ``p_top_cleared`` is that of services whose open gates can be cleared, else NA.
    """
    frame = result.frame.reset_index()
    competes = frame["p_top"].notna() | frame["p_top_neutral"].notna()
    chances = ["p_top", "p_top_neutral", "p_top_cleared"]
    table = frame.loc[competes, ["service_id", "label", *chances]]
    # without an open gate nothing is to be cleared, and NEVER is not cleared by work
    is_open = table["p_top_cleared"].gt(table["p_top"]) & table["label"].ne("NEVER")
    table["p_top_cleared"] = table["p_top_cleared"].where(surely(is_open))
    table["band"] = [band_of(label).word for label in table["label"]]
    return table.reset_index(drop=True)


@figure(result="A what-next result.")
def what_next(result: WhatNext, *, ax: Axes | None = None) -> Axes:
    """Draw how often each candidate is in the top k: worst case, neutral, with gates cleared."""
    table = what_next_data(result)
    settings = result.policy["what_next"]
    title = f"How often in the top {result.k}"
    if table.empty:
        return message(ax, title, "No service competes: none is outside of containers.")
    shown = table.head(ROWS_SHOWN)
    ax = named_rows(ax, shown["service_id"], len(table))
    ax.set_xlim(0, 100)
    _dumbbells(ax, shown)
    for y, row in enumerate(shown.itertuples()):
        note(ax, y, f"{BANDS[row.band].symbol} {row.label}", BANDS[row.band].ink)
    thresholds = [100 * settings[key] for key in ("pilot_p", "move_p")]
    for value in thresholds:
        ax.axvline(value, color=INK, linestyle=":", linewidth=1, zorder=1)
    ticks = sorted({0, 100, *thresholds})
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_title(title)
    ax.set_xlabel(
        f"Share of all weightings of the criteria (%); n = {counted(len(table), 'candidate')}\n"
        "filled: worst case, all unknowns count against a service; hollow: neutral\n"
        "diamond: worst case, if the service's own open gates were cleared"
    )
    return ax


def _dumbbells(ax: Axes, shown: DataFrame) -> None:
    """Draw both cases, the line that better evidence would shorten, and cleared gates."""
    y = np.arange(len(shown))
    worst, neutral, cleared = (
        100 * shown[name].to_numpy(float)
        for name in ("p_top", "p_top_neutral", "p_top_cleared")
    )
    both = np.isfinite(worst) & np.isfinite(neutral)
    ax.hlines(y[both], worst[both], neutral[both], colors=MUTED, alpha=0.38, linewidth=5)
    points(ax, neutral, y, colour=ACCENT, hollow=True, of="neutral")
    points(ax, worst, y, colour=ACCENT, of="worst")
    points(ax, cleared, y, colour=MUTED, marker="D", hollow=True, of="cleared")


def acceptability_data(result: Result) -> DataFrame:
    """Return the frame behind `acceptability`.

    Index ``service_id``, in the result's own order; one column per rank from 1 on, the share
    of all weightings in which the service takes it [share 0-1]. Only services that compete.
    """
    tidy = result.details["acceptability"].astype({"probability": float})
    table = tidy.pivot(index="service_id", columns="rank", values="probability")
    table = table.reindex([name for name in result.frame.index if name in table.index])
    return table.loc[:, [rank for rank in table if rank <= RANKS_SHOWN]]


def _colours() -> Any:
    """Return a colour map in which rare is pale."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    share = np.linspace(0, 1, 101)[:, None]
    colours = colormaps["cividis_r"](share[:, 0])[:, :3]
    return ListedColormap(1 - (1 - colours) * np.sqrt(share))


@figure(result="A what-next result.")
def acceptability(result: Result, *, ax: Axes | None = None) -> Axes:
    """Draw how often each candidate takes each rank, in the worst case."""
    table = acceptability_data(result)
    title = "Rank in how many weightings"
    if table.empty:
        empty = "No service competes: each has an open gate or runs in containers."
        return message(ax, title, empty)
    # in a large fleet most candidates share their chance among many ranks
    drawn = table[(100 * table >= COLOURED).any(axis=1)].head(ROWS_SHOWN)
    if drawn.empty:
        rare = f"No candidate has one of the first {RANKS_SHOWN} ranks in {COLOURED}% of the weightings."
        return message(ax, title, rare)
    shown = 100 * drawn.to_numpy()
    ax = named_rows(ax, drawn.index, len(table))
    edges = [np.arange(n + 1) - 0.5 for n in shown.shape]
    ranks = [int(rank) for rank in table]
    seen = np.ma.masked_less(shown, COLOURED)
    columns = edges[1] + ranks[0]
    ax.pcolor(columns, edges[0], seen, cmap=_colours(), vmin=0, vmax=100)
    for y, x in np.argwhere(shown >= NUMBERED):
        ink = LIGHT if shown[y, x] >= DARK else "black"
        ax.text(ranks[x], y, f"{shown[y, x]:.0f}", color=ink, ha="center", va="center")
    ax.set_xticks(ranks)
    ax.grid(visible=False)
    ax.set_title(title)
    ax.set_xlabel(
        f"Rank (1 is first, {ranks[-1]} the last shown); n = {counted(len(table), 'candidate')}\n"
        f"number: share of all weightings of the criteria (%), from {NUMBERED} on"
    )
    return ax


def quarter_change_data(result: Result, earlier: Result) -> DataFrame:
    """Return the frame behind `quarter_change`.

    Parameters
    ----------
    result : Result
        A readiness result.
    earlier : Result
        The same of an earlier snapshot.

    Returns
    -------
    DataFrame
        ``service_id, before, after, change`` [points 0-100] and ``state`` (up, down, same, new,
        gone, unknown); largest change first.
    """
    both = DataFrame(
        {"after": result.frame["readiness"], "before": earlier.frame["readiness"]}
    )
    both = both.astype("Float64").rename_axis("service_id")
    both["change"] = both["after"] - both["before"]
    known = both["change"].round(1).fillna(0)
    both["state"] = np.select([known > 0, known < 0], ["up", "down"], "same")
    both.loc[both["change"].isna(), "state"] = "unknown"
    both.loc[~both.index.isin(earlier.frame.index), "state"] = "new"
    both.loc[~both.index.isin(result.frame.index), "state"] = "gone"
    table = both.reset_index()
    size = table["change"].abs().fillna(np.inf)
    largest = np.lexsort([table["service_id"], -size])
    shown = ["service_id", "before", "after", "change", "state"]
    return table.loc[largest, shown].reset_index(drop=True)


@figure(result="A readiness result.", earlier="The same of an earlier snapshot.")
def quarter_change(result: Result, earlier: Result, *, ax: Axes | None = None) -> Axes:
    """Draw the readiness of each service that changed, before and now."""
    table = quarter_change_data(result, earlier)
    was, now = result.provenance.since(earlier.provenance)
    title = f"Readiness, {was} to {now}"
    moved = table[table["state"] != "same"]
    if moved.empty:
        return message(ax, title, f"No service changed from {was} to {now}.")
    shown = moved.head(ROWS_SHOWN)
    ax = named_rows(ax, shown["service_id"], len(moved))
    ax.set_xlim(0, 100)
    _arrows(ax, shown)
    for y, row in enumerate(shown.itertuples()):
        note(ax, y, change(row.change) if pd.notna(row.change) else row.state, INK)
    ax.set_title(title)
    total = f"n = {counted(len(table), 'service')}, {len(table) - len(moved)} unchanged"
    ax.set_xlabel(f"Readiness (0–100 points): hollow {was}, filled {now}; {total}")
    return ax


def _arrows(ax: Axes, shown: DataFrame) -> None:
    y = np.arange(len(shown))
    before, after = (shown[name].to_numpy(float) for name in ("before", "after"))
    up = {"up": "ready", "down": "blocked"}
    colours = [BANDS[up.get(state, "unknown")].colour for state in shown["state"]]
    both = np.isfinite(before) & np.isfinite(after)
    kept = list(compress(colours, both))
    ax.hlines(y[both], before[both], after[both], colors=kept, linewidth=2.4)
    points(ax, before, y, colour=colours, hollow=True, of="before")
    points(ax, after, y, colour=colours, of="after")


def targets_data(result: Result) -> DataFrame:
    """Return the frame behind `targets`.

    ``service_id, target, verdict, band, code`` (gate or refusal that comes first among what is
    in the way), ``dominated``; services first for which targets differ, then by name.
    """
    columns = ["service_id", "target", "verdict", "blockers", "dominated"]
    table = result.frame.reset_index()[columns]
    table["band"] = table["verdict"].map(lambda verdict: band_of(verdict).word)
    # "G1 it is …" names a gate, "host-network: it uses …" a refusal
    first = table["blockers"].str.extract(r"^(G\d+(?= )|[\w-]+(?=: ))")[0]
    table["code"] = first.fillna("")
    away = table["target"].ne("stay")
    looks = table["verdict"] + table["code"]
    apart = looks.where(away).groupby(table["service_id"]).transform("nunique")
    order = table.assign(same=apart.le(1), at=range(len(table)))
    order = order.sort_values(["same", "service_id", "at"])
    return order.drop(columns=["same", "at", "blockers"]).reset_index(drop=True)


@figure(result="A targets result.")
def targets(result: Result, *, ax: Axes | None = None) -> Axes:
    """Draw services by targets: the verdict as a shape, and the first blocker.

    A mark that is not filled fits, but another target is at least as good on every count. Where
    there are more services than rows, those with the same marks share one.
    """
    table = targets_data(result)
    if table.empty:
        return message(ax, TARGETS_TITLE, "This snapshot holds no service.")
    names = table["service_id"].drop_duplicates()
    alike = DataFrame({"service_id": names, "label": names, "size": 1})
    if len(names) > ROWS_SHOWN:
        alike = _services_with_same_marks(table)
    shown = alike.head(ROWS_SHOWN)
    columns = list(table["target"].drop_duplicates())
    cells = table.merge(shown.assign(y=range(len(shown))), on="service_id")
    marks = cells.assign(
        x=cells["target"].map(columns.index),
        # what fits and is beaten by another target is hollow
        is_hollow=cells["verdict"].eq("fits") & cells["dominated"],
    )
    rest = alike["size"].iloc[len(shown) :].sum()
    ax = named_rows(ax, shown["label"], len(shown) + rest)
    ax.set_xlim(-0.5, len(columns) - 0.5)
    for (name, is_hollow), same in marks.groupby(["band", "is_hollow"]):
        band = BANDS[name]
        face = "none" if is_hollow else band.colour
        place = (same["x"] - LEFT, same["y"])
        ax.scatter(*place, marker=band.marker, s=46, c=face, edgecolors=band.ink)
    for cell in marks[marks["code"].ne("")].itertuples():
        is_long = len(cell.code) > NO_ROOM
        code = cell.code.replace("-", "-\n", 1) if is_long else cell.code
        x = cell.x - LEFT + 0.12
        ax.text(x, cell.y, code, color=INK, va="center", fontsize=6.5)
    ticks = [x - LEFT for x in range(len(columns))]
    ax.set_xticks(ticks, columns, rotation=25, ha="right")
    ax.set_title(TARGETS_TITLE)
    legend = "   ".join(f"{symbol} {word}" for word, symbol in SYMBOLS.items())
    beaten = "○ fits (another target is at least as good)"
    ax.set_xlabel(f"{legend}   {beaten}\nn = {counted(len(names), 'service')}")
    return ax


def _services_with_same_marks(table: DataFrame) -> DataFrame:
    """Return the first of all services with the same marks, and a label that counts the others."""
    looks = (
        table["verdict"] + " " + table["code"] + " " + table["dominated"].astype("str")
    )
    marks = looks.groupby(table["service_id"], sort=False).agg("|".join)
    groups = marks.reset_index(name="marks").groupby("marks", sort=False)["service_id"]
    found = groups.agg(service_id="first", size="size")
    others = found["size"] - 1
    more = others.map(" and {} more".format).mask(others.eq(0), "")
    names = found["service_id"].map(lambda name: short(name, NAME_LENGTH))
    return found.assign(label=names + more).reset_index(drop=True)
