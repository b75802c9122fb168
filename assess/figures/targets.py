"""Figure of the targets: which service could run where, and what is in the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from assess.figures.rows import message, named_rows
from assess.figures.style import BANDS, INK, ROWS_SHOWN, Band, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from assess.score.result import Result

BAND_OF = {
    "fits": "ready",
    "after fixes": "conditional",
    "no": "blocked",
    "unknown": "unknown",
}
CODE_LENGTH = 12
TITLE = "Where each service could run, and the first thing in the way"


def targets_data(result: Result) -> pd.DataFrame:
    """Return the frame behind `targets`.

    ``service_id, target, verdict, band, code`` (gate or refusal that comes first among what is
    in the way), ``dominated``; services first for which targets differ, then by name.
    """
    table = result.frame.reset_index()[
        ["service_id", "target", "verdict", "blockers", "dominated"]
    ]
    table["band"] = table["verdict"].map(BAND_OF)
    # "G1 it is …" names a gate, "host-network: it uses …" a refusal
    first = table["blockers"].str.extract(r"^(G\d+(?= )|[\w-]+(?=: ))")[0].fillna("")
    is_long = first.str.len() > CODE_LENGTH
    table["code"] = first.mask(is_long, first.str[: CODE_LENGTH - 1] + "…")
    apart = table.groupby("service_id")["verdict"].transform("nunique")
    order = table.assign(same=apart.eq(1), at=range(len(table)))
    order = order.sort_values(["same", "service_id", "at"], kind="stable")
    return order.drop(columns=["same", "at", "blockers"]).reset_index(drop=True)


def targets(result: Result, *, ax: Axes | None = None) -> Axes:
    """Draw services by targets: the verdict as a mark of its own shape, and what is in the way.

    A mark that is not filled fits, but another target is at least as good on every count.

    Parameters
    ----------
    result : Result
        A targets result.
    ax : Axes, optional
        Axes to draw on; default: a new figure.

    Returns
    -------
    Axes
        The axes.
    """
    table = targets_data(result)
    if table.empty:
        return message(ax, TITLE, "This snapshot holds no service.")
    names = table["service_id"].drop_duplicates()
    shown = names.head(ROWS_SHOWN)
    columns = list(table["target"].drop_duplicates())
    cells = table[table["service_id"].isin(shown)]
    marks = cells.assign(
        x=cells["target"].map(columns.index),
        y=cells["service_id"].map({name: y for y, name in enumerate(shown)}),
        # what fits and is beaten by another target is hollow
        is_hollow=cells["verdict"].eq("fits") & cells["dominated"],
    )
    with style():
        ax = named_rows(ax, shown.reset_index(drop=True), len(names))
        ax.set_xlim(-0.5, len(columns) - 0.5)
        for (name, is_hollow), alike in marks.groupby(["band", "is_hollow"]):
            _draw_marks(ax, alike, BANDS[name], is_hollow=is_hollow)
        for cell in marks[marks["code"].ne("")].itertuples():
            at = (cell.x - 0.08, cell.y)
            ax.annotate(cell.code, at, color=INK, va="center", fontsize=7)
        ax.set_xticks(range(len(columns)), columns, rotation=25, ha="right")
        ax.set_title(TITLE, loc="left")
        ax.set_xlabel(_legend(len(names)))
    return ax


def _draw_marks(ax: Axes, cells: pd.DataFrame, band: Band, *, is_hollow: bool) -> None:
    """Draw all cells of one verdict: a shape of its own, so that it needs no colour."""
    face = "none" if is_hollow else band.colour
    place = (cells["x"] - 0.2, cells["y"])
    ax.scatter(*place, marker=band.marker, s=46, c=face, edgecolors=band.ink)


def _legend(services_n: int) -> str:
    words = [f"{BANDS[band].symbol} {word}" for word, band in BAND_OF.items()]
    beaten = f"(hollow: beaten by another target; n = {services_n} services)"
    return "   ".join([*words, beaten])
