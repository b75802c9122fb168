"""Figures per service: readiness, what next, and what changed since the last quarter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from assess.figures.rows import canvas, intervals, message, name_rows, note, points
from assess.figures.style import (
    ACCENT,
    BANDS,
    INK,
    MUTED,
    PAPER,
    ROWS_SHOWN,
    band_of,
    style,
)
from assess.words import share

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from assess.score.result import Result


def level(result: Result) -> str:
    """Name the interval of a result.

    Parameters
    ----------
    result : Result
        Any result; its policy holds the level.

    Returns
    -------
    str
        Such as ``90% interval``.
    """
    policy = result.provenance.policy
    if not policy:
        return "interval"
    return f"{share(policy['simulation']['level'])} interval"


def readiness_data(result: Result) -> pd.DataFrame:
    """Return the frame behind `readiness`.

    Parameters
    ----------
    result : Result
        A readiness result.

    Returns
    -------
    DataFrame
        ``service_id, label, point, lo, hi`` [points 0-100], ``band`` (ready: ``lo`` reaches the
        threshold of the policy and every gate passes; blocked: HOLD or NEVER; unknown: not
        decidable; else conditional) and ``note``; best first by ``lo``.
    """
    frame = result.frame.reset_index()
    threshold = _threshold(result)
    gated = frame["label_gates"].map(
        lambda label: band_of(label).word, na_action="ignore"
    )
    numbers = {n: frame[f"readiness{end}"] for n, end in _ENDS.items()}
    table = pd.DataFrame(
        {"service_id": frame["service_id"], "label": frame["service_id"]}
    )
    table = table.assign(
        **{name: column.astype("Float64") for name, column in numbers.items()}
    )
    reached = (table["lo"] >= threshold).fillna(False).to_numpy(dtype=bool)
    free = np.where(
        table["lo"].isna(), "unknown", np.where(reached, "ready", "conditional")
    )
    table["band"] = gated.astype(object).where(gated.notna(), free).astype("str")
    table["note"] = (
        frame["label_gates"].astype(object).where(gated.notna(), table["band"])
    )
    return table.sort_values(
        ["lo", "point", "service_id"], ascending=[False, False, True], kind="stable"
    ).reset_index(drop=True)


_ENDS = {"point": "", "lo": "_lo", "hi": "_hi"}


def _threshold(result: Result) -> float:
    policy = result.provenance.policy
    return float(policy["what_next"]["ready_points"]) if policy else np.inf


def readiness(
    result: Result, *, ax: Axes | None = None, services: list[str] | None = None
) -> Axes:
    """Draw the readiness of each service, with its interval and the threshold of the policy.

    Parameters
    ----------
    result : Result
        A readiness result.
    ax : Axes, optional
        Axes to draw on; default: a new figure.
    services : list of str, optional
        Only these.

    Returns
    -------
    Axes
        The axes.
    """
    table = readiness_data(result)
    if services is not None:
        table = table[table["service_id"].isin(services)]
    title = "Readiness per service"
    if table.empty:
        return message(ax, title, "This snapshot holds no service.")
    threshold = _threshold(result)
    return intervals(
        table,
        ax=ax,
        title=title,
        xlabel="Readiness (0–100 points, all unknowns failed to all unknowns passed)",
        noun="services",
        limits=(0, 100),
        threshold=threshold if np.isfinite(threshold) else None,
    )


def what_next_data(result: Result) -> pd.DataFrame:
    """Return the frame behind `what_next`.

    Parameters
    ----------
    result : Result
        A what-next result.

    Returns
    -------
    DataFrame
        ``service_id, label, p_top, p_top_neutral`` [share 0-1], ``band``; candidates only, in the
        order of the result. Services that run in containers already do not compete.
    """
    frame = result.frame.reset_index()
    competes = frame["p_top"].notna() | frame["p_top_neutral"].notna()
    table = frame.loc[competes, ["service_id", "label", "p_top", "p_top_neutral"]]
    table["band"] = [band_of(label).word for label in table["label"]]
    return table.reset_index(drop=True)


def what_next(result: Result, *, ax: Axes | None = None) -> Axes:
    """Draw how often each candidate is in the top k: worst case and neutral case.

    Parameters
    ----------
    result : Result
        A what-next result.
    ax : Axes, optional
        Axes to draw on; default: a new figure.

    Returns
    -------
    Axes
        The axes.
    """
    table = what_next_data(result)
    policy = result.provenance.policy
    k = policy["what_next"]["k"] if policy else "k"
    title = f"How often in the top {k}"
    if table.empty:
        return message(ax, title, "No service competes: all of them run in containers.")
    shown = table.head(ROWS_SHOWN)
    with style():
        ax = canvas(ax, len(shown) + (len(table) > len(shown)))
        name_rows(ax, shown["service_id"], len(table))
        ax.set_xlim(0, 100)
        _dumbbells(ax, shown)
        for y, row in enumerate(shown.itertuples()):
            note(ax, y, f"{BANDS[row.band].symbol} {row.label}", BANDS[row.band].ink)
        bars = (
            [100 * policy["what_next"][key] for key in ("pilot_p", "move_p")]
            if policy
            else []
        )
        for value in bars:
            ax.axvline(value, color=INK, linestyle=":", linewidth=1, zorder=1)
        ax.set_xticks(
            sorted({0, 100, *bars}), [f"{x:g}" for x in sorted({0, 100, *bars})]
        )
        ax.set_title(title, loc="left")
        ax.set_xlabel(
            f"Share of all weightings of the criteria (%); n = {len(table)} candidates\n"
            "filled: worst case, all unknowns count against a service; hollow: neutral"
        )
    return ax


def _dumbbells(ax: Axes, shown: pd.DataFrame) -> None:
    """Draw both cases and the line between them, which better evidence would close."""
    y = np.arange(len(shown))
    worst, neutral = (
        100 * shown[name].to_numpy(dtype=float, na_value=np.nan)
        for name in ("p_top", "p_top_neutral")
    )
    both = np.isfinite(worst) & np.isfinite(neutral)
    ax.hlines(y[both], worst[both], neutral[both], colors=MUTED, alpha=0.38, linewidth=5)
    points(ax, neutral, y, colour=ACCENT, hollow=True, of="neutral")
    points(ax, worst, y, colour=ACCENT, of="worst")


def quarter_change_data(result: Result, earlier: Result) -> pd.DataFrame:
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
    both = pd.DataFrame(
        {"after": result.frame["readiness"], "before": earlier.frame["readiness"]}
    )
    both = both.astype("Float64").rename_axis("service_id")
    both["change"] = both["after"] - both["before"]
    known = both["change"].round(1).fillna(0)
    both["state"] = np.select([known > 0, known < 0], ["up", "down"], "same")
    both.loc[both["change"].isna(), "state"] = "unknown"
    both.loc[~both.index.isin(earlier.frame.index), "state"] = "new"
    both.loc[~both.index.isin(result.frame.index), "state"] = "gone"
    table = both.reset_index().assign(size=both["change"].abs().fillna(np.inf).to_numpy())
    table = table.sort_values(
        ["size", "service_id"], ascending=[False, True], kind="stable"
    )
    return table[["service_id", "before", "after", "change", "state"]].reset_index(
        drop=True
    )


def quarter_change(result: Result, earlier: Result, *, ax: Axes | None = None) -> Axes:
    """Draw the readiness of each service that changed, before and now.

    Parameters
    ----------
    result : Result
        A readiness result.
    earlier : Result
        The same of an earlier snapshot.
    ax : Axes, optional
        Axes to draw on; default: a new figure.

    Returns
    -------
    Axes
        The axes.
    """
    table = quarter_change_data(result, earlier)
    was = earlier.provenance.quarter
    now = result.provenance.quarter
    title = f"Readiness, {was} to {now}"
    moved = table[table["state"] != "same"]
    if moved.empty:
        return message(ax, title, f"No service changed from {was} to {now}.")
    shown = moved.head(ROWS_SHOWN)
    with style():
        ax = canvas(ax, len(shown) + (len(moved) > len(shown)))
        name_rows(ax, shown["service_id"], len(moved))
        ax.set_xlim(0, 100)
        _arrows(ax, shown)
        for y, row in enumerate(shown.itertuples()):
            known = pd.notna(row.change)
            text = f"{row.change:+.1f}".replace("-", "−") if known else row.state
            note(ax, y, text, INK)
        ax.set_title(title, loc="left")
        counted = f"n = {len(table)} services, {len(table) - len(moved)} unchanged"
        ax.set_xlabel(f"Readiness (0–100 points): hollow {was}, filled {now}; {counted}")
    return ax


def _arrows(ax: Axes, shown: pd.DataFrame) -> None:
    y = np.arange(len(shown))
    before, after = (
        shown[name].to_numpy(dtype=float, na_value=np.nan) for name in ("before", "after")
    )
    up = {"up": "ready", "down": "blocked"}
    colours = [BANDS[up.get(state, "unknown")].colour for state in shown["state"]]
    both = np.isfinite(before) & np.isfinite(after)
    kept = [c for c, drawn in zip(colours, both, strict=True) if drawn]
    ax.hlines(y[both], before[both], after[both], colors=kept, linewidth=2.4)
    points(ax, before, y, colour=colours, hollow=True, of="before")
    points(ax, after, y, colour=colours, of="after")


def history_data(labels: pd.DataFrame) -> pd.DataFrame:
    """Return the frame behind `history`.

    Parameters
    ----------
    labels : DataFrame
        One column per quarter, one row per service; NA where the service is absent.

    Returns
    -------
    DataFrame
        Index quarter; services per band: ready, conditional, blocked, unknown [count].
    """
    bands = labels.map(lambda label: band_of(label).word, na_action="ignore")
    counts = {quarter: bands[quarter].value_counts() for quarter in bands}
    return pd.DataFrame(counts).reindex(list(BANDS)).fillna(0).astype("int64").T


def history(labels: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how many services had each kind of label, quarter by quarter.

    Parameters
    ----------
    labels : DataFrame
        One column per quarter, one row per service; NA where the service is absent.
    ax : Axes, optional
        Axes to draw on; default: a new figure.

    Returns
    -------
    Axes
        The axes.
    """
    table = history_data(labels)
    title = "Labels by quarter"
    if not table.to_numpy().any():
        return message(ax, title, "No quarter holds a service.")
    hatches = {"ready": "", "conditional": "\\\\", "blocked": "xx", "unknown": "//"}
    with style():
        ax = canvas(ax, len(table))
        name_rows(ax, pd.Series(table.index), len(table))
        start = np.zeros(len(table))
        for word, band in BANDS.items():
            width = table[word].to_numpy()
            is_open = word == "unknown"
            ax.barh(
                range(len(table)),
                width,
                0.62,
                start,
                hatch=hatches[word],
                linewidth=0.8,
                color="none" if is_open else band.colour,
                edgecolor=MUTED if is_open else PAPER,
                label=f"{band.symbol} {word}",
            )
            start += width
        ax.set_xlim(0, 1.02 * start.max())
        for y, n in enumerate(start):
            note(ax, y, f"n = {n:.0f}", MUTED)
        ax.set_title(title, loc="left", pad=28)
        ax.set_xlabel(
            f"Services (count); n = {len(labels)} services in {len(table)} quarters"
        )
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderaxespad=0.2)
    return ax
