"""Begin: a project for this machine, and the questions that are worth asking."""

import csv
import io
import socket
import tomllib

import nbformat
import pandas as pd
import pytest

import assess
from assess.config import data_path, load_config
from assess.sources.catalogue import source_types


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with nothing but what a test puts there."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "run"))
    for name in ("DOCKER_HOST", "KUBECONFIG", "AWS_CONFIG_FILE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("AWS_SHARED_CREDENTIALS_FILE", raising=False)
    return home


def tables(file):
    """Return the tables of an assess.toml, without the engine of the machine that runs the test."""
    config = load_config(file)
    for source in config.sources:
        assert source_types()[source.type].options
    return [
        {"type": s.type, **s.options}
        for s in config.sources
        if s.options.get("endpoint") not in ENGINES_OF_THIS_MACHINE
    ]


ENGINES_OF_THIS_MACHINE = (
    "unix:///var/run/docker.sock",
    "unix:///run/podman/podman.sock",
)


def test_init_lays_out_a_project_that_every_next_step_can_use(call, machine, tmp_path):
    listed = call("init").stdout.split()
    assert {"assess.toml", "policy.toml", "notebooks/05_what_next.ipynb"} <= {*listed}
    assert (tmp_path / "data/snapshots").is_dir()
    assert (tmp_path / "reports").is_dir()
    assert tables(tmp_path / "assess.toml") == []
    written = (tmp_path / "policy.toml").read_text()
    assert written == data_path("policy.toml").read_text()  # with its comments
    assert call("policy", "--format", "toml").stdout == written
    own = assess.load_policy(tmp_path / "policy.toml")
    assert own.hash == assess.load_policy().hash
    call("policy", "--policy", "policy.toml")


def test_init_finds_what_the_machine_has(call, machine, tmp_path):
    (machine / "run/podman").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(machine / "run/podman/podman.sock"))
        (tmp_path / "shop").mkdir()
        (tmp_path / "shop/compose.yaml").write_text("services: {}")
        (tmp_path / ".hidden").mkdir()
        (tmp_path / ".hidden/compose.yaml").write_text("services: {}")
        (machine / ".aws").mkdir()
        (machine / ".aws/config").write_text(
            "[default]\nregion = eu-west-1\n[profile audit]\nregion=us-east-1\n"
            "[sso-session x]\nsso_region = eu-west-1\n"
        )
        (machine / ".aws/credentials").write_text(
            "[legacy]\naws_secret_access_key = %s\n"
        )
        (machine / ".kube").mkdir()
        (machine / ".kube/config").write_text("clusters: []")
        call("init", DOCKER_HOST="tcp://10.0.0.9:2376")
    found = tables(tmp_path / "assess.toml")
    aws = {
        "profile": ["audit", "default", "legacy"],
        "regions": ["eu-west-1", "us-east-1"],
    }
    assert found == [
        {"type": "docker", "endpoint": f"unix://{machine}/run/podman/podman.sock"},
        {"type": "docker", "endpoint": "tcp://10.0.0.9:2376"},
        {"type": "compose", "path": "shop/compose.yaml"},
        *({"type": kind, **aws} for kind in ("ec2", "ecs", "ecr", "ssm")),
        {"type": "kubernetes", "path": "dumps/kubernetes"},
    ]
    assert "aws_secret_access_key" not in (tmp_path / "assess.toml").read_text()


