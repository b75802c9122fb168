"""`docker info` and `docker version` as people save them: the text of 1.6 to 29."""

import textwrap

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assess import frames
from assess.sources.deadline import Deadline
from assess.sources.docker.source import DockerSource
from assess.sources.docker.text import cli_size, from_cli_container, info_of, version_of

V1_6 = """
Containers: 12
Images: 41
Storage Driver: aufs
 Root Dir: /var/lib/docker/aufs
 Backing Filesystem: extfs
 Dirs: 66
Execution Driver: native-0.2
Kernel Version: 3.13.0-32-generic
Operating System: Ubuntu 14.04.1 LTS
CPUs: 1
Total Memory: 1.954 GiB
Name: old-01
WARNING: No swap limit support
"""
V1_12 = """
Containers: 7
 Running: 1
 Paused: 0
 Stopped: 6
Images: 4
Server Version: 1.12.6
Storage Driver: devicemapper
 Pool Name: docker-253:0-440-pool
 Backing Filesystem: xfs
 Data file: /dev/loop0
 Metadata file: /dev/loop1
 Data Space Used: 2.059 GB
 Data loop file: /var/lib/docker/devicemapper/devicemapper/data
 WARNING: Usage of loopback devices is strongly discouraged for production use.
 Metadata loop file: /var/lib/docker/devicemapper/devicemapper/metadata
 Library Version: 1.02.135-RHEL7 (2016-09-28)
Logging Driver: json-file
Cgroup Driver: cgroupfs
Plugins:
 Volume: local
 Network: overlay null host bridge
Swarm: inactive
Runtimes: runc
Security Options: seccomp
Kernel Version: 3.10.0-514.el7.x86_64
Operating System: CentOS Linux 7 (Core)
OSType: linux
Architecture: x86_64
CPUs: 2
Total Memory: 976.5 MB
Name: old-02
Docker Root Dir: /var/lib/docker
Debug Mode (client): false
Registry: https://index.docker.io/v1/
WARNING: bridge-nf-call-iptables is disabled
Insecure Registries:
 127.0.0.0/8
 registry.example.net:5000
"""
V24 = """
Client: Docker Engine - Community
 Version:    24.0.7
 Context:    default
 Debug Mode: false
 Plugins:
  buildx: Docker Buildx (Docker Inc.)
    Version:  v0.11.2
    Path:     /usr/libexec/docker/cli-plugins/docker-buildx

Server:
 Containers: 5
  Running: 3
  Paused: 0
  Stopped: 2
 Images: 9
 Server Version: 24.0.7
 Storage Driver: overlay2
  Backing Filesystem: extfs
  Supports d_type: true
  Using metacopy: false
 Logging Driver: journald
 Cgroup Driver: systemd
 Cgroup Version: 2
 Plugins:
  Volume: local
  Log: awslogs fluentd journald json-file
 Swarm: active
  NodeID: abcdefghijklmnopqrstuvwxy
  Is Manager: true
  Managers: 3
 Runtimes: io.containerd.runc.v2 runc
 Security Options:
  apparmor
  seccomp
   Profile: builtin
  cgroupns
 Kernel Version: 5.15.0-89-generic
 Operating System: Ubuntu 22.04.3 LTS
 OSType: linux
 Architecture: x86_64
 CPUs: 4
 Total Memory: 7.76GiB
 Name: web-01
 HTTP Proxy: http://bob:hunter2@proxy.example.net:3128
 Username: hunter2
 Insecure Registries:
  127.0.0.0/8
  ::1/128
  10.0.0.0/8
 Registry Mirrors:
  https://mirror.example.net/
 Live Restore Enabled: true
 Firewall Backend: iptables

WARNING: No swap limit support
"""
VERSION = """
Client: Docker Engine - Community
 Version:           25.0.1
 API version:       1.44

Server: Docker Engine - Community
 Engine:
  Version:          24.0.7
  API version:      1.43 (minimum version 1.12)
  Go version:       go1.20.10
  OS/Arch:          linux/amd64
 containerd:
  Version:          1.6.24
 runc:
  Version:          1.1.9
"""
NO_ENGINE = """
Client:
 Context:    default

Server:
ERROR: Cannot connect to the Docker daemon at unix:///var/run/docker.sock.
errors pretty printing info
"""


def collected(directory, **texts):
    for name, text in texts.items():
        (directory / f"{name}.txt").write_text(text)
    batch = DockerSource().collect({"path": "."}, directory, Deadline(20))
    rows = {}
    for name in ("hosts", "engines"):
        typed, problems = frames.conform(name, pd.DataFrame(batch.rows[name]))
        assert problems.empty, problems
        rows[name] = typed.iloc[0] if len(typed) else None
    return rows["hosts"], rows["engines"], {row["call"]: row for row in batch.coverage}


