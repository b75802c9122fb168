"""Kubernetes over HTTP: versions, pages, denials, and what the cluster role grants."""

import json
import re
import shutil
import ssl
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from replay import replaying
from test_kubernetes import (
    CANARY,
    FIXTURES,
    PERMISSIONS,
    SHOP,
    collect,
    coverage,
    services,
    workloads,
)

from assess.sources.deadline import Deadline
from assess.sources.kubernetes import RESOURCES, SETTINGS, VERSIONED, KubernetesSource

KINDS = [listing.kind for listing in RESOURCES]
CALLS = [*KINDS, *(listing.kind for listing in SETTINGS), "objects"]
VERSIONS = {path.split("/", 1)[1].rpartition("/")[0] for p in VERSIONED for path in p}


@pytest.fixture(scope="module")
def shop():
    return collect(path="shop.json")


class Api:
    """An API server that answers lists of the dump, page by page."""

    def __init__(self, *, old=False, page=0, deny=(), expire=0, breaks="", more=None):
        self.old, self.page, self.deny, self.expire = old, page, deny, expire
        self.breaks, self.versions = breaks, Counter()
        self.more = more or {}  # answers by path, beside those of the dump

    def __call__(self, path, query):
        kind = path.rpartition("/")[2]
        if kind in self.deny:
            return self.status(403, "Forbidden")
        if path in self.more:
            return self.more[path]
        if path == "/apis":
            return groups("apps/v1", "policy/v1")
        if "/configmaps/" in path:
            return self.status(404, "NotFound")
        new = (
            "policy/v1/",
            "autoscaling/v2/",
            "batch/v1/cronjobs",
            "networking.k8s.io/v1/ingresses",
        )
        if self.old and any(part in path for part in new):
            return 404, b"404 page not found\n", {"Content-Type": "text/plain"}
        self.versions[path] += 1
        items = [
            i
            for i in SHOP["items"]
            if i["kind"].lower() in (kind[:-1], kind[:-3] + "y", kind[:-2])
        ]
        start = int(query.get("continue", "0"))
        size = min(int(query.get("limit", "500")), self.page or 500)
        if start and self.expire:
            self.expire -= 1
            return self.status(410, "Expired")
        if start and kind == self.breaks:
            return 500, b"<html>upstream</html>", {}
        rest = len(items) - start - size
        meta = {"resourceVersion": "9"}
        if rest > 0:
            meta |= {"continue": str(start + size), "remainingItemCount": rest}
        return {
            "kind": "X",
            "metadata": meta,
            "items": items[start : start + size] or None,
        }

    @staticmethod
    def status(code, reason):
        return (
            code,
            {"kind": "Status", "reason": reason, "message": CANARY, "code": code},
            {},
        )


def groups(*versions):
    """Return the answer of a server that serves these versions of its API."""
    served = [{"groupVersion": version} for version in versions]
    return {"kind": "APIGroupList", "groups": [{"name": "g", "versions": served}]}


def listed(batch):
    """Return the coverage of the lists that workloads are read of."""
    return {kind: row for kind, row in coverage(batch).items() if kind in KINDS}


def ask(api: Api, tmp_path: Path, method="collect", **options):
    (tmp_path / "token").write_text("the-token\n")
    with replaying(api) as server:
        options = {
            "endpoint": server.url,
            "token_file": "token",
            "cluster": "shop",
            **options,
        }
        batch = getattr(KubernetesSource(), method)(options, tmp_path, Deadline(30))
    return batch, server


def test_the_api_gives_what_the_dump_gives(tmp_path, shop):
    batch, server = ask(Api(page=2), tmp_path)
    for frame in KubernetesSource.fills:
        without = [
            [{k: v for k, v in row.items() if k != "source_ref"} for row in b.rows[frame]]
            for b in (shop, batch)
        ]
        assert without[0] == without[1]
    rows = listed(batch)
    assert list(rows) == KINDS
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert (rows["pods"]["rows"], rows["pods"]["expected"], rows["pods"]["requests"]) == (
        8,
        8,
        4,
    )
    assert all(
        headers["Authorization"] == "Bearer the-token" for _, _, headers in server.asked
    )
    assert CANARY not in repr(batch) and "the-token" not in repr(batch)


