"""Tables in a notebook: what a reader sees, cell by cell."""

from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from assess.tables import clean, to_html, together


class Cells(HTMLParser):
    """Read a table back: rows of (text, is it a word)."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.open = [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        self.open = tag in ("td", "th")
        if self.open:
            self.rows[-1].append(["", dict(attrs).get("class") == "t"])

    def handle_endtag(self, tag):
        self.open = False

    def handle_data(self, data):
        if self.open:
            self.rows[-1][-1][0] += data


def shown(table, **how):
    return [[text for text, _ in row] for row in Cells(to_html(table, **how)).rows]


def test_numbers_of_a_column_are_written_alike_and_words_stand_to_the_left():
    table = pd.DataFrame({"name": ["a", "b"], "hours": [0.5, 1204.25], "n": [3, 40_000]})
    assert shown(table) == [
        ["name", "hours", "n"],
        ["a", "0.50", "3"],
        ["b", "1,204.25", "40,000"],
    ]
    words = [[is_word for _, is_word in row] for row in Cells(to_html(table)).rows]
    assert words == [[True, False, False]] * 3


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pd.array([1.0, pd.NA], "Float64"), ["1", "unknown"]),
        (pd.array([1.5, pd.NA], "Float64"), ["1.50", "unknown"]),
        (pd.array([True, pd.NA], "boolean"), ["yes", "unknown"]),
        (np.array([True, False]), ["yes", "no"]),
        (pd.to_datetime(["2026-09-30T00:00Z"]), ["2026-09-30"]),
        (pd.to_datetime(["2026-09-30T07:05Z"]), ["2026-09-30 07:05"]),
        (pd.Series([["a", "b"], []]), ["a, b", "-"]),
        (pd.Categorical(["x", None]), ["x", "unknown"]),
        (pd.Series([0.25, None], dtype=object), ["0.25", "unknown"]),
    ],
)
def test_every_kind_of_value_has_words(values, texts):
    assert [row[0] for row in shown(pd.DataFrame({"x": values}))[1:]] == texts


def test_shares_are_percent_and_an_empty_cell_may_mean_something_else():
    table = pd.DataFrame({"known_share": [0.256, None], "label_gates": [None, "HOLD"]})
    assert shown(table)[1:] == [["26%", "clear"], ["unknown", "HOLD"]]


def test_an_index_that_only_counts_is_left_out():
    table = pd.DataFrame({"x": [1, 2, 3]})
    assert shown(table[table["x"] > 1]) == [["x"], ["2"], ["3"]]
    named = table.set_axis(pd.Index(["p", "q", "r"], name="service_id"))
    assert shown(named)[:2] == [["service_id", "x"], ["p", "1"]]
    pair = pd.MultiIndex.from_tuples([("host", "a")], names=["kind", "element"])
    assert shown(pd.DataFrame({"x": [1]}, index=pair)) == [
        ["kind", "element", "x"],
        ["host", "a", "1"],
    ]


def test_the_name_of_the_columns_is_kept():
    counts = (
        pd.DataFrame({"cause": ["app"], "where": ["host"]})
        .groupby(["cause", "where"])
        .size()
    )
    assert shown(counts.unstack()) == [["cause / where", "host"], ["app", "1"]]


def test_what_is_left_out_is_counted():
    table = pd.DataFrame({"x": range(25)})
    assert shown(table)[-1] == ["and 5 more"]
    assert len(shown(table, rows=3)) == 5
    assert shown(table.head(0)) == [["x"], ["no rows"]]


def test_names_of_the_fleet_are_hostile():
    hostile = "<script>alert(1)</script>\u202e\n&"
    text = to_html(
        pd.DataFrame({hostile: [hostile]}, index=pd.Index([hostile], name=hostile))
    )
    assert "<script>" not in text
    assert "\u202e" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt; &amp;") == 4
    assert clean("a\x00b") == "a b"


def test_results_in_a_list_show_themselves_one_below_the_other():
    class Shown:
        def _repr_html_(self):
            return "<p>here</p>"

    assert together([Shown(), Shown()]) == "<p>here</p>\n<p>here</p>"
    assert together([]) is None
    assert together([Shown(), 1]) is None
