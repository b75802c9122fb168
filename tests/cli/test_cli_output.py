"""The output grammar: one table, four formats, hostile cells included."""

import csv
import io
import json

import click
import pandas as pd
import pytest

from assess.cli.output import Output, to_csv, to_json, to_markdown, to_text, visible

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


def test_csv_reads_back_as_a_snapshot_is_read():
    rows = list(csv.reader(io.StringIO(to_csv(TABLE))))
    assert rows == [
        ["name", "replicas_n", "share", "stateful", "at", "kind"],
        ["web", "3", "0.123456789", "true", "2026-09-30T12:00:00Z", "web"],
        ["", "", "", "", "", ""],
        ['a "b", c|d', "0", "1.0", "false", "2026-01-01T00:00:00Z", "job"],
    ]


def test_json_has_null_for_unknown_and_keeps_types(capsys):
    Output("json", None).table(TABLE)
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 1
    assert document["rows"][0] == {
        "name": "web",
        "replicas_n": 3,
        "share": 0.123456789,
        "stateful": True,
        "at": "2026-09-30T12:00:00Z",
        "kind": "web",
    }
    assert set(document["rows"][1].values()) == {None}
    assert document["rows"][2]["replicas_n"] == 0


def test_json_never_holds_nan():
    assert '"x": null' in to_json({"x": float("nan"), "y": float("inf")})


def test_text_says_unknown_and_aligns_numbers_right():
    lines = to_text(TABLE[["name", "replicas_n", "share"]]).splitlines()
    assert lines == [
        "name        replicas_n     share",
        "web                  3  0.123457",
        "unknown        unknown   unknown",
        'a "b", c|d           0         1',
    ]


def test_text_shows_what_could_steer_a_terminal():
    hostile = pd.DataFrame({"name": ["\x1b[2Jgone", "two\nlines", "right\u202eleft"]})
    shown = to_text(hostile)
    assert len(shown.splitlines()) == 4
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert visible("é ✓ naïve\n") == "é ✓ naïve\n"


def test_text_leaves_out_columns_that_do_not_fit(capsys):
    assert to_text(TABLE, 22).splitlines()[0] == "name        replicas_n"
    assert "4 columns do not fit" in capsys.readouterr().err
    assert to_text(TABLE, 1).splitlines()[0] == "name"


def test_markdown_is_one_row_per_row_whatever_the_cells_hold():
    hostile = pd.DataFrame(
        {"a|b": ["x|y", "one\ntwo", "<script>", "`x` *y*"], "n": [1, 2, 3, 4]}
    )
    assert to_markdown(hostile).splitlines() == [
        r"| a\|b | n |",
        "| --- | --: |",
        r"| x\|y | 1 |",
        "| one two | 2 |",
        r"| \<script> | 3 |",
        r"| \`x\` \*y\* | 4 |",
    ]


def test_a_named_index_is_shown_and_a_plain_one_is_not(capsys):
    Output("csv", None).table(
        TABLE[["name"]].set_index(pd.Index([1, 2, 3], name="number"))
    )
    assert capsys.readouterr().out.splitlines()[1] == "1,web"
    Output("csv", None).table(TABLE[["name"]])
    assert capsys.readouterr().out.splitlines()[1] == "web"


def test_csv_refuses_several_tables():
    with pytest.raises(click.UsageError, match="one table"):
        Output("csv", None).tables({"a": TABLE, "b": TABLE})


@pytest.mark.parametrize(
    ("name", "start"),
    [("x.json", "{"), ("x.csv", "frame,"), ("x.md", "| frame |"), ("x.txt", "frame   ")],
)
def test_the_suffix_names_the_format(call, sample, tmp_path, name, start):
    result = call("show", sample, "-o", f"new/{name}")
    assert result.stdout == ""
    assert result.stderr == f"wrote new/{name}\n"
    assert (tmp_path / "new" / name).read_text().startswith(start)


def test_a_dash_is_stdout(call, sample):
    assert call("show", sample, "-o", "-").stdout == call("show", sample).stdout


def test_an_empty_table_has_a_header_and_a_note(call, sample):
    result = call("show", sample, "hosts", "--where", "vcpus < 0", "--format", "csv")
    assert result.stdout.startswith("host_id,")
    assert len(result.stdout.splitlines()) == 1
    assert result.stderr == "no rows\n"
