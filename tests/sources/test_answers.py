from __future__ import annotations

import json
import os
import threading
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assess import frames
from assess.policy import load_policy
from assess.sources.answers import SCANNERS, AnswersSource
from assess.sources.answers import forms as answer_forms
from assess.sources.csv_records import rows
from assess.sources.deadline import Deadline
from assess.sources.hosts.osquery import OsquerySource
from assess.sources.joining.findings import name_findings
from assess.sources.joining.merge import to_tables

FIXTURES = Path(__file__).parent.parent / "fixtures"
PLACES = {
    "konveyor": "konveyor",
    "csv": "answers.csv",
    "docker-bench": "bench",
    "trivy": "trivy",
    "scorecard": "scorecard",
    "grype": "grype",
    "syft": "syft",
    "xeol": "xeol",
    "kantra": "kantra",
    "scan": "scan",
    **dict.fromkeys(
        ("sbom", "vex", "cyclonedx", "spdx", "openvex", "csaf", "cosign"), "sbom"
    ),
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=10,
)
FIELDS = [
    "id",
    "name",
    "sections",
    "questions",
    "answers",
    "text",
    "risk",
    "selected",
    "application",
    "archetype",
    "questionnaire",
    "createTime",
    "stakeholderGroups",
    "dockerbenchsecurity",
    "tests",
    "results",
    "desc",
    "result",
    "items",
    "SchemaVersion",
    "ArtifactName",
    "Metadata",
    "Results",
    "Vulnerabilities",
    "Misconfigurations",
    "Secrets",
    "Severity",
    "repo",
    "checks",
    "score",
    "date",
    "matches",
    "source",
    "target",
    "Cycle",
    "repoDigests",
    "archetypes",
    "applications",
]


def objects(depth: int = 3) -> st.SearchStrategy:
    """Payloads with the keys of the tools, and anything in them."""
    inner = (
        JSON if depth == 0 else JSON | objects(depth - 1) | st.lists(objects(depth - 1))
    )
    return st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5)


def read(kind, path=None, base=FIXTURES / "answers", **options):
    options |= {"path": path or PLACES[kind], "format": kind}
    return AnswersSource().collect(options, base, Deadline(20))


def answers(batch):
    return {
        (row["names"][0].name, row["question"]): row
        for row in batch.rows["answers"]
        if row.get("names")
    }


@pytest.fixture(scope="module")
def hub():
    return read("konveyor")


# ---- Konveyor ----


def test_selected_answers_carry_the_risk_of_the_questionnaire(hub):
    found = answers(hub)
    health = found["Checkout Service", "observability.health"]
    assert (health["risk"], health["answer"][:16]) == ("red", "No health or rea")
    assert health["answered_at"] == datetime(2026, 9, 1, 9, 30, 0, 123000, tzinfo=UTC)
    assert health["source"] == "konveyor: Legacy Pathfinder"
    assert health["answered_by_role"] == "Payments"
    assert found["cart", "state.stateless"]["risk"] == "unknown"
    # a question without a check is kept as it is
    assert (
        found["cart", "How does the application handle service discovery?"]["risk"]
        == "yellow"
    )
    assert ("cart", "team.deploys") not in found  # nobody answered it


def test_an_archetype_answers_for_its_applications_unless_they_have_their_own(hub):
    found = answers(hub)
    assert found["invoicing", "state.stateless"]["risk"] == "red"
    # its own, not the archetype's
    assert found["cart", "observability.health"]["risk"] == "green"


def test_totals_people_and_comments_are_not_taken(hub):
    files = (FIXTURES / "answers" / "konveyor").iterdir()
    assert sum("hunter2" in file.read_text() for file in files) == 4
    assert "hunter2" not in repr(hub)
    assert set(hub.rows) == {"answers"}
    row = next(row for row in hub.coverage if row["call"] == "answers")
    assert (row["rows"], row["expected"], row["redacted_n"]) == (13, 15, 7)


