"""The policy: weights, probabilities, thresholds, gates, checks, draws and seed, as data."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from assess.config import Table as Table
from assess.config import Values, data_path
from assess.errors import PolicyError
from assess.policy.problems import ANY, ROWS, WORDS, fitting, problems_of
from assess.policy.targets import default_of

HASH_LENGTH = 12
# of boards, a user's own take the place of the default
MERGED_BY_ID = ("check", "gate", "refusal", "targets")


@dataclass(frozen=True, eq=False)
class Policy:
    """The decisions of an organisation, made before it looks at its fleet.

    Attributes
    ----------
    values : mapping
        The tables of the policy file, complete: the defaults overridden by the user's values.
    origin : str
        File of the user's values.
    """

    values: Table
    origin: str

    def __getitem__(self, table: str) -> Any:
        return self.values[table]

    @property
    def hash(self) -> str:
        """Hash of the content; independent of the layout of the file."""
        # sorted keys: the order of the file must not change the hash
        canonical = json.dumps(self.values, sort_keys=True, default=str)
        return hashlib.sha256(canonical.encode()).hexdigest()[:HASH_LENGTH]

    @property
    def seed(self) -> int:
        """Seed of every draw."""
        return int(self.values["simulation"]["seed"])

    @property
    def level(self) -> float:
        """Coverage of every interval [share 0-1]."""
        return float(self.values["simulation"]["level"])

    @property
    def draws(self) -> int:
        """Draws of every simulation."""
        return int(self.values["simulation"]["draws"])

    def replace(self, **tables: Table) -> Policy:
        """Return a policy with some values replaced.

        Parameters
        ----------
        **tables : mapping
            Tables by name; their keys override those of this policy.

        Returns
        -------
        Policy
            Checked like one that was read.
        """
        return _overridden(self.values, tables, self.origin)

    def to_toml(self) -> str:
        """Return the whole policy as TOML that `load_policy` reads again.

        Returns
        -------
        str
            The text of the default policy with its comments; of any other, its values.
        """
        if self.hash == load_policy().hash:
            return data_path("policy.toml").read_text("utf-8")
        return "".join(
            f"{key} = {_inline(value)}\n" for key, value in self.values.items()
        )

    def with_tables(self, **tables: Any) -> Policy:
        """Return a policy with whole tables replaced; nothing is merged or checked.

        Parameters
        ----------
        **tables : Any
            Tables by name, complete.

        Returns
        -------
        Policy
            For one question to a score.
        """
        return Policy({**self.values, **tables}, self.origin)

    def __repr__(self) -> str:
        """Return a line without address or clock."""
        return f"<Policy {self.hash}: {len(self['check'])} checks, {len(self['gate'])} gates>"


def load_policy(path: str | Path | None = None) -> Policy:
    """Read a policy; missing values keep their defaults.

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

    Examples
    --------
    >>> policy = assess.load_policy()
    >>> policy["what_next"]["ready_points"]
    60
    """
    default = _with_default_target(_named_apart(_parse(data_path("policy.toml"))))
    if path is None:
        return _checked(default, "default")
    return _overridden(default, _parse(Path(path)), str(path))


def _inline(value: Any) -> str:
    """Write a value as TOML on one line; strings and numbers are written as in JSON."""
    if isinstance(value, Mapping):
        pairs = [f"{json.dumps(key)} = {_inline(cell)}" for key, cell in value.items()]
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    is_time = hasattr(value, "isoformat")
    if is_time:
        return str(value.isoformat())
    # the one control character that JSON leaves as it is and TOML does not
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _parse(path: Path) -> Values:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise PolicyError(
            f"there is no policy at {path}", hint="see `assess policy`"
        ) from error
    # ValueError: not TOML, not UTF-8, or a number of thousands of digits
    except (ValueError, OSError, RecursionError) as error:
        raise PolicyError(
            f"{path} is not a readable policy: {error}", hint="see `assess policy`"
        ) from error


def _overridden(below: Table, above: Table, origin: str) -> Policy:
    """Override a complete policy by a user's values; report values of the wrong type."""
    example = {**below, **{name: [row] for name, row in ROWS.items()}}
    words = below["incidents"]
    # anybody may add words for incidents: a new key has the type of the others
    open_tables = {
        name: {ANY: next(iter(words[name].values())), **words[name]} for name in WORDS
    }
    example["incidents"] = {**words, **open_tables}
    values, problems = fitting(_named_apart(above), example)
    merged = _merged(below, values)
    # only then may the default target be another row, with other defaults
    if "targets" in values or "id" in values.get("target", {}):
        merged = _with_default_target(merged, values.get("target", {}))
    return _checked(merged, origin, problems)


def _named_apart(values: Table) -> Values:
    """Rename ``[[target]]``, the list, to ``targets``; ``[target]``, the table, keeps its name."""
    named = dict(values)
    if isinstance(named.get("target"), list):
        named["targets"] = named.pop("target")
    return named


def _with_default_target(values: Table, own: Table = MappingProxyType({})) -> Values:
    """Return tables whose ``target`` is the default target, overridden by ``own`` values."""
    chosen = default_of(values["targets"], own.get("id", ""))
    return {**values, "target": {**chosen, **own}}


def _merged(below: Table, above: Table) -> Values:
    """Override values by others; checks and gates are merged by id."""
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, Mapping):
            merged[key] = _merged(below.get(key, {}), value)
        elif key in MERGED_BY_ID:
            rows = {row["id"]: row for row in below[key]}
            own: dict[Any, Any] = {}
            for row in value:
                name = row.get("id")
                # of two with one id, an error of its own, both are checked
                place = len(rows) if name in own else name
                own[name] = rows[place] = {**rows.get(name, {}), **row}
            merged[key] = list(rows.values())
        else:
            merged[key] = value
    return merged


def _checked(values: Values, origin: str, known: Iterable[str] = ()) -> Policy:
    """Return a complete policy; raise with all problems, the known ones included."""
    problems = [*known, *problems_of(values)]
    if problems:
        raise PolicyError(
            f"policy {origin}: " + "; ".join(problems),
            hint="see `assess policy`; a key that it does not list can be deleted",
        )
    return Policy(values, origin)
