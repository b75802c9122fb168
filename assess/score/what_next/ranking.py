"""Rankings: over all weightings, and by the preferences of each board of the policy.

Two runs over the services with clear gates: in the pessimistic one every unknown is at its
worst; it decides labels. In the neutral one measurements are drawn from their intervals. The
difference is what better evidence could change.
"""

import math
import zlib
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

from assess.policy import Policy, Table
from assess.score import Booleans, Floats, Integers, Objects, frozen
from assess.score.incidents import in_containers
from assess.score.result import Result, with_ends
from assess.score.what_next.labels import labels
from assess.score.what_next.smaa import (
    BLOCK_BYTES,
    CutOff,
    acceptability,
    draw,
    on_grid,
    simplex_weights,
    totals,
)

Chances = Callable[[Floats], Floats]  # of the short list, by values of one criterion
RANKS = 20  # ranks of which the chance is kept
CONFIDENCE_DRAWS = 1000
EQUAL = 1e-9  # totals closer than this are equal
CHANCES = ["p_first", "p_top", "p_top_neutral"]
# what to find out where a measurement is not known; readiness names its own facts
FEW_VALUES = 16  # are compared one by one, without sorting
NEEDS = {
    "containment": "what moves, and with what it falls (workloads.host_id, dependencies.dst_id)",
    "low_blast_radius": "who calls it (dependencies.src_id)",
    "low_churn": "what its upgrades cost (engines.version, activities.kind)",
    "pain_today": "how often it breaks and how long a commit takes (incidents.service_id, "
    "services.lead_time_days)",
    "low_effort": "how many hours a move takes (services.move_effort_hours)",
}


# ---- the criteria of a move, each on a scale from 0 to 1; high means earlier ----

UNKNOWN = {"point": 0.5, "lo": 0.0, "hi": 1.0}  # the whole scale, never 0


def criteria_table(
    services: DataFrame, readiness: Result, blast: Result, churn: Result, policy: Policy
) -> DataFrame:
    """Return ``service_id, criterion, point, lo, hi`` [share 0-1].

    ``services`` has the index service_id and columns ``move_effort_hours`` [h] and ``lead_time_days``
    [days]. ``[what_next]`` of the policy says what counts as full pain, effort and containment.
    """
    settings = policy["what_next"]
    radius = blast.details["services"].reindex(services.index)
    effort = _alike(services["move_effort_hours"], settings["effort_hours_max"])
    lead = _alike(services["lead_time_days"], settings["lead_time_days_max"])
    minutes = _bounds(radius, "expected_minutes_per_year", settings["pain_minutes_max"])
    # each half that is unknown counts as 0 at least, as 1 at most
    halves = [half.clip(0, 1).fillna(UNKNOWN) for half in (minutes, lead)]
    # a move may also lose containment: no change is in the middle of the scale
    scale = 2 * settings["containment_scale"]
    bounds = {
        "readiness": _bounds(readiness.frame.reindex(services.index), "readiness", 100),
        "containment": _flip(_bounds(radius, "delta", scale), around=0.5),
        "low_blast_radius": _flip(_bounds(radius, "impact", 1)),
        "low_churn": _flip(_bounds(churn.frame.reindex(services.index), "score", 100)),
        "pain_today": (halves[0] + halves[1]) / 2,
        "low_effort": _flip(effort),
    }
    typed = {name: table.astype("Float64") for name, table in bounds.items()}
    table = pd.concat(typed, names=["criterion", "service_id"])
    table = table.fillna(UNKNOWN).clip(0, 1).astype(float)
    # an unknown point may have ends that leave out the middle of the scale
    table["point"] = table["point"].clip(table["lo"], table["hi"])
    # service by service, each with its criteria in the order of `bounds`
    place = np.arange(len(table)).reshape(len(bounds), -1)
    order = place.T.ravel()
    table = table.reset_index().iloc[order].reset_index(drop=True)
    return table[["service_id", "criterion", "point", "lo", "hi"]]


def _bounds(frame: DataFrame, column: str, scale: float) -> DataFrame:
    return (frame[with_ends(column)] / scale).set_axis(list(UNKNOWN), axis=1)


