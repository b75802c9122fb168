"""A source that answered no call says nothing of mounts: neither a container nor a unit has none."""

from __future__ import annotations

import pandas as pd
import pytest

import assess
from assess.inventory import from_frames

POLICY = assess.load_policy()
HELD = ["state.volume_restore", "coupling.no_host_path"]


def fleet(*calls, kind="container"):
    row = {"service_id": "a", "state": "running", "source_kind": kind, "source": "docker"}
    workload = {**row, "workload_id": "a1", "inspect_status": "ok", "image_ref": "a:1"}
    columns = ["source", "call", "status"]
    coverage = pd.DataFrame(calls, columns=columns).assign(run_id="1", scope="h")
    tables = {"workloads": pd.DataFrame([workload]), "coverage": coverage}
    mounts = pd.DataFrame(columns=["workload_id", "destination"])
    return from_frames({**tables, "mounts": mounts}, snapshot_at="2026-09-30")


@pytest.mark.parametrize("kind", ["container", "unit"])
@pytest.mark.parametrize(
    ("calls", "is_unheard"),
    [
        ([("docker", "list", "denied"), ("docker", "info", "timeout")], True),
        ([("docker", "list", "denied"), ("ecs", "list", "ok")], True),
        ([("docker", "list", "denied"), ("docker", "list2", "not_configured")], True),
        ([("docker", "list", "partial")], False),
        ([("docker", "list", "denied"), ("docker", "carried:workloads", "stale")], False),
        ([("docker", "list", "not_configured")], False),
        ([], False),
    ],
)
def test_mounts_of_a_source_that_answered_nothing_are_unknown(kind, calls, is_unheard):
    inventory = fleet(*calls, kind=kind)
    assert inventory.silent == ({"docker"} if is_unheard else set())
    gates = assess.score_readiness(inventory, POLICY).details["gates"]
    state = gates.set_index("gate")["state"]["G7"]
    assert (state == "unknown") == is_unheard


SIGNS = {
    "restart_policy": ("self_healing.heals", "always", "no"),
    "health": ("observability.health", "healthy", "none"),
}


@pytest.mark.parametrize("column", SIGNS)
def test_a_sign_that_a_replica_may_show_is_open_whatever_the_others_lack(column):
    """What hides the good sign of one replica does not turn it into a bad one."""
    check, good, bad = SIGNS[column]

    def state(*cells):
        row = {"service_id": "a", "state": "running", "image_ref": "a:1"}
        rows = [{**row, "workload_id": f"a{n}", column: c} for n, c in enumerate(cells)]
        services = pd.DataFrame({"service_id": ["a"], "platform": ["host"]})
        tables = {"workloads": pd.DataFrame(rows), "services": services}
        inventory = from_frames(tables, snapshot_at="2026-09-30")
        atoms = assess.score_readiness(inventory, POLICY).details["atoms"]
        return atoms.set_index("check")["state"][check]

    assert state(good, bad) == "pass"
    assert state(None, bad) == "unknown"
    assert state(bad, bad) == "fail"
