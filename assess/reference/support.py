"""What is still supported, and until when."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Literal

import pandas as pd

from assess.reference.tables import compiled_on, table
from assess.reference.versions import Version, engine_line, is_known, parse_version

# A line without an announced end still counts as supported this long after its last release, and
# the facts themselves say nothing of what is newest once they are older than that.
ALIVE_DAYS = 180

State = Literal["supported", "ended", "unknown"]


@dataclass(frozen=True)
class Support:
    """Whether something is supported at a moment.

    Attributes
    ----------
    state : str
        ``supported``, ``ended`` or ``unknown``.
    line : str or None
        Line that the facts speak of.
    eol_date : Timestamp or None
        Announced last day of support. [UTC]
    days_to_eol : int or None
        Days until then; negative after it. [days]
    basis : str
        Why, in plain words.
    """

    state: State
    line: str | None
    eol_date: pd.Timestamp | None
    days_to_eol: int | None
    basis: str


@dataclass(frozen=True)
class _Line:
    """A line of a product: its dates, and what the facts say about its end."""

    name: str
    first: pd.Timestamp | None
    eol: pd.Timestamp | None
    released: tuple[pd.Timestamp, ...]
    basis: str


@lru_cache(maxsize=4096)
def engine_support(version: str | None, at: pd.Timestamp) -> Support:
    """Say whether an engine is supported.

    Parameters
    ----------
    version : str or None
        Version of the engine, or its line.
    at : Timestamp
        Moment in question. [UTC]

    Returns
    -------
    Support
        A line without an announced end is supported where it is the newest, or had a release within
        180 days before; a release newer than the facts is unknown until its line has ended.
    """
    found = _support(engine_line(version), _engine_lines(), at)
    if found.state == "supported" and not is_known(version):
        basis = f"{version} is newer than the facts of {compiled_on()}"
        return Support("unknown", found.line, found.eol_date, found.days_to_eol, basis)
    return found


@lru_cache(maxsize=4096)
def os_support(os_name: str | None, os_version: str | None, at: pd.Timestamp) -> Support:
    """Say whether an operating system is supported.

    Parameters
    ----------
    os_name : str or None
        Such as ``debian``, ``rhel`` or ``Amazon Linux``.
    os_version : str or None
        Such as ``12.5``, ``22.04.3 LTS`` or a code name.
    at : Timestamp
        Moment in question. [UTC]

    Returns
    -------
    Support
        By the end of general support; paid extensions are named in the basis.
    """
    distro = distro_of(os_name)
    held = _distro_lines(distro) if distro else {}
    return _support(_distro_line(distro, os_version, held), held, at)


@lru_cache(maxsize=4096)
def kernel_support(
    kernel: str | None,
    at: pd.Timestamp,
    *,
    os_name: str | None = None,
    os_version: str | None = None,
) -> Support:
    """Say whether a kernel is supported.

    Parameters
    ----------
    kernel : str or None
        Kernel release, such as ``5.15.0-91-generic``.
    at : Timestamp
        Moment in question. [UTC]
    os_name, os_version : str or None
        Operating system: the kernel that it ships by default is maintained as long as it is.

    Returns
    -------
    Support
        Of the operating system for its own kernel, else of the line upstream.
    """
    numbers = parse_version(kernel)
    line = ".".join(map(str, numbers[:2])) if numbers else None
    whole = os_support(os_name, os_version, at)
    if line is not None and whole.line is not None:
        known = table("distro_releases")
        own = known[(known["distro"] == distro_of(os_name)) & (known["version"] == whole.line)]
        shipped = [parse_version(text) for text in own["default_kernel"].dropna()]
        if numbers is not None and numbers[:2] in [v[:2] for v in shipped if v]:
            basis = f"the kernel of {distro_of(os_name)} {whole.line}: {whole.basis}"
            return Support(whole.state, line, whole.eol_date, whole.days_to_eol, basis)
    return _support(line, _kernel_lines(), at)


@lru_cache(maxsize=4096)
def orchestrator_support(product: str | None, version: str | None, at: pd.Timestamp) -> Support:
    """Say whether an orchestrator is supported.

    Parameters
    ----------
    product : str or None
        As the facts name it: ``kubernetes``, ``nomad``, ``ecs-agent``, ``swarm-mode`` …
    version : str or None
        Its version; of swarm mode, the version of the engine.
    at : Timestamp
        Moment in question. [UTC]

    Returns
    -------
    Support
        A retired project has ended, whatever its version.
    """
    if product == "swarm-mode":
        return engine_support(version, at)
    held = _product_lines("orchestrators", product)
    line = _prefix(version, held)
    found = _support(line, held, at)
    whole = [row for row in held.values() if parse_version(row.name) is None]
    if found.state != "ended" and whole and (whole[0].eol or "retired" in whole[0].basis):
        return _support(whole[0].name, held, at)
    return found


@lru_cache(maxsize=4096)
def runtime_support(product: str | None, version: str | None, at: pd.Timestamp) -> Support:
    """Say whether containerd or podman is supported.

    Parameters
    ----------
    product : str or None
        ``containerd`` or ``podman``; others are unknown.
    version : str or None
        Its version.
    at : Timestamp
        Moment in question. [UTC]

    Returns
    -------
    Support
        By line.
    """
    held = _product_lines("runtime_lines", product)
    return _support(_prefix(version, held), held, at)


def support_windows(product: str, *, since: str = "") -> pd.DataFrame:
    """Give how long the lines of a product were or are supported.

    Parameters
    ----------
    product : str
        ``engine``, ``containerd``, ``podman`` or an operating system.
    since : str, default ""
        Only lines that came out on or after this day.

    Returns
    -------
    DataFrame
        Index ``line``; ``first_release``, ``eol_date`` [UTC], ``window_days`` [days, NA where the
        end is not announced].
    """
    held = _engine_lines() if product == "engine" else _product_lines("runtime_lines", product)
    held = held or _distro_lines(product)
    rows = [(row.name, row.first, row.eol) for row in held.values()]
    found = pd.DataFrame(rows, columns=["line", "first_release", "eol_date"]).set_index("line")
    for name in found:
        found[name] = pd.to_datetime(found[name], utc=True)
    found["window_days"] = (found["eol_date"] - found["first_release"]).dt.days.astype("Float64")
    return found[found["first_release"] >= _day(since)] if since else found


@cache
def distro_of(os_name: str | None) -> str | None:
    """Give the name that the facts use for an operating system.

    Parameters
    ----------
    os_name : str or None
        Any usual name of it.

    Returns
    -------
    str or None
        None where the facts do not know it.
    """
    if not isinstance(os_name, str):
        return None
    name = os_name.strip().lower()
    aliases = dict(table("os_names")[["name", "distro"]].itertuples(index=False))
    name = aliases.get(name, name)
    return name if name in set(table("distro_releases")["distro"]) else None


def _support(line: str | None, held: dict[str, _Line], at: pd.Timestamp) -> Support:
    if line is None or line not in held:
        named = f"line {line}" if line else "no version"
        return Support("unknown", line, None, None, f"the facts do not know it: {named}")
    row = held[line]
    if row.eol is not None:
        days = (row.eol - at.normalize()).days
        state: State = "ended" if days < 0 else "supported"
        return Support(state, line, row.eol, days, row.basis)
    if "retired" in row.basis:
        return Support("ended", line, None, None, row.basis)
    return Support(*_without_end(row, held, at))


def _without_end(
    row: _Line, held: dict[str, _Line], at: pd.Timestamp
) -> tuple[State, str, None, None, str]:
    """Judge a line whose end nobody announced."""
    if (at - _day(compiled_on())).days > ALIVE_DAYS:
        basis = f"no announced end, and the facts of {compiled_on()} are too old to say"
        return "unknown", row.name, None, None, basis
    versions = [parse_version(name) for name in held]
    if parse_version(row.name) == max(v for v in versions if v):
        return "supported", row.name, None, None, "no announced end; it is the newest line"
    last = max((day for day in row.released if day <= at), default=None)
    if last is not None and (at - last).days <= ALIVE_DAYS:
        return "supported", row.name, None, None, f"no announced end; last release {last:%Y-%m-%d}"
    return "unknown", row.name, None, None, "no announced end, and no release within 180 days"


def _day(text: object) -> pd.Timestamp:
    return pd.Timestamp(str(text), tz="UTC")


def _days(*cells: object) -> tuple[pd.Timestamp, ...]:
    return tuple(_day(cell) for cell in cells if isinstance(cell, str))


@cache
def _engine_lines() -> dict[str, _Line]:
    """Lines of the engine; a stated window goes before a list that counts to the next release."""
    held = {}
    for name, rows in table("engine_releases").groupby("release_line", sort=False):
        stated = rows["policy_eol_date"].dropna()
        eol = _days(*stated[:1], *rows["line_eol_date"].dropna()[:1])
        basis = "stated support window" if len(stated) else str(rows["line_eol_basis"].iloc[0])
        released = _days(*rows["release_date"])
        held[str(name)] = _Line(str(name), min(released), eol[0] if eol else None, released, basis)
    return held


@cache
def _distro_lines(distro: str) -> dict[str, _Line]:
    known = table("distro_releases")
    held = {}
    for _, row in known[known["distro"] == distro].iterrows():
        first, eol = _days(row["release_date"]), _days(row["eol_date"])
        extended = row["extended_eol_date"]
        basis = "end of general support"
        basis += f"; extended support to {extended}" if isinstance(extended, str) else ""
        name = str(row["version"])
        held[name] = _Line(name, first[0] if first else None, eol[0] if eol else None, first, basis)
    return held


def _distro_line(distro: str | None, version: str | None, held: dict[str, _Line]) -> str | None:
    if distro is None or not isinstance(version, str):
        return None
    text = version.strip().lower()
    known = table("distro_releases")
    names = known[(known["distro"] == distro) & known["codename"].notna()]
    for line, codename in zip(names["version"], names["codename"], strict=True):
        if text and text.split()[0] in (codename.lower(), codename.lower().split()[0]):
            return str(line)
    return _prefix(text.replace("-sp", ".").replace(" sp", "."), held)


@cache
def _kernel_lines() -> dict[str, _Line]:
    held = {}
    for _, row in table("kernel_lines").iterrows():
        eol, released = _days(row["eol_date"]), _days(row["release_date"], row["latest_date"])
        basis = f"upstream line, end {row['eol_status']}; a distribution may keep it longer"
        held[row["line"]] = _Line(
            row["line"], released[0], eol[0] if eol else None, released, basis
        )
    return held


@cache
def _product_lines(name: str, product: str | None) -> dict[str, _Line]:
    known = table(name)
    held = {}
    for _, row in known[known["product"] == product].iterrows():
        eol = _days(row["eol_date"])
        released = _days(row["release_date"], row.get("latest_date"))
        basis = str(row.get("eol_basis", "end of security support"))
        first = released[0] if released else None
        held[row["line"]] = _Line(row["line"], first, eol[0] if eol else None, released, basis)
    return held


def _prefix(version: str | None, held: dict[str, _Line]) -> str | None:
    """Name of the line that a version belongs to: the longest that it starts with."""
    numbers = parse_version(version)
    if numbers is None:
        return None
    lines: dict[Version, str] = {v: n for n in held if (v := parse_version(n)) is not None}
    for length in (3, 2, 1):
        if numbers[:length] in lines:
            return lines[numbers[:length]]
    return ".".join(map(str, numbers[:2]))
