"""Axes, colours and fonts of all pictures."""

import sys
import warnings

import matplotlib
from matplotlib import font_manager

from support.files import write_atomic

if "ipykernel" not in sys.modules:  # a notebook shows figures itself
    matplotlib.use("Agg")  # pictures go to files: no display is needed
from matplotlib import pyplot as plt

# Colours of Okabe and Ito (2008), which no eye takes for one another; maps that brighten evenly
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
MAP, TWO_SIDED_MAP = "magma", "PuOr_r"


def new_axes(ax=None, **options):
    """`ax`, or the axes of a new figure."""
    return plt.subplots(layout="constrained", **options)[1] if ax is None else ax


def new_page(width, height, mosaic, title, **options):
    """A figure of so many inches and its axes by name, as `subplot_mosaic` takes them."""
    figure = plt.figure(figsize=(width, height), layout="constrained")
    axes = figure.subplot_mosaic(mosaic, **options)
    figure.suptitle(title, fontsize=13)
    return figure, axes


HANGUL_FONTS = {"Malgun Gothic", "Apple SD Gothic Neo", "NanumGothic"}


HANGUL_FONTS |= {"Noto Sans CJK KR", "Noto Sans CJK JP"}  # which has Hangul, and is found alone


def save_picture(path, plot, *data):
    """Write the picture that `plot(*data)` draws: the same bytes each time."""
    installed = set(font_manager.get_font_names())
    fonts = ["DejaVu Sans", *sorted(HANGUL_FONTS & installed)]
    style = {"font.family": fonts, "text.parse_math": False}  # a $ in a name is a $
    with plt.rc_context(style), warnings.catch_warnings(record=True) as caught:
        figure = plot(*data).figure
        options = {"format": "png", "dpi": 120, "metadata": {"Software": None}}  # no version in it
        write_atomic(path, lambda file: figure.savefig(file, **options))
        plt.close(figure)
    if any("missing from font" in str(warning.message) for warning in caught):
        print(
            f"{path.name}: no font here has all letters of it; install Noto Sans CJK, for one, and "
            f"delete {matplotlib.get_cachedir()}"
        )
