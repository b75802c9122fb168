"""What is wrong with the values of a policy: types, numbers, words, rules and boards."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from numbers import Real
from typing import Any

from assess import frames
from assess.config import Table
from assess.errors import with_nearest
from assess.linear import Linear
from assess.policy import rules
from assess.policy.targets import SHAPES, target_problems

ANY = "*"  # in an example: keys that anybody may add
_MAY = SHAPES["may"]
_GATE_LISTS = {
    "reasons": [SHAPES["reason"] | _MAY["reason"]],
    "notes": [SHAPES["note"] | _MAY["note"]],
}
ROWS = {
    "check": SHAPES["check"] | _MAY["check"],
    "gate": SHAPES["gate"] | _MAY["gate"] | _GATE_LISTS,
    "board": SHAPES["board"] | _MAY["board"],
    "targets": SHAPES["target"],
    "refusal": SHAPES["refusal"],
}
WORDS = SHAPES["words"]
VALUES = SHAPES["values"]
_DAYS = 36_500
_LARGEST = 1e15
_COMBINE = ("all", "any", "share")
_FAILS_WHEN = ("any", "all")
_LABELS = ("NEVER", "HOLD", "PREPARE", "NOT DECIDABLE")
_BOARD_KINDS = ("order", "intervals", "weights")
SLACK = 1e-9  # of sums that should be 1


# Types


def fitting(value: Any, example: Any, name: str = "") -> tuple[Any, list[str]]:
    """Return the part of a value that has the types of an example, and problems of the rest."""
    if _type(value) != _type(example):
        what = f"{name} is" if name else "it is"
        return None, [f"{what} {value!r}: {_type(example)} is expected"]
    if isinstance(value, Mapping):
        return _fitting_table(value, example, f"{name}." if name else "")
    if isinstance(value, list):
        return _fitting_list(value, example[0] if example else "", name)
    return value, []


def _fitting_table(table: Table, example: Table, at: str) -> tuple[Any, list[str]]:
    kept = {}
    problems = []
    for key, value in table.items():
        if key not in example and ANY not in example:
            known = [f"{at}{name}" for name in example]
            problems.append(_unknown(f"{at}{key}", known))
            continue
        fits, wrong = fitting(value, example.get(key, example.get(ANY)), f"{at}{key}")
        if fits is not None:
            kept[key] = fits
        problems += wrong
    return kept, problems


def _fitting_list(items: list[Any], example: Any, name: str) -> tuple[Any, list[str]]:
    kept = []
    problems = []
    for number, item in enumerate(items, start=1):
        whose = f"an item of {name}"
        fits, wrong = fitting(item, example, "" if isinstance(example, dict) else whose)
        if isinstance(example, dict):
            row = item.get("id", number) if isinstance(item, Mapping) else number
            wrong = [f"{name} {row}: {problem}" for problem in wrong]
        if fits is not None:
            kept.append(fits)
        problems += wrong
    if isinstance(example, dict) and "id" in example:
        counts = Counter(row["id"] for row in kept if "id" in row)
        twice = [one for one, n in counts.items() if n > 1]
        problems += [f"{name} {one} is there {counts[one]} times" for one in twice]
    return kept, problems


def _type(value: object) -> str:
    match value:
        # before int: in Python, a bool is an int as well
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case Mapping():
            return "a table"
    return "something else"


def _unknown(key: str, known: Iterable[str], what: str = "key") -> str:
    return with_nearest(f"unknown {what} {key}", key, known)


# Values of the right types


def problems_of(values: Table) -> Iterator[str]:
    """List what is wrong with a complete policy whose values have the right types."""
    cells = dict(_cells(values))
    yield from _number_problems(values, cells)
    yield from _word_problems(values, cells)
    for check in values["check"]:
        whose = f"check {check.get('id', '?')}"
        missing = _missing(check, SHAPES["check"], whose)
        # the other rules read keys that have to be there
        yield from missing or _check_problems(whose, check, values)
    for gate in values["gate"]:
        whose = f"gate {gate.get('id', '?')}"
        missing = _missing(gate, SHAPES["gate"], whose)
        for kind in ("reason", "note"):
            for row in gate.get(f"{kind}s", ()):
                missing += _missing(row, SHAPES[kind], f"{whose}, a {kind}")
        yield from missing or _gate_problems(whose, gate, values)
    for row in values["refusal"]:
        whose = f"refusal {row.get('id', '?')}"
        missing = _missing(row, SHAPES["refusal"], whose)
        asked = {} if missing else {"rule": row["rule"]}
        yield from missing or _rule_problems(whose, row["table"], asked)
    yield from target_problems(values)
    for board in values["board"]:
        whose = f"board {board.get('id', '?')}"
        yield from _missing(board, SHAPES["board"], whose)
        for problem in board_problems(board, list(values["criteria"])):
            yield f"{whose}, {problem}"


def _missing(row: Table, required: Table, whose: str) -> list[str]:
    return [f"{whose} has no {key}" for key in required if key not in row]


def _number_problems(values: Table, cells: Table) -> Iterator[str]:
    numbers = {name: cell for name, cell in cells.items() if _type(cell) == "a number"}
    for name, number in numbers.items():
        if not 0 <= number < math.inf:
            yield f"{name} is {number}: a number >= 0 is expected"
        elif number > (most := SHAPES["at_most"].get(name, _LARGEST)):
            yield f"{name} is {number}: at most {most:g}"
    for name in VALUES["positive"]:
        if numbers[name] == 0:
            yield f"{name} has to be above 0"
    for name in VALUES["whole"]:
        if numbers[name] % 1:
            yield f"{name} has to be a whole number"
    yield from _sum_problems(values, numbers)


def _sum_problems(values: Table, numbers: Mapping[str, float]) -> Iterator[str]:
    """Yield numbers that contradict each other."""
    for low, high in VALUES["rising"]:
        if numbers[low] > numbers[high]:
            yield f"{low} is {numbers[low]}: at most {high}, which is {numbers[high]}"
    for table in ("dimensions", "criteria"):
        if sum(values[table].values()) == 0:
            yield f"the weights of {table} sum to 0"
    for kind, edge in values["edges"].items():
        if not 0 <= edge["lo"] <= edge["p"] <= edge["hi"] <= 1:
            yield f"edges.{kind}: needs 0 <= lo <= p <= hi <= 1"


def _cells(table: Table, at: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value by its dotted name, tables included."""
    for key, value in table.items():
        yield f"{at}{key}", value
        if isinstance(value, Mapping):
            yield from _cells(value, f"{at}{key}.")


