"""Podman hosts, from dumps of ``podman`` and from quadlets; live, one is a `docker` source."""

import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePath
from typing import Any

from assess.sources.base import Batch, Call, Row
from assess.sources.csv_records import vocabulary
from assess.sources.docker.dumps import UNNAMED, Dump, EngineDumps
from assess.sources.docker.payload import EngineData, Payload
from assess.sources.dumps import JSON_SUFFIXES, YAML_SUFFIXES, read_text
from assess.sources.kubernetes import KubernetesSource
from assess.sources.listing import Found
from assess.sources.podman.quadlet import (
    DROP_IN,
    KUBE,
    SUFFIX,
    SUFFIXES,
    Options,
    Quadlet,
    drop_ins,
    is_drop_in,
    options_of,
    to_rows,
)
from assess.sources.redact import scrub
from assess.sources.unit import unread_note
from assess.sources.values import as_list, dicts, dig, leaf, picked, table, text, texts

# A state of Podman, in the words of the workloads frame where they differ.
_STATES = {"configured": "created", "initialized": "created", "unknown": None}
_SANDBOX = {"io.kubernetes.docker.type": "podsandbox"}  # it only holds a pod together
_HASH = re.compile(r"[0-9a-f]{64}")
QUADLET = "quadlet"
MANIFEST = "manifest"  # that a quadlet may name
ADDITION = "drop-in"  # to a quadlet
_SECTIONS = {suffix: suffix[1:].capitalize() for suffix in SUFFIXES}
_COMMANDS = vocabulary("podman", "commands")
_SECURITY = vocabulary("podman", "security")
_FRAMES = ("services", "workloads", "mounts", "dependencies")  # of Kubernetes' objects


class PodmanSource(EngineDumps):
    """Hosts with Podman, each a directory of dumps and quadlets."""

    type = "podman"
    suffixes = (*JSON_SUFFIXES, *YAML_SUFFIXES, *SUFFIXES, DROP_IN)
    commands = _COMMANDS

    def call_of(self, file: Path) -> str:
        """Return the call whose answer a file holds, by its name; empty for another file."""
        if file.suffix.lower() in SUFFIXES:
            return QUADLET
        if is_drop_in(file):
            return ADDITION
        call = super().call_of(file)
        is_yaml = file.suffix.lower() in YAML_SUFFIXES
        return MANIFEST if is_yaml and not call else call

    def home_of(self, file: PurePath) -> PurePath:
        """Return the directory of the host of a file; that of a drop-in is one level up."""
        home = super().home_of(file)
        return home.parent if is_drop_in(file) else home

    def runtime(self, data: EngineData) -> str:
        """Return the runtime."""
        return "podman"

    def convert(self, name: str, values: list[Any], data: EngineData) -> list[Any]:
        """Return the answer to a call in the form of Docker's API."""
        if name == "volumes":
            return values
        form = _FORMS[name]
        return [form(value) for value in dicts(values)]

    def rows(self, data: EngineData, host_id: str, dumps: list[Dump]) -> Batch:
        """Return the rows of one host, with quadlets that were not seen running."""
        batch = super().rows(data, host_id, dumps)
        seen = {row["name"] for row in batch.rows["workloads"]}
        known = host_id if batch.rows["hosts"] else None
        calls = {file.name: call for name, file, call in dumps if name == QUADLET}
        texts = {file.name: text for file, text in _texts(dumps, QUADLET)}
        added: dict[PurePath, str] = dict(_texts(dumps, ADDITION))
        quadlets = {
            name: options_of(text, *drop_ins(name, added)) for name, text in texts.items()
        }
        found = []
        for name, options in quadlets.items():
            with calls[name] as call:
                if _SECTIONS.get(Path(name).suffix) not in options:
                    call.count(unmapped_n=1)
                    continue
                call.take([options])
                if Path(name).suffix == SUFFIX:
                    quadlet = Quadlet(Path(name).stem, options, quadlets)
                    call.note(ratio=1.0, **unread_note([quadlet.unit]))
                    found.append(quadlet)
        batch.merge(to_rows(found, seen, host_id, known))
        batch.merge(self._played(quadlets, calls, dumps, seen, (host_id, known)))
        return batch

    def _played(
        self,
        quadlets: dict[str, Options],
        calls: dict[str, Call],
        dumps: list[Dump],
        seen: set[str],
        host: tuple[str, str | None],
    ) -> Batch:
        """Return the rows of manifests that quadlets name; a missing one gets a coverage row."""
        batch = Batch()
        files = {
            file.name: (file, call) for name, file, call in dumps if name == MANIFEST
        }
        for name, options in quadlets.items():
            if Path(name).suffix != KUBE:
                continue
            section = options.get("Kube", {})
            documents = []
            for wanted in [*as_list(section, "Yaml"), *as_list(section, "ConfigMap")]:
                file, call = files.pop(Path(wanted).name, (None, calls[name]))
                if file is None:
                    hint = f"put the file that it names beside it: {wanted}"
                    call.count(unmapped_n=1)
                    call.status("partial", scrub(hint))
                    continue
                with call:
                    documents += call.take(self.read(file, call.row))
            is_on_host = "host" in as_list(section, "Network")
            place, host_id = host
            batch.merge(_rows_of(documents, seen, host_id, place, is_on_host=is_on_host))
        for _, call in files.values():
            call.status("unsupported", UNNAMED)
        return batch


