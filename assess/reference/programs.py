"""Programs in images, by their names: base systems, package lists, APIs that clients request."""

import re
from collections import defaultdict
from collections.abc import Mapping
from functools import cache

from assess.reference.images import tag_version
from assess.reference.support import distro_of, line_of
from assess.reference.tables import Row, cached, lookup, rows
from assess.reference.versions import Version, numbers_of, parse_version

NEGOTIATES = 999.0  # of a client that takes whatever the engine offers
UNKNOWN_API = "unknown"
_API = re.compile(r"v?1\.\d{1,3}")


@cached
def engine_api(repository: str | None, tag: str | None) -> float | None:
    """Return the minor version of the engine's API that a program requests; None if unknown."""
    # Where a tag may mean several versions, they have to agree.
    found = {row["api"] for row in _clients(repository, tag)}
    api = found.pop() if len(found) == 1 else UNKNOWN_API
    if api == "negotiates":
        return NEGOTIATES
    return None if api == UNKNOWN_API else float(api.partition(".")[2])


@cache
def asked_values(flag: str) -> frozenset[str]:
    """Return the values of a flag that the rules of `breaks` ask for."""
    asked = f"flag == '{flag}' and value "
    ends = " ".join(row["condition"].partition(asked)[2] for row in rows("breaks"))
    return frozenset(re.findall(r"'([^']+)'", ends))


def fixed_api(
    repository: str | None, tag: str | None, env: Mapping[str, str]
) -> str | None:
    """Return the API version that a program takes from its environment; None if it takes none."""
    # A client with a fixed version no longer negotiates, whatever its program could do.
    # Unknown: nobody knows whether the program reads the variable.
    given = api_variables(env)
    if not given:
        return None
    given[""] = UNKNOWN_API
    found = {given.get(row["variable"]) for row in _clients(repository, tag)}
    return found.pop() if len(found) == 1 else UNKNOWN_API


def api_variables(env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that fix an API version; of a value that is none, only ``unknown``."""
    return {
        name: env[name] if _API.fullmatch(env[name]) else UNKNOWN_API
        for name in lookup("engine_clients", "variable", "program").keys() & env.keys()
        if env[name]  # clients ignore an empty one
    }


def _clients(repository: str | None, tag: str | None) -> list[Row]:
    """Return what is known of a client of the engine, for each release that its tag may name."""
    version = tag_version(tag)
    known = program_rows("engine_clients", repository)
    return [row for row in known if _may_be(version, row)]


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
    qualified = "/".join(parts[-2:])
    return known.get(qualified) or known.get(parts[-1], [])


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


NAMED = ("debian", "ubuntu")  # whose releases and suites have names
_NUMBERED = re.compile(r"([a-z]++)(\d[\d.]*+)?")  # ubuntu20.04, centos7, alpine
_OTHERS = ("alpine", "windowsservercore", "nanoserver", "ubi", "oracle", "oraclelinux")
_OFFICIAL = ("", "library", "docker.io", "docker.io/library", "amd64", "docker.io/amd64")
_LAST = (10**6,) * 3
_NEVER = (10**7,)
System = tuple[str | None, str | None]
UNKNOWN: System = (None, None)


@cached
def base_system(image: str | None) -> System:
    """Return distribution and line of an image, from its name or else from its tag and path."""
    path, tag = _split(image or "")
    name = path.split("/")[-1]
    words = tag.lower().removeprefix(name).split("-")
    if words[0].startswith("stream"):  # as CentOS Stream tags its images
        name = f"{name} stream"
        words[0] = words[0].removeprefix("stream")
    distro = distro_of(name)
    line = line_of(distro, " ".join(words)) if distro else None
    if line:
        return distro, line
    if usual := _usual_base(path, tag):
        return base_system(usual)
    if distro:
        return distro, None
    systems = [system_in(word) for word in _joined(words)]
    parts = re.split(r"[-_/]", path.lower())
    systems += [_numbered(part) for part in parts if part[-1:].isdigit()]
    return max(
        # a word with a line ("bookworm") says more than one without ("alpine")
        filter(None, systems),
        key=lambda system: system[1] is not None,
        default=UNKNOWN,
    )


def _usual_base(path: str, tag: str) -> str:
    """Return what an image is built on where its tag names no system; empty where nobody knows."""
    known = program_rows("image_bases", path)
    is_official = path.rpartition("/")[0] in _OFFICIAL
    is_named = any(system_in(word) or word in _OTHERS for word in tag.lower().split("-"))
    if is_named or not known or not (is_official or "/" in known[0]["program"]):
        return ""
    # a moving tag such as 3.6 is the last of its line
    newest = (*(tag_version(tag) or ()), *_LAST)[:3]
    for row in known:
        if numbers_of(row["from"]) <= newest < (parse_version(row["below"]) or _NEVER):
            return row["base"]
    return ""


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


@cached
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
