# ruff: noqa: T201
"""Do the tests of assess/score notice a changed operator, bound, constant or condition?

    python tests/benchmarks/mutation.py [--seed 1] [--mutants 100] [--room incidents]

Draws code lines of the scores, each as likely as any other, and one change of each. For every
change runs the tests that reach the line, the likeliest first, until one fails or `--seconds` of
tests passed: survivors are an upper bound. What tests reach is traced once, into `--map`.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import hashlib
import importlib.machinery
import json
import os
import resource
import select
import signal
import sys
import time
from bisect import bisect
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
SCORE = ROOT / "assess" / "score"
SLOW = 12  # CPU s of a test under the tracer, after which it is left out
EXAMPLES = 5  # of a hypothesis test
FIRST = (
    3  # CPU s of tests that are tried before the others, whose files take long to import
)
WALL = 900  # s, after which a mutant hangs

ARITHMETIC = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
COMPARISONS = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}


class Change(NamedTuple):
    """One change of one node: what it becomes, and how people read it."""

    node: ast.AST
    line: int
    kind: str
    make: Callable[[Any], ast.AST]  # from a node to the one in its place


class Draw(NamedTuple):
    """A line, and the number of one of its file's changes."""

    path: str
    line: int
    index: int
    kind: str


def _with(node: Any, **fields: Any) -> Any:
    for name, value in fields.items():
        setattr(node, name, value)
    return node


def _item(node: Any, field: str, place: int, value: Any) -> Any:
    getattr(node, field)[place] = value
    return node


def _without(node: Any, place: int) -> Any:
    del node.ifs[place]
    return node


def _operators(node: ast.AST) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """Give the changes of an operator or a constant, each with its kind."""
    match node:
        case ast.Compare(ops=operators):
            for place, operator in enumerate(operators):
                for new in COMPARISONS[type(operator)]:
                    kind = f"{type(operator).__name__} -> {new.__name__}"
                    yield kind, partial(_item, field="ops", place=place, value=new())
        case ast.BinOp(op=operator) | ast.AugAssign(op=operator) if not _is_text(node):
            new = ARITHMETIC.get(type(operator))
            if new is not None:
                kind = f"{type(operator).__name__} -> {new.__name__}"
                yield kind, partial(_with, op=new())
        case ast.UnaryOp(op=ast.Not() | ast.Invert() | ast.USub()):
            yield f"drop {type(node.op).__name__}", lambda old: old.operand
        case ast.BoolOp(op=operator):
            new = ast.Or if isinstance(operator, ast.And) else ast.And
            yield f"-> {new.__name__}", partial(_with, op=new())
        case ast.Constant(value=bool(value)):
            yield f"{value} -> {not value}", partial(_with, value=not value)
        case ast.Constant(value=int(value) | float(value)):
            yield f"{value} -> {value + 1}", partial(_with, value=value + 1)


def _statements(node: ast.AST) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """Give the changes of a statement or a condition, each with its kind."""
    match node:
        case ast.If(test=ast.Name() | ast.Attribute() | ast.Call() | ast.BoolOp()):
            yield "negate", lambda old: _with(old, test=ast.UnaryOp(ast.Not(), old.test))
        case ast.comprehension(ifs=conditions):
            for place in range(len(conditions)):
                yield "drop condition", partial(_without, place=place)
        case ast.Return(value=ast.expr()):
            yield "return None", partial(_with, value=ast.Constant(None))
        case ast.Break():
            yield "continue", lambda _: ast.Continue()
        case ast.Continue():
            yield "break", lambda _: ast.Break()
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Raise():
            yield "drop statement", lambda _: ast.Pass()
        case ast.Assign(targets=targets):
            if any(isinstance(to, ast.Attribute | ast.Subscript) for to in targets):
                yield "drop statement", lambda _: ast.Pass()


def _is_text(node: ast.AST) -> bool:
    sides = list(ast.iter_child_nodes(node))
    strings = [side for side in sides if isinstance(side, ast.JoinedStr)]
    constants = [side.value for side in sides if isinstance(side, ast.Constant)]
    return bool(strings) or any(isinstance(value, str) for value in constants)


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a tree, but for annotations, formats of texts and imports for types."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        return
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "format_spec", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _code(child)


def changes(tree: ast.Module) -> list[Change]:
    """List the changes of a file, in one order."""
    found = []
    for node in _code(tree):
        for kind, make in [*_operators(node), *_statements(node)]:
            line = getattr(node, "lineno", None)
            if line is None:  # a comprehension has no line of its own
                line = node.target.lineno
            found.append(Change(node, line, kind, make))
    return found


class _Swap(ast.NodeTransformer):
    def __init__(self, change: Change) -> None:
        self.change = change

    def visit(self, node: ast.AST) -> ast.AST:
        if node is not self.change.node:
            return self.generic_visit(node)
        made = self.change.make(node)
        return (
            made if isinstance(made, ast.comprehension) else ast.copy_location(made, node)
        )