def test_each_list_is_denied_for_itself(tmp_path):
    batch, _ = ask(Api(deny=("poddisruptionbudgets", "nodes")), tmp_path)
    rows = coverage(batch)
    assert {c for c, row in rows.items() if row["status"] == "denied"} == {
        "poddisruptionbudgets",
        "nodes",
    }
    assert rows["nodes"]["hint"] and len(workloads(batch)) == 8
    assert services(batch)["storefront"]["min_healthy_pct"] == 75.0  # of its rollout
    assert CANARY not in repr(batch)


def test_an_old_server_is_asked_for_the_versions_it_knows(tmp_path, shop):
    api = Api(old=True)
    batch, _ = ask(api, tmp_path)
    rows = listed(batch)
    assert list(rows) == KINDS
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert {p for p in api.versions if "beta" in p} == {
        "/apis/policy/v1beta1/poddisruptionbudgets",
        "/apis/batch/v1beta1/cronjobs",
        "/apis/autoscaling/v2beta2/horizontalpodautoscalers",
        "/apis/networking.k8s.io/v1beta1/ingresses",
    }
    assert services(batch)["storefront"]["min_healthy_pct"] == 50.0


def test_a_server_without_any_version_is_unsupported(tmp_path):
    batch, _ = ask(lambda path, query: (404, b"404 page not found\n", {}), tmp_path)
    rows = coverage(batch)
    assert {row["status"] for row in rows.values()} == {"unsupported"}
    assert "policy/v1beta1" in rows["poddisruptionbudgets"]["hint"]
    assert rows["poddisruptionbudgets"]["requests"] == 2


def test_a_list_that_expires_is_begun_anew_once(tmp_path):
    batch, _ = ask(Api(page=3, expire=1), tmp_path)
    rows = listed(batch)
    assert list(rows) == KINDS
    assert {row["status"] for row in rows.values()} == {"ok"}
    batch, _ = ask(Api(page=3, expire=99), tmp_path)
    row = coverage(batch)["pods"]
    assert (row["status"], row["rows"], row["requests"]) == ("partial", 3, 4)
    assert len(workloads(batch)) == 3


def test_half_a_list_is_kept_as_partial(tmp_path):
    batch, _ = ask(Api(page=3, breaks="pods"), tmp_path)
    row = coverage(batch)["pods"]
    assert (row["status"], row["rows"], row["expected"]) == ("partial", 3, 8)
    assert coverage(batch)["services"]["status"] == "ok"


def test_a_login_page_is_no_list(tmp_path):
    batch, _ = ask(lambda path, query: (200, b"<!doctype html><p>Sign in", {}), tmp_path)
    assert {row["status"] for row in batch.coverage} == {"parse_error"}
    assert "web page" in batch.coverage[0]["hint"]
    batch, _ = ask(lambda path, query: {"apps": []}, tmp_path)
    assert {row["status"] for row in batch.coverage} == {"parse_error"}


def test_a_server_that_is_not_there_is_asked_once(tmp_path):
    batch = collect(tmp_path, endpoint="http://127.0.0.1:1", seconds=5)
    assert {row["status"] for row in batch.coverage} == {"unreachable"}
    assert [row["call"] for row in batch.coverage] == CALLS
    assert [row["requests"] for row in batch.coverage] == [1] + [0] * (len(CALLS) - 1)


