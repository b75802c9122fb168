"""Builds: base images and package sources of Dockerfiles and Containerfiles."""

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import product
from pathlib import Path

from assess import reference
from assess.image_ref import parse_image
from assess.inventory import BUILD
from assess.linear import NO_TEXT, Linear
from assess.sources.base import Asked, Batch, Call, Names, Row, Rows, Source
from assess.sources.builds.dockerfile import Build, Stage, expand, read_build
from assess.sources.csv_records import rows
from assess.sources.dumps import each_dump, read_text
from assess.sources.listing import labelled, names_of
from assess.sources.redact import is_secret, keep_labels, kept_env, secret_names
from assess.sources.settings import checked_by, setting_text
from assess.sources.unit import runs_as_root, telemetry_names
from assess.sources.values import first_known, joined

UNREAD = "unknown"  # a list of package sources that the build brings as a file
SCRATCH = "scratch"  # no image: nothing is pulled
MAX_FILE_BYTES = 1 << 20
_CALLED = ("Dockerfile", "Containerfile")
MAX_SOURCES = 40  # of one stage

_HOST = r"https?://(?:[^/\s@\"'<>|;]*@)?([A-Za-z0-9.-]+\.[A-Za-z]{2,})"
_URL = Linear(_HOST)
_KEYS = Linear(r"--keyserver[ =]\"?(?:hkps?://)?([A-Za-z0-9.-]+\.[A-Za-z]{2,})")
_LINE = Linear(rf"\bdeb(?:-src)?\s+(?:\[[^\]\n]*\]\s*)?{_HOST}\S*\s+([a-z][\w.-]*)")
_SUFFIXED = Linear(r"(?i)^(?:(.+)\.)?(?:dockerfile|containerfile)([^/]*)$")
_URIS = Linear(rf"uris:\s*{_HOST}")
_PPA = Linear(r"\badd-apt-repository\s[^;&|\n]*\bppa:")
_SUITES = Linear(r"suites:\s*([a-z][\w.-]*)")
_PACKAGE = Linear(r"[A-Za-z0-9][\w.+-]*")  # a name, before what asks for a version


class BuildsSource(Source):
    """Reads Dockerfiles: one file, a list, or all below a directory."""

    type = "builds"
    follows = True

    def fill(self, asked: Asked) -> None:
        """Read every file; an unreadable file does not affect the others."""
        asked.batch.rows |= {frame: [] for frame in self.fills}
        # a row for each image that a build pulls: of one service there are several
        owners: dict[Path, dict[Names, None]] = {}
        for row in asked.others.get("workloads", ()):
            if row.get("file"):
                owners.setdefault(row["file"].resolve(), {})[row["names"]] = None
        for file, call in each_dump(asked, _CALLED, is_wanted=is_build_file):
            with call:
                _read(file, call, asked.batch, [*owners.get(file.resolve(), ())])


def is_build_file(file: Path) -> bool:
    """Return whether a file is called like a build: Dockerfile, Dockerfile.web, web.dockerfile."""
    name = file.name.lower()
    ends = (".dockerignore", ".containerignore", ".md", ".bak", ".orig", "~")
    return not name.endswith(ends) and _SUFFIXED.search(name) is not None


def _read(file: Path, call: Call, batch: Batch, owners: list[Names]) -> None:
    """Add the rows of a file; of services that a Compose file builds from it only their facts."""
    text = read_text(file, call.row, MAX_FILE_BYTES)
    if text is None:
        call.status(call.outcome)
        return
    build = read_build(text)
    if not build.stages:
        raise ValueError("it has no FROM: it is no Dockerfile")
    names = service_names(build, file)
    found = [] if owners else workload_rows(build, str(call.row["scope"]), names)
    batch.add("workloads", *call.take(found))
    facts = [service_row(build, owner) for owner in owners or [names]]
    batch.add("services", *call.take(facts))
    hidden = sum(row["image_ref"] is None for row in found)
    call.count(unmapped_n=build.unread_n + hidden, redacted_n=len(build.settings))
    if hidden:
        hint = f"{hidden} bases hang on an argument without a default: give it one"
        call.status("partial", hint)


def workload_rows(build: Build, scope: str, names: Names) -> Rows:
    """Return a row for each image that a build pulls: bases of stages, then sources of copies."""
    roots = build.roots()
    shared = {
        "names": names,
        "source_kind": BUILD,
        "state": "declared",
        "inspect_status": "declared",
        "secret_like_env_n": sum(is_secret(*pair) for pair in build.settings),
        "secret_env_names": secret_names(build.settings),
        "env_names_n": len({name for name, _ in build.settings}),
    }
    found = []
    for root in build.stages:
        stages = [s for s, of in zip(build.stages, roots, strict=True) if of is root]
        if not stages or root.base == SCRATCH:
            continue
        # where what another base made runs
        system = reference.base_system(roots[-1].base)
        is_moved = all(system) and root is not roots[-1]
        moved = ["runs-on={} {}".format(*system)] * is_moved
        own = _packages(stages, moved) | {"user_root": _is_root(build, stages)}
        found.append(shared | _image(root.base) | own | {"name": root.name})
    found += [shared | _image(image) | {"name": image} for image in _copied(build)]
    for number, row in enumerate(found):
        row["workload_id"] = f"build:{scope}#{number}"
    return found


def _image(text: str | None) -> Row:
    parsed = parse_image(text or "")
    return {"image_ref": text if parsed.repository else None, **parsed.columns()}


