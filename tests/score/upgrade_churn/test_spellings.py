"""One fact, many spellings: how a fleet is written down changes nothing of what is said of it.

Every spelling of some cases of the replay stands in one inventory, under a name of its own, so that
this also shows that neighbours do not matter.
"""

from __future__ import annotations

import re
from collections import defaultdict

import numpy as np
import pandas as pd
import pytest
from test_replay import CASES, FLEET, foretold, tables

from assess import from_frames, load
from assess.image_ref import parse_image
from assess.store import write_snapshot

AT = "2026-09-30T00:00:00Z"
SEED = 20
DIGEST = "sha256:" + "ab" * 32
COMMANDS = {
    "docker": "Docker version {}, build 297e128",
    "containerd": "containerd github.com/containerd/containerd v{} 9cd3357b7fd7",
    "cri-o": "crio version {}",
    "podman": "podman version {}",
}
PRETTY = {
    "ubuntu": "Ubuntu {} LTS",
    "debian": "Debian GNU/Linux {} (its name)",
    "centos": "CentOS Linux release {} (Core)",
    "rhel": "Red Hat Enterprise Linux release {} (Ootpa)",
    "amazon": "Amazon Linux {}",
    "amzn": "Amazon Linux {} (Karoo)",
    "amazon-linux": "Amazon Linux {}",
    "fedora": "Fedora Linux {} (Server Edition)",
    "rocky": "Rocky Linux {} (Blue Onyx)",
    "windows-server": "Windows Server {} Datacenter",
}
ASKED = [
    (target, by, rows[FLEET.columns])
    for (target, by), rows in FLEET.merge(CASES, on="case").groupby(["target", "by"])
]
RANDOM = np.random.default_rng(SEED)
DAYS, TARGETS = ([asked for asked in ASKED if asked[place]] for place in (1, 0))
SAMPLE = [
    group[i]
    for group, number in ((DAYS, 4), (TARGETS, 11))
    for i in RANDOM.choice(len(group), number, replace=False)
]


def each(frame, column, write):
    """Return a spelling that writes the known cells of one column anew."""

    def respell(frames):
        for row in frames[frame] or []:
            if row.get(column):
                row[column] = write(row[column], row)

    return respell


def version(write):
    """Return a spelling of the versions of engines that are plain numbers."""
    return each("engines", "version", plain(write))


def kubelet(write):
    return each("engines", "kubelet_version", plain(write))


def plain(write):
    """Return a spelling of bare versions; one that has a suffix already keeps it."""

    def rewrite(text, row):
        bare = re.fullmatch(r"v?([\d.]+)", text)
        return write(bare[1], row) if bare else text

    return rewrite


def image(write):
    return each("workloads", "image_ref", lambda ref, _: write(ref))


def on_hub(host):
    """Return a spelling of the images on Docker Hub by another name of it."""

    def rewrite(ref):
        found = parse_image(ref)
        if found.registry != "docker.io":
            return ref
        return f"{host}/{ref.removeprefix('docker.io/')}"

    return image(rewrite)


def in_columns(frames):
    """Name each image in columns of its own."""
    for row in frames["workloads"]:
        found = parse_image(row["image_ref"])
        if found.repository:
            del row["image_ref"]
            known = {k: v for k, v in found.columns().items() if v is not None}
            row.update({k: v for k, v in known.items() if k not in row})


def system(name):
    """Return a spelling of systems whose name holds the version too."""

    def respell(frames):
        for row in frames["hosts"]:
            if row["os_name"] and row["os_version"]:
                row["os_name"] = name(row["os_name"], row["os_version"])
                row["os_version"] = None

    return respell


SPELLINGS = {
    "as it is": lambda frames: None,
    "image of docker.io": on_hub("docker.io"),
    "image of index.docker.io": on_hub("index.docker.io"),
    "image of the port": on_hub("registry-1.docker.io:443"),
    "image by its transport": image("docker://{}".format),
    "image with spaces": image(" {} ".format),
    "image in columns": in_columns,
    "engine v": version(lambda text, _: f"v{text}"),
    "engine of Debian": version(lambda text, _: f"{text}+dfsg1"),
    "engine of a package": version(lambda text, _: f"5:{text}~3-0~debian-bookworm"),
    "engine -ce": version(lambda text, _: f"{text}-ce"),
    "engine of a command": version(lambda v, row: COMMANDS[row["runtime"]].format(v)),
    "engine of a node": version(lambda text, row: f"{row['runtime']}://{text}"),
    "kubelet v": kubelet(lambda text, _: f"v{text}"),
    "kubelet of a command": kubelet(lambda text, _: f"Kubernetes v{text}"),
    "kubelet of a package": kubelet(lambda text, _: f"{text}-1.1"),
    "pretty system": system(lambda n, v: PRETTY.get(n, n + " {}").format(v)),
    "system as an image": system("{}:{}".format),
    "system of a label": system("{}-{}".format),
    "system in one word": system("{}{}".format),
    "cgroup v": each("hosts", "cgroup_version", lambda text, _: f"v{text[-1]}"),
    "driver of Info": each("engines", "storage_driver", lambda text, _: text.title()),
    "day with a zone": each("workloads", "created_at", lambda d, _: f"{d}T02:00+02:00"),
    "day of pandas": each("workloads", "created_at", lambda d, _: pd.Timestamp(d)),
}


