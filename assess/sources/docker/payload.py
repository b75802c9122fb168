"""Answers of one Docker engine, reduced to what may be kept."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from assess.sources.base import Batch, Call
from assess.sources.csv_records import rows
from assess.sources.edges import command_line, mentions
from assess.sources.edges import variables as texts_of
from assess.sources.failure import HINTS
from assess.sources.redact import keep_env, keep_labels, strip_credentials
from assess.sources.routing import routers_of
from assess.sources.settings import asked_in, checked_by, setting_text, settings_of
from assess.sources.values import Texts, dicts, dig, listed, moment, table, text, texts
from assess.sources.volumes import nfs_export

Payload = dict[str, Any]
Kept = tuple[Payload, int]  # what may be kept, and how many values may not
SHORT_ID = 12
# What may pass the border, by the word for it in `kept.csv`; any other is the payload of each
# entry of a list.
_TYPES: dict[str, type | tuple[type, ...]] = {
    "text": str,
    "number": (int, float),
    "whole": int,
    "flag": bool,
    "time": (int, float, str),
    "list": list,
    "list or text": (list, str),
    "table": dict,
}


@dataclass
class EngineData:
    """Answers of one engine, redacted; None for calls without an answer."""

    version: Payload = field(default_factory=dict)
    info: Payload = field(default_factory=dict)
    containers: list[Payload] | None = None  # this and the next two as the API lists them
    images: list[Payload] | None = None
    volumes: list[Payload] | None = None
    networks: list[Payload] | None = None
    # Sizes of ``images`` by short id, and ``layers_bytes``.
    disk: Payload = field(default_factory=dict)
    inspected: dict[str, Payload] = field(default_factory=dict)  # by short container id
    inspect_status: Texts = field(default_factory=dict)  # why one was not
    daemon_flags: str | None = None  # what its configuration sets
    seen_at: datetime | None = None  # when it was asked
    clock_skew_s: float | None = None  # clock of the engine minus ours [s]

    @property
    def now(self) -> datetime | None:
        """When the answers were given, by our clock, else by that of the engine."""
        return self.seen_at or moment(self.info, "SystemTime")

    def take(
        self, name: str, raw: Any, call: Call | None = None, expected: Any = None
    ) -> None:
        """Keep the answer to a call, redacted, and count what was left out or is missing.

        ``raw`` is a payload of the API, or a list of the documents of a dump; ``expected`` the
        number of entries, where the engine's own counts do not give it.
        """
        call = call or Batch().call("", name)
        values = raw if isinstance(raw, list) else [raw]
        first = table(dicts(values), 0)
        if name in ("version", "info"):
            kept = keep_version(first) if name == "version" else keep_info(first)
            setattr(self, name, kept)
            call.count(rows=int(bool(kept)))
            return
        if name == "daemon":
            self.daemon_flags = settings_of(first)
            call.count(rows=len(first))
            return
        if name == "df":
            self._take_disk(first, call)
            return
        if name == "volumes" and "Volumes" in first:  # as the API wraps the list
            values = listed(first, "Volumes")
        keep, identity, total = _KEEP[name]
        pairs = [keep(value) for value in dicts(values)]
        entries = [entry for entry, _ in pairs if entry.get(identity)]
        if name == "inspect":
            self.inspected = {short(entry["Id"]): entry for entry in entries}
        else:
            setattr(self, name, entries)
        redacted_n = sum(count for _, count in pairs)
        call.count(rows=len(entries), redacted_n=redacted_n)
        if call.is_open and len(entries) < len(values):
            call.status("parse_error", HINTS["parse_error"])
        _expect(call, self.info.get(total) if expected is None else expected)

    def _take_disk(self, raw: Payload, call: Call) -> None:
        """Keep the use of the disk; the sizes of volumes join the list of volumes."""
        images = {}
        # since API 1.52 each list is within the use of its kind
        for image in dicts(raw, "Images") or dicts(raw, "ImageUsage", "Items"):
            sizes = _pick(image, "sizes")
            # -1 is what an engine writes that did not count
            counted = {name: size for name, size in sizes.items() if size >= 0}
            images[short(image, "Id")] = counted
        self.disk = {"images": images}
        layers = _pick(raw, "disk").get("LayersSize", -1)
        if layers >= 0:
            self.disk["layers_bytes"] = layers
        volumes = {volume["Name"]: volume for volume in self.volumes or []}
        for volume in dicts(raw, "Volumes") or dicts(raw, "VolumeUsage", "Items"):
            kept = _pick(volume, "volume")
            if name := kept.get("Name"):
                volumes[name] = volumes.get(name, {}) | kept
        self.volumes = [*volumes.values()] if volumes else self.volumes
        call.count(rows=len(images))
        if raw.keys().isdisjoint(("Images", "ImageUsage")):
            call.status("unsupported", "this engine lists its disk in another form")


def _expect(call: Call, expected: Any) -> None:
    """Compare the entries of an answer with the number that the engine counts."""
    if not isinstance(expected, int):
        return
    call.note(expected=expected)
    if not expected:
        call.note(ratio=1.0)
    elif call.is_open and not call.row["rows"]:
        call.status("partial")  # not empty: the engine says that it has some


@dataclass(slots=True)
class Container:
    """One container, from the list and from its inspection."""

    identifier: str  # short
    listing: Payload  # empty where it was not listed
    inspected: Payload  # empty where it was not inspected
    labels: Texts
    kept: Texts  # variables whose values may reach a row

    @property
    def name(self) -> str:
        """Name, without the slash that the engine puts before it."""
        name = text(self.inspected, "Name") or text(self.listing, "Names", 0)
        return name.lstrip("/")

    @property
    def declared_image(self) -> str:
        """Image as it was named when the container was created."""
        return dig(self.inspected, "Config", "Image") or self.listing.get("Image") or ""

    @property
    def image_id(self) -> str | None:
        """Id of its image."""
        return self.inspected.get("Image") or self.listing.get("ImageID")

    @property
    def mounts(self) -> list[Payload] | None:
        """Mounts; None where neither payload has them."""
        return (self.inspected or self.listing).get("Mounts")

    @property
    def state(self) -> str | None:
        """State; None where neither payload has it."""
        return dig(self.inspected, "State", "Status") or self.listing.get("State")


def containers_of(payloads: EngineData) -> list[Container]:
    """Join the list and the inspections by container."""
    listed = {short(c, "Id"): c for c in payloads.containers or []}
    containers = []
    for identifier in listed | payloads.inspected:
        listing = listed.get(identifier, {})
        inspected = payloads.inspected.get(identifier, {})
        labels = inspected.get("Labels") or listing.get("Labels") or {}
        kept = table(inspected, "Env", "kept")
        containers.append(Container(identifier, listing, inspected, labels, kept))
    return containers


def variables(entries: Any) -> Texts:
    """Split ``NAME=value`` entries of an environment."""
    parts = [entry.partition("=") for entry in texts(entries)]
    return {name: value for name, _, value in parts}


def short(identifier: Any, *path: str) -> str:
    """Shorten an id, with or without ``sha256:``, as the command line does."""
    digest = text(identifier, *path).removeprefix("sha256:")
    return digest[:SHORT_ID]


def keep_version(raw: Any) -> Payload:
    """Keep what is wanted of the version; nothing where the payload is only of a client."""
    if isinstance(raw, dict) and ("Client" in raw or "Server" in raw):
        raw = raw.get("Server")
    kept = _pick(raw, "version")
    return kept if kept.get("Version") else {}


def keep_info(raw: Any) -> Payload:
    """Keep what is wanted of the host, without proxies; registries and warnings only as counts."""
    kept = _pick(raw, "info")
    if not (kept.get("Name") or kept.get("ServerVersion")):
        return {}
    registries = raw.get("RegistryConfig")
    if isinstance(registries, dict):
        # Every engine trusts its own host.
        networks = set(texts(registries, "InsecureRegistryCIDRs"))
        networks -= {"127.0.0.0/8", "::1/128"}
        hosts = table(registries, "IndexConfigs").values()
        insecure_hosts_n = sum(dig(host, "Secure") is False for host in hosts)
        if "Mirrors" in registries:
            kept["mirrors_n"] = len(texts(registries, "Mirrors"))
        kept["insecure_n"] = len(networks) + insecure_hosts_n
    if "Warnings" in raw:
        kept["warnings_n"] = len(texts(raw, "Warnings"))
    return kept


def keep_container(raw: Payload) -> Kept:
    """Keep what is wanted of a listed container, and count the values left out."""
    kept = _pick(raw, "container")
    kept["Labels"], dropped = keep_labels(raw.get("Labels"))
    dropped += bool(raw.get("Command"))
    return kept, dropped


def keep_inspected(raw: Payload) -> Kept:
    """Keep what is wanted of an inspected container, and count the values left out."""
    # Of its environment only names, hosts and the values that name the service; no
    # arguments, health output or log options.
    if not isinstance(raw.get("Config"), dict):
        return {}, 0
    labels, dropped = keep_labels(raw["Config"].get("Labels"))
    values = variables(raw["Config"].get("Env"))
    env = keep_env(values)
    command = command_line(raw["Config"], "Entrypoint", "Cmd")
    line = " ".join(text.value for text in command)
    image = text(raw, "Config", "Image").rpartition("/")[2].partition(":")[0]
    tests = texts(raw, "Config", "Healthcheck", "Test")
    asks = [asked_in(raw, "docker asks"), *checked_by(tests)]
    kept = _pick(raw, "inspection") | {
        "Labels": labels,
        "Env": env,
        "mentions": mentions([*texts_of(values), *command]),
        "settings": setting_text(line, image, values, asks),
        "health_checked": bool(tests) and tests[0] != "NONE",
        "proxies": sorted(routers_of(table(raw, "Config", "Labels"), values)),
    }
    options = dig(raw, "HostConfig", "LogConfig", "Config")
    outputs = dig(raw, "State", "Health", "Log")
    withheld = (raw.get("Args"), tests[1:], options, outputs)
    counted = [part for part in withheld if isinstance(part, list | dict)]
    withheld_n = sum(map(len, counted))
    return kept, dropped + withheld_n + len(env["names"]) - len(env["kept"])


def keep_image(raw: Payload) -> Kept:
    """Keep what is wanted of a listed or inspected image, and count the labels left out."""
    kept = _pick(raw, "image")
    labels = raw.get("Labels") or dig(raw, "Config", "Labels")
    kept["Labels"], dropped = keep_labels(labels)
    return kept, dropped


def keep_network(raw: Payload) -> Kept:
    """Keep the settings of a network that its engine reads, without addresses."""
    return _pick(raw, "network") | {"asks": asked_in(raw, "docker network")}, 0


def keep_volume(raw: Payload) -> Kept:
    """Keep what is wanted of a volume; its options hold the passwords of network shares."""
    options = table(raw, "Options")
    return _pick(raw, "volume") | {"export": nfs_export(options)}, len(options)


# By list: the function that cuts an entry, its id, and the field of the info that counts entries.
_KEEP: dict[str, tuple[Callable[[Payload], Kept], str, str]] = {
    "containers": (keep_container, "Id", "Containers"),
    "inspect": (keep_inspected, "Id", ""),
    "images": (keep_image, "Id", "Images"),
    "volumes": (keep_volume, "Name", ""),
    "networks": (keep_network, "Name", ""),
}


def _pick(raw: Any, payload: str) -> Payload:
    """Keep what `kept.csv` lists of a payload, where it has the listed type."""
    return _shaped(raw, _shape_of(payload))


@cache
def _shape_of(payload: str) -> Payload:
    """Return the types, tables and lists of one payload that are kept, by name."""
    shape: Payload = {}
    for row in rows("docker/kept"):
        if row["payload"] == payload:
            *parents, name = row["path"].split()
            place = shape
            for parent in parents:
                place = place.setdefault(parent, {})
            kind = row["kind"]
            place[name] = _TYPES.get(kind) or [_shape_of(kind)]
    return shape


def _shaped(raw: Any, shape: Payload) -> Payload:
    """Keep what has the type in a shape; addresses lose their passwords."""
    kept: Payload = {}
    for name, kind in shape.items():
        value = dig(raw, name)
        if isinstance(kind, dict):
            if part := _shaped(value, kind):
                kept[name] = part
        elif isinstance(kind, list):
            if value is not None:
                kept[name] = [_shaped(entry, kind[0]) for entry in dicts(value)]
        elif isinstance(value, kind) and (not isinstance(value, bool) or kind is bool):
            kept[name] = strip_credentials(value) if isinstance(value, str) else value
    return kept
