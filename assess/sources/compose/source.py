"""Compose files: what a project declares. That any of it runs, only an engine can tell."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from assess.image_ref import parse_image
from assess.sources.base import Batch, Deadline, Row, Source, file_failure, paths_of
from assess.sources.compose.file import Project, read_env, read_project
from assess.sources.compose.forms import Service, is_true
from assess.sources.compose.needs import to_dependencies
from assess.sources.docker.mounts import is_data, share, to_mounts
from assess.sources.docker.names import COMPOSE, container_names
from assess.sources.redact import is_secret, is_secret_name, keep_env, keep_labels, scrub
from assess.sources.unit import LOG_SHIPPERS

DEFAULT_NAMES = (
    "compose.yaml",
    "compose.yml",
    "docker-compose.yaml",
    "docker-compose.yml",
)
REPLICAS_MAX = 1000  # more than that is a slip of the pen
_UNITS = {"b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class ComposeSource(Source):
    """Reads the files of one Compose project."""

    type = "compose"
    options: tuple[str, ...] = ("path", "profiles")
    fills: tuple[str, ...] = ("services", "workloads", "mounts", "dependencies")
    needs = "read access to the files; variables come from .env beside the first, nothing else"
    dump = "the files themselves, or `docker compose config > compose.yaml`"

    def check(self, options: dict[str, Any]) -> list[str]:
        """List what is wrong with the options."""
        problems = [] if paths_of(options) else ["path names no file"]
        profiles = options.get("profiles", [])
        are_names = isinstance(profiles, str | list) and all(
            isinstance(p, str) for p in profiles
        )
        return problems + ([] if are_names else ["profiles is no list of names"])

    def collect(self, options: dict[str, Any], base: Path, deadline: Deadline) -> Batch:
        """Read the project from a file, a directory, or files that are merged in order."""
        batch, paths = Batch(), paths_of(options)
        scope = ", ".join(paths)
        project = read_project([file for path in paths for file in _files(base / path)])
        deadline.check()
        for name, error in project.failed.items():
            batch.cover(scope, f"read {name}", **file_failure(error))
        if project.failed and not project.services:
            return batch
        wanted = options.get("profiles", project.env.get("COMPOSE_PROFILES", ""))
        wanted = wanted.split(",") if isinstance(wanted, str) else wanted
        profiles = {profile.strip() for profile in wanted}
        enabled = [
            name
            for name, service in sorted(project.services.items())
            if not (own := service.get("profiles")) or {"*", *own} & profiles
        ]
        redacted = _fill(batch, project, enabled)
        row = batch.cover(scope, "read", "ok" if enabled else "empty", rows=len(enabled))
        row |= {"redacted_n": redacted, **_unknown(project, batch)}
        return batch


def _files(path: Path) -> list[Path]:
    """Files that a path stands for; in a directory, what Compose takes and its override."""
    if not path.is_dir():
        return [path]
    names = (path / name for name in DEFAULT_NAMES)
    found = next((file for file in names if file.exists()), path / DEFAULT_NAMES[0])
    override = found.with_name(f"{found.stem}.override{found.suffix}")
    return [found, override] if override.exists() else [found]


def _fill(batch: Batch, project: Project, enabled: list[str]) -> int:
    """Add the rows of all enabled services; give the number of values left out."""
    names, envs, redacted = {}, {}, 0
    for frame in ComposeSource.fills:
        batch.add(frame)
    for name in enabled:
        service = project.services[name]
        envs[name] = _environment(project, service)
        env = keep_env(envs[name])
        labels, dropped = keep_labels(service.get("labels"))
        labels |= {COMPOSE + "service": name, COMPOSE + "project": project.name}
        image = parse_image(str(service.get("image") or ""))
        found = container_names(labels, env["naming"], image, name)
        names[name] = found[0]
        redacted += dropped + len(env["names"]) - len(env["naming"])
        mounts = _to_mounts(project, service)
        workload: Row = {"names": found, "namespace": project.name, "name": name}
        workload |= _to_workload(service) | image.columns()
        workload |= {
            "env_names_n": len(env["names"]),
            "secret_like_env_n": env["secret_like"],
        }
        batch.add("services", _to_service(workload, mounts, service, envs[name]))
        for number in range(1, _replicas(service) + 1):
            identifier = {"workload_id": f"compose:{project.name}/{name}/{number}"}
            batch.add("workloads", workload | identifier)
            batch.add("mounts", *(mount | identifier for mount in mounts))
    share(batch.rows["mounts"], None)
    batch.add("dependencies", *to_dependencies(project, names, envs))
    return redacted


def _unknown(project: Project, batch: Batch) -> Row:
    """Columns of the coverage row that say what is not known."""
    known = {name.name for row in batch.rows["services"] for name in row["names"]}
    needed = {
        e["dst"].name for e in batch.rows["dependencies"] if not isinstance(e["dst"], str)
    }
    dangling = sorted(needed - known)
    notes = [*dict.fromkeys(project.notes)]
    if project.unset:
        notes.append(f"variables without a value: {', '.join(sorted(project.unset))}")
    if dangling:
        notes.append(f"services that are needed, but not declared: {', '.join(dangling)}")
    if not notes and not project.failed:
        return {}
    hint = scrub("; ".join(notes)) or None
    unmapped = len(project.unset) + len(dangling)
    return {"status": "partial", "ratio": 1.0, "unmapped_n": unmapped, "hint": hint}


def _environment(project: Project, service: Service) -> dict[str, str]:
    """Values of its env files, and over them its own, for use inside the sources only."""
    values: dict[str, str] = {}
    for file, is_required in service.get("env_file", []):
        try:
            values |= read_env(file.read_text(encoding="utf-8-sig"), project.env)
        except (OSError, UnicodeDecodeError):
            if is_required:
                project.notes.append(f"env_file {file.name} cannot be read")
    for name, value in service.get("environment", {}).items():
        values[name] = project.env.get(name, "") if value is None else str(value)
    return values


def _to_workload(service: Service) -> Row:
    deploy = service.get("deploy", {})
    limits = _part(_part(deploy, "resources"), "limits")
    limit = limits.get("memory") or service.get("mem_limit")
    memory = 0 if limit is None else _bytes(limit)
    pids = _number(limits.get("pids") or service.get("pids_limit"))
    user = str(service.get("user") or "").partition(":")[0]
    restart = _part(deploy, "restart_policy").get("condition") or service.get("restart")
    exposed = (f"{port.partition('/')[0]}/tcp" for port in service.get("expose", []))
    sources = [volume["source"] for volume in service.get("volumes", {}).values()]
    return {
        "source_kind": "compose-service",
        "image_ref": str(service.get("image") or "") or None,
        "restart_policy": restart,
        "privileged": is_true(service.get("privileged")),
        "host_network": service.get("network_mode") == "host",
        "host_pid": service.get("pid") == "host",
        "docker_sock_mounted": any(source.endswith("docker.sock") for source in sources),
        "readonly_root": is_true(service.get("read_only")),
        "user_root": user in ("0", "root") if user else None,
        "caps_added_n": len(service.get("cap_add", [])),
        "memory_limit_bytes": memory or None,
        "memory_unlimited": None if memory is None else memory == 0,
        "cpu_limit": _number(limits.get("cpus") or service.get("cpus")),
        "pids_limit": pids if pids and pids > 0 else None,
        "log_driver": _part(service, "logging").get("driver"),
        "stop_timeout_s": _seconds(service.get("stop_grace_period")),
        "ports": ";".join(sorted({*service.get("ports", []), *exposed})) or None,
        "inspect_status": "declared",
    }


def _to_service(
    workload: Row, mounts: list[Row], service: Service, env: dict[str, str]
) -> Row:
    check = service.get("healthcheck", {})
    is_off = is_true(check.get("disable")) or check.get("first") == "NONE"
    # a variable that is only set elsewhere leaves open whether secrets are in the file
    is_open = any(is_secret_name(name) for name in env)
    has_secrets = any(is_secret(name, value) for name, value in env.items())
    return {
        "names": workload["names"],
        "name": workload["name"],
        "stateful": True if any(mount["data_like"] for mount in mounts) else None,
        "health_checked": False if is_off else True if check.get("first") else None,
        "logs_exported": True if workload["log_driver"] in LOG_SHIPPERS else None,
        "secrets_in_image": True if has_secrets else None if is_open else False,
    }


def _to_mounts(project: Project, service: Service) -> list[Row]:
    payloads = []
    for target, volume in {
        **service.get("volumes", {}),
        **service.get("tmpfs", {}),
    }.items():
        source, options = volume["source"], _part(project.volumes, volume["source"])
        name = None
        if volume["type"] == "volume" and source:  # its name on the engine
            is_external = is_true(options.get("external"))
            name = options.get("name") or (
                source if is_external else f"{project.name}_{source}"
            )
        payloads.append(
            {
                "Type": volume["type"],
                "Name": name,
                "Source": None if name else source,
                "Destination": target,
                "Driver": options.get("driver"),
                "RW": not volume["read_only"],
            }
        )
    rows = to_mounts("", payloads)
    for row in rows:
        if row["type"] == "volume" and not row["volume_name"]:
            row["source_class"] = "anonymous-volume"
            row["data_like"] = is_data(
                "anonymous-volume", row["destination"], not row["read_only"]
            )
    return rows


def _part(values: Any, key: str) -> dict[str, Any]:
    part = values.get(key)
    return part if isinstance(part, dict) else {}


def _replicas(service: Service) -> int:
    wanted = _number(service.get("deploy", {}).get("replicas") or service.get("scale"))
    return 1 if wanted is None else max(0, min(int(wanted), REPLICAS_MAX))


def _number(value: Any) -> float | None:
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _bytes(value: Any) -> int | None:
    """Read an amount of memory such as ``512m`` or ``1.5gb``; 0 is no limit."""
    found = re.fullmatch(
        r"\s*(\d+(?:\.\d+)?)\s*([bkmgt]?)i?b?\s*", str(value or "").lower()
    )
    return int(float(found[1]) * _UNITS[found[2] or "b"]) if found else None


def _seconds(value: Any) -> float | None:
    """Read a duration such as ``1m30s``."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(us|ms|s|m|h)", str(value or ""))
    return sum(float(n) * _SECONDS[unit] for n, unit in parts) if parts else None
