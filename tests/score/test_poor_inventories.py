"""Every public score answers, or raises an AssessError, whatever an inventory lacks."""

import contextlib
import warnings

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import assess
from assess import frames
from assess.errors import AssessError
from assess.inventory import from_frames
from assess.policy import load_policy
from assess.sample import write_sample

POLICY = load_policy().replace(
    simulation={"draws": 100}, backtest={"bootstrap": 50}, blast_radius={"drawn_most": 20}
)
SCORES = {
    "readiness": lambda now, _: assess.score_readiness(now, POLICY).summary(),
    "blast radius": lambda now, _: assess.score_blast_radius(now, POLICY).summary(),
    "upgrade churn": lambda now, _: assess.score_upgrade_churn(now, POLICY).summary(),
    "what next": lambda now, _: assess.what_next(now, POLICY).summary(),
    "claims": lambda now, _: assess.judge_claims(now, POLICY).summary(),
    "backtest": lambda now, then: assess.backtest(now, POLICY, previous=then).summary(),
    "clean-up": lambda now, _: assess.clean_up(now, POLICY),
    "edges": lambda now, _: assess.edge_evidence(now),
    "diff": lambda now, then: now.diff(then),
    "report": lambda now, _: assess.build_report(now, POLICY).headline,
}


@pytest.fixture(scope="module")
def quarters(tmp_path_factory):
    paths = write_sample(tmp_path_factory.mktemp("sample"), services=4)
    return [assess.load(path) for path in paths]


@st.composite
def poor(draw, inventory):
    """Draw an inventory that lacks frames, rows or cells, or whose times make no sense."""
    tables = {}
    for name in draw(st.lists(st.sampled_from(frames.names()), unique=True)):
        table = inventory[name]
        rows = draw(st.sampled_from([len(table), len(table), 1, 0]))
        table = table.head(rows).copy()
        for column in frames.columns(name).values():
            cells = table[column.name]
            change = draw(st.sampled_from(["keep", "keep", "empty", "odd"]))
            if change == "empty" and not column.is_required:
                table[column.name] = pd.Series(pd.NA, cells.index, dtype=cells.dtype)
            elif change == "odd" and column.dtype == "time":
                days = draw(st.sampled_from([-40000, -400, 0, 400, 40000]))
                table[column.name] = cells.head(1).reindex(cells.index, method="ffill")
                table[column.name] += pd.Timedelta(days=days)
            elif change == "odd" and column.bounds:
                low, high = column.bounds
                edge = draw(st.sampled_from([low, min(high, 1e15)]))
                table[column.name] = pd.Series(edge, cells.index).astype(cells.dtype)
        tables[name] = table
    whole = {name: inventory[name].iloc[:0] for name in frames.names()}
    for name in tables:
        for column in frames.columns(name).values():
            if column.reference:
                frame, key = column.reference
                known = tables.get(frame, whole[frame])[key]
                cells = tables[name][column.name]
                is_outside = cells.str.startswith("ext:").fillna(value=False)
                tables[name] = tables[name][cells.isin(known) | cells.isna() | is_outside]
    moment = inventory.snapshot_at
    with contextlib.suppress(AssessError):
        return from_frames(tables, snapshot_at=moment)
    return from_frames({}, snapshot_at=moment)


@pytest.mark.parametrize("score", SCORES)
@settings(max_examples=4, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_poor_inventory_is_scored_or_refused(quarters, score, data):
    now = data.draw(poor(quarters[1]))
    then = data.draw(poor(quarters[0]))
    with warnings.catch_warnings(), contextlib.suppress(AssessError):
        warnings.simplefilter("ignore")
        SCORES[score](now, then)
