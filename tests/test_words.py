"""Values in words, and the tables written from them: what a reader sees, cell by cell."""

import csv
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from assess import words
from assess.untrusted import clean
from assess.words import Grid, csv_of, to_csv, to_html, together

PACKAGE = Path(words.__file__).parent
TABLE = pd.DataFrame(
    {
        "name": pd.Series(["web", None, 'a "b", c|d'], dtype="str"),
        "replicas_n": pd.array([3, None, 0], dtype="Int64"),
        "share": pd.array([0.123456789, None, 1.0], dtype="Float64"),
        "stateful": pd.array([True, None, False], dtype="boolean"),
        "at": pd.to_datetime(
            ["2026-09-30T12:00:00Z", None, "2026-01-01T00:00:00Z"], utc=True
        ),
        "kind": pd.Categorical(["web", None, "job"]),
    }
)


class Cells(HTMLParser):
    """Read a table back: rows of (text, is it a word)."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.open = [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "wbr":  # a long name may break here
            return
        if tag == "tr":
            self.rows.append([])
        self.open = tag in ("td", "th")
        if self.open:
            self.rows[-1].append(["", "left" in dict(attrs).get("style", "")])

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
        (pd.array([0.0012, 1.5, 0], "Float64"), ["0.001", "1.500", "0.000"]),
        (pd.array([-1e-9, np.inf], "Float64"), ["0.000000", "inf"]),
        (pd.array([2**62 + 1], "Int64"), ["4,611,686,018,427,387,905"]),
        (pd.array([True, pd.NA], "boolean"), ["yes", "unknown"]),
        (np.array([True, False]), ["yes", "no"]),
        (pd.to_datetime(["2026-09-30T00:00Z"]), ["2026-09-30"]),
        (pd.to_datetime(["2026-09-30T07:05Z"]), ["2026-09-30 07:05"]),
        (pd.Series([["a", "b"], []]), ["a, b", "-"]),
        (pd.Categorical(["x", None]), ["x", "unknown"]),
        (
            pd.to_datetime(["2026-09-30T07:05:09Z", None]),
            ["2026-09-30 07:05:09", "unknown"],
        ),
        (pd.Series([{"a": True}, {}]), ["a: yes", "-"]),
        (pd.Series([0.25, None], dtype=object), ["0.25", "unknown"]),
    ],
)
def test_every_kind_of_value_has_words(values, texts):
    assert [row[0] for row in shown(pd.DataFrame({"x": values}))[1:]] == texts


def test_shares_are_percent_and_an_empty_cell_may_mean_something_else():
    table = pd.DataFrame(
        {"lost_share": [0.256, None, 0.001], "label_gates": [None, "HOLD", "HOLD"]}
    )
    assert shown(table)[1:] == [["26%", "clear"], ["unknown", "HOLD"], ["< 1%", "HOLD"]]


def test_a_service_without_an_engine_is_not_behind_a_version():
    basis = ["prospective from target", "measured on hosts", "unknown"]
    table = pd.DataFrame({"versions_behind": [None, 2, None], "basis": basis})
    assert [row[0] for row in shown(table)[1:]] == ["-", "2", "unknown"]


def test_a_row_that_came_or_went_has_no_column_that_changed():
    change = pd.DataFrame({"change": ["added", "changed"], "column": [None, "tier"]})
    change["before"] = pd.Series([None, None], dtype="str")
    assert shown(change)[1:] == [["added", "-", "-"], ["changed", "tier", "unknown"]]


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
    incidents = pd.DataFrame({"tier": [1], "cause": ["app"], "where": ["host"]})
    counts = incidents.groupby(["cause", "where"]).size()
    assert shown(counts.unstack()) == [["cause / where", "host"], ["app", "1"]]
    counts = incidents.groupby(["tier", "cause", "where"]).size()
    assert shown(counts.unstack())[0] == ["tier", "cause / where", "host"]


def test_what_is_left_out_is_counted():
    table = pd.DataFrame({"x": range(25)})
    assert shown(table)[-1] == ["and 5 more"]
    assert len(shown(table, rows=3)) == 5
    assert shown(table.head(0)) == [["x"], ["no rows"]]


def test_a_digest_is_short_in_a_notebook_and_whole_in_a_file():
    digest = "sha256:" + "0a1b" * 16
    table = pd.DataFrame({"image": [f"shop/api@{digest}"], "n": [1]})
    assert f"shop/api@{digest[:19]}…<" in to_html(table)
    assert digest in to_csv(table)
    assert digest in Grid.of(table).text()


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


def test_text_says_unknown_and_aligns_numbers_right():
    text = Grid.of(TABLE[["name", "replicas_n", "share", "at"]]).text()
    assert text.splitlines() == [
        "name        replicas_n    share  at",
        "web                  3      12%  2026-09-30 12:00",
        "unknown        unknown  unknown  unknown",
        'a "b", c|d           0     100%  2026-01-01',
    ]


def test_text_cannot_steer_a_terminal():
    hostile = pd.DataFrame({"name": ["\x1b[2Jgone", "two\nlines", "right\u202eleft"]})
    text = Grid.of(hostile).text()
    assert text.splitlines() == ["name", "[2Jgone", "two lines", "right left"]


LONG = pd.DataFrame(
    {
        "source": ["docker", "n" * 60],
        "ratio": [0.5, 1.0],
        "hint": ["name a cluster in assess.toml if there is one", ""],
    }
)


def test_words_break_only_where_whole_words_do_not_fit():
    table = pd.DataFrame(
        {
            "service": ["payments-gateway", "cart"],
            "hours_per_year": [20.5, 3],
            "day": ["2026-09-30", "2026-10-01"],
            "why": ["its configuration names engines.version, which nobody saw", "none"],
        }
    )
    heads = Grid.of(table).text(32).splitlines()[:2]
    assert [line.split() for line in heads] == [
        ["service", "hours_", "day"],
        ["per_year"],
    ]
    words = {
        "payments-",
        "gateway",
        "2026-09-30",
        "configuration",
        "engines.version,",
        "20.50",
    }
    assert words <= set(Grid.of(table).text(32).split())


@pytest.mark.parametrize("width", [80, 60, 40, 20, 5])
def test_no_cell_is_lost_in_a_narrow_terminal(width):
    text = Grid.of(LONG).text(width)
    letters = re.sub(r"\s", "", text)
    assert text.count("n") >= 60
    for part in ("ratio", "1.00", "cluster", "assess.toml"):
        assert part in letters or width < len(part) + 2
    assert all(len(line) <= max(width, len("source")) for line in text.splitlines())


def test_text_wraps_first_and_then_stands_beneath_its_row():
    wrapped = Grid.of(LONG).text(60).splitlines()
    assert wrapped[0].split() == ["source", "ratio", "hint"]
    assert len(wrapped) > len(LONG) + 1
    # a hint has lines of its own, and a row without one has none
    lines = Grid.of(LONG).text(37).splitlines()
    assert lines[:4] == [
        "source                          ratio",
        "docker                           0.50",
        "  hint: name a cluster in",
        "    assess.toml if there is one",
    ]
    assert lines[4].split() == ["n" * 30, "1.00"]
    assert not [line for line in lines[4:] if "hint" in line]
    # a name that would have three lines beside its numbers has its own, where there is little room
    assert Grid.of(LONG).text(36).splitlines()[1:3] == ["docker", "  ratio: 0.50"]
    assert Grid.of(TABLE[[]]).text(80) == ""


def test_where_not_even_the_numbers_fit_all_cells_stand_beneath_the_name():
    numbers = pd.DataFrame(
        {"service": ["cart"]} | {f"number_{x}": [x] for x in range(1, 6)}
    )
    assert Grid.of(numbers).text(30).splitlines() == [
        "service",
        "cart",
        *[f"  number_{x}: {x}" for x in range(1, 6)],
    ]


def test_what_changed_is_one_column():
    table = pd.DataFrame(
        {
            "service": ["cart", "web"],
            "points_before": [89.5, 3],
            "points": [94, 3.0],
            "label_before": ["HOLD", None],
            "label": ["clear", "HOLD"],
        }
    )
    assert Grid.of_changes(table).rows == [
        ["cart", "89.50 -> 94.00", "HOLD -> clear"],
        ["web", "3.00", "unknown -> HOLD"],
    ]
    assert Grid.of_changes(TABLE).text() == Grid.of(TABLE).text()


def test_a_narrow_terminal_shows_a_ranking_as_a_table():
    bounds = {
        "points": [50.5],
        "points_lo": [40.5],
        "points_hi": [60.5],
        "points_before": 1,
    }
    table = pd.DataFrame(
        {"service": ["payments-gateway"], "label": ["MOVE NOW"], **bounds}
    )
    wide = Grid.of(table)
    assert wide.text().split()[:5] == ["service", "label", *list(bounds)[:3]]
    heads, rest, row = wide.text(60).splitlines()
    assert heads.split() == ["service", "label", "points", "lo", "hi", "points_"]
    assert row.startswith("payments-gateway  MOVE NOW   ")
    assert rest.split() == ["before"]
    # the gaps shrink before a word breaks
    assert "payments- MOVE NOW  50.50 40.50 60.50" in wide.text(46)


def test_markdown_is_one_row_per_row_whatever_the_cells_hold():
    cells = ["x|y", "one\ntwo", "<script>", "`x` *y*", "_a_ snake_case $1"]
    hostile = pd.DataFrame({"a|b": cells, "n": range(5)})
    assert Grid.of(hostile).markdown().splitlines() == [
        r"| a\|b | n |",
        "| --- | ---: |",
        r"| x\|y | 0 |",
        "| one two | 1 |",
        "| &lt;script&gt; | 2 |",
        r"| \`x\` \*y\* | 3 |",
        r"| \_a\_ snake_case \$1 | 4 |",
    ]


def test_csv_reads_back_as_a_snapshot_is_read():
    rows = list(csv.reader(io.StringIO(to_csv(TABLE))))
    assert rows == [
        ["name", "replicas_n", "share", "stateful", "at", "kind"],
        ["web", "3", "0.123456789", "true", "2026-09-30T12:00:00Z", "web"],
        ["", "", "", "", "", ""],
        ['a "b", c|d', "0", "1.0", "false", "2026-01-01T00:00:00Z", "job"],
    ]


def test_a_spreadsheet_gets_lists_as_words_and_no_formula():
    table = pd.DataFrame({"x": ["=1+1", "-1", "plain"], "n": [-1.5, 2, 0]})
    assert (
        "".join(csv_of(table, is_spreadsheet=True))
        == "x,n\n'=1+1,-1.5\n'-1,2.0\nplain,0.0\n"
    )
    lists = pd.DataFrame({"x": [["a", "b"]]})
    assert "".join(csv_of(lists, is_spreadsheet=True)) == "x\na b\n"
    assert to_csv(lists) == 'x\n"[""a"", ""b""]"\n'
    assert to_csv(TABLE[[]].head(0)) == "\n"


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b"], "a and b"),
        ("abc", "a, b and c"),
        ("abcde", "a, b, c and 2 more"),
    ],
)
def test_a_list_reads_as_in_a_sentence(names, text):
    assert words.sentence_list(names, most=3) == text


def test_only_words_writes_a_share_or_the_word_for_an_empty_cell():
    home = Path(words.__file__)
    others = [file for file in PACKAGE.rglob("*.py") if file != home]
    pattern = re.compile(r':\.\d%|["\']unknown["\'] if .*isna|["\']yes["\'] if ')
    assert [
        f"{file.relative_to(PACKAGE)}: {line.strip()}"
        for file in others
        for line in file.read_text("utf-8").splitlines()
        if pattern.search(line)
    ] == []


def test_plain_rows_by_column_are_those_cell_by_cell():
    more = {
        "hours": [1.5, np.nan, np.inf],
        "parts": [[1, np.float64(2)], {"a": pd.NA}, (pd.Timestamp("2026-01-01"),)],
        "any": [np.int64(1), None, "x"],
        "n": np.array([1, 2, 3], dtype="int32"),
    }
    table = TABLE.assign(**more)
    rows = words.records(table)
    assert rows == words.plain(table.to_dict("records"))
    kinds = {type(cell) for row in rows for cell in row.values()}
    assert kinds <= {str, int, float, bool, list, dict, type(None)}
