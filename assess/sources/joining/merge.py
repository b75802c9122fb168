"""From batches to frames: names become services, and the rows of one key become one row."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

import pandas as pd

from assess import frames, reference
from assess.frames import EXTERNAL
from assess.sources import csv_records
from assess.sources.base import TRACED, Batches, Lists, Name, Names, Row, Rows, type_of
from assess.sources.joining.identity import SURE, Claim, Identity, Match, Rules
from assess.sources.redact import scrub

UNASSIGNED = "__unassigned__"
BEARING = ("services", "workloads", "answers")
UNKNOWN = "unknown"
NONE = ";"  # a list that is known to be empty; an empty cell is unknown
_EXAMPLE_CHARS = 160
_COUNTS = ("expected", "rows", "ambiguous_n", "unmapped_n")
_UNSURE = "name services in the identity map, or label them assess.service"
_JOINED_BY = "{alias} and {service_id} may be one: in the identity map, {alias},{service_id} joins them"
# Columns in which two sources may differ without one of them being wrong, such as the start of
# a task and of its container.
_EXPECTED_TO_DIFFER = [row["column"] for row in csv_records.rows("joining/may_differ")]
# Scores ask for these: where sources contradict each other, their order must not decide. A
# count keeps the most that one of them saw; other cells become unknown.
_DISPUTABLE = csv_records.rows("joining/disputable")
_KEPT = {(rule["frame"], rule["column"]): rule["kept"] for rule in _DISPUTABLE}


def to_tables(batches: Batches, rules: Rules) -> tuple[dict[str, pd.DataFrame], Rows]:
    """Name the services and merge the rows of one key; where two sources differ, the first wins.

    What scores ask for is unknown where sources contradict each other.

    Returns the frames that any source filled, typed and sorted by key, and coverage rows about
    names, disagreements and cells that do not fit the data dictionary.
    """
    resolver = _Resolver(_identify(batches, rules))
    rows: Lists = defaultdict(list)
    for label, batch in batches:
        for frame, unresolved in batch.rows.items():
            resolved = (resolver.row(frame, label, row) for row in unresolved)
            rows[frame] += [row for row in resolved if row]
    tables = {}
    notes = _add_services(rows, resolver) + resolver.coverage()
    for frame, listed in rows.items():
        notes += _unknown(frame, listed)
        is_asked_for = any(frame in batch.rows for _, batch in batches)
        if frame in frames.names() and (listed or is_asked_for):
            tables[frame], more = _to_table(frame, listed)
            notes += more
    return tables, notes + _drop_dangling(tables)


def _add_services(rows: Lists, resolver: _Resolver) -> Rows:
    """Add the rows of services and aliases that follow from identity; return coverage rows."""
    services = resolver.identity.services
    # The first row of a key wins: names count after those of sources, and a snapshot, carried
    # or read, tells itself how its ids were found.
    rows["services"] += [
        {
            "service_id": service.service_id,
            "name": service.best.name,
            "identity_rule": service.best.rule,
            "identity_confidence": service.best.confidence,
        }
        for service in services
    ]
    if any(r.get("service_id") == UNASSIGNED for frame in BEARING for r in rows[frame]):
        unassigned = {"identity_rule": "unassigned", "identity_confidence": 0.0}
        rows["services"].append({"service_id": UNASSIGNED, **unassigned})
    suggested = resolver.identity.suggestions(resolver.unresolved)
    rows["service_aliases"] += resolver.identity.aliases() + suggested
    # names that are equal in two namespaces: only a person may join them
    equal = [row for row in suggested if row["confidence"] == 1]
    note: Row = {"source": "identity", "scope": "services", "call": "similar"}
    note |= {"status": "partial", "ambiguous_n": len(equal)}
    return [note | {"hint": _JOINED_BY.format(**row)} for row in equal[:1]]


def _identify(batches: Batches, rules: Rules) -> Identity:
    """Identify the services; callers, and names with spans of their own, become services too."""
    born = [
        (label, tuple(row["names"]))
        for frame in BEARING
        for label, batch in batches
        for row in batch.rows.get(frame, ())
        if row.get("names")
    ]
    identity = Identity(born, rules=rules)
    seen: dict[Claim, None] = {
        (label, (row[end],)): None
        for label, batch in batches
        for row in batch.rows.get("dependencies", ())
        for end in ("src", "dst")
        if end == "src" or getattr(row[end], "rule", "") == TRACED
    }
    unknown = [claim for claim in seen if identity.match(claim[1]) == Match()]
    return Identity([*born, *unknown], rules=rules) if unknown else identity


class _Resolver:
    """Replaces names by ids of services, and counts how certain the matches are."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.unresolved: dict[tuple[str, Name], None] = {}
        self._counts: dict[str, Counter[str]] = defaultdict(Counter)
        self._examples: dict[str, str] = {}  # the first name of no service, by frame

    def row(self, frame: str, label: str, unresolved: Row) -> Row | None:
        """Resolve one row; None for a row without information: a service that needs itself."""
        row: Row = {
            column: value.replace("\0", "") if isinstance(value, str) else value
            for column, value in unresolved.items()
        }
        row.setdefault("source", type_of(label))
        if frame == "dependencies":
            return self._edge(label, row)
        row.pop("file", None)
        names = tuple(row.pop("names", None) or ())
        if frame in BEARING:
            match = self.identity.bearer(label, names)
            row["service_id"] = match.service_id or UNASSIGNED
        elif names:
            match = self.identity.match(names)
            row["service_id"] = match.service_id
        if frame == "services" and row["service_id"] == UNASSIGNED:
            return None
        if frame in BEARING or names:
            self._count(frame, label, {names: match})
        for listed in ("affected", "observed"):
            if (others := row.pop(listed, None)) is not None:
                ids = dict.fromkeys(map(self._id_or_name, others))
                row[f"{listed}_services"] = ";".join(ids) or NONE
        if struck := row.pop("struck", None):
            row["element"] = self._id_or_name(struck)
        return row

    def _id_or_name(self, name: Name) -> str:
        return self.identity.match((name,)).service_id or name.name

    def _edge(self, label: str, row: Row) -> Row | None:
        src = row.pop("src")
        dst = row.pop("dst")
        names = [src] if isinstance(dst, str) else [src, dst]
        ends: dict[Names, Match] = {
            (name,): self.identity.match((name,)) for name in names
        }
        self._count("dependencies", label, ends)
        caller = ends[src,].service_id
        row["src_id"] = caller or UNASSIGNED
        if isinstance(dst, str):
            return row | {"dst_id": dst}
        callee = ends[dst,].service_id
        if caller and caller == callee:
            return None
        row["dst_id"] = callee or f"{EXTERNAL}{dst.name}"
        is_unresolved = not caller or not callee or row.get("unresolved", False)
        return row | {"unresolved": is_unresolved}

    def _count(self, frame: str, label: str, matches: dict[Names, Match]) -> None:
        self._counts[frame] += Counter(
            expected=1,
            # an edge is certain only if both its ends are
            rows=all(match.confidence >= SURE for match in matches.values()),
            ambiguous_n=any(match.ambiguous for match in matches.values()),
            unmapped_n=any(match.service_id is None for match in matches.values()),
        )
        for names, match in matches.items():
            if match.service_id is None and names:
                self.unresolved[label, names[-1]] = None  # the first may be a tool's id
                self._examples.setdefault(frame, scrub(names[-1].name)[:_EXAMPLE_CHARS])

    def coverage(self) -> Rows:
        """Return coverage rows with the share of rows whose service is certain."""
        rows = []
        for frame in ("workloads", "dependencies", "incidents", "waivers"):
            if counts := self._counts.get(frame):
                row: Row = {name: counts[name] for name in _COUNTS}
                row |= {"source": "identity", "scope": frame, "call": "resolve"}
                row |= {"status": "ok", "ratio": row["rows"] / row["expected"]}
                if row["ratio"] < 1:
                    row |= {"status": "partial", "hint": _UNSURE}
                if example := self._examples.get(frame):
                    row["unmapped_example"] = example
                    row["hint"] = f"{_UNSURE}; of no service: {example}"
                rows.append(row)
        return rows


