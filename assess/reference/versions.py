"""Version texts, as engines, packages and kernels write them."""

from __future__ import annotations

import re
from functools import cache, lru_cache

from assess.reference.tables import table

Version = tuple[int, ...]

# An epoch and a "v" may stand before the numbers. What follows them (-ce, +dfsg1, ~3-0~debian) does
# not count; a number that runs straight on into letters is no version but the start of a commit id.
_VERSION = re.compile(r"(?:[0-9]+:)?v?([0-9]{1,9}+(?:(?:\.[0-9]{1,9}+)++|(?![0-9A-Za-z])))")


def parse_version(text: str | None) -> Version | None:
    """Read the numbers of a version.

    Parameters
    ----------
    text : str or None
        Such as ``20.10.24+dfsg1``, ``5:20.10.24~3-0~debian``, ``v26.1.5`` or ``17.06.2-ce``.

    Returns
    -------
    tuple of int, or None
        Numbers that compare in order of release; None where there is no version (``master``, NA).
    """
    if not isinstance(text, str):
        return None
    found = _VERSION.match(text.strip())
    return tuple(int(part) for part in found[1].split(".")) if found else None


@cache
def releases() -> dict[Version, str]:
    """Give every release of the engine that the facts know.

    Returns
    -------
    dict of tuple to str
        Line of the release by its version, in order.
    """
    known = table("engine_releases")
    pairs = zip(known["version"], known["release_line"], strict=True)
    found = {parse_version(version): str(line) for version, line in pairs}
    return {version: found[version] for version in sorted(v for v in found if v)}


@cache
def lines() -> dict[Version, str]:
    """Give every release line of the engine that the facts know.

    Returns
    -------
    dict of tuple to str
        Name of the line by its numbers, oldest first.
    """
    found = {parse_version(name): name for name in releases().values()}
    return {version: found[version] for version in sorted(v for v in found if v)}


@lru_cache(maxsize=4096)
def engine_line(version: str | None) -> str | None:
    """Give the release line of an engine.

    Parameters
    ----------
    version : str or None
        Version of the engine, or already its line.

    Returns
    -------
    str or None
        Such as ``1.12``, ``20.10``, ``26.1`` or ``28``; a line that the facts do not know is named
        in the manner of its time; None where there is no version.
    """
    numbers = parse_version(version)
    if version is None or numbers is None:
        return None
    for length in (2, 1):
        if numbers[:length] in lines():
            return lines()[numbers[:length]]
    held = [line for line in lines() if line[: len(numbers)] == numbers]
    if held:
        return lines()[max(held)]
    newest = max(lines())
    parts = _VERSION.match(version.strip())[1].split(".")  # type: ignore[index]  # as text: 17.03
    return ".".join(parts[: len(newest) if numbers > newest else 2])


@lru_cache(maxsize=4096)
def release_of(version: str | None) -> Version | None:
    """Give the release that a version or the name of a line stands for.

    Parameters
    ----------
    version : str or None
        A version, or a line: ``29`` is the newest release of that line.

    Returns
    -------
    tuple of int, or None
        Numbers of the release; None where there is no version.
    """
    numbers = parse_version(version)
    if numbers is None or len(numbers) > 2:
        return numbers
    held = [r for r in releases() if r[: len(numbers)] == numbers]
    return max(held, default=numbers)


@lru_cache(maxsize=4096)
def is_known(version: str | None) -> bool:
    """Say whether the facts reach as far as a version.

    Parameters
    ----------
    version : str or None
        A version of the engine, or a line.

    Returns
    -------
    bool
        False for a line that the facts do not have, and for a release newer than all of its line.
    """
    numbers, line = release_of(version), engine_line(version)
    if numbers is None or line not in lines().values():
        return False
    return numbers <= max(r for r, held in releases().items() if held == line)


@lru_cache(maxsize=4096)
def versions_behind(version: str | None, target: str | None) -> int | None:
    """Count the release lines from a version to its target.

    Parameters
    ----------
    version : str or None
        Version of the engine, or its line.
    target : str or None
        Version to go to, or its line.

    Returns
    -------
    int or None
        Lines between them, edge lines left out [count]; 0 where the version is at or past the
        target; None where the facts do not know either.
    """
    if not (is_known(version) and is_known(target)):
        return None
    known = table("engine_releases")
    stable = set(known.loc[known["channel"] != "edge", "release_line"])
    order = list(lines().values())
    here, there = (order.index(str(engine_line(v))) for v in (version, target))
    return sum(name in stable for name in order[here + 1 : there + 1])
