"""Run notebooks with other parameters, or where they are to refresh their stored outputs."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from assess.config import data_path
from assess.errors import AssessError
from assess.notebooks.files import (
    KERNELSPEC,
    PARAMETERS,
    find,
    literals,
    read,
    tidy,
    write,
)

T = TypeVar("T")
SHIPPED = "../data/"
CELL_TIMEOUT_S = 600
QUIET = [
    "--IPKernelApp.log_level=CRITICAL"
]  # a kernel that is told to end calls that an error


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
        Values of the cell tagged ``parameters``, by name; a notebook takes those that it has.
        Paths count from the notebook.
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
        Where a cell fails, or no notebook has such a parameter; what was reached is written.
    """
    target = Path(output_dir)
    target.mkdir(parents=True, exist_ok=True)
    work = []
    found = {path: _literals(path) for path in find(paths)}
    _refuse_unknown(parameters or {}, {name for own in found.values() for name in own})
    for path, known in found.items():
        place = target / path.name
        if place.resolve() == path.resolve():
            raise AssessError(
                f"{path} would overwrite itself", hint="name another directory"
            )
        work.append((path, place, _parameters(path, known, parameters or {}), progress))
    return _side_by_side(_run, work)


def _run(path: Path, place: Path, parameters: Mapping[str, Any], progress: bool) -> Path:
    node = _execute(path, parameters, output=place, progress=progress)
    write(tidy(node, path.name), place)
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
    write(tidy(_execute(path, {}, output=None, progress=progress), path.name), path)
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


def _literals(path: Path) -> dict[str, Any]:
    """Give the parameters of a notebook, and their values."""
    cells = [
        cell for cell in read(path).cells if PARAMETERS in cell.metadata.get("tags", [])
    ]
    return {name: value for cell in cells for name, value in literals(cell).items()}


def _refuse_unknown(given: Mapping[str, Any], known: Collection[str]) -> None:
    unknown = [name for name in given if name not in known]
    if unknown:
        raise AssessError(
            f"there is no parameter {', '.join(unknown)}",
            hint=f"parameters: {', '.join(sorted(known)) or 'none'}",
        )


def _parameters(
    path: Path, known: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Choose the values of a notebook; shipped data that is not beside it is found."""
    moved = {
        name: str(data_path(value.removeprefix(SHIPPED)))
        for name, value in known.items()
        if str(value).startswith(SHIPPED) and not (path.parent / value).exists()
    }
    return {**moved, **{name: value for name, value in given.items() if name in known}}


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
                extra_arguments=QUIET,
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
