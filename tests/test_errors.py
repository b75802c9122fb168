"""Errors for people: what happened, and what to do about it."""

import traceback

import pytest

from assess.errors import AssessError, ConfigError, DataError, counted, did_you_mean
from assess.frames import problem


@pytest.mark.parametrize("kind", [AssessError, ConfigError])
def test_a_traceback_shows_the_hint_too(kind):
    error = kind("nothing is there", hint="look elsewhere")
    assert str(error) == "nothing is there"
    text = "".join(traceback.format_exception(error))
    assert text.endswith("nothing is there\nhint: look elsewhere\n")
    assert "hint" not in "".join(traceback.format_exception(kind("nothing")))


def test_a_problem_of_a_whole_table_has_no_row_and_is_one_problem():
    found = problem("services", "services.csv", "a readable file", "cut off")
    text = str(DataError("d is not a sound snapshot", found))
    assert "1 problem:" in text and "<NA>" not in text
    assert text.endswith("services 'services.csv': a readable file (cut off)")


def test_a_number_agrees_with_its_noun():
    assert [counted(n, "call") for n in range(3)] == ["0 calls", "1 call", "2 calls"]


def test_a_path_that_all_names_have_in_common_makes_none_near():
    known = ["criteria.pain_today", "criteria.readiness"]
    assert did_you_mean("criteria.sustainability", known) == ""
    near = did_you_mean("criteria.readines", known)
    assert near == "did you mean 'criteria.readiness'?"
