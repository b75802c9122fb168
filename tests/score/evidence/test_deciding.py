"""What the evidence of a check names: the row that decided, never more than the frames hold."""

import pytest
from readiness_fleet import Fleet

from assess.errors import PolicyError
from assess.policy import load_policy
from assess.score.readiness import score_readiness

POLICY = load_policy()


def failed(fleet, policy=POLICY):
    result = score_readiness(fleet.inventory(), policy)
    (row,) = (row for row in result.rows() if row["service_id"] == "shop")
    return {check["check"]: check["evidence"] for check in row["failed"]}, result


def test_the_row_that_decided_is_named_and_the_others_are_not():
    fleet = Fleet().first("workloads", tag_floating=True, pinned=False, tag="latest")
    named, result = failed(fleet)
    assert named["build.tag_fixed"] == "shop.1 (repository acme/shop, tag latest)"
    assert "build.tag_fixed [shop.1 (repository acme/shop, tag latest)]" in str(
        result.explain("shop").text
    )


def test_a_mount_is_named_by_its_place_and_two_parts_of_its_source():
    fleet = Fleet().change("mounts", host_path_class="system", host_path="/var/lib")
    named, _ = failed(fleet)
    assert named["coupling.no_host_path"] == (
        "/etc/shop (host_path /var/lib, host_path_class system)"
    )


def test_a_host_is_named_with_the_version_that_fails():
    named, _ = failed(Fleet().first("hosts", kernel="2.6.32-754.el6.x86_64"))
    assert named["fit.kernel"] == "h1 (kernel 2.6.32-754.el6.x86_64)"


def test_no_more_than_three_rows_are_named():
    fleet = Fleet()
    for number in range(3, 8):
        row = {**fleet.rows["workloads"][0], "workload_id": f"shop.{number}"}
        fleet.add("workloads", **row)
    named, _ = failed(fleet.change("workloads", readonly_root=False))
    assert named["state.readonly_root"] == "shop.1; shop.2; shop.3 …"


def test_what_passes_or_is_unknown_names_nothing():
    _, result = failed(Fleet().change("workloads", readonly_root=None))
    atoms = result.details["atoms"].set_index("check")
    assert atoms.loc["state.readonly_root", "state"] == "unknown"
    assert (atoms["evidence"] == "").all()


def test_rows_that_the_check_does_not_ask_are_not_named():
    fleet = Fleet().change("engines", storage_driver="overlay2", loopback=True)
    named, _ = failed(fleet)
    assert "fit.no_loopback" not in named


def test_a_policy_shows_only_columns_that_are_there():
    with pytest.raises(PolicyError, match=r"kernle.*kernel"):
        POLICY.replace(check=[{"id": "fit.kernel", "shows": ["kernle"]}])