def test_the_riskiest_of_several_answers_about_one_check_counts():
    def question(text, risk):
        return {"text": text, "answers": [{"text": "so", "risk": risk, "selected": True}]}

    questions = [
        question("Are there health checks?", "green"),
        question("health checks?", "RED"),
    ]
    form = {"questionnaire": {"name": "Q"}, "application": {"name": "a"}}
    document = form | {"sections": [{"questions": questions}]}
    context = answer_forms.Context(answer_forms.checks("konveyor"))
    [row], asked = answer_forms.to_answers([document], context)
    assert (row["question"], row["risk"], asked) == ("observability.health", "red", 2)


class Hub(BaseHTTPRequestHandler):
    """Replays the export as the hub serves it; it wants a token."""

    status = 200
    page = b""

    def do_GET(self):
        name = self.path.removeprefix("/hub/")
        file = FIXTURES / "answers" / "konveyor" / f"{name}.json"
        body = file.read_bytes() if file.exists() else b"[]"
        is_known = self.headers.get("Authorization") == "Bearer hunter2"
        status = self.status if is_known else 401
        body = self.page or body
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Stay silent."""


@pytest.fixture
def server():
    class Own(Hub):
        pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Own)
    thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield running, Own
    running.shutdown()
    running.server_close()
    thread.join()


def ask(server, tmp_path, token="hunter2"):
    (tmp_path / "token").write_text(token)
    endpoint = f"http://127.0.0.1:{server[0].server_port}/hub"
    options = {"endpoint": endpoint, "token_file": "token"}
    assert AnswersSource().check(options) == []
    return AnswersSource().collect(options, tmp_path, Deadline(10))


def test_a_hub_is_asked_with_its_token(server, tmp_path):
    batch = ask(server, tmp_path)
    assert answers(batch)["Checkout Service", "observability.health"]["risk"] == "red"
    assert {row["call"]: row["status"] for row in batch.coverage} == {
        "applications": "ok",
        "archetypes": "empty",
        "assessments": "ok",
        "answers": "ok",
    }
    assert "hunter2" not in repr(batch)


def test_a_hub_that_denies_and_one_that_shows_a_login(server, tmp_path):
    denied = ask(server, tmp_path, "wrong")
    assert {row["status"] for row in denied.coverage} == {"denied"}
    assert not denied.rows
    server[1].page = b"<!DOCTYPE html><html>login</html>"
    assert {row["status"] for row in ask(server, tmp_path).coverage} == {"parse_error"}


# ---- CSV ----


def test_a_table_of_answers():
    batch = read("csv")
    found = answers(batch)
    assert found["cart", "team.runbook"]["risk"] == "green"  # yes, to a check
    assert found["checkout", "state.restore_tested"]["risk"] == "red"
    assert found["billing", "team.deploys"]["risk"] == "unknown"  # purple is no risk
    # in 1628
    assert found["invoicing", "Which libraries does it need?"]["answered_at"] is None
    [row] = batch.coverage
    assert (row["status"], row["rows"], row["expected"], row["unmapped_n"]) == (
        "partial",
        4,
        6,
        3,
    )
    assert "hunter2" not in repr(batch)


def test_a_date_that_has_two_readings_is_told(tmp_path):
    table = "service,question,risk,answered_at\ncart,Is it fast?,low,01.06.2026\n"
    (tmp_path / "a.csv").write_text(table)
    batch = read("csv", "a.csv", tmp_path)
    assert batch.rows["answers"][0]["answered_at"] is None
    assert batch.coverage[0]["unmapped_n"] == 1


def test_a_date_for_answers_without_one(tmp_path):
    (tmp_path / "a.csv").write_text("service_id;question;risk\nshop;team.runbook;high\n")
    [row] = read("csv", "a.csv", tmp_path, answered_at=date(2026, 9, 1)).rows["answers"]
    assert row["answered_at"] == datetime(2026, 9, 1, tzinfo=UTC)
    assert (row["risk"], row["names"][0].confidence) == ("red", 1.0)
    (tmp_path / "b.csv").write_text("service,what\nshop,x\n")
    [row] = read("csv", "b.csv", tmp_path).coverage
    assert row["status"] == "parse_error"
    assert "question" in row["hint"]


def test_only_a_flag_takes_yes_and_no_for_true_and_false(tmp_path):
    lines = [
        "service,question,answer",
        "shop,services.owner,NO",
        "shop,services.public,no",
    ]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    owner, public = read("csv", "a.csv", tmp_path).rows["services"]
    assert (owner["owner"], public["public"]) == ("NO", False)


def test_an_own_table_comes_before_ours(tmp_path):
    (tmp_path / "own.csv").write_text("tool,match,target\ncsv,^Q7$,team.owner\n")
    (tmp_path / "a.csv").write_text("service,question,risk\nshop,Q7,low\n")
    [row] = read("csv", "a.csv", tmp_path, map="own.csv").rows["answers"]
    assert (row["question"], row["risk"]) == ("team.owner", "green")
    (tmp_path / "own.csv").write_text("tool,match,target\ncsv,(,team.owner\n")
    [row] = read("csv", "a.csv", tmp_path, map="own.csv").coverage
    assert (row["call"], row["status"]) == ("map", "parse_error")


# ---- scanners ----


def test_the_benchmark_of_a_host():
    batch = read("docker-bench")
    [engine] = batch.rows["engines"]
    assert engine == {
        "host_id": "web-02",
        "runtime": "docker",
        "insecure_registries_n": 0,
        "userns": False,
        "live_restore": True,
        "source_ref": "bench/web-02.json",
    }
    assert [(r["question"], r["risk"]) for r in batch.rows["answers"]] == [
        ("build.not_root", "red"),
        ("build.not_root", "red"),
        ("observability.health", "yellow"),
        ("state.readonly_root", "red"),
    ]
    assert "score" not in repr(batch.rows)


def test_a_scan_of_an_image():
    batch = read("trivy")
    [image] = batch.rows["images"]
    counts = [
        image[f"vuln_{severity}_n"] for severity in ("critical", "high", "medium", "low")
    ]
    assert counts == [1, 1, 1, 1]  # one CVE in two places is one
    assert image["digest"] == "sha256:" + "cd" * 32
    assert image["created_at"] == datetime(2026, 7, 25, 17, 20, tzinfo=UTC)
    [service] = batch.rows["services"]
    assert service["secrets_in_image"] is True
    found = {row["question"]: row for row in batch.rows["answers"]}
    assert found["config.no_secrets"]["answer"] == "1 secrets found"
    assert "settings.env" not in repr(batch)
    assert "hunter2" not in repr(batch)


def test_a_scan_that_looked_for_no_vulnerabilities_counts_none(tmp_path):
    report = {
        "SchemaVersion": 2,
        "ArtifactName": "shop/web:1",
        "ArtifactType": "container_image",
    }
    report["Metadata"] = {"ImageID": "sha256:" + "1" * 64}
    (tmp_path / "a.json").write_text(json.dumps(report))
    [image] = read("trivy", "a.json", tmp_path).rows["images"]
    assert not any(name.startswith("vuln") for name in image)
    assert "services" not in read("trivy", "a.json", tmp_path).rows
    report["Results"] = [{"Target": "shop/web:1", "Class": "os-pkgs"}]
    (tmp_path / "a.json").write_text(json.dumps(report))
    [image] = read("trivy", "a.json", tmp_path).rows["images"]
    assert image["vuln_critical_n"] == 0  # looked, and found none


def test_a_scorecard_gives_its_checks_and_not_its_score():
    batch = read("scorecard")
    found = {row["question"]: row["risk"] for row in batch.rows["answers"]}
    assert found == {
        "build.no_critical": "yellow",
        "team.owner": "green",
        "scorecard.Signed-Releases": "unknown",  # -1
        "scorecard.Pinned-Dependencies": "red",
    }
    assert batch.coverage[0]["unmapped_n"] == 1  # Fuzzing
    assert "6.4" not in repr(batch)
    assert "hunter2" not in repr(batch)


def test_packages_past_their_end_of_life():
    [row] = read("xeol").rows["answers"]
    assert (row["question"], row["risk"]) == ("xeol.end_of_life", "red")
    assert row["answer"] == "Node.js 16 (2023-09-11)"
    assert "hunter2" not in repr(row)


def test_grype_counts_the_vulnerabilities_of_an_image():
    batch = read("grype")
    [row] = batch.rows["images"]
    assert (row["registry"], row["repository"]) == ("registry.example.net", "shop/till")
    assert (row["digest"], row["arch"]) == (f"sha256:{'fe' * 32}", "amd64")
    counts = [row[f"vuln_{word}_n"] for word in ("critical", "high", "medium", "low")]
    assert counts == [1, 1, 0, 0]  # one in two places is one
    assert {"DSA-5000-1", "CVE-2026-0001"} in [set(f.ids) for f in row["findings"]]
    assert "hunter2" not in repr(batch)
    assert not any(read("xeol", "grype").rows.values())  # xeol writes the same shape
    assert not any(read("grype", "xeol").rows.values())


def test_scanners_that_list_vulnerabilities_beside_the_name_of_an_image():
    batch = read("scan")
    counts = {
        f"{row['repository']}:{row['image'].tag or row['digest'][:9]}": [
            row[f"vuln_{word}_n"] for word in ("critical", "high", "medium", "low")
        ]
        for row in batch.rows["images"]
    }
    assert counts == {
        "shop/base:12": [1, 0, 0, 0],
        "shop/mail:sha256:ab": [0, 1, 0, 0],
        "shop/web:2": [0, 1, 1, 0],
        "shop/api:2": [0, 0, 0, 0],
        "shop/till:7": [0, 0, 0, 1],  # one by two ways is one
    }
    found = [f for row in batch.rows["images"] for f in row["findings"]]
    assert {f.package for f in found} == {"libtill"}
    assert {f.version for f in found} == {"1.2-1"}
    assert {"CVE-2026-0005"} in [set(f.ids) for f in found]  # not Snyk's own id
    assert "hunter2" not in repr(batch)


@pytest.mark.parametrize("tool", ["clair", "gitlab", "prisma", "snyk"])
def test_the_form_of_other_scanners_need_not_be_named(tool):
    options = {"path": f"{PLACES['scan']}/{tool}.json"}
    batch = AnswersSource().collect(options, FIXTURES / "answers", Deadline(20))
    assert [row["call"] for row in batch.coverage] == ["scan"]
    assert batch.rows["images"]


def test_a_scan_of_a_cluster_is_one_of_its_images(tmp_path):
    image = {
        "ImageID": f"sha256:{'dc' * 32}",
        "RepoTags": ["registry.example.net/shop/till:3.1"],
        "RepoDigests": [f"registry.example.net/shop/till@sha256:{'fe' * 32}"],
    }
    found = {"VulnerabilityID": "CVE-2026-0001", "Severity": "HIGH", "PkgName": "libtill"}
    results = [{"Class": "os-pkgs", "Target": "x", "Vulnerabilities": [found]}]
    named = {"Kind": "Deployment", "Namespace": "shop", "Results": results}
    resources = [
        {**named, "Name": "till", "Metadata": [image]},
        {**named, "Name": "two", "Metadata": [image, image]},  # whose package is it
        {"Kind": "ClusterRole", "Name": "admin", "Results": [{"Class": "config"}]},
    ]
    scan = {"ClusterName": "kind-lab", "Resources": resources}
    (tmp_path / "scan.json").write_text(json.dumps(scan))
    batch = read("trivy", "scan.json", tmp_path)
    [row] = batch.rows["images"]
    assert (row["repository"], row["vuln_high_n"]) == ("shop/till", 1)
    assert batch.coverage[0]["unmapped_n"] == 2


def operator_report(**artifact: str) -> dict:
    entry = {
        "vulnerabilityID": "CVE-2026-0009",
        "severity": "HIGH",
        "resource": "libtill",
    }
    report = {
        "artifact": {"repository": "library/till", **artifact},
        "registry": {"server": "index.docker.io"},
        "vulnerabilities": [entry, entry, {**entry, "resource": "libshop"}],
        "summary": {"highCount": 99},
    }
    return {"kind": "VulnerabilityReport", "report": report}


def test_an_operator_keeps_a_report_for_each_image_of_a_cluster(tmp_path):
    digest = f"sha256:{'7' * 64}"
    reports = [
        operator_report(digest=digest),
        operator_report(tag="3"),
        operator_report(),
    ]
    listed = {"kind": "List", "items": [*reports, {"kind": "ConfigAuditReport"}]}
    (tmp_path / "reports.json").write_text(json.dumps(listed))
    batch = AnswersSource().collect({"path": "."}, tmp_path, Deadline(20))
    exact, tagged = batch.rows["images"]  # of one without both nobody knows the image
    assert (exact["registry"], exact["repository"]) == ("docker.io", "library/till")
    assert (exact["digest"], exact["vuln_high_n"], exact["vuln_low_n"]) == (digest, 2, 0)
    assert (tagged["image"].tag, tagged["vuln_high_n"]) == ("3", 2)
    assert batch.coverage[0]["unmapped_n"] == 1


@pytest.mark.parametrize("place", ["metadata", "target"])
def test_syft_tells_image_and_base(tmp_path, place):
    document = json.loads((FIXTURES / "answers" / "syft" / "cart.json").read_text())
    document["source"] = {place: document["source"]["metadata"]}
    (tmp_path / "cart.json").write_text(json.dumps(document))
    batch = AnswersSource().collect({"path": "."}, tmp_path, Deadline(20))
    [row] = batch.rows["images"]
    assert (row["sbom_format"], row["base_name"]) == ("syft", "debian:12")
    assert row["repository"] == read("trivy").rows["images"][0]["repository"]
    assert "hunter2" not in repr(batch)


@pytest.mark.parametrize("kind", ["konveyor", "docker-bench", "scorecard", "kantra"])
def test_a_format_need_not_be_named(kind):
    options = {"path": PLACES[kind]}
    batch = AnswersSource().collect(options, FIXTURES / "answers", Deadline(20))
    assert batch.rows == read(kind).rows


def test_each_file_is_read_in_its_format_and_one_of_none_says_so(tmp_path):
    for kind in ("grype", "trivy", "xeol"):
        [source, *_] = sorted((FIXTURES / "answers" / kind).glob("*.json"))
        (tmp_path / f"{kind}.json").write_bytes(source.read_bytes())
    (tmp_path / "answers.csv").write_text(
        "service,question,answer\ncart,team.owner,yes\n"
    )
    (tmp_path / "other.json").write_text('{"packages": {"left": 3}}')
    (tmp_path / "deep.yaml").write_text("[" * 5000)
    (tmp_path / "numbers.json").write_text("[1, 2]")
    batch = AnswersSource().collect({"path": "."}, tmp_path, Deadline(20))
    told = {row["scope"]: (row["call"], row["status"]) for row in batch.coverage}
    assert told == {
        "answers.csv": ("read", "ok"),
        "grype.json": ("grype", "ok"),
        "trivy.json": ("trivy", "ok"),
        "xeol.json": ("xeol", "ok"),
        "other.json": ("read", "parse_error"),
        "deep.yaml": ("read", "parse_error"),
        "numbers.json": ("read", "parse_error"),
    }


def test_findings_reach_the_services_that_run_the_image():
    hosts = OsquerySource().collect({"path": "osquery"}, FIXTURES, Deadline(10))
    batches = [("osquery", hosts)]
    for number, kind in enumerate(SCANNERS, start=1):
        batches.append((f"answers#{number}", read(kind)))
    batches = name_findings(batches)
    tables, _ = to_tables(batches, [])
    table = tables["answers"].set_index(["service_id", "question", "source"])
    assert table.loc[("cart", "build.not_root", "docker-bench"), "risk"] == "red"
    assert table.loc[("cart", "build.not_root", "trivy"), "risk"] == "red"
    assert table.loc[("cart", "xeol.end_of_life", "xeol"), "risk"] == "red"
    assert table.loc[("cart", "team.owner", "scorecard"), "risk"] == "green"
    assert set(tables["answers"]["service_id"]) == {"cart"}  # of shop-gone-1 nobody knows
    services = tables["services"].set_index("service_id")
    assert bool(services.loc["cart", "secrets_in_image"])
    engine = tables["engines"].set_index("host_id").loc["web-02"]
    assert (bool(engine["live_restore"]), bool(engine["userns"])) == (True, False)
    lost = [
        row
        for _, batch in batches
        for row in batch.coverage
        if row["call"] == "belongs to"
    ]
    # a container that is gone, what kantra says of billing, which does not run here, and two
    # images that scanners name by digest
    unmapped = [row["unmapped_n"] for row in lost if row["status"] == "partial"]
    assert unmapped == [1, 1, 1, 2]


# ---- all of them ----


def test_every_target_is_a_check_or_a_column_or_named_after_its_tool():
    known = {check["id"] for check in load_policy()["check"]}
    for row in rows("answers/answer_checks"):
        first, _, rest = row["target"].partition(".")
        is_column = first in frames.names() and rest in frames.columns(first)
        assert row["target"] in known or is_column or first == row["tool"], row["target"]
        assert row["why"]


@pytest.mark.parametrize("kind", PLACES)
def test_what_is_no_report_is_a_coverage_row(tmp_path, kind):
    name = "bad.csv" if kind == "csv" else "bad.json"
    for content in (
        b"",
        b"\x00\x00",
        b"<!doctype html><html>",
        b'{"a": [',
        b"[1, null]",
        b"{}",
    ):
        (tmp_path / name).write_bytes(content)
        batch = read(kind, name, tmp_path)
        assert not any(batch.rows.values())
        if content == b"{}" and kind != "konveyor":
            assert batch.coverage[0]["status"] == "parse_error"
        assert all(
            row["status"] in ("parse_error", "empty", "partial") for row in batch.coverage
        )
        assert batch.coverage[0]["hint"]
    [row] = read(kind, "nowhere.json", tmp_path).coverage
    assert row["status"] in ("parse_error", "unreachable")


def test_a_template_is_told_from_answers(tmp_path):
    (tmp_path / "assessments.yaml").write_text(
        "- id: {{ .Values.id }}\n  name: [{{ x }}\n"
    )
    row = read("konveyor", ".", tmp_path).coverage[0]
    assert row["status"] == "parse_error"
    assert "template" in row["hint"]


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs a second user"
)
def test_files_that_may_not_be_read_are_denied(tmp_path):
    (tmp_path / "a.json").write_text("[]")
    (tmp_path / "a.json").chmod(0o600)
    os.seteuid(65534)
    try:
        batch = read("trivy", "a.json", tmp_path)
    finally:
        os.seteuid(0)
    assert batch.coverage[0]["status"] == "denied"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "path names no file"),
        ({"path": "a", "format": "excel"}, "is not one of"),
        ({"path": "a", "endpoint": "http://x"}, "in place of a path"),
        ({"endpoint": "http://x", "format": "trivy"}, "Konveyor hub"),
        ({"path": "a", "answered_at": "last week"}, "no date"),
    ],
)
def test_options(options, problem):
    assert any(problem in text for text in AnswersSource().check(options))


@settings(max_examples=40)
@given(objects(), st.sampled_from(sorted(SCANNERS)))
def test_reports_of_any_shape(document, kind):
    context = answer_forms.Context(answer_forms.checks(kind))
    for frame, row in SCANNERS[kind](document, context):
        assert frame in ("answers", "images", "engines", "services")
        assert row
    answer_forms.to_answers(
        answer_forms.resources([document]),
        answer_forms.Context(answer_forms.checks("konveyor")),
    )


# ---- Kantra ----


def analysed(*rulesets):
    from assess.sources.answers.forms import Context
    from assess.sources.answers.scanners import of_kantra

    rows = of_kantra({"application": "cart", "rulesets": list(rulesets)}, Context([]))
    return dict(rows)


def violation(category, effort=1, places_n=1):
    return {
        "category": category,
        "effort": effort,
        "incidents": [{"uri": "x"}] * places_n,
    }


def test_code_analysis_counts_what_must_change():
    batch = read("kantra")
    services = {row["about"][0][1]: row for row in batch.rows["services"]}
    assert services["cart"]["code_mandatory_n"] == 2
    assert services["cart"]["code_effort"] == 11
    assert services["billing"]["code_mandatory_n"] == 0
    assert services["billing"]["code_effort"] == 0
    found = {row["about"][0][1]: row for row in batch.rows["answers"]}
    assert (found["cart"]["risk"], found["billing"]["risk"]) == ("red", "green")
    assert "cloud-readiness/local-storage-00001" in found["cart"]["answer"]
    assert "hunter2" not in repr(batch)


@pytest.mark.parametrize(
    ("ruleset", "mandatory_n", "effort", "risk"),
    [
        ({"violations": {"a": violation("mandatory", 3, 2)}}, 2, 6, "red"),
        ({"violations": {"a": {"category": "mandatory"}}}, 1, 0, "red"),
        ({"violations": {"a": violation("optional", 5)}}, 0, 5, "green"),
        ({"unmatched": ["a"], "errors": {"b": "timeout"}}, None, None, "unknown"),
        (
            {"violations": {"a": violation("mandatory")}, "errors": {"b": "x"}},
            1,
            None,
            "red",
        ),
    ],
)
def test_rules_that_failed_leave_the_counts_open(ruleset, mandatory_n, effort, risk):
    rows = analysed({"name": "rules", **ruleset})
    assert rows["services"].get("code_mandatory_n") == mandatory_n
    assert rows["services"].get("code_effort") == effort
    assert rows["answers"]["risk"] == risk


def test_tags_alone_are_no_analysis():
    assert analysed({"name": "technology-usage", "tags": ["Java"]}, {"a": 1}) == {}


def test_code_analysis_has_its_checks(tmp_path):
    import assess

    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "services.csv").write_text("service_id\ncart\nbilling\nwiki\n")
    text = '[[source]]\ntype = "frames"\npath = "own"\n'
    place = FIXTURES / "answers" / "kantra"
    text += f'[[source]]\ntype = "answers"\nformat = "kantra"\npath = "{place}"\n'
    (tmp_path / "assess.toml").write_text(text)
    readiness = assess.score_readiness(
        assess.collect(tmp_path / "assess.toml"), load_policy()
    )
    atoms = readiness.details["atoms"].set_index(["service_id", "check"])["state"]
    states = [atoms[name, "fit.code"] for name in ("cart", "billing", "wiki")]
    assert states == ["fail", "pass", "unknown"]
    assert atoms["cart", "fit.code_effort"] == "pass"


@pytest.mark.parametrize(
    ("assessment", "source"),
    [
        ({}, "konveyor: Legacy Pathfinder"),
        (
            {"archetype": {"id": 3, "name": "java shops"}},
            "konveyor: Legacy Pathfinder, copied from archetype java shops",
        ),
        (
            {"archetype": {"id": 3}},
            "konveyor: Legacy Pathfinder, copied from archetype 3",
        ),
        ({"copiedFrom": 7}, "konveyor: Legacy Pathfinder, copied"),
    ],
)
def test_copied_answers_say_so(assessment, source):
    from assess.sources.answers.forms import _source_of

    form = {"questionnaire": {"id": 1, "name": "Legacy Pathfinder"}}
    assert _source_of({**form, **assessment}) == source
