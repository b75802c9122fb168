"""Unseen calls: services whose calls or callers are fully known, and losses by other calls."""

import numpy as np
import pandas as pd
from pandas import DataFrame, Index, Series, Timedelta

from assess.frames import EXTERNAL, surely
from assess.inventory import Inventory
from assess.policy.policy import Policy
from assess.score.blast_radius.edges import OBSERVING
from assess.score.blast_radius.topology import Graph, Topology
from assess.score.incidents.exposure import coverage_of

CALLS = "src"  # side whose own calls are all seen …
CALLERS = "dst"  # … and side whose callers are
BOTH = (CALLS, CALLERS)
YES = ("yes", "true", "y", "1")
USER = "user"  # a person's word needs no window
WATCHING = ("socket", "flow", "trace")  # where an address was read by watching the calls
SIDE = ["service_id", "side"]


def seen_sides(inventory: Inventory, policy: Policy, nodes: Index) -> DataFrame:
    """Return by service whether all its calls (``src``) and callers (``dst``) are known."""
    # Callers of an element outside the fleet are known only where a row declares it.
    # A source is complete where it would have seen every call over
    # ``blast_radius.complete_hours``: a row of ``dependencies`` says so, traces were read
    # over such a window, or a person said that the list is complete.
    parts = [
        _by_rows(inventory, policy),
        _by_coverage(inventory, policy, nodes),
        _by_answers(inventory, policy),
    ]
    known = pd.concat(parts)
    seen = {side: known.loc[known["side"] == side, "service_id"] for side in BOTH}
    return DataFrame({side: nodes.isin(seen[side]) for side in BOTH}, index=nodes)


def _every_side(services: Series | Index) -> DataFrame:
    """Return both sides of some services."""
    names = Index(services).unique()
    return pd.MultiIndex.from_product([names, BOTH], names=SIDE).to_frame(index=False)


def _by_rows(inventory: Inventory, policy: Policy) -> DataFrame:
    """List the sides that rows of dependencies declare complete."""
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
    parts = []
    for side in BOTH:
        declared = rows[(is_long | is_user) & complete.isin([side, "both"])]
        parts.append(DataFrame({"service_id": declared[f"{side}_id"], "side": side}))
        watched = declared[(is_watched & is_long)[declared.index]]
        parts.append(_every_side(watched[f"{side}_id"]))
    return pd.concat(parts)


def _by_coverage(inventory: Inventory, policy: Policy, services: Index) -> DataFrame:
    """List the sides that a source watched over a whole window: of a service, or of the fleet."""
    # Any other scope is a file or an address: it covers the services that its traces
    # name.
    settings = policy["blast_radius"]
    asked = coverage_of(inventory, policy, "observing_sources", "dependencies")
    window = asked["window_end"] - asked["window_start"]
    hours = Timedelta(hours=settings["complete_hours"])
    asked = asked[surely(window.ge(hours))]
    scope = asked["scope"].astype("str")
    if scope.str.lower().isin(settings["whole_fleet"]).any():
        return _every_side(services)
    links = inventory["dependencies"]
    is_place = ~scope.isin(services)
    traced = links["evidence"].isin(asked.loc[is_place, "source"])
    traced &= links["evidence"].isin(OBSERVING) & links["complete"].isna()
    ends = links.loc[traced, ["src_id", "dst_id"]].to_numpy().ravel()
    ends = [end for end in ends if not end.startswith(EXTERNAL)]
    return pd.concat([_every_side(scope[~is_place]), _every_side(Index(ends))])


def _by_answers(inventory: Inventory, policy: Policy) -> DataFrame:
    """List the sides that a person declared complete; old answers do not count."""
    answers = inventory["answers"]
    ttl = Timedelta(days=policy["evidence"]["answer_ttl_days"])
    is_fresh = answers["answered_at"].ge(inventory.snapshot_at - ttl)
    is_yes = answers["answer"].str.strip().str.lower().isin(YES)
    # without the list, nothing shows that it is complete
    holds = surely(is_yes & is_fresh) & inventory.has("dependencies")
    parts = []
    for side in BOTH:
        asked = answers["question"].isin(policy["blast_radius"][f"complete_{side}"])
        declared = answers.loc[holds & asked, "service_id"]
        parts.append(DataFrame({"service_id": declared, "side": side}))
    return pd.concat(parts)


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
