"""Routing: services that a proxy opens to the outside because of their labels."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from assess.image_ref import last_part
from assess.linear import Linear
from assess.sources.csv_records import rows
from assess.sources.edges import declared_call
from assess.sources.unit import Unit, sees_engine_socket

Labels = Mapping[str, Any]

_WORDS = re.compile(r"[\W_]+")
_NOBODY = ""  # proxy of a row that says that none routes it


def routers_of(labels: Labels, environment: Labels) -> set[str]:
    """Return the proxies that route to a service, by its labels and variables."""
    given = {"label": labels, "variable": environment}
    found = {
        row["proxy"]
        for row in rows("routing")
        for name, value in given[row["what"]].items()
        if _fits(row["pattern"], name) and _fits(row["value"], value)
    }
    return set() if _NOBODY in found else found


def routed_calls(units: Sequence[Unit], evidence: str) -> Iterator[dict[str, Any]]:
    """Yield the calls from proxies to the services that they route to."""
    for unit in units:
        for proxy in sorted(unit.proxies):
            found = [other for other in units if is_router(other, proxy)]
            for router in found:
                yield declared_call(
                    router.names[0],
                    unit.callee,
                    evidence,
                    # with two proxies of a kind, nothing says which of them routes it
                    possible=len(found) > 1 or None,
                    address_basis="label",
                )


def is_router(unit: Unit, proxy: str) -> bool:
    """Return whether a unit is this proxy; a locally built one has ports and engine socket."""
    if not unit.image:
        return bool(unit.ports) and sees_engine_socket(unit.mounts)
    name = last_part(unit.image_ref.repository)
    return name == proxy or proxy in _WORDS.split(name)


def _fits(pattern: str, value: Any) -> bool:
    return _pattern(pattern).fullmatch(str(value)) is not None


@cache
def _pattern(text: str) -> Linear:
    return Linear(text, ignore_case=True)
