"""Types of sources: those of assess, and those of other packages."""

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from types import SimpleNamespace
from typing import Any

from assess.errors import ConfigError
from assess.sources.base import Source, built_in

GROUP = "assess.sources"
AWS_TYPES = ("ec2", "ecs", "ecr", "ssm")


@dataclass(frozen=True)
class SourceType:
    """Description of a type of source, from its `Source` class."""

    type: str
    options: tuple[str, ...]
    fills: tuple[str, ...]
    needs: str
    dump: str
    origin: str  # ``assess``, or the package that brings it


def homes() -> dict[str, EntryPoint]:
    """Return the entry point of every type, unloaded; other packages cannot replace ours."""
    ours = {
        n: EntryPoint(n, f"{GROUP}.{r['home']}", GROUP) for n, r in built_in().items()
    }
    others = {e.name: e for e in sorted(entry_points(group=GROUP))}
    # ours come first in lists, and win over others of their name
    return {**ours, **others, **ours}


def make(home: EntryPoint) -> Source:
    """Return a source of a type; a class without our base takes the defaults of `Source`."""
    try:
        loaded = home.load()
        if not issubclass(loaded, Source):
            loaded = type(loaded.__name__, (loaded, Source), {})
        return loaded()
    except Exception as error:
        problem = f"cannot be loaded: {type(error).__name__}: {error}"
        raise ConfigError(problem) from error


def permissions(name: str) -> str:
    """Return the least permissions of a system, in the form that the system reads."""
    return _text("permissions", name, "policy")


def dump_script(name: str) -> str:
    """Return the shell script that writes the dumps of a system, for its owner to read and run."""
    return _text("scripts", name, "script")


def _text(directory: str, name: str, noun: str) -> str:
    """Return the file of a system; raise ConfigError where it has none."""
    place = files("assess.sources") / directory
    texts = {f.name.partition(".")[0]: f for f in place.iterdir()}
    name = "aws" if name in AWS_TYPES else name
    if name not in texts:
        raise ConfigError(
            f"there is no {noun} for {name!r}",
            hint=f"there is one for {', '.join(sorted(texts))}",
        )
    return texts[name].read_text("utf-8")


def source_types() -> dict[str, SourceType]:
    """Describe all types of sources; a package that cannot be loaded says so in ``needs``."""
    described = {}
    for name, home in homes().items():
        row = built_in().get(name)
        origin = "assess" if row else home.dist.name if home.dist else "?"
        try:
            # a source of this package is described without loading it
            s: Any = SimpleNamespace(**row) if row else make(home)
            described[name] = SourceType(
                name, tuple(s.options), tuple(s.fills), s.needs, s.dump, origin
            )
        except ConfigError as error:
            # one broken plug-in must not hide the list of all others
            described[name] = SourceType(name, (), (), str(error), "", origin)
    return described
