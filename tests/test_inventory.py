"""Reading snapshots: what is sound, what is unknown, and every problem at once."""

from __future__ import annotations

import contextlib
import datetime
import shutil
import warnings
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from mutants import mutants, to_toml

import assess
from assess import frames, store
from assess.config import data_path
from assess.errors import AssessError, DataError
from assess.inventory import UnknownColumnWarning, from_frames
from assess.snapshot import BrokenSnapshotWarning, load, validate

SAMPLE = data_path("sample")
MANIFEST = 'snapshot_at = "2026-09-30T00:00:00Z"\n'


@pytest.fixture
def snapshot(tmp_path):
    def write(manifest=MANIFEST, **files):
        if manifest is not None:
            (tmp_path / "snapshot.toml").write_text(manifest)
        for name, text in files.items():
            (tmp_path / f"{name}.csv").write_text(text)
        return tmp_path

    return write


@pytest.fixture(scope="module")
def sample():
    return {quarter: load(SAMPLE / quarter) for quarter in ("2026Q2", "2026Q3")}


def test_what_is_left_out_is_unknown_not_empty(snapshot):
    inventory = load(snapshot(services="service_id,tier\na,1\nb,\n"))
    assert inventory.has("services")
    assert not inventory.has("services", "hosts")
    assert inventory["hosts"].empty
    assert inventory["services"]["tier"].isna().tolist() == [False, True]
    assert str(inventory.snapshot_at) == "2026-09-30 00:00:00+00:00"
    assert inventory.quarter == "2026Q3"


def test_every_problem_is_told_at_once(snapshot):
    path = snapshot(
        services="service_id,tier,kind,public\na,9,web,true\na,2,webb,perhaps\n",
        workloads="workload_id,service_id,host_id\nw1,a,h1\nw2,z,h9\n,a,h1\n",
        hosts="host_id,vcpus\nh1,many\n",
        incidents="incident_id,opened_at,service_id\ni1,,a\ni2,yesterday,a\ni3,2026-01-01T00:00:00Z,q\n",
        service="x\n1\n",
    )
    with pytest.raises(DataError) as caught:
        load(path)
    rows = caught.value.problems.fillna({"row": 0}).itertuples()
    assert sorted(f"{p.table} {p.row} {p.column}" for p in rows) == [
        "hosts 1 vcpus",
        "incidents 1 opened_at",
        "incidents 2 opened_at",
        "incidents 3 service_id",
        "service 0 ",
        "services 1 service_id",
        "services 1 tier",
        "services 2 kind",
        "services 2 public",
        "services 2 service_id",
        "workloads 2 host_id",
        "workloads 2 service_id",
        "workloads 3 workload_id",
    ]
    assert len(caught.value.problems) == 13
    assert "13 problems" in str(caught.value)
    assert "and 8 more" in str(caught.value)
    pd.testing.assert_frame_equal(validate(path), caught.value.problems)


def test_a_required_column_that_a_file_lacks_is_told_once(snapshot):
    path = snapshot(
        hosts="os_name\ndebian\ndebian\n",
        workloads="workload_id,host_id\nw1,h1\n,h2\n",
    )
    found = validate(path).fillna({"row": 0})
    assert [(p.table, p.row, p.column) for p in found.itertuples()] == [
        ("hosts", 0, "host_id"),
        ("workloads", 2, "workload_id"),
        ("workloads", 0, "service_id"),
    ]
    assert set(found["hint"][found["row"] == 0]) == {"the table has no such column"}
    # a table without rows has all its columns: what refers to it dangles
    (path / "hosts.csv").write_text("os_name\n")
    assert (validate(path)["hint"] == "dangling reference").sum() == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("service_id,tier\na,1\nb", "row 2 has 1 cell,"),
        ("service_id,tier\na,1\nb,2,3\n", "row 2 has 3 cells"),
        (
            "service_id,tier\na,1,2\nb\n",
            "row 1 has 3 cells, row 2 has 1 cell, its header 2",
        ),
        ('service_id,owner\na,"half', "unexpected end of data"),
        ("service_id,service_id\na,b\n", "occurs twice"),
        ("", "cannot be read: it is empty"),
    ],
)
def test_a_csv_that_was_half_written(snapshot, text, told):
    path = snapshot(services=text, hosts="host_id,vcpus\nh1,many\n")
    found = validate(path)
    assert len(found) == 2
    assert told in found["hint"][1] or told in found["hint"][0]
    assert set(found["table"]) == {"services", "hosts"}


