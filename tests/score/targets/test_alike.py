"""One fleet, expressed on every runtime with equivalent facts, gets the same verdicts everywhere."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import assess
from assess.score.assessment import Assessment

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
SIZED = {"memory_bytes": 8 << 30, "vcpus": 2}
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
    **{"host_ipc": False, "caps_added": "none", "devices_n": 0},
    **{"readonly_root": True, "secret_like_env_n": 0, "user_root": False},
    **{"restart_policy": "always", "ports": "8080/tcp"},
}


def on(runtime, hosts, services):
    """Express hosts (by state) and services (host, tier, privileged) on a runtime, as tables."""
    versions = [LINES[runtime][state] for state in hosts]
    is_provided = runtime == "fargate"
    tables = {
        "services": [
            {"service_id": f"{runtime}/s{k}", "tier": tier, **GOOD}
            for k, (_, tier, _) in enumerate(services)
        ],
        "workloads": [
            {
                "workload_id": f"{runtime}/s{k}.{n}",
                "service_id": f"{runtime}/s{k}",
                "host_id": f"{runtime}/h{(host + n) % HOSTS}",
                "privileged": privileged,
                **RUNNING,
            }
            for k, (host, _, privileged) in enumerate(services)
            for n in range(2)
        ],
        "hosts": [
            {
                "host_id": f"{runtime}/h{k}",
                **(OWN if not is_provided else {"managed_by": "provider"}),
                "provider_version": f"fargate {version}" if is_provided else None,
                **SIZED,
            }
            for k, version in enumerate(versions)
        ],
        "engines": [
            {
                **{"host_id": f"{runtime}/h{k}", "runtime": runtime, "version": version},
                **{"storage_driver": "overlay2", "d_type": True, "mirrors_n": 0},
            }
            for k, version in enumerate(versions)
            if not is_provided
        ],
    }
    tables["dependencies"] = [
        {
            **{"src_id": f"{runtime}/s{k}", "dst_id": "ext:bank.example", "kind": "call"},
            **{"evidence": "traces", "window_hours": 168.0},
        }
        for k in range(len(services))
    ]
    return tables


def on_each(hosts, services):
    """Return one inventory with the same fleet on every runtime, side by side."""
    fleets = [on(runtime, hosts, services) for runtime in LINES]
    frames = {
        name: pd.DataFrame([row for tables in fleets for row in tables[name]])
        for name in fleets[0]
    }
    frames["mounts"] = pd.DataFrame(columns=["workload_id", "destination"])
    return assess.from_frames(frames, snapshot_at=AT)


def by_runtime(answers):
    """Return answers by what they are about, a column for each runtime."""
    runtime, _, rest = zip(*(key.partition("/") for key in answers.index), strict=True)
    return answers.set_axis(pd.MultiIndex.from_arrays([rest, runtime])).unstack()


@pytest.fixture(scope="module")
def policy():
    """The policy with few targets, which are enough to tell verdicts apart."""
    policy = assess.load_policy()
    kept = {"stay", "podman", "fargate"}
    others = [row["id"] for row in policy["targets"] if row["id"] not in kept]
    return policy.replace(target=[{"id": name, "compared": False} for name in others])


@settings(max_examples=2, derandomize=True, phases=[Phase.generate])
@given(
    st.lists(st.integers(0, 2), min_size=HOSTS, max_size=HOSTS),
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from([2, 4]), st.booleans()),
        min_size=4,
        max_size=8,
    ),
)
def test_verdicts_do_not_depend_on_the_name_of_the_runtime(policy, hosts, services):
    assessment = Assessment(on_each(hosts, services), policy)
    verdicts = assessment.targets.frame["verdict"].reset_index("target")
    gates = assessment.readiness.details["gates"].set_index("service_id")
    tables = [rows["verdict"] for _, rows in verdicts.groupby("target")]
    tables += [rows["state"] for _, rows in gates.groupby("gate")]
    for table in map(by_runtime, tables):
        assert table.columns.tolist() == sorted(LINES)
        differs = table[table.nunique(axis=1).gt(1)]
        assert differs.empty, differs


def test_every_state_of_a_line_shows(policy):
    fleet = on_each([0, 0, 1, 1, 2, 2], [(0, 4, False), (2, 4, False), (4, 4, False)])
    labels = by_runtime(assess.what_next(fleet, policy).frame["label"])
    for runtime in LINES:
        assert labels[runtime].tolist() == ["KEEP", "FIX", "NOT DECIDABLE"], runtime


def test_a_difference_between_targets_can_be_argued(policy):
    """Where two targets have another verdict, their blockers differ, and ``why`` says it in words."""
    fleet = on_each([0, 1, 0, 2, 0, 0], [(0, 2, True), (2, 4, False), (1, 4, False)])
    frame = assess.score_targets(fleet, policy).frame
    assert len(set(frame["verdict"])) > 1
    for _, rows in frame.groupby("service_id"):
        told = rows.groupby("verdict")["blockers"].agg(set)
        assert sum(map(len, told)) == len(set.union(*told))
        for row in rows.itertuples():
            assert row.why.startswith(f"{row.verdict}: ")
            assert row.blockers in row.why
