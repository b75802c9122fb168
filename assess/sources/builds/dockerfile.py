"""Dockerfiles and Containerfiles, read as the builder reads them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field

from assess.sources.redact import is_secret

Variables = dict[str, str]

_DIRECTIVE = re.compile(r"#\s*(\w+)\s*=\s*(\S*)\s*$")
_HEREDOC = re.compile(r"(?<!<)<<(-?)\s*([\"']?)([A-Za-z_]\w*)\2")
_FLAG = re.compile(r"--([\w-]+)(?:=(\S*))?\s*")
_VARIABLE = re.compile(r"\\\$|\$(\w+)|\$\{(\w+)(?:(:?[-+?])([^{}$]*))?\}")
_MOUNTED = re.compile(r"(?:^|,)from=([^,\s]+)")
_LISTED = str.maketrans('[]",', "    ")  # the marks of a command that is a list
_WITH_BODY = ("RUN", "COPY", "ADD")  # instructions that may have a heredoc
_UNKNOWN = "\0"  # in place of a variable that nobody knows
MAX_STAGES = 200  # of one file; more than that is no file that people write
MAX_VALUE = 4096  # characters of a value: A=$A$A doubles it at every line


class TooManyStagesError(ValueError):
    """A file with more stages than people write."""


@dataclass(frozen=True)
class Instruction:
    """One instruction: its flags and its text, the body of a heredoc included."""

    word: str  # in capitals
    text: str
    flags: tuple[tuple[str, str], ...] = ()


@dataclass
class Stage:
    """One stage of a build."""

    base: str | None  # image or name of a stage; None where a variable hides it
    name: str
    copied_from: list[str] = field(default_factory=list)
    # what runs, and files written in place
    texts: list[str] = field(default_factory=list)
    variables: Variables = field(default_factory=dict)
    labels: Variables = field(default_factory=dict)
    user: str | None = None
    command: str = ""  # what starts
    health: str = ""  # what checks it
    copies_sources: bool = False  # whether it brings lists of package sources of its own


@dataclass
class Build:
    """One file: its stages in order, and every variable that it sets."""

    stages: list[Stage] = field(default_factory=list)
    settings: list[tuple[str, str]] = field(default_factory=list)
    unread_n: int = 0  # instructions that cannot be read
    given: Variables = field(default_factory=dict)  # arguments that the caller sets

    def roots(self) -> list[Stage]:
        """Return by stage the first one of its chain, whose base is an image."""
        names: dict[str, Stage] = {}
        found = []
        for stage in self.stages:
            root = names.get((stage.base or "").lower(), stage)
            names[stage.name.lower()] = root
            found.append(root)
        return found

    def chain(self, stage: Stage) -> list[Stage]:
        """Return a stage and those that it builds on, the last first."""
        at = next(n for n, one in enumerate(self.stages) if one is stage)
        earlier = {one.name.lower(): one for one in self.stages[:at]}
        parent = earlier.get((stage.base or "").lower())
        return [stage, *(self.chain(parent) if parent else [])]


def read_build(text: str, given: Variables | None = None) -> Build:
    """Read a file with the arguments that are given; what cannot be read costs its own instruction."""
    build = Build(given=dict(given or {}))
    outside: Variables = {}  # arguments before the first stage
    for found in instructions(text):
        try:
            _read_instruction(build, outside, found)
        except TooManyStagesError:
            raise
        except ValueError:  # a quotation without an end
            build.unread_n += 1
    return build


def instructions(text: str) -> Iterator[Instruction]:
    """List the instructions of a file: lines joined, comments left out, heredocs with their body."""
    every = text.splitlines()
    ends = {line.strip() for line in every}
    lines = iter(every)
    escape = "\\"
    is_head = True
    for line in lines:
        directive = _DIRECTIVE.match(line.strip()) if is_head else None
        if directive and directive[1].lower() == "escape" and directive[2] in "\\`":
            escape = directive[2] or escape
        is_head = directive is not None
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        whole = _joined(line, lines, escape)
        word, _, rest = whole.strip().partition(" ")
        word = word.strip().upper()
        if word in _WITH_BODY:
            rest += _bodies(rest, lines, ends)
        yield _split(word, rest.strip())


def _joined(line: str, lines: Iterator[str], escape: str) -> str:
    """Return a line with those that continue it; comments between them do not count."""
    parts = []
    while line.rstrip().endswith(escape):
        parts.append(line.rstrip()[:-1])
        line = next(
            (one for one in lines if one.strip() and not one.lstrip().startswith("#")), ""
        )
    return " ".join([*parts, line]).replace("\t", " ")


def _bodies(head: str, lines: Iterator[str], ends: set[str]) -> str:
    """Return the bodies of the heredocs of an instruction; one without an end is ignored."""
    body = []
    for dash, _, word in _HEREDOC.findall(head):
        for line in lines if word in ends else ():
            if (line.lstrip("\t") if dash else line) == word:
                break
            body.append(line)
    return "".join(f"\n{line}" for line in body)


def _split(word: str, text: str) -> Instruction:
    flags = []
    while found := _FLAG.match(text):
        flags.append((found[1].lower(), found[2] or ""))
        text = text[found.end() :]
    return Instruction(word, text, tuple(flags))


def _read_instruction(build: Build, outside: Variables, found: Instruction) -> None:
    if found.word == "FROM":
        build.stages.append(_stage(build, outside, found))
        return
    if found.word == "ARG":
        _take_arguments(build, outside, found.text)
        return
    if not build.stages:
        build.unread_n += 1
        return
    stage = build.stages[-1]
    match found.word:
        case "ENV":
            pairs = pairs_of(found.text)
            build.settings += pairs
            stage.variables |= {n: expand(v, stage.variables) for n, v in pairs}
        case "LABEL":
            stage.labels |= dict(pairs_of(found.text))
        case "USER":
            user = expand(found.text, stage.variables)
            stage.user = "" if _UNKNOWN in user else user
        case "CMD" | "ENTRYPOINT":
            stage.command += _shown(found.text, stage).translate(_LISTED)
        case "HEALTHCHECK":
            stage.health = found.text.translate(_LISTED)
        case "RUN":
            mounted = [v for n, v in found.flags if n == "mount"]
            stage.copied_from += [m for v in mounted for m in _MOUNTED.findall(v)]
            stage.texts.append(_shown(found.text, stage))
        case "COPY" | "ADD":
            _take_copy(stage, found)


def _take_copy(stage: Stage, found: Instruction) -> None:
    if source := dict(found.flags).get("from"):
        stage.copied_from.append(expand(source, stage.variables))
    target = found.text.partition("\n")[0].split(" ")[-1].strip("\"'] ")
    is_list = target.startswith(("/etc/apt/", "/etc/yum.repos.d", "/etc/apk/"))
    is_written_here = _HEREDOC.search(found.text) is not None
    stage.copies_sources |= is_list and not is_written_here
    stage.texts.append(_shown(found.text, stage))


def _stage(build: Build, outside: Variables, found: Instruction) -> Stage:
    words = found.text.split()
    if not words:
        raise ValueError("FROM names nothing")
    if len(build.stages) == MAX_STAGES:
        raise TooManyStagesError(f"it has more stages than the limit of {MAX_STAGES}")
    base = expand(words[0], outside)
    # FROM base AS name
    name = words[2] if len(words) > 2 else str(len(build.stages))
    named = [stage for stage in build.stages if stage.name.lower() == base.lower()]
    inherited = dict(named[0].variables) if named else {}
    known = None if _UNKNOWN in base else base
    return Stage(known, name, variables=inherited)


def _take_arguments(build: Build, outside: Variables, text: str) -> None:
    """Take the defaults of arguments; one without a default has that from before the first stage."""
    stage = build.stages[-1] if build.stages else None
    known = stage.variables if stage else outside
    for word in shlex.split(text, posix=True):
        name, sign, value = word.partition("=")
        if name in build.given:
            known[name] = build.given[name]
        elif sign:
            build.settings.append((name, value))
            known[name] = expand(value, known)
        elif stage and name in outside:
            known[name] = outside[name]


def pairs_of(text: str) -> list[tuple[str, str]]:
    """Read ``a=b c="d e"``, or the old form ``a b c`` of one pair."""
    head, _, rest = text.strip().partition(" ")
    if "=" not in head:
        return [(head, rest.strip().strip("\"'"))]
    words = (word.partition("=") for word in shlex.split(text, posix=True))
    return [(name, value) for name, sign, value in words if sign]


def expand(text: str, known: Variables) -> str:
    """Put the values of variables into a text; one that is secret, or unknown, leaves a gap."""

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name is None:
            return "$"
        own = known.get(name)
        sign = found[3] or ""
        is_set = bool(own) if sign.startswith(":") else own is not None
        if sign.endswith("+"):
            own = found[4] if is_set else ""
        elif sign.endswith("-") and not is_set:
            own = found[4]
        if own is None or len(own) > MAX_VALUE or is_secret(name, own):
            return _UNKNOWN
        return own

    return _VARIABLE.sub(value, text).strip("\"'")


def _shown(text: str, stage: Stage) -> str:
    return expand(text, stage.variables).replace(_UNKNOWN, "$")