DECLARED = {
    "web.yaml": "apiVersion: apps/v1\nkind: Deployment\n",
    "web-service.yml": "apiVersion: v1\nkind: Service\n",
    "catalog-info.yaml": "kind: Component\n",
    "chart/Chart.yaml": "apiVersion: v2\nname: web\n",
    "chart/templates/web.yaml": "kind: Deployment\nname: {{ .Release.Name }}\n",
    "deploy/base/job.yaml": "kind: CronJob\n",
    "deploy/alerts/rules.yaml": "kind: ConfigMap\ndata: {a: '{{ $value }}'}\n",
    "deploy/flux/web.yaml": "kind: HelmRelease\n",
    "deploy/base/more/job.yaml": "kind: CronJob\n",
    "deploy/dumps/pods.json": '{"kind": "List", "items": []}',
    "deploy/node_modules/x/job.yaml": "kind: CronJob\n",
    "stack/aws/web.template": "Resources: {Web: {Type: AWS::ECS::Service}}",
    "stack/prose.json": "{}",
    "jobs/web.json": '{"Job": {"TaskGroups": []}}',
    "jobs/api.nomad": 'job "api" {}\n',
    "mesos/web.json": '{"id": "/web", "cpus": 0.1, "mem": 64}',
    "units/web.container": "[Unit]\n[Container]\nImage=web:1\n",
    "team/catalog-info.yaml": "apiVersion: backstage.io/v1alpha1\nkind: Component\n",
    "scans/web.json": '{"SchemaVersion": 2, "ArtifactName": "web:1"}',
    "scans/api.json": '{"projectName": "docker-image|shop/api"}',
    "facts/web.json": '{"ansible_facts": {}}',
    "spans/a.json": '{"resourceSpans": []}',
    "aws/1-eu-west-1/ec2-describe-instances.json": '{"Reservations": []}',
    "aws/1-eu-west-1/ecr-describe-repositories.json": "{}",
    "aws/1-eu-west-1/ecs-describe-services-1.json": "{}",
    "aws/1-eu-west-1/ssm-describe-instance-information.json": "{}",
    "hosts/a/inspect.json": '[{"Id": "1", "HostConfig": {}}]',
    "hosts/b/inspect.json": '[{"Id": "1", "HostConfig": {}, "OCIRuntime": "crun"}]',
    "hosts/c/inspect.json": '{"info": {"runtimeSpec": {}}}',
    "hosts/d/os_version.json": "[]",
    "calls/web.json": '[{"parent": "web", "child": "api", "callCount": 1}]',
    "pages/a.json": '{"incidents": [{"incident_number": 1}]}',
    "machines/a.json": '[{"ID": "1", "Flavor Name": "m1.small"}]',
    "releases/web.json": '[{"revision": 1, "app_version": "1"}]',
    "run/web.yaml": "metadata: {annotations: {run.googleapis.com/ingress: all}}\n",
    "apps/web.json": '{"type": "Microsoft.App/containerApps"}',
}


FOUND = {
    "kubernetes": [
        "deploy/alerts",
        "deploy/base",
        "deploy/dumps",
        "deploy/flux",
        "web-service.yml",
        "web.yaml",
    ],
    "containerapps": "apps",
    "ec2": "aws/1-eu-west-1",
    "ecr": "aws/1-eu-west-1",
    "ecs": ["aws/1-eu-west-1", "stack/aws"],
    "ssm": "aws/1-eu-west-1",
    "traces": ["calls", "spans"],
    "ansible": "facts",
    "docker": "hosts/a",
    "podman": ["hosts/b", "units"],
    "crictl": "hosts/c",
    "osquery": "hosts/d",
    "nomad": "jobs",
    "vms": "machines",
    "marathon": "mesos",
    "incidents": "pages",
    "deploys": "releases",
    "cloudrun": "run",
    "answers": "scans",
    "backstage": "team",
}


def write(place, files):
    for name, text in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)


def test_init_finds_what_files_declare(call, machine, tmp_path):
    write(tmp_path, DECLARED)
    told = call("init").stderr
    assert "charts: chart; add what `helm template` makes of each" in told
    assert tables(tmp_path / "assess.toml") == [
        {"type": kind, "path": path} for kind, path in FOUND.items()
    ]


