"""Host paths that containers mount: their class, and the part that may be shown."""

import posixpath
import re
from functools import cache, lru_cache

from assess.linear import Linear
from assess.sources.csv_records import rows
from assess.sources.redact import strip_credentials
from assess.sources.values import Texts

_DRIVE = re.compile(r"[a-z]:/?")
_VARIABLE = re.compile(r"[$%{]")  # who reads it does not know where it leads
_CONFIG_FILE = re.compile(r"\.(conf|cfg|ini|ya?ml|toml|json|env|properties|crt|pem)$")
_HOMES = ("/home", "/Users")  # the next part names a person
_SHOWN = 2  # parts of a path
# Sockets of docker, containerd, CRI-O and podman, wherever they are; that of the shim for docker
# is one too.
_ENGINE_SOCKETS = re.compile(
    r"(docker|docker\.raw|containerd|crio|podman|cri-dockerd|dockershim)\.sock"
)
# Directories that hold one of them: where distributions and rootless engines put them.
_ENGINE_DIRECTORIES = re.compile(
    r"/|/run(/(docker|docker/containerd|containerd|crio|podman|k3s|k3s/containerd"
    r"|user(/\d+(/(podman|containerd))?)?))?"
)
_ENGINE_PIPES = Linear(r"//[.?]/pipe/[\w.-]*(docker|containerd|podman|cri-o)[\w.-]*")


@lru_cache(maxsize=4096)
def host_path_class(source: str) -> str | None:
    """Return the class of a path of a host, in the words of the mounts frame; None where unknown."""
    path = _normal(source)
    if not path or _VARIABLE.search(path):
        return None
    if path.endswith(".sock") or "/pipe/" in path:
        return "socket"
    if _DRIVE.fullmatch(path):
        return "root"
    names = _classes("name")
    for part in path.split("/"):
        if part in names:
            return names[part]
    if found := _classes("itself").get(path):
        return found
    return _of_ancestors(path) or ("config" if _CONFIG_FILE.search(path) else "other")


def _of_ancestors(path: str) -> str | None:
    """Return the class of the nearest known parent directory."""
    trees = _classes("tree")
    while path not in ("", "/", "."):
        if path in trees:
            return trees[path]
        path = posixpath.dirname(path)
    return None


def shown_path(source: str) -> str | None:
    """Return the first two parts of a path, without a user's name."""
    path = strip_credentials(source.replace("\\", "/"))
    root = "/" if path.startswith("/") else ""
    parts = [part for part in path.split("/") if part][:_SHOWN]
    shown = root + "/".join(parts)
    home, _, person = shown.rpartition("/")
    if person and home in _HOMES:
        shown = f"{home}/*"
    return shown or None


def is_engine_socket(source: str) -> bool:
    """Return whether a path on a host is the socket of an engine or a directory that holds one."""
    if not source:
        return False
    path = source.replace("\\", "/")
    if _ENGINE_PIPES.fullmatch(path.rstrip("/").lower()):
        return True
    path = posixpath.normpath(path)
    if path.startswith("//"):  # which POSIX leaves alone, and Linux reads as one slash
        path = path[1:]
    if path == "/var/run" or path.startswith("/var/run/"):  # a link to /run
        path = path.removeprefix("/var")
    is_socket = _ENGINE_SOCKETS.fullmatch(posixpath.basename(path))
    return bool(is_socket or _ENGINE_DIRECTORIES.fullmatch(path))


def _normal(source: str) -> str:
    """Normalise a path: forward slashes, no ``..``; Windows paths in lower case."""
    path = source.replace("\\", "/")
    if path.startswith("~"):
        path = "/home/~" + path[1:]
    if _DRIVE.match(path.lower()):
        path = path.lower()
    path = posixpath.normpath(path) if path else ""
    return "/" + path.lstrip("/") if path.startswith("/") else path


@cache
def _classes(covers: str) -> Texts:
    listed = rows("host_paths")
    return {row["path"]: row["class"] for row in listed if row["covers"] == covers}
