"""Live orchestrators are asked for the documented paths by GET, and for nothing else."""

import re

import pytest
import test_kubernetes_api
import test_marathon
import test_nomad
import yaml
from replay import replaying

from assess.sources import permissions
from assess.sources.base import Deadline
from assess.sources.catalogue import homes


def documented(kind: str) -> set[str]:
    """Return the documented paths, as regular expressions."""
    if kind == "kubernetes":
        role = next(
            d for d in yaml.safe_load_all(permissions(kind)) if d["kind"] == "ClusterRole"
        )
        return {
            rf"/{f'apis/{group}' if group else 'api'}/v[0-9a-z]+/{name}"
            for rule in role["rules"]
            for group in rule["apiGroups"]
            for name in rule["resources"]
        }
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


ANSWERS = {
    "kubernetes": test_kubernetes_api.Api(page=2),
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
