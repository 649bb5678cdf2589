"""The README's pictures: the pipeline, a page of a track of the demo, a page of its newest run.

    make figures

That runs `make demo` first, of which the last two are, and then `python docs/figures.py`.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np
from matplotlib import colormaps
from matplotlib import pyplot as plt
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import FancyBboxPatch
from PIL import Image

from hparams import HParams
from support.canvas import BLUE, GREEN, MAP, ORANGE, RED, TWO_SIDED_MAP, save_picture
from support.errors import UserError, run_script
from support.files import write_atomic
from training.checkpoint import read_history, read_report
from visualize import features_page, run_page

TRACK = Path("dataset/demo/jazz/jazz.00006.wav")
SECONDS = 3  # enough to show, and few enough for a small file
SHADES = {MAP: 24, TWO_SIDED_MAP: 21, "cividis": 40, "gray": 12}  # of each map in a picture
BOXES = {  # name: (column, row, what it does, colour)
    "dataset/": (0, 1, "audio and lists", ORANGE),
    "feature_extraction.py": (1, 1, "audio to chunks\nof log-mel ...", BLUE),
    "data_manager.py": (2, 1, "normalized batches", BLUE),
    "train_test.py": (3, 1, "training, test by track,\nreport and pictures", BLUE),
    "data_augment.py": (0, 0, "more training audio,\nif wanted", BLUE),
    "hparams.py": (1, 0, "every setting,\nread by all", ORANGE),
    "model.py": (2, 0, "the networks:\nthe file to edit", ORANGE),
    "predict.py, retrieve.py": (3, 0, "genres, tags and similar\ntracks of any file", GREEN),
}
ARROWS = (  # from, to, what passes
    ("dataset/", "feature_extraction.py", "waveform"),
    ("dataset/", "data_augment.py", ""),
    ("data_augment.py", "feature_extraction.py", ""),
    ("feature_extraction.py", "data_manager.py", ".npy"),
    ("data_manager.py", "train_test.py", "batch"),
    ("model.py", "train_test.py", ""),
    ("train_test.py", "predict.py, retrieve.py", "best.pt"),
)
WIDTH, HEIGHT, ACROSS, UP = 2.2, 0.8, 3.0, 1.4  # inches of boxes, and from one to the next


def draw_pipeline():
    """A figure of the pipeline: boxes are files, arrows what passes from one to the next."""
    size = 3 * ACROSS + WIDTH + 0.2, UP + HEIGHT + 0.2
    figure, ax = plt.subplots(figsize=size)
    ax.set_position((0, 0, 1, 1))
    for name, (column, row, text, color) in BOXES.items():
        x, y = column * ACROSS, row * UP
        style = {"boxstyle": "round,pad=0,rounding_size=0.1", "edgecolor": color, "linewidth": 2}
        ax.add_patch(FancyBboxPatch((x, y), WIDTH, HEIGHT, facecolor="white", **style))
        words = {"x": x + WIDTH / 2, "ha": "center"}
        ax.text(
            y=y + HEIGHT - 0.07,
            s=name,
            va="top",
            weight="bold",
            family="DejaVu Sans",
            fontsize=11.5,
            **words,
        )
        ax.text(y=y + 0.28, s=text, va="center", fontsize=10.5, linespacing=1.1, **words)
    for start, end, label in ARROWS:
        draw_arrow(ax, BOXES[start][:2], BOXES[end][:2], label)
    ax.set(xlim=(-0.1, size[0] - 0.1), ylim=(-0.1, size[1] - 0.1))
    ax.set_axis_off()
    return figure


def draw_arrow(ax, start, end, label):
    """An arrow from a box to another, each given by column and row; down, or to the right."""
    (x, y), (to_x, to_y) = start, end
    if x == to_x:
        a, b = (x * ACROSS + WIDTH / 2, y * UP), (x * ACROSS + WIDTH / 2, to_y * UP + HEIGHT)
    else:
        lean = 0.15 * (to_y - y)
        a = (x * ACROSS + WIDTH, y * UP + HEIGHT / 2 + lean)
        b = (to_x * ACROSS, to_y * UP + HEIGHT / 2 - lean)
    arrow = {"arrowstyle": "-|>", "color": "black", "linewidth": 1.3, "mutation_scale": 14}
    ax.annotate("", b, a, arrowprops={**arrow, "shrinkA": 2, "shrinkB": 2})
    beside = (0.1, 0) if x == to_x else (0, 0.06)
    place = {"ha": "left", "va": "center"} if x == to_x else {"ha": "center", "va": "bottom"}
    middle = np.add(a, b) / 2 + beside
    ax.text(*middle, label, fontsize=10.5, **place)


def shrink(path):
    """Write a picture again in a palette of what it is drawn with: a quarter of the bytes."""
    maps = [colormaps[name].resampled(count) for name, count in SHADES.items()]
    tints = [
        LinearSegmentedColormap.from_list("", [color, "white"], 8)
        for color in (BLUE, ORANGE, GREEN, RED)
    ]
    colors = np.concatenate([each(np.arange(each.N))[:, :3] for each in maps + tints])
    palette = Image.new("P", (1, 1))
    palette.putpalette((255 * colors).round().astype(np.uint8).tobytes())
    picture = Image.open(path).convert("RGB").quantize(palette=palette, dither=Image.Dither.NONE)
    write_atomic(path, lambda file: picture.save(file, "PNG", optimize=True))


def main():
    """Write the pictures into `docs`. Raises `UserError` where the demo has not been run."""
    os.chdir(ROOT)
    reports = sorted(Path("runs").glob("demo-Baseline*/report.json"), key=os.path.getmtime)
    if not TRACK.is_file() or not reports:
        raise UserError("the demo has not been run: `make figures` does, and draws then")
    folder = reports[-1].parent
    run = "Baseline on the demo", read_history(folder), read_report(folder)
    for name, *plot in (
        ("pipeline", draw_pipeline),
        ("features", features_page, TRACK, SECONDS, HParams()),
        ("run", run_page, *run),
    ):
        path = Path(f"docs/{name}.png")
        save_picture(path, *plot)
        shrink(path)
        print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    run_script(main)
