"""The measurements of the claims C1 to C16 on an assessment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations, product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pandas import DataFrame, MultiIndex, Series, Timestamp

from assess import reference
from assess.frames import surely
from assess.linear import Linear
from assess.linear import any_of as any_pattern
from assess.score import frozen
from assess.score.blast_radius.failures import ids
from assess.score.claims.measure import (
    Measurement,
    amount,
    compared,
    hull,
    mean,
    ratio,
    ratio_of,
    seen,
    share,
    tally,
    widened,
    worst_pulls,
)
from assess.score.evidence.facts import any_of, nodes
from assess.score.incidents import (
    ANY_CONTAINER,
    CONTAINER,
    DAY,
    HOST,
    Exposure,
    Spans,
    clipped,
    days_in,
    replicas_in_containers,
)
from assess.score.incidents.rates import NOTHING
from assess.score.incidents.recovery import self_healing
from assess.score.readiness.gates import NOT_DECIDABLE, OPEN
from assess.score.upgrade_churn import pace
from assess.score.upgrade_churn.breaking import broken_by
from assess.score.upgrade_churn.sights import text_of
from assess.words import UNKNOWN

if TYPE_CHECKING:
    from assess.inventory import Inventory
    from assess.policy import Policy
    from assess.score.assessment import Assessment

COUNTED = ["hub_failed", "hub_fine", "ecr_failed", "ecr_fine"]
UNSURE = ["hub_unknown", "ecr_unknown", "either_failed", "either_fine", "either_unknown"]
MOST_UNSURE = 5  # services of unknown kind: 32 comparisons


@frozen
class ClaimData:
    """An assessment, as the claims read it."""

    assessment: Assessment

    @property
    def inventory(self) -> Inventory:
        """The fleet without what is only built."""
        return self.assessment.inventory.running

    @property
    def policy(self) -> Policy:
        """The policy of the assessment."""
        return self.assessment.policy

    @property
    def exposure(self) -> Exposure:
        """Watched time and sound incidents."""
        return self.assessment.exposure

    @property
    def settings(self) -> dict[str, Any]:
        """The policy's section on claims."""
        return self.policy["claims"]

    @property
    def level(self) -> float:
        """Coverage of the intervals, a share."""
        return float(self.settings["level"])

    @property
    def spells(self) -> DataFrame:
        """Incidents and months of every service; see `Exposure.spells`."""
        return self.exposure.spells

    @property
    def unassigned_n(self) -> int:
        """Incidents of the watched time whose service nobody knows."""
        return int(self.exposure.incidents["service_id"].isna().sum())

    def compared(self, spells: DataFrame, first: Series) -> Measurement:
        """Compare two groups of spells; an incident of an unknown service may be of either."""
        return compared(spells, first, level=self.level, unassigned_n=self.unassigned_n)

    @property
    def side(self) -> Series:
        """Side of every service, index ``service_id``."""
        return self.exposure.side

    @property
    def orchestrated(self) -> Series:
        """Whether each spell is under an orchestrator; NA where only containers were seen."""
        platform = self.spells["platform"]
        is_named = self.spells["service_id"].map(self.exposure.is_named)
        vague = platform.eq(ANY_CONTAINER) & ~is_named
        orchestrators = self.policy["evidence"]["orchestrators"]
        return platform.isin(orchestrators).astype("boolean").mask(vague)


def forced_upgrades(data: ClaimData) -> Measurement:
    """C1: upgrades per year of a runtime or cluster that the end of its line forces."""
    rows = []
    for _, node in _own_nodes(data):
        product, version = reference.runtime_line(node)
        line = reference.line_of(product, version)
        rate = pace.forced_rate(product or UNKNOWN, line, str(data.settings["since"]))
        rows.append((product or UNKNOWN, line or UNKNOWN, *rate))
    columns = ["engine", "line", "point", "lo", "hi"]
    counts = DataFrame(rows, columns=columns).groupby(columns).size()
    table = counts.reset_index(name="n")[["engine", "line", "n", "point", "lo", "hi"]]
    # a provider may patch a host whose engine nobody saw: then it does not count
    apart = mean(table[table["engine"].ne(UNKNOWN)], level=data.level)
    measured = mean(table, level=data.level)
    return measured._replace(interval=hull(measured.interval, apart.interval))


