"""The kubernetes source on a real API server, where ASSESS_TEST_KUBE_API names one.

ASSESS_TEST_KUBE_TOKEN and ASSESS_TEST_KUBE_CA may name the files of its token and authority. The
account needs what `assess sources kubernetes --policy` grants, and nothing else.
"""

import os
from pathlib import Path

import pandas as pd
import pytest

from assess import frames
from assess.sources.base import Asked
from assess.sources.deadline import Deadline
from assess.sources.http import open_web
from assess.sources.kubernetes import RESOURCES, KubernetesSource
from assess.sources.values import dicts, text

SERVER = os.environ.get("ASSESS_TEST_KUBE_API", "")
pytestmark = pytest.mark.skipif(
    not SERVER, reason="ASSESS_TEST_KUBE_API names no API server"
)


@pytest.fixture(scope="module")
def options() -> dict[str, str]:
    given = {
        "token_file": os.environ.get("ASSESS_TEST_KUBE_TOKEN"),
        "ca": os.environ.get("ASSESS_TEST_KUBE_CA"),
    }
    return {"endpoint": SERVER, **{name: value for name, value in given.items() if value}}


CALLS = [
    *(listing.kind for listing in RESOURCES),
    "kubelet settings",
    "kubeadm settings",
    "objects",
]


def answers(batch):
    """Return the rows of the questions that were asked; notes on what they say come last."""
    assert all(row.get("requests") is None for row in batch.coverage[len(CALLS) :])
    return batch.coverage[: len(CALLS)]


def served(options) -> set[str]:
    """Return the lists that the server has, by its own word."""
    with open_web(Asked(options, Path.cwd(), Deadline(60))) as web:
        places = ["api/v1"]
        for group in dicts(web.json("apis"), "groups"):
            places += [
                f"apis/{text(v, 'groupVersion')}" for v in dicts(group, "versions")
            ]
        return {
            f"{place}/{text(resource, 'name')}"
            for place in places
            for resource in dicts(web.json(place), "resources")
        }


def test_every_list_that_the_server_has_is_read(options):
    batch = KubernetesSource().collect(options, Path.cwd(), Deadline(120))
    rows = {row["call"]: row for row in answers(batch)}
    assert list(rows) == CALLS
    lists = served(options)
    for listing in RESOURCES:
        has_list = not lists.isdisjoint(listing.paths)
        expected = ("ok", "empty") if has_list else ("unsupported",)
        assert rows[listing.kind]["status"] in expected, rows[listing.kind]
    for row in rows.values():
        assert row["requests"] >= 1 and (row["status"] in ("ok", "empty") or row["hint"])
    # a cluster without kubeadm has none of its settings
    for call in ("kubelet settings", "kubeadm settings"):
        assert rows[call]["status"] in ("ok", "unsupported"), rows[call]


def test_what_every_cluster_has_is_there(options):
    batch = KubernetesSource().collect(options, Path.cwd(), Deadline(120))
    rows = {row["call"]: row for row in answers(batch)}
    assert rows["services"]["rows"] >= 1  # that of the API itself
    assert rows["objects"]["status"] == "ok"
    kinds = {row["kind"] for row in batch.rows["objects"]}
    assert {"ClusterRole", "ClusterRoleBinding", "PriorityClass"} <= kinds
    names = {row["name"] for row in batch.rows["objects"] if row["kind"] == "ClusterRole"}
    assert "cluster-admin" in names
    for name, rows in batch.rows.items():
        _, problems = frames.conform(name, pd.DataFrame(rows))
        assert problems.empty, problems


def test_a_probe_sees_the_same(options):
    found = KubernetesSource().probe(options, Path.cwd(), Deadline(60))
    whole = KubernetesSource().collect(options, Path.cwd(), Deadline(120))
    assert not found.rows
    seen = [row["status"] for row in answers(whole)]
    assert [row["status"] for row in answers(found)] == seen


def test_a_wrong_token_is_denied(options, tmp_path):
    (tmp_path / "token").write_text("no-such-token")
    wrong = {**options, "token_file": str(tmp_path / "token")}
    found = KubernetesSource().collect(wrong, Path.cwd(), Deadline(60))
    assert "no-such-token" not in repr(found)
    assert {row["status"] for row in found.coverage} == {"denied"}
    assert not any(found.rows.values())
