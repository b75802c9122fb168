"""A small believable application, described in one place, and how to put it on a real engine.

`CONTAINERS` is the table to check results against by hand: what each container is, and which
service it should become. Every value that must never be seen again is the canary.
"""

from __future__ import annotations

import io
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import docker

CANARY = "hunter2"
SHOP = "registry.example.com/shop"
SECOND = 1_000_000_000  # [ns]


@dataclass(frozen=True)
class Container:
    """One container of the application; `service` is the service that it should become."""

    name: str
    service: str | None
    image: str
    command: tuple[str, ...] = ("sleep", "3600")
    state: str = "running"
    project: str = "shop"
    depends_on: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    env: tuple[str, ...] = ()
    host: dict = field(default_factory=dict)
    user: str = ""
    healthy: bool = False
    volumes: tuple[str, ...] = ()


WEB, API = f"{SHOP}/web:1.4.2", f"{SHOP}/api:2.0.1"
DATABASE_URL = f"DATABASE_URL=postgres://shop:{CANARY}@postgres:5432/shop"
LIMITS = {"Memory": 64 * 2**20, "NanoCpus": 500_000_000, "PidsLimit": 100}
ALWAYS = {"RestartPolicy": {"Name": "always"}}

_web = {
    "service": "web",
    "image": WEB,
    "depends_on": "api:service_healthy:true",
    "healthy": True,
    "host": {**LIMITS, **ALWAYS},
}
_api = {
    "service": "api",
    "image": API,
    "healthy": True,
    "user": "1000",
    "host": {**ALWAYS, "ReadonlyRootfs": True},
    "depends_on": "postgres:service_healthy:false,cache:service_started:false",
    "env": (DATABASE_URL, f"API_KEY={CANARY}", "LOG_LEVEL=info"),
}
CONTAINERS = [
    Container("shop-web-1", **_web),
    Container("shop-web-2", **_web),
    Container("shop-api-1", **_api),
    Container("shop-api-2", **_api),
    Container(
        "shop-postgres-1",
        "postgres",
        "postgres:16",
        healthy=True,
        env=(f"POSTGRES_PASSWORD={CANARY}",),
        host=ALWAYS,
        volumes=("shop_pgdata:/var/lib/postgresql/data",),
    ),
    Container("shop-cache-1", "cache", "redis:7", host={"Tmpfs": {"/scratch": ""}}),
    Container(
        "shop-worker-1",
        "worker",
        f"{SHOP}/worker:2.0.1",
        command=("sh", "-c", f"sleep 3600 # --password={CANARY}"),
        depends_on="cache:service_started:false",
    ),
    Container(
        "shop-backup-1",
        "backup",
        f"{SHOP}/backup",
        command=("true",),
        state="exited",
        volumes=("shop_pgdata:/backup/pgdata:ro",),
    ),
    Container(
        "shop-migrate-1",
        "migrate",
        f"{SHOP}/migrate:2.0.1",
        state="created",
        depends_on="postgres:service_healthy:false",
    ),
    Container(
        "shop-api-run-1",
        None,
        API,
        state="created",
        labels={"com.docker.compose.service": "api", "com.docker.compose.oneoff": "True"},
    ),
    Container(
        "shop-crash-1",
        "crash",
        f"{SHOP}/crash:0.1",
        command=("sh", "-c", "exit 3"),
        state="exited",
        host={"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}},
    ),
    Container(
        "edge-proxy-1",
        "proxy",
        "traefik:latest",
        project="edge",
        host={"NetworkMode": "host"},
        labels={"traefik.http.middlewares.auth.basicauth.users": f"admin:{CANARY}"},
        volumes=("/var/run/docker.sock:/var/run/docker.sock",),
    ),
    Container(
        "agent",
        "agent",
        "example/agent:5",
        project="",
        state="created",
        host={"Privileged": True, "PidMode": "host", "CapAdd": ["NET_ADMIN"]},
    ),
    Container(
        "shipper",
        "shipper",
        "example/shipper:1",
        project="",
        state="created",
        host={
            "LogConfig": {
                "Type": "splunk",
                "Config": {
                    "splunk-token": CANARY,
                    "splunk-url": "https://logs.example.com:8088",
                },
            }
        },
    ),
    Container(
        "billing-7",
        "billing",
        "example/app:3",
        project="",
        labels={"assess.service": "billing"},
        volumes=("/srv/billing:/data",),
    ),
    Container(
        "traced",
        "checkout",
        "example/app:3",
        project="",
        env=("OTEL_SERVICE_NAME=checkout",),
    ),
    Container(
        "scratchpad", "scratch", "example/scratch", project="", volumes=("/var/cache/x",)
    ),
    Container(
        "swarm-task",
        "mail",
        "example/mail:1",
        project="",
        state="created",
        labels={
            "com.docker.swarm.service.name": "post_mail",
            "com.docker.stack.namespace": "post",
        },
    ),
    Container(
        "k8s-pause",
        None,
        "example/pause:3",
        project="",
        state="created",
        labels={"io.kubernetes.container.name": "POD", "io.kubernetes.pod.name": "x-1"},
    ),
    Container("report-1", "report", "example/report:9", project="", state="created"),
    Container("report-2", "report", "example/report:9", project="", state="created"),
]
HEALTHCHECK = {
    "Test": ["CMD-SHELL", f"echo {CANARY}"],
    "Interval": SECOND,
    "Timeout": 5 * SECOND,
    "Retries": 3,
}


def fill(endpoint: str, containers: list[Container] = CONTAINERS) -> None:
    """Put the application on an engine, and wait until it is in the states of the table.

    Parameters
    ----------
    endpoint : str
        Unix socket of the engine.
    containers : list of Container
        What to put there.
    """
    api = docker.APIClient(base_url=endpoint, timeout=60)
    load_images(api, sorted({c.image for c in containers}))
    options = {
        "type": "cifs",
        "device": "//files.example.com/x",
        "o": f"username=u,password={CANARY}",
    }
    api.create_volume("legacy_share", driver="local", driver_opts=options)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda c: _create(api, c), containers))
    for each in containers:
        _await(api, each)
    api.close()


