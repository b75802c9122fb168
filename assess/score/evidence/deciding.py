"""Rows that decided a check, by their names: mounts, images, hosts."""

from collections import defaultdict

import pandas as pd

from assess.execution import each
from assess.policy import Table
from assess.score.evidence import Evidence

NAMED_BY = {  # the column that people know a row by
    "workloads": "workload_id",
    "mounts": "destination",
    "hosts": "host_id",
    "engines": "host_id",
    "images": "repository",
    "dependencies": "dst_id",
}
SHOWN_ROWS = 3
AGAINST = ("fail", "partial")


def with_rows(
    atoms: pd.DataFrame,
    evidence: Evidence,
    checks: list[Table],
) -> pd.DataFrame:
    """Return atoms with a column ``evidence``: the rows that made a check fail, else empty."""
    words: dict[tuple[str, str], str] = {}
    for found in each(_words, checks, evidence.blocks(), what="rows behind answers"):
        words |= found
    pairs = zip(atoms["check"].tolist(), atoms["service_id"].tolist(), strict=True)
    rows = [words.get(pair, "") for pair in pairs]
    texts = pd.Series(rows, atoms.index, dtype="str")
    return atoms.assign(evidence=texts.where(atoms["state"].isin(AGAINST), ""))


def _words(checks: list[Table], evidence: Evidence) -> dict[tuple[str, str], str]:
    """Return by check and service the rows against it, in words, for a block of services."""
    return {
        (check["id"], service): text
        for check in checks
        for service, text in _against(check, evidence).items()
    }


def _against(check: Table, evidence: Evidence) -> dict[str, str]:
    """Return by service the rows for which a check does not hold, in words."""
    name = check["table"]
    label = NAMED_BY.get(name, "")
    shown = check.get("shows", [])
    columns = [column for column in (label, *shown) if column]
    if not columns:
        return {}
    table = evidence.views[name].table
    is_against = ~evidence.evaluate(check["rule"], name)
    if "applies" in check:
        is_against &= evidence.evaluate(check["applies"], name)
    shown_rows = is_against.to_numpy(bool, na_value=False)
    if not shown_rows.any():
        return {}
    wanted = list(dict.fromkeys(["service_id", *columns]))
    cells = table.loc[shown_rows, wanted].sort_values(columns, kind="stable")
    found: dict[str, list[str]] = defaultdict(list)
    for row in cells.to_dict("records"):
        words = found[row["service_id"]]
        # one more than is shown, to see whether there are more
        if len(words) <= SHOWN_ROWS:
            words.append(_row(row, label, shown))
    return {
        service: "; ".join(dict.fromkeys(words[:SHOWN_ROWS]))
        + (" …" if len(words) > SHOWN_ROWS else "")
        for service, words in found.items()
    }


def _row(row: Table, label: str, shown: list[str]) -> str:
    values = [f"{name} {word(row[name])}" for name in shown if pd.notna(row[name])]
    inside = ", ".join(values)
    if not label or pd.isna(row[label]):
        return inside
    named = word(row[label])
    return f"{named} ({inside})" if inside else named


def word(value: object, column: str = "") -> str:
    """Return a value as a word of a sentence; a share of evidence as percent, as rules say it."""
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d}"
    form = ".1%" if column.startswith("coverage") else ".3g"
    return f"{value:{form}}" if isinstance(value, float) else str(value)
