"""The YAML merge rule, whatever release of PyYAML is there."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from assess.sources import dumps
from assess.sources.dumps import load_documents

PACKAGE = Path(__file__).parent.parent.parent / "assess"
ANCHORS = "a: &a {user: 0, privileged: 1}\nb: &b {user: 1, image: x}\n"


def last(text):
    """The value of the last key of a document."""
    (document,) = load_documents(text)
    return list(document.values())[-1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("c: {<<: *a}", {"user": 0, "privileged": 1}),
        ("c: {<<: *a, user: 2}", {"user": 2, "privileged": 1}),
        ("c: {user: 2, <<: *a}", {"user": 2, "privileged": 1}),
        ("c: {<<: [*a, *b]}", {"user": 0, "privileged": 1, "image": "x"}),
        ("c: {<<: [*b, *a]}", {"user": 1, "privileged": 1, "image": "x"}),
        ("c: {<<: [*b, *a], image: y}", {"user": 1, "privileged": 1, "image": "y"}),
        ("c: {<<: [*a, {user: 3, tty: 1}]}", {"user": 0, "privileged": 1, "tty": 1}),
        ("c: {<<: []}", {}),
        # a second merge key inserts what is not there yet, like a later mapping of a list
        ("c: {<<: *a, <<: *b}", {"user": 0, "privileged": 1, "image": "x"}),
        (
            "c: {<<: *b, tty: 1, <<: *a}",
            {"user": 1, "privileged": 1, "image": "x", "tty": 1},
        ),
        # a merged mapping brings what its own merge gave it, and what it overrides
        ("c: &c {<<: *a, user: 2}\nd: {<<: *c}", {"user": 2, "privileged": 1}),
        ("c: &c {<<: *a, user: 2}\nd: {<<: *c, user: 3}", {"user": 3, "privileged": 1}),
        (
            "c: &c {<<: *a, user: 2}\nd: {<<: [*b, *c]}",
            {"user": 1, "privileged": 1, "image": "x"},
        ),
        (
            "c: &c {<<: [*b, *a]}\nd: &d {<<: *c}\ne: {<<: [*a, *d]}",
            {"user": 0, "privileged": 1, "image": "x"},
        ),
        (
            "c: &c {d: &d {<<: *a, user: 2}, <<: *b}\ne: {<<: [*d, *c], d: 0}",
            {"user": 2, "privileged": 1, "image": "x", "d": 0},
        ),
        # a mapping merged from two places is the same in both
        (
            "c: &c {<<: *a}\nd: [{<<: *c, user: 5}, {<<: [*b, *c]}, *c]",
            [
                {"user": 5, "privileged": 1},
                {"user": 1, "privileged": 1, "image": "x"},
                {"user": 0, "privileged": 1},
            ],
        ),
        ("c: {'<<': *a, \"=\": 1}", {"<<": {"user": 0, "privileged": 1}, "=": 1}),
        ("c: {<<: *a, =: 1}", {"user": 0, "privileged": 1, "=": 1}),
        ("c: &c {<<: *c, user: 1}", {"user": 1}),
        ("c: {<<: {1: x, '1': y}, 1: z}", {1: "z", "1": "y"}),
    ],
)
def test_merges(text, expected):
    assert last(ANCHORS + text) == expected


def test_a_key_that_is_a_sequence_is_refused():
    with pytest.raises(yaml.YAMLError, match="unhashable"):
        load_documents("a: {<<: {[1]: 2}}")


KEYS = st.sampled_from(["a", "user", "cap_add", "privileged", "network_mode"])
MAPPINGS = st.lists(
    st.tuples(
        st.lists(st.integers(0, 5), max_size=3), st.dictionaries(KEYS, st.integers(0, 9))
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=200)
@given(MAPPINGS, st.booleans())
def test_merges_follow_the_rule_however_they_nest(mappings, is_list):
    lines = []
    expected = []
    for number, (references, local) in enumerate(mappings):
        earlier = [reference for reference in references if reference < number]
        value = {}
        for reference in reversed(earlier):
            value |= expected[reference]
        expected.append(value | local)
        names = [f"*m{reference}" for reference in earlier]
        merges = (
            [f"<<: [{', '.join(names)}]"]
            if is_list
            else [f"<<: {name}" for name in names]
        )
        pairs = [f"{key}: {number}" for key, number in local.items()]
        lines.append(f"- &m{number} {{{', '.join(merges + pairs)}}}")
    assert load_documents("\n".join(lines)) == [expected]


@pytest.mark.parametrize("value", ["1", "text", "", "[*a, 1]", "[[*a]]"])
def test_only_mappings_can_be_merged(value):
    with pytest.raises(yaml.YAMLError, match="list of mappings to merge") as error:
        load_documents(f"{ANCHORS}c:\n  <<: {value}\n")
    assert error.value.problem_mark.line == 3


def test_merges_of_merges_do_not_grow():
    names = [f"m{level}" for level in range(60)]
    lines = ["m0: &m0 {x: 1}"]
    lines += [
        f"{name}: &{name} {{<<: [*{under}, *{under}]}}" for under, name in pairwise(names)
    ]
    assert last("\n".join(lines)) == {"x": 1}


def test_documents_are_plain_values():
    assert load_documents("a: [1, 2026-01-02]\n---\n---\n- yes")[1:] == [[True]]
    with pytest.raises(yaml.YAMLError):
        load_documents("!!python/object/apply:os.getcwd []")


def test_no_other_file_has_a_loader_of_its_own():
    marks = ("yaml.load", "yaml.safe_load", "SafeLoader", "FullLoader", "UnsafeLoader")
    files = [
        path
        for path in PACKAGE.rglob("*.py")
        if any(mark in path.read_text(encoding="utf-8") for mark in marks)
    ]
    assert files == [Path(dumps.__file__)]


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "a:\n "])
@pytest.mark.parametrize("depth", [300, 300_000])
def test_what_is_nested_too_deeply_ends_with_an_error_and_not_the_process(opening, depth):
    text = opening * depth
    if "\n" in opening:
        text = "".join(f"{' ' * n}a:\n" for n in range(min(depth, 2000)))
    with pytest.raises(ValueError, match="deeper than 200"):
        dumps.load_documents(text)


def test_nodes_are_counted_before_they_are_built():
    assert dumps.load_documents("[a, b]", max_nodes=20) == [["a", "b"]]
    with pytest.raises(ValueError, match="more than 20 nodes"):
        dumps.load_documents("[" + "a," * 20 + "]", max_nodes=20)
