"""Observed use of CPU and memory: from what engines, metrics-server and Prometheus print."""

from pathlib import Path

from assess.sources.base import Asked, Call, Source
from assess.sources.dumps import (
    JSON_SUFFIXES,
    broken,
    decode_values,
    each_dump,
    read_text,
)
from assess.sources.usage.forms import Sample, is_top, of_documents, of_top

_SUFFIXES = (*JSON_SUFFIXES, ".txt")
_NOTHING = (
    "no use of CPU or memory is in it; `assess sources usage` names the commands, and the file "
    "of a Prometheus answer says what was asked: memory-7d.json, cpu-p95-7d.json"
)


class UsageSource(Source):
    """Reads samples of containers that other sources list."""

    type = "usage"

    def fill(self, asked: Asked) -> None:
        """Read the samples of all files; joining finds whose they are."""
        for file, call in each_dump(asked, _SUFFIXES):
            with call:
                asked.batch.usage += read_samples(file, call)


def read_samples(file: Path, call: Call) -> list[Sample]:
    """Read the samples in a file, and cover them."""
    text = read_text(file, call.row)
    if text is None:
        return []
    at = file.stat().st_mtime
    if is_top(text):
        found, unread_n = of_top(text, at)
    else:
        values, rest = decode_values(text)
        if rest:
            call.note(**broken(rest, is_some=bool(values)))
        found, unread_n = of_documents(values, file.stem, at)
    call.take(found)
    if unread_n:
        call.count(unmapped_n=unread_n)
        call.row.setdefault("hint", _NOTHING)
    return found
