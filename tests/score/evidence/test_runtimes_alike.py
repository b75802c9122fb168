"""The same fleet on another runtime, with equivalent facts, gets the same verdicts."""

from __future__ import annotations

import pandas as pd
import pytest

import assess
from assess import reference

# a version of the newest line, to which services move, and one whose line has ended
VERSIONS = {
    "containerd": ("2.4.0", "1.6.20"),
    "cri-o": ("1.37.0", "1.27.1"),
    "podman": ("6.2.0", "4.3.1"),
}


@pytest.fixture(scope="module")
def fleet():
    return assess.load("data/sample/2026Q3")


@pytest.fixture(scope="module")
def policy():
    return assess.load_policy()


@pytest.fixture(scope="module")
def on_docker(fleet, policy):
    """Return what is said of the fleet as it is."""
    return assess.what_next(fleet, policy).frame.sort_index()


def on_runtime(fleet, runtime):
    """Express the engines of a fleet on another runtime: supported stays so, ended stays so."""
    engines = fleet["engines"].copy()
    alive, ended = VERSIONS[runtime]
    rows = engines["runtime"].eq("docker")
    states = {
        version: reference.product_support("docker", version, fleet.snapshot_at).state
        for version in engines.loc[rows, "version"].dropna()
    }
    versions = engines["version"].map(
        {v: alive if state == "supported" else ended for v, state in states.items()}
    )
    engines["version"] = versions.astype("str").where(rows, engines["version"])
    names = engines["runtime"].astype("object").where(~rows, runtime)
    engines["runtime"] = pd.Categorical(names, fleet["engines"]["runtime"].cat.categories)
    return fleet.replace(engines=engines)


def gate_states(fleet, policy, gate="G2"):
    gates = assess.score_readiness(fleet, policy).details["gates"]
    return gates[gates["gate"].eq(gate)].set_index("service_id")["state"]


@pytest.mark.parametrize("runtime", VERSIONS)
def test_every_runtime_gets_the_verdicts_of_docker(fleet, policy, on_docker, runtime):
    here = on_docker
    alike = policy.replace(target={"runtime": runtime})
    there = assess.what_next(on_runtime(fleet, runtime), alike).frame.sort_index()
    assert there["label"].eq("KEEP").sum() == here["label"].eq("KEEP").sum() > 0
    # the pace of a runtime's releases is its own, so a chance beside a bar may pass it
    bars = [policy["what_next"][name] for name in ("move_p", "pilot_p")]
    near = [here["p_top"].sub(bar).abs().lt(0.05) for bar in bars]
    is_clear = ~(near[0] | near[1]).fillna(value=False).astype(bool)
    assert is_clear.sum() >= len(here) - 3
    pd.testing.assert_series_equal(
        there.loc[is_clear, "label"], here.loc[is_clear, "label"]
    )


def on_fargate(fleet):
    """Express the engines of a fleet on Fargate: provider-patched hosts, no engine of one's own."""
    engines = fleet["engines"]
    docker = engines[engines["runtime"].eq("docker")]
    states = {
        row.host_id: reference.product_support(
            "docker", row.version, fleet.snapshot_at
        ).state
        for row in docker.itertuples()
    }
    versions = {
        host: "Fargate 1.4.0" if state == "supported" else "Fargate 1.3.0"
        for host, state in states.items()
    }
    hosts = fleet["hosts"].copy()
    is_moved = hosts["host_id"].isin(docker["host_id"])
    moved = hosts["host_id"].map(versions)
    hosts["provider_version"] = moved.fillna(hosts["provider_version"]).astype("str")
    hosts["managed_by"] = hosts["managed_by"].astype("object").mask(is_moved, "provider")
    hidden = ["os_name", "os_version", "kernel", "cgroup_version"]
    hosts[hidden] = hosts[hidden].mask(is_moved)
    rest = engines[~engines["runtime"].eq("docker")]
    return fleet.replace(hosts=hosts, engines=rest)


def test_fargate_keeps_what_docker_keeps(fleet, policy, on_docker):
    labels = on_docker["label"]
    there = assess.what_next(on_fargate(fleet), policy).frame["label"].sort_index()
    assert set(labels.index[labels.eq("KEEP")]) <= set(there.index[there.eq("KEEP")])
    assert there.eq("NOT DECIDABLE").sum() <= labels.eq("NOT DECIDABLE").sum()


def test_a_managed_host_passes_as_managed_and_says_so(fleet, policy):
    moved = on_fargate(fleet)
    gates = assess.score_readiness(moved, policy).details["gates"]
    g2 = gates[gates["gate"].eq("G2")].set_index("service_id")
    on_alive = moved["workloads"].merge(moved["hosts"], on="host_id")
    alive = on_alive[on_alive["provider_version"].eq("Fargate 1.4.0")]["service_id"]
    ended = on_alive[on_alive["provider_version"].eq("Fargate 1.3.0")]["service_id"]
    only_alive = sorted(set(alive) - set(ended))
    assert only_alive
    assert g2.loc[only_alive, "state"].eq("pass").all()
    assert g2.loc[only_alive, "evidence"].str.contains("managed: its provider").all()
    assert g2.loc[sorted(set(ended)), "state"].eq("fail").all()


def test_hiding_the_version_never_passes(fleet, policy):
    moved = on_runtime(fleet, "containerd")
    engines = moved["engines"].copy()
    engines["version"] = None
    states = gate_states(moved.replace(engines=engines), policy)
    before = gate_states(fleet, policy)
    in_containers = fleet["workloads"].merge(
        fleet["engines"].query("runtime == 'docker'"), on="host_id"
    )["service_id"]
    assert not states.loc[sorted(set(in_containers))].eq("pass").any()
    assert before.loc[sorted(set(in_containers))].eq("pass").any()


