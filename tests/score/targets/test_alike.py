"""One fleet, expressed on every runtime with equivalent facts, gets the same verdicts everywhere."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import assess

AT = pd.Timestamp("2026-09-30", tz="UTC")
HOSTS = 6
# by the state of the host: a version of a line that is supported, one that ended, one nobody knows
LINES = {
    "docker": ("29.1.0", "20.10.24", "99.1"),
    "containerd": ("2.3.1", "1.6.20", "9.9"),
    "cri-o": ("1.36.1", "1.27.1", "9.9"),
    "podman": ("6.1.0", "4.3.1", "9.9"),
    "fargate": ("1.4.0", "1.3.0", "9.9"),
}
OWN = {"os_name": "debian", "os_version": "13", "kernel": "6.12.48"}
GOOD = {
    **{"env": "prod", "kind": "web", "stateful": False, "public": False},
    **{"platform": "docker", "license_bound": False, "hardware_bound": False},
    **{"health_checked": True, "logs_exported": True, "config_external": True},
    **{"secrets_in_image": False, "min_healthy_pct": 50.0, "move_effort_hours": 8.0},
    **{"owner": "team", "runbook": True, "team_container_months": 60},
    **{"deploys_per_month": 8.0, "lead_time_days": 1.0},
}
RUNNING = {
    **{"source_kind": "container", "state": "running", "inspect_status": "ok"},
    **{"registry": "registry.example", "repository": "a", "tag": "1.2.3"},
    **{"host_network": False, "host_pid": False, "docker_sock_mounted": False},
    **{"readonly_root": True, "secret_like_env_n": 0, "user_root": False},
    **{"restart_policy": "always", "ports": "8080/tcp"},
}


def on(runtime, hosts, services):
    """Express hosts (by state) and services (host, tier, privileged) on a runtime."""
    versions = [LINES[runtime][state] for state in hosts]
    is_provided = runtime == "fargate"
    tables = {
        "services": [
            {"service_id": f"s{k}", "tier": tier, **GOOD}
            for k, (_, tier, _) in enumerate(services)
        ],
        "workloads": [
            {
                "workload_id": f"s{k}.{n}",
                "service_id": f"s{k}",
                "host_id": f"h{(host + n) % HOSTS}",
                "privileged": privileged,
                **RUNNING,
            }
            for k, (host, _, privileged) in enumerate(services)
            for n in range(2)
        ],
        "hosts": [
            {
                "host_id": f"h{k}",
                **(OWN if not is_provided else {"managed_by": "provider"}),
                "provider_version": f"fargate {version}" if is_provided else None,
            }
            for k, version in enumerate(versions)
        ],
        "engines": [
            {
                **{"host_id": f"h{k}", "runtime": runtime, "version": version},
                **{"storage_driver": "overlay2", "d_type": True, "mirrors_n": 0},
            }
            for k, version in enumerate(versions)
            if not is_provided
        ],
    }
    tables["dependencies"] = [
        {
            **{"src_id": f"s{k}", "dst_id": "ext:bank.example", "kind": "call"},
            **{"evidence": "traces", "window_hours": 168.0},
        }
        for k in range(len(services))
    ]
    frames = {name: pd.DataFrame(rows) for name, rows in tables.items() if rows}
    frames["mounts"] = pd.DataFrame(columns=["workload_id", "destination"])
    return assess.from_frames(frames, snapshot_at=AT)


@pytest.fixture(scope="module")
def policy():
    """The policy with few targets, which are enough to tell verdicts apart."""
    policy = assess.load_policy()
    kept = {"stay", "podman", "fargate"}
    others = [row["id"] for row in policy["targets"] if row["id"] not in kept]
    return policy.replace(target=[{"id": name, "compared": False} for name in others])


def host_gate(inventory, policy):
    gates = assess.score_readiness(inventory, policy).details["gates"]
    return gates[gates["gate"].eq("G2")].set_index("service_id")["state"]


@settings(max_examples=2, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(0, 2), min_size=HOSTS, max_size=HOSTS),
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from([2, 4]), st.booleans()),
        min_size=3,
        max_size=3,
    ),
)
def test_verdicts_do_not_depend_on_the_name_of_the_runtime(policy, hosts, services):
    found = {}
    for runtime in LINES:
        fleet = on(runtime, hosts, services)
        targets = assess.score_targets(fleet, policy).frame["verdict"]
        found[runtime] = pd.concat([targets, host_gate(fleet, policy)])
    for runtime, verdicts in found.items():
        differs = verdicts[verdicts.ne(found["docker"])]
        assert differs.empty, (runtime, differs)


@pytest.mark.parametrize("runtime", LINES)
def test_every_state_of_a_line_shows(policy, runtime):
    fleet = on(runtime, [0, 0, 1, 1, 2, 2], [(0, 4, False), (2, 4, False), (4, 4, False)])
    labels = assess.what_next(fleet, policy).frame["label"].to_dict()
    assert labels == {"s0": "KEEP", "s1": "FIX", "s2": "NOT DECIDABLE"}


def test_a_difference_between_targets_can_be_argued(policy):
    """Where two targets have another verdict, their blockers differ, and ``why`` says it in words."""
    fleet = on("docker", [0, 1, 0, 2, 0, 0], [(0, 2, True), (2, 4, False), (1, 4, False)])
    frame = assess.score_targets(fleet, policy).frame
    assert len(set(frame["verdict"])) > 1
    for _, rows in frame.groupby("service_id"):
        told = rows.groupby("verdict")["blockers"].agg(set)
        assert sum(map(len, told)) == len(set.union(*told))
        for row in rows.itertuples():
            assert row.why.startswith(f"{row.verdict}: ")
            assert row.blockers in row.why
