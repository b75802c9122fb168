"""The assessment: every score once, the same as the public functions return."""

import pandas as pd
import pytest

import assess
from assess.cli import score as command
from assess.errors import AssessError
from assess.inventory import from_frames
from assess.policy import rules
from assess.score import assessment as module
from assess.score import upgrade_churn
from assess.score import what_next as ranked
from assess.score.assessment import FLEET_SCORES, SCORES, Assessment

POLICY = assess.load_policy()
WATCHED = {
    "run_id": "r",
    "source": "incidents",
    "scope": "all",
    "call": "read",
    "status": "ok",
    "window_start": "2026-04-01T00:00:00Z",
    "window_end": "2026-10-01T00:00:00Z",
}


def fleet(at):
    services = [
        {"service_id": name, "platform": platform, "tier": 2, "criticality": 1}
        for name, platform in {"web": "host", "db": "docker"}.items()
    ]
    frames = {"services": services, "coverage": [WATCHED]}
    return from_frames({n: pd.DataFrame(r) for n, r in frames.items()}, snapshot_at=at)


@pytest.fixture
def assessment():
    earlier = Assessment(fleet("2026-07-01"), POLICY)
    return Assessment(fleet("2026-10-01"), POLICY, earlier=earlier)


def test_every_score_is_computed_once_and_shared(assessment, monkeypatch):
    calls = []
    score = module.readiness_of
    monkeypatch.setattr(
        module, "readiness_of", lambda *args: calls.append(1) or score(*args)
    )
    for name in (*SCORES, *FLEET_SCORES):
        assert assessment.score(name) is assessment.score(name.replace("_", "-"))
    assert len(calls) == 2  # of this snapshot, and of the earlier one for the back-test


def test_the_public_functions_return_the_same(assessment):
    inventory = assessment.inventory
    before = assessment.previous
    pd.testing.assert_frame_equal(
        assess.what_next(inventory, POLICY).frame, assessment.what_next.frame
    )
    claims = assess.judge_claims(inventory, POLICY, previous=before)
    pd.testing.assert_frame_equal(claims.frame, assessment.claims.frame)
    tested = assess.backtest(inventory, POLICY, previous=before)
    pd.testing.assert_frame_equal(tested.frame, assessment.backtest.frame)


def test_a_score_at_hand_is_not_computed_again(assessment):
    readiness = assessment.readiness
    again = Assessment(assessment.inventory, POLICY).take({"readiness": readiness})
    assert again.readiness is readiness
    # the ranking reads it: services that no gate holds back, and nothing else, compete
    labels = readiness.frame["label_gates"]
    assert again.what_next.frame["label_gates"].sort_index().equals(labels.sort_index())


def test_rows_of_a_service_and_its_line(assessment):
    assert assessment.services.index.name == "service_id"
    assert {"blast_minutes", "churn_score", "label"} <= set(assessment.services)
    states = [row["state"] for row in assessment.rows_of("atoms", "web")]
    order = [module.OPEN.index(state) for state in states]
    assert states and order == sorted(order)
    assert assessment.rows_of("atoms", "nobody") == []


def test_a_score_that_there_is_not(assessment):
    with pytest.raises(AssessError) as error:
        assessment.score("happiness")
    assert "what-next" in error.value.hint


def test_the_later_of_two_snapshots_is_not_the_earlier_one(assessment):
    with pytest.raises(AssessError, match=r"of 2026-10-01, is the later one"):
        Assessment(fleet("2026-07-01"), POLICY, earlier=assessment)


def test_the_command_line_names_every_score():
    names = [name.replace("_", "-") for name in (*SCORES, *FLEET_SCORES)]
    assert [*command.SCORES, *command.FLEET_SCORES] == names


def test_a_label_makes_no_table_that_only_readers_ask_for(assessment, monkeypatch):
    def unasked(*_):
        raise AssertionError("nobody asked for this table")

    monkeypatch.setattr(upgrade_churn, "calendar", unasked)
    monkeypatch.setattr(ranked, "what_ifs", unasked)
    monkeypatch.setattr(ranked.Ranking, "under_each", unasked)
    assert assessment.what_next.frame["label"].notna().all()
    # nor do the rows of another table
    assert assessment.rows_of("gates", "web")
    lazy = {"calendar": "upgrade_churn", "flips": "what_next", "boards": "what_next"}
    for table, score in lazy.items():
        details = assessment.score(score).details
        assert table in details
        with pytest.raises(AssertionError, match="nobody asked"):
            details[table]


def test_a_rule_is_evaluated_once_for_the_rows_of_a_table(assessment, monkeypatch):
    asked = []
    evaluate = rules.evaluate

    def counted(rule, table, *, at):
        asked.append((rule, id(table)))
        return evaluate(rule, table, at=at)

    assert len(assessment.evidence.services) == 2
    monkeypatch.setattr(rules, "evaluate", counted)
    assert len(assessment.readiness.frame) == 2
    assert asked
    assert len(asked) == len(set(asked))
