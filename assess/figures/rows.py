"""Named rows, each an interval and a point: the shape of nearly every figure."""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

from assess.figures.style import (
    ACCENT,
    BANDS,
    HATCH,
    INK,
    MUTED,
    PAPER,
    ROWS_SHOWN,
    short,
)
from assess.words import UNKNOWN, number

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.axes import Axes


NUMBER_PAD = 20  # below a title, for the number of a threshold [points]
TICKS = 100  # resolution of the marks for rows that are only counted
HATCHES = ("", "\\\\", "xx", "//")  # of the bands, for readers who see no colour
ENDS = {"point": "", "lo": "_lo", "hi": "_hi"}


def ends(frame: DataFrame, name: str, scale: float = 1.0) -> dict[str, Series]:
    """Return ``point, lo, hi`` from ``name, name_lo, name_hi``, times ``scale``."""
    return {
        end: scale * frame[name + suffix].astype("Float64")
        for end, suffix in ENDS.items()
    }


def per_service(frame: DataFrame, name: str, scale: float = 1.0) -> DataFrame:
    """Return ``service_id, label, point, lo, hi`` of a measure of every service."""
    frame = frame.rename_axis("service_id").reset_index()
    table = frame[["service_id"]].assign(label=frame["service_id"])
    return table.assign(**ends(frame, name, scale))


def worst_first(table: DataFrame, *by: str) -> DataFrame:
    """Sort by size; an unknown size counts as its upper end, or else as the largest."""
    size = table["point"].fillna(table["hi"]).fillna(np.inf)
    is_rising = [False, False, *[True] * len(by)]
    table = table.assign(size=size).sort_values(
        ["size", "hi", *by], ascending=is_rising, ignore_index=True
    )
    return table.drop(columns="size")


def count_note(n: object, noun: str) -> str:
    """Write a count in words; nothing for zero and for unknown."""
    return "" if pd.isna(n) or not n else f"{n:.0f} {noun}"


def change(value: float) -> str:
    """Write a change with its sign, from 10 on without decimals."""
    digits = 1 if abs(value) < 10 else 0
    return number(value, digits, signed=True).replace("-", "−")


def canvas(ax: Axes | None, rows: int) -> Axes:
    """Return the axes of the caller, or those of a new figure with room for the rows."""
    import matplotlib.pyplot as plt

    if ax is not None:
        return ax
    width, _ = plt.rcParams["figure.figsize"]
    return plt.subplots(figsize=(width, 1.25 + 0.27 * max(rows, 2)))[1]


def message(ax: Axes | None, title: str, text: str) -> Axes:
    """Write the reason why there is nothing to draw."""
    ax = canvas(ax, 2)
    ax.set(title=title, yticks=[])
    ax.set_axis_off()
    ax.text(0, 0.5, text, transform=ax.transAxes, color=MUTED, va="center", wrap=True)
    return ax


def intervals(  # noqa: PLR0913 - one call per figure names all that differs
    frame: DataFrame,
    *,
    ax: Axes | None,
    title: str,
    xlabel: str,
    noun: str,
    total: int | None = None,
    limits: tuple[float, float] | None = None,
    threshold: float | None = None,
    mark: str = "",
    empty: str = "This snapshot holds no service.",
) -> Axes:
    """Draw a row per line of a frame: interval, point, note; NA is drawn as unknown, not as 0."""
    if frame.empty:
        return message(ax, title, empty)
    shown = frame.head(ROWS_SHOWN).reset_index(drop=True)
    ax = named_rows(ax, shown["label"], len(frame))
    values = shown[["lo", "point", "hi"]].to_numpy(float)
    ax.set_xlim(*(limits or _reach(values)))
    ax.locator_params("x", nbins=7)
    _draw_intervals(ax, values)
    _draw_rest(ax, len(shown), frame["point"].iloc[len(shown) :])
    bands = shown.get("band", Series("", index=shown.index))
    _draw_points(ax, values[:, 1], bands)
    given = shown.get("note", bands)
    notes = given.mask(given.eq("") & shown["point"].isna(), UNKNOWN)
    for y, (text, band) in enumerate(zip(notes, bands, strict=True)):
        note(ax, y, str(text), BANDS[band].ink if band in BANDS else MUTED)
    if threshold is not None:
        ax.axvline(threshold, color=INK, linestyle=":", linewidth=1.2, zorder=1)
        named = mark or f"{threshold:g}"
        top = (threshold, 1.005)
        at = ("data", "axes fraction")
        ax.annotate(named, top, xycoords=at, ha="center", va="bottom", fontsize=9)
    ax.set_title(title, pad=None if threshold is None else NUMBER_PAD)
    n = len(frame) if total is None else total
    nouns = noun.removesuffix("s") if n == 1 else noun
    ax.set_xlabel(f"{xlabel}; n = {n} {nouns}".rstrip())
    return ax


