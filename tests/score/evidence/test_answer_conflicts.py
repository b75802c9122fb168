"""What people said in a questionnaire against what was measured: a contradiction stays visible."""

from pathlib import Path

import pandas as pd
import pytest

from assess.inventory import from_frames
from assess.policy import load_policy
from assess.score.readiness import score_readiness
from assess.sources.answers import AnswersSource
from assess.sources.base import Batch, Name
from assess.sources.deadline import Deadline
from assess.sources.joining.findings import name_findings
from assess.sources.joining.merge import to_tables

FIXTURES = Path(__file__).parents[2] / "fixtures" / "answers"
POLICY = load_policy()
AT = "2026-09-30T00:00:00Z"


def measured(**service):
    """What engines saw of checkout, invoicing and cart."""
    batch = Batch()
    for name in ("checkout", "invoicing", "cart"):
        names = (Name(name, "compose-service", 0.85, "shop"),)
        batch.add("services", {"names": names, "platform": "docker", **service})
        row = {"names": names, "workload_id": f"h/{name}", "state": "running"}
        batch.add("workloads", row | {"source_kind": "container"})
    return batch


def score(batch, **options):
    options = {"path": "konveyor", **options}
    said = AnswersSource().collect(options, FIXTURES, Deadline(10))
    batches = name_findings([("docker", batch), ("answers", said)])
    tables, _ = to_tables(batches, [])
    return score_readiness(from_frames(tables, snapshot_at=AT), POLICY)


def state(result, service, check):
    atoms = result.details["atoms"].set_index(["service_id", "check"])
    return atoms.loc[(service, check)]


@pytest.fixture(scope="module")
def result():
    return score(measured(health_checked=True, stateful=False))


def test_no_health_checks_against_a_measured_one_is_a_conflict(result):
    assert "checkout" in result.frame.index  # Konveyor calls it Checkout Service
    atom = state(result, "checkout", "observability.health")
    assert atom["state"] == "conflict"
    assert pd.isna(atom["value"])
    assert atom["source"] == "services+answers"


def test_a_conflict_is_named_among_what_to_find_out_and_lowers_coverage(result):
    unknown = result.details["unknown"].set_index(["service_id", "check"])["fact"]
    fact = unknown.loc[("checkout", "observability.health")]
    assert fact.startswith("sources contradict each other")
    alone = score(measured(health_checked=True, stateful=False), path="scorecard")
    assert result.frame.loc["checkout", "coverage"] < 1
    both, one = (
        r.details["dimensions"].set_index(["service_id", "dimension"])
        for r in (result, alone)
    )
    place = ("checkout", "observability")
    assert both.loc[place, "coverage"] < one.loc[place, "coverage"]
    assert (
        both.loc[place, "hi"] - both.loc[place, "lo"]
        > one.loc[place, "hi"] - one.loc[place, "lo"]
    )


def test_an_answer_that_agrees_or_half_agrees_is_no_conflict(result):
    assert state(result, "cart", "observability.health")["state"] == "pass"
    assert state(result, "invoicing", "observability.health")["state"] == "pass"  # yellow
    # said: a shared disk; measured: stateless
    assert state(result, "invoicing", "state.stateless")["state"] == "conflict"
    assert state(result, "checkout", "state.stateless")["state"] == "pass"


def test_a_word_stands_in_only_where_the_check_may_be_asked():
    result = score(measured())
    # nothing measured it, and it may be asked
    asked = state(result, "checkout", "state.stateless")
    assert (asked["state"], asked["source"]) == ("pass", "answers")
    # nothing measured it: a measurement that is gone is not replaced by somebody's word
    assert state(result, "checkout", "observability.health")["state"] == "unknown"


def test_a_scan_contradicts_an_engine_that_saw_no_secret():
    batch = measured(secrets_in_image=False)
    for row in batch.rows["workloads"]:
        if row["workload_id"] == "h/cart":
            row.update(registry="registry.example.net", repository="shop/cart", tag="2.4")
    result = score(batch, path="trivy", format="trivy")
    # the row of the service has none of both, so the check is open
    assert state(result, "cart", "config.no_secrets")["state"] == "unknown"
    assert state(result, "checkout", "config.no_secrets")["state"] == "pass"
