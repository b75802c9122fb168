"""Numbers of the reference facts that the texts of the claims name."""

from functools import cache
from typing import Any

import pandas as pd

from assess import reference


@cache
def world(since: str) -> dict[str, Any]:
    """Return the numbers for the placeholders in `claims.toml`, by name.

    ``since`` [YYYY-MM-DD] is the day from which lines, releases and changes are counted.
    """
    return {
        "since": since[:4],
        **_lines(since),
        **_changes(since),
        **_drivers(),
        **_services(),
    }


def _lines(since: str) -> dict[str, Any]:
    windows = reference.support_windows(reference.ENGINE, since=since).dropna()
    newest = reference.target_engine({})
    orchestrators = reference.table("orchestrators").dropna(subset=["product"])
    retired = orchestrators["eol_basis"].str.contains("retired|archived", na=False)
    ended = retired | (orchestrators["eol_date"] < reference.compiled_on())
    gone = ended.groupby(orchestrators["product"]).all()
    return {
        "lines_n": len(windows),
        "window_median": f"{windows.median():.0f}",
        "window_min": f"{windows.min():.0f}",
        "window_max": f"{windows.max():.0f}",
        "system_median": f"{reference.support_windows(since=since).median():.0f}",
        "newest_line": newest,
        "api_floor": reference.api_range(newest)[0],
        "orchestrators_n": len(gone),
        "orchestrators_retired": int(gone.sum()),
        "orchestrators_gone": ", ".join(gone.index[gone]),
        "kubernetes_days": f"{reference.support_windows('kubernetes', since=since).median():.0f}",
    }


def _changes(since: str) -> dict[str, Any]:
    changes = reference.table("engine_changes")
    recent = changes[changes["release_date"] >= since]
    breaking = recent[recent["kind"] == "breaking"]
    worse = recent[recent["kind"] == "regression"]
    grave = worse[worse["impact"] == "high"]
    days = pd.to_numeric(worse["days_to_fix"]).dropna()
    return {
        "breaking_n": len(breaking),
        "breaking_api_n": int((breaking["area"] == "api").sum()),
        "regressions_n": len(worse),
        "regressions_high_n": len(grave),
        "fix_days": f"{days.median():.0f}",
        "crashes_n": int(grave["area"].isin(["runtime", "storage", "network"]).sum()),
    }


def _drivers() -> dict[str, Any]:
    gone = reference.drivers_gone(reference.target_engine({})).items()
    drivers = reference.table("storage_drivers").set_index("driver")["introduced_in"]
    return {f"{n}_removed": end for n, end in gone} | {
        "overlay2_introduced": drivers["overlay2"]
    }


def _services() -> dict[str, Any]:
    package = reference.outages("package-repo")["duration_minutes"]
    hub = reference.outages("registry", service="docker-hub")["duration_minutes"]
    facts = reference.table("registries").set_index(["registry", "fact"])["value"]
    stores = reference.table("database_images")
    return {
        "package_outages_n": len(package),
        "package_outages_timed_n": int(package.count()),
        "hub_outages_n": len(hub),
        "hub_outages_timed_n": int(hub.count()),
        "hub_outage_hours": f"{hub.sum() / 60:.0f}",
        "ecr_pushed": facts["ecr-private", "push_timestamp_field"],
        "ecr_pulled": facts["ecr-private", "last_pull_field"],
        "ecr_retention": facts["ecr-private", "retention_feature"],
        "ecr_sla": facts["ecr-private", "uptime_sla"],
        "ecs_sla": facts["ecs", "uptime_sla_multi_az"],
        "stores_n": len(stores),
        "stores_official_n": int((stores["official"] == "True").sum()),
    }
