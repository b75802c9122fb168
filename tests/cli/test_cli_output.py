"""The output grammar: one table, four formats, hostile cells included."""

import json
import os
from pathlib import Path

import click
import pandas as pd
import pytest

from assess.cli.command import Output, to_json

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


def test_an_abbreviation_keeps_its_form_at_the_start_of_an_error(call, sample):
    told = call("explain", sample, "checkout", "--format", "csv", code=2).stderr
    assert told.startswith("error: CSV holds one table")


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("x.json as json", "{"),
        ("x.csv as csv", "frame,"),
        ("x.md as markdown", "| frame |"),
        ("x.txt as text", "frame   "),
        ("x.pdf as text", "frame   "),
    ],
)
def test_the_suffix_names_the_format(call, sample, tmp_path, name, start):
    name, _, format = name.partition(" as ")
    result = call("show", sample, "-o", f"new/{name}")
    assert result.stdout == ""
    assert result.stderr == f"wrote new/{name} as {format}\n"
    assert (tmp_path / "new" / name).read_text().startswith(start)


def test_a_dash_is_stdout(call, sample):
    assert call("show", sample, "-o", "-").stdout == call("show", sample).stdout


def test_an_empty_table_has_a_header_and_a_note(call, sample):
    result = call("show", sample, "hosts", "--where", "vcpus < 0", "--format", "csv")
    assert result.stdout.startswith("host_id,")
    assert len(result.stdout.splitlines()) == 1
    assert result.stderr == "no rows\n"


def test_sentences_wrap_in_a_terminal_alone(monkeypatch):
    text = "checkout calls newsletter-signup every day\n\nand fails"
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((20, 9)))
    out = Output("text", None)
    assert out.prose(text) == text
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    wrapped = "checkout calls\nnewsletter-signup\nevery day\n\nand fails"
    assert out.prose(text) == wrapped
    assert Output("markdown", None).prose(text) == text
    assert Output("text", Path("of.txt")).prose(text) == text
