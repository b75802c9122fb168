"""The registry source on servers that speak its dialects, or misbehave; see tests/engine too."""

import json
import threading
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest

from assess import frames
from assess.sources import registry as oci
from assess.sources.base import Asked, Batch
from assess.sources.deadline import Deadline
from assess.sources.registry import RegistrySource
from assess.sources.registry.rows import (
    INDEX_OCI,
    MANIFEST_2,
    MANIFEST_OCI,
    SCHEMA_1,
)

FIXTURES = Path(__file__).parents[1] / "fixtures/registry"
CANARY = "hunter2"
NAME = "shop/web"
CONFIG = json.dumps(
    {
        "architecture": "amd64",
        "os": "linux",
        "created": "2026-03-01T10:00:00Z",
        "config": {"Env": [f"API_KEY={CANARY}"], "Labels": {"note": CANARY}},
        "history": [{"created_by": f"RUN curl -u a:{CANARY} https://example.com"}],
    }
).encode()


def digest_of(body: bytes) -> str:
    return "sha256:" + sha256(body).hexdigest()


def manifest_of(tag: str) -> bytes:
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_2,
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "digest": digest_of(CONFIG),
                "size": len(CONFIG),
            },
            "layers": [{"size": 1000, "digest": digest_of(tag.encode())}],
        }
    ).encode()


class Server:
    """A registry on a loopback port; tests set what it does."""

    def __init__(self) -> None:
        self.tags = ["1", "2", "3"]
        self.page = 0  # tags a page; 0: all at once
        self.limit: int | None = None  # pulls that it allows
        self.token: str | None = None  # that it wants, and fetches from itself
        self.login: str | None = None  # that the tokens cost
        self.answers: dict[str, tuple[int, dict, bytes]] = {}  # by the start of the path
        self.asked: list[tuple[str, str]] = []
        self.headers: list[dict] = []
        self.accepts: set[str] = set()
        self.endpoint = ""

    @property
    def pulls(self) -> int:
        return sum(
            method == "GET" and "/manifests/" in path for method, path in self.asked
        )

    def answer(self, method: str, path: str, headers) -> tuple[int, dict, bytes]:
        self.asked.append((method, path))
        self.headers.append(dict(headers))
        place, _, query = path.partition("?")
        for start, answer in self.answers.items():
            if path.startswith(start):
                return answer
        if place == "/token":
            said = headers.get("Authorization")
            if self.login and said != self.login:
                return 401, {}, b"{}"
            return 200, {}, json.dumps({"token": self.token, "expires_in": 60}).encode()
        if self.token and headers.get("Authorization") != f"Bearer {self.token}":
            realm = f'Bearer realm="{self.endpoint}/token",service="shop"'
            return 401, {"WWW-Authenticate": realm}, b"{}"
        if place.endswith("/tags/list"):
            return self._list(place, dict(p.split("=") for p in query.split("&") if p))
        if "/manifests/" in place:
            self.accepts.add(headers["Accept"])
            return self._manifest(place.rpartition("/")[2])
        if place.endswith(f"/blobs/{digest_of(CONFIG)}"):
            return 200, {}, CONFIG
        return 404, {}, b"404 page not found"

    def _list(self, place, query):
        start = self.tags.index(query["last"]) + 1 if "last" in query else 0
        part = self.tags[start:][: self.page or None]
        more = self.page and start + self.page < len(self.tags)
        link = (
            {"Link": f'<{place}?last={part[-1]}&n={self.page}>; rel="next"'}
            if more
            else {}
        )
        return 200, link, json.dumps({"name": NAME, "tags": part}).encode()

    def _manifest(self, ref):
        bodies = {digest_of(manifest_of(tag)): manifest_of(tag) for tag in self.tags}
        body = manifest_of(ref) if ref in self.tags else bodies.get(ref)
        if body is None:
            return 404, {}, b"{}"
        headers = {"Docker-Content-Digest": digest_of(body), "Content-Type": MANIFEST_2}
        if self.limit is not None:
            left = self.limit - self.pulls
            headers |= {
                "ratelimit-limit": f"{self.limit};w=21600",
                "ratelimit-remaining": f"{left};w=21600",
            }
        return 200, headers, body


@contextmanager
def serving():
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def reply(self):
            status, headers, body = server.answer(self.command, self.path, self.headers)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = reply  # noqa: N815

        def log_message(self, *_):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    server.endpoint = f"http://127.0.0.1:{http.server_port}"
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


