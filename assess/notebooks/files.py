"""Notebook files: find, read and write them, and convert them to parts of a page."""

import ast
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain, count
from pathlib import Path
from typing import Any

import nbformat

from assess.config import data_path
from assess.errors import AssessError, no_such
from assess.writing import write_beside

KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE_INFO = {"name": "python", "pygments_lexer": "ipython3"}
PARAMETERS = "parameters"
SLUG_WORDS = 4
SLUG_LENGTH = 40


def find(selection: Sequence[str | Path] = ()) -> list[Path]:
    """Find notebooks by number (``02``), name or file, in `notebooks/` here first; without any, all."""
    homes = (Path("notebooks"), data_path("notebooks"))
    listed = (sorted(home.glob("*.ipynb")) for home in homes)
    known = next(filter(None, listed), [])
    if not selection:
        return known
    chosen: list[Path] = []
    for wanted in map(str, selection):
        is_file = wanted.endswith(".ipynb") and Path(wanted).is_file()
        by_name = [p for p in known if p.name in (wanted, f"{wanted}.ipynb")]
        by_number = [p for p in known if p.name.startswith(f"{wanted:0>2}_")]
        hits = [Path(wanted)] if is_file else by_name or by_number
        if not hits:
            raise no_such("notebook", wanted, [p.stem for p in known])
        chosen += hits
    return chosen


def read(path: Path) -> Any:
    """Read a notebook; raise `AssessError` if the file is not one."""
    try:
        node = nbformat.reads(path.read_text("utf-8"), as_version=nbformat.NO_CONVERT)
        nbformat.validate(node)
    except (nbformat.ValidationError, ValueError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise AssessError(
            f"{path} is not a notebook: {reason}", hint="restore the file"
        ) from error
    return node


def write(node: Any, path: Path) -> None:
    """Write a notebook, with one newline at its end."""
    nbformat.validate(node)
    write_beside(path, nbformat.writes(node).rstrip("\n") + "\n")


def tidy(node: Any, name: str) -> Any:
    """Fix cell ids, cut metadata and join streams in place: the rest is the same after every run."""
    node.metadata = nbformat.from_dict(
        {"kernelspec": dict(KERNELSPEC), "language_info": dict(LANGUAGE_INFO)}
    )
    node.nbformat_minor = 5
    taken: set[str] = set()
    for cell in node.cells:
        tags = cell.metadata.get("tags", [])
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        cell.id = _fixed_id(cell, number(name), taken)
        taken.add(cell.id)
        if cell.cell_type == "code":
            cell.outputs = list(_joined_streams(cell.outputs))
    return node


def has_parameters(cell: Any) -> bool:
    """Return whether a run may set the values of a cell."""
    return PARAMETERS in cell.metadata.get("tags", [])


def number(name: str) -> str:
    """Return the two digits that the name of a notebook starts with."""
    match = re.match(r"\d{2}", name)
    return match[0] if match else "00"


def _fixed_id(cell: Any, number: str, taken: set[str]) -> str:
    """Return the id of a cell if it is fixed already, else one made of its first words."""
    if re.fullmatch(rf"{number}-[a-z0-9-]+", cell.id) and cell.id not in taken:
        return str(cell.id)
    first = cell.source.lower().split("\n")[0]
    words = re.findall(r"[a-z0-9]+", first)[:SLUG_WORDS]
    if has_parameters(cell):
        words = [PARAMETERS]
    whole = "-".join([number, *(words or ["cell"])])
    slug = whole[:SLUG_LENGTH].rstrip("-")
    numbered = (f"{slug}-{copy}" for copy in count(2))
    return next(name for name in chain([slug], numbered) if name not in taken)


def _joined_streams(outputs: Sequence[Any]) -> Iterator[Any]:
    """Join the pieces of one stream; the kernel cuts them by the clock."""
    last = None
    for output in outputs:
        piece = output.output_type == "stream"
        if piece and last is not None and last.name == output.name:
            last.text += output.text
            continue
        last = output if piece else None
        yield output


def tree(cell: Any) -> ast.Module | None:
    """Parse the code of a cell; return None if it is not plain Python."""
    try:
        return ast.parse(cell.source)
    except SyntaxError:
        return None


def nodes(cell: Any) -> Iterator[ast.AST]:
    """List the parts of the code of a cell; none if it is not plain Python."""
    return ast.walk(tree(cell) or ast.Module([], []))


def literals(cell: Any) -> dict[str, Any]:
    """Return the plain literals that a cell assigns, by name."""
    values = {}
    parsed = tree(cell)
    for statement in parsed.body if parsed else ():
        match statement:
            case ast.Assign(targets=[ast.Name(id=name), *_], value=value):
                with suppress(ValueError):
                    values[name] = ast.literal_eval(value)
    return values


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
    # deepest first, or a level would be shifted twice
    for level in (3, 2):
        body = re.sub(rf"(</?h){level}\b", rf"\g<1>{level + 1}", body)
    return (title[1] if title else path.stem), body
