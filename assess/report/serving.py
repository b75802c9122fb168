"""Serve a directory over HTTP: on loopback, behind a token, read-only."""

import hmac
import os
import secrets
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote, unquote_to_bytes

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".pdf": "application/pdf",
}
OTHER = "text/plain; charset=utf-8"
# pages contain their own style, script and pictures; nothing may be loaded from elsewhere
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src data: 'self'; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
IDLE_SECONDS = 30.0


class Server(ThreadingHTTPServer):
    """Serves a directory to browsers on this machine that know the token; port 0 is any free port."""

    daemon_threads = True

    def __init__(self, directory: str | Path, port: int = 0) -> None:
        self.root = Path(directory).resolve(strict=True)
        self.token = secrets.token_urlsafe(24)
        super().__init__(("127.0.0.1", port), Handler)

    @property
    def address(self) -> str:
        """The address, with the token."""
        return f"http://127.0.0.1:{self.server_port}/{self.token}/"

    def is_addressed_by(self, hosts: list[str]) -> bool:
        """Whether a request names this server."""
        # A page elsewhere can point a name of its own at this machine (DNS rebinding),
        # but its browser then sends that name.
        names = {f"{name}:{self.server_port}" for name in LOOPBACK}
        return len(hosts) == 1 and hosts[0].strip().lower() in names

    def find(self, target: str) -> Path | None:
        """Return the file or directory of a request; None for hidden, missing or outside paths."""
        try:
            asked = target.partition("?")[0].partition("#")[0]
            path = unquote_to_bytes(asked).decode()
        except UnicodeDecodeError:
            return None
        _, token, *parts = f"/{path.lstrip('/')}".split("/")
        if not hmac.compare_digest(token.encode(), self.token.encode()) or not parts:
            return None
        if parts[-1] == "":
            parts.pop()
        if any(not _is_plain(part) for part in parts):
            return None
        try:
            target_path = self.root.joinpath(*parts).resolve(strict=True)
        except OSError:
            return None
        # a link may lead out of the directory, or to a hidden file in it
        if not target_path.is_relative_to(self.root):
            return None
        inside = target_path.relative_to(self.root).parts
        return None if any(part.startswith(".") for part in inside) else target_path


def _is_plain(part: str) -> bool:
    """Whether a part of a path may be shown, on any operating system."""
    return (
        bool(part)
        and part.isprintable()
        and part[0] != "."
        and not set(part) & {"\\", ":"}
    )


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD."""

    server: Server
    server_version = "assess"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout: ClassVar[float] = IDLE_SECONDS

    def do_GET(self) -> None:
        """Send a file, or the index of a directory."""
        if not self.server.is_addressed_by(self.headers.get_all("Host", [])):
            return self._send(HTTPStatus.MISDIRECTED_REQUEST, b"Not this host.\n")
        path = self.server.find(self.path)
        if path is None:
            return self._send(HTTPStatus.NOT_FOUND, b"Not found.\n")
        if path.is_dir():
            if not self.path.partition("?")[0].endswith("/"):
                place = quote(path.name)
                return self._send(HTTPStatus.FOUND, b"", Location=f"{place}/")
            page = path / "index.html"
            if not page.is_file() or page.is_symlink():
                return self._send(HTTPStatus.OK, _listing(path), TYPES[".html"])
            path = page
        if not path.is_file():
            return self._send(HTTPStatus.NOT_FOUND, b"Not found.\n")
        self._send(
            HTTPStatus.OK, path.read_bytes(), TYPES.get(path.suffix.lower(), OTHER)
        )

    do_HEAD = do_GET  # noqa: N815 - the library's name

    def send_error(
        self,
        code: int,
        message: str | None = None,
        explain: str | None = None,
    ) -> None:
        """Refuse every other method."""
        if code == HTTPStatus.NOT_IMPLEMENTED:
            self.close_connection = True  # the body of the request is not read
            self._send(
                HTTPStatus.METHOD_NOT_ALLOWED, b"Only GET and HEAD.\n", Allow="GET, HEAD"
            )
        else:
            super().send_error(code, message, explain)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: every request contains the token."""

    def _send(
        self, status: HTTPStatus, body: bytes, kind: str = OTHER, **headers: str
    ) -> None:
        self.send_response(status)
        sent = {
            **HEADERS,
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            **headers,
        }
        for name, value in sent.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _listing(directory: Path) -> bytes:
    """Return a page that lists a directory, latest name first."""
    names = sorted(
        (f"{entry.name}/" if entry.is_dir() else entry.name)
        for entry in os.scandir(directory)
        if _is_plain(entry.name) and not entry.is_symlink()
    )
    rows = "".join(
        f'<li><a href="{quote(n)}">{escape(n)}</a></li>' for n in reversed(names)
    )
    title = escape(directory.name)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        '<meta name="color-scheme" content="light dark">'
        "<style>body{font:16px/1.6 system-ui,sans-serif;max-width:40rem;margin:3rem auto;"
        f"padding:0 1rem}}</style><main><h1>{title}</h1><ul>{rows}</ul></main></html>\n"
    ).encode()
