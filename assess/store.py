"""A store: dated snapshots side by side, written completely or not at all, never overwritten.

A store is a directory of snapshot directories (``data/snapshots/2026Q3`` …) that only their owner
may read.
"""

import hashlib
import os
import re
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pandas import DataFrame, Series, Timedelta, Timestamp

from assess import frames, s3, snapshot
from assess.config import sample_path
from assess.errors import AssessError, first_line
from assess.inventory import MANIFEST, Inventory, quarter_of, utc
from assess.snapshot import BrokenSnapshotWarning, read_manifest
from assess.words import to_csv
from assess.writing import not_written, sibling, sync

INVENTED = (
    "# An invented fleet: no real company, person or product is described here.",
    "invented = true",
)
PREVIOUS = "previous"  # in place of a day


def write_snapshot(
    inventory: Inventory,
    directory: str | Path,
    *,
    format: Literal["parquet", "csv"] = "parquet",
    is_replacing: bool = False,
) -> Path:
    """Write the present frames as a new snapshot directory, completely or not at all.

    ``is_replacing`` lets it take the place of a snapshot of the same name, once it is complete.
    """
    if format not in ("parquet", "csv"):
        raise AssessError(f"there is no format {format!r}", hint="parquet or csv")
    target = Path(directory)
    refuse_taken(target, is_replacing=is_replacing)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # a sibling is on the same file system, so the rename is atomic
        with sibling(target, is_directory=True) as partial:
            _fill(partial, inventory, format)
            refuse_taken(target, is_replacing=is_replacing)
            if is_replacing and target.exists():
                _take_place(partial, target)
            else:
                partial.rename(target)
        # without this, a power cut may undo the rename
        sync(target.parent)
    except OSError as error:
        raise not_written(target, error) from error
    return target


def refuse_taken(target: Path, *, is_replacing: bool = False) -> None:
    """Raise if a snapshot would be overwritten, or anything but a snapshot replaced."""
    if is_replacing and target.is_dir() and _has_frames(target):
        return
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise AssessError(
            f"{target} is there already, and a snapshot is never written over",
            hint="name another directory, or replace this snapshot with --force",
        )
    home = next(filter(Path.exists, target.absolute().parents))
    if not os.access(f"{home}/", os.W_OK):
        raise not_written(target, OSError(0, f"{home} is no directory to write to"))


def _take_place(new: Path, target: Path) -> None:
    """Move the old snapshot aside, the new one into its place, and remove the old one."""
    with sibling(target, is_directory=True) as aside:
        # no system renames a directory over one that has files: two steps are needed
        old = target.rename(aside / target.name)
        try:
            new.rename(target)
        except BaseException:
            # an interrupt between the two must not cost the old one
            old.rename(target)
            raise


def _fill(directory: Path, inventory: Inventory, format: str) -> None:
    lines = [
        *(INVENTED if inventory.is_invented else ()),
        f'snapshot_at = "{_time_text(Series([inventory.snapshot_at]))[0]}"',
        f'quarter = "{inventory.quarter}"',
        f"schema_version = {frames.SCHEMA_VERSION}",
        "",
        "[sha256]",
    ]
    for name in sorted(inventory.present):
        file = directory / f"{name}.{format}"
        _write_table(
            # columns that this version does not know survive being written again
            file,
            inventory[name].join(inventory.extras.get(name, DataFrame())),
        )
        lines.append(f'"{file.name}" = "{_sha256(file)}"')
    # last: `resolve` refuses a copy from S3 without it as half written
    (directory / MANIFEST).write_text(
        "\n".join(lines) + "\n", encoding="utf-8", newline="\n"
    )
    for path in directory.iterdir():
        path.chmod(0o600)  # hosts, addresses and faults of a fleet are not for everybody
        sync(path)
    sync(directory)


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _write_table(file: Path, table: DataFrame) -> None:
    """Write a frame; CSV leaves out columns without any known cell."""
    if file.suffix == ".parquet":
        table.to_parquet(file, engine="pyarrow", compression="zstd", index=False)
        return
    keys = frames.key(file.stem)
    # keys stay even when empty: without them the file has no header
    known = [name for name in table if name in keys or table[name].notna().any()]
    times = table[known].select_dtypes("datetimetz")
    # exact to the microsecond, where a listing shows seconds
    text = table[known].assign(**{name: _time_text(times[name]) for name in times})
    file.write_text(to_csv(text), encoding="utf-8", newline="")


def _time_text(times: Series) -> Series:
    text = times.dt.tz_convert("UTC").dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return text.str.replace(r"\.?0*Z$", "Z", regex=True)


