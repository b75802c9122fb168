"""Begin: set up a project on a machine, and write the questions that are worth asking."""

import configparser
import json
import os
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click

from assess.cli.command import (
    DIRECTORY,
    Output,
    command,
    newest_snapshot,
    output_options,
    policy_options,
    read,
    read_history,
    read_policy,
    records,
)
from assess.cli.messages import next_step, note
from assess.writing import not_written, write_beside

AWS_FILES = {
    "AWS_CONFIG_FILE": "~/.aws/config",
    "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials",
}
HEAD = """\
# What `assess collect` reads: nothing is ever written to it. Found on this machine by `assess init`;
# delete what you do not want. Then:
#
#   assess doctor                                     what each source can see
#   assess collect -o data/snapshots/2026Q4           a directory per quarter
"""
_NAMED = re.compile(
    r"\w.*\.(?:ya?ml|json|csv|template|hcl|nomad|container|kube|tf|tfstate|cfg|ini)|.*(?i:Docker|Container)file.*"
)
_LOOKED_AT = 20_000  # files
_HEAD_BYTES = 1 << 18
Table = tuple[str, dict[str, Any]]  # of assess.toml, behind the reason for it
MORE = (
    "\n# ==== everything else that can be read; `assess sources` explains each ====\n\n"
)


@command("assess init", "assess init our-fleet")
@click.argument(
    "directory",
    type=DIRECTORY,
    default=Path(),
)
def init(directory: Path) -> None:
    """Lay out a project: assess.toml for what this machine has, policy.toml, notebooks/, data/.

    Finds engine sockets, podman, AWS profiles and kubeconfig, and in the directory Compose files,
    manifests, templates, jobs, units of Podman, catalogs, scans and traces; connects to nothing.
    Files that are there already are kept. Prints the paths of the new ones.
    """
    from assess import notebooks
    from assess.policy import load_policy

    try:
        for folder in (directory / "data" / "snapshots", directory / "reports"):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_written(error.filename or directory, error) from error
    tables = [*_engines(), *_declarations(directory), *_aws(), *_clusters()]
    files = {
        "assess.toml": _configuration(tables),
        "policy.toml": load_policy().to_toml(),
    }
    for name, text in files.items():
        file = directory / name
        if file.exists():
            note(f"{file} is kept")
        else:
            write_beside(file, text)
            click.echo(file)
    made, kept = notebooks.copy(directory / "notebooks")
    for path in made:
        click.echo(path)
    if kept:
        note(f"notebooks kept: {len(kept)}")
    seen = ", ".join(dict.fromkeys(str(table["type"]) for _, table in tables))
    note(f"found: {seen or 'nothing to read'}")
    todo = "" if seen else "name your sources in assess.toml, then "
    change = "" if directory == Path() else f"cd {directory} && "
    next_step(f"{todo}{change}assess doctor")


def _configuration(tables: Iterable[Table]) -> str:
    """Write assess.toml: the tables that were found, then every other source as a comment."""
    from assess.config import data_path

    parts = [HEAD]
    for reason, table in tables:
        lines = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
        parts.append("\n".join([f"# {reason}", "[[source]]", *lines]) + "\n")
    example = data_path("assess.example.toml").read_text("utf-8").splitlines()
    # the head of the example is about the example
    rest = example[next(i for i, line in enumerate(example) if not line) + 1 :]
    commented = [
        line if not line or line.startswith("#") else f"# {line}" for line in rest
    ]
    return "\n".join(parts) + MORE + "\n".join(commented) + "\n"


def _engines() -> Iterator[Table]:
    """List the sockets of engines, and the engine that the Docker command line would use."""
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    sockets = {
        "/var/run/docker.sock": "the Docker engine of this machine",
        f"{runtime}/docker.sock": "your rootless Docker engine",
        "/run/podman/podman.sock": "podman of this machine, through its Docker API",
        f"{runtime}/podman/podman.sock": "your podman, through its Docker API",
    }
    found = {
        f"unix://{socket}": why
        for socket, why in sockets.items()
        # not below a directory of another user, which may not be looked into
        if os.access(socket, os.F_OK) and Path(socket).is_socket()
    }
    named = os.environ.get("DOCKER_HOST", "")
    if named.startswith(("unix://", "tcp://", "ssh://")):
        found.setdefault(named, "the engine that DOCKER_HOST names")
    for endpoint, why in found.items():
        yield why, {"type": "docker", "endpoint": endpoint}


