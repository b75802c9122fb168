"""Which images are stores: references as fleets have them, with answers marked by hand."""

import csv
from pathlib import Path

import pytest

from assess import reference
from assess.image_ref import parse_image

with Path(__file__).with_name("store_images.csv").open() as _file:
    MARKED = [(row["reference"], row["kind"]) for row in csv.DictReader(_file)]


def test_there_are_enough_references_of_every_kind():
    assert len(MARKED) >= 150
    kinds = set(reference.table("database_images")["kind"]) | {"unknown"}
    assert {kind for _, kind in MARKED} == kinds


@pytest.mark.parametrize(("image", "kind"), MARKED)
def test_the_name_of_an_image_tells_whether_it_is_a_store(image, kind):
    repository = parse_image(image).repository
    assert (reference.stateful_kind(repository) or "none") == kind


@pytest.mark.parametrize("image", [image for image, kind in MARKED if kind != "none"])
def test_a_mirror_hides_no_store(image):
    repository = parse_image(image).repository
    kind = reference.stateful_kind(repository)
    assert reference.stateful_kind(f"mirror/a/b/{repository}") == kind
    assert reference.stateful_kind(f"{repository.upper()}") == kind


@pytest.mark.parametrize(
    "word", ["exporter", "operator", "backup", "client", "ui", "proxy"]
)
@pytest.mark.parametrize(
    "store", ["postgres", "redis", "kafka", "elasticsearch", "orders-db"]
)
def test_a_tool_of_a_store_is_no_store(store, word):
    name = f"acme/{store}-{word}"
    assert reference.stateful_kind(name) is None
    assert reference.is_tool(name)
    assert not reference.is_tool(f"acme/{store}")


@pytest.mark.parametrize(
    "owner", ["zipkin", "log", "metrics", "tracing", "monitoring", "ui"]
)
def test_the_owner_of_a_store_does_not_hide_it(owner):
    assert reference.stateful_kind(f"acme/{owner}-postgres") == "database"


def test_a_long_name_costs_little_time():
    assert reference.stateful_kind("a-" * 5000 + "postgres") == "database"
    assert reference.stateful_kind("a/" * 5000 + "server") is None
