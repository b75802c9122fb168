"""The result: impact by element, and in words why a service fails and what a move does."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable
from dataclasses import field, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

from assess.errors import AssessError
from assess.score import frozen
from assess.score.blast_radius.placement import KINDS
from assess.score.blast_radius.topology import Element, Topology
from assess.score.result import Explanation, Result, plain_by, with_ends
from assess.words import Json, element_label, element_name, number, records, sentence_list

if TYPE_CHECKING:
    from assess.report.explorer import Explorer
    from assess.score.blast_radius.learning import Failures

IMPACTS = with_ends("impact")
BOUND = "lower bound"
COLUMNS = ["service_id", "because", "kinds", "p"]
NAMED_MOST = 8  # names in a sentence; the rest is a number


@frozen
class BlastRadius(Result):
    """The impact of the failure of each element; see `score_blast_radius`.

    ``evidence`` is what it learned from: failures on the topology that the policy declares.
    """

    topology: Topology = field(kw_only=True)
    evidence: Failures = field(kw_only=True)

    name = "blast_radius"
    summary_columns = (*IMPACTS, "exact", "services_down_n", "frozen_n")

    @property
    def shown(self) -> DataFrame:
        """`frame`, in which the impact of what no source looked into is unknown."""
        is_known = ~self.frame.index.isin(self.topology.unlooked)
        shown = self.frame[is_known].reindex(self.frame.index)
        # how it was computed stays true or false
        return shown.assign(exact=self.frame["exact"])

    @property
    def how(self) -> Series:
        """By element, how its impact was computed: exact, by draws, or a lower bound; or unknown."""
        shown = self.shown
        cases = [shown["impact"].isna(), shown["exact"], shown["se"].isna()]
        how = np.select(cases, ["unknown", "exact", BOUND], "draws")
        return Series(how, self.frame.index, dtype="str", name="how")

    def summary(self) -> DataFrame:
        """Return the few columns that a meeting needs; where some are lower bounds, `how` as well."""
        table = super().summary()
        return table.join(self.how) if self.how.eq(BOUND).any() else table

    @property
    def services(self) -> DataFrame:
        """Per service: impact, exposure, failure rate, recovery time, effect of the planned move."""
        return self.details["services"]

    def row(self, service_id: str) -> Series:
        """Return the row of a service in `services`; see `Result.row`."""
        return Result.row(replace(self, frame=self.services), service_id)

    def rows(self) -> list[Json]:
        """Return one dictionary per element: its columns, affected services and frozen services.

        A service also has its columns in `services`.
        """
        key = ["element_kind", "element"]
        affected = plain_by(self.details["affected"].query("p_down > 0"), key)
        frozen = self.details["frozen"].groupby(key)["service_id"].agg(list).to_dict()
        scored = self.services.drop(columns=IMPACTS)
        services = dict(zip(scored.index, records(scored), strict=True))
        rows = []
        for row in super().rows():
            kind = row["element_kind"]
            name = row["element"]
            row["affected"] = affected.get((kind, name), [])
            row["frozen"] = frozen.get((kind, name), [])
            row["callers_seen"] = None  # only services have callers
            if kind == "service":
                row.update(services[name])
            rows.append(row)
        return rows

    def paths(self, element_kind: str, element: str, service: str) -> DataFrame:
        """Return the most probable path from an element that fails to a service.

        Parameters
        ----------
        element_kind, element : str
            The element that fails.
        service : str
            The service.

        Returns
        -------
        DataFrame
            First step first: ``service_id, because`` (an element that takes its replicas, or a
            service that it needs), ``kinds`` of the dependency, ``p`` of the step. Empty where the
            service cannot be reached.
        """
        return most_probable_path(self.topology, (element_kind, element), service)

    def explain_path(
        self, element_kind: str, element: str, service_id: str
    ) -> Explanation:
        """Explain how the failure of an element reaches a service.

        Parameters
        ----------
        element_kind, element : str
            The element that fails.
        service_id : str
            The service.

        Returns
        -------
        Explanation
            The chance and the most probable path; the table is that of `paths`.

        Raises
        ------
        AssessError
            If there is no such element or service; the hint names the nearest.
        """
        self.row(service_id)
        check_element(self.topology, element_kind, element)
        steps = self.paths(element_kind, element, service_id)
        pair = self.details["affected"].query(
            "element_kind == @element_kind and element == @element "
            "and service_id == @service_id"
        )
        title = f"{element_label(element_kind, element)} and {service_id}"
        return Explanation(title, reach_text(steps, pair, service_id), steps)

    def explore(self, element: str = "", *others: Result) -> Explorer:
        """Return the explorer: services that fail with an element, the paths and probabilities.

        Parameters
        ----------
        element : str, default ""
            Kind and name of an element to begin with, such as ``host:h1``; a name alone is a
            service.
        *others : Result
            The ranking, readiness and targets of the same snapshot, for their views.

        Returns
        -------
        Explorer
            Shows itself in a notebook, also in one that was exported; ``save_html`` writes it.

        Raises
        ------
        AssessError
            If there is no such element; the hint names the nearest.
        """
        if not element:
            return self._explorer(others, "blast")
        kind, colon, name = element.partition(":")
        if not colon or kind not in KINDS:
            kind = "service"
            name = element
        check_element(self.topology, kind, name)
        return self._explorer(others, "fails", kind, name)

    def explain(self, service_id: str) -> Explanation:
        """Explain what a service takes down, what takes it down, how often and for how long.

        The table lists the elements that can take it down, most probable first.
        """
        row = self.row(service_id)
        affected = self.details["affected"]
        is_hit = affected["service_id"] == service_id
        is_cause = affected["element_kind"] == "service"
        is_cause &= affected["element"] == service_id
        causes = affected[is_hit & ~is_cause]
        causes = causes.astype({"element_kind": "str", "element": "str"})
        causes = causes.sort_values(
            "p_down", ascending=False, kind="stable", ignore_index=True
        )
        causes["because"] = [
            path_text(self.paths(e.element_kind, e.element, service_id))
            for e in causes.itertuples()
        ]
        lines = sentences(service_id, row, affected[is_cause & ~is_hit], causes)
        if self.how[("service", service_id)] == BOUND:
            lines.append(
                "What it loses is a lower bound, by the most probable way to each "
                "service: `assess explain --score blast-radius` simulates it."
            )
        if not is_cause.any():
            lines.append(
                "What goes down with it is not listed: raise `blast_radius.pairs_max`."
            )
        title = f"{service_id}: blast radius {percent(row, 'impact')} percent"
        return Explanation(title, "\n".join(lines), causes.drop(columns="service_id"))


def most_probable_path(topology: Topology, element: Element, service: str) -> DataFrame:
    """Return the path by the edges' point, else upper end: ``service_id, because, kinds, p``."""
    for level in ("point", "hi"):
        steps = _steps(topology, element, service, level)
        if steps:
            return DataFrame(steps, columns=COLUMNS)
    return DataFrame(columns=COLUMNS)


