"""The headline: why nothing moves, when nothing moves."""

import pandas as pd
import pytest

from assess.report.first_screen import nothing_moves


@pytest.mark.parametrize(
    ("outside", "inside", "words"),
    [
        ([], [], "Nothing is left to move"),
        ([], ["KEEP", "FIX", "NOT DECIDABLE"], "Nothing is left to move: every service"),
        ([], ["KEEP", "PULL BACK"], "Nothing is left to move; pull back s1."),
        (["NEVER", "NEVER"], ["KEEP"], "No candidates: none of the 2 services"),
        (["NOT DECIDABLE", "NEVER"], ["KEEP"], "too little is known"),
        (["HOLD", "NOT DECIDABLE"], [], "block every candidate"),
        (["PREPARE", "NEVER"], ["NOT DECIDABLE"], "block every candidate"),
    ],
)
def test_it_tells_apart_why_nothing_moves(outside, inside, words):
    chances = [0.0] * len(outside) + [pd.NA] * len(inside)
    frame = pd.DataFrame(
        {
            "label": pd.Series([*outside, *inside], dtype="str"),
            "p_top": pd.array(chances, "Float64"),
        }
    )
    assert words in nothing_moves(frame.set_index("s" + frame.index.astype("str")))
