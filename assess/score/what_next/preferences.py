"""Boards: one ranking over all weightings, and one more for each board that weighs differently."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assess.policy.policy import Policy
from assess.score.incidents.exposure import in_containers
from assess.score.what_next.criteria import NEEDS
from assess.score.what_next.cut_off import Rival, rival_of
from assess.score.what_next.labels import labels
from assess.score.what_next.smaa import BLOCK_BYTES, acceptability, bars, chance_of_top
from assess.score.what_next.weights import draw, simplex_weights

Floats = NDArray[np.float64]
RANKS = 20  # ranks of which the chance is kept
CONFIDENCE_DRAWS = 1000
EQUAL = 1e-9  # totals closer than this are equal
CHANCES = ("p_first", "p_top", "p_top_neutral")


@dataclass(frozen=True)
class Contest:
    """Everything that a ranking needs, whatever the weights.

    Attributes
    ----------
    services : Index
        Every service.
    names : tuple of str
        The criteria.
    worst, best : ndarray, shape (n, c)
        Ends of every criterion of every service. [share 0-1]
    gates : Series
        Label of the gates of each service, NA where every gate passes.
    ready : Series
        Lower end of readiness. [points 0-100]
    inside : Series
        Whether it runs in containers already.
    policy : Policy
        Thresholds, draws and seed.
    """

    services: pd.Index
    names: tuple[str, ...]
    worst: Floats
    best: Floats
    gates: pd.Series
    ready: pd.Series
    inside: pd.Series
    policy: Policy

    @classmethod
    def of(cls, frame: pd.DataFrame, criteria: pd.DataFrame, policy: Policy) -> Self:
        """Take what counts from the frame and the criteria of a ranking.

        Parameters
        ----------
        frame : DataFrame, index service_id
            Columns ``label_gates, readiness_lo, platform``.
        criteria : DataFrame
            As `criteria.criteria_table` gives them.
        policy : Policy
            Thresholds, draws and seed.

        Returns
        -------
        Contest
            In the order of the names.
        """
        frame = frame.sort_index()
        ends = [
            criteria.pivot(index="service_id", columns="criterion", values=end)
            for end in ("lo", "hi")
        ]
        names = tuple(str(name) for name in policy["criteria"])
        worst, best = (
            end.reindex(index=frame.index, columns=list(names)).to_numpy(dtype=float)
            for end in ends
        )
        inside = in_containers(frame["platform"])
        return cls(
            frame.index,
            names,
            worst,
            best,
            frame["label_gates"],
            frame["readiness_lo"],
            inside,
            policy,
        )

    @property
    def k(self) -> int:
        """Length of the short list; never more than there are candidates."""
        return int(self.policy["what_next"]["k"])

    @cached_property
    def competing(self) -> NDArray[np.bool_]:
        """Who competes in the pessimistic run: clear gates, and not in containers yet."""
        mask: NDArray[np.bool_] = (self.gates.isna() & ~self.inside).to_numpy(dtype=bool)
        return mask

    @cached_property
    def hoping(self) -> NDArray[np.bool_]:
        """Who competes in the neutral run: gates aside, but for NEVER."""
        mask: NDArray[np.bool_] = (self.gates.ne("NEVER") & ~self.inside).to_numpy(
            dtype=bool
        )
        return mask

    @cached_property
    def weights(self) -> Floats:
        """Weights of the run over all weightings."""
        return simplex_weights(self.policy.draws, len(self.names), self._rng())

    @cached_property
    def _bars(self) -> tuple[Floats, Floats]:
        return bars(self.worst[self.competing], self.weights, self.k)

    def _rng(self, salt: str = "") -> np.random.Generator:
        seed = [self.policy.seed, zlib.crc32(salt.encode())] if salt else self.policy.seed
        return np.random.default_rng(seed)

    def all_weightings(self) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
        """Rank over all weightings.

        Returns
        -------
        frame : DataFrame, index service_id
            ``p_first, p_top, p_top_neutral, rank_expected, confidence, rank_equal``.
        details : dict of str to DataFrame
            ``acceptability`` of the first `RANKS` ranks, and ``central_weights``.
        """
        ids, values = self.services[self.competing], self.worst[self.competing]
        ranks = min(RANKS, len(ids))
        found = acceptability(
            values, values, self.weights, k=self.k, rng=self._rng("ranks"), ranks=ranks
        )
        frame = pd.DataFrame(
            {
                "p_first": found.p_first,
                "p_top": found.p_top,
                "rank_expected": np.round(found.rank_expected, 2),
                "confidence": self._confidence(found.central_weights),
                "rank_equal": pd.array(self._rank_equal(values), dtype="Int64"),
            },
            index=ids,
        ).reindex(self.services)
        frame["p_top_neutral"] = self._neutral(self.weights)
        rank = pd.DataFrame(found.by_rank, index=ids, columns=range(1, ranks + 1))
        tidy = (
            rank.rename_axis("service_id")
            .reset_index()
            .melt("service_id", var_name="rank")
        )
        tidy = tidy.rename(columns={"value": "probability"})
        central = pd.DataFrame(found.central_weights, index=ids, columns=list(self.names))
        weights = central.rename_axis("service_id").reset_index()
        weights = weights.melt(
            "service_id", var_name="criterion", value_name="weight"
        ).dropna()
        details = {
            "acceptability": tidy.sort_values(["service_id", "rank"], ignore_index=True),
            "central_weights": weights.sort_values(
                "service_id", kind="stable", ignore_index=True
            ),
        }
        return self._typed(frame), details

    def under(self, board: Mapping[str, Any], *, draws: int = 0) -> pd.DataFrame:
        """Rank by the weights that a board could have.

        Parameters
        ----------
        board : mapping
            As in `weights.draw`.
        draws : int, default 0
            Draws of either run; 0 takes those of the policy. [count]

        Returns
        -------
        DataFrame, index service_id
            ``label, p_first, p_top, p_top_neutral``.
        """
        rng = self._rng(str(board.get("id", "")) or "board")
        weights = draw(board, self.names, draws or self.policy.draws, rng)
        values = self.worst[self.competing]
        found = acceptability(values, values, weights, k=self.k, rng=rng, ranks=0)
        columns = {"p_first": found.p_first, "p_top": found.p_top}
        frame = pd.DataFrame(columns, index=self.services[self.competing]).reindex(
            self.services
        )
        frame["p_top_neutral"] = self._neutral(weights)
        frame = self._typed(frame)
        settings = self.policy["what_next"]
        label = labels(self.gates, frame["p_top"], self.ready, self.inside, settings)
        frame.insert(0, "label", label)
        return frame

    def _typed(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Give what does not compete a chance of nought, and what is in containers none at all."""
        chances = list(CHANCES)
        frame[chances] = frame[chances].fillna(0.0).mask(self.inside).astype("Float64")
        return frame

    def _neutral(self, weights: Floats) -> pd.Series:
        """Chance of the short list with measurements drawn from their intervals."""
        lo, hi = self.worst[self.hoping], self.best[self.hoping]
        found = acceptability(
            lo, hi, weights, k=self.k, rng=self._rng("neutral"), ranks=0
        )
        return pd.Series(found.p_top, index=self.services[self.hoping]).reindex(
            self.services
        )

    def _confidence(self, central: Floats) -> Floats:
        """Say how often each comes first by its own central weights.

        Measurements are drawn from their intervals: Lahdelma's confidence factor.
        """
        first, found = np.flatnonzero(~np.isnan(central[:, 0])), np.zeros(len(central))
        lo, hi = self.worst[self.competing], self.best[self.competing]
        rng, turned = self._rng("confidence"), central[first].T
        step = max(1, BLOCK_BYTES // (8 * max(turned.size, lo.size, 1)))
        for start in range(0, CONFIDENCE_DRAWS if len(first) else 0, step):
            rows = min(step, CONFIDENCE_DRAWS - start)
            totals = (lo + (hi - lo) * rng.random((rows, *lo.shape))) @ turned
            own = totals[:, first, np.arange(len(first))]
            found[first] += (own >= totals.max(axis=1) - EQUAL).sum(axis=0)
        return found / CONFIDENCE_DRAWS

    def _rank_equal(self, values: Floats) -> NDArray[np.int64]:
        """Rank by the one set of weights of the policy, for contrast."""
        fixed = np.array(
            [self.policy["criteria"][name] for name in self.names], dtype=float
        )
        totals = values @ (fixed / fixed.sum())
        better = np.searchsorted(np.sort(totals), totals + EQUAL, side="right")
        ranks: NDArray[np.int64] = 1 + len(totals) - better
        return ranks

    def rival(self, at: int) -> Rival | None:
        """Say what a service competes with, by its position; None for what is in containers."""
        if self.inside.iloc[at]:
            return None
        return rival_of(
            self.worst[at],
            self.names.index("readiness"),
            self.weights,
            self._bars,
            competes=bool(self.competing[at]),
        )

    def options(self, at: int) -> list[tuple[str, str, float, float]]:
        """Say what the chance of the short list would be, were an unknown measurement known.

        Parameters
        ----------
        at : int
            Position of the service.

        Returns
        -------
        list of tuple
            Criterion, what to find out, and the chance with the measurement at its best and in the
            middle; for a service that competes.
        """
        if not self.competing[at]:
            return []
        own, found = self.worst[at], []
        for c, name in enumerate(self.names):
            if name not in NEEDS or self.best[at, c] <= own[c]:
                continue
            best, middle = own.copy(), own.copy()
            best[c], middle[c] = self.best[at, c], (self.best[at, c] + own[c]) / 2
            best_p, middle_p = (
                chance_of_top(other, self.weights, self._bars, competes=own)
                for other in (best, middle)
            )
            found.append((name, NEEDS[name], best_p, middle_p))
        return found


def over_boards(contest: Contest, boards: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rank once for every board.

    Parameters
    ----------
    contest : Contest
        The candidates.
    boards : sequence of mapping
        The boards of the policy.

    Returns
    -------
    DataFrame
        ``board, service_id, label, p_first, p_top, p_top_neutral``, board by board.
    """
    columns = ["board", "service_id", "label", *CHANCES]
    parts = [
        contest.under(board)
        .rename_axis("service_id")
        .reset_index()
        .assign(board=board["id"])
        for board in boards
    ]
    return (
        pd.concat(parts, ignore_index=True)[columns]
        if parts
        else pd.DataFrame(columns=columns)
    )
