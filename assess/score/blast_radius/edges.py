"""Edges of a fleet: the probability that a caller goes down with its dependency."""

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

from assess.inventory import Inventory
from assess.policy import Policy

LEVELS = ("lo", "point", "hi")
OBSERVING = ("traces",)  # evidence that saw calls; the rest is what somebody declared
KINDLESS = ("declared", "start_order", "unknown")  # kinds that leave the need open
START_ORDER = "start_order"
KEY = ["src", "dst", "kind"]
PAIR = ["src", "dst"]


def edges(dependencies: DataFrame, policy: Policy) -> DataFrame:
    """Return one row per pair, sorted: ``src, dst, kinds`` and ``lo, point, hi`` [0-1].

    ``src`` fails when ``dst`` fails. A row with its own ``p`` is an edge. Rows of one pair and kind
    without one are one edge that several sources saw, at the policy's p, unless a row with its own
    p covers that kind. The edges of a pair are independent: ``1 - prod(1 - p)``. An edge that is
    only possible counts in ``hi`` alone.
    """
    rows = _distinct(_named(dependencies))
    rows = rows.join(_usual(rows, policy))
    given = rows["given"].astype("float64")
    for level in LEVELS:
        rows[level] = given.fillna(rows[level])
    # the edge may not exist, so only the upper level has it
    rows.loc[rows["possible"], ["lo", "point"]] = 0.0
    rows = rows.sort_values([*KEY, *LEVELS])
    return _by_pair(rows)


def _named(dependencies: DataFrame) -> DataFrame:
    """Return rows ``src, dst, kind, given, possible``, self-loops left out."""
    rows = dependencies[["src_id", "dst_id", "kind", "p", "possible"]]
    rows = rows.set_axis([*KEY, "given", "possible"], axis=1)
    rows = rows[rows["src"] != rows["dst"]]
    rows = rows.astype({"kind": "str", "possible": "boolean"})
    rows = rows.fillna({"kind": "unknown", "possible": False})
    return rows.astype({"possible": "bool"})


def _any_of(rows: DataFrame, marked: Series, key: list[str]) -> Series:
    """Mark the rows of groups in which any row is marked."""
    return marked.groupby([rows[name] for name in key]).transform("any")


def _distinct(rows: DataFrame) -> DataFrame:
    """Drop rows that another row of their pair covers."""
    is_known = ~rows["possible"]
    # a known edge covers a possible one of the same pair and kind
    rows = rows[is_known | ~_any_of(rows, is_known, KEY)]
    # a probability that somebody gave or learned overrides the policy's for that kind
    is_given = rows["given"].notna()
    is_covered = _any_of(rows, is_given, KEY)
    is_first = ~rows.duplicated(KEY)
    rows = rows[is_given | (~is_covered & is_first)]
    # start order counts as a need at run time only if no other edge describes the pair
    says_how = ~rows["kind"].isin([START_ORDER, "unknown"]) & ~rows["possible"]
    is_order = rows["kind"].eq(START_ORDER) & rows["given"].isna()
    rows = rows[~is_order | ~_any_of(rows, says_how, PAIR)]
    return rows.reset_index(drop=True)


def _usual(rows: DataFrame, policy: Policy) -> DataFrame:
    """Return the policy's ``lo, point, hi`` by row.

    ``point = p / d**a``, with d the number of distinct hard dependencies of the caller: a caller of
    many services depends less on each of them. Kinds with a > 0 are hard.
    """
    table = DataFrame(policy["edges"]).T.astype("float64")
    usual = table.reindex(rows["kind"]).reset_index(drop=True)
    is_hard = (usual["a"] > 0) & ~rows["possible"]
    hard_n = rows[is_hard].groupby("src")["dst"].nunique()
    d = rows["src"].map(hard_n).fillna(1.0).astype("float64")
    shared = usual["p"] / d ** usual["a"]
    # a policy's 1 says "always", however many services the caller needs
    point = shared.mask(usual["p"] >= 1, usual["p"])
    lo = np.minimum(usual["lo"], point)
    return DataFrame({"lo": lo, "point": point, "hi": usual["hi"]})


def _by_pair(rows: DataFrame) -> DataFrame:
    """Join the edges of each pair, taken as independent."""
    levels = list(LEVELS)
    pairs = rows.groupby(PAIR)
    # the caller survives only if it survives each of its edges
    survive = rows[PAIR].join(1 - rows[levels])
    joint = 1 - survive.groupby(PAIR).prod()
    single = pairs.size() == 1  # where there is nothing to round
    table = pairs[levels].first().where(single, joint)
    kinds = rows.drop_duplicates(KEY)
    # most pairs have one kind: only the others are joined, one by one
    many = kinds.duplicated(PAIR, keep=False)
    joined = kinds[many].groupby(PAIR)["kind"].agg(",".join)
    table["kinds"] = joined.reindex(table.index).fillna(pairs["kind"].first())
    return table.reset_index()[[*PAIR, "kinds", *levels]]


def edge_evidence(inventory: Inventory) -> DataFrame:
    """List the evidence of each edge, and the services that no trace has seen.

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
    An edge that only a declaration knows may be dead or rare; one that only traces know is missing
    from the declarations. Both count in full in `edges`: what is known twice is one edge.

    Examples
    --------
    >>> assess.edge_evidence(inventory)["known_by"].value_counts().to_dict()
    {'traces': 71, 'declaration': 19, 'nobody': 5}
    """
    columns = ["src_id", "dst_id", "known_by", "kinds", "evidence", "conflict", "calls"]
    pair = ["src_id", "dst_id"]
    rows = inventory["dependencies"].query("src_id != dst_id").astype({"kind": "str"})
    rows = rows.fillna({"kind": "unknown"})
    is_seen = rows["evidence"].isin(OBSERVING) | rows["calls"].notna()
    groups = rows.assign(is_seen=is_seen).groupby(pair)
    seen = groups["is_seen"]
    specific = rows[~rows["kind"].isin(KINDLESS)]
    sources_n = specific.groupby(pair)["evidence"].nunique()
    agreeing_n = specific.groupby([*pair, "kind"])["evidence"].nunique()
    # the sources that name a kind name different ones
    conflict = agreeing_n.groupby(pair).max() < sources_n

    def joined(words: Series) -> str:
        return ",".join(sorted(set(words)))

    known_by = np.select([seen.all(), seen.any()], ["traces", "both"], "declaration")
    table = groups.agg(kinds=("kind", joined), evidence=("evidence", joined))
    table = table.assign(
        known_by=known_by,
        conflict=conflict.reindex(table.index, fill_value=False).astype(bool),
        calls=groups["calls"].sum(min_count=1),
    )
    # a trace with a service at either end shows that the service is traced
    traced = set(rows.loc[is_seen, pair].to_numpy().ravel())
    untraced = sorted(set(inventory["services"]["service_id"]) - traced)
    unseen = DataFrame({"src_id": untraced}).assign(known_by="nobody")
    full = pd.concat([table.reset_index(), unseen], ignore_index=True)
    text = dict.fromkeys(columns[:5], "str")
    return full[columns].astype({**text, "conflict": "boolean", "calls": "Int64"})
