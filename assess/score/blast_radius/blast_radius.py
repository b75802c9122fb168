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
from assess.score.blast_radius.failures import observed_failures
from assess.score.blast_radius.learning import apply_learning
from assess.score.blast_radius.paths import (
    check_element,
    most_probable_path,
    path_text,
    percent,
    reach_text,
    sentences,
)
from assess.score.blast_radius.propagation import Impact, propagate
from assess.score.blast_radius.relocation import containment
from assess.score.blast_radius.scenarios import Scenarios
from assess.score.blast_radius.topology import (
    KINDS,
    LEVELS,
    Graph,
    Topology,
    build_topology,
    dependencies_observed,
)
from assess.score.blast_radius.uncertain import Sampling, fewest_draws
from assess.score.blast_radius.validation import validate
from assess.score.incidents.exposure import incident_rates
from assess.score.incidents.recovery import heal_times
from assess.score.result import Explanation, Provenance, Result, records_by

IMPACTS = ["impact", "impact_lo", "impact_hi"]
BOUND = "lower bound"


@dataclass(frozen=True, eq=False, repr=False)
class BlastRadius(Result):
    """What fails when an element fails; see `score_blast_radius`.

    Attributes
    ----------
    topology : Topology, optional
        The topology that it was computed on.
    """

    topology: Topology | None = None

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
        """By element, how its impact was computed: ``exact``, by ``draws``, or a ``lower bound``."""
        how = np.select(
            [self.frame["exact"], self.frame["se"].isna()], ["exact", BOUND], "draws"
        )
        return pd.Series(how, self.frame.index, dtype="str", name="how")

    def summary(self) -> pd.DataFrame:
        """Return the few columns that a meeting needs.

        Returns
        -------
        DataFrame
            See `Result.summary`; where some impacts are lower bounds, `how` each was computed.
        """
        table = super().summary()
        return table.join(self.how) if self.how.eq(BOUND).any() else table

    @property
    def services(self) -> pd.DataFrame:
        """Per service: impact, exposure, failure rate, recovery time, effect of the planned move."""
        return self.details["services"]

    def row(self, service_id: str) -> pd.Series:
        """Return the row of a service.

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
        """Return one dictionary per element, as `to_dict` holds them.

        Returns
        -------
        list of dict
            Columns of the frame by name, ``affected`` (what can be reached), ``frozen``; for a
            service also its columns in `services`.
        """
        key = ["element_kind", "element"]
        affected = records_by(self.details["affected"].query("p_down > 0"), key)
        frozen = self.details["frozen"].groupby(key)["service_id"].agg(list).to_dict()
        services = self.services.drop(columns=IMPACTS).to_dict("index")
        rows = []
        for row in super().rows():
            at = (row["element_kind"], row["element"])
            lists = {"affected": affected.get(at, []), "frozen": frozen.get(at, [])}
            own = services[at[1]] if at[0] == "service" else {}
            rows.append({**row, **lists, **own})
        return rows

    def paths(self, element_kind: str, element: str, service: str) -> pd.DataFrame:
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
        return most_probable_path(self._topology, (element_kind, element), service)

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
            Where there is no such element or service; the hint names the nearest.
        """
        self.row(service_id)
        check_element(self._topology, element_kind, element)
        steps = self.paths(element_kind, element, service_id)
        affected = self.details["affected"]
        pair = affected[
            (affected["element_kind"] == element_kind)
            & (affected["element"] == element)
            & (affected["service_id"] == service_id)
        ]
        title = f"{element_kind} {element} and {service_id}"
        return Explanation(title, reach_text(steps, pair, service_id), steps)

    @property
    def _topology(self) -> Topology:
        if self.topology is None:
            raise ValueError("this result was made without a topology")
        return self.topology

    def explain(self, service_id: str) -> Explanation:
        """Explain what a service takes down, what takes it down, how often and for how long.

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
        is_service = affected["service_id"] == service_id
        own = affected["element_kind"] == "service"
        own &= affected["element"] == service_id
        causes = affected[~own & is_service]
        causes = causes.astype({"element_kind": "str", "element": "str"})
        causes = causes.sort_values(
            "p_down", ascending=False, kind="stable", ignore_index=True
        )
        causes["because"] = [
            path_text(self.paths(e.element_kind, e.element, service_id))
            for e in causes.itertuples()
        ]
        lines = sentences(service_id, row, affected[own & ~is_service], causes)
        if self.how[("service", service_id)] == BOUND:
            lines.append(
                "What it loses is a lower bound, by the most probable way to each "
                "service: `assess explain --score blast-radius` simulates it."
            )
        if not own.any():
            lines.append(
                "What falls with it is not listed: raise `blast_radius.pairs_max`."
            )
        title = f"{service_id}: blast radius {percent(row, 'impact')}"
        return Explanation(title, "\n".join(lines), causes.drop(columns="service_id"))


def score_blast_radius(
    inventory: Inventory,
    policy: Policy,
    *,
    detail: bool = True,
    asked: Sequence[tuple[str, str]] = (),
) -> BlastRadius:
    """Compute the blast radius of every service and of everything that services stand on.

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
        frozen, services, and the frames of `validation.Validation`.

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
    declared = build_topology(inventory, policy)
    topology = apply_learning(inventory, policy, declared)
    graphs = {level: topology.graph(level) for level in LEVELS}
    sampling = Sampling.of(policy)
    settings = policy["blast_radius"]
    failures = observed_failures(inventory, topology)
    wanted = topology.elements.isin([*{f.element for f in failures}, *asked])
    listed = wanted | _worst_reach(
        topology, graphs["hi"], sampling, int(settings["pairs_max"])
    )
    drawn = wanted | _worst_loss(topology, graphs, sampling, int(settings["drawn_most"]))
    impacts = _impacts(topology, graphs, sampling, listed=listed, drawn=drawn)

    observed = dependencies_observed(inventory, policy, topology)
    frame = _frame(topology, impacts)
    quantile = float(settings["unobserved_quantile"])
    frame["impact_hi"] = _widened(frame["impact_hi"], topology, observed, quantile)
    reach = _reach(topology, impacts)
    affected = _affected(topology, reach)

    services = _services(frame, topology, impacts["point"])
    services = services.join(_minutes_per_year(inventory, policy))
    # a move is many scenarios, a validation many failures: as few draws as the error allows
    rough = replace(sampling, draws=fewest_draws(policy))
    moved = pd.DataFrame(columns=["delta", "delta_lo", "delta_hi"], dtype="Float64")
    if detail:
        own = drawn[: len(topology.services)]  # they come first
        moved = containment(
            inventory, policy, topology, graphs=graphs, sampling=rough, drawn=own
        )
    services = services.join(moved)
    services = services.assign(dependencies_observed=observed.astype("boolean"))
    validation = validate(inventory, policy, declared, affected, rough)
    return BlastRadius(
        frame.sort_values("impact", ascending=False, kind="stable"),
        _contributions(topology, reach, affected),
        Provenance.of(inventory, policy),
        {
            "affected": affected,
            "frozen": topology.frozen,
            "services": services,
            **validation.details(),
        },
        topology=topology,
    )


