"""Figures of risk: blast radius, exposure, upgrade churn, clocks, coverage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from assess.figures.rows import canvas, intervals, message, name_rows
from assess.figures.services import level
from assess.figures.style import INK, MUTED, PAPER, ROWS_SHOWN, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from assess.inventory import Inventory
    from assess.score.result import Result

UNKNOWN_SHOWN = 5  # rows of a long figure that go to unknown values
KINDS = {"az": "zone", "base_image": "base image", "ext": "outside"}
_SHORTER = {
    r"@sha256:([0-9a-f]{8})[0-9a-f]+": r"@\1",
    r"^docker\.io/(library/)?": "",
    r"^ext:": "",
}


def _worst_first(table: pd.DataFrame, *by: str) -> pd.DataFrame:
    """Sort by size; an unknown size counts as its upper end, or else as the largest."""
    size = table["point"].fillna(table["hi"]).fillna(np.inf)
    table = table.assign(size=size).sort_values(
        ["size", "hi", *by], ascending=[False, False, *[True] * len(by)], kind="stable"
    )
    return table.drop(columns="size").reset_index(drop=True)


def _interval_columns(
    frame: pd.DataFrame, name: str, scale: float = 1.0
) -> dict[str, pd.Series]:
    ends = {"point": name, "lo": f"{name}_lo", "hi": f"{name}_hi"}
    return {end: frame[column].astype("Float64") * scale for end, column in ends.items()}


def _scale(table: pd.DataFrame) -> tuple[float, float]:
    """Return the ends of a percent axis, rounded up to the next 20."""
    top = table[["point", "hi"]].max(axis=None)
    return 0.0, 100.0 if pd.isna(top) else min(100.0, 20.0 * (top // 20 + 1))


def _count(n: object, noun: str) -> str:
    """Return a count in words; nothing for zero and for unknown."""
    if pd.isna(n) or not n:
        return ""
    return f"{n:.0f} {noun}"


def blast_radius_data(result: Result) -> pd.DataFrame:
    """Return the frame behind `blast_radius`.

    Parameters
    ----------
    result : Result
        A blast-radius result.

    Returns
    -------
    DataFrame
        ``element_kind, element, label, point, lo, hi`` [percent of the fleet's criticality],
        ``note``; worst first.
    """
    frame = result.frame.reset_index()
    kinds = frame["element_kind"].astype("str")
    names = frame["element"].astype("str").replace(_SHORTER, regex=True)
    label = kinds.replace(KINDS).str.cat(names, sep=" ")
    table = frame[["element_kind", "element"]].assign(
        label=label, **_interval_columns(frame, "impact", 100)
    )
    down = [_count(n, "down") for n in frame["services_down_n"]]
    frozen = [_count(n, "frozen") for n in frame["frozen_n"]]
    table["note"] = [
        " · ".join(filter(None, pair)) for pair in zip(down, frozen, strict=True)
    ]
    return _worst_first(table, "element_kind", "element")


def blast_radius(
    result: Result, *, ax: Axes | None = None, kinds: list[str] | None = None
) -> Axes:
    """Draw the impact of each element that fails, worst first.

    Parameters
    ----------
    result : Result
        A blast-radius result.
    ax : Axes, optional
        Axes to draw on; default: a new figure.
    kinds : list of str, optional
        Only elements of these kinds.

    Returns
    -------
    Axes
        The axes.
    """
    table = blast_radius_data(result)
    if kinds is not None:
        table = table[table["element_kind"].isin(kinds)]
    title = "Blast radius per element"
    if table.empty:
        return message(ax, title, "This snapshot holds no element that could fail.")
    label = "Blast radius (% of fleet criticality, lowest to highest)"
    return intervals(
        table, ax=ax, title=title, xlabel=label, noun="elements", limits=_scale(table)
    )


def blast_services_data(result: Result) -> pd.DataFrame:
    """Return the frame behind `blast_services`.

    Parameters
    ----------
    result : Result
        A blast-radius result.

    Returns
    -------
    DataFrame
        ``service_id, label, point, lo, hi`` [percent of the fleet's criticality], ``band`` (unknown
        where no dependency was observed) and ``note``; worst first.
    """
    frame = result.details["services"].rename_axis("service_id").reset_index()
    table = pd.DataFrame(
        {"service_id": frame["service_id"], "label": frame["service_id"]}
    )
    table = table.assign(**_interval_columns(frame, "impact", 100))
    seen = frame["dependencies_observed"].astype("boolean").fillna(False)
    table["band"] = np.where(seen, "", "unknown")
    table["note"] = np.where(seen, "", "not observed")
    return _worst_first(table, "service_id")


def blast_services(result: Result, *, ax: Axes | None = None) -> Axes:
    """Draw the impact of each service that fails, worst first.

    Parameters
    ----------
    result : Result
        A blast-radius result.
    ax : Axes, optional
        Axes to draw on; default: a new figure.

    Returns
    -------
    Axes
        The axes.
    """
    table = blast_services_data(result)
    title = "Blast radius per service"
    if table.empty:
        return message(ax, title, "This snapshot holds no service.")
    label = "Blast radius (% of fleet criticality, lowest to highest)"
    limits = _scale(table)
    return intervals(
        table, ax=ax, title=title, xlabel=label, noun="services", limits=limits
    )


def exposure_data(result: Result) -> pd.DataFrame:
    """Return the frame behind `exposure`.

    Parameters
    ----------
    result : Result
        A blast-radius result.

    Returns
    -------
    DataFrame
        ``service_id, label, point`` [count of elements whose failure takes the service down],
        ``hi`` the same; most exposed first, unknown before all.
    """
    frame = result.details["services"].rename_axis("service_id").reset_index()
    n = frame["exposure_n"].astype("Float64")
    table = pd.DataFrame(
        {"service_id": frame["service_id"], "label": frame["service_id"]}
    )
    return _worst_first(table.assign(point=n, hi=n), "service_id")


def exposure(result: Result, *, ax: Axes | None = None) -> Axes:
    """Draw the single points of failure of each service.

    Parameters
    ----------
    result : Result
        A blast-radius result.
    ax : Axes, optional
        Axes to draw on; default: a new figure.

    Returns
    -------
    Axes
        The axes.
    """
    table = exposure_data(result)
    title = "Single points of failure per service"
    if table.empty:
        return message(ax, title, "This snapshot holds no service.")
    label = "Elements that take the service down alone (count)"
    table["lo"] = 0 * table["point"]
    unknown = table[table["point"].isna()]
    # In a long figure, unknown services must not hide the others.
    if len(table) > ROWS_SHOWN and len(unknown) > UNKNOWN_SHOWN:
        label += f"; {len(unknown)} unknown"
        known = table[table["point"].notna()]
        table = pd.concat([unknown[:UNKNOWN_SHOWN], known, unknown[UNKNOWN_SHOWN:]])
    return intervals(table, ax=ax, title=title, xlabel=label, noun="services")


def upgrade_churn_data(result: Result) -> pd.DataFrame:
    """Return the frame behind `upgrade_churn`.

    Parameters
    ----------
    result : Result
        An upgrade-churn result.

    Returns
    -------
    DataFrame
        ``service_id, label, point, lo, hi`` [hours per year] and ``note``: changes up to the
        target that break something in use; most work first.
    """
    frame = result.frame.reset_index()
    table = pd.DataFrame(
        {"service_id": frame["service_id"], "label": frame["service_id"]}
    )
    table = table.assign(**_interval_columns(frame, "hours_per_year"))
    table["note"] = [_count(n, "breaking") for n in frame["breaking_n"]]
    return _worst_first(table, "service_id")


def upgrade_churn(result: Result, *, ax: Axes | None = None) -> Axes:
    """Draw the hours per year that each service spends on upgrades.

    Parameters
    ----------
    result : Result
        An upgrade-churn result.
    ax : Axes, optional
        Axes to draw on; default: a new figure.

    Returns
    -------
    Axes
        The axes.
    """
    table = upgrade_churn_data(result)
    title = "Upgrade churn per service"
    if table.empty:
        return message(ax, title, "This snapshot holds no service.")
    label = f"Upgrade churn (hours per year, {level(result)})"
    return intervals(table, ax=ax, title=title, xlabel=label, noun="services")


def clocks_data(result: Result) -> pd.DataFrame:
    """Return the frame behind `clocks`.

    Parameters
    ----------
    result : Result
        An upgrade-churn result.

    Returns
    -------
    DataFrame
        ``component, name, version, label, days`` [days to the end of life; below 0: past],
        ``services_n`` [count]; soonest first, after components without an announced end.
    """
    clocks = result.details["clocks"]
    line = ["component", "name", "version"]
    named = clocks.assign(**{c: clocks[c].astype("str").fillna("") for c in line})
    grouped = named.groupby(line, sort=True)
    table = grouped.agg(days=("days_to_eol", "min"), services_n=("service_id", "nunique"))
    table = table.reset_index().astype({"days": "Float64"})
    shown = table[line].assign(
        name=table["name"].replace(_SHORTER, regex=True),
        component=table["component"].replace(KINDS),
    )
    words = shown.to_numpy()
    table["label"] = [" ".join(filter(None, row)) for row in words]
    order = table.assign(days=table["days"].fillna(-np.inf)).sort_values(
        ["days", *line], kind="stable"
    )
    return table.loc[order.index].reset_index(drop=True)


def clocks(result: Result, *, ax: Axes | None = None) -> Axes:
    """Draw how long each component in use has support.

    Parameters
    ----------
    result : Result
        An upgrade-churn result.
    ax : Axes, optional
        Axes to draw on; default: a new figure.

    Returns
    -------
    Axes
        The axes.
    """
    table = clocks_data(result)
    title = "Days to the end of life"
    if table.empty:
        return message(
            ax, title, "This snapshot holds no component with a known version."
        )
    days = table["days"].to_numpy(dtype=float, na_value=np.nan)
    band = np.select(
        [np.isnan(days), days < 0, days < _SOON_DAYS],
        ["unknown", "blocked", "conditional"],
        "ready",
    )
    words = pd.Series(band).map(_CLOCK_WORDS)
    counts = [
        f"{w} · {_plural(n)}" for w, n in zip(words, table["services_n"], strict=True)
    ]
    drawn = pd.DataFrame(
        {
            "label": table["label"],
            "point": table["days"],
            "lo": table["days"].clip(upper=0),
            "hi": table["days"].clip(lower=0),
            "band": band,
            "note": counts,
        }
    )
    label = "Days from the snapshot to the end of life (days, left of 0: past)"
    return intervals(
        drawn, ax=ax, title=title, xlabel=label, noun="components", threshold=0.0
    )


_SOON_DAYS = 180
_CLOCK_WORDS = {
    "blocked": "past",
    "conditional": "ends soon",
    "ready": "supported",
    "unknown": "no end known",
}


def _plural(n: int) -> str:
    return f"{n} service" if n == 1 else f"{n} services"


_SEEN = {
    "seen": ("ok", "empty"),
    "in part": ("partial", "stale", "throttled"),
    "not seen": ("denied", "timeout", "unreachable", "unsupported", "parse_error"),
    "not asked": ("not_configured",),
}
_LOOKS = {
    "seen": ("#009e73", ""),
    "in part": ("#e69f00", "\\\\"),
    "not seen": ("#d55e00", "xx"),
    "not asked": ("none", "//"),
}


def coverage_data(inventory: Inventory) -> pd.DataFrame:
    """Return the frame behind `coverage`.

    Parameters
    ----------
    inventory : Inventory
        The fleet.

    Returns
    -------
    DataFrame
        Index ``source``; calls with a complete answer (``seen``), a partial one (``in part``),
        none (``not seen``), and calls never made (``not asked``) [count]; worst first.
    """
    calls = inventory["coverage"]
    of = {status: seen for seen, statuses in _SEEN.items() for status in statuses}
    seen = calls["status"].astype("str").map(of).fillna("not seen")
    table = pd.crosstab(calls["source"].astype("str"), seen).reindex(columns=list(_SEEN))
    table = table.fillna(0).astype("int64").rename_axis(index="source", columns=None)
    share = table["seen"] / table.sum(axis=1)
    table = table.assign(share=share).sort_values(["share", "source"])
    return table.drop(columns="share")


def coverage(inventory: Inventory, *, ax: Axes | None = None) -> Axes:
    """Draw the outcome of the calls to each source.

    Parameters
    ----------
    inventory : Inventory
        The fleet.
    ax : Axes, optional
        Axes to draw on; default: a new figure.

    Returns
    -------
    Axes
        The axes.
    """
    table = coverage_data(inventory)
    title = "Coverage per source"
    if table.empty:
        return message(ax, title, "No coverage was recorded: it is unknown.")
    shares = 100 * table.div(table.sum(axis=1), axis=0)
    with style():
        ax = canvas(ax, len(table))
        name_rows(ax, pd.Series(table.index), len(table))
        ax.set_xlim(0, 100)
        start = np.zeros(len(table))
        for kind, (colour, hatch) in _LOOKS.items():
            width = shares[kind].to_numpy()
            edge = MUTED if colour == "none" else PAPER
            ax.barh(
                range(len(table)),
                width,
                0.62,
                start,
                color=colour,
                edgecolor=edge,
                hatch=hatch,
                linewidth=0.8,
                label=kind,
            )
            _write_counts(ax, start + width / 2, width, table[kind].tolist())
            start += width
        ax.set_title(title, loc="left", pad=28)
        ax.set_xlabel(
            f"Calls by outcome (% of the calls of the source); n = {table.sum().sum()} calls"
        )
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderaxespad=0.2)
    return ax


def _write_counts(ax: Axes, at: np.ndarray, width: np.ndarray, counts: list[int]) -> None:
    """Write a count into each part of a bar that is wide enough."""
    box = {"facecolor": PAPER, "edgecolor": "none", "boxstyle": "round,pad=0.2"}
    for y, (x, room, n) in enumerate(zip(at, width, counts, strict=True)):
        if room >= 4:
            ax.text(
                x, y, str(n), ha="center", va="center", fontsize=8.5, bbox=box, color=INK
            )