def _declarations(directory: Path) -> Iterator[Table]:
    """List the Compose projects below a directory, and what other files there declare."""
    found: dict[tuple[str, ...], list[Path]] = {}
    for file in islice(_files(directory), _LOOKED_AT):
        own = file.relative_to(directory)
        # the files of a project of Compose are called alike
        home = (*own.parts[:-1], own.name * ("compose" not in own.name))
        for kind in _signs_in(file):
            found.setdefault((kind, *home * (kind == "compose")), []).append(own)
    # what else is declared names its services better, and reads its own builds
    if {kind for kind, *_ in found if "{" not in kind} != {"builds"}:
        found.pop(("builds",), None)
    for (kind, *_), files in found.items():
        reason = f"what files declare for {kind}"
        # at the top the files themselves, but units need those beside them
        places = {f.parent if kind == "podman" or f.parts[1:] else f for f in files}
        paths = sorted(p.as_posix() for p in places if not {*p.parents} & places)
        if kind == "compose":
            # the shortest name is the one that Compose takes, or that the others refine
            first, *others = sorted(files, key=lambda file: len(file.name))
            reason = ", not ".join(["a Compose project", *(f.name for f in others)])
            paths = [first.as_posix()]
        if "{" in kind:
            note(kind.format(", ".join(paths)))
        else:
            yield reason, {"type": kind, "path": paths if paths[1:] else paths[0]}


def _files(directory: Path) -> Iterator[Path]:
    """List the files below a directory that may declare something."""
    # unlike `glob`, a walk passes over what disappears or may not be read
    for place, folders, names in os.walk(directory):
        folders[:] = sorted(f for f in folders if not f.startswith((".", "node_modules")))
        for name in sorted(names):
            if _NAMED.fullmatch(name):
                yield Path(place, name)


def _signs_in(file: Path) -> list[str]:
    """List the types of sources that read a file, or what to do of it, by signs in it."""
    from assess.sources.base import built_in
    from assess.sources.csv_records import lookup

    if not file.is_file() or not os.access(file, os.R_OK):
        return []
    with file.open("rb") as opened:
        head = f"{file.name}\n{opened.read(_HEAD_BYTES).decode(errors='replace')}"
    # Helm has to render a template of a chart first
    is_chart = "{{" in head and any((p / "Chart.yaml").exists() for p in file.parents)
    signs = {kind: row.get("sign", "(?!)") for kind, row in built_in().items()}
    signs |= lookup("leads", "lead", "sign")
    return [
        kind for kind, sign in signs.items() if not is_chart and re.search(sign, head)
    ]


def _aws() -> Iterator[Table]:
    """List the AWS sources for the profiles of this user."""
    from assess.sources.catalogue import AWS_TYPES

    profiles: dict[str, str] = {}
    for variable, usual in AWS_FILES.items():
        file = Path(os.environ.get(variable, usual)).expanduser()
        # no interpolation: "%" is legal in settings of AWS
        parser = configparser.ConfigParser(interpolation=None, default_section="\0")
        try:
            parser.read(file, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError, OSError):
            continue
        for section in parser.sections():
            name = section.removeprefix("profile ").strip()
            if section.startswith(("sso-session", "services ")):
                continue
            profiles[name] = parser.get(
                section, "region", fallback=profiles.get(name, "")
            )
    regions = sorted({*filter(None, profiles.values())})
    regions = regions or list(filter(None, [os.environ.get("AWS_REGION")]))
    for kind in AWS_TYPES if profiles else ():
        table: dict[str, Any] = {"type": kind, "profile": sorted(profiles)}
        if regions:
            table["regions"] = regions
        yield "AWS, by the profiles of this user: keep those you mean", table


def _clusters() -> Iterator[Table]:
    """Return the place of a dump of the cluster that kubectl would use."""
    named = os.environ.get("KUBECONFIG", "~/.kube/config").split(os.pathsep)
    if any(Path(name).expanduser().is_file() for name in named):
        why = "the cluster of your kubeconfig: read and run `assess sources kubernetes --script`"
        yield why, {"type": "kubernetes", "path": "dumps/kubernetes"}


@command(
    "assess questions sample",
    "assess questions data/snapshots/2026Q4 -o questions.csv",
    "assess questions sample --service price-engine",
    works=True,
)
@newest_snapshot
@policy_options
@click.option("--service", "service", help="Only the questions about this service.")
@output_options
def questions(
    snapshot: str,
    *,
    policy_file: Path | None,
    target: str | None,
    service: str | None,
    out: Output,
) -> None:
    """List the unknown facts that decide something, the most valuable first, one row a fact.

    Fill in the column `answer` (yes, no, or the value) and `answered_at`, and add the file to
    assess.toml as a source: type = "answers", format = "csv". Then collect again. No person can
    answer a row without a column to fill: it needs a source that reads it.
    """
    import assess
    from assess.score.what_next.questions import BLANK
    from assess.score.what_next.questions import questions as ask

    inventory = read(snapshot)
    policy = read_policy(policy_file, target=target)
    history = read_history(snapshot, policy)
    result = assess.what_next(inventory, policy, history=history)
    table = ask(result, inventory, policy, service)
    document = {"snapshot_at": inventory.snapshot_at, "rows": records(table)}
    shown = table if out.format == "csv" else table.drop(columns=BLANK)
    out.table(shown, document, empty="nothing that is unknown decides anything")
    if out.file and out.format == "csv":
        note("fill in `answer`, add these lines to assess.toml, collect again:")
        path = f"path = {json.dumps(str(out.file))}"
        for line in ("[[source]]", 'type = "answers"', 'format = "csv"', path):
            note(f"  {line}")
        next_step("assess report")