def test_a_probe_asks_each_list_for_one_entry(tmp_path):
    more = {
        "/apis": groups(f"{FLOWS}/v1", "rbac.authorization.k8s.io/v1"),
        f"/apis/{FLOWS}/v1/flowschemas": flow("v1", "v1")
        | {"metadata": {"continue": "1"}},
    }
    api = Api(deny=("pods", "kubeadm-config", "roles"), more=more)
    batch, server = ask(api, tmp_path, "probe")
    asked = [path for path, _, _ in server.asked]
    # kubelet-config by each of its names, that of kubeadm, the groups and six kinds in them
    settings_n = sum(len(listing.paths) for listing in SETTINGS)
    assert not batch.rows and len(asked) == len(set(asked))
    assert len(asked) == len(RESOURCES) + settings_n + 1 + 6
    assert {q["limit"] for path, q, _ in server.asked if path != "/apis"} == {"1"}
    assert coverage(batch)["pods"]["status"] == "denied"
    assert coverage(batch)["kubelet settings"]["status"] == "unsupported"
    assert coverage(batch)["kubeadm settings"]["status"] == "denied"
    assert coverage(batch)["objects"]["status"] == "partial"
    assert coverage(batch)["nodes"]["status"] == "ok"
    batch, _ = ask(Api(), tmp_path, "probe", token_file="none")
    assert [row["status"] for row in batch.coverage] == ["unreachable"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"path": "a", "endpoint": "https://b"},
        {"path": 3},
        {"endpoint": "kube:6443"},
        {"path": "a", "token_file": "t"},
    ],
)
def test_options_that_cannot_be_used(options):
    assert KubernetesSource().check(options)


def test_options_that_can():
    assert (
        KubernetesSource().check({"endpoint": "https://b", "token_file": "t", "ca": "c"})
        == []
    )
    assert KubernetesSource().check({"path": ["a", "b"]}) == []


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl")
def test_https_with_an_authority_of_its_own(tmp_path):
    import subprocess

    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-nodes",
            "-days",
            "2",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-keyout",
            "key.pem",
            "-out",
            "ca.pem",
            "-subj",
            "/CN=kubernetes",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    api = Api()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            data = json.dumps(api(self.path.partition("?")[0], {})).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args):
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "ca.pem", tmp_path / "key.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    server.handle_error = lambda *_: None  # a stranger goes away
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    address = f"https://127.0.0.1:{server.server_address[1]}"
    try:
        trusted = collect(tmp_path, endpoint=address, ca="ca.pem")
        stranger = collect(tmp_path, endpoint=address)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert {row["status"] for row in listed(trusted).values()} == {"ok"}
    assert {row["status"] for row in stranger.coverage} == {"denied"}


# -- permissions ---------------------------------------------------------------------------------


def test_the_cluster_role_grants_what_is_asked_and_nothing_else(tmp_path):
    documents = list(yaml.safe_load_all((PERMISSIONS / "kubernetes.yaml").read_text()))
    (role,) = [d for d in documents if d["kind"] == "ClusterRole"]
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"list"}
    granted = {
        (group, name)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for name in rule["resources"]
    }
    gone = (404, b"404 page not found\n", {})  # so that every version is asked
    served = groups(*VERSIONS)
    _, server = ask(lambda path, _: served if path == "/apis" else gone, tmp_path)
    asked, named = set(), set()
    for path, _, _ in server.asked:
        if found := re.fullmatch(r"/(?:api|apis/([^/]+))/v\w+/(\w+)", path):
            asked.add((found[1] or "", found[2]))
        elif path != "/apis":  # which every account may ask
            named.add(path.removeprefix("/api/v1/namespaces/kube-system/configmaps/"))
    assert asked == granted
    assert not {"secrets", "configmaps", "events"} & {name for _, name in granted}
    (role,) = [d for d in documents if d["kind"] == "Role"]
    assert role["metadata"]["namespace"] == "kube-system"
    (rule,) = role["rules"]
    assert (rule["resources"], rule["verbs"]) == (["configmaps"], ["get"])
    assert set(rule["resourceNames"]) == named


FLOWS = "flowcontrol.apiserver.k8s.io"


def flow(version, applied):
    note = json.dumps({"apiVersion": f"{FLOWS}/{applied}", "kind": "FlowSchema"})
    notes = {"kubectl.kubernetes.io/last-applied-configuration": note}
    return {
        "kind": "FlowSchemaList",
        "apiVersion": f"{FLOWS}/{version}",
        "items": [{"metadata": {"name": "own", "annotations": notes}}],
    }


