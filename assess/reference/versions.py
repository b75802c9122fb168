"""Parse version texts of engines, packages and kernels."""

import re
from functools import cache

from assess.reference.tables import cached, rows

Version = tuple[int, ...]

# The name of a program ("Docker version ", "containerd://"), an epoch and a "v" may stand before the
# numbers. What follows them (-ce, +dfsg1, ~3-0~debian) does not count; a number that runs straight on
# into letters is no version but the start of a commit id.
_VERSION = re.compile(
    r"(?:[^0-9,(]*[\s/])?(?:[0-9]+:)?[vV]?([0-9]{1,9}+(?:(?:\.[0-9]{1,9}+)++|(?![0-9A-Za-z])))"
)


def lowered(text: object) -> str:
    """Return a text in lower case without spaces around; empty for any other value."""
    return text.strip().lower() if isinstance(text, str) else ""


def parse_version(text: str | None) -> Version | None:
    """Return the numbers of a version as a sortable tuple; None without a version (``master``)."""
    found = _VERSION.match(text.strip()) if isinstance(text, str) else None
    return tuple(map(int, found[1].split("."))) if found else None


def numbers_of(cell: str) -> Version:
    """Return the numbers of a version in the facts; an empty cell sorts before all others."""
    return parse_version(cell) or (0,)


@cache
def releases() -> dict[Version, str]:
    """Return the line of every known engine release, in order."""
    known = rows("engine_releases")
    found = {numbers_of(row["version"]): row["release_line"] for row in known}
    return dict(sorted(found.items()))


@cache
def newest_releases() -> dict[str, Version]:
    """Return the newest release of every line, oldest line first."""
    # releases are in order, so the last one of a line stays
    newest = {line: release for release, line in releases().items()}
    return dict(sorted(newest.items(), key=lambda item: numbers_of(item[0])))


@cached
def engine_line(version: str | None) -> str | None:
    """Return the release line of an engine version or line: ``20.10``, ``28``."""
    # A line newer or older than the facts is named like its neighbours.
    numbers = parse_version(version)
    if version is None or numbers is None:
        return None
    lines = {numbers_of(name): name for name in newest_releases()}
    # lines are named by two numbers up to 26.1, by one from 27 on
    for length in (2, 1):
        if numbers[:length] in lines:
            return lines[numbers[:length]]
    matching = [line for line in lines if line[: len(numbers)] == numbers]
    if matching:
        return lines[max(matching)]
    newest = max(lines)
    parts = _VERSION.match(version.strip())[1].split(".")  # type: ignore[index]  # as text: 17.03
    return ".".join(parts[: len(newest) if numbers > newest else 2])


@cached
def release_of(version: str | None) -> Version | None:
    """Return the release that a version means: ``29`` is the newest release of that line."""
    numbers = parse_version(version)
    # three numbers name a release, fewer a line
    if numbers is None or len(numbers) > 2:
        return numbers
    alike = (release for release in releases() if release[: len(numbers)] == numbers)
    return max(alike, default=numbers)


@cached
def is_known(version: str | None) -> bool:
    """Return whether the facts know the line of a version, up to its release."""
    release = release_of(version)
    newest = newest_releases().get(engine_line(version) or "")
    return release is not None and newest is not None and release <= newest


@cached
def versions_behind(version: str | None, target: str | None) -> int | None:
    """Count the lines from a version to its target, edge lines left out; None where unknown."""
    if not (is_known(version) and is_known(target)):
        return None
    stable = {
        row["release_line"] for row in rows("engine_releases") if row["channel"] != "edge"
    }
    order = list(newest_releases())
    here, there = (order.index(str(engine_line(v))) for v in (version, target))
    return sum(name in stable for name in order[here + 1 : there + 1])
