from __future__ import annotations

import pandas as pd
import pytest

from assess import reference

AT = pd.Timestamp("2026-09-30", tz="UTC")


def day(text):
    return pd.Timestamp(text, tz="UTC")


@pytest.mark.parametrize(
    ("version", "at", "state", "eol"),
    [
        ("20.10.24", "2026-09-30", "ended", "2023-12-10"),
        ("20.10.24", "2023-12-10", "supported", "2023-12-10"),  # its last day
        ("20.10.24", "2023-12-11", "ended", "2023-12-10"),
        # the stated window counts
        ("17.06.2-ce", "2017-10-10", "supported", "2017-10-19"),
        ("25.0.8", "2026-09-30", "supported", "2026-12-04"),
        ("25.0.99", "2026-09-30", "unknown", "2026-12-04"),  # newer than the facts
        # whatever its number, its line ended
        ("20.10.99", "2026-09-30", "ended", "2023-12-10"),
        ("29.1.0", "2026-09-30", "supported", None),  # no end announced; the newest line
        ("29.99.0", "2026-09-30", "unknown", None),
        ("29.1.0", "2028-01-01", "unknown", None),  # the facts are too old to say
        ("31.0.0", "2026-09-30", "unknown", None),
        ("master", "2026-09-30", "unknown", None),
        (None, "2026-09-30", "unknown", None),
    ],
)
def test_engines(version, at, state, eol):
    found = reference.product_support("docker", version, day(at))
    assert found.state == state
    assert found.eol_date == (day(eol) if eol else None)
    assert found.days_to_eol == ((day(eol) - day(at)).days if eol else None)


@pytest.mark.parametrize(
    ("name", "version", "line", "state"),
    [
        ("debian", "12.5", "12", "ended"),
        ("debian", "bookworm", "12", "ended"),
        ("Ubuntu", "22.04.3 LTS", "22.04", "supported"),
        ("amzn", "2023.5.20240701", "2023", "supported"),
        ("centos", "7.9.2009", "7", "ended"),
        ("sles", "15-SP7", "15.7", "supported"),
        ("alpine", "3.22.1", "3.22", "supported"),
        ("alpine", "3.2.1", "3.2", "ended"),
        ("debian:10", None, "10", "ended"),
        ("ubuntu-22.04", None, "22.04", "supported"),
        ("Ubuntu22.04", None, "22.04", "supported"),
        ("CentOS Linux release 7.9.2009 (Core)", None, "7", "ended"),
        ("Amazon Linux 2", None, "2", "ended"),
        ("Amazon Linux 2023", None, "2023", "supported"),
        ("al2023", None, "2023", "supported"),
        ("SUSE Linux Enterprise Server 15 SP7", None, "15.7", "supported"),
        ("debian", "99", "99", "unknown"),
        ("debian", None, None, "unknown"),
        ("plan9", "4", None, "unknown"),
        (None, None, None, "unknown"),
    ],
)
def test_operating_systems(name, version, line, state):
    found = reference.os_support(name, version, AT)
    assert (found.line, found.state) == (line, state)


def test_a_kernel_lives_as_long_as_the_system_that_ships_it():
    own = {"os_name": "centos", "os_version": "7.9"}
    before = reference.kernel_support("3.10.0-1160.el7.x86_64", day("2024-01-01"), **own)
    assert before.state == "supported"
    assert reference.kernel_support("3.10.0", day("2024-01-01")).state == "ended"
    assert reference.kernel_support("6.1.0-21-amd64", AT).state == "supported"
    assert reference.kernel_support("9.9.0", AT).state == "unknown"


@pytest.mark.parametrize(
    ("product", "version", "state"),
    [
        ("kubernetes", "v1.29.3", "ended"),
        ("nomad", "1.9.0", "ended"),
        ("nomad", "2.0.1", "supported"),
        ("apache-mesos", "1.11.0", "ended"),  # retired
        ("apache-mesos", None, "ended"),
        ("marathon", "1.9.0", "ended"),
        ("swarm-mode", "20.10.5", "ended"),  # lives and ends with the engine
        ("swarm-mode", "29.1.0", "supported"),
        ("ecs-agent", "1.80.0", "unknown"),  # no end is ever announced
        ("balloons", "1.0", "unknown"),
    ],
)
def test_orchestrators(product, version, state):
    assert reference.product_support(product, version, AT).state == state


def test_runtimes():
    assert reference.product_support("containerd", "1.6.20~ds1", AT).state == "ended"
    assert reference.product_support("containerd", "2.3.1", AT).state == "supported"
    # CRI-O lives as long as the Kubernetes line of its number
    assert reference.product_support("cri-o", "1.30", AT).state == "ended"
    assert reference.product_support("cri-o", "1.35.2", AT).state == "supported"
    assert reference.product_support("cri-o", "1.99", AT).state == "unknown"


