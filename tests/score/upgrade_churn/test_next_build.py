"""Builds: what breaks at the next one, and that nothing runs them."""

from __future__ import annotations

import pandas as pd
import pytest

from assess import collect, load_policy
from assess.inventory import from_frames
from assess.score.assessment import Assessment
from assess.score.upgrade_churn import score_upgrade_churn
from assess.score.upgrade_churn.breaking import breaks, goal_of

CONFIG = '[[source]]\ntype = "builds"\npath = "ops"\n'


@pytest.fixture
def collected(tmp_path):
    """Collect one Dockerfile of the service `cart`."""

    def written(text):
        place = tmp_path / "ops/cart"
        place.mkdir(parents=True)
        (place / "Dockerfile").write_text(text)
        (tmp_path / "assess.toml").write_text(CONFIG)
        return collect(tmp_path / "assess.toml")

    return written


@pytest.fixture
def broken(collected):
    """Collect a Dockerfile, and return what breaks by a day."""

    def asked(text, by="2026-11-01"):
        found = score_upgrade_churn(collected(text), load_policy(), by=by)
        table = found.details["breaking"]
        assert set(table["service_id"]) <= {"cart"}
        return dict(zip(table["change"], table["certainty"], strict=True))

    return asked


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM debian:10\nRUN apt-get update", {"WORLD-debian-10": "will"}),
        ("FROM node:14-buster\nRUN apt-get update", {"WORLD-debian-10": "will"}),
        # no word of the tag names the system: the reference knows it
        ("FROM node:17\nRUN apt-get update", {"WORLD-debian-11": "will"}),
        ("FROM rust:1.71\nRUN apt-get update", {"WORLD-debian-11": "will"}),
        ("FROM rust:1.91\nRUN apt-get update", {}),
        # nothing is fetched, or not from there
        ("FROM debian:10\nRUN make", {}),
        ("FROM debian:12\nRUN apt-get update", {}),
        (
            "FROM debian:10\n"
            "RUN sed -i s/deb.debian.org/archive.debian.org/ /etc/apt/sources.list"
            " && apt-get update",
            {},
        ),
        # the archive of another distribution does not help
        (
            "FROM centos:7\nRUN curl http://archive.debian.org/x; yum -y install make",
            {"WORLD-centos-7": "will"},
        ),
        # lists of one's own may name an archive
        (
            "FROM debian:10\nCOPY l /etc/apt/sources.list\nRUN apt-get update",
            {"WORLD-debian-10": "may"},
        ),
        # what the base brings is fetched too, by the tool that reads it
        (
            "FROM nvidia/cuda:11.4.0-base-ubuntu20.04\nRUN apt-get update",
            {"WORLD-nvidia-key": "will", "WORLD-cuda": "will"},
        ),
        ("FROM nvidia/cuda:11.4.3-base-ubuntu20.04\nRUN make", {}),
        ("FROM mongo:4.2.24\nRUN apt-get update", {"WORLD-mongo-key": "will"}),
        ("FROM mongo:7.0.2\nRUN apt-get update", {}),
        # a suite of somebody else, and one that was moved to an archive
        (
            "FROM debian:12\nRUN echo 'deb https://apt.example.com buster main'"
            " > /etc/apt/sources.list.d/a.list && apt-get update",
            {},
        ),
        (
            "FROM debian:12\nRUN echo 'deb http://archive.debian.org/debian buster main'"
            " > /etc/apt/sources.list.d/a.list && apt-get update",
            {},
        ),
        # an ended suite on a sound base
        (
            "FROM debian:12\n"
            "RUN echo 'deb http://deb.debian.org/debian buster main' > /x && apt update",
            {"WORLD-debian-10": "will"},
        ),
        # an ended stage counts as much as the last one
        (
            "FROM centos:8 AS make\nRUN dnf -y install gcc\nFROM debian:12\nRUN make",
            {"WORLD-centos-8": "will"},
        ),
        ("FROM bitnami/node:14.1", {"WORLD-bitnami": "will"}),
        (
            "FROM alpine:3.20\nRUN gpg --keyserver ha.pool.sks-keyservers.net --recv 1",
            {"WORLD-sks": "will"},
        ),
        (
            "FROM alpine:3.20\nRUN gpg --keyserver hkps://keyserver.ubuntu.com --recv 1",
            {},
        ),
    ],
)
def test_what_a_dockerfile_shows_of_its_next_build(broken, text, expected):
    assert broken(text) == expected


