"""Notebooks: run them with other parameters, refresh their stored outputs, hold them to rules."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import nbformat

from assess.config import PACKAGE, data_path
from assess.errors import AssessError

T = TypeVar("T")
KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE_INFO = {"name": "python", "pygments_lexer": "ipython3"}
PARAMETERS = "parameters"
SHIPPED = "../data/"
MAX_BYTES = 250_000
MAX_CELL_LINES, MAX_LINES = 12, 60
CELL_TIMEOUT_S = 600
SLUG_WORDS, SLUG_LENGTH = 4, 40


@dataclass(frozen=True)
class Deviation:
    """Something in which a notebook deviates from the conventions.

    Attributes
    ----------
    notebook : str
        Name of the file.
    cell : str
        Id of the cell; empty where it is about the whole notebook.
    rule : str
        What should hold.
    found : str
        What is there instead.
    """

    notebook: str
    cell: str
    rule: str
    found: str


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
    homes = (Path("notebooks"), PACKAGE / "_data" / "notebooks", PACKAGE.parent / "notebooks")
    known = next((found for home in homes if (found := sorted(home.glob("*.ipynb")))), [])
    if not selection:
        return known
    chosen: list[Path] = []
    for wanted in map(str, selection):
        hits = [Path(wanted)] if wanted.endswith(".ipynb") and Path(wanted).is_file() else []
        hits = hits or [p for p in known if p.name in (wanted, f"{wanted}.ipynb")]
        hits = hits or [p for p in known if p.name.startswith(f"{wanted:0>2}_")]
        if not hits:
            names = ", ".join(p.stem for p in known)
            raise AssessError(f"there is no notebook {wanted!r}", hint=f"notebooks: {names}")
        chosen += hits
    return chosen


def run(
    paths: Sequence[str | Path] = (),
    parameters: Mapping[str, Any] | None = None,
    *,
    output_dir: str | Path,
    progress: bool = False,
) -> list[Path]:
    """Run notebooks with other parameters, and write what they show.

    Parameters
    ----------
    paths : sequence of str or Path
        As `find` takes them.
    parameters : mapping, optional
        Values of the cell tagged ``parameters``, by name. Paths count from the notebook.
    output_dir : str or Path
        Where the executed notebooks go, under their own names.
    progress : bool, default False
        Whether to draw a progress bar on stderr.

    Returns
    -------
    list of Path
        The executed notebooks.

    Raises
    ------
    AssessError
        Where a cell fails, or a notebook has no such parameter; what was reached is written.
    """
    target = Path(output_dir)
    target.mkdir(parents=True, exist_ok=True)
    work = []
    for path in find(paths):
        place = target / path.name
        if place.resolve() == path.resolve():
            raise AssessError(f"{path} would overwrite itself", hint="name another directory")
        work.append((path, place, _parameters(path, parameters or {}), progress))
    return _side_by_side(_run, work)


def _run(path: Path, place: Path, parameters: Mapping[str, Any], progress: bool) -> Path:
    node = _execute(path, parameters, output=place, progress=progress)
    _write(tidy(node, path.name), place)
    return place


def refresh(paths: Sequence[str | Path] = (), *, progress: bool = False) -> list[Path]:
    """Execute notebooks where they are, and store their outputs in a form that does not change.

    Parameters
    ----------
    paths : sequence of str or Path
        As `find` takes them.
    progress : bool, default False
        Whether to draw a progress bar on stderr.

    Returns
    -------
    list of Path
        Those whose file changed. A notebook that fails is left as it was.

    Raises
    ------
    AssessError
        Where a cell fails.
    """
    found = find(paths)
    changed = _side_by_side(_refresh, [(path, progress) for path in found])
    return [path for path, is_new in zip(found, changed, strict=True) if is_new]


def _refresh(path: Path, progress: bool) -> bool:
    """Store the outputs of a notebook; say whether that changed its file."""
    before = path.read_bytes()
    _write(tidy(_execute(path, {}, output=None, progress=progress), path.name), path)
    return path.read_bytes() != before


def _side_by_side(work: Callable[..., T], calls: Sequence[tuple[Any, ...]]) -> list[T]:
    """Make calls, two at a time: each in a process of its own, since each changes directory."""
    if len(calls) < 2 or (os.cpu_count() or 1) < 2:
        return [work(*call) for call in calls]
    with ProcessPoolExecutor(2) as pool:
        waiting = [pool.submit(work, *call) for call in calls]
        try:
            return [one.result() for one in waiting]
        finally:  # the first that fails, or an interrupt, keeps the others from starting
            pool.shutdown(wait=False, cancel_futures=True)


def _parameters(path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Check the names of parameters; shipped data that is not beside the notebook is found."""
    cells = [cell for cell in _read(path).cells if PARAMETERS in cell.metadata.get("tags", [])]
    known = {name: value for cell in cells for name, value in _literals(cell).items()}
    unknown = [name for name in given if name not in known]
    if unknown:
        raise AssessError(
            f"{path.name} has no parameter {', '.join(unknown)}",
            hint=f"parameters: {', '.join(known) or 'none'}",
        )
    moved = {
        name: str(data_path(value.removeprefix(SHIPPED)))
        for name, value in known.items()
        if str(value).startswith(SHIPPED) and not (path.parent / value).exists()
    }
    return {**moved, **given}


