from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assess import reference


@pytest.mark.parametrize(
    ("text", "numbers", "line"),
    [
        ("20.10.24+dfsg1", (20, 10, 24), "20.10"),
        ("5:20.10.24~3-0~debian", (20, 10, 24), "20.10"),
        ("19.03.15-ce", (19, 3, 15), "19.03"),
        ("v26.1.5", (26, 1, 5), "26.1"),
        ("1.12.6", (1, 12, 6), "1.12"),
        ("17.06.2-ce", (17, 6, 2), "17.06"),
        ("28.5.2", (28, 5, 2), "28"),
        ("29", (29,), "29"),
        ("26", (26,), "26.1"),
        ("20.10", (20, 10), "20.10"),
        ("31.2.0", (31, 2, 0), "31"),
        (" 24.0.7-0ubuntu4.1 ", (24, 0, 7), "24.0"),
        ("Docker version 20.10.24, build 297e128", (20, 10, 24), "20.10"),
        ("docker://20.10.24", (20, 10, 24), "20.10"),
        ("V26.1.5", (26, 1, 5), "26.1"),
        ("Docker version dev, build 1185", None, None),
        ("master", None, None),
        ("", None, None),
        ("3addd840653146c90a254301d6c3a663c7fd6429", None, None),
        (None, None, None),
        (pd.NA, None, None),
        (float("nan"), None, None),
    ],
)
def test_versions_and_lines(text, numbers, line):
    assert reference.parse_version(text) == numbers
    assert reference.engine_line(text) == line


@given(st.text(max_size=30))
def test_no_text_breaks_the_reader(text):
    numbers = reference.parse_version(text)
    assert numbers is None or all(isinstance(n, int) for n in numbers)
    assert isinstance(reference.is_known(text), bool)
    reference.engine_line(text)


def test_every_release_belongs_to_its_line():
    table = reference.table("engine_releases")
    lines = [reference.engine_line(version) for version in table["version"]]
    assert lines == table["release_line"].tolist()
    assert all(reference.is_known(version) for version in table["version"])


def test_what_is_newer_than_the_facts_is_not_known():
    newest = reference.target_engine({})
    assert reference.is_known(newest)
    assert not reference.is_known(f"{newest}.99.0")
    assert not reference.is_known("99.0.0")
    assert not reference.is_known("20.10.99")


@pytest.mark.parametrize(
    ("version", "target", "count"),
    [
        ("28.5.2", "29", 1),
        ("29.1.0", "29", 0),
        ("29.1.0", "28", 0),
        ("20.10.24", "24.0", 2),
        ("17.05.0", "17.06", 1),
        ("99.0", "29", None),
        ("28.0.0", "99", None),
    ],
)
def test_lines_behind(version, target, count):
    assert reference.versions_behind(version, target) == count
