"""What to ask: which column or check holds an unknown fact, in which order, and where it goes."""

from types import SimpleNamespace

import pandas as pd
import pytest
from readiness_fleet import Fleet

from assess.inventory import from_frames
from assess.policy import load_policy
from assess.score.assessment import what_next
from assess.score.what_next.questions import ANSWER, COLUMNS, questions

LABELS = {"a": "PREPARE", "b": "NOT DECIDABLE", "c": "MOVE NOW"}
INFORMATION = [  # service, unknown, fact in words, gain, decides
    ("a", "G6", "secrets (services.secrets_in_image)", 0.2, False),
    ("a", "state.stateless", "does it keep data? (services.stateful)", 0.4, False),
    ("a", "G9", "its tier or its group (services.tier, services.asg_min)", 0.1, True),
    ("a", "config.no_secrets", "secrets? (services.secrets_in_image)", 0.3, False),
    ("b", "fit.kernel", "the kernel (hosts.kernel)", 0.0, False),
    ("b", "observability.rate", "how often (incidents.opened_at)", 0.123456, False),
    ("b", "criticality", "what it is worth (services.criticality)", 0.1, False),
    ("c", "fit.kernel", "the kernel (hosts.kernel)", 0.0, False),
    ("c", "team.runbook", "is there a runbook?", 0.0, True),
]


def asked(rows=INFORMATION):
    columns = ["service_id", "unknown", "fact", "gain", "decides"]
    facts = pd.DataFrame(rows, columns=columns).astype({"fact": "str", "unknown": "str"})
    facts = facts.assign(label_if="MOVE NOW", label_else="HOLD")
    labels = pd.DataFrame({"label": LABELS})
    services = [
        {"service_id": "a", "tier": 2, "stateful": None},
        {"service_id": "b", "criticality": 3.0},
        {"service_id": "c"},
    ]
    inventory = from_frames(
        {"services": pd.DataFrame(services)}, snapshot_at="2026-09-30"
    )
    result = SimpleNamespace(frame=labels, details={"information": facts})
    return questions(result, inventory, load_policy())


def test_who_fills_the_column_answers_every_gate_and_check_that_reads_it():
    found = asked()
    assert list(found.columns) == COLUMNS
    places = list(zip(found["service"], found["question"], strict=True))
    assert places == [
        ("a", "services.asg_min"),  # alone it decides; the tier is known
        ("c", "team.runbook"),
        ("a", "services.stateful"),
        ("a", "services.secrets_in_image"),  # once, for a gate and a check
        ("b", "observability.rate"),
        ("b", "fit.kernel"),  # many facts together decide there
    ]
    assert found["gain"].tolist() == [0.1, 0.0, 0.4, 0.2, 0.1235, 0.0]
    assert found["decides"].tolist() == [True, True, False, False, False, False]
    assert found["label"].tolist() == [LABELS[name] for name, _ in places]
    # nobody's word stands for what a check measures
    measured = "a source that fills hosts.kernel, workloads.host_id"
    assert found["fill"].tolist() == [*[ANSWER] * 5, measured]
    assert (found[[ANSWER, "answered_at", "answered_by_role"]] == "").all(axis=None)


def test_a_column_of_services_is_asked_in_its_own_words():
    text = asked().set_index("question")["text"]
    assert text["services.stateful"].endswith("(yes or no)")
    assert text["team.runbook"] == "is there a runbook?"
    assert text["fit.kernel"] == "the kernel (hosts.kernel)"


def test_what_only_a_source_can_fill_says_so():
    found = asked([("b", "exposure", "its kernel and mounts (hosts.kernel)", 0.1, False)])
    assert found["question"].tolist() == ["hosts.kernel"]
    assert found["fill"].tolist() == ["a source that fills hosts.kernel"]


def test_what_changes_nothing_is_not_asked():
    assert asked(INFORMATION[-2:-1]).empty
    assert asked(INFORMATION[:0]).empty


def labelled(fleet):
    result = what_next(fleet.inventory(), load_policy())
    return result, result.frame.loc["shop", "label"]


@pytest.mark.parametrize(
    ("frame", "sign"),
    [
        ("workloads", {"ports": "5432/tcp"}),
        ("workloads", {"ports": None}),
        ("workloads", {"source_kind": "statefulset"}),
        ("services", {}),
    ],
)
def test_an_answer_about_state_leads_to_the_label_that_was_promised(frame, sign):
    fleet = Fleet().change(frame, **sign).change("services", stateful=None)
    result, _ = labelled(fleet)
    asked = questions(result, fleet.inventory(), load_policy())
    asked = asked.set_index("question").loc["services.stateful"]
    assert asked["decides"]
    for answer, promised in ((False, asked["label_if"]), (True, asked["label_else"])):
        _, label = labelled(fleet.change("services", stateful=answer))
        assert label == promised
    # what is known to keep state has to lose it, and then no sign of it counts
    stored, _ = labelled(fleet)
    (flip,) = stored.details["flips"].itertuples()
    assert (flip.checks, flip.label) == (["state.stateless"], asked["label_if"])
