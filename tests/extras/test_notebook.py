"""The tutorial and its answers run, and both notebooks are built from their sources."""

import re

import nbformat
import pytest

from tutorial.build import KOREAN, SOURCE, code_cells, copy_outputs, execute, read_source

MOST_SECONDS = 240  # on 2 cores
MOST_BYTES = 3_000_000  # a page that still loads
SOURCES = pytest.mark.parametrize("source", [SOURCE, KOREAN], ids=["english", "korean"])


def with_answers(notebook):
    """Add the code of the answers to a notebook, each below its exercise."""
    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        if cell.cell_type == "markdown":
            code = re.findall(r"^```python\n(.*?)^```$", cell.source, re.MULTILINE | re.DOTALL)
            cells += map(nbformat.v4.new_code_cell, code)
    notebook.cells = cells
    return notebook


def test_every_cell_and_every_answer_runs_in_time(capsys):
    notebook = with_answers(read_source())
    assert len(notebook.cells) > len(read_source().cells) + 25
    seconds = execute(notebook)  # raises if a cell does
    with capsys.disabled():
        print(f"\ntutorial.py took {seconds:.0f} s, answers included")
    assert seconds < MOST_SECONDS


@SOURCES
def test_the_notebook_is_up_to_date(source):
    written = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    nbformat.validate(written)
    built = [(cell.cell_type, cell.source, cell.metadata) for cell in written.cells]
    expected = [(cell.cell_type, cell.source, cell.metadata) for cell in read_source(source).cells]
    assert built == expected, f"{source.stem}.ipynb is out of date: run `make notebook`"


@SOURCES
def test_the_notebook_is_complete_and_small(source):
    path = source.with_suffix(".ipynb")
    written = nbformat.read(path, as_version=4)
    counts = [cell.execution_count for cell in code_cells(written)]
    assert counts == list(range(1, len(counts) + 1))
    outputs = [output for cell in code_cells(written) for output in cell.outputs]
    assert sum("image/png" in output.get("data", ()) for output in outputs) > 20
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert path.stat().st_size < MOST_BYTES


def test_both_notebooks_show_the_same_outputs():
    english, korean = (
        code_cells(nbformat.read(source.with_suffix(".ipynb"), as_version=4))
        for source in (SOURCE, KOREAN)
    )
    assert [cell.outputs for cell in english] == [cell.outputs for cell in korean]


def test_a_translation_with_other_code_is_rejected():
    translated = read_source(KOREAN)
    code_cells(translated)[-1].source += "\n1 + 1"
    with pytest.raises(ValueError, match=r"tutorial.py and tutorial.ko.py differ in a cell"):
        copy_outputs(read_source(), translated)
