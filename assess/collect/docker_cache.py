"""Inspections of an earlier run: a container that did not change need not be inspected again."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from assess.collect.docker_payload import Payload, dig, moment, short

_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800,
          "month": 2592000, "year": 31536000}  # fmt: skip
_SPAN = re.compile(r"(?:(\d+)|About an?) (second|minute|hour|day|week|month|year)s?")
_HALF_HOUR = 1800  # the engine rounds hours to the nearest


class InspectionCache:
    """Redacted inspections in a file, by container id.

    Parameters
    ----------
    file : Path or None
        The file; None remembers nothing.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._entries: dict[str, Payload] = {}
        if file and file.exists():
            try:
                read = json.loads(file.read_text(encoding="utf-8"))
                self._entries = {k: v for k, v in read.items() if dig(v, "inspected", "Env")}
            except (ValueError, OSError, AttributeError):
                self._entries = {}  # half-written: everything is inspected again

    def unchanged(self, listed: list[Payload], now: datetime) -> dict[str, Payload]:
        """Give the inspections that still hold.

        Parameters
        ----------
        listed : list of dict
            Entries of the list of containers.
        now : datetime
            Clock of the engine when they were listed.

        Returns
        -------
        dict of str to dict
            By short id.
        """
        found = {}
        for container in listed:
            entry = self._entries.get(short(container.get("Id")), {})
            at = moment(entry.get("at"))
            if at and _same(container, entry["inspected"], now - at):
                found[short(container.get("Id"))] = entry["inspected"]
        return found

    def store(self, inspected: dict[str, Payload], fresh: set[str], now: datetime) -> None:
        """Write the inspections of this run.

        Parameters
        ----------
        inspected : dict of str to dict
            All that hold, by short id.
        fresh : set of str
            Those that were made in this run.
        now : datetime
            Clock of the engine before they were made.
        """
        if self._file is None:
            return
        entries = {
            i: {"at": now.isoformat() if i in fresh else self._entries[i]["at"], "inspected": kept}
            for i, kept in sorted(inspected.items())
        }
        self._file.parent.mkdir(parents=True, exist_ok=True)
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps(entries), encoding="utf-8")
        part.replace(self._file)


def _same(listing: Payload, inspected: Payload, age: timedelta) -> bool:
    """Say whether a container is still in the state in which it was inspected, and has not left it.

    The list says since when in words, such as ``Up 3 hours (healthy)``.
    """
    state, words = dig(inspected, "State", "Status"), str(listing.get("Status") or "")
    if state != listing.get("State") or state == "restarting":
        return False
    if state == "created":
        return True
    health = inspected.get("health")
    if (health in ("healthy", "unhealthy") or "health" in words) and f"({health})" not in words:
        return False
    return spent(words) >= age.total_seconds()


def spent(words: str) -> float:
    """Read how long a state has lasted at least.

    Parameters
    ----------
    words : str
        Such as ``Up 3 hours`` or ``Exited (0) 2 days ago``.

    Returns
    -------
    float
        Lower bound. [s]
    """
    found = _SPAN.search(words)
    if not found:
        return 0.0
    seconds = int(found[1] or 1) * _UNITS[found[2]]
    return float(seconds - _HALF_HOUR if seconds >= _UNITS["hour"] else seconds)


def clock(system_time: object) -> datetime:
    """Give the clock of the engine.

    Parameters
    ----------
    system_time : object
        As ``/info`` writes it.

    Returns
    -------
    datetime
        Ours, where it does not tell.
    """
    return moment(system_time) or datetime.now(UTC)
