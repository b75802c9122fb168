"""Collect an inventory, check the sources beforehand, and list what they need."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from assess.cli.command import FILE, SNAPSHOTS, Output, command, output_options, together
from assess.cli.messages import QUIET, level, next_step, note, progress, say
from assess.errors import RequestError, no_such

if TYPE_CHECKING:
    from pandas import DataFrame

    from assess.config import Config
    from assess.inventory import Inventory

UNDER_LIMIT = 4
# rows of coverage about what the answers name, which make no call
NAMING = ("resolve", "references")
source_options = together(
    click.option(
        "-c",
        "--config",
        "config_file",
        type=FILE,
        envvar="ASSESS_CONFIG",
        show_envvar=True,
        help="Configuration; by default the nearest assess.toml in this directory or above.",
    ),
    click.option(
        "--source", "types", multiple=True, help="Only sources of this type; repeatable."
    ),
)


SECONDS = click.FloatRange(0, 7 * 86_400, min_open=True)  # within a week, as sources ask


@command(
    "assess collect -c assess.toml -o data/snapshots/2026Q4",
    "assess collect --source docker --source ecs --deadline 60",
    "assess collect --strict --min-coverage 1",
    works=True,
)
@source_options
@click.option("--strict", is_flag=True, help="Fail if any source fails.")
@click.option(
    "--deadline", type=SECONDS, default=300, help="Time limit for each source. [s]"
)
@click.option(
    "--min-coverage",
    type=click.FloatRange(0, 1),
    default=0.8,
    help="Lowest share of calls that must be answered. [share 0-1]",
)
@click.option(
    "-o",
    "--output",
    "place",
    metavar="DIRECTORY",
    help="Snapshot directory to create, or s3://bucket/prefix.  [default: data/snapshots/<day>]",
)
@click.option(
    "--previous",
    metavar="SNAPSHOT",
    help="Snapshot to fill gaps from: what a failed call cannot see now is carried forward, marked"
    " as stale.  [default: the newest in the same directory]",
)
@click.option("--fresh", is_flag=True, help="Do not carry anything forward.")
@click.option(
    "--force",
    is_flag=True,
    help="Replace a snapshot of the same name, once the new one is complete.",
)
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
    force: bool,
) -> None:
    """Take an inventory of the fleet, read-only, and write it as a snapshot.

    A source that cannot see something records it in the coverage frame; the other sources go on.
    Prints the path of the snapshot. Exits with 1 if nothing was collected, and with 4 if the
    snapshot was written but fewer calls than --min-coverage were answered. Ctrl-C writes what was
    found until then, marked as partial in the coverage frame, and exits with 130.
    """
    from assess import s3, store, words
    from assess.sources import Interrupted
    from assess.sources import collect as collect_all

    now = datetime.now(UTC)
    place = place or str(SNAPSHOTS / f"{now:%Y-%m-%d}")
    # before the collection: minutes of work must not end in a refusal
    if s3.is_s3(place):
        s3.refuse_taken(place)
    else:
        store.refuse_taken(Path(place), is_replacing=force)
    try:
        inventory = collect_all(
            _config(config_file),
            sources=list(types) or None,
            deadline=deadline,
            strict=strict,
            progress=progress(),
            previous=None if fresh else _earlier(previous, place),
            now=now,
        )
    except Interrupted as interrupt:
        if interrupt.inventory is not None:
            _save(interrupt.inventory, place, is_replacing=force)
        raise
    _save(inventory, place, is_replacing=force)
    seen = seen_share(inventory["coverage"])
    if seen < min_coverage:
        shares = words.share(seen), words.share(min_coverage)
        say("warning", "{} of the calls were answered; the limit is {}".format(*shares))
        click.get_current_context().exit(UNDER_LIMIT)


def _config(file: Path | None) -> Config:
    """Read the configuration; print its path if it is in a directory above."""
    from assess.config import load_config

    config = load_config(file)
    if file is None and config.directory != Path.cwd().resolve():
        note(f"configuration: {config.origin}")
    return config


def _save(inventory: Inventory, place: str, *, is_replacing: bool) -> None:
    if level() > QUIET:
        for row in _gaps(inventory["coverage"]).itertuples():
            hint = f"; {row.hint}" if isinstance(row.hint, str) and row.hint else ""
            say(str(row.status), f"{row.source} {row.scope}, {row.call}{hint}")
    written = _write(inventory, place, is_replacing=is_replacing)
    click.echo(written)
    tables = inventory.tables.items()
    note(", ".join(f"{name} {len(table)}" for name, table in tables if len(table)))
    next_step(f"assess coverage {written}")


def _write(inventory: Inventory, place: str, *, is_replacing: bool) -> str:
    from assess import s3, store

    if not s3.is_s3(place):
        return str(store.write_snapshot(inventory, place, is_replacing=is_replacing))
    with tempfile.TemporaryDirectory(prefix="assess-") as name:
        return s3.push(store.write_snapshot(inventory, Path(name) / "snapshot"), place)


def _earlier(reference: str | None, place: str) -> Inventory | None:
    """Load the snapshot to carry forward; None without one."""
    from assess import s3, store
    from assess.snapshot import load

    if reference:
        return load(store.resolve(reference))
    if s3.is_s3(place):
        return None  # downloading a whole bucket must be asked for, with --previous
    beside = Path(place).absolute().parent
    if not beside.is_dir():
        return None
    with store.quiet():  # broken snapshots in the directory do not matter here
        paths = [Path(path) for path in store.snapshots(beside)["path"]]
    # a snapshot without coverage was not collected, and has no scopes to carry
    collected = [path for path in paths if any(path.glob("coverage.*"))]
    return load(collected[-1]) if collected else None


@command(
    "assess doctor",
    "assess doctor -c assess.toml --source docker",
    "assess doctor --json",
)
@source_options
@click.option(
    "--deadline", type=SECONDS, default=30, help="Time limit for each source. [s]"
)
@output_options
def doctor(
    *,
    config_file: Path | None,
    types: tuple[str, ...],
    deadline: float,
    out: Output,
) -> None:
    """Check what each configured source can see before you collect.

    Makes a few cheap calls per source and writes nothing. Exits with 4 if any call fails.
    """
    from assess.sources import probe

    calls = probe(
        _config(config_file),
        sources=list(types) or None,
        deadline=deadline,
        progress=progress(),
    )
    out.table(calls[["source", "scope", "call", "status", "rows", "error_class", "hint"]])
    gaps = _gaps(calls)
    has_answers = len(gaps) < len(calls)
    next_step("assess collect" if has_answers else "follow the hints, then assess doctor")
    if len(gaps):
        say("warning", f"{len(gaps)} of {len(calls)} calls are not answered in full")
        click.get_current_context().exit(UNDER_LIMIT)


def seen_share(coverage: DataFrame) -> float:
    """Return the share of calls that were answered [0-1], as the mean over scopes.

    A scope is a host, file or account. A scope that fails at its first call weighs as much as one
    that answers a hundred. A partial answer counts by its ratio; an unconfigured call is left out.
    """
    from assess.inventory import LOOKED

    asked = coverage[
        coverage["status"].ne("not_configured") & ~coverage["call"].isin(NAMING)
    ]
    if asked.empty:
        return 0.0
    status = asked["status"]
    ratio = asked["ratio"].clip(0, 1).fillna(0.0)
    seen = status.isin(LOOKED).astype("Float64")
    # a partial answer without a ratio counts as nothing
    seen = seen.mask(status.eq("partial"), ratio)
    by_scope = seen.groupby([asked["source"], asked["scope"]], sort=False)
    return float(by_scope.mean().mean())


def _gaps(coverage: DataFrame) -> DataFrame:
    """Return the calls that were asked, and not answered in full."""
    from assess.inventory import LOOKED

    return coverage[~coverage["status"].isin([*LOOKED, "not_configured"])]


@command(
    "assess sources",
    "assess sources ecs --json",
    "assess sources aws --policy",
    "assess sources docker --script > dump.sh",
)
@click.argument("type_", metavar="[TYPE]", required=False)
@click.option(
    "--policy",
    "is_policy",
    is_flag=True,
    help="Print the least permissions for TYPE, in the format of its system: aws, s3, kubernetes,"
    " nomad.",
)
@click.option(
    "--script",
    "is_script",
    is_flag=True,
    help="Print a shell script that writes the dumps of TYPE, where assess may not ask itself.",
)
@output_options
def sources(type_: str | None, *, is_policy: bool, is_script: bool, out: Output) -> None:
    """List what each source needs: options, permissions, dump commands, and the frames it fills."""
    from pandas import DataFrame

    from assess.sources.catalogue import dump_script, permissions, source_types

    if is_policy or is_script:
        text = permissions if is_policy else dump_script
        click.echo(text(type_ or ""), nl=False)
        return
    known = source_types()
    if type_ and type_ not in known:
        raise no_such("source", type_, known, RequestError)
    chosen = {type_: known[type_]} if type_ else known
    table = DataFrame(chosen.values())
    out.table(table.map(lambda cell: cell if isinstance(cell, str) else ", ".join(cell)))
