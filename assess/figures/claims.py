"""Figures of the claims: all verdicts, the evidence of one claim, and the back-test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

from assess.figures.rows import (
    NUMBER_PAD,
    canvas,
    intervals,
    message,
    points,
)
from assess.figures.style import ACCENT, GRID, INK, MUTED, band_of, figure
from assess.score.claims.measure import share
from assess.score.incidents.rates import jeffreys_rate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from matplotlib.axes import Axes

    from assess.score.result import Result

SHARES = (0.0, 102.0)  # percent, and room for the half of a point
REACH = 16.0  # largest multiple of a bound; an arrow marks what goes on beyond
ROOM = 0.25  # beside the last tick, for the half of a mark [doublings]
COLUMNS = ["label", "point", "lo", "hi", "band", "note"]


def claims_data(result: Result) -> DataFrame:
    """Return the frame behind `claims`.

    ``label``; ``point, lo, hi`` [doublings of the bound towards the claim's side: 1 is twice
    the bound where the claim is supported above it, half of it where below; at most 4];
    ``band``, ``note`` (the verdict).
    """
    frame = result.frame
    numbers = frame[["value", "lo", "hi"]].astype(float)
    cells = {name: numbers[name].to_numpy() for name in numbers}
    cells["hi"] = np.where(frame["hi"].isna(), np.inf, cells["hi"])
    bound = frame["threshold"].astype(float).to_numpy()
    most = np.log2(REACH)
    above = frame["above"].to_numpy(bool)
    with np.errstate(divide="ignore", invalid="ignore"):
        far = {
            name: np.log2(values / bound).clip(-most, most)
            for name, values in cells.items()
        }
    table = DataFrame(
        {
            "label": (frame.index + " " + frame["short"]).to_numpy(),
            "point": np.where(above, far["value"], -far["value"]),
            "lo": np.where(above, far["lo"], -far["hi"]),
            "hi": np.where(above, far["hi"], -far["lo"]),
            "band": [band_of(verdict).word for verdict in frame["verdict"]],
            "note": frame["verdict"].to_numpy(),
        }
    )
    table.loc[table["point"].isna() & ~(cells["lo"] > 0), ["lo", "hi"]] = np.nan
    return table


@figure(result="Judged claims.")
def claims(result: Result, *, ax: Axes | None = None) -> Axes:
    """Draw the verdict on every claim: each interval against its bound."""
    most = np.log2(REACH)
    table = claims_data(result)
    ax = intervals(
        table,
        ax=ax,
        title="The argument, judged on this fleet",
        xlabel="Measurement over its bound (×, log scale; arrow: goes on beyond the axis)\n"
        "left against the claim, right for it",
        noun="claims",
        limits=(-most - ROOM, most + ROOM),
        threshold=0.0,
        mark="bound",
    )
    for end, edge, marker in (("lo", -most, "<"), ("hi", most, ">")):
        beyond = table.index[table[end] == edge]
        ax.scatter([edge] * len(beyond), beyond, marker=marker, s=70, color=MUTED)
    ticks = np.arange(-most, most + 1, 2)
    ax.set_xticks(ticks, [f"1/{2**-t:g}" if t < 0 else f"{2**t:g}" for t in ticks])
    return ax


def claim_data(result: Result, claim: str) -> DataFrame:
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
    row = result.row(claim)
    table = result.details[claim]
    policy = result.policy
    level = policy["claims"]["level"]
    rows: Iterable[tuple[Any, ...]]
    if "yes" in table:
        groups = table.groupby("group", sort=False)
        rows = [_share_row(group, answers, level) for group, answers in groups]
    elif "point" in table:
        lines = table[["engine", "line", "point", "lo", "hi", "n"]]
        rows = [
            (f"{engine} {line}", point, lo, hi, "", f"n = {n}")
            for engine, line, point, lo, hi, n in lines.itertuples(index=False)
        ]
    elif "platform" in table:
        scale = policy["claims"]["services_at_once"] * policy["what_next"]["months"]
        rates = table[["platform", "incidents", "service_months"]]
        rows = [
            _rate_row(name, n, months, scale=scale, level=level, unit="service-months")
            for name, n, months in rates.itertuples(index=False)
        ]
    else:
        rows = _pairs(str(row["sides"]).split("; "), table, level)
    evidence = DataFrame(rows, columns=COLUMNS)
    # ratios have another unit than their groups, and so no row for the whole
    if {"yes", "point", "platform"} & set(table):
        whole = row[["value", "lo", "hi"]].astype("Float64")
        ends = whole.to_numpy(float)
        scale = 100.0 if "yes" in table else 1.0
        verdict = row["verdict"]
        evidence.loc[len(evidence)] = [
            "all",
            *scale * ends,
            band_of(verdict).word,
            verdict,
        ]
    return evidence


def _share_row(group: object, answers: DataFrame, level: float) -> tuple[Any, ...]:
    answered = share(answers, level=level)
    ends = (100 * end for end in answered.interval)
    unknown = f", {answered.unknown_n} unknown" if answered.unknown_n else ""
    yes_n = int(answers["yes"].sum())
    return (group, *ends, "", f"{yes_n} of {answered.n}{unknown}")


def _rate_row(  # noqa: PLR0913 - a rate has as many parts
    label: str, events: float, exposure: float, *, scale: float, level: float, unit: str
) -> tuple[Any, ...]:
    ends = [np.nan] * 3
    if exposure > 0:
        ends = [scale * end for end in jeffreys_rate(events, exposure, level=level)]
    return (label, *ends, "", f"{events:g} in {exposure:.0f} {unit}")


def _pairs(sides: list[str], table: DataFrame, level: float) -> Iterator[tuple[Any, ...]]:
    """Yield a row for each side of each stratum."""
    is_pull = "hub_pulls" in table
    scale = 100.0 if is_pull else 12.0
    unit = "pulls" if is_pull else "months"
    for stratum, *cells in table.iloc[:, :5].itertuples(index=False):
        prefix = ""
        if not is_pull:
            prefix = f"tier {stratum or 'unknown'}, "
        halves = (cells[:2], cells[2:])
        for side, (n, exposure) in zip(sides, halves, strict=True):
            if exposure > 0:
                label = f"{prefix}{side}"
                yield _rate_row(label, n, exposure, scale=scale, level=level, unit=unit)


@figure(result="Judged claims.", claim="Such as ``C4``.")
def claim(result: Result, claim: str, *, ax: Axes | None = None) -> Axes:
    """Draw the evidence of one claim, group by group, and its bound."""
    row = result.row(claim)
    name = str(row.name)
    table = claim_data(result, name)
    details = result.details[name]
    title = f"{name} {row['short']}: {row['verdict']}"
    if row["n"] == 0:
        return message(ax, title, f"Undecided: {row['needs']}.")
    is_share = "yes" in details
    unit, bound = _unit(row, details)
    if bound is None:
        ratio, lo, hi = (
            "open" if pd.isna(cell) else f"{cell:.2g}"
            for cell in row[["value", "lo", "hi"]]
        )
        unit += f"; ratio {ratio} ({lo} to {hi})"
    ax = intervals(
        table,
        ax=ax,
        title=title,
        xlabel=unit,
        noun="" if is_share else str(row["counted"]),
        total=int(row["n"]),
        limits=SHARES if is_share else None,
        threshold=bound,
    )
    ax.set_title(title, pad=NUMBER_PAD)
    return ax


def _unit(row: Series, details: DataFrame) -> tuple[str, float | None]:
    """Return the unit of the evidence of a claim, and its bound unless that has another unit."""
    name = str(row["unit"])
    unit = name[0].upper() + name[1:]
    threshold = float(row["threshold"])
    if "yes" in details:
        return f"{unit} (%)", 100 * threshold
    if "hub_pulls" in details:
        return "Pulls that failed (%)", None
    if "tier" in details:
        return "Incidents per service and year", None
    return unit, threshold


@figure(result="A back-test.")
def backtest(result: Result, *, ax: Axes | None = None) -> Axes:
    """Draw predicted against observed incidents; on the diagonal both are equal."""
    table = result.details["reliability"]
    row = result.frame.loc["auc"]
    title = "Predicted and observed"
    if table.empty:
        return message(ax, title, "The earlier snapshot holds no service.")
    ax = canvas(ax, 9)
    ax.set(xlim=(0, 100), ylim=(0, 100))
    ax.grid(axis="y", color=GRID, linewidth=0.8)
    ax.plot([0, 100], [0, 100], color=INK, linestyle=":", linewidth=1.2)
    x, y, lo, hi = (
        100 * table[name].to_numpy(float)
        for name in ("foretold", "observed", "observed_lo", "observed_hi")
    )
    ax.vlines(x, lo, hi, colors=MUTED, alpha=0.38, linewidth=7)
    points(ax, x, y, colour=ACCENT, of="observed")
    ax.set_title(f"{title}: {row['verdict']}")
    score = []
    if pd.notna(row["value"]):
        bounds = "" if pd.isna(row["lo"]) else f" ({row['lo']:.2f} to {row['hi']:.2f})"
        score.append(f"AUC {row['value']:.2f}{bounds}")
    if pd.notna(row["baseline_history"]):
        score.append(f"history alone {row['baseline_history']:.2f}, chance 0.50")
    total = f"n = {int(table['n'].sum())} services in {len(table)} groups"
    label = f"Predicted chance of an incident (%); {total}\n{', '.join(score)}"
    ax.set_xlabel(label.rstrip())
    ax.set_ylabel("Services that had one (%)")
    return ax
