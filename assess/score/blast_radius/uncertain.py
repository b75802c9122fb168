"""What one failure loses where arcs are uncertain: by all outcomes of few arcs, else draws."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from assess.policy import Policy
from assess.score import Ends, Floats, Integers, Words, frozen
from assess.score.blast_radius.bitset import Weights, bits_of, blocks, to_words
from assess.score.blast_radius.topology import total_weight
from assess.score.blast_radius.undecided import Undecided

SAME = 1e-9  # losses that differ by less are one step; sums of chances round as well
POINTS = 1000  # equally likely losses that stand for a distribution
EQUAL = np.full((1, POINTS), 1 / POINTS)
ROWS = 1000  # distributions computed together
SHARES = 100  # steps of the share that nothing unexplained can hit
ROOM = 1 << 23  # bytes of outcomes computed together: they stay in the cache
ROOMS = 8  # so many times as much where scenarios share their arcs
DIGITS = 12  # of a chance that is a sum
WORD = 6  # a word holds every outcome of so many arcs
# a failure passes an open arc; any of them is enough
OUTCOMES = (np.bitwise_and, np.bitwise_or)
CELLS_A_STEP = 64  # of a sweep, at least: a long chain takes many steps
CHANCES = (np.multiply, np.maximum)  # along a path, and of the best path
# by scenario; ``next_lo, next_hi`` are the ends of what one failure loses (`middle`)
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


@frozen
class Unexplained:
    """Equally likely ``losses`` that no edge explains, smallest first; the fleet weighs ``total``."""

    losses: Floats
    total: float

    @classmethod
    def of(cls, floor: Floats, weight: Floats, seed: int) -> Unexplained:
        """Draw the services that go down without a known cause, each with its own probability."""
        rng = np.random.default_rng(seed)
        # services come by name: draws in the order of their values do not depend on names
        order = np.lexsort([weight, floor])
        falls = rng.random((POINTS, len(floor))) < floor[order]
        return cls(np.sort(falls @ weight[order]), total_weight(weight))

    def besides(self, reached: Floats) -> Floats:
        """Return by row equally likely losses of services outside the ``reached`` weight."""
        # drop a loss as a whole, with the chance that it hits reached services; never shrink it
        share = (reached / self.total)[:, None]
        hit = np.arange(POINTS) < POINTS * share
        return np.where(hit[:, _shuffled(1)], 0.0, self.losses)

    def ends(self, reached: Floats, level: float) -> Ends:
        """Return by row the interval of the unexplained losses alone."""
        shares = np.linspace(0, self.total, SHARES + 1)
        lo, hi = middle(self.besides(shares), EQUAL, level)
        at = np.minimum((reached / self.total * SHARES).astype(np.int64), SHARES)
        return lo[at], hi[at]

    def middle(
        self, losses: Floats, chance: Floats, reached: Floats, level: float
    ) -> Ends:
        """Return by row the interval of explained and unexplained losses together."""
        every = np.broadcast_to(chance, losses.shape)
        ends = np.empty((2, len(losses)))
        for start in range(0, len(losses), ROWS):
            rows = slice(start, start + ROWS)
            known = _equally_likely(losses[rows], every[rows])
            both = known[:, _shuffled(0)] + self.besides(reached[rows])
            ends[:, rows] = middle(both, EQUAL, level)
        return ends[0], ends[1]


def _shuffled(seed: int) -> Integers:
    """Return a fixed random order of points, so that joined distributions are independent."""
    return np.random.default_rng(seed).permutation(POINTS)


def _equally_likely(losses: Floats, chance: Floats) -> Floats:
    """Return by row `POINTS` equally likely losses, smallest first."""
    n, width = losses.shape
    order = np.argsort(losses, axis=1, kind="stable")
    each = np.take_along_axis(chance, order, 1)
    upto = np.minimum(np.cumsum(each, axis=1), 1)
    # shift each row by 2, beyond the values of the row before: one search serves all rows
    line = 2.0 * np.arange(n)[:, None]
    points = (np.arange(POINTS) + 0.5) / POINTS
    at = np.searchsorted((line + upto).ravel(), (line + points).ravel())
    starts = width * np.arange(n)[:, None]
    at = at.reshape(n, POINTS) - starts
    place = np.take_along_axis(order, np.minimum(at, width - 1), 1)
    return np.take_along_axis(losses, place, 1)


def middle(losses: Floats, chance: Floats, level: float) -> Ends:
    """Return by row the ends of the middle share ``level`` of its losses.

    A loss comes in steps, and a step is inside or outside as a whole. One tail is cut as near to
    ``(1 - level) / 2`` as steps allow, and the other as near to what is then still to be cut; of
    both orders the one counts that ends nearer to ``level``. Quantiles alone hold 95%
    of what starts with a large step.
    """
    order = np.argsort(losses, axis=1, kind="stable")
    value = np.take_along_axis(losses, order, 1)
    below, above = _tails(value, np.broadcast_to(chance, losses.shape), order)
    lo, hi, error = _cut(below, above, 1 - level)
    other_hi, other_lo, other_error = _cut(above, below, 1 - level)
    # discrete losses rarely meet the level exactly: the nearer of two intervals is taken
    is_other = other_error < error - SAME
    lo = np.where(is_other, other_lo, lo)
    hi = np.where(is_other, other_hi, hi)
    row = np.arange(len(value))
    return value[row, lo], value[row, np.maximum(hi, lo)]


def _tails(value: Floats, chance: Floats, order: Integers) -> Ends:
    """Return by sorted value the probability of less, and of more."""
    each = np.take_along_axis(chance, order, 1)
    upto = np.cumsum(each, axis=1)
    step = np.diff(value, axis=1) > SAME
    edge = np.ones((len(value), 1), bool)
    starts = np.hstack([edge, step])
    ends = np.hstack([step, edge])
    below = np.maximum.accumulate(np.where(starts, upto - each, 0.0), axis=1)
    through = np.where(ends, upto, np.inf)[:, ::-1]
    up_to_here = np.minimum.accumulate(through, axis=1)[:, ::-1]
    above = 1 - up_to_here
    return below, above


def _cut(
    first: Floats, second: Floats, share: float
) -> tuple[Integers, Integers, Floats]:
    """Return by row where half of a share ends one tail, where the rest ends the other, the error."""
    row = np.arange(len(first))
    wanted = np.full(len(first), share)
    one = _nearest(first, wanted / 2)
    other = _nearest(second, wanted - first[row, one])
    cut = first[row, one] + second[row, other]
    return one, other, np.abs(cut - share)


def _nearest(tail: Floats, wanted: Floats) -> Integers:
    """Return by row the position where its tail is nearest to ``wanted``."""
    return np.abs(tail - wanted[:, None]).argmin(axis=1)


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
        """Read the tables ``simulation`` and ``blast_radius``."""
        settings = policy["blast_radius"]
        # the standard deviation of a share is at most one half: its error stays within ``se_max``
        draws = math.ceil((0.5 / settings["se_max"]) ** 2) + 1
        return cls(
            seed=policy.seed,
            draws=draws,
            draws_least=int(settings["draws_least"]),
            se_max=settings["se_max"],
            enumerate_up_to=settings["enumerate_up_to"],
            block_mib=settings["block_mib"],
            exposed_from=settings["exposed_from"],
            ways_most=int(settings["ways_most"]),
            pairs_most=int(settings["drawn_pairs_max"]),
            level=policy.level,
        )


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


@frozen
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


def decide(undecided: Undecided, sampling: Sampling) -> Outcome:
    """Decide undecided nodes: one bit per outcome if uncertain arcs are few, else per draw."""
    found = Outcome.none(undecided)
    few = undecided.uncertain_n
    is_exact = few <= sampling.enumerate_up_to
    digits = np.maximum(few, WORD)
    for n in np.unique(digits[is_exact]).tolist():
        alike = np.flatnonzero(is_exact & (digits == n))
        for chunk in undecided.chunks(alike, ROOM >> (n + 3)):
            part, cells = undecided.select(chunk)
            found.put(cells, chunk, _enumerated(part, n, sampling))
    draws = np.where(is_exact, 0, _draws(undecided, sampling))
    first = np.minimum(draws, sampling.draws_least) if sampling.is_frugal else draws
    _draw(found, undecided, sampling, first)
    if sampling.is_frugal:
        imprecise = found.losses["se"] > sampling.se_max * undecided.graph.weight.sum()
        _draw(found, undecided, sampling, np.where(imprecise, draws, 0))
    return found


def _draw(
    found: Outcome, undecided: Undecided, sampling: Sampling, draws: Integers
) -> None:
    """Enter the outcome of scenarios by so many draws each; those of none stay as they are."""
    deepest = int(undecided.graph.depth.max(initial=0))
    for n in np.unique(draws[draws > 0]).tolist():
        alike = np.flatnonzero(draws == n)
        room = max(ROOM // (n // 8 + 1), deepest * CELLS_A_STEP)
        if undecided.is_shared:
            room *= ROOMS
        for chunk in undecided.chunks(alike, room):
            part, cells = undecided.select(chunk)
            found.put(cells, chunk, _drawn(part, n, sampling))


def _draws(undecided: Undecided, sampling: Sampling) -> Integers:
    """Return the draws needed for a small standard error: few where little can be reached."""
    share = undecided.weight() / total_weight(undecided.graph.weight)
    # the standard deviation of a share is at most half of what can be reached
    deviation = share / 2
    enough = np.ceil((deviation / sampling.se_max) ** 2) + 1
    least = min(sampling.draws, sampling.draws_least)
    return np.where(enough <= sampling.draws_least, least, sampling.draws)


def _enumerated(part: Undecided, digits: int, sampling: Sampling) -> Outcome:
    """Decide by every outcome of at most ``digits`` arcs in each scenario."""
    p, row = _doubtful(part, digits)
    width = 1 << digits
    # mask i repeats 2**i zeros and 2**i ones: bit k of it is bit i of k; the last is all ones
    masks = np.arange(width) >> np.arange(digits)[:, None] & 1 > 0
    gates = to_words(np.vstack([masks, np.ones((1, width), bool)]))
    chance = np.ones((part.n, 1))
    for each in p.T[:, :, None]:
        chance = np.concatenate([chance * (1 - each), chance * each], axis=1)
    down = bits_of(_spread(part, gates, row), width)
    # sums round: chances that are equal must stay equal, for they are ranked
    likely = (down * chance[part.scenario]).sum(axis=1).round(DIGITS)
    found = Outcome.none(part)
    found.p[:] = likely
    found.losses["loss"] = part.weight(likely)
    if sampling.spread:
        weighed = down * part.graph.weight[part.node, None]
        losses = np.zeros((part.n, width))  # in a scenario without a cell nothing is lost
        starts = np.flatnonzero(np.diff(part.scenario, prepend=-1))
        if len(starts):
            losses[part.scenario[starts]] = np.add.reduceat(weighed, starts)
        _add_middle(found, part, losses, chance, sampling)
    return found


def _doubtful(part: Undecided, digits: int) -> tuple[Floats, Integers]:
    """Return the chances of the uncertain arcs of each scenario, and by way its number."""
    # a certain way has the number ``digits``; a number without an arc has the chance 0
    chance = part.graph.p[part.arc]
    scenario = part.scenario[part.head]
    ways = np.lexsort([part.arc, scenario])
    ways = ways[chance[ways] < 1]
    first = np.searchsorted(scenario[ways], np.arange(part.n))
    number = np.arange(len(ways)) - first[scenario[ways]]
    row = np.full(len(part.arc), digits)
    row[ways] = number
    p = np.zeros((part.n, digits))
    p[scenario[ways], number] = chance[ways]
    return p, row


def _drawn(part: Undecided, draws: int, sampling: Sampling) -> Outcome:
    arcs, row = part.arcs
    p = part.graph.p[arcs]
    ranks = _ranks(part.graph.keys[arcs], p, sampling, draws)
    # one draw in each of equal strata: less noise than independent draws
    strata = (np.arange(sampling.draws) + 0.5) / sampling.draws
    # an arc is open in its first ranks, so that raising p closes none
    open_n = np.searchsorted(strata, p).astype(ranks.dtype)
    rows = blocks(*ranks.shape)
    masks = [to_words(ranks[some] < open_n[some, None]) for some in rows]
    full = to_words(np.ones((1, draws), bool))
    down = _spread(part, np.vstack([*masks, full]), row)
    found = Outcome.none(part)
    found.losses["exact"] = False
    found.p[:] = np.bitwise_count(down).sum(axis=1) / draws
    found.losses["loss"] = part.weight(found.p)
    if sampling.spread:
        losses = _losses(part, down, draws)
        found.losses["se"] = losses.std(axis=1, ddof=1) / math.sqrt(draws)
        chance = np.full((1, draws), 1 / draws)
        _add_middle(found, part, losses, chance, sampling)
    return found


def _spread(part: Undecided, gates: Words, row: Integers) -> Words:
    """Return the bits of each cell; the last gate is open in all outcomes."""
    shape = (len(part.node) + 1, gates.shape[1])
    down = np.zeros(shape, np.uint64)
    down[-1] = gates[-1]
    return part.sweep(down, gates, row, OUTCOMES)


def _losses(part: Undecided, down: Words, draws: int) -> Floats:
    """Return the weight lost by scenario and draw; nodes within one draw are not independent."""
    weights = Weights.of(part.graph.weight)
    ends = np.cumsum(part.cells)
    losses = np.zeros((part.n, draws))
    for scenario, (stop, n) in enumerate(zip(ends, part.cells, strict=True)):
        own = slice(stop - n, stop)
        losses[scenario] = weights.totals(part.node[own], down[own], draws)
    return losses


def _add_middle(
    found: Outcome, part: Undecided, losses: Floats, chance: Floats, sampling: Sampling
) -> None:
    """Add by scenario the interval of the loss of one failure."""
    besides = sampling.unexplained
    if besides is None:
        ends = middle(losses, chance, sampling.level)
    else:
        ends = besides.middle(losses, chance, part.weight(), sampling.level)
    found.losses["next_lo"], found.losses["next_hi"] = ends


def bounded(undecided: Undecided, *, most: bool) -> Outcome:
    """Bound the loss by uncertain arcs: by all reachable nodes, or by the most probable paths."""
    # Along one path of arcs a node fails with the product of their chances; with several,
    # more often.
    found = Outcome.none(undecided)
    losses = found.losses
    losses["exact"] = False
    losses["se"] = math.nan
    found.p[:] = 1.0
    losses["next_hi"] = undecided.weight(found.p)
    if not most:
        best = np.zeros(len(undecided.node) + 1)
        best[-1] = 1.0
        found.p[:] = undecided.sweep(best, undecided.graph.p, undecided.arc, CHANCES)
    losses["loss"] = undecided.weight(found.p)
    return found
