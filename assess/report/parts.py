"""Two helpers that every section uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from assess import figures
from assess.report.model import Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROWS = 20


def more(frame: pd.DataFrame, shown: int) -> str:
    """Say how many rows a table leaves out.

    Parameters
    ----------
    frame : DataFrame
        All rows.
    shown : int
        Rows that are shown at most. [count]

    Returns
    -------
    str
        A sentence; empty where none is left out.
    """
    rest = len(frame) - shown
    return f"And {rest} more, in report.json." if rest > 0 else ""


def picture(name: str, ax: Axes, caption: str) -> Picture:
    """Take a figure into the report.

    Parameters
    ----------
    name : str
        Anchor and file name.
    ax : Axes
        The figure; it is closed.
    caption : str
        How to read it.

    Returns
    -------
    Picture
        The drawing with its alternative text.
    """
    return Picture(name, figures.svg(ax), figures.describe(ax), caption)
