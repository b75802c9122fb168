"""Settings of kubelets: configurations in files, in a ConfigMap, or as a kubelet tells its own."""

from __future__ import annotations

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


def told(document: Any) -> list[Row]:
    """Return the configuration in a document; one that differs has a name of its own."""
    found = table(document, _TOLD)
    if text(document, "kind") == _KIND:
        found = document
    if not found:
        return []
    meta = {"name": settings_of(found) or "", "namespace": ""}
    return [{"kind": _KIND, "metadata": meta, "config": found}]


def kubelet_flags(lists: Found) -> str | None:
    """Return the settings that all known kubelets of a cluster share."""
    configs = [item["config"] for item in lists.get(KUBELETS, ())]
    return common([*configs, *_mapped(lists)])


def _mapped(lists: Found) -> Iterator[Row]:
    """Return the configurations in ConfigMaps of kubeadm."""
    for item in lists.get("configmaps", ()):
        if not text(item, "metadata", "name").startswith(_MAP):
            continue
        try:
            read = load_documents(text(item, "data", "kubelet"))
        except (YAMLError, ValueError):
            continue
        yield from (document for document in read if isinstance(document, dict))