def test_a_csv_that_is_not_text(tmp_path, snapshot):
    path = snapshot()
    (path / "services.csv").write_bytes(b"service_id\n\xff\xfe\n")
    with pytest.raises(
        DataError, match=r"services.*byte 11 is not UTF-8; save it as UTF-8"
    ):
        load(path)


@pytest.mark.parametrize("kept", [0, 4, 200, -1])
def test_a_parquet_file_that_is_corrupt_is_named_and_the_others_are_read(
    tmp_path, snapshot, kept
):
    path = snapshot(hosts="host_id\nh1\n")
    pd.DataFrame({"service_id": ["a"] * 50}).to_parquet(tmp_path / "whole")
    (path / "services.parquet").write_bytes((tmp_path / "whole").read_bytes()[:kept])
    (tmp_path / "whole").unlink()
    with pytest.warns(BrokenSnapshotWarning, match=r"services.parquet cannot be read"):
        inventory = load(path)
    assert inventory["hosts"]["host_id"].tolist() == ["h1"]
    read = inventory["coverage"].set_index("scope").loc["services.parquet"]
    assert (read["status"], read["call"]) == ("parse_error", "read")
    assert "collect again" in read["hint"]
    assert validate(path)["table"].tolist() == ["services"]


def test_a_file_that_the_manifest_lists_and_nobody_finds_is_named(tmp_path, sample):
    path = Path(store.write_snapshot(sample["2026Q3"], tmp_path / "2026Q3"))
    hosts = path / "hosts.parquet"
    pd.read_parquet(hosts).to_csv(path / "hosts.csv", index=False)
    hosts.unlink()
    assert validate(path).empty  # written anew as CSV
    (path / "incidents.parquet").unlink()
    with pytest.warns(BrokenSnapshotWarning, match=r"incidents.parquet is missing"):
        seen = load(path)
    lost = seen["coverage"].set_index("scope").loc["incidents.parquet"]
    assert lost["status"] == "parse_error"
    assert validate(path)["table"].tolist() == ["incidents"]
    load(path, only=["hosts"])  # nobody asked for the others


def test_a_snapshot_without_any_readable_file_is_an_error(snapshot):
    path = snapshot()
    (path / "services.parquet").write_bytes(b"PAR1 no longer")
    (path / "services.csv").unlink(missing_ok=True)
    with pytest.raises(DataError, match="not a sound snapshot"):
        load(path)


def test_parquet_with_wrong_types_is_told_cell_by_cell(snapshot):
    path = snapshot()
    table = {
        "service_id": [1, 2],
        "tier": [1.5, 2.0],
        "public": [0, 1],
        "owner": [["x"], None],
    }
    pd.DataFrame(table).to_parquet(path / "services.parquet")
    found = validate(path)
    assert [(p.row, p.column) for p in found.itertuples()] == [
        (1, "owner"),
        (1, "tier"),
        (1, "public"),
        (2, "public"),
    ]


def test_one_file_per_frame(snapshot):
    path = snapshot(services="service_id\na\n")
    pd.DataFrame({"service_id": ["a"]}).to_parquet(path / "services.parquet")
    with pytest.raises(DataError, match="one file per frame"):
        load(path)


def test_columns_nobody_knows_are_kept_aside(snapshot):
    path = snapshot(services="service_id,colour,tier\na,red,1\nb,,2\n")
    with pytest.warns(UnknownColumnWarning, match="services.*colour"):
        inventory = load(path)
    assert inventory.extras["services"]["colour"].tolist()[0] == "red"
    assert "colour" not in inventory["services"]


def test_a_misspelt_column_is_warned_of_with_the_nearest_name(snapshot):
    path = snapshot(services="service_id,teir\na,1\n")
    with pytest.warns(UnknownColumnWarning, match=r"'teir', did you mean 'tier'\?"):
        load(path)


