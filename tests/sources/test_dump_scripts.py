"""The scripts that `assess sources TYPE --script` prints, run with commands that are recordings."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import boto3
import pytest
from aws_server import REGION
from click.testing import CliRunner
from test_permissions import actions, fill

from assess.cli import cli
from assess.sources.catalogue import dump_script, homes
from assess.sources.deadline import Deadline
from assess.sources.hosts.osquery import TABLES
from assess.sources.kubernetes import RESOURCES, SETTINGS, VERSIONED

FIXTURES = Path(__file__).parents[1] / "fixtures"
SCRIPTS = (
    "ansible",
    "aws",
    "crictl",
    "docker",
    "kubernetes",
    "marathon",
    "nomad",
    "osquery",
    "podman",
    "swarm",
)
HEAD = dump_script("kubernetes").partition("set -eu\n")[2].partition("lists=")[0]
MOST_LINES = 38  # beside the comment on top; that of AWS stands for four sources
MOST_LINES_OF_AWS = 96
SHELLCHECK = shutil.which("shellcheck")
AWS = os.environ.get("ASSESS_TEST_AWS", "")  # path of the real command: it takes a minute
# Where a script names a command, and what that may be asked: nothing that changes anything.
READS = {
    "ansible": r"all --tree \S+ -m (setup -a gather_subset=\S+|service_facts|package_facts)",
    "aws": r"(sts|ec2|ecs|ecr|elb|elbv2|ssm|autoscaling) (describe|list|get)-[a-z-]+( .*)?",
    "crictl": r"(version|info -o json|images -o json|ps -a (-o json|-q)|inspect -o json .*)",
    "curl": r"--fail --silent --show-error --globoff http://(marathon|mesos)/\S+",
    "docker": r"(version|info|ps|images|volume ls|inspect|image inspect|(node|service) (ls|inspect)"
    r"|network (ls|inspect)|service ps)( .*)?",
    "kubectl": r"get [a-z0-9,.]+ --all-namespaces -o json|api-resources --verbs=list -o name"
    r"|get configmap( kube(let|adm)-config(-1\.\d\d)?)+ -n kube-system --ignore-not-found"
    r" -o json",
    "nomad": r"(job inspect|node status|alloc status)( .*)?",
    "podman": r"(version|info|images|ps|volume ls|inspect)( .*)?",
    "osqueryi": r"--json select [a-z_,*]+ from [a-z0-9_]+( where name in \('dockerd', 'kubelet'\))?",
}


def stub(directory: Path, name: str, body: str) -> None:
    """Put a command on the way of a script; it notes its arguments, and answers as ``body`` says."""
    directory.mkdir(exist_ok=True)
    file = directory / name
    file.write_text(f'#!/bin/sh\necho "$*" >> {directory}/{name}.log\n{body}\n')
    file.chmod(0o755)


def cases(answers: dict[str, Path | str]) -> str:
    """Write what a command prints, by a pattern of its arguments; what has none is denied."""
    lines = [
        f"{pattern}) " + (f"cat {a}" if isinstance(a, Path) else f"echo '{a}'") + " ;;"
        for pattern, a in answers.items()
    ]
    denied = '*) echo "denied: $*" >&2; exit 1 ;;'
    return "\n".join(["case $* in", *lines, denied, "esac"])


def run(kind: str, bin_: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-s", "--", *arguments],
        input=dump_script(kind),
        env={**os.environ, "PATH": f"{bin_}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def asked(bin_: Path, name: str) -> list[str]:
    lines = (bin_ / f"{name}.log").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(READS[name], line)] == []
    return lines


def rows(kind: str, base: Path, path: str) -> dict[str, list[dict]]:
    """Rows by frame, without where they are from and when their files were written."""
    batch = homes()[kind].load()().collect({"path": path}, base, Deadline(30))
    found = {
        frame: sorted(
            (
                {k: v for k, v in row.items() if k not in ("source_ref", "last_seen_at")}
                for row in listed
            ),
            key=repr,
        )
        for frame, listed in batch.rows.items()
    }
    assert any(found.values())
    return found


# -- all scripts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SCRIPTS)
def test_a_script_is_read_in_a_minute(kind):
    text = dump_script(kind)
    comment, rest = text.split("set -eu\n", 1)
    assert comment.startswith("#!/bin/sh\n# sh dump.sh DIRECTORY")
    assert (
        "Reads" in comment and "Never reads" in comment and "changes nothing" in comment
    )
    limit = MOST_LINES_OF_AWS if kind == "aws" else MOST_LINES
    assert len(rest.splitlines()) <= limit
    assert max(map(len, text.splitlines())) <= 120
    assert rest.startswith('umask 077\nmkdir "$1"\n')
    assert kind == "ansible" or rest.startswith(HEAD)
    subprocess.run(["sh", "-n"], input=text, text=True, check=True)


@pytest.mark.skipif(not SHELLCHECK, reason="no shellcheck: apt-get install shellcheck")
@pytest.mark.parametrize("kind", SCRIPTS)
def test_shellcheck_finds_nothing(kind):
    command = [SHELLCHECK, "--shell=sh", "--exclude=SC2317", "-"]  # `ask` calls functions
    done = subprocess.run(
        command, input=dump_script(kind), capture_output=True, text=True, check=False
    )
    assert done.stdout == ""


@pytest.mark.parametrize("kind", [*SCRIPTS, "ec2", "ssm"])
def test_the_command_prints_the_script_alone(kind):
    done = CliRunner().invoke(cli, ["sources", kind, "--script"])
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == dump_script(kind)


def test_without_a_script_the_command_says_for_what_there_is_one():
    done = CliRunner().invoke(cli, ["sources", "traces", "--script"])
    assert done.exit_code in (1, 2)
    assert ", ".join(SCRIPTS) in done.stderr


@pytest.mark.parametrize("kind", SCRIPTS)
def test_an_older_dump_is_not_written_over(kind, tmp_path):
    (tmp_path / "old").mkdir()
    done = run(kind, tmp_path / "bin", str(tmp_path / "old"), "http://m", "http://m")
    assert done.returncode and "exists" in done.stderr
    assert list((tmp_path / "old").iterdir()) == []


@pytest.mark.parametrize("kind", sorted({*SCRIPTS} - {"aws", "ansible"}))
def test_what_is_denied_is_said_and_leaves_no_file(kind, tmp_path):
    for name in READS:
        stub(tmp_path / "bin", name, cases({}))
    done = run(
        kind, tmp_path / "bin", str(tmp_path / "d"), "http://marathon", "http://mesos"
    )
    assert done.returncode == 1
    whole = done.stderr.splitlines()
    assert sum(line.startswith("not whole: ") for line in whole) == sum(
        line.startswith("denied: ") for line in whole
    )
    assert list((tmp_path / "d").iterdir()) == []


# -- against the recordings ----------------------------------------------------------------------


def test_kubernetes(tmp_path):
    served = """customresourcedefinitions.apiextensions.k8s.io
