"""Nodes of a cluster: hosts, systems, runtimes and kubelets, and the provider that runs them."""

import re
from contextlib import suppress
from typing import Any

from yaml import YAMLError

from assess import frames
from assess.linear import Linear
from assess.policy.targets import RUNTIMES
from assess.sources.base import Batch, Row, Rows
from assess.sources.csv_records import rows, vocabulary
from assess.sources.docker.engine import to_os
from assess.sources.dumps import load_documents
from assess.sources.kubernetes.controllers import place
from assess.sources.listing import Found, host_ids
from assess.sources.settings import common, of_command, settings_of
from assess.sources.values import (
    TextLists,
    Texts,
    by_name,
    dicts,
    dig,
    joined,
    parts_of_cell,
    picked,
    table,
    text,
)

_AWS_INSTANCE = re.compile(r"aws:///.*/(i-[0-9a-f]+)")  # aws:///eu-west-1a/i-0abc
_GIVEN = ".io/node-args"
_OF_PART = Linear(r"--[a-z-]+-arg[ =]")
_FAMILIES = ("linux", "windows")
# RHCOS numbers its releases by those of OpenShift, without the point: 413.92.202310
_OPENSHIFT = re.compile(r"\b(4)(\d{1,2})\.\d{2,3}\.\d{8,}")
_KUBERNETES_AHEAD = 13  # minors: OpenShift 4.12 is Kubernetes 1.25
RHCOS = "rhcos"
KUBELETS = "kubelets"
_KUBELET = "KubeletConfiguration"
# Keys in ConfigMaps of kubeadm; that of kubelets up to 1.23 has a version behind its name.
_KEYS = {"kubelet": "kubelet", "kubeadm": "ClusterConfiguration"}
_CONTROL_PLANE = vocabulary("kubernetes", "control plane")


def node_hosts(nodes: Rows, cluster: str) -> Texts:
    """Return the host_id of every node by its name: its cloud instance, else its name."""
    names = [place(node)[1] for node in nodes]
    hosts = host_ids(((name, name) for name in names), cluster)
    for name, node in zip(names, nodes, strict=True):
        provider_id = text(node, "spec", "providerID")
        if instance := _AWS_INSTANCE.fullmatch(provider_id):
            hosts[name] = instance[1]
    return hosts


def to_host(node: Row, host_id: str) -> Row:
    """Return the row of the hosts frame."""
    status = table(node, "status")
    info = table(status, "nodeInfo")
    labels = table(node, "metadata", "labels")
    os_name, os_version = system_of(text(info, "osImage"), text(info, "kubeletVersion"))
    family = text(info, "operatingSystem")
    ready = table(by_name(status, "conditions", key="type"), "Ready")
    provider = text(node, "spec", "providerID").partition("://")[0]
    listed = [e for e in dicts(status, "addresses") if text(e, "type").endswith("IP")]
    addresses = [text(entry, "address") for entry in listed]
    named = [row for row in rows("kubernetes/node_labels") if row["label"] in labels]
    # of two labels the newer one, which comes last, counts
    places = {row["column"]: text(labels, row["label"]) or None for row in named}
    return frames.row(
        "hosts",
        host_id=host_id,
        **picked(node, "kubernetes node"),
        provider=provider or None,
        **places,
        **_managed(node, os_name, os_version),
        os_name=os_name,
        os_version=os_version,
        os_family=family if family in _FAMILIES else None,
        addresses=joined(addresses),
        **picked(ready, "kubernetes readiness"),
    )


def system_of(image: str, kubelet: str = "") -> tuple[str | None, str | None]:
    """Return the name and the version of a node's system."""
    # Systems that only run containers bear names of their own; those of others are read
    # as an engine's.
    for row in rows("kubernetes/node_systems"):
        if not image.lower().startswith(row["starts"]):
            continue
        rest = image[len(row["starts"]) :]
        if row["os_name"] == RHCOS:
            return RHCOS, _openshift(rest, kubelet)
        found = re.search(r"\d+(\.\d+)*", rest)
        parts = found[0].split(".")[: int(row["parts_n"])] if found else []
        return row["os_name"], ".".join(parts) or None
    return to_os(image)


def _openshift(image: str, kubelet: str) -> str | None:
    """Return the version of OpenShift that a release of RHCOS belongs to."""
    # Releases of 4.19 and later bear the version of RHEL, so that only the kubelet tells.
    if named := _OPENSHIFT.search(image):
        return f"{named[1]}.{named[2]}"
    minor = re.match(r"v?1\.(\d+)\.", kubelet)
    number = int(minor[1]) - _KUBERNETES_AHEAD if minor else 0
    return f"4.{number}" if number > 0 else None


