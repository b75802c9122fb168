"""Notebook files: find, read and write them, check their conventions, convert them for pages."""

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

import nbformat

from assess.config import data_path
from assess.errors import AssessError, first_line, no_such
from assess.writing import write_beside

KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE_INFO = {"name": "python", "pygments_lexer": "ipython3"}
PARAMETERS = "parameters"
SLUG_WORDS = 4
SLUG_LENGTH = 40
MAX_BYTES = 280_000
FIRST = ("Question", "What you will decide")
LAST = ("Limits", "Next")
GIVEN = ("snapshot", "policy_file")
MAX_CELL_LINES = 12
MAX_LINES = 60

Rule = tuple[str, object, object]  # what it asks, whether it holds, the value found


def find(selection: Sequence[str | Path] = ()) -> list[Path]:
    """Find notebooks by number (``02``), name or file, in `notebooks/` here first; without any, all."""
    homes = (Path("notebooks"), data_path("notebooks"))
    listed = (sorted(home.glob("*.ipynb")) for home in homes)
    known = next(filter(None, listed), [])
    if not selection:
        return known
    chosen: list[Path] = []
    for wanted in map(str, selection):
        is_file = wanted.endswith(".ipynb") and Path(wanted).is_file()
        by_name = [p for p in known if p.name in (wanted, f"{wanted}.ipynb")]
        by_number = [p for p in known if p.name.startswith(f"{wanted:0>2}_")]
        hits = [Path(wanted)] if is_file else by_name or by_number
        if not hits:
            raise no_such("notebook", wanted, [p.stem for p in known])
        chosen += hits
    return chosen


def read(path: Path) -> Any:
    """Read a notebook; raise `AssessError` if the file is not one."""
    try:
        node = nbformat.reads(path.read_text("utf-8"), as_version=nbformat.NO_CONVERT)
        nbformat.validate(node)
    except (nbformat.ValidationError, ValueError, AttributeError) as error:
        reason = first_line(error)
        raise AssessError(
            f"{path} is not a notebook: {reason}", hint="restore the file"
        ) from error
    return node


def write(node: Any, path: Path) -> None:
    """Write a notebook, with one newline at its end."""
    nbformat.validate(node)
    write_beside(path, nbformat.writes(node).rstrip("\n") + "\n")


def tidy(node: Any, name: str) -> Any:
    """Fix cell ids, cut metadata and join streams in place: the rest is the same after every run."""
    node.metadata = nbformat.from_dict(
        {"kernelspec": dict(KERNELSPEC), "language_info": dict(LANGUAGE_INFO)}
    )
    node.nbformat_minor = 5
    taken: set[str] = set()
    for cell in node.cells:
        tags = cell.metadata.get("tags", [])
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        cell.id = _fixed_id(cell, number(name), taken)
        taken.add(cell.id)
        if cell.cell_type == "code":
            cell.outputs = list(_joined_streams(cell.outputs))
    return node


def has_parameters(cell: Any) -> bool:
    """Return whether a run may set the values of a cell."""
    return PARAMETERS in cell.metadata.get("tags", [])


def number(name: str) -> str:
    """Return the two digits that the name of a notebook starts with."""
    match = re.match(r"\d{2}", name)
    return match[0] if match else "00"


def _fixed_id(cell: Any, number: str, taken: set[str]) -> str:
    """Return the id of a cell if it is fixed already, else one made of its first words."""
    if re.fullmatch(rf"{number}-[a-z0-9-]+", cell.id) and cell.id not in taken:
        return str(cell.id)
    first = cell.source.lower().split("\n")[0]
    words = re.findall(r"[a-z0-9]+", first)[:SLUG_WORDS]
    if has_parameters(cell):
        words = [PARAMETERS]
    whole = "-".join([number, *(words or ["cell"])])
    slug = whole[:SLUG_LENGTH].rstrip("-")
    numbered = (f"{slug}-{copy}" for copy in count(2))
    return next(name for name in chain([slug], numbered) if name not in taken)


def _joined_streams(outputs: Sequence[Any]) -> Iterator[Any]:
    """Join the pieces of one stream; the kernel cuts them by the clock."""
    last = None
    for output in outputs:
        piece = output.output_type == "stream"
        if piece and last is not None and last.name == output.name:
            last.text += output.text
            continue
        last = output if piece else None
        yield output


def tree(cell: Any) -> ast.Module | None:
    """Parse the code of a cell; return None if it is not plain Python."""
    try:
        return ast.parse(cell.source)
    except SyntaxError:
        return None


def nodes(cell: Any) -> Iterator[ast.AST]:
    """List the parts of the code of a cell; none if it is not plain Python."""
    return ast.walk(tree(cell) or ast.Module([], []))


