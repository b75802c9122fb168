"""Settings of engines, kubelets and other programs: names, and values that cannot be secret."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import pairwise, starmap
from typing import Any

from assess.linear import Linear
from assess.sources.csv_records import lookup
from assess.sources.redact import is_secret
from assess.sources.values import Texts, joined, leaf, picked

Payload = Mapping[str, Any]
_NAME = Linear(r"[A-Za-z][\w./-]{0,100}")  # a label of a node has a slash
_VALUE = Linear(r"[\w./-]{1,40}")
_ASKED = Linear(r"[\w.-]*kubernetes\.io/[\w./-]{1,80}")  # keys that a cluster reads
_MACHINE = Linear(r"-XX:[+-]?(\w+)")  # options of a Java machine
# a program at the start of a command, without its path
_CALLED = Linear(
    r"(?:^(?:CMD(?:-SHELL)?\s)?|[|&;(`]|\s-c\s)[\s\"'{]*(?:[^\s|&;]*/)?([\w.-]+)"
)
_EARLY = Linear(r"[\w.-]*(alpha|beta)\.kubernetes\.io/[\w./-]{1,80}")  # those that end
MAX_SETTINGS = 200
MAX_WORDS = 2000


def settings_of(config: Payload) -> str | None:
    """Return a configuration's settings: values of switches, names of options; None without any."""
    return joined(_listed(_flat(config)))


def of_command(line: str, image: str = "") -> str | None:
    """Return what the command line of a known program sets, its name in front; None for another."""
    words = line.replace(" -c ", " --").split()[:MAX_WORDS]  # PostgreSQL's settings
    program = _program(words, image)
    if not program:
        return None
    return ";".join([f"program={program}", *_listed(_options(words))])


def _listed(settings: Iterable[tuple[str, Any]]) -> list[str]:
    return sorted(set(filter(None, starmap(_shown, settings))))[:MAX_SETTINGS]


def setting_text(line: str, image: str, variables: Texts, asks: Any) -> str | None:
    """Return what a container sets and asks of its platform, joined by semicolons."""
    # of its variables those that a rule asks for, most without their value
    named = [(f"env.{name}", value) for name, value in variables.items()]
    text = " ".join([line, *variables.values()])
    if "IgnoreUnrecognizedVMOptions" not in text:  # else it starts with any
        named += [(f"jvm.{name}", "") for name in _MACHINE.findall(text)]
    asked = _listed(pair for pair in named if pair[0] in _forms("shown"))
    return joined([of_command(line, image), *asked, *asks])


def _program(words: list[str], image: str) -> str:
    """Return the program that a command line starts, else the one that an image is called after."""
    known = lookup("programs", "word", "program")
    starts = [leaf(word) for word in words[:2]]
    # a script that an image starts with, or one file for all programs, comes before the program
    words = [" ".join(starts), *starts, image]
    return next((known[word] for word in words if word in known), "")


def _options(words: list[str]) -> Iterator[tuple[str, Any]]:
    """List the options of a command line; an entry of a list is one, as is each feature gate."""
    lists = _forms("entry")
    for word, after in pairwise([*words, ""]):
        if not word.startswith("--"):  # a short one may end in its value
            continue
        name, _, value = word.lstrip("-").partition("=")
        value = value or ("" if after.startswith("-") else after)
        entry = lists.get(name)
        if not entry:
            yield name, value
            continue
        for listed in value.split(","):
            part, _, state = listed.partition("=")
            yield f"{entry}.{part}", state != "false"


def asked_in(payload: Payload, form: str) -> str | None:
    """Return what a payload of a form asks of its engine; None where that is the default."""
    asks = picked(payload, form).items()
    return settings_of({name: value for name, value in asks if value and value != "runc"})


def checked_by(words: Any) -> list[str]:
    """Return the programs that a health check calls, of those that a rule asks for."""
    called = _CALLED.findall(" ".join(map(str, words)))
    return sorted({f"health={name}" for name in called} & _forms("shown").keys())


def of_pod(
    annotations: Iterable[str], labels: Iterable[str], taints: Iterable[str]
) -> list[str]:
    """Return what a pod asks of its cluster: early annotations, labels and taints of nodes."""
    found = [f"annotation.{key}" for key in annotations if _EARLY.fullmatch(key)]
    found += [f"node-label.{key}" for key in labels if _ASKED.fullmatch(key)]
    found += [f"toleration.{key}" for key in taints if _ASKED.fullmatch(key)]
    return sorted(set(found))[:MAX_SETTINGS]


def common(configs: Iterable[Payload]) -> str | None:
    """Return the settings that all configurations have in common."""
    sets = [set((settings_of(config) or "").split(";")) for config in configs]
    return joined(sorted(set.intersection(*sets))) if sets else None


def _flat(config: Payload) -> Iterator[tuple[str, Any]]:
    """List the settings; each feature gate is one, as the command line names it."""
    shown = _forms("shown")
    for name, value in config.items():
        if name == "featureGates" and isinstance(value, Mapping):
            yield from ((f"feature-gates.{gate}", on) for gate, on in value.items())
        elif shown.get(name) == "names" and isinstance(value, list | Mapping):
            yield from ((name, str(option).partition("=")[0]) for option in value)
        else:
            yield str(name), value


def _shown(name: str, value: Any) -> str:
    if not _NAME.fullmatch(name):
        return ""
    if isinstance(value, bool):
        return f"{name}={str(value).lower()}"
    is_shown = bool(_forms("shown").get(name)) and _VALUE.fullmatch(str(value))
    if is_shown and not is_secret(name, str(value)):
        return f"{name}={value}"
    return name


@cache
def _forms(column: str) -> Texts:
    """Return how options are written: ``shown``, or an ``entry`` for each part of a list."""
    return lookup("settings", "option", column)
