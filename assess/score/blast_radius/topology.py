"""The fleet as a graph: what weighs how much, what needs what, and what stands on what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from assess.inventory import Inventory
from assess.policy.policy import Policy
from assess.score.blast_radius.bitset import Booleans, Floats, Integers
from assess.score.blast_radius.direct_impact import FELLED, fallen, is_running
from assess.score.blast_radius.placement import engine_names, frozen, standing
from assess.score.incidents.exposure import coverage_of

LEVELS = ("lo", "point", "hi")
KINDS = (
    "service",
    "ext",
    "host",
    "az",
    "engine",
    "image",
    "base_image",
    "registry",
    "cluster",
)
STANDS_ON = ("host", "az", "engine", "image", "base_image", "cluster")
OBSERVING = (
    "traces",
)  # evidence that saw calls; all other evidence is what somebody wrote down
KINDLESS = (
    "declared",
    "start_order",
    "unknown",
)  # kinds that leave open what the need is


def criticality(services: pd.DataFrame, policy: Policy) -> pd.Series:
    """Weigh services.

    Parameters
    ----------
    services : DataFrame
        The frame ``services``: ``service_id, criticality, tier``.
    policy : Policy
        Its table ``criticality`` gives the weight by tier.

    Returns
    -------
    Series
        Index ``service_id``: the service's own criticality, else its tier's, else the policy's
        for a service of which neither is known. [the fleet's own unit, >= 0]
    """
    weights = policy["criticality"]
    by_tier = {
        int(key.removeprefix("tier_")): w
        for key, w in weights.items()
        if key != "unknown"
    }
    own = services["criticality"].astype("Float64")
    filled = own.fillna(services["tier"].map(by_tier).astype("Float64"))
    values = filled.fillna(weights["unknown"]).to_numpy("float64")
    index = pd.Index(services["service_id"], name="service_id")
    return pd.Series(values, index=index, name="criticality")


def edges(dependencies: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    """Put dependencies together, pair by pair.

    Parameters
    ----------
    dependencies : DataFrame
        The frame ``dependencies``.
    policy : Policy
        Its table ``edges`` gives the probability by kind.

    Returns
    -------
    DataFrame
        One row per pair, sorted: ``src, dst`` (src fails when dst fails), ``kinds`` (joined by a
        comma), ``lo, point, hi``. [probability, 0-1]

    Notes
    -----
    A row with its own ``p`` is an edge. Rows of one pair and kind without one are one edge that
    several sources saw, at the policy's p; where a row with its own p speaks for that kind, it is
    that edge. The edges of a pair are independent: ``1 - prod(1 - p)``.
    """
    rows = dependencies[["src_id", "dst_id", "kind", "p"]]
    rows = rows.set_axis(["src", "dst", "kind", "own"], axis=1)
    rows = (
        rows[rows["src"] != rows["dst"]]
        .astype({"kind": "str"})
        .fillna({"kind": "unknown"})
    )
    told = rows["own"].notna()
    spoken = rows[told].drop_duplicates(["src", "dst", "kind"]).drop(columns="own")
    silent = rows[~told].drop_duplicates(["src", "dst", "kind"])
    silent = silent.merge(spoken, how="left", indicator="said").query(
        "said == 'left_only'"
    )
    rows = pd.concat([rows[told], silent.drop(columns="said")], ignore_index=True)
    table = policy["edges"]
    for level, key in zip(LEVELS, ("lo", "p", "hi"), strict=True):
        by_kind = rows["kind"].map(
            {kind: float(edge[key]) for kind, edge in table.items()}
        )
        rows[level] = rows["own"].astype("float64").fillna(by_kind.astype("float64"))
    rows = rows.sort_values(["src", "dst", "kind", *LEVELS], kind="stable")
    pairs = rows.groupby(["src", "dst"], sort=True)
    joint = (
        1 - (1 - rows[list(LEVELS)]).groupby([rows["src"], rows["dst"]], sort=True).prod()
    )
    single = pairs.size() == 1  # where there is nothing to round
    table = pairs[list(LEVELS)].first().where(single, joint)
    kinds = rows.drop_duplicates(["src", "dst", "kind"])
    many = kinds.duplicated(["src", "dst"], keep=False)
    joined = kinds[many].groupby(["src", "dst"])["kind"].agg(",".join)
    table["kinds"] = pairs["kind"].first()
    table.loc[joined.index, "kinds"] = joined
    return table.reset_index()[["src", "dst", "kinds", *LEVELS]]


def edge_evidence(inventory: Inventory) -> pd.DataFrame:
    """Say how each edge is known, and which services no trace has seen.

    Parameters
    ----------
    inventory : Inventory
        Frames ``services, dependencies``.

    Returns
    -------
    DataFrame
        One row per pair, sorted: ``src_id, dst_id``, ``known_by`` (``declaration``, ``traces`` or
        ``both``), ``kinds`` and ``evidence`` (joined by a comma), ``conflict`` (whether two sources
        name kinds for the pair and agree on none), ``calls`` [count]. Then one row, with ``known_by
        = "nobody"`` and no ``dst_id``, per service that no trace names at either end: edges of it
        may be missing.

    Notes
    -----
    An edge that only a declaration knows may be dead or rare; one that only traces know was
    forgotten by those who declare. Both count in full in `edges`: what is known twice is one edge.
    """
    columns = ["src_id", "dst_id", "known_by", "kinds", "evidence", "conflict", "calls"]
    pair = ["src_id", "dst_id"]
    rows = inventory["dependencies"].query("src_id != dst_id")
    rows = (
        rows.astype({"kind": "str"})
        .fillna({"kind": "unknown"})
        .sort_values([*pair, "kind"])
    )
    seen = rows["evidence"].isin(OBSERVING) | rows["calls"].notna()
    by_pair = [rows[name] for name in pair]
    some, every = seen.groupby(by_pair).any(), seen.groupby(by_pair).all()
    groups = rows.groupby(pair)
    told = rows[~rows["kind"].isin(KINDLESS)].drop_duplicates([*pair, "kind", "evidence"])
    sources_n = told.groupby(pair)["evidence"].nunique()
    agreeing_n = told.groupby([*pair, "kind"])["evidence"].nunique().groupby(pair).max()
    torn = (agreeing_n < sources_n).reindex(some.index, fill_value=False)
    table = pd.DataFrame(
        {
            "known_by": np.select([every, some], ["traces", "both"], "declaration"),
            "kinds": groups["kind"].agg(lambda kinds: ",".join(dict.fromkeys(kinds))),
            "evidence": groups["evidence"].agg(
                lambda names: ",".join(sorted(set(names)))
            ),
            "conflict": torn.astype(bool),
            "calls": groups["calls"].sum(min_count=1),
        },
        index=some.index,
    )
    met = set(rows.loc[seen, pair].to_numpy().ravel())
    services = inventory["services"]["service_id"]
    unseen = pd.DataFrame({"src_id": sorted(set(services) - met)}).assign(
        known_by="nobody"
    )
    full = pd.concat([table.reset_index(), unseen], ignore_index=True).reindex(
        columns=columns
    )
    text = dict.fromkeys(columns[:5], "str")
    return full.astype({**text, "conflict": "boolean", "calls": "Int64"})


@dataclass(frozen=True, eq=False)
class Fleet:
    """Services, what they need, and the elements that can fail.

    Attributes
    ----------
    services : Index
        Ids, sorted.
    nodes : Index
        Services, then what lies outside the fleet.
    weight : ndarray
        Criticality by node; 0 outside the fleet. [the fleet's own unit]
    edges : DataFrame
        What `edges` gives.
    elements : MultiIndex
        ``element_kind, element``, by kind in the order of `KINDS`.
    stands : DataFrame
        What `standing` gives.
    down : dict of str to DataFrame
        By level (lo, point, hi): ``element_kind, element, service_id``, what fails directly.
    frozen : DataFrame
        What `frozen` gives.
    """

    services: pd.Index
    nodes: pd.Index
    weight: Floats
    edges: pd.DataFrame
    elements: pd.MultiIndex
    stands: pd.DataFrame
    down: dict[str, pd.DataFrame]
    frozen: pd.DataFrame

    @property
    def placed(self) -> pd.Index:
        """Services of which a running replica is known."""
        return pd.Index(self.stands.loc[is_running(self.stands), "service_id"].unique())

    def seeds(self, level: str) -> tuple[Integers, Integers]:
        """Give what fails by itself.

        Parameters
        ----------
        level : str
            lo, point or hi.

        Returns
        -------
        element, node : ndarray of int
            Pairs of positions in ``elements`` and ``nodes``.
        """
        own = np.flatnonzero(self.elements.get_level_values(0).isin(["service", "ext"]))
        down = self.down[level]
        hit = self.elements.get_indexer(
            pd.MultiIndex.from_frame(down[["element_kind", "element"]])
        )
        node = self.nodes.get_indexer(pd.Index(down["service_id"]))
        alone = self.nodes.get_indexer(self.elements.get_level_values(1)[own])
        return np.concatenate([own, hit]), np.concatenate([alone, node])

    def struck(self, elements: Sequence[tuple[str, str]], level: str) -> Booleans:
        """Say which nodes some elements take down by themselves.

        Parameters
        ----------
        elements : sequence of tuple of str
            Kind and name of each.
        level : str
            lo, point or hi.

        Returns
        -------
        ndarray of bool, shape (elements, nodes)
            Whatever the nodes need.
        """
        found = np.zeros((len(elements), len(self.nodes)), bool)
        if not len(elements):
            return found
        failed = self.elements.get_indexer(pd.MultiIndex.from_tuples(elements))
        element, node = self.seeds(level)
        among = np.isin(element, failed)
        element, node = element[among], node[among]
        for row, own in zip(found, failed, strict=True):
            row[node[element == own]] = True
        return found


def build_fleet(inventory: Inventory, policy: Policy) -> Fleet:
    """Make the graph of a fleet.

    Parameters
    ----------
    inventory : Inventory
        Frames ``services, workloads, hosts, engines, images, dependencies``.
    policy : Policy
        Tables ``criticality, edges, blast_radius``.

    Returns
    -------
    Fleet
        The same for the same rows in any order.
    """
    weight = criticality(inventory["services"], policy).sort_index()
    links = edges(inventory["dependencies"], policy)
    outside = pd.Index(sorted(set(links["dst"]) - set(weight.index)), dtype="str")
    stands, freezes = standing(inventory, policy), frozen(inventory, policy)
    elements = _elements(inventory, weight.index, outside, stands)
    return Fleet(
        services=weight.index,
        nodes=weight.index.append(outside),
        weight=np.concatenate([weight.to_numpy(), np.zeros(len(outside))]),
        edges=links,
        elements=elements,
        stands=stands,
        down=_down(inventory["services"], stands, elements.to_frame(index=False)),
        frozen=freezes,
    )


def _elements(
    inventory: Inventory, services: pd.Index, outside: pd.Index, stands: pd.DataFrame
) -> pd.MultiIndex:
    named = {
        "service": services.to_series(),
        "ext": outside.to_series(),
        "host": inventory["hosts"]["host_id"],
        "az": inventory["hosts"]["az"],
        "engine": engine_names(inventory["engines"])[
            inventory["engines"]["runtime"] != "none"
        ],
        "registry": inventory["workloads"]["registry"],
    }
    tuples = []
    for kind in KINDS:
        standing_on = stands.loc[stands["element_kind"] == kind, "element"]
        found = pd.concat([named.get(kind, standing_on), standing_on]).dropna().unique()
        tuples += [(kind, element) for element in sorted(found)]
    return pd.MultiIndex.from_tuples(tuples, names=["element_kind", "element"])


def _down(
    services: pd.DataFrame, stands: pd.DataFrame, elements: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """Give what fails directly, by level; unknown states and places make the difference."""
    infrastructure = elements[elements["element_kind"].isin(STANDS_ON)]
    levels = fallen(
        stands, services.set_index("service_id")["min_healthy_pct"], infrastructure
    )
    running = stands.loc[is_running(stands), "service_id"]
    placeless = services.loc[~services["service_id"].isin(running), ["service_id"]]
    levels["hi"] = pd.concat([levels["hi"], infrastructure.merge(placeless, how="cross")])
    return {
        name: t[FELLED].sort_values(FELLED, ignore_index=True)
        for name, t in levels.items()
    }


def dependencies_observed(
    inventory: Inventory, policy: Policy, fleet: Fleet
) -> pd.Series:
    """Say of which services somebody observed what they depend on.

    Parameters
    ----------
    inventory : Inventory
        Frames ``dependencies, coverage``.
    policy : Policy
        Its ``blast_radius.observing_calls`` names the calls that look for dependencies.
    fleet : Fleet
        The fleet.

    Returns
    -------
    Series
        Index ``service_id``: whether a dependency of it is known, or a call that came through in
        full looked for them, of this service or of everything.
    """
    asked = coverage_of(inventory, policy["blast_radius"]["observing_calls"])["scope"]
    everything = bool((~asked.isin(fleet.services)).any())
    links = inventory["dependencies"].query("src_id != dst_id")
    known = pd.concat([links["src_id"], asked])
    return pd.Series(fleet.services.isin(known) | everything, index=fleet.services)
