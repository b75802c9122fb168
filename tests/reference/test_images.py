"""Versions of image tags, and what a change of them means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assess.reference.images import (
    image_change,
    major_parts,
    moves,
    product_of,
    tag_version,
)


@pytest.mark.parametrize(
    ("tag", "version"),
    [
        ("3.96_large_disk", (3, 96)),
        ("1.25.3-alpine", (1, 25, 3)),
        ("v2.7", (2, 7)),
        ("release-1.4", (1, 4)),
        ("16", (16,)),
        ("9.6.24-bullseye", (9, 6, 24)),
        ("20.04", (20, 4)),
        ("7.2.4+build5", (7, 2, 4)),
        ("1.2rc1", (1, 2)),
        ("ubi8-5.3.0-0", (5, 3, 0)),
        ("alpine3.19-1.25.3", (1, 25, 3)),
        ("centos8-4.7.1", (4, 7, 1)),
        ("sha256-5", None),
        ("stable-2.11.4", (2, 11, 4)),
        ("open-17.0.7_7-jre", (17, 0, 7)),
        ("stable-9457-2", None),
        ("stable-2026.09.30", None),
        # a day, unless its numbers are written as those of a version
        ("2025.11.10", (2025, 11, 10)),
        ("2022.10.24-debian-11-r0", (2022, 10, 24)),
        ("2025-11-10", None),
        ("20251110", None),
        ("edge-22.11.1", None),
        ("jdk-11.0.2", None),
        ("nginx-0.49.3-rancher1", (0, 49, 3)),
        ("x86-64-1.2", None),
        ("ubi8-2026.09.30", None),
        ("latest", None),
        ("bookworm-slim", None),
        ("4f2a9c1", None),
        ("2026-09-30", None),
        ("20260930", None),
        ("", None),
        (None, None),
    ],
)
def test_versions_of_tags(tag, version):
    assert tag_version(tag) == version


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        (("library/postgres", "9.5"), ("library/postgres", "9.6"), "major"),
        (("library/postgres", "9.6.1"), ("library/postgres", "9.6.2"), "patch"),
        (("library/postgres", "9.6"), ("library/postgres", "10"), "major"),
        (("library/postgres", "16.1"), ("library/postgres", "16.4"), "minor"),
        (("library/redis", "7.2"), ("valkey/valkey", "7.2"), "swap"),
        (("library/redis", "7.0"), ("library/redis", "7.2"), "minor"),
        (("library/redis", "7.2"), ("mirror/redis", "7.2.4"), "patch"),
        (("library/redis", "7.2"), ("library/redis", "7.0"), "rollback"),
        (("shop/api", "2.3.1"), ("shop/api", "2.3.0"), "rollback"),
        (("shop/api", "0.3.1"), ("shop/api", "0.4.0"), "major"),
        (("shop/disk", "3.96_large_disk"), ("shop/disk", "3.97_large_disk"), "minor"),
        (("shop/api", "1.2"), ("shop/api", "1.2-alpine"), "rebuild"),
        (("shop/api", "4f2a9c1"), ("shop/api", "77b1d0e"), "unknown"),
        (("shop/api", "latest"), ("shop/api", "1.0"), "unknown"),
        (("shop/api", "latest"), ("shop/api", "latest"), "unknown"),
        (("shop/api", "1.2.3"), ("shop/api", "1.2.3"), "same"),
        ((None, "1"), ("shop/api", "1"), "unknown"),
        (("library/mysql", "8.0.36"), ("library/mysql", "8.4.0"), "major"),
        (("library/python", "3.11"), ("library/python", "3.12"), "major"),
    ],
)
def test_what_a_change_means(before, after, change):
    assert image_change((*before, None), (*after, None)) == change


def test_digests_decide_where_tags_do_not():
    one, other = "sha256:" + "a" * 64, "sha256:" + "b" * 64
    assert (
        image_change(("shop/api", "latest", one), ("shop/api", "latest", one)) == "same"
    )
    assert (
        image_change(("shop/api", "latest", one), ("shop/api", "latest", other))
        == "rebuild"
    )
    assert image_change(("shop/api", "1.0", one), ("shop/api", "stable", one)) == "same"


def test_products_and_their_major_versions():
    assert product_of("bitnami/postgresql") == "postgres"
    assert major_parts("postgres", (9, 6)) == 2
    assert major_parts("postgres", (16, 1)) == 1


versions = st.lists(st.integers(0, 40), min_size=1, max_size=4).map(
    lambda v: ".".join(map(str, v))
)


@given(versions, versions)
def test_there_and_back_is_an_upgrade_and_a_rollback(one, other):
    there = image_change(("shop/api", one, None), ("shop/api", other, None))
    back = image_change(("shop/api", other, None), ("shop/api", one, None))
    if {there, back} & {"same", "rebuild", "unknown"}:
        assert there == back
    else:
        assert (there == "rollback") != (back == "rollback")


@pytest.mark.parametrize(
    ("repository", "tag", "is_moving"),
    [
        ("library/nginx", None, True),
        ("library/nginx", "latest", True),
        ("library/nginx", "alpine", True),
        ("library/nginx", "stable-alpine", True),
        ("library/nginx", "mainline-alpine3.19-slim", True),
        ("library/nginx", "1", True),
        ("library/nginx", "1-alpine", True),
        ("library/nginx", "1.25.3", False),
        ("library/nginx", "1.25.3-alpine3.18", False),
        ("library/postgres", "16", True),
        ("library/postgres", "16-bookworm", True),
        ("library/postgres", "9.6", True),
        ("library/postgres", "16.1", False),
        ("mirror/mysql", "8.0", True),
        ("mirror/mysql", "8.0.35", False),
        ("library/python", "3.11-slim", True),
        ("library/python", "3.11.7-slim", False),
        ("library/ubuntu", "22.04", True),
        ("timescale/timescaledb-ha", "pg15-latest", True),
        ("mssql/server", "2022-latest", True),
        ("mssql/server", "2022-CU12-ubuntu-22.04", False),
        ("jenkins/jenkins", "lts-jdk17", True),
        ("jenkins/jenkins", "2.426.1-lts-jdk17", False),
        ("minio/minio", "RELEASE.2023-11-20T22-40-07Z", False),
        ("acme/shop", "nightly", True),
        ("acme/shop", "latest-amd64", True),
        ("acme/shop", "main", True),
        ("acme/shop", "main-4f2a9c1", False),
        ("acme/shop", "sha-4f2a9c1e", False),
        ("acme/shop", "nightly-20240131", False),
        ("acme/shop", "1.2-SNAPSHOT", True),
        ("acme/shop", "v2", True),
        ("acme/shop", "v2.1", False),
        ("acme/shop", "release-2.4.1", False),
        ("acme/shop", "417", False),
        ("acme/shop", "build-1093", False),
        ("acme/shop", "prod", True),
        ("acme/shop", "zesty-otter", None),
        ("acme/shop", "4f2a9c1d", False),
        ("acme/shop", "0.19", True),
        ("acme/shop", "0.19.2", False),
    ],
)
def test_which_tags_move(repository, tag, is_moving):
    assert moves(tag, repository) is is_moving