def _unknown(frame: str, rows: Rows) -> Rows:
    # Sources of other packages misspell them; without a row, the values would vanish in
    # silence.
    if frame in frames.names():
        known = frames.columns(frame).keys()
        counts = Counter((r["source"], name) for r in rows for name in r.keys() - known)
    else:
        counts = Counter((row["source"], "") for row in rows)
    notes = []
    for (source, name), n in sorted(counts.items()):
        problem = frames.unknown_columns(frame, [name]).iloc[0]
        hint = f"{name or frame} is not {problem['rule']}"[:_EXAMPLE_CHARS]
        if problem["hint"]:
            hint += f"; {problem['hint']}"
        note = {"source": source, "scope": frame, "call": f"check:{name or 'frame'}"}
        notes.append({**note, "status": "partial", "unmapped_n": n, "hint": hint})
    return notes


def _to_table(frame: str, rows: Rows) -> tuple[pd.DataFrame, Rows]:
    columns = frames.columns(frame)
    raw = pd.DataFrame(rows, columns=list(columns), dtype=object)
    table, problems = frames.conform(frame, raw)
    notes = _notes(frame, table, problems)
    required = [name for name, column in columns.items() if column.is_required]
    missing = pd.DataFrame({name: frames.is_absent(table[name]) for name in required})
    cells = missing.reset_index(names="row").melt("row", var_name="column")
    lost = cells.query("value").assign(rule="required")
    lost["row"] += 1
    notes += _notes(frame, table, lost)
    table, disagreements = _merge_keys(frame, table[~missing.any(axis=1)])
    outside = frames.check(frame, table)
    for column, bad in outside.groupby("column"):
        # rows of problems count from 1
        table.loc[bad["row"].astype(int) - 1, column] = pd.NA
    return table, [*notes, *disagreements, *_notes(frame, table, outside)]


