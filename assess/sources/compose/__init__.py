"""Compose files: declarations of a project; only an engine knows which of them run."""

from collections import ChainMap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from assess.sources.base import Asked, Batch, Names, Row, Rows, Source, paths_of
from assess.sources.builds import workload_rows
from assess.sources.builds.dockerfile import read_build
from assess.sources.compose.forms import Service, as_mapping
from assess.sources.compose.needs import to_dependencies, to_texts
from assess.sources.compose.project import Project, read_project
from assess.sources.docker.names import COMPOSE, container_names
from assess.sources.failure import failure
from assess.sources.redact import is_secret_name, keep_labels, scrub
from assess.sources.replica import MAX_DECLARED, declared_rows
from assess.sources.routing import routers_of
from assess.sources.settings import asked_in
from assess.sources.unit import Unit, is_checked, service_row, share, unread_note
from assess.sources.values import (
    Texts,
    as_list,
    cell,
    dicts,
    duration,
    is_true,
    memory_size,
    number,
    picked,
    table,
    text,
)
from assess.sources.volumes import Mount, nfs_export

_DEFAULT_NAMES = (
    "compose.yaml",
    "compose.yml",
    "docker-compose.yaml",
    "docker-compose.yml",
)
SERVICE = "compose-service"
MAX_ROWS = 20_000  # of a project: replicas multiply its mounts
_PERIOD_US = 100_000  # of a quota, unless it is said
_CONDITIONS = {"any": "always", "none": "no"}  # words of `deploy` alone
# Keys of `deploy` that Swarm alone reads.
_STACK_ONLY = {"placement", "update_config", "rollback_config", "endpoint_mode"}
_LEFT_OUT = "left out, off by profile or run by no engine"
_CONFIG_KEYS = ("environment", "env_file", "configs", "secrets")


class ComposeSource(Source):
    """Reads the files of one Compose project."""

    type = "compose"

    def fill(self, asked: Asked) -> None:
        """Read the project from a file, a directory, or files that are merged in order."""
        batch = asked.batch
        options = asked.options
        files = [f for path in paths_of(options) for f in _files(asked.base / path)]
        project = read_project(files, allow_outside=options.get("allow_outside", False))
        asked.deadline.check()
        for name, error in project.failed.items():
            batch.cover(asked.scope, f"read {name}", **failure(error))
        if project.failed and not project.services:
            return
        wanted = options.get("profiles", project.env.get("COMPOSE_PROFILES", ""))
        wanted = wanted.split(",") if isinstance(wanted, str) else wanted
        enabled = _enabled(project, {profile.strip() for profile in wanted})
        with batch.call(asked.scope, "read") as call:
            rows = Batch()
            redacted_n, unread = _fill(rows, project, enabled)
            batch.merge(rows)
            call.count(rows=len(enabled), redacted_n=redacted_n)
            idle = sorted(project.services.keys() - {*enabled})
            call.note(**_unknown(project, rows, unread, idle))


def _enabled(project: Project, profiles: set[str]) -> list[str]:
    return sorted(
        name
        for name, service in project.services.items()
        if "provider" not in service
        and (not (listed := service.get("profiles")) or {"*", *listed} & profiles)
    )


def _files(path: Path) -> list[Path]:
    """Return the files of a path; in a directory, the file that Compose takes and its override."""
    if not path.is_dir():
        return [path]
    files = [path / name for name in _DEFAULT_NAMES]
    file = next((file for file in files if file.exists()), files[0])
    override = file.with_name(f"{file.stem}.override{file.suffix}")
    return [file, override] if override.exists() else [file]