roles.rbac.authorization.k8s.io
podsecuritypolicies.policy
roles.iam.example.com
prioritylevelconfigurations.flowcontrol.apiserver.k8s.io"""
    role = {"kind": "Role", "apiVersion": "rbac.authorization.k8s.io/v1"}
    role |= {"metadata": {"name": "r", "namespace": "shop"}}
    answers = {
        "get\\ nodes*": FIXTURES / "kubernetes/shop.json",
        "api-resources*": served,
        "get\\ custom*": json.dumps({"kind": "List", "items": [role]}),
        "get\\ configmap*": "",
    }
    stub(tmp_path / "bin", "kubectl", cases(answers))
    done = run("kubernetes", tmp_path / "bin", str(tmp_path / "shop"))
    assert (done.returncode, done.stderr) == (0, "")
    found = rows("kubernetes", tmp_path, "shop")
    assert [row for row in found["objects"] if row["kind"] == "Role"] != []
    found["objects"] = [row for row in found["objects"] if row["kind"] != "Role"]
    assert found == rows("kubernetes", FIXTURES / "kubernetes", "shop.json")
    lists, _, others, maps = asked(tmp_path / "bin", "kubectl")
    paths = [path for listing in SETTINGS for path in listing.paths]
    named = maps.partition(" -n kube-system ")[0].removeprefix("get configmap ")
    assert named.split() == [path.rpartition("/")[2] for path in paths]
    assert lists.split()[1].split(",") == [listing.kind for listing in RESOURCES]
    # of the objects of which only versions count, those that the cluster knows
    kinds = set(others.split()[1].split(","))
    assert kinds == set(served.split()) - {"roles.iam.example.com"}
    listed = re.findall(r"^lists=(?:\$lists,)?(\S+)$", dump_script("kubernetes"), re.M)
    named = {path.rpartition("/")[2] for paths in VERSIONED for path in paths}
    assert named <= set(",".join(listed).split(","))


def nomad() -> dict[str, Path | str]:
    here = FIXTURES / "nomad"
    jobs = {f: json.loads(f.read_text()) for f in here.glob("job-*.json")}
    jobs = {f: job.get("Job", job) for f, job in jobs.items()}
    nodes = {f: json.loads(f.read_text()) for f in here.glob("node-*.json")}
    listed = "\n".join(f"{job['Namespace']} {job['ID']}" for job in jobs.values())
    return {
        '"job inspect -namespace=* -t "*': listed,
        '"job inspect -namespace=* -json"': here / "jobs.json",
        **{
            f'"job inspect -namespace={job["Namespace"]} -json {job["ID"]}"': file
            for file, job in jobs.items()
        },
        '"node status -t "*': "\n".join(node["ID"] for node in nodes.values()),
        '"node status -json"': here / "nodes.json",
        **{f'"node status -json {node["ID"]}"': file for file, node in nodes.items()},
        '"alloc status -namespace=* -json"': here / "allocations.json",
    }


def test_nomad(tmp_path):
    stub(tmp_path / "bin", "nomad", cases(nomad()))
    done = run("nomad", tmp_path / "bin", str(tmp_path / "nomad"))
    assert (done.returncode, done.stderr) == (0, "")
    assert rows("nomad", tmp_path, "nomad") == rows("nomad", FIXTURES, "nomad")
    assert len(asked(tmp_path / "bin", "nomad")) == len(nomad())


def test_one_denied_job_costs_only_itself(tmp_path):
    (lost,) = [pattern for pattern in nomad() if "-json billing" in pattern]
    answers = {pattern: answer for pattern, answer in nomad().items() if pattern != lost}
    stub(tmp_path / "bin", "nomad", cases(answers))
    done = run("nomad", tmp_path / "bin", str(tmp_path / "nomad"))
    assert done.returncode == 1 and "not whole: jobs.json" in done.stderr
    text = (tmp_path / "nomad/jobs.json").read_text()
    assert '"ID": "shop"' in text and '"ID": "billing"' not in text


def test_marathon(tmp_path):
    here = FIXTURES / "marathon"
    answers = {
        "*http://marathon/v2/apps[?]embed=apps.tasks*": here / "apps.json",
        "*http://marathon/v2/deployments": here / "deployments.json",
        "*http://mesos/master/slaves": here / "slaves.json",
        "*http://mesos/master/tasks*offset=0": here / "tasks.json",
        "*http://mesos/master/tasks*offset=5000": '{"tasks":[]}',
    }
    stub(tmp_path / "bin", "curl", cases(answers))
    place = str(tmp_path / "marathon")
    done = run("marathon", tmp_path / "bin", place, "http://marathon", "http://mesos")
    assert (done.returncode, done.stderr) == (0, "")
    assert rows("marathon", tmp_path, "marathon") == rows(
        "marathon", FIXTURES, "marathon"
    )
    assert len(asked(tmp_path / "bin", "curl")) == len(answers)


@pytest.mark.parametrize("host", ["web-02", "db-02"])
def test_osquery(host, tmp_path):
    recorded = FIXTURES / "osquery" / host
    chosen = (
        "import json, pathlib, re, sys\n"
        'columns, table = re.match("select (.*) from ([a-z0-9_]+)", sys.argv[2]).groups()\n'
        'table = table.replace("processes", "daemons")\n'
        f'file = pathlib.Path("{recorded}") / f"{{table}}.json"\n'
        "rows = json.loads(file.read_text()) if file.exists() else []\n"
        'wanted = lambda name: columns == "*" or name in columns.split(",")\n'
        "print(json.dumps([{k: r[k] for k in r if wanted(k)} for r in rows]))\n"
    )
    (tmp_path / "osqueryi.py").write_text(chosen)
    python = shutil.which("python3")
    stub(tmp_path / "bin", "osqueryi", f'{python} {tmp_path}/osqueryi.py "$@"')
    (tmp_path / "osquery").mkdir()
    done = run("osquery", tmp_path / "bin", str(tmp_path / "osquery" / host))
    assert (done.returncode, done.stderr) == (0, "")
    # of the same age, which tells whether a host still runs
    shutil.copytree(recorded, tmp_path / "recorded" / host, copy_function=shutil.copyfile)
    assert rows("osquery", tmp_path, "osquery") == rows("osquery", tmp_path, "recorded")
    files = list((tmp_path / "osquery" / host).iterdir())
    assert {file.stem for file in files} == {*TABLES}
    assert len(asked(tmp_path / "bin", "osqueryi")) == len(TABLES)
    written = "".join(file.read_text() for file in files)
    assert '"env_variables"' not in written and "proxy" not in written


def test_ansible(tmp_path):
    copy = f'mkdir -p "$3"; cp {FIXTURES}/ansible/tree/"$(basename "$3")"/* "$3"'
    stub(tmp_path / "bin", "ansible", copy)
    done = run("ansible", tmp_path / "bin", str(tmp_path / "tree"))
    assert (done.returncode, done.stderr) == (0, "")
    assert rows("ansible", tmp_path, "tree") == rows(
        "ansible", FIXTURES / "ansible", "tree"
    )
    assert len(asked(tmp_path / "bin", "ansible")) == 3


def test_hosts_that_ansible_does_not_reach_are_said(tmp_path):
    stub(tmp_path / "bin", "ansible", 'mkdir -p "$3"; exit 4')
    done = run("ansible", tmp_path / "bin", str(tmp_path / "tree"), "-i", "hosts.ini")
    assert done.returncode == 1 and done.stderr.count("not whole") == 3
    lines = (tmp_path / "bin/ansible.log").read_text().splitlines()
    assert all(line.endswith(" -i hosts.ini") for line in lines)


def test_an_engine_without_containers_is_not_one_that_nobody_could_read(tmp_path):
    here = FIXTURES / "docker/cli"
    answers = {
        '"version "*': here / "version.json",
        '"info "*': '{"Name": "host", "Containers": 0, "Images": 0}',
        '"ps "*': Path("/dev/null"),
        '"images "*': Path("/dev/null"),
        '"volume ls "*': Path("/dev/null"),
        '"network ls "*': Path("/dev/null"),
    }
    stub(tmp_path / "bin", "docker", cases(answers))
    done = run("docker", tmp_path / "bin", str(tmp_path / "host"))
    assert (done.returncode, done.stderr) == (0, "")
    options = {"path": "host"}
    batch = homes()["docker"].load()().collect(options, tmp_path, Deadline(30))
    assert {row["call"]: row["status"] for row in batch.coverage} == {
        "version": "ok",
        "info": "ok",
        **dict.fromkeys(("containers", "inspect", "images"), "empty"),
        **dict.fromkeys(("volumes", "networks"), "empty"),
    }
    asked(tmp_path / "bin", "docker")


def test_crictl(tmp_path):
    here = FIXTURES / "crictl/node-1"
    answers = {
        "version": here / "version.txt",
        '"info "*': here / "info.json",
        '"images "*': here / "images.json",
        '"ps -a -q"': "1 2",
        '"ps "*': here / "ps.json",
        '"inspect "*': here / "inspect.json",
    }
    stub(tmp_path / "bin", "crictl", cases(answers))
    done = run("crictl", tmp_path / "bin", str(tmp_path / "node-1"))
    assert (done.returncode, done.stderr) == (0, "")
    assert rows("crictl", tmp_path, "node-1") == rows("crictl", FIXTURES, "crictl/node-1")
    assert "inspect -o json 1 2" in asked(tmp_path / "bin", "crictl")


def test_podman(tmp_path):
    here = FIXTURES / "podman/forge-1"
    answers = {
        '"version "*': here / "version.json",
        '"info "*': here / "info.json",
        '"images "*': here / "images.json",
        '"ps -aq"': "1 2",
        '"ps "*': here / "ps.json",
        '"volume "*': here / "volumes.json",
        '"inspect "*': here / "inspect.json",
    }
    stub(tmp_path / "bin", "podman", cases(answers))
    done = run("podman", tmp_path / "bin", str(tmp_path / "forge-1"))
    assert (done.returncode, done.stderr) == (0, "")
    for quadlet in here.glob("*.container"):
        (tmp_path / "forge-1" / quadlet.name).write_text(quadlet.read_text())
    assert rows("podman", tmp_path, "forge-1") == rows(
        "podman", FIXTURES, "podman/forge-1"
    )
    assert "inspect --type container 1 2" in asked(tmp_path / "bin", "podman")


# -- AWS -----------------------------------------------------------------------------------------

LISTED = {  # so much of everything that each call leads to the next
    '"sts get-caller-identity"*': "210987654321",
    '*" --query Reservations[[][]].Instances[[][]].ImageId"*': "ami-1",
    '*" --query Reservations[[][]].Instances[[][]].InstanceType"*': "t3.nano",
    '*" --query TargetGroups[[][]].TargetGroupArn"*': "arn:tg",
    '*" --query LoadBalancerDescriptions[[][]].LoadBalancerName"*': "b",
    '*" --query repositories[[][]].repositoryName"*': "web",
    '*" --query clusterArns[[][]]"*': "arn:aws:ecs:eu-west-1:1:cluster/c",
    '"ecs list-services"*': "arn:aws:ecs:eu-west-1:1:service/c/s",
    '"ecs list-tasks"*': "arn:aws:ecs:eu-west-1:1:task/c/t",
    '"ecs list-container-instances"*': "arn:aws:ecs:eu-west-1:1:container-instance/c/i",
    '"ecs describe-services"*': ' "taskDefinition": "arn:aws:ecs:eu-west-1:1:task-definition/d:1",',
    '"ecr get-lifecycle-policy"*': "{}",
    "*": "{}",
}
PREFIX = {"elb": "elasticloadbalancing", "elbv2": "elasticloadbalancing"}
LEFT_OUT = {  # to read a manifest is a pull, findings are of each image; regions are arguments
    "ecr:BatchGetImage",
    "ecr:DescribeImageScanFindings",
    "ec2:DescribeRegions",
}


def test_aws_makes_the_calls_of_the_policy_and_no_others(tmp_path):
    stub(tmp_path / "bin", "aws", cases(LISTED))
    done = run("aws", tmp_path / "bin", str(tmp_path / "aws"), "eu-west-1", "us-east-1")
    assert (done.returncode, done.stderr) == (0, "")
    places = {f.name for f in (tmp_path / "aws").iterdir()}
    assert places == {"210987654321-eu-west-1", "210987654321-us-east-1"}
    lines = [line.split() for line in asked(tmp_path / "bin", "aws")]
    called = {
        f"{PREFIX.get(service, service)}:{''.join(map(str.capitalize, call.split('-')))}"
        for service, call, *_ in lines
    }
    assert called <= actions("aws")
    assert actions("aws") - called == LEFT_OUT


@pytest.mark.skipif(not AWS, reason="ASSESS_TEST_AWS names no aws command")
def test_the_command_of_aws_writes_what_the_sources_ask(moto, tmp_path, monkeypatch):
    fill(moto)
    ecs = boto3.client("ecs", REGION, endpoint_url=moto)
    container = {"name": "web", "image": "shop/web:1", "memory": 64}
    ecs.register_task_definition(family="web", containerDefinitions=[container])
    ecs.create_service(
        cluster="shop", serviceName="web", taskDefinition="web", desiredCount=0
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # moto knows no inventory of machines
    done = run("aws", Path(AWS).parent, str(tmp_path / "aws"), REGION)
    assert done.stderr.count("not whole") == done.stderr.count("not whole: ssm-") == 3
    for kind in ("ec2", "ecs", "ecr"):
        options = {"endpoint_url": moto, "regions": [REGION]}
        live = homes()[kind].load()().collect(options, tmp_path, Deadline(60))
        dumped = homes()[kind].load()().collect({"path": "aws"}, tmp_path, Deadline(60))
        for frame in live.rows:
            assert len(dumped.rows[frame]) == len(live.rows[frame]), (kind, frame)
        of = {row["call"]: row["status"] for row in dumped.coverage}
        assert set(of.values()) <= {"ok", "empty", "not_configured"}
