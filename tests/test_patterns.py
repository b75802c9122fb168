"""No regular expression holds the interpreter: twice the text takes about twice the time."""

import ast
import importlib
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from re import _constants as codes
from re import _parser as parser

import pytest

from assess.linear import Linear

PACKAGE = Path(__file__).parent.parent / "assess"
# Text that these rooms search was made by assess itself, or typed by who waits for the answer.
OWN_TEXT = {"figures", "notebooks", "report", "cli", "sample"}
METHODS = ("search", "match", "fullmatch", "sub", "split", "findall", "finditer")
LONGEST = 8_000  # repetitions of a pump
FLOOR_S = 0.01  # below it the clock says nothing
RATIO = 3.0  # of a text twice as long; a quadratic pattern has 4
REPEATS = (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT)
GROUPS = {codes.SUBPATTERN: 3, codes.ASSERT: 1, codes.ASSERT_NOT: 1}
SAMPLES = {
    codes.CATEGORY_DIGIT: "0",
    codes.CATEGORY_SPACE: " ",
    codes.CATEGORY_WORD: "a",
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] not in OWN_TEXT and parts[0] != "__main__":
            name = ".".join(["assess", *parts]).removesuffix(".__init__")
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def inside(value) -> Iterator:
    """List the compiled patterns in a value of a module, also those in its tables."""
    if isinstance(value, re.Pattern | Linear):
        yield value
    elif isinstance(value, dict):
        for part in [*value, *value.values()]:
            yield from inside(part)
    elif isinstance(value, list | tuple | set | frozenset):
        for part in value:
            yield from inside(part)


def uses_of(tree: ast.Module) -> dict[str, set[str]]:
    """Map each name of a module to the methods of patterns that are asked of it."""
    uses = defaultdict(set)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in METHODS:
            owner = node.value
            name = getattr(owner, "id", None) or getattr(owner, "attr", "")
            uses[name].add(node.attr)
    return uses


def patterns() -> dict[tuple[str, int, bool], tuple[str, set[str]]]:
    """Map each pattern, with its flags and engine, to where it is and how it is used."""
    found: dict[tuple[str, int, bool], tuple[str, set[str]]] = {}
    parsed = [(name, tree, uses_of(tree)) for name, tree in modules()]
    everywhere = defaultdict(set)
    for _, _, uses in parsed:
        for owner, methods in uses.items():
            everywhere[owner] |= methods

    def add(pattern, where, methods):
        is_linear = isinstance(pattern, Linear)
        flags = 0 if is_linear else pattern.flags & ~re.UNICODE
        _, before = found.get((pattern.pattern, flags, is_linear), ("", set()))
        found[pattern.pattern, flags, is_linear] = where, before | methods

    for name, tree, uses in parsed:
        module = importlib.import_module(name)
        for attribute, value in vars(module).items():
            for pattern in inside(value):
                near = uses if attribute.startswith("_") else everywhere
                # a pattern that is only passed on may be asked anything
                methods = near.get(attribute) or {"search", "fullmatch"}
                add(pattern, f"{name}.{attribute}", methods)
        for node in ast.walk(tree):
            is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            if not is_call or getattr(node.func.value, "id", "") != "re":
                continue
            if node.func.attr in METHODS and isinstance(node.args[0], ast.Constant):
                flags = [ast.unparse(k.value) for k in node.keywords if k.arg == "flags"]
                flag = eval(flags[0], {"re": re}) if flags else 0
                text = node.args[0].value
                if isinstance(text, bytes):  # as slow as the same pattern of texts
                    text = text.decode("latin-1")
                pattern = re.compile(text, flag)
                add(pattern, f"{name}:{node.lineno}", {node.func.attr})
    return found


def tokens(items) -> Iterator[tuple[str, bool]]:
    """List texts that match the parts of a pattern, one after the other, and their other branches.

    The second value says whether a text is part of the example that the first branches make.
    """
    for code, argument in items:
        if code is codes.LITERAL:
            yield chr(argument), True
        elif code is codes.IN:
            kind, value = argument[0]
            first = {codes.LITERAL: chr, codes.RANGE: lambda pair: chr(pair[0])}
            yield first.get(kind, lambda name: SAMPLES.get(name, "x"))(value), True
            for kind, value in argument[1:]:
                yield first.get(kind, lambda name: SAMPLES.get(name, "x"))(value), False
        elif code in (codes.ANY, codes.NOT_LITERAL):
            yield "x", True
        elif code in REPEATS or code in GROUPS:
            yield from tokens(argument[GROUPS.get(code, 2)])
        elif code is codes.ATOMIC_GROUP:
            yield from tokens(argument)
        elif code is codes.BRANCH:
            first_branch, *others = argument[1]
            yield from tokens(first_branch)
            for branch in others:
                yield (
                    "".join(text for text, is_first in tokens(branch) if is_first),
                    False,
                )


def attacks(pattern: str, flags: int) -> Iterator[tuple[str, str]]:
    """List pairs of a beginning and what is repeated after it, made of a pattern's own parts."""
    parts = list(tokens(parser.parse(pattern, flags)))
    example = [text for text, is_first in parts if is_first][:40]
    singles = sorted({text for text, _ in parts if text})[:30]
    starts = ["".join(example[:n]) for n in range(len(example) + 1)]
    inner = ["".join(example[n:m]) for m in range(len(example) + 1) for n in range(m)]
    pumps = sorted({*singles, *(inner if len(inner) < 100 else starts[1:])})
    yield from (("", pump) for pump in pumps)
    yield from ((start, single) for start in starts[1:10] for single in singles[:12])


def seconds(use, text: str) -> float:
    started = time.thread_time()  # of this thread alone: other work counts for nothing
    use(text)
    return time.thread_time() - started


def is_superlinear(use, start: str, pump: str) -> bool:
    """Return whether text twice and four times as long takes much more time than its length."""
    repetitions = 1000
    while repetitions < LONGEST:
        repetitions *= 2
        if seconds(use, f"{start}{pump * repetitions}\x01") > FLOOR_S:
            texts = [f"{start}{pump * repetitions * n}\x01" for n in (1, 2, 4)]
            once, twice, four = (seconds(use, t) for t in texts)
            return twice > RATIO * once and four > RATIO * twice > FLOOR_S
    return False


def as_bytes(use):
    return lambda text: use(text.encode())


FOUND = patterns()


@pytest.mark.parametrize("key", FOUND, ids=lambda key: FOUND[key][0])
def test_twice_the_text_takes_about_twice_the_time(key):
    pattern, flags, is_linear = key
    where, methods = FOUND[key]
    compiled = Linear(pattern) if is_linear else re.compile(pattern, flags)
    for start, pump in attacks(pattern, flags):
        for method in methods & {*dir(compiled)}:
            used = getattr(compiled, method)
            empty = pattern[:0]  # text or bytes
            use = partial(used, empty) if method == "sub" else used
            if isinstance(pattern, bytes):
                use = as_bytes(use)
            assert not is_superlinear(use, start, pump), (where, method, start, pump)
