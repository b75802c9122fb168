"""A small fleet whose names are as hostile as the data dictionary lets them be."""

from pathlib import Path

import pandas as pd

import assess

ROOT = Path(__file__).parents[2]
SCRIPT = "<script>alert(1)</script>"
HOSTILE = [
    SCRIPT,
    '"><img src=x onerror=alert(2)>',
    "שלום\u202eevil",
    "naïve 😀 ｆｕｌｌ",
    "n" * 300,
    "two\nlines | a pipe",
    "../../etc/passwd",
    "--> <!-- keep: notes -->",
    "{{ 7 * 7 }}",
    "</style></title>",
]
PLAIN = ["web", "api", "cache", "billing"]


def fleet(names, at="2026-09-30"):
    """Services on one host, each calling the next."""
    owners = [SCRIPT if i == 0 else "team" for i in range(len(names))]
    services = pd.DataFrame(
        {"service_id": names, "owner": owners, "platform": "host", "tier": 3}
    )
    known = {
        "stateful": False,
        "health_checked": True,
        "logs_exported": True,
        "secrets_in_image": False,
        "license_bound": False,
        "hardware_bound": False,
        "kind": "web",
        "env": "prod",
    }
    services = services.assign(**known)
    hosts = pd.DataFrame({"host_id": ["h1", "h2"], "az": "a", "os_name": "debian"})
    workloads = pd.DataFrame(
        {
            "workload_id": [f"w{i}" for i in range(2 * len(names))],
            "service_id": [*names, *names],
            "host_id": ["h1"] * len(names) + ["h2"] * len(names),
            "state": "running",
            "tag": SCRIPT,
        }
    )
    calls = pd.DataFrame(
        {"src_id": names[:-1], "dst_id": names[1:], "kind": "call", "evidence": SCRIPT}
    )
    coverage = pd.DataFrame(
        {
            "run_id": "r",
            "source": SCRIPT,
            "scope": names,
            "call": "list",
            "status": "denied",
        }
    )
    tables = {
        "services": services,
        "hosts": hosts,
        "workloads": workloads,
        "dependencies": calls,
        "coverage": coverage,
    }
    return assess.from_frames(tables, snapshot_at=at)
