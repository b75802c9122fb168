"""Classify errors of systems: their status in coverage, and what to do about them."""

import csv
import json
import re
from pathlib import Path
from traceback import extract_tb
from typing import Any

from assess.errors import AssessError, first_line
from assess.sources.csv_records import rows
from assess.sources.redact import scrub
from assess.sources.values import Texts

# Statuses by the codes of HTTP and the words of errors that stand for them; of a status
# that several rows have, the last one has the general hint.
_FAILURES = rows("failures")
MORE_PAGES = "it says that more pages follow: add them, or dump it without a limit"
HINTS = {row["status"]: row["hint"] for row in _FAILURES}
_ANSWERS = {int(code): row for row in _FAILURES for code in row["codes"].split()}

# A failure of these kinds is a bug of ours, which the run reports; it is no answer.
BUGS = (AssertionError, NameError, NotImplementedError)

# Messages of these are written for people, and name no secret once they are scrubbed.
FOR_PEOPLE = (ValueError, csv.Error, AssessError)

# Raised by what is read and by code that stumbles over it: their words are no system's answer.
_ENDED = (MemoryError, RecursionError, SystemExit)
_RAISED = (LookupError, TypeError, AttributeError, ArithmeticError, *_ENDED, *BUGS)
_UNREADABLE = (*_RAISED, UnicodeError, json.JSONDecodeError, csv.Error, AssessError)


def chain_of(error: BaseException) -> list[BaseException]:
    """List an error and its causes."""
    chain = [error]
    while (link := chain[-1].__cause__ or chain[-1].__context__) and link not in chain:
        chain.append(link)
    return chain


def words_of(error: BaseException) -> str:
    """Join the classes and messages of an error and its causes, in lower case."""
    return " ".join(f"{type(e).__name__} {e}" for e in chain_of(error)).lower()


def _answer_of(error: BaseException) -> Texts:
    """Return what the HTTP code of an error stands for; nothing without a code."""
    codes = [getattr(link, "status_code", None) for link in chain_of(error)]
    code = next(filter(None, codes), None)
    return _ANSWERS.get(code, _FAILURES[-1]) if isinstance(code, int) else {}


def status_of(error: BaseException) -> str:
    """Classify an error as a coverage status, by its HTTP code, else by its causes and words."""
    if isinstance(error, _UNREADABLE):  # "position 403" in its message is no code
        return "parse_error"
    # the code is exact, where words of a message are a guess
    if answer := _answer_of(error):
        return answer["status"]
    text = words_of(error)
    for row in _FAILURES:
        if row["words"] and re.search(row["words"], text):
            return row["status"]
    system = [link for link in chain_of(error) if isinstance(link, OSError)]
    # a missing file is a wrong path, not an unreachable server
    if any(not isinstance(link, FileNotFoundError) for link in system):
        return "unreachable"
    # libraries derive errors of connections from the two plain classes
    is_plain = isinstance(error, ValueError) or type(error) in (Exception, RuntimeError)
    return "parse_error" if is_plain else "unreachable"


def hint_of(error: BaseException, status: str) -> str | None:
    """Return what to do about an error; where it arose, if the code of a reader is to blame."""
    if status != "parse_error" or isinstance(error, (*FOR_PEOPLE, OSError)):
        return HINTS.get(status)
    places = [f"{f.filename}:{f.lineno}" for f in extract_tb(error.__traceback__)]
    place = "/".join(Path(*places[-1:]).parts[-2:])
    kind = type(error).__name__
    return f"{kind} in the code of this source, at {place}: report it, and leave out what it fails on"


def failure(error: Exception) -> dict[str, Any]:
    """Return the columns of coverage that explain an error, without secrets; its note is the hint."""
    status = status_of(error)
    hint = _answer_of(error).get("hint") or hint_of(error, status)
    notes = getattr(error, "__notes__", ())
    if notes and not isinstance(error, AssessError):  # whose note is for its traceback
        hint = notes[0]
    elif "certificate_verify_failed" in words_of(error):
        hint = "check ca, and the address and dates of the server's certificate"
    elif isinstance(error, FileNotFoundError):
        hint = "there is no such file"
    elif isinstance(error, OSError) and error.filename:
        hint = error.strerror
    # libraries write addresses into theirs, and a password with a slash looks like a port
    elif isinstance(error, FOR_PEOPLE) and not isinstance(error, OSError):
        hint = scrub(first_line(error))
    return {"status": status, "error_class": type(error).__name__, "hint": hint}
