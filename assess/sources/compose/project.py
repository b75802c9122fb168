"""Compose files: read within limits, interpolated, extended, included and merged into a project."""

import os
import re
from collections import ChainMap, Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from assess.reading import read_limited
from assess.sources.base import Row, Rows
from assess.sources.compose.forms import Replaced, Service, as_mapping, canonical, merged
from assess.sources.dumps import Loader, load_documents, refuse_outside
from assess.sources.values import Texts, as_list

MAX_FILES = 200  # of one project; includes of includes double with each level
MAX_LISTED = 20  # read of a directory that a service mounts
MAX_LOOKED = 1_000  # entries of such a directory that are looked at
MAX_FILE_BYTES = 4 << 20
# Aliases, variables and `extends` make much of a small file: 447 bytes of .env became 3 GB.
MAX_CHARACTERS = 16 << 20
NODE_COST = 80  # of a node of YAML, in characters: about what it takes of memory
MAX_NODES = MAX_CHARACTERS // NODE_COST
MAX_EXTENDS = 50  # steps from a service to what it extends

_TOP_KEYS = (
    "services",
    "include",
    "name",
    "version",
    "networks",
    "volumes",
    "secrets",
    "configs",
)
_OWN_KEYS_V1 = {"image", "build", "extends"}
_VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<name>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*)(?P<how>:?[-?+])?)",
    re.ASCII,
)
_SOURCE = re.compile(r"\$(\w+|\{\w+\}):/", re.ASCII)
_ENV_LINE = re.compile(
    r"^[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][\w.-]*)[ \t]*=[ \t]*"
    r"(?:'(?P<literal>[^']*)'|\"(?P<quoted>(?:\\.|[^\"\\])*)\"|(?P<bare>[^\r\n]*))",
    re.MULTILINE | re.DOTALL,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$$"}


@dataclass
class Limits:
    """Limits on the size of the files of one project, and on their place."""

    roots: Iterable[Path] = ()
    allow_outside: bool = False
    _files_n: int = 0
    _characters: int = 0

    def spend(self, characters: int) -> None:
        """Count the size of a project so far; too much raises ValueError."""
        self._characters += characters
        if self._characters > MAX_CHARACTERS:
            limit = f"the limit of {MAX_CHARACTERS >> 20} MB"
            raise ValueError(f"its variables and aliases make it larger than {limit}")

    def list(self, path: Path) -> list[Path]:
        """Return the files at and below a path, small ones first; none where it is outside."""
        try:
            refuse_outside(path, self.roots, allow=self.allow_outside)
            found = islice(path.rglob("*"), MAX_LOOKED) if path.is_dir() else [path]
            files = filter(Path.is_file, found)
            return sorted(files, key=lambda file: (file.stat().st_size, file))
        except (OSError, ValueError):
            return []

    def read(self, file: Path) -> str:
        """Return the text of a file; raise OSError or ValueError where that is not safe."""
        refuse_outside(file, self.roots, allow=self.allow_outside)
        self._files_n += 1
        if self._files_n > MAX_FILES:
            raise ValueError(f"the project has more than {MAX_FILES} files")
        raw = read_limited(file, MAX_FILE_BYTES)
        self.spend(len(raw))
        return raw.decode("utf-8-sig")


@dataclass
class Project:
    """What Compose files declare, of all profiles."""

    limits: Limits = field(default_factory=Limits, compare=False)
    name: str = ""
    services: dict[str, Service] = field(default_factory=dict)  # in canonical form
    volumes: Row = field(default_factory=dict)
    configs: Row = field(default_factory=dict)
    directory: Path = Path()
    env: Texts = field(default_factory=dict)  # variables of its `.env`
    unset: set[str] = field(default_factory=set)  # variables without a value
    notes: list[str] = field(default_factory=list)  # what could not be read, in words
    # Files that could not be read.
    failed: dict[str, Exception] = field(default_factory=dict)

    def read_env(self, file: Path, env: Texts, *, is_required: bool) -> Texts:
        """Return the variables of a file; one that cannot be read leaves a note."""
        try:
            return read_env(self.limits.read(file), env, self.limits)
        except (OSError, ValueError, RecursionError) as error:
            if is_required or not isinstance(error, FileNotFoundError):
                self.note(f"{file.name} cannot be read", error)
        return {}

    @cached_property
    def mounted(self) -> Counter[str]:
        """How often each source is mounted."""
        mounts = (
            service.get("volumes", {}).values() for service in self.services.values()
        )
        return Counter(volume["source"] for volumes in mounts for volume in volumes)

    def note(self, text: str, error: Exception) -> None:
        """Note what could not be read, with the reason where it is one for people."""
        is_reason = type(error) is ValueError
        self.notes.append(f"{text}: {error}" if is_reason else text)


def read_project(files: list[Path], *, allow_outside: bool = False) -> Project:
    """Read the files of a project, in order; a later one overrides an earlier one."""
    # Variables come from `.env` beside the first, never from our own environment. Unless
    # ``allow_outside``, what the files name is read only below their directories.
    directory = files[0].parent
    limits = Limits({file.parent for file in files}, allow_outside=allow_outside)
    project = Project(limits, directory=directory)
    project.env = project.read_env(directory / ".env", {}, is_required=False)
    _Reader(project, directory, project.env).read(files, ())
    named = project.name or project.env.get("COMPOSE_PROJECT_NAME")
    name = (named or directory.resolve().name).lower()
    project.name = re.sub(r"^[^a-z0-9]+|[^a-z0-9_-]", "", name)
    return project


def interpolate(
    text: str, env: Mapping[str, str], unset: set[str], limits: Limits | None = None
) -> str:
    """Replace ``$NAME``, ``${NAME:-default}`` and the like as Compose does; note ``unset`` names."""
    limits = limits or Limits()
    limits.spend(len(text))
    if "$" not in text:
        return text
    closings = _closings(text)

    def render(start: int, end: int) -> str:
        parts = []
        while match := _VARIABLE.search(text, start, end):
            parts.append(text[start : match.start()])
            start = match.end()
            how = match["how"] or ""
            closing = closings.get(match.start() + 1)
            if match["dollar"]:
                parts.append("$")
            elif match["name"]:
                parts.append(choose(match["name"], "", 0, 0))
            elif closing is None or (not how and closing != start):
                parts.append(match[0])
            else:
                parts.append(choose(match["braced"], how, start, closing))
                start = closing + 1
        parts.append(text[start:end])
        return "".join(parts)

    def choose(name: str, how: str, start: int, end: int) -> str:
        """Return the value of a variable, or of the word between two positions."""
        value = env.get(name)
        is_set = bool(value) if how.startswith(":") else value is not None
        if how.endswith("+"):
            return render(start, end) if is_set else ""
        if is_set:
            limits.spend(len(value or ""))
            return value or ""
        if how.endswith("-"):
            return render(start, end)
        unset.add(name)
        return ""

    return render(0, len(text))


def _closings(text: str) -> dict[int, int]:
    """Map the position of each opening brace to that of the one which closes it."""
    closings = {}
    openings = []
    for brace in re.finditer(r"[{}]", text):
        if brace[0] == "{":
            openings.append(brace.start())
        elif openings:
            closings[openings.pop()] = brace.start()
    return closings


def read_env(text: str, env: Texts | None = None, limits: Limits | None = None) -> Texts:
    """Read a `.env` file, whose variables may refer to others of it, or of ``env``."""
    limits = limits or Limits()
    values: Texts = {}
    known = ChainMap(dict(env or {}), values)
    for line in _ENV_LINE.finditer(text):
        value = line["literal"]
        if value is None:
            if line["quoted"] is not None:
                template = _ESCAPED.sub(
                    lambda found: _ESCAPES.get(found[1], found[0]), line["quoted"]
                )
            else:
                template = re.split(r"(?:^|[ \t])#", line["bare"], maxsplit=1)[0].strip()
            value = interpolate(template, known, set(), limits)
        values[line["name"]] = value
    return values


class _TextLoader(Loader):
    """Reads every scalar as the text it is; only ``null``, ``~`` and nothing are None."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [r for r in resolvers if r[0].endswith((":null", ":merge"))]
        for first, resolvers in Loader.yaml_implicit_resolvers.items()
    }


def _construct_tagged(loader: _TextLoader, suffix: str, node: yaml.Node) -> Any:
    if suffix == "reset":
        return Replaced(None)
    value = loader.value_of(node)
    return Replaced(value) if suffix == "override" else value


_TextLoader.add_multi_constructor("!", _construct_tagged)


@dataclass(frozen=True)
class _Place:
    """A document, its file, and the directory from which its relative paths start."""

    document: Row
    file: Path
    directory: Path


class _Reader:
    """Reads files of one directory, with its variables, into a project."""

    def __init__(self, project: Project, directory: Path, env: Texts) -> None:
        self.project = project
        self.directory = directory
        self.env = env
        self._documents: dict[Path, Rows] = {}

    def read(self, files: Iterable[Path], trail: tuple[Path, ...]) -> None:
        """Merge files into the project, each over its includes."""
        for file in files:
            step = Path(os.path.realpath(file))
            if step in trail:
                self.project.notes.append(f"{file.name} includes itself")
                continue
            try:
                for document in self._read_documents(file):
                    place = _Place(document, file, self.directory)
                    self._add(place, (*trail, step))
            except RecursionError:
                self.project.failed[file.name] = ValueError("it is nested too deeply")
            except (OSError, ValueError) as error:
                self.project.failed[file.name] = error

    def _read_documents(self, file: Path) -> Rows:
        if file not in self._documents:
            text = self.project.limits.read(file)
            try:
                documents = load_documents(text, _TextLoader, MAX_NODES)
            except yaml.YAMLError as error:
                mark = getattr(error, "problem_mark", None)
                line = f" in line {mark.line + 1}" if mark else ""
                raise ValueError(f"it is not YAML{line}") from error
            self._documents[file] = [_checked(self._filled(d)) for d in documents]
        return self._documents[file]

    def _filled(self, value: Any) -> Any:
        """Interpolate all texts of a document; reject one that grows without bounds."""
        limits = self.project.limits
        limits.spend(NODE_COST)
        if isinstance(value, str):
            filled = interpolate(value, self.env, self.project.unset, limits)
            # A mount has a source, also where nobody knows the value of its variable.
            is_mount = filled.startswith(":/") and _SOURCE.match(value)
            return value if is_mount else filled
        if isinstance(value, dict):
            return {str(key): self._filled(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._filled(item) for item in value]
        if isinstance(value, Replaced):
            return Replaced(self._filled(value.value))
        return value

    def _add(self, place: _Place, trail: tuple[Path, ...]) -> None:
        document = place.document
        for entry in as_list(document, "include"):
            self._include(entry, trail)
        project = self.project
        project.name = str(document.get("name") or project.name)
        project.volumes = merged(project.volumes, as_mapping(document, "volumes"))
        project.configs |= as_mapping(document, "configs")
        for name, body in document["services"].items():
            if isinstance(body, dict | None):
                service = self._service(name, place)
                project.services[name] = merged(project.services.get(name, {}), service)
            else:
                project.notes.append(f"service {name} is no mapping")

    def _include(self, entry: Any, trail: tuple[Path, ...]) -> None:
        options = entry if isinstance(entry, dict) else {"path": entry}
        paths = [str(path) for path in as_list(options, "path")]
        if not paths or any("://" in path or path.startswith("git@") for path in paths):
            self.project.notes.append("an include of something remote was not read")
            return
        files = [self.directory / path for path in paths]
        home = options.get("project_directory") or files[0].parent
        directory = self.directory / str(home)
        names = as_list(options, "env_file")
        env_files = [self.directory / str(name) for name in names] or [directory / ".env"]
        env: Texts = {}
        for file in env_files:
            known = env | self.env
            env |= self.project.read_env(file, known, is_required=False)
        _Reader(self.project, directory, env | self.env).read(files, trail)

    def _service(
        self, name: str, place: _Place, trail: tuple[tuple[Path, str], ...] = ()
    ) -> Service:
        body = place.document["services"][name] or {}
        service = canonical(body, place.directory)
        entries = [len(v) for v in service.values() if isinstance(v, dict | list)]
        self.project.limits.spend(NODE_COST * (len(service) + sum(entries)))
        if not (extends := body.get("extends")):
            return service
        base = extends if isinstance(extends, dict) else {"service": extends}
        wanted = str(base.get("service"))
        origin = self._find(wanted, base.get("file"), place)
        if not origin or len(trail) > MAX_EXTENDS or (origin.file, wanted) in trail:
            text = f"service {name} extends {wanted}, which cannot be read"
            self.project.notes.append(text)
            return service
        trail = (*trail, (origin.file, wanted))
        return merged(self._service(wanted, origin, trail), service)

    def _find(self, service: str, file: Any, place: _Place) -> _Place | None:
        """Return the last document that declares a service: of another file, or of this one."""
        places = [place]
        if file:
            path = place.directory / str(file)
            try:
                documents = self._read_documents(path)
            except (OSError, ValueError) as error:
                self.project.note(f"{path.name} cannot be read", error)
                return None
            places = [_Place(document, path, path.parent) for document in documents]
        for candidate in reversed(places):
            body = candidate.document["services"].get(service, "")
            if isinstance(body, dict | None):
                return candidate
        return None


def _checked(document: Any) -> Row:
    """Reject a file that is not Compose; wrap files of the first version in ``services``."""
    if not isinstance(document, dict):
        raise ValueError("it is no mapping")
    bodies = [body for key, body in document.items() if not key.startswith("x-")]
    is_v1 = all(isinstance(body, dict) and _OWN_KEYS_V1 & body.keys() for body in bodies)
    if "services" not in document and bodies and is_v1:
        return {"services": document}
    if not any(key in _TOP_KEYS or key.startswith("x-") for key in document):
        raise ValueError("it has no services")
    services = document.get("services")
    if not isinstance(services, dict | None):
        raise ValueError("its services are no mapping")
    return document | {"services": services or {}}