def test_an_unknown_word_names_its_place_and_the_words_that_are_known(snapshot):
    path = snapshot(
        services="service_id\na\n",
        workloads="workload_id,service_id,state\nw1,a,running\nw2,a,runing\n",
        hosts="host_id\nh\n",
        engines="host_id,runtime\nh,containerd2\n",
    )
    found = validate(path)
    places = zip(found["table"], found["row"], found["column"], strict=True)
    assert list(places) == [("engines", 1, "runtime"), ("workloads", 2, "state")]
    assert "docker|containerd" in found["rule"][0]
    assert found["hint"].tolist() == [
        "did you mean 'containerd'?",
        "did you mean 'running'?",
    ]


BY_REFERENCE = """workload_id,service_id,host_id,image_ref,state,tag,pinned
w1,a,h,quay.io/team/app:1.2,running,,
w2,b,h,nginx,running,stable,true
w3,c,h,,running,,
"""


def test_columns_that_follow_from_the_image_reference_are_filled(snapshot):
    path = snapshot(
        services="service_id\na\nb\nc\n", hosts="host_id\nh\n", workloads=BY_REFERENCE
    )
    table = load(path)["workloads"].set_index("service_id")
    columns = ["registry", "repository", "tag", "tag_floating", "pinned"]
    filled = table.loc["a", [*columns, "image_digest"]]
    assert filled.tolist()[:5] == ["quay.io", "team/app", "1.2", False, False]
    assert pd.isna(filled["image_digest"])
    assert table.loc["b", columns[:2]].tolist() == ["docker.io", "library/nginx"]
    given = table.loc["b", ["tag", "pinned"]]
    assert given.tolist() == ["stable", True]  # a value that was given stays
    assert table.loc["c", columns].isna().all()


def test_a_snapshot_with_only_image_references_is_scored_like_a_full_one(snapshot):
    path = snapshot(
        services="service_id,platform\na,docker\nb,docker\nc,docker\n",
        hosts="host_id\nh\n",
        engines="host_id,runtime,version\nh,docker,29.0.0\n",
        workloads=BY_REFERENCE,
    )
    inventory, policy = load(path), assess.load_policy()
    kinds = assess.score_blast_radius(inventory, policy).frame.index.to_frame(index=False)
    elements = kinds.groupby("element_kind")["element"].agg(set)
    assert {"quay.io", "docker.io"} <= elements["registry"]
    assert {"team/app", "library/nginx"} <= {
        name.partition(":")[0].partition("@")[0] for name in elements["image"]
    }
    churn = assess.score_upgrade_churn(inventory, policy).frame
    assert churn["third_party_images_n"].to_dict()["b"] == 1


def test_csv_as_spreadsheets_write_it(snapshot):
    path = snapshot()
    text = '\ufeffservice_id,owner\r\na,"x, ""y"""\r\n\r\nNA,null\r\n'
    (path / "services.csv").write_text(text, newline="")
    table = load(path)["services"]
    assert table["service_id"].tolist() == ["a", "NA"]
    assert table["owner"].tolist() == ['x, "y"', "null"]


def test_a_table_is_read_as_text(snapshot):
    table = frames.read_table(
        snapshot(services="service_id,tier\n007,\n") / "services.csv"
    )
    assert table["service_id"].tolist() == ["007"]
    assert table["tier"].isna().all()


def test_equal_cells_of_a_table_share_one_text(snapshot):
    path = snapshot(services="service_id,owner\na,shop team\nb,shop team\n")
    owners = frames.read_table(path / "services.csv")["owner"].astype(object).tolist()
    assert owners == ["shop team"] * 2
    assert owners[0] is owners[1]


def test_without_a_manifest_the_newest_time_counts(snapshot):
    path = snapshot(
        None,
        incidents="incident_id,opened_at,acked_at\ni1,2026-05-01T00:00:00Z,2026-05-02T00:00:00Z\n",
        waivers="service_id,gate,owner,reason,granted_at,expires_at\n"
        "a,G1,o,r,2026-01-01T00:00:00Z,2026-12-01T00:00:00Z\n",
        services="service_id\na\n",
    )
    inventory = load(path)
    assert str(inventory.snapshot_at) == "2026-05-02 00:00:00+00:00"
    assert inventory.quarter == "2026Q2"


