"""A storefront of 13 services that call each other for real, over loopback, on two engines.

A replica answers ``GET /up`` with 200 while it has what it needs, else with 404: it asks what it
needs again and again, as a readiness check does. Frozen, it answers nothing at all.
"""

from __future__ import annotations

import http.client
import io
import socket
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import docker
import engines as real

SCRIPT = """#!/bin/sh
httpd -f -p 127.0.0.1:$PORT -h /www &
while :; do
  ok=1
  for group in $NEEDS; do
    need=${group%%:*}; n=0
    for port in $(echo ${group#*:} | tr , ' '); do
      [ $n -lt $need ] && timeout 1 wget -q -O /dev/null http://127.0.0.1:$port/up && n=$((n+1))
    done
    [ $n -ge $need ] || ok=0
  done
  if [ $ok = 1 ]; then touch /www/up; else rm -f /www/up; fi
  sleep 0.2
done
"""
APPLETS = ("sh", "httpd", "timeout", "wget", "tr", "touch", "rm", "sleep", "echo", "true")


@dataclass(frozen=True)
class Service:
    """One service: where its replicas are, and what it needs.

    Attributes
    ----------
    hosts : tuple of int
        Host of each replica.
    hard : tuple of str
        It does not answer without any of these.
    soft : tuple of str
        It asks these, and answers without them.
    either : tuple of str
        It does not answer without one of these: each is the fallback of the other.
    all_replicas : bool
        Whether it needs all of its replicas; else one.
    own_registry : bool
        Whether its image comes from the registry of the tests.
    """

    hosts: tuple[int, ...]
    hard: tuple[str, ...] = ()
    soft: tuple[str, ...] = ()
    either: tuple[str, ...] = ()
    all_replicas: bool = False
    own_registry: bool = False

    @property
    def need(self) -> int:
        """Replicas that have to answer."""
        return len(self.hosts) if self.all_replicas else 1


SERVICES = {
    "db": Service((1,)),
    "queue": Service((2,)),
    "cache": Service((1,)),
    "metrics": Service((1,)),
    "search": Service((2,), own_registry=True),
    "suggest": Service((1,)),
    "ledger": Service((1, 2), hard=("db",)),
    "orders": Service((1, 2), hard=("ledger", "queue")),
    "worker": Service((2,), hard=("queue", "db")),
    "mailer": Service((2,), hard=("queue",), own_registry=True),
    "catalog": Service((1, 2), soft=("cache",), either=("search", "suggest")),
    "cart": Service((1, 2), hard=("catalog",), all_replicas=True),
    "web": Service((1, 2), hard=("catalog", "orders"), soft=("metrics",)),
}


