"""Blast radius: the share of the fleet's criticality lost when an element fails.

Needs services and what they stand on (workloads, hosts, engines, images) and dependencies; what
is missing is unknown and widens the interval. An element takes replicas away; a service with fewer
live replicas than it needs is down; then its callers, edge by edge.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from pandas import DataFrame, Index, Series, Timedelta

from assess.frames import EXTERNAL, surely
from assess.inventory import Inventory
from assess.policy import Policy
from assess.score.blast_radius.failures import observed_failures
from assess.score.blast_radius.learning import (
    Failures,
    learned_edges,
    unexplained,
    uses,
    with_lessons,
)
from assess.score.blast_radius.placement import KINDS, PAIR
from assess.score.blast_radius.propagation import Impact, by_level, choose
from assess.score.blast_radius.relocation import containment
from assess.score.blast_radius.result import IMPACTS, BlastRadius
from assess.score.blast_radius.topology import (
    LEVELS,
    OBSERVING,
    Element,
    Graph,
    Topology,
    build_topology,
    total_weight,
)
from assess.score.blast_radius.uncertain import LOSSES, Sampling
from assess.score.incidents import coverage_of, incident_rates
from assess.score.incidents.recovery import heal_times, incident_minutes
from assess.score.result import Provenance, Tables, with_ends
from assess.score.validation import CHECKS, validate

CALLS = "src"  # side whose own calls are all seen …
CALLERS = "dst"  # … and side whose callers are
BOTH = (CALLS, CALLERS)
YES = ("yes", "true", "y", "1")
USER = "user"  # a person's word needs no window
WATCHING = ("socket", "flow", "trace")  # where an address was read by watching the calls
Side = tuple[str, Series]  # and the services that it is complete for


def seen_sides(inventory: Inventory, policy: Policy, nodes: Index) -> DataFrame:
    """Return by service whether all its calls (``src``) and callers (``dst``) are known."""
    # Callers of an element outside the fleet are known only where a row declares it.
    # A source is complete where it would have seen every call over
    # ``blast_radius.complete_hours``: a row of ``dependencies`` says so, traces were read
    # over such a window, or a person said that the list is complete.
    by_coverage = _by_coverage(inventory, policy, nodes)
    seen = DataFrame({side: nodes.isin(by_coverage) for side in BOTH}, index=nodes)
    for of_a_side in (_by_rows(inventory, policy), _by_answers(inventory, policy)):
        for side, services in of_a_side:
            seen[side] |= nodes.isin(services)
    return seen


def _by_rows(inventory: Inventory, policy: Policy) -> Iterator[Side]:
    """Yield the sides that rows of dependencies declare complete."""
    # Watching a service shows its calls and its callers; a complete list from a person
    # covers one side.
    settings = policy["blast_radius"]
    rows = inventory["dependencies"]
    is_long = surely(rows["window_hours"].ge(settings["complete_hours"]))
    is_watched = rows["evidence"].isin(settings["observing_sources"])
    is_watched |= surely(rows["address_basis"].isin(WATCHING))
    is_user = surely(rows["address_basis"].eq(USER))
    # a trace over the whole window shows both ends of what it names
    is_trace = rows["evidence"].isin(OBSERVING) & rows["complete"].isna()
    complete = rows["complete"].astype("str").mask(is_trace, "both")
    # others than the traced services may call what lies outside
    is_traced_out = is_trace & rows["dst_id"].str.startswith(EXTERNAL)
    complete = complete.mask(is_traced_out, CALLS)
    for side in BOTH:
        named = rows[f"{side}_id"]
        is_declared = complete.isin([side, "both"])
        yield side, named[is_declared & (is_long | is_user)]
        for other in BOTH:
            yield other, named[is_declared & is_watched & is_long]


def _by_coverage(inventory: Inventory, policy: Policy, services: Index) -> Index:
    """List what a source watched over a whole window: some services, or the fleet."""
    # Any other scope is a file or an address: it covers the services that its traces
    # name.
    settings = policy["blast_radius"]
    asked = coverage_of(inventory, policy, "observing_sources", "dependencies")
    window = asked["window_end"] - asked["window_start"]
    hours = Timedelta(hours=settings["complete_hours"])
    asked = asked[surely(window.ge(hours))]
    scope = asked["scope"].astype("str")
    if scope.str.lower().isin(settings["whole_fleet"]).any():
        return services
    links = inventory["dependencies"]
    is_place = ~scope.isin(services)
    traced = links["evidence"].isin(asked.loc[is_place, "source"])
    traced &= links["evidence"].isin(OBSERVING) & links["complete"].isna()
    ends = links.loc[traced, ["src_id", "dst_id"]].to_numpy().ravel()
    ends = [end for end in ends if not end.startswith(EXTERNAL)]
    return Index([*scope[~is_place], *ends])


def _by_answers(inventory: Inventory, policy: Policy) -> Iterator[Side]:
    """Yield the sides that a person declared complete; old answers do not count."""
    answers = inventory["answers"]
    ttl = Timedelta(days=policy["evidence"]["answer_ttl_days"])
    is_fresh = answers["answered_at"].ge(inventory.snapshot_at - ttl)
    is_yes = answers["answer"].str.strip().str.lower().isin(YES)
    # without the list, nothing shows that it is complete
    holds = surely(is_yes & is_fresh) & inventory.has("dependencies")
    for side in BOTH:
        asked = answers["question"].isin(policy["blast_radius"][f"complete_{side}"])
        yield side, answers.loc[holds & asked, "service_id"]


def with_unseen(topology: Topology, seen: DataFrame) -> Graph:
    """Return the graph of the highest level with every call that may exist unseen: the worst case.

    A call i -> j may exist where neither the calls of i nor the callers of j are all seen. So each
    such j takes down each such i: a node between the two sides holds all these pairs.
    """
    services_n = len(topology.services)
    callees = np.flatnonzero(~seen[CALLERS].to_numpy(bool))
    callers = np.flatnonzero(~seen[CALLS].to_numpy(bool)[:services_n])
    graph = topology.graphs["hi"]
    # one node between the two sides holds all pairs
    return graph.joined(callees, callers) if len(callers) else graph


def watched(
    inventory: Inventory, policy: Policy, topology: Topology, seen: DataFrame
) -> DataFrame:
    """Return by ``service_id`` whether its dependencies were observed, and its callers seen.

    ``dependencies_observed``: one is known, or one of ``blast_radius.observing_calls`` succeeded in
    full for the service or for everything. ``callers_seen``: all calls to it are known; NA if
    nothing was observed.
    """
    services = topology.services
    looked = coverage_of(inventory, policy, "observing_calls", "dependencies")["scope"]
    links = inventory["dependencies"]
    known = pd.concat([links.query("src_id != dst_id")["src_id"], looked])
    is_observed = services.isin(known) | (~looked.isin(services)).any()
    seen = seen.loc[services]
    silent = ~seen[CALLS].to_numpy(bool)
    # a service does not call itself: only the others may call it unseen
    others_n = silent.sum() - silent
    is_seen = seen[CALLERS].to_numpy(bool) | (others_n == 0)
    columns = {"dependencies_observed": is_observed, "callers_seen": is_seen}
    table = DataFrame(columns, services, dtype="boolean")
    if links.empty and looked.empty:
        table.loc[~is_seen, "callers_seen"] = pd.NA
    return table


def score_blast_radius(
    inventory: Inventory,
    policy: Policy,
    *,
    detail: bool = True,
    asked: Sequence[Element] = (),
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
        ``frame``, index ``element_kind, element``, worst first: ``impact, impact_lo, impact_hi,
        next_lo, next_hi`` [share of the fleet's criticality, 0-1], ``se`` (standard error; 0 where
        ``exact``, NaN where the impact is a lower bound),
        ``services_down_n`` (services that can be reached), ``frozen_n``. ``details``: affected,
        frozen, services, learned_edges, learned_judged, and the checks of `validation.validate`.

    Notes
    -----
    ``impact(x) = sum_j c_j P(j down | x failed) / sum_j c_j``. A fleet without any criticality
    loses none. The failed service counts itself. ``lo`` and ``hi`` take every uncertain edge, every
    replica of unknown state and every service of unknown place at their best and worst; ``hi`` also
    takes every call that no source would have seen (`with_unseen`). It is what can be reached;
    ``impact`` is what is expected, and ``next_lo, next_hi`` hold what one failure will take, in
    nine of ten cases (``simulation.level``). Observed failures move what is expected, and may lower
    ``impact_lo``, but no ``delta``: an edge has its learned probability, and a service that went
    down in k of n failures of an element has ``p_down = (k + 2 p) / (n + 2)``.

    Of elements with more uncertain edges on the way than are enumerated, the ``drawn_most`` that lose
    most are simulated, as long as what they reach stays within ``drawn_pairs_max`` pairs, and those
    that failed or are ``asked`` for. Of the others ``impact`` and ``p_down`` are lower bounds, by the
    most probable way to each service, which rank like the simulation (above ``ways_most`` nodes, by
    what is certain); ``impact_hi`` is all that can be reached, and ``exposure_n`` counts at least.

    Where the drawn elements reach more than ``drawn_pairs_full`` pairs, each is drawn
    ``draws_least`` times, and more often only if its ``se`` would be above ``se_max``.

    Of more observed failures than ``failures_most``, so many are drawn by the seed; the verdicts
    and ``calibration_measures`` say how many.

    Examples
    --------
    >>> blast = assess.score_blast_radius(inventory, policy)
    >>> blast.frame["impact"].idxmax()
    ('az', 'own-1')
    >>> blast.frame.loc[("host", "app-3"), ["impact_lo", "impact", "impact_hi"]].round(2).tolist()
    [0.08, 0.12, 0.45]
    """
    inventory = inventory.running
    declared = build_topology(inventory, policy)
    failures, failures_n = observed_failures(inventory, declared, policy)
    evidence = Failures.of(declared, failures)
    learned = learned_edges(policy, evidence)
    topology = with_lessons(declared, policy, learned)
    besides = unexplained(policy, evidence)
    seen = seen_sides(inventory, policy, topology.nodes)
    looked = watched(inventory, policy, topology, seen)
    unseen = with_unseen(topology, seen)
    wanted = topology.elements.isin([*{f.element for f in failures}, *asked])
    settings = replace(Sampling.of(policy), unexplained=besides)
    sampling, listed, drawn = choose(topology, policy, settings, wanted)
    impacts = by_level(topology, unseen, sampling, listed=listed, drawn=drawn)
    impacts["point"] = _updated(impacts["point"], evidence, policy)
    frame = _frame(topology, impacts)
    affected = _affected(topology, impacts)
    contributions = _contributions(topology, affected)
    services = _services(frame, topology, impacts)
    if len(topology.placeless):
        # these may be in each zone and on each engine without a name
        versions = inventory["engines"].query("runtime != 'none'")["version"]
        zones = inventory["hosts"]["az"]
        services["exposure_hi"] += pd.concat([zones, versions]).isna().sum()
    moved = DataFrame(columns=with_ends("delta"), dtype="Float64")
    relocation = DataFrame(columns=[*PAIR, "sign"])
    if detail:
        is_drawn = drawn["point"][: len(services)]  # services come first
        # by the policy alone: else a failure that is hidden could make a move look better
        relocation, moved = containment(
            inventory,
            policy,
            declared,
            services=services.join(looked).assign(is_drawn=is_drawn),
            sampling=sampling,
        )
    minutes = _minutes_per_year(inventory, policy)
    checks = partial(validate, inventory, policy, evidence, sampling, failures_n)
    tables = {
        "affected": affected,
        "frozen": topology.frozen,
        "services": services.join([minutes, moved, looked]),
        "learned_edges": learned,
        "relocation": relocation,
    }
    return BlastRadius(
        frame.sort_values("impact", ascending=False, kind="stable"),
        contributions,
        Provenance.of(inventory, policy),
        Tables(tables, dict.fromkeys(CHECKS, checks)),
        topology=topology,
        evidence=evidence,
    )


