# ruff: noqa: T201
"""Do the tests of assess/score notice a changed operator, bound, constant or condition?

    python tests/benchmarks/mutation.py [--seed 1] [--mutants 100] [--room incidents]

Draws code lines of the scores, each as likely as any other, and one change of each. For every
change runs what reaches the line until a test fails that passes without the change: tests of its
room, the likeliest first, then the stored report of the sample, then all other tests of scores and
policies; of each at most `--seconds`. Survivors are an upper bound. What a file of tests reaches is
traced again whenever it, what tests share, or a file that it reached has changed.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import gc
import hashlib
import json
import os
import resource
import select
import signal
import sys
import time
from bisect import bisect
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from itertools import accumulate, islice, pairwise
from pathlib import Path
from random import Random
from types import CodeType, FunctionType
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
SCORE = ROOT / "assess" / "score"
SAMPLE = "tests/report/test_sample_report.py"  # compares all scores of the sample
TESTS = ["tests/score", "tests/policy", SAMPLE]
SLOW = 40  # CPU s of a test under the probes, after which its trace ends
EXAMPLES = 5  # of a hypothesis test
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


class Runs:
    """A plug-in of pytest: hands the collected tests to some work instead of running all."""

    def __init__(self, work: Callable[[Runs], None]) -> None:
        self.work = work
        self.items: dict[str, Any] = {}
        self.hits: dict[str, set[int]] = {}  # lines of a file that a test reaches
        self.clear()

    def clear(self) -> None:
        """Forget what ran."""
        self.is_traced = False
        self.seconds: dict[str, float] = {}
        self.setup: dict[str, float] = defaultdict(float)  # of what a file's tests share
        self.reached: dict[str, dict[str, list[int]]] = {}
        self.failed: list[str] = []

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Cut the examples of hypothesis."""
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

    def pytest_collectreport(self, report: Any) -> None:
        """Refuse a file that cannot be imported."""
        if report.failed:
            sys.exit(f"{report.nodeid} cannot be collected:\n{report.longreprtext}")

    def pytest_runtestloop(self, session: Any) -> bool:
        """Hand the tests to the work."""
        self.items = {item.nodeid: item for item in session.items}
        self.work(self)
        return True

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Write down what fails."""
        if report.failed:
            self.failed.append(report.nodeid)

    def pytest_runtest_call(self, item: Any) -> None:
        """Write down what the set-up took, of which later tests may need none."""
        file = item.nodeid.partition("::")[0]
        took = time.process_time() - self.start
        self.setup[file] = max(self.setup[file], took)

    def run(self, names: list[str], *, is_all: bool = False) -> None:
        """Run tests in their order, to the first that fails."""
        following = pairwise([*(self.items[name] for name in names), None])
        for item, after in following:
            for lines in self.hits.values():
                lines.clear()
            self.start = time.process_time()
            if self.is_traced:
                signal.setitimer(signal.ITIMER_PROF, SLOW)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            signal.setitimer(signal.ITIMER_PROF, 0)
            self.seconds[item.nodeid] = time.process_time() - self.start
            found = {path: sorted(lines) for path, lines in self.hits.items() if lines}
            self.reached[item.nodeid] = found
            if self.failed and not is_all:
                break


def in_child(work: Callable[[], Any], cpu: float, wall: float = WALL) -> Any:
    """Do the work in a fork with limits, and return its result; None where it died."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(null, stream)
        spent = time.process_time()
        resource.setrlimit(resource.RLIMIT_CPU, (int(spent + cpu), int(spent + cpu) + 5))
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


