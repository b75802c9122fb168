"""Runtimes, clusters and versions that no table knows: unknown and named, never a pass."""

import json

import pytest
from readiness_fleet import ENGINE, Fleet, together

from assess import load_policy, score_readiness, what_next
from assess.sources.crictl import CrictlSource
from assess.sources.deadline import Deadline
from assess.sources.kubernetes.nodes import to_engines

POLICY = load_policy()
EKS = {"provider": "aws"}


def gates(*fleets, name="G2"):
    """The gate of the engine of each fleet."""
    inventory = together(fleets)
    table = score_readiness(inventory, POLICY).details["gates"]
    found = table[table["gate"].eq(name)].set_index("service_id")
    return [found.loc[f"{number}/shop"] for number in range(len(fleets))]


def beside(**columns):
    fleet = Fleet()
    fleet.rows["engines"].append({**ENGINE, "storage_driver": "overlay", **columns})
    return fleet


def cluster(version, kubelet):
    fleet = Fleet().change("hosts", provider_version=version, **EKS)
    of_node = {"runtime": "containerd", "version": "2.3.1", "kubelet_version": kubelet}
    return fleet.change("engines", **of_node)


STRANGE = {
    "a version of docker": (
        Fleet().change("engines", version="99.1.0"),
        "docker 99.1.0",
    ),
    "a version of containerd": (
        Fleet().change("engines", runtime="containerd", version="9.9.9"),
        "containerd 9.9.9",
    ),
    "a version that is no number": (
        Fleet().change("engines", version="dev-build"),
        "docker dev-build",
    ),
    "a runtime": (
        Fleet().change("engines", runtime="other", version="isulad 2.1.5"),
        "isulad 2.1.5",
    ),
    "the second runtime of a host": (
        beside(runtime="podman", version="77.1.0"),
        "podman 77.1.0",
    ),
    "a version of a cluster": (
        cluster("v1.99.2-eks-5f0a", "1.99.1-eks-5f0a"),
        "amazon-eks 1.99.2",
    ),
}


@pytest.fixture(scope="module")
def judged():
    return dict(
        zip(STRANGE, gates(*(fleet for fleet, _ in STRANGE.values())), strict=True)
    )


@pytest.mark.parametrize("strange", STRANGE)
def test_what_no_table_knows_is_unknown_and_named(strange, judged):
    _, named = STRANGE[strange]
    assert judged[strange]["state"] == "unknown"
    assert named in judged[strange]["evidence"]


def test_what_no_table_knows_has_no_label():
    fleet, _ = STRANGE["a runtime"]
    labels = what_next(fleet.inventory(), POLICY).frame["label"]
    assert labels.tolist() == ["NOT DECIDABLE"]


def test_of_two_runtimes_either_may_run_it_and_the_worse_is_named():
    good, ended, idle = gates(
        beside(runtime="podman", version="6.1.0"),
        beside(runtime="podman", version="4.3.1"),
        beside(runtime="podman", version="4.3.1", containers_total_n=0),
    )
    assert good["state"] == "pass"
    assert (ended["state"], "podman 4.3.1" in ended["evidence"]) == ("unknown", True)
    assert idle["state"] == "pass"  # it runs none of the containers


def test_a_cluster_and_a_node_that_disagree_count_by_the_worse():
    old_node, strange = gates(
        cluster("v1.35.2-eks-5f0a", "1.28.1-eks-5f0a"),
        cluster("v1.35.2-eks-5f0a", "1.99.1-eks-5f0a"),
    )
    assert old_node["state"] == "fail"
    assert "cluster 1.35, node 1.28" in old_node["evidence"]
    assert strange["state"] == "unknown"
    assert "cluster 1.35, node 1.99" in strange["evidence"]


def test_a_node_keeps_the_name_of_a_runtime_that_no_table_knows():
    info = {"containerRuntimeVersion": "rkt://1.30.0", "kubeletVersion": "v1.35.1"}
    (engine,) = to_engines({"status": {"nodeInfo": info}}, "h1")
    assert (engine["runtime"], engine["version"]) == ("other", "rkt 1.30.0")


def test_a_dump_keeps_the_name_of_a_runtime_that_no_table_knows(tmp_path):
    version = {"runtimeName": "iSulad", "runtimeVersion": "2.1.5"}
    (tmp_path / "version.json").write_text(json.dumps(version))
    batch = CrictlSource().collect({"path": "."}, tmp_path, Deadline(20))
    (engine,) = batch.rows["engines"]
    assert (engine["runtime"], engine["version"]) == ("other", "isulad 2.1.5")


def test_root_counts_less_where_all_engines_of_the_host_are_rootless():
    engines = ({"rootless": True}, {"rootless": False}, {"rootless": None})
    fleets = [
        Fleet()
        .change("workloads", user_root=True, privileged=True)
        .change("engines", **engine)
        for engine in engines
    ]
    atoms = score_readiness(together(fleets), POLICY).details["atoms"]
    for check in ("build.not_root", "coupling.unprivileged"):
        states = atoms[atoms["check"].eq(check)].set_index("service_id")["state"]
        # what is not said lifts no finding
        found = [states[f"{number}/shop"] for number in range(len(fleets))]
        assert found == ["pass", "fail", "fail"]


def test_nothing_of_an_engine_is_no_pass():
    (found,) = gates(Fleet().drop("engines"))
    assert found["state"] == "unknown"