def _merge_keys(frame: str, table: pd.DataFrame) -> tuple[pd.DataFrame, Rows]:
    """Merge rows of the same key: in each column the first known value wins."""
    key = frames.key(frame)
    doubled = table.duplicated(key, keep=False)
    notes = []
    if doubled.any():
        rows = table[doubled]
        # a source that writes "unknown" contradicts nobody
        words = [
            name
            for name, column in frames.columns(frame).items()
            if UNKNOWN in column.vocabulary and name not in key
        ]
        known = rows.assign(**rows[words].replace(UNKNOWN, pd.NA))
        groups = known.groupby(key, dropna=False)
        merged = groups.first()
        if "source" not in key:  # of an answer it is the one that has it
            merged["source"] = groups["source"].agg(_every_name).replace("", None)
        if words:
            first = rows.groupby(key, dropna=False)[words].first()
            merged[words] = merged[words].fillna(first)
        if frame == "services":
            merged.loc[groups["platform"].nunique().gt(1), "platform"] = "mixed"
        for rule in (rule for rule in _DISPUTABLE if rule["frame"] == frame):
            name = rule["column"]
            # a reference is filled into its parts again
            asked = known[rule["decided_by"] or name]
            cells = _inexact(asked).groupby([known[part] for part in key])
            most = cells.max() if rule["kept"] == "the most" else pd.NA
            merged[name] = merged[name].mask(cells.nunique().gt(1), most)
        notes = _disagreements(frame, known, key)
        merged = merged.reset_index()[table.columns].astype(table.dtypes)
        table = pd.concat([table[~doubled], merged], ignore_index=True)
    return table.sort_values(key, kind="stable", ignore_index=True), notes


