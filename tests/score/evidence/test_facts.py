"""Facts from several frames, and what people said, each by hand on both sides of its bounds."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assess.inventory import from_frames
from assess.policy import load_policy
from assess.score.evidence import View, combine, facts, opinions, word

POLICY = load_policy()
AT = pd.Timestamp("2026-09-30", tz="UTC")
A_MOMENT = pd.Timedelta("1us")
TTL = pd.Timedelta(days=POLICY["evidence"]["answer_ttl_days"])

CELLS = st.sampled_from([1.0, 0.0, float("nan")])


@given(st.lists(st.tuples(st.integers(0, 3), CELLS), max_size=9))
def test_rows_of_each_group_are_what_every_completion_says(rows):
    """What stays the same however the unknown rows turn out is known, and nothing else."""
    codes = np.array([group for group, _ in rows], dtype=int)
    cells = np.array([cell for _, cell in rows], dtype=float)
    for how, decide in (("all", min), ("any", max)):
        found = combine(codes, cells, n=4, how=how)
        for group in range(4):
            own = cells[codes == group].tolist()
            ends = [[end if np.isnan(cell) else cell for cell in own] for end in (0, 1)]
            wanted = {decide(completed) for completed in ends if completed}
            if len(wanted) == 1:
                assert found[group] == wanted.pop()
            else:
                assert np.isnan(found[group])


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ([], False),
        ([False, False], False),
        ([False, None], None),
        ([None, True], True),
        ([False, True], True),
    ],
)
def test_one_yes_is_enough_and_no_answer_is_no_yes(answers, found):
    assert facts.any_of(answers) is found


def lasting(*mounts, status="ok", is_listed=True):
    columns = ["source_class", "read_only", "destination"]
    table = pd.DataFrame(list(mounts), columns=columns, dtype=object)
    workloads = pd.DataFrame({"workload_id": ["w"], "inspect_status": [status]})
    found = facts.keeps_on_volume(
        workloads,
        table.assign(workload_id="w"),
        frozenset(POLICY["evidence"]["settings_directories"]),
        is_listed=is_listed,
    )
    (answer,) = found.tolist()
    return None if pd.isna(answer) else answer


SETTINGS = "/" + POLICY["evidence"]["settings_directories"][0]


@pytest.mark.parametrize(
    ("mounts", "keeps"),
    [
        ([("named-volume", False, "/data")], True),
        ([("host-path", False, "/data")], True),
        ([("host-path", True, "/data")], False),
        ([("tmpfs", False, "/data")], False),
        ([("tmpfs", None, "/data")], False),  # whatever may be written there is lost
        ([(None, True, "/data")], False),
        ([(None, False, "/data")], None),
        ([("named-volume", None, "/data")], None),
        ([("named-volume", False, f"{SETTINGS}/x")], False),
        ([("named-volume", False, f"/etc{SETTINGS}")], False),
        ([("named-volume", False, f"{SETTINGS}-data")], True),
        ([("tmpfs", False, "/a"), ("named-volume", False, "/b")], True),
        ([(None, False, "/a"), ("named-volume", False, "/b")], True),
        ([(None, False, "/a"), ("tmpfs", False, "/b")], None),
    ],
)
def test_what_outlives_a_container(mounts, keeps):
    assert lasting(*mounts) is keeps
    assert lasting(*mounts, status="denied") is keeps  # these mounts were seen


@pytest.mark.parametrize(
    ("status", "is_listed", "keeps"),
    [
        ("ok", True, False),
        ("declared", True, False),
        ("list", True, None),
        ("denied", True, None),
        (None, True, None),
        ("ok", False, None),
    ],
)
def test_no_mounts_are_none_only_where_somebody_looked(status, is_listed, keeps):
    assert lasting(status=status, is_listed=is_listed) is keeps


@pytest.mark.parametrize(
    ("count", "names", "strong"),
    [
        (0, None, False),
        (1, None, None),
        (None, None, None),
        (0, "none", False),
        (1, POLICY["evidence"]["harmless_capabilities"][0], False),
        (1, "SYS_ADMIN", True),
        (2, POLICY["evidence"]["harmless_capabilities"][0] + ";SYS_ADMIN", True),
    ],
)
def test_a_capability_that_is_not_named_may_be_a_strong_one(count, names, strong):
    table = pd.DataFrame({"caps_added_n": [count], "caps_added": [names]}, dtype=object)
    harmless = POLICY["evidence"]["harmless_capabilities"]
    (found,) = facts.has_strong_capability(table, harmless).tolist()
    assert pd.isna(found) if strong is None else found is strong


@pytest.mark.parametrize(
    ("offered", "host", "target", "runs"),
    [
        (["amd64"], "amd64", "", True),
        (["amd64"], "arm64", "", False),
        (["amd64", "arm64"], "arm64", "", True),  # two rows of one image: of both
        (["amd64"], "amd64", "arm64", False),  # the target's, not the host's
        (["arm64"], "amd64", "arm64", True),
        (["amd64"], None, "", None),
        ([], "amd64", "", None),
        ([None], "amd64", "", None),
    ],
)
def test_an_image_runs_where_one_of_its_architectures_does(offered, host, target, runs):
    name = {"registry": "docker.io", "repository": "acme/shop"}
    columns = ["registry", "repository", "digest", "arch"]
    images = pd.DataFrame(
        [{**name, "digest": "sha256:a", "arch": arch} for arch in offered],
        columns=columns,
        dtype=object,
    )
    workloads = pd.DataFrame([{**name, "image_digest": "sha256:a", "host_id": "h"}])
    hosts = pd.DataFrame({"host_id": ["h"], "arch": [host]}, dtype=object)
    (found,) = facts.runs_on_arch(workloads, images, hosts, target).tolist()
    assert pd.isna(found) if runs is None else found is runs


def said(*rows):
    columns = ["service_id", "question", "risk", "answered_at", "source"]
    check = "state.stateless"
    table = pd.DataFrame(
        [("a", check, risk, at, source) for risk, at, source in rows], columns=columns
    )
    services = pd.DataFrame({"service_id": ["a"]})
    inventory = from_frames({"services": services, "answers": table}, snapshot_at=AT)
    return opinions(inventory, POLICY)


@pytest.mark.parametrize(
    ("at", "counts"),
    [
        (AT, True),
        (AT + A_MOMENT, False),  # after the snapshot
        (AT - TTL, True),
        (AT - TTL - A_MOMENT, False),
        (None, False),
    ],
)
def test_an_answer_counts_from_its_day_until_it_is_too_old(at, counts):
    assert len(said(("green", at, "board"))) == counts


def test_the_lowest_the_highest_and_the_oldest_answer_are_kept():
    old = AT - TTL / 2
    rows = [("yellow", AT, "board"), ("green", old, "team"), ("unknown", old, "tool")]
    (found,) = said(*rows, ("red", AT - 2 * TTL, "audit")).itertuples()
    assert (found.low, found.high, found.said_at) == (0.5, 1.0, old)


def test_who_says_how_it_was_measured_is_no_second_opinion():
    assert said(("red", AT, "board"), ("green", AT, "measured")).empty
    assert len(said(("red", AT, "board"))) == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (AT, "2026-09-30"),
        (0.12345, "0.123"),
        (3.0, "3"),
        (7, "7"),
        (False, "False"),
        ("overlay2", "overlay2"),
    ],
)
def test_values_in_words(value, text):
    assert word(value) == text


def undeclared(*calls, status="list"):
    columns = ["dst_id", "kind", "evidence", "address_basis"]
    table = pd.DataFrame(list(calls), columns=columns, dtype=object)
    live = pd.DataFrame({"service_id": ["a"], "inspect_status": [status]})
    view = View.of(pd.Index(["a"]), live)
    found = facts.undeclared(table.assign(service_id="a"), view, POLICY["evidence"])
    return found.get("a")


SEEN = ("b", "call", "socket", None)
SAID = ("c", "call", "env", None)


@pytest.mark.parametrize(
    ("calls", "status", "count"),
    [
        ([SEEN, SAID], "list", 1),
        ([SEEN, SAID, ("b", "call", "env", None)], "list", 0),
        ([SEEN, ("c", "call", "socket", None), SAID], "list", 1),
        ([SEEN], "declared", 1),  # it was read, and declares nothing
        ([SEEN], "list", None),  # nobody read what it declares
        ([SAID], "declared", None),  # nobody watched
        ([("b", "log", "socket", None), SAID], "list", None),  # nobody declares these
        ([("b", "call", "traces", "env"), SAID], "list", None),  # declared by its address
        ([("b", "call", "env", "traces"), SAID], "list", 1),
        ([SEEN, (*SEEN[:2], "flow", None), SAID], "list", 1),
    ],
)
def test_a_call_that_was_seen_and_that_nobody_wrote_down(calls, status, count):
    found = undeclared(*calls, status=status)
    assert found is None if count is None else found == count


@pytest.mark.parametrize(
    ("sure", "holds", "said"),
    [
        ([True, True], [1.0, 0.0], [1.0, 0.0]),
        ([True, False], [1.0, 1.0], [1.0, 1.0]),  # whichever of them counts
        ([True, False], [1.0, 0.0], [1.0, np.nan]),
        ([False, False], [0.0, 1.0], [np.nan, np.nan]),
        ([False, True], [np.nan, 0.0], [np.nan, 0.0]),
    ],
)
def test_an_answer_of_a_row_that_may_not_count_needs_all_others(sure, holds, said):
    table = pd.DataFrame({"service_id": ["a", "a"], "sure": sure})
    view = View.of(pd.Index(["a"]), table)
    found = view.certain(np.array(holds), np.ones(2, bool))
    assert found.tolist() == pytest.approx(said, nan_ok=True)
