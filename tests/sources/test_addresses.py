"""Addresses in environments: hosts and ports, and what kind of thing is there."""

from __future__ import annotations

import pytest
from assess.sources.addresses import Address, addresses, kind_of


@pytest.mark.parametrize(
    ("name", "value", "host", "port", "kind"),
    [
        ("DATABASE_URL", "postgres://u:p@db:5432/x", "db", 5432, "data"),
        ("DB_URL", "jdbc:mysql://db:3306/x?user=a", "db", 3306, "data"),
        ("DB_DSN", "user:secret@tcp(db:3306)/x", "db", 3306, "data"),
        ("DB_DSN", "host=db port=5432 user=a password=b", "db", 5432, "data"),
        ("MONGO_URI", "mongodb+srv://u:p@m.example.net/x", "m.example.net", None, "data"),
        ("REDIS_HOST", "store", "store", None, "cache"),
        ("APP_ENDPOINT", "http://search:9200", "search", 9200, "data"),
        ("BUS_ADDR", "bus:5672", "bus", 5672, "queue"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://otel:4317", "otel", 4317, "telemetry"),
        ("CONSUL_HTTP_ADDR", "c:8500", "c", 8500, "discovery"),
        (
            "USERS_DB_API_URL",
            "https://users.example.net/",
            "users.example.net",
            None,
            "call",
        ),
        ("FLUENTD_HOST", "logs", "logs", None, "log"),
    ],
)
def test_addresses(name, value, host, port, kind):
    ((_, address),) = addresses({name: value})
    assert (address.host, address.port) == (host, port)
    assert kind_of(address, "", name) == kind


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgres://user:pa/ss@db/x"),
        ("DATABASE_URL", "sqlite:///data/x.db"),
        ("API_URL", "/relative"),
        ("API_HOST", "0.0.0.0"),
        ("API_HOST", "localhost"),
        ("API_HOST", "127.0.0.1:80"),
        ("API_HOST", ""),
        ("API_HOST", "true"),
        ("ALLOWED_HOSTS", "example.com"),
        ("VIRTUAL_HOST", "www.example.com"),
        ("PASSWORD", "http://x"),
        ("HOSTNAME_X", "db"),
        ("API_URL", "http://[::1"),
        ("API_HOST", "8080"),
        ("SENTENCE_URL", "not a url"),
    ],
)
def test_what_is_no_address(name, value):
    assert list(addresses({name: value})) == []


def test_several_addresses_in_one_value():
    found = [a.host for _, a in addresses({"KAFKA_BROKERS": "k1:9092,k2:9092"})]
    assert found == ["k1", "k2"]


def test_image_behind_a_host_name_tells_its_kind():
    assert kind_of(Address("store"), "redis") == "cache"
    assert (
        kind_of(Address("store", scheme="http"), "redis-commander", "REDIS_URL") == "call"
    )