def test_init_finds_answers_of_tools(call, machine, tmp_path):
    flow = (
        '{"flow": {"traffic_direction": "EGRESS", "workloads": [{"kind": "Deployment"}]}}'
    )
    files = {
        "flows.json": flow,
        "alerts.json": '[{"startsAt": "2026-07-01T10:00:00Z"}]',
        "job.json": '{"_class": "hudson.model.FreeStyleProject"}',
        "terraform.tfstate": '{"resources": [{"type": "aws_ecs_service"}]}',
    }
    write(tmp_path, files)
    call("init")
    found = {table["type"]: table["path"] for table in tables(tmp_path / "assess.toml")}
    assert found == {
        "traces": "flows.json",
        "incidents": "alerts.json",
        "deploys": "job.json",
        "ecs": "terraform.tfstate",
    }


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("log.csv", "number,incident_state,opened_at"),
        ("export.csv", "Key;Opened;Resolved"),
        ("raw_incidents.csv", "id,params,data,url,input,created_at"),
        ("issues.csv", "id,type,resolution_date,created_date"),
    ],
)
def test_init_finds_tables_of_incidents(call, machine, tmp_path, name, header):
    frame = "incident_id,opened_at,container_evidence"  # of a snapshot
    answers = "service,question,answer,answered_at"
    write(tmp_path, {name: header, "data/incidents.csv": frame, "asked.csv": answers})
    call("init")
    assert tables(tmp_path / "assess.toml") == [{"type": "incidents", "path": name}]


def test_init_says_what_it_found_that_no_source_reads(call, machine, tmp_path):
    play = "---\n- name: set up\n  hosts: all\n"
    files = {"infra/main.tf": "", "infra/net/a.tf": "", "site.yml": play, "hosts.ini": ""}
    write(tmp_path, files)
    told = call("init").stderr
    assert "Terraform: infra; it is not read" in told
    assert "Ansible: hosts.ini, site.yml; add what" in told
    assert "found: nothing to read" in told


def test_init_finds_builds_where_nothing_else_declares_services(call, machine, tmp_path):
    files = {"web/Dockerfile": "", "api/api.Dockerfile": "", "main.tf": ""}
    write(tmp_path, files | {"doc/Dockerfile.md": ""})
    call("init")
    (table,) = tables(tmp_path / "assess.toml")
    assert table == {"type": "builds", "path": ["api", "web"]}
    (tmp_path / "assess.toml").unlink()
    write(tmp_path, {"compose.yaml": "services: {web: {build: web}}"})
    call("init")
    (table,) = tables(tmp_path / "assess.toml")
    assert table["type"] == "compose"


def test_init_takes_the_directory_of_units_with_what_is_beside_them(
    call, machine, tmp_path
):
    write(tmp_path, {"web.container": "[Container]\n", "web.volume": "[Volume]\n"})
    call("init")
    assert tables(tmp_path / "assess.toml") == [{"type": "podman", "path": "."}]


def test_init_finds_compose_projects_however_deep_and_called(call, machine, tmp_path):
    stack = "services:\n  # the only one\n  web:\n    image: web:1\n"
    write(
        tmp_path,
        {
            "a/b/docker-compose.yml": stack,
            "a/b/docker-compose.prod.yml": stack,
            "b/docker-compose.yml": "web:\n  image: web:1\n",  # version 1
            "c/compose.dev.yaml": "x-y: 1\n" + stack,
            "d/mail.yml": stack,
            "d/wiki.yml": stack,
            ".gitlab-ci.yml": "services:\n  - db\njob:\n  image: web:1\n",
            "config/services.yaml": "services:\n  App\\Mailer:\n    autowire: true\n",
        },
    )
    call("init")
    paths = [table["path"] for table in tables(tmp_path / "assess.toml")]
    assert paths == [
        "a/b/docker-compose.yml",
        "b/docker-compose.yml",
        "c/compose.dev.yaml",
        "d/mail.yml",
        "d/wiki.yml",
    ]
    text = (tmp_path / "assess.toml").read_text()
    assert "# a Compose project, not docker-compose.prod.yml\n" in text


