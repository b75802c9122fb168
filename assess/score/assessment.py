"""The assessment of one snapshot: every score of it, each computed once when it is first read.

To add a score: write a function of the inventory, the policy and the scores it builds on in a
room of its own, add a cached property here that calls it, and name the property in ``SCORES``
(a score of each service) or ``FLEET_SCORES``. The command line and the report read these names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from functools import cached_property
from typing import Self

from pandas import DataFrame

from assess.errors import RequestError, no_such
from assess.frames import Row
from assess.inventory import Inventory
from assess.policy import Policy
from assess.policy.targets import STAY
from assess.score import frozen
from assess.score.backtest import Backtest
from assess.score.backtest import backtest as backtest  # noqa: PLC0414 - for `assess`
from assess.score.blast_radius.blast_radius import score_blast_radius
from assess.score.blast_radius.result import BlastRadius
from assess.score.claims import Claims, measure_claims
from assess.score.evidence import Evidence
from assess.score.evidence.tables import gather
from assess.score.experiments import Experiments, measure_experiments
from assess.score.incidents import Exposure, exposure
from assess.score.readiness import readiness_of
from assess.score.result import Provenance, Result, records_by
from assess.score.targets import Targets, measure_targets, readiness_at
from assess.score.upgrade_churn import score_upgrade_churn
from assess.score.upgrade_churn.history import History, known_history
from assess.score.what_next import WhatNext, rank

SCORES = ("readiness", "blast_radius", "upgrade_churn", "what_next")
FLEET_SCORES = ("claims", "backtest", "targets", "experiments")
OPEN = ("fail", "conflict", "unknown", "partial")  # states of an atom, the worst first


@frozen
class Assessment:
    """An inventory, a policy, and every score of them.

    ``history``: upgrades that the snapshots before show. ``earlier``: the assessment of an earlier
    snapshot; claims read what has moved since, the back-test its forecasts. ``asked``: elements, by
    kind and name, whose failure is simulated however little they lose.
    """

    inventory: Inventory
    policy: Policy
    history: History | None = None
    earlier: Assessment | None = None
    asked: tuple[tuple[str, str], ...] = ()
    # by table and service, as they are asked for
    _rows: dict[str, dict[str, list[Row]]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Refuse to call the later of two snapshots the earlier one."""
        if self.previous and self.previous.snapshot_at > self.inventory.snapshot_at:
            day = f"{self.previous.snapshot_at:%Y-%m-%d}"
            why = f"the snapshot to compare with, of {day}, is the later one"
            raise RequestError(why, hint="swap the two")

    @property
    def previous(self) -> Inventory | None:
        """The earlier inventory."""
        return self.earlier.inventory if self.earlier else None

    @cached_property
    def provenance(self) -> Provenance:
        """Origin of every score."""
        return Provenance.of(self.inventory, self.policy)

    @cached_property
    def exposure(self) -> Exposure:
        """Where services ran and how long they were watched, including since the earlier snapshot.

        Labels do not use it: they depend on one snapshot alone, so that a report has the same label
        as `what_next`.
        """
        return exposure(self.inventory.running, self.policy, self.previous)

    @cached_property
    def upgrades(self) -> History:
        """Upgrades up to and including this snapshot."""
        return known_history(
            self.inventory, self.policy, history=self.history, previous=self.previous
        )

    @cached_property
    def evidence(self) -> Evidence:
        """Evidence of every service, for checks and gates."""
        return gather(self.inventory.running, self.policy)

    @cached_property
    def readiness(self) -> Result:
        """Readiness of every service."""
        return readiness_of(self.evidence, self.inventory.running, self.policy)

    @cached_property
    def blast_radius(self) -> BlastRadius:
        """Blast radius of every element."""
        return score_blast_radius(self.inventory, self.policy, asked=self.asked)

    @cached_property
    def upgrade_churn(self) -> Result:
        """Upgrade churn of every service."""
        return score_upgrade_churn(self.inventory, self.policy, history=self.upgrades)

    def heading(self, target: str = "", by: str = "") -> Assessment:
        """Return the same assessment with upgrade churn up to another target or day."""
        if not target and not by:
            return self
        churn = score_upgrade_churn(
            self.inventory, self.policy, target=target, by=by, history=self.upgrades
        )
        return replace(self).take({"upgrade_churn": churn})

    @cached_property
    def what_next(self) -> WhatNext:
        """Ranking and label of every service."""
        return rank(self)

    @cached_property
    def targets(self) -> Targets:
        """Every service on every target of the policy."""
        return measure_targets(self)

    @cached_property
    def experiments(self) -> Experiments:
        """Ranking of the failures to try next."""
        return measure_experiments(self)

    @cached_property
    def claims(self) -> Claims:
        """The claims of the argument, measured on this fleet."""
        return measure_claims(self)

    @cached_property
    def backtest(self) -> Backtest:
        """Forecasts of the earlier snapshot, checked against what happened until this one."""
        readiness = self.earlier.readiness if self.earlier else None
        return backtest(
            self.inventory, self.policy, previous=self.previous, readiness=readiness
        )

    def take(self, scores: Mapping[str, Result | None]) -> Self:
        """Keep scores that are there already, by the name of the property; return itself."""
        known = {name: score for name, score in scores.items() if score}
        vars(self).update(known)  # where a cached property is kept
        return self

    def score(self, name: str) -> Result:
        """Return a score by its name in `SCORES` or `FLEET_SCORES`, with dashes or underscores."""
        names = [known.replace("_", "-") for known in (*SCORES, *FLEET_SCORES)]
        asked = name.replace("_", "-")
        if asked not in names:
            raise no_such("score", asked, names, RequestError)
        return getattr(self, asked.replace("-", "_"))

    @property
    def results(self) -> dict[str, Result]:
        """The scores of each service, the ranking first, by name on the command line."""
        names = sorted(SCORES, key="what_next".__ne__)
        return {name.replace("_", "-"): self.score(name) for name in names}

    @cached_property
    def services(self) -> DataFrame:
        """The ranking, best first, joined with the other scores; index ``service_id``."""
        blast = self.blast_radius.details["services"].add_prefix("blast_")
        churn = self.upgrade_churn.frame.add_prefix("churn_")
        return self.what_next.frame.join(blast).join(churn).rename_axis("service_id")

    def rows_of(self, table: str, service_id: str) -> list[Row]:
        """Return the rows of one service in a detail table of any score.

        From ``atoms``, only open ones, worst first; ``dimensions`` have their ``weight`` and
        ``contribution``.
        """
        if table not in self._rows:
            self._rows[table] = records_by(self._detail(table), "service_id")
        return self._rows[table].get(service_id, [])

    def _detail(self, name: str) -> DataFrame:
        """Return a detail of any score, as `rows_of` shows it."""
        result = next(r for r in self.results.values() if name in r.details)
        table = result.details[name]
        if name == "dimensions":
            return table.merge(result.contributions.drop(columns="point"), how="left")
        if name == "atoms":
            order = table["state"].astype("str").map({s: n for n, s in enumerate(OPEN)})
            opened = table.assign(order=order).dropna(subset="order")
            return opened.sort_values(["order", "check"])
        return table


