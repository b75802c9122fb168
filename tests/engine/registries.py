"""A real registry with real images, started and stopped by the tests themselves."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OCI = "application/vnd.oci.image."
START_SECONDS = 10
ENGINE_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
BASE_NAME = "registry.example.com/base/busybox:1.35"


class NoRegistryError(RuntimeError):
    """Why no real registry can be had here."""


@dataclass
class Registry:
    """One running registry.

    Attributes
    ----------
    host : str
        Address and port, as references to its images start.
    root : Path
        Its data, configuration and log.
    """

    host: str
    root: Path
    process: subprocess.Popen[bytes]

    @property
    def endpoint(self) -> str:
        """Address of its API."""
        return f"http://{self.host}"

    def stop(self) -> None:
        """Stop it."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def running(root: Path, auth: str = "") -> Iterator[Registry]:
    """Start a registry, and stop it in the end.

    Parameters
    ----------
    root : Path
        Directory for all that it writes.
    auth : str, default ""
        User and password, as ``user:password``, that it asks for.

    Yields
    ------
    Registry
        Answering.

    Raises
    ------
    NoRegistryError
        With the reason why there is none.
    """
    program = shutil.which("docker-registry", path=f"{os.environ['PATH']}:{ENGINE_PATH}")
    if not program:
        raise NoRegistryError("no docker-registry: apt-get install docker-registry")
    if not shutil.which("skopeo"):
        raise NoRegistryError("no skopeo: apt-get install skopeo")
    root.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    config = {
        "version": 0.1,
        "storage": {
            "filesystem": {"rootdirectory": f"{root}/data"},
            "delete": {"enabled": True},
        },
        "http": {"addr": host},
        "compatibility": {"schema1": {"enabled": True}},
        "log": {"level": "warn"},
    }
    if auth:
        (root / "htpasswd").write_text(_htpasswd(*auth.split(":")))
        config["auth"] = {"htpasswd": {"realm": "shop", "path": f"{root}/htpasswd"}}
    (root / "config.yml").write_text(json.dumps(config))  # JSON is YAML
    with (root / "log").open("wb") as log:
        command = [program, "serve", str(root / "config.yml")]
        registry = Registry(host, root, subprocess.Popen(command, stdout=log, stderr=log))
    try:
        _wait(registry)
        yield registry
    finally:
        registry.stop()


