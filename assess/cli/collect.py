"""Take an inventory of the fleet; say what each source needs."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import click

from assess.cli import output
from assess.cli.command import Command
from assess.cli.messages import QUIET, level, note, progress, say

if TYPE_CHECKING:
    import pandas as pd

    from assess.inventory import Inventory

SNAPSHOTS = Path("data/snapshots")
UNDER_LIMIT = 4
IDENTITY = "identity"  # rows of coverage on the naming of services, which asks nobody


@click.command(
    cls=Command,
    examples=[
        "assess collect -c assess.toml -o data/snapshots/2026Q4",
        "assess collect --source docker --source ecs --deadline 60",
        "assess collect --strict --min-coverage 1",
    ],
)
@click.option(
    "-c",
    "--config",
    "config_file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="ASSESS_CONFIG",
    show_envvar=True,
    help="Configuration; the nearest assess.toml upwards from here where it is left out.",
)
@click.option(
    "--source", "types", multiple=True, help="Only sources of this type; may be repeated."
)
@click.option("--strict", is_flag=True, help="Fail where a source fails.")
@click.option(
    "--deadline", type=float, default=300, help="Time that each source has. [s]"
)
@click.option(
    "--min-coverage",
    type=click.FloatRange(0, 1),
    default=0.8,
    help="Least share of what was asked that has to be seen. [share 0-1]",
)
@click.option(
    "-o",
    "--output",
    "place",
    metavar="DIRECTORY",
    help="Snapshot directory to write, or s3://bucket/prefix.  [default: data/snapshots/<day>]",
)
@click.option(
    "--previous",
    metavar="SNAPSHOT",
    help="Snapshot whose knowledge of what cannot be seen now is carried forward, as stale."
    "  [default: the newest beside the one to write]",
)
@click.option("--fresh", is_flag=True, help="Carry nothing forward.")
def collect(
    *,
    config_file: Path | None,
    types: tuple[str, ...],
    strict: bool,
    deadline: float,
    min_coverage: float,
    place: str | None,
    previous: str | None,
    fresh: bool,
) -> None:
    """Take an inventory of the fleet, reading only, and write it as a snapshot.

    Each source that cannot see something says so in the coverage frame; the others go on. Exits
    with 1 where nothing was collected, and with 4 where the snapshot is written but less than
    --min-coverage was seen. It prints the path of the snapshot.
    """
    from assess import s3, store, words
    from assess.config import load_config
    from assess.sources import collect as collect_all

    if place and s3.is_s3(place):
        s3.refuse_taken(place)
    elif place:
        store.refuse_taken(Path(place))
    inventory = collect_all(
        load_config(config_file),
        sources=list(types) or None,
        deadline=deadline,
        strict=strict,
        progress=progress(),
        previous=None if fresh else _earlier(previous, place),
    )
    _tell_gaps(inventory["coverage"])
    day = f"{inventory.snapshot_at:%Y-%m-%d}"
    click.echo(_write(inventory, place or str(SNAPSHOTS / day)))
    _tell_counts(inventory)
    seen = seen_share(inventory["coverage"])
    if seen < min_coverage:
        say(
            "warning",
            f"{words.share(seen)} of the calls were answered; the limit is "
            f"{words.share(min_coverage)}",
        )
        click.get_current_context().exit(UNDER_LIMIT)


def _write(inventory: Inventory, place: str) -> str:
    """Write a snapshot where it was asked for."""
    from assess import s3, store

    if not s3.is_s3(place):
        return str(store.write_snapshot(inventory, place))
    with tempfile.TemporaryDirectory(prefix="assess-") as name:
        return s3.push(store.write_snapshot(inventory, Path(name) / "snapshot"), place)


def _earlier(reference: str | None, place: str | None) -> Inventory | None:
    """Load the snapshot that is carried forward; None where there is none yet."""
    from assess import s3, store
    from assess.inventory import load

    if reference:
        return load(store.resolve(reference))
    if place and s3.is_s3(place):
        return None  # nobody asked for all that lies beside it: name it with --previous
    beside = Path(place).absolute().parent if place else SNAPSHOTS
    if not beside.is_dir():
        return None
    with warnings.catch_warnings():  # what else lies there is none of this run's business
        warnings.simplefilter("ignore")
        found = [Path(path) for path in store.snapshots(beside)["path"]]
    collected = [path for path in found if any(path.glob("coverage.*"))]
    return load(collected[-1]) if collected else None


@click.command(
    cls=Command,
    examples=[
        "assess doctor",
        "assess doctor -c assess.toml --source docker",
        "assess doctor --json",
    ],
)
@click.option(
    "-c",
    "--config",
    "config_file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="ASSESS_CONFIG",
    show_envvar=True,
    help="Configuration; the nearest assess.toml upwards from here where it is left out.",
)
@click.option(
    "--source", "types", multiple=True, help="Only sources of this type; may be repeated."
)
@click.option("--deadline", type=float, default=30, help="Time that each source has. [s]")
@output.options
def doctor(
    *,
    config_file: Path | None,
    types: tuple[str, ...],
    deadline: float,
    out: output.Output,
) -> None:
    """Tell before a run what each configured source can and cannot see.

    A few cheap calls per source, and nothing is written. Exits with 4 where something cannot be
    seen.
    """
    from assess.config import load_config
    from assess.sources import probe

    found = probe(
        load_config(config_file),
        sources=list(types) or None,
        deadline=deadline,
        progress=progress(),
    )
    out.table(found[["source", "scope", "call", "status", "rows", "error_class", "hint"]])
    gaps = found[~found["status"].isin(["ok", "empty", "not_configured"])]
    if len(gaps):
        say(
            "warning",
            f"{len(gaps)} of {len(found)} calls would not see what they ask for",
        )
        click.get_current_context().exit(UNDER_LIMIT)


def seen_share(coverage: pd.DataFrame) -> float:
    """Give the share of what was asked that was seen.

    Parameters
    ----------
    coverage : DataFrame
        Frame ``coverage`` of a run.

    Returns
    -------
    float
        Mean over the scopes (host, file, account) of the share of their calls that were answered,
        so that a scope that fails at its first call weighs as much as one that answers a hundred.
        A partial answer counts by its ratio; what nobody configured does not count. [share 0-1]
    """
    asked = coverage[
        coverage["status"].ne("not_configured") & coverage["source"].ne(IDENTITY)
    ]
    if asked.empty:
        return 0.0
    status, ratio = asked["status"], asked["ratio"].clip(0, 1).fillna(0.0)
    seen = status.isin(["ok", "empty"]).astype("Float64")
    seen = seen.mask(status.eq("partial"), ratio)
    return float(
        seen.groupby([asked["source"], asked["scope"]], sort=False).mean().mean()
    )


def _tell_gaps(coverage: pd.DataFrame) -> None:
    from assess.words import clean

    if level() <= QUIET:
        return
    gaps = coverage[~coverage["status"].isin(["ok", "empty", "not_configured"])]
    for row in gaps.itertuples():
        hint = f"; {row.hint}" if isinstance(row.hint, str) and row.hint else ""
        say(str(row.status), clean(f"{row.source} {row.scope}, {row.call}{hint}"))


def _tell_counts(inventory: Inventory) -> None:
    counts = [f"{len(inventory[n])} {n}" for n in inventory if len(inventory[n])]
    note(", ".join(counts))


@click.command(
    cls=Command,
    examples=[
        "assess sources",
        "assess sources ecs --json",
        "assess sources aws --policy",
    ],
)
@click.argument("type_", metavar="[TYPE]", required=False)
@click.option(
    "--policy",
    "is_policy",
    is_flag=True,
    help="Print the least permissions of TYPE in the form of its system: aws, s3, kubernetes,"
    " nomad.",
)
@output.options
def sources(type_: str | None, *, is_policy: bool, out: output.Output) -> None:
    """Say what each source needs: options, permissions, the frames that it fills, dump commands."""
    import pandas as pd

    from assess.sources import permissions, source_types

    if is_policy:
        click.echo(permissions(type_ or ""), nl=False)
        return
    known = source_types()
    if type_ and type_ not in known:
        raise click.UsageError(
            f"there is no source {type_!r}; sources: {', '.join(known)}"
        )
    chosen = {type_: known[type_]} if type_ else known
    rows = [
        (s.type, ", ".join(s.options), ", ".join(s.fills), s.needs, s.dump, s.origin)
        for s in chosen.values()
    ]
    names = ["type", "options", "fills", "needs", "dump", "origin"]
    out.table(pd.DataFrame(rows, columns=names))
