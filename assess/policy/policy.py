"""The policy: weights, probabilities, thresholds, gates, checks, draws and seed, as data."""

from __future__ import annotations

import hashlib
import json
import math
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assess.config import data_path
from assess.errors import PolicyError, did_you_mean
from assess.policy import rules, weights

HASH_LENGTH = 12
_SHARES = (
    "simulation.level",
    "blast_radius.unobserved_quantile",
    "what_next.move_p",
    "what_next.pilot_p",
)
_POSITIVE = ("simulation.draws", "blast_radius.block_mib", "churn.x0", "what_next.k")
_WHOLE = ("simulation.draws", "simulation.seed", "what_next.k", "what_next.waves_max")
_RISING = (
    ("what_next.pilot_p", "what_next.move_p"),
    ("what_next.pilot_points", "what_next.ready_points"),
)
# Tables of words, to which anybody may add; the columns of incidents that the words stand for.
_WORDS = {
    "incidents.severity": "severity",
    "incidents.cause": "cause",
    "incidents.cause_text": "cause",
    "incidents.platform": "platform_at_time",
}
_COMBINE = ("all", "any", "share")
_FAILS_WHEN = ("any", "all")
_LABELS = ("NEVER", "HOLD", "PREPARE", "NOT DECIDABLE")
_CHECK = {
    **dict.fromkeys(
        ("id", "question", "table", "rule", "why", "remedy", "source"), "text"
    ),
    "weight": "a number",
    "needs": "a list",
}
_CHECK_MAY = {
    **dict.fromkeys(("applies", "combine", "dated_by"), "text"),
    "asked": "true or false",
    "ttl_days": "a number",
}
_GATE = {
    **dict.fromkeys(("id", "title", "label", "fails_when", "clear", "remedy"), "text"),
    "reasons": "a list",
}
_GATE_MAY = {"unless": "text"}
_REASON = dict.fromkeys(("table", "rule", "says", "fact"), "text")
_REASON_MAY = {"shows": "a list", "check": "text"}
_BOARD = {"id": "text"}
_BOARD_MAY = {
    "title": "text",
    "order": "a list",
    "intervals": "a table",
    "weights": "a table",
}
_REPLACED = ("board",)  # lists of which a user's own takes the place


