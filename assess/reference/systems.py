"""Families of operating systems, and who maintains a kernel."""

import re

from assess.reference.tables import cached, lookup, rows
from assess.reference.versions import lowered

LINUX = "linux"
_WORD = re.compile(r"[a-z][a-z0-9-]*")
# Three numbers, the first below 8: Darwin is at 20 and more, FreeBSD and SunOS have two.
_LINUX_RELEASE = re.compile(r"[2-7]\.\d+\.\d+(?!\d)")
_PART = re.compile(r"[-.+~]")
_MINOR = re.compile(r"_\d+$|u\d+$")
_WINDOWS_RELEASE = re.compile(r"10\.0[. ]\d{5}")


@cached
def os_family(os_name: str | None, kernel: str | None = None) -> str | None:
    """Return the family of a system (linux, windows, bsd, sunos, other); None where unknown."""
    # The name of a system decides before its kernel.
    if named := _named(os_name):
        return named
    text = lowered(kernel)
    if _WINDOWS_RELEASE.match(text):
        return "windows"
    return _named(text) or (LINUX if _LINUX_RELEASE.match(text) else None)


@cached
def kernel_vendor(kernel: str | None) -> tuple[str, str] | None:
    """Return the distribution that maintains a kernel, and its version if the release names it."""
    vendors = {row["mark"]: row for row in rows("kernel_vendors")}
    for word in _PART.split(lowered(kernel)):
        mark = _MINOR.sub("", word)  # el8_6 is el8
        if row := vendors.get(mark):
            return row["distro"], row["version"]
    return None


def _named(text: str | None) -> str | None:
    """Return the family of the first known word; linux wins (Linux under Windows)."""
    known = lookup("os_families", "word", "family")
    words = _WORD.findall(lowered(text))
    found = (known.get(word) or known.get(word.partition("-")[0]) for word in words)
    families = list(filter(None, found))
    return LINUX if LINUX in families else next(iter(families), None)


@cached
def arch_of(name: str | None) -> str | None:
    """Return the name that images use for a processor architecture; None if unknown."""
    return lookup("architectures", "name", "arch").get(lowered(name))


@cached
def arch_runs(images: str | None, host: str | None) -> bool | None:
    """Return whether one of the architectures of an image (``amd64;arm64``) runs on a host."""
    # An amd64 host runs 386 programs; whether an arm64 host runs arm ones depends on its
    # processor.
    here = arch_of(host)
    if here is None or not isinstance(images, str):
        return None
    offered = {arch_of(name) for name in images.split(";")}
    if here in offered or (here == "amd64" and "386" in offered):
        return True
    may_run = None in offered or (here == "arm64" and "arm" in offered)
    return None if may_run else False
