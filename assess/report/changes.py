"""What changed between two quarters, and whether the fleet changed or only what is known of it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd

from assess.report.scores import Scores


def label_changes(scores: Scores, earlier: Scores) -> pd.DataFrame:
    """List services whose label changed, that came, or that went, by name."""
    now = scores.ranking.frame[["label", "why"]].rename(columns={"label": "after"})
    was = earlier.ranking.frame["label"].rename("before")
    both = now.join(was, how="outer").rename_axis("service_id").sort_index()
    both["why"] = both["why"].astype(object)
    both.loc[~both.index.isin(now.index), "why"] = "no longer in the inventory"
    new = ~both.index.isin(was.index)
    both.loc[new, "why"] = "new in the inventory; " + both.loc[new, "why"].astype(object)
    same = (both["before"].astype(object) == both["after"].astype(object)).to_numpy(dtype=bool)
    table = both[~same].reset_index()[["service_id", "before", "after", "why"]]
    absent = {"before": "not there", "after": "gone"}
    return table.astype(object).fillna(absent)


@lru_cache(maxsize=1)
def changed_checks(scores: Scores, earlier: Scores) -> pd.DataFrame:
    """List the answers that changed for services that both quarters know.

    The ``kind`` is evidence where either answer is unknown, else fleet.
    """
    key = ["service_id", "check"]
    now, was = (_answers(s).set_index(key)["answer"] for s in (scores, earlier))
    both = pd.DataFrame({"before": was, "after": now}).dropna()
    both = both[both["before"] != both["after"]].reset_index()
    unknown = both[["before", "after"]].isin(["unknown", "conflict"]).any(axis=1)
    both["kind"] = np.where(unknown, "evidence", "fleet")
    return both.sort_values(["kind", *key], ascending=[False, True, True], ignore_index=True)


_WAYS = {
    "better": "passes now",
    "worse": "fails now",
    "found": "became known",
    "lost": "became unknown",
    "starts": "applies now",
    "ends": "does not apply any more",
}
_OPEN = ["unknown", "conflict"]
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


def _answers(scores: Scores) -> pd.DataFrame:
    atoms = scores.readiness.details["atoms"]
    answers = atoms[["service_id", "check", "state"]].rename(columns={"state": "answer"})
    return answers.astype({"answer": "str"})
