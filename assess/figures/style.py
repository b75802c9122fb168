"""The style of every figure, applied inside the call and never globally."""

from __future__ import annotations

import io
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from inspect import getdoc
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd

from assess.errors import counted
from assess.untrusted import clean, printable
from assess.words import paragraphs, to_html, together

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Draw = TypeVar("Draw", bound="Callable[..., Axes]")
INK = "#1f2933"
MUTED = "#5b6470"
GRID = "#e3e6ea"
PAPER = "#ffffff"
ACCENT = "#0072b2"
HATCH = "#aab3bc"
_COLOURED = {
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "axes.titlecolor": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "grid.color": GRID,
    "xtick.color": MUTED,
    "ytick.color": INK,
    "text.color": INK,
}
LABEL_LENGTH = 40
ROWS_SHOWN = 25
REST = re.compile(r"and \d+ more")  # the last row where not all have one
# A figure in a notebook stays legible with 48 colours, at a quarter of the bytes.
COLOURS = 48
_GLYPH = r"Glyph .* missing from"  # a warning of matplotlib
NOTEBOOK_DPI = 88


@dataclass(frozen=True)
class Band:
    """The look of a band of verdicts, never by colour alone.

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
# of labels of services, of verdicts on targets and claims, and of states of gates and checks
_WORDS = pd.read_csv(Path(__file__).with_name("bands.csv"), index_col="word")
_BAND_OF = _WORDS["band"].to_dict()
LABELS = tuple(_WORDS.index[_WORDS["of"] == "service"])


def band_of(label: object) -> Band:
    """Return the band of a label or verdict.

    Parameters
    ----------
    label : object
        A label such as MOVE NOW, or a verdict such as supported. Any other value, and NA, is
        unknown.

    Returns
    -------
    Band
        Its look.
    """
    return BANDS[_BAND_OF.get(str(label), "unknown")]


@cache
def _settings() -> dict[Any, Any]:
    """Return the settings of `assess.mplstyle`, with the colours."""
    from matplotlib import font_manager, rc_params_from_file

    file = Path(__file__).with_name("assess.mplstyle")
    settings = rc_params_from_file(file, use_default_template=False)
    # matplotlib warns of each font that is not here
    fonts = [f for f in settings["font.family"] if f in font_manager.get_font_names()]
    return {**settings, "font.family": fonts, **_COLOURED}


@contextmanager
def style() -> Iterator[None]:
    """Apply the style within a block, and only there.

    Yields
    ------
    None
        Nothing; the style holds until the block ends.
    """
    from matplotlib import rc_context

    with rc_context(_settings()):
        yield


def figure(**about: str) -> Callable[[Draw], Draw]:
    """Return a decorator for a figure: draw in the style, and document the parameters."""

    def decorate(draw: Draw) -> Draw:
        drawn = style()(draw)
        given = {**about, "ax": "Axes to draw on; default: a new figure."}
        lines = [
            f"{name} : {draw.__annotations__[name]}\n    {text}"
            for name, text in given.items()
        ]
        parts = [getdoc(draw) or "", "", "Parameters\n----------", *lines]
        drawn.__doc__ = "\n".join([*parts, "", "Returns\n-------\nAxes\n    The axes."])
        return drawn

    return decorate


def notebook_style() -> None:
    """Set the display of frames and figures in a notebook; call it in the first cell."""
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    # Load the backend now. Inside `style`, its interactive mode would be undone on the way
    # out, and the notebook would show the first figure only.
    plt.switch_backend(mpl.get_backend())
    pd.set_option(
        "display.precision", 2, "display.max_rows", 20, "display.max_colwidth", 40
    )
    plt.rcParams.update({**_settings(), "savefig.format": "png"})
    # a table beside each figure has the names that no font here can draw
    warnings.filterwarnings("ignore", message=_GLYPH)
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None:
        from matplotlib.figure import Figure

        formatters = shell.display_formatter.formatters
        formatters["image/png"].for_type(Figure, _small_png)
        html = {pd.DataFrame: to_html, str: paragraphs, list: together, tuple: together}
        for kind, write in html.items():
            formatters["text/html"].for_type(kind, write)
        for kind in (pd.DataFrame, pd.Series, pd.Index):
            formatters["text/plain"].for_type(kind, _print_table)


def _print_table(table: object, printer: Any, _: bool) -> None:
    """Print as pandas does, without control characters from names of the fleet."""
    for number, line in enumerate(printable(repr(table)).split("\n")):
        if number:
            printer.break_()
        printer.text(line)


def _small_png(figure: Figure) -> tuple[bytes, Any]:
    """Return a figure as a small PNG, with the alternative text of its image."""
    from PIL import Image

    drawn = io.BytesIO()
    small = io.BytesIO()
    figure.savefig(drawn, format="png", bbox_inches="tight", dpi=NOTEBOOK_DPI)
    image = Image.open(drawn).convert("RGB")
    image = image.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE)
    image.save(small, "PNG", optimize=True)
    return small.getvalue(), {"alt": "; ".join(map(describe, figure.axes))}


def short(name: object, length: int = LABEL_LENGTH) -> str:
    """Shorten a name for an axis.

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
    """Describe a figure in one sentence: its alternative text.

    Parameters
    ----------
    ax : Axes
        A figure of this package.

    Returns
    -------
    str
        Title, rows from first to last, and what the axis measures from where to where.

    Examples
    --------
    >>> figures.describe(figures.coverage(inventory)).partition(";")[0]
    'Coverage per source: 14 rows, nomad to podman'
    """
    title = ax.get_title(loc="left")
    rows = [tick.get_text() for tick in ax.get_yticklabels() if tick.get_text()]
    if not rows:
        return f"{title}: {' '.join(t.get_text() for t in ax.texts) or 'nothing to show'}"
    measured = ax.get_xlabel().replace("\n", "; ")
    # the row “and 9 more” is not the end of the span
    rest = f", {rows.pop()}" if len(rows) > 1 and REST.fullmatch(rows[-1]) else ""
    span = rows[0] if len(rows) == 1 else f"{rows[0]} to {rows[-1]}"
    points = [m for m in ax.collections if str(m.get_gid()).startswith("points")]
    marks = [np.asarray(m.get_offsets())[:, 0] for m in points]
    drawn = np.concatenate([[], *marks])
    drawn = drawn[np.isfinite(drawn)]
    # no 1e+03: three digits that count, written out
    ends = [f"{float(f'{end(drawn):.3g}'):,g}" for end in (np.min, np.max) if len(drawn)]
    between = f", points from {' to '.join(ends)}" if ends else ""
    return f"{title}: {counted(len(rows), 'row')}, {span}{rest}; {measured}{between}."


