"""Base systems of images, by their names, and the package lists that images add."""

from __future__ import annotations

import re
from functools import lru_cache

from assess.reference.clients import is_older, program_rows
from assess.reference.images import tag_version
from assess.reference.support import distro_of, line_of

NAMED = ("debian", "ubuntu")  # whose releases and suites have names
_NUMBERED = re.compile(r"([a-z]++)(\d[\d.]*+)?")  # ubuntu20.04, centos7, alpine
System = tuple[str | None, str | None]
UNKNOWN: System = (None, None)


@lru_cache(maxsize=4096)
def base_system(image: str | None) -> System:
    """Return distribution and line of an image, from its name or else from its tag and path."""
    path, tag = _split(image or "")
    name = path.split("/")[-1]
    words = tag.lower().removeprefix(name).split("-")
    if words[0].startswith("stream"):  # as CentOS Stream tags its images
        name = f"{name} stream"
        words[0] = words[0].removeprefix("stream")
    distro = distro_of(name)
    if distro:
        return distro, line_of(distro, " ".join(words))
    told = [system_in(word) for word in _joined(words)]
    parts = re.split(r"[-_/]", path.lower())
    told += [_numbered(part) for part in parts if part[-1:].isdigit()]
    return max(
        # a word with a line ("bookworm") tells more than one without ("alpine")
        filter(None, told),
        key=lambda system: system[1] is not None,
        default=UNKNOWN,
    )


def _split(image: str) -> tuple[str, str]:
    """Split an image into path and tag; ``debian 12`` counts too, and a port is not a tag."""
    text = image.split("@", maxsplit=1)[0].replace(" ", ":")
    place, slash, last = text.rpartition("/")
    name, _, tag = last.partition(":")
    return place + slash + name, tag


def _joined(words: list[str]) -> list[str]:
    """Join each number to the word before it: ubuntu-20.04 becomes ubuntu20.04."""
    pairs = zip(words, [*words[1:], ""], strict=True)
    return [word + after if after[:1].isdigit() else word for word, after in pairs]


def _numbered(word: str) -> System | None:
    found = _NUMBERED.fullmatch(word)
    distro = distro_of(found[1]) if found else None
    return (distro, line_of(distro, found[2])) if found and distro else None


def system_in(word: str) -> System | None:
    """Return the system that a word names: buster, alpine3.20, alpine."""
    lines = ((distro, line_of(distro, word)) for distro in NAMED if word.isalpha())
    named = next((system for system in lines if system[1]), None)
    return named or _numbered(word)


@lru_cache(maxsize=4096)
def base_lists(repository: str | None, tag: str | None) -> tuple[str, ...]:
    """Return package sources that an image adds to those of its system: ``host suite``."""
    words = (tag or "").lower().split("-")
    version = tag_version(tag)
    code = next((word for word in words if system_in(word)), "")
    return tuple(
        f"{row['host']} {row['suite'].format(code=code)}"
        for row in program_rows("base_lists", repository)
        if row["word"] in ("", *words) and is_older(version, row["below"])
    )