def test_objects_are_asked_in_the_version_that_the_server_has(tmp_path):
    more = {
        "/apis": groups(
            f"{FLOWS}/v1", f"{FLOWS}/v1beta3", "rbac.authorization.k8s.io/v1"
        ),
        f"/apis/{FLOWS}/v1/flowschemas": flow("v1", "v1beta2"),
    }
    batch, server = ask(Api(more=more), tmp_path)
    (found,) = [row for row in batch.rows["objects"] if row["kind"] == "FlowSchema"]
    versions = (found["api_version"], found["last_applied_api_version"])
    assert versions == (f"{FLOWS}/v1", f"{FLOWS}/v1beta2")
    row = coverage(batch)["objects"]
    assert (row["status"], row["rows"], row["requests"]) == ("ok", 1, 7)
    asked = {path for path, _, _ in server.asked}
    assert "/apis/rbac.authorization.k8s.io/v1/clusterroles" in asked
    # the server has no version that these are in
    assert not any("podsecuritypolicies" in path or "v1beta3" in path for path in asked)


def test_a_kind_may_be_younger_than_the_version_of_its_group(tmp_path):
    # as 1.33 answers: storage.k8s.io/v1 has no VolumeAttributesClass yet
    gone = (404, b"404 page not found\n", {})
    younger = {
        "kind": "VolumeAttributesClassList",
        "apiVersion": "storage.k8s.io/v1beta1",
    }
    younger["items"] = [{"metadata": {"name": "gold"}}]
    path = "/apis/storage.k8s.io/{}/volumeattributesclasses"
    more = {
        "/apis": groups("storage.k8s.io/v1", "storage.k8s.io/v1beta1"),
        path.format("v1"): gone,
        path.format("v1beta1"): younger,
        "/apis/storage.k8s.io/v1/csidrivers": gone,
        "/apis/storage.k8s.io/v1beta1/csidrivers": gone,
    }
    batch, _ = ask(Api(more=more), tmp_path)
    row = coverage(batch)["objects"]
    assert (row["status"], row["rows"], row["requests"]) == ("ok", 1, 6)
    found = {r["kind"]: r["api_version"] for r in batch.rows["objects"]}
    assert found["VolumeAttributesClass"] == "storage.k8s.io/v1beta1"


def test_objects_that_are_denied_are_told(tmp_path):
    more = {
        "/apis": groups(f"{FLOWS}/v1", "rbac.authorization.k8s.io/v1"),
        f"/apis/{FLOWS}/v1/flowschemas": flow("v1", "v1"),
    }
    batch, _ = ask(Api(more=more, deny=("roles", "clusterroles")), tmp_path)
    row = coverage(batch)["objects"]
    assert (row["status"], row["rows"], row["error_class"]) == ("partial", 1, "HttpError")
    batch, _ = ask(Api(deny=("apis",)), tmp_path)
    assert coverage(batch)["objects"]["status"] == "denied"
    assert CANARY not in repr(batch)


def test_where_nothing_is_allowed_no_call_is_seen_in_part(tmp_path):
    def answer(path, query):
        kinds = groups("rbac.authorization.k8s.io/v1", "storage.k8s.io/v1")
        return kinds if path == "/apis" else Api.status(403, "Forbidden")

    batch, _ = ask(answer, tmp_path)
    assert {row["status"] for row in batch.coverage} == {"denied"}


def test_a_kubeconfig_is_no_dump_and_its_logins_stay_in_it(tmp_path):
    user = {"name": "u", "user": {"token": CANARY, "client-key-data": CANARY}}
    config = {"kind": "Config", "users": [user], "contexts": [], "clusters": []}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    batch = collect(tmp_path, path="config.yaml")
    (row,) = batch.coverage
    assert row["status"] == "parse_error" and "--script" in row["hint"]
    assert CANARY not in repr(batch)


