"""Machines, in the words of each tool."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from assess.sources.base import Row
from assess.sources.csv_records import Cells, lookup, rows, vocabulary
from assess.sources.hosts import PlainHost, filled, system_of
from assess.sources.values import (
    MIB,
    cell,
    dicts,
    joined,
    leaf,
    picked,
    text,
)

_GROUPED = re.compile(r"\d{1,3}(?:[.,'’\s]\d{3})+")  # 16.384 of an export in German
_WHOLE = re.compile(r"(\d{1,12})(?:[.,]0+)?")
_TRUE = vocabulary("vms", "yes")
_BITS = re.compile(r"\((?:32|64)[- ]?bit\)", re.IGNORECASE)
# CentOS 4/5/6/7: which is unknown
_RANGE = re.compile(r"(?<!\d)\d++(?:/\d++)++| or later.*| \(.*")
_IN_LICENCE = re.compile(r"([a-z][a-z-]*?)-(?:server-)?(\d+)(?:-|$)")
_CUSTOM = re.compile(r"(?:^|-)custom-(\d+)-(\d+)")
_STANDARD = re.compile(r"-(?:standard|highmem|highcpu|ultramem|megamem)-(\d+)")
_OFFERS = vocabulary("vms", "systems of images")
_AZURE = re.compile(r"Standard_[A-Z]+(\d+)(?:-(\d+))?[a-z]*_v[3-9]")
_PLAIN = ("hostname", "region", "az", "addresses")  # columns that a field fills as it is
_NOT_MACHINES = vocabulary("vms", "no machines")  # of Proxmox


def machine(name: str, place: str, facts: Row, *, is_template: bool = False) -> PlainHost:
    """Return a machine with the facts that are known."""
    known = filled(**facts)
    return PlainHost(cell(name) or "unnamed", place, known, is_template=is_template)


def power(word: str) -> Row:
    """Return the power state and the state of a machine; other words are unknown."""
    word = " ".join(word.lower().split())
    powers, states = (lookup("vms/states", "word", key) for key in ("power", "state"))
    return {"power_state": powers.get(word, "unknown"), "state": states.get(word)}


def whole(value: str) -> int | None:
    """Read a whole number as spreadsheets write it, with or without groups of thousands."""
    bare = value.strip()
    if _GROUPED.fullmatch(bare):
        return int(re.sub(r"\D", "", bare))
    found = _WHOLE.fullmatch(bare)
    return int(found[1]) if found else None


def _system(words: str) -> Row:
    """Name the system in words such as ``Red Hat Enterprise Linux 8 (64-bit)``."""
    bare = _RANGE.sub("", _BITS.sub("", words)).strip()
    if not bare or bare.lower().startswith("other"):
        return {}
    number = re.search(r"\d+(\.\d+)*", bare)
    name = bare[: number.start()] if number else bare
    name = name.strip().removeprefix("Microsoft ")
    return system_of(name, number[0] if number else "")


# -- RVTools -------------------------------------------------------------------------------------


def fields_of(heads: list[str]) -> dict[str, int]:
    """Return the column of each field by the heads of a sheet."""
    places = {head: n for n, head in reversed(list(enumerate(heads)))}
    found = {}
    for row in rows("vms/fields"):
        known = [places[head] for head in row["heads"].split() if head in places]
        if known:
            found[row["field"]] = known[0]
    return found


def of_rvtools(cells: Cells, place: str) -> PlainHost:
    """Read a row of the tab vInfo, by field."""
    memory = whole(cells.get("memory_mib", ""))
    names = [cells.get("os_tools", ""), cells.get("os_config", "")]
    system = next(filter(None, map(_system, names)), {})
    facts = {
        **{name: cells.get(name) for name in _PLAIN},
        "provider": "vmware",
        "vcpus": whole(cells.get("vcpus", "")),
        "memory_bytes": None if memory is None else memory * MIB,
        **system,
        **power(cells.get("power", "")),
    }
    marks = (cells.get("template", ""), cells.get("placeholder", ""))
    is_template = any(mark.lower() in _TRUE for mark in marks)
    return machine(cells.get("name", ""), place, facts, is_template=is_template)


# -- clouds and hypervisors ----------------------------------------------------------------------


def of_form(form: str, entry: Row, place: str, **more: Any) -> PlainHost | None:
    """Read an entry of a tool by its fields, and what else is known; None for what is no machine."""
    facts = picked(entry, f"{form} machine")
    own = {key: facts.pop(key, None) for key in ("name", "type", "template")}
    if own["type"] in _NOT_MACHINES:
        return None
    facts |= _system(facts.pop("system", None) or "")
    facts |= power(facts.pop("power") or "") | {"provider": form} | more
    return machine(own["name"] or "", place, facts, is_template=own["template"] == 1)


def of_gcloud(entry: Row, place: str) -> PlainHost | None:
    """Read an instance of Compute Engine; its metadata may hold secrets and is not read."""
    own = picked(entry, "google machine")
    interfaces = dicts(entry, "networkInterfaces")
    addresses = [text(interface, "networkIP") for interface in interfaces]
    for interface in interfaces:
        addresses += [
            text(access, "natIP") for access in dicts(interface, "accessConfigs")
        ]
    project = re.search(r"/projects/([\w.:-]{1,99})/", text(entry, "selfLink"))
    return of_form(
        "google",
        entry,
        place,
        provider="gcp",
        account=project[1] if project else None,
        region=own["az"].rpartition("-")[0],
        addresses=joined(addresses),
        **_gcloud_size(own["instance_type"]),
        **_licence(entry),
    )


def _gcloud_size(kind: str) -> Row:
    if custom := _CUSTOM.search(kind):
        return {"vcpus": int(custom[1]), "memory_bytes": int(custom[2]) * MIB}
    standard = _STANDARD.search(kind)
    return {"vcpus": int(standard[1])} if standard else {}


def _licence(entry: Row) -> Row:
    """Name the system by the licence of the boot disk, such as ``debian-11-bullseye``."""
    for disk in dicts(entry, "disks"):
        for licence in disk.get("licenses") or ():
            words = leaf(licence)
            if found := _IN_LICENCE.match(words):
                number = found[2]
                is_short = found[1] == "ubuntu" and len(number) == 4  # 2204
                version = f"{number[:2]}.{number[2:]}" if is_short else number
                return system_of(found[1].replace("-", " "), version)
    return {}


def of_azure(entry: Row, place: str) -> PlainHost | None:
    """Read a virtual machine of Azure."""
    ids = text(entry, "id").split("/")
    size = _AZURE.match(text(entry, "hardwareProfile", "vmSize"))
    addresses = f"{text(entry, 'privateIps')},{text(entry, 'publicIps')}"
    return of_form(
        "azure",
        entry,
        place,
        account=ids[2] if len(ids) > 2 else None,
        vcpus=int(size[2] or size[1]) if size else None,
        addresses=joined(addresses.split(",")),
        **_azure_system(entry),
    )


_NO_VERSION = re.compile(r"gen\d|x86_64|arm64|0001-com")  # in names of images


def _azure_system(entry: Row) -> Row:
    """Name the system by the image; for a custom image, only its family is known."""
    family = text(entry, "storageProfile", "osDisk", "osType").lower()
    known = {"os_family": family} if family in ("linux", "windows") else {}
    image = "storageProfile", "imageReference"
    offer = text(entry, *image, "offer").lower()
    words = _NO_VERSION.sub("", f"{text(entry, *image, 'sku').lower()} {offer}")
    number = re.search(r"\d+(?:[._]\d+)*", words)
    version = number[0].replace("_", ".") if number else ""
    for word in _OFFERS:
        if word in offer:
            return known | system_of(word, version)
    return known


# by keys that only one tool writes
READERS: list[tuple[str, Callable[[Row, str], PlainHost | None]]] = [
    ("networkInterfaces", of_gcloud),
    ("machineType", of_gcloud),
    ("hardwareProfile", of_azure),
    *((row["key"], partial(of_form, row["tool"])) for row in rows("vms/tools")),
]
