"""Small fleets with upgrades and incidents."""

from __future__ import annotations

import pandas as pd

from assess import from_frames, load_policy
from assess.score.upgrade_churn import pace, score_upgrade_churn
from assess.score.upgrade_churn.history import History

AT = "2026-09-30T00:00:00Z"


POLICY = load_policy()


THREE = ["events_per_year", "failures_per_year", "hours_per_year", "score"]


def fleet(at=AT, **tables):
    base = {
        "services": [{"service_id": "shop"}],
        "hosts": [{"host_id": "h1"}],
        "engines": [{"host_id": "h1", "runtime": "docker", "version": "20.10.24"}],
        "workloads": [
            {
                "workload_id": "w1",
                "service_id": "shop",
                "host_id": "h1",
                "state": "running",
                "source_kind": "container",
            }
        ],
    }
    rows = {
        name: pd.DataFrame(r) for name, r in {**base, **tables}.items() if r is not None
    }
    return from_frames(rows, snapshot_at=at)


WATCHED = [
    {
        "run_id": "r",
        "source": "incidents",
        "scope": "all",
        "call": "read",
        "status": "ok",
        "window_start": "2020-01-01T00:00:00Z",
        "window_end": AT,
    }
]


def upgrade(number, day, host="h1", to="20.10.24", **more):
    row = {"activity_id": f"a{number}", "host_id": host, "kind": "engine_upgrade"}
    return {**row, "started_at": f"{day}T00:00:00Z", "to_version": to, **more}


def incident(number, day, **more):
    return {"incident_id": f"i{number}", "opened_at": f"{day}T12:00:00Z", **more}


def score(inventory, policy=POLICY, **options):
    return score_upgrade_churn(inventory, policy, **options)


def only(inventory, **options):
    return score(inventory, **options).frame.loc["shop"]


def failures(inventory):
    """Upgrades and failures by line; "" is the whole fleet."""
    return pace.upgrade_failures(History.of(inventory, POLICY), POLICY)


YEARLY = [
    upgrade(i, day) for i, day in enumerate(["2024-09-30", "2025-03-01", "2026-01-01"])
]
