"""Makes `tutorial.ipynb` of `tutorial.py`: its cells, run from top to bottom, and what they show.

    python tutorial/build.py

Only what a cell shows goes into the notebook: no times, versions or paths of the machine. Needs
`requirements-extras.txt`; `make notebook` sees to that.
"""

import base64
import io
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "tutorial/tutorial.py"
NOTEBOOK = SOURCE.with_suffix(".ipynb")
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
CELL_SECONDS = 180  # a cell that takes longer hangs


def read_source():
    """The notebook that the source is, not run; its cells are numbered."""
    notebook = jupytext.read(SOURCE, fmt="py:percent")
    cells = [
        {**cell, "id": f"cell-{number}", "metadata": {}}
        for number, cell in enumerate(notebook.cells, start=1)
    ]
    return nbformat.from_dict(
        {"cells": cells, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}
    )


def execute(notebook):
    """Run a notebook in place; returns the seconds that it took.

    Raises `CellExecutionError` where a cell raises.
    """
    began = time.monotonic()
    NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(ROOT)}},
    ).execute()
    notebook.metadata = nbformat.from_dict(METADATA)  # the kernel adds its version
    return time.monotonic() - began


def shrink_pictures(notebook):
    """Write a notebook's pictures again in 256 colours each: a third of the bytes."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", ()):
                output.data["image/png"] = shrink(output.data["image/png"])


def shrink(text):
    """A PNG in base64, in a palette of its own."""
    picture = Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB")
    file = io.BytesIO()
    picture.quantize(256, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def main():
    """Write the notebook."""
    notebook = read_source()
    seconds = execute(notebook)
    shrink_pictures(notebook)
    nbformat.write(notebook, NOTEBOOK)
    size = NOTEBOOK.stat().st_size / 1e6
    print(
        f"{NOTEBOOK.relative_to(ROOT)}: {len(notebook.cells)} cells, {seconds:.0f} s, {size:.2f} MB"
    )


if __name__ == "__main__":
    sys.exit(main())
