"""Figures of the claims: all verdicts, the evidence of one claim, and the back-test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from assess.figures.rows import canvas, intervals, message, points
from assess.figures.style import ACCENT, GRID, INK, MUTED, style
from assess.score.claims.measure import share
from assess.score.incidents.rates import jeffreys_rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from assess.score.result import Result

SHARES = (0.0, 102.0)  # percent, and room for the half of a point
ROOM = 20  # room between title and axes, for the number of a bound [points]
REACH = 16.0  # largest multiple of a bound; anything beyond is drawn at the edge
VERDICT_BANDS = {"supported": "ready", "refuted": "blocked", "undecided": "unknown"}
COLUMNS = ["label", "point", "lo", "hi", "band", "note"]


def claims_data(result: Result) -> pd.DataFrame:
    """Return the frame behind `claims`.

    Parameters
    ----------
    result : Result
        Judged claims.

    Returns
    -------
    DataFrame
        ``label``; ``point, lo, hi`` [doublings of the bound towards the claim's side: 1 is twice
        the bound where the claim is supported above it, half of it where below; at most 4];
        ``band``, ``note`` (the verdict).
    """
    frame = result.frame
    cells = {name: frame[name].astype(float).to_numpy() for name in ("value", "lo", "hi")}
    cells["hi"] = np.where(frame["hi"].isna(), np.inf, cells["hi"])
    bound = frame["threshold"].astype(float).to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        far = {name: np.log2(values / bound) for name, values in cells.items()}
    most, above = np.log2(REACH), frame["above"].to_numpy(dtype=bool)
    far = {name: np.clip(values, -most, most) for name, values in far.items()}
    table = pd.DataFrame(
        {
            "label": (frame.index + " " + frame["short"]).to_numpy(),
            "point": np.where(above, far["value"], -far["value"]),
            "lo": np.where(above, far["lo"], -far["hi"]),
            "hi": np.where(above, far["hi"], -far["lo"]),
            "band": frame["verdict"].map(VERDICT_BANDS).to_numpy(),
            "note": frame["verdict"].to_numpy(),
        }
    )
    table.loc[table["point"].isna(), ["lo", "hi"]] = np.nan
    return table


def claims(result: Result, *, ax: Axes | None = None) -> Axes:
    """Draw the verdict on every claim: each interval against its bound.

    Parameters
    ----------
    result : Result
        Judged claims.
    ax : Axes, optional
        Axes to draw on; default: a new figure.

    Returns
    -------
    Axes
        The axes.
    """
    most = np.log2(REACH)
    ax = intervals(
        claims_data(result),
        ax=ax,
        title="The argument, judged on this fleet",
        xlabel="Measurement over its bound (×, log scale): left against the claim, right for it",
        noun="claims",
        limits=(-most, most),
    )
    ticks = np.arange(-most, most + 1, 2)
    ax.set_xticks(ticks, [f"1/{2**-t:g}" if t < 0 else f"{2**t:g}" for t in ticks])
    ax.axvline(0, color=INK, linestyle=":", linewidth=1.2, zorder=1)
    at = ("data", "axes fraction")
    ax.annotate("bound", (0, 1.005), xycoords=at, ha="center", va="bottom", fontsize=9)
    return _raised(ax)


def _raised(ax: Axes) -> Axes:
    """Raise the title above the number of a bound."""
    with style():
        ax.set_title(ax.get_title(loc="left"), loc="left", pad=ROOM)
    return ax


def claim_data(result: Result, claim: str) -> pd.DataFrame:
    """Return the frame behind `claim`.

    Parameters
    ----------
    result : Result
        Judged claims.
    claim : str
        Such as ``C4``.

    Returns
    -------
    DataFrame
        ``label, point, lo, hi`` [percent, or the unit of the claim], ``band`` (of the whole: the
        verdict), ``note``; the groups first, the whole last where it has the same unit.
    """
    row, table = result.row(claim), result.details[claim]
    policy = result.provenance.policy
    level = float(policy["claims"]["level"]) if policy else 0.95
    if "yes" in table:
        rows = [
            _share_row(group, own, level)
            for group, own in table.groupby("group", sort=False)
        ]
    elif "point" in table:
        lines = table[["engine", "line", *COLUMNS[1:4], "n"]].itertuples(index=False)
        rows = [
            (f"{name} {line}", *ends, "", f"n = {n}") for name, line, *ends, n in lines
        ]
    elif "platform" in table:
        scale = _factor(policy)
        own = table[["platform", "incidents", "service_months"]].itertuples(index=False)
        rows = [
            _rate_row(name, n, t, scale, level=level, unit="service-months")
            for name, n, t in own
        ]
    else:
        rows = list(_pairs(str(row["sides"]).split("; "), table, level))
    found = pd.DataFrame(rows, columns=COLUMNS)
    if {"yes", "point", "platform"} & set(table):
        scale = 100.0 if "yes" in table else 1.0
        ends = [
            scale * float(row[end]) if pd.notna(row[end]) else np.nan for end in _ENDS
        ]
        found.loc[len(found)] = [
            "all",
            *ends,
            VERDICT_BANDS[row["verdict"]],
            row["verdict"],
        ]
    return found


_ENDS = ("value", "lo", "hi")


def _factor(policy: Any) -> float:
    if not policy:
        return 1.0
    return float(policy["claims"]["services_at_once"] * policy["what_next"]["months"])


def _share_row(group: object, own: pd.DataFrame, level: float) -> tuple[Any, ...]:
    found = share(own, level=level)
    ends = (100 * end for end in found.interval)
    vague = f", {found.unknown_n} unknown" if found.unknown_n else ""
    return (group, *ends, "", f"{int(own['yes'].sum())} of {found.n}{vague}")


def _rate_row(
    label: str, events: float, exposure: float, scale: float, **how: Any
) -> Any:
    ends = [scale * end for end in jeffreys_rate(events, exposure, level=how["level"])]
    ends = ends if exposure > 0 else [np.nan] * 3
    return (label, *ends, "", f"{events:g} in {exposure:.0f} {how['unit']}")


def _pairs(sides: list[str], table: pd.DataFrame, level: float) -> Any:
    """Yield a row for each side of each stratum."""
    is_pull = "hub_pulls" in table
    scale, unit = (100.0, "pulls") if is_pull else (12.0, "months")
    for stratum, *cells in table.iloc[:, :5].itertuples(index=False):
        name = (
            "" if is_pull else "tier unknown, " if stratum == 0 else f"tier {stratum}, "
        )
        for side, (n, t) in zip(sides, (cells[:2], cells[2:]), strict=True):
            if t > 0:
                yield _rate_row(f"{name}{side}", n, t, scale, level=level, unit=unit)


def claim(result: Result, claim: str, *, ax: Axes | None = None) -> Axes:
    """Draw the evidence of one claim, group by group, and its bound.

    Parameters
    ----------
    result : Result
        Judged claims.
    claim : str
        Such as ``C4``.
    ax : Axes, optional
        Axes to draw on; default: a new figure.

    Returns
    -------
    Axes
        The axes.
    """
    row = result.row(claim)
    name = str(row.name)
    table, details = claim_data(result, name), result.details[name]
    title = f"{name} {row['short']}: {row['verdict']}"
    if row["n"] == 0:
        return message(ax, title, f"Undecided: {row['needs']}.")
    bound: float | None = float(row["threshold"])
    unit, noun, limits = str(row["unit"]), str(row["counted"]), None
    if "yes" in details:
        bound, unit, noun, limits = (
            100 * float(row["threshold"]),
            f"{unit} (%)",
            "",
            SHARES,
        )
    elif "hub_pulls" in details:
        bound, unit, noun = None, "Pulls that failed (%)", "failed pulls"
    elif "tier" in details:
        bound, unit, noun = None, "Incidents per service and year", "incidents"
    unit = f"{unit[0].upper()}{unit[1:]}"
    if bound is None:
        unit += f"; ratio {_number(row['value'])} ({_number(row['lo'])} to {_number(row['hi'])})"
    ax = intervals(
        table,
        ax=ax,
        title=title,
        xlabel=unit,
        noun=noun,
        total=int(row["n"]),
        limits=limits,
        threshold=bound,
    )
    return _raised(ax)


def _number(value: Any) -> str:
    return "open" if pd.isna(value) else f"{value:.2g}"


def backtest(result: Result, *, ax: Axes | None = None) -> Axes:
    """Draw predicted against observed incidents; on the diagonal both are equal.

    Parameters
    ----------
    result : Result
        A back-test.
    ax : Axes, optional
        Axes to draw on; default: a new figure.

    Returns
    -------
    Axes
        The axes.
    """
    table, row = result.details["reliability"], result.frame.loc["auc"]
    title = "Predicted and observed"
    if table.empty:
        return message(ax, title, "The earlier snapshot holds no service.")
    with style():
        ax = canvas(ax, 9)
        ax.set_xlim(0, 100)
        ax.set_ylim(0, 100)
        ax.grid(axis="y", color=GRID, linewidth=0.8)
        ax.plot([0, 100], [0, 100], color=INK, linestyle=":", linewidth=1.2)
        x, y, lo, hi = (
            100 * table[name].to_numpy(dtype=float)
            for name in ("foretold", "observed", "observed_lo", "observed_hi")
        )
        ax.vlines(x, lo, hi, colors=MUTED, alpha=0.38, linewidth=7)
        points(ax, x, y, colour=ACCENT, of="observed")
        ax.set_title(f"{title}: {row['verdict']}", loc="left")
        score = "" if pd.isna(row["value"]) else f"; AUC {row['value']:.2f}"
        score += "" if pd.isna(row["lo"]) else f" ({row['lo']:.2f} to {row['hi']:.2f})"
        history = row["baseline_history"]
        score += "" if pd.isna(history) else f", history alone {history:.2f}, chance 0.50"
        total = f"n = {int(table['n'].sum())} services in {len(table)} groups"
        ax.set_xlabel(
            f"Predicted chance of an incident (%); {total}\n{score.removeprefix('; ')}"
        )
        ax.set_ylabel("Services that had one (%)")
    return ax
