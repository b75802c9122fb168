"""Logs of state changes, one row a change: each incident becomes one record.

The first row opens it. The last known cell of every other column counts, so the severity is the
final one. An incident that was opened again is open until it is resolved again.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import takewhile

from assess.sources.csv_records import Cells, lookup
from assess.sources.incidents.reader import HEADERS, first, is_missing
from assess.sources.values import whole

Moment = Callable[[str, str], datetime | None]  # of a header and its cell
_START = datetime.min.replace(tzinfo=UTC)
_CHANGES = ("changed_at", "change_n", "state")  # what differs between the rows of a log


def fold(records: list[Cells], moment: Moment) -> list[Cells]:
    """Return one record for each incident of a log; other records as they are."""
    groups: dict[str, list[Cells]] = {}
    for number, cells in enumerate(records):
        key = first(cells, "incident_id")[0] or f"row {number}"
        groups.setdefault(key, []).append(cells)
    folded = []
    for group in groups.values():
        folded += [_folded(group, moment)] if _is_log(group) else group
    return folded


def _is_log(group: list[Cells]) -> bool:
    """Return whether rows of one incident are state changes, not the affected services."""
    headers = [header for column in _CHANGES for header in HEADERS[column]]
    return any(len({cells.get(header) for cells in group}) > 1 for header in headers)


def _folded(group: list[Cells], moment: Moment) -> Cells:
    changes = sorted(group, key=lambda cells: _order(cells, moment))
    record: Cells = {}
    for cells in changes:
        record |= {name: text for name, text in cells.items() if not is_missing(text)}
    for cells in reversed(changes):
        record |= {
            name: cells[name]
            for name in HEADERS["opened_at"]
            if not is_missing(cells.get(name, ""))
        }
    if not first(record, "opened_at")[0]:
        record["opened_at"] = _changed(changes[0], moment)
    return record | _end(record, changes, moment)


def _end(record: Cells, changes: list[Cells], moment: Moment) -> Cells:
    """Return the cells of the end that follow from the states."""
    last = changes[-1]
    if _phase(last) == "open" and not first(last, "resolved_at")[0]:
        return dict.fromkeys(HEADERS["resolved_at"], "")
    if _phase(last) != "over" or first(record, "resolved_at")[0]:
        return {}
    over = list(takewhile(lambda cells: _phase(cells) == "over", reversed(changes)))
    return {"resolved_at": _changed(over[-1], moment), "resolved_basis": "state"}


def _order(cells: Cells, moment: Moment) -> tuple[datetime, int]:
    """Return the place of a change among the others: by its time, then by its number."""
    text, header = first(cells, "changed_at")
    number = whole(first(cells, "change_n")[0])
    return moment(header, text) or _START, number or 0


def _changed(cells: Cells, moment: Moment) -> str:
    """Return the time of a change in ISO-8601; empty where it is unknown."""
    text, header = first(cells, "changed_at")
    when = moment(header, text)
    return "" if when is None else when.isoformat()


def _phase(cells: Cells) -> str:
    word = first(cells, "state")[0].strip().lower()
    return lookup("incidents/states", "word", "phase").get(word, "")