def test_a_new_layout(tmp_path):
    host, engine, coverage = collected(tmp_path, info=V24, version=VERSION)
    assert coverage["info"]["status"] == coverage["version"]["status"] == "ok"
    assert (host["hostname"], host["os_name"], host["os_version"]) == (
        "web-01",
        "ubuntu",
        "22.04",
    )
    assert (host["vcpus"], host["arch"], host["os_family"]) == (4, "x86_64", "linux")
    assert host["memory_bytes"] == round(7.76 * 2**30)
    assert (engine["version"], engine["api_version"]) == ("24.0.7", "1.43")
    assert (engine["min_api_version"], engine["containerd_version"]) == ("1.12", "1.6.24")
    assert (engine["storage_driver"], engine["backing_fs"]) == ("overlay2", "extfs")
    assert engine["d_type"] and engine["seccomp"] and engine["live_restore"]
    assert not engine["rootless"] and not engine["loopback"]
    assert (engine["swarm"], engine["cgroup_driver"]) == ("active", "systemd")
    assert (engine["mirrors_n"], engine["insecure_registries_n"]) == (1, 1)
    assert (engine["containers_total_n"], engine["stopped_n"]) == (5, 2)
    assert engine["warnings_n"] == 1
    assert "hunter2" not in repr((host.to_dict(), engine.to_dict()))


def test_an_old_layout_on_loop_devices(tmp_path):
    host, engine, _ = collected(tmp_path, info=V1_12)
    assert (host["os_name"], host["os_version"]) == ("centos", "7")
    assert host["memory_bytes"] == 976_500_000
    assert engine["loopback"]
    assert (engine["version"], engine["storage_driver"]) == ("1.12.6", "devicemapper")
    assert engine["insecure_registries_n"] == 1
    assert pd.isna(engine["mirrors_n"])  # this command line never prints them
    assert (engine["warnings_n"], engine["stopped_n"]) == (2, 6)


def test_lines_that_are_missing_are_unknown(tmp_path):
    host, engine, _ = collected(tmp_path, info=V1_6)
    assert host["memory_bytes"] == round(1.954 * 2**30)
    assert engine["storage_driver"] == "aufs"
    unknown = [
        "version",
        "logging_driver",
        "live_restore",
        "seccomp",
        "swarm",
        "stopped_n",
    ]
    assert engine[[*unknown, "mirrors_n", "insecure_registries_n"]].isna().all()


@pytest.mark.parametrize("text", [V1_6, V1_12, V24])
def test_lost_or_added_indentation_changes_no_value(text):
    plain = info_of(text)
    lost = info_of("\n".join(line.strip() for line in text.splitlines()))
    for name in set(plain) - {"RegistryConfig", "SecurityOptions"}:
        assert lost[name] == plain[name]
    assert info_of(textwrap.indent(text, "   ")) == plain
    assert info_of(text.replace("\n", "\r\n")) == plain


@pytest.mark.parametrize("text", [V1_12, V24])
def test_each_line_that_is_cut_costs_only_its_own_value(text):
    whole = info_of(text)
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.strip() in ("Server:", ""):
            continue
        cut = info_of("\n".join(lines[:number] + lines[number + 1 :]))
        assert len([name for name in whole if cut.get(name) != whole[name]]) <= 2


def test_an_engine_that_was_not_reached_is_no_host(tmp_path):
    host, _, coverage = collected(tmp_path, info=NO_ENGINE)
    assert host is None
    assert coverage["info"]["status"] == "unreachable"
    assert "docker info --format '{{json .}}' > info.json" in coverage["info"]["hint"]


def test_the_hint_of_a_refused_dump_names_the_command_for_a_good_one(tmp_path):
    (tmp_path / "ps.txt").write_text("CONTAINER ID   IMAGE   COMMAND\nabc   nginx   x\n")
    _, _, coverage = collected(tmp_path, info=V24)
    assert coverage["containers"]["status"] == "parse_error"
    assert "docker ps --all --no-trunc --format" in coverage["containers"]["hint"]
    assert "docker images" in coverage["images"]["hint"]  # of one that is not there


def test_the_version_of_an_old_command_line():
    old = "Client version: 1.6.0\nServer version: 1.5.0\nServer API version: 1.17\n"
    assert version_of(old) == {"Version": "1.5.0", "ApiVersion": "1.17"}
    flat = "Client:\n Version: 1.12.6\n\nServer:\n Version: 1.12.5\n API version: 1.24\n"
    assert version_of(flat) == {"Version": "1.12.5", "ApiVersion": "1.24"}


@pytest.mark.parametrize(
    ("text", "size"),
    [("1.98MB", 1_980_000), ("2 GiB", 2 << 30), ("512B", 512), ("7,7GB", None)],
)
def test_sizes(text, size):
    assert cli_size(text) == size


def test_a_list_of_compose_names_project_and_service():
    listed = {"ID": "1", "Names": "my-db", "Service": "ledger", "Project": "shop"}
    labels = from_cli_container(listed | {"Labels": "tier=1"})["Labels"]
    assert labels == {
        "tier": "1",
        "com.docker.compose.project": "shop",
        "com.docker.compose.service": "ledger",
    }
    assert from_cli_container({"ID": "1", "Names": "a"})["Labels"] == {}


@settings(max_examples=50)
@given(st.text(alphabet="Server: \nNaClient\t0.G", max_size=200))
def test_no_text_is_an_error(text):
    info_of(text)
    version_of(text)
