"""The kubernetes source on a real API server, where ASSESS_TEST_KUBE_API names one.

ASSESS_TEST_KUBE_TOKEN and ASSESS_TEST_KUBE_CA may name the files of its token and authority.
"""

import os
from pathlib import Path

import pandas as pd
import pytest

from assess import frames
from assess.sources.deadline import Deadline
from assess.sources.kubernetes import RESOURCES, KubernetesSource

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


def test_every_list_is_answered_or_told(options):
    batch = KubernetesSource().collect(options, Path.cwd(), Deadline(120))
    assert [row["call"] for row in answers(batch)] == CALLS
    for row in answers(batch):
        assert row["status"] in ("ok", "empty", "denied", "unsupported"), row
        assert row["requests"] >= 1 and (row["status"] in ("ok", "empty") or row["hint"])
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
    assert {row["status"] for row in found.coverage} <= {
        "denied",
        "ok",
        "empty",
        "unsupported",
    }
