"""Decide uncertain arcs in many scenarios at once: by all outcomes of few arcs, else draws."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from assess.policy.policy import Policy
from assess.score import Floats, Integers, Words
from assess.score.blast_radius.bitset import Weights, bits_of, blocks, to_words
from assess.score.blast_radius.one_failure import Unexplained, middle
from assess.score.blast_radius.topology import Graph, total_weight
from assess.score.blast_radius.undecided import Undecided, weight_of

ROOM = 1 << 23  # bytes of outcomes computed together: they stay in the cache
ROOMS = 8  # so many times as much where scenarios share their arcs
DIGITS = 12  # of a chance that is a sum
WORD = 6  # a word holds every outcome of so many arcs
# a failure passes an open arc; any of them is enough
OUTCOMES = (np.bitwise_and, np.bitwise_or)
CELLS_A_STEP = 64  # of a sweep, at least: a long chain takes many steps
CHANCES = (np.multiply, np.maximum)  # along a path, and of the best path
# by scenario; ``next_lo, next_hi`` are the ends of what one failure loses (`one_failure.middle`)
LOSSES = np.dtype(
    [
        ("loss", float),  # weight that is expected to be lost, or a bound of it
        ("se", float),  # its standard error; NaN where it is a bound
        ("exact", bool),
        ("reached_n", int),  # nodes that can fail
        ("next_lo", float),
        ("next_hi", float),
    ]
)
AMOUNTS = ["loss", "next_lo", "next_hi"]


@dataclass(frozen=True)
class Sampling:
    """Settings for uncertain arcs.

    Up to ``enumerate_up_to`` of them are enumerated, more are drawn ``draws`` times; other limits are
    those of the policy. Without ``spread`` neither the interval of one failure, of coverage ``level``,
    nor the standard error is computed. Where it ``is_frugal``, a scenario gets more than
    ``draws_least`` draws only if its standard error asks for them. ``unexplained`` losses are
    added to those of one failure. ``ranks`` keeps the order of the draws by seed, draws and arc.
    """

    seed: int
    draws: int
    enumerate_up_to: int
    block_mib: float
    exposed_from: float = 0.5
    level: float = 0.9
    draws_least: int = 600
    se_max: float = 0.01
    ways_most: int = 5000
    pairs_most: int = 8_000_000
    spread: bool = True
    is_frugal: bool = False
    unexplained: Unexplained | None = None
    ranks: dict[tuple[int, ...], Integers] = field(
        default_factory=dict, compare=False, repr=False
    )

    @classmethod
    def of(cls, policy: Policy) -> Sampling:
        """Read the tables ``simulation`` and ``blast_radius``; draw `fewest_draws` at most."""
        settings = policy["blast_radius"]
        return cls(
            seed=policy.seed,
            draws=fewest_draws(policy),
            draws_least=int(settings["draws_least"]),
            se_max=settings["se_max"],
            enumerate_up_to=settings["enumerate_up_to"],
            block_mib=settings["block_mib"],
            exposed_from=settings["exposed_from"],
            ways_most=int(settings["ways_most"]),
            pairs_most=int(settings["drawn_pairs_max"]),
            level=policy.level,
        )


def fewest_draws(policy: Policy) -> int:
    """Return the draws that keep the standard error of any share within ``se_max``."""
    # the standard deviation of a share is at most one half
    return math.ceil((0.5 / policy["blast_radius"]["se_max"]) ** 2) + 1


def _ranks(keys: Words, p: Floats, sampling: Sampling, draws: int) -> Integers:
    """Return by arc the order of its strata (Latin hypercube), which its probability does not change."""
    ranks = np.zeros((len(keys), draws), np.min_scalar_type(-sampling.draws))
    least = min(sampling.draws_least, sampling.draws)
    doubtful = np.flatnonzero((p > 0) & (p < 1))
    for place, key in zip(doubtful.tolist(), keys[doubtful].tolist(), strict=True):
        name = (sampling.seed, sampling.draws, key)
        known = sampling.ranks.get(name)
        if known is None or len(known) < draws:
            # seeded by the arc's name: another edge of the fleet changes no draw of this one
            rng = np.random.default_rng([sampling.seed, key])
            known = _order(rng, sampling.draws, least, draws)
            sampling.ranks[name] = known
        ranks[place] = known[:draws]
    return ranks


def _order(rng: np.random.Generator, draws: int, least: int, wanted: int) -> Integers:
    """Return strata in random order; the first ``least`` of them alone also cover [0, 1] evenly."""
    ends = np.linspace(0, draws, least + 1).astype(np.int64)
    offset = rng.random(least) * np.diff(ends)
    first = ends[:-1] + offset.astype(np.int64)
    is_rest = np.ones(draws, bool)
    is_rest[first] = False
    rest = rng.permutation(np.flatnonzero(is_rest))
    order = np.concatenate([rng.permutation(first), rest])
    # copy, so that the rest of the array can be freed
    return order[: max(wanted, least)].astype(np.int32)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What uncertain arcs add to certain failures: ``p`` by cell, ``losses`` by scenario (`LOSSES`)."""

    p: Floats
    losses: np.ndarray

    @classmethod
    def none(cls, undecided: Undecided) -> Outcome:
        """Return an outcome in which no undecided node fails, though each can."""
        losses = certain_losses(np.zeros(undecided.n), undecided.cells)
        return cls(np.zeros(len(undecided.node)), losses)

    def put(self, cells: Integers, scenarios: Integers, part: Outcome) -> None:
        """Enter the outcome of some scenarios."""
        self.p[cells] = part.p
        self.losses[scenarios] = part.losses


