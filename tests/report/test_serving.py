"""The reports over real HTTP: what may be seen is seen, and nothing else."""

import http.client
import socket
import threading

import pytest

from assess.report.serving import Server

SECRET = "must not be seen"


@pytest.fixture
def server(tmp_path):
    home = tmp_path / "reports"
    (home / "2026Q3" / "figures").mkdir(parents=True)
    (home / "2026Q3" / "index.html").write_text("<h1>Report</h1>")
    (home / "2026Q3" / "figures" / "a b.svg").write_text("<svg/>")
    (home / "2026Q3" / "evil.html.exe").write_text("<script>")
    (home / "README.md").write_text("# Reports")
    (home / "<b>.md").write_text("x")
    (home / ".hidden").write_text(SECRET)
    (home / ".git").mkdir()
    (home / ".git" / "config").write_text(SECRET)
    (tmp_path / "secret.txt").write_text(SECRET)
    (tmp_path / "reports-next").mkdir()
    (tmp_path / "reports-next" / "secret.txt").write_text(SECRET)
    (home / "link.txt").symlink_to(tmp_path / "secret.txt")
    (home / "out").symlink_to(tmp_path, target_is_directory=True)
    (home / "inner").symlink_to(home / ".git", target_is_directory=True)
    running = Server(home)
    thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def ask(server, path, method="GET", *, token=True, body=None):
    """Send a request as it stands: no client tidies the path."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    whole = f"/{server.token}{path}" if token else path
    connection.putrequest(method, whole, skip_accept_encoding=True)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    told = answer.read()
    connection.close()
    return answer, told


def test_the_reports_are_there_with_their_types(server):
    for path, kind, text in [
        ("/2026Q3/", "text/html; charset=utf-8", b"<h1>Report</h1>"),
        ("/2026Q3/index.html?x=1", "text/html; charset=utf-8", b"<h1>Report</h1>"),
        ("/2026Q3/figures/a%20b.svg", "image/svg+xml", b"<svg/>"),
        ("/README.md", "text/markdown; charset=utf-8", b"# Reports"),
        ("/2026Q3/evil.html.exe", "text/plain; charset=utf-8", b"<script>"),
    ]:
        answer, told = ask(server, path)
        assert (answer.status, answer.headers["Content-Type"], told) == (200, kind, text)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "assess" not in told.decode()


def test_a_directory_is_listed_and_its_slash_is_added(server):
    answer, told = ask(server, "/")
    assert answer.status == 200
    assert b'href="2026Q3/"' in told
    assert b"<b>.md" not in told
    assert b"hidden" not in told
    assert b"link.txt" not in told
    answer, _ = ask(server, "/2026Q3")
    assert (answer.status, answer.headers["Location"]) == (302, "2026Q3/")


def test_head_says_the_same_without_the_body(server):
    answer, told = ask(server, "/README.md", "HEAD")
    assert (answer.status, told, answer.headers["Content-Length"]) == (200, b"", "9")


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "MOVE"]
)
def test_nothing_can_be_written(server, method):
    answer, _ = ask(server, "/README.md", method, body=b"new")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert (server.root / "README.md").read_text() == "# Reports"


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/%2e%2e%2fsecret.txt",
        "/2026Q3/../../secret.txt",
        "/2026Q3/%2e%2e/%2e%2e/secret.txt",
        "/..%5csecret.txt",
        "/%252e%252e/secret.txt",
        "/....//secret.txt",
        "//secret.txt",
        "/./README.md",
        "/..%c0%afsecret.txt",
        "/%2fetc%2fpasswd",
        "//etc/passwd",
        "/README.md%00.html",
        "/../reports-next/secret.txt",
        "/link.txt",
        "/out/secret.txt",
        "/out/",
        "/inner/config",
        "/.hidden",
        "/.git/config",
        "/%2ehidden",
        "/2026Q3/index.html/",
        "/C:/x",
        "/none.html",
        "/README.md/x",
        "/\x7f",
        "/" + "a" * 5000,
        "/2026Q3/index.html/..",
    ],
)
def test_nothing_else_can_be_read(server, path):
    answer, told = ask(server, path.replace("\x7f", "%7f"))
    assert SECRET not in told.decode()
    assert answer.status == 404 or (
        path == "/2026Q3/index.html/" and answer.status == 200
    )


@pytest.mark.parametrize(
    "path", ["/", "/README.md", "/wrong/README.md", "/%ff/README.md", "/%C3%A9/"]
)
def test_without_the_token_there_is_nothing(server, path):
    answer, told = ask(server, path, token=False)
    assert (answer.status, told) == (404, b"Not found.\n")


def test_it_listens_on_loopback_alone_and_every_token_is_another(server, tmp_path):
    assert server.server_address[0] == "127.0.0.1"
    other = Server(tmp_path)
    assert other.token != server.token
    assert len(other.token) >= 32
    other.server_close()


def test_a_request_that_is_none_is_refused(server):
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as raw:
        raw.sendall(b"\x16\x03\x01 not http\r\n\r\n")
        assert b"Traceback" not in raw.recv(4096)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:{port}", 200),
        ("localhost:{port}", 200),
        ("LOCALHOST:{port}", 200),
        ("[::1]:{port}", 200),
        ("evil.test:{port}", 421),
        ("127.0.0.1.evil.test:{port}", 421),
        ("localhost.evil.test:{port}", 421),
        ("evil.test", 421),
        ("localhost", 421),
        ("localhost:1", 421),
        ("", 421),
        (None, 421),
    ],
)
def test_only_a_name_of_this_machine_is_answered(server, host, status):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.putrequest("GET", f"/{server.token}/README.md", skip_host=True)
    if host is not None:
        connection.putheader("Host", host.format(port=server.server_port))
    connection.endheaders()
    answer = connection.getresponse()
    told = answer.read()
    connection.close()
    assert answer.status == status
    assert (b"Reports" in told) == (status == 200)


def test_two_host_names_are_refused(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.putrequest("GET", f"/{server.token}/README.md")
    connection.putheader("Host", "evil.test")
    connection.endheaders()
    assert connection.getresponse().status == 421
    connection.close()
