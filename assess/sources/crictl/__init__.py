"""containerd and CRI-O, from dumps of ``crictl`` and of ``nerdctl``."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from assess.sources.base import Batch, Row
from assess.sources.csv_records import vocabulary
from assess.sources.docker.dumps import Dump, EngineDumps
from assess.sources.docker.payload import EngineData, Payload, short
from assess.sources.docker.text import from_cli_container, merge_cli_images
from assess.sources.dumps import JSON_SUFFIXES, YAML_SUFFIXES, decode_values, read_yaml
from assess.sources.unit import ports_of
from assess.sources.values import (
    billionths,
    by_name,
    dicts,
    dig,
    first_known,
    integer,
    leaf,
    picked,
    table,
    text,
    texts,
)

RUNTIMES = ("cri-o", "containerd", "docker")  # a kubelet may ask Docker the same way
_NODE = 2  # a namespace of the host, in the words of the Container Runtime Interface
_ID = re.compile("(sha256:)?[0-9a-f]{64}")
_ANNOTATION = "io.kubernetes.container."
# Its value is an address; one that a person wrote names a host.
_ANNOUNCED = re.compile(r"([A-Z0-9_]+)_SERVICE_HOST=([0-9.]+|[0-9a-f:]+)")
_CLAIMED = re.compile(r"/pods/[^/]+/volumes/kubernetes\.io~[a-z-]+/([^/]+)")
# What a kubelet itself writes for a pod ends with it.
_OF_POD = re.compile(
    r"/pods/[^/]+/(volumes/kubernetes\.io~(empty-dir|configmap|secret|projected"
    r"|downward-api)/|etc-hosts$|containers/)"
)
# Columns of a workload that follow from a key of an inspection; without it they are unknown.
_FOLLOWS = vocabulary("crictl", "follows")
_COMMANDS = vocabulary("crictl", "commands")


class CrictlSource(EngineDumps):
    """Hosts with containerd or CRI-O, each a directory of dumps."""

    type = "crictl"
    suffixes = (*JSON_SUFFIXES, *YAML_SUFFIXES, ".txt")
    commands = _COMMANDS

    def read(self, file: Path, row: Row) -> list[Any]:
        """Read the documents of a file; the text of a version is YAML as well."""
        is_text = file.suffix.lower() == ".txt" and self.call_of(file) == "version"
        return read_yaml(file, row) if is_text else super().read(file, row)

    def runtime(self, data: EngineData) -> str:
        """Return the runtime that the version names."""
        parts = dicts(data.version, "Components")
        names = {text(part, "Name").lower() for part in parts}
        return next((name for name in RUNTIMES if name in names), "other")

    def convert(self, name: str, values: list[Any], data: EngineData) -> list[Any]:
        """Return the answer to a call in the form of Docker's API."""
        documents = dicts(values)
        if name == "version":
            return [_version(document) for document in documents]
        if name == "info":
            return [_info(document, data) for document in documents]
        if name == "inspect":
            return [_inspected(document, data) for document in documents]
        if name == "images":
            listed = [i for d in documents for i in dicts(d, "images")]
            own = [document for document in documents if "images" not in document]
            return [*(picked(i, "crictl image") for i in listed), *merge_cli_images(own)]
        listed = [c for d in documents for c in dicts(d, "containers")]
        own = [document for document in documents if "containers" not in document]
        return [*(_container(raw, data) for raw in listed), *map(from_cli_container, own)]

    def settle(self, name: str, values: Iterable[Any], data: EngineData) -> None:
        """Set to unknown the environments and checks that the dumps do not show."""
        if name != "inspect":
            return
        for value in dicts(values):
            kept = data.inspected.get(short(value, "Id"), {})
            if kept and "Env" not in value["Config"]:
                kept["Env"] = {}
            if kept and "Health" not in table(value, "State"):
                kept["health_checked"] = None
            kept["unknown"] = [
                column
                for column, path in _FOLLOWS.items()
                if path.split()[1] not in table(value, path.split()[0])
            ]

    def rows(self, data: EngineData, host_id: str, dumps: list[Dump]) -> Batch:
        """Return the rows of one host; facts that its dumps lack are unknown."""
        batch = super().rows(data, host_id, dumps)
        for row in batch.rows.get("workloads", ()):
            kept = data.inspected.get(leaf(row, "workload_id"), {})
            row.update(dict.fromkeys(kept.get("unknown", ())))
        return batch


def _version(raw: Payload) -> Payload:
    lower = {name.lower(): value for name, value in raw.items()}
    if runtime := lower.get("runtimename"):
        number_of = text(lower, "runtimeversion").removeprefix("v")
        name = str(runtime).lower()
        # an engine of another name can be told by its version only
        release = number_of if name in RUNTIMES else f"{name} {number_of}"
        return {"Version": release, "Components": [{"Name": name, "Version": number_of}]}
    parts = dicts(raw, "Server", "Components")
    for part in parts:
        part["Version"] = text(part, "Version").removeprefix("v")
    own = by_name(parts, key="Name")
    return {"Version": text(own, "containerd", "Version"), "Components": parts}


