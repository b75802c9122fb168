"""Data of the explorer: scores as columns, every text stored once."""

import ast
from collections.abc import Iterable, Mapping
from math import isnan
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame, Index, MultiIndex

from assess.figures import band_of
from assess.frames import surely
from assess.policy import Policy
from assess.policy.targets import PRICES, STAY
from assess.score.blast_radius.result import BlastRadius
from assess.score.readiness import FLOOR
from assess.score.readiness.gates import HARDNESS
from assess.score.result import Result
from assess.score.targets import Targets, wanted
from assess.score.targets.place import HOURS
from assess.score.what_next import MEETING, MEETING_DRAWS, WhatNext
from assess.score.what_next.flips import Counterfactual, counterfactuals
from assess.score.what_next.labels import GATED_INSIDE, LABELS
from assess.score.what_next.ranking import CHANCES, Ranking
from assess.score.what_next.smaa import GRID, POOL
from assess.untrusted import clean
from assess.words import SHORTER, Json, element_labels, is_unknown, moment

NUMBER_DIGITS = 6  # far beyond what is printed: a number that is rounded twice may differ
TARGET_DIGITS = 4  # there are many
THRESHOLDS = ("move_p", "pilot_p", "ready_points", "pilot_points")
ABOUT = ["owner", "platform", "could_move", "why"]
TINY = 0.5  # stands for a chance below half a percent that is not 0
ATOM = ["check", "state", "source", "observed_at", "evidence"]
GATE = ["gate", "state", "evidence", "fact"]
CHECK = ("question", "why", "remedy", "source")
MINUTES = ["minutes", "expected_minutes_per_year"]
PLACE = ("id", "title", "platform", "patched_by", "replicas", "currency")
SIGNS = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}


def _ends(*names: str) -> list[str]:
    """Return the columns of intervals: lower end, value and upper end."""
    return [f"{name}{end}" for name in names for end in ("_lo", "", "_hi")]


POINTS = _ends("readiness")
IMPACT = _ends("impact")
DELTA = _ends("delta")
MOVE = _ends("readiness", "hours_per_year", "delta", "cost_per_month")
WHERE = [*MOVE, "effort_hours"]
SIZES = _ends("cpu", "memory", "replicas")


class Texts:
    """Texts by number, so that each is written once; -1 is none."""

    def __init__(self) -> None:
        self._at: dict[str, int] = {}

    def __call__(self, value: Any) -> int:
        """Return the number of a text, made safe to show."""
        if is_unknown(value):
            return -1
        text = moment(value) if isinstance(value, pd.Timestamp) else clean(value)
        return self._at.setdefault(text, len(self._at))

    def column(self, values: Iterable[Any]) -> list[int]:
        """Return the numbers of texts."""
        cells = list(values)
        # a text that stands in many rows is looked at once
        numbers = {cell: self(cell) for cell in dict.fromkeys(cells)}
        return [numbers[cell] for cell in cells]

    def table(self, frame: DataFrame) -> list[int]:
        """Return the numbers of a table, row by row."""
        return [self(value) for row in frame.to_numpy(object) for value in row]

    @property
    def all(self) -> list[str]:
        """The texts, by number."""
        return list(self._at)


def payload(
    what_next: WhatNext | None = None,
    readiness: Result | None = None,
    blast: BlastRadius | None = None,
    targets: Targets | None = None,
) -> Json:
    """Return the data of the explorer as plain JSON types; a missing score has no view."""
    given = [
        result for result in (what_next, readiness, blast, targets) if result is not None
    ]
    names = sorted(set().union(*map(_services, given)))
    texts = Texts()
    at = given[0].provenance
    parts: Json = {}
    if what_next is not None:
        parts["rank"] = _ranking(what_next, texts)
    if readiness is not None and at.policy is not None:
        parts["facts"] = _facts(readiness, at.policy, names, texts)
    if what_next is not None and readiness is not None:
        parts["what_if"] = _what_if(what_next, readiness, names, texts)
    if blast is not None:
        parts["blast"] = _blast(blast, names, texts)
    if targets is not None:
        parts["targets"] = _targets(targets, names, texts)
    return {
        "origin": f"{at.quarter}, policy {at.policy_hash}, assess {at.version}",
        "names": [clean(name) for name in names],
        "labels": list(LABELS),
        "bands": {label: band_of(label).word for label in LABELS},
        **parts,
        "texts": texts.all,
    }


def _services(result: Result) -> set[str]:
    if isinstance(result, BlastRadius):
        names = result.topology.services
    else:
        names = result.frame.index.get_level_values("service_id")
    return set(names.astype("str"))


def _numbers(values: Any, digits: int = NUMBER_DIGITS) -> list[float | None]:
    """Return numbers, rounded beyond what is seen; NA is None."""
    cells = np.ravel(values)
    if cells.dtype != float:
        nullable = pd.array(cells.astype(object), dtype="Float64")
        cells = nullable.to_numpy(float, na_value=np.nan)
    rounded = cells.round(digits)
    return [None if isnan(x) else _whole(x) for x in rounded.tolist()]


