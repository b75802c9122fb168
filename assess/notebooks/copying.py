"""Copy the notebooks to a project, set to read its own snapshots and policy."""

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat

from assess.config import data_path
from assess.errors import AssessError
from assess.notebooks.files import PARAMETERS, read, tidy, write

SNAPSHOTS = "../data/snapshots"
OWN = {
    "snapshot": SNAPSHOTS,  # the newest
    "previous_snapshot": f"{SNAPSHOTS}@previous",
    "policy_file": None,
}
POLICY = "policy.toml"


def copy(directory: str | Path) -> tuple[list[Path], list[Path]]:
    """Copy the packaged notebooks without outputs; return the new files, and those kept as they are.

    Their parameters name the newest snapshot in `data/snapshots` beside the directory, and
    `policy.toml` there if it exists.
    """
    target = Path(directory)
    if target.exists() and not target.is_dir():
        raise AssessError(f"{target} is a file", hint="name a directory")
    values: dict[str, Any] = dict(OWN)
    if (target.parent / POLICY).is_file():
        values["policy_file"] = f"../{POLICY}"
    made = []
    kept = []
    for path in sorted(data_path("notebooks").glob("*.ipynb")):
        place = target / path.name
        if place.exists():
            kept.append(place)
            continue
        write(_emptied(read(path), values, path.name), place)
        made.append(place)
    return made, kept


def _emptied(node: Any, values: Mapping[str, Any], name: str) -> Any:
    """Clear the outputs of a notebook, which show the invented fleet, and set its parameters."""
    for cell in node.cells:
        if PARAMETERS in cell.metadata.get("tags", []):
            cell.source = _assigned(cell.source, values)
        if cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None
    return tidy(nbformat.from_dict(node), name)


def _assigned(source: str, values: Mapping[str, Any]) -> str:
    """Return the code of a cell with new values for the names that it assigns on one line."""
    lines = source.splitlines()
    for statement in ast.parse(source).body:
        is_name = isinstance(statement, ast.Assign) and isinstance(
            statement.targets[0], ast.Name
        )
        if is_name and (name := statement.targets[0].id) in values:  # type: ignore[attr-defined]
            lines[statement.lineno - 1] = f"{name} = {_quoted(values[name])}"
    return "\n".join(lines)


def _quoted(value: Any) -> str:
    return "None" if value is None else f'"{value}"'
