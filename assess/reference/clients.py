"""Programs that call an engine or a cluster, and the API version that each release requests."""

from collections import defaultdict
from functools import cache, lru_cache

from assess.reference.images import tag_version
from assess.reference.tables import rows
from assess.reference.versions import Version, numbers_of, parse_version

NEGOTIATES = 999.0  # of a client that takes whatever the engine offers
Row = dict[str, str]


@lru_cache(maxsize=4096)
def engine_api(repository: str | None, tag: str | None) -> float | None:
    """Return the minor version of the engine's API that a program requests; None if unknown."""
    # Where a tag may mean several versions, they have to agree.
    version = tag_version(tag)
    known = program_rows("engine_clients", repository)
    found = {row["api"] for row in known if _may_be(version, row)}
    api = found.pop() if len(found) == 1 else "unknown"
    if api == "negotiates":
        return NEGOTIATES
    return None if api == "unknown" else float(api.partition(".")[2])


def gone_api(
    repository: str | None, tag: str | None, running: str | None, target: str
) -> tuple[bool | None, str, str]:
    """Return whether a client requests an API that the target lacks, the API, and since when."""
    # The first is None where the tag may also mean a version that does not request it.
    here = numbers_of(running or "")[:2]
    there = numbers_of(target)[:2]
    version = tag_version(tag)
    for row in program_rows("cluster_clients", repository):
        # what was gone before this upgrade cannot break in it
        is_ahead = here < numbers_of(row["gone"]) <= there
        if is_ahead and _may_be(version, row):
            is_sure = is_older(version, row["below"]) or None
            return is_sure, row["api"], row["gone"]
    return False, "", ""


def is_engine_client(repository: str | None) -> bool:
    """Return whether a program is known to talk to the engine."""
    return bool(program_rows("engine_clients", repository))


def program_rows(table: str, repository: str | None) -> list[Row]:
    """Return the rows of a table for a program; rows with its namespace take precedence."""
    parts = repository.split("/") if repository else [""]
    known = _programs(table)
    return known.get("/".join(parts[-2:])) or known.get(parts[-1], [])


@cache
def _programs(table: str) -> dict[str, list[Row]]:
    programs: dict[str, list[Row]] = defaultdict(list)
    for row in rows(table):
        programs[row["program"]].append(row)
    return programs


def _may_be(version: Version | None, row: Row) -> bool:
    """Return whether a tag may name a release in the range of a row; tag 3.6 names every 3.6.x."""
    if version is None:
        return True
    low = numbers_of(row["from"])
    high = parse_version(row["below"])
    starts_before_end = high is None or _padded(version) < _padded(high)
    return starts_before_end and _padded(low) < _padded(_next(version))


def is_older(version: Version | None, end: str) -> bool:
    """Return whether all versions that a tag may name are older than ``end``; empty: no end."""
    high = parse_version(end)
    if high is None:
        return True
    return version is not None and _padded(_next(version)) <= _padded(high)


def _next(version: Version) -> Version:
    # 3.6 -> 3.7: the end of all versions that the tag may name
    return (*version[:-1], version[-1] + 1)


def _padded(version: Version) -> Version:
    # tuples of different lengths compare wrongly: (3, 6) < (3, 6, 0)
    return (*version, 0, 0, 0, 0)[:4]
