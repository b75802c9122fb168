"""Claims C1 to C7: upgrades, hosts, images and registries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from assess import reference
from assess.score.claims.fleet import Fleet, tally
from assess.score.claims.measure import (
    Finding,
    added,
    mean,
    ratio,
    ratio_of,
    seen,
    share,
)
from assess.score.incidents.exposure import Window
from assess.score.upgrade_churn import pace

FOR_CONTAINERS = ("docker", "containerd", "cri-o", "podman")


def forced_upgrades(fleet: Fleet) -> Finding:
    """C1: how often a year the end of its line forces an upgrade of an engine."""
    rows = [
        (product, reference.line_of(product, version), version)
        for product, version in _engines(fleet)[["runtime", "version"]].itertuples(
            index=False
        )
    ]
    table = pd.DataFrame(rows, columns=["engine", "line", "version"], dtype="object")
    table["line"] = table["line"].fillna("unknown")
    counts = table.groupby(["engine", "line"], sort=True).size().rename("n").reset_index()
    since = str(fleet.words["since"])
    known = [None if line == "unknown" else line for line in counts["line"]]
    rates = [
        pace.forced_rate(e, line, since)
        for e, line in zip(counts["engine"], known, strict=True)
    ]
    ends = pd.DataFrame(
        rates, columns=["point", "lo", "hi"], index=counts.index, dtype=float
    )
    return mean(counts.join(ends), level=fleet.level)


def broken_services(fleet: Fleet) -> Finding:
    """C2: which services in containers the way to the target breaks."""
    churn = fleet.churn.frame.reindex(fleet.contained)
    hit = churn["breaking_n"].gt(0).astype("boolean").mask(churn["breaking_n"].isna())
    vague = churn["breaking_unknown_n"].gt(0) & ~hit.fillna(False)
    platform = fleet.exposure.platform.reindex(churn.index)
    return share(tally(platform, hit.mask(vague.fillna(True))), level=fleet.level)


def failed_upgrades(fleet: Fleet) -> Finding:
    """C3: how many upgrades of an engine an incident followed."""
    tallies = pace.upgrade_failures(fleet.past, fleet.policy)
    whole = tallies.pop(pace.POOL, (0, 0, 0))
    rows = [
        (line, k, n - most, most - k) for line, (n, k, most) in sorted(tallies.items())
    ]
    rest = [whole[i] - sum(t[i] for t in tallies.values()) for i in range(3)]
    rows += (
        [("unknown", rest[1], rest[0] - rest[2], rest[2] - rest[1])] if rest[0] else []
    )
    table = pd.DataFrame(rows, columns=["group", "yes", "no", "unknown"])
    looked = fleet.inventory.has("activities", "incidents")
    gap = "no upgrade was seen so far: how they go shows once there are some"
    return seen(share(table, level=fleet.level), gap, looked=looked)


def kept_images(fleet: Fleet) -> Finding:
    """C4: how many unused images no rule of a clean-up would take."""
    images = fleet.inventory["images"]
    on_host = images["host_id"].notna() & images["host_id"].ne("")
    place = on_host.map({True: "hosts (docker-gc)", False: "registry (lifecycle policy)"})
    key = ["registry", "repository", "digest"]
    run = fleet.inventory["workloads"][
        ["registry", "repository", "image_digest"]
    ].dropna()
    used = pd.MultiIndex.from_frame(images[key]).isin(pd.MultiIndex.from_frame(run))
    in_use = (
        images["containers_n"].gt(0).astype("boolean").mask(images["containers_n"].isna())
    )
    in_use = in_use.where(on_host, pd.Series(used, index=images.index, dtype="boolean"))
    taken = images["reclaimable"].where(on_host, images["would_expire"]).astype("boolean")
    unused = ~in_use.fillna(False)  # perhaps in use: perhaps not a matter of clean-up
    stays = (~taken).mask(in_use.isna())
    found = share(tally(place[unused], stays[unused]), level=fleet.level)
    return seen(
        found, "no image was seen that nothing uses: keep looking", looked=len(images) > 0
    )


def troubled_hosts(fleet: Fleet) -> Finding:
    """C5: which hosts have a driver or a kernel that the target does not run with."""
    engines = _engines(fleet)
    engines = engines[engines["runtime"] == reference.ENGINE]
    goal = reference.target_engine(fleet.policy["target"])
    kernels = fleet.inventory["hosts"].set_index("host_id")["kernel"].to_dict()
    answers = []
    for row in engines.itertuples():
        driver = None if pd.isna(row.storage_driver) else str(row.storage_driver)
        kernel = kernels.get(row.host_id)
        runs = [
            reference.driver_runs(driver, goal),
            reference.kernel_runs(kernel if isinstance(kernel, str) else None, goal),
            None
            if driver is None
            else not driver.startswith("overlay") or _flag(row.d_type),
        ]
        answers.append(True if False in runs else None if None in runs else False)
    trouble = pd.Series(answers, engines.index, dtype="boolean")
    return share(tally(engines["storage_driver"], trouble), level=fleet.level)


def package_incidents(fleet: Fleet) -> Finding:
    """C6: how many incidents came from a package repository."""
    incidents = fleet.exposure.incidents
    cause = incidents["cause"].astype("object")
    named = cause.notna() & cause.ne("unknown")
    hit = cause.eq("package-repo").astype("boolean").where(named, pd.NA)
    return share(tally(incidents["side"], hit), level=fleet.level)


def failed_pulls(fleet: Fleet) -> Finding:
    """C7: how much more often a pull from Docker Hub fails than one from ECR."""
    table = fleet.inventory["activities"]
    past = table["started_at"] <= fleet.inventory.snapshot_at
    pulls = table[past & table["kind"].eq("image_pull") & table["registry"].notna()]
    failed = (
        pulls["status"]
        .astype("string")
        .str.contains(
            "|".join(fleet.policy["churn"]["failed_words"]), case=False, regex=True
        )
    )
    hub = pulls["registry"].isin(fleet.policy["registries"]["hub"])
    ecr = pulls["registry"].str.contains(fleet.words["ecr_registries"], regex=True) & ~hub
    known, failed = failed.notna(), failed.fillna(False).astype(bool)
    cells = {"stratum": "all"}
    for side, rows in (("hub", hub), ("ecr", ecr)):
        cells |= {
            f"{side}_failed": (rows & failed).sum(),
            f"{side}_pulls": (rows & known).sum(),
        }
    cells |= {"hub_unknown": (hub & ~known).sum(), "ecr_unknown": (ecr & ~known).sum()}
    table = pd.DataFrame([cells])
    vague = {f"{side}_pulls": f"{side}_unknown" for side in ("hub", "ecr")}
    worst = [
        added(table, vague | {f"{s}_failed": f"{s}_unknown"}) for s in ("hub", "ecr")
    ]
    unknown_n = int(table[["hub_unknown", "ecr_unknown"]].to_numpy().sum())
    return ratio(table, *worst, level=fleet.level, unknown_n=unknown_n)


def _engines(fleet: Fleet) -> pd.DataFrame:
    """Engines that run containers, one by one."""
    table = fleet.inventory["engines"]
    held = table["runtime"].isin(FOR_CONTAINERS)
    return table[held].sort_values(["host_id", "runtime"], kind="stable")


def _flag(value: object) -> bool | None:
    return None if pd.isna(value) else bool(value)


def around_upgrades(fleet: Fleet) -> pd.DataFrame:
    """Count the incidents on hosts within some days before and after their engine was upgraded.

    One row: ``tier`` (0, so that `ratio_of` takes it), ``after`` [incidents], ``days_after``,
    ``before`` [incidents], ``days_before`` [host-days that were watched], and the ``ratio`` of the
    two rates with ``ratio_lo, ratio_hi`` (NaN where there is no upper end).
    """
    window = fleet.exposure.window
    moments = pace.incident_moments(fleet.past)
    span = pd.Timedelta(days=fleet.policy["churn"]["failure_window_days"])
    sums = np.zeros(4)
    for upgrade in pace.recorded_upgrades(fleet.past):
        if window is None:
            break
        incidents = moments.get(upgrade.host_id, [])
        at = upgrade.after
        sums += [
            *_within(incidents, at, at + span, window),
            *_within(incidents, at - span, at, window),
        ]
    after, days_after, before, days_before = sums
    columns = ["tier", "after", "days_after", "before", "days_before"]
    row = (0, int(after), days_after, int(before), days_before)
    table = pd.DataFrame([row], columns=columns)
    interval = ratio_of(table, level=fleet.level)
    ends = dict(zip(["ratio", "ratio_lo", "ratio_hi"], interval, strict=True))
    return table.assign(**ends).replace([np.inf, -np.inf], np.nan)


def _within(
    moments: Sequence[pd.Timestamp],
    start: pd.Timestamp,
    end: pd.Timestamp,
    window: Window,
) -> tuple[int, float]:
    """Count the moments of a span that was watched, and its days."""
    start = max(start, window[0])
    end = min(end, window[1])
    days = max((end - start) / pd.Timedelta(days=1), 0.0)
    return sum(start < moment <= end for moment in moments), days
