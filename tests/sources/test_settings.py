"""Settings of engines and kubelets, and what of hosts decides over system calls."""

from __future__ import annotations

import json

import pytest

from assess.sources.catalogue import homes
from assess.sources.deadline import Deadline
from assess.sources.settings import (
    asked_in,
    common,
    of_command,
    setting_text,
    settings_of,
)

CANARY = "hunter2"
NODE = {
    "kind": "Node",
    "apiVersion": "v1",
    "metadata": {"name": "n1"},
    "status": {
        "nodeInfo": {
            "containerRuntimeVersion": "containerd://2.0.1",
            "kubeletVersion": "v1.34.1",
        }
    },
}


@pytest.fixture
def collected(tmp_path):
    """Collect documents, each in a file of its own."""

    def collect(kind, **files):
        for name, document in files.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(document))
        source = homes()[kind].load()()
        return source.collect({"path": "."}, tmp_path, Deadline(9))

    return collect


def test_switches_and_few_values_are_kept_and_no_secret():
    config = {
        "live-restore": True,
        "min-api-version": "1.24",
        "log-opts": {"splunk-token": CANARY},
        "proxies": {"http-proxy": f"http://ada:{CANARY}@proxy"},
        "storage-opts": ["overlay2.override_kernel_check=true"],
        "data-root": f"/srv/{CANARY}",
        f"bad name {CANARY}": 1,
    }
    assert settings_of(config) == (
        "data-root;live-restore=true;log-opts=splunk-token;min-api-version=1.24;proxies;"
        "storage-opts=overlay2.override_kernel_check"
    )
    assert settings_of({}) is None


@pytest.mark.parametrize(
    ("line", "image", "expected"),
    [
        (
            "kube-apiserver --feature-gates=A=true,B=false --insecure-port=0"
            " --enable-admission-plugins NodeRestriction,PodSecurityPolicy",
            "",
            "kube-apiserver;admission-plugin.NodeRestriction=true;"
            "admission-plugin.PodSecurityPolicy=true;feature-gates.A=true;"
            "feature-gates.B=false;insecure-port=0",
        ),
        (
            f"/hyperkube apiserver --etcd-servers=https://ada:{CANARY}@db",
            "",
            "kube-apiserver;etcd-servers",
        ),
        (
            "--proxy-mode=userspace --v 2",
            "kube-proxy",
            "kube-proxy;proxy-mode=userspace;v",
        ),
        (
            "kubelet --node-labels=node-role.kubernetes.io/worker=,pool=blue --v=2",
            "",
            "kubelet;node-label.node-role.kubernetes.io/worker=true;"
            "node-label.pool=true;v",
        ),
        (
            "kube-apiserver --audit-log-version=audit.k8s.io/v1beta1",
            "",
            "kube-apiserver;audit-log-version=audit.k8s.io/v1beta1",
        ),
        ("nginx -g daemon", "nginx", None),
        (
            f"docker-entrypoint.sh -p{CANARY} --default-authentication-plugin=x",
            "mysql",
            "mysqld;default-authentication-plugin",
        ),
        ("scheduler --now", "ours", None),
        ("", "", None),
        ("kubelet --fail-cgroupv1=false", "", "kubelet;fail-cgroupv1=false"),
    ],
)
def test_a_command_line_of_a_part_of_a_cluster_shows_its_settings(line, image, expected):
    assert of_command(line, image) == (expected and f"program={expected}")


def test_of_several_kubelets_only_what_they_share_counts():
    one = {"failCgroupV1": False, "featureGates": {"NodeSwap": True}}
    two = {"failCgroupV1": False}
    assert common([one, two]) == "failCgroupV1=false"
    assert common([]) is None


def test_the_configuration_of_an_engine_is_a_dump(collected):
    info = {
        "Name": "h1",
        "ServerVersion": "28.5.1",
        "SecurityOptions": ["name=apparmor", "name=seccomp,profile=builtin"],
    }
    daemon = {"min-api-version": "1.24", "oom-score-adjust": -500}
    batch = collected("docker", info=info, daemon=daemon)
    (engine,) = batch.rows["engines"]
    assert engine["daemon_flags"] == "min-api-version=1.24;oom-score-adjust"
    assert batch.rows["hosts"][0]["security_modules"] == "apparmor"


@pytest.mark.parametrize(
    "document",
    [
        {"kind": "KubeletConfiguration", "failCgroupV1": False, "featureGates": {"X": 1}},
        {"kubeletconfig": {"failCgroupV1": False, "featureGates": {"X": True}}},
        {
            "kind": "ConfigMap",
            "apiVersion": "v1",
            "metadata": {"name": "kubelet-config", "namespace": "kube-system"},
            "data": {"kubelet": "failCgroupV1: false\nfeatureGates:\n  X: true\n"},
        },
    ],
    ids=["file", "configz", "configmap"],
)
def test_the_settings_of_kubelets_are_read_wherever_they_are(collected, document):
    batch = collected("kubernetes", nodes=NODE, kubelet=document)
    (engine,) = batch.rows["engines"]
    found = engine["kubelet_flags"].split(";")
    assert "failCgroupV1=false" in found
    assert any(flag.startswith("feature-gates.X") for flag in found)