def _updated(impact: Impact, evidence: Failures, policy: Policy) -> Impact:
    """Update what is expected by the past failures of each element, if the policy uses them."""
    if not uses(policy):
        return impact
    topology = evidence.topology
    settings = policy["blast_radius"]
    strength = settings["pair_strength"]
    services_n = len(topology.services)
    weight = topology.weight[:services_n]
    least = settings["floor_strength"]
    floor = evidence.outside.floor(evidence.every, least)
    names = LOSSES.names or ()
    rows = {name: getattr(impact, name).copy() for name in names}
    failed = topology.elements.get_indexer(list(evidence.of_element))
    kept = ~np.isin(impact.scenario, failed)
    kept |= impact.node >= services_n
    pairs = [(impact.scenario[kept], impact.node[kept], impact.p[kept])]
    for at, element in zip(failed, evidence.of_element, strict=True):
        past = evidence.past(element, evidence.every)
        before = impact.chances(at)[:services_n]
        p = past.update(before, floor, strength)
        losses = past.losses(p, weight)
        ends = (impact.next_lo[at], impact.next_hi[at])
        lo, hi = past.ends(ends, losses, strength, policy.level)
        rows["next_lo"][at] = lo
        rows["next_hi"][at] = hi
        more = p - before
        rows["loss"][at] += more @ weight
        share = strength / (strength + len(losses))
        rows["se"][at] *= share
        down = np.flatnonzero(p)
        is_new = before[down] == 0
        rows["reached_n"][at] += is_new.sum()
        pairs.append((np.full(len(down), at), down, p[down]))
    columns = zip(*pairs, strict=True)
    scenario, node, chance = (np.concatenate(column) for column in columns)
    order = np.lexsort([node, scenario])
    return replace(
        impact,
        **rows,
        scenario=scenario[order],
        node=node[order],
        p=chance[order],
    )


