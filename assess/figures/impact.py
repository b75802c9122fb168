"""Figures of impact: blast radius of elements and services, one failure, moves, exposure."""

from __future__ import annotations

from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pandas import DataFrame

from assess.figures.rows import (
    canvas,
    change,
    count_note,
    ends,
    intervals,
    message,
    note,
    per_service,
    worst_first,
)
from assess.figures.style import ACCENT, MUTED, PAPER, ROWS_SHOWN, figure, short
from assess.frames import surely
from assess.words import element_label, element_labels, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from assess.score.blast_radius.result import BlastRadius
    from assess.score.result import Result

UNKNOWN_SHOWN = 5  # rows of a long figure that go to unknown values
ROUNDED = 9  # digits of a percent; a smaller difference is rounding noise
IMPACT = "Blast radius (% of fleet criticality, lowest to highest)"
PATHS = ["service_id", "because", "step", "kinds", "p", "p_down", "p_lo", "p_hi"]


def _scale(table: DataFrame) -> tuple[float, float]:
    """Return the ends of a percent axis for the rows that are shown, rounded up."""
    top = table.head(ROWS_SHOWN)[["point", "hi"]].max(axis=None)
    if pd.isna(top):
        return 0.0, 100.0
    step = 5.0 if top < 5 else 20.0
    return 0.0, min(100.0, step * (top // step + 1))


def _few_unknown(table: DataFrame) -> DataFrame:
    """Put most unknown rows of a long figure last, so that they do not hide the others."""
    is_unknown = table["point"].isna() & (len(table) > ROWS_SHOWN)
    is_late = is_unknown & (is_unknown.cumsum() > UNKNOWN_SHOWN)
    return pd.concat([table[~is_late], table[is_late]], ignore_index=True)


def blast_radius_data(result: Result) -> DataFrame:
    """Return the frame behind `blast_radius`.

    ``element_kind, element, label, point, lo, hi`` [percent of the fleet's criticality],
    ``note``; worst first.
    """
    frame = result.shown.reset_index()
    label = element_labels(frame["element_kind"], frame["element"])
    table = frame[["element_kind", "element"]].assign(
        label=label, **ends(frame, "impact", 100)
    )
    down = [count_note(n, "down") for n in frame["services_down_n"]]
    frozen = [count_note(n, "frozen") for n in frame["frozen_n"]]
    pairs = zip(down, frozen, strict=True)
    table["note"] = [" · ".join(filter(None, pair)) for pair in pairs]
    return _few_unknown(worst_first(table, "element_kind", "element"))


@figure(result="A blast-radius result.", kinds="Only elements of these kinds.")
def blast_radius(
    result: Result, *, ax: Axes | None = None, kinds: list[str] | None = None
) -> Axes:
    """Draw the impact of each element that fails, worst first."""
    table = blast_radius_data(result)
    if kinds is not None:
        table = table[table["element_kind"].isin(kinds)]
    return intervals(
        table,
        ax=ax,
        title="Blast radius per element",
        xlabel=IMPACT,
        noun="elements",
        limits=_scale(table),
        empty="This snapshot names no element beside services.",
    )


def blast_services_data(result: Result) -> DataFrame:
    """Return the frame behind `blast_services`.

    ``service_id, label, point, lo, hi`` [percent of the fleet's criticality], ``band`` (unknown
    where no dependency was observed) and ``note``; worst first.
    """
    table = per_service(result.details["services"], "impact", 100)
    is_seen = surely(result.details["services"]["dependencies_observed"]).to_numpy()
    table["band"] = np.where(is_seen, "", "unknown")
    table["note"] = np.where(is_seen, "", "not observed")
    return worst_first(table, "service_id")


@figure(result="A blast-radius result.")
def blast_services(result: Result, *, ax: Axes | None = None) -> Axes:
    """Draw the impact of each service that fails, worst first."""
    table = blast_services_data(result)
    return intervals(
        table,
        ax=ax,
        title="Blast radius per service",
        xlabel=IMPACT,
        noun="services",
        limits=_scale(table),
    )


def exposure_data(result: Result) -> DataFrame:
    """Return the frame behind `exposure`.

    ``service_id, label, point, lo, hi`` [count of elements whose failure takes the service
    down; ``hi``: also by calls that nobody would have seen]; most exposed first.
    """
    frame = result.details["services"].rename_axis("service_id").reset_index()
    table = frame[["service_id"]].assign(label=frame["service_id"])
    table["point"] = frame["exposure_n"].astype("Float64")
    table["lo"] = table["point"].fillna(0)
    table["hi"] = frame["exposure_hi"].astype("Float64")
    return worst_first(table, "service_id")


@figure(result="A blast-radius result.")
def exposure(result: Result, *, ax: Axes | None = None) -> Axes:
    """Draw the single points of failure of each service."""
    table = exposure_data(result)
    title = "Single points of failure per service"
    label = "Elements that take it down alone (count; bar: also unseen ones)"
    unknown_n = table["point"].isna().sum()
    if len(table) > ROWS_SHOWN and unknown_n > UNKNOWN_SHOWN:
        label += f"; {unknown_n} unknown"
    shown = _few_unknown(table)
    return intervals(shown, ax=ax, title=title, xlabel=label, noun="services")


def fall_data(result: BlastRadius, element_kind: str, element: str) -> DataFrame:
    """Return the frame behind `fall`.

    Parameters
    ----------
    result : BlastRadius
        A blast-radius result.
    element_kind, element : str
        What fails.

    Returns
    -------
    DataFrame
        One row per service that can go down, below its cause: ``service_id``, ``because`` (the
        cause on the most probable path), ``step`` [count from the element], ``kinds`` and
        ``p`` of that step, ``p_down, p_lo, p_hi`` [probability, 0-1]. Of many services, the
        most probable ones and their causes.
    """
    affected = result.details["affected"]
    own = (affected["element_kind"] == element_kind) & (affected["element"] == element)
    hit = affected[own & (affected["p_hi"] > 0)].astype({"service_id": "str"})
    order = ["p_down", "p_hi", "service_id"]
    hit = hit.sort_values(order, ascending=[False, False, True])
    steps = [
        result.paths(element_kind, element, name)
        for name in hit["service_id"].head(ROWS_SHOWN)
    ]
    if not steps:
        return DataFrame(columns=PATHS)
    numbered = [each.assign(step=np.arange(1, len(each) + 1)) for each in steps]
    chains = pd.concat(numbered)
    rows = chains.drop_duplicates("service_id").merge(hit, on="service_id", how="left")
    return _below_their_cause(rows.reindex(columns=PATHS))


def _below_their_cause(rows: DataFrame) -> DataFrame:
    """Order a tree depth first: each cause before its effects."""
    under = rows.groupby("because", sort=False)["service_id"].agg(list).to_dict()
    names = set(rows["service_id"])
    first = [own for cause, own in under.items() if cause not in names]
    waiting = [*chain.from_iterable(first)][::-1]
    order: list[str] = []
    while waiting:
        order.append(waiting.pop())
        below = under.get(order[-1], [])
        waiting += [name for name in below[::-1] if name not in order]
    return rows.set_index("service_id").loc[order].reset_index()


@figure(
    result="A blast-radius result.",
    element_kind="Kind of what fails.",
    element="Its name.",
)
def fall(
    result: BlastRadius, element_kind: str, element: str, *, ax: Axes | None = None
) -> Axes:
    """Draw the services that one element takes down: a tree of the most probable paths."""
    table = fall_data(result, element_kind, element)
    title = f"Services down with {short(element_label(element_kind, element))}"
    if table.empty:
        return message(ax, title, "No other service is known to go down with it.")
    row = result.shown.loc[element_kind, element]
    ax = canvas(ax, len(table))
    place = {name: y for y, name in enumerate(table["service_id"])}
    box = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.8}
    rows = table[["because", "step", "p_down"]].itertuples(index=False)
    for y, (cause, step, p) in enumerate(rows):
        dashes = "-" if p >= 1 else ":"
        draw = partial(ax.plot, color=MUTED, linewidth=1.2, linestyle=dashes, zorder=1)
        if cause in place:
            draw([step - 1, step - 1], [place[cause], y])
        draw([step - 1, step], [y, y])
        ax.text(step + 0.12, y, short(table["service_id"][y]), va="center", bbox=box)
        lo, point, hi = map(number, 100 * table.loc[y, ["p_lo", "p_down", "p_hi"]])
        note(ax, y, f"{point}%" if lo == hi else f"{point}% ({lo} to {hi})", MUTED)
    ax.scatter(table["step"], range(len(table)), color=ACCENT, s=34, zorder=3)
    ax.set_ylim(len(table) - 0.4, -0.6)
    ax.set_yticks([])
    deepest = table["step"].max()
    ax.set_xlim(0, deepest + max(1.6, 0.8 * deepest))  # room for the longest name
    ax.set_xticks(range(deepest + 1))
    reached = row.fillna(0)["services_down_n"] - (element_kind == "service")
    impact, lo, hi = map(number, 100 * row[["impact", "impact_lo", "impact_hi"]])
    ax.set_title(title)
    ax.set_xlabel(
        "Steps from the failure (count; dotted: not certain); right: probability (%)\n"
        f"n = {len(table)} of {max(reached, len(table))} other services that can go down; "
        f"{impact}% of fleet criticality ({lo} to {hi})"
    )
    return ax


def moves_data(result: Result) -> DataFrame:
    """Return the frame behind `moves`.

    ``service_id, label, point, lo, hi``: change of the summed impact of all elements that the
    service runs on [percent of the fleet's criticality; negative is better], ``note``;
    largest change first, services without a move left out.
    """
    table = per_service(result.details["services"], "delta", 100)
    table = table[table["point"].notna() | table["hi"].notna()]
    table["note"] = ["" if pd.isna(x) else change(x) for x in table["point"]]
    size = -table["point"].abs()
    by_size = table.assign(size=size).sort_values(["size", "service_id"])
    return by_size.drop(columns="size").reset_index(drop=True)


@figure(result="A blast-radius result.")
def moves(result: Result, *, ax: Axes | None = None) -> Axes:
    """Draw the change of impact by each move, largest first."""
    table = moves_data(result)
    label = "Impact of what it runs on, after minus before (% of fleet criticality; below 0: better)"
    bounds = table[["lo", "hi"]].round(ROUNDED)
    # with changes of one sign only, zero is the end of the axis already
    is_mixed = (bounds["lo"] < 0).any() and (bounds["hi"] > 0).any()
    return intervals(
        table,
        ax=ax,
        title="Effect of each move",
        xlabel=label,
        noun="services",
        threshold=0.0 if is_mixed else None,
        empty="No service of this snapshot can move.",
    )


def experiments_data(result: Result) -> DataFrame:
    """Return the frame behind `experiments`.

    ``element_kind, element, label``, ``point``: the share of the uncertainty that a failure is
    expected to take [percent], ``lo`` and ``hi`` of no width, ``note``: what it can reach; best first.
    """
    table = result.frame.reset_index()
    named = element_labels(table["element_kind"], table["element"])
    point = 100 * table["value"].astype("Float64")
    reach = [f"reaches {n}" for n in table["reach_n"]]
    shown = table[["element_kind", "element"]]
    return shown.assign(label=named, point=point, lo=point, hi=point, note=reach)


@figure(result="An experiments result.")
def experiments(result: Result, *, ax: Axes | None = None) -> Axes:
    """Draw which failure to try next: what each is expected to decide, and what it can reach."""
    return intervals(
        experiments_data(result),
        ax=ax,
        title="Which failure to try next",
        xlabel="Expected reduction of the uncertainty about labels and ranks (%)",
        noun="experiments",
        empty="No experiment would decide anything.",
    )
