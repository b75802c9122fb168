"""Package sources of a build: the tools that install, and the hosts that they fetch from."""

from collections.abc import Iterable
from functools import cache

from assess import reference
from assess.linear import Linear
from assess.sources.csv_records import rows

NOTHING = "none"  # the build was read, and installs nothing of its distribution
MAX_SOURCES = 40  # of one stage

_HOST = r"https?://(?:[^/\s@\"'<>|;]*@)?([A-Za-z0-9.-]+\.[A-Za-z]{2,})"
_URL = Linear(_HOST)
_KEYS = Linear(r"--keyserver[ =]\"?(?:hkps?://)?([A-Za-z0-9.-]+\.[A-Za-z]{2,})")
_LINE = Linear(rf"\bdeb(?:-src)?\s+(?:\[[^\]\n]*\]\s*)?{_HOST}\S*\s+([a-z][\w.-]*)")
_URIS = Linear(rf"URIs:\s*{_HOST}")
_SUITES = Linear(r"Suites:\s*([a-z][\w.-]*)")
_MARK = "\\"  # of a pattern of sed: archive\.debian\.org


@cache
def _tools() -> list[tuple[str, Linear]]:
    return [(row["tool"], Linear(row["pattern"])) for row in rows("builds/tools")]


def tools_of(texts: Iterable[str]) -> str:
    """Return the tools that fetch packages of the distribution, joined by semicolons."""
    text = "\n".join(texts)
    found = [tool for tool, pattern in _tools() if pattern.search(text)]
    return ";".join(found) or NOTHING


def sources_of(texts: Iterable[str]) -> str | None:
    """Return the hosts that a build fetches from, a suite behind each that a list names."""
    # Of an address only the host is kept: what else it holds may be secret.
    found: set[str] = set()
    for text in texts:
        plain = text.replace(_MARK, "")
        suites = {_entry(host, suite) for host, suite in _LINE.findall(plain)}
        deb822 = {
            _entry(host, suite)
            for host in _URIS.findall(plain)
            for suite in _SUITES.findall(plain)
        }
        named = {entry.partition(" ")[0] for entry in suites | deb822}
        hosts = {host.lower().rstrip(".") for host in _URL.findall(plain)}
        hosts |= {host.lower() for host in _KEYS.findall(plain)}
        archives = reference.lookup("package_archives", "host", "distro")
        hosts |= {host for host in archives if host in plain}
        found |= suites | deb822 | (hosts - named)
    return ";".join(sorted(found)[:MAX_SOURCES]) or None


def _entry(host: str, suite: str) -> str:
    return f"{host.lower()} {suite}"
