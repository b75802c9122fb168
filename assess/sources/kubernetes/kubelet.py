"""Settings of kubelets: configurations in files, in a ConfigMap, or from the kubelet's API."""

from collections.abc import Iterator
from typing import Any

from yaml import YAMLError

from assess.sources.base import Row
from assess.sources.listing import Found
from assess.sources.settings import common, settings_of
from assess.sources.values import table, text
from assess.sources.yaml_loader import load_documents

KUBELETS = "kubelets"
_KIND = "KubeletConfiguration"
_TOLD = "kubeletconfig"  # what a kubelet answers at /configz
_MAP = "kubelet-config"  # of kubeadm; up to 1.23 with a version behind it


def configurations_in(document: Any) -> list[Row]:
    """Return the configuration in a document; one that differs has a name of its own."""
    found = table(document, _TOLD)
    if text(document, "kind") == _KIND:
        found = document
    if not found:
        return []
    meta = {"name": settings_of(found) or "", "namespace": ""}
    return [{"kind": _KIND, "metadata": meta, "config": found}]


def kubelet_flags(lists: Found) -> tuple[str | None, Row]:
    """Return the settings that all known kubelets of a cluster share, and unread configurations."""
    configs = [item["config"] for item in lists.get(KUBELETS, ())]
    unread: list[str] = []
    shared = common([*configs, *_mapped(lists, unread)])
    # what cannot be read may differ, so that nothing is known to be shared
    return (None, _note(unread)) if unread else (shared, {})


def _note(unread: list[str]) -> Row:
    return {
        "status": "partial",
        "unmapped_n": len(unread),
        "unmapped_example": unread[0][:80],
        "hint": "no YAML in the settings of kubelets: kubectl get configmap -n kube-system "
        f"{unread[0]} -o yaml",
    }


def _mapped(lists: Found, unread: list[str]) -> Iterator[Row]:
    """Return the configurations in ConfigMaps of kubeadm; name those that cannot be read."""
    for item in lists.get("configmaps", ()):
        name = text(item, "metadata", "name")
        if not name.startswith(_MAP):
            continue
        try:
            read = load_documents(text(item, "data", "kubelet"))
        except (YAMLError, ValueError):
            unread.append(name)
            continue
        found = [document for document in read if isinstance(document, dict)]
        if not found:
            unread.append(name)
        yield from found