@contextmanager
def quiet() -> Iterator[None]:
    """Leave broken snapshots out without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BrokenSnapshotWarning)
        yield


def _directories(store: Path) -> list[Path]:
    """List the directories that may be snapshots; a copy under way begins with a dot.

    A snapshot is a store of itself; an export beside snapshots may be named like a frame.
    """
    listed = [store] if (store / MANIFEST).is_file() else sorted(store.iterdir())
    return [path for path in listed if path.is_dir() and not path.name.startswith(".")]


def snapshots(store: str | Path) -> DataFrame:
    """List ``path, snapshot_at, quarter`` of a store, oldest first; warn of what is broken."""
    directory = Path(store)
    if not directory.is_dir():
        raise AssessError(
            f"there is no store at {directory}",
            hint="make one with `assess collect`; the sample's quarters are written sample:2026Q2",
        )
    found = []
    for path in _directories(directory):
        try:
            found.append((path, *_moment(path)))
        except (AssessError, OSError) as error:
            reason = first_line(error)
            warnings.warn(f"left out: {reason}", BrokenSnapshotWarning, stacklevel=2)
    table = DataFrame(found, columns=["path", "snapshot_at", "quarter"])
    table = table.astype({"snapshot_at": frames.DTYPES["time"]})
    return table.sort_values("snapshot_at", kind="stable", ignore_index=True)


def _moment(path: Path) -> tuple[Timestamp, str]:
    """Return time and quarter of a snapshot; without `snapshot.toml` its frames are read."""
    manifest = read_manifest(path)
    when = manifest["snapshot_at"]
    if when is None:
        inventory = snapshot.load(path)
        return inventory.snapshot_at, inventory.quarter
    lost = [name for name in manifest["sha256"] if not (path / name).is_file()]
    if lost:
        raise AssessError(f"{path} has lost {', '.join(lost)}")
    return when, str(manifest["quarter"] or quarter_of(when))


def listing(store: str | Path) -> DataFrame:
    """List what lies in a store: ``snapshot, snapshot_at, quarter, files, bytes, problem``.

    A snapshot without a ``problem`` is as it was written.
    """
    with quiet():
        sound = snapshots(store).set_index("path")
    paths = _directories(Path(store))
    columns = ["snapshot", "snapshot_at", "quarter", "files", "bytes", "problem"]
    table = DataFrame(map(_row, paths), paths, [columns[0], *columns[3:]]).join(sound)
    table = table.astype({"files": "Int64", "bytes": "Int64"})
    return table[columns].reset_index(drop=True)


def _row(path: Path) -> dict[str, object]:
    """Return name, size and problem of a directory of a store; no size of what nobody may read."""
    row: dict[str, object] = {"snapshot": path.name}
    try:
        sizes = [file.stat().st_size for file in path.iterdir() if file.is_file()]
        row |= {"files": len(sizes), "bytes": sum(sizes)}
        _moment(path)
        changed = ", ".join(verify(path))
        row["problem"] = f"changed since it was written: {changed}" if changed else ""
    except (AssessError, OSError) as error:
        row["problem"] = first_line(error)
    return row


def thinned(store: str | Path, older_than: int) -> list[Path]:
    """List, oldest first, what is ``older_than`` so many days and not the newest of its quarter."""
    listed = snapshots(store)
    newest = listed["snapshot_at"].max()
    is_old = listed["snapshot_at"] < newest - Timedelta(days=older_than)
    is_kept = ~listed.duplicated("quarter", keep="last")
    return list(listed.loc[is_old & ~is_kept, "path"])


def remove(path: Path) -> None:
    """Remove a snapshot: move it out of the store in one step, then delete its files."""
    with sibling(path, is_directory=True) as aside:
        path.rename(aside / path.name)


def verify(path: str | Path) -> list[str]:
    """List the files of a snapshot that are missing or changed since it was written."""
    directory = Path(path)
    return [
        name
        for name, value in sorted(read_manifest(directory)["sha256"].items())
        if not (directory / name).is_file() or _sha256(directory / name) != value
    ]


def is_as_written(file: Path) -> bool:
    """Return whether a file is unchanged since `write_snapshot` checked and wrote it."""
    digests = read_manifest(file.parent)["sha256"]
    return file.name in digests and digests[file.name] == _sha256(file)


def load(path: str | Path, *, only: Collection[str] = ()) -> Inventory:
    """Read a snapshot.

    Parameters
    ----------
    path : str or Path
        A directory of ``<frame>.csv`` or ``<frame>.parquet`` files, with `snapshot.toml`; without
        that file the newest time in the frames counts as the moment of the snapshot. A directory
        of such directories means the newest of them, ``STORE@2026-09-30`` the newest up to a day,
        ``STORE@2026Q3`` the newest of a quarter, ``STORE@previous`` the newest of an earlier
        quarter, else the newest. Any of them may be an ``s3://bucket/prefix``. ``sample`` and
        ``sample:2026Q2`` are quarters of the invented fleet.
    only : collection of str, default ()
        Frames to read; all that are there where it is left out.

    Returns
    -------
    Inventory
        The frames, checked; those that were not read are unknown.

    Raises
    ------
    DataError
        Where a file cannot be read or a frame breaks the data dictionary.
    AssessError
        If there is no such snapshot, or if its time is unknown.

    Examples
    --------
    >>> inventory = assess.load("sample")
    >>> inventory.quarter
    '2026Q3'
    >>> len(inventory["services"])
    48
    """
    return snapshot.load(resolve(path), only=only)


def validate(path: str | Path) -> DataFrame:
    """List everything that is wrong with a snapshot.

    Parameters
    ----------
    path : str or Path
        The snapshot, named as for `load`.

    Returns
    -------
    DataFrame
        Columns ``table, row, column, value, rule, hint``; empty where all is well.

    Examples
    --------
    >>> assess.validate("sample").empty
    True
    """
    return snapshot.validate(resolve(path))


def resolve(reference: str | Path) -> Path:
    """Return the snapshot directory that a reference means; see `load`."""
    if sample := sample_path(reference):
        return sample
    if s3.is_s3(reference):
        # without "@", all of the reference is in the third part
        address, at, moment = str(reference).rpartition("@")
        local = s3.fetch(address or str(reference))
        if _has_frames(local) and not (local / MANIFEST).is_file():
            # it was copied while another process wrote it
            raise AssessError(
                f"{reference} has no {MANIFEST}: it is half written, or no snapshot"
            )
        reference = f"{local}{at}{moment}" if address else local
    path = Path(reference)
    if path.is_dir():
        return path if _has_frames(path) else latest(path)
    store, at, moment = str(reference).rpartition("@")
    if not at:
        raise AssessError(
            f"there is no snapshot at {path}",
            hint="make one with `assess collect`, or take the invented `sample`",
        )
    if moment == PREVIOUS:
        # a store with one quarter has no earlier one: its newest is the answer
        newest = latest(store)
        return previous(newest) or newest
    listed = snapshots(store)
    if re.fullmatch(r"\d{4}Q[1-4]", moment):
        fitting = listed[listed["quarter"] == moment]
    else:
        # the newest snapshot up to and including the day
        fitting = listed[listed["snapshot_at"] < _just_after(moment)]
    if fitting.empty:
        days = ", ".join(f"{when:%Y-%m-%d}" for when in listed["snapshot_at"])
        raise AssessError(
            f"{store} has no snapshot for @{moment}", hint=f"it holds: {days or 'none'}"
        )
    return Path(fitting["path"].iloc[-1])


def _has_frames(path: Path) -> bool:
    # an export beside snapshots may be named like a frame
    names = {file.stem for file in path.iterdir() if file.suffix in (".csv", ".parquet")}
    return not names.isdisjoint(frames.names()) and not any(path.glob(f"*/{MANIFEST}"))


def _just_after(moment: str) -> Timestamp:
    """Return the end of a day, or the first moment after a time."""
    try:
        when = utc(moment)
    except AssessError as error:
        raise AssessError(
            f"@{moment} is neither a day nor a quarter",
            hint="write @2026-09-30, @2026Q3 or @previous",
        ) from error
    is_day = re.fullmatch(r"\d{4}-\d{2}-\d{2}", moment)
    return when + (Timedelta(days=1) if is_day else Timedelta(microseconds=1))


def latest(store: str | Path) -> Path:
    """Return the newest snapshot of a store."""
    listed = snapshots(store)
    if listed.empty:
        raise AssessError(
            f"{store} holds no snapshot", hint="make one with `assess collect`"
        )
    return Path(listed["path"].iloc[-1])


def previous(path: str | Path) -> Path | None:
    """Return the newest snapshot of an earlier quarter of the store, else the one before, if any."""
    here = Path(path)
    listed = _beside(here)
    when, quarter = _moment(here)
    older = listed[listed["snapshot_at"] < when]
    # quarters are compared, not weekly runs of the same quarter
    if older["quarter"].ne(quarter).any():
        older = older[older["quarter"] != quarter]
    return None if older.empty else Path(older["path"].iloc[-1])


def _beside(path: Path) -> DataFrame:
    """List the snapshots of the store that one is in."""
    return snapshots(path.parent if path.name else path.resolve().parent)


def earlier(path: str | Path, *more: str | Path) -> list[Path]:
    """List the snapshots of the same store that are older than this one, oldest first.

    ``path`` is what `load` takes; a store stands for its newest snapshot. ``more`` names snapshots
    elsewhere. Broken snapshots of the store are left out without a warning.

    Examples
    --------
    >>> [path.name for path in assess.earlier("sample")]
    ['2026Q2']
    """
    with quiet():
        here = resolve(path)
        listed = _beside(here)
    found = dict(zip(listed["snapshot_at"], listed["path"], strict=True))
    found |= {_moment(Path(other))[0]: Path(other) for other in more}
    when = _moment(here)[0]
    return [found[moment] for moment in sorted(found) if moment < when]