def _whole(value: float) -> float:
    """Return a whole number as an integer, which is shorter to write."""
    return int(value) if value.is_integer() else value


def _percents(shares: Any) -> list[float]:
    """Return shares [0-1] as the percent that `words.share` prints; a tiny one is `TINY`."""
    values = np.asarray(shares, dtype=float)
    whole = np.rint(100 * values)
    tiny = (values > 0) & (values < TINY / 100)
    shown = np.where(tiny, TINY, whole)
    return [_whole(x) for x in shown.ravel().tolist()]


def _ranking(result: WhatNext, texts: Texts) -> Json:
    """Return criteria on the grid, thresholds, boards, and where each stream of draws begins."""
    policy = result.policy
    ranking = Ranking.of(result.frame, result.details["criteria"], policy)
    frame = result.frame.reindex(ranking.services)
    boards = [dict(board) for board in policy["board"]]
    salts = ["", "neutral", MEETING, *(_salt(board) for board in boards)]
    return {
        "criteria": list(ranking.criteria),
        "lo": _on_grid(ranking.worst),
        "hi": _on_grid(ranking.best),
        "gates": texts.column(ranking.gates),
        "inside": ranking.inside.astype(int).tolist(),
        "points": _numbers(frame[POINTS]),
        "label": [LABELS.index(label) for label in frame["label"]],
        "chances": _numbers(frame[CHANCES]),
        "about": texts.table(frame[ABOUT]),
        "k": ranking.k,
        "draws": policy.draws,
        "meeting": {"salt": MEETING, "draws": MEETING_DRAWS},
        "pool": POOL,
        "bars": {name: policy["what_next"][name] for name in THRESHOLDS},
        "gated_inside": GATED_INSIDE,
        "boards": [{**board, "salt": _salt(board)} for board in boards],
        "streams": {salt: _stream(ranking, salt) for salt in salts},
    }


def _salt(board: Mapping[str, Any]) -> str:
    return str(board.get("id", "")) or "board"


def _stream(ranking: Ranking, salt: str) -> list[str]:
    state: Any = ranking.generator(salt).bit_generator.state
    return [f"{state['state'][name]:032x}" for name in ("state", "inc")]


def _on_grid(values: Any) -> list[int]:
    steps = np.rint(np.ravel(values) * GRID)
    return steps.astype(int).tolist()


def _facts(readiness: Result, policy: Policy, names: list[str], texts: Texts) -> Json:
    """Return checks and gates of the policy, and by service their answers with the evidence."""
    checks = [check["id"] for check in policy["check"]]
    gates = [gate["id"] for gate in policy["gate"]]
    atoms = readiness.details["atoms"].reindex(columns=["service_id", *ATOM])
    judged = readiness.details["gates"]
    return {
        "checks": [
            {"id": check["id"], "table": check["table"]}
            | {name: check.get(name, "") for name in CHECK}
            for check in policy["check"]
        ],
        "gates": [
            {name: gate.get(name, "") for name in ("id", "title", "label", "remedy")}
            for gate in policy["gate"]
        ],
        "atoms": _by_service(atoms, names, ATOM, checks, texts),
        "judged": _by_service(judged, names, GATE, gates, texts),
    }


def _by_service(
    table: DataFrame,
    names: list[str],
    columns: list[str],
    ids: list[str],
    texts: Texts,
) -> list[list[int]]:
    """Return by service its rows, one after the other: the place of the id, then texts."""
    id_column, *others = columns
    numbers = [Index(ids).get_indexer(table[id_column].astype("str"))]
    numbers += [np.array(texts.column(table[name].tolist())) for name in others]
    services = table["service_id"].astype("str").tolist()
    rows: dict[str, list[int]] = {name: [] for name in names}
    for service, row in zip(services, np.column_stack(numbers).tolist(), strict=True):
        rows[service] += row
    return list(rows.values())


def _what_if(
    what_next: WhatNext, readiness: Result, names: list[str], texts: Texts
) -> Json:
    """Return by service its possible changes, and the needs of every gate."""
    policy = what_next.policy
    ranking = Ranking.of(what_next.frame, what_next.details["criteria"], policy)
    cases: list[Json | None] = [None] * len(names)
    place = {name: at for at, name in enumerate(names)}
    for at, service in counterfactuals(ranking, readiness, policy):
        cases[place[ranking.services[at]]] = _case(service, texts)
    return {"floor": FLOOR, "hardness": HARDNESS, "cases": cases}


def _case(service: Counterfactual, texts: Texts) -> Json:
    return {
        "items": texts.column(service.items),
        "facts": texts.column(fact or None for fact in service.facts),
        "fixable": service.fixable.astype(int).tolist(),
        "gains": _numbers(service.gains),
        "unknowns": _numbers(service.unknowns),
        "earned": service.earned.tolist(),
        "unknown": service.unknown.tolist(),
        "total": service.total.tolist(),
        "shares": service.shares.tolist(),
        "gates": [
            [
                HARDNESS[gate.label],
                gate.fails_when,
                [
                    [int(r.holds), r.item, rule_tree(r.rule) if r.rule else None]
                    for r in gate.reasons
                ],
            ]
            for gate in service.gates
        ],
    }


