"""Look at snapshots: show, validate, coverage, diff; and the data dictionary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from assess.cli import output
from assess.cli.command import SNAPSHOT, Command, read, snapshot

if TYPE_CHECKING:
    import pandas as pd

    from assess.inventory import Inventory

CLEANUP = "cleanup"  # a listing that no snapshot holds
COVERAGE_SHOWN = [
    "source",
    "scope",
    "call",
    "status",
    "rows",
    "expected",
    "age_hours",
    "hint",
]


@click.command(
    cls=Command,
    examples=[
        "assess show data/sample/2026Q3",
        "assess show data/sample/2026Q3 engines --columns host_id,version,storage_driver",
        "assess show data/sample/2026Q3 workloads --where 'restarts_n > 3' --json",
        "assess show data/sample/2026Q3 cleanup",
    ],
)
@snapshot
@click.argument("frame", required=False)
@click.option(
    "--where", metavar="EXPR", help="Rows to show: a pandas query on the columns."
)
@click.option("--columns", metavar="A,B", help="Columns to show.")
@output.options
def show(
    snapshot: str,
    frame: str | None,
    *,
    where: str | None,
    columns: str | None,
    out: output.Output,
) -> None:
    """Show what a snapshot holds: all frames counted, or the rows of one FRAME.

    FRAME `cleanup` is computed: per host, the images that docker-gc's rules (policy table
    `cleanup`) would remove and the bytes that this would free. Nothing is removed.

    An unknown value is written `unknown` as text, an empty cell in CSV and null in JSON. No number
    compares with it; a text differs from it, so say `owner.notna() and owner != 'checkout'`. Times
    are written as they are shown: `opened_at > '2026-07-01T00:00:00Z'`.
    """
    inventory = read(snapshot)
    head = {"snapshot_at": inventory.snapshot_at, "quarter": inventory.quarter}
    if frame is None:
        if where or columns:
            raise click.UsageError("--where and --columns need a FRAME")
        table = inventory.summary()
    else:
        rows = _cleanup(inventory) if frame == CLEANUP else inventory[frame]
        table = _columns(_where(rows, where), columns)
        head["frame"] = frame
    records = output.records(table)
    out.table(table, {**head, "rows": records})


def _cleanup(inventory: Inventory) -> pd.DataFrame:
    import assess

    return assess.clean_up(inventory, assess.load_policy()).hosts.reset_index()


def _where(table: pd.DataFrame, expression: str | None) -> pd.DataFrame:
    """Keep the rows for which the expression is known to be true."""
    import pandas as pd

    if not expression:
        return table
    try:
        held = table.eval(expression, engine="python", local_dict={}, global_dict={})
        if not pd.api.types.is_bool_dtype(held):
            raise ValueError("it is not a condition")
        return table[held.astype("boolean").fillna(value=False)]
    except Exception as error:  # whatever a user writes: pandas has no one class for it
        raise click.UsageError(
            f"--where {expression!r} cannot be evaluated: {error}; columns: {', '.join(table)}"
        ) from error


def _columns(table: pd.DataFrame, names: str | None) -> pd.DataFrame:
    if not names:
        return table
    wanted = [name.strip() for name in names.split(",")]
    missing = [name for name in wanted if name not in table]
    if missing:
        raise click.UsageError(
            f"no column {', '.join(missing)}; columns: {', '.join(table)}"
        )
    return table[wanted]


@click.command(cls=Command, examples=["assess validate data/snapshots/2026Q4"])
@snapshot
@output.options
def validate(snapshot: str, *, out: output.Output) -> None:
    """List everything that is wrong with a snapshot; exit with 1 where anything is."""
    from assess import inventory, store

    problems = inventory.validate(store.resolve(snapshot))
    document = {"valid": problems.empty, "rows": output.records(problems)}
    out.table(problems, document, empty=f"{snapshot} is sound")
    if len(problems):
        raise click.ClickException(f"{snapshot} has {len(problems)} problems")


@click.command(cls=Command, examples=["assess coverage data/sample/2026Q3"])
@snapshot
@output.options
def coverage(snapshot: str, *, out: output.Output) -> None:
    """Show what the sources could see: each call, and what came of it.

    Denied, timed out, empty and absent are four different things. What could not be seen is
    unknown to every score.
    """
    inventory = read(snapshot)
    table = inventory["coverage"]
    full = out.format == "csv"
    rows = {"snapshot_at": inventory.snapshot_at, "rows": output.records(table)}
    empty = "this snapshot does not say what its sources could see"
    out.table(table if full else table[COVERAGE_SHOWN], rows, empty=empty)


@click.command(
    cls=Command, examples=["assess diff data/sample/2026Q2 data/sample/2026Q3"]
)
@click.argument("earlier", type=SNAPSHOT)
@click.argument("later", type=SNAPSHOT)
@output.options
def diff(earlier: str, later: str, *, out: output.Output) -> None:
    """Compare two snapshots by key: what came, what went, which cells changed."""
    before, after = read(earlier), read(later)
    table = after.diff(before)
    document = {
        "earlier": before.snapshot_at,
        "later": after.snapshot_at,
        "rows": output.records(table),
    }
    out.table(table, document, empty="nothing changed")


@click.command(
    cls=Command, examples=["assess frames hosts", "assess frames --format markdown"]
)
@click.argument("frame", required=False)
@output.options
def frames(frame: str | None, *, out: output.Output) -> None:
    """Give the data dictionary: every frame and column, its type, rule and unit."""
    from assess import frames as dictionary

    table = dictionary.dictionary()
    if frame:
        table = table[table["frame"] == frame]
        if table.empty:
            names = ", ".join(dictionary.names())
            raise click.UsageError(f"there is no frame {frame!r}; frames: {names}")
    out.table(table)
