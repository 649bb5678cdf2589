"""Draw the README's pictures: the pipeline, a track of the demo, and the newest run on it.

    make figures

This runs `make demo`, which makes the track and the run, and then `python docs/figures.py`. The
Korean pipeline needs a font with Hangul.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np
from matplotlib import colormaps
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from PIL import Image

from hparams import HParams
from support.canvas import (
    BLUE,
    GREEN,
    MAP,
    ORANGE,
    RED,
    SHARE_MAP,
    SMALL,
    TWO_SIDED_MAP,
    Options,
    hangul_fonts,
    save_picture,
)
from support.errors import UserError, run_script
from support.files import write_atomic
from training.checkpoint import read_history, read_report
from training.plots import run_page
from visualize import features_page

TRACK = Path("dataset/demo/jazz/jazz.00006.wav")
SECONDS = 3  # a longer one would make a large file
SHADES = {MAP: 24, TWO_SIDED_MAP: 21, SHARE_MAP: 40, "gray": 12}  # colours kept from each map
LANGUAGES = ("English", "Korean")
WIDTH, HEIGHT, ACROSS, UP = 2.15, 0.85, 3.2, 1.45  # inches: a box, and from one to the next
ALL = 3 * ACROSS + WIDTH  # the width of all boxes


class Box(NamedTuple):
    """A box of the pipeline: lower left corner and size in inches, colour."""

    x: float
    y: float
    width: float
    height: float
    colour: str


def stage(column: int, row: int, colour: str) -> Box:
    """The box of a file, on a grid."""
    return Box(column * ACROSS, row * UP, WIDTH, HEIGHT, colour)


BOXES = {
    "dataset/": stage(0, 1, ORANGE),
    "feature_extraction.py": stage(1, 1, BLUE),
    "data_manager.py": stage(2, 1, BLUE),
    "train_test.py": stage(3, 1, BLUE),
    "data_augment.py": stage(0, 0, BLUE),
    "hparams.py": stage(1, 0, ORANGE),
    "model.py": stage(2, 0, ORANGE),
    "predict.py, retrieve.py": stage(3, 0, GREEN),
    "audio/": Box(0, -1.35, ACROSS + WIDTH, HEIGHT, "gray"),
    "tracks/": Box(2 * ACROSS, -1.35, WIDTH, HEIGHT, "gray"),
    "training/": Box(3 * ACROSS, -1.35, WIDTH, HEIGHT, "gray"),
    "support/": Box(0, -2.2, ALL, 0.65, "gray"),
}
WORDS = {  # by language
    "dataset/": ("audio and lists", "오디오와 목록"),
    "feature_extraction.py": (
        "audio to chunks\nof log-mel ...",
        "오디오에서 특징 추출\n(log-mel 등)",
    ),
    "data_manager.py": ("normalized batches", "데이터셋을 정규화하고\n배치 단위로 묶기"),
    "train_test.py": (
        "training, test by track,\nreport and pictures",
        "학습, 곡 단위 평가,\n보고서와 그림",
    ),
    "data_augment.py": ("more training audio\n(optional)", "학습 데이터 늘리기\n(선택)"),
    "hparams.py": ("every setting,\nread by all files", "모든 설정:\n모든 파일이 읽습니다"),
    "model.py": ("the networks:\nthe file to edit", "뉴럴넷 아키텍처:\n직접 고치는 파일"),
    "predict.py, retrieve.py": (
        "genres, tags and similar\ntracks of any file",
        "아무 오디오 파일의\n장르, 태그, 비슷한 곡",
    ),
    "audio/": (
        "sound to numbers:\nreading, features, chunks, effects",
        "소리를 숫자로:\n읽기, 특징, 청크, 효과",
    ),
    "tracks/": ("lists, tags, and\nthe data set", "목록, 태그,\n데이터셋"),
    "training/": ("loss, metrics,\nrun folders", "손실, 지표,\nrun 폴더"),
    "support/": ("files, flags, errors, figures", "파일, 플래그, 오류, 그림"),
}
ARROWS = (  # from, to, and what is passed on, by language
    ("dataset/", "feature_extraction.py", ("waveform", "파형")),
    ("dataset/", "data_augment.py", ("", "")),
    ("data_augment.py", "feature_extraction.py", ("", "")),
    ("feature_extraction.py", "data_manager.py", (".npy", ".npy")),
    ("data_manager.py", "train_test.py", ("batch", "배치")),
    ("model.py", "train_test.py", ("", "")),
    ("train_test.py", "predict.py, retrieve.py", ("best.pt", "best.pt")),
)
CAPTION = ("Rooms: code that these files share", "방: 위 파일들이 함께 쓰는 코드")


def draw_pipeline(language: str) -> Figure:
    """A figure of the pipeline: files, what passes between them, and the rooms that they share."""
    chosen = LANGUAGES.index(language)
    low, high = BOXES["support/"].y - 0.1, UP + HEIGHT + 0.1
    figure, ax = plt.subplots(figsize=(ALL + 0.2, high - low))
    ax.set_position((0, 0, 1, 1))  # so that one unit is an inch
    ax.set(xlim=(-0.1, ALL + 0.1), ylim=(low, high))
    ax.set_axis_off()
    for name, box in BOXES.items():
        shape = {"boxstyle": "round,pad=0,rounding_size=0.1", "facecolor": "white"}
        style: Options = shape | {"edgecolor": box.colour, "linewidth": 2}
        ax.add_patch(FancyBboxPatch((box.x, box.y), box.width, box.height, **style))
        middle = box.x + box.width / 2
        title: Options = {"weight": "bold", "family": "DejaVu Sans", "fontsize": 11}
        ax.text(middle, box.y + box.height - 0.08, name, ha="center", va="top", **title)
        below, style = box.y + (box.height - 0.25) / 2, {"fontsize": SMALL, "linespacing": 1.1}
        ax.text(middle, below, WORDS[name][chosen], ha="center", va="center", **style)
    for start, end, labels in ARROWS:
        draw_arrow(ax, BOXES[start], BOXES[end], labels[chosen])
    ax.text(0.05, -0.36, CAPTION[chosen], fontsize=SMALL, style="italic", va="center")
    return figure


def draw_arrow(ax: Axes, start: Box, end: Box, label: str) -> None:
    """Draw an arrow from a box to one below it, or to one on its right."""
    down = start.x == end.x
    if down:
        a = start.x + start.width / 2, start.y
        b = end.x + end.width / 2, end.y + end.height
    else:
        lean = np.sign(end.y - start.y) * 0.15
        a = start.x + start.width, start.y + start.height / 2 + lean
        b = end.x, end.y + end.height / 2 - lean
    arrow = {"arrowstyle": "-|>", "color": "black", "linewidth": 1.3, "mutation_scale": 14}
    ax.annotate("", b, a, arrowprops={**arrow, "shrinkA": 2, "shrinkB": 2})
    place: Options = {"ha": "left", "va": "center"} if down else {"ha": "center", "va": "bottom"}
    x, y = np.add(a, b) / 2 + ((0.1, 0) if down else (0, 0.06))
    ax.text(x, y, label, fontsize=SMALL, **place)


def shrink(path: Path) -> None:
    """Rewrite a picture with a palette of its colours, which makes the file four times smaller."""
    maps = [colormaps[name].resampled(count) for name, count in SHADES.items()]
    ramps = [[color, "white"] for color in (BLUE, ORANGE, GREEN, RED)]
    maps += [LinearSegmentedColormap.from_list("", ramp, 8) for ramp in ramps]
    colors = np.concatenate([each(np.arange(each.N))[:, :3] for each in maps])
    palette = Image.new("P", (1, 1))
    palette.putpalette((255 * colors).round().astype(np.uint8).tobytes())
    picture = Image.open(path).convert("RGB").quantize(palette=palette, dither=Image.Dither.NONE)
    write_atomic(path, lambda file: picture.save(file, "PNG", optimize=True))


def main() -> None:
    """Write the pictures into `docs`. Raises `UserError` if the demo has not been run."""
    os.chdir(ROOT)
    reports = sorted(Path("runs").glob("demo-Baseline*/report.json"), key=os.path.getmtime)
    if not TRACK.is_file() or not reports:
        raise UserError("the demo has not been run: run `make figures`, which runs it first")
    if not hangul_fonts():
        raise UserError("no installed font has Hangul: install Noto Sans CJK or NanumGothic")
    folder = reports[-1].parent
    run = "Baseline on the demo", read_history(folder), read_report(folder)
    pictures: dict[str, tuple[Callable[..., Any], Any]] = {
        "pipeline": (draw_pipeline, ["English"]),
        "pipeline.ko": (draw_pipeline, ["Korean"]),
        "features": (features_page, [TRACK, SECONDS, HParams()]),
        "run": (run_page, run),
    }
    for name, (draw, data) in pictures.items():
        path = Path(f"docs/{name}.png")
        save_picture(path, draw, *data)
        shrink(path)
        print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    run_script(main)