def named(rows, spelling):
    """Return workloads under names of their own, and clusters likewise."""
    mark = f"{spelling}|"
    found = tables(rows.assign(case=mark + rows["case"]))
    for frame in ("workloads", "objects"):
        each(frame, "cluster", lambda cluster, _: mark + cluster)(found)
    return found


def answers(inventory, target, by):
    """Return what is said of each workload by its spelling."""
    found = foretold(inventory, target, by)
    said = defaultdict(set)
    for workload, change, certainty in found[
        ["workload_id", "change", "certainty"]
    ].itertuples(index=False):
        spelling, _, name = str(workload).rpartition("|")
        said[spelling].add((name, change, certainty))
    return said


def inventory_of(frames):
    known = {name: pd.DataFrame(rows) for name, rows in frames.items() if len(rows)}
    return from_frames(known, snapshot_at=AT)


def test_no_spelling_of_a_row_changes_the_answer():
    wrong = []
    some = 0
    for target, by, rows in SAMPLE:
        together = defaultdict(list)
        for spelling, respell in SPELLINGS.items():
            frames = named(rows, spelling)
            respell(frames)
            for name, found in frames.items():
                together[name] += found or []
        said = answers(inventory_of(together), target, by)
        expected = said["as it is"]
        some += len(expected)
        wrong += [
            (target, by, spelling, sorted(said[spelling] ^ expected))
            for spelling in SPELLINGS
            if said[spelling] != expected
        ]
    assert not wrong, wrong
    assert some >= 10  # or nothing was asked


def with_strangers(frames):
    """Add hosts, engines, workloads and incidents that have nothing to do with the others."""
    strange = {
        "hosts": [{"host_id": "x1", "os_name": "centos", "os_version": "7"}],
        "services": [{"service_id": "x", "platform": "docker"}],
        "engines": [
            {"host_id": "x1", "runtime": runtime, "version": "1.13.1"}
            for runtime in ("docker", "containerd", "cri-o", "podman")
        ],
        "workloads": [
            {
                "workload_id": f"x{ref}",
                "service_id": "x",
                "host_id": "x1",
                "image_ref": ref,
                "docker_sock_mounted": True,
            }
            for ref in ("traefik:v2.9", "debian:8", "k8s.gcr.io/pause:3.2")
        ],
        "incidents": [{"incident_id": "x", "service_id": "x", "opened_at": AT}],
    }
    parts = {
        name: [pd.DataFrame(rows), frames.get(name, pd.DataFrame())]
        for name, rows in strange.items()
    }
    return frames | {name: pd.concat(pair) for name, pair in parts.items()}


def as_type(dtype):
    def rewrite(frames):
        return {
            name: table.apply(
                lambda cells: cells.astype(dtype) if cells.dtype == "str" else cells
            )
            for name, table in frames.items()
        }

    return rewrite


def on_every(change):
    return lambda frames: {name: change(table) for name, table in frames.items()}


SHAPES = {
    "in another order": on_every(lambda table: table.sample(frac=1, random_state=SEED)),
    "with an index": on_every(lambda table: table.set_axis(["i"] * len(table))),
    "as objects": as_type("object"),
    "as categories": as_type("category"),
    "as nullable types": on_every(lambda table: table.convert_dtypes()),
    "of Arrow": on_every(lambda table: table.convert_dtypes(dtype_backend="pyarrow")),
    "with nothing to say": on_every(lambda table: table.dropna(axis=1, how="all")),
    "with strangers": with_strangers,
    "without services": lambda frames: {k: frames[k] for k in frames if k != "services"},
}


@pytest.fixture(scope="module")
def plainly():
    """Return cases with the frames of each, and what is said of them."""
    kept = []
    for target, by, rows in SAMPLE[2::5]:
        found = {name: pd.DataFrame(r) for name, r in tables(rows).items() if r}
        said = answers(from_frames(found, snapshot_at=AT), target, by)
        kept.append((target, by, found, said[""]))
    return kept


def about(said):
    return {answer for answer in said if "/" in answer[0]}  # of cases, not of strangers


@pytest.mark.parametrize("shape", SHAPES)
def test_no_shape_of_the_frames_changes_the_answer(plainly, shape):
    for target, by, frames, expected in plainly:
        made = from_frames(SHAPES[shape](frames), snapshot_at=AT)
        assert about(answers(made, target, by)[""]) == about(expected), (target, by)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_what_is_written_and_read_back_gives_the_same_answer(plainly, form, tmp_path):
    for number, (target, by, frames, expected) in enumerate(plainly):
        made = from_frames(frames, snapshot_at=AT)
        place = write_snapshot(made, tmp_path / f"{number}", format=form)
        assert answers(load(place), target, by)[""] == expected, (target, by)


def test_a_case_alone_is_told_what_it_is_told_among_others(plainly):
    whole = pd.concat([rows for _, _, rows in SAMPLE[2::5]])
    together = inventory_of({k: v or [] for k, v in tables(whole).items()})
    for target, by, frames, expected in plainly:
        own = set(frames["workloads"]["workload_id"])
        among = {
            answer for answer in answers(together, target, by)[""] if answer[0] in own
        }
        assert among == about(expected)
