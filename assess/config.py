"""Locations, and the contents of `assess.toml`."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assess.errors import ConfigError, did_you_mean

PACKAGE = Path(__file__).parent
CONFIG_NAME = "assess.toml"
_TOP_KEYS = ("source", "identity", "snapshots", "work")
_WORK = {"processes": int, "scheduler": str}  # see `execution.working`


def data_path(name: str) -> Path:
    """Return the path of a file below `data/` that comes with assess, installed or in a checkout."""
    installed = PACKAGE / "_data" / name
    return installed if installed.exists() else PACKAGE.parent / "data" / name


@dataclass(frozen=True)
class SourceConfig:
    """One ``[[source]]`` table: its ``type``, such as ``docker``, and its other keys."""

    type: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Config:
    """The contents of `assess.toml`: sources in order, options of ``[identity]`` and ``[work]``.

    Relative paths start from ``directory``; ``origin`` is the file.
    """

    sources: tuple[SourceConfig, ...]
    identity: dict[str, Any]
    directory: Path
    origin: str
    work: dict[str, Any] = field(default_factory=dict)


def load_config(path: str | Path | None = None) -> Config:
    """Read `assess.toml`, or the one named by ``ASSESS_CONFIG``, or the nearest one upwards from here.

    Raises `ConfigError` with every problem of the file.
    """
    file = Path(path) if path else _find()
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be read: {error.strerror}", hint="name it with -c"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not TOML: {error}") from error
    problems = [unknown_key(key, _TOP_KEYS) for key in values if key not in _TOP_KEYS]
    sources = []
    for number, table in enumerate(values.get("source", []), start=1):
        if not isinstance(table, dict) or not isinstance(table.get("type"), str):
            problems.append(f"[[source]] number {number} has no type")
            continue
        options = {key: value for key, value in table.items() if key != "type"}
        sources.append(SourceConfig(table["type"], options))
    work = values.get("work", {})
    problems += _work_problems(work)
    if problems:
        raise ConfigError(f"{file}: " + "; ".join(problems), hint="see `assess sources`")
    identity = values.get("identity", {})
    return Config(tuple(sources), identity, file.resolve().parent, str(file), work)


def _work_problems(work: Any) -> list[str]:
    if not isinstance(work, dict):
        return ["work is no table"]
    problems = [unknown_key(key, tuple(_WORK)) for key in work if key not in _WORK]
    fitting = {key: value for key, value in work.items() if key in _WORK}
    problems += [
        f"work.{k} is {v!r}" for k, v in fitting.items() if type(v) is not _WORK[k]
    ]
    if type(work.get("processes")) is int and work["processes"] < 1:
        problems.append("work.processes has to be above 0")
    return problems


def work_options() -> dict[str, Any]:
    """Return the ``[work]`` table of the nearest `assess.toml`: arguments of `execution.working`."""
    file = _nearest()
    return load_config(file).work if file else {}


def unknown_key(key: str, known: tuple[str, ...]) -> str:
    """Return the message about an unknown key, with the nearest known one."""
    return ", ".join(filter(None, [f"unknown key {key!r}", did_you_mean(key, known)]))


def _find() -> Path:
    file = _nearest()
    if file:
        return file
    raise ConfigError(
        f"there is no {CONFIG_NAME} here or above",
        hint="copy data/assess.example.toml, or name one with -c",
    )


def _nearest() -> Path | None:
    """Return the file named by the environment, or the nearest one upwards from here."""
    named = os.environ.get("ASSESS_CONFIG")
    if named:
        return Path(named)
    here = Path.cwd()
    above = (directory / CONFIG_NAME for directory in (here, *here.parents))
    return next((file for file in above if file.exists()), None)