def _functions(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _functions(constant)


def _place(code: CodeType) -> tuple[str, int, int | None]:
    column = None
    if code.co_name == "<lambda>":  # a line can hold several
        column = list(code.co_positions())[-1][2]
    return code.co_qualname, code.co_firstlineno, column


def swap(path: str, tree: ast.Module) -> None:
    """Let every function of a file run the code of a tree of the same lines."""
    made = _functions(compile(tree, path, "exec", dont_inherit=True))
    at = {_place(code): code for code in made}
    for function in gc.get_objects():
        if isinstance(function, FunctionType) and function.__code__.co_filename == path:
            old = function.__code__
            new = at.get(_place(old), old)
            with contextlib.suppress(ValueError):  # a closure that needs a name no more
                function.__code__ = new


def execute(path: str, tree: ast.Module) -> None:
    """Run the statements of a file again, and hand what they make to whoever imported it."""
    ours = [vars(each) for each in sys.modules.values() if _is_ours(each)]
    names = next(each for each in ours if each["__file__"] == path)
    before = dict(names)
    exec(compile(tree, path, "exec", dont_inherit=True), names)
    for each in ours:
        for name, value in before.items():
            if name in each and each[name] is value and not name.startswith("__"):
                each[name] = names[name]


def _is_ours(module: Any) -> bool:
    return str(getattr(module, "__file__", None)).startswith(f"{ROOT}/")


class _Probes(ast.NodeTransformer):
    """Lets each statement of a function say its line before it runs."""

    is_inside = False

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Begin to put probes."""
        before = self.is_inside
        self.is_inside = True
        self.generic_visit(node)
        self.is_inside = before
        return node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Put a probe before each statement."""
        super().generic_visit(node)
        for name, value in ast.iter_fields(node):
            is_block = (
                isinstance(value, list) and value and isinstance(value[0], ast.stmt)
            )
            if is_block and (self.is_inside and not isinstance(node, ast.ClassDef)):
                setattr(
                    node, name, [each for old in value for each in (_probe(old), old)]
                )
        return node


def _probe(statement: ast.stmt) -> ast.stmt:
    call = ast.Call(
        ast.Name("_reached_", ast.Load()), [ast.Constant(statement.lineno)], []
    )
    return ast.copy_location(ast.Expr(call), statement)


def _trace(runs: Runs, names: list[str]) -> dict[str, Any]:
    """Run the tests of a file, and tell which reaches which lines in which time."""

    def too_long(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGPROF, too_long)
    for module in list(sys.modules.values()):
        path = Path(str(getattr(module, "__file__", None)))
        if SCORE in path.parents:
            short = path.relative_to(ROOT).as_posix()
            runs.hits[short] = set()
            vars(module)["_reached_"] = runs.hits[short].add
            probed = _Probes().visit(ast.parse(path.read_text()))
            swap(str(path), ast.fix_missing_locations(probed))
    runs.is_traced = True
    runs.run(names, is_all=True)
    slow = [name for name, took in runs.seconds.items() if took >= SLOW]
    return {
        "seconds": runs.seconds,
        "setup": runs.setup,
        "reached": runs.reached,
        "failed": sorted({*runs.failed} - {*slow}),
    }


class Reach:
    """Which tests reach a line, and what each, and the set-up of its file, takes [CPU s].

    A file of tests is traced when it is asked for first, and again whenever its trace is not kept
    for just this code.
    """

    def __init__(self, runs: Runs, kept: Path) -> None:
        self.runs = runs
        self.kept = kept
        self.tests: dict[tuple[str, int], set[str]] = defaultdict(set)
        self.seconds: dict[str, float] = {}
        self.setup: dict[str, float] = {}
        self.files: dict[str, list[str]] = defaultdict(list)
        for name in runs.items:
            self.files[name.partition("::")[0]].append(name)
        self.known: set[str] = set()
        self.broken: set[str] = set()  # tests that fail without any change
        shared = [path for path in (ROOT / "tests").glob("**/*.py") if _is_shared(path)]
        self.common = b"".join(path.read_bytes() for path in sorted(shared))

    def learn(self, files: Iterable[str]) -> None:
        """Know what the tests of these files reach."""
        for file in files:
            if file not in self.known:
                self.known.add(file)
                self._add(file, self._traced(file))

    def _traced(self, file: str) -> dict[str, Any]:
        key = hashlib.sha256(self.common + (ROOT / file).read_bytes()).hexdigest()
        place = self.kept / f"{Path(file).stem}.json"
        traced = json.loads(place.read_text()) if place.exists() else {}
        if traced.get("key") == key and traced["code"] == _hashes(traced["code"]):
            return traced
        names = self.files[file]
        traced = in_child(partial(_trace, self.runs, names), cpu=3600, wall=3600)
        if traced is None:
            sys.exit(f"{file}: its tests do not end")
        code = {path for each in traced["reached"].values() for path in each}
        traced |= {"key": key, "code": _hashes(code)}
        place.write_text(json.dumps(traced))
        took = sum(traced["seconds"].values())
        print(
            f"traced {file}: {len(names)} tests, {took:.0f} s, failed {traced['failed']}"
        )
        sys.stdout.flush()
        return traced

    def _add(self, file: str, traced: dict[str, Any]) -> None:
        self.setup.update(traced["setup"])
        for name in self.files[file]:
            if name in traced["failed"]:
                continue
            self.seconds[name] = traced["seconds"][name]
            for path, lines in traced["reached"][name].items():
                for line in lines:
                    self.tests[path, line].add(name)


def _is_shared(path: Path) -> bool:
    return not path.name.startswith("test_") and "benchmarks" not in path.parts


def _hashes(paths: Iterable[str]) -> dict[str, str]:
    return {path: _hash(path) for path in sorted(paths)}


@cache
def _hash(path: str) -> str:
    place = ROOT / path
    return hashlib.sha256(place.read_bytes()).hexdigest() if place.exists() else ""


def _statement(path: str, line: int) -> tuple[int, bool]:
    """Return where the innermost statement around a line begins, and whether a function holds it."""
    best = range(1, sys.maxsize)
    is_inside = False
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or 0):
            lines = range(node.lineno, (node.end_lineno or 0) + 1)
            best = min(best, lines, key=len)
            is_inside |= isinstance(node, ast.FunctionDef) and line >= node.body[0].lineno
    return best.start, is_inside


