"""Settings of engines and kubelets: their names, and values that cannot be secret."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from assess.linear import Linear
from assess.sources.redact import is_secret

_NAME = Linear(r"[A-Za-z][\w.-]{0,60}")
_VALUE = Linear(r"[\w.-]{1,40}")
_SHOWN = ("min-api-version", "default-runtime", "cgroupDriver")  # with their value
_OPTIONS = ("storage-opts", "exec-opts")  # lists of name=value
_GATES = "featureGates"
MAX_SETTINGS = 200


def settings_of(config: Mapping[str, Any]) -> str | None:
    """Return the settings of a configuration, joined by semicolons; None without any.

    Switches and a few other settings keep their value; lists of options keep the names.
    """
    found = [_shown(name, value) for name, value in _flat(config)]
    return ";".join(sorted(set(filter(None, found)))[:MAX_SETTINGS]) or None


def common(configs: Iterable[Mapping[str, Any]]) -> str | None:
    """Return the settings that all configurations have in common."""
    sets = [set((settings_of(config) or "").split(";")) for config in configs]
    shared = set.intersection(*sets) if sets else set()
    return ";".join(sorted(filter(None, shared))) or None


def _flat(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """List the settings; each feature gate is one, as the command line names it."""
    for name, value in config.items():
        if name == _GATES and isinstance(value, Mapping):
            yield from ((f"feature-gates.{gate}", on) for gate, on in value.items())
        elif name in _OPTIONS and isinstance(value, list):
            yield from ((name, str(option).partition("=")[0]) for option in value)
        else:
            yield str(name), value


def _shown(name: str, value: Any) -> str:
    if not _NAME.fullmatch(name):
        return ""
    if isinstance(value, bool):
        return f"{name}={str(value).lower()}"
    is_shown = name in _SHOWN or name in _OPTIONS
    if is_shown and _VALUE.fullmatch(str(value)) and not is_secret(name, str(value)):
        return f"{name}={value}"
    return name
