"""Shared colours, fonts and axes of pictures, and saving them."""

import functools
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from support.files import write_atomic

if "ipykernel" not in sys.modules:  # a notebook shows its figures itself
    matplotlib.use("Agg")  # pictures go to files: no display is needed
from matplotlib import pyplot as plt

Options = dict[str, Any]  # keyword arguments of matplotlib

# The palette of Okabe and Ito (2008), which stays distinct for colour-blind readers
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PINK, YELLOW = "#56B4E9", "#CC79A7", "#F0E442"
# Maps whose brightness changes evenly, so that equal steps look equal; the last is for shares
MAP, TWO_SIDED_MAP, SHARE_MAP = "magma", "PuOr_r", "cividis"
LARGE, SMALL, TINY = 13, 10, 9  # points: the title of a page, titles of small axes, text in axes

# Fonts of Windows, macOS and Linux; matplotlib lists a CJK collection by its Japanese name only
HANGUL_FONTS = {"Malgun Gothic", "Apple SD Gothic Neo", "NanumGothic"}
HANGUL_FONTS |= {"Noto Sans CJK KR", "Noto Sans CJK JP"}
HANGUL_FILES = ("malgun", "AppleSDGothicNeo", "NanumGothic", "NotoSansCJK")  # their files' prefixes


def new_axes(ax: Axes | None = None, **options: Any) -> Axes:
    """Return `ax`, or the axes of a new figure."""
    return plt.subplots(layout="constrained", **options)[1] if ax is None else ax


def new_page(
    width: float, height: float, mosaic: Any, title: str, **options: Any
) -> tuple[Figure, dict[str, Axes]]:
    """Make a figure (size in inches) and its axes by name, as in `subplot_mosaic`."""
    figure = plt.figure(figsize=(width, height), layout="constrained")
    axes = figure.subplot_mosaic(mosaic, **options)
    figure.suptitle(title, fontsize=LARGE)
    return figure, axes


@functools.cache  # the search for fonts takes time
def hangul_fonts() -> list[str]:
    """List the installed fonts that have Hangul.

    matplotlib caches its list of fonts and misses those installed later. If the list has no Hangul
    font, search the disk and add what is found to the cache.
    """
    manager = font_manager.fontManager
    if not HANGUL_FONTS & set(manager.get_font_names()):
        paths = [Path(path) for path in font_manager.findSystemFonts()]
        if found := [path for path in paths if path.name.startswith(HANGUL_FILES)]:
            for path in found:
                manager.addfont(path)
            cache = f"fontlist-v{font_manager.FontManager.__version__}.json"
            font_manager.json_dump(manager, Path(matplotlib.get_cachedir(), cache))
    return sorted(HANGUL_FONTS & set(manager.get_font_names()))


def save_picture(path: Path, plot: Callable[..., Any], *data: Any) -> None:
    """Write the figure of `plot(*data)`, or of the axes it returns; equal pictures, equal bytes."""
    style: Any = {"font.family": ["DejaVu Sans", *hangul_fonts()]}
    style |= {"text.parse_math": False}  # a $ in a file name is no formula
    with plt.rc_context(style), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")  # by default a warning is given once per process
        figure = plot(*data).figure
        options: Options = {"format": "png", "dpi": 120}
        options |= {"metadata": {"Software": None}}  # matplotlib's version would change the bytes
        write_atomic(path, lambda file: figure.savefig(file, **options))
        plt.close(figure)
    if any("missing from font" in str(warning.message) for warning in caught):
        print(f"{path.name}: no installed font has all its letters; install Noto Sans CJK")