@dataclass(frozen=True, eq=False, repr=False)
class Policy:
    """The decisions of an organisation, made before it looks at its fleet.

    Attributes
    ----------
    values : mapping
        The tables of the policy file, complete: the defaults overridden by the user's values.
    origin : str
        File of the user's values.
    """

    values: Mapping[str, Any]
    origin: str

    def __getitem__(self, table: str) -> Any:
        """Return a table of the policy by its name."""
        return self.values[table]

    @property
    def hash(self) -> str:
        """Hash of the content; independent of the layout of the file."""
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
        return _laid_over(self.values, tables, self.origin)

    def __repr__(self) -> str:
        """Return a line without address or clock."""
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
    return _laid_over(default, _parse(Path(path)), str(path))


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise PolicyError(
            f"there is no policy at {path}", hint="see `assess policy`"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise PolicyError(f"{path} is not a readable policy: {error}") from error


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Override values by others; lists of tables are merged by id."""
    merged = dict(below)
    for key, value in above.items():
        if key in _REPLACED:
            merged[key] = value
        elif isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = _merge(merged[key], value)
        elif _is_identified(value) and _is_identified(merged.get(key)):
            own = {row["id"]: row for row in value}
            first = [{**row, **own.pop(row["id"], {})} for row in merged[key]]
            merged[key] = [*first, *own.values()]
        else:
            merged[key] = value
    return merged


def _is_identified(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(v, dict) and "id" in v for v in value
    )


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any], origin: str) -> Policy:
    """Override a complete policy by a user's values; values of the wrong shape are problems."""
    fitting, problems = _sorted_out(above, below)
    return _checked(_merge(below, fitting), origin, problems)


def _sorted_out(
    own: Mapping[str, Any], default: Mapping[str, Any], at: str = ""
) -> tuple[dict[str, Any], list[str]]:
    """Return the values that have the shape of the default, and the problems of the others."""
    if at[:-1] in _WORDS:
        default = {**dict.fromkeys(own, next(iter(default.values()))), **default}
    kept: dict[str, Any] = {}
    problems: list[str] = []
    for key, value in own.items():
        name, wrong = (
            f"{at}{key}",
            _twice(f"{at}{key}", value) if _is_identified(value) else [],
        )
        if key not in default:
            wrong.append(_unknown(name, [f"{at}{known}" for known in default]))
        elif _type(value) != _type(default[key]):
            wrong.append(f"{name} is {value!r}: {_type(default[key])} is expected")
        elif isinstance(value, Mapping):
            kept[key], wrong = _sorted_out(value, default[key], f"{name}.")
        else:
            kept[key] = value
        problems += wrong
    return kept, problems


def _checked(values: dict[str, Any], origin: str, known: Iterable[str] = ()) -> Policy:
    """Return a complete policy; raise with all problems, the known ones included."""
    problems = [
        *known,
        *_number_problems(values),
        *_word_problems(values),
        *_check_problems(values),
        *_gate_problems(values),
        *_board_problems(values),
    ]
    if problems:
        raise PolicyError(
            f"policy {origin}: " + "; ".join(problems), hint="see `assess policy`"
        )
    return Policy(values, origin)


def _unknown(key: str, known: Iterable[str], what: str = "key") -> str:
    return ", ".join(filter(None, [f"unknown {what} {key}", did_you_mean(key, known)]))


def _type(value: object) -> str:
    """Return the type of a value, in the words of TOML."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    words = {str: "text", list: "a list"}
    return next(
        (word for kind, word in words.items() if isinstance(value, kind)), "a table"
    )


def _number_problems(values: Mapping[str, Any]) -> Iterator[str]:
    numbers = dict(_numbers(values))
    for name, number in numbers.items():
        if not 0 <= number < math.inf:
            yield f"{name} is {number}: a number >= 0 is expected"
    yield from (
        f"{name} is {numbers[name]}: at most 1" for name in _SHARES if numbers[name] > 1
    )
    yield from (f"{name} has to be above 0" for name in _POSITIVE if numbers[name] == 0)
    yield from (
        f"{name} has to be a whole number" for name in _WHOLE if numbers[name] % 1
    )
    for low, high in _RISING:
        if numbers[low] > numbers[high]:
            yield f"{low} is {numbers[low]}: at most {high}, which is {numbers[high]}"
    for table in ("dimensions", "criteria"):
        if sum(values[table].values()) == 0:
            yield f"the weights of {table} sum to 0"
    for kind, edge in values["edges"].items():
        if not 0 <= edge["lo"] <= edge["p"] <= edge["hi"] <= 1:
            yield f"edges.{kind}: needs 0 <= lo <= p <= hi <= 1"


def _numbers(table: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, float]]:
    """Yield every number of the tables, by its dotted name."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{at}{key}.")
        elif _type(value) == "a number":
            yield f"{at}{key}", value


