"""Live sources are asked for the documented paths by GET or HEAD, and for nothing else."""

import base64
import re

import pytest
import test_kubernetes_api
import test_marathon
import test_nomad
import yaml
from replay import replaying

from assess.sources import permissions
from assess.sources.base import Asked
from assess.sources.catalogue import homes
from assess.sources.deadline import Deadline
from assess.sources.http import OtherServerError, open_web


def documented(kind: str) -> set[str]:
    """Return the documented paths, as regular expressions."""
    if kind == "kubernetes":
        roles = [d for d in yaml.safe_load_all(permissions(kind)) if "rules" in d]
        found = {"/apis"}  # the names of the groups, which every account may read
        for role in roles:
            home = role["metadata"].get("namespace")
            place = f"namespaces/{home}/" if home else ""
            found |= {
                rf"/{f'apis/{group}' if group else 'api'}/v[0-9a-z]+/{place}{name}{one}"
                for rule in role["rules"]
                for group in rule["apiGroups"]
                for name in rule["resources"]
                for one in [f"/{n}" for n in rule.get("resourceNames", ())] or [""]
            }
        return found
    text = permissions(kind) if kind == "nomad" else homes()[kind].load().needs
    assert "GET " in text
    paths = re.findall(r"/(?:v\d|master)/[\w/]+", text)
    return {path.replace("ID", r"[^/]+") for path in paths}


def marathon(path, query):
    answer = test_marathon.mesos if path.startswith("/master") else test_marathon.marathon
    return answer(path, query)


def failing(code):
    return lambda path, query: (code, b"{}", {})


def one_page_then(code, answer):
    """Answer the first request of each path, and no other."""
    asked = set()

    def answered(path, query):
        is_first = path not in asked
        asked.add(path)
        return answer(path, query) if is_first else (code, b"{}", {})

    return answered


SERVED = test_kubernetes_api.groups(*test_kubernetes_api.VERSIONS)
ANSWERS = {
    "kubernetes": test_kubernetes_api.Api(page=2, more={"/apis": SERVED}),
    "nomad": test_nomad.Api(),
    "marathon": marathon,
}
CODES = (401, 403, 404, 410, 500)


def requests_of(kind, answer, method, tmp_path):
    with replaying(answer) as server:
        options = {"endpoint": server.url}
        if kind == "marathon":
            options["mesos_endpoint"] = server.url
        source = homes()[kind].load()()
        getattr(source, method)(options, tmp_path, Deadline(20))
    assert set(server.methods) == {"GET"}
    return [path for path, _, _ in server.asked]


@pytest.mark.parametrize("kind", ANSWERS)
def test_every_documented_path_is_asked_and_no_other(kind, tmp_path):
    paths = requests_of(kind, ANSWERS[kind], "collect", tmp_path)
    paths += requests_of(kind, failing(404), "collect", tmp_path)
    for pattern in documented(kind):
        assert any(re.fullmatch(pattern, path) for path in paths), pattern
    for path in paths:
        assert any(re.fullmatch(pattern, path) for pattern in documented(kind)), path


@pytest.mark.parametrize("method", ["collect", "probe"])
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("kind", ANSWERS)
def test_a_failure_leads_to_no_other_path(kind, code, method, tmp_path):
    for answer in (failing(code), one_page_then(code, ANSWERS[kind])):
        for path in requests_of(kind, answer, method, tmp_path):
            assert any(re.fullmatch(pattern, path) for pattern in documented(kind)), path


HOSTILE = (
    "../../v1/agent/members",
    "a/../../../v1/vars",
    "x?y=1",
    "a#b",
    "a\\..\\b",
    "%2e%2e",
    ".",
    "..",
)


@pytest.mark.parametrize("identifier", HOSTILE)
def test_an_id_of_a_job_or_a_node_stays_one_part_of_its_path(identifier, tmp_path):
    def answer(path, query):
        entry = {"ID": identifier, "Namespace": "default"}
        return [entry] if path in ("/v1/jobs", "/v1/nodes", "/v1/allocations") else entry

    paths = requests_of("nomad", answer, "collect", tmp_path)
    assert len(paths) == (5 if identifier.strip(".") else 3)
    for path in paths:
        assert any(re.fullmatch(pattern, path) for pattern in documented("nomad")), path


