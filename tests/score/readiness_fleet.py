"""A small fleet of which everything is known, and ways to change it."""

from __future__ import annotations

import copy

import pandas as pd

from assess import frames
from assess.inventory import from_frames

AT = pd.Timestamp("2026-09-30", tz="UTC")
SERVICE = {
    "service_id": "shop",
    "env": "prod",
    "owner": "checkout",
    "tier": 2,
    "kind": "web",
    "stateful": False,
    "platform": "docker",
    "min_healthy_pct": 50,
    "asg_min": 2,
    "health_checked": True,
    "logs_exported": True,
    "config_external": True,
    "secrets_in_image": False,
    "runbook": True,
    "deploys_per_month": 4,
    "lead_time_days": 2,
    "code_mandatory_n": 0,
    "code_effort": 8,
    "team_container_months": 12,
    "license_bound": False,
    "hardware_bound": False,
}
WORKLOAD = {
    "workload_id": "shop.1",
    "service_id": "shop",
    "host_id": "h1",
    "source_kind": "container",
    "image_ref": "registry.example.net/acme/shop@sha256:aa",
    "registry": "registry.example.net",
    "repository": "acme/shop",
    "image_digest": "sha256:aa",
    "tag_floating": False,
    "pinned": True,
    "state": "running",
    "oom_killed": False,
    "restarts_n": 0,
    "health": "healthy",
    "restart_policy": "always",
    "privileged": False,
    "host_network": False,
    "host_pid": False,
    "host_ipc": False,
    "caps_added": "none",
    "devices_n": 0,
    "docker_sock_mounted": False,
    "readonly_root": True,
    "user_root": False,
    "memory_unlimited": False,
    "log_driver": "fluentd",
    "ports": "8080/tcp",
    "secret_like_env_n": 0,
    "inspect_status": "ok",
}
HOST = {
    "host_id": "h1",
    "az": "a",
    "os_name": "ubuntu",
    "os_version": "24.04",
    "kernel": "6.8.0-40-generic",
    "cgroup_version": "2",
    "arch": "x86_64",
    "asg_name": "web",
}
ENGINE = {
    "host_id": "h1",
    "runtime": "docker",
    "version": "29.7.2",
    "storage_driver": "overlay2",
    "d_type": True,
    "loopback": False,
    "mirrors_n": 1,
    "containers_total_n": 4,
    "stopped_n": 1,
}
IMAGE = {
    "registry": "registry.example.net",
    "repository": "acme/shop",
    "digest": "sha256:aa",
    "host_id": "",
    "created_at": "2026-08-01T00:00:00Z",
    "schema": "oci",
    "arch": "amd64;arm64",
    "signed": True,
    "sbom_format": "spdx",
    "immutable_tags": True,
    "vuln_critical_n": 0,
}
MOUNT = {
    "workload_id": "shop.1",
    "destination": "/etc/shop",
    "type": "bind",
    "source_class": "config",
    "host_path_class": "config",
    "read_only": True,
    "shared_with_n": 0,
    "data_like": False,
}
UNIT_KNOWS = (
    "workload_id",
    "service_id",
    "host_id",
    "state",
    "restarts_n",
    "oom_killed",
    "health",
    "restart_policy",
    "ports",
    "secret_like_env_n",
    "inspect_status",
)


class Fleet:
    """Rows by frame, open to change, until `inventory` makes frames of them."""

    def __init__(self) -> None:
        self.rows = {
            "services": [dict(SERVICE)],
            "workloads": [
                WORKLOAD,
                {**WORKLOAD, "workload_id": "shop.2", "host_id": "h2"},
            ],
            "hosts": [HOST, {**HOST, "host_id": "h2", "az": "b"}],
            "engines": [ENGINE, {**ENGINE, "host_id": "h2"}],
            "images": [dict(IMAGE)],
            "mounts": [dict(MOUNT)],
            "dependencies": [
                {
                    "src_id": "shop",
                    "dst_id": "ext:bank",
                    "kind": "call",
                    "evidence": evidence,
                }
                for evidence in ("trace", "environment")
            ],
        }
        self.rows = copy.deepcopy(self.rows)

    def change(self, frame: str, **columns: object) -> Fleet:
        """Set columns in every row."""
        for row in self.rows[frame]:
            row.update(columns)
        return self

    def drop(self, *frames: str) -> Fleet:
        """Supply none of these frames."""
        for frame in frames:
            del self.rows[frame]
        return self

    def first(self, frame: str, **columns: object) -> Fleet:
        """Set columns in the first row."""
        self.rows[frame][0].update(columns)
        return self

    def add(self, frame: str, **row: object) -> Fleet:
        """Add a row."""
        self.rows.setdefault(frame, []).append(row)
        return self

    def on_plain_host(self) -> Fleet:
        """Let the shop run as two units on hosts without an engine."""
        self.change("services", platform="host")
        units = [{k: row[k] for k in UNIT_KNOWS} for row in self.rows["workloads"]]
        self.rows["workloads"] = [{**unit, "source_kind": "unit"} for unit in units]
        self.rows["engines"] = [{"host_id": h, "runtime": "none"} for h in ("h1", "h2")]
        self.rows["images"], self.rows["mounts"] = [], []
        return self

    def inventory(self):
        tables = {name: pd.DataFrame(rows) for name, rows in self.rows.items()}
        return from_frames(tables, snapshot_at=AT)


