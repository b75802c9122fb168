"""Volumes and host paths: storage that several containers may mount, its name, and its class."""

import hashlib
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from assess.frames import Row
from assess.inventory import LASTING
from assess.linear import Linear
from assess.sources.csv_records import rows
from assess.sources.redact import strip_credentials
from assess.sources.values import Texts, by_name, dicts, picked, text

NFS = "nfs:"
# What a host has for itself: who mounts it watches or steers the host, and shares no data.
_OF_HOST = re.compile(
    r"/|/(proc|sys|dev|boot|etc|run|tmp|usr|bin|sbin|lib|lib64|lib/modules)(/.*)?"
    r"|/var/(run|log|lib/(docker|containerd|kubelet|containers|rancher))(/.*)?"
)
_NFS_SERVER = Linear(r"(?:^|,)\s*addr=([^,\s]+)")
_DRIVE = re.compile(r"[a-z]:/?")
_VARIABLE = re.compile(r"[$%{]")  # its value is unknown here
_CONFIG_FILE = re.compile(r"\.(conf|cfg|ini|ya?ml|toml|json|env|properties|crt|pem)$")
_HOMES = ("/home", "/Users")  # the next part names a person
_SHOWN_PARTS = 2  # of a path on a host; what is below may name people and customers
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


@dataclass(frozen=True)
class Mount:
    """One mount of a container."""

    target: str  # path in the container
    type: str  # bind, volume, tmpfs, npipe …
    source: str = ""  # path on the host, of a bind
    volume: str | None = None  # name of a volume that outlives the container
    driver: str | None = None
    is_writable: bool | None = True
    source_class: str | None = None  # where the platform says more than type and paths
    is_remote: bool = False  # whether all hosts see the same storage
    shared_as: str | None = None  # where its name does not identify it; empty: not known
    size_bytes: int | None = None


def volume_mounts(pod: Row, container: Any) -> Iterator[tuple[Mount, Row]]:
    """Yield the mounts of a container in the form of Kubernetes, each with its volume."""
    volumes = by_name(pod, "volumes")
    for entry in dicts(container, "volumeMounts"):
        name = text(entry, "name") or text(entry, "volumeName")
        is_writable = entry.get("readOnly") is not True
        mount = Mount(text(entry, "mountPath"), "", is_writable=is_writable)
        # A StatefulSet makes a claim for each replica, which its template does not list.
        yield mount, volumes.get(name, {"name": name})


COLON = re.compile(r"(?<!^[A-Za-z])(?<!:[A-Za-z]):|:(?![\\/])")  # C:\x is one part


def split_volume(text: str) -> Mount | None:
    """Read ``source:target:options`` of ``docker run --volume``; None without a target."""
    # A source with a slash is a path of the host, any other one is the name of a volume.
    source, target, options = (*COLON.split(text), "", "")[:3]
    if not target:
        return None
    is_path = re.search(r"[/\\]", source)
    return Mount(
        target,
        "bind" if is_path else "volume",
        source=source if is_path else "",
        volume=None if is_path else source or None,
        is_writable="ro" not in options.split(","),
    )


def mount_of(options: Mapping[str, Any], *, is_writable: bool) -> Mount:
    """Read a mount that has an option for each of its parts; without a type it is a volume."""
    own = picked(options, "mount option")
    kind = own["type"] or "volume"
    is_volume = kind == "volume"
    source = own["source"] or ""
    return Mount(
        own["target"] or "",
        kind,
        source="" if is_volume else source,
        volume=source or None if is_volume else None,
        is_writable=is_writable,
    )


def short_path(path: str) -> str:
    """Return the part of a path that may be shown, and a hash of the whole path."""
    plain = posixpath.normpath(path.replace("\\", "/"))
    shown = shown_path(plain)
    if shown == plain:
        return plain
    digest = hashlib.sha256(plain.encode("utf-8", "replace")).hexdigest()
    return f"{shown}/…{digest[:8]}"


def nfs_export(options: Mapping[str, Any] | None) -> str:
    """Return the NFS export behind the options of a local volume; empty if there is none."""
    device = text(options, "device")
    if not text(options, "type").startswith("nfs") or not device:
        return ""
    server = _NFS_SERVER.search(text(options, "o"))
    host, _, path = device.rpartition(":")
    return export_id(server[1] if server else host, path)


def export_id(server: str, path: str) -> str:
    """Return the name of an NFS export: the same for all hosts that mount it."""
    return f"{NFS}{server}:{short_path(path)}"


def volume_id(
    source_class: str, *, name: str | None, path: str, place: str | None
) -> str | None:
    """Return the element name of mounted storage that others may mount too.

    ``place`` is the host, project or cluster that the name belongs to; None where it is unknown,
    empty where the name needs none. None for what nobody else can mount.
    """
    if source_class not in LASTING or place is None:
        return None
    if name:
        short = name
    elif not path or _OF_HOST.fullmatch(posixpath.normpath(path)):
        return None
    else:
        short = short_path(path)
    return f"{place}:{short}" if place and not short.startswith(NFS) else short


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
    parts = [part for part in path.split("/") if part][:_SHOWN_PARTS]
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