# Services beside orchestrators: the documented paths of their APIs, as regular expressions.
BESIDE = {
    ("incidents", "pagerduty"): {"/incidents"},
    ("incidents", "opsgenie"): {"/v1/incidents", "/v1/services"},
    ("incidents", "jira"): {"/rest/api/3/search/jql"},
    ("incidents", "servicenow"): {"/api/now/table/incident"},
    ("incidents", "statuspage"): {r"/api/v2/incidents\.json"},
    ("incidents", "statuspage-page"): {r"/v1/pages/p1/incidents\.json"},
    ("backstage", ""): {"/api/catalog/entities"},
    ("traces", "jaeger"): {"/api/dependencies"},
    ("traces", "zipkin"): {"/api/v2/dependencies"},
    ("traces", "servicegraph"): {"/api/v1/query"},
    ("answers", "konveyor"): {"/applications", "/archetypes", "/assessments"},
    ("registry", ""): {
        "/v2/shop/web/tags/list",
        "/v2/shop/web/manifests/[^/]+",
        "/v2/shop/web/blobs/[^/]+",
        "/v2/shop/web/referrers/[^/]+",
    },
}
DIGEST = "sha256:" + "a" * 64
MANIFEST = {
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "config": {
        "digest": DIGEST,
        "size": 2,
        "mediaType": "application/vnd.oci.image.config.v1+json",
    },
    "layers": [],
}


def registry(path, query):
    place = path.split("/")[-2]
    headers = {"Docker-Content-Digest": DIGEST, "Content-Type": MANIFEST["mediaType"]}
    answers = {
        "tags": ({"tags": ["1"]}, {}),
        "manifests": (MANIFEST, headers),
        "blobs": ({"architecture": "amd64", "os": "linux"}, {}),
        "referrers": ({"manifests": []}, {}),
    }
    return (200, *answers[place]) if place in answers else (404, {}, {})


def listing(path, query):
    """Answer with one entry under every key that a list has, and with no next page."""
    entry = {"id": "x/../../admin?y#z", "created_at": "2026-07-01T00:00:00Z", "name": "x"}
    keys = ("incidents", "data", "issues", "result", "services")
    return {key: [entry] for key in keys} | {"isLast": True, "self": "http://x/admin"}


def asked(kind, format_, answer, method, tmp_path):
    options = {"endpoint": "", "format": format_.partition("-")[0]}
    options |= {"page": "p1"} if format_.endswith("-page") else {}
    options |= {"repositories": ["shop/web"]} if kind == "registry" else {}
    with replaying(answer) as server:
        known = {key: value for key, value in options.items() if value}
        source = homes()[kind].load()()
        table = known | {"endpoint": server.url}
        assert source.check(table) == []
        getattr(source, method)(table, tmp_path, Deadline(20))
    assert server.asked and set(server.methods) <= {"GET", "HEAD"}
    return [path for path, _, _ in server.asked]


def is_documented(path, kind, format_, method):
    known = BESIDE[kind, format_] | ({"/v2/"} if method == "probe" else set())
    return any(re.fullmatch(pattern, path) for pattern in known)


@pytest.mark.parametrize(("kind", "format_"), BESIDE)
def test_a_service_is_asked_for_every_documented_path_and_no_other(
    kind, format_, tmp_path
):
    paths = asked(
        kind, format_, registry if kind == "registry" else listing, "collect", tmp_path
    )
    for pattern in BESIDE[kind, format_]:
        assert any(re.fullmatch(pattern, path) for path in paths), pattern
    assert all(is_documented(path, kind, format_, "collect") for path in paths), paths


@pytest.mark.parametrize("method", ["collect", "probe"])
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(("kind", "format_"), BESIDE)
def test_a_failure_of_a_service_leads_to_no_other_path(
    kind, format_, code, method, tmp_path
):
    answer = registry if kind == "registry" else listing
    for answered in (failing(code), one_page_then(code, answer)):
        paths = asked(kind, format_, answered, method, tmp_path)
        assert all(is_documented(path, kind, format_, method) for path in paths), paths


