"""Claims C1 to C7: upgrades, hosts, images and registries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from assess import reference
from assess.score.claims.data import ClaimData
from assess.score.claims.measure import (
    Measurement,
    added,
    mean,
    ratio,
    ratio_of,
    seen,
    share,
    tally,
)
from assess.score.incidents.exposure import DAY, Window
from assess.score.upgrade_churn import pace

FOR_CONTAINERS = ("docker", "containerd", "cri-o", "podman")


def forced_upgrades(data: ClaimData) -> Measurement:
    """C1: how often a year the end of its line forces an upgrade of an engine."""
    engines = _engines(data)
    pairs = zip(engines["runtime"], engines["version"], strict=True)
    rows = [(product, reference.line_of(product, version)) for product, version in pairs]
    table = pd.DataFrame(rows, columns=["engine", "line"], dtype="object")
    table["line"] = table["line"].fillna("unknown")
    counts = table.groupby(["engine", "line"], sort=True).size().rename("n").reset_index()
    since = str(data.settings["since"])
    known = counts["line"].mask(counts["line"].eq("unknown"), None)
    rates = [
        pace.forced_rate(engine, line, since)
        for engine, line in zip(counts["engine"], known, strict=True)
    ]
    columns = ["point", "lo", "hi"]
    ends = pd.DataFrame(rates, columns=columns, index=counts.index, dtype=float)
    return mean(counts.join(ends), level=data.level)


def broken_services(data: ClaimData) -> Measurement:
    """C2: which services in containers the way to the target breaks."""
    churn = data.assessment.upgrade_churn.frame.reindex(data.contained)
    hit = churn["breaking_n"].gt(0).astype("boolean").mask(churn["breaking_n"].isna())
    vague = churn["breaking_unknown_n"].gt(0) & ~hit.fillna(value=False)
    platform = data.assessment.exposure.platform.reindex(churn.index)
    answer = hit.mask(vague.fillna(value=True))
    return share(tally(platform, answer), level=data.level)


def failed_upgrades(data: ClaimData) -> Measurement:
    """C3: how many upgrades of an engine an incident followed."""
    past = data.assessment.upgrades
    tallies = pace.upgrade_failures(past, data.assessment.policy)
    whole = tallies.pop(pace.POOL, (0, 0, 0))
    tallies = dict(sorted(tallies.items()))
    n, k, most = (whole[i] - sum(t[i] for t in tallies.values()) for i in range(3))
    if n:
        tallies["unknown"] = (n, k, most)
    rows = [(line, k, n - most, most - k) for line, (n, k, most) in tallies.items()]
    table = pd.DataFrame(rows, columns=["group", "yes", "no", "unknown"])
    looked = data.assessment.inventory.has("activities", "incidents")
    gap = "no upgrade was seen so far: how they go shows once there are some"
    return seen(share(table, level=data.level), gap, looked=looked)


def kept_images(data: ClaimData) -> Measurement:
    """C4: how many unused images no rule of a clean-up would take."""
    images = data.frame("images")
    on_host = images["host_id"].notna() & images["host_id"].ne("")
    place = on_host.map({True: "hosts (docker-gc)", False: "registry (lifecycle policy)"})
    workloads = data.frame("workloads")
    run = workloads[["registry", "repository", "image_digest"]].dropna()
    keys = pd.MultiIndex.from_frame(images[["registry", "repository", "digest"]])
    used = pd.Series(keys.isin(pd.MultiIndex.from_frame(run)), images.index)
    containers = images["containers_n"]
    in_use = containers.gt(0).astype("boolean").mask(containers.isna())
    in_use = in_use.where(on_host, used.astype("boolean"))
    taken = images["reclaimable"].where(on_host, images["would_expire"]).astype("boolean")
    unused = ~in_use.fillna(value=False)
    # an image that is perhaps in use is perhaps not a matter of clean-up
    stays = (~taken).mask(in_use.isna())
    measured = share(tally(place[unused], stays[unused]), level=data.level)
    gap = "no image was seen that nothing uses: keep looking"
    return seen(measured, gap, looked=len(images) > 0)


def troubled_hosts(data: ClaimData) -> Measurement:
    """C5: which hosts have a driver or a kernel that the target does not run with."""
    engines = _engines(data)
    engines = engines[engines["runtime"] == reference.ENGINE]
    target = reference.target_engine(data.assessment.policy["target"])
    kernel = engines["host_id"].map(data.frame("hosts").set_index("host_id")["kernel"])
    columns = zip(engines["storage_driver"], engines["d_type"], kernel, strict=True)
    answers = [_is_troubled(*cells, target) for cells in columns]
    trouble = pd.Series(answers, engines.index, dtype="boolean")
    return share(tally(engines["storage_driver"], trouble), level=data.level)


def _is_troubled(
    driver: object, d_type: object, kernel: object, target: str
) -> bool | None:
    """Return whether the target does not run on a host; None where a fact is missing."""
    driver_name = driver if isinstance(driver, str) else None
    runs = [
        reference.driver_runs(driver_name, target),
        reference.kernel_runs(kernel if isinstance(kernel, str) else None, target),
    ]
    if driver_name is None:
        runs.append(None)
    elif driver_name.startswith("overlay"):
        # without d_type the kernel cannot show deleted files of lower layers as gone
        runs.append(None if pd.isna(d_type) else bool(d_type))
    if False in runs:
        return True
    return None if None in runs else False


def package_incidents(data: ClaimData) -> Measurement:
    """C6: how many incidents came from a package repository."""
    incidents = data.assessment.exposure.incidents
    cause = incidents["cause"].astype("object")
    named = cause.notna() & cause.ne("unknown")
    hit = cause.eq("package-repo").astype("boolean").where(named, pd.NA)
    return share(tally(incidents["side"], hit), level=data.level)


def failed_pulls(data: ClaimData) -> Measurement:
    """C7: how much more often a pull from Docker Hub fails than one from ECR."""
    policy = data.assessment.policy
    table = data.frame("activities")
    past = table["started_at"] <= data.assessment.inventory.snapshot_at
    pulls = table[past & table["kind"].eq("image_pull") & table["registry"].notna()]
    words = "|".join(policy["churn"]["failed_words"])
    status = pulls["status"].astype("string")
    failed = status.str.contains(words, case=False, regex=True)
    hub = pulls["registry"].isin(policy["registries"]["hub"])
    ecr = pulls["registry"].str.contains(data.settings["ecr_registries"], regex=True)
    sides = {"hub": hub, "ecr": ecr & ~hub}
    known = failed.notna()
    failed = failed.fillna(value=False).astype(bool)
    cells: dict[str, object] = {"stratum": "all"}
    for side, rows in sides.items():
        cells[f"{side}_failed"] = (rows & failed).sum()
        cells[f"{side}_pulls"] = (rows & known).sum()
    for side, rows in sides.items():
        cells[f"{side}_unknown"] = (rows & ~known).sum()
    counts = pd.DataFrame([cells])
    vague = {f"{side}_pulls": f"{side}_unknown" for side in sides}
    worst = [
        added(counts, {**vague, f"{side}_failed": f"{side}_unknown"}) for side in sides
    ]
    unknown_n = int(counts[["hub_unknown", "ecr_unknown"]].to_numpy().sum())
    return ratio(counts, *worst, level=data.level, unknown_n=unknown_n)


def _engines(data: ClaimData) -> pd.DataFrame:
    """List the engines that run containers."""
    table = data.frame("engines")
    kept = table["runtime"].isin(FOR_CONTAINERS)
    return table[kept].sort_values(["host_id", "runtime"], kind="stable")


def around_upgrades(data: ClaimData) -> pd.DataFrame:
    """Count the incidents on hosts within some days before and after their engine was upgraded.

    One row: ``tier`` (0, so that `ratio_of` takes it), ``after`` [incidents], ``days_after``,
    ``before`` [incidents], ``days_before`` [host-days that were watched], and the ``ratio`` of the
    two rates with ``ratio_lo, ratio_hi`` (NaN where there is no upper end).
    """
    past = data.assessment.upgrades
    window = data.assessment.exposure.window
    moments = pace.incident_moments(past)
    span = data.assessment.policy["churn"]["failure_window_days"] * DAY
    sums = np.zeros(4)
    for upgrade in pace.recorded_upgrades(past):
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
    interval = ratio_of(table, level=data.level)
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
    days = max((end - start) / DAY, 0.0)
    return sum(start < moment <= end for moment in moments), days
