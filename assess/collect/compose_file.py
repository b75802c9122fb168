"""Compose files: read, interpolated, extended, included and merged into one project."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from assess.collect.compose_forms import (
    Replaced,
    Service,
    as_list,
    as_mapping,
    canonical,
    merged,
)
from assess.collect.compose_text import interpolate, read_env

NODES_MAX = 200_000  # aliases can multiply a small file into a huge one
DEFAULT_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
_TOP_KEYS = frozenset(
    ("services", "include", "name", "version", "networks", "volumes", "secrets", "configs")
)
_OWN_KEYS_V1 = ("image", "build", "extends")


class _Loader(yaml.SafeLoader):
    """Reads every scalar as the text it is; only ``null``, ``~`` and nothing are None."""


_KEPT_TAGS = ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag in _KEPT_TAGS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _construct_tagged(loader: _Loader, suffix: str, node: yaml.Node) -> Any:
    if suffix == "reset":
        return Replaced(None)
    if isinstance(node, yaml.MappingNode):
        value: Any = loader.construct_mapping(node, deep=True)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = str(node.value)
    return Replaced(value) if suffix == "override" else value


_Loader.add_multi_constructor("!", _construct_tagged)


@dataclass
class Project:
    """What Compose files declare.

    Attributes
    ----------
    name : str
        Name of the project.
    services : dict of str to dict
        Services in canonical form: mappings and lists, never their short forms.
    volumes : dict of str to dict
        Named volumes.
    env : dict of str to str
        Variables of its `.env`.
    unset : set of str
        Variables without a value.
    notes : list of str
        What could not be read, in words.
    failed : dict of str to Exception
        Files that could not be read at all.
    """

    name: str = ""
    services: dict[str, Service] = field(default_factory=dict)
    volumes: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    unset: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    failed: dict[str, Exception] = field(default_factory=dict)


def read_project(files: list[Path]) -> Project:
    """Read the files of a project, in order; a later one changes what an earlier one says.

    Parameters
    ----------
    files : list of Path
        Files; variables come from `.env` beside the first, never from our own environment.

    Returns
    -------
    Project
        Their services, of all profiles.
    """
    directory = files[0].parent
    project = Project(env=_read_dotenv(directory / ".env", {}))
    _Reader(project, directory, project.env).read(files, ())
    name = project.name or project.env.get("COMPOSE_PROJECT_NAME") or directory.resolve().name
    project.name = re.sub(r"^[^a-z0-9]+|[^a-z0-9_-]", "", name.lower())
    return project


def _read_dotenv(file: Path, env: Mapping[str, str]) -> dict[str, str]:
    try:
        return read_env(file.read_text(encoding="utf-8-sig"), env)
    except (OSError, UnicodeDecodeError):
        return {}


class _Reader:
    """Reads files of one directory, with its variables, into a project."""

    def __init__(self, project: Project, directory: Path, env: Mapping[str, str]) -> None:
        self.project = project
        self.directory = directory
        self.env = env

    def read(self, files: Iterable[Path], trail: tuple[Path, ...]) -> None:
        """Merge files into the project, each after what it includes."""
        for file in files:
            if file.resolve() in trail:
                self.project.notes.append(f"{file.name} includes itself")
                continue
            try:
                for document in self.documents(file):
                    self._add(document, file, (*trail, file.resolve()))
            except (OSError, ValueError) as error:
                self.project.failed[file.name] = error

    def documents(self, file: Path) -> list[dict[str, Any]]:
        """Give the documents of a file, interpolated."""
        try:
            loaded = yaml.load_all(file.read_text(encoding="utf-8-sig"), _Loader)
            walk = _Walk(lambda text: interpolate(text, self.env, self.project.unset))
            documents = [walk(document) for document in loaded if document is not None]
        except yaml.YAMLError as error:
            where = getattr(error, "problem_mark", None)
            line = f" in line {where.line + 1}" if where else ""
            raise ValueError(f"it is not YAML{line}") from error
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error
        return [_checked(document) for document in documents]

    def _add(self, document: dict[str, Any], file: Path, trail: tuple[Path, ...]) -> None:
        for entry in as_list(document.get("include")):
            self._include(entry, trail)
        self.project.name = str(document.get("name") or self.project.name)
        volumes = as_mapping(document.get("volumes"))
        self.project.volumes = merged(self.project.volumes, volumes)
        for name, raw in as_mapping(document["services"]).items():
            service = self._extended(name, raw, document, file, ())
            if service is not None:
                known = self.project.services.get(name, {})
                self.project.services[name] = merged(known, service)

    def _include(self, entry: Any, trail: tuple[Path, ...]) -> None:
        options = entry if isinstance(entry, dict) else {"path": entry}
        paths = [str(path) for path in as_list(options.get("path"))]
        if not paths or any("://" in path or path.startswith("git@") for path in paths):
            self.project.notes.append("an include of something remote was not read")
            return
        files = [self.directory / path for path in paths]
        directory = self.directory / str(options.get("project_directory") or files[0].parent)
        env: dict[str, str] = {}
        for file in as_list(options.get("env_file")) or [directory / ".env"]:
            env |= _read_dotenv(self.directory / str(file), {**env, **self.env})
        _Reader(self.project, directory, {**env, **self.env}).read(files, trail)

    def _extended(
        self, name: str, raw: Any, document: dict[str, Any], file: Path, trail: tuple[str, ...]
    ) -> Service | None:
        """Give a service in canonical form, on top of what it extends."""
        if not isinstance(raw, dict | None):
            self.project.notes.append(f"service {name} is no mapping")
            return None
        service = canonical(raw or {}, self.directory)
        extends = (raw or {}).get("extends")
        if not extends:
            return service
        base = extends if isinstance(extends, dict) else {"service": extends}
        wanted, other = str(base.get("service")), base.get("file")
        reader, home = self, file
        if other:
            home = self.directory / str(other)
            reader = _Reader(self.project, home.parent, self.env)
        step = f"{home.resolve()}:{wanted}"
        try:
            documents = reader.documents(home) if other else [document]
            found = [d["services"][wanted] for d in documents if wanted in d["services"]]
        except (OSError, ValueError, TypeError):
            found = []
        if not found or step in trail:
            self.project.notes.append(f"service {name} extends {wanted}, which cannot be read")
            return service
        under = reader._extended(wanted, found[-1], documents[-1], home, (*trail, step))
        return merged(under or {}, service)


class _Walk:
    """Interpolates all texts of a document, and refuses one that grows without bounds."""

    def __init__(self, interpolated: Callable[[str], str]) -> None:
        self._interpolated = interpolated
        self._left = NODES_MAX

    def __call__(self, value: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise ValueError("its aliases make it too large")
        if isinstance(value, str):
            return self._interpolated(value)
        if isinstance(value, dict):
            return {str(key): self(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self(item) for item in value]
        return Replaced(self(value.value)) if isinstance(value, Replaced) else value


def _checked(document: Any) -> dict[str, Any]:
    """Refuse what is no Compose file; files of the first version get ``services``."""
    if not isinstance(document, dict):
        raise ValueError("it is no mapping")
    bodies = [body for key, body in document.items() if not key.startswith("x-")]
    if (
        "services" not in document
        and bodies
        and all(
            isinstance(body, dict) and any(key in body for key in _OWN_KEYS_V1) for body in bodies
        )
    ):
        return {"services": document}
    if not any(key in _TOP_KEYS or key.startswith("x-") for key in document):
        raise ValueError("it has no services")
    services = document.get("services")
    if not isinstance(services, dict | None):
        raise ValueError("its services are no mapping")
    return {**document, "services": services or {}}
