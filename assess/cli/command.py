"""Shared by all commands: help with examples, common options, and output formats."""

from __future__ import annotations

import functools
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from assess.cli.messages import note, progress, say, verbosity
from assess.errors import with_nearest
from assess.untrusted import printable
from assess.writing import write_beside

if TYPE_CHECKING:
    from pandas import DataFrame

    from assess.inventory import Inventory
    from assess.policy import Policy
    from assess.score.assessment import Assessment
    from assess.score.upgrade_churn.history import History

Decorator = Callable[[Any], Any]
PATIENCE = 1.0  # work that is done sooner shows no progress [s]
# click names them "float range" and "integer range"
PLAIN_TYPES = {click.FloatRange: "number", click.IntRange: "integer"}
FORMATS = ("text", "json", "csv", "markdown")
_BY_SUFFIX = {".json": "json", ".csv": "csv", ".md": "markdown", ".toml": "toml"}


class Command(click.Command):
    """A command with examples in its help, and with ``-q -v --debug``.

    ``works`` marks a command with long work: it uses ``[work]`` of `assess.toml` and shows progress.
    """

    def __init__(
        self, *args: Any, examples: Sequence[str] = (), works: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        self.works = works
        self.params += verbosity()
        for param in self.params:
            param.type.name = PLAIN_TYPES.get(type(param.type), param.type.name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the options, also from ``ASSESS_<COMMAND>_<OPTION>``."""
        for option in self.params:
            if isinstance(option, click.Option):
                word = option.opts[-1].strip("-").replace("-", "_").upper()
                named = f"{ctx.auto_envvar_prefix}_{word}"
                # a command on its own has no prefix, and would keep a wrong name
                if ctx.auto_envvar_prefix and not isinstance(option.envvar, list):
                    wider = [option.envvar] if isinstance(option.envvar, str) else []
                    option.envvar = [named, *wider]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        if not self.works:
            return super().invoke(ctx)
        from assess.config import work_options
        from assess.execution import working

        with working(**work_options(), tell=progress(patience=PATIENCE)):
            return super().invoke(ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        if self.examples:
            with formatter.section("Examples"):
                formatter.write("".join(f"  {example}\n" for example in self.examples))


def command(
    *examples: str, group: click.Group | None = None, works: bool = False
) -> Callable[[Callable[..., Any]], click.Command]:
    """Return a decorator that makes a `Command`, of a group or of `assess` itself."""
    make = group.command if group else click.command
    return make(cls=Command, examples=examples, works=works)


class SnapshotType(click.ParamType[str]):
    """A directory of frames, ``store@date``, or ``sample``."""

    name = "snapshot"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete directories."""
        return [CompletionItem(incomplete, type="dir")]


class Choice(click.Choice[str]):
    """One of some words; the error about another names the nearest."""

    def get_invalid_choice_message(self, value: str, ctx: click.Context | None) -> str:
        """Return what is wrong with a value."""
        message = super().get_invalid_choice_message(value, ctx).rstrip(".")
        return with_nearest(message, value, self.choices)


@dataclass(frozen=True)
class Output:
    """Target and format of a listing; ``file`` is None for stdout."""

    format: str
    file: Path | None

    def table(
        self,
        table: DataFrame,
        document: Mapping[str, Any] | None = None,
        *,
        empty: str = "no rows",
    ) -> None:
        """Write one table; ``document`` is its JSON, ``empty`` the note when it has no rows."""
        self.tables({"": table}, document)
        if table.empty:
            note(empty)

    def tables(
        self,
        tables: Mapping[str, DataFrame],
        document: Mapping[str, Any] | None = None,
    ) -> None:
        """Write tables under headings; CSV holds just one."""
        if self.format == "json":
            rows = {title or "rows": records(table) for title, table in tables.items()}
            self.text(to_json(document or rows))
            return
        if self.format == "csv":
            if len(tables) > 1:
                raise click.UsageError("CSV holds one table; use --format json")
            tables = {"": next(iter(tables.values()))}
        mark = "## " if self.format == "markdown" else ""
        bodies = [(title, self.body(table)) for title, table in tables.items()]
        parts = [f"{mark}{title}\n\n{body}" if title else body for title, body in bodies]
        self.text("\n".join(parts))

    def body(self, table: DataFrame) -> str:
        """Write the rows of one table as text, CSV or Markdown."""
        from assess.words import Grid, to_csv

        if self.format == "csv":
            return to_csv(_with_index(table))
        grid = Grid.of_changes(table)
        return grid.markdown() if self.format == "markdown" else grid.text(self.width)

    @property
    def width(self) -> int | None:
        """Columns of the terminal that shows it; None for a file or a pipe."""
        is_watched = self.file is None and sys.stdout.isatty()
        return shutil.get_terminal_size().columns if is_watched else None

    def prose(self, text: str) -> str:
        """Wrap sentences in a terminal, which would break their words."""
        if not self.width or self.format != "text":
            return text
        wrap = functools.partial(textwrap.fill, width=self.width, break_on_hyphens=False)
        return "\n".join(map(wrap, text.splitlines()))

    def text(self, text: str) -> None:
        """Write text as it is."""
        if self.file is None:
            _write(text)
        else:
            write_beside(self.file, text)
            note(f"wrote {self.file} as {self.format}")


def together(*options: Decorator) -> Decorator:
    """Return one decorator that adds several options, in their order in the help."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        # decorators apply from the inside out, so the last one comes first in the help
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


SNAPSHOT = SnapshotType()
FILE = click.Path(dir_okay=False, path_type=Path)
DIRECTORY = click.Path(file_okay=False, path_type=Path)


SNAPSHOTS = Path("data/snapshots")
snapshot = click.argument("snapshot", type=SNAPSHOT)
newest_snapshot = click.argument("snapshot", type=SNAPSHOT, default=str(SNAPSHOTS))
previous_option = click.option(
    "--previous", type=SNAPSHOT, help="Earlier snapshot to compare with."
)
policy_options = together(
    click.option(
        "--policy",
        "policy_file",
        type=FILE,
        envvar="ASSESS_POLICY",
        show_envvar=True,
        help="Policy file; by default the built-in policy.",
    ),
    click.option(
        "--target",
        metavar="[PRODUCT:]VERSION",
        help="What to upgrade or move to: 29, kubernetes:1.35, debian:13, postgres:18, acme/app:2.",
    ),
)


def output_in(*formats: str) -> Decorator:
    """Return a decorator for ``--format``, ``--json`` and ``-o``, as the argument ``out``."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def wrapped(
            *args: Any, format: str | None, as_json: bool, file: Path | None, **rest: Any
        ) -> Any:
            by_suffix = _BY_SUFFIX.get(file.suffix) if file else None
            by_suffix = by_suffix if by_suffix in formats else None
            chosen = "json" if as_json else format or by_suffix or "text"
            to_file = None if file == Path("-") else file
            return command(*args, out=Output(chosen, to_file), **rest)

        return options(wrapped)

    options = together(
        click.option(
            "--format",
            type=Choice(formats),
            envvar="ASSESS_FORMAT",
            show_envvar=True,
            help="Output format; the default is text.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Short for --format json."),
        click.option(
            "-o",
            "--output",
            "file",
            type=FILE,
            help="File to write. Its suffix sets the format unless --format does.",
        ),
    )
    return decorate


output_options = output_in(*FORMATS)


def read(text: str) -> Inventory:
    """Load a snapshot; see `assess.load`."""
    from assess import store

    return store.load(text)


def read_history(text: str | Path, policy: Policy, *more: str | None) -> History:
    """Read the upgrades shown by all older snapshots in the same place, and by those in ``more``."""
    from assess import store
    from assess.score.upgrade_churn.history import upgrade_history

    others = [store.resolve(name) for name in more if name]
    return upgrade_history(store.earlier(store.resolve(text), *others), policy)


def read_assessment(
    text: str, policy: Policy, previous: str | None = None, *, is_learning: bool = True
) -> Assessment:
    """Read snapshots, for scores that learn with the upgrades that `read_history` shows."""
    from assess.score.assessment import Assessment

    history = read_history(text, policy, previous) if is_learning else None
    inventory = read(text)
    earlier = None
    if previous:
        earlier = read_assessment(previous, policy, is_learning=is_learning)
        warn_if_same(earlier.inventory, inventory)
    return Assessment(inventory, policy, history, earlier)


def warn_if_same(earlier: Inventory, inventory: Inventory) -> None:
    """Warn of a snapshot that is compared with itself; scores refuse a later one."""
    if earlier.snapshot_at == inventory.snapshot_at:
        say("warning", "--previous is the same snapshot: nothing happened in between")


def read_policy(file: Path | None, *, target: str | None = None) -> Policy:
    """Load the policy, with the target from the command line."""
    from assess.policy import load_policy

    policy = load_policy(file)
    if not target:
        return policy
    from assess.score.upgrade_churn.breaking import RUNTIMES, goal_of

    goal = goal_of(target)
    if goal.product not in RUNTIMES:
        return policy  # its version says nothing about the engine of a host
    return policy.replace(target={"runtime": goal.product, "engine": goal.version})


def _write(text: str) -> None:
    """Write to stdout, to a terminal without control characters."""
    # A reader that stops early, such as `head`, is no error.
    if sys.stdout.isatty():
        text = printable(text)
    try:
        # an unpaired surrogate has no encoding
        click.echo(text.encode(errors="replace").decode(), nl=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would flush once more at its end, and fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _with_index(table: DataFrame) -> DataFrame:
    return table.reset_index() if any(table.index.names) else table


def records(table: DataFrame) -> list[dict[str, Any]]:
    """Convert a table to plain JSON types, a dict per row; a named index is included."""
    from assess import words

    return words.records(_with_index(table))


def to_json(document: Mapping[str, Any]) -> str:
    """Write a document as JSON, with ``schema_version`` first; NA is null."""
    from assess.score.result import JSON_VERSION, encoded
    from assess.words import plain

    return "".join(encoded(plain({"schema_version": JSON_VERSION, **document}))) + "\n"
