"""VPC flow logs, summed while they are streamed: a log has millions of lines a day."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from assess.execution import tell
from assess.sources.base import Call
from assess.sources.connections.fleet import is_noise, is_public
from assess.sources.connections.observed import (
    FLOW,
    MAX_TALKS,
    Ranks,
    Sighting,
    Talk,
    View,
    Views,
)
from assess.sources.connections.sockets import ANY, MAX_PORT, plain
from assess.sources.csv_records import vocabulary
from assess.sources.deadline import Deadline
from assess.sources.dumps import DumpError
from assess.sources.values import Texts

BLOCK = 4 << 20  # bytes that are in memory at a time
_HEAD = 4096
_PACKED = (".gz", ".parquet")
_LAST = 1 << 32  # seconds since 1970: the year 2106
_HOURS = 1 << 24  # hours since 1970 are fewer
_NO_KEYS = np.empty(0, np.int64)
_UNSEEN = -1
_NOT_ONE = -2
_NONE, _OUTSIDE, _OURS = range(3)  # whose an address is
_PARTS = 16  # tables by caller, so that one of them is added up at a time
# Adding up waits until there are as many new rows as were left, or so many, of 32 bytes each.
_MORE = 4_000_000
# version 2, which has no header where CloudWatch exports it
_DEFAULT = tuple(vocabulary("connections", "flow log version 2"))
_NEEDED = ("srcaddr", "dstaddr", "srcport", "dstport")
_USED = (*_NEEDED, *vocabulary("connections", "flow log fields"))
_PROTOCOLS = {6: "tcp", 17: "udp"}
_SYN = 2
_SYN_ACK = 18
_TALK = ["client", "server", "port", "protocol"]
_KEYS = [*_TALK, "interface"]
_SUMS = [("calls", "sum"), ("start", "min"), ("end", "max")]
# Each interface counts a talk that it sees; the most that one of them saw is the number of calls.
# As narrow as can be: a log of a day has some millions of them.
_FLOW = pa.schema(
    dict.fromkeys(_KEYS, pa.int32()) | dict.fromkeys(dict(_SUMS), pa.uint32())
)
_OF_TALK = [("calls", "max"), ("start", "min"), ("end", "max"), ("window_hours", "max")]


def is_flow_log(file: Path) -> bool:
    """Return whether a file is a flow log, by its first line or its schema."""
    try:
        names = columns_of(file) if file.is_file() else []  # reading a pipe never ends
    except (OSError, ValueError):
        return file.suffix in _PACKED
    return "srcaddr" in names or "pkt_srcaddr" in names or file.suffix in _PACKED


def columns_of(file: Path) -> list[str]:
    """Return the columns of a flow log."""
    if file.suffix == ".parquet":
        names = pq.read_schema(file).names
    else:
        names = _first_line(file).replace('"', "").replace(",", " ").split()
        if len(names) == len(_DEFAULT) and names[0] == "2":
            return list(_DEFAULT)
    return [name.replace("-", "_").lower() for name in names]


def _first_line(file: Path) -> str:
    with _opened(file)[1] as stream:
        first = stream.read(_HEAD).partition(b"\n")[0]
    return str(first, "ascii", errors="replace")


def _opened(file: Path) -> tuple[Any, Any]:
    """Open a file, and the text in it, which may be packed."""
    raw = pa.OSFile(str(file))
    is_packed = file.suffix == ".gz"
    return raw, pa.CompressedInputStream(raw, "gzip") if is_packed else raw


def _blocks(file: Path, names: list[str], call: Call) -> Iterator[pa.Table]:
    """Yield the used columns block by block, and report progress."""
    size = file.stat().st_size
    used = [name for name in _USED if name in names]
    if file.suffix == ".parquet":
        parquet = pq.ParquetFile(file)
        written = dict(zip(names, parquet.schema_arrow.names, strict=True))
        for number in range(parquet.num_row_groups):
            group = parquet.read_row_group(number, [written[name] for name in used])
            yield group.rename_columns(used)
            tell(f"parts of {file.name}", number + 1, parquet.num_row_groups)
        return

    def skip(_: Any) -> str:
        call.count(unmapped_n=1)
        return "skip"

    raw, stream = _opened(file)
    with raw, stream:
        head = _first_line(file)
        has_header = not head.startswith("2 ")
        form = pacsv.ParseOptions(
            delimiter="," if "," in head else " ",  # Athena writes CSV
            quote_char='"' if '"' in head else False,
            invalid_row_handler=skip,
        )
        reader = pacsv.open_csv(
            stream,
            pacsv.ReadOptions(
                block_size=BLOCK, column_names=names, skip_rows=int(has_header)
            ),
            form,
            pacsv.ConvertOptions(
                include_columns=used,
                column_types=dict.fromkeys(used, pa.string()),
                null_values=["-", ""],
                strings_can_be_null=True,
            ),
        )
        for batch in reader:
            yield pa.Table.from_batches([batch])
            tell(f"MiB of {file.name}", raw.tell() >> 20, size >> 20)


class Flows:
    """The flows of all logs by caller, callee, port and interface."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._ids: dict[str, int] = {}  # of addresses and interfaces
        self._numbers: dict[str, int] = {}  # the same, by how a log writes them
        self._kinds: list[int] = []  # of the names: no service, of the internet, or ours
        self._parts = [[_FLOW.empty_table()] for _ in range(_PARTS)]
        self._own = dict.fromkeys(("client", "server"), _NO_KEYS)
        self._rows_n = 0
        self._limit = MAX_TALKS  # rows at which they are added up
        self._gaps: set[str] = set()  # interfaces with flows that a log left out
        self._hours: list[np.ndarray] = []  # of an interface, in one number

    def read(self, file: Path, deadline: Deadline, call: Call) -> None:
        """Add a file."""
        names = columns_of(file)
        missing = [name for name in _NEEDED if name not in names]
        if missing:
            raise DumpError(
                f"this format of flow logs has no {missing[0]}: add the field"
            )
        for block in _blocks(file, names, call):
            self._note_hours(block)
            self._add(self._folded(_accepted(block)))
            if self._rows_n > self._limit:
                self._compact()
                more = min(self._rows_n, _MORE)
                self._limit = max(MAX_TALKS, self._rows_n + more)
            call.count(rows=len(block))
            deadline.check()

    def _add(self, flows: pa.Table) -> None:
        share = flows["client"].to_numpy() % _PARTS
        for number, part in enumerate(self._parts):
            part.append(flows.filter(pa.array(share == number)))
        self._rows_n += len(flows)
        self._note_own(flows)

    def _compact(self) -> None:
        for part in self._parts:
            if len(part) > 1:
                flows = pa.concat_tables(part)
                part[:] = [summed(flows, _KEYS, _SUMS).cast(_FLOW)]
        self._rows_n = sum(len(table) for (table,) in self._parts)
        pa.default_memory_pool().release_unused()

    def _note_own(self, flows: pa.Table) -> None:
        """Keep by interface the ends of its first flow that occur in all its flows."""
        interface = flows["interface"].to_numpy()
        ends = [flows[end].to_numpy() for end in self._own]
        seen, first = np.unique(interface, return_index=True)
        for end, kept in self._own.items():
            more = len(self._ids) - len(kept)
            self._own[end] = np.append(kept, np.full(more, _UNSEEN))
        is_new = self._own["client"][seen] == _UNSEEN
        for end, kept in self._own.items():
            kept[seen[is_new]] = flows[end].to_numpy()[first[is_new]]
            is_other = np.all([kept[interface] != at for at in ends], axis=0)
            kept[interface[is_other]] = _NOT_ONE

    def _note_hours(self, block: pa.Table) -> None:
        """Note the hours in which each interface was logged; also those without a flow."""
        interface = self._codes(_column(block, "interface_id"))
        status = _column(block, "log_status")
        is_gap = pc.fill_null(pc.equal(status, "SKIPDATA"), False)
        hour = pc.fill_null(_times(block, "start"), 0).to_numpy() // 3600
        names = self.names
        gaps = interface[is_gap.to_numpy()]
        self._gaps |= {names[code] for code in np.unique(gaps)}
        keys = interface[hour > 0] * _HOURS + hour[hour > 0]
        self._hours.append(np.unique(keys))
        if sum(map(len, self._hours)) > MAX_TALKS:
            self._hours = [np.unique(np.concatenate(self._hours))]

    def _folded(self, block: pa.Table) -> pa.Table:
        """Decide for each flow which end is the callee's, and fold the port of the other."""
        source = self._codes(_first(block, "pkt_srcaddr", "srcaddr"))
        target = self._codes(_first(block, "pkt_dstaddr", "dstaddr"))
        source_port = _array(block, "srcport")
        target_port = _array(block, "dstport")
        rank = self._ranks.of_flows(source_port, target_port)
        flags = _array(block, "tcp_flags") & _SYN_ACK
        is_forward = rank[target_port] <= rank[source_port]
        is_forward = (is_forward | (flags == _SYN)) & (flags != _SYN_ACK)
        client = np.where(is_forward, source, target)
        server = np.where(is_forward, target, source)
        start = _times(block, "start")
        table = pa.table(
            {
                "client": client,
                "server": server,
                "port": np.where(is_forward, target_port, source_port),
                "protocol": _array(block, "protocol", 6),
                "interface": self._codes(_column(block, "interface_id")),
                "calls": is_forward.astype(np.int64),
                "start": start,
                "end": pc.max_element_wise(_times(block, "end"), start),
            }
        )
        kinds = np.array(self._kinds, np.int8)
        is_between = (kinds[client] == _OURS) & (kinds[server] >= _OUTSIDE)
        return summed(table.filter(pa.array(is_between)), _KEYS, _SUMS).cast(_FLOW)

    def _codes(self, column: pa.ChunkedArray) -> np.ndarray:
        encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
        ids = [self._code(word or "") for word in encoded.dictionary.to_pylist()]
        places = encoded.indices.to_numpy(zero_copy_only=False)
        return np.array(ids, np.int64)[places]

    def _code(self, word: str) -> int:
        """Return the number of a text; two spellings of an address get the same number."""
        if word not in self._numbers:
            name = plain(word) or word
            code = self._ids.setdefault(name, len(self._ids))
            if code == len(self._kinds):
                self._kinds.append(_kind_of(name))
            self._numbers[word] = code
        return self._numbers[word]

    def shared(self, seen: Iterable[Talk]) -> Iterator[tuple[Talk, Views]]:
        """List the talks that sockets show too, as each interface saw them."""
        names = self.names
        for row in chain.from_iterable(
            table.to_pylist() for table in self._joined(seen, "left semi")
        ):
            ends = (names[row["client"]], names[row["server"]])
            talk = Talk(*ends, row["port"], _PROTOCOLS[row["protocol"]])
            view = View(FLOW, names[row["interface"]])
            times = (time_of(row["start"]), time_of(row["end"]))
            yield talk, {view: Sighting(max(row["calls"], 1), *times)}

    @property
    def names(self) -> list[str]:
        """Names of addresses and interfaces by their number."""
        return list(self._ids)

    def alone(
        self, seen: Iterable[Talk], windows: Callable[[str], float]
    ) -> Iterator[pa.Table]:
        """Return the talks that no socket shows: one row each, numbers instead of names."""
        hours = np.array([windows(name) for name in self._ids], np.float32)
        for table in self._joined(seen, "left anti"):
            pa.default_memory_pool().release_unused()
            window = pa.array(hours[table["interface"].to_numpy()])
            talks = table.append_column("window_hours", window)
            talks = summed(talks, _TALK, _OF_TALK)
            calls = pc.max_element_wise(talks["calls"], 1)
            yield talks.drop(["calls"]).append_column("calls", calls)

    def _joined(self, seen: Iterable[Talk], kind: str) -> Iterator[pa.Table]:
        """Return the flows that are, or are not, of some talks."""
        self._compact()
        codes = {name: number for number, name in _PROTOCOLS.items()}
        ids = self._ids
        keys = [
            (ids.get(t.client), ids.get(t.server), t.port, codes[t.protocol])
            for t in seen
        ]
        rows = [dict(zip(_TALK, key, strict=True)) for key in keys]
        schema = pa.schema([_FLOW.field(name) for name in _TALK])
        talks = pa.Table.from_pylist(rows, schema=schema)
        for part in self._parts:
            if keys:
                yield part[0].join(talks, _TALK, join_type=kind)
            elif kind == "left anti":
                yield part[0]
            if kind == "left anti":  # handed over
                part[:] = [_FLOW.empty_table()]

    def hours(self) -> dict[str, list[datetime]]:
        """Return the hours in which an interface was logged without a gap."""
        names = self.names
        found: dict[str, list[datetime]] = defaultdict(list)
        for key in np.unique(np.concatenate(self._hours or [_NO_KEYS])).tolist():
            interface, hour = divmod(key, _HOURS)
            if names[interface] not in self._gaps:
                found[names[interface]].append(datetime.fromtimestamp(hour * 3600, UTC))
        return found

    def own(self) -> Texts:
        """Return the address of each interface: the only one that all of its flows have."""
        names = self.names
        found = {}
        for interface, ends in enumerate(zip(*self._own.values(), strict=True)):
            whole = [end for end in ends if end >= 0]
            if len(whole) == 1:
                found[names[interface]] = names[whole[0]]
        return found