def _texts(dumps: list[Dump], wanted: str) -> Iterator[tuple[Path, str]]:
    for name, file, call in dumps:
        if name != wanted:
            continue
        with call:
            text = read_text(file, call.row)
            if wanted == ADDITION and text:
                call.take([text])
        if text is not None:
            yield file, text


def _version(raw: Payload) -> Payload:
    """Read the version; a client that is not remote is the engine itself."""
    # Podman reports the version of its own API, which no client of Docker speaks.
    engine = table(raw, "Server") or table(raw, "Client") or raw
    number = text(engine, "Version")
    return {
        "Version": number,
        "Arch": leaf(engine, "OsArch"),
        "Components": [{"Name": "Podman Engine", "Version": number}],
    }


def _info(raw: Payload) -> Payload:
    status = table(raw, "store", "graphStatus")
    security = table(raw, "host", "security")
    info: Payload = {
        **picked(raw, "podman info"),  # what Docker says under another name
        "DriverStatus": [[key, str(value)] for key, value in status.items()],
    }
    info["CgroupVersion"] = str(info["CgroupVersion"] or "").removeprefix("v")
    if security:
        on = [word for flag, word in _SECURITY.items() if security.get(flag) is True]
        info["SecurityOptions"] = on
    return {name: value for name, value in info.items() if value not in ("", None)}


def _image(raw: Payload) -> Payload:
    """Read an image; older releases have its names in another list."""
    names = texts(raw, "RepoTags") or texts(raw, "Names")
    tags = [name for name in names if "@" not in name]
    return raw | {"RepoTags": tags, "Id": _image_id(text(raw, "Id"))}


def _image_id(value: str) -> str:
    """Return the id of an image as all APIs have it: with the name of its hash."""
    return f"sha256:{value}" if _HASH.fullmatch(value) else value


def _container(raw: Payload) -> Payload:
    """Read a listed container; its mounts are only paths, so an inspection has to name them."""
    ports = [picked(port, "podman port") for port in dicts(raw, "Ports")]
    own = {"Ports": ports, "Mounts": None, "State": _state(raw.get("State"))}
    own["ImageID"] = _image_id(text(raw, "ImageID"))
    if raw.get("IsInfra") is True:
        own["Labels"] = _SANDBOX
    return raw | own


def _inspected(raw: Payload) -> Payload:
    """Read an inspection: Docker's form, but for a few names."""
    config = dict(table(raw, "Config"))
    if not config:
        return {}
    config["Image"] = text(config, "Image") or text(raw, "ImageName")
    if isinstance(config.get("Entrypoint"), str):
        config["Entrypoint"] = [config["Entrypoint"]]
    state = dict(table(raw, "State"))
    state["Status"] = _state(state.get("Status"))
    state.setdefault("Health", state.get("Healthcheck"))
    health = dig(state, "Health", "Status")
    if not health:
        state["Health"] = None
    if raw.get("IsInfra") is True:
        config["Labels"] = _SANDBOX
    image = _image_id(text(raw, "Image"))
    return raw | {"Config": config, "State": state, "Image": image}


def _state(state: Any) -> Any:
    return _STATES.get(state, state) if isinstance(state, str) else None


_FORMS = {
    "version": _version,
    "info": _info,
    "images": _image,
    "ps": _container,
    "inspect": _inspected,
}


def _rows_of(
    documents: Iterable[Any],
    seen: Collection[str],
    host_id: str | None,
    place: str,
    *,
    is_on_host: bool,
) -> Batch:
    """Return the rows of manifests whose pods were not seen, ``is_on_host`` by their quadlet."""
    lists: Found = {}
    source = KubernetesSource()
    for document in documents:
        if _is_seen(document, seen):
            continue
        for kind, items in source.sort(document):
            lists.setdefault(kind, []).extend(map(_with_one_replica, items))

    def settled(frame: str, row: Row) -> Row:
        if frame == "services":
            return row | {"platform": "docker"}
        if frame != "workloads":
            return row
        network = {"host_network": True} if is_on_host else {}
        return row | {"host_id": host_id, "cluster": None} | network

    found = source.to_batch(lists, place).map(settled)
    return Batch({frame: found.rows[frame] for frame in _FRAMES}, found.coverage)


def _with_one_replica(item: Row) -> Row:
    """Return an object with one replica: Podman makes no more of any."""
    spec = table(item, "spec")
    return item | {"spec": spec | {"replicas": 1}} if "replicas" in spec else item


def _is_seen(document: Any, seen: Collection[str]) -> bool:
    """Return whether a running container has the name of the pod of an object."""
    name = text(document, "metadata", "name")
    pod = name if text(document, "kind") == "Pod" else f"{name}-pod"
    return bool(name) and any(other.startswith(f"{pod}-") for other in seen)
