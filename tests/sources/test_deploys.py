"""Deployments from exports of delivery tools, and what follows from them for services."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from wild import fit, mutated, whatever_comes

import assess
from assess.inventory import from_frames
from assess.policy import load_policy
from assess.sources.deadline import Deadline
from assess.sources.deploys import DeploysSource, is_production, status_of
from assess.sources.deploys.measured import measure

FIXTURES = Path(__file__).parent.parent / "fixtures" / "deploys"
NOW = datetime(2026, 9, 30, tzinfo=UTC)
SERVICES = (
    "service_id,deploys_per_month,lead_time_days\ncheckout,40,\ncart,,\nbilling,,1\n"
)


def read(path, base=FIXTURES, **options):
    options = {"path": path, **options}
    assert DeploysSource().check(options) == []
    return DeploysSource().collect(options, base, Deadline(20))


def found(batch):
    return [
        (row["names"][0].name, row["started_at"].strftime("%m-%d"), row["status"])
        for row in batch.rows["activities"]
    ]


def test_deployments_of_github_are_those_to_production():
    batch = read("github/deployments.json")
    assert found(batch) == [
        ("checkout", "07-01", "done"),
        ("checkout", "07-15", "done"),
        ("checkout", "08-01", "failed"),
        ("checkout", "08-20", "done"),
        ("checkout", "09-01", "done"),
    ]
    (row,) = batch.coverage
    assert (row["status"], row["rows"]) == ("ok", 5)
    assert row["window_start"] == datetime(2026, 7, 1, 10, tzinfo=UTC)
    assert row["window_end"] == datetime(2026, 9, 1, 10, tzinfo=UTC)


def test_runs_of_workflows_that_deploy():
    batch = read("github/runs.json")
    assert [day for _, day, _ in found(batch)] == ["07-02", "07-09", "07-16", "07-23"]
    first = batch.rows["activities"][0]
    assert (first["ended_at"] - first["committed_at"]).days == 2
    assert not found(read("github/runs.json", workflow="ship it"))


def test_runs_as_the_command_line_of_github_lists_them(tmp_path):
    run = {
        "databaseId": 7,
        "workflowName": "Deploy the till",
        "conclusion": "success",
        "event": "push",
        "headSha": "c0ffee" * 6,
        "startedAt": "2026-07-02T10:00:00Z",
        "updatedAt": "2026-07-02T10:05:00Z",
        "url": "https://github.com/example/till/actions/runs/7",
    }
    others = [
        {**run, "databaseId": 8, "event": "pull_request"},
        {**run, "databaseId": 9, "workflowName": "Tests"},
    ]
    (tmp_path / "runs.json").write_text(json.dumps([run, *others]))
    batch = read("runs.json", tmp_path)
    assert found(batch) == [("till", "07-02", "done")]
    [row] = batch.rows["activities"]
    assert row["activity_id"] == "github:till/run/7"
    assert (row["ended_at"] - row["started_at"]).seconds == 300


def test_where_a_deployment_of_github_is_now_decides(tmp_path):
    deployment = {"id": 1, "sha": "c0ffee", "created_at": "2026-07-02T10:00:00Z"}
    deployment["url"] = "https://api.github.com/repos/example/till/deployments/1"
    places = [("staging", "production"), ("production", "staging")]
    records = [
        deployment | {"id": n, "original_environment": first, "environment": now}
        for n, (first, now) in enumerate(places)
    ]
    (tmp_path / "till.json").write_text(json.dumps(records))
    [row] = read("till.json", tmp_path).rows["activities"]
    assert row["activity_id"] == "github:till/0"


def test_no_deployment_ends_before_it_starts(tmp_path):
    record = {
        "id": 1,
        "environment": {"name": "production"},
        "created_at": "2026-07-02T10:00:00.2Z",
        "deployable": {"finished_at": "2026-07-02T10:00:00.1Z"},
    }
    (tmp_path / "till.json").write_text(json.dumps([record]))
    [row] = read("till.json", tmp_path).rows["activities"]
    assert row.get("ended_at") is None


def test_deployments_of_gitlab_name_their_project():
    batch = read("gitlab")
    assert {name for name, _, _ in found(batch)} == {"billing"}
    assert [status for _, _, status in found(batch)] == [
        *("done", "done", "failed", "done", "open"),
    ]


@pytest.mark.parametrize(
    ("phase", "days"),
    [
        ("Failed", [("03-01", "done"), ("03-02", "failed")]),
        ("Running", [("03-01", "done"), ("03-02", "open")]),
        ("Succeeded", [("03-01", "done")]),  # the history has it
    ],
)
def test_the_last_sync_of_argo_cd_counts_where_its_history_lacks_it(
    tmp_path, phase, days
):
    sync = {"phase": phase, "startedAt": "2026-03-02T10:00:00Z"}
    sync |= {"syncResult": {"revision": "b" * 40}}
    history = [{"id": 0, "deployedAt": "2026-03-01T10:00:00Z", "revision": "a" * 40}]
    application = {
        "kind": "Application",
        "metadata": {"name": "till"},
        "spec": {"destination": {"namespace": "shop"}},
        "status": {"history": history, "operationState": sync},
    }
    (tmp_path / "app.json").write_text(json.dumps(application))
    batch = read("app.json", tmp_path)
    assert [(day, status) for _, day, status in found(batch)] == days
    revisions = [row["to_version"] for row in batch.rows["activities"]]
    assert revisions == ["a" * 12, "b" * 12][: len(days)]


def test_the_history_of_argo_cd_leaves_out_staging():
    batch = read("argocd", format="argocd")
    names = [name for name, _, _ in found(batch)]
    assert (names.count("search"), names.count("stock"), len(names)) == (5, 1, 6)


def revision(number, day, status="superseded", **more):
    return {"version": number, "lastDeployed": f"2026-10-{day:02}T10:00:00Z"} | {
        "status": status,
        **more,
    }


def test_an_application_of_several_sources_has_the_revision_of_the_first(tmp_path):
    entry = {"id": 1, "deployedAt": "2026-11-01T10:00:00Z", "revisions": ["abc", "def"]}
    application = {
        "kind": "Application",
        "metadata": {"name": "web"},
        "status": {"history": [entry]},
    }
    (tmp_path / "web.json").write_text(json.dumps(application))
    batch = DeploysSource().collect({"path": "web.json"}, tmp_path, Deadline(20))
    (row,) = batch.rows["activities"]
    assert row["to_version"] == "abc"


def test_revisions_of_helm_are_deployments(tmp_path):
    kept = [revision(3, 9, "deployed", appVersion="2.1"), revision(2, 2), revision(1, 1)]
    released = {
        "kind": "HelmRelease",
        "metadata": {"name": "ledger", "namespace": "shop"},
    }
    tried = {"kind": "HelmRelease", "metadata": {"name": "ledger", "namespace": "qa"}}
    items = [part | {"status": {"history": kept}} for part in (released, tried)]
    (tmp_path / "flux.json").write_text(json.dumps({"kind": "List", "items": items}))
    listed = {"updated": "2026-10-05 09:00:00.5 +0000 UTC", "chart": "till-1.0.0"}
    history = [
        listed | {"revision": 1, "status": "failed", "app_version": "7"},
        listed | {"revision": 2, "status": "pending-upgrade", "app_version": "8"},
    ]
    (tmp_path / "till.json").write_text(json.dumps(history))
    last = listed | {"name": "shop", "revision": "9", "status": "deployed"}
    (tmp_path / "last.json").write_text(json.dumps([last]))
    batch = read(".", base=tmp_path)
    found = {
        (r["names"][0].name, r["to_version"], r["status"])
        for r in batch.rows["activities"]
    }
    assert found == {
        ("ledger", "2.1", "done"),
        ("ledger", None, "done"),
        ("till", "7", "failed"),
        ("till", "8", "open"),
    }
    assert len(batch.rows["activities"]) == 5
    told = {row["scope"]: row["status"] for row in batch.coverage}
    assert told == {"flux.json": "ok", "till.json": "ok", "last.json": "parse_error"}


def test_builds_of_jobs_that_deploy(tmp_path):
    times = {"timestamp": 1_782_900_000_500}  # milliseconds
    builds = [
        {"number": 3, "result": None, **times},
        {"number": 2, "result": "FAILURE", **times},
        {"number": 1, "result": "SUCCESS", **times},
    ]
    job = {"name": "till", "fullName": "deploy/till", "builds": builds}
    jobs = [job, job | {"fullName": "tests/till"}, job | {"name": "till-staging"}]
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    assert found(read("jobs.json", tmp_path)) == [
        ("till", "07-01", "open"),
        ("till", "07-01", "failed"),
        ("till", "07-01", "done"),
    ]


@pytest.mark.parametrize(
    ("time", "day"),
    [(1_782_900_000, "07-01"), (1_782_900_000_500, "07-01"), (20260701100000, None)],
)
def test_a_number_is_a_time_in_seconds_or_milliseconds(tmp_path, time, day):
    build = {"number": 1, "result": "SUCCESS", "timestamp": time}
    job = {"name": "till", "fullName": "deploy/till", "builds": [build]}
    (tmp_path / "job.json").write_text(json.dumps(job))
    days = [started for _, started, _ in found(read("job.json", tmp_path))]
    assert days == ([day] if day else [])


@pytest.mark.parametrize(
    ("record", "other"),
    [
        (
            {
                "id": "01",
                "application": "till",
                "name": "Deploy to prod",
                "status": "TERMINAL",
                "startTime": 1_782_900_000_500,
                "stages": [],
            },
            {"name": "Bake an image"},
        ),
        (
            {
                "id": "x",
                "number": 7,
                "state": "failed",
                "pipeline": {"slug": "till-deploy", "repository": "git@a:b/till.git"},
                "created_at": "2026-07-01T10:00:00Z",
            },
            {"pipeline": {"slug": "till-tests"}},
        ),
        (
            {
                "id": "y",
                "pipeline_number": 9,
                "name": "release",
                "project_slug": "gh/shop/till",
                "status": "error",
                "created_at": "2026-07-01T10:00:00Z",
                "stopped_at": None,
            },
            {"name": "deploy-staging"},
        ),
    ],
    ids=["spinnaker", "buildkite", "circleci"],
)
def test_runs_of_pipelines_that_deploy(tmp_path, record, other):
    (tmp_path / "runs.json").write_text(json.dumps({"items": [record, record | other]}))
    batch = read("runs.json", tmp_path)
    [(_, day, status)] = found(batch)
    assert (day, status) == ("07-01", "failed")
    names = {name.name for name in batch.rows["activities"][0]["names"]}
    assert "till" in names


@pytest.mark.parametrize("key", ["deploymentInfo", "deploymentsInfo"])
def test_deployments_of_codedeploy(tmp_path, key):
    info = {
        "applicationName": "till",
        "deploymentGroupName": "prod",
        "deploymentId": "d-1",
        "status": "Succeeded",
        "createTime": "2026-07-02T10:00:00+02:00",
    }
    tried = info | {"deploymentId": "d-2", "deploymentGroupName": "till-staging"}
    answer = {key: info if key == "deploymentInfo" else [info, tried]}
    (tmp_path / "deploys.json").write_text(json.dumps(answer))
    assert found(read("deploys.json", tmp_path)) == [("till", "07-02", "done")]


def test_runs_of_a_pipeline_of_aws_are_of_the_name_of_their_file(tmp_path):
    runs = [
        {"pipelineExecutionId": word, "status": word, "startTime": 1_783_065_600 + n}
        for n, word in enumerate(("Succeeded", "Failed", "InProgress", "Superseded"))
    ]
    answer = {"pipelineExecutionSummaries": runs}
    (tmp_path / "till.json").write_text(json.dumps(answer))
    batch = found(read("till.json", tmp_path))
    assert [status for _, _, status in batch] == ["done", "failed", "open", "failed"]
    assert {name for name, _, _ in batch} == {"till"}


def test_the_event_of_a_deployment_of_github(tmp_path):
    deployment = {
        "id": 1,
        "sha": "f95f852bd8fc",
        "environment": "production",
        "created_at": "2026-07-02T10:00:00Z",
        "repository_url": "https://api.github.com/repos/shop/till",
    }
    event = {"action": "created", "deployment": deployment, "repository": {"id": 2}}
    (tmp_path / "event.json").write_text(json.dumps(event))
    # what became of it is in other events
    assert found(read("event.json", tmp_path)) == [("till", "07-02", None)]


def test_tables_of_devlake_belong_together():
    batch = read("devlake")
    assert sorted(found(batch)) == [
        ("catalog", "07-01", "done"),
        ("catalog", "07-16", "done"),
        ("catalog", "07-20", "failed"),
        ("catalog", "07-31", "done"),
    ]
    lead = {
        row["activity_id"]: (row["ended_at"] - row["committed_at"]).total_seconds()
        / 86400
        for row in batch.rows["activities"]
        if row.get("committed_at")
    }
    assert lead == {"devlake:c2": 1.5, "devlake:c5": 4.0}  # the medians of their changes


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    directory = tmp_path_factory.mktemp("fleet")
    (directory / "told").mkdir()
    ids = SERVICES + "search,,\nstock,,\ncatalog,,\nidle,,\n"
    (directory / "told" / "services.csv").write_text(ids)
    text = '[[source]]\ntype = "frames"\npath = "told"\n'
    for kind in ("github", "gitlab", "argocd", "devlake"):
        text += f'[[source]]\ntype = "deploys"\npath = "{FIXTURES / kind}"\n'
    (directory / "assess.toml").write_text(text)
    return assess.collect(directory / "assess.toml", now=NOW)


def test_measured_beats_asked_and_what_was_asked_stays(fleet):
    services = fleet["services"].set_index("service_id")
    month = 365.25 / 12
    rates = services["deploys_per_month"]
    assert rates["checkout"] == pytest.approx(3 / 62 * month)  # and not 40
    assert rates["cart"] == pytest.approx(2 / 21 * month)
    assert rates["search"] == pytest.approx(4 / 24 * month)
    assert rates["catalog"] == pytest.approx(2 / 30 * month)
    leads = services["lead_time_days"]
    assert leads["cart"] == pytest.approx(2.0)
    assert leads["billing"] == pytest.approx(3 + 8 / 1440)
    assert leads["catalog"] == pytest.approx(2.75)
    answers = fleet["answers"].set_index(["service_id", "question", "source"])["answer"]
    assert answers["checkout", "team.deploys", "stated"] == "40"
    assert answers["billing", "team.lead_time", "stated"] == "1"
    assert "3 in 62 days (deploys)" in answers["checkout", "team.deploys", "measured"]
    row = fleet["coverage"].query("source == 'measured'").iloc[0]
    assert (row["rows"], row["window_start"].month, row["window_end"].month) == (6, 7, 9)


def test_without_deployments_nothing_is_known(fleet):
    services = fleet["services"].set_index("service_id")
    assert pd.isna(services.loc["idle", "deploys_per_month"])
    assert pd.isna(services.loc["checkout", "lead_time_days"])  # nobody says when


def table(*rows):
    return from_frames(
        {
            "services": pd.DataFrame({"service_id": ["a"]}),
            "activities": pd.DataFrame(
                [
                    {"activity_id": f"{n}", "kind": "deploy", **row}
                    for n, row in enumerate(rows)
                ]
            ),
        },
        snapshot_at=NOW.isoformat(),
    )


def rate_of(*days, **more):
    """Return the measured rate of a service with deployments so many days ago."""
    rows = [
        {
            "service_id": "a",
            "started_at": NOW - pd.Timedelta(days=day),
            "source": "kubernetes",
            **more,
        }
        for day in days
    ]
    inventory = table(*rows)
    tables = {name: inventory[name] for name in ("services", "activities")}
    notes = measure(tables, [], NOW)
    return tables["services"]["deploys_per_month"].iloc[0], notes


@pytest.mark.parametrize(
    ("days", "per_month"),
    [
        ((60, 30, 10), 2 / 60),  # the first one opens the window
        ((60,), None),  # a platform that keeps the last deployment alone
        ((3, 2, 1), None),  # a burst
        ((-5, -6), None),  # still to come
    ],
)
def test_orchestrators_that_keep_a_history(days, per_month):
    rate, notes = rate_of(*days)
    assert (
        pd.isna(rate)
        if per_month is None
        else rate == pytest.approx(per_month * 365.25 / 12)
    )
    if min(days) > 0:
        assert notes[0]["status"] == ("empty" if per_month is None else "ok")


def test_what_failed_or_is_under_way_is_no_deployment():
    assert pd.isna(rate_of(60, 30, 10, status="failed")[0])
    assert pd.isna(rate_of(60, 30, 10, status="in_progress")[0])
    assert rate_of(60, 30, 10, status="steady")[0] > 0


def test_a_person_does_not_contradict_what_was_measured():
    tables = {
        "services": pd.DataFrame({"service_id": ["a"], "deploys_per_month": [0.2]}),
        "answers": pd.DataFrame(
            {
                "service_id": ["a", "a"],
                "question": ["team.deploys"] * 2,
                "source": ["csv", "measured"],
                "risk": ["green", "unknown"],
                "answered_at": [NOW, NOW],
            }
        ),
    }

    def state(frames):
        readiness = assess.score_readiness(
            from_frames(frames, snapshot_at=NOW.isoformat()), load_policy()
        )
        atoms = readiness.details["atoms"].set_index("check")
        return atoms.loc["team.deploys", "state"]

    assert state(tables) == "fail"
    asked = {**tables, "answers": tables["answers"].iloc[:1]}
    assert state(asked) == "conflict"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ("production", True),
        ("prod-eu", True),
        ("", True),
        ("eu-west-1", True),
        ("staging", False),
        ("shop-test", False),
        ("review/fix-1", False),
        ("latest", True),
    ],
)
def test_environments(environment, expected):
    assert is_production(environment) is expected


def test_words_of_statuses():
    assert [status_of(w) for w in ("SUCCESS", "ABORT", "In_Progress", "steady", "")] == [
        *("done", "failed", "open", None, None),
    ]


def test_the_window_is_an_option():
    options = {"since": "2026-07-10", "until": "2026-08-09"}
    batch = read("github/deployments.json", **options)
    assert [day for _, day, _ in found(batch)] == ["07-15", "08-01"]
    assert batch.coverage[0]["window_end"] == datetime(2026, 8, 9, tzinfo=UTC)


def test_what_is_no_export_is_coverage(tmp_path):
    (tmp_path / "w.json").write_text('["a", "b"]')
    (tmp_path / "x.json").write_text('[{"a": 1}]')
    (tmp_path / "y.csv").write_text("a,b\n1,2\n")
    (tmp_path / "z.json").write_text('{"total_count": 0, "workflow_runs": []}')
    batch = read(".", tmp_path)
    statuses = [row["status"] for row in batch.coverage]
    assert statuses == ["parse_error", "parse_error", "parse_error", "empty"]
    assert not batch.rows["activities"]
    source = DeploysSource()
    assert len(source.check({"format": "octopus", "since": "x", "workflow": "("})) == 4


@pytest.mark.parametrize("kind", ["github", "gitlab", "argocd"])
def test_whatever_comes_is_a_row_or_is_counted(kind, tmp_path):
    values = [json.loads(f.read_text()) for f in sorted((FIXTURES / kind).iterdir())]

    @whatever_comes
    def check(seeds):
        for seed in seeds:
            (tmp_path / "x.json").write_text(json.dumps(mutated(values, seed)))
            batch = DeploysSource().collect({"path": "x.json"}, tmp_path, Deadline(20))
            fit([batch])

    check()
