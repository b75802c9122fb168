"""The notebooks follow the conventions, run on other snapshots, and refresh to the same bytes."""

import ast
import json
import shutil
from pathlib import Path

import nbformat
import pytest

from assess import notebooks
from assess.errors import AssessError
from assess.sample import write_sample

HOME = Path(__file__).parent.parent / "notebooks"
ALL = sorted(HOME.glob("*.ipynb"))
each = pytest.mark.parametrize("path", ALL, ids=lambda p: p.stem)
v4 = nbformat.v4


def markdown(source):
    return v4.new_markdown_cell(source)


def code(source, *tags):
    return v4.new_code_cell(source, metadata={"tags": list(tags)} if tags else {})


OPENING = """# A small notebook

**Question.** Who? **What you will decide.** How often.

```python
# no title in here
```"""
CLOSING = "## Limits\n\n- It is small.\n\n## Next\n\nNothing."
PARAMETERS = 'snapshot = ""\npolicy_file = ""\nwho = "world"\nrepeat = 2'


def small():
    """A notebook that `refresh` can make into one that follows every convention."""
    return [
        markdown(OPENING),
        code(PARAMETERS, "parameters"),
        markdown("Greet."),
        code("import sys"),
        markdown("Twice, on one stream, in pieces."),
        code(
            "for _ in range(repeat):\n    _ = sys.stdout.write(who)\n"
            "    sys.stdout.flush()\nwho * repeat"
        ),
        markdown(CLOSING),
    ]


