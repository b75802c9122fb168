"""Why something changed: the fleet, the evidence, its rivals, the policy or the facts."""

import copy
import re
from functools import cache

import pandas as pd
import pytest
from fleets import ROOT

import assess
from assess.report.changes import changes, label_changes
from assess.report.model import Table

LEFT_OUT = {"incidents", "experiments", "activities"}  # what makes scoring long


@cache
def sample():
    return assess.load(ROOT / "data" / "sample" / "2026Q3")


def changed(values, *, at="2026-09-30"):
    """The sample with other answers in ``services``, by service."""
    services = sample()["services"].set_index("service_id")
    for service_id, answers in values.items():
        for column, value in answers.items():
            services.loc[service_id, column] = value
    tables = {name: sample()[name] for name in sample().present - LEFT_OUT}
    return assess.from_frames(
        {**tables, "services": services.reset_index()}, snapshot_at=at
    )


@pytest.fixture(scope="module")
def report(policy):
    before = changed({"store-locator": {"secrets_in_image": pd.NA}}, at="2026-09-29")
    now = changed({"feature-flags": {"secrets_in_image": True}})
    return assess.build_report(now, policy, previous=before)


def test_a_label_changes_because_of_the_fleet_the_evidence_or_rivals(report):
    table = label_changes(report.scores, report.scores.earlier).set_index("service_id")
    assert table.loc["store-locator", ["before", "because"]].tolist() == [
        "NOT DECIDABLE",
        "the evidence",
    ]
    assert table.loc["feature-flags", ["after", "because"]].tolist() == [
        "PREPARE",
        "the fleet",
    ]
    others = table.drop(["store-locator", "feature-flags"])
    assert set(others["because"]) <= {"other candidates"}
    text = report.to_markdown()
    assert re.search(
        r"the fleet \(1 answer changed\) or from the evidence \(1 answer became", text
    )
    # within one quarter, days name the snapshots
    assert "Both snapshots (2026-09-29 and 2026-09-30)" in text
    assert "since 2026Q3" not in text


@pytest.fixture(scope="module")
def then(report, policy):
    """The report of the snapshot before, as it was published."""
    return assess.build_report(report.scores.earlier.inventory, policy).to_dict()


def parts(report, published):
    """The section and its tables."""
    section = changes(report.scores, published=published)
    return section, {table.id: table for table in section.of(Table)}


def test_what_the_policy_changed_is_told_apart(report, then):
    section, tables = parts(report, then)
    assert "used the same policy, facts and version" in section.text[1]
    assert tables["measure-changes"].frame.empty

    other = copy.deepcopy(then)
    other["policy_hash"] = "another"
    rows = {row["service_id"]: row for row in other["scores"]["what-next"]}
    was = rows["wiki"]["label"]
    rows["wiki"]["label"] = "NEVER"
    section, tables = parts(report, other)
    assert (
        "the policy changed. With today's, 1 of its 48 services would" in section.text[1]
    )
    assert tables["measure-changes"].frame.to_dict("records") == [
        {"service_id": "wiki", "published": "NEVER", "now": was}
    ]


def test_facts_and_version_are_named_where_they_differ(report, then):
    section, _ = parts(report, {**then, "reference_date": "2026-01-01", "version": "0.0"})
    assert "the reference facts and the version of assess changed" in section.text[1]
