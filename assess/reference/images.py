"""Images by name: which are data stores, and what changes between two versions, products and forks."""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import cache
from typing import Literal

from assess.reference.support import line_of
from assess.reference.tables import Row, cached, lookup, rows
from assess.reference.versions import Version, lowered, numbers_of, parse_version

NO_STORE = "none"
DISPOSABLE = ("cache", "stateful-app")  # kinds that may hold nothing of record
VAGUE = "unknown"  # the name does not tell whether it is a store
_WORDS_MAX = 4  # of the longest name of a store
_SEPARATOR = re.compile(r"[-_.]+")
_NUMBER = re.compile(r"v?\d\w*")
_VERSION_BEHIND = re.compile(r"(?<=[a-z])\d+[a-z]?$")  # mysql8, oracle19c
Change = Literal[
    "same", "rebuild", "patch", "minor", "major", "rollback", "swap", "unknown"
]

# Numbers at the start, after what people put before them (v, stable-, ubi8-); a word behind is a
# flavour. Before them another word may be that of another product, or of builds (edge-22.11.1).
_TAG = re.compile(
    r"(?:v|[a-z]{1,16}-v(?=\d{1,3}\.\d)|version-|release-|rel-|r|(?:stable|open|nginx|[a-z]{1,16}\d[\d.]{0,8})-(?=\d{1,3}\.\d))?(\d{1,9}(?:\.\d{1,9})*)(?=$|[-_.+a-zA-Z])(.*)"
)
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_DAY = re.compile(r"(?:19|20)\d{2}[-.]?(?:0[1-9]|1[0-2])[-.]?(?:0[1-9]|[12]\d|3[01])")
_DAY_INSIDE = re.compile(rf"(?<!\d){_DAY.pattern}")
_TAG_SEPARATOR = re.compile(r"[-_+]+")
# no product is there with its major versions, but builds are counted so
_BUILDS_FROM = 100


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


@cached
def tag_version(tag: str | None) -> Version | None:
    """Return the version of a tag, 3.96 for ``3.96_large_disk``; None for names, commits and days."""
    text = lowered(tag)
    is_commit = _COMMIT.fullmatch(text) and not text.isdigit()
    is_day = _DAY.match(text) and text[4] != "."  # 2025.11.10 counts versions by the year
    found = None if is_commit or is_day else _TAG.fullmatch(text)
    return tuple(map(int, found[1].split("."))) if found else None


@cached
def moves(tag: str | None, repository: str | None = None) -> bool | None:
    """Return whether a tag can move to another image; None if its words are unknown."""
    # A tag moves if it is absent, names only a channel or a flavour, or no more than a
    # major version, as its product counts versions (PostgreSQL 9.6 is a major one).
    text = tag.strip().lower() if isinstance(tag, str) else "latest"
    words = [word for word in _TAG_SEPARATOR.split(text) if word]
    meanings = {_meaning(word) for word in words}
    # a channel beats a number beside it: "1.2-nightly" moves
    if "moves" in meanings:
        return True
    if _DAY_INSIDE.search(text) or any(map(_is_commit, words)):
        return False
    versions = [version for word in words if (version := tag_version(word))]
    if versions:
        return not any(_is_whole(version, repository) for version in versions)
    return True if meanings - {""} and "" not in meanings else None


@cached
def is_fixed(tag: str | None) -> bool:
    """Return whether a tag names a version, commit or day, and so changes with the image."""
    text = lowered(tag)
    named = tag_version(tag) or _COMMIT.fullmatch(text) or _DAY.match(text)
    return bool(named)


def _is_whole(version: Version, repository: str | None) -> bool:
    """Return whether a version is more precise than a major version; a large number is a build."""
    is_build = len(version) == 1 and version[0] >= _BUILDS_FROM
    return is_build or len(version) > major_parts(product_of(repository), version)


def _is_commit(word: str) -> bool:
    # "deadbeef" is a word and "20240131" a number until the other kind of sign is in it
    return bool(_COMMIT.fullmatch(word)) and not word.isdigit() and not word.isalpha()


def _meaning(word: str) -> str:
    """Return the meaning of a word of a tag; empty if unknown."""
    known = lookup("tag_words", "word", "meaning")
    return known.get(word) or known.get(word.rstrip(".0123456789"), "")


@cached
def product_of(repository: str | None) -> str:
    """Return the product of a repository: the last part of its path, under its usual name."""
    text = lowered(repository).rpartition("/")[2]
    return lookup("usual_names", "name", "product").get(text, text)


@cached
def major_parts(product: str, version: Version) -> int:
    """Return how many leading numbers of a version make up its major version."""
    for row in rows("image_versions"):
        if row["product"] == product and (
            not row["below"] or version < numbers_of(row["below"])
        ):
            return int(row["parts"])
    return 2 if version[0] == 0 else 1  # semver promises nothing below 1.0


@cached
def image_change(
    before: tuple[str | None, str | None, str | None],
    after: tuple[str | None, str | None, str | None],
) -> Change:
    """Classify the change between two images, each its repository, tag and digest."""
    # Another product is a ``swap``, whatever the versions. A lower version is a
    # ``rollback``. The same tag with another digest is a ``rebuild``. If a tag is no
    # version (``latest``, a commit) and the images differ or may differ, the change is
    # ``unknown``. The repository has no registry; None is unknown.
    product = product_of(before[0])
    successor = product_of(after[0])
    if product != successor:
        return "swap" if product and successor else "unknown"
    # the digest decides before the tag: two tags may name one image
    if before[2] and before[2] == after[2]:
        return "same"
    was = tag_version(before[1])
    now = tag_version(after[1])
    if before[1] == after[1] and before[1] is not None:
        if before[2] and after[2]:
            return "rebuild"
        return "same" if is_fixed(before[1]) else "unknown"  # ``latest`` may have moved
    if was is None or now is None:
        return "unknown"
    return _compared(was, now, major_parts(product, was), major_parts(product, now))


@cached
def engine_change(
    before: tuple[str | None, str | None], after: tuple[str | None, str | None]
) -> Change:
    """Classify the change between two engines, each its product and version (None if unknown)."""
    # Another release line is ``major``; another package of the same version is a
    # ``rebuild``.
    if before == after:
        return "same"
    if before[0] != after[0]:
        return "swap"
    was = parse_version(before[1])
    now = parse_version(after[1])
    if was is None or now is None:
        return "unknown"
    change = _compared(was, now, 1, 1)
    is_other_line = line_of(*before) != line_of(*after)
    return "major" if is_other_line and change in ("minor", "patch") else change


def _compared(was: Version, now: Version, was_parts: int, now_parts: int) -> Change:
    length = max(len(was), len(now))
    padded = was + (0,) * (length - len(was))
    other = now + (0,) * (length - len(now))
    if padded == other:
        return "rebuild"  # another flavour of the same version
    if other < padded:
        return "rollback"
    # the major version of PostgreSQL is two numbers up to 9.6, and one from 10 on
    if was[:was_parts] != now[:now_parts]:
        return "major"
    return "minor" if padded[:2] != other[:2] else "patch"
