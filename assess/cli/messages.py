"""Messages on stderr: notes, warnings, errors with hints, logs. stdout is for data only."""

import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from shutil import get_terminal_size
from typing import Any

import click

from assess.untrusted import clean

_LEVEL = "assess.level"
QUIET = -1
NORMAL = 0
VERBOSE = 1
DEBUG = 2
_COLOURS = {"error": "red", "warning": "yellow", "hint": "cyan"}


class Failure(click.ClickException):
    """An error message for people, with a hint."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Misuse(Failure):
    """An error of what the command was given: a target, a day or a frame that is not there."""

    exit_code = 2


def show(error: click.ClickException) -> None:
    """Write an error and its hint to stderr; errors of click look like all others."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return
    hint = error.hint if isinstance(error, Failure) else ""
    if isinstance(error, click.UsageError) and error.ctx is not None:
        hint = f"see `{error.ctx.command_path} --help`"
        if isinstance(getattr(error, "param", None), click.Argument):
            # the missing argument may come before the given ones
            hint = f"{hint}; {error.ctx.get_usage()}"
    message = error.format_message().rstrip(".")
    if not message[1:2].isupper():  # such as in CSV
        message = message[:1].lower() + message[1:]
    say("error", message)
    if hint:
        say("hint", hint)


def say(word: str, text: str) -> None:
    """Write a line to stderr after a label such as ``error``; no colour if ``NO_COLOR`` is set."""
    label = click.style(f"{word}:", fg=_COLOURS.get(word), bold=True)
    click.echo(
        f"{label} {clean(text)}",
        err=True,
        color=False if os.environ.get("NO_COLOR") else None,
    )


def level() -> int:
    """Return the verbosity level."""
    context = click.get_current_context(silent=True)
    return int(context.meta.get(_LEVEL, NORMAL)) if context else NORMAL


def note(text: str) -> None:
    """Write a note to stderr unless ``--quiet`` is set."""
    if level() > QUIET:
        click.echo(clean(text), err=True)


def next_step(command: str) -> None:
    """Name the next command for a new user."""
    note(f"next: {command}")


def progress(*, patience: float = 0.0) -> Callable[[str, int, int], None] | None:
    """Return a function that draws a progress bar; None if stderr is not a terminal.

    Work that is done within ``patience`` [s] draws nothing.
    """
    if level() <= QUIET or not sys.stderr.isatty():
        return None
    since: dict[str, float] = {}

    def draw(what: str, done: int, total: int) -> None:
        started = since.setdefault(what, time.monotonic())
        if done == total:
            del since[what]
        if time.monotonic() - started < patience:
            return
        filled = "#" * round(20 * done / max(total, 1))
        # a line that is as long as the terminal would begin another one
        width = min(get_terminal_size().columns, 80) - 2
        line = f"[{filled:<20}] {done}/{total} {clean(what)}"[:width].ljust(width)
        click.echo(f"\r{line}" + ("\n" if done == total else ""), nl=False, err=True)

    return draw


def verbosity() -> list[click.Option]:
    """Return the options ``-q``, ``-v`` and ``--debug``."""
    flags = [
        (["-q", "--quiet"], QUIET, "Errors only."),
        (["-v", "--verbose"], VERBOSE, "Show informational messages."),
        (["--debug"], DEBUG, "Show debug messages, and tracebacks of errors."),
    ]
    return [
        click.Option(
            names,
            is_flag=True,
            expose_value=False,
            is_eager=True,
            help=text,
            callback=partial(_remember, wanted),
        )
        for names, wanted, text in flags
    ]


def _remember(wanted: int, context: click.Context, _: click.Parameter, on: bool) -> None:
    if on:
        context.meta[_LEVEL] = wanted
        _set_logging(wanted)


@contextmanager
def listening() -> Iterator[None]:
    """Write warnings and logs like all other messages on stderr, while the context lasts."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter())
    logger = logging.getLogger("assess")
    logger.addHandler(handler)
    _set_logging(level())
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            yield
    finally:
        logger.removeHandler(handler)


def _set_logging(wanted: int) -> None:
    levels = {QUIET: logging.ERROR, VERBOSE: logging.INFO, DEBUG: logging.DEBUG}
    logging.getLogger("assess").setLevel(levels.get(wanted, logging.WARNING))


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"{record.levelname.lower()}: {clean(record.getMessage())}"


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, *rest: Any, **_: Any
) -> None:
    if level() > QUIET:
        say("warning", str(message))
    if level() >= DEBUG:
        click.echo(f"  {category.__name__}, {Path(filename).name}:{rest[0]}", err=True)
