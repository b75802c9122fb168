"""Facts about engine lines and outages, as frames of numbers and days."""

from __future__ import annotations

from functools import cache

import pandas as pd

from assess.reference.tables import table

ACTIVE_DAYS_MIN = 60  # a line that was released for less has no pace


@cache
def engine_lines() -> pd.DataFrame:
    """Count releases and changes of each engine line, oldest first; a shared, read-only frame.

    Index ``release_line``; ``first_release, last_release`` [UTC day], ``releases_n, active_days``
    [days], ``releases_per_year`` (NA below 60 active days), ``support_days, stated_days`` [days from
    the first release to the actual and to the stated end; NA without one], changes by kind [count].
    """
    known = table("engine_releases")
    days = ["release_date", "line_eol_date", "policy_eol_date"]
    known[days] = known[days].apply(pd.to_datetime, utc=True)
    public = known["channel"].ne("source_tag") & known["release_date"].notna()
    lines = known[public].groupby("release_line", sort=False)
    first = lines["release_date"].min()
    last = lines["release_date"].max()
    found = pd.DataFrame(
        {"first_release": first, "last_release": last, "releases_n": lines.size()}
    )
    found["active_days"] = (last - first).dt.days
    pace = found["releases_n"] / (found["active_days"] / 365.25)
    found["releases_per_year"] = pace.where(found["active_days"] >= ACTIVE_DAYS_MIN)
    ends = known.groupby("release_line")[days[1:]].first()
    found["support_days"] = (ends["line_eol_date"] - first).dt.days
    found["stated_days"] = (ends["policy_eol_date"] - first).dt.days
    changes = table("engine_changes")
    kinds = pd.crosstab(changes["release_line"], changes["kind"])
    return found.join(kinds.reindex(found.index, fill_value=0))


def outages(kind: str | None = None, *, service: str | None = None) -> pd.DataFrame:
    """List the outages on record, of one kind or service; a list of outages is no census.

    Parameters
    ----------
    kind : str, optional
        ``registry``, ``package-repo``, ``api`` or ``web``.
    service : str, optional
        Such as ``docker-hub``.

    Returns
    -------
    DataFrame
        As the table ``outages`` has them, ``duration_minutes`` as a number. [minutes; NA: unknown]
    """
    found = table("outages")
    found["duration_minutes"] = pd.to_numeric(found["duration_minutes"])
    for column, wanted in (("kind", kind), ("service", service)):
        found = found[found[column].eq(wanted)] if wanted else found
    return found