def _own_nodes(data: ClaimData) -> list[tuple[str, reference.Node]]:
    """List the nodes of each host, without those that a provider patches."""
    inventory = data.inventory
    replicas = inventory["workloads"]
    inside = surely(replicas_in_containers(replicas, data.policy))
    # where engines were seen at all, any other host with containers has one, of unknown version
    inside &= inventory.has("engines")
    inside &= ~replicas["host_id"].isin(inventory["engines"]["host_id"])
    unseen = replicas.loc[inside, "host_id"].dropna()
    found = {host: [reference.Node()] for host in unseen} | nodes(inventory)
    return [
        (host, node)
        for host in sorted(found)
        for node in found[host]
        if not reference.is_managed(node)
    ]


def broken_services(data: ClaimData) -> Measurement:
    """C2: services in containers that an upgrade to the target breaks."""
    # a service of unknown place may be in containers
    side = data.side[~surely(data.side.eq(HOST))]
    result = data.assessment.upgrade_churn
    churn = result.frame.reindex(side.index)
    # a count is at least this much; an unknown count may be zero or not
    hit = churn["breaking_n"] > 0
    vague = churn["breaking_unknown_n"].gt(0) & ~surely(hit)
    # what hits may lie behind an engine that nobody knows
    vague |= side.index.isin(result.details["blind"]["service_id"])
    platform = data.exposure.platform.reindex(churn.index)
    answer = hit.mask(vague.fillna(value=True) | side.isna())
    # no rule knows every break: the upper end allows for those that a replay did not foretell
    table = tally(platform, answer).assign(found=float(data.settings["breaks_found"]))
    return share(table, level=data.level)


def failed_upgrades(data: ClaimData) -> Measurement:
    """C3: upgrades of an engine that an incident followed, or that broke what is still in use."""
    past = data.assessment.upgrades
    broke = broken_by(data.inventory, pace.upgrades(past.moves))
    tallies = pace.upgrade_failures(past, data.policy, broke)
    whole = tallies.pop(pace.POOL, (0, 0, 0))
    tallies = dict(sorted(tallies.items()))
    known = np.reshape([*tallies.values()], (-1, 3)).sum(axis=0)
    n, k, most = np.subtract(whole, known).astype(int)
    if n:
        tallies["unknown"] = (n, k, most)
    rows = [(line, k, n - most, most - k) for line, (n, k, most) in tallies.items()]
    table = DataFrame(rows, columns=["group", "yes", "no", "unknown"])
    table = table.assign(found=float(data.settings["breaks_found"]))
    looked = data.inventory.has("activities", "incidents")
    gap = "no upgrade was seen so far: how they go shows once there are some"
    return seen(share(table, level=data.level), gap, looked=looked)


def kept_images(data: ClaimData) -> Measurement:
    """C4: unused images that no clean-up rule would remove."""
    images = data.inventory["images"]
    on_host = images["host_id"].notna() & images["host_id"].ne("")
    place = on_host.map({True: "hosts (docker-gc)", False: "registry (lifecycle policy)"})
    used = _is_run(images, data)
    # a registry does not see containers: an image that no workload runs is unused
    in_use = images["containers_n"].gt(0).where(on_host, used)
    taken = images["reclaimable"].where(on_host, images["would_expire"])
    unused = ~surely(in_use)
    # an image that may be in use may not be one to clean up
    stays = (~taken).mask(in_use.isna())
    measured = share(tally(place[unused], stays[unused]), level=data.level)
    gap = "no image was seen that nothing uses: keep looking"
    return seen(measured, gap, looked=not images.empty)


def _is_run(images: DataFrame, data: ClaimData) -> Series:
    """Return whether a workload runs each image; NA where nobody knows."""
    place = ["registry", "repository"]
    workloads = data.inventory["workloads"]
    # a container whose repository is unknown may run any image
    is_unnamed = workloads[place].isna().any(axis=1)
    contained = replicas_in_containers(workloads, data.policy)
    runs_any = (is_unnamed & contained.fillna(value=True)).any()
    workloads = workloads.dropna(subset=place)
    known = workloads.dropna(subset="image_digest")[[*place, "image_digest"]]
    keys = MultiIndex.from_frame(images[[*place, "digest"]])
    is_run = keys.isin(MultiIndex.from_frame(known))
    # a workload of the repository whose digest is unknown may run any image of it
    vague = workloads.loc[workloads["image_digest"].isna(), place]
    may_run = keys.droplevel("digest").isin(MultiIndex.from_frame(vague))
    if runs_any or not data.assessment.inventory.has("workloads"):
        may_run[:] = True
    return Series(is_run, images.index, dtype="boolean").mask(may_run & ~is_run)