def named_rows(ax: Axes | None, names: Iterable[object], total: int) -> Axes:
    """Return axes with a name per row; a last row counts the rows that do not fit."""
    labels = [short(name) for name in names]
    rest = total - len(labels)
    if rest > 0:
        labels.append(f"and {rest} more")
    ax = canvas(ax, len(labels))
    ax.set_yticks(range(len(labels)), labels, parse_math=False)
    ax.set_ylim(len(labels) - 0.4, -0.6)
    if rest > 0:
        ax.get_yticklabels()[-1].set(color=MUTED, style="italic")
    return ax


def stack(ax: Axes, widths: DataFrame) -> np.ndarray:
    """Draw a bar per row, a part per column in the look of the bands; return the middle of each."""
    start = np.zeros(len(widths))
    middles = []
    for name, band, hatch in zip(widths, BANDS.values(), HATCHES, strict=True):
        width = widths[name].to_numpy()
        is_unknown = band.word == "unknown"
        ax.barh(
            range(len(widths)),
            width,
            0.62,
            start,
            color="none" if is_unknown else band.colour,
            edgecolor=MUTED if is_unknown else PAPER,
            hatch=hatch,
            linewidth=0.8,
            label=name,
        )
        middles.append(start + width / 2)
        start += width
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderaxespad=0.2)
    return np.array(middles)


def _reach(values: np.ndarray) -> tuple[float, float]:
    """Return the ends of an axis that starts at zero and holds every interval."""
    known = values[np.isfinite(values)]
    top = known.max() if len(known) else 1.0
    low = known.min() if len(known) else 0.0
    room = 0.03 * (max(top, 0.0) - min(low, 0.0))  # half of a point
    return low - room if low < 0 else 0.0, max(top + room, 1e-9)


def _draw_rest(ax: Axes, y: int, rest: Series) -> None:
    """Mark the points that have no row; one tick stands for all points that it covers."""
    start, end = ax.get_xlim()
    x = rest.to_numpy(float)
    step = (end - start) / TICKS
    inside = x[(x >= start) & (x <= end)]
    x = step * np.unique(np.round(inside / step))
    ax.vlines(x, y - 0.3, y + 0.3, colors=MUTED, alpha=0.5, linewidth=1)


def _draw_intervals(ax: Axes, values: np.ndarray) -> None:
    """Draw a thick line where all three numbers are known; hatch the unknown."""
    lo, point, hi = values.T
    y = np.arange(len(values))
    bounded = np.isfinite(lo) & np.isfinite(hi)
    pointed = np.isfinite(point)
    known = bounded & pointed
    ax.hlines(y[known], lo[known], hi[known], colors=MUTED, alpha=0.38, linewidth=7)
    start, end = ax.get_xlim()
    for row in y[~known]:
        left, right = (lo[row], hi[row]) if bounded[row] else (start, end)
        ax.barh(row, right - left, 0.5, left, fc="none", ec=HATCH, hatch="////")
    middle = (start + end) / 2
    box = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.5}
    for row in y[~pointed & ~bounded]:
        ax.text(middle, row, "unknown", color=MUTED, va="center", ha="center", bbox=box)


def _draw_points(ax: Axes, values: np.ndarray, bands: Series) -> None:
    for name in [*BANDS, ""]:
        y = np.flatnonzero(bands == name)
        band = BANDS.get(name)
        colour, marker = (band.colour, band.marker) if band else (ACCENT, "o")
        hollow = name == "unknown"
        points(ax, values[y], y, colour=colour, marker=marker, hollow=hollow, of=name)


def points(  # noqa: PLR0913 - one look, named by its parts
    ax: Axes,
    x: np.ndarray,
    y: np.ndarray,
    *,
    colour: str | list[str],
    marker: str = "o",
    hollow: bool = False,
    of: str = "",
) -> None:
    """Draw the points that are known; tests and `describe` find them by the name ``of``."""
    known = np.isfinite(x)
    if not known.any():
        return
    if isinstance(colour, list):
        colour = list(compress(colour, known))
    ax.scatter(
        x[known],
        y[known],
        s=58,
        marker=marker,
        zorder=3,
        clip_on=False,
        facecolor=PAPER if hollow else colour,
        edgecolor=colour if hollow else PAPER,
        linewidth=1.6 if hollow else 0.8,
        gid=f"points {of}".strip(),
    )


def note(ax: Axes, y: int, text: str, colour: str) -> None:
    """Write a note at the right of a row."""
    at = ("axes fraction", "data")
    ax.annotate(text, (1.015, y), xycoords=at, color=colour, va="center", fontsize=9)
