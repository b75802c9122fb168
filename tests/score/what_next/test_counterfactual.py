"""Counterfactual: with nothing changed it is the score, since there is one formula."""

import random

import numpy as np
import pandas as pd
import pytest
from readiness_fleet import some_fleet, together

from assess.config import data_path
from assess.policy import load_policy
from assess.score import readiness
from assess.score.readiness import gates
from assess.score.result import records_by
from assess.score.what_next.flips import Counterfactual
from assess.score.what_next.labels import labels
from assess.snapshot import load

POLICY = load_policy()


def unchanged(score):
    """Lower bound and label of the gates of each service, worked out as a counterfactual."""
    atoms = records_by(score.details["atoms"], "service_id")
    reasons = records_by(score.details["reasons"], "service_id")
    rows = {}
    for service, answers in atoms.items():
        counterfactual = Counterfactual.of(
            answers,
            reasons.get(service, []),
            POLICY,
            inside=False,
            chances=None,
            questions={},
        )
        none = np.zeros((1, len(counterfactual.items)), dtype=bool)
        [label], _ = counterfactual.outcome(none)
        rows[service] = (counterfactual.readiness(none)[0], label)
    return pd.DataFrame.from_dict(rows, "index", columns=["readiness_lo", "label"])


def assert_same(score):
    got = unchanged(score)
    frame = score.frame.loc[got.index]
    assert got["readiness_lo"].tolist() == pytest.approx(frame["readiness_lo"], abs=1e-8)
    nobody = np.zeros(len(frame))
    expected = labels(
        frame["label_gates"],
        nobody,
        frame["readiness_lo"],
        [False] * len(frame),
        POLICY["what_next"],
    )
    assert got["label"].tolist() == expected.tolist()


def test_with_nothing_changed_it_is_the_score():
    draw = random.Random(7)
    assert_same(
        readiness.score_readiness(together([some_fleet(draw) for _ in range(60)]), POLICY)
    )
    assert_same(readiness.score_readiness(load(data_path("sample/2026Q3")), POLICY))


def test_the_formula_and_the_logic_of_gates_have_one_home(monkeypatch):
    """Both follow a change of the one formula; a copy would keep the old numbers."""
    inventory = load(data_path("sample/2026Q3"))
    before = readiness.score_readiness(inventory, POLICY).frame
    monkeypatch.setattr(readiness, "FLOOR", 70.0)
    monkeypatch.setattr(
        gates, "fails", lambda holds, _: np.isnan(holds).any(axis=0) * 1.0
    )
    score = readiness.score_readiness(inventory, POLICY)
    assert (score.frame["readiness_lo"] > before["readiness_lo"] + 1).any()
    assert not score.frame["label_gates"].equals(before["label_gates"])
    assert_same(score)
