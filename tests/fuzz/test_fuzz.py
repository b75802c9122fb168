"""A short run of the fuzzer; `fuzzing.py` is the long one."""

import pytest
from fuzzing import fuzz
from targets import targets

INPUTS = 10  # a target: the first seeds, so that a failure stays one


@pytest.mark.parametrize("name", targets())
def test_no_spoilt_file_breaks_a_reader(name):
    outcome = fuzz(name, INPUTS)
    assert outcome.inputs == INPUTS
    assert outcome.examples == {}
