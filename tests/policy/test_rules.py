"""The rule language: three-valued, small, and helpful where a rule is wrong."""

from itertools import product

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assess.policy import rules

AT = pd.Timestamp("2026-09-30", tz="UTC")
TABLE = pd.DataFrame(
    {
        "flag": pd.array([True, False, None], "boolean"),
        "n": pd.array([1, 5, None], "Int64"),
        "share": pd.array([0.5, 0.25, None], "Float64"),
        "word": pd.array(["a", "b", None], "string"),
        "when": pd.to_datetime(["2026-09-20", "2026-10-20", None], utc=True).as_unit(
            "us"
        ),
    }
)


def truth(rule, table=TABLE):
    found = rules.evaluate(rule, table, at=AT)
    assert str(found.dtype) == "boolean"
    return [None if pd.isna(value) else bool(value) for value in found]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("when < '2026-09-30'", [True, False, None]),
        ("when >= '2026-10-20T02:00:00+02:00'", [False, True, None]),
        ("when == '2026-09-20T00:00:00Z'", [True, False, None]),
        ("when != when", [False, False, None]),
        ("flag", [True, False, None]),
        ("not flag", [False, True, None]),
        ("n > 2", [False, True, None]),
        ("1 <= n < 5", [True, False, None]),
        ("n * share + 1 == 1.5", [True, False, None]),
        ("n - 1 <= -0", [True, False, None]),
        ("word == 'a'", [True, False, None]),
        ("word != 'a'", [False, True, None]),
        ("word in ['a', 'c']", [True, False, None]),
        ("word not in ['a', 'c']", [False, True, None]),
        ("n in (1, 2)", [True, False, None]),
        ("flag == False", [False, True, None]),
        # a date after the snapshot tells nothing
        ("days_since(when) <= 30", [True, None, None]),
        ("days_since(when) == 10", [True, None, None]),
    ],
)
def test_what_is_unknown_stays_unknown(rule, expected):
    assert truth(rule) == expected


KLEENE = {True: 1, None: 0, False: -1}


def test_and_or_not_follow_kleene():
    values = [True, False, None]
    pairs = pd.DataFrame(list(product(values, values)), columns=["a", "b"]).astype(
        "boolean"
    )
    words = {rank: value for value, rank in KLEENE.items()}
    both = list(product(values, values))
    assert truth("a and b", pairs) == [words[min(KLEENE[a], KLEENE[b])] for a, b in both]
    assert truth("a or b", pairs) == [words[max(KLEENE[a], KLEENE[b])] for a, b in both]
    assert truth("not a", pairs) == [words[-KLEENE[a]] for a, _ in both]


ATOMS = st.sampled_from(["flag", "n > 2", "word == 'a'", "word in ['b']", "n + 1 < 4"])
RULES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        inner.map("not ({})".format),
        st.tuples(inner, inner).map("({0[0]}) and ({0[1]})".format),
        st.tuples(inner, inner).map("({0[0]}) or ({0[1]})".format),
    ),
    max_leaves=5,
)


@settings(max_examples=60)
@given(rule=RULES, column=st.sampled_from(["flag", "n", "word"]), row=st.integers(0, 1))
def test_hiding_a_cell_never_turns_an_answer_round(rule, column, row):
    hidden = TABLE.copy()
    hidden.loc[row, column] = pd.NA
    for before, after in zip(truth(rule), truth(rule, hidden), strict=True):
        assert after is None or after == before


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("flagg", "did you mean 'flag'"),
        ("n", "yes-or-no"),
        ("not n", "yes-or-no"),
        ("flag and word", "yes-or-no"),
        ("n > 'a'", "cannot compare"),
        ("word > 'a'", "cannot compare"),
        ("flag > 0", "cannot compare"),
        ("when > 3", "cannot compare"),
        ("when > 'soon'", "is not a time"),
        ("when > 'now'", "is not a time"),
        ("when != ''", "is not a time"),
        ("when < 'nan'", "is not a time"),
        ("when > word", "column of text"),
        ("n > 1" + "0" * 400, "at most"),
        ("word + 'a' == 'b'", "arithmetic"),
        ("word in [1]", "of its kind"),
        ("word in [word]", "of its kind"),
        ("word in 'a'", "of its kind"),
        ("days_since(n) > 1", "needs a time"),
        ("n / 0 > 1", "not part of the rule language"),
        ("n.real > 1", "not part of the rule language"),
        ("__import__('os')", "not part of the rule language"),
        ("flag if flag else flag", "not part of the rule language"),
        ("n is 1", "cannot compare"),
        ("1 == 1", "needs a column"),
        ("True", "yes-or-no"),
        ("flag and", "not an expression"),
        ("", "not an expression"),
        ("flag" + " and flag" * 100, "at most"),
    ],
)
def test_a_wrong_rule_says_what_is_wrong(rule, said):
    with pytest.raises(rules.RuleError, match=said.replace("(", r"\(")):
        rules.evaluate(rule, TABLE, at=AT)


def test_what_follows_a_part_that_no_row_meets_is_checked_without_rows():
    rule = "word == 'c' and n"
    assert truth(rule, TABLE.iloc[:2]) == [False, False]
    for table in (TABLE, TABLE.iloc[:0]):  # one cell is unknown; there is no row
        with pytest.raises(rules.RuleError, match="yes-or-no"):
            rules.evaluate(rule, table, at=AT)


def test_problems_are_found_without_any_row():
    assert rules.problem("stateful", "services") == ""
    assert "did you mean 'stateful'" in rules.problem("statefull", "services")
    assert "cannot compare" in rules.problem("tier == 'core'", "services")
    assert rules.problem("pinned and image_kind == 'none'", "workloads") == ""


def test_columns_are_those_of_the_frame_and_what_evidence_adds():
    assert rules.columns("services")["tier"] == "number"
    assert rules.columns("services")["redundant"] == "boolean"
    assert rules.columns("mounts")["service_id"] == "text"
    assert rules.columns("hosts")["last_seen_at"] == "time"


TOKENS = st.sampled_from(
    [
        *("flag", "n", "share", "word", "when", "days_since(when)", "days_since"),
        *("and", "or", "not", "in", "not in", "is", "==", "!=", "<", ">=", "+", "-"),
        *("*", "**", "/", "%", "(", ")", "[", "]", ",", ".", ":", "@", "lambda"),
        *("if", "else", "for", "x", "True", "None", "1", "0.5", "1e999", "9" * 30),
        *("'a'", "'2026-09-20'", "'nan'", "''", "b'a'", "...", "1j", ":=", "f'{n}'"),
        *(".map(eval)", ".values", "__import__('os')", "{n: 1}", "\x00", "\ud800"),
    ]
)


@settings(max_examples=300)
@given(st.lists(TOKENS, max_size=8).map(" ".join) | st.text(max_size=30))
def test_any_text_is_an_answer_or_a_rule_error(rule):
    try:
        found = rules.evaluate(rule, TABLE, at=AT)
    except rules.RuleError:
        return
    assert str(found.dtype) == "boolean"
    assert len(found) == len(TABLE)