def choose(found: Reach, mutant: Draw, most: float) -> Iterator[list[str]]:
    """Yield tests that reach a line: some seconds of its room's, the sample's, those of the rest.

    The likeliest to fail come first. A file is traced only if nothing before it failed.
    """
    name = Path(mutant.path).parts[2].removesuffix(".py")
    room = (f"tests/score/{name}/", f"tests/score/test_{name}.py")
    own = {file for file in found.files if file.startswith(room)}
    for files in (own, {SAMPLE}, set(found.files) - own - {SAMPLE}):
        found.learn(sorted(files))
        reached = _reaching(found, mutant)
        tests = [
            test for test in reached - found.broken if test.partition("::")[0] in files
        ]
        tests.sort(key=partial(_rank, found, Path(mutant.path).stem))
        spent = accumulate(found.seconds[test] for test in tests)
        yield tests[: max(bisect([*spent], most), 1)]


def _rank(found: Reach, stem: str, test: str) -> tuple[bool, float]:
    name = Path(test.partition("::")[0]).stem.removeprefix("test_")
    return not (stem in name or name in stem), found.seconds[test]


def _reaching(found: Reach, mutant: Draw) -> set[str]:
    start, is_inside = _statement(mutant.path, mutant.line)
    if is_inside:
        return found.tests.get((mutant.path, start), set())
    # it runs when the file is imported
    lines = [tests for (path, _), tests in found.tests.items() if path == mutant.path]
    return set().union(*lines)


def _test(runs: Runs, mutant: Draw, tests: list[str], *, is_changed: bool) -> list[str]:
    """Run the tests on code that is changed, or written anew alike, and list what failed."""
    target = ROOT / mutant.path
    tree = mutate(target, mutant.index) if is_changed else ast.parse(target.read_text())
    _, is_inside = _statement(mutant.path, mutant.line)
    put = swap if is_inside else execute
    try:
        put(str(target), tree)
    except Exception:
        return tests[:1]
    runs.run(tests)
    return runs.failed


def kill(runs: Runs, found: Reach, mutant: Draw, tests: list[str]) -> str:
    """Return the test that fails on changed code alone; empty where none does."""
    while tests:
        files = {test.partition("::")[0] for test in tests}
        seconds = [found.seconds[test] for test in tests]
        limit = (
            30 + 3 * sum(seconds) + 3 * sum(found.setup.get(file, 0) for file in files)
        )
        failed = in_child(partial(_test, runs, mutant, tests, is_changed=True), limit)
        if failed == []:
            return ""
        by = failed or tests
        again = in_child(partial(_test, runs, mutant, by, is_changed=False), limit)
        if again == []:
            return by[0] if failed else "no end"
        print(f"         fails without the change too: {(again or by)[0]}")
        found.broken.update(again or by)
        tests = [test for test in tests if test not in found.broken]
    return ""


def measure(runs: Runs, asked: argparse.Namespace) -> None:
    """Draw, run, and print each mutant with the test that kills it."""
    found = Reach(runs, asked.map)
    killed = 0
    drawn = draw(asked.seed, asked.mutants, asked.room)
    # by room, so that the first results need few traces
    for mutant in sorted(drawn):
        by = ""
        tried = 0
        for tests in islice(choose(found, mutant, asked.seconds), 2 if asked.near else 3):
            by = kill(runs, found, mutant, tests)
            tried += len(tests)
            if by:
                break
        killed += bool(by)
        line = (ROOT / mutant.path).read_text().splitlines()[mutant.line - 1].strip()
        state = "killed  " if by else "SURVIVED"
        end = by or tried
        print(f"{state} {mutant.path}:{mutant.line} [{mutant.kind}] {line} | {end}")
        sys.stdout.flush()
    print(f"killed {killed} of {len(drawn)} ({killed / max(len(drawn), 1):.0%})")


def main() -> None:
    """Read what is asked, collect the tests, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mutants", type=int, default=100)
    parser.add_argument("--room", default="", help="a folder of assess/score; else all")
    parser.add_argument("--seconds", type=float, default=25, help="of tests, a mutant")
    parser.add_argument(
        "--near", action="store_true", help="leave out the tests of other rooms"
    )
    parser.add_argument("--map", type=Path, default=ROOT / "build" / "mutation")
    asked = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    import pytest

    asked.map.mkdir(parents=True, exist_ok=True)
    plain = ["-o", "addopts=", "-p", "no:cacheprovider", "-q", "-s"]
    own = f"--basetemp={asked.map / 'tmp'}"
    tests = [str(folder) for folder in TESTS]
    ended = pytest.main(
        [*plain, own, *tests], plugins=[Runs(partial(measure, asked=asked))]
    )
    sys.exit(int(ended))


if __name__ == "__main__":
    main()
