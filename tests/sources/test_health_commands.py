"""What health checks call, and what a container asks of its engine, as settings."""

from __future__ import annotations

import pytest
import yaml

from assess import collect
from assess.score.upgrade_churn.breaking import breaks, goal_of
from assess.sources.docker.payload import keep_inspected
from assess.sources.settings import checked_by


@pytest.mark.parametrize(
    ("words", "called"),
    [
        (["CMD", "mongo", "--eval", "db.adminCommand('ping')"], ["health=mongo"]),
        (["CMD-SHELL", "echo 'db.stats().ok' | mongo localhost/x"], ["health=mongo"]),
        (["CMD-SHELL", "test $(/usr/bin/mongo -u a) -eq 1"], ["health=mongo"]),
        (["CMD", "bash", "-c", "mysqladmin ping"], ["health=mysqladmin"]),
        # the name of a host, another program, and none
        (["CMD-SHELL", "mongosh --host mongo --eval 1"], []),
        (["CMD", "healthcheck.sh", "--connect"], []),
        (["NONE"], []),
    ],
)
def test_the_programs_of_a_check_are_those_that_start_a_command(words, called):
    assert checked_by(words) == called


@pytest.fixture
def composed(tmp_path):
    """Collect one service of a Compose file."""

    def written(**service):
        document = {"services": {"db": service}}
        (tmp_path / "compose.yaml").write_text(yaml.safe_dump(document))
        source = '[[source]]\ntype = "compose"\npath = "compose.yaml"\n'
        (tmp_path / "assess.toml").write_text(source)
        return collect(tmp_path / "assess.toml")

    return written


@pytest.mark.parametrize(
    ("program", "certainty"), [("mongo", "will"), ("mongosh", "may")]
)
def test_a_check_by_a_command_that_is_gone_fails(composed, program, certainty):
    check = {"test": ["CMD", program, "--eval", "1"]}
    fleet = composed(image="mongo:5.0", healthcheck=check)
    found = breaks(fleet, [goal_of("mongo:6.0")]).set_index("change")["certainty"]
    assert found["MONGO-6.0-shell"] == certainty


def test_an_engine_shows_what_a_check_calls():
    config = {
        "Image": "mongo:5.0",
        "Healthcheck": {"Test": ["CMD-SHELL", "mongo --eval 1"]},
    }
    kept, _ = keep_inspected({"Config": config})
    assert "health=mongo" in kept["settings"].split(";")


@pytest.mark.parametrize(
    "sysctls",
    [["net.ipv4.conf.eth0.arp_ignore=1"], {"net.ipv4.conf.eth0.arp_ignore": 1}],
)
def test_a_compose_file_shows_what_a_service_asks_of_its_engine(composed, sysctls):
    fleet = composed(image="busybox:1.36", sysctls=sysctls)
    (settings,) = fleet["workloads"]["settings"]
    assert settings == "sysctl=net.ipv4.conf.eth0.arp_ignore"
    found = breaks(fleet, [goal_of("docker:26.0.0")])
    assert found.set_index("change")["certainty"].to_dict() == {"EC0344": "will"}


def test_a_line_of_openshift_stands_for_one_of_kubernetes():
    assert goal_of("openshift:4.17")[:2] == goal_of("kubernetes:1.30")[:2]


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])
def test_a_probe_of_a_pod_calls_a_program(tmp_path, probe):
    check = {probe: {"exec": {"command": ["sh", "-c", "mongo --eval 1"]}}}
    container = {"name": "db", "image": "mongo:5.0", "args": ["--quiet"], **check}
    beside = {"name": "shop", "image": "mongo:5.0"}
    asks = {"nodeSelector": {"kubernetes.io/os": "linux"}}
    pod = {"containers": [container, beside], **asks}
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "db"}}
    (tmp_path / "pod.yaml").write_text(yaml.safe_dump(document | {"spec": pod}))
    source = '[[source]]\ntype = "kubernetes"\npath = "pod.yaml"\n'
    (tmp_path / "assess.toml").write_text(source)
    workloads = collect(tmp_path / "assess.toml")["workloads"]
    settings = workloads.sort_values("name")["settings"].tolist()
    assert "health=mongo" in settings[0].split(";")
    assert "node-label.kubernetes.io/os" in settings[0].split(";")
    assert "health=mongo" not in str(settings[1])