def test_init_finds_the_second_of_two_kubeconfigs(call, machine, tmp_path):
    (machine / "second").write_text("clusters: []")
    call("init", KUBECONFIG=f"{machine}/first:{machine}/second")
    assert tables(tmp_path / "assess.toml") == [
        {"type": "kubernetes", "path": "dumps/kubernetes"}
    ]


def test_init_comments_out_everything_it_did_not_find(call, machine, tmp_path):
    told = call("init").stderr
    assert "next: name your sources in assess.toml, then assess doctor" in told
    text = (tmp_path / "assess.toml").read_text()
    examples = text.partition("====")[2].splitlines()
    assert all(not line or line.startswith("#") for line in examples[1:])
    bare = "\n".join(line.removeprefix("# ") for line in examples if "=" in line)
    assert "type = " in bare


def test_init_never_writes_over_a_file(call, machine, tmp_path):
    (tmp_path / "assess.toml").write_text("mine")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks/05_what_next.ipynb").write_text("mine too")
    result = call("init")
    assert "assess.toml is kept" in result.stderr
    assert (tmp_path / "assess.toml").read_text() == "mine"
    assert (tmp_path / "notebooks/05_what_next.ipynb").read_text() == "mine too"
    assert (tmp_path / "notebooks/01_inventory.ipynb").exists()
    before = {f: f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()}
    call("init")
    assert {f: f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()} == before


def test_init_in_a_place_that_is_no_directory_is_an_error(call, machine, tmp_path):
    (tmp_path / "file").write_text("")
    assert "error: " in call("init", "file/x", code=1).stderr


def test_copied_notebooks_read_the_projects_own_snapshots(call, machine, tmp_path):
    call("init")
    for file in sorted((tmp_path / "notebooks").glob("*.ipynb")):
        node = nbformat.read(file, as_version=4)
        (cell,) = (c for c in node.cells if "parameters" in c.metadata.get("tags", []))
        assert '\nsnapshot = "../data/snapshots"\n' in f"\n{cell.source}\n"
        assert '\npolicy_file = "../policy.toml"\n' in f"\n{cell.source}\n"
        assert "sample" not in cell.source
        assert not any(c.get("outputs") for c in node.cells)
    assert "board_order" in (tmp_path / "notebooks/05_what_next.ipynb").read_text()


# ---- the sample is nobody's fleet ----


def test_the_sample_is_a_snapshot_everywhere(call):
    assert (
        call("show", "sample", "--json").stdout
        == call("show", "sample:2026Q3", "--json").stdout
    )
    assert "2026Q2" in call("show", "sample:2026Q2", "--json").stdout
    assert assess.load("sample:2026Q2").quarter == "2026Q2"
    for absent in ("sample:1999Q1", "sample@2020-01-01"):
        assert "sample:2026Q2" in call("show", absent, code=1).stderr


def test_a_directory_called_sample_is_the_users_own(call, tmp_path):
    (tmp_path / "sample").mkdir()
    assert "holds no snapshot" in call("show", "sample", code=1).stderr


@pytest.mark.parametrize("begun", ["assess.toml", "data/snapshots/2026Q4"])
def test_the_report_never_shows_the_sample_for_a_fleet_that_failed(call, tmp_path, begun):
    place = tmp_path / begun
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.suffix:
        place.write_text("")
    else:
        place.mkdir()
    result = call("report", code=1)
    assert "snapshot" in result.stderr
    assert not (tmp_path / "reports").exists()


# ---- questions ----


def questions(call, snapshot, *arguments):
    text = call("questions", snapshot, "--format", "csv", *arguments).stdout
    return list(csv.DictReader(io.StringIO(text)))


