"""Experiments: failures to try next, what each would decide, and where it is safest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pandas import DataFrame, Series
from scipy.sparse import csc_array, csr_array

from assess.errors import AssessError, counted, did_you_mean
from assess.score import Booleans, Floats, Integers, frozen
from assess.score.blast_radius.bitset import pairs_of
from assess.score.blast_radius.learning import Learned, fit
from assess.score.blast_radius.topology import Topology, total_weight
from assess.score.result import Explanation, Result
from assess.words import element_label, element_name, sentence_list, share

if TYPE_CHECKING:
    from assess.score.assessment import Assessment

KEY = ["element_kind", "element"]
PARTS = ["element_kind", "element", "about", "contribution"]
RANKED = ("service", "ext")
NAMED_MOST = 3  # services, and edges, in a sentence
FEW = 1.0  # trials below which a call counts as hardly tried
NOTHING = "No experiment would decide anything: no call of this fleet is in doubt."
LEAST = 1e-9  # of a divisor; a difference of chances below it is rounding noise
SPREADS = 4.0  # standard deviations between the ends of an interval, by a rule of thumb
SETTLED = 0.1  # what a settled label counts: another quarter may open it
ROOT_TAU = (2 * np.pi) ** 0.5


class Experiments(Result):
    """Ranking of failures to try next; see `score_experiments`."""

    name = "experiments"
    _joined = ("decides",)
    summary_columns = (
        "value",
        "label_value",
        "ranking_value",
        "reach_n",
        "impact",
        "impact_hi",
        "safest",
        "edge",
    )

    def summary(self) -> DataFrame:
        """Return the few columns that a meeting needs; shares of a doubt are small."""
        return self.frame[list(self.summary_columns)].round(3)

    @property
    def headline(self) -> str:
        """The failure to try next, in a sentence."""
        if self.frame.empty:
            return NOTHING
        failed = self.frame.index[0]
        return f"Try next: fail {element_label(*failed)}. {self.frame['why'].iloc[0]}"

    def explain(self, service_id: str) -> Explanation:
        """Explain the experiments that would decide something about a service."""
        known = self.details["decided"]["element"]
        if service_id not in set(known):
            raise AssessError(
                f"there is no service {service_id!r} in this result",
                hint=did_you_mean(service_id, known) or "see `assess show SNAPSHOT`",
            )
        parts = self.contributions
        own = parts[parts["about"] == service_id]
        table = own.sort_values("contribution", ascending=False, kind="stable")
        text = f"No listed experiment would decide anything about {service_id}."
        if len(table):
            first = self.frame.loc[tuple(table[KEY].iloc[0])]
            text = f"{table['element'].iloc[0]} first. {first['why']}"
        return Explanation(f"{service_id}: experiments", text, table)


class Known(NamedTuple):
    """Input from other scores: topology, decided services, reach of each failure."""

    topology: Topology
    trials: Floats
    services: Integers
    reach: DataFrame


def measure_experiments(assessment: Assessment) -> Experiments:
    """Rank the failures that could be tried on the fleet of an assessment."""
    blast = assessment.blast_radius
    settings = assessment.policy["blast_radius"]
    # the declared one: what failures taught is in doubt, too
    topology = blast.evidence.topology
    learned = fit(blast.evidence, blast.evidence.every, settings)
    is_open = open_labels(assessment.what_next.frame, topology)
    down = chances(topology, blast.details["affected"])
    doubt = Doubt.of(topology, learned)
    doubts = np.bincount(topology.callee, doubt.variance, len(topology.nodes))
    is_certain = down @ doubts <= 0  # whatever is tried, its impact stays
    most = int(settings["decided_most"])
    services = decided(blast.frame["impact"], is_open, is_certain, topology, most)
    value = worth(topology, down, doubt, services, is_open[services])
    reach = blast.frame.reindex(topology.elements)
    known = Known(topology, learned.tries, services, reach)
    frame = _frame(known, value, settings)
    parts = _contributions(known, value, frame)
    named = topology.elements[services].to_frame(index=False)
    named["label_open"] = is_open[services]
    used = {"decided": named, "edges": _edges(known, value, doubt.variance)}
    return Experiments(frame, parts, assessment.provenance, used)


def open_labels(ranked: DataFrame, topology: Topology) -> Floats:
    """Return by element the openness of its label: 1 is a coin toss, 0 settled or no candidate."""
    tops = ranked[["p_top", "p_top_neutral"]].astype("Float64")
    # variance of a coin p (1 - p), scaled to 1 at p = 1/2
    coins = (4 * tops * (1 - tops)).max(axis=1)
    is_open = np.zeros(len(topology.elements))
    known = coins.reindex(topology.services).fillna(0.0)
    is_open[: len(known)] = known.to_numpy("float64")  # the services come first
    return is_open


def decided(
    impact: Series, is_open: Floats, is_certain: Booleans, topology: Topology, most: int
) -> Integers:
    """Return the positions to decide: uncertain impacts, open labels, then largest losses first."""
    # Only services and outside elements are decided: infrastructure loses what they lose.
    kinds = topology.elements.get_level_values(0)
    loss = impact.reindex(topology.elements).fillna(0.0).to_numpy("float64")
    order = np.lexsort((-loss, -is_open, is_certain))
    order = order[kinds.isin(RANKED)[order]]
    return np.sort(order[:most])


def _frame(known: Known, value: Worth, settings: Any) -> DataFrame:
    from assess.score.experiments import safest

    reach = known.reach
    kinds = known.topology.elements.get_level_values(0)
    can_try = kinds.isin(settings["tried_kinds"])
    worths = np.where(can_try, value.value, 0.0)
    costs = reach[["impact_hi", "services_down_n"]].to_numpy("float64").T
    # the sort is stable: equals keep the order of the elements
    order = np.lexsort(costs)
    best = np.lexsort([*costs, -worths])
    listed = best[worths[best] > 0][: int(settings["experiments_most"])]
    useful = order[worths[order] > 0]
    same = settings["same_share"]
    tried = value.trials[useful].tocsc()
    places = [safest(value, row, useful, tried, same) for row in listed]
    names = known.topology.elements
    edges = [_edge(value, row) for row in listed]
    ends = known.topology.edges.iloc[edges]
    arrows = zip(ends["src"], ends["dst"], strict=True)
    decides = [_decides(known, value, row) for row in listed]
    none = np.full(len(listed), np.nan)
    labels = none if value.labels is None else value.labels[listed]
    frame = DataFrame(
        {
            "value": worths[listed],
            "label_value": labels,
            "ranking_value": value.ranking[listed],
            "trials_n": np.asarray(value.trials[listed].sum(axis=1)).ravel(),
            "edge": [f"{src} -> {dst}" for src, dst in arrows],
            "decides": ["; ".join(each) for each in decides],
            "safest": [" ".join(names[place]) for place in places],
            "safest_reach_n": reach["services_down_n"].to_numpy()[places],
        },
        index=names[listed],
    )
    shown = ["impact", "impact_hi", "next_hi", "services_down_n"]
    frame = frame.join(reach[shown]).rename(columns={"services_down_n": "reach_n"})
    is_safer = listed != np.array(places)
    rows = zip(edges, decides, is_safer, frame.itertuples(), strict=True)
    why = [_why(known, *row) for row in rows]
    return frame.assign(why=np.array(why, object)).astype({"why": "str"})


def _edge(value: Worth, row: int) -> int:
    """Return the edge about which the failure of an element shows most."""
    trials = value.trials[[row]]
    gained = trials.data * value.by_edge[trials.indices]
    return trials.indices[gained.argmax()]


def _decides(known: Known, value: Worth, row: int) -> list[str]:
    by_service = value.by_service @ value.trials[[row]].T
    shares = by_service.toarray().ravel()
    first = np.argsort(-shares, kind="stable")[:NAMED_MOST]
    first = first[shares[first] > 0]
    names = known.topology.elements.get_level_values(1)
    return list(names[known.services[first]])


def _why(known: Known, best: int, decides: list[str], is_safer: bool, row: Any) -> str:
    """Explain the value of an experiment, its possible cost, and a safer alternative."""
    edge = known.topology.edges.iloc[best]
    tries = round(known.trials[best])
    before = "nobody has tried yet"
    if tries >= FEW:
        before = "1 failure has tried" if tries == 1 else f"{tries} failures have tried"
    whom = sentence_list(map(element_name, decides), most=NAMED_MOST)
    src = element_name(edge["src"])
    dst = element_name(edge["dst"])
    text = [
        f"It shows whether {src} goes down with {dst}, which {before}.",
        f"It removes {share(row.value)} of the uncertainty about labels and the order of blast "
        f"radii, most of it about {whom}.",
        f"It can reach {counted(row.reach_n, 'service')}; {share(row.impact)} of the fleet's "
        f"criticality is expected to go down, at most {share(row.impact_hi)}.",
    ]
    if is_safer:
        safer = element_label(*row.safest.split(" ", 1))
        text.append(
            f"Safer, with at least half of the lesson: {safer}, which can reach "
            f"{counted(row.safest_reach_n, 'service')}."
        )
    return " ".join(text)


def _contributions(known: Known, value: Worth, frame: DataFrame) -> DataFrame:
    """Return the share of uncertainty that each listed experiment removes, by service."""
    rows = known.topology.elements.get_indexer(frame.index)
    shares = (value.trials[rows] @ value.by_service.T).tocoo()
    row, service = shares.coords
    # linear terms may add up to more than all there is: then each counts for less
    whole = np.bincount(row, shares.data, len(rows))
    table = frame.index[row].to_frame(index=False)
    names = known.topology.elements.get_level_values(1)
    table["about"] = names[known.services[service]]
    table["contribution"] = shares.data / whole[row] * frame["value"].to_numpy()[row]
    return table[PARTS]


def _edges(known: Known, value: Worth, variance: Floats) -> DataFrame:
    """Return by edge its trials, its standard deviation, and the effect of one more trial."""
    edges = known.topology.edges[["src", "dst", "kinds"]]
    halves = 1 if value.labels is None else 2
    table = edges.assign(
        tries_n=known.trials, sd=np.sqrt(variance), value=value.by_edge / halves
    )
    return table.sort_values("value", ascending=False, kind="stable", ignore_index=True)


@frozen
class Doubt:
    """By edge: its probability ``p`` [0-1], its ``variance``, and how much of it one trial takes."""

    p: Floats
    variance: Floats
    narrowed: Floats

    @classmethod
    def of(cls, topology: Topology, learned: Learned) -> Doubt:
        """Return the doubt that is left after what failures have taught.

        A Beta distribution of mean m and strength s has the variance ``m (1 - m) / (s + 1)``, and
        one more trial takes ``1 / (s + 1)`` of it on average. An edge that nobody tried keeps the
        doubt of the policy's interval. Given probabilities are not in doubt.
        """
        edges = topology.edges
        strength = learned.weight
        variance = learned.p * (1 - learned.p) / (strength + 1)
        lo = edges["lo"].to_numpy("float64")
        hi = edges["hi"].to_numpy("float64")
        declared = ((hi - lo) / SPREADS) ** 2
        variance = np.where(learned.tries > 0, variance, np.maximum(variance, declared))
        # an edge without width is given, not measured: no trial changes it
        variance = np.where(lo == hi, 0.0, variance)
        return cls(learned.p, variance, variance / (strength + 1))


def chances(topology: Topology, affected: DataFrame) -> csr_array:
    """Return by element and node the probability that it goes down, where listed."""
    row, node = topology.positions(affected)
    p = affected["p_down"].to_numpy("float64")
    itself, own = topology.initial_failures["point"]
    # what fails by itself is certain, whether it is listed or not
    rows = np.append(row, itself)
    nodes = np.append(node, own)
    values = np.append(p, np.ones(len(itself)))
    shape = (len(topology.elements), len(topology.nodes))
    table = csr_array((values, (rows, nodes)), shape=shape)
    table.sum_duplicates()
    table.data = np.minimum(table.data, 1.0)
    table.eliminate_zeros()
    return table


def sensitivity(
    topology: Topology, down: csr_array, p: Floats, services: Integers
) -> csr_array:
    """Return by given service and edge the derivative of the service's impact by the edge.

    The derivative of ``sum_j c_j P(j down | i failed)`` by the edge from s to d, with ways to j
    that do not share an edge taken as independent: ``P(d | i) sum_j c_j P(j | s) (1 - P(j | i)) /
    (1 - P(d | i) p P(j | s))``. Exact on a tree, and on ways that are apart.
    """
    total = total_weight(topology.weight)
    callee = topology.callee
    caller = topology.caller
    columns: list[Integers] = []
    values: list[Floats] = []
    for service in services:
        own = down[[service]].toarray()[0]
        edge = np.flatnonzero((own[callee] > 0) & (own[caller] < 1))
        ways = down[caller[edge]].tocoo()
        way, node = ways.coords
        arrives = own[callee[edge]]
        alone = 1 - (arrives * p[edge])[way] * ways.data
        # chance that no other way takes the node down
        kept = (1 - own[node]) / np.maximum(alone, LEAST)
        gained = topology.weight[node] * ways.data * np.minimum(kept, 1.0)
        lost = np.bincount(way, gained, len(edge))
        columns.append(edge)
        values.append(arrives * lost / total)
    shape = (len(services), len(p))
    # of floats, also where there is no service
    moves = np.concatenate([[], *values])
    return csr_array((moves, pairs_of(columns)), shape=shape)


def trials(topology: Topology, down: csr_array, p: Floats, edges: Integers) -> csr_array:
    """Return by element and given edge the expected number of trials in its failure."""
    # A trial happens where what is needed goes down. Where the caller goes down by
    # another way too, nobody can say which it was, and the trial says as much less.
    caller = topology.caller[edges]
    tried = down[:, topology.callee[edges]].tocoo()
    if not tried.nnz:
        return csr_array(tried.shape)
    row, edge = tried.coords
    falls = np.asarray(down[row, caller[edge]]).ravel()
    alone = np.maximum(1 - tried.data * p[edges][edge], LEAST)
    expected = tried.data * np.minimum((1 - falls) / alone, 1.0)
    kept = expected > LEAST
    places = (row[kept], edge[kept])
    return csr_array((expected[kept], places), shape=tried.shape)


def ranking_parts(
    impact: Floats, moved: Floats, variance: Floats
) -> tuple[Floats, float]:
    """Return by impact and edge the uncertainty of the ranking due to the edge, and the total.

    ``moved`` is by impact and edge. A part times the fall of the edge's variance is the fall of the
    whole.

    The expected loss of calling the larger of two the larger is ``s (phi(z) - z Phi(-z))`` with
    ``z = d / s``, d their distance and s the standard deviation of their difference; its derivative
    by the variance is ``phi(z) / (2 s)`` (the linear loss of Raiffa and Schlaifer 1961). Each of
    the two has half of it.
    """
    shared = (moved * variance) @ moved.T
    own = np.diag(shared)
    # variance of each difference of two impacts
    together = np.maximum(own[:, None] + own[None, :] - 2 * shared, 0.0)
    from scipy.special import ndtr  # which no other score loads at once

    s = np.sqrt(together)
    apart = s > LEAST
    s = np.where(apart, s, 1.0)
    z = np.abs(impact[:, None] - impact[None, :]) / s
    density = np.where(apart, np.exp(-(z**2) / 2) / ROOT_TAU, 0.0)
    # expected loss by a wrong order: the unit normal loss integral
    loss = s * (density - apart * z * ndtr(-z))
    slope = density / (2 * s)
    # sum over the others of slope (m - other)^2, written out
    parts = slope.sum(axis=1)[:, None] * moved**2
    parts += slope @ moved**2 - 2 * moved * (slope @ moved)
    return np.maximum(parts, 0.0) / 2, loss.sum() / 2


def label_parts(is_open: Floats, moved: Floats, variance: Floats) -> tuple[Floats, float]:
    """Return by impact and edge the uncertainty of open labels due to the edge, and the total.

    ``is_open`` is 1 for a label as good as a coin, and 0 for one that is settled [0-1]. What
    matters is the standard deviation of the impact. No label is settled for good.
    """
    spread = np.sqrt(moved**2 @ variance)
    counts = np.maximum(is_open, SETTLED)
    slope = counts / (2 * np.maximum(spread, LEAST))
    return slope[:, None] * moved**2, float(counts @ spread)


@frozen
class Worth:
    """By element, the share of uncertainty that its failure is expected to remove.

    ``labels`` and ``ranking`` [0-1; ``labels`` None where no label is open], ``trials`` by element
    and edge, ``by_edge`` the doubt that one trial takes, ``by_service`` that by service and edge.
    """

    labels: Floats | None
    ranking: Floats
    trials: csr_array
    by_edge: Floats
    by_service: csr_array

    @property
    def value(self) -> Floats:
        """Mean of both shares."""
        if self.labels is None:
            return self.ranking
        return (self.labels + self.ranking) / 2


def worth(
    topology: Topology, down: csr_array, doubt: Doubt, services: Integers, is_open: Floats
) -> Worth:
    """Return the value of the failure of each element for the services to decide."""
    moved = sensitivity(topology, down, doubt.p, services).toarray()
    lost = np.asarray(down[services] @ topology.weight)
    impact = lost / total_weight(topology.weight)
    parts = [
        label_parts(is_open, moved, doubt.variance),
        ranking_parts(impact, moved, doubt.variance),
    ]
    tries = trials(topology, down, doubt.p, np.arange(len(doubt.p)))
    by_service: Floats = np.zeros_like(moved)
    shares = []
    for each, whole in parts:
        scale = 1 / whole if whole > LEAST else 0.0
        part = each * doubt.narrowed * scale
        by_service += part
        shares.append(np.minimum(tries @ part.sum(axis=0), 1.0))
    return Worth(
        labels=shares[0] if parts[0][1] > LEAST else None,
        ranking=shares[1],
        trials=tries,
        by_edge=by_service.sum(axis=0),
        by_service=csr_array(by_service),
    )


def safest(
    value: Worth, row: int, order: Integers, tried: csc_array, share: float
) -> int:
    """Return the first element in ``order`` that tries enough of the edges that ``row`` tries.

    ``tried`` has the trials of the elements in this order.
    """
    own = value.trials[[row]]
    edge = own.indices
    weight = value.by_edge[edge]
    others = tried[:, edge]
    n = np.diff(others.indptr)
    both = np.minimum(others.data, np.repeat(own.data, n)) * np.repeat(weight, n)
    found = np.bincount(others.indices, both, len(order))
    enough = found >= share * (own.data @ weight) - LEAST
    return order[enough.argmax()] if enough.any() else row
