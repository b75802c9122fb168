"""The explorer: a small program on the page that answers questions about its scores.

It ranks by anybody's preferences with the draws of `WhatNext.under`, shows what falls with what,
compares targets, and keeps the rows behind every number at hand.
"""

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup, escape

from assess.report.explorer.data import payload
from assess.score.assessment import Assessment
from assess.score.result import Result
from assess.words import to_html
from assess.writing import write_beside

HERE = Path(__file__).parent
PAGE_STYLE = HERE.parent / "templates" / "style.css"
PLACES = ("what_next", "readiness", "blast_radius", "targets")  # results with a view
HEIGHT = 680  # of the frame in a notebook [px]
PROGRAM = ("ranking.js", "explorer.js")
COMMENTS = ("//", "/**")
LISTED = 20  # rows of the table beside the frame


@cache
def script() -> str:
    """Return the program in a scope of its own, without indents and lines of comment."""
    parts = [(HERE / name).read_text("utf-8") for name in PROGRAM]
    code = [line.strip() for part in parts for line in part.splitlines()]
    kept = [line for line in code if line and not line.startswith(COMMENTS)]
    return "\n".join(["(() => {", '"use strict";', *kept, "})();\n"])


@cache
def style() -> str:
    """Return the style sheet of the program, which builds on that of the page."""
    return (HERE / "explorer.css").read_text("utf-8")


def of_report(scores: Assessment) -> Markup:
    """Return the explorer of a report, with all its views."""
    return place(
        payload(
            scores.what_next,
            scores.readiness,
            scores.blast_radius,
            scores.targets,
        )
    )


def place(data: Mapping[str, Any], *, start: str = "", mark: str = "") -> Markup:
    """Return the element for the program and its data; hidden if scripts are off."""
    return Markup(
        '<div id="explore" class="x" role="region" data-start="{}" data-packed="{}"{} '
        'aria-labelledby="explore-title" hidden>\n'
        '<h2 id="explore-title">Explore</h2>\n</div>'
    ).format(start, pack(data), Markup(mark))


def hash_of(program: str) -> str:
    """Return the source expression of a Content-Security-Policy that allows one script."""
    digest = hashlib.sha256(program.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def pack(data: Mapping[str, Any]) -> str:
    """Return data as compressed JSON in characters without meaning in HTML."""
    densest = (",", ":")
    text = json.dumps(data, separators=densest, allow_nan=False)
    packed = zlib.compress(text.encode(), level=9)
    return base64.b64encode(packed).decode()


def address(*steps: str) -> str:
    """Return the address of a view, as the program reads it."""
    return "#explore/" + "/".join(quote(step, safe="") for step in steps)


@dataclass(frozen=True)
class Explorer:
    """The explorer of one or several results, for a notebook: one self-contained output.

    Attributes
    ----------
    results : sequence of Result
        What it shows: the ranking, readiness, blast radius and targets have views.
    steps : sequence of str
        The first view, such as ``("fails", "host", "h1")``.
    """

    results: Sequence[Result]
    steps: Sequence[str] = ()

    @cached_property
    def html(self) -> str:
        """A whole page that loads nothing."""
        given: dict[str, Any] = {result.name: result for result in self.results}
        data = payload(*(given.get(name) for name in PLACES))
        program = script()
        table = to_html(self.results[0].summary().head(LISTED))
        return Markup(
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
            "style-src 'unsafe-inline'; script-src {}\">"
            "<title>Explore</title><style>{}</style></head>\n"
            '<body class="x-frame"><main><h1>{}</h1>{}<noscript>{}</noscript></main>\n'
            "<script>{}</script></body></html>"
        ).format(
            Markup(hash_of(program)),
            Markup(PAGE_STYLE.read_text("utf-8") + style()),
            data["origin"],
            place(data, start=address(*self.steps), mark=" data-framed"),
            Markup(table),
            Markup(program),
        )

    def save_html(self, path: str | Path) -> None:
        """Write the explorer as a page of its own.

        Parameters
        ----------
        path : str or Path
            The file.
        """
        write_beside(path, self.html)

    def __repr__(self) -> str:
        """Return a line without address or clock."""
        origin = self.results[0].provenance
        names = ", ".join(result.name.replace("_", " ") for result in self.results)
        return f"<Explorer of {names}: {origin.quarter}, policy {origin.policy_hash}>"

    def _repr_html_(self) -> str:
        first = self.results[0]
        quoted = escape(str(self.html))
        # a frame keeps styles, names and the address bar of the notebook out of the way
        return (
            f'<iframe title="Explore" sandbox="allow-scripts" srcdoc="{quoted}" '
            f'style="width:100%;height:{HEIGHT}px;border:0"></iframe>'
            f"<details><summary>{escape(repr(self)[1:-1])}: as a table</summary>"
            f"{to_html(first.summary().head(LISTED))}</details>"
        )