def test_questions_list_what_decides_first_one_row_a_fact(call):
    rows = questions(call, "sample")
    assert len({(r["service"], r["question"]) for r in rows}) == len(rows)
    decides = [r["decides"] == "true" for r in rows]
    assert decides == sorted(decides, reverse=True)
    gains = [float(r["gain"]) for r in rows if r["decides"] == "true"]
    assert gains == sorted(gains, reverse=True)
    assert {r["answer"] for r in rows} == {""}
    # nobody is asked for an answer that would not count
    fills = {r["question"]: r["fill"] for r in rows}
    assert (
        fills["build.signed"]
        == "a source that fills images.signed, workloads.image_digest"
    )
    asked = {check["id"] for check in assess.load_policy()["check"] if check.get("asked")}
    answered = {question for question, fill in fills.items() if fill == "answer"}
    assert all(name in asked or name.startswith("services.") for name in answered)


@pytest.fixture
def small(few):
    return str(few / "2026Q3")


def test_questions_about_one_service(call, small):
    rows = questions(call, small, "--service", "gift-cards")
    assert {row["service"] for row in rows} == {"gift-cards"}
    wrong = call("questions", small, "--service", "gift-card", code=1)
    assert "gift-cards" in wrong.stderr


def test_only_a_table_that_can_be_filled_in_is_called_a_source(call, small):
    assert 'path = "asked.csv"' in call("questions", small, "-o", "asked.csv").stderr
    assert "[[source]]" not in call("questions", small, "-o", "asked.md").stderr


def test_the_filled_table_is_a_source_that_changes_what_was_unknown(
    call, small, tmp_path
):
    call("questions", small, "-o", "questions.csv")
    table = pd.read_csv(tmp_path / "questions.csv", dtype=str)
    mine = table["fill"].eq("answer") & table["service"].eq("reviews")
    mine &= table["text"].str.endswith("(yes or no)")
    assert mine.any()
    table["answer"] = table["answer"].mask(mine, "yes")
    table["answered_at"] = table["answered_at"].mask(mine, "2026-09-20")
    table.to_csv(tmp_path / "questions.csv", index=False)
    (tmp_path / "assess.toml").write_text(
        f'[[source]]\ntype = "frames"\npath = "{small}"\n'
        '[[source]]\ntype = "answers"\nformat = "csv"\npath = "questions.csv"\n'
    )
    call("collect", "-o", "snapshot")
    asked = set(table.loc[mine, "question"])
    rows = questions(call, "snapshot")
    left = {row["question"] for row in rows if row["service"] == "reviews"}
    assert not asked & left


def test_a_service_column_among_the_answers_fills_the_service(tmp_path):
    (tmp_path / "a.csv").write_text(
        "service,question,answer\nshop,services.tier,2\nshop,services.license_bound,no\n"
        "shop,services.nothing,x\nshop,team.runbook,yes\nshop,services.runbook,\n"
    )
    (tmp_path / "assess.toml").write_text(
        '[[source]]\ntype = "answers"\nformat = "csv"\npath = "a.csv"\n'
    )
    inventory = assess.collect(tmp_path / "assess.toml")
    (service,) = inventory["services"].to_dict("records")
    assert (service["tier"], service["license_bound"]) == (2, False)
    assert pd.isna(service["runbook"])
    assert set(inventory["answers"]["question"]) == {"services.nothing", "team.runbook"}


# ---- the policy, as a file ----


def test_the_policy_as_toml_is_the_policy(call, tmp_path):
    call("policy", "--format", "toml", "-o", "whole.toml")
    assert assess.load_policy(tmp_path / "whole.toml").hash == assess.load_policy().hash
    (tmp_path / "own.toml").write_text('[target]\nengine = "28"\n')
    text = call("policy", "--policy", "own.toml", "--format", "toml").stdout
    (tmp_path / "all.toml").write_text(text)
    assert tomllib.loads(text)["target"]["engine"] == "28"
    own, everything = (assess.load_policy(tmp_path / f) for f in ("own.toml", "all.toml"))
    assert own.hash == everything.hash