def _info(raw: Payload, data: EngineData) -> Payload:
    """Read the settings that crictl prints of the engine; those of nerdctl are as Docker's."""
    if "ServerVersion" in raw or "OperatingSystem" in raw:
        return raw | {"ServerVersion": text(raw, "ServerVersion").removeprefix("v")}
    if table(raw, "config", "registry", "mirrors"):
        data.daemon_flags = "registry.mirrors"  # those in its own file, not in hosts.toml
    engine = table(raw, "config", "containerd")
    runtimes = table(engine, "runtimes")
    chosen = table(runtimes, text(engine, "defaultRuntimeName"))
    return {
        "ServerVersion": data.version.get("Version"),
        "Driver": text(engine, "snapshotter") or text(chosen, "snapshotter") or None,
        **picked(chosen, "crictl runtime"),
    }


def _container(raw: Payload, data: EngineData) -> Payload:
    return {
        **picked(raw, "crictl container"),
        "Names": [text(raw, "metadata", "name")],
        "Image": _declared(raw),
        "ImageID": _image_id(raw, data),
        "Created": _time(raw, "createdAt"),
    }


def _declared(raw: Payload) -> str:
    asked, known = picked(raw, "crictl names").values()
    return known or asked if _ID.fullmatch(asked) else asked


def _image_id(raw: Payload, data: EngineData) -> str | None:
    """Return the id of the image of a container; None where only a name is known."""
    if known := text(raw, "imageId"):
        return known
    named = text(raw, "imageRef")
    for image in data.images or []:
        refs = texts(image, "RepoTags") + texts(image, "RepoDigests")
        if named in refs:
            return text(image, "Id")
    return named if _ID.fullmatch(named) else None


def _time(raw: Payload, name: str) -> Any:
    return first_known(billionths(raw, name), raw.get(name))


def _inspected(raw: Payload, data: EngineData) -> Payload:
    """Read an inspection of crictl; that of nerdctl has Docker's form but for the image."""
    if isinstance(raw.get("Config"), dict):
        image = text(raw, "Config", "Image") or text(raw, "Image")
        known = _image_id({"imageRef": image}, data)
        return raw | {"Image": known, "Config": raw["Config"] | {"Image": image}}
    status = table(raw, "status")
    if not status:
        return {}
    restarts = text(status, "annotations", _ANNOTATION + "restartCount")
    attempt = integer(status, "metadata", "attempt")
    return {
        **picked(status, "crictl inspection"),
        "Image": _image_id(status, data),
        "Created": _time(status, "createdAt"),
        "RestartCount": attempt if integer(restarts) is None else integer(restarts),
        "State": {
            **picked(status, "crictl state"),
            "OOMKilled": text(status, "reason") == "OOMKilled",
        },
        "Mounts": [_mount(mount) for mount in dicts(status, "mounts")],
        "Config": _config(status, table(raw, "info", "runtimeSpec")),
        "HostConfig": _limits(table(raw, "info")),
    }


def _config(status: Payload, spec: Payload) -> Payload:
    """Read the declared configuration of a container."""
    config: Payload = {"Image": _declared(status), "Labels": table(status, "labels")}
    ports, _ = decode_values(text(status, "annotations", _ANNOTATION + "ports"))
    inner = (port.rpartition(">")[2] for port in ports_of(dicts(ports)))
    config["ExposedPorts"] = dict.fromkeys(inner)
    if "process" in spec:
        config["Env"] = _own(texts(spec, "process", "env"))
        config["Cmd"] = texts(spec, "process", "args")
    user = integer(spec, "process", "user", "uid")
    if user is not None:
        config["User"] = str(user)
    return config


def _own(environment: list[str]) -> list[str]:
    """Return the variables without those by which a kubelet announces every service."""
    announced = []
    for entry in environment:
        if found := _ANNOUNCED.fullmatch(entry):
            announced += [f"{found[1]}_{end}" for end in ("SERVICE_", "PORT_", "PORT=")]
    return [entry for entry in environment if not entry.startswith(tuple(announced))]


def _limits(info: Payload) -> Payload:
    """Read limits and rights, from what the engine handed to its runtime and was asked for."""
    spec = table(info, "runtimeSpec")
    if not spec:
        return {}
    security = dig(info, "config", "linux", "security_context")
    limits = picked(info, "crictl limits")
    limits["Memory"] = limits["Memory"] or 0
    spaces = {text(space, "type") for space in dicts(spec, "linux", "namespaces")}
    modes = {"NetworkMode": "network", "PidMode": "pid", "IpcMode": "ipc"}
    is_host = {mode: space not in spaces for mode, space in modes.items()}
    if isinstance(security, dict):  # what is false or zero is left out of it
        asked = table(security, "namespace_options")
        is_host = {mode: asked.get(space) == _NODE for mode, space in modes.items()}
        limits["Devices"] = dicts(info, "config", "devices")
        limits["Privileged"] = security.get("privileged") is True
        limits["CapAdd"] = texts(security, "capabilities", "add_capabilities")
    for mode, is_shared in is_host.items():
        limits[mode] = "host" if is_shared else "pod"
    return limits


def _mount(raw: Payload) -> Payload:
    """Read a mount; a volume of the cluster has its name in the path on the host."""
    source = text(raw, "hostPath")
    mount = {
        "Type": "bind",
        "Source": source,
        "Destination": text(raw, "containerPath"),
        "RW": raw.get("readonly") is not True,
    }
    if _OF_POD.search(source):
        mount["Type"] = "tmpfs"
    elif claimed := _CLAIMED.search(source):
        mount |= {"Type": "volume", "Name": claimed[1]}
    return mount
