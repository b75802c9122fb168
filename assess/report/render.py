"""Render a report as HTML, Markdown and CSV, with the only templates of assess, and print it as PDF."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from pandas import DataFrame

from assess.errors import AssessError, counted
from assess.figures import short
from assess.report import explorer
from assess.report.model import Picture, Section, Table
from assess.score.claims import Claims
from assess.score.result import Provenance, Result
from assess.untrusted import clean, clean_lines, markdown_text
from assess.words import UNKNOWN, Grid, csv_of
from assess.writing import write_together

Values = Mapping[str, Any]
TEMPLATES = Path(__file__).parent / "templates"
NAME_LENGTH = 80
# the tables of the summary, and their columns
SUMMARY_ROWS = 8
SUMMARY = {
    "short-list": ("label", "service_id", "p_top", "wave", "owner"),
    "label-changes": ("service_id", "before", "after", "because"),
    "unknown-facts": ("fact", "services_n", "decides_n"),
}
DETAILS = {
    "gates": "gates",
    "atoms": "checks",
    "dimensions": "dimensions",
    "clocks": "clocks",
}
CLOSED = ("pass", "na")
# what is itself in an address between double quotes
_PLAIN = " !$'()*+,-./:;<=>?@[]^_`{|}~"
BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
)
FLAGS = (
    "--headless",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-pdf-header-footer",
    "--generate-pdf-document-outline",
)
PATIENCE_SECONDS = 300
_PAGE = re.compile(rb"^(\d+) 0 obj\s*<</Type /Page\b", re.MULTILINE)


@cache
def environment(*, html: bool) -> Environment:
    """Return the Jinja environment; HTML is escaped automatically, Markdown by the filter ``md``."""
    env = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=html,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        auto_reload=False,  # else each of ten thousand records asks whether its template changed
    )
    env.filters |= {
        "md": markdown_text,
        "clean": clean,
        "clean_lines": clean_lines,
        "brief": partial(short, length=NAME_LENGTH),
        "data_uri": data_uri,
        "isolated": isolated,
        "sentence": sentence,
    }
    env.globals |= {"counted": counted, "table": markdown_table, "unknown": UNKNOWN}
    env.tests |= {
        "table": lambda part: isinstance(part, Table),
        "picture": lambda part: isinstance(part, Picture),
    }
    return env


def markdown_table(table: Table) -> str:
    """Write a table as Markdown; a label carries the symbol of its band."""
    numbers = [column.is_number for column in table.columns]
    rows = [
        [f"{cell.band.symbol} {cell.text}" if cell.band else cell.text for cell in cells]
        for cells in table.rows()
    ]
    return Grid([column.title for column in table.columns], numbers, rows).markdown()


def data_uri(svg: str) -> Markup:
    """Write a drawing as a ``data:`` URI, as text: a third shorter than base64."""
    lines = re.sub(r"^<\?xml.*?\?>|(?<=>)\n+", "", svg.strip())
    short = re.sub(r"<[^>']+>", lambda tag: tag[0].replace('"', "'"), lines)
    return Markup(f"data:image/svg+xml,{quote(short, safe=_PLAIN)}")


def page(values: Values) -> str:
    """Render a self-contained page; its CSP allows only its own script, by hash."""
    script = (TEMPLATES / "page.js").read_text("utf-8")
    style = ""
    place = values.get("explorer", "")
    if place:
        script += explorer.script()
        style = explorer.style()
    own = {
        "explorer": place,
        "script": Markup(script),
        "script_hash": Markup(explorer.hash_of(script)),
    }
    return render_page("page.html", {**values, **own}, style)


def render_page(template: str, values: Values, style: str = "") -> str:
    """Render an HTML template with the common style and additional styles."""
    whole = (TEMPLATES / "style.css").read_text("utf-8") + style
    writer = environment(html=True).get_template(template)
    return writer.render(**values, style=Markup(whole))


def document(template: str, values: Values) -> str:
    """Render a Markdown template, with single blank lines."""
    text = environment(html=False).get_template(template).render(**values)
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.strip() + "\n"


def tables_of(sections: Iterable[Section]) -> list[Table]:
    """List the tables of sections, in the order of the page."""
    return [part for section in sections for part in section.of(Table)]


def summary(values: Values, claims: Claims, provenance: Provenance) -> str:
    """Write a summary that fits into a comment: decision, changes, unknowns, limits."""
    sections = {section.id: section for section in values["sections"]}
    tables = {table.id: table for table in tables_of(sections.values())}
    short = []
    for name, keys in SUMMARY.items():
        if name in tables:
            columns = [column for column in tables[name].columns if column.key in keys]
            narrow = replace(tables[name], columns=columns, limit=SUMMARY_ROWS, note="")
            short.append(narrow)
    verdicts = claims.frame["verdict"].value_counts()
    counts = ", ".join(f"{n} {verdict}" for verdict, n in verdicts.items())
    lines = [
        f"Claims of the argument on this fleet: {counts}.",
        *sections["coverage"].warnings,
        *sections["backtest"].text[:1],
    ]
    origin = f"{provenance.quarter}, policy {provenance.policy_hash}"
    footer = (
        f"{origin}, assess {provenance.version}. "
        "Full report: index.html, report.md, report.json."
    )
    return document(
        "summary.md",
        {
            **values,
            "facts": sections["decision"].facts,
            "tables": short,
            "lines": lines,
            "footer": footer,
        },
    )


def csv_tables(
    sections: Iterable[Section], results: Iterable[Result]
) -> dict[str, DataFrame]:
    """List tables of the page, frames of scores and contents of cards, unrounded, by file."""
    tables = {table.id: table.shown for table in tables_of(sections)}
    for result in results:
        tables[f"score-{result.name.replace('_', '-')}"] = result.shown.reset_index()
        for name, word in DETAILS.items():
            if name in result.details:
                detail = result.details[name]
                if "state" in detail:
                    detail = detail[~detail["state"].isin(CLOSED)]
                tables[f"service-{word}"] = detail
    return tables


def write_csv(tables: Mapping[str, DataFrame], directory: Path) -> None:
    """Write tables as CSV files by name; an empty cell is unknown."""
    write_together(
        (directory / f"{name}.csv", csv_of(table, is_spreadsheet=True))
        for name, table in tables.items()
    )


def isolated(text: object) -> Markup:
    """Escape any text; text that may be right-to-left is isolated from its surroundings."""
    line = clean(text)
    return escape(line) if line.isascii() else Markup("<bdi>{}</bdi>").format(line)


def sentence(text: object) -> Markup:
    """Escape a sentence; a command between backticks is code."""
    return Markup(re.sub(r"`(\w[^`]*)`", r"<code>\1</code>", str(isolated(text))))


def browser() -> str:
    """Return the path of ``ASSESS_CHROMIUM``, else of the first Chromium that is installed."""
    named = os.environ.get("ASSESS_CHROMIUM")
    names = [named] if named else BROWSERS
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        raise AssessError(
            f"cannot write a PDF: {named or 'Chromium'} is not installed",
            hint="run apt-get install chromium, set ASSESS_CHROMIUM, or print the page from any browser",
        )
    return path


def pdf(write: Callable[[Mapping[str, int]], str], at: datetime) -> bytes:
    """Print a page twice: the first run finds the page number of each part.

    ``write`` returns the HTML for the page numbers by anchor; ``at`` replaces the printing time.
    """
    program = browser()
    with TemporaryDirectory(prefix="assess-") as place:
        once = _printed(program, write({}), Path(place))
        twice = _printed(program, write(starts(once)), Path(place))
    return _stamped(twice, at)


def on_one_page(pages: Iterable[str], at: datetime) -> bytes:
    """Print the first of several versions of a page that fits on one sheet, else the last one."""
    program = browser()
    printed = b""
    with TemporaryDirectory(prefix="assess-") as place:
        for html in pages:
            printed = _printed(program, html, Path(place))
            if len(_PAGE.findall(printed)) == 1:
                break
    return _stamped(printed, at)


def _stamped(printed: bytes, at: datetime) -> bytes:
    """Replace the printing time, so that the same input gives the same bytes."""
    stamp = f"{at:D:%Y%m%d%H%M%S}".encode()
    return re.sub(rb"(?<=Date \()D:\d{14}", stamp, printed)


def _printed(program: str, html: str, place: Path) -> bytes:
    page = place / "page.html"
    file = place / "page.pdf"
    page.write_text(html, encoding="utf-8")
    file.unlink(missing_ok=True)
    command = [
        program,
        *FLAGS,
        f"--user-data-dir={place / 'profile'}",
        f"--print-to-pdf={file}",
    ]
    if getattr(os, "geteuid", lambda: 1)() == 0:
        command.append("--no-sandbox")  # Chromium refuses its sandbox to root
    try:
        ran = subprocess.run(
            [*command, page.as_uri()],
            capture_output=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AssessError(f"{program} failed to print: {error}", hint=_BY_HAND) from error
    if not file.is_file():
        last = ran.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise AssessError(f"{program} failed to print: {' '.join(last)}", hint=_BY_HAND)
    printed = file.read_bytes()
    if b"/BaseFont" not in printed:
        raise AssessError(f"{program} has no font: the pages would be blank", hint=_FONTS)
    return printed


_BY_HAND = "print the page from any browser"
_FONTS = f"install one, such as Debian's fonts-dejavu-core, or {_BY_HAND}"


def starts(printed: bytes) -> dict[str, int]:
    """Read the page number of each link target from a PDF of Chromium, counted from 1."""
    pages = _PAGE.findall(printed)
    numbers = {page: number for number, page in enumerate(pages, start=1)}
    targets = re.findall(rb"/([\w.-]+) \[(\d+) 0 R /XYZ", printed)
    return {name.decode(): numbers[page] for name, page in targets if page in numbers}
