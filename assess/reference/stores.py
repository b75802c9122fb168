"""Data stores among images, by the words of their names."""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import cache

from assess.reference.tables import Row, cached, lookup, rows
from assess.reference.versions import lowered

NO_STORE = "none"
DISPOSABLE = ("cache", "stateful-app")  # kinds that may hold nothing of record
VAGUE = "unknown"  # the name does not tell whether it is a store
_WORDS_MAX = 4  # of the longest name of a store
_SEPARATOR = re.compile(r"[-_.]+")
_NUMBER = re.compile(r"v?\d\w*")
_VERSION_BEHIND = re.compile(r"(?<=[a-z])\d+[a-z]?$")  # mysql8, oracle19c


@cached
def stateful_kind(repository: str | None) -> str | None:
    """Return the kind of state in an image (``database``, ``queue``, ...); None for no state."""
    # The path may be that of any mirror: the last element decides, or the one before
    # where the last names only a variant. A word before the store is its owner; a word
    # behind it that is no variant makes the kind ``unknown``, or None for tools that only
    # talk to a store.
    path = lowered(repository).strip("/")
    for length in (3, 2):
        end = "/".join(path.split("/")[-length:])
        if row := _rows().get(end):
            return None if row["kind"] == NO_STORE else row["kind"]
    for element in reversed(path.split("/")):
        words = _words_of(element)
        kind = _kind_of(words)
        if kind or not _are_qualifiers(words):
            return kind
    return None


def holds_record(kind: str | None) -> bool | None:
    """Return whether a kind of image keeps data of record; None where only its owner knows."""
    if kind is None:
        return False
    return None if kind in (VAGUE, *DISPOSABLE) else True


def is_store_name(name: str | None) -> bool:
    """Return whether a service is named like a store of record; ambiguous words do not count."""
    words = _words_of((name or "").rpartition("/")[2])
    row, *_ = _last_store(words)
    is_telling = row is not None and row["match"] != "whole"
    return is_telling and holds_record(_kind_of(words)) is True


def is_tool(repository: str | None) -> bool:
    """Return whether a repository is a tool for a store: an exporter, client, proxy or backup."""
    if stateful_kind(repository):
        return False
    words = _words_of(lowered(repository).rpartition("/")[2])
    return any(_role(word) in ("task", "program") for word in words)


def _words_of(name: str) -> list[str]:
    return [word for word in _SEPARATOR.split(name.lower()) if word]


def _kind_of(words: Sequence[str]) -> str | None:
    row, start, end = _last_store(words)
    if row is None:
        return None
    before = words[:start]
    behind = words[end:]
    if row["match"] == "whole":
        is_whole = not before and _are_qualifiers(behind)
        return row["kind"] if is_whole else None
    roles = {_role(word) for word in behind}
    if "task" in roles | {_role(word) for word in before} or "program" in roles:
        return None
    is_vague = any(_role(word) == "vague" for word in before)
    return VAGUE if is_vague or not roles <= {"qualifier"} else row["kind"]


def _last_store(words: Sequence[str]) -> tuple[Row | None, int, int]:
    """Find the last words that name a store, or else generic words for one (``match`` weak)."""
    weak: tuple[Row | None, int, int] = (None, 0, 0)
    for end in range(len(words), 0, -1):
        for start in range(max(end - _WORDS_MAX, 0), end):
            row = _named(words[start:end])
            if row and row["match"] != "weak":
                return row, start, end
            # a "db" counts only where no word names a product
            if row and weak[0] is None:
                weak = row, start, end
    return weak


def _named(words: Sequence[str]) -> Row | None:
    """Return the row of the store that these words name; a version after the name is ignored."""
    name = "-".join(words)
    known = _rows()
    if row := known.get(name) or known.get(_VERSION_BEHIND.sub("", name)):
        return row
    return next((row for glob, row in _globs() if fnmatchcase(name, glob)), None)


@cache
def _globs() -> list[tuple[str, Row]]:
    # "???": at least three letters have to stand before a glob such as "*db"
    return [(f"???{name}", row) for name, row in _rows().items() if "*" in name]


def _are_qualifiers(words: Sequence[str]) -> bool:
    return all(_role(word) == "qualifier" for word in words)


def _role(word: str) -> str:
    """Return the role of a word beside the name of a store; empty if unknown."""
    if _NUMBER.fullmatch(word):
        return "qualifier"
    return lookup("image_words", "word", "role").get(word, "")


@cache
def _rows() -> dict[str, Row]:
    return {row["name"]: row for row in rows("database_images")}
