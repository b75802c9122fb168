"""Experiments: failures to try next, what each would decide, and where it is safest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pandas import DataFrame, Series

from assess.errors import AssessError, counted, did_you_mean
from assess.score.arrays import Booleans, Floats, Integers
from assess.score.blast_radius.learning import fit
from assess.score.blast_radius.topology import Topology
from assess.score.result import Explanation, Result
from assess.words import element_label, element_name, sentence_list, share

if TYPE_CHECKING:
    from assess.score.assessment import Assessment
    from assess.score.experiments.worth import Worth

KEY = ["element_kind", "element"]
PARTS = ["element_kind", "element", "about", "contribution"]
RANKED = ("service", "ext")
NAMED_MOST = 3  # services, and edges, in a sentence
FEW = 1.0  # trials below which a call counts as hardly tried
NOTHING = "No experiment would decide anything: no call of this fleet is in doubt."


@dataclass(frozen=True, eq=False, repr=False)
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
    # the arrays of this score need scipy, which no other score loads at once
    from assess.score.experiments.worth import Doubt, chances, worth

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
    from assess.score.experiments.worth import safest

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