@pytest.fixture
def server():
    with serving() as started:
        yield started


def collect(base=Path("/"), rows=None, seconds=20.0, **options) -> Batch:
    assert RegistrySource().check(options) == []
    return RegistrySource().follow(options, base, Deadline(seconds), rows or {})


def ask(server, **options) -> Batch:
    return collect(endpoint=server.endpoint, **{"repositories": [NAME], **options})


def table(batch: Batch) -> pd.DataFrame:
    typed, problems = frames.conform("images", pd.DataFrame(batch.rows["images"]))
    assert problems.empty, problems
    return typed


def calls(batch: Batch) -> dict[str, dict]:
    return {row["call"]: row for row in batch.coverage}


def test_one_head_per_tag_and_one_pull_per_image(server):
    server.tags = ["1", "2", "2"]
    batch = ask(server)
    assert [row["tags"] for row in batch.rows["images"]] == ["1", "2"]
    assert server.pulls == 2
    row = batch.rows["images"][0]
    assert (row["size_bytes"], row["layers_n"], row["arch"], row["schema"]) == (
        1000 + len(CONFIG),
        1,
        "amd64",
        "2",
    )
    (accept,) = server.accepts
    assert all(
        kind in accept for kind in (MANIFEST_2, MANIFEST_OCI, INDEX_OCI, *SCHEMA_1)
    )
    assert CANARY not in repr(batch)
    assert calls(batch)["manifests"]["redacted_n"] == 2 * 3


def test_pages_are_followed_and_never_in_a_circle(server):
    server.tags, server.page = [f"v{n}" for n in range(7)], 3
    assert len(ask(server).rows["images"]) == 7
    body = json.dumps({"tags": ["v1", "v2"]}).encode()
    again = {"Link": f'</v2/{NAME}/tags/list?n=1000>; rel="next"'}
    server.answers = {f"/v2/{NAME}/tags/list": (200, again, body)}
    server.asked.clear()
    assert len(ask(server).rows["images"]) == 2
    assert sum("/tags/list" in path for _, path in server.asked) == 2


def test_a_page_elsewhere_is_not_fetched(server):
    body = json.dumps({"tags": ["1"]}).encode()
    link = {"Link": f'<{server.endpoint}/admin/users>; rel="next"'}
    server.answers = {f"/v2/{NAME}/tags/list": (200, link, body)}
    assert len(ask(server).rows["images"]) == 1
    assert not any("/admin" in path for _, path in server.asked)


def test_half_the_pages_are_kept_and_partial(server):
    server.tags, server.page = [f"v{n}" for n in range(6)], 3
    server.answers = {f"/v2/{NAME}/tags/list?last": (500, {}, b"{}")}
    batch = ask(server)
    assert len(batch.rows["images"]) == 3
    assert calls(batch)["tags"]["status"] == "partial"
    # what is not listed whole may have more tags: untagged is not shown
    assert calls(batch)["tags"]["rows"] == 3


def test_a_token_is_fetched_for_the_repository(server, tmp_path):
    server.token = "t-123"
    batch = ask(server)
    assert len(batch.rows["images"]) == 3
    (asked,) = {path for _, path in server.asked if path.startswith("/token")}
    assert "scope=repository%3Ashop%2Fweb%3Apull" in asked and "service=shop" in asked
    server.login = "Basic cmVhZGVyOmh1bnRlcjI="  # reader:hunter2
    assert calls(ask(server))["tags"]["status"] == "denied"
    (tmp_path / "login").write_text(f"reader:{CANARY}\n")
    batch = collect(
        tmp_path, endpoint=server.endpoint, repositories=[NAME], token_file="login"
    )
    assert len(batch.rows["images"]) == 3 and CANARY not in repr(batch)
    (tmp_path / "token").write_text("t-123\n")
    server.asked.clear()
    batch = collect(
        tmp_path, endpoint=server.endpoint, repositories=[NAME], token_file="token"
    )
    assert len(batch.rows["images"]) == 3
    assert not any(path.startswith("/token") for _, path in server.asked)


def test_an_expired_token_is_fetched_again(server):
    server.token = "old"
    once = threading.Lock()
    answer = server.answer

    def expiring(method, path, headers):
        if "/blobs/" in path and once.acquire(blocking=False):
            server.token = "new"
        return answer(method, path, headers)

    server.answer = expiring
    assert len(ask(server).rows["images"]) == 3
    assert sum(path.startswith("/token") for _, path in server.asked) == 2


