"""From the facts of one host, as Ansible gathers them, to what assess keeps of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from assess.sources.base import Row
from assess.sources.hosts.rows import (
    Package,
    PlainHost,
    SystemUnit,
    count_of,
    is_of_interest,
    seen,
    system_of,
    text_of,
)
from assess.sources.values import dicts, dig

MIB = 2**20
# never read: environments, boot options and facts of one's own hold secrets, keys identify hosts
WITHHELD = ("env", "cmdline", "proc_cmdline", "local", "ec2_user_data", "user_data")
_GONE = ("not-found", "masked")  # names that systemd knows, but that are not there
_RUNNING = {"running": "running", "started": "running", "active": "running"}


def untagged(value: dict[str, Any]) -> Any:
    """Take a value out of the wrapping that ansible-core 2.19 writes into its caches."""
    if "__ansible_vault" in value:
        return None
    if "__ansible_type" in value and "value" in value:
        return value["value"]
    return value.get("__ansible_unsafe", value)


def are_facts(document: Row) -> bool:
    """Return whether a document has facts of a host."""
    named = ("ansible_facts", "module_setup", "services", "packages", "gather_subset")
    return any(name in document for name in named) or any(
        key.startswith("ansible_") for key in document
    )


def fact(facts: Row, name: str) -> Any:
    """Return a fact, with or without the prefix that Ansible adds."""
    value = facts.get(f"ansible_{name}", facts.get(name))
    return untagged(value) if isinstance(value, dict) else value


def to_host(
    facts: Row, name: str, place: str, file_time: float | None, now: datetime
) -> tuple[PlainHost, Row]:
    """Return one host, and the counts of its coverage row."""
    clock = dig(fact(facts, "date_time"), "epoch") or dig(
        fact(facts, "date_time"), "iso8601"
    )
    units, unknown_n = to_units(facts)
    host = PlainHost(
        name=text_of(name) or "unnamed",
        place=place,
        facts={k: v for k, v in _columns(facts).items() if v is not None}
        | seen(clock, file_time, now),
        cloud_id=text_of(fact(facts, "ec2_instance_id")),
        marks=(
            text_of(fact(facts, "machine_id")),
            text_of(fact(facts, "product_uuid")),
            text_of(fact(facts, "product_serial")),
            text_of(dig(fact(facts, "default_ipv4"), "macaddress")),
        ),
        units=units,
        packages=to_packages(facts),
        mounted=to_mounted(fact(facts, "mounts")),
    )
    counts: Row = {"redacted_n": withheld_n(facts), "unmapped_n": unknown_n}
    if units is not None and "privileges" in str(facts.get("msg") or ""):
        counts["hint"] = "service_facts did not see every unit: run it with become = true"
    return host, counts


def _columns(facts: Row) -> Row:
    """Return the columns of the hosts frame that facts fill."""
    memory = count_of(fact(facts, "memtotal_mb"))
    return {
        "hostname": text_of(fact(facts, "fqdn") or fact(facts, "hostname")) or None,
        "kernel": text_of(fact(facts, "kernel")) or None,
        "arch": text_of(fact(facts, "architecture")) or None,
        "vcpus": count_of(fact(facts, "processor_vcpus")),
        "memory_bytes": None if memory is None else memory * MIB,
        "instance_type": text_of(fact(facts, "ec2_instance_type")) or None,
        "image_ref": text_of(fact(facts, "ec2_ami_id")) or None,
        "az": text_of(fact(facts, "ec2_placement_availability_zone")) or None,
        "region": text_of(fact(facts, "ec2_placement_region")) or None,
        **system_of(
            fact(facts, "distribution"),
            fact(facts, "distribution_version"),
            fact(facts, "distribution_release"),
        ),
    }


def withheld_n(facts: Row) -> int:
    """Count the values that are never read."""
    parts = [fact(facts, name) for name in WITHHELD]
    keys = [key for key in facts if "ssh_host_key" in key]
    return len(keys) + sum(
        len(p) if isinstance(p, dict) else p is not None for p in parts
    )


def to_units(facts: Row) -> tuple[list[SystemUnit] | None, int]:
    """Return the units that run or failed, and the number in an unknown state.

    None where ``service_facts`` was not asked. What systemd lists is not repeated as of sysv.
    """
    listed = facts.get("services", facts.get("ansible_services"))
    if not isinstance(listed, dict):
        return None, 0
    units, unknown_n = [], 0
    for key, raw in sorted(listed.items()):
        entry = untagged(raw) if isinstance(raw, dict) else None
        if not isinstance(entry, dict) or entry.get("status") in _GONE:
            continue
        name = text_of(entry.get("name")) or text_of(key)
        if f"{name}.service" in listed or name.endswith(
            "@.service"
        ):  # a template runs nothing
            continue
        word = text_of(entry.get("state")).lower()
        state = _RUNNING.get(word)
        if "failed" in (word, entry.get("status")):
            state = "failed"
        unknown_n += word in ("", "unknown")
        if state:
            units.append(
                SystemUnit(name, state, text_of(entry.get("source")) or "systemd")
            )
    return units, unknown_n


def to_packages(facts: Row) -> dict[str, Package] | None:
    """Return the installed packages; None where ``package_facts`` did not run, or saw none."""
    listed = facts.get("packages", facts.get("ansible_packages"))
    if not isinstance(listed, dict) or not listed:
        return None
    packages = {}
    for name in filter(is_of_interest, listed):
        if (first := next(iter(dicts(listed[name])), None)) is not None:
            manager = text_of(first.get("source"))
            packages[text_of(name)] = Package(text_of(first.get("version")), manager)
    return packages


def to_mounted(listed: Any) -> list[Row]:
    """List the file systems of a host: path, type, bytes in use, and whether read-only."""
    mounted = []
    for disk in dicts(listed):
        total, free = (
            count_of(disk.get("size_total")),
            count_of(disk.get("size_available")),
        )
        options = text_of(disk.get("options")).split(",")
        if path := text_of(disk.get("mount")):
            used = None if total is None or free is None else max(0, total - free)
            read_only = "ro" in options if disk.get("options") else None
            kind = text_of(disk.get("fstype")) or None
            mounted.append(
                {"path": path, "type": kind, "size": used, "read_only": read_only}
            )
    return mounted