def _literals(cell: Any) -> dict[str, Any]:
    """Give the names that a cell sets to plain literals."""
    found = {}
    for statement in (_tree(cell) or ast.Module([], [])).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            with suppress(ValueError):
                found[statement.targets[0].id] = ast.literal_eval(statement.value)
    return found


def _execute(
    path: Path, parameters: Mapping[str, Any], *, output: Path | None, progress: bool
) -> Any:
    import papermill

    try:
        with TemporaryDirectory(prefix="kernel-") as sockets:
            return papermill.execute_notebook(
                str(path.resolve()),
                str(output.resolve()) if output else None,
                parameters=dict(parameters),
                kernel_name=KERNELSPEC["name"],
                language=KERNELSPEC["language"],
                cwd=str(path.resolve().parent),
                progress_bar=progress,
                execution_timeout=CELL_TIMEOUT_S,
                record_timing=False,
                config=_kernel_config(sockets),
            )
    except papermill.PapermillExecutionError as error:
        raise AssessError(
            f"{path.name} stopped in code cell {error.exec_count}: {error.ename}: {error.evalue}",
            hint=f"see {output}" if output else "the stored notebook is as it was",
        ) from error


def _kernel_config(sockets: str) -> Any:
    """Talk to the kernel through sockets in this directory, where there are such, not over ports.

    Left to itself Jupyter puts them beside the notebook, where a run that is killed leaves them.
    """
    from traitlets.config import Config

    by_file = {"KernelManager": {"transport": "ipc", "ip": f"{sockets}/socket"}}
    return Config(by_file if os.name == "posix" else {})


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
        cell.id = _fixed_id(cell, _number(name), taken)
        taken.add(cell.id)
        if cell.cell_type == "code":
            cell.outputs = list(_joined_streams(cell.outputs))
    return node


def _number(name: str) -> str:
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


