"""Headers of incident exports by the column that they fill (`headers.csv`), and plain words.

The first filled header of a column counts. The policy defines severities, causes and platforms.
"""

from __future__ import annotations

from assess.sources.csv_records import rows


def _headers(column: str) -> tuple[str, ...]:
    listed = rows("incidents/headers")
    return tuple(row["header"] for row in listed if row["column"] == column)


COLUMNS = {row["column"]: _headers(row["column"]) for row in rows("incidents/headers")}
LABELS = COLUMNS.pop("labels")
TITLES = COLUMNS.pop("title")
FREE_TEXT = COLUMNS.pop("free_text")
# Units of durations, by header. [s]
DURATIONS = {
    row["header"]: int(row["seconds"])
    for row in rows("incidents/headers")
    if row["column"] == "duration"
}
BOOLEANS = {
    **dict.fromkeys(("true", "yes", "y", "1"), True),
    **dict.fromkeys(("false", "no", "n", "0"), False),
}
MISSING = frozenset(("", "null", "none", "n/a", "na", "nan", "-", "unknown"))
