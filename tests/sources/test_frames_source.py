from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import assess
from assess.config import Config, SourceConfig
from assess.sources import collect
from assess.sources.deadline import Deadline
from assess.sources.frames import FramesSource

SAMPLE = Path(assess.__file__).parent.parent / "data" / "sample" / "2026Q3"
NOW = datetime(2026, 9, 30, 12, tzinfo=UTC)


def run(*tables, directory):
    sources = tuple(SourceConfig(kind, options) for kind, options in tables)
    return collect(Config(sources, {}, directory, "assess.toml"), now=NOW)


def test_a_snapshot_comes_back_as_it_is():
    inventory = run(("frames", {"path": "2026Q3"}), directory=SAMPLE.parent)
    changed = inventory.diff(assess.load(SAMPLE))
    added = changed["change"].eq("added")
    # deployments are in it: how often there are any is measured, and the stated figure is kept
    assert set(changed.loc[~added, "column"]) == {"deploys_per_month"}
    assert set(changed.loc[added, "frame"]) == {"answers"}
    assert not inventory["service_aliases"].duplicated(["service_id", "alias"]).any()
    mine = inventory["coverage"].query("source == 'frames'")
    assert len(mine) == len(list(SAMPLE.glob("*.csv")))
    assert set(mine["status"]) <= {"ok", "empty"}
    assert mine["age_hours"].notna().all()


def test_problems_are_listed_and_the_rest_is_kept(tmp_path):
    (tmp_path / "services.csv").write_text(
        "service_id,tier,stateful,colour\nweb,7,maybe,red\ndb,1,,\n"
    )
    (tmp_path / "nonsense.csv").write_text("a\n1\n")
    (tmp_path / "hosts.parquet").write_text("no parquet")
    (tmp_path / "waivers.csv").write_text("service_id,gate\n")
    inventory = run(("frames", {"path": "."}), directory=tmp_path)
    services = inventory["services"].set_index("service_id")
    assert list(services.index) == ["db", "web"]
    assert services["tier"].isna().to_list() == [False, True]
    rows = (
        inventory["coverage"]
        .query("source == 'frames' and scope == '.'")
        .set_index("call")
    )
    assert rows["status"].to_dict() == {
        "services.csv": "partial",
        "nonsense.csv": "unsupported",
        "hosts.parquet": "parse_error",
        "waivers.csv": "empty",
    }
    hint = rows.loc["services.csv", "hint"]
    for part in ("tier", "'7'", "stateful", "'maybe'", "unknown columns: colour"):
        assert part in hint
    assert inventory.has("waivers")


def test_a_problem_of_many_rows_is_told_once_with_what_to_write(tmp_path):
    (tmp_path / "incidents.csv").write_text("incident_id\n" + "i\n" * 6)
    (tmp_path / "services.csv").write_text("service_id,teir\nweb,1\n")
    rows = [f"c{row},{'runing' if row % 2 else 'running'}\n" for row in range(1, 10)]
    (tmp_path / "workloads.csv").write_text("workload_id,state\n" + "".join(rows))
    batch = FramesSource().collect({"path": "."}, tmp_path, Deadline(5))
    hints = {row["call"]: row["hint"] for row in batch.coverage}
    assert hints["incidents.csv"].count("opened_at: the table has no such column") == 1
    assert hints["services.csv"] == "unknown columns: teir, did you mean 'tier'?"
    told = "row 1, 3, 5 and 2 more state='runing': did you mean 'running'?"
    assert told in hints["workloads.csv"]
    assert {row["status"] for row in batch.coverage} == {"partial"}


def test_own_answers_join_what_others_saw(tmp_path):
    (tmp_path / "compose.yaml").write_text(
        "name: shop\nservices: {checkout-svc: {image: x}}"
    )
    own = tmp_path / "own"
    own.mkdir()
    (own / "services.csv").write_text("service_id,tier,owner\ncheckout,1,payments\n")
    (own / "answers.csv").write_text(
        "service_id,question,source,answer,risk\ncheckout,q1,board,yes,green\n"
    )
    (own / "dependencies.csv").write_text(
        "src_id,dst_id,kind,evidence\ncheckout,ext:pay.example.net,call,contract\n"
    )
    inventory = run(
        ("compose", {"path": "compose.yaml"}),
        ("frames", {"path": "own"}),
        directory=tmp_path,
    )
    (service,) = inventory["services"].itertuples()
    assert (service.service_id, service.tier, service.owner) == (
        "checkout",
        1,
        "payments",
    )
    assert set(inventory["workloads"]["service_id"]) == {"checkout"}
    assert list(inventory["answers"]["service_id"]) == ["checkout"]
    assert list(inventory["dependencies"]["dst_id"]) == ["ext:pay.example.net"]
    assert list(inventory["service_aliases"]["alias"]) == ["checkout-svc"]


def test_a_list_without_other_evidence_is_evidence_and_lacks_nothing(tmp_path):
    (tmp_path / "services.csv").write_text("service_id\nshop\ndb\n")
    (tmp_path / "dependencies.csv").write_text("src_id,dst_id,kind\nshop,db,data\n")
    (tmp_path / "answers.csv").write_text(
        "service_id,question,answer,source\nshop,q1,yes,\n"
    )
    inventory = run(("frames", {"path": "."}), directory=tmp_path)
    [edge] = inventory["dependencies"].itertuples()
    assert (edge.src_id, edge.dst_id, edge.evidence) == ("shop", "db", "frames")
    assert inventory["answers"]["source"].tolist() == ["frames"]
    assert set(inventory["coverage"]["status"]) == {"ok"}


def test_a_misspelt_service_of_a_waiver_becomes_no_service(tmp_path):
    (tmp_path / "services.csv").write_text("service_id\norders\n")
    head = "service_id,gate,owner,reason,granted_at,expires_at\n"
    row = "{},G2,shop,why,2026-09-01,2026-10-01\n"
    text = head + row.format("orders") + row.format("order")
    (tmp_path / "waivers.csv").write_text(text)
    inventory = run(("frames", {"path": "."}), directory=tmp_path)
    assert inventory["services"]["service_id"].tolist() == ["orders"]
    assert inventory["waivers"]["service_id"].tolist() == ["orders"]
    [named] = inventory["coverage"].query("scope == 'waivers' and call == 'resolve'").hint
    assert named.endswith("of no service: order")


def test_no_directory_and_an_empty_one(tmp_path):
    for path in ("absent", "."):
        batch = FramesSource().collect({"path": path}, tmp_path, Deadline(5))
        assert [row["status"] for row in batch.coverage] == ["unreachable"]