def _read(path: Path) -> Any:
    try:
        node = nbformat.reads(path.read_text(encoding="utf-8"), as_version=nbformat.NO_CONVERT)
        nbformat.validate(node)
    except (nbformat.ValidationError, ValueError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise AssessError(f"{path} is not a notebook: {reason}", hint="restore the file") from error
    return node


def _write(node: Any, path: Path) -> None:
    nbformat.validate(node)
    path.write_text(nbformat.writes(node).rstrip("\n") + "\n", encoding="utf-8", newline="\n")


def check(paths: Sequence[str | Path] = ()) -> list[Deviation]:
    """List everything in which notebooks deviate from the conventions, without running them.

    Parameters
    ----------
    paths : sequence of str or Path
        As `find` takes them.

    Returns
    -------
    list of Deviation
        Empty where all is well.
    """
    return [deviation for path in find(paths) for deviation in _check(path)]


def _check(path: Path) -> Iterator[Deviation]:
    try:
        node = _read(path)
    except AssessError as error:
        yield Deviation(path.name, "", "a valid notebook", str(error))
        return
    text = path.read_bytes().decode("utf-8")
    for rule, found in _notebook_rules(node, text, path.name):
        yield Deviation(path.name, "", rule, found)
    for cell in node.cells:
        for rule, found in _cell_rules(cell, _number(path.name)):
            yield Deviation(path.name, str(cell.get("id", "")), rule, found)


def _notebook_rules(node: Any, text: str, name: str) -> Iterator[tuple[str, str]]:
    code = [cell for cell in node.cells if cell.cell_type == "code"]
    prose = [cell.source for cell in node.cells if cell.cell_type == "markdown"]
    lines = sum(map(_code_lines, code))
    titles = sum(len(re.findall(r"^# ", _without_fences(source), re.M)) for source in prose)
    tagged = [cell for cell in code if PARAMETERS in cell.metadata.get("tags", [])]
    ids = [cell.get("id") for cell in node.cells]
    counts = [cell.execution_count for cell in code]
    version = node.metadata.get("language_info", {}).get("version", "")
    setting_up = [cell for cell in code if cell not in tagged][1:]
    holds = {
        "the file is named NN_topic.ipynb": (re.fullmatch(r"\d{2}_[a-z0-9_]+\.ipynb", name), name),
        "exactly one H1": (titles == 1, titles),
        "exactly one cell is tagged parameters": (len(tagged) == 1, len(tagged)),
        "at least as many markdown cells as code cells": (
            len(prose) >= len(code), f"{len(prose)} and {len(code)}",
        ),
        f"at most {MAX_LINES} lines of code": (lines <= MAX_LINES, lines),
        "stored execution counts 1 to n": (counts == list(range(1, len(code) + 1)), counts),
        "every cell id occurs once": (len(ids) == len(set(ids)), ids),
        f"kernelspec {KERNELSPEC['name']}, and no more than it needs": (
            node.metadata.get("kernelspec") == KERNELSPEC, node.metadata.get("kernelspec"),
        ),
        "language_info without patch version": (str(version).count(".") < 2, version),
        "metadata holds kernelspec and language_info only": (
            set(node.metadata) == {"kernelspec", "language_info"}, sorted(node.metadata),
        ),
        f"at most {MAX_BYTES} bytes": (len(text.encode()) <= MAX_BYTES, len(text.encode())),
        "one newline at the end": (text.endswith("}\n"), repr(text[-3:])),
        "imports only in the first code cell": (
            not any(_has(cell, ast.Import, ast.ImportFrom) for cell in setting_up), "later imports",
        ),
    }  # fmt: skip
    yield from ((rule, str(found)) for rule, (is_so, found) in holds.items() if not is_so)


def _cell_rules(cell: Any, number: str) -> Iterator[tuple[str, str]]:
    holds = {
        f"cell id {number}-<slug>": (
            re.fullmatch(rf"{number}-[a-z0-9-]+", cell.get("id", "")), cell.get("id"),
        ),
        "cell metadata holds tags only": (set(cell.metadata) <= {"tags"}, sorted(cell.metadata)),
    }  # fmt: skip
    if cell.cell_type == "code":
        lines, calls = _code_lines(cell), list(_calls(cell))
        tagged = PARAMETERS in cell.metadata.get("tags", [])
        outputs = [output.output_type for output in cell.outputs]
        streams = [output.name for output in cell.outputs if output.output_type == "stream"]
        holds |= {
            "plain Python, no magic": (_tree(cell) is not None, cell.source.split("\n")[0]),
            f"at most {MAX_CELL_LINES} lines of code": (lines <= MAX_CELL_LINES, lines),
            "no semicolon at the end": (not cell.source.rstrip().endswith(";"), "a semicolon"),
            "no def and no class": (
                not _has(cell, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef), "a definition",
            ),
            "print takes only fixed text": ("print" not in calls, "print"),
            "no loop over rows": (
                not {"iterrows", "itertuples"} & set(calls), "iterrows or itertuples",
            ),
            "parameters are plain literals": (not tagged or _is_literal(cell), cell.source),
            "no error in the outputs": ("error" not in outputs, "an error"),
            "nothing on stderr in the outputs": ("stderr" not in streams, "stderr"),
            "no address in the outputs": (not _addresses(cell), _addresses(cell)),
        }  # fmt: skip
    yield from ((rule, str(found)) for rule, (is_so, found) in holds.items() if not is_so)


def _without_fences(source: str) -> str:
    return re.sub(r"^```.*?^```", "", source, flags=re.M | re.S)


def _code_lines(cell: Any) -> int:
    lines = (line.strip() for line in cell.source.split("\n"))
    return sum(bool(line) and not line.startswith("#") for line in lines)


def _tree(cell: Any) -> ast.Module | None:
    try:
        return ast.parse(cell.source)
    except SyntaxError:
        return None


def _has(cell: Any, *kinds: type[ast.AST]) -> bool:
    tree = _tree(cell)
    return tree is not None and any(isinstance(node, kinds) for node in ast.walk(tree))


def _calls(cell: Any) -> Iterator[str]:
    """Name what a cell calls; `print` of fixed text does not count."""
    for node in ast.walk(_tree(cell) or ast.Module([], [])):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node.func.attr
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            fixed = all(isinstance(a, ast.Constant) and isinstance(a.value, str) for a in node.args)
            if node.func.id != "print" or not fixed:
                yield node.func.id


def _is_literal(cell: Any) -> bool:
    tree = _tree(cell)
    return tree is not None and len(_literals(cell)) == len(tree.body)


def _addresses(cell: Any) -> list[str]:
    text = " ".join(
        str(output.get("data", output).get("text/plain", "")) for output in cell.outputs
    )
    return re.findall(r"\bat 0x[0-9a-f]+", text)
