"""Change rates: how often engines moved over a series of snapshots, and images by who makes them.

An image of a registry that others fill moves by itself, one's own when one deploys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from assess.score.incidents.rates import Interval, jeffreys_rate
from assess.score.upgrade_churn.history import (
    ROLLBACK,
    History,
    ImageMove,
    Spans,
    days_in,
    holds,
)
from assess.score.upgrade_churn.image_changes import is_third_party, written

PARTIES = {"third": True, "first": False}
YEAR_DAYS = 365.25
ENDS = ("", "_lo", "_hi")
CHANGES = ["service_id", "before", "after", "change", "third_party"]
MOVES = ["component", "name", "change", "after_at", "before_at"]
PACE = [
    "component",
    "changes_n",
    "rollbacks_n",
    "watched_years",
    *(f"per_year{e}" for e in ENDS),
]


def image_changes(history: History, registries: Mapping[str, Any]) -> pd.DataFrame:
    """List the images of every service that changed over a history, each change once.

    ``service_id, before, after`` (references as written), ``change`` as
    `assess.reference.image_change` has it, ``third_party``. A service that only one of two
    neighbouring snapshots saw was not compared.
    """
    rows = [
        (m.service_id, written(m.was), written(m.now), m.change, _is_third(m, registries))
        for m in sorted(history.moved, key=lambda move: (move.service_id, move.after))
    ]
    kinds = dict.fromkeys(CHANGES[:-1], "str") | {"third_party": "boolean"}
    table = pd.DataFrame(rows, columns=CHANGES).astype(kinds)
    return table.drop_duplicates(ignore_index=True)


def image_rates(
    history: History, services: pd.Index, registries: Mapping[str, Any], *, level: float
) -> pd.DataFrame:
    """Return how often a year the images of every service changed, by who makes them.

    Index ``services``; ``third_party_changes_n`` and ``first_party_changes_n`` [count], and
    ``…_changes_per_year`` with ``_lo, _hi`` [per year]: changes over the time between snapshots
    that both saw the images, Jeffreys' interval. NA where no time was watched: a floating tag
    without a digest may move unseen.
    """
    counts = Counter((m.service_id, _is_third(m, registries)) for m in _watched(history))
    rows = [
        [
            cell
            for third in PARTIES.values()
            for cell in _changes(
                counts[name, third], history.services.get(name, ()), level
            )
        ]
        for name in services
    ]
    names = [
        f"{party}_party_changes_{what}"
        for party in PARTIES
        for what in ("n", *(f"per_year{end}" for end in ENDS))
    ]
    kinds = {name: "Int64" if name.endswith("_n") else "Float64" for name in names}
    return pd.DataFrame(rows, index=services, columns=names).astype(kinds)


def _changes(count: int, watched: Spans, level: float) -> tuple[Any, ...]:
    if not watched:
        return (pd.NA,) * 4
    return count, *observed_rate(count, days_in(watched) / YEAR_DAYS, level=level)


def observed_rate(count: float, years: float, *, level: float) -> Interval:
    """Return the rate as counted, in Jeffreys' interval [per year]."""
    _, lo, hi = jeffreys_rate(count, years, level=level)
    return Interval(count / years, lo, hi)


def moves(history: History, registries: Mapping[str, Any]) -> pd.DataFrame:
    """List every change of the history.

    ``component`` (engine, third-party image, first-party image), ``name`` (host or service),
    ``change``, ``after_at, before_at`` [UTC; the same where the moment was recorded].
    """
    rows = [("engine", m.host_id, m.change, m.after, m.before) for m in history.moves]
    rows += [
        (_component(_is_third(m, registries)), m.service_id, m.change, m.after, m.before)
        for m in history.moved
    ]
    kinds = dict.fromkeys(MOVES[:3], "str") | dict.fromkeys(
        MOVES[3:], "datetime64[us, UTC]"
    )
    table = pd.DataFrame(rows, columns=MOVES).astype(kinds)
    return table.sort_values(
        ["component", "after_at", "name"], kind="stable", ignore_index=True
    )


def fleet_pace(
    history: History, registries: Mapping[str, Any], *, level: float
) -> pd.DataFrame:
    """Return how often a year engines and images of the whole fleet changed.

    A row per component as `moves` names them: ``changes_n`` without and ``rollbacks_n`` [count],
    ``watched_years`` [host-years of engines, service-years of images], ``per_year`` with ``_lo,
    _hi`` [changes per host or service and year; NaN where nobody watched].
    """
    engines = [
        m for m in history.moves if holds(history.hosts.get(m.host_id, ()), m[1:3])
    ]
    counts = Counter(("engine", m.change == ROLLBACK) for m in engines)
    for move in _watched(history):
        counts[_component(_is_third(move, registries)), move.change == ROLLBACK] += 1
    watched = {"engine": history.hosts} | {
        _component(t): history.services for t in PARTIES.values()
    }
    rows = []
    for component, spans in watched.items():
        years = sum(map(days_in, spans.values())) / YEAR_DAYS
        count, backs = counts[component, False], counts[component, True]
        rate = observed_rate(count, years, level=level) if years else (float("nan"),) * 3
        rows.append((component, count, backs, years, *rate))
    return pd.DataFrame(rows, columns=PACE)


def _watched(history: History) -> list[ImageMove]:
    """Keep what changed while all images of its service were watched."""
    spans = history.services
    return [
        move
        for move in history.moved
        if holds(spans.get(move.service_id, ()), (move.after, move.before))
    ]


def _is_third(move: ImageMove, registries: Mapping[str, Any]) -> bool:
    public, own = registries["public"], registries["own_namespaces"]
    return is_third_party(move.now, public=public, own=own)


def _component(is_third: bool) -> str:
    return f"{'third' if is_third else 'first'}-party image"