def _inexact(cells: pd.Series) -> pd.Series:
    """Return cells as far as they count: 8 and 8.6 are one system, 1.7.2~ds1 is version 1.7.2."""
    if cells.name == "arch":
        return cells.map(lambda a: reference.arch_of(a) or a, na_action="ignore")
    if not str(cells.name).endswith("version"):
        return cells
    numbers = cells.astype(object).map(reference.parse_version)
    return numbers.str[:1] if cells.name == "os_version" else numbers


def _every_name(cells: pd.Series) -> str:
    """Join the names of sources, each once: a carried row names several."""
    names = ";".join(cells.dropna()).split(";")
    return ";".join(dict.fromkeys(names))


def _disagreements(frame: str, doubled: pd.DataFrame, key: list[str]) -> Rows:
    """Return coverage rows for columns in which two sources disagree."""
    notes = []
    keys = frames.key_texts(doubled[key])
    for column in doubled.columns.difference([*key, *_EXPECTED_TO_DIFFER], sort=False):
        values = _inexact(doubled[column]).dropna().astype(object)
        values_n = values.groupby(keys).nunique()
        differ = values_n[values_n > 1]
        if differ.empty:
            continue
        rows = doubled.loc[values.index[keys[values.index] == differ.index[0]]]
        pairs = zip(rows["source"], rows[column], strict=True)
        says = dict.fromkeys(f"{source} says {value}" for source, value in pairs)
        example = f"{differ.index[0]}: {', '.join(says)}"[:_EXAMPLE_CHARS]
        kept = _KEPT.get((frame, column), "the first")
        notes.append(
            {
                "source": "merge",
                "scope": frame,
                "call": column,
                "status": "partial",
                "rows": len(differ),
                "ratio": 1 - len(differ) / keys.nunique(),
                "hint": f"sources disagree and {kept} was kept; {example}",
            }
        )
    return notes


def _drop_dangling(tables: dict[str, pd.DataFrame]) -> Rows:
    """Remove dangling references: the cell, or the whole row if the cell is required."""
    notes = []
    problems = frames.check_references(tables)
    for (frame, column), bad in problems.groupby(["table", "column"], sort=False):
        notes += _notes(frame, tables[frame], bad)
        dangling = bad["row"].astype(int) - 1
        if frames.columns(frame)[column].is_required:
            tables[frame] = tables[frame].drop(index=dangling)
        else:
            tables[frame].loc[dangling, column] = pd.NA
    for frame in problems["table"].unique():
        tables[frame] = tables[frame].reset_index(drop=True)
    return notes


def _notes(frame: str, table: pd.DataFrame, problems: pd.DataFrame) -> Rows:
    """Return coverage rows for cells that do not fit the data dictionary and become NA."""
    positions = problems["row"].astype(int) - 1  # rows of problems count from 1
    sources = table["source"].reindex(positions).fillna("")
    problems = problems.assign(source=sources.to_numpy())
    return [
        {
            "source": source,
            "scope": frame,
            "call": f"check:{column}",
            "status": "partial",
            "unmapped_n": len(bad),
            "ratio": 1 - bad["row"].nunique() / len(table),
            "hint": f"{len(bad)} left out; rule: {bad['rule'].iloc[0]}"[:_EXAMPLE_CHARS],
        }
        for (column, source), bad in problems.groupby(["column", "source"])
    ]


def coverage_table(rows: Iterable[Row], run_id: str) -> pd.DataFrame:
    """Make the coverage frame; calls of one scope and name are numbered, a ``run_id`` is kept."""
    raw = pd.DataFrame([{"run_id": run_id, **row} for row in rows])
    raw = raw.reindex(columns=list(frames.columns("coverage"))).astype(object)
    key = frames.key("coverage")
    numbers = raw.groupby(key, dropna=False).cumcount() + 1
    suffixes = ("#" + numbers.astype(str)).where(numbers > 1, "")
    raw["call"] += suffixes
    table, _ = frames.conform("coverage", raw)
    return table.sort_values(key, kind="stable", ignore_index=True)