def test_a_password_goes_to_no_stranger(server, tmp_path):
    with serving() as stranger:
        server.answers = {
            "/v2/shop/web/blobs/": (307, {"Location": f"{stranger.endpoint}/x"}, b"")
        }
        stranger.answers = {"/x": (200, {}, CONFIG)}
        server.token = "t-123"
        (tmp_path / "token").write_text("t-123")
        batch = collect(
            tmp_path, endpoint=server.endpoint, repositories=[NAME], token_file="token"
        )
        assert len(batch.rows["images"]) == 3 and stranger.asked
        assert not any("Authorization" in headers for headers in stranger.headers)


def test_pulls_stop_before_the_quota_does(server):
    server.tags, server.limit = [f"v{n}" for n in range(30)], 20
    batch = ask(server)
    row = calls(batch)["manifests"]
    assert row["status"] == "partial" and server.pulls == 18
    assert row["hint"].startswith(
        "stopped before the pulls ran out: 2 of 20 pulls left per 6 h"
    )
    # tags and digests came by HEAD, which costs nothing
    assert len(batch.rows["images"]) == 30 and row["ratio"] == 0.6
    assert table(batch)["size_bytes"].notna().sum() == 18
    assert table(batch)["schema"].eq("2").all()
    server.limit = 18
    row = calls(ask(server))["manifests"]
    assert row["status"] == "throttled" and server.pulls == 18


def test_the_quota_is_recorded(server):
    server.limit = 100
    assert calls(ask(server))["manifests"]["hint"] == "97 of 100 pulls left per 6 h"


def test_too_many_requests(server):
    server.answers = {f"/v2/{NAME}/manifests/2": (429, {"Retry-After": "99"}, b"")}
    batch = ask(server)
    row = calls(batch)["manifests"]
    assert row["status"] == "partial" and row["error_class"] == "HttpError"
    assert [r["tags"] for r in batch.rows["images"]] == ["1"]
    server.answers = {"/": (429, {"Retry-After": "99"}, b"")}
    assert calls(ask(server))["tags"]["status"] == "throttled"


def test_what_is_no_json(server):
    page = b"<!DOCTYPE html><title>Sign in</title>"
    server.answers = {f"/v2/{NAME}/tags/list": (200, {"Content-Type": "text/html"}, page)}
    row = calls(ask(server))["tags"]
    assert row["status"] == "parse_error" and "web page" in row["hint"]
    server.answers = {f"/v2/{NAME}/blobs/": (200, {}, page)}
    batch = ask(server)
    assert calls(batch)["manifests"]["status"] == "partial"
    assert len(batch.rows["images"]) == 3


@pytest.mark.parametrize(
    ("code", "status"),
    [(401, "denied"), (403, "denied"), (500, "unreachable"), (404, "empty")],
)
def test_refusals(server, code, status):
    server.answers = {"/v2/": (code, {}, b"")}
    batch = ask(server)
    assert calls(batch)["tags"]["status"] == status and not batch.rows["images"]
    probed = RegistrySource().probe(
        {"endpoint": server.endpoint, "repositories": [NAME]}, Path("/"), Deadline(10)
    )
    assert calls(probed)["tags"]["status"] == status


def test_nobody_listens():
    batch = collect(endpoint="http://127.0.0.1:1", repositories=[NAME], seconds=3)
    (row,) = batch.coverage
    assert row["status"] == "unreachable"


@pytest.mark.parametrize(
    ("referrers", "signed"),
    [
        ([], False),
        ([{"artifactType": "application/vnd.cncf.notary.signature"}], True),
        ([{"artifactType": "application/vnd.dev.cosign.artifact.sig.v1+json"}], True),
        ([{"artifactType": "application/spdx+json"}], False),
        (
            [
                {
                    "artifactType": "application/vnd.dev.sigstore.bundle.v0.3+json",
                    "annotations": {
                        "dev.sigstore.bundle.predicateType": "https://slsa.dev/provenance/v1"
                    },
                }
            ],
            False,
        ),
        (
            [
                {
                    "artifactType": "application/vnd.dev.sigstore.bundle.v0.3+json",
                    "annotations": {
                        "dev.sigstore.bundle.predicateType": "https://sigstore.dev/cosign/sign/v1"
                    },
                }
            ],
            True,
        ),
    ],
)
def test_referrers(server, referrers, signed):
    body = json.dumps({"schemaVersion": 2, "manifests": referrers}).encode()
    server.tags = ["1"]
    server.answers = {f"/v2/{NAME}/referrers/": (200, {"Content-Type": INDEX_OCI}, body)}
    batch = ask(server)
    assert table(batch)["signed"].tolist() == [signed]
    assert calls(batch)["signatures"]["status"] == "ok"


