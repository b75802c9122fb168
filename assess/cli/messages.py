"""What goes to stderr: notes, warnings, errors with hints, logs. stdout is for data only."""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

_LEVEL = "assess.level"
QUIET, NORMAL, VERBOSE, DEBUG = -1, 0, 1, 2
_COLOURS = {"error": "red", "warning": "yellow", "hint": "cyan"}


class Failure(click.ClickException):
    """A message for people, with what to do about it.

    Parameters
    ----------
    message : str
        What happened.
    hint : str, default ""
        What to do about it.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def show(error: click.ClickException) -> None:
    """Write an error and its hint to stderr; those of click are worded like all others.

    Parameters
    ----------
    error : ClickException
        The error.
    """
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return
    hint = error.hint if isinstance(error, Failure) else ""
    if isinstance(error, click.UsageError) and error.ctx is not None:
        hint = f"see `{error.ctx.command_path} --help`"
    message = error.format_message().rstrip(".")
    say("error", message[:1].lower() + message[1:])
    if hint:
        say("hint", hint)


def say(word: str, text: str) -> None:
    """Write a line to stderr, after a word that says what it is.

    Parameters
    ----------
    word : str
        Such as ``error``; coloured on a terminal, unless ``NO_COLOR`` is set.
    text : str
        The line.
    """
    label = click.style(f"{word}:", fg=_COLOURS.get(word), bold=True)
    click.echo(
        f"{label} {text}", err=True, color=False if os.environ.get("NO_COLOR") else None
    )


def level() -> int:
    """Give how much the user wants to read.

    Returns
    -------
    int
        QUIET, NORMAL, VERBOSE or DEBUG.
    """
    context = click.get_current_context(silent=True)
    return int(context.meta.get(_LEVEL, NORMAL)) if context else NORMAL


def note(text: str) -> None:
    """Tell the user something that is not data, unless asked to be quiet.

    Parameters
    ----------
    text : str
        The line.
    """
    if level() > QUIET:
        click.echo(text, err=True)


def progress(*, patience: float = 0.0) -> Callable[[str, int, int], None] | None:
    """Draw how far long work is, on a terminal.

    Parameters
    ----------
    patience : float, default 0.0
        What is done sooner is not drawn. [s]

    Returns
    -------
    callable or None
        Takes what it is, how much of it is done, and of how much; None where nobody looks.
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
        line = f"\r[{filled:<20}] {done}/{total} {what}"
        click.echo(f"{line:<78}" + ("\n" if done == total else ""), nl=False, err=True)

    return draw


def verbosity() -> list[click.Option]:
    """Give the options that every command has.

    Returns
    -------
    list of Option
        ``-q``, ``-v`` and ``--debug``.
    """
    flags = [
        (["-q", "--quiet"], QUIET, "Errors only."),
        (["-v", "--verbose"], VERBOSE, "Say what is being done."),
        (["--debug"], DEBUG, "Say everything, and show the traceback of an error."),
    ]
    return [
        click.Option(
            names,
            is_flag=True,
            expose_value=False,
            is_eager=True,
            help=text,
            callback=_remember(wanted),
        )
        for names, wanted, text in flags
    ]


def _remember(wanted: int) -> Any:
    def callback(context: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            context.meta[_LEVEL] = wanted
            _set_logging(wanted)

    return callback


@contextmanager
def listening() -> Iterator[None]:
    """While it lasts, word warnings and logs like the other messages on stderr.

    Yields
    ------
    None
        Nothing.
    """
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
        return f"{record.levelname.lower()}: {record.getMessage()}"


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, *rest: Any, **_: Any
) -> None:
    if level() > QUIET:
        say("warning", str(message))
    if level() >= DEBUG:
        click.echo(f"  {category.__name__}, {Path(filename).name}:{rest[0]}", err=True)