def troubled_hosts(data: ClaimData) -> Measurement:
    """C5: hosts with a driver or a kernel that the target does not support."""
    inventory = data.inventory
    target = reference.target_docker(data.policy["target"])
    engines = inventory["engines"].set_index(["host_id", "runtime"])
    drivers = engines["storage_driver"].to_dict()
    d_types = engines["d_type"].to_dict()
    kernels = inventory["hosts"].set_index("host_id")["kernel"].to_dict()
    answers = []
    for host, node in _own_nodes(data):
        driver = text_of(drivers.get((host, node.runtime)))
        d_type = d_types.get((host, node.runtime))
        runs = [
            reference.node_driver_runs(node, driver, target),
            reference.kernel_runs(text_of(kernels.get(host)), target),
            _shows_deleted_files(driver, d_type),
        ]
        named = f"{node.runtime or UNKNOWN} {driver or UNKNOWN}"
        # one no is enough; without one, a fact that is missing leaves it open
        fails = [run if run is None else not run for run in runs]
        answers.append((named, any_of(fails)))
    table = DataFrame(answers, columns=["runtime", "trouble"])
    return share(tally(table["runtime"], table["trouble"]), level=data.level)


def _shows_deleted_files(driver: str | None, d_type: object) -> bool | None:
    """Return whether a driver shows deleted files of lower layers as gone: overlay needs d_type."""
    if driver is None:
        return None
    if not driver.startswith("overlay"):
        return True
    return None if pd.isna(d_type) else bool(d_type)


def package_incidents(data: ClaimData) -> Measurement:
    """C6: share of incidents caused by a package repository."""
    incidents = data.exposure.incidents
    cause = incidents["cause"].mask(incidents["cause"].eq("unknown"))
    hit = cause.eq("package-repo").astype("boolean").mask(cause.isna())
    is_whole = data.exposure.is_covered
    return share(tally(incidents["side"], hit), level=data.level, is_whole=is_whole)


def _found(pattern: Linear, texts: Series) -> Series:
    """Return whether a pattern occurs in each text; unknown without a text."""
    hits = [None if pd.isna(text) else bool(pattern.search(text)) for text in texts]
    return Series(hits, index=texts.index, dtype="boolean")


def failed_pulls(data: ClaimData) -> Measurement:
    """C7: how much more often a pull from Docker Hub fails than from ECR; unnamed: either."""
    policy = data.policy
    table = data.inventory["activities"]
    past = table["started_at"] <= data.inventory.snapshot_at
    # an activity of unknown kind may be a pull
    unnamed = table["kind"].isna()
    pulls = table[past & (unnamed | table["kind"].eq("image_pull"))]
    registry = pulls["registry"]
    is_ecr = surely(_found(Linear(data.settings["ecr_registries"]), registry))
    is_hub = registry.isin(policy["registries"]["hub"])
    side = Series("other", index=pulls.index).mask(is_ecr, "ecr").mask(is_hub, "hub")
    status = pulls["status"].mask(unnamed)
    failed = _found(any_pattern(policy["churn"]["failed_words"]), status)
    end = failed.map({True: "failed", False: "fine"}).fillna("unknown")
    side = side.mask(registry.isna(), "either")
    outcomes = (side + "_" + end).value_counts()
    counts = outcomes.reindex(COUNTED + UNSURE, fill_value=0).to_frame("all").T
    counts["hub_fine"] += counts["hub_failed"]
    counts["ecr_fine"] += counts["ecr_failed"]
    counts = counts.rename_axis("stratum").reset_index()
    counts = counts.rename(columns={"hub_fine": "hub_pulls", "ecr_fine": "ecr_pulls"})
    worst = [worst_pulls(counts, *pair) for pair in permutations(("hub", "ecr"))]
    unknown_n = int(counts[UNSURE].to_numpy().sum())
    return ratio(counts, *worst, level=data.level, unknown_n=unknown_n)


def core_in_containers(data: ClaimData) -> Measurement:
    """C8: share of core services that run in containers."""
    services = data.inventory["services"]
    # a service of unknown tier may be one of them
    core = services[~surely(services["tier"].ne(1))]
    side = core["service_id"].map(data.side)
    is_vague = side.isna() | core["tier"].isna()
    inside = side.eq(CONTAINER).astype("boolean").mask(is_vague)
    return share(tally(core["kind"], inside), level=data.level)


