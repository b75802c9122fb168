"""Words, numbers and times that the dictionary admits and nobody expects end in a result or a hint."""

from functools import cache

import pandas as pd
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from assess import frames
from assess.config import data_path
from assess.errors import AssessError, DataError
from assess.inventory import from_frames
from assess.policy import load_policy
from assess.score.assessment import Assessment
from assess.score.cleanup import clean_up
from assess.score.upgrade_churn import score_upgrade_churn
from assess.score.upgrade_churn.history import upgrade_history
from assess.snapshot import load

POLICY = load_policy().replace(simulation={"draws": 100})
AT = pd.Timestamp("2026-09-30", tz="UTC")
WORDS = ["", " ", "unknown", "1.x", "v0", "plan9", "a/b:c@d", "::", "999.1", "é;ü", "(["]
DAYS = ["1970-01-01", "2025-02-03", "2026-09-30", "2027-03-01", "2199-12-31"]
NUMBERS = [0, 1, 7, 10**6]


@cache
def sample():
    return load(data_path("sample/2026Q3"))


def strange(column):
    """Return values that the data dictionary admits and nobody expects."""
    if column.vocabulary:
        return column.vocabulary
    if column.dtype == "time":
        return [pd.Timestamp(day, tz="UTC") for day in DAYS]
    if column.dtype == "bool":
        return [True, False]
    if column.dtype == "str":
        return WORDS
    low, high = column.bounds or (0, 10**6)
    return [number for number in NUMBERS if low <= number <= high]


@st.composite
def poor(draw):
    """Some services of the sample, some frames gone, some columns empty, some cells strange."""
    services = draw(st.lists(st.sampled_from(NAMES), max_size=3, unique=True))
    tables = {}
    for name in frames.names():
        if name != "services" and draw(st.integers(0, 5)) == 0:
            continue
        table = sample()[name]
        for column in frames.columns(name).values():
            if (
                column.reference == ("services", "service_id")
                or column.name == "service_id"
            ):
                table = table[table[column.name].isin(services)]
        if name == "mounts":
            kept = tables["workloads"]["workload_id"] if "workloads" in tables else []
            table = table[table["workload_id"].isin(kept)]
        table = table.copy()
        for column in frames.columns(name).values():
            if column.is_required or column.reference:
                continue
            fate = draw(st.sampled_from(["as it is", "as it is", "empty", "strange"]))
            if fate == "empty":
                table[column.name] = None
            elif fate == "strange" and len(table):
                values = st.sampled_from([None, *strange(column)])
                cells = st.lists(values, min_size=len(table), max_size=len(table))
                table[column.name] = pd.Series(draw(cells), table.index, dtype=object)
        tables[name] = table
    try:
        return from_frames(tables, snapshot_at=AT)
    except DataError:
        assume(False)


NAMES = sorted(sample()["services"]["service_id"])


def hinted(question, *args, **options):
    """Return the answer; None where there is only a hint."""
    try:
        return question(*args, **options)
    except AssessError as error:
        assert str(error)
        return None


@settings(max_examples=3, suppress_health_check=list(HealthCheck))
@given(poor())
def test_strange_cells_end_in_a_result_or_in_a_hint(inventory):
    hinted(clean_up, inventory, POLICY)
    hinted(upgrade_history, [sample(), inventory], POLICY)
    hinted(score_upgrade_churn, inventory, POLICY, target="29")
    assessment = Assessment(inventory, POLICY)
    for name in ("readiness", "upgrade_churn", "what_next"):
        result = hinted(assessment.score, name)
        if result:
            hinted(result.to_dict)
            for service in inventory["services"]["service_id"]:
                assert hinted(result.explain, service).text
