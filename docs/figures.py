"""The README's pictures: the pipeline, a feature page of the demo, a page of its newest run.

    python docs/figures.py

`make figures` runs `make demo` first, of which the last two are.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np
from matplotlib import colormaps
from matplotlib import pyplot as plt
from matplotlib.patches import FancyBboxPatch
from PIL import Image

from checkpoint import read_history
from hparams import HParams, UserError, run_script
from manifest import write_atomic
from plots import BLUE, GREEN, MAP, ORANGE, TWO_SIDED_MAP
from report import save_picture
from visualize import features_page, read_report, run_folder, run_page

TRACK = Path("dataset/demo/jazz/jazz.00003.wav")
SECONDS = 3  # enough to show, and few enough for a small file
COLORS = {MAP: 40, TWO_SIDED_MAP: 21, "gray": 9, "Blues_r": 8}
BOXES = {  # name: (x, y, what it does, colour)
    "dataset/": (0, 1, "audio and lists", ORANGE),
    "data_augment.py": (0, 0, "more training audio,\nif wanted", BLUE),
    "feature_extraction.py": (1, 1, "audio to chunks\nof log-mel ...", BLUE),
    "data_manager.py": (2, 1, "normalized batches", BLUE),
    "train_test.py": (3, 1, "training, and the test\nby track", BLUE),
    "model.py": (2, 0, "the networks:\nthe file to edit", ORANGE),
    "predict.py\nretrieve.py": (4, 1, "genres, tags and\nsimilar tracks of any file", GREEN),
    "report, pictures": (4, 0, "accuracy, confusion matrix,\nlearning curves", GREEN),
}
ARROWS = (  # from, to, what passes
    ("dataset/", "feature_extraction.py", "waveform"),
    ("dataset/", "data_augment.py", ""),
    ("data_augment.py", "feature_extraction.py", ""),
    ("feature_extraction.py", "data_manager.py", ".npy"),
    ("data_manager.py", "train_test.py", "batch"),
    ("model.py", "train_test.py", ""),
    ("train_test.py", "predict.py\nretrieve.py", "best.pt"),
    ("train_test.py", "report, pictures", ""),
)
WIDTH, HEIGHT, ACROSS, UP = 2.5, 1.1, 3.5, 1.7  # of boxes, and from one to the next


def draw_pipeline():
    """A figure of the pipeline: boxes are files, arrows what passes from one to the next."""
    figure, ax = plt.subplots(figsize=(13, 2.9), layout="constrained")
    for name, (x, y, text, color) in BOXES.items():
        corner = (x * ACROSS, y * UP)
        style = {"boxstyle": "round,pad=0,rounding_size=0.12", "edgecolor": color, "linewidth": 2}
        ax.add_patch(FancyBboxPatch(corner, WIDTH, HEIGHT, facecolor="white", **style))
        middle = corner[0] + WIDTH / 2
        ax.text(middle, corner[1] + 1.02, name, ha="center", va="top", weight="bold", fontsize=11)
        ax.text(middle, corner[1] + 0.3, text, ha="center", va="center", fontsize=9.5)
    for start, end, label in ARROWS:
        draw_arrow(ax, BOXES[start][:2], BOXES[end][:2], label)
    ax.text(0, -0.35, "hparams.py: every setting, read by all", fontsize=11, va="center")
    ax.set(xlim=(-0.1, 4 * ACROSS + WIDTH + 0.1), ylim=(-0.55, UP + HEIGHT + 0.1))
    ax.set_axis_off()
    return figure


def draw_arrow(ax, start, end, label):
    """An arrow from a box to another, each given by column and row; down, or to the right."""
    (x, y), (to_x, to_y) = start, end
    if x == to_x:
        a, b = (x * ACROSS + WIDTH / 2, y * UP), (x * ACROSS + WIDTH / 2, to_y * UP + HEIGHT)
    else:
        lean = 0.2 * (to_y - y)
        a = (x * ACROSS + WIDTH, y * UP + HEIGHT / 2 + lean)
        b = (to_x * ACROSS, to_y * UP + HEIGHT / 2 - lean)
    arrow = {"arrowstyle": "-|>", "color": "black", "linewidth": 1.3, "mutation_scale": 14}
    ax.annotate("", b, a, arrowprops={**arrow, "shrinkA": 2, "shrinkB": 2})
    ax.text((a[0] + b[0]) / 2, (a[1] + b[1]) / 2 + 0.08, label, ha="center", fontsize=9.5)


def shrink(path):
    """Write a picture again in a palette of the maps that it is made of: a quarter of the bytes."""
    maps = [(name, np.linspace(0, 1, count)) for name, count in COLORS.items()]
    colors = np.concatenate([colormaps[name](shares)[:, :3] for name, shares in maps])
    palette = Image.new("P", (1, 1))
    palette.putpalette((255 * colors).round().astype(np.uint8).tobytes())
    picture = Image.open(path).convert("RGB").quantize(palette=palette, dither=Image.Dither.NONE)
    write_atomic(path, lambda file: picture.save(file, "PNG", optimize=True))


def main():
    """Write the pictures into `docs`. Raises `UserError` where the demo has not been run."""
    os.chdir(ROOT)
    if not TRACK.is_file():
        raise UserError(f"{TRACK} is missing: run `make demo` first")
    folder = run_folder("")
    run = "demo, Baseline", read_history(folder), read_report(folder)
    for name, *plot in (
        ("pipeline", draw_pipeline),
        ("features", features_page, TRACK, SECONDS, HParams()),
        ("run", run_page, *run),
    ):
        path = Path(f"docs/{name}.png")
        save_picture(path, *plot)
        if name == "features":
            shrink(path)
        print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    run_script(main)
