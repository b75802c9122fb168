"""Kinds of the API: the list of an object, and the files that have to be rendered first."""

import re
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

from assess.reading import read_limited
from assess.sources.base import Row, Rows
from assess.sources.csv_records import rows
from assess.sources.dumps import MAX_BYTES, TEMPLATE
from assess.sources.values import Texts, dicts, dig, picked, table, text, texts

OTHERS = "others"  # list of the objects that become no workload, edge or name
STORES = "stores"  # list of the custom resources that an operator makes a store of
CHART = "Chart.yaml"
_CORE = "core"
_VERSION = re.compile(r"([a-z0-9][a-z0-9.-]*/)?v\d+((alpha|beta)\d+)?")
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_APPLIED = re.compile(r'\{\s*"apiVersion"\s*:\s*"([^"]+)"')  # kubectl sorts the keys
# Tools by which people apply objects; controllers write in the version that they know.
_APPLIERS = re.compile(
    r"(kubectl|oc|helm|terraform|pulumi|argocd|argo-cd|kustomize-controller|helm-controller"
    r"|flux|ansible|kapp|tanka|skaffold|rancher|OpenAPI-Generator|HashiCorp)\b"
)
_PLACEHOLDER = re.compile(r"\{\{|\$\{|\$\(|^\$\w|<[\w -]+>|@\w+@")
_KUSTOMIZATION = ("kustomization.yaml", "kustomization.yml")
# Groups of files that tools read, in the form of objects that no cluster has.
_OF_TOOLS = re.compile(
    r"(backstage|k3d|eksctl)\.io|(kustomize\.config\.|kind\.x-|kubeadm\.)k8s\.io|skaffold"
)

_LISTS: dict[str, Texts] = defaultdict(dict)
for _row in rows("kubernetes/kinds"):
    _LISTS[_row["kind"]] |= dict.fromkeys(_row["groups"].split(), _row["list"])
for _row in rows("kubernetes/stores"):
    _LISTS[_row["kind"]] |= dict.fromkeys(_row["group"].split(), STORES)


def list_of(item: Row) -> str:
    """Return the list that an object belongs to; empty for anything else."""
    kind = text(item, "kind")
    version = text(item, "apiVersion")
    listed = _LISTS.get(kind, {})
    if not version:
        return next(iter(listed.values()), "")
    group = version.rpartition("/")[0] or _CORE
    if group in listed:
        return listed[group]
    is_object = kind and table(item, "metadata") and not _OF_TOOLS.fullmatch(group)
    # what makes pods of a template, and is of no known kind, is unread, not of no use
    pods = dig(picked(item, "kubernetes template")["template"], "spec", "containers")
    return OTHERS if is_object and not pods else ""


def store_facts(item: Row) -> Texts:
    """Return where the operator of a custom resource reads what it makes of it."""
    kind = text(item, "kind")
    group = text(item, "apiVersion").partition("/")[0]
    known = rows("kubernetes/stores")
    of_kind = (row for row in known if row["kind"] == kind)
    return next(row for row in of_kind if group in row["group"].split())


def generated(item: Row) -> Rows:
    """Return the ConfigMaps whose values an overlay of Kustomize lists itself."""
    # What it takes from files is left out: half a ConfigMap would pass for a whole one.
    made = []
    for generator in dicts(item, "configMapGenerator"):
        pairs = [pair.partition("=") for pair in texts(generator, "literals")]
        if pairs and not generator.keys() & {"files", "env", "envs"}:
            data = {key: value.strip("'\"") for key, _, value in pairs}
            meta = {key: text(generator, key) for key in ("name", "namespace")}
            made.append({"kind": "ConfigMap", "metadata": meta, "data": data})
    return made


def is_placeholder(value: str) -> bool:
    """Return whether a text is a placeholder that a tool would replace."""
    return _PLACEHOLDER.search(value) is not None


def api_version(item: Row) -> str | None:
    """Return the version of the API in which an object was read."""
    version = text(item, "apiVersion")
    return version if _VERSION.fullmatch(version) else None


def applied_version(item: Row) -> str | None:
    """Return the version of the API in which an object was applied last, by kubectl or another tool."""
    notes = table(item, "metadata", "annotations")
    found = _APPLIED.match(text(notes, _LAST_APPLIED))
    version = found[1] if found else _managed_version(item)
    return version if _VERSION.fullmatch(version) else None


def _managed_version(item: Row) -> str:
    """Return the version that the last tool of people wrote, as the cluster recorded it."""
    entries = [
        entry
        for entry in dicts(item, "metadata", "managedFields")
        if _APPLIERS.match(text(entry, "manager")) and not text(entry, "subresource")
    ]
    last = max(entries, key=lambda entry: text(entry, "time"), default={})
    return text(last, "apiVersion")


def render_command(file: Path, scope: str, *, is_whole: bool) -> str:
    """Return the command that renders what a file belongs to; empty where it is plain."""
    place = Path(scope).parent
    if file.name in _KUSTOMIZATION:
        return f"kubectl kustomize {place}"
    if file.name == CHART:
        return f"helm template {place}"
    if is_whole or not _has_template(file):
        return ""
    for above, written in zip(file.parents, Path(scope).parents, strict=False):
        if (above / CHART).is_file():
            return f"helm template {written}"
    return "helm template CHART"


def _has_template(file: Path) -> bool:
    """Return whether a file that could not be read as a whole is a template."""
    with suppress(OSError, ValueError):
        raw = read_limited(file, MAX_BYTES)
        return TEMPLATE.search(raw.decode(errors="replace")) is not None
    return False