def mutate(path: Path, index: int) -> ast.Module:
    """Read a file, and make one of its changes."""
    tree = ast.parse(path.read_text())
    swap = _Swap(changes(tree)[index])
    return ast.fix_missing_locations(swap.visit(tree))


def draw(seed: int, n: int, room: str) -> list[Draw]:
    """Draw lines of the scores, and one change of each."""
    at: dict[tuple[str, int], list[Draw]] = defaultdict(list)
    for file in sorted((SCORE / room).rglob("*.py")):
        path = file.relative_to(ROOT).as_posix()
        for index, change in enumerate(changes(ast.parse(file.read_text()))):
            at[path, change.line].append(Draw(path, change.line, index, change.kind))
    random = Random(seed)
    lines = sorted(at)
    random.shuffle(lines)
    print(f"{len(lines)} lines, {sum(map(len, at.values()))} changes; seed {seed}")
    return [random.choice(at[line]) for line in lines[:n]]


class Choice:
    """A plug-in of pytest: runs chosen tests in a given order, with few examples."""

    def __init__(self, wanted: list[str] | None = None, tracer: Any = None) -> None:
        self.rank = None if wanted is None else {name: i for i, name in enumerate(wanted)}
        self.tracer = tracer
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Choose and order the tests, and cut the examples of hypothesis."""
        if self.rank is not None:
            items[:] = [item for item in items if item.nodeid in self.rank]
            items.sort(key=lambda item: self.rank[item.nodeid])
        from hypothesis import Phase, settings

        for item in items:
            test = getattr(item.obj, "__func__", item.obj)
            own = getattr(test, "_hypothesis_internal_use_settings", None)
            if own is not None:
                test._hypothesis_internal_use_settings = settings(
                    own,
                    max_examples=min(EXAMPLES, own.max_examples),
                    database=None,
                    derandomize=True,
                    deadline=None,
                    phases=[Phase.explicit, Phase.generate],
                )

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Name the lines that follow after the test, and start its clock."""
        self.start = time.process_time()
        if self.tracer is not None:
            self.tracer.switch_context(nodeid)
            signal.setitimer(signal.ITIMER_PROF, SLOW)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Write down what the test took."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        self.seconds[nodeid] = time.process_time() - self.start

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Write down what fails."""
        if report.failed:
            self.failed.append(report.nodeid)

    def pytest_collectreport(self, report: Any) -> None:
        """Write down a file that cannot be imported."""
        if report.failed:
            self.failed.append(report.nodeid)


def run(files: list[str], choice: Choice, *more: str) -> int:
    """Run pytest in this process."""
    import pytest
    from _pytest.assertion.rewrite import AssertionRewritingHook

    AssertionRewritingHook._warn_already_imported = lambda self, name: None
    plain = ["-o", "addopts=", "-p", "no:cacheprovider", "-q", *more]
    return int(pytest.main([*plain, *files], plugins=[choice]))


def in_child(work: Callable[[], Any], cpu: float, wall: float = WALL) -> Any:
    """Do the work in a fork with limits, and return its result; None where it died."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(null, stream)
        resource.setrlimit(resource.RLIMIT_CPU, (int(cpu), int(cpu) + 5))
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
        try:
            with os.fdopen(writing, "w") as pipe:
                json.dump(work(), pipe)
        finally:
            os._exit(0)
    os.close(writing)
    end = time.monotonic() + wall
    parts = []
    while select.select([reading], [], [], max(end - time.monotonic(), 0))[0]:
        parts.append(os.read(reading, 1 << 20))
        if not parts[-1]:
            break
    os.close(reading)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    try:
        return json.loads(b"".join(parts))
    except ValueError:
        return None


def _trace(file: str) -> dict[str, Any]:
    """Run a file of tests, and tell which test reaches which line in which time."""
    import coverage

    def too_long(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGPROF, too_long)
    tracer = coverage.Coverage(data_file=None, source=[str(SCORE)], config_file=False)
    choice = Choice(tracer=tracer)
    tracer.start()
    run([file], choice)
    tracer.stop()
    reached: dict[str, dict[int, list[str]]] = {}
    data = tracer.get_data()
    for path in data.measured_files():
        short = Path(path).relative_to(ROOT).as_posix()
        reached[short] = data.contexts_by_lineno(path)
    good = {name: s for name, s in choice.seconds.items() if name not in choice.failed}
    return {"seconds": good, "reached": reached}


class Reach(NamedTuple):
    """Which tests reach a line, and what each takes [CPU s]."""

    tests: dict[tuple[str, int], set[str]]
    seconds: dict[str, float]