def _affected(topology: Topology, impacts: Mapping[str, Impact]) -> DataFrame:
    """List pairs of element and service that can fail together, with their probabilities."""
    n = max(len(topology.services), 1)
    keys = {}
    known = {}
    for level in LEVELS:
        impact = impacts[level]
        inside = impact.node < len(topology.services)
        keys[level] = impact.scenario[inside] * n
        keys[level] += impact.node[inside]
        known[level] = impact.p[inside]
    # a service may have gone down that nothing known connects
    every = Index(keys["hi"]).union(Index(keys["point"])).to_numpy()
    p = {}
    for level in LEVELS:
        p[level] = np.zeros(len(every))
        p[level][np.searchsorted(every, keys[level])] = known[level]
    kinds = pd.Categorical(topology.elements.get_level_values(0), categories=KINDS)
    names = pd.Categorical(topology.elements.get_level_values(1))
    return DataFrame(
        {
            "element_kind": kinds.take(every // n),
            "element": names.take(every // n),
            "service_id": pd.Categorical.from_codes(every % n, topology.services),
            "p_down": p["point"],
            "p_lo": np.minimum(p["lo"], p["point"]),
            "p_hi": np.maximum(p["hi"], p["point"]),
        }
    )


def _contributions(topology: Topology, affected: DataFrame) -> DataFrame:
    weight = topology.service_weight.to_numpy()
    node = affected["service_id"].cat.codes
    # criticality times probability
    lost = weight[node] * affected["p_down"] / total_weight(weight)
    return affected[["element_kind", "element", "service_id"]].assign(contribution=lost)


def _frame(topology: Topology, impacts: Mapping[str, Impact]) -> DataFrame:
    elements = topology.elements
    total = total_weight(topology.weight)
    point = impacts["point"]
    unseen = impacts["unseen"].loss[: len(elements)]
    losses = {
        "lo": impacts["lo"].loss,
        "point": point.loss,
        "hi": np.maximum(impacts["hi"].loss, unseen),
        "next_lo": point.next_lo,
        "next_hi": point.next_hi,
    }
    impact = {name: np.clip(loss / total, 0, 1) for name, loss in losses.items()}
    frozen = pd.MultiIndex.from_frame(topology.frozen[["element_kind", "element"]])
    registries = elements.get_indexer(frozen)
    frozen_n = np.bincount(registries, minlength=len(elements))
    outside = elements.get_level_values(0) == "ext"  # is no service itself
    return DataFrame(
        {
            "impact": impact["point"],
            "impact_lo": np.minimum(impact["lo"], impact["point"]),
            "impact_hi": np.maximum(impact["hi"], impact["point"]),
            "se": point.se / total,
            "exact": point.exact,
            # the element itself counts where it is a service
            "services_down_n": pd.array(point.reached_n - outside, "Int64"),
            "frozen_n": pd.array(frozen_n, "Int64"),
            "next_lo": impact["next_lo"],
            "next_hi": impact["next_hi"],
        },
        index=elements,
    )


def _services(
    frame: DataFrame, topology: Topology, impacts: Mapping[str, Impact]
) -> DataFrame:
    """Return impact and exposure by service; exposure is unknown without a known place."""
    n = len(topology.services)  # the first elements are the services
    point = impacts["point"].exposure_n[:n]
    unseen = impacts["unseen"].exposure_n[:n]
    table = frame.iloc[:n].droplevel(0)[IMPACTS].rename_axis("service_id")
    exposure_n = pd.array(point - 1, "Int64")  # without itself
    exposure_n[topology.placeless] = pd.NA
    exposure_hi = pd.array(np.maximum(unseen, point) - 1, "Int64")
    return table.assign(exposure_n=exposure_n, exposure_hi=exposure_hi)


def _minutes_per_year(inventory: Inventory, policy: Policy) -> DataFrame:
    """Return incident rate, recovery time, and their product at the point, low and high ends."""
    table = incident_rates(inventory, policy).join(heal_times(inventory, policy))
    # one of an unknown service may have been of any that is not measured by its activities
    loose = incident_minutes(inventory, policy).query("service_id.isna()")["minutes"]
    longest = loose.max() * table["minutes_basis"].ne("activities")
    usual = table["minutes"]
    ends = {"": usual, "_lo": usual, "_hi": table["minutes_p95"].clip(longest)}
    for end, lasted in ends.items():
        table[f"expected_minutes_per_year{end}"] = table[f"rate_per_year{end}"] * lasted
    return table
