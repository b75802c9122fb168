"""Questions: the unknown facts that could change a label or a chance, as a table to fill in."""

import pandas as pd
from pandas import DataFrame, Series

from assess import frames
from assess.inventory import Inventory
from assess.policy import Policy
from assess.score.readiness.gates import NOT_DECIDABLE
from assess.score.what_next import WhatNext

# a fact in words ends in the columns that would tell it
COLUMNS_OF_FACT = r"\(([\w., ]+)\)$"
SERVICE_COLUMN = r"services\.\w+"
FRAME_COLUMN = rf"(?:{'|'.join(frames.names())})\.\w+"
ANSWER = "answer"
BLANK = [ANSWER, "answered_at", "answered_by_role"]  # for people to fill in
ASKED = ["service_id", "question"]
COLUMNS = [
    "service",
    "question",
    "text",
    "label",
    "label_if",
    "label_else",
    "gain",
    "decides",
    "fill",
    *BLANK,
]


def questions(
    result: WhatNext, inventory: Inventory, policy: Policy, service: str | None = None
) -> DataFrame:
    """Return one row a fact, the most valuable first; filled in, it is a table for `answers`.

    With a ``service``, only those about it; AssessError if it is unknown.

    A ``question`` is a column of services, the id of a check, or a column that only a source can
    fill. ``label_if, label_else``: the label after a good and a bad answer. ``gain``: the expected
    change of the chance of the short list [0-1]. ``fill``: where the answer goes.
    """
    facts = result.details["information"]
    label = facts["service_id"].map(result.frame["label"])
    is_stuck = label.eq(NOT_DECIDABLE)  # many facts together decide there
    decides = facts["decides"].astype(bool)
    table = facts.assign(label=label, decides=decides, gain=facts["gain"].round(4))
    table = table[decides | facts["gain"].gt(0) | is_stuck]
    table = _by_column(table, inventory).drop_duplicates(ASKED)
    by_source = table["question"].str.fullmatch(FRAME_COLUMN)
    by_source &= ~table["question"].str.fullmatch(SERVICE_COLUMN)
    # somebody's word never replaces the measurement of a check that people are not asked
    unasked = [check for check in policy["check"] if not check.get("asked")]
    measured = {check["id"]: ", ".join(check["needs"]) for check in unasked}
    columns = table["question"].map(measured)
    columns = columns.fillna(table["question"].where(by_source))
    fill = ("a source that fills " + columns).fillna(ANSWER)
    table = table.assign(fill=fill, last=~table["decides"])
    table = table.sort_values(
        ["last", "gain", *ASKED], ascending=[True, False, True, True]
    )
    table = table.rename(columns={"service_id": "service", "fact": "text"})
    table = table.assign(**dict.fromkeys(BLANK, ""))[COLUMNS]
    if service:
        table = table[table["service"] == result.row(service).name]
    return table.reset_index(drop=True)


def _by_column(facts: DataFrame, inventory: Inventory) -> DataFrame:
    """Split facts into the columns that hold them; columns of services take precedence."""
    # A gate reads columns, not the answer to a check: who fills the column answers both.
    columns = facts["fact"].str.extract(COLUMNS_OF_FACT)[0].str.split(", ")
    is_name = facts["unknown"].str.contains(".", regex=False)
    rows = facts.assign(question=columns).explode("question")
    rows["question"] = rows["question"].fillna(rows["unknown"])
    is_own = rows["question"].str.fullmatch(SERVICE_COLUMN)
    is_known = _known(rows, inventory)
    has_own = (is_own & ~is_known).groupby(level=0).transform("any")
    own = rows[is_own & ~is_known]
    own = own.assign(fact=own["question"].map(_asked()))
    # without a column of services, a check is asked by its id, a criterion by its column
    others = rows[~has_own & ~is_known]
    is_check = is_name.loc[others.index]
    asked = others["question"].mask(is_check, others["unknown"])
    others = others.assign(question=asked.str.split(", ")).explode("question")
    return pd.concat([own, others], ignore_index=True)


def _asked() -> dict[str, str]:
    """Return the meaning of each column of services, and how to answer."""
    how = {"bool": "yes or no", "time": "a date such as 2026-09-30"}
    return {
        f"services.{name}": f"{column.doc} ({how.get(column.dtype) or column.rule or 'text'})"
        for name, column in frames.columns("services").items()
    }


def _known(rows: DataFrame, inventory: Inventory) -> Series:
    """Return whether the question is a column of the service that is already known."""
    services = inventory.by_service
    known = services.notna().rename(columns="services.{}".format)
    known = known.rename_axis("service_id").reset_index()
    known = known.melt("service_id", var_name="question", value_name="is_known")
    asked = rows[ASKED].merge(known, how="left")
    return asked["is_known"].eq(True).set_axis(rows.index)