def what_next(  # noqa: PLR0913 - what is known already need not be computed again
    inventory: Inventory,
    policy: Policy,
    *,
    readiness: Result | None = None,
    blast: Result | None = None,
    churn: Result | None = None,
    history: History | None = None,
    target: str = "",
) -> WhatNext:
    """Rank the candidates for a move over all weightings, and label every service.

    Parameters
    ----------
    inventory : Inventory
        The fleet.
    policy : Policy
        Criteria, boards, thresholds, draws and seed.
    readiness, blast, churn : Result, optional
        The three scores; those not handed in are computed.
    history : History, optional
        What earlier snapshots show of upgrades, for the churn that is computed.
    target : str, default ""
        Id of a target of the policy: rank as if that were the place to move to, with readiness and
        gates as they would be there; without one, the policy's default and the gates of today.

    Returns
    -------
    WhatNext
        Index ``service_id``, best first. ``p_first``, ``p_top`` [share 0-1] come from the
        pessimistic run (every unknown at its worst, only services with clear gates compete),
        ``p_top_neutral`` from measurements drawn from their intervals, for the same competitors;
        ``p_top_cleared`` is the ``p_top`` of a service behind a gate, were its own open gates
        cleared. Services that already run in containers do not compete: theirs are NA.
        ``confidence`` [share 0-1] is how often a service comes first for the weights that suit it
        best, ``rank_equal`` its rank by the weights of ``[criteria]``. ``details``: ``criteria,
        acceptability, central_weights, boards, waves, missing, information, flips``.

    Notes
    -----
    SMAA-2 with weights uniform on the simplex, and on what each ``[[board]]`` leaves of it; see
    `assess.score.what_next.smaa`.

    Examples
    --------
    >>> nxt = assess.what_next(inventory, policy)
    >>> nxt.frame["label"].head(2).to_dict()
    {'currency-rates': 'MOVE NOW', 'newsletter-signup': 'MOVE NOW'}
    >>> nxt.headline
    'newsletter-signup comes first in 92% of all weightings of the criteria.'
    """
    if target:
        readiness = readiness or readiness_at(inventory, policy, target)
    # the default one may have values of its own
    if target not in ("", STAY, policy["target"]["id"]):
        policy = policy.replace(target={"id": target})
    given = {"readiness": readiness, "blast_radius": blast, "upgrade_churn": churn}
    return Assessment(inventory, policy, history).take(given).what_next