def test_without_referrers_a_signature_is_unknown(server):
    batch = ask(server)
    assert table(batch)["signed"].isna().all()
    assert calls(batch)["signatures"]["status"] == "unsupported"
    assert sum("/referrers/" in path for _, path in server.asked) == 1


def test_docker_hub_tells_dates_and_its_own_api_sees_no_token(server, monkeypatch):
    with serving() as hub:
        monkeypatch.setattr(oci, "HUB_API", hub.endpoint)
        tag = json.loads((FIXTURES / "hub-tag.json").read_text())
        pages = [
            {"results": [tag | {"name": n, "digest": digest_of(manifest_of(n))}]}
            for n in "12"
        ]
        place = f"/v2/repositories/{NAME}/tags"
        pages[0]["next"] = f"{hub.endpoint}{place}?page=2"
        pages[1]["next"] = pages[0]["next"]  # for ever
        hub.answers = {
            f"{place}?page_size": (200, {}, json.dumps(pages[0]).encode()),
            f"{place}?page=2": (200, {}, json.dumps(pages[1]).encode()),
            f"{place}/1": (200, {}, json.dumps(pages[0]["results"][0]).encode()),
        }
        server.token = "t-1"
        images = table(batch := ask(server, name="docker.io")).set_index("tags")
        assert set(images["registry"]) == {"docker.io"}
        assert str(images.loc["1", "pushed_at"]) == "2026-03-01 11:22:33.444555+00:00"
        assert (
            str(images.loc["2", "last_pulled_at"]) == "2026-06-30 01:02:03.456789+00:00"
        )
        assert pd.isna(images.loc["3", "pushed_at"]) and calls(batch)["hub"]["rows"] == 2
        assert not any("Authorization" in headers for headers in hub.headers)
        assert "someone" not in repr(batch)  # who pushed it
        # of what the fleet only names, no more than that is asked
        rows = {"workloads": [{"registry": "docker.io", "repository": NAME, "tag": "1"}]}
        server.asked.clear()
        batch = collect(endpoint=server.endpoint, name="docker.io", rows=rows)
        assert [r["tags"] for r in batch.rows["images"]] == ["1"] and server.pulls == 1
        assert batch.rows["images"][0]["pushed_at"] is not None
        hub.answers = {"/": (429, {"Retry-After": "99"}, b"")}
        batch = collect(endpoint=server.endpoint, name="docker.io", rows=rows)
        assert (
            calls(batch)["hub"]["status"] == "throttled"
            and len(batch.rows["images"]) == 1
        )


@pytest.mark.parametrize("host", ["docker.io", "index.docker.io", "registry-1.docker.io"])
def test_docker_hub_has_one_name_and_one_address(host):
    registry = oci.Registry(Asked({"endpoint": f"https://{host}"}, Path(), Deadline(1)))
    assert (registry.name, registry.endpoint) == (
        "docker.io",
        "https://registry-1.docker.io",
    )


def test_only_tags_and_digests_become_part_of_an_address(server):
    odd = "../../../admin"
    server.tags = ["1", odd, "https://example.com/x", ""]
    body = json.dumps(
        {"manifests": [{"digest": odd}, {"digest": "http://127.0.0.1:1/x"}]}
    ).encode()
    headers = {"Docker-Content-Digest": odd, "Content-Type": INDEX_OCI}
    server.answers = {f"/v2/{NAME}/manifests/": (200, headers, body)}
    (row,) = ask(server).rows["images"]
    assert row["digest"] == digest_of(body) and row["is_index"]
    assert not any("admin" in path or "example.com" in path for _, path in server.asked)


