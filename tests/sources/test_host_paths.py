"""Paths of the host: which are sensitive, and what of them a frame may show."""

import pytest

from assess.sources.unit import mount_rows
from assess.sources.volumes import Mount, host_path_class, shown_path


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "root"),
        ("//", "root"),
        ("/srv/..", "root"),
        ("C:\\", "root"),
        ("/etc", "system"),
        ("/etc/", "system"),
        ("/etc/shadow", "system"),
        ("/etc/kubernetes/pki", "system"),
        ("/etc/nginx/conf.d", "config"),
        ("/etc/localtime", "config"),
        ("/proc", "system"),
        ("/sys/fs/cgroup", "system"),
        ("/dev/fuse", "system"),
        ("/dev/shm", "temp"),
        ("/var/run", "system"),
        ("/run/udev", "system"),
        ("/var/run/docker.sock", "socket"),
        ("/run/mysqld/mysqld.sock", "socket"),
        ("\\\\.\\pipe\\docker_engine", "socket"),
        ("/var/lib/docker", "system"),
        ("/var/lib/docker/containers", "system"),
        ("/var/lib/kubelet/pods", "system"),
        ("/var/lib", "system"),
        ("/var/lib/mysql", "data"),
        ("/var/log", "system"),
        ("/var/log/nginx", "other"),
        ("/root/.ssh", "system"),
        ("/home/bob/.aws", "system"),
        ("~/.kube/config", "system"),
        ("/home/bob/src", "other"),
        ("/usr/bin", "system"),
        ("/usr/share/zoneinfo", "config"),
        ("/srv/shop/uploads", "data"),
        ("/tmp/x", "temp"),
        ("C:\\Windows\\System32", "system"),
        ("./nginx.conf", "config"),
        ("./data", "other"),
        ("../../../../etc", "other"),  # from where, nobody knows
        ("${DATA}/db", None),
        ("", None),
    ],
)
def test_class_of_a_path(path, kind):
    assert host_path_class(path) == kind


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/", "/"),
        ("/etc/passwd", "/etc/passwd"),
        ("/var/lib/docker/volumes/x", "/var/lib"),
        ("/home/bob/secret-project", "/home/*"),
        ("/Users/bob", "/Users/*"),
        ("/home", "/home"),
        ("./data/deep/er", "./data"),
        ("C:\\Users\\bob\\x", "C:/Users"),
        ("", None),
    ],
)
def test_two_parts_of_a_path_are_shown_and_no_person(path, shown):
    assert shown_path(path) == shown


def test_mounts_carry_the_class_of_their_path():
    bind = Mount(target="/host", type="bind", source="/var/lib/docker/volumes")
    named = Mount(target="/data", type="volume", volume="db", source="/var/lib/docker/x")
    memory = Mount(target="/tmp", type="tmpfs")
    rows = [
        (row.get("host_path_class"), row.get("host_path"))
        for row in mount_rows([bind, named, memory])
    ]
    assert rows == [("system", "/var/lib"), (None, None), (None, None)]