@pytest.fixture
def book(tmp_path, monkeypatch):
    """Write a notebook into `notebooks/` of an empty project."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)

    def written(cells, name="03_small.ipynb"):
        node = v4.new_notebook(cells=cells)
        path = tmp_path / "notebooks" / name
        nbformat.write(node, path)
        return path

    return written


@each
def test_a_notebook_follows_the_conventions(path):
    assert notebooks.check([path]) == []


@each
def test_every_image_has_an_alternative_text(path):
    cells = nbformat.read(path, as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    images = [one for one in outputs if "image/png" in one.get("data", {})]
    assert images
    assert all(len(one.metadata["image/png"]["alt"]) > 40 for one in images)


@pytest.fixture(scope="module")
def another(tmp_path_factory):
    """Return a snapshot with an older and a newer one beside it, of fewer services."""
    home = tmp_path_factory.mktemp("fleet")
    write_sample(home, services=12)
    return str(home / "2026Q2")


@each
def test_a_notebook_runs_on_another_snapshot(path, another, tmp_path):
    (written,) = notebooks.run([path], {"snapshot": another}, output_dir=tmp_path / "out")
    node = nbformat.read(written, as_version=4)
    assert any(
        "injected-parameters" in cell.metadata.get("tags", []) for cell in node.cells
    )
    assert another in written.read_text()


@each
def test_an_empty_inventory_gives_a_result_or_a_readable_message(path, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "services.csv").write_text("service_id\n")
    (empty / "snapshot.toml").write_text('snapshot_at = "2026-09-30T00:00:00Z"\n')
    try:
        notebooks.run([path], {"snapshot": str(empty)}, output_dir=tmp_path / "out")
    except AssessError as error:
        assert "AssessError: " in str(error) or "DataError: " in str(error)


def test_refresh_stores_outputs_that_a_second_refresh_does_not_change(book):
    path = book(small())
    assert notebooks.refresh() == [Path("notebooks/03_small.ipynb")]
    first = path.read_bytes()
    assert notebooks.check() == []
    assert notebooks.refresh() == []
    assert path.read_bytes() == first
    node = json.loads(first)
    assert [c["id"] for c in node["cells"]] == [
        "03-a-small-notebook",
        "03-parameters",
        "03-greet",
        "03-import-sys",
        "03-twice-on-one-stream",
        "03-for-in-range-repeat",
        "03-limits",
    ]
    assert node["cells"][-2]["outputs"][0]["text"] == ["worldworld"]
    assert node["metadata"] == {
        "kernelspec": notebooks.KERNELSPEC,
        "language_info": notebooks.LANGUAGE_INFO,
    }
    assert first.endswith(b"}\n")
    assert b"\r" not in first


def test_ids_stay_when_the_text_changes(book):
    path = book(small())
    node = nbformat.read(path, as_version=4)
    notebooks.tidy(node, path.name)
    before = [cell.id for cell in node.cells]
    node.cells[2].source = "Say hello."
    node.cells.append(markdown("Say hello."))
    node.cells.append(markdown("Say hello."))
    notebooks.tidy(node, path.name)
    assert [cell.id for cell in node.cells] == [*before, "03-say-hello", "03-say-hello-2"]


def test_run_injects_parameters_and_leaves_the_notebook_alone(book):
    path = book(small())
    before = path.read_bytes()
    (written,) = notebooks.run(["3"], {"who": "fleet", "repeat": 3}, output_dir="out")
    assert written == Path("out/03_small.ipynb")
    assert path.read_bytes() == before
    node = nbformat.read(written, as_version=4)
    assert node.cells[-2].outputs[-1].data["text/plain"] == "'fleetfleetfleet'"
    assert "papermill" not in written.read_text()
    assert [c.execution_count for c in node.cells if c.cell_type == "code"] == [
        1,
        2,
        3,
        4,
    ]


def test_an_unknown_parameter_is_refused_before_anything_runs(book):
    book(small())
    with pytest.raises(AssessError, match="no parameter whoo") as caught:
        notebooks.run([], {"whoo": 1}, output_dir="out")
    assert caught.value.hint == "parameters: policy_file, repeat, snapshot, who"
    assert not list(Path("out").iterdir())


def test_run_never_overwrites_its_own_notebook(book):
    book(small())
    with pytest.raises(AssessError, match="overwrite itself"):
        notebooks.run([], {}, output_dir="notebooks")


def test_a_failing_notebook_says_where_and_stays_as_it_was(book):
    path = book([*small(), code("1 / 0")])
    before = path.read_bytes()
    with pytest.raises(
        AssessError, match=r"stopped in code cell 4: ZeroDivisionError: division"
    ):
        notebooks.refresh()
    assert path.read_bytes() == before


def test_shipped_data_that_is_not_beside_the_notebook_is_found(book):
    path = book(
        [
            markdown("# Data"),
            code('snapshot = "../data/sample/2026Q3"', "parameters"),
            markdown("Look."),
            code("from pathlib import Path\n\nPath(snapshot).is_dir()"),
        ]
    )
    (written,) = notebooks.run([path], {}, output_dir="out")
    node = nbformat.read(written, as_version=4)
    assert node.cells[-1].outputs[-1].data["text/plain"] == "True"


def test_the_sockets_of_a_kernel_are_not_beside_the_notebook(book):
    path = book(
        [
            markdown("# Sockets"),
            code("who = 1", "parameters"),
            markdown("What is here, and where the kernel listens."),
            code(
                "import json\nfrom pathlib import Path\n\nimport ipykernel\n\n"
                "told = json.loads(Path(ipykernel.get_connection_file()).read_text())\n"
                "sorted(p.name for p in Path().iterdir()), told['transport'], told['ip']"
            ),
        ]
    )
    notebooks.refresh()
    output = nbformat.read(path, as_version=4).cells[-1].outputs[-1]
    files, transport, place = ast.literal_eval(output.data["text/plain"])
    assert (files, transport) == (["03_small.ipynb"], "ipc")
    assert not Path(place).parent.exists()


def test_notebooks_are_found_by_number_name_and_file(book):
    path = book(small())
    for wanted in ("3", "03", "03_small", "03_small.ipynb", str(path)):
        assert [p.name for p in notebooks.find([wanted])] == ["03_small.ipynb"]
    with pytest.raises(AssessError, match="no notebook '4'"):
        notebooks.find(["4"])


DEVIATIONS = [
    (lambda n: n.cells.append(markdown("# Another title")), "exactly one H1"),
    (lambda n: n.cells[1].metadata.pop("tags"), "exactly one cell is tagged parameters"),
    (lambda n: n.cells[3].update(execution_count=None), "stored execution counts 1 to n"),
    (lambda n: n.cells[3].update(execution_count=7), "stored execution counts 1 to n"),
    (lambda n: n.cells[3].update(source="import sys;"), "no semicolon at the end"),
    (lambda n: n.cells[5].update(source="print(1.5)"), "print takes only fixed text"),
    (
        lambda n: n.cells[5].update(source="print(f'{who}')"),
        "print takes only fixed text",
    ),
    (lambda n: n.cells[5].update(source="def f():\n    pass"), "no def and no class"),
    (lambda n: n.cells[5].update(source="class A:\n    pass"), "no def and no class"),
    (lambda n: n.cells[5].update(source="%time who"), "plain Python, no magic"),
    (
        lambda n: n.cells[5].update(source="import os"),
        "imports only in the first code cell",
    ),
    (
        lambda n: n.cells[5].update(source="\n".join(["who"] * 13)),
        "at most 12 lines of code",
    ),
    (lambda n: n.cells[5].update(source="frame.iterrows()"), "no loop over rows"),
    (lambda n: n.cells[1].update(source="who = str(1)"), "parameters are plain literals"),
    (
        lambda n: (n.cells.pop(4), n.cells.pop(2)),
        "at least as many markdown cells as code cells",
    ),
    (lambda n: n.cells[2].update(source="x" * 280_000), "at most 280000 bytes"),
    (
        lambda n: n.metadata.kernelspec.update(name="mine"),
        "kernelspec python3, and no more",
    ),
    (
        lambda n: n.metadata.language_info.update(version="3.11.2"),
        "without patch version",
    ),
    (
        lambda n: n.metadata.update(papermill={}),
        "metadata holds kernelspec and language_info",
    ),
    (
        lambda n: n.cells[2].metadata.update(collapsed=True),
        "cell metadata holds tags only",
    ),
    (lambda n: n.cells[2].update(id="abc"), "cell id 03-<slug>"),
    (
        lambda n: n.cells[0].update(source="# T"),
        "the first cell says Question and What you will",
    ),
    (
        lambda n: n.cells[6].update(source="Done."),
        "the last cell has the headings Limits and Next",
    ),
    (
        lambda n: n.cells[6].update(source="## Limits\n\nNone.\n\n## Next"),
        "limits are a list",
    ),
    (lambda n: n.cells[4].update(source="[it](gone.md)"), "every link leads to a file"),
    (
        lambda n: n.cells[1].update(source='snapshot = "x"'),
        "the parameters name snapshot and",
    ),
    (
        lambda n: n.cells[5].update(
            outputs=[v4.new_output("stream", name="stderr", text="w")]
        ),
        "nothing on stderr in the outputs",
    ),
    (
        lambda n: n.cells[5].update(
            outputs=[v4.new_output("display_data", {"text/plain": "<A at 0x7f00>"})]
        ),
        "no address in the outputs",
    ),
]


@pytest.mark.parametrize(
    ("change", "rule"), DEVIATIONS, ids=[rule for _, rule in DEVIATIONS]
)
def test_every_deviation_is_named(book, change, rule):
    path = book(small())
    node = nbformat.read(path, as_version=4)
    notebooks.tidy(node, path.name)
    for count, cell in enumerate(
        (c for c in node.cells if c.cell_type == "code"), start=1
    ):
        cell.execution_count = count
    path.write_text(nbformat.writes(node) + "\n")
    assert notebooks.check() == []
    change(node)
    path.write_text(nbformat.writes(node) + "\n")
    found = [deviation.rule for deviation in notebooks.check()]
    assert [r for r in found if rule in r], found


def test_a_notebook_links_to_its_neighbours(book):
    for name in ("02_before.ipynb", "03_small.ipynb", "04_after.ipynb"):
        book(small(), name)
    rule = "the first cell links to the notebooks before and after"
    found = {d.notebook: d.found for d in notebooks.check() if d.rule == rule}
    assert found == {
        "02_before.ipynb": "not ['03_small.ipynb']",
        "03_small.ipynb": "not ['02_before.ipynb', '04_after.ipynb']",
        "04_after.ipynb": "not ['03_small.ipynb']",
    }


def test_60_lines_and_one_newline(book):
    path = book([markdown("# T"), *[code("\n".join(["1"] * 12)) for _ in range(6)]])
    path.write_text(path.read_text() + "\n\n")
    rules = {deviation.rule for deviation in notebooks.check()}
    assert {"at most 60 lines of code", "one newline at the end"} <= rules


def test_what_is_not_a_notebook_is_named(book):
    path = book(small())
    path.write_text("{")
    assert [deviation.rule for deviation in notebooks.check()] == ["a valid notebook"]
    shutil.copy(path, path.with_name("readme.ipynb"))
    assert len(notebooks.check()) == 2


def test_a_fragment_fits_into_another_page_and_shows_code_on_request(book):
    path = book(
        [
            markdown("# A *title*\n\n[next](04_next.ipynb)"),
            code("6 * 7"),
            markdown("## Part\n\n<script>alert(1)</script>"),
        ]
    )
    (run,) = notebooks.run([path], {}, output_dir="out")
    title, told = notebooks.fragment(run)
    assert title == "A <em>title</em>"
    assert 'href="#notebook-04"' in told
    assert "<h3>Part</h3>" in told
    assert " id=" not in told and "<h1" not in told and "http" not in told
    assert told.count("input_area") == 1
    _, without = notebooks.fragment(run, has_code=False)
    assert "input_area" not in without
    assert "42" in told and "42" in without


def test_a_fleet_of_ones_own_is_never_compared_with_the_invented_one(book, tmp_path):
    write_sample(tmp_path / "data" / "snapshots")
    parameters = 'snapshot = "../data/sample/2026Q3"\nprevious_snapshot = ""'
    path = book(
        [
            markdown("# Two quarters"),
            code(parameters, "parameters"),
            markdown("Look."),
            code("previous_snapshot"),
        ]
    )
    compared = []
    for quarter in ("2026Q3", "2026Q2"):
        given = {"snapshot": f"../data/snapshots/{quarter}"}
        (written,) = notebooks.run([path], given, output_dir=f"out-{quarter}")
        cell = nbformat.read(written, as_version=4).cells[-1]
        compared.append(Path(cell.outputs[-1].data["text/plain"].strip("'")).name)
    assert compared == ["2026Q2", "2026Q2"]  # the first quarter has none before it


def test_a_parameter_goes_to_the_notebooks_that_have_it(book):
    first = book(small())
    second = book(
        [markdown("# Two"), code("deep = 1", "parameters"), code("deep")], "04_two.ipynb"
    )
    one, two = notebooks.run([first, second], {"who": "x", "deep": 5}, output_dir="out")
    assert (
        nbformat.read(one, as_version=4).cells[-2].outputs[-1].data["text/plain"]
        == "'xx'"
    )
    assert (
        nbformat.read(two, as_version=4).cells[-1].outputs[-1].data["text/plain"] == "5"
    )
