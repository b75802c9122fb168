"""What breaks in 10,000 workloads on 800 hosts: ``python tests/benchmarks/bench_breaks.py``.

Every change of an engine, or of a cluster, between lines five years apart, and every announced
event of the world. The target of each is 3 s of one core.
"""

from __future__ import annotations

import sys
import time

import pandas as pd

from assess.inventory import from_frames
from assess.score.upgrade_churn.breaking import breaks, goal_of

WORKLOADS = 10_000
HOSTS = 800
TARGET_S = 3.0
IMAGES = (
    "traefik:v2.9",
    "bitnami/kafka:3.5",
    "nginx:1.27",
    "registry.example.com/shop/cart:3",
    "gcr.io/kuar-demo/kuard-amd64:blue",
    "node:14-buster",
)
GATE = "feature-gates.DynamicKubeletConfig=true;failCgroupV1=false"


def fleet():
    """Return a fleet in which something of everything is in use."""
    hosts = [
        {"host_id": f"h{n}", "kernel": "5.4.0", "cgroup_version": str(1 + n % 2)}
        for n in range(HOSTS)
    ]
    drivers = ("overlay2", "aufs", "devicemapper")
    engines = [
        {
            "host_id": f"h{n}",
            "runtime": "docker" if n % 2 else "containerd",
            "version": "20.10.0" if n % 2 else "1.4.3",
            "kubelet_version": None if n % 2 else "1.20.4",
            "storage_driver": drivers[n % 3],
            "kubelet_flags": None if n % 2 else GATE,
        }
        for n in range(HOSTS)
    ]
    workloads = [
        {
            "workload_id": f"w{n}",
            "service_id": f"s{n % 500}",
            "host_id": f"h{n % HOSTS}",
            "state": "running",
            "image_ref": IMAGES[n % len(IMAGES)],
            "docker_sock_mounted": n % 7 == 0,
            "source_kind": "build" if n % 20 == 0 else "container",
            "api_version": "extensions/v1beta1/Deployment" if n % 9 == 0 else None,
        }
        for n in range(WORKLOADS)
    ]
    services = [{"service_id": f"s{n}"} for n in range(500)]
    rows = {"hosts": hosts, "engines": engines, "workloads": workloads}
    tables = {name: pd.DataFrame(found) for name, found in rows.items()}
    tables["services"] = pd.DataFrame(services)
    return from_frames(tables, snapshot_at="2026-09-30")


def main():
    inventory = fleet()
    asked = {
        "docker 20.10 to 29": ([goal_of("docker:29")], ""),
        "kubernetes 1.20 to 1.35": ([goal_of("kubernetes:1.35")], ""),
        "the world, by the end of 2026": ([], "2026-12-31"),
    }
    for name, (goals, by) in asked.items():
        start = time.process_time()
        found = breaks(inventory, goals, by)
        seconds = time.process_time() - start
        ratio = seconds / TARGET_S
        line = (
            f"{name}: {len(found)} rows in {seconds:.2f} CPU s, {ratio:.2f} of the target"
        )
        sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