def _kind_of(name: str) -> int:
    address = plain(name)
    if address in (None, ANY) or is_noise(str(address)):
        return _NONE
    return _OUTSIDE if is_public(str(address)) else _OURS


def time_of(seconds: int | None) -> datetime | None:
    """Return a moment of a flow log."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def summed(table: pa.Table, keys: list[str], sums: list[tuple[str, str]]) -> pa.Table:
    """Add up the flows of equal keys; columns keep their names."""
    # Threads would each have their own table of all keys.
    groups = table.group_by(keys, use_threads=False)
    names = [name for name, _ in sums]
    return groups.aggregate(sums).rename_columns(keys + names)


def _accepted(block: pa.Table) -> pa.Table:
    keep = pc.fill_null(pc.not_equal(_column(block, "action"), "REJECT"), True)
    for name in ("srcport", "dstport"):
        port = _numbers(block, name)
        in_range = pc.and_(pc.greater(port, 0), pc.less_equal(port, MAX_PORT))
        keep = pc.and_(keep, pc.fill_null(in_range, False))
    protocol = pc.fill_null(_numbers(block, "protocol"), 6)
    is_known = pc.is_in(protocol, pa.array(list(_PROTOCOLS)))
    return block.filter(pc.and_(keep, is_known))


def _column(block: pa.Table, name: str) -> pa.ChunkedArray:
    """Return a column as text; empty if the log lacks it."""
    if name in block.column_names:
        return block[name].cast(pa.string())
    return pa.chunked_array([pa.nulls(len(block), pa.string())])


def _first(block: pa.Table, *names: str) -> pa.ChunkedArray:
    """Return the first of some columns that has a value, line by line."""
    return pc.coalesce(*(_column(block, name) for name in names))


def _numbers(block: pa.Table, name: str) -> pa.ChunkedArray:
    """Return a column as numbers; other text becomes empty."""
    column = _column(block, name)
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid:
        is_number = pc.match_substring_regex(column, "^[0-9]{1,10}$")
        return pc.if_else(is_number, column, None).cast(pa.int64())


def _times(block: pa.Table, name: str) -> pa.ChunkedArray:
    """Return a column of times in seconds; impossible times become empty."""
    seconds = _numbers(block, name)
    is_time = pc.and_(pc.greater(seconds, 0), pc.less(seconds, _LAST))
    return pc.if_else(is_time, seconds, None)


def _array(block: pa.Table, name: str, default: int = 0) -> np.ndarray:
    column = pc.fill_null(_numbers(block, name), default)
    return column.to_numpy()