def test_without_manifest_and_times_nobody_can_tell(snapshot):
    with pytest.raises(AssessError, match="when it was taken") as caught:
        load(snapshot(None, services="service_id\na\n"))
    assert "snapshot.toml: write snapshot_at" in str(caught.value)


def test_a_missing_time_hides_no_other_problem(snapshot):
    path = snapshot(None, services="service_id,tier\na,high\n")
    assert list(validate(path)["table"]) == ["services", "snapshot.toml"]


@pytest.mark.parametrize(
    "manifest",
    [
        "snapshot_at = ",
        'snapshot_at = "soon"',
        'snapshot_at = ""',
        "snapshot_at = 2026",
        'snapshot_at = "2026-09-30"\nschema_version = 99',
        'snapshot_at = "2026-09-30"\nschema_version = true',
    ],
)
def test_a_manifest_that_cannot_be_used(snapshot, manifest):
    with pytest.raises(AssessError, match=r"snapshot\.toml") as caught:
        load(snapshot(manifest, services="service_id\na\n"))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (
            "incidents",
            "incident_id,opened_at,service_id\ni,2026-08-01,a\nj,2026-08-02,\n",
        ),
        ("objects", "object_id,service_id\no,a\np,\n"),
        ("answers", "service_id,question,source\na,state.restore,q\n"),
        ("dependencies", "src_id,dst_id,kind,evidence\na,ext:api.example.org,call,t\n"),
    ],
)
def test_services_are_those_that_a_lone_frame_names(snapshot, frame, text):
    inventory = load(snapshot(**{frame: text}))
    assert list(inventory["services"]["service_id"]) == ["a"]


def test_a_frame_of_ones_own_is_kept_aside_and_a_misspelt_one_is_not(snapshot):
    mine = pd.DataFrame({"x": ["1"]})
    with pytest.warns(UnknownColumnWarning, match="licences: a frame that nobody knows"):
        inventory = load(snapshot(services="service_id\na\n", licences="x\n1\n"))
    assert inventory.extras["licences"].equals(mine.astype("str"))
    services = {"services": pd.DataFrame({"service_id": ["a"]})}
    with pytest.raises(DataError) as caught:
        assess.from_frames({**services, "workload": mine}, snapshot_at="2026-09-30")
    assert "workloads" in caught.value.problems["hint"].item()
    with pytest.raises(DataError):
        assess.from_frames({"licences": mine}, snapshot_at="2026-09-30")


@pytest.mark.parametrize(
    "manifest",
    ["snapshot_at = 2026-09-30", "snapshot_at = 2026-09-30T02:00:00+02:00", MANIFEST],
)
def test_ways_to_write_the_moment(snapshot, manifest):
    inventory = load(snapshot(manifest, services="service_id\na\n"))
    assert inventory.snapshot_at == pd.Timestamp("2026-09-30", tz="UTC")


def test_no_snapshot_and_an_empty_one(tmp_path):
    with pytest.raises(AssessError, match="there is no snapshot"):
        load(tmp_path / "none")
    with pytest.raises(AssessError, match="holds no frames"):
        load(tmp_path)


def test_an_inventory_of_nothing():
    inventory = from_frames({}, snapshot_at="2026-09-30")
    assert inventory.present == frozenset()
    assert all(table.empty for table in inventory.tables.values())
    assert inventory.summary()["known_share"].isna().all()
    assert "0 services" in repr(inventory)
    assert "<td>-</td>" in inventory._repr_html_()  # no row, so no share of known cells


def test_services_that_no_frame_names_are_unknown_not_none():
    incidents = pd.DataFrame(
        {"incident_id": ["i"], "opened_at": ["2026-09-01T00:00:00Z"]}
    )
    inventory = from_frames({"incidents": incidents}, snapshot_at="2026-09-30")
    assert inventory.present == {"incidents"}
    assert not inventory.summary().loc["services", "supplied"]


def test_services_that_other_frames_name():
    edges = pd.DataFrame(
        {
            "src_id": ["b"],
            "dst_id": ["ext:bank"],
            "kind": ["call"],
            "evidence": ["traces"],
        }
    )
    replicas = pd.DataFrame({"workload_id": ["a.1"], "service_id": ["a"]})
    inventory = from_frames(
        {"dependencies": edges, "workloads": replicas}, snapshot_at="2026-09-30"
    )
    assert inventory["services"]["service_id"].tolist() == ["a", "b"]


