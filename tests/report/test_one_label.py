"""One service has one label, wherever people read it."""

import json
import re

import pandas as pd
import pytest
from click.testing import CliRunner
from fleets import ROOT

import assess
from assess import figures
from assess.cli import cli
from assess.report.model import Card, Table
from assess.report.record import record_page
from assess.sample import write_sample
from assess.words import to_html


@pytest.fixture(scope="module")
def labels(hostile):
    return hostile.scores.what_next.frame["label"].to_dict()


def test_tables_and_cards_have_the_label_of_the_ranking(hostile, labels):
    seen = 0
    for section in hostile.sections:
        for card in section.of(Card):
            if card.name in labels:
                assert card.label == labels[card.name]
                seen += 1
        for table in section.of(Table):
            column = "after" if table.id == "label-changes" else "label"
            if {"service_id", column} <= set(table.frame):
                told = table.frame.set_index("service_id")[column].to_dict()
                told = {name: told[name] for name in told if name in labels}
                assert told == {name: labels[name] for name in told}, table.id
                seen += len(told)
    assert seen > 2 * len(labels)


def test_counts_records_and_explanations_have_it_too(hostile, labels):
    counts = pd.Series(labels).value_counts().to_dict()
    assert {label: n for label, n, _ in hostile.tally} == counts
    assert hostile.to_dict()["labels"] == counts
    for service, label in labels.items():
        record = hostile.decision_record(service)
        assert re.findall(r"Proposed by the evidence: \S+ \*\*([A-Z ]+)\*\*", record) == [
            label
        ]
        explained = hostile.scores.what_next.explain(service).text
        assert explained.startswith(f"Label: {label}.")
    page = record_page("web", hostile.scores)
    assert f">{labels['web']}</span>" in page


def test_figures_and_what_notebooks_show_have_it_too(hostile, labels):
    drawn = figures.what_next_data(hostile.scores.what_next)
    named = drawn.set_index("service_id")["label"].to_dict()
    assert named
    assert named == {name: labels[name] for name in named}
    shown = to_html(hostile.scores.what_next.summary(), rows=100)
    for label in set(labels.values()):
        assert shown.count(f">{label}<") == list(labels.values()).count(label)


@pytest.fixture(scope="module")
def dozen(tmp_path_factory):
    directory = tmp_path_factory.mktemp("dozen")
    write_sample(directory, services=12)
    return str(directory / "2026Q3")


@pytest.fixture(scope="module")
def told(dozen):
    ranked = assess.what_next(assess.load(dozen), assess.load_policy())
    return ranked.frame["label"].to_dict()


@pytest.mark.parametrize("form", ["json", "text"])
def test_the_command_line_has_it_in_every_form(dozen, told, form):
    command = ["score", dozen, "what-next", "--format", form]
    out = CliRunner().invoke(cli, command, env={"COLUMNS": "300"}, prog_name="assess")
    assert out.exit_code == 0, out.output
    if form == "json":
        rows = json.loads(out.stdout)["rows"]
        assert {row["service_id"]: row["label"] for row in rows} == told
        return
    lines = out.stdout.splitlines()
    for service, label in told.items():
        names = re.compile(rf"[|\s]*{re.escape(service)}\b(?!-)")
        line = next(each for each in lines if names.match(each))
        assert re.search(rf"\b{label}\b", line), line


def test_the_command_line_explains_the_same_label(dozen, told):
    service, label = next(iter(told.items()))
    explained = CliRunner().invoke(cli, ["explain", dozen, service])
    assert f"Label: {label}." in explained.output


def test_executed_notebooks_have_the_labels_of_the_stored_report():
    stored = json.loads((ROOT / "reports/2026Q3/report.json").read_text("utf-8"))
    labels = {r["service_id"]: r["label"] for r in stored["scores"]["what-next"]}
    seen = 0
    for file in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for table in _tables_of(json.loads(file.read_text("utf-8"))):
            # other tables have labels by the weights of one board
            if {"service_id", "label", "wave"} <= set(table):
                told = table.set_index("service_id")["label"]
                told = told[told.index.isin(list(labels))].to_dict()
                assert told == {name: labels[name] for name in told}, file.name
                seen += len(told)
    assert seen


def _tables_of(notebook):
    """Yield the tables that the cells of a notebook show, every cell as text."""
    outputs = [out for cell in notebook["cells"] for out in cell.get("outputs", [])]
    for output in outputs:
        shown = "".join(output.get("data", {}).get("text/html", []))
        rows = [
            [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(_CELL, row, re.DOTALL)]
            for row in re.findall(r"<tr>(.*?)</tr>", shown, re.DOTALL)
        ]
        heads = rows[0] if rows else []
        whole = [row for row in rows[1:] if len(row) == len(heads)]
        yield pd.DataFrame(whole, columns=heads)


_CELL = r"<t[hd][^>]*>(.*?)</t[hd]>"
