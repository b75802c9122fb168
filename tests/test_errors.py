"""Errors for people: what happened, and what to do about it."""

import traceback

import pytest

from assess.errors import AssessError, ConfigError


@pytest.mark.parametrize("kind", [AssessError, ConfigError])
def test_a_traceback_shows_the_hint_too(kind):
    error = kind("nothing is there", hint="look elsewhere")
    assert str(error) == "nothing is there"
    text = "".join(traceback.format_exception(error))
    assert text.endswith("nothing is there\nhint: look elsewhere\n")
    assert "hint" not in "".join(traceback.format_exception(kind("nothing")))