def test_a_column_that_occurs_twice_and_lists_in_cells_are_problems():
    odd = pd.DataFrame([["shop", 1, 2, ["a", "b"]]])
    odd.columns = ["service_id", "tier", "tier", "owner"]
    with pytest.raises(DataError) as caught:
        from_frames({"services": odd}, snapshot_at="2026-09-30")
    found = caught.value.problems.set_index("column")["rule"]
    assert found.to_dict() == {"tier": "a column occurs once", "owner": "text"}
    numbered = pd.DataFrame([["shop", "x"]], columns=["service_id", 0])
    with pytest.warns(UserWarning, match="'0'"):
        kept = from_frames({"services": numbered}, snapshot_at="2026-09-30")
    assert kept.extras["services"]["0"].tolist() == ["x"]


def test_an_unknown_frame_is_named(sample):
    with pytest.raises(AssessError, match="no frame 'servcies'"):
        sample["2026Q3"]["servcies"]


def test_differences_between_quarters(sample):
    table = sample["2026Q3"].diff(sample["2026Q2"])
    assert set(table["change"]) == {"added", "removed", "changed"}
    moved = table[(table["key"] == "email-sender") & (table["column"] == "platform")]
    assert moved[["before", "after"]].to_numpy().tolist() == [["host", "docker"]]
    upgraded = table[
        (table["key"] == "dock-blue-1/docker") & (table["column"] == "version")
    ]
    assert upgraded["after"].tolist() == ["29.7.2"]
    assert sample["2026Q3"].diff(sample["2026Q3"]).empty


def test_replacing_a_frame_keeps_the_others(sample):
    old = sample["2026Q3"]
    new = old.replace(waivers=old["waivers"].head(0))
    assert new["waivers"].empty
    assert not old["waivers"].empty
    pd.testing.assert_frame_equal(new["hosts"], old["hosts"])
    assert new.present == old.present


def test_validate_finds_nothing_in_the_sample():
    assert assess.validate(SAMPLE / "2026Q3").empty


def test_row_order_is_kept_and_the_index_is_plain(sample, tmp_path):
    shutil.copytree(SAMPLE / "2026Q3", tmp_path / "s")
    for table in load(tmp_path / "s").tables.values():
        assert table.index.equals(pd.RangeIndex(len(table)))


def test_a_parquet_file_that_promises_too_many_rows_is_refused_unread(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    nothing = pa.nulls(frames.MOST_ROWS + 1, pa.string())  # some bytes on disk
    pq.write_table(pa.table({"service_id": nothing}), tmp_path / "services.parquet")
    assert (tmp_path / "services.parquet").stat().st_size < 10_000_000
    (tmp_path / "snapshot.toml").write_text('snapshot_at = "2026-09-30"')
    problem = validate(tmp_path).iloc[0]
    assert problem["rule"] == "a readable file"
    assert f"the limit of {frames.MOST_ROWS:,}" in problem["hint"]


def manifest():
    moment = datetime.datetime(2026, 9, 30)
    return {"snapshot_at": moment, "schema_version": 1, "sha256": {"services.csv": "0"}}


@settings(max_examples=100)
@given(mutants(manifest))
def test_whatever_a_manifest_holds_is_used_or_refused(tmp_path_factory, tree):
    path = tmp_path_factory.mktemp("store") / "one"
    path.mkdir()
    (path / "services.csv").write_text("service_id\na\n")
    (path / "snapshot.toml").write_text(to_toml(tree))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for ask in (load, validate, store.verify, store.resolve, store.previous):
            with contextlib.suppress(AssessError):
                ask(path)
        store.snapshots(path.parent)


@pytest.mark.parametrize("quarter", ["../../x", "/tmp/x", "..", ".hidden", "a\\nb"])
def test_a_quarter_is_the_name_of_a_directory(snapshot, quarter):
    path = snapshot(f'{MANIFEST}quarter = "{quarter}"', services="service_id\na\n")
    with pytest.raises(DataError, match="a name such as 2026Q3"):
        load(path)