def _flip(bounds: DataFrame, around: float = 1.0) -> DataFrame:
    """Turn low-is-good into high-is-good; lower and upper ends swap."""
    return DataFrame(
        {
            "point": around - bounds["point"],
            "lo": around - bounds["hi"],
            "hi": around - bounds["lo"],
        }
    )


def _alike(values: Series, most: float) -> DataFrame:
    """Return a number without an interval as a criterion whose ends are the same."""
    return DataFrame(dict.fromkeys(UNKNOWN, values.astype("Float64") / most))


@frozen
class ShortList:
    """The total that one service needs to be among the first k, by draw.

    ``values`` (c) are its criteria [0-1], ``weights`` (draws, c) one row per draw, on the grid of
    `on_grid`, ``total`` and ``cut_off`` (draws) its total and the total that it has to beat.
    """

    values: Floats
    weights: Floats
    total: Floats
    cut_off: Floats

    @classmethod
    def of(
        cls, values: Floats, weights: Floats, cut_off: CutOff, *, competes: bool
    ) -> Self:
        """Compare a service with the others; a competing service is itself part of the cut-off."""
        total = totals(values, weights)
        to_beat = cut_off.kth
        if competes:
            # not with itself: where it is on the list, the next one has to be beaten
            to_beat = np.where(total >= cut_off.kth, cut_off.after, cut_off.kth)
        return cls(values, weights, total, to_beat)

    def chances(self, criterion: int) -> Chances:
        """Return the chance [0-1] as a function of one criterion [0-1]; a tie counts half."""
        # Each draw has a least value with which the service beats the cut-off. They are
        # sorted where many values are asked for.
        weight = self.weights[:, criterion]
        others = self.total - weight * on_grid(self.values[criterion])
        gap = self.cut_off - others
        with np.errstate(divide="ignore", invalid="ignore"):
            # without weight the criterion changes nothing: -inf always wins, inf never
            needed = gap / weight
        always_ties = np.isnan(needed)  # without weight, and no gap
        needed[always_ties] = np.inf
        extra_ties = np.count_nonzero(always_ties)

        def chances(values: Floats) -> Floats:
            value, back = np.unique(on_grid(np.clip(values, 0, 1)), return_inverse=True)
            if len(value) <= FEW_VALUES:
                wins = np.array([np.count_nonzero(needed < each) for each in value])
                ties = np.array([np.count_nonzero(needed == each) for each in value])
            else:
                ordered = np.sort(needed)
                wins = np.searchsorted(ordered, value, side="left")
                ties = np.searchsorted(ordered, value, side="right") - wins
            shares: Floats = (wins + (ties + extra_ties) / 2) / len(needed)
            return shares[back]

        return chances


class Option(NamedTuple):
    """An unknown measurement of a service, and the chance of the short list if it were known."""

    criterion: str
    fact: str
    best: float
    middle: float


