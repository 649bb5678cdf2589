"""Run the tutorial and write its notebooks, English and Korean.

    python tutorial/build.py

`tutorial.py` and `tutorial.ko.py` have the same code cells, so the code runs once and both
notebooks show its outputs. Times, versions and paths of this machine stay out of them. Needs
`requirements-extras.txt`; `make notebook` installs it.
"""

import base64
import io
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "tutorial/tutorial.py"
KOREAN = SOURCE.with_name("tutorial.ko.py")
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
FOLDING = ("jupyter", "tags")  # cell metadata that notebooks keep
CELL_SECONDS = 600  # a cell that takes longer hangs


def read_source(source: Path = SOURCE) -> NotebookNode:
    """Return the notebook of a source, not run, with numbered cells."""
    cells = [
        {**cell, "id": f"cell-{number}", "metadata": folding(cell.metadata)}
        for number, cell in enumerate(jupytext.read(source, fmt="py:percent").cells, start=1)
    ]
    return nbformat.from_dict(
        {"cells": cells, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}
    )


def folding(metadata: dict) -> dict:
    """Keep the metadata that folds a cell, drop jupytext's own."""
    return {key: metadata[key] for key in FOLDING if key in metadata}


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Return the code cells of a notebook, in order."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def execute(notebook: NotebookNode) -> float:
    """Run a notebook in place and return the seconds it took.

    Raises `CellExecutionError` if a cell raises.
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


def copy_outputs(notebook: NotebookNode, translated: NotebookNode) -> None:
    """Copy the outputs of a notebook into its translation, which has the same code cells."""
    for cell, copy in zip(code_cells(notebook), code_cells(translated), strict=True):
        if cell.source != copy.source:
            raise ValueError(f"{SOURCE.name} and {KOREAN.name} differ in a cell:\n{copy.source}")
        copy.outputs, copy.execution_count = cell.outputs, cell.execution_count


def shrink_pictures(notebook: NotebookNode) -> None:
    """Reduce the pictures of a notebook to 256 colours each: a third of the bytes."""
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if "image/png" in output.get("data", ()):
                output.data["image/png"] = shrink(output.data["image/png"])


def shrink(text: str) -> str:
    """Reduce a PNG (base64) to a palette of its own."""
    picture = Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB")
    file = io.BytesIO()
    picture.quantize(256, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def main() -> None:
    """Write both notebooks."""
    notebook, translated = read_source(), read_source(KOREAN)
    copy_outputs(notebook, translated)  # fails now if code differs, not after minutes
    seconds = execute(notebook)
    shrink_pictures(notebook)
    copy_outputs(notebook, translated)
    for source, made in ((SOURCE, notebook), (KOREAN, translated)):
        path = source.with_suffix(".ipynb")
        nbformat.write(made, path)
        size = path.stat().st_size / 1e6
        print(f"{path.relative_to(ROOT)}: {len(made.cells)} cells, {seconds:.0f} s, {size:.2f} MB")


if __name__ == "__main__":
    sys.exit(main())