def test_every_live_source_has_its_list():
    # tests/engine, permissions
    engines_and_clouds = {"docker", "swarm", "ec2", "ecs", "ecr", "ssm"}
    live = {
        k
        for k, h in homes().items()
        if {"endpoint", "endpoint_url"} & {*h.load().options}
    }
    assert live == engines_and_clouds | {*ANSWERS} | {kind for kind, _ in BESIDE}


LIVE = [*BESIDE, *((kind, "") for kind in ANSWERS)]


def redirected(kind, format_, to, tmp_path):
    """Collect from a server that sends every reader elsewhere; return its coverage."""
    (tmp_path / "token").write_text("t-4711")
    table = {"format": format_.partition("-")[0], "token_file": "token"}
    table |= {"page": "p1"} if format_.endswith("-page") else {}
    table |= {"repositories": ["shop/web"]} if kind == "registry" else {}
    with replaying(lambda path, query: (302, b"", {"Location": to(path)})) as server:
        given = {key: value for key, value in table.items() if value}
        batch = (
            homes()[kind]
            .load()()
            .collect(given | {"endpoint": server.url}, tmp_path, Deadline(20))
        )
        assert server.asked
        return batch.coverage


@pytest.mark.parametrize(("kind", "format_"), LIVE)
def test_no_source_follows_a_redirect_to_another_server(kind, format_, tmp_path):
    with replaying(lambda path, query: {}) as stranger:
        coverage = redirected(kind, format_, lambda path: stranger.url + path, tmp_path)
        assert stranger.asked == []
        hints = [row.get("hint") or "" for row in coverage]
        assert any(stranger.url in hint and "name that one" in hint for hint in hints)
        assert not any(row["status"] in ("ok", "empty") for row in coverage)
        assert not any("t-4711" in hint for hint in hints)


def test_a_redirect_on_the_same_server_keeps_the_token(tmp_path):
    def answer(path, query):
        moved = (307, b"", {"Location": f"/v2{path}"})
        return {"items": []} if path.startswith("/v2") else moved

    (tmp_path / "token").write_text("t-4711")
    with replaying(answer) as server:
        options = {"endpoint": server.url, "token_file": "token"}
        with open_web(Asked(options, tmp_path, Deadline(20))) as web:
            assert web.json("list") == {"items": []}
    sent = [headers.get("Authorization") for _, _, headers in server.asked]
    assert sent == ["Bearer t-4711"] * 2


@pytest.mark.parametrize("place", ["http://127.0.0.1:1/x", "https://{}/x", "//[::1]/x"])
def test_a_redirect_to_another_port_or_scheme_is_another_server(place, tmp_path):
    def moved(path, query):
        return 301, b"", {"Location": place.format(server.url.partition("//")[2])}

    with replaying(moved) as server:
        web = open_web(Asked({"endpoint": server.url}, tmp_path, Deadline(20)))
        with web, pytest.raises(OtherServerError):
            web.json("list")
        assert len(server.asked) == 1


@pytest.mark.parametrize("token", ["the-token", "me:the-password", ""])
def test_no_password_of_a_netrc_takes_the_place_of_a_token(token, tmp_path, monkeypatch):
    # requests reads ~/.netrc, and what it finds there replaces a header that is set
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password of-netrc")
    (tmp_path / ".netrc").chmod(0o600)
    (tmp_path / "token").write_text(token)
    monkeypatch.setenv("HOME", str(tmp_path))
    given = {"token_file": "token"} if token else {}
    with replaying(lambda path, query: {}) as server:
        asked = Asked({"endpoint": server.url, **given}, tmp_path, Deadline(20))
        with open_web(asked) as web:
            web.json("a")
            web.get(server.url.replace("127.0.0.1", "localhost"), elsewhere=True)
    (_, _, own), (_, _, other) = server.asked
    said = own.get("Authorization", "")
    assert said.startswith("Basic" if ":" in token else token and "Bearer the-token")
    assert bool(said) == bool(token) and "Authorization" not in other
    assert base64.b64encode(b"me:of-netrc").decode() not in said
