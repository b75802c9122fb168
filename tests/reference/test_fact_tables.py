from __future__ import annotations

import re

import pandas as pd
import pytest

from assess import reference
from assess.errors import AssessError

LISTED = reference.tables()


def test_the_index_lists_every_table_and_only_those():
    from importlib.resources import files

    found = {
        f.name[:-4]
        for f in files("assess.reference").iterdir()
        if f.name.endswith(".csv")
    }
    assert found - {"index"} == set(LISTED.index)
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", reference.compiled_on())


@pytest.mark.parametrize("name", LISTED.index)
def test_every_table_has_a_unique_key_and_text_only(name):
    table = reference.table(name)
    key = LISTED.loc[name, "key"].split("+")
    assert len(table) == LISTED.loc[name, "rows"] > 0
    assert not table[key].fillna("").duplicated().any()
    assert all(pd.api.types.is_string_dtype(table[column]) for column in table)
    dates = [c for c in table if c.endswith("_date")]
    for column in dates:
        pd.to_datetime(table[column].dropna(), format="%Y-%m-%d")


@pytest.mark.parametrize("name", LISTED.index.drop("breaks"))
def test_every_row_names_its_source(name):
    assert reference.table(name)["source"].notna().all()


def test_versions_keep_their_zero():
    lines = set(reference.table("engine_releases")["release_line"])
    assert {"1.10", "20.10", "17.03"} <= lines
    assert "3.10" in set(reference.table("kernel_lines")["line"])


def test_a_table_is_the_readers_own():
    own = reference.table("outages")
    own["source"] = "mine"
    assert not reference.table("outages")["source"].eq("mine").any()


def test_no_such_table():
    with pytest.raises(AssessError, match="nowhere"):
        reference.table("nowhere")


def test_changes_that_can_be_checked_are_changes_that_the_facts_hold():
    hits = reference.table("breaks")
    of_engine = hits["change_id"][hits["change_id"].str.fullmatch(r"EC\d+")]
    assert set(of_engine) <= set(reference.table("engine_changes")["change_id"])


def test_patterns_of_stateful_images_match_their_own_example():
    table = reference.table("database_images")
    kinds = [reference.stateful_kind(name) or "none" for name in table["example"]]
    assert kinds == table["kind"].tolist()
    assert reference.stateful_kind("library/postgres") == "database"
    assert reference.stateful_kind("mirror/library/postgres") == "database"
    assert reference.stateful_kind("shop/postgres-exporter") is None
    assert reference.stateful_kind(None) is None


def test_facts_are_outdated_after_180_days():
    compiled = pd.to_datetime(LISTED["compiled_on"], utc=True)
    assert reference.outdated(compiled.max()) == []
    on_day = compiled.min() + pd.Timedelta(days=180)
    assert reference.outdated(on_day) == []
    oldest = list(LISTED.index[compiled == compiled.min()])
    assert reference.outdated(on_day + pd.Timedelta(hours=1)) == oldest