def test_a_day_before_the_archive_closed_nothing_breaks(broken):
    assert broken("FROM debian:10\nRUN apt-get update", by="2025-01-01") == {}


@pytest.mark.parametrize(
    ("text", "target", "expected"),
    [
        (
            "FROM eclipse-temurin:11\nENV JAVA_OPTS=-XX:+UseConcMarkSweepGC",
            "eclipse-temurin:17",
            {"ECLIPSE-TEMURIN-15-machine"},
        ),
        (
            'FROM eclipse-temurin:8\nCMD ["java", "-XX:MaxPermSize=1g", "-jar", "a.jar"]',
            "eclipse-temurin:17",
            {"ECLIPSE-TEMURIN-17-machine"},
        ),
        # the release before only warned
        (
            "FROM eclipse-temurin:8\nENV JAVA_OPTS=-XX:MaxPermSize=1g",
            "eclipse-temurin:16",
            set(),
        ),
        ("FROM php:8.5-fpm\nRUN pecl install apcu", "php:8.6", {"PHP-8.6-pecl"}),
        ("FROM php:8.4-fpm\nRUN pecl install apcu", "php:8.5", set()),
        (
            'FROM mysql:8.0\nCMD ["mysqld", "--skip-ssl"]',
            "mysql:8.4",
            {"MYSQL-8.4-ssl"},
        ),
        (
            "FROM alpine:3.20\nRUN apk add dhclient",
            "alpine:3.21",
            {"ALPINE-3.21-packages"},
        ),
        ("FROM alpine:3.20\nRUN apk add dnsmasq", "alpine:3.21", set()),
        (
            "FROM mariadb:10.11\nHEALTHCHECK CMD mysqladmin ping",
            "mariadb:11",
            {"MARIADB-11-names"},
        ),
        (
            'FROM mariadb:10.11\nHEALTHCHECK --interval=9s CMD ["/usr/bin/mysqladmin", "ping"]',
            "mariadb:11",
            {"MARIADB-11-names"},
        ),
        ("FROM mariadb:10.11\nHEALTHCHECK NONE", "mariadb:11", set()),
        (
            "FROM rabbitmq:4.2\n"
            "RUN rabbitmq-plugins enable --offline rabbitmq_delayed_message_exchange",
            "rabbitmq:4.3",
            {"RABBITMQ-4.3-plugin"},
        ),
        (
            "FROM rabbitmq:4.2\nRUN rabbitmq-plugins enable rabbitmq_shovel",
            "rabbitmq:4.3",
            set(),
        ),
        (
            "FROM mcr.microsoft.com/dotnet/sdk:9.0-bookworm-slim",
            "dotnet/sdk:10.0",
            {"DOTNET-10-debian"},
        ),
        ("FROM mcr.microsoft.com/dotnet/sdk:9.0-noble", "dotnet/sdk:10.0", set()),
    ],
)
def test_what_a_dockerfile_shows_of_a_new_base(collected, text, target, expected):
    table = breaks(collected(text), [goal_of(target)])
    assert set(table.loc[table["certainty"].eq("will"), "change"]) == expected


RUST = "FROM rust:latest AS make\nRUN cargo build --release\n"
GO = "FROM golang:1.20 AS make\n{}RUN go build -o /a .\n"
OLD = "FROM debian:bullseye-slim\n"
COPY = "COPY --from=make /a /a\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (RUST + OLD + COPY, "will"),
        (RUST + "FROM gcr.io/distroless/cc-debian11\n" + COPY, "will"),
        (RUST + "FROM debian:bookworm-slim\n" + COPY, None),
        (RUST.replace("release", "target x86_64-unknown-linux-musl") + OLD + COPY, None),
        (RUST.replace("latest", "1-bullseye") + OLD + COPY, None),
        # only what calls C is linked with the library of the system
        (GO.format("") + OLD + COPY, "may"),
        (GO.format("ENV CGO_ENABLED=0\n") + OLD + COPY, None),
        (GO.format("") + "FROM alpine:3.18\n" + COPY, None),
        # C of a base that moved to a newer system
        ("FROM debian:stable AS make\nRUN make all\n" + OLD + COPY, "may"),
        ("FROM debian:stable AS make\nRUN ./a.sh && cmake .\n" + OLD + COPY, "may"),
        ("FROM debian:stable AS make\nRUN apt-get install make\n" + OLD + COPY, None),
        ("FROM debian:11 AS make\nRUN make all\n" + OLD + COPY, None),
        ("FROM debian:stable AS make\nRUN make LDFLAGS=-static\n" + OLD + COPY, None),
    ],
)
def test_what_a_stage_links_may_be_too_new_for_the_last_one(broken, text, expected):
    assert broken(text, by="2023-12-01").get("WORLD-glibc-moved") == expected


