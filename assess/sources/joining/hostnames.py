"""What the name of a host tells of the service on it: little, so that it never joins anything."""

from __future__ import annotations

import re

LOCAL = re.compile(
    r"localhost\d?|localhost\.localdomain|ip6?-localhost|127(\.\d+){3}|::1|\(none\)"
)
_ENV = re.compile(r"prod|prd|production|stg|stage|staging|dev|test|qa|uat")
_REGION = re.compile(
    r"(us|eu|ap|sa|ca|me|af|il)(e|w|n|s|c|ne|nw|se|sw)\d"  # use1
    r"|(us|eu|ap|sa|ca|me|af|il)-(north|south|east|west|central)+-\d[a-z]?"
)
_ADDRESS = re.compile(r"ip(-\d{1,3}){4}|\d{1,3}(\.\d{1,3}){3}")


def is_local(name: str) -> bool:
    """Say whether a name is one that every machine has for itself."""
    return not name or LOCAL.fullmatch(name.lower()) is not None


def is_address(name: str) -> bool:
    """Say whether a name is an address, whose first part names nothing."""
    return re.fullmatch(r"\d{1,3}(\.\d{1,3}){3}", name) is not None or ":" in name


def service_of(hostname: str) -> str:
    """Give what is left of ``prod-checkout-api-03.example.com``: checkout-api; empty for nothing.

    It makes ``redis`` of ``redis6`` too, which may be another service than ``redis``.
    """
    name = hostname.strip().lower()
    if is_local(name) or _ADDRESS.match(name):
        return ""
    name = _REGION.sub("", name.partition(".")[0])
    words = [
        word for word in re.split(r"[-_]+", name) if word and not _ENV.fullmatch(word)
    ]
    return re.sub(r"[-_]?\d+[a-z]?$", "", "-".join(words))
