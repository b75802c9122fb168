"""Executed notebooks as pieces of a page."""

from __future__ import annotations

import re
from pathlib import Path

from assess.notebooks.files import read


def fragment(path: Path, *, has_code: bool = True) -> tuple[str, str]:
    """Give an executed notebook as HTML that fits into another page.

    Parameters
    ----------
    path : Path
        The notebook.
    has_code : bool, default True
        Whether its code is shown, or only what it says and shows.

    Returns
    -------
    tuple of str
        Its title, and the rest below it: without ids, its headings from the third level down, links
        to other notebooks leading to ``#notebook-NN``.
    """
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(
        template_name="basic",
        exclude_input=not has_code,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )
    told, _ = exporter.from_notebook_node(read(path))
    title = re.search(r"<h1[^>]*>(.*?)</h1>", told, re.DOTALL)
    body = told.replace(title[0], "", 1) if title else told
    body = re.sub(r' id="[^"]*"', "", body)
    body = re.sub(r'href="(?:[^"#]*/)?(\d\d)_[^"]*\.ipynb"', r'href="#notebook-\1"', body)
    for level in (3, 2):
        body = re.sub(rf"(</?h){level}\b", rf"\g<1>{level + 1}", body)
    return (title[1] if title else path.stem), body
