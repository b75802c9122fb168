"""Targets and workloads that say too little, or things that cannot both be true."""

from __future__ import annotations

import pandas as pd
import pytest
from churn_fleet import fleet, score

from assess import reference
from assess.score.upgrade_churn.breaking import BLIND, breaks, goal_of, goals_of


def certainties(target, engine=None, **workload):
    """Return the breaks of one workload with the engine's socket on the way to a target."""
    known = {"host_id": "h1", "runtime": "docker", "version": "28.5.1"}
    engines = [known | {"storage_driver": "overlay2"} | (engine or {})]
    row = {"workload_id": "w", "service_id": "shop", "host_id": "h1", "state": "running"}
    row |= {"docker_sock_mounted": True} | workload
    inventory = fleet(hosts=[{"host_id": "h1"}], engines=engines, workloads=[row])
    found = breaks(inventory, [goal_of(target)])
    found = found[found["certainty"] != "note"]
    return dict(zip(found["change"], found["certainty"], strict=True))


def test_a_target_older_than_what_runs_breaks_nothing():
    assert certainties("docker:20.10", image_ref="traefik:v2.9") == {}


def test_a_target_that_nobody_released_yet_holds_all_that_is_known():
    now = certainties("docker:29.0.0", image_ref="traefik:v2.9")
    assert now == {"EC0423": "will"}
    # what else it breaks is unknown, which is no pass
    assert certainties("docker:99", image_ref="traefik:v2.9") == {**now, BLIND: BLIND}
    assert certainties("kubernetes:9.9", image_ref="traefik:v2.9") == {}


@pytest.mark.parametrize(("target", "n"), [("docker:29", 0), ("docker:99", None)])
def test_a_target_that_nobody_released_yet_is_no_pass(target, n):
    engine = {"host_id": "h1", "runtime": "docker", "version": "28.5.1"}
    row = {"workload_id": "w", "service_id": "shop", "host_id": "h1", "state": "running"}
    row |= {"image_ref": "shop/app:1", "docker_sock_mounted": False}
    made = fleet(hosts=[{"host_id": "h1"}], engines=[engine], workloads=[row])
    (found,) = score(made, target=target).frame["breaking_n"]
    assert (None if pd.isna(found) else found) == n


@pytest.mark.parametrize(
    "image",
    [
        "traefik",  # it may be any release
        "traefik@sha256:" + "ab" * 32,
        "registry.example.com/edge/proxy:3",  # it may embed any client
        "registry.example.com/mirror/traefik",
    ],
)
def test_a_tag_that_says_nothing_may_break_and_is_no_pass(image):
    assert certainties("docker:29.0.0", image_ref=image) == {"EC0423": "may"}


def test_a_mirror_of_a_known_client_is_that_client():
    image = "registry.example.com/mirror/traefik:v2.9"
    assert certainties("docker:29.0.0", image_ref=image) == {"EC0423": "will"}


def test_what_an_engine_saw_decides_against_a_tag_that_says_otherwise():
    seen = {"image_ref": "traefik:v2.9", "client_api_version": "1.51"}
    assert certainties("docker:29.0.0", **seen) == {}
    old = {"image_ref": "traefik:v3.6.1", "client_api_version": "1.24"}
    assert certainties("docker:29.0.0", **old) == {"EC0423": "will"}


def test_an_engine_without_a_version_is_no_pass():
    found = certainties("docker:29.0.0", {"version": None}, image_ref="traefik:v2.9")
    assert found == {"EC0423": "will", BLIND: BLIND}


def test_a_compose_file_is_asked_of_docker_although_nobody_saw_an_engine():
    gone = {"EC0308": "may", "EC0490": "will"}
    declared = {"host_id": None, "docker_sock_mounted": False, "log_driver": "logentries"}
    found = certainties("docker:29.0.0", source_kind="compose-service", **declared)
    assert found
    assert found.items() <= gone.items()
    assert certainties("docker:29.0.0", source_kind="job", **declared) == {}


def test_a_floor_that_the_configuration_lowers_lets_old_clients_in():
    lowered = {"daemon_flags": "min-api-version=1.24"}
    assert certainties("docker:29.0.0", lowered, image_ref="traefik:v2.9") == {}
    higher = {"daemon_flags": "min-api-version=1.40"}
    found = certainties("docker:29.0.0", higher, image_ref="traefik:v2.9")
    assert found == {"EC0423": "will"}


def test_a_feature_gate_is_asked_of_the_target_and_not_of_the_way():
    node = {
        "runtime": "containerd",
        "version": "1.6.20",
        "kubelet_version": "1.25.9",
        "kubelet_flags": "feature-gates.DynamicKubeletConfig=true",
    }
    assert certainties("kubernetes:1.26", node) == {"K8S-feature-gate": "will"}
    assert certainties("kubernetes:1.25", node) == {}


def test_docker_goes_to_the_target_and_other_runtimes_to_their_newest_line():
    engines = [
        {"host_id": "h1", "runtime": "docker", "version": "20.10.24"},
        {"host_id": "h2", "runtime": "containerd", "version": "1.6.20"},
    ]
    two = fleet(hosts=[{"host_id": "h1"}, {"host_id": "h2"}], engines=engines)
    goals = {goal.product: goal.version for goal in goals_of(two, "27.5")}
    assert goals == {"docker": "27.5", "containerd": reference.newest_line("containerd")}
    assert goals["docker"] != reference.newest_line("docker")


@pytest.mark.parametrize(("target", "n"), [("23.0.4", 1), ("23.0.5", 0), ("23.0.1", 0)])
def test_a_regression_counts_in_the_releases_that_have_it(target, n):
    engine = {"host_id": "h1", "runtime": "docker", "version": "20.10.24"}
    engine["daemon_flags"] = "fixed-cidr"
    found = breaks(fleet(engines=[engine]), [goal_of(f"docker:{target}")])
    assert found["change"].eq("EC0273").sum() == n


def test_a_fleet_without_any_setting_is_asked_of_settings_too():
    engine = {"host_id": "h1", "runtime": "containerd", "kubelet_version": "1.30.1"}
    found = breaks(fleet(engines=[engine]), [goal_of("kubernetes:1.35")])
    assert not found["certainty"].eq("will").any()


@pytest.mark.parametrize("without", ["v1", "", "extensions/v1beta1/"])
def test_an_api_version_without_a_kind_names_no_object(without):
    node = {"runtime": "containerd", "version": "1.7.2", "kubelet_version": "v1.21.3"}
    target = "kubernetes:1.22"
    whole = certainties(target, node, api_version="extensions/v1beta1/Ingress")
    bare = certainties(target, node, api_version=without)
    assert len(set(whole) - set(bare)) == 1
