"""Dumps of other engines: the base of their sources.

What a command prints is turned into the form of Docker's API, so that its rows are made in one
place. A directory is a host, and has a file for each command.
"""

import re
from collections.abc import Iterable, Sized
from pathlib import Path, PurePath
from typing import Any

from assess.sources.base import Asked, Batch, Call, Row, Source
from assess.sources.docker.payload import EngineData
from assess.sources.docker.rows import to_batch
from assess.sources.dumps import JSON_SUFFIXES, each_dump, read_documents
from assess.sources.usage import read_samples
from assess.sources.values import Texts, Words

# the name of the call, its file, and the row that covers it
Dump = tuple[str, Path, Call]
FEWER = "it has fewer entries than the engine; dump it again"
USAGE = "stats"  # on request: it is no gap where there is none
UNNAMED = "not there, or not named after its command, such as ps.json or inspect-1.json"


class EngineDumps(Source):
    """Base of the sources that read dumps of engines."""

    suffixes: Words = JSON_SUFFIXES
    commands: Texts  # that write a dump of each call, in the order of reading

    def fill(self, asked: Asked) -> None:
        """Read the dumps of all hosts."""
        batch = asked.batch
        hosts: dict[PurePath, list[Dump]] = {}
        for file, call in each_dump(asked, self.suffixes):
            dump = (self.call_of(file), file, call)
            hosts.setdefault(self.home_of(file), []).append(dump)
        for directory, dumps in hosts.items():
            scope = str(self.home_of(Path(dumps[0][2].row["scope"])))
            for _, file, call in dumps:
                call.note(scope=scope, call=file.stem)
            data = self._read(dumps)
            host_id = id_of_host(asked, hosts, data, directory)
            batch.merge(self.rows(data, host_id, dumps).at(scope))
            for name, file, call in dumps:
                if name == USAGE:
                    with call:
                        batch.usage += read_samples(file, call)
            present = {name for name, _, _ in dumps}
            is_host = not present.isdisjoint(self.commands)
            for name, command in self.commands.items() if is_host else ():
                if name not in present:
                    hint = f"no dump of it: {command}"
                    batch.cover(scope, name, "not_configured", hint=hint)

    def home_of(self, file: PurePath) -> PurePath:
        """Return the directory of the host that a file is about."""
        return file.parent

    def call_of(self, file: Path) -> str:
        """Return the call whose answer a file holds, by its name; empty for another file."""
        stem = file.stem.lower()
        for name in (*self.commands, USAGE):
            if re.fullmatch(rf"((crictl|nerdctl|podman)[-_])?{name}([-_.].*)?", stem):
                return name
        return ""

    def _read(self, dumps: list[Dump]) -> EngineData:
        """Read the answers of one host, each as Docker's API would give it."""
        data = EngineData()
        for wanted in self.commands:
            calls = [(file, call) for name, file, call in dumps if name == wanted]
            for file, call in calls:
                with call:
                    values = self.convert(wanted, self.read(file, call.row), data)
                    _take(data, wanted, values, call, is_alone=len(calls) == 1)
                    self.settle(wanted, values, data)
                if call.outcome == "partial" and "hint" not in call.row:
                    call.hint(f"{FEWER}: {self.commands[wanted]}")
        for name, _, call in dumps:
            if not name:
                call.status("unsupported", UNNAMED)
        return data

    def rows(self, data: EngineData, host_id: str, _dumps: list[Dump]) -> Batch:
        """Return the rows of one host; none where nothing could be read."""
        is_host = data.version or data.info or data.inspected
        if not is_host and not data.containers:
            return Batch()
        batch = to_batch(data, host_id)
        for engine in batch.rows["engines"]:
            engine["runtime"] = self.runtime(data)
        return batch

    def read(self, file: Path, row: Row) -> list[Any]:
        """Read the documents of a file, and those of a list in it."""
        documents = read_documents(file, row)
        return [v for d in documents for v in (d if isinstance(d, list) else [d])]

    def runtime(self, data: EngineData) -> str:
        """Return the runtime of a host, in the words of the engines frame."""
        raise NotImplementedError

    def convert(self, name: str, values: list[Any], data: EngineData) -> list[Any]:
        """Return the answer to a call in the form of Docker's API."""
        raise NotImplementedError

    def settle(self, name: str, values: Iterable[Any], data: EngineData) -> None:
        """Set to unknown what Docker's form states and this engine does not report."""


def id_of_host(asked: Asked, hosts: Sized, data: EngineData, directory: PurePath) -> str:
    """Return the id of a host: as its table has it, else its engine, else the directory."""
    named = asked.options.get("host_id") if len(hosts) == 1 else None
    return str(named or data.info.get("Name") or Path(directory).resolve().name)


def _take(
    data: EngineData, name: str, values: list[Any], call: Call, *, is_alone: bool
) -> None:
    """Keep an answer beside what other files have of it."""
    kept = "containers" if name == "ps" else name
    before = dict(data.inspected)
    listed = getattr(data, kept, None)
    expected = None
    if name == "inspect" and is_alone and data.containers is not None:
        expected = len(data.containers)
    data.take(kept, values, call, expected)
    data.inspected = before | data.inspected
    if isinstance(listed, list):
        setattr(data, kept, [*listed, *getattr(data, kept)])