def _wait(registry: Registry) -> None:
    end = time.monotonic() + START_SECONDS
    address, _, port = registry.host.partition(":")
    while time.monotonic() < end and registry.process.poll() is None:
        try:
            socket.create_connection((address, int(port)), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    log = (registry.root / "log").read_text(errors="replace")[-600:]
    raise NoRegistryError(f"the registry did not start: {log}")


def _htpasswd(user: str, password: str) -> str:
    """One line with a bcrypt hash, the only kind that the registry reads."""
    import bcrypt

    return f"{user}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}\n"


@dataclass
class Image:
    """One image of a layout; `created` may be of any date, `env` may hold a canary."""

    created: str = "2026-02-03T04:05:06Z"
    arch: str = "amd64"
    layers: tuple[bytes, ...] = (b"one", b"two")
    env: tuple[str, ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()


def write_layout(directory: Path, tags: dict[str, list[Image]]) -> None:
    """Write an OCI layout, by hand: one image under a tag, or an index of several.

    Parameters
    ----------
    directory : Path
        New directory.
    tags : dict of str to list of Image
        Images by tag; more than one become an index.
    """
    (directory / "blobs/sha256").mkdir(parents=True)
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    entries = []
    for tag, images in tags.items():
        found = [_write_image(directory, image) for image in images]
        entry = found[0]
        if len(found) > 1:
            index = {
                "schemaVersion": 2,
                "mediaType": f"{OCI}index.v1+json",
                "manifests": found,
            }
            entry = _blob(directory, json.dumps(index).encode(), f"{OCI}index.v1+json")
        entries.append(
            entry | {"annotations": {"org.opencontainers.image.ref.name": tag}}
        )
    (directory / "index.json").write_text(
        json.dumps({"schemaVersion": 2, "manifests": entries})
    )


def _write_image(directory: Path, image: Image) -> dict[str, Any]:
    layers, diffs = [], []
    for content in image.layers:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            member = tarfile.TarInfo(f"file-{hashlib.sha256(content).hexdigest()[:8]}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        raw = buffer.getvalue()
        diffs.append("sha256:" + hashlib.sha256(raw).hexdigest())
        packed = gzip.compress(raw, mtime=0)
        layers.append(_blob(directory, packed, f"{OCI}layer.v1.tar+gzip"))
    config = {
        "created": image.created,
        "architecture": image.arch,
        "os": "linux",
        "config": {"Env": list(image.env), "Cmd": ["true"]},
        "rootfs": {"type": "layers", "diff_ids": diffs},
        "history": [{"created": image.created, "created_by": f"ADD {n}"} for n in diffs],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}manifest.v1+json",
        "layers": layers,
        "config": _blob(directory, json.dumps(config).encode(), f"{OCI}config.v1+json"),
        "annotations": dict(image.annotations),
    }
    entry = _blob(directory, json.dumps(manifest).encode(), f"{OCI}manifest.v1+json")
    return entry | {"platform": {"architecture": image.arch, "os": "linux"}}


def _blob(directory: Path, content: bytes, media_type: str) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    (directory / "blobs/sha256" / digest).write_bytes(content)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def push(
    layout: Path, tag: str, target: str, kind: str = "", credentials: str = ""
) -> None:
    """Push an image, or an index, of a layout.

    Parameters
    ----------
    layout : Path
        The OCI layout.
    tag : str
        Which of its images.
    target : str
        Where to, as ``127.0.0.1:5000/team/app:1``.
    kind : str, default ""
        Form to push it in: ``oci``, ``v2s1`` or ``v2s2``; all of an index, as it is, without one.
    credentials : str, default ""
        User and password.
    """
    form = ["--format", kind] if kind else ["--all"]
    own = ["--dest-creds", credentials] if credentials else []
    subprocess.run(
        [
            "skopeo",
            "--insecure-policy",
            "copy",
            "-q",
            *form,
            *own,
            "--dest-tls-verify=false",
            f"oci:{layout}:{tag}",
            f"docker://{target}",
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )


def fill(registry: Registry, layout: Path, credentials: str = "") -> None:
    """Push images of every kind: the shop's repositories, as the tests know them.

    ``shop/web`` has an index (1.5), an OCI image (1.4, also ``latest``) and one of schema 2 (1.3),
    ``shop/old`` one of schema 1, ``shop/epoch`` a reproducible build of the year 1970.

    Parameters
    ----------
    registry : Registry
        Where to.
    layout : Path
        New directory for the layout.
    credentials : str, default ""
        User and password of the registry.
    """
    annotations = (("org.opencontainers.image.base.name", BASE_NAME),)
    plain = Image(env=("API_KEY=hunter2",), annotations=annotations)
    arm = Image(arch="arm64", layers=(b"one", b"arm"), created="2026-02-03T05:00:00Z")
    epoch = Image(created="1970-01-01T00:00:00Z")
    write_layout(layout, {"plain": [plain], "both": [plain, arm], "epoch": [epoch]})
    for tag, name, kind in (
        ("both", "shop/web:1.5", ""),
        ("plain", "shop/web:1.4", "oci"),
        ("plain", "shop/web:latest", "oci"),
        ("plain", "shop/web:1.3", "v2s2"),
        ("plain", "shop/old:0.9", "v2s1"),
        ("epoch", "shop/epoch:1", "oci"),
    ):
        push(layout, tag, f"{registry.host}/{name}", kind, credentials)