def reach(kept: Path) -> Reach:
    """Trace every file of tests whose trace is not kept for just this code."""
    kept.mkdir(parents=True, exist_ok=True)
    code = b"".join(file.read_bytes() for file in sorted(SCORE.rglob("*.py")))
    found = Reach(defaultdict(set), {})
    for file in sorted((ROOT / "tests" / "score").rglob("test_*.py")):
        key = hashlib.sha256(code + file.read_bytes()).hexdigest()[:16]
        place = kept / f"{file.stem}-{key}.json"
        if not place.exists():
            traced = in_child(partial(_trace, str(file)), cpu=3600, wall=3600)
            print(f"traced {file.name}: {len((traced or {}).get('seconds', ()))} tests")
            sys.stdout.flush()
            if traced is None:
                continue
            place.write_text(json.dumps(traced))
        traced = json.loads(place.read_text())
        found.seconds.update(traced["seconds"])
        for path, lines in traced["reached"].items():
            for line, tests in lines.items():
                good = set(tests) & traced["seconds"].keys()
                found.tests[path, int(line)] |= good
    return found


def _lines(path: str, line: int) -> range:
    """Give the lines of the innermost statement around a line."""
    best = range(1, sys.maxsize)
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or 0):
            lines = range(node.lineno, (node.end_lineno or 0) + 1)
            best = min(best, lines, key=len)
    return best


def choose(found: Reach, mutant: Draw, most: float) -> list[str]:
    """List the tests that reach a line, the likeliest to fail first; the room's own at the end."""
    name = Path(mutant.path).parts[2].removesuffix(".py")
    room = (f"tests/score/{name}/", f"tests/score/test_{name}.py")
    stem = Path(mutant.path).stem
    lines = _lines(mutant.path, mutant.line)
    reached = set().union(*(found.tests.get((mutant.path, at), set()) for at in lines))

    def rank(test: str) -> tuple[int, float]:
        name = Path(test.partition("::")[0]).stem.removeprefix("test_")
        is_near = stem in name or name in stem
        order = [is_near, test.startswith(room), True].index(True)
        return order + 3 * (test not in reached), found.seconds[test]

    near = {test for test in found.seconds if test.startswith(room)}
    chosen = []
    spent = 0.0
    for test in sorted(reached | near, key=rank):
        spent += found.seconds[test]
        if chosen and spent > most:
            break
        chosen.append(test)
    return chosen


def _test(mutant: Draw, tests: list[str]) -> list[str]:
    """Run the tests on changed code, and list what failed."""
    target = str(ROOT / mutant.path)
    code = compile(mutate(Path(target), mutant.index), target, "exec")
    kept = importlib.machinery.SourceFileLoader.get_code

    def get_code(self: Any, name: str) -> Any:
        return code if self.path == target else kept(self, name)

    importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign]
    choice = Choice(tests)
    ended = run(
        list(dict.fromkeys(test.partition("::")[0] for test in tests)), choice, "-x"
    )
    return choice.failed or ["pytest"] * bool(ended)


def kill(found: Reach, mutant: Draw, tests: list[str]) -> str:
    """Return the test that fails on changed code, empty where none does; the first seconds first."""
    spent = list(accumulate(found.seconds[test] for test in tests))
    few = max(bisect(spent, FIRST), 1)
    for part in (tests[:few], tests[few:]):
        limit = 30 + 2 * sum(found.seconds[test] for test in part)
        failed = in_child(partial(_test, mutant, part), cpu=limit) if part else []
        if failed is None:
            return "no end"
        if failed:
            return str(failed[0])
    return ""


def preload() -> None:
    """Import what the package imports, so that each fork need not; the package itself anew."""
    import pkgutil

    import assess.score

    for module in pkgutil.walk_packages(assess.score.__path__, "assess.score."):
        importlib.import_module(module.name)
    for name in [name for name in sys.modules if name.split(".")[0] == "assess"]:
        del sys.modules[name]


def main() -> None:
    """Draw, run, and print each mutant with the test that kills it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mutants", type=int, default=100)
    parser.add_argument("--room", default="", help="a folder of assess/score; else all")
    parser.add_argument("--seconds", type=float, default=25, help="of tests, a mutant")
    parser.add_argument("--map", type=Path, default=Path("build/mutation"))
    asked = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    preload()
    found = reach(asked.map)
    killed = 0
    drawn = draw(asked.seed, asked.mutants, asked.room)
    for mutant in drawn:
        tests = choose(found, mutant, asked.seconds)
        by = kill(found, mutant, tests)
        killed += bool(by)
        line = (ROOT / mutant.path).read_text().splitlines()[mutant.line - 1].strip()
        state = "killed  " if by else "SURVIVED"
        print(
            f"{state} {mutant.path}:{mutant.line} [{mutant.kind}] {line} | {by or len(tests)}"
        )
        sys.stdout.flush()
    print(f"killed {killed} of {len(drawn)} ({killed / len(drawn):.0%})")


if __name__ == "__main__":
    main()