def rule_tree(rule: str) -> Any:
    """Return a rule about coverage as nested lists; None for any other rule."""
    try:
        return _tree(ast.parse(rule.strip(), mode="eval").body)
    except KeyError:
        return None


def _tree(node: ast.expr) -> Any:
    match node:
        case ast.BoolOp():
            word = "and" if isinstance(node.op, ast.And) else "or"
            return [word, *map(_tree, node.values)]
        case ast.UnaryOp(op=ast.Not()):
            return ["not", _tree(node.operand)]
        case ast.Compare():
            ends = [_tree(part) for part in (node.left, *node.comparators)]
            signs = [SIGNS[type(op)] for op in node.ops]
            pairs = zip(signs, ends[:-1], ends[1:], strict=True)
            return ["and", *map(list, pairs)]
        case ast.Name():
            return node.id
        case ast.Constant(value=float() | int()):
            return node.value
    raise KeyError(type(node).__name__)


def _blast(blast: BlastRadius, names: list[str], texts: Texts) -> Json:
    """Return elements, the services that each can take down, and the edges between services."""
    topology = blast.topology
    elements = topology.elements
    kinds = elements.get_level_values(0)
    frame = blast.shown.reindex(elements)
    nodes = list(topology.nodes)
    edges = topology.edges
    services = blast.details["services"].reindex(names)
    return {
        "kinds": texts.column(kinds),
        "elements": texts.column(elements.get_level_values(1)),
        "impact": _numbers(100 * frame[IMPACT].astype("Float64")),
        "next": _numbers(100 * frame[["next_lo", "next_hi"]].astype("Float64")),
        "how": texts.column(blast.how.reindex(elements)),
        "nodes": texts.column(nodes),
        "shorter": [[long, by.replace("\\", "$")] for long, by in SHORTER.items()],
        "affected": _affected(blast),
        "edges": [topology.callee.tolist(), topology.caller.tolist()],
        "p": [_numbers(edges[level]) for level in ("point", "hi")],
        "direct": [column.tolist() for column in topology.initial_failures["point"]],
        "placed": Index(names).isin(topology.placed).astype(int).tolist(),
        "frozen": _pairs(blast.details["frozen"], blast),
        "moves": _moves(blast, texts),
        "exposure": _numbers(services[["exposure_n", "exposure_hi"]]),
        "minutes": _numbers(services[MINUTES]),
        "delta": _numbers(100 * services[DELTA].astype("Float64")),
    }


def _affected(blast: BlastRadius) -> list[list[Any]]:
    """Return element, service and the three chances in percent, as columns."""
    table = blast.details["affected"]
    chances = [_percents(table[name]) for name in ("p_lo", "p_down", "p_hi")]
    return [*_pairs(table, blast), *chances]


def _pairs(table: DataFrame, blast: BlastRadius) -> list[list[int]]:
    """Return element and service, as columns; -1 is an element that is not there yet."""
    return [places.tolist() for places in blast.topology.positions(table)]


def _moves(blast: BlastRadius, texts: Texts) -> list[list[int]]:
    """Return the elements that a move leaves (-1) and joins (1): element, service, sign, words."""
    table = blast.details["relocation"]
    words = element_labels(table["element_kind"], table["element"])
    signs = table["sign"].astype(int).tolist()
    return [*_pairs(table, blast), signs, texts.column(words)]


def _targets(targets: Targets, names: list[str], texts: Texts) -> Json:
    policy = targets.policy
    places = targets.details["targets"]
    ids = [str(name) for name in places["id"]]
    prices = {
        row["id"]: {name: row["prices"].get(name) for name in PRICES}
        for row in wanted(policy)
    }
    cells = MultiIndex.from_product([names, ids], names=["service_id", "target"])
    frame = targets.frame.reindex(cells)
    numbers = frame.assign(**{end: 100 * frame[end] for end in DELTA})
    sizes = targets.details["sizes"].reindex(names)[SIZES]
    verdicts = sorted(frame["verdict"].dropna().astype("str").unique())
    return {
        "places": [
            {**{name: row[name] for name in PLACE}, "prices": prices[row["id"]]}
            for row in places.to_dict("records")
        ],
        "verdicts": verdicts,
        "verdict": [
            -1 if is_unknown(word) else verdicts.index(word) for word in frame["verdict"]
        ],
        "blockers": [
            texts.column(filter(None, str(words).split("; ")))
            for words in frame["blockers"].fillna("")
        ],
        "dominated": surely(frame["dominated"]).astype(int).tolist(),
        "columns": WHERE,
        "numbers": _numbers(numbers[WHERE], TARGET_DIGITS),
        "hours": HOURS,
        "sizes": _numbers(sizes),
        "stay": STAY,
    }
