"""Tell a report as HTML or Markdown: the only place that knows templates."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from assess.figures import clean, short
from assess.report.model import Picture, Table

TEMPLATES = Path(__file__).parent / "templates"
NAME_LENGTH = 80
_MARKDOWN = re.compile(r"([\\`*_\[\]|#~$])")


@cache
def environment(*, html: bool) -> Environment:
    """Give the templates' environment.

    Parameters
    ----------
    html : bool
        Whether everything is escaped for HTML; else for Markdown, by the filter ``md``.

    Returns
    -------
    Environment
        With the filters and tests that the templates use.
    """
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=html,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    made.filters |= {"md": markdown, "clean": clean, "brief": brief, "data_uri": data_uri}
    made.tests |= {
        "table": lambda part: isinstance(part, Table),
        "picture": lambda part: isinstance(part, Picture),
    }
    return made


def brief(name: object) -> str:
    """Shorten a name to what a table can hold.

    Parameters
    ----------
    name : object
        Any text.

    Returns
    -------
    str
        At most 80 characters, on one line.
    """
    return short(name, NAME_LENGTH)


def markdown(text: object) -> str:
    """Escape text for Markdown, also within a table.

    Parameters
    ----------
    text : object
        Any text: names are not ours and may hold anything.

    Returns
    -------
    str
        One line that renders as the same characters.
    """
    escaped = _MARKDOWN.sub(r"\\\1", clean(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def data_uri(svg: str) -> str:
    """Turn a drawing into an address that holds it.

    Parameters
    ----------
    svg : str
        The drawing.

    Returns
    -------
    str
        A ``data:`` URI.
    """
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def page(values: Mapping[str, Any]) -> str:
    """Tell a report as one page that needs nothing else.

    Parameters
    ----------
    values : mapping
        What the template names.

    Returns
    -------
    str
        The page; its policy admits only its own script, by hash.
    """
    script, style = ((TEMPLATES / name).read_text("utf-8") for name in ("page.js", "style.css"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        environment(html=True)
        .get_template("page.html")
        .render(
            **values,
            script=Markup(script),
            style=Markup(style),
            script_hash=f"sha256-{digest}",
        )
    )


def document(template: str, values: Mapping[str, Any]) -> str:
    """Tell something as Markdown.

    Parameters
    ----------
    template : str
        File name of the template.
    values : mapping
        What it names.

    Returns
    -------
    str
        The text, with single blank lines.
    """
    told = environment(html=False).get_template(template).render(**values)
    return re.sub(r"\n{3,}", "\n\n", told).strip() + "\n"