def _fill(batch: Batch, project: Project, enabled: list[str]) -> tuple[int, Row]:
    """Add the rows of enabled services; return the number of withheld values, and what is unread."""
    units = {}
    redacted = 0
    rows_n = 0
    for frame in ComposeSource.fills:
        batch.add(frame)
    for name in enabled:
        service = project.services[name]
        service["labels"] = _pairs(project, service, "label_file", "labels")
        labels, dropped = keep_labels(service["labels"])
        labels |= {COMPOSE + "service": name, COMPOSE + "project": project.name}
        unit = _to_unit(project, service)
        names = container_names(labels, unit.kept, unit.image_ref, name)
        unit = replace(unit, names=names)
        units[name] = unit
        redacted += dropped + len(unit.environment) - len(unit.kept)
        batch.add("services", _to_service(name, unit))
        replicas = _replicas(project, name)
        rows_n += replicas * (1 + len(unit.mounts))
        if rows_n > MAX_ROWS:
            raise ValueError(f"it makes more than {MAX_ROWS:,} replicas and mounts")
        key = f"compose:{project.name}/{name}"
        place = {"namespace": project.name, "name": name, "source_kind": SERVICE}
        batch.place(*declared_rows(unit, key, replicas, place, host=project.name))
        batch.add("workloads", *_build_rows(project, name, names))
    share(batch.rows["mounts"])
    batch.add("dependencies", *to_dependencies(project, units))
    return redacted, unread_note(units.values())


def _build_rows(project: Project, name: str, names: Names) -> Rows:
    declared = project.services[name].get("build") or {}
    text_ = declared.get("text")
    file = None if text_ else declared.get("file")
    try:
        if file:
            text_ = project.limits.read(file)
        build = read_build(text_ or "", declared.get("args"))
    except FileNotFoundError:  # a Compose file that was copied alone
        return []
    except (OSError, ValueError) as error:
        project.note(f"the build of {name} cannot be read", error)
        return []
    found = workload_rows(build, f"{project.name}/{name}", names)
    return [row | {"file": file} for row in found]


def _unknown(project: Project, batch: Batch, unread: Row, idle: list[str]) -> Row:
    left_out = [f"{_LEFT_OUT}: {', '.join(idle)}"] * bool(idle)
    known = {name.name for row in batch.rows["services"] for name in row["names"]}
    needed = {
        e["dst"].name for e in batch.rows["dependencies"] if not isinstance(e["dst"], str)
    }
    dangling = sorted(needed - known - {*idle})
    notes = [*dict.fromkeys(project.notes)]
    if project.unset:
        # what follows a dollar sign in a password or a hash is no name to show
        named = sorted(name for name in project.unset if name.isupper())
        others_n = len(project.unset) - len(named)
        others = [f"{others_n} of small letters ($$ is a dollar sign)"] * bool(others_n)
        notes.append(f"variables without a value: {', '.join(named + others)}")
    if dangling:
        notes.append(f"services that are needed, but not declared: {', '.join(dangling)}")
    if unread:
        notes.append(str(unread["hint"]))
    hint = scrub("; ".join([*notes, *left_out])) or None
    if not notes and not project.failed:
        return {"hint": hint}
    unmapped = len(project.unset) + len(dangling) + unread.get("unmapped_n", 0)
    return {"status": "partial", "ratio": 1.0, "unmapped_n": unmapped, "hint": hint}


def _pairs(project: Project, service: Service, files: str, own: str) -> Texts:
    """Return the variables or labels of a service: its own over those of its files."""
    values: Texts = {}
    for file, is_required in as_list(service, files):
        values |= project.read_env(file, project.env, is_required=is_required)
    for name, value in table(service, own).items():
        values[name] = project.env.get(name, "") if value is None else str(value)
    return values


