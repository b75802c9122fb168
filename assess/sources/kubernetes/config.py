"""Configuration in the same material: ConfigMaps and Secrets that containers read."""

import base64
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from assess.sources.base import Row
from assess.sources.csv_records import vocabulary
from assess.sources.edges import Text, mentions
from assess.sources.kubernetes.controllers import Controller, Place, place
from assess.sources.listing import Found
from assess.sources.redact import is_secret
from assess.sources.values import by_name, dicts, table, text

_WORDS = vocabulary("kubernetes", "kinds of configuration")
_VOLUMES = vocabulary("kubernetes", "volumes of configuration")
_PARTS = vocabulary("kubernetes", "references")
_MADE_BY_CLUSTER = "kube-root-ca.crt"
_VARIABLE = re.compile(r"\$(?:\((\w+)\)|\{(\w+)\}|([A-Za-z_]\w*))")
_MAX_POSSIBLE = 10_000  # needs that a shared ConfigMap makes possible; more say nothing
_EXPANDED_N = 50  # variables of a text that are put in
_EXPANDED_CHARS = 500  # of the value of one

Values = Mapping[str, str]
Kept = tuple[str, str, str]  # list, namespace and name


@dataclass(frozen=True)
class Reference:
    """A reference of a container to a ConfigMap or a Secret."""

    listed: str
    name: str
    key: str = ""  # empty: all keys
    variable: str = ""  # that the one key goes into
    prefix: str = ""  # of the variables that all keys go into
    is_file: bool = False
    is_optional: bool = False


@dataclass(frozen=True)
class Material:
    """Claims and configuration that pods refer to, and the readers of the configuration."""

    claims: Mapping[Place, Row] = field(default_factory=dict)
    values: Mapping[Kept, Values] = field(default_factory=dict)
    # Services by what they read, and its key.
    readers: Mapping[tuple[Kept, str], set[str]] = field(default_factory=dict)
    names: frozenset[str] = frozenset()  # of Services and controllers
    counts: dict[Kept, int] = field(default_factory=dict)

    def find(self, reference: Reference, namespace: str) -> Kept:
        """Return the key of the referenced object; a manifest may omit its namespace."""
        own = (reference.listed, namespace, reference.name)
        bare = (reference.listed, "", reference.name)
        return bare if own not in self.values and bare in self.values else own

    def possible_n(self, kept: Kept, key: str) -> int:
        """Return how many needs a value makes possible; 0 where it is certain who uses it."""
        # Who takes over a whole that names one host wants that host; of several hosts
        # nobody can tell which of several readers uses which.
        whole = self.readers.get((kept, ""), set())
        readers = whole | self.readers.get((kept, key), set())
        is_vague = len(readers) > 1 and self.hosts_n(kept) > 1
        return len(readers) * self.hosts_n(kept) if is_vague else 0

    def hosts_n(self, kept: Kept) -> int:
        """Return how many hosts the values of a ConfigMap or a Secret name."""
        if kept not in self.counts:
            texts = [
                Text(value, basis="config" if "\n" in value else "env", name=key)
                for key, value in self.values[kept].items()
            ]
            addresses = [mention.address for mention in mentions(texts)]
            hosts = {
                address.host
                for address in addresses
                if address.is_sure or address.host.partition(".")[0] in self.names
            }
            self.counts[kept] = len(hosts)
        return self.counts[kept]


def to_material(lists: Found, controllers: Collection[Controller]) -> Material:
    """Index what the lists hold of claims and configuration."""
    readers: dict[tuple[Kept, str], set[str]] = defaultdict(set)
    values = {
        (listed, *place(item)): _values(item)
        for listed in _WORDS
        for item in lists[listed]
    }
    claims = {place(claim): claim for claim in lists["persistentvolumeclaims"]}
    named = {place(service)[1] for service in lists["services"]}
    names = frozenset(named.union(controller.name for controller in controllers))
    material = Material(claims, values, readers, names)
    for controller in controllers:
        pod = controller.pod
        for container in dicts(pod, "containers") + dicts(pod, "initContainers"):
            for reference in references(pod, container):
                kept = material.find(reference, controller.namespace)
                readers[kept, reference.key].add(controller.names[0].name)
    return material