def test_windows_of_the_engine():
    windows = reference.support_windows("docker", since="2019-01-01")
    assert windows["20.10"] == 1097
    assert pd.isna(windows["29"])
    assert "18.09" not in windows
    assert reference.support_windows("docker")["18.09"] == 212  # stated: 7 months


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("debian", "6.0.10"),
        ("debian", "3.1"),
        ("centos", "5.11"),
        ("centos", "6.10"),
        ("CentOS Linux", "8.5"),
        ("rhel", "5"),
        ("redhat", "4.9"),
        ("ubuntu", "12.04"),
        ("ubuntu", "10.04"),
        ("ubuntu", "6.06"),
        ("fedora", "12"),
        ("sles", "10.4"),
        ("alpine", "2.7"),
        ("Oracle Linux Server", "6.10"),
        ("opensuse leap", "42.3"),
    ],
)
def test_old_systems_have_ended(name, version):
    assert reference.os_support(name, version, AT).state == "ended"


def test_what_is_newer_than_the_facts_has_not_ended():
    assert reference.os_support("debian", "99", AT).state == "unknown"
    assert reference.os_support("hannah montana linux", "1", AT).state == "unknown"


@pytest.mark.parametrize(
    ("kernel", "name", "version", "state"),
    [
        ("3.10.0-1160.el7.x86_64", None, None, "ended"),
        ("4.18.0-553.5.1.el8_10.x86_64", None, None, "supported"),
        ("5.14.0-427.13.1.el9_4.x86_64", "rocky", "9.4", "supported"),
        ("4.18.0-348.7.1.el8_5.x86_64", "centos", "8", "ended"),
        ("4.14.336-257.562.amzn2.x86_64", None, None, "ended"),
        ("6.1.79-99.164.amzn2023.x86_64", "amazon linux", "2023", "supported"),
        ("6.5.0-1018-azure", "ubuntu", "22.04", "supported"),
        ("5.4.0-1103-gcp", "ubuntu", "20.04", "ended"),
        ("6.9.0", None, None, "ended"),  # upstream's own
    ],
)
def test_a_kernel_of_a_distribution_goes_by_its_calendar(kernel, name, version, state):
    support = reference.kernel_support(kernel, AT, os_name=name, os_version=version)
    assert support.state == state


@pytest.mark.parametrize(
    ("name", "kernel", "family"),
    [
        ("OpenBSD", "7.4", "bsd"),
        ("freebsd 14", None, "bsd"),
        ("SunOS", "5.11", "sunos"),
        ("Oracle Solaris 11", None, "sunos"),
        ("Oracle Linux Server", None, "linux"),
        ("Mac OS X", "22.6.0", "other"),
        (None, "Darwin 22.6.0", "other"),
        ("Windows Server 2022", "10.0 20348", "windows"),
        (None, "10.0 20348 (20348.1.amd64fre)", "windows"),
        (None, "5.15.90.1-microsoft-standard-WSL2", "linux"),
        ("Docker Desktop", "6.6.12-linuxkit", "linux"),
        (None, "3.10.0-1160.el7.x86_64", "linux"),
        (None, "13.2-RELEASE", None),
        (None, None, None),
    ],
)
def test_families_of_systems(name, kernel, family):
    assert reference.os_family(name, kernel) == family


@pytest.mark.parametrize(
    ("product", "version", "state", "eol", "extended"),
    [
        ("amazon-eks", "1.34", "supported", "2026-12-02", "2027-12-02"),
        # its extended support comes by itself, and costs
        ("amazon-eks", "1.33", "supported", "2026-07-29", "2027-07-29"),
        ("amazon-eks", "1.29", "ended", "2025-03-23", "2026-03-23"),
        ("google-kubernetes-engine", "1.34", "supported", "2026-10-01", None),
        ("google-kubernetes-engine", "1.32", "ended", "2026-04-11", None),
        # what has to be bought is not taken for bought
        ("azure-kubernetes-service", "1.32", "unknown", "2026-03-31", "2027-03-31"),
        ("azure-kubernetes-service", "1.30", "ended", "2025-08-22", "2026-07-31"),
        ("red-hat-openshift", "4.21", "supported", "2027-08-03", None),
        ("red-hat-openshift", "4.18", "unknown", "2026-08-25", "2027-02-25"),
        ("red-hat-openshift", "4.12", "ended", "2024-07-17", "2025-01-17"),
    ],
)
def test_a_managed_cluster_goes_by_its_providers_calendar(
    product, version, state, eol, extended
):
    found = reference.product_support(product, version, day("2026-09-30"))
    assert found.state == state
    assert found.eol_date == day(eol)
    assert found.extended_date == (day(extended) if extended else None)


@pytest.mark.parametrize(
    ("name", "version", "state"),
    [
        ("cos", "117", "ended"),
        ("cos", "121", "supported"),
        ("talos", "1.11", "ended"),
        ("rhcos", "4.12", "ended"),  # lives as long as its cluster
        ("amazon-linux", "2", "ended"),
        ("oracle-linux", "9", "supported"),
        ("windows-server", "2016", "supported"),
        ("bottlerocket", "1.20", "unknown"),  # follows a cluster that is not named here
    ],
)
def test_a_system_of_nodes_goes_by_its_own_calendar(name, version, state):
    assert reference.os_support(name, version, day("2026-09-30")).state == state
