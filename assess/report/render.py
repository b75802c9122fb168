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

from assess.figures import clean
from assess.report import markup
from assess.report.model import Picture, Table

TEMPLATES = Path(__file__).parent / "templates"
_MARKDOWN = re.compile(r"([\\`*_\[\]|#~$])")


@cache
def environment(*, html: bool) -> Environment:
    """Give the templates' environment: HTML is escaped by itself, Markdown by the filter ``md``."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=html,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    made.filters |= {"md": markdown, "clean": clean, "data_uri": data_uri}
    made.globals |= {"badge": markup.badge, "card": markup.card, "table": markup.table}
    made.tests |= {
        "table": lambda part: isinstance(part, Table),
        "picture": lambda part: isinstance(part, Picture),
    }
    return made


def markdown(text: object) -> str:
    """Escape any text for one line of Markdown, also within a table."""
    escaped = _MARKDOWN.sub(r"\\\1", clean(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def data_uri(svg: str) -> str:
    """Turn a drawing into a ``data:`` address that holds it."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def page(values: Mapping[str, Any]) -> str:
    """Tell a report as one page that needs nothing else; it admits only its own script, by hash."""
    script, style = (
        (TEMPLATES / name).read_text("utf-8") for name in ("page.js", "style.css")
    )
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
    """Tell something as Markdown, with single blank lines."""
    told = environment(html=False).get_template(template).render(**values)
    return re.sub(r"\n{3,}", "\n\n", told).strip() + "\n"
