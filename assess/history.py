"""A history: one frame of all snapshots of a store, added up.

Only the columns that are asked for are read, a part of a file at a time.
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pandas import DataFrame, Timestamp

from assess import frames
from assess.errors import AssessError, DataError, first_line, no_such
from assess.execution import each
from assess.inventory import derived, utc
from assess.snapshot import BrokenSnapshotWarning
from assess.store import is_as_written, snapshots

BATCH_ROWS = 131_072  # of a Parquet file that are in memory at a time
SNAPSHOT_AT = "snapshot_at"
# what Arrow works out of a part of a file, and how it ends a column's name
MEASURES = {"count": "n", "sum": "sum", "min": "min", "max": "max"}
# how the parts are put together
MERGED = {"n": "sum", "sum": "sum", "min": "min", "max": "max"}


class Asked(NamedTuple):
    """What `roll_up` adds up."""

    frame: str
    by: tuple[str, ...]
    numbers: tuple[str, ...]

    @property
    def columns(self) -> list[str]:
        """Columns that have to be read."""
        return list(dict.fromkeys([*self.by, *self.numbers]))


def roll_up(
    store: str | Path,
    frame: str,
    by: Sequence[str],
    *,
    values: Sequence[str] = (),
    between: tuple[str, str] | None = None,
) -> DataFrame:
    """Add up one frame of all snapshots, one snapshot at a time.

    Columns ``snapshot_at``, those of ``by`` (NA is a group of its own), ``n`` (rows) and for each of
    ``values`` its ``_n`` (known cells), ``_sum``, ``_min``, ``_max``, which can be merged further.
    Snapshots that are not ``between`` two days, the second left out, are not opened. The workers of
    `execution.working` read the snapshots; the result does not depend on them.
    """
    asked = Asked(frame, tuple(by), tuple(values))
    found = _found(store, frame)
    _refuse_unknown(asked)
    if between is not None:
        first, end = map(utc, between)
        found = [(when, file) for when, file in found if first <= when < end]
    sums = each(_of_file, asked, found, what="history")
    return _shown([part for part in sums if part is not None], asked)


def _refuse_unknown(asked: Asked) -> None:
    known = frames.columns(asked.frame)
    unknown = [name for name in asked.columns if name not in known]
    if unknown:
        raise AssessError(
            f"{asked.frame} has no column {', '.join(unknown)}",
            hint="see `assess frames`",
        )
    words = [name for name in asked.numbers if known[name].dtype not in ("int", "float")]
    if words:
        raise AssessError(f"{', '.join(words)} cannot be added up", hint="name numbers")
    if not asked.by:
        raise AssessError("nothing says what to add up by", hint="name a column")


def _found(store: str | Path, frame: str) -> list[tuple[Timestamp, Path]]:
    """List the files of one frame, oldest snapshot first; Parquet before CSV."""
    if frame not in frames.names():
        raise no_such("frame", frame, frames.names())
    found = []
    for path, when in snapshots(store)[["path", "snapshot_at"]].itertuples(index=False):
        files = [path / f"{frame}.{suffix}" for suffix in ("parquet", "csv")]
        # a snapshot has one file per frame; `validate` reports a second one
        found += [(when, file) for file in files if file.is_file()][:1]
    return found


def _sound(frame: str, file: Path) -> DataFrame | None:
    """Return a frame of a file; None, with a warning, where the file cannot be read."""
    # A file that can be read and breaks the data dictionary is an error.
    try:
        raw = frames.read_table(file)
    except (ValueError, OSError) as error:
        _warn(file, error)
        return None
    table, problems = frames.conform(frame, raw)
    problems = frames.join_problems([problems, frames.check(frame, table, raw)])
    if len(problems):
        raise DataError(f"{file} is not sound", problems)
    return derived(frame, table)


def _warn(file: Path, error: Exception) -> None:
    reason = first_line(error)
    message = f"left out: {file} cannot be read: {reason}"
    warnings.warn(message, BrokenSnapshotWarning, stacklevel=2)


def _of_file(asked: Asked, found: tuple[Timestamp, Path]) -> pa.Table | None:
    """Add up one snapshot; None, with a warning, where its file cannot be read."""
    when, file = found
    if not _can_be_pruned(asked, file):
        table = _sound(asked.frame, file)
        return None if table is None else _added_up([_part(table, asked)], asked, when)
    try:
        with pq.ParquetFile(file) as opened:
            return _added_up(_parts(opened, asked), asked, when)
    except (ValueError, OSError) as error:
        _warn(file, error)
        return None


def _can_be_pruned(asked: Asked, file: Path) -> bool:
    """Return whether the asked columns may be read alone."""
    # `write_snapshot` checked an unchanged file as a whole, with all its columns. A file
    # of an earlier version may lack columns that are derived from others.
    if file.suffix != ".parquet" or not is_as_written(file):
        return False
    return set(asked.columns) <= set(pq.read_schema(file).names)


def _parts(opened: pq.ParquetFile, asked: Asked) -> Iterator[pa.Table]:
    """Yield the asked columns of a file, a part at a time; one part without rows if it has none."""
    for batch in opened.iter_batches(BATCH_ROWS, columns=asked.columns):
        yield _plain(pa.Table.from_batches([batch]))
    if opened.metadata.num_rows == 0:
        yield _plain(opened.read(asked.columns))


def _part(table: DataFrame, asked: Asked) -> pa.Table:
    return _plain(pa.Table.from_pandas(table[asked.columns], preserve_index=False))


def _plain(table: pa.Table) -> pa.Table:
    """Convert dictionary columns to text: Arrow cannot group parts with different dictionaries."""
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            words = table.column(place).cast(pa.string())
            table = table.set_column(place, field.name, words)
    return table


def _added_up(parts: Iterable[pa.Table], asked: Asked, when: Timestamp) -> pa.Table:
    """Return the moment and one row a group, sorted by the groups, NA last."""
    measures = [(name, how) for name in asked.numbers for how in MEASURES]
    names = ["n", *[f"{name}_{MEASURES[how]}" for name, how in measures]]
    counted = [([], "count_all"), *measures]
    grouped = [_grouped(part, asked, counted, names) for part in parts]
    whole = grouped[0]
    if len(grouped) > 1:
        # name is "<column>_<measure>": the measure says how parts are merged
        merging = [(name, MERGED[name.rpartition("_")[2]]) for name in names]
        whole = _grouped(pa.concat_tables(grouped), asked, merging, names)
    whole = whole.sort_by([(name, "ascending") for name in asked.by])
    moments = pa.repeat(pa.scalar(when, pa.timestamp("us", "UTC")), len(whole))
    return whole.add_column(0, SNAPSHOT_AT, moments)


def _grouped(
    table: pa.Table, asked: Asked, sums: list[Any], names: list[str]
) -> pa.Table:
    """Group the rows; without threads, because they would add floats in any order."""
    grouped = table.group_by(list(asked.by), use_threads=False).aggregate(sums)
    return grouped.rename_columns([*asked.by, *names])


def _shown(sums: list[pa.Table], asked: Asked) -> DataFrame:
    """Return the sums of all snapshots in the types of the data dictionary."""
    if not sums:
        # an empty result has the same columns and types as any other
        nothing = _part(frames.empty(asked.frame), asked)
        sums = [_added_up([nothing], asked, Timestamp(0, tz="UTC"))]
    # a column that nothing is known of has no type in some files
    whole = pa.concat_tables(sums, promote_options="permissive")
    raw = whole.to_pandas(ignore_metadata=True)
    known = frames.columns(asked.frame)
    types = {
        f"{name}_{part}": known[name].pandas_dtype
        for name in asked.numbers
        for part in ("sum", "min", "max")
    }
    groups = {name: frames.cast_cells(raw[name], known[name])[0] for name in asked.by}
    return raw.assign(**groups).astype(types)