@pytest.mark.parametrize(
    "name", ["kubelet-config", "kubelet-config-1.22", "kubelet-config-1.16"]
)
def test_settings_of_kubelets_are_asked_by_name(tmp_path, name):
    text = "kind: KubeletConfiguration\nfailCgroupV1: false\nfeatureGates: {A: true}\n"
    text += f"staticPodURLHeader: {{token: [{CANARY}]}}\n"
    answer = {"kind": "ConfigMap", "metadata": {"name": name}, "data": {"kubelet": text}}
    place = f"/api/v1/namespaces/kube-system/configmaps/{name}"
    batch, _ = ask(Api(more={place: answer}), tmp_path)
    flags = {row["kubelet_flags"] for row in batch.rows["engines"]}
    assert flags == {"failCgroupV1=false;feature-gates.A=true;kind;staticPodURLHeader"}
    row = coverage(batch)["kubelet settings"]
    assert (row["status"], row["rows"]) == ("ok", 1)
    assert CANARY not in repr(batch)


def test_the_configuration_of_kubeadm_is_asked_by_name(tmp_path, shop):
    text = "apiVersion: kubeadm.k8s.io/v1beta2\nkind: ClusterConfiguration\n"
    answer = {
        "kind": "ConfigMap",
        "metadata": {"name": "kubeadm-config", "namespace": "kube-system"},
        "data": {"ClusterConfiguration": f"{text}etcd: {{external: {CANARY}}}\n"},
    }
    place = "/api/v1/namespaces/kube-system/configmaps/kubeadm-config"
    batch, _ = ask(Api(more={place: answer}), tmp_path)
    (row,) = [r for r in batch.rows["objects"] if r["kind"] == "ClusterConfiguration"]
    version = "kubeadm.k8s.io/v1beta2"
    assert (row["namespace"], row["name"]) == ("kube-system", "kubeadm-config")
    assert (row["api_version"], row["last_applied_api_version"]) == (version, version)
    assert coverage(batch)["kubeadm settings"]["status"] == "ok"
    assert CANARY not in repr(batch)
    # what is no YAML is told, with the command that shows it
    answer["data"]["ClusterConfiguration"] = "kind: [ClusterConfiguration"
    batch, _ = ask(Api(more={place: answer}), tmp_path)
    assert coverage(batch)["kubeadm settings"]["status"] == "partial"
    assert "configmap -n kube-system kubeadm-config" in repr(batch.coverage)
    batch, _ = ask(Api(deny=("kubeadm-config",)), tmp_path)
    assert coverage(batch)["kubeadm settings"]["status"] == "denied"


def test_settings_of_kubelets_that_nobody_keeps_or_shows(tmp_path):
    batch, _ = ask(Api(), tmp_path)
    row = coverage(batch)["kubelet settings"]
    assert row["status"] == "unsupported" and "kubelet-config" in row["hint"]
    assert {row["kubelet_flags"] for row in batch.rows["engines"]} == {None}
    batch, _ = ask(Api(deny=("kubelet-config",)), tmp_path)
    assert coverage(batch)["kubelet settings"]["status"] == "denied"


# -- what kubeadm keeps, as kubeadm 1.20 wrote it into a cluster -----------------------------------

KEPT = json.loads((FIXTURES / "kubeadm.json").read_text())["items"]


def cluster(tmp_path, edit=lambda item: None, **more):
    """Collect the dump of a control plane, with each object edited."""
    items = json.loads(json.dumps(KEPT))
    for item in items:
        edit(item)
    document = {"kind": "List", "items": items} | more
    (tmp_path / "c.json").write_text(json.dumps(document))
    return collect(tmp_path, path="c.json")


def settings_of(batch, program):
    found = [(w["settings"] or "").split(";") for w in batch.rows["workloads"]]
    return {part for parts in found if parts[0] == f"program={program}" for part in parts}


def configured(change):
    """Return an edit of the configuration that kubeadm keeps, with manifests without options."""

    def edit(item):
        if item["kind"] == "Pod":
            (container,) = item["spec"]["containers"]
            container["command"] = container["command"][:1]
        if item["metadata"]["name"] == "kubeadm-config":
            config = yaml.safe_load(item["data"]["ClusterConfiguration"])
            change(config)
            item["data"]["ClusterConfiguration"] = yaml.safe_dump(config)

    return edit


