"""What every section uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assess import figures
from assess.report.model import Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROWS = 20


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
