"""Executed notebooks as pieces of a page."""

from __future__ import annotations

import re
from pathlib import Path

from assess.notebooks.files import read


def fragment(path: Path, *, has_code: bool = True) -> tuple[str, str]:
    """Return the title and the HTML body of an executed notebook, ready for another page.

    The body has no ids, its headings start at the third level, and links to other notebooks
    lead to ``#notebook-NN``.
    """
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(
        template_name="basic",
        exclude_input=not has_code,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )
    html, _ = exporter.from_notebook_node(read(path))
    title = re.search(r"<h1[^>]*>(.*?)</h1>", html, re.DOTALL)
    body = html.replace(title[0], "", 1) if title else html
    body = re.sub(r' id="[^"]*"', "", body)
    body = re.sub(r'href="(?:[^"#]*/)?(\d\d)_[^"]*\.ipynb"', r'href="#notebook-\1"', body)
    for level in (3, 2):
        body = re.sub(rf"(</?h){level}\b", rf"\g<1>{level + 1}", body)
    return (title[1] if title else path.stem), body
