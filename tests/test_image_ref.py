from __future__ import annotations

import pytest

from assess.image_ref import ImageRef, as_declared, parse_image

DIGEST = "sha256:" + "a1" * 32


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        ("nginx", ("docker.io", "library/nginx", None, None)),
        ("nginx:1.27", ("docker.io", "library/nginx", "1.27", None)),
        ("docker.io/nginx", ("docker.io", "library/nginx", None, None)),
        ("index.docker.io/library/nginx:1", ("docker.io", "library/nginx", "1", None)),
        ("docker.io:443/library/nginx:1", ("docker.io", "library/nginx", "1", None)),
        ("docker://nginx:1", ("docker.io", "library/nginx", "1", None)),
        ("https://reg.example.com/app:1", ("reg.example.com", "app", "1", None)),
        ("team/app:v2", ("docker.io", "team/app", "v2", None)),
        ("localhost/app", ("localhost", "app", None, None)),
        (
            "reg.example.com:5000/a/b/c:1.0",
            ("reg.example.com:5000", "a/b/c", "1.0", None),
        ),
        (f"reg.example.com/app:1.0@{DIGEST}", ("reg.example.com", "app", "1.0", DIGEST)),
        (f"app@{DIGEST}", ("docker.io", "library/app", None, DIGEST)),
    ],
)
def test_parts(ref, expected):
    image = parse_image(ref)
    assert (image.registry, image.repository, image.tag, image.digest) == expected


@pytest.mark.parametrize(
    "ref", ["", DIGEST, "a1b2c3d4e5f6", "a b", "${IMAGE}", "x:y:z", "a//b"]
)
def test_what_is_no_reference_stays_unknown(ref):
    image = parse_image(ref)
    assert image == ImageRef()
    assert image.floating is None
    assert image.pinned is None


def test_floating_and_pinned():
    assert parse_image("nginx").floating is True
    assert parse_image("nginx:latest").floating is True
    assert parse_image("nginx:1").floating is True
    assert parse_image("nginx:1.25.3").floating is False
    assert parse_image("acme/shop:zesty").floating is None
    assert parse_image(f"nginx:latest@{DIGEST}").floating is False
    assert parse_image(f"nginx@{DIGEST}").pinned is True
    assert parse_image("nginx:1").pinned is False


def test_columns_of_a_workload():
    assert parse_image("nginx:1.25.3").columns() == {
        "registry": "docker.io",
        "repository": "library/nginx",
        "tag": "1.25.3",
        "image_digest": None,
        "tag_floating": False,
        "pinned": False,
    }


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        ("postgres:${VERSION:-16}", ("docker.io", "library/postgres", None)),
        ("postgres:", ("docker.io", "library/postgres", None)),  # of an unset variable
        ("reg.example.com:5000/a:v$TAG", ("reg.example.com:5000", "a", None)),
        ("a:{{ .Values.tag }}", ("docker.io", "library/a", None)),
        ("${REGISTRY}/redis:7.2.1", (None, "redis", "7.2.1")),
        ("${ID}.ecr.$(AREA).aws/shop/web:${TAG}", (None, "shop/web", None)),
        ("${IMAGE}", (None, None, None)),
        ("${A}:${B}", (None, None, None)),
        ("a/${B}/c:1", (None, None, None)),
    ],
)
def test_a_variable_hides_only_what_it_stands_for(ref, expected):
    image = parse_image(ref)
    assert (image.registry, image.repository, image.tag) == expected
    if image.tag is None:  # not "none, which is latest"
        assert image.floating is None and image.pinned is None


@pytest.mark.parametrize("part", [":", "${A}/", ":${A}", "${A}", "$(", "{{"])
def test_what_strangers_write_ends(part):
    parse_image(part * 20_000)
    parse_image("a" + part * 20_000)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("nginx:1.27", True),
        ("{{ .Values.image }}:1", True),
        ("${IMAGE:-a b}", True),
        ("nginx:1.27 Environment=TOKEN=hunter2", False),
        ("nginx\tTOKEN=hunter2", False),
        ("", False),
        (None, False),
    ],
)
def test_what_stands_behind_an_image_is_no_part_of_it(text, kept):
    assert as_declared(text) == (text if kept else None)