def _word_problems(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield words outside the data dictionary, and invalid regular expressions."""
    from assess import frames

    tables = values["incidents"]
    for name, column in _WORDS.items():
        meant = frames.columns("incidents")[column].vocabulary or range(1, 6)
        for word, value in tables[name.partition(".")[2]].items():
            if value not in meant:
                yield f"{name}.{word} is {value!r}: one of {', '.join(map(str, meant))} is expected"
    for pattern in [*tables["container_words"], *tables["cause_text"]]:
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            yield f"incidents: {pattern!r} is no regular expression: {error}"


def _check_problems(values: Mapping[str, Any]) -> Iterator[str]:
    yield from _twice("check", values["check"])
    for check in values["check"]:
        name = f"check {check.get('id', '?')}"
        malformed = _row_problems(name, check, _CHECK, _CHECK_MAY)
        yield from malformed
        if malformed:
            continue
        dimension, _, rest = check["id"].partition(".")
        if dimension not in values["dimensions"] or not rest:
            yield f"{name}: the id is a dimension, a dot and a word"
        if not 0 <= check["weight"] < math.inf:
            yield f"{name}: the weight is a number >= 0"
        if check.get("combine", "all") not in _COMBINE:
            yield f"{name}: combine is one of {', '.join(_COMBINE)}"
        if ("ttl_days" in check) != ("dated_by" in check):
            yield f"{name}: ttl_days and dated_by go together"
        asked = {"rule": check["rule"], "applies": check.get("applies", "")}
        if "dated_by" in check:
            asked["dated_by"] = f"days_since({check['dated_by']}) <= 1"
        yield from _rule_problems(name, check["table"], asked)
        yield from _need_problems(name, check["needs"])


def _gate_problems(values: Mapping[str, Any]) -> Iterator[str]:
    yield from _twice("gate", values["gate"])
    checks = [str(check.get("id")) for check in values["check"]] or [""]
    for gate in values["gate"]:
        name = f"gate {gate.get('id', '?')}"
        malformed = _row_problems(name, gate, _GATE, _GATE_MAY)
        yield from malformed
        if malformed:
            continue
        if gate["label"] not in _LABELS:
            yield f"{name}: the label is one of {', '.join(_LABELS)}"
        if gate["fails_when"] not in _FAILS_WHEN or not gate["reasons"]:
            yield f"{name}: it fails when any or all of its reasons hold"
        unless = gate.get("unless", "")
        yield from _rule_problems(name, "workloads", {"unless": unless})
        for reason in gate["reasons"]:
            malformed = _row_problems(f"{name}, a reason", reason, _REASON, _REASON_MAY)
            yield from malformed or _rule_problems(
                name, reason["table"], {"rule": reason["rule"]}
            )
            if not malformed and reason["table"] in rules.TABLES:
                known = rules.columns(reason["table"])
                shows = reason.get("shows", [])
                if reason.get("check", checks[0]) not in checks:
                    yield f"{name}: {_unknown(reason['check'], checks, 'check')}"
                yield from (
                    f"{name}: {_unknown(str(c), known, 'column')}"
                    for c in shows
                    if c not in known
                )


def _board_problems(values: Mapping[str, Any]) -> Iterator[str]:
    yield from _twice("board", values["board"])
    for board in values["board"]:
        name = f"board {board.get('id', '?')}"
        malformed = _row_problems(name, board, _BOARD, _BOARD_MAY)
        yield from malformed
        if not malformed:
            told = weights.problems(board, list(values["criteria"]))
            yield from (f"{name}, {problem}" for problem in told)


def _twice(what: str, rows: list[dict[str, Any]]) -> list[str]:
    counts = Counter(str(row.get("id")) for row in rows)
    return [f"{what} {name} is there {n} times" for name, n in counts.items() if n > 1]


def _row_problems(
    name: str, row: Mapping[str, Any], must: Mapping[str, str], may: Mapping[str, str]
) -> list[str]:
    """List the missing, unknown and mistyped keys of a row of a list of tables."""
    known = {**must, **may}
    return [
        *(f"{name} has no {key}" for key in must if key not in row),
        *(f"{name}: {_unknown(key, known)}" for key in row if key not in known),
        *(
            f"{name}: {key} is {value!r}: {known[key]} is expected"
            for key, value in row.items()
            if key in known and _type(value) != known[key]
        ),
    ]


def _rule_problems(name: str, table: str, asked: Mapping[str, str]) -> Iterator[str]:
    if table not in rules.TABLES:
        yield f"{name}: {_unknown(table, rules.TABLES, 'table')}"
        return
    for key, rule in asked.items():
        problem = rules.problem(rule, table) if rule or key == "rule" else ""
        if problem:
            yield f"{name}, {key}: {problem}"


def _need_problems(name: str, needs: list[str]) -> Iterator[str]:
    for need in needs:
        table, _, column = str(need).partition(".")
        known = set(rules.columns(table)) if table in rules.TABLES else set()
        if column not in known:
            yield f"{name}, needs: {_unknown(str(need), [f'{table}.{c}' for c in known], 'column')}"