def _managed(node: Row, os_name: str | None, os_version: str | None) -> Row:
    """Return the provider of a node's platform, and who patches it, if certain."""
    kubelet = text(node, "status", "nodeInfo", "kubeletVersion").removeprefix("v")
    for row in rows("kubernetes/platforms"):
        mark = row["mark"]
        is_marked = {"version": mark in kubelet, "system": mark == os_name}
        keys = table(node, "metadata", row["where"])  # labels or annotations
        if not is_marked.get(row["where"], _has_key(keys, mark)):
            continue
        version = os_version if row["where"] == "system" else kubelet
        # OpenShift numbers its clusters by itself, which only its own system shows.
        is_numbered = row["platform"] != "openshift" or row["where"] == "system"
        named = f"{row['platform']} {version}" if version and is_numbered else None
        return {"managed_by": row["managed_by"] or None, "provider_version": named}
    return {"managed_by": None, "provider_version": None}


def _has_key(keys: Row, mark: str) -> bool:
    """Return whether a key starts as a mark does, and has the value that it names."""
    key, _, value = mark.partition("=")
    return any(name.startswith(key) and value in ("", keys[name]) for name in keys)


def to_engines(node: Row, host_id: str) -> Rows:
    """Return the row of the engines frame; none where the runtime of a node is not known."""
    info = table(node, "status", "nodeInfo")
    runtime, _, version = text(info, "containerRuntimeVersion").partition("://")
    if not runtime:
        return []
    is_known = runtime in RUNTIMES
    return [
        frames.row(
            "engines",
            host_id=host_id,
            runtime=runtime if is_known else "other",
            # only here its name can stand
            version=(version if is_known else f"{runtime} {version}").strip() or None,
            kubelet_version=text(info, "kubeletVersion").removeprefix("v") or None,
        )
    ]


def configurations_in(document: Any) -> Rows:
    """Return the configuration in a document; one that differs has a name of its own."""
    found = table(document, "kubeletconfig")  # what a kubelet answers at /configz
    if text(document, "kind") == _KUBELET:
        found = document
    if not found:
        return []
    meta = {"name": settings_of(found) or "", "namespace": ""}
    return [{"kind": _KUBELET, "metadata": meta, "config": found}]


def kubelet_flags(lists: Found, mapped: Rows) -> str | None:
    """Return the settings that all known kubelets of a cluster share."""
    configs = [item["config"] for item in lists[KUBELETS]]
    # what cannot be read may differ, so that nothing is known to be shared
    return common([*configs, *mapped]) if all(mapped) else None


def given_flags(node: Row) -> str | None:
    """Return what K3s or RKE2 is given on its command line, for itself and for the parts in it."""
    notes = table(node, "metadata", "annotations")
    given = next((text(notes, key) for key in notes if key.endswith(_GIVEN)), "")
    # a list in JSON; what is meant for a part is read as the part is given it
    line = _OF_PART.sub("--", given.strip('[]"').replace('","', " "))
    return joined(parts_of_cell(of_command(f"kubelet {line}"))[1:])


def mapped_settings(batch: Batch, cluster: str, lists: Found, program: str) -> Rows:
    """Return the configuration in a ConfigMap of kubeadm; what cannot be read is empty and covered."""
    name = f"{program}-config"
    maps = {place(item)[1]: item for item in lists["configmaps"]}
    # a cluster keeps those of its older versions, too
    named = sorted((n == name, n) for n in maps if n.startswith(name))
    for _, newest in named[-1:]:
        with suppress(YAMLError, ValueError):
            if found := dicts(load_documents(text(maps[newest], "data", _KEYS[program]))):
                return found
        hint = f"no YAML in it: kubectl get configmap -n kube-system {newest} -o yaml"
        note = {"unmapped_n": 1, "unmapped_example": newest[:80], "hint": hint}
        batch.cover(cluster, f"{program} settings", "partial", **note)
        return [{}]
    return []


def control_plane_settings(config: Row) -> TextLists:
    """Return the settings that kubeadm gives the programs of a control plane, by their first."""
    found = {}
    for part, program in _CONTROL_PLANE.items():
        # up to v1alpha2, v1beta3, and after them
        given = config.get(f"{part}ExtraArgs") or dig(config, part, "extraArgs")
        args = {text(arg, "name"): arg.get("value") for arg in dicts(given)}
        words = [f"--{name}={value}" for name, value in (args or table(given)).items()]
        first, *others = parts_of_cell(of_command(" ".join([program, *words])))
        found[first] = others
    gates = settings_of({"featureGates": table(config, "featureGates")})
    found["program=kube-apiserver"] += [f"kubeadm-{g}" for g in parts_of_cell(gates)]
    return found
