"""How every figure looks: one style, applied inside the call and never globally."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from assess.tables import clean, to_html, together

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER, ACCENT = "#1f2933", "#5b6470", "#e3e6ea", "#ffffff", "#0072b2"
HATCH = "#aab3bc"
RC: dict[Any, Any] = {
    "figure.figsize": (8.4, 3.6),
    "figure.dpi": 72,
    "figure.constrained_layout.use": True,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlecolor": INK,
    "axes.titlepad": 10,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 9.5,
    "axes.edgecolor": GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "x",
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "hatch.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "ytick.major.pad": 9,
    "text.color": INK,
    "text.parse_math": False,
    "font.size": 10,
    "font.family": ["DejaVu Sans"],
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.hashsalt": "assess",
    "svg.fonttype": "none",
}
LABEL_LENGTH = 40
ROWS_SHOWN = 25
COLOURS, NOTEBOOK_DPI = 48, 88  # of a figure in a notebook: legible, and small


@dataclass(frozen=True)
class Band:
    """How a band of the verdict looks: never by colour alone.

    Attributes
    ----------
    word : str
        Its name.
    colour : str
        Colour of marks, of the Okabe-Ito palette.
    ink : str
        Colour of words, dark enough to read.
    marker : str
        Shape in a figure.
    symbol : str
        Shape in text.
    """

    word: str
    colour: str
    ink: str
    marker: str
    symbol: str


BANDS = {
    band.word: band
    for band in (
        Band("ready", "#009e73", "#1b6e53", "o", "●"),
        Band("conditional", "#e69f00", "#8a5a00", "s", "■"),
        Band("blocked", "#d55e00", "#a33b00", "X", "✕"),
        Band("unknown", "#8a929c", "#5b6470", "D", "◇"),
    )
}
_LABELS = {
    "MOVE NOW": "ready",
    "KEEP": "ready",
    "PILOT": "conditional",
    "PREPARE": "conditional",
    "FIX": "conditional",
    "HOLD": "blocked",
    "NEVER": "blocked",
    "PULL BACK": "blocked",
}
LABELS = (*_LABELS, "NOT DECIDABLE")


def band_of(label: object) -> Band:
    """Give the band that a label belongs to.

    Parameters
    ----------
    label : object
        A label such as MOVE NOW; anything else, and NA, is unknown.

    Returns
    -------
    Band
        Its look.
    """
    return BANDS[_LABELS.get(str(label), "unknown")]


@contextmanager
def style() -> Iterator[None]:
    """Apply the style within a block, and only there.

    Yields
    ------
    None
        Nothing; the style holds until the block ends.
    """
    import matplotlib.pyplot as plt

    with plt.rc_context(RC):
        yield


def notebook_style() -> None:
    """Set how frames and figures show in a notebook: call it in the first cell."""
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    # load the backend now: inside `style` its interactive mode would be undone on the way out, and
    # the notebook would show the first figure only
    plt.switch_backend(mpl.get_backend())
    pd.set_option("display.precision", 2)
    pd.set_option("display.max_rows", 20)
    pd.set_option("display.max_colwidth", 40)
    plt.rcParams.update({**RC, "savefig.format": "png"})
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None:
        from matplotlib.figure import Figure

        formatters = shell.display_formatter.formatters
        formatters["image/png"].for_type(Figure, _small_png)
        formatters["text/html"].for_type(pd.DataFrame, to_html)
        for several in (list, tuple):
            formatters["text/html"].for_type(several, together)


def _small_png(figure: Figure) -> bytes:
    """Write a figure with as few colours as it has: a quarter of the bytes in a notebook."""
    import io

    from PIL import Image

    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", bbox_inches="tight", dpi=NOTEBOOK_DPI)
    few = (
        Image.open(drawn)
        .convert("RGB")
        .quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    )
    few.save(small, "PNG", optimize=True)
    return small.getvalue()


def short(name: object, length: int = LABEL_LENGTH) -> str:
    """Make a name fit for an axis.

    Parameters
    ----------
    name : object
        Any text.
    length : int, default 40
        Longest label. [characters]

    Returns
    -------
    str
        One line, cut in the middle where too long.
    """
    line = clean(name) or "(no name)"
    if len(line) <= length:
        return line
    tail = length // 3
    return f"{line[: length - tail - 1]}…{line[-tail:]}"


def describe(ax: Axes) -> str:
    """Say in one sentence what a figure shows: its alternative text.

    Parameters
    ----------
    ax : Axes
        A figure of this package.

    Returns
    -------
    str
        Title, rows from first to last, and what the axis measures from where to where.
    """
    title = ax.get_title(loc="left")
    rows = [tick.get_text() for tick in ax.get_yticklabels() if tick.get_text()]
    if not rows:
        return f"{title}: {' '.join(t.get_text() for t in ax.texts) or 'nothing to show'}"
    measured = ax.get_xlabel().replace("\n", "; ")
    span = rows[0] if len(rows) == 1 else f"{rows[0]} to {rows[-1]}"
    marks = [np.asarray(m.get_offsets())[:, 0] for m in ax.collections if _is_point(m)]
    drawn = np.concatenate([*marks, np.empty(0)])
    drawn = drawn[np.isfinite(drawn)]
    between = (
        f", points from {drawn.min():.3g} to {drawn.max():.3g}" if len(drawn) else ""
    )
    return f"{title}: {len(rows)} rows, {span}; {measured}{between}."


def _is_point(marks: object) -> bool:
    return str(getattr(marks, "get_gid", str)() or "").startswith("points")


def svg(ax: Axes) -> str:
    """Write a figure as SVG that is the same in every process, and follows a dark page.

    Parameters
    ----------
    ax : Axes
        The figure; it is closed.

    Returns
    -------
    str
        The document, without a date or a creator.

    Raises
    ------
    ValueError
        Where the axes were taken out of their figure.
    """
    import io
    import warnings

    import matplotlib.pyplot as plt
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    figure = ax.figure.get_figure(root=True)
    if figure is None:
        raise ValueError("these axes belong to no figure")
    buffer = io.StringIO()
    with style(), warnings.catch_warnings():
        # The reader's own fonts draw the text: a glyph that ours lacks is no loss.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        for patch in (figure.patch, *(axes.patch for axes in figure.axes)):
            patch.set(facecolor="none", edgecolor="none")
        # Not `savefig`, which draws everything once more for the layout.
        FigureCanvasSVG(figure).print_svg(
            buffer, metadata={"Date": None, "Creator": None}
        )
    plt.close(figure)
    return _themed(buffer.getvalue())


_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
_DARK = {
    INK: "#e8ebee",
    MUTED: "#a8b1bb",
    GRID: "#37414c",
    HATCH: "#5d6975",
    PAPER: "#14191f",
    ACCENT: "#56b4e9",
    **{band.ink: band.colour for band in BANDS.values() if band.ink != MUTED},
}


_FINER = re.compile(r"(\.\d\d)\d+")  # than a hundredth of a point, which nobody sees


def _themed(document: str) -> str:
    """Let the page's fonts and its dark mode reach into the image, and drop what says nothing."""
    rules = "".join(
        f'[style*="{kind}: {light}"]{{{kind}:{dark}!important}}'
        for light, dark in _DARK.items()
        for kind in ("fill", "stroke")
    )
    sheet = f"<style>text{{font-family:{_FONTS}!important}}@media (prefers-color-scheme:dark){{"
    document = re.sub(
        r"<metadata>.*?</metadata>|<!DOCTYPE[^>]*>", "", document, flags=re.DOTALL
    )
    document = re.sub(r' transform="rotate\(-?0 [^)]*\)"|(?<=\n) +', "", document)
    document = document.replace(" font-family: 'DejaVu Sans';", "")
    document = re.sub(r"<[^>]+>", lambda tag: _FINER.sub(r"\1", tag[0]), document)
    head, mark, rest = document.partition("<defs>")
    return f"{head}{sheet}{rules}}}</style>{mark}{rest}"
