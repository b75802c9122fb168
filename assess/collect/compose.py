"""Compose files: what a project declares. That any of it runs, only an engine can tell."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from assess.collect.base import HINTS, Batch, Deadline, Row, status_of
from assess.collect.compose_file import DEFAULT_NAMES, Project, read_project
from assess.collect.compose_forms import Service, is_true
from assess.collect.compose_needs import to_dependencies
from assess.collect.compose_text import read_env
from assess.collect.docker_mounts import is_data, share, to_mounts
from assess.collect.docker_names import COMPOSE, container_names
from assess.collect.docker_rows import LOG_SHIPPERS
from assess.collect.image_ref import parse_image
from assess.collect.redact import is_secret, is_secret_name, keep_env, keep_labels, scrub

REPLICAS_MAX = 1000  # more than that is a slip of the pen
SOURCE_KIND = "compose-service"
_UNITS = {"b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class ComposeSource:
    """Reads the files of one Compose project."""

    type = "compose"
    options: tuple[str, ...] = ("path", "profiles")
    fills: tuple[str, ...] = ("services", "workloads", "mounts", "dependencies")
    needs = "read access to the files; variables come from .env beside the first, nothing else"
    dump = "the files themselves, or `docker compose config > compose.yaml`"

    def check(self, options: dict[str, Any]) -> list[str]:
        """List what is wrong with the options.

        Parameters
        ----------
        options : dict
            Options of the table.

        Returns
        -------
        list of str
            Problems.
        """
        path, profiles = options.get("path"), options.get("profiles", [])
        problems = [] if path and _is_texts(path) else ["path names no file"]
        return problems + ([] if _is_texts(profiles) else ["profiles is no list of names"])

    def collect(self, options: dict[str, Any], base: Path, deadline: Deadline) -> Batch:
        """Read the project.

        Parameters
        ----------
        options : dict
            ``path`` of a file, of a directory, or a list of files that are merged in order;
            ``profiles``, by default those that ``COMPOSE_PROFILES`` of `.env` enables.
        base : Path
            Directory that relative paths start from.
        deadline : Deadline
            When to stop.

        Returns
        -------
        Batch
            What it declares, and a coverage row for it and for every file that cannot be read.
        """
        batch = Batch()
        paths = options["path"] if isinstance(options["path"], list) else [options["path"]]
        scope = ", ".join(paths)
        project = read_project([file for path in paths for file in _files(base / path)])
        deadline.check()
        for name, error in project.failed.items():
            status = "parse_error" if isinstance(error, ValueError) else status_of(error)
            hint = scrub(str(error)) if status == "parse_error" else HINTS.get(status, "")
            if isinstance(error, FileNotFoundError):
                hint = "there is no such file"
            kind = type(error).__name__
            batch.cover(scope, f"read {name}", status, error_class=kind, hint=hint)
        if project.failed and not project.services:
            return batch
        profiles = options.get("profiles", project.env.get("COMPOSE_PROFILES", ""))
        profiles = profiles if isinstance(profiles, list) else profiles.split(",")
        enabled = _enabled(project, {profile.strip() for profile in profiles})
        redacted = _fill(batch, project, enabled)
        row = batch.cover(scope, "read", "ok" if enabled else "empty", rows=len(enabled))
        _describe(row, project, batch, redacted)
        return batch


def _is_texts(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and all(isinstance(item, str) for item in value)
    )


def _files(path: Path) -> list[Path]:
    """Files that a path stands for; in a directory, what Compose takes and its override."""
    if not path.is_dir():
        return [path]
    found = next((path / name for name in DEFAULT_NAMES if (path / name).exists()), None)
    if found is None:
        return [path / DEFAULT_NAMES[0]]
    override = found.with_name(f"{found.stem}.override{found.suffix}")
    return [found, override] if override.exists() else [found]


def _enabled(project: Project, profiles: set[str]) -> list[str]:
    return [
        name
        for name, service in sorted(project.services.items())
        if not (own := service.get("profiles")) or "*" in profiles or not profiles.isdisjoint(own)
    ]


def _fill(batch: Batch, project: Project, enabled: list[str]) -> int:
    """Add the rows of all enabled services; give the number of values left out."""
    names, envs, redacted = {}, {}, 0
    for frame in ComposeSource.fills:
        batch.add(frame)
    for service_name in enabled:
        service = project.services[service_name]
        envs[service_name] = environment(project, service_name)
        env = keep_env(envs[service_name])
        labels, dropped = keep_labels(service.get("labels"))
        labels |= {COMPOSE + "service": service_name, COMPOSE + "project": project.name}
        image_ref = str(service.get("image") or "")
        found = container_names(labels, env["naming"], parse_image(image_ref), service_name)
        names[service_name] = found[0]
        redacted += dropped + len(env["names"]) - len(env["naming"])
        mounts = _mounts(project, service_name)
        workload = _to_workload(project, service_name, env) | {"names": found}
        batch.add("services", _to_service(workload, mounts, service, envs[service_name]))
        for number in range(1, _replicas(service) + 1):
            identifier = f"{project.name}/{service_name}/{number}"
            batch.add("workloads", {"workload_id": f"compose:{identifier}", **workload})
            batch.add("mounts", *({"workload_id": f"compose:{identifier}", **m} for m in mounts))
    share(batch.rows["mounts"], None)
    batch.add("dependencies", *to_dependencies(project, names, envs))
    return redacted


def _describe(row: Row, project: Project, batch: Batch, redacted: int) -> None:
    """Say in the coverage row what is not known."""
    dangling = sorted(
        {str(e["dst"].name) for e in batch.rows["dependencies"] if not isinstance(e["dst"], str)}
        - {w["name"] for w in batch.rows["services"]}
        - {n.name for w in batch.rows["services"] for n in w["names"]}
    )
    notes = [*dict.fromkeys(project.notes)]
    if project.unset:
        notes.append(f"variables without a value: {', '.join(sorted(project.unset))}")
    if dangling:
        notes.append(f"services that are needed, but not declared: {', '.join(dangling)}")
    row["redacted_n"] = redacted
    if notes or project.failed:
        unmapped = len(project.unset) + len(dangling)
        row |= {"status": "partial", "ratio": 1.0, "unmapped_n": unmapped}
    if notes:
        row["hint"] = scrub("; ".join(notes))


def environment(project: Project, service_name: str) -> dict[str, str]:
    """Give the environment of a service: its env files, and over them its own variables.

    Parameters
    ----------
    project : Project
        The project; a file that cannot be read is noted there.
    service_name : str
        The service.

    Returns
    -------
    dict of str to str
        Values by name, for use inside the sources only.
    """
    service = project.services[service_name]
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


def _to_workload(project: Project, service_name: str, env: dict[str, Any]) -> Row:
    service = project.services[service_name]
    deploy = service.get("deploy", {})
    resources = _part(_part(deploy, "resources"), "limits")
    limit = resources.get("memory") or service.get("mem_limit")
    memory = 0 if limit is None else _bytes(limit)
    pids = _number(resources.get("pids") or service.get("pids_limit"))
    image_ref = str(service.get("image") or "")
    user = str(service.get("user") or "").partition(":")[0]
    volumes = service.get("volumes", {}).values()
    exposed = (port.partition("/")[0] for port in service.get("expose", []))
    ports = {*service.get("ports", []), *(f"{port}/tcp" for port in exposed)}
    restart = _part(deploy, "restart_policy").get("condition") or service.get("restart")
    return {
        "namespace": project.name,
        "name": service_name,
        "source_kind": SOURCE_KIND,
        "image_ref": image_ref or None,
        **parse_image(image_ref).columns(),
        "restart_policy": restart,
        "privileged": is_true(service.get("privileged")),
        "host_network": service.get("network_mode") == "host",
        "host_pid": service.get("pid") == "host",
        "docker_sock_mounted": any(v["source"].endswith("docker.sock") for v in volumes),
        "readonly_root": is_true(service.get("read_only")),
        "user_root": user in ("0", "root") if user else None,
        "caps_added_n": len(service.get("cap_add", [])),
        "memory_limit_bytes": memory or None,
        "memory_unlimited": None if memory is None else memory == 0,
        "cpu_limit": _number(resources.get("cpus") or service.get("cpus")),
        "pids_limit": pids if pids and pids > 0 else None,
        "log_driver": _part(service, "logging").get("driver"),
        "stop_timeout_s": _seconds(service.get("stop_grace_period")),
        "ports": ";".join(sorted(ports)) or None,
        "env_names_n": len(env["names"]),
        "secret_like_env_n": env["secret_like"],
        "inspect_status": "declared",
    }


def _to_service(workload: Row, mounts: list[Row], service: Service, env: dict[str, str]) -> Row:
    check = service.get("healthcheck", {})
    health_checked = True if check.get("first") else None
    if is_true(check.get("disable")) or check.get("first") == "NONE":
        health_checked = False
    return {
        "names": workload["names"],
        "name": workload["name"],
        "stateful": True if any(m["data_like"] for m in mounts) else None,
        "health_checked": health_checked,
        "logs_exported": True if workload["log_driver"] in LOG_SHIPPERS else None,
        "secrets_in_image": _holds_secrets(env),
    }


def _holds_secrets(env: dict[str, str]) -> bool | None:
    """Say whether secrets are in the file; a variable that is only set elsewhere leaves it open."""
    if any(is_secret(name, value) for name, value in env.items()):
        return True
    return None if any(is_secret_name(name) for name in env) else False


def _mounts(project: Project, service_name: str) -> list[Row]:
    service = project.services[service_name]
    payloads = []
    for target, volume in {**service.get("volumes", {}), **service.get("tmpfs", {})}.items():
        is_named = volume["type"] == "volume" and volume["source"]
        payloads.append(
            {
                "Type": volume["type"],
                "Name": _volume_name(project, volume["source"]) if is_named else None,
                "Source": None if is_named else volume["source"],
                "Destination": target,
                "Driver": _part(project.volumes, volume["source"]).get("driver"),
                "RW": not volume["read_only"],
            }
        )
    rows = to_mounts("", payloads)
    for row in rows:
        del row["workload_id"]
        if row["type"] == "volume" and not row["volume_name"]:
            row["source_class"] = "anonymous-volume"
            row["data_like"] = is_data("anonymous-volume", row["destination"], not row["read_only"])
    return rows


def _volume_name(project: Project, name: str) -> str:
    """Name of a volume on the engine."""
    options = _part(project.volumes, name)
    if options.get("name"):
        return str(options["name"])
    return name if is_true(options.get("external")) else f"{project.name}_{name}"


def _part(values: Any, key: str) -> dict[str, Any]:
    part = values.get(key)
    return part if isinstance(part, dict) else {}


def _replicas(service: Service) -> int:
    wanted = _number(service.get("deploy", {}).get("replicas") or service.get("scale"))
    return 1 if wanted is None else max(0, min(int(wanted), REPLICAS_MAX))


def _number(value: Any) -> float | None:
    try:
        return float(str(value)) if value is not None else None
    except ValueError:
        return None


def _bytes(value: Any) -> int | None:
    """Read an amount of memory such as ``512m`` or ``1.5gb``; 0 is no limit."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([bkmgt]?)i?b?\s*", str(value or "").lower())
    return int(float(found[1]) * _UNITS[found[2] or "b"]) if found else None


def _seconds(value: Any) -> float | None:
    """Read a duration such as ``1m30s``."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(us|ms|s|m|h)", str(value or ""))
    return sum(float(n) * _SECONDS[unit] for n, unit in parts) if parts else None