def _to_unit(project: Project, service: Service) -> Unit:
    deploy = table(service, "deploy")
    limits = table(deploy, "resources", "limits")
    limit = limits.get("memory") or service.get("mem_limit")
    memory = 0 if limit is None else memory_size(limit)  # 0 is no limit
    reserved = table(deploy, "resources", "reservations")
    reserve = memory_size(reserved.get("memory") or service.get("mem_reservation"))
    cards_n = len(dicts(reserved, "devices")) + bool(service.get("gpus"))
    exposed = (f"{port.partition('/')[0]}/tcp" for port in as_list(service, "expose"))
    check = table(service, "healthcheck")
    is_off = is_true(check.get("disable")) or check.get("first") == "NONE"
    image = text(service, "image")
    declared = True if check.get("first") else None
    texts, unread = to_texts(project, service)
    # those of its deployment in a swarm too
    labels = service["labels"] | as_mapping(deploy, "labels")
    environment = _pairs(project, service, "env_file", "environment")
    return Unit(
        image=image,
        environment=tuple(environment.items()),
        proxies=routers_of(labels, environment),
        texts=tuple(texts),
        unread=tuple(unread),
        ports=(*as_list(service, "ports"), *exposed),
        user=cell(service, "user"),
        mounts=tuple(_to_mounts(project, service)),
        memory_limit_bytes=memory or None,
        memory_unlimited=None if memory is None else memory == 0,
        memory_request_bytes=reserve or None,
        cpu_limit=_cpus(limits, service),
        **picked(service, "compose service"),
        devices_n=len(as_list(service, "devices")) + cards_n,
        restart_policy=_restarts(service),
        stop_timeout_s=duration(service, "stop_grace_period"),
        health_checked=False if is_off else is_checked(image, declared),
        asks=[asked_in(service, "compose asks"), *check.get("asks", ())],
        config_external=True if any(map(service.get, _CONFIG_KEYS)) else None,
    )


def _restarts(service: Service) -> str | None:
    """Return when it starts again; without a word Compose never does, and Swarm always."""
    deploy = table(service, "deploy")
    declared = text(deploy, "restart_policy", "condition") or text(service, "restart")
    if not declared and "deploy" in service:
        return "always" if _STACK_ONLY & deploy.keys() else None
    word, _, _ = declared.partition(":")  # on-failure:3
    return _CONDITIONS.get(word, word) or "no"


def _to_service(name: str, unit: Unit) -> Row:
    """Return the row of the services frame; facts that the file lacks are unknown."""
    row = service_row(unit)
    del row["platform"]  # that an engine runs it is not declared
    # A variable that is only set elsewhere leaves open whether its secret is in the file.
    is_open = any(is_secret_name(variable) for variable, _ in unit.environment)
    return row | {
        "name": name,
        "kind": "web" if unit.ports and row["stateful"] is False else None,
        "public": unit.is_opened,
        "secrets_in_image": row["secrets_in_image"] or (None if is_open else False),
    }


def _to_mounts(project: Project, service: Service) -> Iterator[Mount]:
    keys = ("volumes", "tmpfs", "use_api_socket")
    for target, volume in ChainMap(*(service.get(key, {}) for key in keys)).items():
        source = volume["source"]
        options = table(project.volumes, source)
        name = None
        if volume["type"] == "volume" and source:  # its name on the engine
            scoped = f"{project.name}_{source}"
            name = source if is_true(options.get("external")) else scoped
            name = str(options.get("name") or name)
        export = nfs_export(table(options, "driver_opts"))
        yield Mount(
            target,
            volume["type"],
            source="" if name else source,
            volume=name,
            driver=text(options, "driver") or None,
            is_writable=not volume["read_only"],
            is_remote=bool(export),
            shared_as=export or None,
        )


def _replicas(project: Project, name: str) -> int:
    """Return the number of replicas that a service declares; too many leave a note."""
    service = project.services[name]
    wanted = number(table(service, "deploy").get("replicas") or service.get("scale"))
    if wanted is not None and wanted > MAX_DECLARED:
        project.notes.append(f"service {name} has more than {MAX_DECLARED:,} replicas")
    return 1 if wanted is None else int(min(wanted, MAX_DECLARED))


def _cpus(limits: Row, service: Service) -> float | None:
    """Read the CPU limit [cores]: as such, else as a quota of each period; 0 is no limit."""
    asked = number(limits.get("cpus") or service.get("cpus"))
    quota = number(service, "cpu_quota")
    period = number(service, "cpu_period") or _PERIOD_US
    return asked or (quota / period if quota else None)
