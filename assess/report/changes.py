"""Changes between two quarters by cause, and the labels of all quarters."""

from collections.abc import Mapping
from functools import lru_cache, partial
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

from assess import figures
from assess.errors import counted
from assess.report.model import (
    Column,
    Part,
    Section,
    columns_of,
    picture,
    picture_of,
    table_of,
)
from assess.score.assessment import Assessment
from assess.score.incidents import in_containers
from assess.words import sentence_list

Published = Mapping[str, Any]
KEPT = ["label", "readiness", "readiness_lo", "readiness_hi"]
MEASURES = {
    "policy_hash": "the policy",
    "reference_date": "the reference facts",
    "version": "the version of assess",
}


ONLY_ONE = "There is only one snapshot; with a second one, the report shows what changed."


def changes(scores: Assessment, *, published: Published | None) -> Section:
    """Return the section on changes; ``published`` is the earlier report, from `Report.to_dict`."""
    earlier = scores.earlier
    if earlier is None:
        return Section("changes", "What changed", [ONLY_ONE])
    was, now = scores.provenance.since(earlier.provenance)
    checks = changed_checks(scores, earlier)
    kinds = checks["kind"].value_counts()
    text = [
        f"Both snapshots ({was} and {now}) use the same policy "
        f"({scores.provenance.policy_hash}) and the same reference facts. Every difference below "
        f"comes from the fleet ({counted(kinds.get('fleet', 0), 'answer')} changed) or from the "
        f"evidence ({counted(kinds.get('evidence', 0), 'answer')} became known or unknown)."
    ]
    parts: list[Part] = [
        table_of("label-changes", label_changes(scores, earlier), was=was, now=now),
        picture_of("quarter-change", scores, earlier.readiness, was=was, now=now),
        table_of("check-changes", by_service(checks)),
        table_of("fleet-changes", _rows(scores, earlier)),
    ]
    if published is not None:
        text.append(_comparison(earlier, published))
        relabelled = _relabelled(earlier, published)
        parts.insert(1, table_of("measure-changes", relabelled, was=was))
    return Section("changes", f"What changed since {was}", text, parts)


def _rows(scores: Assessment, earlier: Assessment) -> DataFrame:
    """Count the rows of the inventory that were added, removed or changed."""
    fleet = scores.inventory.diff(earlier.inventory)
    counts = pd.crosstab(fleet["frame"], fleet["change"])
    ways = ["added", "removed", "changed"]
    return counts.reindex(columns=ways, fill_value=0).reset_index()


def _comparison(earlier: Assessment, published: Published) -> str:
    now = earlier.provenance.to_dict()
    changed = [key for key in MEASURES if published.get(key) != now[key]]
    changed_n = len(_relabelled(earlier, published))
    n = len(earlier.what_next.frame)
    quarter = earlier.provenance.quarter
    if not changed:
        return f"The report of {quarter} used the same policy, facts and version."
    what = sentence_list(MEASURES[key] for key in changed)
    return (
        f"Since the report of {quarter}, {what} changed. With today's, {changed_n} of its {n} "
        "services would have had another label."
    )


def _relabelled(earlier: Assessment, published: Published) -> DataFrame:
    scores = published.get("scores", {})
    rows = scores.get("what-next", [])
    labels = {row["service_id"]: row["label"] for row in rows}
    then = Series(labels, name="published", dtype="str")
    now = earlier.what_next.frame["label"].rename("now")
    both = pd.concat([then, now], axis=1, join="inner")
    both = both[both["published"] != both["now"]]
    return _named(both.sort_index())


def label_changes(scores: Assessment, earlier: Assessment) -> DataFrame:
    """List services whose label changed, or that were added or removed, by name."""
    now = scores.what_next.frame[["label", "why"]]
    now = now.rename(columns={"label": "after"})
    was = earlier.what_next.frame["label"].rename("before")
    both = now.join(was, how="outer").sort_index()
    both = both.rename_axis("service_id").astype(object)
    is_new = ~both.index.isin(was.index)
    is_gone = ~both.index.isin(now.index)
    both.loc[is_new, "why"] = "new in the inventory; " + both["why"]
    both.loc[is_gone, "why"] = "no longer in the inventory"
    checks = changed_checks(scores, earlier)
    gates = _changed(scores, earlier, "gate")
    kinds = pd.concat([checks, gates]).groupby("service_id")["kind"]
    causes = kinds.agg(_causes)
    both["because"] = causes.reindex(both.index).fillna("other candidates")
    # containers and candidates are labelled differently, so crossing over changes the label
    is_moved = both.index.isin(chain(*crossed(scores, earlier).values()))
    is_fleet = is_new | is_gone | is_moved
    both.loc[is_fleet, "because"] = "the fleet"
    relabelled = both[both["before"] != both["after"]].reset_index()
    columns = ["service_id", "before", "after", "because", "why"]
    absent = {"before": "not there", "after": "gone"}
    return relabelled[columns].astype(object).fillna(absent)


