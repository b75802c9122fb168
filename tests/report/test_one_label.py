"""One service has one label, wherever people read it."""

import re

import pandas as pd
import pytest

from assess import figures
from assess.report.model import Card, Table
from assess.report.record import record_page
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