def together(fleets):
    """One inventory of many fleets that supply the same frames: shop of the first is 0/shop."""
    rows = {}
    for number, fleet in enumerate(fleets):
        for frame, own in fleet.rows.items():
            rows.setdefault(frame, []).extend(_renamed(row, f"{number}/") for row in own)
    return from_frames({k: pd.DataFrame(v) for k, v in rows.items()}, snapshot_at=AT)


def _renamed(row, prefix):
    ids = {
        "service_id",
        "workload_id",
        "host_id",
        "src_id",
        "incident_id",
        "digest",
        "image_digest",
    }
    return {k: prefix + v if k in ids and v else v for k, v in row.items()}


OTHERWISE = {
    "services": {
        "env": ["stage", None],
        "owner": [None],
        "tier": [1, 3, None],
        "kind": ["database", None],
        "stateful": [True, None],
        "health_checked": [False, None],
        "logs_exported": [False, None],
        "config_external": [False, None],
        "secrets_in_image": [True, None],
        "runbook": [False],
        "restore_tested_at": ["2026-09-01", "2026-01-01"],
        "deploys_per_month": [0.5, None],
        "license_bound": [True, None],
        "asg_min": [1, None],
        "min_healthy_pct": [100, None],
    },
    "workloads": {
        "repository": ["library/mongo", None],
        "registry": ["docker.io", None],
        "pinned": [False],
        "tag_floating": [True, None],
        "state": ["exited", None],
        "health": ["none", "unhealthy"],
        "restart_policy": ["no", None],
        "privileged": [True],
        "caps_added": ["SYS_ADMIN", None],
        "host_ipc": [True, None],
        "devices_n": [2, None],
        "ports": ["5432/tcp", None],
        "log_driver": ["json-file", None],
        "host_id": [None],
        "inspect_status": ["list"],
    },
    "hosts": {
        "arch": ["aarch64", None],
        "os_family": ["bsd", None],
        "kernel": ["2.6.32"],
        "os_version": ["14.04", None],
        "asg_name": [None],
        "az": ["z"],
    },
    "engines": {
        "version": ["1.12.6", "99.0"],
        "storage_driver": ["aufs", None],
        "mirrors_n": [0],
        "loopback": [True, None],
        "stopped_n": [3, None],
    },
    "images": {
        "arch": ["amd64", None],
        "signed": [False, None],
        "schema": ["1", None],
        "vuln_critical_n": [3, None],
        "created_at": ["2024-01-01"],
    },
    "mounts": {
        "read_only": [False, None],
        "data_like": [True, None],
        "type": ["volume"],
        "host_path_class": ["system", None],
        "source_class": ["named-volume", None],
    },
}


def some_fleet(draw):
    """A consistent fleet with faults and gaps."""
    fleet = Fleet()
    if draw.random() < 0.25:
        fleet.on_plain_host()
    for frame, columns in OTHERWISE.items():
        for row in fleet.rows[frame]:
            for column, values in columns.items():
                if column in row and draw.random() < 0.2:
                    row[column] = draw.choice(values)
                    if column in ("registry", "repository"):
                        row["image_ref"] = None  # the image has one name
    if draw.random() < 0.3:
        old = {**fleet.rows["workloads"][0], "workload_id": "shop.0", "state": "exited"}
        old |= {"log_driver": "awslogs", "health": draw.choice(["healthy", "none"])}
        if draw.random() < 0.5:  # on a host that is worse than the others
            fleet.add(
                "hosts", **{**HOST, "host_id": "h3", "kernel": "2.6.32", "asg_name": None}
            )
            fleet.add(
                "engines", **{**fleet.rows["engines"][0], "host_id": "h3", "mirrors_n": 0}
            )
            old["host_id"] = "h3"
        fleet.rows["workloads"].append(old)
        if draw.random() < 0.3:
            fleet.rows["mounts"].append(
                {**MOUNT, "workload_id": "shop.0", "data_like": True}
            )
    if draw.random() < 0.3:
        fleet.change("services", config_external=None)
        risk = draw.choice(["green", "yellow", "red"])
        question = {
            "service_id": "shop",
            "question": "config.external",
            "source": "survey",
        }
        fleet.add("answers", **question, risk=risk, answered_at="2026-09-01")
    else:
        fleet.rows["answers"] = []
    return fleet


def hide(fleet, draw):
    """The same fleet, in which some cells are not known."""
    hidden = Fleet()
    hidden.rows = {
        frame: [dict(row) for row in rows] for frame, rows in fleet.rows.items()
    }
    cells = [
        (row, column)
        for frame, rows in hidden.rows.items()
        for row in rows
        for column in row
        if not frames.columns(frame)[column].is_required and row[column] is not None
    ]
    for row, column in draw.sample(cells, draw.choice([1, 1, 2, 5, 20])):
        row[column] = None
    return hidden