def svg(ax: Axes) -> str:
    """Return a figure as SVG: the same bytes in every process, and readable on a dark page.

    Parameters
    ----------
    ax : Axes
        The figure. It is closed afterwards.

    Returns
    -------
    str
        The document, without a date or a creator.

    Raises
    ------
    ValueError
        If the axes belong to no figure.
    """
    import matplotlib.pyplot as plt
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    figure = ax.figure.get_figure(root=True)
    if figure is None:
        raise ValueError("these axes belong to no figure")
    buffer = io.StringIO()
    with style(), warnings.catch_warnings():
        # The fonts of the reader draw the text, so a glyph missing here is no loss.
        warnings.filterwarnings("ignore", message=_GLYPH)
        for patch in (figure.patch, *(axes.patch for axes in figure.axes)):
            patch.set(facecolor="none", edgecolor="none")
        for axes in figure.axes:
            # beside long names of rows, they may be wider than what is left
            vars(axes)["_left_title"].set_wrap(True)
            if not axes.get_ylabel():
                # else all names of rows are measured to find the place of nothing
                axes.yaxis.set_label_coords(0, 0.5)
        # `savefig` would draw everything a second time for the layout.
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

# Digits beyond a hundredth of a point, which nobody can see.
_INVISIBLE_DIGITS = re.compile(r"(\.\d\d)\d+")
# Names that nothing refers to, and groups that draw nothing.
_NAMES = re.compile(r'(?<=<g) id="[a-z0-9_.]+_\d+"(?=/?>)')
_EMPTY = re.compile(r"<g/>\n")
_NEEDLESS = re.compile(
    r"(?s)<metadata>.*?</metadata>|<!DOCTYPE[^>]*>| transform=.rotate\(-?0 [^)]*\).|(?<=\n) +"
)
_GROUP = re.compile(r"(<g\b[^>]*(?<!/)>|</g>)\n?")
_STYLE = re.compile(r' style="([^"]*)"')
_LINES = re.compile(r' ?\n(?=[A-Za-z"][^<>]*>)')  # within the data of a path


def _themed(document: str) -> str:
    """Add the fonts and dark colours of the page to an SVG, and drop needless markup."""
    document = _NEEDLESS.sub("", document)
    document = _ungrouped(_EMPTY.sub("", _NAMES.sub("", document)))
    document = re.sub(
        r"<[^>]+>",
        lambda tag: _INVISIBLE_DIGITS.sub(r"\1", tag[0]),
        _LINES.sub(" ", document),
    )
    names: dict[str, str] = {}
    document = _STYLE.sub(lambda style: _named(style[1], names), document)
    rules = "".join(f".{name}{{{style}}}" for style, name in names.items())
    shades = {name: _dark_style(style) for style, name in names.items()}
    dark = "".join(f".{name}{{{shade}}}" for name, shade in shades.items() if shade)
    sheet = f"text{{font-family:{_FONTS}!important}}{rules}@media (prefers-color-scheme:dark){{{dark}}}"
    head, mark, rest = document.partition("</style>")
    return f"{head}{sheet}{mark}{rest}"


def _ungrouped(document: str) -> str:
    kept = []

    def shown(tag: re.Match[str]) -> str:
        if tag[1] != "</g>":
            kept.append(tag[1] != "<g>")
            return tag[0] if kept[-1] else ""
        return tag[0] if kept.pop() else ""

    return _GROUP.sub(shown, document)


def _named(style: str, names: dict[str, str]) -> str:
    """Return a class instead of a style, which a figure repeats hundreds of times."""
    # the page has fonts of its own
    short = re.sub(" font-family: [^;]*;|(?<=[:;]) ", "", style)
    return f' class="{names.setdefault(short, f"s{len(names)}")}"'


def _dark_style(style: str) -> str:
    """Return the declarations of a style that have another colour on a dark page."""
    parts = [part.split(":") for part in style.split(";") if ":" in part]
    return ";".join(f"{kind}:{_DARK[value]}" for kind, value in parts if value in _DARK)
