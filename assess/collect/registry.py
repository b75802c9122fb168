"""Which types of sources there are: those that come with assess, and those of other packages."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from assess.collect.base import Source

GROUP = "assess.sources"
_BUILT_IN = {
    "docker": "assess.collect.docker:DockerSource",
    "compose": "assess.collect.compose:ComposeSource",
    "incidents": "assess.collect.incidents:IncidentsSource",
    "frames": "assess.collect.frames_source:FramesSource",
}


@dataclass(frozen=True)
class SourceType:
    """Description of a type of source.

    Attributes
    ----------
    type : str
        Name in ``[[source]] type``.
    fills : tuple of str
        Frames that it fills.
    needs : str
        Permissions that it needs.
    dump : str
        Commands whose output it reads from files.
    options : tuple of str
        Options that it understands.
    origin : str
        ``assess``, or the package that brings it.
    """

    type: str
    fills: tuple[str, ...]
    needs: str
    dump: str
    options: tuple[str, ...]
    origin: str


def _homes() -> dict[str, tuple[EntryPoint, str]]:
    """Entry point and origin by type; what comes with assess cannot be replaced."""
    found = {e.name: (e, e.dist.name if e.dist else "?") for e in entry_points(group=GROUP)}
    built_in = {t: (EntryPoint(t, home, GROUP), "assess") for t, home in _BUILT_IN.items()}
    return found | built_in


def type_names() -> tuple[str, ...]:
    """Give the names of all types, without loading any of them.

    Returns
    -------
    tuple of str
        Those that come with assess first.
    """
    return tuple(dict.fromkeys([*_BUILT_IN, *sorted(_homes())]))


def make_source(name: str) -> Source:
    """Load a source.

    Parameters
    ----------
    name : str
        One of `type_names`.

    Returns
    -------
    Source
        A new instance.
    """
    source: Source = _homes()[name][0].load()()
    return source


def source_types() -> dict[str, SourceType]:
    """Describe all types of sources.

    Returns
    -------
    dict of str to SourceType
        By type, in the order of `type_names`; a package that cannot be loaded says so in ``needs``.
    """
    homes = _homes()
    described = {}
    for name in type_names():
        origin = homes[name][1]
        try:
            s = make_source(name)
            described[name] = SourceType(name, s.fills, s.needs, s.dump, s.options, origin)
        except Exception as error:
            needs = f"cannot be loaded: {type(error).__name__}: {error}"
            described[name] = SourceType(name, (), needs, "", (), origin)
    return described
