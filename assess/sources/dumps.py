"""Dumps from people: find the files, read them within limits, decode what is intact, as JSON or YAML."""

import json
import os
import re
import time
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from assess.reading import read_limited, refuse_costly
from assess.sources.base import Asked, Call, Row, paths_of
from assess.sources.failure import HINTS, MORE_PAGES, failure
from assess.sources.values import picked

try:
    from yaml import CSafeLoader as _BaseLoader
except ImportError:  # PyYAML was built without libyaml: the same values, ten times slower
    from yaml import SafeLoader as _BaseLoader  # type: ignore[assignment]

_MERGE_TAG = "tag:yaml.org,2002:merge"
# The C loader calls itself for each level: 200,000 overflow its stack, and end the process.
MAX_DEPTH = 200
_TOO_DEEP = f"it is nested deeper than {MAX_DEPTH} levels"
MAX_NODES = 800_000  # with ends of collections; each takes up to 700 bytes
_Pair = tuple[yaml.Node, yaml.Node]
MAX_BYTES = 200 << 20  # of one file; more is refused, not half read
MAX_YAML_BYTES = 32 << 20
JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")
YAML_SUFFIXES = (".yaml", ".yml")
BESIDE = (".toml", ".md")  # our own configuration, and words about dumps
_PATIENCE = 20  # values without an end that are looked for in all of a text
_DECODER = json.JSONDecoder()
_GAP = re.compile(r"[\s,\[\]]*")
_TEMPLATE_HINT = "this is a template: render it first, as with `helm template`"
TEMPLATE = re.compile(r"\{\{-?\s*[.$\w]")  # has to be rendered first
_NUMBER = re.compile(r"(?<!\d{4}-)(?<!\d)\d{1,3}(?!\d)")  # of a page, not of a date
_DOCUMENT = re.compile(r"^---(?=\s|$)", re.MULTILINE)  # begins one, even within a text

Files = list[tuple[str, Path]]  # each with its scope


