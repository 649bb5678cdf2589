"""The tutorial runs, and the notebook beside it is made of it."""

import nbformat

from tutorial.build import NOTEBOOK, execute, read_source

MOST_SECONDS = 240  # on 2 cores
MOST_BYTES = 2_500_000  # a page that still loads


def test_every_cell_runs_in_time(capsys):
    seconds = execute(read_source())  # raises where a cell does
    with capsys.disabled():
        print(f"\ntutorial.py took {seconds:.0f} s")
    assert seconds < MOST_SECONDS


def test_the_notebook_is_of_this_source():
    written = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(written)
    made = [(cell.cell_type, cell.source) for cell in written.cells]
    source = [(cell.cell_type, cell.source) for cell in read_source().cells]
    assert made == source, "tutorial.ipynb is stale: run `make notebook`"


def test_the_notebook_is_whole_and_small():
    written = nbformat.read(NOTEBOOK, as_version=4)
    counts = [cell.execution_count for cell in written.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    outputs = [output for cell in written.cells for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", ()) for output in outputs) > 20
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert NOTEBOOK.stat().st_size < MOST_BYTES
