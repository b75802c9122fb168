"""Figure of the targets: where each service could run, and the blockers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from assess.figures.rows import message, named_rows
from assess.figures.style import BANDS, INK, ROWS_SHOWN, Band, short, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from assess.score.result import Result

BAND_OF = {
    "fits": "ready",
    "after fixes": "conditional",
    "no": "blocked",
    "unknown": "unknown",
}
SYMBOLS = {"fits": "●", "after fixes": "■", "no": "✖", "unknown": "◆"}
LEFT = 0.2  # of a mark from the middle of its cell, so that the code has room
NAME_LENGTH = 28  # of a service, where a count of others stands behind it
NO_ROOM = 10  # letters of a code; a longer one takes two lines
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
    table["code"] = first
    away = table["target"].ne("stay")
    looks = table["verdict"] + table["code"]
    apart = looks.where(away).groupby(table["service_id"]).transform("nunique")
    order = table.assign(same=apart.le(1), at=range(len(table)))
    order = order.sort_values(["same", "service_id", "at"], kind="stable")
    return order.drop(columns=["same", "at", "blockers"]).reset_index(drop=True)


def targets(result: Result, *, ax: Axes | None = None) -> Axes:
    """Draw services by targets: the verdict as a shape, and the first blocker.

    A mark that is not filled fits, but another target is at least as good on every count. Where
    there are more services than rows, those with the same marks share one.

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
    alike = pd.DataFrame({"service_id": names, "label": names, "size": 1})
    if len(names) > ROWS_SHOWN:
        alike = _services_with_same_marks(table)
    shown = alike.head(ROWS_SHOWN)
    columns = list(table["target"].drop_duplicates())
    cells = table.merge(shown.assign(y=range(len(shown))), on="service_id")
    marks = cells.assign(
        x=cells["target"].map(columns.index),
        # what fits and is beaten by another target is hollow
        is_hollow=cells["verdict"].eq("fits") & cells["dominated"],
    )
    with style():
        rest = alike["size"].iloc[len(shown) :].sum()
        ax = named_rows(ax, shown["label"], len(shown) + rest)
        ax.set_xlim(-0.5, len(columns) - 0.5)
        for (name, is_hollow), same in marks.groupby(["band", "is_hollow"]):
            _draw_marks(ax, same, BANDS[name], is_hollow=is_hollow)
        for cell in marks[marks["code"].ne("")].itertuples():
            at = (cell.x - LEFT + 0.12, cell.y)
            ax.annotate(_folded(cell.code), at, color=INK, va="center", fontsize=6.5)
        ticks = [x - LEFT for x in range(len(columns))]
        ax.set_xticks(ticks, columns, rotation=25, ha="right")
        ax.set_title(TITLE, loc="left")
        ax.set_xlabel(_legend(len(names)))
    return ax


def _services_with_same_marks(table: pd.DataFrame) -> pd.DataFrame:
    """Return the first of all services with the same marks, and a label that counts the others."""
    looks = (
        table["verdict"] + " " + table["code"] + " " + table["dominated"].astype("str")
    )
    services = table["service_id"]
    pattern = looks.groupby(services, sort=False).agg("|".join).rename("pattern")
    groups = pattern.reset_index().groupby("pattern", sort=False)["service_id"]
    found = groups.agg(["first", "size"]).rename(columns={"first": "service_id"})
    more = found["size"].sub(1).map(" and {} more".format).mask(found["size"].eq(1), "")
    names = found["service_id"].map(lambda name: short(name, NAME_LENGTH))
    return found.assign(label=names + more).reset_index(drop=True)


def _folded(code: str) -> str:
    return code.replace("-", "-\n", 1) if len(code) > NO_ROOM else code


def _draw_marks(ax: Axes, cells: pd.DataFrame, band: Band, *, is_hollow: bool) -> None:
    """Draw all cells of one verdict: a shape of its own, so that it needs no colour."""
    face = "none" if is_hollow else band.colour
    place = (cells["x"] - LEFT, cells["y"])
    ax.scatter(*place, marker=band.marker, s=46, c=face, edgecolors=band.ink)


def _legend(services_n: int) -> str:
    words = [f"{symbol} {word}" for word, symbol in SYMBOLS.items()]
    beaten = (
        f"(○ fits, but another target is at least as good; n = {services_n} services)"
    )
    return "   ".join(words) + "\n" + beaten
