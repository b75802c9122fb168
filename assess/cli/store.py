"""Manage a store: list its snapshots, verify them, thin out old ones."""

from pathlib import Path

import click

from assess.cli.command import SNAPSHOTS, Command, Output, output_options
from assess.cli.messages import note, verbosity

directory = click.argument(
    "store",
    type=click.Path(file_okay=False, path_type=Path),
    default=SNAPSHOTS,
)


@click.group(params=verbosity())
def store() -> None:
    """List, verify or thin out the snapshots of a STORE; the default is data/snapshots."""


@store.command(
    cls=Command, examples=["assess store ls", "assess store ls data/snapshots"]
)
@directory
@output_options
def ls(store: Path, *, out: Output) -> None:
    """List snapshots with their size and their faults."""
    from assess import store as stores

    out.table(stores.listing(store), empty=f"{store} holds no snapshot")


@store.command(cls=Command, examples=["assess store verify data/snapshots"])
@directory
@output_options
def verify(store: Path, *, out: Output) -> None:
    """List changed or broken snapshots.

    Exits with 1 if there are any.
    """
    from assess import store as stores

    table = stores.listing(store)
    broken = table.loc[table["problem"] != "", ["snapshot", "problem"]]
    out.table(broken, empty=f"{len(table)} snapshots are as they were written")
    if len(broken):
        raise click.ClickException(f"{store} has {len(broken)} broken snapshots")


@store.command(
    cls=Command,
    examples=[
        "assess store prune data/snapshots",
        "assess store prune --older-than 30 --yes",
    ],
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
    if not is_sure and chosen:
        note(f"nothing was removed; --yes removes these {len(chosen)} snapshots")
        return
    for path in chosen:
        stores.remove(path)
    if chosen:
        note(f"removed {len(chosen)} snapshots")
