"""Rank acceptabilities of SMAA: how often each candidate takes each rank."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from assess.figures.rows import canvas, message, name_rows
from assess.figures.style import ROWS_SHOWN, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from assess.score.result import Result

RANKS_SHOWN = 12
# Shares from which a cell is coloured, shows its number, and needs light text. [percent]
COLOURED = 1
NUMBERED = 5
DARK = 68
# Not the white of the paper, which turns dark on a dark page.
LIGHT = "#fefefe"


def acceptability_data(result: Result) -> pd.DataFrame:
    """Return the frame behind `acceptability`.

    Parameters
    ----------
    result : Result
        A what-next result.

    Returns
    -------
    DataFrame
        Index ``service_id``, in the result's own order; one column per rank from 1 on, the share
        of all weightings in which the service takes it [share 0-1]. Only services that compete.
    """
    tidy = result.details["acceptability"]
    table = tidy.pivot(index="service_id", columns="rank", values="probability").astype(
        float
    )
    table = table.reindex([name for name in result.frame.index if name in table.index])
    return table.loc[:, [rank for rank in table if rank <= RANKS_SHOWN]]


def _colours() -> Any:
    """Return a colour map in which rare is pale."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    share = np.linspace(0, 1, 101)[:, None]
    colours = colormaps["cividis_r"](share[:, 0])[:, :3]
    return ListedColormap(1 - (1 - colours) * np.sqrt(share))


def acceptability(result: Result, *, ax: Axes | None = None) -> Axes:
    """Draw how often each candidate takes each rank, in the worst case.

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
    table, title = acceptability_data(result), "Rank in how many weightings"
    if table.empty:
        return message(
            ax,
            title,
            "No service competes: each fails a gate, or runs in containers already.",
        )
    shown = 100 * table.head(ROWS_SHOWN).to_numpy()
    with style():
        ax = canvas(ax, len(shown) + (len(table) > len(shown)))
        edges = [np.arange(n + 1) - 0.5 for n in shown.shape]
        ranks = [int(rank) for rank in table]
        seen = np.ma.masked_less(shown, COLOURED)
        ax.pcolor(edges[1] + ranks[0], edges[0], seen, cmap=_colours(), vmin=0, vmax=100)
        for y, x in np.argwhere(shown >= NUMBERED):
            ink = LIGHT if shown[y, x] >= DARK else "black"
            ax.text(
                ranks[x], y, f"{shown[y, x]:.0f}", color=ink, ha="center", va="center"
            )
        name_rows(ax, pd.Series(table.index[: len(shown)]), len(table))
        ax.set_xticks(ranks)
        ax.grid(visible=False)
        ax.set_title(title, loc="left")
        ax.set_xlabel(
            f"Rank (1 is first); n = {len(table)} candidates\n"
            f"number: share of all weightings of the criteria (%), from {NUMBERED} on"
        )
    return ax
