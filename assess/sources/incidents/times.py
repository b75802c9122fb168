"""Times as tools and people write them: ISO-8601, seconds, serials of Excel, local dates.

``03/04/26`` has two readings. The order of its parts comes from an option, or from the other cells
of its column; it is never guessed.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta, tzinfo

from assess.linear import Linear
from assess.sources.csv_records import lookup
from assess.sources.values import Words, only

_YEARS = (1990, 2100)  # a date outside is a placeholder or a typing error
# day 0 of the date system that Excel uses by default
_EXCEL_ZERO = datetime(1899, 12, 30)
_EXCEL_DAYS = (20_000, 80_000)  # 1954 to 2119
_FIRST_YEAR = 1970  # that two digits can mean
_NUMBERS = Linear(r"(\d{1,4})([/.-])(\d{1,2})([/.-])(\d{1,4})\b\.?(.*)")
_DAY_FIRST = Linear(
    r"(\d{1,2})\.?[\s/-]*([^\s\d/.,-]{3,12})\.?[\s/,-]*(\d{4}|\d{2})\b(.*)"
)
_MONTH_FIRST = Linear(
    r"([^\s\d/.,-]{3,12})\.?\s+(\d{1,2})(?:st|nd|rd|th)?,?\s+(\d{4})\b(.*)"
)
_CLOCK = Linear(
    r"[T,\s]*(\d{1,2})[:.](\d{2})(?:[:.](\d{2})(?:[.,]\d{1,9})?)?"
    r"(?:\s*([AaPp])\.?[Mm]\.?)?\s*(Z|[+-]\d{2}:?\d{2})?"
)
_WEEKDAY = Linear(r"^\s*[^\s\d/.,-]{2,10}\.?,\s*")


def read_time(text: str, zone: tzinfo | None = None) -> datetime | None:
    """Parse a time; None for an ambiguous one, and for one in an impossible year."""
    when = parse_time(text, zone)
    return when if when and is_plausible(when) else None


def is_plausible(when: datetime) -> bool:
    """Return whether something that was recorded can have happened in that year."""
    return _YEARS[0] <= when.year <= _YEARS[1]


def parse_time(
    text: str, zone: tzinfo | None = None, order: str | None = None
) -> datetime | None:
    """Parse a time of any year; None for an ambiguous one."""
    # A time without an offset is in the zone, or in UTC without a zone. A month in
    # letters, such as ``23/Nov/26 9:04 PM``, needs a zone.
    text = re.sub(r"(?<!\s)\s*(?:UTC|GMT)$", "Z", text.strip())
    try:
        when = _of_number(text) or _of_iso(text) or _of_numbers(text, order)
        if not when:
            when = _of_words(text)
            if not when or not (zone or when.tzinfo):
                return None
        if not when.tzinfo:
            when = when.replace(tzinfo=zone or UTC)
        return when.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def order_of(texts: Iterable[str]) -> str | None:
    """Return the order of day and month that a column proves; None if it proves none."""
    # A part above 12 is a day. Where cells contradict each other nothing is certain.
    shown: set[str] = set()
    for text in texts:
        readings = _readings(text)
        if len(readings) == 1:
            shown |= readings.keys()
    return only(shown)


def is_ambiguous(text: str) -> bool:
    """Return whether a date has several readings."""
    return len(set(_readings(text).values())) > 1


def _readings(text: str) -> dict[str, datetime]:
    """Return what a date of numbers may mean, by order; empty where the year comes first."""
    match = _NUMBERS.fullmatch(text.strip())
    if not match or match[2] != match[4] or len(match[1]) > 2:
        return {}
    dates = {order: _date(match.group(1, 3, 5), order) for order in ("dmy", "mdy")}
    return {order: date for order, date in dates.items() if date is not None}


def _of_number(text: str) -> datetime | None:
    """Read seconds or milliseconds since 1970, or a serial of Excel."""
    if re.fullmatch(r"\d{9,10}(\.\d+)?", text):
        return datetime.fromtimestamp(float(text), UTC)
    if re.fullmatch(r"\d{12,13}", text):
        return datetime.fromtimestamp(float(text) / 1000, UTC)
    if re.fullmatch(r"\d{5}(\.\d+)?", text):
        days = float(text)
        if _EXCEL_DAYS[0] <= days <= _EXCEL_DAYS[1]:
            return _EXCEL_ZERO + timedelta(seconds=round(days * 86400))
    return None


def _of_iso(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(re.sub(r"(?<!\s)\s+(?=[+-]\d\d:?\d\d$)", "", text))
    except ValueError:
        return None


def _of_numbers(text: str, order: str | None) -> datetime | None:
    """Read a date of numbers in an order; without one, only where all readings agree."""
    match = _NUMBERS.fullmatch(text)
    if not match or match[2] != match[4]:
        return None
    orders = [order] if order else ["dmy", "mdy"]
    if len(match[1]) > 2:
        orders = ["ymd"]
    dates = {_date(match.group(1, 3, 5), one) for one in orders} - {None}
    return _at(only(dates), match[6])


def _of_words(text: str) -> datetime | None:
    text = _WEEKDAY.sub("", text)
    if match := _DAY_FIRST.fullmatch(text):
        day, word, year, rest = match.groups()
    elif match := _MONTH_FIRST.fullmatch(text):
        word, day, year, rest = match.groups()
    else:
        return None
    month = lookup("incidents/months", "word", "month").get(word.casefold())
    if not month:
        return None
    date = _date((day, month, year), "dmy")
    return _at(date, rest)


def _date(parts: Words, order: str) -> datetime | None:
    """Return the date of three numbers in an order; None where there is no such day."""
    by_part = dict(zip(order, parts, strict=True))
    digits = len(by_part["y"])
    if digits not in (2, 4):
        return None
    year, month, day = (int(by_part[part]) for part in "ymd")
    if digits == 2:
        year += 1900
        if year < _FIRST_YEAR:
            year += 100
    try:
        return datetime(year, month, day)
    except ValueError:
        return None


def _at(date: datetime | None, rest: str) -> datetime | None:
    """Return a date at the time of day that follows it."""
    if not date or not rest.strip():
        return date
    match = _CLOCK.fullmatch(rest.rstrip())
    if not match:
        return None
    hour = int(match[1])
    if match[4]:
        if not 1 <= hour <= 12:
            return None
        hour %= 12
        if match[4] in "Pp":
            hour += 12
    minute = int(match[2])
    second = int(match[3] or 0)
    zone = datetime.strptime(match[5], "%z").tzinfo if match[5] else None
    clock = time(hour, minute, second, tzinfo=zone)
    return datetime.combine(date, clock)
