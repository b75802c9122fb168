"""What an image is built on: the system that its name tells, and the package lists that it brings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from assess.reference.clients import is_older, program_rows
from assess.reference.images import tag_version
from assess.reference.support import distro_of, line_of

NAMED = ("debian", "ubuntu")  # whose releases and suites have names
_NUMBERED = re.compile(r"([a-z]++)(\d[\d.]*+)")  # ubuntu20.04, centos7, alpine3.20
System = tuple[str, str]


@lru_cache(maxsize=4096)
def base_system(image: str | None) -> System | None:
    """Return distribution and line of an image: of its name, else of a word beside it."""
    if image is None:
        return None
    path, tag = _split(image)
    name = path.split("/")[-1]
    words = tag.lower().removeprefix(name).split("-")
    if words[0].startswith("stream"):  # as CentOS Stream tags its images
        name = f"{name} stream"
        words[0] = words[0].removeprefix("stream")
    distro = distro_of(name)
    if distro is None:
        of_path = (_numbered(word) for word in re.split(r"[-_/]", path.lower()))
        told = [*_of_tag(words), *filter(None, of_path)]
        return told[0] if told else None
    line = line_of(distro, " ".join(words))
    return (distro, line) if line else None


def _split(image: str) -> tuple[str, str]:
    """Split an image into path and tag; ``debian 12`` is one too, a port is no tag."""
    text = image.split("@", maxsplit=1)[0].replace(" ", ":")
    place, slash, last = text.rpartition("/")
    name, _, tag = last.partition(":")
    return place + slash + name, tag


def _of_tag(words: list[str]) -> Iterator[System]:
    """List the systems that the words of a tag tell: buster, alpine3.20, ubuntu-20.04."""
    for word, after in zip(words, [*words[1:], ""], strict=True):
        whole = f"{word}{after}" if after[:1].isdigit() else word
        system = _numbered(word) or _numbered(whole) or named_system(word)
        if system:
            yield system


def _numbered(word: str) -> System | None:
    found = _NUMBERED.fullmatch(word)
    distro = distro_of(found[1]) if found else None
    line = line_of(distro, found[2]) if found and distro else None
    return (distro, line) if distro and line else None


def named_system(word: str) -> System | None:
    """Return the system whose release has a name, such as buster."""
    lines = ((distro, line_of(distro, word)) for distro in NAMED if word.isalpha())
    return next(((distro, line) for distro, line in lines if line), None)


@lru_cache(maxsize=4096)
def base_lists(repository: str | None, tag: str | None) -> tuple[str, ...]:
    """Return the package sources that an image brings beside those of its system: host and suite."""
    words = (tag or "").lower().split("-")
    version = tag_version(tag)
    code = next((word for word in words if named_system(word)), "")
    return tuple(
        f"{row['host']} {row['suite'].format(code=code)}"
        for row in program_rows("base_lists", repository)
        if row["word"] in ("", *words) and is_older(version, row["below"])
    )