def _word_problems(values: Table, cells: Table) -> Iterator[str]:
    """Yield unknown words, invalid patterns and invalid days."""
    for table, column in WORDS.items():
        # severity has no vocabulary: it is a number from 1 to 5
        meant = frames.columns("incidents")[column].vocabulary or range(1, 6)
        listed = ", ".join(map(str, meant))
        for word, value in values["incidents"][table].items():
            if value not in meant:
                yield f"incidents.{table}.{word} is {value!r}: one of {listed} is expected"
    for name, known in VALUES["words"].items():
        if cells[name] not in known:
            yield f"{name} is {cells[name]!r}: one of {', '.join(known)} is expected"
    for name in VALUES["patterns"]:
        patterns = cells[name]
        for pattern in [patterns] if isinstance(patterns, str) else patterns:
            try:
                Linear(pattern)
            except ValueError as error:
                yield f"{name}: {pattern!r} is no regular expression: {error}"
    for name in VALUES["dates"]:
        try:
            date.fromisoformat(cells[name])
        except ValueError:
            yield f"{name} is {cells[name]!r}: a day, such as 2019-01-01, is expected"


def _shown_problems(whose: str, row: Table) -> Iterator[str]:
    """List the columns in ``shows`` of a check or a reason that its table does not have."""
    table = row["table"]
    known = rules.columns(table) if table in rules.TABLES else {}
    for column in row.get("shows", ()):
        if known and column not in known:
            yield f"{whose}: {_unknown(column, known, 'column')}"


