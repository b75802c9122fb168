"""Notebook files: find them, read and write them, keep of them what does not change."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat

from assess.config import PACKAGE
from assess.errors import AssessError

KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE_INFO = {"name": "python", "pygments_lexer": "ipython3"}
PARAMETERS = "parameters"
SLUG_WORDS, SLUG_LENGTH = 4, 40


def find(selection: Sequence[str | Path] = ()) -> list[Path]:
    """Find notebooks.

    Parameters
    ----------
    selection : sequence of str or Path
        Numbers such as ``02``, names or files; all notebooks where it is empty.

    Returns
    -------
    list of Path
        Those of `notebooks/` here, else those that came with assess; sorted.

    Raises
    ------
    AssessError
        Where a selection names no notebook.
    """
    homes = (
        Path("notebooks"),
        PACKAGE / "_data" / "notebooks",
        PACKAGE.parent / "notebooks",
    )
    known = next((found for home in homes if (found := sorted(home.glob("*.ipynb")))), [])
    if not selection:
        return known
    chosen: list[Path] = []
    for wanted in map(str, selection):
        hits = (
            [Path(wanted)] if wanted.endswith(".ipynb") and Path(wanted).is_file() else []
        )
        hits = hits or [p for p in known if p.name in (wanted, f"{wanted}.ipynb")]
        hits = hits or [p for p in known if p.name.startswith(f"{wanted:0>2}_")]
        if not hits:
            names = ", ".join(p.stem for p in known)
            raise AssessError(
                f"there is no notebook {wanted!r}", hint=f"notebooks: {names}"
            )
        chosen += hits
    return chosen


def read(path: Path) -> Any:
    """Read a notebook.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    NotebookNode
        As nbformat has it.

    Raises
    ------
    AssessError
        Where the file is no notebook.
    """
    try:
        node = nbformat.reads(
            path.read_text(encoding="utf-8"), as_version=nbformat.NO_CONVERT
        )
        nbformat.validate(node)
    except (nbformat.ValidationError, ValueError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise AssessError(
            f"{path} is not a notebook: {reason}", hint="restore the file"
        ) from error
    return node


def write(node: Any, path: Path) -> None:
    """Write a notebook, with one newline at its end.

    Parameters
    ----------
    node : NotebookNode
        What to write.
    path : Path
        The file.
    """
    nbformat.validate(node)
    path.write_text(
        nbformat.writes(node).rstrip("\n") + "\n", encoding="utf-8", newline="\n"
    )


def tidy(node: Any, name: str) -> Any:
    """Keep of an executed notebook what is the same after every execution.

    Parameters
    ----------
    node : NotebookNode
        The notebook; it is changed.
    name : str
        Name of its file, which starts with its number.

    Returns
    -------
    NotebookNode
        With fixed cell ids, minimal metadata, and streams in one piece.
    """
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


def number(name: str) -> str:
    """Give the number that the name of a notebook starts with.

    Parameters
    ----------
    name : str
        Name of the file.

    Returns
    -------
    str
        Two digits.
    """
    found = re.match(r"\d{2}", name)
    return found[0] if found else "00"


def _fixed_id(cell: Any, number: str, taken: set[str]) -> str:
    """Keep an id that is fixed already; else make one from the first words."""
    if re.fullmatch(rf"{number}-[a-z0-9-]+", cell.id) and cell.id not in taken:
        return str(cell.id)
    words = re.findall(r"[a-z0-9]+", cell.source.lower().split("\n")[0])[:SLUG_WORDS]
    if PARAMETERS in cell.metadata.get("tags", []):
        words = [PARAMETERS]
    slug = "-".join([number, *(words or ["cell"])])[:SLUG_LENGTH].rstrip("-")
    candidate, copy = slug, 1
    while candidate in taken:
        copy += 1
        candidate = f"{slug}-{copy}"
    return candidate


def _joined_streams(outputs: Sequence[Any]) -> Iterator[Any]:
    """Join pieces of one stream: where they are cut depends on the clock."""
    last = None
    for output in outputs:
        piece = output.output_type == "stream"
        if piece and last is not None and last.name == output.name:
            last.text += output.text
            continue
        last = output if piece else None
        yield output


def tree(cell: Any) -> ast.Module | None:
    """Parse the code of a cell.

    Parameters
    ----------
    cell : NotebookNode
        A cell.

    Returns
    -------
    Module or None
        None where it is not plain Python.
    """
    try:
        return ast.parse(cell.source)
    except SyntaxError:
        return None


def literals(cell: Any) -> dict[str, Any]:
    """Give the names that a cell sets to plain literals.

    Parameters
    ----------
    cell : NotebookNode
        A cell.

    Returns
    -------
    dict
        Values by name.
    """
    found = {}
    for statement in (tree(cell) or ast.Module([], [])).body:
        if isinstance(statement, ast.Assign) and isinstance(
            statement.targets[0], ast.Name
        ):
            with suppress(ValueError):
                found[statement.targets[0].id] = ast.literal_eval(statement.value)
    return found