class Loader(_BaseLoader):
    """Builds plain values only; in merges, earlier mappings override later ones.

    The rule is applied here because releases of PyYAML differ: with two merge keys 6.0.3 lets
    the last one win, and 6.0.4 drops what a merged mapping overrides of its own merge.
    """

    def value_of(self, node: yaml.Node) -> Any:
        """Return the value behind a tag: a mapping, a list, or a text."""
        if isinstance(node, yaml.MappingNode):
            return self.construct_mapping(node, deep=True)
        if isinstance(node, yaml.SequenceNode):
            return self.construct_sequence(node, deep=True)
        return str(node.value)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Replace merge keys by the pairs that they insert, as yaml.org/type/merge.html says."""
        merged = []
        local = []
        for key, value in node.value:
            if key.tag == _MERGE_TAG:
                merged.extend(_merged_mappings(value, node))
            else:
                local.append((key, value))
        node.value = local  # without merge keys: a mapping that merges itself ends
        super().flatten_mapping(node)  # PyYAML renames "=", a special key, here
        if not merged:
            return
        pairs: dict[Hashable, _Pair] = {}
        # later updates win, so the first mapping has to come last
        for mapping in reversed(merged):
            self.flatten_mapping(mapping)
            pairs |= _by_key(mapping.value)
        pairs |= _by_key(local)
        node.value = list(pairs.values())


def load_documents(
    text: str, loader: type[Loader] = Loader, max_nodes: int = MAX_NODES
) -> list[Any]:
    """Return the documents that are not empty; YAMLError if there are none, ValueError if too large."""
    _refuse_bombs(text, loader, max_nodes)
    return [document for document in yaml.load_all(text, loader) if document is not None]


def _refuse_bombs(text: str, loader: type[Loader], max_nodes: int) -> None:
    depth = 0
    # Events come one at a time, so that what is refused was never built.
    for count, event in enumerate(_events(text, loader), 1):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise ValueError(_TOO_DEEP)
        if count > max_nodes:
            raise ValueError(f"it has more than {max_nodes:,} nodes, the limit: split it")


def _events(text: str, loader: type[Loader]) -> Iterator[yaml.Event]:
    try:
        yield from yaml.parse(text, loader)
    except yaml.scanner.ScannerError as error:
        if "nesting depth" in str(error):  # PyYAML 6.0.4 looks ahead, and has a limit too
            raise ValueError(_TOO_DEEP) from error
        raise


def _merged_mappings(value: yaml.Node, node: yaml.MappingNode) -> list[yaml.MappingNode]:
    """List the mappings that a merge key refers to: one, or a sequence of them."""
    mappings = []
    for mapping in value.value if isinstance(value, yaml.SequenceNode) else [value]:
        if not isinstance(mapping, yaml.MappingNode):
            raise yaml.constructor.ConstructorError(
                "while constructing a mapping",
                node.start_mark,
                "expected a mapping or a list of mappings to merge",
                mapping.start_mark,
            )
        mappings.append(mapping)
    return mappings


def _by_key(pairs: Iterable[_Pair]) -> dict[Hashable, _Pair]:
    """Index pairs by their key, so that merges of merges never hold a key twice."""
    # Without this, ten lists of ten merges each would make a small file a huge one.
    found: dict[Hashable, _Pair] = {}
    for key, value in pairs:
        is_scalar = isinstance(key, yaml.ScalarNode)
        found[(key.tag, key.value) if is_scalar else id(key)] = (key, value)
    return found


class DumpError(ValueError):
    """A file or an answer that cannot be used; the message says what to do."""


def find_files(
    asked: Asked,
    suffixes: tuple[str, ...] = JSON_SUFFIXES,
    is_wanted: Callable[[Path], bool] | None = None,
) -> Files:
    """Find the files that ``path`` names, each with its scope: the file, or all of a directory.

    Without ``suffixes`` every file counts; ``is_wanted`` decides in their place. A path that is not
    there, or a directory without such files, becomes a coverage row.
    """
    found = []
    for name in paths_of(asked.options):
        place = asked.base / name

        def wanted(file: Path, place: Path = place) -> bool:
            if is_wanted:
                return is_wanted(file)
            if not suffixes:
                return not is_hidden(file, place)
            return file.suffix.lower() in suffixes

        try:
            place.stat()  # what is not there fails here, whatever its name would stand for
            files = files_below(name, asked, wanted)
            if not is_wanted:
                cover_others(name, asked, suffixes and (*suffixes, *BESIDE))
        except OSError as error:
            asked.batch.cover(name, "read", **failure(error))
            continue
        found += [(name, place)] if files is None else files
        if files == []:
            noun = "" if is_wanted else " file"
            hint = f"it holds no {' or '.join(suffixes) or 'such'}{noun}"
            asked.batch.cover(name, "read", "unreachable", hint=hint)
    return found


def is_hidden(file: Path, place: Path) -> bool:
    """Return whether a file, or a directory on the way to it, begins with a dot."""
    return any(part.startswith(".") for part in file.relative_to(place).parts)


def cover_others(
    name: str, asked: Asked, suffixes: Collection[str] = BESIDE, known: Iterable[str] = ()
) -> None:
    """Add a coverage row about files of other endings; without ``suffixes``, about hidden files.

    Files that are ``known`` by name, such as those of our scripts, are not counted.
    """
    place = asked.base / name
    found = [
        file.relative_to(place)
        for file in sorted(place.rglob("*"))
        if is_hidden(file, place) is not bool(suffixes)
        and not (file.is_dir() or file.name in known or file.suffix.lower() in suffixes)
    ]
    if found:
        # a directory may hold more than dumps, but hidden ones are there by mistake
        kind, status = ("other", "not_configured") if suffixes else ("hidden", "partial")
        hint = (
            f"{kind} files were not read, such as {found[0]}: rename those that are dumps"
        )
        asked.batch.cover(
            name, f"{kind} files", status, hint=hint, rows=0, expected=len(found)
        )


def each_dump(
    asked: Asked,
    suffixes: tuple[str, ...] = JSON_SUFFIXES,
    *,
    name: str = "read",
    empty: str | None = None,
    is_wanted: Callable[[Path], bool] | None = None,
) -> Iterator[tuple[Path, Call]]:
    """Yield each file of `find_files` with its call, which the reader enters, while time is left."""
    for scope, file in find_files(asked, suffixes, is_wanted):
        call = asked.batch.call(scope, name, empty=empty)
        call.take(())
        if asked.deadline.left:
            yield file, call
        else:
            call.hint(HINTS["timeout"])


def files_below(
    name: str, asked: Asked, wanted: Callable[[Path], object]
) -> Files | None:
    """List the wanted files of a directory with their scopes; None if it is not a directory.

    A link that leads out of it becomes a coverage row, unless ``allow_outside`` lets it pass.
    Raises OSError where it may not be listed: that is not the same as empty.
    """
    place = asked.base / name
    if not place.is_dir():
        return None
    next(place.iterdir(), None)  # `rglob` takes a refusal for an empty directory
    allow = asked.options.get("allow_outside", False)
    listed = sorted(place.rglob("*"))
    # `rglob` does not follow links to directories
    if allow:
        listed += [f for link in listed if link.is_symlink() for f in link.rglob("*")]
    found = []
    for file in listed:
        scope = str(Path(name) / file.relative_to(place))
        if not (file.is_dir() or wanted(file)):
            continue
        try:
            refuse_outside(file, (place,), allow=allow or not file.is_symlink())
        except ValueError as error:
            asked.batch.cover(scope, "read", **failure(error))
        else:
            found += [] if file.is_dir() else [(scope, file)]
    return found


def refuse_outside(file: Path, roots: Iterable[Path], *, allow: bool) -> None:
    """Raise ValueError if a file, or the target of a link, is outside all directories."""
    real = Path(os.path.realpath(file))  # `resolve` raises for links in a circle
    if not allow and not any(real.is_relative_to(root.resolve()) for root in roots):
        raise ValueError("it is outside of the directory: set allow_outside = true")


def read_text(file: Path, row: Row, limit: int = MAX_BYTES) -> str | None:
    """Read a file, and write its age into its coverage row; None where the row says why not."""
    try:
        raw = read_bytes(file, row, limit)
        refuse_costly(raw)
        is_wide = raw.startswith((b"\xff\xfe", b"\xfe\xff"))  # as PowerShell redirects
        return raw.decode("utf-16" if is_wide else "utf-8-sig").replace("\0", "")
    except (OSError, ValueError) as error:
        row |= failure(error)
        return None


def read_bytes(file: Path, row: Row, limit: int = MAX_BYTES) -> bytes:
    """Read a file, and write its age into its coverage row; one that is too large is an error."""
    raw = read_limited(file, limit)
    age = max(time.time() - file.stat().st_mtime, 0) / 3600
    row["age_hours"] = max(round(age, 2), row.get("age_hours", 0))
    return raw


def read_documents(file: Path, row: Row) -> list[Any]:
    """Read the documents of a file, in JSON or YAML by its ending."""
    return (read_yaml if file.suffix.lower() in YAML_SUFFIXES else read_json)(file, row)


def read_json(file: Path, row: Row) -> list[Any]:
    """Read the JSON values of a file; the coverage row says what could not be read."""
    text = read_text(file, row)
    values = [] if text is None else decoded(text, row)
    if values and picked(values[-1], "page")["more"] and _is_last(file):
        row["hint"] = MORE_PAGES
    return values


def _is_last(file: Path) -> bool:
    """Return whether no file of a later page, by the numbers in its name, is beside a file."""
    last = _last_pages(file.parent, file.parent.stat().st_mtime_ns)
    return last[_NUMBER.sub("", file.name)] == file.name


@lru_cache(maxsize=8)  # of a directory with thousands of pages, each asks
def _last_pages(directory: Path, changed_ns: int) -> dict[str, str]:
    """Return the last of the names that differ in their numbers alone, by what they share."""
    names = [file.name for file in directory.iterdir()]
    names.sort(key=lambda name: [*map(int, _NUMBER.findall(name))])
    return {_NUMBER.sub("", name): name for name in names}


def decoded(text: str, row: Row) -> list[Any]:
    """Read the JSON values of a text; the coverage row says what could not be read."""
    values, rest = decode_values(text)
    if rest:
        row |= broken(rest, text, is_some=bool(values))
    return values


def read_yaml(file: Path, row: Row, loader: type[Loader] = Loader) -> list[Any]:
    """Read the documents of a YAML (or JSON) file; the coverage row says what could not be read."""
    text = read_text(file, row, MAX_YAML_BYTES)
    if text is None:
        return []
    try:
        return load_documents(text, loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        row |= _broken_yaml(error, text)
        documents = _whole_documents(text) if isinstance(error, yaml.YAMLError) else []
    if documents:
        row["status"] = "partial"
    return documents


def _broken_yaml(error: Exception, text: str) -> Row:
    """Return the columns of a coverage row for text that is not YAML."""
    mark = getattr(error, "problem_mark", None)
    place = f" near line {mark.line + 1}" if mark else ""
    columns = failure(error)
    hint = columns["hint"] if type(error) is ValueError else f"this is no YAML{place}"
    if TEMPLATE.search(text):
        hint = _TEMPLATE_HINT
    return columns | {"status": "parse_error", "hint": hint}


def _whole_documents(text: str) -> list[Any]:
    """Read the documents of a text that can be read; a broken one is skipped."""
    parts = _DOCUMENT.split(text)
    documents = []
    for part in parts if len(parts) > 1 else ():
        with suppress(yaml.YAMLError, ValueError, RecursionError):
            documents += [d for d in load_documents(part) if isinstance(d, dict | list)]
    return documents


def broken(rest: str, text: str = "", *, is_some: bool = False) -> Row:
    """Return the columns of a coverage row for a text that is not JSON from this rest on."""
    hint = f"it is not JSON: {HINTS['parse_error']}"
    if is_some:
        hint = "it is cut off, or not JSON; dump it again"
    if not rest.strip():
        hint = "it is empty: the command that writes it failed; dump it again"
    elif rest.lstrip()[:15].lower().startswith(("<!doctype", "<html", "<?xml")):
        hint = "this is a web page, not JSON: a login or a proxy answered instead"
    elif TEMPLATE.search(text or rest):
        hint = _TEMPLATE_HINT
    status = "partial" if is_some else "parse_error"
    return {"status": status, "error_class": "JSONDecodeError", "hint": hint}


def decode_values(text: str) -> tuple[list[Any], str]:
    """Read JSON values one after the other or in an array, and return the start of the unread."""
    try:
        # most files are sound, and this path is far faster
        whole = json.loads(text)
        return (whole if isinstance(whole, list) else [whole]), ""
    except (ValueError, RecursionError):
        pass
    values = []
    rest = "" if text.strip(" \r\n\t,[]") else text[:200] or " "
    patience = _PATIENCE
    at = _after_gap(text, 0)
    while at < len(text):
        # An error counts the lines before it, so that each is looked for in a few lines only.
        end = text.find("\n{", at + 1)
        is_last = end < 0
        piece = text[at:] if is_last else text[at:end]
        more, inside = _decode_piece(piece)
        values += more
        if inside == len(piece):
            at = _after_gap(text, at + inside)
            continue
        at += inside
        try:  # a value may go on after the start of another one
            if is_last or not patience:
                raise ValueError
            value, at = _DECODER.raw_decode(text, at)
            values.append(value)
            at = _after_gap(text, at)
        except (ValueError, RecursionError):
            patience = max(patience - 1, 0)
            rest = rest or text[at : at + 200]
            if is_last or not text.startswith("{", at):
                break
            at = _after_gap(text, end)
    return values, rest or (text[:200] if text.lstrip().startswith("[") else "")


def _decode_piece(piece: str) -> tuple[list[Any], int]:
    """Read JSON values up to the first incomplete one; return them and its position."""
    values = []
    at = 0
    try:
        while at < len(piece):
            value, end = _DECODER.raw_decode(piece, at)
            values.append(value)
            at = _after_gap(piece, end)
    except (ValueError, RecursionError):
        pass
    return values, at


def _after_gap(text: str, at: int) -> int:
    found = _GAP.match(text, at)
    return found.end() if found else at