def _check_problems(whose: str, check: Table, values: Table) -> Iterator[str]:
    dimension, _, rest = check["id"].partition(".")
    if dimension not in values["dimensions"] or not rest:
        yield f"{whose}: the id is a dimension, a dot and a word"
    if not 0 <= check["weight"] <= _LARGEST:
        yield f"{whose}: the weight is a number >= 0"
    if check.get("combine", "all") not in _COMBINE:
        yield f"{whose}: combine is one of {', '.join(_COMBINE)}"
    if ("ttl_days" in check) != ("dated_by" in check):
        yield f"{whose}: ttl_days and dated_by go together"
    if not 0 <= check.get("ttl_days", 0) <= _DAYS:
        yield f"{whose}: ttl_days is a number from 0 to {_DAYS}"
    asked = {"rule": check["rule"], "applies": check.get("applies", "")}
    if "dated_by" in check:
        # a rule that fits only a column of times
        asked["dated_by"] = f"days_since({check['dated_by']}) <= 1"
    yield from _rule_problems(whose, check["table"], asked)
    yield from _shown_problems(whose, check)
    for need in check["needs"]:
        table, _, column = need.partition(".")
        known = rules.columns(table) if table in rules.TABLES else {}
        if column not in known:
            names = [f"{table}.{name}" for name in known]
            yield f"{whose}, needs: {_unknown(need, names, 'column')}"


def _gate_problems(whose: str, gate: Table, values: Table) -> Iterator[str]:
    checks = [check.get("id", "") for check in values["check"]]
    if gate["label"] not in _LABELS:
        yield f"{whose}: the label is one of {', '.join(_LABELS)}"
    if gate["fails_when"] not in _FAILS_WHEN or not gate["reasons"]:
        yield f"{whose}: it fails when any or all of its reasons hold"
    yield from _rule_problems(whose, "workloads", {"unless": gate.get("unless", "")})
    for reason in (*gate["reasons"], *gate.get("notes", ())):
        table = reason["table"]
        yield from _rule_problems(whose, table, {"rule": reason["rule"]})
        yield from _shown_problems(whose, reason)
        if "check" in reason and reason["check"] not in checks:
            yield f"{whose}: {_unknown(reason['check'], checks, 'check')}"


def _rule_problems(whose: str, table: str, asked: Mapping[str, str]) -> Iterator[str]:
    if table not in rules.TABLES:
        yield f"{whose}: {_unknown(table, rules.TABLES, 'table')}"
        return
    for key, rule in asked.items():
        problem = rules.problem(rule, table) if rule or key == "rule" else ""
        if problem:
            yield f"{whose}, {key}: {problem}"


def board_problems(board: Table, criteria: Sequence[str]) -> Iterator[str]:
    """List what is wrong with the ``order``, ``intervals`` or ``weights`` of a board."""
    given = [kind for kind in _BOARD_KINDS if board.get(kind)]
    if len(given) > 1:
        yield f"has {' and '.join(given)}: one of {', '.join(_BOARD_KINDS)} is enough"
    for kind in given:
        for name in board[kind]:
            if name not in criteria:
                yield f"{kind}: {_unknown(name, criteria, 'criterion')}"
    for name, n in Counter(board.get("order", ())).items():
        if n > 1:
            yield f"order: impossible, {name} would have to weigh more than itself"
    yield from _interval_problems(board.get("intervals", {}), criteria)
    weights = board.get("weights", {})
    wrong = [name for name, weight in weights.items() if not _is_share(weight, _LARGEST)]
    for name in wrong:
        yield f"weights.{name}: a number >= 0 is expected"
    if weights and not wrong and sum(weights.values()) == 0:
        yield "weights: they sum to 0"


def _interval_problems(
    intervals: Mapping[str, Sequence[float]], criteria: Sequence[str]
) -> Iterator[str]:
    wrong = [name for name, pair in intervals.items() if not _is_interval(pair)]
    for name in wrong:
        yield f"intervals.{name}: needs [lo, hi] with 0 <= lo <= hi <= 1"
    if wrong or not intervals:
        return
    low = sum(pair[0] for pair in intervals.values())
    # a criterion without an interval may have any weight
    high = sum(intervals.get(name, (0, 1))[1] for name in criteria)
    if low > 1 + SLACK or high < 1 - SLACK:
        yield (
            f"intervals: impossible, the lower ends sum to {low:.3g} and the upper ends to "
            f"{high:.3g}; 1 has to lie between"
        )


def _is_interval(pair: Any) -> bool:
    # a notebook hands in what no type of a policy file has checked
    is_pair = isinstance(pair, list | tuple) and len(pair) == 2
    return is_pair and all(map(_is_share, pair)) and pair[0] <= pair[1]


def _is_share(value: Any, most: float = 1) -> bool:
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    return is_number and 0 <= value <= most
