from __future__ import annotations

import re

import pytest

from assess import reference


@pytest.mark.parametrize(
    ("image", "tag", "running", "target", "sure"),
    [
        ("external-dns/external-dns", "v0.8.0", "1.21.4", "1.22", True),
        ("external-dns/external-dns", "v0.10.1", "1.21.4", "1.22", False),
        # a tag that may mean either
        ("library/traefik", "v2", "1.21.4", "1.22", None),
        ("library/traefik", "latest", "1.21.4", "1.22", None),
        ("library/traefik", "v2.4", "1.21.4", "1.22", True),
        # the API has gone long ago, or goes later
        ("library/traefik", "v2.4", "1.22.1", "1.30", False),
        ("library/traefik", "v2.4", "1.20.1", "1.21", False),
        # nobody knows what runs
        ("library/traefik", "v2.4", None, "1.22", True),
        # a row names the namespace where the program has a common name
        ("istio/pilot", "1.8.2", "1.21.4", "1.22", True),
        ("shop/pilot", "1.8.2", "1.21.4", "1.22", False),
        (None, None, "1.21.4", "1.22", False),
    ],
)
def test_a_client_asks_for_an_api_that_a_target_no_longer_serves(
    image, tag, running, target, sure
):
    asks, api, gone = reference.gone_api(image, tag, running, target)
    assert asks is sure
    assert bool(api) == (gone == "1.22") == (asks is not False)


VARIABLE = "DOCKER_API_VERSION"


@pytest.mark.parametrize(
    ("image", "tag", "environment", "api"),
    [
        ("containrrr/watchtower", "latest", {VARIABLE: "1.44"}, "1.44"),
        ("amir20/dozzle", "v10.1", {VARIABLE: "1.40"}, "1.40"),
        ("library/docker", "20.10-cli", {VARIABLE: "1.20"}, "1.20"),
        # another client has another variable
        ("docker/compose", "1.29.2", {"COMPOSE_API_VERSION": "1.41"}, "1.41"),
        ("docker/compose", "1.29.2", {VARIABLE: "1.41"}, None),
        # it is known not to read it
        ("library/traefik", "v2.9", {VARIABLE: "1.44"}, None),
        ("portainer/portainer-ce", "2.36", {VARIABLE: "1.24"}, None),
        # some releases that the tag may mean read it, others do not, or nobody knows
        ("nextcloud/all-in-one", "latest", {VARIABLE: "1.44"}, "unknown"),
        ("library/telegraf", "1.30", {VARIABLE: "1.44"}, "unknown"),
        ("shop/web", "3", {VARIABLE: "1.44"}, "unknown"),
        (None, None, {VARIABLE: "1.44"}, "unknown"),
        ("containrrr/watchtower", "latest", {}, None),
        ("containrrr/watchtower", "latest", {VARIABLE: ""}, None),
        ("containrrr/watchtower", "latest", {"": "1.44", "(none)": "1.44"}, None),
    ],
)
def test_a_client_takes_its_version_from_the_variable_that_it_reads(
    image, tag, environment, api
):
    assert reference.fixed_api(image, tag, environment) == api


def test_a_program_reads_at_most_one_variable_of_its_environment():
    named = {row["variable"] for row in reference.rows("engine_clients")}
    assert {VARIABLE, "(none)", ""} < named
    assert all(re.fullmatch(r"[A-Z_]+|\(none\)|", name) for name in named)


@pytest.mark.parametrize(
    ("image", "system"),
    [
        ("node:14-buster", ("debian", "10")),
        ("nvidia/cuda:11.4.0-base-ubuntu20.04", ("ubuntu", "20.04")),
        ("mssql/server:2019-CU12-ubuntu-20.04", ("ubuntu", "20.04")),
        ("centos/python-36-centos7:latest", ("centos", "7")),
        ("localhost:5000/base/debian:12", ("debian", "12")),
        ("python:3.12-alpine3.20", ("alpine-linux", "3.20")),
        ("debian 12", ("debian", "12")),
        # a tag that names no system has that of its line; a moving tag is the last of it
        ("node:10", ("debian", "9")),
        ("node:10.1.0", ("debian", "8")),
        ("docker.io/library/golang:1.13.4", ("debian", "10")),
        ("python:2.7-slim", ("debian", "10")),
        ("python:2.7-windowsservercore", (None, None)),
        ("node:14-alpine", ("alpine-linux", None)),
        ("node:lts", (None, None)),
        ("shop/python:2.7", (None, None)),
        ("quay.io/pypa/manylinux2014_x86_64", ("centos", "7")),
        # a name in the path that is no release of anything
        ("shop/jammy:1", (None, None)),
        ("shop/cart:3", (None, None)),
        (None, (None, None)),
    ],
)
def test_the_name_of_an_image_tells_its_system(image, system):
    assert reference.base_system(image) == system


@pytest.mark.parametrize(
    ("image", "tag", "lists"),
    [
        ("nvidia/cuda", "11.4.0-base-ubuntu20.04", ["developer.download.nvidia.com "]),
        ("nvidia/cuda", "12.2.0-base-ubuntu22.04", []),
        ("library/postgres", "11-stretch", ["apt.postgresql.org stretch-pgdg"]),
        ("library/mysql", "8.0.36-debian", ["repo.mysql.com "]),
        ("library/mysql", "8.0.36", []),
        (None, None, []),
    ],
)
def test_an_image_brings_package_lists(image, tag, lists):
    assert list(reference.base_lists(image, tag)) == lists


def test_what_clients_of_a_cluster_ask_for_can_be_read():
    for row in reference.rows("cluster_clients"):
        assert re.fullmatch(r"1\.\d+", row["gone"]), row
        assert row["api"], row
        ends = [row["from"], row["below"]]
        assert all(not end or reference.parse_version(end) for end in ends), row


def test_feature_gates_are_gone_or_held_and_reach_the_newest_lines():
    rows = reference.rows("feature_gates")
    assert all(row["last"] or row["locked"] for row in rows)
    assert all(bool(row["locked"]) == bool(row["held"]) for row in rows)
    last = [reference.numbers_of(row["last"]) for row in rows]
    held = [reference.numbers_of(row["locked"]) for row in rows]
    assert max(last) >= (1, 34)
    assert max(held) >= (1, 35)
    both = [row for row in rows if row["last"] and row["locked"]]
    for row in both:
        order = [reference.numbers_of(row[name]) for name in ("locked", "last")]
        assert order == sorted(order), row
