"""The only YAML reader: plain values, and merge keys as the YAML merge rule defines them."""

from collections.abc import Hashable, Iterable, Iterator
from typing import Any

import yaml

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
