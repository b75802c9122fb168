"""Classify errors of systems: their status in coverage, and what to do about them."""

import csv
import json
import re
from typing import Any

from assess.errors import AssessError
from assess.sources.redact import scrub

HINTS = {
    "denied": "grant the read permissions that `assess sources` lists",
    "timeout": "raise the deadline, or hand over dumps of this source",
    "unreachable": "check the address, and that something listens there",
    "unsupported": "hand over dumps of this source",
    "throttled": "run again later, or less often",
    "parse_error": "dump it again; `assess sources` names the commands",
}


STATUS_OF_CODE = {
    401: "denied",
    403: "denied",
    404: "unsupported",
    429: "throttled",
    501: "unsupported",
}


# Words of errors and of their messages, by the status that they stand for.
_WORDS = {
    "timeout": "timeout|timed out|deadline",
    "denied": r"permission|denied|forbidden|unauthorized|\b40[13]\b|authenticationexception"
    "|certificate required|bad certificate|certificate_verify_failed",
    "throttled": r"throttl|too many requests|\b429\b",
    "unsupported": "too new|too old|not supported|invalidversion",
    "parse_error": "jsondecodeerror|unicodedecodeerror",
}


# A failure of these kinds is a bug of ours, which the run reports; it is no answer.
BUGS = (AssertionError, NameError, NotImplementedError)


# Messages of these are written for people, and name no secret once they are scrubbed.
FOR_PEOPLE = (ValueError, csv.Error, AssessError)


_OF_CODE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError)


_UNREADABLE = (UnicodeError, json.JSONDecodeError, csv.Error, AssessError)


def chain_of(error: BaseException) -> list[BaseException]:
    """List an error and its causes."""
    chain = [error]
    while (link := chain[-1].__cause__ or chain[-1].__context__) and link not in chain:
        chain.append(link)
    return chain


def words_of(error: BaseException) -> str:
    """Join the classes and messages of an error and its causes, in lower case."""
    return " ".join(f"{type(e).__name__} {e}" for e in chain_of(error)).lower()


def status_of(error: BaseException) -> str:
    """Classify an error as a coverage status, by its HTTP code, else by its causes and words."""
    codes = [getattr(link, "status_code", None) for link in chain_of(error)]
    code = next(filter(None, codes), None)
    # the code is exact, where words of a message are a guess
    if isinstance(code, int):
        return STATUS_OF_CODE.get(code, "unreachable")
    if isinstance(error, _UNREADABLE):  # "position 403" in its message is no code
        return "parse_error"
    text = words_of(error)
    for status, words in _WORDS.items():
        if re.search(words, text):
            return status
    system = [link for link in chain_of(error) if isinstance(link, OSError)]
    # a missing file is a wrong path, not an unreachable server
    if any(not isinstance(link, FileNotFoundError) for link in system):
        return "unreachable"
    return "parse_error" if is_misreading(error) else "unreachable"


def is_misreading(error: BaseException) -> bool:
    """Return whether an error arose in the code that reads, not on the way to a system."""
    # libraries derive errors of connections from the two plain classes
    return isinstance(error, _OF_CODE) or type(error) in (Exception, RuntimeError)


def failure(error: Exception) -> dict[str, Any]:
    """Return the columns of a coverage row that explain an error, without secrets.

    A note of the error (`BaseException.add_note`) is its hint.
    """
    status = status_of(error)
    hint = HINTS.get(status)
    notes = getattr(error, "__notes__", ())
    if notes and not isinstance(error, AssessError):  # whose note is for its traceback
        hint = notes[0]
    elif "certificate_verify_failed" in words_of(error):
        hint = "check ca, and the address and dates of the server's certificate"
    elif isinstance(error, FileNotFoundError):
        hint = "there is no such file"
    elif isinstance(error, OSError) and error.filename:
        hint = error.strerror
    elif isinstance(error, FOR_PEOPLE):
        hint = scrub(str(error).partition("\n")[0])
    return {"status": status, "error_class": type(error).__name__, "hint": hint}
