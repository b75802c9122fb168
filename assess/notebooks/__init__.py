"""Notebooks: run them with other parameters, refresh their outputs, check and copy them."""

import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import nbformat

from assess import store
from assess.config import data_path
from assess.errors import AssessError, with_nearest
from assess.notebooks.files import (
    KERNELSPEC,
    LANGUAGE_INFO,
    Deviation,
    check,
    find,
    fragment,
    has_parameters,
    literals,
    read,
    tidy,
    write,
)
from assess.writing import not_written

T = TypeVar("T")
Known = Mapping[str, Any]  # values by name
Values = dict[str, Any]
SHIPPED = "../data/"
PREVIOUS = "previous_snapshot"
CELL_TIMEOUT_S = 600
# A kernel logs its own shutdown as an error.
QUIET = ["--IPKernelApp.log_level=CRITICAL"]


def run(
    paths: Sequence[str | Path] = (),
    parameters: Known | None = None,
    *,
    output_dir: str | Path,
    progress: bool = False,
) -> list[Path]:
    """Run notebooks with other parameters, and write them to another directory.

    Each notebook takes the parameters that it has; paths are relative to the notebook. Without
    ``previous_snapshot``, it is the one before ``snapshot`` in its store. A cell that fails, or a
    parameter that no notebook has, raises `AssessError`; what ran is written.
    """
    target = Path(output_dir)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_written(target, error) from error
    work = []
    known_by_path = {path: _literals(path) for path in find(paths)}
    names = {name for known in known_by_path.values() for name in known}
    _refuse_unknown(parameters or {}, names)
    for path, known in known_by_path.items():
        place = target / path.name
        if place.resolve() == path.resolve():
            raise AssessError(
                f"{path} would overwrite itself", hint="name another directory"
            )
        work.append((path, place, _parameters(path, known, parameters or {}), progress))
    return _side_by_side(_run, work)


def _run(path: Path, place: Path, parameters: Known, progress: bool) -> Path:
    node = _execute(path, parameters, output=place, progress=progress)
    write(tidy(node, path.name), place)
    return place


def refresh(paths: Sequence[str | Path] = (), *, progress: bool = False) -> list[Path]:
    """Execute notebooks in place, return those that changed; one that fails keeps its old outputs."""
    work = [(path, progress) for path in find(paths)]
    changed = _side_by_side(_refresh, work)
    return list(filter(None, changed))


def _refresh(path: Path, progress: bool) -> Path | None:
    """Store the outputs of a notebook; return it if its file changed."""
    before = path.read_bytes()
    node = _execute(path, {}, output=None, progress=progress)
    write(tidy(node, path.name), path)
    return path if path.read_bytes() != before else None


def _side_by_side(work: Callable[..., T], calls: Sequence[tuple[Any, ...]]) -> list[T]:
    """Make calls two at a time, each in its own process, since each changes directory."""
    if len(calls) < 2 or (os.cpu_count() or 1) < 2:
        return [work(*call) for call in calls]
    with ProcessPoolExecutor(2) as pool:
        waiting = [pool.submit(work, *call) for call in calls]
        try:
            return [one.result() for one in waiting]
        finally:  # after a failure or an interrupt, no other notebook starts
            pool.shutdown(wait=False, cancel_futures=True)


def _literals(path: Path) -> Values:
    values: Values = {}
    for cell in read(path).cells:
        if has_parameters(cell):
            values |= literals(cell)
    return values


def _refuse_unknown(given: Known, known: Collection[str]) -> None:
    unknown = [name for name in given if name not in known]
    if unknown:
        message = f"there is no parameter {', '.join(unknown)}"
        raise AssessError(
            with_nearest(message, unknown[0], known),
            hint=f"parameters: {', '.join(sorted(known)) or 'none'}",
        )


def _parameters(path: Path, known: Known, given: Known) -> Values:
    """Choose the values of a notebook, and find packaged data that is not beside it."""
    moved = {
        name: str(shipped)
        for name, value in known.items()
        if str(value).startswith(SHIPPED) and not (path.parent / value).exists()
        if (shipped := data_path(value.removeprefix(SHIPPED))).exists()
    }
    values = {**moved, **{name: value for name, value in given.items() if name in known}}
    if "snapshot" in given and PREVIOUS in known and PREVIOUS not in given:
        # else a fleet of one's own would be compared with the invented one
        values[PREVIOUS] = _before(path.parent, given["snapshot"])
    return values


def _before(directory: Path, reference: str | Path) -> str:
    """Return the snapshot of the quarter before in the same store, else the snapshot itself."""
    near = directory / reference
    place = store.resolve(near if near.exists() else reference)
    with store.quiet():
        return str(store.previous(place) or place)


def _execute(
    path: Path, parameters: Known, *, output: Path | None, progress: bool
) -> Any:
    import papermill

    with TemporaryDirectory(prefix="kernel-") as work:
        # papermill writes it after every cell, in place
        executed = Path(work) / path.name
        try:
            return papermill.execute_notebook(
                str(path.resolve()),
                str(executed),
                parameters=dict(parameters),
                kernel_name=KERNELSPEC["name"],
                language=KERNELSPEC["language"],
                cwd=str(path.resolve().parent),
                progress_bar=progress,
                execution_timeout=CELL_TIMEOUT_S,
                record_timing=False,
                config=_kernel_config(work),
                extra_arguments=QUIET,
            )
        except papermill.PapermillExecutionError as error:
            if output:
                write(read(executed), output)
            raise AssessError(
                f"{path.name} stopped in code cell {error.exec_count}: {error.ename}: {error.evalue}",
                hint=f"see {output}" if output else "the stored notebook is as it was",
            ) from error


def _kernel_config(sockets: str) -> Any:
    """Configure the kernel to use Unix sockets in a directory, not ports."""
    # By default Jupyter creates them beside the notebook, and a killed run leaves them
    # there.
    from traitlets.config import Config

    by_file = {"KernelManager": {"transport": "ipc", "ip": f"{sockets}/socket"}}
    return Config(by_file if os.name == "posix" else {})


SNAPSHOTS = "../data/snapshots"
OWN = {
    "snapshot": SNAPSHOTS,  # the newest
    PREVIOUS: f"{SNAPSHOTS}@previous",
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
    values: Values = dict(OWN)
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


def _emptied(node: Any, values: Known, name: str) -> Any:
    """Clear the outputs of a notebook, which show the invented fleet, and set its parameters."""
    for cell in node.cells:
        if has_parameters(cell):
            cell.source = _assigned(cell.source, values)
        if cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None
    return tidy(nbformat.from_dict(node), name)


def _assigned(source: str, values: Known) -> str:
    """Return the code of a cell with new values for the names that it assigns on one line."""
    for name, value in values.items():
        text = "None" if value is None else f'"{value}"'
        source = re.sub(rf"(?m)^{name} = .*$", f"{name} = {text}", source)
    return source