@frozen
class Ranking:
    """The input of every ranking: sorted services, and bounds of their criteria.

    ``worst, best``, shape (services, criteria), are shares 0-1; ``gates`` the label of the gates of
    each service, NA where every gate passes; ``inside`` whether it runs in containers already.
    """

    services: pd.Index
    criteria: tuple[str, ...]
    worst: Floats
    best: Floats
    gates: Series
    readiness_lo: Series
    inside: Series
    policy: Policy

    @classmethod
    def of(cls, frame: DataFrame, criteria: DataFrame, policy: Policy) -> Self:
        """Build from ``label_gates, readiness_lo, platform`` and a table of criteria."""
        # sorted, so that the order of rows and columns never moves a draw
        frame = frame.sort_index()
        names = [str(name) for name in policy["criteria"]]
        bounds = {}
        for end in ("lo", "hi"):
            wide = criteria.pivot(index="service_id", columns="criterion", values=end)
            bounds[end] = wide.reindex(index=frame.index, columns=names).to_numpy(float)
        return cls(
            services=frame.index,
            criteria=tuple(names),
            worst=bounds["lo"],
            best=bounds["hi"],
            gates=frame["label_gates"],
            readiness_lo=frame["readiness_lo"],
            inside=in_containers(frame["platform"]),
            policy=policy,
        )

    @cached_property
    def k(self) -> int:
        """Length of the short list: a share of all services outside of containers, at least ``k``."""
        settings = self.policy["what_next"]
        candidates_n = int((~self.inside).sum())
        return max(int(settings["k"]), math.ceil(settings["k_share"] * candidates_n))

    @cached_property
    def competing(self) -> Booleans:
        """Services that compete, in both runs: clear gates, not yet in containers."""
        return (self.gates.isna() & ~self.inside).to_numpy(bool)

    @cached_property
    def weights(self) -> Floats:
        """Draws of all weightings, shape (draws, c)."""
        n = len(self.criteria)
        return on_grid(simplex_weights(self.policy.draws, n, self.generator()))

    @cached_property
    def _cut_off(self) -> CutOff:
        return CutOff.of(self.worst[self.competing], self.weights, self.k)

    def generator(self, salt: str = "") -> np.random.Generator:
        """Return a new generator for one purpose, always with the same draws."""
        # a stream of its own for each purpose, so that none moves the draws of another
        seed = [self.policy.seed]
        if salt:
            seed.append(zlib.crc32(salt.encode()))
        return np.random.default_rng(seed)

    def all_weightings(self) -> tuple[DataFrame, dict[str, DataFrame]]:
        """Rank over all weightings: a frame by service_id, and details.

        Frame: ``p_first, p_top, p_top_neutral, p_top_cleared, rank_expected, confidence, rank_equal``;
        details: ``acceptability`` of the first `RANKS` ranks, and ``central_weights``.
        """
        services = self.services[self.competing]
        values = self.worst[self.competing]
        ranks = min(RANKS, len(services))
        shares = acceptability(
            values,
            values,
            self.weights,
            k=self.k,
            rng=self.generator("ranks"),
            ranks=ranks,
        )
        columns = {
            "p_first": shares.p_first,
            "p_top": shares.p_top,
            "rank_expected": np.round(shares.rank_expected, 2),
            "confidence": self._confidence(shares.central_weights),
            "rank_equal": pd.array(self._rank_equal(values), dtype="Int64"),
        }
        frame = DataFrame(columns, index=services).reindex(self.services)
        frame["p_top_neutral"] = self._neutral(self.weights)
        frame["p_top_cleared"] = self._cleared(frame["p_top"])
        by_rank = DataFrame(shares.by_rank, services, range(1, ranks + 1))
        central = DataFrame(shares.central_weights, services, list(self.criteria))
        details = {
            "acceptability": _tidy(by_rank, "rank", "probability"),
            "central_weights": _tidy(central, "criterion", "weight"),
        }
        return self._typed(frame), details

    def under(self, preferences: Table, *, draws: int = 0) -> DataFrame:
        """Rank by the weights of a board: ``label, p_first, p_top, p_top_neutral`` by service_id.

        ``draws`` of either run; 0 takes those of the policy.
        """
        rng = self.generator(str(preferences.get("id", "")) or "board")
        weights = draw(preferences, self.criteria, draws or self.policy.draws, rng)
        values = self.worst[self.competing]
        shares = acceptability(values, values, weights, k=self.k, rng=rng, ranks=0)
        columns = {"p_first": shares.p_first, "p_top": shares.p_top}
        services = self.services[self.competing]
        frame = DataFrame(columns, index=services).reindex(self.services)
        frame["p_top_neutral"] = self._neutral(weights)
        frame = self._typed(frame)
        frame.insert(0, "label", self.labels(frame["p_top"]))
        return frame

    def labels(self, p_top: Series) -> Objects:
        """Label every service by its chance of the short list [0-1]."""
        settings = self.policy["what_next"]
        return labels(self.gates, p_top, self.readiness_lo, self.inside, settings)

    def under_each(self, boards: Sequence[Table]) -> DataFrame:
        """Rank by each board: ``board, service_id, label, p_first, p_top, p_top_neutral``."""
        parts = [DataFrame(columns=["board", "service_id", "label", *CHANCES])]
        for board in boards:
            table = self.under(board).rename_axis("service_id").reset_index()
            table.insert(0, "board", board["id"])
            parts.append(table)
        return pd.concat(parts[1:] or parts, ignore_index=True)

    def short_list(self, at: int) -> ShortList:
        """Return the short list as the service at a position sees it."""
        competes = bool(self.competing[at])
        return ShortList.of(
            self.worst[at], self.weights, self._cut_off, competes=competes
        )

    def chances(self, at: int) -> Chances | None:
        """Return the chance of a service as a function of readiness; None if in containers."""
        if self.inside.iloc[at]:
            return None
        return self.short_list(at).chances(self.criteria.index("readiness"))

    def options(self, at: int) -> list[Option]:
        """List unknown measurements of a competing service, with their possible effect."""
        # At its worst nothing changes, since the worst is what counts now.
        if not self.competing[at]:
            return []
        short_list = self.short_list(at)
        options = []
        for c, name in enumerate(self.criteria):
            worst = self.worst[at, c]
            best = self.best[at, c]
            if name in NEEDS and best > worst:
                values = np.array([best, (best + worst) / 2])
                options.append(Option(name, NEEDS[name], *short_list.chances(c)(values)))
        return options

    def _typed(self, frame: DataFrame) -> DataFrame:
        """Fill chances: 0 for services that do not compete, NA for those in containers."""
        chances = frame[CHANCES].fillna(0.0).mask(self.inside)
        frame[CHANCES] = chances.astype("Float64")
        return frame

    def _cleared(self, p_top: Series) -> Series:
        """Return the pessimistic chance of the short list if a service's own gates were clear."""
        readiness = self.criteria.index("readiness")
        chances = p_top.to_numpy(float, copy=True)
        for at in np.flatnonzero(~self.inside & ~self.competing).tolist():
            by_readiness = self.short_list(at).chances(readiness)
            chances[at] = by_readiness(self.worst[at, [readiness]])[0]
        return Series(chances, self.services, dtype="Float64").mask(self.inside)

    def _neutral(self, weights: Floats) -> Series:
        """Return the chance of the short list with measurements drawn from their intervals."""
        lo = self.worst[self.competing]
        hi = self.best[self.competing]
        shares = acceptability(
            lo, hi, weights, k=self.k, rng=self.generator("neutral"), ranks=0
        )
        chances = Series(shares.p_top, index=self.services[self.competing])
        return chances.reindex(self.services)

    def _confidence(self, central: Floats) -> Floats:
        """Return how often each is first under its own central weights, over drawn measurements."""
        # The confidence factor of Lahdelma and Salminen (2001), see `smaa`.
        ranked = np.flatnonzero(~np.isnan(central[:, 0]))
        wins = np.zeros(len(central))
        lo = self.worst[self.competing]
        span = self.best[self.competing] - lo
        rng = self.generator("confidence")
        # equals win by the same weights
        weights, which = np.unique(central[ranked], axis=0, return_inverse=True)
        step = max(1, BLOCK_BYTES // (8 * max(weights.size, lo.size, 1)))
        for start in range(0, CONFIDENCE_DRAWS if len(ranked) else 0, step):
            rows = min(step, CONFIDENCE_DRAWS - start)
            measured = lo + span * rng.random((rows, *lo.shape))
            sums = measured @ weights.T
            own_sums = sums[:, ranked, which]
            best = sums.max(axis=1)[:, which]
            wins[ranked] += (own_sums >= best - EQUAL).sum(axis=0)
        return wins / CONFIDENCE_DRAWS

    def _rank_equal(self, values: Floats) -> Integers:
        """Return the rank under the policy's fixed weights, for comparison."""
        weights = self.policy["criteria"]
        fixed = np.array([weights[c] for c in self.criteria], float)
        sums = values @ (fixed / fixed.sum())
        not_better = np.searchsorted(np.sort(sums), sums + EQUAL, side="right")
        return 1 + len(sums) - not_better


def _tidy(table: DataFrame, name: str, value: str) -> DataFrame:
    table = table.rename_axis("service_id").reset_index()
    rows = table.melt("service_id", var_name=name, value_name=value).dropna()
    return rows.sort_values("service_id", kind="stable", ignore_index=True)
