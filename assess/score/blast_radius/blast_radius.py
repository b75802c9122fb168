"""Blast radius: the share of the fleet's criticality lost when an element fails.

Needs services and what they stand on (workloads, hosts, engines, images) and dependencies; what
is missing is unknown and widens the interval. An element takes replicas away; a service with fewer
live replicas than it needs is down; then its callers, edge by edge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd

from assess.inventory import Inventory
from assess.policy.policy import Policy
from assess.score.blast_radius.bitset import Booleans
from assess.score.blast_radius.failures import trials
from assess.score.blast_radius.paths import (
    because,
    chain,
    known_element,
    percent,
    reached,
    sentences,
)
from assess.score.blast_radius.propagation import (
    Graph,
    Sampling,
    Spread,
    fewest_draws,
    sampling_of,
    spread,
)
from assess.score.blast_radius.relocation import containment
from assess.score.blast_radius.scenarios import Scenarios
from assess.score.blast_radius.topology import (
    KINDS,
    LEVELS,
    Fleet,
    build_fleet,
    dependencies_observed,
)
from assess.score.blast_radius.validation import failure_graph, judged, taught
from assess.score.incidents.exposure import incident_rates
from assess.score.incidents.recovery import heal_times
from assess.score.result import Explanation, Provenance, Result, records_by

COLUMNS = {"point": "impact", "lo": "impact_lo", "hi": "impact_hi"}
BOUND = "lower bound"


@dataclass(frozen=True, eq=False, repr=False)
class BlastRadius(Result):
    """What falls when an element fails; see `score_blast_radius`.

    Attributes
    ----------
    fleet : Fleet, optional
        The graph that it was computed on.
    """

    fleet: Fleet | None = None

    name: ClassVar[str] = "blast_radius"
    summary_columns: ClassVar[tuple[str, ...]] = (
        "impact",
        "impact_lo",
        "impact_hi",
        "exact",
        "services_down_n",
        "frozen_n",
    )

    @property
    def how(self) -> pd.Series:
        """By element, how its impact was found: ``exact``, by ``draws``, or a ``lower bound``."""
        found = np.select(
            [self.frame["exact"], self.frame["se"].isna()], ["exact", BOUND], "draws"
        )
        return pd.Series(found, self.frame.index, dtype="str", name="how")

    def summary(self) -> pd.DataFrame:
        """Give the few columns that a meeting needs.

        Returns
        -------
        DataFrame
            See `Result.summary`; where some impacts are lower bounds, `how` each was found.
        """
        table = super().summary()
        return table.join(self.how) if self.how.eq(BOUND).any() else table

    @property
    def services(self) -> pd.DataFrame:
        """By service: what falls with it, what fells it, how often, how long; what a move does."""
        return self.details["services"]

    def row(self, service_id: str) -> pd.Series:
        """Give the row of a service.

        Parameters
        ----------
        service_id : str
            The service.

        Returns
        -------
        Series
            Its columns in `services`.

        Raises
        ------
        AssessError
            Where there is no such service; the hint names the nearest.
        """
        return Result.row(replace(self, frame=self.services), service_id)

    def rows(self) -> list[dict[str, Any]]:
        """Give one dictionary per element, as `to_dict` holds them.

        Returns
        -------
        list of dict
            Columns of the frame by name, ``affected`` (what can be reached), ``frozen``; for a
            service also its columns in `services`.
        """
        key = ["element_kind", "element"]
        hit = self.details["affected"].query("p_down > 0")
        affected = records_by(hit, key)
        ids = self.details["frozen"].groupby(key)["service_id"].agg(list).to_dict()
        own = self.services.drop(columns=list(COLUMNS.values())).to_dict("index")
        found = []
        for row in super().rows():
            at = (row["element_kind"], row["element"])
            lists = {"affected": affected.get(at, []), "frozen": ids.get(at, [])}
            found.append({**row, **lists, **(own[at[1]] if at[0] == "service" else {})})
        return found

    def paths(self, element_kind: str, element: str, service: str) -> pd.DataFrame:
        """Say why a service falls when an element fails.

        Parameters
        ----------
        element_kind, element : str
            The element that fails.
        service : str
            The service.

        Returns
        -------
        DataFrame
            The most probable chain, first step first: ``service_id, because`` (an element that
            takes its replicas, or a service that it needs), ``kinds`` of the dependency, ``p`` of
            the step. Empty where the service cannot be reached.
        """
        return chain(self._graph, (element_kind, element), service)

    def explain_path(
        self, element_kind: str, element: str, service_id: str
    ) -> Explanation:
        """Say in words how the failure of an element reaches a service.

        Parameters
        ----------
        element_kind, element : str
            The element that fails.
        service_id : str
            The service.

        Returns
        -------
        Explanation
            The chance and the most probable chain; what `paths` gives is the table.

        Raises
        ------
        AssessError
            Where there is no such element or service; the hint names the nearest.
        """
        self.row(service_id)
        steps = self.paths(*known_element(self._graph, element_kind, element), service_id)
        hit = self.details["affected"].query(
            "element_kind == @element_kind and element == @element and service_id == @service_id"
        )
        title = f"{element_kind} {element} and {service_id}"
        return Explanation(title, reached(steps, hit, service_id), steps)

    @property
    def _graph(self) -> Fleet:
        if self.fleet is None:
            raise ValueError("this result was made without a fleet")
        return self.fleet

    def explain(self, service_id: str) -> Explanation:
        """Say what a service takes down, what takes it down, how often and for how long.

        Parameters
        ----------
        service_id : str
            The service.

        Returns
        -------
        Explanation
            Sentences, and the elements that can take it down, most probable first.

        Raises
        ------
        AssessError
            Where there is no such service.
        """
        row = self.row(service_id)
        affected = self.details["affected"]
        own = (affected["element_kind"] == "service") & (
            affected["element"] == service_id
        )
        falls = affected[own & (affected["service_id"] != service_id)]
        fells = affected[~own & (affected["service_id"] == service_id)]
        fells = fells.astype({"element_kind": "str", "element": "str"})
        fells = fells.sort_values(
            "p_down", ascending=False, kind="stable", ignore_index=True
        )
        fells["because"] = [
            because(self.paths(e.element_kind, e.element, service_id))
            for e in fells.itertuples()
        ]
        lines = sentences(service_id, row, falls, fells)
        if self.how[("service", service_id)] == BOUND:
            lines = [
                *lines,
                "What it loses is a lower bound, by the most probable way to each "
                "service: `assess explain --score blast-radius` simulates it.",
            ]
        if not own.any():
            lines = [
                *lines,
                "What falls with it is not listed: raise `blast_radius.pairs_max`.",
            ]
        text = "\n".join(lines)
        title = f"{service_id}: blast radius {percent(row, 'impact')}"
        return Explanation(title, text, fells.drop(columns="service_id"))


def score_blast_radius(
    inventory: Inventory,
    policy: Policy,
    *,
    detail: bool = True,
    asked: Sequence[tuple[str, str]] = (),
) -> BlastRadius:
    """Work out the blast radius of every service and of everything that services stand on.

    Parameters
    ----------
    inventory : Inventory
        The fleet.
    policy : Policy
        Tables ``criticality, edges, blast_radius, target, simulation``.
    detail : bool, default True
        Whether to compute what a move does to containment, which takes as long as the rest.
    asked : sequence of tuple of str
        Elements, by kind and name, that are simulated and listed however little they lose.

    Returns
    -------
    BlastRadius
        ``frame``, index ``element_kind, element``, worst first: ``impact, impact_lo, impact_hi``
        [share of the fleet's criticality, 0-1], ``se`` (standard error; 0 where ``exact``, NaN
        where the impact is a lower bound),
        ``services_down_n`` (services that can be reached), ``frozen_n``. ``details``: affected,
        frozen, services, and what failures say of it, see `judging.Judged`.

    Notes
    -----
    ``impact(x) = sum_j c_j P(j down | x failed) / sum_j c_j``. A fleet without any criticality
    loses none. The failed service counts itself. ``lo`` and ``hi`` take every uncertain edge, every
    replica of unknown state and every service of unknown place at their best and worst; ``hi`` of a
    service whose dependencies nobody observed, and of those that call it, is at least the fleet's
    quantile ``unobserved_quantile``. Reachability is an upper bound on what is hit.

    Of elements with more uncertain edges on the way than are enumerated, the ``drawn_most`` that
    lose most are simulated, those that failed, and those ``asked`` for. Of the others ``impact``
    and ``p_down`` are lower bounds, by the most probable way to each service, which rank like the
    simulation; ``impact_hi`` is all that can be reached, and ``exposure_n`` counts at least.
    """
    told = build_fleet(inventory, policy)
    fleet = taught(inventory, policy, told)
    graphs = {level: failure_graph(fleet, level) for level in LEVELS}
    sampling, settings = sampling_of(policy), policy["blast_radius"]
    known = {t.element for t in trials(inventory, fleet.services, fleet.elements)}
    wanted = fleet.elements.isin([*known, *asked])
    listed = (
        _listed(fleet, graphs["hi"], sampling, most=int(settings["pairs_max"])) | wanted
    )
    drawn = _drawn(fleet, graphs, sampling, most=int(settings["drawn_most"])) | wanted
    spreads = _by_level(fleet, graphs, sampling, listed=listed, drawn=drawn)
    reach = _reach(fleet, spreads)
    observed = dependencies_observed(inventory, policy, fleet)
    frame = _frame(fleet, spreads)
    quantile = float(settings["unobserved_quantile"])
    frame["impact_hi"] = _widened(frame["impact_hi"], fleet, observed, quantile)
    services = _services(frame, fleet, spreads["point"])
    services = services.join(_minutes_per_year(inventory, policy))
    rough = replace(sampling, draws=fewest_draws(policy))  # a move is many scenarios
    if detail:
        of_services = drawn[: len(fleet.services)]  # they come first
        moved = containment(
            inventory, policy, fleet, graphs=graphs, sampling=rough, drawn=of_services
        )
    else:
        moved = pd.DataFrame(columns=["delta", "delta_lo", "delta_hi"], dtype="Float64")
    services = services.join(moved).assign(
        dependencies_observed=observed.astype("boolean")
    )
    affected = _named(fleet, reach)
    weight = fleet.weight[: len(fleet.services)]
    lost = weight[reach["node"]] * reach["p_down"] / (weight.sum() or 1.0)
    key = ["element_kind", "element", "service_id"]
    details = {
        "affected": affected,
        "frozen": fleet.frozen,
        "services": services,
        **judged(inventory, policy, told, affected, rough).details(),
    }
    return BlastRadius(
        frame.sort_values("impact", ascending=False, kind="stable"),
        affected[key].assign(contribution=lost),
        Provenance.of(inventory, policy),
        details,
        fleet=fleet,
    )


def _listed(fleet: Fleet, graph: Graph, sampling: Sampling, *, most: int) -> Booleans:
    """Choose the elements that can reach the most, as long as the pairs stay few enough."""
    element, node = fleet.seeds("hi")
    sure = replace(graph, p=(graph.p > 0).astype("float64"))
    n = len(fleet.elements)
    found = spread(
        sure, Scenarios(element, node, n, np.zeros(n, bool)), sampling=sampling
    )
    worst = np.argsort(-found.loss, kind="stable")
    listed = np.zeros(n, bool)
    listed[worst[np.cumsum(found.reached_n[worst]) <= most]] = True
    return listed


def _drawn(
    fleet: Fleet, graphs: Mapping[str, Graph], sampling: Sampling, *, most: int
) -> Booleans:
    """Choose the elements that lose most, by what they lose at least, as far as draws go."""
    n = len(fleet.elements)
    if n <= most or not any(graph.uncertain for graph in graphs.values()):
        return np.ones(n, bool)
    none = np.zeros(n, bool)
    least = Scenarios(*fleet.seeds("point"), n, listed=none, drawn=none)
    found = spread(graphs["point"], least, sampling=sampling)
    chosen = np.zeros(n, bool)
    chosen[np.argsort(-found.loss, kind="stable")[:most]] = True
    return chosen


def _by_level(
    fleet: Fleet,
    graphs: Mapping[str, Graph],
    sampling: Sampling,
    *,
    listed: Booleans,
    drawn: Booleans,
) -> dict[str, Spread]:
    """Spread the failure of every element; levels that do not differ are computed once."""
    n = len(fleet.elements)
    known: dict[bytes, Spread] = {}
    found = {}
    for level in LEVELS:
        element, node = fleet.seeds(level)
        bound: Literal["least", "most"] = "most" if level == "hi" else "least"
        key = graphs[level].p.tobytes() + element.tobytes() + node.tobytes()
        if not drawn.all() and graphs[level].uncertain:
            key += bound.encode()
        if key not in known:
            failing = Scenarios(element, node, n, listed, drawn)
            known[key] = spread(graphs[level], failing, sampling=sampling, bound=bound)
        found[level] = known[key]
    return found


def _reach(fleet: Fleet, spreads: Mapping[str, Spread]) -> pd.DataFrame:
    """List what can fall with what, by position: what falls at some level can at the highest."""
    n = max(len(fleet.services), 1)
    every, columns = np.empty(0, np.int64), {}
    for level in reversed(LEVELS):
        found = spreads[level]
        inside = found.node < len(fleet.services)
        keys = found.scenario[inside] * n + found.node[inside]
        every = keys if level == "hi" else every
        columns[level] = np.zeros(len(every))
        columns[level][np.searchsorted(every, keys)] = found.p[inside]
    return pd.DataFrame(
        {
            "element": every // n,
            "node": every % n,
            "p_down": columns["point"],
            "p_lo": np.minimum(columns["lo"], columns["point"]),
            "p_hi": np.maximum(columns["hi"], columns["point"]),
        }
    )


def _named(fleet: Fleet, reach: pd.DataFrame) -> pd.DataFrame:
    kinds = pd.Categorical(fleet.elements.get_level_values(0), categories=KINDS)
    names = pd.Categorical(fleet.elements.get_level_values(1))
    table = pd.DataFrame(
        {
            "element_kind": kinds.take(reach["element"].to_numpy()),
            "element": names.take(reach["element"].to_numpy()),
            "service_id": pd.Categorical.from_codes(reach["node"], fleet.services),
        }
    )
    return table.join(reach[["p_down", "p_lo", "p_hi"]])


def _frame(fleet: Fleet, spreads: Mapping[str, Spread]) -> pd.DataFrame:
    total = float(fleet.weight.sum()) or 1.0
    n, point = len(fleet.elements), spreads["point"]
    impact = {level: np.clip(spreads[level].loss / total, 0, 1) for level in LEVELS}
    frozen = pd.MultiIndex.from_frame(fleet.frozen[["element_kind", "element"]])
    counts = {
        "services_down_n": point.reached_n
        - (fleet.elements.get_level_values(0) == "ext"),
        "frozen_n": np.bincount(fleet.elements.get_indexer(frozen), minlength=n),
    }
    table = pd.DataFrame(
        {
            "impact": impact["point"],
            "impact_lo": np.minimum(impact["lo"], impact["point"]),
            "impact_hi": np.maximum(impact["hi"], impact["point"]),
            "se": point.se / total,
            "exact": point.exact,
            **counts,
        },
        index=fleet.elements,
    )
    return table.astype(dict.fromkeys(counts, "Int64"))


def _widened(
    hi: pd.Series, fleet: Fleet, observed: pd.Series, quantile: float
) -> pd.Series:
    """Raise the upper end of services whose dependencies nobody observed, and of their callers."""
    unseen = observed.index[~observed]
    is_service = hi.index.get_level_values(0) == "service"
    if not len(unseen):
        return hi
    callers = fleet.edges.loc[fleet.edges["dst"].isin(unseen), "src"]
    doubtful = is_service & hi.index.get_level_values(1).isin(
        unseen.union(callers.unique())
    )
    return hi.mask(doubtful, hi.clip(lower=hi[is_service].quantile(quantile)))


def _services(frame: pd.DataFrame, fleet: Fleet, point: Spread) -> pd.DataFrame:
    """Impact and exposure by service; where it runs nowhere known, its exposure is unknown."""
    n = len(fleet.services)  # the first elements are the services
    table = frame.iloc[:n].droplevel(0)[list(COLUMNS.values())].rename_axis("service_id")
    counts = pd.array(
        point.felled_n[:n] - 1, dtype="Int64"
    )  # its own failure does not count
    counts[~table.index.isin(fleet.placed)] = pd.NA
    return table.assign(exposure_n=counts)


def _minutes_per_year(inventory: Inventory, policy: Policy) -> pd.DataFrame:
    """Rate, time to heal, and their product: typical, with both low, with both high."""
    table = incident_rates(inventory, policy).join(heal_times(inventory, policy))
    rate, minutes = table["rate_per_year"], table["minutes"]
    return table.assign(
        expected_minutes_per_year=rate * minutes,
        expected_minutes_per_year_lo=table["rate_per_year_lo"] * minutes,
        expected_minutes_per_year_hi=table["rate_per_year_hi"] * table["minutes_p95"],
    )
