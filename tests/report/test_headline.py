"""The headline: why nothing moves, when nothing moves."""

import pandas as pd
import pytest

from assess.report.first_screen import nothing_moves


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([], "Nothing is left to move"),
        (["KEEP", "FIX", "PULL BACK"], "Nothing is left to move"),
        (["NEVER", "NEVER", "KEEP"], "No candidates: none of the 2 services"),
        (["NOT DECIDABLE", "NEVER", "KEEP"], "too little is known"),
        (["HOLD", "NOT DECIDABLE"], "block every candidate"),
        (["PREPARE", "NEVER"], "block every candidate"),
    ],
)
def test_it_tells_apart_why_nothing_moves(labels, words):
    assert words in nothing_moves(pd.Series(labels, dtype="str"))