@pytest.mark.parametrize(
    "tail",
    [
        "/v2/{name}/tags/list/../../../../admin",
        "/v2/{name}/tags/list/x?n=1",
        "/v2/{name}/tags/listing?n=1",
        "@127.0.0.1:1/v2/{name}/tags/list?n=1",
        ".example.com/v2/{name}/tags/list?n=1",
    ],
)
def test_no_other_address_passes_for_the_next_page(server, monkeypatch, tail):
    monkeypatch.setattr(oci, "HUB_API", server.endpoint)
    link = server.endpoint + tail.format(name=NAME)
    server.tags = ["1"]
    body = json.dumps({"tags": ["1"]}).encode()
    page = json.dumps({"results": [], "next": link.replace("/v2", "/v2/repositories")})
    server.answers = {
        f"/v2/{NAME}/tags/list?": (200, {"Link": f'<{link}>; rel="next"'}, body),
        "/v2/repositories/": (200, {}, page.encode()),
    }
    batch = ask(server, name="docker.io")
    listed = [path for _, path in server.asked if "tags" in path or "admin" in path]
    assert len(listed) == 2  # one page of the registry, and one of the hub
    assert calls(batch)["tags"]["status"] == "ok"


def test_an_index_may_hold_indexes(server):
    def index_of(*digests: str) -> bytes:
        children = [{"digest": digest, "mediaType": INDEX_OCI} for digest in digests]
        return json.dumps({"mediaType": INDEX_OCI, "manifests": children}).encode()

    image = digest_of(manifest_of("2"))
    bodies = {"2": manifest_of("2")}
    inner = index_of(image)
    outer = index_of(digest_of(inner), "sha256:" + "e" * 64)
    server.tags = ["1"]
    place = f"/v2/{NAME}/manifests/"
    types = {"Content-Type": INDEX_OCI}
    server.answers = {
        f"{place}1": (200, types, outer),
        f"{place}{digest_of(outer)}": (200, types, outer),
        f"{place}{digest_of(inner)}": (200, types, inner),
        f"{place}{image}": (200, {"Content-Type": MANIFEST_2}, bodies["2"]),
    }
    rows = {row["digest"]: row for row in ask(server).rows["images"]}
    assert rows.keys() == {
        digest_of(outer),
        digest_of(inner),
        image,
        "sha256:" + "e" * 64,
    }
    assert rows[digest_of(outer)]["tags"] == "1" and rows[digest_of(inner)]["is_index"]
    assert not any(row["dangling"] for row in rows.values())


@pytest.mark.parametrize("is_hub", [False, True])
def test_a_list_without_an_end_ends(server, monkeypatch, is_hub):
    monkeypatch.setattr(oci, "MAX_TAGS", 1000)
    monkeypatch.setattr(oci, "HUB_API", server.endpoint)
    answer = server.answer
    place = f"/v2/repositories/{NAME}/tags"

    def endless(method, path, headers):
        number = int(path.rpartition("=")[2]) if "=" in path else 0
        if path.startswith(place):
            page = {"results": [], "next": f"{server.endpoint}{place}?page={number + 1}"}
            return 200, {}, json.dumps(page).encode()
        if "/tags/list" in path and not is_hub:
            names = [f"v{number}-{n}" for n in range(100)]
            following = f"<{server.endpoint}/v2/{NAME}/tags/list?last={number + 1}>"
            link = {"Link": f'{following}; rel="next"'}
            return 200, link, json.dumps({"tags": names}).encode()
        if "-" in path.rpartition("/")[2]:
            return 404, {}, b"{}"
        return answer(method, path, headers)

    server.answer = endless
    batch = ask(server, name="docker.io") if is_hub else ask(server)
    row = calls(batch)["hub" if is_hub else "tags"]
    assert "more than 1,000 tags" in row["hint"]
    assert row["status"] == ("parse_error" if is_hub else "partial")


@pytest.mark.parametrize("excess", [0, 1])
def test_an_answer_has_a_limit(server, monkeypatch, excess):
    monkeypatch.setattr(oci, "MAX_ANSWER_BYTES", 1 << 20)
    body = json.dumps({"tags": ["1"], "x": ""}).encode()
    body = body[:-2] + b"y" * ((1 << 20) + excess - len(body)) + body[-2:]
    server.answers = {f"/v2/{NAME}/tags/list": (200, {}, body)}
    row = calls(ask(server))["tags"]
    assert row["status"] == ("parse_error" if excess else "ok")
    assert not excess or "1 MB" in row["hint"]
