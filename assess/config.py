"""Locations, and the contents of `assess.toml`."""

import csv
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from assess.errors import ConfigError, with_nearest

Options = dict[str, Any]  # of one table
Table = Mapping[str, Any]  # of a policy, and each row of its lists
Values = dict[str, Any]  # of a table that is being made
PACKAGE = Path(__file__).parent
CONFIG_NAME = "assess.toml"
SAMPLE = "sample"  # the invented fleet that comes with assess
MOST_PROCESSES = 1000
_TOP = {"source": list, "identity": dict, "work": dict}
_TOP_KEYS = (*_TOP, "snapshots")
_WORK = {"processes": int, "scheduler": str}  # see `execution.working`
_KINDS = {list: "a list [[source]]", dict: "a table", int: "a number", str: "a text"}


def data_path(name: str) -> Path:
    """Return the path of packaged data or notebooks, in an installation or a checkout."""
    installed = PACKAGE / "_data" / name
    if installed.exists():
        return installed
    beside = PACKAGE.parent / name
    return beside if name == "notebooks" else PACKAGE.parent / "data" / name


@cache
def packaged(name: str) -> dict[str, Any]:
    """Return a TOML file of this package, which is shared and must not be changed."""
    return tomllib.loads((PACKAGE / name).read_text("utf-8"))


@cache
def packaged_rows(name: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file of this package, which are shared and must not be changed."""
    with (PACKAGE / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def sample_path(reference: str | Path) -> Path | None:
    """Return the path that ``sample`` or ``sample:2026Q2`` means: a quarter of the invented fleet.

    None for any other reference, and where the user has a directory of that name.
    """
    word, _, quarter = str(reference).partition(":")
    if word != SAMPLE or Path(reference).exists():
        return None
    quarters = {path.name: path for path in sorted(data_path(SAMPLE).glob("*Q*"))}
    chosen = quarter or max(quarters)
    if chosen not in quarters:
        listed = ", ".join(f"{SAMPLE}:{name}" for name in quarters)
        raise ConfigError(f"there is no {SAMPLE}:{quarter}", hint=f"there are {listed}")
    return quarters[chosen]


@dataclass(frozen=True)
class SourceConfig:
    """One ``[[source]]`` table: its ``type``, such as ``docker``, and its other keys."""

    type: str
    options: Options = field(default_factory=dict)


@dataclass(frozen=True)
class Config:
    """What `assess.toml` says: sources in order, options; paths start from its ``directory``."""

    sources: tuple[SourceConfig, ...]
    identity: Options
    directory: Path
    origin: str
    work: Options = field(default_factory=dict)


def load_config(path: str | Path | None = None) -> Config:
    """Read `assess.toml`, or the one named by ``ASSESS_CONFIG``, or the nearest one upwards from here.

    Raises `ConfigError` with every problem of the file.
    """
    file = Path(path) if path else _nearest()
    if file is None:
        raise ConfigError(
            f"there is no {CONFIG_NAME} here or above",
            hint="write one with `assess init`, or name one with -c",
        )
    try:
        values = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be read: {error.strerror}",
            hint="`assess init` writes one; name it with -c",
        ) from error
    # ValueError: not TOML, not UTF-8, or a number of thousands of digits
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"{file} is not TOML: {error}", hint='texts stand in quotes: type = "docker"'
        ) from error
    problems = [unknown_key(key, _TOP_KEYS) for key in values if key not in _TOP_KEYS]
    for key, kind in _TOP.items():
        if not isinstance(values.setdefault(key, kind()), kind):
            problems.append(f"{key} is {values[key]!r}, not {_KINDS[kind]}")
            values[key] = kind()
    sources = []
    for number, table in enumerate(values["source"], start=1):
        if not isinstance(table, dict) or not isinstance(table.get("type"), str):
            problems.append(f"[[source]] number {number} has no type")
            continue
        options = {key: value for key, value in table.items() if key != "type"}
        sources.append(SourceConfig(table["type"], options))
    problems += _work_problems(values["work"])
    if problems:
        raise ConfigError(f"{file}: " + "; ".join(problems), hint="see `assess sources`")
    directory = file.resolve().parent
    return Config(
        tuple(sources), values["identity"], directory, str(file), values["work"]
    )


def _work_problems(work: Options) -> list[str]:
    problems = [unknown_key(key, tuple(_WORK)) for key in work if key not in _WORK]
    for key, value in work.items():
        # isinstance would take true for the number 1
        if key in _WORK and type(value) is not _WORK[key]:
            problems.append(f"work.{key} is {value!r}, not {_KINDS[_WORK[key]]}")
    processes = work.get("processes", 1)
    if type(processes) is int and not 1 <= processes <= MOST_PROCESSES:
        problems.append(f"work.processes has to be from 1 to {MOST_PROCESSES}")
    return problems


def work_options() -> Options:
    """Return the ``[work]`` table of the nearest `assess.toml`: arguments of `execution.working`."""
    file = _nearest()
    return load_config(file).work if file else {}


def is_configured() -> bool:
    """Return whether an `assess.toml` is named by the environment, or exists here or above."""
    return _nearest() is not None


def unknown_key(key: str, known: tuple[str, ...]) -> str:
    """Return the message about an unknown key, with the nearest known one."""
    return with_nearest(f"unknown key {key!r}", key, known)


def _nearest() -> Path | None:
    """Return the file named by the environment, or the nearest one upwards from here."""
    # Above, as in /tmp, anybody may have put one: it counts only if it is the user's own
    # or root's.
    if named := os.environ.get("ASSESS_CONFIG"):
        return Path(named)
    here = Path.cwd()
    trusted = (0, os.geteuid())
    for directory in (here, *here.parents):
        file = directory / CONFIG_NAME
        if file.exists() and (directory == here or file.stat().st_uid in trusted):
            return file
    return None