def test_a_build_is_no_replica():
    base = {
        "services": pd.DataFrame({"service_id": ["cart", "pay"]}),
        "hosts": pd.DataFrame({"host_id": ["h1"]}),
        "engines": pd.DataFrame(
            [{"host_id": "h1", "runtime": "docker", "version": "28.5.1"}]
        ),
    }
    running = {
        "workload_id": "w",
        "service_id": "cart",
        "host_id": "h1",
        "state": "running",
        "image_ref": "registry.example.com/cart:1",
        "privileged": False,
    }
    build = {
        "workload_id": "b",
        "service_id": "cart",
        "state": "declared",
        "source_kind": "build",
        "image_ref": "library/mysql:5",
        "privileged": True,
    }
    policy = load_policy()
    found = []
    for rows in ([running], [running, build]):
        tables = {**base, "workloads": pd.DataFrame(rows)}
        whole = Assessment(from_frames(tables, snapshot_at="2026-11-01"), policy)
        found.append(whole)
    without, beside = found
    for name in ("readiness", "upgrade_churn", "claims"):
        pd.testing.assert_frame_equal(without.score(name).frame, beside.score(name).frame)
    pd.testing.assert_frame_equal(without.blast_radius.frame, beside.blast_radius.frame)
    assert "b" in set(beside.inventory["workloads"]["workload_id"])
    assert "b" not in set(beside.inventory.running["workloads"]["workload_id"])


@pytest.mark.parametrize(
    ("text", "change", "day", "certainty"),
    [
        # the tag moved to Ubuntu 24.04, which has a user with this id, and no adduser
        (
            "FROM eclipse-temurin:17\nRUN useradd -u 1000 app",
            "UBUNTU-23.04-useradd-1000",
            "2024-07-23",
            "will",
        ),
        (
            "FROM eclipse-temurin:17\nRUN adduser --system spring",
            "UBUNTU-24.04-adduser",
            "2024-07-23",
            "may",
        ),
        (
            "FROM python:3.11-slim\nRUN apt-get update && apt-get install -y libgl1-mesa-glx",
            "DEBIAN-13-packages",
            "2025-08-12",
            "will",
        ),
        (
            "FROM node:lts-alpine\nRUN apk add --no-cache python2",
            "ALPINE-3.16-packages",
            "2022-05-23",
            "will",
        ),
        (
            "FROM amazonlinux:latest\nRUN amazon-linux-extras install docker",
            "AMAZON-LINUX-2023-amazon-linux-extras",
            "2023-03-15",
            "will",
        ),
    ],
)
def test_a_tag_that_moves_to_a_system_brings_its_changes(
    broken, text, change, day, certainty
):
    assert broken(text, by=day)[change] == certainty


@pytest.mark.parametrize(
    "text",
    [
        "FROM eclipse-temurin:17-jammy\nRUN useradd -u 1000 app",
        "FROM eclipse-temurin:17-jdk-ubi9-minimal\nRUN useradd -u 1000 app",
        f"FROM eclipse-temurin:17@sha256:{'a' * 64}\nRUN useradd -u 1000 app",
        # no release of this line was built on Debian 13
        "FROM python:3.8-slim\nRUN apt-get update && apt-get install -y libgl1-mesa-glx",
        "FROM python:3.11-slim-bookworm\nRUN apt-get install -y libgl1-mesa-glx",
    ],
)
def test_a_tag_that_names_its_system_or_is_pinned_does_not_move(broken, text):
    assert not {"UBUNTU-23.04-useradd-1000", "DEBIAN-13-packages"} & broken(text).keys()


def test_a_tag_has_not_moved_before_its_day(broken):
    text = "FROM eclipse-temurin:17\nRUN useradd -u 1000 app"
    assert "UBUNTU-23.04-useradd-1000" not in broken(text, by="2024-07-22")
