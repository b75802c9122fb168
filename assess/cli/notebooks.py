"""Copy, run, refresh and check the notebooks."""

import json
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import click

from assess.cli.command import DIRECTORY, Output, command, output_options
from assess.cli.messages import QUIET, level, next_step, note, verbosity

selection = click.argument("notebook", nargs=-1)


@click.group(params=verbosity())
def notebooks() -> None:
    """Copy, run, refresh or check the notebooks.

    NOTEBOOK is a number such as 02, a name, or a file; the default is all notebooks.
    """


@command(
    "assess notebooks run",
    "assess notebooks run 02 05 -p snapshot=data/snapshots/2026Q4 -o reports/notebooks",
    group=notebooks,
)
@selection
@click.option(
    "-p",
    "--parameter",
    "pairs",
    metavar="NAME=VALUE",
    multiple=True,
    help="Value for the cell tagged parameters; repeatable. A path is relative to this directory.",
)
@click.option(
    "-o",
    "--output",
    "directory",
    type=DIRECTORY,
    default=Path("reports/notebooks"),
    help="Directory to write the executed notebooks to.",
)
def run(notebook: tuple[str, ...], *, pairs: tuple[str, ...], directory: Path) -> None:
    """Run notebooks with other parameters.

    Prints the paths of the results.
    """
    from assess import notebooks as runner

    parameters = dict(map(_parameter, pairs))
    for path in runner.run(
        notebook, parameters, output_dir=directory, progress=_is_watched()
    ):
        click.echo(path)


def _parameter(pair: str) -> tuple[str, Any]:
    """Read ``name=value``: a number, true, false or null as in JSON, a path, or else text."""
    name, equals, text = pair.partition("=")
    if not equals or not name.isidentifier():
        raise click.UsageError(f"-p {pair!r} is not NAME=VALUE")
    if Path(text.partition("@")[0]).exists() and text:
        from assess import store

        # absolute, because a notebook runs in its own directory
        path = store.resolve(text) if "@" in text else Path(text)
        return name, str(path.resolve())
    try:
        return name, json.loads(text)
    except ValueError:
        return name, text


def _is_watched() -> bool:
    return sys.stderr.isatty() and level() > QUIET


@command("assess notebooks refresh", "assess notebooks refresh 02", group=notebooks)
@selection
def refresh(notebook: tuple[str, ...]) -> None:
    """Run notebooks in place, and store their outputs.

    Prints the paths of those that changed.
    """
    from assess import notebooks as runner

    changed = runner.refresh(notebook, progress=_is_watched())
    for path in changed:
        click.echo(path)
    if not changed:
        note("nothing changed")


@command("assess notebooks copy", "assess notebooks copy analysis", group=notebooks)
@click.argument(
    "directory",
    type=DIRECTORY,
    default=Path("notebooks"),
)
def copy(directory: Path) -> None:
    """Copy the notebooks to DIRECTORY.

    They read your newest snapshot in data/snapshots. A notebook that is there already is kept as
    it is. Prints the paths of the new ones.
    """
    from assess import notebooks as runner

    made, kept = runner.copy(directory)
    for path in made:
        click.echo(path)
    if kept:
        note(f"notebooks that were there and are kept: {len(kept)}")
    next_step(f"jupyter lab {directory}")


@command("assess notebooks check", group=notebooks)
@selection
@output_options
def check(notebook: tuple[str, ...], *, out: Output) -> None:
    """List deviations from the conventions.

    Exits with 1 if there are any.
    """
    from pandas import DataFrame

    from assess import notebooks as runner

    rows = [asdict(deviation) for deviation in runner.check(notebook)]
    names = [field.name for field in fields(runner.Deviation)]
    checked_n = len(runner.find(notebook))
    empty = f"{checked_n} notebooks follow the conventions"
    out.table(DataFrame(rows, columns=names), {"rows": rows}, empty=empty)
    if rows:
        raise click.ClickException(f"deviations from the conventions: {len(rows)}")
