"""A real kernel of Jupyter, whose command line is not ours."""

import nbclient
import nbformat
from conftest import ROOT


def output_of(code):
    """The text that a cell prints in a kernel, errors included."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    place = {"metadata": {"path": str(ROOT)}}
    nbclient.NotebookClient(notebook, resources=place, allow_errors=True).execute()
    return "".join(output.get("text", "") for output in notebook.cells[0].outputs)


def test_settings_take_a_list_and_say_so():
    code = "from hparams import HParams\nprint(HParams().parse_argument({}).num_epochs)"
    assert output_of(code.format("[]")) == "100\n"
    assert "in a notebook pass a list, parse_argument([])" in output_of(code.format(""))
