"""What all results share."""

import json
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assess.errors import AssessError
from assess.score.result import Explanation, Provenance, Result, Tables, encoded
from assess.words import plain


class Demo(Result):
    name: ClassVar[str] = "demo_score"
    summary_columns: ClassVar[tuple[str, ...]] = ("points", "label")


def demo(points, policy_hash="abc"):
    frame = pd.DataFrame(
        {"points": pd.array(list(points.values()), dtype="Float64"), "label": "x"},
        index=pd.Index(list(points), name="service_id"),
    )
    when = pd.Timestamp("2026-09-30", tz="UTC")
    provenance = Provenance(when, "2026Q3", policy_hash, "2026-01-01", "0.1.0", 1)
    return Demo(frame, pd.DataFrame(), provenance)


def test_json_has_the_agreed_keys_and_no_nan(tmp_path):
    file = tmp_path / "demo.json"
    demo({"a": 1.5, "b": None}).save_json(file)
    found = json.loads(file.read_text())
    assert found["schema_version"] == 1
    assert found["score"] == "demo-score"
    assert found["snapshot_at"] == "2026-09-30T00:00:00Z"
    assert found["rows"][1] == {"service_id": "b", "points": None, "label": "x"}


def test_diff_names_what_changed():
    diff = demo({"a": 1, "b": 2, "c": None}).diff(
        demo({"a": 1, "b": 3, "c": None, "d": 4})
    )
    assert diff["change"].to_dict() == {
        "a": "same",
        "b": "changed",
        "c": "same",
        "d": "removed",
    }
    assert diff.loc["b", "points_before"] == 3


def test_an_unknown_service_names_the_nearest():
    with pytest.raises(AssessError) as error:
        demo({"billing": 1}).explain("biling")
    assert "billing" in error.value.hint


def test_reprs_have_no_address_and_escape_names():
    result = demo({"<script>": 1})
    assert "0x" not in repr(result)
    html = result._repr_html_()
    assert "<script>" not in html
    assert html.startswith("<p><b>Demo score: 1 row, 2026Q3, policy abc</b></p>")
    table = pd.DataFrame({"x": ["<b>"]})
    assert "<b>&" not in Explanation("<i>", "<u>", table)._repr_html_().replace(
        "<b>&lt;i", ""
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float64("nan"), None),
        (pd.NA, None),
        (pd.NaT, None),
        (float("inf"), None),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (pd.Timestamp("2026-01-02T03:04:05.5Z"), "2026-01-02T03:04:05Z"),
        ({"a": (1, pd.NA)}, {"a": [1, None]}),
    ],
)
def test_plain_types(value, expected):
    assert plain(value) == expected


def test_tables_of_later_are_made_together_and_once():
    made = []

    def make():
        made.append(1)
        return {name: pd.DataFrame({"x": [1]}) for name in ("b", "c")}

    tables = Tables({"a": pd.DataFrame()}, dict.fromkeys("bc", make))
    assert list(tables) == ["a", "b", "c"]
    assert "b" in tables
    assert "d" not in tables
    assert not made
    assert len(tables["b"]) == len({**tables}["c"]) == len(made) == 1
    with pytest.raises(KeyError):
        tables["d"]


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=80)
@given(TREES.filter(lambda tree: "Infinity" not in json.dumps(tree)))
def test_json_that_is_written_in_parts_reads_back(tree):
    assert json.loads("".join(encoded(tree))) == tree
    rows = [tree, {"inner": [tree]}]
    assert json.loads("".join(encoded({"rows": (row for row in rows)}))) == {"rows": rows}


def test_json_has_a_line_for_each_row_and_refuses_what_is_no_number():
    rows = [{"a": 1, "b": "é"}, {"a": None, "b": "x"}]
    lines = "".join(encoded({"n": 2, "rows": rows})).splitlines()
    assert lines[3:5] == ['  {"a": 1, "b": "é"},', '  {"a": null, "b": "x"}']
    with pytest.raises(ValueError, match="JSON compliant"):
        list(encoded({"rows": [{"a": float("nan")}]}))
