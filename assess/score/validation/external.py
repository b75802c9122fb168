"""Judge predictions on external data: a table of dependencies and one of failures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from pandas import DataFrame

from assess.errors import AssessError
from assess.frames import EXTERNAL, Frames, columns
from assess.inventory import Inventory, from_frames
from assess.policy import Policy
from assess.score.blast_radius.blast_radius import score_blast_radius
from assess.score.blast_radius.failures import ids
from assess.score.validation import CHECKS

EDGE = ["src_id", "dst_id", "kind", "evidence"]
NAMES = ("element", "affected_services", "observed_services")
# how published fault injections name the kinds of fault
FAULTS = pd.read_csv(Path(__file__).with_name("faults.csv"), index_col="word")["fault"]


def judge_outside(
    dependencies: DataFrame,
    experiments: DataFrame,
    policy: Policy,
    *,
    aliases: Mapping[str, str] | None = None,
) -> Frames:
    """Compare predictions with simpler rules on external data.

    Parameters
    ----------
    dependencies : DataFrame
        ``src_id, dst_id``, perhaps ``kind`` (else call), ``evidence``, ``p``.
    experiments : DataFrame
        ``element`` (a service) and ``affected_services`` (joined by ";"), perhaps
        ``observed_services``, ``fault`` and ``experiment_id``. With nobody affected and somebody
        observed, nothing else went down.
    policy : Policy
        The policy.
    aliases : mapping, optional
        Other names in either table, and the services that they stand for.

    Returns
    -------
    dict of str to DataFrame
        ``skill``: average precision, Brier score and log-loss by rule, with and without what failed
        itself; ``comparisons``: paired differences with intervals; ``reliability``; ``predicted``:
        what each rule said of each pair; ``precision``, ``precision_curve``; ``learned_judged``
        with its verdict; ``calibration_measures``, which names samples; ``used``: how many rows of
        each table were used. All services weigh the same. What is learned is judged with each
        failure left out, and with each element.

    Raises
    ------
    AssessError
        Where a column is missing or a cell breaks the data dictionary.
    """
    known = dict(aliases or {})
    edges = _edges(dependencies, known)
    faults = _faults(experiments, known)
    inventory = _inventory(edges, faults)
    result = score_blast_radius(inventory, policy, detail=False)
    tables = {name: result.details[name] for name in CHECKS if name != "calibration"}
    edges_n = edges["src_id"].ne(edges["dst_id"]).sum()
    judged_n = tables["predicted"]["event_id"].nunique()
    n = len(experiments)
    used = [
        ("dependencies", len(dependencies), edges_n),
        ("experiments", n, len(result.details["calibration"])),
        ("experiments judged", n, judged_n),
    ]
    tables["used"] = DataFrame(used, columns=["table", "given_n", "used_n"])
    return tables


def _edges(dependencies: DataFrame, aliases: Mapping[str, str]) -> DataFrame:
    """Return the distinct dependencies, with defaults for missing columns."""
    usual = {"kind": "call", "evidence": "outside"}
    edges = _completed("dependencies", dependencies, ["src_id", "dst_id"], usual)
    edges = edges.dropna(subset=["src_id", "dst_id"])
    for name in ("src_id", "dst_id"):
        edges[name] = edges[name].replace(aliases)
    return edges.drop_duplicates(EDGE)


def _faults(experiments: DataFrame, aliases: Mapping[str, str]) -> DataFrame:
    usual = {
        "experiment_id": [f"x{number:06}" for number in range(len(experiments))],
        "element_kind": "service",
        "started_at": "2000-01-01",
        "observed_services": pd.NA,
        "fault": "unknown",
    }
    needed = ["element", "affected_services"]
    faults = _completed("experiments", experiments, needed, usual)
    faults = faults.dropna(subset=["element"])
    for name in NAMES:
        faults[name] = [
            text if pd.isna(text) else ";".join(ids(text, aliases))
            for text in faults[name]
        ]
    # nobody affected is an answer where it is known who was observed
    is_none = faults["affected_services"].fillna("").eq("")
    faults["affected_services"] = faults["affected_services"].mask(is_none)
    words = faults["fault"].str.strip().str.lower()
    words = words.replace(FAULTS.to_dict())
    known = columns("experiments")["fault"].vocabulary
    faults["fault"] = words.where(words.isin(known), "unknown")
    return faults


def _inventory(edges: DataFrame, faults: DataFrame) -> Inventory:
    lists = pd.concat([faults["affected_services"], faults["observed_services"]])
    named = lists.dropna().map(ids).explode()
    services = pd.concat([edges["src_id"], edges["dst_id"], faults["element"], named])
    services = services.dropna().drop_duplicates().sort_values()
    services = services[services.ne("") & ~services.str.startswith(EXTERNAL)]
    frames = {
        "services": DataFrame({"service_id": services, "criticality": 1.0}),
        "dependencies": edges,
        "experiments": faults,
    }
    return from_frames(frames, snapshot_at="2000-01-02")


def _completed(
    name: str, table: DataFrame, needed: list[str], usual: dict[str, Any]
) -> DataFrame:
    """Return an external table as text, with defaults for missing values."""
    missing = [column for column in needed if column not in table.columns]
    if missing:
        hint = f"it needs {' and '.join(needed)}"
        raise AssessError(f"the table of {name} has no column {missing[0]!r}", hint=hint)
    table = table.reset_index(drop=True).astype("string")
    defaults = DataFrame(usual, index=table.index).astype("string")
    return table.combine_first(defaults)
