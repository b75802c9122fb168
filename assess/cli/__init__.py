"""The command line: one file per group of commands, imported when one of them is called."""

import gc
import importlib
import os
import sys
import traceback
from itertools import groupby
from operator import itemgetter
from typing import Any

import click

import assess
from assess.cli.messages import (
    DEBUG,
    Failure,
    Misuse,
    level,
    listening,
    say,
    show,
    verbosity,
)
from assess.config import packaged_rows
from assess.errors import AssessError, RequestError, with_nearest
from assess.untrusted import printable

INTERRUPTED = 130
EPILOG = """\b
Your own fleet, in a directory of its own; `assess report sample` shows one:
  assess init
  assess doctor
  assess collect
  assess report

A SNAPSHOT is a directory of frames, a store with a date such as
data/snapshots@2026-09-30, or `sample`: the invented fleet. [SNAPSHOT] may be
left out: the newest in data/snapshots.

Every option can also be set as ASSESS_<VERB>_<OPTION>, such as
ASSESS_COLLECT_DEADLINE=60.

Exit codes: 0 done, 1 error, 2 usage, 3 a limit is broken, 4 coverage below the
limit, 130 interrupted.

\b
Completion: eval "$(_ASSESS_COMPLETE=bash_source assess)", or zsh_source, or
            _ASSESS_COMPLETE=fish_source assess | source"""

# `assess --help` imports none of the modules, to be fast
VERBS = packaged_rows("cli/verbs.csv")
_HOMES = {row["verb"]: row["module"] for row in VERBS}


class Verbs(click.Group):
    """The group of all commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the commands without importing them."""
        return list(_HOMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is no such command."""
        if cmd_name not in _HOMES:
            return None
        module = importlib.import_module(f"assess.cli.{_HOMES[cmd_name]}")
        return getattr(module, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command, or name the nearest one in the error."""
        if (
            args[0] not in _HOMES
            and not args[0].startswith("-")
            and not ctx.resilient_parsing
        ):
            message = f"there is no command {args[0]!r}"
            raise click.UsageError(with_nearest(message, args[0], _HOMES), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by section."""
        for section, rows in groupby(VERBS, itemgetter("section")):
            with formatter.section(section):
                formatter.write_dl(
                    [(row["verb"], row["help"]) for row in rows], col_max=12
                )

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error becomes a message, with a traceback only under ``--debug``."""
        try:
            with listening():
                return super().invoke(ctx)
        except (
            click.ClickException,
            click.exceptions.Exit,
            click.Abort,
            BrokenPipeError,
        ):
            raise
        except Exception as error:
            if level() >= DEBUG:
                click.echo(printable(traceback.format_exc()), err=True, nl=False)
            raise _failure(error) from error

    def main(self, *args: Any, standalone_mode: bool = True, **rest: Any) -> Any:
        """Run the command line and exit with its code."""
        try:
            done = super().main(*args, standalone_mode=False, **rest)  # type: ignore[call-overload]
        except (click.ClickException, OSError) as error:
            if not standalone_mode:
                raise
            # --help and --version are printed before any command is invoked
            failure = _failure(error) if isinstance(error, OSError) else error
            show(failure)
            sys.exit(failure.exit_code)
        except click.Abort:
            say("error", "interrupted")
            sys.exit(INTERRUPTED)
        if standalone_mode:
            sys.exit(done if isinstance(done, int) else 0)
        return done


def _failure(error: Exception) -> Failure:
    if isinstance(error, RequestError):
        return Misuse(str(error), hint=error.hint)
    if isinstance(error, AssessError):
        return Failure(str(error), hint=error.hint)
    if isinstance(error, OSError) and error.strerror:
        return Failure(f"{error.filename or 'system'}: {error.strerror}")
    return Failure(
        f"unexpected {type(error).__name__}: {error}",
        hint="this is a bug in assess; run again with --debug and report the traceback",
    )


@click.group(
    cls=Verbs,
    epilog=EPILOG,
    params=verbosity(),
    context_settings={
        "auto_envvar_prefix": "ASSESS",
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "show_default": True,
    },
)
@click.version_option(assess.__version__, "--version", message="%(prog)s %(version)s")
def cli() -> None:
    """Measure the risk of adopting containers for each service of your own fleet."""


def main() -> None:
    """Run `assess`."""
    # millions of cells live to the end: to search them for cycles costs a tenth of the time
    gc.set_threshold(50_000, 20, 20)
    # the matrices are small: threads cost more than they save
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    cli(prog_name="assess")
