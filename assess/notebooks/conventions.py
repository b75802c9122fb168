"""The conventions of every notebook, as rules that list each deviation."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assess.errors import AssessError
from assess.notebooks.files import (
    KERNELSPEC,
    PARAMETERS,
    find,
    literals,
    number,
    read,
    tree,
)

MAX_BYTES = 250_000
FIRST = ("Question", "What you will decide")
LAST = ("Limits", "Next")
GIVEN = ("snapshot", "policy_file")
MAX_CELL_LINES = 12
MAX_LINES = 60


@dataclass(frozen=True)
class Deviation:
    """A deviation of a notebook from the conventions; `cell` is empty for the whole notebook."""

    notebook: str
    cell: str
    rule: str
    found: str


def check(paths: Sequence[str | Path] = ()) -> list[Deviation]:
    """List the deviations of notebooks from the conventions, without running them."""
    return [deviation for path in find(paths) for deviation in _check(path)]


def _check(path: Path) -> Iterator[Deviation]:
    try:
        node = read(path)
    except AssessError as error:
        yield Deviation(path.name, "", "a valid notebook", str(error))
        return
    text = path.read_bytes().decode("utf-8")
    for rule, found in (
        *_notebook_rules(node, text, path.name),
        *_lesson_rules(node, path),
    ):
        yield Deviation(path.name, "", rule, found)
    for cell in node.cells:
        for rule, found in _cell_rules(cell, number(path.name)):
            yield Deviation(path.name, str(cell.get("id", "")), rule, found)


def _notebook_rules(node: Any, text: str, name: str) -> Iterator[tuple[str, str]]:
    code = [cell for cell in node.cells if cell.cell_type == "code"]
    prose = [cell.source for cell in node.cells if cell.cell_type == "markdown"]
    lines = sum(map(_code_lines, code))
    titles = sum(
        len(re.findall(r"^# ", _without_fences(source), re.M)) for source in prose
    )
    tagged = [cell for cell in code if _is_tagged(cell)]
    ids = [cell.get("id") for cell in node.cells]
    counts = [cell.execution_count for cell in code]
    version = node.metadata.get("language_info", {}).get("version", "")
    setting_up = [cell for cell in code if cell not in tagged][1:]
    holds = {
        "the file is named NN_topic.ipynb": (
            re.fullmatch(r"\d{2}_[a-z0-9_]+\.ipynb", name),
            name,
        ),
        "exactly one H1": (titles == 1, titles),
        "exactly one cell is tagged parameters": (len(tagged) == 1, len(tagged)),
        "at least as many markdown cells as code cells": (
            len(prose) >= len(code),
            f"{len(prose)} and {len(code)}",
        ),
        f"at most {MAX_LINES} lines of code": (lines <= MAX_LINES, lines),
        "stored execution counts 1 to n": (
            counts == list(range(1, len(code) + 1)),
            counts,
        ),
        "every cell id occurs once": (len(ids) == len(set(ids)), ids),
        f"kernelspec {KERNELSPEC['name']}, and no more than it needs": (
            node.metadata.get("kernelspec") == KERNELSPEC,
            node.metadata.get("kernelspec"),
        ),
        "language_info without patch version": (str(version).count(".") < 2, version),
        "metadata holds kernelspec and language_info only": (
            set(node.metadata) == {"kernelspec", "language_info"},
            sorted(node.metadata),
        ),
        f"at most {MAX_BYTES} bytes": (
            len(text.encode()) <= MAX_BYTES,
            len(text.encode()),
        ),
        "one newline at the end": (text.endswith("}\n"), repr(text[-3:])),
        "imports only in the first code cell": (
            not any(_has(cell, ast.Import, ast.ImportFrom) for cell in setting_up),
            "later imports",
        ),
    }
    yield from ((rule, str(found)) for rule, (is_so, found) in holds.items() if not is_so)


def _lesson_rules(node: Any, path: Path) -> Iterator[tuple[str, str]]:
    """Check the narrative of a notebook: question, limits, links to its neighbours."""
    prose = [cell.source for cell in node.cells if cell.cell_type == "markdown"] or [""]
    links = re.findall(r"\]\(([^)\s#]+)", "\n".join(map(_without_fences, prose)))
    broken = [
        link for link in links if "://" not in link and not (path.parent / link).exists()
    ]
    course = sorted(path.parent.glob("[0-9][0-9]_*.ipynb"))
    at = course.index(path) if path in course else 0
    beside = [other.name for other in course[max(at - 1, 0) : at + 2] if other != path]
    unlinked = [name for name in beside if f"]({name})" not in prose[0]]
    asked = [name for name in FIRST if f"**{name}.**" not in prose[0]]
    closing = [name for name in LAST if not re.search(rf"^## {name}$", prose[-1], re.M)]
    limits = prose[-1].partition("## Limits\n")[2].partition("\n## ")[0]
    given = {name for cell in node.cells if _is_tagged(cell) for name in literals(cell)}
    holds = {
        f"the first cell says {' and '.join(FIRST)}": (not asked, f"not {asked}"),
        f"the last cell has the headings {' and '.join(LAST)}": (
            not closing,
            f"not {closing}",
        ),
        "limits are a list": (re.search(r"^- ", limits, re.M), limits[:40]),
        "the first cell links to the notebooks before and after": (
            not unlinked,
            f"not {unlinked}",
        ),
        "every link leads to a file": (not broken, broken),
        f"the parameters name {' and '.join(GIVEN)}": (
            set(GIVEN) <= given,
            sorted(given),
        ),
    }
    yield from ((rule, str(found)) for rule, (is_so, found) in holds.items() if not is_so)


def _is_tagged(cell: Any) -> bool:
    return cell.cell_type == "code" and PARAMETERS in cell.metadata.get("tags", [])


def _cell_rules(cell: Any, number: str) -> Iterator[tuple[str, str]]:
    holds = {
        f"cell id {number}-<slug>": (
            re.fullmatch(rf"{number}-[a-z0-9-]+", cell.get("id", "")),
            cell.get("id"),
        ),
        "cell metadata holds tags only": (
            set(cell.metadata) <= {"tags"},
            sorted(cell.metadata),
        ),
    }
    if cell.cell_type == "code":
        lines = _code_lines(cell)
        calls = list(_calls(cell))
        tagged = PARAMETERS in cell.metadata.get("tags", [])
        outputs = [output.output_type for output in cell.outputs]
        streams = [
            output.name for output in cell.outputs if output.output_type == "stream"
        ]
        holds |= {
            "plain Python, no magic": (
                tree(cell) is not None,
                cell.source.split("\n")[0],
            ),
            f"at most {MAX_CELL_LINES} lines of code": (lines <= MAX_CELL_LINES, lines),
            "no semicolon at the end": (
                not cell.source.rstrip().endswith(";"),
                "a semicolon",
            ),
            "no def and no class": (
                not _has(cell, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef),
                "a definition",
            ),
            "print takes only fixed text": ("print" not in calls, "print"),
            "no loop over rows": (
                not {"iterrows", "itertuples"} & set(calls),
                "iterrows or itertuples",
            ),
            "parameters are plain literals": (
                not tagged or _is_literal(cell),
                cell.source,
            ),
            "no error in the outputs": ("error" not in outputs, "an error"),
            "nothing on stderr in the outputs": ("stderr" not in streams, "stderr"),
            "no address in the outputs": (not _addresses(cell), _addresses(cell)),
        }
    yield from ((rule, str(found)) for rule, (is_so, found) in holds.items() if not is_so)


def _without_fences(source: str) -> str:
    return re.sub(r"^```.*?^```", "", source, flags=re.M | re.S)


def _code_lines(cell: Any) -> int:
    lines = (line.strip() for line in cell.source.split("\n"))
    return sum(bool(line) and not line.startswith("#") for line in lines)


def _has(cell: Any, *kinds: type[ast.AST]) -> bool:
    return any(
        isinstance(node, kinds) for node in ast.walk(tree(cell) or ast.Module([], []))
    )


def _calls(cell: Any) -> Iterator[str]:
    """List the functions that a cell calls, but for `print` of fixed text."""
    for node in ast.walk(tree(cell) or ast.Module([], [])):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node.func.attr
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            fixed = all(
                isinstance(a, ast.Constant) and isinstance(a.value, str)
                for a in node.args
            )
            if node.func.id != "print" or not fixed:
                yield node.func.id


def _is_literal(cell: Any) -> bool:
    parsed = tree(cell)
    return parsed is not None and len(literals(cell)) == len(parsed.body)


def _addresses(cell: Any) -> list[str]:
    text = " ".join(
        str(output.get("data", output).get("text/plain", "")) for output in cell.outputs
    )
    return re.findall(r"\bat 0x[0-9a-f]+", text)
