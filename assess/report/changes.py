"""What changed between two quarters, and why: the fleet, the evidence, the policy or the facts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from assess.report.model import Column, Part, Section, Table
from assess.report.pictures import Pictures
from assess.score.assessment import Assessment

NAME = Column("service_id", "Service", "name")
MEASURES = {
    "policy_hash": "the policy",
    "reference_date": "the reference facts",
    "version": "the version of assess",
}


def changes(
    scores: Assessment,
    earlier: Assessment | None,
    drawn: Pictures,
    *,
    told: Mapping[str, Any] | None,
) -> Section:
    """Say what changed since the earlier snapshot, and why.

    ``told`` is the report of that snapshot as it was written then, as `Report.to_dict` gives it.
    """
    title = "What changed since last quarter"
    if earlier is None:
        only = "There is only one snapshot: name the one before to see what changed."
        return Section("changes", title, [only])
    was, now = (s.provenance.quarter for s in (earlier, scores))
    checks = changed_checks(scores, earlier)
    kinds = checks["kind"].value_counts()
    text = [
        f"Both snapshots ({was} and {now}) were scored by the same policy "
        f"({scores.provenance.policy_hash}) and the same reference facts, so every difference "
        f"below is the fleet's ({kinds.get('fleet', 0)} answers changed) or the evidence's "
        f"({kinds.get('evidence', 0)} became known or unknown)."
    ]
    parts: list[Part] = [
        Table(
            "label-changes",
            f"Labels that changed between {was} and {now}",
            [
                NAME,
                Column("before", f"Label in {was}", "label"),
                Column("after", f"Label in {now}", "label"),
                Column("because", "Because of"),
                Column("why", "Why it has this label"),
            ],
            label_changes(scores, earlier),
            "The fleet: an answer to a check is another one, the calendar included (support that "
            "ended, a test that aged). The evidence: an answer became known or unknown. Its "
            "rivals: neither, but its place among the candidates.",
            "Every service kept its label.",
        ),
        drawn(
            "quarter-change", "Hollow: before; filled: now. Equal services are counted."
        ),
        Table(
            "check-changes",
            "Answers behind them",
            [NAME, Column("changes", "Checks that changed")],
            by_service(checks),
            empty="No answer changed.",
            limit=60,
            is_folded=True,
        ),
        _rows(scores, earlier),
    ]
    if told is not None:
        text.append(_measured_anew(earlier, told))
        parts.insert(1, _told_then(earlier, told))
    return Section("changes", title, text, parts)


def _rows(scores: Assessment, earlier: Assessment) -> Table:
    """Count the rows of the inventory that came, went and changed."""
    fleet = scores.inventory.diff(earlier.inventory)
    counts = pd.crosstab(fleet["frame"], fleet["change"]).reindex(
        columns=["added", "removed", "changed"], fill_value=0
    )
    return Table(
        "fleet-changes",
        "Rows of the inventory that changed",
        [
            Column("frame", "Frame"),
            *(Column(c, c.capitalize(), "number") for c in counts),
        ],
        counts.reset_index(),
        "Cells changed are counted one by one.",
        "The two snapshots hold the same rows.",
        is_folded=True,
    )


def _measured_anew(earlier: Assessment, told: Mapping[str, Any]) -> str:
    """Say whether the earlier quarter was told by another policy, facts or version then."""
    now = earlier.provenance.to_dict()
    other = [words for key, words in MEASURES.items() if told.get(key) != now[key]]
    changed_n, n = len(_relabelled(earlier, told)), len(earlier.what_next.frame)
    quarter = earlier.provenance.quarter
    if not other:
        return f"The report of {quarter} was told by the same policy, facts and version."
    what = " and ".join(filter(None, [", ".join(other[:-1]), other[-1]]))
    return (
        f"Since the report of {quarter} was told, {what} changed: by what holds today, "
        f"{changed_n} of its {n} services would have had another label then."
    )


def _told_then(earlier: Assessment, told: Mapping[str, Any]) -> Table:
    quarter = earlier.provenance.quarter
    return Table(
        "measure-changes",
        f"Labels of {quarter} that the policy, the reference facts or the version changed",
        [
            NAME,
            Column("told", "As told then", "label"),
            Column("now", "By what holds today", "label"),
        ],
        _relabelled(earlier, told),
        empty=f"Every label of {quarter} is what was told then.",
        is_folded=True,
    )


def _relabelled(earlier: Assessment, told: Mapping[str, Any]) -> pd.DataFrame:
    rows = told.get("scores", {}).get("what-next", [])
    then = pd.Series(
        {row["service_id"]: row["label"] for row in rows}, name="told", dtype="str"
    )
    both = pd.concat(
        [then, earlier.what_next.frame["label"].rename("now")], axis=1, join="inner"
    )
    both = both[both["told"] != both["now"]].rename_axis("service_id")
    return both.sort_index().reset_index()


def label_changes(scores: Assessment, earlier: Assessment) -> pd.DataFrame:
    """List services whose label changed, that came, or that went, by name."""
    now = scores.what_next.frame[["label", "why"]].rename(columns={"label": "after"})
    was = earlier.what_next.frame["label"].rename("before")
    both = now.join(was, how="outer").rename_axis("service_id").sort_index()
    both["why"] = both["why"].astype(object)
    both.loc[~both.index.isin(now.index), "why"] = "no longer in the inventory"
    new = ~both.index.isin(was.index)
    both.loc[new, "why"] = "new in the inventory; " + both.loc[new, "why"].astype(object)
    same = (both["before"].astype(object) == both["after"].astype(object)).to_numpy(
        dtype=bool
    )
    table = both[~same].reset_index()
    changed = pd.concat(
        [changed_checks(scores, earlier), _changed(scores, earlier, "gate")]
    )
    table["because"] = [
        _because(service_id, changed) for service_id in table["service_id"]
    ]
    moved = table["before"].isna() | table["after"].isna()
    inside = [s.what_next.frame["p_top"].isna() for s in (scores, earlier)]
    crossed = inside[0].reindex(table["service_id"]) != inside[1].reindex(
        table["service_id"]
    )
    table.loc[moved | crossed.to_numpy(), "because"] = "the fleet"
    absent = {"before": "not there", "after": "gone"}
    return (
        table[["service_id", "before", "after", "because", "why"]]
        .astype(object)
        .fillna(absent)
    )


def _because(service_id: str, changed: pd.DataFrame) -> str:
    """Name what changed of a service."""
    kinds = changed.loc[changed["service_id"] == service_id, "kind"].unique()
    return (
        " and ".join(f"the {kind}" for kind in sorted(kinds, reverse=True))
        or "its rivals"
    )


@lru_cache(maxsize=1)
def changed_checks(scores: Assessment, earlier: Assessment) -> pd.DataFrame:
    """List the answers that changed for services that both quarters know.

    The ``kind`` is evidence where either answer is unknown, else fleet.
    """
    return _changed(scores, earlier, "check")


def _changed(scores: Assessment, earlier: Assessment, what: str) -> pd.DataFrame:
    """List the gates or checks whose state is another one."""
    key = ["service_id", what]
    now, was = (_states(s, what).set_index(key)["state"] for s in (scores, earlier))
    both = pd.DataFrame({"before": was, "after": now}).dropna()
    both = both[both["before"] != both["after"]].reset_index()
    unknown = both[["before", "after"]].isin(_OPEN).any(axis=1)
    both["kind"] = np.where(unknown, "evidence", "fleet")
    return both.sort_values(
        ["kind", *key], ascending=[False, True, True], ignore_index=True
    )


def _states(scores: Assessment, what: str) -> pd.DataFrame:
    table = scores.readiness.details["atoms" if what == "check" else "gates"]
    return table[["service_id", what, "state"]].astype({"state": "str"})


_OPEN = ["unknown", "conflict"]
_WAYS = {
    "better": "passes now",
    "worse": "fails now",
    "found": "became known",
    "lost": "became unknown",
    "starts": "applies now",
    "ends": "does not apply any more",
}
_NAMED = 5


def by_service(checks: pd.DataFrame) -> pd.DataFrame:
    """Word the answers that changed, one row per service."""
    before, after = checks["before"], checks["after"]
    ways = [
        after.isin(_OPEN),
        before.isin(_OPEN),
        after.eq("na"),
        before.eq("na") & after.eq("pass"),
        after.eq("pass") | before.eq("fail"),
    ]
    way = np.select(ways, ["lost", "found", "ends", "starts", "better"], "worse")
    kinds = checks.assign(way=pd.Categorical(way, list(_WAYS)))
    rows = [
        {"service_id": service_id, "changes": _worded(own)}
        for service_id, own in kinds.groupby("service_id", sort=True)
    ]
    return pd.DataFrame(rows, columns=["service_id", "changes"])


def _worded(own: pd.DataFrame) -> str:
    """Name the checks of each kind of change, or count them where they are many."""
    parts = []
    for way, found in own.groupby("way", observed=True)["check"]:
        named = ", ".join(found) if len(found) <= _NAMED else f"{len(found)} checks"
        parts.append(f"{_WAYS[way]}: {named}")
    return "; ".join(parts)