def _worst_reach(
    topology: Topology, graph: Graph, sampling: Sampling, pairs_max: int
) -> Booleans:
    """Mark the elements that can reach the most, as long as the pairs stay few enough."""
    element, node = topology.initial_failures("hi")
    n = len(topology.elements)
    reachable = replace(graph, p=(graph.p > 0).astype("float64"))
    failing = Scenarios(element, node, n, listed=np.zeros(n, bool))
    impact = propagate(reachable, failing, sampling=sampling)
    # by weight, not by number: what is listed is what a meeting asks about
    worst = np.argsort(-impact.loss, kind="stable")
    listed = np.zeros(n, bool)
    listed[worst[np.cumsum(impact.reached_n[worst]) <= pairs_max]] = True
    return listed


def _worst_loss(
    topology: Topology, graphs: Mapping[str, Graph], sampling: Sampling, drawn_most: int
) -> Booleans:
    """Mark the elements that lose most, by the lower bound of their loss, as far as draws go."""
    n = len(topology.elements)
    if n <= drawn_most or not any(graph.uncertain for graph in graphs.values()):
        return np.ones(n, bool)
    none = np.zeros(n, bool)
    failing = Scenarios(*topology.initial_failures("point"), n, listed=none, drawn=none)
    impact = propagate(graphs["point"], failing, sampling=sampling)
    drawn = np.zeros(n, bool)
    drawn[np.argsort(-impact.loss, kind="stable")[:drawn_most]] = True
    return drawn


def _impacts(
    topology: Topology,
    graphs: Mapping[str, Graph],
    sampling: Sampling,
    *,
    listed: Booleans,
    drawn: Booleans,
) -> dict[str, Impact]:
    """Propagate the failure of every element; levels that do not differ are computed once."""
    n = len(topology.elements)
    known: dict[bytes, Impact] = {}
    impacts = {}
    for level in LEVELS:
        graph = graphs[level]
        element, node = topology.initial_failures(level)
        bound: Literal["least", "most"] = "most" if level == "hi" else "least"
        key = graph.p.tobytes() + element.tobytes() + node.tobytes()
        # only bounds differ by level where all else is equal
        if not drawn.all() and graph.uncertain:
            key += bound.encode()
        if key not in known:
            failing = Scenarios(element, node, n, listed, drawn)
            known[key] = propagate(graph, failing, sampling=sampling, bound=bound)
        impacts[level] = known[key]
    return impacts


