"""The policy: weights, probabilities, thresholds, gates, checks, draws and seed, as data."""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assess.config import data_path
from assess.errors import PolicyError

HASH_LENGTH = 12


@dataclass(frozen=True, eq=False, repr=False)
class Policy:
    """What an organisation decided before it looked at its fleet.

    Attributes
    ----------
    values : mapping
        The tables of the policy file, complete: the defaults with the user's own on top.
    origin : str
        File that the user's own values came from.
    """

    values: Mapping[str, Any]
    origin: str

    def __getitem__(self, table: str) -> Any:
        """Give a table of the policy by its name."""
        return self.values[table]

    @property
    def hash(self) -> str:
        """Hash of the content; the same values give the same hash, however they are laid out."""
        canonical = json.dumps(self.values, sort_keys=True, default=str)
        return hashlib.sha256(canonical.encode()).hexdigest()[:HASH_LENGTH]

    @property
    def seed(self) -> int:
        """Seed of every draw."""
        return int(self.values["simulation"]["seed"])

    @property
    def draws(self) -> int:
        """Draws of every simulation."""
        return int(self.values["simulation"]["draws"])

    def replace(self, **tables: Mapping[str, Any]) -> Policy:
        """Make a policy in which some values are others.

        Parameters
        ----------
        **tables : mapping
            Tables by name; their keys go on top of this policy's.

        Returns
        -------
        Policy
            Checked like one that was read.
        """
        return _checked(_merge(self.values, tables), self.origin)

    def __repr__(self) -> str:
        """Say what it is, without address or clock."""
        return f"<Policy {self.hash}: {len(self['check'])} checks, {len(self['gate'])} gates>"


def load_policy(path: str | Path | None = None) -> Policy:
    """Read a policy; what it leaves out keeps its default.

    Parameters
    ----------
    path : str or Path, optional
        A TOML file; without one, the default policy.

    Returns
    -------
    Policy
        Complete and checked.

    Raises
    ------
    PolicyError
        Where the file cannot be read, a key is unknown or a value makes no sense; it lists all.
    """
    default = _parse(data_path("policy.toml"))
    if path is None:
        return _checked(default, "default")
    own = _parse(Path(path))
    unknown = _unknown_keys(own, default)
    if unknown:
        raise PolicyError(f"{path}: " + "; ".join(unknown), hint="see `assess policy`")
    return _checked(_merge(default, own), str(path))


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise PolicyError(f"there is no policy at {path}", hint="see `assess policy`") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise PolicyError(f"{path} is not a readable policy: {error}") from error


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one set of values over another; a list of tables is merged by id."""
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = _merge(merged[key], value)
        elif _is_identified(value) and _is_identified(merged.get(key)):
            own = {row["id"]: row for row in value}
            first = [{**row, **own.pop(row["id"], {})} for row in merged[key]]
            merged[key] = [*first, *own.values()]
        else:
            merged[key] = value
    return merged


def _is_identified(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(v, dict) and "id" in v for v in value)


def _unknown_keys(own: Mapping[str, Any], default: Mapping[str, Any], at: str = "") -> list[str]:
    """Keys that the default policy does not have; tables marked free in it take any key."""
    problems = []
    for key, value in own.items():
        if key not in default:
            near = difflib.get_close_matches(key, list(default), n=1)
            problems.append(
                f"unknown key {at}{key}" + (f", did you mean {at}{near[0]}?" if near else "")
            )
        elif isinstance(value, Mapping) and isinstance(default[key], Mapping) and default[key]:
            problems += _unknown_keys(value, default[key], f"{at}{key}.")
    return problems


def _checked(values: dict[str, Any], origin: str) -> Policy:
    problems = list(_problems(values))
    if problems:
        raise PolicyError(f"policy {origin}: " + "; ".join(problems), hint="see `assess policy`")
    return Policy(values, origin)


def _problems(values: Mapping[str, Any]) -> list[str]:
    problems = []
    for table in ("dimensions", "criteria"):
        weights = values[table]
        bad = [
            f"{table}.{name} is {weight!r}: a weight is a number >= 0"
            for name, weight in weights.items()
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not weight >= 0
        ]
        problems += bad
        if not bad and sum(weights.values()) <= 0:
            problems.append(f"the weights of {table} sum to 0")
    for kind, edge in values["edges"].items():
        if not 0 <= edge["lo"] <= edge["p"] <= edge["hi"] <= 1:
            problems.append(f"edges.{kind}: needs 0 <= lo <= p <= hi <= 1")
    if values["simulation"]["draws"] < 1:
        problems.append("simulation.draws is below 1")
    return problems