def _steps(
    topology: Topology, element: Element, service: str, level: str
) -> list[tuple[str, str, str, float]]:
    from scipy.sparse.csgraph import dijkstra

    start = np.flatnonzero(topology.initially_down([element], level)[0])
    if not len(start):
        return []
    p = topology.edges[level].to_numpy()
    with np.errstate(divide="ignore"):  # an impossible edge costs without end
        # the small cost of a step makes the shortest of equal paths win
        costs = topology.matrix(-np.log(p) + 1e-9)
    _, before, _ = dijkstra(costs, indices=start, return_predecessors=True, min_only=True)
    path = [int(topology.nodes.get_loc(service))]
    while before[path[-1]] >= 0:
        path.append(int(before[path[-1]]))
    if path[-1] not in start:
        return []
    names = topology.nodes[path[::-1]]
    steps = []
    if element[0] not in ("service", "ext"):
        steps.append((names[0], " ".join(element), "replicas", 1.0))
    edges = topology.edges.set_index(["dst", "src"])
    for callee, caller in itertools.pairwise(names):
        edge = edges.loc[(callee, caller)]
        steps.append((caller, callee, edge["kinds"], edge[level]))
    return steps


def check_element(topology: Topology, kind: str, name: str) -> None:
    """Raise `AssessError` with the nearest names where the fleet has no such element."""
    if (kind, name) in topology.elements:
        return
    names = [f"{k}:{n}" for k, n in topology.elements]
    near = difflib.get_close_matches(f"{kind}:{name}", names, n=3) or names[:1]
    raise AssessError(
        f"there is no element {kind}:{name} in this result",
        hint=f"write KIND:NAME, such as {', '.join(near)}; kinds: {', '.join(KINDS)}",
    )