def certain_losses(weight: Floats, reached_n: Integers) -> np.ndarray:
    """Return the losses of scenarios in which all that can fail does."""
    losses = np.zeros(len(weight), LOSSES)
    losses["exact"] = True
    losses["reached_n"] = reached_n
    for name in AMOUNTS:
        losses[name] = weight
    return losses


def doubtful_n(graph: Graph, undecided: Undecided) -> Integers:
    """Count the uncertain arcs by scenario."""
    scenario = undecided.scenario[undecided.head]
    doubtful = scenario[graph.p[undecided.arc] < 1]
    return np.bincount(doubtful, minlength=undecided.n)


def decide(graph: Graph, undecided: Undecided, sampling: Sampling) -> Outcome:
    """Decide undecided nodes: one bit per outcome if uncertain arcs are few, else per draw."""
    found = Outcome.none(undecided)
    few = doubtful_n(graph, undecided)
    is_exact = few <= sampling.enumerate_up_to
    digits = np.maximum(few, WORD)
    for n in np.unique(digits[is_exact]).tolist():
        alike = np.flatnonzero(is_exact & (digits == n))
        for chunk in undecided.chunks(alike, ROOM >> (n + 3)):
            part, cells = undecided.select(chunk)
            found.put(cells, chunk, _enumerated(graph, part, n, sampling))
    draws = np.where(is_exact, 0, _draws(graph, undecided, sampling))
    first = np.minimum(draws, sampling.draws_least) if sampling.is_frugal else draws
    _draw(found, graph, undecided, sampling, first)
    if sampling.is_frugal:
        imprecise = found.losses["se"] > sampling.se_max * graph.weight.sum()
        _draw(found, graph, undecided, sampling, np.where(imprecise, draws, 0))
    return found


