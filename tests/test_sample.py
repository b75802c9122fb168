"""The fictional fleet: the same bytes every time, at any size, and true to itself."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

import assess
from assess.config import data_path
from assess.errors import AssessError
from assess.sample import write_sample

QUARTERS = ("2026Q2", "2026Q3")


def contents(directory):
    return {
        file.relative_to(directory).as_posix(): file.read_bytes()
        for file in sorted(directory.rglob("*"))
        if file.is_file()
    }


@pytest.fixture(scope="module")
def sample():
    return {quarter: assess.load(data_path("sample") / quarter) for quarter in QUARTERS}


def test_the_bundled_quarters_are_what_is_written(tmp_path):
    written = write_sample(tmp_path)
    assert written == [tmp_path / quarter for quarter in QUARTERS]
    assert contents(tmp_path) == contents(data_path("sample"))


def test_another_seed_is_another_fleet(tmp_path):
    write_sample(tmp_path, seed=7)
    ours, bundled = contents(tmp_path), contents(data_path("sample"))
    assert ours["2026Q3/incidents.csv"] != bundled["2026Q3/incidents.csv"]
    assert ours["2026Q3/mounts.csv"] == bundled["2026Q3/mounts.csv"]


@pytest.mark.parametrize("services", [1, 2, 39, 41, 130])
def test_any_size_is_sound(tmp_path, services):
    for path in write_sample(tmp_path, services=services):
        inventory = assess.load(path)
        assert len(inventory["services"]) == services
        assert inventory["services"]["service_id"].is_unique


def test_a_larger_fleet_holds_the_smaller_one(tmp_path):
    write_sample(tmp_path, services=50)
    large = contents(tmp_path)
    for name, text in contents(data_path("sample")).items():
        if name.endswith(".csv"):
            assert set(text.splitlines()) <= set(large[name].splitlines()), name


def test_quarters_in_a_row_change_bit_by_bit(tmp_path):
    quarters = ("2025Q4", "2026Q1", "2026Q2", "2026Q3")
    fleets = [assess.load(path) for path in write_sample(tmp_path, quarters=quarters)]
    assert [f.quarter for f in fleets] == list(quarters)
    contained = [(f["services"]["platform"] != "host").sum() for f in fleets]
    assert contained == sorted(contained)
    assert contained[0] < contained[-1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"services": 0},
        {"quarters": ()},
        {"quarters": ("2026Q5",)},
        {"quarters": ("2026Q1", "2026Q3")},
        {"quarters": ("2026Q3", "2026Q2")},
    ],
)
def test_what_cannot_be_made_is_refused(tmp_path, wrong):
    with pytest.raises(AssessError) as caught:
        write_sample(tmp_path, **wrong)
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_sample_is_not_written_over(tmp_path):
    write_sample(tmp_path, services=1)
    with pytest.raises(AssessError, match="never written over"):
        write_sample(tmp_path, services=2)


def test_it_says_that_it_is_invented():
    for quarter in QUARTERS:
        assert "invented" in (data_path("sample") / quarter / "snapshot.toml").read_text()
    assert "invented" in data_path("README.md").read_text()


def test_no_address_leads_to_anybody():
    text = "".join(file.read_text() for file in data_path("sample").rglob("*.csv"))
    hosts = set(
        re.findall(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*\.(?:com|org|net|io|dev|example)\b", text)
    )
    real = {h for h in hosts if not h.endswith(".example")}
    assert real == {"docker.io", "111122223333.dkr.ecr.eu-west-1.amazonaws.com"}


def test_what_an_earlier_quarter_saw_is_not_rewritten(sample):
    early, late = (sample[quarter] for quarter in QUARTERS)
    for name, when in [("incidents", "opened_at"), ("activities", "started_at")]:
        start = pd.Timestamp("2026-04-01", tz="UTC")
        old, new = early[name][early[name][when] >= start], late[name]
        new = new[new[when] <= early.snapshot_at]
        pd.testing.assert_frame_equal(
            old.reset_index(drop=True), new.reset_index(drop=True), check_exact=True
        )


def test_nothing_is_dated_after_its_snapshot(sample):
    for inventory in sample.values():
        for name, table in inventory.tables.items():
            for column in table.select_dtypes("datetimetz"):
                if (name, column) != ("waivers", "expires_at"):
                    assert not (table[column] > inventory.snapshot_at).any(), (
                        name,
                        column,
                    )


def test_spells_end_after_they_start(sample):
    for inventory in sample.values():
        incidents = inventory["incidents"]
        backwards = incidents["resolved_at"] < incidents["opened_at"]
        assert (backwards == incidents["bad_time"]).all()
        spells = inventory["activities"]
        assert (spells["ended_at"] >= spells["started_at"]).all()


def test_every_kind_of_evidence_and_of_its_absence_is_there(sample):
    early, late = (set(sample[q]["coverage"]["status"]) for q in QUARTERS)
    # hosts that could be read a quarter before
    assert late - early == {"stale", "timeout"}
    assert late > {
        "ok",
        "denied",
        "partial",
        "unsupported",
        "not_configured",
        "throttled",
    }
    for inventory in sample.values():
        failed = inventory["coverage"].query("status != 'ok'")
        assert failed["hint"].notna().all()
    late = sample["2026Q3"]
    assert {"1", "2", "oci"} == set(late["images"]["schema"])
    assert {"host", "registry"} == set(late["images"]["location"])
    assert {"aufs", "devicemapper", "overlay2"} <= set(
        late["engines"]["storage_driver"].dropna()
    )
    assert late["incidents"]["service_id"].isna().any()
    assert late["incidents"]["bad_time"].any()
    assert late["incidents"]["ttr_s"].isna().any()
    assert {
        "registry",
        "package-repo",
        "engine",
        "kernel",
        "storage",
        "deploy",
        "database",
    } <= set(late["incidents"]["cause"])
    for trait in ("privileged", "docker_sock", "oom_killed", "tag_floating", "user_root"):
        column = "docker_sock_mounted" if trait == "docker_sock" else trait
        assert late["workloads"][column].any(), trait
    assert 60 <= len(late["incidents"]) <= 90


def test_nothing_is_known_of_one_service(sample):
    inventory = sample["2026Q3"]
    row = inventory["services"].set_index("service_id").loc["ghost-exporter"]
    known = set(row.dropna().index) - {"name", "source", "platform"}
    assert known <= {"identity_rule", "identity_confidence"}
    for name, column in [
        ("workloads", "service_id"),
        ("dependencies", "src_id"),
        ("incidents", "service_id"),
    ]:
        assert not (inventory[name][column] == "ghost-exporter").any()


def test_most_groups_heal_within_five_minutes(sample):
    table = sample["2026Q3"]["activities"]
    launches = table[(table["kind"] == "launch") & (table["cause"] == "health")]
    assert len(launches) > 20
    within = (launches["duration_s"] <= 300).mean()
    assert 0.5 < within < 1


def test_there_is_a_cycle_of_calls(sample):
    table = sample["2026Q3"]["dependencies"]
    calls = set(zip(table["src_id"], table["dst_id"], strict=True))
    assert {("auth", "customer-api"), ("customer-api", "auth")} <= calls


def test_every_label_is_given_to_some_service(sample):
    from assess.score.what_next import LABELS

    frame = assess.what_next(sample["2026Q3"], assess.load_policy()).frame
    assert set(frame["label"]) == set(LABELS)
    assert frame.loc["newsletter-signup", "label"] == "MOVE NOW"
    assert frame.loc["mysql-orders", "label"] == "NEVER"
    assert frame.loc["mongo-carts", "label"] == "PULL BACK"
    assert frame.loc["ghost-exporter", "label"] == "NOT DECIDABLE"


def test_every_way_to_run_a_container_shows(sample):
    for quarter, inventory in sample.items():
        runtimes = set(inventory["engines"]["runtime"])
        assert {"docker", "containerd", "cri-o", "podman", "none"} == runtimes
        platforms = set(inventory["services"]["platform"])
        assert {"host", "docker", "ecs", "kubernetes", "unknown"} == platforms
        provided = inventory["hosts"].query("managed_by == 'provider'")
        assert provided["provider_version"].eq("fargate 1.4.0").all()
        assert len(provided) == 2
        assert not provided["host_id"].isin(inventory["engines"]["host_id"]).any()
        rootless = inventory["engines"].query("rootless == True")
        assert list(rootless["runtime"]) == ["podman"], quarter
        assert len(inventory["objects"]) >= 3


def test_some_runtimes_are_fine_and_one_has_ended(sample):
    for inventory in sample.values():
        gates = assess.score_readiness(inventory, assess.load_policy()).details["gates"]
        hosts = gates[gates["gate"].eq("G2")].set_index("service_id")
        for service in ("search-suggest", "size-advisor"):
            assert hosts.loc[service, "state"] == "fail"
            assert "cri-o 1.32" in hosts.loc[service, "evidence"]
        for service in ("delivery-tracking", "label-printer", "voucher-mailer"):
            assert hosts.loc[service, "state"] == "pass", service
        assert "managed" in hosts.loc["voucher-mailer", "evidence"]


def test_dumps_of_platforms_show_the_fleet_that_the_sample_writes(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent / "benchmarks")
    from dumping import write_dumps

    [snapshot] = write_sample(tmp_path, services=48, quarters=("2026Q3",))
    fleet = assess.load(snapshot)
    read = assess.collect(write_dumps(snapshot, tmp_path / "dumps"))
    kinds = fleet["workloads"].dropna(subset=["host_id"])
    engines = fleet["engines"]["host_id"]
    is_dumped = kinds["source_kind"].eq("unit") | kinds["host_id"].isin(engines)
    assert len(read["workloads"]) == is_dumped.sum()
    assert not read["coverage"]["status"].isin(["parse_error", "unreachable"]).any()
    names = set(kinds.loc[is_dumped, "service_id"])
    assert len(names - set(read["services"]["service_id"])) <= len(names) / 10
