"""Names of the fleet, generated to be hostile, through every form in which they are shown."""

import csv
import io
import re
import unicodedata

import mistune
import pandas as pd
from hypothesis import example, given
from hypothesis import strategies as st

from assess.frames import read_table
from assess.untrusted import (
    clean,
    clean_lines,
    csv_lines,
    guarded,
    markdown_text,
    printable,
    unguarded,
)
from assess.words import Grid, csv_of, to_csv

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
# what breaks a terminal, a spreadsheet, CSV or Markdown, between ordinary letters
PARTS = [
    *FORMULA,
    *"ab7 _.,;:/\\'\"`*[]()|#~$!<>&{}%",
    "\x1b[2J",
    "\x1b]8;;http://evil.test\x07",
    "\x9b31m",
    "\x00",
    "\u202e",
    "\u2066",
    "\u2028",
    "\ufeff",
    "\ud800",
    "\r\n",
    "http://evil.test",
    "HTTPS://EVIL.TEST/x",
    "www.evil.test",
    "ftp://evil.test",
    "mail@evil.test",
    "@team",
    "<script>",
    "<!-- keep: notes -->",
    "&lt;b&gt;",
    "![x](http://evil.test/x.png)",
    "[x]: http://evil.test",
    "<http://evil.test>",
]
names = st.lists(st.sampled_from(PARTS), max_size=12).map("".join) | st.text(max_size=20)
# files are UTF-8, which has no unpaired surrogates
encodable = names.map(lambda name: name.encode(errors="replace").decode())
renders = mistune.create_markdown(
    escape=False, plugins=["url", "table", "strikethrough", "footnotes", "task_lists"]
)


def controls(text):
    return {c for c in text if unicodedata.category(c)[0] == "C"} - {"\n"}


@given(names)
def test_nothing_shown_steers_a_terminal(name):
    assert controls(printable(name)) == set()
    assert controls(clean_lines(name)) == set()
    assert printable(name).count("\n") == name.count("\n")
    assert clean(name).split("\n") == [" ".join(clean(name).split())]
    text = Grid.of(pd.DataFrame({"name": [name]}, dtype=object)).text()
    assert controls(text) == set()
    assert len(text.splitlines()) == 2


@given(names)
@example("a\r=1+1")
def test_no_cell_of_any_csv_is_a_formula(name):
    for text in (
        guarded(name),
        *cells(to_csv(pd.DataFrame({"x": [name]}, dtype=object))),
    ):
        assert not text.startswith(FORMULA)
        assert not any(part.startswith(FORMULA) for part in text.split("\r")[1:] if part)
    several = pd.DataFrame({"x": [[name, name]]})
    shared = "".join(csv_of(several, is_spreadsheet=True))
    assert not cells(shared)[1].startswith(FORMULA)
    assert unguarded(guarded(name)) == name


def cells(text):
    return [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]


@given(st.lists(st.lists(names, min_size=3, max_size=3), max_size=4))
def test_csv_reads_back_row_by_row(rows):
    text = "".join(csv_lines(["a", "b", "c"], rows))
    assert list(csv.reader(io.StringIO(text, newline=""), strict=True))[1:] == rows
    assert text.endswith("\n")


@given(st.lists(st.none() | encodable.filter(bool), min_size=1, max_size=4))
def test_a_listing_in_csv_loads_as_it_was(tmp_path_factory, column):
    file = tmp_path_factory.mktemp("csv") / "services.csv"
    table = pd.DataFrame({"service_id": column}, dtype=object)
    file.write_text(to_csv(table), encoding="utf-8", newline="")
    read = read_table(file)["service_id"]
    assert [None if pd.isna(cell) else cell for cell in read] == column


@given(names)
@example("see https://evil.test/x now")
@example("mail me@evil.test")
@example("ask @team")
def test_markdown_has_no_link_and_no_html_made_of_a_name(name):
    cell = markdown_text(name)
    page = renders(
        f"# {cell}\n\n- {cell}\n\n| a |\n| --- |\n| {cell} |\n\n![{cell}](x.svg)\n"
    )
    for mark in ("<a ", "<script", 'src="http', "<!--"):
        assert mark not in page.lower()
    assert page.count("<img") <= 1
    # GitHub links these without marks, whatever is escaped around them
    assert not {"http://", "https://", "ftp://", "www.evil"} & links(cell)
    assert not re.search(r"(?<!\w)@\w|@[\w-]+\.\w", cell)


def links(text):
    return {
        mark
        for mark in ("http://", "https://", "ftp://", "www.evil")
        if mark in text.lower()
    }


def test_a_digest_and_plain_names_stay_as_they_are():
    for name in ("redis@sha256:ab12", "team-a/web:1.2", "a_b", "docker.io/library/web"):
        assert markdown_text(name) == name
    assert guarded("web -1") == "web -1"
