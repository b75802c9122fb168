"""Refusals of a target: blockers in the comparison, gates in a ranking for one target."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assess.policy.policy import Policy
from assess.score.evidence import Evidence, View, combine
from assess.score.targets.cost import CPU, FULL_HOURS, GIB, MEMORY, PEAKS

Floats = NDArray[np.float64]
Row = Mapping[str, Any]
# a refusal that nothing mends excludes what is on a host; what runs in containers stays in them
GATES = (
    ("T1", "NEVER", False, " and not inside"),
    ("T2", "HOLD", False, " and inside"),
    ("T3", "PREPARE", True, ""),
)
GATE_IDS = tuple(gate for gate, *_ in GATES)
REFUSED = r"\bT[13]: "  # in the reason of a label
CLEAR = "has nothing that the target refuses"


class Refusal(NamedTuple):
    """A property that a target refuses; ``holds`` by service: 1 has it, 0 has not, NaN unknown."""

    says: str
    fact: str
    is_fixable: bool
    holds: Floats


class Size(NamedTuple):
    """The limit of a resource per replica at a target, and the columns with the need for it."""

    what: str
    most: str
    unit: int
    columns: tuple[str, ...]
    of_host: str
    is_compressible: bool  # a replica that wants more is slowed, not ended


SIZES = (
    Size("memory", "memory_gib_max", GIB, MEMORY, "memory_bytes", is_compressible=False),
    Size("CPU", "cpu_max", 1, CPU, "vcpus", is_compressible=True),
)


def refusals(
    policy: Policy,
    evidence: Evidence,
    target: Row,
) -> list[Refusal]:
    """Return the refusals of a target, in the order of the policy, sizes last."""
    found = []
    for row in policy["refusal"]:
        if row["id"] in target["refuses"]:
            holds = evidence.exists(row["table"], row["rule"])
            says = f"{row['id']}: {row['says']}"
            found.append(Refusal(says, row["fact"], row["fixable"], holds))
    for size in SIZES:
        if target[size.most]:
            holds = _too_large(evidence, size, target[size.most] * size.unit)
            says = f"{size.what}: it needs more than a replica gets there"
            fact = f"how much {size.what} it needs (workloads.{size.columns[-1]})"
            found.append(Refusal(says, fact, is_fixable=False, holds=holds))
    return found


def _too_large(
    evidence: Evidence,
    size: Size,
    most: float,
) -> Floats:
    """Return by service 1 where a container needs more, 0 where none can, NaN where unknown."""
    # A limit, the host, or a peak over long enough say what it cannot exceed; a request
    # says so only of what is compressible.
    view = evidence.views["workloads"]
    table = view.table
    usual, request, limit = (_numbers(table[name]) for name in size.columns)
    peak = _numbers(table[PEAKS[size.columns[0]]])
    hours = _numbers(table["usage_window_hours"])
    is_long = hours >= FULL_HOURS
    host = _of_host(evidence, size.of_host)
    # a proof that it fits comes before a sign that it does not
    can_be_no_more = (limit <= most) | (host <= most) | (is_long & (peak <= most))
    can_be_no_more |= (request <= most) & size.is_compressible
    is_more = (request > most) | (limit > most) | (is_long & (usual > most))
    holds = np.select([can_be_no_more, is_more], [0.0, 1.0], np.nan)
    certain = view.certain(holds, np.ones(len(table), dtype=bool))
    return combine(view.codes, certain, n=len(evidence.services), how="any")


def _of_host(evidence: Evidence, column: str) -> Floats:
    """Return by workload the amount of a resource on its host."""
    hosts = evidence.views["hosts"].table.dropna(subset="host_id")
    by_host = hosts.groupby("host_id")[column].max()
    return _numbers(evidence.views["workloads"].table["host_id"].map(by_host))


def _numbers(cells: pd.Series) -> Floats:
    return cells.astype("Float64").to_numpy(float, na_value=np.nan)


def refusal_gates(found: Sequence[Refusal]) -> list[dict[str, Any]]:
    """Return refusals as gates, over the columns of `with_refusals`."""
    gates = []
    for gate, label, is_fixable, where in GATES:
        reasons = [
            {
                "table": "services",
                "rule": f"refused_{at}{where}",
                "says": refusal.says,
                "fact": refusal.fact,
            }
            for at, refusal in enumerate(found)
            if refusal.is_fixable == is_fixable
        ]
        row = {"id": gate, "label": label, "clear": CLEAR, "reasons": reasons}
        gates.append({**row, "fails_when": "any"})
    return [gate for gate in gates if gate["reasons"]]


def with_refusals(
    evidence: Evidence,
    found: Sequence[Refusal],
    inside: pd.Series,
) -> Evidence:
    """Return evidence with columns of services for refusals, and for running in containers."""
    columns: dict[str, Any] = {
        f"refused_{at}": pd.array(refusal.holds, dtype="Float64").astype("boolean")
        for at, refusal in enumerate(found)
    }
    columns["inside"] = inside.reindex(evidence.services).astype("boolean")
    added = pd.DataFrame(columns, evidence.services)
    table = evidence.views["services"].table
    whole = table.join(added, on="service_id")
    views = {**evidence.views, "services": View.of(evidence.services, whole)}
    return Evidence(evidence.services, views, evidence.at)
