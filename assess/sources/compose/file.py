"""Compose files: read, interpolated, extended, included and merged into one project."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from assess.sources.compose.forms import (
    Replaced,
    Service,
    as_list,
    as_mapping,
    canonical,
    merged,
)
from assess.sources.dumps import read_bytes
from assess.sources.yaml_loader import Loader, load_documents

NODES_MAX = 200_000  # aliases can multiply a small file into a huge one
_TOP_KEYS = "services include name version networks volumes secrets configs"
_OWN_KEYS_V1 = {"image", "build", "extends"}
_VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<name>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*)(?P<how>:?[-?+])?)",
    re.ASCII,
)
_ENV_LINE = re.compile(
    r"^[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][\w.-]*)[ \t]*=[ \t]*"
    r"(?:'(?P<literal>[^']*)'|\"(?P<quoted>(?:\\.|[^\"\\])*)\"|(?P<bare>[^\r\n]*))",
    re.MULTILINE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$$"}


@dataclass
class Project:
    """What Compose files declare, of all profiles."""

    name: str = ""
    services: dict[str, Service] = field(default_factory=dict)  # in canonical form
    volumes: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)  # variables of its `.env`
    unset: set[str] = field(default_factory=set)  # variables without a value
    notes: list[str] = field(default_factory=list)  # what could not be read, in words
    # Files that could not be read.
    failed: dict[str, Exception] = field(default_factory=dict)


def read_project(files: list[Path]) -> Project:
    """Read the files of a project, in order; a later one overrides an earlier one.

    Variables come from `.env` beside the first, never from our own environment.
    """
    directory = files[0].parent
    project = Project(env=_read_dotenv(directory / ".env", {}))
    _Reader(project, directory, project.env).read(files, ())
    name = (
        project.name
        or project.env.get("COMPOSE_PROJECT_NAME")
        or directory.resolve().name
    )
    project.name = re.sub(r"^[^a-z0-9]+|[^a-z0-9_-]", "", name.lower())
    return project


# ---- variables ----


def interpolate(text: str, env: Mapping[str, str], unset: set[str]) -> str:
    """Replace ``$NAME``, ``${NAME:-default}`` and the like by their values, as Compose does.

    Names that have neither value nor default are added to ``unset``, and count as empty.
    """
    parts, position = [], 0
    while found := _VARIABLE.search(text, position):
        parts.append(text[position : found.start()])
        position = found.end()
        how = found["how"] or ""
        if found["dollar"]:
            parts.append("$")
        elif found["name"]:
            parts.append(_value(found["name"], "", "", env, unset))
        elif (end := _closing(text, position)) is None or (not how and end != position):
            parts.append(found[0])
        else:
            parts.append(_value(found["braced"], how, text[position:end], env, unset))
            position = end + 1
    return "".join([*parts, text[position:]])


def _value(
    name: str, how: str, word: str, env: Mapping[str, str], unset: set[str]
) -> str:
    value = env.get(name)
    is_there = bool(value) if how.startswith(":") else value is not None
    if how.endswith("+"):
        return interpolate(word, env, unset) if is_there else ""
    if is_there:
        return value or ""
    if how.endswith("-"):
        return interpolate(word, env, unset)
    unset.add(name)
    return ""


def _closing(text: str, start: int) -> int | None:
    """Return the position of the brace that closes the one before ``start``."""
    depth = 1
    for position in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return position
    return None


def read_env(text: str, env: Mapping[str, str] | None = None) -> dict[str, str]:
    """Read a `.env` file, whose variables may refer to others of it, or of ``env``."""
    values: dict[str, str] = {}
    for line in _ENV_LINE.finditer(text):
        known = {**values, **(env or {})}
        if line["literal"] is not None:
            value = line["literal"]
        elif line["quoted"] is not None:
            plain = re.sub(
                r"(?s)\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), line["quoted"]
            )
            value = interpolate(plain, known, set())
        else:
            bare = re.split(r"(?:^|[ \t])#", line["bare"], maxsplit=1)[0]
            value = interpolate(bare.strip(), known, set())
        values[line["name"]] = value
    return values


def _read_dotenv(file: Path, env: Mapping[str, str]) -> dict[str, str]:
    try:
        return read_env(file.read_text(encoding="utf-8-sig"), env)
    except (OSError, UnicodeDecodeError):
        return {}


# ---- files ----


class _TextLoader(Loader):
    """Reads every scalar as the text it is; only ``null``, ``~`` and nothing are None."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [r for r in resolvers if r[0].endswith((":null", ":merge"))]
        for first, resolvers in Loader.yaml_implicit_resolvers.items()
    }


def _construct_tagged(loader: _TextLoader, suffix: str, node: yaml.Node) -> Any:
    if suffix == "reset":
        return Replaced(None)
    if isinstance(node, yaml.MappingNode):
        value: Any = loader.construct_mapping(node, deep=True)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = str(node.value)
    return Replaced(value) if suffix == "override" else value