def test_settings_of_kubelets_that_are_no_yaml_are_counted_and_unknown(collected):
    good = {"kind": "KubeletConfiguration", "failCgroupV1": False}
    broken = {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": "kubelet-config", "namespace": "kube-system"},
        "data": {"kubelet": "failCgroupV1: [false\n"},
    }
    batch = collected("kubernetes", nodes=NODE, kubelet=good, map=broken)
    (row,) = (row for row in batch.coverage if row["call"] == "kubelet settings")
    assert (row["status"], row["unmapped_n"]) == ("partial", 1)
    assert row["unmapped_example"] == "kubelet-config"
    assert "kubectl get configmap" in row["hint"]
    assert batch.rows["engines"][0]["kubelet_flags"] is None  # that of others may differ


def test_without_a_configuration_the_settings_are_unknown(collected):
    (engine,) = collected("kubernetes", nodes=NODE).rows["engines"]
    assert engine["kubelet_flags"] is None


def test_podman_tells_its_networks_and_security_modules(collected):
    host = {
        "hostname": "p1",
        "networkBackend": "cni",
        "security": {"seccompEnabled": True, "selinuxEnabled": True},
    }
    version = {"Client": {"Version": "4.9.4"}}
    batch = collected("podman", info={"host": host}, version=version)
    assert batch.rows["engines"][0]["network_backend"] == "cni"
    assert batch.rows["hosts"][0]["security_modules"] == "selinux"


def test_packages_tell_the_version_of_libseccomp(collected):
    facts = {"ansible_facts": {"ansible_hostname": "web-1", "ansible_system": "Linux"}}
    packages = {"libseccomp2": [{"version": "2.4.3-1ubuntu3", "source": "apt"}]}
    facts["ansible_facts"]["packages"] = packages
    batch = collected("ansible", **{"web-1": facts})
    assert batch.rows["hosts"][0]["libseccomp_version"] == "2.4.3"


def test_a_container_tells_what_it_asks_of_its_engine():
    sysctls = {"net.core.somaxconn": CANARY}
    host = {"Runtime": "sysbox-runc", "Links": ["/db:/web/db"], "Sysctls": sysctls}
    made = {"Labels": {"com.docker.compose.version": "1.29.2"}}
    asked = "compose=1.29.2;links;runtime=sysbox-runc;sysctl=net.core.somaxconn"
    assert asked_in({"Config": made, "HostConfig": host}, "docker asks") == asked
    usual = {"Runtime": "runc", "Links": None, "Sysctls": {}}
    assert asked_in({"Config": {}, "HostConfig": usual}, "docker asks") is None
    made["Labels"]["com.docker.compose.version"] = "1;program=dockerd"
    assert asked_in({"Config": made}, "docker asks") == "compose"


def test_variables_that_rules_ask_for_are_settings():
    known = {"KC_PROXY": CANARY, "KC_DB_PASSWORD": CANARY, "OTHER": CANARY}
    assert setting_text("", "app", known, [None]) == "env.KC_PROXY"
    # of few the value counts, and is no secret
    user = {"ELASTICSEARCH_USERNAME": "elastic"}
    shown = "env.ELASTICSEARCH_USERNAME=elastic;compose"
    assert setting_text("", "kibana", user, ["compose"]) == shown
    assert setting_text("", "nginx", {}, []) is None


@pytest.mark.parametrize(
    ("line", "options", "expected"),
    [
        ("java -XX:MaxPermSize=1g -jar a.jar", "", "jvm.MaxPermSize"),
        ("", "-Xmx1g -XX:+UseConcMarkSweepGC", "jvm.UseConcMarkSweepGC"),
        # what is switched off has to be known too
        ("", "-XX:-UseParNewGC -XX:+UseG1GC", "jvm.UseParNewGC"),
        ("java -jar a.jar", "-XX:+UseG1GC", None),
        ("", "-XX:+IgnoreUnrecognizedVMOptions -XX:+UseParNewGC", None),
    ],
)
def test_options_of_a_java_machine_that_releases_dropped(line, options, expected):
    variables = {"CATALINA_OPTS": options, "TOKEN": CANARY}
    assert setting_text(line, "app", variables, []) == expected


def test_postgresql_is_given_its_settings_by_a_short_option():
    line = f"docker-entrypoint.sh postgres -c wal_keep_segments=64 -c x={CANARY}"
    assert of_command(line) == "program=postgres;wal_keep_segments;x"
