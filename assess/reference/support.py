"""Operating systems, who maintains a kernel, and end of support: what is supported, until when."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Literal, NamedTuple

import pandas as pd
from pandas import DataFrame, Series, Timestamp

from assess.reference.tables import STALE_DAYS, cached, compiled_on, lookup, rows, table
from assess.reference.versions import (
    Version,
    engine_line,
    is_known,
    lowered,
    numbers_of,
    parse_version,
)

LINUX = "linux"
_WORD = re.compile(r"[a-z][a-z0-9-]*")
# Three numbers, the first below 8: Darwin is at 20 and more, FreeBSD and SunOS have two.
_LINUX_RELEASE = re.compile(r"[2-7]\.\d+\.\d+(?!\d)")
_PART = re.compile(r"[-.+~]")
_MINOR = re.compile(r"_\d+$|u\d+$")
_WINDOWS_RELEASE = re.compile(r"10\.0[. ]\d{5}")
# for so long after its last release, a line without an announced end counts as supported
ALIVE_DAYS = 180
ACTIVE_DAYS_MIN = 60  # a line that was released for less has no pace
ENGINE = "docker"
RHCOS_FROM = 400
# whose lines have an end of support, and what that end is; a row fills in its own words
BASES = {
    "kernel_lines": "upstream line, end {eol_status}; a distribution may keep it longer",
    "orchestrators": "{eol_basis}",
    "runtime_lines": "end of security support",
    "managed_lines": "calendar of its provider",
}
DATED = ("engine_releases", "distro_releases", *BASES)

State = Literal["supported", "ended", "unknown"]


@cached
def os_family(os_name: str | None, kernel: str | None = None) -> str | None:
    """Return the family of a system (linux, windows, bsd, sunos, other); None where unknown."""
    # The name of a system decides before its kernel.
    if named := _named(os_name):
        return named
    text = lowered(kernel)
    if _WINDOWS_RELEASE.match(text):
        return "windows"
    return _named(text) or (LINUX if _LINUX_RELEASE.match(text) else None)


@cached
def kernel_vendor(kernel: str | None) -> tuple[str, str] | None:
    """Return the distribution that maintains a kernel, and its version if the release names it."""
    vendors = {row["mark"]: row for row in rows("kernel_vendors")}
    for word in _PART.split(lowered(kernel)):
        mark = _MINOR.sub("", word)  # el8_6 is el8
        if row := vendors.get(mark):
            return row["distro"], row["version"]
    return None


def _named(text: str | None) -> str | None:
    """Return the family of the first known word; linux wins (Linux under Windows)."""
    known = lookup("os_families", "word", "family")
    words = _WORD.findall(lowered(text))
    found = (known.get(word) or known.get(word.partition("-")[0]) for word in words)
    families = list(filter(None, found))
    return LINUX if LINUX in families else next(iter(families), None)


@cached
def arch_of(name: str | None) -> str | None:
    """Return the name that images use for a processor architecture; None if unknown."""
    return lookup("architectures", "name", "arch").get(lowered(name))


@cached
def arch_runs(images: str | None, host: str | None) -> bool | None:
    """Return whether one of the architectures of an image (``amd64;arm64``) runs on a host."""
    # An amd64 host runs 386 programs; whether an arm64 host runs arm ones depends on its
    # processor.
    here = arch_of(host)
    if here is None or not isinstance(images, str):
        return None
    offered = {arch_of(name) for name in images.split(";")}
    if here in offered or (here == "amd64" and "386" in offered):
        return True
    may_run = None in offered or (here == "arm64" and "arm" in offered)
    return None if may_run else False


class Support(NamedTuple):
    """Support of a product at a moment: state, line, its end [UTC], days left, reason.

    ``extended_date`` is the end of support that costs extra [UTC].
    """

    state: State
    line: str | None
    eol_date: Timestamp | None
    days_to_eol: int | None
    basis: str
    extended_date: Timestamp | None = None

    @property
    def is_given(self) -> bool | None:
        """Whether there is support; None if unknown."""
        return {"supported": True, "ended": False}.get(self.state)


class _Line(NamedTuple):
    released: list[Timestamp]
    eol: Timestamp | None
    basis: str
    extended: Timestamp | None


@cached
def product_support(product: str | None, version: str | None, at: Timestamp) -> Support:
    """Return the support of a version of an engine, runtime, orchestrator, kernel or system."""
    # A line without an announced end is supported if it is the newest, or had a release
    # within 180 days. An engine newer than the facts is unknown until its line has ended.
    product = ENGINE if product == "swarm-mode" else product
    line = line_of(product, version)
    lines = _lines().get(product or "", {})
    if line not in lines:
        named = [product, line and f"line {line}"]
        whose = ", ".join(filter(None, named)) or "no product is named"
        why = "the facts do not know it" if line else "its version is unknown"
        return Support("unknown", line, None, None, f"{why}: {whose}")
    eol = lines[line].eol
    basis = lines[line].basis
    days = None
    state: State
    if eol is not None:
        days = (eol - at.normalize()).days
        state, basis = _with_end(product, lines[line], eol, at)
    elif "retired" in basis:
        state = "ended"
    else:
        state, basis = _without_end(line, lines, at)
    if state == "supported" and product == ENGINE and not is_known(version):
        state = "unknown"
        basis = f"{version} is newer than the facts of {compiled_on(*DATED)}"
    return Support(state, line, eol, days, basis, lines[line].extended)


@cached
def os_support(os_name: str | None, os_version: str | None, at: Timestamp) -> Support:
    """Return the general support of an operating system, under any usual name."""
    # A version older than all known lines has ended if the oldest known line has ended.
    distro, rest = system_of(os_name)
    support = product_support(distro, os_version or rest or None, at)
    numbers = parse_version(support.line)
    if support.state != "unknown" or numbers is None or distro not in _lines():
        return support
    oldest = line_names(distro)[0]
    is_before = numbers < numbers_of(oldest)
    if is_before and product_support(distro, oldest, at).state == "ended":
        return support._replace(state="ended", basis=f"before {oldest}, which has ended")
    return support


@cached
def kernel_support(
    kernel: str | None,
    at: Timestamp,
    *,
    os_name: str | None = None,
    os_version: str | None = None,
) -> Support:
    """Return the support of a kernel; a distribution's kernel has the distribution's support."""
    own = product_support("kernel", kernel, at)
    whole = os_support(os_name, os_version, at)
    if vendor := kernel_vendor(kernel):
        # "el8" in a kernel's release names the system where its host does not
        if whole.state == "unknown" and vendor[1]:
            whole = os_support(*vendor, at)
        if whole.state != "unknown":
            basis = f"a kernel of {vendor[0]}: {whole.basis}"
            return whole._replace(line=own.line, basis=basis)
    distro = distro_of(os_name)
    # a kernel without a vendor's mark may still be the one that its system ships
    default = line_of("kernel", shipped(distro, whole.line, "default_kernel"))
    if default and default == own.line:
        basis = f"the kernel of {distro} {whole.line}: {whole.basis}"
        return whole._replace(line=own.line, basis=basis)
    return own


@cache
def shipped(distro: str | None, version: str | None, fact: str) -> str | None:
    """Return what a release of a distribution ships: ``default_kernel`` or ``cgroup_default``."""
    line = line_of(distro, version)
    for row in rows("distro_releases"):
        if (row["distro"], row["version"]) == (distro, line):
            return row[fact] or None
    return None


@cache
def support_windows(*products: str, since: str = "") -> Series:
    """Return the support of lines released since a day, without products of systems [days; NA: open]."""
    days: dict[str, int | None] = {}
    for product in products or sorted(_codenames()):
        for name, line in _lines().get(product, {}).items():
            if line.released and min(line.released) >= _day(since or "1970-01-01"):
                window = line.eol - min(line.released) if line.eol else None
                days[name] = window.days if window else None
    return Series(days, dtype="Float64", name="window_days")


@cache
def distro_of(os_name: str | None) -> str | None:
    """Return the name of an operating system in the facts; None if unknown."""
    return system_of(os_name)[0]


@cache
def system_of(os_name: str | None) -> tuple[str | None, str]:
    """Return the name of a system in the facts, and the rest of the text after that name."""
    # The longest name counts: RHEL CoreOS is not RHEL. A number may stand close to it, as in
    # ubuntu:18.04.
    words = re.sub(r"^([^0-9]*[a-z]{2})[:_-]?(?=[0-9])", r"\1 ", lowered(os_name)).split()
    names = lookup("os_names", "name", "distro")
    known = {*_codenames(), *names.values()}
    for n in range(len(words), 0, -1):
        named = " ".join(words[:n])
        distro = names.get(named, named)
        if distro in known:
            return distro, " ".join(words[n:])
    return None, ""


@cached
def line_of(product: str | None, version: str | None) -> str | None:
    """Return the line of a version: by its code name, else the longest line that it starts with."""
    # A product that the facts know only as a whole, such as a retired project, is its own
    # line.
    if product == ENGINE:
        return engine_line(version)
    lines = {parse_version(name): name for name in _lines().get(product or "", {})}
    if None in lines and product not in _codenames():
        return lines[None]
    if not isinstance(version, str):
        return None
    # SUSE writes service packs as "15-SP5" and "15 SP5"
    text = version.strip("() \t").lower().replace("-sp", ".").replace(" sp", ".")
    text = text.removeprefix(f"{product}-")
    names = _codenames().get(product or "", {})
    named = names.get(text.partition(" ")[0])
    numbers = _numbers(product, text)
    if named or numbers is None or product is None:
        return named
    # a line has one to three numbers: debian 12, ubuntu 22.04
    starts = [numbers[:n] for n in (3, 2, 1)]
    known = (lines[start] for start in starts if start in lines)
    # an unknown line is named by two numbers, so that "unknown" can say which
    return next(known, ".".join(map(str, numbers[:2])))


@cache
def line_names(product: str | None) -> list[str]:
    """Return the lines of a product, oldest first."""
    return sorted(_lines().get(product or "", {}), key=numbers_of)


@cache
def newest_line(product: str | None) -> str | None:
    """Return the newest line of a product; None if the facts do not know it."""
    return next(reversed(line_names(product)), None)


@cache
def engine_lines() -> DataFrame:
    """Count releases and changes of each engine line, oldest first; a shared, read-only frame.

    Index ``release_line``; ``first_release, last_release`` [UTC day], ``releases_n, active_days``
    [days], ``releases_per_year`` (NA below 60 active days), ``support_days, stated_days`` [days from
    the first release to the actual and to the stated end; NA without one], changes by kind [count].
    """
    known = table("engine_releases")
    ends_by_line = ["line_eol_date", "policy_eol_date"]
    days = ["release_date", *ends_by_line]
    known[days] = known[days].apply(pd.to_datetime, utc=True)
    public = known["channel"].ne("source_tag") & known["release_date"].notna()
    lines = known[public].groupby("release_line", sort=False)
    first = lines["release_date"].min()
    last = lines["release_date"].max()
    found = DataFrame({"first_release": first, "last_release": last})
    found["releases_n"] = lines.size()
    found["active_days"] = (last - first).dt.days
    pace = found["releases_n"] / (found["active_days"] / 365.25)
    found["releases_per_year"] = pace.where(found["active_days"] >= ACTIVE_DAYS_MIN)
    ends = known.groupby("release_line")[ends_by_line].first()
    found["support_days"] = (ends["line_eol_date"] - first).dt.days
    found["stated_days"] = (ends["policy_eol_date"] - first).dt.days
    changes = table("engine_changes")
    kinds = pd.crosstab(changes["release_line"], changes["kind"])
    return found.join(kinds.reindex(found.index, fill_value=0))


def outages(kind: str | None = None, *, service: str | None = None) -> DataFrame:
    """List the outages on record, of one kind (``registry``, ``api`` …) or service.

    Columns of the table ``outages``; ``duration_minutes`` is a number (NA: unknown). The list
    is not complete.
    """
    listed = table("outages")
    listed["duration_minutes"] = pd.to_numeric(listed["duration_minutes"])
    for column, wanted in (("kind", kind), ("service", service)):
        if wanted:
            listed = listed[listed[column].eq(wanted)]
    return listed


def _numbers(product: str | None, text: str) -> Version | None:
    """Read the numbers of a version; RHCOS writes OpenShift 4.14 as ``414.92``."""
    numbers = parse_version(text)
    if product == "rhcos" and numbers and numbers[0] >= RHCOS_FROM:
        # 414 -> (4, 14)
        return divmod(numbers[0], 100)
    return numbers


def _with_end(
    product: str | None, line: _Line, eol: Timestamp, at: Timestamp
) -> tuple[State, str]:
    """Return the state of a line whose end is announced, and why."""
    today = at.normalize()
    # the last day itself is still supported
    if today <= eol:
        return "supported", line.basis
    extended = _extended().get(product or "")
    if not extended or line.extended is None or line.extended < today:
        return "ended", line.basis
    ended = f"standard support ended {eol:%Y-%m-%d}"
    if extended == "automatic":
        costs = f"extended support costs extra until {line.extended:%Y-%m-%d}"
        return "supported", f"{ended}, {costs}"
    bought = f"whether extended support until {line.extended:%Y-%m-%d} was bought"
    return "unknown", f"{ended}, and nobody knows {bought}"


@cache
def _extended() -> dict[str, str]:
    """How extended support starts, by product: ``automatic``, or on request."""
    found = {row["product"]: row["extended"] for row in rows("platforms")}
    for row in rows("calendars"):
        found[row["product"]] = found.get(row["follows"], "")
    return found


def _without_end(line: str, lines: dict[str, _Line], at: Timestamp) -> tuple[State, str]:
    """Return the state of a line whose end is not announced, and why."""
    compiled = compiled_on(*DATED)
    # old facts cannot know of a newer line, or of an end announced since
    if (at - _day(compiled)).days > STALE_DAYS:
        return "unknown", f"no announced end, and the facts of {compiled} are too old"
    if line == max(lines, key=numbers_of):
        return "supported", "no announced end; it is the newest line"
    last = max((day for day in lines[line].released if day <= at), default=None)
    if last is not None and (at - last).days <= ALIVE_DAYS:
        return "supported", f"no announced end; last release {last:%Y-%m-%d}"
    return "unknown", f"no announced end, and no release within {ALIVE_DAYS} days"


def _day(text: str) -> Timestamp:
    return Timestamp(text, tz="UTC")


@cache
def _lines() -> dict[str, dict[str, _Line]]:
    """Lines by product; a product that follows another has the lines of the other."""
    found: dict[str, dict[str, _Line]] = {}
    for product, name, *ends, basis, released, latest in _dated():
        standard, extended = (_day(end) if end else None for end in ends)
        line = _Line([], standard, basis, extended)
        line = found.setdefault(product, {}).setdefault(name, line)
        line.released.extend(_day(day) for day in (released, latest) if day)
    for row in rows("calendars"):
        if not row["needs"]:
            found[row["product"]] = {
                name: line._replace(basis=f"like {row['follows']} {name}: {line.basis}")
                for name, line in found[row["follows"]].items()
            }
    return found


def _dated() -> Iterator[tuple[str, ...]]:
    """Yield product, line, both ends of support, their basis, two release days; engines: several."""
    for row in rows("engine_releases"):
        stated = row["policy_eol_date"]
        end = stated or row["line_eol_date"]
        basis = "stated support window" if stated else row["line_eol_basis"]
        yield ENGINE, row["release_line"], end, "", basis, row["release_date"], ""
    for row in rows("distro_releases"):
        basis = "end of general support"
        if row["extended_eol_date"]:
            basis += f"; extended support to {row['extended_eol_date']}"
        line = (row["distro"], row["version"], row["eol_date"])
        yield *line, "", basis, row["release_date"], ""
    for name, basis in BASES.items():
        for row in rows(name):
            line = (row.get("product", "kernel"), row["line"], row["eol_date"])
            extended = row.get("extended_eol_date", "")
            latest = row.get("latest_date", "")
            yield *line, extended, basis.format(**row), row["release_date"], latest


@cache
def _codenames() -> dict[str, dict[str, str]]:
    """Lines by the first word of their code name, by operating system."""
    found: dict[str, dict[str, str]] = {}
    for row in rows("distro_releases"):
        word = row["codename"].lower().partition(" ")[0]
        versions = found.setdefault(row["distro"], {})
        if word:
            versions[word] = row["version"]
    return found
