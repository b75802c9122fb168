"""The whole road: two real engines, collected, scored, reported, and checked by hand."""

from __future__ import annotations

import json

import application
import pandas as pd
import pytest
from click.testing import CliRunner

import assess
from assess import notebooks
from assess.cli import cli

# what no engine can know, brought along as a frame of one's own
DECLARED = """\
service_id,env,owner,tier,kind,stateful,license_bound,hardware_bound,runbook,config_external,\
team_container_months,deploys_per_month,move_effort_hours,lead_time_days,min_healthy_pct
web,prod,shop-team,3,web,false,false,false,true,true,24,8,20,3,50
api,prod,shop-team,3,web,false,false,false,true,true,24,8,40,3,50
cache,prod,shop-team,3,cache,false,false,false,true,true,24,1,10,3,
proxy,prod,edge-team,3,web,false,false,false,true,true,24,1,10,3,
"""


@pytest.fixture(scope="module")
def quarter(engines, tmp_path_factory):
    """A snapshot directory of both engines with an incident export, made on the command line."""
    base = tmp_path_factory.mktemp("fleet")
    incidents = base / "incidents.csv"
    incidents.write_text(
        "id,service,opened_at,resolved_at,severity\n"
        "1,web,2026-10-02T10:00:00Z,2026-10-02T10:20:00Z,2\n"
        "2,nobody-knows,2026-10-03T10:00:00Z,,3\n",
        encoding="utf-8",
    )
    (base / "declared").mkdir()
    (base / "declared" / "services.csv").write_text(DECLARED, encoding="utf-8")
    (base / "declared" / "snapshot.toml").write_text(
        'snapshot_at = "2026-10-01T00:00:00Z"\n', encoding="utf-8"
    )
    sources = [
        f'[[source]]\ntype = "docker"\nendpoint = "{e.endpoint}"\nhost_id = "host-{i}"\n'
        for i, e in enumerate(engines, start=1)
    ]
    sources.append('[[source]]\ntype = "docker"\nendpoint = "unix:///nonexistent.sock"\n')
    sources.append(
        '[[source]]\ntype = "incidents"\nformat = "csv"\npath = "incidents.csv"\n'
    )
    sources.append('[[source]]\ntype = "frames"\npath = "declared"\n')
    config = base / "assess.toml"
    config.write_text("".join(sources), encoding="utf-8")
    snapshot = base / "2026Q4"
    run = CliRunner().invoke(cli, ["collect", "-c", str(config), "-o", str(snapshot)])
    assert run.exit_code in (0, 4), run.output
    return snapshot


@pytest.fixture(scope="module")
def inventory(quarter):
    return assess.load(quarter)


@pytest.fixture(scope="module")
def policy():
    return assess.load_policy()


# by hand: both engines are past their end of life, so G2 fails for everything that runs
LABELS = {
    "web": "FIX",  # all known; G2 alone
    "api": "FIX",  # G2, and G6: a password in DATABASE_URL, a key in API_KEY
    "cache": "NOT DECIDABLE",  # no health check, and nobody knows whether its logs are shipped
    "proxy": "NOT DECIDABLE",  # the same
    "postgres": "PULL BACK",  # a store by its image and its data volume
    "billing": "PULL BACK",  # writes to a bind mount at /data
}


def test_every_service_of_the_table_is_there_once(inventory):
    expected = {c.service for c in application.CONTAINERS if c.service}
    assert set(inventory["services"]["service_id"]) == expected
    counted = inventory["workloads"]["service_id"].value_counts()
    assert counted["web"] == 4  # two replicas on each of two hosts
    assert counted["postgres"] == 2


def test_labels_are_those_worked_by_hand(inventory, policy):
    labels = assess.what_next(inventory, policy).frame["label"]
    others = set(labels.index) - set(LABELS)
    assert labels[list(LABELS)].to_dict() == LABELS
    # nobody declared licence or tier
    assert set(labels[list(others)]) == {"NOT DECIDABLE"}


def test_gates_say_what_was_put_there(inventory, policy):
    gates = assess.score_readiness(inventory, policy).details["gates"]
    states = gates.pivot(index="service_id", columns="gate", values="state")
    assert states.loc["web"].to_dict() == {
        gate: "fail" if gate == "G2" else "pass" for gate in states.columns
    }
    assert states.loc["api", ["G2", "G6"]].tolist() == ["fail", "fail"]
    assert states.loc["cache", "G5"] == "unknown"
    assert states.loc["worker", "G3"] == "unknown"
    assert states.loc[["worker", "checkout", "backup"], "G1"].eq("pass").all()  # measured
    # it writes to a volume of no usual path
    assert states.loc["scratch", "G1"] == "unknown"
    # from Docker Hub, through the engines' mirror
    assert states.loc["proxy", "G10"] == "pass"
    evidence = gates.query("service_id == 'postgres' and gate == 'G1'")["evidence"].item()
    assert "library/postgres" in evidence
    assert "/var/lib/postgresql/data" in evidence


def test_blast_radius_knows_replicas_and_order_of_start(inventory, policy):
    blast = assess.score_blast_radius(inventory, policy).frame
    # web needs two of its four replicas: losing one host leaves two
    assert blast.loc[("host", "host-1"), "impact"] == 0
    # api starts after postgres and web after api; migrate after postgres: 4 of the weights
    assert blast.loc[("service", "postgres"), "services_down_n"] == 4
    assert blast.loc[("registry", "registry.example.com"), "frozen_n"] > 0
    assert blast.loc[("registry", "docker.io"), "frozen_n"] == 0  # mirrored


def test_a_dead_engine_is_coverage_and_not_an_error(inventory):
    coverage = inventory["coverage"]
    dead = coverage[coverage["scope"].str.contains("nonexistent")]
    assert dead["status"].tolist() == ["unreachable"]
    assert dead["hint"].notna().all()


def test_an_incident_that_no_service_claims_stays(inventory):
    incidents = inventory["incidents"].set_index("service_raw")
    assert incidents.loc["web", "service_id"] == "web"
    assert pd.isna(incidents.loc["nobody-knows", "service_id"])


def test_the_report_says_the_same_and_holds_no_secret(quarter, tmp_path):
    run = CliRunner().invoke(cli, ["report", str(quarter), "-o", str(tmp_path)])
    assert run.exit_code == 0, run.output
    told = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert told
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "PULL BACK" in page
    assert "nonexistent.sock" in page
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert application.CANARY.encode() not in file.read_bytes(), file.name


def test_the_claims_are_judged_on_what_the_engines_said(
    quarter, inventory, policy, tmp_path
):
    claims = assess.judge_claims(inventory, policy)
    assert claims.details["C1"]["n"].sum() == 2  # two engines
    assert claims.frame.loc["C5", "n"] + claims.frame.loc["C5", "unknown_n"] == 2
    # nobody wrote down what web's incident touched; the other one names no service at all
    assert claims.details["C10"][["yes", "no", "unknown"]].sum().tolist() == [0, 0, 2]
    undecided = claims.frame["verdict"].eq("undecided")
    assert claims.frame["needs"].ne("").equals(undecided)
    assert undecided[["C3", "C7", "C11", "C12", "C14"]].all()  # nobody was asked
    (written,) = notebooks.run(["06"], {"snapshot": str(quarter)}, output_dir=tmp_path)
    assert application.CANARY not in written.read_text(encoding="utf-8")