def small(runtimes, **host):
    """Return one service in a container on a host with these runtimes."""
    host = {"os_name": "debian", "os_version": "13", "kernel": "6.12.48", **host}
    engines = [
        {"host_id": "h", "storage_driver": "overlay2", **runtime} for runtime in runtimes
    ]
    workload = {"workload_id": "w", "service_id": "a", "host_id": "h"}
    workload |= {"source_kind": "container", "state": "running"}
    tables = {
        "services": pd.DataFrame([{"service_id": "a", "platform": "docker"}]),
        "hosts": pd.DataFrame([{"host_id": "h", **host}]),
        "workloads": pd.DataFrame([workload]),
        "engines": pd.DataFrame(
            engines, columns=None if engines else ["host_id", "runtime"]
        ),
    }
    at = pd.Timestamp("2026-09-30", tz="UTC")
    return assess.from_frames(tables, snapshot_at=at)


ALIVE = {"runtime": "docker", "version": "29.1.0"}
DEAD = {"runtime": "podman", "version": "4.3.1"}
CTD = {"runtime": "containerd", "version": "2.3.1", "storage_driver": "overlayfs"}
BARE = {"os_name": None, "os_version": None, "kernel": None}


@pytest.mark.parametrize(
    ("runtimes", "host", "state"),
    [
        ([ALIVE], {}, "pass"),
        ([DEAD], {}, "fail"),
        ([ALIVE, DEAD], {}, "unknown"),  # nobody knows which one runs it
        ([ALIVE, {**DEAD, "containers_total_n": 0}], {}, "pass"),
        ([ALIVE, {"runtime": "podman", "version": "6.1.0"}], {}, "pass"),
        # the backend of docker is no second runtime
        ([ALIVE, {"runtime": "containerd", "version": "1.6.20"}], {}, "pass"),
        ([{"runtime": "other", "version": "3"}], {}, "unknown"),
        ([{"runtime": "containerd", "version": "9.9"}], {}, "unknown"),
        (
            [{"runtime": "docker", "version": "29.1.0", "kubelet_version": "v1.20.1"}],
            {},
            "fail",
        ),
        # the provider's calendar of the cluster decides, not the runtime's own line
        (
            [{"runtime": "containerd", "version": "1.6.20"}],
            {"provider_version": "EKS 1.34"},
            "pass",
        ),
        (
            [{"runtime": "containerd", "version": "2.3.1"}],
            {"provider_version": "GKE 1.29"},
            "fail",
        ),
        (
            [{"runtime": "containerd", "version": "2.3.1"}],
            {"provider_version": "AKS 1.32"},
            "unknown",
        ),
        (
            [
                {
                    "runtime": "containerd",
                    "version": "2.3.1",
                    "kubelet_version": "v1.27.1-eks-a",
                }
            ],
            {"provider_version": "EKS 1.34"},
            "fail",
        ),
        ([], {"provider_version": "Fargate 1.4.0"}, "pass"),
        ([], {"provider_version": "Fargate 9.9"}, "unknown"),
        ([], {"provider_version": "Cloud Run"}, "pass"),
        # a provider alone does not say which platform it patches, and until when
        ([], {**BARE, "managed_by": "provider"}, "unknown"),
        ([], {**BARE, "managed_by": "provider", "provider": "acme"}, "unknown"),
        ([ALIVE], {**BARE, "managed_by": "provider"}, "unknown"),
        ([CTD], {"managed_by": "provider"}, "pass"),
        ([], {**BARE, "managed_by": "provider", "provider_version": "Fargate"}, "pass"),
        # of a cluster of one's own the worse of runtime and kubelet counts
        ([{**CTD, "kubelet_version": "v1.36.1+k3s1"}], {}, "pass"),
        ([{**CTD, "kubelet_version": "v1.24.3"}], {}, "fail"),
        ([{**CTD, "kubelet_version": "v1.99.1"}], {}, "unknown"),
        ([{**CTD, "version": "1.6.20", "kubelet_version": "v1.36.1"}], {}, "fail"),
        ([], {}, "unknown"),
        ([ALIVE], {"os_family": "bsd", "os_name": "freebsd", "os_version": "14"}, "fail"),
        ([ALIVE], {"os_name": "Bottlerocket OS", "os_version": "1.20"}, "unknown"),
        (
            [
                {
                    "runtime": "containerd",
                    "version": "2.3.1",
                    "kubelet_version": "v1.34.1-eks-a",
                }
            ],
            {"os_name": "Bottlerocket OS", "os_version": "1.20"},
            "pass",
        ),
    ],
)
def test_gate_of_the_host(policy, runtimes, host, state):
    gates = assess.score_readiness(small(runtimes, **host), policy).details["gates"]
    row = gates.set_index("gate").loc["G2"]
    assert row["state"] == state, row["evidence"]


def test_the_platform_of_a_provider_is_an_element_of_the_blast_radius(fleet, policy):
    found = assess.score_blast_radius(on_fargate(fleet), policy, detail=False).frame
    engines = found.xs("engine", level="element_kind")["impact"]
    assert {"aws-fargate 1.3.0", "aws-fargate 1.4.0"} <= set(engines.index)
    assert engines.loc["aws-fargate 1.4.0"] > 0
