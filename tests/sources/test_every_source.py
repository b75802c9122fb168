"""What holds for every source: it fills what it says, tells what it cannot see, keeps secrets."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from pathlib import Path

import pytest
from aws_server import CREDENTIALS
from replay import replaying

from assess import frames
from assess.config import load_config
from assess.sources import dumps, source_types
from assess.sources.base import Batch
from assess.sources.catalogue import homes
from assess.sources.deadline import Deadline
from assess.sources.joining.findings import name_findings
from assess.sources.joining.merge import to_tables

FIXTURES = Path(__file__).parents[1] / "fixtures"
CANARY = "hunter2"
AWS = ("ec2", "ecs", "ecr", "ssm")
STATUSES = set(frames.columns("coverage")["status"].rule.split("|"))
TABLES = [
    (t.type, t.options) for t in load_config(FIXTURES / "every_source.toml").sources
]
IDS = [f"{kind}-{options.get('format', 'dump')}" for kind, options in TABLES]
every_dump = pytest.mark.parametrize(("kind", "options"), TABLES, ids=IDS)

PLACES = {  # where real systems put secrets: the payload, and the keys that lead to it
    "docker/cli/inspect.json": [
        "Config Env",
        "Config Healthcheck",
        "State Health Log",
        "Args",
        "Config Cmd",
        "Config Entrypoint",
        "HostConfig LogConfig Config",
        "Config Labels",
    ],
    "crictl/node-1/info.json": ["config registry configs"],
    "crictl/node-1/inspect.json": [
        "info runtimeSpec process env",
        "info runtimeSpec process args",
        "info config envs",
        "status annotations example.com/note",
        "status message",
    ],
    "crictl/edge-1/inspect.json": ["Args", "Config Labels"],
    "podman/forge-1/inspect.json": [
        "Config Env",
        "Config Cmd",
        "Config Labels",
        "Config Healthcheck",
        "State Health Log",
        "Args",
    ],
    "podman/forge-1/ps.json": ["Command", "Labels"],
    "docker/api/volumes.json": ["Volumes Options o"],
    "docker/api/info.json": ["HttpProxy"],
    "ecs/210987654321-eu-west-1/describe-task-definition-checkout.json": [
        f"taskDefinition containerDefinitions {key}"
        for key in (
            "environment",
            "command",
            "entryPoint",
            "environmentFiles",
            "dockerLabels",
            "logConfiguration options",
            "healthCheck command",
            "repositoryCredentials",
            "secrets",
        )
    ],
    "ecs/210987654321-eu-west-1/describe-tasks-RUNNING.json": [
        "tasks overrides containerOverrides environment",
        "tasks overrides containerOverrides command",
    ],
    "ecs/210987654321-eu-west-1/describe-services-1.json": ["services events"],
    "ec2/210987654321-eu-west-1/describe-scaling-activities.json": ["Activities Cause"],
    "kubernetes/shop.json": [
        "items metadata annotations kubectl.kubernetes.io/last-applied-configuration",
        "items spec containers env",
        "items spec containers args",
        "items spec containers command",
    ],
    "nomad/job-shop.json": ["TaskGroups Tasks Env", "TaskGroups Tasks Templates"],
    "nomad/allocations.json": ["TaskStates app Events"],
    "marathon/apps.json": ["apps env", "apps cmd", "apps lastTaskFailure message"],
    "swarm/inspect/services.json": [
        "Spec TaskTemplate ContainerSpec Env",
        "Spec TaskTemplate ContainerSpec Args",
        "Spec Labels",
        "Spec TaskTemplate ContainerSpec Mounts VolumeOptions",
    ],
    "ansible/cache/web-01.prod.example.com": [
        "ansible_env",
        "ansible_cmdline",
        "ansible_local",
        "ansible_ssh_host_key_rsa_public",
    ],
    "osquery/web-02/docker_info.json": ["http_proxy"],
    "pagerduty/incidents.json": ["incidents title", "incidents description"],
    "opsgenie/incidents.json": ["data message", "data description"],
    "servicenow/incident.json": ["result short_description"],
    "statuspage/incidents.json": ["name", "incident_updates body"],
    "jira/issues.json": ["issues fields summary", "issues fields description"],
    "answers/trivy/cart.json": ["Metadata ImageConfig history", "Results Secrets"],
    "registry/dumps/web.json": ["Env", "Labels maintainer"],
    "ssm/210987654321-eu-west-1/get-inventory.json": [
        "Entities Data AWS:Application Content URL"
    ],
    "backstage/entities.json": ["metadata annotations backstage.io/view-url"],
    "traces/jaeger.json": ["data child"],
    "connections/app-01/process_open_sockets.json": ["cmdline"],
    "connections/app-01/processes.json": ["cmdline"],
    "cloudrun/services.json": [
        "spec template spec containers env",
        "spec template spec containers args",
        "metadata annotations serving.knative.dev/creator",
    ],
    "cloudrun/v2.json": ["services template containers env"],
    "containerapps/apps.json": [
        "properties template containers env",
        "properties template containers command",
        "properties configuration secrets",
        "systemData createdBy",
    ],
    "containerapps/groups.json": ["containers environmentVariables"],
    "vms/gcloud.json": ["metadata items value"],
    "vms/azure.json": ["osProfile customData"],
}

LIVE = {  # the options of each live source
    "docker": [{"endpoint": "tcp://{host}"}],
    "swarm": [{"endpoint": "tcp://{host}"}],
    "registry": [{"endpoint": "{url}", "repositories": ["shop/web"]}],
    **{
        kind: [{"endpoint": "{url}"}]
        for kind in ("kubernetes", "nomad", "marathon", "backstage")
    },
    "traces": [
        {"endpoint": "{url}", "format": f} for f in ("jaeger", "zipkin", "servicegraph")
    ],
    "answers": [{"endpoint": "{url}", "format": "konveyor"}],
    "incidents": [
        {"endpoint": "{url}", "format": name}
        for name in ("pagerduty", "opsgenie", "jira", "servicenow", "statuspage")
    ],
    **{kind: [{"endpoint_url": "{url}", "regions": ["eu-west-1"]}] for kind in AWS},
}
every_server = pytest.mark.parametrize(
    ("kind", "options"),
    [(kind, options) for kind, listed in LIVE.items() for options in listed],
)


def collect(kind, options, base: Path = FIXTURES, *, probe=False, seconds=20) -> Batch:
    source = homes()[kind].load()()
    assert source.check(options) == []
    work = source.probe if probe else source.collect
    return work(options, base, Deadline(seconds))


def statuses(batch: Batch) -> set[str]:
    return {row["status"] for row in batch.coverage}


def rows_n(batch: Batch) -> int:
    """Rows, but for those of a host that is known by its directory or address alone."""
    known = ("hosts", "engines")
    return sum(len(rows) for frame, rows in batch.rows.items() if frame not in known)


def paths(options: dict) -> list[str]:
    return options["path"] if isinstance(options["path"], list) else [options["path"]]


# -- from files ----------------------------------------------------------------------------------


def test_every_type_has_payloads():
    ours = {kind for kind, found in source_types().items() if found.origin == "assess"}
    assert {kind for kind, _ in TABLES} == ours


def test_every_type_that_asks_a_server_has_an_answer_for_it():
    asking = {
        kind
        for kind, found in source_types().items()
        if found.origin == "assess" and {"endpoint", "endpoint_url"} & {*found.options}
    }
    assert set(LIVE) == asking


@every_dump
def test_it_fills_what_it_says_and_covers_what_it_read(kind, options):
    batch = collect(kind, options)
    assert any(batch.rows.values()) or batch.usage
    assert set(batch.rows) <= set(homes()[kind].load()().fills)
    assert statuses(batch) <= STATUSES and statuses(batch) & {"ok", "partial"}
    for row in batch.coverage:
        assert row["scope"] and row["call"], row
        assert row["status"] in ("ok", "empty") or row.get("hint"), row
    tables, notes = to_tables(name_findings([(kind, batch)]), [])
    assert not [note for note in notes if note["call"].startswith("check:")]
    for frame, table in tables.items():
        # an empty text comes back from a file as unknown; a registry's image is on no host
        texts = table.select_dtypes("str").drop(columns="host_id", errors="ignore")
        assert not texts.eq("").any(axis=None), frame


@every_dump
def test_no_secret_passes(kind, options):
    assert CANARY not in repr(collect(kind, options))


@pytest.fixture
def copied(tmp_path):
    """Copy what a table reads, so that it can be spoilt."""

    def copy(options):
        for path in paths(options):
            place = FIXTURES / path
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if place.is_dir() else shutil.copy)(place, tmp_path / path)
        files = (f for path in paths(options) for f in [tmp_path / path])
        return [
            g
            for f in files
            for g in ([f] if f.is_file() else f.rglob("*"))
            if g.is_file()
        ]

    return copy


@pytest.mark.parametrize(
    "content",
    [
        b"<!DOCTYPE html><html><title>Sign in</title></html>",
        b"\0" * 64,
        b"\xff\xd8\xff\xe0" * 9,
        b"{{- range .Values.all }}\n- name: {{ .name }}\n{{- end }}\n",
    ],
    ids=["html", "nul", "binary", "template"],
)
@every_dump
def test_what_is_no_dump_is_told_and_gives_nothing(
    kind, options, content, copied, tmp_path
):
    for file in copied(options):
        file.write_bytes(content)
    batch = collect(kind, options, tmp_path)
    assert rows_n(batch) == 0
    assert "parse_error" in statuses(batch) and "ok" not in statuses(batch)
    assert all(
        row.get("hint") for row in batch.coverage if row["status"] == "parse_error"
    )


@pytest.mark.parametrize("place", ["absent", "without a dump"])
@every_dump
def test_what_is_not_there_is_told(kind, options, place, tmp_path):
    if place != "absent":  # the command that writes the dumps did not run
        for path in paths(options):
            (tmp_path / path).mkdir(parents=True, exist_ok=True)
    batch = collect(kind, options, tmp_path)
    assert rows_n(batch) == 0
    assert batch.coverage and not statuses(batch) & {"ok", "empty"}


@every_dump
def test_a_dump_that_is_too_large_is_refused_with_its_limit(
    kind, options, copied, tmp_path
):
    for file in copied(options):
        os.truncate(file, dumps.MAX_BYTES + 1)  # sparse: it takes no room on the disk
    batch = collect(kind, options, tmp_path)
    assert rows_n(batch) == 0
    assert any("limit" in str(row.get("hint")) for row in batch.coverage)


@every_dump
def test_the_year_1628_stops_nothing_and_reaches_no_sound_row(
    kind, options, copied, tmp_path
):
    for file in copied(options):
        text = file.read_text(encoding="utf-8", errors="surrogateescape")
        old = re.sub(r"\b20\d\d(?=-\d\d-\d\d)", "1628", text)
        file.write_text(old, encoding="utf-8", errors="surrogateescape")
    batch = collect(kind, options, tmp_path)
    tables, _ = to_tables(name_findings([(kind, batch)]), [])
    for name, table in tables.items():
        typed, unreadable = frames.conform(name, table)
        assert unreadable.empty, name
        if "bad_time" in typed:  # incidents are kept, and out of every rate
            typed = typed[~typed["bad_time"].fillna(value=False).astype(bool)]
        for column in typed.select_dtypes("datetimetz"):
            assert not typed[column].lt("1970").any(), (name, column)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs a second user"
)
@every_dump
def test_what_may_not_be_read_is_denied_and_not_empty(kind, options, copied, tmp_path):
    collect(kind, options)  # imports
    for file in copied(options):
        file.chmod(0)
    # the way there is open to all, and stays so
    for place in (tmp_path, *tmp_path.parents):
        if place.stat().st_mode & 0o077 == 0:
            place.chmod(0o755)
    os.seteuid(65534)
    try:
        batch = collect(kind, options, tmp_path)
    finally:
        os.seteuid(0)
    assert rows_n(batch) == 0
    assert "denied" in statuses(batch) and not statuses(batch) & {"ok", "empty"}


# -- from servers --------------------------------------------------------------------------------


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Ask a server that answers everything alike."""
    (tmp_path / "token").write_text(f"ada:{CANARY}")
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)

    def asked(kind, options, answer, *, probe=False, seconds=20):
        with replaying(answer if callable(answer) else lambda *_: answer) as server:
            host = server.url.removeprefix("http://")
            own = {
                name: value.format(url=f"http://ada:{CANARY}@{host}", host=host)
                if isinstance(value, str)
                else value
                for name, value in options.items()
            }
            if "token_file" in homes()[kind].load()().options:
                own["token_file"] = "token"
            return collect(kind, own, tmp_path, probe=probe, seconds=seconds)

    return asked