def stores_in_containers(data: ClaimData) -> Measurement:
    """C9: how much more often a store breaks in a container than on a host."""
    services = data.inventory["services"]
    kinds = data.settings["store_kinds"]
    declared = services.loc[services["kind"].isin(kinds), "service_id"]
    images = data.inventory["workloads"].dropna(subset=["repository"])
    is_store = images["repository"].map(reference.stateful_kind).isin(kinds)
    stores = set(declared) | set(images.loc[is_store, "service_id"])
    spells = data.spells
    is_store = spells["service_id"].isin(stores)
    unnamed = services.loc[services["kind"].isna() | services["kind"].eq("unknown")]
    may_be = spells["service_id"].isin(unnamed["service_id"]) & ~is_store
    inside = spells["side"].eq(CONTAINER)
    unsure = spells.loc[may_be, "service_id"].unique()
    measured = data.compared(spells[is_store], inside[is_store])
    whole = NOTHING._replace(point=measured.interval.point)
    # any of those of unknown kind may be stores; with too many, anything may be true
    if len(unsure) <= MOST_UNSURE:
        some = product(*((name, None) for name in unsure))
        rows = (is_store | spells["service_id"].isin(names) for names in some)
        others = (data.compared(spells[r], inside[r]).interval for r in rows)
        whole = hull(measured.interval, *others)
    return measured._replace(interval=whole, unknown_n=measured.unknown_n + len(unsure))


def contained_incidents(data: ClaimData) -> Measurement:
    """C10: share of incidents in containers that stayed within one service."""
    incidents = data.exposure.incidents
    # an incident that nobody can place may have been in a container
    table = incidents[~surely(incidents["side"].eq(HOST))]
    named = table.dropna(subset=["service_id", "affected_services"])
    pairs = zip(named["service_id"], named["affected_services"], strict=True)
    touched = [len({service, *ids(names)}) for service, names in pairs]
    touched_n = Series(touched, named.index, dtype="Int64").reindex(table.index)
    alone = touched_n.le(1).mask(table["side"].isna())
    is_whole = data.exposure.is_covered
    counts = tally(table["platform"], alone)
    measured = share(counts, level=data.level, is_whole=is_whole)
    gap = "no incident in containers was seen so far: keep counting"
    looked = bool(data.exposure.watched) and CONTAINER in set(data.side)
    return seen(measured, gap, looked=looked)


def replaced_in_time(data: ClaimData) -> Measurement:
    """C11: share of instances that an auto-scaling group replaced in time."""
    seconds = float(data.settings["self_heal_seconds"])
    healed = self_healing(data.inventory, data.policy, seconds=seconds)
    return share(healed, level=data.level)


def orchestrated(data: ClaimData) -> Measurement:
    """C12: how much more often a service breaks under an orchestrator than without one."""
    return data.compared(data.spells, data.orchestrated)


def many_at_once(data: ClaimData) -> Measurement:
    """C13: expected incidents if many services move at once."""
    spells = data.spells
    # where nobody says who watched, no month counts: an older incident would add to them
    if not data.exposure.is_covered:
        spells = spells.assign(months=0.0)
    inside = surely(spells["side"].eq(CONTAINER))
    vague = spells["side"].isna()
    sums = spells.rename(columns={"months": "service_months"})[inside | vague]
    sums["platform"] = spells["platform"].mask(vague, "unknown")
    # an incident that nobody assigned may have been in a container
    loose_n = data.unassigned_n
    loose = {"platform": "unassigned", "incidents": loose_n, "service_months": 0.0}
    rows = pd.concat([sums, DataFrame([loose] * (loose_n > 0))])
    whole = rows.groupby("platform")[["incidents", "service_months"]].sum().reset_index()
    # tiers are left aside: the budget, too, counts every service that moves alike
    known = spells["side"].where(inside)
    in_doubt = known.mask(vague, CONTAINER)
    # worst case: all unassigned incidents belong to the service that breaks most often
    counts = spells["incidents"].where(in_doubt.notna())
    is_most = counts.rank(method="first", ascending=False).eq(1)
    piled = spells["incidents"] + loose_n * is_most
    rows = spells.assign(tier=0, incidents=piled)
    level, spread = widened(rows, known, in_doubt, level=data.level)
    whole = whole.assign(**spread)
    months = data.policy["what_next"]["months"]
    return amount(
        whole[~whole["platform"].isin(["unknown", "unassigned"])],
        whole,
        level=level,
        factor=float(data.settings["services_at_once"] * months),
        unknown_n=int(vague.sum()) + loose_n,
    )


