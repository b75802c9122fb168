"""Documented breaks, replayed: what the day before would have foretold.

`cases.csv` names the target, or the day, of each event with its public source; `fleet.csv` the
workloads of the day before and the changes that broke them, by the record. Those written after the
code are marked so.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from churn_fleet import POLICY, fleet

from assess import reference
from assess.score.upgrade_churn.breaking import breaks, goal_of
from assess.sources.unit import Unit, workload_row

ROOT = Path(__file__).parents[3]
CASES, FLEET = (
    pd.read_csv(ROOT / f"tests/fixtures/replay/{name}.csv", dtype="str").fillna("")
    for name in ("cases", "fleet")
)
KNOWN = ("runtime", "version", "storage_driver")
# the kinds of breaks that the rules were first asked for; of those in OPEN the fact that
# decides, such as the API of a client, is often unknown
FIRST = (
    *("cgroup v1", "client API", "dockershim", "ended controller", "image schema"),
    *("namespace", "removed API", "runtime", "storage driver"),
)
OPEN = ("client API", "runtime")
UNFORESEEN = "unforeseen"  # the cause of a break that no rule knows
UNTOLD = "open fact"  # no source tells what decides: `may` is the most that can be said
SOCKET = {"yes": True, "no": False, "": None}
FRAMES = ("services", "hosts", "engines", "workloads", "images", "objects", "mounts")
COLUMNS = [
    "broke",
    "named",
    "as will",
    "right cause",
    "went on",
    "false will",
    "false may",
]


def foretold(everything, target, by):
    """Return what the tool says of every workload: the cases of one target are asked at once."""
    goals = [goal_of(target)] if target else []
    found = breaks(everything, goals, by=by)
    return found[found["certainty"].isin(["will", "may"])]


def tables(rows):
    """Return the frames of some workloads: each has a host and a service of its own."""
    frames = {name: [] for name in FRAMES}
    for row in rows.to_dict("records"):
        row["workload"] = f"{row['case']}/{row['workload']}"
        name = row["workload"]
        place = {"host_id": name}
        system, _, line = row["system"].partition(" ")
        host = {"os_name": system, "os_version": line, "cgroup_version": row["cgroup"]}
        engine = {column: row[column] for column in KNOWN}
        engine["kubelet_version"] = row["kubelet"]
        frames["services"].append({"service_id": name})
        frames["hosts"].append(place | {k: v or None for k, v in host.items()})
        if row["runtime"]:
            frames["engines"].append(place | {k: v or None for k, v in engine.items()})
        known = more(row["more"])
        api = client_api(row["image"], known.pop("environment", {}))
        frames["workloads"].append(place | workload(row) | api)
        if row["schema"]:
            frames["images"].append(image(row) | place | {"schema": row["schema"]})
        if row["object"]:
            frames["objects"].append(an_object(row))
        for frame, found in known.items():
            if frame == "mounts":
                place_of = {"workload_id": name, "destination": "/data"}
                frames["mounts"].append(place_of | found)
            else:
                frames[frame][-1] |= found
    return {name: found or None for name, found in frames.items()}


def more(text):
    """Return what else is known, by frame: ``hosts.kernel=3.10``; a bar parts the words of a list."""
    found = {}
    for entry in filter(None, text.split(";")):
        place, _, value = entry.partition("=")
        frame, _, column = place.partition(".")
        found.setdefault(frame, {})[column] = value.replace("|", ";")
    return found


def workload(row):
    own = {
        "workload_id": row["workload"],
        "service_id": row["workload"],
        "state": "running",
        "image_ref": row["image"],
        "docker_sock_mounted": SOCKET[row["socket"]],
        "api_version": row["declared_as"] or None,
        "source_kind": "build" if row["build"] else "container",
    }
    if row["schema"]:
        known = image(row)
        own |= {"registry": known["registry"], "repository": known["repository"]}
        own |= {"image_digest": known["digest"]}
    return own


def client_api(image, environment):
    """Return what the sources read of the environment of a client."""
    unit = Unit((), "docker", image, tuple(environment.items()))
    return {"client_api_version": workload_row(unit)["client_api_version"]}


def image(row):
    repository = row["image"].partition(":")[0]
    digest = f"sha256:{row['workload']}"
    return {"registry": "docker.io", "repository": repository, "digest": digest}


def an_object(row):
    version, _, kind = row["object"].rpartition("/")
    return {
        "object_id": row["workload"],
        "service_id": row["workload"],
        "kind": kind,
        "api_version": version,
        "last_applied_api_version": row["applied_as"] or None,
    }


@pytest.fixture(scope="module")
def judged():
    """Every workload with what was said of it."""
    cases = FLEET.merge(CASES, on="case")
    # one fleet for each product: what is asked of one need not look at the others
    products = cases["target"].str.partition(":")[0]
    fleets = {name: fleet(**tables(part)) for name, part in cases.groupby(products)}
    parts = []
    for (target, by), asked in cases.groupby(["target", "by"]):
        said = foretold(fleets[target.partition(":")[0]], target, by)
        names = asked["case"] + "/" + asked["workload"]
        causes = said.groupby("workload_id")["change"].agg(set)
        will = said.loc[said["certainty"] == "will", "workload_id"]
        rows = asked.assign(will=names.isin(will))
        rows["may"] = names.isin(said["workload_id"]) & ~rows["will"]
        rows["right"] = [
            bool(set(broke.split("|")) & causes.get(name, set()))
            for name, broke in zip(names, rows["broke"], strict=True)
        ]
        parts.append(rows)
    return pd.concat(parts, ignore_index=True)


def counted(rows):
    broke = rows[rows["broke"] != ""]
    sound = rows[rows["broke"] == ""]
    named = broke["will"] | broke["may"]
    counts = [len(broke), named.sum(), broke["will"].sum(), broke["right"].sum()]
    counts += [len(sound), sound["will"].sum(), sound["may"].sum()]
    return dict(zip(COLUMNS, map(int, counts), strict=True))


def table_of(judged):
    """Return the table of the benchmarks: counts by class, and over all."""
    rows = {name: counted(part) for name, part in judged.groupby("class")}
    rows["all"] = counted(judged)
    lines = ["| class | " + " | ".join(COLUMNS) + " |", "|---|" + "---:|" * len(COLUMNS)]
    for name, counts in rows.items():
        lines.append(f"| {name} | " + " | ".join(map(str, counts.values())) + " |")
    return "\n".join(lines)


def test_what_broke_is_named_for_the_right_cause(judged):
    broke = judged[judged["broke"] != ""]
    missed = broke[~broke["right"]]
    assert len(missed) <= 0.05 * len(broke), missed[["case", "workload"]]
    is_open = broke["class"].eq(UNTOLD)
    assert broke.loc[is_open, ["may", "right"]].all(axis=None)
    assert broke.loc[~is_open, "will"].mean() >= 0.73
    first = broke[broke["class"].isin(FIRST)]
    assert first["will"].mean() >= 0.8
    decided = first[~first["class"].isin(OPEN)]
    assert decided.groupby("class")["will"].mean().min() >= 0.8


def test_what_went_on_is_hardly_warned_of(judged):
    sound = judged[judged["broke"] == ""]
    wrong = sound[sound["will"] | sound["may"]]
    assert not sound["will"].any(), wrong[["case", "workload"]]
    assert sound["may"].mean() <= 0.1, wrong[["case", "workload"]]


def test_every_case_names_what_broke_and_its_source(judged):
    known = set(reference.table("breaks")["change_id"])
    causes = {cause for cell in FLEET["broke"] for cause in cell.split("|") if cause}
    assert causes - {UNFORESEEN} <= known
    assert CASES["case"].is_unique
    assert set(FLEET["case"]) == set(CASES["case"])
    assert (CASES["source"] != "").all()
    assert (CASES["written"] == "after").sum() >= 3
    assert (CASES["written"] == "blind").sum() >= 50
    assert (CASES["written"] == "blind 2").sum() >= 25
    assert (CASES["written"] == "blind 3").sum() >= 30
    assert (CASES["written"] == "blind 4").sum() >= 30
    assert (CASES["written"] == "blind 5").sum() >= 40
    assert (CASES["written"] == "blind 6").sum() >= 50
    assert (CASES["written"] == "blind 7").sum() >= 55
    assert (CASES["written"] == "blind 8").sum() >= 85
    assert (CASES["written"] == "blind 9").sum() >= 100
    assert (CASES["written"] == "blind 10").sum() >= 70
    assert (CASES["written"] == "blind 11").sum() >= 45
    assert (CASES["written"] == "blind 12").sum() >= 30
    assert (CASES["written"] == "blind 13").sum() >= 17
    has_broken = judged.groupby("case")["broke"].agg(lambda cells: (cells != "").any())
    alarms = CASES.loc[CASES["class"] == "false alarm", "case"]
    assert has_broken.drop(alarms).all()


def test_the_benchmarks_show_the_table_of_the_replay(judged):
    text = (ROOT / ".github/BENCHMARKS.md").read_text(encoding="utf-8")
    assert table_of(judged) in text, table_of(judged)


def test_claims_divide_by_what_the_blind_sets_name():
    text = (ROOT / ".github/BENCHMARKS.md").read_text(encoding="utf-8")
    rows = [line.split("|")[3:5] for line in text.splitlines() if "| `blind" in line]
    broke, named = (sum(int(row[i]) for row in rows) for i in (0, 1))
    assert (
        len(rows)
        == CASES.loc[CASES["written"].str.startswith("blind"), "written"].nunique()
    )
    assert POLICY["claims"]["breaks_found"] == round(named / broke, 2)
