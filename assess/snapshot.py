"""A snapshot: a directory with a file for each frame, and when they were taken."""

import tomllib
import warnings
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from pandas import DataFrame

from assess import frames
from assess.errors import AssessError, DataError, did_you_mean, first_line
from assess.execution import tell
from assess.inventory import MANIFEST, Inventory, build, utc

_UNSAID: dict[str, Any] = {  # keys of a manifest, and what holds where it leaves one out
    "snapshot_at": None,
    "quarter": "",
    "schema_version": frames.SCHEMA_VERSION,
    "invented": False,
    "sha256": {},
}


class BrokenSnapshotWarning(UserWarning):
    """A snapshot, or a file of it, cannot be read."""


def load(directory: str | Path, *, only: Collection[str] = ()) -> Inventory:
    """Return the checked frames of a snapshot directory on this machine; see `assess.load`."""
    inventory, problems, lost = _read(Path(directory), only)
    if len(problems):
        raise DataError(f"{directory} is not a sound snapshot", problems)
    for _, problem in lost.iterrows():
        message = (
            f"{directory}: {problem['value']} {problem['hint']}; it counts as unknown"
        )
        warnings.warn(message, BrokenSnapshotWarning, stacklevel=2)
    return inventory


def validate(directory: str | Path) -> DataFrame:
    """List everything that is wrong with a snapshot directory; see `assess.validate`."""
    _, problems, lost = _read(Path(directory))
    return frames.join_problems([problems, lost])


def _read(
    directory: Path, only: Collection[str] = ()
) -> tuple[Inventory, DataFrame, DataFrame]:
    """Return the inventory, its problems, and the files that are missing or cannot be read."""
    if not directory.is_dir():
        raise AssessError(
            f"there is no snapshot at {directory}",
            hint="make one with `assess collect`, or take the invented `sample`",
        )
    tables, problems, lost = _tables_in(directory, only)
    manifest = read_manifest(directory)
    for name in manifest["sha256"]:
        frame = Path(name).stem
        # a file that cannot be read is there; a frame may have been written anew as CSV
        is_gone = frame not in tables and not (directory / name).is_file()
        if is_gone and frame in (only or frames.names()):
            reason = f"is missing, though {MANIFEST} lists it"
            lost.append(frames.problem(frame, name, "a readable file", reason))
    # with nothing readable at all there is no fleet to assess
    if not tables:
        problems += lost
        lost = []
    if not tables and not problems:
        raise AssessError(
            f"{directory} holds no frames",
            hint="a snapshot holds <frame>.csv or <frame>.parquet",
        )
    unread = frames.join_problems(lost)
    if lost:
        # a lost file is a call that failed: its frame is unknown, not empty
        tables["coverage"] = _with_lost(tables.get("coverage"), unread)
    quarter = str(manifest["quarter"])
    place = f"{directory}/"
    inventory, unsound = build(tables, manifest["snapshot_at"], quarter, place)
    inventory = replace(inventory, is_invented=manifest["invented"] is True)
    return inventory, frames.join_problems([*problems, unsound]), unread


def _tables_in(
    directory: Path, only: Collection[str]
) -> tuple[dict[str, DataFrame], list[DataFrame], list[DataFrame]]:
    """Return the tables of a directory, what is wrong with files, and the files that are lost."""
    tables: dict[str, DataFrame] = {}
    problems = []
    lost: list[DataFrame] = []
    files = sorted(directory.iterdir())
    for done, file in enumerate(files, start=1):
        tell("files of the snapshot", done, len(files))
        if file.suffix not in (".csv", ".parquet") or (only and file.stem not in only):
            continue
        # hosts.csv beside hosts.parquet: nothing says which of them counts
        if file.stem in tables:
            problems.append(frames.problem(file.stem, file.name, "one file per frame"))
            continue
        try:
            tables[file.stem] = frames.read_table(file)
        except (ValueError, OSError) as error:
            reason = f"cannot be read: {first_line(error)}"
            problem = frames.problem(file.stem, file.name, "a readable file", reason)
            # a person can mend a CSV file by hand, so it stays an error
            (lost if file.suffix == ".parquet" else problems).append(problem)
    return tables, problems, lost


def _with_lost(coverage: DataFrame | None, lost: DataFrame) -> DataFrame:
    """Return the coverage with a row for each file of the snapshot that is lost."""
    rows = [
        frames.row(
            "coverage",
            run_id="snapshot",
            source="snapshot",
            scope=problem["value"],
            call="read",
            status="parse_error",
            hint=f"{problem['hint']}; collect again",
        )
        for _, problem in lost.iterrows()
    ]
    return pd.concat([coverage, DataFrame(rows)], ignore_index=True)


def _refuse_misspelt(said: frames.Row) -> None:
    """Raise an error for keys that look like those left out; others are notes of people."""
    missing = _UNSAID.keys() - said.keys()
    near = {key: did_you_mean(key, missing) for key in said if key not in _UNSAID}
    unknown = [f"unknown key {key!r}: {hint}" for key, hint in near.items() if hint]
    if unknown:
        # a misspelt time would let the newest one in the frames count
        raise ValueError("; ".join(unknown))


def read_manifest(directory: Path) -> dict[str, Any]:
    """Read the `snapshot.toml` of a snapshot; a key that it leaves out has its usual value."""
    file = directory / MANIFEST
    if not file.exists():
        return {**_UNSAID}
    try:
        said = tomllib.loads(file.read_text("utf-8"))
        _refuse_misspelt(said)
        manifest = {**_UNSAID, **said}
        if manifest["snapshot_at"] is not None:
            manifest["snapshot_at"] = utc(manifest["snapshot_at"])
        if not isinstance(manifest["sha256"], dict):
            raise ValueError("sha256 is no table")
    except (ValueError, RecursionError, AssessError) as error:
        raise AssessError(
            f"{file} cannot be read: {first_line(error)}", hint="mend or rewrite it"
        ) from error
    version = manifest["schema_version"]
    if version is True or version != frames.SCHEMA_VERSION:
        raise AssessError(
            f"{file} has schema_version {version!r}; this version reads {frames.SCHEMA_VERSION}",
            hint="read it with the version of assess that wrote it",
        )
    return manifest