def crossed(scores: Assessment, earlier: Assessment) -> dict[str, pd.Index]:
    """Return the services that moved into and out of containers; both sides must be known."""
    sides = {}
    for name, one in (("was", earlier), ("now", scores)):
        platform = one.what_next.frame["platform"]
        is_known = platform.notna() & platform.ne("unknown")
        sides[name] = in_containers(platform).astype("boolean").where(is_known)
    both = DataFrame(sides).dropna().astype(bool)
    return {
        "Into": both.index[~both["was"] & both["now"]],
        "Out of": both.index[both["was"] & ~both["now"]],
    }


def _causes(kinds: Series) -> str:
    distinct = sorted(set(kinds), reverse=True)
    return " and ".join(f"the {kind}" for kind in distinct)


@lru_cache(maxsize=1)
def changed_checks(scores: Assessment, earlier: Assessment) -> DataFrame:
    """List answers that changed; ``kind`` is evidence if either is unknown, else fleet."""
    return _changed(scores, earlier, "check")


def _changed(scores: Assessment, earlier: Assessment, what: str) -> DataFrame:
    key = ["service_id", what]
    detail = "atoms" if what == "check" else "gates"
    states = {}
    for name, one in (("before", earlier), ("after", scores)):
        table = one.readiness.details[detail]
        states[name] = table.set_index(key)["state"].astype("str")
    both = DataFrame(states).dropna()
    both = both[both["before"] != both["after"]].reset_index()
    is_open = both[["before", "after"]].isin(_OPEN)
    both["kind"] = np.where(is_open.any(axis=1), "evidence", "fleet")
    is_rising = [False, True, True]
    return both.sort_values(["kind", *key], ascending=is_rising, ignore_index=True)


_OPEN = ["unknown", "conflict"]
_WAYS = {
    "better": "passes now",
    "worse": "fails now",
    "found": "became known",
    "lost": "became unknown",
    "starts": "applies now",
    "ends": "no longer applies",
}
_NAMED = 5


def by_service(checks: DataFrame) -> DataFrame:
    """Describe the answers that changed, one row per service."""
    before = checks["before"]
    after = checks["after"]
    conditions = [
        after.isin(_OPEN),
        before.isin(_OPEN),
        after.eq("na"),
        before.eq("na") & after.eq("pass"),
        after.eq("pass") | before.eq("fail"),
    ]
    way = np.select(conditions, ["lost", "found", "ends", "starts", "better"], "worse")
    kinds = checks.assign(way=pd.Categorical(way, list(_WAYS)))
    by_way = kinds.groupby(["service_id", "way"], observed=True)
    named = by_way["check"].agg(_names)
    ways = named.index.get_level_values("way").astype("str")
    texts = ways.map(_WAYS) + ": " + named
    changes = texts.groupby("service_id").agg("; ".join)
    return changes.rename("changes").reset_index()


def _names(checks: Series) -> str:
    """Name the checks of one kind of change, or count them if there are many."""
    return ", ".join(checks) if len(checks) <= _NAMED else f"{len(checks)} checks"


def of_scores(scores: Assessment) -> DataFrame:
    """Return ``label, readiness, readiness_lo, readiness_hi`` by service, from scores."""
    return scores.what_next.frame[KEPT].rename_axis("service_id")


def of_report(published: Published | None, scores: Assessment) -> DataFrame | None:
    """Return the same from a published report; None if its scores do not compare."""
    if not published:
        return None
    now = scores.provenance.to_dict()
    if any(published.get(key) != now[key] for key in (*MEASURES, "seed")):
        return None
    rows = DataFrame(published["scores"]["what-next"])
    return rows.set_index("service_id").reindex(columns=KEPT)


def history(past: Mapping[str, DataFrame]) -> Section:
    """Return the section on all quarters; – means that a service was not there."""
    quarters = list(past)
    labels = DataFrame({q: frame["label"] for q, frame in past.items()}, dtype="str")
    counts = labels.apply(Series.value_counts)
    counts = counts.reindex(figures.LABELS).fillna(0)
    counts = counts[counts.any(axis=1)].astype("int64")
    counts = counts.rename_axis("label").reset_index()
    bounds = []
    for quarter, frame in past.items():
        points = frame[KEPT[1:]].add_prefix(f"{quarter}_")
        bounds.append(points.rename(columns=lambda name: name.replace("_readiness", "")))
    readiness = pd.concat(bounds, axis=1)
    # who is gone comes last
    is_gone = labels[quarters[-1]].isna()
    order = is_gone.sort_values(kind="stable").index
    tables = {
        "labels-counted": (counts, "number"),
        "labels-by-quarter": (_named(labels.loc[order]), "label"),
        "readiness-by-quarter": (_named(readiness.reindex(order)), "interval"),
    }
    parts: list[Part] = [picture("history", partial(figures.history, labels))]
    for name, (frame, kind) in tables.items():
        by_quarter = [Column(q, q, kind, absent="–") for q in quarters]
        parts.append(table_of(name, frame, [*columns_of(name), *by_quarter]))
    return Section(
        "history",
        f"All quarters, {quarters[0]} to {quarters[-1]}",
        ["All quarters use the policy, the facts and the version of the last one."],
        parts,
    )


def _named(table: DataFrame) -> DataFrame:
    return table.rename_axis("service_id").reset_index()