BODY = json.dumps({"message": f"token={CANARY}: no", "error": CANARY}).encode()
AWS_BODY = (
    "<ErrorResponse><Error><Code>InvalidClientTokenId</Code>"
    f"<Message>token={CANARY}: no</Message></Error></ErrorResponse>"
).encode()
PAGE = f"<html>Sign in, ada:{CANARY}</html>".encode()


@pytest.mark.parametrize("code", [401, 403])
@pytest.mark.parametrize("probe", [False, True], ids=["collect", "probe"])
@every_server
def test_a_denial_is_denied_and_not_empty(kind, options, code, probe, ask):
    body = AWS_BODY if kind in AWS else BODY
    batch = ask(kind, options, (code, body, {"X-Note": CANARY}), probe=probe)
    assert rows_n(batch) == 0
    assert "denied" in statuses(batch) and not statuses(batch) & {"ok", "empty"}
    assert CANARY not in repr(batch)


@pytest.mark.parametrize(
    "body", [PAGE, b"\0" * 64, b'[{"name": "web", "Id": "4'], ids=["html", "nul", "half"]
)
@every_server
def test_an_answer_that_is_none_is_told(kind, options, body, ask):
    batch = ask(kind, options, (200, body, {"Content-Type": "text/html"}))
    assert rows_n(batch) == 0
    assert "parse_error" in statuses(batch) and "ok" not in statuses(batch)
    assert CANARY not in repr(batch)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((500, BODY, {}), {"unreachable"}),
        ((404, PAGE, {}), {"unsupported", "empty", "unreachable"}),
        ((429, BODY, {"Retry-After": "60"}), {"throttled"}),
    ],
    ids=["broken", "missing", "throttled"],
)
@pytest.mark.parametrize(
    # the SDK of AWS asks again for minutes: test_ec2.py writes its answers
    ("kind", "options"),
    [
        (kind, options)
        for kind, listed in LIVE.items()
        if kind not in AWS
        for options in listed
    ],
)
def test_what_else_a_server_may_say(kind, options, answer, expected, ask):
    batch = ask(kind, options, answer)
    assert rows_n(batch) == 0
    assert statuses(batch) & expected and "ok" not in statuses(batch)
    assert CANARY not in repr(batch)


@every_server
def test_a_server_that_hangs_costs_the_deadline_of_its_source(kind, options, ask):
    is_over = threading.Event()
    try:
        batch = ask(
            kind, options, lambda *_: is_over.wait(30) or (200, b"[]", {}), seconds=0.7
        )
    finally:
        is_over.set()
    assert rows_n(batch) == 0
    assert "timeout" in statuses(batch) and not statuses(batch) & {"ok", "empty"}
    assert CANARY not in repr(batch)


# -- secrets -------------------------------------------------------------------------------------


def found(value, keys):
    """What lies at the end of keys, through lists."""
    if isinstance(value, list):
        return [part for item in value for part in found(item, keys)]
    if not keys:
        return [value]
    return (
        found(value[keys[0]], keys[1:])
        if isinstance(value, dict) and keys[0] in value
        else []
    )


@pytest.mark.parametrize(
    ("file", "place"), [(f, p) for f, ps in PLACES.items() for p in ps]
)
def test_the_canary_is_planted_where_systems_put_secrets(file, place):
    text = (FIXTURES / file).read_text(encoding="utf-8")
    assert CANARY in repr(found(json.loads(text), place.split()))
