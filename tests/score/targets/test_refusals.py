"""What a target refuses holds in the ranking for that target too."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import assess
from assess.policy.targets import complete, platforms
from assess.score.targets import readiness_at
from assess.score.targets.refusals import GATES

GATE_IDS = [gate for gate, *_ in GATES]
AT = pd.Timestamp("2026-09-30", tz="UTC")
GIB = 2**30
SERVICE = {
    **{"env": "prod", "tier": 4, "kind": "web", "stateful": False, "public": False},
    **{"license_bound": False, "hardware_bound": False, "health_checked": True},
    **{"logs_exported": True, "config_external": True, "secrets_in_image": False},
    **{"owner": "team", "runbook": True, "move_effort_hours": 8.0},
    **{"deploys_per_month": 8.0, "lead_time_days": 1.0, "min_healthy_pct": 50.0},
}
UNIT = {
    "source_kind": "unit",
    "state": "running",
    "inspect_status": "ok",
    "ports": "80/tcp",
}
HOST = {
    **{"os_name": "debian", "os_version": "13", "kernel": "6.12.48"},
    **{"memory_bytes": 8 * GIB, "vcpus": 2, "state": "running"},
}
BOUND = {"destination": "/etc/app", "type": "bind", "read_only": True}
DATA = {"destination": "/scratch", "type": "volume", "read_only": False}
# what a service on a host may have; of a mount of which nothing is known nobody can tell
MOUNTS = {"none": None, "bound": BOUND, "data": DATA, "unknown": {"destination": "/x"}}
SIZES = {"small": 8 * GIB, "large": 512 * GIB, "unknown": None}


def fleet(cases):
    """Return services on hosts, each with a mount and with so much memory on its host."""
    names = [f"s{at}" for at in range(len(cases))]
    mounts = [
        {"workload_id": name, "data_like": False, **MOUNTS[mount]}
        for name, (mount, _) in zip(names, cases, strict=True)
        if MOUNTS[mount]
    ]
    tables = {
        "services": [{"service_id": n, "platform": "host", **SERVICE} for n in names],
        "workloads": [
            {"workload_id": n, "service_id": n, "host_id": n, **UNIT} for n in names
        ],
        "hosts": [
            {"host_id": name, **HOST, "memory_bytes": SIZES[size]}
            for name, (_, size) in zip(names, cases, strict=True)
        ],
    }
    frames = {name: pd.DataFrame(rows) for name, rows in tables.items()}
    frames["mounts"] = pd.DataFrame(mounts, columns=["workload_id", *BOUND, "data_like"])
    return assess.from_frames(frames, snapshot_at=AT)


@pytest.fixture(scope="module")
def policy():
    """Return the policy with few draws, and a target that refuses whatever there is."""
    policy = assess.load_policy()
    every = [row["id"] for row in policy["refusal"]]
    closed = {"id": "closed", "title": "Closed", "platform": "fargate", "refuses": every}
    return policy.replace(
        target=[{**closed, "memory_gib_max": 0.001, "cpu_max": 0.001}],
        simulation={"draws": 200},
    )


@settings(max_examples=3, derandomize=True, phases=[Phase.generate])
@given(
    st.sampled_from(["fargate", "cloud-run"]),
    st.lists(
        st.tuples(st.sampled_from(list(MOUNTS)), st.sampled_from(list(SIZES))),
        min_size=4,
        max_size=8,
    ),
)
def test_what_a_target_refuses_is_behind_a_gate_there(policy, target, cases):
    inventory = fleet([("none", "small"), *cases])
    found = readiness_at(inventory, policy, target)
    gates = found.details["gates"]
    ours = gates[gates["gate"].isin(GATE_IDS) & gates["state"].ne("pass")]
    refused = {
        f"s{at}"
        for at, (mount, size) in enumerate(cases, start=1)
        if mount != "none" or size != "small"
    }
    assert set(ours["service_id"]) == refused
    assert found.frame.loc[sorted(refused), "label_gates"].notna().all()
    assert pd.isna(found.frame.loc["s0", "label_gates"])


def test_only_what_the_target_takes_competes_there(policy):
    cases = [
        ("none", "small"),
        ("bound", "small"),
        ("none", "unknown"),
        ("none", "large"),
    ]
    inventory = fleet(cases)
    there = assess.what_next(inventory, policy, target="fargate").frame
    assert there.index[there["p_top"].gt(0)].tolist() == ["s0"]
    assert there.loc["s2", "why"].startswith("T1: not known: how much memory")


def test_the_gates_name_what_is_refused_and_the_fact_that_is_missing(policy):
    inventory = fleet([("bound", "small"), ("unknown", "small"), ("none", "large")])
    found = readiness_at(inventory, policy, "fargate")
    gates = found.details["gates"]
    assert set(gates["gate"]) >= set(GATE_IDS)
    table = gates.set_index(["service_id", "gate"])
    assert (
        table.loc[("s0", "T3"), "evidence"] == "host-paths: it mounts a path of its host"
    )
    assert table.loc[("s1", "T3"), "state"] == "unknown"
    assert "mounts.type" in table.loc[("s1", "T3"), "fact"]
    assert "workloads.memory_limit_bytes" in table.loc[("s2", "T1"), "fact"]
    assert set(found.frame["label_gates"]) == {"NOT DECIDABLE"}
    assert found.provenance == assess.score_readiness(inventory, policy).provenance
    assert found.rows()[0]["gates"]
    today = readiness_at(inventory, policy, "stay").details["gates"]
    assert not set(today["gate"]) & set(GATE_IDS)


def test_a_request_bounds_what_is_slowed_and_not_what_is_ended(policy):
    """A process may take more memory than it asked for, and is ended; of CPU it gets no more."""
    inventory = fleet([("none", "large")])
    frames = {name: inventory[name] for name in inventory.present}
    frames["workloads"] = frames["workloads"].assign(
        memory_request_bytes=GIB, cpu_request=0.5
    )
    frames["hosts"] = frames["hosts"].assign(vcpus=512)
    asked = assess.from_frames(frames, snapshot_at=AT)
    gates = readiness_at(asked, policy, "fargate").details["gates"].set_index("gate")
    assert gates.loc["T1", "state"] == "unknown"
    assert (
        gates.loc["T1", "fact"]
        == "how much memory it needs (workloads.memory_limit_bytes)"
    )


def test_a_move_brings_what_the_place_has(policy):
    inventory = fleet([("none", "small")])
    frames = {name: inventory[name] for name in inventory.present}
    frames["hosts"] = frames["hosts"].assign(os_version="8", kernel="3.16.0")
    old = assess.from_frames(frames, snapshot_at=AT)
    targets = policy.replace(
        target=[
            {"id": "two", "platform": "docker", "os": "debian", "replicas": 2},
            {"id": "one", "platform": "docker", "os": "debian", "replicas": 1},
        ]
    )
    state = {}
    for place in ("two", "one", "stay"):
        atoms = readiness_at(old, targets, place).details["atoms"]
        state[place] = atoms.set_index("check")["state"]
    hosts = ["fit.kernel", "fit.os"]
    brought = ["fit.d_type", *hosts, "self_healing.replicas"]
    assert state["two"][brought].tolist() == ["pass", "pass", "pass", "pass"]
    assert state["one"][brought].tolist() == ["pass", "pass", "pass", "fail"]
    assert state["stay"][hosts].tolist() == ["fail", "fail"]


def test_a_target_that_refuses_everything_has_no_candidates(policy):
    asked = {"cpu_limit": 1.0, "cpu_request": 1.0, "memory_limit_bytes": GIB}
    cases = [("none", "small"), ("bound", "large"), ("data", "small"), ("none", "small")]
    inventory = fleet(cases)
    frames = {name: inventory[name] for name in inventory.present}
    frames["workloads"] = frames["workloads"].assign(**asked)
    # what runs in containers is no candidate, and says nothing of them
    inside = frames["services"]["service_id"].eq("s3")
    frames["services"] = frames["services"].assign(
        platform=frames["services"]["platform"].mask(inside, "docker")
    )
    sized = assess.from_frames(frames, snapshot_at=AT)
    ranked = assess.what_next(sized, policy, target="closed")
    assert set(ranked.frame["label"].drop("s3")) == {"NEVER"}
    assert ranked.frame["label"]["s3"] != "NEVER"
    assert ranked.frame["p_top"].fillna(0).eq(0).all()
    assert ranked.headline == "No service is ranked: closed takes none of the candidates."
    assert "T1: memory: it needs more" in ranked.explain("s0").text


def test_what_runs_in_containers_is_not_called_back_for_a_target(policy):
    """It stays in containers, though not in those; only a host's service gets NEVER."""
    inventory = fleet([("none", "small"), ("none", "small")])
    frames = {name: inventory[name] for name in inventory.present}
    services = frames["services"].assign(platform=["docker", "host"])
    large = frames["workloads"].assign(
        source_kind=["container", "unit"],
        **{"memory_limit_bytes": 512 * GIB, "privileged": False, "host_pid": False},
        **{"host_network": False, "docker_sock_mounted": False, "host_ipc": False},
        **{"caps_added_n": 0, "caps_added": "none", "devices_n": 0},
    )
    hosts = frames["hosts"].assign(memory_bytes=600 * GIB)
    changed = {**frames, "services": services, "workloads": large, "hosts": hosts}
    sized = assess.from_frames(changed, snapshot_at=AT)
    gates = readiness_at(sized, policy, "fargate").details["gates"]
    failed = gates[gates["state"].eq("fail") & gates["gate"].isin(GATE_IDS)]
    assert failed[["service_id", "label"]].to_numpy().tolist() == [
        ["s0", "HOLD"],
        ["s1", "NEVER"],
    ]


def test_what_a_platform_refuses_has_a_source():
    facts = platforms()
    assert all(row["source"] for row in facts.values() if row["refuses"])
    known = {row["id"] for row in assess.load_policy()["refusal"]}
    assert all(set(row["refuses"]) <= known for row in facts.values())


def test_a_managed_platform_refuses_by_itself_what_it_cannot_give():
    target = complete({"id": "apps", "platform": "container-apps"})
    assert {"privileged", "capabilities", "node-agent"} <= set(target["refuses"])