@dataclass
class Storefront:
    """The storefront on its engines.

    Attributes
    ----------
    engines : dict of int to Engine
        By host.
    registry : str
        Address of the registry of the tests.
    ports : dict of (str, int) to int
        By service and replica.
    """

    engines: dict[int, real.Engine]
    registry: str
    ports: dict[tuple[str, int], int] = field(default_factory=dict)

    def client(self, host: int) -> docker.APIClient:
        """Give a client of the engine of a host."""
        return docker.APIClient(base_url=self.engines[host].endpoint, timeout=60)

    def image(self, service: str) -> str:
        """Give the reference to the image of a service."""
        origin = f"{self.registry}/" if SERVICES[service].own_registry else ""
        return f"{origin}shop/{service}:1"

    def build(self) -> None:
        """Put images and containers on the engines, push what the registry holds, start all."""
        blob = _rootfs()
        held = _free_ports(sum(len(s.hosts) for s in SERVICES.values()))
        names = [(name, i) for name, s in SERVICES.items() for i in range(len(s.hosts))]
        self.ports = dict(zip(names, held, strict=True))
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda host: self._fill(host, blob), self.engines))

    def _fill(self, host: int, blob: bytes) -> None:
        api = self.client(host)
        for name, service in SERVICES.items():
            if host not in service.hosts:
                continue
            repository, _, tag = self.image(name).rpartition(":")
            api.import_image_from_data(blob, repository=repository, tag=tag)
            if service.own_registry:
                api.push(repository, tag=tag)
            for replica in (i for i, at in enumerate(service.hosts) if at == host):
                self._create(api, name, replica)
                api.start(f"shop-{name}-{replica + 1}")
        api.close()

    def _create(self, api: docker.APIClient, name: str, replica: int) -> None:
        service = SERVICES[name]
        groups = [
            *(self._group(SERVICES[dst].need, dst) for dst in service.hard),
            *(self._group(0, dst) for dst in service.soft),
            *([self._group(1, *service.either)] if service.either else []),
        ]
        labels = {
            "com.docker.compose.project": "shop",
            "com.docker.compose.service": name,
            "com.docker.compose.container-number": str(replica + 1),
            "com.docker.compose.depends_on": ",".join(
                f"{d}:service_healthy:false" for d in service.hard
            ),
        }
        host = {"NetworkMode": "host", "Init": True, "RestartPolicy": {"Name": "always"}}
        config = {
            "Image": self.image(name),
            "Cmd": ["sh", "/run.sh"],
            "Labels": labels,
            "Env": [
                "PATH=/bin",
                f"PORT={self.ports[name, replica]}",
                f"NEEDS={' '.join(groups)}",
            ],
            "HostConfig": host,
        }
        api.create_container_from_config(config, name=f"shop-{name}-{replica + 1}")

    def _group(self, need: int, *names: str) -> str:
        ports = [str(port) for (name, _), port in self.ports.items() if name in names]
        return f"{need}:{','.join(ports)}"

    def containers(self, service: str) -> list[tuple[int, str]]:
        """Give host and name of the containers of a service."""
        return [
            (at, f"shop-{service}-{i + 1}")
            for i, at in enumerate(SERVICES[service].hosts)
        ]

    def answering(self) -> frozenset[str]:
        """Ask every replica from outside; give the services of which enough answer."""
        with ThreadPoolExecutor(len(self.ports)) as pool:
            up = dict(zip(self.ports, pool.map(_is_up, self.ports.values()), strict=True))
        counts = {name: sum(up[key] for key in up if key[0] == name) for name in SERVICES}
        return frozenset(name for name, n in counts.items() if n >= SERVICES[name].need)

    def settled(self, *, still: float = 6.0, most: float = 60) -> frozenset[str]:
        """Wait until what answers no longer changes, and give it.

        Who asks something frozen waits a second for each replica before it gives up, and longer
        where the machine has other work: the next to fall may take that long.
        """
        end, since, seen = time.monotonic() + most, time.monotonic(), self.answering()
        while time.monotonic() < min(end, since + still):
            time.sleep(0.1)
            now = self.answering()
            if now != seen:
                since, seen = time.monotonic(), now
        return seen

    def heal(self, *, most: float = 40) -> float:
        """Wait until every service answers, and give the seconds that it took."""
        start = time.monotonic()
        while (up := self.answering()) != frozenset(SERVICES):
            if time.monotonic() > start + most:
                raise TimeoutError(f"still down: {sorted(set(SERVICES) - up)}")
            time.sleep(0.05)
        return time.monotonic() - start


def _free_ports(n: int) -> list[int]:
    """Give ports of the loopback that are free now, each another."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(n)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _is_up(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/up")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _rootfs() -> bytes:
    buffer = io.BytesIO()
    busybox = next(
        p for p in map(Path, ("/bin/busybox", "/usr/bin/busybox")) if p.exists()
    )
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(busybox.resolve(), arcname="bin/busybox")
        for applet in APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for name, text in {"run.sh": SCRIPT, "www/index.html": "shop\n"}.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text), 0o755
            tar.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()