def score_targets(
    inventory: Inventory,
    policy: Policy,
    *,
    readiness: Result | None = None,
    blast: Result | None = None,
    churn: Result | None = None,
) -> Targets:
    """Compare every target of the policy for every service.

    Parameters
    ----------
    inventory : Inventory
        The fleet.
    policy : Policy
        ``[[target]]``, ``[[refusal]]``, checks, gates, ``[churn]``.
    readiness, blast, churn : Result, optional
        The three scores of the same inventory; those not handed in are computed.

    Returns
    -------
    Targets
        ``frame``, index ``service_id, target``: ``verdict`` (fits, after fixes, unknown, no) and
        ``blockers``; ``readiness`` [points] as it would be there; ``hours_per_year`` of upgrades
        [hours]; ``delta`` of the criticality at stake [share]; ``cost_per_month`` [currency of the
        policy's prices; NA without sizes or prices]; each with ``_lo, _hi``; ``effort_hours`` of
        the move [hours]; ``dominated``; ``why``.

    Examples
    --------
    >>> targets = assess.score_targets(inventory, policy)
    >>> targets.frame.loc[("auth", "nomad"), "blockers"]
    'G6 secrets are baked into its image or configuration'
    """
    given = {"readiness": readiness, "blast_radius": blast, "upgrade_churn": churn}
    return Assessment(inventory, policy).take(given).targets


def score_experiments(
    inventory: Inventory,
    policy: Policy,
    *,
    readiness: Result | None = None,
    blast: Result | None = None,
    churn: Result | None = None,
) -> Experiments:
    """Rank the failures that could be tried next by what they would decide.

    Parameters
    ----------
    inventory : Inventory
        The fleet, with the failures that it has seen.
    policy : Policy
        Tables ``edges, blast_radius`` and all that the labels depend on.
    readiness, blast, churn : Result, optional
        The three scores of the same inventory; those not handed in are computed.

    Returns
    -------
    Experiments
        ``frame``, index ``element_kind, element``, best first: ``value``, the expected fall of the
        uncertainty that decides something [share 0-1], half ``label_value`` (labels that are open;
        NA where none is) and half ``ranking_value`` (the order of blast radii); ``trials_n``
        [count]; its cost: ``reach_n`` services that can be reached, ``impact, impact_hi, next_hi``
        [share of the fleet's criticality]; ``edge`` that it teaches most of; ``decides``, the
        services it is about; ``safest``, the element with the smallest reach that teaches at least
        half of the same, with ``safest_reach_n``; ``why``. ``details``: ``edges``, and what is
        ``decided``.

    Notes
    -----
    A trial narrows the Beta distribution of an edge; the derivative of each impact by the edge says
    what that is worth. See `assess.score.experiments`.

    Examples
    --------
    >>> experiments = assess.score_experiments(inventory, policy)
    >>> experiments.frame.index[0]
    ('ext', 'ext:cards.bank.example')
    """
    given = {"readiness": readiness, "blast_radius": blast, "upgrade_churn": churn}
    return Assessment(inventory, policy).take(given).experiments


def judge_claims(  # noqa: PLR0913 - what is known already need not be computed again
    inventory: Inventory,
    policy: Policy,
    *,
    previous: Inventory | None = None,
    history: History | None = None,
    readiness: Result | None = None,
    churn: Result | None = None,
) -> Claims:
    """Judge every claim of the argument on this fleet.

    Parameters
    ----------
    inventory : Inventory
        The fleet.
    policy : Policy
        ``[claims]``: the bounds, and the words that the evidence is read with.
    previous : Inventory, optional
        An earlier inventory: it shows what moved, and what was upgraded, since then.
    history : History, optional
        What more snapshots show of upgrades, as `upgrade_history` returns it.
    readiness, churn : Result, optional
        Scores of the same inventory; computed where they are left out.

    Returns
    -------
    Claims
        One row per claim, C1 to C16.

    Examples
    --------
    >>> claims = assess.judge_claims(inventory, policy)
    >>> claims.frame.loc["C9", ["text", "verdict"]].tolist()
    ['A database does not belong in a container', 'undecided']
    """
    earlier = Assessment(previous, policy) if previous else None
    given = {"readiness": readiness, "upgrade_churn": churn}
    return Assessment(inventory, policy, history, earlier).take(given).claims
