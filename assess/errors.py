"""Errors for people: what happened, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from assess.untrusted import printable

if TYPE_CHECKING:
    from pandas import DataFrame

SHOWN_PROBLEMS = 5


class AssessError(Exception):
    """Base of every error that `assess` raises on purpose.

    Parameters
    ----------
    message : str
        What happened, and where.
    hint : str, default ""
        What to do about it.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        # a message may name things of the fleet, and ends on a terminal
        super().__init__(printable(message))
        self.hint = printable(hint)
        if hint:
            # a traceback, and a notebook, show it too
            self.add_note(f"hint: {self.hint}")


class ConfigError(AssessError):
    """`assess.toml` cannot be used."""


class PolicyError(AssessError):
    """`policy.toml` cannot be used."""


class RequestError(AssessError):
    """A name or a value that was asked for does not exist, or cannot be read."""


class CollectError(AssessError):
    """A source gave nothing, and the run was asked to be strict."""


class DataError(AssessError):
    """Frames break their contract; every problem is listed, not just the first.

    Parameters
    ----------
    message : str
        What was read.
    problems : DataFrame
        Columns ``table, row, column, value, rule, hint``; one row per problem.
    """

    def __init__(self, message: str, problems: DataFrame) -> None:
        super().__init__(
            f"{message}: {_digest(problems)}", hint="`assess validate` lists them all"
        )
        self.problems = problems


def _digest(problems: DataFrame) -> str:
    lines = [_in_words(problem) for problem in problems.head(SHOWN_PROBLEMS).itertuples()]
    if len(problems) > SHOWN_PROBLEMS:
        lines.append(f"  and {len(problems) - SHOWN_PROBLEMS} more")
    # also reads well where a terminal shows it on one line
    return f"{counted(len(problems), 'problem')}:\n" + ";\n".join(lines)


def _in_words(problem: Any) -> str:
    """Return a problem in words; one of a whole table has no row, and no column perhaps."""
    row = f" row {problem.row}" if str(problem.row).isdigit() else ""
    column = f"{problem.column}=" if problem.column else ""
    hint = f" ({problem.hint})" if problem.hint else ""
    value = repr(problem.value) if problem.value or column else ""
    place = f"  {problem.table}{row} {column}{value}".rstrip()
    return f"{place}: {problem.rule}{hint}"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 row``, ``2 rows``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for the nearest known name; empty where none is near."""
    names = list(known)
    start = name.rfind(".") + 1
    # a path that all have in common makes no name nearer
    if not all(each.startswith(name[:start]) for each in names):
        start = 0
    near = difflib.get_close_matches(name[start:], [each[start:] for each in names], n=1)
    return f"did you mean {name[:start] + near[0]!r}?" if near else ""


def no_such(
    what: str, name: str, known: Iterable[str], kind: type[AssessError] = AssessError
) -> AssessError:
    """Return the error about a name that does not exist; it names the nearest one and all."""
    names = list(known)
    message = with_nearest(f"there is no {what} {name!r}", name, names)
    return kind(message, hint=f"{what}s: {', '.join(names)}")


def first_line(error: BaseException) -> str:
    """Return the first line of the message of an error, in words where Python has a code."""
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8; save it as UTF-8"
    return str(error).partition("\n")[0]


def with_nearest(message: str, name: str, known: Iterable[str]) -> str:
    """Return a message about an unknown name, and the nearest known one where one is near."""
    near = did_you_mean(name, known)
    return f"{message}, {near}" if near else message