def as_lists(config):  # v1beta4
    for part in ("apiServer", "controllerManager", "scheduler"):
        args = config[part]["extraArgs"].items()
        config[part]["extraArgs"] = [{"name": k, "value": v} for k, v in args]


def as_one_level(config):  # v1alpha2
    for part in ("apiServer", "controllerManager", "scheduler"):
        config[f"{part}ExtraArgs"] = config.pop(part)["extraArgs"]


@pytest.mark.parametrize("form", [lambda config: None, as_lists, as_one_level])
def test_a_control_plane_has_the_settings_that_kubeadm_keeps_for_it(form, tmp_path):
    batch = cluster(tmp_path, configured(form))
    own = settings_of(batch, "kube-apiserver")
    assert {"feature-gates.BlockVolume=true", "insecure-port=8080"} < own
    assert {"admission-plugin.PodSecurityPolicy=true", "basic-auth-file"} < own
    assert "kubeadm-feature-gates.IPv6DualStack=false" in own
    assert "algorithm-provider" in settings_of(batch, "kube-scheduler")
    assert "algorithm-provider" not in own
    assert "canary" not in repr(batch)


def test_a_manifest_and_the_configuration_of_kubeadm_add_up(tmp_path):
    def edit(item):
        if item["metadata"]["name"].startswith("kube-apiserver"):
            command = item["spec"]["containers"][0]["command"]
            # by hand, so that the next upgrade brings back the gate
            command[:] = [o for o in command if "feature-gates" not in o] + ["--own=1"]

    own = settings_of(cluster(tmp_path, edit), "kube-apiserver")
    assert {"own", "feature-gates.BlockVolume=true"} < own
    assert own == settings_of(cluster(tmp_path), "kube-apiserver") | {"own"}


def test_kubeadm_keeps_nothing_for_what_tenants_run(tmp_path):
    def edit(item):
        if item["kind"] == "Pod":
            item["metadata"]["namespace"] = "tenant"
            item["spec"]["containers"][0]["command"] = ["kube-apiserver", "--own"]

    found = settings_of(cluster(tmp_path, edit), "kube-apiserver")
    assert "own" in found and not any("gates" in setting for setting in found)


@pytest.mark.parametrize("text", ["", "a", "[1]", "apiServer: 3", "featureGates: [A]"])
def test_a_configuration_of_kubeadm_of_another_form_adds_nothing(text, tmp_path):
    def edit(item):
        if item["metadata"]["name"] == "kubeadm-config":
            item["data"]["ClusterConfiguration"] = text

    batch = cluster(tmp_path, edit)
    assert "insecure-port=8080" in settings_of(batch, "kube-apiserver")
    is_unread = text in ("", "a", "[1]")
    assert ("kubeadm settings" in coverage(batch)) == is_unread
    assert "kubeadm-" not in ";".join(settings_of(batch, "kube-apiserver"))
    kinds = [row["kind"] for row in batch.rows["objects"]]
    assert kinds.count("ClusterConfiguration") == 0


@pytest.mark.parametrize("name", ["kubelet-config-1.20", "kubelet-config"])
def test_of_the_settings_of_kubelets_the_newest_count(name, tmp_path):
    older = {"kind": "ConfigMap", "metadata": {"name": "kubelet-config-1.19"}}
    older["data"] = {"kubelet": "kind: KubeletConfiguration\ncgroupDriver: cgroupfs\n"}
    items = [older, *json.loads(json.dumps(KEPT))]
    for item in items:
        if item["metadata"]["name"] == "kubelet-config-1.20":
            item["metadata"]["name"] = name
    batch = cluster(tmp_path, items=items)
    (flags,) = {row["kubelet_flags"] for row in batch.rows["engines"]}
    assert {"cgroupDriver=systemd", "feature-gates.BlockVolume=true"} < {
        *flags.split(";")
    }