def reach_text(steps: DataFrame, pair: DataFrame, service: str) -> str:
    """Describe how a failure reaches a service; ``pair`` is its row in ``affected``, or empty."""
    if pair.empty:
        return f"No path: {service} stays up, by all that is known."
    p, lo, hi = pair[["p_down", "p_lo", "p_hi"]].iloc[0]
    chance = f"{service} goes down with probability {p:.2f} ({lo:.2f} to {hi:.2f})"
    if steps.empty and pair["element"].iloc[0] == service:
        return f"{chance}: it is what fails."
    if steps.empty:
        return f"{chance}, by no path that is known: it went down with it before."
    return f"{chance}; the likeliest path: {path_text(steps)}."


def path_text(steps: DataFrame) -> str:
    """Return a path such as ``host h1 -> database -> shop``."""
    if steps.empty:
        return ""
    first = element_name(str(steps["because"].iloc[0]))
    return " -> ".join([first, *steps["service_id"].astype("str")])


def percent(row: Series, name: str, *, sign: str = "") -> str:
    """Return a share and its interval in percent, such as ``12 (10 to 20)``, or "unknown"."""
    point, lo, hi = (number(100 * v, signed=bool(sign)) for v in row[with_ends(name)])
    return point if point == lo == hi else f"{point} ({lo} to {hi})"


def sentences(
    service_id: str, row: Series, takes_down: DataFrame, taken_down_by: DataFrame
) -> list[str]:
    """Describe what a service takes down, what takes it down, and what a move does.

    ``row`` is that of the result's ``services``; the frames are rows of ``affected``.
    """
    reach = takes_down.loc[takes_down["p_down"] > 0, "service_id"].astype("str")
    text = [
        f"When {service_id} fails, {percent(row, 'impact')} percent of the fleet's criticality "
        f"is lost; it can reach {_names(reach) or 'no other service that is known'}."
    ]
    if pd.isna(row["exposure_n"]):
        text.append(
            "Where it runs is unknown: any host, zone or engine may take it down."
        )
    single = [
        element_label(e.element_kind, e.element)
        for e in taken_down_by[taken_down_by["p_down"] > 0].itertuples()
    ]
    if single:
        text.append(f"Each of these can take it down alone: {_names(single)}.")
    if not row["dependencies_observed"]:
        text.append(
            "Nobody observed what it depends on: none declared is unknown, not safe."
        )
    text.append(_recovery(row))
    if pd.notna(row["delta_lo"]):
        text.append(
            f"The move to the target changes what infrastructure can take down through it by "
            f"{percent(row, 'delta', sign='+')} percentage points (negative: containment gained)."
        )
    return text


def _names(names: Iterable[str]) -> str:
    return sentence_list(names, NAMED_MOST, last=", ")


def _recovery(row: Series) -> str:
    """Describe how long a service takes to recover and how often it fails."""
    heal = (
        f"It takes {row['minutes']:.0f} minutes to heal, "
        f"95th percentile {row['minutes_p95']:.0f} ({row['minutes_basis']})"
    )
    if pd.isna(row["rate_per_year"]):
        return f"{heal}; how often it breaks is unknown, as no incidents were looked at."
    return (
        f"{heal}; at {row['rate_per_year']:.1f} incidents a year that is "
        f"{row['expected_minutes_per_year']:.0f} minutes."
    )