def _packages(stages: list[Stage], moved: list[str]) -> Row:
    """Return the package sources of the stages on one base; unknown if they add own lists."""
    texts = [text for stage in stages for text in stage.texts]
    is_hidden = any(stage.copies_sources for stage in stages)
    checks = checked_by([stages[-1].health])
    done = [*moved, *named_by(texts), *done_by(texts, "setting"), *checks]
    return {
        "package_tools": joined(done_by(texts, "tool")) or "none",  # of its distribution
        "package_sources": joined([sources_of(texts), UNREAD * is_hidden]),
        "settings": setting_text(stages[-1].command, "", stages[-1].variables, done),
    }


def _is_root(build: Build, stages: list[Stage]) -> bool | None:
    """Return whether the built image runs as root; a base image may set another user."""
    last = build.stages[-1]
    if last not in stages:
        return None
    user = first_known(*(stage.user for stage in build.chain(last)))
    return runs_as_root(user or "")


def _copied(build: Build) -> list[str]:
    """Return the images that stages copy or mount from, those of other stages left out."""
    own = {stage.name.lower() for stage in build.stages}
    own |= {str(number) for number in range(len(build.stages))}
    found = dict.fromkeys(image for stage in build.stages for image in stage.copied_from)
    known = {SCRATCH, *own, *(stage.base for stage in build.stages)}
    return [i for i in found if not known & {i, i.lower()} and parse_image(i).repository]


def service_row(build: Build, names: Names) -> Row:
    """Return facts of the service in its build: a health check, and secrets left in the image."""
    # Without them the answer is unknown: the platform that runs the image may add them.
    chain = build.chain(build.stages[-1])
    check = first_known(*(stage.health or None for stage in chain)) or "NONE"
    has_secret = any(is_secret(*pair) for pair in build.settings)
    return {
        "names": names,
        "health_checked": check.upper() != "NONE" or None,
        "secrets_in_image": has_secret or None,
    }


def service_names(build: Build, file: Path) -> Names:
    """Return the names of the service that a file builds, best first."""
    last = build.stages[-1]
    title = expand(last.labels.get("org.opencontainers.image.title", ""), last.variables)
    is_plain = title.isprintable() and not is_secret("", title)
    return names_of(
        labelled(keep_labels(last.labels)[0]),
        *telemetry_names(kept_env(last.variables)),
        (_suffix(file), "build-file", 0.7),
        (title if is_plain else "", "label", 0.65),
        ("" if _suffix(file) else _directory(file), "build-directory", 0.6),
    )


def _suffix(file: Path) -> str:
    """Return the suffix of the name Dockerfile; empty for a variant such as dev."""
    found = _SUFFIXED.search(file.name)
    name = found[1] or found[2].strip(".-_") if found else ""
    return "" if name.lower() in _words("variant") else name


def _directory(file: Path) -> str:
    """Return the directory that a build is named after: the first one with a name of its own."""
    parents = [parent.name for parent in file.resolve().parents]
    named = (name for name in parents if name and name.lower() not in _words("directory"))
    return next(named, "")


@cache
def _words(kind: str) -> frozenset[str]:
    return frozenset(r["word"] for r in rows("builds/words") if r["kind"] == kind)


@cache
def _patterns(kind: str) -> list[tuple[str, Linear, Linear]]:
    known = [row for row in rows("builds/tools") if row["kind"] == kind]
    return [
        (row["name"], Linear(row["pattern"]), Linear(row["unless"] or NO_TEXT))
        for row in known
    ]


def done_by(texts: Iterable[str], kind: str) -> list[str]:
    """Return what a build does: tools that fetch packages, or commands that rules ask for."""
    text = "\n".join(texts)
    return [
        name
        for name, pattern, unless in _patterns(kind)
        if pattern.search(text) and not unless.search(text)
    ]


def named_by(texts: Iterable[str]) -> Iterator[str]:
    """Yield what a build installs and rules ask for: packages by name or version, extensions."""
    text = "\n".join(texts)
    for name, pattern, _ in _patterns("list"):
        asked = reference.asked_values(name)
        for words in pattern.findall(text):
            found = [n[0] for n in map(_PACKAGE.search, words.split()) if n]
            yield from (f"{name}={n}" for n in found if n in asked)
            for line, version, elsewhere in _patterns("line"):
                if elsewhere.search(text):  # a list of others brings it
                    continue
                versions = version.findall(f" {'  '.join(found)} ")
                yield from (f"{line}={one}" for one in versions)


def sources_of(texts: Iterable[str]) -> str | None:
    """Return the hosts that a build fetches from, a suite behind each that a list names."""
    # Of an address only the host is kept: what else it holds may be secret.
    found: set[str] = set()
    for text in texts:
        # sed has archive\.debian\.org
        plain = text.replace("\\", "").lower()
        lists = {*_LINE.findall(plain)}
        lists |= {*product(_URIS.findall(plain), _SUITES.findall(plain))}  # of deb822
        named = {host for host, _ in lists}
        hosts = {*_URL.findall(plain), *_KEYS.findall(plain)}
        hosts = {host.rstrip(".") for host in hosts}
        archives = reference.lookup("package_archives", "host", "distro")
        hosts |= {host for host in archives if host in plain}
        hosts |= {"ppa.launchpadcontent.net"} if _PPA.search(plain) else set()
        found |= {f"{host} {suite}" for host, suite in lists} | (hosts - named)
    return joined(sorted(found)[:MAX_SOURCES])