def _await(api: docker.APIClient, c: Container) -> None:
    """Wait until a container that ends has ended for good: between its restarts it looks so too."""
    retries = c.host.get("RestartPolicy", {}).get("MaximumRetryCount", 0)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        seen = api.inspect_container(c.name)
        if seen["State"]["Status"] == c.state and seen["RestartCount"] >= retries:
            return
        time.sleep(0.1)
    raise TimeoutError(f"{c.name} is {seen['State']['Status']}, not {c.state}")


def load_images(api: docker.APIClient, refs: list[str]) -> None:
    """Import one busybox root file system under many names.

    Parameters
    ----------
    api : docker.APIClient
        The engine.
    refs : list of str
        References to images.
    """
    blob = _rootfs()
    for ref in refs:
        name, _, tag = (
            ref.rpartition(":") if ":" in ref.rpartition("/")[2] else (ref, "", "latest")
        )
        changes = [f'LABEL org.opencontainers.image.version="{tag}"', "ENV PATH=/bin"]
        api.import_image_from_data(blob, repository=name, tag=tag, changes=changes)


def _rootfs() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(_busybox(), arcname="bin/busybox")
        for applet in ("sh", "sleep", "true", "echo"):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return buffer.getvalue()


def _busybox() -> Path:
    return next(p for p in map(Path, ("/bin/busybox", "/usr/bin/busybox")) if p.exists())


def _create(api: docker.APIClient, c: Container) -> None:
    labels = dict(c.labels)
    if c.project:
        labels.setdefault("com.docker.compose.service", c.service or "")
        labels |= {
            "com.docker.compose.project": c.project,
            "com.docker.compose.container-number": c.name.rpartition("-")[2],
            "com.docker.compose.depends_on": c.depends_on,
            "com.docker.compose.project.environment_file": f"/srv/{CANARY}.env",
        }
        labels.setdefault("com.docker.compose.oneoff", "False")
    binds = [v for v in c.volumes if ":" in v]
    host = {"NetworkMode": "none", "Init": True, "Binds": binds, **c.host}
    config = {
        "Image": c.image,
        "Cmd": list(c.command),
        "Labels": labels,
        "Env": list(c.env),
        "User": c.user,
        "HostConfig": host,
        "ExposedPorts": {"8080/tcp": {}},
        "Volumes": {v: {} for v in c.volumes if ":" not in v},
    }
    if c.healthy:
        config["Healthcheck"] = HEALTHCHECK
    api.create_container_from_config(config, name=c.name)
    if c.state != "created":
        api.start(c.name)