def _values(item: Row) -> Values:
    """Return the texts of a ConfigMap or a Secret; they never leave the source."""
    values = {}
    for key, value in table(item, "data").items():
        with suppress(ValueError, TypeError):
            is_coded = text(item, "kind") == "Secret"
            values[key] = base64.b64decode(value).decode() if is_coded else value
    values |= table(item, "stringData")
    return {key: value for key, value in values.items() if isinstance(value, str)}


def references(pod: Row, container: Row) -> Iterator[Reference]:
    """List what a container reads of ConfigMaps and Secrets."""
    for entry in dicts(container, "envFrom") + dicts(container, "env"):
        source = table(entry, "valueFrom") or entry
        for part, listed in _PARTS.items():
            target = table(source, part)
            if name := text(target, "name"):
                yield Reference(
                    listed,
                    name,
                    key=text(target, "key"),
                    variable=text(entry, "name"),
                    prefix=text(entry, "prefix"),
                    is_optional=target.get("optional") is True,
                )
    volumes = by_name(pod, "volumes")
    for mount in dicts(container, "volumeMounts"):
        volume = volumes.get(text(mount, "name"), {})
        for source in (volume, *dicts(volume, "projected", "sources")):
            yield from _files(source, text(mount, "subPath"))


def _files(source: Row, path: str) -> Iterator[Reference]:
    """List what a volume, or a part of one, mounts; a path within it is one file."""
    for part, listed in _VOLUMES.items():
        volume = table(source, part)
        name = text(volume, "name") or text(volume, "secretName")
        if not name or name == _MADE_BY_CLUSTER:
            continue
        items = {text(item, "path"): text(item, "key") for item in dicts(volume, "items")}
        keys = list(items.values()) or [""]
        if path:
            keys = [items.get(path, path)]
        for key in keys:
            is_optional = volume.get("optional") is True
            yield Reference(listed, name, key, is_file=True, is_optional=is_optional)


def config_texts(
    pod: Row, container: Row, namespace: str, material: Material
) -> tuple[list[Text], list[str], int]:
    """Return the texts that a container reads, its unread references, and its plain secrets."""
    # A value that several services get as part of a whole is possible only. A secret in a
    # variable from a ConfigMap is plain.
    texts = []
    unread = []
    secrets = set()
    for reference in references(pod, container):
        kept = material.find(reference, namespace)
        values = material.values.get(kept)
        where = f"{namespace}/{reference.name}".lstrip("/")
        is_plain = reference.listed == "configmaps" and not reference.is_file
        if values is None and not reference.is_optional:
            unread.append(f"{where} ({_WORDS[reference.listed]})")
        for key, value in (values or {}).items():
            if reference.key not in ("", key):
                continue
            name = reference.variable or f"{reference.prefix}{key}"
            if is_plain and is_secret(name, value):
                secrets.add(name)
            possible_n = 0 if reference.variable else material.possible_n(kept, key)
            if possible_n > _MAX_POSSIBLE:
                unread.append(f"{where} ({_WORDS[reference.listed]}, too many share it)")
                continue
            basis = "config" if reference.is_file else "env"
            texts.append(Text(value, basis, name, is_possible=possible_n > 0))
    return texts, list(dict.fromkeys(unread)), len(secrets)


def expanded(value: str, known: Values) -> str:
    """Put the values of variables into a text, as a cluster and a shell do."""
    if "$" not in value:
        return value
    return _VARIABLE.sub(
        lambda found: known.get(found[found.lastindex or 0], found[0])[:_EXPANDED_CHARS],
        value,
        count=_EXPANDED_N,
    )