_TextLoader.add_multi_constructor("!", _construct_tagged)


class _Reader:
    """Reads files of one directory, with its variables, into a project."""

    def __init__(self, project: Project, directory: Path, env: Mapping[str, str]) -> None:
        self.project = project
        self.directory = directory
        self.env = env

    def read(self, files: Iterable[Path], trail: tuple[Path, ...]) -> None:
        """Merge files into the project, each over what it includes."""
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
        """Return the documents of a file, interpolated."""
        budget = iter(range(NODES_MAX))
        try:
            return [
                _checked(
                    _walk(
                        d, lambda t: interpolate(t, self.env, self.project.unset), budget
                    )
                )
                for d in load_documents(
                    read_bytes(file, {}).decode("utf-8-sig"), _TextLoader
                )
            ]
        except yaml.YAMLError as error:
            where = getattr(error, "problem_mark", None)
            line = f" in line {where.line + 1}" if where else ""
            raise ValueError(f"it is not YAML{line}") from error
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error

    def _add(self, document: dict[str, Any], file: Path, trail: tuple[Path, ...]) -> None:
        for entry in as_list(document.get("include")):
            self._include(entry, trail)
        project = self.project
        project.name = str(document.get("name") or project.name)
        project.volumes = merged(project.volumes, as_mapping(document.get("volumes")))
        for name, raw in document["services"].items():
            if isinstance(raw, dict | None):
                service = self._extended(name, raw or {}, document, file, ())
                project.services[name] = merged(project.services.get(name, {}), service)
            else:
                project.notes.append(f"service {name} is no mapping")

    def _include(self, entry: Any, trail: tuple[Path, ...]) -> None:
        options = entry if isinstance(entry, dict) else {"path": entry}
        paths = [str(path) for path in as_list(options.get("path"))]
        if not paths or any("://" in path or path.startswith("git@") for path in paths):
            self.project.notes.append("an include of something remote was not read")
            return
        files = [self.directory / path for path in paths]
        directory = self.directory / str(
            options.get("project_directory") or files[0].parent
        )
        env: dict[str, str] = {}
        for file in as_list(options.get("env_file")) or [directory / ".env"]:
            env |= _read_dotenv(self.directory / str(file), {**env, **self.env})
        _Reader(self.project, directory, {**env, **self.env}).read(files, trail)

    def _extended(
        self,
        name: str,
        raw: Service,
        document: dict[str, Any],
        file: Path,
        trail: tuple[str, ...],
    ) -> Service:
        """Return a service in canonical form, merged over what it extends."""
        service = canonical(raw, self.directory)
        if not (extends := raw.get("extends")):
            return service
        base = extends if isinstance(extends, dict) else {"service": extends}
        wanted, reader, home, documents = str(base.get("service")), self, file, [document]
        try:
            if other := base.get("file"):
                home = self.directory / str(other)
                reader = _Reader(self.project, home.parent, self.env)
                documents = reader.documents(home)
        except (OSError, ValueError):
            documents = []
        found = [(d["services"][wanted], d) for d in documents if wanted in d["services"]]
        step = f"{home.resolve()}:{wanted}"
        if not found or step in trail or not isinstance(found[-1][0], dict | None):
            self.project.notes.append(
                f"service {name} extends {wanted}, which cannot be read"
            )
            return service
        body, whole = found[-1]
        return merged(
            reader._extended(wanted, body or {}, whole, home, (*trail, step)), service
        )


def _walk(value: Any, put: Callable[[str], str], budget: Iterator[int]) -> Any:
    """Interpolate all texts of a document; reject one that grows without bounds."""
    if next(budget, None) is None:
        raise ValueError("its aliases make it too large")
    if isinstance(value, str):
        return put(value)
    if isinstance(value, dict):
        return {str(key): _walk(item, put, budget) for key, item in value.items()}
    if isinstance(value, list):
        return [_walk(item, put, budget) for item in value]
    return (
        Replaced(_walk(value.value, put, budget))
        if isinstance(value, Replaced)
        else value
    )


def _checked(document: Any) -> dict[str, Any]:
    """Reject what is no Compose file; wrap files of the first version in ``services``."""
    if not isinstance(document, dict):
        raise ValueError("it is no mapping")
    bodies = [body for key, body in document.items() if not key.startswith("x-")]
    is_v1 = all(isinstance(body, dict) and _OWN_KEYS_V1 & body.keys() for body in bodies)
    if "services" not in document and bodies and is_v1:
        return {"services": document}
    if not any(key in _TOP_KEYS.split() or key.startswith("x-") for key in document):
        raise ValueError("it has no services")
    services = document.get("services")
    if not isinstance(services, dict | None):
        raise ValueError("its services are no mapping")
    return {**document, "services": services or {}}
