"""Inspect snapshots (show, validate, coverage, diff), stores of them, and the data dictionary."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from assess.cli.command import (
    DIRECTORY,
    SNAPSHOT,
    SNAPSHOTS,
    Output,
    command,
    newest_snapshot,
    output_options,
    read,
    records,
    snapshot,
)
from assess.cli.messages import next_step, note, verbosity
from assess.errors import RequestError, counted, no_such, with_nearest

if TYPE_CHECKING:
    from pandas import DataFrame, Timestamp


CLEANUP = "cleanup"  # a listing that no snapshot holds
COVERAGE_SHOWN = ["source", "scope", "call", "status", "rows", "age_hours", "hint"]


@command(
    "assess show sample",
    "assess show sample engines --columns host_id,version,storage_driver",
    "assess show sample workloads --where 'restarts_n > 3' --json",
    "assess show sample cleanup",
)
@snapshot
@click.argument("frame", required=False)
@click.option(
    "--where",
    metavar="RULE",
    help="Show only these rows: a rule over the columns, as in the policy.",
)
@click.option("--columns", metavar="A,B", help="Show only these columns.")
@output_options
def show(
    snapshot: str,
    frame: str | None,
    *,
    where: str | None,
    columns: str | None,
    out: Output,
) -> None:
    """Show the contents of a snapshot: row counts of all frames, or the rows of one FRAME.

    FRAME `cleanup` is computed: per host, the images that docker-gc's rules (policy table
    `cleanup`) would remove and the bytes that this would free. Nothing is removed.

    An unknown value is `unknown` as text, an empty cell in CSV and null in JSON. No comparison
    with it is true; `owner_known` tells whether `owner` is known. A rule has comparisons, `in`,
    `and`, `or`, `not`, numbers, text and `days_since(column)`; write times as ISO 8601, such as
    `opened_at > '2026-07-01T00:00:00Z'`.
    """
    inventory = read(snapshot)
    head = {"snapshot_at": inventory.snapshot_at, "quarter": inventory.quarter}
    if frame is None:
        if where or columns:
            raise click.UsageError("--where and --columns need a FRAME")
        table = inventory.summary()
    else:
        if frame == CLEANUP:
            import assess

            rows = assess.clean_up(inventory, assess.load_policy()).hosts.reset_index()
        else:
            rows = inventory[frame]
        table = _columns(_where(rows, where, inventory.snapshot_at), columns)
        head["frame"] = frame
    out.table(table, {**head, "rows": records(table)})


def _where(table: DataFrame, rule: str | None, at: Timestamp) -> DataFrame:
    """Return the rows for which the rule is true; unknown is not true."""
    from assess.policy.rules import RuleError, evaluate

    if not rule:
        return table
    cells = _askable(table)
    try:
        # first without rows: with them, a rule is not read past a part that no row meets
        evaluate(rule, cells.iloc[:0], at=at)
        mask = evaluate(rule, cells, at=at)
    except RuleError as error:
        raise click.UsageError(
            f"--where {rule!r} cannot be evaluated: {error}; columns: {', '.join(table)}"
        ) from error
    return table[mask.fillna(value=False).to_numpy(bool)]


def _askable(table: DataFrame) -> DataFrame:
    """Return the columns in the types of the rule language, and ``<column>_known`` for each."""
    from pandas.api import types

    columns = {}
    for name in table:
        cells = table[name]
        if types.is_bool_dtype(cells.dtype):
            cells = cells.astype("boolean")
        elif types.is_numeric_dtype(cells.dtype):
            cells = cells.astype("Float64")
        elif not types.is_datetime64_any_dtype(cells.dtype):
            cells = cells.astype("string")
        columns[name] = cells
    # lets a rule ask whether a cell is known: comparing with an unknown cell is unknown
    known = {
        f"{name}_known": cells.notna().astype("boolean")
        for name, cells in columns.items()
    }
    return table.assign(**known, **columns)


def _columns(table: DataFrame, names: str | None) -> DataFrame:
    if not names:
        return table
    wanted = [name.strip() for name in names.split(",")]
    missing = [name for name in wanted if name not in table]
    if missing:
        message = with_nearest(f"no column {', '.join(missing)}", missing[0], table)
        raise click.UsageError(f"{message}; columns: {', '.join(table)}")
    return table[wanted]


@command("assess validate data/snapshots/2026Q4")
@newest_snapshot
@output_options
def validate(snapshot: str, *, out: Output) -> None:
    """List all problems of a snapshot; exit with 1 if there are any."""
    from assess import store

    place = store.resolve(snapshot)
    problems = store.validate(place)
    document = {"valid": problems.empty, "rows": records(problems)}
    out.table(problems, document, empty=f"{place} is valid")
    if len(problems):
        raise click.ClickException(f"{place} has {counted(len(problems), 'problem')}")


@command("assess coverage sample")
@newest_snapshot
@output_options
def coverage(snapshot: str, *, out: Output) -> None:
    """Show what each source could and could not see, call by call.

    Denied, timed out, empty and absent are four different outcomes. What a source could not see
    is unknown to every score.
    """
    inventory = read(snapshot)
    table = inventory["coverage"]
    rows = {"snapshot_at": inventory.snapshot_at, "rows": records(table)}
    empty = "this snapshot has no coverage frame"
    shown = table if out.format == "csv" else _for_people(table)
    out.table(shown, rows, empty=empty)
    next_step(f"assess questions {snapshot} -o questions.csv")


def _for_people(coverage: DataFrame) -> DataFrame:
    """Return the main columns; ``rows`` with the number expected, where it differs."""
    from assess.words import word

    # without rows, `map` keeps the type of the numbers
    rows, expected = (
        coverage[name].map(word).astype("str") for name in ("rows", "expected")
    )
    is_short = coverage["expected"].ne(coverage["rows"]).fillna(False)
    both = rows + " of " + expected
    return coverage[COVERAGE_SHOWN].assign(rows=rows.mask(is_short, both))


@command("assess diff sample:2026Q2 sample")
@click.argument("earlier", type=SNAPSHOT)
@click.argument("later", type=SNAPSHOT)
@output_options
def diff(earlier: str, later: str, *, out: Output) -> None:
    """Compare two snapshots by key: rows added, rows removed, cells changed."""
    before = read(earlier)
    after = read(later)
    if after.snapshot_at < before.snapshot_at:
        note("warning: the first snapshot is the later one: swap the two")
    table = after.diff(before)
    document = {
        "earlier": before.snapshot_at,
        "later": after.snapshot_at,
        "rows": records(table),
    }
    out.table(table, document, empty="nothing changed")


@command("assess frames hosts", "assess frames --format markdown")
@click.argument("frame", required=False)
@output_options
def frames(frame: str | None, *, out: Output) -> None:
    """Show the data dictionary: every frame and column, with type, rule and unit."""
    from assess import frames as dictionary

    table = dictionary.dictionary()
    if frame:
        table = table[table["frame"] == frame]
        if table.empty:
            raise no_such("frame", frame, dictionary.names(), RequestError)
    out.table(table)


directory = click.argument("store", type=DIRECTORY, default=SNAPSHOTS)


@click.group(params=verbosity())
def store() -> None:
    """List, verify or thin out the snapshots of a STORE; the default is data/snapshots."""


@command("assess store ls", "assess store ls data/snapshots", group=store)
@directory
@output_options
def ls(store: Path, *, out: Output) -> None:
    """List snapshots with their size and their faults."""
    from assess import store as stores

    out.table(stores.listing(store), empty=f"{store} holds no snapshot")


@command("assess store verify data/snapshots", group=store)
@directory
@output_options
def verify(store: Path, *, out: Output) -> None:
    """List changed or broken snapshots; STORE may be one snapshot.

    Exits with 1 if there are any, or no snapshot at all.
    """
    from assess import store as stores

    table = stores.listing(store)
    if table.empty:
        stores.latest(store)  # an error: what is not there is not as it was written
    broken = table.loc[table["problem"] != "", ["snapshot", "problem"]]
    out.table(broken, empty=f"snapshots as they were written: {len(table)}")
    if len(broken):
        raise click.ClickException(
            f"{store} has {counted(len(broken), 'broken snapshot')}"
        )


@command(
    "assess store prune data/snapshots",
    "assess store prune --older-than 30 --yes",
    group=store,
)
@directory
@click.option(
    "--older-than",
    metavar="DAYS",
    type=click.IntRange(min=0),
    default=90,
    show_default=True,
    help="Thin out what is older than this, counted from the newest snapshot.",
)
@click.option("--yes", "is_sure", is_flag=True, help="Remove them.")
@output_options
def prune(store: Path, *, older_than: int, is_sure: bool, out: Output) -> None:
    """List the old snapshots that can be removed.

    The newest snapshot of each quarter stays. --yes removes the others.
    """
    from assess import store as stores

    chosen = stores.thinned(store, older_than)
    table = stores.listing(store)
    table = table[table["snapshot"].isin([path.name for path in chosen])]
    out.table(table, empty="nothing to remove")
    for path in chosen if is_sure else ():
        stores.remove(path)
    removed = f"removed {counted(len(chosen), 'snapshot')}"
    if chosen:
        note(removed if is_sure else "nothing was removed; --yes removes them")
