"""Lifecycle policies of ECR: the documented examples, and examples worked out by hand."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from clocks import cpu_seconds
from hypothesis import given, settings
from hypothesis import strategies as st

from assess.sources.ecr.lifecycle import (
    ARCHIVE,
    Image,
    is_like,
    read_policy,
    would_expire,
)

NOW = datetime(2026, 9, 30, 12, tzinfo=UTC)


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def image(name: str, tags: str = "", pushed: float | None = 0, **more) -> Image:
    return Image(
        name, tuple(tags.split()), None if pushed is None else ago(pushed), **more
    )


def rule(priority: int, status: str, count_type: str, number: int, **more) -> dict:
    selection = {"tagStatus": status, "countType": count_type, "countNumber": number}
    if count_type != "imageCountMoreThan":
        selection["countUnit"] = "days"
    kind = more.pop("action", {"type": "expire"})
    return {"rulePriority": priority, "selection": selection | more, "action": kind}


def policy(*rules: dict) -> str:
    return json.dumps({"rules": list(rules)})


def fates(text: str, images: list[Image], children=None) -> dict[str, bool | None]:
    rules = read_policy(text)
    assert rules is not None
    return would_expire(rules, images, children or {}, NOW)


def expired(text: str, images: list[Image], children=None) -> str:
    found = fates(text, images, children)
    assert None not in found.values()
    return "".join(sorted(name for name, is_gone in found.items() if is_gone))


# -- as the user guide has them ------------------------------------------------------------------

BETA_PROD = [
    image("A", "beta-1 prod-1", 10),
    image("B", "beta-2 prod-2", 9),
    image("C", "beta-3", 8),
]
LETTERS = [
    image("A", "alpha-1", 12),
    image("B", "beta-1", 11),
    image("C", "alpha-2 beta-2", 10),
    image("D", "alpha-3", 4),
    image("E", "beta-3", 3),
    image("F", "alpha-4 beta-4", 2),
]
COUNT = "imageCountMoreThan"
MIXED = [
    image("A", "alpha-1", 4),
    image("B", "beta-1", 3),
    image("C", "", 2),
    image("D", "alpha-2", 1),
]


@pytest.mark.parametrize(
    ("rules", "images", "gone"),
    [
        # an image that a rule takes is out of reach of later rules, expired or not
        (
            [
                rule(1, "tagged", COUNT, 1, tagPrefixList=["prod"]),
                rule(2, "tagged", COUNT, 1, tagPrefixList=["beta"]),
            ],
            BETA_PROD,
            "A",
        ),
        (
            [
                rule(1, "tagged", COUNT, 1, tagPrefixList=["beta"]),
                rule(2, "tagged", COUNT, 1, tagPrefixList=["prod"]),
            ],
            BETA_PROD,
            "AB",
        ),
        # the number decides, not the place in the list
        (
            [
                rule(2, "tagged", COUNT, 1, tagPrefixList=["beta"]),
                rule(1, "tagged", COUNT, 1, tagPrefixList=["prod"]),
            ],
            BETA_PROD,
            "A",
        ),
        # all of the prefixes
        (
            [rule(1, "tagged", "sinceImagePushed", 5, tagPrefixList=["alpha", "beta"])],
            LETTERS,
            "C",
        ),
        (
            [rule(1, "tagged", COUNT, 1, tagPatternList=["alpha*", "beta*"])],
            [
                image("A", "alpha-1 beta-1 gamma-1", 10),
                image("B", "alpha-2 beta-2", 9),
                image("C", "alpha-3 beta-3 gamma-2", 8),
            ],
            "AB",
        ),
        # a rule for any image still counts what earlier rules took
        (
            [
                rule(1, "tagged", COUNT, 1, tagPrefixList=["alpha"]),
                rule(2, "untagged", "sinceImagePushed", 1),
                rule(3, "any", COUNT, 1),
            ],
            MIXED,
            "ABC",
        ),
        ([rule(1, "any", COUNT, 3)], LETTERS, "ABC"),
        (
            [rule(1, "untagged", COUNT, 1)],
            [image("A", "", 3), image("B", "", 2), image("C", "x", 9)],
            "A",
        ),
        (
            [rule(1, "tagged", "sinceImagePushed", 14, tagPatternList=["prod*"])],
            [image("A", "prod1", 15), image("B", "prod", 13), image("C", "xprod", 99)],
            "A",
        ),
    ],
)
def test_examples_of_the_user_guide(rules, images, gone):
    assert expired(policy(*rules), images) == gone
    assert expired(policy(*rules), images[::-1]) == gone


# -- worked out by hand --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patterns", "matched"),
    [
        (["*"], "ABCDE"),
        (["*prod*"], "ABC"),
        (["prod*"], "AB"),
        (["*prod"], "AC"),
        (["prod"], "A"),
        (["p*o*-*"], "B"),
        (["v1.0"], "D"),
        (["v1?0"], ""),
        (["*.*"], "D"),
        (["*[0]"], ""),
        (["prod*", "x*"], ""),
        (["PROD"], ""),
    ],
)
def test_patterns_know_only_the_star(patterns, matched):
    images = [image("A", "prod", 9), image("B", "prod-1", 9), image("C", "x-prod", 9)]
    images += [image("D", "v1.0", 9), image("E", "v1x0", 9), image("U", "", 9)]
    text = policy(rule(1, "tagged", "sinceImagePushed", 1, tagPatternList=patterns))
    assert expired(text, images) == matched


def test_a_prefix_has_no_star():
    images = [image("A", "a*b", 9), image("B", "axb", 9)]
    text = policy(rule(1, "tagged", "sinceImagePushed", 1, tagPrefixList=["a*"]))
    assert expired(text, images) == "A"


@given(st.text("ab.*", max_size=6), st.text("ab.", max_size=8))
@settings(max_examples=300)
def test_a_star_is_any_text(pattern, tag):
    expression = ".*".join(map(re.escape, pattern.split("*")))
    assert is_like(tag, pattern.split("*")) == bool(re.fullmatch(expression, tag))


def test_a_pattern_made_to_be_slow_is_not():
    slow = "a" * 100_000 + "b", ["", "a", "a", "a", "a"]
    assert not is_like(*slow)
    assert cpu_seconds(is_like, *slow) < 1


def test_a_day_is_over_when_it_is_over():
    images = [image("A", "", 5.001), image("B", "", 5), image("C", "", 4.999)]
    assert expired(policy(rule(1, "untagged", "sinceImagePushed", 5)), images) == "A"


def test_pulls_count_from_the_last_one_else_from_the_push_or_the_return():
    images = [
        image("A", "a", 90, pulled_at=ago(40)),
        image("B", "b", 90, pulled_at=ago(20)),
        image("C", "c", 31),
        image("D", "d", 29),
        image("E", "e", 90, pulled_at=ago(60), activated_at=ago(3)),
        image("F", "f", 90, activated_at=ago(3)),
    ]
    assert expired(policy(rule(1, "any", "sinceImagePulled", 30)), images) == "AC"
    assert expired(policy(rule(1, "any", "sinceImagePushed", 30)), images) == "ABC"


def test_what_moves_to_the_archive_is_not_expired_and_shields_from_later_rules():
    to_archive = {"type": "transition", "targetStorageClass": "archive"}
    text = policy(
        rule(
            1, "tagged", "sinceImagePulled", 30, tagPatternList=["v*"], action=to_archive
        ),
        rule(2, "any", "sinceImagePushed", 1),
        rule(3, "any", "sinceImageTransitioned", 100, storageClass="archive"),
    )
    images = [
        image("A", "v1", 50),
        image("B", "v2", 5),
        image("C", "dev", 5),
        image("D", "v0", 900, storage=ARCHIVE, archived_at=ago(101)),
        image("E", "v0", 900, storage=ARCHIVE, archived_at=ago(99)),
    ]
    assert expired(text, images) == "CD"


def test_each_storage_class_is_counted_apart():
    text = policy(rule(1, "any", COUNT, 1))
    images = [image("A", "a", 9), image("B", "b", 8), image("C", "", 1, storage=ARCHIVE)]
    assert expired(text, images) == "A"
    assert fates(text, [image("M", "m", 9, storage=None)]) == {"M": None}


def test_an_index_protects_what_it_refers_to_as_long_as_it_stays():
    images = [image("I", "v2", 1), image("J", "v1", 50)]
    images += [image(name, "", 60) for name in "abxyz"]
    children = {"I": frozenset("ab"), "J": frozenset("bx")}
    text = policy(
        rule(1, "tagged", "sinceImagePushed", 30, tagPatternList=["v*"]),
        rule(2, "untagged", "sinceImagePushed", 30),
    )
    assert expired(text, images, children) == "Jxyz"  # b is also in I, which stays
    kept = policy(rule(1, "untagged", "sinceImagePushed", 30))
    assert expired(kept, images, children) == "yz"


def test_an_index_of_indexes_protects_down_to_the_last():
    images = [
        image("I", "v", 1),
        image("J", "", 60),
        image("a", "", 60),
        image("z", "", 60),
    ]
    children = {"J": frozenset("a"), "I": frozenset("J")}
    text = policy(rule(1, "untagged", "sinceImagePushed", 30))
    assert expired(text, images, children) == "z"


def test_children_count_where_a_rule_counts():
    images = [
        image("I", "v1", 1),
        image("a", "", 2),
        image("b", "", 3),
        image("o", "old", 9),
    ]
    found = expired(policy(rule(1, "any", COUNT, 3)), images, {"I": frozenset("ab")})
    assert found == "o"


def test_an_index_that_nobody_read_leaves_open_only_what_it_may_hold():
    images = [
        image("I", "v1", 1),
        image("a", "", 60),
        image("b", "", 2),
        image("t", "x", 60),
    ]
    text = policy(rule(1, "any", "sinceImagePushed", 30))
    found = fates(text, images, {"I": None})
    assert found == {"I": False, "a": None, "b": False, "t": True}


def test_a_signature_goes_with_what_it_signs():
    images = [
        image("A", "v1", 60),
        image("s", "", 60, subject="A"),
        image("t", "", 60, subject="s"),
        image("B", "v2", 1),
        image("u", "", 60, subject="B"),
        image("v", "", 1, subject="B"),
        image("w", "", 60, subject="gone"),
    ]
    found = fates(policy(rule(1, "any", "sinceImagePushed", 30)), images)
    assert [found[name] for name in "AstBuvw"] == [
        True,
        True,
        True,
        False,
        None,
        False,
        True,
    ]


def test_a_signature_of_unknown_age_stays_open_beside_what_it_signs():
    images = [image("A", "v1", 1), image("s", "", None, subject="A")]
    text = policy(rule(1, "any", "sinceImagePushed", 30))
    assert fates(text, images) == {"A": False, "s": None}


def test_images_that_refer_to_each_other_in_a_circle_do_not_hang():
    images = [image("A", "", 60, subject="B"), image("B", "", 60, subject="A")]
    text = policy(rule(1, "any", "sinceImagePushed", 30))
    assert set(fates(text, images)) == {"A", "B"}
    circle = {"A": frozenset("B"), "B": frozenset("A")}
    assert fates(text, [image("A", "", 60), image("B", "", 1)], circle) == {
        "A": False,
        "B": False,
    }


def test_a_chain_of_ten_thousand_does_not_exhaust_the_stack():
    images = [
        image(str(n), "", 60, subject=str(n - 1) if n else None) for n in range(10_000)
    ]
    found = fates(policy(rule(1, "any", "sinceImagePushed", 30)), images)
    assert set(found.values()) == {True}


def test_what_has_no_time_is_open():
    images = [image("A", "", None), image("B", "", 60), image("C", "", 1)]
    days = fates(policy(rule(1, "untagged", "sinceImagePushed", 30)), images)
    assert days == {"A": None, "B": True, "C": False}
    assert set(fates(policy(rule(1, "untagged", COUNT, 2)), images).values()) == {None}
    assert set(fates(policy(rule(1, "untagged", COUNT, 3)), images).values()) == {False}


def test_images_of_one_second_on_both_sides_of_a_count_are_open():
    images = [image("A", "", 3), image("B", "", 2), image("C", "", 2), image("D", "", 1)]
    text = [policy(rule(1, "untagged", COUNT, n)) for n in (1, 2, 3)]
    assert expired(text[0], images) == "ABC"
    assert fates(text[1], images) == {"A": True, "B": None, "C": None, "D": False}
    assert expired(text[2], images) == "A"


# -- forms that nobody knows ---------------------------------------------------------------------

GOOD = rule(1, "untagged", "sinceImagePushed", 5)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        "no json",
        '{"rules": []}',
        '{"rules": [1]}',
        None,
        7,
        "[" * 100_000,
        json.dumps({"rules": [GOOD], "version": 2}),
        policy({**GOOD, "condition": "x"}),
        policy({**GOOD, "action": {"type": "retain"}}),
        policy(
            {**GOOD, "action": {"type": "transition", "targetStorageClass": "glacier"}}
        ),
        policy({**GOOD, "rulePriority": "1"}),
        policy({**GOOD, "rulePriority": True}),
        policy(GOOD, GOOD),
        policy(GOOD, {**GOOD, "rulePriority": 2}),
        policy(rule(1, "untagged", "sinceImageBuilt", 5)),
        policy(rule(1, "untagged", "sinceImagePushed", 0)),
        policy(rule(1, "untagged", "sinceImagePushed", 5, countUnit="hours")),
        policy(rule(1, "untagged", COUNT, 5, countUnit="days")),
        policy(rule(1, "untagged", "sinceImageTransitioned", 5)),
        policy(rule(1, "untagged", "sinceImagePushed", 5, storageClass="cold")),
        policy(rule(1, "untagged", COUNT, 5, tagPrefixList=["a"])),
        policy(rule(1, "tagged", COUNT, 5)),
        policy(rule(1, "tagged", COUNT, 5, tagPrefixList=["a"], tagPatternList=["a*"])),
        policy(rule(1, "tagged", COUNT, 5, tagPatternList=["*a*b*c*d*"])),
        policy(rule(1, "tagged", COUNT, 5, tagPatternList=[1])),
        policy(rule(1, "sometimes", COUNT, 5)),
        policy(rule(1, "any", COUNT, 5), rule(2, "untagged", COUNT, 5)),
    ],
)
def test_a_policy_of_a_form_that_nobody_knows_is_not_guessed(text):
    assert read_policy(text) is None


WORDS = st.sampled_from(
    [
        "rules",
        "rulePriority",
        "selection",
        "action",
        "tagStatus",
        "untagged",
        "any",
        "tagged",
        "countType",
        COUNT,
        "countNumber",
        "type",
        "expire",
        "tagPatternList",
        "a*",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(), inner),
    max_leaves=20,
)


@given(JSON)
@settings(max_examples=100)
def test_no_policy_crashes(value):
    rules = read_policy(json.dumps(value))
    assert rules is None or would_expire(rules, [image("A")], {}, NOW)


@st.composite
def repositories(draw):
    names = [f"i{n}" for n in range(draw(st.integers(1, 8)))]
    tags = st.sampled_from(["", "v1", "v2 x", "x"])
    images = [image(n, draw(tags), draw(st.integers(0, 9) | st.none())) for n in names]
    held = st.frozensets(st.sampled_from(names)) | st.none()
    return images, {n: draw(held) for n in draw(st.sets(st.sampled_from(names)))}


@given(repositories(), st.integers(1, 5))
@settings(max_examples=200)
def test_a_policy_never_expires_what_an_index_that_stays_refers_to(repository, number):
    images, children = repository
    text = policy(
        rule(1, "tagged", "sinceImagePushed", number, tagPatternList=["v*"]),
        rule(2, "any", COUNT, number),
    )
    found = fates(text, images, children)
    for index, digests in children.items():
        for child in digests or ():
            assert not (found[index] is False and found[child] is not False)
    assert set(found) == {i.digest for i in images}