def literals(cell: Any) -> dict[str, Any]:
    """Return the plain literals that a cell assigns, by name."""
    values = {}
    parsed = tree(cell)
    for statement in parsed.body if parsed else ():
        match statement:
            case ast.Assign(targets=[ast.Name(id=name), *_], value=value):
                with suppress(ValueError):
                    values[name] = ast.literal_eval(value)
    return values


def fragment(path: Path, *, has_code: bool = True) -> tuple[str, str]:
    """Return the title and the HTML body of an executed notebook, ready for another page.

    The body has no ids, its headings start at the third level, and links to other notebooks
    lead to ``#notebook-NN``.
    """
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(
        template_name="basic",
        exclude_input=not has_code,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )
    html, _ = exporter.from_notebook_node(read(path))
    title = re.search(r"<h1[^>]*>(.*?)</h1>", html, re.DOTALL)
    body = html.replace(title[0], "", 1) if title else html
    body = re.sub(r' id="[^"]*"', "", body)
    body = re.sub(r'href="(?:[^"#]*/)?(\d\d)_[^"]*\.ipynb"', r'href="#notebook-\1"', body)
    # deepest first, or a level would be shifted twice
    for level in (3, 2):
        body = re.sub(rf"(</?h){level}\b", rf"\g<1>{level + 1}", body)
    return (title[1] if title else path.stem), body


@dataclass(frozen=True)
class Deviation:
    """A deviation of a notebook from the conventions; `cell` is empty for the whole notebook."""

    notebook: str
    cell: str
    rule: str
    found: str


def check(paths: Sequence[str | Path] = ()) -> list[Deviation]:
    """List the deviations of notebooks from the conventions, without running them."""
    return [deviation for path in find(paths) for deviation in _check(path)]


def _check(path: Path) -> Iterator[Deviation]:
    try:
        node = read(path)
    except AssessError as error:
        yield Deviation(path.name, "", "a valid notebook", str(error))
        return
    code = [cell for cell in node.cells if cell.cell_type == "code"]
    found = chain(_check_file(node, path), _check_code(code), _check_lesson(node, path))
    yield from _broken(path.name, "", found)
    for cell in node.cells:
        rules = _check_cell(cell, number(path.name))
        yield from _broken(path.name, str(cell.get("id", "")), rules)


def _broken(notebook: str, cell: str, rules: Iterable[Rule]) -> Iterator[Deviation]:
    for rule, holds, found in rules:
        if not holds:
            yield Deviation(notebook, cell, rule, str(found))


def _check_file(node: Any, path: Path) -> Iterator[Rule]:
    text = path.read_bytes().decode("utf-8")
    size = len(text.encode())
    ids = [cell.get("id") for cell in node.cells]
    kernel = node.metadata.get("kernelspec")
    version = str(node.metadata.get("language_info", {}).get("version", ""))
    named = re.fullmatch(r"\d{2}_[a-z0-9_]+\.ipynb", path.name)
    rule = f"kernelspec {KERNELSPEC['name']}, and no more than it needs"
    yield "the file is named NN_topic.ipynb", named, path.name
    yield "every cell id occurs once", len(ids) == len(set(ids)), ids
    yield rule, kernel == KERNELSPEC, kernel
    yield "language_info without patch version", version.count(".") < 2, version
    yield (
        "metadata holds kernelspec and language_info only",
        set(node.metadata) == {"kernelspec", "language_info"},
        sorted(node.metadata),
    )
    yield f"at most {MAX_BYTES} bytes", size <= MAX_BYTES, size
    yield "one newline at the end", text.endswith("}\n"), repr(text[-3:])


def _check_code(code: Sequence[Any]) -> Iterator[Rule]:
    lines = sum(map(_code_lines, code))
    counts = [cell.execution_count for cell in code]
    tagged = [cell for cell in code if has_parameters(cell)]
    later = [cell for cell in code if cell not in tagged][1:]
    has_imports = any(_has(cell, ast.Import, ast.ImportFrom) for cell in later)
    in_order = counts == list(range(1, len(code) + 1))
    yield "exactly one cell is tagged parameters", len(tagged) == 1, len(tagged)
    yield f"at most {MAX_LINES} lines of code", lines <= MAX_LINES, lines
    yield "stored execution counts 1 to n", in_order, counts
    yield "imports only in the first code cell", not has_imports, "later imports"