def less_stable(data: ClaimData) -> Measurement:
    """C14: how much more often a service breaks in containers than on hosts."""
    return data.compared(data.spells, data.spells["side"].eq(CONTAINER))


def depends_on_who_asks(data: ClaimData) -> Measurement:
    """C15: share of services whose readiness depends on the weighting."""
    bar = data.policy["what_next"]["ready_points"]
    groups = data.assessment.readiness.details["dimensions"].groupby("service_id")
    ends = groups[["lo", "hi"]].agg(["min", "max"])
    # one dimension is surely below the bar, another surely above it
    divided = (ends["hi", "min"] < bar) & (ends["lo", "max"] >= bar)
    agreed = (ends["lo", "min"] >= bar) | (ends["hi", "max"] < bar)
    answer = divided.astype("boolean").mask(~divided & ~agreed)
    answer = answer.reindex(data.side.index)
    return share(tally(data.side, answer), level=data.level)


def held_back(data: ClaimData) -> Measurement:
    """C16: share of services outside of containers that a gate holds back."""
    gates = data.assessment.readiness.details["gates"]
    outside = data.side.index[~surely(data.side.eq(CONTAINER))]
    stuck = gates["state"].eq("fail") & gates["label"].ne(NOT_DECIDABLE)
    vague = gates["state"].isin(OPEN) & ~stuck
    stopped = set(gates.loc[stuck, "service_id"])
    answer = Series(outside.isin(stopped), outside, dtype="boolean")
    # a failed gate decides; an unknown one only where no gate failed
    answer = answer.mask(outside.isin(gates.loc[vague, "service_id"]) & ~answer)
    tier = data.assessment.inventory.by_service["tier"].reindex(outside)
    on_host = surely(data.side[outside].eq(HOST))
    group = "tier " + tier.astype("string")
    measured = share(tally(group, answer.where(on_host)), level=data.level)
    gap = "no service runs outside of containers: there is no transition left to measure"
    return seen(measured, gap, looked=CONTAINER in set(data.side))


def around_upgrades(data: ClaimData) -> DataFrame:
    """Count the incidents on hosts within some days before and after an engine upgrade."""
    # One row: ``tier`` (0, which `ratio_of` takes), ``after, before`` [incidents],
    # ``days_after, days_before`` [host-days that were watched], and the ``ratio`` of the
    # two rates with ``ratio_lo, ratio_hi`` (NaN where there is no upper end).
    past = data.assessment.upgrades
    watched = data.exposure.watched
    moments = pace.incident_moments(past)
    span = data.policy["churn"]["failure_window_days"] * DAY
    sums = np.zeros(4)
    for upgrade in pace.upgrades(past.recorded.values()):
        incidents = moments.get((upgrade.host_id, True), [])
        at = upgrade.after
        after = _within(incidents, at, at + span, watched)
        before = _within(incidents, at - span, at, watched)
        sums += [*after, *before]
    columns = ["tier", "after", "days_after", "before", "days_before"]
    table = DataFrame([[0, *sums]], columns=columns)
    table = table.astype({"tier": int, "after": int, "before": int})
    interval = ratio_of(table, level=data.level)
    ends = dict(zip(["ratio", "ratio_lo", "ratio_hi"], interval, strict=True))
    return table.assign(**ends).replace([np.inf, -np.inf], np.nan)


def _within(
    moments: Sequence[Timestamp], start: Timestamp, end: Timestamp, watched: Spans
) -> tuple[int, float]:
    """Count the moments and the days of the watched part of a span."""
    spans = clipped(watched, start, end)
    n = sum(first < moment <= last for moment in moments for first, last in spans)
    return n, days_in(spans)


MEASURES = (  # of C1, C2 …
    forced_upgrades,
    broken_services,
    failed_upgrades,
    kept_images,
    troubled_hosts,
    package_incidents,
    failed_pulls,
    core_in_containers,
    stores_in_containers,
    contained_incidents,
    replaced_in_time,
    orchestrated,
    many_at_once,
    less_stable,
    depends_on_who_asks,
    held_back,
)
# claims whose rows begin with the platform that they are about, and what each row adds to
BY_ROW: dict[str, Callable[..., Measurement]] = {
    "C1": mean,
    **dict.fromkeys(["C2", "C3", "C5"], share),
}