def _reach(topology: Topology, impacts: Mapping[str, Impact]) -> pd.DataFrame:
    """List what can fail with what, by position: what can at some level can at the highest."""
    n = max(len(topology.services), 1)
    every = np.empty(0, np.int64)
    p = {}
    for level in reversed(LEVELS):
        impact = impacts[level]
        inside = impact.node < len(topology.services)
        keys = impact.scenario[inside] * n + impact.node[inside]
        if level == "hi":
            every = keys
        p[level] = np.zeros(len(every))
        p[level][np.searchsorted(every, keys)] = impact.p[inside]
    return pd.DataFrame(
        {
            "element": every // n,
            "node": every % n,
            "p_down": p["point"],
            "p_lo": np.minimum(p["lo"], p["point"]),
            "p_hi": np.maximum(p["hi"], p["point"]),
        }
    )


def _affected(topology: Topology, reach: pd.DataFrame) -> pd.DataFrame:
    """Name the elements and services of what can fail with what."""
    kinds = pd.Categorical(topology.elements.get_level_values(0), categories=KINDS)
    names = pd.Categorical(topology.elements.get_level_values(1))
    table = pd.DataFrame(
        {
            "element_kind": kinds.take(reach["element"].to_numpy()),
            "element": names.take(reach["element"].to_numpy()),
            "service_id": pd.Categorical.from_codes(reach["node"], topology.services),
        }
    )
    return table.join(reach[["p_down", "p_lo", "p_hi"]])


def _contributions(
    topology: Topology, reach: pd.DataFrame, affected: pd.DataFrame
) -> pd.DataFrame:
    """Return the share of criticality that each service adds to the impact of each element."""
    weight = topology.service_weight.to_numpy()
    lost = weight[reach["node"]] * reach["p_down"] / (weight.sum() or 1.0)
    return affected[["element_kind", "element", "service_id"]].assign(contribution=lost)


def _frame(topology: Topology, impacts: Mapping[str, Impact]) -> pd.DataFrame:
    """Return the frame of the result, in the order of the elements."""
    total = float(topology.weight.sum()) or 1.0
    point = impacts["point"]
    impact = {level: np.clip(impacts[level].loss / total, 0, 1) for level in LEVELS}
    frozen = pd.MultiIndex.from_frame(topology.frozen[["element_kind", "element"]])
    registries = topology.elements.get_indexer(frozen)
    outside = topology.elements.get_level_values(0) == "ext"  # is no service itself
    counts = {
        "services_down_n": point.reached_n - outside,
        "frozen_n": np.bincount(registries, minlength=len(topology.elements)),
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
        index=topology.elements,
    )
    return table.astype(dict.fromkeys(counts, "Int64"))


def _widened(
    hi: pd.Series, topology: Topology, observed: pd.Series, quantile: float
) -> pd.Series:
    """Raise the upper end of services whose dependencies nobody observed, and of their callers."""
    unseen = observed.index[~observed]
    if not len(unseen):
        return hi
    is_service = hi.index.get_level_values(0) == "service"
    links = topology.edges
    callers = links.loc[links["dst"].isin(unseen), "src"]
    names = unseen.union(callers.unique())
    # what an unseen dependency takes down reaches the callers, too
    doubtful = is_service & hi.index.get_level_values(1).isin(names)
    return hi.mask(doubtful, hi.clip(lower=hi[is_service].quantile(quantile)))


def _services(frame: pd.DataFrame, topology: Topology, point: Impact) -> pd.DataFrame:
    """Return impact and exposure by service; unknown exposure where it runs nowhere known."""
    n = len(topology.services)  # the first elements are the services
    table = frame.iloc[:n].droplevel(0)[IMPACTS].rename_axis("service_id")
    exposure_n = pd.array(point.exposure_n[:n] - 1, dtype="Int64")  # without itself
    exposure_n[~table.index.isin(topology.placed)] = pd.NA
    return table.assign(exposure_n=exposure_n)


def _minutes_per_year(inventory: Inventory, policy: Policy) -> pd.DataFrame:
    """Return rate, time to heal, and their product: typical, with both low, with both high."""
    table = incident_rates(inventory, policy).join(heal_times(inventory, policy))
    rate = table["rate_per_year"]
    minutes = table["minutes"]
    return table.assign(
        expected_minutes_per_year=rate * minutes,
        expected_minutes_per_year_lo=table["rate_per_year_lo"] * minutes,
        expected_minutes_per_year_hi=table["rate_per_year_hi"] * table["minutes_p95"],
    )