def _check_lesson(node: Any, path: Path) -> Iterator[Rule]:
    """Check the narrative of a notebook: question, limits, links to its neighbours."""
    prose = [cell.source for cell in node.cells if cell.cell_type == "markdown"]
    code_n = len(node.cells) - len(prose)
    fence = re.compile(r"^```.*?^```", re.M | re.S)
    text = "\n".join(fence.sub("", part) for part in prose)
    first = (prose or [""])[0]
    last = (prose or [""])[-1]
    titles = re.findall(r"^# ", text, re.M)
    links = re.findall(r"\]\(([^)\s#]+)", text)
    files = [link for link in links if "://" not in link]
    broken = [link for link in files if not (path.parent / link).exists()]
    course = sorted(path.parent.glob("[0-9][0-9]_*.ipynb"))
    at = course.index(path) if path in course else 0
    around = course[max(at - 1, 0) : at + 2]
    beside = [other.name for other in around if other != path]
    unlinked = [name for name in beside if f"]({name})" not in first]
    unasked = [name for name in FIRST if f"**{name}.**" not in first]
    open_ends = [name for name in LAST if not re.search(rf"^## {name}$", last, re.M)]
    limits = last.partition("## Limits\n")[2].partition("\n## ")[0]
    tagged = [cell for cell in node.cells if has_parameters(cell)]
    given = {name for cell in tagged for name in literals(cell)}
    yield "exactly one H1", len(titles) == 1, len(titles)
    yield (
        "at least as many markdown cells as code cells",
        len(prose) >= code_n,
        f"{len(prose)} and {code_n}",
    )
    rule = "the first cell links to the notebooks before and after"
    yield rule, not unlinked, f"not {unlinked}"
    rule = f"the first cell says {' and '.join(FIRST)}"
    yield rule, not unasked, f"not {unasked}"
    rule = f"the last cell has the headings {' and '.join(LAST)}"
    yield rule, not open_ends, f"not {open_ends}"
    yield "limits are a list", re.search(r"^- ", limits, re.M), limits[:40]
    yield "every link leads to a file", not broken, broken
    rule = f"the parameters name {' and '.join(GIVEN)}"
    yield rule, set(GIVEN) <= given, sorted(given)


def _check_cell(cell: Any, number: str) -> Iterator[Rule]:
    name = cell.get("id", "")
    named = re.fullmatch(rf"{number}-[a-z0-9-]+", name)
    yield f"cell id {number}-<slug>", named, name
    metadata = set(cell.metadata)
    yield "cell metadata holds tags only", metadata <= {"tags"}, sorted(metadata)
    if cell.cell_type != "code":
        return
    source = cell.source
    lines = _code_lines(cell)
    calls = set(_calls(cell))
    defines = _has(cell, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    parsed = tree(cell)
    is_literal = parsed is not None and len(literals(cell)) == len(parsed.body)
    outputs = [output.output_type for output in cell.outputs]
    streams = [output.get("name") for output in cell.outputs]
    addresses = _addresses(cell)
    by_rows = calls & {"iterrows", "itertuples"}
    yield "plain Python, no magic", parsed is not None, source.split("\n")[0]
    rule = f"at most {MAX_CELL_LINES} lines of code"
    yield rule, lines <= MAX_CELL_LINES, lines
    is_closed = source.rstrip().endswith(";")
    yield "no semicolon at the end", not is_closed, "a semicolon"
    yield "no def and no class", not defines, "a definition"
    yield "print takes only fixed text", "print" not in calls, "print"
    yield "no loop over rows", not by_rows, "iterrows or itertuples"
    if has_parameters(cell):
        yield "parameters are plain literals", is_literal, source
    yield "no error in the outputs", "error" not in outputs, "an error"
    yield "nothing on stderr in the outputs", "stderr" not in streams, "stderr"
    yield "no address in the outputs", not addresses, addresses


def _code_lines(cell: Any) -> int:
    lines = (line.strip() for line in cell.source.split("\n"))
    return sum(bool(line) and not line.startswith("#") for line in lines)


def _has(cell: Any, *kinds: type[ast.AST]) -> bool:
    return any(isinstance(node, kinds) for node in nodes(cell))


def _calls(cell: Any) -> Iterator[str]:
    """List the functions that a cell calls, except `print` of fixed text."""
    for node in nodes(cell):
        match node:
            case ast.Call(func=ast.Attribute(attr=name)):
                yield name
            case ast.Call(func=ast.Name(id=name), args=args):
                texts = [a for a in args if isinstance(getattr(a, "value", None), str)]
                if name != "print" or len(texts) < len(args):
                    yield name


def _addresses(cell: Any) -> list[str]:
    text = " ".join(
        str(output.get("data", output).get("text/plain", "")) for output in cell.outputs
    )
    return re.findall(r"\bat 0x[0-9a-f]+", text)
