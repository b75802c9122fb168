"""Which rank each candidate takes, over all weightings: the rank acceptabilities of SMAA."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from assess.figures.rows import canvas, message, name_rows
from assess.figures.style import ROWS_SHOWN, style
from assess.score.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RANKS_SHOWN = 12
TOLD = 5  # percent from which a cell says its number
SEEN = 1  # percent from which it has a colour
DARK = 68  # percent from which the colour needs light words …
LIGHT = (
    "#fefefe"  # … which stay light on a dark page, unlike what is white like the paper
)


def acceptability_data(result: Result) -> pd.DataFrame:
    """Give the frame behind `acceptability`.

    Parameters
    ----------
    result : Result
        A what-next result.

    Returns
    -------
    DataFrame
        Index ``service_id``, in the result's own order; one column per rank from 1 on, the share
        of all weightings in which the service takes it [share 0-1]. Who competes only.
    """
    tidy = result.details["acceptability"]
    table = tidy.pivot(index="service_id", columns="rank", values="probability").astype(
        float
    )
    table = table.reindex([name for name in result.frame.index if name in table.index])
    return table.loc[:, [rank for rank in table if rank <= RANKS_SHOWN]]


def _colours() -> Any:
    """Give the map of colours: the rarer, the paler."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    share = np.linspace(0, 1, 101)[:, None]
    colours = colormaps["cividis_r"](share[:, 0])[:, :3]
    return ListedColormap(1 - (1 - colours) * np.sqrt(share))


def acceptability(result: Result, *, ax: Axes | None = None) -> Axes:
    """Draw how often each candidate takes each rank, every unknown at its worst.

    Parameters
    ----------
    result : Result
        A what-next result.
    ax : Axes, optional
        Where to draw; without one, a new figure.

    Returns
    -------
    Axes
        What was drawn on.
    """
    table, title = acceptability_data(result), "Rank in how many weightings"
    if table.empty:
        return message(
            ax, title, "No service competes: each stands behind a gate, or has moved."
        )
    shown = 100 * table.head(ROWS_SHOWN).to_numpy()
    with style():
        ax = canvas(ax, len(shown) + (len(table) > len(shown)))
        edges = [np.arange(n + 1) - 0.5 for n in shown.shape]
        ranks = [int(rank) for rank in table]
        seen = np.ma.masked_less(shown, SEEN)
        ax.pcolor(edges[1] + ranks[0], edges[0], seen, cmap=_colours(), vmin=0, vmax=100)
        for y, x in np.argwhere(shown >= TOLD):
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
            f"number: share of all weightings of the criteria (%), from {TOLD} on"
        )
    return ax