def _draw(
    found: Outcome,
    graph: Graph,
    undecided: Undecided,
    sampling: Sampling,
    draws: Integers,
) -> None:
    """Enter the outcome of scenarios by so many draws each; those of none stay as they are."""
    for n in np.unique(draws[draws > 0]).tolist():
        alike = np.flatnonzero(draws == n)
        deepest = int(graph.depth.max(initial=0))
        room = max(ROOM // (n // 8 + 1), deepest * CELLS_A_STEP)
        if undecided.is_shared:
            room *= ROOMS
        for chunk in undecided.chunks(alike, room):
            part, cells = undecided.select(chunk)
            found.put(cells, chunk, _drawn(graph, part, n, sampling))


def _draws(graph: Graph, undecided: Undecided, sampling: Sampling) -> Integers:
    """Return the draws needed for a small standard error: few where little can be reached."""
    total = total_weight(graph.weight)
    share = weight_of(graph, undecided, np.ones(len(undecided.node))) / total
    # the standard deviation of a share is at most half of what can be reached
    deviation = share / 2
    enough = np.ceil((deviation / sampling.se_max) ** 2) + 1
    least = min(sampling.draws, sampling.draws_least)
    return np.where(enough <= sampling.draws_least, least, sampling.draws)


def _enumerated(
    graph: Graph, part: Undecided, digits: int, sampling: Sampling
) -> Outcome:
    """Decide by every outcome of at most ``digits`` arcs in each scenario."""
    p, row = _doubtful(graph, part, digits)
    width = 1 << digits
    # mask i repeats 2**i zeros and 2**i ones: bit k of it is bit i of k; the last is all ones
    masks = np.arange(width) >> np.arange(digits)[:, None] & 1 > 0
    gates = to_words(np.vstack([masks, np.ones((1, width), bool)]))
    chance = np.ones((part.n, 1))
    for each in p.T[:, :, None]:
        chance = np.concatenate([chance * (1 - each), chance * each], axis=1)
    down = bits_of(_spread(graph, part, gates, row), width)
    # sums round: chances that are equal must stay equal, for they are ranked
    likely = (down * chance[part.scenario]).sum(axis=1).round(DIGITS)
    found = Outcome.none(part)
    found.p[:] = likely
    found.losses["loss"] = weight_of(graph, part, likely)
    if sampling.spread:
        weighed = down * graph.weight[part.node, None]
        losses = np.zeros((part.n, width))  # in a scenario without a cell nothing is lost
        starts = np.flatnonzero(np.diff(part.scenario, prepend=-1))
        if len(starts):
            losses[part.scenario[starts]] = np.add.reduceat(weighed, starts)
        ends = _middle(graph, part, losses, chance, sampling)
        found.losses["next_lo"], found.losses["next_hi"] = ends
    return found


def _doubtful(graph: Graph, part: Undecided, digits: int) -> tuple[Floats, Integers]:
    """Return the chances of the uncertain arcs of each scenario, and by way its number."""
    # a certain way has the number ``digits``; a number without an arc has the chance 0
    scenario = part.scenario[part.head]
    ways = np.lexsort([part.arc, scenario])
    ways = ways[graph.p[part.arc[ways]] < 1]
    first = np.searchsorted(scenario[ways], np.arange(part.n))
    number = np.arange(len(ways)) - first[scenario[ways]]
    row = np.full(len(part.arc), digits)
    row[ways] = number
    p = np.zeros((part.n, digits))
    p[scenario[ways], number] = graph.p[part.arc[ways]]
    return p, row


def _drawn(graph: Graph, part: Undecided, draws: int, sampling: Sampling) -> Outcome:
    arcs, row = part.arcs
    p = graph.p[arcs]
    ranks = _ranks(graph.keys[arcs], p, sampling, draws)
    # one draw in each of equal strata: less noise than independent draws
    strata = (np.arange(sampling.draws) + 0.5) / sampling.draws
    # an arc is open in its first ranks, so that raising p closes none
    open_n = np.searchsorted(strata, p).astype(ranks.dtype)
    rows = blocks(*ranks.shape)
    masks = [to_words(ranks[some] < open_n[some, None]) for some in rows]
    full = to_words(np.ones((1, draws), bool))
    down = _spread(graph, part, np.vstack([*masks, full]), row)
    found = Outcome.none(part)
    found.losses["exact"] = False
    found.p[:] = np.bitwise_count(down).sum(axis=1) / draws
    found.losses["loss"] = weight_of(graph, part, found.p)
    if sampling.spread:
        losses = _losses(graph, part, down, draws)
        found.losses["se"] = losses.std(axis=1, ddof=1) / math.sqrt(draws)
        chance = np.full((1, draws), 1 / draws)
        ends = _middle(graph, part, losses, chance, sampling)
        found.losses["next_lo"], found.losses["next_hi"] = ends
    return found


def _spread(graph: Graph, part: Undecided, gates: Words, row: Integers) -> Words:
    """Return the bits of each cell; the last gate is open in all outcomes."""
    shape = (len(part.node) + 1, gates.shape[1])
    down = np.zeros(shape, np.uint64)
    down[-1] = gates[-1]
    return part.sweep(graph, down, gates, row, OUTCOMES)


def _losses(graph: Graph, part: Undecided, down: Words, draws: int) -> Floats:
    """Return the weight lost by scenario and draw; nodes within one draw are not independent."""
    weights = Weights.of(graph.weight)
    ends = np.cumsum(part.cells)
    losses = np.zeros((part.n, draws))
    for scenario, (stop, n) in enumerate(zip(ends, part.cells, strict=True)):
        own = slice(stop - n, stop)
        losses[scenario] = weights.totals(part.node[own], down[own], draws)
    return losses


def _middle(
    graph: Graph, part: Undecided, losses: Floats, chance: Floats, sampling: Sampling
) -> tuple[Floats, Floats]:
    """Return by scenario the interval of the loss of one failure."""
    besides = sampling.unexplained
    if besides is None:
        return middle(losses, chance, sampling.level)
    reached = weight_of(graph, part, np.ones(len(part.node)))
    return besides.middle(losses, chance, reached, sampling.level)


def bounded(graph: Graph, undecided: Undecided, *, most: bool) -> Outcome:
    """Bound the loss by uncertain arcs: by all reachable nodes, or by the most probable paths."""
    # Along one path of arcs a node fails with the product of their chances; with several,
    # more often.
    found = Outcome.none(undecided)
    losses = found.losses
    losses["exact"] = False
    losses["se"] = math.nan
    found.p[:] = 1.0
    losses["next_hi"] = weight_of(graph, undecided, found.p)
    if not most:
        best = np.zeros(len(undecided.node) + 1)
        best[-1] = 1.0
        found.p[:] = undecided.sweep(graph, best, graph.p, undecided.arc, CHANCES)
    losses["loss"] = weight_of(graph, undecided, found.p)
    return found
